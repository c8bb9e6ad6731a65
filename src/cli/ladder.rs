//! `pathproof check //SERVER/SHARE`: the ladder from the wire to files on a share, as a plan.

use std::time::Duration;

use anyhow::{Result, bail};
use pathproof_model::{
    CommandName, Direction, FileOver, FileSpec, NodeId, Plan, SmbSpec, StepSpec, TrafficSpec, Verb,
};
use pathproof_sys::clock::RealClock;

use super::account::AccountArgs;
use super::check::{CheckArgs, Depth};
use super::run::{ClientRun, Sink};
use super::smb::server;
use crate::peer::ShareName;
use crate::registry::Registry;

/// Requests outstanding on each channel, of 1 MiB each: what a client that copies a file keeps under way.
const DEPTH: u32 = 4;
const SIZE_BYTES: u64 = 1 << 20;
/// More than the requests of as many channels as Multichannel makes.
const FILE_BYTES: u64 = 36 << 20;
const MS: u64 = 1_000_000;

/// Runs the command.
pub fn run(args: CheckArgs, clock: &RealClock) -> Result<u8> {
    let Some(share) = args.share() else { bail!("name a share: pathproof check //SERVER/SHARE") };
    if !args.account.is_given() {
        bail!("a share needs an account: --user NAME --password-file FILE, or --kerberos");
    }
    let expected = args.expect_mtu.is_some() || args.expect_rate.is_some();
    if args.plan.is_some() || !args.role.is_empty() || expected || args.idle_time.is_some() {
        bail!(
            "--plan, --role, --idle-time, --expect-mtu and --expect-rate are for a check against an agent; leave them out"
        );
    }
    let sink = Sink::of(&args.client, clock)?;
    let foreign = server(&share.host);
    let mut client = match &args.agent {
        Some(agent) => {
            let client = &args.client;
            let agent = client.far.party(agent, &client.key)?;
            ClientRun::with(agent, sink, clock).and(foreign)
        }
        None => ClientRun::with(foreign, sink, clock),
    };
    client.criteria = args.client.limits.read()?;
    client.baseline = args.against()?;
    client.expected_state = args.state()?;
    client.budget = Some(budget(args.depth()));
    // What this host cannot do is told by the rung, and not asked of an agent.
    let rdma = Registry::new(clock).get(pathproof_rdma::NAME).is_ok_and(|rdma| rdma.probe().is_ok());
    let steps = steps(args.depth(), share, &args.account, args.agent.is_some().then_some(rdma));
    client.run(Plan { command: CommandName::Check, seed: args.client.seed, nodes: vec![], steps })
}

/// What a check of a share takes at most: nothing lies silent in it, which takes most of a sign-off's time elsewhere.
fn budget(depth: Depth) -> Duration {
    match depth {
        Depth::Quick | Depth::Usual => depth.budget(),
        Depth::Thorough => Duration::from_secs(240),
    }
}

/// The rungs from the lowest. `agent`: there is one, and whether this host has RDMA to measure with it.
fn steps(depth: Depth, share: &ShareName, account: &AccountArgs, agent: Option<bool>) -> Vec<StepSpec> {
    let time_ns = MS
        * match depth {
            Depth::Quick => 500,
            Depth::Usual => 2000,
            Depth::Thorough => 10_000,
        };
    let node = NodeId(if agent.is_some() { 2 } else { 1 });
    let AccountArgs { user, domain, password_file, kerberos } = account;
    let mut steps = vec![];
    let stream = |over: &str, verb: Option<Verb>, direction| {
        StepSpec::Stream(TrafficSpec {
            over: over.into(),
            verb,
            direction,
            size_bytes: SIZE_BYTES,
            depth: DEPTH,
            time_ns,
            ..TrafficSpec::default()
        })
    };
    if let Some(rdma) = agent {
        steps.push(StepSpec::Facts);
        steps.push(stream(pathproof_tcp::NAME, None, Direction::Out));
        steps.push(stream(pathproof_tcp::NAME, None, Direction::In));
        if rdma {
            // The server fetches what is written to it, and puts what is read of it.
            steps.push(stream(pathproof_rdma::NAME, Some(Verb::Read), Direction::In));
            steps.push(stream(pathproof_rdma::NAME, Some(Verb::Write), Direction::In));
            steps.push(stream(pathproof_smbd::NAME, None, Direction::Out));
            steps.push(stream(pathproof_smbd::NAME, None, Direction::In));
        }
    }
    steps.push(StepSpec::Smb(SmbSpec {
        node,
        port: share.port,
        user: user.clone(),
        domain: domain.clone(),
        password_file: password_file.clone(),
        kerberos: *kerberos,
        wait_ns: FileSpec::default().wait_ns,
    }));
    for over in FileOver::ALL {
        for (reads, writes) in [(0, 1), (1, 0)] {
            steps.push(StepSpec::File(FileSpec {
                node,
                port: share.port,
                share: share.share.clone(),
                directory: share.directory.clone(),
                user: user.clone().unwrap_or_default(),
                domain: domain.clone(),
                password_file: password_file.clone().unwrap_or_default(),
                kerberos: *kerberos,
                over,
                size_bytes: SIZE_BYTES,
                depth: DEPTH,
                reads,
                writes,
                file_bytes: FILE_BYTES,
                time_ns,
                verify: true,
                rung: true,
                ..FileSpec::default()
            }));
        }
    }
    steps
}
