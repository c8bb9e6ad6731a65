//! `pathproof offloads`: each offload of the session's NICs off for a short stream, and on again; where no single one fixes the path, several.

use anyhow::{Result, ensure};
use clap::Args;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{CommandName, Direction, OffloadTrial, Plan, StepSpec, TrafficSpec};

use super::client::ClientArgs;
use super::run::ClientRun;
use pathproof_sys::clock::RealClock;

/// How long each offload may be off.
const TIME_NS: std::ops::RangeInclusive<u64> = 500_000_000..=5_000_000_000;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof offloads stor2                 the offloads of this host, with the peer's as they are
  pathproof serve --allow-offloads         on stor2: then those of stor2 are tried as well
  pathproof offloads root@stor2            the same, with the far end started over ssh

Each is off for a stream both ways and on again after it; where no single one fixes a way,
pairs are tried, and then all of an end (14 trials more at most). They are on again also
after Ctrl-C, a lost peer or kill -9; what is typed where even that fails is printed first.
Needs root (CAP_NET_ADMIN). A NIC may lose its link for a moment when an offload changes:
try it when nobody needs the path.";

/// `offloads`.
#[derive(Debug, Args)]
pub struct OffloadsArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Length of the stream of each trial, 500ms to 5s.
    #[arg(long, short_alias = 't', default_value = "1500ms")]
    pub time: Nanoseconds,
}

/// Runs the command.
pub fn run(mut args: OffloadsArgs, clock: &RealClock) -> Result<u8> {
    ensure!(
        TIME_NS.contains(&args.time.0),
        "an offload is tried for {} to {}; choose another --time",
        Nanoseconds(*TIME_NS.start()),
        Nanoseconds(*TIME_NS.end())
    );
    let stream = TrafficSpec {
        // Both ways at once: what an end does to what it sends and to what it receives shows in one trial.
        direction: Direction::Both,
        time_ns: args.time.0,
        offload: Some(OffloadTrial::default()),
        ..TrafficSpec::default()
    };
    args.client.far.offloads = true;
    let client = ClientRun::resolve(&args.client, clock)?;
    let steps = vec![StepSpec::Facts, StepSpec::Stream(stream)];
    let plan = Plan { command: CommandName::Offloads, seed: client.seed, nodes: vec![], steps };
    client.run(plan)
}
