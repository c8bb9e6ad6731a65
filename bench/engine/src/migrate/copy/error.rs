//! What ends a copy early.

use pathproof_api::TransportError;
use pathproof_model::{ErrorKind, StepError};

/// Why a copy, or a lane of it, went no further.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The lane failed.
    #[error(transparent)]
    Lane(#[from] TransportError),
    /// Whoever drives the copy gave it up, and knows why.
    #[error("the step was given up")]
    GivenUp,
    /// Anything else, in words.
    #[error("{}", .0.message)]
    Step(StepError),
}

impl CopyError {
    /// An error in words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> CopyError {
        CopyError::Step(StepError::new(kind, message.into()))
    }

    /// Whether this only follows from another error, which tells more.
    pub fn follows(&self) -> bool {
        matches!(self, CopyError::GivenUp)
    }

    /// The first error that tells something, or the first.
    pub fn first(errors: impl IntoIterator<Item = CopyError>) -> Option<CopyError> {
        let mut first: Option<CopyError> = None;
        for error in errors {
            if first.as_ref().is_none_or(|known| known.follows() && !error.follows()) {
                first = Some(error);
            }
        }
        first
    }

    /// The peer said what has no place here.
    pub(super) fn confused(what: &str) -> CopyError {
        CopyError::new(
            ErrorKind::Protocol,
            format!("the peer's half of the migration is out of step: {what}; are both builds the same?"),
        )
    }

    /// A message of the source makes no sense.
    pub(super) fn unreadable(what: impl std::fmt::Display) -> CopyError {
        CopyError::new(ErrorKind::Protocol, format!("a message of the source cannot be read: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_that_tells_something_goes_first() {
        let told = || CopyError::new(ErrorKind::PeerLost, "gone");
        let first = |errors: Vec<CopyError>| CopyError::first(errors).map(|e| e.to_string());
        assert_eq!(first(vec![]), None);
        assert_eq!(first(vec![CopyError::GivenUp, CopyError::GivenUp]).unwrap(), "the step was given up");
        assert_eq!(first(vec![CopyError::GivenUp, told(), CopyError::confused("x")]).unwrap(), "gone");
    }
}
