//! Socket calls that have no safe wrapper elsewhere: wake-up thresholds, queue lengths, zero-copy notifications.
//!
//! Each is one system call with a typed result. Policy (when to call them, with what) stays with the transports.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::RecvFlags;

use super::transfer::TransferFlags;

/// Bytes that must be waiting before a sleeping receiver is woken (`SO_RCVLOWAT`). End of stream, errors and
/// memory pressure wake it regardless.
pub fn set_receive_low_water(connection: impl AsFd, bytes: u32) -> io::Result<()> {
    set_option(
        connection.as_fd(),
        libc::SOL_SOCKET,
        libc::SO_RCVLOWAT,
        i32::try_from(bytes).unwrap_or(i32::MAX),
    )
}

/// Allows `MSG_ZEROCOPY` on a socket.
pub fn allow_zero_copy(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)
}

/// Whether what kept a connection from coming about may pass by itself: a lost ARP request or reply looks like a host
/// that is not there, a link that comes up like a network without a route. A refusal is an answer, and final.
pub fn may_pass(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN | libc::ENONET)
    )
}

/// Whether a connection has begun and will be told of later, as a socket that does not wait says.
pub fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Whether this host has no addresses of a family at all: it is switched off.
pub fn is_family_off(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Whether a send found no room for what the system has to keep with it: the queue of a device is full, or the limit on locked memory is
/// reached. It passes.
#[inline]
pub fn lacks_room(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Names of the congestion controls that this kernel has loaded, with spaces between; empty where it does not tell.
pub fn congestion_controls() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default()
}

/// Sleeps until one of `all` can be read (or is at its end), at most for `patience`; which ones can. A signal ends the sleep
/// early.
pub fn wait_readable(all: &[BorrowedFd<'_>], patience: Option<Duration>) -> io::Result<Vec<bool>> {
    wait(all, PollFlags::IN, patience)
}

/// What a socket is waited for. With neither, only its failure and its end are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// That it can be read.
    pub read: bool,
    /// That it takes more.
    pub write: bool,
}

impl Interest {
    #[inline]
    fn events(self) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, self.read);
        events.set(PollFlags::OUT, self.write);
        events
    }
}

/// Sleeps until a connection can do what it is waited for, has failed or is at its end, at most for `patience`. Whether it has
/// failed or is at its end. A signal ends the sleep early.
#[inline]
pub fn wait_for(
    connection: BorrowedFd<'_>,
    interest: Interest,
    patience: Option<Duration>,
) -> io::Result<bool> {
    let timeout = patience.map(timespec);
    let mut polled = [PollFd::from_borrowed_fd(connection, interest.events())];
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// Sleeps until one of `all`, of which the first `MOST` are looked at, can do what it is waited for, has failed or is at its end, at most
/// for `patience`; not at all for none. A signal ends the sleep early. Allocates nothing.
#[inline]
pub fn wait_any<'a, const MOST: usize>(
    all: impl Iterator<Item = (BorrowedFd<'a>, Interest)>,
    patience: Duration,
) -> io::Result<()> {
    let mut all = all.take(MOST);
    let Some(first) = all.next() else { return Ok(()) };
    let mut count = 0;
    let mut rest = std::iter::once(first).chain(all);
    let mut polled: [PollFd<'a>; MOST] = std::array::from_fn(|_| match rest.next() {
        Some((fd, interest)) => {
            count += 1;
            PollFd::from_borrowed_fd(fd, interest.events())
        }
        None => PollFd::from_borrowed_fd(first.0, PollFlags::empty()),
    });
    match rustix::event::poll(&mut polled[..count], Some(&timespec(patience))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes what a connected socket has received, at most as much as `buffer` holds; 0 at its end.
#[inline]
pub fn receive(connection: BorrowedFd<'_>, buffer: &mut [u8], flags: TransferFlags) -> io::Result<usize> {
    let flags = RecvFlags::from_bits_retain(flags.bits() as u32);
    let (bytes, _) = rustix::net::recv(connection, buffer, flags)?;
    Ok(bytes)
}

#[inline]
fn timespec(patience: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    }
}

fn wait(all: &[BorrowedFd<'_>], what: PollFlags, patience: Option<Duration>) -> io::Result<Vec<bool>> {
    let timeout = patience.map(timespec);
    let mut polled: Vec<PollFd<'_>> = all.iter().map(|fd| PollFd::from_borrowed_fd(*fd, what)).collect();
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Sleeps until one of `all` has connected, or has failed to, at most for `patience`; which ones have. A signal ends the sleep early.
pub fn wait_connected(all: &[BorrowedFd<'_>], patience: Duration) -> io::Result<Vec<bool>> {
    wait(all, PollFlags::OUT, Some(patience))
}

/// Sleeps until a connection can be read (or is at its end), or, with `writing`, until it takes more, at most for `patience`. Whether it
/// can be read. A signal ends the sleep early.
pub fn wait_ready(connection: impl AsFd, writing: bool, patience: Duration) -> io::Result<bool> {
    let flags = if writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let mut polled = [PollFd::from_borrowed_fd(connection.as_fd(), flags)];
    // A wait that is too long for the kernel's type has no end.
    let timeout = Timespec::try_from(patience).ok();
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(polled[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sleeps until a connection takes more (or is at its end), at most for `patience`; whether it does. A signal ends the sleep early.
pub fn wait_writable(connection: impl AsFd, patience: Duration) -> io::Result<bool> {
    Ok(wait(&[connection.as_fd()], PollFlags::OUT, Some(patience))?.contains(&true))
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

/// Bytes in the send queue that the peer has not acknowledged (`SIOCOUTQ`).
pub fn send_queue_bytes(fd: BorrowedFd<'_>) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request stores one int through the pointer.
    let failed = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } != 0;
    if failed { None } else { u64::try_from(bytes).ok() }
}

/// One notification about finished `MSG_ZEROCOPY` sends: calls number `first..=last` (counted from 0 per socket,
/// wrapping) no longer need their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroCopyDone {
    /// First finished call.
    pub first: u32,
    /// Last finished call.
    pub last: u32,
    /// The kernel copied after all (loopback does, and devices without scatter-gather).
    pub copied: bool,
}

/// Takes the next zero-copy notification from the error queue, without waiting. `Ok(None)`: none there.
pub fn next_zero_copy_done(fd: BorrowedFd<'_>) -> io::Result<Option<ZeroCopyDone>> {
    /// Room for one IP_RECVERR control message, aligned as `cmsghdr` asks.
    #[repr(align(8))]
    struct Room([u8; 128]);
    let mut room = Room([0; 128]);
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = room.0.as_mut_ptr().cast();
    message.msg_controllen = room.0.len() as _;
    // SAFETY: the kernel writes control data into `room`, whose length it is told; there is no payload.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if got < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    }
    // SAFETY: `message` was filled by the kernel; CMSG_FIRSTHDR checks the length before it points anywhere.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    if header.is_null() {
        return Ok(None);
    }
    let mut error = MaybeUninit::<libc::sock_extended_err>::zeroed();
    // SAFETY: `header` points into `room`, which is large enough for a header and this structure after it; the
    // kernel's data may be unaligned for it, hence a byte copy into zeroed (valid) plain data.
    let (level, kind, error) = unsafe {
        std::ptr::copy_nonoverlapping(
            libc::CMSG_DATA(header),
            error.as_mut_ptr().cast::<u8>(),
            size_of::<libc::sock_extended_err>(),
        );
        ((*header).cmsg_level, (*header).cmsg_type, error.assume_init())
    };
    const ORIGIN_ZEROCOPY: u8 = 5; // SO_EE_ORIGIN_ZEROCOPY, linux/errqueue.h
    let about_sending = (level == libc::SOL_IP && kind == libc::IP_RECVERR)
        || (level == libc::SOL_IPV6 && kind == libc::IPV6_RECVERR);
    if !about_sending || error.ee_origin != ORIGIN_ZEROCOPY {
        return Ok(None);
    }
    const COPIED: u8 = 1; // SO_EE_CODE_ZEROCOPY_COPIED, linux/errqueue.h
    Ok(Some(ZeroCopyDone { first: error.ee_info, last: error.ee_data, copied: error.ee_code & COPIED != 0 }))
}
