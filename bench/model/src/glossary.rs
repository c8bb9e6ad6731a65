//! What the words of a report mean: rows, columns, checks, limits, units. One source: `pathproof explain` prints it, and `docs/GLOSSARY.md`
//! is made of it. The finding codes have pages of their own (`finding/pages.rs`).
//!
//! The prose stands in `glossary/words.txt`: `## WORD, WORD` begins an entry (a comma within a word is `\,`), `limit: SECTION.KEY` names what
//! it is judged by, what is indented by four is a command, and `# TITLE` begins a part. What a limit is for, and what it is, comes from the built-in criteria; how a
//! quantity is typed from the tables of its units.

use std::fmt::Write as _;

use crate::criteria::{LimitText, limits};
use crate::units::{GRAMMARS, Grammar};

const WORDS: &str = include_str!("glossary/words.txt");

/// What there is to say about some words that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The part of the glossary that it stands in.
    pub part: &'static str,
    /// The words, the usual one first.
    pub words: Vec<String>,
    /// What they mean; lines that begin with four spaces are commands.
    pub lines: Vec<String>,
}

/// All of them, in the order of the glossary.
pub fn all() -> Vec<Meaning> {
    let mut all = written();
    let limits = limits();
    for meaning in &mut all {
        let named = |line: &String| line.strip_prefix("limit: ").map(str::to_owned);
        let judged: Vec<String> = meaning.lines.iter().filter_map(named).collect();
        meaning.lines.retain(|line| named(line).is_none());
        for name in judged {
            let limit = limits.iter().find(|limit| limit.name() == name);
            meaning.lines.extend(limit.map(|limit| format!("Limit {name}: {}.", limit.value)));
        }
    }
    all.extend(limits.iter().map(of_limit));
    all.extend(GRAMMARS.into_iter().map(of_quantity));
    all
}

/// What a word means, in whatever case it was typed; some mean several things (`rate` is a column, and a quantity).
pub fn meanings(word: &str) -> Vec<Meaning> {
    let (all, typed) = (all(), plain(word));
    let of = |typed: &str| -> Vec<Meaning> {
        all.iter().filter(|meaning| meaning.words.iter().any(|own| plain(own) == typed)).cloned().collect()
    };
    let found = of(&typed);
    if found.is_empty() { of(figure(&typed)) } else { found }
}

/// What a metric (`pathproof_goodput_bits_per_second`), a field of a document (`goodput_bits_per_s`), a check against a baseline
/// (`baseline-goodput`) or a verdict (`throughput/tcp/out`) is about.
fn figure(plain: &str) -> &str {
    const BEFORE: [&str; 3] = ["pathproof soak ", "pathproof ", "baseline "];
    const UNITS: [&str; 6] = [" bits per second", " bits per s", " seconds", " ns", " bytes", " ratio"];
    let name = BEFORE.into_iter().find_map(|before| plain.strip_prefix(before)).unwrap_or(plain);
    let name = UNITS.into_iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    name.split('/').next().unwrap_or(name)
}

/// Every word.
pub fn words() -> Vec<String> {
    all().into_iter().flat_map(|meaning| meaning.words).collect()
}

/// As words are compared: without case, with one space where something parts them. A percentile below the 99th is looked up as that.
fn plain(word: &str) -> String {
    let mut plain = word.trim().to_lowercase().replace(['_', '-'], " ");
    for percentile in [" p95", " p90"] {
        if let Some(check) = plain.strip_suffix(percentile) {
            plain = format!("{check} p99");
        }
    }
    plain
}

/// What stands in the file, limits not yet filled in.
fn written() -> Vec<Meaning> {
    let (mut all, mut part): (Vec<Meaning>, &'static str) = (vec![], "");
    for line in WORDS.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("# ") {
            part = title;
        } else if let Some(words) = line.strip_prefix("## ") {
            let words = words.replace("\\,", "\u{0}");
            let words = words.split(", ").map(|word| word.replace('\u{0}', ",")).collect();
            all.push(Meaning { part, words, lines: vec![] });
        } else if let Some(last) = all.last_mut() {
            last.lines.push(line.to_owned());
        }
    }
    all
}

fn of_limit(limit: &LimitText) -> Meaning {
    let bare = limit.bare();
    let mut words = vec![limit.name()];
    words.extend([format!("{}.{bare}", limit.section), limit.key.clone(), bare.to_owned()]);
    words.dedup();
    let lines = vec![
        limit.about.clone(),
        format!("Built in: {}.", limit.value),
        "    pathproof criteria > mine.toml      # all limits; --criteria mine.toml reads them back".into(),
    ];
    Meaning { part: "Limits, as criteria name them", words, lines }
}

fn of_quantity(grammar: &Grammar) -> Meaning {
    let typed: Vec<&str> = grammar.examples.iter().map(|(typed, _)| *typed).collect();
    let mut lines = vec![grammar.note.to_owned(), format!("Typed as {}.", typed.join(", "))];
    for unit in grammar.units {
        let spelled = |word: &&str| if word.is_empty() { "nothing".into() } else { (*word).to_owned() };
        let spelled: Vec<String> = unit.spelled.iter().map(spelled).collect();
        lines.push(format!("    {:<36} {}", spelled.join(", "), unit.means));
    }
    Meaning { part: "Quantities", words: vec![grammar.what.to_owned()], lines }
}

impl Meaning {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.words.join(", "));
        let mut prose = String::new();
        for line in &self.lines {
            if line.starts_with("    ") {
                crate::finding::wrapped(&mut text, &std::mem::take(&mut prose));
                let _ = writeln!(text, "{line}");
            } else {
                prose = if prose.is_empty() { line.clone() } else { format!("{prose} {line}") };
            }
        }
        crate::finding::wrapped(&mut text, &prose);
        text
    }
}

/// `docs/GLOSSARY.md`.
pub fn document() -> String {
    let mut text = String::from(
        "# The words of a report\n\n\
         Rows, columns, checks and limits, as `pathproof explain WORD` explains them; findings have [pages of their own](FINDINGS.md). Made from\n\
         `bench/model/src/glossary/words.txt`, the built-in criteria and the tables of units; do not edit by hand.\n",
    );
    let mut part = "";
    for meaning in all() {
        if meaning.part != part {
            part = meaning.part;
            let _ = write!(text, "\n## {part}\n");
        }
        let words: Vec<String> = meaning.words.iter().map(|word| format!("`{word}`")).collect();
        let _ = write!(text, "\n**{}**\n", words.join(", "));
        let mut before = false;
        for line in &meaning.lines {
            let command = line.starts_with("    ");
            let apart = if command != before { "\n" } else { "" };
            let _ = writeln!(text, "{apart}{line}");
            before = command;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_something_and_no_word_has_two() {
        let mut seen = std::collections::BTreeMap::new();
        for meaning in all() {
            let says: usize = meaning.lines.iter().map(|line| line.len()).sum();
            assert!(says > 15 && !meaning.part.is_empty(), "{:?} says nothing", meaning.words);
            let mut own: Vec<String> = meaning.words.iter().map(|word| plain(word)).collect();
            own.sort();
            own.dedup();
            for word in own {
                let other = seen.insert(word.clone(), meaning.words.clone());
                // What is generated may be called like what is written.
                let generated = meaning.part.starts_with("Limits") || meaning.part == "Quantities";
                assert!(generated || other.is_none(), "{word} stands in {:?} and {other:?}", meaning.words);
            }
        }
    }

    #[test]
    fn every_limit_that_an_entry_names_exists() {
        let limits = limits();
        let named = WORDS.lines().filter_map(|line| line.strip_prefix("limit: "));
        let mut count = 0;
        for name in named {
            assert!(limits.iter().any(|limit| limit.name() == name), "there is no limit {name}");
            count += 1;
        }
        assert!(count > 15);
    }

    #[test]
    fn a_word_is_found_as_people_type_it() {
        for (typed, says) in [
            ("resent", "sent a second time"),
            ("Round Trip", "20 to 200"),
            ("ip mtu", "black hole"),
            ("round-trip-p95", "99th percentile"),
            ("throughput.link_share_min", "Built in: 0.8"),
            ("LINK_SHARE_MIN", "share of the slower end's link speed"),
            ("jitter_max", "5ms"),
            ("size", "1024"),
            ("rate", "Requests"),
            ("goodput_bits_per_s", "receiver placed in memory"),
            ("pathproof_migration_total_seconds", "guest stood still"),
            ("pathproof_soak_away_seconds", "could not be reached"),
            ("throughput/tcp/out", "goodput"),
            ("latency-under-load/tcp", "adds to the round trips"),
            ("baseline-goodput", "receiver placed in memory"),
            ("baseline-round-trip-p50", "the longest"),
        ] {
            let text: String = meanings(typed).iter().map(Meaning::text).collect();
            assert!(text.contains(says), "{typed}: {text}");
        }
        assert_eq!(meanings("nonsense"), []);
        assert_eq!(
            meanings("share_max").len(),
            1,
            "one limit of this name, or one that is named with its section"
        );
    }
}
