//! Questions on one wire who has an IPv6 address (neighbour solicitation, RFC 4861).

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::arp::{heard, octets};
use super::errqueue::report_hop_limit;
use crate::neighbours::Claim;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Options: the hardware address of who asks, and of who answers.
const SOURCE_HARDWARE: u8 = 1;
const TARGET_HARDWARE: u8 = 2;
/// Who hears such a packet with another hop limit knows that it has come from further away than this wire.
const HOPS: u32 = 255;

/// One interface's wire. Opening it takes the right to raw packets (`CAP_NET_RAW`).
pub struct Wire6 {
    socket: Socket,
    index: u32,
    mac: [u8; 6],
}

impl Wire6 {
    /// The wire of the interface with this name, number and hardware address, asked in the name of `own`, an address that it has: a
    /// question without one is what a host asks that wants the address for itself.
    pub fn open(name: &str, index: u32, mac: &str, own: Ipv6Addr) -> io::Result<Wire6> {
        let mac = octets(mac).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.bind(&SocketAddrV6::new(own, 0, 0, index).into())?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(HOPS)?;
        report_hop_limit(socket.as_fd())?;
        Ok(Wire6 { socket, index, mac })
    }

    /// Asks everybody on the wire who has `wanted`. Whoever has it answers this host alone.
    pub fn ask(&self, wanted: Ipv6Addr) -> io::Result<()> {
        // Type, code, checksum (the system's affair), four reserved.
        let mut packet = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        packet.extend(wanted.octets());
        packet.extend([SOURCE_HARDWARE, 1]);
        packet.extend(self.mac);
        // Whoever has the address listens to the group of its last three octets.
        let [.., a, b, c] = wanted.octets();
        let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
        self.socket.send_to(&packet, &SocketAddrV6::new(group, 0, 0, self.index).into()).map(drop)
    }

    /// Who claimed to have which address within `wait`. What a router passed on is from further away, whatever it says, and claims
    /// nothing here (RFC 4861 §7.1.2).
    pub fn claims(&self, wait: Duration) -> io::Result<Vec<Claim>> {
        heard(&self.socket, wait, |got, packet| claim(packet, got.hop_limit))
    }
}

/// An advertisement from this wire that says which hardware address has the address.
fn claim(packet: &[u8], hop_limit: Option<u8>) -> Option<Claim> {
    if hop_limit.map(u32::from) != Some(HOPS) {
        return None;
    }
    let address: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let options = packet.get(24..)?;
    if packet[0] != ADVERTISEMENT {
        return None;
    }
    let mut rest = options;
    while let [kind, eights, ..] = *rest {
        let length = usize::from(eights) * 8;
        let option = rest.get(..length).filter(|option| !option.is_empty())?;
        if kind == TARGET_HARDWARE && length == 8 {
            let mac: Vec<String> = option[2..].iter().map(|byte| format!("{byte:02x}")).collect();
            return Some(Claim { address: Ipv6Addr::from(address).into(), mac: mac.join(":") });
        }
        rest = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertisement(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0];
        packet.extend("fd09::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(options);
        packet
    }

    fn claim(packet: &[u8]) -> Option<Claim> {
        super::claim(packet, Some(255))
    }

    #[test]
    fn who_is_further_away_than_this_wire_claims_nothing() {
        let packet = advertisement(&[TARGET_HARDWARE, 1, 2, 0, 0, 0, 0, 0xab]);
        assert!(super::claim(&packet, Some(255)).is_some());
        for hop_limit in [None, Some(254), Some(64), Some(0)] {
            assert_eq!(super::claim(&packet, hop_limit), None, "{hop_limit:?}");
        }
    }

    #[test]
    fn an_advertisement_with_a_hardware_address_claims_and_nothing_else_does() {
        let mac = [TARGET_HARDWARE, 1, 2, 0, 0, 0, 0, 0xab];
        let told = claim(&advertisement(&mac)).unwrap();
        assert_eq!((told.address, told.mac.as_str()), ("fd09::2".parse().unwrap(), "02:00:00:00:00:ab"));
        // Behind another option, which is not looked at.
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        assert_eq!(claim(&advertisement(&[nonce, mac].concat())), Some(told));
        let mut question = advertisement(&mac);
        question[0] = SOLICITATION;
        assert_eq!(claim(&question), None);
        // None, one without an end, one that never ends, one of another size.
        for wrong in [&[][..], &[TARGET_HARDWARE, 1, 2], &[14, 0, 0, 0, 0, 0, 0, 0], &[TARGET_HARDWARE, 2, 0]]
        {
            assert_eq!(claim(&advertisement(wrong)), None, "{wrong:?}");
        }
        assert_eq!(claim(&[ADVERTISEMENT]), None);
    }
}
