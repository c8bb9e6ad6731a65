//! From what was measured to whether the path is fit: one verdict for each thing that people ask about.
//!
//! Pure, so an old document can be judged again with other criteria. It refuses to pass what was not measured:
//! no data is inconclusive, and a step that failed is a failure.
//!
//! Subjects are stable names that programs match on: `run`, `reach`, `latency/tcp`, `request/tcp`,
//! `throughput/tcp/out`, `mtu/…`, `migrate/…`, `finding/CODE`.

use crate::{Criteria, ErrorKind, Outcome, ResultDoc, Severity, Step, StepError, StepKind, Verdict};

mod link;
mod migrate;
mod mtu;
mod traffic;

pub use link::{LinkSpeed, link_speed, nics_of};

/// Judges a document. The order is that of the steps; what is wrong with the run as a whole comes first, what
/// the findings say comes last.
pub fn judge(doc: &ResultDoc, criteria: &Criteria) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    verdicts.extend(run(doc));
    for (index, step) in doc.steps.iter().enumerate() {
        let subject = subject(step);
        if verdicts.iter().any(|v| v.subject == subject) {
            continue;
        }
        // Steps with one subject (one lane and several, say) are judged together, at the first of them.
        let group: Vec<&Step> = doc.steps[index..].iter().filter(|s| self::subject(s) == subject).collect();
        let mut checks: Vec<Check> = group.iter().flat_map(|s| mishaps(s)).collect();
        // What a failed step measured is shown in the report but is not evidence of fitness.
        let whole: Vec<&Step> = group.iter().copied().filter(|s| s.error.is_none()).collect();
        if !whole.is_empty() {
            match step.kind {
                StepKind::Reach => checks.extend(traffic::reach(&whole)),
                StepKind::Pingpong => checks.extend(traffic::latency(&whole, criteria)),
                StepKind::Request => checks.extend(traffic::request(&whole, criteria)),
                StepKind::Stream => checks.extend(traffic::throughput(doc, &whole, criteria)),
                StepKind::Migrate => checks.extend(migrate::migrate(&whole)),
                StepKind::Mtu => checks.extend(mtu::paths(&whole, criteria)),
                // Facts are judged through the findings that they lead to.
                _ => {}
            }
        }
        verdicts.extend(verdict(subject, checks));
    }
    verdicts.extend(findings(doc));
    if verdicts.is_empty() {
        let reason = "nothing was measured, so nothing is proved".to_owned();
        verdicts.push(Verdict { subject: "run".into(), outcome: Outcome::Inconclusive, reason });
    }
    verdicts
}

/// Judges a document and keeps the verdicts in it, with the criteria that they rest on.
pub fn judge_into(doc: &mut ResultDoc, criteria: &Criteria) {
    doc.verdicts = judge(doc, criteria);
    doc.criteria = Some(criteria.clone());
}

/// What all verdicts come to: the worst of them, and inconclusive when there is none.
pub fn overall(doc: &ResultDoc) -> Outcome {
    let worst = doc.verdicts.iter().map(|v| v.outcome).max().unwrap_or(Outcome::Inconclusive);
    if doc.error.is_some() { worst.max(Outcome::Inconclusive) } else { worst }
}

/// Exit code of a run that could be made: 0 when fit, 1 when it is not or cannot be told.
pub fn exit_code(doc: &ResultDoc) -> u8 {
    u8::from(overall(doc) != Outcome::Pass)
}

/// One measured number against its limit.
pub(crate) struct Check {
    /// How it came out; `None` for a criterion that does not apply here.
    outcome: Option<Outcome>,
    text: String,
}

impl Check {
    pub(crate) fn pass(text: impl Into<String>) -> Check {
        Check { outcome: Some(Outcome::Pass), text: text.into() }
    }
    pub(crate) fn fail(text: impl Into<String>) -> Check {
        Check { outcome: Some(Outcome::Fail), text: text.into() }
    }
    pub(crate) fn unknown(text: impl Into<String>) -> Check {
        Check { outcome: Some(Outcome::Inconclusive), text: text.into() }
    }
    /// The criterion does not apply, and the reason says so.
    pub(crate) fn skipped(text: impl Into<String>) -> Check {
        Check { outcome: None, text: text.into() }
    }
}

/// What a step is about, in the name that programs match on.
pub fn subject(step: &Step) -> String {
    let over = step.over.as_deref().unwrap_or("tcp");
    match step.kind {
        StepKind::Facts => "facts".into(),
        StepKind::Reach => "reach".into(),
        StepKind::Mtu => "mtu".into(),
        StepKind::Pingpong => format!("latency/{over}"),
        StepKind::Request => format!("request/{over}"),
        StepKind::Stream => match step.direction {
            Some(direction) => format!("throughput/{over}/{}", direction.name()),
            None => format!("throughput/{over}"),
        },
        StepKind::Migrate => format!("migrate/{over}"),
    }
}

/// The verdict of some checks: the worst outcome, and the reasons with the worst first. None without checks.
fn verdict(subject: String, mut checks: Vec<Check>) -> Option<Verdict> {
    let outcome = checks.iter().filter_map(|c| c.outcome).max();
    if checks.is_empty() {
        return None;
    }
    // A criterion that does not apply proves nothing; with nothing else beside it the answer is open.
    let outcome = outcome.unwrap_or(Outcome::Inconclusive);
    checks.sort_by_key(|c| std::cmp::Reverse(c.outcome));
    let reason = checks.into_iter().map(|c| c.text).collect::<Vec<_>>().join("; ");
    Some(Verdict { subject, outcome, reason })
}

/// What went wrong with a step, whatever its kind.
fn mishaps(step: &Step) -> Vec<Check> {
    let mut checks = Vec::new();
    match &step.error {
        Some(error) => checks.push(stopped(&step.name, error)),
        // A lane that died while the others went on.
        None => checks.extend(step.lanes.iter().filter_map(|lane| Some((lane, lane.error.as_ref()?))).map(
            |(lane, error)| stopped(&format!("{}, lane {} at the {}", step.name, lane.lane, lane.end), error),
        )),
    }
    if step.summary.verified == Some(false) || step.lanes.iter().any(|l| l.verified == Some(false)) {
        checks.push(Check::fail(format!("{}: the bytes received differ from those sent", step.name)));
    }
    checks
}

fn stopped(what: &str, error: &StepError) -> Check {
    let text = format!("{what} was stopped: {}", error.message);
    match error.kind {
        // The user's own doing says nothing about the path.
        ErrorKind::Interrupted => Check::unknown(text),
        _ => Check::fail(text),
    }
}

fn run(doc: &ResultDoc) -> Option<Verdict> {
    let mut checks = Vec::new();
    if let Some(error) = &doc.error {
        checks.push(stopped("the run", error));
    }
    let planned = doc.granted.as_ref().or(doc.requested.as_ref()).map_or(0, |plan| plan.steps.len());
    let missing = planned.saturating_sub(doc.steps.len());
    if missing > 0 {
        checks.push(Check::unknown(format!("{missing} of {planned} planned steps were not made")));
    }
    verdict("run".into(), checks)
}

fn findings(doc: &ResultDoc) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    let errors = || doc.findings.iter().filter(|f| f.severity == Severity::Error);
    for finding in errors() {
        let subject = format!("finding/{}", finding.code);
        if verdicts.iter().any(|v| v.subject == subject) {
            continue;
        }
        let more = errors().filter(|f| f.code == finding.code).count() - 1;
        let reason = match more {
            0 => finding.evidence.clone(),
            _ => format!("{} (and {more} more of this kind)", finding.evidence),
        };
        verdicts.push(Verdict { subject, outcome: Outcome::Fail, reason });
    }
    verdicts
}

#[cfg(test)]
mod tests;
