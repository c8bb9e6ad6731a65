//! The ladder: what each layer between the wire and a file on a share carries, beside the one below it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Carrier, Direction};

/// A layer. Those of one branch stand on each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RungName {
    /// Link speed of the NICs less the headers of full packets.
    Wire,
    /// One TCP connection between two agents.
    Tcp,
    /// Files over one TCP connection.
    SmbTcp,
    /// Files over several TCP connections (SMB Multichannel).
    SmbMultichannel,
    /// RDMA READ or WRITE between two agents.
    Verbs,
    /// Messages of SMB Direct between two agents.
    SmbDirectFrames,
    /// Files over SMB Direct.
    SmbDirect,
}

/// The two ways up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// Over TCP.
    Tcp,
    /// Over RDMA.
    Rdma,
}

impl Branch {
    /// Its rungs, from the lowest.
    pub fn rungs(self) -> &'static [RungName] {
        match self {
            Branch::Tcp => &[RungName::Wire, RungName::Tcp, RungName::SmbTcp, RungName::SmbMultichannel],
            Branch::Rdma => {
                &[RungName::Wire, RungName::Verbs, RungName::SmbDirectFrames, RungName::SmbDirect]
            }
        }
    }
}

/// One rung, one way. Rungs are compared by the way that data takes on the wire: a file that is written is fetched by the server with RDMA READ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rung {
    /// Which.
    pub rung: RungName,
    /// The way up that it is part of.
    pub branch: Branch,
    /// The way of the data: `out` to the server, `in` from it.
    pub direction: Direction,
    /// What it carries, in bit/s; `null` where it was not measured, see `reason`.
    pub goodput_bits_per_s: Option<u64>,
    /// The nearest rung below that has a figure.
    pub below: Option<RungName>,
    /// Its figure over that of `below`.
    pub share_of_below: Option<f64>,
    /// What carried the bytes; `null` where nothing was carried.
    pub proof: Option<RungProof>,
    /// Why there is no figure, or what the figure needs to be read rightly.
    pub reason: Option<String>,
}

/// What carried the bytes of a rung, from what was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RungProof {
    /// `rdma`, `tcp`, or `unknown` where no counter tells.
    pub carried_by: Carrier,
    /// What was counted.
    pub evidence: String,
}
