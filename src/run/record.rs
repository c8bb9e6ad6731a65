//! The document while it is made: what is added to it is seen by the observers.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, ResultDoc, Step, Trips};

use super::Again;
use crate::budget::Budget;
use crate::watch::{Observer, RunEvent};

/// A document that grows.
pub(super) struct Record<'a> {
    /// So far.
    pub doc: ResultDoc,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
    /// What the time of the run did not suffice for, in words.
    pub cut: Vec<String>,
    /// What a new connection to a peer that was lost came to.
    pub dialled_again: Option<Again>,
}

impl Record<'_> {
    /// A step is over.
    pub fn keep(&mut self, mut step: Step) {
        say_once(&self.doc, &mut step);
        self.doc.steps.push(step);
        self.observer.event(&RunEvent::StepEnded { doc: &self.doc });
    }

    /// Findings of the step that is kept next.
    pub fn found(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let number = self.doc.steps.len();
        self.doc.findings.extend(findings.into_iter().map(|f| Finding { step: Some(number), ..f }));
    }

    /// The round trip that was found before, in ns.
    pub fn round_trip_ns(&self) -> Option<u64> {
        let reached = self.doc.steps.iter().filter(|step| step.kind.traits().trips == Trips::Control);
        reached.filter_map(|step| step.summary.rtt_ns).map(|rtt| rtt.p50).next_back()
    }

    /// Names what the time of the run did not suffice for.
    pub fn tell_what_was_cut(&mut self, budget: &Budget) {
        let Some(length_ns) = budget.length_ns().filter(|_| !self.cut.is_empty()) else { return };
        let length = Nanoseconds(length_ns);
        let evidence = format!("the run keeps to {length}, and this did not fit: {}", self.cut.join("; "));
        let cut = std::mem::take(&mut self.cut);
        let finding = Finding::new("RUN-CUT", evidence).with("budget_ns", length_ns).with("cut", cut);
        self.doc.findings.push(finding);
    }
}

/// What a host cannot read, and why, it cannot read in any step: the first that looked says it for all of them.
fn say_once(doc: &ResultDoc, step: &mut Step) {
    for evidence in &mut step.evidence {
        let mut known = doc.steps.iter().flat_map(|step| &step.evidence);
        if let Some(first) = known.find(|one| one.node == evidence.node) {
            evidence.unreadable.retain(|one| !first.unreadable.contains(one));
        }
    }
    // And what the lanes of an end chose alike, the first of them.
    for at in (1..step.lanes.len()).rev() {
        let (before, rest) = step.lanes.split_at_mut(at);
        let Some(lane) = rest.first_mut() else { break };
        if before.iter().find(|one| one.end == lane.end).is_some_and(|one| one.chosen == lane.chosen) {
            lane.chosen.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::Evidence;
    use pathproof_model::{End, LaneResult, NodeId, StepKind, Tool};

    #[test]
    fn what_cannot_be_read_is_said_by_the_first_step_of_each_host_and_what_is_new_by_its_own() {
        let step = |of: &[(u16, &[&str])]| {
            let mut step = Step::new(StepKind::Stream, "a step");
            step.evidence = of
                .iter()
                .map(|(node, whats)| {
                    let mut evidence = Evidence { node: NodeId(*node), ..Evidence::default() };
                    whats.iter().for_each(|what| evidence.cannot_tell(*what, "no such file"));
                    evidence
                })
                .collect();
            step
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        let mut first = step(&[(0, &["softnet"]), (1, &[])]);
        say_once(&doc, &mut first);
        assert_eq!(first.evidence[0].unreadable.len(), 1);
        doc.steps = vec![Step::new(StepKind::Facts, "nobody looked"), first];
        let mut later = step(&[(0, &["softnet", "queues"]), (1, &["softnet"])]);
        say_once(&doc, &mut later);
        let left =
            |at: usize| later.evidence[at].unreadable.iter().map(|one| one.what.as_str()).collect::<Vec<_>>();
        assert_eq!((left(0), left(1)), (vec!["queues"], vec!["softnet"]));
        later.lanes =
            [(End::Client, "bbr"), (End::Server, "bbr"), (End::Client, "bbr"), (End::Client, "cubic")]
                .map(|(end, control)| LaneResult {
                    end,
                    chosen: [("congestion_control".to_owned(), control.to_owned())].into(),
                    ..LaneResult::default()
                })
                .into();
        say_once(&doc, &mut later);
        assert_eq!(later.lanes.iter().map(|lane| lane.chosen.len()).collect::<Vec<_>>(), [1, 1, 0, 1]);
    }
}
