//! Network interfaces: what the kernel knows, and what the driver knows.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use pathproof_model::environment::{
    Dcb, DcbAlgorithm, DcbApplication, DcbEts, DcbPfc, DcbSelector, PauseSettings, RingSizes,
};
use pathproof_model::{Nic, NicAddress, SrIov};
use pathproof_sys::bridging;
use pathproof_sys::ethtool::{Ethtool, Offload, Rings};
use pathproof_sys::interfaces::{self, Interface};
use pathproof_sys::routes;

use super::unknown::{self, Refused, why};

/// All interfaces of this network namespace. Why something of one is not known stands in its own `unreadable`; what could not be read of
/// any goes to that of the host.
pub(super) fn nics(unreadable: &mut BTreeMap<String, String>) -> io::Result<Vec<Nic>> {
    let interfaces = interfaces::list()?;
    let names: BTreeMap<u32, String> = interfaces.iter().map(|one| (one.index, one.name.clone())).collect();
    let mut nics: Vec<Nic> = interfaces.into_iter().map(|one| from(one, &names)).collect();
    let mut refused = vec![Refused::new(); nics.len()];
    match Ethtool::open() {
        Ok(ethtool) => {
            nics.iter_mut().zip(&mut refused).for_each(|(nic, refused)| add_driver(nic, &ethtool, refused));
        }
        Err(error) => {
            refused.iter_mut().for_each(|refused| unknown::nobody_asked(refused, &why(&error)));
            unreadable.insert("nics.ethtool".into(), error.to_string());
        }
    }
    derive_speeds(&mut nics);
    nics.iter_mut().zip(&mut refused).for_each(|(nic, refused)| add_settings(nic, refused));
    match routes::with_default() {
        Ok(defaults) => {
            nics.iter_mut().for_each(|nic| nic.default_route = Some(defaults.contains(&nic.index)));
        }
        Err(error) => {
            unreadable.insert("nics.default_route".into(), format!("netlink: {error}"));
        }
    }
    unknown::tell(&mut nics, &refused, unreadable);
    Ok(nics)
}

fn from(interface: Interface, names: &BTreeMap<u32, String>) -> Nic {
    let addresses = |list: Vec<(IpAddr, u8)>| {
        list.into_iter().map(|(address, prefix_len)| NicAddress { address, prefix_len }).collect()
    };
    // What lies below another kind is no parent: of a veth it is the other end.
    let shares = interface.kind.as_deref().is_some_and(|kind| SUB_INTERFACES.contains(&kind));
    Nic {
        name: interface.name,
        index: interface.index,
        kind: interface.kind,
        mac: interface.mac,
        up: Some(interface.is_up),
        carrier: interface.carrier,
        ip_mtu_bytes: interface.ip_mtu_bytes,
        ip_mtu_max_bytes: interface.ip_mtu_max_bytes,
        receive_queues: interface.receive_queues,
        transmit_queues: interface.transmit_queues,
        addresses: addresses(interface.addresses),
        taken_addresses: addresses(interface.taken_addresses),
        master: interface.master.and_then(|index| names.get(&index).cloned()),
        parent: interface.lower.filter(|_| shares).and_then(|index| names.get(&index).cloned()),
        ..Nic::default()
    }
}

fn selector(of: bridging::Selector) -> DcbSelector {
    match of {
        bridging::Selector::EtherType => DcbSelector::Ethertype,
        bridging::Selector::StreamPort => DcbSelector::StreamPort,
        bridging::Selector::DatagramPort => DcbSelector::DgramPort,
        bridging::Selector::Port => DcbSelector::Port,
        bridging::Selector::Dscp => DcbSelector::Dscp,
        bridging::Selector::Unknown => DcbSelector::Unknown,
    }
}

/// What the driver of this interface tells of data center bridging, or why it tells nothing.
pub(super) fn bridging(interface: &str) -> Result<Dcb, String> {
    let known = bridging::of(interface)?;
    let application = |app: bridging::Application| DcbApplication {
        selector: selector(app.selector),
        priority: app.priority,
        protocol: app.protocol,
    };
    Ok(Dcb {
        pfc: known
            .flow_control
            .map(|pfc| DcbPfc { enabled_priorities: pfc.enabled_priorities, classes_max: pfc.classes_max }),
        ets: known.selection.map(|ets| DcbEts {
            bandwidth_percent: ets.bandwidth_percent,
            algorithms: ets.algorithms.into_iter().map(DcbAlgorithm::of).collect(),
            class_of_priority: ets.class_of_priority,
        }),
        applications: known.applications.map(|all| all.into_iter().map(application).collect()),
    })
}

/// Kinds that are a part of the interface that they lie upon: it carries what they send and receive.
const SUB_INTERFACES: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// Most interfaces that Linux lets lie on one another.
const LAYERS_MAX: usize = 8;

/// Bridges and bonds show what their members claim, and sub-interfaces what the one below them does; of that only a real speed counts.
fn derive_speeds(nics: &mut [Nic]) {
    // They come in any order, and one may lie on another of them (a VLAN on a bridge): each round settles one layer more.
    (0..LAYERS_MAX).for_each(|_| derive_speeds_from_below(nics));
}

fn derive_speeds_from_below(nics: &mut [Nic]) {
    // That of a TAP can be set, and then it is what the interfaces on it have.
    let below = nics.iter().filter(|n| !n.is_of_kind("tun"));
    let below: BTreeMap<String, Option<u64>> = below.map(|n| (n.name.clone(), n.speed_bits_per_s)).collect();
    let members: Vec<(String, Option<u64>)> =
        nics.iter().filter_map(|n| Some((n.master.clone()?, n.speed_bits_per_s))).collect();
    for nic in nics.iter_mut().filter(|n| n.speed_bits_per_s.is_some()) {
        let mut speeds = members.iter().filter(|(master, _)| *master == nic.name).map(|(_, speed)| *speed);
        let parent = nic.parent.as_ref().and_then(|parent| below.get(parent)).copied();
        nic.speed_bits_per_s = match nic.kind.as_deref() {
            // Taps of virtual machines hang on a bridge beside the NIC that leads out.
            Some("bridge") => speeds.flatten().max(),
            Some("bond" | "team") if speeds.any(|speed| speed.is_none()) => None,
            _ => parent.unwrap_or(nic.speed_bits_per_s),
        };
        if parent == Some(None) {
            // Both come from one answer, which was the parent's.
            nic.full_duplex = None;
        }
    }
}

/// Settings as they hold for this interface.
fn add_settings(nic: &mut Nic, refused: &mut Refused) {
    let mut read = |fact, setting: Result<u32, String>| setting.map_err(|why| refused.insert(fact, why)).ok();
    nic.reverse_path_filter = read("reverse_path_filter", interfaces::setting(&nic.name, "rp_filter"));
    nic.arp_ignore = read("arp_ignore", interfaces::setting(&nic.name, "arp_ignore"));
    nic.arp_announce = read("arp_announce", interfaces::setting(&nic.name, "arp_announce"));
    nic.ipv6_mtu_bytes = read("ipv6_mtu_bytes", interfaces::ipv6_mtu_bytes(&nic.name));
}

/// What the driver tells; what it does not goes to `refused`, by the names of the facts.
fn add_driver(nic: &mut Nic, ethtool: &Ethtool, refused: &mut Refused) {
    let mut note = |facts: &[&'static str], error: io::Error| {
        refused.extend(facts.iter().map(|fact| (*fact, why(&error))));
    };
    match ethtool.driver(&nic.name) {
        Ok(info) => {
            (nic.driver, nic.driver_version) = (info.driver, info.version);
            (nic.firmware, nic.bus) = (info.firmware, info.bus);
        }
        Err(error) => note(&unknown::OF_DRIVER, error),
    }
    match ethtool.link(&nic.name) {
        Ok(_) if unknown::has_no_speed(nic) => {}
        Ok(link) => {
            nic.speed_bits_per_s = link.speed_bits_per_s;
            nic.full_duplex = link.full_duplex;
        }
        Err(error) => note(&unknown::OF_LINK, error),
    }
    // Netlink tells how many queues were allocated, the driver how many are in use.
    match ethtool.queues(&nic.name) {
        Ok(queues) if queues.receive > 0 && queues.transmit > 0 => {
            (nic.receive_queues, nic.transmit_queues) = (Some(queues.receive), Some(queues.transmit));
        }
        Ok(_) => {}
        Err(error) => note(&unknown::OF_QUEUES, error),
    }
    match ethtool.rings(&nic.name) {
        Ok(rings) => nic.rings = told(rings),
        Err(error) => note(&["rings"], error),
    }
    match ethtool.pause(&nic.name) {
        Ok(pause) => {
            let (receive, transmit) = (pause.receive, pause.transmit);
            nic.pause = Some(PauseSettings { receive, transmit, negotiated: pause.negotiated });
        }
        Err(error) => note(&["pause"], error),
    }
    for offload in Offload::ALL {
        match ethtool.offload(&nic.name, offload) {
            Ok(on) => {
                nic.offloads.insert(offload.name().into(), on);
            }
            Err(error) => note(&[offload.name()], error),
        }
    }
    nic.numa_node = nic.bus.as_deref().and_then(interfaces::numa_node);
    let functions = nic.bus.as_deref().and_then(interfaces::virtual_functions);
    nic.sr_iov = functions.map(|(is_virtual, functions, functions_max)| SrIov {
        is_virtual,
        functions,
        functions_max,
    });
}

/// The sizes of rings; of a driver that knows of none nothing.
fn told(rings: Rings) -> Option<RingSizes> {
    (rings != Rings::default()).then_some(RingSizes {
        receive: rings.receive,
        receive_max: rings.receive_max,
        transmit: rings.transmit,
        transmit_max: rings.transmit_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_a_part_of_the_nic_below_it_and_a_veth_of_none() {
        let names = BTreeMap::from([(2, "eth0".to_owned())]);
        let parent = |kind: &str, lower| {
            let interface = Interface { kind: Some(kind.into()), lower, ..Interface::default() };
            from(interface, &names).parent
        };
        assert_eq!(parent("vlan", Some(2)).as_deref(), Some("eth0"));
        assert_eq!(parent("macvlan", Some(2)).as_deref(), Some("eth0"));
        assert_eq!(parent("veth", Some(2)), None, "that is its other end");
        assert_eq!(parent("vlan", Some(77)), None, "nobody knows its name");
        assert_eq!(parent("vlan", None), None, "it is in another namespace");
    }

    #[test]
    fn an_address_that_another_device_had_is_kept_apart_from_those_that_carry() {
        let [used, taken] = ["fd09::2", "fd09:1::2"].map(|ip| (ip.parse().unwrap(), 64));
        let interface =
            Interface { addresses: vec![used], taken_addresses: vec![taken], ..Interface::default() };
        let nic = from(interface, &BTreeMap::new());
        let told = |(address, prefix_len)| vec![NicAddress { address, prefix_len }];
        assert_eq!((nic.addresses, nic.taken_addresses), (told(used), told(taken)));
    }

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

    #[test]
    fn a_sub_interface_has_the_speed_of_its_parent_and_none_where_that_has_none() {
        let on = |name: &str, kind: &str, parent: Option<&str>, speed: Option<u64>| Nic {
            name: name.into(),
            kind: Some(kind.into()),
            parent: parent.map(str::to_owned),
            speed_bits_per_s: speed,
            full_duplex: speed.map(|_| true),
            ..Nic::default()
        };
        let g = 1_000_000_000;
        let mut nics = [
            // The kernel answers for each with what the driver at the very bottom says: 10 Gbit/s of a veth.
            on("v0.7", "vlan", Some("v0"), Some(10 * g)),
            on("v0", "macvlan", Some("e0"), Some(10 * g)),
            on("i0", "ipvlan", Some("e0"), Some(10 * g)),
            on("e0", "veth", None, None),
            on("br0.5", "vlan", Some("br0"), Some(10 * g)),
            on("br0", "bridge", None, Some(10 * g)),
            on("n0.5", "vlan", Some("n0"), Some(25 * g)),
            on("n0", "ethernet", None, Some(25 * g)),
            on("m0", "macvlan", Some("tap0"), Some(g)),
            on("tap0", "tun", None, None),
            // Its parent is in another namespace.
            on("far", "macvlan", None, Some(10 * g)),
        ];
        derive_speeds(&mut nics);
        let told = |name: &str| {
            let nic = nics.iter().find(|nic| nic.name == name).unwrap();
            (nic.speed_bits_per_s.map(|speed| speed / g), nic.full_duplex)
        };
        for invented in ["v0.7", "v0", "i0", "br0.5"] {
            assert_eq!(told(invented), (None, None), "{invented}");
        }
        for (real, speed) in [("n0.5", 25), ("n0", 25), ("m0", 1), ("far", 10)] {
            assert_eq!(told(real), (Some(speed), Some(true)), "{real}");
        }
    }
}
