//! A connection that carries whole messages both ways, and may let the peer reach memory: what an SMB dialogue needs of
//! Direct TCP and of SMB Direct alike, so that neither knows the other.
//!
//! It refuses to understand messages, and to wait for ever: a message that has begun must be whole within the pipe's limit.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::{Exposed, Invalidated, Loan, LoanId};
use crate::{Access, LaneStats, Region, RegionId, TransportError, Wait};

/// A message pipe, driven by one thread. It makes progress only inside its methods.
pub trait MessagePipe: Send {
    /// What it can carry.
    fn limits(&self) -> &PipeLimits;
    /// Queues one message made of `parts` in their order; their memory is the caller's again when this returns.
    /// `invalidate` is a key of the peer that the message is to end on arrival, where the pipe can.
    fn send(&mut self, parts: &[&[u8]], invalidate: Option<u32>) -> Result<Queued, TransportError>;
    /// Puts the oldest whole message into `message` (cleared; its capacity is used again), waiting as `wait` says. `None`:
    /// none came in that time, or there is room now for a message that was refused. An error is the end of the pipe.
    fn poll(&mut self, message: &mut Vec<u8>, wait: Wait) -> Result<Option<Arrival>, TransportError>;
    /// Bytes of a message that were announced and have not come; `None` where none has begun, or where the pipe cannot tell.
    fn unfinished(&self) -> Option<u64> {
        None
    }
    /// Registers `region` for the peer; [`TransportError::Unsupported`] where the pipe has no memory access.
    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError>;
    /// Ends a registration, whether or not the peer has ended its key before.
    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError>;
    /// Lends all of `region` to the peer for one request, under a key of its own that the peer is to end with its answer.
    fn lend(&mut self, _region: &Arc<Region>, _access: Access) -> Result<Loan, TransportError> {
        Err(nothing_to_lend())
    }
    /// The request of a loan has its answer, which came as `arrival` says: the key is dead afterwards, whoever has ended it. An error is a
    /// peer that ended what it should not have: the key of another request, one that had ended, or several.
    fn take_back(&mut self, _id: LoanId, _arrival: &Arrival) -> Result<EndedBy, TransportError> {
        Err(nothing_to_lend())
    }
    /// Ends the connection and says what is known of it.
    fn close(self: Box<Self>) -> LaneStats;
}

fn nothing_to_lend() -> TransportError {
    TransportError::Unsupported {
        what: "lending memory to the peer".into(),
        why: "this connection carries messages alone".into(),
        fix: "use SMB Direct".into(),
    }
}

/// Who has ended the key of a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum EndedBy {
    /// The peer, as the device reports it.
    Peer,
    /// This end, because nothing was reported: the peer left it alive, or the device does not tell.
    Here,
}

/// What became of a message that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Queued {
    /// It is on its way.
    Yes,
    /// There is no room: poll until there is, and hand it over again.
    Full,
}

/// A message has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// What is known of a key that it ended; of the last one, should it have ended several.
    pub invalidated: Invalidated,
    /// How many of its fragments are reported to have ended a key: one may.
    pub endings: u32,
    /// Fragments that it came in; 1 where the pipe has none.
    pub fragments: u32,
}

/// What a pipe can carry, as agreed with the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeLimits {
    /// Largest message to the peer, in bytes.
    pub send_bytes_max: u64,
    /// Largest message from the peer, in bytes.
    pub receive_bytes_max: u64,
    /// Most bytes that one request may have the peer move by itself (RDMA); `None` where it cannot reach memory.
    pub one_sided_bytes_max: Option<u64>,
    /// Within what time a message that has begun must be whole.
    pub whole_within: Duration,
}
