//! How large a guest must be so that its rehearsal fits a given time on a path that was just measured.
//!
//! A scaled guest still lives through everything that a real one does: it dirties while it is copied, there are rounds,
//! and it is stopped with pages left. It says nothing about guests that dirty more than their path carries.

use super::{PAGE_BYTES, Path};

/// Part of the path's rate at which a scaled guest dirties pages: one in so many bytes copied.
const DIRTY_SHARE: f64 = 1.0 / 5.0;
/// The smallest guest: fewer pages have no rounds worth the name.
const PAGES_MIN: u64 = 64;

/// What a guest is like, and how many rounds it lives through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// The rate at which it dirties pages, in bytes per second.
    pub dirty_bytes_per_s: u64,
    /// Live rounds that it has at least. A policy's limit is meant for passes of many seconds: the rest of a short one
    /// is within it at once.
    pub rounds_min: usize,
}

impl Scale {
    /// A guest of at most `memory_bytes` whose whole move takes about `budget_ns` on `path`.
    pub fn new(memory_bytes: u64, budget_ns: u64, path: Path) -> Scale {
        // Every round moves a fifth of the one before: M/B + M/B·r + M/B·r² … = M/B / (1 − r).
        let first_pass_s = budget_ns as f64 / 1e9 * (1.0 - DIRTY_SHARE);
        let pages = (path.bytes_per_s * first_pass_s / PAGE_BYTES as f64) as u64;
        Scale {
            memory_bytes: memory_bytes.min(pages.max(PAGES_MIN) * PAGE_BYTES),
            dirty_bytes_per_s: (path.bytes_per_s * DIRTY_SHARE) as u64,
            rounds_min: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pattern, Phases, Policy, predict_phases};
    use super::*;

    fn path(bytes_per_s: f64, round_cost_ns: u64) -> Path {
        Path { bytes_per_s, round_cost_ns, zero_share: 0.0 }
    }

    #[test]
    fn a_scaled_guest_keeps_the_budget_and_has_rounds_on_every_path() {
        // From a slow line to memory itself, near and far.
        for rate in [1e6, 12e6, 125e6, 1.25e9, 6e9] {
            for round_cost_ns in [50_000, 5_000_000, 80_000_000] {
                let path = path(rate, round_cost_ns);
                let budget_ns = 2_000_000_000;
                let scale = Scale::new(256 << 20, budget_ns, path);
                let pages = scale.memory_bytes / PAGE_BYTES;
                let dirty = scale.dirty_bytes_per_s as f64;
                let phases = Phases::new(Policy::qemu()).with_rounds_min(scale.rounds_min);
                let expected = predict_phases(phases, pages, dirty, &Pattern::Uniform, path);
                let told = format!("{rate} B/s, {round_cost_ns} ns: {scale:?} {expected:?}");
                assert!(expected.converges() && expected.rounds.len() >= 2, "{told}");
                assert!(expected.total_ns < budget_ns * 3 / 2, "{told}");
                assert!(expected.rounds[0].dirtied_pages >= 1.0, "{told}");
                assert!(expected.downtime_ns < 300_000_000, "{told}");
            }
        }
    }

    #[test]
    fn it_is_never_larger_than_asked_nor_smaller_than_has_rounds() {
        assert_eq!(Scale::new(8 << 20, u64::MAX, path(1e9, 0)).memory_bytes, 8 << 20);
        let slow = Scale::new(64 << 20, 700_000_000, path(10_000.0, 0));
        assert_eq!((slow.memory_bytes, slow.dirty_bytes_per_s), (PAGES_MIN * PAGE_BYTES, 2000));
    }
}
