//! A finding on its way: what is said of IPv4 and of IPv6 alike is said once.

use pathproof_model::told;
use pathproof_model::{Direction, Finding, MtuPath, Severity};
use serde_json::Value;

/// A finding before equal ones of the two families are merged.
pub(super) struct Draft {
    pub(super) code: &'static str,
    pub(super) nics: (String, Option<String>),
    pub(super) families: Vec<u8>,
    pub(super) direction: Direction,
    pub(super) body: String,
    pub(super) meaning: Option<&'static str>,
    pub(super) next: Option<String>,
    pub(super) severity: Option<Severity>,
    pub(super) values: Vec<(&'static str, Value)>,
}

impl Draft {
    pub(super) fn new(code: &'static str, path: &MtuPath, direction: Direction, body: String) -> Draft {
        Draft {
            code,
            nics: (path.local_nic.clone(), path.remote_nic.clone()),
            families: vec![path.family],
            direction,
            body,
            meaning: None,
            next: None,
            severity: None,
            values: Vec::new(),
        }
    }

    pub(super) fn next(mut self, next: String) -> Draft {
        self.next = Some(next);
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Draft {
        self.values.push((name, value.into()));
        self
    }

    /// Equal but for the families.
    fn says_the_same_as(&self, other: &Draft) -> bool {
        (self.code, &self.nics, self.direction, &self.next)
            == (other.code, &other.nics, other.direction, &other.next)
            && self.values == other.values
    }

    pub(super) fn finish(self) -> Finding {
        let families: Vec<String> = self.families.iter().map(|family| format!("IPv{family}")).collect();
        let way = match self.direction {
            Direction::Out => "out (from here to the peer)",
            Direction::In => "in (from the peer to here)",
            Direction::Both => "both directions",
        };
        let remote = self.nics.1.as_deref().unwrap_or("peer");
        let evidence =
            format!("{} to {remote}, {}, {way}: {}", self.nics.0, families.join(" and "), self.body);
        let mut finding = Finding::new(self.code, evidence)
            .tell(told::LOCAL_NIC, self.nics.0)
            .with(told::REMOTE_NIC.name(), self.nics.1)
            .with("families", self.families)
            .tell(told::DIRECTION, self.direction);
        if let Some(meaning) = self.meaning {
            finding.meaning = meaning.into();
        }
        if let Some(next) = self.next {
            finding = finding.with_next(next);
        }
        if let Some(severity) = self.severity {
            finding = finding.with_severity(severity);
        }
        for (name, value) in self.values {
            finding = finding.with(name, value);
        }
        finding
    }
}

/// The same thing said of IPv4 and of IPv6 is one finding.
pub(super) fn merge(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::new();
    for draft in drafts {
        match merged.iter_mut().find(|other| other.says_the_same_as(&draft)) {
            Some(twin) => {
                twin.families.extend(draft.families);
                twin.families.sort_unstable();
                twin.families.dedup();
            }
            None => merged.push(draft),
        }
    }
    merged
}
