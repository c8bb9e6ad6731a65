//! What a step costs the end that takes part in it, computed before anything is allocated.
//!
//! Every kind of step states its own ([`Runner::cost`](super::Runner::cost)); the numbers that go in come from the other
//! end, so all arithmetic saturates: what is too large to count is too large to grant.

/// The cost of one step at one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Most memory that it takes, in bytes.
    pub memory_bytes: u64,
    /// Lanes, both directions together: each is a thread.
    pub lanes: u64,
    /// How long it loads the path, warm-up and cool-down included, in ns.
    pub time_ns: u64,
    /// Largest message, in bytes.
    pub message_bytes: u64,
}

/// What a lane takes beside its messages: its thread, its recorder, its connection.
pub const LANE_BYTES: u64 = 2 << 20;
/// What each operation that may be outstanding takes in queues and work requests.
pub const OPERATION_BYTES: u64 = 512;
/// Memory on huge pages is given in pieces of this size.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// `bytes` in whole pieces of `piece`.
pub fn rounded_up(bytes: u64, piece: u64) -> u64 {
    bytes.div_ceil(piece).saturating_mul(piece)
}
