//! Which NIC and which source address the kernel would use for a peer.

use std::net::IpAddr;

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink;

/// The NIC by name and the source address for packets to `peer`; `None` when there is no route.
pub fn nic_for_route(peer: IpAddr) -> Option<(String, IpAddr)> {
    let mut question = RouteMessage::default();
    (question.header.address_family, question.header.destination_prefix_length) = match peer {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    question.attributes.push(RouteAttribute::Destination(RouteAddress::from(peer)));
    let answer = netlink::one(RouteNetlinkMessage::GetRoute(question)).ok()??;
    let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
    let mut index = None;
    let mut source = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::PrefSource(RouteAddress::Inet(a)) => source = Some(IpAddr::V4(*a)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(a)) => source = Some(IpAddr::V6(*a)),
            _ => {}
        }
    }
    let index = index?;
    Some((super::nics::name_of(index)?, source?))
}

/// Every subnet that the main table sends through a router: interface index, address and prefix length.
pub fn routes() -> Vec<(u32, IpAddr, u8)> {
    [AddressFamily::Inet, AddressFamily::Inet6].into_iter().flat_map(routes_of).collect()
}

fn routes_of(family: AddressFamily) -> Vec<(u32, IpAddr, u8)> {
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    let answers = netlink::dump(RouteNetlinkMessage::GetRoute(question)).unwrap_or_default();
    answers.iter().filter_map(|answer| via_router(answer, family)).collect()
}

fn via_router(answer: &RouteNetlinkMessage, family: AddressFamily) -> Option<(u32, IpAddr, u8)> {
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
    (routed && route.header.kind == RouteType::Unicast).then_some((
        index?,
        destination,
        route.header.destination_prefix_length,
    ))
}
