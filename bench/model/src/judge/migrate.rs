//! Judging migration rehearsals: memory equal at both ends, and the policy's own aim reached.

use super::busy::{open_while_busy, unless_busy};
use super::names;
use crate::migrate::MigrateDrain;
use crate::units::Nanoseconds;
use crate::{Check, MigrateDetail, Step, StepSpec, Unit};

/// The checks of all rehearsals over one transport.
pub fn migrate(steps: &[&Step]) -> Vec<Check> {
    steps.iter().flat_map(|step| one(step)).collect()
}

fn one(step: &Step) -> Vec<Check> {
    let Some(detail) = &step.detail.migrate else {
        return vec![Check::inconclusive("verified", format!("{}: there is no account of it", step.name))];
    };
    let name = &step.name;
    let mut checks = vec![];
    match (&detail.mismatch, detail.verified) {
        // That bytes differ is said for steps of every kind already.
        (None, true) => {
            checks.push(Check::pass("verified", format!("{name}: every page agrees at both ends")));
        }
        (Some(mismatch), _) => checks.push(Check::fail("verified", format!("{name}: {mismatch}"))),
        (None, false) => {
            checks.push(Check::inconclusive("verified", format!("{name}: the pages were not all compared")));
        }
    }
    let reason = detail.reason.as_deref().unwrap_or("its live rounds did not end");
    let rounds = detail.guests.first().map_or(0, |g| g.rounds);
    let story = format!(
        "{rounds} live round{}, {} in all, {} of downtime",
        if rounds == 1 { "" } else { "s" },
        Nanoseconds(detail.total_ns),
        Nanoseconds(detail.downtime_ns)
    );
    checks.push(if detail.converged {
        Check::pass("converged", format!("it converged ({reason}): {story}"))
    } else if detail.out_of_time && scaled(step) {
        // The rehearsal was ended by the clock of the check, not by the path.
        Check::inconclusive("converged", format!("{name} was ended by its budget of time: {story}"))
    } else {
        let check = Check::fail("converged", format!("{name} did not converge ({reason}): {story}"));
        unless_busy(check, step, |hosts| hosts.were_busy())
    });
    checks.extend(black_out(step, detail));
    checks.extend(detail.drain.as_ref().map(drain));
    checks
}

/// A rehearsed drain beside what its plan predicts: whoever wrote the plan knows what it has to hold, so it is reported and not judged.
fn drain(drain: &MigrateDrain) -> Check {
    let text = format!(
        "the drain of {} on a small scale took {}, {:.0} % of the {} that the plan's arithmetic predicts; the whole would take {} instead of {}",
        drain.host,
        Nanoseconds(drain.measured_ns),
        drain.of_predicted * 100.0,
        Nanoseconds(drain.predicted_ns),
        Nanoseconds(drain.expected_ns),
        Nanoseconds(drain.planned_ns)
    );
    let (measured, predicted) = (drain.measured_ns as f64, drain.predicted_ns as f64);
    Check::not_judged("drain-time", text).numbers(measured, predicted, Unit::Ns)
}

/// Whether the time of the rehearsal was the check's, not the user's.
fn scaled(step: &Step) -> bool {
    step.spec.as_ref().and_then(StepSpec::migrate).is_some_and(|spec| spec.budget_ns.is_some())
}

/// The downtime against what the policy allows. A policy stops the guest by an estimate of what the rest takes; what
/// exceeds the limit by no more than such an estimate is worth is open. The estimate is of bytes at a rate: the round trip in which
/// the other end says that it has them is the length of the path, and comes on top.
fn black_out(step: &Step, detail: &MigrateDetail) -> Option<Check> {
    const NAME: &str = names::DOWNTIME;
    const ESTIMATE_SHARE: f64 = 0.1;
    let limit_ns = detail.downtime_limit_ns.filter(|limit| *limit > 0)?;
    let (measured, limit) = (Nanoseconds(detail.downtime_ns), Nanoseconds(limit_ns));
    let trips = step.lanes.iter().filter_map(|lane| lane.connection.as_ref()?.counts.rtt_min_ns);
    let trip_ns = trips.min().unwrap_or(0);
    let excess_ns = detail.downtime_ns.saturating_sub(limit_ns).saturating_sub(trip_ns) as f64;
    let own = match detail.downtime_ns > limit_ns {
        true if trip_ns > 0 => format!(", of which a round trip of the path is {}", Nanoseconds(trip_ns)),
        _ => String::new(),
    };
    let text = format!("{}: downtime of {measured}{own}", step.name);
    let check = if excess_ns == 0.0 {
        Check::pass(NAME, format!("{text} (limit {limit})"))
    } else if excess_ns <= limit_ns as f64 * ESTIMATE_SHARE {
        let near = "above the limit by no more than the policy's estimate may err";
        open_while_busy(step, Check::inconclusive(NAME, format!("{text} is {near} ({limit})")))
    } else {
        Check::fail(NAME, format!("{text} is above the policy's limit of {limit}"))
    };
    let check = check.numbers(detail.downtime_ns as f64, limit_ns as f64, Unit::Ns);
    Some(unless_busy(check, step, |hosts| hosts.were_busy() || hosts.waited(excess_ns)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{doc, one, step};
    use super::*;
    use crate::evidence::ConnectionCounts;
    use crate::{Connection, LaneResult, Outcome, StepKind};

    #[test]
    fn a_migration_must_be_verified_and_converge() {
        let judged = |verified, converged, mismatch: Option<&str>| {
            let mut step = step(StepKind::Migrate, "rehearsal");
            step.detail.migrate = Some(MigrateDetail {
                verified,
                converged,
                mismatch: mismatch.map(Into::into),
                ..MigrateDetail::default()
            });
            one(&doc(vec![step]))
        };
        assert_eq!(judged(true, true, None).0, Outcome::Pass);
        assert_eq!(judged(true, false, None).0, Outcome::Fail);
        assert_eq!(judged(false, true, None).0, Outcome::Inconclusive);
        let (outcome, reason) = judged(false, true, Some("page 7 differs"));
        assert!(outcome == Outcome::Fail && reason.contains("page 7"), "{reason}");
    }

    #[test]
    fn a_drain_that_takes_longer_than_planned_is_told_and_fails_nothing() {
        let mut step = step(StepKind::Migrate, "rehearsal");
        step.detail.migrate = Some(MigrateDetail {
            verified: true,
            converged: true,
            drain: Some(MigrateDrain {
                host: "hv1".into(),
                planned_ns: 100_000_000_000,
                predicted_ns: 10_000_000_000,
                measured_ns: 25_000_000_000,
                of_predicted: 2.5,
                expected_ns: 250_000_000_000,
                ..MigrateDrain::default()
            }),
            ..MigrateDetail::default()
        });
        let (outcome, reason) = one(&doc(vec![step]));
        assert_eq!(outcome, Outcome::Pass, "{reason}");
        assert!(reason.contains("hv1") && reason.contains("250 % of the 10.00 s"), "{reason}");
    }

    #[test]
    fn the_length_of_the_path_is_no_part_of_what_a_policy_estimates() {
        let judged = |downtime_ms: u64, trip_ms: u64| {
            let mut step = step(StepKind::Migrate, "rehearsal");
            step.detail.migrate = Some(MigrateDetail {
                verified: true,
                converged: true,
                downtime_ns: downtime_ms * 1_000_000,
                downtime_limit_ns: Some(300_000_000),
                ..MigrateDetail::default()
            });
            let counts =
                ConnectionCounts { rtt_min_ns: Some(trip_ms * 1_000_000), ..ConnectionCounts::still() };
            let connection = Some(Connection { counts, ..Connection::default() });
            step.lanes = vec![LaneResult { connection, ..LaneResult::default() }];
            one(&doc(vec![step]))
        };
        let (outcome, reason) = judged(306, 300);
        assert_eq!(outcome, Outcome::Pass, "{reason}");
        assert!(reason.contains("306.00 ms, of which a round trip of the path is 300.00 ms"), "{reason}");
        // A short path explains nothing, and a long one only its own length.
        assert_eq!(judged(306, 1).0, Outcome::Inconclusive);
        assert_eq!(judged(400, 20).0, Outcome::Fail);
        assert_eq!(judged(900, 300).0, Outcome::Fail);
    }
}
