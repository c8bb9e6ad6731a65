//! `pathproof channels`: which NIC pairs SMB Multichannel would use towards a peer, and why not the others.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pathproof_engine::channels::{LINUX_CHANNELS_MAX, Rules};
use pathproof_model::{ChannelsSpec, CommandName, Plan, StepSpec};

use super::far::FarArgs;
use super::format::Shape;
use super::key::KeyArgs;
use super::run::{ClientRun, Sink};
use super::smb::{AskArgs, server};
use crate::peer::Peer;
use pathproof_sys::clock::RealClock;

/// `channels`.
#[derive(Debug, Args)]
pub struct ChannelsArgs {
    /// The peer, as HOST[:PORT]; it runs `pathproof serve`. As USER@HOST[:PORT] it is started there over ssh.
    #[arg(value_name = "PEER", required_unless_present = "smb", conflicts_with = "smb")]
    pub peer: Option<Peer>,
    /// Take the other end's NICs from an SMB server instead; nothing to install there.
    #[arg(long, value_name = "HOST")]
    pub smb: Option<String>,
    /// How the SMB server is asked.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Whose rules: Windows clients, Linux clients (cifs.ko), or the pairs named with --pair.
    #[arg(long, value_enum, default_value_t)]
    pub policy: Policy,
    /// A pair for --policy manual, as LOCAL=REMOTE, each a NIC name or an address; may be repeated.
    #[arg(long = "pair", value_name = "LOCAL=REMOTE")]
    pub pairs: Vec<String>,
    /// Connections of a Linux mount (max_channels).
    #[arg(long, value_name = "N", default_value_t = LINUX_CHANNELS_MAX)]
    pub max_channels: u32,
    /// Only these local NICs, as New-SmbMultichannelConstraint would; may be repeated.
    #[arg(long, value_name = "IF", num_args = 1..)]
    pub constrain: Vec<String>,
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

/// Whose rules choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// MS-SMB2: class before speed, 2, 4 or 1 connections a pair.
    #[default]
    Windows,
    /// cifs.ko: routes choose the local NIC, connections by speed.
    Linux,
    /// What --pair names.
    Manual,
}

/// The step that the arguments mean.
fn spec(args: &ChannelsArgs) -> Result<ChannelsSpec> {
    if args.policy != Policy::Manual && !args.pairs.is_empty() {
        bail!("--pair is for --policy manual; add that, or leave --pair out");
    }
    if !(1..=LINUX_CHANNELS_MAX).contains(&args.max_channels) {
        bail!(
            "--max-channels {} is not between 1 and {LINUX_CHANNELS_MAX}; give a number of those, or leave it out",
            args.max_channels
        );
    }
    let rules = match args.policy {
        Policy::Windows => Rules::Windows,
        Policy::Linux => Rules::Linux { channels: args.max_channels },
        Policy::Manual if args.pairs.is_empty() => {
            bail!(
                "--policy manual needs at least one --pair LOCAL=REMOTE; pathproof devices lists the NICs of a host"
            )
        }
        Policy::Manual => {
            let pair = |text: &String| match text.split_once('=') {
                Some((local, remote)) if !local.is_empty() && !remote.is_empty() => {
                    Ok((local.to_owned(), remote.to_owned()))
                }
                _ => bail!(
                    "--pair {text:?} is not of the form LOCAL=REMOTE; write a NIC here and one there, as eth1=eth1"
                ),
            };
            Rules::Manual { pairs: args.pairs.iter().map(pair).collect::<Result<_>>()? }
        }
    };
    Ok(ChannelsSpec { rules, constrain: args.constrain.clone(), ..ChannelsSpec::default() })
}

/// Runs the command.
pub fn run(args: ChannelsArgs, clock: &RealClock) -> Result<u8> {
    let prediction = StepSpec::Channels(spec(&args)?);
    let sink = Sink::prepare(args.output.as_deref(), args.shape)?;
    let (party, first) = match (&args.smb, &args.peer) {
        (Some(host), _) => (server(host), StepSpec::Smb(args.ask.spec())),
        (None, Some(peer)) => (args.far.party(peer, &args.key)?, StepSpec::Facts),
        (None, None) => bail!("name a PEER, or use --smb HOST"),
    };
    let plan = Plan { command: CommandName::Channels, steps: vec![first, prediction], ..Plan::default() };
    ClientRun::with(party, sink, clock).run(plan)
}
