//! The path measured with the guest's own pages before the first guest moves: warmed up first, then for the figure.

use std::sync::Arc;

use pathproof_api::Tick;

use super::round::{Copied, Round, SEGMENT_PAGES};
use crate::migrate::{PAGE_BYTES, PageBitmap};

/// How long the path is warmed up, and then measured, in ns.
const WARM_NS: u64 = 100_000_000;
const MEASURE_NS: u64 = 250_000_000;
/// Both together.
pub const MEASURED_NS: u64 = WARM_NS + MEASURE_NS;
/// The first bytes that a budget sends to learn what the path is like: a fifth of a second at 2.5 Mbit/s.
const FEELER_BYTES: u64 = 64 << 10;

/// A measurement under way.
pub(super) struct Measurement {
    began: Tick,
    pages: u64,
    /// The least that is sent at a time.
    least: u64,
    /// What is sent next.
    bytes: u64,
    first_page: u64,
    warmed: bool,
    over: bool,
    under_way: Option<(Arc<Round>, Tick, bool)>,
    /// In pages that are not zero: compressed ones cost the path less, and will do so again.
    pub moved: u64,
    /// Bytes sent for them, in `took_ns`.
    pub sent: u64,
    pub took_ns: u64,
}

impl Measurement {
    /// Over a guest of `pages`. A path of which nothing is known may be slow: a `careful` one feels its way.
    pub fn new(now: Tick, pages: u64, careful: bool) -> Measurement {
        Measurement {
            began: now,
            pages,
            least: if careful { FEELER_BYTES } else { 1 << 20 },
            bytes: if careful { FEELER_BYTES } else { 4 << 20 },
            first_page: 0,
            warmed: false,
            over: false,
            under_way: None,
            moved: 0,
            sent: 0,
            took_ns: 0,
        }
    }

    /// The next round to copy, or none when enough is known.
    pub fn next(&mut self, now: Tick, number: impl FnOnce() -> u64) -> Option<Arc<Round>> {
        let ran_ns = now.ns_since(self.began);
        if self.over || (self.moved > 0 && ran_ns >= MEASURED_NS) {
            return None;
        }
        // The first measurement is never taken, however long it took; the second always is.
        let warm = !self.warmed || ran_ns < WARM_NS;
        self.warmed = true;
        // A lost page must not arrive by way of the measurement.
        let mut map = PageBitmap::all(self.pages);
        map.remove(self.pages - 1);
        // Go on where the last one ended: a block copied before lies in a cache and would flatter the path.
        let segment_pages = (self.bytes / PAGE_BYTES / 4).clamp(FEELER_BYTES / PAGE_BYTES / 4, SEGMENT_PAGES);
        let round = Arc::new(Round {
            bytes_max: self.bytes,
            first_page: self.first_page,
            segment_pages,
            ..Round::new(number(), map)
        });
        self.under_way = Some((round.clone(), now, warm));
        Some(round)
    }

    /// The round has been copied.
    pub fn copied(&mut self, now: Tick, copied: Copied) {
        let Some((round, start, warm)) = self.under_way.take() else { return };
        let elapsed_ns = now.ns_since(start).max(1);
        self.first_page = round.reached();
        if copied.bytes == 0 {
            self.over = true;
        } else if warm {
            // As much as takes about the whole measuring time at the rate just seen.
            let rate = copied.bytes as f64 / elapsed_ns as f64;
            self.bytes = ((rate * MEASURE_NS as f64) as u64).max(self.least);
        } else {
            self.moved += (copied.pages - copied.zero_pages) * PAGE_BYTES;
            self.sent += copied.bytes;
            self.took_ns += elapsed_ns;
        }
    }
}
