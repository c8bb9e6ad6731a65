//! Programs that stand still while the kernels of their hosts go on answering: a process that is stopped, stunned or held, and no path.
//!
//! What tells them apart is the retransmission timer. A path that holds everything back for longer than that makes it run out, because nothing that
//! is under way is answered; a kernel answers whatever its programs do. Refuses to say so where a timer ran out, where nobody knows, and where the
//! threads stood in line for a processor: then the host is busy, and that has rules of its own.

use pathproof_model::code;
use pathproof_model::judge::repeats::paced_loss;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Direction, Finding, LaneResult, LaneRole, NodeId, ResultDoc, Step};

use super::{FAR_NS, LOST_SHARE, Rule, planned, round_trips, stolen_ns, whose};

/// Two of the shortest retransmission timers, and more than any turn of a busy host.
const SILENCE_NS: u64 = 400_000_000;
/// In such a silence so many messages of each connection come in at its own mean rate: then none is no chance.
const MESSAGES: f64 = 4.0;
/// A full segment of an MTU of 1500, with time stamps.
const SEGMENT_BYTES: u64 = 1448;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("HOST-STOPS")], find: |doc| stops(doc).into_iter().collect() }];

/// The longest time for which a program stood still: one of which it is known whose, where there is one.
pub(super) fn stops(doc: &ResultDoc) -> Option<Finding> {
    // On a long path a few round trips of connections that still grow look like that.
    if round_trips(doc).is_some_and(|(_, rtt)| rtt.min >= FAR_NS * 4) {
        return None;
    }
    let stood = planned(doc).filter_map(|step| Some((step, Stop::of(doc, step)?)));
    let (step, stop) = stood.max_by_key(|(_, stop)| (stop.whose.is_some(), stop.silence_ns))?;
    let answered = stop.timer_ns.map_or_else(String::new, |timer_ns| {
        let timer = Nanoseconds(timer_ns);
        format!(
            ", and no retransmission timer ran out meanwhile ({timer} and less): what was under way arrived, and the kernels answered"
        )
    });
    let said = format!(
        "{}: nothing came in over any connection for {}{answered}; {}",
        step.name,
        Nanoseconds(stop.silence_ns),
        stop.words()
    );
    let finding = Finding::new("HOST-STOPS", said).with("silence_ns", stop.silence_ns);
    Some(match stop.whose {
        Some((node, _)) => finding.tell(told::NODE, node),
        None => finding,
    })
}

/// A time in which a program stood still.
struct Stop {
    silence_ns: u64,
    /// The longest retransmission timer of its connections, where none ran out meanwhile.
    timer_ns: Option<u64>,
    /// Whose program it was, as far as its kernel shows it.
    whose: Option<(NodeId, Shown)>,
}

/// How a kernel shows that its program stands still, and for how long.
#[derive(Clone, Copy)]
enum Shown {
    /// Its connections had nothing to send.
    Idle(u64),
    /// Its window was closed, because nobody read.
    Unread(u64),
}

impl Stop {
    /// Of a stream of plain connections, all of which were silent for long.
    fn of(doc: &ResultDoc, step: &Step) -> Option<Stop> {
        let spec = step.spec.as_ref()?.traffic()?;
        let counts = step.kind.traits().bulk && step.detail.failover.is_none() && step.error.is_none();
        let way = step.direction?;
        let (sender, receiver) = match way {
            Direction::Out => (NodeId::CLIENT, NodeId::SERVER),
            Direction::In => (NodeId::SERVER, NodeId::CLIENT),
            Direction::Both => return None,
        };
        let lossy = paced_loss(doc, Some(way)).is_some_and(|lost| lost.bounds().0 > LOST_SHARE);
        // What is lost keeps what came after it from the program, too.
        let again = step.total(|flow| flow.retransmits)?.saturating_mul(SEGMENT_BYTES);
        if !spec.is_free() || !counts || lossy || again.saturating_mul(10) >= step.total(|flow| flow.bytes)? {
            return None;
        }
        let of = |role: LaneRole| step.own_lanes().filter(move |lane| lane.role == role);
        let silences: Option<Vec<u64>> = of(LaneRole::Receive).map(|lane| lane.longest_silence_ns).collect();
        let silence_ns = silences?.into_iter().min()?;
        // A receiver counts whole messages: where few come in such a time, none is no silence.
        let expected =
            |lane: &LaneResult| lane.bytes as f64 * silence_ns as f64 / lane.window_ns.max(1) as f64;
        let seldom = |lane: &LaneResult| expected(lane) < spec.size_bytes as f64 * MESSAGES;
        if of(LaneRole::Receive).any(seldom) {
            return None;
        }
        let timer_ns = timer_that_held(step, silence_ns);
        // Who waited for a processor, or was kept from one, for half of it may have been silent by that.
        let waited = |lane: &LaneResult| lane.scheduled.is_none_or(|line| line.waited_ns >= silence_ns / 2);
        if step.own_lanes().any(waited) || stolen_ns(step).max(throttled_ns(step)) >= silence_ns / 2 {
            return None;
        }
        let idle_ns = |lane: &LaneResult| {
            let busy_ns = lane.connection.as_ref()?.counts.busy_ns?;
            Some(lane.scheduled?.of_ns.saturating_sub(busy_ns))
        };
        let unread_ns = |lane: &LaneResult| lane.connection.as_ref()?.counts.receive_window_limited_ns;
        let idle: Option<Vec<u64>> = of(LaneRole::Send).map(idle_ns).collect();
        let idle = idle.and_then(|all| all.into_iter().min()).filter(|ns| *ns >= silence_ns / 2);
        let unread = of(LaneRole::Send).filter_map(unread_ns).max().filter(|ns| *ns >= silence_ns / 4);
        let of_receiver = || unread.map(|ns| (receiver, Shown::Unread(ns)));
        let whose = idle.map(|ns| (sender, Shown::Idle(ns))).or_else(of_receiver);
        // Beside a queue that overflows, timers run out for other reasons. A path empties no sender and closes no window, so what connections show of
        // that is enough by itself: of half of them, because what is lost under way fills no window. One that is small is not closed, but holds its
        // connection back all along.
        let closed = || {
            let each: Vec<u64> = of(LaneRole::Send).filter_map(unread_ns).collect();
            let range = silence_ns / 4..silence_ns.saturating_mul(2);
            let held = each.iter().filter(|ns| range.contains(*ns)).count() as u64;
            let half = (of(LaneRole::Receive).count() as u64).div_ceil(2);
            let windows = step.evidence(receiver).and_then(|one| one.tcp.as_ref()?.zero_windows);
            let longest = each.iter().filter(|ns| range.contains(*ns)).max();
            silence_ns >= SILENCE_NS
                && held >= half
                && longest.is_some_and(|ns| *ns >= silence_ns / 2)
                && windows.is_some_and(|count| count >= half)
        };
        let emptied = || silence_ns >= SILENCE_NS && idle.is_some();
        (timer_ns.is_some() || emptied() || closed()).then_some(Stop { silence_ns, timer_ns, whose })
    }

    fn words(&self) -> String {
        match self.whose {
            Some((node, Shown::Idle(ns))) => format!(
                "the program of {} stood still: its connections had nothing to send for {}",
                whose(node),
                Nanoseconds(ns)
            ),
            Some((node, Shown::Unread(ns))) => format!(
                "the program of {} stood still: its window was closed for {}, because nobody read",
                whose(node),
                Nanoseconds(ns)
            ),
            None => "the program of this host or of the peer stood still".into(),
        }
    }
}

/// Whether a silence was so long that a path would have made a retransmission timer run out, and none did.
pub(super) fn outlasts_timers(step: &Step, silence_ns: u64) -> bool {
    timer_that_held(step, silence_ns).is_some()
}

/// The longest retransmission timer of who sent, where none ran out in a silence of twice its length.
fn timer_that_held(step: &Step, silence_ns: u64) -> Option<u64> {
    let of = |lane: &LaneResult| -> Option<u64> {
        let counts = &lane.connection.as_ref()?.counts;
        // Kernels before 6.7 count them for the whole host only.
        let of_host = || step.evidence(lane.end.node())?.tcp.as_ref()?.timeouts;
        let ran_out = counts.timeouts.or_else(of_host)?;
        counts.retransmit_timer_ns.filter(|ns| ran_out == 0 && *ns > 0)
    };
    let timers: Option<Vec<u64>> = step.own_lanes().filter(|lane| lane.role.sends()).map(of).collect();
    let longest_ns = timers?.into_iter().max()?;
    (silence_ns >= SILENCE_NS.max(longest_ns.saturating_mul(2))).then_some(longest_ns)
}

/// For how long a quota stopped a host's program, of the two where that was longer.
fn throttled_ns(step: &Step) -> u64 {
    let loads = step.evidence.iter().filter_map(|one| one.host.as_ref());
    loads.filter_map(|load| load.throttled_ns).max().unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{loss_path, sender};
    use super::*;
    use pathproof_model::evidence::{ConnectionCounts, TcpCounts};
    use pathproof_model::{
        End, Evidence, HostLoad, LossCounts, LossFlow, Severity, StepKind, StepSpec, Tool, TrafficSpec,
        Waited,
    };

    const MS: u64 = 1_000_000;

    /// A stream of 1.4 s whose receivers heard nothing for so many ms, with what its sender was busy for and what closed windows took of that.
    pub(in crate::diagnose) fn stream(way: Direction, silence_ms: u64, busy_ms: u64, unread_ms: u64) -> Step {
        let counts = ConnectionCounts {
            retransmit_timer_ns: Some(212 * MS),
            busy_ns: Some(busy_ms * MS),
            receive_window_limited_ns: Some(unread_ms * MS),
            ..ConnectionCounts::still()
        };
        let scheduled = Some(Waited { waited_ns: 20 * MS, of_ns: 1400 * MS });
        let ends = if way == Direction::Out { End::BOTH } else { [End::BOTH[1], End::BOTH[0]] };
        let send = LaneResult { end: ends[0], scheduled, ..sender(counts) };
        let receive = LaneResult {
            end: ends[1],
            role: LaneRole::Receive,
            bytes: 20 << 20,
            window_ns: 1100 * MS,
            longest_silence_ns: Some(silence_ms * MS),
            scheduled,
            ..LaneResult::default()
        };
        let mut step = Step::new(StepKind::Stream, "tcp stream");
        step.direction = Some(way);
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        (step.summary.retransmits, step.summary.bytes) = (Some(3), Some(20 << 20));
        step.lanes = vec![send, receive];
        step
    }

    fn told(steps: Vec<Step>) -> Option<Finding> {
        stops(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
    }

    fn sends(step: &mut Step) -> &mut ConnectionCounts {
        &mut step.lanes[0].connection.as_mut().unwrap().counts
    }

    #[test]
    fn whose_program_stood_still_is_told_by_what_its_kernel_did_meanwhile() {
        // As a server makes it that is stopped for 0.8 s: it sends nothing, or it does not read.
        let idle = told(vec![stream(Direction::In, 700, 780, 0)]).unwrap();
        assert_eq!((&*idle.code, idle.severity), ("HOST-STOPS", Severity::Error));
        assert_eq!(idle.told(told::NODE), Some(NodeId::SERVER));
        for part in
            ["for 700.00 ms", "212.00 ms and less", "the program of the peer", "nothing to send for 620"]
        {
            assert!(idle.evidence.contains(part), "{part} is missing in {}", idle.evidence);
        }
        let unread = told(vec![stream(Direction::Out, 700, 1380, 480)]).unwrap();
        assert_eq!(unread.told(told::NODE), Some(NodeId::SERVER));
        assert!(unread.evidence.contains("its window was closed for 480"), "{}", unread.evidence);
        let own = told(vec![stream(Direction::Out, 700, 780, 0)]).unwrap();
        assert_eq!(own.told(told::NODE), Some(NodeId::CLIENT));
        // Neither shows it; and one that does goes before.
        let either = || stream(Direction::Out, 800, 1380, 0);
        let open = told(vec![either()]).unwrap();
        assert_eq!(open.told(told::NODE), None);
        assert!(open.evidence.contains("of this host or of the peer"), "{}", open.evidence);
        let known = told(vec![either(), stream(Direction::In, 700, 780, 0)]).unwrap();
        assert_eq!(known.told(told::NODE), Some(NodeId::SERVER));
    }

    #[test]
    fn a_silence_in_which_a_timer_ran_out_or_could_not_have_is_no_programs() {
        let of = |change: &dyn Fn(&mut ConnectionCounts)| {
            let mut step = stream(Direction::In, 700, 1390, 0);
            change(sends(&mut step));
            told(vec![step]).is_some()
        };
        assert!(of(&|_| ()));
        // What stays under way on a path that stands still keeps its sender busy.
        let stood = |counts: &mut ConnectionCounts| {
            (counts.timeouts, counts.busy_ns) = (Some(1), Some(1390 * MS));
        };
        assert!(!of(&stood), "a path that stood still");
        let emptied = |counts: &mut ConnectionCounts| {
            (counts.timeouts, counts.busy_ns) = (Some(1), Some(780 * MS));
        };
        assert!(of(&emptied), "nothing was under way in it");
        assert!(
            !of(&|counts| counts.retransmit_timer_ns = Some(380 * MS)),
            "a timer of more than half of it"
        );
        assert!(!of(&|counts| counts.retransmit_timer_ns = None));
        assert!(!of(&|counts| counts.timeouts = None), "nobody counted");
        // A kernel that counts them for the host only.
        let host = |timeouts: u64| {
            let mut step = stream(Direction::In, 700, 1390, 0);
            sends(&mut step).timeouts = None;
            let tcp = TcpCounts { timeouts: Some(timeouts), ..TcpCounts::still() };
            step.evidence = vec![Evidence { node: NodeId::SERVER, tcp: Some(tcp), ..Evidence::default() }];
            told(vec![step]).is_some()
        };
        assert!(host(0) && !host(1));
        assert!(told(vec![stream(Direction::In, 300, 780, 0)]).is_none(), "too short for any timer");
        assert!(told(vec![stream(Direction::Both, 700, 780, 0)]).is_none());
    }

    #[test]
    fn connections_that_grow_on_a_long_path_are_no_program_that_stands_still() {
        use pathproof_model::LatencySummary;
        let told = |trip_ms: u64| {
            let mut trips = Step::new(StepKind::Pingpong, "tcp ping-pong");
            trips.summary.rtt_ns =
                Some(LatencySummary { count: 160, min: trip_ms * MS, ..LatencySummary::default() });
            told(vec![trips, stream(Direction::In, 1100, 1390, 0)]).is_some()
        };
        assert!(told(1) && !told(300));
    }

    #[test]
    fn a_window_that_was_closed_meanwhile_needs_no_timer() {
        // As counted beside a queue of the sender's own that overflowed, which made a timer run out.
        let told = |unread_ms: u64, zero_windows: Option<u64>| {
            let mut step = stream(Direction::Out, 700, 1390, unread_ms);
            sends(&mut step).timeouts = Some(1);
            let tcp = TcpCounts { zero_windows, ..TcpCounts::still() };
            step.evidence = vec![Evidence { node: NodeId::SERVER, tcp: Some(tcp), ..Evidence::default() }];
            told(vec![step])
        };
        let found = told(444, Some(1)).unwrap();
        assert_eq!(found.told(told::NODE), Some(NodeId::SERVER));
        assert!(!found.evidence.contains("timer"), "{}", found.evidence);
        // A window that is small is no closed one, and a connection that found it open was held by something else.
        assert_eq!((told(444, Some(0)), told(444, None), told(300, Some(1))), (None, None, None));
        assert_eq!(told(1410, Some(1)), None, "a small one, all along");
    }

    #[test]
    fn who_waits_for_a_processor_and_who_is_held_by_loss_or_a_pace_is_not_stopped() {
        let still = || stream(Direction::In, 700, 780, 0);
        let mut waited = still();
        waited.lanes[0].scheduled = Some(Waited { waited_ns: 360 * MS, of_ns: 1400 * MS });
        let mut unknown = still();
        unknown.lanes[1].scheduled = None;
        let load = |load: HostLoad| {
            let mut step = still();
            step.evidence = vec![Evidence { node: NodeId::SERVER, host: Some(load), ..Evidence::default() }];
            step
        };
        let stolen = load(HostLoad { steal_ns: Some(900 * MS), cpus: Some(2), ..HostLoad::default() });
        let quota = load(HostLoad { throttled_ns: Some(400 * MS), ..HostLoad::default() });
        let mut lossy = still();
        lossy.summary.retransmits = Some(1600);
        // A message or two in such a time, as over a path of 1 Mbit/s.
        let mut slow = still();
        slow.lanes[1].bytes = slow.spec.as_ref().unwrap().traffic().unwrap().size_bytes * 5;
        for step in [waited, unknown, stolen, quota, lossy, slow] {
            assert_eq!(told(vec![step]), None);
        }
        let mut loss = Step::new(StepKind::Loss, "loss");
        let small = LossCounts { sent: 2000, received: 1980, ..LossCounts::default() };
        let flows = vec![LossFlow { port: 1, answered: true, small, ..LossFlow::default() }];
        loss.detail.loss =
            Some(vec![pathproof_model::LossPath { direction: Direction::In, flows, ..loss_path() }]);
        assert_eq!(told(vec![still(), loss]), None);
    }
}
