//! The networks that this host shares with an agent's. Nobody is asked for it: both hosts' NICs are known since the greeting.

use pathproof_engine::differences;
use pathproof_model::{ErrorKind, Finding, NodeId, ResultDoc, Step, StepError, StepSpec};

use super::{Alone, Kind, Lone, whole};

/// The kind.
pub struct Shared;

impl Kind for Shared {
    fn name(&self, _spec: &StepSpec) -> String {
        "networks of both hosts".into()
    }

    fn duration_ns(&self, _spec: &StepSpec) -> u64 {
        0
    }

    fn need_ns(&self, _spec: &StepSpec) -> u64 {
        10_000_000
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Alone for Shared {
    fn make(
        &self,
        lone: &mut Lone<'_>,
        _step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError> {
        let unknown = |whose: &str| StepError {
            kind: ErrorKind::Unsupported,
            message: format!("{whose} NICs are not known, so there are no networks to tell"),
        };
        let here = doc.environment(NodeId::CLIENT).ok_or_else(|| unknown("this host's"))?;
        let there = doc.environment(lone.spec.node()).ok_or_else(|| unknown("the peer's"))?;
        let networks = pathproof_engine::networks::networks(here, there);
        let mut findings = pathproof_engine::networks::findings(&networks);
        // A check looks at what each of these does to the path; here nothing is sent that would show it.
        findings.extend(differences::finding(&differences::differences(here, there)));
        doc.networks = Some(networks);
        Ok(findings)
    }
}
