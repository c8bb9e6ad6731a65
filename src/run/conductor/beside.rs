//! What the NICs of this host carry that a plan does not name: each by itself, then all together.

use pathproof_model::{CommandName, Plan, ResultDoc, StepError, StepSpec};

use super::{Conductor, Place, UNHURRIED_NS, need_ns};
use crate::registry::manners;
use crate::run::record::Record;
use crate::steps;

/// What there may be no time for.
const EACH_WAY: &str = "what a NIC carries one way alone: not measured";

impl Conductor<'_> {
    /// NICs of this host over which the two hosts would talk as well, beside the one that the streams of a check use.
    pub(super) fn beside(&self, plan: &Plan) -> Vec<String> {
        let several = plan.steps.iter().filter_map(StepSpec::over).any(|over| manners(over).several_nics);
        let asked = plan.command == CommandName::Check && self.budget.length_ns().is_some() && !several;
        self.agent.as_ref().filter(|_| asked).map_or_else(Vec::new, |agent| agent.facts.other_nics())
    }

    /// What each of those NICs carries by itself. One over which nothing was answered is known to carry nothing.
    pub(super) fn by_themselves(
        &mut self,
        nics: &[String],
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        let paths = || record.doc.steps.iter().filter_map(|step| step.detail.paths.as_deref()).flatten();
        let heard = |nic: &&String| {
            let own: Vec<_> = paths().filter(|path| path.local_nic == **nic).collect();
            own.is_empty() || own.iter().any(|path| path.proven_ip_bytes.is_some())
        };
        let nics: Vec<String> = nics.iter().filter(heard).cloned().collect();
        let specs = steps::beside(&record.doc, &nics);
        for (nth, spec) in specs.iter().enumerate() {
            let number = record.doc.steps.len() as u32;
            let of = number as usize + specs.len() - nth;
            self.step(&Place { number, of, later: &specs[nth + 1..] }, spec, record)?;
            self.collect(record)?;
        }
        self.while_asked(steps::each_way, EACH_WAY, record)?;
        self.while_asked(steps::of_one_nic, "what a NIC loses, or lets wait: not measured", record)?;
        self.all_together(&nics, record)?;
        // What all of them carry begins with the session's own NIC, and others can be held against that.
        self.while_asked(steps::each_way, EACH_WAY, record)
    }

    /// Further steps as long as there is one to be made, and time for it; what there is no time for is said.
    fn while_asked(
        &mut self,
        next: fn(&ResultDoc) -> Option<StepSpec>,
        cut: &str,
        record: &mut Record<'_>,
    ) -> Result<(), StepError> {
        while let Some(spec) = next(&record.doc) {
            if need_ns(record, &spec) > self.left_ns(record) {
                if !record.cut.iter().any(|known| known == cut) {
                    record.cut.push(cut.into());
                }
                break;
            }
            self.further(&spec, record)?;
        }
        Ok(())
    }

    /// What those NICs carry together with the one that the session began on. A check that is to be quick leaves it out by plan.
    fn all_together(&mut self, nics: &[String], record: &mut Record<'_>) -> Result<(), StepError> {
        let own = self.agent.as_ref().and_then(|agent| agent.facts.own_nic());
        let Some(own) = own.filter(|_| self.budget.length_ns() >= Some(UNHURRIED_NS)) else { return Ok(()) };
        while let Some(spec) = steps::together(&record.doc, &own, nics) {
            if need_ns(record, &spec) > self.left_ns(record) {
                record.cut.push("what all NICs carry together: not measured".into());
                break;
            }
            self.further(&spec, record)?;
        }
        // A short step that came to little is asked again where there is time: somebody else may have used the path just then.
        let again = steps::together_again(&record.doc, &own, nics);
        if let Some(spec) = again.filter(|spec| need_ns(record, spec) <= self.left_ns(record)) {
            self.further(&spec, record)?;
        }
        while let Some(spec) = steps::pair_of(&record.doc, &own, nics) {
            if need_ns(record, &spec) > self.left_ns(record) {
                record.cut.push("which NICs share what they carry: not measured".into());
                break;
            }
            self.further(&spec, record)?;
        }
        steps::sum_up_together(&mut record.doc);
        Ok(())
    }
}
