//! `pathproof report`: render a stored result again, and judge it again when other limits are given.

use anyhow::Result;

use super::raw::ReportArgs;
use super::run::{print, read_criteria};
use crate::document;

/// Runs the command. It ends with the exit code of what it says.
pub fn run(args: &ReportArgs) -> Result<u8> {
    let mut doc = document::read(&args.file)?;
    let own = args.criteria.is_some() || args.expect_rate.is_some() || args.expect_mtu.is_some();
    // A document that was cut short holds steps and no verdicts.
    if own || doc.verdicts.is_empty() {
        let before = doc.criteria.clone().filter(|_| args.criteria.is_none());
        let mut criteria = match before {
            Some(criteria) => criteria,
            None => read_criteria(args.criteria.as_deref())?,
        };
        criteria.expect(args.expect_rate.map(|rate| rate.0), args.expect_mtu);
        pathproof_model::judge_into(&mut doc, &criteria);
    }
    doc.conclude();
    print(&doc, args.format)?;
    Ok(doc.exit_code.unwrap_or(super::EXIT_COULD_NOT_RUN))
}
