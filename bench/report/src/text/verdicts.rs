//! What was judged: outcome, subject and reason.

use pathproof_model::{Outcome, ResultDoc};

use crate::layout::{Style, hanging};

pub(super) fn section(doc: &ResultDoc, style: &Style) -> Vec<String> {
    if doc.verdicts.is_empty() {
        return Vec::new();
    }
    let width = doc.verdicts.iter().map(|v| v.subject.chars().count()).max().unwrap_or(0).min(32);
    let mut lines = vec![style.heading("VERDICTS")];
    for verdict in &doc.verdicts {
        let plain = match verdict.outcome {
            Outcome::Pass => "pass       ",
            Outcome::Fail => "FAIL       ",
            Outcome::Inconclusive => "cannot tell",
            Outcome::NotJudged => "not judged ",
        };
        let margin = format!("{plain}  {:width$}  ", verdict.subject);
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
            let marked = match verdict.outcome {
                Outcome::Pass => style.good(plain),
                Outcome::Fail => style.bad(plain),
                Outcome::Inconclusive | Outcome::NotJudged => style.doubtful(plain),
            };
            *first = first.replacen(plain, &marked, 1);
        }
        lines.extend(wrapped);
    }
    lines
}

fn one_by_one(margin: &str, reason: &str) -> Vec<String> {
    let pad = " ".repeat(margin.chars().count());
    let margins = std::iter::once(margin).chain(std::iter::repeat(pad.as_str()));
    reason.split("; ").zip(margins).flat_map(|(part, margin)| hanging(margin, part)).collect()
}
