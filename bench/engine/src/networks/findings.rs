//! What is worth a warning in the networks that two hosts share.

use std::collections::BTreeMap;

use pathproof_model::{Finding, Network, NetworkRole, NodeId};

use super::{separation, whose};

/// Findings about `networks`, in their order.
pub fn findings(networks: &[Network]) -> Vec<Finding> {
    let usable: Vec<&Network> = networks.iter().filter(|network| network.up != Some(false)).collect();
    let mut out = vec![];
    if let [only] = usable[..] {
        let down = networks.len() - 1;
        let beside =
            if down > 0 { format!("; {down} more cannot be used: a NIC is down") } else { String::new() };
        out.push(Finding::new(
            "NETWORK-ONLY-ONE",
            format!("{} is all that the hosts share{beside}", only.subnet),
        ));
    }
    out.extend(migration_goes_public(&usable));
    out.extend(usable.iter().filter_map(|network| separation::migration_on_iscsi(network)));
    out.extend(shared_nic(&usable));
    out.extend(separation::vlans_share_nic(&usable));
    out.extend(usable.iter().filter_map(|network| two_nics(network)));
    out
}

/// By the default order the second lowest metric comes first: of one private and one public network that is the public one.
fn migration_goes_public(usable: &[&Network]) -> Option<Finding> {
    let first = usable.iter().find(|network| network.order_migration == Some(1))?;
    let better = usable
        .iter()
        .find(|network| {
            // Where iSCSI goes is no better place.
            let apart = network.iscsi.as_ref().is_none_or(Vec::is_empty);
            apart && matches!(network.role, NetworkRole::Private | NetworkRole::Storage)
        })
        .filter(|_| first.role == NetworkRole::Public)?;
    let evidence = format!(
        "live migrations go over {} first ({}); {} ({}) has place {}",
        first.subnet,
        first.role_reason,
        better.subnet,
        better.role.word(),
        better.order_migration.map_or("none".into(), |place| place.to_string())
    );
    Some(Finding::new("NETWORK-MIGRATION-PUBLIC", evidence))
}

/// Two networks over one NIC of a host die together.
fn shared_nic(usable: &[&Network]) -> Option<Finding> {
    let mut of_nic: BTreeMap<(NodeId, &str), Vec<&str>> = BTreeMap::new();
    for network in usable {
        for nic in &network.nics {
            let subnets = of_nic.entry((nic.node, &nic.nic)).or_default();
            if !subnets.contains(&network.subnet.as_str()) {
                subnets.push(&network.subnet);
            }
        }
    }
    of_nic.retain(|_, subnets| subnets.len() > 1);
    let each = of_nic
        .iter()
        .map(|((node, nic), subnets)| format!("{nic} of {} carries {}", whose(*node), subnets.join(" and ")));
    let told: Vec<String> = each.collect();
    (!told.is_empty()).then(|| Finding::new("NETWORK-SHARES-NIC", told.join("; ")))
}

/// Two NICs of a host in one subnet are one network, of which one NIC is used.
fn two_nics(network: &Network) -> Option<Finding> {
    let of = |node: NodeId| {
        let mut names: Vec<&str> =
            network.nics.iter().filter(|nic| nic.node == node).map(|nic| nic.nic.as_str()).collect();
        names.dedup();
        (names.len() > 1)
            .then(|| format!("{} of {} lie in {}", names.join(" and "), whose(node), network.subnet))
    };
    let told: Vec<String> = [NodeId::CLIENT, NodeId::SERVER].into_iter().filter_map(of).collect();
    (!told.is_empty()).then(|| Finding::new("NETWORK-TWO-NICS", told.join("; ")))
}
