//! A lane of the source with its message slots: what waits to be submitted, what is under way, which answers have come.
//! It decides nothing and never waits by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Clock, Completion, CompletionStatus, Lane, LaneStats, Op, Region, RegionId, Tick, Verb, Wait,
};
use pathproof_model::ErrorKind;

use super::error::CopyError;
use super::pacer::Pacer;
use super::wire::{SLOT_BYTES, Told};
use super::{DEPTH, SLOTS};
use crate::record::LatencyHistogram;

/// Operations handed over in one call.
const BATCH: usize = 32;
/// A write of so many bytes is handed over at once.
const LARGE_BYTES: u64 = 64 << 10;

const SENT: u64 = 1 << 56;
const RECEIVED: u64 = 2 << 56;
const SLOT_MASK: u64 = 0xFF;

/// What a connected lane of the source is made of.
pub struct LinkParts {
    /// The lane.
    pub lane: Box<dyn Lane>,
    /// Message slots and their name on the lane.
    pub messages: (Arc<Region>, RegionId),
    /// Pages of the guest, or blocks of the disk.
    pub count: u64,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The cap on all lanes together.
    pub pacer: Arc<Pacer>,
}

/// What must be the case before a lane can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// Something under way completes.
    Completion,
    /// The cap allows more at this moment.
    Until(Tick),
}

/// What a turn of a lane came to.
#[derive(Clone, Copy, Debug)]
pub enum Turn<T> {
    /// Something moved; turn again.
    Worked,
    /// Nothing can be done before this moment, or before a completion when `None`.
    Waits(Option<Tick>),
    /// What was asked for is done.
    Done(T),
}

pub(super) struct Link {
    lane: Box<dyn Lane>,
    messages: Arc<Region>,
    messages_id: RegionId,
    count: u64,
    clock: Arc<dyn Clock>,
    pacer: Arc<Pacer>,
    batch: Vec<Op>,
    /// How many of the batch the lane has taken.
    taken: usize,
    /// What is in the batch is to be handed over before more is added.
    urgent: bool,
    done: Vec<Completion>,
    outstanding: u32,
    written: u64,
    /// Reply slot that the next receive takes.
    next_reply: u64,
    started: [Tick; 256],
    free_slots: Vec<u64>,
    replies: VecDeque<(u64, u32)>,
    encoded: Vec<u8>,
    chunks: LatencyHistogram,
}

impl Link {
    pub fn new(parts: LinkParts) -> Link {
        Link {
            lane: parts.lane,
            messages: parts.messages.0,
            messages_id: parts.messages.1,
            count: parts.count,
            clock: parts.clock,
            pacer: parts.pacer,
            batch: Vec::with_capacity(BATCH),
            taken: 0,
            urgent: false,
            done: Vec::with_capacity(DEPTH as usize * 2),
            outstanding: 0,
            written: 0,
            next_reply: 0,
            started: [Tick(0); 256],
            free_slots: (0..u64::from(SLOTS)).collect(),
            replies: VecDeque::with_capacity(SLOTS as usize),
            encoded: Vec::with_capacity(SLOT_BYTES as usize),
            chunks: LatencyHistogram::new(),
        }
    }

    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Whether more operations may be added before the next exchange.
    pub fn has_room(&self) -> bool {
        self.taken == 0 && !self.urgent && self.batch.len() < BATCH
    }

    /// Whether a message may be sent now.
    pub fn can_send(&self) -> bool {
        !self.free_slots.is_empty()
    }

    /// Whether everything handed over has completed.
    pub fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.batch.is_empty()
    }

    /// Claims `bytes` of the cap: nothing is needed, or nothing was claimed.
    pub fn claim(&self, bytes: u64) -> Need {
        // Without a cap nobody asks for the time.
        if !self.pacer.is_capped() {
            return Need::Nothing;
        }
        let now = self.clock.now();
        let wait = self.pacer.claim(now, bytes);
        if wait.is_zero() { Need::Nothing } else { Need::Until(now + wait) }
    }

    /// Writes `len` bytes of `region` at `from` to `to` in the peer's region.
    pub fn write(&mut self, region: RegionId, from: u64, len: u64, to: u64) {
        let tag = self.written & SLOT_MASK;
        self.written += 1;
        self.batch.push(Op::write(tag, region, from, len as u32, to));
        self.urgent |= len >= LARGE_BYTES;
    }

    /// Sends a message behind everything written so far. To be asked only where [`Link::can_send`].
    pub fn send(&mut self, told: &Told) -> Result<(), CopyError> {
        self.send_bytes(|out| told.encode(out)).map(|_| ())
    }

    /// Sends a message that `encode` writes; returns its length.
    pub fn send_bytes(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<u64, CopyError> {
        let Some(slot) = self.free_slots.pop() else {
            return Err(CopyError::new(
                ErrorKind::System,
                "a message without a slot; this is a fault of this program",
            ));
        };
        encode(&mut self.encoded);
        let offset = slot * u64::from(SLOT_BYTES);
        self.messages.copy_in(offset, &self.encoded).map_err(|e| CopyError::confused(&e.to_string()))?;
        let len = self.encoded.len() as u32;
        self.batch.push(Op::send(SENT | slot, self.messages_id, offset, len));
        self.urgent = true;
        Ok(len.into())
    }

    /// Sends a question and posts the receive of its answer. To be asked only where [`Link::can_send`].
    pub fn ask(&mut self, told: &Told) -> Result<(), CopyError> {
        // Never more than a few answers are awaited, and they come in order, so slots can take turns.
        let slot = u64::from(SLOTS) + self.next_reply;
        self.next_reply = (self.next_reply + 1) % u64::from(SLOTS);
        let offset = slot * u64::from(SLOT_BYTES);
        self.batch.push(Op::recv(RECEIVED | slot, self.messages_id, offset, SLOT_BYTES));
        self.send(told)
    }

    /// The oldest answer that has come and was not taken.
    pub fn take_answer(&mut self) -> Result<Option<Told>, CopyError> {
        let Some((slot, len)) = self.replies.pop_front() else { return Ok(None) };
        self.encoded.resize(len as usize, 0);
        let offset = slot * u64::from(SLOT_BYTES);
        self.messages.copy_out(offset, &mut self.encoded).map_err(|e| CopyError::confused(&e.to_string()))?;
        Told::decode(&self.encoded, self.count).map(Some).map_err(|e| CopyError::confused(&e))
    }

    /// The hashes that were asked for, once they have come.
    pub fn take_hashes(&mut self, first: u64, count: usize) -> Result<Option<Vec<u128>>, CopyError> {
        match self.take_answer()? {
            None => Ok(None),
            Some(Told::Hashes { first: theirs, hashes }) if theirs == first && hashes.len() == count => {
                Ok(Some(hashes))
            }
            Some(Told::Hashes { .. }) => {
                Err(CopyError::confused("hashes of other pages than were asked for"))
            }
            Some(_) => Err(CopyError::confused("something else where hashes were awaited")),
        }
    }

    /// What was counted so far was a measurement.
    pub fn forget(&mut self) {
        self.chunks = LatencyHistogram::new();
    }

    /// Hands over what waits, lets the lane work and takes what is done; waits at most `wait` where `need` or the lane
    /// leaves nothing else to do.
    pub fn exchange<T>(&mut self, need: Need, wait: Duration) -> Result<Turn<T>, CopyError> {
        let mut worked = need == Need::Nothing;
        if self.taken < self.batch.len() {
            let now = self.clock.now();
            let accepted = self.lane.submit(&self.batch[self.taken..])?;
            for op in &self.batch[self.taken..self.taken + accepted] {
                if op.verb == Verb::Write {
                    self.started[(op.tag & SLOT_MASK) as usize] = now;
                }
                if op.verb != Verb::Recv {
                    self.outstanding += 1;
                }
            }
            self.taken += accepted;
            worked |= accepted > 0;
            if self.taken == self.batch.len() {
                self.batch.clear();
                (self.taken, self.urgent) = (0, false);
            }
        }
        let pushed_back = !self.batch.is_empty();
        let until = match need {
            Need::Until(tick) => Some(tick),
            _ => None,
        };
        let wait = match need {
            Need::Nothing if !pushed_back => Wait::No,
            _ => match until.map_or(wait, |tick| tick.since(self.clock.now()).min(wait)) {
                Duration::ZERO => Wait::No,
                some => Wait::AtMost(some),
            },
        };
        let count = self.poll(wait)?;
        let worked = if pushed_back { count > 0 } else { worked || count > 0 };
        Ok(if worked { Turn::Worked } else { Turn::Waits(until) })
    }

    fn poll(&mut self, wait: Wait) -> Result<usize, CopyError> {
        self.done.clear();
        let count = self.lane.poll(&mut self.done, wait)?;
        if count == 0 {
            return Ok(0);
        }
        let now = self.clock.now();
        for completion in &self.done {
            if completion.status != CompletionStatus::Ok {
                return Err(CopyError::new(
                    ErrorKind::PeerLost,
                    format!("a {:?} of the copy failed: {:?}", completion.verb, completion.status),
                ));
            }
            match completion.verb {
                Verb::Recv => self.replies.push_back((completion.tag & SLOT_MASK, completion.len)),
                Verb::Send => {
                    self.outstanding -= 1;
                    self.free_slots.push(completion.tag & SLOT_MASK);
                }
                _ => {
                    self.outstanding -= 1;
                    let started = self.started[(completion.tag & SLOT_MASK) as usize];
                    self.chunks.record(now.ns_since(started));
                }
            }
        }
        Ok(count)
    }

    /// Ends the lane in order; what it and its chunks counted.
    pub fn close(self) -> Result<(LaneStats, LatencyHistogram), CopyError> {
        Ok((self.lane.close()?, self.chunks))
    }

    /// Lets a lane go that cannot go on; what it had counted, where that can still be read.
    pub fn abandon(self) -> Option<LaneStats> {
        self.lane.abandon().ok()
    }
}

/// A question that the peer answers once everything before it has been placed.
pub(super) struct Barrier {
    number: u64,
    asked: bool,
}

impl Barrier {
    pub fn new(number: u64) -> Barrier {
        Barrier { number, asked: false }
    }

    /// Asks, or looks whether the answer has come: whether it has.
    pub fn advance(&mut self, link: &mut Link) -> Result<bool, CopyError> {
        if !self.asked {
            if link.can_send() {
                link.ask(&Told::Barrier(self.number))?;
                self.asked = true;
            }
            return Ok(false);
        }
        match link.take_answer()? {
            None => Ok(false),
            Some(Told::Reached(reached)) if reached == self.number => Ok(true),
            Some(other) => Err(CopyError::confused(&format!(
                "{other:?} where barrier {} was to be answered",
                self.number
            ))),
        }
    }
}

/// The end of a lane. The answer shows that the peer has read this: an adapter that loses its connection may drop what
/// it has already received.
#[derive(Default)]
pub(super) struct Ending {
    asked: bool,
    answered: bool,
}

impl Ending {
    /// Says that nothing more comes, or looks whether the peer has read that: whether it has and all is settled.
    pub fn advance(&mut self, link: &mut Link) -> Result<bool, CopyError> {
        if !self.asked {
            if link.can_send() {
                link.ask(&Told::End)?;
                self.asked = true;
            }
            return Ok(false);
        }
        self.answered = self.answered || link.take_answer()?.is_some();
        Ok(self.answered && link.is_idle())
    }
}
