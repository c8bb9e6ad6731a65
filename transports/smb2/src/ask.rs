//! The interrogation: what to ask a server, in which order, and what counts as an answer.
//!
//! 1. NEGOTIATE with every dialect. This answer is the one reported.
//! 2. The interface query on that same connection, without any session (Samba answers it).
//! 3. NEGOTIATE with 3.0.2 alone, on a second connection, when 3.1.1 was chosen: some capability bits
//!    mean something only there.
//! 4. The interface query with an anonymous session, then with credentials, each on its own
//!    connection and only while no list has been obtained. Credentials are tried exactly once: a
//!    second try with a wrong password could lock the account.

use std::net::SocketAddr;
use std::time::Duration;

use pathproof_sys::clock::RealClock;

use crate::connection::{Connection, Protection, Sizes};
use crate::error::SmbError;
use crate::fresh::{filetime_now, random};
use crate::identity::Identity;
use crate::interfaces::{self, Interface, InterfaceList};
use crate::logon::{Logon, log_on};
use crate::negotiate::{Capabilities, Cipher, Dialect, NegotiateRequest, NegotiateResponse};
use crate::negotiate::{RdmaTransform, SigningAlgorithm};
use crate::session;
use crate::status::NtStatus;
use crate::wire::Command;

/// A way to put the interface query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// Right after NEGOTIATE, without a session.
    Sessionless,
    /// With an anonymous session.
    Anonymous,
    /// Logged on.
    Credentials,
}

impl AskedBy {
    /// The order in which they are tried: least intrusive first.
    pub const ALL: [Self; 3] = [Self::Sessionless, Self::Anonymous, Self::Credentials];

    /// One word for the machine contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessionless => "sessionless",
            Self::Anonymous => "anonymous",
            Self::Credentials => "credentials",
        }
    }
}

/// How one way of asking ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// With a list.
    Answered,
    /// The server refused the query itself.
    Refused(NtStatus),
    /// The server refused the logon; nothing further was sent.
    LogonRefused(NtStatus),
    /// The logon ended as guest, whom MS-SMB2 forbids to ask.
    OnlyGuest,
    /// The session may only be used encrypted, and no cipher was agreed.
    NeedsEncryption,
    /// The conversation broke.
    Failed(SmbError),
}

/// One way of asking and its end.
#[derive(Debug)]
pub struct Attempt {
    /// How it was put.
    pub way: AskedBy,
    /// What came of it.
    pub outcome: AttemptOutcome,
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Question {
    /// The server.
    pub address: SocketAddr,
    /// The name the user called it by; used for the share's path.
    pub name: String,
    /// For the last way, when the first two are refused.
    pub identity: Option<Identity>,
    /// Longest wait for a connection and for each answer.
    pub timeout: Duration,
    /// Ways to try, in this order.
    pub ways: Vec<AskedBy>,
    /// What waits and answers are timed with.
    pub clock: RealClock,
}

impl Question {
    /// Ask the usual way: all three, 5 s each.
    pub fn new(address: SocketAddr, name: impl Into<String>, clock: &RealClock) -> Self {
        let (timeout, ways, clock) = (Duration::from_secs(5), AskedBy::ALL.to_vec(), clock.clone());
        Self { address, name: name.into(), identity: None, timeout, ways, clock }
    }
}

/// Everything a server told.
#[derive(Debug)]
pub struct ServerReport {
    /// Whom we asked.
    pub address: SocketAddr,
    /// The dialect chosen when all are offered.
    pub dialect: Dialect,
    /// Capability bits, of both probes together.
    pub capabilities: Capabilities,
    /// The server demands signatures.
    pub signing_required: bool,
    /// The algorithm chosen, where the server says.
    pub signing: Option<SigningAlgorithm>,
    /// The cipher chosen at 3.1.1.
    pub cipher: Option<Cipher>,
    /// The server demands encryption: known only after a logon.
    pub encryption_required: Option<bool>,
    /// What can be done to data placed by RDMA; `None` when the dialect cannot say.
    pub rdma_transforms: Option<Vec<RdmaTransform>>,
    /// Largest READ.
    pub max_read_bytes: u32,
    /// Largest WRITE.
    pub max_write_bytes: u32,
    /// Largest transaction.
    pub max_transact_bytes: u32,
    /// The server's identity.
    pub server_guid: [u8; 16],
    /// The server's clock less ours, half a round trip taken off; `None` when it sends no time.
    pub clock_skew_ns: Option<i64>,
    /// TCP handshake.
    pub connect_time: Duration,
    /// The NEGOTIATE exchange.
    pub round_trip: Duration,
    /// The outcome of the 3.0.2 probe: capabilities, or the status it was refused with.
    pub at_3_0_2: Option<Result<Capabilities, NtStatus>>,
    /// The server's NICs as it lists them.
    pub interfaces: Vec<Interface>,
    /// Records left out because their address family is unknown.
    pub unknown_families: u32,
    /// What the list was obtained by; `None` when it was not.
    pub obtained_by: Option<AskedBy>,
    /// Every way tried.
    pub attempts: Vec<Attempt>,
}

impl ServerReport {
    /// The server offers Multichannel.
    pub fn multichannel(&self) -> bool {
        self.capabilities.has(Capabilities::MULTI_CHANNEL)
    }

    /// The GUID in the usual spelling (first three groups are little-endian on the wire).
    pub fn guid_text(&self) -> String {
        let g = &self.server_guid;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!(
            "{:08x}-{:04x}-{:04x}-{}-{}",
            u32::from_le_bytes([g[0], g[1], g[2], g[3]]),
            u16::from_le_bytes([g[4], g[5]]),
            u16::from_le_bytes([g[6], g[7]]),
            hex(&g[8..10]),
            hex(&g[10..]),
        )
    }
}

/// Ask a server all there is to ask. Errors only when not even NEGOTIATE succeeds; whatever fails
/// later is told in [`ServerReport::attempts`].
pub fn ask(question: &Question) -> Result<ServerReport, SmbError> {
    let (first, answer, round_trip) = open(question, &Dialect::ALL, false)?;
    let mut report = ServerReport {
        address: question.address,
        dialect: answer.dialect,
        capabilities: answer.capabilities,
        signing_required: answer.signing_required,
        signing: answer.signing,
        cipher: answer.cipher,
        encryption_required: None,
        rdma_transforms: (answer.dialect == Dialect::V3_1_1).then_some(answer.rdma_transforms),
        max_read_bytes: answer.max_read_bytes,
        max_write_bytes: answer.max_write_bytes,
        max_transact_bytes: answer.max_transact_bytes,
        server_guid: answer.server_guid,
        clock_skew_ns: clock_skew_ns(answer.system_time, filetime_now(), round_trip),
        connect_time: first.pipe().connect_time,
        round_trip,
        at_3_0_2: None,
        interfaces: Vec::new(),
        unknown_families: 0,
        obtained_by: None,
        attempts: Vec::new(),
    };
    let mut first = Some(first);
    for &way in &question.ways {
        // Only the first way uses this connection, and no server need hold two of ours open.
        let fresh = first.take();
        let result = match (way, &question.identity) {
            (AskedBy::Sessionless, _) => without_session(question, fresh),
            (AskedBy::Anonymous, _) if report.obtained_by.is_some() => continue,
            (AskedBy::Anonymous, _) => with_session(question, None, &mut report.encryption_required),
            (AskedBy::Credentials, None) => continue,
            (AskedBy::Credentials, some) => {
                with_session(question, some.as_ref(), &mut report.encryption_required)
            }
        };
        let outcome = match result {
            // The first answer stands: it is what every client gets.
            Ok(_) if report.obtained_by.is_some() => AttemptOutcome::Answered,
            Ok(list) => {
                report.interfaces = list.interfaces;
                report.unknown_families = list.unknown_families;
                report.obtained_by = Some(way);
                AttemptOutcome::Answered
            }
            Err(outcome) => outcome,
        };
        report.attempts.push(Attempt { way, outcome });
        // With an account at hand it is also learned whether the server demands encryption, which only a logon shows.
        let left_to_learn = question.identity.is_some() && report.encryption_required.is_none();
        if report.obtained_by.is_some() && !left_to_learn {
            break;
        }
    }
    drop(first);
    if report.dialect == Dialect::V3_1_1 {
        report.at_3_0_2 = match open(question, &[Dialect::V3_0_2], false) {
            Ok((_, older, _)) => Some(Ok(older.capabilities)),
            Err(SmbError::Refused { status, .. }) => Some(Err(status)),
            // The main answer stands; a second connection that breaks only leaves a gap.
            Err(_) => None,
        };
        if let Some(Ok(older)) = report.at_3_0_2 {
            report.capabilities.0 |= older.0;
        }
    }
    Ok(report)
}

fn open(
    question: &Question,
    dialects: &[Dialect],
    for_session: bool,
) -> Result<(Connection, NegotiateResponse, Duration), SmbError> {
    let mut connection =
        Connection::open(question.address, question.timeout, Sizes::QUESTIONS, &question.clock)?;
    let request = NegotiateRequest {
        dialects,
        client_guid: random()?,
        salt: random()?,
        server_name: &question.name,
        for_session,
    };
    let (answer, round_trip) = connection.negotiate(&request)?;
    Ok((connection, answer, round_trip))
}

fn without_session(question: &Question, fresh: Option<Connection>) -> Result<InterfaceList, AttemptOutcome> {
    match fresh {
        Some(mut connection) => query(&mut connection),
        None => query(&mut open(question, &Dialect::ALL, false)?.0),
    }
}

/// Put the interface query on a connection as it stands.
fn query(connection: &mut Connection) -> Result<InterfaceList, AttemptOutcome> {
    connection.logging_on = false;
    let reply = connection.exchange(Command::Ioctl, &interfaces::encode_query())?;
    match reply.header.status {
        NtStatus::SUCCESS => {
            let list = interfaces::decode_answer(connection.message());
            Ok(list.map_err(|source| connection.wire("the interface query", source))?)
        }
        status => Err(AttemptOutcome::Refused(status)),
    }
}

/// Log on over a new connection, attach to IPC$ and put the query there.
fn with_session(
    question: &Question,
    identity: Option<&Identity>,
    encryption_required: &mut Option<bool>,
) -> Result<InterfaceList, AttemptOutcome> {
    let (mut connection, answer, _) = open(question, &Dialect::ALL, true)?;
    let logged_on = log_on(&mut connection, &answer, identity, Logon::new())?;
    if identity.is_some() {
        *encryption_required = Some(logged_on.encryption_required);
    }
    if logged_on.encryption_required {
        *encryption_required = Some(true);
        if connection.sealer.is_none() {
            return Err(AttemptOutcome::NeedsEncryption);
        }
        connection.protection = Protection::Sealed;
    } else if connection.signer.is_some() {
        connection.protection = Protection::Signed;
    }
    if identity.is_some() && logged_on.guest {
        return Err(AttemptOutcome::OnlyGuest);
    }
    let path = format!("\\\\{}\\IPC$", question.name);
    let reply = connection.exchange(Command::TreeConnect, &session::encode_tree_connect(&path))?;
    if reply.header.status != NtStatus::SUCCESS {
        return Err(AttemptOutcome::Refused(reply.header.status));
    }
    connection.tree_id = reply.header.tree_id;
    query(&mut connection)
}

impl From<SmbError> for AttemptOutcome {
    fn from(error: SmbError) -> Self {
        match error {
            SmbError::LogonRefused { status, .. } => Self::LogonRefused(status),
            SmbError::OnlyGuest { .. } => Self::OnlyGuest,
            SmbError::NeedsEncryption { .. } => Self::NeedsEncryption,
            error => Self::Failed(error),
        }
    }
}

/// The server stamped its answer about half a round trip before we read it.
fn clock_skew_ns(server: u64, now: u64, round_trip: Duration) -> Option<i64> {
    if server == 0 {
        return None;
    }
    let when_stamped = i128::from(now) * 100 - round_trip.as_nanos() as i128 / 2;
    i64::try_from(i128::from(server) * 100 - when_stamped).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::FILETIME_OF_UNIX_EPOCH;

    #[test]
    fn skew_takes_half_the_round_trip_off() {
        let now = FILETIME_OF_UNIX_EPOCH + 10_000_000;
        assert_eq!(clock_skew_ns(0, now, Duration::ZERO), None);
        assert_eq!(clock_skew_ns(now, now, Duration::ZERO), Some(0));
        assert_eq!(clock_skew_ns(now, now, Duration::from_micros(10)), Some(5_000));
        assert_eq!(clock_skew_ns(now - 10_000_000, now, Duration::ZERO), Some(-1_000_000_000));
        assert_eq!(clock_skew_ns(u64::MAX, now, Duration::ZERO), None, "no overflow on nonsense");
    }
}
