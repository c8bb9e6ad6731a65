//! What happened to a guest on its way, finished or broken.

use pathproof_api::Tick;
use pathproof_model::migrate::{MigrateGuest, MigratePrediction, MigrateRound};

use super::error::CopyError;
use crate::migrate::Phase;

/// A guest's story.
#[derive(Debug, Default)]
pub struct Story {
    /// In numbers.
    pub guest: MigrateGuest,
    /// Round by round.
    pub rounds: Vec<MigrateRound>,
    /// Why its live rounds ended.
    pub reason: Option<&'static str>,
    /// Computed before.
    pub predicted: Option<MigratePrediction>,
    /// Phase in which it ended early.
    pub stopped_in: Option<Phase>,
    /// Why.
    pub error: Option<CopyError>,
    /// First differing page and how many differ.
    pub mismatch: Option<(u64, u64)>,
    /// Length of the verification, in ns.
    pub verify_ns: u64,
    /// CPU time of the source during the move, in ns.
    pub cpu_ns: Option<u64>,
    /// Memory of the guest.
    pub memory_bytes: u64,
    /// Its time was up before the policy had its way.
    pub out_of_time: bool,
    /// Longest downtime that the policy allows.
    pub downtime_limit_ns: Option<u64>,
    /// Dirty rate aimed at.
    pub dirty_bytes_per_s: u64,
    /// Bytes dirtied per second while the guest ran at full speed.
    pub dirtied_bytes_per_s: Option<u64>,
    /// Start and end of the move.
    pub span: Option<(Tick, Tick)>,
}
