//! `pathproof compare`: a run, or several, held against earlier ones; and the same for `check --baseline`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use pathproof_engine::compare::{GATE, Run, as_verdict, compare};
use pathproof_model::{ResultDoc, Verdict};
use pathproof_report::{Look, comparison};

use crate::{document, terminal};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof compare monday.json today.json
  pathproof compare monday.json today.json --gate 5% --format json | jq '.pairs[] | select(.significant)'
  pathproof compare a1.json,a2.json,a3.json,a4.json b1.json,b2.json,b3.json,b4.json

One run of each side shows the noise within it, four or more show the noise between runs, which is larger: repeat.

Exit codes: 0 no regression, 1 a figure is worse by more than the gate and its noise, 2 could not run,
3 cannot tell (a figure is missing in B, its noise is not known, or no figure is in both).";

/// `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Result documents to hold against: one, or several of repeated runs with commas.
    #[arg(value_name = "A[,A2...]")]
    pub a: Files,
    /// Result documents to judge.
    #[arg(value_name = "B[,B2...]")]
    pub b: Files,
    /// How much worse a figure may be, in percent (10%, 0.5%).
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = gate)]
    pub gate: f64,
    /// Format on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: CompareFormat,
    /// Print every figure and setting, not those that matter alone.
    #[arg(long)]
    pub full: bool,
}

/// Formats of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Result documents of repeated runs.
#[derive(Clone, Debug)]
pub struct Files(Vec<PathBuf>);

impl FromStr for Files {
    type Err = String;

    fn from_str(text: &str) -> Result<Files, String> {
        // A file may have a comma in its name.
        if Path::new(text).exists() {
            return Ok(Files(vec![text.into()]));
        }
        let files: Vec<PathBuf> = text.split(',').map(PathBuf::from).collect();
        match files.iter().any(|file| file.as_os_str().is_empty()) {
            true => Err("a name is empty; give FILE or FILE,FILE".into()),
            false => Ok(Files(files)),
        }
    }
}

/// `10%`, or `10`. A number below 1 has to have its sign: half of all who type 0.5 mean 50 %.
pub fn gate(text: &str) -> Result<f64, String> {
    let typed = text.trim();
    let number = typed.strip_suffix('%').unwrap_or(typed).trim();
    let Some(percent) = number.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent)) else {
        return Err(format!("{text} is no gate; give a percentage from 0% to 100%, like {}%", GATE * 100.0));
    };
    if percent > 0.0 && percent < 1.0 && !typed.ends_with('%') {
        let part = format!("{:.4}", percent * 100.0);
        let part = part.trim_end_matches('0').trim_end_matches('.');
        return Err(format!(
            "{typed} may be {part}% or {typed}%; write the one that is meant, with its sign"
        ));
    }
    Ok(percent / 100.0)
}

fn read(files: &Files) -> Result<Vec<Run>> {
    let read = |file: &PathBuf| Ok(Run { file: file.display().to_string(), doc: document::read(file)? });
    files.0.iter().map(read).collect()
}

/// Runs the command.
pub fn run(args: &CompareArgs) -> Result<u8> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let compared = compare(&a, &b, args.gate);
    match args.format {
        CompareFormat::Json => terminal::print_json(&compared)?,
        CompareFormat::Text => {
            let lines = comparison(&compared, &terminal::look(Look::SCREEN), args.full);
            terminal::print_own((lines.join("\n") + "\n").as_bytes())?;
        }
    }
    Ok(compared.outcome.exit_code())
}

/// Earlier runs that a check is held against.
pub struct Baseline {
    runs: Vec<Run>,
    gate: f64,
}

impl Baseline {
    /// Reads them, before anything is measured.
    pub fn read(files: &Files, gate: f64) -> Result<Baseline> {
        Ok(Baseline { runs: read(files).context("--baseline")?, gate })
    }

    /// What a run comes to against them.
    pub fn verdict(&self, doc: &ResultDoc) -> Option<Verdict> {
        let own = Run { file: "this run".into(), doc: doc.clone() };
        as_verdict(&compare(&self.runs, &[own], self.gate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_a_percentage_and_what_may_be_two_is_refused() {
        for (typed, share) in [
            ("10%", 0.1),
            ("10", 0.1),
            (" 2.5 % ", 0.025),
            ("0.5%", 0.005),
            ("0", 0.0),
            ("1", 0.01),
            ("100%", 1.0),
        ] {
            assert_eq!(gate(typed), Ok(share), "{typed}");
        }
        assert_eq!(
            gate("0.5").unwrap_err(),
            "0.5 may be 50% or 0.5%; write the one that is meant, with its sign"
        );
        assert!(gate("0.07").unwrap_err().contains("7% or 0.07%"));
        for typed in ["-1%", "101", "ten", "", "%", "NaN", "inf"] {
            assert!(gate(typed).unwrap_err().contains("from 0% to 100%, like 10%"), "{typed}");
        }
    }
}
