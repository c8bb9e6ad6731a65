//! The record-route option of IPv4 (RFC 791, section 3.1). Every host that sends a datagram on writes the address of the interface that it
//! leaves by; Linux does so where it is sent from and where it ends, too.

use std::io;
use std::mem::size_of_val;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
/// Kind, length and pointer.
const HEAD_BYTES: usize = 3;
/// As many addresses as the options of a header have room for.
const ADDRESSES: usize = 9;
const OPTION_BYTES: usize = HEAD_BYTES + ADDRESSES * 4;

/// Everything that the socket sends from now on records its route.
pub fn record_route(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut options = [0u8; OPTION_BYTES + 1];
    // The pointer counts from 1: the first address comes right behind the head.
    options[..HEAD_BYTES].copy_from_slice(&[RECORD_ROUTE, OPTION_BYTES as u8, HEAD_BYTES as u8 + 1]);
    set(fd, libc::IP_OPTIONS, &options)
}

/// Makes [`receive`](super::errqueue::receive) tell the last router of a datagram that recorded its route.
pub fn report_route(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::IP_RECVOPTS, &1i32.to_ne_bytes())
}

fn set(fd: BorrowedFd<'_>, name: i32, value: &[u8]) -> io::Result<()> {
    let len = size_of_val(value) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes, which is what the slice has.
    let failed =
        unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, name, value.as_ptr().cast(), len) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Who sent a datagram with these options on to this host: the address before this host's own. `None` where nothing was recorded, or so much
/// that the last ones had no room.
pub(super) fn last_sender(options: &[u8]) -> Option<Ipv4Addr> {
    let mut rest = options;
    loop {
        match rest {
            [END, ..] | [] => return None,
            [NO_OPERATION, behind @ ..] => rest = behind,
            [kind, len, ..] => {
                let option = rest.get(..usize::from(*len)).filter(|option| option.len() >= HEAD_BYTES)?;
                if *kind == RECORD_ROUTE {
                    return recorded(option);
                }
                rest = &rest[option.len()..];
            }
            [_] => return None,
        }
    }
}

fn recorded(option: &[u8]) -> Option<Ipv4Addr> {
    let used = usize::from(option[2]).checked_sub(1).filter(|used| *used < option.len())?;
    let addresses: Vec<[u8; 4]> =
        option.get(HEAD_BYTES..used)?.chunks_exact(4).filter_map(|four| four.try_into().ok()).collect();
    let before = addresses.len().checked_sub(2)?;
    addresses.get(before).copied().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errqueue;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_datagram_that_was_asked_to_records_where_it_was_sent_from() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        a.connect(b.local_addr().unwrap()).unwrap();
        report_route(b.as_fd()).unwrap();
        let came = || {
            a.send(b"x").unwrap();
            errqueue::receive(b.as_fd(), &mut [0; 8]).unwrap().expect("loopback delivers at once").last_sender
        };
        assert_eq!(came(), None);
        record_route(a.as_fd()).unwrap();
        assert_eq!(came(), Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn the_last_but_one_is_who_sent_it_on() {
        let option = |pointer: u8, last: &[u8]| {
            let mut option = [0u8; OPTION_BYTES + 1];
            option[0] = NO_OPERATION;
            option[1..4].copy_from_slice(&[RECORD_ROUTE, OPTION_BYTES as u8, pointer]);
            for (number, last) in last.iter().enumerate() {
                option[4 + number * 4..8 + number * 4].copy_from_slice(&[10, 0, 0, *last]);
            }
            option
        };
        let sender = |pointer, last: &[u8]| last_sender(&option(pointer, last));
        assert_eq!(sender(16, &[1, 7, 2]), Some([10, 0, 0, 7].into()));
        assert_eq!(sender(12, &[1, 2]), Some([10, 0, 0, 1].into()));
        assert_eq!((sender(8, &[2]), sender(4, &[])), (None, None));
        // No room any more: who came last is not known.
        assert_eq!(sender(40, &[1, 2, 3, 4, 5, 6, 7, 8, 9]), None);
        // What nobody may send.
        for broken in [
            &[][..],
            &[7],
            &[7, 2],
            &[7, 0, 4],
            &[7, 39, 4],
            &[7, 3, 0],
            &[7, 3, 200],
            &[9, 1, 1, 1],
            &[1, 1, 0, 7],
        ] {
            assert_eq!(last_sender(broken), None, "{broken:?}");
        }
    }
}
