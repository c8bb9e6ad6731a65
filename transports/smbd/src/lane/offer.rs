//! What a lane's end tells the other before they connect: where it listens, and the memory that one-sided verbs may name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use pathproof_api::{Access, Exposed, Offer};

/// First byte of an offer.
const VERSION: u8 = 1;
/// Length of an offer.
pub const OFFER_BYTES: usize = 40;

/// An end's offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferedEnd {
    /// Where the accepting end listens.
    pub listens_at: Option<SocketAddr>,
    /// The memory that the peer may reach.
    pub window: Window,
}

/// Memory of the peer; none where it has no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Address of its first byte.
    pub address: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its key.
    pub key: u32,
    /// It may be read.
    pub readable: bool,
    /// It may be written.
    pub writable: bool,
}

impl Window {
    /// What `exposed` opens to the peer.
    pub fn of(exposed: &Exposed, access: Access) -> Window {
        Window {
            address: exposed.address,
            bytes: exposed.bytes,
            key: exposed.key,
            readable: matches!(access, Access::RemoteRead | Access::RemoteReadWrite),
            writable: matches!(access, Access::RemoteWrite | Access::RemoteReadWrite),
        }
    }

    /// The peer's address of `offset`, if `len` bytes from there on lie inside.
    pub fn at(&self, offset: u64, len: u32) -> Option<u64> {
        let end = offset.checked_add(u64::from(len))?;
        (end <= self.bytes).then(|| self.address.wrapping_add(offset))
    }
}

impl OfferedEnd {
    /// As bytes.
    pub fn encode(&self) -> Offer {
        let mut out = vec![0; OFFER_BYTES];
        out[0] = VERSION;
        out[1] = u8::from(self.window.readable) | u8::from(self.window.writable) << 1;
        if let Some(address) = self.listens_at {
            let ip = match address.ip() {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            out[2..4].copy_from_slice(&address.port().to_le_bytes());
            out[4..20].copy_from_slice(&ip.octets());
        }
        out[20..28].copy_from_slice(&self.window.address.to_le_bytes());
        out[28..36].copy_from_slice(&self.window.bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.window.key.to_le_bytes());
        Offer(out)
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Option<OfferedEnd> {
        let bytes: &[u8; OFFER_BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let octets: [u8; 16] = bytes[4..20].try_into().ok()?;
        let ip = Ipv6Addr::from(octets);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        let port = u16::from_le_bytes([bytes[2], bytes[3]]);
        let window = Window {
            address: word(20),
            bytes: word(28),
            key: u32::from_le_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]),
            readable: bytes[1] & 1 != 0,
            writable: bytes[1] & 2 != 0,
        };
        let inside = window.address.checked_add(window.bytes).is_some();
        (bytes[0] == VERSION && bytes[1] < 4 && inside)
            .then_some(OfferedEnd { listens_at: (port != 0).then(|| SocketAddr::new(ip, port)), window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_as_they_are_written_and_nothing_else_is() {
        let window = Window { address: 1 << 40, bytes: 1 << 20, key: 77, readable: true, writable: false };
        for listens_at in
            [None, Some("10.77.0.2:5445".parse().unwrap()), Some("[fe80::1]:1".parse().unwrap())]
        {
            let end = OfferedEnd { listens_at, window };
            assert_eq!(OfferedEnd::decode(&end.encode().0), Some(end));
            assert_eq!(OfferedEnd::decode(&end.encode().0[1..]), None);
        }
        let beyond = OfferedEnd { window: Window { address: u64::MAX, ..window }, listens_at: None };
        assert_eq!(
            OfferedEnd::decode(&beyond.encode().0),
            None,
            "memory that leaves the address space is none"
        );
        assert_eq!(
            (window.at(1 << 20, 0), window.at((1 << 20) - 7, 7)),
            (Some((1 << 40) + (1 << 20)), Some((1 << 40) + (1 << 20) - 7))
        );
        assert_eq!((window.at(1 << 20, 1), window.at(u64::MAX, 1)), (None, None));
    }
}
