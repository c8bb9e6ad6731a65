//! Who answers on each wire of the client's: which NIC of the other end lies behind which of its own.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was heard when each NIC was made to ask for the other end's addresses (ARP, and neighbour solicitation of IPv6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Wires {
    /// Questions that somebody answered, and those that the other end ought to have answered.
    pub answers: Vec<WireAnswer>,
    /// Why nobody was asked on some NIC, or on any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<String>,
}

/// One question on one wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WireAnswer {
    /// The client's NIC.
    pub nic: String,
    /// The address that was asked for.
    pub address: IpAddr,
    /// Whether the NIC has an address of that network itself.
    pub shares_network: bool,
    /// Hardware addresses that claimed it, each once.
    pub macs: Vec<String>,
}
