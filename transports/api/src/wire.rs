//! A bare RDMA connection: queue pair, connection manager, memory keys, and nothing of ours on the wire. For protocols that
//! foreign peers speak (MS-SMBD): no offer crosses before it, no credit cell stands beside it, and nothing is sent at its
//! end, because each of these would break a peer that does not know them.
//!
//! It refuses to do flow control: a send that finds no posted receive ends the connection. Whoever speaks over it has
//! credits of its own.
//!
//! Life of a wire: [`Wires::prepare_wire`] opens the device and, at the accepting end, listens; [`PreparedWire::expose`] registers
//! memory; [`PreparedWire::connect`] posts the first receives *before* the peer can send, and connects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::{Access, CompletionStatus, LaneStats, Region, RegionId, Role, TransportError, Wait, WaitMode};

/// What makes wires on this host: verbs, or a simulation.
pub trait Wires: Send + Sync {
    /// Makes the local half of a wire. No packet leaves the machine towards the peer.
    fn prepare_wire(&self, spec: &WireSpec) -> Result<Box<dyn PreparedWire>, TransportError>;
}

/// Everything that decides the shape of one end of a wire. The peer's may differ: it is foreign.
#[derive(Clone, Debug)]
pub struct WireSpec {
    /// Which end this is.
    pub role: Role,
    /// The dialling end: the peer, whose route decides the device. The accepting end: the address to listen at; port 0 is
    /// one of the kernel's choice.
    pub address: Option<SocketAddr>,
    /// Local address to leave from.
    pub local: Option<IpAddr>,
    /// RDMA device by name.
    pub device: Option<String>,
    /// Network interface by name, on which the device sits.
    pub netdev: Option<String>,
    /// What the connection request or answer carries beside the queue pair.
    pub private_data: PrivateData,
    /// At the accepting end: what the request's private data must begin with; others are rejected.
    pub admit: Vec<u8>,
    /// RDMA READs of the peer that are served at once (IRD); the device may allow fewer.
    pub reads_served: u8,
    /// RDMA READs towards the peer at once (ORD); the device and the peer may allow fewer.
    pub reads_issued: u8,
    /// Sends and one-sided operations under way at once.
    pub sends: u32,
    /// Receives posted at once.
    pub receives: u32,
    /// How `poll` waits.
    pub wait_mode: WaitMode,
    /// The code point (RFC 2474) that what this end sends is marked with; `None` leaves it to the system and the adapter.
    pub dscp: Option<u8>,
    /// Of how many sends in a row the end may be told with that of a later one, though nothing else may follow. 1: of none. A write of
    /// no bytes is told in any case, and with it everything before.
    pub told_together: u32,
}

/// What a connection request or answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateData {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(Vec<u8>),
    /// On iWARP the depths (IRD, ORD) as two big-endian words, as SMB Direct wants it there where the connection manager does not
    /// exchange them itself; elsewhere nothing.
    Depths,
}

impl Default for WireSpec {
    fn default() -> Self {
        WireSpec {
            role: Role::Dial,
            address: None,
            local: None,
            device: None,
            netdev: None,
            private_data: PrivateData::None,
            admit: Vec::new(),
            reads_served: 16,
            reads_issued: 16,
            sends: 128,
            receives: 256,
            wait_mode: WaitMode::Block,
            dscp: None,
            told_together: 1,
        }
    }
}

/// Local resources exist, the peer is not connected.
pub trait PreparedWire: Send {
    /// Where the accepting end listens.
    fn listens_at(&self) -> Option<SocketAddr>;
    /// Makes all of `region` usable by operations of this wire, and by the peer as far as `access` says.
    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError>;
    /// Connects to `peer` (dialling), or to whoever is admitted (accepting). `receives` are posted before the peer can send.
    fn connect(
        self: Box<Self>,
        peer: Option<SocketAddr>,
        receives: &[WireOp],
        deadline: Duration,
    ) -> Result<Box<dyn Wire>, TransportError>;
}

/// A connected wire, driven by one thread. Operations of the sending side complete in the order submitted, and so do
/// receives.
pub trait Wire: Send {
    /// What was agreed when it was made.
    fn established(&self) -> &Established;
    /// Registers more memory while connected.
    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError>;
    /// Ends a registration. Its key is dead afterwards, here and for the peer.
    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError>;
    /// Lends all of `region` to the peer under a key of its own, which the peer may end by itself ([`WireVerb::SendInvalidate`]). A
    /// [`LoanForm::Window`] opens with the [`WireVerb::Bind`] that the caller submits before any message that names the key.
    fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError>;
    /// Ends a loan: its key is dead afterwards. `by_peer`: it is reported that the peer has ended it, so nothing is left to be done.
    fn take_back(&mut self, id: LoanId, by_peer: bool) -> Result<(), TransportError>;
    /// Accepts a prefix of `ops` and returns its length.
    fn submit(&mut self, ops: &[WireOp]) -> Result<usize, TransportError>;
    /// Collects completions into the *spare capacity* of `out`, waiting as `wait` says for the first one. An error is the
    /// end of the wire, told once everything that completed before was collected.
    fn poll(&mut self, out: &mut Vec<WireDone>, wait: Wait) -> Result<usize, TransportError>;
    /// Ends the connection by the connection manager, and says what is known of the wire.
    fn close(self: Box<Self>) -> LaneStats;
}

/// What both ends agreed on, and what the peer said, when the wire was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Established {
    /// The peer's private data. RoCE pads it with zeroes, so its length says nothing.
    pub private_data: Vec<u8>,
    /// READs of the peer that this end serves at once.
    pub reads_served: u8,
    /// READs that this end issues at once.
    pub reads_issued: u8,
    /// Whether the peer is reached by iWARP.
    pub iwarp: bool,
    /// Local end, as text.
    pub local: String,
    /// The peer, as text.
    pub remote: String,
}

/// Memory that a wire or a pipe has registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Its name for operations of this end.
    pub id: RegionId,
    /// Address of its first byte, for the peer.
    pub address: u64,
    /// Key for the peer.
    pub key: u32,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Names a loan; valid on its wire only, until it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoanId(pub u16);

/// Memory that is lent to the peer until it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Its name for this end.
    pub id: LoanId,
    /// Address of its first byte, for the peer.
    pub address: u64,
    /// Key for the peer, which may end it.
    pub key: u32,
    /// What the key is of.
    pub form: LoanForm,
}

/// What a key is of that the peer may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoanForm {
    /// A memory window of type 2B: the memory behind it stays registered.
    Window,
    /// A registration that is made for the loan alone: iWARP without windows.
    Registration,
}

/// A piece of registered memory; none where `len` is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The registration's name.
    pub region: RegionId,
    /// Offset in its region, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
}

/// What an operation of a wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireVerb {
    /// Takes one message.
    Receive,
    /// Sends the pieces as one message.
    Send,
    /// Sends, and ends the peer's key as the message arrives there.
    SendInvalidate {
        /// A key of the peer.
        key: u32,
    },
    /// Places the pieces, one after the other, at the peer's address.
    Write {
        /// Where.
        address: u64,
        /// A key of the peer that allows it.
        key: u32,
    },
    /// Fetches from the peer's address into the pieces.
    Read {
        /// From where.
        address: u64,
        /// A key of the peer that allows it.
        key: u32,
    },
    /// Opens a loan that is a window, before whatever is submitted after it; it has no pieces.
    Bind {
        /// Which.
        loan: LoanId,
    },
}

/// One operation: a head and a body that need not lie together, so that a header is never copied to its payload. A
/// receive has a head only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireOp {
    /// Returned in the completion.
    pub tag: u64,
    /// What to do.
    pub verb: WireVerb,
    /// First piece.
    pub head: Piece,
    /// Second piece.
    pub body: Piece,
}

/// The end of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireDone {
    /// The operation's tag.
    pub tag: u64,
    /// Whether it was a receive.
    pub received: bool,
    /// Bytes moved: for a receive, the length of the message.
    pub len: u32,
    /// What is known of a key that a received message ended.
    pub invalidated: Invalidated,
    /// How it ended.
    pub status: CompletionStatus,
}

/// What the device says of a key that an arriving message ended. Software devices say little of it, so silence is never
/// proof that nothing was ended, nor that something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Invalidated {
    /// Nothing is said: no key was ended, or the device does not tell.
    #[default]
    NotReported,
    /// The device names a key in the completion without the flag that says so (Soft-RoCE): worth something only if it is
    /// the key that was expected.
    Unflagged(u32),
    /// The device says so by flag and names the key.
    Flagged(u32),
}

impl Invalidated {
    /// Whether it is reported that `key` has ended; `false` is "not reported", never "still alive".
    pub fn names(self, key: u32) -> bool {
        matches!(self, Invalidated::Flagged(named) | Invalidated::Unflagged(named) if named == key)
    }
}
