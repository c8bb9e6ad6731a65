//! The slow end of round trips that are too few for a p99: no percentile that all of them carry sees one in a hundred, and yet ten that take
//! 30 ms among a thousand that take 50 µs are no chance.
//!
//! Refuses to say anything of fewer than five.

use crate::{LatencySummary, Share};

/// How slow the slowest hundredth is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tail {
    /// Those are no quicker than this, in ns ...
    pub ns: u64,
    /// ... which are so many, of all.
    pub share: Share,
}

/// Fewer are what happens to a host.
const LEAST: u64 = 5;

/// The slowest hundredth of `times`, where it lies above the median by more than `limit_ns` and surely more than `share_max` of all do.
pub(super) fn tail(times: &LatencySummary, limit_ns: u64, share_max: f64) -> Option<Tail> {
    if times.p99.saturating_sub(times.p50) <= limit_ns {
        return None;
    }
    // A p99 is one of the samples, the first with which 99 in a hundred are counted: itself and what follows are no quicker.
    let share = Share { part: times.count.div_ceil(100), of: times.count };
    (share.part >= LEAST && share.bounds().0 > share_max).then_some(Tail { ns: times.p99, share })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::names::ROUND_TRIP_JITTER;
    use crate::{Criteria, LaneResult, Outcome, ResultDoc, Step, StepKind, Tool, Waited};

    const LIMIT_NS: u64 = 5_000_000;

    fn times(count: u64, [p50, p95, p99]: [u64; 3]) -> LatencySummary {
        LatencySummary {
            count,
            min: p50,
            p50,
            p90: p95,
            p95: Some(p95),
            p99,
            p999: p99,
            max: p99,
            ..LatencySummary::default()
        }
    }

    /// As run over a wire that held one packet in a hundred up for 30 ms.
    fn held_up() -> LatencySummary {
        times(959, [49_823, 74_111, 30_326_783])
    }

    #[test]
    fn ten_of_a_thousand_that_are_slow_are_seen_and_what_happens_to_hosts_is_not() {
        let slow = |times: LatencySummary| tail(&times, LIMIT_NS, 0.005);
        assert_eq!(slow(held_up()), Some(Tail { ns: 30_326_783, share: Share { part: 10, of: 959 } }));
        // Healthy networks whose hosts were wanted by others: three of 281, and a hundredth that is below the limit.
        assert_eq!(slow(times(281, [10_125_311, 12_591_103, 27_181_055])), None);
        assert_eq!(slow(times(891, [577_023, 890_367, 4_661_247])), None);
        assert_eq!(slow(times(0, [0, 0, u64::MAX])), None);
    }

    #[test]
    fn a_slow_hundredth_fails_and_where_threads_waited_the_rest_is_judged() {
        let judged = |waited_ms: u64| {
            let mut step = Step::new(StepKind::Pingpong, "tcp ping-pong");
            step.over = Some("tcp".into());
            step.summary.rtt_ns = Some(held_up());
            let scheduled = Some(Waited { waited_ns: waited_ms * 1_000_000, of_ns: 926_818_116 });
            step.lanes = vec![LaneResult { scheduled, ..LaneResult::default() }];
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
            let verdicts = crate::judge(&doc, &Criteria::default());
            let mut checks = verdicts.into_iter().flat_map(|verdict| verdict.checks);
            let check = checks.find(|check| check.criterion == ROUND_TRIP_JITTER).unwrap();
            (check.outcome, check.text)
        };
        let (outcome, text) = judged(0);
        assert_eq!(outcome, Outcome::Fail);
        assert!(text.contains("the slowest 10 of 959) 30.28 ms is above the limit of 5.00 ms"), "{text}");
        let (outcome, text) = judged(400);
        assert_eq!(outcome, Outcome::Pass);
        assert!(text.contains("jitter p95-p50"), "{text}");
    }
}
