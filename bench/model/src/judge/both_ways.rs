//! Both directions at once against what each carries alone.

use super::busy::unless_busy;
use super::traffic::looped;
use crate::units::BitsPerSecond;
use crate::{Check, Criteria, Direction, NodeId, ResultDoc, Step, StepKind, StepSpec, Unit};

const NAME: &str = "both-ways-share";
/// From so many cores on, the lanes of an end can be what a host has.
const OWN_CORES: f64 = 0.7;
/// From so much of the time of all its processors on, a host is full.
const FULL_SHARE: f64 = 0.85;
/// The same of the one that is busiest: a single core can be the limit.
const FULL_CORE_SHARE: f64 = 0.95;

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

    /// In words, for a verdict and a finding.
    pub fn words(&self) -> String {
        let [out, inward] = self.together.map(BitsPerSecond);
        let [out_alone, in_alone] = self.alone.map(BitsPerSecond);
        format!(
            "both ways at once carry {out} out and {inward} in, {:.0} % of {out_alone} and {in_alone} alone",
            self.share() * 100.0
        )
    }

    fn check(&self, share_min: f64) -> Check {
        let (share, words) = (self.share(), self.words());
        let enough = share >= share_min;
        let numbers = |check: Check| check.numbers(share, share_min, Unit::Share);
        let no_path = || looped(self.step).then(|| "it is a loopback".to_owned());
        if !enough && let Some(why) = no_path().or_else(|| full_host(self.step)) {
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

/// Why the hosts themselves are the limit of a step, where their lanes take what processors there are.
fn full_host(step: &Step) -> Option<String> {
    let ends = [(NodeId::CLIENT, "this host"), (NodeId::SERVER, "the peer")];
    ends.into_iter().find_map(|(node, name)| {
        let cores = cores(step, node)?;
        let load = step.evidence(node).and_then(|evidence| evidence.host.as_ref());
        let over = |share: Option<f64>, limit: f64| share.is_none_or(|share| share >= limit);
        let busy = load.and_then(|load| load.busy_share);
        let busiest = load.and_then(|load| load.busiest_cpu_share);
        let full = over(busy, FULL_SHARE) || over(busiest, FULL_CORE_SHARE);
        (cores >= OWN_CORES && full)
            .then(|| format!("the processors of {name} are the limit, its lanes take {cores:.1} cores"))
    })
}

/// The cores that the lanes of an end took.
fn cores(step: &Step, node: NodeId) -> Option<f64> {
    let own = || step.own_lanes().filter(|lane| lane.end.node() == node);
    let cpu_ns: u64 = own().map(|lane| lane.cpu_ns).sum::<Option<u64>>()?;
    let window_ns = own().map(|lane| lane.window_ns).max().filter(|window| *window > 0)?;
    Some(cpu_ns as f64 / window_ns as f64)
}

fn free(step: &Step) -> Option<&crate::TrafficSpec> {
    let whole = step.kind == StepKind::Stream
        && step.follows_up.is_none()
        && step.error.is_none()
        && step.detail.failover.is_none();
    let traffic = step.spec.as_ref().and_then(StepSpec::traffic)?;
    (whole && traffic.is_free()).then_some(traffic)
}

/// `step` against each way alone, where it went both ways and each was measured alone as well.
pub(super) fn of<'a>(doc: &'a ResultDoc, step: &'a Step) -> Option<BothWays<'a>> {
    let traffic = free(step).filter(|_| step.direction == Some(Direction::Both))?;
    let [(_, out), (_, inward)] = step.parts()[..] else { return None };
    let together = [out.goodput_bits_per_s?, inward.goodput_bits_per_s?];
    // With as many lanes, so that nothing but the other direction is added.
    let alone = |direction: Direction| {
        let like = doc.steps.iter().filter(|other| {
            other.over == step.over
                && other.direction == Some(direction)
                && free(other).is_some_and(|own| own.lanes == traffic.lanes)
        });
        let rates = like.filter_map(|other| Some((other.summary.goodput_bits_per_s?, other)));
        rates.max_by_key(|(rate, _)| *rate).filter(|(rate, _)| *rate > 0)
    };
    let (out, inward) = (alone(Direction::Out)?, alone(Direction::In)?);
    Some(BothWays { step, together, alone: [out.0, inward.0], like: [out.1, inward.1] })
}

/// All of a document.
pub fn both_ways(doc: &ResultDoc) -> Vec<BothWays<'_>> {
    doc.steps.iter().filter_map(|step| of(doc, step)).collect()
}

/// The checks of a group of steps, where all of them can be held against each way alone: that is what they are for then.
pub(super) fn checks(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Option<Vec<Check>> {
    let all: Option<Vec<BothWays<'_>>> = steps.iter().map(|step| of(doc, step)).collect();
    let share_min = criteria.throughput.both_ways_share_min;
    let check = |both: &BothWays<'_>| {
        let carried = both.together.iter().all(|rate| *rate > 0);
        let nothing = || Check::fail("goodput", format!("{}: one direction carried nothing", both.step.name));
        if carried { both.check(share_min) } else { nothing() }
    };
    all.map(|all| all.iter().map(check).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{End, Evidence, Flow, HostLoad, LaneResult, Outcome, Summary, TrafficSpec, Waited};

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
