//! The limits that a path is judged by, read from TOML. The built-in ones are `criteria.toml` beside this file.
//!
//! A file of the user's is laid over the built-in limits key by key, so a limit that it does not name keeps its
//! built-in value, and a key that is not a limit is an error rather than a limit nobody applies.

mod print;
mod profiles;
mod reserved;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::typed_units::in_plain_numbers;

pub(crate) use print::rate;
pub use print::{LimitText, limits};
pub use profiles::{PROFILES, Profile};

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
    /// Share of idle round trips that lie above the median by more than that, where they are too few for a p99.
    #[serde(default = "slow_share_max")]
    pub slow_share_max: f64,
    /// 99th percentile of requests under load, in ns.
    pub loaded_p99_max_ns: u64,
    /// What a stream in full flow may add to the median round trip of a probe beside it, in ns.
    #[serde(default = "added_p50_max_ns")]
    pub added_p50_max_ns: u64,
    /// Fewest samples that a p99 may rest on.
    pub samples_min: u64,
}

/// For criteria stored before this limit existed.
fn slow_share_max() -> f64 {
    Criteria::default().latency.slow_share_max
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
    /// Thrown away by the receiving host for a wrong checksum.
    #[serde(default = "corrupted_share_max")]
    pub corrupted_share_max: f64,
}

/// For criteria stored before this limit existed.
fn late_share_max() -> f64 {
    Criteria::default().loss.late_share_max
}

/// For criteria stored before this limit existed.
fn corrupted_share_max() -> f64 {
    Criteria::default().loss.corrupted_share_max
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
    /// What is reserved for storage, as a share of what storage, migrations and backups carry together while each asks for more than it
    /// gets; `None` for no expectation (`--share`).
    #[serde(default)]
    pub storage_reserved_share: Option<f64>,
    /// The same for migrations.
    #[serde(default)]
    pub migration_reserved_share: Option<f64>,
    /// The same for backups.
    #[serde(default)]
    pub backup_reserved_share: Option<f64>,
    /// How far a share may lie from what is reserved, as a share of that.
    #[serde(default = "reserved_share_off_max")]
    pub reserved_share_off_max: f64,
}

/// For criteria stored before this limit existed.
fn reserved_share_off_max() -> f64 {
    Criteria::default().contend.reserved_share_off_max
}

/// For criteria stored before these limits existed.
fn contend_criteria() -> ContendCriteria {
    Criteria::default().contend
}

/// Why limits could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the criteria cannot be used: {reason}; pathproof criteria prints the built-in ones")]
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
        Criteria::read(None, text)
    }

    /// The limits of a profile.
    pub fn of_profile(profile: Profile) -> Result<Criteria, CriteriaError> {
        Criteria::read(Some(profile), "")
    }

    /// As text that [`Criteria::from_toml`] reads back, with the reason for each limit; `profile` is what they came from.
    pub fn to_toml(&self, profile: Option<Profile>) -> String {
        print::as_toml(self, profile)
    }

    /// The built-in limits, those of a profile over them, and those of `text` over both.
    pub fn read(profile: Option<Profile>, text: &str) -> Result<Criteria, CriteriaError> {
        let fail = |e: toml::de::Error| CriteriaError { reason: e.message().to_owned() };
        let mut merged: toml::Table = BUILT_IN.parse().map_err(fail)?;
        for text in profile.map(|profile| profile.text).into_iter().chain([text]) {
            let text = in_plain_numbers(text, is_limit)
                .map_err(|error| CriteriaError { reason: error.to_string() })?;
            let own: toml::Table = text.parse().map_err(fail)?;
            no_text(&own)?;
            overlay(&mut merged, own);
        }
        let criteria: Criteria = merged.try_into().map_err(fail)?;
        // What is reserved has a sentence of its own.
        criteria.contend.check_reserved().map_err(|reason| CriteriaError { reason })?;
        shares_are_shares(&criteria)?;
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

/// Whether a limit has this name, its unit included.
fn is_limit(full: &str) -> bool {
    // The built-in file names every limit, those that are not set as comments.
    BUILT_IN.lines().any(|line| {
        let key = line.trim_start_matches("# ").strip_prefix(full);
        key.is_some_and(|rest| rest.starts_with(" = "))
    })
}

/// Refuses a share that is none. Whatever is called one is held to it, and so is one that comes later.
fn shares_are_shares(criteria: &Criteria) -> Result<(), CriteriaError> {
    let fail = |e: toml::ser::Error| CriteriaError { reason: e.to_string() };
    let all = toml::Value::try_from(criteria).map_err(fail)?;
    for (section, limits) in all.as_table().into_iter().flatten() {
        for (key, limit) in limits.as_table().into_iter().flatten() {
            let share = limit.as_float().filter(|_| key.contains("share"));
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                let reason = format!("{section}.{key} is {share}, and a share lies in 0..1");
                return Err(CriteriaError { reason });
            }
        }
    }
    Ok(())
}

/// Refuses what is still text where every limit is a number by now.
fn no_text(own: &toml::Table) -> Result<(), CriteriaError> {
    for (section, limits) in own {
        for (key, value) in limits.as_table().into_iter().flatten() {
            if let toml::Value::String(text) = value {
                let percent =
                    text.trim().strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
                let number = percent.map_or("a number".to_owned(), |percent| (percent / 100.0).to_string());
                let reason = format!(
                    "{section}.{key}: {text:?} is text, and no limit of this name takes a unit; write {number}"
                );
                return Err(CriteriaError { reason });
            }
        }
    }
    Ok(())
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
    fn what_is_printed_reads_back_as_the_same_limits() {
        let strict = "[latency]\np99_max = \"1500us\"\n[throughput]\ngoodput_min = \"25G\"\n[mtu]\nip_mtu_min_bytes = 9000";
        let odd = Criteria::from_toml(
            "[latency]\njitter_max_ns = 1234567\n[throughput]\ngoodput_min = \"1.5gbit\"",
        )
        .unwrap();
        let mut all =
            vec![(None, Criteria::default()), (None, Criteria::from_toml(strict).unwrap()), (None, odd)];
        for profile in PROFILES {
            all.push((Some(profile), Criteria::of_profile(profile).unwrap()));
        }
        for (profile, criteria) in all {
            let text = criteria.to_toml(profile);
            assert_eq!(Criteria::from_toml(&text).unwrap(), criteria, "{text}");
        }
    }

    #[test]
    fn every_figure_of_a_profile_has_a_source_or_says_that_it_was_chosen() {
        for profile in PROFILES {
            let criteria = Criteria::of_profile(profile).unwrap();
            assert_ne!(criteria, Criteria::default(), "{} changes nothing", profile.name);
            let text = criteria.to_toml(Some(profile));
            let mut commented = false;
            for line in profile.text.lines() {
                match line {
                    line if line.starts_with('#') => commented = true,
                    "" => commented = false,
                    line if line.starts_with('[') => {}
                    // Several in a row share the comment above them.
                    limit => assert!(commented, "{}: {limit}", profile.name),
                }
            }
            assert!(text.contains(&format!("# Profile {}:", profile.name)), "{text}");
        }
    }

    #[test]
    fn limits_are_typed_with_units_and_a_wrong_one_is_told() {
        let typed = Criteria::from_toml(
            "[latency]\np99_max = \"1.5ms\"\njitter_max_ns = \"2ms\"\n[mtu]\nip_mtu_min = \"9000B\"",
        )
        .unwrap();
        assert_eq!((typed.latency.p99_max_ns, typed.latency.jitter_max_ns), (Some(1_500_000), 2_000_000));
        assert_eq!(typed.mtu.ip_mtu_min_bytes, Some(9000));
        for (text, part) in [
            ("[latency]\np99_max = \"10 parsecs\"", "as a time"),
            ("[throughput]\ngoodput_min = \"1GB\"", "as a rate"),
            ("[throughput]\nlink_share_min = \"80%\"", "takes a unit; write 0.8"),
            ("[latency]\np99_max = \"1ms\"\np99_max_ns = 5", "twice"),
            ("[latency]\np99_max = \"600000d\"", "p99_max"),
        ] {
            let error = Criteria::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn whatever_is_called_a_share_is_one() {
        let mut shares = 0;
        for limit in limits() {
            let (section, key) = (&limit.section, &limit.key);
            let typed = |value: &str| Criteria::from_toml(&format!("[{section}]\n{key} = {value}"));
            if key.contains("share") {
                shares += 1;
                for wrong in ["1.5", "-0.1", "nan", "80"] {
                    assert!(typed(wrong).is_err(), "{section}.{key} = {wrong}");
                }
                assert!(typed("0.5").is_ok(), "{section}.{key}: {:?}", typed("0.5"));
            }
        }
        assert!(shares >= 18, "only {shares} limits are shares");
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
