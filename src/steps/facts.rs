//! The facts of both hosts. They crossed with the greeting; the step says when they were taken, that both ends gave some, and who
//! answers on the client's wires for the addresses that the other end named.

use pathproof_api::Offer;
use pathproof_model::code;
use pathproof_model::{
    End, Environment, Finding, Half, HalfDetail, NodeId, ResultDoc, Step, StepError, StepKind, StepRequest,
    StepSpec,
};

use crate::host::wires;

use super::{Context, Cost, Kind, Prepared, Runner, Setup, as_specified, whole};

/// The runner.
pub struct Facts;

/// Who answers on which wire, asked where a pair of NICs was silent and nobody has asked yet: that tells swapped cables from dead ones.
pub(super) fn follow_up(doc: &ResultDoc) -> Option<StepSpec> {
    let asked = doc.steps.iter().any(|step| step.kind == StepKind::Facts);
    let silent = [code!("MTU-UNKNOWN"), code!("CHANNEL-LOST"), code!("CHANNEL-DEAD")];
    let wanted = doc.findings.iter().any(|finding| silent.iter().any(|code| finding.is(*code)));
    (wanted && !asked && doc.environment(NodeId::SERVER).is_some()).then_some(StepSpec::Facts)
}

struct Taken {
    end: End,
    here: Environment,
    there: Environment,
}

impl Kind for Facts {
    fn name(&self, _spec: &StepSpec) -> String {
        "facts of both hosts".into()
    }

    fn duration_ns(&self, _spec: &StepSpec) -> u64 {
        0
    }

    fn need_ns(&self, _spec: &StepSpec) -> u64 {
        10_000_000 + wires::WAIT.as_nanos() as u64 * u64::from(wires::ROUNDS)
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Runner for Facts {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let session = setup.session;
        let (here, there) = (session.environment.clone(), session.peer_environment.clone());
        Ok(Box::new(Taken { end: session.end, here, there }))
    }

    fn cost(&self, _spec: &StepSpec, _paths: usize) -> Cost {
        Cost::default()
    }

    fn merge(&self, _spec: &StepSpec, step: &mut Step, client: &Half, _server: &Half) {
        step.detail.wires.clone_from(&client.detail.wires);
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, _step: &Step, _doc: &ResultDoc) -> Vec<Finding> {
        // What hosts have is judged where it matters, and before the first step.
        vec![]
    }
}

impl Prepared for Taken {
    fn offers(&self) -> Vec<Offer> {
        vec![]
    }

    fn paths(&self) -> Vec<u32> {
        // It has no lanes.
        vec![]
    }

    fn run(self: Box<Self>, _context: &mut Context<'_>, _peer: Vec<Offer>) -> Half {
        let nics = self.here.nics.len() as u64;
        // A server asks nobody: its user did not.
        let wires = (self.end == End::Client).then(|| wires::ask(&self.here, &self.there));
        Half {
            counters: [(format!("{}_nics", self.end.name()), nics)].into(),
            detail: HalfDetail { wires, ..HalfDetail::default() },
            ..Half::default()
        }
    }
}
