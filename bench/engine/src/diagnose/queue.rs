//! Delay that a stream in full flow adds for everybody else on the path, and in whose queue it stands.

use std::collections::BTreeMap;

use pathproof_model::code;
use pathproof_model::evidence::QueueActivity;
use pathproof_model::told;
use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{Direction, Finding, LoadedDelay, NodeId, ResultDoc, loaded_delays};

use super::Rule;

/// From here on the delay is a finding; the built-in limit of the verdict is the same.
const ADDED_NS: u64 = 100_000_000;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("HOST-QUEUE"), code!("PATH-QUEUE")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    // The worst of each transport and direction.
    let mut worst: BTreeMap<(Option<&str>, Option<Direction>), LoadedDelay<'_>> = BTreeMap::new();
    for delay in loaded_delays(doc) {
        let kept = worst.entry((delay.step.over.as_deref(), delay.step.direction)).or_insert(delay);
        if delay.added_ns() > kept.added_ns() {
            *kept = delay;
        }
    }
    worst.into_values().filter(|delay| delay.exceeds(ADDED_NS)).map(finding).collect()
}

fn finding(delay: LoadedDelay<'_>) -> Finding {
    let added = delay.added_ns();
    let (way, sender, whose) = match delay.step.direction {
        Some(Direction::In) => (Direction::In, NodeId::SERVER, "the peer's"),
        _ => (Direction::Out, NodeId::CLIENT, "this host's"),
    };
    let story = format!("a stream {} adds {}: {}", way.name(), Nanoseconds(added), delay.words());
    let queues = delay.step.evidence(sender).and_then(|evidence| evidence.queues.as_deref());
    let rate = delay.step.summary.goodput_bits_per_s;
    let own = queues.into_iter().flatten().find(|queue| holds(queue, rate, added));
    let finding = match (own, queues) {
        (Some(queue), _) => {
            let stood = Bytes(queue.backlog_highest_bytes.unwrap_or(0));
            let (nic, kind) = (&queue.nic, &queue.kind);
            Finding::new(
                "HOST-QUEUE",
                format!("{story}. Up to {stood} of it stood in {whose} {kind} on {nic}"),
            )
            .tell(told::NIC, nic.clone())
        }
        (None, Some(_)) => {
            Finding::new("PATH-QUEUE", format!("{story}. No queue of {whose} NICs held so much"))
        }
        (None, None) => Finding::new(
            "PATH-QUEUE",
            format!("{story}. {whose} own queues could not be read, so it may stand there as well"),
        ),
    };
    let finding = finding.tell(told::DIRECTION, way).with("added_ns", added);
    finding.with("idle_p50_ns", delay.idle.p50).with("loaded_p50_ns", delay.loaded.p50)
}

/// Whether so much stood in a queue that it explains half of the delay at the rate of the stream.
fn holds(queue: &QueueActivity, rate_bits_per_s: Option<u64>, added_ns: u64) -> bool {
    let (Some(bytes), Some(rate)) = (queue.backlog_highest_bytes, rate_bits_per_s) else { return false };
    u128::from(bytes) * 8 * 1_000_000_000 * 2 >= u128::from(rate) * u128::from(added_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{
        Class, End, Evidence, Flow, LaneResult, LatencySummary, Step, StepKind, Summary, Tool, Waited,
    };

    const MS: u64 = 1_000_000;

    fn times(p50: u64) -> Summary {
        let times = LatencySummary { count: 100, p50, p99: p50, ..LatencySummary::default() };
        Summary { rtt_ns: Some(times), goodput_bits_per_s: Some(50_000_000), ..Summary::default() }
    }

    /// A stream of 50 Mbit/s beside which round trips take so long, and what stood in a queue of its sender.
    fn doc(direction: Direction, loaded_ns: u64, backlog: Option<u64>, waited_ns: u64) -> ResultDoc {
        let over = Some("tcp".to_owned());
        let mut step =
            Step { over: over.clone(), direction: Some(direction), ..Step::new(StepKind::Stream, "stream") };
        let probe = Flow { beside: true, class: Class::Probe, summary: times(loaded_ns), ..Flow::default() };
        step.with_flows(vec![Flow { summary: times(1), ..Flow::default() }, probe]);
        step.lanes = vec![LaneResult {
            flow: 1,
            end: End::Client,
            scheduled: Some(Waited { waited_ns, of_ns: 1000 * MS }),
            ..LaneResult::default()
        }];
        let queue = |backlog| QueueActivity {
            nic: "eth1".into(),
            kind: "tbf".into(),
            backlog_highest_bytes: Some(backlog),
            ..QueueActivity::default()
        };
        let evidence = |id| Evidence {
            node: id,
            queues: Some(backlog.into_iter().map(queue).collect()),
            ..Evidence::default()
        };
        step.evidence = vec![evidence(NodeId(u16::from(direction == Direction::In)))];
        let idle = Step { over, summary: times(MS), ..Step::new(StepKind::Pingpong, "idle") };
        ResultDoc { steps: vec![idle, step], ..ResultDoc::new(Tool::default(), "") }
    }

    fn found(doc: &ResultDoc) -> Vec<(String, String)> {
        findings(doc).into_iter().map(|finding| (finding.code, finding.evidence)).collect()
    }

    #[test]
    fn a_queue_is_the_paths_where_the_senders_own_held_nothing() {
        for (direction, way) in [(Direction::Out, "a stream out"), (Direction::In, "a stream in")] {
            let found = found(&doc(direction, 300 * MS, Some(10_000), 0));
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].0, "PATH-QUEUE");
            assert!(found[0].1.contains(way) && found[0].1.contains("299.00 ms"), "{}", found[0].1);
        }
    }

    #[test]
    fn a_queue_of_the_sender_is_named_as_its_own() {
        // 300 ms at 50 Mbit/s are 1.9 MB.
        let found = found(&doc(Direction::Out, 300 * MS, Some(1_500_000), 0));
        assert_eq!(found[0].0, "HOST-QUEUE");
        assert!(found[0].1.contains("this host's tbf on eth1"), "{}", found[0].1);
    }

    #[test]
    fn what_could_not_be_read_is_not_excluded() {
        let mut unread = doc(Direction::In, 300 * MS, None, 0);
        unread.steps[1].evidence.clear();
        let found = found(&unread);
        assert_eq!(found[0].0, "PATH-QUEUE");
        assert!(found[0].1.contains("could not be read"), "{}", found[0].1);
    }

    #[test]
    fn a_usual_queue_and_a_probe_without_a_processor_are_no_finding() {
        assert_eq!(found(&doc(Direction::Out, 90 * MS, Some(0), 0)), []);
        // A hundred answers, each of which waited 100 ms for a processor.
        assert_eq!(found(&doc(Direction::Out, 300 * MS, Some(0), 10_000 * MS)).len(), 1, "of_ns bounds it");
        assert_eq!(found(&doc(Direction::Out, 115 * MS, Some(0), 1000 * MS)), []);
    }
}
