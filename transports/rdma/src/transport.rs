//! [`RdmaTransport`]: prepares queue pairs on the device that the route to the peer decides, exchanges addresses,
//! connects, and hands over a lane. Every choice it makes is kept with its reason and shown in the result.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use pathproof_api::{
    Access, Lane, LaneCaps, LaneOption, LaneSpec, Manners, Offer, PreparedLane, Region, RegionId, Role,
    SendReports, Takes, Transport, TransportError, Verb, WaitMode,
};

use crate::choose::{Choice, Wishes, choose, interface_addresses};
use crate::cm;
use crate::credit::{Cell, Credit, GRANTS};
use crate::ffi::{
    ConnectionManagerLibrary, IbvAhAttr, IbvDeviceAttr, IbvGlobalRoute, IbvPortAttr, IbvQpAttr, IbvQpCap,
    VerbsLibrary, k,
};
use crate::lane::{Parts, RdmaLane, Window};
use crate::manners::{MANNERS, NAME};
use crate::memory_window::MemoryWindow;
use crate::offer::{Address, Rendezvous, mtu_bytes};
use crate::sysfs::{Fabric, Sysfs, gid_text};
use crate::verbs::{CompletionChannel, CompletionQueue, Context, MemoryRegion, ProtectionDomain, QueuePair};
use crate::words;

/// Transport retries before a request fails. Never 7: Soft-RoCE takes that as "for ever".
pub const RETRY_COUNT: u8 = 6;
/// Exponent of the acknowledgement timeout, 4.096 µs × 2^n (IBTA vol. 1, ch. 9.7.6.1.3): 134 ms.
pub const ACK_TIMEOUT_EXPONENT: u8 = 15;
/// Receiver-not-ready retries: 7 is "for ever", as a slow reader is backpressure and no fault.
pub const RNR_RETRY_COUNT: u8 = 7;
/// Code of the delay before a receiver-not-ready retry: 12 is 0.64 ms (IBTA vol. 1, ch. 9.7.5.2.8).
pub const RNR_TIMER_CODE: u8 = 12;
/// Inline size asked for in bytes; devices may grant less.
const INLINE_BYTES: u32 = 256;
/// Smallest receive queue: deeper than the sender's depth, so that a burst does not find it empty.
const RECEIVES_MIN: u32 = 128;
/// `device_cap_flags` bit of the base memory management extensions, which include SEND_WITH_INV.
const MEM_MGT_EXTENSIONS: u32 = 1 << 21;

/// An opened device with its protection domain and registered memory, shared by all lanes on it.
struct Adapter {
    context: Arc<Context>,
    domain: Arc<ProtectionDomain>,
    regions: Mutex<Vec<(usize, u32, Weak<MemoryRegion>)>>,
}

impl Adapter {
    /// Registers `region`, or finds it registered already: 64 lanes over one region pin its memory once.
    fn register(&self, region: &Arc<Region>, access: u32) -> Result<Arc<MemoryRegion>, TransportError> {
        let key = region.base_address() as usize;
        let mut known = self.regions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.retain(|(_, _, weak)| weak.strong_count() > 0);
        let found = known.iter().filter(|(base, bits, _)| *base == key && *bits == access);
        if let Some(registered) =
            found.filter_map(|(_, _, weak)| weak.upgrade()).find(|mr| Arc::ptr_eq(mr.region(), region))
        {
            return Ok(registered);
        }
        let registered = MemoryRegion::new(&self.domain, region, access)?;
        known.push((key, access, Arc::downgrade(&registered)));
        Ok(registered)
    }
}

/// RDMA through rdma-core: RoCE, iWARP, InfiniBand.
pub struct RdmaTransport {
    verbs: Option<Arc<VerbsLibrary>>,
    sysfs: Sysfs,
    adapters: Mutex<Vec<(String, Weak<Adapter>)>>,
}

impl Default for RdmaTransport {
    fn default() -> Self {
        RdmaTransport { verbs: None, sysfs: Sysfs::default(), adapters: Mutex::new(Vec::new()) }
    }
}

impl RdmaTransport {
    /// On the system's libraries and devices.
    pub fn new() -> RdmaTransport {
        RdmaTransport::default()
    }

    /// On a given library and device tree, for tests.
    pub fn with(verbs: Arc<VerbsLibrary>, sysfs: Sysfs) -> RdmaTransport {
        RdmaTransport { verbs: Some(verbs), sysfs, adapters: Mutex::new(Vec::new()) }
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

/// When memory is made accessible to the device and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    /// Before the run.
    UpFront,
    /// Each message's memory while it is under way, as a program without buffers of its own must.
    PerChunk,
    /// Before the run for this end; for the peer by a memory window, which it can end by SEND_WITH_INV.
    Window,
}

impl Registration {
    fn words(self) -> &'static str {
        match self {
            Registration::UpFront => "all memory before the run",
            Registration::PerChunk => {
                "each message's memory from its posting to its completion, beside the peer's window"
            }
            Registration::Window => {
                "all memory before the run; the peer reaches it by a memory window of type 2"
            }
        }
    }
}

/// The options of a lane specification that this transport knows.
struct Options {
    wishes: Wishes,
    rendezvous: Option<Rendezvous>,
    traffic_class: u8,
    signal_every: Option<u32>,
    inline_bytes: u32,
    /// Upper limit of the path MTU, as the verbs code.
    path_mtu_code: u8,
    ack_timeout_exponent: u8,
    retry_count: u8,
    registration: Registration,
}

fn options(spec: &LaneSpec) -> Result<Options, TransportError> {
    let mut found = Options {
        wishes: Wishes {
            netdev: spec.device.clone(),
            local: spec.local,
            remote: spec.remote.map(|r| r.ip()),
            ..Wishes::default()
        },
        rendezvous: None,
        traffic_class: 0,
        signal_every: None,
        inline_bytes: INLINE_BYTES,
        path_mtu_code: 5,
        ack_timeout_exponent: ACK_TIMEOUT_EXPONENT,
        retry_count: RETRY_COUNT,
        registration: Registration::UpFront,
    };
    for (name, value) in &spec.options {
        let wrong = |what: &str| TransportError::invalid(format!("RDMA option {name}={value}: {what}"));
        let number = |max: u32| {
            value
                .parse::<u32>()
                .ok()
                .filter(|n| *n <= max)
                .ok_or_else(|| wrong(&format!("expected a number up to {max}")))
        };
        match name.as_str() {
            "device" => found.wishes.device = Some(value.clone()),
            "port" => found.wishes.port = Some(number(255)? as u8),
            "gid" => found.wishes.gid_index = Some(number(255)? as u8),
            "traffic_class" => found.traffic_class = number(255)? as u8,
            "signal_every" => found.signal_every = Some(number(1 << 20)?.max(1)),
            // 0 would mean "for ever", and beyond 31 there is no code.
            "ack_timeout" => found.ack_timeout_exponent = (number(31)? as u8).max(1),
            "retries" => found.retry_count = number(u32::from(RETRY_COUNT))? as u8,
            "inline" => found.inline_bytes = number(4096)?,
            "path_mtu" => {
                let code = (1..=5).find(|code| mtu_bytes(*code).is_some_and(|b| b.to_string() == *value));
                found.path_mtu_code = code.ok_or_else(|| wrong("expected 256, 512, 1024, 2048 or 4096"))?;
            }
            "registration" => {
                found.registration = match value.as_str() {
                    "up-front" => Registration::UpFront,
                    "per-chunk" => Registration::PerChunk,
                    "window" => Registration::Window,
                    _ => return Err(wrong("expected up-front, per-chunk or window")),
                };
            }
            "connect" => {
                found.rendezvous = Some(match value.as_str() {
                    "qp" => Rendezvous::QueuePair,
                    "cm" => Rendezvous::ConnectionManager,
                    _ => return Err(wrong("expected qp or cm")),
                });
            }
            _ => {
                return Err(wrong(
                    "unknown; RDMA lanes know device, port, gid, path_mtu, traffic_class, connect, registration, \
                     ack_timeout, retries, signal_every and inline",
                ));
            }
        }
    }
    Ok(found)
}

/// Of how many sends one asks for a completion.
///
/// On iWARP each must. There a completion means that TCP has the bytes, not that the peer has them (RFC 5040 §5.5), and
/// soft-iWARP lets TCP send, and send again, straight from the memory of a request that asks for none: whoever
/// writes its next message there when a later request completes changes bytes on their way, and the peer sees corrupt ones.
fn signal_every(fabric: Fabric, asked: Option<u32>, send_depth: u32) -> Result<u32, TransportError> {
    match (fabric, asked) {
        (Fabric::Iwarp, Some(2..)) => Err(TransportError::invalid(
            "RDMA option signal_every: on iWARP every send must ask for its completion, or its memory may not be used \
             again; leave the option out",
        )),
        (Fabric::Iwarp, _) => Ok(1),
        // A quarter of the depth keeps three quarters in flight while one is being collected.
        (_, asked) => Ok(asked.unwrap_or(send_depth / 4).clamp(1, send_depth.max(1))),
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

/// What [`options`] reads.
const OPTIONS: &[LaneOption] = &[
    LaneOption::new("device", Takes::Text("DEVICE"), "RDMA device of this host"),
    LaneOption::new("port", Takes::Number(0, 255), "port of the device"),
    LaneOption::new("gid", Takes::Number(0, 255), "index of the GID"),
    LaneOption::new(
        "path_mtu",
        Takes::OneOf(&["256", "512", "1024", "2048", "4096"]),
        "RDMA path MTU, at most",
    ),
    LaneOption::new("traffic_class", Takes::Number(0, 255), "traffic class of the packets"),
    LaneOption::new("connect", Takes::OneOf(&["qp", "cm"]), "how queue pairs find each other"),
    LaneOption::new(
        "registration",
        Takes::OneOf(&["up-front", "per-chunk", "window"]),
        "when memory is registered",
    ),
    LaneOption::new("ack_timeout", Takes::Number(0, 31), "exponent of the acknowledgement timeout"),
    LaneOption::new("retries", Takes::Number(0, RETRY_COUNT as u32), "how often a packet is sent again"),
    LaneOption::new("signal_every", Takes::Number(0, 1 << 20), "how often a completion is asked for"),
    LaneOption::new("inline", Takes::Number(0, 4096), "bytes that are sent within the work request"),
];

impl Transport for RdmaTransport {
    fn name(&self) -> &'static str {
        NAME
    }

    fn manners(&self) -> &'static Manners {
        &MANNERS
    }

    fn options(&self) -> Vec<LaneOption> {
        OPTIONS.to_vec()
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
        let mut chosen = BTreeMap::new();
        chosen.insert(
            "device".into(),
            format!("{} port {}: {}", choice.device, choice.port, choice.device_reason),
        );
        chosen.insert("gid".into(), choice.gid_reason.clone());
        // For programs: the same without words.
        chosen.insert("rdma_device".into(), choice.device.clone());
        chosen.insert("rdma_port".into(), choice.port.to_string());
        chosen.insert("rdma_fabric".into(), choice.fabric.name().to_owned());
        if let Some(gid) = choice.gid.as_ref().filter(|_| choice.fabric != Fabric::Iwarp) {
            chosen.insert("rdma_gid".into(), gid.text());
        }
        chosen.insert(
            "connect".into(),
            connect_reason(rendezvous, choice.fabric, options.rendezvous.is_some()).into(),
        );

        let limit = depth_max(&device);
        let send_depth = spec.depth.min(limit);
        let receive_depth = spec.depth.saturating_mul(2).max(RECEIVES_MIN).min(limit);
        if send_depth < spec.depth {
            chosen.insert(
                "depth".into(),
                format!("{send_depth}, because {} allows no more ({} asked)", choice.device, spec.depth),
            );
        }
        let signal_every = signal_every(choice.fabric, options.signal_every, send_depth)?;
        chosen.insert(
            "signalling".into(),
            if choice.fabric == Fabric::Iwarp {
                "a completion for every send, because on iWARP one of them says nothing of the memory of others".into()
            } else {
                format!("a completion for every {signal_every} sends of a list, and for its last")
            },
        );

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
                Some(Manager::new(&library, role, &choice)?)
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
        Ok(Box::new(Prepared {
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
            signal_every,
            wait_mode: spec.wait_mode,
            send_reports: spec.send_reports,
            ip_mtu_bytes: choice.netdev.as_deref().and_then(|n| self.sysfs.ip_mtu_bytes(n)),
            choice,
            chosen,
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

/// The connection manager's half of a prepared lane.
struct Manager {
    listener: Option<(cm::Id, u16)>,
    channel: Arc<cm::EventChannel>,
}

impl Manager {
    fn new(
        library: &Arc<ConnectionManagerLibrary>,
        role: Role,
        choice: &Choice,
    ) -> Result<Manager, TransportError> {
        let local = choice.local.ok_or_else(|| TransportError::Unsupported {
            what: format!("the RDMA connection manager on {}", choice.device),
            why: "its network interface has no IP address".into(),
            fix: match &choice.netdev {
                Some(netdev) => format!("give it one: ip addr add ADDRESS/PREFIX dev {netdev}"),
                None => "give it one".into(),
            },
        })?;
        let channel = cm::EventChannel::new(library)?;
        let listener = match role {
            Role::Accept => Some(cm::Id::listen(&channel, local)?),
            Role::Dial => None,
        };
        Ok(Manager { listener, channel })
    }
}

struct Prepared {
    // The window goes before the queue pair that it is bound to, that before the memory, and the memory before the
    // adapter: fields drop in this order.
    /// The peer's window, bound once the queue pairs are connected: to which region, with which access.
    exposed: Option<(MemoryWindow, RegionId, u32)>,
    queue_pair: QueuePair,
    manager: Option<Manager>,
    regions: Vec<Arc<MemoryRegion>>,
    cell: Cell,
    adapter: Arc<Adapter>,
    role: Role,
    token: [u8; 32],
    address: Address,
    caps: LaneCaps,
    initiator_depth: u8,
    traffic_class: u8,
    path_mtu_code: u8,
    ack_timeout_exponent: u8,
    retry_count: u8,
    registration: Registration,
    registration_ns: u64,
    send_depth: u32,
    receive_depth: u32,
    inline_bytes: u32,
    signal_every: u32,
    wait_mode: WaitMode,
    send_reports: SendReports,
    ip_mtu_bytes: Option<u32>,
    choice: Choice,
    chosen: BTreeMap<String, String>,
    events_before: usize,
}

impl Prepared {
    /// INIT → ready to receive → ready to send, from the peer's offer (IBTA vol. 1, ch. 10.3.1).
    fn connect_queue_pairs(&self, peer: &Address, mtu_code: u8) -> Result<(), TransportError> {
        let port = self.choice.port;
        let mut init = IbvQpAttr {
            qp_state: k::IBV_QPS_INIT,
            port_num: port,
            qp_access_flags: k::IBV_ACCESS_REMOTE_WRITE | k::IBV_ACCESS_REMOTE_READ,
            ..IbvQpAttr::default()
        };
        let mask = k::IBV_QP_STATE | k::IBV_QP_PKEY_INDEX | k::IBV_QP_PORT | k::IBV_QP_ACCESS_FLAGS;
        self.queue_pair.modify(&mut init, mask, "initialising")?;

        // RoCE always carries a global route; InfiniBand needs one only between subnets.
        let global = self.choice.fabric == Fabric::Roce;
        let mut receive = IbvQpAttr {
            qp_state: k::IBV_QPS_RTR,
            path_mtu: u32::from(mtu_code),
            dest_qp_num: peer.queue_pair,
            rq_psn: peer.first_psn,
            max_dest_rd_atomic: self.address.responder_depth,
            min_rnr_timer: RNR_TIMER_CODE,
            ah_attr: IbvAhAttr {
                grh: IbvGlobalRoute {
                    dgid: peer.gid,
                    flow_label: 0,
                    sgid_index: self.choice.gid.as_ref().map_or(0, |g| g.index),
                    hop_limit: 64,
                    traffic_class: self.traffic_class,
                },
                dlid: peer.lid,
                is_global: u8::from(global),
                port_num: port,
                ..IbvAhAttr::default()
            },
            ..IbvQpAttr::default()
        };
        let mask = k::IBV_QP_STATE
            | k::IBV_QP_AV
            | k::IBV_QP_PATH_MTU
            | k::IBV_QP_DEST_QPN
            | k::IBV_QP_RQ_PSN
            | k::IBV_QP_MAX_DEST_RD_ATOMIC
            | k::IBV_QP_MIN_RNR_TIMER;
        let what = format!("setting the path to {} (GID {})", cm::ip_from(peer.gid), gid_text(&peer.gid));
        self.queue_pair.modify(&mut receive, mask, &what).map_err(|error| self.explain_path(error, peer))?;

        let mut send = IbvQpAttr {
            qp_state: k::IBV_QPS_RTS,
            timeout: self.ack_timeout_exponent,
            retry_cnt: self.retry_count,
            rnr_retry: RNR_RETRY_COUNT,
            sq_psn: self.address.first_psn,
            max_rd_atomic: self.initiator_depth.min(peer.responder_depth.max(1)),
            ..IbvQpAttr::default()
        };
        let mask = k::IBV_QP_STATE
            | k::IBV_QP_TIMEOUT
            | k::IBV_QP_RETRY_CNT
            | k::IBV_QP_RNR_RETRY
            | k::IBV_QP_SQ_PSN
            | k::IBV_QP_MAX_QP_RD_ATOMIC;
        self.queue_pair.modify(&mut send, mask, "making the queue pair ready to send")
    }

    /// The kernel resolves the peer's GID to a MAC address while the path is set; its errors are terse.
    fn explain_path(&self, error: TransportError, peer: &Address) -> TransportError {
        let TransportError::Io { operation, source } = error else { return error };
        let to = cm::ip_from(peer.gid);
        let from = self.choice.gid.as_ref().map_or_else(|| "no GID".to_owned(), |g| g.text());
        match source.raw_os_error() {
            Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EINVAL | libc::ENODATA) => {
                TransportError::PeerGone {
                    operation,
                    detail: format!(
                        "{source}: {to} cannot be reached from {from} on {}; both RDMA interfaces must be in one \
                         subnet or routed, and the GIDs of one type: check `ping -I {} {to}` and choose with --option gid=INDEX",
                        self.choice.device,
                        self.choice.netdev.as_deref().unwrap_or("NIC"),
                    ),
                }
            }
            _ => TransportError::Io { operation, source },
        }
    }

    fn connect_by_manager(
        &self,
        manager: &Manager,
        peer: &Address,
        deadline: Instant,
    ) -> Result<cm::Id, TransportError> {
        let terms = cm::Terms {
            responder_depth: self.address.responder_depth,
            initiator_depth: self.initiator_depth.min(peer.responder_depth.max(1)),
            ack_timeout_exponent: self.ack_timeout_exponent,
            retry_count: self.retry_count,
            rnr_retry_count: RNR_RETRY_COUNT,
        };
        match (&manager.listener, self.role) {
            (Some((listener, _)), _) => listener.accept(&self.queue_pair, &self.token, terms, deadline),
            (None, _) => {
                let ip: IpAddr = cm::ip_from(peer.ip);
                if peer.cm_port == 0 || ip.is_unspecified() {
                    return Err(TransportError::Protocol {
                        operation: "connecting by the RDMA connection manager".into(),
                        detail: "the peer's offer names no address to connect to".into(),
                    });
                }
                let remote = SocketAddr::new(ip, peer.cm_port);
                cm::Id::dial(
                    &manager.channel,
                    self.choice.local,
                    remote,
                    &self.queue_pair,
                    &self.token,
                    terms,
                    deadline,
                )
            }
        }
    }
}

impl PreparedLane for Prepared {
    fn attach(&mut self, region: &Arc<Region>, access: Access) -> Result<RegionId, TransportError> {
        let (readable, writable) = match access {
            Access::Local => (false, false),
            Access::RemoteRead => (true, false),
            Access::RemoteWrite => (false, true),
            Access::RemoteReadWrite => (true, true),
        };
        let mut bits = k::IBV_ACCESS_LOCAL_WRITE;
        if readable {
            bits |= k::IBV_ACCESS_REMOTE_READ;
        }
        // On iWARP the answer to a READ is a tagged write, so its target must allow remote writes (RFC 5040 §4.4).
        if writable || self.choice.fabric == Fabric::Iwarp {
            bits |= k::IBV_ACCESS_REMOTE_WRITE;
        }
        let id = u16::try_from(self.regions.len())
            .map_err(|_| TransportError::invalid("a lane takes at most 65536 regions"))?;
        let begin = Instant::now();
        let exposes = (readable || writable) && self.address.window_bytes == 0;
        let by_window = exposes && self.registration == Registration::Window;
        // What a window opens is not open otherwise.
        let whole = if by_window { k::IBV_ACCESS_LOCAL_WRITE | k::IBV_ACCESS_MW_BIND } else { bits };
        let registered = self.adapter.register(region, whole)?;
        let mut remote_key = registered.remote_key();
        if by_window {
            let window = MemoryWindow::new(&self.adapter.domain)?;
            remote_key = window.key();
            self.exposed = Some((window, RegionId(id), bits & !k::IBV_ACCESS_LOCAL_WRITE));
        }
        self.registration_ns += u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if exposes {
            self.address.window_base = region.base_address() as u64;
            self.address.window_bytes = region.len();
            self.address.window_key = remote_key;
            self.address.window_revocable = by_window;
            self.address.window_readable = readable;
            self.address.window_writable = writable;
        }
        self.regions.push(registered);
        Ok(RegionId(id))
    }

    fn offer(&self) -> Offer {
        Offer(self.address.encode())
    }

    fn connect(
        mut self: Box<Self>,
        peer: &Offer,
        deadline: Duration,
    ) -> Result<Box<dyn Lane>, TransportError> {
        let until = Instant::now() + deadline;
        let peer = Address::decode(&peer.0).map_err(|detail| TransportError::Protocol {
            operation: "reading the peer's RDMA offer".into(),
            detail,
        })?;
        if peer.fabric != self.address.fabric || peer.rendezvous != self.address.rendezvous {
            return Err(TransportError::Unsupported {
                what: "an RDMA connection between these devices".into(),
                why: format!(
                    "{} speaks {} here and the peer's device {}, or they connect in different ways",
                    self.choice.device,
                    self.address.fabric.name(),
                    peer.fabric.name()
                ),
                fix: "choose devices of one kind with --device on both sides".into(),
            });
        }
        let mtu_code = self.address.active_mtu_code.min(peer.active_mtu_code).min(self.path_mtu_code);
        let connection = match self.manager.take() {
            None => {
                self.connect_queue_pairs(&peer, mtu_code)?;
                None
            }
            Some(manager) => Some(self.connect_by_manager(&manager, &peer, until)?),
        };

        let exposed = match self.exposed.take() {
            Some((mut window, region, access)) => {
                window.bind(&self.queue_pair, &self.regions[usize::from(region.0)], access)?;
                Some(window)
            }
            None => None,
        };

        let (mine, theirs) = (mtu_bytes(self.address.active_mtu_code), mtu_bytes(peer.active_mtu_code));
        let mut chosen = std::mem::take(&mut self.chosen);
        let mut counters = BTreeMap::new();
        if self.choice.fabric != Fabric::Iwarp {
            // iWARP runs over TCP and has no RDMA path MTU.
            let path = mtu_bytes(mtu_code).unwrap_or(0);
            let show = |mtu: Option<u32>| mtu.map_or_else(|| "unknown".to_owned(), |b| b.to_string());
            chosen.insert(
                "rdma_path_mtu".into(),
                format!("{path} bytes: active here {}, at the peer {}", show(mine), show(theirs)),
            );
            counters.insert("rdma_path_mtu_bytes".into(), u64::from(path));
            for (name, value) in [("rdma_active_mtu_bytes", mine), ("peer_rdma_active_mtu_bytes", theirs)] {
                if let Some(value) = value {
                    counters.insert(name.into(), u64::from(value));
                }
            }
        }
        if let Some(ip_mtu_bytes) = self.ip_mtu_bytes {
            counters.insert("netdev_ip_mtu_bytes".into(), u64::from(ip_mtu_bytes));
        }
        let bytes = self.regions.iter().map(|mr| mr.region().len()).sum();
        counters.insert("registered_bytes".into(), bytes);
        counters.insert("registration_ns".into(), self.registration_ns);
        chosen.insert("registration".into(), self.registration.words().into());
        let (retries, timeout_ns) = (self.retry_count, 4096u64 << self.ack_timeout_exponent);
        // IBTA vol. 1, ch. 9.7.6.1.3: adapters may wait up to four times as long as they were told.
        let least_ns = timeout_ns * (u64::from(retries) + 1);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let retry_words = match self.choice.fabric {
            Fabric::Iwarp => {
                "those of TCP: a peer that disappears without closing is noticed by the control connection"
                    .into()
            }
            _ => format!(
                "{retries} retries, each after {:.3} s without acknowledgement: a silent peer is reported after {:.2} s, by \
                 adapters that wait as long as they may after {:.2} s; receiver not ready: without limit, every 0.64 ms",
                seconds(timeout_ns),
                seconds(least_ns),
                seconds(4 * least_ns)
            ),
        };
        if self.choice.fabric != Fabric::Iwarp {
            counters.insert("loss_told_least_ns".into(), least_ns);
            counters.insert("loss_told_most_ns".into(), 4 * least_ns);
        }
        chosen.insert("retries".into(), retry_words.clone());

        let gid = self.choice.gid.as_ref();
        let remote = match self.choice.fabric {
            Fabric::Iwarp => cm::ip_from(peer.ip).to_string(),
            _ => format!("{} queue pair {:#x}", cm::ip_from(peer.gid), peer.queue_pair),
        };
        if peer.credit_base == 0 {
            return Err(TransportError::Protocol {
                operation: "reading the peer's RDMA offer".into(),
                detail: "it names no place for receive credits".into(),
            });
        }
        let Prepared { queue_pair, regions, adapter, cell, .. } = *self;
        let credit = Credit::new(cell, peer.credit_base, peer.credit_key);
        let lane = RdmaLane::new(Parts {
            queue_pair,
            context: adapter.context.clone(),
            regions,
            credit,
            iwarp: self.choice.fabric == Fabric::Iwarp,
            connection,
            window: Window {
                base: peer.window_base,
                bytes: peer.window_bytes,
                key: peer.window_key,
                writable: peer.window_writable,
                readable: peer.window_readable,
                revocable: peer.window_revocable,
            },
            caps: self.caps,
            send_depth: self.send_depth,
            receive_depth: self.receive_depth,
            inline_bytes: self.inline_bytes,
            per_chunk: self.registration == Registration::PerChunk,
            exposed,
            signal_every: self.signal_every,
            wait_mode: self.wait_mode,
            send_reports: self.send_reports,
            local: format!(
                "{} port {}{}",
                self.choice.device,
                self.choice.port,
                gid.map_or_else(String::new, |g| format!(" gid {} {}", g.index, g.text()))
            ),
            remote,
            retry_words,
            chosen,
            counters,
            events_before: self.events_before,
            shared: adapter,
        })?;
        Ok(Box::new(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_iwarp_every_send_asks_for_its_completion() {
        for depth in [1, 16, 128] {
            assert_eq!(signal_every(Fabric::Iwarp, None, depth).unwrap(), 1);
            assert_eq!(signal_every(Fabric::Iwarp, Some(1), depth).unwrap(), 1);
        }
        let refused = signal_every(Fabric::Iwarp, Some(2), 16).unwrap_err().to_string();
        assert!(refused.contains("signal_every") && refused.contains("leave the option out"), "{refused}");
        assert_eq!(signal_every(Fabric::Roce, None, 16).unwrap(), 4);
        assert_eq!(signal_every(Fabric::Roce, Some(100), 16).unwrap(), 16);
        assert_eq!(signal_every(Fabric::InfiniBand, None, 1).unwrap(), 1);
    }
}
