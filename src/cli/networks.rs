//! `pathproof networks`: the networks that both hosts share, their roles, and in which order a cluster would use them.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use pathproof_model::{CommandName, NetworksSpec, Plan, PortsSpec, PortsWhere, Role, StepSpec};

use super::far::FarArgs;
use super::format::Shape;
use super::key::KeyArgs;
use super::run::{ClientRun, Sink};
use crate::peer::Peer;
use crate::steps;
use pathproof_sys::clock::RealClock;

/// Most networks that are named: each takes its time.
const FAIL_MAX: usize = 16;

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
    /// Take this network down for three seconds while a stream goes over all that the hosts share, and tell how soon the others take over and it carries again:
    /// its subnet, its NIC on this host, or all, one after another. Needs root; may be repeated.
    #[arg(long, value_name = "NETWORK|all")]
    pub fail: Vec<String>,
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
    let fail = args.fail.clone();
    // The ports of a cluster's nodes that move guests to each other: the step after it puts them beside the networks.
    let ports = PortsSpec {
        roles: vec![Role::Hyperv, Role::Cluster],
        connections: 0,
        at: PortsWhere::Networks,
        ..PortsSpec::default()
    };
    let mut steps = vec![
        StepSpec::Facts,
        StepSpec::Ports(ports),
        StepSpec::Networks(NetworksSpec { fail, ..NetworksSpec::default() }),
    ];
    if !args.fail.is_empty() {
        ensure!(
            args.fail.len() <= FAIL_MAX,
            "--fail takes at most {FAIL_MAX} networks; name fewer, and the others in another run"
        );
        steps.push(steps::rehearsal()?);
    }
    let plan = Plan { command: CommandName::Networks, steps, ..Plan::default() };
    ClientRun::with(party, sink, clock).run(plan)
}
