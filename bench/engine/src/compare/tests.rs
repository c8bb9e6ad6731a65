//! Comparisons whose answer is known.

use pathproof_model::compare::{Basis, CompareOutcome, Comparison, FigureVerdict};
use pathproof_model::{
    Direction, Environment, Flow, LaneRole, LatencySummary, Nic, NodeId, Plan, ResultDoc, Series, Step,
    StepKind, StepSpec, Summary, Tool, TrafficSpec,
};

use super::{GATE, Run, as_verdict, compare};
use crate::record::LatencyHistogram;

const MBIT: u64 = 1_000_000;

/// A run with one stream, of so many Mbit/s in each tenth of a second, and NICs with this MTU.
fn stream(mbit: impl Fn(u64) -> u64, ip_mtu_bytes: u32) -> Run {
    let mut doc = ResultDoc::new(Tool::default(), "2026-11-29T01:00:00Z");
    let nic = Nic { name: "eth1".into(), ip_mtu_bytes: Some(ip_mtu_bytes), ..Nic::default() };
    let environment = Environment { hostname: Some("hv1".into()), nics: vec![nic], ..Environment::default() };
    doc.learn(NodeId::CLIENT, environment);
    let mut step = Step::new(StepKind::Stream, "tcp stream out, 1 lane");
    let bytes: Vec<u64> = (0..40).map(|at| mbit(at) * MBIT / 80).collect();
    let total: u64 = bytes.iter().sum();
    step.series = vec![Series {
        node: NodeId::SERVER,
        role: LaneRole::Receive,
        width_ns: 100_000_000,
        end_ns: 4_000_000_000,
        received_bytes: bytes.into_iter().map(Some).collect(),
        ..Series::default()
    }];
    let summary = Summary { goodput_bits_per_s: Some(total * 2), ..Summary::default() };
    step.with_flows(vec![Flow { name: "out".into(), summary, ..Flow::default() }]);
    doc.steps.push(step);
    Run { file: "run.json".into(), doc }
}

/// A run of round trips around a median.
fn round_trips(median_ns: u64) -> Run {
    let mut histogram = LatencyHistogram::new();
    for at in 0..20_000u64 {
        histogram.record(median_ns + (at * 7919) % 4000);
    }
    let mut doc = ResultDoc::new(Tool::default(), "2026-11-29T01:00:00Z");
    let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
    let rtt_ns: Option<LatencySummary> = histogram.summary();
    step.summary = Summary { rtt_ns, ..Summary::default() };
    step.histograms = vec![histogram.to_record(pathproof_model::HistogramName::Service, None)];
    doc.steps.push(step);
    Run { file: "rtt.json".into(), doc }
}

fn noisy(mean: u64) -> impl Fn(u64) -> u64 {
    move |at| mean + (at * 37) % 11 * mean / 200
}

fn goodput(compared: &Comparison) -> &pathproof_model::compare::ComparedFigure {
    compared.pairs.iter().find(|pair| pair.figure == "goodput").unwrap()
}

#[test]
fn a_run_against_itself_is_no_regression() {
    let run = stream(noisy(4000), 9000);
    let compared = compare(std::slice::from_ref(&run), std::slice::from_ref(&run), GATE);
    assert_eq!(compared.outcome, CompareOutcome::NoRegression, "{}", compared.reason);
    assert_eq!(goodput(&compared).significant, Some(false));
    assert!(compared.settings.is_empty());
}

#[test]
fn slower_by_a_fifth_with_a_smaller_mtu_is_named() {
    let compared = compare(&[stream(noisy(5000), 9000)], &[stream(noisy(4000), 1500)], GATE);
    assert_eq!(compared.outcome, CompareOutcome::Regression);
    assert_eq!(compared.likely_cause.as_deref(), Some("MTU 9000 -> 1500"));
    assert!(compared.reason.contains("slower by 20 %"), "{}", compared.reason);
    let pair = goodput(&compared);
    assert_eq!((pair.basis, pair.verdict), (Basis::Intervals, FigureVerdict::Regressed));
    assert!(pair.p_value.unwrap() < 0.01 && (pair.change.unwrap() + 0.2).abs() < 0.01);
    // The other way round it is better, and no cause is sought.
    let compared = compare(&[stream(noisy(4000), 1500)], &[stream(noisy(5000), 9000)], GATE);
    assert_eq!((compared.outcome, compared.likely_cause), (CompareOutcome::NoRegression, None));
}

#[test]
fn a_shorter_step_of_the_same_name_is_a_setting_that_differs() {
    let with = |mut run: Run, seconds: u64, seed: u64| {
        let stream = TrafficSpec { time_ns: seconds * 1_000_000_000, ..TrafficSpec::default() };
        let back = TrafficSpec { direction: Direction::In, ..TrafficSpec::default() };
        let steps = vec![StepSpec::Stream(back), StepSpec::Stream(stream)];
        run.doc.requested = Some(Plan { seed, steps, ..Plan::default() });
        run
    };
    let compared =
        compare(&[with(stream(noisy(5000), 9000), 4, 1)], &[with(stream(noisy(4000), 9000), 1, 2)], GATE);
    let [change] = &compared.settings[..] else { panic!("{:?}", compared.settings) };
    assert_eq!((change.place.as_str(), change.setting.as_str()), ("plan", "stream out 1.time_ns"));
    assert_eq!((change.a.as_deref(), change.b.as_deref()), (Some("4000000000"), Some("1000000000")));
    assert!(compared.reason.contains("1 settings differ"), "{}", compared.reason);
}

#[test]
fn a_larger_mtu_explains_nothing_and_neither_do_two_changes() {
    let compared = compare(&[stream(noisy(5000), 1500)], &[stream(noisy(4000), 9000)], GATE);
    assert_eq!((compared.outcome, compared.likely_cause), (CompareOutcome::Regression, None));
    let mut other = stream(noisy(4000), 1500);
    let mut environment = other.doc.environment(NodeId::CLIENT).unwrap().clone();
    environment.nics[0].speed_bits_per_s = Some(1_000_000_000);
    other.doc.learn(NodeId::CLIENT, environment);
    let mut before = stream(noisy(5000), 9000);
    let mut environment = before.doc.environment(NodeId::CLIENT).unwrap().clone();
    environment.nics[0].speed_bits_per_s = Some(10_000_000_000);
    before.doc.learn(NodeId::CLIENT, environment);
    let compared = compare(&[before], &[other], GATE);
    assert_eq!((compared.likely_cause, compared.settings.len()), (None, 2));
    assert!(compared.reason.contains("which of them matters is open"), "{}", compared.reason);
}

#[test]
fn within_the_gate_or_within_the_noise_is_the_same() {
    let compared = compare(&[stream(noisy(5000), 9000)], &[stream(noisy(4700), 9000)], GATE);
    assert_eq!(
        (compared.outcome, goodput(&compared).significant),
        (CompareOutcome::NoRegression, Some(true))
    );
    // Slower by 15 % on the whole, by two stalls in a run that is unsteady anyway.
    let unsteady = |at: u64| if at % 10 < 5 { 8000 } else { 1000 };
    let worse = |at: u64| if at % 10 < 5 { 6600 } else { 1050 };
    let compared = compare(&[stream(unsteady, 9000)], &[stream(worse, 9000)], GATE);
    let pair = goodput(&compared);
    assert!(pair.change.unwrap() < -0.1 && pair.significant == Some(false), "{pair:?}");
    assert_eq!(compared.outcome, CompareOutcome::NoRegression);
}

#[test]
fn what_is_missing_or_too_short_is_never_a_pass() {
    let a = stream(noisy(5000), 9000);
    let mut gone = a.clone();
    gone.doc.steps[0].with_flows(vec![Flow { name: "out".into(), ..Flow::default() }]);
    let compared = compare(std::slice::from_ref(&a), &[gone], GATE);
    let pair = goodput(&compared);
    assert_eq!((pair.b, pair.change, pair.significant), (None, None, None));
    assert_eq!(compared.outcome, CompareOutcome::CannotTell);
    assert!(compared.reason.contains("was not measured in B"), "{}", compared.reason);

    let short = shortened(stream(noisy(4000), 9000), 8);
    let compared = compare(std::slice::from_ref(&a), &[short], GATE);
    assert_eq!((compared.outcome, goodput(&compared).significant), (CompareOutcome::CannotTell, None));

    let nothing = Run { doc: ResultDoc::new(Tool::default(), "x"), file: "empty.json".into() };
    let compared = compare(std::slice::from_ref(&nothing), std::slice::from_ref(&nothing), GATE);
    assert_eq!(compared.outcome, CompareOutcome::CannotTell);
    let verdict = as_verdict(&compared).unwrap();
    assert_eq!(verdict.outcome, pathproof_model::Outcome::Inconclusive);
}

/// A run of which so many tenths of a second are stored.
fn shortened(mut run: Run, tenths: usize) -> Run {
    run.doc.steps[0].series[0].received_bytes.truncate(tenths);
    run
}

/// The streams of a check last a second: eleven tenths are five blocks.
#[test]
fn short_runs_show_what_is_plain_and_nothing_else() {
    let held = |a: Run, b: Run| {
        let compared = compare(&[shortened(a, 11)], &[shortened(b, 11)], GATE);
        let pair = goodput(&compared);
        assert_eq!((pair.basis, pair.p_value), (Basis::Intervals, None), "{pair:?}");
        (pair.significant, compared.outcome)
    };
    // Slower by a fifth, and steady.
    let (fast, slow) = (|| stream(noisy(5000), 9000), || stream(noisy(4000), 9000));
    assert_eq!(held(fast(), slow()), (Some(true), CompareOutcome::Regression));
    assert_eq!(held(slow(), fast()), (Some(true), CompareOutcome::NoRegression));
    assert_eq!(held(fast(), fast()), (Some(false), CompareOutcome::NoRegression));
    // Slower by a quarter, and each wider than that: nobody knows.
    let wide = |mean: u64, step: u64| stream(move |at| mean + at % 4 * step, 9000);
    assert_eq!(held(wide(5000, 500), wide(4000, 200)), (None, CompareOutcome::CannotTell));
    // One dip of the faster one does not make the slower one the same.
    let dips = stream(|at| if at < 2 { 500 } else { 5000 }, 9000);
    assert_eq!(held(dips, stream(|_| 1500, 9000)), (None, CompareOutcome::CannotTell));
    // Next to a long run both are cut alike.
    let compared = compare(&[fast()], &[shortened(slow(), 11)], GATE);
    assert_eq!(goodput(&compared).significant, Some(true));
}

#[test]
fn four_runs_of_each_side_show_what_one_cannot() {
    let runs = |medians: [u64; 4]| medians.map(round_trips);
    let median = |compared: &Comparison| {
        compared.pairs.iter().find(|pair| pair.figure == "round_trip_p50").unwrap().clone()
    };
    let compared =
        compare(&runs([30_000, 31_000, 32_000, 33_000]), &runs([50_000, 51_000, 52_000, 53_000]), GATE);
    assert_eq!((median(&compared).basis, median(&compared).verdict), (Basis::Runs, FigureVerdict::Regressed));
    // One of each: the distributions have nothing in common, and the next run may be as this one was.
    let compared = compare(&[round_trips(30_000)], &[round_trips(50_000)], GATE);
    assert_eq!((median(&compared).significant, compared.outcome), (None, CompareOutcome::CannotTell));
    // One of each again, by as much as no host makes of itself.
    let compared = compare(&[round_trips(30_000)], &[round_trips(3_000_000)], GATE);
    assert_eq!(median(&compared).verdict, FigureVerdict::Regressed);
    let compared = compare(&[round_trips(3_000_000)], &[round_trips(30_000)], GATE);
    assert_eq!(median(&compared).verdict, FigureVerdict::Improved);
    // As far apart as runs of one side: the same.
    let compared =
        compare(&runs([30_000, 50_000, 70_000, 90_000]), &runs([35_000, 55_000, 75_000, 95_000]), GATE);
    assert_eq!(median(&compared).significant, Some(false));
    // Longer by a tenth, and by no more than a clock and an interrupt.
    let compared = compare(&[round_trips(10_000)], &[round_trips(15_000)], GATE);
    assert_eq!(median(&compared).verdict, FigureVerdict::Same);
}

#[test]
fn steps_of_one_name_are_told_by_their_order() {
    let mut run = stream(|_| 900, 9000);
    let (first, other) = (run.doc.steps[0].clone(), Step::new(StepKind::Reach, "reach"));
    run.doc.steps.extend([other, first.clone(), first]);
    let found = super::keyed(&run.doc);
    let of = |figure: &str| {
        let own = found.iter().filter(|(key, _)| key.figure == figure && key.step.starts_with("tcp stream"));
        own.map(|(key, of)| (key.occurrence, of.index)).collect::<Vec<_>>()
    };
    assert_eq!(of("goodput"), [(0, 0), (1, 2), (2, 3)]);
}
