//! Reaches the peer's port: every address of its name, again and again where the fault may pass, until a deadline.
//!
//! A lost ARP request looks like a host that is not there, a link that is coming up like a network without a route.
//! Neither is an answer. A refusal is one, and so is silence for the whole time allowed: those end the search.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use pathproof_model::{ErrorKind, StepError};
use pathproof_sys::clock::RealClock;
use pathproof_sys::socket::may_pass;

use crate::channels::Way;
use crate::host::wires;
use crate::interrupt::Interrupt;
use crate::secure::{Access, SecureError};

/// How long an address may take to answer, all attempts together.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Pause between two rounds of attempts.
const PAUSE: Duration = Duration::from_millis(100);

fn error(kind: ErrorKind, message: impl Into<String>) -> StepError {
    StepError { kind, message: message.into() }
}

/// Connects to the first address of `host` that answers, within `patience` in all. Without a key nobody but this host is
/// even dialled, unless the user said so (`access`).
pub fn reach(
    host: &str,
    port: u16,
    access: &Access,
    patience: Duration,
    clock: &RealClock,
    interrupt: &Interrupt,
) -> Result<TcpStream, StepError> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|e| {
            error(
                ErrorKind::Invalid,
                format!("cannot resolve {host:?}: {e}; check the spelling or give an IP address"),
            )
        })?
        .collect();
    let until = clock.deadline(CONNECT.min(patience));
    let (mut left, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| access.allows(address.ip()));
    let tried = left.clone();
    let mut last = match others.first() {
        Some(_) => error(ErrorKind::Refused, format!("{host}:{port}: {}", SecureError::NoKey)),
        None => error(ErrorKind::Invalid, format!("{host:?} has no address; give an IP address")),
    };
    // However short the time of a run is, no address takes that of those after it.
    let most = CONNECT.min(patience / left.len().max(1) as u32);
    // In the first round each address has all its time: a later one must not pay for the silence of an earlier one.
    let mut within = most;
    loop {
        let mut again = Vec::new();
        for address in left {
            match once(address, within, None) {
                Ok(connected) => return Ok(connected),
                Err(cause) => {
                    // A later attempt that has less time than the network needs to say no tells nothing new.
                    if within == most || cause.kind() != std::io::ErrorKind::TimedOut {
                        last = unreachable(address, most, &cause);
                    }
                    if may_pass(&cause) {
                        again.push(address);
                    }
                }
            }
        }
        within = until.left();
        if again.is_empty() || within.is_zero() {
            return Err(with_claims(last, &tried));
        }
        interrupt.pause(PAUSE.min(within))?;
        left = again;
    }
}

/// An address with two owners refuses, resets or swallows connections by chance, and so do two hosts with one hardware
/// address: where that is so, it is what has to be said.
fn with_claims(mut failed: StepError, tried: &[SocketAddr]) -> StepError {
    if let Some(claim) = tried.iter().find_map(|address| wires::disputed(address.ip())) {
        let code = claim.code;
        failed.message = format!("{}; {} ({code}: pathproof explain {code})", failed.message, claim.said);
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
