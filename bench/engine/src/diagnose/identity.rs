//! Whether the peer is who the user means: another machine, and reached at an address of its own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::{End, Environment, Finding, NodeId, NodeSpec, ResultDoc, Severity};

use super::networks::of_a_network;
use super::{Rule, ip_of, planned, whose};

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("PEER-IS-SELF"), code!("PEER-NAT")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let (Some(client), Some(server)) = (doc.environment(NodeId::CLIENT), doc.environment(NodeId::SERVER))
    else {
        return vec![];
    };
    let mut found: Vec<Finding> = own_machine(doc, client, server).into_iter().collect();
    if found.is_empty() {
        found.extend(translated(doc, client, server));
    }
    found
}

/// The peer is this machine although it was named as another. A boot id alone would accuse containers of one host.
fn own_machine(doc: &ResultDoc, client: &Environment, server: &Environment) -> Option<Finding> {
    let NodeSpec::Agent { host, .. } = &doc.node(NodeId::SERVER)?.spec else { return None };
    // Who types a loopback address means this machine.
    let meant =
        host == "self" || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let same = |of: fn(&Environment) -> &Option<String>| of(client).is_some() && of(client) == of(server);
    if meant || !same(|host| &host.boot_id) || !same(|host| &host.network_namespace) {
        return None;
    }
    let evidence = format!(
        "{host} leads to this machine: both ends have the boot id {} and one network namespace",
        client.boot_id.as_deref().unwrap_or_default()
    );
    let finding = Finding::new("PEER-IS-SELF", evidence);
    // Two adapters of one host reach each other over the wire between them, and who types the address of one may mean just that.
    Some(if is_of_adapter(client, host) { finding.with_severity(Severity::Warning) } else { finding })
}

/// Whether that is the address of a NIC with an RDMA device.
fn is_of_adapter(host: &Environment, address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let owner = host.nics.iter().find(|nic| nic.addresses.iter().any(|one| one.address == address));
    owner.is_some_and(|nic| host.rdma.iter().any(|device| device.netdev.as_ref() == Some(&nic.name)))
}

/// The addresses that lanes of TCP came to and from belong to neither host: something translates them.
fn translated(doc: &ResultDoc, client: &Environment, server: &Environment) -> Option<Finding> {
    let own = |host: &Environment| -> BTreeSet<IpAddr> {
        host.nics.iter().flat_map(|nic| &nic.addresses).map(|one| one.address.to_canonical()).collect()
    };
    let (ours, theirs) = (own(client), own(server));
    if ours.is_empty() || theirs.is_empty() {
        return None;
    }
    let lanes = || planned(doc).flat_map(|step| &step.lanes);
    // Where no lane tells, the session does: its address is among those that this host looked up a route to.
    let looked_up = client.peers.iter().map(|peer| peer.address.to_canonical());
    let dialled = lanes()
        .filter(|lane| lane.end == End::Client)
        .find_map(|lane| ip_of(&lane.remote))
        .or_else(|| looked_up.into_iter().find(|address| !theirs.contains(address)));
    let seen = lanes().filter(|lane| lane.end == End::Server).find_map(|lane| ip_of(&lane.remote));
    let far = dialled.filter(|address| !theirs.contains(address));
    let near = seen.filter(|address| !ours.contains(address));
    let said = match (far, near) {
        (Some(far), Some(near)) => format!(
            "{far} is no address of the peer's, which saw this end come from {near}, no address of this host's"
        ),
        (Some(far), None) => format!("{far}, which was dialled, is no address of the peer's"),
        (None, Some(near)) => {
            format!("the peer saw this end come from {near}, which is no address of this host's")
        }
        (None, None) => return None,
    };
    // Each end's own account of where its lanes end.
    let at = |end: End| lanes().filter(|lane| lane.end == end).find_map(|lane| ip_of(&lane.local));
    let theirs = far.map(|far| own_addresses(NodeId::SERVER, server, at(End::Server), far));
    let ours = || near.map(|near| own_addresses(NodeId::CLIENT, client, at(End::Client), near));
    Some(Finding::new("PEER-NAT", said + &theirs.or_else(ours).unwrap_or_default()))
}

/// The address by which an end knows itself in place of one that is not its own: `at`, where a connection told it, or else those of the same family
/// that it may have been.
fn own_addresses(node: NodeId, host: &Environment, at: Option<IpAddr>, in_place_of: IpAddr) -> String {
    /// Containers and hypervisors have many.
    const NAMED_MAX: usize = 4;
    let of_family = |ip: &IpAddr| ip.is_ipv4() == in_place_of.is_ipv4();
    let its = host.nics.iter().flat_map(of_a_network).map(|(ip, _)| ip.to_canonical());
    let all: BTreeSet<IpAddr> = match at {
        Some(ip) => BTreeSet::from([ip]),
        None => its.filter(of_family).collect(),
    };
    let mut named: Vec<String> = all.iter().take(NAMED_MAX).map(IpAddr::to_string).collect();
    if all.len() > NAMED_MAX {
        named.push(format!("{} more", all.len() - NAMED_MAX));
    }
    match &named[..] {
        [] => String::new(),
        [one] => format!("; {}'s own address is {one}", whose(node)),
        several => format!("; {}'s own addresses are {}", whose(node), several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{LaneResult, Nic, NicAddress, Node, Step, StepKind, Tool};

    fn host(address: &str, boot: &str) -> Environment {
        let address = NicAddress { address: address.parse().unwrap(), prefix_len: 24 };
        Environment {
            boot_id: Some(boot.into()),
            network_namespace: Some("4026531840".into()),
            nics: vec![Nic { name: "e0".into(), addresses: vec![address], ..Nic::default() }],
            ..Environment::default()
        }
    }

    fn found(peer: &str, boot: &str, dialled: &str, seen: &str) -> Vec<Finding> {
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes =
            vec![Node::here(Some(host("10.0.0.1", "one"))), Node::agent(peer, Some(host("10.0.0.2", boot)))];
        let lane = |end: End, remote: &str| LaneResult {
            end,
            remote: Some(format!("{remote}:7797")),
            ..LaneResult::default()
        };
        let mut step = Step::new(StepKind::Stream, "s");
        step.lanes = vec![lane(End::Client, dialled), lane(End::Server, seen)];
        doc.steps = vec![step];
        findings(&doc)
    }

    fn codes(peer: &str, boot: &str, dialled: &str, seen: &str) -> Vec<String> {
        found(peer, boot, dialled, seen).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_name_that_leads_home_is_told_and_a_loopback_that_is_meant_is_not() {
        assert_eq!(codes("stor2", "one", "10.0.0.2", "10.0.0.1"), ["PEER-IS-SELF"]);
        assert_eq!(codes("10.0.0.2", "one", "10.0.0.2", "10.0.0.1"), ["PEER-IS-SELF"]);
        assert_eq!(codes("127.0.0.1:7797", "one", "10.0.0.2", "10.0.0.1"), [""; 0]);
        assert_eq!(codes("stor2", "two", "10.0.0.2", "10.0.0.1"), [""; 0]);
    }

    #[test]
    fn the_address_of_an_own_adapter_may_be_meant() {
        let mut here = host("10.0.0.2", "one");
        assert!(!is_of_adapter(&here, "10.0.0.2"));
        let netdev = Some("e0".to_owned());
        here.rdma = vec![pathproof_model::RdmaDevice { netdev, ..Default::default() }];
        assert!(is_of_adapter(&here, "10.0.0.2") && !is_of_adapter(&here, "stor2"));
    }

    #[test]
    fn an_address_that_neither_host_owns_is_a_translation() {
        assert_eq!(codes("10.9.9.9", "two", "10.9.9.9", "10.0.0.1"), ["PEER-NAT"]);
        assert_eq!(codes("10.0.0.2", "two", "10.0.0.2", "192.0.2.7"), ["PEER-NAT"]);
    }

    #[test]
    fn a_translation_is_told_with_the_address_that_stands_behind_it() {
        let said = |dialled, seen| found("stor2", "two", dialled, seen).remove(0).evidence;
        assert_eq!(
            said("10.9.9.9", "10.0.0.1"),
            "10.9.9.9, which was dialled, is no address of the peer's; the peer's own address is 10.0.0.2"
        );
        assert!(said("10.0.0.2", "192.0.2.7").ends_with("; this host's own address is 10.0.0.1"));
        let own = |at: Option<&str>, for_it: &str| {
            let mut there = host("172.18.0.2", "two");
            let more = ["10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "fd00::2", "fe80::1"];
            let more = more.map(|ip| NicAddress { address: ip.parse().unwrap(), prefix_len: 24 });
            there.nics[0].addresses.extend(more);
            let at = at.map(|at| at.parse().unwrap());
            own_addresses(NodeId::SERVER, &there, at, for_it.parse().unwrap())
        };
        assert_eq!(own(Some("172.18.0.2"), "10.9.0.2"), "; the peer's own address is 172.18.0.2");
        let listed = "; the peer's own addresses are 10.1.0.1, 10.2.0.1, 10.3.0.1, 10.4.0.1, 1 more";
        assert_eq!(own(None, "10.9.0.2"), listed);
        assert_eq!(own(None, "fd09::2"), "; the peer's own address is fd00::2");
        assert_eq!(own_addresses(NodeId::SERVER, &Environment::default(), None, [10, 9, 0, 2].into()), "");
    }
}
