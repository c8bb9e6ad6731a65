//! What was judged: outcome, subject and reason.

use pathproof_model::{Outcome, ResultDoc};

use crate::Shown;
use crate::layout::{Line, Mark, hanging, heading, padded};

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    if doc.verdicts.is_empty() {
        return Vec::new();
    }
    let width = doc.verdicts.iter().map(|v| v.subject.chars().count()).max().unwrap_or(0).min(32);
    let mut lines = vec![heading("VERDICTS")];
    for verdict in &doc.verdicts {
        let (plain, mark) = match verdict.outcome {
            Outcome::Pass => ("pass       ", Mark::Good),
            Outcome::Fail => ("FAIL       ", Mark::Bad),
            Outcome::Inconclusive => ("cannot tell", Mark::Doubtful),
            Outcome::NotJudged => ("not judged ", Mark::Doubtful),
        };
        let margin = format!("{plain}  {}  ", padded(&verdict.subject, width));
        // A finding stands on the page already, with all that is known of it.
        let shown = verdict.subject.strip_prefix("finding/");
        let shown = shown.is_some_and(|code| doc.findings.iter().any(|f| f.code == code));
        let mut wrapped = match verdict.outcome {
            _ if shown => hanging(&margin, "see FINDINGS above"),
            Outcome::Pass => hanging(&margin, &verdict.reason),
            // What did not pass is read closely: one line for each criterion.
            _ => one_by_one(&margin, &verdict.reason),
        };
        if let Some(first) = wrapped.first_mut() {
            *first = std::mem::take(first).mark(mark, plain);
        }
        lines.extend(wrapped);
    }
    lines
}

fn one_by_one(margin: &str, reason: &str) -> Vec<Line> {
    let pad = " ".repeat(Shown::new(margin).columns());
    let margins = std::iter::once(margin).chain(std::iter::repeat(pad.as_str()));
    reason.split("; ").zip(margins).flat_map(|(part, margin)| hanging(margin, part)).collect()
}
