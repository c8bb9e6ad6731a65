//! One lane at the source: it copies its share of a round, asks whether everything has arrived, and compares
//! hashes. Owned by one thread; knows nothing of policies.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pathproof_api::{
    Clock, Completion, CompletionStatus, Lane, LaneStats, Op, Region, RegionId, Tick, Verb, Wait,
};
use pathproof_engine::migrate::copy::contents;
use pathproof_engine::migrate::copy::pacer::Pacer;
use pathproof_engine::migrate::copy::pack::{Packed, Packer};
use pathproof_engine::migrate::copy::wire::{self, HASH_PAGES_MAX, SLOT_BYTES, Told, ZERO_RANGES_MAX};
use pathproof_engine::migrate::{PAGE_BYTES, PageBitmap};
use pathproof_engine::record::LatencyHistogram;
use pathproof_model::{ErrorKind, StepError};

use crate::clock::RealClock;
use crate::steps::meter::ThreadMeter;
use crate::steps::step_error;

/// Operations that a lane may have outstanding in each direction, at both ends.
pub const DEPTH: u32 = 64;
/// Message slots for sending and for receiving, at both ends.
pub const SLOTS: u32 = 4;
/// Bytes of the region that holds the message slots.
pub const MESSAGE_BYTES: u64 = 2 * SLOTS as u64 * SLOT_BYTES as u64;
/// Pages that a lane claims at a time: large enough for whole chunks, small enough to share a round's end.
pub const SEGMENT_PAGES: u64 = 1024;
/// Longest wait in the lane, so that a stop is seen in time.
const WAIT: Duration = Duration::from_millis(20);
/// Operations handed over in one call.
const BATCH: usize = 32;
/// Hash questions under way at once.
const QUESTIONS: usize = 2;

const SENT: u64 = 1 << 56;
const RECEIVED: u64 = 2 << 56;
const SLOT_MASK: u64 = 0xFF;

/// What all lanes of a guest share while one round is copied.
pub struct Round {
    /// Its number: unique in the life of a lane.
    pub number: u64,
    /// The pages to copy.
    pub map: PageBitmap,
    /// The next segment that nobody has claimed.
    pub next: AtomicU64,
    /// Pages of a segment.
    pub segment_pages: u64,
    /// The page in whose segment the round begins; the others follow in a circle.
    pub first_page: u64,
    /// Pages still to be copied.
    pub pages_left: AtomicU64,
    /// The round ends when fewer are left, and leaves them.
    pub ends_below: u64,
    /// Ends the round once so many bytes have been copied.
    pub bytes_max: u64,
    /// Bytes claimed so far, where a limit is set.
    pub bytes_claimed: AtomicU64,
    /// What lanes have counted before was a measurement: they count from this round on.
    pub forget: bool,
}

impl Round {
    /// All pages of `map`.
    pub fn new(number: u64, map: PageBitmap) -> Round {
        let pages_left = AtomicU64::new(map.count());
        Round {
            number,
            map,
            next: AtomicU64::new(0),
            segment_pages: SEGMENT_PAGES,
            first_page: 0,
            pages_left,
            ends_below: 0,
            bytes_max: u64::MAX,
            bytes_claimed: AtomicU64::new(0),
            forget: false,
        }
    }

    fn segments(&self) -> u64 {
        self.map.pages().div_ceil(self.segment_pages)
    }

    fn is_over(&self) -> bool {
        self.bytes_claimed.load(Ordering::Relaxed) >= self.bytes_max
            || self.pages_left.load(Ordering::Relaxed) < self.ends_below
    }

    /// The pages that the next lane is to copy.
    fn claim(&self) -> Option<Range<u64>> {
        if self.is_over() {
            return None;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (turn < self.segments()).then(|| self.segment(turn))
    }

    fn segment(&self, turn: u64) -> Range<u64> {
        let first = self.first_page / self.segment_pages;
        let start = (first + turn) % self.segments().max(1) * self.segment_pages;
        start..start + self.segment_pages
    }

    /// The page after the last segment copied, for the next round to begin with.
    pub fn reached(&self) -> u64 {
        self.segment(self.next.load(Ordering::Relaxed).min(self.segments())).start
    }

    /// Adds the pages that were left to `map`; to be asked when no lane copies any more.
    pub fn add_left(&self, map: &mut PageBitmap) {
        for turn in self.next.load(Ordering::Relaxed)..self.segments() {
            for page in self.map.runs(self.segment(turn)).flatten() {
                map.insert(page);
            }
        }
    }
}

/// What a lane did in a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    /// Pages, zero pages included.
    pub pages: u64,
    /// Zero pages.
    pub zero_pages: u64,
    /// Bytes of pages written.
    pub bytes: u64,
}

/// A comparison of all pages, shared by the lanes of a guest.
pub struct Verify {
    /// Pages of the guest.
    pub pages: u64,
    /// The next page that nobody has claimed.
    pub next: AtomicU64,
}

/// What a lane found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    /// Pages compared.
    pub pages: u64,
    /// Pages that differ.
    pub differing: u64,
    /// The lowest of them.
    pub first: Option<u64>,
}

/// A connected lane and its memory.
pub struct SourceLane {
    lane: Box<dyn Lane>,
    guest: Arc<Region>,
    guest_id: RegionId,
    messages: Arc<Region>,
    messages_id: RegionId,
    chunk_bytes: u64,
    pages: u64,
    clock: RealClock,
    stop: Arc<AtomicBool>,
    pacer: Arc<Pacer>,
    progress: Arc<AtomicU64>,
    batch: Vec<Op>,
    done: Vec<Completion>,
    outstanding: u32,
    written: u64,
    /// Reply slot that the next receive takes.
    next_reply: u64,
    started: [Tick; 256],
    free_slots: Vec<u64>,
    replies: VecDeque<(u64, u32)>,
    zeros: Vec<Range<u64>>,
    encoded: Vec<u8>,
    packer: Option<Packer>,
    chunks: LatencyHistogram,
}

/// What a lane is made of.
pub struct LaneParts {
    /// The lane.
    pub lane: Box<dyn Lane>,
    /// Guest memory and its name on the lane.
    pub guest: (Arc<Region>, RegionId),
    /// Message slots and their name on the lane.
    pub messages: (Arc<Region>, RegionId),
    /// Largest write.
    pub chunk_bytes: u64,
    /// Pages of the guest; the region may be larger.
    pub pages: u64,
    /// The clock.
    pub clock: RealClock,
    /// Set when the step is given up.
    pub stop: Arc<AtomicBool>,
    /// The cap on all lanes together.
    pub pacer: Arc<Pacer>,
    /// Bytes copied by all lanes, for whoever watches.
    pub progress: Arc<AtomicU64>,
    /// Compresses pages before they are sent.
    pub packer: Option<Packer>,
}

impl SourceLane {
    /// Around a connected lane.
    pub fn new(parts: LaneParts) -> SourceLane {
        SourceLane {
            lane: parts.lane,
            guest: parts.guest.0,
            guest_id: parts.guest.1,
            messages: parts.messages.0,
            messages_id: parts.messages.1,
            chunk_bytes: parts.chunk_bytes.max(PAGE_BYTES),
            pages: parts.pages,
            clock: parts.clock,
            stop: parts.stop,
            pacer: parts.pacer,
            progress: parts.progress,
            batch: Vec::with_capacity(BATCH),
            done: Vec::with_capacity(DEPTH as usize * 2),
            outstanding: 0,
            written: 0,
            next_reply: 0,
            started: [Tick(0); 256],
            free_slots: (0..u64::from(SLOTS)).collect(),
            replies: VecDeque::with_capacity(SLOTS as usize),
            zeros: Vec::with_capacity(ZERO_RANGES_MAX),
            encoded: Vec::with_capacity(SLOT_BYTES as usize),
            packer: parts.packer,
            chunks: LatencyHistogram::new(),
        }
    }

    /// Copies this lane's share of `round`, and returns once the peer has all of it.
    pub fn copy(&mut self, round: &Round) -> Result<Copied, StepError> {
        let mut copied = Copied::default();
        if round.forget {
            self.chunks = LatencyHistogram::new();
            self.packer.iter_mut().for_each(Packer::forget);
            self.tell(&Told::Forget)?;
        }
        while let Some(segment) = round.claim() {
            let before = copied;
            for run in round.map.runs(segment) {
                self.copy_run(run, &mut copied)?;
            }
            let moved = copied.bytes - before.bytes;
            round.bytes_claimed.fetch_add(moved, Ordering::Relaxed);
            round.pages_left.fetch_sub(copied.pages - before.pages, Ordering::Relaxed);
            self.progress.fetch_add(moved, Ordering::Relaxed);
        }
        self.flush_pack(&mut copied)?;
        self.flush_zeros()?;
        self.barrier(round.number)?;
        Ok(copied)
    }

    /// Splits a run of pages into zero ranges and writes. Each page is looked at just before it is sent.
    fn copy_run(&mut self, run: Range<u64>, copied: &mut Copied) -> Result<(), StepError> {
        let chunk_pages = self.chunk_bytes / PAGE_BYTES;
        let mut page = run.start;
        while page < run.end {
            // Pages come from a bitmap of the guest, all of which lies in the region.
            let (zero, alike) =
                self.guest.zero_run(page, (run.end - page).min(chunk_pages)).unwrap_or((false, 1));
            let end = page + alike;
            copied.pages += end - page;
            if zero {
                copied.zero_pages += end - page;
                match self.zeros.last_mut() {
                    Some(last) if last.end == page => last.end = end,
                    _ => self.zeros.push(page..end),
                }
                if self.zeros.len() == ZERO_RANGES_MAX {
                    self.flush_zeros()?;
                }
            } else if self.packer.is_some() {
                self.pack(page..end, copied)?;
            } else {
                let len = (end - page) * PAGE_BYTES;
                copied.bytes += len;
                self.write(page * PAGE_BYTES, len, page * PAGE_BYTES)?;
            }
            page = end;
        }
        Ok(())
    }

    /// Gathers pages, and sends them compressed once there are enough.
    fn pack(&mut self, run: Range<u64>, copied: &mut Copied) -> Result<(), StepError> {
        let mut rest = run;
        while !rest.is_empty() {
            let Some(packer) = &mut self.packer else { return Ok(()) };
            packer.take(&mut rest);
            if packer.is_full() {
                self.flush_pack(copied)?;
            }
        }
        Ok(())
    }

    fn flush_pack(&mut self, copied: &mut Copied) -> Result<(), StepError> {
        let Some(mut packer) = self.packer.take() else { return Ok(()) };
        let flushed = self.send_packed(&mut packer, copied);
        packer.clear();
        self.packer = Some(packer);
        flushed
    }

    fn send_packed(&mut self, packer: &mut Packer, copied: &mut Copied) -> Result<(), StepError> {
        if packer.is_empty() {
            return Ok(());
        }
        if packer.compress(&self.guest, &mut ThreadMeter) {
            let mut message = std::mem::take(&mut self.encoded);
            wire::begin_packed(&mut message, packer.runs());
            message.extend_from_slice(packer.packed());
            copied.bytes += packer.packed().len() as u64;
            let sent = self.pace(message.len() as u64).and_then(|()| self.tell_bytes(&message));
            self.encoded = message;
            return sent;
        }
        for run in packer.runs() {
            let len = (run.end - run.start) * PAGE_BYTES;
            copied.bytes += len;
            self.write(run.start * PAGE_BYTES, len, run.start * PAGE_BYTES)?;
        }
        Ok(())
    }

    /// Sends `bytes` as block `block` of the disk.
    pub fn send_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), StepError> {
        self.pace(bytes.len() as u64)?;
        let mut message = std::mem::take(&mut self.encoded);
        wire::begin_block(&mut message, block, bytes.len());
        message.extend_from_slice(bytes);
        let sent = self.tell_bytes(&message);
        self.encoded = message;
        sent
    }

    /// Compares hashes of `first` and those after it with what the peer has.
    pub fn verify_hashes(
        &mut self,
        first: u64,
        own: &[u128],
        compared: &mut Compared,
    ) -> Result<(), StepError> {
        self.expect_reply()?;
        self.tell(&Told::Hash(first..first + own.len() as u64))?;
        self.compare(first, own, compared)
    }

    /// Lets what was sent leave, and waits a moment.
    pub fn rest(&mut self) -> Result<(), StepError> {
        self.pump(Wait::AtMost(Duration::from_millis(1)))
    }

    /// What compressing came to.
    pub fn packed(&self) -> Option<Packed> {
        self.packer.as_ref().map(Packer::sums)
    }

    /// Sends `len` bytes at `from` to `to` in the peer's region.
    pub fn write(&mut self, from: u64, len: u64, to: u64) -> Result<(), StepError> {
        self.pace(len)?;
        let tag = self.written & SLOT_MASK;
        self.written += 1;
        self.batch.push(Op::write(tag, self.guest_id, from, len as u32, to));
        if self.batch.len() == BATCH || len >= 64 << 10 {
            self.flush()?;
        }
        Ok(())
    }

    /// Waits until `len` bytes more are within the cap.
    fn pace(&mut self, len: u64) -> Result<(), StepError> {
        loop {
            let wait = self.pacer.claim(self.clock.now(), len);
            if wait.is_zero() {
                return Ok(());
            }
            self.flush()?;
            let until = self.clock.now() + wait;
            while self.clock.now() < until {
                self.pump(Wait::AtMost(until.since(self.clock.now()).min(WAIT)))?;
            }
        }
    }

    /// Asks the peer to say when everything before has been placed, and waits for that.
    pub fn barrier(&mut self, number: u64) -> Result<(), StepError> {
        self.expect_reply()?;
        self.tell(&Told::Barrier(number))?;
        match self.reply()? {
            Told::Reached(reached) if reached == number => Ok(()),
            other => Err(confused(&format!("{other:?} where barrier {number} was to be answered"))),
        }
    }

    /// Writes the staging page behind the guest's memory to the place of `page` at the peer.
    pub fn spoil(&mut self, page: u64, number: u64) -> Result<(), StepError> {
        let staging = self.guest.len() - PAGE_BYTES;
        self.write(staging, PAGE_BYTES, page * PAGE_BYTES)?;
        self.barrier(number)
    }

    /// Compares the hashes of this lane's share of the pages.
    pub fn verify(&mut self, verify: &Verify) -> Result<Compared, StepError> {
        let mut compared = Compared::default();
        let mut asked: VecDeque<(u64, Vec<u128>)> = VecDeque::with_capacity(QUESTIONS);
        let mut spare: Vec<Vec<u128>> = vec![];
        let mut buffer = vec![];
        loop {
            while asked.len() < QUESTIONS {
                let first = verify.next.fetch_add(HASH_PAGES_MAX, Ordering::Relaxed);
                if first >= verify.pages {
                    break;
                }
                let range = first..(first + HASH_PAGES_MAX).min(verify.pages);
                self.expect_reply()?;
                self.tell(&Told::Hash(range.clone()))?;
                // While the peer hashes its copy, hash ours.
                let mut own = spare.pop().unwrap_or_default();
                contents::hash_pages(&self.guest, range, &mut buffer, &mut own);
                asked.push_back((first, own));
            }
            let Some((first, own)) = asked.pop_front() else { return Ok(compared) };
            self.compare(first, &own, &mut compared)?;
            spare.push(own);
        }
    }

    fn compare(&mut self, first: u64, own: &[u128], compared: &mut Compared) -> Result<(), StepError> {
        let Told::Hashes { first: theirs_first, hashes } = self.reply()? else {
            return Err(confused("something else where hashes were awaited"));
        };
        if theirs_first != first || hashes.len() != own.len() {
            return Err(confused("hashes of other pages than were asked for"));
        }
        compared.pages += own.len() as u64;
        for (i, _) in own.iter().zip(&hashes).enumerate().filter(|(_, (mine, theirs))| mine != theirs) {
            let page = first + i as u64;
            compared.differing += 1;
            compared.first = Some(compared.first.map_or(page, |f| f.min(page)));
        }
        Ok(())
    }

    /// Says that nothing more comes, and closes.
    pub fn end(mut self) -> Result<(LaneStats, LatencyHistogram), StepError> {
        // The answer shows that the peer has read this: an adapter that loses its connection may drop what it
        // has already received.
        self.expect_reply()?;
        self.tell(&Told::End)?;
        self.reply()?;
        while self.outstanding > 0 {
            self.pump(Wait::AtMost(WAIT))?;
        }
        let stats = self.lane.close().map_err(|e| step_error(&e))?;
        Ok((stats, self.chunks))
    }

    fn flush_zeros(&mut self) -> Result<(), StepError> {
        if self.zeros.is_empty() {
            return Ok(());
        }
        let told = Told::Zero(std::mem::take(&mut self.zeros));
        self.tell(&told)?;
        if let Told::Zero(mut ranges) = told {
            ranges.clear();
            self.zeros = ranges;
        }
        Ok(())
    }

    /// Sends a message behind everything written so far.
    fn tell(&mut self, told: &Told) -> Result<(), StepError> {
        let mut message = std::mem::take(&mut self.encoded);
        told.encode(&mut message);
        let sent = self.tell_bytes(&message);
        self.encoded = message;
        sent
    }

    fn tell_bytes(&mut self, message: &[u8]) -> Result<(), StepError> {
        let slot = loop {
            match self.free_slots.pop() {
                Some(slot) => break slot,
                None => {
                    self.flush()?;
                    self.pump(Wait::AtMost(WAIT))?;
                }
            }
        };
        let offset = slot * u64::from(SLOT_BYTES);
        self.messages.copy_in(offset, message).map_err(|e| confused(&e.to_string()))?;
        self.batch.push(Op::send(SENT | slot, self.messages_id, offset, message.len() as u32));
        self.flush()
    }

    /// Posts a receive for one reply.
    fn expect_reply(&mut self) -> Result<(), StepError> {
        // Never more than QUESTIONS are posted, and they come back in order, so slots can take turns.
        let slot = u64::from(SLOTS) + self.next_reply;
        self.next_reply = (self.next_reply + 1) % u64::from(SLOTS);
        let op = Op::recv(RECEIVED | slot, self.messages_id, slot * u64::from(SLOT_BYTES), SLOT_BYTES);
        self.batch.push(op);
        self.flush()
    }

    fn reply(&mut self) -> Result<Told, StepError> {
        loop {
            if let Some((slot, len)) = self.replies.pop_front() {
                let mut bytes = vec![0; len as usize];
                let offset = slot * u64::from(SLOT_BYTES);
                self.messages.copy_out(offset, &mut bytes).map_err(|e| confused(&e.to_string()))?;
                return Told::decode(&bytes, self.pages).map_err(|e| confused(&e));
            }
            self.pump(Wait::AtMost(WAIT))?;
        }
    }

    /// Hands over everything that waits in the batch.
    fn flush(&mut self) -> Result<(), StepError> {
        let mut next = 0;
        while next < self.batch.len() {
            let now = self.clock.now();
            let accepted = self.lane.submit(&self.batch[next..]).map_err(|e| step_error(&e))?;
            for op in &self.batch[next..next + accepted] {
                if op.verb == Verb::Write {
                    self.started[(op.tag & SLOT_MASK) as usize] = now;
                }
                if op.verb != Verb::Recv {
                    self.outstanding += 1;
                }
            }
            next += accepted;
            let wait = if next < self.batch.len() { Wait::AtMost(WAIT) } else { Wait::No };
            self.pump(wait)?;
        }
        self.batch.clear();
        Ok(())
    }

    /// Lets the lane work, and takes what is done.
    fn pump(&mut self, wait: Wait) -> Result<(), StepError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(given_up());
        }
        self.done.clear();
        self.lane.poll(&mut self.done, wait).map_err(|e| step_error(&e))?;
        let now = self.clock.now();
        for completion in &self.done {
            if completion.status != CompletionStatus::Ok {
                return Err(StepError {
                    kind: ErrorKind::PeerLost,
                    message: format!("a {:?} of the copy failed: {:?}", completion.verb, completion.status),
                });
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
        Ok(())
    }
}

/// The error of a lane that was told to stop; whoever told it knows why.
pub fn given_up() -> StepError {
    StepError { kind: ErrorKind::Interrupted, message: "the step was given up".into() }
}

fn confused(what: &str) -> StepError {
    StepError {
        kind: ErrorKind::Protocol,
        message: format!(
            "the peer's half of the migration is out of step: {what}; are both builds the same?"
        ),
    }
}
