//! `pathproof networks`: the networks that both hosts share, their roles, and in which order a cluster would use them.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use pathproof_model::{CommandName, NetworksSpec, Plan, StepSpec};

use super::far::FarArgs;
use super::format::Shape;
use super::key::KeyArgs;
use super::run::{ClientRun, Sink};
use crate::peer::Peer;
use pathproof_sys::clock::RealClock;

/// `networks`.
#[derive(Debug, Args)]
pub struct NetworksArgs {
    /// The peer, as HOST[:PORT]; it runs `pathproof serve`. As USER@HOST[:PORT] it is started there over ssh.
    #[arg(value_name = "PEER")]
    pub peer: Peer,
    /// How the far end is started.
    #[command(flatten)]
    pub far: FarArgs,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Write the result document here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is printed.
    #[command(flatten)]
    pub shape: Shape,
}

/// Runs the command.
pub fn run(args: NetworksArgs, clock: &RealClock) -> Result<u8> {
    let sink = Sink::prepare(args.output.as_deref(), args.shape)?;
    let party = args.far.party(&args.peer, &args.key)?;
    let steps = vec![StepSpec::Facts, StepSpec::Networks(NetworksSpec::default())];
    let plan = Plan { command: CommandName::Networks, steps, ..Plan::default() };
    ClientRun::with(party, sink, clock).run(plan)
}
