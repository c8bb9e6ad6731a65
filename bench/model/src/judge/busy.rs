//! Whether the hosts explain a limit that was missed: to a lane whose thread stands in line for a processor every path
//! looks slow.
//!
//! It turns a failure into "cannot tell" where waiting could have caused it, and does nothing else: what passes passes,
//! and what a busy host cannot do (swallow packets, change bytes) is never brought here.

use crate::units::Nanoseconds;
use crate::{Check, End, HostLoad, LaneResult, LatencySummary, NodeId, Outcome, ResultDoc, Step};

/// From so much of its time in line on, a lane's figures are its host's.
const BUSY_SHARE: f64 = 0.1;
/// Less than this is what waking up costs on an idle host as well.
const IDLE_SHARE: f64 = 0.01;
/// What being woken costs an operation at both ends together on an idle host, in ns: a virtual machine's idle processor
/// takes some 20 µs to come back.
const WAKING_NS: u64 = 50_000;

/// What the lanes of a step waited for.
pub(super) struct Hosts<'a> {
    step: &'a Step,
    /// All lanes of both ends together, in ns.
    total_ns: u64,
    /// What of it can have hit what was measured, stood in line for counted twice: others stand in line then, too, whom nobody asks.
    /// What a hypervisor takes is known altogether, and most of it hits a processor that nothing wanted.
    measured_ns: u64,
    /// The lane that waited for the largest part of its time.
    worst: Line,
}

#[derive(Clone, Copy, Default)]
struct Line {
    at_client: bool,
    waited_ns: u64,
    of_ns: u64,
}

impl Line {
    fn share(&self) -> f64 {
        if self.of_ns == 0 { 0.0 } else { (self.waited_ns as f64 / self.of_ns as f64).min(1.0) }
    }
}

impl<'a> Hosts<'a> {
    fn of(step: &'a Step) -> Hosts<'a> {
        Hosts::of_lanes(step, |_| true)
    }

    fn of_lanes(step: &'a Step, counts: impl Fn(&LaneResult) -> bool) -> Hosts<'a> {
        let mut hosts = Hosts { step, total_ns: 0, measured_ns: 0, worst: Line::default() };
        for lane in step.lanes.iter().filter(|lane| counts(lane)) {
            let Some(scheduled) = lane.scheduled else { continue };
            let at_client = lane.end == End::Client;
            let own = scheduled.waited_ns.max(hosts.taken_ns(at_client, scheduled.of_ns));
            let line = Line { at_client, waited_ns: own.min(scheduled.of_ns), of_ns: scheduled.of_ns };
            hosts.total_ns = hosts.total_ns.saturating_add(line.waited_ns);
            let window_ns = if lane.window_ns == 0 { scheduled.of_ns } else { lane.window_ns };
            let in_line = scheduled.waited_ns.min(scheduled.of_ns);
            let own = in_line.saturating_add(in_line.max(hosts.taken_ns(at_client, window_ns)));
            hosts.measured_ns = hosts.measured_ns.saturating_add(own);
            if line.share() > hosts.worst.share() {
                hosts.worst = line;
            }
        }
        hosts
    }

    fn load(&self, at_client: bool) -> Option<&HostLoad> {
        self.step.evidence(if at_client { NodeId::CLIENT } else { NodeId::SERVER })?.host.as_ref()
    }

    /// What a hypervisor or a quota took from each thread of a host in `of_ns`, in the mean.
    fn taken_ns(&self, at_client: bool, of_ns: u64) -> u64 {
        let Some(load) = self.load(at_client).filter(|load| load.elapsed_ns > 0) else { return 0 };
        let stolen = load.steal_ns.unwrap_or(0) / load.cpus.unwrap_or(1).max(1);
        let taken = stolen.max(load.throttled_ns.unwrap_or(0)).min(load.elapsed_ns);
        (u128::from(taken) * u128::from(of_ns) / u128::from(load.elapsed_ns)) as u64
    }

    /// Whether lanes stood in line for so long that nothing they measured is the path's alone.
    pub(super) fn were_busy(&self) -> bool {
        self.worst.share() >= BUSY_SHARE
    }

    /// Whether a lane waited for at least `ns`, and more than on an idle host.
    pub(super) fn waited(&self, ns: f64) -> bool {
        self.worst.share() >= IDLE_SHARE && self.worst.waited_ns as f64 >= ns
    }

    /// Whether a rate of `measured` can have reached `limit` if no lane had stood in line. A lane that waited long moves
    /// less in the time that it had, too (its peer was not answered, its window stayed closed), but not any amount less.
    pub(super) fn explain_rate(&self, measured: f64, limit: f64) -> bool {
        let share = self.worst.share();
        let slower_as_well = if self.were_busy() { 2.0 } else { 1.0 };
        share >= IDLE_SHARE && measured * slower_as_well >= limit * (1.0 - share)
    }

    /// What was waited in `times` beyond what an idle host takes, in ns.
    fn beyond_idle_ns(&self, times: &LatencySummary) -> f64 {
        self.total_ns.saturating_sub(times.count.saturating_mul(WAKING_NS)) as f64
    }

    /// Whether waiting can have lifted a percentile of `times` above the limit.
    pub(super) fn explain_times(&self, times: &LatencySummary, limit_ns: u64) -> bool {
        let waited = self.beyond_idle_ns(times);
        let mean = waited / times.count.max(1) as f64;
        // Half of them are too slow by more than twice what one waited: that is the path, busy or not.
        if times.p50 as f64 > limit_ns as f64 + 2.0 * mean {
            return false;
        }
        waited > 0.0 && (waited >= self.tenth_ns() || waited >= lift_ns(times, times.p99, limit_ns))
    }

    /// Whether waiting can have made the spread of `times` larger than the limit.
    pub(super) fn explain_jitter(&self, times: &LatencySummary, jitter_ns: u64, limit_ns: u64) -> bool {
        let waited = self.beyond_idle_ns(times);
        waited > 0.0 && (waited >= self.tenth_ns() || waited >= lift_ns(times, jitter_ns, limit_ns))
    }

    /// Whether waiting can have lifted half of `times` by so much: it takes as much waiting as all of them together are longer, and more than on an
    /// idle host, whose threads wait for 15 ms of five seconds as well.
    pub(super) fn explain_median(&self, times: &LatencySummary, excess_ns: u64) -> bool {
        self.worst.share() >= IDLE_SHARE
            && self.measured_ns as f64 >= times.count as f64 / 2.0 * excess_ns as f64
    }

    /// Whether lanes of an end waited for a larger part of their time than its lanes of the same role did in steps that nothing held back.
    pub(super) fn more_than(&self, like: &[&Step]) -> bool {
        /// A quarter more is as much.
        const MORE: f64 = 1.25;
        self.step.lanes.iter().any(|own| {
            let alike = |lane: &LaneResult| lane.end == own.end && lane.role == own.role;
            let most = |step| Hosts::of_lanes(step, alike).worst.share();
            let then = like.iter().map(|step| most(*step)).fold(0.0, f64::max);
            most(self.step) > (then * MORE).max(IDLE_SHARE)
        })
    }

    /// Whether a thread was on a processor or in line for one for most of its time, or may have been: such a thread is what bounds a rate.
    pub(super) fn occupied(&self) -> bool {
        const OCCUPIED: f64 = 0.75;
        let share = |lane: &LaneResult| {
            let (scheduled, cpu_ns) = (lane.scheduled?, lane.cpu_ns?);
            let waited = scheduled.waited_ns as f64 / scheduled.of_ns.max(1) as f64;
            Some(waited + cpu_ns as f64 / lane.window_ns.max(1) as f64)
        };
        self.step.lanes.iter().any(|lane| share(lane).is_none_or(|share| share >= OCCUPIED))
    }

    /// A tenth of the time of the lane that waited most.
    fn tenth_ns(&self) -> f64 {
        self.worst.of_ns as f64 * BUSY_SHARE
    }

    /// Who was busy, with the numbers.
    fn words(&self) -> String {
        let who = if self.worst.at_client { "this host" } else { "the peer" };
        let mut words = format!(
            "{who} was busy: lane threads waited {} of {} for a CPU",
            Nanoseconds(self.worst.waited_ns),
            Nanoseconds(self.worst.of_ns)
        );
        let Some(load) = self.load(self.worst.at_client) else { return words };
        let share = |ns: Option<u64>| {
            Some(ns? as f64 * 100.0 / load.elapsed_ns as f64).filter(|_| load.elapsed_ns > 0)
        };
        let cpus = load.cpus.unwrap_or(1).max(1) as f64;
        let known = [
            load.load_average.map(|load| format!("load {load:.1}")),
            share(load.pressure_some_ns).map(|percent| format!("PSI {percent:.0} %")),
            share(load.steal_ns)
                .filter(|p| *p >= cpus)
                .map(|percent| format!("{:.0} % stolen", percent / cpus)),
            share(load.throttled_ns).filter(|p| *p >= 1.0).map(|percent| format!("{percent:.0} % throttled")),
        ];
        let known: Vec<String> = known.into_iter().flatten().collect();
        if !known.is_empty() {
            words.push_str(&format!(" ({})", known.join(", ")));
        }
        words
    }
}

/// The least waiting that lifts a hundredth of the samples from the limit to `ns`.
fn lift_ns(times: &LatencySummary, ns: u64, limit_ns: u64) -> f64 {
    times.count as f64 / 100.0 * ns.saturating_sub(limit_ns) as f64
}

/// The check as it stands, or "cannot tell" where it failed and `explained` says that the hosts of `step` can be why.
pub(super) fn unless_busy(check: Check, step: &Step, explained: impl FnOnce(&Hosts<'_>) -> bool) -> Check {
    if check.outcome != Outcome::Fail {
        return check;
    }
    let hosts = Hosts::of(step);
    if explained(&hosts) { hosts.excuse(check) } else { check }
}

/// The same where only the lanes of one flow count.
pub(super) fn unless_flow_busy(
    check: Check,
    step: &Step,
    flow: u16,
    explained: impl FnOnce(&Hosts<'_>) -> bool,
) -> Check {
    if check.outcome != Outcome::Fail {
        return check;
    }
    let hosts = Hosts::of_lanes(step, |lane| lane.flow == flow);
    if explained(&hosts) { hosts.excuse(check) } else { check }
}

/// The same where only the lanes of one flow count, which ask one question at a time: those that wait while others load their hosts.
/// It is open where each of `count` answers waited for more than half of `excess_ns`.
pub(super) fn unless_flow_waited(check: Check, step: &Step, flow: u16, excess_ns: f64, count: u64) -> Check {
    if check.outcome != Outcome::Fail {
        return check;
    }
    let hosts = Hosts::of_lanes(step, |lane| lane.flow == flow);
    let each_ns = hosts.total_ns as f64 / count.max(1) as f64;
    if 2.0 * each_ns >= excess_ns { hosts.excuse(check) } else { check }
}

impl Hosts<'_> {
    fn excuse(&self, check: Check) -> Check {
        let text = format!("cannot tell: {}: {}", self.words(), check.text);
        Check { outcome: Outcome::Inconclusive, text, ..check }
    }
}

/// The host on which somebody waited for a processor for most of the run, with the numbers. Such a run is slow by itself.
pub(super) fn pressed(doc: &ResultDoc) -> Option<String> {
    pressed_in(&doc.steps.iter().collect::<Vec<_>>()).or_else(|| stood_in_line(doc))
}

/// The same where nobody tells the pressure, or it lies on others: the lanes of a run that stood in line for a tenth of their time.
fn stood_in_line(doc: &ResultDoc) -> Option<String> {
    let lanes = || doc.steps.iter().flat_map(|step| &step.lanes);
    [(End::Client, "this host"), (End::Server, "the peer")].into_iter().find_map(|(end, who)| {
        let own = lanes().filter(|lane| lane.end == end).filter_map(|lane| lane.scheduled);
        let (waited, of) = own.fold((0u64, 0u64), |sum, one| {
            (sum.0.saturating_add(one.waited_ns.min(one.of_ns)), sum.1.saturating_add(one.of_ns))
        });
        let busy = of > 0 && waited as f64 >= of as f64 * BUSY_SHARE;
        busy.then(|| {
            let (waited, of) = (Nanoseconds(waited), Nanoseconds(of));
            format!("{who} was busy: lane threads waited {waited} of {of} for a CPU")
        })
    })
}

/// What could not be determined, with the host that was busy meanwhile, where one was.
pub(super) fn open_while_busy(step: &Step, check: Check) -> Check {
    match pressed_step(step) {
        Some(who) if check.outcome == Outcome::Inconclusive => {
            Check { text: format!("cannot tell: {who}: {}", check.text), ..check }
        }
        _ => check,
    }
}

/// The same of one step.
pub(super) fn pressed_step(step: &Step) -> Option<String> {
    pressed_in(&[step])
}

fn pressed_in(steps: &[&Step]) -> Option<String> {
    const PRESSED: f64 = 0.5;
    /// What a hypervisor gives to others no thread is seen to wait for.
    const STOLEN: f64 = 0.2;
    [(NodeId::CLIENT, "this host"), (NodeId::SERVER, "the peer")].into_iter().find_map(|(node, who)| {
        let share = |of: fn(&HostLoad) -> Option<u64>| {
            let loads = steps.iter().filter_map(|step| step.evidence(node)?.host.as_ref());
            let (part, all) = loads
                .filter_map(|load| Some((of(load)?, load.elapsed_ns)))
                .fold((0u64, 0u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
            part as f64 / all.max(1) as f64
        };
        let waited = share(|load| load.pressure_some_ns);
        let stolen = share(|load| Some(load.steal_ns? / load.cpus.unwrap_or(1).max(1)));
        let (percent, taken) = (waited * 100.0, stolen * 100.0);
        // Each is time in which somebody stood still, and a host may meet both.
        match (waited >= PRESSED, stolen >= STOLEN, waited + stolen >= PRESSED) {
            (true, ..) => Some(format!("{who} was busy (PSI {percent:.0} %)")),
            (_, true, _) => Some(format!("{who} was busy ({taken:.0} % of it stolen)")),
            (.., true) => Some(format!("{who} was busy (PSI {percent:.0} %, and {taken:.0} % of it stolen)")),
            _ => None,
        }
    })
}

/// Which host was busy while a step ran, with the numbers, for what its waiting leaves open.
pub fn busy_words(step: &Step) -> String {
    let hosts = Hosts::of(step);
    // Where the lanes themselves hardly waited, it is the host as a whole that was pressed.
    let pressed = if hosts.were_busy() { None } else { pressed_step(step).or_else(|| most_pressed(step)) };
    pressed.unwrap_or_else(|| hosts.words())
}

/// The host on which somebody waited for a processor for the larger part of a step, where that was a good deal of it.
fn most_pressed(step: &Step) -> Option<String> {
    /// From so much on no rule accuses.
    const GOOD_DEAL: f64 = 0.4;
    let share = |node: NodeId| {
        let load = step.evidence(node)?.host.as_ref().filter(|load| load.elapsed_ns > 0)?;
        Some(load.pressure_some_ns? as f64 / load.elapsed_ns as f64)
    };
    [(NodeId::CLIENT, "this host"), (NodeId::SERVER, "the peer")]
        .into_iter()
        .filter_map(|(node, who)| Some((share(node).filter(|share| *share >= GOOD_DEAL)?, who)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(share, who)| format!("{who} was busy (PSI {:.0} %)", share * 100.0))
}

/// Whether the threads of `step` may have waited for so long that half of its round trips are longer by `excess_ns`; also where nobody
/// knows how long they waited.
pub fn could_explain_median(step: &Step, times: &LatencySummary, excess_ns: u64) -> bool {
    step.lanes.is_empty()
        || step.lanes.iter().any(|lane| lane.scheduled.is_none())
        || Hosts::of(step).explain_median(times, excess_ns)
}

/// Whether the hosts were so busy during `step` that a path which carries `wanted` could have shown `measured`.
pub fn could_explain_rate(step: &Step, measured: f64, wanted: f64) -> bool {
    Hosts::of(step).explain_rate(measured, wanted)
}

/// Whether lanes of `step` stood in line for half as long as nothing came in, or may have.
pub(super) fn could_explain_gap(step: &Step, gap_ns: u64) -> bool {
    step.lanes.iter().any(|lane| lane.scheduled.is_none()) || Hosts::of(step).waited(gap_ns as f64 / 2.0)
}

/// Whether lanes of `step` stood in line for a processor for so long that nothing it measured is the path's alone.
pub fn were_busy(step: &Step) -> bool {
    Hosts::of(step).were_busy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evidence, LaneResult, StepKind, Waited};

    const MS: u64 = 1_000_000;

    fn step(waited_ms: u64) -> Step {
        let lane = LaneResult {
            end: End::Client,
            scheduled: Some(Waited { waited_ns: waited_ms * MS, of_ns: 1000 * MS }),
            ..LaneResult::default()
        };
        let load = HostLoad {
            elapsed_ns: 1000 * MS,
            cpus: Some(2),
            load_average: Some(9.5),
            pressure_some_ns: Some(880 * MS),
            ..HostLoad::default()
        };
        Step {
            lanes: vec![lane],
            evidence: vec![Evidence { host: Some(load), ..Evidence::default() }],
            ..Step::new(StepKind::Pingpong, "p")
        }
    }

    fn times(count: u64, p50: u64, p99: u64) -> LatencySummary {
        LatencySummary { count, p50, p90: p50, p95: Some(p50), p99, ..LatencySummary::default() }
    }

    fn outcome(step: &Step, explained: impl FnOnce(&Hosts<'_>) -> bool) -> Outcome {
        unless_busy(Check::fail("x", "too slow"), step, explained).outcome
    }

    #[test]
    fn a_missed_limit_of_a_starved_host_is_open_and_says_so_with_the_numbers() {
        let busy = step(700);
        let slow = times(1000, 2 * MS, 30 * MS);
        let check = unless_busy(Check::fail("x", "too slow"), &busy, |h| h.explain_times(&slow, 10 * MS));
        assert_eq!(check.outcome, Outcome::Inconclusive);
        for part in
            ["cannot tell: this host was busy", "700.00 ms of 1.00 s", "load 9.5", "PSI 88 %", "too slow"]
        {
            assert!(check.text.contains(part), "{part} is missing in {}", check.text);
        }
        assert_eq!(outcome(&busy, |h| h.explain_rate(2.0, 10.0)), Outcome::Inconclusive);
        // Three tenths of the time do not make a hundredth of the rate.
        assert_eq!(outcome(&busy, |h| h.explain_rate(0.1, 10.0)), Outcome::Fail);
    }

    #[test]
    fn an_idle_host_and_a_path_that_is_slow_whatever_the_host_does_are_no_excuse() {
        let slow = times(1000, 2 * MS, 30 * MS);
        assert_eq!(outcome(&step(5), |h| h.explain_times(&slow, 10 * MS)), Outcome::Fail);
        assert_eq!(outcome(&step(5), |h| h.explain_rate(8.0, 10.0)), Outcome::Fail);
        // 60 000 short round trips, each of which has to be woken for.
        let short = times(60_000, 15_000, 20_000);
        assert_eq!(outcome(&step(300), |h| h.explain_times(&short, 10_000)), Outcome::Fail);
        // A path of 30 ms, with a few ms in line for each.
        let far = times(33, 30 * MS, 40 * MS);
        assert_eq!(outcome(&step(130), |h| h.explain_times(&far, 10 * MS)), Outcome::Fail);
        // Unknown is no excuse.
        let mut unknown = step(900);
        unknown.lanes[0].scheduled = None;
        assert_eq!(outcome(&unknown, |h| h.explain_times(&slow, 10 * MS)), Outcome::Fail);
        assert_eq!(outcome(&unknown, |h| h.were_busy()), Outcome::Fail);
    }

    #[test]
    fn a_run_on_a_host_where_somebody_always_waits_is_slow_by_itself() {
        let doc = |pressure_ms: u64| {
            let mut step = step(0);
            step.evidence[0].host.as_mut().unwrap().pressure_some_ns = Some(pressure_ms * MS);
            ResultDoc { steps: vec![step], ..ResultDoc::new(crate::Tool::default(), "") }
        };
        assert_eq!(pressed(&doc(970)).as_deref(), Some("this host was busy (PSI 97 %)"));
        // Nobody is known to be pressed, and the lanes stood in line.
        let lanes = |waited_ms: u64| {
            let mut doc = doc(100);
            doc.steps[0].lanes = step(waited_ms).lanes;
            pressed(&doc)
        };
        let said = "this host was busy: lane threads waited 120.00 ms of 1.00 s for a CPU";
        assert_eq!(lanes(120).as_deref(), Some(said));
        assert_eq!(lanes(90), None);
        // Some of both.
        let mut both = doc(350);
        both.steps[0].evidence[0].host.as_mut().unwrap().steal_ns = Some(2 * 160 * MS);
        assert_eq!(pressed(&both).as_deref(), Some("this host was busy (PSI 35 %, and 16 % of it stolen)"));
        assert_eq!(pressed(&doc(300)), None);
    }

    #[test]
    fn who_was_busy_is_the_host_whose_lanes_waited_or_on_which_somebody_did() {
        assert!(
            busy_words(&step(700)).starts_with("this host was busy: lane threads waited 700.00 ms of 1.00 s")
        );
        // The lanes of this host waited a little, and somebody on the other for long.
        let mut other = step(20);
        other.evidence[0].host.as_mut().unwrap().pressure_some_ns = Some(10 * MS);
        let mut peer = Evidence { node: NodeId::SERVER, ..other.evidence[0].clone() };
        peer.host.as_mut().unwrap().pressure_some_ns = Some(450 * MS);
        other.evidence.push(peer);
        assert_eq!(busy_words(&other), "the peer was busy (PSI 45 %)");
    }

    #[test]
    fn little_waiting_explains_little() {
        // Ten samples of 1000 are 2 ms too slow: 20 ms in line could do that, 4 ms not.
        let near = times(1000, 9 * MS, 12 * MS);
        assert_eq!(outcome(&step(50 + 21), |h| h.explain_times(&near, 10 * MS)), Outcome::Inconclusive);
        assert_eq!(outcome(&step(50 + 4), |h| h.explain_times(&near, 10 * MS)), Outcome::Fail);
        assert_eq!(outcome(&step(50), |h| h.explain_rate(9.6, 10.0)), Outcome::Inconclusive);
        assert_eq!(outcome(&step(50), |h| h.explain_rate(9.0, 10.0)), Outcome::Fail);
        assert_eq!(outcome(&step(50), |h| h.waited(40e6)), Outcome::Inconclusive);
        assert_eq!(outcome(&step(50), |h| h.waited(60e6)), Outcome::Fail);
    }

    #[test]
    fn half_of_the_round_trips_are_long_by_the_path_unless_threads_waited_as_long() {
        // Two runs over a wire whose delay varies, on a machine where all processors were wanted: 29 and 32 round trips.
        let median = |waited_ms, count, excess_ns| {
            could_explain_median(&step(waited_ms), &times(count, 23 * MS, 36 * MS), excess_ns)
        };
        assert!(!median(6, 29, 16_400_000) && !median(33, 32, 17_100_000));
        // What threads wait on an idle host lifts nothing, however little is asked for.
        assert!(!median(9, 270, 100_000) && median(11, 270, 100_000));
        // With so much waiting it may be the host.
        assert!(median(200, 32, 17_100_000));
        // 90 ms of a second of two processors went to other guests, of which 600 ms were measured: 24 round trips of 10 to 41 ms.
        let taken = |steal_ms: u64| {
            let mut step = step(2);
            step.lanes[0].window_ns = 600 * MS;
            step.lanes.push(LaneResult { end: End::Server, ..step.lanes[0].clone() });
            let load = step.evidence[0].host.as_mut().unwrap();
            load.steal_ns = Some(steal_ms * MS);
            step.evidence.push(Evidence { node: NodeId::SERVER, ..step.evidence[0].clone() });
            could_explain_median(&step, &times(24, 22 * MS, 41 * MS), 7_240_000)
        };
        assert!(!taken(90) && taken(300));
        // A peer may say anything.
        assert!(median(u64::MAX / MS, 32, 17_100_000));
        let mut unknown = step(0);
        unknown.lanes[0].scheduled = None;
        assert!(could_explain_median(&unknown, &times(32, 23 * MS, 36 * MS), 17_100_000));
    }

    #[test]
    fn a_host_that_was_as_busy_when_all_went_well_is_no_excuse() {
        let (calm, busy, busier) = (step(0), step(480), step(700));
        assert!(!Hosts::of(&busy).more_than(&[&busier]) && !Hosts::of(&busy).more_than(&[&busy]));
        assert!(Hosts::of(&busier).more_than(&[&busy]) && Hosts::of(&busy).more_than(&[&calm]));
        // The other end's waiting, or that of another role, is not its own.
        let mut sender = busier.clone();
        sender.lanes[0].role = crate::LaneRole::Send;
        assert!(Hosts::of(&busy).more_than(&[&sender]));
    }

    #[test]
    fn stolen_and_throttled_time_count_and_a_pass_stays_one() {
        for taken in [(Some(400 * MS), None), (None, Some(200 * MS))] {
            let mut stolen = step(0);
            let load = stolen.evidence[0].host.as_mut().unwrap();
            (load.steal_ns, load.throttled_ns) = taken;
            assert_eq!(outcome(&stolen, |h| h.were_busy()), Outcome::Inconclusive);
        }
        let pass = unless_busy(Check::pass("x", "fast"), &step(999), |_| true);
        assert_eq!((pass.outcome, pass.text.as_str()), (Outcome::Pass, "fast"));
    }

    #[test]
    fn an_end_that_left_after_its_window_is_no_lost_path_where_a_host_was_busy() {
        use crate::{Criteria, End, ErrorKind, StepError, StepSpec, TrafficSpec};
        // As run on a machine where all processors were wanted: the client was through, and the server still sent.
        let lost = || StepError::new(ErrorKind::PeerLost, "the peer is gone (Broken pipe)".into());
        let judged = |window_ns: u64, pressure_ns: u64, client: Option<StepError>| {
            let traffic = TrafficSpec { time_ns: 1_100_000_000, ..TrafficSpec::default() };
            let mut step = Step::new(StepKind::Stream, "tcp stream in, 4 lanes");
            step.spec = Some(StepSpec::Stream(traffic));
            step.error = Some(lost());
            let lane =
                |end, error| LaneResult { end, error, window_ns, bytes: 10_223_616, ..LaneResult::default() };
            step.lanes = vec![lane(End::Client, client), lane(End::Server, Some(lost()))];
            let load = HostLoad {
                elapsed_ns: 2_100_000_000,
                pressure_some_ns: Some(pressure_ns),
                ..HostLoad::default()
            };
            step.evidence = vec![Evidence { host: Some(load), ..Evidence::default() }];
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(crate::Tool::default(), "") };
            crate::judge(&doc, &Criteria::default()).remove(0).outcome
        };
        assert_eq!(judged(1_100_000_000, 2_100_000_000, None), Outcome::Inconclusive);
        // An idle host, a window that was not filled, and a connection that both ends lost.
        assert_eq!(judged(1_100_000_000, 100_000_000, None), Outcome::Fail);
        assert_eq!(judged(700_000_000, 2_100_000_000, None), Outcome::Fail);
        assert_eq!(judged(1_100_000_000, 2_100_000_000, Some(lost())), Outcome::Fail);
    }
}
