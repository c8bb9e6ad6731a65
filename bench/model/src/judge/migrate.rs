//! Judging migration rehearsals: memory equal at both ends, and the policy's own aim reached.

use crate::units::Nanoseconds;
use crate::{Check, Step};

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
        "{rounds} live round{}, {} in all, {} of black-out",
        if rounds == 1 { "" } else { "s" },
        Nanoseconds(detail.total_ns),
        Nanoseconds(detail.downtime_ns)
    );
    checks.push(if detail.converged {
        Check::pass("converged", format!("it converged ({reason}): {story}"))
    } else {
        Check::fail("converged", format!("{name} did not converge ({reason}): {story}"))
    });
    checks
}
