//! One lane at the destination: it keeps polling so that one-sided writes are placed, clears zero pages, answers
//! barriers and hash questions. It decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pathproof_api::{
    Completion, CompletionStatus, Lane, LaneStats, Op, Region, RegionId, TransportError, Verb, Wait,
};
use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_model::{ErrorKind, StepError};

use super::lane::{SLOTS, given_up};
use super::memory;
use super::wire::{SLOT_BYTES, Told};
use crate::steps::step_error;

const WAIT: Duration = Duration::from_millis(20);

/// A connected lane and its memory.
pub struct DestinationLane {
    /// The lane.
    pub lane: Box<dyn Lane>,
    /// Guest memory, which the lane writes by itself.
    pub guest: Arc<Region>,
    /// Message slots and their name on the lane.
    pub messages: (Arc<Region>, RegionId),
    /// Pages of the guest.
    pub pages: u64,
    /// Set when the step is given up.
    pub stop: Arc<AtomicBool>,
}

/// What a lane counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Pages cleared.
    pub zero_pages: u64,
    /// Pages hashed.
    pub hashed_pages: u64,
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
                let told = self.read(completion, &mut scratch)?;
                self.post(self.receive(completion.tag))?;
                match told {
                    Told::Zero(ranges) => {
                        for range in ranges {
                            served.zero_pages += range.end - range.start;
                            let bytes = (range.end - range.start) * PAGE_BYTES;
                            // The decoder has held the range against the guest's pages.
                            let _ = self.guest.fill(range.start * PAGE_BYTES, bytes, 0);
                        }
                    }
                    Told::Barrier(number) => answers.push_back(Told::Reached(number)),
                    Told::Hash(range) => {
                        served.hashed_pages += range.end - range.start;
                        let first = range.start;
                        let mut hashes = vec![];
                        memory::hash_pages(&self.guest, range, &mut scratch.pages, &mut hashes);
                        answers.push_back(Told::Hashes { first, hashes });
                    }
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

    fn read(&self, completion: &Completion, scratch: &mut Scratch) -> Result<Told, StepError> {
        let wrong = |what: String| StepError {
            kind: ErrorKind::Protocol,
            message: format!("a message of the source cannot be read: {what}"),
        };
        scratch.message.resize(completion.len as usize, 0);
        self.messages
            .0
            .copy_out(completion.tag * u64::from(SLOT_BYTES), &mut scratch.message)
            .map_err(|e| wrong(e.to_string()))?;
        Told::decode(&scratch.message, self.pages).map_err(wrong)
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

#[derive(Default)]
struct Scratch {
    message: Vec<u8>,
    pages: Vec<u8>,
}
