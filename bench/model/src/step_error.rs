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
