//! What each class may send at most: as `Set-SmbBandwidthLimit` understands it, in bytes per second, never less than 1 MiB/s.
//!
//! Windows knows three categories, and each is a class of the rehearsal: VirtualMachine (guests' disks on shares) is storage, LiveMigration
//! is migrations, and Default (whatever else goes over SMB) is backups.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Class;
use crate::units::Bytes;

/// Least that Windows takes.
const LEAST_BYTES_PER_S: u64 = 1 << 20;
/// What may be caught up with at once after a pause, as time at the cap, in ns. Windows does not publish its own.
const BURST_NS: u64 = 10_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Caps by class, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// Of storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<u64>,
    /// Of all migrations together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<u64>,
    /// Of all backups together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<u64>,
    /// What each may catch up with at once after a pause.
    #[serde(skip_serializing_if = "Bursts::none")]
    pub burst_bytes: Bursts,
}

/// Bursts by class, in bytes; one that is not set is as much as its cap lets through in 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bursts {
    /// Of storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<u64>,
    /// Of all migrations together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<u64>,
    /// Of all backups together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<u64>,
}

impl Bursts {
    /// Whether a class has one of its own.
    pub fn any(&self) -> bool {
        *self != Bursts::default()
    }

    /// Whether none has.
    pub fn none(&self) -> bool {
        !self.any()
    }
}

/// A cap as a lane keeps it: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Payload, in bytes per second.
    pub bytes_per_s: u64,
    /// How far a lane may fall behind and still catch up, in ns.
    pub burst_ns: u64,
}

/// Why a cap could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("cannot read {text:?} as a cap; {why}")]
pub struct CapsError {
    text: String,
    why: &'static str,
}

impl Caps {
    /// That of a class.
    pub fn of(&self, class: Class) -> Option<Cap> {
        let (bytes_per_s, burst_bytes) = match class {
            Class::Storage => (self.storage, self.burst_bytes.storage),
            Class::Migration => (self.migration, self.burst_bytes.migration),
            Class::Backup => (self.backup, self.burst_bytes.backup),
            Class::Heartbeat | Class::Default | Class::Probe | Class::Other => (None, None),
        };
        let bytes_per_s = bytes_per_s?;
        let burst_ns = burst_bytes.map_or(BURST_NS, |bytes| time_ns(bytes, bytes_per_s));
        Some(Cap { bytes_per_s, burst_ns })
    }

    /// These, and what `text` says of a class or a category of Windows: `migration=500MB`, `default=100MB,burst=1MB`, as PowerShell reads it.
    /// The last word on a class counts.
    pub fn and(mut self, text: &str) -> Result<Caps, CapsError> {
        let fail = |why| CapsError { text: text.into(), why };
        let (class, said) =
            text.split_once('=').ok_or(fail("write CLASS=BYTES, for example migration=500MB"))?;
        let (rate, burst) = said.split_once(',').map_or((said, None), |(rate, burst)| (rate, Some(burst)));
        let (cap, own_burst) = match class.trim().to_ascii_lowercase().replace('-', "").as_str() {
            "storage" | "virtualmachine" | "vm" => (&mut self.storage, &mut self.burst_bytes.storage),
            "migration" | "livemigration" => (&mut self.migration, &mut self.burst_bytes.migration),
            "backup" | "default" => (&mut self.backup, &mut self.burst_bytes.backup),
            _ => {
                return Err(fail(
                    "the classes are storage, migration and backup, or as Windows has them virtual-machine, live-migration and default",
                ));
            }
        };
        let bytes = power_shell(rate)
            .ok_or(fail("write bytes per second as PowerShell does: a number with KB, MB or GB, which are 1024, 1024² and 1024³"))?;
        if bytes < LEAST_BYTES_PER_S {
            return Err(fail("Windows takes no cap below 1MB, which is 1 MiB/s"));
        }
        let burst_bytes = match burst {
            None => None,
            Some(burst) => Some(typed_burst(burst).ok_or(fail(
                "write what may be caught up with at once behind the cap, for example migration=500MB,burst=1MiB",
            ))?),
        };
        if burst_bytes.is_some_and(|burst_bytes| !is_burst(burst_bytes, bytes)) {
            return Err(fail(BURST_RANGE));
        }
        (*cap, *own_burst) = (Some(bytes), burst_bytes);
        Ok(self)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let burst = &self.burst_bytes;
        let all = [
            ("storage", self.storage, burst.storage),
            ("migration", self.migration, burst.migration),
            ("backup", self.backup, burst.backup),
        ];
        if all.iter().any(|(_, cap, _)| cap.is_some_and(|cap| cap < LEAST_BYTES_PER_S)) {
            return Err("a cap of less than 1 MiB/s is not one that Windows takes".into());
        }
        for (class, cap, burst) in
            all.into_iter().filter_map(|(class, cap, burst)| Some((class, cap, burst?)))
        {
            match cap {
                None => return Err(format!("a burst is a part of a cap, and {class} has none")),
                Some(cap) if !is_burst(burst, cap) => return Err(format!("of {class}: {BURST_RANGE}")),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// What a burst may be.
const BURST_RANGE: &str = "a burst is at least a byte and at most what its cap lets through in a second";

/// Nobody catches up with nothing, and after a second's worth a cap would be none in phases of seconds.
fn is_burst(burst_bytes: u64, bytes_per_s: u64) -> bool {
    (1..=bytes_per_s).contains(&burst_bytes)
}

/// How long it takes to send so much at a rate, in ns.
fn time_ns(bytes: u64, bytes_per_s: u64) -> u64 {
    let ns = u128::from(bytes) * u128::from(SECOND_NS) / u128::from(bytes_per_s.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// `burst=1MB` as PowerShell has it, or `burst=1MiB` as sizes are typed elsewhere, which is the same.
fn typed_burst(text: &str) -> Option<u64> {
    let (name, bytes) = text.trim().split_once('=')?;
    let sized = || bytes.parse::<Bytes>().ok().map(|bytes| bytes.0);
    (name.trim() == "burst").then(|| power_shell(bytes).or_else(sized)).flatten()
}

/// A number with PowerShell's suffixes, which are powers of 1024 (about_Numeric_Literals).
fn power_shell(text: &str) -> Option<u64> {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(at);
    let power = match suffix.to_ascii_lowercase().as_str() {
        "" => 0,
        "kb" => 1,
        "mb" => 2,
        "gb" => 3,
        "tb" => 4,
        _ => return None,
    };
    let bytes = f64::from_str(number).ok()? * 1024f64.powi(power);
    (bytes.is_finite() && bytes < 1e15).then_some(bytes as u64)
}

/// A cap as it is typed in PowerShell.
pub fn typed(bytes_per_s: u64) -> String {
    match bytes_per_s.is_multiple_of(1 << 20) {
        true => format!("{}MB", bytes_per_s >> 20),
        false => bytes_per_s.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_read_as_power_shell_reads_it() {
        let migration = |text: &str| Caps::default().and(text).map(|caps| caps.migration);
        assert_eq!(migration("migration=500MB"), Ok(Some(500 << 20)));
        assert_eq!(migration("migration=1.5gb"), Ok(Some(3 << 29)));
        assert_eq!(migration("migration=1048576"), Ok(Some(1 << 20)));
        assert_eq!(migration("storage=2048KB"), Ok(None));
        let both = Caps::default().and("storage=20MB").and_then(|caps| caps.and("backup=30MB")).unwrap();
        assert_eq!((both.storage, both.migration, both.backup), (Some(20 << 20), None, Some(30 << 20)));
        assert!(both.burst_bytes.none());
        for (text, says) in [
            ("migration", "CLASS=BYTES"),
            ("csv=5MB", "storage, migration and backup"),
            ("migration=5MiB", "PowerShell"),
            ("migration=-5MB", "PowerShell"),
            ("migration=1e999MB", "PowerShell"),
            ("migration=1023KB", "1 MiB/s"),
            ("migration=", "PowerShell"),
        ] {
            let error = migration(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(text), "{error}");
        }
        assert_eq!((typed(500 << 20), typed(1_500_000)), ("500MB".into(), "1500000".into()));
    }

    #[test]
    fn the_categories_of_windows_are_the_classes_that_belong_to_them() {
        let caps = |texts: &[&str]| {
            let all = texts.iter().try_fold(Caps::default(), |caps, text| caps.and(text)).unwrap();
            (all.storage, all.migration, all.backup)
        };
        let all = (Some(1 << 20), Some(2 << 20), Some(3 << 20));
        assert_eq!(caps(&["virtual-machine=1MB", "live-migration=2MB", "default=3MB"]), all);
        assert_eq!(caps(&["VirtualMachine=1MB", "LiveMigration=2MB", "Default=3MB"]), all);
        assert_eq!(
            caps(&["vm=9MB", "storage=1MB", "migration=2MB", "backup=3MB"]),
            all,
            "the last word counts"
        );
    }

    #[test]
    fn a_burst_is_typed_behind_its_cap_and_kept_as_time_at_it() {
        let migration = |text: &str| Caps::default().and(text).map(|caps| caps.of(Class::Migration).unwrap());
        let burst_ns = |text: &str| migration(text).unwrap().burst_ns;
        assert_eq!(burst_ns("migration=500MB"), BURST_NS);
        // A hundredth of what the cap lets through in a second.
        assert_eq!(burst_ns("migration=100MB,burst=1MB"), 10_000_000);
        assert_eq!(burst_ns("migration=100MB, burst=1MiB"), 10_000_000);
        assert_eq!(burst_ns("migration=64MB,burst=64KiB"), 976_562);
        assert_eq!(burst_ns("migration=1MB,burst=1MB"), SECOND_NS);
        let again = Caps::default().and("vm=9MB,burst=1MB").and_then(|caps| caps.and("vm=9MB")).unwrap();
        assert!(again.burst_bytes.none(), "a cap of its own has the burst that is said with it");
        for (text, says) in [
            ("migration=500MB,burst", "burst=1MiB"),
            ("migration=500MB,burst=", "burst=1MiB"),
            ("migration=500MB,bucket=1MB", "burst=1MiB"),
            ("migration=500MB,burst=1MB,burst=2MB", "burst=1MiB"),
            ("migration=500MB,burst=0", "at least a byte"),
            ("migration=1MB,burst=2MB", "in a second"),
        ] {
            let error = migration(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(text), "{error}");
        }
        // What a peer, or a plan, says of bursts.
        let of = |migration, burst| Caps {
            migration,
            burst_bytes: Bursts { migration: Some(burst), ..Bursts::default() },
            ..Caps::default()
        };
        assert_eq!(of(Some(1 << 20), 1 << 20).check(), Ok(()));
        assert!(of(None, 1).check().unwrap_err().contains("migration has none"));
        assert!(of(Some(1 << 20), u64::MAX).check().unwrap_err().contains("in a second"));
        assert!(of(Some(1 << 20), 0).check().unwrap_err().contains("at least a byte"));
        let plain = serde_json::to_string(&Caps { backup: Some(1 << 20), ..Caps::default() }).unwrap();
        assert_eq!(plain, r#"{"backup":1048576}"#, "an earlier build reads what it always read");
    }
}
