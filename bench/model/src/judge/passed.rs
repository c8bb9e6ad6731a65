//! Whether TCP passed between two NICs over which no datagram was answered: then the pair carries, and something filters UDP.
//!
//! Refuses to say so where a host sends what goes there by another NIC: a connection between two addresses may go by any.

use std::net::IpAddr;

use super::segments::ip_of;
use crate::{End, Environment, NodeId, ResultDoc};

/// Whether a connection between two addresses opened, by the NICs that have them: the client's first.
pub fn tcp_passed(doc: &ResultDoc, ours: (&str, IpAddr), theirs: (&str, IpAddr)) -> bool {
    let ends = Some((ours.1, theirs.1));
    let mut bursts = doc.steps.iter().flat_map(|step| step.detail.opened_at_once.iter().flatten());
    let lanes = doc.steps.iter().flat_map(|step| &step.lanes);
    let mut lanes = lanes.filter(|lane| lane.end == End::Client && lane.bytes > 0);
    let opened = bursts.any(|one| one.opened.opened > 0 && one.ends() == ends)
        || lanes.any(|lane| ip_of(&lane.local).zip(ip_of(&lane.remote)) == ends);
    // What the server says of its way back is less than that the connection opened.
    let out = leads(doc.environment(NodeId::CLIENT), ours, theirs.1) == Some(true);
    opened && out && leads(doc.environment(NodeId::SERVER), theirs, ours.1) != Some(false)
}

/// Whether a host sends what goes from this address of its NIC to that one by that NIC, where it says.
fn leads(host: Option<&Environment>, (nic, from): (&str, IpAddr), to: IpAddr) -> Option<bool> {
    let way = host?.peers.iter().find(|peer| peer.address == to)?;
    let own = way.sources.iter().find(|one| one.source == from).map(|one| &one.nic);
    own.or(way.nic.as_ref()).map(|by| by == nic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{PeerRoute, SourceRoute};
    use crate::{
        Criteria, Direction, LaneResult, LossFlow, LossPath, Node, OpenedAtOnce, OpenedRecord, Outcome, Step,
        StepKind, Subject, Tool,
    };

    const OURS: [u8; 4] = [10, 9, 1, 1];
    const THEIRS: [u8; 4] = [10, 9, 1, 2];

    fn host(to: [u8; 4], nic: &str) -> Environment {
        let way = PeerRoute { nic: Some(nic.into()), ..PeerRoute::to(to.into()) };
        Environment { peers: vec![way], ..Environment::default() }
    }

    /// Two hosts whose second NICs are each other's way, and a burst over these of which so many opened.
    fn document(opened: u32) -> ResultDoc {
        let mut ports = Step::new(StepKind::Ports, "ports of the other networks");
        let opened = OpenedAtOnce { asked: 8, opened, ..OpenedAtOnce::default() };
        ports.detail.opened_at_once = Some(vec![OpenedRecord {
            subnet: Some("10.9.1.0/24".into()),
            local_address: Some(OURS.into()),
            remote_address: Some(THEIRS.into()),
            ..OpenedRecord::of_session(Direction::Out, opened)
        }]);
        let mut doc = ResultDoc { steps: vec![ports], ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(host(THEIRS, "e1"))), Node::agent("b", Some(host(OURS, "x1")))];
        doc
    }

    fn passed(doc: &ResultDoc) -> bool {
        tcp_passed(doc, ("e1", OURS.into()), ("x1", THEIRS.into()))
    }

    #[test]
    fn connections_that_opened_between_two_addresses_passed_where_their_nics_lead_to_each_other() {
        assert!(passed(&document(8)));
        assert!(!passed(&document(0)));
        assert!(!tcp_passed(&document(8), ("e1", OURS.into()), ("x1", [10, 9, 1, 3].into())));
        // Each end's routes send it by another NIC; nothing is known of this host's.
        let mut by_another = document(8);
        by_another.nodes[0] = Node::here(Some(host(THEIRS, "e0")));
        assert!(!passed(&by_another));
        let mut back = document(8);
        back.nodes[1] = Node::agent("b", Some(host(OURS, "x0")));
        assert!(!passed(&back));
        let mut unknown = document(8);
        unknown.nodes[0] = Node::here(None);
        assert!(!passed(&unknown));
        // The rule for that address of several counts before the route.
        let mut of_source = document(8);
        let mut here = host(THEIRS, "e1");
        here.peers[0].sources = vec![SourceRoute { source: OURS.into(), nic: "e0".into() }];
        of_source.nodes[0] = Node::here(Some(here));
        assert!(!passed(&of_source));
    }

    #[test]
    fn a_lane_that_carried_something_passed() {
        let lane = |bytes| LaneResult {
            end: End::Client,
            local: Some("10.9.1.1:54575".into()),
            remote: Some("10.9.1.2:7797".into()),
            bytes,
            ..LaneResult::default()
        };
        let told = |bytes| {
            let mut doc = document(0);
            let mut alone = Step::new(StepKind::Stream, "multi stream both ways, e1 alone");
            alone.lanes = vec![lane(bytes)];
            doc.steps.push(alone);
            passed(&doc)
        };
        assert!(told(14_417_920) && !told(0));
    }

    #[test]
    fn a_pair_that_answers_no_datagram_and_carries_tcp_is_open_and_not_failed() {
        let judged = |opened: u32| {
            let path = |local: [u8; 4], remote: [u8; 4], answered| {
                let mut flow = LossFlow { answered, ..LossFlow::default() };
                (flow.small.sent, flow.small.received) = (8000, 8000);
                LossPath {
                    local_nic: if answered { "e0" } else { "e1" }.into(),
                    remote_nic: if answered { "x0" } else { "x1" }.into(),
                    local_address: local.into(),
                    remote_address: remote.into(),
                    direction: Direction::Out,
                    by_echo: false,
                    small_ip_bytes: 88,
                    full_ip_bytes: 1500,
                    reason: None,
                    flows: vec![flow; 16],
                    marks: vec![],
                    overflowed: 0,
                    delay_variation_ns: None,
                    first_router: None,
                    last_router: None,
                    questions_heard: None,
                    changed: None,
                    shares: None,
                }
            };
            let mut loss = Step::new(StepKind::Loss, "datagram loss");
            loss.detail.loss =
                Some(vec![path([10, 9, 0, 1], [10, 9, 0, 2], true), path(OURS, THEIRS, false)]);
            let mut doc = document(opened);
            doc.steps.push(loss);
            let verdicts = crate::judge(&doc, &Criteria::default());
            let verdict = verdicts.into_iter().find(|verdict| verdict.subject == Subject::Loss).unwrap();
            (verdict.outcome, verdict.reason)
        };
        let (outcome, reason) = judged(8);
        assert!(outcome == Outcome::Inconclusive && reason.contains("UDP is filtered"), "{reason}");
        // Where TCP does not pass either the pair is dead.
        let (outcome, reason) = judged(0);
        assert!(outcome == Outcome::Fail && reason.contains("while other pairs were"), "{reason}");
    }
}
