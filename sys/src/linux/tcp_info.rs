//! `TCP_INFO`: what the kernel knows of a TCP connection. `None` is unknown, never zero.
//!
//! Decoded by offset (linux/tcp.h), because the structure grows with every kernel and the C library's copy of it lags
//! behind. Fields beyond the length that the kernel returned stay unknown.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Longer than the structure of any kernel today.
const ROOM: usize = 320;

/// What is looked at while a connection carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Segment size used for sending, in bytes (`tcpi_snd_mss`).
    pub send_segment_bytes: Option<u64>,
    /// Path MTU that the kernel assumes, in bytes (`tcpi_pmtu`).
    pub path_ip_mtu_bytes: Option<u64>,
    /// Smoothed round trip estimate, in ns (`tcpi_rtt`).
    pub rtt_ns: Option<u64>,
    /// Round trip variation, in ns.
    pub rtt_variation_ns: Option<u64>,
    /// Smallest round trip that was seen, in ns.
    pub rtt_min_ns: Option<u64>,
    /// Congestion window in segments.
    pub congestion_window_segments: Option<u64>,
    /// Segments sent again since the connection came about.
    pub retransmits: Option<u64>,
}

/// All of it that tells why a connection was as fast as it was, asked once at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpConnection {
    /// Both ends use time stamps (RFC 7323).
    pub timestamps: Option<bool>,
    /// Both ends use selective acknowledgements (RFC 2018).
    pub selective_acknowledgements: Option<bool>,
    /// Both ends scale their windows (RFC 7323).
    pub window_scaling: Option<bool>,
    /// Both ends take marks of congestion (RFC 3168).
    pub congestion_marks: Option<bool>,
    /// The peer's windows are shifted by so many bits.
    pub send_window_shift: Option<u64>,
    /// This end's windows are.
    pub receive_window_shift: Option<u64>,
    /// The time stamp of the last rate says that the sender had nothing to send.
    pub application_limited: Option<bool>,
    /// Retransmission timer, in ns.
    pub retransmit_timer_ns: Option<u64>,
    /// Segment size used for sending, in bytes.
    pub send_segment_bytes: Option<u64>,
    /// Segment size seen when receiving, in bytes.
    pub receive_segment_bytes: Option<u64>,
    /// Segment size that this end announced, in bytes.
    pub announced_segment_bytes: Option<u64>,
    /// Path MTU that the kernel assumes, in bytes.
    pub path_ip_mtu_bytes: Option<u64>,
    /// Smoothed round trip, in ns.
    pub rtt_ns: Option<u64>,
    /// Smallest round trip, in ns.
    pub rtt_min_ns: Option<u64>,
    /// Congestion window, in segments.
    pub congestion_window_segments: Option<u64>,
    /// The peer's window, in bytes.
    pub send_window_bytes: Option<u64>,
    /// The window that this end announces, in bytes.
    pub receive_window_bytes: Option<u64>,
    /// Segments on the way at the end.
    pub unacknowledged_segments: Option<u64>,
    /// Of them, segments taken for lost.
    pub lost_segments: Option<u64>,
    /// Bytes that had not left.
    pub not_sent_bytes: Option<u64>,
    /// Segments sent again.
    pub retransmitted_segments: Option<u64>,
    /// Bytes sent again.
    pub retransmitted_bytes: Option<u64>,
    /// Bytes sent, repeated ones included.
    pub sent_bytes: Option<u64>,
    /// Bytes received in order.
    pub received_bytes: Option<u64>,
    /// Segments that the peer says it had already.
    pub duplicates_reported: Option<u64>,
    /// Times that the path was seen to reorder.
    pub reorderings: Option<u64>,
    /// Segments received ahead of what was missing.
    pub received_out_of_order: Option<u64>,
    /// Segments confirmed by the peer.
    pub delivered_segments: Option<u64>,
    /// Of them, those that came with a mark of congestion.
    pub delivered_with_congestion_mark: Option<u64>,
    /// Times that the retransmission timer ran out.
    pub timeouts: Option<u64>,
    /// Time with something to send, in ns.
    pub busy_ns: Option<u64>,
    /// Of it, time held back by the peer's window, in ns.
    pub receive_window_limited_ns: Option<u64>,
    /// Of it, time held back by this end's send buffer, in ns.
    pub send_buffer_limited_ns: Option<u64>,
    /// Rate of the last delivery, in bit/s.
    pub delivery_bits_per_s: Option<u64>,
    /// Round trip variation, in ns.
    pub rtt_variation_ns: Option<u64>,
    /// Round trip as the receiver sees it, in ns.
    pub receive_rtt_ns: Option<u64>,
    /// Congestion window at which growth slows down, in segments; `None` as long as nothing was taken for lost.
    pub slow_start_threshold_segments: Option<u64>,
    /// By how many segments the path may reorder before that is taken for loss.
    pub reordering_segments: Option<u64>,
    /// Segments sent, with and without payload.
    pub sent_segments: Option<u64>,
    /// Segments received, with and without payload.
    pub received_segments: Option<u64>,
    /// The pace of the kernel, in bit/s; `None` where it has none.
    pub pacing_bits_per_s: Option<u64>,
}

/// `TCP_INFINITE_SSTHRESH`.
const NO_THRESHOLD: u64 = 0x7fff_ffff;

/// The structure as the kernel of this machine fills it.
struct Raw {
    bytes: [u8; ROOM],
    length: usize,
}

impl Raw {
    fn ask(fd: BorrowedFd<'_>) -> io::Result<Raw> {
        let mut bytes = [0u8; ROOM];
        let mut length = bytes.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `bytes` and stores the length written.
        let failed = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                bytes.as_mut_ptr().cast(),
                &mut length,
            )
        } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(Raw { bytes, length: length as usize }) }
    }

    fn known(&self) -> &[u8] {
        &self.bytes[..self.length.min(ROOM)]
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.known().get(at).copied()
    }

    fn half(&self, at: usize) -> Option<u64> {
        Some(u64::from(u16::from_ne_bytes(self.known().get(at..at + 2)?.try_into().ok()?)))
    }

    fn word(&self, at: usize) -> Option<u64> {
        Some(u64::from(u32::from_ne_bytes(self.known().get(at..at + 4)?.try_into().ok()?)))
    }

    fn long(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.known().get(at..at + 8)?.try_into().ok()?))
    }

    /// The kernel's "no sample yet" is all ones.
    fn rtt_min_ns(&self) -> Option<u64> {
        nanoseconds(self.word(148).filter(|us| *us != u64::from(u32::MAX)))
    }
}

/// From microseconds.
fn nanoseconds(us: Option<u64>) -> Option<u64> {
    us.map(|us| us.saturating_mul(1000))
}

/// Asks for what is looked at while a connection carries.
pub fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let raw = Raw::ask(fd)?;
    Ok(TcpInfo {
        send_segment_bytes: raw.word(16),
        path_ip_mtu_bytes: raw.word(60),
        rtt_ns: nanoseconds(raw.word(68)),
        rtt_variation_ns: nanoseconds(raw.word(72)),
        congestion_window_segments: raw.word(80),
        retransmits: raw.word(100),
        rtt_min_ns: raw.rtt_min_ns(),
    })
}

/// Asks for all of it.
pub fn tcp_connection(connection: impl AsFd) -> io::Result<TcpConnection> {
    Raw::ask(connection.as_fd()).map(|raw| self::connection(&raw))
}

fn connection(raw: &Raw) -> TcpConnection {
    // TCPI_OPT_… of linux/tcp.h.
    let option = |bit: u8| raw.byte(5).map(|options| options & bit != 0);
    // Bit fields begin at the low end where bytes do.
    let shifts = raw.byte(6).map(|byte| match cfg!(target_endian = "little") {
        true => (byte & 0xF, byte >> 4),
        false => (byte >> 4, byte & 0xF),
    });
    let limited = if cfg!(target_endian = "little") { 0x01 } else { 0x80 };
    TcpConnection {
        timestamps: option(1),
        selective_acknowledgements: option(2),
        window_scaling: option(4),
        congestion_marks: option(8),
        send_window_shift: shifts.map(|(send, _)| send.into()),
        receive_window_shift: shifts.map(|(_, receive)| receive.into()),
        application_limited: raw.byte(7).map(|flags| flags & limited != 0),
        retransmit_timer_ns: nanoseconds(raw.word(8)),
        send_segment_bytes: raw.word(16),
        receive_segment_bytes: raw.word(20),
        announced_segment_bytes: raw.word(84),
        path_ip_mtu_bytes: raw.word(60),
        rtt_ns: nanoseconds(raw.word(68)),
        rtt_min_ns: raw.rtt_min_ns(),
        congestion_window_segments: raw.word(80),
        send_window_bytes: raw.word(228),
        receive_window_bytes: raw.word(232),
        unacknowledged_segments: raw.word(24),
        lost_segments: raw.word(32),
        not_sent_bytes: raw.word(144),
        retransmitted_segments: raw.word(100),
        retransmitted_bytes: raw.long(208),
        sent_bytes: raw.long(200),
        received_bytes: raw.long(128),
        duplicates_reported: raw.word(216),
        reorderings: raw.word(220),
        received_out_of_order: raw.word(224),
        delivered_segments: raw.word(192),
        delivered_with_congestion_mark: raw.word(196),
        timeouts: raw.half(240),
        busy_ns: nanoseconds(raw.long(168)),
        receive_window_limited_ns: nanoseconds(raw.long(176)),
        send_buffer_limited_ns: nanoseconds(raw.long(184)),
        delivery_bits_per_s: raw.long(160).map(|bytes_per_s| bytes_per_s.saturating_mul(8)),
        rtt_variation_ns: nanoseconds(raw.word(72)),
        receive_rtt_ns: nanoseconds(raw.word(92)),
        slow_start_threshold_segments: raw.word(76).filter(|threshold| *threshold < NO_THRESHOLD),
        reordering_segments: raw.word(88),
        sent_segments: raw.word(136),
        received_segments: raw.word(140),
        // All ones is no pace.
        pacing_bits_per_s: raw.long(104).filter(|pace| *pace != u64::MAX).map(|pace| pace.saturating_mul(8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_connection_of_this_machine_tells_what_went_over_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(&[7; 1000]).unwrap();
        far.read_exact(&mut [0; 1000]).unwrap();
        let told = tcp_connection(near.as_fd()).unwrap();
        assert_eq!(
            (told.sent_bytes, told.retransmitted_bytes, told.timeouts.unwrap_or(0)),
            (Some(1000), Some(0), 0)
        );
        assert_eq!(tcp_connection(far.as_fd()).unwrap().received_bytes, Some(1000));
        // The loopback's segments are as long as its MTU allows, less the headers of IP and TCP.
        let (mtu, segment) = (told.path_ip_mtu_bytes.unwrap(), told.send_segment_bytes.unwrap());
        assert!(segment + 40 <= mtu && segment > 500, "{told:?}");
        assert!(told.sent_segments > Some(1) && told.rtt_variation_ns.is_some(), "{told:?}");
        let short = tcp_info(near.as_fd()).unwrap();
        assert_eq!((short.send_segment_bytes, short.path_ip_mtu_bytes), (Some(segment), Some(mtu)));
    }

    #[test]
    fn what_an_older_kernel_does_not_tell_is_unknown() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let raw = Raw::ask(near.as_fd()).unwrap();
        // 104 bytes is the structure of Linux 2.6; nothing behind it may be taken for zero.
        let old = connection(&Raw { length: 104, ..raw });
        assert_eq!((old.retransmitted_segments, old.retransmitted_bytes, old.busy_ns), (Some(0), None, None));
        assert_eq!(connection(&Raw { bytes: [0; ROOM], length: 0 }), TcpConnection::default());
    }

    #[test]
    fn a_threshold_and_a_pace_that_nobody_set_are_none() {
        let mut bytes = [0; ROOM];
        bytes[76..80].copy_from_slice(&0x7fff_ffff_u32.to_ne_bytes());
        bytes[104..112].copy_from_slice(&u64::MAX.to_ne_bytes());
        let none = connection(&Raw { bytes, length: ROOM });
        assert_eq!((none.slow_start_threshold_segments, none.pacing_bits_per_s), (None, None));
        bytes[76..80].copy_from_slice(&10_u32.to_ne_bytes());
        bytes[104..112].copy_from_slice(&1000_u64.to_ne_bytes());
        bytes[136..140].copy_from_slice(&7_u32.to_ne_bytes());
        let set = connection(&Raw { bytes, length: ROOM });
        assert_eq!((set.slow_start_threshold_segments, set.pacing_bits_per_s), (Some(10), Some(8000)));
        assert_eq!((set.sent_segments, set.received_segments), (Some(7), Some(0)));
    }
}
