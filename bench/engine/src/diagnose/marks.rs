//! Marks of congestion (RFC 3168) that packets arrived with: a note of where a queue stood, and never a fault.

use pathproof_model::code;
use pathproof_model::evidence::DriverMeaning;
use pathproof_model::told;
use pathproof_model::{Direction, Finding, NodeId, ResultDoc};

use super::nics::{counted, used};
use super::{Rule, whose};

/// So few may be somebody else's.
const FEW: u64 = 10;

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PATH-MARKS")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    [Direction::Out, Direction::In].into_iter().filter_map(|way| marked(doc, way)).collect()
}

fn marked(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let (sender, receiver) = if way == Direction::Out {
        (NodeId::CLIENT, NodeId::SERVER)
    } else {
        (NodeId::SERVER, NodeId::CLIENT)
    };
    // The kernel's count, which is of the whole host.
    let evidence = doc.steps.iter().flat_map(|step| &step.evidence).filter(|one| one.node == receiver);
    let ip = evidence.flat_map(|one| [&one.ip, &one.ip6]).flatten();
    let received = ip.filter_map(|ip| ip.congestion_marks).fold(0, u64::saturating_add);
    // What the peers of this run's own connections said.
    let lanes = doc.steps.iter().flat_map(|step| &step.lanes).filter(|lane| lane.end.node() == sender);
    let own = lanes.filter_map(|lane| lane.connection.as_ref()?.counts.delivered_with_congestion_mark);
    let confirmed = own.fold(0, u64::saturating_add);
    let used = used(doc);
    let nics = counted(doc, DriverMeaning::CongestionMark);
    let nics = nics.into_iter().filter(|(place, _)| place.0 == receiver && used.contains(place));
    let counters: Vec<(String, String, u64)> = nics
        .flat_map(|((_, nic), counters)| counters.into_iter().map(move |(name, by)| (nic.clone(), name, by)))
        .collect();
    let by_nics = counters.iter().map(|(_, _, by)| *by).max().unwrap_or(0);
    if received.max(confirmed).max(by_nics) < FEW {
        return None;
    }
    let mut said = format!(
        "{}: {} received {received} packets with a mark of congestion during the run, and of the segments of its connections {confirmed} were \
         confirmed with one",
        way.name(),
        whose(receiver)
    );
    let names: Vec<String> = counters.iter().map(|(nic, name, by)| format!("{nic} {name} +{by}")).collect();
    if !names.is_empty() {
        said = format!("{said}; NICs counted {}", names.join(", "));
    }
    let finding = Finding::new("PATH-MARKS", said).with("received", received).with("confirmed", confirmed);
    Some(finding.tell(told::DIRECTION, way))
}

#[cfg(test)]
mod tests {
    use super::super::tests::sender;
    use super::*;
    use pathproof_model::evidence::{ConnectionCounts, IpCounts};
    use pathproof_model::{Evidence, Severity, Step, StepKind, Tool};

    fn told(node: NodeId, marks: u64, confirmed: u64) -> Vec<Finding> {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        let ip = IpCounts { congestion_marks: Some(marks), ..IpCounts::still() };
        step.evidence = vec![Evidence { node, ip: Some(ip), ..Evidence::default() }];
        let counts =
            ConnectionCounts { delivered_with_congestion_mark: Some(confirmed), ..ConnectionCounts::still() };
        step.lanes = vec![sender(counts)];
        findings(&ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") })
    }

    #[test]
    fn marks_are_a_note_with_their_way_and_a_few_are_nothing() {
        let out = told(NodeId::SERVER, 900, 880);
        assert_eq!((out.len(), out[0].severity), (1, Severity::Info));
        assert_eq!(out[0].told(told::DIRECTION), Some(Direction::Out));
        assert!(
            out[0].evidence.contains("the peer received 900") && out[0].evidence.contains("880 were"),
            "{out:?}"
        );
        let back = told(NodeId::CLIENT, 900, 0);
        assert_eq!(back[0].told(told::DIRECTION), Some(Direction::In));
        assert_eq!(told(NodeId::SERVER, 9, 9), []);
    }
}
