//! The migration rehearsal: real memory, really dirtied, really copied, compared byte by byte.
//!
//! The client is the source and decides; the server is the destination and serves. Pages travel as one-sided
//! writes straight from guest memory to their place in the peer's; a few messages on the same lanes carry zero
//! ranges, barriers and hash questions. What is copied when, and what a lane says, is the engine's
//! ([`copy`]); here are the threads, the memory and the files under it. The control
//! channel is used at the start, and to notice that the other end is gone.

mod conduct;
mod cost;
mod dirtier;
pub(crate) mod disk;
mod lanes;
mod machine;
mod memory;
mod merge;
mod places;
mod prepare;
mod spec;

use pathproof_engine::migrate::copy;
use pathproof_engine::traffic::nics;
use pathproof_model::units::Bytes;
use pathproof_model::{Finding, Half, MigrateSpec, ResultDoc, Step, StepError, StepRequest, StepSpec};

use super::traffic::proof;
use super::{Cost, Kind, Prepared, Runner, Setup};
pub use spec::check_all;
use spec::{as_traffic, invalid, spec_of};

/// The runner.
pub struct Migrate;

impl Kind for Migrate {
    fn name(&self, spec: &StepSpec) -> String {
        let Ok(spec) = spec_of(spec) else { return "migrate".into() };
        let guests = if spec.guests == 1 { String::new() } else { format!("{} guests of ", spec.guests) };
        let memory = Bytes(spec.memory_bytes);
        match spec.budget_ns {
            None => {
                let dirty = Bytes(spec.dirty_bytes_per_s);
                format!("{} migration, {guests}{memory}, {dirty}/s dirtied, {}", spec.over, spec.policy)
            }
            // What it came to stands in the result.
            Some(_) => format!("{} migration, {guests}at most {memory}, {}", spec.over, spec.policy),
        }
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).map_or(0, copy::duration_ns)
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).map_or(0, |s| s.budget_ns.map_or(u64::MAX, |copy_ns| copy::need_ns(s, copy_ns)))
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        let mut spec = spec.clone();
        if let StepSpec::Migrate(migrate) = &mut spec
            && let Some(copy_ns) = migrate.budget_ns
        {
            migrate.budget_ns = Some(copy::fit_ns(migrate, copy_ns, left_ns)?);
        }
        Some(spec)
    }
}

impl Runner for Migrate {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        // Both hosts are known by now, so a budget's memory is settled before it is asked for.
        let spec =
            MigrateSpec { memory_bytes: prepare::memory_bytes(setup)?, ..spec_of(setup.spec)?.clone() };
        StepRequest::of(&StepSpec::Migrate(spec)).map_err(invalid)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        Ok(Box::new(prepare::prepare(setup)?))
    }

    fn cost(&self, spec: &StepSpec, paths: usize) -> Cost {
        spec_of(spec).map_or(Cost::default(), |spec| cost::cost(spec, paths))
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        merge::merge(spec, step, client, server);
        if let StepSpec::Migrate(migrate) = spec {
            proof::merge(&as_traffic(migrate), step, client, server);
            nics::merge(step, client, server);
        }
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        let mut found = proof::findings(step, doc);
        found.extend(nics::findings(step));
        found
    }
}
