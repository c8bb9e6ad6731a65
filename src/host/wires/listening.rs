//! Hears who answers the kernel's own question, as a connection is opened. A router that answers for others (proxy ARP) does not answer a probe,
//! which names no sender; and a question in this host's name could move its traffic to whoever answers that last, where the kernel's own does
//! what it would do in any case.
//!
//! It asks nothing and refuses to wait: what has come is read. Where the kernel knew the hardware address already, nothing comes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pathproof_model::environment::PeerRoute;
use pathproof_sys::interfaces::{self, Interface};
use pathproof_sys::neighbours::{Claim, Wire};
use pathproof_sys::routes;

use super::{MACS_MAX, WIRES_MAX};

/// The wires on which this host listens, each with the name of its NIC.
pub struct Listening {
    wires: Vec<(String, Wire)>,
}

impl Listening {
    /// On the NICs by which this host reaches those IPv4 addresses that lie in its own networks; on none without the right to raw packets.
    pub fn to(addresses: &[SocketAddr]) -> Listening {
        let four = addresses.iter().map(|at| at.ip().to_canonical()).filter(IpAddr::is_ipv4);
        let direct = four
            .filter_map(|address| routes::to(address).ok().flatten())
            .filter(|route| route.router.is_none());
        let names: BTreeSet<String> = direct.map(|route| route.interface).collect();
        if names.is_empty() {
            return Listening { wires: vec![] };
        }
        let open = |nic: Interface| {
            let wire = Wire::open(nic.index, nic.mac.as_deref()?).ok()?;
            Some((nic.name, wire))
        };
        let nics = interfaces::list().unwrap_or_default().into_iter();
        let nics = nics.filter(|nic| names.contains(&nic.name) && !nic.is_loopback());
        Listening { wires: nics.filter_map(open).take(WIRES_MAX).collect() }
    }

    /// Who has claimed which address since it was asked last, and the NIC on which that was heard.
    pub fn heard(&self) -> Vec<(String, Claim)> {
        let of_wire = |(nic, wire): &(String, Wire)| {
            let claims = wire.claims(Duration::ZERO).unwrap_or_default();
            claims.into_iter().map(|claim| (nic.clone(), claim)).collect::<Vec<_>>()
        };
        self.wires.iter().flat_map(of_wire).collect()
    }
}

/// Writes down at each of the peer's addresses who answered for it.
pub fn note(heard: &[(String, Claim)], peers: &mut [PeerRoute]) {
    for peer in peers.iter_mut().filter(|peer| peer.router.is_none()) {
        let on_its_nic = heard.iter().filter(|(nic, claim)| {
            claim.address == peer.address.to_canonical() && peer.nic.as_ref() == Some(nic)
        });
        let macs: BTreeSet<String> = on_its_nic.map(|(_, claim)| claim.mac.clone()).collect();
        peer.answered = macs.into_iter().take(MACS_MAX).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_is_written_down_at_the_address_and_on_the_nic_that_leads_there() {
        let (own, router) = ("02:00:00:00:00:02", "02:00:00:00:00:99");
        let claim = |nic: &str, address: [u8; 4], mac: &str| {
            (nic.to_owned(), Claim { address: address.into(), mac: mac.to_owned() })
        };
        let address = [10, 9, 0, 2];
        let heard = [
            claim("e0", address, router),
            claim("e0", address, own),
            claim("e0", address, own),
            claim("e1", address, "02:00:00:00:00:98"),
            claim("e0", [10, 9, 0, 3], "02:00:00:00:00:97"),
        ];
        let direct = PeerRoute { nic: Some("e0".into()), ..PeerRoute::to(address.into()) };
        let routed = PeerRoute { router: Some([10, 9, 0, 254].into()), ..direct.clone() };
        let mut peers = [direct, routed, PeerRoute::to(address.into())];
        note(&heard, &mut peers);
        assert_eq!(peers[0].answered, [own, router]);
        assert!(peers[1].answered.is_empty() && peers[2].answered.is_empty(), "{peers:?}");
    }

    #[test]
    fn a_host_does_not_listen_for_itself() {
        let listening = Listening::to(&[SocketAddr::from(([127, 0, 0, 1], 7797))]);
        assert!(listening.wires.is_empty() && listening.heard().is_empty());
    }
}
