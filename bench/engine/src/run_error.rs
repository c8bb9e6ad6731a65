//! What ends a run over a lane before its time.

use pathproof_api::TransportError;

/// What ended a driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The lane failed.
    #[error(transparent)]
    Lane(#[from] TransportError),
    /// An operation failed, with the transport's code for it.
    #[error("a {verb} operation failed with code {code}")]
    Operation {
        /// Which verb.
        verb: &'static str,
        /// The transport's code.
        code: u32,
    },
    /// Received bytes differ from what was sent.
    #[error("received bytes differ from what was sent, first in message {message}")]
    Corrupt {
        /// The message's number on its lane, from 0.
        message: u64,
    },
}
