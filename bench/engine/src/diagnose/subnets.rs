//! What the addresses of both hosts say about their networks.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::environment::PeerRoute;
use pathproof_model::told;
use pathproof_model::{Environment, ErrorKind, Finding, MtuPath, Nic, NodeId, ResultDoc, Severity};

use super::networks::{network, of_a_network};
use super::{Rule, both_hosts};

pub(super) const RULES: &[Rule] = &[
    Rule {
        codes: &[code!("PREFIX-DIFFERS")],
        find: |doc| {
            both_hosts(doc).and_then(|(client, server)| prefixes(client, server)).into_iter().collect()
        },
    },
    Rule { codes: &[code!("RP-FILTER")], find: |doc| both_hosts(doc).map_or_else(Vec::new, |_| strict(doc)) },
];

/// Ends whose second NIC of a network may be dropped by a filter.
pub(super) fn strict(doc: &ResultDoc) -> Vec<Finding> {
    let ends =
        [NodeId::CLIENT, NodeId::SERVER].into_iter().filter_map(|node| Some((node, doc.environment(node)?)));
    ends.filter_map(|(node, host)| filters(doc, node, host)).collect()
}

/// Two addresses of one network with two opinions of how large it is.
fn prefixes(client: &Environment, server: &Environment) -> Option<Finding> {
    let all = |host: &Environment| -> Vec<(String, IpAddr, u8)> {
        let of =
            |nic: &Nic| of_a_network(nic).map(|(ip, len)| (nic.name.clone(), ip, len)).collect::<Vec<_>>();
        host.nics.iter().filter(|nic| !host.leads_inside(nic)).flat_map(of).collect()
    };
    let (ours, theirs) = (all(client), all(server));
    let has = |all: &[(String, IpAddr, u8)], ip: IpAddr, len: u8| {
        all.iter().any(|(_, one, its)| {
            *its == len && one.is_ipv4() == ip.is_ipv4() && network(*one, len) == network(ip, len)
        })
    };
    for (nic, ip, len) in &ours {
        let (ip, len) = (*ip, *len);
        let odd = theirs.iter().find(|(_, other, other_len)| {
            let shorter = len.min(*other_len);
            ip.is_ipv4() == other.is_ipv4()
                && ip != *other
                && len != *other_len
                && network(ip, shorter) == network(*other, shorter)
                // A default-sized network of many others (10.0.0.0/8 beside 10.1.2.0/24) is a route, no mistake, where another pair fits: one of
                // either address.
                && !has(&theirs, ip, len)
                && !has(&ours, *other, *other_len)
        });
        if let Some((other_nic, other, other_len)) = odd {
            let said = format!("{nic} here is {ip}/{len}, {other_nic} of the peer is {other}/{other_len}");
            return Some(Finding::new("PREFIX-DIFFERS", said));
        }
    }
    None
}

/// The reverse path filter that refuses what arrives at a NIC which the route back does not name.
const STRICT: Option<u32> = Some(1);

/// Strict reverse path filters on several NICs of one network: what arrives on the one that the route does not name is dropped.
fn filters(doc: &ResultDoc, node: NodeId, host: &Environment) -> Option<Finding> {
    let counts = doc.steps.iter().filter_map(|step| step.evidence(node)?.ip.as_ref()?.reverse_path_drops);
    let refused = counts.fold(0, u64::saturating_add);
    // One that is strict for all NICs is strict on those without a network, too. Where the rules of the host send each address out of its own NIC,
    // a filter refuses only what came in at another one, and counts it.
    let all: Vec<_> = shared(host).collect();
    let open = all.iter().find(|(.., ip, len)| !leaves_by_its_own(host, *ip, *len));
    let (nic, other, ip, len) = *open.or_else(|| all.first().filter(|_| refused > 0))?;
    // Whether it did any harm: packets that the kernel counted as refused for it, and a pair of these NICs that was silent.
    let names = [nic.name.as_str(), other.name.as_str()];
    let own = |path: &MtuPath| match node {
        NodeId::CLIENT => Some(path.local_nic.clone()),
        _ => path.remote_nic.clone(),
    };
    let ours = |path: &MtuPath| own(path).is_some_and(|nic| names.contains(&nic.as_str()));
    let silent = super::pairs::silent(doc).iter().any(|(path, _)| ours(path));
    let mut said = format!(
        "{} has {} and {} in one network ({ip}/{len}) and filters strictly by the route back (rp_filter=1) on {}",
        super::whose(node),
        nic.name,
        other.name,
        if other.reverse_path_filter == STRICT { "both" } else { &nic.name }
    );
    if refused > 0 {
        said.push_str(&format!("; the kernel refused {refused} packets for that during the run"));
    }
    if open.is_none() {
        said.push_str("; its rules send each address out of its own NIC, so those came in at another");
    }
    // A session or a step that fell silent between such hosts is what it does once a packet takes the other NIC.
    let lost = doc.error.as_ref().into_iter().chain(doc.steps.iter().filter_map(|step| step.error.as_ref()));
    // One that ended because bytes were changed on the way did not fall silent.
    let lost = lost.filter(|error| !error.tells_of_changed_bytes());
    let mut lost = lost.filter(|error| matches!(error.kind, ErrorKind::PeerLost | ErrorKind::Timeout));
    let harmed = silent && refused > 0 || lost.next().is_some();
    if open.is_none() && !harmed {
        return None;
    }
    let severity = if harmed { Severity::Error } else { Severity::Warning };
    let finding = Finding::new("RP-FILTER", said).with_severity(severity).tell(told::REFUSED, refused);
    Some(finding.tell(told::NODE, node).tell(told::NICS, names.map(str::to_owned)))
}

/// NICs that filter strictly, each with another one in its network, and the address by which they are.
fn shared(host: &Environment) -> impl Iterator<Item = (&Nic, &Nic, IpAddr, u8)> {
    let strict = host.nics.iter().filter(|nic| nic.reverse_path_filter == STRICT);
    strict.filter_map(move |nic| {
        let (ip, len) = of_a_network(nic).find(|(ip, _)| ip.is_ipv4())?;
        let is_beside = |other: &&Nic| {
            other.name != nic.name
                && of_a_network(other)
                    .any(|(second, _)| second.is_ipv4() && network(second, len) == network(ip, len))
        };
        Some((nic, host.nics.iter().find(is_beside)?, ip, len))
    })
}

/// Whether what the host sends from each of its addresses in a network to each of the peer's there leaves by the NIC that has the address, as its
/// kernel answered: then a strict filter takes what arrives where it belongs. Not so where that was not asked.
fn leaves_by_its_own(host: &Environment, ip: IpAddr, len: u8) -> bool {
    let inside = |address: IpAddr| address.is_ipv4() && network(address, len) == network(ip, len);
    let strict =
        host.nics.iter().filter(|nic| nic.reverse_path_filter == STRICT && nic.carrier != Some(false));
    let own: Vec<(&str, IpAddr)> = strict
        .flat_map(|nic| of_a_network(nic).map(move |(address, _)| (nic.name.as_str(), address)))
        .filter(|(_, address)| inside(*address))
        .collect();
    let others = |peer: &&PeerRoute| inside(peer.address) && own.iter().all(|(_, own)| *own != peer.address);
    let peers: Vec<&PeerRoute> = host.peers.iter().filter(others).collect();
    let leaves = |peer: &PeerRoute, nic: &str, source: IpAddr| {
        peer.sources.iter().any(|one| one.source == source && one.nic == nic)
    };
    !peers.is_empty() && peers.iter().all(|peer| own.iter().all(|(nic, source)| leaves(peer, nic, *source)))
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::{NicAddress, Node, Tool};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn nic(name: &str, address: &str, prefix_len: u8, filter: u32) -> Nic {
        let address = NicAddress { address: address.parse().unwrap(), prefix_len };
        Nic {
            name: name.into(),
            addresses: vec![address],
            reverse_path_filter: Some(filter),
            ..Nic::default()
        }
    }

    fn codes(client: Vec<Nic>, server: Vec<Nic>) -> Vec<String> {
        let host = |nics| Some(Environment { nics, ..Environment::default() });
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(host(client)), Node::agent("b", host(server))];
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn two_sizes_of_one_network_are_told() {
        let one = |len| vec![nic("a", "10.0.1.1", len, 0)];
        assert_eq!(codes(one(24), vec![nic("b", "10.0.1.2", 16, 0)]), ["PREFIX-DIFFERS"]);
        assert_eq!(codes(one(24), vec![nic("b", "10.0.1.2", 24, 0)]), [""; 0]);
        assert_eq!(codes(one(24), vec![nic("b", "10.0.2.2", 24, 0)]), [""; 0]);
        // A wide network of something else beside one that fits.
        assert_eq!(codes(one(24), vec![nic("b", "10.0.1.2", 24, 0), nic("c", "10.9.0.1", 8, 0)]), [""; 0]);
    }

    #[test]
    fn a_network_of_containers_within_the_one_that_both_share_is_no_mistake() {
        let lan = |last: u8| nic("lan", &format!("10.1.2.{last}"), 8, 0);
        let pods = |kind: &str| Nic { kind: Some(kind.into()), ..nic("pods", "10.88.0.1", 16, 0) };
        assert_eq!(codes(vec![lan(3), pods("bridge")], vec![lan(4)]), [""; 0]);
        assert_eq!(
            codes(vec![lan(4)], vec![lan(3), pods("wireguard")]),
            [""; 0],
            "its address fits another one"
        );
        // Neither end has another network that fits: a bridge of containers leads to nobody, and one with a NIC does.
        let bridge = |port: Option<&str>| {
            let port = port.map(|kind| Nic {
                name: "port".into(),
                kind: Some(kind.into()),
                master: Some("pods".into()),
                ..Nic::default()
            });
            let nics = port.into_iter().chain([nic("e0", "192.168.1.3", 24, 0), pods("bridge")]).collect();
            codes(nics, vec![nic("e0", "192.168.1.4", 24, 0), lan(4)])
        };
        assert_eq!((bridge(None), bridge(Some("veth"))), (vec![], vec![]));
        assert_eq!(bridge(Some("ethernet")), ["PREFIX-DIFFERS"]);
    }

    #[test]
    fn strict_filters_matter_where_two_nics_share_a_network() {
        let peer = || vec![nic("x", "10.0.1.9", 24, 0)];
        let two = |filter| vec![nic("a", "10.0.1.1", 24, filter), nic("b", "10.0.1.2", 24, filter)];
        assert_eq!(codes(two(1), peer()), ["RP-FILTER"]);
        assert_eq!(codes(two(2), peer()), [""; 0]);
        assert_eq!(codes(vec![nic("a", "10.0.1.1", 24, 1), nic("b", "10.0.2.1", 24, 1)], peer()), [""; 0]);
        // A setting for all NICs makes those strict that come first and lie in no network, or in another one.
        for first in [nic("lo", "127.0.0.1", 8, 1), nic("mgmt", "192.168.9.1", 24, 1)] {
            let all: Vec<Nic> = std::iter::once(first).chain(two(1)).collect();
            assert_eq!(codes(all, peer()), ["RP-FILTER"]);
        }
    }

    #[test]
    fn rules_that_send_each_address_out_of_its_own_nic_leave_a_strict_filter_nothing_to_refuse() {
        use pathproof_model::environment::SourceRoute;
        use pathproof_model::evidence::IpCounts;
        use pathproof_model::{Evidence, Step, StepError, StepKind};
        let told = |sources: &[(&str, &str)], refused: u64, lost: bool| -> Vec<Severity> {
            let route = |(source, nic): &(&str, &str)| SourceRoute {
                source: source.parse().unwrap(),
                nic: (*nic).into(),
            };
            let peer = PeerRoute {
                sources: sources.iter().map(route).collect(),
                ..PeerRoute::to("10.0.1.9".parse().unwrap())
            };
            let two = vec![nic("a", "10.0.1.1", 24, 1), nic("b", "10.0.1.2", 24, 1)];
            let here = Environment { nics: two, peers: vec![peer], ..Environment::default() };
            let there = Environment { nics: vec![nic("x", "10.0.1.9", 24, 0)], ..Environment::default() };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(Some(here)), Node::agent("b", Some(there))];
            let mut step = Step::new(StepKind::Mtu, "path MTU");
            let ip = Some(IpCounts { reverse_path_drops: Some(refused), ..IpCounts::still() });
            step.evidence = vec![Evidence { ip, ..Evidence::default() }];
            doc.steps = vec![step];
            let error = StepError::new(ErrorKind::PeerLost, "timed out".into());
            doc.error = Some(error).filter(|_| lost);
            findings(&doc).into_iter().map(|finding| finding.severity).collect()
        };
        let own: [(&str, &str); 2] = [("10.0.1.1", "a"), ("10.0.1.2", "b")];
        assert_eq!(told(&own, 0, false), []);
        assert_eq!(told(&own, 3, false), [], "of whatever else arrives at such a host");
        assert_eq!(told(&own, 0, true), [], "it refused nothing");
        assert_eq!(told(&own, 3, true), [Severity::Error]);
        // One of the two leaves by the other's NIC, or was not asked for.
        assert_eq!(told(&[own[0], ("10.0.1.2", "a")], 0, false), [Severity::Warning]);
        assert_eq!(told(&own[..1], 0, false), [Severity::Warning]);
        assert_eq!(told(&[], 0, false), [Severity::Warning]);
    }

    #[test]
    fn strict_filters_are_an_error_where_the_session_fell_silent() {
        use pathproof_model::StepError;
        let host = |nics| Some(Environment { nics, ..Environment::default() });
        let mut doc = ResultDoc::new(Tool::default(), "");
        let two = vec![nic("a", "10.0.1.1", 24, 1), nic("b", "10.0.1.2", 24, 1)];
        doc.nodes = vec![Node::here(host(two)), Node::agent("b", host(vec![nic("x", "10.0.1.9", 24, 0)]))];
        assert_eq!(findings(&doc)[0].severity, Severity::Warning);
        doc.error = Some(StepError::new(ErrorKind::PeerLost, "timed out".into()));
        assert_eq!(findings(&doc)[0].severity, Severity::Error);
    }
}
