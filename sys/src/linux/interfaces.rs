//! Interfaces over rtnetlink, never from `/sys/class/net`, which inside a network namespace may show those of another one.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::netlink::{self, Attribute, Message, address, link};
use crate::interfaces::{Counters, Interface};

/// All interfaces of this network namespace.
pub fn list() -> io::Result<Vec<Interface>> {
    let mut all: Vec<Interface> = links()?.iter().map(from_link).collect();
    for message in netlink::dump(Message::of(libc::RTM_GETADDR))? {
        if message.kind != libc::RTM_NEWADDR {
            continue;
        }
        // On point-to-point links `IFA_ADDRESS` is the far end and `IFA_LOCAL` the near one.
        let find = |kind| message.attribute(kind).and_then(Attribute::address);
        let own = find(libc::IFA_LOCAL).or_else(|| find(libc::IFA_ADDRESS));
        let index = message.u32_at(address::INDEX);
        if let (Some(own), Some(interface)) = (own, all.iter_mut().find(|one| one.index == index)) {
            interface.addresses.push((own, message.u8_at(address::PREFIX_BITS)));
        }
    }
    Ok(all)
}

/// The names of all interfaces by number.
pub fn names() -> io::Result<BTreeMap<u32, String>> {
    Ok(links()?.iter().map(|link| (index(link), name(link))).collect())
}

/// The name of the interface with this number.
pub fn name_of(number: u32) -> Option<String> {
    links().ok()?.iter().find(|link| index(link) == number).map(name)
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

fn links() -> io::Result<Vec<Message>> {
    let answers = netlink::dump(Message::of(libc::RTM_GETLINK))?;
    Ok(answers.into_iter().filter(|answer| answer.kind == libc::RTM_NEWLINK).collect())
}

fn index(link: &Message) -> u32 {
    link.u32_at(link::INDEX)
}

fn name(link: &Message) -> String {
    let name = link.attribute(libc::IFLA_IFNAME).and_then(Attribute::text);
    name.unwrap_or_else(|| format!("#{}", index(link)))
}

fn from_link(link: &Message) -> Interface {
    let mut interface = Interface {
        name: name(link),
        index: index(link),
        kind: match link.u16_at(link::TYPE) {
            libc::ARPHRD_LOOPBACK => Some("loopback".into()),
            libc::ARPHRD_ETHER => Some("ethernet".into()),
            libc::ARPHRD_INFINIBAND => Some("infiniband".into()),
            _ => None,
        },
        is_up: link.u32_at(link::FLAGS) & libc::IFF_UP as u32 != 0,
        ..Interface::default()
    };
    let elsewhere = link.attribute(libc::IFLA_LINK_NETNSID).is_some();
    for attribute in link.attributes() {
        let number = attribute.number();
        match attribute.kind {
            libc::IFLA_MTU => interface.ip_mtu_bytes = number,
            // Zero is how a driver says that it knows no limit.
            libc::IFLA_MAX_MTU => interface.ip_mtu_max_bytes = number.filter(|bytes| *bytes > 0),
            // Carrier of an interface that is down is not known.
            libc::IFLA_CARRIER if interface.is_up => {
                interface.carrier = attribute.value.first().map(|carrier| *carrier != 0);
            }
            libc::IFLA_ADDRESS if attribute.value.iter().any(|byte| *byte != 0) => {
                let octets: Vec<String> = attribute.value.iter().map(|byte| format!("{byte:02x}")).collect();
                interface.mac = Some(octets.join(":"));
            }
            libc::IFLA_NUM_RX_QUEUES => interface.receive_queues = number,
            libc::IFLA_NUM_TX_QUEUES => interface.transmit_queues = number,
            libc::IFLA_MASTER => interface.master = number,
            libc::IFLA_LINK if !elsewhere => interface.lower = number,
            libc::IFLA_LINKINFO => {
                let kind = attribute.nested().find(|one| one.kind == libc::IFLA_INFO_KIND);
                if let Some(kind) = kind.and_then(Attribute::text) {
                    // As its link layer is called.
                    interface.kind = Some(if kind == "ipoib" { "infiniband".into() } else { kind });
                }
            }
            libc::IFLA_CARRIER_CHANGES => interface.counters.carrier_changes = number.map(u64::from),
            libc::IFLA_STATS64 => count(&mut interface.counters, attribute.value),
            _ => {}
        }
    }
    interface
}

/// `struct rtnl_link_stats64` (linux/if_link.h): what it has of fields, in their order; older kernels have fewer at its end.
fn count(counters: &mut Counters, stats: &[u8]) {
    let at = |field: usize| {
        let bytes = stats.get(field * 8..field * 8 + 8)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    };
    let sum = |one: usize, other: usize| at(one)?.checked_add(at(other)?);
    counters.received_packets = at(0);
    counters.sent_packets = at(1);
    counters.received_bytes = at(2);
    counters.sent_bytes = at(3);
    counters.receive_errors = at(4);
    counters.send_errors = at(5);
    counters.receive_drops = at(6);
    counters.send_drops = at(7);
    // Collisions, and those that came too late (tx_window_errors).
    counters.collisions = sum(9, 20);
    // rx_over_errors and rx_fifo_errors.
    counters.receive_overruns = sum(11, 14);
    counters.receive_crc_errors = at(12);
    counters.receive_missed = at(15);
    counters.send_carrier_errors = at(17);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a link of a kernel of 6.1 says it: 24 counters, the last field of younger ones missing.
    #[test]
    fn a_link_is_read_by_the_names_of_its_header() {
        let stats: Vec<u8> = (0..24u64).flat_map(u64::to_ne_bytes).collect();
        let info = Message::of(0).with(libc::IFLA_INFO_KIND, b"veth\0");
        let message = |flags: u32| {
            Message::of(libc::RTM_NEWLINK)
                .set(link::TYPE, &libc::ARPHRD_ETHER.to_ne_bytes())
                .set(link::INDEX, &7u32.to_ne_bytes())
                .set(link::FLAGS, &flags.to_ne_bytes())
                .with(libc::IFLA_IFNAME, b"e0\0")
                .with(libc::IFLA_MTU, &9000u32.to_ne_bytes())
                .with(libc::IFLA_MAX_MTU, &0u32.to_ne_bytes())
                .with(libc::IFLA_CARRIER, &[1])
                .with(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 0x1f])
                .with(libc::IFLA_NUM_RX_QUEUES, &4u32.to_ne_bytes())
                .with(libc::IFLA_LINK, &3u32.to_ne_bytes())
                .with(libc::IFLA_STATS64, &stats)
                .with(4242, &[1, 2, 3])
        };
        let up = from_link(&message(1));
        assert_eq!((up.name.as_str(), up.index, up.kind.as_deref()), ("e0", 7, Some("ethernet")));
        assert_eq!((up.is_up, up.carrier, up.mac.as_deref()), (true, Some(true), Some("02:00:00:00:00:1f")));
        assert_eq!((up.ip_mtu_bytes, up.ip_mtu_max_bytes), (Some(9000), None));
        assert_eq!(
            (up.receive_queues, up.transmit_queues, up.lower, up.master),
            (Some(4), None, Some(3), None)
        );
        let counted = &up.counters;
        assert_eq!((counted.received_packets, counted.sent_bytes), (Some(0), Some(3)));
        assert_eq!((counted.collisions, counted.receive_overruns), (Some(29), Some(25)));
        assert_eq!((counted.receive_crc_errors, counted.send_carrier_errors), (Some(12), Some(17)));
        assert_eq!(counted.carrier_changes, None);
        let down = from_link(&message(0));
        assert_eq!((down.is_up, down.carrier), (false, None), "its carrier is not known");
        let elsewhere = from_link(&message(1).with(libc::IFLA_LINK_NETNSID, &0u32.to_ne_bytes()));
        assert_eq!(elsewhere.lower, None, "a number of another namespace");
        let veth = from_link(&message(1).with(libc::IFLA_LINKINFO, info.bytes()));
        assert_eq!(veth.kind.as_deref(), Some("veth"));
    }

    #[test]
    fn the_loopback_is_told_by_the_kernel() {
        let all = list().expect("the kernel tells");
        let own = all.iter().find(|one| one.kind.as_deref() == Some("loopback")).expect("every host has one");
        assert!(own.index > 0 && own.ip_mtu_bytes.is_some() && own.counters.sent_bytes.is_some(), "{own:?}");
        assert_eq!(name_of(own.index).as_ref(), Some(&own.name));
        assert_eq!(names().unwrap().get(&own.index), Some(&own.name));
    }

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
