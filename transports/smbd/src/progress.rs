//! Whether the wire still takes what it was given. An adapter of RoCE or InfiniBand counts its retries and gives up by itself; where the wire is TCP
//! (iWARP) nobody does for a quarter of an hour, so a connection that falls silent has a limit of its own. Pure.
//!
//! It refuses to judge a connection on which nothing is under way: that is [`crate::keep_alive`]'s.

use std::time::Duration;

use pathproof_api::Tick;

/// How long nothing may complete, and nothing come, while something is under way: as long as a message may take to become whole.
pub const STALLED_AFTER: Duration = Duration::from_secs(15);
/// Large operations may take longer, at less than which rate nobody calls it moving.
const LEAST_BYTES_PER_S: u64 = 1 << 20;

/// The account of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    under_way: u64,
    /// So many at most may be over without a word, because none follows them.
    untold: u64,
    /// Of the operations since nothing was under way.
    largest_bytes: u32,
    /// When something moved last, or began where nothing was under way.
    moved: Tick,
}

impl Progress {
    /// The wire tells the end of so many sends together.
    pub fn tells_together(&mut self, sends: u32) {
        self.untold = u64::from(sends.saturating_sub(1));
    }

    /// Operations were handed to the wire, the largest of which has so many bytes. The time is asked where the wire is judged from here on.
    pub fn began(&mut self, operations: u64, largest_bytes: u32, now: impl FnOnce() -> Tick) {
        if operations == 0 {
            return;
        }
        let was_judged = self.under_way > self.untold;
        self.under_way += operations;
        if !was_judged {
            self.largest_bytes = 0;
            // Until so many are under way the time of none counts: looking at the clock for each would be in vain.
            if self.under_way > self.untold {
                self.moved = now();
            }
        }
        self.largest_bytes = self.largest_bytes.max(largest_bytes);
    }

    /// So many of them have ended, or none and something has come.
    pub fn moved(&mut self, ended: u64, now: Tick) {
        self.under_way = self.under_way.saturating_sub(ended);
        self.moved = now;
    }

    /// For how long nothing may move.
    pub fn patience(&self) -> Duration {
        let moving = u64::from(self.largest_bytes) * 1000 / LEAST_BYTES_PER_S;
        STALLED_AFTER + Duration::from_millis(moving)
    }

    /// When the wire has stalled, unless something moves before.
    pub fn due(&self) -> Option<Tick> {
        (self.under_way > self.untold).then(|| self.moved + self.patience())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn what_no_one_tells_yet_is_no_silence() {
        let mut progress = Progress::default();
        progress.tells_together(4);
        progress.began(3, 100, || panic!("the clock is read in vain"));
        assert_eq!(progress.due(), None);
        progress.began(1, 100, || at(60));
        assert_eq!(progress.due(), Some(at(75)));
        progress.moved(4, at(61));
        assert_eq!(progress.due(), None);
    }

    #[test]
    fn a_wire_is_judged_while_something_is_under_way_and_by_what_moved_last() {
        let mut progress = Progress::default();
        progress.began(0, 0, || at(5));
        assert_eq!(progress.due(), None, "nothing is asked of it");
        progress.began(2, 100, || at(10));
        assert_eq!(progress.due(), Some(at(25)));
        progress.began(1, 100, || at(20));
        assert_eq!(progress.due(), Some(at(25)), "what is added makes nothing move");
        progress.moved(0, at(21));
        assert_eq!(progress.due(), Some(at(36)), "the peer lives: something came");
        progress.moved(1, at(22));
        assert_eq!(progress.due(), Some(at(37)));
        progress.moved(2, at(23));
        assert_eq!(progress.due(), None);
        progress.began(1, 100, || at(100));
        assert_eq!(progress.due(), Some(at(115)), "how long nobody asked anything does not count");
    }

    #[test]
    fn a_large_operation_has_as_long_as_a_slow_line_needs() {
        let mut progress = Progress::default();
        progress.began(1, 64 << 20, || at(0));
        assert_eq!(progress.due(), Some(at(15 + 64)));
        progress.moved(1, at(70));
        progress.began(1, 4096, || at(80));
        assert!(progress.due().is_some_and(|due| due < at(96)), "the large one is done with");
        progress.began(1, u32::MAX, || at(81));
        assert!(progress.due().is_some_and(|due| due > at(80 + 4000)), "no number overflows");
    }
}
