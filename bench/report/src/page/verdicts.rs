//! What was judged: outcome, subject and reason.

use pathproof_model::{Outcome, ResultDoc, Subject, Verdict};

use super::{Block, Judged};
use crate::Shown;

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    if doc.verdicts.is_empty() {
        return Vec::new();
    }
    let judged = |verdict: &Verdict| Judged {
        outcome: verdict.outcome,
        subject: verdict.subject.to_string().as_str().into(),
        reasons: reasons(doc, verdict),
    };
    vec![Block::heading("VERDICTS"), Block::Verdicts(doc.verdicts.iter().map(judged).collect())]
}

fn reasons(doc: &ResultDoc, verdict: &Verdict) -> Vec<Shown> {
    // A finding stands on the page already, with all that is known of it.
    if let Subject::Finding(code) = &verdict.subject
        && doc.findings.iter().any(|finding| finding.code == *code)
    {
        return vec!["see FINDINGS above".into()];
    }
    match verdict.outcome {
        Outcome::Pass => vec![verdict.reason.as_str().into()],
        // What did not pass is read closely: one line for each criterion.
        _ => verdict.reason.split("; ").map(Shown::from).collect(),
    }
}
