//! Bulk in one direction: as many messages as go, or a payload rate.

use std::sync::Arc;

use pathproof_api::{Completion, Op, Region, Tick, Verb};

use super::{Bucket, Next, Slots, Workload, stamp};
use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// The sending (or writing, or reading) end.
pub struct StreamSend {
    verb: Verb,
    slots: Slots,
    size: u32,
    stop: Tick,
    submitted: u64,
    pace: Option<Pace>,
    verify: Option<Payload>,
}

/// What verified messages are made of, with room to build and compare them.
struct Payload {
    region: Arc<Region>,
    seed: u64,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

impl Payload {
    fn new(region: Arc<Region>, seed: u64, size: u32) -> Payload {
        Payload { region, seed, bytes: vec![0; size as usize], scratch: vec![0; size as usize] }
    }
}

/// Intended send times of a paced stream.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// A rate that is kept over the whole: whatever is late is caught up with.
    Kept { start: Tick, bits_per_s: u64 },
    /// A rate that is never exceeded.
    Capped(Bucket),
}

impl StreamSend {
    /// Messages of `size` bytes until `stop`. `verb` is `Send`, or a one-sided verb, for which the peer's
    /// region has the same slots from offset 0.
    pub fn new(verb: Verb, slots: Slots, size: u32, stop: Tick) -> StreamSend {
        StreamSend { verb, slots, size, stop, submitted: 0, pace: None, verify: None }
    }

    /// Paces the payload from `start` on.
    pub fn paced(mut self, start: Tick, bits_per_s: u64) -> StreamSend {
        self.pace = (bits_per_s > 0).then_some(Pace::Kept { start, bits_per_s });
        self
    }

    /// Sends as fast as the bucket lets it, and no faster.
    pub fn capped(mut self, bucket: Bucket) -> StreamSend {
        self.pace = Some(Pace::Capped(bucket));
        self
    }

    /// Writes verifiable bytes into `region` before each send. Needs as many slots as the depth.
    pub fn verified(mut self, region: Arc<Region>, seed: u64) -> StreamSend {
        self.verify = Some(Payload::new(region, seed, self.size));
        self
    }

    /// Tick at which message `n` is due.
    fn due(&self, n: u64) -> Option<Tick> {
        let (start, bits_per_s) = match self.pace? {
            Pace::Kept { start, bits_per_s } => (start, bits_per_s),
            Pace::Capped(bucket) => return Some(bucket.due()),
        };
        let bits = u128::from(n) * u128::from(self.size) * 8;
        let ns = bits * 1_000_000_000 / u128::from(bits_per_s);
        Some(start.plus_ns(u64::try_from(ns).unwrap_or(u64::MAX)))
    }
}

impl Workload for StreamSend {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if now >= self.stop {
            return Next::Done;
        }
        for _ in 0..room {
            if let Some(due) = self.due(self.submitted).filter(|due| *due > now) {
                return Next::IdleUntil(due.min(self.stop));
            }
            let offset = self.slots.offset(self.submitted);
            if let Some(payload) = &mut self.verify {
                stamp::fill(payload.seed, self.submitted, &mut payload.bytes);
                // The slot lies inside the region by construction of the step.
                let _ = payload.region.copy_in(offset, &payload.bytes);
            }
            out.push(Op {
                tag: self.submitted,
                verb: self.verb,
                region: self.slots.region,
                offset,
                len: self.size,
                remote_offset: offset,
                immediate: 0,
            });
            self.submitted += 1;
            if let Some(Pace::Capped(bucket)) = &mut self.pace {
                bucket.pass(now);
            }
        }
        Next::Submit
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        match self.verb {
            // Bytes fetched from the peer have arrived here.
            Verb::Read => recorder.received(now, u64::from(done.len)),
            _ => recorder.sent(now, u64::from(done.len)),
        }
        recorder.message(now);
        Ok(())
    }
}

/// The receiving end: keeps receives posted and counts what comes.
pub struct StreamReceive {
    slots: Slots,
    size: u32,
    stop: Tick,
    posted: u64,
    arrived: u64,
    verify: Option<Payload>,
}

impl StreamReceive {
    /// Receives of `size` bytes until `stop`.
    pub fn new(slots: Slots, size: u32, stop: Tick) -> StreamReceive {
        StreamReceive { slots, size, stop, posted: 0, arrived: 0, verify: None }
    }

    /// Compares every byte with what [`StreamSend::verified`] wrote.
    pub fn verified(mut self, region: Arc<Region>, seed: u64) -> StreamReceive {
        self.verify = Some(Payload::new(region, seed, self.size));
        self
    }

    /// Messages that arrived, counting those outside the window.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }
}

impl Workload for StreamReceive {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if now >= self.stop {
            return Next::Leave;
        }
        for _ in 0..room {
            let offset = self.slots.offset(self.posted);
            out.push(Op::recv(self.posted, self.slots.region, offset, self.size));
            self.posted += 1;
        }
        Next::Await
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        recorder.received(now, u64::from(done.len));
        recorder.message(now);
        if let Some(payload) = &mut self.verify {
            let Payload { region, seed, bytes, scratch } = payload;
            let len = (done.len as usize).min(bytes.len());
            let _ = region.copy_out(self.slots.offset(done.tag), &mut bytes[..len]);
            if len != self.size as usize || !stamp::check(*seed, self.arrived, &bytes[..len], scratch) {
                return Err(RunError::Corrupt { message: self.arrived });
            }
        }
        self.arrived += 1;
        Ok(())
    }
}
