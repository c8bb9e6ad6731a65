//! The time that a whole run may take: one deadline, from the start of the program to its end, that everything in
//! the run keeps. What does not fit is cut or left out and said so; it is never waited for.

use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_model::{ErrorKind, StepError};

use pathproof_sys::clock::RealClock;

/// The deadline of a run, on the clock that began with the program; the run begins with it, unless somebody had to be waited for.
#[derive(Clone)]
pub struct Budget {
    clock: RealClock,
    begin: Tick,
    length: Option<Duration>,
}

impl Budget {
    /// A run that may take `length` from the first tick of `clock` on, or as long as it takes.
    pub fn new(clock: RealClock, length: Option<Duration>) -> Budget {
        Budget { clock, begin: Tick(0), length }
    }

    /// The same, begun later: what was before, such as a person who typed a password, does not count.
    pub fn beginning(self, begin: Tick) -> Budget {
        Budget { begin, ..self }
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
        self.length.map_or(Tick(u64::MAX), |length| self.begin + (length - report(length)))
    }

    /// When the last step must be over: what the peer has measured is still to come, over a path with this round trip where
    /// one is known.
    pub fn last_step(&self, round_trip_ns: Option<u64>) -> Tick {
        let Some(length) = self.length else { return Tick(u64::MAX) };
        let crossing =
            |trip| Duration::from_nanos(trip).saturating_mul(LAST_ROUND_TRIPS).saturating_add(LAST_CROSSES);
        let needed =
            round_trip_ns.map_or(Duration::MAX, |trip| report(length).saturating_add(crossing(trip)));
        self.begin + (length - (length / 10).min(LAST_HALF).min(needed))
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
/// How long that takes on two busy hosts beside each other,
const LAST_CROSSES: Duration = Duration::from_millis(400);
/// and how many round trips more on a path that is long.
const LAST_ROUND_TRIPS: u32 = 6;

/// What is kept for judging and the report.
fn report(length: Duration) -> Duration {
    (length / 30).min(Duration::from_secs(2))
}

/// What stops a step when the time of the run is up.
pub fn out_of_time(what: &str) -> StepError {
    StepError::new(
        ErrorKind::OutOfTime,
        format!("{what}: the time of the whole run was up; run this step alone, or with more time"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_ends_before_the_run_and_no_wait_is_longer_than_what_is_left() {
        let budget = Budget::new(RealClock::new(), Some(Duration::from_secs(15)));
        assert!(budget.last_step(None) < budget.over() && budget.over() < Tick(15_000_000_000));
        assert!(budget.within(Duration::from_secs(60)) <= Duration::from_millis(14_500));
        assert_eq!(budget.within(Duration::from_secs(1)), Duration::from_secs(1));
        let later = budget.clone().beginning(Tick(7_000_000_000));
        assert_eq!(later.over().since(budget.over()), Duration::from_secs(7));
        let spent = Budget::new(RealClock::new(), Some(Duration::ZERO));
        assert!(spent.is_spent() && spent.within(Duration::from_secs(60)).is_zero());
    }

    #[test]
    fn a_short_path_leaves_more_time_for_steps_and_a_long_one_no_less_than_one_of_which_nothing_is_known() {
        let (none, short, long) = (None, Some(100_000), Some(200_000_000));
        for seconds in [15, 60, 480] {
            let budget = Budget::new(RealClock::new(), Some(Duration::from_secs(seconds)));
            assert!(budget.last_step(short) < budget.over(), "{seconds} s");
            assert!(budget.last_step(short) >= budget.last_step(none), "{seconds} s");
            assert!(budget.last_step(long) >= budget.last_step(none), "{seconds} s");
            assert!(budget.last_step(short) >= budget.last_step(long), "{seconds} s");
        }
        let quick = Budget::new(RealClock::new(), Some(Duration::from_secs(15)));
        assert!(quick.last_step(short) > Tick(14_000_000_000));
        assert_eq!(quick.last_step(long), Tick(13_500_000_000));
    }

    #[test]
    fn a_run_without_a_limit_waits_as_long_as_it_takes() {
        let budget = Budget::new(RealClock::new(), None);
        assert!(!budget.is_spent());
        assert_eq!(budget.within(Duration::from_secs(60)), Duration::from_secs(60));
        assert_eq!(budget.length_ns(), None);
    }
}
