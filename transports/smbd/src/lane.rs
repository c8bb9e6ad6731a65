//! A lane over SMB Direct: messages up to a threshold are sent, larger ones are fetched by the receiver by their buffer
//! descriptor, and one-sided verbs go to the peer's memory as they are.
//!
//! Operations of the sending side are begun in the order submitted, so that a message behind a write proves that the write
//! is in place. Between connect and close nothing is allocated.

use std::collections::VecDeque;

use pathproof_api::{
    Completion, CompletionStatus, Exposed, Gone, Lane, LaneCaps, LaneSample, LaneStats, Op, Piece, Region,
    SendReports, TransportError, Verb, Wait,
};
use std::sync::Arc;
use std::time::Duration;

use crate::codec::BufferDescriptor;
use crate::connection::{Connection, Finished, Fragment};
use crate::settings::Agreed;

pub mod frame;
mod incoming;
pub mod offer;
mod outgoing;
pub mod transport;

use offer::Window;

/// Largest message that is sent; larger ones are fetched. Windows and Linux move what is larger by RDMA, too.
pub const SENT_BYTES_MAX: u32 = 4096;
/// Marks the tokens of fetches; the rest counts receives. All others count operations of the sending side.
const FETCH: u64 = 1 << 61;
/// What `close` waits for what is still under way.
const DRAIN: Duration = Duration::from_secs(2);

/// What a lane is made of.
pub struct Parts {
    /// Its connection, negotiated.
    pub connection: Connection,
    /// What was negotiated.
    pub agreed: Agreed,
    /// Its memory, in the order in which it was attached; all of it may be read by the peer.
    pub memory: Vec<(Arc<Region>, Exposed)>,
    /// The peer's memory that one-sided verbs may name.
    pub window: Window,
    /// What it can do.
    pub caps: LaneCaps,
    /// Operations of the sending side at once.
    pub depth: u32,
    /// Receives at once.
    pub receives: u32,
    /// When the end of a send is told.
    pub send_reports: SendReports,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    UnderWay,
    Done(CompletionStatus),
}

/// An operation that was accepted.
#[derive(Clone, Copy)]
struct Accepted {
    op: Op,
    state: State,
    /// Bytes of a receive.
    came: u32,
}

/// Operations of one side, oldest first, each with a number that counts them.
struct Ring {
    entries: VecDeque<Accepted>,
    first: u64,
    most: usize,
}

impl Ring {
    fn new(most: usize) -> Ring {
        Ring { entries: VecDeque::with_capacity(most), first: 0, most }
    }
    fn is_full(&self) -> bool {
        self.entries.len() >= self.most
    }
    fn push(&mut self, op: Op) {
        self.entries.push_back(Accepted { op, state: State::Waits, came: 0 });
    }
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
    fn at(&mut self, number: u64) -> Option<&mut Accepted> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
    /// The oldest, once it is done.
    fn pop_done(&mut self) -> Option<(Accepted, CompletionStatus)> {
        let State::Done(status) = self.entries.front()?.state else { return None };
        self.first += 1;
        self.entries.pop_front().map(|accepted| (accepted, status))
    }
}

/// A connected lane.
pub struct SmbdLane {
    connection: Connection,
    agreed: Agreed,
    memory: Vec<(Arc<Region>, Exposed)>,
    window: Window,
    caps: LaneCaps,
    sends: Ring,
    /// The operation that is begun next, and how much of its message has left.
    next: u64,
    next_sent: u32,
    /// Large messages that the peer has not fetched yet, and how many it has in all.
    offered: VecDeque<u64>,
    fetched_by_peer: u32,
    /// Messages sent that take a receive, and receives that the peer has told.
    used: u32,
    peer_receives: u32,
    receives: Ring,
    /// The receive that the next message takes.
    matched: u64,
    /// Receives and fetches that the peer was told of.
    told_receives: u64,
    fetched: u64,
    told_fetched: u64,
    /// The message that is coming in fragments: which receive, and how much is there.
    coming: Option<(u64, u32)>,
    scratch: Vec<u8>,
    sample: LaneSample,
    counts: Counts,
    send_reports: SendReports,
    ended: Option<Ended>,
}

/// Why the lane is over, for those who ask again.
struct Ended {
    how: Option<Gone>,
    words: String,
}

impl Ended {
    fn by(error: &TransportError) -> Ended {
        Ended { how: error.how(), words: error.to_string() }
    }
}

#[derive(Default)]
struct Counts {
    sent: u64,
    offered: u64,
    fetched: u64,
    news: u64,
}

impl SmbdLane {
    /// A lane made of `parts`.
    pub fn new(parts: Parts) -> SmbdLane {
        let scratch = vec![0; parts.connection.settings().receive_bytes as usize];
        SmbdLane {
            sends: Ring::new(parts.depth as usize),
            receives: Ring::new(parts.receives as usize),
            offered: VecDeque::with_capacity(parts.depth as usize),
            connection: parts.connection,
            agreed: parts.agreed,
            memory: parts.memory,
            window: parts.window,
            caps: parts.caps,
            next: 0,
            next_sent: 0,
            fetched_by_peer: 0,
            used: 0,
            peer_receives: 0,
            matched: 0,
            told_receives: 0,
            fetched: 0,
            told_fetched: 0,
            coming: None,
            scratch,
            sample: LaneSample::default(),
            counts: Counts::default(),
            send_reports: parts.send_reports,
            ended: None,
        }
    }

    /// The operation's own memory, if it lies inside an attached region.
    fn piece(&self, op: &Op) -> Option<Piece> {
        let (region, exposed) = self.memory.get(usize::from(op.region.0))?;
        region.check(op.offset, u64::from(op.len)).ok()?;
        Some(Piece { region: exposed.id, offset: op.offset, len: op.len })
    }

    fn check(&self, op: &Op) -> Result<(), TransportError> {
        if self.piece(op).is_none() {
            return Err(TransportError::invalid(format!(
                "bytes {}..+{} of region {} are not attached to this lane",
                op.offset, op.len, op.region.0
            )));
        }
        if op.len > self.caps.message_bytes_max {
            return Err(TransportError::invalid(format!(
                "{} bytes: a message of this lane has at most {}",
                op.len, self.caps.message_bytes_max
            )));
        }
        let allowed = match op.verb {
            Verb::Send | Verb::Recv => return Ok(()),
            Verb::Write => self.window.writable,
            Verb::Read => self.window.readable,
            verb => {
                return Err(TransportError::invalid(format!("{verb:?} is not a verb of SMB Direct lanes")));
            }
        };
        if !allowed {
            return Err(TransportError::invalid(format!("the peer exposes no memory for {:?}", op.verb)));
        }
        self.window.at(op.remote_offset, op.len).map(drop).ok_or_else(|| {
            TransportError::invalid(format!(
                "bytes {}..+{} lie outside the peer's region of {} bytes",
                op.remote_offset, op.len, self.window.bytes
            ))
        })
    }

    /// Does all that can be done without waiting.
    fn advance(&mut self) -> Result<(), TransportError> {
        loop {
            while let Some(finished) = self.connection.take_finished() {
                self.finish(finished);
            }
            let mut came = false;
            while let Some(fragment) = self.connection.take_fragment() {
                came = true;
                self.take(&fragment)?;
                self.connection.release(&fragment);
            }
            self.begin_operations()?;
            self.tell_news()?;
            self.connection.flush()?;
            if !came {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, finished: Finished) {
        if finished.token & FETCH != 0 {
            if let Some(accepted) = self.receives.at(finished.token & !FETCH) {
                accepted.state = State::Done(finished.status);
                self.fetched += 1;
                self.counts.fetched += 1;
            }
        } else if let Some(accepted) = self.sends.at(finished.token) {
            accepted.state = State::Done(finished.status);
        }
    }

    /// Moves what is done to `out`, as far as its spare capacity allows.
    fn report(&mut self, out: &mut Vec<Completion>) -> usize {
        let before = out.len();
        while out.len() < out.capacity() {
            let Some((accepted, status)) = self.receives.pop_done() else { break };
            let (op, len) = (accepted.op, accepted.came);
            self.sample.bytes_received += u64::from(len);
            out.push(Completion { tag: op.tag, verb: op.verb, len, immediate: None, status });
        }
        while out.len() < out.capacity() {
            let Some((Accepted { op, .. }, status)) = self.sends.pop_done() else { break };
            match (op.verb, status) {
                (_, CompletionStatus::Flushed | CompletionStatus::Failed(_)) => {}
                (Verb::Read, _) => self.sample.bytes_received += u64::from(op.len),
                _ => self.sample.bytes_sent += u64::from(op.len),
            }
            out.push(Completion { tag: op.tag, verb: op.verb, len: op.len, immediate: None, status });
        }
        out.len() - before
    }

    /// Whether what was told is worth returning for: to a caller who takes reports of sends lazily, only what came is.
    fn is_news(&self, told: &[Completion]) -> bool {
        match self.send_reports {
            SendReports::Prompt => !told.is_empty(),
            SendReports::Lazy | SendReports::Late => {
                told.iter().any(|done| done.verb == Verb::Recv || done.status != CompletionStatus::Ok)
            }
        }
    }

    /// The end, told as often as anybody asks.
    fn tell(&self) -> TransportError {
        TransportError::PeerGone {
            operation: format!("SMB Direct lane to {}", self.connection.wire().established().remote),
            how: self.ended.as_ref().and_then(|ended| ended.how),
            detail: self.ended.as_ref().map(|ended| ended.words.clone()).unwrap_or_default(),
        }
    }

    fn turn(&mut self, wait: Wait) -> Result<(), TransportError> {
        self.connection.turn(wait)?;
        self.advance()
    }
}

impl Lane for SmbdLane {
    fn caps(&self) -> &LaneCaps {
        &self.caps
    }

    fn submit(&mut self, ops: &[Op]) -> Result<usize, TransportError> {
        if self.ended.is_some() {
            return Err(self.tell());
        }
        let mut taken = 0;
        for op in ops {
            let ring = if op.verb == Verb::Recv { &self.receives } else { &self.sends };
            if ring.is_full() {
                break;
            }
            match self.check(op) {
                Ok(()) if op.verb == Verb::Recv => self.receives.push(*op),
                Ok(()) => self.sends.push(*op),
                // The wrong one is reported when it comes first; those before it are already ours.
                Err(error) if taken == 0 => return Err(error),
                Err(_) => break,
            }
            taken += 1;
        }
        self.advance().inspect_err(|error| self.ended = Some(Ended::by(error)))?;
        Ok(taken)
    }

    fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        if self.ended.is_some() {
            let count = self.report(out);
            return if count > 0 { Ok(count) } else { Err(self.tell()) };
        }
        let before = out.len();
        let mut turned = self.turn(Wait::No);
        // The clock is read once there was nothing: what is there already must not pay for it.
        let mut began = None;
        loop {
            self.report(out);
            let count = out.len() - before;
            if let Err(error) = turned {
                self.ended = Some(Ended::by(&error));
                return if count > 0 { Ok(count) } else { Err(error) };
            }
            let Wait::AtMost(limit) = wait else { return Ok(count) };
            if self.is_news(&out[before..]) || out.len() == out.capacity() {
                return Ok(count);
            }
            let now = self.connection.read_clock();
            let left = limit.saturating_sub(now.since(*began.get_or_insert(now)));
            if left.is_zero() {
                return Ok(count);
            }
            turned = self.turn(Wait::AtMost(left));
        }
    }

    fn sample(&mut self, out: &mut LaneSample) {
        *out = self.sample;
    }

    fn close(mut self: Box<Self>) -> Result<LaneStats, TransportError> {
        let clock = self.connection.clock();
        let began = clock.now();
        let mut scratch = Vec::with_capacity(64);
        if self.send_reports == SendReports::Late && self.ended.is_none() {
            self.connection.ask_for_the_rest();
        }
        // From here on that is what is waited for.
        self.send_reports = SendReports::Prompt;
        // Sends that were not begun wait for receives that nobody will post; those that were end by themselves.
        while self.ended.is_none()
            && self.sends.entries.iter().any(|accepted| accepted.state == State::UnderWay)
        {
            let left = DRAIN.saturating_sub(clock.now().since(began));
            scratch.clear();
            if left.is_zero() || self.poll(&mut scratch, Wait::AtMost(left)).is_err() {
                break;
            }
        }
        // What is done and was not told counts as well.
        scratch.clear();
        self.report(&mut scratch);
        let counts = std::mem::take(&mut self.counts);
        let mut stats = self.connection.close();
        stats.last = self.sample;
        if let Some(adapter) = &mut stats.adapter {
            adapter.sent_bytes = self.sample.bytes_sent;
            adapter.received_bytes = self.sample.bytes_received;
        }
        let threshold =
            format!("messages up to {SENT_BYTES_MAX} bytes are sent, larger ones fetched by RDMA READ");
        stats.chosen.insert("offload".into(), threshold);
        let fragments = format!("at most {} bytes of payload", self.agreed.payload_bytes());
        stats.chosen.insert("fragments".into(), fragments);
        for (name, value) in [
            ("lane_sent_bytes", self.sample.bytes_sent),
            ("lane_received_bytes", self.sample.bytes_received),
            ("smbd_messages_sent", counts.sent),
            ("smbd_messages_offered", counts.offered),
            ("smbd_messages_fetched", counts.fetched),
            ("smbd_news_sent", counts.news),
        ] {
            stats.counters.insert(name.into(), value);
        }
        Ok(stats)
    }
}
