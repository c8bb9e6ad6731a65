//! The document while it is made: what is added to it is seen by the observers.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, ResultDoc, Step, Trips};

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
    /// What a new connection to a peer that was lost came to, in words.
    pub dialled_again: Option<String>,
}

impl Record<'_> {
    /// A step is over.
    pub fn keep(&mut self, step: Step) {
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
