//! The values around a search: its configuration, what it asks the driver to do, and its report.

use std::net::IpAddr;

use pathproof_api::Tick;

/// What to search, and how patiently.
#[derive(Clone, Debug)]
pub struct SearchConfig {
    /// Smallest IP packet to try: 68 for IPv4 (RFC 791); for IPv6 what the probe header needs.
    pub floor_bytes: u32,
    /// Largest IP packet to try: the greater of both interfaces' MTU and of what the operator expects.
    pub ceiling_bytes: u32,
    /// Sizes that deserve a probe of their own besides the common ones (peer's MTU, the other direction's edge).
    pub hint_bytes: Vec<u32>,
    /// How long an answer may take; give 3 round trips, at least 150 ms.
    pub loss_timer_ns: u64,
    /// Probes that may be sent in all.
    pub probe_budget: u32,
    /// Time after which the search gives up.
    pub time_budget_ns: u64,
    /// Seed of the probe order.
    pub seed: u64,
}

impl SearchConfig {
    /// The defaults for a path between two interfaces.
    pub fn new(floor_bytes: u32, ceiling_bytes: u32) -> SearchConfig {
        SearchConfig {
            floor_bytes,
            ceiling_bytes: ceiling_bytes.clamp(floor_bytes, 65_535),
            hint_bytes: Vec::new(),
            loss_timer_ns: 150_000_000,
            probe_budget: 200,
            time_budget_ns: 8_000_000_000,
            seed: 1,
        }
    }
}

/// One probe to send: an IP packet of exactly `ip_bytes` bytes with DF set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Counts from 0; the answer names it.
    pub seq: u32,
    /// IP header included.
    pub ip_bytes: u32,
}

/// What the driver must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this probe, then ask again.
    Send(Probe),
    /// Wait for an answer, at most until this tick, then ask again.
    WaitUntil(Tick),
    /// Finished: `Search::report` has the result.
    Done,
}

/// Why the search stopped where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything up to the ceiling arrives.
    Ceiling,
    /// The local interface refuses the next byte.
    LocalRefusal,
    /// A router says the next byte is too much.
    Router,
    /// The next byte arrives only in fragments, although DF was set.
    Fragmented,
    /// The next byte is dropped silently.
    Silence,
    /// Not one probe of any size arrived.
    NoAnswer,
    /// Some sizes arrive, but the edge could not be determined from other loss within the budget.
    Undecided(String),
}

/// A router (or anything that answers as one) said "packet too big".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAnswer {
    /// Source address of the ICMP message.
    pub from: IpAddr,
    /// The MTU it named; `None` for routers older than RFC 1191, which name none.
    pub claimed_ip_mtu_bytes: Option<u32>,
    /// Smallest probe it refused.
    pub smallest_refused_bytes: u32,
    /// How many such messages.
    pub answers: u32,
    /// Whether the claim is right: `Some(true)` if exactly that much passes, `Some(false)` if more passes or if
    /// the same router refused what it claimed to carry, `None` if a later hop hides the answer.
    pub claim_holds: Option<bool>,
}

/// What became of all probes of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// The size.
    pub ip_bytes: u32,
    /// Probes sent.
    pub sent: u32,
    /// Arrived whole.
    pub whole: u32,
    /// Arrived in fragments.
    pub fragmented: u32,
    /// Refused by the local interface.
    pub refused_locally: u32,
    /// Refused by a router.
    pub refused_by_router: u32,
    /// Neither arrived nor refused.
    pub lost: u32,
}

/// The outcome of one search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Why it stopped there.
    pub ending: Ending,
    /// Largest IP packet that arrives; exact unless the ending is `NoAnswer` or `Undecided`.
    pub ip_mtu_bytes: Option<u32>,
    /// Largest size that was seen to arrive: a proven lower bound whatever the ending.
    pub proven_ip_bytes: Option<u32>,
    /// MTU that the local interface named when it refused a probe.
    pub local_refusal_ip_mtu_bytes: Option<u32>,
    /// The local device dropped probes at the edge without naming an MTU (`ENOBUFS`).
    pub dropped_by_device: bool,
    /// All routers that answered, in order of appearance.
    pub routers: Vec<RouterAnswer>,
    /// Largest fragment seen of a probe that had DF set.
    pub largest_fragment_bytes: Option<u32>,
    /// Addresses that said "unreachable" or "prohibited" instead.
    pub unreachable_from: Vec<IpAddr>,
    /// The path was seen to drop bursts and was probed slowly.
    pub throttled: bool,
    /// Probes at or below the edge: how many were sent, and how many of them got lost.
    pub fitting_sent: u32,
    /// See `fitting_sent`.
    pub fitting_lost: u32,
    /// Probes sent.
    pub probes: u32,
    /// Waits for the loss timer.
    pub loss_rounds: u32,
    /// From the first poll to the verdict.
    pub elapsed_ns: u64,
    /// Every size tried, ascending: the picture of the search.
    pub tried: Vec<Tried>,
}

impl Report {
    /// Of a path over which nobody consented to be probed, after so many challenges.
    pub fn no_consent(challenges: u32, unreachable_from: Vec<IpAddr>) -> Report {
        Report {
            ending: Ending::NoAnswer,
            ip_mtu_bytes: None,
            proven_ip_bytes: None,
            local_refusal_ip_mtu_bytes: None,
            dropped_by_device: false,
            routers: Vec::new(),
            largest_fragment_bytes: None,
            unreachable_from,
            throttled: false,
            fitting_sent: 0,
            fitting_lost: 0,
            probes: challenges,
            loss_rounds: 0,
            elapsed_ns: 0,
            tried: Vec::new(),
        }
    }
}
