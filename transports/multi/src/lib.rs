//! Striped lanes: many inner lanes as one, so that several NICs carry the work of one lane and the work goes on
//! when one of them dies.
//!
//! What it is for: SMB Multichannel's way of using NICs, over any inner transport. Each message goes to the path
//! with the fewest outstanding messages (SMB's rule), or to the one that would be done first at the rate it has
//! shown. The peer confirms messages by number; what a dead path leaves unconfirmed goes again over the others,
//! and what comes twice is thrown away, so every message arrives exactly once and in order.
//!
//! What it refuses to do: choose NICs (its caller names the paths), and declare the last
//! living path dead because it is slow.
//!
//! The inner transport must deliver a message into a receive that is posted after it was sent; byte streams do.
//! A stripe of one path is the inner lane itself and costs nothing.
//!
//! Its options stand in `plan.rs`. All others go to the inner transport.

#![forbid(unsafe_code)]

mod frame;
mod incoming;
mod lane;
mod outgoing;
mod path;
mod plan;
mod prepare;
mod rejoin;
mod secret;
#[cfg(test)]
mod story;

use std::sync::Arc;

use pathproof_api::{
    Clock, LaneCaps, LaneSpec, Manners, OptionDoc, PreparedLane, Role, Transport, TransportError, Verb,
};

pub use plan::{PATHS, PATHS_MAX, REJOIN, SHARE, STALL, Share, StripePlan, options};

/// What `--over` takes.
pub const NAME: &str = "multi";

/// How its lanes behave, over inner lanes of TCP.
pub static MANNERS: Manners = Manners {
    several_nics: true,
    adapter: false,
    segments: true,
    one_sided: false,
    // Messages are kept until the peer has them.
    zero_copy_send: false,
    discard_receive: false,
    receives_ahead: false,
    // Messages on different paths come in any order, and go again when a path dies.
    places_of_their_own: true,
    passive_outlives: false,
    descriptor_of_its_own: false,
    // Every NIC needs enough under way to stay busy while another is slow.
    stream_depth: 32,
    memory_bytes,
};

/// The registry entry for stripes over one inner transport.
pub struct Striped {
    inner: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl Striped {
    /// Stripes over `inner`. Ticks in the statistics are those of `clock`.
    pub fn new(inner: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Striped {
        Striped { inner, clock }
    }
}

impl Transport for Striped {
    fn name(&self) -> &'static str {
        NAME
    }

    fn manners(&self) -> &'static Manners {
        &MANNERS
    }

    fn options(&self) -> Vec<OptionDoc> {
        let mut all = plan::options();
        all.extend(self.inner.options());
        all
    }

    fn probe(&self) -> Result<LaneCaps, TransportError> {
        Ok(caps(&self.inner.probe()?))
    }

    fn prepare(&self, role: Role, spec: &LaneSpec) -> Result<Box<dyn PreparedLane>, TransportError> {
        prepare::prepare(&self.inner, &self.clock, role, spec)
    }
}

/// Memory that a stripe of `paths` takes for `depth` operations of at most `message_bytes` bytes, beside that of its
/// inner lanes; saturating, so that it can be asked about any numbers.
pub fn memory_bytes(depth: u32, message_bytes: u64, paths: usize) -> u64 {
    /// A thread while it connects, a queue, a connection, and room for moving staged messages.
    const PATH_BYTES: u64 = 256 << 10;
    let paths = paths as u64;
    if paths <= 1 {
        return 0;
    }
    let slots = u64::from(depth).saturating_add(paths);
    let staging = slots.saturating_mul(message_bytes.div_ceil(64).saturating_mul(64));
    let heads =
        u64::from(depth).saturating_mul(2).saturating_add(17).saturating_mul(frame::HEAD_BYTES.into());
    staging.saturating_add(heads.saturating_add(PATH_BYTES).saturating_mul(paths))
}

/// What a stripe over lanes with `inner` capabilities can do.
fn caps(inner: &LaneCaps) -> LaneCaps {
    let mut caps = LaneCaps::two_sided(NAME);
    caps.verbs.extend([Verb::Write, Verb::WriteImmediate]);
    caps.depth_max = frame::WINDOW_MAX;
    caps.message_bytes_max = inner.message_bytes_max;
    caps
}
