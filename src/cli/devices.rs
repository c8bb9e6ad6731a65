//! `pathproof devices`: what this machine has to reach others with.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use pathproof_model::Environment;

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
    /// Only these: names of NICs or RDMA devices.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Format of the list.
    #[arg(long, value_enum, default_value_t)]
    pub format: ListFormat,
}

/// Leaves what was named; all, where nothing was.
fn only(here: &mut Environment, names: &[String]) -> Result<()> {
    let known = || {
        let nics = here.nics.iter().map(|nic| nic.name.as_str());
        nics.chain(here.rdma.iter().map(|device| device.name.as_str()))
    };
    if let Some(unknown) = names.iter().find(|name| known().all(|own| own != name.as_str())) {
        bail!("there is no device {unknown} here; there are {}", known().collect::<Vec<_>>().join(", "));
    }
    if !names.is_empty() {
        here.nics.retain(|nic| names.contains(&nic.name));
        here.rdma.retain(|device| names.contains(&device.name));
    }
    Ok(())
}

/// Runs the command.
pub fn run(args: &DevicesArgs) -> Result<u8> {
    let mut observed = host::observe();
    only(&mut observed.environment, &args.names)?;
    match args.format {
        ListFormat::Json => terminal::print_json(&observed)?,
        ListFormat::Text => terminal::print_blocks(&devices::page(&observed))?,
    }
    Ok(0)
}
