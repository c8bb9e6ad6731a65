//! What a stream in full flow adds to the round trips of a probe beside it, against those of an idle path.

use super::busy::{open_while_busy, unless_flow_waited};
use super::names;
use super::traffic::looped;
use crate::units::Nanoseconds;
use crate::{Check, Class, Criteria, Flow, LatencySummary, ResultDoc, Step, Subject, Trips, Unit, Verdict};

/// Fewest answers that a median may rest on: a far path answers no more of them in a short window.
const ANSWERS_MIN: u64 = 3;
const NAME: &str = names::ADDED_DELAY_P50;

/// A probe beside a stream, and the idle round trips of the same run.
#[derive(Clone, Copy, Debug)]
pub struct LoadedDelay<'a> {
    /// The step with the stream.
    pub step: &'a Step,
    /// The probe.
    pub probe: &'a Flow,
    /// Its number in the step.
    pub number: u16,
    /// Round trips without load.
    pub idle: LatencySummary,
    /// Those of the probe.
    pub loaded: LatencySummary,
}

impl LoadedDelay<'_> {
    /// What the stream adds to the median, in ns.
    pub fn added_ns(&self) -> u64 {
        self.loaded.p50.saturating_sub(self.idle.p50)
    }

    /// Whether that is more than `limit_ns`, and not because the threads of the probe waited for a processor.
    pub fn exceeds(&self, limit_ns: u64) -> bool {
        self.check(limit_ns).outcome == crate::Outcome::Fail
    }

    /// In words, for a verdict and a finding.
    pub fn words(&self) -> String {
        let ns = |ns: u64| Nanoseconds(ns).to_string();
        format!(
            "the median round trip beside {} is {} and idle {} (p99 {} and {})",
            self.step.name,
            ns(self.loaded.p50),
            ns(self.idle.p50),
            ns(self.loaded.p99),
            ns(self.idle.p99)
        )
    }

    fn check(&self, limit_ns: u64) -> Check {
        let added = self.added_ns();
        let (measured, limit, words) = (Nanoseconds(added), Nanoseconds(limit_ns), self.words());
        if self.loaded.count < ANSWERS_MIN {
            let text =
                format!("only {} questions beside {} were answered", self.loaded.count, self.step.name);
            return Check::inconclusive(NAME, text).numbers(None, limit_ns as f64, Unit::Ns);
        }
        let text = match added <= limit_ns {
            true => format!("load adds {measured} (limit {limit}): {words}"),
            false => format!("load adds {measured}, above the limit of {limit}: {words}"),
        };
        let check = Check::of(NAME, added <= limit_ns, text);
        let check = check.numbers(added as f64, limit_ns as f64, Unit::Ns);
        // There is no path whose queue it could be.
        if looped(self.step) && added > limit_ns {
            let text = format!("{} (not judged on a loopback)", check.text);
            return Check::not_judged(NAME, text).numbers(added as f64, limit_ns as f64, Unit::Ns);
        }
        unless_flow_waited(
            check,
            self.step,
            self.number,
            (added.saturating_sub(limit_ns)) as f64,
            self.loaded.count,
        )
    }
}

/// The streams that a plan asked for and that were whole.
fn streams(doc: &ResultDoc) -> impl Iterator<Item = &Step> {
    let whole = |step: &&Step| step.follows_up.is_none() && step.error.is_none();
    doc.steps.iter().filter(whole).filter(|step| step.kind.traits().bulk)
}

fn probes(step: &Step) -> impl Iterator<Item = (u16, &Flow)> {
    (0..).zip(&step.flows).filter(|(_, flow)| flow.beside && flow.class == Class::Probe)
}

/// Idle round trips over the same transport.
fn idle(doc: &ResultDoc, step: &Step) -> Option<LatencySummary> {
    let alone = doc.steps.iter().filter(|other| {
        let whole = other.follows_up.is_none() && other.error.is_none();
        whole && other.kind.traits().trips == Trips::Idle && other.over == step.over
    });
    alone.filter_map(|other| other.summary.rtt_ns).find(|times| times.count > 0)
}

/// All probes of a document that were answered, where the idle path was measured too.
pub fn loaded_delays(doc: &ResultDoc) -> Vec<LoadedDelay<'_>> {
    let of_step = |step| probes(step).map(move |(number, probe)| (step, number, probe));
    let delays = streams(doc).flat_map(of_step).filter_map(|(step, number, probe)| {
        let (idle, loaded) = (idle(doc, step)?, probe.summary.rtt_ns?);
        Some(LoadedDelay { step, probe, number, idle, loaded })
    });
    delays.collect()
}

/// A verdict for each transport and direction, by the worst of its probes.
pub(super) fn verdicts(doc: &ResultDoc, criteria: &Criteria) -> Vec<Verdict> {
    let limit_ns = criteria.latency.added_p50_max_ns;
    let delays = loaded_delays(doc);
    let mut verdicts: Vec<Verdict> = vec![];
    for step in streams(doc).filter(|step| probes(step).next().is_some()) {
        let subject = subject(step);
        if verdicts.iter().any(|verdict| verdict.subject == subject) {
            continue;
        }
        let own = delays.iter().filter(|delay| self::subject(delay.step) == subject);
        let worst = own.max_by_key(|delay| delay.added_ns());
        let check = match worst {
            Some(delay) => delay.check(limit_ns),
            None if idle(doc, step).is_none() => {
                let text = "no idle round trips were measured that those under load could be held against";
                Check::not_judged(NAME, text)
            }
            None => {
                let text = format!("no question beside {} was answered", step.name);
                open_while_busy(step, Check::inconclusive(NAME, text))
            }
        };
        verdicts.extend(Verdict::of(subject, vec![check]));
    }
    verdicts
}

fn subject(step: &Step) -> Subject {
    let over = step.over.clone().unwrap_or_else(|| crate::plan::DEFAULT_OVER.into());
    Subject::LatencyUnderLoad { over, direction: step.direction }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, End, LaneResult, Outcome, StepKind, Summary, Waited};

    const MS: u64 = 1_000_000;

    fn times(count: u64, p50: u64) -> Summary {
        let times = LatencySummary { count, p50, p99: 2 * p50, ..LatencySummary::default() };
        Summary { rtt_ns: Some(times), ..Summary::default() }
    }

    fn doc(loaded: Summary, waited_ns: u64) -> ResultDoc {
        let mut doc = ResultDoc::new(crate::Tool::default(), "");
        let over = Some("tcp".to_owned());
        let idle =
            Step { over: over.clone(), summary: times(5000, MS), ..Step::new(StepKind::Pingpong, "idle") };
        let mut stream =
            Step { over, direction: Some(Direction::Out), ..Step::new(StepKind::Stream, "stream out") };
        let probe = Flow { beside: true, class: Class::Probe, summary: loaded, ..Flow::default() };
        stream.with_flows(vec![Flow::default(), probe]);
        let lane = |flow, waited_ns| LaneResult {
            flow,
            end: End::Client,
            local: Some("10.0.0.1:1".into()),
            scheduled: Some(Waited { waited_ns, of_ns: 1000 * MS }),
            ..LaneResult::default()
        };
        // The stream's own lane stands in line all the time.
        stream.lanes = vec![lane(0, 900 * MS), lane(1, waited_ns)];
        doc.steps = vec![idle, stream];
        doc
    }

    fn judged(doc: &ResultDoc) -> (Outcome, String) {
        let verdicts = verdicts(doc, &Criteria::default());
        assert_eq!(verdicts.len(), 1);
        assert_eq!(verdicts[0].subject, Subject::from("latency-under-load/tcp/out"));
        (verdicts[0].outcome, verdicts[0].reason.clone())
    }

    #[test]
    fn what_load_adds_is_held_against_the_limit_with_idle_and_loaded_figures() {
        let (outcome, reason) = judged(&doc(times(100, 101 * MS), 0));
        assert_eq!(outcome, Outcome::Pass, "{reason}");
        let (outcome, reason) = judged(&doc(times(100, 201 * MS), 0));
        assert_eq!(outcome, Outcome::Fail, "{reason}");
        for part in ["200.00 ms", "201.00 ms", "idle 1.00 ms", "stream out"] {
            assert!(reason.contains(part), "{part} is missing in {reason}");
        }
        assert_eq!(judged(&doc(times(2, 900 * MS), 0)).0, Outcome::Inconclusive);
        assert_eq!(judged(&doc(times(0, 0), 0)).0, Outcome::Inconclusive);
        assert_eq!(judged(&doc(Summary::default(), 0)).0, Outcome::Inconclusive);
        let mut alone = doc(times(100, 201 * MS), 0);
        alone.steps.remove(0);
        assert_eq!(judged(&alone).0, Outcome::NotJudged);
    }

    #[test]
    fn a_probe_that_waited_for_a_processor_accuses_nobody_and_a_busy_stream_is_no_excuse() {
        // Ten answers, each 100 ms over the limit: a second in line explains that, a tenth of it does not.
        assert_eq!(judged(&doc(times(10, 201 * MS), 1000 * MS)).0, Outcome::Inconclusive);
        assert!(judged(&doc(times(10, 201 * MS), 1000 * MS)).1.contains("was busy"));
        assert_eq!(judged(&doc(times(10, 201 * MS), 100 * MS)).0, Outcome::Fail);
        let busy = doc(times(10, 201 * MS), 1000 * MS);
        assert!(!loaded_delays(&busy)[0].exceeds(100 * MS));
        assert!(loaded_delays(&doc(times(10, 201 * MS), 0))[0].exceeds(100 * MS));
    }
}
