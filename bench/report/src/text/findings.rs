//! What was noticed: evidence, meaning and the next action, the gravest first.

use pathproof_model::{Finding, ResultDoc, Severity};

use crate::layout::{Line, Mark, hanging, heading};

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    if doc.findings.is_empty() {
        return Vec::new();
    }
    let mut findings: Vec<&Finding> = doc.findings.iter().collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let mut lines = vec![heading("FINDINGS")];
    let mut explained: Vec<(&str, &str, &str)> = Vec::new();
    for finding in findings {
        let (severity, mark) = match finding.severity {
            Severity::Error => ("error", Mark::Bad),
            Severity::Warning => ("warning", Mark::Doubtful),
            Severity::Info => ("info", Mark::None),
        };
        let step = finding.step.and_then(|i| doc.steps.get(i));
        let place = step.map(|s| format!("  in {}", s.name)).unwrap_or_default();
        lines.push(Line::from(format!("{severity} {}{place}", finding.code)).mark(mark, severity));
        lines.extend(hanging("  seen   ", &finding.evidence));
        // The same code with the same explanation once is enough.
        let explanation = (finding.code.as_str(), finding.meaning.as_str(), finding.next.as_str());
        if !explained.contains(&explanation) {
            explained.push(explanation);
            lines.extend(hanging("  means  ", &finding.meaning));
            lines.extend(hanging("  next   ", &finding.next));
        }
    }
    lines
}
