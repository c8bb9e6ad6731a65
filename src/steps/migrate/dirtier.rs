//! A guest that runs: a thread that writes real pages at a set rate while others copy them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pathproof_api::{Clock, DirtyLog, Region, Tick};
use pathproof_engine::migrate::{Guest, PAGE_BYTES, Random};

use pathproof_sys::clock::RealClock;

/// Writes between two looks at the stop flag.
const BATCH: u64 = 4096;
/// Sleep between batches while nothing is due: short enough that a stop and a round's end see fresh pages.
const NAP: Duration = Duration::from_micros(500);

/// A running guest. Dropping it stops it.
pub struct Dirtier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Guest>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    throttle_percent: AtomicU8,
    writes: AtomicU64,
}

impl Dirtier {
    /// Starts `guest` on `region`, whose writes go to `log`.
    pub fn start(
        guest: Guest,
        region: Arc<Region>,
        log: Arc<DirtyLog>,
        clock: RealClock,
        seed: u64,
    ) -> io::Result<Dirtier> {
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        let thread = std::thread::Builder::new()
            .name("guest".into())
            .spawn(move || live(guest, &region, &log, &clock, seed, &its))?;
        Ok(Dirtier { shared, thread: Some(thread) })
    }

    /// Makes the guest sleep so much of its time from now on.
    pub fn throttle(&self, percent: u8) {
        self.shared.throttle_percent.store(percent.min(99), Ordering::Relaxed);
    }

    /// Writes made so far.
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::Relaxed)
    }

    /// Stops the guest; when this returns, it writes no more.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Dirtier {
    fn drop(&mut self) {
        self.stop();
    }
}

fn live(
    mut guest: Guest,
    region: &Region,
    log: &DirtyLog,
    clock: &RealClock,
    seed: u64,
    shared: &Shared,
) -> Guest {
    let mut random = Random::new(seed ^ 0x6775_6573_7477_7269);
    let mut last: Tick = clock.now();
    // Time that the guest was allowed to run, which a throttle makes pass more slowly.
    let mut ran_ns = 0f64;
    while !shared.stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let speed = 1.0 - f64::from(shared.throttle_percent.load(Ordering::Relaxed)) / 100.0;
        ran_ns += now.ns_since(last) as f64 * speed;
        last = now;
        let due = guest.due(ran_ns as u64).min(BATCH);
        for _ in 0..due {
            let page = guest.next_page();
            let bits = random.bits();
            let at = page * PAGE_BYTES + (bits & 511) * 8;
            // The guest model stays inside its pages, so the write cannot fail. Mark after writing, see
            // `DirtyLog::mark`.
            let _ = region.store_word(at, bits | 1);
            log.mark(page);
        }
        shared.writes.fetch_add(due, Ordering::Relaxed);
        if due < BATCH {
            std::thread::sleep(NAP);
        }
    }
    guest
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_api::Pages;
    use pathproof_engine::migrate::Pattern;

    #[test]
    fn it_writes_what_it_marks_and_nothing_after_the_stop() {
        let pages = 1024;
        let region = Arc::new(Region::new(pages * PAGE_BYTES, Pages::Small).unwrap());
        let log = Arc::new(DirtyLog::new(pages));
        let guest =
            Guest::new(pages, 400_000_000, Pattern::WorkingSet { bytes: 64 * PAGE_BYTES }, 9).unwrap();
        let clock = RealClock::new();
        let mut dirtier = Dirtier::start(guest, region.clone(), log.clone(), clock.clone(), 9).unwrap();
        let start = clock.now();
        while dirtier.writes() < 10_000 && clock.now().ns_since(start) < 10_000_000_000 {
            std::thread::yield_now();
        }
        dirtier.stop();
        let writes = dirtier.writes();
        assert!(writes >= 10_000, "{writes} writes in ten seconds");
        let mut marked = [0u64; 16];
        log.take(&mut marked);
        let mut written = [0u64; 16];
        for page in 0..pages {
            let zero = region.is_zero(page * PAGE_BYTES, PAGE_BYTES).unwrap();
            written[(page / 64) as usize] |= u64::from(!zero) << (page % 64);
        }
        assert_eq!(marked, written);
        assert_eq!(marked.iter().map(|w| w.count_ones()).sum::<u32>(), 64);
        let mut after = [0u64; 16];
        log.take(&mut after);
        assert_eq!(after, [0; 16]);
    }
}
