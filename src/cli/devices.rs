//! `pathproof devices`: what this machine has to reach others with.

use anyhow::Result;

use super::raw::{DevicesArgs, ListFormat};
use crate::host::{self, devices};

/// Runs the command.
pub fn run(args: &DevicesArgs) -> Result<u8> {
    let format = match args.format {
        ListFormat::Json => devices::Format::Json,
        ListFormat::Text => devices::Format::Text,
    };
    let mut text = Vec::new();
    devices::render(&host::observe(), format, &mut text)?;
    super::run::show(&text)?;
    Ok(0)
}
