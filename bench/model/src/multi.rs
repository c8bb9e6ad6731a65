//! What several NICs carried together, and what happened when one of them died.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::End;

/// One NIC's part in a step over several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NicShare {
    /// Which end.
    pub end: End,
    /// The NIC.
    pub nic: String,
    /// Connections meant to use it; 0 for a NIC that was to carry nothing.
    pub connections: u32,
    /// Payload bytes that lanes sent over connections bound to it, over the whole step.
    pub lane_sent_bytes: u64,
    /// Payload bytes that lanes received over them.
    pub lane_received_bytes: u64,
    /// Bytes that the interface itself counted as sent during the step.
    pub nic_sent_bytes: Option<u64>,
    /// Bytes that the interface itself counted as received.
    pub nic_received_bytes: Option<u64>,
    /// Connections over it that died.
    pub deaths: u64,
}

impl NicShare {
    /// Nothing yet, of a NIC of an end.
    pub fn of(end: End, nic: &str) -> NicShare {
        NicShare { end, nic: nic.into(), ..NicShare::default() }
    }
}

/// What the NICs of a striped step carry one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AloneSum {
    /// Each NIC of the client, in short runs after the striped one.
    pub each: Vec<AloneNic>,
    /// Their sum, in bit/s; null when one of them could not be measured.
    pub sum_bits_per_s: Option<u64>,
    /// The striped goodput as a share of that sum.
    pub share_of_sum: Option<f64>,
    /// The largest distance, as a share of all bytes, between what a NIC carried of the striped run and its part of the sum.
    pub imbalance: Option<f64>,
}

/// One NIC on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AloneNic {
    /// The client's NIC.
    pub nic: String,
    /// Goodput over it alone, in bit/s.
    pub goodput_bits_per_s: Option<u64>,
}

/// A step in which a path died.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Failover {
    /// The NIC that was taken down by `--fail`, or seen to lose its link by `--watch-links`; `None` when nobody saw which it was.
    pub nic: Option<String>,
    /// The end it belongs to.
    pub end: Option<End>,
    /// When it was taken down, in ns since the start of the window.
    pub failed_at_ns: Option<u64>,
    /// When it was brought back, likewise.
    pub recovered_at_ns: Option<u64>,
    /// From the failure (or the last sign of life) until its paths were given up, longest; `null` where nobody can tell.
    pub noticed_after_ns: Option<u64>,
    /// Longest time without any progress at the receiving end; `null` where nobody looked.
    pub gap_ns: Option<u64>,
    /// Messages sent again over other paths.
    pub replayed_messages: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Messages that came twice and were thrown away.
    pub duplicates_discarded: u64,
    /// Their bytes.
    pub discarded_bytes: u64,
    /// Bytes that the sender took for delivered and the receiver never had; `null` where the sender does not know what was.
    pub lost_bytes: Option<u64>,
    /// Bytes that the receiver handed on more than once; must be 0.
    pub duplicated_bytes: u64,
    /// Sequence and content of every message were checked, and right.
    pub verified: Option<bool>,
    /// Paths connected again.
    pub rejoined: u64,
    /// From the NIC's return until it carried again.
    pub carried_again_after_ns: Option<u64>,
    /// Goodput before the failure.
    pub before_bits_per_s: Option<u64>,
    /// Goodput after it, with fewer NICs.
    pub after_bits_per_s: Option<u64>,
}

/// What became of a lane over several paths, and of each of them. A count that is absent is zero: earlier builds left those out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StripeRecord {
    /// Each path, in the order of the plan.
    pub paths: Vec<PathRecord>,
    /// Messages that went again over another path.
    pub replayed_messages: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Paths connected again.
    pub rejoined: u64,
    /// Messages that had to be copied before their receive was posted.
    pub staged_messages: u64,
    /// Messages that came twice, and were thrown away.
    pub duplicates_discarded: u64,
    /// Their bytes.
    pub discarded_bytes: u64,
    /// Bytes handed on under a number that had been handed on.
    pub doubled_bytes: u64,
    /// Longest time in which nothing was handed on, in ns; absent where nobody looked: over a single path it is the lane's own affair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_longest_ns: Option<u64>,
    /// Bytes taken for sending.
    pub accepted_bytes: u64,
    /// Bytes that the peer confirmed; absent where nobody asks it to: over a single path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_bytes: Option<u64>,
    /// Bytes handed on to the receiver.
    pub arrived_bytes: u64,
}

/// One path of such a lane. A time that is absent did not come, or is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PathRecord {
    /// Payload bytes sent over it.
    pub sent_bytes: u64,
    /// Payload bytes received over it.
    pub received_bytes: u64,
    /// How often it died.
    pub deaths: u64,
    /// Silence after which the last death was noticed, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noticed_after_ns: Option<u64>,
    /// When it died last, on the lanes' clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_at_tick_ns: Option<u64>,
    /// When the peer first confirmed something that went over it after it came back, on the lanes' clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried_again_at_tick_ns: Option<u64>,
    /// What the kernel knew of its last connection, where it is one of TCP and ended in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<crate::Connection>,
}
