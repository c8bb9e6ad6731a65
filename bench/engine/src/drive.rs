//! [`Driver`]: turns a workload's wishes into operations of a lane and its completions into records.
//!
//! The driver is generic over workload and clock and calls the lane through one virtual call per batch. A real
//! lane thread calls [`Driver::turn`] in a loop; a simulation interleaves two drivers and advances a virtual
//! clock between them. Nothing is allocated after [`Driver::new`].

use std::time::Duration;

use pathproof_api::{Clock, Completion, CompletionStatus, Lane, LaneSample, Op, Tick, Wait};

use crate::record::LaneRecorder;
pub use crate::run_error::RunError;
use crate::workload::{Next, Workload};

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done; turn again.
    Worked,
    /// Nothing to do before this tick, or before a completion when `None`.
    Idle(Option<Tick>),
    /// The workload is finished.
    Done,
}

/// Reads the CPU time of the thread that drives the lane.
pub trait Meter: Send {
    /// CPU time so far in ns, or `None` where it cannot be known.
    fn cpu_ns(&mut self) -> Option<u64>;
}

/// A meter that knows nothing (simulations).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn cpu_ns(&mut self) -> Option<u64> {
        None
    }
}

/// Drives one workload over one lane.
pub struct Driver<W, C, M> {
    workload: W,
    clock: C,
    meter: M,
    recorder: LaneRecorder,
    ops: Vec<Op>,
    taken: usize,
    completions: Vec<Completion>,
    outstanding: usize,
    depth: usize,
    now: Tick,
    next: Next,
}

impl<W: Workload, C: Clock, M: Meter> Driver<W, C, M> {
    /// A driver for at most `depth` operations at once. All memory is taken here.
    pub fn new(workload: W, clock: C, meter: M, recorder: LaneRecorder, depth: usize) -> Self {
        let depth = depth.max(1);
        let now = clock.now();
        Driver {
            workload,
            clock,
            meter,
            recorder,
            ops: Vec::with_capacity(depth),
            taken: 0,
            completions: Vec::with_capacity(depth.max(16)),
            outstanding: 0,
            depth,
            now,
            next: Next::Submit,
        }
    }

    /// Asks the workload, submits, polls (waiting at most `wait`) and records. One clock read in the usual
    /// case: the moment after a poll is both the end of what completed and the start of what is asked next.
    pub fn turn(&mut self, lane: &mut dyn Lane, wait: Duration) -> Result<Turn, RunError> {
        if self.taken == self.ops.len() {
            self.ops.clear();
            self.taken = 0;
            let room = self.depth.saturating_sub(self.outstanding);
            self.next = self.workload.next(self.now, room, &mut self.ops);
            self.outstanding += self.ops.len();
        }
        let mut pushed_back = false;
        if self.taken < self.ops.len() {
            let taken = lane.submit(&self.ops[self.taken..])?;
            self.taken += taken;
            pushed_back = self.taken < self.ops.len();
        }
        if self.recorder.sample_due(self.now) {
            let mut sample = LaneSample::default();
            lane.sample(&mut sample);
            self.recorder.sample(self.now, sample, self.meter.cpu_ns());
        }
        if self.next == Next::Leave || (self.next == Next::Done && self.outstanding == 0) {
            return Ok(Turn::Done);
        }
        let unsettled = self.workload.unsettled();
        let wait = match self.next {
            _ if wait.is_zero() || unsettled => Wait::No,
            // More could be submitted at once, and nothing says that the lane is full.
            Next::Submit if !pushed_back && self.outstanding < self.depth => Wait::No,
            Next::IdleUntil(tick) => match tick.since(self.now) {
                none if none.is_zero() => Wait::No,
                some => Wait::AtMost(some.min(wait)),
            },
            _ => Wait::AtMost(wait),
        };
        self.completions.clear();
        let count = lane.poll(&mut self.completions, wait)?;
        if unsettled {
            self.workload.settle(&mut self.recorder);
        }
        let seen = self.workload.watch();
        self.now = self.clock.now();
        if seen {
            self.workload.seen(self.now);
        }
        for completion in &self.completions {
            self.outstanding = self.outstanding.saturating_sub(1);
            match completion.status {
                CompletionStatus::Ok => {
                    self.workload.complete(self.now, completion, &mut self.recorder)?;
                }
                CompletionStatus::Failed(code) => {
                    let verb = verb_name(completion);
                    return Err(in_words(lane).unwrap_or(RunError::Operation { verb, code }));
                }
                _ => {}
            }
        }
        Ok(match (count, self.next) {
            _ if seen => Turn::Worked,
            (0, Next::IdleUntil(tick)) => Turn::Idle(Some(tick)),
            (0, _) => Turn::Idle(None),
            _ => Turn::Worked,
        })
    }

    /// Records what was put off, and takes the last kernel sample if the window has ended without one (a workload that finished early).
    pub fn finish(&mut self, lane: &mut dyn Lane) {
        self.workload.settle(&mut self.recorder);
        self.now = self.clock.now();
        if self.recorder.sample_due(self.now) {
            let mut sample = LaneSample::default();
            lane.sample(&mut sample);
            self.recorder.sample(self.now, sample, self.meter.cpu_ns());
        }
        self.recorder.leave(self.now);
    }

    /// The present tick as the driver last read it.
    pub fn now(&self) -> Tick {
        self.now
    }

    /// The present tick, read now: for who has waited in vain, however long.
    pub fn look_at_the_clock(&mut self) -> Tick {
        self.now = self.clock.now();
        self.now
    }

    /// The workload.
    pub fn workload(&self) -> &W {
        &self.workload
    }

    /// What was recorded so far.
    pub fn recorder(&self) -> &LaneRecorder {
        &self.recorder
    }

    /// What was recorded.
    pub fn into_recorder(self) -> LaneRecorder {
        self.recorder
    }
}

/// The lane's own words for a failure: its next poll that has nothing else to give returns them.
fn in_words(lane: &mut dyn Lane) -> Option<RunError> {
    let mut flushed = Vec::with_capacity(64);
    for _ in 0..64 {
        flushed.clear();
        match lane.poll(&mut flushed, Wait::No) {
            Err(words) => return Some(RunError::Lane(words)),
            Ok(0) => return None,
            Ok(_) => {}
        }
    }
    None
}

fn verb_name(completion: &Completion) -> &'static str {
    use pathproof_api::Verb;
    match completion.verb {
        Verb::Send => "send",
        Verb::Recv => "receive",
        Verb::Write => "write",
        Verb::WriteImmediate => "write-with-immediate",
        Verb::Read => "read",
        Verb::SendInvalidate => "send-with-invalidate",
        _ => "lane",
    }
}
