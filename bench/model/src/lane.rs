//! What an end of a lane does, and what is known of a lane that fell silent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one end of a lane does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaneRole {
    /// It sends payload.
    Send,
    /// It receives payload.
    Receive,
    /// It sends and receives: round trips.
    #[default]
    Both,
    /// It writes into the other end's memory.
    Write,
    /// It reads from the other end's memory.
    Read,
    /// Its memory is written to or read from, without its doing.
    Target,
    /// A role that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

impl LaneRole {
    /// Whether this end counts what it sends or writes.
    pub fn sends(self) -> bool {
        matches!(self, LaneRole::Send | LaneRole::Both | LaneRole::Write)
    }

    /// Whether this end counts what comes in.
    pub fn receives(self) -> bool {
        matches!(self, LaneRole::Receive | LaneRole::Both | LaneRole::Read)
    }
}

/// A second or more within the window in which nothing came in over a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Silence {
    /// When it began, in ns since the start of the window.
    pub from_ns: u64,
    /// How long it lasted, in ns.
    pub length_ns: u64,
    /// Whether something came over the other lanes of that end all the while.
    pub others_flowed: bool,
    /// Whether something came over this lane afterwards.
    pub came_back: bool,
}

impl Silence {
    /// Whether the lane was silent only because others took its share.
    pub fn is_starved(&self) -> bool {
        self.others_flowed && self.came_back
    }
}
