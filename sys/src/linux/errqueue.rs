//! The socket calls behind path-MTU probing that have no safe wrapper elsewhere: DF without the kernel's own
//! path-MTU cache, the error queue, and the size of the fragments that a datagram came in.
//!
//! Each is one system call with a typed result. What an error means is decided by the callers; values that this
//! module does not know are passed on as numbers, never guessed.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::recorded_route::last_sender;

/// Address family of the socket a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

// linux/in.h and linux/in6.h; the libc crate lacks some of them.
const IP_MTU: i32 = 14;
const IP_RECVFRAGSIZE: i32 = 25;
const IPV6_MTU: i32 = 24;
const IPV6_RECVFRAGSIZE: i32 = 77;
// linux/if_packet.h; the libc crate has some of them on some systems.
const PACKET_AUXDATA: i32 = 8;
const PACKET_IGNORE_OUTGOING: i32 = 23;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
// asm-generic/socket.h.
const SO_RXQ_OVFL: i32 = 40;
const IP_PMTUDISC_DONT: i32 = 0;
const IP_PMTUDISC_DO: i32 = 2;
const IP_PMTUDISC_PROBE: i32 = 3;

/// Sets DF on everything sent and ignores the kernel's path-MTU cache, so that only the interface's own MTU
/// limits a datagram (`IP_PMTUDISC_PROBE`).
pub fn probe_path_mtu(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    set_discovery(fd, family, IP_PMTUDISC_PROBE)
}

/// Sets DF and obeys the cache (`IP_PMTUDISC_DO`), which makes [`path_mtu`] tell what the cache holds.
pub fn obey_path_mtu(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    set_discovery(fd, family, IP_PMTUDISC_DO)
}

/// Leaves DF off: a datagram that is longer than the interface's MTU leaves in fragments (`IP_PMTUDISC_DONT`).
pub fn allow_fragments(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    set_discovery(fd, family, IP_PMTUDISC_DONT)
}

fn set_discovery(fd: BorrowedFd<'_>, family: Family, value: i32) -> io::Result<()> {
    match family {
        Family::V4 => set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value),
        Family::V6 => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, value),
    }
}

/// Queues errors (local refusals and ICMP messages) for [`next_error`].
pub fn queue_errors(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => set_option(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1),
        Family::V6 => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
    }
}

/// Makes [`receive`] tell whether a datagram arrived in fragments.
pub fn report_fragments(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => set_option(fd, libc::IPPROTO_IP, IP_RECVFRAGSIZE, 1),
        Family::V6 => set_option(fd, libc::IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 1),
    }
}

/// Makes [`receive`] tell the traffic class (IPv4: type of service, RFC 2474 and 3168) that a datagram arrived with.
pub fn report_traffic_class(fd: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => set_option(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
        Family::V6 => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
    }
}

/// Makes [`receive`] tell the hop limit that an IPv6 packet arrived with.
pub fn report_hop_limit(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)
}

/// Makes [`receive`] tell how many datagrams this socket had no room for so far.
pub fn report_overflow(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, SO_RXQ_OVFL, 1)
}

/// Makes [`receive`] tell how long a datagram has been at this host.
pub fn report_arrival(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Makes [`receive`] tell, on a socket for packets as they pass an interface, the tags of the frames (802.1Q) that arrive, and leaves out
/// what this host sends.
pub fn report_tags(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, PACKET_AUXDATA, 1)?;
    // Saves work only: a kernel before 4.20 does not know it.
    let _ = set_option(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    Ok(())
}

/// The traffic class of everything that the socket sends from now on.
pub fn set_traffic_class(fd: BorrowedFd<'_>, family: Family, class: u8) -> io::Result<()> {
    match family {
        Family::V4 => set_option(fd, libc::IPPROTO_IP, libc::IP_TOS, i32::from(class)),
        Family::V6 => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, i32::from(class)),
    }
}

/// The path MTU that the kernel assumes towards the peer of a *connected* socket.
pub fn path_mtu(fd: BorrowedFd<'_>, family: Family) -> io::Result<u32> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, IP_MTU),
        Family::V6 => (libc::IPPROTO_IPV6, IPV6_MTU),
    };
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel stores one int through the pointer, whose size it is told.
    let failed =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one int through a pointer to one int.
    let failed = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes stored in the buffer.
    pub bytes: usize,
    /// Sender, where the kernel told.
    pub from: Option<SocketAddr>,
    /// Largest fragment that it came in; `None` when it came whole.
    pub largest_fragment_bytes: Option<u32>,
    /// Traffic class that it arrived with, where that was asked for ([`report_traffic_class`]).
    pub traffic_class: Option<u8>,
    /// Hop limit that it arrived with, where that was asked for ([`report_hop_limit`]).
    pub hop_limit: Option<u8>,
    /// Who sent it on to this host, where it recorded its route and that was asked for
    /// ([`recorded_route`](super::recorded_route::report_route)).
    pub last_sender: Option<Ipv4Addr>,
    /// The tag that its frame arrived with, where that was asked for ([`report_tags`]).
    pub tag: Option<u16>,
    /// Datagrams that the socket had no room for since it was opened, where that was asked for ([`report_overflow`]); the
    /// kernel says nothing as long as there are none.
    pub overflowed: Option<u32>,
    /// How long it lay at this host until it was read, where that was asked for ([`report_arrival`]).
    pub lay: Option<Duration>,
}

/// Where a queued error comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// This host.
    Local,
    /// An ICMP message.
    Icmp,
    /// An ICMPv6 message.
    Icmp6,
    /// Something else (`SO_EE_ORIGIN_*`).
    Other(u8),
}

/// One entry of the error queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedError {
    /// What it is, by the number that the system has for it.
    pub errno: i32,
    /// Where it comes from.
    pub origin: Origin,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// The MTU, for `EMSGSIZE`.
    pub info: u32,
    /// Who sent the ICMP message.
    pub offender: Option<IpAddr>,
    /// Bytes of the datagram at fault that were quoted and are now in the buffer.
    pub bytes: usize,
}

impl QueuedError {
    /// Whether a datagram was too long for where it was to go.
    pub fn is_too_long(&self) -> bool {
        self.errno == libc::EMSGSIZE
    }
}

/// Whether a datagram was too long for any packet.
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Whether an error is one that a datagram socket reports on behalf of ICMP messages about earlier datagrams.
pub fn is_about_earlier(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EMSGSIZE
                | libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EACCES
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EOPNOTSUPP
        )
    )
}

/// Room for the control messages of one datagram, aligned as `cmsghdr` asks.
#[repr(align(8))]
struct Room([u8; 512]);

/// What `recvmsg` stored besides the payload.
struct Envelope {
    bytes: usize,
    from: Option<SocketAddr>,
    largest_fragment_bytes: Option<u32>,
    traffic_class: Option<u8>,
    hop_limit: Option<u8>,
    last_sender: Option<Ipv4Addr>,
    tag: Option<u16>,
    overflowed: Option<u32>,
    arrived: Option<Duration>,
    error: Option<QueuedError>,
}

/// Takes the next datagram without waiting; `Ok(None)` when there is none.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    Ok(receive_any(fd, buffer, libc::MSG_DONTWAIT)?.map(|envelope| Received {
        bytes: envelope.bytes,
        from: envelope.from,
        largest_fragment_bytes: envelope.largest_fragment_bytes,
        traffic_class: envelope.traffic_class,
        hop_limit: envelope.hop_limit,
        last_sender: envelope.last_sender,
        tag: envelope.tag,
        overflowed: envelope.overflowed,
        // Of a clock that was set meanwhile nothing is known.
        lay: envelope.arrived.and_then(|at| SystemTime::now().duration_since(UNIX_EPOCH + at).ok()),
    }))
}

/// Takes the next entry of the error queue without waiting; `Ok(None)` when there is none. An entry that is no
/// network error (a time stamp, say) is skipped.
pub fn next_error(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<QueuedError>> {
    // The queue is finite; the bound guards against a kernel that refills it with other entries as we read.
    for _ in 0..1024 {
        let Some(envelope) = receive_any(fd, buffer, libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE)? else {
            return Ok(None);
        };
        if let Some(error) = envelope.error {
            return Ok(Some(QueuedError { bytes: envelope.bytes, ..error }));
        }
    }
    Ok(None)
}

fn receive_any(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: i32) -> io::Result<Option<Envelope>> {
    let mut room = Room([0; 512]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = room.0.as_mut_ptr().cast();
    message.msg_controllen = room.0.len() as _;
    // SAFETY: every pointer in `message` names memory of the length stored beside it, alive until the return.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    let Ok(bytes) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    };
    let mut envelope = Envelope {
        bytes: bytes.min(buffer.len()),
        from: None,
        largest_fragment_bytes: None,
        traffic_class: None,
        hop_limit: None,
        last_sender: None,
        tag: None,
        overflowed: None,
        arrived: None,
        error: None,
    };
    // SAFETY: `name` started as zeroes, which is a valid value, and the kernel wrote plain data over it.
    let name = unsafe { name.assume_init() };
    envelope.from = socket_address(bytes_of(&name));
    // SAFETY: the kernel filled the control buffer and its length; the macros stay within that length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: `header` was returned by CMSG_FIRSTHDR or CMSG_NXTHDR, so a whole header lies there.
        let (level, kind, length) =
            unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len as usize) };
        // SAFETY: CMSG_LEN and CMSG_DATA are arithmetic on the header; `length` counts from the header's start
        // and was bounded by the kernel to the buffer.
        let data = unsafe {
            let head = libc::CMSG_LEN(0) as usize;
            std::slice::from_raw_parts(libc::CMSG_DATA(header), length.saturating_sub(head))
        };
        let number = || data.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
        match (level, kind) {
            (libc::IPPROTO_IP, IP_RECVFRAGSIZE) | (libc::IPPROTO_IPV6, IPV6_RECVFRAGSIZE) => {
                envelope.largest_fragment_bytes = number().filter(|size| *size > 0);
            }
            // One byte for IPv4, a number for IPv6.
            (libc::IPPROTO_IP, libc::IP_TOS) => envelope.traffic_class = data.first().copied(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                envelope.traffic_class = number().and_then(|class| u8::try_from(class).ok());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                envelope.hop_limit = number().and_then(|hops| u8::try_from(hops).ok());
            }
            (libc::IPPROTO_IP, libc::IP_RECVOPTS) => envelope.last_sender = last_sender(data),
            (libc::SOL_PACKET, PACKET_AUXDATA) => envelope.tag = tag(data),
            (libc::SOL_SOCKET, SO_RXQ_OVFL) => envelope.overflowed = number(),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => envelope.arrived = since_epoch(data),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                envelope.error = extended_error(data);
            }
            _ => {}
        }
        // SAFETY: as for CMSG_FIRSTHDR; the result is null past the last header.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(Some(envelope))
}

/// The bytes of a socket address.
fn bytes_of(name: &libc::sockaddr_storage) -> &[u8] {
    // SAFETY: the structure is plain data without padding that was not zeroed, read as bytes for its own size.
    unsafe {
        std::slice::from_raw_parts((&raw const *name).cast::<u8>(), size_of::<libc::sockaddr_storage>())
    }
}

/// A `timespec` of the system's clock.
fn since_epoch(data: &[u8]) -> Option<Duration> {
    let word = |at: usize, bytes: usize| data.get(at..at + bytes);
    const WORD: usize = size_of::<libc::c_long>();
    let seconds = libc::c_long::from_ne_bytes(word(0, WORD)?.try_into().ok()?);
    let nanoseconds = libc::c_long::from_ne_bytes(word(WORD, WORD)?.try_into().ok()?);
    Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?))
}

/// The tag in a `tpacket_auxdata` (linux/if_packet.h), if the frame had one.
fn tag(data: &[u8]) -> Option<u16> {
    let status = u32::from_ne_bytes(data.get(..4)?.try_into().ok()?);
    let tag = u16::from_ne_bytes(data.get(16..18)?.try_into().ok()?);
    (status & TP_STATUS_VLAN_VALID != 0).then_some(tag)
}

/// `sock_extended_err` (linux/errqueue.h) and the offender's address behind it.
fn extended_error(data: &[u8]) -> Option<QueuedError> {
    let word = |at: usize| Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?));
    Some(QueuedError {
        errno: word(0)? as i32,
        origin: match *data.get(4)? {
            1 => Origin::Local,
            2 => Origin::Icmp,
            3 => Origin::Icmp6,
            other => Origin::Other(other),
        },
        icmp_type: *data.get(5)?,
        icmp_code: *data.get(6)?,
        info: word(8)?,
        offender: data.get(16..).and_then(socket_address).map(|address| address.ip()),
        bytes: 0,
    })
}

/// `sockaddr_in` or `sockaddr_in6`; anything else is `None`.
fn socket_address(data: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(data.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(data.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = data.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port))
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = data.get(8..24)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(octets).into(), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair() -> (UdpSocket, UdpSocket) {
        let a = UdpSocket::bind("127.0.0.1:0").unwrap();
        let b = UdpSocket::bind("127.0.0.1:0").unwrap();
        a.connect(b.local_addr().unwrap()).unwrap();
        (a, b)
    }

    #[test]
    fn what_exceeds_ipv4_is_refused_and_the_path_mtu_of_loopback_is_its_own() {
        let (a, _b) = pair();
        probe_path_mtu(a.as_fd(), Family::V4).unwrap();
        queue_errors(a.as_fd(), Family::V4).unwrap();
        assert!(a.send(&vec![0; 65_508]).is_err());
        assert!(path_mtu(a.as_fd(), Family::V4).unwrap() >= 65_535);
    }

    #[test]
    fn a_closed_port_is_reported_as_icmp_with_its_offender_and_the_datagram() {
        let (a, b) = pair();
        queue_errors(a.as_fd(), Family::V4).unwrap();
        drop(b);
        a.send(b"hello").unwrap();
        let mut buffer = [0; 64];
        // Loopback answers within the send call.
        let error = next_error(a.as_fd(), &mut buffer).unwrap().expect("an error is queued");
        assert_eq!((error.origin, error.icmp_type, error.icmp_code), (Origin::Icmp, 3, 3));
        assert_eq!(error.offender, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(&buffer[..error.bytes], b"hello");
        assert_eq!(next_error(a.as_fd(), &mut buffer).unwrap(), None);
    }

    #[test]
    fn a_whole_datagram_has_no_fragment_size() {
        let (a, b) = pair();
        report_fragments(b.as_fd(), Family::V4).unwrap();
        a.send(b"abc").unwrap();
        let mut buffer = [0; 8];
        let got = receive(b.as_fd(), &mut buffer).unwrap().expect("loopback delivers within the send call");
        assert_eq!((got.bytes, got.largest_fragment_bytes), (3, None));
        assert_eq!(got.from, Some(a.local_addr().unwrap()));
        assert_eq!(receive(b.as_fd(), &mut buffer).unwrap(), None);
    }

    #[test]
    fn a_datagram_tells_the_traffic_class_it_came_with_and_what_had_no_room() {
        let (a, b) = pair();
        report_traffic_class(b.as_fd(), Family::V4).unwrap();
        report_overflow(b.as_fd()).unwrap();
        set_option(b.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096).unwrap();
        set_traffic_class(a.as_fd(), Family::V4, 0x68 | 2).unwrap();
        for _ in 0..200 {
            a.send(&[0; 1000]).unwrap();
        }
        let (mut buffer, mut arrived) = ([0; 2000], 0);
        while let Some(got) = receive(b.as_fd(), &mut buffer).unwrap() {
            assert_eq!(got.traffic_class, Some(0x6a));
            arrived += 1;
        }
        a.send(b"the last").unwrap();
        let last = receive(b.as_fd(), &mut buffer).unwrap().expect("there is room again");
        assert_eq!(last.overflowed, Some(200 - arrived), "{arrived} arrived");
    }

    #[test]
    fn an_ipv6_datagram_tells_the_hop_limit_it_came_with() {
        let Ok(b) = UdpSocket::bind("[::1]:0") else {
            return; // This host has no IPv6: nothing could claim an address over it.
        };
        let a = UdpSocket::bind("[::1]:0").unwrap();
        a.connect(b.local_addr().unwrap()).unwrap();
        a.send(b"not asked").unwrap();
        assert_eq!(receive(b.as_fd(), &mut [0; 16]).unwrap().unwrap().hop_limit, None);
        report_hop_limit(b.as_fd()).unwrap();
        for hops in [255, 64, 1] {
            socket2::SockRef::from(&a).set_unicast_hops_v6(hops).unwrap();
            a.send(b"asked").unwrap();
            let got = receive(b.as_fd(), &mut [0; 16]).unwrap().unwrap();
            assert_eq!(got.hop_limit.map(u32::from), Some(hops));
        }
    }

    #[test]
    fn a_datagram_tells_how_long_it_lay_here() {
        let (a, b) = pair();
        report_arrival(b.as_fd()).unwrap();
        // The kernel begins to stamp a moment after it was first asked to, by a thread of its own that may wait for a processor.
        let lay = (0..50).find_map(|_| {
            a.send(b"early").unwrap();
            std::thread::sleep(Duration::from_millis(30));
            let lay = receive(b.as_fd(), &mut [0; 8]).unwrap()?.lay.expect("it was asked for");
            (lay >= Duration::from_millis(30)).then_some(lay)
        });
        assert!(lay.is_some(), "it lay for 30 ms and longer each time");
        assert_eq!(since_epoch(&[0; 15]), None);
    }

    #[test]
    fn short_control_data_is_no_error() {
        assert_eq!(extended_error(&[0; 15]).map(|e| e.info), Some(0));
        assert_eq!(extended_error(&[0; 11]), None);
        let too_long = (libc::EMSGSIZE as u32).to_ne_bytes();
        let entry = |number: [u8; 4]| extended_error(&[&number[..], &[0; 12]].concat()).unwrap();
        assert!(entry(too_long).is_too_long() && !entry([0; 4]).is_too_long());
        assert!(is_too_long(&io::Error::from_raw_os_error(libc::EMSGSIZE)));
        assert!(is_about_earlier(&io::Error::from_raw_os_error(libc::ENETUNREACH)));
        assert!(!is_about_earlier(&io::Error::from_raw_os_error(libc::EBADF)));
        assert_eq!((tag(&[0xff; 17]), tag(&[0; 20]), tag(&[0xff; 20])), (None, None, Some(0xffff)));
        assert_eq!(socket_address(&[2, 0, 1]), None);
        assert_eq!(socket_address(&[0; 32]), None);
    }
}
