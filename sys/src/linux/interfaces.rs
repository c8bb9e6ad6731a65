//! Interfaces over rtnetlink, never from `/sys/class/net`, which inside a network namespace may show those of another one.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};

use super::netlink;
use crate::interfaces::{Counters, Interface};

/// All interfaces of this network namespace.
pub fn list() -> io::Result<Vec<Interface>> {
    let mut all: Vec<Interface> = links()?.iter().map(from_link).collect();
    let answers = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for answer in answers {
        let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
        // On point-to-point links `Address` is the far end and `Local` the near one.
        let find =
            |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
        let local = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
        let address = find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
        let interface = all.iter_mut().find(|one| one.index == message.header.index);
        if let (Some(address), Some(interface)) = (local.or(address), interface) {
            let list = if is_taken(&message) && address.is_ipv6() {
                &mut interface.taken_addresses
            } else {
                &mut interface.addresses
            };
            list.push((address, message.header.prefix_len));
        }
    }
    Ok(all)
}

/// Whether duplicate address detection found another device with the address (`dadfailed`). The kernel keeps it and neither answers for it nor
/// sends from it.
fn is_taken(message: &AddressMessage) -> bool {
    let told = message
        .attributes
        .iter()
        .find_map(|a| if let AddressAttribute::Flags(flags) = a { Some(*flags) } else { None });
    told.is_some_and(|flags| flags.contains(AddressFlags::Dadfailed))
        || message.header.flags.contains(AddressHeaderFlags::Dadfailed)
}

/// The names of all interfaces by number.
pub fn names() -> io::Result<BTreeMap<u32, String>> {
    Ok(links()?.iter().map(|link| (link.header.index, name(link))).collect())
}

/// The name of the interface with this number.
pub fn name_of(index: u32) -> Option<String> {
    links().ok()?.iter().find(|link| link.header.index == index).map(name)
}

/// The NUMA node of the adapter at a bus address. Those belong to no network namespace, so sysfs can be trusted with this one.
pub fn numa_node(bus: &str) -> Option<u32> {
    let node = std::fs::read_to_string(format!("/sys/bus/pci/devices/{bus}/numa_node")).ok();
    // -1 is "no node known".
    node.and_then(|text| text.trim().parse().ok())
}

/// Whether the adapter at a bus address is a virtual function of another one, how many it has lent out and how many it could; `None` for one
/// that knows nothing of that.
pub fn virtual_functions(bus: &str) -> Option<(bool, Option<u32>, Option<u32>)> {
    functions_in(Path::new("/sys/bus/pci/devices").join(bus).as_path())
}

fn functions_in(device: &Path) -> Option<(bool, Option<u32>, Option<u32>)> {
    let number = |name: &str| std::fs::read_to_string(device.join(name)).ok()?.trim().parse().ok();
    let is_virtual = device.join("physfn").exists();
    let (lent, most) = (number("sriov_numvfs"), number("sriov_totalvfs"));
    (is_virtual || most.is_some_and(|most: u32| most > 0)).then_some((is_virtual, lent, most))
}

/// An IPv4 setting as it holds for one interface, in the namespace of this process: the larger of its own and that of `all`; or why it cannot
/// be read. Only for those that the kernel takes so (`IN_DEV_MAXCONF` in linux/inetdevice.h): `rp_filter`, `arp_ignore`, `arp_announce`. Of
/// others either one or both together switch something on.
pub fn setting(interface: &str, name: &str) -> Result<u32, String> {
    larger_in(Path::new("/proc/sys/net/ipv4/conf"), interface, name)
}

fn larger_in(folder: &Path, interface: &str, name: &str) -> Result<u32, String> {
    // Half of it says nothing.
    Ok(number_in(&folder.join(interface).join(name))?.max(number_in(&folder.join("all").join(name))?))
}

/// The MTU that IPv6 keeps to on one interface, in the namespace of this process; or why it cannot be read.
pub fn ipv6_mtu_bytes(interface: &str) -> Result<u32, String> {
    number_in(&Path::new("/proc/sys/net/ipv6/conf").join(interface).join("mtu"))
}

/// The reason leaves out which interface it was, so that it is the same for all settings that are missing.
fn number_in(path: &Path) -> Result<u32, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.trim().parse().map_err(|_| "no number".into())
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

fn from_link(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        name: name(link),
        index: link.header.index,
        kind: match link.header.link_layer_type {
            LinkLayerType::Loopback => Some("loopback".into()),
            LinkLayerType::Ether => Some("ethernet".into()),
            LinkLayerType::Infiniband => Some("infiniband".into()),
            _ => None,
        },
        is_up: link.header.flags.contains(LinkFlags::Up),
        ..Interface::default()
    };
    let elsewhere = link.attributes.iter().any(|a| matches!(a, LinkAttribute::LinkNetNsId(_)));
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(bytes) => interface.ip_mtu_bytes = Some(*bytes),
            // Zero is how a driver says that it knows no limit.
            LinkAttribute::MaxMtu(bytes) if *bytes > 0 => interface.ip_mtu_max_bytes = Some(*bytes),
            // Carrier of an interface that is down is not known.
            LinkAttribute::Carrier(carrier) if interface.is_up => interface.carrier = Some(*carrier != 0),
            LinkAttribute::Address(mac) if mac.iter().any(|byte| *byte != 0) => {
                let octets: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                interface.mac = Some(octets.join(":"));
            }
            LinkAttribute::NumRxQueues(count) => interface.receive_queues = Some(*count),
            LinkAttribute::NumTxQueues(count) => interface.transmit_queues = Some(*count),
            LinkAttribute::Controller(index) => interface.master = Some(*index),
            LinkAttribute::Link(index) if !elsewhere => interface.lower = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                if let Some(kind) = infos.iter().find_map(kind) {
                    interface.kind = Some(kind);
                }
            }
            other => count(&mut interface.counters, other),
        }
    }
    interface
}

fn count(counters: &mut Counters, attribute: &LinkAttribute) {
    match attribute {
        LinkAttribute::CarrierChanges(changes) => counters.carrier_changes = Some(u64::from(*changes)),
        LinkAttribute::Stats64(stats) => {
            counters.sent_bytes = Some(stats.tx_bytes);
            counters.received_bytes = Some(stats.rx_bytes);
            counters.sent_packets = Some(stats.tx_packets);
            counters.received_packets = Some(stats.rx_packets);
            counters.send_errors = Some(stats.tx_errors);
            counters.receive_errors = Some(stats.rx_errors);
            counters.receive_crc_errors = Some(stats.rx_crc_errors);
            counters.send_drops = Some(stats.tx_dropped);
            counters.receive_drops = Some(stats.rx_dropped);
            counters.receive_missed = Some(stats.rx_missed_errors);
            counters.receive_overruns = stats.rx_over_errors.checked_add(stats.rx_fifo_errors);
            counters.collisions = stats.collisions.checked_add(stats.tx_window_errors);
            counters.send_carrier_errors = Some(stats.tx_carrier_errors);
        }
        _ => {}
    }
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Ipoib) => Some("infiniband".into()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_tells_its_virtual_functions_and_one_of_them_what_it_is() {
        let folder = std::env::temp_dir().join(format!("pathproof-functions-{}", std::process::id()));
        let device = |name: &str, files: &[(&str, &str)]| {
            let device = folder.join(name);
            std::fs::create_dir_all(&device).unwrap();
            files.iter().for_each(|(file, text)| std::fs::write(device.join(file), text).unwrap());
            functions_in(&device)
        };
        assert_eq!(device("plain", &[("vendor", "0x8086")]), None);
        assert_eq!(device("none", &[("sriov_totalvfs", "0\n"), ("sriov_numvfs", "0\n")]), None);
        let lends = device("lends", &[("sriov_totalvfs", "64\n"), ("sriov_numvfs", "4\n")]);
        assert_eq!(lends, Some((false, Some(4), Some(64))));
        assert_eq!(device("lent", &[("physfn", "")]), Some((true, None, None)));
        assert_eq!(functions_in(&folder.join("gone")), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_address_that_another_device_had_is_taken_whichever_word_of_the_kernel_says_so() {
        assert!(!is_taken(&AddressMessage::default()));
        let tentative = AddressFlags::Tentative | AddressFlags::Permanent;
        let told = |flags: AddressFlags| {
            let mut message = AddressMessage::default();
            message.attributes.push(AddressAttribute::Flags(flags));
            is_taken(&message)
        };
        assert!(told(tentative | AddressFlags::Dadfailed) && !told(tentative));
        let mut message = AddressMessage::default();
        message.header.flags = AddressHeaderFlags::Dadfailed;
        assert!(is_taken(&message));
    }

    #[test]
    fn the_larger_of_what_a_nic_and_all_are_set_to_holds() {
        let folder = std::env::temp_dir().join(format!("pathproof-settings-{}", std::process::id()));
        for (of, value) in [("all", "1\n"), ("e0", "0\n"), ("e1", "2\n")] {
            std::fs::create_dir_all(folder.join(of)).unwrap();
            std::fs::write(folder.join(of).join("rp_filter"), value).unwrap();
        }
        let holds = |nic: &str, name: &str| larger_in(&folder, nic, name);
        assert_eq!((holds("e0", "rp_filter"), holds("e1", "rp_filter")), (Ok(1), Ok(2)));
        let gone = "No such file";
        assert!(holds("gone", "rp_filter").unwrap_err().contains(gone));
        assert!(holds("e0", "arp_ignore").unwrap_err().contains(gone));
        std::fs::write(folder.join("e1/rp_filter"), "strict\n").unwrap();
        assert_eq!(holds("e1", "rp_filter"), Err("no number".into()));
        std::fs::remove_file(folder.join("all/rp_filter")).unwrap();
        assert!(holds("e0", "rp_filter").is_err(), "what holds for all is not known");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
