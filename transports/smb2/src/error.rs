//! What can go wrong between us and an SMB server, told apart by who is to blame.
//!
//! `WireError` is always the peer's fault: some bytes did not have the shape MS-SMB2 gives them.
//! `SmbError` adds what the network did and what the server decided. Neither ever wraps a panic, and neither tries to recover.

use std::net::SocketAddr;
use std::time::Duration;

use pathproof_api::TransportError;

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

/// What to do about a server that takes no connection. Each is one of several: a firewall has the words of an absent server or host.
fn unconnected(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Io;
    match source.kind() {
        Io::ConnectionRefused => {
            "no program listens there at that address and port, or a firewall rejects it: start the SMB server, or name its port"
        }
        Io::HostUnreachable | Io::NetworkUnreachable => {
            "nobody answers for that address, no route leads there, or a firewall rejects it: check the address, the route and the firewalls"
        }
        _ => "check the address, the port and any firewall between",
    }
}

/// Why a request to a server did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmbError {
    /// No TCP connection.
    #[error("no TCP connection to {address}; {}", unconnected(source))]
    Connect {
        /// Where we tried.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A further channel of a session that must be encrypted: its logon cannot be, and is refused for that.
    #[error(
        "{address} demands that all of a session is encrypted, and takes no further channel of one (Samba does so); demand encryption of the shares instead (server smb encrypt in their sections), or use one connection"
    )]
    NoSealedChannel {
        /// Whom we asked.
        address: SocketAddr,
    },
    /// The system's Kerberos led to no logon.
    #[error(
        "no logon at {address} by Kerberos: {source}; name the server as its key does (cifs/NAME, seldom an address), have a ticket (kinit, klist), or give --user and --password-file instead"
    )]
    Kerberos {
        /// Whom we asked.
        address: SocketAddr,
        /// What the system's library said.
        source: pathproof_sys::kerberos::KerberosError,
    },
    /// The deadline passed.
    #[error("{address} gave no answer to {stage} within {waited:?}; {}", silence(.stage))]
    Deadline {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// The server hung up.
    #[error("{address} closed the connection during {stage}; {}", hanging_up(.stage))]
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
    #[error("{address} refused {stage}: {}", .status.explained())]
    Refused {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// The server's status.
        status: NtStatus,
    },
    /// The server did not let the account in.
    #[error("{address} refused the logon: {}", .status.explained())]
    LogonRefused {
        /// Whom we asked.
        address: SocketAddr,
        /// The server's status.
        status: NtStatus,
    },
    /// It let somebody else in.
    #[error(
        "{address} let the user in only as a guest, whose data nothing protects; check the account on the server"
    )]
    OnlyGuest {
        /// Whom we asked.
        address: SocketAddr,
    },
    /// The server will talk only encrypted, and there is no cipher in common.
    #[error(
        "{address} demands encryption, and no cipher was agreed; enable AES-GCM or AES-CCM of SMB 3 on the server"
    )]
    NeedsEncryption {
        /// Whom we asked.
        address: SocketAddr,
    },
    /// Another address turned out to be another server.
    #[error("{address} is another server than the session's, so no channel was made to it")]
    OtherServer {
        /// Whom we asked.
        address: SocketAddr,
    },
    /// Nothing is under way and the server gives no leave for more.
    #[error(
        "{address} grants too few credits: {stage} needs {needed} and {there} are there; a sound server grants what is asked for"
    )]
    NoCredits {
        /// Whom we asked.
        address: SocketAddr,
        /// What we wanted to ask.
        stage: &'static str,
        /// What it costs.
        needed: u16,
        /// What we have.
        there: u32,
    },
    /// A count or a promise of the server that cannot be true.
    #[error("{address} answered {stage} with what cannot be: {what}")]
    Untrue {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// What it claims.
        what: String,
    },
    /// An answer whose signature is wrong or missing: somebody changed it, or the keys differ.
    #[error(
        "{address} answered {stage} with a wrong or missing signature: the message was altered or the keys differ"
    )]
    BadSignature {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
    },
    /// A signature that is right for something else, in a way that is known.
    #[error(
        "{address} signed its answer to {stage} over four bytes too many (the length that only TCP has in front): a fault of the server, known of \
         ksmbd up to Linux 6.12; do not require signing for SMB Direct there"
    )]
    SignedTooMuch {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
    },
    /// An answer that began and never became whole.
    #[error("{address} began an answer to {stage}, and {missing} bytes of it did not come within {waited:?}{}", missing_what(*.header_only))]
    Unfinished {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// Bytes that were announced and did not come.
        missing: u64,
        /// They are as many as the header of an encrypted message has.
        header_only: bool,
        /// How long we waited.
        waited: Duration,
    },
    /// An encrypted request over SMB Direct that has no answer at all.
    #[error(
        "{address} gave no answer to {stage}, which was encrypted and went over SMB Direct, within {waited:?}: ksmbd up to Linux 6.12 completes none there; \
         do not require encryption there, or use TCP (a path that died looks the same)"
    )]
    SilentSealed {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// The negotiation was changed on its way.
    #[error(
        "{address} did not agree on what its answer to NEGOTIATE said: {what}; somebody between the two ends changed the negotiation"
    )]
    Downgraded {
        /// Whom we asked.
        address: SocketAddr,
        /// What differs.
        what: &'static str,
    },
    /// No SMB Direct connection.
    #[error("no SMB Direct connection to {address}: {why}")]
    NoDirect {
        /// Where we tried.
        address: SocketAddr,
        /// What stood in the way.
        why: String,
    },
    /// It ended while the server had leave to reach this end's memory: the path or the server died, or an adapter ended it because the
    /// server reached for more than that. Which, this end is not told.
    #[error(
        "the connection to {address} ended during {stage}, while data moved by RDMA: the path or the server died, or the server reached for \
         more than it was given (its log then has a remote access error){}", word_of_the_adapter(.said.as_deref())
    )]
    ClosedMoving {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// What this end's adapter says, where it does.
        said: Option<String>,
    },
    /// The server ended a key of this end's memory that it should not have ended. Nothing that moves by RDMA is where it should be any more,
    /// as far as anybody knows.
    #[error(
        "{address} breaks the rules of memory keys with its answer to {stage}: {what}; update it, or use it without --invalidate, or over TCP"
    )]
    WrongKey {
        /// Whom we asked.
        address: SocketAddr,
        /// What we had asked.
        stage: &'static str,
        /// What it did.
        what: String,
    },
    /// No randomness for the client's identifier and challenge.
    #[error("the system has no random numbers: {source}")]
    Entropy {
        /// What the system said.
        source: std::io::Error,
    },
}

/// What an adapter said, behind the rest.
fn word_of_the_adapter(said: Option<&str>) -> String {
    said.map_or_else(String::new, |said| format!("; this end's adapter says: {said}"))
}

/// What a deadline that passed may mean.
fn silence(stage: &str) -> &'static str {
    match stage {
        "NEGOTIATE" => "is an SMB server on this port?",
        "READ" | "WRITE" | "FLUSH" => {
            "its disk may be stuck or the path dead; a longer --wait tells them apart"
        }
        _ => "the server or the path to it is stuck; see its log",
    }
}

/// What bytes that never come may be.
fn missing_what(header_only: bool) -> &'static str {
    if header_only {
        ": as many as the header of an encrypted message has, which ksmbd up to Linux 6.12 leaves out over SMB Direct; do not require encryption there"
    } else {
        "; the server or the path to it is stuck"
    }
}

/// What a connection that ends may mean.
fn hanging_up(stage: &str) -> &'static str {
    match stage {
        "READ" | "WRITE" | "FLUSH" | "CLOSE" => {
            "the server ended, or what lies between cut the connection; see its log"
        }
        _ => "a firewall or a server that refuses this client does so",
    }
}

impl SmbError {
    /// What a pipe met while `stage` was under way.
    pub(crate) fn of_pipe(
        address: SocketAddr,
        stage: &'static str,
        waited: Duration,
        error: TransportError,
    ) -> SmbError {
        match error {
            TransportError::PeerGone { .. } => SmbError::Closed { address, stage },
            TransportError::Timeout { .. } => SmbError::Deadline { address, stage, waited },
            TransportError::Io { source, .. } => {
                match source.get_ref().and_then(|inner| inner.downcast_ref::<WireError>()) {
                    Some(wire) => SmbError::Wire { address, stage, source: wire.clone() },
                    None => SmbError::Io { address, stage, source },
                }
            }
            other => SmbError::Io { address, stage, source: std::io::Error::other(other.to_string()) },
        }
    }

    /// The status that the server gave, where it gave one.
    pub fn status(&self) -> Option<NtStatus> {
        match self {
            SmbError::Refused { status, .. } | SmbError::LogonRefused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the connection itself is at its end, so that another one may do better.
    pub fn is_of_the_connection(&self) -> bool {
        matches!(
            self,
            SmbError::Closed { .. }
                | SmbError::ClosedMoving { .. }
                | SmbError::Io { .. }
                | SmbError::Deadline { .. }
                | SmbError::Unfinished { .. }
                | SmbError::SilentSealed { .. }
        )
    }
}
