//! Which networks two hosts share, and how a Windows failover cluster would use them: role, automatic metric, order.
//!
//! The rules: a network without a default gateway is for the cluster alone, one with a gateway for clients as well. The metric of
//! 2008 R2 is 1000 for the first private and 10000 for the first public network, and 100 more for each further one. That of
//! 2012 and later begins at 40000 or 80000 and falls by 19200 where RDMA is there, by 9600 where receive side scaling is, and
//! by 16 for each Gbit/s: figures that observers of clusters have published, not the maker. CSV and the preferred heartbeat
//! take the lowest metric; live migrations by default the second lowest first and the lowest last.

mod findings;
mod losses;
mod separation;
#[cfg(test)]
mod tests;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pathproof_model::{
    Environment, IfLost, Network, NetworkIscsi, NetworkNic, NetworkRole, Nic, NicAddress, NodeId,
};

pub use findings::findings;
pub use losses::{migration_order, named, rehearsed};
pub use separation::{overlapping, routed};
pub use ways::{NetworkWay, WAYS_MAX, beside, closed, ways, ways_of_both_families, with_ports};

const PRIVATE: u32 = 40_000;
const PUBLIC: u32 = 80_000;
const RDMA: u32 = 19_200;
const RSS: u32 = 9_600;
const PER_GBIT_S: u64 = 16;
/// Most interfaces that lie on one another; a VLAN of a VLAN of a bridge is rare already.
const PARENTS_MAX: usize = 8;
/// Above this the speed would outweigh what RSS counts for; nobody has published what the rule does there.
const SPEED_MAX: u64 = 9_599;

/// A NIC with an address, of one of the hosts.
struct Member<'a> {
    node: NodeId,
    host: &'a Environment,
    nic: &'a Nic,
    address: IpAddr,
}

/// The networks that `here` and `there` share, those that a cluster prefers first.
pub fn networks(here: &Environment, there: &Environment) -> Vec<Network> {
    let mut subnets: BTreeMap<(IpAddr, u8), Vec<Member<'_>>> = BTreeMap::new();
    for (node, host) in [(NodeId::CLIENT, here), (NodeId::SERVER, there)] {
        for nic in &host.nics {
            for address in &nic.addresses {
                if let Some(subnet) = subnet(address) {
                    let member = Member { node, host, nic, address: address.address };
                    subnets.entry(subnet).or_default().push(member);
                }
            }
        }
    }
    subnets.retain(|_, members| {
        [NodeId::CLIENT, NodeId::SERVER].iter().all(|node| members.iter().any(|m| m.node == *node))
    });
    let mut found: Vec<Network> = vec![];
    for ((address, prefix_len), members) in &subnets {
        let name = format!("{address}/{prefix_len}");
        let nics = nics_of(members);
        // IPv4 comes first in the map: a second family between the same NICs is the same network to a cluster.
        let same = |one: &&mut Network| address.is_ipv6() && is_v4(one) && nics_of_network(one) == nics;
        if let Some(one) = found.iter_mut().find(same) {
            one.also.push(name);
            if let Some(more) = iscsi(members) {
                one.iscsi.get_or_insert_with(Vec::new).extend(more);
            }
            continue;
        }
        found.push(network(name, members));
    }
    metrics_2008r2(&mut found);
    order(&mut found);
    found
}

fn network(subnet: String, members: &[Member<'_>]) -> Network {
    let (role, role_reason) = role(members);
    let (metric, metric_lacks) = metric(role, members);
    let nics = members.iter().map(|member| NetworkNic {
        node: member.node,
        nic: member.nic.name.clone(),
        address: member.address,
        parent: parent(member.host, member.nic),
    });
    Network {
        subnet,
        role,
        role_reason,
        nics: nics.collect(),
        iscsi: iscsi(members),
        up: both(members, is_up),
        metric,
        metric_lacks,
        ..Network::default()
    }
}

/// The subnet of an address that hosts can share: none of a loopback, or of one link or host alone.
fn subnet(address: &NicAddress) -> Option<(IpAddr, u8)> {
    let length = address.prefix_len;
    match address.address {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() || !(1..32).contains(&length) => None,
        IpAddr::V4(ip) => {
            let mask = u32::MAX << (32 - u32::from(length));
            Some((Ipv4Addr::from_bits(ip.to_bits() & mask).into(), length))
        }
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => None,
        IpAddr::V6(_) if !(1..128).contains(&length) => None,
        IpAddr::V6(ip) => {
            let mask = u128::MAX << (128 - u32::from(length));
            Some((Ipv6Addr::from_bits(ip.to_bits() & mask).into(), length))
        }
    }
}

/// iSCSI at the addresses of both hosts; unknown where none was seen and one of them does not tell.
fn iscsi(members: &[Member<'_>]) -> Option<Vec<NetworkIscsi>> {
    let mut seen = vec![];
    for member in members {
        let ends = member.host.iscsi.iter().flatten().filter(|end| end.address == member.address);
        seen.extend(ends.map(|end| NetworkIscsi {
            node: member.node,
            address: end.address,
            other: end.other,
        }));
    }
    let told = members.iter().all(|member| member.host.iscsi.is_some());
    (told || !seen.is_empty()).then_some(seen)
}

/// The NIC at the bottom of one that is a part of another.
fn parent(host: &Environment, nic: &Nic) -> Option<String> {
    let mut bottom = below(host, nic)?;
    // A host that tells of a circle is not followed for ever.
    for _ in 0..PARENTS_MAX {
        let next = host.nics.iter().find(|one| one.name == bottom).and_then(|one| below(host, one));
        let Some(next) = next else { break };
        bottom = next;
    }
    Some(bottom.to_owned())
}

/// The NIC that one is a part of; a bridge whose members are VLANs of one NIC alone leads out by that.
fn below<'a>(host: &'a Environment, nic: &'a Nic) -> Option<&'a str> {
    let members = host.nics.iter().filter(|one| one.master.as_ref() == Some(&nic.name));
    let mut parents = members.filter_map(|one| one.parent.as_deref());
    nic.parent.as_deref().or_else(|| {
        let first = parents.next()?;
        parents.all(|other| other == first).then_some(first)
    })
}

fn nics_of(members: &[Member<'_>]) -> BTreeSet<(NodeId, String)> {
    members.iter().map(|member| (member.node, member.nic.name.clone())).collect()
}

fn nics_of_network(network: &Network) -> BTreeSet<(NodeId, String)> {
    network.nics.iter().map(|nic| (nic.node, nic.nic.clone())).collect()
}

fn is_v4(network: &Network) -> bool {
    network.nics.iter().all(|nic| nic.address.is_ipv4())
}

/// Whether something holds of a NIC of each host; unknown unless it is certain either way.
fn both(members: &[Member<'_>], holds: fn(&Member<'_>) -> Option<bool>) -> Option<bool> {
    let of = |node: NodeId| {
        let answers = members.iter().filter(|member| member.node == node).map(holds);
        let answers: Vec<Option<bool>> = answers.collect();
        if answers.contains(&Some(true)) {
            Some(true)
        } else if answers.contains(&None) {
            None
        } else {
            Some(false)
        }
    };
    match (of(NodeId::CLIENT), of(NodeId::SERVER)) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Whose a NIC is, for people.
fn whose(node: NodeId) -> &'static str {
    if node == NodeId::CLIENT { "this host" } else { "the other host" }
}

fn is_up(member: &Member<'_>) -> Option<bool> {
    match (member.nic.up, member.nic.carrier) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (up, _) => up,
    }
}

fn has_rdma(member: &Member<'_>) -> Option<bool> {
    let known = member.host.knows_its_rdma();
    if member.nic.rdma_device.is_some() { Some(true) } else { known.then_some(false) }
}

fn has_rss(member: &Member<'_>) -> Option<bool> {
    member.nic.receive_queues.map(|queues| queues > 1)
}

fn role(members: &[Member<'_>]) -> (NetworkRole, String) {
    let leads_out = |node: NodeId| {
        let own = members.iter().filter(move |member| member.node == node);
        own.clone().find(|member| member.nic.default_route == Some(true)).map(|member| &member.nic.name)
    };
    match (leads_out(NodeId::CLIENT), leads_out(NodeId::SERVER)) {
        (Some(own), Some(_)) => {
            (NetworkRole::Public, format!("the default routes of both hosts lead through it (here by {own})"))
        }
        (Some(own), None) => {
            (NetworkRole::Public, format!("this host's default route leads through it, by {own}"))
        }
        (None, Some(other)) => {
            (NetworkRole::Public, format!("the other host's default route leads through it, by {other}"))
        }
        (None, None) if members.iter().any(|member| member.nic.default_route.is_none()) => {
            (NetworkRole::Unknown, "a host does not tell where its default route leads".into())
        }
        (None, None) if iscsi(members).is_some_and(|seen| !seen.is_empty()) => {
            (NetworkRole::Storage, "no default route leads through it, and iSCSI goes over it".into())
        }
        (None, None) if both(members, has_rdma) == Some(true) => {
            (NetworkRole::Storage, "no default route leads through it, and NICs of both hosts do RDMA".into())
        }
        (None, None) => (NetworkRole::Private, "no default route leads through it".into()),
    }
}

/// The automatic metric, and what is not known of the NICs that would have lowered it.
fn metric(role: NetworkRole, members: &[Member<'_>]) -> (Option<u32>, Vec<String>) {
    let start = match role {
        NetworkRole::Public => PUBLIC,
        NetworkRole::Private | NetworkRole::Storage => PRIVATE,
        _ => return (None, vec![]),
    };
    let mut lacks = vec![];
    let mut less = |name: &str, known: Option<bool>, by: u32| {
        if known.is_none() {
            lacks.push(name.to_owned());
        }
        if known == Some(true) { by } else { 0 }
    };
    let mut metric = start - less("rdma", both(members, has_rdma), RDMA);
    metric -= less("rss", both(members, has_rss), RSS);
    // The slower end decides what the network carries.
    let speeds: Option<Vec<u64>> = members.iter().map(|member| member.nic.speed_bits_per_s).collect();
    match speeds.and_then(|speeds| speeds.into_iter().min()) {
        Some(speed) => metric -= (speed / 1_000_000_000).saturating_mul(PER_GBIT_S).min(SPEED_MAX) as u32,
        None => lacks.push("speed".into()),
    }
    (Some(metric), lacks)
}

/// Numbers them as they come, a hundred apart, private and public each from its own start.
fn metrics_2008r2(networks: &mut [Network]) {
    let (mut private, mut public) = (1_000, 10_000);
    for network in networks {
        let next = match network.role {
            NetworkRole::Public => &mut public,
            NetworkRole::Private | NetworkRole::Storage => &mut private,
            _ => continue,
        };
        network.metric_2008r2 = Some(*next);
        *next += 100;
    }
}

/// Sorts by the metric (the subnet decides between equals) and gives the places.
fn order(networks: &mut [Network]) {
    networks.sort_by_key(|network| (network.up == Some(false), network.metric.unwrap_or(u32::MAX)));
    let usable: Vec<usize> = (0..networks.len())
        .filter(|at| networks[*at].up != Some(false) && networks[*at].metric.is_some())
        .collect();
    let csv = usable.clone();
    let mut migration = usable;
    if migration.len() > 1 {
        migration.rotate_left(1);
    }
    let names: Vec<String> = networks.iter().map(|network| network.subnet.clone()).collect();
    // The first of an order that is not the lost one.
    let next =
        |order: &[usize], lost: usize| order.iter().find(|at| **at != lost).map(|at| names[*at].clone());
    for (at, network) in networks.iter_mut().enumerate() {
        let place = |order: &[usize]| {
            let place = order.iter().position(|one| *one == at)?;
            u32::try_from(place + 1).ok()
        };
        network.order_csv = place(&csv);
        network.order_migration = place(&migration);
        network.if_lost = IfLost { csv: next(&csv, at), migration: next(&migration, at) };
    }
}
