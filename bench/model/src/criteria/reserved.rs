//! What of a shared path is reserved for each class, as hosts and switches have it configured (ETS). Whoever knows it may expect it; nothing
//! else can tell what it should be.

use super::ContendCriteria;
use crate::Class;

/// Shares that were rounded to whole percents may add up to a little more than the whole.
const ROUNDED: f64 = 0.005;

impl ContendCriteria {
    /// What is reserved for a class, as a share of what all that carry something carry together.
    pub fn reserved_share(&self, class: Class) -> Option<f64> {
        match class {
            Class::Storage => self.storage_reserved_share,
            Class::Migration => self.migration_reserved_share,
            Class::Backup => self.backup_reserved_share,
            Class::Heartbeat | Class::Default | Class::Probe | Class::Other => None,
        }
    }

    /// Takes what `text` says is reserved for a class, in percent: `storage=67`.
    pub fn reserve(&mut self, text: &str) -> Result<(), String> {
        let read = text.split_once('=').and_then(|(class, percent)| {
            let percent = percent.strip_suffix('%').unwrap_or(percent);
            Some((class, percent.trim().parse::<f64>().ok()?))
        });
        let (class, percent) = read.ok_or_else(|| {
            format!("cannot read {text:?} as a share; write CLASS=PERCENT, for example storage=50")
        })?;
        let place = match class {
            "storage" => &mut self.storage_reserved_share,
            "migration" => &mut self.migration_reserved_share,
            "backup" => &mut self.backup_reserved_share,
            _ => {
                return Err(format!(
                    "{class:?} is no class that something is reserved for; those are storage, migration and backup"
                ));
            }
        };
        *place = Some(percent / 100.0);
        self.check_reserved()
    }

    /// Refuses shares that nobody can have.
    pub(super) fn check_reserved(&self) -> Result<(), String> {
        let all = [
            ("storage", self.storage_reserved_share),
            ("migration", self.migration_reserved_share),
            ("backup", self.backup_reserved_share),
        ];
        let known = || all.into_iter().filter_map(|(class, share)| Some((class, share?)));
        let possible = |share: f64| share > 0.0 && share <= 1.0;
        if let Some((class, share)) = known().find(|(_, share)| !possible(*share)) {
            return Err(format!(
                "{:.1} % are reserved for {class}, and what is reserved is more than 0 and at most 100 %",
                share * 100.0
            ));
        }
        let sum: f64 = known().map(|(_, share)| share).sum();
        if sum > 1.0 + ROUNDED {
            return Err(format!("{:.0} % are reserved altogether, and a path has 100", sum * 100.0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Class, Criteria};

    #[test]
    fn what_is_reserved_is_typed_in_percent_and_kept_as_a_share() {
        let mut limits = Criteria::default().contend;
        assert_eq!(limits.reserved_share(Class::Storage), None);
        for text in ["storage=66.7", "migration=30%", "backup=3.3"] {
            limits.reserve(text).unwrap();
        }
        let shares = [Class::Storage, Class::Migration, Class::Backup, Class::Heartbeat];
        let shares = shares.map(|class| limits.reserved_share(class).map(|share| (share * 1000.0).round()));
        assert_eq!(shares, [Some(667.0), Some(300.0), Some(33.0), None]);
        // The last word counts.
        limits.reserve("storage=50").unwrap();
        assert_eq!(limits.storage_reserved_share, Some(0.5));
    }

    #[test]
    fn shares_that_nobody_can_have_are_refused_wherever_they_stand() {
        let refused = |texts: &[&str]| {
            let mut limits = Criteria::default().contend;
            let told = texts.iter().try_for_each(|text| limits.reserve(text));
            told.unwrap_err()
        };
        for (texts, says) in [
            (&["storage"][..], "CLASS=PERCENT"),
            (&["storage=half"], "CLASS=PERCENT"),
            (&["csv=50"], "storage, migration and backup"),
            (&["heartbeat=2"], "storage, migration and backup"),
            (&["storage=0"], "more than 0"),
            (&["storage=-5"], "more than 0"),
            (&["storage=NaN"], "more than 0"),
            (&["storage=101"], "at most 100 %"),
            (&["storage=70", "migration=40"], "110 %"),
        ] {
            let why = refused(texts);
            assert!(why.contains(says), "{texts:?}: {why}");
        }
        let file = |text: &str| Criteria::from_toml(text);
        let own = file("[contend]\nstorage_reserved_share = 0.5\nmigration_reserved_share = 0.5").unwrap();
        assert_eq!(own.contend.reserved_share(Class::Migration), Some(0.5));
        let why = file("[contend]\nstorage_reserved_share = 50").unwrap_err().to_string();
        assert!(why.contains("at most 100 %"), "{why}");
        let why = file("[contend]\nreserved_share_off_max = 5").unwrap_err().to_string();
        assert!(why.contains("reserved_share_off_max"), "{why}");
    }
}
