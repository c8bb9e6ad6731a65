//! What stopped a step, a lane or a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stopped something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepError {
    /// Which sort.
    pub kind: ErrorKind,
    /// One sentence, with what to do next.
    pub message: String,
}

/// Sorts of error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something is not available on one of the hosts.
    Unsupported,
    /// Bad input.
    Invalid,
    /// Nothing came in time.
    Timeout,
    /// The peer closed, reset or disappeared.
    PeerLost,
    /// The peer said no.
    Refused,
    /// The peer broke the protocol.
    Protocol,
    /// A limit of a machine was met.
    Resource,
    /// The operating system refused a call.
    System,
    /// The user interrupted (Ctrl-C).
    Interrupted,
    /// Somebody else ended the process in order (SIGTERM, SIGHUP).
    Terminated,
    /// The time that the whole run may take was up.
    OutOfTime,
    /// A sort that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

impl ErrorKind {
    /// What to do after an error of this sort, where it does not depend on what was asked for: messages of the others say it themselves.
    pub fn next(self) -> Option<&'static str> {
        match self {
            ErrorKind::Timeout => {
                Some("See whether the other end answers (ping, its log), then run this again.")
            }
            ErrorKind::PeerLost => {
                Some("Read the log there, start `pathproof serve` again, then run this again.")
            }
            ErrorKind::Protocol => Some("Compare pathproof --version at both ends, then run this again."),
            ErrorKind::System => Some("Run this again with -v: the log has the system's own words."),
            ErrorKind::Other => Some("Update this build: the other end is newer (pathproof --version)."),
            ErrorKind::Unsupported
            | ErrorKind::Invalid
            | ErrorKind::Refused
            | ErrorKind::Resource
            | ErrorKind::Interrupted
            | ErrorKind::Terminated
            | ErrorKind::OutOfTime => None,
        }
    }

    /// Whether the run was ended from outside; that says nothing about the path.
    pub fn is_interruption(self) -> bool {
        matches!(self, ErrorKind::Interrupted | ErrorKind::Terminated)
    }

    /// Whether such an error means that the measurement could not be made, and so says nothing about the path.
    pub fn could_not_run(self) -> bool {
        matches!(
            self,
            ErrorKind::Unsupported
                | ErrorKind::Invalid
                | ErrorKind::Refused
                | ErrorKind::Resource
                | ErrorKind::System
                | ErrorKind::Other
        )
    }
}
