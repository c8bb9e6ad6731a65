//! `pathproof channels`: which NIC pairs SMB Multichannel would use towards a peer, and why not the others.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pathproof_engine::channels::{ChannelNic, LINUX_CHANNELS_MAX, Question, Rules};
use pathproof_model::{Criteria, NodeId, NodeSpec, Plan, ResultDoc, StepSpec};

use super::key::KeyArgs;
use super::run::{Format, Sink};
use super::smb::AskArgs;
use crate::budget::Budget;
use crate::coordinate::{self, Target};
use crate::peer::Peer;
use crate::registry::Registry;
use crate::watch::Observers;
use crate::{host, interrupt};
use pathproof_sys::clock::RealClock;

/// `channels`.
#[derive(Debug, Args)]
pub struct ChannelsArgs {
    /// The peer, as HOST[:PORT]; it runs `pathproof serve`.
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
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Write the result document here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Format of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
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

/// The question that the arguments mean.
fn question(args: &ChannelsArgs) -> Result<Question> {
    if args.policy != Policy::Manual && !args.pairs.is_empty() {
        bail!("--pair is for --policy manual");
    }
    if !(1..=LINUX_CHANNELS_MAX).contains(&args.max_channels) {
        bail!("--max-channels {} is not between 1 and {LINUX_CHANNELS_MAX}", args.max_channels);
    }
    let rules = match args.policy {
        Policy::Windows => Rules::Windows,
        Policy::Linux => Rules::Linux { channels: args.max_channels },
        Policy::Manual if args.pairs.is_empty() => {
            bail!("--policy manual needs at least one --pair LOCAL=REMOTE")
        }
        Policy::Manual => {
            let pair = |text: &String| match text.split_once('=') {
                Some((local, remote)) if !local.is_empty() && !remote.is_empty() => {
                    Ok((local.to_owned(), remote.to_owned()))
                }
                _ => bail!("--pair {text:?} is not of the form LOCAL=REMOTE"),
            };
            Rules::Manual { pairs: args.pairs.iter().map(pair).collect::<Result<_>>()? }
        }
    };
    Ok(Question { rules, constrain: args.constrain.clone() })
}

/// Names in a constraint or a pair that no local NIC has would silently exclude everything.
fn check_names(question: &Question, local: &[ChannelNic]) -> Result<()> {
    let known = |name: &str| {
        local
            .iter()
            .any(|nic| nic.name == name || nic.addresses.iter().any(|a| a.address.to_string() == name))
    };
    let manual = match &question.rules {
        Rules::Manual { pairs } => pairs.iter().map(|(local, _)| local).collect(),
        _ => Vec::new(),
    };
    for name in question.constrain.iter().chain(manual) {
        if !known(name) {
            let names: Vec<&str> = local.iter().map(|nic| nic.name.as_str()).collect();
            bail!("this host has no NIC or address {name}; it has {}", names.join(", "));
        }
    }
    Ok(())
}

/// Runs the command.
pub fn run(args: ChannelsArgs, clock: &RealClock) -> Result<u8> {
    let question = question(&args)?;
    let sink = Sink::prepare(args.output.as_deref(), args.format)?;
    let doc = match &args.smb {
        Some(server) => of_server(server, &args, &question, clock)?,
        None => of_peer(&args, &question, clock)?,
    };
    sink.finish(doc, &Criteria::default())
}

fn of_server(server: &str, args: &ChannelsArgs, question: &Question, clock: &RealClock) -> Result<ResultDoc> {
    let mut doc = super::smb::document("channels", server, &args.ask, clock)?;
    let Some(smb) = &doc.smb else { return Ok(doc) };
    let is_here = smb.address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback());
    let local = local(&doc, is_here)?;
    check_names(question, &local)?;
    // Without its list there is nothing to predict from; the verdict about the list says so.
    if !smb.interfaces.is_empty() {
        // What a server's routes are is not known, so the other direction is left out.
        let remote = ChannelNic::from_smb(&smb.interfaces);
        let channels = pathproof_engine::channels::predict(&local, &remote, question);
        crate::channels::conclude(&mut doc, channels);
    }
    Ok(doc)
}

fn local(doc: &ResultDoc, peer_is_here: bool) -> Result<Vec<ChannelNic>> {
    let environment = doc.environment(NodeId::CLIENT).context("this host's NICs could not be read")?;
    Ok(crate::channels::local_nics(environment, peer_is_here))
}

fn of_peer(args: &ChannelsArgs, question: &Question, clock: &RealClock) -> Result<ResultDoc> {
    let peer = args.peer.as_ref().context("name a PEER, or use --smb HOST")?;
    let target = Target::agent(peer, args.key.access(false)?);
    let observed = host::observe();
    check_names(question, &crate::channels::local_nics(&observed.environment, false))?;
    let nodes = vec![NodeSpec::Here, target.spec.clone()];
    let plan = Plan { command: "channels".into(), nodes, steps: vec![StepSpec::Facts], ..Plan::default() };
    let interrupted = interrupt::by_signals(clock).context("cannot watch for Ctrl-C")?;
    let mut observers = Observers::default();
    let budget = Budget::new(clock.clone(), None);
    let registry = Registry::new(clock);
    let mut doc = coordinate::run(&plan, &target, &budget, observed, &registry, &interrupted, &mut observers);
    if doc.error.is_none()
        && let Some(remote) = doc.environment(NodeId::SERVER)
    {
        let local = local(&doc, false)?;
        let channels = crate::channels::between(&local, &crate::channels::nics(remote), question);
        crate::channels::conclude(&mut doc, channels);
    }
    Ok(doc)
}
