//! Findings: what was noticed, with evidence, meaning and the next action, under stable codes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod catalogue;
mod code;
mod commands;
mod pages;
pub mod told;
mod topic;

pub use catalogue::{CATALOGUE, Entry};
pub use code::Code;
pub use commands::{Commands, Piece, pieces};
pub(crate) use pages::wrapped;
pub use pages::{Page, Section, page};
pub use topic::Topic;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will cost performance or surprise somebody.
    Warning,
    /// The path is not fit as it stands.
    Error,
}

impl<'de> Deserialize<'de> for Severity {
    /// A word that only a later build knows is a warning: worth more than a note, and this build cannot tell how much more.
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Severity, D::Error> {
        Ok(match String::deserialize(from)?.as_str() {
            "info" => Severity::Info,
            "error" => Severity::Error,
            _ => Severity::Warning,
        })
    }
}

/// One finding of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable code from the catalogue.
    pub code: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What was measured, in words with numbers and units.
    pub evidence: String,
    /// What that means for SMB Direct, Multichannel, jumbo frames or live migration.
    pub meaning: String,
    /// What to do next.
    pub next: String,
    /// Index of the step that made it, if one did.
    #[serde(default)]
    pub step: Option<usize>,
    /// The numbers of the evidence by name, units in the names.
    #[serde(default)]
    pub values: BTreeMap<String, serde_json::Value>,
}

impl Finding {
    /// A finding with the catalogue's severity, meaning and advice.
    ///
    /// # Panics
    /// When `code` is not in the catalogue: that is a fault in this program, and a test guards it.
    pub fn new(code: &'static str, evidence: impl Into<String>) -> Finding {
        let entry = CATALOGUE
            .iter()
            .find(|e| e.code == code)
            .unwrap_or_else(|| panic!("finding code {code} is missing from the catalogue"));
        Finding {
            code: code.into(),
            severity: entry.severity,
            evidence: evidence.into(),
            meaning: entry.meaning.into(),
            next: entry.next.into(),
            step: None,
            values: BTreeMap::new(),
        }
    }

    /// Whether it is this one of the catalogue.
    pub fn is(&self, code: Code) -> bool {
        self.code == code.word()
    }

    /// A finding that the other end made, in this build's words: what it means and what to do next are never the
    /// peer's to say. A code that this build does not know is handed on as the peer's word.
    pub fn from_peer(self) -> Finding {
        match CATALOGUE.iter().find(|entry| entry.code == self.code) {
            Some(entry) => {
                Finding { values: self.values, step: self.step, ..Finding::new(entry.code, self.evidence) }
            }
            None => {
                let evidence = format!("{}: {}", self.code, self.evidence);
                Finding { step: self.step, ..Finding::new("PEER-SAYS", evidence) }
            }
        }
    }

    /// Replaces the catalogue's advice by advice with the numbers of this case.
    pub fn with_next(mut self, next: impl Into<String>) -> Finding {
        self.next = next.into();
        self
    }

    /// Replaces the advice by `lead` and what is to be typed; where that cannot be said, the advice stays what it is.
    pub fn with_commands(self, lead: &str, commands: &Commands) -> Finding {
        match commands.advice(&self.code, lead) {
            Some(next) => self.with_next(next),
            None => self,
        }
    }

    /// Replaces the catalogue's severity.
    pub fn with_severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// Adds one number (or text) of the evidence under a name with its unit.
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Finding {
        self.values.insert(name.into(), value.into());
        self
    }
}
