//! `pathproof explain`: the page of a finding.

use anyhow::{Result, bail};
use clap::Args;
use pathproof_model::finding::{CATALOGUE, nearest, page};

use crate::terminal;

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code of a finding, as reports show it; without one all codes are listed.
    pub code: Option<String>,
}

/// Runs the command.
pub fn run(args: &ExplainArgs) -> Result<u8> {
    let text = match &args.code {
        None => CATALOGUE
            .iter()
            .map(|entry| format!("{:<24} {:<8} {}\n", entry.code, entry.severity.name(), entry.meaning))
            .collect(),
        Some(code) => match page(code) {
            Some(page) => page.text(),
            None => bail!(
                "there is no finding {code:?}; the nearest is {} (pathproof explain lists all)",
                nearest(code)
            ),
        },
    };
    terminal::print_own(text.as_bytes())?;
    Ok(0)
}
