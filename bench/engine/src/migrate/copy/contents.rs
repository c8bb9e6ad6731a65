//! What a guest's pages hold, and what they hash to. It spreads no work over processors: whoever has them gives each a
//! share of the pages.

use std::ops::Range;

use pathproof_api::Region;
use twox_hash::XxHash3_128;

use crate::migrate::{PAGE_BYTES, Random};

/// Bytes that are filled or hashed in one go: small enough to stay in the nearest cache.
const IN_CACHE_BYTES: u64 = 64 << 10;

/// What a guest's pages hold at the start.
#[derive(Clone, Copy, Debug)]
pub struct Contents {
    /// Everything follows from it.
    pub seed: u64,
    /// Share of pages that are zero.
    pub zero_percent: u8,
    /// Share of the others that are a quarter noise, four times over.
    pub compressible_percent: u8,
}

impl Contents {
    /// Fills `pages` with bytes that no two pages and no two guests have alike.
    pub fn fill(self, region: &Region, pages: Range<u64>) {
        let mut random = Random::new(self.seed);
        // One block of noise for all, mixed with a word of each page's own: noise for every byte would take longer than
        // the copy that is to be measured.
        let noise: Vec<u64> = (0..IN_CACHE_BYTES / 8).map(|_| random.bits()).collect();
        let mut block = vec![0u8; IN_CACHE_BYTES as usize];
        const WORDS: usize = PAGE_BYTES as usize / 8;
        for first in pages.clone().step_by((IN_CACHE_BYTES / PAGE_BYTES) as usize) {
            let count = (pages.end - first).min(IN_CACHE_BYTES / PAGE_BYTES);
            let in_block = block.chunks_exact_mut(PAGE_BYTES as usize).zip(noise.chunks_exact(WORDS));
            for ((bytes, noise), page) in in_block.zip(first..first + count) {
                let own = self.stamp_of(page);
                for (bytes, noise) in bytes.chunks_exact_mut(8).zip(noise) {
                    bytes.copy_from_slice(&(noise ^ own).to_le_bytes());
                }
                if self.is_compressible(page) {
                    let (quarter, rest) = bytes.split_at_mut(PAGE_BYTES as usize / 4);
                    rest.chunks_exact_mut(quarter.len()).for_each(|part| part.copy_from_slice(quarter));
                }
            }
            // The range lies inside the region, which was made for `pages`.
            let _ = region.copy_in(first * PAGE_BYTES, &block[..(count * PAGE_BYTES) as usize]);
            self.stamp(region, first..first + count);
        }
    }

    /// Gives each page a new stamp (and makes its zero pages zero), so that a page of the guest before is no page
    /// of this one.
    pub fn stamp(self, region: &Region, pages: Range<u64>) {
        for page in pages {
            let at = page * PAGE_BYTES;
            if self.is_zero(page) {
                let _ = region.fill(at, PAGE_BYTES, 0);
            } else {
                let _ = region.store_word(at, self.stamp_of(page));
            }
        }
    }

    fn is_zero(self, page: u64) -> bool {
        self.chance(page, 0, self.zero_percent)
    }

    fn is_compressible(self, page: u64) -> bool {
        self.chance(page, 1, self.compressible_percent)
    }

    fn chance(self, page: u64, salt: u64, percent: u8) -> bool {
        let draw = || Random::new(self.seed ^ salt ^ page.wrapping_mul(0xA24B_AED4_963E_E407)).below(100);
        percent > 0 && draw() < u64::from(percent)
    }

    /// The first word of `page`, which no other page has.
    fn stamp_of(self, page: u64) -> u64 {
        Random::new(self.seed.rotate_left(17) ^ page).bits() | 1
    }
}

/// Hash of a page or a block. XXH3 finds every accidental change there is to find at the speed of memory; the peer is no
/// adversary here, it holds the same key.
pub fn hash(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// Hashes `pages` into `out`, one 128-bit hash each.
pub fn hash_pages(region: &Region, pages: Range<u64>, buffer: &mut Vec<u8>, out: &mut Vec<u128>) {
    out.clear();
    buffer.resize(IN_CACHE_BYTES as usize, 0);
    let mut page = pages.start;
    while page < pages.end {
        let count = (pages.end - page).min(IN_CACHE_BYTES / PAGE_BYTES);
        let bytes = &mut buffer[..(count * PAGE_BYTES) as usize];
        // Callers ask for pages of the guest only.
        let _ = region.copy_out(page * PAGE_BYTES, bytes);
        out.extend(bytes.chunks_exact(PAGE_BYTES as usize).map(hash));
        page += count;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use pathproof_api::Pages;

    use super::*;

    #[test]
    fn pages_are_all_different_and_as_many_zero_as_asked() {
        let pages = 1000;
        let region = Region::new(pages * PAGE_BYTES, Pages::Small).unwrap();
        let (mut buffer, mut hashes) = (vec![], vec![]);
        let contents = |seed, zero_percent| Contents { seed, zero_percent, compressible_percent: 0 };
        contents(5, 30).fill(&region, 0..pages);
        hash_pages(&region, 0..pages, &mut buffer, &mut hashes);
        let first: HashSet<u128> = hashes.iter().copied().collect();
        let zero = pages + 1 - first.len() as u64;
        assert!((250..350).contains(&zero), "{zero} zero pages of 1000 at 30 %");
        contents(6, 0).stamp(&region, 0..pages);
        hash_pages(&region, 0..pages, &mut buffer, &mut hashes);
        assert!(hashes.iter().all(|h| !first.contains(h)), "another guest shares no page");
    }

    #[test]
    fn shares_of_pages_come_to_the_same_as_all_at_once() {
        let pages = 100;
        let contents = Contents { seed: 9, zero_percent: 10, compressible_percent: 40 };
        let [whole, shared] = [(); 2].map(|()| Region::new(pages * PAGE_BYTES, Pages::Small).unwrap());
        contents.fill(&whole, 0..pages);
        for share in [48..100, 0..48] {
            contents.fill(&shared, share);
        }
        let (mut buffer, mut hashes, mut same) = (vec![], vec![], vec![]);
        hash_pages(&whole, 0..pages, &mut buffer, &mut hashes);
        hash_pages(&shared, 0..pages, &mut buffer, &mut same);
        assert_eq!(hashes, same);
    }
}
