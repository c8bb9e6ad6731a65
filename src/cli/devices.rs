//! `pathproof devices`: what this machine has to reach others with.

use std::io;

use anyhow::{Context, Result};

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
    io::Write::write_all(&mut io::stdout(), &text).context("cannot print the devices")?;
    Ok(0)
}
