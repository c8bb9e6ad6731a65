//! Time as the engine sees it: a monotonic count of nanoseconds, from a clock that can be real or virtual.

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
