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

/// The shortest round trip of each connection that knows it, and the window of its lane.
fn trips(step: &Step) -> impl Iterator<Item = (u64, u64)> {
    let of_lane = |lane: &'_ crate::LaneResult| {
        let trips: Vec<u64> = lane.connections().filter_map(|one| one.counts.rtt_min_ns).collect();
        let window_ns = lane.window_ns;
        trips.into_iter().map(move |trip_ns| (trip_ns, window_ns))
    };
    step.lanes.iter().flat_map(of_lane)
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

#[cfg(test)]
mod tests {
    use super::super::tests::{doc, one, stream};
    use super::*;
    use crate::evidence::ConnectionCounts;
    use crate::{Connection, LaneRole, Outcome};

    #[test]
    fn a_weak_second_counts_once_the_connection_has_grown() {
        // Tenths of a second over a path of 100 ms, in MB: it grows for two seconds.
        let far = |tenths: &[u64]| {
            let mut step = stream(9.4, 1.0, 0);
            for lane in &mut step.lanes {
                let counts = ConnectionCounts { rtt_min_ns: Some(100_000_000), ..ConnectionCounts::still() };
                lane.connection = Some(Connection { counts, ..Connection::default() });
                lane.window_ns = tenths.len() as u64 * 100_000_000;
            }
            step.series = vec![Series {
                role: LaneRole::Receive,
                width_ns: 100_000_000,
                end_ns: tenths.len() as u64 * 100_000_000,
                received_bytes: tenths.iter().map(|mb| Some(mb * 1_000_000)).collect(),
                ..Series::default()
            }];
            step
        };
        let growing: Vec<u64> = (0..20).collect();
        let then = |mb: &[u64]| far(&[&growing, mb].concat());
        let (outcome, reason) = one(&doc(vec![then(&[20; 20])]));
        assert!(outcome == Outcome::Pass && reason.contains("worst second 1.60 Gbit/s, 100 %"), "{reason}");
        // Less than a second was left: it is not known.
        let (outcome, reason) = one(&doc(vec![then(&[20; 9])]));
        assert!(outcome == Outcome::Pass && reason.contains("still grew in the window"), "{reason}");
        // A second in which next to nothing came, although it had grown; also beside one that shows nothing.
        let weak = then(&[[20; 20], [1; 20], [20; 20]].concat());
        for steps in
            [vec![weak.clone()], vec![weak, then(&[20; 9])], vec![then(&[20; 20]), stream(9.4, 1.0, 0)]]
        {
            let (outcome, reason) = one(&doc(steps));
            assert!(outcome == Outcome::Fail && reason.contains("below the limit of 50 %"), "{reason}");
        }
    }
}
