//! Which NIC and which source address the kernel would use for a peer.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType,
};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::interfaces::name_of;
use super::netlink;
use crate::routes::{ConfiguredMtu, Refusal, Route, RoutedSubnet, Taken};

/// How packets reach `peer`; `None` when there is no route, or a rule refuses them. Anything else that the kernel cannot answer is an error.
pub fn to(peer: IpAddr) -> io::Result<Option<Route>> {
    let mut question = RouteMessage::default();
    (question.header.address_family, question.header.destination_prefix_length) = match peer {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    question.attributes.push(RouteAttribute::Destination(RouteAddress::from(peer)));
    let answer = match netlink::one(RouteNetlinkMessage::GetRoute(question)) {
        Err(error) if refused(&error).is_some() || is_foreign(&error) => return Ok(None),
        answer => answer?,
    };
    let Some(RouteNetlinkMessage::NewRoute(route)) = answer else { return Ok(None) };
    let mut index = None;
    let mut source = None;
    let (mut router, mut ip_mtu_bytes) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::PrefSource(RouteAddress::Inet(a)) => source = Some(IpAddr::V4(*a)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(a)) => source = Some(IpAddr::V6(*a)),
            RouteAttribute::Gateway(RouteAddress::Inet(a)) => router = Some(IpAddr::V4(*a)),
            RouteAttribute::Gateway(RouteAddress::Inet6(a)) => router = Some(IpAddr::V6(*a)),
            RouteAttribute::Metrics(metrics) => {
                ip_mtu_bytes = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(bytes) => Some(*bytes),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let (interface, source) = (index.and_then(name_of), source);
    Ok(interface.zip(source).map(|(interface, source)| Route { interface, source, router, ip_mtu_bytes }))
}

/// Whether the kernel does not speak the family of the address at all: then nothing leads there.
fn is_foreign(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
}

/// What an error says of the way that was asked for, where it says anything of that.
fn refused(error: &io::Error) -> Option<Refusal> {
    match error.raw_os_error()? {
        libc::EACCES => Some(Refusal::Prohibit),
        libc::EHOSTUNREACH => Some(Refusal::Unreachable),
        libc::EINVAL => Some(Refusal::Blackhole),
        libc::ENETUNREACH => Some(Refusal::NoRoute),
        _ => None,
    }
}

/// By which interface, by its number, the kernel sends from its own address `source` to `peer`, or why nothing goes there; `None` where its rules
/// and routes say neither. A strict reverse path filter asks the same of what comes from `peer` to `source` (__fib_validate_source). Of a socket
/// that is bound to an interface this tells nothing: where the rules refuse, the kernel takes the peer for a neighbour on that interface
/// (ip_route_output_key_hash_rcu).
pub fn from(source: IpAddr, peer: IpAddr) -> Option<Result<u32, Refusal>> {
    let mut question = RouteMessage::default();
    let (family, bits) = match (source, peer) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (AddressFamily::Inet, 32),
        (IpAddr::V6(_), IpAddr::V6(_)) => (AddressFamily::Inet6, 128),
        _ => return None,
    };
    question.header.address_family = family;
    (question.header.source_prefix_length, question.header.destination_prefix_length) = (bits, bits);
    question.attributes.push(RouteAttribute::Source(RouteAddress::from(source)));
    question.attributes.push(RouteAttribute::Destination(RouteAddress::from(peer)));
    match netlink::one(RouteNetlinkMessage::GetRoute(question)) {
        Ok(Some(RouteNetlinkMessage::NewRoute(route))) => {
            let out = route.attributes.iter().find_map(|one| match one {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            out.map(Ok)
        }
        Ok(_) => None,
        Err(error) => refused(&error).map(Err),
    }
}

/// The MTU that the route to `peer` out of `interface` is configured with, if it is: TCP sends no larger packets over it, whatever
/// the interface and the path carry. What the kernel has learnt of the path is no part of it.
pub fn configured_mtu(peer: IpAddr, interface: &str) -> Option<ConfiguredMtu> {
    let mut question = RouteMessage::default();
    (question.header.address_family, question.header.destination_prefix_length) = match peer {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    // The route as it stands in the table, rather than what came of it.
    question.header.flags = RouteFlags::FibMatch;
    question.attributes.push(RouteAttribute::Destination(RouteAddress::from(peer)));
    let answer = netlink::one(RouteNetlinkMessage::GetRoute(question)).ok()??;
    let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
    let (mut destination, mut out, mut mtu, mut locked) = (None, None, None, false);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => out = name_of(*index),
            RouteAttribute::Destination(RouteAddress::Inet(a)) => destination = Some(IpAddr::V4(*a)),
            RouteAttribute::Destination(RouteAddress::Inet6(a)) => destination = Some(IpAddr::V6(*a)),
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    match metric {
                        RouteMetric::Mtu(bytes) => mtu = Some(*bytes),
                        RouteMetric::Lock(which) => locked = which & (1 << RTAX_MTU) != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let destination = destination
        .map_or("default".into(), |address| format!("{address}/{}", route.header.destination_prefix_length));
    let ip_mtu_bytes = mtu.filter(|_| out.as_deref() == Some(interface))?;
    Some(ConfiguredMtu { destination, ip_mtu_bytes, locked })
}

/// Number of the MTU among a route's metrics (linux/rtnetlink.h).
const RTAX_MTU: u32 = 2;

/// Which routing tables and priorities of rules of IPv4 are taken. A table is in use where a route lies in it or a rule names it: a rule may wait
/// for routes that a program adds later.
pub fn taken() -> io::Result<Taken> {
    let (mut tables, mut priorities) = (BTreeSet::new(), BTreeSet::new());
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    for answer in netlink::dump(RouteNetlinkMessage::GetRoute(question))? {
        let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
        // The header has room for numbers below 256 alone.
        let table = route.attributes.iter().find_map(|one| match one {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
        tables.insert(table.unwrap_or(u32::from(route.header.table)));
    }
    let mut question = RuleMessage::default();
    question.header.family = AddressFamily::Inet;
    for answer in netlink::dump(RouteNetlinkMessage::GetRule(question))? {
        let RouteNetlinkMessage::NewRule(rule) = answer else { continue };
        let (mut table, mut priority) = (u32::from(rule.header.table), 0);
        for attribute in &rule.attributes {
            match attribute {
                RuleAttribute::Table(number) => table = *number,
                RuleAttribute::Priority(number) => priority = *number,
                _ => {}
            }
        }
        tables.insert(table);
        priorities.insert(priority);
    }
    // A rule that refuses or leads to another rule names none.
    tables.remove(&0);
    Ok(Taken { tables: tables.into_iter().collect(), priorities: priorities.into_iter().collect() })
}

/// Every subnet that the main table sends through a router.
pub fn via_routers() -> Vec<RoutedSubnet> {
    [AddressFamily::Inet, AddressFamily::Inet6].into_iter().flat_map(routes_of).collect()
}

/// Numbers of the interfaces that a default route leaves by, through a router, in the main table.
pub fn with_default() -> io::Result<Vec<u32>> {
    let mut found = vec![];
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let answers = netlink::dump(RouteNetlinkMessage::GetRoute(question))?;
        let routed = answers.iter().filter_map(|answer| via_router(answer, family));
        found.extend(routed.filter(|subnet| subnet.prefix_len == 0).map(|subnet| subnet.interface));
    }
    Ok(found)
}

fn routes_of(family: AddressFamily) -> Vec<RoutedSubnet> {
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    let answers = netlink::dump(RouteNetlinkMessage::GetRoute(question)).unwrap_or_default();
    answers.iter().filter_map(|answer| via_router(answer, family)).collect()
}

fn via_router(answer: &RouteNetlinkMessage, family: AddressFamily) -> Option<RoutedSubnet> {
    let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
    let mut index = None;
    let mut destination = match family {
        AddressFamily::Inet => IpAddr::from([0u8; 4]),
        _ => IpAddr::from([0u8; 16]),
    };
    let mut routed = false;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => routed = true,
            RouteAttribute::Destination(RouteAddress::Inet(a)) => destination = IpAddr::V4(*a),
            RouteAttribute::Destination(RouteAddress::Inet6(a)) => destination = IpAddr::V6(*a),
            _ => {}
        }
    }
    let prefix_len = route.header.destination_prefix_length;
    let subnet = RoutedSubnet { interface: index?, address: destination, prefix_len };
    (routed && route.header.kind == RouteType::Unicast).then_some(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_and_rules_that_every_host_has_are_taken() {
        let taken = taken().expect("the kernel tells");
        // The main table, and the rule that leads to it (linux/rtnetlink.h, fib_default_rules_init).
        assert!(taken.tables.contains(&254) && taken.priorities.contains(&32766), "{taken:?}");
        assert!(!taken.tables.contains(&0), "{taken:?}");
    }
}
