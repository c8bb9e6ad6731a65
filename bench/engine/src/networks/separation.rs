//! Networks that look apart and are not: what is meant to be separated meets in one NIC.

use std::collections::BTreeMap;

use pathproof_model::{Finding, Network, NodeId};

use super::whose;

/// Several networks that a host has on VLANs of one NIC: they share its link and die with it, although each has a NIC of its own by name.
pub(super) fn vlans_share_nic(usable: &[&Network]) -> Option<Finding> {
    let mut carried: BTreeMap<(NodeId, &str), Vec<(&Network, &str)>> = BTreeMap::new();
    for network in usable {
        for nic in &network.nics {
            let bottom = nic.parent.as_deref().unwrap_or(&nic.nic);
            let on_it = carried.entry((nic.node, bottom)).or_default();
            if !on_it.iter().any(|(known, _)| known.subnet == network.subnet) {
                on_it.push((*network, nic.nic.as_str()));
            }
        }
    }
    // Where one interface has all the addresses there is nothing that looks apart.
    carried.retain(|_, on_it| on_it.iter().any(|(_, nic)| *nic != on_it[0].1));
    let told: Vec<String> = carried
        .iter()
        .map(|((node, bottom), on_it)| {
            let each: Vec<String> = on_it
                .iter()
                .map(|(network, nic)| format!("{} ({}, as {nic})", network.subnet, network.role.word()))
                .collect();
            format!("{bottom} of {} carries {}", whose(*node), each.join(" and "))
        })
        .collect();
    let nics: Vec<String> = carried.keys().map(|(_, bottom)| (*bottom).to_owned()).collect();
    (!told.is_empty()).then(|| Finding::new("NETWORK-VLANS-SHARE-NIC", told.join("; ")).with("nics", nics))
}
