//! The sending half of a stripe: what was accepted, which path carries it, what the peer has.
//!
//! An operation completes when the *peer* has its bytes, not when some path took them: only then is it safe
//! to forget it, because a path may die with everything it had accepted.

use std::collections::VecDeque;

use pathproof_api::{Completion, CompletionStatus, Op, TransportError, Verb};

use crate::frame::{Arrived, FrameKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent { path: u16 },
    Arrived,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    op: Op,
    index: u32,
    state: State,
}

/// Messages between `base` and `next`, each in the slot of its sequence number.
pub(crate) struct Outgoing {
    slots: Vec<Option<Slot>>,
    /// Oldest message that has not completed.
    base: u64,
    /// Next message to be given to a path for the first time.
    send: u64,
    /// Next sequence number.
    next: u64,
    /// Index of the receive that the next message takes.
    index: u32,
    /// Messages whose path died, oldest first.
    again: VecDeque<u64>,
}

/// A message as it goes to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) kind: FrameKind,
    pub(crate) index: u32,
    pub(crate) op: Op,
}

impl Outgoing {
    pub(crate) fn new(window: u32) -> Outgoing {
        Outgoing {
            slots: vec![None; window as usize],
            base: 0,
            send: 0,
            next: 0,
            index: 0,
            again: VecDeque::with_capacity(window as usize),
        }
    }

    fn slot(&mut self, sequence: u64) -> Option<&mut Slot> {
        let at = (sequence % self.slots.len() as u64) as usize;
        if !(self.base..self.next).contains(&sequence) {
            return None;
        }
        self.slots[at].as_mut()
    }

    /// Whether one more operation may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.next - self.base < self.slots.len() as u64
    }

    /// Accepts an operation; the caller has asked [`Outgoing::has_room`].
    pub(crate) fn push(&mut self, op: Op) {
        let at = (self.next % self.slots.len() as u64) as usize;
        self.slots[at] = Some(Slot { op, index: self.index, state: State::Waiting });
        if kind(op.verb).takes_receive() {
            self.index = self.index.wrapping_add(1);
        }
        self.next += 1;
    }

    /// Whether everything accepted has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.base == self.next
    }

    /// The message to go next: first those whose path died.
    pub(crate) fn peek(&mut self) -> Option<Message> {
        while let Some(&sequence) = self.again.front() {
            match self.slot(sequence) {
                Some(slot) if slot.state == State::Waiting => return Some(message(sequence, slot)),
                // It arrived over the dying path after all.
                _ => drop(self.again.pop_front()),
            }
        }
        let sequence = self.send;
        let slot = self.slot(sequence)?;
        Some(message(sequence, slot))
    }

    /// The message that [`Outgoing::peek`] returned has gone to `path`.
    pub(crate) fn given_to(&mut self, sequence: u64, path: u16) {
        if let Some(slot) = self.slot(sequence) {
            slot.state = State::Sent { path };
        }
        if self.again.front() == Some(&sequence) {
            self.again.pop_front();
        } else if sequence == self.send {
            self.send += 1;
        }
    }

    /// Takes the peer's word for what has arrived, and tells path and length of what is new in it.
    pub(crate) fn arrived(
        &mut self,
        arrived: &Arrived,
        mut told: impl FnMut(u16, u32),
    ) -> Result<(), TransportError> {
        if arrived.below > self.send {
            return Err(TransportError::Protocol {
                operation: "reading acknowledgements of a stripe".into(),
                detail: format!("message {} is acknowledged before it was sent", arrived.below - 1),
            });
        }
        for sequence in self.base..arrived.below {
            self.mark(sequence, &mut told);
        }
        for (word, bits) in arrived.beyond.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let bit = u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                self.mark(arrived.below.saturating_add(1 + 64 * word as u64 + bit), &mut told);
            }
        }
        Ok(())
    }

    fn mark(&mut self, sequence: u64, told: &mut impl FnMut(u16, u32)) {
        // A bit for a message that was never sent says nothing.
        if sequence >= self.send {
            return;
        }
        let Some(slot) = self.slot(sequence) else { return };
        let len = slot.op.len;
        match std::mem::replace(&mut slot.state, State::Arrived) {
            State::Sent { path } => told(path, len),
            State::Waiting | State::Arrived => {}
        }
    }

    /// A path died: whatever it carried and the peer has not confirmed goes again. Returns messages and bytes.
    pub(crate) fn lost(&mut self, path: u16) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        for sequence in self.base..self.send {
            let Some(slot) = self.slot(sequence) else { continue };
            if slot.state == (State::Sent { path }) {
                slot.state = State::Waiting;
                messages += 1;
                bytes += u64::from(slot.op.len);
                self.again.push_back(sequence);
            }
        }
        // Another path's may be waiting here already.
        self.again.make_contiguous().sort_unstable();
        (messages, bytes)
    }

    /// The oldest operation, if the peer has it.
    pub(crate) fn completed(&mut self) -> Option<Completion> {
        let base = self.base;
        let slot = self.slot(base)?;
        if slot.state != State::Arrived {
            return None;
        }
        let Op { tag, verb, len, .. } = slot.op;
        let at = (base % self.slots.len() as u64) as usize;
        self.slots[at] = None;
        self.base += 1;
        Some(Completion { tag, verb, len, immediate: None, status: CompletionStatus::Ok })
    }
}

fn kind(verb: Verb) -> FrameKind {
    match verb {
        Verb::Write => FrameKind::Write,
        Verb::WriteImmediate => FrameKind::WriteImmediate,
        _ => FrameKind::Send,
    }
}

fn message(sequence: u64, slot: &Slot) -> Message {
    Message { sequence, kind: kind(slot.op.verb), index: slot.index, op: slot.op }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_api::RegionId;

    fn sent(count: u64, paths: u16) -> Outgoing {
        let mut out = Outgoing::new(8);
        for tag in 0..count {
            out.push(Op::send(tag, RegionId(0), 0, 10));
            let message = out.peek().unwrap();
            assert_eq!(message.sequence, tag);
            out.given_to(tag, (tag % u64::from(paths)) as u16);
        }
        out
    }

    fn tags(out: &mut Outgoing) -> Vec<u64> {
        std::iter::from_fn(|| out.completed()).map(|c| c.tag).collect()
    }

    #[test]
    fn operations_complete_in_order_whatever_arrives_first() {
        let mut out = sent(4, 2);
        let mut told = vec![];
        out.arrived(&Arrived { below: 0, beyond: [0b11, 0, 0] }, |path, len| told.push((path, len))).unwrap();
        assert_eq!((told, tags(&mut out)), (vec![(1, 10), (0, 10)], vec![]));
        out.arrived(&Arrived { below: 3, beyond: [0; 3] }, |_, _| {}).unwrap();
        assert_eq!(tags(&mut out), [0, 1, 2]);
        assert!(!out.is_empty());
    }

    #[test]
    fn a_lost_path_gives_back_what_is_unconfirmed_and_nothing_else() {
        let mut out = sent(6, 2);
        out.arrived(&Arrived { below: 1, beyond: [0b10, 0, 0] }, |_, _| {}).unwrap();
        assert_eq!(out.lost(1), (2, 20), "1 and 5; 3 has arrived");
        out.push(Op::send(6, RegionId(0), 0, 10));
        let order: Vec<u64> = std::iter::from_fn(|| {
            let sequence = out.peek()?.sequence;
            out.given_to(sequence, 0);
            Some(sequence)
        })
        .collect();
        assert_eq!(order, [1, 5, 6]);
        assert_eq!(out.lost(1), (0, 0));
    }

    #[test]
    fn what_arrived_over_a_dying_path_is_not_sent_again() {
        let mut out = sent(3, 1);
        assert_eq!(out.lost(0), (3, 30));
        out.arrived(&Arrived { below: 2, beyond: [0; 3] }, |_, _| {}).unwrap();
        assert_eq!(out.peek().unwrap().sequence, 2);
        assert_eq!(tags(&mut out), [0, 1]);
    }

    #[test]
    fn a_peer_that_confirms_too_much_is_refused() {
        let mut out = sent(2, 1);
        assert!(out.arrived(&Arrived { below: 3, beyond: [0; 3] }, |_, _| {}).is_err());
        let mut told = 0;
        out.push(Op::send(2, RegionId(0), 0, 10));
        out.arrived(&Arrived { below: 0, beyond: [u64::MAX; 3] }, |_, _| told += 1).unwrap();
        assert_eq!((told, out.peek().unwrap().sequence), (1, 2), "nothing beyond what was sent");
    }

    #[test]
    fn the_window_bounds_what_is_accepted() {
        let mut out = sent(8, 1);
        assert!(!out.has_room());
        out.arrived(&Arrived { below: 0, beyond: [u64::MAX; 3] }, |_, _| {}).unwrap();
        assert!(!out.has_room(), "the oldest is still missing");
        out.arrived(&Arrived { below: 1, beyond: [0; 3] }, |_, _| {}).unwrap();
        assert_eq!(tags(&mut out), (0..8).collect::<Vec<_>>());
        assert!(out.has_room() && out.is_empty());
    }
}
