//! What this process may have: descriptors and locked memory.

pub use crate::system::limits::{
    locked_memory_max_bytes, open_files, open_files_max, out_of_files, raise_open_files_max,
};

/// Who has no descriptor left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This process, which has a limit of its own.
    Process,
    /// The whole system.
    Host,
}
