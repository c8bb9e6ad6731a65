//! The simulated transport: lanes through a network that exists only in memory and in virtual time.
//!
//! It is the reference for the lane contract, and the ground on which whole runs are tested in milliseconds
//! with exact assertions. Loss, delay, corruption and rate come from a seed, so a run repeats exactly as long
//! as one thread drives it. It refuses to touch a socket or a real clock.
//!
//! **Time passes only when a lane waits.** A `poll` that may wait and finds nothing moves the clock to the next
//! event of the network, or to the end of its wait, whichever comes first. Two lanes polled in turn by one
//! thread therefore see every event at its exact time.
//!
//! A lane here is reliable, as TCP and a reliable queue pair are: a lost packet costs time and is counted, and
//! everything behind it waits.

#![forbid(unsafe_code)]

mod chance;
mod cut;
mod lane;
mod network;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Clock, Lane, LaneCaps, LaneSpec, Manners, Offer, OptionDoc, PreparedLane, Region, RegionId, Role,
    Tick, Transport, TransportError, Verb, manners,
};

pub use network::{SimClock, SimNetwork, SimPath};
pub use wire::SimWires;

use lane::SimLane;
use network::EndId;

/// Its name; no command takes it.
pub const NAME: &str = "sim";

/// How its lanes behave.
pub static MANNERS: Manners = Manners {
    several_nics: false,
    adapter: false,
    segments: false,
    one_sided: true,
    zero_copy_send: false,
    discard_receive: false,
    receives_ahead: false,
    places_of_their_own: true,
    passive_outlives: false,
    descriptor_of_its_own: false,
    stream_depth: manners::STREAM_DEPTH,
    memory_bytes: manners::no_memory,
};

/// The registry entry for one simulated network.
pub struct SimTransport {
    network: Arc<SimNetwork>,
}

impl SimTransport {
    /// Lanes through `network`. Both ends of a run take theirs from the same one.
    pub fn new(network: Arc<SimNetwork>) -> SimTransport {
        SimTransport { network }
    }
}

fn caps(spec: Option<&LaneSpec>) -> LaneCaps {
    let mut caps = LaneCaps::two_sided(NAME);
    caps.verbs.extend([Verb::Write, Verb::WriteImmediate, Verb::Read]);
    if let Some(spec) = spec {
        caps.depth_max = spec.depth;
        caps.message_bytes_max = spec.message_bytes_max;
    }
    caps
}

impl Transport for SimTransport {
    fn name(&self) -> &'static str {
        NAME
    }

    fn manners(&self) -> &'static Manners {
        &MANNERS
    }

    fn options(&self) -> Vec<OptionDoc> {
        Vec::new()
    }

    fn probe(&self) -> Result<LaneCaps, TransportError> {
        Ok(caps(None))
    }

    fn prepare(&self, role: Role, spec: &LaneSpec) -> Result<Box<dyn PreparedLane>, TransportError> {
        let limits = caps(None);
        if spec.depth == 0 || spec.depth > limits.depth_max {
            return Err(TransportError::invalid(format!(
                "depth {} is not 1 to {}",
                spec.depth, limits.depth_max
            )));
        }
        spec.options.only(NAME, &self.options())?;
        // The end that dials says from which NIC, as a socket would be bound.
        let nic = spec.local.filter(|_| role == Role::Dial);
        let end = self.network.register(spec.token, role, spec.depth as usize, nic)?;
        Ok(Box::new(PreparedSim {
            network: self.network.clone(),
            end: Some(end),
            spec: spec.clone(),
            regions: vec![],
            target: None,
        }))
    }
}

struct PreparedSim {
    network: Arc<SimNetwork>,
    /// Taken by `connect`; what is left here is withdrawn on drop.
    end: Option<EndId>,
    spec: LaneSpec,
    regions: Vec<Arc<Region>>,
    target: Option<(RegionId, Access)>,
}

impl PreparedLane for PreparedSim {
    fn attach(&mut self, region: &Arc<Region>, access: Access) -> Result<RegionId, TransportError> {
        let id = u16::try_from(self.regions.len())
            .map(RegionId)
            .map_err(|_| TransportError::invalid("a sim lane takes at most 65536 regions"))?;
        self.regions.push(region.clone());
        if access != Access::Local && self.target.is_none() {
            self.target = Some((id, access));
        }
        Ok(id)
    }

    fn offer(&self) -> Offer {
        Offer::default()
    }

    /// Both ends may call this from one thread: an end that connects first does not wait for the other.
    fn connect(
        mut self: Box<Self>,
        _peer: &Offer,
        deadline: Duration,
    ) -> Result<Box<dyn Lane>, TransportError> {
        let Some(end) = self.end.take() else {
            return Err(TransportError::invalid("a prepared lane connects once"));
        };
        let target =
            self.target.and_then(|(id, access)| Some((self.regions.get(usize::from(id.0))?.clone(), access)));
        self.network.open(end, std::mem::take(&mut self.regions), target, deadline)?;
        Ok(Box::new(SimLane::new(self.network.clone(), end, caps(Some(&self.spec)))))
    }
}

impl Drop for PreparedSim {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.network.leave(end);
        }
    }
}

/// The clock of a network: time as its lanes see it.
impl Clock for SimClock {
    fn now(&self) -> Tick {
        self.network().now()
    }
}
