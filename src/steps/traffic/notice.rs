//! What a finished traffic step shows that somebody should be told: stalls, a coarse clock, samples
//! beyond the range. Pure reading of the step.

use pathproof_model::{Environment, Finding, Severity, Step, StepKind};

/// Three retransmission timers in a row of a short path (0.2, 0.4 and 0.8 s) take less than this: what a connection waits that was unlucky in
/// a full queue.
const TIMERS_NS: u64 = 1_500_000_000;
/// A connection that brought so much has carried full segments: all that opens it is smaller.
const CARRIED_BYTES: u64 = 4 << 10;

/// In so many round trips a connection that loses nothing brings any message that a window holds.
const TRIPS: u64 = 10;

/// The findings of a step.
pub fn findings(step: &Step, client: Option<&Environment>) -> Vec<Finding> {
    let mut found = vec![];
    found.extend(stall(step));
    found.extend(coarse_clock(step, client));
    found.extend(saturated(step));
    found
}

/// The longest silence of a receiving lane inside the window; one that others explain only where there is no worse.
pub(super) fn stall(step: &Step) -> Option<Finding> {
    if step.kind != StepKind::Stream {
        return None;
    }
    let silences =
        step.lanes.iter().flat_map(|lane| lane.silences.iter().flatten().map(move |silence| (lane, silence)));
    // The first message of a connection takes some round trips, as long as those are.
    let trips_ns = step.lanes.iter().filter_map(|lane| lane.connection.as_ref()?.counts.rtt_min_ns).max();
    let silences =
        silences.filter(|(_, silence)| silence.length_ns > trips_ns.unwrap_or(0).saturating_mul(TRIPS));
    let (lane, silence) = silences.max_by_key(|(_, silence)| (!silence.is_starved(), silence.length_ns))?;
    let evidence = format!(
        "{}: lane {} brought nothing to the {} for {:.1} s, from {:.1} s into the window",
        step.name,
        lane.lane,
        lane.end,
        silence.length_ns as f64 / 1e9,
        silence.from_ns as f64 / 1e9
    );
    let finding =
        Finding::new("TCP-STALL", evidence).with("silence_ns", silence.length_ns).with("lane", lane.lane);
    // What it brought before, it was not kept from by its size or by a dead member of a bundle.
    let received = lane.connection.as_ref().and_then(|connection| connection.counts.received_bytes);
    let carried = silence.others_flowed && received.is_some_and(|bytes| bytes >= CARRIED_BYTES);
    if !(silence.is_starved() || carried) {
        return Some(finding);
    }
    let severity = if silence.length_ns < TIMERS_NS { Severity::Info } else { Severity::Warning };
    Some(finding.with_severity(severity).with_next(
        "The other lanes flowed meanwhile and this one carries as well, so the path stood: look for a limiter or loss that \
         makes single connections wait (retransmits of this step), not for its MTU.",
    ))
}

fn coarse_clock(step: &Step, client: Option<&Environment>) -> Option<Finding> {
    let median_ns = step.summary.rtt_ns?.p50;
    let client = client?;
    let stamp_ns = client.clock_stamp_ns?;
    if stamp_ns * 100 <= median_ns {
        return None;
    }
    let source = client.clock_source.as_deref().unwrap_or("unknown");
    let evidence = format!(
        "{}: one clock reading costs {stamp_ns} ns (source {source}) and the median is {median_ns} ns",
        step.name
    );
    Some(Finding::new("CLOCK-COARSE", evidence).with("stamp_ns", stamp_ns).with("median_ns", median_ns))
}

fn saturated(step: &Step) -> Option<Finding> {
    let count: u64 = step.histograms.iter().map(|h| h.saturated).sum();
    let evidence = format!("{}: {count} samples took longer than a minute", step.name);
    (count > 0).then(|| Finding::new("SAMPLES-SATURATED", evidence).with("saturated", count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::traffic::received::fill;
    use pathproof_engine::record::mark_silences;
    use pathproof_model::{End, Interval, LaneResult, LaneRole, LatencySummary};

    fn stream(received: &[u64]) -> Step {
        let mut step = Step::new(StepKind::Stream, "stream");
        step.lanes.push(LaneResult { end: End::Server, role: LaneRole::Receive, ..LaneResult::default() });
        fill(&mut step, &[received]);
        step
    }

    #[test]
    fn a_second_of_silence_is_a_stall_and_a_blink_is_not() {
        let mut flow = vec![5; 30];
        flow[10..19].fill(0);
        assert!(findings(&stream(&flow), None).is_empty());
        flow[19] = 0;
        let found = findings(&stream(&flow), None);
        assert_eq!(found[0].code, "TCP-STALL");
        assert_eq!(found[0].values["silence_ns"], 1_000_000_000u64);
    }

    #[test]
    fn a_second_is_three_round_trips_of_a_long_path() {
        let mut flow = vec![5; 30];
        flow[..11].fill(0);
        let mut far = stream(&flow);
        let counts = |ms: u64| pathproof_model::evidence::ConnectionCounts {
            rtt_min_ns: Some(ms * 1_000_000),
            ..Default::default()
        };
        let connection = |ms| Some(pathproof_model::Connection { counts: counts(ms), ..Default::default() });
        far.lanes[0].connection = connection(300);
        assert_eq!(findings(&far, None), vec![]);
        far.lanes[0].connection = connection(100);
        assert_eq!(findings(&far, None)[0].code, "TCP-STALL");
    }

    #[test]
    fn a_lane_that_others_starved_for_a_while_is_no_stalled_path() {
        let with = |first: &[u64], second: &[u64]| {
            let mut step = stream(first);
            step.lanes.push(LaneResult { lane: 1, ..step.lanes[0].clone() });
            fill(&mut step, &[first, second]);
            findings(&step, None)[0].severity
        };
        let mut quiet = [5; 30];
        // Unlucky in a full queue, and from three timers in a row on more than that.
        quiet[10..22].fill(0);
        assert_eq!(with(&quiet, &[5; 30]), Severity::Info);
        quiet[10..26].fill(0);
        assert_eq!(with(&quiet, &[5; 30]), Severity::Warning);
        // Both at once: the path stood still. And one that never comes back is a fault of its own.
        let mut both = [5; 30];
        both[15] = 0;
        assert_eq!(with(&quiet, &both), Severity::Error);
        quiet[26..].fill(0);
        assert_eq!(with(&quiet, &[5; 30]), Severity::Error);
    }

    #[test]
    fn a_stall_shows_in_slices_that_are_longer_than_it() {
        // One slice, longer than a silence: what the lane counted itself is all there is.
        let mut step = stream(&[5]);
        step.lanes[0].longest_silence_ns = Some(1_500_000_000);
        step.lanes[0].longest_silence_from_ns = Some(100_000_000_000);
        let slices = |lanes: u32| -> Vec<Interval> {
            let slice = |lane| Interval {
                end: End::Server,
                lane: Some(lane),
                length_ns: 204_800_000_000,
                received_bytes: 5,
                ..Interval::default()
            };
            (0..lanes).map(slice).collect()
        };
        mark_silences(&mut step.lanes, &slices(1));
        let found = stall(&step).unwrap();
        assert_eq!(found.values["silence_ns"], 1_500_000_000u64);
        assert!(found.evidence.contains("from 100.0 s into the window"), "{}", found.evidence);
        assert_eq!(found.severity, Severity::Error, "no other lane flowed meanwhile");
        let other = LaneResult { lane: 1, longest_silence_ns: Some(300_000_000), ..step.lanes[0].clone() };
        step.lanes.push(other);
        mark_silences(&mut step.lanes, &slices(2));
        assert_eq!(stall(&step).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn a_clock_that_costs_more_than_a_hundredth_of_the_median_is_named() {
        let mut step = Step::new(StepKind::Pingpong, "ping-pong");
        step.summary.rtt_ns = Some(LatencySummary { p50: 10_000, ..LatencySummary::default() });
        let at = |stamp| Environment { clock_stamp_ns: Some(stamp), ..Environment::default() };
        assert!(findings(&step, Some(&at(100))).is_empty());
        assert_eq!(findings(&step, Some(&at(101)))[0].code, "CLOCK-COARSE");
    }
}
