//! One error type for all transports: each variant says which operation failed, on what, and why.

use std::io;
use std::time::Duration;

/// How a peer went, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It said goodbye, or its end of the connection was closed.
    Closed,
    /// The connection was reset, by the peer or by somebody in its name.
    Reset,
    /// The system of this host gave the connection up.
    Aborted,
    /// Nothing was heard for as long as is waited.
    Silent,
    /// Nothing here leads to it any more.
    Unreachable,
    /// The adapter sent again as often as it may, and nothing took it in.
    RetriesSpent,
}

impl Gone {
    /// What an error of the system says of the peer; `None` where it says something else.
    pub fn of(kind: io::ErrorKind) -> Option<Gone> {
        match kind {
            io::ErrorKind::ConnectionReset => Some(Gone::Reset),
            io::ErrorKind::ConnectionAborted => Some(Gone::Aborted),
            io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected | io::ErrorKind::UnexpectedEof => {
                Some(Gone::Closed)
            }
            io::ErrorKind::TimedOut => Some(Gone::Silent),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Some(Gone::Unreachable),
            _ => None,
        }
    }
}

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
        /// How it went, for programs; `None` where only `detail` tells.
        how: Option<Gone>,
        /// How it showed (reset, end of stream, retry exceeded), for people.
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
        match Gone::of(source.kind()) {
            Some(how) => TransportError::PeerGone { operation, how: Some(how), detail: source.to_string() },
            None => TransportError::Io { operation, source },
        }
    }

    /// How the peer went, where this says that it did and how: what a lane that tells its end again keeps beside the words.
    pub fn how(&self) -> Option<Gone> {
        match self {
            TransportError::PeerGone { how, .. } => *how,
            TransportError::Unsupported { .. }
            | TransportError::Invalid { .. }
            | TransportError::Timeout { .. }
            | TransportError::Protocol { .. }
            | TransportError::Resource { .. }
            | TransportError::Io { .. } => None,
        }
    }

    /// Shorthand for [`TransportError::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Self {
        TransportError::Invalid { what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_peer_went_is_told_beside_the_words_of_the_system() {
        let told = |code: i32| {
            let error = TransportError::io("sending", io::Error::from_raw_os_error(code));
            (error.how(), error.to_string())
        };
        // ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH and ENOMEM of Linux.
        let (how, words) = told(104);
        assert_eq!(how, Some(Gone::Reset));
        assert_eq!(words, "sending: the peer is gone (Connection reset by peer (os error 104))");
        assert_eq!(told(32).0, Some(Gone::Closed));
        assert_eq!(told(110).0, Some(Gone::Silent));
        assert_eq!(told(113).0, Some(Gone::Unreachable));
        assert_eq!(told(12).0, None, "what the system refuses is nothing that the peer did");
        assert_eq!(TransportError::invalid("reset by peer").how(), None, "words decide nothing");
    }
}
