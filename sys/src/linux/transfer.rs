//! Socket calls on the memory of a [`Region`], from its place and to it.

use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::region::Region;

/// How a call that moves bytes goes about it: in the usual way, or in one or several (`|`) of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferFlags(i32);

impl TransferFlags {
    /// Waits as long as the socket's own timeout allows, and moves what there is.
    pub const USUAL: TransferFlags = TransferFlags(0);
    /// Does not wait.
    pub const AT_ONCE: TransferFlags = TransferFlags(libc::MSG_DONTWAIT);
    /// Waits until all that was asked for is there.
    pub const WHOLE: TransferFlags = TransferFlags(libc::MSG_WAITALL);
    /// Counts what comes and throws it away.
    pub const DISCARD: TransferFlags = TransferFlags(libc::MSG_TRUNC);
    /// More follows at once: no packet need leave for this alone.
    pub const MORE_FOLLOWS: TransferFlags = TransferFlags(libc::MSG_MORE);
    /// Sends from its place, which belongs to the system until it says so
    /// ([`next_zero_copy_done`](super::socket::next_zero_copy_done)).
    pub const ZERO_COPY: TransferFlags = TransferFlags(libc::MSG_ZEROCOPY);

    /// Whether such a call may wait.
    #[inline]
    pub fn waits(self) -> bool {
        self.0 & libc::MSG_DONTWAIT == 0
    }

    /// As the system has them.
    #[inline]
    pub(super) fn bits(self) -> i32 {
        self.0
    }
}

impl BitOr for TransferFlags {
    type Output = TransferFlags;

    #[inline]
    fn bitor(self, other: TransferFlags) -> TransferFlags {
        TransferFlags(self.0 | other.0)
    }
}

impl BitOrAssign for TransferFlags {
    #[inline]
    fn bitor_assign(&mut self, other: TransferFlags) {
        self.0 |= other.0;
    }
}

impl Region {
    /// `send(2)` of `len` bytes at `offset` on a connected socket. A connection that is gone is an error and no signal.
    pub fn send(&self, fd: BorrowedFd<'_>, offset: u64, len: u64, flags: TransferFlags) -> io::Result<usize> {
        let source = self.at(offset, len).map_err(io::Error::other)?;
        let none = std::ptr::null::<libc::sockaddr>();
        // Called without the C library's `send`, whose bookkeeping for thread cancellation costs a fiftieth of
        // a loopback round trip in a process with several threads.
        // SAFETY: the kernel reads `len` bytes that lie inside the mapping. A system call is no access of Rust's.
        let sent = unsafe {
            let flags = flags.0 | libc::MSG_NOSIGNAL;
            libc::syscall(libc::SYS_sendto, fd.as_raw_fd(), source, len as usize, flags, none, 0)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// `recv(2)` of at most `len` bytes to `offset` from a connected socket.
    pub fn recv(&self, fd: BorrowedFd<'_>, offset: u64, len: u64, flags: TransferFlags) -> io::Result<usize> {
        let target = self.at(offset, len).map_err(io::Error::other)?;
        let (none, no_length) = (std::ptr::null::<libc::sockaddr>(), std::ptr::null::<libc::socklen_t>());
        // Called directly for the same reason as in `send`.
        // SAFETY: the kernel writes at most `len` bytes, all inside the mapping.
        let received = unsafe {
            libc::syscall(libc::SYS_recvfrom, fd.as_raw_fd(), target, len as usize, flags.0, none, no_length)
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// `sendmsg(2)` of `head` followed by `len` bytes at `offset`, in one call. Returns the bytes sent of both.
    pub fn send_with_head(
        &self,
        fd: BorrowedFd<'_>,
        head: &[u8],
        offset: u64,
        len: u64,
        flags: TransferFlags,
    ) -> io::Result<usize> {
        let source = self.at(offset, len).map_err(io::Error::other)?;
        let mut parts = [
            libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() },
            libc::iovec { iov_base: source.cast(), iov_len: len as usize },
        ];
        // SAFETY: `msghdr` is plain data for which all zeroes is a valid value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        // SAFETY: both parts stay alive during the call, which only reads them.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &message, flags.0 | libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// `recvmsg(2)` of at most `len` bytes to `offset`, and what follows them into `tail`, in one call. Returns
    /// the bytes received into both; the tail gets none before the first part is full.
    pub fn recv_with_tail(
        &self,
        fd: BorrowedFd<'_>,
        offset: u64,
        len: u64,
        tail: &mut [u8],
        flags: TransferFlags,
    ) -> io::Result<usize> {
        let target = self.at(offset, len).map_err(io::Error::other)?;
        let mut parts = [
            libc::iovec { iov_base: target.cast(), iov_len: len as usize },
            libc::iovec { iov_base: tail.as_mut_ptr().cast(), iov_len: tail.len() },
        ];
        // SAFETY: `msghdr` is plain data for which all zeroes is a valid value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        // SAFETY: the kernel writes inside the mapping and inside `tail`, both alive during the call.
        let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags.0) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}
