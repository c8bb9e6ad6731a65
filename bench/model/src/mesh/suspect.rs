//! Who is to blame for what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somebody that is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Suspect {
    /// What for.
    pub kind: SuspectKind,
    /// Who.
    pub who: Who,
    /// The plane, by its place.
    pub plane: u32,
    /// How much: a share of the usual figure that is missing (-0.15), or, of loss, how many times the usual.
    pub effect: Option<f64>,
    /// How many standard deviations away, where it is a matter of those.
    pub z: Option<f64>,
    /// How often it was measured again, and was so again.
    pub repetitions: u32,
    /// Cells of the matrix that it explains.
    pub cells_explained: u32,
    /// The figure, where there is one: bytes, segments or bit/s.
    pub measured: Option<f64>,
    /// What it usually is, or was to be.
    pub usual: Option<f64>,
    /// In a sentence.
    pub text: String,
}

/// What somebody is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SuspectKind {
    /// Nothing arrives.
    Reach,
    /// Another path MTU than the others.
    Mtu,
    /// Segments are sent again that others need not.
    Loss,
    /// Slower than the others.
    Goodput,
    /// Slow while others send, full alone: what these hosts share is too narrow.
    Contention,
    /// Below what the user said that it must be.
    Limit,
}

impl SuspectKind {
    /// As it stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            SuspectKind::Reach => "reach",
            SuspectKind::Mtu => "mtu",
            SuspectKind::Loss => "loss",
            SuspectKind::Goodput => "goodput",
            SuspectKind::Contention => "contention",
            SuspectKind::Limit => "limit",
        }
    }
}

/// Whom a figure accuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Who {
    /// A host, both ways.
    Host {
        /// Its rank.
        rank: u32,
    },
    /// A host as sender.
    Sender {
        /// Its rank.
        rank: u32,
    },
    /// A host as receiver.
    Receiver {
        /// Its rank.
        rank: u32,
    },
    /// One direction of one pair.
    Pair {
        /// Who sends.
        from: u32,
        /// Who receives.
        to: u32,
    },
    /// Hosts behind something that they share. Of two sides of one cut it is the smaller; of equal ones nobody can tell which.
    Group {
        /// Their ranks.
        ranks: Vec<u32>,
    },
}

impl Who {
    /// Whether a cell is one of those that it is accused by.
    pub fn explains(&self, from: u32, to: u32) -> bool {
        match self {
            Who::Host { rank } => from == *rank || to == *rank,
            Who::Sender { rank } => from == *rank,
            Who::Receiver { rank } => to == *rank,
            Who::Pair { from: sender, to: receiver } => (from, to) == (*sender, *receiver),
            Who::Group { ranks } => ranks.contains(&from) != ranks.contains(&to),
        }
    }
}

impl Suspect {
    /// Somebody of whom no figure stands there yet.
    pub fn new(kind: SuspectKind, who: Who) -> Suspect {
        Suspect {
            kind,
            who,
            plane: 0,
            effect: None,
            z: None,
            repetitions: 0,
            cells_explained: 0,
            measured: None,
            usual: None,
            text: String::new(),
        }
    }
}
