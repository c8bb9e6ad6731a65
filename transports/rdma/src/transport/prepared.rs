//! The prepared lane: memory is attached, the peer's offer comes, and the queue pairs are connected.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, AdapterStats, Gone, Lane, LaneCaps, Offer, PreparedLane, Region, RegionId, Role, SendReports,
    TransportError, WaitMode,
};
use pathproof_sys::clock::{Clock as _, Deadline, RealClock};

use super::adapter::Adapter;
use super::dialling;
use super::options::Registration;
use crate::choose::Choice;
use crate::cm;
use crate::credit::{Cell, Credit};
use crate::ffi::{ConnectionManagerLibrary, IbvAhAttr, IbvGlobalRoute, IbvQpAttr, k};
use crate::lane::{Parts, RdmaLane, Window};
use crate::memory_window::MemoryWindow;
use crate::offer::{Address, mtu_bytes};
use crate::signals::Signals;
use crate::sysfs::{Fabric, gid_text};
use crate::timing::{RNR_RETRY_COUNT, RNR_TIMER_CODE};
use crate::verbs::{MemoryRegion, QueuePair};

/// The connection manager's half of a prepared lane.
pub(super) struct Manager {
    pub(super) listener: Option<(cm::Id, u16)>,
    pub(super) channel: Arc<cm::EventChannel>,
}

impl Manager {
    pub(super) fn new(
        library: &Arc<ConnectionManagerLibrary>,
        role: Role,
        choice: &Choice,
        traffic_class: Option<u8>,
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
            Role::Accept => Some(cm::Id::listen(&channel, SocketAddr::new(local, 0), traffic_class)?),
            Role::Dial => None,
        };
        Ok(Manager { listener, channel })
    }
}

pub(super) struct PreparedRdma {
    pub(super) clock: RealClock,
    // The window goes before the queue pair that it is bound to, that before the memory, and the memory before the
    // adapter: fields drop in this order.
    /// The peer's window, bound once the queue pairs are connected: to which region, with which access.
    pub(super) exposed: Option<(MemoryWindow, RegionId, u32)>,
    pub(super) queue_pair: QueuePair,
    pub(super) manager: Option<Manager>,
    pub(super) regions: Vec<Arc<MemoryRegion>>,
    pub(super) cell: Cell,
    pub(super) adapter: Arc<Adapter>,
    pub(super) role: Role,
    pub(super) token: [u8; 32],
    pub(super) address: Address,
    pub(super) caps: LaneCaps,
    pub(super) initiator_depth: u8,
    /// `None` where nobody asked for one.
    pub(super) traffic_class: Option<u8>,
    pub(super) path_mtu_code: u8,
    pub(super) ack_timeout_exponent: u8,
    pub(super) retry_count: u8,
    pub(super) registration: Registration,
    pub(super) registration_ns: u64,
    pub(super) send_depth: u32,
    pub(super) receive_depth: u32,
    pub(super) inline_bytes: u32,
    pub(super) signals: Signals,
    pub(super) wait_mode: WaitMode,
    pub(super) send_reports: SendReports,
    pub(super) ip_mtu_bytes: Option<u32>,
    pub(super) choice: Choice,
    pub(super) chosen: BTreeMap<String, String>,
    pub(super) adapter_used: AdapterStats,
    pub(super) events_before: usize,
}

impl PreparedRdma {
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
                    traffic_class: self.traffic_class.unwrap_or(0),
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
                    how: Some(Gone::Unreachable),
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
        until: &Deadline,
    ) -> Result<cm::Id, TransportError> {
        let terms = cm::Terms {
            responder_depth: self.address.responder_depth,
            initiator_depth: self.initiator_depth.min(peer.responder_depth.max(1)),
            ack_timeout_exponent: self.ack_timeout_exponent,
            retry_count: self.retry_count,
            rnr_retry_count: RNR_RETRY_COUNT,
            traffic_class: self.traffic_class,
        };
        let dials = manager.listener.is_none();
        let joining = cm::Joining {
            queue_pair: &self.queue_pair,
            private_data: if dials { &self.token } else { &[] },
            terms,
            bound: cm::Bound::Offers,
            post_receives: &mut || Ok(()),
        };
        let connected = match (&manager.listener, self.role) {
            (Some((listener, _)), _) => listener.accept(&self.token, joining, until),
            (None, _) => {
                let ip: IpAddr = cm::ip_from(peer.ip);
                if peer.cm_port == 0 || ip.is_unspecified() {
                    return Err(TransportError::Protocol {
                        operation: "connecting by the RDMA connection manager".into(),
                        detail: "the peer's offer names no address to connect to".into(),
                    });
                }
                let remote = SocketAddr::new(ip, peer.cm_port);
                cm::Id::dial(&manager.channel, self.choice.local, remote, joining, until)
            }
        }?;
        Ok(connected.id)
    }

    /// Connects, or is connected to, and makes the lane.
    fn join(mut self: Box<Self>, peer: &Offer, deadline: Duration) -> Result<Box<dyn Lane>, TransportError> {
        let until = self.clock.deadline(deadline);
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
            Some(manager) => Some(self.connect_by_manager(&manager, &peer, &until)?),
        };

        let exposed = match self.exposed.take() {
            Some((mut window, region, access)) => {
                window.bind(&self.queue_pair, &self.regions[usize::from(region.0)], access, &self.clock)?;
                Some(window)
            }
            None => None,
        };

        let (mine, theirs) = (mtu_bytes(self.address.active_mtu_code), mtu_bytes(peer.active_mtu_code));
        let mut chosen = std::mem::take(&mut self.chosen);
        let mut counters = BTreeMap::new();
        let mut adapter_used = std::mem::take(&mut self.adapter_used);
        adapter_used.ip_mtu_bytes = self.ip_mtu_bytes;
        if self.choice.fabric != Fabric::Iwarp {
            // iWARP runs over TCP and has no RDMA path MTU.
            let path = mtu_bytes(mtu_code).unwrap_or(0);
            (adapter_used.path_mtu_bytes, adapter_used.active_mtu_bytes) = (Some(path), mine);
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
        let PreparedRdma { clock, queue_pair, regions, adapter, cell, .. } = *self;
        let credit = Credit::new(cell, peer.credit_base, peer.credit_key);
        let lane = RdmaLane::new(Parts {
            clock,
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
            signals: self.signals,
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
            adapter: adapter_used,
            counters,
            events_before: self.events_before,
            shared: adapter,
        })?;
        Ok(Box::new(lane))
    }
}

impl PreparedLane for PreparedRdma {
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
        let begin = self.clock.now();
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
        self.registration_ns += self.clock.now().ns_since(begin);
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

    fn connect(self: Box<Self>, peer: &Offer, deadline: Duration) -> Result<Box<dyn Lane>, TransportError> {
        if self.choice.fabric != Fabric::Iwarp || self.role == Role::Accept {
            return self.join(peer, deadline);
        }
        let peer = peer.clone();
        dialling::in_time(deadline, move || self.join(&peer, deadline))
    }
}
