//! With which priority (802.1p) paced datagrams arrive: they are heard once more at the NIC, where the tag of the frame is still on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pathproof_sys::errqueue::Family;
use pathproof_sys::tags::Listener;

use crate::DgramError;
use crate::wire::{self, Datagram, ProbeKey};

/// A paced datagram as its frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Where it came from.
    pub from: IpAddr,
    /// The strand that it belongs to.
    pub strand: u16,
    /// The priority in the tag; `None` for a frame without one.
    pub priority: Option<u8>,
}

/// Hears what arrives for one port, under the key of the other end's datagrams. It sends nothing.
#[derive(Debug)]
pub struct TagListener {
    listener: Listener,
    key: ProbeKey,
    buffer: Vec<u8>,
}

impl TagListener {
    /// At the NIC with this number, for what is sent to `local` and `port`. It takes the right to raw packets.
    pub fn open(nic: u32, local: IpAddr, port: u16, key: ProbeKey) -> Result<TagListener, DgramError> {
        let listener = Listener::open(nic, Family::of(local), port).map_err(DgramError::Tags)?;
        Ok(TagListener { listener, key, buffer: vec![0; 65_536] })
    }

    /// The next arrival, without waiting.
    pub fn next_arrival(&mut self) -> Option<Tagged> {
        // Bounded, so that a flood of something else cannot hold the caller.
        for _ in 0..1024 {
            let received = self.listener.next(&mut self.buffer).ok().flatten()?;
            let Some((from, payload)) = payload(&self.buffer[..received.bytes]) else { continue };
            if let Some(Datagram::Paced(paced)) = wire::read(payload, &self.key) {
                let priority = received.tag.map(|tag| (tag >> 13) as u8);
                return Some(Tagged { from, strand: paced.strand, priority });
            }
        }
        None
    }
}

/// Who sent an IP packet with a whole datagram, and what that says (RFC 791, 8200, 768). Extension headers are none of ours.
fn payload(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let two = |data: &[u8], at: usize| {
        data.get(at..at + 2).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]])))
    };
    let (from, datagram): (IpAddr, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let head = usize::from(packet[0] & 15) * 4;
            (Ipv4Addr::from(from).into(), packet.get(head..two(packet, 2)?)?)
        }
        6 => {
            let from: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            (Ipv6Addr::from(from).into(), packet.get(40..40 + two(packet, 4)?)?)
        }
        _ => return None,
    };
    Some((from, datagram.get(8..two(datagram, 4)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mark, Outcome, PacedListener, UnprovenSocket, wait_readable};
    use proptest::prelude::*;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn key() -> ProbeKey {
        ProbeKey::new(*b"0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn a_packet_is_read_as_far_as_its_headers_say_and_no_further() {
        let mut v4 = vec![0; 20 + 8 + 3];
        (v4[0], v4[3], v4[12], v4[15], v4[25]) = (0x45, 31, 192, 7, 11);
        v4[28..].copy_from_slice(b"abc");
        // A short frame is padded behind the packet.
        v4.extend([9; 20]);
        let expected: IpAddr = "192.0.0.7".parse().unwrap();
        assert_eq!(payload(&v4), Some((expected, &b"abc"[..])));
        v4[0] = 0x46;
        assert_eq!(payload(&v4), None, "options reach into the datagram");
        let mut v6 = vec![0; 40 + 8 + 3];
        (v6[0], v6[5], v6[8], v6[23], v6[45]) = (0x60, 11, 0xfe, 7, 11);
        v6[48..].copy_from_slice(b"abc");
        assert_eq!(payload(&v6), Some(("fe00::7".parse().unwrap(), &b"abc"[..])));
        for length in 0..v6.len() {
            assert_eq!(payload(&v6[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_is_a_panic(packet in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = payload(&packet);
        }
    }

    #[test]
    fn what_arrives_is_heard_with_its_strand_and_without_a_tag_where_there_is_none() {
        for local in ["127.0.0.1", "::1"] {
            let local: IpAddr = local.parse().unwrap();
            let mut listener = PacedListener::open(local, None, key()).unwrap();
            let mut tags = match TagListener::open(1, local, listener.port(), key()) {
                Ok(tags) => tags,
                Err(error) => return assert!(error.to_string().contains("CAP_NET_RAW"), "{error}"),
            };
            let to = (local, listener.port()).into();
            let mut asking = UnprovenSocket::bind(local, None, to, key()).unwrap();
            asking.challenge().unwrap();
            assert_eq!(listener.next_arrival(), None, "a challenge is no arrival");
            wait_readable(&[asking.as_fd()], Duration::from_secs(5)).unwrap();
            asking.next_event().unwrap();
            let mut sender = asking.proven().expect("it consented");
            for (strand, priority) in [(7, None), (8, Some(3)), (9, None)] {
                let paced = wire::Paced { strand, seq: 0, ip_bytes: 88, sent_ns: 5 };
                let sent = sender.send_paced(paced, Mark { class: 0x68, priority }, &mut Vec::new()).unwrap();
                assert_eq!(sent, Outcome::Sent);
                wait_readable(&[listener.as_fd()], Duration::from_secs(5)).unwrap();
                assert_eq!(listener.next_arrival().map(|arrival| arrival.paced), Some(paced));
                // The NIC has seen it before the socket has.
                assert_eq!(tags.next_arrival(), Some(Tagged { from: local, strand, priority: None }));
            }
            assert_eq!(tags.next_arrival(), None);
        }
    }
}
