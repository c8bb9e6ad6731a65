//! What is wrong, the gravest first: findings, and failed verdicts that no finding explains.

use std::cmp::Reverse;

use pathproof_model::code;
use pathproof_model::finding::Topic;
use pathproof_model::judge::names;
use pathproof_model::{
    Direction, ErrorKind, Finding, Outcome, ResultDoc, RunOutcome, Severity, Step, Subject, Verdict, judge,
    told,
};

use crate::layout::Mark;
use crate::page;

/// One thing that is wrong, or open.
pub(super) struct Cause {
    pub mark: Mark,
    /// Its code, or the subject of the verdict.
    pub title: String,
    /// How grave it is, in a word.
    pub word: &'static str,
    /// What was seen.
    pub evidence: String,
    /// So many more of the same kind were noticed elsewhere.
    pub more: usize,
    /// What speaks against it, and what it could be as well; empty where nothing does.
    pub doubt: String,
    /// What to do, one of these.
    pub fixes: Vec<String>,
    /// What it is about, for the command that proves the fix.
    pub about: Option<Subject>,
}

/// All of them, in the order in which somebody should care.
pub(super) fn all(doc: &ResultDoc) -> Vec<Cause> {
    let mut causes: Vec<(u8, Cause)> = Vec::new();
    let unfinished = unfinished(doc).filter(|cause| {
        // A finding that says the same says what to do as well.
        doc.outcome == RunOutcome::None
            && doc.findings.iter().all(|finding| finding.evidence != cause.evidence)
    });
    causes.extend(unfinished.map(|cause| (0, cause)));
    for group in groups(doc) {
        let explains = failed(doc).any(|verdict| any_explains(doc, &group, &verdict.subject));
        let rank = match group[0].severity {
            Severity::Error => 1,
            Severity::Warning if explains => 2,
            // What was left out matters to who asked for it, and is no fault of the path.
            Severity::Warning if group[0].is(code!("RUN-CUT")) => 6,
            Severity::Warning => 5,
            Severity::Info if is_left_open(doc, group[0]) => 4,
            Severity::Info => continue,
        };
        causes.push((rank, of_findings(doc, &group)));
    }
    for verdict in &doc.verdicts {
        let rank = match (verdict.outcome, &verdict.subject) {
            // Told by the finding, or by the end of the run.
            (_, Subject::Finding(_)) => continue,
            (_, Subject::Run) if doc.error.is_some() => continue,
            (Outcome::Fail, _) => 3,
            (Outcome::Inconclusive, _) => 4,
            (Outcome::Pass | Outcome::NotJudged, _) => continue,
        };
        let explained = groups(doc)
            .iter()
            .any(|group| group[0].severity > Severity::Info && any_explains(doc, group, &verdict.subject));
        let explained = explained && verdict.outcome == Outcome::Fail;
        if !explained && !was_cut(doc, verdict) {
            causes.push((rank, of_verdict(doc, verdict)));
        }
    }
    causes.sort_by_key(|(rank, _)| *rank);
    causes.into_iter().map(|(_, cause)| cause).collect()
}

/// Whether a note leaves the answer open, as what a busy host may have made does.
fn is_left_open(doc: &ResultDoc, finding: &Finding) -> bool {
    doc.verdicts.iter().any(|verdict| {
        let own = matches!(&verdict.subject, Subject::Finding(code) if *code == finding.code);
        own && verdict.outcome == Outcome::Inconclusive
    })
}

fn failed(doc: &ResultDoc) -> impl Iterator<Item = &Verdict> {
    doc.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Fail)
}

/// The findings, those of one code and severity together.
fn groups(doc: &ResultDoc) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in &doc.findings {
        let same = |group: &&mut Vec<&Finding>| {
            (&group[0].code, group[0].severity) == (&finding.code, finding.severity)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups.sort_by_key(|group| Reverse(group[0].severity));
    groups
}

fn of_findings(doc: &ResultDoc, group: &[&Finding]) -> Cause {
    let first = group[0];
    let error = first.severity == Severity::Error;
    Cause {
        mark: if error { Mark::Bad } else { Mark::Doubtful },
        title: first.code.clone(),
        word: match first.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => Outcome::Inconclusive.word(),
        },
        evidence: first.evidence.clone(),
        more: group.len() - 1,
        doubt: doubt(first),
        fixes: choices(&first.next),
        about: about(doc, first),
    }
}

/// The codes first: what stands behind them is cut off where a line ends.
fn doubt(finding: &Finding) -> String {
    let open = (!finding.open.is_empty()).then(|| format!("could be {} as well", finding.open.join(" or ")));
    let against = (!finding.against.is_empty()).then(|| finding.against.clone());
    open.into_iter().chain(against).collect::<Vec<_>>().join("; ")
}

fn of_verdict(doc: &ResultDoc, verdict: &Verdict) -> Cause {
    let fail = verdict.outcome == Outcome::Fail;
    let mut checks = verdict.checks.iter().filter(|check| check.outcome == verdict.outcome);
    // Documents of old builds have no checks.
    let evidence = checks.next().map_or(verdict.reason.as_str(), |check| check.text.as_str());
    let evidence = evidence.strip_prefix("cannot tell: ").unwrap_or(evidence);
    Cause {
        mark: if fail { Mark::Bad } else { Mark::Doubtful },
        title: verdict.subject.to_string(),
        word: verdict.outcome.word(),
        evidence: evidence.to_owned(),
        more: checks.count(),
        doubt: String::new(),
        fixes: if fail { vec![page::advice(doc, verdict).to_owned()] } else { vec![] },
        about: Some(verdict.subject.clone()),
    }
}

/// Why there is no answer.
fn unfinished(doc: &ResultDoc) -> Option<Cause> {
    let error = doc.error.as_ref().or_else(|| judge::impossible(doc).map(|(_, error)| error))?;
    let step = judge::impossible(doc).filter(|_| doc.error.is_none()).map(|(step, _)| step.name.as_str());
    Some(Cause {
        mark: Mark::Doubtful,
        title: step.unwrap_or("the run").to_owned(),
        word: "did not run to its end",
        evidence: error.message.clone(),
        more: 0,
        doubt: String::new(),
        fixes: error.kind.next().map(str::to_owned).into_iter().collect(),
        about: None,
    })
}

/// Whether a verdict is open because its steps had no time, which a finding says of all of them together.
fn was_cut(doc: &ResultDoc, verdict: &Verdict) -> bool {
    let mut steps = doc.steps.iter().filter(|step| judge::subject(step) == verdict.subject).peekable();
    let no_time = |step: &Step| step.error.as_ref().is_some_and(|error| error.kind == ErrorKind::OutOfTime);
    doc.findings.iter().any(|finding| finding.is(code!("RUN-CUT")))
        && verdict.outcome == Outcome::Inconclusive
        && steps.peek().is_some()
        && steps.all(no_time)
}

/// Advice that begins a sentence with "Or" names another way, not another step.
fn choices(next: &str) -> Vec<String> {
    let mut ways = next.split(". Or ").map(str::to_owned);
    let first = ways.next().unwrap_or_default();
    let others = ways.map(|way| {
        let mut letters = way.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    });
    std::iter::once(first).chain(others).collect()
}

fn any_explains(doc: &ResultDoc, group: &[&Finding], subject: &Subject) -> bool {
    group.iter().any(|finding| explains(doc, finding, subject))
}

/// Whether a finding says why a verdict fails. What is not certain is shown beside it instead.
fn explains(doc: &ResultDoc, finding: &Finding, subject: &Subject) -> bool {
    let own = finding.step.and_then(|step| doc.steps.get(step)).map(judge::subject);
    // A step that was stopped fails for its own reason.
    let stopped = doc.steps.iter().any(|step| step.error.is_some() && judge::subject(step) == *subject);
    if stopped {
        return false;
    }
    let way = finding.told(told::DIRECTION);
    let same_way = |direction: Option<Direction>| {
        way.is_none_or(|way| way == Direction::Both || direction.is_none_or(|direction| way == direction))
    };
    let about = match subject {
        Subject::LatencyUnderLoad { direction, .. } => {
            (finding.is(code!("PATH-QUEUE")) || finding.is(code!("HOST-QUEUE"))) && same_way(*direction)
        }
        // What explains that one way is slower says which.
        Subject::Symmetry(_) => finding.is(code!("PATH-ASYMMETRIC")) || finding.told(told::SLOWER).is_some(),
        Subject::Mtu => finding.is_about(Topic::Mtu) && finding.severity == Severity::Error,
        Subject::Loss => finding.is_about(Topic::Loss),
        Subject::Throughput { direction: Some(Direction::Both), .. } => {
            finding.is(code!("PATH-SHARED")) || finding.is(code!("PATH-POLICED"))
        }
        Subject::Throughput { direction, .. } => {
            let queue = finding.is(code!("PATH-QUEUE")) || finding.is(code!("HOST-QUEUE"));
            // A queue that stands under load is the one that overflows.
            let overflows = queue && fails_by_loss_alone(doc, subject);
            (overflows || finding.is(code!("PATH-POLICED"))) && same_way(*direction)
        }
        Subject::Offloads => finding.is(code!("OFFLOAD-FAULT")) || finding.is(code!("TCP-CHECKSUM")),
        Subject::Contend(_) => finding.is_about(Topic::Contention),
        _ => false,
    };
    about || (finding.severity == Severity::Error && own.as_ref() == Some(subject))
}

/// Whether a stream is missed by what it sent again and by nothing else.
fn fails_by_loss_alone(doc: &ResultDoc, subject: &Subject) -> bool {
    failed(doc)
        .filter(|verdict| verdict.subject == *subject)
        .any(|verdict| verdict.fails_only(names::RETRANSMITS_PER_GB))
}

/// What a finding is about.
fn about(doc: &ResultDoc, finding: &Finding) -> Option<Subject> {
    if finding.is_about(Topic::Mtu) {
        return Some(Subject::Mtu);
    }
    finding.step.and_then(|step| doc.steps.get(step)).map(judge::subject).or_else(|| {
        failed(doc).map(|verdict| &verdict.subject).find(|subject| explains(doc, finding, subject)).cloned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Check, Criteria, Tool};

    #[test]
    fn what_a_busy_host_left_open_is_shown_and_other_notes_are_not() {
        let shown = |code: &'static str| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.findings = vec![Finding::new(code, "this host was busy: e1 carries little")];
            judge::judge_into(&mut doc, &Criteria::default());
            doc.outcome = judge::conclusion(&doc).outcome;
            let causes = all(&doc).into_iter().map(|cause| (cause.title, cause.word, cause.fixes.len()));
            (doc.outcome, causes.collect::<Vec<_>>())
        };
        let (outcome, causes) = shown("HOST-BUSY");
        assert_eq!(outcome, RunOutcome::CannotTell);
        assert_eq!(causes, [("HOST-BUSY".to_owned(), "cannot tell", 1)]);
        assert!(shown("HOST-STARVED").1.iter().all(|(title, ..)| !title.contains("STARVED")));
    }

    #[test]
    fn a_queue_that_overflows_explains_what_is_sent_again_that_way_and_no_lack_of_rate() {
        let shown = |way: Direction, criterion: &str| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.findings =
                vec![Finding::new("PATH-QUEUE", "in adds 500 ms").tell(told::DIRECTION, Direction::In)];
            let subject = Subject::Throughput { over: "tcp".into(), direction: Some(way) };
            doc.verdicts.extend(Verdict::of(subject, vec![Check::fail(criterion, "2788 retransmits")]));
            all(&doc).into_iter().map(|cause| (cause.title, cause.fixes.concat())).collect::<Vec<_>>()
        };
        let again = names::RETRANSMITS_PER_GB;
        let titles =
            |way, criterion| shown(way, criterion).into_iter().map(|(title, _)| title).collect::<Vec<_>>();
        assert_eq!(titles(Direction::In, again), ["PATH-QUEUE"]);
        assert_eq!(titles(Direction::Out, again), ["throughput/tcp/out", "PATH-QUEUE"]);
        assert_eq!(titles(Direction::In, "link-share"), ["throughput/tcp/in", "PATH-QUEUE"]);
        // What to do is about what was missed.
        assert!(shown(Direction::Out, again)[0].1.contains("tc -s qdisc"));
        assert!(!shown(Direction::In, "link-share")[0].1.contains("tc -s qdisc"));
    }
}
