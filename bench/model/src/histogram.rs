//! Distributions as they stand in documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NodeId;

/// What the times of a distribution are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HistogramName {
    /// Round trips over the control channel.
    Rtt,
    /// From the actual send to the reply.
    Service,
    /// From the *intended* send to the reply (open loop only).
    Response,
    /// Chunks of a guest's memory, until the destination has acknowledged them.
    Chunk,
    /// Requests that read a file.
    Read,
    /// Requests that write one.
    Write,
    /// One that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

impl HistogramName {
    /// As it stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            HistogramName::Rtt => "rtt",
            HistogramName::Service => "service",
            HistogramName::Response => "response",
            HistogramName::Chunk => "chunk",
            HistogramName::Read => "read",
            HistogramName::Write => "write",
            HistogramName::Other => "other",
        }
    }
}

/// One distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistogramRecord {
    /// What it is of.
    pub name: HistogramName,
    /// Number of the flow in `flows`, where it is of a flow.
    #[serde(default)]
    pub flow: Option<u16>,
    /// The node that took the times; `null` in documents older than the field.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The lane, or `null` for all lanes together.
    pub lane: Option<u32>,
    /// Unit of the values: `ns`.
    pub unit: String,
    /// Samples.
    pub count: u64,
    /// Samples beyond the range, counted at its end.
    pub saturated: u64,
    /// HdrHistogram V2, deflated, base64.
    pub hdr_v2_base64: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_later_build_is_none_of_ours() {
        use HistogramName::{Chunk, Other, Read, Response, Rtt, Service, Write};
        for name in [Rtt, Service, Response, Chunk, Read, Write] {
            assert_eq!(serde_json::to_value(name).unwrap(), name.word());
        }
        assert_eq!(serde_json::from_value::<HistogramName>("queueing".into()).unwrap(), Other);
    }
}
