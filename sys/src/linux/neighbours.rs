//! Neighbours over rtnetlink (`RTM_GETNEIGH`).

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use super::{interfaces, netlink};
use crate::neighbours::Neighbour;

/// All of this network namespace that need a hardware address: the loopback's and point-to-point links' do not.
pub fn list() -> io::Result<Vec<Neighbour>> {
    let names = interfaces::names()?;
    let answers = netlink::dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
    Ok(answers.iter().filter_map(|answer| neighbour(answer, &names)).collect())
}

fn neighbour(answer: &RouteNetlinkMessage, names: &BTreeMap<u32, String>) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = answer else { return None };
    if message.header.state == NeighbourState::Noarp {
        return None;
    }
    let interface = names.get(&message.header.ifindex)?.clone();
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                let octets: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                mac = Some(octets.join(":"));
            }
            _ => {}
        }
    }
    let failed = message.header.state == NeighbourState::Failed;
    Some(Neighbour { address: address?, interface, mac, failed })
}
