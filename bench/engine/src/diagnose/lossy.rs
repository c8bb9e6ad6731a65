//! Segments of TCP that one more NIC loses whatever the load, while datagrams pass.
//!
//! A stream at full rate fills queues, and what those drop is no fault. So where one over a NIC by itself loses all along, another one goes over it at a
//! quarter of that rate, which fills none and stays below what a limit throws away: what is lost then is lost on the way. It says nothing of a NIC of
//! which paced datagrams are lost: that is told by those.

use pathproof_model::code;
use pathproof_model::finding::Topic;
use pathproof_model::judge::repeats::lost_segments;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{
    Direction, Finding, FollowUp, LaneRole, NodeId, ResultDoc, Severity, Share, Step, TrafficSpec,
};

use super::Rule;
use super::slow::{beside_plan, carries_packed, only_nic, rate_of};

/// Of what goes over a NIC surely so much must be lost.
const LOSSY_SHARE: f64 = 0.002;
/// Fewer may have met something else.
const FEW: u64 = 5;
/// One in so many of what it carries at full rate fills no queue.
const SLOWER: u64 = 4;
/// A quarter of less is too few segments to tell.
const LEAST_BITS_PER_S: u64 = 4_000_000;
/// Small messages come evenly.
const MESSAGE_BYTES: u64 = 8 << 10;
const WINDOW_NS: u64 = 1_000_000_000;

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PATH-LOSS")], find: findings }];
const WAYS: [Direction; 2] = [Direction::Out, Direction::In];

/// A stream at full rate over one NIC that lost segments all along, one way.
struct Losing<'a> {
    step: &'a Step,
    nic: String,
    way: Direction,
    rate: u64,
    lost: Share,
}

fn sender(way: Direction) -> NodeId {
    if way == Direction::In { NodeId::SERVER } else { NodeId::CLIENT }
}

fn losing(doc: &ResultDoc) -> Vec<Losing<'_>> {
    // A link that is gone for a moment loses what is under way, and a segment with a wrong checksum arrived.
    let changed = |one: &Finding| one.is(code!("TCP-CHECKSUM")) || one.is(code!("PATH-CORRUPTS"));
    if doc.findings.iter().any(changed) || !super::links::findings(doc).is_empty() {
        return vec![];
    }
    let mut all = vec![];
    for step in beside_plan(doc) {
        let Some(nic) = only_nic(doc, step).filter(|nic| !carries_packed(doc, nic)) else { continue };
        for way in WAYS {
            let lost = lost_segments(step, sender(way));
            let is_told = doc.findings.iter().any(|one| is_of(one, &nic, way));
            let Some(rate) = rate_of(step, way).filter(|rate| *rate >= LEAST_BITS_PER_S) else { continue };
            if !is_told && is_lossy(lost) && is_lost_all_along(step, way) {
                all.push(Losing { step, nic: nic.clone(), way, rate, lost });
            }
        }
    }
    all
}

/// Whether a finding tells that datagrams of a NIC are lost that way.
fn is_of(finding: &Finding, nic: &str, way: Direction) -> bool {
    finding.is_about(Topic::Loss)
        && finding.told(told::LOCAL_NIC).is_none_or(|own| own == nic)
        && finding.told(told::DIRECTION).is_none_or(|own| own == way)
}

fn is_lossy(lost: Share) -> bool {
    lost.part >= FEW && lost.bounds().0 >= LOSSY_SHARE
}

/// Whether segments were sent again in at least half of the slices of a way: a queue that a stream filled once is a slice or two of many.
fn is_lost_all_along(step: &Step, way: Direction) -> bool {
    let mut sending = step.series.iter().filter(|one| one.role == LaneRole::Send && one.node == sender(way));
    sending.any(|series| {
        let again = series.retransmits.iter().filter(|count| count.is_some_and(|count| count > 0)).count();
        again > 0 && again * 2 >= series.retransmits.len()
    })
}

/// The streams at a quarter of the rate that followed such a one, whatever became of them.
fn slower<'a>(doc: &'a ResultDoc, losing: &Losing<'_>) -> Vec<&'a Step> {
    let options = losing.step.spec.as_ref().and_then(|spec| spec.traffic()).map(|traffic| &traffic.options);
    let asked = doc.steps.iter().filter(|step| {
        let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
        let paced = traffic.filter(|traffic| traffic.rate_bits_per_s.is_some());
        step.follows_up == Some(FollowUp::Alone)
            && step.direction == Some(losing.way)
            && paced.map(|traffic| &traffic.options) == options
    });
    asked.collect()
}

/// The next stream at a quarter of the rate, where one at full rate over a NIC by itself lost segments all along.
pub fn slower_once(doc: &ResultDoc) -> Option<TrafficSpec> {
    let mut open = losing(doc).into_iter().filter(|one| slower(doc, one).is_empty());
    open.find_map(|one| {
        let traffic = one.step.spec.as_ref()?.traffic()?;
        Some(TrafficSpec {
            direction: one.way,
            size_bytes: MESSAGE_BYTES,
            time_ns: WINDOW_NS,
            rate_bits_per_s: Some(one.rate / SLOWER),
            ..traffic.clone()
        })
    })
}

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut found: Vec<Finding> = vec![];
    for one in losing(doc) {
        let known = found.iter().any(|known| is_of(known, &one.nic, one.way));
        let asked = slower(doc, &one).into_iter().filter(|step| step.error.is_none());
        let lost = asked.map(|step| lost_segments(step, sender(one.way))).find(|lost| is_lossy(*lost));
        found.extend(lost.filter(|_| !known).map(|lost| finding(&one, lost)));
    }
    found
}

fn finding(losing: &Losing<'_>, slow: Share) -> Finding {
    let (nic, way, full) = (&losing.nic, losing.way, losing.lost);
    let percent = |share: Share| share.point().unwrap_or(0.0) * 100.0;
    let said = format!(
        "{}: over {nic} by itself {} of {} segments of TCP were lost at full rate ({:.2} %), all along, and {} of {} at a quarter of it ({:.2} %), {}, \
         which fills no queue: they are lost on the way whatever the load",
        way.name(),
        full.part,
        full.of,
        percent(full),
        slow.part,
        slow.of,
        percent(slow),
        BitsPerSecond(losing.rate / SLOWER)
    );
    let finding = Finding::new("PATH-LOSS", said).with_severity(Severity::Error);
    let finding = finding.tell(told::LOCAL_NIC, nic.clone()).tell(told::DIRECTION, way);
    finding.tell(told::PART, slow.part).tell(told::OF, slow.of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::series::Series;
    use pathproof_model::{
        Connection, End, Environment, Flow, LaneResult, Nic, Node, StepKind, StepSpec, Summary, Tool,
    };

    /// A stream over e1 by itself: what it carried out in Mbit/s, its pace where it had one, and what was sent again of how many segments and in which
    /// of its slices.
    fn stream(mbit: u64, pace: Option<u64>, lost: [u64; 2], slices: [u64; 4]) -> Step {
        let mut step = Step::new(StepKind::Stream, "e1 alone");
        let way = if pace.is_some() { Direction::Out } else { Direction::Both };
        (step.direction, step.follows_up) = (Some(way), Some(FollowUp::Alone));
        let mut traffic = TrafficSpec { direction: way, rate_bits_per_s: pace, ..TrafficSpec::default() };
        traffic.options.insert("nic".into(), "e1".into());
        step.spec = Some(StepSpec::Stream(traffic));
        let summary = Summary { goodput_bits_per_s: Some(mbit * 1_000_000), ..Summary::default() };
        step.flows = [Direction::Out, Direction::In]
            .map(|way| Flow { name: way.name().into(), summary: summary.clone(), ..Flow::default() })
            .into();
        let counts = ConnectionCounts {
            retransmitted_segments: Some(lost[0]),
            delivered_segments: Some(lost[1]),
            ..ConnectionCounts::still()
        };
        step.lanes = vec![LaneResult {
            end: End::Client,
            role: LaneRole::Send,
            nics: vec!["e1".into()],
            connection: Some(Connection { counts, ..Connection::default() }),
            ..LaneResult::default()
        }];
        step.series = vec![Series {
            node: NodeId::CLIENT,
            role: LaneRole::Send,
            retransmits: slices.map(Some).into(),
            ..Series::default()
        }];
        step
    }

    fn document(steps: Vec<Step>) -> ResultDoc {
        let nic = |name: &str| Nic { name: name.into(), ..Nic::default() };
        let host = Environment { nics: vec![nic("e0"), nic("e1")], ..Environment::default() };
        let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(host))];
        doc
    }

    /// As a path shows it that loses one in a hundred segments of TCP.
    fn full() -> Step {
        stream(188, None, [98, 10_100], [24, 19, 31, 24])
    }

    fn paced(lost: u64) -> Step {
        stream(47, Some(47_000_000), [lost, 4_500], [lost / 4; 4])
    }

    #[test]
    fn a_nic_that_loses_all_along_is_asked_at_a_quarter_of_the_rate_once() {
        let asked = |steps: Vec<Step>| {
            let next = slower_once(&document(steps))?;
            Some((next.direction, next.rate_bits_per_s, next.size_bytes))
        };
        assert_eq!(asked(vec![full()]), Some((Direction::Out, Some(47_000_000), MESSAGE_BYTES)));
        assert_eq!(asked(vec![full(), paced(44)]), None);
        // A queue that overflowed once, and a few.
        assert_eq!(asked(vec![stream(188, None, [98, 10_100], [98, 0, 0, 0])]), None);
        assert_eq!(asked(vec![stream(188, None, [12, 10_100], [3, 3, 3, 3])]), None);
        // The plan's own NIC, and one of which datagrams are lost.
        let planned = Step { follows_up: None, ..full() };
        assert_eq!(asked(vec![planned, full()]), None);
        let mut doc = document(vec![full()]);
        doc.findings = vec![Finding::new("PATH-LOSS", "seen").tell(told::LOCAL_NIC, "e1")];
        assert_eq!(slower_once(&doc), None);
        doc.findings = vec![Finding::new("PATH-LOSS", "seen").tell(told::LOCAL_NIC, "e0")];
        assert!(slower_once(&doc).is_some(), "another NIC's loss says nothing of this one");
    }

    #[test]
    fn what_is_lost_at_a_quarter_of_the_rate_as_well_is_lost_on_the_way() {
        let found = |steps: Vec<Step>| findings(&document(steps));
        let lossy = found(vec![full(), paced(44)]);
        assert_eq!((lossy.len(), &*lossy[0].code, lossy[0].severity), (1, "PATH-LOSS", Severity::Error));
        let says = "out: over e1 by itself 98 of 10198 segments of TCP were lost at full rate (0.96 %), all along, and 44 of 4544 at a quarter of it";
        assert!(lossy[0].evidence.starts_with(says), "{}", lossy[0].evidence);
        assert_eq!(lossy[0].told(told::LOCAL_NIC).as_deref(), Some("e1"));
        // What a limit or a queue took at full rate is whole below it; nobody asked; it was not made.
        assert_eq!(found(vec![full(), paced(2)]), []);
        assert_eq!(found(vec![full()]), []);
        let mut cut = paced(44);
        let message = "it was not run".to_owned();
        cut.error = Some(pathproof_model::StepError::new(pathproof_model::ErrorKind::OutOfTime, message));
        assert_eq!(found(vec![full(), cut]), []);
    }
}
