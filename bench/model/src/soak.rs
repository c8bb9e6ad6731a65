//! What a soak saw of a path in hours or days (`pathproof watch`): a time line and events, bounded however long it lasts.
//!
//! Slots of the time line grow longer rather than more. What is put together keeps its bounds: the lowest and the highest of
//! medians, never a mean of percentiles.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Share;

/// Slots of a time line at most.
pub const SLOTS_MAX: usize = 720;
/// Events that are kept from the beginning of a soak …
pub const EVENTS_FIRST: usize = 200;
/// … and from its end.
pub const EVENTS_LAST: usize = 800;

/// A soak.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Soak {
    /// How long it was to last, in ns; `null` until it is stopped.
    pub time_ns: Option<u64>,
    /// How long it has lasted, in ns.
    pub elapsed_ns: u64,
    /// How long a slot of the time line is, in ns.
    pub slot_ns: u64,
    /// The time line, without gaps.
    pub slots: Vec<SoakSlot>,
    /// What happened, in order: the first and the latest events.
    pub events: Vec<SoakEvent>,
    /// Events that were left out between those.
    pub events_left_out: u64,
    /// How often each kind of event happened.
    pub counts: BTreeMap<SoakEventKind, u64>,
    /// All of it together.
    pub total: SoakFigures,
}

/// A part of the time line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SoakSlot {
    /// Its beginning, in ns since that of the soak.
    pub start_ns: u64,
    /// What was seen in it.
    #[serde(flatten)]
    pub figures: SoakFigures,
}

/// What was seen in some time. What was not measured in it is `null`, or has nothing sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SoakFigures {
    /// In which the peer could not be reached, in ns.
    pub away_ns: u64,
    /// Datagrams sent, all NIC pairs and both directions.
    pub sent: u64,
    /// Of those, lost.
    pub lost: u64,
    /// Response times of requests at a low rate.
    pub response_ns: Option<SoakTimes>,
    /// Goodput of rate probes from here, in bit/s.
    pub out_bits_per_s: Option<SoakRange>,
    /// Goodput of rate probes to here.
    pub in_bits_per_s: Option<SoakRange>,
    /// Path MTUs, in bytes.
    pub ip_mtu_bytes: Option<SoakRange>,
    /// Times that a NIC's carrier came or went, both hosts.
    pub carrier_changes: u64,
}

impl SoakFigures {
    /// What was lost.
    pub fn loss(&self) -> Share {
        Share { part: self.lost, of: self.sent }
    }

    /// Whether anything was measured.
    pub fn is_measured(&self) -> bool {
        self.sent > 0 || self.response_ns.is_some()
    }
}

impl std::ops::AddAssign for SoakFigures {
    fn add_assign(&mut self, other: SoakFigures) {
        self.away_ns = self.away_ns.saturating_add(other.away_ns);
        self.sent = self.sent.saturating_add(other.sent);
        self.lost = self.lost.saturating_add(other.lost);
        self.carrier_changes = self.carrier_changes.saturating_add(other.carrier_changes);
        self.response_ns = both(self.response_ns, other.response_ns, SoakTimes::with);
        self.out_bits_per_s = both(self.out_bits_per_s, other.out_bits_per_s, SoakRange::with);
        self.in_bits_per_s = both(self.in_bits_per_s, other.in_bits_per_s, SoakRange::with);
        self.ip_mtu_bytes = both(self.ip_mtu_bytes, other.ip_mtu_bytes, SoakRange::with);
    }
}

fn both<T>(one: Option<T>, other: Option<T>, with: fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(with(one, other)),
        (one, other) => one.or(other),
    }
}

/// Bounds of what was measured several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoakRange {
    /// Lowest.
    pub min: u64,
    /// Highest.
    pub max: u64,
}

impl SoakRange {
    /// Of one value.
    pub fn of(value: u64) -> SoakRange {
        SoakRange { min: value, max: value }
    }

    /// Of both.
    pub fn with(self, other: SoakRange) -> SoakRange {
        SoakRange { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Bounds of distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoakTimes {
    /// Samples in all.
    pub count: u64,
    /// The lowest median of any distribution, in ns.
    pub p50_min: u64,
    /// The highest median.
    pub p50_max: u64,
    /// The highest 99th percentile.
    pub p99_max: u64,
    /// The slowest of all.
    pub max: u64,
}

impl SoakTimes {
    /// Of both.
    pub fn with(self, other: SoakTimes) -> SoakTimes {
        SoakTimes {
            count: self.count.saturating_add(other.count),
            p50_min: self.p50_min.min(other.p50_min),
            p50_max: self.p50_max.max(other.p50_max),
            p99_max: self.p99_max.max(other.p99_max),
            max: self.max.max(other.max),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoakEvent {
    /// When, in ns since the soak began.
    pub at_ns: u64,
    /// Wall-clock label (RFC 3339, UTC).
    pub at: String,
    /// What.
    pub kind: SoakEventKind,
    /// In words, with the figures.
    pub text: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SoakEventKind {
    /// The peer cannot be reached any more.
    PeerLost,
    /// It is there again.
    PeerBack,
    /// More datagrams are lost than the limit allows.
    Loss,
    /// No longer so.
    LossOver,
    /// A pair of NICs on which datagrams were answered answers none.
    PathDead,
    /// It answers again.
    PathBack,
    /// Small requests take longer than the limit allows.
    Slow,
    /// No longer so.
    SlowOver,
    /// The carrier of a NIC came or went.
    CarrierChanged,
    /// Another path MTU than before.
    MtuChanged,
    /// A rate probe carries much less than those before.
    RateFell,
    /// About as much as before again.
    RateBack,
    /// Something was noticed for the first time.
    Noticed,
}

impl SoakEventKind {
    /// Those that a sound path does not have.
    pub const BAD: [SoakEventKind; 7] = [
        SoakEventKind::PeerLost,
        SoakEventKind::Loss,
        SoakEventKind::PathDead,
        SoakEventKind::Slow,
        SoakEventKind::CarrierChanged,
        SoakEventKind::MtuChanged,
        SoakEventKind::RateFell,
    ];

    /// Whether a sound path does not have it.
    pub fn is_bad(self) -> bool {
        SoakEventKind::BAD.contains(&self)
    }

    /// As it stands in documents and on screens.
    pub fn word(self) -> &'static str {
        match self {
            SoakEventKind::PeerLost => "peer-lost",
            SoakEventKind::PeerBack => "peer-back",
            SoakEventKind::Loss => "loss",
            SoakEventKind::LossOver => "loss-over",
            SoakEventKind::PathDead => "path-dead",
            SoakEventKind::PathBack => "path-back",
            SoakEventKind::Slow => "slow",
            SoakEventKind::SlowOver => "slow-over",
            SoakEventKind::CarrierChanged => "carrier-changed",
            SoakEventKind::MtuChanged => "mtu-changed",
            SoakEventKind::RateFell => "rate-fell",
            SoakEventKind::RateBack => "rate-back",
            SoakEventKind::Noticed => "noticed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_keeps_its_bounds_and_what_is_unknown_stays_so() {
        let times = |p50, p99, max| SoakTimes { count: 10, p50_min: p50, p50_max: p50, p99_max: p99, max };
        let mut sum =
            SoakFigures { sent: 100, lost: 1, response_ns: Some(times(10, 90, 200)), ..Default::default() };
        sum += SoakFigures { sent: 50, response_ns: Some(times(20, 50, 100)), ..Default::default() };
        sum += SoakFigures { out_bits_per_s: Some(SoakRange::of(7)), away_ns: 3, ..Default::default() };
        assert_eq!(sum.loss(), Share { part: 1, of: 150 });
        let of_all = SoakTimes { count: 20, p50_min: 10, p50_max: 20, p99_max: 90, max: 200 };
        assert_eq!(sum.response_ns, Some(of_all));
        assert_eq!((sum.out_bits_per_s, sum.in_bits_per_s), (Some(SoakRange::of(7)), None));
        assert!(!SoakFigures { away_ns: 9, ..Default::default() }.is_measured());
    }

    #[test]
    fn kinds_are_written_as_their_words() {
        for kind in SoakEventKind::BAD {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert_eq!(serde_json::to_value(SoakEventKind::Noticed).unwrap(), SoakEventKind::Noticed.word());
    }
}
