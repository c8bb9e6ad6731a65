//! Why facts of an interface are not known. Each `null` gets one reason: what the driver or the system answered where it was asked, or why
//! there is nothing to ask for.

use std::collections::BTreeMap;
use std::io;

use pathproof_model::Nic;
use pathproof_model::environment::UnknownFacts;
use pathproof_sys::ethtool::{Offload, is_not_told};

/// Facts that somebody was asked for and did not tell, with the answer.
pub(super) type Refused = BTreeMap<&'static str, String>;

/// What a driver says of itself.
pub(super) const OF_DRIVER: [&str; 4] = ["driver", "driver_version", "firmware", "bus"];
/// What it says of its link.
pub(super) const OF_LINK: [&str; 2] = [SPEED, "full_duplex"];
/// What it says of its queues.
pub(super) const OF_QUEUES: [&str; 2] = ["receive_queues", "transmit_queues"];
const SPEED: &str = "speed_bits_per_s";

/// Most interfaces of which reasons are told: a greeting has an end, and hosts of virtual machines have hundreds.
const NICS_MAX: usize = 64;

/// Kinds whose driver invents a speed (veth and vxlan always say 10 Gbit/s), so that it is no fact.
const NO_REAL_SPEED: [&str; 24] = [
    "loopback",
    "veth",
    "tun",
    "dummy",
    "ifb",
    "macvtap",
    "netkit",
    "wireguard",
    "vxlan",
    "geneve",
    "bareudp",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "erspan",
    "ip6erspan",
    "ipip",
    "sit",
    "ip6tnl",
    "vti",
    "vti6",
    "xfrm",
    "gtp",
];

/// Whether an interface is of a kind that has no speed of its own.
pub(super) fn has_no_speed(nic: &Nic) -> bool {
    nic.kind.as_deref().is_some_and(|kind| NO_REAL_SPEED.contains(&kind))
}

/// What an answer means, in the same words for all drivers.
pub(super) fn why(error: &io::Error) -> String {
    if is_not_told(error) {
        "not supported by the driver".into()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "not permitted to this user".into()
    } else {
        error.to_string()
    }
}

/// Of an interface whose driver could not be asked at all.
pub(super) fn nobody_asked(refused: &mut Refused, why: &str) {
    let offloads = Offload::ALL.map(Offload::name);
    let each = OF_DRIVER.iter().chain(&OF_LINK).chain(&["rings", "pause"]).chain(&offloads);
    refused.extend(each.map(|fact| (*fact, why.to_owned())));
}

/// Gives the interfaces the reasons of what is not known of them: those on a bus and those with addresses first, for the others are taps
/// and bridges of guests.
pub(super) fn tell(nics: &mut [Nic], refused: &[Refused], unreadable: &mut BTreeMap<String, String>) {
    let mut order: Vec<usize> = (0..nics.len()).collect();
    order.sort_by_key(|at| (nics[*at].bus.is_none(), nics[*at].addresses.is_empty()));
    if nics.len() > NICS_MAX {
        let why = format!("{} interfaces; reasons are given for {NICS_MAX} of them", nics.len());
        unreadable.insert("nics.unreadable".into(), why);
    }
    // The loopback is no adapter: nobody looks for its driver.
    order.retain(|at| !nics[*at].is_loopback());
    for (at, refused) in order.into_iter().take(NICS_MAX).filter_map(|at| Some((at, refused.get(at)?))) {
        nics[at].unreadable = reasons(&nics[at], parent_of(&nics[at], nics), refused);
    }
}

/// The interface that one is a part of.
fn parent_of<'a>(nic: &Nic, nics: &'a [Nic]) -> Option<&'a Nic> {
    let parent = nic.parent.as_ref()?;
    nics.iter().find(|one| one.name == *parent)
}

/// Why the link of a sub-interface is not known where its parent has no speed.
fn of_parent(parent: &Nic) -> String {
    let name = &parent.name;
    match parent.kind.as_deref() {
        Some(kind) if has_no_speed(parent) => {
            format!("its parent {name} is of kind {kind}, which has no speed of its own")
        }
        Some(_) | None => format!("that of its parent {name} is not known"),
    }
}

/// What is not known of an interface, by reason; one that everything is known of has none.
fn reasons(nic: &Nic, parent: Option<&Nic>, refused: &Refused) -> Vec<UnknownFacts> {
    let silent = "the system does not tell it";
    let blank = "the driver leaves it blank";
    let link = match (nic.kind.as_deref(), nic.carrier) {
        (Some(kind), _) if has_no_speed(nic) => {
            format!("an interface of kind {kind} has no speed of its own")
        }
        (Some("bridge" | "bond" | "team"), _) => "that of its members is not known".into(),
        (_, Some(true)) => parent
            .filter(|parent| parent.speed_bits_per_s.is_none())
            .map_or_else(|| "the driver says that it does not know".into(), of_parent),
        (_, _) => "there is no link".into(),
    };
    let carrier = if nic.up == Some(false) { "it is down" } else { silent };
    let node = if nic.bus.is_none() { "it sits on no bus" } else { "the system names no node of its bus" };
    let facts = [
        ("kind", nic.kind.is_none(), "its link layer is of no kind that this build knows"),
        ("mac", nic.mac.is_none(), "it has no hardware address"),
        ("carrier", nic.carrier.is_none(), carrier),
        ("ip_mtu_bytes", nic.ip_mtu_bytes.is_none(), silent),
        ("ip_mtu_max_bytes", nic.ip_mtu_max_bytes.is_none(), "the driver names no limit"),
        (SPEED, nic.speed_bits_per_s.is_none(), link.as_str()),
        ("full_duplex", nic.full_duplex.is_none(), link.as_str()),
        ("driver", nic.driver.is_none(), blank),
        ("driver_version", nic.driver_version.is_none(), blank),
        ("firmware", nic.firmware.is_none(), blank),
        ("bus", nic.bus.is_none(), blank),
        ("numa_node", nic.numa_node.is_none(), node),
        ("receive_queues", nic.receive_queues.is_none(), silent),
        ("transmit_queues", nic.transmit_queues.is_none(), silent),
        ("rings", nic.rings.is_none(), "the driver says that it has none"),
        ("pause", nic.pause.is_none(), silent),
        ("reverse_path_filter", nic.reverse_path_filter.is_none(), silent),
        ("arp_ignore", nic.arp_ignore.is_none(), silent),
        ("arp_announce", nic.arp_announce.is_none(), silent),
        ("ipv6_mtu_bytes", nic.ipv6_mtu_bytes.is_none(), silent),
    ];
    let offloads =
        Offload::ALL.map(Offload::name).map(|name| (name, !nic.offloads.contains_key(name), silent));
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (fact, _, otherwise) in facts.into_iter().chain(offloads).filter(|(_, is_unknown, _)| *is_unknown) {
        let why = refused.get(fact).map_or(otherwise, String::as_str);
        by_reason.entry(why).or_default().push(fact.into());
    }
    by_reason.into_iter().map(|(why, facts)| UnknownFacts { facts, why: why.into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unknown_fact_has_one_reason_and_known_ones_have_none() {
        let veth = Nic { name: "v0".into(), kind: Some("veth".into()), ..Nic::default() };
        let refused = Refused::from([
            ("rings", "not supported by the driver".to_owned()),
            ("pause", "not permitted to this user".to_owned()),
            // A value that came by another way is known, whatever the driver said.
            ("receive_queues", "not supported by the driver".to_owned()),
        ]);
        let told = |nic: Nic| Nic { unreadable: reasons(&nic, None, &refused), ..nic };
        let nic = told(Nic { receive_queues: Some(4), ..veth.clone() });
        assert_eq!(
            nic.why_unknown("speed_bits_per_s"),
            Some("an interface of kind veth has no speed of its own")
        );
        assert_eq!(nic.why_unknown("rings"), Some("not supported by the driver"));
        assert_eq!(nic.why_unknown("pause"), Some("not permitted to this user"));
        assert_eq!(nic.why_unknown("numa_node"), Some("it sits on no bus"));
        assert_eq!((nic.why_unknown("receive_queues"), nic.why_unknown("kind")), (None, None));
        let mut all: Vec<&String> = nic.unreadable.iter().flat_map(|one| &one.facts).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "one reason each: {:?}", nic.unreadable);
        let down = told(Nic { kind: Some("ethernet".into()), up: Some(false), ..veth });
        assert_eq!(down.why_unknown("carrier"), Some("it is down"));
        assert_eq!(down.why_unknown("full_duplex"), Some("there is no link"));
    }

    #[test]
    fn a_sub_interface_without_a_speed_names_the_parent_that_has_none() {
        let nic = |name: &str, kind: &str, parent: Option<&str>, speed_bits_per_s| Nic {
            name: name.into(),
            kind: Some(kind.into()),
            carrier: Some(true),
            parent: parent.map(str::to_owned),
            speed_bits_per_s,
            ..Nic::default()
        };
        let mut nics = [
            nic("e0", "veth", None, None),
            nic("v0", "macvlan", Some("e0"), None),
            nic("v0.7", "vlan", Some("v0"), None),
            nic("n0", "ethernet", None, Some(1_000_000_000)),
            nic("n0.7", "vlan", Some("n0"), Some(1_000_000_000)),
            nic("n0.8", "vlan", Some("n0"), None),
            nic("far", "macvlan", Some("elsewhere"), None),
        ];
        let refused = vec![Refused::new(); nics.len()];
        tell(&mut nics, &refused, &mut BTreeMap::new());
        let why = |name: &str| {
            nics.iter().find(|nic| nic.name == name).and_then(|nic| nic.why_unknown("speed_bits_per_s"))
        };
        let of_veth = "its parent e0 is of kind veth, which has no speed of its own";
        let unsaid = "the driver says that it does not know";
        assert_eq!((why("v0"), why("v0.7")), (Some(of_veth), Some("that of its parent v0 is not known")));
        assert_eq!((why("n0.7"), why("n0.8"), why("far")), (None, Some(unsaid), Some(unsaid)));
        assert_eq!(nics[1].why_unknown("full_duplex"), Some(of_veth));
    }

    #[test]
    fn answers_are_told_apart() {
        let said = |code| why(&io::Error::from_raw_os_error(code));
        // EOPNOTSUPP, EPERM, ENODEV.
        assert_eq!(
            (said(95).as_str(), said(1).as_str()),
            ("not supported by the driver", "not permitted to this user")
        );
        assert!(said(19).contains("No such device"), "{}", said(19));
    }

    #[test]
    fn of_hundreds_of_interfaces_those_that_carry_have_reasons() {
        let mut nics: Vec<Nic> =
            (0..200).map(|n| Nic { name: format!("tap{n}"), ..Nic::default() }).collect();
        nics.push(Nic { name: "e0".into(), bus: Some("0000:01:00.0".into()), ..Nic::default() });
        let (refused, mut unreadable) = (vec![Refused::new(); nics.len()], BTreeMap::new());
        tell(&mut nics, &refused, &mut unreadable);
        assert_eq!(nics.iter().filter(|nic| !nic.unreadable.is_empty()).count(), NICS_MAX);
        assert!(nics.last().is_some_and(|nic| nic.why_unknown("rings").is_some()));
        assert!(unreadable["nics.unreadable"].starts_with("201 interfaces"), "{unreadable:?}");
    }

    #[test]
    fn of_this_machine_nothing_is_unknown_without_a_reason() {
        let mut unreadable = BTreeMap::new();
        let adapters = super::super::nics::nics(&mut unreadable).unwrap().into_iter();
        let adapters = adapters.filter(|nic| !nic.is_loopback());
        for nic in adapters.take(NICS_MAX) {
            for (fact, known) in [
                ("speed_bits_per_s", nic.speed_bits_per_s.is_some()),
                ("full_duplex", nic.full_duplex.is_some()),
                ("driver", nic.driver.is_some()),
                ("firmware", nic.firmware.is_some()),
                ("rings", nic.rings.is_some()),
                ("pause", nic.pause.is_some()),
                ("ipv6_mtu_bytes", nic.ipv6_mtu_bytes.is_some()),
            ] {
                assert_eq!(nic.why_unknown(fact).is_none(), known, "{fact}: {nic:#?}");
            }
        }
    }
}
