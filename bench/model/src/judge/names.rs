//! Names of criteria that more than the judge knows: each once.

/// Goodput as a share of the link's speed.
pub const LINK_SHARE: &str = "link-share";
/// Goodput.
pub const GOODPUT: &str = "goodput";
/// Goodput of several NICs as a share of the sum of what each carries alone.
pub const NICS_SUM_SHARE: &str = "nics-sum-share";
/// Goodput both ways at once as a share of what each way carries alone.
pub const BOTH_WAYS_SHARE: &str = "both-ways-share";
/// Goodput of a paced stream as a share of its pace.
pub const PACED_SHARE: &str = "paced-share";
/// Goodput of the worst second as a share of the mean.
pub const WORST_SECOND_SHARE: &str = "worst-second-share";
/// Segments that were sent again for each GB.
pub const RETRANSMITS_PER_GB: &str = "retransmits-per-gb";
/// Lost packets as a share of those sent.
pub const LOSS_SHARE: &str = "loss-share";
/// Spread of round trips.
pub const ROUND_TRIP_JITTER: &str = "round-trip-jitter";
/// Median of what a stream adds to the round trip.
pub const ADDED_DELAY_P50: &str = "added-delay-p50";
/// Hosts as they are expected to be.
pub const EXPECTED_STATE: &str = "expected-state";
/// What storage carries beside migrations as a share of what it carries alone.
pub const STORAGE_SHARE: &str = "storage-share";
/// What migrations add to the p99 of storage.
pub const STORAGE_P99_ADDED: &str = "storage-p99-added";
/// The largest IP packet that a path carries.
pub const IP_MTU: &str = "ip-mtu";
/// How long a guest stands still.
pub const DOWNTIME: &str = "downtime";
