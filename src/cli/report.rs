//! `pathproof report`: render a stored result again, and judge it again when other limits are given.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use pathproof_model::units::BitsPerSecond;

use super::criteria::LimitArgs;
use super::format::Shape;
use super::values::ip_mtu;
use crate::document::{self, Stored};

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A result document.
    pub file: PathBuf,
    /// What is printed.
    #[command(flatten)]
    pub shape: Shape,
    /// Judge it again by these.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Judge it again: the goodput that each direction must reach.
    #[arg(long, value_name = "RATE", value_parser = super::values::expected_rate)]
    pub expect_rate: Option<BitsPerSecond>,
    /// Judge it again: every path must carry IP packets of so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = ip_mtu)]
    pub expect_mtu: Option<u32>,
}

/// Runs the command. It ends with the exit code of what it says.
pub fn run(args: &ReportArgs) -> Result<u8> {
    let own = args.limits.any() || args.expect_rate.is_some() || args.expect_mtu.is_some();
    let mut doc = match document::read_any(&args.file)? {
        Stored::Run(doc) => doc,
        Stored::Mesh(_) if own => {
            bail!("a mesh is judged when it is measured; start it with --expect-rate or --expect-mtu")
        }
        Stored::Mesh(doc) => {
            let Some(format) = args.shape.of_a_mesh() else {
                bail!("a mesh is shown as text, json, junit or html; give --format one of those")
            };
            format.print(&doc)?;
            return Ok(doc.exit_code.unwrap_or(super::EXIT_COULD_NOT_RUN));
        }
    };
    // A document that was cut short holds steps and no verdicts.
    if own || doc.verdicts.is_empty() {
        let before = doc.criteria.clone().filter(|_| !args.limits.any());
        let mut criteria = match before {
            Some(criteria) => criteria,
            None => args.limits.read()?,
        };
        criteria.expect(args.expect_rate.map(|rate| rate.0), args.expect_mtu);
        pathproof_model::judge_into(&mut doc, &criteria);
    }
    doc.conclude();
    args.shape.print(&doc, Some(&args.file))?;
    Ok(doc.exit_code.unwrap_or(super::EXIT_COULD_NOT_RUN))
}
