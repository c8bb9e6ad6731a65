//! Quantities as people type and read them: sizes, times and rates, with their units.
//!
//! One grammar for the command line, plan files and criteria: a number, then a unit as people type it (`128k`, `10G`, `1gbit`,
//! `5m`). Upper and lower case are the same wherever they cannot mean two things; where they can (`Mb/s` and `MB/s`), they are kept
//! apart. Parsing is strict beyond that: an unknown unit is an error that lists the known ones, because a silently wrong factor
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
    /// A number of bytes. Bare numbers are bytes; `KiB`, `MiB`, `GiB`, `TiB` and the letters alone are powers of 1024, `kB`,
    /// `MB`, `GB`, `TB` powers of 1000.
    Bytes,
    "size",
    "B, KiB, MiB, GiB, TiB (or K, M, G, T), kB, MB, GB, TB (none means bytes)",
    |unit| Some((
        match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        },
        1
    ))
);

quantity!(
    /// A span of time in nanoseconds. Bare numbers are seconds.
    Nanoseconds,
    "time",
    "ns, us, ms, s, min (or m), h, d (none means seconds)",
    |unit| Some((
        match unit.to_ascii_lowercase().as_str() {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "" | "s" | "sec" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        },
        1
    ))
);

quantity!(
    /// A data rate in bits per second. Bytes per second count eightfold; prefixes without `i` are decimal, and so is a letter alone.
    BitsPerSecond,
    "rate",
    "bit/s, kbit/s, Mbit/s, Gbit/s (or k, M, G, kbit, Mbit, Gbit), B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s (none means bit/s)",
    |unit| Some((
        match unit {
            // Only here do the two cases of a letter mean different things.
            "kb/s" | "kbps" => 1_000,
            "Mb/s" | "mb/s" | "Mbps" | "mbps" => 1_000_000,
            "Gb/s" | "gb/s" | "Gbps" | "gbps" => 1_000_000_000,
            "Tb/s" | "tb/s" | "Tbps" | "tbps" => 1_000_000_000_000,
            "b/s" | "bps" => 1,
            "B/s" => 8,
            "kB/s" | "KB/s" => 8_000,
            "MB/s" => 8_000_000,
            "GB/s" => 8_000_000_000,
            _ => match unit.to_ascii_lowercase().as_str() {
                "" | "bit" | "bit/s" => 1,
                "k" | "kbit" | "kbit/s" => 1_000,
                "m" | "mbit" | "mbit/s" => 1_000_000,
                "g" | "gbit" | "gbit/s" => 1_000_000_000,
                "t" | "tbit" | "tbit/s" => 1_000_000_000_000,
                "kib/s" => 8 << 10,
                "mib/s" => 8 << 20,
                "gib/s" => 8 << 30,
                _ => return None,
            },
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
        let sizes = [
            ("7", 7),
            ("128KiB", 131_072),
            ("1.5 GiB", 1_610_612_736),
            ("4kB", 4000),
            ("128k", 131_072),
            ("1m", 1 << 20),
        ];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        let times = [
            ("2", 2_000_000_000),
            ("250ms", 250_000_000),
            ("1.5min", 90_000_000_000),
            ("1m", 60_000_000_000),
        ];
        for (text, ns) in times {
            assert_eq!(text.parse(), Ok(Nanoseconds(ns)), "{text}");
        }
        let rates = [
            ("20MB/s", 160_000_000),
            ("20Mb/s", 20_000_000),
            ("1Gbit/s", 1_000_000_000),
            ("1 MiB/s", 8_388_608),
            ("10G", 10_000_000_000),
            ("1gbit", 1_000_000_000),
            ("90mbit", 90_000_000),
        ];
        for (text, bits) in rates {
            assert_eq!(text.parse(), Ok(BitsPerSecond(bits)), "{text}");
        }
    }

    #[test]
    fn what_could_mean_bits_or_bytes_is_refused() {
        for text in ["1MBPS", "1MBit/S x", "1MB", "1GiB", "1MBps"] {
            assert!(text.parse::<BitsPerSecond>().is_err(), "{text}");
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
