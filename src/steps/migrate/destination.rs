//! One lane at the destination: it keeps polling so that one-sided writes are placed, clears zero pages, unpacks
//! compressed ones, answers barriers and hash questions. It decides nothing. Blocks of a disk are hashed as they come
//! and then dropped: a rehearsal must not need a second disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pathproof_api::{
    Completion, CompletionStatus, Lane, LaneStats, Op, Region, RegionId, TransportError, Verb, Wait, os,
};
use pathproof_engine::migrate::copy::wire::{self, Payload, SLOT_BYTES, Told};
use pathproof_engine::migrate::copy::{contents, pack};
use pathproof_model::{ErrorKind, StepError};

use super::lane::{SLOTS, given_up};
use super::memory;
use crate::steps::step_error;

const WAIT: Duration = Duration::from_millis(20);
/// Most answers that wait for the source to listen.
const ANSWERS_MAX: usize = 2 * SLOTS as usize;

/// A connected lane and its memory.
pub struct DestinationLane {
    /// The lane.
    pub lane: Box<dyn Lane>,
    /// What moves over it.
    pub subject: Subject,
    /// Message slots and their name on the lane.
    pub messages: (Arc<Region>, RegionId),
    /// Set when the step is given up.
    pub stop: Arc<AtomicBool>,
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Pages cleared.
    pub zero_pages: u64,
    /// CPU time of decompressing, in ns.
    pub decompress_cpu_ns: u64,
}

impl DestinationLane {
    /// Serves until the source says that it is done.
    pub fn serve(mut self) -> (Served, Result<LaneStats, StepError>) {
        let mut served = Served::default();
        let ended = self.until_end(&mut served);
        let stats = match ended {
            // All is said and answered: who closes first no longer matters.
            Ok(()) => Ok(self.lane.close().unwrap_or_default()),
            Err(error) => Err(error),
        };
        (served, stats)
    }

    fn until_end(&mut self, served: &mut Served) -> Result<(), StepError> {
        let mut done: Vec<Completion> = Vec::with_capacity(4 * SLOTS as usize);
        let mut free: Vec<u64> = (u64::from(SLOTS)..2 * u64::from(SLOTS)).collect();
        let mut answers: VecDeque<Told> = VecDeque::new();
        let mut scratch = Scratch::default();
        for slot in 0..u64::from(SLOTS) {
            self.post(self.receive(slot))?;
        }
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(given_up());
            }
            done.clear();
            match self.lane.poll(&mut done, Wait::AtMost(WAIT)) {
                Ok(_) => {}
                Err(error) => return Err(self.explain(&error)),
            }
            for completion in &done {
                if completion.status != CompletionStatus::Ok {
                    return Err(StepError {
                        kind: ErrorKind::PeerLost,
                        message: format!("a {:?} failed: {:?}", completion.verb, completion.status),
                    });
                }
                if completion.verb != Verb::Recv {
                    free.push(completion.tag);
                    continue;
                }
                self.read(completion, &mut scratch.message)?;
                self.post(self.receive(completion.tag))?;
                if let Some(payload) = wire::payload(&scratch.message, self.subject.count()) {
                    let placed = payload
                        .and_then(|payload| place(&mut self.subject, payload, &mut scratch.pages, served));
                    placed.map_err(unreadable)?;
                    continue;
                }
                match Told::decode(&scratch.message, self.subject.count()).map_err(unreadable)? {
                    Told::Zero(ranges) => {
                        let Subject::Guest(guest, _) = &self.subject else {
                            return Err(unreadable("a disk has no pages".into()));
                        };
                        for range in ranges {
                            served.zero_pages += range.end - range.start;
                            memory::clear(guest, range, &self.stop)?;
                        }
                    }
                    // A source asks no more than it has posted receives for.
                    Told::Barrier(_) | Told::Hash(_) if answers.len() >= ANSWERS_MAX => {
                        return Err(unreadable("it asks and does not listen to the answers".into()));
                    }
                    Told::Barrier(number) => answers.push_back(Told::Reached(number)),
                    Told::Hash(range) => {
                        let first = range.start;
                        let hashes = self.subject.hash(range, &mut scratch.pages);
                        answers.push_back(Told::Hashes { first, hashes });
                    }
                    Told::Forget => *served = Served::default(),
                    Told::End => {
                        answers.push_back(Told::Reached(u64::MAX));
                        self.send_all(&mut answers, &mut free, &mut scratch)?;
                        self.last_words(free.len());
                        return Ok(());
                    }
                    Told::Reached(_) | Told::Hashes { .. } => {
                        return Err(StepError {
                            kind: ErrorKind::Protocol,
                            message: "the source sent an answer where it may only ask".into(),
                        });
                    }
                }
            }
            self.send_all(&mut answers, &mut free, &mut scratch)?;
        }
    }

    /// Lets what was sent last leave. The source may close as soon as it has it, which is no fault any more.
    fn last_words(&mut self, free: usize) {
        let mut done: Vec<Completion> = Vec::with_capacity(4 * SLOTS as usize);
        let mut back = free;
        for _ in 0..100 {
            if back == SLOTS as usize || self.lane.poll(&mut done, Wait::AtMost(WAIT)).is_err() {
                return;
            }
            back += done.drain(..).filter(|c| c.verb != Verb::Recv).count();
        }
    }

    fn receive(&self, slot: u64) -> Op {
        Op::recv(slot, self.messages.1, slot * u64::from(SLOT_BYTES), SLOT_BYTES)
    }

    fn post(&mut self, op: Op) -> Result<(), StepError> {
        match self.lane.submit(&[op]) {
            Ok(1) => Ok(()),
            // The lane was prepared for far more operations than there are slots.
            Ok(_) => Err(StepError {
                kind: ErrorKind::Resource,
                message: "the lane has no room for a message; it was prepared for more".into(),
            }),
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn read(&self, completion: &Completion, message: &mut Vec<u8>) -> Result<(), StepError> {
        message.resize(completion.len as usize, 0);
        self.messages
            .0
            .copy_out(completion.tag * u64::from(SLOT_BYTES), message)
            .map_err(|e| unreadable(e.to_string()))
    }

    /// Sends as many answers as there are free slots.
    fn send_all(
        &mut self,
        answers: &mut VecDeque<Told>,
        free: &mut Vec<u64>,
        scratch: &mut Scratch,
    ) -> Result<(), StepError> {
        while let (Some(slot), Some(told)) = (free.last().copied(), answers.front()) {
            told.encode(&mut scratch.message);
            let offset = slot * u64::from(SLOT_BYTES);
            self.messages
                .0
                .copy_in(offset, &scratch.message)
                .map_err(|e| StepError { kind: ErrorKind::Invalid, message: e.to_string() })?;
            self.post(Op::send(slot, self.messages.1, offset, scratch.message.len() as u32))?;
            free.pop();
            answers.pop_front();
        }
        Ok(())
    }

    fn explain(&self, error: &TransportError) -> StepError {
        step_error(error)
    }
}

/// Puts contents where they belong.
fn place(
    subject: &mut Subject,
    payload: Payload<'_>,
    plain: &mut Vec<u8>,
    served: &mut Served,
) -> Result<(), String> {
    match (payload, subject) {
        (Payload::Block { block, bytes }, Subject::Disk(hashes)) => {
            // The decoder has held the block against the disk.
            hashes[block as usize] = Some(contents::hash(bytes));
            Ok(())
        }
        (Payload::Packed { runs, bytes }, Subject::Guest(guest, _)) => {
            let began = os::thread_cpu_ns();
            pack::unpack(guest, &runs, bytes, plain)?;
            served.decompress_cpu_ns +=
                os::thread_cpu_ns().zip(began).map_or(0, |(now, then)| now.saturating_sub(then));
            Ok(())
        }
        _ => Err("pages on the lane of a disk, or blocks on that of a guest".into()),
    }
}

fn unreadable(what: String) -> StepError {
    StepError {
        kind: ErrorKind::Protocol,
        message: format!("a message of the source cannot be read: {what}"),
    }
}

#[derive(Default)]
struct Scratch {
    message: Vec<u8>,
    pages: Vec<u8>,
}
