//! What both directions of a lane share: the socket, the memory, and what a try comes to.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pathproof_api::{Completion, Gone, Region, RegionId, TransportError};

/// One try of one direction.
pub(crate) enum OneTry {
    /// An operation is done.
    Completed(Completion),
    /// So many bytes moved, and no operation of ours is done by it.
    Moved(usize),
    /// Nothing could be done now.
    Blocked,
}

/// What both directions share: the socket, the memory, the counters.
pub(crate) struct Link {
    /// The lane's alone; its stopper reaches it as long as it is there.
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) regions: Vec<Arc<Region>>,
    /// Region that the peer may write to.
    pub(crate) target: Option<RegionId>,
    pub(crate) message_bytes_max: u32,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl Link {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(crate) fn region(&self, id: RegionId) -> Result<&Region, TransportError> {
        match self.regions.get(usize::from(id.0)) {
            Some(region) => Ok(region),
            None => Err(TransportError::invalid(format!("region {} is not attached to this lane", id.0))),
        }
    }

    pub(crate) fn peer_text(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| "the peer".into(), |address| address.to_string())
    }

    /// Puts an error into words. Silence (`TCP_USER_TIMEOUT`, keepalive) shows as `ETIMEDOUT`, an unplugged
    /// path as `EHOSTUNREACH` and its kin.
    pub(crate) fn error(&self, doing: &str, source: io::Error) -> TransportError {
        let operation = format!("{doing} ({})", self.peer_text());
        match source.kind() {
            io::ErrorKind::TimedOut => TransportError::PeerGone {
                operation,
                how: Some(Gone::Silent),
                detail: "it has not answered for 10 s; is the path still up?".into(),
            },
            _ => TransportError::io(operation, source),
        }
    }
}

/// Errors of a call that is simply tried again: it would have waited, its socket timeout passed, or a signal
/// came.
pub(crate) fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
