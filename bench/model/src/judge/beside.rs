//! Judging the flows that ran beside those that a step is named after. What a probe saw has a verdict of its own.

use super::busy::unless_busy;
use super::traffic::{share_at_least, slowest};
use crate::units::BitsPerSecond;
use crate::{Check, Class, Criteria, Flow, Pattern, RequestLoad, Step, Unit};

pub(super) fn flows(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let beside = steps.iter().flat_map(|step| step.beside().map(move |flow| (*step, flow)));
    let judged = beside.filter(|(_, flow)| flow.class != Class::Probe);
    judged.filter_map(|(step, flow)| check(step, flow, criteria)).collect()
}

fn check(step: &Step, flow: &Flow, criteria: &Criteria) -> Option<Check> {
    let (figures, name) = (&flow.summary, &flow.name);
    match flow.pattern {
        Pattern::Stream { .. } => rate(step, flow, criteria.throughput.paced_share_min),
        Pattern::Pingpong { .. } | Pattern::Request { .. } => {
            let open = matches!(flow.pattern, Pattern::Request { load: RequestLoad::Open, .. });
            let times = if open { figures.response_ns } else { figures.rtt_ns };
            let Some(times) = times.filter(|times| times.count > 0) else {
                return Some(Check::inconclusive("beside-p99", format!("{name}: nothing was answered")));
            };
            let limits = &criteria.latency;
            let what = format!("{name} beside {}", step.name);
            let check = slowest("beside", &what, &times, limits.loaded_p99_max_ns, limits.samples_min);
            Some(unless_busy(check, step, |hosts| hosts.explain_times(&times, limits.loaded_p99_max_ns)))
        }
        Pattern::Guests | Pattern::Other => None,
    }
}

/// Its pace is the yardstick; one without has none, but for carrying something.
fn rate(step: &Step, flow: &Flow, share_min: f64) -> Option<Check> {
    let (name, rate) = (&flow.name, flow.summary.goodput_bits_per_s);
    match (rate, flow.rate_bits_per_s) {
        (None, _) => Some(Check::inconclusive("beside-goodput", format!("{name}: no goodput was measured"))),
        (Some(0), _) => {
            let text = format!("{name}: not one byte arrived within its window");
            Some(Check::fail("beside-goodput", text).numbers(0.0, None, Unit::BitsPerS))
        }
        (Some(rate), Some(asked)) => {
            let share = rate as f64 / asked as f64;
            let text = format!("{name}: goodput {} of {}", BitsPerSecond(rate), BitsPerSecond(asked));
            let check = share_at_least("beside-paced-share", &text, share, share_min);
            Some(unless_busy(check, step, |hosts| hosts.explain_rate(share, share_min)))
        }
        (Some(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LatencySummary, Outcome, StepKind, Summary};

    fn outcomes(flow: Flow) -> Vec<Outcome> {
        let mut step = Step::new(StepKind::Stream, "stream");
        step.with_flows(vec![Flow::default(), Flow { beside: true, name: "other".into(), ..flow }]);
        flows(&[&step], &Criteria::default()).iter().map(|check| check.outcome).collect()
    }

    fn stream(goodput: Option<u64>, pace: Option<u64>) -> Flow {
        let summary = Summary { goodput_bits_per_s: goodput, ..Summary::default() };
        let pattern = Pattern::Stream { message_bytes: 1 };
        Flow { pattern, rate_bits_per_s: pace, summary, ..Flow::default() }
    }

    #[test]
    fn a_stream_beside_another_has_its_pace_for_a_yardstick_and_must_carry_something() {
        assert_eq!(outcomes(stream(Some(99), Some(100))), [Outcome::Pass]);
        assert_eq!(outcomes(stream(Some(90), Some(100))), [Outcome::Fail]);
        assert_eq!(outcomes(stream(Some(0), None)), [Outcome::Fail]);
        assert_eq!(outcomes(stream(None, None)), [Outcome::Inconclusive]);
        assert_eq!(outcomes(stream(Some(1), None)), []);
    }

    #[test]
    fn questions_beside_a_stream_are_held_against_the_limit_under_load() {
        let asks = |p99: u64, count: u64| {
            let times = LatencySummary { count, p50: 1, p90: p99, p99, ..LatencySummary::default() };
            let summary = Summary { rtt_ns: Some(times), ..Summary::default() };
            outcomes(Flow { pattern: Pattern::Pingpong { message_bytes: 64 }, summary, ..Flow::default() })
        };
        assert_eq!(asks(49_000_000, 2000), [Outcome::Pass]);
        assert_eq!(asks(51_000_000, 2000), [Outcome::Fail]);
        assert_eq!(asks(51_000_000, 10), [Outcome::Inconclusive]);
        assert_eq!(asks(1, 0), [Outcome::Inconclusive]);
    }
}
