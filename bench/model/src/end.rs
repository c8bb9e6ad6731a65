//! The two ends of a session.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NodeId;

/// Which end of the session something is of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The end that ran the command, and dials.
    #[default]
    Client,
    /// The end that serves, and is dialled.
    Server,
}

impl End {
    /// Both, the one that dials first.
    pub const BOTH: [End; 2] = [End::Client, End::Server];

    /// As it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Server => "server",
        }
    }

    /// The node that it is in results.
    pub fn node(self) -> NodeId {
        match self {
            End::Client => NodeId::CLIENT,
            End::Server => NodeId::SERVER,
        }
    }

    /// The one at the far side.
    pub fn other(self) -> End {
        match self {
            End::Client => End::Server,
            End::Server => End::Client,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
