//! `pathproof networks`: the networks of two hosts, as their NICs and routes make them.

use std::time::Duration;

use serde_json::json;

use crate::multi::{KEY, TwoNics};
use crate::support::*;

#[test]
fn the_network_with_the_default_route_is_public_and_takes_migrations_first() {
    let Some(hosts) = TwoNics::new("nets", &[200, 200]) else { return };
    hosts.ip(0, &["route", "add", "default", "via", "10.63.1.254"]);
    let _server = hosts.serve();
    let ask = |more: &[&str]| {
        let args = [&[BINARY, "networks", "10.63.1.2", "--key", KEY], more].concat();
        run_within(hosts.at(0, &args), Duration::from_secs(30))
    };
    let output = ask(&["--format", "json"]);
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    crate::documents::assert_valid(&doc, "networks");
    let networks = doc["networks"].as_array().expect("networks");
    let brief: Vec<_> = networks
        .iter()
        .map(|n| json!([n["subnet"], n["role"], n["order_csv"], n["order_migration"], n["if_lost"]["csv"]]))
        .collect();
    assert_eq!(
        brief,
        [
            json!(["10.63.2.0/24", "private", 1, 2, "10.63.1.0/24"]),
            json!(["10.63.1.0/24", "public", 2, 1, "10.63.2.0/24"]),
        ]
    );
    // A veth has one queue and no speed that is a fact.
    assert_eq!((&networks[0]["metric"], &networks[1]["metric"]), (&json!(40_000), &json!(80_000)));
    assert_eq!(networks[0]["metric_lacks"], json!(["speed"]));
    let codes: Vec<_> = doc["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert!(codes.contains(&json!("NETWORK-MIGRATION-PUBLIC")), "{codes:?}");

    // One link less, and there is nothing to choose from.
    hosts.ip(0, &["link", "set", "v2", "down"]);
    let doc = document(&ask(&["--format", "json"]));
    let down = doc["networks"].as_array().unwrap().iter().find(|n| n["subnet"] == "10.63.2.0/24").unwrap();
    assert_eq!((&down["up"], &down["order_csv"]), (&json!(false), &json!(null)));
    let codes: Vec<_> = doc["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert!(codes.contains(&json!("NETWORK-ONLY-ONE")), "{codes:?}");
    let page = String::from_utf8(ask(&[]).stdout).unwrap();
    assert!(page.contains("10.63.1.0/24") && page.contains("public") && page.contains("down"), "{page}");
}
