//! Queueing disciplines: what stands between a socket and an adapter on the way out.

pub use crate::system::queueing::disciplines;

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discipline {
    /// Name of the interface.
    pub interface: String,
    /// Its handle, as the system's own tools write it.
    pub handle: String,
    /// What it hangs on: a handle, or `root`.
    pub parent: String,
    /// Kind: `fq`, `fq_codel`, `tbf` …
    pub kind: String,
    /// Bytes that stand in it now.
    pub backlog_bytes: u64,
    /// Packets dropped.
    pub drops: Option<u64>,
    /// Packets held back.
    pub held_back: Option<u64>,
    /// Packets that the adapter gave back.
    pub requeues: Option<u64>,
}
