//! Guest memory on this host: filled and made present by all its processors, and whether there is room for it at all.

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pathproof_api::Region;
use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_engine::migrate::copy::contents::Contents;
use pathproof_model::units::Bytes;
use pathproof_model::{Environment, ErrorKind, StepError};

/// Memory that must stay free beside a rehearsal, so that the host itself is not driven out of memory.
const RESERVE_BYTES: u64 = 256 << 20;

/// Fills `pages` pages with bytes that no two pages and no two guests have alike. Returns early when `stop` is set.
pub fn fill(region: &Region, pages: u64, contents: Contents, stop: &AtomicBool) {
    on_all_processors(pages, |share| {
        for first in share.clone().step_by(PIECE_PAGES as usize) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            contents.fill(region, first..(first + PIECE_PAGES).min(share.end));
        }
    });
}

/// Pages that are filled or made present before somebody looks whether the step was given up: 16 MiB.
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
    Err(StepError::new(
        ErrorKind::Resource,
        format!(
            "the rehearsal needs {} at each end{}; this host has {} available and the peer {}, of which {} must stay free: ask for less --memory or --parallel",
            Bytes(bytes),
            if same_host { ", and both ends are this host" } else { "" },
            say(here.memory_available_bytes),
            say(there.memory_available_bytes),
            Bytes(RESERVE_BYTES),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use pathproof_api::Pages;

    use super::*;

    #[test]
    fn t20_a_step_that_is_given_up_fills_and_makes_present_no_more() {
        let pages = 3 * PIECE_PAGES;
        let region = Region::new(pages * PAGE_BYTES, Pages::Small).unwrap();
        let (going, given_up) = (AtomicBool::new(false), AtomicBool::new(true));
        let contents = Contents { seed: 1, zero_percent: 0, compressible_percent: 0 };
        fill(&region, pages, contents, &given_up);
        assert!(region.is_zero(0, pages * PAGE_BYTES).unwrap(), "nothing was touched");
        fill(&region, pages, contents, &going);
        assert!(!region.is_zero((pages - 1) * PAGE_BYTES, PAGE_BYTES).unwrap());
        populate(&region, pages, &given_up).unwrap();
        populate(&region, pages, &going).unwrap();
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
