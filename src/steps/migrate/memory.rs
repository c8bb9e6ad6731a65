//! Guest memory: what it holds at first, what its pages hash to, and whether there is room for it at all.

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pathproof_api::Region;
use pathproof_engine::migrate::{PAGE_BYTES, Random};
use pathproof_model::units::Bytes;
use pathproof_model::{Environment, ErrorKind, StepError};
use twox_hash::XxHash3_128;

/// Bytes that are filled or hashed in one go: small enough to stay in the nearest cache.
const BLOCK_BYTES: u64 = 64 << 10;

/// Memory that must stay free beside a rehearsal, so that the host itself is not driven out of memory.
const RESERVE_BYTES: u64 = 256 << 20;

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
    fn stamp(self, page: u64) -> u64 {
        Random::new(self.seed.rotate_left(17) ^ page).bits() | 1
    }
}

/// Fills `pages` pages with bytes that no two pages and no two guests have alike. Returns early when `stop` is set.
pub fn fill(region: &Region, pages: u64, contents: Contents, stop: &AtomicBool) {
    on_all_processors(pages, |share| fill_share(region, share, contents, stop));
}

/// Pages that are made present or cleared before somebody looks whether the step was given up: 16 MiB.
const PIECE_PAGES: u64 = 16 << 8;

/// Makes the first `pages` pages present, so that no page fault falls into the copy. Returns early when `stop` is set.
pub fn populate(region: &Region, pages: u64, stop: &AtomicBool) -> io::Result<()> {
    let failed = Mutex::new(None);
    on_all_processors(pages, |share| {
        for first in share.clone().step_by(PIECE_PAGES as usize) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let count = (share.end - first).min(PIECE_PAGES);
            let populated = region.populate(first * PAGE_BYTES, count * PAGE_BYTES);
            if let (Err(error), Ok(mut failed)) = (populated, failed.lock()) {
                *failed = Some(error);
                return;
            }
        }
    });
    failed.into_inner().map_or(Ok(()), |failed| failed.map_or(Ok(()), Err))
}

/// Clears `pages`, all of which lie in `region`; an error when `stop` is set meanwhile.
pub fn clear(region: &Region, pages: Range<u64>, stop: &AtomicBool) -> Result<(), StepError> {
    for first in pages.clone().step_by(PIECE_PAGES as usize) {
        if stop.load(Ordering::Relaxed) {
            return Err(super::lane::given_up());
        }
        let count = (pages.end - first).min(PIECE_PAGES);
        // The decoder has held the range against the guest's pages.
        let _ = region.fill(first * PAGE_BYTES, count * PAGE_BYTES, 0);
    }
    Ok(())
}

/// Gives every processor a share of `pages`: memory that is touched for the first time is cleared by the system
/// page by page, and one processor would take seconds for a guest.
fn on_all_processors(pages: u64, work: impl Fn(Range<u64>) + Sync) {
    const SHARE_PAGES_MIN: u64 = 16 << 8;
    const THREADS_MAX: u64 = 16;
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let threads = processors.min(THREADS_MAX).min(pages / SHARE_PAGES_MIN).max(1);
    // Whole huge pages for each, so that no two clear the same one.
    let share = pages.div_ceil(threads).next_multiple_of(512);
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let work = &work;
            scope.spawn(move || work((thread * share).min(pages)..((thread + 1) * share).min(pages)));
        }
        work(0..share.min(pages));
    });
}

fn fill_share(region: &Region, pages: Range<u64>, contents: Contents, stop: &AtomicBool) {
    let mut random = Random::new(contents.seed);
    // One block of noise for all, mixed with a word of each page's own: noise for every byte would take longer than
    // the copy that is to be measured.
    let noise: Vec<u64> = (0..BLOCK_BYTES / 8).map(|_| random.bits()).collect();
    let mut block = vec![0u8; BLOCK_BYTES as usize];
    const WORDS: usize = PAGE_BYTES as usize / 8;
    for first in pages.clone().step_by((BLOCK_BYTES / PAGE_BYTES) as usize) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let count = (pages.end - first).min(BLOCK_BYTES / PAGE_BYTES);
        let pages = block.chunks_exact_mut(PAGE_BYTES as usize).zip(noise.chunks_exact(WORDS));
        for ((bytes, noise), page) in pages.zip(first..first + count) {
            let own = contents.stamp(page);
            for (bytes, noise) in bytes.chunks_exact_mut(8).zip(noise) {
                bytes.copy_from_slice(&(noise ^ own).to_le_bytes());
            }
            if contents.is_compressible(page) {
                let (quarter, rest) = bytes.split_at_mut(PAGE_BYTES as usize / 4);
                rest.chunks_exact_mut(quarter.len()).for_each(|part| part.copy_from_slice(quarter));
            }
        }
        // The range lies inside the region, which was made for `pages`.
        let _ = region.copy_in(first * PAGE_BYTES, &block[..(count * PAGE_BYTES) as usize]);
        stamp(region, first..first + count, contents);
    }
}

/// Gives each page a new stamp (and makes its zero pages zero), so that a page of the guest before is no page
/// of this one.
pub fn stamp(region: &Region, pages: Range<u64>, contents: Contents) {
    for page in pages {
        let at = page * PAGE_BYTES;
        if contents.is_zero(page) {
            let _ = region.fill(at, PAGE_BYTES, 0);
        } else {
            let _ = region.store_word(at, contents.stamp(page));
        }
    }
}

/// Hashes `pages` into `out`, one 128-bit hash each. XXH3 finds every accidental change there is to find at the
/// speed of memory; the peer is no adversary here, it holds the same key.
pub fn hash_pages(region: &Region, pages: Range<u64>, buffer: &mut Vec<u8>, out: &mut Vec<u128>) {
    out.clear();
    buffer.resize(BLOCK_BYTES as usize, 0);
    let mut page = pages.start;
    while page < pages.end {
        let count = (pages.end - page).min(BLOCK_BYTES / PAGE_BYTES);
        let bytes = &mut buffer[..(count * PAGE_BYTES) as usize];
        // Callers ask for pages of the guest only.
        let _ = region.copy_out(page * PAGE_BYTES, bytes);
        out.extend(bytes.chunks_exact(PAGE_BYTES as usize).map(XxHash3_128::oneshot));
        page += count;
    }
}

/// Refuses a rehearsal that needs `bytes` at each end when either has less, before anything is allocated.
/// `same_host` means that both ends share one memory.
pub fn check_room(
    bytes: u64,
    here: &Environment,
    there: &Environment,
    same_host: bool,
) -> Result<(), StepError> {
    let need = if same_host { bytes.saturating_mul(2) } else { bytes };
    let short = |free: Option<u64>| free.is_some_and(|free| need.saturating_add(RESERVE_BYTES) > free);
    if !short(here.memory_available_bytes) && !short(there.memory_available_bytes) {
        return Ok(());
    }
    let say = |free: Option<u64>| free.map_or("an unknown amount".into(), |free| Bytes(free).to_string());
    Err(StepError {
        kind: ErrorKind::Resource,
        message: format!(
            "the rehearsal needs {} at each end{}; this host has {} available and the peer {}, of which {} must stay free: ask for less --memory or --parallel",
            Bytes(bytes),
            if same_host { ", and both ends are this host" } else { "" },
            say(here.memory_available_bytes),
            say(there.memory_available_bytes),
            Bytes(RESERVE_BYTES),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use pathproof_api::Pages;

    use super::*;

    #[test]
    fn t20_a_step_that_is_given_up_clears_and_makes_present_no_more() {
        let pages = 3 * PIECE_PAGES;
        let region = Region::new(pages * PAGE_BYTES, Pages::Small).unwrap();
        let (going, given_up) = (AtomicBool::new(false), AtomicBool::new(true));
        region.store_word(0, 7).unwrap();
        assert!(clear(&region, 0..pages, &given_up).is_err());
        let mut first = [0; 8];
        region.copy_out(0, &mut first).unwrap();
        assert_eq!(u64::from_le_bytes(first), 7, "nothing was touched");
        clear(&region, 0..pages, &going).unwrap();
        region.copy_out(0, &mut first).unwrap();
        assert_eq!(u64::from_le_bytes(first), 0);
        populate(&region, pages, &given_up).unwrap();
        populate(&region, pages, &going).unwrap();
    }

    #[test]
    fn pages_are_all_different_and_as_many_zero_as_asked() {
        let pages = 1000;
        let region = Region::new(pages * PAGE_BYTES, Pages::Small).unwrap();
        let stop = AtomicBool::new(false);
        let (mut buffer, mut hashes) = (vec![], vec![]);
        let contents = |seed, zero_percent| Contents { seed, zero_percent, compressible_percent: 0 };
        fill(&region, pages, contents(5, 30), &stop);
        hash_pages(&region, 0..pages, &mut buffer, &mut hashes);
        let first: HashSet<u128> = hashes.iter().copied().collect();
        let zero = pages + 1 - first.len() as u64;
        assert!((250..350).contains(&zero), "{zero} zero pages of 1000 at 30 %");
        stamp(&region, 0..pages, contents(6, 0));
        hash_pages(&region, 0..pages, &mut buffer, &mut hashes);
        assert!(hashes.iter().all(|h| !first.contains(h)), "another guest shares no page");
    }

    #[test]
    fn too_much_memory_is_refused_with_both_numbers() {
        let host = |free: u64| Environment { memory_available_bytes: Some(free), ..Environment::default() };
        let gib = 1 << 30;
        assert!(check_room(2 * gib, &host(4 * gib), &host(8 * gib), false).is_ok());
        let error = check_room(4 * gib, &host(64 * gib), &host(3 * gib), false).unwrap_err();
        assert!(error.message.contains("64 GiB") && error.message.contains("3 GiB"), "{}", error.message);
        assert!(check_room(2 * gib, &host(4 * gib), &host(4 * gib), true).is_err());
        assert!(check_room(2 * gib, &Environment::default(), &Environment::default(), false).is_ok());
    }
}
