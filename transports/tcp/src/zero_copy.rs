//! Which zero-copy sends the kernel still reads from (`Documentation/networking/msg_zerocopy.rst`).
//!
//! Every `MSG_ZEROCOPY` call has a number; its memory is free when a notification names that number. The
//! notifications may come out of order, so numbers are kept until all before them are done: operations then
//! complete in the order submitted, as the lane contract asks.

use std::collections::VecDeque;

use pathproof_api::Op;
use pathproof_sys::socket::ZeroCopyDone;

/// One call whose memory the kernel may still read.
struct Call {
    done: bool,
    /// Whether it has a number; an operation sent by copy waits here for its turn without one.
    numbered: bool,
    /// The operation that this call finished sending, if it did.
    last_of: Option<Op>,
}

/// Calls in flight, oldest first.
pub(crate) struct InFlight {
    calls: VecDeque<Call>,
    room: usize,
    /// Number of the oldest call in `calls`.
    first: u32,
    operations: usize,
    /// Notifications that said the kernel had copied after all.
    pub(crate) copied: u64,
}

impl InFlight {
    /// Room for `calls` calls; one more must be sent by copy. Each of `operations` may wait here besides.
    pub(crate) fn new(calls: usize, operations: usize) -> InFlight {
        InFlight {
            calls: VecDeque::with_capacity(calls + operations),
            room: calls,
            first: 0,
            operations: 0,
            copied: 0,
        }
    }

    /// Whether another call fits without allocating.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < self.room
    }

    /// Operations sent and not yet free.
    pub(crate) fn operations(&self) -> usize {
        self.operations
    }

    /// A call was made; `last_of` is the operation that it finished.
    pub(crate) fn called(&mut self, last_of: Option<Op>) {
        self.operations += usize::from(last_of.is_some());
        self.calls.push_back(Call { done: false, numbered: true, last_of });
    }

    /// `op` was sent by copy behind calls still in flight, and completes after them.
    pub(crate) fn copied_op(&mut self, op: Op) {
        self.operations += 1;
        self.calls.push_back(Call { done: true, numbered: false, last_of: Some(op) });
    }

    /// Whether nothing is awaited.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Notes a notification. Numbers that were never given out are ignored: they cannot hurt us.
    pub(crate) fn note(&mut self, done: ZeroCopyDone) {
        if done.copied {
            self.copied += 1;
        }
        let count = u64::from(done.last.wrapping_sub(done.first)) + 1;
        let start = done.first.wrapping_sub(self.first) as usize;
        let numbered = self.calls.iter_mut().filter(|call| call.numbered);
        for call in numbered.skip(start).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            call.done = true;
        }
    }

    /// The next operation that is free, in the order sent.
    pub(crate) fn next_free(&mut self) -> Option<Op> {
        while self.calls.front().is_some_and(|call| call.done) {
            let Some(call) = self.calls.pop_front() else { break };
            self.first = self.first.wrapping_add(u32::from(call.numbered));
            if let Some(op) = call.last_of {
                self.operations -= 1;
                return Some(op);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_api::RegionId;

    fn op(tag: u64) -> Op {
        Op::send(tag, RegionId(0), 0, 1)
    }

    fn done(first: u32, last: u32) -> ZeroCopyDone {
        ZeroCopyDone { first, last, copied: false }
    }

    #[test]
    fn out_of_order_notifications_free_in_order() {
        let mut flight = InFlight::new(8, 2);
        flight.called(None);
        flight.called(Some(op(1)));
        flight.called(Some(op(2)));
        flight.note(done(1, 2));
        assert_eq!(flight.next_free(), None, "the first half of operation 1 is still being read");
        flight.note(done(0, 0));
        assert_eq!(flight.next_free().map(|o| o.tag), Some(1));
        assert_eq!(flight.next_free().map(|o| o.tag), Some(2));
        assert_eq!((flight.next_free(), flight.operations()), (None, 0));
    }

    #[test]
    fn numbers_wrap_and_strange_ones_are_ignored() {
        let mut flight = InFlight::new(4, 2);
        flight.first = u32::MAX;
        flight.called(Some(op(1)));
        flight.called(Some(op(2)));
        flight.note(done(700, 900));
        assert_eq!(flight.next_free(), None);
        flight.note(done(u32::MAX, 0));
        assert_eq!(flight.next_free().map(|o| o.tag), Some(1));
        assert_eq!(flight.next_free().map(|o| o.tag), Some(2));
    }
}
