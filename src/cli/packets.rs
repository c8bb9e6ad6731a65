//! `pathproof bench packets`: the packet rate at which loss begins, or the receive buffer with which a rate holds.

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{CommandName, Direction, LossProbe, LossSpec, Plan, StepSpec};

use super::client::ClientArgs;
use super::run::ClientRun;
use pathproof_sys::clock::RealClock;

/// Source ports that the packets of a rate are spread over: what hashes them to queues sees several.
const FLOWS: u32 = 4;
/// Longest trial: as many packets as a step may have at the highest rate.
const TIME_NS_MAX: u64 = 2_500_000_000;

/// `bench packets`.
#[derive(Debug, Args)]
pub struct PacketsArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Which way; both are one after the other.
    #[arg(long, default_value = Direction::Out.name(), value_parser = direction())]
    pub direction: Direction,
    /// How long each rate is tried, up to 2.5s.
    #[arg(long, short_alias = 't', default_value = "1s")]
    pub time: Nanoseconds,
    /// The most that is tried, in packets per second.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub most: u32,
    /// The receiver reads only every so often, as a virtual machine does that waits for its processor (Hyper-V's sleep 10ms): 1ms to 100ms.
    #[arg(long, value_name = "TIME")]
    pub receiver_sleeps: Option<Nanoseconds>,
    /// What the receiving socket asks for as its buffer (SO_RCVBUF), 4KiB to 8MiB [default: as much as its kernel gives].
    #[arg(long, value_name = "SIZE")]
    pub buffer: Option<Bytes>,
    /// Search for the smallest receive buffer with which so many packets a second arrive, in the place of the rate.
    #[arg(long, value_name = "N", conflicts_with_all = ["most", "buffer"], value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub buffer_for: Option<u32>,
}

fn direction() -> impl TypedValueParser<Value = Direction> {
    let all = [Direction::Out, Direction::In, Direction::Both];
    PossibleValuesParser::new(all.map(Direction::name))
        .map(move |name| all.into_iter().find(|way| way.name() == name).unwrap_or_default())
}

/// Runs the command.
pub fn run(args: PacketsArgs, clock: &RealClock) -> Result<u8> {
    ensure!(
        (200_000_000..=TIME_NS_MAX).contains(&args.time.0),
        "a rate is tried for 200 ms to {}; choose another --time",
        Nanoseconds(TIME_NS_MAX)
    );
    let receive_buffer_bytes = args.buffer.map(|size| u32::try_from(size.0)).transpose();
    let search = LossSpec {
        flows: FLOWS,
        packets_per_s: args.buffer_for.unwrap_or(args.most),
        time_ns: args.time.0,
        probe: if args.buffer_for.is_some() { LossProbe::Buffer } else { LossProbe::Rate },
        direction: args.direction,
        receiver_sleeps_ns: args.receiver_sleeps.map(|time| time.0),
        receive_buffer_bytes: receive_buffer_bytes.context("--buffer is beyond 8 MiB")?,
    };
    let client = ClientRun::resolve(&args.client, clock)?;
    let steps = vec![StepSpec::Facts, StepSpec::Loss(search)];
    let plan = Plan { command: CommandName::Bench, seed: client.seed, nodes: vec![], steps };
    client.run(plan)
}
