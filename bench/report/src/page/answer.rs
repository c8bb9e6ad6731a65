//! The last line: fit, not fit, or cannot tell, and where to begin.

use pathproof_model::finding::{Piece, pieces};
use pathproof_model::judge::names;
use pathproof_model::{
    Outcome, ResultDoc, RunOutcome, Severity, StepError, StepKind, Subject, Verdict, judge,
};

use super::{Answer, Block, Word};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    vec![Block::Answer(of(doc))]
}

pub(super) fn of(doc: &ResultDoc) -> Answer {
    let (word, text) = match judge::conclusion(doc).outcome {
        RunOutcome::Fit => (Word::Fit, passing(doc)),
        RunOutcome::NotFit => (Word::NotFit, failing(doc)),
        RunOutcome::CannotTell => (Word::CannotTell, open(doc)),
        RunOutcome::None => unfinished(doc),
    };
    Answer { word, text: text.into() }
}

fn passing(doc: &ResultDoc) -> String {
    let passed = doc.verdicts.iter().filter(|v| v.outcome == Outcome::Pass).count();
    let unjudged = subjects(doc, Outcome::NotJudged);
    match doc.verdicts.as_slice() {
        [one] => format!("{} passes; nothing else was asked.", one.subject),
        all if passed == all.len() => format!("all {passed} verdicts pass."),
        all => format!("{passed} of {} verdicts pass, none fails. {}", all.len(), yardstick(&unjudged)),
    }
}

fn yardstick(unjudged: &str) -> String {
    format!(
        "Not judged: {unjudged}, because nothing says what the link can do; give it a yardstick with --expect-rate \
         RATE."
    )
}

/// Why there is no answer, and the word for that.
fn unfinished(doc: &ResultDoc) -> (Word, String) {
    let whole = doc.error.as_ref().map(|error| (None, error));
    let of_step = || judge::impossible(doc).map(|(step, error)| (Some(step), error));
    let Some((step, StepError { kind, message, .. })) = whole.or_else(of_step) else {
        return (Word::CannotTell, "the run did not come to its end. Run it again.".into());
    };
    if kind.is_interruption() {
        return (
            Word::Interrupted,
            "the run was ended before it was complete; what it measured stands above.".into(),
        );
    }
    match step {
        Some(step) => (Word::CouldNotRun, format!("{}: {message}", step.name)),
        None if doc.steps.is_empty() => (Word::CouldNotRun, message.clone()),
        None => (Word::CutShort, format!("{message}. What was measured before stands above.")),
    }
}

fn failing(doc: &ResultDoc) -> String {
    let failed = subjects(doc, Outcome::Fail);
    if let Some(finding) = doc.findings.iter().find(|f| f.severity == Severity::Error) {
        // What is to be typed stands with the finding.
        let words = pieces(&finding.next).into_iter().find_map(|piece| match piece {
            Piece::Words(words) => Some(words),
            Piece::Command(..) => None,
        });
        return format!("{failed}. Begin with {}: {}", finding.code, words.unwrap_or_default());
    }
    let first = doc.verdicts.iter().find(|v| v.outcome == Outcome::Fail);
    let advice = first.map(|v| advice(doc, v)).unwrap_or_default();
    format!("{failed}. {advice}")
}

fn open(doc: &ResultDoc) -> String {
    if doc.verdicts.is_empty() {
        return "the document holds no verdict, so the run was cut short. Run it again.".into();
    }
    let open = subjects(doc, Outcome::Inconclusive);
    if open.is_empty() {
        return yardstick(&subjects(doc, Outcome::NotJudged));
    }
    format!("{open}; the reasons above say what is missing.")
}

fn subjects(doc: &ResultDoc, outcome: Outcome) -> String {
    let names = doc.verdicts.iter().filter(|v| v.outcome == outcome).map(|v| v.subject.to_string());
    names.collect::<Vec<_>>().join(", ")
}

/// Where to begin when a limit was missed and no finding says why.
pub(crate) fn advice(doc: &ResultDoc, verdict: &Verdict) -> &'static str {
    let subject = &verdict.subject;
    if verdict.fails_only(names::RETRANSMITS_PER_GB) {
        return "What is sent again was lost in that direction: read the drop and error counters of every NIC and switch port on the way \
                (ethtool -S, tc -s qdisc). Where only what is sent at full rate is lost, a queue is full or a rate is limited.";
    }
    if matches!(subject, Subject::Symmetry(_)) {
        return "Measure the way that carries less by itself (pathproof bench stream PEER --direction out, or in), and compare links, offloads \
                and limits of rate of the two hosts (pathproof networks PEER).";
    }
    if matches!(subject, Subject::LatencyUnderLoad { .. }) {
        return "Find the hop where the rate drops in that direction and shorten its queue, or give it active queue management.";
    }
    if *subject == Subject::Baseline {
        return "Undo what was changed since, or take this run for a new baseline; pathproof compare lists figures and settings.";
    }
    if *subject == Subject::State {
        return "Set on each host what differs, or write down what is meant now (pathproof devices --write-state FILE, there).";
    }
    let mut about = doc.steps.iter().filter(|step| judge::subject(step) == *subject).peekable();
    let kind = about.peek().map(|step| step.kind);
    if let Some(error) = about.find_map(|step| step.error.as_ref()) {
        return error
            .kind
            .next()
            .unwrap_or("A step was stopped: do what its reason says, then run this again.");
    }
    match kind {
        Some(StepKind::Reach) => "Check address, routes and firewalls on both hosts, then run again.",
        Some(StepKind::Pingpong | StepKind::Request) => {
            "Look for other load on both hosts and on the path, CPU power saving and interrupt moderation \
             (ethtool -c), then run again."
        }
        Some(StepKind::Stream) => {
            "Where CPU C/S is close to the number of lanes a core is the limit: more lanes, more NIC queues. \
             Otherwise read the error and drop counters of every NIC and switch port on the way (ethtool -S)."
        }
        Some(StepKind::Mtu) => {
            "Give every NIC, bridge and switch port on the way the same IP MTU, then run again."
        }
        Some(StepKind::Loss) => {
            "Read the error and drop counters of every NIC and switch port between the named NICs (ethtool -S), \
             and look at the links of bundles one by one."
        }
        Some(StepKind::Ports) => {
            "Let the named ports pass in every firewall between the two hosts and on both of them, then run again."
        }
        Some(StepKind::File) => {
            "Bytes that differ were changed by the server, its disk or something on the way: try again signed, and read the server's log."
        }
        // Of the run, a finding or the links; or the verdict's own reason says what to do.
        Some(StepKind::Networks) => {
            "Give both hosts an address in one subnet, on NICs that are up, or a step that needs it has no path."
        }
        Some(StepKind::Contend) => {
            "Cap live migrations as advised above, reserve a part of the link for storage, or give migrations NICs of their own."
        }
        Some(StepKind::Facts | StepKind::Migrate | StepKind::Smb | StepKind::Channels) | None => {
            "Begin with the first verdict that says FAIL."
        }
    }
}
