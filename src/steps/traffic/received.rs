//! Streams for tests, by what their receiver heard in each tenth of a second.

use pathproof_engine::record::mark_silences;
use pathproof_model::{End, Interval, Step, series};

/// Gives the lanes of the server what they received, in tenths of a second.
pub fn fill(step: &mut Step, received: &[&[u64]]) {
    let slices = |(lane, bytes): (usize, &&[u64])| -> Vec<Interval> {
        let slice = |(number, bytes): (usize, &u64)| Interval {
            end: End::Server,
            lane: Some(lane as u32),
            start_ns: number as u64 * 100_000_000,
            length_ns: 100_000_000,
            received_bytes: *bytes,
            ..Interval::default()
        };
        bytes.iter().enumerate().map(slice).collect()
    };
    let intervals: Vec<Interval> = received.iter().enumerate().flat_map(slices).collect();
    mark_silences(&mut step.lanes, &intervals);
    step.series = series::sum(&step.lanes, &intervals);
}
