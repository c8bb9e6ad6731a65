//! What each shape of a path is said to be, and what it is not.

use super::*;
use pathproof_model::{FragmentsTried, MtuRoute};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn path(family: u8, direction: Direction, edge: u32, limit: MtuLimit) -> MtuPath {
    let address = if family == 4 { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    MtuPath {
        local_nic: "n1".into(),
        remote_nic: Some("n2".into()),
        local_address: address,
        remote_address: address,
        family,
        direction,
        method: MtuMethod::Agent,
        ip_mtu_bytes: Some(edge),
        limit,
        numbers: None,
        proven_ip_bytes: Some(edge),
        reason: None,
        local_ip_mtu_bytes: Some(9614),
        remote_ip_mtu_bytes: Some(9614),
        cached_ip_mtu_bytes: None,
        route: None,
        routers: Vec::new(),
        largest_fragment_bytes: None,
        throttled: false,
        fitting_sent: 40,
        fitting_lost: 0,
        probes: 100,
        loss_rounds: 2,
        elapsed_ns: 1,
        fragments: None,
        tried: Vec::new(),
    }
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn the_story_is_one_finding_for_both_directions_and_families() {
    let mut paths = Vec::new();
    for family in [4, 6] {
        for direction in [Direction::Out, Direction::In] {
            paths.push(path(family, direction, 9216, MtuLimit::Blackhole));
        }
    }
    let found = findings(&paths, Context::default());
    assert_eq!(codes(&found), ["MTU-BLACKHOLE"]);
    assert!(found[0].evidence.contains("IPv4 and IPv6, both directions"), "{}", found[0].evidence);
    assert!(found[0].evidence.contains("9216") && found[0].evidence.contains("0x80072746"));
    assert!(found[0].next.contains("Jumbo Packet 9014"));
    assert_eq!(found[0].values["direction"], "both");
    assert_eq!(found[0].values["ip_mtu_bytes"], 9216);
}

#[test]
fn one_way_names_the_direction_and_the_timeout() {
    let paths =
        [path(4, Direction::Out, 9614, MtuLimit::None), path(4, Direction::In, 9216, MtuLimit::Blackhole)];
    let found = findings(&paths, Context::default());
    assert_eq!(codes(&found), ["MTU-BLACKHOLE", "MTU-ONE-WAY"]);
    assert!(found.iter().all(|finding| finding.values["direction"] == "in"));
    assert!(found[1].evidence.contains("0x8007274C"));
}

#[test]
fn different_ends_are_not_a_one_way_hole() {
    let mut paths =
        [path(4, Direction::Out, 1504, MtuLimit::Remote), path(4, Direction::In, 1500, MtuLimit::Local)];
    for path in &mut paths {
        path.local_ip_mtu_bytes = Some(9000);
        path.remote_ip_mtu_bytes = Some(1500);
    }
    let found = findings(&paths, Context::default());
    assert_eq!(codes(&found), ["MTU-ENDS-DIFFER"]);
    assert_eq!(
        found[0].severity,
        Severity::Error,
        "what the receiver drops in silence is no mere difference"
    );
    assert!(
        found[0].evidence.contains("from here of more than 1504 bytes are dropped"),
        "{}",
        found[0].evidence
    );
    assert!(found[0].next.contains("ip link set dev n2 mtu 9000 at the peer"), "{}", found[0].next);
    assert!(found[0].next.contains("ip link set dev n1 mtu 1500 here"), "{}", found[0].next);
}

#[test]
fn different_ends_that_a_router_keeps_apart_are_worth_a_warning() {
    let mut paths =
        [path(4, Direction::Out, 1500, MtuLimit::Router), path(4, Direction::In, 1500, MtuLimit::Local)];
    for path in &mut paths {
        (path.local_ip_mtu_bytes, path.remote_ip_mtu_bytes) = (Some(9000), Some(1500));
    }
    let found = findings(&paths, Context::default());
    let differ = found.iter().find(|finding| finding.code == "MTU-ENDS-DIFFER").unwrap();
    assert_eq!(differ.severity, Severity::Warning);
    assert!(!differ.evidence.contains("are dropped silently"), "{}", differ.evidence);
}

#[test]
fn a_route_with_an_mtu_of_its_own_is_named_and_is_no_cache() {
    let route = |ip_mtu_bytes| MtuRoute { destination: "10.9.0.0/24".into(), ip_mtu_bytes, locked: true };
    let mut path = path(4, Direction::Out, 9000, MtuLimit::None);
    (path.cached_ip_mtu_bytes, path.route) = (Some(1500), Some(route(1500)));
    let found = findings(std::slice::from_ref(&path), Context::default());
    // Less than half of what the NICs are set to and what passes is used.
    assert_eq!((codes(&found), found[0].severity), (vec!["MTU-ROUTE-LIMIT"], Severity::Error));
    assert!(found[0].evidence.contains("route 10.9.0.0/24 says \"mtu lock 1500\""), "{}", found[0].evidence);
    path.route = Some(route(8000));
    assert_eq!(findings(std::slice::from_ref(&path), Context::default())[0].severity, Severity::Warning);
    let context = Context { expect_ip_mtu_bytes: Some(9000), ..Context::default() };
    assert_eq!(findings(std::slice::from_ref(&path), context)[0].severity, Severity::Error);
    // A route that asks for what passes limits nothing; a cache below the route's own value is a cache.
    path.route = Some(route(9000));
    assert_eq!(codes(&findings(&[path], Context::default())), ["MTU-STALE-CACHE"]);
}

#[test]
fn an_echo_whose_reply_came_in_pieces_was_not_swallowed() {
    let mut echo = path(4, Direction::Both, 1500, MtuLimit::Remote);
    (echo.method, echo.remote_nic, echo.remote_ip_mtu_bytes) = (MtuMethod::Echo, None, None);
    echo.largest_fragment_bytes = Some(1500);
    assert_eq!(codes(&findings(&[echo], Context::default())), ["MTU-ECHO-ONLY"]);
}

#[test]
fn the_gate_compares_what_passes() {
    let paths = [path(4, Direction::Out, 8999, MtuLimit::Blackhole)];
    let context = Context { expect_ip_mtu_bytes: Some(9000), ..Context::default() };
    assert!(codes(&findings(&paths, context)).contains(&"MTU-BELOW-EXPECTED"));
    let context = Context { expect_ip_mtu_bytes: Some(8999), ..Context::default() };
    assert!(!codes(&findings(&paths, context)).contains(&"MTU-BELOW-EXPECTED"));
}

#[test]
fn cannot_tell_is_no_size() {
    let mut unknown = path(4, Direction::Out, 68, MtuLimit::Unknown);
    (unknown.ip_mtu_bytes, unknown.proven_ip_bytes) = (None, None);
    let context = Context { expect_ip_mtu_bytes: Some(9000), ..Context::default() };
    assert_eq!(codes(&findings(&[unknown], context)), ["MTU-UNKNOWN"]);
}

#[test]
fn a_healthy_path_has_no_findings() {
    let paths = [path(4, Direction::Out, 9614, MtuLimit::None), path(4, Direction::In, 9614, MtuLimit::None)];
    assert!(findings(&paths, Context::default()).is_empty());
}

#[test]
fn dropped_fragments_are_told_once_for_both_ways_and_never_where_one_arrived() {
    let tried = |arrived| {
        Some(FragmentsTried { ip_bytes: 2500, sent: 6, arrived, fitting_sent: 6, fitting_arrived: 6 })
    };
    let way = |direction, fragments| MtuPath { fragments, ..path(4, direction, 1500, MtuLimit::None) };
    let told = |out, back| {
        let found = findings(&[way(Direction::Out, out), way(Direction::In, back)], Context::default());
        assert!(found.iter().all(|finding| finding.code == "PATH-FRAGMENTS-DROPPED"), "{found:#?}");
        found.into_iter().map(|finding| finding.values["direction"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(tried(0), tried(0)), ["both"]);
    assert_eq!(told(tried(0), tried(1)), ["out"]);
    assert_eq!(told(tried(0), None), ["out"]);
    assert!(told(tried(1), tried(6)).is_empty() && told(None, None).is_empty());
    let found = findings(&[way(Direction::Out, tried(0))], Context::default());
    assert!(found[0].evidence.contains("none of 6 datagrams of 2500 bytes"), "{}", found[0].evidence);
    assert_eq!(found[0].severity, Severity::Warning);
}
