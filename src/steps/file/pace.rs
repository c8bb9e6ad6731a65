//! What a file step moved in the last second, for who looks on while it runs.

use std::sync::atomic::Ordering;

use pathproof_api::Tick;
use pathproof_model::stream::FlowSample;

use super::lane::Pool;

/// Less than this is no second.
const SECOND_NS: u64 = 1_000_000_000;

/// Where the second began that runs.
pub struct Pace {
    since: Tick,
    moved: [u64; 2],
}

impl Pace {
    /// From now on.
    pub fn new(now: Tick) -> Pace {
        Pace { since: now, moved: [0; 2] }
    }

    /// The second that has just ended, if one has.
    pub fn look(&mut self, now: Tick, pool: &Pool) -> Option<Vec<FlowSample>> {
        let moved = pool.moved.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
        self.second(now, moved, pool.size)
    }

    fn second(&mut self, now: Tick, moved: [u64; 2], size: u32) -> Option<Vec<FlowSample>> {
        let ns = now.ns_since(self.since);
        if ns < SECOND_NS {
            return None;
        }
        let per_second = |count: u64| (u128::from(count) * 1_000_000_000 / u128::from(ns)) as u64;
        let [read, written] = [0, 1].map(|way| moved[way].saturating_sub(self.moved[way]));
        (self.since, self.moved) = (now, moved);
        Some(vec![FlowSample {
            sent_bits_per_s: Some(per_second(written.saturating_mul(8))),
            received_bits_per_s: Some(per_second(read.saturating_mul(8))),
            messages_per_s: Some(per_second((read + written) / u64::from(size.max(1)))),
            ..FlowSample::default()
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_shows_what_moved_in_it_and_not_before() {
        let mut pace = Pace::new(Tick(0));
        assert_eq!(pace.second(Tick(999_999_999), [0, 1000], 100), None);
        let second = pace.second(Tick(2_000_000_000), [0, 1000], 100).unwrap();
        assert_eq!((second[0].sent_bits_per_s, second[0].received_bits_per_s), (Some(4000), Some(0)));
        assert_eq!(second[0].messages_per_s, Some(5));
        let second = pace.second(Tick(3_000_000_000), [500, 1000], 100).unwrap();
        assert_eq!((second[0].sent_bits_per_s, second[0].received_bits_per_s), (Some(0), Some(4000)));
        // A server that answers nothing: that is known, and shown.
        assert_eq!(pace.second(Tick(4_000_000_000), [500, 1000], 100).unwrap()[0].messages_per_s, Some(0));
    }
}
