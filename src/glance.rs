//! What is seen of a step while it runs: how far it is, and what went on in the last second.

use pathproof_model::stream::{Count, FlowSample};

/// A look at a running step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Glance {
    /// How far the step is, from 0 to 1, where that is known.
    pub share: Option<f64>,
    /// What its flows did in the last second, when one has just ended.
    pub second: Option<Vec<FlowSample>>,
    /// What it counts, where it has no rate.
    pub counts: Vec<Count>,
}

impl From<f64> for Glance {
    fn from(share: f64) -> Glance {
        Glance { share: Some(share.min(1.0)), ..Glance::default() }
    }
}
