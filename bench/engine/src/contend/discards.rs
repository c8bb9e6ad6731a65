//! Losses of priorities that are to lose nothing, while classes shared the path: each adapter's own word of where packets went.

use pathproof_model::judge::{LosslessPriority, lossless};
use pathproof_model::{End, Finding, ResultDoc, Step, told};

/// A finding for each of those priorities that an adapter lost something of during the step.
pub fn discards(step: &Step, doc: &ResultDoc) -> Vec<Finding> {
    lossless(doc, step).priorities.iter().filter_map(|one| finding(step, one)).collect()
}

fn finding(step: &Step, one: &LosslessPriority) -> Option<Finding> {
    let lost = one.discards().filter(|lost| *lost > 0)?;
    let whose = match one.end {
        End::Client => "this host's",
        End::Server => "the peer's",
    };
    let way = |count: Option<u64>, way: &str| {
        count.filter(|count| *count > 0).map(|count| format!("{count} {way}"))
    };
    let (received, sent) = (one.counts.receive_discards, one.counts.send_discards);
    let ways = [way(received, "that arrived"), way(sent, "on the way out")];
    let ways: Vec<String> = ways.into_iter().flatten().collect();
    let evidence = format!(
        "{}: {whose} {} threw {lost} packets of priority {} away ({})",
        step.name,
        one.nic,
        one.priority,
        ways.join(", ")
    );
    let finding = Finding::new("LOSSLESS-DISCARDS", evidence).tell(told::NIC, one.nic.as_str());
    Some(finding.with("node", one.end.node().0).with("priority", one.priority).with("discards", lost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::{Dcb, DcbPfc};
    use pathproof_model::evidence::{PriorityActivity, PriorityCounts};
    use pathproof_model::{Environment, Evidence, LaneResult, Nic, Node, StepKind, Tool};

    /// What is told of two hosts that pause priority 3, where this one counted so much of these priorities.
    fn told(counted: &[(u8, Option<u64>, Option<u64>)]) -> Vec<Finding> {
        let pfc = Some(DcbPfc { enabled_priorities: vec![3], classes_max: None });
        let nic = Nic { name: "e0".into(), dcb: Some(Dcb { pfc, ..Dcb::default() }), ..Nic::default() };
        let host = Environment { nics: vec![nic], ..Environment::default() };
        let doc = ResultDoc { nodes: vec![Node::here(Some(host))], ..ResultDoc::new(Tool::default(), "") };
        let mut step = Step::new(StepKind::Contend, "tcp storage beside a migration");
        step.lanes = vec![LaneResult { nics: vec!["e0".into()], ..LaneResult::default() }];
        let activity = |(priority, receive_discards, send_discards): &(u8, Option<u64>, Option<u64>)| {
            let counts = PriorityCounts {
                receive_discards: *receive_discards,
                send_discards: *send_discards,
                ..PriorityCounts::default()
            };
            PriorityActivity { nic: "e0".into(), priority: *priority, counts, ..PriorityActivity::default() }
        };
        let priorities = Some(counted.iter().map(activity).collect());
        step.evidence = vec![Evidence { priorities, ..Evidence::default() }];
        discards(&step, &doc)
    }

    #[test]
    fn what_an_adapter_lost_of_a_paused_priority_is_told_with_its_place_and_its_number() {
        let found = told(&[(3, Some(7), Some(2)), (0, Some(900), None)]);
        assert_eq!(found.len(), 1, "losses are what other priorities have instead of pauses: {found:?}");
        assert_eq!(
            found[0].evidence,
            "tcp storage beside a migration: this host's e0 threw 9 packets of priority 3 away (7 that arrived, 2 on the way out)"
        );
        assert_eq!((&found[0].values["discards"], &found[0].values["priority"]), (&9.into(), &3.into()));
    }

    #[test]
    fn nothing_lost_and_nothing_known_accuse_nobody() {
        assert_eq!(told(&[(3, Some(0), Some(0))]), []);
        assert_eq!(told(&[(3, None, None)]), []);
        assert_eq!(told(&[]), []);
    }
}
