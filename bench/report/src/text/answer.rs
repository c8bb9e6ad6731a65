//! The last line: fit, not fit, or cannot tell, and where to begin.

use pathproof_model::{Outcome, ResultDoc, Severity, judge};

use crate::layout::{Style, hanging};

pub(super) fn section(doc: &ResultDoc, style: &Style) -> Vec<String> {
    let (plain, text) = match judge::overall(doc) {
        Outcome::Pass => ("FIT", passing(doc)),
        Outcome::Fail => ("NOT FIT", failing(doc)),
        Outcome::Inconclusive => ("CANNOT TELL", unclear(doc)),
    };
    let mut lines = hanging(&format!("{plain}: "), &text);
    if let Some(first) = lines.first_mut() {
        let marked = match plain {
            "FIT" => style.good(plain),
            "NOT FIT" => style.bad(plain),
            _ => style.doubtful(plain),
        };
        *first = first.replacen(plain, &marked, 1);
    }
    lines
}

fn passing(doc: &ResultDoc) -> String {
    match doc.verdicts.as_slice() {
        [one] => format!("{} passes; nothing else was asked.", one.subject),
        all => format!("all {} verdicts pass.", all.len()),
    }
}

fn failing(doc: &ResultDoc) -> String {
    let failed = subjects(doc, Outcome::Fail);
    if let Some(finding) = doc.findings.iter().find(|f| f.severity == Severity::Error) {
        return format!("{failed}. Begin with {}: {}", finding.code, finding.next);
    }
    let first = doc.verdicts.iter().find(|v| v.outcome == Outcome::Fail);
    let advice = first.map(|v| advice(doc, &v.subject)).unwrap_or_default();
    format!("{failed}. {advice}")
}

fn unclear(doc: &ResultDoc) -> String {
    if let Some(error) = &doc.error {
        return format!("the run ended early: {}", error.message);
    }
    if doc.verdicts.is_empty() {
        return "the document holds no verdict, so the run was cut short. Run it again.".into();
    }
    let open = subjects(doc, Outcome::Inconclusive);
    format!("{open} could not be judged; the reasons above say what is missing.")
}

fn subjects(doc: &ResultDoc, outcome: Outcome) -> String {
    let names = doc.verdicts.iter().filter(|v| v.outcome == outcome).map(|v| v.subject.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// Where to begin when a limit was missed and no finding says why.
fn advice(doc: &ResultDoc, subject: &str) -> &'static str {
    if doc.steps.iter().any(|s| s.error.is_some() && judge::subject(s) == subject) {
        return "A step was stopped: mend what its reason names, then run again.";
    }
    match subject.split('/').next().unwrap_or_default() {
        "reach" => "Check address, routes and firewalls on both hosts, then run again.",
        "latency" | "request" => {
            "Look for other load on both hosts and on the path, CPU power saving and interrupt moderation \
             (ethtool -c), then run again."
        }
        "throughput" => {
            "Where CPU C/S is close to the number of lanes a core is the limit: more lanes, more NIC queues. \
             Otherwise read the error and drop counters of every NIC and switch port on the way (ethtool -S)."
        }
        "mtu" => "Give every NIC, bridge and switch port on the way the same IP MTU, then run again.",
        _ => "Begin with the first verdict that says FAIL.",
    }
}
