//! [`PageBitmap`]: one bit for each page, impossible to build with bits beyond the last page, so that no user
//! of it ever checks again.

use std::ops::Range;

/// Bytes of the page that all tracking here counts in. Hypervisors track base pages even when the guest is
/// backed by huge ones.
pub const PAGE_BYTES: u64 = 4096;

/// Why words are not a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitmapError {
    /// Too few or too many words.
    #[error("{words} words of 64 bits do not describe {pages} pages; {} are needed", .pages.div_ceil(64))]
    Length {
        /// Words given.
        words: usize,
        /// Pages to describe.
        pages: u64,
    },
    /// A bit beyond the last page is set.
    #[error("a bit beyond the last of {pages} pages is set")]
    Tail {
        /// Pages to describe.
        pages: u64,
    },
}

/// A set of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageBitmap {
    pages: u64,
    words: Vec<u64>,
}

impl PageBitmap {
    /// No page of `pages`.
    pub fn none(pages: u64) -> PageBitmap {
        PageBitmap { pages, words: vec![0; words_for(pages)] }
    }

    /// All of `pages`.
    pub fn all(pages: u64) -> PageBitmap {
        let mut words = vec![u64::MAX; words_for(pages)];
        if let Some(last) = words.last_mut() {
            *last = last_word_mask(pages);
        }
        PageBitmap { pages, words }
    }

    /// From raw words, least significant bit first; refuses anything that names a page that does not exist.
    pub fn from_words(pages: u64, words: Vec<u64>) -> Result<PageBitmap, BitmapError> {
        if words.len() != words_for(pages) {
            return Err(BitmapError::Length { words: words.len(), pages });
        }
        if words.last().is_some_and(|last| last & !last_word_mask(pages) != 0) {
            return Err(BitmapError::Tail { pages });
        }
        Ok(PageBitmap { pages, words })
    }

    /// Pages that the map speaks of, set or not.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The raw words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds `page`; says whether it was new. Pages that do not exist are refused with `false`.
    pub fn insert(&mut self, page: u64) -> bool {
        if page >= self.pages {
            return false;
        }
        let (word, bit) = ((page / 64) as usize, 1u64 << (page % 64));
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Removes `page`; says whether it was there.
    pub fn remove(&mut self, page: u64) -> bool {
        let there = self.contains(page);
        if there {
            self.words[(page / 64) as usize] &= !(1u64 << (page % 64));
        }
        there
    }

    /// Whether `page` is in the set.
    pub fn contains(&self, page: u64) -> bool {
        page < self.pages && self.words[(page / 64) as usize] >> (page % 64) & 1 == 1
    }

    /// Adds the pages `words` names, which must be as many words as this map has; bits beyond the last page
    /// are dropped. This is how a tracker hands over what it harvested.
    pub fn merge_words(&mut self, words: impl IntoIterator<Item = u64>) {
        for (mine, theirs) in self.words.iter_mut().zip(words) {
            *mine |= theirs;
        }
        if let Some(last) = self.words.last_mut() {
            *last &= last_word_mask(self.pages);
        }
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Pages in the set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// Whether no page is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// The runs of consecutive pages within `within`, in order.
    pub fn runs(&self, within: Range<u64>) -> Runs<'_> {
        Runs { map: self, at: within.start, end: within.end.min(self.pages) }
    }

    /// First page at or after `at` whose bit is `set`, or `end`.
    fn next(&self, at: u64, end: u64, set: bool) -> u64 {
        let flip = if set { 0 } else { u64::MAX };
        let mut page = at;
        while page < end {
            let word = (self.words[(page / 64) as usize] ^ flip) >> (page % 64);
            if word != 0 {
                return (page + u64::from(word.trailing_zeros())).min(end);
            }
            page = (page / 64 + 1) * 64;
        }
        end
    }
}

/// Iterator over runs of set pages.
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    map: &'a PageBitmap,
    at: u64,
    end: u64,
}

impl Iterator for Runs<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        if self.at >= self.end {
            return None;
        }
        let start = self.map.next(self.at, self.end, true);
        if start >= self.end {
            self.at = self.end;
            return None;
        }
        let stop = self.map.next(start, self.end, false);
        self.at = stop;
        Some(start..stop)
    }
}

fn words_for(pages: u64) -> usize {
    pages.div_ceil(64) as usize
}

fn last_word_mask(pages: u64) -> u64 {
    match pages % 64 {
        0 => u64::MAX,
        rest => (1 << rest) - 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_invalid_map_cannot_be_built() {
        assert_eq!(PageBitmap::from_words(65, vec![0]), Err(BitmapError::Length { words: 1, pages: 65 }));
        assert_eq!(PageBitmap::from_words(65, vec![0, 2]), Err(BitmapError::Tail { pages: 65 }));
        let mut map = PageBitmap::all(65);
        assert_eq!(map.count(), 65);
        assert!(!map.insert(65) && !map.contains(65) && !map.remove(65));
        map.merge_words([u64::MAX, u64::MAX]);
        assert_eq!(map.count(), 65, "a merge cannot add pages that do not exist");
        assert_eq!(PageBitmap::all(0).count(), 0);
        assert_eq!(PageBitmap::all(64).count(), 64);
    }

    proptest! {
        /// Against a plain set: membership, count and runs agree, and rebuilding from words changes nothing.
        #[test]
        fn agrees_with_a_plain_set(pages in 1u64..400, picks in proptest::collection::vec(0u64..400, 0..300)) {
            let mut map = PageBitmap::none(pages);
            let mut set = BTreeSet::new();
            for pick in picks {
                prop_assert_eq!(map.insert(pick), pick < pages && set.insert(pick));
            }
            prop_assert_eq!(map.count(), set.len() as u64);
            let listed: Vec<u64> = map.runs(0..u64::MAX).flatten().collect();
            prop_assert_eq!(&listed, &set.iter().copied().collect::<Vec<_>>());
            let ends: Vec<u64> = map.runs(0..pages).map(|r| r.end).collect();
            let starts: Vec<u64> = map.runs(0..pages).map(|r| r.start).collect();
            prop_assert!(ends.iter().zip(starts.iter().skip(1)).all(|(e, s)| e < s), "runs are maximal");
            let again = PageBitmap::from_words(pages, map.words().to_vec());
            prop_assert_eq!(again.as_ref(), Ok(&map));
        }

        /// Cutting the range into segments loses and doubles nothing.
        #[test]
        fn segments_partition_the_runs(pages in 1u64..2000, seed in any::<u64>(), cut in 1u64..300) {
            let mut random = super::super::Random::new(seed);
            let mut map = PageBitmap::none(pages);
            for _ in 0..pages { map.insert(random.below(pages)); }
            let mut listed = vec![];
            let mut at = 0;
            while at < pages {
                listed.extend(map.runs(at..at + cut).flatten());
                at += cut;
            }
            prop_assert_eq!(listed, map.runs(0..pages).flatten().collect::<Vec<_>>());
        }
    }
}
