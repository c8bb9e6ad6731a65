//! Why facts of an interface are not known: each null has its reason, and facts that share one are told together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts of an interface that are not known, and the one reason for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnknownFacts {
    /// Their names: those of the interface's fields, and of offloads.
    pub facts: Vec<String>,
    /// Why: the driver does not tell, it is not permitted, such an interface has none …
    pub why: String,
}
