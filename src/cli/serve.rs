//! `pathproof serve`: listen, announce, serve.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use pathproof_model::Limits;
use pathproof_model::units::{Bytes, Nanoseconds};

use super::raw::{DEFAULT_PORT, ServeArgs};
use super::run::read_key;
use crate::host;
use crate::secure::Key;
use crate::serve::{Listening, Settings, all_loopback, one_time_key};
use crate::terminal;

/// Shorter keys can be guessed by whoever may try.
const KEY_LENGTH_MIN: usize = 8;

/// Runs the command; returns only when it cannot.
pub fn run(args: ServeArgs) -> Result<u8> {
    let limits = parse_limits(&args.limits)?;
    let given = read_key(args.key.as_deref(), args.key_file.as_deref())?;
    if let Some(short) = given.as_deref().filter(|key| key.chars().count() < KEY_LENGTH_MIN) {
        bail!(
            "the key has {} characters and could be guessed; give at least {KEY_LENGTH_MIN}, or none for a one-time key",
            short.chars().count()
        );
    }
    let made = match &given {
        None if !all_loopback(&args.listen) => Some(one_time_key().context("cannot make a one-time key")?),
        _ => None,
    };
    let key = Key::new(given.as_deref().or(made.as_deref()));
    let settings = Settings {
        key,
        limits: limits.clone(),
        device: args.device.clone(),
        observe: Arc::new(host::observe),
    };
    let server = Listening::bind(&args.listen, settings)?;
    announce(&server.addresses(), made.as_deref(), given.is_some(), &limits);
    server.run();
    Ok(0)
}

fn announce(addresses: &[SocketAddr], made: Option<&str>, given: bool, limits: &Limits) {
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
    let key = match (made, given) {
        (Some(key), _) => format!(" --key {key}"),
        (None, true) => " --key-file FILE    (with the same key)".into(),
        (None, false) => String::new(),
    };
    if made.is_some() {
        lines.push(
            "pathproof: no key was given, so this one was made for as long as this process runs".into(),
        );
    }
    lines.push("pathproof: on the other machine run".into());
    for address in addresses {
        for host in hosts_of(address) {
            let port =
                if address.port() == DEFAULT_PORT { String::new() } else { format!(":{}", address.port()) };
            lines.push(format!("    pathproof check {host}{port}{key}"));
        }
    }
    terminal::say_lines(lines);
}

/// The addresses by which others may reach a listener, the likeliest first.
fn hosts_of(address: &SocketAddr) -> Vec<String> {
    let bracketed = |ip: std::net::IpAddr| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    if !address.ip().is_unspecified() {
        return vec![bracketed(address.ip())];
    }
    let mut hosts: Vec<String> = host::observe()
        .environment
        .nics
        .iter()
        .filter(|nic| nic.up != Some(false))
        .flat_map(|nic| &nic.addresses)
        .map(|a| a.address)
        .filter(|ip| !ip.is_loopback() && (ip.is_ipv4() || address.is_ipv6()))
        .filter(|ip| !matches!(ip, std::net::IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80))
        .map(bracketed)
        .take(4)
        .collect();
    if hosts.is_empty() {
        hosts.push("THIS-HOST".into());
    }
    hosts
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
        for bad in ["clients", "clients=0", "speed=3", "time=5 years"] {
            assert!(parse_limits(bad).is_err(), "{bad}");
        }
    }
}
