//! Time: a monotonic count of nanoseconds from a clock that can be real or virtual, and the real one.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on a monotonic clock, in nanoseconds since an origin that only the clock knows.
///
/// Ticks of different clocks (two machines, or a real and a virtual one) must never be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Nanoseconds from `earlier` to `self`; zero when `earlier` is later, because a monotonic clock read on
    /// two cores may differ by a few nanoseconds in the wrong order.
    pub fn ns_since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The duration from `earlier` to `self`, zero when negative.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.ns_since(earlier))
    }

    /// This tick moved `ns` nanoseconds into the future, saturating.
    pub fn plus_ns(self, ns: u64) -> Tick {
        Tick(self.0.saturating_add(ns))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, duration: Duration) -> Tick {
        self.plus_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Sub<Tick> for Tick {
    type Output = Duration;
    fn sub(self, earlier: Tick) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

/// A monotonic clock. Cheap enough to read twice per operation.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Tick;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Tick {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Tick {
        (**self).now()
    }
}

/// The real clock: the invariant time stamp counter where there is one, the system's monotonic clock otherwise.
#[derive(Clone, Debug)]
pub struct RealClock {
    source: quanta::Clock,
    /// What the counter said when it was made.
    origin: u64,
}

impl RealClock {
    /// A clock that starts at zero now. Made once in a process and handed to whoever needs the time: ticks of two clocks
    /// cannot be compared.
    #[expect(clippy::new_without_default, reason = "a default would be a clock that nobody was handed")]
    pub fn new() -> RealClock {
        let source = quanta::Clock::new();
        let origin = source.raw();
        RealClock { source, origin }
    }

    /// The moment `within` from now.
    pub fn deadline(&self, within: Duration) -> Deadline {
        Deadline { clock: self.clone(), at: self.now() + within }
    }

    /// Measured cost of one reading, in ns.
    pub fn stamp_cost_ns(&self) -> u64 {
        const READS: u64 = 2000;
        let start = self.now();
        for _ in 0..READS {
            std::hint::black_box(self.now());
        }
        self.now().ns_since(start).div_ceil(READS)
    }
}

impl Clock for RealClock {
    #[inline]
    fn now(&self) -> Tick {
        // Straight from the counter: a `Duration` on the way is a division by 10^9 and back. A run of 584 years would be needed to overflow.
        Tick(self.source.delta_as_nanos(self.origin, self.source.raw()))
    }
}

/// A moment by which something must be done, with the clock that it was set by.
#[derive(Clone, Debug)]
pub struct Deadline {
    clock: RealClock,
    at: Tick,
}

impl Deadline {
    /// Time until then; zero when it has passed.
    pub fn left(&self) -> Duration {
        self.at.since(self.clock.now())
    }

    /// As [`Deadline::left`], but never zero, which as the timeout of a socket means "wait without limit".
    pub fn left_for_socket(&self) -> Duration {
        self.left().max(Duration::from_millis(1))
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        self.clock.now() >= self.at
    }

    /// The moment itself.
    pub fn at(&self) -> Tick {
        self.at
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &RealClock {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_system_clock() {
        let clock = RealClock::new();
        let (start, system) = (clock.now(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(50));
        let (ours, theirs) = (clock.now().ns_since(start) as f64, system.elapsed().as_nanos() as f64);
        assert!((ours / theirs - 1.0).abs() < 0.05, "{ours} against {theirs}");
    }

    #[test]
    fn a_deadline_passes_and_the_longest_one_does_not_overflow() {
        let clock = RealClock::new();
        let (now, never) = (clock.deadline(Duration::ZERO), clock.deadline(Duration::MAX));
        assert!(now.is_over() && now.left().is_zero() && now.left_for_socket() > Duration::ZERO);
        assert!(!never.is_over() && never.at() == Tick(u64::MAX));
    }
}
