//! What this process may have: descriptors and locked memory.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::limits::Whose;

/// Files and sockets that this process may open; `None` is without limit.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises that limit to what the administrator allows: the usual soft limit of 1024 is for programs that use `select`.
/// Where it may not be raised, it stays.
pub fn raise_open_files_max() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Files and sockets that this process has open.
pub fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64)
}

/// Memory that this process may lock, in bytes; `None` is without limit.
pub fn locked_memory_max_bytes() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Whose descriptors have run out, where that is what an error says.
pub fn out_of_files(error: &io::Error) -> Option<Whose> {
    match error.raw_os_error()? {
        libc::EMFILE => Some(Whose::Process),
        libc::ENFILE => Some(Whose::Host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_shortage_is_named() {
        for (code, whose) in
            [(libc::EMFILE, Some(Whose::Process)), (libc::ENFILE, Some(Whose::Host)), (libc::EIO, None)]
        {
            assert_eq!(out_of_files(&io::Error::from_raw_os_error(code)), whose);
        }
        assert!(open_files() >= 3);
    }
}
