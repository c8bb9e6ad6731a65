//! Reaches the peer's port: every address of its name, each soon after the one before it, again where the fault may pass, until a
//! deadline.
//!
//! A lost ARP request looks like a host that is not there, a link that is coming up like a network without a route.
//! Neither is an answer. A refusal is one, and so is silence for the whole time allowed: those end the search. An address that is
//! silent holds up neither the others nor an attempt from another source port, which may take another member of a bundle.

mod beside;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::clock::RealClock;
use pathproof_sys::socket::may_pass;

pub use beside::Beside;

use crate::host::wires;
use crate::secure::{Access, SecureError};
use pathproof_engine::channels::hosts::Way;

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

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError::new(kind, message.into())
}

/// A connection, and what becomes of the attempts beside it.
pub struct Reached {
    /// The first that opened.
    pub stream: TcpStream,
    /// The others.
    pub beside: Beside,
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
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|e| {
            error(
                ErrorKind::Invalid,
                format!("cannot resolve {host:?}: {e}; check the spelling (getent hosts NAME) or give an IP address"),
            )
        })?
        .collect();
    let most = CONNECT.min(patience);
    let until = clock.deadline(most);
    let (allowed, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| access.allows(address.ip()));
    // What is to be said where the time is over before any attempt has come to its end.
    let mut last = match (allowed.first(), others.first()) {
        (Some(address), _) => unreachable(*address, most, &std::io::ErrorKind::TimedOut.into()),
        (None, Some(_)) => error(ErrorKind::Refused, format!("{host}:{port}: {}", SecureError::NoKey)),
        (None, None) => error(ErrorKind::Invalid, format!("{host:?} has no address; give an IP address")),
    };
    // Whether the network or a host has said something: an attempt that had less time than that takes tells nothing new.
    let mut heard = false;
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
            return Err(with_claims(last, &allowed));
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
                return Ok(Reached { beside: beside.settle(&stream), stream });
            }
            Some((address, Err(cause))) => {
                let silent = cause.kind() == std::io::ErrorKind::TimedOut;
                if !(silent && heard) {
                    last = unreachable(address, most, &cause);
                }
                heard |= !silent;
                let passed = most.saturating_sub(until.left());
                due.retain(|(_, other)| *other != address);
                if may_pass(&cause) {
                    due.push((passed + PAUSE, address));
                }
                // Nobody waits for an address that has given its answer.
                if let Some((after, _)) = due.iter_mut().find(|(_, next)| beside.attempts_at(*next) == 0) {
                    *after = passed;
                }
            }
        }
    }
}

/// An address with two owners refuses, resets or swallows connections by chance, and so do two hosts with one hardware
/// address: where that is so, it is what has to be said.
fn with_claims(mut failed: StepError, tried: &[SocketAddr]) -> StepError {
    if let Some(claim) = tried.iter().find_map(|address| wires::disputed(address.ip(), None)) {
        let code = claim.code;
        let named = if claim.certain { format!("{code}: ") } else { String::new() };
        failed.message = format!("{}; {} ({named}pathproof explain {code})", failed.message, claim.said);
    }
    failed
}

/// One attempt, with a segment size that every path carries (RFC 9293 §3.7.1), announced and obeyed both ways: the
/// control channel must live on the very paths whose MTU is at fault, and has no need for large segments.
pub fn once(address: SocketAddr, within: Duration, way: Option<&Way>) -> std::io::Result<TcpStream> {
    const SEGMENT_BYTES: u32 = 536;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_tcp_mss(SEGMENT_BYTES)?;
    if let Some(way) = way {
        socket.bind_device(Some(way.nic.as_bytes()))?;
        socket.bind(&SocketAddr::new(way.local, 0).into())?;
    }
    // No time at all would be an error of its own.
    socket.connect_timeout(&address.into(), within.max(Duration::from_millis(1)))?;
    Ok(socket.into())
}

fn unreachable(address: SocketAddr, patience: Duration, cause: &std::io::Error) -> StepError {
    use std::io::ErrorKind as Io;
    let seconds = patience.as_secs_f64().ceil();
    match cause.kind() {
        Io::ConnectionRefused => error(
            ErrorKind::Refused,
            format!(
                "{address} refused the connection; start `pathproof serve` there, or give its port as HOST:PORT"
            ),
        ),
        Io::TimedOut | Io::WouldBlock => error(
            ErrorKind::Timeout,
            format!(
                "{address} did not answer within {seconds} s; check the address, the route and any firewall on the way"
            ),
        ),
        Io::AddrNotAvailable if crate::local_ports::are_few() => error(
            ErrorKind::Resource,
            format!("cannot connect to {address}: {}", crate::local_ports::advice(cause).unwrap_or_default()),
        ),
        // Linux says so, rather than "unreachable", when the family is switched off.
        Io::AddrNotAvailable => error(
            ErrorKind::System,
            format!(
                "this host has no {} address from which {address} can be reached; give it one, or name the peer by \
                 an address of the other family",
                if address.is_ipv6() { "IPv6" } else { "IPv4" }
            ),
        ),
        _ if may_pass(cause) => error(
            ErrorKind::System,
            format!(
                "there was no way to {address} for {seconds} s ({cause}); check addresses, routes and links, and that \
                 the peer is up"
            ),
        ),
        _ => match crate::descriptors::advice(cause) {
            Some(advice) => error(ErrorKind::Resource, format!("cannot connect to {address}: {advice}")),
            None => error(ErrorKind::System, format!("cannot connect to {address}: {cause}")),
        },
    }
}
