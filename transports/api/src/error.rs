//! One error type for all transports: each variant says which operation failed, on what, and why.

use std::io;
use std::time::Duration;

/// What stopped a transport or one of its lanes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// This machine (or build) cannot do it; `fix` is the command or setting that would change that.
    #[error("{what} is not available: {why}; {fix}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What is missing.
        why: String,
        /// What to do about it.
        fix: String,
    },
    /// The request itself makes no sense to this transport (a zero length, an unknown option).
    #[error("{what}")]
    Invalid {
        /// One sentence that names the value and what would be accepted.
        what: String,
    },
    /// Nothing came within the time allowed.
    #[error("{operation}: no answer within {} ms", .after.as_millis())]
    Timeout {
        /// What was waited for.
        operation: String,
        /// How long.
        after: Duration,
    },
    /// The other end closed, reset or disappeared.
    #[error("{operation}: the peer is gone ({detail})")]
    PeerGone {
        /// What was under way.
        operation: String,
        /// How it showed (reset, end of stream, retry exceeded).
        detail: String,
    },
    /// The peer broke the rules of the lane protocol.
    #[error("{operation}: the peer sent what the lane protocol does not allow: {detail}")]
    Protocol {
        /// What was being read.
        operation: String,
        /// What was wrong with it.
        detail: String,
    },
    /// A limit of the machine or device was met (memory, locked memory, queue depth).
    #[error("{operation}: {detail}; {fix}")]
    Resource {
        /// What was being allocated.
        operation: String,
        /// Which limit, with numbers.
        detail: String,
        /// What to do about it.
        fix: String,
    },
    /// The operating system refused a call.
    #[error("{operation}: {source}")]
    Io {
        /// The call and its object.
        operation: String,
        /// What the system said.
        source: io::Error,
    },
}

impl TransportError {
    /// Wraps an I/O error with the operation that met it, recognising the ways in which a peer disappears.
    pub fn io(operation: impl Into<String>, source: io::Error) -> Self {
        let operation = operation.into();
        match source.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::UnexpectedEof => {
                TransportError::PeerGone { operation, detail: source.to_string() }
            }
            _ => TransportError::Io { operation, source },
        }
    }

    /// Shorthand for [`TransportError::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Self {
        TransportError::Invalid { what: what.into() }
    }
}
