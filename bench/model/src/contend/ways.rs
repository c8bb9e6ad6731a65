//! Where classes go that do not go as the others do: the transport of each, and its NICs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ContendSpec;
use crate::Class;

/// Most NICs of a class.
const NICS_MAX: usize = 32;

/// Where one class goes; what it does not say it has in common with all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassWay {
    /// Its transport, without options of its own; absent for that of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// The NICs of the client that its connections go over; none for those that the transport chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<String>,
}

impl ClassWay {
    /// Whether the class goes as all others do.
    pub fn is_common(&self) -> bool {
        *self == ClassWay::default()
    }
}

/// Where the classes go, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassWays {
    /// Storage.
    #[serde(skip_serializing_if = "ClassWay::is_common")]
    pub storage: ClassWay,
    /// All migrations.
    #[serde(skip_serializing_if = "ClassWay::is_common")]
    pub migration: ClassWay,
    /// All backups.
    #[serde(skip_serializing_if = "ClassWay::is_common")]
    pub backup: ClassWay,
}

impl ClassWays {
    /// That of a class; `None` for what always goes as the step does.
    pub fn of(&self, class: Class) -> Option<&ClassWay> {
        match class {
            Class::Storage => Some(&self.storage),
            Class::Migration => Some(&self.migration),
            Class::Backup => Some(&self.backup),
            Class::Heartbeat | Class::Default | Class::Probe | Class::Other => None,
        }
    }

    /// Whether a class has one of its own.
    pub fn any(&self) -> bool {
        *self != ClassWays::default()
    }

    /// Whether all go alike.
    pub fn none(&self) -> bool {
        !self.any()
    }

    /// These, and the transport that `text` gives a class: `storage=smbd`. Whether there is such a one is not asked here.
    pub fn with_over(mut self, text: &str) -> Result<ClassWays, String> {
        let (class, over) = text.split_once('=').ok_or_else(|| {
            format!("cannot read {text:?}; write CLASS=TRANSPORT, for example storage=smbd")
        })?;
        self.place(class)?.over = Some(over.into());
        Ok(self)
    }

    /// These, and the NICs that `text` gives a class: `storage=eth0` or `storage=eth0+eth1`. What is said of a class again adds to them.
    pub fn with_nics(mut self, text: &str) -> Result<ClassWays, String> {
        let wrong = || {
            format!("cannot read {text:?}; write CLASS=NIC, for example storage=eth0 or storage=eth0+eth1")
        };
        let (class, nics) = text.split_once('=').ok_or_else(wrong)?;
        let nics: Vec<&str> = nics.split('+').collect();
        if nics.contains(&"") {
            return Err(wrong());
        }
        let own = &mut self.place(class)?.nics;
        for nic in nics {
            if !own.iter().any(|known| known == nic) {
                own.push(nic.into());
            }
        }
        Ok(self)
    }

    fn place(&mut self, class: &str) -> Result<&mut ClassWay, String> {
        match class {
            "storage" => Ok(&mut self.storage),
            "migration" => Ok(&mut self.migration),
            "backup" => Ok(&mut self.backup),
            _ => Err(format!(
                "{class:?} is no class that goes a way of its own; those are storage, migration and backup"
            )),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for way in [&self.storage, &self.migration, &self.backup] {
            if way.nics.len() > NICS_MAX {
                return Err(format!("{} NICs of a class; name at most {NICS_MAX}", way.nics.len()));
            }
            if way.nics.iter().any(String::is_empty) {
                return Err("a NIC of a class has no name; leave it out".into());
            }
        }
        Ok(())
    }
}

impl ContendSpec {
    /// The transport of a class.
    pub fn over_of(&self, class: Class) -> &str {
        self.ways.of(class).and_then(|way| way.over.as_deref()).unwrap_or(&self.over)
    }

    /// The NICs of the client that a class goes over; none for those that its transport chooses.
    pub fn nics_of(&self, class: Class) -> &[String] {
        self.ways.of(class).map(|way| &way.nics[..]).unwrap_or_default()
    }

    /// The options of a class's transport: they are those of the step, so another transport has none.
    pub fn options_of(&self, class: Class) -> BTreeMap<String, String> {
        if self.over_of(class) == self.over { self.options.clone() } else { BTreeMap::new() }
    }

    /// The classes that carry something, and run at all.
    pub fn carrying(&self) -> impl Iterator<Item = Class> + '_ {
        let all = [Class::Storage, Class::Migration, Class::Backup].into_iter();
        all.filter(move |class| *class != Class::Backup || self.backups > 0)
    }

    /// Every transport that the step goes over, each once, that of the step first.
    pub fn overs(&self) -> Vec<&str> {
        let mut overs = vec![self.over.as_str()];
        for class in self.carrying() {
            let over = self.over_of(class);
            if !overs.contains(&over) {
                overs.push(over);
            }
        }
        overs
    }

    /// Whether storage and migrations have NICs of their own, and none in common.
    pub fn is_apart(&self) -> bool {
        let (storage, migration) = (self.nics_of(Class::Storage), self.nics_of(Class::Migration));
        let both = !storage.is_empty() && !migration.is_empty();
        both && storage.iter().all(|nic| !migration.contains(nic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_its_transport_and_its_nics_and_another_word_is_refused() {
        let ways = ClassWays::default().with_over("storage=smbd").unwrap();
        let ways =
            ways.with_nics("migration=eth1+eth2").and_then(|ways| ways.with_nics("migration=eth2+eth3"));
        let ways = ways.unwrap();
        assert_eq!(ways.of(Class::Storage).unwrap().over.as_deref(), Some("smbd"));
        assert_eq!(ways.of(Class::Migration).unwrap().nics, ["eth1", "eth2", "eth3"]);
        assert!(ways.backup.is_common() && ways.any() && ClassWays::default().none());
        assert_eq!(ways.of(Class::Heartbeat), None);
        for (text, says) in [
            ("storage", "CLASS=TRANSPORT"),
            ("csv=tcp", "storage, migration and backup"),
            ("heartbeat=tcp", "storage, migration and backup"),
        ] {
            let why = ClassWays::default().with_over(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        for (text, says) in [
            ("storage", "CLASS=NIC"),
            ("storage=", "CLASS=NIC"),
            ("storage=eth0+", "CLASS=NIC"),
            ("csv=eth0", "storage, migration and backup"),
        ] {
            let why = ClassWays::default().with_nics(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn what_a_plan_may_say_of_nics_is_bounded() {
        let with = |nics| ClassWays { storage: ClassWay { nics, over: None }, ..ClassWays::default() };
        assert!(with(vec!["e0".to_owned(); NICS_MAX]).check().is_ok());
        assert!(with(vec!["e0".to_owned(); NICS_MAX + 1]).check().unwrap_err().contains("at most 32"));
        assert!(with(vec![String::new()]).check().unwrap_err().contains("no name"));
        let plain = serde_json::to_string(&with(vec!["e0".into()])).unwrap();
        assert_eq!(plain, r#"{"storage":{"nics":["e0"]}}"#);
    }

    #[test]
    fn a_class_goes_its_own_way_and_all_others_that_of_the_step() {
        let mut spec = ContendSpec { over: "multi".into(), ..ContendSpec::default() };
        spec.options.insert("policy".into(), "linux".into());
        assert_eq!((spec.overs(), spec.is_apart()), (vec!["multi"], false));
        spec.ways.storage.over = Some("smbd".into());
        spec.ways.backup.over = Some("rdma".into());
        assert_eq!(spec.overs(), ["multi", "smbd"], "no backup runs");
        for flow in spec.flows() {
            let own = flow.class == Class::Storage;
            assert_eq!(flow.traffic.over, if own { "smbd" } else { "multi" }, "{}", flow.name);
            assert_eq!(flow.traffic.options.is_empty(), own, "options are those of a transport");
        }
        spec.ways.storage = ClassWay { over: None, nics: vec!["e0".into()] };
        assert!(!spec.is_apart(), "migrations may go over any");
        spec.ways.migration.nics = vec!["e1".into(), "e0".into()];
        assert!(!spec.is_apart());
        spec.ways.migration.nics.pop();
        assert!(spec.is_apart());
    }
}
