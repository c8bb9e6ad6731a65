//! What a rehearsal costs an end.

use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_engine::migrate::copy::{DEPTH, MESSAGE_BYTES, blocks, wire};
use pathproof_model::MigrateSpec;

use crate::registry::manners;
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
    let kept = (manners(&spec.over).memory_bytes)(DEPTH, message_bytes(spec).into(), paths);
    let queues = u64::from(DEPTH) * OPERATION_BYTES;
    let each_lane = LANE_BYTES + MESSAGE_BYTES + queues;
    let disk = spec.disk.as_ref().map_or(0, |disk| blocks(disk.bytes).saturating_mul(BLOCK_BYTES));
    let memory_bytes = guest
        .saturating_mul(places)
        .saturating_add(each_lane.saturating_add(kept).saturating_mul(lanes))
        .saturating_add(disk);
    Cost {
        memory_bytes,
        lanes,
        time_ns: spec.time_limit_ns.unwrap_or(u64::MAX),
        message_bytes: spec.chunk_bytes.into(),
    }
}

/// A hash and a version of each block of the disk.
pub fn disk_bytes(spec: &MigrateSpec) -> u64 {
    spec.disk.as_ref().map_or(0, |disk| blocks(disk.bytes) * 24)
}

/// Memory taken at an end beyond the guests' own: bitmaps (the log, the harvest, the round), message slots, and hashes
/// under way.
pub fn overhead_bytes(spec: &MigrateSpec) -> u64 {
    let bitmap = spec.memory_bytes / PAGE_BYTES / 8;
    let per_lane = MESSAGE_BYTES + 4 * u64::from(wire::SLOT_BYTES);
    let places = u64::from(spec.parallel.min(spec.guests));
    let of_guests = places * (4 * bitmap + u64::from(spec.lanes) * per_lane + PAGE_BYTES);
    of_guests + spec.disk.as_ref().map_or(0, |_| disk_bytes(spec) + per_lane)
}
