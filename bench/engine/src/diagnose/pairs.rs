//! Pairs of NICs: those that never carried a byte, and what their two ends say of the link.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::judge::tcp_passed;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{
    ChannelPair, Direction, Environment, Finding, MtuMethod, MtuPath, Nic, NodeId, ResultDoc, Severity, Step,
};

use super::networks::{network, of_a_network};
use super::{Rule, both_hosts, whose};

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("CHANNEL-DEAD")], find: dead },
    Rule {
        codes: &[code!("MAC-DUPLICATE")],
        find: |doc| both_hosts(doc).map_or_else(Vec::new, |(client, server)| one_mac(doc, client, server)),
    },
    Rule {
        codes: &[code!("NIC-SPEED-DIFFERS")],
        find: |doc| both_hosts(doc).map_or_else(Vec::new, |(client, server)| speeds(doc, client, server)),
    },
    Rule {
        codes: &[code!("LINK-DOWN")],
        find: |doc| {
            both_hosts(doc).map_or_else(Vec::new, |(client, server)| {
                let found = without_carrier(client, server).into_iter();
                found.chain(members_without_carrier(client, server)).collect()
            })
        },
    },
    Rule {
        codes: &[code!("CHANNEL-NIC-IDLE")],
        find: |doc| both_hosts(doc).map_or_else(Vec::new, |(client, server)| left_over(doc, client, server)),
    },
];

fn chosen(doc: &ResultDoc) -> impl Iterator<Item = &ChannelPair> {
    doc.channels.iter().flat_map(|channels| &channels.pairs).filter(|pair| pair.chosen)
}

/// Whether a path of one pair of addresses heard nothing at all.
pub(super) fn is_silent(path: &MtuPath) -> bool {
    path.ip_mtu_bytes.is_none() && path.proven_ip_bytes.is_none()
}

/// Pairs that were silent in every direction while another pair was not.
pub(super) fn silent(doc: &ResultDoc) -> Vec<(&MtuPath, &MtuPath)> {
    let paths: Vec<&MtuPath> =
        doc.steps.iter().filter_map(|step| step.detail.paths.as_deref()).flatten().collect();
    let ends = |path: &MtuPath| (path.local_address, path.remote_address);
    // Who answers echoes says nothing about pairs that were asked by datagrams alone.
    let answered = |path: &&&MtuPath| !is_silent(path) && path.method != MtuMethod::Echo;
    let Some(alive) = paths.iter().find(answered) else { return vec![] };
    let dead = paths.iter().filter(|path| {
        path.direction == Direction::Out
            && paths.iter().filter(|other| ends(other) == ends(path)).all(|p| is_silent(p))
    });
    dead.map(|path| (*path, *alive)).collect()
}

/// Whether one end asked who has the other's address and nobody answered, on the wire where the other family is answered: no filter keeps
/// that question away, and without its answer nothing of the family passes.
fn is_unresolved(doc: &ResultDoc, path: &MtuPath, alive: &MtuPath) -> bool {
    let same_nics = path.local_nic == alive.local_nic && path.remote_nic == alive.remote_nic;
    let asked = |step: &Step| {
        [(NodeId::CLIENT, path.remote_address), (NodeId::SERVER, path.local_address)].into_iter().any(
            |(node, wanted)| {
                let neighbours = step.evidence(node).and_then(|evidence| evidence.neighbours.as_ref());
                neighbours
                    .into_iter()
                    .flatten()
                    .any(|one| one.address == wanted && one.failed && one.macs.is_empty())
            },
        )
    };
    same_nics && path.family != alive.family && doc.steps.iter().any(asked)
}

/// Whether the other end answered to paced datagrams between two addresses: then a search for their path MTU that heard nothing met a silence, and
/// no pair that is dead.
fn answered_later(doc: &ResultDoc, path: &MtuPath) -> bool {
    let paced = doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    let ends = (path.local_address, path.remote_address);
    paced
        .filter(|one| (one.local_address, one.remote_address) == ends)
        .any(|one| one.flows.iter().any(|flow| flow.answered))
}

/// Whether TCP passed between the addresses of a path, by its two NICs: then something takes datagrams away.
fn carries_tcp(doc: &ResultDoc, path: &MtuPath) -> bool {
    let theirs = path.remote_nic.as_deref().map(|nic| (nic, path.remote_address));
    theirs.is_some_and(|theirs| tcp_passed(doc, (path.local_nic.as_str(), path.local_address), theirs))
}

/// Pairs that SMB would use and over which not one probe of the path MTU was answered, where no later step said so or was answered; and a family of
/// addresses that nobody answers for on a wire that carries the other.
fn dead(doc: &ResultDoc) -> Vec<Finding> {
    if doc.findings.iter().any(|finding| finding.is(code!("CHANNEL-DEAD"))) {
        return vec![];
    }
    let wanted = |path: &MtuPath| {
        chosen(doc).any(|pair| (pair.local, pair.remote) == (path.local_address, path.remote_address))
    };
    let pairs =
        silent(doc).into_iter().filter(|(path, alive)| wanted(path) || is_unresolved(doc, path, alive));
    pairs
        .filter(|(path, _)| !answered_later(doc, path) && !carries_tcp(doc, path))
        .map(|(path, alive)| {
            let remote = path.remote_nic.as_deref().unwrap_or("the peer");
            let said = format!(
                "{} ({}) and {remote} ({}) share a network, and not one packet of IPv{} passes between them, neither way; of IPv{} between {} and {} it does",
                path.local_nic,
                path.local_address,
                path.remote_address,
                path.family,
                alive.family,
                alive.local_nic,
                alive.remote_nic.as_deref().unwrap_or("the peer")
            );
            Finding::new("CHANNEL-DEAD", said).tell(told::LOCAL_NIC, path.local_nic.clone()).tell(told::REMOTE_NIC, remote)
        })
        .collect()
}

/// Silent pairs whose two NICs have one hardware address: no switch sends a frame back to the port where it last heard the address that the frame is for.
/// Where a router lies between the two, or something passes all the same, as over one cable, it does no harm.
fn one_mac(doc: &ResultDoc, client: &Environment, server: &Environment) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (path, _) in silent(doc) {
        let theirs = path.remote_nic.as_deref().and_then(|nic| named(server, nic));
        let Some((ours, theirs)) = named(client, &path.local_nic).zip(theirs) else { continue };
        let Some(mac) = ethernet_mac(ours).filter(|mac| ethernet_mac(theirs).as_ref() == Some(mac)) else {
            continue;
        };
        let is_routed =
            client.peers.iter().any(|peer| peer.address == path.remote_address && peer.router.is_some());
        let told = found.iter().any(|one| {
            let nics = (one.told(told::LOCAL_NIC), one.told(told::REMOTE_NIC));
            nics == (Some(ours.name.clone()), Some(theirs.name.clone()))
        });
        if told || is_routed || anything_passes(doc, path) {
            continue;
        }
        let said = format!(
            "{} ({}) here and {} ({}) of the peer both have the hardware address {mac}, and nothing passes between them: a switch sends no frame back to the \
             port where it last heard the address that it is for",
            ours.name, path.local_address, theirs.name, path.remote_address
        );
        let finding = Finding::new("MAC-DUPLICATE", said).with_severity(Severity::Error);
        let finding = finding.tell(told::LOCAL_NIC, ours.name.clone());
        let finding = finding.tell(told::REMOTE_NIC, theirs.name.clone());
        found.push(finding.with_next(
            "Give one of the two NICs a hardware address of its own (a machine that was cloned, or a card that was programmed alike, keeps the other's), and \
             run again; ip link shows those of a host.",
        ));
    }
    found
}

/// The hardware address of a NIC, where it is one of Ethernet's and the NIC's own.
fn ethernet_mac(nic: &Nic) -> Option<String> {
    /// Six pairs of digits, and what parts them.
    const LETTERS: usize = 17;
    let mac = nic.mac.as_deref().filter(|mac| mac.len() == LETTERS)?.to_ascii_lowercase();
    // One of zeros is none.
    let is_one = mac.chars().any(|letter| !['0', ':'].contains(&letter));
    (is_one && !nic.is_loopback()).then_some(mac)
}

/// Whether anything passed between the two NICs of a path, of whichever family and size.
fn anything_passes(doc: &ResultDoc, path: &MtuPath) -> bool {
    let searched = doc.steps.iter().filter_map(|step| step.detail.paths.as_deref()).flatten();
    let mut searched =
        searched.filter(|one| one.local_nic == path.local_nic && one.remote_nic == path.remote_nic);
    let paced = doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    let mut paced = paced.filter(|one| {
        one.local_nic == path.local_nic && Some(one.remote_nic.as_str()) == path.remote_nic.as_deref()
    });
    searched.any(|one| !is_silent(one) || carries_tcp(doc, one))
        || paced.any(|one| one.flows.iter().any(|flow| flow.answered))
}

fn named<'a>(host: &'a Environment, name: &str) -> Option<&'a Nic> {
    host.nics.iter().find(|nic| nic.name == name)
}

/// Two ends of a pair that negotiated different speeds: the slower one is what the pair carries.
fn speeds(doc: &ResultDoc, client: &Environment, server: &Environment) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for pair in chosen(doc) {
        let (Some(ours), Some(theirs)) = (named(client, &pair.local_nic), named(server, &pair.remote_nic))
        else {
            continue;
        };
        let (Some(near), Some(far)) = (ours.speed_bits_per_s, theirs.speed_bits_per_s) else { continue };
        let said = format!(
            "{} here has {} and {} of the peer {}: the pair carries what the slower of them does",
            ours.name,
            BitsPerSecond(near),
            theirs.name,
            BitsPerSecond(far)
        );
        if near != far && found.iter().all(|one| one.evidence != said) {
            found.push(Finding::new("NIC-SPEED-DIFFERS", said));
        }
    }
    found
}

/// Whether the other host has a NIC in one of this NIC's networks. That of its containers or guests is in a wide one (10.0.0.0/8) by its address
/// alone, unless it says so itself.
fn shares_network(nic: &Nic, other: &Environment) -> bool {
    let fars = || other.nics.iter().flat_map(|far| of_a_network(far).map(move |one| (far, one)));
    of_a_network(nic).any(|(ip, len)| {
        fars().any(|(far_nic, (far, far_len))| {
            let both_in = |len: u8| far.is_ipv4() == ip.is_ipv4() && network(far, len) == network(ip, len);
            both_in(len) && (both_in(far_len) || !other.leads_inside(far_nic))
        })
    })
}

/// Links that are down although the other host has a NIC in the same network.
fn without_carrier(client: &Environment, server: &Environment) -> Vec<Finding> {
    let ends = [(NodeId::CLIENT, client, server), (NodeId::SERVER, server, client)];
    let down = ends.into_iter().flat_map(|(node, host, other)| {
        let nics = host.nics.iter().filter(|nic| nic.up == Some(true) && nic.carrier == Some(false));
        nics.filter(|nic| !is_software(nic) && shares_network(nic, other)).map(move |nic| (node, nic))
    });
    down.map(|(node, nic)| {
        let address = of_a_network(nic).next().map_or_else(String::new, |(ip, len)| format!(" ({ip}/{len})"));
        let said = format!(
            "{}: {}{address} is up and has no carrier, and the other end has a NIC in that network",
            whose(node),
            nic.name
        );
        Finding::new("LINK-DOWN", said).tell(told::NIC, nic.name.clone())
    })
    .collect()
}

/// Members of a bundle that are down while the others carry on, where the bundle leads to the other host: the rate and the reserve of one cable are gone.
fn members_without_carrier(client: &Environment, server: &Environment) -> Vec<Finding> {
    let ends = [(NodeId::CLIENT, client, server), (NodeId::SERVER, server, client)];
    let told = ends.into_iter().flat_map(|(node, host, other)| {
        let down = host.nics.iter().filter(|nic| nic.up == Some(true) && nic.carrier == Some(false));
        let of_bundle = down.filter_map(|nic| Some((nic, named(host, nic.master.as_deref()?)?)));
        let carries = |bundle: &Nic| {
            let is_bundle = ["bond", "team"].iter().any(|kind| bundle.is_of_kind(kind));
            is_bundle && bundle.carrier == Some(true) && leads_to(host, bundle, other)
        };
        of_bundle.filter(move |(_, bundle)| carries(bundle)).map(move |(nic, bundle)| {
            let said = format!(
                "{}: {} of the bundle {} is up and has no carrier, and the others of it carry on: a cable or a port is missing",
                whose(node),
                nic.name,
                bundle.name
            );
            Finding::new("LINK-DOWN", said).tell(told::NIC, nic.name.clone())
        })
    });
    told.collect()
}

/// Whether a NIC, a VLAN of it or the bridge that it belongs to lies in a network of the other host's.
fn leads_to(host: &Environment, nic: &Nic, other: &Environment) -> bool {
    let upon = |one: &&Nic| one.parent.as_ref() == Some(&nic.name) || nic.master.as_ref() == Some(&one.name);
    shares_network(nic, other) || host.nics.iter().filter(upon).any(|one| shares_network(one, other))
}

/// Bridges without a port, tunnels and the like have no cable that could be missing.
fn is_software(nic: &Nic) -> bool {
    const KINDS: [&str; 10] =
        ["bridge", "loopback", "dummy", "tun", "wireguard", "vxlan", "geneve", "gre", "ipip", "ifb"];
    nic.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind)) || nic.master.is_some()
}

/// A NIC here and one there that are up, have addresses and share no network with anything at the other end: perhaps one was
/// put into the wrong one. Management networks look the same, so it is only told.
fn left_over(doc: &ResultDoc, client: &Environment, server: &Environment) -> Vec<Finding> {
    let alone = |host: &Environment, other: &Environment| -> Vec<(String, IpAddr, u8)> {
        let nics = host.nics.iter().filter(|nic| nic.carrier == Some(true) && !is_software(nic));
        // What carries the run already, through a router say, is in use.
        let used = |nic: &Nic| {
            let lanes = doc.steps.iter().flat_map(|step| &step.lanes);
            let locals: Vec<IpAddr> = lanes.filter_map(|lane| super::ip_of(&lane.local)).collect();
            let routes =
                host.peers.iter().any(|peer| peer.nic.as_deref() == Some(&nic.name) && peer.router.is_some());
            routes || nic.addresses.iter().any(|one| locals.contains(&one.address))
        };
        let alone = nics.filter(|nic| !shares_network(nic, other) && !used(nic));
        alone
            .filter_map(|nic| of_a_network(nic).next().map(|(ip, len)| (nic.name.clone(), ip, len)))
            .collect()
    };
    let told = doc.findings.iter().any(|finding| finding.is(code!("CHANNEL-NIC-IDLE")));
    let pairs = chosen(doc).next().is_some();
    let (ours, theirs) = (alone(client, server), alone(server, client));
    if told || !pairs || ours.is_empty() || theirs.is_empty() {
        return vec![];
    }
    let words = |all: &[(String, IpAddr, u8)]| {
        all.iter().map(|(nic, ip, len)| format!("{nic} ({ip}/{len})")).collect::<Vec<_>>().join(", ")
    };
    let said = format!(
        "{} here and {} of the peer are up and share no network with the other end: neither would carry any of this traffic",
        words(&ours),
        words(&theirs)
    );
    let finding = Finding::new("CHANNEL-NIC-IDLE", said).with_severity(pathproof_model::Severity::Info);
    vec![finding.with_next("If these two were meant to be a pair, give them addresses of one network; if they serve other networks, nothing is wrong.")]
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::evidence::NeighbourActivity;
    use pathproof_model::{
        ChannelRule, Channels, Evidence, LossFlow, LossPath, NicAddress, Node, Step, StepKind, Tool,
    };

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn nic(name: &str, address: &str, carrier: bool, speed: Option<u64>) -> Nic {
        Nic {
            name: name.into(),
            kind: Some("ethernet".into()),
            up: Some(true),
            carrier: Some(carrier),
            speed_bits_per_s: speed,
            addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }],
            ..Nic::default()
        }
    }

    fn doc(client: Vec<Nic>, server: Vec<Nic>) -> ResultDoc {
        let host = |nics| Some(Environment { nics, ..Environment::default() });
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(host(client)), Node::agent("b", host(server))];
        doc
    }

    fn codes(doc: &ResultDoc) -> Vec<String> {
        findings(doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_link_without_carrier_matters_where_the_other_end_waits_for_it() {
        let first = |n: u8| nic("e0", &format!("10.9.0.{n}"), true, None);
        let second = |n: u8, carrier| nic("e1", &format!("10.9.1.{n}"), carrier, None);
        let down = doc(vec![first(1), second(1, true)], vec![first(2), second(2, false)]);
        assert_eq!(codes(&down), ["LINK-DOWN"]);
        assert!(findings(&down)[0].evidence.contains("the peer: e1"), "{}", findings(&down)[0].evidence);
        let spare = nic("e9", "192.168.9.1", false, None);
        assert_eq!(codes(&doc(vec![first(1), spare], vec![first(2)])), [""; 0]);
    }

    #[test]
    fn a_network_of_containers_within_a_wide_one_is_not_waiting_for_a_link_of_that() {
        let told = |kind: &str, prefix_len: u8| {
            let wide = Nic {
                addresses: vec![NicAddress { address: [10, 0, 0, 5].into(), prefix_len: 8 }],
                ..nic("e1", "10.0.0.5", false, None)
            };
            let there = Nic {
                kind: Some(kind.into()),
                addresses: vec![NicAddress { address: [10, 88, 0, 1].into(), prefix_len }],
                ..nic("n0", "10.88.0.1", true, None)
            };
            let lan = |n: u8| nic("e0", &format!("192.168.1.{n}"), true, None);
            codes(&doc(vec![lan(1), wide], vec![lan(2), there]))
        };
        assert_eq!(told("bridge", 16), [""; 0]);
        assert_eq!(told("bridge", 8), ["LINK-DOWN"], "both say that it is one network");
        assert_eq!(told("ethernet", 16), ["LINK-DOWN"], "one of the two may be set wrongly");
    }

    #[test]
    fn a_member_of_a_bundle_without_a_link_is_told_where_the_bundle_leads_to_the_other_host() {
        let bundle = |n: u8, kind: &str| Nic {
            kind: Some(kind.into()),
            ..nic("bond0", &format!("10.9.0.{n}"), true, None)
        };
        let member = |name: &str, carrier| {
            let nic = nic(name, "10.9.0.9", carrier, None);
            Nic { addresses: vec![], master: Some("bond0".into()), ..nic }
        };
        let told = |kind: &str, second: bool, peer: &str| {
            let ours = vec![bundle(1, kind), member("eth0", true), member("eth1", second)];
            codes(&doc(ours, vec![nic("e0", peer, true, None)]))
        };
        assert_eq!(told("bond", false, "10.9.0.2"), ["LINK-DOWN"]);
        // All are there; the port of a bridge; a bundle that leads elsewhere.
        assert_eq!(told("bond", true, "10.9.0.2"), [""; 0]);
        assert_eq!(told("bridge", false, "10.9.0.2"), [""; 0]);
        assert!(!told("bond", false, "10.7.0.2").contains(&"LINK-DOWN".to_owned()));
    }

    #[test]
    fn a_family_for_which_nobody_answers_is_dead_and_one_that_is_only_filtered_is_not_known_to_be() {
        let told = |failed: bool, macs: &[&str], nic: &str| {
            let path = super::super::tests::mtu_path;
            let carries = MtuPath { ip_mtu_bytes: Some(1500), proven_ip_bytes: Some(1500), ..path() };
            let silent = MtuPath {
                local_nic: nic.into(),
                local_address: "fd09::1".parse().unwrap(),
                remote_address: "fd09::2".parse().unwrap(),
                family: 6,
                ..path()
            };
            let heard = NeighbourActivity {
                address: silent.remote_address,
                nic: nic.into(),
                macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
                failed,
            };
            let mut step = Step::new(StepKind::Mtu, "path MTU");
            step.evidence = vec![Evidence { neighbours: Some(vec![heard]), ..Evidence::default() }];
            step.detail.paths = Some(vec![carries, silent]);
            let mut doc = doc(vec![], vec![]);
            doc.steps.push(step);
            codes(&doc)
        };
        assert_eq!(told(true, &[], "e0"), ["CHANNEL-DEAD"]);
        // Somebody answered for it, nobody was asked to the end, and another wire says nothing of this one.
        assert_eq!(told(true, &["02:00:00:00:00:02"], "e0"), [""; 0]);
        assert_eq!(told(false, &[], "e0"), [""; 0]);
        assert_eq!(told(true, &[], "e1"), [""; 0]);
    }

    #[test]
    fn a_pair_that_answers_to_paced_datagrams_is_not_dead_although_its_path_mtu_was_not_found() {
        let told = |local: [u8; 4], answered: bool| {
            let path = super::super::tests::mtu_path;
            let carries = MtuPath { ip_mtu_bytes: Some(1500), proven_ip_bytes: Some(1500), ..path() };
            let silent = MtuPath {
                local_nic: "e1".into(),
                remote_nic: Some("e1".into()),
                local_address: [10, 9, 1, 1].into(),
                remote_address: [10, 9, 1, 2].into(),
                ..path()
            };
            let mut doc = doc(vec![], vec![]);
            let pair = ChannelPair {
                local: silent.local_address,
                remote: silent.remote_address,
                local_nic: "e1".into(),
                remote_nic: "e1".into(),
                speed_bits_per_s: None,
                rss: false,
                rdma: false,
                chosen: true,
                connections: 1,
                rule: ChannelRule::Best,
                reason: String::new(),
            };
            doc.channels = Some(Channels { pairs: vec![pair], ..Channels::default() });
            let mut search = Step::new(StepKind::Mtu, "path MTU");
            search.detail.paths = Some(vec![carries, silent]);
            let mut paced = Step::new(StepKind::Loss, "datagram loss");
            paced.detail.loss = Some(vec![LossPath {
                local_address: local.into(),
                remote_address: [10, 9, 1, 2].into(),
                flows: vec![LossFlow { answered, ..LossFlow::default() }],
                ..super::super::tests::loss_path()
            }]);
            doc.steps = vec![search, paced];
            codes(&doc)
        };
        // As over a wire that stands still for a second now and then.
        assert_eq!(told([10, 9, 1, 1], true), [""; 0]);
        assert_eq!(told([10, 9, 1, 1], false), ["CHANNEL-DEAD"]);
        assert_eq!(
            told([10, 9, 0, 1], true),
            ["CHANNEL-DEAD"],
            "another pair's answers say nothing of this one"
        );
    }

    /// Two hosts whose first NICs carry and whose second ones are silent, with these hardware addresses of the second.
    fn second_silent(ours: &str, theirs: &str) -> ResultDoc {
        let with = |mac: &str, nic: Nic| Nic { mac: Some(mac.into()), ..nic };
        let first = |n: u8| {
            let own = nic("e0", &format!("10.9.0.{n}"), true, None);
            with(&format!("02:00:00:00:00:0{n}"), own)
        };
        let second = |n: u8, mac: &str| with(mac, nic("e1", &format!("10.9.1.{n}"), true, None));
        let mut doc = doc(vec![first(1), second(1, ours)], vec![first(2), second(2, theirs)]);
        let path = super::super::tests::mtu_path;
        let carries = MtuPath { ip_mtu_bytes: Some(1500), proven_ip_bytes: Some(1500), ..path() };
        let silent = MtuPath {
            local_nic: "e1".into(),
            remote_nic: Some("e1".into()),
            local_address: [10, 9, 1, 1].into(),
            remote_address: [10, 9, 1, 2].into(),
            ..path()
        };
        let mut search = Step::new(StepKind::Mtu, "path MTU");
        search.detail.paths = Some(vec![carries, silent]);
        doc.steps = vec![search];
        doc
    }

    #[test]
    fn a_silent_pair_of_nics_with_one_hardware_address_is_told_and_one_that_carries_is_not() {
        use pathproof_model::environment::PeerRoute;
        const ONE: &str = "02:00:5e:00:53:01";
        let found = findings(&second_silent(ONE, &ONE.to_uppercase()));
        assert_eq!((found.len(), &*found[0].code, found[0].severity), (1, "MAC-DUPLICATE", Severity::Error));
        let nics = (found[0].told(told::LOCAL_NIC), found[0].told(told::REMOTE_NIC));
        assert_eq!(nics, (Some("e1".into()), Some("e1".into())));
        assert!(found[0].evidence.contains("e1 (10.9.1.1) here and e1 (10.9.1.2) of the peer"), "{found:?}");
        let none = |doc: &ResultDoc| assert_eq!(codes(doc), [""; 0]);
        none(&second_silent(ONE, "02:00:5e:00:53:02"));
        // Tunnels and loopbacks have none, or one of zeros.
        none(&second_silent("00:00:00:00:00:00", "00:00:00:00:00:00"));
        none(&second_silent("0a:09:01:01", "0a:09:01:01"));
        // A router between them, as this host's route says.
        let mut routed = second_silent(ONE, ONE);
        let way = PeerRoute { router: Some([10, 9, 1, 254].into()), ..PeerRoute::to([10, 9, 1, 2].into()) };
        if let Some(host) = &mut routed.nodes[0].environment {
            host.peers = vec![way];
        }
        none(&routed);
        // One cable: the search of one family was silent, and the other passes; or datagrams were answered later.
        let mut cable = second_silent(ONE, ONE);
        let paths = cable.steps[0].detail.paths.as_mut().unwrap();
        let six = MtuPath {
            local_address: "fd09:1::1".parse().unwrap(),
            remote_address: "fd09:1::2".parse().unwrap(),
            proven_ip_bytes: Some(1500),
            ..paths[1].clone()
        };
        paths.push(six);
        none(&cable);
        let mut later = second_silent(ONE, ONE);
        let mut paced = Step::new(StepKind::Loss, "datagram loss");
        paced.detail.loss = Some(vec![LossPath {
            local_nic: "e1".into(),
            remote_nic: "e1".into(),
            flows: vec![LossFlow { answered: true, ..LossFlow::default() }],
            ..super::super::tests::loss_path()
        }]);
        later.steps.push(paced);
        none(&later);
    }
}
