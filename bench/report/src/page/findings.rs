//! What was noticed: evidence, meaning and the next action, the gravest first.

use pathproof_model::{Finding, ResultDoc};

use super::{Block, Noticed, facts};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    if doc.findings.is_empty() {
        return Vec::new();
    }
    let mut findings: Vec<&Finding> = doc.findings.iter().collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let mut blocks = vec![Block::heading("FINDINGS")];
    let mut explained: Vec<(&str, &str, &str)> = Vec::new();
    for finding in findings {
        let mut said = facts([("seen", &finding.evidence)]);
        // The same code with the same explanation once is enough.
        let explanation = (finding.code.as_str(), finding.meaning.as_str(), finding.next.as_str());
        if !explained.contains(&explanation) {
            explained.push(explanation);
            said.extend(facts([("means", &finding.meaning), ("next", &finding.next)]));
        }
        let step = finding.step.and_then(|i| doc.steps.get(i));
        blocks.push(Block::Finding(Noticed {
            severity: finding.severity,
            code: finding.code.as_str().into(),
            step: step.map(|step| step.name.as_str().into()),
            facts: said,
        }));
    }
    blocks
}
