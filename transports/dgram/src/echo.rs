//! ICMP echo with DF, for peers without an agent: an unprivileged ping socket where the system allows it, a raw
//! socket where this process may open one, and otherwise an error that names what would help.
//!
//! An echo reply is as large as its request, so the figure is the smaller of both directions. This module makes
//! no attempt to tell them apart.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use pathproof_sys::errqueue::{self, Family, is_about_earlier};
use socket2::{Domain, Protocol, Socket, Type};

use crate::udp::{Event, Outcome, bind_to, drain_errors, send_one, socket_error};
use crate::wire::{self, ProbeKey};
use crate::{DgramError, headers_bytes};

/// Type, code, checksum, identifier, sequence.
const ECHO_HEADER_BYTES: usize = 8;

/// A socket that sends echo requests from one address, out of one NIC.
#[derive(Debug)]
pub struct EchoSocket {
    socket: Socket,
    family: Family,
    /// The kernel neither prepends nor strips for raw IPv4 sockets what it does for ping sockets.
    raw: bool,
    key: ProbeKey,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
}

impl EchoSocket {
    /// Opens the first kind of socket that this process may have.
    pub fn open(local: IpAddr, nic: Option<&str>, key: ProbeKey) -> Result<EchoSocket, DgramError> {
        let family = Family::of(local);
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => (socket, false),
            Err(_) => match Socket::new(domain, Type::RAW, Some(protocol)) {
                Ok(socket) => (socket, true),
                Err(_) => return Err(DgramError::NoEcho { range: ping_group_range() }),
            },
        };
        bind_to(&socket, local, nic)?;
        let fail = |operation| socket_error(local, nic, operation);
        errqueue::probe_path_mtu(socket.as_fd(), family).map_err(fail("set DF"))?;
        errqueue::queue_errors(socket.as_fd(), family).map_err(fail("ask for ICMP errors"))?;
        errqueue::report_fragments(socket.as_fd(), family).map_err(fail("ask for fragment sizes"))?;
        let _ = socket.set_send_buffer_size(4 << 20);
        let _ = socket.set_recv_buffer_size(8 << 20);
        Ok(EchoSocket { socket, family, raw, key, buffer: vec![0; 65_600], events: VecDeque::new() })
    }

    /// Whether this is a raw socket (which needs a privilege) rather than a ping socket.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Sends one echo request: an IP packet of exactly `ip_bytes` bytes.
    pub fn send(&mut self, to: IpAddr, seq: u32, ip_bytes: u32) -> Result<Outcome, DgramError> {
        let Ok(length) = u16::try_from(ip_bytes) else { return Ok(Outcome::TooBig { ip_mtu_bytes: None }) };
        let payload = (ip_bytes as usize).saturating_sub(headers_bytes(self.family)).max(wire::HEADER_BYTES);
        let mut packet = vec![0; ECHO_HEADER_BYTES + payload];
        packet[0] = match self.family {
            Family::V4 => 8,
            Family::V6 => 128,
        };
        packet[6..8].copy_from_slice(&(seq as u16).to_be_bytes());
        wire::write_probe(&mut packet[ECHO_HEADER_BYTES..], &self.key, seq, length);
        if self.raw && self.family == Family::V4 {
            // Ping sockets and ICMPv6 sockets have their checksum filled in by the kernel.
            packet[4..6].copy_from_slice(&(std::process::id() as u16).to_be_bytes());
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let key = &self.key;
        let to = SocketAddr::new(to, 0);
        send_one(&self.socket, &packet, to, &mut self.buffer, &mut self.events, |quoted| {
            sequence(quoted, key)
        })
    }

    /// The next thing that came back, without waiting.
    pub fn next_event(&mut self) -> Result<Option<Event>, DgramError> {
        let key = &self.key;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            drain_errors(&self.socket, &mut self.buffer, &mut self.events, |quoted| sequence(quoted, key))?;
            if !self.events.is_empty() {
                continue;
            }
            let received = match errqueue::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(None),
                // The error of an ICMP message; its entry is read from the queue in the next turn.
                Err(error) if is_about_earlier(&error) => continue,
                Err(error) => return Err(DgramError::Receive(error)),
            };
            let data = &self.buffer[..received.bytes];
            let skip = if self.raw && self.family == Family::V4 {
                // Raw IPv4 sockets deliver the IP header too, whose length is in its first byte.
                data.first().map_or(0, |first| usize::from(first & 15) * 4)
            } else {
                0
            };
            let reply = match self.family {
                Family::V4 => 0,
                Family::V6 => 129,
            };
            let Some(icmp) = data.get(skip..).filter(|icmp| icmp.first() == Some(&reply)) else { continue };
            if let Some(seq) = sequence(icmp, key) {
                return Ok(Some(Event::Arrived {
                    seq,
                    largest_fragment_bytes: received.largest_fragment_bytes,
                    recent: Vec::new(),
                }));
            }
        }
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The number of the probe inside an ICMP packet or a quotation of one.
fn sequence(icmp: &[u8], key: &ProbeKey) -> Option<u32> {
    wire::read_quoted(icmp.get(ECHO_HEADER_BYTES..)?, key)
}

/// The Internet checksum (RFC 1071).
fn checksum(data: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in data.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn ping_group_range() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range")
        .map(|range| range.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_else(|_| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00);
    }
}
