//! What was noticed: evidence, meaning and the next action, the gravest first.

use pathproof_model::finding::{Piece, pieces};
use pathproof_model::{Finding, NodeId, ResultDoc};

use super::{Block, Noticed, facts};

/// Advice with each command on a line of its own, at the host where it is typed.
fn advice(next: &str) -> Vec<(&'static str, &str)> {
    let named = pieces(next).into_iter().enumerate().map(|(nth, piece)| match piece {
        Piece::Words(words) => (if nth == 0 { "next" } else { "then" }, words),
        Piece::Command(NodeId::CLIENT, command) => ("here", command),
        Piece::Command(_, command) => ("peer", command),
    });
    named.collect()
}

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
            said.extend(facts([("means", &finding.meaning)]));
            said.extend(facts(advice(&finding.next)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_line_of_its_own_at_the_host_where_it_is_typed() {
        let lines = advice("Do it. On this host: `ip a`; `ip b`. On the peer: `ip c`. It lasts.");
        let wanted =
            [("next", "Do it."), ("here", "ip a"), ("here", "ip b"), ("peer", "ip c"), ("then", "It lasts.")];
        assert_eq!(lines, wanted);
        assert_eq!(advice("Look."), [("next", "Look.")]);
    }
}
