//! Don't-fragment and ICMP probe sockets: they send an IP packet of an exact size and report what became of it,
//! keeping local refusals, ICMP answers, arrivals in fragments and arrivals apart.
//!
//! **Invariant**: a probe goes only to an address that answered a challenge under the key of the session, and no answer is
//! larger than its question. The types have no other way; see [`UnprovenSocket`].
//!
//! **Invariant**: no search and no verdict here. What to send and what it proves is decided elsewhere.
#![forbid(unsafe_code)]

mod cached;
mod echo;
mod error;
mod hops;
mod paced;
mod respond;
mod roce;
mod tags;
mod udp;
pub mod wire;

pub use cached::cached_path_mtu;
pub use echo::EchoSocket;
pub use error::DgramError;
pub use hops::HopProbe;
pub use paced::{Arrival, PacedListener};
pub use respond::Responder;
pub use roce::RoceListener;
pub use tags::{TagListener, Tagged};
pub use udp::{Event, Heard, Mark, Outcome, ProbeSocket, UnprovenSocket, wait_readable};

/// IP and UDP (or ICMP echo) headers in front of the payload.
fn headers_bytes(family: pathproof_sys::errqueue::Family) -> usize {
    match family {
        pathproof_sys::errqueue::Family::V4 => 20 + 8,
        pathproof_sys::errqueue::Family::V6 => 40 + 8,
    }
}

/// Smallest IP packet that can carry a probe: 68, the least MTU of IPv4 (RFC 791), and 88 for IPv6, so that
/// control probes stay well below the 1280 that every link must carry.
pub fn floor_bytes(family: pathproof_sys::errqueue::Family) -> u32 {
    match family {
        pathproof_sys::errqueue::Family::V4 => 68,
        pathproof_sys::errqueue::Family::V6 => 88,
    }
}
