//! The facts of both hosts. They crossed with the greeting, so the step itself moves nothing; it exists so that
//! the document says when the facts were taken, and that both ends gave some.

use pathproof_api::Offer;
use pathproof_model::{Finding, Half, ResultDoc, Step, StepError, StepRequest, StepSpec};

use super::{Context, Cost, End, Kind, Prepared, Runner, Setup, as_specified, whole};

/// The runner.
pub struct Facts;

struct Nothing {
    end: End,
    nics: u64,
}

impl Kind for Facts {
    fn name(&self, _spec: &StepSpec) -> String {
        "facts of both hosts".into()
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

impl Runner for Facts {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        Ok(Box::new(Nothing { end: setup.session.end, nics: setup.session.environment.nics.len() as u64 }))
    }

    fn cost(&self, _spec: &StepSpec, _paths: usize) -> Cost {
        Cost::default()
    }

    fn merge(&self, _spec: &StepSpec, _step: &mut Step, _client: &Half, _server: &Half) {
        // What the halves count is in place.
    }

    fn findings(&self, _step: &Step, _doc: &ResultDoc) -> Vec<Finding> {
        // What hosts have is judged where it matters, and before the first step.
        vec![]
    }
}

impl Prepared for Nothing {
    fn offers(&self) -> Vec<Offer> {
        vec![]
    }

    fn run(self: Box<Self>, _context: &mut Context<'_>, _peer: Vec<Offer>) -> Half {
        Half { counters: [(format!("{}_nics", self.end.name()), self.nics)].into(), ..Half::default() }
    }
}
