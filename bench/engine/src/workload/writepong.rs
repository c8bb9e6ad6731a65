//! Ping-pong by RDMA writes: the message is noticed by looking at memory, as `ib_write_lat` does. No receive is
//! involved, and waiting costs a core by nature.

use std::sync::Arc;

use pathproof_api::{Completion, Op, Region, Tick, Verb};

use super::{Next, Slots, Workload};
use crate::record::LaneRecorder;
use crate::run_error::RunError;

/// Looks at memory in one turn of the driver. They take about as long as the rest of a turn, in which nobody looks.
const LOOKS: u32 = 64;

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

    /// Whether the message with this number has arrived, or does within [`LOOKS`].
    fn arrives(&self, number: u64) -> bool {
        let at = self.receive.offset(0) + u64::from(self.size) - 1;
        let (word_at, byte, mark) = (at & !7, (at & 7) as usize, mark(number));
        (0..LOOKS).any(|_| self.region.load_word(word_at).unwrap_or(0).to_le_bytes()[byte] == mark)
    }
}

/// Never zero, and different for neighbouring numbers.
fn mark(number: u64) -> u8 {
    (number % 255) as u8 + 1
}

/// The end that asks and measures.
///
/// A write whose answer has come has arrived, whenever the lane says so: the next one does not wait for that, and at the end
/// there is nothing to wait for. As many writes are under way as the driver has room for.
pub struct WritePing {
    memory: WritePongMemory,
    stop: Tick,
    started: Tick,
    number: u64,
    under_way: bool,
    /// Start and end of an exchange that is not recorded yet.
    unrecorded: Option<(Tick, Tick)>,
}

impl WritePing {
    /// Round trips until `stop`.
    pub fn new(memory: WritePongMemory, stop: Tick) -> WritePing {
        WritePing { memory, stop, started: Tick(0), number: 0, under_way: false, unrecorded: None }
    }
}

impl Workload for WritePing {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if self.under_way {
            return Next::Submit;
        }
        if now >= self.stop {
            return Next::Leave;
        }
        if room == 0 {
            return Next::Submit;
        }
        out.push(self.memory.write(self.number));
        self.started = now;
        self.under_way = true;
        Next::Submit
    }

    fn watch(&mut self) -> bool {
        self.under_way && self.memory.arrives(self.number)
    }

    fn seen(&mut self, now: Tick) {
        self.unrecorded = Some((self.started, now));
        self.under_way = false;
        self.number += 1;
    }

    fn unsettled(&self) -> bool {
        self.unrecorded.is_some()
    }

    fn settle(&mut self, recorder: &mut LaneRecorder) {
        if let Some((started, ended)) = self.unrecorded.take() {
            recorder.service_latency(started, ended);
            recorder.message(ended);
            recorder.received(ended, u64::from(self.memory.size));
        }
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Write {
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
    /// A question has come that is not answered yet.
    due: bool,
    /// When a question came that is not recorded yet.
    unrecorded: Option<Tick>,
}

impl WritePong {
    /// Answers until `stop`.
    pub fn new(memory: WritePongMemory, stop: Tick) -> WritePong {
        WritePong { memory, stop, number: 0, due: false, unrecorded: None }
    }
}

impl Workload for WritePong {
    fn next(&mut self, now: Tick, room: usize, out: &mut Vec<Op>) -> Next {
        if now >= self.stop {
            return Next::Leave;
        }
        if self.due && room > 0 {
            out.push(self.memory.write(self.number));
            self.number += 1;
            self.due = false;
        }
        Next::Submit
    }

    fn watch(&mut self) -> bool {
        !self.due && self.memory.arrives(self.number)
    }

    fn seen(&mut self, now: Tick) {
        self.due = true;
        self.unrecorded = Some(now);
    }

    fn unsettled(&self) -> bool {
        self.unrecorded.is_some()
    }

    fn settle(&mut self, recorder: &mut LaneRecorder) {
        if let Some(arrived) = self.unrecorded.take() {
            recorder.received(arrived, u64::from(self.memory.size));
            recorder.message(arrived);
        }
    }

    fn complete(
        &mut self,
        now: Tick,
        done: &Completion,
        recorder: &mut LaneRecorder,
    ) -> Result<(), RunError> {
        if done.verb == Verb::Write {
            recorder.sent(now, u64::from(done.len));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Window;
    use pathproof_api::{Pages, RegionId};

    const RECEIVED_AT: u64 = 64;

    fn memory() -> WritePongMemory {
        let slot = |base| Slots { region: RegionId(0), base, stride: 64, slots: 1 };
        let region = Arc::new(Region::new(4096, Pages::Default).unwrap());
        WritePongMemory { region, send: slot(0), receive: slot(RECEIVED_AT), size: 8 }
    }

    fn arrive(memory: &WritePongMemory, number: u64) {
        memory.region.copy_in(RECEIVED_AT + 7, &[mark(number)]).unwrap();
    }

    #[test]
    fn an_exchange_ends_when_its_answer_is_seen_and_waits_for_no_completion() {
        let memory = memory();
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, 1000));
        let mut ping = WritePing::new(memory.clone(), Tick(100));
        let mut ops = vec![];
        for number in 0..5 {
            let now = Tick(10 * number + 1);
            ops.clear();
            assert_eq!(ping.next(now, 8 - number as usize, &mut ops), Next::Submit);
            assert_eq!(ops.len(), 1, "of none before was told that it has left");
            assert!(!ping.watch());
            arrive(&memory, number);
            assert!(ping.watch());
            ping.seen(now.plus_ns(7));
            assert!(ping.unsettled());
            assert_eq!(recorder.messages(), number, "recorded when the next question is on its way");
            ping.settle(&mut recorder);
        }
        assert_eq!((recorder.messages(), recorder.received_bytes()), (5, 40));
        assert_eq!(recorder.service().quantile(1.0), Some(7));
        assert_eq!(ping.next(Tick(100), 0, &mut ops), Next::Leave, "all that it wrote was answered");
    }

    #[test]
    fn a_question_is_answered_once_and_counted_when_it_came() {
        let memory = memory();
        let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, 1000));
        let mut pong = WritePong::new(memory.clone(), Tick(100));
        let mut ops = vec![];
        let mut asked = |pong: &mut WritePong, now: u64, room: usize| {
            ops.clear();
            assert_eq!(pong.next(Tick(now), room, &mut ops), Next::Submit);
            ops.len()
        };
        assert_eq!(asked(&mut pong, 1, 4), 0);
        assert!(!pong.watch());
        arrive(&memory, 0);
        assert!(pong.watch());
        pong.seen(Tick(5));
        assert!(!pong.watch(), "it is known already");
        assert_eq!(asked(&mut pong, 6, 0), 0, "there is no room");
        assert_eq!((asked(&mut pong, 7, 4), asked(&mut pong, 8, 4)), (1, 0));
        assert!(pong.unsettled());
        pong.settle(&mut recorder);
        assert_eq!((recorder.messages(), recorder.received_bytes()), (1, 8));
        let mut late = vec![];
        assert_eq!((pong.next(Tick(100), 4, &mut late), late.len()), (Next::Leave, 0));
    }
}
