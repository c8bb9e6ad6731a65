//! From what was measured to whether the path is fit: one verdict for each thing that people ask about.
//!
//! Pure, so an old document can be judged again with other criteria. It refuses to pass what was not measured:
//! what no data tells cannot be determined, what has no yardstick is not judged, and a step that failed is a failure.

use crate::code;
use crate::units::Bytes;
use crate::verdict::{EXIT_CANNOT_TELL, EXIT_COULD_NOT_RUN, EXIT_INTERRUPTED, EXIT_NOT_FIT, EXIT_TERMINATED};
use crate::{
    Check, CommandName, Conclusion, Criteria, End, ErrorKind, Finding, FollowUp, Outcome, ResultDoc,
    RunOutcome, Severity, Step, StepError, StepKind, StepSpec, Subject, Unit, Verdict,
};

mod answers;
mod beside;
mod both_ways;
mod busy;
mod contend;
mod expected;
mod full;
mod growth;
mod held;
mod link;
mod loaded;
mod loss;
mod lossless;
mod migrate;
mod mtu;
pub mod names;
mod passed;
mod ports;
pub mod repeats;
mod segments;
mod soak;
mod state;
mod tail;
mod traffic;
mod unfinished;

pub use answers::demand;
pub use both_ways::{BothWays, both_ways, one_way_alone};
pub use busy::{busy_words, could_explain_median, could_explain_rate, were_busy};
pub use contend::is_meant_to_be_shared;
pub use growth::still_grew;
pub use held::{HeldByEnd, held_by_end, held_by_network, stripe_held_by_network};
pub use link::{LinkSpeed, link_speed, nics_of};
pub use loaded::{LoadedDelay, loaded_delays};
pub use loss::dropped_by_receiver;
pub use lossless::{Lossless, LosslessPriority, lossless};
pub use passed::tcp_passed;
pub use segments::{Segments, segments};
pub use traffic::{ROUND_TRIPS_MIN, nics_together};

/// Judges a document. The order is that of the steps; what is wrong with the run as a whole comes first, what
/// the findings say comes last.
pub fn judge(doc: &ResultDoc, criteria: &Criteria) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let busy = busy::pressed(doc);
    verdicts.extend(run(doc, busy.as_deref()));
    for (index, step) in doc.steps.iter().enumerate() {
        let subject = subject(step);
        if verdicts.iter().any(|v| v.subject == subject) {
            continue;
        }
        // Steps with one subject (one lane and several, say) are judged together, at the first of them.
        let group: Vec<&Step> = doc.steps[index..].iter().filter(|s| self::subject(s) == subject).collect();
        // A step that explains another one is no measurement of its subject; but bytes that differ always count.
        let planned: Vec<&Step> = group.iter().copied().filter(|s| s.follows_up.is_none()).collect();
        let mut checks: Vec<Check> = planned.iter().flat_map(|s| stops(s, busy.as_deref())).collect();
        checks.extend(group.iter().flat_map(|s| corruption(s)));
        checks.extend(both_ways::nics(doc, &group, criteria));
        let together: Vec<&Step> = group.iter().copied().filter(|s| s.follows_up.is_some()).collect();
        checks.extend(traffic::nics_sum(&together, criteria.throughput.nics_sum_share_min));
        checks.extend(together.iter().filter_map(|step| unfinished::check(doc, step, busy.as_deref())));
        // What a failed step measured is shown in the report but is not evidence of fitness.
        let whole: Vec<&Step> = planned.into_iter().filter(|s| s.error.is_none()).collect();
        if !whole.is_empty() {
            // What the plan says of a flow is a yardstick, also where the criteria have none.
            checks.extend(expected::flows(&whole, criteria));
            match step.kind {
                StepKind::Reach => checks.extend(traffic::reach(&whole)),
                StepKind::Pingpong => checks.extend(traffic::latency(&whole, criteria)),
                StepKind::Request => checks.extend(traffic::request(&whole, criteria)),
                StepKind::Stream => checks.extend(
                    both_ways::checks(doc, &whole, criteria)
                        .unwrap_or_else(|| traffic::throughput(doc, &whole, criteria)),
                ),
                StepKind::Migrate => checks.extend(migrate::migrate(&whole)),
                StepKind::Contend => checks.extend(contend::classes(doc, &whole, criteria)),
                StepKind::Mtu => checks.extend(mtu::paths(doc, &whole, criteria)),
                StepKind::Loss => checks.extend(loss::paths(doc, &whole, criteria)),
                StepKind::Ports => checks.extend(ports::ports(&whole)),
                // Facts are judged through the findings that they lead to.
                StepKind::Facts => {}
                // These come to something that stands in the document itself, and is judged below.
                StepKind::Smb | StepKind::Channels | StepKind::Networks => {}
                StepKind::File => checks.extend(whole.iter().filter_map(|step| moved(step))),
            }
            // Their yardstick is not each other's company.
            if !step.kind.traits().classes {
                checks.extend(beside::flows(&whole, criteria));
            }
        }
        verdicts.extend(Verdict::of(subject, checks));
    }
    verdicts.extend(traffic::symmetry(doc, criteria));
    verdicts.extend(loaded::verdicts(doc, criteria));
    // A prediction, and an SMB server's own account.
    verdicts.extend(
        doc.channels.iter().filter(|_| is_about(doc, &CommandName::Channels)).flat_map(answers::channels),
    );
    verdicts.extend(doc.smb.iter().flat_map(answers::smb));
    verdicts.extend(doc.networks.as_deref().and_then(answers::networks));
    verdicts.extend(answers::packet_rates(&doc.packet_rates));
    verdicts.extend(answers::packet_buffers(&doc.packet_buffers));
    verdicts.extend(answers::offloads(&doc.offloads));
    verdicts.extend(soak::verdict(doc, criteria));
    verdicts.extend(state::verdict(doc));
    verdicts.extend(findings(doc));
    verdicts.extend(left_open(doc));
    if verdicts.is_empty() {
        let nothing = Check::inconclusive("measured", "nothing was measured, so nothing is proved");
        verdicts.extend(Verdict::of(Subject::Run, vec![nothing]));
    }
    verdicts
}

/// Judges a document and keeps the verdicts in it, with the criteria that they rest on. What it came to against an earlier run
/// rests on none of them, and stays.
pub fn judge_into(doc: &mut ResultDoc, criteria: &Criteria) {
    let mut verdicts = judge(doc, criteria);
    verdicts.extend(doc.verdicts.drain(..).filter(|verdict| verdict.subject == Subject::Baseline));
    doc.verdicts = verdicts;
    doc.criteria = Some(criteria.clone());
}

/// What a document comes to, from nothing but the document: the one place that decides the last line, `outcome`
/// and the exit code, for every command.
///
/// 1. A run that ended early as a whole has no outcome, unless what ended it is an answer: bytes that were changed on the way.
/// 2. What failed, failed, whatever else could not be determined.
/// 3. A step that could not be made (unsupported, refused, bad input) leaves the run without an outcome.
/// 4. What could not be determined leaves the answer open, and so does a run in which nothing was judged.
pub fn conclusion(doc: &ResultDoc) -> Conclusion {
    let ended = doc.error.as_ref().filter(|error| !error.tells_of_changed_bytes());
    let (outcome, exit_code) = match ended {
        Some(error) => (RunOutcome::None, exit_of(error.kind)),
        None if any(doc, Outcome::Fail) => (RunOutcome::NotFit, EXIT_NOT_FIT),
        None => match impossible(doc) {
            Some((_, error)) => (RunOutcome::None, exit_of(error.kind)),
            None if any(doc, Outcome::Inconclusive) || !any(doc, Outcome::Pass) => {
                (RunOutcome::CannotTell, EXIT_CANNOT_TELL)
            }
            None => (RunOutcome::Fit, 0),
        },
    };
    Conclusion { outcome, exit_code }
}

/// The first step that could not be made, or was interrupted, and why.
pub fn impossible(doc: &ResultDoc) -> Option<(&Step, &StepError)> {
    let planned = doc.steps.iter().filter(|step| step.follows_up.is_none());
    let errors = planned.filter_map(|step| Some((step, step.error.as_ref()?)));
    errors.into_iter().find(|(_, error)| error.kind.could_not_run() || error.kind.is_interruption())
}

fn any(doc: &ResultDoc, outcome: Outcome) -> bool {
    doc.verdicts.iter().any(|verdict| verdict.outcome == outcome)
}

fn exit_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Interrupted => EXIT_INTERRUPTED,
        ErrorKind::Terminated => EXIT_TERMINATED,
        _ => EXIT_COULD_NOT_RUN,
    }
}

fn is_about(doc: &ResultDoc, command: &CommandName) -> bool {
    doc.requested.as_ref().is_some_and(|plan| plan.command == *command)
}

/// What a step is about.
pub fn subject(step: &Step) -> Subject {
    let over = || step.over.as_deref().unwrap_or(crate::plan::DEFAULT_OVER).to_owned();
    match step.kind {
        StepKind::Facts => Subject::Facts,
        StepKind::Reach => Subject::Reach,
        StepKind::Mtu => Subject::Mtu,
        StepKind::Loss => Subject::Loss,
        StepKind::Ports => Subject::Ports,
        StepKind::Pingpong => Subject::Latency(over()),
        StepKind::Request => Subject::Request(over()),
        StepKind::Stream => Subject::Throughput { over: over(), direction: step.direction },
        StepKind::Migrate => Subject::Migrate(over()),
        StepKind::Smb => Subject::Smb,
        StepKind::Channels => Subject::Channels,
        StepKind::Networks => Subject::Networks,
        StepKind::Contend => Subject::Contend(over()),
        StepKind::File => Subject::File(over()),
    }
}

/// What stopped a step, or a lane of it.
fn stops(step: &Step, busy: Option<&str>) -> Vec<Check> {
    match &step.error {
        Some(error) => {
            let check = stopped(&step.name, error);
            // Who has no processor is late: the time of the run is up before its steps are made, and an end that has measured its whole
            // window leaves before the other has.
            let late = error.kind == ErrorKind::OutOfTime || left_after_its_window(step, error);
            match busy.filter(|_| late) {
                Some(who) => vec![Check {
                    outcome: Outcome::Inconclusive,
                    text: format!("cannot tell: {who}: {}", check.text),
                    ..check
                }],
                None => vec![check],
            }
        }
        // A lane that died while the others went on.
        None => {
            let dead = step.lanes.iter().filter_map(|lane| Some((lane, lane.error.as_ref()?)));
            let name =
                |lane: &crate::LaneResult| format!("{}, lane {} at the {}", step.name, lane.lane, lane.end);
            dead.map(|(lane, error)| stopped(&name(lane), error)).collect()
        }
    }
}

/// Whether a peer that was lost is one whose lanes all ended as they should, after the whole window, in which the others carried as well.
fn left_after_its_window(step: &Step, error: &StepError) -> bool {
    let window_ns = step.spec.as_ref().and_then(StepSpec::traffic).map(|traffic| traffic.time_ns);
    let whole = |end: End| {
        let mut own = step.lanes.iter().filter(|lane| lane.end == end).peekable();
        own.peek().is_some() && own.all(|lane| lane.error.is_none() && lane.bytes > 0)
    };
    let carried = step
        .lanes
        .iter()
        .all(|lane| lane.bytes > 0 && window_ns.is_some_and(|window| lane.window_ns >= window));
    error.kind == ErrorKind::PeerLost && carried && End::BOTH.into_iter().any(whole)
}

/// Whether the bytes that arrived are those that were sent, where somebody looked or was to look.
fn corruption(step: &Step) -> Option<Check> {
    let spec = step.spec.as_ref();
    let asked = spec.and_then(StepSpec::traffic).is_some_and(|traffic| traffic.verify)
        || spec.and_then(StepSpec::file).is_some_and(|file| file.verify);
    let lanes = || step.lanes.iter().filter_map(|lane| lane.verified);
    let text = |what: &str| format!("{}: {what}", step.name);
    if step.verified() == Some(false) || lanes().any(|verified| !verified) {
        return Some(Check::fail("verified", text("the bytes received differ from those sent")));
    }
    let left_out = step.detail.file.as_ref().is_some_and(|file| file.not_possible.is_some());
    let unseen = asked && !left_out && step.error.is_none() && step.verified().is_none();
    unseen.then(|| Check::inconclusive("verified", text("the bytes were to be verified and were not")))
}

/// Whether a server did with a file what it was asked. Its speed has no yardstick; its word that it moved bytes is all there is
/// unless they were looked at.
fn moved(step: &Step) -> Option<Check> {
    let file = step.detail.file.as_ref().filter(|file| file.not_possible.is_none())?;
    let requests = step.summary.messages.filter(|requests| *requests > 0);
    let Some(requests) = requests else {
        return Some(Check::inconclusive(
            "answered",
            format!("{}: no request was answered in the window", step.name),
        ));
    };
    // One that stayed away is a lane with an error.
    let lost = match (file.channels_lost, file.channels_returned) {
        (0, _) => String::new(),
        (lost, returned) => format!(" (a channel was lost {lost} times and made again {returned} times)"),
    };
    Some(match step.summary.verified {
        // `corruption` says so.
        Some(false) => return None,
        Some(true) => {
            let text =
                format!("{}: {} compared, all as written{lost}", step.name, Bytes(file.compared_bytes));
            Check::pass("verified", text)
        }
        None => {
            let text = format!("{}: {requests} requests answered, none refused{lost}", step.name);
            Check::pass("answered", text)
        }
    })
}

fn stopped(what: &str, error: &StepError) -> Check {
    let text = format!("{what} was stopped: {}", error.message);
    // The user's own doing, the clock of the run, or what a host cannot do, says nothing about the path.
    let elsewhere = error.kind.is_interruption() || error.kind.could_not_run();
    if elsewhere || error.kind == ErrorKind::OutOfTime {
        Check::inconclusive("completed", text)
    } else {
        Check::fail("completed", text)
    }
}

fn run(doc: &ResultDoc, busy: Option<&str>) -> Option<Verdict> {
    let mut checks = Vec::new();
    if let Some(error) = &doc.error {
        checks.push(stopped("the run", error));
    }
    let planned = doc.plan().map_or(0, |plan| plan.steps.len());
    let made = doc.steps.iter().filter(|step| step.follows_up.is_none()).count();
    // However many were made of one planned step, they stand for it.
    let stands = |why: &FollowUp| doc.steps.iter().any(|step| step.follows_up == Some(*why));
    let made = made + [FollowUp::Loss, FollowUp::Search].iter().filter(|why| stands(why)).count();
    let missing = planned.saturating_sub(made);
    if missing > 0 {
        let text = format!("{missing} of {planned} planned steps were not made");
        let text = busy.map_or_else(|| text.clone(), |who| format!("cannot tell: {who}: {text}"));
        let check = Check::inconclusive("steps-made", text);
        checks.push(check.numbers(made as f64, planned as f64, Unit::Count));
    }
    Verdict::of(Subject::Run, checks)
}

fn findings(doc: &ResultDoc) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    let errors = || doc.findings.iter().filter(|f| f.severity == Severity::Error);
    for finding in errors() {
        let subject = Subject::Finding(finding.code.clone());
        if verdicts.iter().any(|v| v.subject == subject) {
            continue;
        }
        let more = errors().filter(|f| f.code == finding.code).count() - 1;
        let reason = match more {
            0 => finding.evidence.clone(),
            _ => format!("{} (and {more} more of this kind)", finding.evidence),
        };
        verdicts.extend(Verdict::of(subject, vec![Check::fail(&finding.code, reason)]));
    }
    verdicts
}

/// What busy hosts left open, whichever rule would have named a fault: nobody is accused of it, and it is no pass either.
fn left_open(doc: &ResultDoc) -> Option<Verdict> {
    let open = doc.findings.iter().filter(|finding| finding.is(code!("HOST-BUSY")));
    let check =
        |finding: &Finding| Check::inconclusive(&finding.code, format!("cannot tell: {}", finding.evidence));
    Verdict::of(Subject::Finding(code!("HOST-BUSY").word().into()), open.map(check).collect())
}

#[cfg(test)]
mod tests;
