//! `pathproof devices`: what this machine has to reach others with.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::host::{self, devices};
use crate::terminal;

/// Formats of a list of devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Format of the list.
    #[arg(long, value_enum, default_value_t)]
    pub format: ListFormat,
}

/// Runs the command.
pub fn run(args: &DevicesArgs) -> Result<u8> {
    let observed = host::observe();
    match args.format {
        ListFormat::Json => terminal::print_json(&observed)?,
        ListFormat::Text => terminal::print_blocks(&devices::page(&observed))?,
    }
    Ok(0)
}
