//! What is given to the paths: messages by the rule of the stripe, and what the peer would otherwise not hear.

use pathproof_api::{Op, Tick};

use super::StripedLane;
use crate::frame::{FrameKind, Head};
use crate::plan::Share;

impl StripedLane {
    /// Gives waiting messages to paths.
    pub(super) fn feed(&mut self, now: Tick) {
        while let Some(message) = self.outgoing.peek() {
            let Some(index) = self.choose(message.op.len) else { return };
            let head = Head {
                kind: message.kind,
                len: message.op.len,
                sequence: message.sequence,
                offset: message.op.remote_offset,
                immediate: message.op.immediate,
                index: message.index,
                arrived: self.incoming.arrived(),
            };
            self.confirm &= !(1 << index);
            self.outgoing.given_to(message.sequence, index);
            self.paths[usize::from(index)].charge(message.op.len, now);
            self.send(index, &head, (message.op.len > 0).then_some(message.op));
        }
    }

    pub(super) fn choose(&self, len: u32) -> Option<u16> {
        let mut open = self.paths.iter().enumerate().filter(|(_, path)| path.has_room());
        let chosen = match self.share {
            // The one in use may have no room at the moment: what comes next waits for it, and goes over no other.
            Share::Ordered => {
                let first = self.any_live();
                open.find(|(index, _)| first == Some(*index as u16))
            }
            Share::Fewest => open.min_by_key(|(_, path)| (path.outstanding, path.tally.sent_bytes)),
            Share::Weighted => open.min_by(|(_, a), (_, b)| a.done_in(len).total_cmp(&b.done_in(len))),
        };
        chosen.map(|(index, _)| index as u16)
    }

    /// Tells the peer what it would otherwise not hear: deaths, and what has arrived.
    pub(super) fn tell(&mut self) {
        let arrived = self.incoming.arrived();
        let over = if self.announce { self.willing() } else { None };
        if let Some(over) = over {
            self.announce = false;
            for index in 0..self.paths.len() {
                let path = &self.paths[index];
                if !path.is_live() {
                    let (sequence, generation) = (index as u64, path.generation);
                    let lost = Head { sequence, index: generation, ..Head::bare(FrameKind::Lost, arrived) };
                    self.send(over, &lost, None);
                }
            }
        }
        if self.confirm == 0 {
            return;
        }
        for index in 0..self.paths.len() as u16 {
            if self.confirm & (1 << index) != 0 && self.paths[usize::from(index)].has_room() {
                self.confirm &= !(1 << index);
                self.send(index, &Head::bare(FrameKind::Ack, arrived), None);
            }
        }
    }

    /// A path that takes a header now.
    pub(super) fn willing(&self) -> Option<u16> {
        self.live().find(|&i| self.paths[usize::from(i)].has_room())
    }

    /// Sends over a path; a failure is that path's death and nobody else's.
    pub(super) fn send(&mut self, index: u16, head: &Head, message: Option<Op>) {
        if let Err(error) = self.paths[usize::from(index)].send(head, message) {
            self.die(index, error.to_string(), error.how());
        }
    }
}
