//! When a sleeping receiver is woken: the adaptive threshold of a lane that only receives.
//!
//! Woken for every segment, a fast receiver spends its time falling asleep, and its early acknowledgements
//! chop the sender's work into small pieces. So a lane that has never sent, and is receiving so fast that the
//! wait is at most [`HORIZON_NS`], asks to be woken when several messages are there (`SO_RCVLOWAT`). It is the
//! receiver's counterpart of interrupt moderation, applies to any link, and changes neither buffers nor windows.
//! A lane that also sends (ping-pong, request) is never held up: latency is what it is there to measure. A framed
//! lane knows how much of a body is still to come, and is held up for no more than that.

use std::os::fd::BorrowedFd;

use pathproof_api::{Clock, Framing, Tick};
use pathproof_sys::clock::RealClock;
use pathproof_sys::socket;

/// Longest time that bytes wait for company, at the rate measured.
const HORIZON_NS: u64 = 200_000;

/// Highest threshold: half of it still fits a common second-level cache together with its target.
const THRESHOLD_BYTES_MAX: u64 = 512 * 1024;

/// Thresholds are multiples of this, and none is set below it: one segment as loopback and GRO deliver it.
const THRESHOLD_BYTES_STEP: u64 = 64 * 1024;

/// The rate is measured anew after so many bytes.
const MEASURE_BYTES: u64 = 8 << 20;

/// The threshold of one lane.
pub(crate) struct Wake {
    /// Threshold in force; 1 is the kernel's default.
    threshold_bytes: u32,
    /// Highest threshold that was in force, for the report.
    pub(crate) highest_bytes: u32,
    bytes: u64,
    since: Tick,
    clock: RealClock,
    allowed: bool,
    framing: Framing,
    /// What the rate asks for; a framed lane applies it within a body only.
    wanted_bytes: u32,
}

impl Wake {
    pub(crate) fn new(allowed: bool, framing: Framing, clock: &RealClock) -> Wake {
        Wake {
            threshold_bytes: 1,
            highest_bytes: 1,
            bytes: 0,
            since: clock.now(),
            clock: clock.clone(),
            allowed,
            framing,
            wanted_bytes: 1,
        }
    }

    /// `bytes` have arrived while `posted_bytes` of room are waiting for more.
    pub(crate) fn received(&mut self, fd: BorrowedFd<'_>, bytes: usize, posted_bytes: impl Fn() -> u64) {
        self.bytes += bytes as u64;
        if self.bytes < MEASURE_BYTES || !self.allowed {
            return;
        }
        let now = self.clock.now();
        let elapsed_ns = u128::from(now.ns_since(self.since).max(1));
        let arriving = (u128::from(self.bytes) * u128::from(HORIZON_NS) / elapsed_ns) as u64;
        (self.bytes, self.since) = (0, now);
        self.wanted_bytes = threshold(arriving, posted_bytes());
        if self.framing == Framing::Raw {
            self.set(fd, self.wanted_bytes);
        }
    }

    /// The next `bytes` to come belong together: nobody can use them before the last is there.
    pub(crate) fn until(&mut self, fd: BorrowedFd<'_>, bytes: u64) {
        self.set(fd, threshold(u64::from(self.wanted_bytes), bytes));
    }

    /// A wait ended before the threshold was reached: the rate has dropped, so wake for anything.
    pub(crate) fn waited_in_vain(&mut self, fd: BorrowedFd<'_>) {
        self.wanted_bytes = 1;
        self.set(fd, 1);
        (self.bytes, self.since) = (0, self.clock.now());
    }

    /// The lane sends as well: from now on every byte may be one that somebody waits for.
    pub(crate) fn forbid(&mut self, fd: BorrowedFd<'_>) {
        if self.allowed && self.framing == Framing::Raw {
            self.allowed = false;
            self.set(fd, 1);
        }
    }

    fn set(&mut self, fd: BorrowedFd<'_>, bytes: u32) {
        // A kernel that refuses leaves the lane as correct as before, only less quick.
        if bytes != self.threshold_bytes && socket::set_receive_low_water(fd, bytes).is_ok() {
            self.threshold_bytes = bytes;
            self.highest_bytes = self.highest_bytes.max(bytes);
        }
    }
}

/// The threshold for a lane at which `arriving_bytes` come within the horizon and `posted_bytes` have a place.
fn threshold(arriving_bytes: u64, posted_bytes: u64) -> u32 {
    let bytes = arriving_bytes.min(posted_bytes).min(THRESHOLD_BYTES_MAX);
    let whole = bytes / THRESHOLD_BYTES_STEP * THRESHOLD_BYTES_STEP;
    u32::try_from(whole.max(1)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that arrive within the horizon at a rate.
    fn at(bits_per_s: u64) -> u64 {
        bits_per_s / 8 * HORIZON_NS / 1_000_000_000
    }

    #[test]
    fn slow_links_wake_for_every_byte() {
        assert_eq!(threshold(at(100_000_000), 2 << 20), 1);
        assert_eq!(threshold(at(1_000_000_000), 2 << 20), 1);
    }

    #[test]
    fn fast_links_wake_for_what_two_hundred_microseconds_bring() {
        assert_eq!(threshold(at(10_000_000_000), 2 << 20), 3 * 64 * 1024);
        assert_eq!(threshold(at(100_000_000_000), 2 << 20), 512 * 1024);
    }

    #[test]
    fn never_more_than_there_is_room_for() {
        assert_eq!(threshold(at(100_000_000_000), 131_072), 131_072);
        assert_eq!(threshold(at(100_000_000_000), 64), 1);
    }
}
