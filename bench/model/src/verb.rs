//! The verb that moves a message, where a transport has a choice.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Verbs of a stream or ping-pong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Two-sided.
    #[default]
    Send,
    /// One-sided.
    Write,
    /// One-sided.
    Read,
}

impl Verb {
    /// All of them.
    pub const ALL: [Verb; 3] = [Verb::Send, Verb::Write, Verb::Read];

    /// As it stands in plans.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Send => "send",
            Verb::Write => "write",
            Verb::Read => "read",
        }
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(name: &str) -> Result<Verb, String> {
        let found = Verb::ALL.into_iter().find(|verb| verb.name() == name);
        found.ok_or_else(|| format!("{name:?} is no verb; there are send, write and read"))
    }
}
