//! What a lane says of itself at its end, as it stands in results.

use pathproof_api::{LaneSample, StripeStats};
use pathproof_model::{PathRecord, StripeRecord};

/// The record of a lane over several paths. A stripe of one path is the inner lane itself, which knows of no paths: what it
/// moved is what its path moved.
pub fn stripe(stats: Option<StripeStats>, last: &LaneSample) -> StripeRecord {
    let Some(stats) = stats else {
        let only = PathRecord {
            sent_bytes: last.bytes_sent,
            received_bytes: last.bytes_received,
            ..PathRecord::default()
        };
        return StripeRecord { paths: vec![only], ..StripeRecord::default() };
    };
    let path = |path: &pathproof_api::PathStats| PathRecord {
        sent_bytes: path.sent_bytes,
        received_bytes: path.received_bytes,
        deaths: path.deaths,
        noticed_after_ns: path.noticed_after_ns,
        lost_at_tick_ns: path.lost_at_tick_ns,
        carried_again_at_tick_ns: path.carried_again_at_tick_ns,
    };
    StripeRecord {
        paths: stats.paths.iter().map(path).collect(),
        replayed_messages: stats.replayed_messages,
        replayed_bytes: stats.replayed_bytes,
        rejoined: stats.rejoined,
        staged_messages: stats.staged_messages,
        duplicates_discarded: stats.duplicates_discarded,
        discarded_bytes: stats.discarded_bytes,
        doubled_bytes: stats.doubled_bytes,
        gap_longest_ns: stats.gap_longest_ns,
        accepted_bytes: stats.accepted_bytes,
        confirmed_bytes: stats.confirmed_bytes,
        arrived_bytes: stats.arrived_bytes,
    }
}
