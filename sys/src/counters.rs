//! What the system counts of its network: protocols, connection tracking, and what was dropped before any protocol saw it.
//!
//! All are totals since some moment in the past; whoever wants to know what a step did reads them before and after it. `None` is a
//! number that this system does not keep, which is not zero.

use std::collections::HashMap;

pub use crate::system::counters::{
    backlog, connection_table, connection_tracking, protocols, protocols_as_written, protocols_v6,
};

/// Counters of protocols by the group and the name that the system gives them: those of the MIBs (RFC 4022, 4113, 4293), and its
/// own for what those lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub(crate) HashMap<(String, String), u64>);

impl Counters {
    /// One of them; a system that lacks it has no number for it.
    pub fn get(&self, group: &str, name: &str) -> Option<u64> {
        self.0.get(&(group.to_owned(), name.to_owned())).copied()
    }
}

/// What the processors dropped or put off of what the NICs gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Packets dropped because a queue was full.
    pub dropped: Option<u64>,
    /// Times that a processor had more to do than it may at once.
    pub squeezed: Option<u64>,
}

/// What connection tracking threw away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionTracking {
    /// Packets dropped.
    pub dropped: Option<u64>,
    /// Entries evicted to make room.
    pub dropped_early: Option<u64>,
    /// Entries that found no place.
    pub insert_failed: Option<u64>,
    /// Packets that belong to nothing known.
    pub invalid: Option<u64>,
}
