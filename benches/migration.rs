//! What a migration's own work costs beside the copy: looking for zero pages, and learning which pages are dirty.
//!
//! `cargo bench --bench migration`. Fails when a gibibyte's dirty log takes longer than [`HARVEST_BOUND_MS`] to read, or
//! when zero pages are found at less than [`ZERO_BOUND_GB_PER_S`] and more slowly than nine tenths of a plain read.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use pathproof_api::{DirtyLog, DirtyTracker, Pages, Region};
use pathproof_engine::migrate::{PAGE_BYTES, PageBitmap, Random};
use pathproof_sys::written_pages::WrittenPages;

const BYTES: u64 = 1 << 30;
const PAGES: u64 = BYTES / PAGE_BYTES;
const HARVEST_BOUND_MS: f64 = 2.0;
const ZERO_BOUND_GB_PER_S: f64 = 20.0;
/// Writes between two harvests: those of 400 MB/s in a tenth of a second.
const WRITES: u64 = 10_000;

fn main() {
    let zero = zero_pages();
    let harvest = harvests();
    assert!(harvest <= HARVEST_BOUND_MS, "reading the dirty log of 1 GiB takes {harvest:.2} ms");
    let (found, read) = zero;
    assert!(
        found >= ZERO_BOUND_GB_PER_S || found >= 0.9 * read,
        "zero pages are found at {found:.1} GB/s, and {read:.1} GB/s can be read"
    );
}

/// The shortest of several tries: what disturbs one only makes it longer.
fn best_s(tries: u32, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..tries {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// GB/s at which memory of zero pages is searched, and at which it is merely read.
#[expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
fn zero_pages() -> (f64, f64) {
    let region = Region::new(BYTES, Pages::Default).expect("a gibibyte of memory");
    region.prefer_huge_pages();
    region.populate(0, BYTES).expect("a gibibyte of memory");
    region.fill(0, BYTES, 0).expect("inside the region");
    let rate = |s: f64| BYTES as f64 / s / 1e9;
    // In turns, so that a slow moment of the machine meets both.
    let (mut found, mut read) = (f64::MAX, f64::MAX);
    for _ in 0..7 {
        found = found.min(best_s(1, || {
            assert_eq!(region.zero_run(0, PAGES).expect("inside the region"), (true, PAGES));
        }));
        // One load of each cache line, which is all that memory sees of a read.
        read = read.min(best_s(1, || {
            let mut sum = 0u64;
            for at in (0..BYTES).step_by(64) {
                sum = sum.wrapping_add(region.load_word(at).unwrap_or(1));
            }
            assert_eq!(black_box(sum), 0);
        }));
    }
    let (found, read) = (rate(found), rate(read));
    println!("zero pages: {found:.1} GB/s searched, {read:.1} GB/s plain read, one thread, 1 GiB");
    (found, read)
}

/// Milliseconds to read which pages of a gibibyte are dirty, by the slower of the two trackers.
#[expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
fn harvests() -> f64 {
    let log = Arc::new(DirtyLog::new(PAGES));
    let mut random = Random::new(1);
    let mut words = vec![0u64; (PAGES / 64) as usize];
    let mut tracker: Box<dyn DirtyTracker> = Box::new(log.clone());
    let mut by_log = f64::MAX;
    for _ in 0..21 {
        (0..WRITES).for_each(|_| log.mark(random.below(PAGES)));
        by_log = by_log.min(1e3 * best_s(1, || harvest(tracker.as_mut(), &mut words)));
    }
    println!("harvest, log: {by_log:.3} ms for 1 GiB, {WRITES} writes");
    let region = Arc::new(Region::new(BYTES, Pages::Small).expect("a gibibyte of memory"));
    region.populate(0, BYTES).expect("a gibibyte of memory");
    let mut tracker = match WrittenPages::new(&region) {
        Ok(tracker) => tracker,
        Err(why) => {
            println!("harvest, pagemap-scan: not here ({why})");
            return by_log;
        }
    };
    let mut by_kernel = f64::MAX;
    for _ in 0..9 {
        for _ in 0..WRITES {
            let _ = region.store_word(random.below(PAGES) * PAGE_BYTES, 1);
        }
        by_kernel = by_kernel.min(1e3 * best_s(1, || harvest(&mut tracker, &mut words)));
    }
    println!(
        "harvest, pagemap-scan: {by_kernel:.3} ms for 1 GiB, {WRITES} writes (the kernel's time; no bound)"
    );
    by_log
}

/// As a round's end does it: read, and make the map of the next round.
fn harvest(tracker: &mut dyn DirtyTracker, words: &mut [u64]) {
    words.fill(0);
    tracker.harvest(words).expect("the tracker works");
    let mut map = PageBitmap::none(PAGES);
    map.merge_words(words.iter().copied());
    assert!(black_box(map.count()) > 0);
}
