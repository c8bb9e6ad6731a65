//! What was noticed: evidence, meaning and the next action, the gravest first.

use pathproof_model::finding::{Piece, pieces};
use pathproof_model::{Finding, NodeId, ResultDoc};

use super::{Block, Fact, Noticed, facts};

/// Advice with each command on a line of its own, at the host where it is typed.
fn advice(next: &str) -> Vec<(&'static str, &str)> {
    let named = pieces(next).into_iter().enumerate().map(|(nth, piece)| match piece {
        Piece::Words(words) => (if nth == 0 { "next" } else { "then" }, words),
        Piece::Command(NodeId::CLIENT, command) => ("here", command),
        Piece::Command(_, command) => ("peer", command),
    });
    named.collect()
}

/// What speaks against it, and what it could be as well.
fn doubts(finding: &Finding) -> Vec<Fact> {
    let against = (!finding.against.is_empty()).then(|| ("but", finding.against.clone()));
    let open = (!finding.open.is_empty()).then(|| ("or", finding.open.join(", ")));
    facts(against.into_iter().chain(open))
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
        said.extend(doubts(finding));
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

    #[test]
    fn doubts_stand_below_what_was_seen_and_only_where_there_are_any() {
        let certain = Finding::new("NIC-SLOW", "e1 carries little");
        assert_eq!(doubts(&certain), []);
        let doubtful = certain.against("it did not come again").open(&[pathproof_model::code!("PATH-LOSS")]);
        assert_eq!(doubts(&doubtful), facts([("but", "it did not come again"), ("or", "PATH-LOSS")]));
    }
}
