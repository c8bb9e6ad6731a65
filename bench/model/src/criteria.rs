//! The limits that a path is judged by, read from TOML. The built-in ones are `criteria.toml` beside this file.
//!
//! A file of the user's is laid over the built-in limits key by key, so a limit that it does not name keeps its
//! built-in value, and a key that is not a limit is an error rather than a limit nobody applies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The built-in limits as text, with the reason for each.
pub const BUILT_IN: &str = include_str!("criteria.toml");

/// All limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Criteria {
    /// Round trips.
    pub latency: LatencyCriteria,
    /// Bulk throughput.
    pub throughput: ThroughputCriteria,
    /// Path MTU.
    pub mtu: MtuCriteria,
    /// Datagram loss.
    #[serde(default = "loss_criteria")]
    pub loss: LossCriteria,
    /// Classes that share a path.
    #[serde(default = "contend_criteria")]
    pub contend: ContendCriteria,
}

/// Limits of round trips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatencyCriteria {
    /// 99th percentile of the idle round trip, in ns; `None` for no expectation: how long a path is says nothing about whether
    /// it is sound.
    #[serde(default)]
    pub p99_max_ns: Option<u64>,
    /// p99 - p50 of the idle round trip, in ns.
    pub jitter_max_ns: u64,
    /// 99th percentile of requests under load, in ns.
    pub loaded_p99_max_ns: u64,
    /// What a stream in full flow may add to the median round trip of a probe beside it, in ns.
    #[serde(default = "added_p50_max_ns")]
    pub added_p50_max_ns: u64,
    /// Fewest samples that a p99 may rest on.
    pub samples_min: u64,
}

/// For criteria stored before this limit existed.
fn added_p50_max_ns() -> u64 {
    Criteria::default().latency.added_p50_max_ns
}

/// Limits of bulk throughput.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThroughputCriteria {
    /// Goodput as a share of the link speed.
    pub link_share_min: f64,
    /// Goodput that the best run of each direction must reach, in bit/s, in place of a share of the link speed;
    /// `None` for no expectation (`--expect-rate`).
    #[serde(default)]
    pub goodput_min_bits_per_s: Option<u64>,
    /// Goodput of a paced stream as a share of its pace.
    #[serde(default = "paced_share_min")]
    pub paced_share_min: f64,
    /// Goodput over several NICs as a share of the sum of what each carries alone.
    pub nics_sum_share_min: f64,
    /// TCP segments sent again for each 10^9 payload bytes.
    pub retransmits_per_gb_max: f64,
    /// The same where an end has no link speed, as virtual NICs have none.
    pub retransmits_per_gb_no_speed_max: f64,
    /// Worst second, wherever it begins, as a share of the mean.
    pub worst_second_share_min: f64,
    /// Both ways at once as a share of the sum of what each carries alone.
    #[serde(default = "both_ways_share_min")]
    pub both_ways_share_min: f64,
    /// How many times as much one direction may carry as the other.
    #[serde(default = "direction_factor_max")]
    pub direction_factor_max: f64,
}

/// For criteria stored before this limit existed.
fn direction_factor_max() -> f64 {
    Criteria::default().throughput.direction_factor_max
}

/// For criteria stored before this limit existed.
fn both_ways_share_min() -> f64 {
    Criteria::default().throughput.both_ways_share_min
}

/// For criteria stored before this limit existed.
fn paced_share_min() -> f64 {
    Criteria::default().throughput.paced_share_min
}

/// Limits of the path MTU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtuCriteria {
    /// Largest IP packet that must pass, in bytes; `None` for no expectation (`--expect-mtu`).
    #[serde(default)]
    pub ip_mtu_min_bytes: Option<u32>,
}

/// Limits of datagrams at a low pace, as shares of those sent or received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossCriteria {
    /// Lost, where TCP carries what matters.
    pub share_max: f64,
    /// Lost, where RDMA does.
    pub rdma_share_max: f64,
    /// Overtaken by later ones of the same flow.
    pub reordered_share_max: f64,
    /// Arrived more than once.
    pub duplicated_share_max: f64,
    /// Arrived 50 ms after the fastest and later.
    #[serde(default = "late_share_max")]
    pub late_share_max: f64,
}

/// For criteria stored before this limit existed.
fn late_share_max() -> f64 {
    Criteria::default().loss.late_share_max
}

/// For criteria stored before these limits existed.
fn loss_criteria() -> LossCriteria {
    Criteria::default().loss
}

/// Limits of classes that share a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContendCriteria {
    /// What storage carries beside migrations, as a share of what it carries alone.
    pub storage_share_min: f64,
    /// What migrations may add to the 99th percentile of storage's response, in ns.
    pub storage_p99_added_max_ns: u64,
    /// Heartbeats lost in any phase, as a share of those sent.
    pub heartbeat_lost_share_max: f64,
    /// Longest time over which every heartbeat of one direction is lost, in ns.
    pub heartbeat_gap_max_ns: u64,
    /// How long one pass over the guest's memory may take beside storage, in ns; `None` for no expectation.
    #[serde(default)]
    pub migration_max_ns: Option<u64>,
}

/// For criteria stored before these limits existed.
fn contend_criteria() -> ContendCriteria {
    Criteria::default().contend
}

/// Why limits could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the criteria cannot be used: {reason}; compare them with the built-in ones (docs/MEASUREMENT.md)")]
pub struct CriteriaError {
    reason: String,
}

impl Default for Criteria {
    fn default() -> Self {
        Criteria::from_toml("").expect("a test reads the built-in criteria")
    }
}

impl Criteria {
    /// The built-in limits with those of `text` laid over them.
    pub fn from_toml(text: &str) -> Result<Criteria, CriteriaError> {
        let fail = |e: toml::de::Error| CriteriaError { reason: e.message().to_owned() };
        let mut merged: toml::Table = BUILT_IN.parse().map_err(fail)?;
        let own = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            CriteriaError { reason: format!("line {line}: {}", e.message()) }
        })?;
        overlay(&mut merged, own);
        let criteria: Criteria = merged.try_into().map_err(fail)?;
        for (name, share) in [
            ("throughput.link_share_min", criteria.throughput.link_share_min),
            ("throughput.paced_share_min", criteria.throughput.paced_share_min),
            ("throughput.nics_sum_share_min", criteria.throughput.nics_sum_share_min),
            ("throughput.both_ways_share_min", criteria.throughput.both_ways_share_min),
            ("throughput.worst_second_share_min", criteria.throughput.worst_second_share_min),
            ("loss.share_max", criteria.loss.share_max),
            ("loss.rdma_share_max", criteria.loss.rdma_share_max),
            ("loss.reordered_share_max", criteria.loss.reordered_share_max),
            ("loss.duplicated_share_max", criteria.loss.duplicated_share_max),
            ("loss.late_share_max", criteria.loss.late_share_max),
            ("contend.storage_share_min", criteria.contend.storage_share_min),
            ("contend.heartbeat_lost_share_max", criteria.contend.heartbeat_lost_share_max),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(CriteriaError { reason: format!("{name} is {share}, and a share lies in 0..1") });
            }
        }
        Ok(criteria)
    }
}

impl Criteria {
    /// Puts what a user expects of this path in place of what stands there, as far as something is expected.
    pub fn expect(&mut self, goodput_bits_per_s: Option<u64>, ip_mtu_bytes: Option<u32>) {
        let throughput = &mut self.throughput;
        throughput.goodput_min_bits_per_s = goodput_bits_per_s.or(throughput.goodput_min_bits_per_s);
        self.mtu.ip_mtu_min_bytes = ip_mtu_bytes.or(self.mtu.ip_mtu_min_bytes);
    }
}

fn overlay(base: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(table)) => overlay(below, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaces_only_what_it_names() {
        let built_in = Criteria::default();
        let own = Criteria::from_toml("[latency]\np99_max_ns = 7\n[mtu]\nip_mtu_min_bytes = 9000").unwrap();
        assert_eq!(own.latency.p99_max_ns, Some(7));
        assert_eq!(own.mtu.ip_mtu_min_bytes, Some(9000));
        assert_eq!(own.latency.jitter_max_ns, built_in.latency.jitter_max_ns);
        assert_eq!(own.throughput, built_in.throughput);
    }

    #[test]
    fn a_mistyped_key_is_an_error_that_names_it() {
        for text in [
            "[latency]\np99_max = 7",
            "[jitter]\nmax = 1",
            "latency = 3",
            "[throughput]\nlink_share_min = 80",
        ] {
            let error = Criteria::from_toml(text).unwrap_err().to_string();
            assert!(error.contains("built-in"), "{error}");
        }
        let error = Criteria::from_toml("[latency]\np99_max = 7").unwrap_err().to_string();
        assert!(error.contains("p99_max"), "{error}");
    }
}
