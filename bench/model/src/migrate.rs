//! Values of a migration rehearsal: what to move, what came out round by round, and the plan of a fleet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{BitsPerSecond, Bytes, Nanoseconds};

mod names;

pub use names::{InjectedFault, PolicyName, RoundPhase, Tracker};

/// A rehearsed migration, with every default made explicit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MigrateSpec {
    /// Transport: `tcp`, `multi`, `rdma`.
    pub over: String,
    /// Memory of one guest in bytes, a multiple of 4096.
    pub memory_bytes: u64,
    /// Bytes of pages that one guest dirties per second.
    pub dirty_bytes_per_s: u64,
    /// Which pages it dirties: `uniform`, `hot=SIZE`, `zipf=EXPONENT`, `sequential`, `replay=FILE`.
    pub pattern: String,
    /// Share of pages that are zero at the start, in percent.
    pub zero_percent: u8,
    /// Policy: `qemu`, `hyperv`, `hyperv-2008r2`, `xen`.
    pub policy: PolicyName,
    /// Downtime that the policy aims at, in ns; `None` is the policy's default.
    pub downtime_limit_ns: Option<u64>,
    /// QEMU's auto-converge.
    pub auto_converge: bool,
    /// QEMU's switch to post-copy after the first pass.
    pub post_copy: bool,
    /// Lanes per guest.
    pub lanes: u32,
    /// Guests to move.
    pub guests: u32,
    /// Guests that move at once.
    pub parallel: u32,
    /// Cap on the payload of all guests together, in bytes per second; `None` is none. (QEMU's own default of
    /// 128 MiB/s is applied only when asked for, because it would hide what the path can do.)
    pub bandwidth_bytes_per_s: Option<u64>,
    /// Largest single write in bytes.
    pub chunk_bytes: u32,
    /// Where dirty pages are learned from: `log` (the guest says so) or `pagemap-scan` (the kernel does).
    pub tracker: Tracker,
    /// Storage that moves too, before the memory.
    pub disk: Option<DiskSpec>,
    /// Compress pages before they are sent (Hyper-V's option), with LZ4.
    pub compress: bool,
    /// Share of guest pages that compress well (to about a quarter), in percent.
    pub compressible_percent: u8,
    /// Fault to inject: `bit-flip` (one bit of one page changes on the way), `lost-page` (one page is not sent),
    /// `disk-bit-flip` (one bit of one block of the disk changes on the way).
    pub fault: Option<InjectedFault>,
    /// End the live rounds after so long, whatever the policy would do, in ns.
    pub time_limit_ns: Option<u64>,
    /// Scale the rehearsal so that its copy takes about so long, in ns: less memory than asked where the path or
    /// the free memory of either end wants it, and a guest that dirties a fifth of what the path copies. What
    /// was used stands in the result.
    pub budget_ns: Option<u64>,
    /// The drain of a host that this rehearses on a small scale; the client's affair alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainSpec>,
    /// Seed of memory contents and dirtying.
    pub seed: u64,
    /// Transport-specific options by name.
    #[serde(deserialize_with = "crate::typed_options::deserialize")]
    pub options: BTreeMap<String, String>,
}

impl Default for MigrateSpec {
    fn default() -> Self {
        MigrateSpec {
            over: crate::over::DEFAULT_OVER.into(),
            memory_bytes: 1 << 30,
            dirty_bytes_per_s: 0,
            pattern: "uniform".into(),
            zero_percent: 0,
            policy: PolicyName::Qemu,
            downtime_limit_ns: None,
            auto_converge: false,
            post_copy: false,
            lanes: 1,
            guests: 1,
            parallel: 1,
            bandwidth_bytes_per_s: None,
            chunk_bytes: 1 << 20,
            tracker: Tracker::Log,
            disk: None,
            compress: false,
            compressible_percent: 0,
            fault: None,
            time_limit_ns: None,
            budget_ns: None,
            drain: None,
            seed: 1,
            options: BTreeMap::new(),
        }
    }
}

/// Storage of a guest, moved with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskSpec {
    /// Its size in bytes.
    pub bytes: u64,
    /// The file at the client that is read, and never written; without one, contents are made up.
    #[serde(default)]
    pub file: Option<String>,
    /// Bytes that the guest writes to it per second, a block of 64 KiB at a time anywhere, while it moves.
    #[serde(default)]
    pub writes_bytes_per_s: u64,
}

/// What the plan of a fleet says of the drain of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSpec {
    /// The host.
    pub host: String,
    /// Its guests.
    pub guests: u32,
    /// How long its drain takes by the plan, in ns.
    pub planned_ns: u64,
    /// How long the one that is rehearsed takes by the same arithmetic, in ns; without the fixed time of each guest.
    pub predicted_ns: u64,
}

/// What a `migrate` step has beyond other steps; `rounds` tell the first guest's story, `guests` the others'.
///
/// The first fields must be there: that is how a reader knows a migration from other steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MigrateDetail {
    /// Every page of every guest was hashed at both ends after the stop, and none differs.
    pub verified: bool,
    /// The policy reached its own aim.
    pub converged: bool,
    /// Live rounds, the full copy first, then the last copy with the guest standing still (or, after a switch
    /// to post-copy, running at the destination).
    pub rounds: Vec<MigrateRound>,
    /// From the first byte of the first guest to the last acknowledged byte of the last, in ns; setup,
    /// prediction and verification excluded.
    pub total_ns: u64,
    /// Longest downtime of any guest: from stopping the dirtying to the destination's acknowledgement of the
    /// last page, in ns.
    pub downtime_ns: u64,
    /// The live rounds were ended by the time that the rehearsal was given, against the policy.
    #[serde(default)]
    pub out_of_time: bool,
    /// Longest downtime that the policy allows, in ns; `null` where it has no such limit.
    #[serde(default)]
    pub downtime_limit_ns: Option<u64>,
    /// Total less downtime of the first guest: the time it ran while being copied, in ns.
    #[serde(default)]
    pub brownout_ns: u64,
    /// Bytes of pages that crossed the path.
    pub bytes: u64,
    /// Computed before the run from the measured path and the dirty rate asked.
    #[serde(default)]
    pub predicted: Option<MigratePrediction>,
    /// Why the live rounds ended, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// The phase that the step was in when it ended early.
    #[serde(default)]
    pub stopped_in: Option<String>,
    /// First differing page, where verification failed: guest, page and count, in words.
    #[serde(default)]
    pub mismatch: Option<String>,
    /// Memory of each guest that was moved, in bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Dirty rate of each guest that was aimed at, in bytes per second.
    #[serde(default)]
    pub dirty_bytes_per_s: u64,
    /// Seed in force.
    #[serde(default)]
    pub seed: u64,
    /// Rate at which pages were really dirtied while the guest ran unthrottled, in bytes per second.
    #[serde(default)]
    pub dirtied_bytes_per_s: Option<u64>,
    /// Rate of the first pass, in bytes of memory per second.
    #[serde(default)]
    pub copied_bytes_per_s: Option<u64>,
    /// Where dirty pages were learned from: `log`, `pagemap-scan`.
    #[serde(default)]
    pub tracker: Option<Tracker>,
    /// Time to make memory and lanes ready, in ns.
    #[serde(default)]
    pub setup_ns: u64,
    /// Time to hash and compare all pages, in ns.
    #[serde(default)]
    pub verify_ns: u64,
    /// Zero pages that were sent as ranges.
    #[serde(default)]
    pub zero_pages: u64,
    /// Memory taken beyond the guests' own, in bytes.
    #[serde(default)]
    pub overhead_bytes: u64,
    /// CPU time of the client's process over the moves, in ns.
    #[serde(default)]
    pub cpu_client_ns: Option<u64>,
    /// CPU time of the server's lane threads, in ns.
    #[serde(default)]
    pub cpu_server_ns: Option<u64>,
    /// Each guest in order of its start.
    #[serde(default)]
    pub guests: Vec<MigrateGuest>,
    /// The storage that moved before the memory.
    #[serde(default)]
    pub disk: Option<MigrateDisk>,
    /// What compressing pages came to.
    #[serde(default)]
    pub compression: Option<MigrateCompression>,
    /// The drain of a host that was rehearsed, held against the plan (`migrate PEER --plan`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<MigrateDrain>,
}

/// The drain of a host on a small scale, held against what the arithmetic of its plan says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrateDrain {
    /// The host of the plan.
    pub host: String,
    /// Its guests; how many were moved in their place the step's `guests` tell.
    pub guests: u32,
    /// How long its drain takes by the plan, in ns.
    pub planned_ns: u64,
    /// How long the rehearsed one should have taken, in ns.
    pub predicted_ns: u64,
    /// How long it took, in ns: what the busiest place copied, setup and verification excluded.
    pub measured_ns: u64,
    /// Measured as a part of predicted: 1 as the plan says, 1.2 a fifth longer.
    pub of_predicted: f64,
    /// The plan's time multiplied by that, in ns.
    pub expected_ns: u64,
}

/// Storage that moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrateDisk {
    /// Size of the disk in bytes.
    pub disk_bytes: u64,
    /// Bytes copied: every block once.
    pub bytes: u64,
    /// Bytes written by the guest to blocks already copied, and sent again for that.
    pub mirrored_bytes: u64,
    /// Bytes that the guest wrote in all.
    pub written_bytes: u64,
    /// From the first block to the acknowledgement of the last, in ns; mirroring goes on after it.
    pub elapsed_ns: u64,
    /// The same as expected from the rate of its first quarter second and the writes asked for, in ns; `null` when
    /// the copy was over before.
    pub predicted_ns: Option<u64>,
    /// Copied and mirrored bytes per second during the copy.
    pub bytes_per_s: Option<u64>,
    /// Every block arrived as it is at the source.
    pub verified: bool,
}

/// Pages compressed on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrateCompression {
    /// The codec: `lz4`.
    pub codec: String,
    /// Bytes of pages before.
    pub plain_bytes: u64,
    /// Bytes that were sent for them, raw ones included.
    pub sent_bytes: u64,
    /// Bytes of pages that were sent as they are because compressing did not pay.
    pub raw_bytes: u64,
    /// CPU time of compressing at the source, in ns.
    pub compress_cpu_ns: Option<u64>,
    /// CPU time of decompressing at the destination, in ns.
    pub decompress_cpu_ns: Option<u64>,
}

impl MigrateSpec {
    /// Memory of one guest, given what the two ends have free: as asked, or where a budget allows less, at most a
    /// quarter of the smaller of the two, in whole MiB.
    pub fn memory_for(&self, available: [Option<u64>; 2], same_host: bool) -> u64 {
        if self.budget_ns.is_none() {
            return self.memory_bytes;
        }
        let guests = u64::from(self.parallel.min(self.guests).max(1)) * if same_host { 2 } else { 1 };
        let share = available.iter().flatten().min().map_or(u64::MAX, |free| free / 4 / guests);
        self.memory_bytes.min((share >> 20 << 20).max(1 << 20))
    }
}

/// One round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrateRound {
    /// Which it was.
    pub phase: RoundPhase,
    /// Pages copied, zero pages included.
    pub pages: u64,
    /// Of those, zero pages.
    pub zero_pages: u64,
    /// Bytes of pages that crossed the path.
    pub bytes: u64,
    /// From the first byte to the peer's acknowledgement of the last, in ns.
    pub elapsed_ns: u64,
    /// Different pages dirtied meanwhile.
    pub dirtied_pages: u64,
    /// Writes that the guest made meanwhile (a page written twice counts twice).
    pub writes: u64,
    /// Share of its time that the guest was made to sleep, in percent.
    pub throttle_percent: u8,
}

/// What was expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigratePrediction {
    /// From the first byte to the last, in ns.
    pub total_ns: u64,
    /// Guest standing still, in ns.
    pub downtime_ns: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Live rounds, the full copy included.
    pub rounds: u32,
    /// Whether the policy reaches its own aim.
    pub converges: bool,
    /// The payload rate that the path was found to have just before, in bytes per second.
    pub path_bytes_per_s: u64,
}

/// One guest among several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrateGuest {
    /// Its number, from 0.
    pub guest: u32,
    /// When it began to move, in ns since the first byte of the step.
    pub started_ns: u64,
    /// From its first byte to its last, in ns.
    pub total_ns: u64,
    /// Standing still, in ns.
    pub downtime_ns: u64,
    /// Bytes of pages.
    pub bytes: u64,
    /// Live rounds.
    pub rounds: u32,
    /// The policy reached its own aim.
    pub converged: bool,
    /// All its pages agree.
    pub verified: bool,
}

/// How often and where a running process writes its memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DirtyMeasurement {
    /// The process.
    pub pid: u32,
    /// How it was measured: `soft-dirty`, `page-hashes`.
    pub method: String,
    /// Why no better method was used.
    pub why: Option<String>,
    /// Anonymous, writable memory examined, in bytes.
    pub memory_bytes: u64,
    /// Length of one interval, in ns.
    pub interval_ns: u64,
    /// Pages found changed in each interval (scaled up when only a sample was examined).
    pub dirtied_pages: Vec<u64>,
    /// Median rate at which different pages are dirtied, in bytes per second.
    pub dirty_bytes_per_s: u64,
    /// Pages changed in any interval: the working set seen, in bytes.
    pub working_set_bytes: u64,
    /// Share of pages examined, 0 to 1.
    pub sampled_share: f64,
}

/// Question: how long does it take to empty these hosts?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetPlan {
    /// The path between the hosts.
    pub path: FleetPath,
    /// The hosts to drain.
    #[serde(rename = "host")]
    pub hosts: Vec<FleetHost>,
}

/// The path between the hosts of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetPath {
    /// Payload rate that all guests of one host share, such as `18.8Gbit/s`: measure it with `bench stream`.
    pub goodput: String,
    /// Most that one guest gets (one TCP connection runs over one NIC), such as `9.4Gbit/s`.
    #[serde(default)]
    pub guest_limit: Option<String>,
    /// Cap on live migration (`Set-SmbBandwidthLimit`, `max-bandwidth`), such as `750MiB/s`.
    #[serde(default)]
    pub cap: Option<String>,
    /// Guests of one host that move at once.
    #[serde(default = "one")]
    pub parallel: u32,
    /// Policy.
    #[serde(default)]
    pub policy: PolicyName,
    /// Downtime aimed at, such as `300ms`.
    #[serde(default)]
    pub downtime_limit: Option<String>,
    /// Fixed time for each guest (connecting, device state), such as `2s`.
    #[serde(default)]
    pub setup: Option<String>,
}

/// One host to drain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetHost {
    /// Its name.
    pub name: String,
    /// Its memory, such as `512GiB`; guests that exceed it are an error in the file.
    #[serde(default)]
    pub memory: Option<String>,
    /// Its guests.
    #[serde(rename = "guest")]
    pub guests: Vec<FleetGuest>,
}

/// One kind of guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetGuest {
    /// Its name.
    pub name: String,
    /// Memory of each.
    pub memory: String,
    /// Dirty rate of each, such as `50MB/s`.
    #[serde(default)]
    pub dirty: Option<String>,
    /// Working set that the writes fall into, such as `2GiB`; the whole memory when absent.
    #[serde(default)]
    pub working_set: Option<String>,
    /// How many alike.
    #[serde(default = "one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// Bytes in a text such as `4GiB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    text.parse::<Bytes>().map(|b| b.0).map_err(|e| e.to_string())
}

/// Bytes per second in a text such as `20MB/s` or `1Gbit/s`.
pub fn bytes_per_s(text: &str) -> Result<u64, String> {
    text.parse::<BitsPerSecond>().map(|b| b.0 / 8).map_err(|e| e.to_string())
}

/// Nanoseconds in a text such as `300ms`.
pub fn nanoseconds(text: &str) -> Result<u64, String> {
    text.parse::<Nanoseconds>().map(|n| n.0).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Detail;

    #[test]
    fn a_step_without_migration_fields_is_no_migration() {
        let other: Detail = serde_json::from_str("{}").unwrap();
        assert_eq!(other.migrate, None);
        let detail = Detail {
            migrate: Some(MigrateDetail { verified: true, bytes: 7, ..MigrateDetail::default() }),
            ..Detail::default()
        };
        let json = serde_json::to_value(&detail).unwrap();
        assert_eq!((&json["verified"], &json["bytes"]), (&true.into(), &7.into()));
        assert_eq!(serde_json::from_value::<Detail>(json).unwrap(), detail);
    }
}
