//! One lane at the destination: it keeps polling so that one-sided writes are placed, clears zero pages, unpacks
//! compressed ones, answers barriers and hash questions. It decides nothing. Blocks of a disk are hashed as they come
//! and then dropped: a rehearsal must not need a second disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Clock, Completion, CompletionStatus, Lane, LaneStats, Op, Region, RegionId, Tick, Verb, Wait,
};
use pathproof_model::ErrorKind;

use super::error::CopyError;
use super::link::Turn;
use super::wire::{self, Payload, SLOT_BYTES, Told};
use super::{SLOTS, contents, pack};
use crate::drive::Meter;
use crate::migrate::PAGE_BYTES;

/// Most answers that wait for the source to listen.
const ANSWERS_MAX: usize = 2 * SLOTS as usize;
/// Pages cleared in one turn, so that whoever drives the lane can end it in time: 16 MiB.
const PIECE_PAGES: u64 = 16 << 8;
/// How long the last answers may take to leave, in ns.
const LAST_ANSWERS_NS: u64 = 2_000_000_000;

/// What a lane of the destination is made of.
pub struct DestinationParts {
    /// The lane.
    pub lane: Box<dyn Lane>,
    /// What moves over it.
    pub subject: Subject,
    /// Message slots and their name on the lane.
    pub messages: (Arc<Region>, RegionId),
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What decompressing costs.
    pub meter: Box<dyn Meter>,
}

/// What moves over a lane.
pub enum Subject {
    /// Guest memory, which the lane writes by itself, and its pages; the region may be larger.
    Guest(Arc<Region>, u64),
    /// A disk: the hash of each block that has come.
    Disk(Vec<Option<u128>>),
}

impl Subject {
    /// Pages or blocks that there are.
    fn count(&self) -> u64 {
        match self {
            Subject::Guest(_, pages) => *pages,
            Subject::Disk(hashes) => hashes.len() as u64,
        }
    }

    fn hash(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> Vec<u128> {
        match self {
            Subject::Guest(region, _) => {
                let mut hashes = vec![];
                contents::hash_pages(region, range, buffer, &mut hashes);
                hashes
            }
            // A block that never came has no hash; none is zero but by a chance of 2^-128.
            Subject::Disk(hashes) => {
                hashes[range.start as usize..range.end as usize].iter().map(|h| h.unwrap_or(0)).collect()
            }
        }
    }
}

/// What a lane counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Pages cleared.
    pub zero_pages: u64,
    /// CPU time of decompressing, in ns.
    pub decompress_cpu_ns: u64,
}

/// A connected lane that serves.
pub struct DestinationLane {
    lane: Box<dyn Lane>,
    subject: Subject,
    messages: Arc<Region>,
    messages_id: RegionId,
    clock: Arc<dyn Clock>,
    meter: Box<dyn Meter>,
    done: Vec<Completion>,
    /// The next of them to look at.
    next: usize,
    free_slots: Vec<u64>,
    answers: VecDeque<Told>,
    /// Pages that the message last read wants cleared, and that are not yet.
    to_clear: VecDeque<Range<u64>>,
    message: Vec<u8>,
    buffer: Vec<u8>,
    served: Served,
    stage: Stage,
}

enum Stage {
    New,
    Serving,
    /// All is answered; the answers leave until this moment.
    Leaving(Tick),
}

impl DestinationLane {
    /// Around a connected lane.
    pub fn new(parts: DestinationParts) -> DestinationLane {
        DestinationLane {
            lane: parts.lane,
            subject: parts.subject,
            messages: parts.messages.0,
            messages_id: parts.messages.1,
            clock: parts.clock,
            meter: parts.meter,
            done: Vec::with_capacity(4 * SLOTS as usize),
            next: 0,
            free_slots: (u64::from(SLOTS)..2 * u64::from(SLOTS)).collect(),
            answers: VecDeque::with_capacity(ANSWERS_MAX),
            to_clear: VecDeque::new(),
            message: vec![],
            buffer: vec![],
            served: Served::default(),
            stage: Stage::New,
        }
    }

    /// Serves what has come, and waits at most `wait` for more where nothing has. Done when the source has said that it
    /// is, and has its answer.
    pub fn turn(&mut self, wait: Duration) -> Result<Turn<()>, CopyError> {
        match self.stage {
            Stage::New => {
                for slot in 0..u64::from(SLOTS) {
                    self.post(self.receive(slot))?;
                }
                self.stage = Stage::Serving;
                return Ok(Turn::Worked);
            }
            Stage::Leaving(until) => return Ok(self.leave(until, wait)),
            Stage::Serving => {}
        }
        if self.next == self.done.len() && self.to_clear.is_empty() {
            self.done.clear();
            self.next = 0;
            if self.lane.poll(&mut self.done, if wait.is_zero() { Wait::No } else { Wait::AtMost(wait) })?
                == 0
            {
                return Ok(Turn::Waits(None));
            }
        }
        self.clear_a_piece();
        while self.next < self.done.len() && self.to_clear.is_empty() {
            let completion = self.done[self.next];
            self.next += 1;
            self.take(completion)?;
            if matches!(self.stage, Stage::Leaving(_)) {
                self.free_the_sent();
                break;
            }
        }
        self.send_answers()?;
        Ok(Turn::Worked)
    }

    /// What it counted.
    pub fn served(&self) -> Served {
        self.served
    }

    /// Ends the lane in order: all is said and answered, so who closes first no longer matters.
    pub fn close(self) -> LaneStats {
        self.lane.close().unwrap_or_default()
    }

    /// Lets the lane go where it cannot go on; what it had counted, where that can still be read.
    pub fn abandon(self) -> Option<LaneStats> {
        self.lane.abandon().ok()
    }

    fn take(&mut self, completion: Completion) -> Result<(), CopyError> {
        if completion.status != CompletionStatus::Ok {
            return Err(CopyError::new(
                ErrorKind::PeerLost,
                format!("a {:?} failed: {:?}", completion.verb, completion.status),
            ));
        }
        if completion.verb != Verb::Recv {
            self.free_slots.push(completion.tag);
            return Ok(());
        }
        self.message.resize(completion.len as usize, 0);
        self.messages
            .copy_out(completion.tag * u64::from(SLOT_BYTES), &mut self.message)
            .map_err(CopyError::unreadable)?;
        // What the message says has been copied out; its slot takes the next one.
        self.post(self.receive(completion.tag))?;
        let count = self.subject.count();
        if let Some(payload) = wire::payload(&self.message, count) {
            return payload
                .and_then(|payload| {
                    place(&mut self.subject, payload, &mut self.buffer, &mut *self.meter, &mut self.served)
                })
                .map_err(CopyError::unreadable);
        }
        match Told::decode(&self.message, count).map_err(CopyError::unreadable)? {
            Told::Zero(_) if matches!(self.subject, Subject::Disk(_)) => {
                return Err(CopyError::unreadable("a disk has no pages"));
            }
            Told::Zero(ranges) => {
                self.served.zero_pages += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                self.to_clear.extend(ranges);
                self.clear_a_piece();
            }
            // A source asks no more than it has posted receives for.
            Told::Barrier(_) | Told::Hash(_) if self.answers.len() >= ANSWERS_MAX => {
                return Err(CopyError::unreadable("it asks and does not listen to the answers"));
            }
            Told::Barrier(number) => self.answers.push_back(Told::Reached(number)),
            Told::Hash(range) => {
                let first = range.start;
                let hashes = self.subject.hash(range, &mut self.buffer);
                self.answers.push_back(Told::Hashes { first, hashes });
            }
            Told::Forget => self.served = Served::default(),
            Told::End => {
                self.answers.push_back(Told::Reached(u64::MAX));
                self.stage = Stage::Leaving(self.clock.now().plus_ns(LAST_ANSWERS_NS));
            }
            Told::Reached(_) | Told::Hashes { .. } => {
                let message = "the source sent an answer where it may only ask";
                return Err(CopyError::new(ErrorKind::Protocol, message));
            }
        }
        Ok(())
    }

    fn clear_a_piece(&mut self) {
        let Subject::Guest(guest, _) = &self.subject else { return };
        let mut left = PIECE_PAGES;
        while let Some(range) = self.to_clear.front_mut().filter(|_| left > 0) {
            let count = (range.end - range.start).min(left);
            // The decoder has held the range against the guest's pages.
            let _ = guest.fill(range.start * PAGE_BYTES, count * PAGE_BYTES, 0);
            range.start += count;
            left -= count;
            if range.start == range.end {
                self.to_clear.pop_front();
            }
        }
    }

    /// Lets what was sent last leave. The source may close as soon as it has it, which is no fault any more.
    fn leave(&mut self, until: Tick, wait: Duration) -> Turn<()> {
        let now = self.clock.now();
        let all_left = self.answers.is_empty() && self.free_slots.len() == SLOTS as usize;
        if all_left || now >= until || self.send_answers().is_err() {
            return Turn::Done(());
        }
        let wait = wait.min(until.since(now));
        self.done.clear();
        match self.lane.poll(&mut self.done, if wait.is_zero() { Wait::No } else { Wait::AtMost(wait) }) {
            Err(_) => Turn::Done(()),
            Ok(0) => Turn::Waits(Some(until)),
            Ok(_) => {
                self.next = 0;
                self.free_the_sent();
                Turn::Worked
            }
        }
    }

    /// Takes back the slots of what has been sent, whatever else has completed.
    fn free_the_sent(&mut self) {
        let sent = self.done.drain(..).skip(self.next).filter(|c| c.verb != Verb::Recv);
        self.free_slots.extend(sent.map(|c| c.tag));
        self.next = 0;
    }

    fn receive(&self, slot: u64) -> Op {
        Op::recv(slot, self.messages_id, slot * u64::from(SLOT_BYTES), SLOT_BYTES)
    }

    fn post(&mut self, op: Op) -> Result<(), CopyError> {
        match self.lane.submit(&[op])? {
            1 => Ok(()),
            // The lane was prepared for far more operations than there are slots.
            _ => Err(CopyError::new(
                ErrorKind::Resource,
                "the lane has no room for a message; it was prepared for more",
            )),
        }
    }

    /// Sends as many answers as there are free slots.
    fn send_answers(&mut self) -> Result<(), CopyError> {
        while let (Some(slot), Some(told)) = (self.free_slots.last().copied(), self.answers.front()) {
            told.encode(&mut self.message);
            let offset = slot * u64::from(SLOT_BYTES);
            self.messages
                .copy_in(offset, &self.message)
                .map_err(|e| CopyError::new(ErrorKind::Invalid, e.to_string()))?;
            self.post(Op::send(slot, self.messages_id, offset, self.message.len() as u32))?;
            self.free_slots.pop();
            self.answers.pop_front();
        }
        Ok(())
    }
}

/// Puts contents where they belong.
fn place(
    subject: &mut Subject,
    payload: Payload<'_>,
    buffer: &mut Vec<u8>,
    meter: &mut dyn Meter,
    served: &mut Served,
) -> Result<(), String> {
    match (payload, subject) {
        (Payload::Block { block, bytes }, Subject::Disk(hashes)) => {
            // The decoder has held the block against the disk.
            hashes[block as usize] = Some(contents::hash(bytes));
            Ok(())
        }
        (Payload::Packed { runs, bytes }, Subject::Guest(guest, _)) => {
            let began = meter.cpu_ns();
            pack::unpack(guest, &runs, bytes, buffer)?;
            served.decompress_cpu_ns +=
                meter.cpu_ns().zip(began).map_or(0, |(now, then)| now.saturating_sub(then));
            Ok(())
        }
        _ => Err("pages on the lane of a disk, or blocks on that of a guest".into()),
    }
}
