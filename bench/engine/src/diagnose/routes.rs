//! Routes that send what belongs to one NIC over another, and those that lead back by another way than out.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::environment::RefusedSource;
use pathproof_model::finding::Commands;
use pathproof_model::told;
use pathproof_model::{Direction, Environment, Finding, LossPath, Nic, NodeId, ResultDoc, Severity};

use super::networks::{network, of_a_network};
use super::{Rule, whose};

pub(super) const RULES: &[Rule] = &[
    Rule {
        codes: &[code!("ROUTE-PROHIBITED"), code!("ROUTE-LEAK"), code!("MTU-ROUTE-LIMIT")],
        find: of_each_host,
    },
    Rule {
        codes: &[code!("ROUTE-ASYMMETRIC")],
        find: |doc| asymmetric(doc).or_else(|| two_routers(doc)).into_iter().collect(),
    },
];

fn of_each_host(doc: &ResultDoc) -> Vec<Finding> {
    [NodeId::CLIENT, NodeId::SERVER]
        .into_iter()
        .filter_map(|node| Some((node, doc.environment(node)?)))
        .flat_map(|(node, host)| {
            refusals(node, host).into_iter().chain(leaks(node, host)).chain(family_mtu(doc, node, host))
        })
        .collect()
}

/// A way that leads through a router in one direction and to the neighbour itself in the other.
fn asymmetric(doc: &ResultDoc) -> Option<Finding> {
    let (client, server) = (doc.environment(NodeId::CLIENT)?, doc.environment(NodeId::SERVER)?);
    let lanes = super::planned(doc)
        .flat_map(|step| &step.lanes)
        .filter(|lane| lane.end == pathproof_model::End::Client);
    let ways = lanes.filter_map(|lane| Some((super::ip_of(&lane.local)?, super::ip_of(&lane.remote)?)));
    let route = |host: &Environment, to| {
        host.peers.iter().find(|peer| peer.address == to && peer.nic.is_some()).cloned()
    };
    ways.filter_map(|(ours, theirs)| Some((ours, theirs, route(client, theirs)?, route(server, ours)?)))
        .find(|(.., out, back)| out.router.is_some() != back.router.is_some())
        .map(|(ours, theirs, out, back)| {
            let how = |router: Option<IpAddr>| {
                router.map_or_else(
                    || "goes straight there".to_owned(),
                    |router| format!("goes through the router {router}"),
                )
            };
            let said = format!(
                "out, from {ours} to {theirs}, it {}; in, from {theirs} to {ours}, it {}",
                how(out.router),
                how(back.router)
            );
            Finding::new("ROUTE-ASYMMETRIC", said)
                .with("local_address", ours.to_string())
                .tell(told::REMOTE_ADDRESS, theirs)
        })
}

/// A way that one router takes out of a host's network and another brings back into it: what the routers themselves say, since a gateway's
/// address may be that of several, and those of one router differ at its two sides.
fn two_routers(doc: &ResultDoc) -> Option<Finding> {
    let paths: Vec<&LossPath> = planned_paths(doc).filter(|path| !path.by_echo).collect();
    let back = |out: &LossPath| {
        let same = |path: &&&LossPath| {
            path.direction == Direction::In
                && (path.local_address, path.remote_address) == (out.local_address, out.remote_address)
        };
        paths.iter().find(same).copied()
    };
    let outward = paths.iter().filter(|path| path.direction == Direction::Out);
    outward.filter_map(|out| Some((*out, back(out)?))).find_map(|(out, back)| {
        [
            (NodeId::CLIENT, out.remote_address, out.first_router, back.last_router),
            (NodeId::SERVER, out.local_address, back.first_router, out.last_router),
        ]
        .into_iter()
        .find_map(|(node, other, takes, brings)| {
            let (takes, brings) = (takes?, brings?);
            // Two neighbours of one network: else one of them did not write itself down, and it was the one before it that did.
            let nics = &doc.environment(node)?.nics;
            let near = nics.iter().any(|nic| holds(nic, takes) && holds(nic, brings));
            if !near || takes == brings {
                return None;
            }
            let said = format!(
                "at {} the router {takes} takes what goes to {other}, and {brings} hands over what comes from there; both pass what was \
                 sent here",
                whose(node)
            );
            let finding = Finding::new("ROUTE-ASYMMETRIC", said).with_severity(Severity::Info);
            Some(
                finding
                    .with("local_address", out.local_address.to_string())
                    .tell(told::REMOTE_ADDRESS, out.remote_address),
            )
        })
    })
}

fn planned_paths(doc: &ResultDoc) -> impl Iterator<Item = &LossPath> {
    super::planned(doc).filter_map(|step| step.detail.loss.as_deref()).flatten()
}

fn holds(nic: &Nic, address: IpAddr) -> bool {
    of_a_network(nic)
        .any(|(own, len)| own.is_ipv4() == address.is_ipv4() && network(own, len) == network(address, len))
}

/// NICs of the run on which IPv6 keeps to a smaller MTU than the interface has.
fn family_mtu(doc: &ResultDoc, node: NodeId, host: &Environment) -> Vec<Finding> {
    let used = super::nics::used(doc);
    let limited = host.nics.iter().filter(|nic| used.contains(&(node, nic.name.clone()))).filter_map(|nic| {
        let own = nic.ipv6_mtu_bytes?;
        let whole = nic.ip_mtu_bytes.filter(|whole| own < *whole)?;
        let global = |address: &pathproof_model::NicAddress| matches!(address.address, IpAddr::V6(six) if !six.is_unicast_link_local());
        nic.addresses.iter().any(global).then_some((nic, own, whole))
    });
    let finding = |(nic, own, whole): (&Nic, u32, u32)| {
        let said = format!(
            "{}: IPv6 on {} keeps to an MTU of {own}, and the interface has {whole}: its segments and datagrams are no larger, whatever the path carries",
            whose(node),
            nic.name
        );
        let commands =
            Commands::new().at(node, "sysctl -w net/ipv6/conf/{}/mtu={}", &[&nic.name, &whole.to_string()]);
        let text = "It comes back where a router advertises it (rdisc6 NIC; radvd's AdvLinkMTU): set it there, or let this host not take it \
                    (net.ipv6.conf.NIC.accept_ra_mtu=0).";
        let mut finding = Finding::new("MTU-ROUTE-LIMIT", said).with_severity(Severity::Error);
        finding.meaning = "IPv6 has an MTU of its own on a host, below what its interface carries: what speaks IPv6 sends small packets, and IPv4 large ones.".into();
        let told_of = if node == NodeId::CLIENT { told::LOCAL_NIC } else { told::REMOTE_NIC };
        let next = commands.advice("MTU-ROUTE-LIMIT", text).unwrap_or_else(|| text.to_owned());
        finding
            .tell(told_of, nic.name.clone())
            .with("ipv6_mtu_bytes", own)
            .with("ip_mtu_bytes", whole)
            .with_next(next)
    };
    limited.map(finding).collect()
}

/// Addresses from which a host's own rules let nothing go to a neighbour.
fn refusals(node: NodeId, host: &Environment) -> Vec<Finding> {
    let pairs = host.peers.iter().flat_map(|peer| peer.refused.iter().map(move |one| (peer.address, one)));
    let finding = |(peer, refused): (IpAddr, &RefusedSource)| {
        let RefusedSource { source, verdict } = refused;
        let said = format!(
            "at {} nothing that comes from {source} may go to {peer} in the same network: its rules and routes answer \"{verdict}\"; what is \
             bound to the NIC may pass all the same",
            whose(node)
        );
        let rules = if source.is_ipv4() { "ip rule show" } else { "ip -6 rule show" };
        let commands = Commands::new()
            .at(node, "ip route get {} from {}", &[&peer.to_string(), &source.to_string()])
            .at(node, rules, &[]);
        let lead = "Find the rule or the route that says so, and delete it:";
        let finding = Finding::new("ROUTE-PROHIBITED", said).with_commands(lead, &commands);
        let finding = finding.with("source_address", source.to_string()).tell(told::ADDRESS, peer);
        let holder = host.nics.iter().find(|nic| nic.addresses.iter().any(|own| own.address == *source));
        let end = if node == NodeId::CLIENT { told::LOCAL_NIC } else { told::REMOTE_NIC };
        holder.into_iter().fold(finding, |finding, nic| finding.tell(end, nic.name.clone()))
    };
    // A peer says what it likes of itself.
    pairs.take(REFUSALS_MAX).map(finding).collect()
}

/// So many pairs of addresses are told of a host.
const REFUSALS_MAX: usize = 16;

/// Addresses of the peer that lie in the network of one NIC, and whose route leads out of another that does not.
fn leaks(node: NodeId, host: &Environment) -> Vec<Finding> {
    let leak = |peer: &pathproof_model::environment::PeerRoute| {
        let by = peer.nic.as_deref()?;
        let taken = host.nics.iter().find(|nic| nic.name == by)?;
        // The routes of a VRF are its own: what leads there is asked from within, and not known here.
        let within = |nic: &&Nic| {
            let master = nic.master.as_ref();
            master.is_some_and(|name| host.nics.iter().any(|one| one.name == *name && one.is_of_kind("vrf")))
        };
        let mut reached = host.nics.iter().filter(|nic| !within(nic));
        let meant = reached.find(|nic| nic.carrier != Some(false) && holds(nic, peer.address))?;
        if meant.name == taken.name || holds(taken, peer.address) || taken.is_loopback() {
            return None;
        }
        let via = peer.router.map_or_else(String::new, |router| format!(" through {router}"));
        let said = format!(
            "at {} {} lies in the network of {}, and its route leads out of {by}{via}",
            whose(node),
            peer.address,
            meant.name
        );
        let (address, whole) = (peer.address.to_string(), if peer.address.is_ipv4() { 32 } else { 128 });
        let form = if peer.address.is_ipv4() {
            "ip route replace {}/{} dev {}"
        } else {
            "ip -6 route replace {}/{} dev {}"
        };
        let commands = Commands::new().at(node, form, &[&address, &whole.to_string(), &meant.name]);
        let lead = "Remove or correct that route (ip route get ADDRESS shows it), so that each network is reached over the NIC that lies in \
                    it. At once, for this address:";
        let finding = Finding::new("ROUTE-LEAK", said).with_commands(lead, &commands);
        Some(finding.tell(told::ADDRESS, peer.address).tell(told::NIC, by))
    };
    host.peers.iter().filter_map(leak).collect()
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::environment::PeerRoute;
    use pathproof_model::{NicAddress, Node, Tool};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn codes(second: &str, route: &str) -> Vec<String> {
        let nic = |name: &str, address: &str| Nic {
            name: name.into(),
            addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }],
            ..Nic::default()
        };
        let peer = PeerRoute { nic: Some(route.into()), ..PeerRoute::to("10.9.1.2".parse().unwrap()) };
        let host = Environment {
            nics: vec![nic("e0", "10.9.0.1"), nic("e1", second)],
            peers: vec![peer],
            ..Environment::default()
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(Some(host))];
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_nic_in_a_vrf_has_routes_of_its_own_and_leaks_nothing() {
        let told = |kind: &str| {
            let nic = |name: &str, address: &str, master: Option<&str>| Nic {
                name: name.into(),
                addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }],
                master: master.map(Into::into),
                ..Nic::default()
            };
            let domain = Nic { name: "mgmt".into(), kind: Some(kind.into()), ..Nic::default() };
            let peer = PeerRoute { nic: Some("e0".into()), ..PeerRoute::to("10.9.1.2".parse().unwrap()) };
            let host = Environment {
                nics: vec![nic("e0", "10.9.0.1", None), nic("e1", "10.9.1.1", Some("mgmt")), domain],
                peers: vec![peer],
                ..Environment::default()
            };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(Some(host))];
            findings(&doc).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!((told("vrf"), told("bridge")), (vec![], vec!["ROUTE-LEAK".to_owned()]));
    }

    #[test]
    fn an_address_from_which_nothing_may_go_is_told_with_the_question_to_ask() {
        let one_refused =
            || RefusedSource { source: "10.9.1.1".parse().unwrap(), verdict: "prohibit".into() };
        let peer = |refused| PeerRoute { refused, ..PeerRoute::to("10.9.1.2".parse().unwrap()) };
        let told = |refused| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let host = Environment { peers: vec![peer(refused)], ..Environment::default() };
            doc.nodes = vec![Node::here(Some(host))];
            findings(&doc)
        };
        let found = told(vec![one_refused()]);
        let [one] = &found[..] else { panic!("{found:#?}") };
        assert_eq!((one.code.as_str(), one.severity), ("ROUTE-PROHIBITED", Severity::Error));
        assert!(one.next.contains("ip route get 10.9.1.2 from 10.9.1.1"), "{}", one.next);
        assert!(told(vec![]).is_empty());
        assert_eq!(
            told(vec![one_refused(); 10_000]).len(),
            REFUSALS_MAX,
            "a peer may say as much as it likes"
        );
    }

    #[test]
    fn an_mtu_that_ipv6_alone_has_is_told() {
        let told = |own: Option<u32>, address: &str| {
            let nic = Nic {
                name: "e0".into(),
                ip_mtu_bytes: Some(9000),
                ipv6_mtu_bytes: own,
                addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 64 }],
                ..Nic::default()
            };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(Some(Environment { nics: vec![nic], ..Environment::default() }))];
            let mut step = pathproof_model::Step::new(pathproof_model::StepKind::Stream, "tcp stream out");
            step.lanes = vec![pathproof_model::LaneResult {
                local: Some(format!("[{address}]:7797")),
                bytes: 1,
                ..Default::default()
            }];
            doc.steps = vec![step];
            findings(&doc).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(told(Some(1280), "fd09::1"), ["MTU-ROUTE-LIMIT"]);
        assert_eq!(told(Some(9000), "fd09::1"), [""; 0]);
        assert_eq!(told(None, "fd09::1"), [""; 0]);
        assert_eq!(told(Some(1280), "fe80::1"), [""; 0], "nothing of a run goes by it");
    }

    #[test]
    fn a_router_on_one_way_alone_is_told() {
        use pathproof_model::{LaneResult, Step, StepKind};
        // As where one host has a /24 and the other a /25 that the first is not in.
        let told = |out: Option<&str>, back: Option<&str>| {
            let host = |to: &str, router: Option<&str>| {
                let router = router.map(|router| router.parse().unwrap());
                let peer = PeerRoute { nic: Some("e0".into()), router, ..PeerRoute::to(to.parse().unwrap()) };
                Some(Environment { peers: vec![peer], ..Environment::default() })
            };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(host("10.9.0.130", out)), Node::agent("b", host("10.9.0.1", back))];
            let mut step = Step::new(StepKind::Stream, "tcp stream out");
            step.lanes = vec![LaneResult {
                end: pathproof_model::End::Client,
                local: Some("10.9.0.1:5".into()),
                remote: Some("10.9.0.130:7797".into()),
                ..LaneResult::default()
            }];
            doc.steps = vec![step];
            findings(&doc).into_iter().map(|finding| finding.evidence).collect::<Vec<_>>()
        };
        let found = told(None, Some("10.9.0.200"));
        assert!(found[0].contains("straight") && found[0].contains("router 10.9.0.200"), "{found:?}");
        assert_eq!(told(None, None), [""; 0]);
        assert_eq!(told(Some("10.9.0.254"), Some("10.9.0.200")), [""; 0]);
    }

    #[test]
    fn a_router_that_takes_and_another_that_brings_are_told_where_both_are_neighbours() {
        use crate::diagnose::tests::loss_path;
        use pathproof_model::{Step, StepKind};
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let told = |takes: &str, brings: Option<&str>| {
            let nic = |address: &str| Nic {
                name: "e0".into(),
                addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }],
                ..Nic::default()
            };
            let host = |address| Some(Environment { nics: vec![nic(address)], ..Environment::default() });
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(host("10.9.1.1")), Node::agent("b", host("10.9.2.1"))];
            let path = |direction| LossPath {
                local_address: ip("10.9.1.1").unwrap(),
                remote_address: ip("10.9.2.1").unwrap(),
                direction,
                ..loss_path()
            };
            let out =
                LossPath { first_router: ip(takes), last_router: ip("10.9.2.251"), ..path(Direction::Out) };
            let back = LossPath { last_router: brings.and_then(ip), ..path(Direction::In) };
            let mut step = Step::new(StepKind::Loss, "datagram loss");
            step.detail.loss = Some(vec![out, back]);
            doc.steps = vec![step];
            findings(&doc).into_iter().map(|finding| finding.evidence).collect::<Vec<_>>()
        };
        let found = told("10.9.1.251", Some("10.9.1.252"));
        assert!(found[0].contains("10.9.1.251 takes") && found[0].contains("10.9.1.252 hands"), "{found:?}");
        assert_eq!(told("10.9.1.251", Some("10.9.1.251")), [""; 0]);
        // One that does not record itself, after one that does; and nothing known.
        assert_eq!(told("10.9.1.251", Some("10.9.7.1")), [""; 0]);
        assert_eq!(told("10.9.1.251", None), [""; 0]);
    }

    #[test]
    fn a_route_that_leaves_by_a_nic_of_another_network_is_a_leak() {
        assert_eq!(codes("10.9.1.1", "e0"), ["ROUTE-LEAK"]);
        assert_eq!(codes("10.9.1.1", "e1"), [""; 0]);
        // No NIC is nearer: the route through e0 is the way.
        assert_eq!(codes("10.9.2.1", "e0"), [""; 0]);
    }
}
