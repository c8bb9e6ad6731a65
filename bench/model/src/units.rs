//! Quantities as people type and read them: sizes, times and rates, with their units.
//!
//! One grammar for the command line, plan files and criteria: a number, then a unit as people type it (`128k`, `10G`, `1gbit`,
//! `1h30m`). The tables below are all of it: the parsers look units up in them, and `docs/OPTIONS.md` and `pathproof explain` are made from
//! them. Upper and lower case are the same wherever they cannot mean two things; where they can (`Mb/s` and `MB/s`), they are kept
//! apart. Parsing is strict beyond that: an unknown unit is an error that lists the known ones, because a silently wrong factor
//! of 1.024 or 8 is the oldest fault of this kind of tool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A unit: how it is spelled, and what it counts.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Its spellings; the first is the usual one. An empty one is a bare number.
    pub spelled: &'static [&'static str],
    /// Whether upper and lower case are the same.
    pub any_case: bool,
    /// How many of the smallest unit it is.
    pub factor: u64,
    /// That in words.
    pub means: &'static str,
}

const fn unit(spelled: &'static [&'static str], factor: u64, means: &'static str) -> Unit {
    Unit { spelled, any_case: true, factor, means }
}

const fn exact(spelled: &'static [&'static str], factor: u64, means: &'static str) -> Unit {
    Unit { spelled, any_case: false, factor, means }
}

/// How one sort of quantity is typed.
#[derive(Clone, Copy, Debug)]
pub struct Grammar {
    /// What it is: `size`, `time`, `rate`.
    pub what: &'static str,
    /// All its units.
    pub units: &'static [Unit],
    /// What is typed, and the same in the smallest unit.
    pub examples: &'static [(&'static str, u64)],
    /// What nobody can read for certain, and is refused.
    pub refused: &'static [&'static str],
    /// What else there is to know.
    pub note: &'static str,
    /// Whether several numbers may follow one another (`1h30m`).
    compound: bool,
    /// The units, for an error.
    known: &'static str,
}

/// Sizes in bytes.
pub const SIZES: Grammar = Grammar {
    what: "size",
    units: &[
        unit(&["B", "", "bytes"], 1, "a byte"),
        unit(&["KiB", "K", "Ki"], 1 << 10, "1024 bytes"),
        unit(&["MiB", "M", "Mi"], 1 << 20, "1024² bytes"),
        unit(&["GiB", "G", "Gi"], 1 << 30, "1024³ bytes"),
        unit(&["TiB", "T", "Ti"], 1 << 40, "1024⁴ bytes"),
        unit(&["kB"], 1_000, "1000 bytes"),
        unit(&["MB"], 1_000_000, "1000² bytes"),
        unit(&["GB"], 1_000_000_000, "1000³ bytes"),
        unit(&["TB"], 1_000_000_000_000, "1000⁴ bytes"),
    ],
    examples: &[
        ("9000", 9000),
        ("1M", 1 << 20),
        ("128k", 128 << 10),
        ("64KiB", 64 << 10),
        ("1.5G", 3 << 29),
        ("4kB", 4000),
        ("1 MB", 1_000_000),
    ],
    refused: &["1Mbit", "64 K B", "-1", "1..5M", ""],
    note: "A letter alone is a power of 1024, as in iperf3, fio and dd. A path MTU is a bare number of bytes: 9K could be 9000 or 9216.",
    compound: false,
    known: "B, KiB, MiB, GiB, TiB (or K, M, G, T), kB, MB, GB, TB (none means bytes)",
};

/// Spans of time in nanoseconds.
pub const TIMES: Grammar = Grammar {
    what: "time",
    units: &[
        unit(&["ns"], 1, "a nanosecond"),
        unit(&["us", "µs", "μs"], 1_000, "a microsecond"),
        unit(&["ms"], 1_000_000, "a millisecond"),
        unit(&["s", "", "sec"], 1_000_000_000, "a second"),
        unit(&["m", "min"], 60_000_000_000, "a minute"),
        unit(&["h"], 3_600_000_000_000, "an hour"),
        unit(&["d"], 86_400_000_000_000, "a day"),
    ],
    examples: &[
        ("2", 2_000_000_000),
        ("500ms", 500_000_000),
        ("250us", 250_000),
        ("1m", 60_000_000_000),
        ("1.5min", 90_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1m 30s", 90_000_000_000),
    ],
    refused: &["1m30", "30m1h", "1M30S5", "5 years", "-1s"],
    note: "Several may follow one another, the larger first, each with its unit. m is a minute; what is thousandths is ms.",
    compound: true,
    known: "ns, us, ms, s, m (or min), h, d, also several as 1h30m (none means seconds)",
};

/// Rates in bits per second.
pub const RATES: Grammar = Grammar {
    what: "rate",
    units: &[
        unit(&["bit/s", "", "bit"], 1, "a bit per second"),
        unit(&["kbit/s", "kbit", "k", "kbits/s", "kbits/sec"], 1_000, "1000 bit/s"),
        unit(&["Mbit/s", "Mbit", "M", "Mbits/s", "Mbits/sec"], 1_000_000, "1000² bit/s"),
        unit(&["Gbit/s", "Gbit", "G", "Gbits/s", "Gbits/sec"], 1_000_000_000, "1000³ bit/s"),
        unit(&["Tbit/s", "Tbit", "T", "Tbits/s", "Tbits/sec"], 1_000_000_000_000, "1000⁴ bit/s"),
        exact(&["b/s", "bps"], 1, "a bit per second"),
        exact(&["kb/s", "Kb/s", "kbps", "Kbps"], 1_000, "1000 bit/s"),
        exact(&["Mb/s", "mb/s", "Mbps", "mbps"], 1_000_000, "1000² bit/s"),
        exact(&["Gb/s", "gb/s", "Gbps", "gbps"], 1_000_000_000, "1000³ bit/s"),
        exact(&["Tb/s", "tb/s", "Tbps", "tbps"], 1_000_000_000_000, "1000⁴ bit/s"),
        exact(&["B/s"], 8, "a byte per second"),
        exact(&["kB/s", "KB/s"], 8_000, "1000 bytes per second"),
        exact(&["MB/s"], 8_000_000, "1000² bytes per second"),
        exact(&["GB/s"], 8_000_000_000, "1000³ bytes per second"),
        exact(&["TB/s"], 8_000_000_000_000, "1000⁴ bytes per second"),
        exact(&["KiB/s"], 8 << 10, "1024 bytes per second"),
        exact(&["MiB/s"], 8 << 20, "1024² bytes per second"),
        exact(&["GiB/s"], 8 << 30, "1024³ bytes per second"),
    ],
    examples: &[
        ("10G", 10_000_000_000),
        ("1gbit", 1_000_000_000),
        ("25Gbit/s", 25_000_000_000),
        ("9.41 Gbits/sec", 9_410_000_000),
        ("90Mbps", 90_000_000),
        ("100MB/s", 800_000_000),
        ("1 MiB/s", 8_388_608),
        ("2500000", 2_500_000),
    ],
    refused: &["1MBps", "1MBPS", "1MB", "1GiB", "1Mib/s", "1MBit/S x", "0x10"],
    note: "Bits unless a capital B and a time say bytes: MB/s is eight times Mb/s. A letter alone is a power of 1000 in bits, as in iperf3, ethtool and tc. What could be either is refused.",
    compound: false,
    known: "bit/s, kbit/s, Mbit/s, Gbit/s (or k, M, G, kbit, Mbit, Gbit), B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s (none means bit/s)",
};

/// All there are.
pub const GRAMMARS: [&Grammar; 3] = [&SIZES, &TIMES, &RATES];

/// Why a quantity could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("cannot read {text:?} as a {what}; write a number and one of: {units}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    units: &'static str,
}

impl Unit {
    fn is_spelled(&self, typed: &str) -> bool {
        self.spelled.iter().any(|own| match self.any_case {
            true => own.to_lowercase() == typed.to_lowercase(),
            false => *own == typed,
        })
    }
}

impl Grammar {
    /// The quantity in the smallest unit.
    pub fn read(&self, text: &str) -> Result<u64, UnitError> {
        let read = if self.compound { self.sum(text) } else { self.one(text).map(|(count, _)| count) };
        read.ok_or_else(|| UnitError { text: text.into(), what: self.what, units: self.known })
    }

    /// A number and its unit; the unit's factor beside it.
    fn one(&self, text: &str) -> Option<(u64, u64)> {
        let (number, typed) = split(text);
        let unit = self.units.iter().find(|unit| unit.is_spelled(typed))?;
        Some((scaled(number, unit.factor)?, unit.factor))
    }

    /// Numbers with their units, the larger first.
    fn sum(&self, text: &str) -> Option<u64> {
        let mut rest = text.trim();
        let (mut sum, mut above, mut several) = (0u64, u64::MAX, false);
        loop {
            let (number, _) = split(rest);
            let behind = &rest[number.len()..];
            let end = number.len() + behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
            let part = rest[..end].trim_end();
            several |= end < rest.len();
            // In a row each has a unit: nobody could say what 1m30 counts.
            let bare = several && part.len() == number.len();
            let (count, factor) = self.one(part).filter(|(_, factor)| *factor < above && !bare)?;
            (sum, above) = (sum.checked_add(count)?, factor);
            rest = &rest[end..];
            if rest.is_empty() {
                return Some(sum);
            }
        }
    }
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
    ($(#[$doc:meta])* $name:ident, $grammar:ident) => {
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
                $grammar.read(text).map($name)
            }
        }
    };
}

quantity!(
    /// A number of bytes. Bare numbers are bytes; `KiB`, `MiB`, `GiB`, `TiB` and the letters alone are powers of 1024, `kB`,
    /// `MB`, `GB`, `TB` powers of 1000.
    Bytes,
    SIZES
);

quantity!(
    /// A span of time in nanoseconds. Bare numbers are seconds.
    Nanoseconds,
    TIMES
);

quantity!(
    /// A data rate in bits per second. Bytes per second count eightfold; prefixes without `i` are decimal, and so is a letter alone.
    BitsPerSecond,
    RATES
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
    fn every_unit_is_read_as_its_table_says_and_in_every_case_it_allows() {
        for grammar in GRAMMARS {
            for unit in grammar.units {
                for spelled in unit.spelled {
                    let mut typed = vec![spelled.to_string()];
                    if unit.any_case {
                        typed.extend([spelled.to_lowercase(), spelled.to_uppercase()]);
                    }
                    for typed in typed {
                        assert_eq!(grammar.read(&format!("3{typed}")), Ok(3 * unit.factor), "{typed:?}");
                        assert_eq!(grammar.read(&format!(" 3 {typed} ")), Ok(3 * unit.factor), "{typed:?}");
                    }
                }
            }
            for (text, count) in grammar.examples {
                assert_eq!(grammar.read(text), Ok(*count), "{text}");
            }
            for text in grammar.refused {
                assert!(grammar.read(text).is_err(), "{} {text:?}", grammar.what);
            }
        }
    }

    #[test]
    fn no_spelling_means_two_things() {
        for grammar in GRAMMARS {
            let all = grammar.units.iter().flat_map(|unit| unit.spelled);
            for spelled in all {
                let meant = |typed: &str| grammar.units.iter().filter(|unit| unit.is_spelled(typed)).count();
                assert_eq!(meant(spelled), 1, "{} {spelled:?}", grammar.what);
            }
            let words = grammar.known.split(|c: char| !(c.is_alphanumeric() || c == '/'));
            let listed = words.filter(|word| grammar.units.iter().any(|unit| unit.spelled.contains(word)));
            assert!(listed.count() >= grammar.units.len() - 5, "the error of {} lists units", grammar.what);
        }
    }

    #[test]
    fn an_unknown_unit_names_the_known_ones() {
        for text in ["12 parsecs", "", "-1", "1..2", "MiB", "99999999999999999999"] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains("KiB") && error.contains(text), "{error}");
        }
        for text in ["18446744073s1", "213504d23h59m", "1h1h", "1h ", "h", "1h m"] {
            let read = text.parse::<Nanoseconds>();
            assert_eq!(read.is_ok(), text == "1h ", "{text}: {read:?}");
        }
    }
}
