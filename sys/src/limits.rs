//! What this process may have: descriptors, locked memory and local ports.

pub use crate::system::limits::{
    local_ports, locked_memory_max_bytes, open_files, open_files_max, out_of_files, raise_open_files_max,
    tcp_sockets,
};

/// Who has no descriptor left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This process, which has a limit of its own.
    Process,
    /// The whole system.
    Host,
}
