//! `pathproof bench`: one measurement on its own.

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand, ValueEnum};
use pathproof_api::manners::DEVICE;
use pathproof_model::plan::DEFAULT_OVER;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{CommandName, Direction, Plan, RequestLoad, TrafficKind, TrafficSpec, Verb};
use pathproof_rdma::transport::options::{REGISTRATION, Registration as Registered};

use super::client::ClientArgs;
use super::run::ClientRun;
use crate::registry::{TRANSPORTS, manners, those_that};
use pathproof_sys::clock::RealClock;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof bench stream stor2 --lanes 4 --direction both --time 10s
  pathproof bench stream stor2 --rate 2Gbit/s --verify
  pathproof bench pingpong stor2 --size 64 --busy-poll
  pathproof bench request stor2 --size 4KiB --rate 5000/s
  pathproof bench packets stor2 --direction both
  pathproof bench file //stor2/vms --user lab --password-file ~/lab-password --write --verify

iperf3's -t, -P, -R, -b, -l, -O, -J and --bidir mean the same here, and so does pathproof -c PEER; the other end runs
pathproof serve (or pathproof -s).";

/// `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub what: BenchCommand,
}

/// The measurements.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Bulk throughput.
    #[command(alias = "throughput")]
    Stream(TrafficArgs),
    /// Round trips, one message at a time.
    #[command(alias = "latency")]
    Pingpong(TrafficArgs),
    /// Requests and replies: open loop with --rate N/s, closed loop without.
    Request(TrafficArgs),
    /// The packet rate at which loss begins, and where: small datagrams, one rate after another.
    Packets(super::packets::PacketsArgs),
    /// Files on a share of an SMB server, which runs nothing of ours.
    File(super::file::FileArgs),
}

/// Options of one measurement.
#[derive(Debug, Args)]
pub struct TrafficArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Transport.
    #[arg(long, default_value = DEFAULT_OVER, value_parser = TRANSPORTS)]
    pub over: String,
    /// Lanes (connections or queue pairs), each with its own thread.
    #[arg(long, short_alias = 'P', alias = "parallel", default_value_t = 1)]
    pub lanes: u32,
    /// Message size [default: 128KiB for stream, 64 for pingpong, 4KiB for request].
    #[arg(long, short_alias = 'l', aliases = ["length", "len"])]
    pub size: Option<Bytes>,
    /// Reply size, for request [default: the request's].
    #[arg(long)]
    pub reply: Option<Bytes>,
    /// Measured window [default: 5s; 60s with --watch-links, at most].
    #[arg(long, short_alias = 't', alias = "duration")]
    pub time: Option<Nanoseconds>,
    /// Warm-up before it [default: 200ms, at most the window].
    #[arg(long, short_alias = 'O', alias = "omit")]
    pub warmup: Option<Nanoseconds>,
    /// Operations outstanding on each lane [default: 8; 1 for a closed-loop request].
    #[arg(long)]
    pub depth: Option<u32>,
    /// Which way payload (or the question) goes.
    #[arg(long, value_enum, default_value_t = DirectionArg::Out)]
    pub direction: DirectionArg,
    /// As --direction in, for who knows iperf3.
    #[arg(short = 'R', long, hide = true, conflicts_with = "direction")]
    pub reverse: bool,
    /// As --direction both.
    #[arg(long, hide = true, conflicts_with_all = ["direction", "reverse"])]
    pub bidir: bool,
    /// Rate over all lanes: a payload rate (1Gbit/s) for stream, requests per second (5000/s) for request.
    #[arg(long, short_alias = 'b', aliases = ["bitrate", "bandwidth"], value_name = "RATE")]
    pub rate: Option<String>,
    /// With stream: goodput that each direction must reach. Without it the rate is held against the link speed, where
    /// that is known.
    #[arg(long, value_name = "RATE", value_parser = super::values::expected_rate)]
    pub expect_rate: Option<BitsPerSecond>,
    /// Spin while waiting instead of sleeping; costs a core for each lane, and is labelled.
    #[arg(long)]
    pub busy_poll: bool,
    /// Send from place instead of copying into the kernel.
    #[arg(long, short_alias = 'Z', alias = "zerocopy")]
    pub zero_copy: bool,
    /// Throw received bytes away instead of placing them in memory.
    #[arg(long)]
    pub discard: bool,
    /// Verify every byte received.
    #[arg(long)]
    pub verify: bool,
    /// Upper limit of the TCP segment size, for a control run.
    #[arg(long, short_alias = 'M', alias = "set-mss", value_name = "BYTES")]
    pub max_segment: Option<u32>,
    /// Pin lane threads to CPUs.
    #[arg(long)]
    pub pin: bool,
    /// Put the memory on huge pages; where none are reserved, the result says so.
    #[arg(long)]
    pub huge_pages: bool,
    /// With --over rdma: register all memory before the run, each message's while it is under way, or
    /// let the peer in by a memory window.
    #[arg(long, value_enum)]
    pub registration: Option<Registration>,
    /// Verb, for transports that have a choice: send, write or read.
    #[arg(long, value_parser = PossibleValuesParser::new(Verb::ALL.map(Verb::name)).try_map(|name| name.parse::<Verb>()))]
    pub verb: Option<Verb>,
    /// RDMA device here [default: the one on the route to the peer].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Gone: the peer chooses its device (pathproof serve --device).
    #[arg(long, value_name = "DEVICE", hide = true)]
    pub peer_device: Option<String>,
    /// Option of the transport, as NAME=VALUE; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", long_help = crate::lane_options::help())]
    pub options: Vec<String>,
    /// With stream --over multi: also measure each NIC alone, briefly, and compare their sum.
    #[arg(long)]
    pub singles: bool,
    /// With --over multi: take this NIC down T into the window, and bring it back at RECOVER; needs root.
    #[arg(long, value_name = "IF@T[:RECOVER]")]
    pub fail: Vec<String>,
    /// With stream --over multi: wait for you to pull a cable, at either end, and to plug it in again; ends by itself.
    #[arg(long, conflicts_with = "fail")]
    pub watch_links: bool,
}

impl TrafficArgs {
    fn direction(&self) -> DirectionArg {
        match (self.reverse, self.bidir) {
            (true, _) => DirectionArg::In,
            (_, true) => DirectionArg::Both,
            _ => self.direction,
        }
    }
}

/// When memory is registered with the RDMA device, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Registration {
    /// All of it before the run.
    UpFront,
    /// Each message's from its posting to its completion.
    PerChunk,
    /// As up-front, and the peer reaches it by a memory window, as under SMB Direct.
    Window,
}

impl From<Registration> for Registered {
    fn from(typed: Registration) -> Registered {
        match typed {
            Registration::UpFront => Registered::UpFront,
            Registration::PerChunk => Registered::PerChunk,
            Registration::Window => Registered::Window,
        }
    }
}

/// Directions as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// From here to the peer.
    Out,
    /// From the peer to here.
    In,
    /// Both at once, each on its own lanes.
    Both,
}

impl From<DirectionArg> for Direction {
    fn from(way: DirectionArg) -> Direction {
        match way {
            DirectionArg::Out => Direction::Out,
            DirectionArg::In => Direction::In,
            DirectionArg::Both => Direction::Both,
        }
    }
}

/// Runs the command.
pub fn run(args: BenchArgs, clock: &RealClock) -> Result<u8> {
    let (kind, mut args) = match args.what {
        BenchCommand::Stream(args) => (TrafficKind::Stream, args),
        BenchCommand::Pingpong(args) => (TrafficKind::Pingpong, args),
        BenchCommand::Request(args) => (TrafficKind::Request, args),
        BenchCommand::Packets(args) => return super::packets::run(args, clock),
        BenchCommand::File(args) => return super::file::run(args, clock),
    };
    let spec = traffic(kind, &args)?;
    args.client.own_device = args.device.clone();
    let mut client = ClientRun::resolve(&args.client, clock)?;
    client.criteria.expect(args.expect_rate.map(|rate| rate.0), None);
    let plan =
        Plan { command: CommandName::Bench, seed: client.seed, nodes: vec![], steps: vec![kind.step(spec)] };
    client.run(plan)
}

/// The step that the arguments mean, with every default made explicit.
pub fn traffic(kind: TrafficKind, args: &TrafficArgs) -> Result<TrafficSpec> {
    const MS: u64 = 1_000_000;
    let time_ns = args.time.map_or(if args.watch_links { 60_000 * MS } else { 5000 * MS }, |time| time.0);
    if time_ns == 0 {
        bail!("--time 0 measures nothing; give a window such as 5s or 200ms");
    }
    lanes_and_sizes(args)?;
    let size = args.size.unwrap_or(Bytes(match kind {
        TrafficKind::Stream => 128 << 10,
        TrafficKind::Pingpong => 64,
        TrafficKind::Request => 4 << 10,
    }));
    let mut spec = TrafficSpec {
        over: args.over.clone(),
        direction: args.direction().into(),
        lanes: args.lanes,
        size_bytes: size.0,
        reply_bytes: args.reply.map(|r| r.0),
        time_ns,
        warmup_ns: args.warmup.map_or((200 * MS).min(time_ns), |w| w.0),
        cooldown_ns: 100 * MS,
        busy_poll: args.busy_poll,
        zero_copy: args.zero_copy,
        discard: args.discard,
        verify: args.verify,
        max_segment_bytes: args.max_segment,
        pin: args.pin,
        huge_pages: args.huge_pages,
        verb: args.verb,
        ..TrafficSpec::default()
    };
    if let Some(rate) = &args.rate {
        at_rate(kind, rate, &mut spec)?;
    }
    spec.depth = depth(kind, args, &spec)?;
    has_meaning(kind, args)?;
    over_nics(kind, args, &mut spec)?;
    over_adapters(args, &mut spec)?;
    super::add_options(&mut spec.options, &args.options)?;
    if let Some(device) = &args.peer_device {
        bail!("--peer-device is the peer's to choose: start it with `pathproof serve --device {device}`");
    }
    Ok(spec)
}

/// Refuses what no step can have.
fn lanes_and_sizes(args: &TrafficArgs) -> Result<()> {
    let limits = pathproof_model::Limits::default();
    if args.lanes == 0 {
        bail!("--lanes 0 measures nothing; give at least 1");
    }
    if args.lanes > limits.lanes {
        bail!(
            "--lanes {} is more than the {} that a step can have; one lane is one thread",
            args.lanes,
            limits.lanes
        );
    }
    for (name, size) in [("--size", args.size), ("--reply", args.reply)] {
        if let Some(size) = size
            && !(1..=limits.message_bytes).contains(&size.0)
        {
            let most = Bytes(limits.message_bytes);
            bail!("{name} {} is not between 1 B and {most}; give one such as 64KiB", size.0);
        }
    }
    Ok(())
}

/// What `--rate` means: bits of a stream, requests of an open loop.
fn at_rate(kind: TrafficKind, rate: &str, spec: &mut TrafficSpec) -> Result<()> {
    match kind {
        TrafficKind::Stream => {
            let rate: BitsPerSecond = rate.parse().context("--rate")?;
            if rate.0 == 0 {
                bail!("--rate 0 sends nothing; leave it out for as fast as it goes");
            }
            spec.rate_bits_per_s = Some(rate.0);
        }
        TrafficKind::Request => {
            let number = rate.strip_suffix("/s").unwrap_or(rate);
            let rate: u64 = number.trim().parse().ok().filter(|r| *r > 0).with_context(|| {
                format!("--rate {rate:?} is not a number of requests per second; write 5000/s")
            })?;
            spec.requests_per_s = Some(rate);
            spec.load = RequestLoad::Open;
        }
        TrafficKind::Pingpong => {
            bail!("--rate has no meaning for pingpong, whose load is closed; use bench request")
        }
    }
    Ok(())
}

/// How many operations a lane has under way.
fn depth(kind: TrafficKind, args: &TrafficArgs, spec: &TrafficSpec) -> Result<u32> {
    let closed = kind.has_replies() && spec.load == RequestLoad::Closed;
    let depth = args.depth.unwrap_or(match kind {
        TrafficKind::Request if closed => 1,
        TrafficKind::Request => 64,
        TrafficKind::Stream => manners(&spec.over).stream_depth,
        TrafficKind::Pingpong => 8,
    });
    if !(1..=4096).contains(&depth) {
        bail!("--depth {depth} is not between 1 and 4096; give one such as 8, or leave it out");
    }
    Ok(depth)
}

/// Refuses what has no meaning for a kind of traffic.
fn has_meaning(kind: TrafficKind, args: &TrafficArgs) -> Result<()> {
    if args.depth.is_some() && !kind.has_depth() {
        bail!("--depth has no meaning for pingpong, which has one message under way; use bench request");
    }
    if args.reply.is_some() && !kind.has_replies() {
        bail!("--reply is for request, whose answer can have a size of its own; use bench request");
    }
    if args.expect_rate.is_some() && !kind.is_bulk() {
        bail!("--expect-rate is for stream, whose goodput is judged; use bench stream");
    }
    if args.verify && !kind.is_bulk() {
        bail!("--verify is for stream; use bench stream");
    }
    Ok(())
}

/// What is for streams over several NICs.
fn over_nics(kind: TrafficKind, args: &TrafficArgs, spec: &mut TrafficSpec) -> Result<()> {
    let several = kind.is_bulk() && manners(&spec.over).several_nics;
    let stripes = || those_that(|m| m.several_nics);
    if args.singles {
        if !several {
            bail!(
                "--singles is for bench stream --over {}, which uses several NICs; name that transport, or leave it out",
                stripes()
            );
        }
        spec.singles = true;
    }
    if args.watch_links {
        if !several {
            bail!(
                "--watch-links is for bench stream --over {}, which can go on without a NIC; name that transport, or leave it out",
                stripes()
            );
        }
        spec.verify = true;
        spec.watch_links = true;
    }
    if !args.fail.is_empty() {
        if !several {
            bail!(
                "--fail is for bench stream --over {}, which can go on without a NIC; name that transport, or leave it out",
                stripes()
            );
        }
        // What a failure did to the bytes can only be told by looking at them.
        spec.verify = true;
        spec.fail.clone_from(&args.fail);
    }
    Ok(())
}

/// What is for lanes over adapters.
fn over_adapters(args: &TrafficArgs, spec: &mut TrafficSpec) -> Result<()> {
    let adapter = manners(&spec.over).adapter;
    let adapters = || those_that(|m| m.adapter);
    if let Some(registration) = args.registration {
        if !adapter {
            bail!("--registration is for --over {}; {} registers no memory", adapters(), spec.over);
        }
        REGISTRATION.write(&mut spec.options, registration.into());
    }
    if let Some(device) = &args.device {
        if !adapter {
            bail!("--device is for --over {}; {} goes where the route leads", adapters(), spec.over);
        }
        DEVICE.write(&mut spec.options, device.clone());
    }
    Ok(())
}
