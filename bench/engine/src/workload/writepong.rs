//! Ping-pong by RDMA writes: the message is noticed by looking at memory, as `ib_write_lat` does. No receive is
//! involved, and waiting costs a core by nature.

use std::sync::Arc;

use pathproof_api::{Completion, Op, Region, Tick, Verb};

use super::{Next, Slots, Workload};
use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// Memory of one end: what it sends lies in `send`, what arrives in `receive`; the peer has the same layout. The
/// last byte of `receive` must not be 1 at first, and nobody may touch it later: the peer may write at any time.
#[derive(Clone)]
pub struct WritePongMemory {
    /// The memory.
    pub region: Arc<Region>,
    /// One slot for the outgoing message.
    pub send: Slots,
    /// One slot for the incoming one.
    pub receive: Slots,
    /// Message size in bytes.
    pub size: u32,
}

impl WritePongMemory {
    /// The write of the message with mark `mark` into the peer's incoming slot. The mark is the last byte, which
    /// the fabric places last (IBTA vol. 1, ch. 9.5 keeps order within a message on all devices we know).
    fn write(&self, number: u64) -> Op {
        let (from, to) = (self.send.offset(0), self.receive.offset(0));
        let _ = self.region.copy_in(from + u64::from(self.size) - 1, &[mark(number)]);
        Op::write(number, self.send.region, from, self.size, to)
    }

    /// Whether the message with this number has arrived.
    fn arrived(&self, number: u64) -> bool {
        let at = self.receive.offset(0) + u64::from(self.size) - 1;
        let word = self.region.load_word(at & !7).unwrap_or(0);
        word.to_le_bytes()[(at & 7) as usize] == mark(number)
    }
}

/// Never zero, and different for neighbouring numbers.
fn mark(number: u64) -> u8 {
    (number % 255) as u8 + 1
}

/// The end that asks and measures.
pub struct WritePing {
    memory: WritePongMemory,
    stop: Tick,
    started: Tick,
    number: u64,
    under_way: bool,
    outstanding: usize,
}

impl WritePing {
    /// Round trips until `stop`.
    pub fn new(memory: WritePongMemory, stop: Tick) -> WritePing {
        WritePing { memory, stop, started: Tick(0), number: 0, under_way: false, outstanding: 0 }
    }

    /// Looks for the answer; records it at `now`, which was read just before.
    fn look(&mut self, now: Tick, recorder: &mut LaneRecorder) {
        if self.under_way && self.memory.arrived(self.number) {
            recorder.service_latency(self.started, now);
            recorder.message(now);
            recorder.received(now, u64::from(self.memory.size));
            self.under_way = false;
            self.number += 1;
        }
    }
}

impl Workload for WritePing {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if self.under_way || self.outstanding >= 2 || room == 0 {
            return Next::Submit;
        }
        if now >= self.stop {
            return Next::Done;
        }
        out.push(self.memory.write(self.number));
        self.started = now;
        self.under_way = true;
        self.outstanding += 1;
        Next::Submit
    }

    fn after_poll(&mut self, now: Tick, recorder: &mut LaneRecorder) {
        self.look(now, recorder);
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Write {
            self.outstanding = self.outstanding.saturating_sub(1);
            recorder.sent(now, u64::from(done.len));
        }
        Ok(())
    }
}

/// The end that answers.
pub struct WritePong {
    memory: WritePongMemory,
    stop: Tick,
    number: u64,
    outstanding: usize,
}

impl WritePong {
    /// Answers until `stop`.
    pub fn new(memory: WritePongMemory, stop: Tick) -> WritePong {
        WritePong { memory, stop, number: 0, outstanding: 0 }
    }
}

impl Workload for WritePong {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if now >= self.stop {
            return Next::Leave;
        }
        if self.outstanding < 2 && room > 0 && self.memory.arrived(self.number) {
            out.push(self.memory.write(self.number));
            self.number += 1;
            self.outstanding += 1;
        }
        Next::Submit
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Write {
            self.outstanding = self.outstanding.saturating_sub(1);
            recorder.received(now, u64::from(done.len));
            recorder.sent(now, u64::from(done.len));
            recorder.message(now);
        }
        Ok(())
    }
}
