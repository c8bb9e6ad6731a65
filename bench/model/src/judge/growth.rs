//! What of a step its connections had for growing: a connection needs some twenty round trips until it moves what its path carries.
//!
//! Before that a step shows how it grew, and neither what the path carries nor how evenly.

use crate::Step;
use crate::series::Series;

const GROWN_TRIPS: u64 = 20;
const SECOND_NS: u64 = 1_000_000_000;

/// Whether a step was over before its connections had found their rate.
pub fn still_grew(step: &Step) -> bool {
    trips(step).any(|(trip_ns, window_ns)| trip_ns.saturating_mul(GROWN_TRIPS) > window_ns)
}

/// The shortest round trip and the window of each lane that knows them.
fn trips(step: &Step) -> impl Iterator<Item = (u64, u64)> {
    let known =
        |lane: &crate::LaneResult| Some((lane.connection.as_ref()?.counts.rtt_min_ns?, lane.window_ns));
    step.lanes.iter().filter_map(known)
}

/// From when in the window on its connections had grown; `None` where they had before the window was a tenth of a second old.
pub(super) fn grown_from_ns(step: &Step) -> Option<u64> {
    let longest_ns = trips(step).map(|(trip_ns, _)| trip_ns.saturating_mul(GROWN_TRIPS)).max()?;
    let warmup_ns = step.spec.as_ref().and_then(|spec| spec.traffic()).map_or(0, |traffic| traffic.warmup_ns);
    let from_ns = longest_ns.saturating_sub(warmup_ns);
    (from_ns >= crate::series::SLICE_NS).then_some(from_ns)
}

/// The worst second of each flow from `from_ns` on, in bit/s, as a part of the mean from there on: the least of them. `None` where less
/// than a second is left.
pub(super) fn worst_second_from(step: &Step, from_ns: u64) -> Option<(f64, u64)> {
    let worst = |series: &Series| {
        let slices = series.carried().filter(|slice| slice.start_ns >= from_ns);
        let bytes: Vec<u64> =
            slices.filter(|slice| slice.length_ns == series.width_ns).map(|slice| slice.bytes).collect();
        let second = SECOND_NS.div_ceil(series.width_ns.max(1)) as usize;
        let least = bytes.windows(second).map(|window| window.iter().sum::<u64>()).min()?;
        let mean = bytes.iter().sum::<u64>() as f64 / bytes.len() as f64 * second as f64;
        let rate = least as f64 * 8e9 / (series.width_ns.saturating_mul(second as u64)) as f64;
        (mean > 0.0).then_some((least as f64 / mean, rate as u64))
    };
    step.own_series().filter_map(worst).min_by(|a, b| a.0.total_cmp(&b.0))
}
