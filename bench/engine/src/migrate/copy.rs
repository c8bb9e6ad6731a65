//! The copy of a migration, as far as it needs no host: what crosses the lanes, what a lane at either end does next, and
//! how a guest moves round by round. It runs on lanes, regions and a clock that it is given; threads, memory, files and
//! the control channel belong to whoever drives it, and a test drives it in virtual time.
//!
//! ```text
//! Place ── Order ──► every SourceLane ══ writes, messages (wire) ══► DestinationLane
//!   ▲  └─ Machine: start, throttle, stop, harvest       │
//!   └──────────────────── Report ◄──────────────────────┘ once the peer has all of it
//! ```

pub mod contents;
mod destination;
mod disk;
mod error;
mod guest_move;
mod link;
mod machine;
mod measure;
mod outcome;
pub mod pacer;
pub mod pack;
mod place;
mod round;
mod shared;
mod source;
mod spec;
mod story;
mod time;
pub mod wire;

pub use destination::{DestinationLane, DestinationParts, Served, Subject};
pub use disk::{Blocks, DiskLane, DiskNews, DiskStory, MadeUp, blocks};
pub use error::CopyError;
pub use guest_move::Order;
pub use link::{LinkParts, Turn};
pub use machine::Machine;
pub use outcome::{CopyOutcome, Stories, sum_up};
pub use place::Place;
pub use round::{Compared, Copied, Job, Report, Round, Verify};
pub use shared::Shared;
pub use source::{SourceLane, SourceParts};
pub use spec::{check, policy_of};
pub use story::Story;
pub use time::{duration_ns, fit_ns, need_ns, ready_ns};

/// Operations that a lane may have outstanding in each direction, at both ends.
pub const DEPTH: u32 = 64;
/// Message slots for sending and for receiving, at both ends.
pub const SLOTS: u32 = 4;
/// Bytes of the region that holds the message slots.
pub const MESSAGE_BYTES: u64 = 2 * SLOTS as u64 * wire::SLOT_BYTES as u64;
