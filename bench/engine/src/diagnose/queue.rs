//! Delay that a stream in full flow adds for everybody else on the path, and in whose queue it stands.
//!
//! Beside the streams of a plan probes tell. A stream over one more NIC has none: there the connection's own round trips tell, in a stream that is
//! long enough for a queue to fill.

use std::collections::BTreeMap;

use pathproof_model::code;
use pathproof_model::evidence::QueueActivity;
use pathproof_model::told;
use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{
    Direction, Finding, FollowUp, LaneRole, LoadedDelay, NodeId, ResultDoc, Severity, Step, TrafficSpec,
    loaded_delays,
};

use super::Rule;
use super::slow::{beside_plan, carries_packed, only_nic};

/// From here on the delay is a finding; the built-in limit of the verdict is the same.
const ADDED_NS: u64 = 100_000_000;
/// A queue that adds so much to a connection of a few tenths of a second may still grow.
const RISING_NS: u64 = 40_000_000;
/// A connection of a longer stream has filled it by then, or added more than is allowed: while it grows, it adds half a second in one.
const FILLED_NS: u64 = 600_000_000;
/// The window of that stream.
const WINDOW_NS: u64 = 1_000_000_000;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("HOST-QUEUE"), code!("PATH-QUEUE")], find: findings },
    Rule { codes: &[code!("HOST-QUEUE"), code!("PATH-QUEUE")], find: of_each_nic },
];

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
    let way = if delay.step.direction == Some(Direction::In) { Direction::In } else { Direction::Out };
    let story = format!("a stream {} adds {}: {}", way.name(), Nanoseconds(added), delay.words());
    let finding = whose_queue(delay.step, way, added, &story).tell(told::DIRECTION, way);
    let finding = finding.with("added_ns", added).with("idle_p50_ns", delay.idle.p50);
    finding.with("loaded_p50_ns", delay.loaded.p50)
}

/// What such a story comes to: a queue of the sending host that held so much, or one between the hosts.
fn whose_queue(step: &Step, way: Direction, added: u64, story: &str) -> Finding {
    let (sender, whose) = match way {
        Direction::In => (NodeId::SERVER, "the peer's"),
        Direction::Out | Direction::Both => (NodeId::CLIENT, "this host's"),
    };
    let queues = step.evidence(sender).and_then(|evidence| evidence.queues.as_deref());
    let rate = step.summary.goodput_bits_per_s;
    let own = queues.into_iter().flatten().find(|queue| holds(queue, rate, added));
    match (own, queues) {
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
    }
}

/// Round trips of a NIC's own connections, one way.
struct Risen<'a> {
    step: &'a Step,
    nic: String,
    way: Direction,
    /// The shortest that they know, in ns.
    idle_ns: u64,
    /// What the kernel says in the later half of the window, in the median, in ns.
    loaded_ns: u64,
}

impl Risen<'_> {
    fn added_ns(&self) -> u64 {
        self.loaded_ns.saturating_sub(self.idle_ns)
    }

    fn finding(&self) -> Finding {
        let (added, way, nic) = (self.added_ns(), self.way, &self.nic);
        let story = format!(
            "a stream {} over {nic} adds {}: the round trips of its own connection take {} in the later half of {}, in the median, and {} at their \
             shortest",
            way.name(),
            Nanoseconds(added),
            Nanoseconds(self.loaded_ns),
            self.step.name,
            Nanoseconds(self.idle_ns)
        );
        let finding = whose_queue(self.step, way, added, &story).with_severity(Severity::Error);
        let finding = finding.tell(told::LOCAL_NIC, nic.clone()).tell(told::DIRECTION, way);
        finding.with("added_ns", added).with("idle_ns", self.idle_ns).with("loaded_p50_ns", self.loaded_ns)
    }
}

/// Those of NICs that no stream of the plan went over, each by itself.
fn risen(doc: &ResultDoc) -> Vec<Risen<'_>> {
    let mut all = vec![];
    for step in beside_plan(doc) {
        let Some(nic) = only_nic(doc, step).filter(|nic| !carries_packed(doc, nic)) else { continue };
        for way in [Direction::Out, Direction::In] {
            if let Some((idle_ns, loaded_ns)) = round_trips(step, way) {
                all.push(Risen { step, nic: nic.clone(), way, idle_ns, loaded_ns });
            }
        }
    }
    all
}

/// The shortest round trip of who sends that way, and the median of those that the kernel said in the later half of the window.
fn round_trips(step: &Step, way: Direction) -> Option<(u64, u64)> {
    let sender = if way == Direction::In { NodeId::SERVER } else { NodeId::CLIENT };
    let own = step.lanes.iter().filter(|lane| lane.role == LaneRole::Send && lane.end.node() == sender);
    let shortest = own.flat_map(|lane| lane.connections()).filter_map(|one| one.counts.rtt_min_ns).min()?;
    let series = step.series.iter().find(|one| one.role == LaneRole::Send && one.node == sender)?;
    let later = series.rtt_ns.get(series.rtt_ns.len() / 2..)?;
    let mut later: Vec<u64> = later.iter().flatten().copied().collect();
    later.sort_unstable();
    let median = later.get(later.len().checked_sub(1)? / 2).copied()?;
    Some((shortest, median))
}

/// Whether a stream over one NIC was made for that.
fn is_long(step: &Step) -> bool {
    let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
    let long = traffic.is_some_and(|traffic| traffic.is_free() && traffic.warmup_ns >= FILLED_NS);
    step.follows_up == Some(FollowUp::Alone) && long
}

/// The next stream over one NIC, one way alone, that is long enough for a queue which one before it began to fill.
pub fn queue_once(doc: &ResultDoc) -> Option<TrafficSpec> {
    let rising = risen(doc).into_iter().filter(|one| one.added_ns() >= RISING_NS);
    rising.filter(|one| !is_long(one.step)).find_map(|one| {
        let traffic = one.step.spec.as_ref()?.traffic()?;
        let asked = doc.steps.iter().any(|step| {
            let like = step.spec.as_ref().and_then(|spec| spec.traffic());
            let alike = like.is_some_and(|like| like.options == traffic.options);
            is_long(step) && step.direction == Some(one.way) && alike
        });
        let (direction, time_ns, warmup_ns) = (one.way, WINDOW_NS, FILLED_NS);
        (!asked).then(|| TrafficSpec { direction, time_ns, warmup_ns, ..traffic.clone() })
    })
}

fn of_each_nic(doc: &ResultDoc) -> Vec<Finding> {
    // Where datagrams that load nothing are as late, it is no queue of this stream's.
    let paths = || doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    let varies = |one: &Risen<'_>| {
        let mut own = paths().filter(|path| path.local_nic == one.nic);
        own.any(|path| path.delay_variation_ns.is_some_and(|idle| idle.p50 >= one.added_ns() / 2))
    };
    let long = risen(doc).into_iter().filter(|one| is_long(one.step) && one.added_ns() > ADDED_NS);
    long.filter(|one| !varies(one)).map(|one| one.finding()).collect()
}

/// Whether so much stood in a queue that it explains half of the delay at the rate of the stream.
fn holds(queue: &QueueActivity, rate_bits_per_s: Option<u64>, added_ns: u64) -> bool {
    let (Some(bytes), Some(rate)) = (queue.backlog_highest_bytes, rate_bits_per_s) else { return false };
    u128::from(bytes) * 8 * 1_000_000_000 * 2 >= u128::from(rate) * u128::from(added_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::series::Series;
    use pathproof_model::{
        Class, Connection, DelayVariation, End, Environment, Evidence, Flow, LaneResult, LatencySummary, Nic,
        Node, StepKind, StepSpec, Summary, Tool, Waited,
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

    /// A stream over a second NIC by itself, and its round trips in ms as the kernel said them.
    fn beside(way: Direction, warmup_ms: u64, trips_ms: [u64; 4], backlog: Option<u64>) -> Step {
        let mut step = Step::new(StepKind::Stream, "e1 alone");
        (step.direction, step.follows_up) = (Some(way), Some(FollowUp::Alone));
        step.summary.goodput_bits_per_s = Some(95_000_000);
        let mut traffic = TrafficSpec { direction: way, warmup_ns: warmup_ms * MS, ..TrafficSpec::default() };
        traffic.options.insert("nic".into(), "e1".into());
        step.spec = Some(StepSpec::Stream(traffic));
        for (end, node) in [(End::Client, NodeId::CLIENT), (End::Server, NodeId::SERVER)] {
            let counts = ConnectionCounts { rtt_min_ns: Some(MS), ..ConnectionCounts::still() };
            step.lanes.push(LaneResult {
                end,
                role: LaneRole::Send,
                nics: vec!["e1".into()],
                connection: Some(Connection { counts, ..Connection::default() }),
                ..LaneResult::default()
            });
            let sends = way == Direction::Both || (end == End::Client) == (way == Direction::Out);
            step.series.push(Series {
                node,
                role: if sends { LaneRole::Send } else { LaneRole::Receive },
                rtt_ns: trips_ms.map(|ms| Some(ms * MS)).into(),
                ..Series::default()
            });
        }
        let queue = |backlog| QueueActivity {
            nic: "e1".into(),
            kind: "tbf".into(),
            backlog_highest_bytes: Some(backlog),
            ..QueueActivity::default()
        };
        let queues = Some(backlog.into_iter().map(queue).collect());
        step.evidence = vec![Evidence { node: NodeId::CLIENT, queues, ..Evidence::default() }];
        step
    }

    fn second(steps: Vec<Step>) -> ResultDoc {
        let nic = |name: &str| Nic { name: name.into(), ..Nic::default() };
        let host = Environment { nics: vec![nic("e0"), nic("e1")], ..Environment::default() };
        let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(host))];
        doc
    }

    #[test]
    fn a_queue_that_begins_to_fill_over_a_second_nic_is_asked_for_by_a_longer_stream_one_way() {
        let asked = |steps: Vec<Step>| {
            let next = queue_once(&second(steps))?;
            Some((next.direction, next.warmup_ns))
        };
        // As reno fills 400 ms at 100 Mbit/s in half a second, and as a usual queue of 20 ms and a hiccup of the host look.
        let rising = || beside(Direction::Both, 100, [95, 141, 190, 240], Some(0));
        assert_eq!(asked(vec![rising()]), Some((Direction::Out, FILLED_NS)));
        let out = || beside(Direction::Out, 600, [250, 260, 250, 240], Some(0));
        assert_eq!(asked(vec![rising(), out()]), Some((Direction::In, FILLED_NS)));
        let inward = || beside(Direction::In, 600, [250, 260, 250, 240], Some(0));
        assert_eq!(asked(vec![rising(), out(), inward()]), None);
        assert_eq!(asked(vec![beside(Direction::Both, 100, [20, 21, 20, 22], Some(0))]), None);
        assert_eq!(asked(vec![beside(Direction::Both, 100, [6, 7, 37, 130], Some(0))]), None);
        // What the plan's streams went over has probes.
        let planned = Step { follows_up: None, ..beside(Direction::Out, 200, [6, 6, 6, 6], None) };
        assert_eq!(asked(vec![planned, rising()]), None);
    }

    #[test]
    fn what_stands_in_a_longer_stream_over_a_second_nic_is_told_of_that_nic() {
        let told = |trips_ms: [u64; 4], backlog: u64| {
            let steps = vec![beside(Direction::Out, 600, trips_ms, Some(backlog))];
            findings_of_nics(steps).into_iter().map(|one| (one.code, one.severity)).collect::<Vec<_>>()
        };
        let long = [200, 260, 250, 240];
        assert_eq!(told(long, 10_000), [("PATH-QUEUE".to_owned(), Severity::Error)]);
        // 240 ms at 95 Mbit/s are 2.9 MB.
        assert_eq!(told(long, 2_000_000), [("HOST-QUEUE".to_owned(), Severity::Error)]);
        assert_eq!(told([300, 300, 99, 98], 0), []);
        let short = beside(Direction::Both, 100, [95, 141, 190, 240], Some(0));
        assert_eq!(findings_of_nics(vec![short]), [], "it is asked for first");
        // Datagrams of an idle path that are as late.
        let idle = |nic: &str, late_ms: u64| {
            let times = DelayVariation { p50: late_ms * MS, ..DelayVariation::default() };
            let mut path = super::super::tests::loss_path();
            (path.local_nic, path.delay_variation_ns) = (nic.into(), Some(times));
            let mut step = Step::new(StepKind::Loss, "datagrams");
            step.detail.loss = Some(vec![path]);
            step
        };
        let beside_idle = |nic: &str, late_ms: u64| {
            let long = beside(Direction::Out, 600, long, Some(0));
            findings_of_nics(vec![long, idle(nic, late_ms)]).len()
        };
        assert_eq!((beside_idle("e1", 150), beside_idle("e1", 5), beside_idle("e0", 150)), (0, 1, 1));
        let found = findings_of_nics(vec![beside(Direction::Out, 600, long, Some(0))]).remove(0);
        let says = "a stream out over e1 adds 239.00 ms: the round trips of its own connection take 240.00 ms in the later half of e1 alone";
        assert!(found.evidence.starts_with(says), "{}", found.evidence);
        assert_eq!(found.told(told::LOCAL_NIC).as_deref(), Some("e1"));
    }

    fn findings_of_nics(steps: Vec<Step>) -> Vec<Finding> {
        of_each_nic(&second(steps))
    }

    #[test]
    fn a_usual_queue_and_a_probe_without_a_processor_are_no_finding() {
        assert_eq!(found(&doc(Direction::Out, 90 * MS, Some(0), 0)), []);
        // A hundred answers, each of which waited 100 ms for a processor.
        assert_eq!(found(&doc(Direction::Out, 300 * MS, Some(0), 10_000 * MS)).len(), 1, "of_ns bounds it");
        assert_eq!(found(&doc(Direction::Out, 115 * MS, Some(0), 1000 * MS)), []);
    }
}
