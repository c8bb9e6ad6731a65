//! Two halves of a migration become one result.

use std::collections::BTreeMap;

use pathproof_engine::migrate::copy::{DiskStory, Served, Stories, Story, sum_up};
use pathproof_engine::migrate::held;
use pathproof_engine::record::LatencyHistogram;
use pathproof_model::{
    Direction, Flow, Half, HistogramName, MigrateSpec, Step, StepError, StepSpec, Summary,
};

use super::lanes::{LaneEnd, in_words};

/// The source's half: the whole story as it knows it stands in `detail.migration`.
pub fn source_half(
    spec: &MigrateSpec,
    places: Vec<Vec<Story>>,
    lanes: Vec<LaneEnd>,
    disk: Option<DiskStory>,
    error: Option<StepError>,
    setup_ns: u64,
    overhead_bytes: u64,
) -> Half {
    let mut half = Half::default();
    let mut chunks = LatencyHistogram::new();
    let mut told = Stories { places, disk, ..Stories::default() };
    for mut lane in lanes {
        lane.result.error = lane.error.as_ref().map(in_words);
        told.lane_errors.extend(lane.error);
        told.packed.extend(lane.packed);
        if let Some(of_lane) = &lane.chunks {
            chunks.merge(of_lane);
        }
        half.lanes.push(lane.result);
    }
    half.histograms.push(chunks.to_record(HistogramName::Chunk, None));
    let mut outcome = sum_up(spec, told);
    outcome.detail.setup_ns = setup_ns;
    outcome.detail.overhead_bytes = overhead_bytes;
    half.error = error
        .or_else(|| outcome.error.as_ref().map(in_words))
        .map(|e| StepError { message: outcome.in_phase(e.message), ..e });
    half.findings = outcome.findings();
    half.detail.migration = Some(outcome.detail);
    half
}

/// The destination's half.
pub fn destination_half(ends: Vec<(LaneEnd, Served)>, error: Option<StepError>, overhead_bytes: u64) -> Half {
    let mut counters = BTreeMap::new();
    counters
        .insert("destination_zero_pages".to_string(), ends.iter().map(|(_, served)| served.zero_pages).sum());
    let decompress_cpu_ns = ends.iter().map(|(_, served)| served.decompress_cpu_ns).sum();
    counters.insert("destination_decompress_cpu_ns".to_string(), decompress_cpu_ns);
    counters.insert("destination_overhead_bytes".to_string(), overhead_bytes);
    let mut half = Half { counters, ..Half::default() };
    half.detail.decompress_cpu_ns = Some(decompress_cpu_ns);
    half.lanes = ends
        .into_iter()
        .map(|(mut end, _)| {
            end.result.error = end.error.as_ref().map(in_words);
            end.result
        })
        .collect();
    let lane_error = half.lanes.iter().filter_map(|l| l.error.clone()).next();
    half.error = error.or(lane_error);
    half
}

/// Fills the step at the client.
pub fn merge(spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
    let Some(migrate) = spec.migrate() else { return };
    step.over = Some(migrate.over.clone());
    step.direction = Some(Direction::Out);
    let Some(mut detail) = client.detail.migration.clone() else { return };
    let cpu: Vec<u64> = server.lanes.iter().filter_map(|l| l.cpu_ns).collect();
    detail.cpu_server_ns = (!cpu.is_empty()).then(|| cpu.iter().sum());
    if let Some(compression) = &mut detail.compression {
        compression.decompress_cpu_ns = server.detail.decompress_cpu_ns;
    }
    detail.drain = held(migrate, &detail);
    let live_bytes: u64 = detail.rounds.iter().map(|r| r.bytes).sum();
    let live_ns: u64 = detail.rounds.iter().map(|r| r.elapsed_ns).sum();
    let goodput =
        (live_ns > 0).then(|| (u128::from(live_bytes) * 8_000_000_000 / u128::from(live_ns)) as u64);
    let summary = Summary {
        bytes: Some(detail.bytes),
        window_ns: Some(detail.total_ns),
        goodput_bits_per_s: goodput,
        // Pages that were not compared are not pages that differ.
        verified: (detail.verified || detail.mismatch.is_some()).then_some(detail.verified),
        cpu_client_ns: detail.cpu_client_ns,
        cpu_server_ns: detail.cpu_server_ns,
        retransmits: client.lanes.iter().chain(&server.lanes).map(|l| l.retransmits).sum(),
        ..Summary::default()
    };
    let flows = Flow::of(spec).into_iter().map(|flow| Flow { summary: summary.clone(), ..flow });
    step.with_flows(flows.collect());
    step.detail.migrate = Some(detail);
}
