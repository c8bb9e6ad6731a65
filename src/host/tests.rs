//! This machine as the tests find it, and machines made by hand.

use std::net::IpAddr;

use pathproof_model::environment::UnknownFacts;
use pathproof_model::{Environment, Nic, NicAddress};

use super::*;
use pathproof_sys::routes::{Route, to};

#[test]
fn the_loopback_is_seen_as_it_is() {
    let environment = observe().environment;
    let lo = environment.nics.iter().find(|n| n.name == "lo").expect("every namespace has lo");
    assert_eq!(lo.kind.as_deref(), Some("loopback"));
    assert_eq!(lo.index, 1);
    assert!(lo.ip_mtu_bytes.is_some_and(|mtu| mtu >= 1500));
    assert_eq!(lo.speed_bits_per_s, None, "a loopback has no speed, and 0 would be a lie");
    assert_eq!(lo.mac, None);
    assert!(lo.offloads.contains_key("tcp-segmentation-offload"), "{:?}", lo.offloads);
    assert!(environment.memory_bytes > environment.memory_available_bytes);
    assert!(environment.clock_stamp_ns.is_some_and(|ns| ns > 0 && ns < 100_000));
    assert!(environment.kernel.is_some() && environment.cpus.is_some_and(|n| n > 0));
}

#[test]
fn a_route_names_nic_and_source() {
    let lo: IpAddr = [127, 0, 0, 1].into();
    // What it has learnt of the path is a matter of what ran here before.
    let route = to(lo).unwrap().map(|route| Route { ip_mtu_bytes: None, ..route });
    assert_eq!(route, Some(Route { interface: "lo".into(), source: lo, router: None, ip_mtu_bytes: None }));
    let routes = observe().environment.nics.iter().flat_map(|n| n.addresses.clone()).collect::<Vec<_>>();
    for own in routes.iter().map(|a| a.address).filter(|a| a.is_ipv4()) {
        let route = to(own).unwrap().expect("a host reaches its own address");
        assert_eq!((route.interface.as_str(), route.source), ("lo", own));
    }
}

#[test]
fn weak_nics_are_named_once_they_are_fast_and_up() {
    let nic = Nic {
        name: "n0".into(),
        carrier: Some(true),
        bus: Some("0000:01:00.0".into()),
        speed_bits_per_s: Some(25_000_000_000),
        receive_queues: Some(1),
        offloads: [("tcp-segmentation-offload".to_owned(), false)].into(),
        ..Nic::default()
    };
    let codes = |nic: Nic| {
        let environment = Environment { nics: vec![nic], ..Environment::default() };
        findings(&environment).into_iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(nic.clone()), ["NIC-ONE-QUEUE", "NIC-OFFLOAD-OFF"]);
    assert!(codes(Nic { carrier: Some(false), ..nic.clone() }).is_empty());
    assert!(codes(Nic { bus: None, ..nic.clone() }).is_empty());
    assert!(codes(Nic { speed_bits_per_s: None, ..nic.clone() }).is_empty());
    assert_eq!(codes(Nic { speed_bits_per_s: None, full_duplex: Some(false), ..nic }), ["NIC-HALF-DUPLEX"]);
}

#[test]
fn devices_show_unknown_as_a_dash_and_fit_the_page() {
    let mut observed = Observed::default();
    observed.environment.nics = vec![Nic {
        name: "enp1s0f0np0".into(),
        kind: Some("ethernet".into()),
        up: Some(true),
        carrier: Some(true),
        speed_bits_per_s: Some(100_000_000_000),
        ip_mtu_bytes: Some(9000),
        driver: Some("mlx5_core".into()),
        bus: Some("0000:01:00.0".into()),
        unreadable: vec![UnknownFacts {
            facts: vec!["rings".into(), "pause".into()],
            why: "not permitted".into(),
        }],
        addresses: vec![NicAddress { address: "2001:db8::1".parse().unwrap(), prefix_len: 64 }],
        ..Nic::default()
    }];
    observed.environment.unreadable.insert("memory".into(), "permission denied".into());
    let lines = pathproof_report::lines(&pathproof_report::Look::PAGE, &devices::page(&observed));
    let text = lines.iter().map(|line| line.text()).collect::<Vec<_>>().join("\n");
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    for part in [
        "100.00 Gbit/s",
        "9000",
        "-/-",
        "2001:db8::1/64",
        "memory: permission denied",
        "devices: none",
        "unknown: rings, pause",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    let json = serde_json::to_string(&observed).unwrap();
    assert_eq!(serde_json::from_str::<Observed>(&json).unwrap(), observed);
}
