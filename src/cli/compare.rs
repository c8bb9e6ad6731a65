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
    /// How much worse a figure may be.
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

/// `10%`, `10` or `0.1`.
pub fn gate(text: &str) -> Result<f64, String> {
    let (number, percent) = match text.trim().strip_suffix('%') {
        Some(number) => (number.trim(), true),
        None => (text.trim(), false),
    };
    let share = number.parse::<f64>().ok().map(|n| if percent || n >= 1.0 { n / 100.0 } else { n });
    let fits = share.filter(|share| (0.0..=1.0).contains(share));
    fits.ok_or_else(|| {
        format!("{text} is no gate; give a percentage from 0% to 100%, like {}%", GATE * 100.0)
    })
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
