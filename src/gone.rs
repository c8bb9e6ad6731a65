//! How the other end went, as a transport or the system tells it and as documents name it. Words are for people: nobody looks into
//! them for this.

use std::io;

use pathproof_api::Gone;
use pathproof_model::ErrorCause;

/// What a document calls it.
pub fn cause(how: Gone) -> ErrorCause {
    match how {
        Gone::Closed => ErrorCause::Closed,
        Gone::Reset => ErrorCause::Reset,
        Gone::Aborted => ErrorCause::Aborted,
        Gone::Silent => ErrorCause::Silent,
        Gone::Unreachable => ErrorCause::Unreachable,
        Gone::RetriesSpent => ErrorCause::RetriesSpent,
    }
}

/// What an error of the system says of it; `None` where it says something else.
pub fn of(error: &io::Error) -> Option<ErrorCause> {
    Gone::of(error.kind()).map(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Loss;
    use crate::steps::step_error;
    use pathproof_api::TransportError;
    use pathproof_model::ErrorKind;

    #[test]
    fn a_reset_is_known_as_one_on_a_lane_and_on_the_control_connection() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let lane = step_error(&TransportError::io("receiving", reset()));
        assert_eq!((lane.kind, lane.cause), (ErrorKind::PeerLost, Some(ErrorCause::Reset)));
        assert_eq!(Loss::of(&reset()).cause, Some(ErrorCause::Reset));
        assert_eq!(Loss::of(&io::ErrorKind::UnexpectedEof.into()).cause, Some(ErrorCause::Closed));
        // A piece whose seal is wrong: the secure channel says so by this kind, and by no other.
        assert_eq!(Loss::of(&io::ErrorKind::InvalidData.into()).cause, Some(ErrorCause::Changed));
        // What this host refuses is no way in which a peer goes, whatever its words are.
        let refused = TransportError::io("receiving", io::Error::other("reset by peer"));
        assert_eq!(step_error(&refused).cause, None);
    }
}
