//! `pathproof explain`: the page of a finding, or what a word of a report means.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use clap::Args;
use pathproof_api::option::nearest;
use pathproof_model::finding::{CATALOGUE, page};
use pathproof_model::glossary;

use crate::terminal;

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code of a finding, or any word of a report: a row, a column, a check, a limit, size, time or rate; without one all are
    /// listed.
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
}

/// Runs the command.
pub fn run(args: &ExplainArgs) -> Result<u8> {
    let typed = args.words.join(" ");
    let text = match typed.trim() {
        "" => list(),
        word => match explained(word) {
            Some(text) => text,
            None => bail!("nothing here is called {word:?}{} (pathproof explain lists all)", meant(word)),
        },
    };
    terminal::print_own(text.as_bytes())?;
    Ok(0)
}

/// What there is to say about a word.
fn explained(word: &str) -> Option<String> {
    // A finding that is an error is a verdict too, by this name.
    if let Some(page) = page(word.strip_prefix("finding/").unwrap_or(word)) {
        return Some(page.text());
    }
    let meanings: Vec<String> = glossary::meanings(word).iter().map(glossary::Meaning::text).collect();
    (!meanings.is_empty()).then(|| meanings.join("\n"))
}

fn meant(word: &str) -> String {
    let words = glossary::words();
    let codes = CATALOGUE.iter().map(|entry| entry.code.to_owned());
    let known: Vec<String> = words.into_iter().chain(codes).collect();
    let lower: Vec<String> = known.iter().map(|word| word.to_lowercase()).collect();
    let near = nearest(&word.to_lowercase(), &lower.iter().map(String::as_str).collect::<Vec<_>>());
    let near = near.and_then(|near| known.iter().find(|known| known.to_lowercase() == near));
    near.map_or(String::new(), |near| format!("; the nearest is {near}"))
}

/// Every code with its meaning, then every other word.
fn list() -> String {
    let mut text = String::new();
    for entry in CATALOGUE {
        let _ = writeln!(text, "{:<24} {:<8} {}", entry.code, entry.severity.name(), entry.meaning);
    }
    let mut part = "";
    for meaning in glossary::all() {
        if meaning.part != part {
            part = meaning.part;
            let _ = writeln!(text, "\n{part}");
        }
        let _ = writeln!(text, "  {}", meaning.words.join(", "));
    }
    text
}
