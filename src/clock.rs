//! The real clock: monotonic nanoseconds since its making, cheap enough to read twice per operation.

use pathproof_api::{Clock, Tick};

/// Reads the invariant time stamp counter where there is one, the system's monotonic clock otherwise.
#[derive(Clone, Debug)]
pub struct RealClock {
    source: quanta::Clock,
    origin: quanta::Instant,
}

impl RealClock {
    /// A clock that starts at zero now. Made once in a process (`src/cli.rs`) and handed to whoever needs the time:
    /// ticks of two clocks cannot be compared.
    #[expect(clippy::new_without_default, reason = "a default would be a clock that nobody was handed")]
    pub fn new() -> RealClock {
        let source = quanta::Clock::new();
        let origin = source.now();
        RealClock { source, origin }
    }
}

impl Clock for RealClock {
    #[inline]
    fn now(&self) -> Tick {
        // A run of 584 years would be needed to overflow.
        Tick(self.source.now().saturating_duration_since(self.origin).as_nanos() as u64)
    }
}

/// Measured cost of one reading, in ns.
pub fn stamp_cost_ns(clock: &RealClock) -> u64 {
    const READS: u64 = 2000;
    let start = clock.now();
    for _ in 0..READS {
        std::hint::black_box(clock.now());
    }
    clock.now().ns_since(start).div_ceil(READS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_system_clock() {
        let clock = RealClock::new();
        let (start, system) = (clock.now(), std::time::Instant::now());
        std::thread::sleep(std::time::Duration::from_millis(50));
        let (ours, theirs) = (clock.now().ns_since(start) as f64, system.elapsed().as_nanos() as f64);
        assert!((ours / theirs - 1.0).abs() < 0.05, "{ours} against {theirs}");
    }
}
