//! The marks that classes travel with, by which switches and hosts tell them apart: differentiated services code points (RFC 2474) in
//! their packets, and priorities (IEEE 802.1Q, "802.1p") in the tags of their frames.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ArrivedMark, Class, Direction};

/// What a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A code point.
    Dscp,
    /// A priority of 802.1p.
    Priority,
}

impl MarkKind {
    /// The largest one.
    pub fn most(self) -> u8 {
        match self {
            MarkKind::Dscp => 63,
            MarkKind::Priority => 7,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            MarkKind::Dscp => ("CLASS=DSCP", "a code point"),
            MarkKind::Priority => ("CLASS=PRIORITY", "a priority"),
        }
    }
}

/// That of heartbeats to which nobody gives another: CS6, as what keeps networks running is marked.
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
    /// Priority of the sockets that sent them, which a VLAN device puts into the tags of the frames (802.1p); `null` where it was left to the
    /// system.
    #[serde(default)]
    pub priority: Option<u8>,
    /// The priorities in the tags that they arrived with, each with its number, the most frequent first; `null` where the end that they
    /// arrived at does not see them.
    #[serde(default)]
    pub arrived_priorities: Option<Vec<ArrivedPriority>>,
    /// Why it does not, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priorities_reason: Option<String>,
}

/// How RDMA packets of the classes that go by RDMA arrived, one way. They do not tell which class they are of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RdmaMarks {
    /// Which way they went, as the client sees it.
    pub direction: Direction,
    /// The classes that go by RDMA.
    pub classes: Vec<Class>,
    /// How those arrived that the receiving end's NIC showed to the kernel, a part of all, the most frequent first; `null` where it showed none.
    pub arrived: Option<Vec<ArrivedMark>>,
    /// Why it did not, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How some frames arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArrivedPriority {
    /// Priority in the tag (802.1p); `null` for frames without one.
    pub priority: Option<u8>,
    /// How many.
    pub count: u64,
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

    /// How most of them arrived, where that is with another priority than they were sent with. A frame without a tag has none, which is what
    /// priority 0 means.
    pub fn priority_changed_to(&self) -> Option<ArrivedPriority> {
        let (sent, arrived) = (self.priority?, self.arrived_priorities.as_ref()?);
        let all = arrived.iter().map(|came| came.count).fold(0, u64::saturating_add);
        let other = arrived.iter().filter(|came| came.priority.unwrap_or(0) != sent);
        let changed = other.clone().map(|came| came.count).fold(0, u64::saturating_add);
        let most = other.max_by_key(|came| came.count)?;
        (changed > all / 2).then_some(*most)
    }
}

/// Code points or priorities by class; what has none travels as the system sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Marks {
    /// Of heartbeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<u8>,
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
            Class::Heartbeat => self.heartbeat,
            Class::Default | Class::Probe | Class::Other => None,
        }
    }

    /// Whether a class has one.
    pub fn any(&self) -> bool {
        *self != Marks::default()
    }

    /// Whether none has.
    pub fn none(&self) -> bool {
        !self.any()
    }

    /// These, and what `text` says of a class: `storage=26`.
    pub fn and(mut self, kind: MarkKind, text: &str) -> Result<Marks, String> {
        let most = kind.most();
        let read = text
            .split_once('=')
            .and_then(|(class, mark)| Some((class, mark.parse::<u8>().ok().filter(|mark| *mark <= most)?)));
        let (class, mark) = read.ok_or_else(|| {
            let (form, what) = kind.words();
            format!("cannot read {text:?} as a mark; write {form} with {what} of 0 to {most}")
        })?;
        let place = match class {
            "heartbeat" => &mut self.heartbeat,
            "storage" => &mut self.storage,
            "migration" => &mut self.migration,
            "backup" => &mut self.backup,
            _ => {
                return Err(format!(
                    "{class:?} is no class that can be marked; those are heartbeat, storage, migration and backup"
                ));
            }
        };
        *place = Some(mark);
        Ok(self)
    }

    pub(super) fn check(&self, kind: MarkKind) -> Result<(), String> {
        let (all, most) = ([self.heartbeat, self.storage, self.migration, self.backup], kind.most());
        match all.into_iter().flatten().find(|mark| *mark > most) {
            Some(mark) => Err(format!("{mark} is not {}; those are 0 to {most}", kind.words().1)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_code_point_or_a_priority_of_a_class() {
        let and = |marks: Marks, text| marks.and(MarkKind::Dscp, text);
        let marks = and(Marks::default(), "storage=26").and_then(|marks| and(marks, "migration=0")).unwrap();
        assert_eq!(
            (marks.of(Class::Storage), marks.of(Class::Migration), marks.of(Class::Backup)),
            (Some(26), Some(0), None)
        );
        assert!(marks.any() && Marks::default().none());
        let beats = and(Marks::default(), "heartbeat=56").unwrap();
        assert_eq!((beats.of(Class::Heartbeat), beats.any()), (Some(56), true));
        for (text, says) in [
            ("storage=64", "0 to 63"),
            ("storage", "CLASS=DSCP"),
            ("storage=AF31", "0 to 63"),
            ("csv=26", "no class"),
        ] {
            let why = and(Marks::default(), text).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        let why = Marks::default().and(MarkKind::Priority, "storage=8").unwrap_err();
        assert!(why.contains("CLASS=PRIORITY with a priority of 0 to 7"), "{why}");
        let beats = |heartbeat| Marks { heartbeat: Some(heartbeat), ..Marks::default() };
        assert!(beats(64).check(MarkKind::Dscp).is_err() && beats(8).check(MarkKind::Priority).is_err());
        let of = |backup| Marks { backup: Some(backup), ..Marks::default() };
        assert!(of(64).check(MarkKind::Dscp).is_err() && of(63).check(MarkKind::Dscp).is_ok());
        assert!(of(8).check(MarkKind::Priority).is_err() && of(7).check(MarkKind::Priority).is_ok());
    }

    #[test]
    fn a_priority_has_changed_where_most_arrive_with_another_one() {
        let became = |priority, arrived: &[(Option<u8>, u64)]| {
            let came = arrived
                .iter()
                .map(|(priority, count)| ArrivedPriority { priority: *priority, count: *count });
            let mark =
                ClassMark { priority, arrived_priorities: Some(came.collect()), ..ClassMark::default() };
            mark.priority_changed_to().map(|came| came.priority)
        };
        assert_eq!(became(Some(3), &[(Some(3), 20)]), None);
        assert_eq!(became(Some(3), &[(Some(4), 12), (Some(3), 8)]), Some(Some(4)));
        assert_eq!(became(Some(3), &[(Some(3), 12), (Some(4), 8)]), None);
        assert_eq!(became(Some(3), &[(None, 20)]), Some(None), "the tag was taken off");
        assert_eq!(became(Some(0), &[(None, 20)]), None, "no tag is priority 0");
        assert_eq!(became(None, &[(Some(4), 20)]), None, "nobody said with which it was sent");
        assert_eq!(became(Some(3), &[]), None);
        assert_eq!(
            ClassMark { priority: Some(3), ..ClassMark::default() }.priority_changed_to(),
            None,
            "not seen"
        );
    }
}
