//! A cap on the payload of many lanes together: a token bucket without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pathproof_api::Tick;

/// What may run ahead of the rate. QEMU counts in slices of 100 ms; a tenth of that keeps a shaped queue short.
const BURST_NS: u64 = 10_000_000;

/// The cap.
#[derive(Debug)]
pub struct Pacer {
    bytes_per_s: Option<u64>,
    /// When what has been claimed so far will have been paid for, in ns.
    paid_ns: AtomicU64,
}

impl Pacer {
    /// At most so many bytes per second; `None` lets everything pass.
    pub fn new(bytes_per_s: Option<u64>) -> Pacer {
        Pacer { bytes_per_s, paid_ns: AtomicU64::new(0) }
    }

    /// Whether there is a cap at all.
    pub fn is_capped(&self) -> bool {
        self.bytes_per_s.is_some()
    }

    /// Claims `bytes` now and returns zero, or claims nothing and returns how long to wait before asking again.
    pub fn claim(&self, now: Tick, bytes: u64) -> Duration {
        let Some(rate) = self.bytes_per_s else { return Duration::ZERO };
        let cost_ns = (u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))) as u64;
        let claimed = self.paid_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| {
            (paid <= now.0.saturating_add(BURST_NS)).then(|| paid.max(now.0).saturating_add(cost_ns))
        });
        match claimed {
            Ok(_) => Duration::ZERO,
            Err(paid) => Duration::from_nanos(paid.saturating_sub(now.0 + BURST_NS).max(1000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_to_the_rate_and_no_cap_waits_for_nobody() {
        let pacer = Pacer::new(Some(100_000_000));
        let (mut now, mut moved) = (Tick(0), 0u64);
        while now.0 < 1_000_000_000 {
            let wait = pacer.claim(now, 1 << 20);
            if wait.is_zero() {
                moved += 1 << 20;
            } else {
                now = now + wait;
            }
        }
        // A second's worth, the burst and one chunk.
        assert!((100_000_000..103_000_000).contains(&moved), "{moved}");
        assert_eq!(Pacer::new(None).claim(Tick(0), u64::MAX), Duration::ZERO);
    }
}
