//! One connection to a server as a dialogue over any pipe: requests go out, several at a time, and whole answers come in,
//! decrypted, their signatures checked.
//!
//! It owns no socket and allocates nothing once it is made. Every request has a deadline that a server cannot stretch by dripping bytes or by saying
//! that it works on it; a server may send only so much that nobody asked for. It refuses to retry anything: whether a second
//! attempt is harmless is for the caller to know.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use pathproof_api::{Arrival, Clock, LaneStats, MessagePipe, Queued, Tick, TransportError, Wait};
use pathproof_sys::clock::RealClock;

use crate::crypto::{PreauthHash, Signer};
use crate::direct_tcp::DirectTcp;
use crate::error::{SmbError, WireError};
use crate::flight::{Asked, Flight};
use crate::negotiate::{Dialect, NegotiateRequest, NegotiateResponse};
use crate::seal::{Sealer, TRANSFORM_BYTES};
use crate::status::NtStatus;
use crate::wire::{Command, HEADER_BYTES, Header, MAX_MESSAGE_BYTES};

mod compound;
mod incoming;

use incoming::Part;

pub use compound::{Kin, Told};

/// Room of a message for what is not file data.
const OVERHEAD_BYTES: usize = 4096;

/// How requests are protected from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    Open,
    /// By the connection's signer.
    Signed,
    /// By its sealer.
    Sealed,
}

/// What a connection is made for.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Largest piece of a file in one message, in bytes.
    pub data_bytes: usize,
    /// Requests under way at once.
    pub depth: usize,
}

impl Sizes {
    /// One question at a time.
    pub const QUESTIONS: Sizes = Sizes { data_bytes: 0, depth: 1 };

    /// Longest message to the server, and from it.
    pub fn message_bytes(&self) -> (usize, usize) {
        let data = self.data_bytes + OVERHEAD_BYTES;
        (data.max(MAX_MESSAGE_BYTES), data.max(MAX_MESSAGE_BYTES))
    }
}

/// What a request says.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked.
    pub command: Command,
    /// The body before any data.
    pub body: &'a [u8],
    /// Data that follows it.
    pub data: &'a [u8],
    /// Bytes that it moves, one way or the other; they decide what it costs.
    pub moves_bytes: u64,
    /// Further flags of the header.
    pub flags: u32,
    /// Whatever the caller knows it by.
    pub tag: u64,
}

impl<'a> Request<'a> {
    /// One that moves no data to speak of.
    pub fn small(command: Command, body: &'a [u8]) -> Self {
        Request { command, body, data: &[], moves_bytes: 0, flags: 0, tag: 0 }
    }
}

/// What became of a request that was to go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Went {
    /// It is on its way.
    Out,
    /// There are no credits, or no room, now: take an answer first.
    NotNow,
}

/// An answer; its bytes are [`Connection::message`] until the next one.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Its header.
    pub header: Header,
    /// What it answers.
    pub asked: Asked,
    /// When it was whole.
    pub at: Tick,
    /// It came encrypted, with a key of the session.
    pub is_sealed: bool,
    /// What the pipe knows of it.
    pub arrival: Arrival,
}

impl Answer {
    /// From the request's way out to the last byte of the answer.
    pub fn elapsed(&self) -> Duration {
        self.at.since(self.asked.sent)
    }
}

/// A connection with whatever session and tree it has got so far.
pub struct Connection<P = DirectTcp> {
    pipe: P,
    clock: RealClock,
    address: SocketAddr,
    timeout: Duration,
    flight: Flight,
    /// The message that came last, and where in it the last answer lies.
    incoming: Vec<u8>,
    here: Range<usize>,
    /// The next answer in it, of a compound.
    rest: Option<Part>,
    /// The server does not take compounds as they are meant: requests go one by one.
    asks_apart: bool,
    /// Where messages are made that are signed or encrypted, behind room for the transform header.
    outgoing: Vec<u8>,
    unrelated: usize,
    /// Since when a request could not be handed over although nothing was under way.
    stuck_since: Option<Tick>,
    /// The session, 0 before any.
    pub session_id: u64,
    /// The share, 0 before any.
    pub tree_id: u32,
    /// Channels of the session that were lost so far.
    pub channel_sequence: u16,
    /// How requests are protected.
    pub protection: Protection,
    /// Signs requests and checks answers.
    pub signer: Option<Signer>,
    /// Encrypts requests and decrypts answers.
    pub sealer: Option<Sealer>,
    /// While a logon is under way: its messages are hashed, and its answers are checked by who logs on.
    pub logging_on: bool,
    /// Everything said before the logon was accepted.
    pub preauth: PreauthHash,
}

impl Connection<DirectTcp> {
    /// Connects by TCP.
    pub fn open(
        address: SocketAddr,
        timeout: Duration,
        sizes: Sizes,
        clock: &RealClock,
    ) -> Result<Self, SmbError> {
        let pipe = DirectTcp::connect(address, timeout, sizes.message_bytes(), clock)?;
        Ok(Self::over(pipe, address, timeout, sizes, clock))
    }
}

impl<P: MessagePipe> Connection<P> {
    /// A dialogue over a pipe that stands.
    pub fn over(pipe: P, address: SocketAddr, timeout: Duration, sizes: Sizes, clock: &RealClock) -> Self {
        let (send_bytes_max, receive_bytes_max) = sizes.message_bytes();
        // Enough for every request that may be under way, and one to spare for what is no file data.
        let wanted =
            (sizes.depth as u32 + 1).saturating_mul(u32::from(Flight::charge(sizes.data_bytes as u64)));
        Self {
            pipe,
            clock: clock.clone(),
            address,
            timeout,
            flight: Flight::new(sizes.depth, wanted.max(16)),
            incoming: Vec::with_capacity(receive_bytes_max),
            here: 0..0,
            rest: None,
            asks_apart: false,
            outgoing: Vec::with_capacity(send_bytes_max + TRANSFORM_BYTES),
            unrelated: 0,
            stuck_since: None,
            session_id: 0,
            tree_id: 0,
            channel_sequence: 0,
            protection: Protection::Open,
            signer: None,
            sealer: None,
            logging_on: true,
            preauth: PreauthHash::default(),
        }
    }

    /// Whom this connection talks to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it goes over.
    pub fn pipe(&self) -> &P {
        &self.pipe
    }

    /// What it went over, without the dialogue.
    pub fn into_pipe(self) -> P {
        self.pipe
    }

    /// What it goes over, to give the server memory.
    pub fn pipe_mut(&mut self) -> &mut P {
        &mut self.pipe
    }

    /// Longest time that any request waits.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Requests wait so long from now on.
    pub fn wait_for(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The last answer, header included.
    pub fn message(&self) -> &[u8] {
        self.incoming.get(self.here.clone()).unwrap_or_default()
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.flight.len()
    }

    /// Waits for the answers to what is under way, at most so long; they are lost. Before a file is closed: ksmbd of Linux 6.12 can take its whole
    /// kernel down where a file is closed under the requests that use it.
    pub fn settle(&mut self, within: Duration) {
        let until = self.clock.now() + within;
        while !self.flight.is_empty() {
            let left = until.since(self.clock.now());
            if left.is_zero() || self.answer(Wait::AtMost(left)).is_err() {
                return;
            }
        }
    }

    /// Ends the connection and says what is known of it.
    pub fn close(self) -> LaneStats
    where
        P: 'static,
    {
        Box::new(self.pipe).close()
    }

    /// The first exchange of a connection, and its only NEGOTIATE.
    pub fn negotiate(
        &mut self,
        request: &NegotiateRequest<'_>,
    ) -> Result<(NegotiateResponse, Duration), SmbError> {
        let reply = self.exchange(Command::Negotiate, &request.encode())?;
        self.expect_success(&reply)?;
        let answer =
            NegotiateResponse::decode(self.message()).map_err(|source| self.wire("NEGOTIATE", source))?;
        if !request.dialects.contains(&answer.dialect) {
            let why = if Dialect::ALL.contains(&answer.dialect) {
                "it chooses a dialect that was not offered"
            } else {
                "it chooses an unknown dialect"
            };
            return Err(self.wire("NEGOTIATE", WireError::Malformed { what: "NEGOTIATE answer", why }));
        }
        self.hash_answer();
        Ok((answer, reply.elapsed()))
    }

    /// Takes the last answer into the hash over the logon.
    pub fn hash_answer(&mut self) {
        let message = self.incoming.get(self.here.clone()).unwrap_or_default();
        self.preauth.update(message);
    }

    /// Whether the last answer carries the right signature of `signer`.
    pub fn is_signed_by(&mut self, signer: &Signer) -> bool {
        self.incoming.get_mut(self.here.clone()).is_some_and(|message| signer.verify(message))
    }

    /// Sends one request and waits for the answer to it, whatever its status. Answers to requests that went before are lost.
    pub fn exchange(&mut self, command: Command, body: &[u8]) -> Result<Answer, SmbError> {
        self.exchange_one(&Request::small(command, body))
    }

    /// The same of a request that moves data.
    pub fn exchange_one(&mut self, request: &Request<'_>) -> Result<Answer, SmbError> {
        let stage = request.command.name();
        loop {
            let id = self.flight.next_id();
            if self.submit(request)? == Went::NotNow {
                self.answer(Wait::AtMost(self.timeout))?;
                continue;
            }
            loop {
                match self.answer(Wait::AtMost(self.timeout))? {
                    Some(answer) if answer.asked.message_id == id => return Ok(answer),
                    Some(_) => {}
                    None if self.flight.is_empty() => return Err(self.too_late(stage)),
                    None => {}
                }
            }
        }
    }

    /// Sends one request, if it can go now.
    pub fn submit(&mut self, request: &Request<'_>) -> Result<Went, SmbError> {
        let stage = request.command.name();
        let charge = Flight::charge(request.moves_bytes);
        if !self.flight.affords(charge) {
            return match self.flight.is_empty() {
                true => Err(SmbError::NoCredits {
                    address: self.address,
                    stage,
                    needed: charge,
                    there: self.flight.credits(),
                }),
                false => Ok(Went::NotNow),
            };
        }
        let head = self.header(request.command, charge, request.flags, self.flight.next_id()).encode_head();
        let sent = self.clock.now();
        let (queued, is_copied) = match (self.protection, &self.signer, &mut self.sealer) {
            (Protection::Sealed, _, Some(sealer)) => {
                self.outgoing.clear();
                self.outgoing.resize(TRANSFORM_BYTES, 0);
                for part in [&head[..], request.body, request.data] {
                    self.outgoing.extend_from_slice(part);
                }
                sealer.seal(&mut self.outgoing);
                (self.pipe.send(&[&self.outgoing], None), true)
            }
            (Protection::Signed, Some(signer), _) => {
                self.outgoing.clear();
                for part in [&head[..], request.body, request.data] {
                    self.outgoing.extend_from_slice(part);
                }
                signer.sign(&mut self.outgoing);
                (self.pipe.send(&[&self.outgoing], None), true)
            }
            _ => (self.pipe.send(&[&head, request.body, request.data], None), false),
        };
        match queued.map_err(|error| self.broken(stage, error))? {
            // An answer that is under way is waited for anyway.
            Queued::Full if !self.flight.is_empty() => Ok(Went::NotNow),
            Queued::Full => self.wait_for_room(stage).map(|()| Went::NotNow),
            Queued::Yes => {
                // Once, and only what went: one that finds no room is handed over again.
                match (self.logging_on, is_copied) {
                    (true, true) => self.preauth.update(&self.outgoing),
                    (true, false) => self.preauth.update(&[&head, request.body].concat()),
                    (false, _) => {}
                }
                self.stuck_since = None;
                self.flight.went(request.command, charge, request.tag, sent);
                Ok(Went::Out)
            }
        }
    }

    fn header(&self, command: Command, charge: u16, flags: u32, message_id: u64) -> Header {
        Header {
            // The old dialects know no charge but 0.
            charge: if charge == 1 { 0 } else { charge },
            status: NtStatus(u32::from(self.channel_sequence)),
            credits: self.flight.asks_for(charge),
            flags,
            tree_id: self.tree_id,
            session_id: self.session_id,
            ..Header::request(command, message_id)
        }
    }

    /// A server can answer what it has not taken whole, and take nothing more: then nothing is under way that a deadline would belong
    /// to, and yet nothing can go out. It has as long as it has for an answer.
    fn wait_for_room(&mut self, stage: &'static str) -> Result<(), SmbError> {
        let now = self.clock.now();
        let since = *self.stuck_since.get_or_insert(now);
        let left = self.timeout.saturating_sub(now.since(since));
        if left.is_zero() {
            return Err(self.too_late(stage));
        }
        // Nothing is under way that the rest of a message could answer.
        self.rest = None;
        let came = self.pipe.poll(&mut self.incoming, Wait::AtMost(left));
        if let Some(arrival) = came.map_err(|error| self.broken(stage, error))? {
            self.take(stage, arrival)?;
        }
        Ok(())
    }

    /// The next answer, whichever request it is to. `None`: none came in that time, or nothing is under way.
    pub fn answer(&mut self, wait: Wait) -> Result<Option<Answer>, SmbError> {
        let until = match wait {
            Wait::No => None,
            Wait::AtMost(within) => Some(self.clock.now() + within),
        };
        loop {
            let Some(oldest) = self.flight.oldest() else {
                self.rest = None;
                return Ok(None);
            };
            let stage = oldest.command.name();
            if let Some(rest) = self.rest.take() {
                let Some(answer) = self.part(stage, rest)? else { continue };
                return Ok(Some(answer));
            }
            let now = self.clock.now();
            let patience = self.flight.patience(now, self.timeout).unwrap_or_default();
            let left = until.map_or(Duration::ZERO, |until| until.since(now));
            let wait = match left.min(patience) {
                Duration::ZERO => Wait::No,
                some => Wait::AtMost(some),
            };
            let came = self.pipe.poll(&mut self.incoming, wait).map_err(|error| self.broken(stage, error))?;
            let Some(arrival) = came else {
                let now = self.clock.now();
                if self.flight.patience(now, self.timeout).is_some_and(|patience| patience.is_zero()) {
                    return Err(self.too_late(stage));
                }
                if until.is_none_or(|until| now >= until) {
                    return Ok(None);
                }
                continue;
            };
            if let Some(answer) = self.take(stage, arrival)? {
                return Ok(Some(answer));
            }
            // However much a server says, what it was asked must be answered in time.
            if self.flight.patience(self.clock.now(), self.timeout).is_some_and(|patience| patience.is_zero())
            {
                return Err(self.too_late(stage));
            }
        }
    }

    /// Turns a status other than success into an error.
    pub fn expect_success(&self, answer: &Answer) -> Result<(), SmbError> {
        match answer.header.status {
            NtStatus::SUCCESS => Ok(()),
            status => Err(self.refused(answer.asked.command.name(), status)),
        }
    }

    /// A status as an error.
    pub fn refused(&self, stage: &'static str, status: NtStatus) -> SmbError {
        SmbError::Refused { address: self.address, stage, status }
    }

    /// Label a decoding failure with whom and what.
    pub fn wire(&self, stage: &'static str, source: WireError) -> SmbError {
        SmbError::Wire { address: self.address, stage, source }
    }

    /// Whether the server can reach memory of this end (RDMA).
    fn reaches_memory(&self) -> bool {
        self.pipe.limits().one_sided_bytes_max.is_some()
    }

    fn too_late(&self, stage: &'static str) -> SmbError {
        let (address, waited) = (self.address, self.timeout);
        match self.pipe.unfinished() {
            Some(missing) => {
                let header_only = missing == TRANSFORM_BYTES as u64;
                SmbError::Unfinished { address, stage, missing, header_only, waited }
            }
            None if self.protection == Protection::Sealed && self.reaches_memory() => {
                SmbError::SilentSealed { address, stage, waited }
            }
            None => SmbError::Deadline { address, stage, waited },
        }
    }

    fn broken(&self, stage: &'static str, error: TransportError) -> SmbError {
        match (&error, stage) {
            (TransportError::Timeout { .. }, _) => self.too_late(stage),
            // A wire that breaks says so as it likes; what matters is who was at work.
            (TransportError::PeerGone { .. } | TransportError::Io { .. }, "READ" | "WRITE")
                if self.reaches_memory() =>
            {
                let said = match error {
                    TransportError::Io { source, .. } => Some(source.to_string()),
                    _ => None,
                };
                SmbError::ClosedMoving { address: self.address, stage, said }
            }
            _ => SmbError::of_pipe(self.address, stage, self.timeout, error),
        }
    }
}

/// The length that a message of the session may have at most: header, body, and what is left for data.
const _: () = assert!(OVERHEAD_BYTES > TRANSFORM_BYTES + HEADER_BYTES + 256);
