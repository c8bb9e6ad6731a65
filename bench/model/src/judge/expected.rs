//! Holding a flow against what its plan expects of it.

use super::busy::unless_busy;
use super::traffic::slowest;
use crate::units::BitsPerSecond;
use crate::{Check, Criteria, Expect, Flow, Pattern, RequestLoad, Step, Unit};

pub(super) fn flows(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let flows = steps.iter().flat_map(|step| step.flows.iter().map(move |flow| (*step, flow)));
    let expecting = flows.filter_map(|(step, flow)| Some((step, flow, flow.expect?)));
    expecting.flat_map(|(step, flow, expect)| checks(step, flow, expect, criteria)).collect()
}

fn checks(step: &Step, flow: &Flow, expect: Expect, criteria: &Criteria) -> Vec<Check> {
    let goodput = expect.goodput_min_bits_per_s.map(|least| goodput(step, flow, least));
    let p99 = expect.p99_max_ns.map(|most_ns| p99(step, flow, most_ns, criteria.latency.samples_min));
    let again = expect.retransmits_max_per_gb.map(|most| retransmits(flow, most));
    [goodput, p99, again].into_iter().flatten().collect()
}

fn goodput(step: &Step, flow: &Flow, least: u64) -> Check {
    const NAME: &str = "expected-goodput";
    let (name, limit) = (&flow.name, BitsPerSecond(least));
    let Some(rate) = flow.summary.goodput_bits_per_s else {
        let text = format!("{name}: no goodput was measured, and at least {limit} is expected");
        return Check::inconclusive(NAME, text).numbers(None, least as f64, Unit::BitsPerS);
    };
    let text = format!("{name}: goodput {} (at least {limit} is expected)", BitsPerSecond(rate));
    let check = Check::of(NAME, rate >= least, text).numbers(rate as f64, least as f64, Unit::BitsPerS);
    unless_busy(check, step, |hosts| hosts.explain_rate(rate as f64 / least.max(1) as f64, 1.0))
}

fn p99(step: &Step, flow: &Flow, most_ns: u64, samples_min: u64) -> Check {
    let open = matches!(flow.pattern, Pattern::Request { load: RequestLoad::Open, .. });
    let times = if open { flow.summary.response_ns } else { flow.summary.rtt_ns };
    let Some(times) = times.filter(|times| times.count > 0) else {
        let text = format!("{}: nothing was answered", flow.name);
        return Check::inconclusive("expected-p99", text).numbers(None, most_ns as f64, Unit::Ns);
    };
    let what = format!("{} as expected by the plan", flow.name);
    let check = slowest("expected", &what, &times, most_ns, samples_min);
    unless_busy(check, step, |hosts| hosts.explain_times(&times, most_ns))
}

fn retransmits(flow: &Flow, most: f64) -> Check {
    const NAME: &str = "expected-retransmits";
    let name = &flow.name;
    let known = flow.summary.retransmits.zip(flow.summary.bytes.filter(|bytes| *bytes > 0));
    let Some((again, bytes)) = known else {
        let text =
            format!("{name}: nobody counted what was sent again, and at most {most} per GB is expected");
        return Check::inconclusive(NAME, text).numbers(None, most, Unit::PerGb);
    };
    let per_gb = again as f64 * 1e9 / bytes as f64;
    let text = format!("{name}: {per_gb:.1} segments sent again per GB (at most {most} is expected)");
    Check::of(NAME, per_gb <= most, text).numbers(per_gb, most, Unit::PerGb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LatencySummary, Outcome, StepKind, Summary};

    fn judged(expect: Expect, pattern: Pattern, summary: Summary) -> Vec<Check> {
        let mut step = Step::new(StepKind::Stream, "stream");
        let own = Flow { name: "own".into(), expect: Some(expect), pattern, summary, ..Flow::default() };
        step.with_flows(vec![own, Flow { name: "other".into(), ..Flow::default() }]);
        flows(&[&step], &Criteria::default())
    }

    #[test]
    fn a_stream_is_held_against_its_own_goodput_and_what_went_again() {
        let expect = Expect {
            goodput_min_bits_per_s: Some(8_000_000),
            retransmits_max_per_gb: Some(1000.0),
            ..Expect::default()
        };
        let outcomes = |goodput: Option<u64>, retransmits: Option<u64>| {
            let summary = Summary {
                goodput_bits_per_s: goodput,
                retransmits,
                bytes: Some(1_000_000),
                ..Summary::default()
            };
            judged(expect, Pattern::Stream { message_bytes: 1 }, summary)
        };
        let of = |checks: &[Check]| checks.iter().map(|check| check.outcome).collect::<Vec<_>>();
        assert_eq!(of(&outcomes(Some(8_000_000), Some(1))), [Outcome::Pass; 2]);
        assert_eq!(of(&outcomes(Some(7_999_999), Some(2))), [Outcome::Fail; 2]);
        assert_eq!(of(&outcomes(None, None)), [Outcome::Inconclusive; 2], "unknown is no pass");
        let failed = outcomes(Some(4_000_000), Some(2));
        let numbers = |check: &Check| (check.measured, check.limit, check.unit);
        assert_eq!(numbers(&failed[0]), (Some(4e6), Some(8e6), Some(Unit::BitsPerS)));
        assert_eq!(numbers(&failed[1]), (Some(2000.0), Some(1000.0), Some(Unit::PerGb)));
        assert!(failed[0].text.contains("own: goodput 4.0 Mbit/s"), "{}", failed[0].text);
    }

    #[test]
    fn questions_are_held_against_their_own_p99_from_where_they_were_to_begin() {
        let expect = Expect { p99_max_ns: Some(1_000_000), ..Expect::default() };
        let times =
            |p99: u64, count: u64| LatencySummary { count, p50: 1, p90: p99, p99, ..Default::default() };
        let outcome = |load: RequestLoad, response: LatencySummary| {
            let pattern = Pattern::Request { message_bytes: 1, reply_bytes: 1, load, requests_per_s: None };
            let summary =
                Summary { rtt_ns: Some(times(1, 5000)), response_ns: Some(response), ..Summary::default() };
            judged(expect, pattern, summary)[0].outcome
        };
        assert_eq!(outcome(RequestLoad::Open, times(900_000, 5000)), Outcome::Pass);
        assert_eq!(outcome(RequestLoad::Open, times(1_100_000, 5000)), Outcome::Fail);
        assert_eq!(outcome(RequestLoad::Closed, times(1_100_000, 5000)), Outcome::Pass);
        assert_eq!(outcome(RequestLoad::Open, times(1_100_000, 5)), Outcome::Inconclusive);
        assert_eq!(outcome(RequestLoad::Open, times(0, 0)), Outcome::Inconclusive);
    }
}
