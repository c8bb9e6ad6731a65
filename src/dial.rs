//! Reaches the peer's port: every address of its name, each soon after the one before it, again where the fault may pass, until a
//! deadline.
//!
//! A lost ARP request looks like a host that is not there, a link that is coming up like a network without a route.
//! Neither is an answer. A refusal is one, and so is silence for the whole time allowed: those end the search. An address that is
//! silent holds up neither the others nor an attempt from another source port, which may take another member of a bundle.

mod beside;
mod unreached;

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::clock::RealClock;
use pathproof_sys::interfaces;
use pathproof_sys::socket::may_pass;

pub use beside::Beside;

use crate::host::wires::{self, Listening};
use crate::secure::{Access, SecureError};
use pathproof_engine::channels::hosts::Way;
use unreached::Unreached;

/// How long a host may take to answer, all attempts together.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Pause before an address is tried again over which there was no way.
const PAUSE: Duration = Duration::from_millis(100);
/// So long the next address waits for the one before it (RFC 8305 section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// After so long a silence an address is tried from another source port: the kernel has asked twice by then.
const NEXT_PORT: Duration = Duration::from_millis(1300);
/// Attempts at an address that stays silent.
const ATTEMPTS_MAX: usize = 3;
/// Most addresses of a name that are dialled: few hosts have more, and who answers for names must not make this one call thousands.
const ADDRESSES_MAX: usize = 32;

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError::new(kind, message.into())
}

/// A connection, and what becomes of the attempts beside it.
pub struct Reached {
    /// The first that opened.
    pub stream: TcpStream,
    /// The others.
    pub beside: Beside,
    /// Who answered when the kernel asked for the addresses.
    pub listening: Listening,
}

/// Connects to the address of `host` that answers first, within `patience` in all. Without a key nobody but this host is
/// even dialled, unless the user said so (`access`).
pub fn reach(
    host: &str,
    port: u16,
    access: &Access,
    patience: Duration,
    clock: &RealClock,
) -> Result<Reached, StepError> {
    let addresses =
        (host, port).to_socket_addrs().map_err(|why| error(ErrorKind::Invalid, unresolved(host, &why)))?;
    let most = CONNECT.min(patience);
    let until = clock.deadline(most);
    let (allowed, others) = dialled(addresses, access);
    if allowed.is_empty() {
        return Err(match others.first() {
            Some(_) => error(ErrorKind::Refused, format!("{host}:{port}: {}", SecureError::NoKey)),
            None => error(ErrorKind::Invalid, format!("{host:?} has no address; give an IP address")),
        });
    }
    let listening = Listening::to(&allowed);
    let mut unreached = Unreached::new(&allowed, most);
    let mut beside = Beside::new(host, clock);
    // What is to be tried, and after what time.
    let mut due: Vec<(Duration, SocketAddr)> =
        allowed.iter().enumerate().map(|(nth, address)| (NEXT_ADDRESS * nth as u32, *address)).collect();
    loop {
        let passed = most.saturating_sub(until.left());
        let (now, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|(after, _)| *after <= passed);
        due = later;
        for (_, address) in now {
            beside.begin(address, until.left())?;
            if beside.attempts_at(address) < ATTEMPTS_MAX {
                due.push((passed + NEXT_PORT, address));
            }
        }
        if until.is_over() || (!beside.is_under_way() && due.is_empty()) {
            // Who has an address is asked behind that, and takes its time.
            let room = patience.saturating_sub(most + wires::WAIT * 2);
            return Err(with_claims(unreached.said(room), &allowed, &listening));
        }
        let next = due.iter().map(|(after, _)| after.saturating_sub(passed)).min();
        match beside.outcome(next.unwrap_or(most).min(until.left())) {
            None => {}
            Some((_, Ok(stream))) => {
                // Who comes after it in the name's list is asked, too: others may begin with it.
                let rest = due.into_iter().filter(|(_, address)| beside.attempts_at(*address) == 0);
                let rest: Vec<_> = rest.map(|(_, address)| address).collect();
                for address in rest {
                    beside.begin(address, most)?;
                }
                return Ok(Reached { beside: beside.settle(&stream), stream, listening });
            }
            Some((address, Err(cause))) => {
                let passed = most.saturating_sub(until.left());
                due.retain(|(_, other)| *other != address);
                if may_pass(&cause) {
                    due.push((passed + PAUSE, address));
                }
                unreached.ended(address, cause);
                // Nobody waits for an address that has given its answer.
                if let Some((after, _)) = due.iter_mut().find(|(_, next)| beside.attempts_at(*next) == 0) {
                    *after = passed;
                }
            }
        }
    }
}

/// Those that are dialled, and those that must not be without a key.
fn dialled(
    addresses: impl Iterator<Item = SocketAddr>,
    access: &Access,
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let (mut allowed, others): (Vec<_>, Vec<_>) = addresses.partition(|address| access.allows(address.ip()));
    allowed.truncate(ADDRESSES_MAX);
    (allowed, others)
}

/// Why a name or an address leads nowhere before anybody is asked.
fn unresolved(host: &str, why: &std::io::Error) -> String {
    let of_a_link = host.split_once('%').filter(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    let nics = interfaces::list().unwrap_or_default();
    match of_a_link {
        // A link may be given by its number, too.
        Some((address, nic))
            if !nics.is_empty() && nics.iter().all(|one| one.name != nic && one.index.to_string() != nic) =>
        {
            format!(
                "this host has no NIC {nic:?}, of whose link {address} would be; `pathproof devices` lists its NICs"
            )
        }
        _ => format!(
            "cannot resolve {host:?}: {why}; check the spelling (getent ahosts {host}) and the name server, or give an IP address"
        ),
    }
}

/// An address with two owners refuses, resets or swallows connections by chance, and so do two hosts with one hardware
/// address: where that is so, it is what has to be said.
fn with_claims(mut failed: StepError, tried: &[SocketAddr], listening: &Listening) -> StepError {
    let heard = listening.heard();
    if let Some(claim) = tried.iter().find_map(|address| wires::disputed(address.ip(), None, &heard)) {
        let code = claim.code;
        let named = if claim.certain { format!("{code}: ") } else { String::new() };
        failed.message = format!("{}; {} ({named}pathproof explain {code})", failed.message, claim.said);
    }
    failed
}

/// One attempt, with a segment size that every path carries (RFC 9293 §3.7.1), announced and obeyed both ways: the
/// control channel must live on the very paths whose MTU is at fault, and has no need for large segments.
pub fn once(address: SocketAddr, within: Duration, way: Option<&Way>) -> std::io::Result<TcpStream> {
    attempt(address, within, way.map(|way| way.nic.as_str()), way.map(|way| way.local))
}

/// The same by a NIC and from an address of this host's, each where it is given.
fn attempt(
    address: SocketAddr,
    within: Duration,
    nic: Option<&str>,
    from: Option<IpAddr>,
) -> std::io::Result<TcpStream> {
    const SEGMENT_BYTES: u32 = 536;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_tcp_mss(SEGMENT_BYTES)?;
    if let Some(nic) = nic {
        socket.bind_device(Some(nic.as_bytes()))?;
    }
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    // No time at all would be an error of its own.
    socket.connect_timeout(&address.into(), within.max(Duration::from_millis(1)))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_name_with_very_many_addresses_few_are_dialled() {
        let many = (0..100).map(|last| SocketAddr::from(([127, 0, 0, last], 7797)));
        let another = SocketAddr::from(([192, 0, 2, 1], 7797));
        let (allowed, others) = dialled(many.chain([another]), &Access::Loopback);
        assert_eq!((allowed.len(), others), (ADDRESSES_MAX, vec![another]));
        assert_eq!(allowed[0].ip(), IpAddr::from([127, 0, 0, 0]), "the resolver's order is kept");
    }

    #[test]
    fn an_address_of_a_link_that_is_not_there_is_no_name_to_look_up() {
        let why = std::io::Error::other("not known");
        let said = unresolved("fe80::1%nosuch0", &why);
        assert!(said.contains("no NIC \"nosuch0\"") && said.contains("pathproof devices"), "{said}");
        for name in ["stor9", "fe80::1%lo", "stor9%nosuch0"] {
            let said = unresolved(name, &why);
            assert!(
                said.contains("cannot resolve") && said.contains(&format!("getent ahosts {name}")),
                "{said}"
            );
        }
    }
}
