//! [`RdmaTransport`]: prepares queue pairs on the device that the route to the peer decides, exchanges addresses,
//! connects, and hands over a lane. Every choice it makes is kept with its reason and shown in the result.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use pathproof_api::{
    AdapterStats, LaneCaps, LaneSpec, Manners, OptionDoc, PreparedLane, Role, SendReports, SentMemory,
    Transport, TransportError, Verb, WaitMode,
};
use pathproof_sys::clock::RealClock;

use crate::choose::{Choice, Wishes, choose, interface_addresses};
use crate::cm;
use crate::credit::{Cell, GRANTS};
use crate::ffi::{ConnectionManagerLibrary, IbvDeviceAttr, IbvPortAttr, IbvQpCap, VerbsLibrary, k};
use crate::manners::{MANNERS, NAME};
use crate::offer::{Address, Rendezvous};
use crate::signals::Signals;
use crate::sysfs::{Fabric, Sysfs};
use crate::verbs::{CompletionChannel, CompletionQueue, Context, ProtectionDomain, QueuePair};
use crate::words;

pub(crate) mod adapter;
mod bare;
mod dialling;
mod marks;
pub mod options;
mod prepared;

use adapter::Adapter;
use options::{Registration, options};
use prepared::{Manager, PreparedRdma};

/// Inline size asked for in bytes; devices may grant less.
const INLINE_BYTES: u32 = 256;
/// Smallest receive queue: deeper than the sender's depth, so that a burst does not find it empty.
const RECEIVES_MIN: u32 = 128;
/// `device_cap_flags` bit of the base memory management extensions, which include SEND_WITH_INV.
const MEM_MGT_EXTENSIONS: u32 = 1 << 21;

/// RDMA through rdma-core: RoCE, iWARP, InfiniBand.
pub struct RdmaTransport {
    clock: RealClock,
    verbs: Option<Arc<VerbsLibrary>>,
    sysfs: Sysfs,
    adapters: Mutex<Vec<(String, Weak<Adapter>)>>,
}

impl RdmaTransport {
    /// On the system's libraries and devices.
    pub fn new(clock: &RealClock) -> RdmaTransport {
        let adapters = Mutex::new(Vec::new());
        RdmaTransport { clock: clock.clone(), verbs: None, sysfs: Sysfs::default(), adapters }
    }

    /// On a given library and device tree, for tests.
    pub fn with(verbs: Arc<VerbsLibrary>, sysfs: Sysfs, clock: &RealClock) -> RdmaTransport {
        RdmaTransport { verbs: Some(verbs), sysfs, ..RdmaTransport::new(clock) }
    }

    fn library(&self) -> Result<Arc<VerbsLibrary>, TransportError> {
        match &self.verbs {
            Some(library) => Ok(library.clone()),
            None => VerbsLibrary::system().map_err(|error| words::missing_library(&error)),
        }
    }

    /// The library, after making sure that there is a device to use it on.
    fn ready(&self) -> Result<Arc<VerbsLibrary>, TransportError> {
        let library = self.library()?;
        let in_sysfs = self.sysfs.device_names().len();
        let names = crate::verbs::device_names(&library).unwrap_or_default();
        if names.is_empty() || in_sysfs == 0 {
            return Err(words::no_device(self.sysfs.has_rdma(), in_sysfs, self.sysfs.has_user_verbs()));
        }
        Ok(library)
    }

    fn adapter(&self, device: &str) -> Result<Arc<Adapter>, TransportError> {
        let library = self.library()?;
        let mut adapters = self.adapters.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        adapters.retain(|(_, weak)| weak.strong_count() > 0);
        if let Some(open) =
            adapters.iter().find(|(name, _)| name == device).and_then(|(_, weak)| weak.upgrade())
        {
            return Ok(open);
        }
        let context = Context::open(&library, device)?;
        let domain = ProtectionDomain::new(&context)?;
        let adapter = Arc::new(Adapter { context, domain, regions: Mutex::new(Vec::new()) });
        adapters.push((device.to_owned(), Arc::downgrade(&adapter)));
        Ok(adapter)
    }

    /// Which device, port and GID a lane with these wishes would use, and why.
    pub fn choice(&self, wishes: &Wishes) -> Result<Choice, TransportError> {
        choose(&self.sysfs, &interface_addresses(), wishes)
    }
}

fn caps(device: &IbvDeviceAttr, port: &IbvPortAttr, fabric: Fabric, depth: u32) -> LaneCaps {
    let mut caps = LaneCaps::two_sided(NAME);
    caps.verbs = vec![Verb::Send, Verb::Recv, Verb::Write, Verb::Read];
    // RFC 5040 has no immediate data.
    if fabric != Fabric::Iwarp {
        caps.verbs.push(Verb::WriteImmediate);
    }
    if device.device_cap_flags & MEM_MGT_EXTENSIONS != 0 {
        caps.verbs.push(Verb::SendInvalidate);
    }
    caps.depth_max = depth;
    caps.message_bytes_max = port.max_msg_sz.clamp(1, 1 << 30);
    caps
}

/// Sends a queue of this device can hold, the goodbye excepted.
fn depth_max(device: &IbvDeviceAttr) -> u32 {
    let queue = u32::try_from(device.max_qp_wr).unwrap_or(0).saturating_sub(1 + GRANTS);
    // One completion queue takes both directions.
    let completions = u32::try_from(device.max_cqe).unwrap_or(0).saturating_sub(2 + GRANTS) / 2;
    queue.min(completions).clamp(1, 1 << 16)
}

impl Transport for RdmaTransport {
    fn name(&self) -> &'static str {
        NAME
    }

    fn manners(&self) -> &'static Manners {
        &MANNERS
    }

    fn options(&self) -> Vec<OptionDoc> {
        options::declared()
    }

    fn probe(&self) -> Result<LaneCaps, TransportError> {
        self.ready()?;
        let choice = self.choice(&Wishes::default())?;
        let adapter = self.adapter(&choice.device)?;
        let device = adapter.context.attributes()?;
        let port = adapter.context.port(choice.port)?;
        Ok(caps(&device, &port, choice.fabric, depth_max(&device)))
    }

    fn prepare(&self, role: Role, spec: &LaneSpec) -> Result<Box<dyn PreparedLane>, TransportError> {
        if spec.depth == 0 || spec.message_bytes_max == 0 {
            return Err(TransportError::invalid(
                "an RDMA lane needs a depth and a message size of at least 1",
            ));
        }
        self.ready()?;
        let options = options(spec)?;
        let choice = self.choice(&options.wishes)?;
        let adapter = self.adapter(&choice.device)?;
        let events_before = adapter.context.events_so_far();
        let device = adapter.context.attributes()?;
        let port = adapter.context.port(choice.port)?;
        if port.state != k::IBV_PORT_ACTIVE {
            return Err(TransportError::Unsupported {
                what: format!("RDMA device {} port {}", choice.device, choice.port),
                why: "the port is not active".into(),
                fix: "bring its link up, and check the cable and the switch port".into(),
            });
        }
        if spec.message_bytes_max > port.max_msg_sz {
            return Err(TransportError::invalid(format!(
                "{} carries messages of at most {} bytes, not {}",
                choice.device, port.max_msg_sz, spec.message_bytes_max
            )));
        }
        let rendezvous = match (choice.fabric, options.rendezvous) {
            (Fabric::Iwarp, Some(Rendezvous::QueuePair)) => {
                return Err(TransportError::invalid(
                    "iWARP queue pairs cannot be connected by exchanging numbers; leave connect=qp out",
                ));
            }
            (Fabric::Iwarp, _) => Rendezvous::ConnectionManager,
            (_, asked) => asked.unwrap_or(Rendezvous::QueuePair),
        };
        if let Some(dscp) = spec.dscp {
            marks::check(dscp, &choice, device.vendor_id, &self.sysfs)?;
        }
        let mut chosen = BTreeMap::new();
        chosen.insert(
            "device".into(),
            format!("{} port {}: {}", choice.device, choice.port, choice.device_reason),
        );
        chosen.insert("gid".into(), choice.gid_reason.clone());
        let mut adapter_used = AdapterStats {
            device: choice.device.clone(),
            port: choice.port,
            fabric: choice.fabric,
            gid: choice.gid.as_ref().filter(|_| choice.fabric != Fabric::Iwarp).map(|gid| gid.text()),
            ..AdapterStats::default()
        };
        chosen.insert(
            "connect".into(),
            connect_reason(rendezvous, choice.fabric, options.rendezvous.is_some()).into(),
        );
        if let Some(class) = options.traffic_class {
            let by_manager = rendezvous == Rendezvous::ConnectionManager;
            let words = marks::words(class, by_manager, choice.fabric == Fabric::Iwarp);
            chosen.insert("traffic_class".into(), words);
        }

        let limit = depth_max(&device);
        let send_depth = spec.depth.min(limit);
        let receive_depth = spec.depth.saturating_mul(2).max(RECEIVES_MIN).min(limit);
        if send_depth < spec.depth {
            let why =
                format!("{send_depth}, because {} allows no more ({} asked)", choice.device, spec.depth);
            adapter_used.depth_reduced = Some(why.clone());
            chosen.insert("depth".into(), why);
        }
        // What is registered until its completion must neither hear of it late nor be sent from afterwards.
        let how = match options.registration {
            Registration::PerChunk => (SendReports::Prompt, SentMemory::Reused),
            Registration::UpFront | Registration::Window => (spec.send_reports, spec.sent_memory),
        };
        let signals =
            Signals::of(choice.fabric, options.signal_every, (send_depth, spec.message_bytes_max), how)?;
        chosen.insert("signalling".into(), signals.words(choice.fabric));

        // Event mode costs a wake-up per completion, polling costs a core: the caller decides, the result says which.
        let channel = match spec.wait_mode {
            WaitMode::Block => Some(CompletionChannel::new(&adapter.context)?),
            WaitMode::Spin => None,
        };
        // Places beyond the depth: one for the goodbye, and those for credits.
        let cell = Cell::new(&adapter.domain)?;
        let sends = send_depth + 1 + GRANTS;
        let completions = CompletionQueue::new(&adapter.context, sends + receive_depth + 1, channel)?;
        let wanted = IbvQpCap {
            max_send_wr: sends,
            max_recv_wr: receive_depth,
            max_send_sge: 1,
            max_recv_sge: 1,
            max_inline_data: options.inline_bytes,
        };
        let queue_pair = QueuePair::new(&adapter.domain, &completions, wanted)?;
        let inline_bytes = queue_pair.granted().max_inline_data.min(options.inline_bytes);
        chosen.insert(
            "inline".into(),
            format!("messages up to {inline_bytes} bytes travel inside the request"),
        );

        let manager = match rendezvous {
            Rendezvous::QueuePair => None,
            Rendezvous::ConnectionManager => {
                let library =
                    ConnectionManagerLibrary::system().map_err(|error| words::missing_library(&error))?;
                Some(Manager::new(&library, role, &choice, options.traffic_class)?)
            }
        };
        let address = Address {
            fabric: choice.fabric,
            rendezvous,
            active_mtu_code: u8::try_from(port.active_mtu).unwrap_or(0),
            responder_depth: u8::try_from(device.max_qp_rd_atom).unwrap_or(u8::MAX),
            lid: port.lid,
            cm_port: manager.as_ref().and_then(|m| m.listener.as_ref()).map_or(0, |(_, port)| *port),
            queue_pair: queue_pair.number() & 0xFF_FFFF,
            first_psn: first_psn(&spec.token, spec.lane, role),
            gid: choice.gid.as_ref().map_or([0; 16], |g| g.gid),
            ip: choice.local.map_or([0; 16], cm::ip_bytes),
            window_base: 0,
            window_bytes: 0,
            window_key: 0,
            credit_base: cell.offer().0,
            credit_key: cell.offer().1,
            window_writable: false,
            window_readable: false,
            window_revocable: false,
        };
        Ok(Box::new(PreparedRdma {
            clock: self.clock.clone(),
            queue_pair,
            manager,
            regions: Vec::new(),
            cell,
            adapter,
            role,
            token: spec.token,
            address,
            caps: caps(&device, &port, choice.fabric, send_depth),
            initiator_depth: u8::try_from(device.max_qp_init_rd_atom).unwrap_or(u8::MAX).max(1),
            traffic_class: options.traffic_class,
            path_mtu_code: options.path_mtu_code,
            ack_timeout_exponent: options.ack_timeout_exponent,
            retry_count: options.retry_count,
            registration: options.registration,
            exposed: None,
            registration_ns: 0,
            send_depth,
            receive_depth,
            inline_bytes,
            signals,
            wait_mode: spec.wait_mode,
            send_reports: spec.send_reports,
            ip_mtu_bytes: choice.netdev.as_deref().and_then(|n| self.sysfs.ip_mtu_bytes(n)),
            choice,
            chosen,
            adapter_used,
            events_before,
        }))
    }
}

fn connect_reason(rendezvous: Rendezvous, fabric: Fabric, asked: bool) -> &'static str {
    match (rendezvous, fabric, asked) {
        (Rendezvous::QueuePair, _, true) => "by exchanged queue-pair addresses, as asked",
        (Rendezvous::QueuePair, _, false) => "by exchanged queue-pair addresses",
        (Rendezvous::ConnectionManager, Fabric::Iwarp, _) => {
            "by the RDMA connection manager, which iWARP needs"
        }
        (Rendezvous::ConnectionManager, _, _) => "by the RDMA connection manager, as asked",
    }
}

/// A starting sequence number that differs per session, lane and end, so that packets of an old connection with the
/// same queue-pair numbers are not taken for new ones.
fn first_psn(token: &[u8; 32], lane: u32, role: Role) -> u32 {
    let at = if role == Role::Dial { 0 } else { 4 };
    let seed = u32::from_le_bytes([token[at], token[at + 1], token[at + 2], token[at + 3]]);
    (seed ^ lane.wrapping_mul(0x9E37_79B1)) & 0xFF_FFFF
}
