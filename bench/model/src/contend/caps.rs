//! What each class may send at most: as `Set-SmbBandwidthLimit` understands it, in bytes per second, never less than 1 MiB/s.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Class;

/// Least that Windows takes.
const LEAST_BYTES_PER_S: u64 = 1 << 20;
/// What may be caught up with at once after a pause, as time at the cap, in ns. Windows does not publish its own.
const BURST_NS: u64 = 10_000_000;

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
        let bytes_per_s = match class {
            Class::Storage => self.storage,
            Class::Migration => self.migration,
            Class::Backup => self.backup,
            Class::Heartbeat | Class::Default | Class::Probe | Class::Other => None,
        };
        bytes_per_s.map(|bytes_per_s| Cap { bytes_per_s, burst_ns: BURST_NS })
    }

    /// These, and what `text` says of a class: `migration=500MB`, as PowerShell reads it.
    pub fn and(mut self, text: &str) -> Result<Caps, CapsError> {
        let fail = |why| CapsError { text: text.into(), why };
        let (class, rate) =
            text.split_once('=').ok_or(fail("write CLASS=BYTES, for example migration=500MB"))?;
        let place = match class {
            "storage" => &mut self.storage,
            "migration" => &mut self.migration,
            "backup" => &mut self.backup,
            _ => return Err(fail("the classes are storage, migration and backup")),
        };
        let bytes = power_shell(rate)
            .ok_or(fail("write bytes per second as PowerShell does: a number with KB, MB or GB, which are 1024, 1024² and 1024³"))?;
        if bytes < LEAST_BYTES_PER_S {
            return Err(fail("Windows takes no cap below 1MB, which is 1 MiB/s"));
        }
        *place = Some(bytes);
        Ok(self)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let all = [self.storage, self.migration, self.backup];
        match all.into_iter().flatten().any(|cap| cap < LEAST_BYTES_PER_S) {
            true => Err("a cap of less than 1 MiB/s is not one that Windows takes".into()),
            false => Ok(()),
        }
    }
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
}
