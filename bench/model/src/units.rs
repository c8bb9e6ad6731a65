//! Quantities as people type and read them: sizes, times and rates, with their units.
//!
//! Parsing is strict: an unknown unit is an error that lists the known ones, because a silently wrong factor
//! of 1.024 or 8 is the oldest fault of this kind of tool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a quantity could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("cannot read {text:?} as a {what}; write a number and one of: {units}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    units: &'static str,
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

/// Multiplies a decimal number by an integer factor exactly; `None` when malformed, negative or too large.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let digits: String = number.chars().filter(|c| *c != '_').collect();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10u128.pow(fraction.len() as u32);
    let total = whole.checked_mul(u128::from(factor))?.checked_add(part * u128::from(factor) / scale)?;
    u64::try_from(total).ok()
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $what:literal, $units:literal, $lookup:expr) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            schemars::JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                let fail = || UnitError { text: text.into(), what: $what, units: $units };
                let (number, unit) = split(text);
                let lookup: fn(&str) -> Option<(u64, u64)> = $lookup;
                let (multiply, divide) = lookup(unit).ok_or_else(fail)?;
                scaled(number, multiply).map(|n| $name(n / divide)).ok_or_else(fail)
            }
        }
    };
}

quantity!(
    /// A number of bytes. Bare numbers are bytes; `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024, `kB`, `MB`,
    /// `GB`, `TB` powers of 1000.
    Bytes,
    "size",
    "B, KiB, MiB, GiB, TiB, kB, MB, GB, TB (none means bytes)",
    |unit| Some((
        match unit {
            "" | "B" => 1,
            "KiB" | "K" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            "TiB" | "T" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        },
        1
    ))
);

quantity!(
    /// A span of time in nanoseconds. Bare numbers are seconds.
    Nanoseconds,
    "time",
    "ns, us, ms, s, min, h (none means seconds)",
    |unit| Some((
        match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "" | "s" => 1_000_000_000,
            "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        },
        1
    ))
);

quantity!(
    /// A data rate in bits per second. Bytes per second count eightfold; prefixes without `i` are decimal.
    BitsPerSecond,
    "rate",
    "bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s (none means bit/s)",
    |unit| Some((
        match unit {
            "" | "bit/s" | "bps" => 1,
            "kbit/s" | "kbps" => 1_000,
            "Mbit/s" | "Mbps" | "Mb/s" => 1_000_000,
            "Gbit/s" | "Gbps" | "Gb/s" => 1_000_000_000,
            "B/s" => 8,
            "kB/s" | "KB/s" => 8_000,
            "MB/s" => 8_000_000,
            "GB/s" => 8_000_000_000,
            "KiB/s" => 8 << 10,
            "MiB/s" => 8 << 20,
            "GiB/s" => 8 << 30,
            _ => return None,
        },
        1
    ))
);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit {
                return match self.0 % unit {
                    0 => write!(f, "{} {name}", self.0 / unit),
                    _ => write!(f, "{:.2} {name}", self.0 as f64 / unit as f64),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} ns", self.0),
            1_000..1_000_000 => write!(f, "{:.1} µs", ns / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.2} ms", ns / 1e6),
            1_000_000_000..120_000_000_000 => write!(f, "{:.2} s", ns / 1e9),
            _ => write!(f, "{:.1} min", ns / 60e9),
        }
    }
}

impl fmt::Display for BitsPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} bit/s", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kbit/s", bits / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} Mbit/s", bits / 1e6),
            _ => write!(f, "{:.2} Gbit/s", bits / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_rates_keep_their_units_apart() {
        for (text, bytes) in [("7", 7), ("128KiB", 131_072), ("1.5 GiB", 1_610_612_736), ("4kB", 4000)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for (text, ns) in [("2", 2_000_000_000), ("250ms", 250_000_000), ("1.5min", 90_000_000_000)] {
            assert_eq!(text.parse(), Ok(Nanoseconds(ns)), "{text}");
        }
        for (text, bits) in [("20MB/s", 160_000_000), ("1Gbit/s", 1_000_000_000), ("1 MiB/s", 8_388_608)] {
            assert_eq!(text.parse(), Ok(BitsPerSecond(bits)), "{text}");
        }
    }

    #[test]
    fn an_unknown_unit_names_the_known_ones() {
        for text in ["12 parsecs", "", "-1", "1..2", "MiB", "99999999999999999999"] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains("KiB") && error.contains(text), "{error}");
        }
    }
}
