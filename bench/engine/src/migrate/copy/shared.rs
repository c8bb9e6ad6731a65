//! What all guests of a step share: what was asked for, and how far it has come.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use pathproof_api::{Clock, Tick};
use pathproof_model::MigrateSpec;

use super::contents::Contents;
use crate::migrate::{Pattern, Policy, Random, Scale};

/// What all guests of a step share.
pub struct Shared {
    /// The step.
    pub spec: MigrateSpec,
    /// Decides for each guest.
    pub policy: Policy,
    /// Which pages are written.
    pub pattern: Pattern,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// When the step must be over.
    pub until: Tick,
    /// Bytes copied by all lanes.
    pub progress: Arc<AtomicU64>,
    /// Bytes expected, once predicted.
    pub expected: AtomicU64,
    next_guest: AtomicU32,
    /// Set once the path has been measured.
    pub(super) measured: AtomicBool,
    /// What a budget made of each guest, once the path was measured.
    pub(super) scaled: OnceLock<Scale>,
    /// Guests that were stopped.
    standing: AtomicU32,
}

impl Shared {
    /// Nothing has moved yet.
    pub fn new(
        spec: MigrateSpec,
        policy: Policy,
        pattern: Pattern,
        clock: Arc<dyn Clock>,
        until: Tick,
    ) -> Shared {
        Shared {
            spec,
            policy,
            pattern,
            clock,
            until,
            progress: Arc::default(),
            expected: AtomicU64::new(0),
            next_guest: AtomicU32::new(0),
            measured: AtomicBool::new(false),
            scaled: OnceLock::new(),
            standing: AtomicU32::new(0),
        }
    }

    /// The next guest that nobody has taken, or none.
    pub fn take_guest(&self) -> Option<u32> {
        let next = self.next_guest.fetch_add(1, Ordering::Relaxed);
        (next < self.spec.guests).then_some(next)
    }

    /// Whether no guest runs at the source any more, so that none writes to its disk.
    pub fn guests_stand(&self) -> bool {
        self.standing.load(Ordering::Relaxed) >= self.spec.guests
    }

    /// Whether the path has been measured, or never will be.
    pub fn is_measured(&self) -> bool {
        self.measured.load(Ordering::Acquire)
    }

    /// One more guest was stopped.
    pub(super) fn one_stands(&self) {
        self.standing.fetch_add(1, Ordering::Relaxed);
    }

    /// No guest runs any more, those that will never be stopped in due form included.
    pub fn all_stand(&self) {
        self.standing.store(self.spec.guests, Ordering::Relaxed);
    }

    /// Share of the expected bytes that has been copied, once any are expected.
    pub fn share_copied(&self) -> Option<f64> {
        let expected = self.expected.load(Ordering::Relaxed);
        let copied = self.progress.load(Ordering::Relaxed);
        (expected > 0).then(|| (copied as f64 / expected as f64).min(1.0))
    }

    /// What the pages of a guest hold.
    pub fn contents(&self, guest: u32) -> Contents {
        Contents {
            seed: guest_seed(self.spec.seed, guest),
            zero_percent: self.spec.zero_percent,
            compressible_percent: self.spec.compressible_percent,
        }
    }

    /// What each guest is like: as asked, or as a budget has scaled it.
    pub(super) fn scale(&self) -> Scale {
        self.scaled.get().copied().unwrap_or(Scale {
            memory_bytes: self.spec.memory_bytes,
            dirty_bytes_per_s: self.spec.dirty_bytes_per_s,
            rounds_min: 0,
        })
    }
}

/// Seed of what belongs to one guest.
pub(super) fn guest_seed(seed: u64, guest: u32) -> u64 {
    Random::new(seed.wrapping_add(u64::from(guest).wrapping_mul(0x9E37_79B9_7F4A_7C15))).bits()
}
