//! `pathproof mtu`: the exact path MTU on its own, with an agent at the peer or without.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pathproof_model::{CommandName, MtuSpec, Plan, StepSpec};

use super::client::ClientArgs;
use super::run::ClientRun;
use super::values::ip_mtu;
use crate::steps;
use pathproof_sys::clock::RealClock;

/// `mtu`.
#[derive(Debug, Args)]
pub struct MtuArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Only this local NIC; may be repeated.
    #[arg(long, value_name = "IF")]
    pub nic: Vec<String>,
    /// Fail unless every path carries IP packets of so many bytes (68 to 65535).
    #[arg(long, visible_alias = "expect-mtu", value_name = "BYTES", value_parser = ip_mtu)]
    pub expect: Option<u32>,
    /// Address family.
    #[arg(long, value_enum, default_value_t = MtuFamily::Both)]
    pub family: MtuFamily,
    /// Measure from this side alone, by ICMP echo; it cannot tell the directions apart.
    #[arg(long, conflicts_with = "self_test")]
    pub agentless: bool,
}

/// Address families as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MtuFamily {
    /// IPv4.
    #[value(name = "4")]
    Four,
    /// IPv6.
    #[value(name = "6")]
    Six,
    /// Both.
    Both,
}

/// Runs the command.
pub fn run(args: MtuArgs, clock: &RealClock) -> Result<u8> {
    let steps = vec![StepSpec::Mtu(spec(&args)?)];
    if args.agentless && args.client.peer.is_none() {
        bail!("--agentless needs a HOST to send echo requests to; type pathproof mtu HOST --agentless")
    }
    let started =
        args.client.far.via.is_some() || args.client.peer.as_ref().is_some_and(|peer| peer.user.is_some());
    if args.agentless && started {
        bail!("--agentless starts nothing at the other host; leave USER@ and --via out")
    }
    let mut client = ClientRun::resolve(&args.client, clock)?;
    if args.agentless {
        client = client.without_agent();
    }
    let plan = Plan { command: CommandName::Mtu, seed: client.seed, nodes: vec![], steps };
    client.run(plan)
}

/// The step that the arguments mean.
pub fn spec(args: &MtuArgs) -> Result<MtuSpec> {
    let spec = MtuSpec {
        nics: args.nic.clone(),
        expect_ip_mtu_bytes: args.expect,
        families: match args.family {
            MtuFamily::Four => vec![4],
            MtuFamily::Six => vec![6],
            MtuFamily::Both => vec![],
        },
        ..MtuSpec::default()
    };
    if let Err(error) = steps::check_mtu_spec(&spec) {
        bail!("{}", error.message);
    }
    Ok(spec)
}
