//! The limits in force as text that `--criteria` reads back: the built-in file, with the values that hold and the sources of a
//! profile's figures.

use std::collections::BTreeMap;

use super::{BUILT_IN, Criteria, Profile};

/// The criteria as TOML, with every comment of the built-in file and of the profile that they came from.
pub(super) fn as_toml(criteria: &Criteria, profile: Option<Profile>) -> String {
    let values = match toml::Value::try_from(criteria) {
        Ok(toml::Value::Table(values)) => values,
        // A struct of structs is a table.
        _ => toml::Table::new(),
    };
    let sources = profile.map(|profile| comments(profile.text)).unwrap_or_default();
    let mut text = String::new();
    let mut section = String::new();
    for line in BUILT_IN.lines().skip_while(|line| !line.starts_with('[')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        }
        // Of a limit that is not set the file holds an example, commented out.
        let Some(key) = key(line.trim_start_matches("# ")) else {
            text += &format!("{line}\n");
            continue;
        };
        let value = values.get(&section).and_then(|section| section.get(key));
        if let Some(source) = sources.get(&(section.clone(), bare(key).to_owned())) {
            let name = profile.map_or("", |profile| profile.name);
            text += &format!("# Profile {name}:\n{source}");
        }
        match value {
            Some(value) => text += &format!("{}\n", written(key, value)),
            None => text += "# (not set)\n",
        }
    }
    text
}

/// A limit of the built-in criteria: what it is for, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitText {
    /// The table that it stands in.
    pub section: String,
    /// Its key, with its unit.
    pub key: String,
    /// What it is for.
    pub about: String,
    /// Its value as it is typed, or that it is not set.
    pub value: String,
}

impl LimitText {
    /// Its whole name.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Its key without a unit, as it may be typed.
    pub fn bare(&self) -> &str {
        bare(&self.key)
    }
}

/// The built-in limits, in the order of their file.
pub fn limits() -> Vec<LimitText> {
    let (mut all, mut section, mut about) = (vec![], String::new(), String::new());
    for line in BUILT_IN.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (section, about) = (name.to_owned(), String::new());
            continue;
        }
        let said = line.trim_start_matches("# ");
        let Some(key) = key(said) else {
            about = format!("{about} {said}");
            continue;
        };
        let set =
            line.parse::<toml::Table>().ok().and_then(|own| own.get(key).map(|value| written(key, value)));
        let set =
            set.and_then(|set| set.split_once(" = ").map(|(_, value)| value.trim_matches('"').to_owned()));
        all.push(LimitText {
            section: section.clone(),
            key: key.to_owned(),
            about: std::mem::take(&mut about).trim().to_owned(),
            value: set.unwrap_or_else(|| "not set".into()),
        });
    }
    all
}

/// The key that a line sets.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_').then_some(key)
}

/// A key without its unit.
pub(super) fn bare(key: &str) -> &str {
    ["_ns", "_bits_per_s", "_bytes"].iter().find_map(|unit| key.strip_suffix(unit)).unwrap_or(key)
}

/// One setting, with its unit in its value where it has one.
fn written(key: &str, value: &toml::Value) -> String {
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
    match (number, value) {
        (Some(ns), _) if key.ends_with("_ns") => format!("{} = \"{}\"", bare(key), exact(ns, &TIMES)),
        (Some(bits), _) if key.ends_with("_bits_per_s") => {
            format!("{} = \"{}\"", bare(key), exact(bits, &RATES))
        }
        (Some(bytes), _) if key.ends_with("_bytes") => format!("{} = \"{bytes}B\"", bare(key)),
        (_, value) => format!("{key} = {value}"),
    }
}

const TIMES: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us"), (1, "ns")];
/// A rate as it is typed, exactly.
pub(crate) fn rate(bits_per_s: u64) -> String {
    exact(bits_per_s, &RATES)
}

const RATES: [(u64, &str); 4] = [(1_000_000_000, "G"), (1_000_000, "M"), (1000, "k"), (1, "bit/s")];

/// In the largest unit that says it without a fraction.
fn exact(value: u64, units: &[(u64, &str)]) -> String {
    let unit = units.iter().find(|(unit, _)| value.is_multiple_of(*unit)).copied().unwrap_or((1, ""));
    format!("{}{}", value / unit.0, unit.1)
}

/// The comment above each key of a text, by section and key.
fn comments(text: &str) -> BTreeMap<(String, String), String> {
    let (mut section, mut comment) = (String::new(), String::new());
    let mut comments = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (section, comment) = (name.to_owned(), String::new());
        } else if line.starts_with('#') {
            // The one above a key that begins anew replaces the former.
            comment += &format!("{line}\n");
        } else if let Some(key) = key(line) {
            comments.insert((section.clone(), bare(key).to_owned()), comment.clone());
            comment.clear();
        } else {
            comment.clear();
        }
    }
    comments
}
