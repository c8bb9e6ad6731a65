//! Times in which a path loses everything, so seldom that the step of paced datagrams met none of them.
//!
//! Refuses to accuse a path of what happened once, of what a queue or a limit took from a stream at full rate, and of packets that came late: those
//! had arrived when they were sent again.

use pathproof_model::code;
use pathproof_model::finding::Topic;
use pathproof_model::judge::repeats::{dropped_by, is_thrown_away, lost_in_a_gap};
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Direction, Finding, LaneRole, NodeId, ResultDoc, Severity, Step, Trips};

use super::{Rule, hosts, links, planned, stolen_ns};

/// What happens once may be anything.
const TIMES: usize = 2;
/// Slices that are longer show no such time.
const WIDTH_NS_MAX: u64 = 250_000_000;
/// A gap that is longer has ended more than one timer of a connection: what is dead for so long has findings of its own.
const GAP_NS_MAX: u64 = 500_000_000;
/// Fewer segments that were sent again do not show when they were lost.
const FEW: u64 = 20;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("PATH-LOSS")], find: |doc| gaps(doc).into_iter().collect() }];

/// A step that met such a time, by which way, and for how long nothing came in.
struct Met<'a> {
    step: &'a Step,
    way: Direction,
    gap_ns: u64,
}

fn gaps(doc: &ResultDoc) -> Option<Finding> {
    // What datagrams met is told already; links that were gone and hosts that stood still lose packets as well.
    let told = doc.findings.iter().any(|finding| finding.is_about(Topic::Loss));
    if told || hosts::stands_still(doc) || !links::findings(doc).is_empty() {
        return None;
    }
    // One time of a step that goes both ways counts once.
    let either = |step| [Direction::Out, Direction::In].into_iter().find_map(|way| met(doc, step, way));
    let all: Vec<Met<'_>> = planned(doc).filter_map(either).collect();
    if all.len() < TIMES || !all.iter().any(|one| one.step.kind.traits().bulk) {
        return None;
    }
    let longest_ns = all.iter().map(|one| one.gap_ns).max()?;
    let names: Vec<&str> = all.iter().map(|one| one.step.name.as_str()).collect();
    let said = format!(
        "in {} steps ({}) nothing came in for up to {}, the retransmission timers of all connections ran out, and what they sent again had not arrived \
         before: everything is lost for a moment, again and again",
        all.len(),
        names.join("; "),
        Nanoseconds(longest_ns)
    );
    let finding = Finding::new("PATH-LOSS", said).with_severity(Severity::Error);
    let finding = finding.with("silence_ns", longest_ns).with_next(
        "Look for what stands still or begins again for a moment and loses what comes meanwhile: a spanning tree or a route that changes, a bundle whose member comes \
         and goes, a virtual switch or firewall that reloads its rules, roaming radios; compare the times with the logs of the devices on the way.",
    );
    let way = all.first()?.way;
    Some(if all.iter().all(|one| one.way == way) { finding.tell(told::DIRECTION, way) } else { finding })
}

/// Whether a step met a time in which all that went one way was lost.
fn met<'a>(doc: &ResultDoc, step: &'a Step, way: Direction) -> Option<Met<'a>> {
    let (sender, receiver) = match way {
        Direction::In => (NodeId::SERVER, NodeId::CLIENT),
        Direction::Out | Direction::Both => (NodeId::CLIENT, NodeId::SERVER),
    };
    let counts = |node| step.evidence(node).and_then(|evidence| evidence.tcp.as_ref());
    let (here, there) = counts(sender).zip(counts(receiver))?;
    let (again, twice) = (here.retransmitted?, there.duplicates_received?);
    let own = step.lanes.iter().filter(|lane| lane.end.node() == sender && lane.role == LaneRole::Send);
    let connections = own.count().max(1) as u64;
    // Nearly all that was sent again had been lost, and not by the sender's own queue.
    let lost = again >= connections && twice.saturating_mul(10) <= again;
    let at_home = dropped_by(step, sender).saturating_mul(2) >= again;
    if step.error.is_some() || here.timeouts? < connections || !lost || at_home {
        return None;
    }
    let gap_ns = if step.kind.traits().trips == Trips::Idle {
        held_up(step, again)?
    } else {
        silence(step, receiver).filter(|_| !is_thrown_away(doc, step))?
    };
    (gap_ns <= GAP_NS_MAX && stolen_ns(step) < gap_ns / 2).then_some(Met { step, way, gap_ns })
}

/// How long a question that was lost waited for its timer.
fn held_up(step: &Step, again: u64) -> Option<u64> {
    /// The shortest such timer, and a little.
    const TIMER_NS: u64 = 190_000_000;
    /// More are lost one by one.
    const AGAIN_MAX: u64 = 3;
    let rtt = step.summary.rtt_ns?;
    (again <= AGAIN_MAX && rtt.max >= rtt.p50.saturating_add(TIMER_NS)).then(|| rtt.max - rtt.p50)
}

/// For how long nothing came in while a stream flowed before and after that, where what was lost was lost then.
fn silence(step: &Step, receiver: NodeId) -> Option<u64> {
    let few = step.total(|flow| flow.retransmits).is_some_and(|again| again < FEW);
    if !step.kind.traits().bulk || !(few || lost_in_a_gap(step).is_some()) {
        return None;
    }
    let inward = step
        .series
        .iter()
        .filter(|one| one.node == receiver && one.role == LaneRole::Receive && one.width_ns <= WIDTH_NS_MAX);
    let gaps = inward.filter_map(|one| {
        let carried = &one.received_bytes;
        let first = carried.iter().position(|bytes| *bytes > Some(0))?;
        let last = carried.iter().rposition(|bytes| *bytes > Some(0))?;
        let silent = carried[first..=last].iter().filter(|bytes| **bytes == Some(0)).count() as u64;
        (silent > 0).then(|| silent.saturating_mul(one.width_ns))
    });
    gaps.max()
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::super::tests::sender;
    use super::*;
    use pathproof_model::evidence::{ConnectionCounts, TcpCounts};
    use pathproof_model::series::Series;
    use pathproof_model::{Evidence, LatencySummary, StepKind, StepSpec, Tool, TrafficSpec};

    /// A stream out that flowed but for so many slices of 100 ms, with the timers of its connection, what was sent again and what of that had arrived.
    fn stream(silent: usize, timeouts: u64, again: u64, twice: u64) -> Step {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.direction = Some(Direction::Out);
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        step.lanes = vec![sender(ConnectionCounts::still())];
        step.summary.retransmits = Some(again);
        step.summary.bytes = Some(143_000_000);
        let at = |n: usize| (5..5 + silent).contains(&n);
        let (width_ns, end_ns) = (100_000_000, 4_000_000_000);
        let one = |node, role| Series { node, role, width_ns, end_ns, ..Series::default() };
        step.series = vec![
            Series {
                received_bytes: (0..40).map(|n| Some(if at(n) { 0 } else { 3_500_000 })).collect(),
                ..one(NodeId::SERVER, LaneRole::Receive)
            },
            Series {
                retransmits: (0..40).map(|n| Some(if n == 5 + silent { again } else { 0 })).collect(),
                ..one(NodeId::CLIENT, LaneRole::Send)
            },
        ];
        counted(step, timeouts, again, twice)
    }

    fn counted(mut step: Step, timeouts: u64, again: u64, twice: u64) -> Step {
        let here = TcpCounts { timeouts: Some(timeouts), retransmitted: Some(again), ..TcpCounts::still() };
        let there = TcpCounts { duplicates_received: Some(twice), ..TcpCounts::still() };
        step.evidence = [(NodeId::CLIENT, here), (NodeId::SERVER, there)]
            .map(|(node, tcp)| Evidence { node, tcp: Some(tcp), ..Evidence::default() })
            .into();
        step
    }

    /// Idle round trips of which one was lost and sent again.
    fn trips(longest_ms: u64, again: u64) -> Step {
        let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
        let ms = 1_000_000;
        let (p50, max) = (ms / 20, longest_ms * ms);
        step.summary.rtt_ns = Some(LatencySummary { count: 20_000, p50, max, ..LatencySummary::default() });
        step.lanes = vec![sender(ConnectionCounts::still())];
        counted(step, again, again, 0)
    }

    fn told(steps: Vec<Step>) -> Vec<Finding> {
        all(RULES, &ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
    }

    #[test]
    fn what_takes_everything_for_a_moment_twice_is_loss() {
        // As over a wire that loses everything for 120 ms every 9 s.
        let found = told(vec![stream(2, 1, 900, 1), stream(0, 0, 0, 0), stream(2, 1, 12, 0)]);
        assert_eq!((found.len(), &*found[0].code, found[0].severity), (1, "PATH-LOSS", Severity::Error));
        let says = |part: &str| found[0].evidence.contains(part);
        assert!(says("in 2 steps") && says("nothing came in for up to 200.00 ms"), "{found:?}");
        assert_eq!(found[0].told(told::DIRECTION), Some(Direction::Out));
        // An idle question that waited for its timer is as good as a stream, beside one.
        assert_eq!(told(vec![trips(205, 1), stream(2, 1, 900, 1)]).len(), 1);
        assert_eq!(told(vec![trips(205, 1), trips(205, 1)]), []);
    }

    #[test]
    fn what_happened_once_or_came_late_or_met_a_full_queue_is_not() {
        let again = |step: fn() -> Step| told(vec![step(), step()]);
        assert_eq!(told(vec![stream(2, 1, 900, 1), stream(0, 0, 0, 0)]), []);
        assert_eq!(again(|| stream(2, 0, 900, 0)), [], "no timer ran out");
        assert_eq!(again(|| stream(2, 1, 900, 450)), [], "half of it had arrived");
        assert_eq!(again(|| stream(0, 1, 900, 0)), [], "something always came in");
        assert_eq!(again(|| stream(8, 1, 900, 0)), [], "it stood for longer than a moment");
        let spread = || {
            let mut step = stream(2, 1, 900, 0);
            step.series[1].retransmits = (0..40).map(|n| Some(if n % 2 == 0 { 45 } else { 0 })).collect();
            step
        };
        assert_eq!(again(spread), [], "it was lost all along");
        let steps = vec![stream(2, 1, 900, 1); 2];
        let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.findings = vec![Finding::new("PATH-LOSS", "datagrams met it")];
        assert_eq!(all(RULES, &doc), []);
    }
}
