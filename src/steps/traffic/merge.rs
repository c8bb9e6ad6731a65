//! From two halves of a traffic step to its summary. Pure arithmetic over the document.

use pathproof_engine::record::{LatencyHistogram, mark_silences};
use pathproof_model::{
    Class, End, Flow, Half, HistogramName, HistogramRecord, LaneResult, Pattern, Step, StepSpec, series,
};

/// Fills the flows, their distributions and the series.
pub fn merge(spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
    let intervals = [&client.intervals[..], &server.intervals].concat();
    mark_silences(&mut step.lanes, &intervals);
    step.series = series::sum(&step.lanes, &intervals);
    // What each lane's times were stands in the lane, in a few numbers.
    let of_lanes = std::mem::take(&mut step.histograms);
    let mut flows = Flow::of(spec);
    for (number, flow) in (0u16..).zip(&mut flows) {
        let lanes: Vec<&LaneResult> = step.lanes.iter().filter(|lane| lane.flow == number).collect();
        flow.count(&lanes);
        flow.summary.goodput_worst_second_bits_per_s = worst_second(flow, &lanes, client, server);
        for name in [HistogramName::Service, HistogramName::Response] {
            let Some(times) = merged(&of_lanes, name, &lanes) else { continue };
            let figures = times.summary();
            if name == HistogramName::Service {
                (flow.summary.service_ns, flow.summary.rtt_ns) = (figures, figures);
            } else {
                flow.summary.response_ns = figures;
            }
            let record = times.to_record(name, None);
            step.histograms.push(HistogramRecord { flow: Some(number), node: Some(flow.from), ..record });
        }
    }
    // What only looks on carries next to nothing, and when it did so is of no use to anybody; its times stand in its flow.
    let looks_on = |flow: u16| {
        let class = flows.get(usize::from(flow)).map(|flow| flow.class);
        matches!(class, Some(Class::Probe | Class::Heartbeat))
    };
    step.series.retain(|series| !looks_on(series.flow));
    step.histograms.retain(|times| times.name == HistogramName::Service || !times.flow.is_some_and(looks_on));
    for lane in step.lanes.iter_mut().filter(|lane| looks_on(lane.flow)) {
        (lane.service_ns, lane.response_ns) = (None, None);
    }
    step.with_flows(flows);
}

/// Lowest rate of any second, by the count of the end that measures this flow.
fn worst_second(flow: &Flow, lanes: &[&LaneResult], client: &Half, server: &Half) -> Option<u64> {
    // Those beside the first have no place in it.
    let streams = matches!(flow.pattern, Pattern::Stream { .. }) && !flow.beside;
    let counting = lanes.iter().find(|lane| streams && flow.counts(lane))?;
    let half = if counting.end == End::Client { client } else { server };
    half.worst_second_bytes?.checked_mul(8)
}

/// The distribution over all lanes of a flow.
fn merged(
    records: &[HistogramRecord],
    name: HistogramName,
    lanes: &[&LaneResult],
) -> Option<LatencyHistogram> {
    let of_flow = |record: &&HistogramRecord| {
        record.name == name && record.lane.is_some_and(|own| lanes.iter().any(|lane| lane.lane == own))
    };
    let mut all: Option<LatencyHistogram> = None;
    for record in records.iter().filter(of_flow) {
        let one = LatencyHistogram::from_record(record).ok()?;
        match &mut all {
            Some(all) => all.merge(&one),
            None => all = Some(one),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Direction, LaneRole, TrafficSpec};

    fn lane(end: End, flow: u16, role: LaneRole) -> LaneResult {
        LaneResult { lane: u32::from(flow), end, flow, role, ..LaneResult::default() }
    }

    /// A step of these halves, put together as a run does it.
    fn step(spec: &StepSpec, client: &Half, server: &Half) -> Step {
        let mut step = Step::new(spec.kind(), "step");
        step.lanes = [&client.lanes[..], &server.lanes].concat();
        step.histograms = [&client.histograms[..], &server.histograms].concat();
        merge(spec, &mut step, client, server);
        step
    }

    #[test]
    fn each_direction_is_a_flow_with_a_worst_second_of_its_own() {
        let half = |lanes, bytes| Half { lanes, worst_second_bytes: bytes, ..Half::default() };
        let worst = |direction, client: &Half, server: &Half| -> Vec<Option<u64>> {
            let spec = StepSpec::Stream(TrafficSpec { direction, ..TrafficSpec::default() });
            let flows = step(&spec, client, server).flows;
            flows.iter().map(|flow| flow.summary.goodput_worst_second_bits_per_s).collect()
        };
        let sent = half(vec![lane(End::Client, 0, LaneRole::Send)], None);
        let received = half(vec![lane(End::Server, 0, LaneRole::Receive)], Some(5));
        assert_eq!(worst(Direction::Out, &sent, &received), [Some(40)]);
        let written = half(vec![lane(End::Client, 0, LaneRole::Write)], Some(6));
        let target = half(vec![lane(End::Server, 0, LaneRole::Target)], None);
        assert_eq!(worst(Direction::Out, &written, &target), [Some(48)]);
        let here = half(
            vec![lane(End::Client, 0, LaneRole::Send), lane(End::Client, 1, LaneRole::Receive)],
            Some(7),
        );
        let there = half(
            vec![lane(End::Server, 0, LaneRole::Receive), lane(End::Server, 1, LaneRole::Send)],
            Some(5),
        );
        assert_eq!(worst(Direction::Both, &here, &there), [Some(40), Some(56)]);
    }

    #[test]
    fn both_directions_of_a_ping_pong_keep_their_times_apart() {
        let half = |end: End, asks: u16, ns: u64| {
            let lanes = [0, 1].map(|flow| LaneResult {
                messages: 1000,
                bytes: 64_000,
                ..lane(end, flow, LaneRole::Both)
            });
            let mut times = LatencyHistogram::new();
            times.record(ns);
            let histograms = vec![times.to_record(HistogramName::Service, Some(u32::from(asks)))];
            Half { lanes: lanes.into(), histograms, ..Half::default() }
        };
        let spec = StepSpec::Pingpong(TrafficSpec { direction: Direction::Both, ..TrafficSpec::default() });
        let step = step(&spec, &half(End::Client, 0, 100), &half(End::Server, 1, 900));
        let figures = |flow: &Flow| (flow.summary.messages, flow.summary.rtt_ns.map(|rtt| rtt.max));
        let of_flows: Vec<_> = step.flows.iter().map(figures).collect();
        assert_eq!(of_flows, [(Some(1000), Some(100)), (Some(1000), Some(900))]);
        assert_eq!(step.summary, step.flows[0].summary);
        let told: Vec<_> =
            step.histograms.iter().map(|h| (h.flow, h.node.map(|node| node.0), h.lane)).collect();
        assert_eq!(told, [(Some(0), Some(0), None), (Some(1), Some(1), None)]);
    }
}
