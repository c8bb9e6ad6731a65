//! Network interfaces: rtnetlink for what the kernel knows, ethtool for what the driver knows.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use pathproof_model::{Nic, NicAddress};
use pathproof_sys::ethtool::{Ethtool, Offload};

use super::netlink;

/// All interfaces of this network namespace. What could not be read of one goes to `unreadable` under
/// `nics.NAME.…`.
pub(super) fn nics(unreadable: &mut BTreeMap<String, String>) -> io::Result<Vec<Nic>> {
    let links = links()?;
    let names: BTreeMap<u32, String> = links.iter().map(|link| (link.header.index, name(link))).collect();
    let mut nics: Vec<Nic> = links.iter().map(|link| from_link(link, &names)).collect();
    add_addresses(&mut nics)?;
    match Ethtool::open() {
        Ok(ethtool) => nics.iter_mut().for_each(|nic| add_driver(nic, &ethtool, unreadable)),
        Err(error) => {
            unreadable.insert("nics.ethtool".into(), error.to_string());
        }
    }
    derive_speeds(&mut nics);
    Ok(nics)
}

/// The names of all interfaces by index.
pub(crate) fn names() -> io::Result<BTreeMap<u32, String>> {
    Ok(links()?.iter().map(|link| (link.header.index, name(link))).collect())
}

/// The name of the interface with this index.
pub(super) fn name_of(index: u32) -> Option<String> {
    links().ok()?.iter().find(|link| link.header.index == index).map(name)
}

fn links() -> io::Result<Vec<LinkMessage>> {
    let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    Ok(links.collect())
}

fn name(link: &LinkMessage) -> String {
    let name = link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_else(|| format!("#{}", link.header.index))
}

fn from_link(link: &LinkMessage, names: &BTreeMap<u32, String>) -> Nic {
    let mut nic = Nic {
        name: name(link),
        index: link.header.index,
        kind: match link.header.link_layer_type {
            LinkLayerType::Loopback => Some("loopback".into()),
            LinkLayerType::Ether => Some("ethernet".into()),
            LinkLayerType::Infiniband => Some("infiniband".into()),
            _ => None,
        },
        up: Some(link.header.flags.contains(LinkFlags::Up)),
        ..Nic::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(bytes) => nic.ip_mtu_bytes = Some(*bytes),
            // Zero is how a driver says that it knows no limit.
            LinkAttribute::MaxMtu(bytes) if *bytes > 0 => nic.ip_mtu_max_bytes = Some(*bytes),
            // Carrier of an interface that is down is not known.
            LinkAttribute::Carrier(carrier) if nic.up == Some(true) => nic.carrier = Some(*carrier != 0),
            LinkAttribute::Address(mac) if mac.iter().any(|byte| *byte != 0) => {
                let octets: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                nic.mac = Some(octets.join(":"));
            }
            LinkAttribute::NumRxQueues(count) => nic.receive_queues = Some(*count),
            LinkAttribute::NumTxQueues(count) => nic.transmit_queues = Some(*count),
            LinkAttribute::Controller(index) => nic.master = names.get(index).cloned(),
            LinkAttribute::LinkInfo(infos) => {
                if let Some(kind) = infos.iter().find_map(kind) {
                    nic.kind = Some(kind);
                }
            }
            _ => {}
        }
    }
    nic
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Ipoib) => Some("infiniband".into()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn add_addresses(nics: &mut [Nic]) -> io::Result<()> {
    let answers = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for answer in answers {
        let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
        // On point-to-point links `Address` is the far end and `Local` the near one.
        let find =
            |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
        let local = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
        let address = find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
        let nic = nics.iter_mut().find(|n| n.index == message.header.index);
        if let (Some(address), Some(nic)) = (local.or(address), nic) {
            nic.addresses.push(NicAddress { address, prefix_len: message.header.prefix_len });
        }
    }
    Ok(())
}

/// Kinds whose driver invents a speed (veth always says 10 Gbit/s), so that it is no fact.
const NO_REAL_SPEED: [&str; 8] =
    ["loopback", "veth", "tun", "dummy", "ifb", "macvtap", "netkit", "wireguard"];

/// Bridges and bonds show what their members claim; of that only members with a real speed count.
fn derive_speeds(nics: &mut [Nic]) {
    let members: Vec<(String, Option<u64>)> =
        nics.iter().filter_map(|n| Some((n.master.clone()?, n.speed_bits_per_s))).collect();
    for nic in nics.iter_mut().filter(|n| n.speed_bits_per_s.is_some()) {
        let mut speeds = members.iter().filter(|(master, _)| *master == nic.name).map(|(_, speed)| *speed);
        nic.speed_bits_per_s = match nic.kind.as_deref() {
            // Taps of virtual machines hang on a bridge beside the NIC that leads out.
            Some("bridge") => speeds.flatten().max(),
            Some("bond" | "team") if speeds.any(|speed| speed.is_none()) => None,
            _ => nic.speed_bits_per_s,
        };
    }
}

fn add_driver(nic: &mut Nic, ethtool: &Ethtool, unreadable: &mut BTreeMap<String, String>) {
    // "Not supported" is the normal answer of software interfaces: there is nothing to know, hence nothing to
    // report as unreadable.
    let mut note = |what: &str, error: io::Error| {
        if !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) {
            unreadable.insert(format!("nics.{}.{what}", nic.name), error.to_string());
        }
    };
    match ethtool.driver(&nic.name) {
        Ok(info) => {
            (nic.driver, nic.driver_version) = (info.driver, info.version);
            (nic.firmware, nic.bus) = (info.firmware, info.bus);
        }
        Err(error) => note("driver", error),
    }
    match ethtool.link(&nic.name) {
        Ok(_) if nic.kind.as_deref().is_some_and(|kind| NO_REAL_SPEED.contains(&kind)) => {}
        Ok(link) => {
            nic.speed_bits_per_s = link.speed_bits_per_s;
            nic.full_duplex = link.full_duplex;
        }
        Err(error) => note("speed", error),
    }
    // Netlink tells how many queues were allocated, the driver how many are in use.
    match ethtool.queues(&nic.name) {
        Ok(queues) if queues.receive > 0 && queues.transmit > 0 => {
            (nic.receive_queues, nic.transmit_queues) = (Some(queues.receive), Some(queues.transmit));
        }
        Ok(_) => {}
        Err(error) => note("queues", error),
    }
    for offload in Offload::ALL {
        match ethtool.offload(&nic.name, offload) {
            Ok(on) => {
                nic.offloads.insert(offload.name().into(), on);
            }
            Err(error) => note(offload.name(), error),
        }
    }
    // Bus addresses belong to no network namespace, so sysfs can be trusted with this one.
    if let Some(bus) = &nic.bus {
        let node = fs::read_to_string(format!("/sys/bus/pci/devices/{bus}/numa_node")).ok();
        // -1 is "no node known".
        nic.numa_node = node.and_then(|text| text.trim().parse().ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_as_fast_as_its_real_members() {
        let nic = |name: &str, kind: &str, master: Option<&str>, speed| Nic {
            name: name.into(),
            kind: Some(kind.into()),
            master: master.map(str::to_owned),
            speed_bits_per_s: speed,
            ..Nic::default()
        };
        let g = 1_000_000_000;
        let mut nics = [
            nic("br0", "bridge", None, Some(10 * g)),
            nic("n0", "ethernet", Some("br0"), Some(25 * g)),
            nic("tap0", "tun", Some("br0"), None),
            nic("br1", "bridge", None, Some(10 * g)),
            nic("v0", "veth", Some("br1"), None),
            nic("bond0", "bond", None, Some(20 * g)),
            nic("v1", "veth", Some("bond0"), None),
        ];
        derive_speeds(&mut nics);
        let speeds: Vec<_> = nics.iter().map(|n| n.speed_bits_per_s.map(|s| s / g)).collect();
        assert_eq!(speeds, [Some(25), Some(25), None, None, None, None, None]);
    }
}
