//! The memory of another process: which of its pages are there, and which it writes.

pub use crate::system::process_memory::{ProcessMemory, tells_written};

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// A page that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its address.
    pub at: u64,
    /// Whether it was written since [`ProcessMemory::forget_written`]; means nothing where the kernel does not tell
    /// ([`tells_written`]).
    pub written: bool,
}
