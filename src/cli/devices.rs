//! `pathproof devices`: what this machine has to reach others with.

use anyhow::Result;

use super::raw::{DevicesArgs, ListFormat};
use crate::host::{self, devices};
use crate::terminal;

/// Runs the command.
pub fn run(args: &DevicesArgs) -> Result<u8> {
    let observed = host::observe();
    match args.format {
        ListFormat::Json => terminal::print_json(&observed)?,
        ListFormat::Text => terminal::print_lines(devices::text(&observed))?,
    }
    Ok(0)
}
