//! One message at a time, back and forth: the floor of latency. A closed loop by nature.

use pathproof_api::{Completion, Op, Tick, Verb};

use super::{Next, Slots, Workload};
use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// The end that asks and measures.
pub struct PingPong {
    send: Slots,
    receive: Slots,
    size: u32,
    stop: Tick,
    started: Tick,
    under_way: bool,
    count: u64,
    ahead: u64,
    posted: u64,
    /// Start, end and length of an exchange that is not recorded yet.
    unrecorded: Option<(Tick, Tick, u32)>,
}

impl PingPong {
    /// Messages of `size` bytes until `stop`.
    pub fn new(send: Slots, receive: Slots, size: u32, stop: Tick) -> PingPong {
        PingPong {
            send,
            receive,
            size,
            stop,
            started: Tick(0),
            under_way: false,
            count: 0,
            ahead: 1,
            posted: 0,
            unrecorded: None,
        }
    }

    /// Keeps `receives` posted instead of one, where telling the peer of each costs a message of its own.
    pub fn with_receives(mut self, receives: u32) -> PingPong {
        self.ahead = u64::from(receives).max(1);
        self
    }
}

impl PingPong {
    fn refill(&mut self, room: usize, out: &mut Vec<Op>) {
        for _ in 0..(self.ahead - (self.posted - self.count)).min(room as u64) {
            out.push(Op::recv(self.posted, self.receive.region, self.receive.offset(self.posted), self.size));
            self.posted += 1;
        }
    }
}

impl Workload for PingPong {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if self.under_way {
            // Those ahead are refilled while the answer is on its way, so that no sample pays for it.
            if (self.posted - self.count) * 2 <= self.ahead && self.ahead > 1 {
                self.refill(room, out);
            }
            return Next::Await;
        }
        if now >= self.stop {
            // Receives posted ahead will not be answered.
            return if self.posted > self.count { Next::Leave } else { Next::Done };
        }
        if room < 2 {
            return Next::Await;
        }
        // The answer must find a receive posted.
        if self.posted == self.count {
            self.refill(room - 1, out);
        }
        out.push(Op::send(self.count, self.send.region, self.send.offset(self.count), self.size));
        self.started = now;
        self.under_way = true;
        Next::Await
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Recv {
            self.unrecorded = Some((self.started, now, done.len));
            self.under_way = false;
            self.count += 1;
        } else {
            recorder.sent(now, u64::from(done.len));
        }
        Ok(())
    }

    fn unsettled(&self) -> bool {
        self.unrecorded.is_some()
    }

    fn settle(&mut self, recorder: &mut LaneRecorder) {
        if let Some((started, ended, len)) = self.unrecorded.take() {
            recorder.service_latency(started, ended);
            recorder.message(ended);
            recorder.received(ended, u64::from(len));
        }
    }
}

/// The end that answers each message with one of the same size.
pub struct Echo {
    send: Slots,
    receive: Slots,
    size: u32,
    stop: Tick,
    ahead: u64,
    posted: u64,
    arrived: u64,
    answered: u64,
    /// Arrival and length of a question that is not recorded yet.
    unrecorded: Option<(Tick, u32)>,
}

impl Echo {
    /// Answers until `stop`.
    pub fn new(send: Slots, receive: Slots, size: u32, stop: Tick) -> Echo {
        Echo { send, receive, size, stop, ahead: 1, posted: 0, arrived: 0, answered: 0, unrecorded: None }
    }

    /// As [`PingPong::with_receives`].
    pub fn with_receives(mut self, receives: u32) -> Echo {
        self.ahead = u64::from(receives).max(1);
        self
    }
}

impl Workload for Echo {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if now >= self.stop {
            return Next::Leave;
        }
        let mut room = room;
        // The next receive before the answer, so that the next question finds it posted.
        let refill = (self.posted - self.arrived) * 2 <= self.ahead;
        while refill && room > 1 && self.posted - self.arrived < self.ahead {
            out.push(Op::recv(self.posted, self.receive.region, self.receive.offset(self.posted), self.size));
            self.posted += 1;
            room -= 1;
        }
        while room > 0 && self.answered < self.arrived {
            out.push(Op::send(self.answered, self.send.region, self.send.offset(self.answered), self.size));
            self.answered += 1;
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
            self.unrecorded = Some((now, done.len));
            self.arrived += 1;
        } else {
            recorder.sent(now, u64::from(done.len));
        }
        Ok(())
    }

    fn unsettled(&self) -> bool {
        self.unrecorded.is_some()
    }

    fn settle(&mut self, recorder: &mut LaneRecorder) {
        if let Some((arrived, len)) = self.unrecorded.take() {
            recorder.received(arrived, u64::from(len));
            recorder.message(arrived);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Window;
    use pathproof_api::{CompletionStatus, RegionId};

    fn slots() -> Slots {
        Slots { region: RegionId(0), base: 0, stride: 64, slots: 1 }
    }

    fn done(tag: u64, verb: Verb) -> Completion {
        Completion { tag, verb, len: 8, immediate: None, status: CompletionStatus::Ok }
    }

    fn count(ops: &[Op]) -> (usize, usize) {
        let receives = ops.iter().filter(|op| op.verb == Verb::Recv).count();
        (receives, ops.len() - receives)
    }

    #[test]
    fn receives_ahead_are_refilled_by_the_half_while_the_answer_is_on_its_way() {
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, 1000));
        let mut ping = PingPong::new(slots(), slots(), 8, Tick(100)).with_receives(4);
        let mut ops = vec![];
        assert_eq!(ping.next(Tick(1), 8, &mut ops), Next::Await);
        assert_eq!(count(&ops), (4, 1));
        let mut refills = vec![];
        for round in 0..6 {
            ping.complete(Tick(2), &done(round, Verb::Send), &mut recorder).unwrap();
            ping.complete(Tick(2), &done(round, Verb::Recv), &mut recorder).unwrap();
            ops.clear();
            ping.next(Tick(3), 8, &mut ops);
            assert_eq!(count(&ops), (0, 1), "the question goes alone");
            ops.clear();
            ping.next(Tick(4), 8, &mut ops);
            refills.push(count(&ops).0);
        }
        assert_eq!(refills, [0, 2, 0, 2, 0, 2]);
        ping.complete(Tick(5), &done(9, Verb::Recv), &mut recorder).unwrap();
        assert_eq!(ping.next(Tick(100), 8, &mut ops), Next::Leave, "receives ahead are given up");
    }

    #[test]
    fn the_answering_end_keeps_as_many() {
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, 1000));
        let mut echo = Echo::new(slots(), slots(), 8, Tick(100)).with_receives(4);
        let mut ops = vec![];
        echo.next(Tick(1), 8, &mut ops);
        assert_eq!(count(&ops), (4, 0));
        let mut posted = vec![];
        for round in 0..4 {
            echo.complete(Tick(2), &done(round, Verb::Recv), &mut recorder).unwrap();
            ops.clear();
            echo.next(Tick(3), 8, &mut ops);
            posted.push(count(&ops));
        }
        assert_eq!(posted, [(0, 1), (2, 1), (0, 1), (2, 1)]);
    }
}
