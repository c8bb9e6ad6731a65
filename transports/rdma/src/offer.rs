//! The bytes a prepared lane gives its peer through the control channel: queue-pair address, memory window, and
//! how to connect. A decoded [`Address`] is valid; everything else is refused with a reason.

use crate::ffi::Gid;
use crate::sysfs::Fabric;

const MAGIC: [u8; 4] = *b"PPR1";
const LEN: usize = 88;

/// How the two queue pairs find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendezvous {
    /// Each end sets its queue pair from the other's offer.
    QueuePair,
    /// By the RDMA connection manager; the acceptor listens at `Address::ip` and `Address::cm_port`.
    ConnectionManager,
}

/// Everything the peer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What the port speaks; both ends must speak the same.
    pub fabric: Fabric,
    /// How to connect.
    pub rendezvous: Rendezvous,
    /// Active MTU of the port as the verbs code (1 = 256 … 5 = 4096 bytes).
    pub active_mtu_code: u8,
    /// Reads this end can serve at once.
    pub responder_depth: u8,
    /// Local identifier on InfiniBand.
    pub lid: u16,
    /// Port of the connection manager, 0 when it does not listen.
    pub cm_port: u16,
    /// Queue-pair number.
    pub queue_pair: u32,
    /// First packet sequence number.
    pub first_psn: u32,
    /// GID.
    pub gid: Gid,
    /// IP address (IPv4 mapped) for the connection manager.
    pub ip: [u8; 16],
    /// Address of the first byte of the remotely accessible region.
    pub window_base: u64,
    /// Its length in bytes; 0 when there is none.
    pub window_bytes: u64,
    /// Its key.
    pub window_key: u32,
    /// Where the peer writes how many receives it has posted; 0 when this fabric needs no such account.
    pub credit_base: u64,
    /// Key for that.
    pub credit_key: u32,
    /// Whether the peer may write there.
    pub window_writable: bool,
    /// Whether the peer may read there.
    pub window_readable: bool,
    /// Whether the key is that of a memory window, which the peer may end by SEND_WITH_INV.
    pub window_revocable: bool,
}

impl Address {
    /// As bytes, little endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN);
        out.extend_from_slice(&MAGIC);
        out.push(match self.fabric {
            Fabric::InfiniBand => 1,
            Fabric::Roce => 2,
            Fabric::Iwarp => 3,
            Fabric::Unknown => 0,
        });
        out.push(match self.rendezvous {
            Rendezvous::QueuePair => 1,
            Rendezvous::ConnectionManager => 2,
        });
        out.push(self.active_mtu_code);
        out.push(self.responder_depth);
        out.extend_from_slice(&self.lid.to_le_bytes());
        out.extend_from_slice(&self.cm_port.to_le_bytes());
        out.extend_from_slice(&self.queue_pair.to_le_bytes());
        out.extend_from_slice(&self.first_psn.to_le_bytes());
        out.extend_from_slice(&self.window_key.to_le_bytes());
        out.extend_from_slice(&self.gid);
        out.extend_from_slice(&self.ip);
        out.extend_from_slice(&self.window_base.to_le_bytes());
        out.extend_from_slice(&self.window_bytes.to_le_bytes());
        out.extend_from_slice(&self.credit_base.to_le_bytes());
        out.extend_from_slice(&self.credit_key.to_le_bytes());
        out.push(
            u8::from(self.window_writable)
                | u8::from(self.window_readable) << 1
                | u8::from(self.window_revocable) << 2,
        );
        out.resize(LEN, 0);
        out
    }

    /// From bytes that came from outside.
    pub fn decode(bytes: &[u8]) -> Result<Address, String> {
        if bytes.len() != LEN {
            return Err(format!("an RDMA offer has {LEN} bytes, this one {}", bytes.len()));
        }
        if bytes[..4] != MAGIC {
            return Err("it is not an RDMA offer of this version".into());
        }
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let id_at = |at: usize| -> [u8; 16] { std::array::from_fn(|i| bytes[at + i]) };
        let fabric = match bytes[4] {
            1 => Fabric::InfiniBand,
            2 => Fabric::Roce,
            3 => Fabric::Iwarp,
            other => return Err(format!("unknown fabric {other}")),
        };
        let rendezvous = match bytes[5] {
            1 => Rendezvous::QueuePair,
            2 => Rendezvous::ConnectionManager,
            other => return Err(format!("unknown way to connect {other}")),
        };
        let address = Address {
            fabric,
            rendezvous,
            active_mtu_code: bytes[6],
            responder_depth: bytes[7],
            lid: u16_at(8),
            cm_port: u16_at(10),
            queue_pair: u32_at(12),
            first_psn: u32_at(16),
            window_key: u32_at(20),
            gid: id_at(24),
            ip: id_at(40),
            window_base: u64_at(56),
            window_bytes: u64_at(64),
            credit_base: u64_at(72),
            credit_key: u32_at(80),
            window_writable: bytes[84] & 1 != 0,
            window_readable: bytes[84] & 2 != 0,
            window_revocable: bytes[84] & 4 != 0,
        };
        if mtu_bytes(address.active_mtu_code).is_none() {
            return Err(format!("unknown MTU code {}", address.active_mtu_code));
        }
        // Queue-pair and sequence numbers have 24 bits (IBTA vol. 1, ch. 9).
        if address.queue_pair >> 24 != 0 || address.first_psn >> 24 != 0 {
            return Err("a queue-pair or sequence number has more than 24 bits".into());
        }
        // Payload for a group of hosts is nothing that an offer can ask for (IBTA vol. 1, ch. 4.1.1: a GID of a group begins
        // with 0xFF).
        for id in [address.gid, address.ip] {
            let ip = crate::sysfs::gid_address(&id);
            if ip.is_multicast() || ip == std::net::IpAddr::from(std::net::Ipv4Addr::BROADCAST) {
                return Err(format!("{ip} is the address of a group, not of a peer"));
            }
        }
        if address.window_base.checked_add(address.window_bytes).is_none() {
            return Err("the memory window wraps around".into());
        }
        Ok(address)
    }
}

/// Bytes of an RDMA path MTU code.
pub fn mtu_bytes(code: u8) -> Option<u32> {
    (1..=5).contains(&code).then(|| 128 << code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Address {
        Address {
            fabric: Fabric::Roce,
            rendezvous: Rendezvous::ConnectionManager,
            active_mtu_code: 5,
            responder_depth: 16,
            lid: 0x1234,
            cm_port: 4321,
            queue_pair: 0xABCDEF,
            first_psn: 0x123456,
            gid: std::array::from_fn(|i| i as u8),
            ip: std::array::from_fn(|i| 100 + i as u8),
            window_base: 0x7F00_0000_1000,
            window_bytes: 1 << 20,
            window_key: 0xDEAD_BEEF,
            credit_base: 0x1122_3344_5566,
            credit_key: 77,
            window_writable: true,
            window_readable: false,
            window_revocable: true,
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(Address::decode(&sample().encode()), Ok(sample()));
        assert_eq!(
            (mtu_bytes(1), mtu_bytes(5), mtu_bytes(0), mtu_bytes(6)),
            (Some(256), Some(4096), None, None)
        );
    }

    #[test]
    fn damaged_offers_are_refused_with_a_reason() {
        let good = sample().encode();
        assert!(Address::decode(&good[..87]).is_err());
        assert!(Address::decode(&[]).is_err());
        for (at, value) in [(0, 0), (4, 9), (5, 0), (6, 0), (15, 1), (19, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Address::decode(&bad).is_err(), "byte {at} = {value}");
        }
        for group in [[0xFF; 16], std::net::Ipv4Addr::new(224, 0, 0, 1).to_ipv6_mapped().octets()] {
            for at in [24, 40] {
                let mut bad = good.clone();
                bad[at..at + 16].copy_from_slice(&group);
                assert!(Address::decode(&bad).is_err_and(|why| why.contains("group")), "at {at}");
            }
        }
        let mut wrap = good;
        wrap[56..72].fill(0xFF);
        assert!(Address::decode(&wrap).is_err());
    }
}
