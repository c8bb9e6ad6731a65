//! Loss that only what both ways carry at once meets: a link of which one end is half duplex, or whatever else the two ways share. And loss of
//! acknowledgements alone.
//!
//! An acknowledgement is never sent again, so that what two kernels count of them tells how many were lost on the way back. A limit that throws away
//! what is above a rate takes next to none: they are few, short, and go the other way. Refuses to say so where somebody else's segments may be what
//! is missing, where a host dropped them, and where questions that are asked one at a time are lost as well.

use pathproof_model::judge::repeats::{Repeats, dropped_by, loses_questions, lost_questions};
use pathproof_model::told;
use pathproof_model::{Direction, Finding, LaneRole, NodeId, ResultDoc, Severity, Share, Step, Trips};

use super::planned;

/// Fewer are chance.
const MISSING_MIN: u64 = 50;
/// Less is what two hosts that do not count at the same moment make of it.
const SHARE_MIN: f64 = 0.03;
/// What thins acknowledgements out on purpose takes half of them and more.
const SHARE_MAX: f64 = 0.4;
/// Where nothing but acknowledgements is lost, a device that answers in a host's place is as good a reason for more.
const THINNED_MAX: f64 = 0.25;

/// That what was sent again collided with what came back, where it did.
pub(super) fn finding(
    doc: &ResultDoc,
    way: Direction,
    step: &Step,
    repeats: Repeats,
    paced: Share,
) -> Option<Finding> {
    let back = lost_on_the_way_back(doc, step, repeats)?;
    let said = format!(
        "{}: {:.1} % of the segments of {} had to be sent again, and on the way back {} of {} acknowledgements were lost ({:.1} %), which take next to \
         none of any rate; of {} datagrams at a low pace {} were lost, and next to no single question: packets are lost where both ways carry something at once, \
         as on a link of which one end is half duplex, where they collide",
        way.name(),
        repeats.share() * 100.0,
        step.name,
        back.part,
        back.of,
        back.point().unwrap_or(0.0) * 100.0,
        paced.of,
        paced.part
    );
    let mut finding = Finding::new("PATH-LOSS", said).with_severity(Severity::Error).with_next(NEXT);
    finding.meaning = "What goes one way is lost when something comes the other way: either a link is half duplex at one end and full at the other \
                       (both collide), or something counts the packets of both ways together and is at its limit (a wireless hop, a firewall, a limit \
                       on packets). Pings and one way alone look fine, and copies crawl."
        .into();
    Some(
        finding
            .tell(told::DIRECTION, way)
            .with("retransmits", repeats.again)
            .with("acknowledgements_lost", back.part),
    )
}

const NEXT: &str = "Compare speed and duplex of both ends of every cable on the way (ethtool NIC; the switches' ports: a port that was set by hand against one that \
                    negotiates falls back to half duplex), and look for late collisions and wrong checksums in their counters; set both ends to \
                    negotiate. If all are full duplex, look for a hop that is at its limit of packets.";

/// That acknowledgements are lost by themselves, while what they confirm is not: in every stream of a direction, about as often.
pub(super) fn thinned(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    /// What two streams may differ by; those through a device that answers in a host's place differ by more.
    const ALIKE: f64 = 1.5;
    let streams = planned(doc)
        .filter(|step| step.kind.traits().bulk && step.direction == Some(way) && step.error.is_none());
    let lost = streams.map(|step| {
        let (back, repeats) = (lost_alone(doc, step)?, Repeats::of(step)?);
        let share = back.point()?;
        // Over a long path what is on its way in the end is as much as may be missing.
        let surely = share <= THINNED_MAX && share >= ending(step)? * 4.0;
        (surely && repeats.share() * 10.0 <= share).then_some((share, back, repeats))
    });
    let lost = lost.collect::<Option<Vec<_>>>()?;
    let least = lost.iter().map(|(share, ..)| *share).fold(1.0, f64::min);
    let most = lost.iter().map(|(share, ..)| *share).fold(0.0, f64::max);
    if lost.len() < 2 || most > least * ALIKE {
        return None;
    }
    let back = lost.iter().fold(Share::default(), |sum, (_, back, _)| sum + *back);
    let again = lost.iter().fold(0u64, |sum, (.., repeats)| sum.saturating_add(repeats.again));
    let sent = lost.iter().fold(0u64, |sum, (.., repeats)| sum.saturating_add(repeats.sent));
    let said = format!(
        "{}: of {} acknowledgements that came back for {} streams {} did not arrive ({:.1} %), in each of them about as often, while of about {sent} \
         segments that they confirm {again} were sent again, and next to no single question was lost",
        way.name(),
        back.of,
        lost.len(),
        back.part,
        back.point().unwrap_or(0.0) * 100.0
    );
    let mut finding = Finding::new("PATH-LOSS", said).with_severity(Severity::Info).with_next(THINNED_NEXT);
    finding.meaning = "Packets of TCP that carry nothing are lost on the way back, or thinned out. The next acknowledgement says what the lost one did, so \
                       streams hardly feel it; but what opens a connection carries nothing either, and waits for a second where the same takes it."
        .into();
    Some(finding.tell(told::DIRECTION, way).with("acknowledgements_lost", back.part))
}

const THINNED_NEXT: &str = "Nothing needs repair where a device on the way thins acknowledgements out on purpose (a modem, a wireless hop) and connections open \
                            at once. Else look for what drops short packets: the counters of drops of every hop, access lists by length, a limit on packets.";

/// Acknowledgements of a stream that were lost, where they are about as many as the segments that it had to send again and nothing else
/// explains why they are missing.
pub(super) fn lost_on_the_way_back(doc: &ResultDoc, step: &Step, repeats: Repeats) -> Option<Share> {
    lost_alone(doc, step).filter(|back| back.part.saturating_mul(2) >= repeats.again)
}

/// The part of a step for which what stands in a queue when it ends is answered after the sender counted: two round trips at most.
fn ending(step: &Step) -> Option<f64> {
    let senders = step.own_lanes().filter(|lane| lane.role == LaneRole::Send);
    let trips: Option<Vec<u64>> =
        senders.map(|lane| lane.connection.as_ref()?.counts.rtt_ns.filter(|ns| *ns > 0)).collect();
    Some(trips?.into_iter().max()? as f64 * 2.0 / step.elapsed_ns.max(1) as f64)
}

/// Acknowledgements of a stream that were lost, where nothing else explains why they are missing.
fn lost_alone(doc: &ResultDoc, step: &Step) -> Option<Share> {
    let (from, to) = match step.direction? {
        Direction::Out => (NodeId::SERVER, NodeId::CLIENT),
        Direction::In => (NodeId::CLIENT, NodeId::SERVER),
        Direction::Both => return None,
    };
    let back = missing(step, from, to)?;
    let late = (back.of as f64 * ending(step)?) as u64;
    let back = Share { part: back.part.saturating_sub(late), of: back.of };
    let asked = planned(doc).filter(|one| one.kind.traits().trips == Trips::Idle && one.error.is_none());
    let quiet = asked.filter_map(|one| Some((missing(one, from, to)?.part, one.elapsed_ns)));
    // What a host sends to others is missing at this one as well, whatever the run does.
    let of_others = |(part, elapsed_ns): (u64, u64)| {
        u128::from(part) * u128::from(step.elapsed_ns) * 4 > u128::from(back.part) * u128::from(elapsed_ns)
    };
    let (mut known, mut others) = (false, false);
    for one in quiet {
        (known, others) = (true, others || of_others(one));
    }
    let asks = [Direction::Out, Direction::In].map(|way| lost_questions(doc, way));
    let share = back.point()?;
    let tells = back.part >= MISSING_MIN && (SHARE_MIN..=SHARE_MAX).contains(&share);
    (tells && known && !others && !asks.into_iter().any(loses_questions)).then_some(back)
}

/// Segments that one host sent during a step and that the other did not receive, those not counted that either of them dropped; `None` where one of
/// these is not known, or both are the same host.
fn missing(step: &Step, from: NodeId, to: NodeId) -> Option<Share> {
    if step.evidence.iter().any(|one| one.same_as.is_some()) {
        return None;
    }
    let sent = step.evidence(from)?.tcp.as_ref()?.sent?;
    let there = step.evidence(to)?;
    let received = there.tcp.as_ref()?.received?;
    let dropped = there.nics.as_ref()?.iter().flat_map(|nic| {
        let counts = &nic.counts;
        [counts.receive_drops, counts.receive_missed, counts.receive_overruns, counts.receive_errors]
    });
    let dropped = dropped.flatten().fold(there.softnet.as_ref()?.dropped?, u64::saturating_add);
    let at_hosts = dropped.saturating_add(dropped_by(step, from));
    Some(Share { part: sent.saturating_sub(received).saturating_sub(at_hosts), of: sent })
}

#[cfg(test)]
mod tests {
    use super::super::tests::sender;
    use super::*;
    use pathproof_model::evidence::{ConnectionCounts, NicActivity, NicCounts, SoftnetCounts, TcpCounts};
    use pathproof_model::{Evidence, StepKind, Tool};

    const RTT_NS: u64 = 500_000;

    /// A step out of 1.7 s, with what its two hosts counted of segments: what the server sent, and the client received.
    fn step(kind: StepKind, sent: u64, received: u64) -> Step {
        let of = |node, tcp| Evidence {
            node,
            tcp: Some(tcp),
            nics: Some(vec![]),
            softnet: Some(SoftnetCounts::still()),
            ..Evidence::default()
        };
        let client = TcpCounts { received: Some(received), ..TcpCounts::still() };
        let server = TcpCounts { sent: Some(sent), ..TcpCounts::still() };
        let mut step = Step::new(kind, "tcp stream out");
        step.direction = Some(Direction::Out);
        step.elapsed_ns = 1_700_000_000;
        step.evidence = vec![of(NodeId::CLIENT, client), of(NodeId::SERVER, server)];
        step.lanes = vec![sender(ConnectionCounts { rtt_ns: Some(RTT_NS), ..ConnectionCounts::still() })];
        step
    }

    fn stream(sent: u64, received: u64) -> Step {
        step(StepKind::Stream, sent, received)
    }

    fn idle(sent: u64, received: u64) -> Step {
        step(StepKind::Pingpong, sent, received)
    }

    fn lost(stream: Step, idle: Step, again: u64) -> Option<u64> {
        let doc = ResultDoc { steps: vec![idle, stream], ..ResultDoc::new(Tool::default(), "") };
        let repeats = Repeats { again, sent: 14_000 };
        lost_on_the_way_back(&doc, &doc.steps[1], repeats).map(|share| share.part)
    }

    #[test]
    fn acknowledgements_that_are_lost_as_often_as_segments_are_told() {
        // Of 500 three may have been on their way when the sender counted.
        assert_eq!(lost(stream(6000, 5500), idle(9000, 8999), 520), Some(497));
        let repeats = Repeats { again: 520, sent: 14_000 };
        let doc = ResultDoc {
            steps: vec![idle(9000, 8999), stream(6000, 5500)],
            ..ResultDoc::new(Tool::default(), "")
        };
        let paced = Share { part: 0, of: 3900 };
        let found = finding(&doc, Direction::Out, &doc.steps[1], repeats, paced).unwrap();
        assert_eq!((&*found.code, found.severity), ("PATH-LOSS", Severity::Error));
        for part in ["497 of 6000 acknowledgements", "3.7 % of the segments", "half duplex", "collide"] {
            assert!(found.evidence.contains(part), "{part} is missing in {}", found.evidence);
        }
        assert_eq!(found.told(told::DIRECTION), Some(Direction::Out));
    }

    #[test]
    fn a_limit_takes_no_acknowledgements_and_what_is_on_its_way_is_not_lost() {
        // As counted under policers of packets and of bytes: 2 of 1399 missing, and 925 segments sent again.
        assert_eq!(lost(stream(1399, 1397), idle(583, 583), 925), None);
        // As counted behind a queue that was still full in the end: 121 of 8732; and 317 of 13 994.
        assert_eq!(lost(stream(8732, 8611), idle(10_980, 10_980), 1619), None);
        assert_eq!(lost(stream(13_994, 13_677), idle(73_379, 73_380), 335), None);
        // The same as often, behind a queue of 100 ms; and where nobody knows how long round trips are.
        let behind = |rtt_ns| {
            let mut step = stream(6000, 5500);
            step.lanes[0].connection.as_mut().unwrap().counts.rtt_ns = rtt_ns;
            lost(step, idle(9000, 8999), 520)
        };
        assert_eq!((behind(Some(100_000_000)), behind(None)), (None, None));
        assert_eq!(behind(Some(20_000_000)), Some(359));
        // A bucket that both ways share takes the long ones.
        assert_eq!(lost(stream(6000, 5800), idle(9000, 8999), 1900), None);
        // Something thins them out.
        assert_eq!(lost(stream(6000, 2600), idle(9000, 8999), 520), None);
    }

    /// A stream as counted where one in twenty of the packets without payload is lost.
    fn thin(sent: u64, received: u64, again: u64) -> Step {
        let mut step = stream(sent, received);
        step.elapsed_ns = 4_400_000_000;
        (step.summary.retransmits, step.summary.bytes) = (Some(again), Some(140_247_040));
        step.lanes[0].send_segment_bytes = Some(1448);
        step
    }

    fn told_thin(streams: Vec<Step>) -> Option<Finding> {
        let steps = [vec![idle(78_310, 78_309)], streams].concat();
        thinned(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }, Direction::Out)
    }

    #[test]
    fn acknowledgements_that_are_lost_alone_are_something_to_know() {
        let found = told_thin(vec![thin(51_143, 48_651, 0), thin(48_687, 46_309, 3)]).unwrap();
        assert_eq!((&*found.code, found.severity), ("PATH-LOSS", Severity::Info));
        for part in
            ["out: of 99830 acknowledgements", "2 streams 4848 did not arrive (4.9 %)", "3 were sent again"]
        {
            assert!(found.evidence.contains(part), "{part} is missing in {}", found.evidence);
        }
        assert_eq!(found.told(told::DIRECTION), Some(Direction::Out));
        assert!(found.meaning.contains("thinned out"));
    }

    #[test]
    fn acknowledgements_that_are_missing_for_another_reason_are_not_lost_alone() {
        let usual = || thin(51_143, 48_651, 0);
        let one_more = |other: Step| told_thin(vec![usual(), other]);
        assert!(one_more(usual()).is_some());
        // One stream alone, one of which none is missing, and two that differ, as those of one member of a bundle do.
        assert_eq!(told_thin(vec![usual()]), None);
        assert_eq!(one_more(thin(48_687, 48_680, 0)), None);
        assert_eq!(one_more(thin(48_687, 40_000, 0)), None);
        // As counted through a device that answers in both hosts' places, where the second differs less.
        let by_proxy = || thin(51_952, 35_843, 43);
        assert_eq!(told_thin(vec![by_proxy(), by_proxy()]), None);
        // What they confirm is lost nearly as often: the path loses both.
        assert_eq!(one_more(thin(51_143, 48_651, 2400)), None);
        // As counted over a path of 300 ms, where nothing is lost.
        let mut far = thin(12_312, 10_650, 0);
        far.lanes[0].connection.as_mut().unwrap().counts.rtt_ns = Some(150_000_000);
        assert_eq!(told_thin(vec![far.clone(), far]), None);
        // Nobody counted what was sent again.
        let mut unknown = usual();
        unknown.summary.retransmits = None;
        assert_eq!(one_more(unknown), None);
    }

    #[test]
    fn what_a_host_sends_to_others_or_dropped_itself_is_not_lost_on_the_way() {
        let lossy = || stream(6000, 5500);
        // So many a second go elsewhere while the run only asks; or nobody looked.
        assert_eq!(lost(lossy(), idle(9000, 8800), 520), None);
        assert_eq!(lost(lossy(), stream(9000, 8999), 520), None);
        let changed = |change: &dyn Fn(&mut Evidence)| {
            let mut step = lossy();
            change(&mut step.evidence[0]);
            lost(step, idle(9000, 8999), 520)
        };
        assert_eq!(changed(&|_| ()), Some(497));
        let softnet = |dropped| Some(SoftnetCounts { dropped, ..SoftnetCounts::still() });
        assert_eq!(changed(&|here| here.softnet = softnet(Some(480))), None);
        assert_eq!(changed(&|here| here.softnet = softnet(None)), None);
        assert_eq!(changed(&|here| here.nics = None), None);
        let nic = |missed| {
            let counts = NicCounts { receive_missed: Some(missed), ..NicCounts::still() };
            Some(vec![NicActivity { nic: "e0".into(), counts }])
        };
        assert_eq!(changed(&|here| here.nics = nic(480)), None);
        assert_eq!(changed(&|here| here.tcp = None), None);
        // One host of both ends.
        assert_eq!(changed(&|here| here.same_as = Some(NodeId::SERVER)), None);
    }
}
