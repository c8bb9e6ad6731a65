//! Plain TCP lanes: one connection each, driven by one thread through blocking sockets.
//!
//! What it is for: the fastest honest use of a kernel TCP connection (one system call per message and direction),
//! over the lane contract of `pathproof-api`. What it refuses to do: listen. The session's one port is the
//! session's affair; it hands connections that open with a lane preamble to the [`LaneDoor`], which gives each
//! to the lane that expects its token.
//!
//! A lane's choices that could change a number (send and receive mode, congestion control, wake-up threshold)
//! are named in its [`LaneStats`](pathproof_api::LaneStats).

#![forbid(unsafe_code)]

mod connect;
mod door;
mod frame;
mod lane;
mod link;
mod proof;
mod receive;
mod send;
mod wake;
mod zero_copy;

use std::sync::Arc;

use pathproof_api::{
    LaneCaps, LaneOption, LaneSpec, Manners, Open, OptionDoc, PreparedLane, Role, Takes, Transport,
    TransportError, Verb, Whose, manners, open,
};

pub use door::{DOOR_EXPECTS_MAX, Expected, LANE_MAGIC, LANE_PREAMBLE_BYTES, LaneDoor, LanePreamble};

/// What `--over` takes.
pub const NAME: &str = "tcp";

/// How its lanes behave.
pub static MANNERS: Manners = Manners {
    several_nics: false,
    adapter: false,
    segments: true,
    one_sided: false,
    zero_copy_send: true,
    discard_receive: true,
    receives_ahead: false,
    places_of_their_own: false,
    passive_outlives: false,
    descriptor_of_its_own: true,
    stream_depth: manners::STREAM_DEPTH,
    memory_bytes: manners::no_memory,
};

/// Which congestion control the kernel uses.
pub const CONGESTION: LaneOption<Open<String>> = LaneOption {
    name: "congestion",
    takes: Takes::Name("NAME"),
    whose: Whose::Both,
    default: open("the system's"),
    help: "a name from net.ipv4.tcp_available_congestion_control",
};

/// All options.
pub fn options() -> Vec<OptionDoc> {
    vec![CONGESTION.declared()]
}

/// The registry entry for plain TCP.
pub struct TcpTransport {
    door: Arc<LaneDoor>,
}

impl TcpTransport {
    /// Accepting lanes take their connections from `door`; a process that only dials can give an unused one.
    pub fn new(door: Arc<LaneDoor>) -> TcpTransport {
        TcpTransport { door }
    }
}

impl Transport for TcpTransport {
    fn name(&self) -> &'static str {
        NAME
    }

    fn manners(&self) -> &'static Manners {
        &MANNERS
    }

    fn options(&self) -> Vec<OptionDoc> {
        options()
    }

    fn probe(&self) -> Result<LaneCaps, TransportError> {
        Ok(caps())
    }

    fn prepare(&self, role: Role, spec: &LaneSpec) -> Result<Box<dyn PreparedLane>, TransportError> {
        connect::prepare(&self.door, role, spec)
    }
}

/// What any TCP lane can do. One-sided writes need [`Framing::Framed`](pathproof_api::Framing); a raw lane's
/// own caps leave them out.
fn caps() -> LaneCaps {
    let mut caps = LaneCaps::two_sided(NAME);
    caps.verbs.extend([Verb::Write, Verb::WriteImmediate]);
    caps
}
