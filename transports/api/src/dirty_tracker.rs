//! Which pages of a [`Region`](crate::Region) were written since the last question.
//!
//! [`DirtyLog`] is told by the writers: exact, portable, and all that a simulated guest needs. [`WrittenPages`] asks the
//! system.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pathproof_sys::written_pages::WrittenPages;

/// Answers which pages were written.
pub trait DirtyTracker: Send {
    /// Adds to `words` (bit 0 of word 0 is page 0) the pages written since the last harvest, and forgets them.
    /// A write that happens meanwhile is reported now or next time, never lost.
    fn harvest(&mut self, words: &mut [u64]) -> io::Result<()>;
}

/// A bitmap that writers mark and one reader empties.
#[derive(Debug)]
pub struct DirtyLog {
    words: Box<[AtomicU64]>,
}

impl DirtyLog {
    /// For `pages` pages, none of them dirty.
    pub fn new(pages: u64) -> DirtyLog {
        DirtyLog { words: (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Marks `page`; call it *after* writing the page. The other order loses a write that falls between a
    /// harvest's copy of the page and the write itself.
    pub fn mark(&self, page: u64) {
        if let Some(word) = self.words.get((page / 64) as usize) {
            word.fetch_or(1 << (page % 64), Ordering::Release);
        }
    }

    /// Moves all marks into `words`.
    pub fn take(&self, words: &mut [u64]) {
        for (mine, out) in self.words.iter().zip(words) {
            if mine.load(Ordering::Relaxed) != 0 {
                *out |= mine.swap(0, Ordering::AcqRel);
            }
        }
    }
}

impl DirtyTracker for Arc<DirtyLog> {
    fn harvest(&mut self, words: &mut [u64]) -> io::Result<()> {
        self.take(words);
        Ok(())
    }
}

impl DirtyTracker for WrittenPages {
    fn harvest(&mut self, words: &mut [u64]) -> io::Result<()> {
        WrittenPages::harvest(self, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_sys::region::PAGE_BYTES;

    use crate::{Pages, Region};

    #[test]
    fn a_log_hands_over_each_mark_once() {
        let mut log = Arc::new(DirtyLog::new(130));
        for page in [0, 64, 129, 129, 500] {
            log.mark(page);
        }
        let mut words = [0u64; 3];
        log.harvest(&mut words).unwrap();
        assert_eq!(words, [1, 1, 2]);
        log.harvest(&mut words).unwrap();
        assert_eq!(words, [1, 1, 2], "a harvest adds, and there was nothing to add");
    }

    /// The rule the whole copy rests on: whatever was not seen when a page was copied is still marked.
    #[test]
    fn no_write_is_lost_between_harvest_and_copy() {
        const PAGES: u64 = 512;
        let region = Arc::new(Region::new(PAGES * PAGE_BYTES, Pages::Small).unwrap());
        let copy = Region::new(PAGES * PAGE_BYTES, Pages::Small).unwrap();
        let mut log = Arc::new(DirtyLog::new(PAGES));
        let writer = {
            let (region, log) = (region.clone(), log.clone());
            std::thread::spawn(move || {
                for i in 0..300_000u64 {
                    let page = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55;
                    region.store_word(page * PAGE_BYTES, i + 1).unwrap();
                    log.mark(page);
                }
            })
        };
        let mut last = false;
        loop {
            let done = writer.is_finished();
            let mut words = [0u64; (PAGES / 64) as usize];
            log.harvest(&mut words).unwrap();
            for page in (0..PAGES).filter(|p| words[(p / 64) as usize] >> (p % 64) & 1 == 1) {
                let word = region.load_word(page * PAGE_BYTES).unwrap();
                copy.store_word(page * PAGE_BYTES, word).unwrap();
            }
            if last {
                break;
            }
            last = done;
        }
        for page in 0..PAGES {
            let at = page * PAGE_BYTES;
            assert_eq!(region.load_word(at).unwrap(), copy.load_word(at).unwrap(), "page {page}");
        }
    }
}
