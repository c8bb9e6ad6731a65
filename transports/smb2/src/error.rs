//! What can go wrong between us and an SMB server, told apart by who is to blame.
//!
//! `WireError` is always the peer's fault: some bytes did not have the shape MS-SMB2 gives them.
//! `AskError` adds what the network did. Neither ever wraps a panic, and neither tries to recover.

use std::net::SocketAddr;
use std::time::Duration;

use crate::status::NtStatus;

/// Bytes that are not what MS-SMB2 says they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends before a field it must have.
    #[error("{what} is cut short: {needed} bytes needed, {available} there")]
    Truncated {
        /// The field or structure being read.
        what: &'static str,
        /// How many bytes the structure needs.
        needed: usize,
        /// How many bytes there are.
        available: usize,
    },
    /// A length the peer announced is above the cap we allocate for.
    #[error("a message of {length} bytes is announced, more than the {limit} bytes accepted here")]
    Oversize {
        /// The announced length.
        length: usize,
        /// Our cap.
        limit: usize,
    },
    /// The first bytes are no SMB message at all.
    #[error("the answer begins with {first:02x?}, which is not SMB: is another service on this port?")]
    NotSmb {
        /// The first bytes seen.
        first: [u8; 4],
    },
    /// The server answered in the old protocol.
    #[error(
        "the server answered in SMB 1, which has no Multichannel and no RDMA: enable SMB 2 or later on it"
    )]
    Smb1,
    /// The message is encrypted or compressed although neither was agreed.
    #[error("the server sent an {kind} message although none was negotiated")]
    Transformed {
        /// "encrypted" or "compressed".
        kind: &'static str,
    },
    /// A field has a value that the specification forbids.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The field or structure.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Why a question to a server got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No TCP connection.
    #[error("no TCP connection to {address}; check the address, the port and any firewall between")]
    Connect {
        /// Where we tried.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The deadline passed.
    #[error("{address} gave no answer to {stage} within {waited:?}; is an SMB server on this port?")]
    Deadline {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// The server hung up.
    #[error(
        "{address} closed the connection during {stage}; a firewall or a server that refuses this client does so"
    )]
    Closed {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
    },
    /// Some other failure of the socket.
    #[error("the connection to {address} failed during {stage}: {source}")]
    Io {
        /// Whom we asked.
        address: SocketAddr,
        /// What we were doing.
        stage: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer is not valid SMB2.
    #[error("{address} answered {stage} with bytes that are not valid SMB2: {source}")]
    Wire {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// What is wrong with the bytes.
        source: WireError,
    },
    /// The server understood and said no.
    #[error("{address} refused {stage}: {status}")]
    Refused {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// The server's status.
        status: NtStatus,
    },
    /// A signed answer whose signature is wrong: somebody changed it, or the keys differ.
    #[error("{address} answered {stage} with a wrong signature: the message was altered or the keys differ")]
    BadSignature {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
    },
    /// No randomness for the client's identifier and challenge.
    #[error("the system has no random numbers: {source}")]
    Entropy {
        /// What the system said.
        source: std::io::Error,
    },
}
