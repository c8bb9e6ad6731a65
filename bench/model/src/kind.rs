//! The kinds of step, and what each is like for those who do not know it.
//!
//! Whoever looks at a step asks for a trait of its kind and never which kind it is (`tests/edges/kinds.rs` searches for
//! those who do): a new kind answers every question, because there is no default to forget. Where all kinds are told apart
//! one by one, the compiler asks for the next one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of step, as they appear in results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Host facts.
    Facts,
    /// Reachability.
    Reach,
    /// Path MTU.
    Mtu,
    /// Datagram loss.
    Loss,
    /// Ports of the real job.
    Ports,
    /// Bulk throughput.
    Stream,
    /// Ping-pong latency.
    Pingpong,
    /// Request and reply.
    Request,
    /// Migration rehearsal.
    Migrate,
    /// An SMB server's own account.
    Smb,
    /// Predicted channels.
    Channels,
    /// File data on a share.
    File,
    /// The networks of a cluster.
    Networks,
    /// Contention.
    Contend,
}

/// The round trips of a kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trips {
    /// It has none, or none that say something of the path by themselves.
    None,
    /// A few of the control connection: they say whether anybody answers.
    Control,
    /// One message at a time on a path that carries nothing else.
    Idle,
    /// Of requests, which come at a rate or several at once.
    Requests,
}

/// The datagrams that a kind of step sends over every pair of NICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// None.
    None,
    /// At a pace, to see which are lost.
    Paced,
    /// Of one size after another, to find the largest that passes.
    Sized,
}

/// What is true of every step of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindTraits {
    /// It is made from here alone: no agent ever has a part in it.
    pub alone: bool,
    /// What it collects is for the steps beside it: a plan that is left with nothing else comes to nothing.
    pub prepares: bool,
    /// It is bulk with nothing else to do, so its goodput says what the path carries.
    pub bulk: bool,
    /// It loads the path with one bulk, so what its connections lose is what the path loses under load. Classes that share a
    /// path make each other lose on purpose.
    pub one_load: bool,
    /// All that it dials are lanes of the session, so a SYN that goes unanswered was not meant for a closed port. Where
    /// connections are opened beside a load, the load may be why, and this is false.
    pub dials_lanes: bool,
    /// Its flows are classes that share the path: each is the others' load, and they are told and judged phase by phase.
    pub classes: bool,
    /// It moves the data of files to and from a share.
    pub files: bool,
    /// A run with too little time for all of its steps can do without it.
    pub spare: bool,
    /// Its round trips.
    pub trips: Trips,
    /// What it sends over every pair of NICs.
    pub probes: Probes,
}

impl StepKind {
    /// What is true of every step of this kind.
    pub const fn traits(self) -> KindTraits {
        match self {
            StepKind::Facts => KindTraits {
                alone: false,
                prepares: true,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::None,
            },
            StepKind::Ports => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::None,
            },
            StepKind::Reach => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::Control,
                probes: Probes::None,
            },
            StepKind::Mtu => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::Sized,
            },
            StepKind::Loss => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::Paced,
            },
            StepKind::Stream => KindTraits {
                alone: false,
                prepares: false,
                bulk: true,
                one_load: true,
                dials_lanes: true,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::None,
            },
            StepKind::Pingpong => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: true,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::Idle,
                probes: Probes::None,
            },
            StepKind::Request => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::Requests,
                probes: Probes::None,
            },
            StepKind::Migrate => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: true,
                dials_lanes: true,
                classes: false,
                files: false,
                spare: true,
                trips: Trips::None,
                probes: Probes::None,
            },
            StepKind::Smb | StepKind::Channels | StepKind::Networks => KindTraits {
                alone: true,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::None,
            },
            StepKind::File => KindTraits {
                alone: true,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: false,
                files: true,
                spare: false,
                trips: Trips::None,
                probes: Probes::None,
            },
            StepKind::Contend => KindTraits {
                alone: false,
                prepares: false,
                bulk: false,
                one_load: false,
                dials_lanes: false,
                classes: true,
                files: false,
                spare: false,
                trips: Trips::None,
                probes: Probes::None,
            },
        }
    }
}

/// What travels in a traffic step. Other kinds of step have none of it, so a question about traffic is asked of these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrafficKind {
    /// Bulk, one way.
    Stream,
    /// One message at a time, back and forth.
    Pingpong,
    /// Requests and replies.
    Request,
}

impl TrafficKind {
    /// As it stands in plans and names.
    pub fn word(self) -> &'static str {
        match self {
            TrafficKind::Stream => "stream",
            TrafficKind::Pingpong => "pingpong",
            TrafficKind::Request => "request",
        }
    }

    /// Whether it is bulk: its goodput and its bytes are what is asked for, its pace is in bit/s, and it goes on without one of several
    /// NICs.
    pub const fn is_bulk(self) -> bool {
        match self {
            TrafficKind::Stream => true,
            TrafficKind::Pingpong | TrafficKind::Request => false,
        }
    }

    /// Whether it is answered: its pace is in requests a second, and a reply has a size of its own.
    pub const fn has_replies(self) -> bool {
        match self {
            TrafficKind::Request => true,
            TrafficKind::Stream | TrafficKind::Pingpong => false,
        }
    }

    /// Whether several of its messages may be under way at once.
    pub const fn has_depth(self) -> bool {
        match self {
            TrafficKind::Stream | TrafficKind::Request => true,
            TrafficKind::Pingpong => false,
        }
    }
}
