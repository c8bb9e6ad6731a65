//! `pathproof devices`: what this machine has to reach others with, and whether that is as it is to be.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use pathproof_model::environment::Observed;
use pathproof_model::verdict::{EXIT_CANNOT_TELL, EXIT_NOT_FIT};
use pathproof_model::{Environment, ExpectedState, HostState, Outcome, Subject, Verdict};
use pathproof_report::page::Block;

use crate::host::{self, devices};
use crate::{document, input, terminal};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof devices
  pathproof devices --write-state hv1.toml
  pathproof devices --expect hv1.toml
  cat hv1.toml hv2.toml > fabric.toml; pathproof check hv2 --expect-state fabric.toml

Exit codes with --expect: 0 as expected, 1 it differs, 2 could not run, 3 cannot tell.";

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
    /// Hold this host against what FILE says of it, a TOML file that --write-state made.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["write_state", "names"])]
    pub expect: Option<PathBuf>,
    /// Write down what this host is to look like: its NICs with an address or an RDMA device, with carrier, speed, MTU, addresses and
    /// DCB. Other hosts in FILE stay as they are; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub write_state: Option<PathBuf>,
}

/// What is here, and how it stands against what was expected.
#[derive(Serialize)]
struct Held<'a> {
    #[serde(flatten)]
    observed: &'a Observed,
    verdict: &'a Verdict,
}

/// Leaves what was named; all, where nothing was.
fn only(here: &mut Environment, names: &[String]) -> Result<()> {
    let known = || {
        let nics = here.nics.iter().map(|nic| nic.name.as_str());
        nics.chain(here.rdma.iter().map(|device| device.name.as_str()))
    };
    if let Some(unknown) = names.iter().find(|name| known().all(|own| own != name.as_str())) {
        bail!(
            "there is no device {unknown} here; there are {} (pathproof devices)",
            known().collect::<Vec<_>>().join(", ")
        );
    }
    if !names.is_empty() {
        here.nics.retain(|nic| names.contains(&nic.name));
        here.rdma.retain(|device| names.contains(&device.name));
    }
    Ok(())
}

/// Runs the command.
pub fn run(args: &DevicesArgs) -> Result<u8> {
    let expected = args.expect.as_deref().map(|file| input::read_state(file, "--expect")).transpose()?;
    let mut observed = host::observe();
    only(&mut observed.environment, &args.names)?;
    if let Some(file) = &args.write_state {
        return write_state(file, &observed.environment);
    }
    if let Some(expected) = expected {
        return hold(&expected, &observed, args.format);
    }
    match args.format {
        ListFormat::Json => terminal::print_json(&observed)?,
        ListFormat::Text => terminal::print_blocks(&devices::page(&observed))?,
    }
    Ok(0)
}

/// This host as it is now, beside what the file says of others.
fn write_state(file: &Path, here: &Environment) -> Result<u8> {
    let own = HostState::observed(here);
    if own.nics.is_empty() {
        bail!("no NIC here has an address or an RDMA device; give one an address, then write its state");
    }
    if document::is_stdout(file) {
        terminal::print_own(ExpectedState { hosts: vec![own] }.to_toml().as_bytes())?;
        return Ok(0);
    }
    let there = file.try_exists().with_context(|| format!("cannot look at {}", file.display()))?;
    // What is there and is something else is not written over.
    let mut state = if there { input::read_state(file, "--write-state")? } else { ExpectedState::default() };
    let (name, nics) = (own.name.clone(), own.nics.len());
    state.put(own);
    document::write_small(file, state.to_toml().as_bytes())?;
    terminal::say(format_args!(
        "{}: {name} with {nics} NICs; delete what does not matter, then: pathproof devices --expect {}",
        file.display(),
        file.display()
    ));
    Ok(0)
}

fn hold(expected: &ExpectedState, observed: &Observed, format: ListFormat) -> Result<u8> {
    let here = &observed.environment;
    let Some(own) = expected.of(here) else {
        bail!(
            "nothing is expected of this host, {}; the file has {}; pathproof devices --write-state FILE puts this one into it",
            here.hostname.as_deref().unwrap_or("which has no name"),
            expected.names()
        );
    };
    let Some(verdict) = Verdict::of(Subject::State, own.checks(here)) else {
        bail!("nothing was held against anything; pathproof devices --write-state FILE writes a host down");
    };
    match format {
        ListFormat::Json => terminal::print_json(&Held { observed, verdict: &verdict })?,
        ListFormat::Text => {
            let notes = verdict.checks.iter().map(|check| Block::note(check.outcome.word(), &check.text));
            terminal::print_blocks(&notes.collect::<Vec<_>>())?;
        }
    }
    Ok(match verdict.outcome {
        Outcome::Pass | Outcome::NotJudged => 0,
        Outcome::Fail => EXIT_NOT_FIT,
        Outcome::Inconclusive => EXIT_CANNOT_TELL,
    })
}
