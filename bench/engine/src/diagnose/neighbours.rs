//! Who answers for the peer's addresses.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{Environment, Finding, NodeId, ResultDoc, Severity};

use super::Rule;

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("ADDRESS-DUPLICATE")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (node, other) in [(NodeId::CLIENT, NodeId::SERVER), (NodeId::SERVER, NodeId::CLIENT)] {
        let (Some(here), Some(there)) = (doc.environment(node), doc.environment(other)) else { continue };
        let owners: Vec<String> = there
            .nics
            .iter()
            .filter_map(|nic| nic.mac.as_ref())
            .map(|mac| mac.to_ascii_lowercase())
            .collect();
        let evidence = doc.steps.iter().filter_map(|step| step.evidence(node));
        let neighbours = evidence.filter_map(|one| one.neighbours.as_ref()).flatten();
        let mut heard: Vec<(&str, IpAddr, &[String])> =
            neighbours.map(|one| (one.nic.as_str(), one.address, one.macs.as_slice())).collect();
        // What the client asked for on its wires itself comes first: it heard everybody who answers.
        if let (NodeId::CLIENT, Some(wires)) = (node, super::wires::told(doc)) {
            let asked = wires.answers.iter().filter(|answer| answer.shares_network);
            let asked = asked.map(|one| (one.nic.as_str(), one.address, one.macs.as_slice()));
            heard.splice(0..0, asked);
        }
        for (nic, address, macs) in heard.iter().copied() {
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
            // Somewhere in the run the peer itself may have answered as well.
            let is_own = |mac: &String| owners.contains(&mac.to_ascii_lowercase());
            let ever = heard.iter().any(|(_, other, macs)| *other == address && macs.iter().any(is_own));
            if !ever && passes_on(doc, node, here, address, &strangers) {
                let said = format!(
                    "on {nic} {} answered for {address} in the place of the peer, and what was sent there reached it: it passes packets on, as a cloud's gateway or \
                     proxy ARP does",
                    list.join(", ")
                );
                let finding = Finding::new("ADDRESS-DUPLICATE", said).with_severity(Severity::Info);
                found.push(finding.tell(told::ADDRESS, address));
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
            found.push(finding.tell(told::ADDRESS, address));
        }
    }
    found
}

/// Whether a stranger that answers for an address hands on what is sent there: the kernel had its hardware address for it when the session stood, and
/// connections to the address carried. Another host that owns the address would not.
fn passes_on(
    doc: &ResultDoc,
    node: NodeId,
    here: &Environment,
    address: IpAddr,
    strangers: &[&String],
) -> bool {
    let entry = here.peers.iter().find(|peer| peer.address == address).and_then(|peer| peer.mac.as_ref());
    let is_strange = entry.is_some_and(|mac| strangers.iter().any(|one| one.eq_ignore_ascii_case(mac)));
    let mut lanes = doc.steps.iter().flat_map(|step| &step.lanes).filter(|lane| lane.end.node() == node);
    is_strange
        && lanes
            .any(|lane| lane.error.is_none() && lane.bytes > 0 && super::ip_of(&lane.remote) == Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::PeerRoute;
    use pathproof_model::evidence::NeighbourActivity;
    use pathproof_model::{Evidence, LaneResult, Nic, Node, Step, StepKind, Tool};

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
    fn the_peer_itself_and_a_router_on_the_way_are_no_strangers() {
        assert_eq!(findings(&document(&["02:00:00:00:00:02"], None)), vec![]);
        assert_eq!(findings(&document(&["02:00:00:00:00:99"], Some("192.0.2.1"))), vec![]);
        assert_eq!(findings(&document(&[], None)), vec![]);
        // A peer whose hardware addresses are unknown cannot be told from a stranger.
        let mut unknown = document(&["02:00:00:00:00:99"], None);
        unknown.nodes[1].environment.as_mut().unwrap().nics[0].mac = None;
        assert_eq!(findings(&unknown), vec![]);
    }

    #[test]
    fn a_gateway_that_answers_for_the_peer_and_passes_packets_on_is_only_told() {
        let (own, other) = ("02:00:00:00:00:02", "02:00:00:00:00:99");
        let told = |macs: &[&str], entry: &str, bytes: u64| -> Vec<Severity> {
            let mut doc = document(macs, None);
            doc.nodes[0].environment.as_mut().unwrap().peers[0].mac = Some(entry.into());
            let remote = Some("192.0.2.2:7797".to_owned());
            doc.steps[0].lanes = vec![LaneResult {
                end: pathproof_model::End::Client,
                remote,
                bytes,
                ..LaneResult::default()
            }];
            findings(&doc).iter().map(|one| one.severity).collect()
        };
        assert_eq!(told(&[other], other, 9), [Severity::Info]);
        // Nothing was carried; the kernel had the peer's own address; both answered.
        assert_eq!(told(&[other], other, 0), [Severity::Warning]);
        assert_eq!(told(&[other], own, 9), [Severity::Warning]);
        assert_eq!(told(&[own, other], other, 9), [Severity::Error]);
    }
}
