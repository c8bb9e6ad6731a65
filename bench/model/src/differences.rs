//! What two hosts are set to differently, by how much it matters to the path between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a difference matters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Weight {
    /// It loses packets, or keeps the hosts from talking.
    Grave,
    /// It costs speed or time, or is the first suspect where something does.
    Costly,
    /// Hosts may differ in it.
    #[default]
    #[serde(other)]
    Harmless,
}

impl Weight {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Weight::Grave => "grave",
            Weight::Costly => "costly",
            Weight::Harmless => "harmless",
        }
    }
}

/// A fact that both hosts tell, and that is not the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostDifference {
    /// How much it matters.
    pub weight: Weight,
    /// The NICs that it is about, this host's and the other's; `null` for the hosts as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<[String; 2]>,
    /// What differs: `IP MTU`, `net.ipv4.tcp_sack` …
    pub fact: String,
    /// As it is at this host.
    pub here: String,
    /// As it is at the other.
    pub there: String,
    /// What it leads to; empty where that is nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}
