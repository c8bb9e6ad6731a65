//! `pathproof report`: render a stored result again, and judge it again when other limits are given.

use anyhow::Result;

use super::raw::ReportArgs;
use super::run::{print, read_criteria};
use crate::document;

/// Runs the command.
pub fn run(args: &ReportArgs) -> Result<u8> {
    let mut doc = document::read(&args.file)?;
    if args.criteria.is_some() {
        pathproof_model::judge_into(&mut doc, &read_criteria(args.criteria.as_deref())?);
    }
    print(&doc, args.format)?;
    Ok(0)
}
