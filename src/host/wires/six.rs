//! The same question in IPv6: it is heard by the owners of an address alone, and asked where both hosts have an address of one network.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use pathproof_model::{Environment, Nic, NicAddress, WireAnswer, Wires};
use pathproof_sys::neighbours::Wire6;

use super::{ADDRESSES_MAX, MACS_MAX, WIRES_MAX, is_wired};

/// Wires on which the question is out.
pub struct Asked<'a> {
    wires: Vec<(&'a Nic, Wire6, Vec<Ipv6Addr>)>,
}

/// Asks on every wire of `here` for the addresses of `peer` that lie in a network of its.
pub fn ask<'a>(here: &'a Environment, peer: &Environment, unasked: &mut Vec<String>) -> Asked<'a> {
    let own: BTreeSet<Ipv6Addr> = here.nics.iter().flat_map(|nic| addresses(nic).map(|(ip, _)| ip)).collect();
    // Who answers for an address that the peer was given and does not use is somebody else.
    let theirs = peer.nics.iter().flat_map(|nic| addresses(nic).chain(of_networks(&nic.taken_addresses)));
    let theirs: BTreeSet<Ipv6Addr> = theirs.map(|(ip, _)| ip).collect();
    let mut wires = Vec::new();
    for nic in here.nics.iter().filter(|nic| is_wired(nic)).take(WIRES_MAX) {
        let in_network = |wanted: &Ipv6Addr| {
            addresses(nic)
                .find(|(own, len)| network(*own, *len) == network(*wanted, *len))
                .map(|(own, _)| own)
        };
        let wanted: Vec<Ipv6Addr> =
            theirs.difference(&own).copied().filter(|a| in_network(a).is_some()).collect();
        let Some(from) = wanted.first().and_then(in_network) else { continue };
        let wanted: Vec<Ipv6Addr> = wanted.into_iter().take(ADDRESSES_MAX).collect();
        let asked = Wire6::open(&nic.name, nic.index, nic.mac.as_deref().unwrap_or_default(), from)
            .and_then(|wire| wanted.iter().try_for_each(|address| wire.ask(*address)).map(|()| wire));
        match asked {
            Ok(wire) => wires.push((nic, wire, wanted)),
            Err(why) => unasked.push(format!("{}: IPv6: {why}", nic.name)),
        }
    }
    Asked { wires }
}

impl Asked<'_> {
    /// Who answered within `wait`.
    pub fn told(self, wait: Duration, wires: &mut Wires) {
        for (at, (nic, wire, wanted)) in self.wires.into_iter().enumerate() {
            // The first is waited for; what came on the others meanwhile is there to be read.
            let claims = wire.claims(if at == 0 { wait } else { Duration::ZERO }).unwrap_or_default();
            for address in wanted.into_iter().map(IpAddr::from) {
                let macs: BTreeSet<String> = claims
                    .iter()
                    .filter(|claim| claim.address == address)
                    .map(|claim| claim.mac.clone())
                    .collect();
                let macs = macs.into_iter().take(MACS_MAX).collect();
                wires.answers.push(WireAnswer { nic: nic.name.clone(), address, shares_network: true, macs });
            }
        }
    }
}

/// The addresses of a NIC with the lengths of their prefixes; those of one link alone are on every wire.
fn addresses(nic: &Nic) -> impl Iterator<Item = (Ipv6Addr, u8)> {
    of_networks(&nic.addresses)
}

fn of_networks(all: &[NicAddress]) -> impl Iterator<Item = (Ipv6Addr, u8)> {
    all.iter().filter_map(|one| match one.address {
        IpAddr::V6(ip)
            if ip.to_ipv4_mapped().is_none() && !ip.is_loopback() && !ip.is_unicast_link_local() =>
        {
            (1..=127).contains(&one.prefix_len).then_some((ip, one.prefix_len))
        }
        _ => None,
    })
}

fn network(address: Ipv6Addr, prefix_len: u8) -> u128 {
    address.to_bits() & (u128::MAX << (128 - u32::from(prefix_len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str, prefix_len: u8) -> Environment {
        let nic = Nic {
            name: "none0".into(),
            up: Some(true),
            mac: Some("02:00:00:00:00:01".into()),
            addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len }],
            ..Nic::default()
        };
        Environment { nics: vec![nic], ..Environment::default() }
    }

    #[test]
    fn only_addresses_of_a_common_network_are_asked_for() {
        let unasked = |here: &Environment, there: &Environment| {
            let mut unasked = vec![];
            assert_eq!(ask(here, there, &mut unasked).wires.len(), 0);
            unasked.len()
        };
        // Something is to be asked, and the NIC is not there.
        assert_eq!(unasked(&host("fd09::1", 64), &host("fd09::2", 64)), 1);
        // So it is for one that the peer was given and does not use.
        let mut taken = host("fd09::2", 64);
        taken.nics[0].taken_addresses = std::mem::take(&mut taken.nics[0].addresses);
        assert_eq!(unasked(&host("fd09::1", 64), &taken), 1);
        // Another network, this host's own address, one of every link, the other family, one without a network.
        assert_eq!(unasked(&host("fd09::1", 64), &host("fd09:0:0:1::2", 64)), 0);
        assert_eq!(unasked(&host("fd09::1", 64), &host("fd09::1", 64)), 0);
        assert_eq!(unasked(&host("fe80::1", 64), &host("fe80::2", 64)), 0);
        assert_eq!(unasked(&host("10.9.0.1", 24), &host("10.9.0.2", 24)), 0);
        assert_eq!(unasked(&host("fd09::1", 128), &host("fd09::2", 64)), 0);
    }
}
