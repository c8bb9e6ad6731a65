//! How busy the machine is.

pub use crate::system::load::{average, busy, governors, pressure, slowed_by_heat, throttled_ns};

/// What the processors did until a moment: all together, and each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// All together.
    pub all: Processor,
    /// Each, by its number.
    pub each: Vec<(String, Processor)>,
}

/// The time of one processor, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    /// With nothing to do, in ns.
    pub idle_ns: u64,
    /// With what the network and timers left for later, in ns.
    pub softirq_ns: u64,
    /// With other guests of the machine below, in ns.
    pub steal_ns: u64,
    /// All of it, in ns.
    pub all_ns: u64,
}

/// What tasks lost because others had what they wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Time in which some task waited for a processor, in ns.
    pub some_ns: Option<u64>,
    /// Time in which all tasks did, in ns.
    pub full_ns: Option<u64>,
    /// Time in which some task waited for memory, in ns.
    pub memory_some_ns: Option<u64>,
    /// Time in which some task waited for a disk, in ns.
    pub io_some_ns: Option<u64>,
}
