//! What a switch says of the port that a NIC is connected to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Dcb;
use crate::{NodeId, ResultDoc};

/// A port, by the LLDP frames that it sends (IEEE 802.1AB). What it does not say is `null`, never "off".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SwitchPort {
    /// The NIC that heard it.
    pub nic: String,
    /// The device: a hardware address, an address or a name.
    pub chassis: String,
    /// Its port.
    pub port: String,
    /// What somebody called that port.
    pub port_description: Option<String>,
    /// The name of the device.
    pub system_name: Option<String>,
    /// What it is.
    pub system_description: Option<String>,
    /// For how long that holds, in seconds.
    pub ttl_s: u16,
    /// VLAN of what has no tag on this port.
    pub vlan: Option<u16>,
    /// VLANs that the port names, with a tag or without, the least first; `null` where it names none: many switches name those alone that somebody
    /// gave a name.
    pub vlans: Option<Vec<u16>>,
    /// Longest frame of the port, in bytes.
    pub frame_bytes_max: Option<u16>,
    /// Data center bridging of the port, as far as it says.
    pub dcb: Option<Dcb>,
    /// Whether it takes PFC from the other end.
    pub pfc_willing: Option<bool>,
    /// Whether it takes ETS from the other end.
    pub ets_willing: Option<bool>,
    /// It speaks DCBX as it was before the standard, which is not read here.
    pub before_the_standard: bool,
}

impl ResultDoc {
    /// What was heard of ports during the run, by node and NIC: each as it was heard last.
    pub fn switch_ports(&self) -> Vec<(NodeId, SwitchPort)> {
        let mut ports = BTreeMap::new();
        for evidence in self.steps.iter().flat_map(|step| &step.evidence) {
            for port in evidence.switch_ports.iter().flatten() {
                let place = (evidence.node, port.nic.clone(), port.chassis.clone(), port.port.clone());
                ports.insert(place, port.clone());
            }
        }
        ports.into_iter().map(|((node, ..), port)| (node, port)).collect()
    }
}

impl SwitchPort {
    /// As people know it.
    pub fn name(&self) -> String {
        let device = self.system_name.as_ref().unwrap_or(&self.chassis);
        format!("{} of {device}", self.port)
    }
}
