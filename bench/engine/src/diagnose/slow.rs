//! NICs against one another: one of several that carries a small part of what its like do. What is somewhat less ([`nearly`]) takes more than one
//! try, and another NIC that was tried alike.
//!
//! Refuses to accuse one whose streams all waited so long for a processor that this could be why: that is asked once more, and is open where it
//! stays so.

mod nearly;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pathproof_model::code;
use pathproof_model::finding::{Code, Topic};
use pathproof_model::judge::{could_explain_rate, nics_of, still_grew};
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, End, Finding, FollowUp, NodeId, ResultDoc, Step, TrafficSpec};

use super::rates::{full_core, is_flat, is_steady};
use super::{Rule, busy};
use crate::channels::packet_path::is_tunnel;
pub use nearly::slow_like;

/// Where the best of them carries so many times as much, it shows at once.
const PLAIN: f64 = 2.5;
/// A link of which another one is so many times as fast is a slower one.
const SLOWER: f64 = 2.0;

/// What each NIC carried by itself in one direction.
type ByNic<'a> = BTreeMap<String, Best<'a>>;

/// What a NIC carried by itself in one direction.
struct Best<'a> {
    /// At its best.
    rate: u64,
    /// Every stream that tried, the best first.
    tries: Vec<(u64, &'a Step)>,
}

impl<'a> Best<'a> {
    /// The best try of those whose threads did not wait for so long that a NIC which carries one in `times` of `best` could have shown this rate: one
    /// such is enough to know that it is slow.
    fn calm(&self, best: u64, times: f64) -> Option<&'a Step> {
        let starved =
            |step: &Step| !is_steady(step) && could_explain_rate(step, self.rate as f64, best as f64 / times);
        self.tries.iter().map(|(_, step)| *step).find(|step| !starved(step))
    }

    /// The best try.
    fn step(&self) -> Option<&'a Step> {
        self.tries.first().map(|(_, step)| *step)
    }
}

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("NIC-SLOW"), code!("HOST-BUSY")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut found = Vec::new();
    for (way, lanes) in questions(doc) {
        let alone = by_nic(doc, way, lanes);
        let Some((best_nic, best)) = alone.iter().max_by_key(|(_, best)| best.rate) else { continue };
        let like = (best_nic.as_str(), best);
        found.extend(alone.iter().filter_map(|(nic, own)| {
            slow(doc, way, nic, own, like).or_else(|| nearly::finding(doc, way, &alone, nic))
        }));
    }
    // One finding for a NIC that is slow both ways.
    let mut told: Vec<Finding> = Vec::new();
    for finding in found {
        let same =
            |one: &&mut Finding| one.code == finding.code && one.told(told::NIC) == finding.told(told::NIC);
        match told.iter_mut().find(same) {
            Some(one) => {
                one.evidence = format!("{}; {}", one.evidence, finding.evidence);
                one.severity = one.severity.max(finding.severity);
            }
            None => told.push(finding),
        }
    }
    // Of one that is known to be slow nothing is open.
    let slow = told.iter().filter(|one| one.is(code!("NIC-SLOW")));
    let known: Vec<Option<String>> = slow.map(|one| one.told(told::NIC)).collect();
    told.retain(|one| one.is(code!("NIC-SLOW")) || !known.contains(&one.told(told::NIC)));
    told
}

/// One lane may be bound by a limit that several are not, so like is held against like: each way, and each number of lanes.
fn questions(doc: &ResultDoc) -> Vec<(Direction, u32)> {
    let mut lanes: Vec<u32> = doc.steps.iter().filter_map(lanes_of).collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes.iter().flat_map(|lanes| [(Direction::Out, *lanes), (Direction::In, *lanes)]).collect()
}

/// The next stream that asks again where a NIC was slow one way in a single stream, both ways at once: that way alone, and where hosts were so busy
/// in both that it is still open, once more. Where its link is a slower one, there is no question.
pub fn slow_once(doc: &ResultDoc) -> Option<TrafficSpec> {
    let both =
        |step: &&Step| step.follows_up == Some(FollowUp::Alone) && step.direction == Some(Direction::Both);
    for (way, lanes) in questions(doc) {
        let alone = by_nic(doc, way, lanes);
        let Some((best_nic, best)) = alone.iter().max_by_key(|(_, best)| best.rate) else { continue };
        for (nic, own) in &alone {
            if let Some(next) = nearly::once(doc, way, &alone, nic, (best_nic.as_str(), best.rate)) {
                return Some(next);
            }
            let (tried, most) = match own.calm(best.rate, PLAIN) {
                Some(_) => (own.step().filter(both), 1),
                None => (own.tries.iter().map(|(_, step)| *step).find(both), 2),
            };
            let Some(traffic) = tried.and_then(|step| step.spec.as_ref()?.traffic()) else { continue };
            let again = times_asked(doc, way, traffic);
            let open = again < most && slower_link(doc, nic, best_nic, SLOWER).is_none();
            if open && slow(doc, way, nic, own, (best_nic.as_str(), best)).is_some() {
                return Some(TrafficSpec { direction: way, ..traffic.clone() });
            }
        }
    }
    None
}

/// How often a NIC was asked one way alone by streams of the plan's kind that may take what there is.
fn times_asked(doc: &ResultDoc, way: Direction, like: &TrafficSpec) -> usize {
    let again = doc.steps.iter().filter(|step| {
        let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
        step.follows_up == Some(FollowUp::Alone)
            && step.direction == Some(way)
            && traffic.is_some_and(|traffic| traffic.is_free() && traffic.options == like.options)
    });
    again.count()
}

/// The speeds of a NIC and of another, where that one's is so many times as much and more.
fn slower_link(doc: &ResultDoc, nic: &str, like: &str, times: f64) -> Option<(u64, u64)> {
    let speed = |name: &str| {
        let nic = doc.environment(NodeId::CLIENT)?.nics.iter().find(|nic| nic.name == name)?;
        nic.speed_bits_per_s
    };
    let (own, other) = (speed(nic)?, speed(like)?);
    (own as f64 * times <= other as f64).then_some((own, other))
}

/// The NIC that all of a step's lanes at the client went over, where it was one.
pub(super) fn only_nic(doc: &ResultDoc, step: &Step) -> Option<String> {
    let host = doc.environment(NodeId::CLIENT)?;
    let mut nics: Vec<String> = Vec::new();
    for lane in step.lanes.iter().filter(|lane| lane.end == End::Client) {
        nics.extend(nics_of(host, lane)?.into_iter().map(|nic| nic.name.clone()));
    }
    nics.sort_unstable();
    nics.dedup();
    nics.pop().filter(|_| nics.is_empty())
}

/// Streams that took what there is over one NIC each by itself, over which no stream of the plan went.
pub(super) fn beside_plan(doc: &ResultDoc) -> impl Iterator<Item = &Step> {
    let streams = doc.steps.iter().filter(|step| step.kind.traits().bulk && step.error.is_none());
    let planned = streams.clone().filter(|step| step.follows_up.is_none());
    let used: Vec<String> = planned.filter_map(|step| only_nic(doc, step)).collect();
    streams.filter(move |step| {
        let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
        step.follows_up == Some(FollowUp::Alone)
            && traffic.is_some_and(TrafficSpec::is_free)
            && only_nic(doc, step).is_some_and(|nic| !used.contains(&nic))
    })
}

fn lanes_of(step: &Step) -> Option<u32> {
    Some(step.spec.as_ref()?.traffic()?.lanes)
}

/// What a step carried one way.
pub(super) fn rate_of(step: &Step, way: Direction) -> Option<u64> {
    match step.direction {
        Some(Direction::Both) => {
            let flow = step.flows.iter().find(|flow| flow.name == way.name());
            flow.and_then(|flow| flow.summary.goodput_bits_per_s)
        }
        direction => step.summary.goodput_bits_per_s.filter(|_| direction == Some(way)),
    }
}

fn by_nic(doc: &ResultDoc, way: Direction, lanes: u32) -> ByNic<'_> {
    let mut all: ByNic<'_> = BTreeMap::new();
    for step in doc.steps.iter().filter(|step| step.kind.traits().bulk && step.error.is_none()) {
        let asked = lanes_of(step) == Some(lanes) && !still_grew(step);
        let aside = matches!(step.follows_up, Some(FollowUp::Cause | FollowUp::Search | FollowUp::Port));
        if !asked || aside || step.detail.failover.is_some() {
            continue;
        }
        let free =
            step.spec.as_ref().and_then(|spec| spec.traffic()).is_some_and(|traffic| traffic.is_free());
        let (Some(rate), Some(nic), true) = (rate_of(step, way), only_nic(doc, step), free) else { continue };
        let own = all.entry(nic).or_insert(Best { rate, tries: vec![] });
        own.rate = own.rate.max(rate);
        own.tries.push((rate, step));
    }
    all.values_mut().for_each(|own| own.tries.sort_by_key(|(rate, _)| Reverse(*rate)));
    all
}

/// Whether packets as large as its own vanish on the way of a NIC: a stream over it stands still then, and is not slow.
fn swallowed(doc: &ResultDoc, nic: &str) -> bool {
    doc.findings.iter().any(|finding| {
        finding.is(code!("MTU-BLACKHOLE")) && finding.told(told::LOCAL_NIC).as_deref() == Some(nic)
    })
}

/// Whether a NIC is a tunnel: what goes by it goes by another one of the host as well, and is packed first, which costs what it costs.
pub(super) fn carries_packed(doc: &ResultDoc, nic: &str) -> bool {
    let host = doc.environment(NodeId::CLIENT);
    host.is_some_and(|host| host.nics.iter().any(|one| one.name == nic && is_tunnel(one)))
}

fn slow(
    doc: &ResultDoc,
    way: Direction,
    nic: &str,
    own: &Best<'_>,
    (like, best): (&str, &Best<'_>),
) -> Option<Finding> {
    let factor = best.rate as f64 / own.rate.max(1) as f64;
    // What is packed is slower for that, but not nothing.
    let known = if own.rate == 0 { swallowed(doc, nic) } else { carries_packed(doc, nic) };
    if nic == like || factor < PLAIN || known {
        return None;
    }
    // Of nothing there is no multiple.
    let (carries, times) = match own.rate {
        0 => ("nothing".into(), String::new()),
        rate => (BitsPerSecond(rate).to_string(), format!(" ({factor:.1} times as much)")),
    };
    let said = format!(
        "{nic} carries {carries} {} by itself, {like} {}{times}",
        way.name(),
        BitsPerSecond(best.rate)
    );
    let Some(step) = own.calm(best.rate, PLAIN) else {
        let open =
            busy::left_open(own.step()?, &said, &format!("whether {nic} is slow"), &[code!("NIC-SLOW")]);
        return Some(open.tell(told::NIC, nic).with("factor", factor));
    };
    let link = slower_link(doc, nic, like, SLOWER);
    let (why, open) = why(doc, nic, (own.rate, step), (like, best.step()), link);
    let said = format!("{said}: {why}");
    Some(Finding::new("NIC-SLOW", said).tell(told::NIC, nic).with("factor", factor).open(&open))
}

/// Why it is slow, as far as that is known: the first that applies; and what else it may be where nothing does.
fn why(
    doc: &ResultDoc,
    nic: &str,
    (rate, step): (u64, &Step),
    (like, beside): (&str, Option<&Step>),
    link: Option<(u64, u64)>,
) -> (String, Vec<Code>) {
    let lossy = doc.findings.iter().any(|finding| {
        finding.is_about(Topic::Loss) && finding.told(told::LOCAL_NIC).as_deref() == Some(nic)
    });
    // A processor that is as full over both is no difference between them.
    let like_core = beside.and_then(full_core);
    let core = full_core(step).filter(|_| like_core.is_none());
    let mut open = vec![];
    let why = match link {
        Some((own, other)) => {
            format!("its link has {}, that of {like} {}", BitsPerSecond(own), BitsPerSecond(other))
        }
        None if lossy => "packets of this pair are lost even at a low pace".into(),
        None => match core {
            Some(core) => format!(
                "{}, and over {like} none was as full, so it is a processor that bounds it",
                core.said
            ),
            None if rate > 0 && is_flat(step) => {
                "its rate is flat, so a limit or a slower link lies on its way".into()
            }
            None => {
                open = vec![
                    code!("TCP-RETRANSMITS"),
                    code!("PATH-POLICED"),
                    code!("HOST-STARVED"),
                    code!("TCP-RESET"),
                ];
                "either packets are lost at full rate or a host is slow there: the rate is not flat".into()
            }
        },
    };
    (why, open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::{
        Connection, Environment, Flow, LaneResult, Nic, Node, StepKind, StepSpec, Summary, Tool, Waited,
    };

    fn stream(nic: &str, mbit: u64, waited_ms: u64) -> Step {
        let mut step = Step::new(StepKind::Stream, format!("{nic} alone"));
        step.direction = Some(Direction::Out);
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        step.summary.goodput_bits_per_s = Some(mbit * 1_000_000);
        let scheduled = Some(Waited { waited_ns: waited_ms * 1_000_000, of_ns: 1_000_000_000 });
        step.lanes =
            vec![LaneResult { end: End::Client, nics: vec![nic.into()], scheduled, ..LaneResult::default() }];
        step
    }

    fn told(steps: Vec<Step>) -> Vec<String> {
        let nic = |name: &str| Nic { name: name.into(), ..Nic::default() };
        let host = Environment { nics: vec![nic("e0"), nic("e1")], ..Environment::default() };
        let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(host))];
        findings(&doc).into_iter().map(|finding| finding.evidence).collect()
    }

    #[test]
    fn the_slow_one_is_named_beside_its_like() {
        let found = told(vec![stream("e0", 190, 5), stream("e1", 19, 5)]);
        assert!(found.len() == 1 && found[0].contains("e1 carries 19.0 Mbit/s out"), "{found:?}");
        assert!(found[0].contains("e0 190.0 Mbit/s (10.0 times as much)"), "{found:?}");
    }

    #[test]
    fn a_tunnel_over_a_nic_is_no_slow_one_beside_it() {
        let of = |kind: Option<&str>, mbit: u64| {
            let nic = |name: &str, kind: Option<&str>| Nic {
                name: name.into(),
                kind: kind.map(Into::into),
                ..Nic::default()
            };
            let host =
                Environment { nics: vec![nic("e0", None), nic("wg0", kind)], ..Environment::default() };
            let steps = vec![stream("e0", 190, 5), stream("wg0", mbit, 5)];
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            doc.nodes = vec![Node::here(Some(host))];
            findings(&doc).len()
        };
        let told = |kind| of(kind, 19);
        assert_eq!(
            (told(Some("wireguard")), told(Some("vxlan")), told(Some("vlan")), told(None)),
            (0, 0, 1, 1)
        );
        assert_eq!(of(Some("wireguard"), 0), 1, "no packing makes nothing of it");
    }

    #[test]
    fn a_processor_that_only_the_slow_one_fills_is_its_cause() {
        let filled = |nic: &str, mbit| {
            let mut step = stream(nic, mbit, 5);
            step.lanes[0].window_ns = 1_000_000_000;
            step.lanes[0].cpu_ns = Some(960_000_000);
            step
        };
        let found = told(vec![stream("e0", 190, 5), filled("e1", 19)]);
        assert!(found[0].ends_with("so it is a processor that bounds it"), "{found:?}");
        let both = told(vec![filled("e0", 190), filled("e1", 19)]);
        assert!(both[0].ends_with("the rate is not flat"), "{both:?}");
    }

    #[test]
    fn a_nic_that_carries_nothing_is_told_without_a_multiple_and_not_beside_a_black_hole() {
        let found = told(vec![stream("e0", 190, 5), stream("e1", 0, 5)]);
        assert!(found[0].starts_with("e1 carries nothing out by itself, e0 190.0 Mbit/s: "), "{found:?}");
        let with_hole = |nic: &str, mbit: u64| {
            let host = Environment {
                nics: ["e0", "e1"].map(|name| Nic { name: name.into(), ..Nic::default() }).into(),
                ..Environment::default()
            };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.steps = vec![stream("e0", 190, 5), stream("e1", mbit, 5)];
            doc.nodes = vec![Node::here(Some(host))];
            doc.findings = vec![Finding::new("MTU-BLACKHOLE", "seen").tell(told::LOCAL_NIC, nic)];
            findings(&doc).len()
        };
        // Another NIC's hole explains nothing, and a hole no rate that is only low.
        assert_eq!((with_hole("e1", 0), with_hole("e0", 0), with_hole("e1", 19)), (0, 1, 1));
    }

    #[test]
    fn a_little_less_a_busy_host_and_one_nic_alone_are_nothing() {
        assert_eq!(told(vec![stream("e0", 190, 5), stream("e1", 90, 5)]), [""; 0]);
        assert_eq!(told(vec![stream("e0", 190, 5), stream("e0", 19, 5)]), [""; 0]);
    }

    #[test]
    fn one_that_was_slow_while_its_host_was_busy_is_open_until_a_stream_had_a_processor() {
        let open = told(vec![stream("e0", 190, 5), stream("e1", 50, 600)]);
        let says = "this host was busy: lane threads waited 600.00 ms of 1.00 s for a CPU: e1 carries 50.0 Mbit/s out by itself, e0 190.0 Mbit/s \
                    (3.8 times as much), so it is open whether e1 is slow";
        assert_eq!(open, [says]);
        // No waiting makes so little of it.
        assert!(
            told(vec![stream("e0", 190, 5), stream("e1", 5, 600)])[0].starts_with("e1 carries 5.0 Mbit/s")
        );
        // One that had a processor tells, whether the other carried more or less; and busy twice is busy.
        let tried = |again: u64, waited_ms: u64| {
            told(vec![stream("e0", 190, 5), stream("e1", 50, 600), stream("e1", again, waited_ms)])
        };
        for again in [40, 60] {
            assert!(tried(again, 5)[0].starts_with("e1 carries "), "{:?}", tried(again, 5));
        }
        assert_eq!(tried(150, 600), [""; 0]);
        assert_eq!(tried(150, 5), [""; 0]);
        assert_eq!(tried(20, 600), open, "what the other carried this one could have as well");
    }

    #[test]
    fn what_a_busy_host_left_open_is_no_pass() {
        use pathproof_model::{Criteria, Outcome, Severity, Subject, judge};
        let judged = |waited_ms: u64| {
            let nic = |name: &str| Nic { name: name.into(), ..Nic::default() };
            let host = Environment { nics: vec![nic("e0"), nic("e1")], ..Environment::default() };
            let steps = vec![stream("e0", 190, 5), stream("e1", 50, waited_ms)];
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            doc.nodes = vec![Node::here(Some(host))];
            doc.findings = findings(&doc);
            assert_eq!(doc.findings.len(), 1);
            let subject = Subject::Finding(doc.findings[0].code.clone());
            let verdicts = judge::judge(&doc, &Criteria::default());
            let own = verdicts.into_iter().find(|verdict| verdict.subject == subject).unwrap();
            (doc.findings[0].severity, own.outcome, own.reason)
        };
        let (severity, outcome, reason) = judged(600);
        assert_eq!((severity, outcome), (Severity::Info, Outcome::Inconclusive));
        assert!(reason.starts_with("cannot tell: this host was busy: "), "{reason}");
        assert_eq!(judged(5).1, Outcome::Fail);
    }

    #[test]
    fn a_nic_that_was_slow_once_one_way_is_asked_that_way_alone_and_the_better_of_the_two_counts() {
        let document = |again: Option<u64>, speeds: [u64; 2]| {
            // Out as slow as it says, in as fast as the other.
            let mut both = stream("e1", 0, 5);
            let flow = |name: &str, mbit: u64| Flow {
                name: name.into(),
                summary: Summary { goodput_bits_per_s: Some(mbit * 1_000_000), ..Summary::default() },
                ..Flow::default()
            };
            (both.follows_up, both.direction) = (Some(FollowUp::Alone), Some(Direction::Both));
            let spec = TrafficSpec { direction: Direction::Both, ..TrafficSpec::default() };
            both.spec = Some(StepSpec::Stream(spec));
            both.flows = vec![flow("out", 19), flow("in", 180)];
            let mut steps = vec![stream("e0", 190, 5), both];
            steps.extend(again.map(|mbit| {
                let mut step = stream("e1", mbit, 5);
                step.follows_up = Some(FollowUp::Alone);
                step
            }));
            let nics = ["e0", "e1"].into_iter().zip(speeds).map(|(name, speed)| Nic {
                name: name.into(),
                speed_bits_per_s: Some(speed),
                ..Nic::default()
            });
            let host = Environment { nics: nics.collect(), ..Environment::default() };
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            doc.nodes = vec![Node::here(Some(host))];
            doc
        };
        let alike = [1_000_000_000; 2];
        let next = slow_once(&document(None, alike)).unwrap();
        assert_eq!(next.direction, Direction::Out);
        let told = |again: u64| {
            let doc = document(Some(again), alike);
            (slow_once(&doc), findings(&doc).len())
        };
        assert_eq!((told(20), told(12), told(185)), ((None, 1), (None, 1), (None, 0)));
        assert_eq!(
            slow_once(&document(None, [1_000_000_000, 100_000_000])),
            None,
            "a slower link is no question"
        );
        // Where hosts were busy, it is asked once more, and then it is open.
        let busy = |again: usize| {
            let mut doc = document(None, alike);
            let own = doc.steps[1].flows[0].summary.goodput_bits_per_s.as_mut().unwrap();
            *own = 50_000_000;
            let mut step = stream("e1", 50, 600);
            step.follows_up = Some(FollowUp::Alone);
            doc.steps[1].lanes = step.lanes.clone();
            doc.steps.extend(vec![step; again]);
            let codes: Vec<String> = findings(&doc).into_iter().map(|finding| finding.code).collect();
            (slow_once(&doc).map(|spec| spec.direction), codes)
        };
        let open = || vec!["HOST-BUSY".to_owned()];
        assert_eq!(busy(0), (Some(Direction::Out), open()));
        assert_eq!(busy(1), (Some(Direction::Out), open()));
        assert_eq!(busy(2), (None, open()));
    }

    #[test]
    fn only_what_was_asked_alike_and_for_long_enough_is_held_against_each_other() {
        let mut four = stream("e0", 190, 5);
        four.spec.as_mut().and_then(StepSpec::traffic_mut).unwrap().lanes = 4;
        assert_eq!(told(vec![four, stream("e1", 19, 5)]), [""; 0], "each connection may have its limit");
        // 400 ms over a path of 100 ms: the connection still grew.
        let mut short = stream("e1", 19, 5);
        let counts = ConnectionCounts { rtt_min_ns: Some(100_000_000), ..ConnectionCounts::still() };
        short.lanes[0].connection = Some(Connection { counts, ..Connection::default() });
        short.lanes[0].window_ns = 400_000_000;
        assert_eq!(told(vec![stream("e0", 190, 5), short]), [""; 0]);
    }
}
