//! What was said and may not have been heard, so that a session outlives its connection: messages are counted,
//! every frame tells how many have come, and what the other end has not confirmed is kept to be said again.
//!
//! It refuses to keep without bound: an end that is told nothing for long forgets the oldest, and the session
//! then ends with its connection.

use std::collections::VecDeque;

use super::{FrameError, Message, encode_frame};

/// Most bytes kept for saying again.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// The counts of one end of a session, and what it may have to say again.
#[derive(Debug, Default)]
pub struct Journal {
    sent: u32,
    received: u32,
    /// Frames of the last messages sent, oldest first.
    kept: VecDeque<Vec<u8>>,
    kept_bytes: usize,
}

impl Journal {
    /// Nothing said or heard yet.
    pub fn new() -> Journal {
        Journal::default()
    }

    /// The frame of the next message. It is kept until the other end is known to have it.
    pub fn say(&mut self, message: &Message) -> Result<&[u8], FrameError> {
        let frame = encode_frame(message, self.received)?;
        self.sent += 1;
        self.kept_bytes += frame.len();
        self.kept.push_back(frame);
        while self.kept_bytes > KEPT_BYTES_MAX && self.kept.len() > 1 {
            self.forget();
        }
        Ok(self.kept.back().map_or(&[], Vec::as_slice))
    }

    /// A message came from an end that had `seen` of ours. False when it cannot have.
    pub fn hear(&mut self, seen: u32) -> bool {
        self.received += 1;
        self.confirm(seen)
    }

    fn confirm(&mut self, seen: u32) -> bool {
        while self.first() < seen && !self.kept.is_empty() {
            self.forget();
        }
        seen <= self.sent
    }

    fn forget(&mut self) {
        self.kept_bytes -= self.kept.pop_front().map_or(0, |frame| frame.len());
    }

    /// Messages sent before the oldest one kept.
    fn first(&self) -> u32 {
        self.sent - self.kept.len() as u32
    }

    /// Messages that have come.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// What is to be said again to an end that has `seen` of ours; `None` when it can no longer be said.
    pub fn resume(&mut self, seen: u32) -> Option<impl Iterator<Item = &[u8]>> {
        if seen < self.first() || !self.confirm(seen) {
            return None;
        }
        Some(self.kept.iter().map(Vec::as_slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{FRAME_BYTES_MAX, FrameDecoder, StepMessage};
    use proptest::prelude::*;

    fn numbered(n: u32) -> Message {
        Message::Step { step: 0, body: StepMessage::Ping(n) }
    }

    /// One end with the frames under way to it.
    #[derive(Default)]
    struct End {
        journal: Journal,
        wire: VecDeque<Vec<u8>>,
        said: u32,
        heard: Vec<u32>,
    }

    impl End {
        fn hear(&mut self) {
            let Some(frame) = self.wire.pop_front() else { return };
            let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
            decoder.push(&frame);
            let (seen, message) = decoder.next_message().unwrap().unwrap();
            assert!(self.journal.hear(seen));
            let Message::Step { body: StepMessage::Ping(n), .. } = message else { panic!("{message:?}") };
            self.heard.push(n);
        }
    }

    proptest! {
        /// Connections break anywhere, any number of times: each end hears everything once and in order.
        #[test]
        fn nothing_is_lost_or_said_twice(events in prop::collection::vec((0..5u8, any::<bool>()), 0..200)) {
            let mut ends = [End::default(), End::default()];
            for (what, right) in events.into_iter().chain([(4, true)]) {
                let (near, far) = if right { (1, 0) } else { (0, 1) };
                match what {
                    0 | 1 => {
                        let frame = ends[near].journal.say(&numbered(ends[near].said)).unwrap().to_vec();
                        ends[near].said += 1;
                        ends[far].wire.push_back(frame);
                    }
                    2 | 3 => ends[near].hear(),
                    _ => {
                        ends.iter_mut().for_each(|end| end.wire.clear());
                        for (near, far) in [(0, 1), (1, 0)] {
                            let seen = ends[far].journal.received();
                            let again: Vec<_> = ends[near].journal.resume(seen).unwrap().map(<[u8]>::to_vec).collect();
                            ends[far].wire.extend(again);
                        }
                    }
                }
            }
            for (near, far) in [(0, 1), (1, 0)] {
                while !ends[near].wire.is_empty() {
                    ends[near].hear();
                }
                prop_assert_eq!(&ends[near].heard, &(0..ends[far].said).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_was_confirmed_is_forgotten_and_nonsense_is_refused() {
        let mut journal = Journal::new();
        (0..3).for_each(|n| drop(journal.say(&numbered(n)).map(<[u8]>::len)));
        assert!(journal.hear(2));
        assert_eq!(journal.resume(2).unwrap().count(), 1);
        assert!(journal.resume(1).is_none(), "forgotten");
        assert!(journal.resume(4).is_none(), "never said");
        assert!(!journal.hear(4));
    }

    #[test]
    fn an_end_that_is_told_nothing_is_bounded() {
        let mut journal = Journal::new();
        let long = Message::Bye { reason: "x".repeat(3 << 20), kind: None, cause: None };
        (0..8).for_each(|_| drop(journal.say(&long).map(<[u8]>::len)));
        assert!(journal.kept_bytes <= KEPT_BYTES_MAX);
        assert!(journal.resume(0).is_none());
        assert_eq!(journal.resume(3).unwrap().count(), 5);
    }
}
