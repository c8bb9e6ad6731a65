//! Bare wires: the same device, queue pair and connection manager as a lane's, and nothing of ours on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, AdapterStats, Established, Exposed, PreparedWire, PrivateData, Region, Role, SendReports,
    SentMemory, TransportError, WaitMode, Wire, WireOp, WireSpec, Wires,
};
use pathproof_sys::clock::RealClock;

use super::adapter::{Adapter, Memory};
use super::dialling;
use super::marks;
use super::options::class_of;
use super::{INLINE_BYTES, RdmaTransport};
use crate::choose::{Choice, Wishes};
use crate::cm;
use crate::ffi::{ConnectionManagerLibrary, IbvQpCap};
use crate::loans::Loans;
use crate::signals::Signals;
use crate::sysfs::Fabric;
use crate::timing::{ACK_TIMEOUT_EXPONENT, RETRY_COUNT};
use crate::verbs::{CompletionChannel, CompletionQueue, QueuePair};
use crate::wire::{BareWire, Parts, Queues};
use crate::words;

/// Pieces of an operation: a head and a body.
const PIECES: u32 = 2;
/// Of how many sends of a list one asks for a completion, where the last does in any case.
const LIST_ASKS_EVERY: u32 = 16;

impl Wires for RdmaTransport {
    fn prepare_wire(&self, spec: &WireSpec) -> Result<Box<dyn PreparedWire>, TransportError> {
        self.ready()?;
        let choice = self.choice(&Wishes {
            device: spec.device.clone(),
            netdev: spec.netdev.clone(),
            local: spec.local.or_else(|| listening_address(spec)),
            remote: spec.address.filter(|_| spec.role == Role::Dial).map(|address| address.ip()),
            ..Wishes::default()
        })?;
        let local = choice.local.ok_or_else(|| TransportError::Unsupported {
            what: format!("the RDMA connection manager on {}", choice.device),
            why: "its network interface has no IP address".into(),
            fix: "give it one".into(),
        })?;
        let adapter = self.adapter(&choice.device)?;
        let events_before = adapter.context.events_so_far();
        let device = adapter.context.attributes()?;
        if let Some(dscp) = spec.dscp {
            marks::check(dscp, &choice, device.vendor_id, &self.sysfs)?;
        }
        let least = |asked: u8, allowed: i32| asked.min(u8::try_from(allowed).unwrap_or(u8::MAX));
        let terms = cm::Terms {
            responder_depth: least(spec.reads_served, device.max_qp_rd_atom),
            initiator_depth: least(spec.reads_issued, device.max_qp_init_rd_atom),
            ack_timeout_exponent: ACK_TIMEOUT_EXPONENT,
            retry_count: RETRY_COUNT,
            // Whoever speaks over a bare wire has credits: a receiver that is not ready is a fault, not a wait.
            rnr_retry_count: 0,
            traffic_class: spec.dscp.map(class_of),
        };
        let channel = match spec.wait_mode {
            WaitMode::Block => Some(CompletionChannel::new(&adapter.context)?),
            WaitMode::Spin => None,
        };
        let completions = CompletionQueue::new(&adapter.context, spec.sends + spec.receives + 1, channel)?;
        let wanted = IbvQpCap {
            max_send_wr: spec.sends,
            max_recv_wr: spec.receives,
            max_send_sge: PIECES,
            max_recv_sge: 1,
            max_inline_data: INLINE_BYTES,
        };
        let queue_pair = QueuePair::new(&adapter.domain, &completions, wanted)?;
        let library = ConnectionManagerLibrary::system().map_err(|error| words::missing_library(&error))?;
        let channel = cm::EventChannel::new(&library)?;
        let listener = match spec.role {
            Role::Dial => None,
            Role::Accept => {
                let port = spec.address.map_or(0, |address| address.port());
                Some(cm::Id::listen(&channel, SocketAddr::new(local, port), terms.traffic_class)?)
            }
        };
        Ok(Box::new(PreparedBare {
            clock: self.clock.clone(),
            inline_bytes: queue_pair.granted().max_inline_data.min(INLINE_BYTES),
            queue_pair,
            listener,
            channel,
            memory: Vec::new(),
            ip_mtu_bytes: choice.netdev.as_deref().and_then(|netdev| self.sysfs.ip_mtu_bytes(netdev)),
            adapter,
            choice,
            terms,
            spec: spec.clone(),
            events_before,
        }))
    }
}

/// Which sends ask for a completion. Their places are used again.
fn signals(fabric: Fabric, told_together: u32) -> Result<Signals, TransportError> {
    let (depth, reports) = match told_together {
        0 | 1 => (LIST_ASKS_EVERY, SendReports::Prompt),
        several => (several, SendReports::Late),
    };
    // One for every quarter.
    Signals::of(fabric, None, (depth.saturating_mul(4), u32::MAX), (reports, SentMemory::Reused))
}

fn listening_address(spec: &WireSpec) -> Option<std::net::IpAddr> {
    let address = spec.address.filter(|_| spec.role == Role::Accept)?;
    (!address.ip().is_unspecified()).then(|| address.ip())
}

struct PreparedBare {
    // The queue pair goes before the memory that it uses, and that before the adapter: fields drop in this order.
    queue_pair: QueuePair,
    listener: Option<(cm::Id, u16)>,
    channel: Arc<cm::EventChannel>,
    memory: Memory,
    adapter: Arc<Adapter>,
    clock: RealClock,
    inline_bytes: u32,
    ip_mtu_bytes: Option<u32>,
    choice: Choice,
    terms: cm::Terms,
    spec: WireSpec,
    events_before: usize,
}

impl PreparedBare {
    fn iwarp(&self) -> bool {
        self.choice.fabric == Fabric::Iwarp
    }

    /// Connects, or is connected to.
    fn join(
        self: Box<Self>,
        peer: Option<SocketAddr>,
        receives: &[WireOp],
        deadline: Duration,
    ) -> Result<Box<dyn Wire>, TransportError> {
        let until = self.clock.deadline(deadline);
        let iwarp = self.iwarp();
        let PreparedBare {
            queue_pair, listener, channel, memory, adapter, clock, choice, terms, spec, ..
        } = *self;
        let adapter_used = AdapterStats {
            device: choice.device.clone(),
            port: choice.port,
            fabric: choice.fabric,
            gid: choice.gid.as_ref().filter(|_| !iwarp).map(|gid| gid.text()),
            ip_mtu_bytes: self.ip_mtu_bytes,
            ..AdapterStats::default()
        };
        let mut chosen = BTreeMap::new();
        let device = format!("{} port {}: {}", choice.device, choice.port, choice.device_reason);
        chosen.insert("device".into(), device);
        chosen.insert("gid".into(), choice.gid_reason.clone());
        chosen.insert("connect".into(), "by the RDMA connection manager, as SMB Direct does".into());
        if let Some(class) = terms.traffic_class {
            chosen.insert("traffic_class".into(), marks::words(class, true, iwarp));
        }
        let signals = signals(choice.fabric, spec.told_together)?;
        let inline_bytes = self.inline_bytes;
        let mut queues = Queues::new(&adapter.context, spec.sends, spec.receives, inline_bytes, signals)?;
        let private_data = match &spec.private_data {
            PrivateData::Bytes(bytes) => bytes.clone(),
            // Each must be more than zero (MS-SMBD 3.1.4.2), also that of an end that never reads.
            PrivateData::Depths if iwarp => [terms.responder_depth, terms.initiator_depth]
                .map(|depth| u32::from(depth.max(1)).to_be_bytes())
                .concat(),
            PrivateData::Depths | PrivateData::None => Vec::new(),
        };
        let mut loans = Loans::default();
        let joining = cm::Joining {
            queue_pair: &queue_pair,
            private_data: &private_data,
            terms,
            bound: if iwarp { cm::Bound::ManagerAndPeer } else { cm::Bound::Manager },
            post_receives: &mut || queues.submit(&queue_pair, (&memory, &mut loans), receives).map(drop),
        };
        let remote = peer.or(spec.address);
        let connected = match (&listener, remote) {
            (Some((listener, _)), _) => listener.accept(&spec.admit, joining, &until)?,
            (None, Some(remote)) => cm::Id::dial(&channel, choice.local, remote, joining, &until)?,
            (None, None) => {
                return Err(TransportError::invalid("a wire that dials needs the peer's address"));
            }
        };
        let established = Established {
            private_data: connected.private_data,
            reads_served: connected.reads_served,
            reads_issued: connected.reads_issued,
            iwarp,
            local: format!("{} port {}", choice.device, choice.port),
            remote: match remote.filter(|_| listener.is_none()) {
                Some(remote) => remote.to_string(),
                None => "who dialled".into(),
            },
        };
        Ok(Box::new(BareWire::new(Parts {
            clock,
            queue_pair,
            queues,
            connection: connected.id,
            memory,
            loans,
            adapter,
            established,
            wait_mode: spec.wait_mode,
            chosen,
            adapter_used,
            events_before: self.events_before,
        })))
    }
}

impl PreparedWire for PreparedBare {
    fn listens_at(&self) -> Option<SocketAddr> {
        let (_, port) = self.listener.as_ref()?;
        Some(SocketAddr::new(self.choice.local?, *port))
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        let iwarp = self.iwarp();
        self.adapter.expose(&mut self.memory, iwarp, region, access)
    }

    fn connect(
        self: Box<Self>,
        peer: Option<SocketAddr>,
        receives: &[WireOp],
        deadline: Duration,
    ) -> Result<Box<dyn Wire>, TransportError> {
        if !self.iwarp() || self.spec.role == Role::Accept {
            return self.join(peer, receives, deadline);
        }
        let receives = receives.to_vec();
        dialling::in_time(deadline, move || self.join(peer, &receives, deadline))
    }
}
