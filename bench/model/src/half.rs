//! What an end tells of a step beyond its lanes: every sort of evidence has a place and a type of its own, so none can take
//! another's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BeatsEnd, LossEnd, LostNic, MigrateDetail, MtuPath, NicShare, OffloadEnd, PortsEnd, RdmaEnd};

/// The parts that a step may have; absent where it has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HalfDetail {
    /// What the adapters counted, device by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rdma: Vec<RdmaEnd>,
    /// What the NICs of a lane over several counted, and what became of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<NicEvidence>,
    /// The migration as its source knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrateDetail>,
    /// What the destination of a migration spent on decompressing, in ns of CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decompress_cpu_ns: Option<u64>,
    /// What this end sent and received of paced datagrams, path by path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loss: Vec<LossEnd>,
    /// What the kernel gave the socket for them, where that asked for a buffer: by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_buffer_bytes: Option<u64>,
    /// What this end found at the other's ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortsEnd>,
    /// Heartbeats of a step about contention, as this end sent and received them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats: Option<BeatsEnd>,
    /// The paths that this end searched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<SearchedPath>,
    /// What this end did to an offload of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offload: Option<OffloadEnd>,
    /// What this end did to the NIC that a step about contention is made without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_nic: Option<LostNic>,
    /// Who answered on this end's wires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wires: Option<crate::Wires>,
}

/// What an end tells about its NICs, beside the lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NicEvidence {
    /// Each NIC's part.
    pub nics: Vec<NicShare>,
    /// Why there is only one path, if so.
    pub alone: Option<String>,
    /// NICs that went down.
    pub failures: Vec<NicFailure>,
}

/// A NIC taken down and perhaps brought back, in ns of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicFailure {
    /// The NIC.
    pub nic: String,
    /// When it went down.
    pub down_ns: u64,
    /// When it came back.
    pub up_ns: Option<u64>,
    /// When the window began on this end's clock, which the ticks of its lanes are of too.
    pub window_tick_ns: u64,
}

/// A path whose MTU was searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchedPath {
    /// What was found.
    pub path: MtuPath,
    /// The two NICs share a network, so that it is worth reporting even where nothing came through.
    pub ought: bool,
}
