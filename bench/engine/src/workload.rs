//! Workloads: what to do next on a lane, and what a completion meant. No lane, no clock: time is an argument.

mod bucket;
mod onesided;
mod pingpong;
mod request;
mod stream;
mod writepong;

pub use bucket::Bucket;
pub use onesided::{CONTROL_BYTES, OneSided, OneSidedMemory, Target, fill_for_reads};
pub use pingpong::{Echo, PingPong};
pub use request::{Reply, Request, RequestPlan};
pub use stream::{StreamReceive, StreamSend};
pub use writepong::{WritePing, WritePong, WritePongMemory};

use pathproof_api::{Completion, Op, Tick};

use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// What a workload wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The operations it added, and to be asked again as soon as there is room.
    Submit,
    /// Nothing before this tick.
    IdleUntil(Tick),
    /// Nothing before a completion.
    Await,
    /// Nothing any more, once its outstanding operations have completed.
    Done,
    /// Nothing any more, and what is outstanding (receives for which nothing will come) may be abandoned.
    Leave,
}

/// One end of a traffic pattern on one lane.
pub trait Workload: Send {
    /// Adds at most `room` operations to `out` and says what then. `out` has the capacity.
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next;
    /// Learns that an operation completed at `now`.
    fn complete(&mut self, now: Tick, done: &Completion, recorder: &mut LaneRecorder)
    -> Result<(), RunError>;
    /// Looks, after every poll, whether memory that is watched instead of completions has changed, for a moment that is shorter than
    /// a turn of the driver takes: what changes during a turn is seen late by the rest of it. The driver reads the clock
    /// afterwards, and tells by [`seen`](Workload::seen) what it says.
    fn watch(&mut self) -> bool {
        false
    }
    /// What [`watch`](Workload::watch) found was there at `now`.
    fn seen(&mut self, _now: Tick) {}
    /// Whether something waits for [`settle`](Workload::settle). The driver then polls once without waiting, so
    /// that the answer is on its way before anything is recorded.
    fn unsettled(&self) -> bool {
        false
    }
    /// Records what was put off so that an answer could leave first: recording between a question and its answer
    /// would be measured as latency. Called after the poll that sends, and once at the end.
    fn settle(&mut self, _recorder: &mut LaneRecorder) {}
}

impl<W: Workload + ?Sized> Workload for Box<W> {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        (**self).next(now, room, out)
    }
    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        (**self).complete(now, done, recorder)
    }
    fn watch(&mut self) -> bool {
        (**self).watch()
    }
    fn seen(&mut self, now: Tick) {
        (**self).seen(now)
    }
    fn unsettled(&self) -> bool {
        (**self).unsettled()
    }
    fn settle(&mut self, recorder: &mut LaneRecorder) {
        (**self).settle(recorder)
    }
}

/// Where the messages of one lane lie in a region: `slots` of `size` bytes each from `base`, used in turn.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// Region, as the lane knows it.
    pub region: pathproof_api::RegionId,
    /// First byte.
    pub base: u64,
    /// Distance between slots in bytes.
    pub stride: u64,
    /// How many.
    pub slots: u64,
}

impl Slots {
    /// The offset of message number `n`.
    #[inline]
    pub fn offset(&self, n: u64) -> u64 {
        // Most lanes have one slot, and a message pays for no division then.
        if self.slots <= 1 { self.base } else { self.base + n % self.slots * self.stride }
    }
}

/// Verified payload: every byte of a message follows from the lane's seed and the message's number, so lost,
/// doubled, reordered, stale, shifted and flipped bytes all show.
pub mod stamp {
    /// SplitMix64: a bijective mixer, so different inputs give different words.
    pub fn mix(mut z: u64) -> u64 {
        z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Fills `out` with the bytes that message `number` of a lane with `seed` carries.
    pub fn fill(seed: u64, number: u64, out: &mut [u8]) {
        let mut state = mix(seed ^ mix(number));
        let mut chunks = out.chunks_exact_mut(8);
        for chunk in &mut chunks {
            state = state.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(0x2545_F491_4F6C_DD1D);
            chunk.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        let rest = chunks.into_remainder();
        let last = mix(state).to_le_bytes();
        let len = rest.len();
        rest.copy_from_slice(&last[..len]);
    }

    /// Whether `bytes` are what message `number` of a lane with `seed` carries.
    pub fn check(seed: u64, number: u64, bytes: &[u8], scratch: &mut [u8]) -> bool {
        let scratch = &mut scratch[..bytes.len()];
        fill(seed, number, scratch);
        scratch == bytes
    }
}
