//! Contention: classes of traffic that share a path, alone and together, phase by phase. What a `contend` step is to do, and what
//! it holds afterwards.
//!
//! A phase of a class is a flow of its own, with its own lanes and its own window, so no figure of one phase has a part of another
//! in it. Heartbeats are datagrams beside the flows, because what retransmits loses nothing.

mod caps;
mod lost;
mod marks;
mod spans;
mod ways;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::over::DEFAULT_OVER;
use crate::{Class, Direction, LatencySummary, OneFlow, RequestLoad, TrafficKind, TrafficSpec};

pub use caps::{Bursts, Cap, Caps, CapsError, typed};
pub use lost::LostNic;
pub use marks::{ArrivedPriority, BEAT_DSCP, ClassMark, MarkKind, Marks, RdmaMarks};
pub use spans::{ClassSpan, ClassSpans};
pub use ways::{ClassWay, ClassWays};

/// Before each phase, in ns: connections find their pace.
pub const SETTLE_NS: u64 = 400_000_000;
/// After each phase, in ns: both ends keep the load up while the other still measures.
pub const TAIL_NS: u64 = 100_000_000;
/// What a starved class still has to send when its phase is over, in ns: as long as its lanes may take for that, and a little.
const DRAIN_NS: u64 = 2_600_000_000;
/// Longest phase.
pub const PHASE_NS_MAX: u64 = 60_000_000_000;
/// Time between two heartbeats, in ns. A cluster sends one a second; more of them are a sample in seconds rather than minutes.
pub const BEAT_NS: u64 = 20_000_000;
/// Most lanes of a class.
pub const LANES_MAX: u32 = 64;

/// Classes that share a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContendSpec {
    /// Transport of all classes that have none of their own.
    pub over: String,
    /// Classes that go over a transport or NICs of their own.
    #[serde(skip_serializing_if = "ClassWays::none")]
    pub ways: ClassWays,
    /// Which way migrations, backups and the data of storage go: `out` or `in`.
    pub direction: Direction,
    /// How long each phase is measured, in ns.
    pub phase_ns: u64,
    /// Classes that begin or end in the middle of the phases that they run in.
    #[serde(skip_serializing_if = "ClassSpans::none")]
    pub spans: ClassSpans,
    /// Lanes of storage.
    pub storage_lanes: u32,
    /// Size of a storage request, in bytes; its answer is short.
    pub storage_bytes: u64,
    /// Requests outstanding on each lane of storage.
    pub storage_depth: u32,
    /// Requests per second that storage asks over all lanes; `None` for a part of what the path carries.
    pub storage_requests_per_s: Option<u64>,
    /// Migrations at once, a connection each.
    pub migrations: u32,
    /// All numbers of migrations at once of the sweep that the step is a part of, the least first; empty without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<u32>,
    /// NIC of this host that is lost, of those that the step before it went over: what is asked for stays, and the others carry it. Its link is down
    /// meanwhile where this host permits that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_nic: Option<String>,
    /// Backups at once, a connection each; they run whenever migrations do.
    pub backups: u32,
    /// Size of a message of migrations and backups, in bytes.
    pub bulk_bytes: u64,
    /// What each class may send at most.
    pub caps: Caps,
    /// What each class is marked with.
    pub dscp: Marks,
    /// The priority of each class's sockets, which a VLAN device puts into the tags of its frames (802.1p).
    #[serde(skip_serializing_if = "Marks::none")]
    pub priority: Marks,
    /// Memory of the guest whose migration is assumed, in bytes.
    pub memory_bytes: u64,
    /// Guests of the host that is emptied.
    pub guests: u32,
    /// Payload that the path carried before, in bit/s, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bits_per_s: Option<u64>,
    /// Options of the transport by name.
    #[serde(deserialize_with = "crate::typed_options::deserialize")]
    pub options: BTreeMap<String, String>,
}

impl Default for ContendSpec {
    fn default() -> Self {
        ContendSpec {
            over: DEFAULT_OVER.into(),
            ways: ClassWays::default(),
            direction: Direction::Out,
            phase_ns: 4_000_000_000,
            spans: ClassSpans::default(),
            storage_lanes: 4,
            storage_bytes: 16 << 10,
            storage_depth: 8,
            storage_requests_per_s: None,
            migrations: 1,
            sweep: vec![],
            lost_nic: None,
            backups: 0,
            bulk_bytes: 64 << 10,
            caps: Caps::default(),
            dscp: Marks::default(),
            priority: Marks::default(),
            memory_bytes: 16 << 30,
            guests: 8,
            path_bits_per_s: None,
            options: BTreeMap::new(),
        }
    }
}

/// A part of the time line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PhaseName {
    /// Heartbeats alone.
    #[default]
    Idle,
    /// Storage, and no migration.
    Storage,
    /// Storage and migrations at once.
    Both,
    /// Migrations, and no storage.
    Migration,
    /// A phase that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

impl PhaseName {
    /// In the order of time.
    pub const ALL: [PhaseName; 4] =
        [PhaseName::Idle, PhaseName::Storage, PhaseName::Both, PhaseName::Migration];

    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            PhaseName::Idle => "idle",
            PhaseName::Storage => "storage alone",
            PhaseName::Both => "both",
            PhaseName::Migration => "migration alone",
            PhaseName::Other => "other",
        }
    }

    fn has(self, class: Class) -> bool {
        match class {
            Class::Heartbeat => true,
            Class::Storage => matches!(self, PhaseName::Storage | PhaseName::Both),
            Class::Migration | Class::Backup => matches!(self, PhaseName::Both | PhaseName::Migration),
            Class::Default | Class::Probe | Class::Other => false,
        }
    }
}

/// The classes of a step, in the order in which they are told.
const CLASSES: [Class; 4] = [Class::Heartbeat, Class::Storage, Class::Migration, Class::Backup];

impl ContendSpec {
    /// When the lanes of a phase begin, in ns since the start of the step.
    fn begins_ns(&self, phase: PhaseName) -> u64 {
        let each_ns = SETTLE_NS.saturating_add(self.phase_ns).saturating_add(TAIL_NS);
        let before = PhaseName::ALL.iter().position(|known| *known == phase).unwrap_or(0) as u64;
        // Storage that was starved, or asks for more than there is, still sends when its phase is over.
        let drains =
            PhaseName::ALL.iter().take(before as usize).filter(|known| known.has(Class::Storage)).count();
        each_ns.saturating_mul(before).saturating_add(DRAIN_NS.saturating_mul(drains as u64))
    }

    /// When a phase is measured: its start and its end, in ns since the start of the step.
    pub fn measured(&self, phase: PhaseName) -> (u64, u64) {
        let start_ns = self.begins_ns(phase).saturating_add(SETTLE_NS);
        (start_ns, start_ns.saturating_add(self.phase_ns))
    }

    /// How long the step loads the path, in ns.
    pub fn length_ns(&self) -> u64 {
        self.measured(PhaseName::Migration).1.saturating_add(TAIL_NS)
    }

    /// Heartbeats of each end.
    pub fn beats(&self) -> u64 {
        self.length_ns() / BEAT_NS
    }

    /// The classes whose marks are followed: heartbeats first, which all steps have.
    pub fn marked(&self) -> Vec<MarkedClass> {
        let carrying = CLASSES.into_iter().filter(|class| *class != Class::Heartbeat);
        let given = carrying.filter_map(|class| {
            let (dscp, priority) = (self.dscp.of(class), self.priority.of(class));
            // Without a code point of its own it has that of everybody.
            let marked = MarkedClass { class, dscp: dscp.unwrap_or(0), priority };
            (dscp.is_some() || priority.is_some()).then_some(marked)
        });
        let dscp = self.dscp.heartbeat.unwrap_or(BEAT_DSCP);
        let beats = MarkedClass { class: Class::Heartbeat, dscp, priority: self.priority.heartbeat };
        std::iter::once(beats).chain(given).collect()
    }

    /// The step as one stretch of traffic: what all of its flows have in common.
    pub fn whole(&self) -> TrafficSpec {
        TrafficSpec {
            over: self.over.clone(),
            direction: self.direction,
            time_ns: self.length_ns(),
            warmup_ns: 0,
            cooldown_ns: 0,
            options: self.options.clone(),
            ..TrafficSpec::default()
        }
    }

    /// The flows: of each phase one for each class that it has.
    pub fn flows(&self) -> Vec<OneFlow> {
        let of = |phase: PhaseName| CLASSES.into_iter().map(move |class| (phase, class));
        let all = PhaseName::ALL.into_iter().flat_map(of).filter(|(phase, class)| phase.has(*class));
        all.filter_map(|(phase, class)| self.flow(phase, class)).collect()
    }

    fn flow(&self, phase: PhaseName, class: Class) -> Option<OneFlow> {
        let times = self.times(phase, class);
        let common = TrafficSpec {
            over: self.over_of(class).into(),
            options: self.options_of(class),
            time_ns: times.time_ns,
            warmup_ns: times.warmup_ns,
            cooldown_ns: times.cooldown_ns,
            ..self.whole()
        };
        let open = |requests_per_s| (Some(requests_per_s), RequestLoad::Open);
        let bulk = |lanes| {
            (lanes > 0).then(|| {
                let traffic = TrafficSpec { lanes, size_bytes: self.bulk_bytes, ..common.clone() };
                (TrafficKind::Stream, traffic)
            })
        };
        let (kind, traffic) = match class {
            // The question that a heartbeat is, where datagrams say only whether they came.
            Class::Heartbeat => {
                let (requests_per_s, load) = open(1_000_000_000 / BEAT_NS);
                let one = TrafficSpec { size_bytes: 64, depth: 32, requests_per_s, load, ..common };
                (TrafficKind::Request, one)
            }
            Class::Storage => {
                let (requests_per_s, load) = open(self.storage_requests_per_s.unwrap_or(1000).max(1));
                let all = TrafficSpec {
                    lanes: self.storage_lanes,
                    size_bytes: self.storage_bytes,
                    reply_bytes: Some(64),
                    depth: self.storage_depth,
                    requests_per_s,
                    load,
                    ..common
                };
                (TrafficKind::Request, all)
            }
            Class::Migration => bulk(self.migrations)?,
            Class::Backup => bulk(self.backups)?,
            Class::Default | Class::Probe | Class::Other => return None,
        };
        // The marks of heartbeats are those of their datagrams: the questions beside them go as the transport of all sends what nobody marks.
        let marked = |marks: &Marks| marks.of(class).filter(|_| class != Class::Heartbeat);
        Some(OneFlow {
            beside: true,
            name: format!("{}, {}", class.word(), phase.words()),
            class,
            kind,
            traffic,
            start_ns: times.start_ns,
            cap: self.caps.of(class),
            dscp: marked(&self.dscp),
            priority: marked(&self.priority),
        })
    }

    /// What storage asks for, as a payload rate, in bit/s.
    pub fn storage_bits_per_s(&self) -> Option<u64> {
        Some(self.storage_requests_per_s?.saturating_mul(self.storage_bytes).saturating_mul(8))
    }

    /// Refuses what cannot be meant, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.direction == Direction::Both {
            return Err("migrations go one way; say --direction out or in".into());
        }
        if !(500_000_000..=PHASE_NS_MAX).contains(&self.phase_ns) {
            return Err("a phase takes from 500 ms to 60 s; choose another --time".into());
        }
        for (what, lanes) in [("storage lanes", self.storage_lanes), ("migrations", self.migrations)] {
            if !(1..=LANES_MAX).contains(&lanes) {
                return Err(format!("{lanes} {what}; ask for 1 to {LANES_MAX}"));
            }
        }
        if !self.sweep.is_empty() && !self.sweep.contains(&self.migrations) {
            return Err(format!(
                "{} migrations at once are not of the sweep that they belong to",
                self.migrations
            ));
        }
        if self.backups > LANES_MAX {
            return Err(format!("{} backups; ask for at most {LANES_MAX}", self.backups));
        }
        if self.storage_requests_per_s == Some(0) {
            return Err("storage that asks for nothing cannot lose anything; leave --storage out".into());
        }
        if self.lost_nic.is_some() && self.ways.any() {
            return Err("--lose is about NICs that all classes share; leave --nic and the transports of single classes out".into());
        }
        self.ways.check()?;
        self.check_spans()?;
        self.dscp.check(MarkKind::Dscp)?;
        self.priority.check(MarkKind::Priority)?;
        self.caps.check()
    }
}

/// A class as its packets are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedClass {
    /// The class.
    pub class: Class,
    /// Its code point.
    pub dscp: u8,
    /// The priority of its sockets; `None` for what the system gives them.
    pub priority: Option<u8>,
}

/// What a step measured, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContendDetail {
    /// The phases in the order of time.
    pub phases: Vec<ContendPhase>,
    /// What sharing cost.
    pub cost: ContendCost,
    /// What to set.
    pub advice: ContendAdvice,
    /// How datagrams arrived that were marked as a class is, each way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<ClassMark>,
    /// How RDMA packets arrived, each way, where some class goes by RDMA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rdma_marks: Vec<RdmaMarks>,
    /// Of a step of a sweep: what each number of migrations at once came to, up to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<ContendTried>,
    /// Of a step without one of the NICs: what became of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_nic: Option<LostNic>,
}

/// What a number of migrations at once came to; `null` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContendTried {
    /// Migrations at once.
    pub migrations: u32,
    /// What storage carried beside them, as a share of what it carried alone.
    pub storage_share: Option<f64>,
    /// What they added to its 99th percentile, in ns.
    pub storage_p99_added_ns: Option<u64>,
    /// How long all guests of the host take, so many at once, in ns.
    pub drain_ns: Option<u64>,
    /// Whether storage keeps the built-in limits.
    pub storage_kept: Option<bool>,
}

/// One phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContendPhase {
    /// Which.
    pub name: PhaseName,
    /// When it was measured, in ns since the start of the step.
    pub start_ns: u64,
    /// How long, in ns.
    pub length_ns: u64,
    /// The classes that ran.
    pub classes: Vec<ClassFigures>,
}

/// A class in one phase; `null` where it has no such figure, or nobody knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassFigures {
    /// Which.
    pub name: Class,
    /// When its figures begin, in ns since the start of the step; `null` in documents older than the field. Those of storage and migrations beside
    /// each other are about the time in which both run.
    #[serde(default)]
    pub start_ns: Option<u64>,
    /// For how long it was measured, in ns.
    #[serde(default)]
    pub length_ns: Option<u64>,
    /// Payload that arrived (of storage: that was asked and answered for), in bit/s.
    pub goodput_bits_per_s: Option<u64>,
    /// What it was to send, in bit/s: the rate of storage; `null` for as much as it could.
    pub asked_bits_per_s: Option<u64>,
    /// What it was allowed to send, in bytes per second.
    pub cap_bytes_per_s: Option<u64>,
    /// Its part of everything that storage, migrations and backups carried in the phase, from 0 to 1; `null` where they were not measured at
    /// the same time.
    pub share: Option<f64>,
    /// Response times, from when a request was due; of a heartbeat those of small questions over the same transport.
    pub response_ns: Option<LatencySummary>,
    /// Datagrams sent in the phase by both ends, of heartbeats.
    pub sent: Option<u64>,
    /// Those of them that did not arrive; `null` for what sends again what was lost.
    pub lost: Option<u64>,
    /// How many of those went from the client to the server.
    pub lost_out: Option<u64>,
    /// The longest time over which every heartbeat of one direction was lost, in ns.
    pub longest_gap_ns: Option<u64>,
    /// TCP segments sent again.
    pub retransmits: Option<u64>,
}

/// What sharing cost, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContendCost {
    /// What storage carried beside migrations, as a share of what it carried alone.
    pub storage_share: Option<f64>,
    /// What migrations added to the 99th percentile of storage's response, in ns; `null` where it rests on too few.
    pub storage_p99_added_ns: Option<u64>,
    /// Memory of the guest that the two times below are for, in bytes.
    pub memory_bytes: u64,
    /// How long one pass over that memory takes with migrations alone, in ns (computed from their rate).
    pub migration_alone_ns: Option<u64>,
    /// The same beside storage.
    pub migration_beside_ns: Option<u64>,
    /// Fairness among the lanes of the migrations beside storage, from 1/n to 1 (Jain 1984); `null` for one.
    pub migration_fairness: Option<f64>,
    /// Guests of the host that the time below is for.
    #[serde(default)]
    pub guests: u32,
    /// How long it takes to move them all beside storage, as many at once as migrations ran, in ns.
    #[serde(default)]
    pub drain_ns: Option<u64>,
}

/// What to set, computed from what the path carried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContendAdvice {
    /// The cap for live migrations, in bytes per second, whole MiB; `null` where the path leaves no room for one.
    pub cap_bytes_per_s: Option<u64>,
    /// The cap for backups that goes with it, in bytes per second, whole MiB: without it they would take what migrations are held back from. Absent
    /// where none run on storage's NICs, and where they keep a cap that leaves migrations something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_cap_bytes_per_s: Option<u64>,
    /// Payload that the path carried at best, in bit/s.
    pub path_bits_per_s: Option<u64>,
    /// How many migrations at once empty a host soonest and leave storage what it needs; `null` without a sweep, and where none does.
    #[serde(default)]
    pub migrations: Option<u32>,
    /// The part of the path that storage needs, in percent, for a bandwidth reservation (ETS).
    pub storage_percent: Option<u32>,
    /// How the figure came about, or why there is none.
    pub reason: String,
}

/// What an end tells of its heartbeats: which it sent, and which of the other end's came, a bit each, the first in the lowest bit of
/// the first word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BeatsEnd {
    /// Why none were sent, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Sent.
    pub sent: Vec<u32>,
    /// Arrived here.
    pub received: Vec<u32>,
    /// Sent with the mark of each class, in the order of [`ContendSpec::marked`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marked_sent: Vec<u64>,
    /// Arrived here of those: traffic classes, each with its number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marked_received: Vec<Vec<(u8, u64)>>,
    /// The priorities in the tags that those arrived with, each with its number; of what has no tag `null`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities_received: Vec<Vec<(Option<u8>, u64)>>,
    /// Why those were not seen, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priorities_reason: Option<String>,
    /// RDMA packets that were seen to arrive here: traffic classes, each with its number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rdma_received: Vec<(u8, u64)>,
    /// Why none were, where some class goes by RDMA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma_reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_phase_reaches_into_another_however_long_storage_still_sends() {
        let spec = ContendSpec { backups: 2, ..ContendSpec::default() };
        let flows = spec.flows();
        assert!(flows.len() <= 16, "{}", flows.len());
        let mut free_from = 0;
        for phase in PhaseName::ALL {
            let own: Vec<&OneFlow> =
                flows.iter().filter(|flow| spec.phase_of(flow.start_ns) == Some(phase)).collect();
            assert!(own.iter().all(|flow| flow.start_ns >= free_from && flow.beside), "{phase:?}");
            let ends = own.iter().map(|flow| flow.start_ns + flow.traffic.length_ns()).max().unwrap();
            assert_eq!(spec.measured(phase).1 + TAIL_NS, ends, "{phase:?}");
            let drains_ns = if own.iter().any(|flow| flow.class == Class::Storage) { DRAIN_NS } else { 0 };
            free_from = ends + drains_ns;
        }
        assert_eq!(spec.length_ns(), free_from);
        let names: Vec<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "heartbeat, idle",
                "heartbeat, storage alone",
                "storage, storage alone",
                "heartbeat, both",
                "storage, both",
                "migration, both",
                "backup, both",
                "heartbeat, migration alone",
                "migration, migration alone",
                "backup, migration alone",
            ]
        );
    }

    #[test]
    fn heartbeats_have_the_mark_that_they_are_given_and_the_questions_beside_them_have_none() {
        let of = |spec: &ContendSpec| {
            let first = spec.marked().remove(0);
            assert_eq!(first.class, Class::Heartbeat);
            (first.dscp, first.priority, spec.marked().len())
        };
        let mut spec = ContendSpec::default();
        assert_eq!(of(&spec), (BEAT_DSCP, None, 1));
        (spec.dscp.heartbeat, spec.priority.heartbeat, spec.dscp.storage) = (Some(56), Some(7), Some(26));
        assert_eq!((of(&spec), spec.check()), ((56, Some(7), 2), Ok(())));
        for flow in spec.flows() {
            let own = if flow.class == Class::Storage { Some(26) } else { None };
            assert_eq!((flow.dscp, flow.priority), (own, None), "{}", flow.name);
        }
    }

    #[test]
    fn what_a_peer_could_ask_for_is_bounded() {
        let why = |change: fn(&mut ContendSpec)| {
            let mut spec = ContendSpec::default();
            change(&mut spec);
            spec.check().err().unwrap_or_default()
        };
        assert_eq!(why(|_| {}), "");
        assert!(why(|s| s.direction = Direction::Both).contains("one way"));
        assert!(why(|s| s.phase_ns = PHASE_NS_MAX + 1).contains("60 s"));
        assert!(why(|s| s.migrations = 0).contains("1 to 64"));
        assert!(why(|s| s.storage_lanes = u32::MAX).contains("1 to 64"));
        assert!(why(|s| s.backups = 65).contains("at most 64"));
        assert!(why(|s| s.storage_requests_per_s = Some(0)).contains("--storage"));
        assert!(why(|s| s.caps.migration = Some(1000)).contains("1 MiB/s"));
        assert!(why(|s| s.ways.storage.nics = vec![String::new()]).contains("no name"));
        let lost = |s: &mut ContendSpec| {
            s.lost_nic = Some("e0".into());
            s.ways.storage.nics = vec!["e1".into()];
        };
        assert!(why(lost).contains("--lose"));
        let longest = ContendSpec { phase_ns: PHASE_NS_MAX, ..ContendSpec::default() };
        assert!(longest.beats().div_ceil(32) <= 512, "a half's lists end there: {}", longest.beats());
        let absurd = ContendSpec { phase_ns: u64::MAX, ..ContendSpec::default() };
        assert_eq!(absurd.length_ns(), u64::MAX);
    }
}
