//! What the lanes of a guest share: a round to copy, or all its pages to compare. Each lane claims a share when it has
//! nothing left, so that none waits for a slower one before the end.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::HASH_PAGES_MAX;
use crate::migrate::PageBitmap;

/// Pages that a lane claims at a time: large enough for whole chunks, small enough to share a round's end.
pub const SEGMENT_PAGES: u64 = 1024;

/// Work for a lane.
#[derive(Clone)]
pub enum Job {
    /// Copy a share of a round.
    Copy(Arc<Round>),
    /// Compare a share of the pages.
    Verify(Arc<Verify>),
    /// Write this page as it lies in the staging page to its place at the peer, then wait for a barrier.
    Spoil {
        /// The page.
        page: u64,
        /// Number of the barrier.
        number: u64,
    },
    /// Say that nothing more comes.
    End,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub enum Report {
    /// A share of a round.
    Copied(Copied),
    /// A share of the pages.
    Compared(Compared),
    /// The page has been written.
    Spoiled,
    /// The peer has read that nothing more comes.
    Ended,
}

/// What all lanes of a guest share while one round is copied.
pub struct Round {
    /// Its number: unique in the life of a lane.
    pub number: u64,
    /// The pages to copy.
    pub map: PageBitmap,
    /// The next segment that nobody has claimed.
    pub next: AtomicU64,
    /// Pages of a segment.
    pub segment_pages: u64,
    /// The page in whose segment the round begins; the others follow in a circle.
    pub first_page: u64,
    /// Pages still to be copied.
    pub pages_left: AtomicU64,
    /// The round ends when fewer are left, and leaves them.
    pub ends_below: u64,
    /// Ends the round once so many bytes have been copied.
    pub bytes_max: u64,
    /// Bytes claimed so far, where a limit is set.
    pub bytes_claimed: AtomicU64,
    /// What lanes have counted before was a measurement: they count from this round on.
    pub forget: bool,
}

impl Round {
    /// All pages of `map`.
    pub fn new(number: u64, map: PageBitmap) -> Round {
        let pages_left = AtomicU64::new(map.count());
        Round {
            number,
            map,
            next: AtomicU64::new(0),
            segment_pages: SEGMENT_PAGES,
            first_page: 0,
            pages_left,
            ends_below: 0,
            bytes_max: u64::MAX,
            bytes_claimed: AtomicU64::new(0),
            forget: false,
        }
    }

    fn segments(&self) -> u64 {
        self.map.pages().div_ceil(self.segment_pages)
    }

    fn is_over(&self) -> bool {
        self.bytes_claimed.load(Ordering::Relaxed) >= self.bytes_max
            || self.pages_left.load(Ordering::Relaxed) < self.ends_below
    }

    /// The pages that the next lane is to copy.
    pub fn claim(&self) -> Option<Range<u64>> {
        if self.is_over() {
            return None;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (turn < self.segments()).then(|| self.segment(turn))
    }

    /// Counts what has been copied of a segment.
    pub fn copied(&self, pages: u64, bytes: u64) {
        self.bytes_claimed.fetch_add(bytes, Ordering::Relaxed);
        self.pages_left.fetch_sub(pages, Ordering::Relaxed);
    }

    fn segment(&self, turn: u64) -> Range<u64> {
        let first = self.first_page / self.segment_pages;
        let start = (first + turn) % self.segments().max(1) * self.segment_pages;
        start..start + self.segment_pages
    }

    /// The page after the last segment copied, for the next round to begin with.
    pub fn reached(&self) -> u64 {
        self.segment(self.next.load(Ordering::Relaxed).min(self.segments())).start
    }

    /// Adds the pages that were left to `map`; to be asked when no lane copies any more.
    pub fn add_left(&self, map: &mut PageBitmap) {
        for turn in self.next.load(Ordering::Relaxed)..self.segments() {
            for page in self.map.runs(self.segment(turn)).flatten() {
                map.insert(page);
            }
        }
    }
}

/// What a lane did in a round, or all lanes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Pages, zero pages included.
    pub pages: u64,
    /// Zero pages.
    pub zero_pages: u64,
    /// Bytes of pages written.
    pub bytes: u64,
}

impl Copied {
    /// Of all lanes.
    pub fn sum(reports: &[Report]) -> Copied {
        let mut sum = Copied::default();
        for report in reports {
            if let Report::Copied(share) = report {
                sum.pages += share.pages;
                sum.zero_pages += share.zero_pages;
                sum.bytes += share.bytes;
            }
        }
        sum
    }
}

/// A comparison of all pages, shared by the lanes of a guest.
pub struct Verify {
    /// Pages of the guest.
    pub pages: u64,
    /// The next page that nobody has claimed.
    pub next: AtomicU64,
}

impl Verify {
    /// Of `pages` pages.
    pub fn new(pages: u64) -> Verify {
        Verify { pages, next: AtomicU64::new(0) }
    }

    /// The pages that the next lane is to ask about.
    pub fn claim(&self) -> Option<Range<u64>> {
        let first = self.next.fetch_add(HASH_PAGES_MAX, Ordering::Relaxed);
        (first < self.pages).then(|| first..(first + HASH_PAGES_MAX).min(self.pages))
    }
}

/// What a lane found, or all lanes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Pages compared.
    pub pages: u64,
    /// Pages that differ.
    pub differing: u64,
    /// The lowest of them.
    pub first: Option<u64>,
}

impl Compared {
    /// Of all lanes.
    pub fn sum(reports: &[Report]) -> Compared {
        let mut sum = Compared::default();
        for report in reports {
            if let Report::Compared(share) = report {
                sum.pages += share.pages;
                sum.differing += share.differing;
                sum.first = [sum.first, share.first].into_iter().flatten().min();
            }
        }
        sum
    }

    /// Adds what two hashes of the pages from `first` on say.
    pub fn add(&mut self, first: u64, own: &[u128], theirs: &[u128]) {
        self.pages += own.len() as u64;
        for (i, _) in own.iter().zip(theirs).enumerate().filter(|(_, (mine, theirs))| mine != theirs) {
            let page = first + i as u64;
            self.differing += 1;
            self.first = Some(self.first.map_or(page, |f| f.min(page)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the order and the end of a round, each page is claimed or left, and none is both.
        #[test]
        fn every_page_is_claimed_once_or_left(
            pages in 1u64..5000,
            first_page in 0u64..5000,
            claims in 0usize..8,
            every in 1u64..7,
        ) {
            let mut map = PageBitmap::none(pages);
            (0..pages).step_by(every as usize).for_each(|page| { map.insert(page); });
            let round = Round { first_page: first_page % pages, ..Round::new(1, map.clone()) };
            let mut seen = PageBitmap::none(pages);
            for segment in (0..claims).map_while(|_| round.claim()) {
                for page in round.map.runs(segment).flatten() {
                    prop_assert!(seen.insert(page), "page {} twice", page);
                }
            }
            let mut left = PageBitmap::none(pages);
            round.add_left(&mut left);
            for page in left.runs(0..pages).flatten() {
                prop_assert!(seen.insert(page), "page {} copied and left", page);
            }
            prop_assert_eq!(seen, map);
        }
    }

    #[test]
    fn a_round_ends_at_its_limits() {
        let round = Round { bytes_max: 10, ..Round::new(1, PageBitmap::all(3000)) };
        assert_eq!(round.claim(), Some(0..1024));
        round.copied(1024, 10);
        assert_eq!((round.claim(), round.reached()), (None, 1024));
        let round = Round { ends_below: 2000, first_page: 1100, ..Round::new(1, PageBitmap::all(3000)) };
        assert_eq!(round.claim(), Some(1024..2048));
        round.copied(1024, 0);
        assert_eq!((round.claim(), round.reached()), (None, 2048));
    }

    #[test]
    fn differences_are_counted_and_the_lowest_is_named() {
        let mut compared = Compared::default();
        compared.add(10, &[1, 2, 3], &[1, 9, 9]);
        compared.add(0, &[1], &[1]);
        assert_eq!(compared, Compared { pages: 4, differing: 2, first: Some(11) });
        let other = Compared { pages: 1, differing: 1, first: Some(3) };
        let sum = Compared::sum(&[Report::Compared(compared), Report::Ended, Report::Compared(other)]);
        assert_eq!(sum, Compared { pages: 5, differing: 3, first: Some(3) });
    }
}
