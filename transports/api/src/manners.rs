//! How the lanes of a transport behave, as far as it is known before anything is prepared, on any host.
//!
//! Whoever drives lanes asks here and never for a transport's name: a new transport answers every question, because
//! there is no default to forget. What depends on the host or the adapter stands in [`LaneCaps`](crate::LaneCaps).

use crate::{LaneOption, Open, Takes, Whose, open};

/// The adapter that lanes go by, where a transport has adapters.
pub const DEVICE: LaneOption<Open<String>> = LaneOption {
    name: "device",
    takes: Takes::Name("DEVICE"),
    whose: Whose::Own,
    default: open("the one on the route to the peer"),
    help: "RDMA device of this host",
};

/// What is true of every lane of a transport.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// One lane goes over several NICs at once, which the caller chooses and names, and goes on without one of them.
    pub several_nics: bool,
    /// It goes by an adapter that counts what it carries, that the option [`DEVICE`] names, and that is told apart by the
    /// local address where nothing names it.
    pub adapter: bool,
    /// Its payload travels in TCP segments, so their size may be limited and is a suspect when nothing arrives.
    pub segments: bool,
    /// It has verbs in which the peer takes no part (write, read).
    pub one_sided: bool,
    /// [`SendMode::ZeroCopy`](crate::SendMode) is taken.
    pub zero_copy_send: bool,
    /// [`ReceiveMode::Discard`](crate::ReceiveMode) is taken.
    pub discard_receive: bool,
    /// A message that finds no posted receive costs a wait, so receives are posted ahead of what can come.
    pub receives_ahead: bool,
    /// The bytes of a message must stay as they are while other messages are under way, so each has a place of its own.
    pub places_of_their_own: bool,
    /// A passive end stays until the active one has left: who finds its peer gone has lost it, at any time.
    pub passive_outlives: bool,
    /// A lane is one descriptor that its thread blocks on, so the shortest exchanges gain from a thread that has no other.
    pub descriptor_of_its_own: bool,
    /// Messages under way on a lane in a stream, where nobody asks for another number.
    pub stream_depth: u32,
    /// Memory in bytes that a lane takes beside its messages, for so many operations of so many bytes at most over so
    /// many paths. It must hold for any numbers whatever.
    pub memory_bytes: fn(operations: u32, message_bytes: u64, paths: usize) -> u64,
}

/// Messages under way in a stream where one path is kept busy.
pub const STREAM_DEPTH: u32 = 8;

/// Of lanes by the verbs of an adapter; what they take beside their messages is each transport's own.
pub const OF_ADAPTERS: Manners = Manners {
    several_nics: false,
    adapter: true,
    segments: false,
    one_sided: true,
    // Sent and fetched from where it lies, whichever mode is asked for.
    zero_copy_send: true,
    discard_receive: false,
    receives_ahead: true,
    places_of_their_own: false,
    passive_outlives: true,
    descriptor_of_its_own: false,
    stream_depth: STREAM_DEPTH,
    memory_bytes: no_memory,
};

/// [`Manners::memory_bytes`] of a transport that keeps nothing beside the messages.
pub fn no_memory(_operations: u32, _message_bytes: u64, _paths: usize) -> u64 {
    0
}
