//! Both halves of a stripe against a network that delays, replays and kills, without sockets or time: whatever
//! happens, every message is handed on exactly once and in order.

use std::collections::VecDeque;

use pathproof_api::{Op, RegionId};
use proptest::prelude::*;

use crate::frame::{Arrived, Head};
use crate::incoming::{Incoming, Place};
use crate::outgoing::Outgoing;

const WINDOW: u32 = 8;
const PATHS: usize = 3;
const LEN: u32 = 10;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The sender gives its next message to a path.
    Give(usize),
    /// A path delivers its oldest message whole.
    Deliver(usize),
    /// A path delivers the header and a part of its oldest message.
    Begin(usize),
    /// The sender hears what has arrived.
    Confirm,
    /// The sender gives a path up, though what it carries may still arrive.
    Abandon(usize),
    /// A path is gone for the receiver as well, with all that it carries.
    Vanish(usize),
    /// The receiver posts one more receive, perhaps after the message came.
    Post,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..PATHS).prop_map(Event::Give),
        4 => (0..PATHS).prop_map(Event::Deliver),
        1 => (0..PATHS).prop_map(Event::Begin),
        2 => Just(Event::Confirm),
        1 => (0..PATHS).prop_map(Event::Abandon),
        1 => (0..PATHS).prop_map(Event::Vanish),
        3 => Just(Event::Post),
    ]
}

struct Story {
    out: Outgoing,
    into: Incoming,
    wires: [VecDeque<Head>; PATHS],
    /// The path is in the middle of its oldest message.
    begun: [bool; PATHS],
    pushed: u64,
    posted: u64,
    handed_on: u64,
    completed: u64,
    /// Messages that the receiver read and threw away.
    discarded: u64,
}

impl Story {
    fn new() -> Story {
        Story {
            out: Outgoing::new(WINDOW),
            into: Incoming::new(WINDOW),
            wires: Default::default(),
            begun: [false; PATHS],
            pushed: 0,
            posted: 0,
            handed_on: 0,
            completed: 0,
            discarded: 0,
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Give(path) => {
                if self.out.has_room() {
                    self.out.push(Op::send(self.pushed, RegionId(0), 0, LEN));
                    self.pushed += 1;
                }
                self.give(path);
            }
            Event::Begin(path) => self.begin(path),
            Event::Deliver(path) => {
                self.begin(path);
                if let Some(head) = self.wires[path].front().copied().filter(|_| self.begun[path]) {
                    self.into.complete(head.sequence);
                    self.wires[path].pop_front();
                    self.begun[path] = false;
                }
            }
            Event::Confirm => {
                self.out.arrived(&self.into.arrived(), |_, _| {}).unwrap();
                while let Some(done) = self.out.completed() {
                    assert_eq!(done.tag, self.completed);
                    self.completed += 1;
                }
            }
            Event::Abandon(path) => drop(self.out.lost(path as u16)),
            Event::Vanish(path) => self.vanish(path),
            Event::Post => {
                if self.into.has_room() {
                    self.into.post(Op::recv(self.posted, RegionId(0), 0, LEN));
                    self.posted += 1;
                }
            }
        }
        while let Some((sequence, ..)) = self.into.to_unstage() {
            self.into.unstaged(sequence);
        }
        while let Some(done) = self.into.completed() {
            assert_eq!((done.tag, done.len), (self.handed_on, LEN));
            self.handed_on += 1;
        }
        assert_eq!(self.into.doubled_bytes, 0);
        assert_eq!(self.into.discarded_bytes, self.discarded * u64::from(LEN));
    }

    fn give(&mut self, path: usize) {
        let Some(message) = self.out.peek() else { return };
        self.out.given_to(message.sequence, path as u16);
        self.wires[path].push_back(Head {
            kind: message.kind,
            len: message.op.len,
            sequence: message.sequence,
            offset: 0,
            immediate: 0,
            index: message.index,
            arrived: Arrived::default(),
        });
    }

    fn begin(&mut self, path: usize) {
        let Some(head) = self.wires[path].front().copied().filter(|_| !self.begun[path]) else { return };
        if let Some(other) = self.into.busy_with(head.sequence).filter(|other| usize::from(*other) != path) {
            self.vanish(usize::from(other));
        }
        match self.into.admit(&head, path as u16).unwrap() {
            Place::Nowhere => {
                self.discarded += 1;
                self.wires[path].pop_front();
            }
            _ => self.begun[path] = true,
        }
    }

    fn vanish(&mut self, path: usize) {
        self.into.lost(path as u16);
        self.wires[path].clear();
        self.begun[path] = false;
        self.out.lost(path as u16);
    }

    /// From here on nothing dies: all that was accepted must be handed on, and known to have been.
    fn end_well(mut self) {
        while self.completed < self.pushed {
            let before = (self.handed_on, self.completed);
            for _ in 0..2 * WINDOW {
                self.give(0);
                self.tell(Event::Post);
                (0..PATHS).for_each(|path| self.tell(Event::Deliver(path)));
            }
            self.tell(Event::Confirm);
            assert_ne!(before, (self.handed_on, self.completed), "stuck before {}", self.pushed);
        }
        assert_eq!(self.handed_on, self.pushed);
    }
}

proptest! {
    #[test]
    fn every_message_is_handed_on_exactly_once(events in prop::collection::vec(any_event(), 0..400)) {
        let mut story = Story::new();
        for event in events {
            story.tell(event);
        }
        story.end_well();
    }
}
