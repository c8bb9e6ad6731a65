//! [`SmbdTransport`]: prepares lanes over whatever wires it is given.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::manners::{self, DEVICE};
use pathproof_api::{
    Access, Clock, Exposed, Lane, LaneCaps, LaneSpec, Manners, Offer, OptionDoc, PreparedLane, PreparedWire,
    PrivateData, Region, RegionId, Role, SendReports, Transport, TransportError, Verb, WireSpec, Wires,
};

use super::frame::HEAD_BYTES;
use super::offer::{OfferedEnd, Window};
use super::{Parts, SENT_BYTES_MAX, SmbdLane};
use crate::codec::PAYLOAD_OFFSET;
use crate::connection::{Connection, Places};
use crate::settings::{SEND_BYTES_MAX, Settings};

/// What `--over` takes.
pub const NAME: &str = "smbd";
/// Most operations under way at once, per direction.
const DEPTH_MAX: u32 = 1024;
/// Smallest number of receives, so that a burst does not find none.
const RECEIVES_MIN: u32 = 128;
/// What two lanes of ours ask for: that the largest message which is sent at all goes in one. The 1364 bytes that Windows prefers are for
/// file requests, and cut 4 KiB into four.
pub const LANE_SETTINGS: Settings =
    Settings { send_bytes: SENT_BYTES_MAX + (HEAD_BYTES + PAYLOAD_OFFSET) as u32, ..Settings::WINDOWS };
const _: () = assert!(
    LANE_SETTINGS.send_bytes <= SEND_BYTES_MAX && LANE_SETTINGS.send_bytes <= LANE_SETTINGS.receive_bytes
);

/// How its lanes behave.
pub static MANNERS: Manners = Manners { memory_bytes, ..manners::OF_ADAPTERS };

fn memory_bytes(operations: u32, _message_bytes: u64, _paths: usize) -> u64 {
    // Places for messages, and the accounts of operations.
    Places::bytes(&LANE_SETTINGS).saturating_add(u64::from(operations).saturating_mul(512))
}

/// The options that its lanes take.
pub fn options() -> Vec<OptionDoc> {
    vec![DEVICE.declared()]
}

/// SMB Direct over the wires of one kind.
pub struct SmbdTransport {
    wires: Arc<dyn Wires>,
    clock: Arc<dyn Clock>,
    /// What the host says of its devices.
    probe: Box<dyn Fn() -> Result<LaneCaps, TransportError> + Send + Sync>,
    settings: Settings,
}

impl SmbdTransport {
    /// Lanes over `wires`, whose devices `probe` asks.
    pub fn new(
        wires: Arc<dyn Wires>,
        clock: Arc<dyn Clock>,
        probe: impl Fn() -> Result<LaneCaps, TransportError> + Send + Sync + 'static,
    ) -> SmbdTransport {
        SmbdTransport { wires, clock, probe: Box::new(probe), settings: LANE_SETTINGS }
    }

    /// With other settings than those by which the largest message that is sent goes in one.
    pub fn with_settings(self, settings: Settings) -> SmbdTransport {
        SmbdTransport { settings, ..self }
    }
}

/// What a lane for `depth` operations at once can do.
pub fn caps(depth: u32) -> LaneCaps {
    let mut caps = LaneCaps::two_sided(NAME);
    caps.verbs = vec![Verb::Send, Verb::Recv, Verb::Write, Verb::Read];
    caps.depth_max = depth;
    caps
}

/// Of how many sends of a lane the wire may tell the end together. A quarter of the depth, as on lanes of bare verbs, keeps three
/// quarters of it free; and of the places for messages, however deep the lane is: a message keeps its place until its end is told,
/// so where all of them were taken before one asks, none would ever be free again.
pub fn told_together(depth: u32, send_reports: SendReports) -> u32 {
    match send_reports {
        SendReports::Late => (depth / 4).clamp(1, Places::SENDS as u32 / 4),
        SendReports::Prompt | SendReports::Lazy => 1,
    }
}

impl Transport for SmbdTransport {
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
        (self.probe)()?;
        Ok(caps(DEPTH_MAX))
    }

    fn prepare(&self, role: Role, spec: &LaneSpec) -> Result<Box<dyn PreparedLane>, TransportError> {
        if spec.depth == 0 || spec.message_bytes_max == 0 {
            return Err(TransportError::invalid(
                "an SMB Direct lane needs a depth and a message size of at least 1",
            ));
        }
        spec.options.only(NAME, &options())?;
        let depth = spec.depth.min(DEPTH_MAX);
        let receives = depth.saturating_mul(2).max(RECEIVES_MIN);
        let moves = depth + receives;
        let wire = self.wires.prepare_wire(&WireSpec {
            role,
            address: spec.remote.filter(|_| role == Role::Dial),
            local: spec.local,
            device: spec.options.given(&DEVICE),
            netdev: spec.device.clone(),
            // The one-time secret of the lane, where a foreign peer has its depths or zeroes.
            private_data: match role {
                Role::Dial => PrivateData::Bytes(spec.token.to_vec()),
                Role::Accept => PrivateData::None,
            },
            admit: spec.token.to_vec(),
            sends: Places::SENDS as u32 + moves,
            receives: u32::from(self.settings.receive_credits),
            wait_mode: spec.wait_mode,
            dscp: spec.dscp,
            told_together: told_together(depth, spec.send_reports),
            ..WireSpec::default()
        })?;
        Ok(Box::new(PreparedSmbd {
            wire,
            clock: self.clock.clone(),
            settings: self.settings,
            role,
            depth,
            receives,
            send_reports: spec.send_reports,
            memory: Vec::new(),
            window: Window::default(),
        }))
    }
}

struct PreparedSmbd {
    wire: Box<dyn PreparedWire>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    role: Role,
    depth: u32,
    receives: u32,
    send_reports: SendReports,
    memory: Vec<(Arc<Region>, Exposed)>,
    window: Window,
}

impl PreparedLane for PreparedSmbd {
    fn attach(&mut self, region: &Arc<Region>, access: Access) -> Result<RegionId, TransportError> {
        let id = u16::try_from(self.memory.len())
            .map(RegionId)
            .map_err(|_| TransportError::invalid("a lane takes at most 65536 regions"))?;
        // A large message is fetched from where it lies.
        let fetched = match access {
            Access::Local | Access::RemoteRead => Access::RemoteRead,
            Access::RemoteWrite | Access::RemoteReadWrite => Access::RemoteReadWrite,
        };
        let exposed = self.wire.expose(region, fetched)?;
        if access != Access::Local && self.window.bytes == 0 {
            self.window = Window::of(&exposed, access);
        }
        self.memory.push((region.clone(), exposed));
        Ok(id)
    }

    fn offer(&self) -> Offer {
        OfferedEnd { listens_at: self.wire.listens_at(), window: self.window }.encode()
    }

    fn connect(self: Box<Self>, peer: &Offer, deadline: Duration) -> Result<Box<dyn Lane>, TransportError> {
        let end = OfferedEnd::decode(&peer.0).ok_or_else(|| TransportError::Protocol {
            operation: "reading the peer's SMB Direct offer".into(),
            detail: "it is not one".into(),
        })?;
        let dials = self.role == Role::Dial;
        let listens_at = end.listens_at.filter(|_| dials);
        if dials && listens_at.is_none_or(|address| is_nowhere(address.ip())) {
            return Err(TransportError::Protocol {
                operation: "reading the peer's SMB Direct offer".into(),
                detail: "it names no address to connect to".into(),
            });
        }
        let moves = (self.depth + self.receives) as usize;
        let (settings, clock) = (self.settings, self.clock);
        let mut connection =
            Connection::start(self.wire, self.role, listens_at, settings, clock, deadline, moves)?;
        connection.tells_together(told_together(self.depth, self.send_reports));
        let agreed = connection.negotiated()?;
        Ok(Box::new(SmbdLane::new(Parts {
            connection,
            agreed,
            memory: self.memory,
            window: end.window,
            caps: caps(self.depth),
            depth: self.depth,
            receives: self.receives,
            send_reports: self.send_reports,
        })))
    }
}

fn is_nowhere(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast()
}
