//! How this host reaches the addresses of the other one: over which NIC, from which address, by which router, with which
//! MTU, and who answers there. Known only once the other one has named its addresses.

use std::io;
use std::net::IpAddr;

use pathproof_model::environment::{PeerRoute, RefusedSource, SourceRoute};
use pathproof_model::{Environment, Nic, NicAddress};
use pathproof_sys::neighbours;
use pathproof_sys::routes::{self, Refusal};

/// Most addresses that are looked up; the other end says how many there are.
const PEERS_MAX: usize = 64;

/// The addresses by which a host can be meant: its NICs' own, and the one that it is spoken to by.
pub fn addresses(host: &Environment, spoken_to: IpAddr) -> Vec<IpAddr> {
    let own = host.nics.iter().flat_map(|nic| &nic.addresses).map(|a| a.address);
    let mut all: Vec<IpAddr> = std::iter::once(spoken_to.to_canonical()).chain(own).collect();
    // An address of one link only means nothing without the link.
    all.retain(|address| match address {
        IpAddr::V4(a) => !a.is_link_local(),
        IpAddr::V6(a) => !a.is_unicast_link_local(),
    });
    // Its loopback is not ours.
    all.retain(|address| !address.is_loopback() || spoken_to.is_loopback());
    all.sort();
    all.dedup();
    all
}

/// Puts into `here` how it reaches `peer`.
pub fn learn_routes(here: &mut Environment, peer: &Environment, spoken_to: IpAddr) {
    let addresses = addresses(peer, spoken_to);
    let unreadable = &mut here.unreadable;
    let ways = addresses.into_iter().take(PEERS_MAX).map(|address| {
        way_to(address).unwrap_or_else(|error| {
            // Not known is not the same as none.
            unreadable.insert("peers".into(), format!("netlink: {error}"));
            PeerRoute::to(address)
        })
    });
    here.peers = ways.collect();
    for peer in &mut here.peers {
        (peer.sources, peer.refused) = from_own(&here.nics, peer);
    }
    let neighbours = match neighbours::list() {
        Ok(neighbours) => neighbours,
        Err(error) => {
            here.unreadable.insert("peers.mac".into(), format!("netlink: {error}"));
            return;
        }
    };
    for peer in &mut here.peers {
        let answers = peer.router.unwrap_or(peer.address);
        let entry =
            neighbours.iter().find(|one| one.address == answers && Some(&one.interface) == peer.nic.as_ref());
        peer.mac = entry.and_then(|entry| entry.mac.clone());
    }
}

fn way_to(address: IpAddr) -> io::Result<PeerRoute> {
    let told = PeerRoute::to(address);
    let Some(route) = routes::to(address)? else { return Ok(told) };
    let set = routes::configured_mtu(address, &route.interface);
    Ok(PeerRoute {
        source: Some(route.source),
        router: route.router,
        route_ip_mtu_bytes: set.as_ref().map(|set| set.ip_mtu_bytes),
        route_ip_mtu_locked: set.map(|set| set.locked),
        learnt_ip_mtu_bytes: route.ip_mtu_bytes,
        nic: Some(route.interface),
        ..told
    })
}

/// Of the addresses in the network of `peer`: by which NIC the kernel sends from each, where several NICs hold them; and those from which
/// nothing goes there, whatever the NIC that holds them carries. Connections are bound to addresses, and the kernel asks its rules for each.
fn from_own(nics: &[Nic], peer: &PeerRoute) -> (Vec<SourceRoute>, Vec<RefusedSource>) {
    let beside = nics.iter().filter(|nic| nic.carrier != Some(false));
    let beside = beside.flat_map(|nic| nic.addresses.iter().map(move |own| (nic, own)));
    let beside = beside.filter(|(_, own)| own.address != peer.address && own.shares_network(peer.address));
    let beside: Vec<(&Nic, &NicAddress)> = beside.take(PEERS_MAX).collect();
    let several = beside.windows(2).any(|two| two[0].0.name != two[1].0.name);
    let (mut sources, mut refused) = (vec![], vec![]);
    for (nic, own) in beside {
        let source = own.address;
        match routes::from(source, peer.address) {
            Some(Ok(index)) if several => {
                let by = nics.iter().find(|one| one.index == index);
                sources.extend(by.map(|by| SourceRoute { source, nic: by.name.clone() }));
            }
            // Where nothing leads there without that source either, the routes are elsewhere (in those of a VRF).
            Some(Err(verdict)) if verdict != Refusal::NoRoute || peer.nic.as_ref() == Some(&nic.name) => {
                refused.push(RefusedSource { source, verdict: verdict.word().into() });
            }
            _ => {}
        }
    }
    (sources, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_meant_by_its_addresses_but_not_by_its_loopback() {
        let nic = |addresses: &[&str]| Nic {
            addresses: addresses
                .iter()
                .map(|a| NicAddress { address: a.parse().unwrap(), prefix_len: 24 })
                .collect(),
            ..Nic::default()
        };
        let host = Environment {
            nics: vec![nic(&["127.0.0.1", "::1"]), nic(&["10.0.0.2", "fe80::1", "10.0.0.1"])],
            ..Environment::default()
        };
        let told = addresses(&host, "::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(told, ["10.0.0.1", "10.0.0.2"].map(|a| a.parse::<IpAddr>().unwrap()));
        assert!(addresses(&host, "127.0.0.1".parse().unwrap()).contains(&"127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_way_to_this_host_itself_is_known() {
        let mut here = Environment::default();
        learn_routes(&mut here, &Environment::default(), [127, 0, 0, 1].into());
        let [way] = &here.peers[..] else { panic!("{here:#?}") };
        assert_eq!((way.nic.as_deref(), way.router, &way.mac), (Some("lo"), None, &None));
        assert!(here.unreadable.is_empty(), "{here:#?}");
    }

    #[test]
    fn what_goes_from_an_address_of_this_host_to_another_is_not_refused() {
        let own = |last| NicAddress { address: [127, 0, 0, last].into(), prefix_len: 8 };
        let index = pathproof_sys::interfaces::list().expect("the kernel tells");
        let index = index.iter().find(|one| one.is_loopback()).expect("every host has one").index;
        let lo = Nic { name: "lo".into(), index, addresses: vec![own(1)], ..Nic::default() };
        let peer = way_to([127, 0, 0, 2].into()).expect("the kernel tells");
        assert_eq!(from_own(std::slice::from_ref(&lo), &peer), (vec![], vec![]));
        // Of several NICs in one network it is told by which of them each address sends.
        let other = Nic { name: "other".into(), addresses: vec![own(3)], ..Nic::default() };
        let (sources, refused) = from_own(&[lo, other], &peer);
        let by: Vec<_> = sources.iter().map(|one| (one.source, one.nic.as_str())).collect();
        assert_eq!(by, [own(1), own(3)].map(|own| (own.address, "lo")));
        assert_eq!(refused, []);
    }
}
