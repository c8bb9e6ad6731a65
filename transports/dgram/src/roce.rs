//! With which marks packets of RoCE v2 arrive (IBTA annex A17: UDP to port 4791), as far as a NIC shows them to the kernel: software devices do,
//! adapters take theirs off the wire before. It refuses to read more of them than their IP header, and sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pathproof_sys::errqueue::Family;
use pathproof_sys::tags::Listener;

use crate::DgramError;

/// Where they go to.
const PORT: u16 = 4791;
/// The longer one of the headers.
const HEAD_BYTES: usize = 40;

/// Hears packets of RoCE v2 that arrive at a NIC: those for which its queue has room, so a part of many.
#[derive(Debug)]
pub struct RoceListener {
    listener: Listener,
    buffer: [u8; HEAD_BYTES],
}

impl RoceListener {
    /// At the NIC with this number, of the family of `local`. It takes the right to raw packets.
    pub fn open(nic: u32, local: IpAddr) -> Result<RoceListener, DgramError> {
        let listener = Listener::open(nic, Family::of(local), PORT).map_err(DgramError::Packets)?;
        Ok(RoceListener { listener, buffer: [0; HEAD_BYTES] })
    }

    /// Who sent the next one, and the traffic class that it arrived with, without waiting.
    pub fn next_arrival(&mut self) -> Option<(IpAddr, u8)> {
        let received = self.listener.next(&mut self.buffer).ok().flatten()?;
        head(self.buffer.get(..received.bytes)?)
    }
}

/// Who sent an IP packet, and its traffic class (RFC 791, 8200).
fn head(packet: &[u8]) -> Option<(IpAddr, u8)> {
    let (first, second) = (*packet.first()?, *packet.get(1)?);
    match first >> 4 {
        4 => {
            let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            Some((Ipv4Addr::from(from).into(), second))
        }
        6 => {
            let from: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            Some((Ipv6Addr::from(from).into(), first << 4 | second >> 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use pathproof_sys::errqueue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_class_is_read_from_the_header_of_either_family() {
        let mut v4 = [0; 20];
        (v4[0], v4[1], v4[12], v4[15]) = (0x45, 0x69, 192, 7);
        assert_eq!(head(&v4), Some(("192.0.0.7".parse().unwrap(), 0x69)));
        let mut v6 = [0; 40];
        (v6[0], v6[1], v6[8], v6[23]) = (0x66, 0x9f, 0xfe, 7);
        assert_eq!(head(&v6), Some(("fe00::7".parse().unwrap(), 0x69)));
        assert_eq!((head(&v4[..15]), head(&v6[..23]), head(&[0x15; 40])), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_packet_is_a_panic(packet in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = head(&packet);
        }
    }

    #[test]
    fn a_packet_of_roce_is_heard_with_its_class_and_nothing_else_is() {
        for local in ["127.0.0.1", "::1"] {
            let local: IpAddr = local.parse().unwrap();
            let mut listener = match RoceListener::open(1, local) {
                Ok(listener) => listener,
                Err(error) => return assert!(error.to_string().contains("CAP_NET_RAW"), "{error}"),
            };
            let own = UdpSocket::bind((local, 0)).unwrap();
            own.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            errqueue::set_traffic_class(own.as_fd(), Family::of(local), 0x68).unwrap();
            let heard = (0..100).find_map(|_| {
                own.send_to(&[7; 12], (local, PORT)).unwrap();
                // What goes to another port is not heard, and has arrived after the other.
                own.send_to(&[7; 12], own.local_addr().unwrap()).unwrap();
                own.recv(&mut [0; 12]).unwrap();
                listener.next_arrival()
            });
            assert_eq!(heard, Some((local, 0x68)));
        }
    }
}
