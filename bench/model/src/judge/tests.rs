//! The judge against documents made by hand.

use super::*;
use crate::{
    Direction, End, Environment, Finding, Flow, FlowSpec, LaneResult, LatencySummary, Nic, NicAddress, Node,
    StepSpec, Summary, TrafficSpec,
};

pub(super) fn doc(steps: Vec<Step>) -> ResultDoc {
    let host = |address: [u8; 4], kind: &str, speed| Environment {
        nics: vec![Nic {
            name: "n0".into(),
            kind: Some(kind.into()),
            speed_bits_per_s: speed,
            addresses: vec![NicAddress { address: address.into(), prefix_len: 24 }],
            ..Nic::default()
        }],
        ..Environment::default()
    };
    ResultDoc {
        nodes: vec![
            Node::here(Some(host([10, 0, 0, 1], "ethernet", Some(10_000_000_000)))),
            Node::agent("10.0.0.2", Some(host([10, 0, 0, 2], "ethernet", Some(25_000_000_000)))),
        ],
        steps,
        ..ResultDoc::new(crate::Tool::default(), "2026-01-01T00:00:00Z")
    }
}

pub(super) fn step(kind: StepKind, name: &str) -> Step {
    Step { kind, over: Some("tcp".into()), ..Step::new(kind, name) }
}

fn lanes() -> Vec<LaneResult> {
    let lane = |end: End, local: &str| LaneResult { end, local: Some(local.into()), ..LaneResult::default() };
    vec![lane(End::Client, "10.0.0.1:4000"), lane(End::Server, "[::ffff:10.0.0.2]:7999")]
}

pub(super) fn stream(gbits: f64, worst: f64, retransmits: u64) -> Step {
    let rate = |g: f64| Some((g * 1e9) as u64);
    Step {
        direction: Some(Direction::Out),
        lanes: lanes(),
        summary: Summary {
            goodput_bits_per_s: rate(gbits),
            goodput_worst_second_bits_per_s: rate(worst),
            bytes: Some(2_000_000_000),
            window_ns: Some(2_000_000_000),
            retransmits: Some(retransmits),
            ..Summary::default()
        },
        ..step(StepKind::Stream, "tcp stream out, 1 lane")
    }
}

fn pingpong(count: u64, p50: u64, p99: u64) -> Step {
    let rtt = LatencySummary {
        count,
        min: p50,
        p50,
        p90: p99,
        p95: Some(p99),
        p99,
        p999: p99,
        max: p99,
        saturated: 0,
    };
    Step {
        summary: Summary { rtt_ns: Some(rtt), ..Summary::default() },
        ..step(StepKind::Pingpong, "tcp pingpong")
    }
}

pub(super) fn one(doc: &ResultDoc) -> (Outcome, String) {
    let verdicts = judge(doc, &Criteria::default());
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    (verdicts[0].outcome, verdicts[0].reason.clone())
}

#[test]
fn a_good_stream_passes_with_numbers_and_limits() {
    let (outcome, reason) = one(&doc(vec![stream(9.4, 9.0, 12)]));
    assert_eq!(outcome, Outcome::Pass, "{reason}");
    for part in
        ["9.40 Gbit/s", "94.0 % of the 10.00 Gbit/s link", "at least 80 %", "6 per GB", "worst second 9.00"]
    {
        assert!(reason.contains(part), "{part:?} is missing from {reason}");
    }
}

#[test]
fn each_limit_of_a_stream_fails_on_its_own_and_comes_first() {
    for (step, part) in [
        (stream(7.9, 7.9, 0), "below the limit of 80 %"),
        (stream(9.4, 1.0, 0), "worst second 1.00 Gbit/s, 11 % of the mean, below the limit of 50 %"),
        (stream(9.4, 9.4, 1100), "550 per GB, above the limit of 500"),
        (stream(0.0, 0.0, 0), "not one byte"),
    ] {
        let (outcome, reason) = one(&doc(vec![step]));
        assert_eq!(outcome, Outcome::Fail, "{reason}");
        assert!(reason.split("; ").next().unwrap().contains(part), "{part:?} does not lead {reason}");
    }
}

#[test]
fn a_few_round_trips_of_a_long_path_are_enough_and_three_are_not() {
    let reach = |made: u64| {
        let mut step = pingpong(made, 300_000_000, 300_000_000);
        (step.kind, step.spec) = (StepKind::Reach, Some(StepSpec::Reach(crate::ReachSpec { count: 20 })));
        one(&doc(vec![step])).0
    };
    assert_eq!([20, 4, 3].map(reach), [Outcome::Pass, Outcome::Pass, Outcome::Inconclusive]);
}

#[test]
fn a_lane_over_two_nics_is_held_against_both() {
    let two = |gbits: f64| {
        let mut doc = doc(vec![stream(gbits, gbits, 0)]);
        for environment in doc.nodes.iter_mut().filter_map(|node| node.environment.as_mut()) {
            let second = Nic { name: "n1".into(), addresses: vec![], ..environment.nics[0].clone() };
            environment.nics.push(second);
        }
        doc.steps[0].lanes.iter_mut().for_each(|lane| lane.nics = vec!["n0".into(), "n1".into()]);
        one(&doc)
    };
    assert!(two(19.0).1.contains("95.0 % of the 20.00 Gbit/s link"), "{}", two(19.0).1);
    assert_eq!(two(9.9).0, Outcome::Fail, "one of them was idle");
}

#[test]
fn a_rate_without_a_yardstick_is_not_judged_and_the_rest_can_still_fail() {
    let mut doc = doc(vec![stream(40.0, 39.0, 0)]);
    doc.nodes[1].environment.as_mut().unwrap().nics[0].speed_bits_per_s = None;
    let (outcome, reason) = one(&doc);
    assert_eq!(outcome, Outcome::NotJudged);
    assert!(reason.starts_with("goodput 40.00 Gbit/s is not judged"), "{reason}");
    assert!(reason.contains("link speed unknown (the server's n0 has none)"), "{reason}");
    doc.steps[0].summary.goodput_worst_second_bits_per_s = Some(1_000_000_000);
    assert_eq!(one(&doc).0, Outcome::Fail);
}

#[test]
fn a_link_without_a_speed_may_lose_more_in_its_own_queue_but_not_everything() {
    for (retransmits, expected, part) in [
        (1100, Outcome::NotJudged, "550 per GB (limit of links without a speed 5000)"),
        (12_000, Outcome::Fail, "6000 per GB, above the limit of links without a speed of 5000"),
    ] {
        let mut doc = doc(vec![stream(40.0, 39.0, retransmits)]);
        doc.nodes[1].environment.as_mut().unwrap().nics[0].speed_bits_per_s = None;
        let (outcome, reason) = one(&doc);
        assert_eq!(outcome, expected, "{reason}");
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn a_judged_document_says_by_which_limits() {
    let mut doc = doc(vec![stream(9.4, 9.0, 12)]);
    let own = Criteria::from_toml("[throughput]\nlink_share_min = 0.95").unwrap();
    judge_into(&mut doc, &own);
    assert_eq!(doc.verdicts[0].outcome, Outcome::Fail);
    assert_eq!(doc.criteria.unwrap().throughput.link_share_min, 0.95);
}

#[test]
fn the_best_run_of_a_direction_is_held_against_the_link() {
    let several = Step { name: "tcp stream out, 4 lanes".into(), ..stream(9.4, 9.0, 0) };
    let (outcome, reason) = one(&doc(vec![stream(4.0, 3.9, 0), several]));
    assert_eq!(outcome, Outcome::Pass, "{reason}");
}

#[test]
fn the_slower_direction_of_both_is_held_against_the_link() {
    let mut step = stream(12.0, 11.0, 0);
    step.direction = Some(Direction::Both);
    let flow = |name: &str, rate| {
        let summary = Summary { goodput_bits_per_s: Some(rate), ..step.summary.clone() };
        Flow { name: name.into(), summary, ..Flow::default() }
    };
    step.flows = vec![flow("out", 9_400_000_000), flow("in", 2_600_000_000)];
    let (outcome, reason) = one(&doc(vec![step]));
    assert_eq!(outcome, Outcome::Fail);
    assert!(reason.starts_with("goodput 2.60 Gbit/s in the slower direction"), "{reason}");
}

#[test]
fn a_paced_stream_is_held_against_its_pace_and_not_against_the_link() {
    let judged = |gbits: f64| {
        let mut step = stream(gbits, gbits, 0);
        let spec = TrafficSpec { rate_bits_per_s: Some(1_000_000_000), ..TrafficSpec::default() };
        step.spec = Some(StepSpec::Stream(spec));
        one(&doc(vec![step]))
    };
    let (outcome, reason) = judged(1.0);
    assert_eq!(outcome, Outcome::Pass);
    assert!(reason.contains("paced at 1.00 Gbit/s"), "{reason}");
    assert_eq!(judged(0.2).0, Outcome::Fail, "a fifth of what was to be sent");
    assert_eq!(judged(0.0).0, Outcome::Fail);
}

#[test]
fn directions_that_differ_by_a_factor_fail_unless_a_rate_is_expected_of_both() {
    let way = |gbits, direction| {
        let spec = Some(StepSpec::Stream(TrafficSpec { direction, ..TrafficSpec::default() }));
        Step { direction: Some(direction), spec, ..stream(gbits, gbits, 0) }
    };
    let judged = |out, inward, expected| {
        let mut criteria = Criteria::default();
        criteria.expect(expected, None);
        let doc = doc(vec![way(out, Direction::Out), way(inward, Direction::In)]);
        judge(&doc, &criteria).into_iter().find(|verdict| verdict.subject == Subject::from("symmetry/tcp"))
    };
    let verdict = judged(9.0, 1.5, None).expect("a verdict of its own");
    assert!(
        verdict.outcome == Outcome::Fail && verdict.reason.contains("in carries 1.50 Gbit/s"),
        "{verdict:?}"
    );
    assert_eq!(judged(9.0, 3.0, None), None);
    assert_eq!(judged(9.0, 1.5, Some(1_000_000_000)), None);
    // Four lanes one way and one the other, or a stream beside one of them, are two questions.
    let of = |change: fn(&mut TrafficSpec)| {
        let mut other = way(1.5, Direction::In);
        change(other.spec.as_mut().and_then(StepSpec::traffic_mut).unwrap());
        let verdicts = judge(&doc(vec![way(9.0, Direction::Out), other]), &Criteria::default());
        verdicts.iter().any(|verdict| verdict.subject == Subject::from("symmetry/tcp"))
    };
    assert!(of(|_| {}) && !of(|spec| spec.lanes += 3) && !of(|spec| spec.beside = vec![FlowSpec::default()]));
}

#[test]
fn a_little_waiting_is_no_excuse_for_round_trips_half_of_which_are_long() {
    let judged = |waited_ms: u64| {
        let mut step = pingpong(165, 28_000_000, 37_000_000);
        step.summary.rtt_ns.as_mut().unwrap().min = 11_000_000;
        let scheduled = Some(crate::Waited { waited_ns: waited_ms * 1_000_000, of_ns: 911_000_000 });
        step.lanes = vec![LaneResult { scheduled, window_ns: 600_000_000, ..LaneResult::default() }; 9];
        one(&doc(vec![step]))
    };
    // As run over a wire whose delay varies, beside three compilers.
    let (outcome, reason) = judged(21);
    assert_eq!(outcome, Outcome::Fail, "{reason}");
    assert_eq!(judged(400).0, Outcome::Inconclusive);
}

#[test]
fn half_that_is_late_on_a_host_of_which_nobody_knows_how_busy_it_was_is_left_open() {
    let judged = |scheduled| {
        let mut step = pingpong(184, 25_133_055, 29_556_735);
        step.summary.rtt_ns.as_mut().unwrap().min = 4_599_808;
        step.lanes = vec![LaneResult { scheduled, window_ns: 600_000_000, ..LaneResult::default() }; 14];
        one(&doc(vec![step])).0
    };
    let waited = |waited_ns| Some(crate::Waited { waited_ns, of_ns: 600_000_000 });
    assert_eq!(judged(None), Outcome::Inconclusive);
    assert_eq!(judged(waited(1_000_000)), Outcome::Fail);
    assert_eq!(judged(waited(300_000_000)), Outcome::Inconclusive);
}

#[test]
fn round_trips_are_judged_by_how_they_vary_and_by_their_length_where_one_is_expected() {
    let mut varies = pingpong(53, 24_000_000, 40_000_000);
    varies.summary.rtt_ns.as_mut().unwrap().min = 11_000_000;
    // As run with seven lanes over a wire whose delay varies by 30 ms in order: who asks beside others waits for the latest of them, and few are
    // late beyond that.
    let mut together = pingpong(184, 25_133_055, 29_556_735);
    together.summary.rtt_ns.as_mut().unwrap().min = 4_599_808;
    for (step, expected, part) in [
        (
            pingpong(50_000, 30_000, 90_000),
            Outcome::Pass,
            "30.0 µs (median), jitter p99-p50 60.0 µs (limit 5.00 ms)",
        ),
        (pingpong(50_000, 30_000, 6_000_000), Outcome::Fail, "jitter p99-p50 5.97 ms is above"),
        // Far is no fault, and a few that are all alike are enough to say so.
        (pingpong(1000, 100_000_000, 101_000_000), Outcome::Pass, "100.00 ms (median)"),
        (pingpong(10, 200_000_000, 203_000_000), Outcome::Pass, "jitter slowest-p50 of 10 3.00 ms"),
        (pingpong(10, 200_000_000, 206_000_000), Outcome::Inconclusive, "10 samples are too few"),
        (pingpong(3, 30_000, 90_000), Outcome::Inconclusive, "3 samples are too few"),
        (varies, Outcome::Fail, "above the fastest of 53 by 13.00 ms is above the limit"),
        (together, Outcome::Fail, "above the fastest of 184 by 20.53 ms is above the limit"),
        (step(StepKind::Pingpong, "tcp pingpong"), Outcome::Inconclusive, "no round trip"),
    ] {
        let (outcome, reason) = one(&doc(vec![step]));
        assert_eq!(outcome, expected, "{reason}");
        assert!(reason.contains(part), "{part:?} is missing from {reason}");
    }
    let expected = Criteria::from_toml("[latency]\np99_max_ns = 10_000_000").unwrap();
    for (step, outcome, part) in [
        (pingpong(50_000, 30_000, 90_000), Outcome::Pass, "p99 90.0 µs (limit 10.00 ms)"),
        (pingpong(50_000, 10_000_000, 11_000_000), Outcome::Fail, "above the limit of 10.00 ms"),
        (pingpong(50, 30_000, 90_000), Outcome::Inconclusive, "50 samples are too few"),
        (pingpong(50, 20_000_000, 90_000_000), Outcome::Fail, "p50 20.00 ms is above"),
    ] {
        let verdict = judge(&doc(vec![step]), &expected).remove(0);
        assert!(verdict.outcome == outcome && verdict.reason.contains(part), "{verdict:?}");
    }
}

#[test]
fn no_data_is_never_a_pass() {
    let empty = doc(vec![]);
    assert_eq!(one(&empty).0, Outcome::Inconclusive);
    for kind in [StepKind::Reach, StepKind::Stream, StepKind::Pingpong, StepKind::Request, StepKind::Migrate]
    {
        let (outcome, reason) = one(&doc(vec![step(kind, "empty")]));
        assert_eq!(outcome, Outcome::Inconclusive, "{kind:?}: {reason}");
    }
}

#[test]
fn errors_of_steps_lanes_and_findings_fail() {
    let error = StepError::new(ErrorKind::PeerLost, "the peer closed the connection".into());
    for kind in [StepKind::Facts, StepKind::Reach, StepKind::Mtu, StepKind::Stream, StepKind::Migrate] {
        let failed = Step { error: Some(error.clone()), ..step(kind, "x") };
        let (outcome, reason) = one(&doc(vec![failed]));
        assert_eq!(outcome, Outcome::Fail);
        assert!(reason.contains("the peer closed"), "{reason}");
    }
    let mut lame = stream(9.4, 9.0, 0);
    lame.lanes[1].error = Some(error.clone());
    assert_eq!(one(&doc(vec![lame])).0, Outcome::Fail);
    let mut corrupt = stream(9.4, 9.0, 0);
    corrupt.summary.verified = Some(false);
    assert_eq!(one(&doc(vec![corrupt])).0, Outcome::Fail);

    let mut found = doc(vec![stream(9.4, 9.0, 0)]);
    found.findings = vec![Finding::new("TCP-STALL", "nothing came"), Finding::new("TCP-RETRANSMITS", "7")];
    found.verdicts = judge(&found, &Criteria::default());
    let failed: Vec<_> = found.verdicts.iter().filter(|v| v.outcome == Outcome::Fail).collect();
    assert_eq!(failed.len(), 1, "{:?}", found.verdicts);
    assert_eq!(failed[0].subject, Subject::from("finding/TCP-STALL"));
    assert_eq!(conclusion(&found).exit_code, 1);
}

#[test]
fn a_run_that_ended_early_is_not_fit() {
    let mut cut = doc(vec![stream(9.4, 9.0, 0)]);
    cut.requested = Some(crate::Plan {
        steps: vec![StepSpec::Facts, StepSpec::Stream(TrafficSpec::default())],
        ..crate::Plan::default()
    });
    let verdicts = judge(&cut, &Criteria::default());
    assert_eq!(verdicts[0].subject, Subject::Run);
    assert_eq!(verdicts[0].outcome, Outcome::Inconclusive);
    assert!(verdicts[0].reason.contains("1 of 2 planned steps"), "{}", verdicts[0].reason);

    cut.requested = None;
    cut.error = Some(StepError::new(ErrorKind::Interrupted, "interrupted".into()));
    cut.verdicts = judge(&cut, &Criteria::default());
    assert_eq!(conclusion(&cut), Conclusion { outcome: RunOutcome::None, exit_code: 130 });
}

/// The table of docs/RESULT-FORMAT.md: what a document holds, and what the run comes to.
#[test]
fn the_answer_and_the_exit_code_follow_from_the_document() {
    let unknown_speed = |mut doc: ResultDoc| {
        doc.nodes[1].environment.as_mut().unwrap().nics[0].speed_bits_per_s = None;
        doc
    };
    let error = |kind| StepError::new(kind, "why".into());
    let stopped = |kind| Step { error: Some(error(kind)), ..step(StepKind::Stream, "x") };
    let good = || stream(9.4, 9.0, 0);
    let ended = |kind| ResultDoc { error: Some(error(kind)), ..doc(vec![good()]) };
    let found = |code| ResultDoc { findings: vec![Finding::new(code, "seen")], ..doc(vec![good()]) };
    for (what, doc, outcome, exit_code) in [
        ("all pass", doc(vec![good(), pingpong(50_000, 30_000, 90_000)]), RunOutcome::Fit, 0),
        (
            "a pass, and one not judged",
            { unknown_speed(doc(vec![good(), pingpong(50_000, 30_000, 90_000)])) },
            RunOutcome::Fit,
            0,
        ),
        ("nothing but not judged", unknown_speed(doc(vec![good()])), RunOutcome::CannotTell, 3),
        ("nothing measured", doc(vec![]), RunOutcome::CannotTell, 3),
        ("too few samples", doc(vec![good(), pingpong(3, 30_000, 90_000)]), RunOutcome::CannotTell, 3),
        ("a limit missed", doc(vec![stream(1.0, 1.0, 0)]), RunOutcome::NotFit, 1),
        (
            "a limit missed, and too few samples",
            { doc(vec![stream(1.0, 1.0, 0), pingpong(3, 30_000, 90_000)]) },
            RunOutcome::NotFit,
            1,
        ),
        ("an error found", found("TCP-STALL"), RunOutcome::NotFit, 1),
        ("a warning found", found("TCP-RETRANSMITS"), RunOutcome::Fit, 0),
        ("the peer left during a step", doc(vec![stopped(ErrorKind::PeerLost)]), RunOutcome::NotFit, 1),
        ("a step unsupported", doc(vec![good(), stopped(ErrorKind::Unsupported)]), RunOutcome::None, 2),
        ("a step refused", doc(vec![stopped(ErrorKind::Refused)]), RunOutcome::None, 2),
        ("a step mistyped", doc(vec![stopped(ErrorKind::Invalid)]), RunOutcome::None, 2),
        ("a step too large for the host", doc(vec![stopped(ErrorKind::Resource)]), RunOutcome::None, 2),
        (
            "a limit missed, and a step unsupported",
            { doc(vec![stream(1.0, 1.0, 0), stopped(ErrorKind::Unsupported)]) },
            RunOutcome::NotFit,
            1,
        ),
        ("never reached", ended(ErrorKind::Refused), RunOutcome::None, 2),
        ("cut short", ended(ErrorKind::PeerLost), RunOutcome::None, 2),
        ("interrupted", ended(ErrorKind::Interrupted), RunOutcome::None, 130),
        ("terminated", ended(ErrorKind::Terminated), RunOutcome::None, 143),
    ] {
        let mut doc = doc;
        judge_into(&mut doc, &Criteria::default());
        assert_eq!(conclusion(&doc), Conclusion { outcome, exit_code }, "{what}: {:?}", doc.verdicts);
        doc.finish("2026-01-01T00:00:01Z");
        assert_eq!((doc.outcome, doc.exit_code), (outcome, Some(exit_code)), "{what}");
    }
    let unjudged = doc(vec![good()]);
    assert_eq!(conclusion(&unjudged).exit_code, 3, "a document without verdicts proves nothing");
}

#[test]
fn what_a_host_cannot_do_says_nothing_about_the_path() {
    let error = StepError::new(ErrorKind::Unsupported, "RDMA is not available".into());
    let (outcome, reason) = one(&doc(vec![Step { error: Some(error), ..step(StepKind::Stream, "rdma") }]));
    assert_eq!(outcome, Outcome::Inconclusive, "{reason}");
}

#[test]
fn checks_carry_their_numbers() {
    let judged =
        judge(&doc(vec![stream(9.4, 9.0, 12), pingpong(50_000, 30_000, 90_000)]), &Criteria::default());
    let numbers = |subject: &str, criterion: &str| {
        let verdict = judged.iter().find(|v| v.subject == Subject::from(subject)).unwrap();
        let check = verdict.checks.iter().find(|c| c.criterion == criterion).unwrap();
        assert!(verdict.reason.contains(&check.text), "{verdict:?}");
        (check.measured, check.limit, check.unit)
    };
    assert_eq!(numbers("throughput/tcp/out", "link-share"), (Some(0.94), Some(0.8), Some(Unit::Share)));
    assert_eq!(numbers("throughput/tcp/out", "retransmits-per-gb").0, Some(6.0));
    assert_eq!(numbers("latency/tcp", "round-trip-jitter"), (Some(6e4), Some(5e6), Some(Unit::Ns)));
}

#[test]
fn a_step_that_explains_another_is_not_judged_but_its_bytes_must_be_right() {
    let follows_up = Some(crate::result::FollowUp::Alone);
    let alone = Step { follows_up, ..stream(9.9, 9.9, 0) };
    // Half of what the link does, and the NIC alone would pass.
    let (outcome, reason) = one(&doc(vec![stream(4.0, 4.0, 0), alone.clone()]));
    assert!(outcome == Outcome::Fail && reason.contains("goodput 4.00"), "{reason}");
    let control = Step { follows_up, ..stream(0.0, 0.0, 0) };
    assert_eq!(one(&doc(vec![stream(9.4, 9.0, 0), control])).0, Outcome::Pass);
    let mut corrupt = alone;
    corrupt.summary.verified = Some(false);
    assert_eq!(one(&doc(vec![stream(9.4, 9.0, 0), corrupt])).0, Outcome::Fail);
    // Nor does it stand in for a step of the plan that was not made.
    let mut short = doc(vec![stream(9.4, 9.0, 0), Step { follows_up, ..stream(9.4, 9.0, 0) }]);
    short.granted = Some(crate::Plan {
        steps: vec![StepSpec::Stream(TrafficSpec::default()), StepSpec::Facts],
        ..crate::Plan::default()
    });
    assert_eq!(judge(&short, &Criteria::default())[0].outcome, Outcome::Inconclusive);
}

#[test]
fn what_was_to_be_verified_and_was_not_is_open() {
    let mut step = stream(9.4, 9.0, 0);
    step.spec = Some(StepSpec::Stream(TrafficSpec { verify: true, ..TrafficSpec::default() }));
    assert_eq!(one(&doc(vec![step.clone()])).0, Outcome::Inconclusive);
    step.summary.verified = Some(true);
    assert_eq!(one(&doc(vec![step])).0, Outcome::Pass);
}

#[test]
fn an_expected_rate_counts_before_the_link_speed() {
    let mut criteria = Criteria::default();
    criteria.expect(Some(5_000_000_000), None);
    let judged = |gbits, speed| {
        let mut doc = doc(vec![stream(gbits, gbits, 0)]);
        doc.nodes[1].environment.as_mut().unwrap().nics[0].speed_bits_per_s = speed;
        judge(&doc, &criteria)[0].clone()
    };
    assert_eq!(judged(5.5, None).outcome, Outcome::Pass);
    assert_eq!(judged(5.5, Some(25_000_000_000)).outcome, Outcome::Pass, "what is expected counts");
    let short = judged(4.9, None);
    assert_eq!(short.outcome, Outcome::Fail);
    assert!(
        short.reason.starts_with("goodput 4.90 Gbit/s, below the 5.00 Gbit/s expected"),
        "{}",
        short.reason
    );
    assert_eq!(short.checks[0].limit, Some(5e9));
}

#[test]
fn a_server_whose_demands_are_not_known_may_not_be_called_fit_for_direct_placement() {
    let server = |encryption_required, rdma, transforms: &[&str]| {
        let interface = crate::SmbInterface {
            index: 7,
            speed_bits_per_s: None,
            rss: true,
            rdma,
            address: [10, 0, 0, 9].into(),
        };
        ResultDoc {
            smb: Some(crate::SmbServer {
                address: "10.0.0.9:445".into(),
                dialect: "3.1.1".into(),
                capabilities: vec![],
                multichannel: true,
                signing_required: false,
                signing: None,
                encryption: None,
                encryption_required,
                rdma_transforms: transforms.iter().map(ToString::to_string).collect(),
                max_read_bytes: 1,
                max_write_bytes: 1,
                max_transact_bytes: 1,
                server_guid: String::new(),
                clock_skew_ns: None,
                connect_ns: 1,
                round_trip_ns: 1,
                interfaces: vec![interface],
                interfaces_obtained_by: crate::ObtainedBy::Sessionless,
                attempts: vec![],
            }),
            ..doc(vec![])
        }
    };
    for (encryption, rdma, transforms, exit_code) in [
        (None, true, &[][..], 3),
        (Some(true), true, &[], 1),
        (Some(false), true, &[], 0),
        (None, true, &["encryption"], 0),
        (None, false, &[], 0),
    ] {
        let mut doc = server(encryption, rdma, transforms);
        judge_into(&mut doc, &Criteria::default());
        let (found, case) = (conclusion(&doc).exit_code, (encryption, rdma, transforms));
        assert_eq!(found, exit_code, "{case:?}: {:?}", doc.verdicts);
    }
}

#[test]
fn a_path_below_the_expected_mtu_fails_whoever_expects_it() {
    let path = crate::MtuPath {
        local_nic: "n0".into(),
        remote_nic: Some("n0".into()),
        local_address: [10, 0, 0, 1].into(),
        remote_address: [10, 0, 0, 2].into(),
        family: 4,
        direction: Direction::Out,
        method: crate::MtuMethod::Agent,
        ip_mtu_bytes: Some(1500),
        limit: crate::MtuLimit::None,
        numbers: None,
        proven_ip_bytes: Some(1500),
        reason: None,
        local_ip_mtu_bytes: Some(1500),
        remote_ip_mtu_bytes: Some(1500),
        cached_ip_mtu_bytes: None,
        route: None,
        routers: vec![],
        largest_fragment_bytes: None,
        throttled: false,
        fitting_sent: 4,
        fitting_lost: 0,
        probes: 6,
        loss_rounds: 0,
        fragments: None,
        elapsed_ns: 1,
        tried: vec![],
    };
    let mut measured = step(StepKind::Mtu, "path MTU");
    measured.detail.paths = Some(vec![path]);
    assert_eq!(one(&doc(vec![measured.clone()])).0, Outcome::Pass);
    let strict = Criteria::from_toml("[mtu]\nip_mtu_min_bytes = 9000").unwrap();
    let verdict = &judge(&doc(vec![measured.clone()]), &strict)[0];
    assert_eq!((&verdict.subject, verdict.outcome), (&Subject::Mtu, Outcome::Fail));
    assert!(verdict.reason.contains("1500 bytes pass, 9000 expected"), "{}", verdict.reason);
    // What the command line asks for counts before the standing criterion.
    measured.spec =
        Some(StepSpec::Mtu(crate::MtuSpec { expect_ip_mtu_bytes: Some(1400), ..crate::MtuSpec::default() }));
    assert_eq!(judge(&doc(vec![measured]), &strict)[0].outcome, Outcome::Pass);
}

#[test]
fn a_nic_taken_away_on_purpose_makes_no_weak_second() {
    let mut weak = stream(9.4, 1.0, 0);
    weak.detail.failover =
        Some(crate::Failover { failed_at_ns: Some(1_000_000_000), ..crate::Failover::default() });
    let (outcome, reason) = one(&doc(vec![weak.clone()]));
    assert_eq!(outcome, Outcome::Pass, "{reason}");
    // One that was lost by itself is another matter.
    weak.detail.failover = Some(crate::Failover::default());
    assert_eq!(one(&doc(vec![weak])).0, Outcome::Fail);
}

#[test]
fn a_weak_second_on_a_loopback_is_shown_and_not_judged() {
    let mut weak = stream(9.4, 1.0, 0);
    for lane in &mut weak.lanes {
        lane.local = Some("127.0.0.1:7".into());
        lane.remote = Some("127.0.0.1:9".into());
    }
    let (outcome, reason) = one(&doc(vec![weak.clone()]));
    assert_eq!(outcome, Outcome::NotJudged, "{reason}");
    assert!(reason.contains("11 % of the mean (not judged on a loopback)"), "{reason}");
    weak.lanes[1].local = Some("10.0.0.2:7".into());
    assert_eq!(one(&doc(vec![weak])).0, Outcome::Fail);
}
