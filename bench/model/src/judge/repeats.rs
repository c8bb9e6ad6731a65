//! Whether segments that TCP sent again are the path's loss, or only a queue that was filled by the load of the step itself. At full rate
//! TCP makes every queue overflow; datagrams at a low pace tell what the path loses in any case.

mod thrown;

pub use thrown::{THROWN_SHARE, is_thrown_away};

use crate::evidence::ConnectionCounts;
use crate::{Direction, LaneRole, NodeId, ResultDoc, Share, Step, Trips};

/// Segments of a step that were sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeats {
    /// Sent again.
    pub again: u64,
    /// All that were sent, those included.
    pub sent: u64,
}

impl Repeats {
    /// Of a step; `None` where nobody counts segments.
    pub fn of(step: &Step) -> Option<Repeats> {
        let again = step.total(|flow| flow.retransmits)?;
        let bytes = step.total(|flow| flow.bytes)?;
        let segment = step.lanes.iter().filter_map(|lane| lane.send_segment_bytes).max()?.max(1);
        // Those that brought the bytes, and those that were sent again for nothing.
        Some(Repeats { again, sent: (bytes / segment).saturating_add(again) })
    }

    /// As a part of all.
    pub fn share(self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.again as f64 / self.sent as f64 }
    }
}

/// What became of paced datagrams in a direction, over all pairs of NICs that answered; `None` where none did.
pub fn paced_loss(doc: &ResultDoc, direction: Option<Direction>) -> Option<Share> {
    let wanted = |of: Direction| matches!(direction, None | Some(Direction::Both)) || direction == Some(of);
    let paths = doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    // An echo goes both ways: what is not lost there and back is lost in neither direction.
    let asked = paths.filter(|path| path.by_echo || wanted(path.direction));
    let spoke = asked.filter(|path| path.reason.is_none() && !path.is_silent());
    let shares = spoke.map(|path| {
        let live = path.flows.iter().filter(|flow| !flow.is_dead());
        let lost = live.map(|flow| {
            flow.small.lost() + if flow.lacks_full_size() { Share::default() } else { flow.full.lost() }
        });
        let lost = lost.fold(Share::default(), |sum, one| sum + one);
        Share { part: lost.part.saturating_sub(path.overflowed), of: lost.of }
    });
    shares.reduce(|sum, one| sum + one).filter(|share| share.of > 0)
}

/// Segments that `sender` lost of a step's connections, of those that arrived or were lost: sent again, not in vain (a duplicate was
/// reported), not dropped by its own queue, and not thrown away by the host that they reached.
pub fn lost_segments(step: &Step, sender: NodeId) -> Share {
    let own = step.lanes.iter().filter(|lane| lane.end.node() == sender);
    let counts: Vec<&ConnectionCounts> =
        own.filter_map(|lane| lane.connection.as_ref()).map(|connection| &connection.counts).collect();
    let sum = |of: fn(&ConnectionCounts) -> Option<u64>| {
        counts.iter().filter_map(|one| of(one)).fold(0, u64::saturating_add)
    };
    let receiver = if sender == NodeId::CLIENT { NodeId::SERVER } else { NodeId::CLIENT };
    let at_hosts = dropped_by(step, sender).saturating_add(thrown_away_by(step, receiver));
    let vain = sum(|c| c.duplicates_reported).saturating_add(at_hosts);
    let lost = sum(|c| c.retransmitted_segments).saturating_sub(vain);
    Share { part: lost, of: sum(|c| c.delivered_segments).saturating_add(lost) }
}

/// The same of questions that are asked one at a time, which fill no queue.
pub fn lost_questions(doc: &ResultDoc, way: Direction) -> Share {
    let sender = if way == Direction::Out { NodeId::CLIENT } else { NodeId::SERVER };
    let planned = doc.steps.iter().filter(|step| step.follows_up.is_none());
    let steps = planned.filter(|step| step.kind.traits().trips == Trips::Idle);
    steps.fold(Share::default(), |sum, step| sum + lost_segments(step, sender))
}

/// Whether so many of those are lost that the path loses TCP's segments whatever the load. Each loss costs a fifth of a second of the
/// step, in which nothing else is asked: a share says little of how many it is, and one or two may have met something else.
pub fn loses_questions(lost: Share) -> bool {
    const SEVERAL: u64 = 3;
    const UNFIT: f64 = 0.001;
    lost.part >= SEVERAL && lost.bounds().0 >= UNFIT
}

/// Whether more of them are lost than the one in ten thousand that a path may lose, and perhaps not so many that it is unfit.
pub fn loses_some_questions(lost: Share) -> bool {
    const SEVERAL: u64 = 5;
    const NOTED: f64 = 0.0003;
    lost.part >= SEVERAL && lost.bounds().0 >= NOTED
}

/// Packets that the queueing disciplines of one host dropped meanwhile.
pub fn dropped_by(step: &Step, node: NodeId) -> u64 {
    let queues = step.evidence(node).and_then(|evidence| evidence.queues.as_ref());
    queues.into_iter().flatten().map(|queue| queue.counts.drops.unwrap_or(0)).fold(0, u64::saturating_add)
}

/// Segments of TCP that arrived at a host meanwhile, and that it threw away because a receive queue was full.
pub fn thrown_away_by(step: &Step, node: NodeId) -> u64 {
    let tcp = step.evidence(node).and_then(|evidence| evidence.tcp.as_ref());
    tcp.and_then(|tcp| tcp.receive_queue_drops).unwrap_or(0)
}

/// Packets that the queueing disciplines of the sending hosts dropped meanwhile.
pub fn dropped_at_home(step: &Step) -> u64 {
    let senders: &[NodeId] = match step.direction {
        Some(Direction::Out) => &[NodeId::CLIENT],
        Some(Direction::In) => &[NodeId::SERVER],
        Some(Direction::Both) | None => &[NodeId::CLIENT, NodeId::SERVER],
    };
    senders.iter().map(|node| dropped_by(step, *node)).fold(0, u64::saturating_add)
}

/// The hosts that a step's payload reaches.
fn receivers(step: &Step) -> &'static [NodeId] {
    match step.direction {
        Some(Direction::Out) => &[NodeId::SERVER],
        Some(Direction::In) => &[NodeId::CLIENT],
        Some(Direction::Both) | None => &[NodeId::CLIENT, NodeId::SERVER],
    }
}

/// Whether a queue stood on the way of a step's lanes: their round trips were much longer than the shortest.
pub fn queue_stood(step: &Step) -> bool {
    /// Less than this a busy host adds as well.
    const ADDED_NS: u64 = 1_000_000;
    let sending = step.lanes.iter().filter(|lane| lane.role == LaneRole::Send);
    sending.filter_map(|lane| lane.connection.as_ref()).any(|connection| {
        let counts = &connection.counts;
        let (Some(now), Some(least)) = (counts.rtt_ns, counts.rtt_min_ns) else { return false };
        least > 0 && now >= least.saturating_mul(2).max(least.saturating_add(ADDED_NS))
    })
}

/// Whether nearly all segments that a flow sent again follow one silence of all its lanes: something took everything for a while. A full queue
/// goes on delivering, and datagrams at a low pace for a second or two meet such a gap only by chance, so they do not speak against it.
pub fn lost_at_once(step: &Step) -> bool {
    // Threads that were not let on a processor hear nothing either, and what is behind them overflows.
    lost_in_a_gap(step).is_some_and(|gap_ns| !super::busy::could_explain_gap(step, gap_ns))
}

/// How long that silence was, whoever made it.
pub fn lost_in_a_gap(step: &Step) -> Option<u64> {
    /// Longer slices show no gap.
    const WIDTH_NS_MAX: u64 = 250_000_000;
    /// Fewer can be one full queue, or the timer of a single lane.
    const AGAIN_MIN: u64 = 20;
    /// They go out when their timers run out, and in the round trips after that.
    const AFTER: usize = 2;
    let gap_ns = |carried: &[Option<u64>], again: &[Option<u64>], width_ns: u64| -> Option<u64> {
        let all = again.iter().flatten().fold(0u64, |sum, one| sum.saturating_add(*one));
        if again.len() != carried.len() || all < AGAIN_MIN {
            return None;
        }
        let is_silent = |at: usize| carried[at] == Some(0);
        let first = (1..carried.len()).find(|at| is_silent(*at) && carried[at - 1] > Some(0))?;
        let past = (first..carried.len()).find(|at| !is_silent(*at))?;
        let near: u64 = again[first - 1..(past + AFTER).min(again.len())].iter().flatten().sum();
        (near.saturating_mul(5) >= all.saturating_mul(4)).then(|| width_ns * (past - first) as u64)
    };
    let inward =
        step.series.iter().filter(|one| one.role == LaneRole::Receive && one.width_ns <= WIDTH_NS_MAX);
    let gaps = inward.filter_map(|inward| {
        let sender =
            step.series.iter().find(|other| other.flow == inward.flow && other.role == LaneRole::Send)?;
        gap_ns(&inward.received_bytes, &sender.retransmits, inward.width_ns)
    });
    // What threads waited explains the shortest of them first.
    gaps.max()
}

/// Why the segments that a step sent again say nothing about the path, where that is known.
pub fn excused(doc: &ResultDoc, step: &Step) -> Option<String> {
    let repeats = Repeats::of(step).filter(|repeats| repeats.again > 0)?;
    let own = dropped_at_home(step);
    if own >= repeats.again.div_ceil(2) {
        return Some(format!("the queue of the sending host itself dropped {own} packets meanwhile"));
    }
    let thrown = receivers(step).iter().map(|node| thrown_away_by(step, *node)).fold(0, u64::saturating_add);
    if thrown >= repeats.again.div_ceil(2) {
        return Some(format!(
            "the receiving host threw {thrown} segments away meanwhile because a receive queue was full"
        ));
    }
    let ways = [Direction::Out, Direction::In].into_iter();
    let mut own_ways = ways.filter(|way| [None, Some(Direction::Both), Some(*way)].contains(&step.direction));
    if lost_at_once(step) || own_ways.any(|way| loses_questions(lost_questions(doc, way))) {
        return None;
    }
    let lost = paced_loss(doc, step.direction)?;
    // No queue makes that: what is above a limit is thrown away, and such a path is not fit.
    if is_thrown_away(doc, step) {
        return None;
    }
    let (_, most) = lost.bounds();
    let idle = format!("of {} datagrams at a low pace {} were lost", lost.of, lost.part);
    if most < repeats.share() {
        return Some(format!("{idle}, so what is lost at full rate is lost to a full queue or a limit"));
    }
    (lost.part == 0 && queue_stood(step))
        .then(|| format!("{idle}, and a queue stood on the way at full rate"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{QueueActivity, QueueCounts, TcpCounts};
    use crate::{Connection, Evidence, LaneResult, LossCounts, LossFlow, LossPath, Series, StepKind, Tool};

    /// A stream out that sent `again` of 10 000 segments again.
    fn stream(again: u64) -> Step {
        let mut step = Step::new(StepKind::Stream, "s");
        step.direction = Some(Direction::Out);
        (step.summary.retransmits, step.summary.bytes) = (Some(again), Some((10_000 - again) * 1000));
        let counts = ConnectionCounts {
            rtt_ns: Some(200_000),
            rtt_min_ns: Some(150_000),
            ..ConnectionCounts::still()
        };
        let connection = Some(Connection { counts, ..Connection::default() });
        let lane = LaneResult {
            role: LaneRole::Send,
            send_segment_bytes: Some(1000),
            connection,
            ..LaneResult::default()
        };
        step.lanes = vec![lane];
        step
    }

    /// As a path that took everything for 100 ms every 2 s showed it: four lanes in, slices of 100 ms.
    fn gap(carried: [u64; 11], again: [u64; 11], waited_ms: u64) -> Step {
        let column = |values: [u64; 11]| values.map(Some).to_vec();
        let one = |role| Series { role, width_ns: 100_000_000, end_ns: 1_100_000_000, ..Series::default() };
        let mut step = stream(911);
        step.series = vec![
            Series { received_bytes: column(carried), ..one(LaneRole::Receive) },
            Series { retransmits: column(again), ..one(LaneRole::Send) },
        ];
        step.lanes[0].scheduled =
            Some(crate::Waited { waited_ns: waited_ms * 1_000_000, of_ns: 1_100_000_000 });
        step.lanes[0].connection.as_mut().unwrap().counts.rtt_ns = Some(20_000_000);
        step
    }

    #[test]
    fn what_was_lost_in_one_gap_is_not_excused_by_datagrams_that_did_not_meet_it() {
        let sample = || paced(Direction::Out, 3900, 0);
        let carried = [14, 47, 36, 15, 0, 0, 6, 32, 38, 31, 31];
        let after = [0, 0, 0, 0, 0, 0, 457, 454, 0, 0, 0];
        assert_eq!(told(&gap(carried, after, 5), Some(sample())), None);
        // A full queue drops here and there, and never stops.
        let flowing = [14, 47, 36, 15, 9, 9, 6, 32, 38, 31, 31];
        assert!(told(&gap(flowing, after, 5), Some(sample())).is_some());
        let spread = [100, 0, 200, 0, 50, 60, 70, 100, 0, 231, 100];
        assert!(told(&gap(carried, spread, 5), Some(sample())).is_some());
        // Threads that stood in line for as long.
        assert!(told(&gap(carried, after, 150), Some(sample())).is_some());
        // It never went on: that is a path that died, and another rule's.
        let dead = [14, 47, 36, 15, 0, 0, 0, 0, 0, 0, 0];
        assert!(told(&gap(dead, after, 5), Some(sample())).is_some());
    }

    #[test]
    fn questions_that_are_lost_at_the_limit_are_some_and_those_far_above_it_are_unfit() {
        let of = |part, of| {
            let lost = Share { part, of };
            (loses_some_questions(lost), loses_questions(lost))
        };
        // What three seconds show of one in a thousand, of one in a hundred, and of one in ten thousand.
        assert_eq!(of(12, 12_000), (true, false));
        assert_eq!(of(14, 1400), (true, true));
        assert_eq!(of(3, 30_000), (false, false));
        assert_eq!(of(4, 4000), (false, false), "a few may have met something else");
    }

    fn paced(direction: Direction, sent: u64, lost: u64) -> Step {
        let small = LossCounts { sent, received: sent - lost, ..LossCounts::default() };
        let path = LossPath {
            local_nic: "a".into(),
            remote_nic: "b".into(),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            direction,
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

    fn told(stream: &Step, loss: Option<Step>) -> Option<String> {
        let steps = std::iter::once(stream.clone()).chain(loss).collect();
        excused(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }, stream)
    }

    #[test]
    fn what_an_idle_path_does_not_lose_is_lost_to_a_full_queue() {
        assert!(told(&stream(400), Some(paced(Direction::Out, 2000, 0))).is_some());
        // Nobody looked, or only the other way.
        assert_eq!(told(&stream(400), None), None);
        assert_eq!(told(&stream(400), Some(paced(Direction::In, 2000, 0))), None);
        // The path loses as much when it is idle.
        assert_eq!(told(&stream(100), Some(paced(Direction::Out, 2000, 20))), None);
    }

    #[test]
    fn much_that_is_sent_again_without_a_queue_is_not_excused_by_datagrams_below_the_limit() {
        // One in ten, and in twenty-five: as much the queue of a healthy hop drops.
        assert_eq!(told(&stream(1000), Some(paced(Direction::Out, 2000, 0))), None);
        assert!(told(&stream(400), Some(paced(Direction::Out, 2000, 0))).is_some());
        let mut queued = stream(1000);
        queued.lanes[0].connection.as_mut().unwrap().counts.rtt_ns = Some(20_000_000);
        assert!(told(&queued, Some(paced(Direction::Out, 2000, 0))).is_some());
    }

    /// One question at a time: so many of its segments were sent again, and so many of those in vain.
    fn asked(again: u64, in_vain: u64, delivered: u64) -> Step {
        let counts = ConnectionCounts {
            retransmitted_segments: Some(again),
            duplicates_reported: Some(in_vain),
            delivered_segments: Some(delivered),
            ..ConnectionCounts::still()
        };
        let connection = Some(Connection { counts, ..Connection::default() });
        Step {
            lanes: vec![LaneResult { role: LaneRole::Both, connection, ..LaneResult::default() }],
            ..Step::new(StepKind::Pingpong, "ping-pong")
        }
    }

    #[test]
    fn what_tcp_loses_of_one_question_at_a_time_is_no_full_queues() {
        let told = |asked: Step| {
            let (stream, sample) = (stream(50), paced(Direction::Out, 3900, 0));
            let steps = vec![asked, stream.clone(), sample];
            excused(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }, &stream)
        };
        // As a path showed it that loses one in two hundred segments of TCP and no datagram.
        assert_eq!(told(asked(4, 0, 152)), None);
        assert!(told(asked(2, 0, 152)).is_some(), "one or two may have met something else");
        assert!(told(asked(4, 2, 152)).is_some(), "what had arrived was not lost");
        assert!(told(asked(3, 0, 9000)).is_some(), "less than a thousandth");
        assert!(told(asked(0, 0, 8000)).is_some());
        let mut full = asked(u64::MAX, 0, u64::MAX);
        full.lanes.push(full.lanes[0].clone());
        assert!(told(full).is_none(), "whatever a peer says adds up");
    }

    #[test]
    fn a_share_of_segments_never_exceeds_the_whole() {
        // A stalled stream: one segment arrived, and 22 were sent again.
        let mut stalled = stream(22);
        stalled.summary.bytes = Some(1000);
        let repeats = Repeats::of(&stalled).unwrap();
        assert_eq!(repeats, Repeats { again: 22, sent: 23 });
        assert!(repeats.share() < 1.0);
    }

    #[test]
    fn a_sample_that_is_too_small_to_tell_needs_a_queue_beside_it() {
        let mut few = stream(10);
        assert_eq!(told(&few, Some(paced(Direction::Out, 2000, 0))), None);
        few.lanes[0].connection.as_mut().unwrap().counts.rtt_ns = Some(20_000_000);
        assert!(told(&few, Some(paced(Direction::Out, 2000, 0))).unwrap().contains("a queue stood"));
        assert_eq!(told(&few, Some(paced(Direction::Out, 2000, 2))), None);
    }

    #[test]
    fn what_the_sending_host_dropped_itself_is_not_the_paths() {
        let mut own = stream(400);
        let counts = QueueCounts { drops: Some(200), ..QueueCounts::still() };
        let queues = |node| Evidence {
            node,
            queues: Some(vec![QueueActivity { counts: counts.clone(), ..QueueActivity::default() }]),
            ..Evidence::default()
        };
        own.evidence = vec![queues(NodeId::SERVER)];
        assert_eq!(told(&own, None), None);
        own.evidence = vec![queues(NodeId::CLIENT)];
        assert!(told(&own, None).unwrap().contains("dropped 200"));
    }

    #[test]
    fn what_the_receiving_host_threw_away_is_not_the_paths() {
        let thrown = |node, segments| {
            let tcp = TcpCounts { receive_queue_drops: Some(segments), ..TcpCounts::still() };
            let mut step = stream(400);
            step.evidence = vec![Evidence { node, tcp: Some(tcp), ..Evidence::default() }];
            step
        };
        assert!(told(&thrown(NodeId::SERVER, 200), None).unwrap().contains("threw 200 segments away"));
        assert_eq!(told(&thrown(NodeId::SERVER, 199), None), None);
        assert_eq!(told(&thrown(NodeId::CLIENT, 200), None), None, "it only sent");
        let mut counted = thrown(NodeId::SERVER, 300);
        counted.lanes[0].connection.as_mut().unwrap().counts.retransmitted_segments = Some(400);
        assert_eq!(lost_segments(&counted, NodeId::CLIENT).part, 100);
    }
}
