//! `pathproof watch`: a soak of hours or days at a low load.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use pathproof_model::plan::DEFAULT_OVER;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{CommandName, Plan};
use pathproof_sys::clock::RealClock;

use super::client::ClientArgs;
use super::run::ClientRun;
use crate::registry::TRANSPORTS;
use crate::soak::{self, Wish};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof watch hv2 --for 8h -o night.json      what happened over night, hour by hour
  pathproof watch hv2 --until-fail                until the fault that nobody can catch shows itself
  pathproof report night.json --full              the time line and its events again

Exit codes: 0 nothing happened that a sound path does not have, 1 something did, 2 the peer was never reached, 3 cannot tell.
Ctrl-C ends it as its time does.";

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How long, as 30m, 8h, 3d [default: until Ctrl-C].
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<Nanoseconds>,
    /// End with the first event that a sound path does not have.
    #[arg(long)]
    pub until_fail: bool,
    /// How often path MTU and rate are probed, the latter at full rate for a second each way; 10s to 1h.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub probe_every: Nanoseconds,
    /// Transport of requests and rate probes.
    #[arg(long, default_value = DEFAULT_OVER, value_parser = TRANSPORTS)]
    pub over: String,
}

/// Runs the command.
pub fn run(args: WatchArgs, clock: &RealClock) -> Result<u8> {
    const PROBES: std::ops::RangeInclusive<u64> = 10_000_000_000..=3_600_000_000_000;
    ensure!(PROBES.contains(&args.probe_every.0), "--probe-every takes 10s to 1h; give one such as 10m");
    ensure!(
        args.time.is_none_or(|time| time.0 >= 1_000_000_000),
        "--for takes a second or more; give one such as 8h, or leave it out to go on until Ctrl-C"
    );
    let client = ClientRun::resolve(&args.client, clock)?;
    let wish = Wish {
        time: args.time.map(|time| Duration::from_nanos(time.0)),
        until_fail: args.until_fail,
        probe_every: Duration::from_nanos(args.probe_every.0),
        over: args.over,
        criteria: client.criteria.clone(),
    };
    let steps = wish.steps(args.time.map_or(u64::MAX, |time| time.0));
    let plan = Plan { command: CommandName::Watch, seed: client.seed, nodes: vec![], steps };
    client.conduct(plan, |order, observed, mut seen| {
        soak::run(order, &wish, observed, seen.file, &mut seen.observers)
    })
}
