//! `pathproof serve`: listen, announce, serve.

mod one_client;
mod place;
mod sink;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use pathproof_model::Limits;
use pathproof_model::units::{Bytes, Nanoseconds};

use clap::Args;

use super::key::{KeyArgs, VARIABLE};
use crate::host;
use crate::peer::DEFAULT_PORT;
use crate::secure::{Access, Key};
use crate::serve::{Settings, spoken};
use crate::terminal;
use pathproof_sys::clock::RealClock;
use pathproof_sys::interfaces::set_offload;
use place::{Place, Sockets};
use sink::SinkArgs;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  pathproof serve                                    all addresses, with a one-time code
  pathproof serve --listen 10.0.0.2 --key-file stor2.key
  pathproof serve --listen eth1                      the addresses of one NIC
  pathproof serve --listen 5000                      another port, of every address
  pathproof serve --listen 127.0.0.1                 loopback needs no key
  pathproof serve --limits time=5min,lanes=16,memory=4GiB
  pathproof serve --allow-offloads                   pathproof offloads may try this host's
  pathproof serve --smb-sink 10.0.0.2:445            also a share in memory, for foreign SMB clients";

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen: a port, an address of this host, ADDRESS:PORT, or a NIC, which stands for its addresses; may be repeated.
    /// Without it: port 7797 of every address, IPv4 and IPv6.
    #[arg(long, short_alias = 'p', alias = "port", value_name = "PORT|ADDRESS|NIC")]
    pub listen: Vec<Place>,
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
    /// Serve one client alone: the key is the first line of standard input, and the end of standard input is the end. So is a minute
    /// without a byte there. `check USER@HOST` starts the other host's end like this.
    #[arg(long, conflicts_with_all = ["key", "key_file", "no_key", "smb_sink"])]
    pub one_client: bool,
    /// Let clients have the offloads of this host turned off for short streams, one at a time, and on again (`pathproof offloads`). Needs
    /// root (CAP_NET_ADMIN).
    #[arg(long)]
    pub allow_offloads: bool,
    #[command(flatten)]
    sink: SinkArgs,
}

/// Shorter keys can be guessed by whoever may try.
const KEY_LENGTH_MIN: usize = 8;

/// Runs the command; returns only when it cannot.
pub fn run(args: ServeArgs, clock: &RealClock) -> Result<u8> {
    let limits = parse_limits(&args.limits)?;
    let may = if args.allow_offloads { set_offload::permitted() } else { Ok(()) };
    let limits = Limits { offloads: args.allow_offloads && may.is_ok(), ..limits };
    if args.one_client {
        // Whoever started it learns that none was tried there.
        return one_client::run(&args, limits, clock);
    }
    may.map_err(anyhow::Error::msg)?;
    let sockets = Sockets::of(&args.listen)?;
    let (access, how) = access(&args, &sockets)?;
    let settings = Settings {
        access,
        limits: limits.clone(),
        device: args.device.clone(),
        observe: Arc::new(host::observe),
        clock: clock.clone(),
        tells: true,
        grace: Default::default(),
    };
    let server = sockets.listen(settings)?;
    announce(&server.addresses(), &how, &limits);
    terminal::say_lines(sink::start(&args.sink, clock)?);
    server.run();
    Ok(0)
}

/// How clients come in, for the announcement.
enum Admission {
    /// With the key that the user knows.
    Given,
    /// With the code made here.
    Made(String),
    /// From this machine alone, without a key.
    Loopback,
    /// Without a key, from anywhere.
    Open,
}

fn access(args: &ServeArgs, sockets: &Sockets) -> Result<(Access, Admission)> {
    let given = args.key.read()?;
    if let Some(short) = given.as_deref().filter(|key| key.chars().count() < KEY_LENGTH_MIN) {
        bail!(
            "the key has {} characters and could be guessed; give at least {KEY_LENGTH_MIN}, or none for a one-time code",
            short.chars().count()
        );
    }
    Ok(match given {
        Some(key) => (Access::Key(Key::new(&key)), Admission::Given),
        None if args.key.no_key => (Access::Anybody, Admission::Open),
        None if sockets.all_loopback() => (Access::Loopback, Admission::Loopback),
        None => {
            let code = spoken::code().context("cannot make a one-time code")?;
            (Access::Key(Key::new(&code)), Admission::Made(code))
        }
    })
}

fn announce(addresses: &[SocketAddr], way: &Admission, limits: &Limits) {
    let mut lines = Vec::new();
    for address in addresses {
        lines.push(format!("pathproof: listening on {address}"));
    }
    lines.push(format!(
        "pathproof: at most {} clients at once, {} lanes and {} a step, {} of memory",
        limits.clients,
        limits.lanes,
        Nanoseconds(limits.step_ns),
        Bytes(limits.memory_bytes)
    ));
    let (before, after) = match way {
        Admission::Made(code) => (format!("{VARIABLE}={code} "), ""),
        Admission::Given => (String::new(), " --key-file FILE    (with the same key, or set PATHPROOF_KEY)"),
        Admission::Loopback => (String::new(), ""),
        Admission::Open => (String::new(), " --no-key"),
    };
    match way {
        Admission::Made(_) => {
            lines.push("pathproof: no key was given, so this one-time code was made for as long as this process runs".into());
        }
        Admission::Open => {
            lines.push("pathproof: warning: --no-key: anyone who reaches this port can run measurements here; every result records it".into());
        }
        Admission::Given | Admission::Loopback => {}
    }
    lines.push("pathproof: on the other machine run".into());
    let mut hosts: Vec<String> = addresses.iter().flat_map(|address| hosts_of(address, addresses)).collect();
    if hosts.is_empty() {
        hosts.push("THIS-HOST".into());
    }
    for host in hosts {
        lines.push(format!("    {before}pathproof check {host}{after}"));
    }
    if matches!(way, Admission::Made(_)) {
        lines.push("pathproof: or put the code into a file there and add --key-file FILE".into());
    }
    terminal::say_lines(lines);
}

/// The addresses by which others may reach a listener, with its port where it has to be said, the likeliest first.
fn hosts_of(listener: &SocketAddr, all: &[SocketAddr]) -> Vec<String> {
    let named = |ip: IpAddr| {
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        if listener.port() == DEFAULT_PORT { host } else { format!("{host}:{}", listener.port()) }
    };
    if !listener.ip().is_unspecified() {
        return vec![named(listener.ip())];
    }
    // "[::]" alone is both families.
    let families = |ip: &IpAddr| ip.is_ipv4() == listener.is_ipv4() || all.iter().all(SocketAddr::is_ipv6);
    let environment = host::observe().environment;
    environment
        .nics
        .iter()
        .filter(|nic| nic.up != Some(false))
        .flat_map(|nic| &nic.addresses)
        .map(|a| a.address)
        .filter(|ip| !ip.is_loopback() && families(ip))
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80))
        .map(named)
        .take(4)
        .collect()
}

/// `clients=8,lanes=64,time=10min,size=64MiB,memory=4GiB`, each optional; also `total=8GiB`.
fn parse_limits(text: &str) -> Result<Limits> {
    let mut limits = Limits::default();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let help = "--limits takes clients=N, lanes=N, time=T, size=BYTES, memory=BYTES and total=BYTES, separated by commas";
        let (name, value) = part.split_once('=').with_context(|| format!("{part:?}: {help}"))?;
        let number =
            || value.parse::<u32>().ok().filter(|n| *n > 0).with_context(|| format!("{part:?}: {help}"));
        match name {
            "clients" => limits.clients = number()?,
            "lanes" => limits.lanes = number()?,
            "time" => limits.step_ns = value.parse::<Nanoseconds>().context("--limits time")?.0,
            "size" => limits.message_bytes = value.parse::<Bytes>().context("--limits size")?.0,
            "memory" => limits.memory_bytes = value.parse::<Bytes>().context("--limits memory")?.0,
            "total" => limits.total_memory_bytes = Some(value.parse::<Bytes>().context("--limits total")?.0),
            _ => bail!("{part:?}: {help}"),
        }
    }
    let numbers =
        [limits.step_ns, limits.message_bytes, limits.memory_bytes, limits.total_memory_bytes.unwrap_or(1)];
    if numbers.contains(&0) {
        bail!("--limits {text}: a limit of 0 grants nothing; leave it out, or do not serve");
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units() {
        assert_eq!(parse_limits("total=2GiB").unwrap().total_memory_bytes, Some(2 << 30));
        let limits = parse_limits("clients=2, time=90s,memory=1GiB").unwrap();
        assert_eq!((limits.clients, limits.step_ns, limits.memory_bytes), (2, 90_000_000_000, 1 << 30));
        for bad in ["clients", "clients=0", "memory=0", "time=0s", "total=0", "speed=3", "time=5 years"] {
            assert!(parse_limits(bad).is_err(), "{bad}");
        }
    }
}
