//! The files that people write: plans, criteria, fleets. Any text gives a plan or one clear error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_engine::migrate::{drain, rehearsal};
use pathproof_model::migrate::FleetPlan;
use pathproof_model::{Criteria, Plan};

fuzz_target!(|text: &str| {
    let _ = Criteria::from_toml(text);
    let _ = toml::from_str::<Plan>(text);
    if let Ok(fleet) = toml::from_str::<FleetPlan>(text) {
        let _ = drain(&fleet);
        let _ = rehearsal(&fleet, 1_000_000_000);
    }
});
