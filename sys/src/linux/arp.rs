//! Questions on one wire who has an IPv4 address (ARP, RFC 826).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::errqueue::{self, Received};
use super::socket::wait_readable;
use crate::clock::RealClock;
use crate::neighbours::Claim;

/// `ETH_P_ARP` as it goes over the wire.
const ARP: u16 = (libc::ETH_P_ARP as u16).to_be();
/// An ARP packet about IPv4 over Ethernet.
const PACKET_BYTES: usize = 28;
/// What every such packet begins with: Ethernet, IPv4, and the lengths of their addresses.
const HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
/// Most packets that are read; a wire on which everybody asks all the time must not hold anybody up.
const PACKETS_MAX: usize = 4096;
/// Room for a packet that claims an address in either family, with the options that it may have beside that.
const PACKET_BYTES_MAX: usize = 128;

/// One interface's wire. Opening it takes the right to raw packets (`CAP_NET_RAW`).
pub struct Wire {
    socket: Socket,
    index: i32,
    mac: [u8; 6],
}

impl Wire {
    /// The wire of the interface with this number and this hardware address.
    pub fn open(index: u32, mac: &str) -> io::Result<Wire> {
        let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mac = octets(mac).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // Without a protocol nothing is heard before it is bound to one interface.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.bind(&address(index, ARP, [0; 6])?)?;
        Ok(Wire { socket, index, mac })
    }

    /// Asks everybody on the wire who has `address`, as a probe (RFC 5227 §1.1): it names no sender's address, so nobody learns
    /// anything from it and no table changes.
    pub fn ask(&self, wanted: Ipv4Addr) -> io::Result<()> {
        let mut packet = [0; PACKET_BYTES];
        packet[..6].copy_from_slice(&HEAD);
        packet[6..8].copy_from_slice(&REQUEST);
        packet[8..14].copy_from_slice(&self.mac);
        packet[24..].copy_from_slice(&wanted.octets());
        self.socket.send_to(&packet, &address(self.index, ARP, [0xff; 6])?).map(drop)
    }

    /// Who claimed to have which address within `wait`.
    pub fn claims(&self, wait: Duration) -> io::Result<Vec<Claim>> {
        heard(&self.socket, wait, |_, packet| packet.first_chunk().and_then(claim))
    }
}

/// What `claim` makes of the packets that come within `wait`; of what has come already even where no time is left: other wires were
/// waited for meanwhile.
pub(super) fn heard(
    socket: &Socket,
    wait: Duration,
    claim: impl Fn(&Received, &[u8]) -> Option<Claim>,
) -> io::Result<Vec<Claim>> {
    let until = RealClock::new().deadline(wait);
    let mut claims = Vec::new();
    for _ in 0..PACKETS_MAX {
        let mut packet = [0; PACKET_BYTES_MAX];
        match errqueue::receive(socket.as_fd(), &mut packet) {
            Ok(Some(got)) => claims.extend(claim(&got, &packet[..got.bytes])),
            Ok(None) if until.left().is_zero() => break,
            Ok(None) => drop(wait_readable(&[socket.as_fd()], Some(until.left()))?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(claims)
}

/// Whoever names itself as the sender's address claims to have it, in questions as in answers.
fn claim(packet: &[u8; PACKET_BYTES]) -> Option<Claim> {
    if packet[..6] != HEAD {
        return None;
    }
    let address = Ipv4Addr::new(packet[14], packet[15], packet[16], packet[17]);
    let mac: Vec<String> = packet[8..14].iter().map(|byte| format!("{byte:02x}")).collect();
    (!address.is_unspecified()).then(|| Claim { address: address.into(), mac: mac.join(":") })
}

pub(super) fn octets(mac: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> = mac.split(':').map_while(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    octets.try_into().ok()
}

/// A protocol, as it goes over the wire, on one interface, to one hardware address.
pub(super) fn address(index: i32, protocol: u16, mac: [u8; 6]) -> io::Result<SockAddr> {
    let mut hardware = [0; 8];
    hardware[..6].copy_from_slice(&mac);
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: hardware,
    };
    // SAFETY: the storage is as large and as aligned as any socket address, so a `sockaddr_ll` fits; its whole length is written
    // before that length is said.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(link);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_from_questions_and_answers_and_a_probe_claims_nothing() {
        let mut packet = [0; PACKET_BYTES];
        packet[..6].copy_from_slice(&HEAD);
        packet[8..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xab]);
        assert_eq!(claim(&packet), None);
        packet[14..18].copy_from_slice(&[192, 0, 2, 7]);
        let told = claim(&packet).unwrap();
        assert_eq!((told.address, told.mac.as_str()), ([192, 0, 2, 7].into(), "02:00:00:00:00:ab"));
        packet[1] = 6;
        assert_eq!(claim(&packet), None, "not Ethernet");
    }

    #[test]
    fn what_is_no_hardware_address_opens_no_wire() {
        assert_eq!(octets("02:00:00:00:00:ab"), Some([2, 0, 0, 0, 0, 0xab]));
        for wrong in ["", "02:00", "02:00:00:00:00:0g", "02:00:00:00:00:00:00"] {
            assert!(Wire::open(1, wrong).is_err(), "{wrong}");
        }
    }
}
