//! The hosts of a run against what is expected of them.

use super::names::EXPECTED_STATE;
use crate::{Check, ResultDoc, Subject, Verdict};

/// Every host that says something of itself; one of which nothing is expected, or nothing known, is no pass.
pub(super) fn verdict(doc: &ResultDoc) -> Option<Verdict> {
    let expected = doc.expected_state.as_ref()?;
    let mut checks = Vec::new();
    for node in &doc.nodes {
        // The other end of this machine is this machine.
        let Some(host) = &node.environment else {
            if node.spec.is_agent() && node.spec != crate::NodeSpec::Own {
                let text = format!("{}: nothing is known of this host", node.name);
                checks.push(Check::inconclusive(EXPECTED_STATE, text));
            }
            continue;
        };
        match expected.of(host) {
            Some(state) => checks.extend(state.checks(host)),
            None => {
                let text = format!(
                    "{}: the expected state has no such host (it has {}); there: pathproof devices --write-state FILE",
                    host.hostname.as_deref().unwrap_or(&node.name),
                    expected.names()
                );
                checks.push(Check::inconclusive(EXPECTED_STATE, text));
            }
        }
    }
    Verdict::of(Subject::State, checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, ExpectedState, HostState, Node, Outcome, Tool};

    #[test]
    fn both_ends_are_held_against_it_and_a_host_of_which_nothing_is_known_is_no_pass() {
        let host = |name: &str| Environment { hostname: Some(name.into()), ..Environment::default() };
        let outcome = |expected: &[&str], far: Option<Environment>| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(Some(host("a"))), Node::agent("b", far)];
            let hosts = expected.iter().map(|name| HostState { name: (*name).into(), nics: vec![] });
            doc.expected_state = Some(ExpectedState { hosts: hosts.collect() });
            verdict(&doc).map(|verdict| (verdict.outcome, verdict.checks.len()))
        };
        assert_eq!(outcome(&["a", "b"], Some(host("b"))), Some((Outcome::Pass, 2)));
        assert_eq!(outcome(&["a", "b"], None), Some((Outcome::Inconclusive, 2)));
        assert_eq!(outcome(&["a"], Some(host("b"))), Some((Outcome::Inconclusive, 2)));
        assert_eq!(verdict(&ResultDoc::new(Tool::default(), "")), None);
    }
}
