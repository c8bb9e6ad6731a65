//! Brings the NICs of two hosts into the form that Multichannel's rules look at, and the prediction into a
//! result document. Which subnets this host's routers reach is part of the input.

use std::net::IpAddr;

use pathproof_model::{
    ChannelPair, ChannelRule, Channels, CommandName, Environment, Finding, Nic, NicAddress, NodeId,
    ResultDoc, Side,
};

use super::findings::findings_with;
use super::{ChannelNic, Prefix, Question, Rules, packet_path, predict};

/// A subnet that a router of this host's leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Number of the interface that it is reached by.
    pub interface: u32,
    /// The subnet.
    pub subnet: Prefix,
}

/// The NICs of a host that may lead to another one. Not loopback, although both have its addresses, nor any other by which no packet leaves the
/// host: what is reached at its addresses is reached over the others; not the port of a bridge or
/// bond, which carries its master's traffic; not a virtual NIC that has nothing but the address of its own link, as the host's ends
/// of guests' NICs. A host may say anything of itself, so an address that no other host can have is none.
pub fn nics(environment: &Environment) -> Vec<ChannelNic> {
    let set_up =
        environment.nics.iter().any(|nic| !is_loopback(nic) && nic.addresses.iter().any(is_routable));
    let own = environment.nics.iter().filter(|nic| {
        let bare = is_virtual(nic) && !nic.addresses.iter().any(is_routable);
        !(nic.leads_nowhere() || is_port(environment, nic) || set_up && bare)
    });
    let mut nics: Vec<_> = own.map(ChannelNic::from_observed).collect();
    nics.retain(|nic| !nic.is_loopback());
    nics.iter_mut().for_each(|nic| nic.addresses.retain(|a| may_be_dialled(a.address)));
    nics
}

/// The NICs of a client and of a server as candidates for pairs. An address that both own (that of virbr0 or docker0, say) leads from
/// neither to the other, unless they are one machine.
pub fn of_both(client: &Environment, server: &Environment) -> (Vec<ChannelNic>, Vec<ChannelNic>) {
    let (mut ours, mut theirs) = (nics(client), nics(server));
    let one_machine = client.boot_id.is_some()
        && (&client.boot_id, &client.network_namespace) == (&server.boot_id, &server.network_namespace);
    if !one_machine {
        let all = |nics: &[ChannelNic]| -> Vec<IpAddr> {
            nics.iter().flat_map(|nic| &nic.addresses).map(|one| one.address.to_canonical()).collect()
        };
        let (near, far) = (all(&ours), all(&theirs));
        let both =
            |address: IpAddr| near.contains(&address.to_canonical()) && far.contains(&address.to_canonical());
        for nics in [&mut ours, &mut theirs] {
            // What is left of such a NIC is the address of its link, over which nobody is.
            nics.retain_mut(|nic| {
                let had = nic.addresses.len();
                nic.addresses.retain(|one| !both(one.address));
                had == nic.addresses.len() || nic.addresses.iter().any(|one| !is_of_a_link(one.address))
            });
        }
    }
    (ours, theirs)
}

/// What is to be said of addresses that both own.
pub fn of_both_ends(client: &Environment, server: &Environment) -> Option<Finding> {
    let left = of_both(client, server);
    let gone = |all: Vec<ChannelNic>, left: &[ChannelNic]| -> Vec<(String, IpAddr)> {
        let named = |nic: &ChannelNic| -> Vec<(String, IpAddr)> {
            nic.addresses.iter().map(|one| (nic.name.clone(), one.address)).collect()
        };
        let left: Vec<_> = left.iter().flat_map(named).collect();
        all.iter().flat_map(named).filter(|one| !is_of_a_link(one.1) && !left.contains(one)).collect()
    };
    let (ours, theirs) = (gone(nics(client), &left.0), gone(nics(server), &left.1));
    let pairs = ours.iter().filter_map(|(nic, address)| {
        let other = theirs.iter().find(|(_, far)| far == address)?;
        Some(format!("{address} ({nic} here, {} of the peer)", other.0))
    });
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty())
        .then(|| Finding::new("ADDRESS-BOTH-ENDS", format!("both hosts own {}", pairs.join(", "))))
}

fn is_loopback(nic: &Nic) -> bool {
    nic.is_loopback()
}

fn is_routable(address: &NicAddress) -> bool {
    !is_of_a_link(address.address)
}

fn is_of_a_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Kinds that lead to something within the host where nobody gave them an address.
fn is_virtual(nic: &Nic) -> bool {
    nic.kind
        .as_deref()
        .is_some_and(|kind| ["veth", "tun", "macvtap", "dummy", "ifb", "netkit"].contains(&kind))
}

/// Whether a NIC belongs to another interface. One in a routing domain of its own (VRF) is still itself.
fn is_port(environment: &Environment, nic: &Nic) -> bool {
    let master =
        nic.master.as_deref().and_then(|name| environment.nics.iter().find(|other| other.name == name));
    master.is_some_and(|master| !master.is_of_kind("vrf"))
}

/// Whether an address may be that of another host: one host's, and not this host itself.
fn may_be_dialled(address: IpAddr) -> bool {
    let nobodys = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    let address = address.to_canonical();
    !(nobodys || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

/// This host's NICs, with the subnets that its routers reach; with loopback where the peer is this host too.
pub fn local_nics(environment: &Environment, peer_is_here: bool, routed: &[Routed]) -> Vec<ChannelNic> {
    let mut nics = nics(environment);
    if peer_is_here {
        let all = environment.nics.iter().map(ChannelNic::from_observed);
        nics.extend(all.filter(ChannelNic::is_loopback));
    }
    add_routes(&mut nics, routed);
    nics
}

/// Adds the subnets that this host's routers reach.
pub fn add_routes(nics: &mut [ChannelNic], routed: &[Routed]) {
    for one in routed {
        if let Some(nic) = nics.iter_mut().find(|nic| nic.index == one.interface) {
            nic.routes.push(one.subnet);
        }
    }
}

/// One way from a client's NIC to a server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Address that the client binds to.
    pub local: IpAddr,
    /// Its NIC.
    pub nic: String,
    /// Address of the server.
    pub remote: IpAddr,
}

/// All ways between two hosts that share a subnet, the best first; SMB would not use all of them.
pub fn ways(client: &Environment, server: &Environment) -> Vec<Way> {
    const LEAD_NOWHERE: [ChannelRule; 7] = [
        ChannelRule::LocalUnusable,
        ChannelRule::RemoteUnusable,
        ChannelRule::LocalLinkLocal,
        ChannelRule::RemoteLinkLocal,
        ChannelRule::LinkLocalMismatch,
        ChannelRule::RemoteUnindexed,
        ChannelRule::Unreachable,
    ];
    let (ours, theirs) = of_both(client, server);
    let channels = predict(&ours, &theirs, &Question::new(Rules::Windows));
    let usable = |pair: &ChannelPair| {
        let link_local = matches!(pair.remote, IpAddr::V6(v6) if v6.is_unicast_link_local());
        !link_local && !LEAD_NOWHERE.contains(&pair.rule)
    };
    let pairs = channels.pairs.into_iter().filter(usable);
    pairs.map(|pair| Way { local: pair.local, nic: pair.local_nic, remote: pair.remote }).collect()
}

/// The client's NICs, each with its address, that SMB would use between two hosts.
pub fn chosen(client: &Environment, server: &Environment) -> Vec<(String, IpAddr)> {
    let (ours, theirs) = of_both(client, server);
    let channels = predict(&ours, &theirs, &Question::new(Rules::Windows));
    let chosen = channels.pairs.into_iter().filter(|pair| pair.chosen);
    chosen.map(|pair| (pair.local_nic, pair.local)).collect()
}

/// Predicts both directions between two pathproof hosts.
pub fn between(local: &[ChannelNic], remote: &[ChannelNic], question: &Question) -> Channels {
    let mut channels = predict(local, remote, question);
    // A constraint is the client's own affair; the other host as a client has none.
    let free = Question::new(question.rules.clone());
    channels.reverse_pairs = predict(remote, local, &free).pairs;
    channels
}

/// The prediction under Windows' rules for the document of a check between two hosts, and what is to be said of it. It is shown, not
/// judged: a path that is measured and fit is fit, whatever SMB would make of the hosts' other NICs.
pub fn of_check(doc: &ResultDoc, routed: &[Routed]) -> (Option<Channels>, Vec<Finding>) {
    let is_check = doc.requested.as_ref().is_some_and(|plan| plan.command == CommandName::Check);
    let hosts = (doc.environment(NodeId::CLIENT), doc.environment(NodeId::SERVER));
    let (Some(local), Some(remote)) = hosts else { return (None, vec![]) };
    if !is_check || doc.is_against_itself() {
        return (None, vec![]);
    }
    let (mut ours, theirs) = of_both(local, remote);
    add_routes(&mut ours, routed);
    let mut channels = between(&ours, &theirs, &Question::new(Rules::Windows));
    channels.packet_paths = packet_path::of_pairs(&channels, local, Some(remote));
    let mut said: Vec<Finding> = of_both_ends(local, remote).into_iter().collect();
    if !channels.pairs.iter().any(|pair| pair.chosen) {
        return (None, said);
    }
    let speed = |end: Side, name: &str| {
        let nics = match end {
            Side::Local => &ours,
            Side::Remote => &theirs,
        };
        nics.iter().find(|nic| nic.name == name)?.speed_bits_per_s
    };
    said.extend(findings_with(&channels, &speed));
    (Some(channels), said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Node, NodeSpec, Plan, Tool};

    #[test]
    fn what_both_own_and_what_is_part_of_something_leads_nowhere() {
        let host = |last: u8, boot: &str| {
            let nic =
                |(index, name): (u32, &str), kind: &str, address: Option<&str>, master: Option<&str>| {
                    let address =
                        address.map(|ip| NicAddress { address: ip.parse().unwrap(), prefix_len: 24 });
                    let addresses = address.into_iter().collect();
                    let (kind, master) = (Some(kind.into()), master.map(Into::into));
                    Nic {
                        index,
                        name: name.into(),
                        kind,
                        master,
                        addresses,
                        up: Some(true),
                        carrier: Some(true),
                        ..Nic::default()
                    }
                };
            let nics = vec![
                nic((1, "e0"), "veth", Some(&format!("10.9.0.{last}")), None),
                nic((2, "virbr0"), "bridge", Some("192.168.122.1"), None),
                nic((3, "vnet1"), "tun", Some("fe80::1"), Some("virbr0")),
                nic((4, "guest1"), "veth", Some("fe80::2"), None),
            ];
            Environment { nics, boot_id: Some(boot.into()), ..Environment::default() }
        };
        let names = |client: &Environment, server: &Environment| {
            let mut names: Vec<String> = chosen(client, server).into_iter().map(|(nic, _)| nic).collect();
            names.dedup();
            names
        };
        assert_eq!(names(&host(1, "one"), &host(2, "two")), ["e0"]);
        let told = of_both_ends(&host(1, "one"), &host(2, "two")).unwrap().evidence;
        assert_eq!(told, "both hosts own 192.168.122.1 (virbr0 here, virbr0 of the peer)");
        assert_eq!(of_both_ends(&host(1, "one"), &host(1, "one")), None);
        // A machine that talks to itself owns all of them at both ends.
        assert_eq!(names(&host(1, "one"), &host(1, "one")), ["e0", "virbr0"]);
    }

    #[test]
    fn an_address_on_the_loopback_is_no_nic_of_its_own() {
        let host = |last: u8| {
            let nic = |(index, name, kind): (u32, &str, &str), address: String, prefix_len: u8| Nic {
                index,
                name: name.into(),
                kind: Some(kind.into()),
                addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len }],
                up: Some(true),
                carrier: Some(true),
                ..Nic::default()
            };
            let nics = vec![
                nic((1, "lo", "loopback"), format!("10.9.100.{last}"), 32),
                nic((2, "e0", "veth"), format!("10.9.0.{last}"), 24),
                nic((3, "d0", "dummy"), format!("10.9.101.{last}"), 32),
            ];
            Environment { nics, ..Environment::default() }
        };
        let names: Vec<String> = nics(&host(1)).into_iter().map(|nic| nic.name).collect();
        assert_eq!(names, ["e0"]);
        assert!(ways(&host(1), &host(2)).iter().all(|way| way.local.to_string().starts_with("10.9.0.")));
    }

    #[test]
    fn a_check_between_two_hosts_predicts_and_nothing_else_does() {
        let host = |address: &str, boot: &str| {
            let addresses = vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }];
            let nic = Nic { name: "e1".into(), index: 2, addresses, ..Nic::default() };
            let nic =
                Nic { up: Some(true), carrier: Some(true), speed_bits_per_s: Some(10_000_000_000), ..nic };
            Environment { nics: vec![nic], boot_id: Some(boot.into()), ..Environment::default() }
        };
        let doc = |command: CommandName, spec: NodeSpec, there: &str| {
            let mut doc = ResultDoc::new(Tool::default(), "then");
            doc.requested = Some(Plan { command, ..Plan::default() });
            doc.nodes = vec![
                Node::here(Some(host("10.0.0.1", "one"))),
                Node {
                    id: NodeId::SERVER,
                    name: "b".into(),
                    spec,
                    environment: Some(host(there, "two")),
                    clock: None,
                },
            ];
            doc
        };
        let agent = || NodeSpec::Agent { host: "b".into(), port: 1 };
        let (channels, _) = of_check(&doc(CommandName::Check, agent(), "10.0.0.2"), &[]);
        assert!(channels.unwrap().pairs.iter().any(|pair| pair.chosen && pair.local_nic == "e1"));
        let none = |doc: &ResultDoc, routed: &[Routed]| of_check(doc, routed).0.is_none();
        assert!(none(&doc(CommandName::Bench, agent(), "10.0.0.2"), &[]), "nobody asked for it");
        assert!(none(&doc(CommandName::Check, NodeSpec::Own, "10.0.0.2"), &[]), "there is one host");
        // In another subnet, behind a router that this host has, or has not.
        let far = doc(CommandName::Check, agent(), "10.9.0.2");
        let subnet = Prefix { address: "10.9.0.0".parse().unwrap(), len: 24 };
        assert!(none(&far, &[]) && none(&far, &[Routed { interface: 3, subnet }]));
        assert!(!none(&far, &[Routed { interface: 2, subnet }]));
    }

    #[test]
    fn t19_what_a_peer_says_of_its_addresses_leads_to_nobody_else() {
        let host = |addresses: &[&str]| {
            let of = |a: &&str| NicAddress { address: a.parse().unwrap(), prefix_len: 0 };
            let nic = Nic {
                name: "e1".into(),
                index: 2,
                addresses: addresses.iter().map(of).collect(),
                ..Nic::default()
            };
            Environment { nics: vec![nic], ..Environment::default() }
        };
        let here = host(&["10.0.0.1", "fd00::1"]);
        let hostile = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ];
        assert_eq!(ways(&here, &host(&hostile)), []);
        assert_eq!(nics(&host(&hostile))[0].addresses, []);
        assert!(!ways(&here, &host(&["10.0.0.2"])).is_empty(), "an honest one stays");
    }
}
