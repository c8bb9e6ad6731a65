//! What a rehearsal costs an end, how long it takes, and how it is made to fit what is left of a run.

use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_engine::migrate::copy::{DEPTH, MEASURED_NS, MESSAGE_BYTES, blocks, wire};
use pathproof_model::MigrateSpec;

use super::conduct::ready_ns;
use crate::steps::Cost;
use crate::steps::cost::{LANE_BYTES, OPERATION_BYTES};

/// What is kept of each block of a disk: its hash, whether it has come, its version.
const BLOCK_BYTES: u64 = 48;

/// Largest message of a lane.
pub fn message_bytes(spec: &MigrateSpec) -> u32 {
    spec.chunk_bytes.max(wire::SLOT_BYTES)
}

/// What it costs an end, over so many paths for each lane.
pub fn cost(spec: &MigrateSpec, paths: usize) -> Cost {
    let places = u64::from(spec.parallel.min(spec.guests));
    let disk_lanes = u64::from(spec.disk.is_some());
    let lanes = places.saturating_mul(spec.lanes.into()).saturating_add(disk_lanes);
    // The guest, a page for staging, and bitmaps: the log, the harvest, the round and the next one.
    let bitmaps = spec.memory_bytes / PAGE_BYTES / 8 * 4;
    let guest = spec.memory_bytes.saturating_add(PAGE_BYTES).saturating_add(bitmaps);
    let striped = match spec.over.as_str() {
        "multi" => pathproof_multi::memory_bytes(DEPTH, message_bytes(spec).into(), paths),
        _ => 0,
    };
    let queues = u64::from(DEPTH) * OPERATION_BYTES;
    let each_lane = LANE_BYTES + MESSAGE_BYTES + queues;
    let disk = spec.disk.as_ref().map_or(0, |disk| blocks(disk.bytes).saturating_mul(BLOCK_BYTES));
    let memory_bytes = guest
        .saturating_mul(places)
        .saturating_add(each_lane.saturating_add(striped).saturating_mul(lanes))
        .saturating_add(disk);
    Cost {
        memory_bytes,
        lanes,
        time_ns: spec.time_limit_ns.unwrap_or(u64::MAX),
        message_bytes: spec.chunk_bytes.into(),
    }
}

/// How long it may take at most: a guest that does not converge may take any time that the server allows for a step.
pub fn duration_ns(spec: &MigrateSpec) -> u64 {
    let memory = spec.memory_bytes.saturating_mul(u64::from(spec.parallel.min(spec.guests)));
    spec.time_limit_ns.unwrap_or(3_600_000_000_000).saturating_mul(2).saturating_add(ready_ns(memory))
}

/// What a scaled rehearsal takes whose copy takes `copy_ns`: memory made ready at a GiB a second, the path measured, a
/// copy that takes half as long again as expected, and the pages compared.
pub fn need_ns(spec: &MigrateSpec, copy_ns: u64) -> u64 {
    let memory_ns = spec.memory_bytes.saturating_mul(u64::from(spec.parallel.min(spec.guests)));
    const AROUND_NS: u64 = 300_000_000;
    MEASURED_NS
        .saturating_add(AROUND_NS)
        .saturating_add(memory_ns)
        .saturating_add(copy_ns.saturating_mul(3) / 2)
}

/// The copy's time that fits `left_ns`: down to a third of what was asked for, or none.
pub fn fit_ns(spec: &MigrateSpec, copy_ns: u64, left_ns: u64) -> Option<u64> {
    let rest_ns = need_ns(spec, 0);
    let fits_ns = left_ns.saturating_sub(rest_ns).saturating_mul(2) / 3;
    (fits_ns >= copy_ns / 3).then(|| copy_ns.min(fits_ns))
}
