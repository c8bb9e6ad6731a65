//! Networks that are not as separate as they should be: what is meant to be apart meets in one NIC, or in one subnet.

use std::collections::BTreeMap;

use pathproof_model::{Finding, Network, NodeId};

use super::whose;

/// Most ends of iSCSI that are named.
const NAMED_MAX: usize = 3;

/// A network over which iSCSI goes, and which nothing keeps live migrations from: a cluster uses every network that it has.
pub(super) fn migration_on_iscsi(network: &Network) -> Option<Finding> {
    let seen = network.iscsi.as_deref().filter(|seen| !seen.is_empty())?;
    let mut told: Vec<String> = seen
        .iter()
        .take(NAMED_MAX)
        .map(|one| match one.other {
            Some(other) => format!("{} of {} is connected with {other}", one.address, whose(one.node)),
            None => format!("a target listens at {} of {}", one.address, whose(one.node)),
        })
        .collect();
    if seen.len() > NAMED_MAX {
        told.push(format!("{} more", seen.len() - NAMED_MAX));
    }
    let place = match network.order_migration {
        Some(place) => format!("live migrations have it in place {place} of their default order"),
        None => "a cluster may take it for live migrations".into(),
    };
    let evidence = format!(
        "iSCSI (TCP port 3260) goes over {}: {}; {place}",
        network.subnet,
        told.join(", ")
    );
    Some(Finding::new("NETWORK-MIGRATION-ISCSI", evidence).with("subnet", network.subnet.clone()))
}

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
