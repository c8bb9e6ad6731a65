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
    /// How the other end went, where `kind` is `peer-lost` and that is known; absent elsewhere, and from builds that did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ErrorCause>,
}

impl StepError {
    /// An error of which no more is known than its sort and its words.
    pub fn new(kind: ErrorKind, message: String) -> StepError {
        StepError { kind, message, cause: None }
    }

    /// The same, with what is known of its cause.
    #[must_use]
    pub fn caused_by(self, cause: impl Into<Option<ErrorCause>>) -> StepError {
        StepError { cause: cause.into(), ..self }
    }

    /// Whether bytes were changed on the way: that ends a run, and is an answer about the path.
    pub fn tells_of_changed_bytes(&self) -> bool {
        self.cause == Some(ErrorCause::Changed)
    }
}

/// How the other end of a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCause {
    /// It said goodbye, or its end of the connection was closed.
    Closed,
    /// The connection was reset, by the other end or by somebody in its name.
    Reset,
    /// The system of the host that says so gave the connection up.
    Aborted,
    /// Nothing was heard for as long as is waited.
    Silent,
    /// Nothing led to it any more.
    Unreachable,
    /// An RDMA adapter sent again as often as it may, and nothing took it in.
    RetriesSpent,
    /// What came over it had other bytes than were sent: its own integrity check failed, and nothing of that message was used.
    Changed,
    /// A cause that a later build names and this one does not know.
    #[serde(other)]
    Other,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_left_out_where_none_is_known_and_read_where_a_later_build_names_one() {
        let bare = r#"{"kind":"peer-lost","message":"Connection reset by peer"}"#;
        let read = |text: &str| serde_json::from_str::<StepError>(text).unwrap();
        assert_eq!(read(bare), StepError::new(ErrorKind::PeerLost, "Connection reset by peer".into()));
        assert_eq!(serde_json::to_string(&read(bare)).unwrap(), bare, "words decide nothing");
        let reset = read(bare).caused_by(ErrorCause::Reset);
        let told = r#"{"kind":"peer-lost","message":"Connection reset by peer","cause":"reset"}"#;
        assert_eq!((serde_json::to_string(&reset).unwrap().as_str(), read(told)), (told, reset));
        let later = r#"{"kind":"peer-lost","message":"gone","cause":"evaporated"}"#;
        assert_eq!(read(later).cause, Some(ErrorCause::Other));
        let changed = r#"{"kind":"peer-lost","message":"other bytes","cause":"changed"}"#;
        assert!(read(changed).tells_of_changed_bytes() && !read(told).tells_of_changed_bytes());
    }

    #[test]
    fn what_ended_a_run_leaves_it_without_an_answer_unless_bytes_were_changed_on_the_way() {
        use crate::{Criteria, ResultDoc, RunOutcome, Tool, judge_into};
        let outcome = |cause: ErrorCause| {
            let error = StepError::new(ErrorKind::PeerLost, "the connection ended".into()).caused_by(cause);
            let mut doc = ResultDoc { error: Some(error), ..ResultDoc::new(Tool::default(), "") };
            judge_into(&mut doc, &Criteria::default());
            doc.finish("2026-01-01T00:00:01Z");
            (doc.outcome, doc.exit_code)
        };
        assert_eq!(outcome(ErrorCause::Changed), (RunOutcome::NotFit, Some(1)));
        assert_eq!(outcome(ErrorCause::Reset), (RunOutcome::None, Some(2)));
    }
}
