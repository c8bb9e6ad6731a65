//! Delay that comes and goes while nothing is lost: single packets that wait, and times in which nothing moves at all.

use std::collections::BTreeMap;

use pathproof_model::code;
use pathproof_model::judge::could_explain_median;
use pathproof_model::judge::repeats::paced_loss;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, LaneRole, LossPath, NodeId, ResultDoc, Severity, Share, Step};

use super::{FAR_NS, LOST_SHARE, Rule, held, hosts, nearby, pauses, planned, pressed, round_trips, sleeps};

/// Above this part of paced datagrams that come 50 ms after the fastest, something on the way holds packets back.
const LATE_SHARE: f64 = 0.005;
/// A silence of this length is no retransmission timer of a short path (200 ms), and no turn of a busy host.
const SILENCE_NS: u64 = 400_000_000;
/// As the built-in limit of jitter.
const JITTER_NS: u64 = 5_000_000;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("PATH-FAR")], find: |doc| far(doc).into_iter().chain(far_nics(doc)).collect() },
    Rule { codes: &[code!("PATH-STALLS"), code!("PATH-JITTER")], find: comes_and_goes },
];

/// The first of these that is so: the others would be the same delay, seen from elsewhere.
fn comes_and_goes(doc: &ResultDoc) -> Vec<Finding> {
    // A host that stands still for a tenth of a second at a time delays everything itself.
    if hosts::stands_still(doc) {
        return vec![];
    }
    let told = stalls(doc)
        .into_iter()
        .chain(varies(doc))
        .chain(pauses::pauses(doc))
        .chain(late(doc))
        .chain(uneven(doc));
    let told = told.chain(timers(doc)).chain(pauses::stands(doc));
    let told = told.chain(held::held(doc)).chain(held::in_turns(doc)).chain(nearby::varies(doc));
    told.take(1).collect()
}

/// The length of the path, as something to know.
fn far(doc: &ResultDoc) -> Option<Finding> {
    // What has to wake up for each of them is not long.
    let (_, rtt) = round_trips(doc).filter(|(_, rtt)| rtt.min >= FAR_NS && !sleeps::flows_quicker(doc))?;
    let said = format!(
        "the fastest of {} idle round trips takes {}, half of them less than {}: the path is that long",
        rtt.count,
        Nanoseconds(rtt.min),
        Nanoseconds(rtt.p50)
    );
    Some(Finding::new("PATH-FAR", said).with("round_trip_least_ns", rtt.min))
}

/// NICs whose way is far longer than that of another: what is spread over both waits for the longer one.
fn far_nics(doc: &ResultDoc) -> Vec<Finding> {
    let mut least: BTreeMap<String, u64> = BTreeMap::new();
    for step in doc.steps.iter().filter(|step| step.error.is_none()) {
        let trips = step.lanes.iter().filter_map(|lane| lane.connection.as_ref()?.counts.rtt_min_ns);
        let (Some(nic), Some(trip_ns)) = (super::slow::only_nic(doc, step), trips.min()) else { continue };
        least.entry(nic).and_modify(|known| *known = (*known).min(trip_ns)).or_insert(trip_ns);
    }
    let Some((near, near_ns)) = least.iter().min_by_key(|(_, ns)| **ns) else { return vec![] };
    // What varies that much is not long.
    let paths = || doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    let varies = |nic: &str| {
        paths().any(|path| {
            path.local_nic == nic
                && path.delay_variation_ns.is_some_and(|variation| variation.p50 > JITTER_NS)
        })
    };
    let far =
        least.iter().filter(|(_, ns)| **ns >= FAR_NS && **ns / 4 >= *near_ns).filter(|(nic, _)| !varies(nic));
    let finding = |(nic, ns): (&String, &u64)| {
        let said = format!(
            "{nic}: the fastest round trip of its connections takes {}, of {near}'s {}: its way is that much longer",
            Nanoseconds(*ns),
            Nanoseconds(*near_ns)
        );
        Finding::new("PATH-FAR", said)
            .with_severity(Severity::Warning)
            .tell(told::NIC, nic.clone())
            .with("round_trip_least_ns", *ns)
    };
    far.map(finding).collect()
}

/// A full segment of an MTU of 1500, with time stamps.
const SEGMENT_BYTES: u64 = 1448;

/// Times in which not one lane of a step received anything, although its connections stood and its threads ran.
fn stalls(doc: &ResultDoc) -> Option<Finding> {
    let streams = planned(doc).filter(|step| step.kind.traits().bulk && step.detail.failover.is_none());
    let silent = |step: &Step| -> Option<u64> {
        // Where a tenth of the bytes had to go again, the connections waited for their timers.
        let again = step.total(|flow| flow.retransmits)?.saturating_mul(SEGMENT_BYTES);
        if again.saturating_mul(10) >= step.total(|flow| flow.bytes).unwrap_or(u64::MAX) {
            return None;
        }
        let mut shortest = None;
        for lane in step.lanes.iter().filter(|lane| lane.role == LaneRole::Receive) {
            let silence = lane.longest_silence_ns.filter(|silence| *silence >= SILENCE_NS)?;
            // A thread that was not let on a processor hears nothing either.
            let waited = lane.scheduled?.waited_ns;
            if lane.bytes == 0 || waited.saturating_mul(2) >= silence {
                return None;
            }
            shortest = Some(shortest.map_or(silence, |known: u64| known.min(silence)));
        }
        shortest
    };
    // On a long path a few round trips of a connection that still grows look like that.
    let far = round_trips(doc).is_some_and(|(_, rtt)| rtt.min >= FAR_NS * 4);
    let (length, step) =
        streams.filter(|_| !far).filter_map(|step| Some((silent(step)?, step))).max_by_key(|(ns, _)| *ns)?;
    // What is lost makes TCP wait as well: then it is the loss that is told.
    let lost = pathproof_model::judge::repeats::paced_loss(doc, step.direction)?;
    if lost.bounds().0 > LOST_SHARE {
        return None;
    }
    let said = format!(
        "{}: nothing came in over any connection for {}, and then it went on; datagrams at a low pace were not lost",
        step.name,
        Nanoseconds(length)
    );
    Some(Finding::new("PATH-STALLS", said).with("silence_ns", length))
}

/// Retransmission timers that ran out although all that was sent again had arrived already: what was waited for came later than that. The
/// kernel answers a segment whatever its host's threads do, and counts all of a run, not only the windows of its steps.
fn timers(doc: &ResultDoc) -> Option<Finding> {
    /// One may be chance: an answer that was lost, or a processor that its hypervisor took away.
    const TIMES: u64 = 3;
    const STEPS: u64 = 2;
    /// The shortest such timer of a path that is no longer than the others here.
    const TIMER_NS: u64 = 200_000_000;
    let (_, trips) = round_trips(doc).filter(|(_, rtt)| rtt.p50 < FAR_NS)?;
    let (mut times, mut steps) = (0u64, 0u64);
    for step in planned(doc) {
        for (node, other) in [(NodeId::CLIENT, NodeId::SERVER), (NodeId::SERVER, NodeId::CLIENT)] {
            let counts = |node| step.evidence(node).and_then(|evidence| evidence.tcp.as_ref());
            let Some((here, there)) = counts(node).zip(counts(other)) else { continue };
            let Some((ran_out, again)) = here.timeouts.zip(here.retransmitted) else { continue };
            // Where less had arrived, something was lost.
            if ran_out > 0 && there.duplicates_received.is_some_and(|twice| twice >= again) {
                (times, steps) = (times.saturating_add(ran_out), steps + 1);
            }
        }
    }
    let lost = paced_loss(doc, None)?;
    if times < TIMES || steps < STEPS || lost.bounds().0 > LOST_SHARE {
        return None;
    }
    let said = format!(
        "in {steps} steps {times} retransmission timers ran out, although all that was sent again had arrived already and nothing is lost at a \
         low pace: the answers took {} and more, where half of the idle round trips take less than {}",
        Nanoseconds(TIMER_NS),
        Nanoseconds(trips.p50)
    );
    Some(Finding::new("PATH-STALLS", said).with("silence_ns", TIMER_NS).with("timers", times))
}

/// Idle round trips that differ by more than any network between two machines should make them.
fn varies(doc: &ResultDoc) -> Option<Finding> {
    // By how much what wakes up differs is told with it.
    let (step, rtt) = round_trips(doc).filter(|_| sleeps::throughout(doc).is_none())?;
    let typical = rtt.p50.saturating_sub(rtt.min);
    let high = if rtt.count >= 100 { rtt.p90.saturating_sub(rtt.p50) } else { 0 };
    // What half of them take longer no host does whose threads waited for less than that together; a tenth of them it can.
    let by_half = typical > JITTER_NS && !could_explain_median(step, &rtt, typical - JITTER_NS);
    let by_tenth =
        high > JITTER_NS && super::waited_share(step).is_some_and(|share| share < 0.1) && !pressed(step);
    if !by_half && !by_tenth {
        return None;
    }
    let spread = typical.max(high);
    let said = format!(
        "{}: idle round trips take {} to {}, half of them more than {}, and nothing was sent beside them",
        step.name,
        Nanoseconds(rtt.min),
        Nanoseconds(rtt.max),
        Nanoseconds(rtt.p50)
    );
    Some(Finding::new("PATH-JITTER", said).with("spread_ns", spread))
}

fn share(path: &LossPath) -> Share {
    let counts = path.flows.iter().flat_map(|flow| [flow.small, flow.full]);
    counts.fold(Share::default(), |sum, one| sum + Share { part: one.late, of: one.received })
}

fn lost(path: &LossPath) -> u64 {
    path.flows
        .iter()
        .fold(0, |sum, flow| sum.saturating_add(flow.small.lost().part).saturating_add(flow.full.lost().part))
}

/// Paced datagrams that came long after the others.
fn late(doc: &ResultDoc) -> Option<Finding> {
    // When a datagram arrives is the kernel's word, but a sender may be stopped between reading the clock and sending: not for one in
    // twenty.
    let steps = planned(doc).flat_map(|step| {
        let least = if pressed(step) { LATE_SHARE * 10.0 } else { LATE_SHARE };
        step.detail.loss.as_deref().into_iter().flatten().map(move |path| (path, least))
    });
    let paths = steps.filter(|(path, least)| share(path).bounds().0 > *least).map(|(path, _)| path);
    let paths = paths.filter(|path| !path.local_address.is_loopback());
    let (share, path) =
        paths.map(|path| (share(path), path)).max_by(|a, b| a.0.bounds().0.total_cmp(&b.0.bounds().0))?;
    let node =
        if path.direction == pathproof_model::Direction::Out { NodeId::SERVER } else { NodeId::CLIENT };
    let slowest = path.delay_variation_ns.unwrap_or_default().max;
    let said = format!(
        "{}: {} of {} datagrams at a low pace reached {} more than 50 ms after the fastest, the slowest {} after it",
        path.name(),
        share.part,
        share.of,
        super::whose(node),
        Nanoseconds(slowest)
    );
    // Nothing that varies is that long on a path of such round trips: it stood still, and then all of it came.
    let short = round_trips(doc).is_some_and(|(_, rtt)| rtt.p50 < FAR_NS);
    let code = if short && slowest >= SILENCE_NS && lost(path) == 0 { "PATH-STALLS" } else { "PATH-JITTER" };
    Some(Finding::new(code, said).with("late", share.part).tell(told::OF, share.of))
}

/// Paced datagrams of one pair of NICs that vary while those of another pair, between the same two hosts at the same time, do not.
fn uneven(doc: &ResultDoc) -> Option<Finding> {
    /// So many times as much as over another pair.
    const FACTOR: u64 = 4;
    let typical = |path: &LossPath| path.delay_variation_ns.map(|variation| variation.p50);
    let mut worst: Option<(&LossPath, u64, &LossPath, u64)> = None;
    for paths in planned(doc).filter_map(|step| step.detail.loss.as_deref()) {
        for path in paths {
            let Some(own) = typical(path).filter(|own| *own > JITTER_NS) else { continue };
            let others = paths.iter().filter(|other| {
                other.direction == path.direction
                    && other.local_nic != path.local_nic
                    && other.remote_nic != path.remote_nic
            });
            let calm = others.filter_map(|other| Some((typical(other)?, other))).min_by_key(|(ns, _)| *ns);
            let Some((least, calm)) = calm.filter(|(least, _)| least.saturating_mul(FACTOR) < own) else {
                continue;
            };
            if worst.is_none_or(|(_, known, ..)| known < own) {
                worst = Some((path, own, calm, least));
            }
        }
    }
    let (path, own, calm, least) = worst?;
    let said = format!(
        "{}: half of the datagrams at a low pace came more than {} after the fastest, and {} at the same time no more than {}",
        path.name(),
        Nanoseconds(own),
        calm.name(),
        Nanoseconds(least)
    );
    // No verdict about round trips speaks of this pair.
    let finding = Finding::new("PATH-JITTER", said).with_severity(Severity::Error);
    Some(finding.with("spread_ns", own).tell(told::LOCAL_NIC, path.local_nic.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::LatencySummary;
    use pathproof_model::evidence::TcpCounts;
    use pathproof_model::{LaneResult, LossCounts, LossFlow, StepKind, StepSpec, Tool, TrafficSpec, Waited};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn codes(steps: Vec<Step>) -> Vec<String> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    /// Idle round trips in ms, as runs in a laboratory had them.
    fn pingpong(count: u64, [min, p50, p90, max]: [f64; 4]) -> Step {
        let ns = |ms: f64| (ms * 1e6) as u64;
        let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
        let scheduled = Some(Waited { waited_ns: 6_000_000, of_ns: 910_000_000 });
        step.lanes = vec![LaneResult { scheduled, ..LaneResult::default() }];
        step.summary.rtt_ns = Some(LatencySummary {
            count,
            min: ns(min),
            p50: ns(p50),
            p90: ns(p90),
            p99: ns(max),
            max: ns(max),
            ..LatencySummary::default()
        });
        step
    }

    fn stream(silences_ms: &[u64], waited_ms: u64) -> Step {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        let lane = |ms: &u64| LaneResult {
            role: LaneRole::Receive,
            bytes: 1 << 20,
            longest_silence_ns: Some(ms * 1_000_000),
            scheduled: Some(Waited { waited_ns: waited_ms * 1_000_000, of_ns: 1_400_000_000 }),
            ..LaneResult::default()
        };
        step.lanes = silences_ms.iter().map(lane).collect();
        step.summary.retransmits = Some(0);
        step
    }

    fn paced(received: u64, late: u64) -> Step {
        let mut step = Step::new(StepKind::Loss, "loss");
        let small = LossCounts { sent: received, received, late, ..LossCounts::default() };
        step.detail.loss = Some(vec![LossPath {
            flows: vec![LossFlow { port: 1, answered: true, small, ..LossFlow::default() }],
            ..super::super::tests::loss_path()
        }]);
        step
    }

    #[test]
    fn distance_is_told_and_no_fault() {
        assert_eq!(codes(vec![pingpong(87, [20.1, 20.4, 20.9, 24.0])]), ["PATH-FAR"]);
        assert_eq!(codes(vec![pingpong(30_000, [0.02, 0.03, 0.04, 17.1])]), [""; 0]);
    }

    #[test]
    fn a_nic_whose_way_is_far_longer_than_the_others_is_told() {
        use pathproof_model::evidence::ConnectionCounts;
        use pathproof_model::{Connection, End, Environment, Nic, Node};
        let told = |trips_us: &[(&str, u64)]| -> Vec<String> {
            let step = |(nic, us): &(&str, u64)| {
                let counts = ConnectionCounts { rtt_min_ns: Some(us * 1000), ..ConnectionCounts::still() };
                let connection = Some(Connection { counts, ..Connection::default() });
                let nics = vec![(*nic).to_owned()];
                let mut step = Step::new(StepKind::Stream, "s");
                step.lanes = vec![LaneResult { end: End::Client, nics, connection, ..LaneResult::default() }];
                step
            };
            let nic = |name: &str| Nic { name: name.into(), ..Nic::default() };
            let host = Environment { nics: vec![nic("e0"), nic("e1")], ..Environment::default() };
            let steps = trips_us.iter().map(step).collect();
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            doc.nodes = vec![Node::here(Some(host))];
            findings(&doc).into_iter().map(|finding| finding.evidence).collect()
        };
        let found = told(&[("e0", 90), ("e1", 15_200)]);
        assert!(found.len() == 1 && found[0].starts_with("e1: the fastest round trip"), "{found:?}");
        // A queue that stood once, two ways that are long, and a difference that no site makes.
        assert_eq!(told(&[("e0", 90), ("e1", 15_200), ("e1", 120)]), [""; 0]);
        assert_eq!(told(&[("e0", 15_000), ("e1", 15_200)]), [""; 0]);
        assert_eq!(told(&[("e0", 90), ("e1", 900)]), [""; 0]);
    }

    #[test]
    fn round_trips_that_differ_and_datagrams_that_come_late_are_jitter() {
        assert_eq!(codes(vec![pingpong(53, [10.9, 23.3, 33.8, 39.5])]), ["PATH-FAR", "PATH-JITTER"]);
        // The threads waited for as long as that, or nobody knows for how long.
        let mut waited = pingpong(53, [1.9, 14.3, 24.8, 30.5]);
        assert_eq!(codes(vec![waited.clone()]), ["PATH-JITTER"]);
        waited.lanes[0].scheduled = Some(Waited { waited_ns: 420_000_000, of_ns: 910_000_000 });
        assert_eq!(codes(vec![waited.clone()]), [""; 0]);
        waited.lanes[0].scheduled = None;
        assert_eq!(codes(vec![waited]), [""; 0]);
        // Seen between two hosts of a busy machine.
        assert_eq!(codes(vec![pingpong(1048, [0.46, 0.84, 1.03, 4.8]), paced(2000, 0)]), [""; 0]);
        assert_eq!(codes(vec![pingpong(2199, [0.04, 0.06, 0.08, 122.6]), paced(1428, 127)]), ["PATH-JITTER"]);
        assert_eq!(codes(vec![paced(2000, 3)]), [""; 0]);
        // A busy sender makes a few late, and not one in twenty.
        let busy = |late: u64, max_ms: u64| {
            let mut step = paced(2031, late);
            let load = pathproof_model::HostLoad {
                elapsed_ns: 1000,
                pressure_some_ns: Some(740),
                ..Default::default()
            };
            step.evidence = vec![pathproof_model::Evidence { host: Some(load), ..Default::default() }];
            let path = &mut step.detail.loss.as_mut().unwrap()[0];
            path.delay_variation_ns = Some(pathproof_model::DelayVariation {
                p50: 146_000_000,
                p99: 897_000_000,
                max: max_ms * 1_000_000,
            });
            codes(vec![pingpong(8007, [0.03, 0.06, 0.2, 3.6]), step])
        };
        assert_eq!(busy(60, 897), [""; 0]);
        assert_eq!(busy(1143, 300), ["PATH-JITTER"]);
        // As run over a wire that stood still for 900 ms.
        assert_eq!(busy(1143, 914), ["PATH-STALLS"]);
    }

    #[test]
    fn a_long_round_trip_and_streams_that_stood_still_without_a_timer_are_a_pause_of_the_path() {
        let stood = |silence_ms: u64, timeouts: u64, retransmits: u64| {
            let mut step = stream(&[silence_ms], 16);
            step.summary.goodput_bits_per_s = Some(110_000_000);
            step.summary.retransmits = Some(retransmits);
            let tcp = TcpCounts { timeouts: Some(timeouts), ..TcpCounts::still() };
            let of = |node| pathproof_model::Evidence { node, tcp: Some(tcp.clone()), ..Default::default() };
            step.evidence = vec![of(NodeId::CLIENT), of(NodeId::SERVER)];
            step
        };
        let told = |longest_ms: f64, streams: [Step; 2]| {
            let trips = pingpong(870, [0.03, 0.06, 0.2, longest_ms]);
            codes([vec![trips, paced(3900, 0)], streams.to_vec()].concat())
        };
        let still = || stood(100, 0, 0);
        // As run over a wire that held everything back for 120 ms once in two thousand packets.
        assert_eq!(told(120.7, [still(), still()]), ["PATH-STALLS"]);
        // A moment of one step, timers that explain a silence, and no round trip that was long.
        assert_eq!(told(120.7, [still(), stood(0, 0, 0)]), [""; 0]);
        assert_eq!(told(120.7, [still(), stood(100, 1, 0)]), [""; 0]);
        assert_eq!(told(120.7, [still(), stood(100, 0, 9)]), [""; 0]);
        assert_eq!(told(20.0, [still(), still()]), [""; 0]);
    }

    #[test]
    fn a_few_round_trips_of_one_great_length_are_a_pause_of_the_path() {
        let spiky = |count, p999: f64, max: f64| {
            let mut step = pingpong(count, [0.03, 0.06, 0.2, max]);
            step.elapsed_ns = 900_000_000;
            step.summary.rtt_ns.as_mut().unwrap().p999 = (p999 * 1e6) as u64;
            codes(vec![step])
        };
        // As run over a wire that held everything back for 120 ms once in two thousand packets.
        assert_eq!(spiky(1952, 120.72, 120.78), ["PATH-STALLS"]);
        // The worst of 32 healthy pairs on a crowded machine, one that happened once, and a host that comes and goes.
        assert_eq!(spiky(1203, 9.01, 27.8), [""; 0]);
        assert_eq!(spiky(20_159, 0.11, 120.0), [""; 0]);
        assert_eq!(spiky(1952, 60.0, 240.0), [""; 0]);
        // A question that was lost and waited for its timer, in that step or at a low pace; and threads that stood in line for as long as two of those.
        let mut step = pingpong(1952, [0.03, 0.06, 0.2, 204.0]);
        step.summary.rtt_ns.as_mut().unwrap().p999 = 203_000_000;
        step.elapsed_ns = 3_000_000_000;
        assert_eq!(codes(vec![step.clone(), paced(3900, 0)]), ["PATH-STALLS"]);
        let tcp = |node, again, twice| {
            let counts = TcpCounts {
                retransmitted: Some(again),
                duplicates_received: Some(twice),
                ..TcpCounts::still()
            };
            pathproof_model::Evidence { node, tcp: Some(counts), ..Default::default() }
        };
        let counted = |twice| {
            let evidence = vec![tcp(NodeId::CLIENT, 2, 0), tcp(NodeId::SERVER, 0, twice)];
            codes(vec![Step { evidence, ..step.clone() }])
        };
        assert_eq!((counted(2), counted(0)), (vec!["PATH-STALLS".to_owned()], vec![]));
        let mut lossy = paced(3900, 0);
        lossy.detail.loss.as_mut().unwrap()[0].flows[0].small.received -= 20;
        assert_eq!(codes(vec![step.clone(), lossy]), [""; 0]);
        step.lanes[0].scheduled = Some(Waited { waited_ns: 410_000_000, of_ns: 3_000_000_000 });
        assert_eq!(codes(vec![step]), [""; 0]);
        // As two hosts had it whose processors others had, on a cable on which nothing stands still.
        let mut step = pingpong(1878, [0.03, 2.5, 7.0, 96.08]);
        step.elapsed_ns = 900_000_000;
        step.summary.rtt_ns.as_mut().unwrap().p999 = 89_850_000;
        assert_eq!(codes(vec![step.clone()]), ["PATH-STALLS"]);
        step.lanes[0].scheduled = Some(Waited { waited_ns: 392_790_000, of_ns: 790_130_000 });
        assert_eq!(codes(vec![step]), [""; 0]);
    }

    #[test]
    fn a_pair_that_varies_beside_one_that_does_not_is_jitter_and_two_alike_are_their_hosts() {
        let told = |typical_us: [u64; 2]| {
            let mut step = paced(2000, 0);
            let paths = step.detail.loss.as_mut().unwrap();
            paths.push(LossPath { local_nic: "e1".into(), remote_nic: "e1".into(), ..paths[0].clone() });
            for (path, us) in paths.iter_mut().zip(typical_us) {
                let ns = us * 1000;
                path.delay_variation_ns =
                    Some(pathproof_model::DelayVariation { p50: ns, p99: ns * 2, max: ns * 3 });
            }
            codes(vec![step])
        };
        assert_eq!(told([90, 10_400]), ["PATH-JITTER"]);
        // As of two healthy pairs on a crowded machine, and a little.
        assert_eq!(told([4465, 5956]), [""; 0]);
        assert_eq!(told([90, 4000]), [""; 0]);
    }

    #[test]
    fn timers_that_ran_out_for_nothing_are_a_path_that_stood() {
        use pathproof_model::Evidence;
        // What the two ends counted in a step: timers, sent again; and what the other end had already.
        let told = |steps: &[(u64, u64, Option<u64>)], lost: u64| {
            let step = |(timeouts, again, twice): &(u64, u64, Option<u64>)| {
                let mut step = Step::new(StepKind::Stream, "tcp stream in");
                let client = TcpCounts {
                    timeouts: Some(*timeouts),
                    retransmitted: Some(*again),
                    ..TcpCounts::still()
                };
                let server = TcpCounts { duplicates_received: *twice, ..TcpCounts::still() };
                step.evidence = [(NodeId::CLIENT, client), (NodeId::SERVER, server)]
                    .map(|(node, tcp)| Evidence { node, tcp: Some(tcp), ..Evidence::default() })
                    .into();
                step
            };
            let mut loss = paced(2000, 0);
            loss.detail.loss.as_mut().unwrap()[0].flows[0].small.received -= lost;
            let steps = steps.iter().map(step);
            codes(steps.chain([pingpong(1309, [0.1, 0.13, 0.16, 8.0]), loss]).collect())
        };
        // As counted over a wire that stood still for 600 ms every two seconds, mostly between the windows.
        let stood = [(1, 2, Some(2)), (1, 2, Some(4)), (4, 10, Some(10))];
        assert_eq!(told(&stood, 0), ["PATH-STALLS"]);
        // Something was lost, or nobody knows what had arrived, or it happened once.
        assert_eq!(told(&stood, 20), [""; 0]);
        assert_eq!(told(&[(3, 9, Some(8)), (3, 9, Some(1))], 0), [""; 0]);
        assert_eq!(told(&[(3, 9, None), (3, 9, None)], 0), [""; 0]);
        assert_eq!(told(&[(4, 10, Some(10))], 0), [""; 0]);
        assert_eq!(told(&[(1, 1, Some(1)), (1, 1, Some(1))], 0), [""; 0]);
    }

    #[test]
    fn a_time_in_which_nothing_moves_is_a_stall_unless_the_host_slept_or_packets_were_lost() {
        assert_eq!(codes(vec![stream(&[800, 900], 90), paced(500, 0)]), ["PATH-STALLS"]);
        assert_eq!(codes(vec![stream(&[800, 100], 90), paced(500, 0)]), [""; 0]);
        assert_eq!(codes(vec![stream(&[800, 900], 700), paced(500, 0)]), [""; 0]);
        // What was sent again is not known.
        let mut uncounted = stream(&[800, 900], 90);
        uncounted.summary.retransmits = None;
        assert_eq!(codes(vec![uncounted, paced(500, 0)]), [""; 0]);
        // Whether the thread slept is not known.
        let mut unknown = stream(&[800, 900], 90);
        unknown.lanes[1].scheduled = None;
        assert_eq!(codes(vec![unknown, paced(500, 0)]), [""; 0]);
        let mut lossy = paced(500, 0);
        lossy.detail.loss.as_mut().unwrap()[0].flows[0].small.received = 460;
        assert_eq!(codes(vec![stream(&[800, 900], 90), lossy]), [""; 0]);
    }

    #[test]
    fn a_program_that_stands_still_while_its_kernel_answers_is_no_stall_of_the_path() {
        let stopped = |timeouts: u64| {
            let mut step =
                super::super::stops::tests::stream(pathproof_model::Direction::Out, 700, 1380, 480);
            step.lanes[0].connection.as_mut().unwrap().counts.timeouts = Some(timeouts);
            codes(vec![step, paced(500, 0)])
        };
        assert_eq!((stopped(0), stopped(1)), (vec![], vec!["PATH-STALLS".to_owned()]));
        // Of a question that took as long, and of streams that stood for a moment beside it.
        let trips = |timeouts: u64| {
            use pathproof_model::{Connection, Evidence};
            let counts = pathproof_model::evidence::ConnectionCounts {
                retransmit_timer_ns: Some(204_000_000),
                timeouts: Some(timeouts),
                ..pathproof_model::evidence::ConnectionCounts::still()
            };
            let mut step = pingpong(870, [0.03, 0.06, 0.2, 790.0]);
            step.lanes[0].connection = Some(Connection { counts, ..Connection::default() });
            let mut short = stream(&[100], 16);
            short.summary.goodput_bits_per_s = Some(110_000_000);
            let of = |node| Evidence { node, tcp: Some(TcpCounts::still()), ..Evidence::default() };
            short.evidence = vec![of(NodeId::CLIENT), of(NodeId::SERVER)];
            codes(vec![step, paced(3900, 0), short.clone(), short])
        };
        assert_eq!((trips(0), trips(1)), (vec![], vec!["PATH-STALLS".to_owned()]));
    }
}
