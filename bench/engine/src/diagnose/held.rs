//! Idle round trips of which single ones are held up, in a share that no percentile of them shows: who asks one question at a time waits for each
//! and asks little meanwhile, so that five of 8340 were a quarter of the time.
//!
//! Refuses to accuse a path of what its hosts' threads waited, and of one thing that happened once.

use pathproof_model::judge::repeats::paced_loss;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    End, Finding, HistogramName, LaneResult, LatencySummary, LossPath, ResultDoc, Severity, Step,
};

use crate::record::LatencyHistogram;

use super::pauses::lost_a_question;
use super::{LOST_SHARE, planned, pressed, round_trips, stolen_ns};

/// So much above the median is held up: twice the built-in limit of jitter, and above the turns of up to 8 ms that threads of a busy host
/// were seen to wait for each other.
const HELD_NS: u64 = 10_000_000;
/// Part of the time that is too much: who asks at any moment finds one question in a hundred held up, which is what jitter is the measure of.
/// A wireless bridge that scans for 15 ms every 4 s is below.
const STOOD_SHARE: f64 = 0.01;
/// So many that are alike are no chance. Of the healthy networks of tests/truth, with hosts that others wanted, none had that many unless its
/// threads had waited for longer.
const SEVERAL: u64 = 4;
/// So many are something where they are not alike.
const MANY: u64 = 8;
/// Alike are those that differ by such a part.
const ALIKE: u64 = 20;
/// Shorter turns than [`HELD_NS`] are something where one in a hundred misses the built-in limit of jitter by them ...
const TURN_NS: u64 = 5_000_000;
/// ... and they are such a part of the time: more than what waits for a processor, which turns of hosts are known by.
const TURNS_SHARE: f64 = 0.1;

pub(super) fn held(doc: &ResultDoc) -> Option<Finding> {
    let (step, rtt) = round_trips(doc)?;
    let stood = Stood::of(doc, step, &rtt, HELD_NS).filter(|stood| stood.share >= STOOD_SHARE)?;
    let witness = datagrams(doc, HELD_NS);
    // What two see is the path's, where they see it in two ways; one that is seen once only where it is as long for both.
    let as_long = |path: &&LossPath| longest_of(path).abs_diff(stood.longest_ns) <= stood.longest_ns / ALIKE;
    let severity = match (stood.count >= SEVERAL, witness) {
        (true, Some(_)) => Severity::Error,
        (true, None) if stood.are_alike() => Severity::Error,
        (true, None) if stood.count >= MANY && !pressed(step) && stood.stood_ns / 4 >= stood.waited_ns => {
            Severity::Warning
        }
        (false, Some(path)) if as_long(&path) && !pressed(step) => Severity::Error,
        _ => return None,
    };
    let finding = stood.finding(step, &rtt, witness).with_severity(severity);
    Some(match severity {
        Severity::Warning => {
            finding.against("they are not alike, and datagrams at a low pace did not meet as much")
        }
        Severity::Info | Severity::Error => finding,
    })
}

/// Shorter ones, again and again and each as long as the other: what pauses a port by turns of some milliseconds. Hosts whose threads wait for each other
/// make such turns as well, so that both ways of asking have to show it, for far longer than anybody waited for a processor.
pub(super) fn in_turns(doc: &ResultDoc) -> Option<Finding> {
    let (step, rtt) = round_trips(doc)?;
    let stood = Stood::of(doc, step, &rtt, TURN_NS).filter(|stood| stood.share >= TURNS_SHARE)?;
    let middle_ns = stood.middle_ns()?;
    let often = stood.count >= MANY && stood.are_alike() && rtt.p99 >= rtt.p50.saturating_add(TURN_NS);
    let witness = datagrams(doc, TURN_NS.max(middle_ns / 4 * 3))?;
    let own = stood.stood_ns / 4 < stood.waited_ns || pressure(step) > stood.share / 2.0;
    (often && !own && !pressed(step))
        .then(|| stood.finding(step, &rtt, Some(witness)).with_severity(Severity::Error))
}

/// Round trips that were held up, where neither what was lost nor what threads waited explains them.
struct Stood {
    /// By how much they lie above the median, and how many: the shortest first.
    held: Vec<(u64, u64)>,
    count: u64,
    shortest_ns: u64,
    longest_ns: u64,
    /// All of them together.
    stood_ns: u64,
    /// The threads' time in line, together.
    waited_ns: u64,
    /// Part of the time in which something was asked.
    share: f64,
}

impl Stood {
    /// Those that lie above the median by more than `above_ns`.
    fn of(doc: &ResultDoc, step: &Step, rtt: &LatencySummary, above_ns: u64) -> Option<Stood> {
        let held = held_up(step, rtt, above_ns);
        let (shortest_ns, longest_ns) = (held.first()?.0, held.last()?.0);
        let count = sum(held.iter().map(|(_, count)| *count));
        let stood_ns = sum(held.iter().map(|(ns, count)| ns.saturating_mul(*count)));
        let asks = |lane: &&LaneResult| lane.end == End::Client;
        let asked_ns = sum(step.lanes.iter().filter(asks).map(|lane| lane.window_ns));
        let lines: Option<Vec<_>> = step.lanes.iter().map(|lane| lane.scheduled).collect();
        let waited_ns = sum(lines?.iter().map(|line| line.waited_ns));
        let lossy = paced_loss(doc, None).is_some_and(|lost| lost.bounds().0 > LOST_SHARE);
        // A question that was lost waits for its timer, and threads that stood in line for half as long may have made the rest.
        let own = stood_ns / 2 < waited_ns || stood_ns / 2 < stolen_ns(step);
        if asked_ns == 0 || lossy || lost_a_question(step) || own {
            return None;
        }
        let share = stood_ns as f64 / asked_ns as f64;
        Some(Stood { held, count, shortest_ns, longest_ns, stood_ns, waited_ns, share })
    }

    /// By how much the one in the middle lies above the median of all.
    fn middle_ns(&self) -> Option<u64> {
        let mut before = 0u64;
        let middle = self.held.iter().find(|(_, own)| {
            before = before.saturating_add(*own);
            before > self.count / 2
        });
        middle.map(|(ns, _)| *ns)
    }

    /// Whether three in four are as long as the one in the middle.
    fn are_alike(&self) -> bool {
        let Some(middle) = self.middle_ns() else { return false };
        let near = self.held.iter().filter(|(ns, _)| ns.abs_diff(middle) <= middle / ALIKE);
        let near = sum(near.map(|(_, count)| *count));
        near >= SEVERAL && near.saturating_mul(4) >= self.count.saturating_mul(3)
    }

    fn finding(&self, step: &Step, rtt: &LatencySummary, witness: Option<&LossPath>) -> Finding {
        let beside = witness.map_or_else(String::new, |path| {
            let high = path.delay_variation_ns.unwrap_or_default().p99;
            format!(
                "; of the datagrams at a low pace ({}) one in a hundred came {} and more after the fastest, too",
                path.name(),
                Nanoseconds(high)
            )
        });
        let said = format!(
            "{}: {} of {} idle round trips took {} to {}, where half take less than {}: in {:.0} % of the time what was asked waited{beside}; \
             nothing was lost meanwhile, and no thread stood in line for as long",
            step.name,
            self.count,
            rtt.count,
            Nanoseconds(rtt.p50.saturating_add(self.shortest_ns)),
            Nanoseconds(rtt.p50.saturating_add(self.longest_ns)),
            Nanoseconds(rtt.p50),
            self.share * 100.0
        );
        let finding = Finding::new("PATH-JITTER", said).with("spread_ns", self.longest_ns);
        finding.tell(told::PART, self.count).tell(told::OF, rtt.count)
    }
}

fn sum(all: impl Iterator<Item = u64>) -> u64 {
    all.fold(0, u64::saturating_add)
}

/// By how much round trips lie above the median, of those that are held up, and how many: the shortest first.
fn held_up(step: &Step, rtt: &LatencySummary, above_ns: u64) -> Vec<(u64, u64)> {
    let whole = step
        .histograms
        .iter()
        .filter(|record| record.name == HistogramName::Service && record.lane.is_none());
    let read = whole.filter_map(|record| LatencyHistogram::from_record(record).ok());
    let slow = read.flat_map(|times| times.larger_than(rtt.p50.saturating_add(above_ns)));
    let mut held: Vec<(u64, u64)> = slow.map(|(ns, count)| (ns - rtt.p50, count)).collect();
    held.sort_unstable();
    held
}

fn longest_of(path: &LossPath) -> u64 {
    path.delay_variation_ns.map_or(0, |variation| variation.max)
}

/// The part of a step's time in which somebody waited for a processor, at the host where that was most.
fn pressure(step: &Step) -> f64 {
    let loads = step.evidence.iter().filter_map(|one| one.host.as_ref());
    let shares = loads.filter_map(|load| Some(load.pressure_some_ns? as f64 / load.elapsed_ns.max(1) as f64));
    shares.fold(0.0, f64::max)
}

/// The paced datagrams that were held up most, where one in a hundred was for at least so long: they leave at their own times, whatever becomes of
/// those before.
fn datagrams(doc: &ResultDoc, least_ns: u64) -> Option<&LossPath> {
    let steps = planned(doc).filter(|step| !pressed(step));
    let paths = steps.filter_map(|step| step.detail.loss.as_deref()).flatten();
    let paths = paths.filter(|path| !path.by_echo && !path.local_address.is_loopback());
    let high = |path: &&LossPath| path.delay_variation_ns.map_or(0, |variation| variation.p99);
    paths.filter(|path| high(path) >= least_ns).max_by_key(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{
        DelayVariation, Evidence, HostLoad, LossCounts, LossFlow, NodeId, StepKind, Tool, Waited,
    };

    const MS: u64 = 1_000_000;

    /// A run of 600 ms: round trips of about `usual_us`, some of so many ms, with what its threads waited and the pressure on its host.
    fn trips(usual_us: u64, count: u64, slow_ms: &[f64], waited_us: [u64; 2], pressed: bool) -> Step {
        let mut times = LatencyHistogram::new();
        (0..count).for_each(|_| times.record(usual_us * 1000));
        slow_ms.iter().for_each(|ms| times.record((ms * 1e6) as u64));
        let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
        step.summary.rtt_ns = times.summary();
        step.histograms = vec![times.to_record(HistogramName::Service, None)];
        let ends = [End::Client, End::Server].into_iter().zip(waited_us);
        let lane = |(end, us): (End, u64)| LaneResult {
            end,
            window_ns: 600 * MS,
            scheduled: Some(Waited { waited_ns: us * 1000, of_ns: 908 * MS }),
            ..LaneResult::default()
        };
        step.lanes = ends.map(lane).collect();
        let pressure_some_ns = Some(if pressed { 600 * MS } else { 5 * MS });
        let load = HostLoad { elapsed_ns: 916 * MS, pressure_some_ns, ..HostLoad::default() };
        step.evidence = vec![Evidence { host: Some(load), ..Evidence::default() }];
        step
    }

    fn paced(p99_us: u64, max_us: u64) -> Step {
        let mut step = Step::new(StepKind::Loss, "datagram loss");
        let small = LossCounts { sent: 3900, received: 3900, ..LossCounts::default() };
        let variation = DelayVariation { p50: 20_000, p99: p99_us * 1000, max: max_us * 1000 };
        step.detail.loss = Some(vec![LossPath {
            flows: vec![LossFlow { port: 1, answered: true, small, ..LossFlow::default() }],
            delay_variation_ns: Some(variation),
            ..super::super::tests::loss_path()
        }]);
        step
    }

    fn told(steps: Vec<Step>) -> Option<Severity> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        held(&doc).map(|finding| finding.severity)
    }

    /// As run over a wire that held up one packet in two thousand for 30 ms with all behind it.
    fn five_of_many() -> Step {
        trips(40, 8335, &[30.11, 30.16, 30.2, 30.21, 30.23], [51_790, 6310], false)
    }

    #[test]
    fn a_few_that_are_held_up_for_as_long_are_told_by_the_time_that_they_take() {
        let often: Vec<f64> = (0..19).map(|n| 30.2 + f64::from(n) / 100.0).collect();
        assert_eq!(told(vec![trips(50, 940, &often, [39, 91], false)]), Some(Severity::Error));
        assert_eq!(told(vec![five_of_many()]), Some(Severity::Error));
        let steps = vec![five_of_many(), paced(14_115, 30_024)];
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        let said = held(&doc).unwrap().evidence;
        for part in
            ["5 of 8340 idle round trips took 30.", "in 25 % of the time", "one in a hundred came 14."]
        {
            assert!(said.contains(part), "{part} is missing in {said}");
        }
    }

    #[test]
    fn one_that_datagrams_met_as_well_for_as_long_is_the_paths_and_alone_it_is_nothing() {
        let once = |paced: Vec<Step>, pressed| {
            told([vec![trips(40, 8339, &[30.2], [1000, 300], pressed)], paced].concat())
        };
        assert_eq!(once(vec![paced(14_115, 30_024)], false), Some(Severity::Error));
        assert_eq!(once(vec![], false), None);
        // Of another length, in fewer, and where somebody waited for a processor.
        assert_eq!(once(vec![paced(12_584, 17_282)], false), None);
        assert_eq!(once(vec![paced(1_500, 30_024)], false), None);
        assert_eq!(once(vec![paced(14_115, 30_024)], true), None);
    }

    #[test]
    fn what_threads_waited_for_and_what_happens_to_hosts_accuses_nobody() {
        // Healthy networks of a crowded machine: alike and waited for; scattered; and a wireless bridge that scans every 4 s.
        let healthy = [
            trips(16, 10_901, &[10.49, 10.81, 10.95, 11.07], [400_000, 276_600], true),
            trips(20, 19_362, &[12.8, 17.2, 19.7, 23.0], [400_000, 296_000], true),
            trips(19, 20_853, &[15.91, 22.46, 28.15], [13_000, 4000], false),
        ];
        for (number, step) in healthy.into_iter().enumerate() {
            assert_eq!(told(vec![step, paced(570, 11_000)]), None, "{number}");
        }
        let mut scans = trips(2126, 1365, &[13.41, 16.7, 16.8, 16.9], [4000, 2300], false);
        scans.lanes.iter_mut().for_each(|lane| lane.window_ns = 8_000 * MS);
        assert_eq!(told(vec![scans, paced(2300, 16_600)]), None);
        // Nobody knows what threads waited; a question that was lost, and a path that loses.
        let mut unknown = five_of_many();
        unknown.lanes[1].scheduled = None;
        assert_eq!(told(vec![unknown]), None);
        let mut again = five_of_many();
        let tcp = pathproof_model::evidence::TcpCounts {
            retransmitted: Some(1),
            ..pathproof_model::evidence::TcpCounts::still()
        };
        again.evidence[0] = Evidence { node: NodeId::CLIENT, tcp: Some(tcp), ..Evidence::default() };
        assert_eq!(told(vec![again]), None);
        let mut lossy = paced(100, 200);
        lossy.detail.loss.as_mut().unwrap()[0].flows[0].small.received = 3880;
        assert_eq!(told(vec![five_of_many(), lossy]), None);
    }

    #[test]
    fn many_that_are_not_alike_are_a_warning_where_nobody_else_met_them() {
        let scattered = [11.0, 14.0, 17.5, 21.0, 26.0, 31.0, 39.0, 44.0];
        let steps = |slow: &[f64], waited| vec![trips(50, 4000, slow, [waited, 300], false)];
        assert_eq!(told(steps(&scattered, 9000)), Some(Severity::Warning));
        assert_eq!(told(steps(&scattered[1..], 9000)), None);
        assert_eq!(told(steps(&scattered, 60_000)), None);
        let both = [steps(&scattered, 9000), vec![paced(21_000, 44_000)]].concat();
        assert_eq!(told(both), Some(Severity::Error));
    }

    /// As a port makes it that is paused for 8 of every 10 ms: thirty questions are answered, and the next one waits for the end of the pause.
    fn paused(waited_us: u64, pressed: bool) -> Step {
        let slow: Vec<f64> = (0..58).map(|n| 7.9 + f64::from(n % 10) / 100.0).collect();
        trips(62, 1760, &slow, [waited_us, 4000], pressed)
    }

    fn told_in_turns(steps: Vec<Step>) -> Option<Finding> {
        in_turns(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
    }

    #[test]
    fn a_port_that_is_paused_by_turns_is_told_where_datagrams_wait_for_as_long() {
        let found = told_in_turns(vec![paused(9000, false), paced(7_920, 8_100)]).unwrap();
        assert_eq!((&*found.code, found.severity), ("PATH-JITTER", Severity::Error));
        for part in ["58 of 1818 idle round trips took 7.", "% of the time", "one in a hundred came 7.92 ms"]
        {
            assert!(found.evidence.contains(part), "{part} is missing in {}", found.evidence);
        }
        assert_eq!(told(vec![paused(9000, false), paced(7_920, 8_100)]), None, "the longer ones are others");
    }

    #[test]
    fn turns_of_hosts_that_wait_for_each_other_are_not_the_paths() {
        let path = || paced(7_920, 8_100);
        // A thread that stood in line for a third of it, somebody who did for most of the time, or for nearly half of the time that was stood.
        assert_eq!(told_in_turns(vec![paused(160_000, false), path()]), None);
        assert_eq!(told_in_turns(vec![paused(9000, true), path()]), None);
        let mut crowded = paused(9000, false);
        crowded.evidence[0].host.as_mut().unwrap().pressure_some_ns = Some(360 * MS);
        assert_eq!(told_in_turns(vec![crowded, path()]), None);
        // No datagram waited, or for half as long.
        assert_eq!(told_in_turns(vec![paused(9000, false)]), None);
        assert_eq!(told_in_turns(vec![paused(9000, false), paced(5_100, 8_100)]), None);
        // A few of many, and such that differ.
        let few: Vec<f64> = (0..9).map(|n| 7.9 + f64::from(n) / 100.0).collect();
        assert_eq!(told_in_turns(vec![trips(62, 8760, &few, [900, 400], false), path()]), None);
        let differ: Vec<f64> = (0..58).map(|n| 5.2 + f64::from(n % 20) / 5.0).collect();
        assert_eq!(told_in_turns(vec![trips(62, 1760, &differ, [9000, 4000], false), path()]), None);
    }
}
