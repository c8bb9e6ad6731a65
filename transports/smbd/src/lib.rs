//! SMB Direct (MS-SMBD): whole messages over a bare RDMA wire, cut into fragments that credits allow.
//!
//! The specification's rules are pure (`codec`, `credits`, `reassembly`, `keep_alive`, `settings`, `loans`); `connection` applies them
//! to a wire, `pipe` makes messages of it, and `lane` a lane between two ends of ours.
//!
//! What it refuses to do: know what travels in its messages, know which device carries them, and believe a peer.

#![forbid(unsafe_code)]

pub mod codec;
pub mod connection;
pub mod credits;
pub mod keep_alive;
pub mod lane;
pub mod loans;
pub mod pipe;
pub mod progress;
pub mod reassembly;
pub mod settings;

pub use codec::{BufferDescriptor, Fault};
pub use connection::{Connection, Finished, Fragment, Places};
pub use lane::transport::{LANE_SETTINGS, MANNERS, NAME, SmbdTransport, options};
pub use pipe::SmbdPipe;
pub use settings::{Agreed, Settings};
