//! Judging migration rehearsals: memory equal at both ends, and the policy's own aim reached.

use super::busy::unless_busy;
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
    checks
}

/// Whether the time of the rehearsal was the check's, not the user's.
fn scaled(step: &Step) -> bool {
    step.spec.as_ref().and_then(StepSpec::migrate).is_some_and(|spec| spec.budget_ns.is_some())
}

/// The downtime against what the policy allows. A policy stops the guest by an estimate of what the rest takes; what
/// exceeds the limit by no more than such an estimate is worth is open.
fn black_out(step: &Step, detail: &MigrateDetail) -> Option<Check> {
    const NAME: &str = "downtime";
    const ESTIMATE_SHARE: f64 = 0.1;
    let limit_ns = detail.downtime_limit_ns.filter(|limit| *limit > 0)?;
    let (measured, limit) = (Nanoseconds(detail.downtime_ns), Nanoseconds(limit_ns));
    let excess_ns = detail.downtime_ns.saturating_sub(limit_ns) as f64;
    let text = format!("{}: downtime of {measured}", step.name);
    let check = if excess_ns == 0.0 {
        Check::pass(NAME, format!("{text} (limit {limit})"))
    } else if excess_ns <= limit_ns as f64 * ESTIMATE_SHARE {
        let near = "above the limit by no more than the policy's estimate may err";
        Check::inconclusive(NAME, format!("{text} is {near} ({limit})"))
    } else {
        Check::fail(NAME, format!("{text} is above the policy's limit of {limit}"))
    };
    let check = check.numbers(detail.downtime_ns as f64, limit_ns as f64, Unit::Ns);
    Some(unless_busy(check, step, |hosts| hosts.were_busy() || hosts.waited(excess_ns)))
}
