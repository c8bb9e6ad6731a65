//! From two halves of a traffic step to its summary. Pure arithmetic over the document.

use pathproof_engine::record::{LatencyHistogram, align};
use pathproof_model::{
    Direction, Half, HistogramRecord, LaneResult, RequestLoad, Step, StepSpec, TrafficKind, TrafficSpec,
};

use crate::steps::End;

const SECOND_NS: u64 = 1_000_000_000;

/// Fills the summary and the merged histograms.
pub fn merge(spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
    let Some((kind, traffic)) = spec.travels() else { return };
    // A lane that ended early has finer slices than the others.
    align(&mut step.intervals);
    let mut summary = std::mem::take(&mut step.summary);
    if kind == TrafficKind::Stream {
        let (out, inward) = measured(client, server);
        summary.goodput_out_bits_per_s = goodput(&out);
        summary.goodput_in_bits_per_s = goodput(&inward);
        summary.goodput_bits_per_s = match (summary.goodput_out_bits_per_s, summary.goodput_in_bits_per_s) {
            (None, None) => None,
            (out, inward) => Some(out.unwrap_or(0) + inward.unwrap_or(0)),
        };
        let all: Vec<&LaneResult> = out.iter().chain(&inward).copied().collect();
        summary.bytes = (!all.is_empty()).then(|| all.iter().map(|l| l.bytes).sum());
        summary.messages = (!all.is_empty()).then(|| all.iter().map(|l| l.messages).sum());
        summary.window_ns = all.iter().map(|l| l.window_ns).max();
        summary.goodput_worst_second_out_bits_per_s = worst_second(&out, client, server);
        summary.goodput_worst_second_in_bits_per_s = worst_second(&inward, client, server);
        // Seconds of two directions are counted on two clocks, and have no common worst one.
        summary.goodput_worst_second_bits_per_s =
            match (summary.goodput_worst_second_out_bits_per_s, summary.goodput_worst_second_in_bits_per_s) {
                (Some(one), None) | (None, Some(one)) if out.is_empty() || inward.is_empty() => Some(one),
                _ => None,
            };
        let ends = client.lanes.iter().chain(&server.lanes);
        let verified: Vec<bool> = ends.filter_map(|l| l.verified).collect();
        summary.verified = (!verified.is_empty()).then(|| verified.iter().all(|v| *v));
    } else {
        // Whoever asks has the clock.
        let asking: Vec<&LaneResult> =
            client.lanes.iter().chain(&server.lanes).filter(|l| asks(traffic, l)).collect();
        summary.messages = (!asking.is_empty()).then(|| asking.iter().map(|l| l.messages).sum());
        summary.window_ns = asking.iter().map(|l| l.window_ns).max();
        summary.bytes = (!asking.is_empty()).then(|| asking.iter().map(|l| l.bytes).sum());
        if kind == TrafficKind::Request {
            let label = if traffic.load == RequestLoad::Open { "open" } else { "closed" };
            summary.load = Some(label.into());
        }
    }
    for (name, place) in [("service", true), ("response", false)] {
        if let Some(merged) = merged(&step.histograms, name) {
            let figures = merged.summary();
            if place {
                summary.service_ns = figures;
                summary.rtt_ns = figures;
            } else {
                summary.response_ns = figures;
            }
            step.histograms.push(merged.to_record(name, None));
        }
    }
    let total = |half: &Half, pick: fn(&LaneResult) -> Option<u64>| {
        half.lanes
            .iter()
            .map(pick)
            .collect::<Option<Vec<_>>>()
            .filter(|v| !v.is_empty())
            .map(|v| v.iter().sum())
    };
    summary.cpu_client_ns = total(client, |l| l.cpu_ns);
    summary.cpu_server_ns = total(server, |l| l.cpu_ns);
    let again: Vec<u64> = client.lanes.iter().chain(&server.lanes).filter_map(|l| l.retransmits).collect();
    summary.retransmits = (!again.is_empty()).then(|| again.iter().sum());
    for (end, half) in [("client", client), ("server", server)] {
        for lane in &half.lanes {
            for (what, mode) in [
                ("send mode", &lane.send_mode),
                ("receive mode", &lane.receive_mode),
                ("wait mode", &lane.wait_mode),
            ] {
                if let Some(mode) = mode {
                    step.chosen.entry(format!("{end} {what}")).or_insert_with(|| mode.clone());
                }
            }
        }
    }
    step.summary = summary;
}

/// Whether this is the end of its lane that asks. Both ends have a lane of each index, and the passive end's messages are
/// the same round trips seen from the other side: counted at both, they would double.
fn asks(traffic: &TrafficSpec, lane: &LaneResult) -> bool {
    // Those of both directions stand one after the other, the outward ones first.
    let outward = match traffic.direction {
        Direction::Out => true,
        Direction::In => false,
        Direction::Both => lane.lane < traffic.lanes,
    };
    lane.end == if outward { "client" } else { "server" }
}

/// The lanes whose figures count, outward and inward: those that received; by one-sided verbs those that wrote or
/// read, because the other end takes no part.
fn measured<'a>(client: &'a Half, server: &'a Half) -> (Vec<&'a LaneResult>, Vec<&'a LaneResult>) {
    let with = |half: &'a Half, role: &'static str| half.lanes.iter().filter(move |l| l.role == role);
    let out = with(server, "receive").chain(with(client, "write")).chain(with(server, "read")).collect();
    let inward = with(client, "receive").chain(with(server, "write")).chain(with(client, "read")).collect();
    (out, inward)
}

/// Sum of the lanes' own rates; `None` when no lane received over a window.
fn goodput(lanes: &[&LaneResult]) -> Option<u64> {
    let rates: Vec<u64> = lanes
        .iter()
        .filter(|l| l.window_ns > 0)
        .map(|l| (u128::from(l.bytes) * 8 * u128::from(SECOND_NS) / u128::from(l.window_ns)) as u64)
        .collect();
    (!rates.is_empty()).then(|| rates.iter().sum())
}

/// Lowest rate of any second, by the count of the end that measures these lanes.
fn worst_second(lanes: &[&LaneResult], client: &Half, server: &Half) -> Option<u64> {
    let half = if lanes.first()?.end == End::Client.name() { client } else { server };
    half.worst_second_bytes?.checked_mul(8)
}

fn merged(records: &[HistogramRecord], name: &str) -> Option<LatencyHistogram> {
    let mut all: Option<LatencyHistogram> = None;
    for record in records.iter().filter(|r| r.name == name && r.lane.is_some()) {
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
    use pathproof_model::StepKind;

    #[test]
    fn each_direction_has_a_worst_second_and_both_together_have_none() {
        let lane = |end: &str, role: &str| LaneResult {
            end: end.into(),
            role: role.into(),
            ..LaneResult::default()
        };
        let half = |lanes, bytes| Half { lanes, worst_second_bytes: bytes, ..Half::default() };
        let merged = |client: &Half, server: &Half| {
            let mut step = Step::new(StepKind::Stream, "stream");
            merge(&StepSpec::Stream(Default::default()), &mut step, client, server);
            step.summary
        };
        let one_way = merged(
            &half(vec![lane("client", "send")], None),
            &half(vec![lane("server", "receive")], Some(5)),
        );
        assert_eq!(one_way.goodput_worst_second_bits_per_s, Some(40));
        assert_eq!(one_way.goodput_worst_second_out_bits_per_s, Some(40));
        let written = merged(
            &half(vec![lane("client", "write")], Some(6)),
            &half(vec![lane("server", "target")], None),
        );
        assert_eq!(written.goodput_worst_second_bits_per_s, Some(48));
        let both = merged(
            &half(vec![lane("client", "send"), lane("client", "receive")], Some(7)),
            &half(vec![lane("server", "receive"), lane("server", "send")], Some(5)),
        );
        assert_eq!(both.goodput_worst_second_bits_per_s, None);
        assert_eq!(both.goodput_worst_second_out_bits_per_s, Some(40));
        assert_eq!(both.goodput_worst_second_in_bits_per_s, Some(56));
    }

    #[test]
    fn a_round_trip_is_counted_once_whichever_way_it_goes() {
        for (direction, lanes, expected) in
            [(Direction::Out, &[0][..], 1000), (Direction::In, &[0], 1000), (Direction::Both, &[0, 1], 2000)]
        {
            let end = |end: &str| {
                let lane = |index: &u32| LaneResult {
                    lane: *index,
                    end: end.into(),
                    role: "both".into(),
                    messages: 1000,
                    bytes: 64_000,
                    window_ns: SECOND_NS,
                    ..LaneResult::default()
                };
                let histogram = |index: &u32| LatencyHistogram::new().to_record("service", Some(*index));
                Half {
                    lanes: lanes.iter().map(lane).collect(),
                    histograms: lanes.iter().map(histogram).collect(),
                    ..Half::default()
                }
            };
            let (client, server) = (end("client"), end("server"));
            let mut step = Step::new(StepKind::Pingpong, "ping-pong");
            step.direction = Some(direction);
            step.histograms = [&client.histograms[..], &server.histograms].concat();
            let spec = StepSpec::Pingpong(TrafficSpec { direction, ..TrafficSpec::default() });
            merge(&spec, &mut step, &client, &server);
            assert_eq!(step.summary.messages, Some(expected), "{direction:?}");
            assert_eq!(step.summary.bytes, Some(expected * 64), "{direction:?}");
        }
    }

    #[test]
    fn goodput_is_the_receivers_and_unknown_is_not_zero() {
        let lane = LaneResult { bytes: 1_250_000, window_ns: 10_000_000, ..LaneResult::default() };
        assert_eq!(goodput(&[&lane, &lane]), Some(2_000_000_000));
        assert_eq!(goodput(&[]), None);
    }
}
