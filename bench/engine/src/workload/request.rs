//! Requests and replies, several outstanding. Open loop: requests have intended start times, and response time
//! counts from those, so a stall is charged to every request it delayed (corrected for coordinated omission).
//! Closed loop: the next request waits for a reply, and the result says so.

use pathproof_api::{Completion, Op, Tick, Verb};

use super::{Bucket, Next, Slots, Workload};
use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// Sizes and pace of a request workload on one lane.
#[derive(Clone, Copy, Debug)]
pub struct RequestPlan {
    /// Request size in bytes.
    pub request_bytes: u32,
    /// Reply size in bytes.
    pub reply_bytes: u32,
    /// Requests outstanding at once, at most.
    pub depth: u32,
    /// Time between intended starts in ns (open loop), or `None` (closed loop).
    pub spacing_ns: Option<u64>,
    /// First intended start.
    pub start: Tick,
    /// No request is intended at or after this tick.
    pub stop: Tick,
}

/// The end that asks and measures. Replies come in the order of requests.
pub struct Request {
    plan: RequestPlan,
    send: Slots,
    receive: Slots,
    /// Intended and actual start of the requests outstanding, a ring of `depth`.
    starts: Vec<(Tick, Tick)>,
    asked: u64,
    answered: u64,
    cap: Option<Bucket>,
}

impl Request {
    /// A requester after `plan`.
    pub fn new(plan: RequestPlan, send: Slots, receive: Slots) -> Request {
        let starts = vec![(Tick(0), Tick(0)); plan.depth.max(1) as usize];
        Request { plan, send, receive, starts, asked: 0, answered: 0, cap: None }
    }

    /// Asks no faster than the bucket lets it; what waits for that has been due all the while.
    pub fn capped(mut self, bucket: Option<Bucket>) -> Request {
        self.cap = bucket;
        self
    }

    /// When request `n` is meant to start.
    fn intended(&self, n: u64, now: Tick) -> Tick {
        match self.plan.spacing_ns {
            Some(spacing) => self.plan.start.plus_ns(n.saturating_mul(spacing)),
            None => now,
        }
    }
}

impl Workload for Request {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        let mut room = room / 2;
        loop {
            let intended = self.intended(self.asked, now);
            if intended >= self.plan.stop || (self.plan.spacing_ns.is_none() && now >= self.plan.stop) {
                // Requests intended before the stop are still sent, however late: dropping them would hide the stall.
                return if self.asked == self.answered { Next::Done } else { Next::Await };
            }
            if self.asked - self.answered >= u64::from(self.plan.depth) || room == 0 {
                return Next::Await;
            }
            let due = self.cap.map_or(intended, |bucket| intended.max(bucket.due()));
            if due > now {
                return Next::IdleUntil(due);
            }
            if let Some(bucket) = &mut self.cap {
                bucket.pass(now);
            }
            let slot = (self.asked % self.starts.len() as u64) as usize;
            self.starts[slot] = (intended, now);
            let n = self.asked;
            out.push(Op::recv(n, self.receive.region, self.receive.offset(n), self.plan.reply_bytes));
            out.push(Op::send(n, self.send.region, self.send.offset(n), self.plan.request_bytes));
            self.asked += 1;
            room -= 1;
        }
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Recv {
            let slot = (self.answered % self.starts.len() as u64) as usize;
            let (intended, started) = self.starts[slot];
            match self.plan.spacing_ns {
                Some(_) => recorder.latency(intended, started, now),
                // A closed loop intends nothing; a response time under its name would be a service time.
                None => recorder.service_latency(started, now),
            }
            recorder.message(now);
            recorder.received(now, u64::from(done.len));
            self.answered += 1;
        } else {
            recorder.sent(now, u64::from(done.len));
        }
        Ok(())
    }
}

/// The end that replies, in order.
pub struct Reply {
    plan: RequestPlan,
    send: Slots,
    receive: Slots,
    posted: u64,
    arrived: u64,
    replied: u64,
}

impl Reply {
    /// A replier after `plan`; its `stop` is when it gives up waiting.
    pub fn new(plan: RequestPlan, send: Slots, receive: Slots) -> Reply {
        Reply { plan, send, receive, posted: 0, arrived: 0, replied: 0 }
    }
}

impl Workload for Reply {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if now >= self.plan.stop {
            return Next::Leave;
        }
        let mut room = room;
        while room > 0 && self.posted < self.arrived + u64::from(self.plan.depth) {
            let offset = self.receive.offset(self.posted);
            out.push(Op::recv(self.posted, self.receive.region, offset, self.plan.request_bytes));
            self.posted += 1;
            room -= 1;
        }
        while room > 0 && self.replied < self.arrived {
            let offset = self.send.offset(self.replied);
            out.push(Op::send(self.replied, self.send.region, offset, self.plan.reply_bytes));
            self.replied += 1;
            room -= 1;
        }
        Next::Await
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Recv {
            recorder.received(now, u64::from(done.len));
            recorder.message(now);
            self.arrived += 1;
        } else {
            recorder.sent(now, u64::from(done.len));
        }
        Ok(())
    }
}
