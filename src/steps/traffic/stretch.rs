//! A ping-pong with as many samples as its percentiles want.

use pathproof_model::StepSpec;

/// Samples that the built-in limits want for a p99.
const P99_SAMPLES: u64 = 1000;
/// A round trip from which on other lanes at the hosts are nothing to it.
const LONG_NS: u64 = 10_000_000;
/// Most lanes that ask at once over a long path.
const LANES_MAX: u64 = 16;

/// A ping-pong that has few samples for its percentiles in the time it asks for, where it may take `spare_ns` more. With little to
/// spare it is content with what a p90 wants; where a round trip is so long that there is no time for those either, several lanes ask
/// at once.
pub fn stretch(spec: &StepSpec, spare_ns: u64, rtt_ns: u64) -> StepSpec {
    const PLENTY_NS: u64 = 5_000_000_000;
    let mut spec = spec.clone();
    if let StepSpec::Pingpong(t) = &mut spec {
        // A tenth more than the verdict wants: not every round trip is the median. Where a few are wanted, twice as many: on a path whose
        // round trips vary they can be longer by half.
        let wanted_ns = |samples: u64| rtt_ns.saturating_mul(samples).saturating_mul(11) / 10;
        let samples = if spare_ns >= PLENTY_NS { P99_SAMPLES } else { P99_SAMPLES / 5 };
        t.time_ns = wanted_ns(samples).clamp(t.time_ns, t.time_ns.saturating_add(spare_ns));
        if rtt_ns >= LONG_NS && t.lanes == 1 {
            t.lanes = wanted_ns(P99_SAMPLES / 5).div_ceil(t.time_ns.max(1)).clamp(1, LANES_MAX) as u32;
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::TrafficSpec;

    /// Time in ms and lanes.
    fn stretched(time_ms: u64, spare_ms: u64, rtt_ms: u64) -> (u64, u32) {
        let spec = TrafficSpec { time_ns: time_ms * 1_000_000, ..TrafficSpec::default() };
        let spec = stretch(&StepSpec::Pingpong(spec), spare_ms * 1_000_000, rtt_ms * 1_000_000);
        let traffic = spec.traffic().unwrap();
        (traffic.time_ns / 1_000_000, traffic.lanes)
    }

    #[test]
    fn it_goes_on_for_what_there_is_to_spare() {
        assert_eq!(stretched(600, 1000, 1), (600, 1));
        assert_eq!(stretched(600, 1000, 5), (1100, 1));
        assert_eq!(stretched(600, 1000, 10), (1600, 2));
        assert_eq!(stretched(3000, 60_000, 10), (11_000, 1));
    }

    #[test]
    fn over_a_long_path_several_ask_at_once_and_not_over_a_short_one() {
        assert_eq!(stretched(600, 0, 9), (600, 1));
        // As a quick check has it: 24 round trips of one lane, which vary, tell nothing.
        assert_eq!(stretched(600, 0, 20), (600, 8));
        assert_eq!(stretched(600, 0, 30), (600, 11));
        assert_eq!(stretched(600, 0, 200), (600, 16));
        assert_eq!(stretched(3000, 400, 300), (3400, 16));
        assert_eq!(stretched(3000, 60_000, 300), (63_000, 2));
    }
}
