//! One SMB Direct connection over a wire: places for messages, the negotiation, fragments out and in, and the four timers
//! (negotiation, a message that never becomes whole, a wire that takes nothing, a silent peer).
//!
//! It moves only in [`Connection::turn`], and allocates nothing once it is made. A fragment keeps its receive until it is
//! released, so a caller that takes nothing is felt by the peer as a lack of credits and by nobody as a lack of memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Clock, CompletionStatus, Invalidated, LaneStats, Pages, Piece, PreparedWire, Region, Role, Tick,
    TransportError, Wait, Wire, WireDone, WireOp, WireVerb,
};

use crate::codec::{
    DataHeader, EMPTY_BYTES, Fault, NEGOTIATE_REQUEST_BYTES, NEGOTIATE_RESPONSE_BYTES, NegotiateRequest,
    NegotiateResponse, PAYLOAD_OFFSET, RESPONSE_REQUESTED,
};
use crate::credits::Credits;
use crate::keep_alive::KeepAlive;
use crate::progress::Progress;
use crate::reassembly::Reassembly;
use crate::settings::{Agreed, Settings};

mod memory;
mod timers;

pub use memory::Places;

/// Within what time a message that has begun must be whole.
pub const WHOLE_WITHIN: Duration = Duration::from_secs(15);
/// How long the acceptor waits for a request (3.1.6), and the initiator, which need not wait two minutes, for its answer.
pub const NEGOTIATION: Duration = Duration::from_secs(5);
/// After what silence the initiator nudges an iWARP peer that owes the answer.
///
/// Soft-iWARP sends its word that the connection stands before it listens to the connection's TCP socket (`siw_accept` of Linux:
/// `siw_send_mpareqrep`, then `siw_qp_socket_assoc`). A request that arrives between the two lies there unread until anything
/// else arrives, and here nothing else would. A write of no bytes is something else, and nothing to the peer's program: its
/// address and key are not looked at (RFC 5040; siw).
pub const NUDGE_AFTER: Duration = Duration::from_secs(1);
/// Completions taken from the wire at once.
const BATCH: usize = 64;
/// Marks the tags of receives and of messages; all others are the caller's own operations.
const RECEIVE: u64 = 1 << 63;
const MESSAGE: u64 = 1 << 62;
/// The tag of a write of nothing: both marks, which no other has.
const NUDGE: u64 = RECEIVE | MESSAGE;
/// The tag of what opens a loan.
const BIND: u64 = NUDGE | 1;

/// A fragment that has come, with its payload still in its receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which receive; for [`Connection::release`].
    pub receive: u32,
    /// Where its payload lies in [`Connection::memory`].
    pub offset: u64,
    /// Bytes of payload.
    pub bytes: u32,
    /// Bytes of the same message that follow.
    pub remaining: u32,
    /// The first of its message.
    pub first: bool,
    /// What is known of a key that it ended.
    pub invalidated: Invalidated,
}

/// The end of something that was handed over with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The token.
    pub token: u64,
    /// How it ended.
    pub status: CompletionStatus,
}

/// What a connection counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Fragments with payload, sent.
    pub fragments_sent: u64,
    /// Fragments with payload, received.
    pub fragments_received: u64,
    /// Messages without payload, sent for a grant or an answer.
    pub empty_sent: u64,
    /// Messages without payload, received.
    pub empty_received: u64,
    /// Payload sent, in bytes.
    pub payload_sent_bytes: u64,
    /// Payload received, in bytes.
    pub payload_received_bytes: u64,
    /// Received fragments that are reported to have ended a key.
    pub invalidations_reported: u64,
}

enum Phase {
    /// The acceptor waits for the request.
    AwaitsRequest,
    /// The initiator waits for the response.
    AwaitsResponse,
    Open(Agreed),
}

/// A connection, negotiating or open.
pub struct Connection {
    wire: Box<dyn Wire>,
    clock: Arc<dyn Clock>,
    /// When the last turn had its completions: the clock is read once for all of them, and not once more for each.
    now: Tick,
    settings: Settings,
    phase: Phase,
    began: Tick,
    places: Places,
    credits: Credits,
    reassembly: Reassembly,
    alive: KeepAlive,
    progress: Progress,
    /// An answer to the peer's question is owed.
    owes_answer: bool,
    /// The peer, which was silent, was nudged.
    nudged: bool,
    batch: VecDeque<WireOp>,
    done: Vec<WireDone>,
    arrived: VecDeque<Fragment>,
    finished: VecDeque<Finished>,
    counts: Counts,
}

impl Connection {
    /// Connects by `prepared` and begins to negotiate: the dialling end is the initiator. `moves` are operations of the
    /// caller's own ([`Connection::operate`]) at once, for which the wire has been prepared beside [`Places::SENDS`].
    pub fn start(
        mut prepared: Box<dyn PreparedWire>,
        role: Role,
        peer: Option<std::net::SocketAddr>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        deadline: Duration,
        moves: usize,
    ) -> Result<Connection, TransportError> {
        let settings = settings.checked().map_err(TransportError::invalid)?;
        let region = Arc::new(
            Region::new(Places::bytes(&settings), Pages::Default)
                .map_err(|error| TransportError::invalid(error.to_string()))?,
        );
        let places = Places::new(region.clone(), prepared.expose(&region, Access::Local)?.id, &settings);
        let receives: Vec<WireOp> =
            (0..u32::from(settings.receive_credits)).map(|at| receive(&places, at)).collect();
        let began = clock.now();
        let wire = prepared.connect(peer, &receives, deadline)?;
        let now = clock.now();
        let count = usize::from(settings.receive_credits);
        let mut connection = Connection {
            wire,
            settings,
            phase: Phase::AwaitsRequest,
            began: now.max(began),
            places,
            // Nothing may be sent, and nothing is granted, before the negotiation.
            credits: Credits::new(0, settings.send_credits, 0, 1, 0, now),
            reassembly: Reassembly::default(),
            alive: KeepAlive::new(now),
            progress: Progress::default(),
            owes_answer: false,
            nudged: false,
            batch: VecDeque::with_capacity(count + Places::SENDS + moves),
            done: Vec::with_capacity(BATCH),
            arrived: VecDeque::with_capacity(count),
            finished: VecDeque::with_capacity(Places::SENDS + moves),
            counts: Counts::default(),
            clock,
            now,
        };
        if role == Role::Dial {
            connection.phase = Phase::AwaitsResponse;
            connection.send_raw(&settings.request().encode())?;
        }
        Ok(connection)
    }

    /// What was negotiated, once it was.
    pub fn agreed(&self) -> Option<&Agreed> {
        match &self.phase {
            Phase::Open(agreed) => Some(agreed),
            _ => None,
        }
    }

    /// Turns until it is negotiated.
    pub fn negotiated(&mut self) -> Result<Agreed, TransportError> {
        loop {
            if let Phase::Open(agreed) = &self.phase {
                return Ok(*agreed);
            }
            self.turn(Wait::AtMost(NEGOTIATION))?;
        }
    }

    /// The wire below.
    pub fn wire(&self) -> &dyn Wire {
        self.wire.as_ref()
    }

    /// The clock that its timers go by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The present moment by that clock.
    pub fn read_clock(&self) -> Tick {
        self.clock.now()
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Bytes that are still announced of a message that has begun.
    pub fn unfinished(&self) -> Option<u64> {
        self.reassembly.unfinished().map(|(_, missing)| u64::from(missing))
    }

    /// Where the payload of fragments lies.
    pub fn memory(&self) -> &Region {
        &self.places.region
    }

    /// Largest reassembled message that this end takes, in bytes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a fragment may be sent now.
    pub fn may_send(&self) -> bool {
        matches!(self.phase, Phase::Open(_)) && self.credits.may_send() && self.places.has_idle()
    }

    /// Sends one fragment: `head`, which is copied, and `body`, which stays where it is until `token` comes back finished.
    /// Only after [`Connection::may_send`], and no longer than agreed. `invalidate` ends a key of the peer.
    pub fn send_fragment(
        &mut self,
        head: &[u8],
        body: Piece,
        remaining: u32,
        token: Option<u64>,
        invalidate: Option<u32>,
    ) -> Result<(), TransportError> {
        let payload = head.len() as u32 + body.len;
        self.counts.fragments_sent += 1;
        self.counts.payload_sent_bytes += u64::from(payload);
        self.message(DataHeader::fragment(payload, remaining), head, body, token, invalidate)
    }

    fn message(
        &mut self,
        mut header: DataHeader,
        head: &[u8],
        body: Piece,
        token: Option<u64>,
        invalidate: Option<u32>,
    ) -> Result<(), TransportError> {
        let Some(at) = self.places.take(token) else {
            return Err(TransportError::invalid("there is no place for another message"));
        };
        (header.credits_requested, header.credits_granted) = self.credits.spend();
        if self.alive.asks() {
            header.flags |= RESPONSE_REQUESTED;
        }
        self.owes_answer = false;
        let (bytes, length) = header.encode();
        let offset = self.places.send_offset(at);
        self.places.put(offset, &bytes[..length])?;
        self.places.put(offset + length as u64, head)?;
        let head = Piece { region: self.places.id, offset, len: (length + head.len()) as u32 };
        let verb = invalidate.map_or(WireVerb::Send, |key| WireVerb::SendInvalidate { key });
        self.batch.push_back(WireOp { tag: MESSAGE | u64::from(at), verb, head, body });
        Ok(())
    }

    fn send_empty(&mut self) -> Result<(), TransportError> {
        self.counts.empty_sent += 1;
        self.message(DataHeader::default(), &[], Piece::default(), None, None)
    }

    /// A message of the negotiation, which takes no credit.
    fn send_raw(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let Some(at) = self.places.take(None) else { return Ok(()) };
        let offset = self.places.send_offset(at);
        self.places.put(offset, bytes)?;
        let head = Piece { region: self.places.id, offset, len: bytes.len() as u32 };
        self.batch.push_back(WireOp {
            tag: MESSAGE | u64::from(at),
            verb: WireVerb::Send,
            head,
            body: Piece::default(),
        });
        self.flush()
    }

    /// Queues a one-sided operation of the caller's own; its tag, below 2^62, comes back finished.
    pub fn operate(&mut self, op: WireOp) {
        self.batch.push_back(op);
    }

    /// Asks for the end of everything that was sent before, where a wire may tell it
    /// [with that of a later send](pathproof_api::WireSpec::told_together) and none will follow.
    pub fn ask_for_the_rest(&mut self) {
        self.write_nothing();
    }

    /// The oldest fragment that has come and was not taken.
    pub fn take_fragment(&mut self) -> Option<Fragment> {
        self.arrived.pop_front()
    }

    /// The oldest thing that has finished and was not told.
    pub fn take_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// Gives a fragment's receive back; its payload is gone.
    pub fn release(&mut self, fragment: &Fragment) {
        self.repost(fragment.receive, true);
    }

    fn repost(&mut self, at: u32, carried: bool) {
        self.batch.push_back(receive(&self.places, at));
        self.credits.reposted(carried, self.now);
    }

    /// The wire was asked to [tell so many sends together](pathproof_api::WireSpec::told_together): those are no silence.
    pub fn tells_together(&mut self, sends: u32) {
        self.progress.tells_together(sends);
    }

    /// Hands what is queued to the wire, as far as that takes it.
    pub fn flush(&mut self) -> Result<(), TransportError> {
        while !self.batch.is_empty() {
            let (front, _) = self.batch.as_slices();
            let taken = self.wire.submit(front)?;
            if taken == 0 {
                return Ok(());
            }
            let begun = front[..taken].iter().filter(|op| op.verb != WireVerb::Receive);
            let (count, largest) = begun.fold((0, 0), |(count, largest), op| {
                (count + 1, op.head.len.saturating_add(op.body.len).max(largest))
            });
            self.progress.began(count, largest, || self.clock.now());
            self.batch.drain(..taken);
        }
        Ok(())
    }

    /// Does what can be done: takes completions, waiting at most as `wait` says where there is nothing to be taken, and sends
    /// what is due. An error is the end of the connection.
    pub fn turn(&mut self, wait: Wait) -> Result<(), TransportError> {
        self.flush()?;
        let wait = match wait {
            Wait::AtMost(wait) if self.arrived.is_empty() && self.finished.is_empty() => {
                Wait::AtMost(wait.min(self.next_timer().since(self.clock.now())))
            }
            _ => Wait::No,
        };
        self.done.clear();
        if let Err(error) = self.wire.poll(&mut self.done, wait) {
            return Err(self.explain(error));
        }
        let ended = self.done.iter().filter(|done| !done.received).count() as u64;
        let ended = (!self.done.is_empty()).then_some(ended);
        self.now = self.clock.now();
        for at in 0..self.done.len() {
            let done = self.done[at];
            if matches!(done.tag, NUDGE | BIND) {
                // A peer that refuses the one ends the connection; `explain` knows. A device that cannot do the other ends it and says so.
            } else if done.tag & RECEIVE != 0 {
                self.received(&done)?;
            } else if done.tag & MESSAGE != 0 {
                if let Some(token) = self.places.give_back((done.tag & !MESSAGE) as u32) {
                    self.finished.push_back(Finished { token, status: done.status });
                }
            } else {
                self.finished.push_back(Finished { token: done.tag, status: done.status });
            }
        }
        self.timers(ended)?;
        self.flush()
    }

    fn received(&mut self, done: &WireDone) -> Result<(), TransportError> {
        let receive = (done.tag & !RECEIVE) as u32;
        if done.status != CompletionStatus::Ok {
            // The wire says in its own words what has happened, once these are collected.
            return Ok(());
        }
        let now = self.now;
        self.alive.heard(now);
        let offset = self.places.receive_offset(receive);
        let mut bytes = [0; NEGOTIATE_RESPONSE_BYTES];
        let have = (done.len as usize).min(bytes.len());
        self.places.get(offset, &mut bytes[..have])?;
        match self.phase {
            Phase::AwaitsRequest => {
                self.answer_request(receive, &bytes[..have.min(NEGOTIATE_REQUEST_BYTES)], now)
            }
            Phase::AwaitsResponse => {
                let agreed = self.settings.agreed(&bytes[..have]).map_err(|fault| self.broken(fault))?;
                self.batch.push_back(self::receive(&self.places, receive));
                self.open(agreed, 0, now);
                Ok(())
            }
            Phase::Open(_) => self.data(done, receive, &bytes[..have.min(PAYLOAD_OFFSET)], offset, now),
        }
    }

    fn answer_request(&mut self, receive: u32, bytes: &[u8], now: Tick) -> Result<(), TransportError> {
        match NegotiateRequest::decode(bytes) {
            Ok(request) => {
                self.batch.push_back(self::receive(&self.places, receive));
                let (response, agreed) = self.settings.answer(&request);
                self.open(agreed, response.credits_granted, now);
                self.send_raw(&response.encode())
            }
            Err(fault) => {
                if matches!(fault, Fault::Version { .. }) {
                    self.send_raw(&NegotiateResponse::refusal())?;
                    // The refusal must have left before the connection ends under it.
                    self.done.clear();
                    let _ = self.wire.poll(&mut self.done, Wait::AtMost(Duration::from_millis(100)));
                }
                Err(self.broken(fault))
            }
        }
    }

    fn open(&mut self, agreed: Agreed, told: u16, now: Tick) {
        let fresh = u32::from(self.settings.receive_credits) - u32::from(told);
        self.credits = Credits::new(
            agreed.send_credits,
            self.settings.send_credits,
            told,
            agreed.peer_wants,
            fresh,
            now,
        );
        self.phase = Phase::Open(agreed);
    }

    fn data(
        &mut self,
        done: &WireDone,
        receive: u32,
        bytes: &[u8],
        offset: u64,
        now: Tick,
    ) -> Result<(), TransportError> {
        // A receive has room for a little more than was agreed.
        if done.len > self.settings.receive_bytes {
            return Err(self.protocol("a message that is longer than our MaxReceiveSize"));
        }
        let header = DataHeader::decode(bytes, done.len as usize, self.settings.fragmented_bytes)
            .map_err(|fault| self.broken(fault))?;
        if !self.credits.received(header.credits_requested, header.credits_granted) {
            return Err(self.protocol("a message for which it had no credit"));
        }
        self.owes_answer |= header.flags & RESPONSE_REQUESTED != 0;
        if header.payload_bytes == 0 {
            self.counts.empty_received += 1;
            self.repost(receive, false);
            return Ok(());
        }
        let Some(part) = self.reassembly.take(&header, now) else {
            return Err(
                self.protocol("a fragment that does not continue what came before (RemainingDataLength)")
            );
        };
        self.counts.fragments_received += 1;
        self.counts.payload_received_bytes += u64::from(header.payload_bytes);
        self.counts.invalidations_reported += u64::from(done.invalidated != Invalidated::NotReported);
        self.arrived.push_back(Fragment {
            receive,
            offset: offset + u64::from(header.payload_offset),
            bytes: header.payload_bytes,
            remaining: header.remaining_bytes,
            first: part.first,
            invalidated: done.invalidated,
        });
        Ok(())
    }

    fn operation(&self) -> String {
        format!("SMB Direct with {}", self.wire.established().remote)
    }

    #[cold]
    pub(crate) fn protocol(&self, detail: impl Into<String>) -> TransportError {
        TransportError::Protocol { operation: self.operation(), detail: detail.into() }
    }

    #[cold]
    fn broken(&self, fault: Fault) -> TransportError {
        match fault {
            Fault::Refused(_) | Fault::Version { .. } => TransportError::Unsupported {
                what: self.operation(),
                why: fault.to_string(),
                fix: "check what the peer's SMB Direct allows".into(),
            },
            _ => self.protocol(fault.to_string()),
        }
    }

    #[cold]
    fn unanswered(&self, after: Duration) -> TransportError {
        TransportError::Timeout { operation: format!("negotiating {}", self.operation()), after }
    }

    /// What the wire says, and what it may mean while nothing was agreed.
    #[cold]
    fn explain(&self, error: TransportError) -> TransportError {
        match (error, &self.phase) {
            (_, Phase::AwaitsResponse) if self.nudged => self.unanswered(NUDGE_AFTER),
            (TransportError::PeerGone { how, detail, .. }, Phase::AwaitsResponse) => {
                TransportError::PeerGone {
                    operation: self.operation(),
                    how,
                    detail: format!(
                        "it dropped the connection instead of answering the negotiation: {detail}"
                    ),
                }
            }
            (error, _) => error,
        }
    }

    /// Ends the connection; what is queued is handed over first.
    pub fn close(mut self) -> LaneStats {
        let _ = self.flush();
        let counts = self.counts;
        let mut stats = self.wire.close();
        for (name, value) in [
            ("smbd_fragments_sent", counts.fragments_sent),
            ("smbd_fragments_received", counts.fragments_received),
            ("smbd_empty_sent", counts.empty_sent),
            ("smbd_empty_received", counts.empty_received),
            ("smbd_payload_sent_bytes", counts.payload_sent_bytes),
            ("smbd_payload_received_bytes", counts.payload_received_bytes),
        ] {
            stats.counters.insert(name.into(), value);
        }
        stats
    }
}

fn receive(places: &Places, at: u32) -> WireOp {
    let head = Piece { region: places.id, offset: places.receive_offset(at), len: places.receive_bytes() };
    WireOp { tag: RECEIVE | u64::from(at), verb: WireVerb::Receive, head, body: Piece::default() }
}

const _: () = assert!(EMPTY_BYTES < PAYLOAD_OFFSET && PAYLOAD_OFFSET < NEGOTIATE_RESPONSE_BYTES);
