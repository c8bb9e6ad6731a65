//! Everything that belongs to one operating system: system calls, each a typed function, and the memory that they and the
//! adapters share with us. With `transports/rdma` the only home of `unsafe`.
//!
//! **Invariant**: nothing here knows what it is used for, and nothing of ours is used here. What a call means is decided
//! by the callers. A second operating system is a folder beside `linux/` with the same modules.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

pub mod clock;
pub mod region;

pub use system::{errqueue, ethtool, process, socket, tcp_info, thread, written_pages};

/// What a system calls an open socket or file, borrowed.
pub type Descriptor<'a> = std::os::fd::BorrowedFd<'a>;
