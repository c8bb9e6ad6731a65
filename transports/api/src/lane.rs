//! The traits of a transport and the values that cross them.
//!
//! Life of a lane: [`Transport::prepare`] makes local resources while the peer is still unknown;
//! [`PreparedLane::attach`] gives it memory; [`PreparedLane::offer`] yields opaque bytes for the control
//! channel; [`PreparedLane::connect`] consumes the peer's offer and returns a [`Lane`]. The control protocol
//! carries offers without understanding them, so a new transport adds no protocol message.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pathproof_sys::Descriptor;

use crate::{
    Fabric, Manners, OptionDoc, OptionValues, PathSpec, Region, StripeStats, TcpConnection, TransportError,
};

/// A registry entry; holds no per-run state.
pub trait Transport: Send + Sync {
    /// The name that `--over` takes and that results carry (`tcp`, `multi`, `rdma`, `sim`).
    fn name(&self) -> &'static str;
    /// How its lanes behave, on any host.
    fn manners(&self) -> &'static Manners;
    /// The options that its lanes take, in [`LaneSpec::options`]; all others are refused.
    fn options(&self) -> Vec<OptionDoc>;
    /// Whether this host can do it, how far, and if not, why not.
    fn probe(&self) -> Result<LaneCaps, TransportError>;
    /// Makes the local half of a lane. No packet leaves the machine towards the peer.
    fn prepare(&self, role: Role, spec: &LaneSpec) -> Result<Box<dyn PreparedLane>, TransportError>;
}

/// Resources exist, the peer is unknown.
pub trait PreparedLane: Send {
    /// Makes `region` usable by operations on this lane, and by the peer as far as `access` says. The first
    /// region attached with a remote access is the target of the peer's one-sided verbs.
    fn attach(&mut self, region: &Arc<Region>, access: Access) -> Result<RegionId, TransportError>;
    /// What the peer needs in order to connect. Complete only after all regions are attached.
    fn offer(&self) -> Offer;
    /// Connects to the peer that made `peer`, both ends calling this at about the same time.
    fn connect(self: Box<Self>, peer: &Offer, deadline: Duration) -> Result<Box<dyn Lane>, TransportError>;
}

/// One TCP connection, one queue pair, or a stripe of them. Owned and driven by one thread.
///
/// Contract (checked by [`crate::contract`]): every accepted operation completes exactly once or is reported
/// failed; messages arrive whole and in order; `poll` adds at most the spare capacity of the vector it is
/// given; between connect and close nothing is allocated, locked or logged; dropping a lane never hangs.
/// **A lane makes progress only inside `submit` and `poll`**: the passive target of one-sided writes must
/// keep polling.
pub trait Lane: Send {
    /// What this lane can do.
    fn caps(&self) -> &LaneCaps;
    /// Accepts a prefix of `ops` and returns its length: fewer than offered means backpressure, not failure.
    /// Operations of one verb complete in the order submitted.
    fn submit(&mut self, ops: &[Op]) -> Result<usize, TransportError>;
    /// Collects completions into the *spare capacity* of `out`, waiting as `wait` says for the first one, and
    /// returns how many were added. Zero is not an error.
    fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError>;
    /// What a caller that drives several lanes may sleep on instead of waiting inside `poll`; `None` where there
    /// is nothing of the kind, and such a caller then has to take turns.
    fn readiness(&self) -> Option<Readiness<'_>> {
        None
    }
    /// What ends a blocked `poll` from another thread; `None` where there is nothing of the kind. A lane that has one may be
    /// polled without a limit while somebody watches over it, which spares it a timer for every wait.
    fn stopper(&self) -> Option<Stopper> {
        None
    }
    /// Counters and kernel figures of this moment; cheap, without allocation, never zero for unknown.
    fn sample(&mut self, out: &mut LaneSample);
    /// Sends what is queued, ends the connection in order and returns what the lane knows about itself.
    fn close(self: Box<Self>) -> Result<LaneStats, TransportError>;
    /// Ends the connection at once and waits for nothing: what is under way is lost. For a lane that is stuck, whose
    /// backlog would otherwise hold up whoever uses the path next.
    fn abandon(self: Box<Self>) -> Result<LaneStats, TransportError> {
        self.close()
    }
}

/// Ends the lane that it was taken from, whatever that is blocked in: its `poll` returns with an error, and nothing more
/// comes of it.
pub struct Stopper {
    stop: Box<dyn Fn() + Send + Sync>,
    look: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Stopper {
    /// One that does `stop`.
    pub fn new(stop: impl Fn() + Send + Sync + 'static) -> Stopper {
        Stopper { stop: Box::new(stop), look: None }
    }

    /// One that also does `look`: of a lane that is blocked in what news of its end do not wake.
    pub fn looking(self, look: impl Fn() + Send + Sync + 'static) -> Stopper {
        Stopper { look: Some(Box::new(look)), ..self }
    }

    /// Ends the lane.
    pub fn stop(&self) {
        (self.stop)();
    }

    /// Whether whoever watches over the lane should [`look`](Stopper::look) now and then.
    pub fn looks(&self) -> bool {
        self.look.is_some()
    }

    /// Looks for news that the lane cannot hear while it is blocked, and wakes it if there are some.
    pub fn look(&self) {
        if let Some(look) = &self.look {
            look();
        }
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stopper")
    }
}

/// A descriptor, and the events on it after which `poll` has something to do.
#[derive(Clone, Copy, Debug)]
pub struct Readiness<'a> {
    /// What to wait on.
    pub fd: Descriptor<'a>,
    /// There is something to be received into a posted operation.
    pub read: bool,
    /// There is something to be sent.
    pub write: bool,
}

/// Which end of the connection this is. Connections are always dialled by the client of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dials.
    Dial,
    /// Is dialled.
    Accept,
}

/// Everything that decides the shape of one lane, the same at both ends but for addresses.
#[derive(Clone, Debug)]
pub struct LaneSpec {
    /// Index of the lane within its step, from 0.
    pub lane: u32,
    /// One-time secret of the lane (unique for session, step and lane) by which its two ends know each other. Over a
    /// stream it never crosses: each end shows a proof that it holds it.
    pub token: [u8; 32],
    /// Where the dialler connects to: the peer's control address unless a NIC pairing says otherwise.
    pub remote: Option<SocketAddr>,
    /// Local address to bind to.
    pub local: Option<IpAddr>,
    /// Local network device to bind to, by name.
    pub device: Option<String>,
    /// How messages are told apart on a byte stream.
    pub framing: Framing,
    /// Most operations outstanding at once, per direction.
    pub depth: u32,
    /// Largest message in bytes.
    pub message_bytes_max: u32,
    /// How `poll` waits.
    pub wait_mode: WaitMode,
    /// How bytes leave the region.
    pub send_mode: SendMode,
    /// How bytes reach the region.
    pub receive_mode: ReceiveMode,
    /// When the completion of a send is told.
    pub send_reports: SendReports,
    /// What becomes of the memory of messages that were sent.
    pub sent_memory: SentMemory,
    /// Upper limit for the TCP segment size (a control run at standard size), if any.
    pub max_segment_bytes: Option<u32>,
    /// Socket buffer size in bytes; `None` leaves it to the transport.
    pub socket_buffer_bytes: Option<u32>,
    /// The code point (RFC 2474) that what this end sends in TCP segments or packets of RDMA is marked with; `None` leaves it to the system, and
    /// where the transport has an option for it, to that. Where nothing would carry it, preparing the lane is an error.
    pub dscp: Option<u8>,
    /// The priority of what this end sends in TCP segments, within this host and in the tags (802.1Q) that a VLAN device makes of it; `None`
    /// leaves it to the system.
    pub priority: Option<u8>,
    /// The paths of a lane over several NICs, the same number at both ends; none where the lane goes where `remote` leads.
    pub paths: Vec<PathSpec>,
    /// What only this transport understands. One that it does not declare is an error.
    pub options: OptionValues,
}

impl Default for LaneSpec {
    fn default() -> Self {
        LaneSpec {
            lane: 0,
            token: [0; 32],
            remote: None,
            local: None,
            device: None,
            framing: Framing::Raw,
            depth: 16,
            message_bytes_max: 1 << 20,
            wait_mode: WaitMode::Block,
            send_mode: SendMode::Copy,
            receive_mode: ReceiveMode::Copy,
            send_reports: SendReports::Prompt,
            sent_memory: SentMemory::Reused,
            max_segment_bytes: None,
            socket_buffer_bytes: None,
            dscp: None,
            priority: None,
            paths: Vec::new(),
            options: OptionValues::default(),
        }
    }
}

/// How messages are told apart on a byte stream. Transports that keep message boundaries ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No header at all: a message is as long as the receive operation that takes it, and both ends know the
    /// sizes from the plan. Two-sided verbs only. The fastest form, for stream, ping-pong and request.
    Raw,
    /// A small header before each message: verb, length, target offset. Allows one-sided writes and receives
    /// that are longer than the message.
    Framed,
}

/// How `poll` waits for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    /// Sleeps in the kernel.
    Block,
    /// Spins; costs a core, and is labelled so in the result.
    Spin,
}

/// How bytes leave the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMode {
    /// Copied into the kernel by `send`.
    Copy,
    /// Pinned and sent from place (`MSG_ZEROCOPY`; RDMA always).
    ZeroCopy,
}

/// How bytes reach the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveMode {
    /// Placed in memory, as SMB and live migration do.
    Copy,
    /// Counted and thrown away (`MSG_TRUNC`); never the default.
    Discard,
}

/// When `poll` tells that a send has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendReports {
    /// As soon as it has: a `poll` that may wait returns for it.
    Prompt,
    /// With the lane's next other completion, or when the wait is over: for callers to whom only the answer is
    /// news. Saves a question and answer half of its calls. Transports that know no difference ignore it.
    Lazy,
    /// As `Lazy`, and for many of them at once: with that of a later send, which may never be made. For callers to whom the answer
    /// says all that a completion would, whose depth is so large that none is waited for. Saves the completion itself
    /// where the transport can do without. What was never told is settled by `close`.
    Late,
}

/// What becomes of the memory of a message once its send has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentMemory {
    /// The caller writes there again, so a completion must mean that nothing is sent from there any more.
    Reused,
    /// It stays as it is for as long as the lane lives, as where the same bytes are sent again and again. A transport that would
    /// do more for a completion than to count it may leave that out.
    Constant,
}

/// What a peer may do with an attached region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing; only local operations name it.
    Local,
    /// One-sided reads.
    RemoteRead,
    /// One-sided writes.
    RemoteWrite,
    /// Both.
    RemoteReadWrite,
}

/// Names a region attached to a lane; valid on that lane only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegionId(pub u16);

/// Opaque bytes that the peer's [`PreparedLane::connect`] understands: a queue-pair address with base and key
/// of the first remotely accessible region, a listening port, or nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer(pub Vec<u8>);

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Sends `len` bytes as one message to the peer's oldest receive.
    Send,
    /// Takes one message of at most `len` bytes.
    Recv,
    /// Places `len` bytes at `remote_offset` of the peer's region without its taking part.
    Write,
    /// Like `Write`, and consumes a receive at the peer, which completes with `immediate`.
    WriteImmediate,
    /// Fetches `len` bytes from `remote_offset` of the peer's region.
    Read,
    /// Sends, and ends the key by which this lane reaches the peer's region. Only where the peer has given one that can
    /// be ended (a memory window).
    SendInvalidate,
}

/// One operation. It names bytes and never borrows them, so there is no lifetime to hold and nothing to free
/// too early: the region is kept alive by the lane it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Returned in the completion; free for the caller's use.
    pub tag: u64,
    /// What to do.
    pub verb: Verb,
    /// Local memory.
    pub region: RegionId,
    /// Offset in the local region, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
    /// Offset in the peer's region, for one-sided verbs.
    pub remote_offset: u64,
    /// 32 bits delivered with `WriteImmediate`.
    pub immediate: u32,
}

impl Op {
    /// A send of `len` bytes at `offset`.
    pub fn send(tag: u64, region: RegionId, offset: u64, len: u32) -> Op {
        Op { tag, verb: Verb::Send, region, offset, len, remote_offset: 0, immediate: 0 }
    }
    /// A receive into `len` bytes at `offset`.
    pub fn recv(tag: u64, region: RegionId, offset: u64, len: u32) -> Op {
        Op { tag, verb: Verb::Recv, region, offset, len, remote_offset: 0, immediate: 0 }
    }
    /// A one-sided write of `len` bytes at `offset` to `remote_offset`.
    pub fn write(tag: u64, region: RegionId, offset: u64, len: u32, remote_offset: u64) -> Op {
        Op { tag, verb: Verb::Write, region, offset, len, remote_offset, immediate: 0 }
    }
    /// A one-sided read of `len` bytes from `remote_offset` to `offset`.
    pub fn read(tag: u64, region: RegionId, offset: u64, len: u32, remote_offset: u64) -> Op {
        Op { tag, verb: Verb::Read, region, offset, len, remote_offset, immediate: 0 }
    }
}

/// The end of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The operation's tag.
    pub tag: u64,
    /// The operation's verb.
    pub verb: Verb,
    /// Bytes moved: for a receive, the length of the message.
    pub len: u32,
    /// Immediate data, where the peer sent some.
    pub immediate: Option<u32>,
    /// How it ended.
    pub status: CompletionStatus,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompletionStatus {
    /// Done.
    Ok,
    /// Given up because the lane failed or was closed before its turn came.
    Flushed,
    /// Failed with a code whose meaning only the transport knows (`ibv_wc_status` for verbs); the transport's
    /// next `poll` or `close` returns the error in words.
    Failed(u32),
}

/// How `poll` may wait for its first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most so long. A lane may return earlier with nothing. `Duration::MAX` is until something comes, or another thread
    /// uses the lane's [`Stopper`]: only for lanes that have one.
    AtMost(Duration),
}

/// What a transport can do on this host, or a lane on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneCaps {
    /// The transport's name.
    pub transport: &'static str,
    /// Verbs supported.
    pub verbs: Vec<Verb>,
    /// Most operations outstanding at once, per direction.
    pub depth_max: u32,
    /// Largest message in bytes.
    pub message_bytes_max: u32,
}

impl LaneCaps {
    /// Caps of a transport that sends and receives, and nothing more.
    pub fn two_sided(transport: &'static str) -> LaneCaps {
        LaneCaps {
            transport,
            verbs: vec![Verb::Send, Verb::Recv],
            depth_max: 1024,
            message_bytes_max: 64 << 20,
        }
    }

    /// Whether `verb` is supported.
    pub fn can(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }
}

/// Figures of one moment in a lane's life. `None` is unknown, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneSample {
    /// Payload bytes handed to the peer's direction since connect.
    pub bytes_sent: u64,
    /// Payload bytes received since connect.
    pub bytes_received: u64,
    /// The kernel's smoothed round trip estimate, in ns (TCP_INFO `tcpi_rtt`).
    pub rtt_ns: Option<u64>,
    /// The kernel's round trip variation, in ns.
    pub rtt_variation_ns: Option<u64>,
    /// Smallest round trip the kernel saw, in ns.
    pub rtt_min_ns: Option<u64>,
    /// Segments (or packets) sent again since connect.
    pub retransmits: Option<u64>,
    /// Segment size used for sending, in bytes (TCP_INFO `tcpi_snd_mss`).
    pub send_segment_bytes: Option<u64>,
    /// Path MTU that the kernel assumes, in bytes (TCP_INFO `tcpi_pmtu`).
    pub path_ip_mtu_bytes: Option<u64>,
    /// Congestion window in segments.
    pub congestion_window_segments: Option<u64>,
    /// Bytes in the send queue that the peer has not acknowledged, where known.
    pub unacknowledged_bytes: Option<u64>,
}

/// Which adapter a lane went by, and what it moved over it in its whole life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterStats {
    /// Name of the device.
    pub device: String,
    /// Its port.
    pub port: u8,
    /// What the port speaks.
    pub fabric: Fabric,
    /// The address on the fabric, where it has one.
    pub gid: Option<String>,
    /// Path MTU in use, in bytes; `None` where the fabric has none.
    pub path_mtu_bytes: Option<u32>,
    /// Active MTU of this end's port, in bytes; `None` where the fabric has none.
    pub active_mtu_bytes: Option<u32>,
    /// IP MTU of the network interface below, in bytes.
    pub ip_mtu_bytes: Option<u32>,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Why fewer operations were under way than asked for, if so.
    pub depth_reduced: Option<String>,
}

/// What a lane knows about itself at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Last sample.
    pub last: LaneSample,
    /// Local address or device and GID, as text.
    pub local: Option<String>,
    /// Remote address, as text.
    pub remote: Option<String>,
    /// Send mode in force, by name.
    pub send_mode: Option<String>,
    /// Receive mode in force, by name.
    pub receive_mode: Option<String>,
    /// Choices the lane made by itself, each with its reason (`gid` → `index 1: RoCE v2, ::ffff:10.0.0.1 …`).
    pub chosen: BTreeMap<String, String>,
    /// What the kernel knows of its connection, where it is one of TCP.
    pub connection: Option<TcpConnection>,
    /// Which adapter it went by, where it went by one.
    pub adapter: Option<AdapterStats>,
    /// What became of its paths, where it had several.
    pub stripe: Option<StripeStats>,
    /// Further counters by name, for people.
    pub counters: BTreeMap<String, u64>,
}
