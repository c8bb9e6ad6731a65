//! The receiving half of a stripe: puts messages that come over several paths back into one order, each
//! exactly once.
//!
//! A message goes straight to the memory of the receive it belongs to. Only one whose receive is not posted
//! yet waits in the staging area, which has a place for each message that may be under way, so no path is ever
//! held up behind a message that cannot be placed.

use std::collections::VecDeque;

use pathproof_api::{Completion, CompletionStatus, Op, TransportError, Verb};

use crate::frame::{Arrived, FrameKind, Head};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    /// Being read from this path.
    Busy {
        path: u16,
    },
    /// In the staging area.
    Staged,
    /// Where it belongs.
    Placed,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    head: Option<Head>,
    /// While busy: it goes to the staging area.
    staging: bool,
}

/// Where the bytes of a message are to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into the memory of this receive.
    Receive(Op),
    /// Into the region that the peer may write, at this offset.
    Target(u64),
    /// Into this slot of the staging area.
    Staging(u64),
    /// Nowhere: it has arrived before.
    Nowhere,
}

/// Messages from `base` on, each in the slot of its sequence number.
pub(crate) struct Incoming {
    slots: Vec<Slot>,
    /// Oldest message that has not been handed on in order. The peer is told of nothing beyond the window that
    /// begins here, so a slot is free when its turn comes.
    base: u64,
    /// No message at or above this was ever seen.
    seen: u64,
    posted: VecDeque<Op>,
    /// Index of the first posted receive.
    index: u32,
    staged: u32,
    /// Messages that came again and were thrown away, and their bytes.
    pub(crate) duplicates: u64,
    pub(crate) discarded_bytes: u64,
    /// Bytes handed on in the place of another message: 0 unless this code is wrong.
    pub(crate) doubled_bytes: u64,
}

const WHAT: &str = "reading a message of a stripe";

fn protocol(detail: String) -> TransportError {
    TransportError::Protocol { operation: WHAT.into(), detail }
}

impl Incoming {
    pub(crate) fn new(window: u32) -> Incoming {
        let slot = Slot { state: State::Missing, head: None, staging: false };
        Incoming {
            slots: vec![slot; window as usize],
            base: 0,
            seen: 0,
            posted: VecDeque::with_capacity(window as usize),
            index: 0,
            staged: 0,
            duplicates: 0,
            discarded_bytes: 0,
            doubled_bytes: 0,
        }
    }

    fn at(&self, sequence: u64) -> usize {
        (sequence % self.slots.len() as u64) as usize
    }

    /// Whether one more receive may be posted.
    pub(crate) fn has_room(&self) -> bool {
        self.posted.len() < self.slots.len()
    }

    /// Posts a receive; the caller has asked [`Incoming::has_room`].
    pub(crate) fn post(&mut self, op: Op) {
        self.posted.push_back(op);
    }

    /// The posted receive with this index.
    fn receive(&self, index: u32) -> Option<Op> {
        self.posted.get(index.wrapping_sub(self.index) as usize).copied()
    }

    /// The path that is in the middle of this message. It must be given up before the message can be admitted
    /// from another one, or it could still write to memory that has been handed on.
    pub(crate) fn busy_with(&self, sequence: u64) -> Option<u16> {
        if !(self.base..self.seen).contains(&sequence) {
            return None;
        }
        match self.slots[self.at(sequence)].state {
            State::Busy { path } => Some(path),
            _ => None,
        }
    }

    /// Says where the message behind `head`, coming over `path`, is to be put.
    pub(crate) fn admit(&mut self, head: &Head, path: u16) -> Result<Place, TransportError> {
        let sequence = head.sequence;
        // The peer's window is ours: it sends nothing beyond it, counted from what it knows we have.
        if sequence >= self.base.saturating_add(self.slots.len() as u64) {
            return Err(protocol(format!("message {sequence} lies beyond the window at {}", self.base)));
        }
        let at = self.at(sequence);
        if sequence < self.base || (sequence < self.seen && self.slots[at].state != State::Missing) {
            self.duplicates += 1;
            self.discarded_bytes += u64::from(head.len);
            return Ok(Place::Nowhere);
        }
        let place = match (head.kind, self.receive(head.index)) {
            (FrameKind::Write | FrameKind::WriteImmediate, _) => Place::Target(head.offset),
            (_, Some(op)) if head.len > op.len => {
                let detail = format!("a message of {} bytes for a receive of {} bytes", head.len, op.len);
                return Err(protocol(detail));
            }
            (_, Some(op)) => Place::Receive(op),
            (_, None) => Place::Staging(at as u64),
        };
        let staging = matches!(place, Place::Staging(_));
        self.slots[at] = Slot { state: State::Busy { path }, head: Some(*head), staging };
        self.seen = self.seen.max(sequence + 1);
        Ok(place)
    }

    /// All bytes of an admitted message are there.
    pub(crate) fn complete(&mut self, sequence: u64) {
        let at = self.at(sequence);
        if self.slots[at].staging {
            self.slots[at].state = State::Staged;
            self.staged += 1;
        } else {
            self.slots[at].state = State::Placed;
        }
    }

    /// A path died: a message that it was in the middle of is missing again.
    pub(crate) fn lost(&mut self, path: u16) {
        for slot in &mut self.slots {
            if slot.state == (State::Busy { path }) {
                slot.state = State::Missing;
            }
        }
    }

    /// A staged message whose receive has been posted since: slot of the staging area, receive and length. The
    /// caller copies, then calls [`Incoming::unstaged`].
    pub(crate) fn to_unstage(&self) -> Option<(u64, u64, Op, u32)> {
        if self.staged == 0 {
            return None;
        }
        (self.base..self.seen).find_map(|sequence| {
            let at = self.at(sequence);
            let slot = &self.slots[at];
            let head = slot.head.filter(|_| slot.state == State::Staged)?;
            Some((sequence, at as u64, self.receive(head.index)?, head.len))
        })
    }

    /// A staged message is now in the memory of its receive.
    pub(crate) fn unstaged(&mut self, sequence: u64) {
        let at = self.at(sequence);
        self.slots[at].state = State::Placed;
        self.staged -= 1;
    }

    /// A message is missing although a later one is here.
    pub(crate) fn has_gap(&self) -> bool {
        self.base < self.seen
    }

    /// What to tell the peer.
    pub(crate) fn arrived(&self) -> Arrived {
        let mut arrived = Arrived { below: self.base, beyond: [0; 3] };
        for sequence in self.base + 1..self.seen {
            let bit = sequence - self.base - 1;
            if self.slots[self.at(sequence)].state == State::Placed
                && let Some(word) = arrived.beyond.get_mut(bit as usize / 64)
            {
                *word |= 1 << (bit % 64);
            }
        }
        arrived
    }

    /// The next receive in order, if its message is there. Writes in between pass silently.
    pub(crate) fn completed(&mut self) -> Option<Completion> {
        while self.base < self.seen {
            let at = self.at(self.base);
            let head = self.slots[at].head.filter(|_| self.slots[at].state == State::Placed)?;
            // A write with immediate data lands without a receive, and then waits for one to tell it by.
            let op = if head.kind.takes_receive() { Some(*self.posted.front()?) } else { None };
            self.slots[at].state = State::Missing;
            self.base += 1;
            if head.sequence != self.base - 1 {
                self.doubled_bytes += u64::from(head.len);
            }
            let Some(op) = op else { continue };
            self.posted.pop_front();
            self.index = self.index.wrapping_add(1);
            return Some(Completion {
                tag: op.tag,
                verb: Verb::Recv,
                len: head.len,
                immediate: (head.kind == FrameKind::WriteImmediate).then_some(head.immediate),
                status: CompletionStatus::Ok,
            });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_api::RegionId;

    fn head(sequence: u64) -> Head {
        let arrived = Arrived::default();
        Head {
            kind: FrameKind::Send,
            len: 10,
            sequence,
            offset: 0,
            immediate: 0,
            index: sequence as u32,
            arrived,
        }
    }

    fn posted(count: u64) -> Incoming {
        let mut incoming = Incoming::new(8);
        for tag in 0..count {
            incoming.post(Op::recv(tag, RegionId(0), 100 * tag, 10));
        }
        incoming
    }

    fn tags(incoming: &mut Incoming) -> Vec<u64> {
        std::iter::from_fn(|| incoming.completed()).map(|c| c.tag).collect()
    }

    #[test]
    fn receives_complete_in_order_whatever_path_is_quicker() {
        let mut incoming = posted(3);
        for sequence in [2, 0, 1] {
            assert!(
                matches!(incoming.admit(&head(sequence), 0).unwrap(), Place::Receive(op) if op.tag == sequence)
            );
            incoming.complete(sequence);
            if sequence == 2 {
                assert_eq!(incoming.arrived(), Arrived { below: 0, beyond: [0b10, 0, 0] });
                assert_eq!(tags(&mut incoming), []);
            }
        }
        assert_eq!(incoming.arrived(), Arrived { below: 0, beyond: [0b11, 0, 0] });
        assert_eq!(tags(&mut incoming), [0, 1, 2]);
        assert_eq!(incoming.arrived(), Arrived { below: 3, beyond: [0; 3] });
    }

    #[test]
    fn what_comes_twice_is_thrown_away() {
        let mut incoming = posted(2);
        incoming.admit(&head(0), 0).unwrap();
        incoming.complete(0);
        assert_eq!(incoming.admit(&head(0), 1).unwrap(), Place::Nowhere, "before its receive is told");
        assert_eq!(tags(&mut incoming), [0]);
        assert_eq!(incoming.admit(&head(0), 1).unwrap(), Place::Nowhere, "and after");
        assert_eq!(incoming.duplicates, 2);
    }

    #[test]
    fn half_a_message_of_a_dead_path_is_missing_again() {
        let mut incoming = posted(2);
        incoming.admit(&head(0), 0).unwrap();
        assert_eq!(incoming.busy_with(0), Some(0));
        incoming.lost(0);
        assert_eq!(incoming.busy_with(0), None);
        assert!(matches!(incoming.admit(&head(0), 1).unwrap(), Place::Receive(_)));
        incoming.complete(0);
        assert_eq!(tags(&mut incoming), [0]);
    }

    #[test]
    fn a_message_without_a_receive_waits_in_its_own_place_unconfirmed() {
        let mut incoming = posted(1);
        assert_eq!(incoming.admit(&head(1), 0).unwrap(), Place::Staging(1));
        incoming.complete(1);
        assert_eq!(incoming.arrived(), Arrived::default());
        assert_eq!(incoming.to_unstage(), None);
        assert_eq!(incoming.admit(&head(1), 1).unwrap(), Place::Nowhere, "it is here already");
        incoming.post(Op::recv(1, RegionId(0), 100, 10));
        let (sequence, slot, op, len) = incoming.to_unstage().unwrap();
        assert_eq!((sequence, slot, op.tag, len), (1, 1, 1, 10));
        incoming.unstaged(1);
        assert_eq!(incoming.arrived().beyond[0], 1);
    }

    #[test]
    fn a_peer_that_breaks_the_rules_is_refused() {
        let mut incoming = posted(1);
        assert!(incoming.admit(&head(8), 0).is_err(), "beyond the window");
        assert!(incoming.admit(&head(u64::MAX), 0).is_err());
        let long = Head { len: 11, ..head(0) };
        assert!(incoming.admit(&long, 0).is_err(), "longer than the receive");
    }

    #[test]
    fn writes_take_no_receive_and_keep_their_place_in_the_order() {
        let mut incoming = posted(1);
        let write = Head { kind: FrameKind::Write, offset: 77, index: 0, ..head(0) };
        let send = Head { index: 0, ..head(1) };
        incoming.admit(&send, 0).unwrap();
        incoming.complete(1);
        assert_eq!(tags(&mut incoming), [], "the write before it is missing");
        assert_eq!(incoming.admit(&write, 1).unwrap(), Place::Target(77));
        incoming.complete(0);
        assert_eq!(tags(&mut incoming), [0]);
    }
}
