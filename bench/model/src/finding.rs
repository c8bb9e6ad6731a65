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
    /// What speaks against it, in words with numbers and units; absent where nothing is known that does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub against: String,
    /// Codes of what it could be as well, because no evidence excluded it; absent where nothing is left open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
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
            against: String::new(),
            open: vec![],
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
                // What it could be as well is named by this build's codes only.
                let is_known = |code: &String| CATALOGUE.iter().any(|entry| entry.code == code);
                Finding {
                    values: self.values,
                    step: self.step,
                    against: self.against,
                    open: self.open.into_iter().filter(is_known).collect(),
                    ..Finding::new(entry.code, self.evidence)
                }
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

    /// Says what speaks against it.
    pub fn against(mut self, what: impl Into<String>) -> Finding {
        self.against = what.into();
        self
    }

    /// Says what it could be as well.
    pub fn open(mut self, others: &[Code]) -> Finding {
        self.open = others.iter().map(|code| code.word().to_owned()).collect();
        self
    }

    /// Adds one number (or text) of the evidence under a name with its unit.
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Finding {
        self.values.insert(name.into(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_against_it_and_what_is_open_stand_in_a_document_only_where_there_is_any() {
        let plain = Finding::new("NIC-SLOW", "e1 carries little");
        let text = serde_json::to_value(&plain).unwrap();
        assert!(text.get("against").is_none() && text.get("open").is_none());
        // As builds wrote it that knew neither.
        assert_eq!(serde_json::from_value::<Finding>(text).unwrap(), plain);
        let doubtful = plain.against("it did not come again").open(&[crate::code!("PATH-LOSS")]);
        let text = serde_json::to_value(&doubtful).unwrap();
        assert_eq!(
            (&text["against"], &text["open"][0]),
            (&"it did not come again".into(), &"PATH-LOSS".into())
        );
        assert_eq!(serde_json::from_value::<Finding>(text).unwrap(), doubtful);
    }

    #[test]
    fn a_peer_names_no_alternatives_that_this_build_does_not_know() {
        let mut theirs = Finding::new("NIC-SLOW", "seen").against("said");
        theirs.open = ["PATH-LOSS", "YOU-MUST"].map(str::to_owned).into();
        let read = theirs.from_peer();
        assert_eq!((read.against.as_str(), read.open), ("said", vec!["PATH-LOSS".to_owned()]));
    }
}
