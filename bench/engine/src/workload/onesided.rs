//! Bulk by one-sided verbs: one end writes into (or reads from) the memory of the other, which takes no part but
//! for a short message at the end, and after every round when bytes are verified.

use std::sync::Arc;

use pathproof_api::{Completion, Op, Region, Tick, Verb};

use super::{Next, Slots, Workload, stamp};
use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// Size in bytes of the messages that go beside the data.
pub const CONTROL_BYTES: u32 = 8;
/// In a control message: nothing follows. The rest is the number of messages so far.
const END: u64 = 1 << 63;
/// Tags of control operations.
const CONTROL: u64 = u64::MAX;

/// Memory of a one-sided stream, the same layout at both ends.
#[derive(Clone)]
pub struct OneSidedMemory {
    /// The memory.
    pub region: Arc<Region>,
    /// Where messages lie.
    pub slots: Slots,
    /// Offset of an outgoing control message, a multiple of 8.
    pub control_out: u64,
    /// Offset of an incoming control message, a multiple of 8.
    pub control_in: u64,
    /// Bytes that nothing may touch, as offset and length, and the value they have.
    pub untouched: (u64, u64, u8),
}

impl OneSidedMemory {
    fn control_send(&self) -> Op {
        Op::send(CONTROL, self.slots.region, self.control_out, CONTROL_BYTES)
    }
    fn control_receive(&self) -> Op {
        Op::recv(CONTROL, self.slots.region, self.control_in, CONTROL_BYTES)
    }
}

/// The end that writes or reads.
pub struct OneSided {
    verb: Verb,
    memory: OneSidedMemory,
    size: u32,
    stop: Tick,
    seed: Option<u64>,
    buffers: (Vec<u8>, Vec<u8>),
    submitted: u64,
    completed: u64,
    /// Messages the target has confirmed.
    confirmed: u64,
    reply_posted: bool,
    /// Messages that the last control message told of, and whether it ended the stream.
    told: Option<(u64, bool)>,
    finished: bool,
}

impl OneSided {
    /// Messages of `size` bytes by `verb` (`Write` or `Read`) until `stop`; with a seed, every byte is verified.
    pub fn new(verb: Verb, memory: OneSidedMemory, size: u32, stop: Tick, seed: Option<u64>) -> OneSided {
        let buffer = || vec![0; if seed.is_some() { size as usize } else { 0 }];
        OneSided {
            verb,
            memory,
            size,
            stop,
            seed,
            buffers: (buffer(), buffer()),
            submitted: 0,
            completed: 0,
            confirmed: 0,
            reply_posted: false,
            told: None,
            finished: false,
        }
    }

    /// Tells the target how far the stream is.
    fn tell(&mut self, end: bool, out: &mut Vec<Op>) {
        let word = self.submitted | if end { END } else { 0 };
        // Both control words lie inside the region by construction of the step.
        let _ = self.memory.region.store_word(self.memory.control_out, word);
        if !self.reply_posted && self.waits_for_reply() {
            out.push(self.memory.control_receive());
            self.reply_posted = true;
        }
        out.push(self.memory.control_send());
        self.told = Some((self.submitted, end));
    }

    /// Verified writes go in rounds: the target must have looked before a slot is written again.
    fn waits_for_reply(&self) -> bool {
        self.seed.is_some() && self.verb == Verb::Write
    }

    fn one(&mut self) -> Op {
        let offset = self.memory.slots.offset(self.submitted);
        if let Some(seed) = self.seed {
            if self.verb == Verb::Write {
                stamp::fill(seed, self.submitted, &mut self.buffers.0);
                let _ = self.memory.region.copy_in(offset, &self.buffers.0);
            } else {
                // What was there before must not pass for what is about to be read.
                let _ = self.memory.region.fill(offset, u64::from(self.size), 0);
            }
        }
        Op {
            tag: self.submitted,
            verb: self.verb,
            region: self.memory.slots.region,
            offset,
            len: self.size,
            remote_offset: offset,
            immediate: 0,
        }
    }
}

impl Workload for OneSided {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if self.finished {
            return Next::Done;
        }
        if let Some((_, end)) = self.told {
            if self.waits_for_reply() && self.confirmed < self.submitted {
                return Next::Await;
            }
            if end {
                return Next::Await;
            }
            self.told = None;
        }
        let mut room = room;
        let round_is_full =
            self.waits_for_reply() && self.submitted - self.confirmed >= self.memory.slots.slots.max(1);
        if now < self.stop && !round_is_full {
            while room > 0 {
                if self.waits_for_reply() && self.submitted - self.confirmed >= self.memory.slots.slots.max(1)
                {
                    break;
                }
                let op = self.one();
                out.push(op);
                self.submitted += 1;
                room -= 1;
            }
            return Next::Submit;
        }
        if self.completed < self.submitted || room < 2 {
            return Next::Await;
        }
        self.tell(now >= self.stop, out);
        Next::Await
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.tag == CONTROL {
            let ended = self.told.is_some_and(|(_, end)| end);
            if done.verb == Verb::Recv {
                self.reply_posted = false;
                self.confirmed = self.memory.region.load_word(self.memory.control_in).unwrap_or(0) & !END;
                self.finished = ended;
            } else if ended && !self.waits_for_reply() {
                self.finished = true;
            }
            return Ok(());
        }
        self.completed += 1;
        recorder.message(now);
        if self.verb != Verb::Read {
            recorder.sent(now, u64::from(done.len));
            return Ok(());
        }
        recorder.received(now, u64::from(done.len));
        if let Some(seed) = self.seed {
            let number = done.tag % self.memory.slots.slots.max(1);
            let (bytes, scratch) = &mut self.buffers;
            let _ = self.memory.region.copy_out(self.memory.slots.offset(done.tag), bytes);
            if !stamp::check(seed, number, bytes, scratch) {
                return Err(RunError::Corrupt { message: done.tag });
            }
        }
        Ok(())
    }
}

/// Fills the slots of a region that will be read with bytes the reader can verify.
pub fn fill_for_reads(region: &Region, slots: &Slots, size: u32, seed: u64) {
    let mut bytes = vec![0; size as usize];
    for number in 0..slots.slots {
        stamp::fill(seed, number, &mut bytes);
        // The slots lie inside the region by construction of the step.
        let _ = region.copy_in(slots.offset(number), &bytes);
    }
}

/// The end whose memory is written or read.
pub struct Target {
    verb: Verb,
    memory: OneSidedMemory,
    size: u32,
    stop: Tick,
    seed: Option<u64>,
    buffers: (Vec<u8>, Vec<u8>),
    checked: u64,
    receive_posted: bool,
    reply_due: bool,
    ended: bool,
}

impl Target {
    /// Offers its memory until the other end says that it is done, at the latest until `stop`. With a seed it
    /// verifies what was written. What will be read must be in place before the step starts: see [`fill_for_reads`].
    pub fn new(verb: Verb, memory: OneSidedMemory, size: u32, stop: Tick, seed: Option<u64>) -> Target {
        let buffer = || vec![0; if seed.is_some() { size as usize } else { 0 }];
        Target {
            verb,
            memory,
            size,
            stop,
            seed,
            buffers: (buffer(), buffer()),
            checked: 0,
            receive_posted: false,
            reply_due: false,
            ended: false,
        }
    }

    fn verify(&mut self, upto: u64, now: Tick, recorder: &mut LaneRecorder) -> Result<(), RunError> {
        let (Some(seed), Verb::Write) = (self.seed, self.verb) else { return Ok(()) };
        for number in self.checked..upto {
            let (bytes, scratch) = &mut self.buffers;
            let _ = self.memory.region.copy_out(self.memory.slots.offset(number), bytes);
            if !stamp::check(seed, number, bytes, scratch) {
                return Err(RunError::Corrupt { message: number });
            }
            recorder.received(now, u64::from(self.size));
            recorder.message(now);
        }
        self.checked = self.checked.max(upto);
        Ok(())
    }

    /// Looks whether anything outside the slots was changed.
    fn verify_outside(&mut self) -> Result<(), RunError> {
        let (Some(_), (from, len, value)) = (self.seed, self.memory.untouched) else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let _ = self.memory.region.copy_out(from, &mut bytes);
        if bytes.iter().any(|b| *b != value) {
            Err(RunError::Corrupt { message: self.checked })
        } else {
            Ok(())
        }
    }
}

impl Workload for Target {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if (self.ended && !self.reply_due) || now >= self.stop {
            return Next::Leave;
        }
        let mut room = room;
        if !self.receive_posted && !self.ended && room > 0 {
            out.push(self.memory.control_receive());
            self.receive_posted = true;
            room -= 1;
        }
        if self.reply_due && room > 0 {
            let word = self.checked | if self.ended { END } else { 0 };
            let _ = self.memory.region.store_word(self.memory.control_out, word);
            out.push(self.memory.control_send());
            self.reply_due = false;
            if self.ended {
                return Next::Done;
            }
        }
        Next::Await
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb != Verb::Recv {
            return Ok(());
        }
        self.receive_posted = false;
        let word = self.memory.region.load_word(self.memory.control_in).unwrap_or(END);
        let upto = word & !END;
        // A count that does not fit the slots is the peer's fault and must not cost us a long loop.
        if self.seed.is_some() && self.verb == Verb::Write {
            if upto < self.checked || upto - self.checked > self.memory.slots.slots.max(1) {
                return Err(RunError::Corrupt { message: upto });
            }
            self.verify(upto, now, recorder)?;
            self.reply_due = true;
        }
        if word & END != 0 {
            self.ended = true;
            self.verify_outside()?;
        }
        Ok(())
    }
}
