//! Which NIC and which source address the kernel would use for a peer.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use super::interfaces::name_of;
use super::netlink::{self, Attribute, FAMILY, Message, octets, route};
use crate::routes::{ConfiguredMtu, Refusal, Route, RoutedSubnet, Taken};

/// How packets reach `peer`; `None` when there is no route, or a rule refuses them. Anything else that the kernel cannot answer is an error.
pub fn to(peer: IpAddr) -> io::Result<Option<Route>> {
    let answer = match netlink::one(about(peer)) {
        Err(error) if refused(&error).is_some() || is_foreign(&error) => return Ok(None),
        answer => answer?,
    };
    let Some(found) = answer.filter(|answer| answer.kind == libc::RTM_NEWROUTE) else { return Ok(None) };
    let address = |kind| found.attribute(kind).and_then(Attribute::address);
    let (router, source) = (address(libc::RTA_GATEWAY), address(libc::RTA_PREFSRC));
    let ip_mtu_bytes = metric(&found, RTAX_MTU);
    let interface = out(&found).and_then(name_of);
    Ok(interface.zip(source).map(|(interface, source)| Route { interface, source, router, ip_mtu_bytes }))
}

/// The family of an address, and how many bits it has.
fn family(address: IpAddr) -> (u8, u8) {
    match address {
        IpAddr::V4(_) => (libc::AF_INET as u8, 32),
        IpAddr::V6(_) => (libc::AF_INET6 as u8, 128),
    }
}

/// The question how packets reach `peer`.
fn about(peer: IpAddr) -> Message {
    let (family, bits) = family(peer);
    let question = Message::of(libc::RTM_GETROUTE).set(FAMILY, &[family]);
    question.set(route::DESTINATION_BITS, &[bits]).with(libc::RTA_DST, &octets(peer))
}

/// The number of the interface that a route leaves by.
fn out(found: &Message) -> Option<u32> {
    found.attribute(libc::RTA_OIF).and_then(Attribute::number)
}

/// Whether the MTU of a route may not be lowered by what the kernel learns, and the MTU itself, among its metrics (linux/rtnetlink.h).
const RTAX_LOCK: u16 = 1;
const RTAX_MTU: u16 = 2;

fn metric(found: &Message, which: u16) -> Option<u32> {
    let mut metrics = found.attribute(libc::RTA_METRICS)?.nested();
    metrics.find(|one| one.kind == which).and_then(Attribute::number)
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
    let ((own, bits), (theirs, _)) = (family(source), family(peer));
    if own != theirs {
        return None;
    }
    let question = about(peer).set(route::SOURCE_BITS, &[bits]).with(libc::RTA_SRC, &octets(source));
    match netlink::one(question) {
        Ok(answer) => {
            answer.filter(|answer| answer.kind == libc::RTM_NEWROUTE).and_then(|found| out(&found)).map(Ok)
        }
        Err(error) => refused(&error).map(Err),
    }
}

/// The MTU that the route to `peer` out of `interface` is configured with, if it is: TCP sends no larger packets over it, whatever
/// the interface and the path carry. What the kernel has learnt of the path is no part of it.
pub fn configured_mtu(peer: IpAddr, interface: &str) -> Option<ConfiguredMtu> {
    // The route as it stands in the table, rather than what came of it.
    let question = about(peer).set(route::FLAGS, &libc::RTM_F_FIB_MATCH.to_ne_bytes());
    let found = netlink::one(question).ok()?.filter(|answer| answer.kind == libc::RTM_NEWROUTE)?;
    let locked = metric(&found, RTAX_LOCK).is_some_and(|which| which & (1u32 << RTAX_MTU) != 0);
    let bits = found.u8_at(route::DESTINATION_BITS);
    let destination = found.attribute(libc::RTA_DST).and_then(Attribute::address);
    let destination = destination.map_or("default".into(), |address| format!("{address}/{bits}"));
    let leaves_there = out(&found).and_then(name_of).as_deref() == Some(interface);
    let ip_mtu_bytes = metric(&found, RTAX_MTU).filter(|_| leaves_there)?;
    Some(ConfiguredMtu { destination, ip_mtu_bytes, locked })
}

/// Which routing tables and priorities of rules of IPv4 are taken. A table is in use where a route lies in it or a rule names it: a rule may wait
/// for routes that a program adds later.
pub fn taken() -> io::Result<Taken> {
    let (mut tables, mut priorities) = (BTreeSet::new(), BTreeSet::new());
    let number = |of: &Message, kind| of.attribute(kind).and_then(Attribute::number);
    // The structure of either has room for numbers below 256 alone.
    let table = |of: &Message, kind| number(of, kind).unwrap_or(u32::from(of.u8_at(route::TABLE)));
    for answer in of_family(libc::RTM_GETROUTE, libc::AF_INET as u8)? {
        if answer.kind == libc::RTM_NEWROUTE {
            tables.insert(table(&answer, libc::RTA_TABLE));
        }
    }
    for answer in of_family(libc::RTM_GETRULE, libc::AF_INET as u8)? {
        if answer.kind == libc::RTM_NEWRULE {
            tables.insert(table(&answer, FRA_TABLE));
            priorities.insert(number(&answer, FRA_PRIORITY).unwrap_or(0));
        }
    }
    // A rule that refuses or leads to another rule names none.
    tables.remove(&0);
    Ok(Taken { tables: tables.into_iter().collect(), priorities: priorities.into_iter().collect() })
}

/// The priority of a rule, and the table that it leads to (linux/fib_rules.h).
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;

/// All routes or rules of a family.
fn of_family(question: u16, family: u8) -> io::Result<Vec<Message>> {
    netlink::dump(Message::of(question).set(FAMILY, &[family]))
}

const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];

/// Every subnet that the main table sends through a router.
pub fn via_routers() -> Vec<RoutedSubnet> {
    let answers =
        FAMILIES.into_iter().flat_map(|family| of_family(libc::RTM_GETROUTE, family).unwrap_or_default());
    answers.filter_map(|answer| via_router(&answer)).collect()
}

/// Numbers of the interfaces that a default route leaves by, through a router, in the main table.
pub fn with_default() -> io::Result<Vec<u32>> {
    let mut found = vec![];
    for family in FAMILIES {
        let answers = of_family(libc::RTM_GETROUTE, family)?;
        let routed = answers.iter().filter_map(via_router);
        found.extend(routed.filter(|subnet| subnet.prefix_len == 0).map(|subnet| subnet.interface));
    }
    Ok(found)
}

fn via_router(found: &Message) -> Option<RoutedSubnet> {
    let routed = [libc::RTA_GATEWAY, libc::RTA_VIA].into_iter().any(|kind| found.attribute(kind).is_some());
    let is_one = found.kind == libc::RTM_NEWROUTE && found.u8_at(route::TYPE) == libc::RTN_UNICAST;
    let everything = match libc::c_int::from(found.u8_at(FAMILY)) {
        libc::AF_INET => IpAddr::from([0u8; 4]),
        _ => IpAddr::from([0u8; 16]),
    };
    let address = found.attribute(libc::RTA_DST).and_then(Attribute::address).unwrap_or(everything);
    let prefix_len = found.u8_at(route::DESTINATION_BITS);
    let subnet = RoutedSubnet { interface: out(found)?, address, prefix_len };
    (routed && is_one).then_some(subnet)
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

    #[test]
    fn a_subnet_behind_a_router_is_told_from_one_of_ones_own() {
        let own = Message::of(libc::RTM_NEWROUTE)
            .set(FAMILY, &[libc::AF_INET as u8])
            .set(route::TYPE, &[libc::RTN_UNICAST])
            .set(route::DESTINATION_BITS, &[24])
            .with(libc::RTA_DST, &[192, 0, 2, 0])
            .with(libc::RTA_OIF, &3u32.to_ne_bytes());
        assert!(via_router(&own).is_none());
        let routed = via_router(&own.clone().with(libc::RTA_GATEWAY, &[10, 0, 0, 1])).unwrap();
        assert_eq!((routed.interface, routed.address, routed.prefix_len), (3, [192, 0, 2, 0].into(), 24));
        let over_six = own.clone().with(libc::RTA_VIA, &[10, 0, 0xfe, 0x80, 0, 0, 0, 0]);
        assert!(via_router(&over_six).is_some(), "a router of the other family");
        let default = own.without(libc::RTA_DST).set(route::DESTINATION_BITS, &[0]);
        let default = via_router(&default.with(libc::RTA_GATEWAY, &[10, 0, 0, 1])).unwrap();
        assert_eq!((default.address, default.prefix_len), ([0, 0, 0, 0].into(), 0));
        let refused = own.clone().set(route::TYPE, &[libc::RTN_UNICAST + 6]);
        assert!(via_router(&refused.with(libc::RTA_GATEWAY, &[10, 0, 0, 1])).is_none());
    }

    #[test]
    fn an_mtu_and_its_lock_stand_among_the_metrics_of_a_route() {
        let metrics =
            Message::of(0).with(RTAX_LOCK, &4u32.to_ne_bytes()).with(RTAX_MTU, &1400u32.to_ne_bytes());
        let found = Message::of(libc::RTM_NEWROUTE).with(libc::RTA_METRICS, metrics.bytes());
        assert_eq!((metric(&found, RTAX_MTU), metric(&found, RTAX_LOCK)), (Some(1400), Some(4)));
        assert_eq!(metric(&Message::of(libc::RTM_NEWROUTE), RTAX_MTU), None);
    }
}
