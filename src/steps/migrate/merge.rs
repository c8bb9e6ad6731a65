//! Two halves of a migration become one result.

use std::collections::BTreeMap;

use pathproof_engine::migrate::copy::{CopyError, DiskStory, Served, Story};
use pathproof_engine::record::LatencyHistogram;
use pathproof_model::migrate::{MigrateCompression, MigrateDetail};
use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{Direction, Finding, Half, MigrateSpec, Step, StepError, StepSpec};

use super::lanes::{LaneEnd, in_words};

/// The source's half: the whole story as it knows it stands in `detail`.
pub fn source_half(
    spec: &MigrateSpec,
    stories: Vec<Vec<Story>>,
    lanes: Vec<LaneEnd>,
    disk: Option<DiskStory>,
    error: Option<StepError>,
    setup_ns: u64,
    overhead_bytes: u64,
) -> Half {
    let mut half = Half::default();
    let mut chunks = LatencyHistogram::new();
    let mut compression = spec.compress.then(|| MigrateCompression {
        codec: "lz4".into(),
        compress_cpu_ns: Some(0),
        ..MigrateCompression::default()
    });
    let mut lane_error: Option<CopyError> = None;
    for mut lane in lanes {
        lane.result.error = lane.error.as_ref().map(in_words);
        lane_error = CopyError::first(lane_error.into_iter().chain(lane.error));
        if let (Some(sum), Some(packed)) = (&mut compression, lane.packed) {
            sum.plain_bytes += packed.plain_bytes;
            sum.sent_bytes += packed.sent_bytes;
            sum.raw_bytes += packed.raw_bytes;
            sum.compress_cpu_ns = sum.compress_cpu_ns.map(|ns| ns + packed.cpu_ns);
        }
        if let Some(of_lane) = &lane.chunks {
            chunks.merge(of_lane);
        }
        half.lanes.push(lane.result);
    }
    half.histograms.push(chunks.to_record("chunk", None));
    // A guest that waits for another's end is not moving: the longest place decides.
    let total_ns = stories.iter().map(|s| s.iter().map(|s| s.guest.total_ns).sum()).max().unwrap_or(0);
    let first_start = stories.iter().flatten().filter_map(|s| s.span).map(|(start, _)| start).min();
    let mut all: Vec<Story> = stories.into_iter().flatten().collect();
    all.sort_by_key(|s| s.guest.guest);
    for story in &mut all {
        if let (Some(first), Some((start, _))) = (first_start, story.span) {
            story.guest.started_ns = start.ns_since(first);
        }
    }
    let disk_verified = disk.as_ref().is_none_or(|d| d.disk.verified);
    let complete = all.len() == spec.guests as usize;
    let mut detail = MigrateDetail {
        verified: complete && disk_verified && all.iter().all(|s| s.guest.verified),
        converged: complete && all.iter().all(|s| s.guest.converged),
        total_ns,
        downtime_ns: all.iter().map(|s| s.guest.downtime_ns).max().unwrap_or(0),
        bytes: all.iter().map(|s| s.guest.bytes).sum(),
        seed: spec.seed,
        setup_ns,
        overhead_bytes,
        verify_ns: all.iter().map(|s| s.verify_ns).sum(),
        zero_pages: all.iter().flat_map(|s| &s.rounds).map(|r| r.zero_pages).sum(),
        guests: all.iter().map(|s| s.guest.clone()).collect(),
        mismatch: all.iter().find_map(|s| {
            let (page, count) = s.mismatch?;
            Some(format!("guest {}: page {page} differs, and {} pages in all", s.guest.guest, count))
        }),
        disk: disk.as_ref().map(|d| d.disk.clone()),
        compression,
        cpu_client_ns: all.iter().map(|s| s.cpu_ns).sum(),
        ..MigrateDetail::default()
    };
    if let Some(story) = all.first() {
        detail.brownout_ns = story.guest.total_ns.saturating_sub(story.guest.downtime_ns);
        detail.rounds = story.rounds.clone();
        detail.reason = story.reason.map(Into::into);
        detail.predicted = story.predicted.clone();
        detail.dirtied_bytes_per_s = story.dirtied_bytes_per_s;
        detail.memory_bytes = story.memory_bytes;
        detail.out_of_time = story.out_of_time;
        detail.downtime_limit_ns = story.downtime_limit_ns;
        detail.dirty_bytes_per_s = story.dirty_bytes_per_s;
        detail.tracker = Some(story.tracker.into());
        detail.copied_bytes_per_s = story
            .rounds
            .first()
            .map(|r| (u128::from(r.pages * 4096) * 1_000_000_000 / u128::from(r.elapsed_ns.max(1))) as u64);
    }
    if let Some((block, count)) = disk.as_ref().and_then(|d| d.mismatch) {
        let disk = format!("disk: block {block} differs, and {count} blocks in all");
        detail.mismatch = Some(detail.mismatch.map_or(disk.clone(), |memory| format!("{memory}; {disk}")));
    }
    // What broke first tells most: a lane's own error before "the step was given up", which only follows.
    let tells = |error: &&CopyError| !error.follows();
    let broken = all.iter().find(|s| s.error.as_ref().is_some_and(|e| !e.follows()));
    let broken = broken.or_else(|| all.iter().find(|s| s.error.is_some()));
    if let Some(story) = broken {
        detail.stopped_in = story.stopped_in.map(|p| p.to_string());
    }
    let broken = broken.and_then(|story| story.error.as_ref());
    let all_copied = disk.as_ref().is_some_and(|d| d.disk.elapsed_ns > 0);
    let disk_error = disk.as_ref().and_then(|d| d.error.as_ref());
    // A copy that was given up because the peer is gone was under way all the same: the guests had not begun.
    let disk_broke = disk_error.is_some_and(|e| !all_copied || !e.follows());
    if disk_broke && broken.is_none_or(CopyError::follows) {
        detail.stopped_in = Some(if all_copied { "storage mirroring" } else { "storage copy" }.into());
    }
    half.error = error
        .or_else(|| {
            let of_lanes = lane_error.as_ref().filter(tells);
            let first = broken.filter(tells).or(disk_error.filter(tells)).or(of_lanes).or(broken);
            first.map(in_words)
        })
        .map(|e| match &detail.stopped_in {
            Some(phase) => {
                StepError { message: format!("the migration ended in phase {phase}: {}", e.message), ..e }
            }
            None => e,
        });
    half.findings = findings(&detail);
    half.detail = serde_json::to_value(&detail).unwrap_or_default();
    half
}

/// The destination's half.
pub fn destination_half(ends: Vec<(LaneEnd, Served)>, error: Option<StepError>, overhead_bytes: u64) -> Half {
    let mut counters = BTreeMap::new();
    counters
        .insert("destination_zero_pages".to_string(), ends.iter().map(|(_, served)| served.zero_pages).sum());
    let decompress = ends.iter().map(|(_, served)| served.decompress_cpu_ns).sum();
    counters.insert("destination_decompress_cpu_ns".to_string(), decompress);
    counters.insert("destination_overhead_bytes".to_string(), overhead_bytes);
    let mut half = Half { counters, ..Half::default() };
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
    let StepSpec::Migrate(migrate) = spec else { return };
    step.over = Some(migrate.over.clone());
    step.direction = Some(Direction::Out);
    let Ok(mut detail) = serde_json::from_value::<MigrateDetail>(client.detail["story"].clone()) else {
        return;
    };
    let cpu: Vec<u64> = server.lanes.iter().filter_map(|l| l.cpu_ns).collect();
    detail.cpu_server_ns = (!cpu.is_empty()).then(|| cpu.iter().sum());
    if let Some(compression) = &mut detail.compression {
        compression.decompress_cpu_ns = server.counters.get("destination_decompress_cpu_ns").copied();
    }
    let live_bytes: u64 = detail.rounds.iter().map(|r| r.bytes).sum();
    let live_ns: u64 = detail.rounds.iter().map(|r| r.elapsed_ns).sum();
    step.summary.bytes = Some(detail.bytes);
    step.summary.window_ns = Some(detail.total_ns);
    step.summary.goodput_out_bits_per_s =
        (live_ns > 0).then(|| (u128::from(live_bytes) * 8_000_000_000 / u128::from(live_ns)) as u64);
    step.summary.goodput_bits_per_s = step.summary.goodput_out_bits_per_s;
    // Pages that were not compared are not pages that differ.
    step.summary.verified = (detail.verified || detail.mismatch.is_some()).then_some(detail.verified);
    step.summary.cpu_client_ns = detail.cpu_client_ns;
    step.summary.cpu_server_ns = detail.cpu_server_ns;
    step.summary.retransmits = client.lanes.iter().chain(&server.lanes).map(|l| l.retransmits).sum();
    step.detail.migrate = Some(detail);
}

fn findings(detail: &MigrateDetail) -> Vec<Finding> {
    let mut findings = vec![];
    if let Some(mismatch) = &detail.mismatch {
        findings.push(Finding::new("MIGRATE-CORRUPT", mismatch.clone()));
    }
    let finished = detail.stopped_in.is_none() && !detail.rounds.is_empty();
    if finished && !detail.converged {
        let evidence = format!(
            "after {} live rounds {}; the guest stood still for {}",
            detail.rounds.len().saturating_sub(1),
            detail.reason.as_deref().unwrap_or("the policy gave up"),
            Nanoseconds(detail.downtime_ns)
        );
        let mut finding = Finding::new("MIGRATE-NOT-CONVERGING", evidence)
            .with("downtime_ns", detail.downtime_ns)
            .with("dirty_bytes_per_s", detail.dirty_bytes_per_s);
        if let Some(copied) = detail.copied_bytes_per_s {
            finding = finding.with("copied_bytes_per_s", copied);
            if detail.dirty_bytes_per_s >= copied {
                finding = finding.with_next(format!(
                    "The guest dirties {}/s and the path copies {}/s: use a faster path, RDMA or more lanes, or slow the guest down (--auto-converge, --post-copy).",
                    Bytes(detail.dirty_bytes_per_s),
                    Bytes(copied)
                ));
            }
        }
        findings.push(finding);
    }
    if let Some(dirtied) = detail.dirtied_bytes_per_s
        && dirtied < detail.dirty_bytes_per_s / 10 * 9
    {
        let evidence = format!(
            "{}/s were to be dirtied and this machine wrote {}/s beside the copy",
            Bytes(detail.dirty_bytes_per_s),
            Bytes(dirtied)
        );
        findings.push(
            Finding::new("MIGRATE-DIRTY-RATE", evidence)
                .with("asked_bytes_per_s", detail.dirty_bytes_per_s)
                .with("reached_bytes_per_s", dirtied),
        );
    }
    findings
}
