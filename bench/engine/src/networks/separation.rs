//! Networks that are not as separate as they should be: what is meant to be apart meets in one NIC, or in one subnet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_model::environment::PeerRoute;
use pathproof_model::{Environment, Finding, Network, NicAddress, NodeId};

use super::{subnet, whose};

/// Most ends of iSCSI, and most pairs of NICs of one sort, that are named.
const NAMED_MAX: usize = 3;

/// One end of a pair of NICs that reach one another over routers.
struct RoutedEnd<'a> {
    nic: &'a str,
    subnet: String,
    router: IpAddr,
}

/// NICs of both hosts that lie in different subnets and reach one another over routers, as the routes of both kernels have it. A cluster
/// takes each subnet for a network of its own, which one of the hosts lacks. `shared` are the networks in which both have an address:
/// NICs that meet in one of them do not need a router.
pub fn routed(here: &Environment, there: &Environment, shared: &[Network]) -> Option<Finding> {
    let mut found: Vec<(RoutedEnd<'_>, RoutedEnd<'_>)> = vec![];
    for way in &here.peers {
        let Some((own, their)) = routed_pair(here, there, way) else { continue };
        // A second family between the same NICs is the same network to a cluster.
        let known = found.iter().any(|(a, b)| (a.nic, b.nic) == (own.nic, their.nic));
        if !known && !meet(shared, own.nic, their.nic) {
            found.push((own, their));
        }
    }
    let mut told: Vec<String> = found
        .iter()
        .take(NAMED_MAX)
        .map(|(own, their)| {
            format!(
                "{} ({} of this host) and {} ({} of the other host) reach one another over gateways, {} from here and {} from there",
                own.subnet, own.nic, their.subnet, their.nic, own.router, their.router
            )
        })
        .collect();
    if found.len() > NAMED_MAX {
        told.push(format!("{} pairs of NICs more", found.len() - NAMED_MAX));
    }
    let subnets: Vec<String> =
        found.iter().flat_map(|(own, their)| [own.subnet.clone(), their.subnet.clone()]).collect();
    (!told.is_empty()).then(|| Finding::new("NETWORK-ROUTED", told.join("; ")).with("subnets", subnets))
}

/// Both ends of a way that goes over routers there and back between the same two NICs. Where the way back leaves by another NIC, the address
/// is merely one of many that a default route leads to (a bridge for containers, a network that this host is no part of).
fn routed_pair<'a>(
    here: &'a Environment,
    there: &'a Environment,
    way: &'a PeerRoute,
) -> Option<(RoutedEnd<'a>, RoutedEnd<'a>)> {
    let source = way.source?;
    let back = there.peers.iter().find(|back| back.address == source)?;
    Some((routed_end(here, way, source)?, routed_end(there, back, way.address)?))
}

fn routed_end<'a>(host: &'a Environment, way: &'a PeerRoute, address: IpAddr) -> Option<RoutedEnd<'a>> {
    let (nic, router) = (way.nic.as_deref()?, way.router?);
    let leads = host.nics.iter().find(|one| one.name == nic)?;
    let own = leads.addresses.iter().find(|one| one.address == address)?;
    let (network, prefix_len) = subnet(own)?;
    Some(RoutedEnd { nic, subnet: format!("{network}/{prefix_len}"), router })
}

/// Whether two NICs have addresses in one network.
fn meet(shared: &[Network], own: &str, their: &str) -> bool {
    let has = |network: &Network, node: NodeId, name: &str| {
        network.nics.iter().any(|nic| nic.node == node && nic.nic == name)
    };
    shared.iter().any(|network| has(network, NodeId::CLIENT, own) && has(network, NodeId::SERVER, their))
}

/// NICs of one host in subnets of which one lies within the other: what is for the wider one leaves by the NIC of the narrower one, and what a cluster
/// takes for two networks are not two. One NIC of each pair lies in a network of the `shared` ones; what a host has beside them is its own affair.
pub fn overlapping(here: &Environment, there: &Environment, shared: &[Network]) -> Option<Finding> {
    let mut told = vec![];
    for (node, host) in [(NodeId::CLIENT, here), (NodeId::SERVER, there)] {
        let is_shared = |name: &str| {
            shared.iter().flat_map(|network| &network.nics).any(|nic| nic.node == node && nic.nic == name)
        };
        let up = host.nics.iter().filter(|nic| nic.up != Some(false));
        let ends = up.flat_map(|nic| {
            nic.addresses.iter().filter_map(move |address| Some((nic.name.as_str(), subnet(address)?)))
        });
        let ends: Vec<(&str, (IpAddr, u8))> = ends.collect();
        for (outer, wide) in &ends {
            for (inner, narrow) in &ends {
                let within = NicAddress { address: narrow.0, prefix_len: wide.1 };
                let is_within = wide.1 < narrow.1 && subnet(&within) == Some(*wide);
                if is_within && outer != inner && (is_shared(outer) || is_shared(inner)) {
                    let words = |nic: &str, (network, length): (IpAddr, u8)| {
                        format!("{network}/{length} ({nic} of {})", whose(node))
                    };
                    told.push(format!("{} lies within {}", words(inner, *narrow), words(outer, *wide)));
                }
            }
        }
    }
    let more = told.len().saturating_sub(NAMED_MAX);
    told.truncate(NAMED_MAX);
    if more > 0 {
        told.push(format!("{more} pairs of NICs more"));
    }
    (!told.is_empty()).then(|| Finding::new("NETWORK-SUBNETS-OVERLAP", told.join("; ")))
}

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
    let evidence =
        format!("iSCSI (TCP port 3260) goes over {}: {}; {place}", network.subnet, told.join(", "));
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
