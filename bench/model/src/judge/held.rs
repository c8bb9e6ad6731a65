//! Whether what held a stream lies between the hosts or at one of them, by what the kernel knows of its connections.

use crate::units::Nanoseconds;
use crate::{Connection, LaneResult, LaneRole, Step};

/// Whether every sender had data under way for nearly all of the window, and hardly waited for the receiver's window or for its own
/// buffer: what held it lies between the hosts. A sender that is kept from a processor lets the connection run dry, and a receiver
/// that is lets its window close.
pub fn held_by_network(step: &Step) -> bool {
    every_sender(step, |lane| {
        let mut connections = lane.connections().peekable();
        connections.peek().is_some() && connections.all(|one| connection_held(lane, one) == Some(true))
    })
}

/// The same of stripes, of which one connection tells it while the other ones wait for what that one has lost, and run dry. All of them must have
/// lost something: what one NIC alone loses is not held by what the NICs share.
pub fn stripe_held_by_network(step: &Step) -> bool {
    const LOST_SHARE: f64 = 0.001;
    let lost = |one: &Connection| {
        let (again, delivered) = (one.counts.retransmitted_segments, one.counts.delivered_segments);
        again.zip(delivered).is_some_and(|(again, all)| again > 0 && again as f64 >= all as f64 * LOST_SHARE)
    };
    every_sender(step, |lane| {
        lane.connections().any(|one| connection_held(lane, one) == Some(true)) && lane.connections().all(lost)
    })
}

fn every_sender(step: &Step, held: impl Fn(&LaneResult) -> bool) -> bool {
    let mut senders = step.lanes.iter().filter(|lane| lane.role == LaneRole::Send).peekable();
    senders.peek().is_some() && senders.all(held)
}

fn connection_held(lane: &LaneResult, connection: &Connection) -> Option<bool> {
    /// Of the window, in which something was under way.
    const BUSY_SHARE: f64 = 0.95;
    /// Of that, in which an end held it back.
    const HELD_SHARE: f64 = 0.05;
    let counts = &connection.counts;
    let busy = counts.busy_ns? as f64;
    let ends = (counts.receive_window_limited_ns?).saturating_add(counts.send_buffer_limited_ns?) as f64;
    Some(lane.window_ns > 0 && busy >= lane.window_ns as f64 * BUSY_SHARE && ends <= busy * HELD_SHARE)
}

/// What an end lets the connections of a stream have on the way, where that held most of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldByEnd {
    /// The receiver's window; otherwise the sender's buffer.
    pub by_window: bool,
    /// The least part of its time for which it held one of them.
    pub share: f64,
    /// Their least round trip, which each such window takes.
    pub round_trip_ns: u64,
}

impl HeldByEnd {
    /// In words, for a verdict and a finding.
    pub fn words(&self) -> String {
        let what = if self.by_window {
            "the receive window of the other end"
        } else {
            "room in the send buffer of their own end"
        };
        format!(
            "its connections waited for {what} for {:.0} % of their time and more, and a round trip takes {}: that holds them, and not the path",
            self.share * 100.0,
            Nanoseconds(self.round_trip_ns)
        )
    }
}

/// Whether an end held most of a stream's connections back by what it lets them have on the way.
pub fn held_by_end(step: &Step) -> Option<HeldByEnd> {
    /// Held for less than this part of its time, a connection is not limited by it.
    const HELD_SHARE: f64 = 0.2;
    /// On a shorter path a window is no limit, and a receiver that is woken late looks like one.
    const TRIP_NS: u64 = 1_000_000;
    let senders = step.own_lanes().filter(|lane| lane.role == LaneRole::Send);
    let all: Vec<_> = senders.flat_map(|lane| lane.connections()).collect();
    let held = all.iter().filter_map(|connection| {
        let counts = &connection.counts;
        let busy = counts.busy_ns.filter(|busy| *busy > 0)? as f64;
        let part = |ns: Option<u64>| ns.unwrap_or(0) as f64 / busy;
        let window = part(counts.receive_window_limited_ns);
        let share = window.max(part(counts.send_buffer_limited_ns));
        let round_trip_ns = counts.rtt_min_ns.filter(|trip| *trip >= TRIP_NS)?;
        (share >= HELD_SHARE).then_some(HeldByEnd { by_window: window >= share, share, round_trip_ns })
    });
    let held: Vec<HeldByEnd> = held.collect();
    let windows = held.iter().filter(|one| one.by_window).count();
    let first = *held.first()?;
    (held.len() * 2 > all.len()).then(|| HeldByEnd {
        by_window: windows * 2 >= held.len(),
        share: held.iter().map(|one| one.share).fold(first.share, f64::min),
        round_trip_ns: held.iter().map(|one| one.round_trip_ns).fold(first.round_trip_ns, u64::min),
    })
}

#[cfg(test)]
mod tests {
    use super::super::nics_together;
    use super::held_by_end;
    use crate::evidence::{ConnectionCounts, QueueActivity, QueueCounts};
    use crate::{
        AloneNic, AloneSum, Connection, Criteria, Direction, End, Evidence, FollowUp, LaneResult, LaneRole,
        Outcome, PathRecord, ResultDoc, Step, StepKind, StepSpec, StripeRecord, Subject, Summary, Tool,
        TrafficSpec, Waited, judge,
    };

    /// Two NICs that carry 94 Mbit/s each by themselves, on hosts that stood in line for a quarter of the time.
    fn judged(together_mbit: u64, again: u64, busy_ms: u64, dropped_at_home: u64) -> Outcome {
        let counts = ConnectionCounts { busy_ns: Some(busy_ms * 1_000_000), ..ConnectionCounts::still() };
        let lane = LaneResult {
            end: End::Client,
            role: LaneRole::Send,
            window_ns: 4_000_000_000,
            scheduled: Some(Waited { waited_ns: 1_150_000_000, of_ns: 4_590_000_000 }),
            connection: Some(Connection { counts, ..Connection::default() }),
            send_segment_bytes: Some(1448),
            ..LaneResult::default()
        };
        let alone = |nic: &str| AloneNic { nic: nic.into(), goodput_bits_per_s: Some(94_000_000) };
        let mut step = Step::new(StepKind::Stream, "multi stream out");
        step.direction = Some(Direction::Out);
        step.lanes = vec![lane];
        step.summary = Summary {
            goodput_bits_per_s: Some(together_mbit * 1_000_000),
            bytes: Some(together_mbit * 500_000),
            retransmits: Some(again),
            ..Summary::default()
        };
        step.detail.alone = Some(AloneSum {
            each: vec![alone("n0"), alone("n1")],
            sum_bits_per_s: Some(188_000_000),
            share_of_sum: Some(together_mbit as f64 / 188.0),
            ..AloneSum::default()
        });
        let counts = QueueCounts { drops: Some(dropped_at_home), ..QueueCounts::still() };
        let queue =
            QueueActivity { nic: "n0".into(), kind: "tbf".into(), counts, ..QueueActivity::default() };
        step.evidence = vec![Evidence { queues: Some(vec![queue]), ..Evidence::default() }];
        nics_together(&step, 0.85).unwrap().outcome
    }

    #[test]
    fn of_a_stripe_one_connection_that_was_held_tells_it_and_what_nothing_explains_is_no_pass() {
        // As counted behind two switches with one uplink: the second connection waited for what the first had lost.
        let path = |(busy_ms, again): (u64, u64)| {
            let counts = ConnectionCounts {
                busy_ns: Some(busy_ms * 1_000_000),
                retransmitted_segments: Some(again),
                delivered_segments: Some(1400),
                ..ConnectionCounts::still()
            };
            let connection = Some(Connection { counts, ..Connection::default() });
            PathRecord { connection, ..PathRecord::default() }
        };
        let judged = |busy_ms: [(u64, u64); 2], again| {
            let lane = LaneResult {
                role: LaneRole::Send,
                window_ns: 400_000_000,
                stripe: Some(StripeRecord { paths: busy_ms.map(path).into(), ..StripeRecord::default() }),
                send_segment_bytes: Some(1448),
                ..LaneResult::default()
            };
            let alone = |nic: &str| AloneNic { nic: nic.into(), goodput_bits_per_s: Some(183_500_800) };
            let mut step = Step::new(StepKind::Stream, "multi stream both ways");
            step.follows_up = Some(FollowUp::Alone);
            step.direction = Some(Direction::Both);
            step.lanes = vec![lane];
            step.summary = Summary {
                goodput_bits_per_s: Some(128_500_000),
                bytes: Some(6_422_528),
                retransmits: Some(again),
                ..Summary::default()
            };
            step.detail.alone = Some(AloneSum {
                each: vec![alone("n0"), alone("n1")],
                sum_bits_per_s: Some(367_001_600),
                share_of_sum: Some(0.35),
                ..AloneSum::default()
            });
            let queue =
                QueueActivity { nic: "n0".into(), counts: QueueCounts::still(), ..QueueActivity::default() };
            step.evidence = vec![Evidence { queues: Some(vec![queue]), ..Evidence::default() }];
            nics_together(&step, 0.8).unwrap().outcome
        };
        assert_eq!(judged([(612, 281), (352, 318)], 484), Outcome::Fail);
        assert_eq!(judged([(312, 281), (352, 318)], 484), Outcome::Inconclusive);
        assert_eq!(judged([(612, 281), (352, 318)], 0), Outcome::Inconclusive);
        // A policer behind one of the two.
        assert_eq!(judged([(612, 281), (352, 0)], 484), Outcome::Inconclusive);
    }

    #[test]
    fn nics_that_meet_one_link_are_told_from_hosts_that_are_busy() {
        // As counted behind two switches with one uplink, on a busy machine.
        assert_eq!(judged(95, 205, 4550, 0), Outcome::Fail);
        // More than one of them carries; nothing overflowed; the sender ran dry; its own queue overflowed.
        assert_eq!(judged(137, 205, 4550, 0), Outcome::Inconclusive);
        assert_eq!(judged(95, 2, 4550, 0), Outcome::Inconclusive);
        assert_eq!(judged(95, 205, 3000, 0), Outcome::Inconclusive);
        assert_eq!(judged(95, 205, 4550, 180), Outcome::Inconclusive);
    }

    /// A lane that waited for so long for the peer's window, and for its own buffer.
    fn lane(window_ms: u64, buffer_ms: u64, trip_us: u64) -> LaneResult {
        let counts = ConnectionCounts {
            busy_ns: Some(1_472_000_000),
            rtt_min_ns: Some(trip_us * 1000),
            receive_window_limited_ns: Some(window_ms * 1_000_000),
            send_buffer_limited_ns: Some(buffer_ms * 1_000_000),
            ..ConnectionCounts::still()
        };
        let connection = Some(Connection { counts, ..Connection::default() });
        LaneResult { role: LaneRole::Send, connection, ..LaneResult::default() }
    }

    #[test]
    fn an_end_that_holds_most_connections_back_is_told_from_the_path() {
        // As counted over a path of 20 ms whose receiver takes 80 512 bytes: four lanes of 32 Mbit/s.
        let held = |lanes: Vec<LaneResult>| {
            held_by_end(&Step { lanes, ..Step::new(StepKind::Stream, "tcp stream out") })
        };
        let window = held(vec![lane(476, 0, 20_032); 4]).unwrap();
        assert!(window.by_window && window.words().contains("the receive window"), "{}", window.words());
        assert!(window.words().contains("for 32 % of their time"), "{}", window.words());
        assert!(!held(vec![lane(0, 1000, 20_032)]).unwrap().by_window);
        // Hardly, over a path that is short, half of them, and none at all.
        assert_eq!(held(vec![lane(52, 0, 20_032); 4]), None);
        assert_eq!(held(vec![lane(476, 0, 90); 4]), None);
        assert_eq!(held(vec![lane(476, 0, 20_032), lane(0, 0, 20_032)]), None);
        assert_eq!(held(vec![]), None);
    }

    #[test]
    fn the_verdict_about_symmetry_names_the_end_that_holds_the_slower_way() {
        let way = |direction, mbit: u64, lane: LaneResult| {
            let mut step = Step::new(StepKind::Stream, "tcp stream");
            (step.over, step.direction) = (Some("tcp".into()), Some(direction));
            step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
            step.summary.goodput_bits_per_s = Some(mbit * 1_000_000);
            step.lanes = vec![lane];
            step
        };
        let said = |window_ms| {
            let slow = way(Direction::Out, 128, lane(window_ms, 0, 20_032));
            let steps = vec![slow, way(Direction::In, 2280, lane(0, 0, 20_032))];
            let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            let verdicts = judge(&doc, &Criteria::default());
            let symmetry = |verdict: &&crate::Verdict| verdict.subject == Subject::from("symmetry/tcp");
            verdicts.iter().find(symmetry).unwrap().reason.clone()
        };
        assert!(
            said(476).contains("waited for the receive window of the other end for 32 %"),
            "{}",
            said(476)
        );
        assert!(said(0).ends_with("(limit 4)"), "{}", said(0));
    }
}
