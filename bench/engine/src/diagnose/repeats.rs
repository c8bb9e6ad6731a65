//! Segments that TCP sent again: lost, overtaken, or thrown away by a limit.

use pathproof_model::code;
use pathproof_model::evidence::ConnectionCounts;
use pathproof_model::finding::Topic;
use pathproof_model::judge::repeats::{
    Repeats, dropped_at_home, dropped_by, excused, is_thrown_away, loses_questions, loses_some_questions,
    lost_questions, lost_segments, paced_loss, queue_stood,
};
use pathproof_model::told;
use pathproof_model::{Direction, End, Finding, LaneRole, NodeId, ResultDoc, Severity, Share, Step, Trips};

use super::{Rule, collisions, planned};

/// Segments sent again, as a part of all, from which on a path is worth a look.
const NOTABLE: f64 = 0.001;
/// Fewer say nothing.
const FEW: u64 = 10;
/// A limit that throws away what is above it costs TCP so much and more.
const POLICED: f64 = 0.02;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("PATH-REORDERED"), code!("TCP-RETRANSMITS")], find: of_each_step },
    Rule {
        codes: &[code!("PATH-POLICED")],
        find: |doc| WAYS.into_iter().filter_map(|way| policed(doc, way)).collect(),
    },
    Rule {
        codes: &[code!("PATH-LOSS")],
        find: |doc| {
            let told = |way| {
                collided(doc, way).or_else(|| seeps(doc, way)).or_else(|| collisions::thinned(doc, way))
            };
            WAYS.into_iter().filter_map(told).collect()
        },
    },
];
const WAYS: [Direction; 2] = [Direction::Out, Direction::In];

fn of_each_step(doc: &ResultDoc) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, step) in doc.steps.iter().enumerate().filter(|(_, step)| step.follows_up.is_none()) {
        let Some(repeats) = Repeats::of(step).filter(|r| r.again >= FEW && r.share() >= NOTABLE) else {
            continue;
        };
        let finding = overtaken(doc, step).unwrap_or_else(|| sent_again(doc, step, repeats));
        found.push(Finding { step: Some(at), ..finding });
    }
    found
}

/// From this share of segments on a path is lossy whatever the load: the limit of datagrams where RDMA carries the data.
const SEEPS: f64 = 0.0005;
/// Paced datagrams of which surely so many are lost fail by the default criterion.
const UNFIT: f64 = 0.001;

/// A little is lost all the time, too little for the sample of paced datagrams to tell alone, or none of those: TCP's own count, which any
/// full queue adds to, agrees with what was lost at a low pace, or TCP loses questions that are asked one at a time.
fn seeps(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let word = way.name();
    // Where the paced sample suffices by itself nothing needs to be added to it.
    let told = |finding: &Finding| {
        let share = finding.told(told::PART).zip(finding.told(told::OF)).map(|(part, of)| Share { part, of });
        finding.is_about(Topic::Loss)
            && finding.told(told::DIRECTION) == Some(way)
            && share.is_none_or(|share| share.bounds().0 >= UNFIT)
    };
    // A link that is gone for a moment loses what is under way.
    if doc.findings.iter().any(told) || !super::links::findings(doc).is_empty() {
        return None;
    }
    let sender = if way == Direction::Out { NodeId::CLIENT } else { NodeId::SERVER };
    let loads = planned(doc)
        .filter(|step| step.kind.traits().one_load && step.direction.is_none_or(|one| one == way));
    // Where most of it was dropped by the sender's own queue, nobody knows of the rest.
    let tells = loads.filter(|step| {
        let own = dropped_by(step, sender);
        own == 0 || own < lost_segments(step, sender).part
    });
    let loaded = tells.fold(Share::default(), |sum, step| sum + lost_segments(step, sender));
    if loaded.part < FEW || loaded.bounds().0 < SEEPS {
        return None;
    }
    let segments = format!(
        "{word}: of {} segments of TCP {} were lost ({:.2} %), those not counted that arrived twice or that the sender's own queue dropped",
        loaded.of,
        loaded.part,
        loaded.point().unwrap_or(0.0) * 100.0
    );
    let asked = lost_questions(doc, way);
    let idle = paced_loss(doc, Some(way));
    let low = idle.map(|idle| idle + asked);
    // So little that one in ten thousand makes it by chance agrees with nothing.
    let agrees = |low: &Share| {
        low.part >= 1
            && low.point().is_some_and(|share| share >= SEEPS)
            && low.bounds().0 <= loaded.bounds().1
            && low.bounds().1 >= loaded.bounds().0
    };
    let said = if let Some(low) = low.filter(agrees) {
        format!(
            "{segments}; and at a low pace, which fills no queue, {} of {} packets: it is lost whatever the load",
            low.part, low.of
        )
    } else if loses_questions(asked) || loses_some_questions(asked) {
        let beside = idle.map_or_else(String::new, |idle| {
            format!(", and of {} datagrams at a low pace {}", idle.of, idle.part)
        });
        format!(
            "{segments}; and of {} that were sent one at a time, which fills no queue, {}{beside}: what handles TCP on the way loses it whatever \
             the load",
            asked.of, asked.part
        )
    } else {
        return None;
    };
    // What lies at the limit is worth a look, and no fault yet.
    let sure = low.is_some_and(|low| agrees(&low)) || loses_questions(asked);
    let severity = if sure { Severity::Error } else { Severity::Warning };
    let finding = Finding::new("PATH-LOSS", said).with_severity(severity);
    Some(finding.tell(told::DIRECTION, way).tell(told::PART, loaded.part).tell(told::OF, loaded.of))
}

fn sent_again(doc: &ResultDoc, step: &Step, repeats: Repeats) -> Finding {
    let said = format!(
        "{}: {} of about {} segments were sent again ({:.2} % of all)",
        step.name,
        repeats.again,
        repeats.sent,
        repeats.share() * 100.0
    );
    let vain = Vain::of(step);
    let order = || {
        vain.is_order()
            .then(|| format!("{} of them had arrived already, and were only overtaken", vain.in_vain))
    };
    let excuse = excused(doc, step).or_else(order);
    let said = excuse.as_ref().map_or_else(|| said.clone(), |why| format!("{said}; {why}"));
    let finding = Finding::new("TCP-RETRANSMITS", said)
        .with("retransmits", repeats.again)
        .with("segments", repeats.sent);
    let looped = !step.lanes.is_empty()
        && step.lanes.iter().all(|lane| super::ip_of(&lane.remote).is_some_and(|ip| ip.is_loopback()));
    // Nothing is lost on a loopback: a receiver that got no processor for a while looks like loss to TCP.
    if looped {
        let next = "On a loopback this only shows that the host was busy; run again when it is idle.";
        return finding.with_severity(Severity::Info).with_next(next);
    }
    let crossed =
        repeats.share() >= POLICED && collisions::lost_on_the_way_back(doc, step, repeats).is_some();
    if crossed {
        return finding.with_next(
            "Acknowledgements were lost on the way back as well, which no limit of a rate takes: compare speed and duplex of both ends of every cable on \
             the way (ethtool NIC; the switches' ports).",
        );
    }
    if is_thrown_away(doc, step) {
        return finding.with_next(
            "No queue stood while they were lost, and what is sent at a low pace is not: look for what throws away above a rate (a policer, storm \
             control, a hop with next to no buffer) rather than for a bad cable.",
        );
    }
    if excuse.is_some() {
        return finding.with_severity(Severity::Info).with_next(
            "Nothing needs repair where the rate is what the link or its shaper allows: TCP finds the rate by filling a queue. A larger queue \
             there, or fewer connections at once, makes it less.",
        );
    }
    finding
}

/// What TCP sent again, what of that had arrived already, and of how many segments that were confirmed.
struct Vain {
    again: u64,
    in_vain: u64,
    seen: u64,
    delivered: u64,
}

impl Vain {
    fn of(step: &Step) -> Vain {
        let counts = || step.lanes.iter().filter_map(|lane| lane.connection.as_ref()).map(|c| &c.counts);
        let sum =
            |of: fn(&ConnectionCounts) -> Option<u64>| counts().filter_map(of).fold(0, u64::saturating_add);
        Vain {
            again: sum(|c| c.retransmitted_segments),
            in_vain: sum(|c| c.duplicates_reported),
            seen: sum(|c| c.reorderings),
            delivered: sum(|c| c.delivered_segments),
        }
    }

    /// Most of it had arrived.
    fn is_order(&self) -> bool {
        self.again >= FEW && self.in_vain.saturating_mul(2) >= self.again && self.seen >= FEW
    }
}

/// Most of what was sent again had arrived already: packets overtake one another, and TCP takes that for loss. A host with several
/// processors does that to itself a little, at full rate.
fn overtaken(doc: &ResultDoc, step: &Step) -> Option<Finding> {
    /// From here on it costs a transport without TCP's patience more than a limit allows.
    const COSTLY: f64 = 0.01;
    let vain = Vain::of(step);
    // Where threads stand in line, the host's own processors overtake one another so often: unless they did as little the other way.
    let crowded = super::waited_share(step).is_none_or(|share| share >= 0.3) || super::pressed(step);
    if crowded && !in_order_the_other_way(doc, step)
        || !vain.is_order()
        || (vain.in_vain as f64) < vain.delivered as f64 * COSTLY
    {
        return None;
    }
    let said = format!(
        "{}: of {} segments that TCP sent again {} had arrived already ({:.1} % of all), and it saw them overtake one another {} times: \
         nothing much was lost, the order was",
        step.name,
        vain.again,
        vain.in_vain,
        vain.in_vain as f64 * 100.0 / vain.delivered.max(1) as f64,
        vain.seen
    );
    let finding = Finding::new("PATH-REORDERED", said).with_severity(Severity::Error);
    Some(finding.with("retransmits", vain.again).with("in_vain", vain.in_vain))
}

/// Whether the same connections kept their order the other way, although threads of both hosts waited there for about as long.
fn in_order_the_other_way(doc: &ResultDoc, step: &Step) -> bool {
    /// A tenth of what is told.
    const LITTLE: f64 = 0.001;
    const ABOUT: f64 = 0.5;
    let other = match step.direction {
        Some(Direction::Out) => Direction::In,
        Some(Direction::In) => Direction::Out,
        _ => return false,
    };
    let lanes = |step: &Step| step.lanes.iter().filter(|lane| lane.role == LaneRole::Send).count();
    let alike = planned(doc).filter(|one| {
        one.kind.traits().bulk
            && one.direction == Some(other)
            && one.error.is_none()
            && lanes(one) == lanes(step)
    });
    let waited = |step: &Step, end: End| {
        let own = step.lanes.iter().filter(|lane| lane.end == end);
        let shares = own.map(|lane| lane.scheduled.filter(|one| one.of_ns > 0));
        shares.map(|one| one.map_or(0.0, |one| one.waited_ns as f64 / one.of_ns as f64)).fold(0.0, f64::max)
    };
    alike.into_iter().any(|one| {
        let vain = Vain::of(one);
        let ends = End::BOTH.into_iter();
        vain.delivered > 0
            && vain.in_vain as f64 <= vain.delivered as f64 * LITTLE
            && ends.into_iter().all(|end| waited(one, end) >= waited(step, end) * ABOUT)
    })
}

/// Whether round trips of a step's connections were much longer than idle ones: connections that fill a queue from their first packet on
/// have known no shorter ones themselves.
fn above_idle(doc: &ResultDoc, step: &Step) -> bool {
    /// What hosts that are busy add.
    const ADDED_NS: u64 = 5_000_000;
    let idle = planned(doc)
        .filter(|step| step.kind.traits().trips == Trips::Idle)
        .filter_map(|step| Some(step.summary.rtt_ns?.p50))
        .min();
    let lanes = step.lanes.iter().filter(|lane| lane.role == LaneRole::Send);
    let most = lanes.filter_map(|lane| lane.connection.as_ref()?.counts.rtt_ns).max();
    idle.zip(most).is_some_and(|(idle, most)| most > idle.saturating_mul(2).saturating_add(ADDED_NS))
}

/// Both ways lose what they carry at once: that looks like a limit from where the segments are sent.
fn collided(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let paced = paced_loss(doc, Some(way)).filter(|lost| lost.bounds().0 <= UNFIT)?;
    let streams = planned(doc).filter(|step| step.kind.traits().bulk && step.direction == Some(way));
    let lossy = streams.filter_map(|step| Some((step, Repeats::of(step)?)));
    let mut lossy = lossy.filter(|(_, repeats)| repeats.share() >= POLICED && repeats.again >= FEW);
    lossy.find_map(|(step, repeats)| collisions::finding(doc, way, step, repeats, paced))
}

/// Above a rate packets are thrown away and not queued.
fn policed(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let lost = paced_loss(doc, Some(way))?;
    let streams = planned(doc).filter(|step| step.kind.traits().bulk && step.direction == Some(way));
    let tried: Vec<(&Step, Repeats)> = streams.filter_map(|step| Some((step, Repeats::of(step)?))).collect();
    let most = |a: &&(&Step, Repeats), b: &&(&Step, Repeats)| a.1.share().total_cmp(&b.1.share());
    // Much that was thrown away is known by all lanes and the probes beside them; a few per cent only where no lane saw a round trip that
    // could be a queue.
    let surely = tried.iter().filter(|(step, _)| is_thrown_away(doc, step)).max_by(most);
    let little = |(step, repeats): &&(&Step, Repeats)| is_a_little(doc, step, *repeats, lost);
    let (step, repeats) = *surely.or_else(|| tried.iter().max_by(most).filter(little))?;
    let rate = step.summary.goodput_bits_per_s.map(pathproof_model::units::BitsPerSecond)?;
    let word = way.name();
    let said = format!(
        "{word}: at full rate {:.1} % of the segments of {} had to be sent again while no queue stood, and of {} datagrams at a low pace \
         {} were lost: what is above some rate is thrown away and not queued; TCP gets {rate} of it",
        repeats.share() * 100.0,
        step.name,
        lost.of,
        lost.part
    );
    let nothing_received =
        step.lanes.iter().filter(|lane| lane.role == LaneRole::Receive).all(|lane| lane.bytes == 0);
    let told = !nothing_received && collided(doc, way).is_none();
    told.then(|| Finding::new("PATH-POLICED", said).tell(told::DIRECTION, way))
}

/// Whether a few per cent were thrown away: no lane saw a queue, and the sending host dropped little of it.
fn is_a_little(doc: &ResultDoc, step: &Step, repeats: Repeats, lost: Share) -> bool {
    let at_home = dropped_at_home(step).saturating_mul(10) >= repeats.again.saturating_mul(3);
    let thrown = repeats.share() >= POLICED && lost.bounds().1 < repeats.share() && repeats.again >= FEW;
    thrown && !at_home && !queue_stood(step) && !above_idle(doc, step) && !Vain::of(step).is_order()
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::super::tests::{loss_path, sender};
    use super::*;
    use pathproof_model::{LaneResult, LossCounts, LossFlow, StepKind, StepSpec, Tool, TrafficSpec};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn stream(again: u64, of: u64, counts: ConnectionCounts) -> Step {
        let mut step = Step::new(StepKind::Stream, "tcp stream out, 1 lane");
        step.direction = Some(Direction::Out);
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        (step.summary.retransmits, step.summary.bytes) = (Some(again), Some((of - again) * 1448));
        step.summary.goodput_bits_per_s = Some(28_000_000);
        let scheduled = Some(pathproof_model::Waited { waited_ns: 0, of_ns: 1_000_000_000 });
        let end = End::Server;
        let receiver =
            LaneResult { end, role: LaneRole::Receive, bytes: 1 << 20, scheduled, ..LaneResult::default() };
        step.lanes = vec![LaneResult { send_segment_bytes: Some(1448), ..sender(counts) }, receiver];
        step
    }

    fn paced(sent: u64, lost: u64) -> Step {
        let small = LossCounts { sent, received: sent - lost, ..LossCounts::default() };
        let mut step = Step::new(StepKind::Loss, "loss");
        let flows = vec![LossFlow { port: 1, answered: true, small, ..LossFlow::default() }];
        step.detail.loss =
            Some(vec![pathproof_model::LossPath { direction: Direction::Out, flows, ..loss_path() }]);
        step
    }

    fn told(steps: Vec<Step>) -> Vec<(String, Severity)> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        findings(&doc).into_iter().map(|finding| (finding.code, finding.severity)).collect()
    }

    fn trip(now_us: u64, least_us: u64) -> ConnectionCounts {
        ConnectionCounts {
            rtt_ns: Some(now_us * 1000),
            rtt_min_ns: Some(least_us * 1000),
            retransmitted_segments: Some(900),
            ..ConnectionCounts::still()
        }
    }

    #[test]
    fn a_path_that_loses_when_idle_is_warned_about_and_a_full_queue_is_only_told() {
        let lossy = vec![stream(140, 26_000, trip(400, 200)), paced(2000, 12)];
        assert_eq!(told(lossy), [("TCP-RETRANSMITS".to_owned(), Severity::Warning)]);
        let queue = vec![stream(598, 2317, trip(19_000, 90)), paced(270, 0)];
        assert_eq!(told(queue), [("TCP-RETRANSMITS".to_owned(), Severity::Info)]);
        // Without paced datagrams nobody can tell.
        assert_eq!(
            told(vec![stream(598, 2317, trip(19_000, 90))]),
            [("TCP-RETRANSMITS".to_owned(), Severity::Warning)]
        );
        assert_eq!(told(vec![stream(9, 26_000, trip(400, 200))]), []);
    }

    #[test]
    fn a_limit_that_throws_away_has_no_queue() {
        let codes = |steps| told(steps).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        let policed = vec![stream(1289, 4004, trip(300, 150)), paced(1000, 0)];
        assert_eq!(codes(policed), ["TCP-RETRANSMITS", "PATH-POLICED"]);
        assert_eq!(codes(vec![stream(1289, 4004, trip(19_000, 150)), paced(1000, 0)]), ["TCP-RETRANSMITS"]);
        // As run over two NICs behind one uplink, whose queue was full from the first packet on.
        let mut idle = Step::new(StepKind::Pingpong, "ping-pong");
        idle.summary.rtt_ns =
            Some(pathproof_model::LatencySummary { count: 100, p50: 200_000, ..Default::default() });
        assert_eq!(
            codes(vec![idle, stream(1289, 4004, trip(19_000, 16_000)), paced(1000, 0)]),
            ["TCP-RETRANSMITS"]
        );
        assert_eq!(codes(vec![stream(100, 26_000, trip(300, 150)), paced(2000, 0)]), ["TCP-RETRANSMITS"]);
    }

    #[test]
    fn what_loses_acknowledgements_as_well_is_no_limit() {
        use pathproof_model::Evidence;
        use pathproof_model::evidence::{SoftnetCounts, TcpCounts};
        let counted = |mut step: Step, sent: u64, received: u64| {
            let of = |node, tcp| Evidence {
                node,
                tcp: Some(tcp),
                nics: Some(vec![]),
                softnet: Some(SoftnetCounts::still()),
                ..Evidence::default()
            };
            let client = TcpCounts { received: Some(received), ..TcpCounts::still() };
            let server = TcpCounts { sent: Some(sent), ..TcpCounts::still() };
            step.elapsed_ns = 1_700_000_000;
            step.evidence = vec![of(NodeId::CLIENT, client), of(NodeId::SERVER, server)];
            step
        };
        let codes = |received: u64| {
            let idle = counted(Step::new(StepKind::Pingpong, "ping-pong"), 9000, 9000);
            let full = counted(stream(1289, 4004, trip(300, 150)), 4000, received);
            let found = told(vec![idle, full, paced(1000, 0)]);
            found.into_iter().map(|(code, _)| code).collect::<Vec<_>>()
        };
        assert_eq!(codes(3999), ["TCP-RETRANSMITS", "PATH-POLICED"]);
        assert_eq!(codes(3300), ["TCP-RETRANSMITS", "PATH-LOSS"]);
    }

    #[test]
    fn a_policer_is_named_although_its_lanes_show_some_milliseconds() {
        // As counted where 60 Mbit/s are policed: four lanes of 1 to 3 ms over a path of 30 µs, 28.9 % sent again.
        let mut step = stream(1988, 6876, trip(1795, 42));
        step.summary.goodput_bits_per_s = Some(51_475_548);
        for (now_us, least_us) in [(3215, 31), (1464, 32), (846, 31)] {
            let more = LaneResult { send_segment_bytes: Some(1448), ..sender(trip(now_us, least_us)) };
            step.lanes.push(more);
        }
        let doc = |step: Step, loss| {
            let steps = vec![step, loss];
            findings(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
        };
        let found = doc(step.clone(), paced(1230, 0));
        assert_eq!((found[0].severity, &*found[1].code), (Severity::Warning, "PATH-POLICED"), "{found:?}");
        assert!(found[0].next.contains("a policer"), "{}", found[0].next);
        assert!(found[1].evidence.contains("28.9 % of the segments"), "{}", found[1].evidence);
        assert_eq!(found[1].told(told::DIRECTION), Some(Direction::Out));
        // A path that loses as much of what is paced is no policer's.
        assert!(doc(step, paced(1230, 400)).iter().all(|finding| finding.code != "PATH-POLICED"));
    }

    #[test]
    fn a_little_that_is_lost_all_the_time_is_loss_and_what_only_a_stream_loses_is_not() {
        let of = |again, delivered, vain| {
            let counts = ConnectionCounts {
                retransmitted_segments: Some(again),
                delivered_segments: Some(delivered),
                duplicates_reported: Some(vain),
                ..ConnectionCounts::still()
            };
            stream(again, delivered, counts)
        };
        let codes = |steps| told(steps).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        // As counted over a wire that lost one packet in a thousand.
        assert_eq!(codes(vec![of(85, 98_640, 2), paced(2000, 1)]), ["PATH-LOSS"]);
        // The paced sample shows loss, and is too small to say that it is too much; or it says so by itself.
        let beside = |part: u64| {
            let steps = vec![of(85, 98_640, 2), paced(3379, part)];
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            let known = Finding::new("PATH-LOSS", "")
                .tell(told::DIRECTION, Direction::Out)
                .tell(told::PART, part)
                .tell(told::OF, 3379u64);
            doc.findings.push(known);
            findings(&doc).len()
        };
        assert_eq!((beside(5), beside(34)), (1, 0));
        // As run over a path that loses 0.1 %, of which chance took more from the few that were slow.
        assert_eq!(codes(vec![of(103, 109_084, 0), paced(5669, 10)]), ["PATH-LOSS"]);
        // One of many at a low pace, as one in ten thousand makes it: what a queue without room adds is TCP's own affair.
        assert_eq!(codes(vec![of(85, 98_640, 2), paced(4000, 1)]), [""; 0]);
        // Nothing at a low pace, and too little to tell.
        assert_eq!(codes(vec![of(85, 98_640, 2), paced(2000, 0)]), [""; 0]);
        assert_eq!(codes(vec![of(20, 98_640, 0), paced(2000, 1)]), [""; 0]);
        // Two processors that overtake one another, and a stream that loses far more than an idle path does.
        assert_eq!(codes(vec![of(748, 1_133_066, 723), paced(2000, 1)]), [""; 0]);
        assert_eq!(codes(vec![of(1289, 40_000, 0), paced(2000, 1)]), ["TCP-RETRANSMITS", "PATH-POLICED"]);
    }

    #[test]
    fn a_stream_that_its_own_queue_cut_says_nothing_of_the_path_either_way() {
        use pathproof_model::Evidence;
        use pathproof_model::evidence::{QueueActivity, QueueCounts};
        let of = |again, delivered, drops| {
            let counts = ConnectionCounts {
                retransmitted_segments: Some(again),
                delivered_segments: Some(delivered),
                ..ConnectionCounts::still()
            };
            let counted = QueueCounts { drops: Some(drops), ..QueueCounts::still() };
            let queue = QueueActivity { counts: counted, ..QueueActivity::default() };
            let mut step = stream(again, delivered, counts);
            step.evidence = vec![Evidence { queues: Some(vec![queue]), ..Evidence::default() }];
            step
        };
        let codes = |steps| told(steps).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        // As run over a path that loses 0.1 %: 89 again and 91 dropped at home, beside streams whose queue dropped nothing.
        let found = codes(vec![of(30, 35_760, 0), of(89, 38_985, 91), of(38, 37_922, 0), paced(3900, 6)]);
        assert!(found.contains(&"PATH-LOSS".to_owned()), "{found:?}");
        assert_eq!(codes(vec![of(89, 38_985, 91), paced(3900, 6)]), ["TCP-RETRANSMITS"]);
    }

    #[test]
    fn what_tcp_alone_loses_is_told_by_questions_that_are_asked_one_at_a_time() {
        let counts = |again, vain, delivered| ConnectionCounts {
            retransmitted_segments: Some(again),
            delivered_segments: Some(delivered),
            duplicates_reported: Some(vain),
            ..ConnectionCounts::still()
        };
        let asked = |again, vain, delivered| {
            let mut step = Step::new(StepKind::Pingpong, "ping-pong");
            step.lanes = vec![sender(counts(again, vain, delivered))];
            step
        };
        // As counted over a wire that lost one in two hundred segments of TCP out, and no datagram.
        let load = || stream(258, 52_487, counts(258, 0, 52_229));
        let codes = |steps| told(steps).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        let both = ["TCP-RETRANSMITS", "PATH-LOSS"];
        assert_eq!(codes(vec![asked(4, 0, 152), load(), paced(3900, 0)]), both);
        assert_eq!(codes(vec![asked(4, 0, 152), load()]), both, "where no datagram passes");
        // A stream that fills a queue, over a path that loses nothing of what is asked, little of it, or what had arrived already.
        for question in [asked(0, 0, 8000), asked(2, 0, 152), asked(4, 4, 152)] {
            assert_eq!(codes(vec![question, load(), paced(3900, 0)]), ["TCP-RETRANSMITS"]);
        }
        // Questions alone: a stream that is whole speaks against it.
        assert_eq!(
            codes(vec![asked(4, 0, 152), stream(0, 52_487, counts(0, 0, 52_487)), paced(3900, 0)]),
            [""; 0]
        );
    }

    #[test]
    fn what_was_sent_again_in_vain_was_overtaken() {
        // As counted over a wire that held back one packet in twenty for 3 ms.
        let counts = ConnectionCounts {
            retransmitted_segments: Some(905),
            duplicates_reported: Some(838),
            reorderings: Some(1095),
            delivered_segments: Some(25_455),
            ..ConnectionCounts::still()
        };
        let step = stream(905, 25_455, counts.clone());
        assert_eq!(told(vec![step, paced(2000, 0)]), [("PATH-REORDERED".to_owned(), Severity::Error)]);
        // The same where threads stood in line for a processor for half of their time.
        let mut crowded = stream(905, 25_455, counts.clone());
        crowded.lanes[0].scheduled = Some(pathproof_model::Waited { waited_ns: 500, of_ns: 1000 });
        assert_eq!(
            told(vec![crowded.clone(), paced(2000, 0)]),
            [("TCP-RETRANSMITS".to_owned(), Severity::Info)]
        );
        // As run over one veth beside other work: each thread stood in line for a little less, somebody on the host for more than half of the time.
        let mut pressed = stream(905, 25_455, counts.clone());
        pressed.lanes[0].scheduled = Some(pathproof_model::Waited { waited_ns: 298, of_ns: 1000 });
        let load =
            pathproof_model::HostLoad { elapsed_ns: 1000, pressure_some_ns: Some(587), ..Default::default() };
        pressed.evidence = vec![pathproof_model::Evidence {
            node: pathproof_model::NodeId::SERVER,
            host: Some(load),
            ..Default::default()
        }];
        assert_eq!(told(vec![pressed, paced(2000, 0)])[0].0, "TCP-RETRANSMITS");
        // So they did the other way, where the same connections kept their order: then it is not the hosts.
        let mut back = stream(
            0,
            25_455,
            ConnectionCounts { delivered_segments: Some(25_455), ..ConnectionCounts::still() },
        );
        back.direction = Some(Direction::In);
        let waited = |share: u64| Some(pathproof_model::Waited { waited_ns: share, of_ns: 1000 });
        back.lanes[0].scheduled = waited(400);
        assert_eq!(told(vec![crowded.clone(), back.clone(), paced(2000, 0)])[0].0, "PATH-REORDERED");
        // With less waiting there it tells nothing.
        back.lanes[0].scheduled = waited(100);
        assert_eq!(told(vec![crowded, back, paced(2000, 0)])[0].0, "TCP-RETRANSMITS");
        // Two processors of one host, as seen over a veth at full rate.
        let little = ConnectionCounts {
            retransmitted_segments: Some(127),
            duplicates_reported: Some(127),
            reorderings: Some(86),
            delivered_segments: Some(33_445),
            ..ConnectionCounts::still()
        };
        let step = stream(127, 33_445, little);
        assert_eq!(told(vec![step, paced(2000, 0)]), [("TCP-RETRANSMITS".to_owned(), Severity::Info)]);
        // A lossy path, with a few that were sent again in vain.
        let lossy = ConnectionCounts { duplicates_reported: Some(40), reorderings: Some(3), ..counts };
        assert_eq!(told(vec![stream(905, 25_455, lossy), paced(2000, 60)])[0].0, "TCP-RETRANSMITS");
    }
}
