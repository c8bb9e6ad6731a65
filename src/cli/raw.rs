//! The command line as typed: one definition for help, man page and completions. No I/O happens here.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts, where [:PORT] means what it says"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pathproof_model::Direction;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};

use super::key::KeyArgs;

/// What `--over` takes.
pub const TRANSPORTS: [&str; 3] = ["tcp", "multi", "rdma"];

/// Port of `pathproof serve`.
pub const DEFAULT_PORT: u16 = 7797;

/// Check whether a network path is ready for SMB Direct, SMB Multichannel, jumbo frames and live migration, or name what is
/// wrong with it.
#[derive(Debug, Parser)]
#[command(name = "pathproof", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Raw {
    /// Log more to standard error (-vv for everything).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Begin with:
  pathproof check --self     both ends on this machine, to see what a report looks like
  pathproof serve            on one host; it prints the command for the other host
  pathproof check PEER       on the other host

Exit codes: 0 fit, 1 not fit, 2 could not run (bad input, unsupported, refused, unreachable), 3 cannot tell,
130 interrupted by Ctrl-C, 143 by SIGTERM or SIGHUP.";

const CHECK_USAGE: &str = "pathproof check [OPTIONS] <PEER | --self>";

const CHECK_EXAMPLES: &str = "\
Examples:
  pathproof check --self
  pathproof check stor2 --key-file stor2.key -o stor2.json
  pathproof check stor2 --thorough --criteria strict.toml
  pathproof check stor2 --format json | jq '.verdicts[]'

Exit codes: 0 fit, 1 not fit, 2 could not run (bad input, unsupported, refused, unreachable), 3 cannot tell,
130 interrupted by Ctrl-C, 143 by SIGTERM or SIGHUP.";

const BENCH_EXAMPLES: &str = "\
Examples:
  pathproof bench stream stor2 --lanes 4 --direction both --time 10s
  pathproof bench stream stor2 --rate 2Gbit/s --verify
  pathproof bench pingpong stor2 --size 64 --busy-poll
  pathproof bench request stor2 --size 4KiB --rate 5000/s";

const SERVE_EXAMPLES: &str = "\
Examples:
  pathproof serve                                    all addresses, with a one-time code
  pathproof serve --listen 10.0.0.2:7797 --key-file stor2.key
  pathproof serve --listen 127.0.0.1:7797            loopback needs no key
  pathproof serve --limits time=5min,lanes=16,memory=4GiB";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server side: answer the measurements that clients ask for.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Check the path to a peer and judge it (the main job).
    #[command(override_usage = CHECK_USAGE, after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Make one measurement on its own.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Find the exact path MTU of every NIC pair, both directions, and what limits it.
    Mtu(MtuArgs),
    /// List the NICs and RDMA devices of this machine.
    Devices(DevicesArgs),
    /// Predict which NIC pairs SMB Multichannel would use, and why not the others.
    Channels(super::channels::ChannelsArgs),
    /// Ask an SMB server about itself: dialect, Multichannel, signing, encryption, its NICs.
    Smb(super::smb::SmbArgs),
    /// Rehearse a live migration: real memory, really dirtied, really copied, verified.
    #[command(mut_arg("peer", |peer| peer.required_unless_present_any(["self_test", "plan", "pid"])))]
    Migrate(super::migrate::MigrateArgs),
    /// Render a stored result again.
    Report(ReportArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// `HOST[:PORT]`: a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// As typed.
    pub text: String,
}

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Peer, String> {
        let help = || format!("{text:?} is not a peer; write HOST, HOST:PORT, IPV4[:PORT] or [IPV6][:PORT]");
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(help)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(help()),
            }
        } else if text.matches(':').count() > 1 {
            // A bare IPv6 address: its colons cannot be a port's.
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| help())?;
        if host.is_empty() || port == 0 || host.contains(char::is_whitespace) {
            return Err(help());
        }
        Ok(Peer { host: host.into(), port, text: text.into() })
    }
}

/// An IP MTU in bytes.
fn ip_mtu(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| (68..=65_535).contains(bytes));
    bytes.ok_or_else(|| format!("{text} is no IP MTU; give a number of bytes from 68 to 65535"))
}

/// Formats of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, one terminal page.
    #[default]
    Text,
    /// The result document.
    Json,
    /// HdrHistogram interval log.
    Hlog,
}

/// How a client reaches its peer, and what becomes of the result.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The peer, as HOST[:PORT]; it runs `pathproof serve`.
    #[arg(value_name = "PEER", required_unless_present = "self_test")]
    pub peer: Option<Peer>,
    /// Run both ends on this machine, over loopback; nothing to install anywhere.
    #[arg(long = "self", conflicts_with = "peer")]
    pub self_test: bool,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Write the result document here, rewritten after every step.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Format of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Progress as JSON lines on standard error, for programs.
    #[arg(long)]
    pub json_stream: bool,
    /// Limits to judge by, a TOML file; what it leaves out keeps the built-in value.
    #[arg(long, value_name = "FILE")]
    pub criteria: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// With --self, the RDMA device of the other end, which is this machine's too.
    #[arg(skip)]
    pub own_device: Option<String>,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on; may be repeated. Without it: port 7797 of every address, IPv4 and IPv6.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,
    /// The key that clients must have. Without one a one-time code is made, unless all addresses are loopback.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Limits, as clients=8,lanes=256,time=1h,size=64MiB,memory=64GiB (those are the defaults); total=BYTES for all clients together
    /// [default: half of the memory available at start].
    #[arg(long, value_name = "LIMITS", default_value = "", hide_default_value = true)]
    pub limits: String,
    /// RDMA device to serve with [default: the one with the address that a client reaches].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// At most 15 seconds.
    #[arg(long, conflicts_with = "thorough")]
    pub quick: bool,
    /// At most 4 minutes, for a sign-off.
    #[arg(long)]
    pub thorough: bool,
    /// Transport.
    #[arg(long, default_value = "tcp", value_parser = TRANSPORTS)]
    pub over: String,
    /// Goodput that each direction must reach. Without it the rate is held against the link speed, where that is known.
    #[arg(long, value_name = "RATE")]
    pub expect_rate: Option<BitsPerSecond>,
    /// Every path must carry IP packets of so many bytes (68 to 65535).
    #[arg(long, value_name = "BYTES", value_parser = ip_mtu)]
    pub expect_mtu: Option<u32>,
    /// Run the steps of this TOML file instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "thorough", "over"])]
    pub plan: Option<PathBuf>,
}

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
    Stream(TrafficArgs),
    /// Round trips, one message at a time.
    Pingpong(TrafficArgs),
    /// Requests and replies: open loop with --rate N/s, closed loop without.
    Request(TrafficArgs),
}

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

/// Options of one measurement.
#[derive(Debug, Args)]
pub struct TrafficArgs {
    /// Peer and output.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Transport.
    #[arg(long, default_value = "tcp", value_parser = TRANSPORTS)]
    pub over: String,
    /// Lanes (connections or queue pairs), each with its own thread.
    #[arg(long, default_value_t = 1)]
    pub lanes: u32,
    /// Message size [default: 128KiB for stream, 64 for pingpong, 4KiB for request].
    #[arg(long)]
    pub size: Option<Bytes>,
    /// Reply size, for request [default: the request's].
    #[arg(long)]
    pub reply: Option<Bytes>,
    /// Measured window [default: 5s; 60s with --watch-links, at most].
    #[arg(long)]
    pub time: Option<Nanoseconds>,
    /// Warm-up before it [default: 200ms, at most the window].
    #[arg(long)]
    pub warmup: Option<Nanoseconds>,
    /// Operations outstanding on each lane [default: 8; 1 for a closed-loop request].
    #[arg(long)]
    pub depth: Option<u32>,
    /// Which way payload (or the question) goes.
    #[arg(long, value_enum, default_value_t = Way::Out)]
    pub direction: Way,
    /// Rate over all lanes: a payload rate (1Gbit/s) for stream, requests per second (5000/s) for request.
    #[arg(long, value_name = "RATE")]
    pub rate: Option<String>,
    /// With stream: goodput that each direction must reach. Without it the rate is held against the link speed, where
    /// that is known.
    #[arg(long, value_name = "RATE")]
    pub expect_rate: Option<BitsPerSecond>,
    /// Spin while waiting instead of sleeping; costs a core for each lane, and is labelled.
    #[arg(long)]
    pub busy_poll: bool,
    /// Send from place instead of copying into the kernel.
    #[arg(long)]
    pub zero_copy: bool,
    /// Throw received bytes away instead of placing them in memory.
    #[arg(long)]
    pub discard: bool,
    /// Verify every byte received.
    #[arg(long)]
    pub verify: bool,
    /// Upper limit of the TCP segment size, for a control run.
    #[arg(long, value_name = "BYTES")]
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
    #[arg(long, value_parser = ["send", "write", "read"])]
    pub verb: Option<String>,
    /// RDMA device here [default: the one on the route to the peer].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Gone: the peer chooses its device (pathproof serve --device).
    #[arg(long, value_name = "DEVICE", hide = true)]
    pub peer_device: Option<String>,
    /// Option of the transport, as NAME=VALUE; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE")]
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

/// Directions as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// From here to the peer.
    Out,
    /// From the peer to here.
    In,
    /// Both at once, each on its own lanes.
    Both,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Direction {
        match way {
            Way::Out => Direction::Out,
            Way::In => Direction::In,
            Way::Both => Direction::Both,
        }
    }
}

/// Formats of a list of devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Format of the list.
    #[arg(long, value_enum, default_value_t)]
    pub format: ListFormat,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A result document.
    pub file: PathBuf,
    /// Format of the report.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Judge it again by these limits, a TOML file.
    #[arg(long, value_name = "FILE")]
    pub criteria: Option<PathBuf>,
    /// Judge it again: the goodput that each direction must reach.
    #[arg(long, value_name = "RATE")]
    pub expect_rate: Option<BitsPerSecond>,
    /// Judge it again: every path must carry IP packets of so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = ip_mtu)]
    pub expect_mtu: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Raw::command().debug_assert();
    }

    #[test]
    fn the_transports_that_can_be_typed_are_those_of_this_build() {
        assert_eq!(crate::registry::Registry::new().names(), TRANSPORTS);
    }

    #[test]
    fn peers_of_every_spelling() {
        for (text, host, port) in [
            ("stor1", "stor1", DEFAULT_PORT),
            ("stor1:9", "stor1", 9),
            ("10.0.0.1:17999", "10.0.0.1", 17999),
            ("[fe80::1%eth0]:5", "fe80::1%eth0", 5),
            ("[::1]", "::1", DEFAULT_PORT),
            ("fd00::2", "fd00::2", DEFAULT_PORT),
        ] {
            let peer: Peer = text.parse().unwrap();
            assert_eq!((peer.host.as_str(), peer.port), (host, port), "{text}");
        }
        for text in ["", ":5", "host:", "host:x", "host:70000", "host:0", "[::1", "[::1]x", "a b"] {
            assert!(text.parse::<Peer>().is_err(), "{text:?}");
        }
    }
}
