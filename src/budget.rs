//! The time that a whole run may take: one deadline, from the start of the program to its end, that everything in
//! the run keeps. What does not fit is cut or left out and said so; it is never waited for.

use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_model::{ErrorKind, StepError};

use pathproof_sys::clock::RealClock;

/// The deadline of a run, on the clock that began with the program.
#[derive(Clone)]
pub struct Budget {
    clock: RealClock,
    length: Option<Duration>,
}

impl Budget {
    /// A run that may take `length` from the first tick of `clock` on, or as long as it takes.
    pub fn new(clock: RealClock, length: Option<Duration>) -> Budget {
        Budget { clock, length }
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &RealClock {
        &self.clock
    }

    /// The whole length in ns, for the document.
    pub fn length_ns(&self) -> Option<u64> {
        self.length.map(|length| length.as_nanos() as u64)
    }

    /// When everything must be over but the judging and the report.
    pub fn over(&self) -> Tick {
        self.length.map_or(Tick(u64::MAX), |length| Tick(0) + (length - length / 30))
    }

    /// When the last step must be over: what the peer has measured is still to come.
    pub fn last_step(&self) -> Tick {
        self.length.map_or(Tick(u64::MAX), |length| Tick(0) + (length - (length / 10).min(LAST_HALF)))
    }

    /// `wait`, or what is left of the run where that is less.
    pub fn within(&self, wait: Duration) -> Duration {
        wait.min(self.over().since(self.clock.now()))
    }

    /// Whether the run is over.
    pub fn is_spent(&self) -> bool {
        self.clock.now() >= self.over()
    }
}

/// Longest time that is kept back for the last step: its lanes are closed in order, and its other half crosses.
const LAST_HALF: Duration = Duration::from_secs(3);

/// What stops a step when the time of the run is up.
pub fn out_of_time(what: &str) -> StepError {
    StepError {
        kind: ErrorKind::OutOfTime,
        message: format!("{what}: the time of the whole run was up; run this step alone, or with more time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_ends_before_the_run_and_no_wait_is_longer_than_what_is_left() {
        let budget = Budget::new(RealClock::new(), Some(Duration::from_secs(15)));
        assert!(budget.last_step() < budget.over() && budget.over() < Tick(15_000_000_000));
        assert!(budget.within(Duration::from_secs(60)) <= Duration::from_millis(14_500));
        assert_eq!(budget.within(Duration::from_secs(1)), Duration::from_secs(1));
        let spent = Budget::new(RealClock::new(), Some(Duration::ZERO));
        assert!(spent.is_spent() && spent.within(Duration::from_secs(60)).is_zero());
    }

    #[test]
    fn a_run_without_a_limit_waits_as_long_as_it_takes() {
        let budget = Budget::new(RealClock::new(), None);
        assert!(!budget.is_spent());
        assert_eq!(budget.within(Duration::from_secs(60)), Duration::from_secs(60));
        assert_eq!(budget.length_ns(), None);
    }
}
