//! Which of the rules of rates have their say, and in what order: no fault is told twice.

use pathproof_model::code;
use pathproof_model::{Direction, Finding, ResultDoc, Severity};

use super::super::Rule;
use super::{bounded, cores, crawling, over_port};

pub(in crate::diagnose) const RULES: &[Rule] = &[Rule {
    codes: &[
        code!("FLOWS-DIFFER"),
        code!("TCP-FLOW-LIMIT"),
        code!("PATH-RATE-LIMIT"),
        code!("HOST-CORE-BOUND"),
        code!("PORT-SLOW"),
        code!("PORT-LOSSY"),
        code!("HOST-BUSY"),
    ],
    find: findings,
}];

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let of = |way: Direction| {
        let (first, crawls) = (bounded(doc, way), crawling(doc, way));
        // What one step shows by itself is told rather than what two of them may have met at different moments, and no fault is told twice.
        let differs = |finding: &Finding| finding.is(code!("FLOWS-DIFFER"));
        let sure = first.as_ref().is_some_and(|one| differs(one) && one.severity == Severity::Error);
        let first = first.filter(|one| sure || !differs(one) || crawls.is_none());
        let rest = cores::finding(doc, way).into_iter().chain(over_port::findings(doc, way));
        first.into_iter().chain(crawls.filter(|_| !sure)).chain(rest)
    };
    [Direction::Out, Direction::In].into_iter().flat_map(of).collect()
}
