//! A token bucket: messages of one size at a rate, with what was missed caught up with only so far.
//!
//! Kept as the moment at which the next message is due (the virtual schedule of ITU-T I.371's cell rate algorithm), so nothing
//! is refilled and nothing drifts: whoever is later than the burst allows moves the schedule, whoever is in time keeps it.

use pathproof_api::Tick;

const SECOND_NS: u128 = 1_000_000_000;

/// The bucket of one lane.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    bytes_per_s: u64,
    message_bytes: u64,
    burst_ns: u64,
    /// From when on messages are counted, and how many were let through since.
    from: Tick,
    passed: u64,
}

impl Bucket {
    /// Messages of so many bytes from `from` on. Who is late by more than `burst_ns` has lost the rest.
    pub fn new(from: Tick, bytes_per_s: u64, message_bytes: u64, burst_ns: u64) -> Bucket {
        Bucket { bytes_per_s: bytes_per_s.max(1), message_bytes, burst_ns, from, passed: 0 }
    }

    /// When the next message may leave.
    pub fn due(&self) -> Tick {
        let bytes = u128::from(self.passed) * u128::from(self.message_bytes);
        let ns = bytes * SECOND_NS / u128::from(self.bytes_per_s);
        self.from.plus_ns(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// A message leaves at `now`, which is not before it was due.
    pub fn pass(&mut self, now: Tick) {
        let late_ns = now.ns_since(self.due());
        self.from = self.from.plus_ns(late_ns.saturating_sub(self.burst_ns));
        self.passed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Bytes let through within `window_ns`, by a sender that is there at `wakes` only.
    fn passed(mut bucket: Bucket, wakes: impl Iterator<Item = u64>) -> u64 {
        let mut bytes = 0;
        for now in wakes.map(Tick) {
            while bucket.due() <= now {
                bucket.pass(now);
                bytes += bucket.message_bytes;
            }
        }
        bytes
    }

    #[test]
    fn a_sender_that_is_never_later_than_the_burst_has_exactly_its_rate() {
        for (rate, message, wake_ns) in [
            (50 << 20, 65_536, MS),
            (1 << 20, 65_536, 9 * MS),
            (12_500_000_000, 65_536, 10_000),
            (99_999_989, 1_000, 7 * MS),
        ] {
            let bucket = Bucket::new(Tick(5 * MS), rate, message, 10 * MS);
            let length = 4_000 * MS;
            let bytes = passed(bucket, (0..=(5 * MS + length) / wake_ns).map(|n| n * wake_ns));
            let expected = rate * 4;
            // The first leaves at once, and the last may not be due yet.
            let off = bytes.abs_diff(expected);
            assert!(off <= message + rate * wake_ns / 1_000_000_000, "{rate}: {bytes} of {expected}");
            assert!(
                off * 100 < expected || message * 100 > expected,
                "{rate}: within a hundredth, {bytes} of {expected}"
            );
        }
    }

    #[test]
    fn what_a_pause_missed_is_caught_up_with_as_far_as_the_burst_and_no_further() {
        let rate = 100_000_000;
        let bucket = Bucket::new(Tick(0), rate, 10_000, 10 * MS);
        // A second, a second of silence, a second: two seconds' worth and one burst.
        let wakes = (0..1000).chain(2000..3000).map(|ms| ms * MS);
        let bytes = passed(bucket, wakes);
        let expected = 2 * rate + rate / 100;
        assert!(bytes.abs_diff(expected) <= 2 * rate / 1000, "{bytes} of {expected}");
        // Half a burst late is nothing lost.
        let bytes = passed(bucket, (0..1000).chain(1005..=2000).map(|ms| ms * MS));
        assert!(bytes.abs_diff(2 * rate) <= 2 * 10_000, "{bytes}");
    }

    #[test]
    fn no_number_is_too_large() {
        let mut bucket = Bucket::new(Tick(u64::MAX - 5), 0, u64::MAX, u64::MAX);
        bucket.pass(Tick(u64::MAX));
        bucket.pass(Tick(u64::MAX));
        assert_eq!(bucket.due(), Tick(u64::MAX));
    }
}
