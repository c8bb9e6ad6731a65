//! Whether what a stream sent again was thrown away above some rate, as a policer does, or dropped by a queue that the stream filled.
//!
//! It refuses to say so where a host threw it away, where the path loses when it is idle, and where most of it was lost while a queue
//! stood: judged by all connections and by a probe beside them, never by one connection alone, because a connection that loses much shows
//! round trips of some milliseconds without any queue.

use std::net::SocketAddr;

use super::{Repeats, dropped_at_home, lost_at_once, paced_loss, receivers, thrown_away_by};
use crate::{Class, Direction, LaneRole, ResultDoc, Step, Trips};

/// From this share of its segments on that a stream sends again, it matters where they were lost.
pub const THROWN_SHARE: f64 = 0.05;
/// Fewer are chance.
const AGAIN_MIN: u64 = 20;
/// Where one in so many of them was dropped by the sender's own queue, that is where they were lost: what is dropped there is sent again
/// at once, and over and over.
const AT_HOME: u64 = 20;
/// A path that surely loses more than this when it is idle loses in any case.
const IDLE_LOSS: f64 = 0.001;
/// A probe beside a stream waits so long and longer behind a queue; a busy host adds less to the median.
const PROBE_NS: u64 = 1_000_000;
/// So many answers make a median.
const ANSWERS_MIN: u64 = 20;
/// A probe that itself sends one in so many questions again measures its timers.
const PROBE_AGAIN: u64 = 20;
/// Round trips of connections are so much longer behind a queue, whatever it holds.
const LONG_NS: u64 = 10_000_000;
/// Shorter ones tell of a queue where that much stood in it at the rate of the step.
const QUEUE_BYTES: u64 = 32 << 10;
/// From so many on, where no probe ran beside the stream, and where one did that did not wait.
const SOME_NS: u64 = 1_000_000;
const SOME_BESIDE_NS: u64 = 5_000_000;

/// Whether a stream had to send much again, and nothing but a limit that throws away explains it.
pub fn is_thrown_away(doc: &ResultDoc, step: &Step) -> bool {
    let much = |repeats: &Repeats| repeats.again >= AGAIN_MIN && repeats.share() >= THROWN_SHARE;
    let Some(repeats) = Repeats::of(step).filter(much) else { return false };
    step.kind.traits().bulk
        && !is_looped(step)
        && !is_lost_by_hosts(step, repeats.again)
        && !was_in_vain(step)
        && !lost_at_once(step)
        && is_whole_when_idle(doc, step, repeats)
        && !was_behind_a_queue(doc, step)
}

fn is_looped(step: &Step) -> bool {
    let looped = |address: &Option<String>| {
        let address = address.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
        address.is_some_and(|address| address.ip().to_canonical().is_loopback())
    };
    !step.lanes.is_empty() && step.lanes.iter().all(|lane| looped(&lane.remote))
}

/// Whether the sending host's queue, or the receiving host's, was where they were lost.
fn is_lost_by_hosts(step: &Step, again: u64) -> bool {
    let thrown = receivers(step).iter().map(|node| thrown_away_by(step, *node));
    let backlogs = step.evidence.iter().filter_map(|one| one.softnet.as_ref()?.dropped);
    let received = thrown.chain(backlogs).fold(0, u64::saturating_add);
    dropped_at_home(step).saturating_mul(AT_HOME) >= again || received.saturating_mul(2) >= again
}

/// Whether most of it had arrived already.
fn was_in_vain(step: &Step) -> bool {
    let connections = step.own_lanes().flat_map(|lane| lane.connections());
    let (again, vain) = connections.fold((0u64, 0u64), |sum, connection| {
        let counts = &connection.counts;
        (
            sum.0.saturating_add(counts.retransmitted_segments.unwrap_or(0)),
            sum.1.saturating_add(counts.duplicates_reported.unwrap_or(0)),
        )
    });
    vain > 0 && vain.saturating_mul(2) >= again
}

/// Whether somebody looked what the path loses at a low pace, and it is nothing to speak of.
fn is_whole_when_idle(doc: &ResultDoc, step: &Step, repeats: Repeats) -> bool {
    paced_loss(doc, step.direction).is_some_and(|lost| {
        let (least, most) = lost.bounds();
        least <= IDLE_LOSS && most < repeats.share()
    })
}

/// Whether most of it was sent again by connections behind a standing queue. Where nobody knows of round trips, nobody can say that none stood.
fn was_behind_a_queue(doc: &ResultDoc, step: &Step) -> bool {
    let idle = idle_ns(doc, step);
    let beside = probe_added_ns(doc, step, idle);
    if beside.is_some_and(|added| added >= PROBE_NS) {
        return true;
    }
    let some_ns = if beside.is_some() { SOME_BESIDE_NS } else { SOME_NS };
    let rate = step.total(|part| part.goodput_bits_per_s).unwrap_or(0);
    let (mut all, mut behind) = (0u64, 0u64);
    let senders = step.own_lanes().filter(|lane| lane.role == LaneRole::Send);
    for counts in senders.flat_map(|lane| lane.connections()).map(|connection| &connection.counts) {
        let (Some(now), Some(least)) = (counts.rtt_ns, counts.rtt_min_ns) else { continue };
        // Connections that fill a queue from their first packet on have known no shorter ones.
        let added = now.saturating_sub(idle.map_or(least, |idle| idle.min(least)));
        let stood = u128::from(added) * u128::from(rate) / 8_000_000_000;
        let weight = counts.retransmitted_segments.unwrap_or(0).saturating_add(1);
        all = all.saturating_add(weight);
        if added >= LONG_NS || (added >= some_ns && stood >= u128::from(QUEUE_BYTES)) {
            behind = behind.saturating_add(weight);
        }
    }
    behind.saturating_mul(2) >= all
}

/// The median round trip of the idle path, over the same transport.
fn idle_ns(doc: &ResultDoc, step: &Step) -> Option<u64> {
    let asked = doc.steps.iter().filter(|other| {
        other.follows_up.is_none() && other.kind.traits().trips == Trips::Idle && other.over == step.over
    });
    let times = asked.filter_map(|other| other.summary.rtt_ns.filter(|times| times.count > 0));
    times.map(|times| times.p50).min()
}

/// What the streams of a direction added to the median round trip of the probes beside them: one that waited tells of a queue for all of them.
fn probe_added_ns(doc: &ResultDoc, step: &Step, idle: Option<u64>) -> Option<u64> {
    let idle = idle?;
    let any = matches!(step.direction, None | Some(Direction::Both));
    let alike = doc.steps.iter().filter(|other| {
        other.follows_up.is_none()
            && other.error.is_none()
            && other.kind.traits().bulk
            && other.over == step.over
            && (any || other.direction == step.direction)
    });
    let flows = alike.flat_map(|other| &other.flows);
    let probes = flows.filter(|flow| flow.beside && flow.class == Class::Probe);
    let medians = probes.filter_map(|flow| {
        let again = flow.summary.retransmits.unwrap_or(0);
        let times = flow.summary.rtt_ns.filter(|times| times.count >= ANSWERS_MIN)?;
        (again.saturating_mul(PROBE_AGAIN) < times.count).then_some(times.p50)
    });
    medians.max().map(|median| median.saturating_sub(idle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{ConnectionCounts, QueueActivity, QueueCounts};
    use crate::{
        Connection, Evidence, Flow, LaneResult, LatencySummary, LossCounts, LossFlow, LossPath, NodeId,
        StepKind, Summary, Tool,
    };

    const US: u64 = 1000;

    /// Lanes by their round trip and what they sent again, over a path whose least is 30 µs.
    fn lanes(each: &[(u64, u64)]) -> Vec<LaneResult> {
        let lane = |(rtt_us, again): &(u64, u64)| {
            let counts = ConnectionCounts {
                rtt_ns: Some(rtt_us * US),
                rtt_min_ns: Some(30 * US),
                retransmitted_segments: Some(*again),
                ..ConnectionCounts::still()
            };
            LaneResult {
                role: LaneRole::Send,
                send_segment_bytes: Some(1448),
                connection: Some(Connection { counts, ..Connection::default() }),
                ..LaneResult::default()
            }
        };
        each.iter().map(lane).collect()
    }

    fn times(p50: u64, count: u64) -> Option<LatencySummary> {
        Some(LatencySummary { count, p50, ..LatencySummary::default() })
    }

    /// A stream out of so many bytes and Mbit/s, and what the median of a probe beside it was.
    fn stream(again: u64, bytes: u64, mbit: u64, each: &[(u64, u64)], probe_us: Option<u64>) -> Step {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.direction = Some(Direction::Out);
        let summary = Summary {
            retransmits: Some(again),
            bytes: Some(bytes),
            goodput_bits_per_s: Some(mbit * 1_000_000),
            ..Summary::default()
        };
        let probe = |p50_us: u64| Flow {
            beside: true,
            class: Class::Probe,
            summary: Summary { rtt_ns: times(p50_us * US, 110), retransmits: Some(0), ..Summary::default() },
            ..Flow::default()
        };
        let own = Flow { summary, ..Flow::default() };
        step.with_flows(std::iter::once(own).chain(probe_us.map(probe)).collect());
        step.lanes = lanes(each);
        step
    }

    fn paced(sent: u64, lost: u64) -> Step {
        let small = LossCounts { sent, received: sent - lost, ..LossCounts::default() };
        let path = LossPath {
            local_nic: "a".into(),
            remote_nic: "b".into(),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            direction: Direction::Out,
            by_echo: false,
            small_ip_bytes: 88,
            full_ip_bytes: 1500,
            reason: None,
            flows: vec![LossFlow { port: 1, answered: true, small, ..LossFlow::default() }],
            marks: vec![],
            overflowed: 0,
            delay_variation_ns: None,
            first_router: None,
            last_router: None,
            questions_heard: None,
            changed: None,
            shares: None,
        };
        let mut step = Step::new(StepKind::Loss, "loss");
        step.detail.loss = Some(vec![path]);
        step
    }

    /// Of each stream beside the others, over a path whose idle round trip is 82 µs.
    fn thrown(streams: Vec<Step>, loss: Step) -> Vec<bool> {
        let mut idle = Step::new(StepKind::Pingpong, "ping-pong");
        idle.summary.rtt_ns = times(82 * US, 1000);
        let count = streams.len();
        let steps = streams.into_iter().chain([idle, loss]).collect();
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.steps[..count].iter().map(|step| is_thrown_away(&doc, step)).collect()
    }

    /// As counted where 60 Mbit/s are policed: the lanes show round trips of up to 3.2 ms, and the probe beside them none.
    fn policed() -> Step {
        let each = [(1795, 982), (3215, 427), (1464, 572), (846, 468)];
        stream(1988, 7_077_888, 51, &each, Some(233))
    }

    #[test]
    fn a_policer_is_known_although_lanes_show_some_milliseconds() {
        let alone = stream(195, 2_097_152, 15, &[(1200, 219)], None);
        assert_eq!(thrown(vec![alone, policed()], paced(1230, 0)), [true, true]);
        // As counted behind a shaper of 300 Mbit/s that has no part in it.
        let each = [(5258, 417), (4507, 265), (5118, 338), (313, 328)];
        assert_eq!(thrown(vec![stream(1064, 2_228_224, 16, &each, Some(135))], paced(1523, 0)), [true]);
        // Each connection by itself, at 100 Mbit/s.
        let each = [(1100, 4000); 4];
        assert_eq!(thrown(vec![stream(15_607, 227_000_000, 455, &each, Some(299))], paced(8270, 0)), [true]);
    }

    #[test]
    fn a_queue_that_a_stream_fills_is_none() {
        // As seen before a hop of 50 Mbit/s with 20 ms of queue, and one of 35 Mbit/s with 400 ms; no probe ran beside the third.
        let short = stream(401, 6_420_000, 46, &[(17_280, 50); 4], Some(17_322));
        let long = stream(1631, 4_719_000, 35, &[(399_800, 400); 4], Some(400_000));
        let alone = stream(1150, 4_840_000, 35, &[(368_560, 1150)], None);
        assert_eq!(thrown(vec![short], paced(2400, 0)), [false]);
        assert_eq!(thrown(vec![long], paced(2400, 0)), [false]);
        assert_eq!(thrown(vec![alone], paced(2400, 0)), [false]);
        // The probe of one stream tells of the queue of another, whose round trips were short when it ended.
        let drained = stream(500, 4_840_000, 35, &[(300, 500)], None);
        assert_eq!(thrown(vec![drained.clone()], paced(2400, 0)), [true]);
        let beside = stream(10, 4_840_000, 35, &[(15_000, 10); 4], Some(17_000));
        assert_eq!(thrown(vec![drained, beside], paced(2400, 0)), [false, false]);
        // Most of it by a lane behind a queue of its own, as with two pairs of which one is slow.
        let unlike = stream(600, 7_000_000, 200, &[(20_000, 560), (300, 40)], None);
        assert_eq!(thrown(vec![unlike], paced(2400, 0)), [false]);
    }

    #[test]
    fn a_probe_that_is_thrown_away_itself_measures_its_timers() {
        let each = [(850, 2300); 4];
        let mut step = stream(9393, 18_600_000, 135, &each, Some(22_600));
        step.flows[1].summary.retransmits = Some(40);
        assert_eq!(thrown(vec![step.clone()], paced(1500, 0)), [true]);
        step.flows[1].summary.retransmits = Some(1);
        assert_eq!(thrown(vec![step], paced(1500, 0)), [false]);
    }

    #[test]
    fn what_else_explains_it_is_no_policer() {
        // The path loses when it is idle, or nobody looked; a few per cent, as any queue makes them.
        assert_eq!(thrown(vec![policed()], paced(1230, 20)), [false]);
        assert_eq!(thrown(vec![policed()], Step::new(StepKind::Loss, "loss")), [false]);
        assert_eq!(thrown(vec![stream(200, 7_077_888, 51, &[(300, 200)], None)], paced(1230, 0)), [false]);
        // One in twenty was dropped at home: as counted behind an own shaper, which TCP asks over and over.
        let at_home = |drops| {
            let counts = QueueCounts { drops: Some(drops), ..QueueCounts::still() };
            let queues = Some(vec![QueueActivity { counts, ..QueueActivity::default() }]);
            let mut step = policed();
            step.evidence = vec![Evidence { node: NodeId::CLIENT, queues, ..Evidence::default() }];
            thrown(vec![step], paced(1230, 0))
        };
        assert_eq!((at_home(150), at_home(3)), (vec![false], vec![true]));
        let mut vain = policed();
        for lane in &mut vain.lanes {
            lane.connection.as_mut().unwrap().counts.duplicates_reported = Some(400);
        }
        assert_eq!(thrown(vec![vain], paced(1230, 0)), [false]);
        let mut looped = policed();
        looped.lanes.iter_mut().for_each(|lane| lane.remote = Some("127.0.0.1:7797".into()));
        assert_eq!(thrown(vec![looped], paced(1230, 0)), [false]);
        let mut unknown = policed();
        unknown.lanes.iter_mut().for_each(|lane| lane.connection = None);
        assert_eq!(thrown(vec![unknown], paced(1230, 0)), [false]);
    }
}
