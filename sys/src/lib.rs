//! Everything that belongs to one operating system: system calls, each a typed function, and the memory that they and the
//! adapters share with us. With `transports/rdma` the only home of `unsafe`.
//!
//! **Invariant**: nothing here knows what it is used for, and nothing of ours is used here. What a call means is decided
//! by the callers. The modules here hold the types and name the functions; a second operating system is a folder beside `linux/`
//! with the same modules.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

pub mod bridging;
pub mod clock;
pub mod connections;
pub mod counters;
pub mod diagnostics;
pub mod host;
pub mod interfaces;
pub mod kerberos;
pub mod limits;
pub mod load;
pub mod neighbours;
pub mod process_memory;
pub mod queueing;
pub mod region;
pub mod routes;

pub use system::descriptor::{AsDescriptor, Descriptor};
pub use system::{
    ending, errqueue, ethtool, files, lldp, process, recorded_route, socket, tags, tcp_info, thread,
    transfer, written_pages,
};
