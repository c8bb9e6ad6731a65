//! What this process may have: descriptors, locked memory and local ports.

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

/// The first and the last local port that connections get of which nobody says from where; `None` where the system does not tell.
pub fn local_ports() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text.split_whitespace().map(|end| end.parse().ok());
    Some((ends.next()??, ends.next()??))
}

/// TCP connections of this host, with those that are over and keep their ports for a while; `None` where the system does not tell.
pub fn tcp_sockets() -> Option<u64> {
    sockets(&std::fs::read_to_string("/proc/net/sockstat").ok()?)
}

/// `TCP: inuse 4 orphan 0 tw 2 alloc 5 mem 1`.
fn sockets(text: &str) -> Option<u64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_whitespace();
    let mut sum: u64 = 0;
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if ["inuse", "tw"].contains(&name) {
            sum = sum.saturating_add(value.parse().ok()?);
        }
    }
    Some(sum)
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

    #[test]
    fn local_ports_and_those_who_have_them_are_read() {
        let (first, last) = local_ports().unwrap();
        assert!(first <= last);
        let text = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 2 alloc 5 mem 1\nUDP: inuse 7 mem 2\n";
        assert_eq!(sockets(text), Some(6));
        assert_eq!(sockets("sockets: used 9\n"), None);
    }
}
