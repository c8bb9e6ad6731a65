//! The host of a rehearsed guest: a thread that writes its pages, and who is asked which ones.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pathproof_api::{DirtyLog, DirtyTracker, Region};
use pathproof_engine::migrate::copy::contents::Contents;
use pathproof_engine::migrate::copy::{CopyError, Machine};
use pathproof_engine::migrate::{Guest, PAGE_BYTES, Random};
use pathproof_model::ErrorKind;
use pathproof_model::migrate::Tracker;
use pathproof_sys::{process, written_pages::WrittenPages};

use super::dirtier::Dirtier;
use super::memory;
use pathproof_sys::clock::RealClock;

/// A guest's host; one guest after the other.
pub struct Host {
    region: Arc<Region>,
    clock: RealClock,
    /// Who is asked for dirty pages.
    asks: Tracker,
    /// What the next guest writes follows from it; no two write alike.
    seed: u64,
    tracker: Option<Box<dyn DirtyTracker>>,
    dirtier: Option<Dirtier>,
}

impl Host {
    /// Of guests in `region`; `asks` and `seed` are the step's.
    pub fn new(region: Arc<Region>, clock: RealClock, asks: Tracker, seed: u64) -> Host {
        Host { region, clock, asks, seed, tracker: None, dirtier: None }
    }

    /// Fills the memory of the first guest; ends early when `stop` is set.
    pub fn fill(&self, contents: Contents, stop: &AtomicBool) {
        // One page behind the guest's is for staging.
        memory::fill(&self.region, self.region.len() / PAGE_BYTES - 1, contents, stop);
    }
}

impl Machine for Host {
    fn start(&mut self, pages: u64, guest: Option<Guest>) -> Result<(), CopyError> {
        let log = Arc::new(DirtyLog::new(pages));
        self.tracker = Some(match self.asks {
            Tracker::PagemapScan => Box::new(
                WrittenPages::new(&self.region)
                    .map_err(|message| CopyError::new(ErrorKind::Unsupported, message))?,
            ),
            Tracker::Log => Box::new(log.clone()),
        });
        if let Some(guest) = guest {
            self.seed = Random::new(self.seed).bits();
            let started = Dirtier::start(guest, self.region.clone(), log, self.clock.clone(), self.seed);
            self.dirtier =
                Some(started.map_err(|e| {
                    CopyError::new(ErrorKind::Resource, format!("no thread for a guest: {e}"))
                })?);
        }
        Ok(())
    }

    fn throttle(&mut self, percent: u8) {
        if let Some(dirtier) = &self.dirtier {
            dirtier.throttle(percent);
        }
    }

    fn writes(&self) -> u64 {
        self.dirtier.as_ref().map_or(0, Dirtier::writes)
    }

    fn stop(&mut self) {
        self.dirtier = None;
    }

    fn harvest(&mut self, words: &mut [u64]) -> Result<(), CopyError> {
        let Some(tracker) = &mut self.tracker else { return Ok(()) };
        tracker.harvest(words).map_err(|error| {
            CopyError::new(ErrorKind::System, format!("dirty pages cannot be read: {error}"))
        })
    }

    fn cpu_ns(&mut self) -> Option<u64> {
        process::process_cpu_ns()
    }
}
