//! Links that came and went while the run lasted, although nobody was asked to take them down.

use std::collections::BTreeMap;

use pathproof_model::{Finding, NodeId, ResultDoc};

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut changes: BTreeMap<(NodeId, String), u64> = BTreeMap::new();
    // A NIC that the run itself takes down is no news.
    for step in doc.steps.iter().filter(|step| step.detail.failover.is_none()) {
        for evidence in &step.evidence {
            for nic in evidence.nics.iter().flatten() {
                let changed = nic.counts.carrier_changes.unwrap_or(0);
                *changes.entry((evidence.node, nic.nic.clone())).or_default() += changed;
            }
        }
    }
    let flapped = changes.into_iter().filter(|(_, changed)| *changed > 0);
    flapped
        .map(|((node, nic), changed)| {
            let whose = if node == NodeId::CLIENT { "this host's" } else { "the peer's" };
            let lost = changed.div_ceil(2);
            let said = format!(
                "{whose} {nic} lost its link {lost} times during the run ({changed} changes of carrier)"
            );
            Finding::new("LINK-FLAPS", said).with("nic", nic).with("carrier_changes", changed)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Evidence, NicActivity, NicCounts, Step, StepKind, Tool};

    #[test]
    fn changes_of_carrier_are_summed_over_the_steps() {
        let mut doc = ResultDoc::new(Tool::default(), "");
        for changed in [0, 2, 4] {
            let counts = NicCounts { carrier_changes: Some(changed), ..NicCounts::still() };
            let nics = Some(vec![NicActivity { nic: "e0".into(), counts }]);
            let mut step = Step::new(StepKind::Reach, "r");
            step.evidence = vec![Evidence { node: NodeId::SERVER, nics, ..Evidence::default() }];
            doc.steps.push(step);
        }
        let found = findings(&doc);
        assert_eq!(found.len(), 1);
        assert!(found[0].evidence.contains("the peer's e0 lost its link 3 times"), "{}", found[0].evidence);
        doc.steps.truncate(1);
        assert_eq!(findings(&doc), vec![]);
    }
}
