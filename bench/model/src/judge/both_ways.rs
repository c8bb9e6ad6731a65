//! Both directions at once against what each carries alone.

use super::busy::{could_explain_rate, unless_busy};
use super::full::full_host;
use super::held::held_by_network;
use super::link::nics_of;
use super::names;
use super::repeats::Repeats;
use super::traffic::looped;
use crate::units::BitsPerSecond;
use crate::{Check, Criteria, Direction, End, FollowUp, NodeId, ResultDoc, Step, StepSpec, Unit};

const NAME: &str = names::BOTH_WAYS_SHARE;
/// Streams in both directions at once, and the best of each alone.
#[derive(Clone, Copy, Debug)]
pub struct BothWays<'a> {
    /// The step with both.
    pub step: &'a Step,
    /// Out and in together, in bit/s.
    pub together: [u64; 2],
    /// Out and in, each alone, in bit/s.
    pub alone: [u64; 2],
    /// The steps of those.
    like: [&'a Step; 2],
    /// How often both together were tried: what counts is the try that carried most.
    tries: usize,
    /// What the weaker way carries alone by now, where that is no more than it does beside the other.
    fell: Option<u64>,
}

impl BothWays<'_> {
    /// What is carried together, as a share of what each carries alone.
    pub fn share(&self) -> f64 {
        let sum = |rates: [u64; 2]| rates[0] as f64 + rates[1] as f64;
        sum(self.together) / sum(self.alone)
    }

    /// Whether that is less than `share_min`, and no host explains it.
    pub fn falls_short(&self, share_min: f64) -> bool {
        self.check(share_min).outcome == crate::Outcome::Fail
    }

    /// The way that carries the smaller part of what it does alone.
    pub fn weaker(&self) -> Direction {
        let [out, inward] = [0, 1].map(|at: usize| self.together[at] as f64 / self.alone[at].max(1) as f64);
        if out <= inward { Direction::Out } else { Direction::In }
    }

    /// The weaker way and what it carries alone by now, in bit/s, where that was asked after both together and is as little: then its own rate
    /// fell, and nothing is known to be shared.
    pub fn fell(&self) -> Option<(Direction, u64)> {
        self.fell.map(|rate| (self.weaker(), rate))
    }

    /// In words, for a verdict and a finding.
    pub fn words(&self) -> String {
        let [out, inward] = self.together.map(BitsPerSecond);
        let [out_alone, in_alone] = self.alone.map(BitsPerSecond);
        let tries =
            if self.tries > 1 { format!(" (the better of {} tries)", self.tries) } else { String::new() };
        format!(
            "both ways at once carry {out} out and {inward} in, {:.0} % of {out_alone} and {in_alone} alone{tries}",
            self.share() * 100.0
        )
    }

    fn check(&self, share_min: f64) -> Check {
        let (share, words) = (self.share(), self.words());
        let enough = share >= share_min;
        let numbers = |check: Check| check.numbers(share, share_min, Unit::Share);
        let no_path = || looped(self.step).then(|| "it is a loopback".to_owned());
        let fell = || {
            let (way, rate) = self.fell()?;
            Some(format!("{} alone carries no more than {} by now", way.name(), BitsPerSecond(rate)))
        };
        if !enough && let Some(why) = no_path().or_else(|| full_host(self.step)).or_else(fell) {
            return numbers(Check::not_judged(NAME, format!("{words}; not judged: {why}")));
        }
        let limit = share_min * 100.0;
        let text = match enough {
            true => format!("{words} (at least {limit:.0} %)"),
            false => format!("{words}, below the limit of {limit:.0} %"),
        };
        let check = numbers(Check::of(NAME, enough, text));
        // Threads that had time left, on hosts that were as busy while each way alone carried what it can, do not explain what both
        // together lack.
        unless_busy(check, self.step, |hosts| {
            hosts.explain_rate(share, share_min) && (hosts.occupied() || hosts.more_than(&self.like))
        })
    }
}

/// What a stream was asked for that could take what the path has: one of the plan, or one that followed it up for `why`.
fn free(step: &Step, why: Option<FollowUp>) -> Option<&crate::TrafficSpec> {
    let whole = step.kind.traits().bulk
        && step.follows_up == why
        && step.error.is_none()
        && step.detail.failover.is_none();
    let traffic = step.spec.as_ref().and_then(StepSpec::traffic)?;
    (whole && traffic.is_free()).then_some(traffic)
}

/// Out and in of a stream that goes both ways.
fn together(step: &Step) -> Option<[u64; 2]> {
    let [(_, out), (_, inward)] = step.parts()[..] else { return None };
    Some([out.goodput_bits_per_s?, inward.goodput_bits_per_s?])
}

/// The best stream of a direction, among `like`.
fn best<'a>(like: impl Iterator<Item = &'a Step>, direction: Direction) -> Option<(u64, &'a Step)> {
    let rates = like
        .filter(|other| other.direction == Some(direction))
        .filter_map(|other| Some((other.summary.goodput_bits_per_s?, other)));
    rates.max_by_key(|(rate, _)| *rate).filter(|(rate, _)| *rate > 0)
}

/// `step` against each way alone, where it went both ways and each was measured alone as well: with as many lanes over the same
/// NICs, so that nothing but the other direction is added.
pub(super) fn of<'a>(doc: &'a ResultDoc, step: &'a Step) -> Option<BothWays<'a>> {
    let traffic = free(step, step.follows_up).filter(|_| step.direction == Some(Direction::Both))?;
    let by_itself = match step.follows_up {
        None => false,
        Some(FollowUp::Alone) => true,
        Some(_) => return None,
    };
    let like = || {
        doc.steps.iter().filter(|other| {
            let own = free(other, step.follows_up).filter(|own| own.lanes == traffic.lanes);
            other.over == step.over && own.is_some_and(|own| !by_itself || own.options == traffic.options)
        })
    };
    let (out, inward) = (best(like(), Direction::Out)?, best(like(), Direction::In)?);
    // A moment in which somebody else used the path is none when it is asked again.
    let again = doc.steps.iter().filter(|other| {
        let own = free(other, Some(FollowUp::Cause)).filter(|own| own.lanes == traffic.lanes);
        !by_itself && own.is_some() && other.over == step.over && other.direction == Some(Direction::Both)
    });
    let tried: Vec<[u64; 2]> = std::iter::once(together(step)?).chain(again.filter_map(together)).collect();
    let together = tried.iter().copied().max_by_key(|rates| rates[0].saturating_add(rates[1]))?;
    let (alone, like) = ([out.0, inward.0], [out.1, inward.1]);
    let both = BothWays { step, together, alone, like, tries: tried.len(), fell: None };
    let fell = if by_itself { None } else { fell_to(doc, &both, traffic) };
    Some(BothWays { fell, ..both })
}

/// What the weaker way carries alone after both together, where that is about what it carried beside the other, and no host explains it.
fn fell_to(doc: &ResultDoc, both: &BothWays<'_>, traffic: &crate::TrafficSpec) -> Option<u64> {
    /// Without the other way it carries no more than so many times as much.
    const AS_LOW: f64 = 1.25;
    /// And no more than so much of what it carried before.
    const LESS: f64 = 0.7;
    const LOSSY: f64 = 0.05;
    let way = both.weaker();
    let at = usize::from(way == Direction::In);
    let again = doc.steps.iter().filter(|other| {
        let own = free(other, Some(FollowUp::Cause)).filter(|own| own.max_segment_bytes.is_none());
        let like = own.is_some_and(|own| own.lanes == traffic.lanes && own.options == traffic.options);
        like && other.over == both.step.over
    });
    let (rate, step) = best(again, way)?;
    let (beside, before) = (both.together[at] as f64, both.alone[at] as f64);
    // What the kernel says the network held is no host's.
    let by_host = could_explain_rate(step, rate as f64, before) && !held_by_network(step);
    // What loses that much carries more or less of it each time.
    let lossy = Repeats::of(step).is_some_and(|repeats| repeats.share() >= LOSSY);
    let low = rate as f64 <= beside * AS_LOW && rate as f64 <= before * LESS;
    (low && !by_host && !lossy).then_some(rate)
}

/// All of a document.
pub fn both_ways(doc: &ResultDoc) -> Vec<BothWays<'_>> {
    doc.steps.iter().filter_map(|step| of(doc, step)).collect()
}

/// The client's NICs that the lanes of a stream went over, as far as that is known.
fn client_nics(doc: &ResultDoc, step: &Step) -> Vec<String> {
    let Some(host) = doc.environment(NodeId::CLIENT).filter(|_| step.kind.traits().bulk) else {
        return vec![];
    };
    let lanes = step.lanes.iter().filter(|lane| lane.end == End::Client);
    let mut nics: Vec<String> =
        lanes.filter_map(|lane| nics_of(host, lane)).flatten().map(|nic| nic.name.clone()).collect();
    nics.sort_unstable();
    nics.dedup();
    nics
}

/// Streams both ways over a NIC that no stream of the plan went over, which carried less than `share_min` of what those did out
/// and in, each alone. That is a slower link, or one that both ways share: each way alone tells.
fn doubtful(doc: &ResultDoc, share_min: f64) -> Vec<&Step> {
    let sum = |rates: [u64; 2]| rates[0] as f64 + rates[1] as f64;
    // What NICs carry that were striped together is held against their sum.
    let striped =
        doc.steps.iter().filter_map(|step| step.spec.as_ref()?.traffic()).any(|traffic| traffic.singles);
    let planned: Vec<String> = doc
        .steps
        .iter()
        .filter(|step| step.follows_up.is_none())
        .flat_map(|step| client_nics(doc, step))
        .collect();
    // A NIC that the plan's streams went over is judged by those, and several at once by what each carries alone.
    let aside = |step: &Step| match &client_nics(doc, step)[..] {
        [] => true,
        [nic] => !planned.contains(nic),
        _ => false,
    };
    let slow = |step: &&Step| {
        let traffic = free(step, Some(FollowUp::Alone))
            .filter(|_| step.direction == Some(Direction::Both) && !striped && aside(step))?;
        let like = || {
            doc.steps.iter().filter(|other| free(other, None).is_some_and(|own| own.lanes == traffic.lanes))
        };
        let yardstick = [best(like(), Direction::Out)?.0, best(like(), Direction::In)?.0];
        // One over which a direction carries nothing is no slow link.
        let both = together(step).filter(|rates| rates.iter().all(|rate| *rate > 0))?;
        Some(sum(both) < share_min * sum(yardstick))
    };
    doc.steps.iter().filter(|step| slow(step) == Some(true)).collect()
}

/// The next stream that would tell why a NIC carries little both ways at once: the one that it follows, and its direction.
pub fn one_way_alone(doc: &ResultDoc) -> Option<(&Step, Direction)> {
    let share_min = Criteria::default().throughput.both_ways_share_min;
    doubtful(doc, share_min).into_iter().find_map(|step| {
        let asked = |direction| {
            doc.steps.iter().any(|other| {
                let spec = other.spec.as_ref().and_then(StepSpec::traffic);
                other.follows_up == Some(FollowUp::Alone)
                    && other.direction == Some(direction)
                    && spec.map(|own| &own.options)
                        == step.spec.as_ref().and_then(StepSpec::traffic).map(|own| &own.options)
            })
        };
        let way = [Direction::Out, Direction::In].into_iter().find(|way| !asked(*way))?;
        Some((step, way))
    })
}

/// The checks of NICs that carried little both ways at once, among `steps`.
pub(super) fn nics(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let share_min = criteria.throughput.both_ways_share_min;
    let doubtful = doubtful(doc, share_min);
    let own = steps.iter().filter(|step| doubtful.iter().any(|one| std::ptr::eq(*one, **step)));
    own.map(|step| match of(doc, step) {
        Some(both) => {
            let check = both.check(share_min);
            Check { text: format!("{}: {}", step.name, check.text), ..check }
        }
        None => {
            let [out, inward] = together(step).unwrap_or_default().map(BitsPerSecond);
            let text = format!(
                "{}: {out} out and {inward} in, less than streams over another NIC carried; whether each way alone carries more was not measured",
                step.name
            );
            Check::inconclusive(NAME, text).numbers(None, share_min, Unit::Share)
        }
    })
    .collect()
}

/// The checks of a group of steps, where all of them can be held against each way alone: that is what they are for then.
pub(super) fn checks(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Option<Vec<Check>> {
    let all: Option<Vec<BothWays<'_>>> = steps.iter().map(|step| of(doc, step)).collect();
    let share_min = criteria.throughput.both_ways_share_min;
    let check = |both: &BothWays<'_>| {
        let carried = both.together.iter().all(|rate| *rate > 0);
        let nothing =
            || Check::fail(names::GOODPUT, format!("{}: one direction carried nothing", both.step.name));
        if carried { both.check(share_min) } else { nothing() }
    };
    all.map(|all| all.iter().map(check).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evidence, Flow, HostLoad, LaneResult, Outcome, StepKind, Summary, TrafficSpec, Waited};

    const GBIT: u64 = 1_000_000_000;

    fn stream(direction: Direction, rates: &[u64]) -> Step {
        let flow = |rate: &u64| Flow {
            summary: Summary { goodput_bits_per_s: Some(*rate), ..Summary::default() },
            ..Flow::default()
        };
        let spec = TrafficSpec { direction, lanes: 4, ..TrafficSpec::default() };
        let mut step = Step {
            over: Some("tcp".into()),
            direction: Some(direction),
            spec: Some(StepSpec::Stream(spec)),
            ..Step::new(StepKind::Stream, direction.name())
        };
        step.with_flows(rates.iter().map(flow).collect());
        step
    }

    fn doc(together: [u64; 2]) -> ResultDoc {
        let alone = [stream(Direction::Out, &[GBIT]), stream(Direction::In, &[GBIT])];
        let both = stream(Direction::Both, &together);
        let steps = alone.into_iter().chain([both]).collect();
        ResultDoc { steps, ..ResultDoc::new(crate::Tool::default(), "") }
    }

    fn judged(doc: &ResultDoc) -> (Outcome, String) {
        let checks = checks(doc, &[&doc.steps[2]], &Criteria::default()).unwrap();
        (checks[0].outcome, checks[0].text.clone())
    }

    #[test]
    fn both_ways_share_a_medium_or_do_not() {
        assert_eq!(judged(&doc([GBIT * 9 / 10, GBIT * 8 / 10])).0, Outcome::Pass);
        let (outcome, text) = judged(&doc([GBIT / 2, GBIT / 2]));
        assert_eq!(outcome, Outcome::Fail);
        assert!(text.contains("500.0 Mbit/s out") && text.contains("50 % of 1.00 Gbit/s"), "{text}");
        assert_eq!(judged(&doc([GBIT, 0])).0, Outcome::Fail);
    }

    #[test]
    fn of_a_stream_that_was_asked_again_the_better_counts() {
        let again = |together: [u64; 2]| {
            let mut doc = doc([GBIT / 2, GBIT / 2]);
            let step = Step { follows_up: Some(FollowUp::Cause), ..stream(Direction::Both, &together) };
            doc.steps.push(step);
            judged(&doc)
        };
        assert_eq!(again([GBIT * 9 / 10, GBIT * 9 / 10]).0, Outcome::Pass);
        let (outcome, text) = again([GBIT / 3, GBIT / 3]);
        assert!(
            outcome == Outcome::Fail && text.contains("50 %") && text.contains("the better of 2 tries"),
            "{text}"
        );
    }

    #[test]
    fn a_way_that_carries_as_little_alone_by_now_shares_nothing_with_the_other() {
        let again = |way: Direction, rate: u64| {
            let mut doc = doc([GBIT * 4 / 10, GBIT * 42 / 100]);
            let step = Step { follows_up: Some(FollowUp::Cause), ..stream(way, &[rate]) };
            doc.steps.push(step);
            let both = of(&doc, &doc.steps[2]).unwrap();
            (judged(&doc), both.fell())
        };
        // As over a wire that lets a burst through, whose rate fell while each way was measured alone.
        let ((outcome, text), fell) = again(Direction::Out, GBIT * 41 / 100);
        assert_eq!((outcome, fell), (Outcome::NotJudged, Some((Direction::Out, GBIT * 41 / 100))));
        assert!(text.contains("out alone carries no more than 410.0 Mbit/s by now"), "{text}");
        // It carries more without the other way; and the way that was not asked tells nothing.
        assert_eq!(again(Direction::Out, GBIT * 9 / 10).1, None);
        assert_eq!(again(Direction::In, GBIT * 41 / 100).1, None);
        assert_eq!(again(Direction::Out, GBIT * 9 / 10).0.0, Outcome::Fail);
        // What a host that stood in line made of it tells nothing either.
        let mut doc = doc([GBIT * 4 / 10, GBIT * 42 / 100]);
        let waited = Some(Waited { waited_ns: GBIT / 2, of_ns: GBIT });
        let mut step =
            Step { follows_up: Some(FollowUp::Cause), ..stream(Direction::Out, &[GBIT * 41 / 100]) };
        step.lanes = vec![LaneResult { scheduled: waited, window_ns: GBIT, ..LaneResult::default() }];
        doc.steps.push(step);
        assert_eq!(of(&doc, &doc.steps[2]).unwrap().fell(), None);
    }

    #[test]
    fn hosts_whose_lanes_take_all_processors_are_the_limit_themselves() {
        let with = |cpu_ns: u64, busy_share: Option<f64>, waited_ns: u64| {
            let mut doc = doc([GBIT / 2, GBIT / 2]);
            let step = &mut doc.steps[2];
            step.lanes = vec![LaneResult {
                end: End::Client,
                cpu_ns: Some(cpu_ns),
                window_ns: GBIT,
                scheduled: Some(Waited { waited_ns, of_ns: GBIT }),
                ..LaneResult::default()
            }];
            let host = HostLoad { busy_share, busiest_cpu_share: Some(0.5), ..HostLoad::default() };
            step.evidence = vec![Evidence { host: Some(host), ..Evidence::default() }];
            judged(&doc)
        };
        assert_eq!(with(GBIT, Some(0.9), 0).0, Outcome::NotJudged);
        assert!(with(GBIT, Some(0.9), 0).1.contains("processors of this host are the limit"));
        let unknown = with(GBIT, None, 0);
        assert_eq!(unknown.0, Outcome::NotJudged);
        assert!(
            unknown.1.contains("may be the limit") && unknown.1.contains("is not known"),
            "{}",
            unknown.1
        );
        // Others keep the host busy: that is open, if its lanes waited for them, and no excuse otherwise.
        assert_eq!(with(GBIT / 20, Some(0.99), GBIT / 2).0, Outcome::Inconclusive);
        assert_eq!(with(GBIT / 20, Some(0.99), 0).0, Outcome::Fail);
        assert_eq!(with(GBIT, Some(0.2), 0).0, Outcome::Fail);
    }

    #[test]
    fn hosts_that_were_as_busy_with_each_way_alone_are_no_excuse() {
        use crate::LaneRole::{Receive, Send};
        let lane = |end: End, role, waited_ms: u64, cpu_ms: u64| LaneResult {
            end,
            role,
            cpu_ns: Some(cpu_ms * 1_000_000),
            window_ns: GBIT,
            scheduled: Some(Waited { waited_ns: waited_ms * 1_000_000, of_ns: GBIT }),
            ..LaneResult::default()
        };
        // Over a hop in half duplex, on a machine where all processors were wanted: receivers waited for 0.63 and 0.67 of their time
        // alone, and for 0.48 together.
        let mut doc = doc([GBIT * 4 / 10, GBIT * 6 / 10]);
        doc.steps[0].lanes = vec![lane(End::Client, Send, 30, 0), lane(End::Server, Receive, 630, 80)];
        doc.steps[1].lanes = vec![lane(End::Client, Receive, 670, 90), lane(End::Server, Send, 60, 10)];
        doc.steps[2].lanes = vec![lane(End::Client, Receive, 480, 50), lane(End::Server, Receive, 180, 30)];
        assert_eq!(judged(&doc).0, Outcome::Fail);
        // A thread that had no time left, and one that waited for longer than alone.
        let mut full = doc.clone();
        full.steps[2].lanes[0] = lane(End::Client, Receive, 480, 400);
        assert_eq!(judged(&full).0, Outcome::Inconclusive);
        doc.steps[1].lanes[0] = lane(End::Client, Receive, 300, 90);
        assert_eq!(judged(&doc).0, Outcome::Inconclusive);
    }

    /// A NIC beside the one of the plan: both ways at once by itself, and each way alone where that was asked.
    fn beside(both: [u64; 2], each: Option<[u64; 2]>) -> ResultDoc {
        let mut doc = doc([GBIT * 9 / 10, GBIT * 9 / 10]);
        let mut steps = vec![stream(Direction::Both, &both)];
        if let Some([out, inward]) = each {
            steps.extend([stream(Direction::Out, &[out]), stream(Direction::In, &[inward])]);
        }
        for step in &mut steps {
            step.follows_up = Some(FollowUp::Alone);
            step.name = "e1 alone".into();
            let traffic = step.spec.as_mut().and_then(StepSpec::traffic_mut).unwrap();
            traffic.options.insert("constrain".into(), "e1".into());
        }
        doc.steps.extend(steps);
        doc
    }

    #[test]
    fn a_nic_that_carries_little_both_ways_is_asked_each_way_alone() {
        let judged = |doc: &ResultDoc| {
            let steps: Vec<&Step> = doc.steps.iter().collect();
            nics(doc, &steps, &Criteria::default()).iter().map(|check| check.outcome).collect::<Vec<_>>()
        };
        let next = |doc: &ResultDoc| one_way_alone(doc).map(|(step, way)| (step.name.clone(), way));
        // Half duplex: 0.9 of a rate both ways, shared.
        let mut open = beside([GBIT * 4 / 10, GBIT * 5 / 10], None);
        assert_eq!(next(&open), Some(("e1 alone".into(), Direction::Out)));
        assert_eq!(judged(&open), [Outcome::Inconclusive], "it is open until that was measured");
        open.steps.push(beside([0; 2], Some([GBIT; 2])).steps[4].clone());
        assert_eq!(next(&open), Some(("e1 alone".into(), Direction::In)));
        let half = beside([GBIT * 4 / 10, GBIT * 5 / 10], Some([GBIT * 9 / 10, GBIT * 9 / 10]));
        assert_eq!((next(&half), judged(&half)), (None, vec![Outcome::Fail]));
        assert!(both_ways(&half).iter().any(|both| both.step.name == "e1 alone" && both.falls_short(0.65)));
        // Slower, and the same both ways at once; as fast as the other; silent one way, which is another fault.
        let slower = beside([GBIT / 2, GBIT / 2], Some([GBIT / 2, GBIT / 2]));
        assert_eq!((next(&slower), judged(&slower)), (None, vec![Outcome::Pass]));
        for fine in [beside([GBIT * 9 / 10, GBIT], None), beside([GBIT / 2, 0], None)] {
            assert_eq!((next(&fine), judged(&fine)), (None, vec![]));
        }
        // NICs that were striped together have a sum of their own.
        let mut striped = beside([GBIT / 2, GBIT / 4], None);
        striped.steps[0].spec.as_mut().and_then(StepSpec::traffic_mut).unwrap().singles = true;
        assert_eq!((next(&striped), judged(&striped)), (None, vec![]));
    }

    #[test]
    fn without_each_way_alone_there_is_nothing_to_compare() {
        let mut alone = doc([1, 1]);
        alone.steps.remove(0);
        assert!(both_ways(&alone).is_empty());
        let mut other_lanes = doc([1, 1]);
        other_lanes.steps[1].spec.as_mut().and_then(StepSpec::traffic_mut).unwrap().lanes = 1;
        assert!(checks(&other_lanes, &[&other_lanes.steps[2]], &Criteria::default()).is_none());
    }
}
