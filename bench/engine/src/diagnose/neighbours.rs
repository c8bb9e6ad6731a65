//! Who answers for the peer's addresses, and which of its own a host does not use because somebody else had them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{Environment, Finding, Nic, NicAddress, NodeId, ResultDoc, Severity};

use super::{Rule, whose};

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("ADDRESS-DUPLICATE")], find: findings }];

/// Nobody asks for these by ARP; and a host that found the address taken when it came up says so, and does not use it.
const NEXT_IN_IPV6: &str = "Find the owner of that hardware address in the switches' tables, and give one of the two another address (at each host, ip -6 address show \
                            dadfailed lists those that it found taken and does not use; Windows: Get-NetIPAddress -AddressState Duplicate).";

/// A NIC, an address that was asked for there, and the hardware addresses that answered.
type Heard<'a> = (&'a str, IpAddr, &'a [String]);

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (node, other) in [(NodeId::CLIENT, NodeId::SERVER), (NodeId::SERVER, NodeId::CLIENT)] {
        let (Some(here), Some(there)) = (doc.environment(node), doc.environment(other)) else { continue };
        found.extend(taken(doc, node, other));
        let owners: Vec<String> = there
            .nics
            .iter()
            .filter_map(|nic| nic.mac.as_ref())
            .map(|mac| mac.to_ascii_lowercase())
            .collect();
        let evidence = doc.steps.iter().filter_map(|step| step.evidence(node));
        let neighbours = evidence.filter_map(|one| one.neighbours.as_ref()).flatten();
        let used: Vec<Heard<'_>> =
            neighbours.map(|one| (one.nic.as_str(), one.address, one.macs.as_slice())).collect();
        let mut heard = used.clone();
        // What the client asked for on its wires itself comes first: it heard everybody who answers.
        if let (NodeId::CLIENT, Some(wires)) = (node, super::wires::told(doc)) {
            let asked = wires.answers.iter().filter(|answer| answer.shares_network);
            let asked = asked.map(|one| (one.nic.as_str(), one.address, one.macs.as_slice()));
            heard.splice(0..0, asked);
        }
        for &(nic, address, macs) in &heard {
            // Behind a router it is the router that answers.
            let direct = here.peers.iter().any(|peer| peer.address == address && peer.router.is_none());
            let strangers: Vec<&String> =
                macs.iter().filter(|mac| !owners.contains(&mac.to_ascii_lowercase())).collect();
            let known = macs.len() > strangers.len();
            let told = found.iter().any(|one| one.told(told::ADDRESS) == Some(address));
            if !direct || owners.is_empty() || strangers.is_empty() || told {
                continue;
            }
            let list: Vec<&str> = strangers.iter().map(|mac| mac.as_str()).collect();
            if stands_in(here, address, &heard, &used) && has_received(doc, other, address) {
                found.push(in_its_place(nic, address, &list.join(", ")));
                continue;
            }
            let said = if known {
                format!("on {nic} both the peer's NIC and {} answered for {address}", list.join(", "))
            } else {
                format!(
                    "on {nic} {} answered for {address}, and no NIC of the peer's has that hardware address",
                    list.join(", ")
                )
            };
            let severity = if known { Severity::Error } else { Severity::Warning };
            let finding = Finding::new("ADDRESS-DUPLICATE", said).with_severity(severity);
            let finding = finding.tell(told::ADDRESS, address);
            found.push(if address.is_ipv6() { finding.with_next(NEXT_IN_IPV6) } else { finding });
        }
    }
    found
}

/// Addresses that the host `other` was given in a network of `node`, and that its kernel does not use because another device had them: whoever
/// connects there meets that device, or nobody.
fn taken(doc: &ResultDoc, node: NodeId, other: NodeId) -> Vec<Finding> {
    let (Some(here), Some(there)) = (doc.environment(node), doc.environment(other)) else { return vec![] };
    let answers = super::wires::told(doc).filter(|_| node == NodeId::CLIENT);
    let of_nic = |nic: &Nic| {
        let name = nic.name.clone();
        nic.taken_addresses.iter().map(move |one| (name.clone(), *one)).collect::<Vec<_>>()
    };
    let all = there.nics.iter().filter(|nic| nic.up != Some(false)).flat_map(of_nic);
    let leading = all.filter(|(_, one)| leads_to(here, *one));
    leading
        .map(|(name, NicAddress { address, prefix_len })| {
            let heard = answers.into_iter().flat_map(|wires| &wires.answers);
            let heard = heard.filter(|answer| answer.address == address && !answer.macs.is_empty());
            let heard: Vec<String> = heard
                .map(|answer| format!("; on {} {} answers for it", answer.nic, answer.macs.join(" and ")))
                .collect();
            let said = format!(
                "{}'s {name} was given {address}, which another device had already (duplicate address detection failed: `dadfailed` in `ip address`), so \
                 that its kernel does not use it{}",
                whose(other),
                heard.concat()
            );
            let mut finding = Finding::new("ADDRESS-DUPLICATE", said).with_severity(Severity::Error);
            finding.meaning = "A host asked whether anybody has one of its addresses before it used it, and somebody did. Its kernel keeps the address in the list and \
                               neither answers for it nor sends from it: who connects to it reaches the other device, or nobody."
                .into();
            let finding = finding.with_next(format!(
                "Find the device that has it (ip neigh show to {address}; the switches' tables say behind which port its hardware address is) and give \
                 one of the two another address. `ip -6 address show dadfailed` lists such addresses; `ip address del {address}/{prefix_len} dev NIC` and \
                 `ip address add {address}/{prefix_len} dev NIC` let that kernel ask again."
            ));
            finding.tell(told::ADDRESS, address)
        })
        .collect()
}

/// Whether a host has a NIC in the network of an address, by one of its own that holds for more than one link.
fn leads_to(here: &Environment, taken: NicAddress) -> bool {
    let is_of_a_link = match taken.address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let wired = here.nics.iter().filter(|nic| nic.up != Some(false) && !nic.is_loopback());
    let mut own = wired.flat_map(|nic| nic.addresses.iter().chain(&nic.taken_addresses));
    !is_of_a_link && own.any(|own| own.prefix_len > 0 && own.shares_network(taken.address))
}

/// Whether one hardware address alone was heard to answer for an address, on every NIC and all the time, and the kernel is not known to have
/// sent to another.
fn stands_in(here: &Environment, address: IpAddr, heard: &[Heard<'_>], used: &[Heard<'_>]) -> bool {
    let of = |list: &[Heard<'_>]| -> BTreeSet<String> {
        let answers =
            list.iter().filter(|(_, asked, _)| *asked == address).flat_map(|(.., macs)| macs.iter());
        let route = here.peers.iter().filter(|peer| peer.address == address);
        let macs = answers.chain(route.filter_map(|peer| peer.mac.as_ref()));
        macs.map(|mac| mac.to_ascii_lowercase()).collect()
    };
    // An entry that the kernel had already is no news to a step, and stayed what it was.
    let (all, used) = (of(heard), of(used));
    all.len() == 1 && (used.is_empty() || used == all)
}

/// Whether the host that has an address received there what was sent to it: the ends know each other by their key, so no other host did.
fn has_received(doc: &ResultDoc, host: NodeId, address: IpAddr) -> bool {
    let lanes = doc.steps.iter().flat_map(|step| &step.lanes);
    lanes
        .filter(|lane| lane.end.node() == host && lane.role.receives())
        .any(|lane| lane.bytes > 0 && lane.error.is_none() && super::ip_of(&lane.local) == Some(address))
}

/// Somebody hands on what is meant for the peer: another host that had the address would keep it.
fn in_its_place(nic: &str, address: IpAddr, mac: &str) -> Finding {
    let said = format!(
        "on {nic} {mac}, which no NIC of the peer's has, alone answered for {address}, and what was sent there reached the peer"
    );
    let mut finding = Finding::new("ADDRESS-DUPLICATE", said).with_severity(Severity::Info);
    finding.meaning =
        "A device answers in the peer's place and hands on to it: a router with proxy ARP, a cloud's network, or what stands before a guest. Nothing is \
         wrong with that; what passes goes through that device, although both hosts take it for one network."
            .into();
    let finding = finding.with_next(
        "Nothing needs repair where the network is meant to be so. Where both hosts should lie on one wire, look for the router between them that answers \
         for others (proxy ARP).",
    );
    finding.tell(told::ADDRESS, address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::PeerRoute;
    use pathproof_model::evidence::NeighbourActivity;
    use pathproof_model::{
        End, Evidence, LaneResult, LaneRole, Node, Step, StepKind, Tool, WireAnswer, Wires,
    };

    /// A client that asked for 192.0.2.2, which a NIC with the address `…:02` of the peer's has, and heard `macs`.
    fn document(macs: &[&str], router: Option<&str>) -> ResultDoc {
        let mut doc = ResultDoc::new(Tool::default(), "");
        let address: std::net::IpAddr = "192.0.2.2".parse().unwrap();
        let router = router.map(|router| router.parse().unwrap());
        let peer = PeerRoute { router, ..PeerRoute::to(address) };
        let nic = Nic { name: "e0".into(), mac: Some("02:00:00:00:00:02".into()), ..Nic::default() };
        doc.nodes = vec![
            Node::here(Some(Environment { peers: vec![peer], ..Environment::default() })),
            Node::agent("192.0.2.2", Some(Environment { nics: vec![nic], ..Environment::default() })),
        ];
        let heard = NeighbourActivity {
            address,
            nic: "e0".into(),
            macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
            failed: false,
        };
        let mut step = Step::new(StepKind::Reach, "r");
        step.evidence = vec![Evidence { neighbours: Some(vec![heard]), ..Evidence::default() }];
        doc.steps = vec![step.clone(), step];
        doc
    }

    #[test]
    fn two_who_answer_are_an_error_and_one_unknown_is_a_warning_each_told_once() {
        let told = |macs: &[&str]| -> Vec<Severity> {
            let found = findings(&document(macs, None));
            assert!(found.iter().all(|one| one.code == "ADDRESS-DUPLICATE"));
            found.iter().map(|one| one.severity).collect()
        };
        assert_eq!(told(&["02:00:00:00:00:02", "02:00:00:00:00:99"]), [Severity::Error]);
        assert_eq!(told(&["02:00:00:00:00:99"]), [Severity::Warning]);
    }

    #[test]
    fn an_address_of_ipv6_is_not_looked_for_by_arp() {
        let mut doc = document(&["02:00:00:00:00:99"], None);
        let address: IpAddr = "fd09:1::2".parse().unwrap();
        doc.nodes[0].environment.as_mut().unwrap().peers = vec![PeerRoute::to(address)];
        let four = findings(&document(&["02:00:00:00:00:99"], None));
        for step in &mut doc.steps {
            step.evidence[0].neighbours.as_mut().unwrap()[0].address = address;
        }
        let six = findings(&doc);
        assert_eq!((six.len(), six[0].severity), (1, Severity::Warning));
        assert!(six[0].next.contains("dadfailed") && !six[0].next.contains("arping"), "{}", six[0].next);
        assert!(four[0].next.contains("arping"), "{}", four[0].next);
    }

    #[test]
    fn one_that_hands_on_what_it_gets_stands_in_the_peers_place() {
        let told = |macs: &[&str], route: Option<&str>, change: fn(&mut LaneResult)| {
            let mut doc = document(macs, None);
            doc.nodes[0].environment.as_mut().unwrap().peers[0].mac = route.map(str::to_owned);
            let mut lane = LaneResult {
                end: End::Server,
                role: LaneRole::Receive,
                local: Some("192.0.2.2:7797".into()),
                bytes: 1 << 20,
                ..LaneResult::default()
            };
            change(&mut lane);
            doc.steps[1].lanes = vec![lane];
            findings(&doc).into_iter().map(|one| one.severity).collect::<Vec<_>>()
        };
        let (own, stranger) = ("02:00:00:00:00:02", "02:00:00:00:00:99");
        assert_eq!(told(&[stranger], None, |_| {}), [Severity::Info]);
        assert_eq!(told(&[stranger], Some("02:00:00:00:00:99"), |_| {}), [Severity::Info]);
        // Nothing came, it came over another address, it was sent, or it broke off.
        assert_eq!(told(&[stranger], None, |lane| lane.bytes = 0), [Severity::Warning]);
        let elsewhere: fn(&mut LaneResult) = |lane| lane.local = Some("192.0.2.3:7797".into());
        assert_eq!(told(&[stranger], None, elsewhere), [Severity::Warning]);
        assert_eq!(told(&[stranger], None, |lane| lane.role = LaneRole::Send), [Severity::Warning]);
        // The kernel sent to the peer itself for a while, or to a third: the stranger need not have handed on anything.
        assert_eq!(told(&[stranger], Some(own), |_| {}), [Severity::Warning]);
        assert_eq!(told(&[stranger, "02:00:00:00:00:98"], None, |_| {}), [Severity::Warning]);
        assert_eq!(told(&[stranger, own], None, |_| {}), [Severity::Error]);
    }

    #[test]
    fn one_who_answered_on_the_wire_is_held_against_what_the_kernel_sent_to() {
        let told = |macs: &[&str], route: Option<&str>| {
            let mut doc = document(&[], None);
            doc.nodes[0].environment.as_mut().unwrap().peers[0].mac = route.map(str::to_owned);
            let answer = WireAnswer {
                nic: "e0".into(),
                address: "192.0.2.2".parse().unwrap(),
                shares_network: true,
                macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
            };
            doc.steps[0].detail.wires = Some(Wires { answers: vec![answer], unasked: vec![] });
            doc.steps[1].lanes = vec![LaneResult {
                end: End::Server,
                local: Some("192.0.2.2:7797".into()),
                bytes: 1 << 20,
                ..LaneResult::default()
            }];
            findings(&doc).into_iter().map(|one| one.severity).collect::<Vec<_>>()
        };
        let (own, stranger) = ("02:00:00:00:00:02", "02:00:00:00:00:99");
        assert_eq!(told(&[stranger], None), [Severity::Info]);
        assert_eq!(told(&[stranger], Some(stranger)), [Severity::Info]);
        assert_eq!(told(&[stranger], Some(own)), [Severity::Warning]);
        assert_eq!(told(&[stranger, own], Some(stranger)), [Severity::Error]);
    }

    #[test]
    fn an_address_that_its_own_kernel_does_not_use_is_an_error_where_it_leads_to_the_other_end() {
        let at = |address: &str| NicAddress { address: address.parse().unwrap(), prefix_len: 64 };
        let told = |own: &str, taken: &str, change: fn(&mut ResultDoc)| {
            let mut doc = document(&[], None);
            let nic = Nic { name: "e1".into(), addresses: vec![at(own)], ..Nic::default() };
            doc.nodes[0].environment.as_mut().unwrap().nics.push(nic);
            let there = &mut doc.nodes[1].environment.as_mut().unwrap().nics[0];
            there.name = "e1".into();
            there.taken_addresses.push(at(taken));
            let answer = WireAnswer {
                nic: "e1".into(),
                address: at(taken).address,
                shares_network: true,
                macs: vec!["02:00:00:00:00:99".into()],
            };
            doc.steps[0].detail.wires = Some(Wires { answers: vec![answer], unasked: vec![] });
            change(&mut doc);
            findings(&doc)
        };
        let all = told("fd09:1::1", "fd09:1::2", |_| {});
        let [found] = &all[..] else { panic!("{all:?}") };
        assert_eq!((found.code.as_str(), found.severity), ("ADDRESS-DUPLICATE", Severity::Error));
        for part in ["the peer's e1 was given fd09:1::2", "dadfailed", "on e1 02:00:00:00:00:99 answers"] {
            assert!(found.evidence.contains(part), "{part} is missing in {}", found.evidence);
        }
        assert!(found.next.contains("ip address del fd09:1::2/64"), "{}", found.next);
        assert_eq!(found.told(told::ADDRESS), Some(at("fd09:1::2").address));
        // Another network, an address of every link, a NIC that is down at either end.
        assert_eq!(told("fd09:2::1", "fd09:1::2", |_| {}), vec![]);
        assert_eq!(told("fe80::1", "fe80::2", |_| {}), vec![]);
        let here: fn(&mut ResultDoc) =
            |doc| doc.nodes[0].environment.as_mut().unwrap().nics[0].up = Some(false);
        let there: fn(&mut ResultDoc) =
            |doc| doc.nodes[1].environment.as_mut().unwrap().nics[0].up = Some(false);
        assert_eq!(told("fd09:1::1", "fd09:1::2", here), vec![]);
        assert_eq!(told("fd09:1::1", "fd09:1::2", there), vec![]);
    }

    #[test]
    fn the_peer_itself_and_a_router_on_the_way_are_no_strangers() {
        assert_eq!(findings(&document(&["02:00:00:00:00:02"], None)), vec![]);
        assert_eq!(findings(&document(&["02:00:00:00:00:99"], Some("192.0.2.1"))), vec![]);
        assert_eq!(findings(&document(&[], None)), vec![]);
        // A peer whose hardware addresses are unknown cannot be distinguished from a stranger.
        let mut unknown = document(&["02:00:00:00:00:99"], None);
        unknown.nodes[1].environment.as_mut().unwrap().nics[0].mac = None;
        assert_eq!(findings(&unknown), vec![]);
    }
}
