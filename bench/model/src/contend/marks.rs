//! The marks that classes travel with: differentiated services code points (RFC 2474), by which switches and hosts tell them apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ArrivedMark, Class, Direction};

/// Largest code point.
const DSCP_MAX: u8 = 63;

/// That of heartbeats: CS6, as cluster traffic is marked.
pub const BEAT_DSCP: u8 = 48;

/// What became of a class's mark on its way: of datagrams that are marked as the class is and go over the same pair of addresses as the
/// heartbeats. What carries the class itself does not tell its receiver how it is marked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassMark {
    /// The class.
    pub name: Class,
    /// Which way they went, as the client sees it.
    pub direction: Direction,
    /// Code point as sent.
    pub dscp: u8,
    /// Datagrams sent; `null` where nobody told.
    pub sent: Option<u64>,
    /// Those that arrived.
    pub received: Option<u64>,
    /// How they arrived, each with its number, the most frequent first.
    pub arrived: Vec<ArrivedMark>,
    /// Why nothing is known, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ClassMark {
    /// What most of them arrived as, where that is another code point than they were sent with.
    pub fn changed_to(&self) -> Option<u8> {
        let arrived: u64 = self.arrived.iter().map(|came| came.count).fold(0, u64::saturating_add);
        let other = self.arrived.iter().filter(|came| came.dscp != self.dscp);
        let changed = other.clone().map(|came| came.count).fold(0, u64::saturating_add);
        let most = other.max_by_key(|came| came.count)?;
        (changed > arrived / 2).then_some(most.dscp)
    }
}

/// Code points by class; what has none travels as the system sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Marks {
    /// Of storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<u8>,
    /// Of migrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<u8>,
    /// Of backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<u8>,
}

impl Marks {
    /// That of a class.
    pub fn of(&self, class: Class) -> Option<u8> {
        match class {
            Class::Storage => self.storage,
            Class::Migration => self.migration,
            Class::Backup => self.backup,
            Class::Heartbeat | Class::Default | Class::Probe | Class::Other => None,
        }
    }

    /// Whether a class has one.
    pub fn any(&self) -> bool {
        *self != Marks::default()
    }

    /// These, and what `text` says of a class: `storage=26`.
    pub fn and(mut self, text: &str) -> Result<Marks, String> {
        let (class, dscp) = text
            .split_once('=')
            .and_then(|(class, dscp)| {
                Some((class, dscp.parse::<u8>().ok().filter(|dscp| *dscp <= DSCP_MAX)?))
            })
            .ok_or_else(|| {
                format!(
                    "cannot read {text:?} as a mark; write CLASS=DSCP with a code point of 0 to {DSCP_MAX}"
                )
            })?;
        let place = match class {
            "storage" => &mut self.storage,
            "migration" => &mut self.migration,
            "backup" => &mut self.backup,
            _ => {
                return Err(format!(
                    "{class:?} is no class that can be marked; those are storage, migration and backup"
                ));
            }
        };
        *place = Some(dscp);
        Ok(self)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let all = [self.storage, self.migration, self.backup];
        match all.into_iter().flatten().find(|dscp| *dscp > DSCP_MAX) {
            Some(dscp) => Err(format!("{dscp} is no code point; those are 0 to {DSCP_MAX}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_code_point_of_a_class() {
        let marks = Marks::default().and("storage=26").and_then(|marks| marks.and("migration=0")).unwrap();
        assert_eq!(
            (marks.of(Class::Storage), marks.of(Class::Migration), marks.of(Class::Backup)),
            (Some(26), Some(0), None)
        );
        assert!(marks.any() && !Marks::default().any());
        for (text, says) in [
            ("storage=64", "0 to 63"),
            ("storage", "CLASS=DSCP"),
            ("storage=AF31", "0 to 63"),
            ("csv=26", "no class"),
        ] {
            let why = Marks::default().and(text).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        assert!(Marks { backup: Some(64), ..Marks::default() }.check().is_err());
    }
}
