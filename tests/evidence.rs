//! Known causes between two namespaces, and whether what both ends counted shows them.

use std::time::Duration;

use serde_json::Value;

use crate::lossy::filter;
use crate::netns::{TwoHosts, ip};
use crate::support::*;

const KEY: &str = "k-e-y-4-tests";

/// Two hosts with a server on the second.
fn hosts(tag: &str) -> Option<(TwoHosts, Server)> {
    let hosts = TwoHosts::new(tag)?;
    let server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    Some((hosts, server))
}

fn stream(hosts: &TwoHosts, time: &str) -> Value {
    let args = [
        BINARY,
        "bench",
        "stream",
        "10.61.0.2",
        "--key",
        KEY,
        "--format",
        "json",
        "--lanes",
        "1",
        "--time",
        time,
    ];
    document(&run_within(hosts.at(0, &args), Duration::from_secs(60)))
}

/// What a node counted during the stream; absent is what did not move.
fn evidence(doc: &Value, node: u64) -> &Value {
    let all = step(doc, "stream")["evidence"].as_array().expect("a step has evidence");
    all.iter().find(|one| one["node"] == node).unwrap_or_else(|| panic!("node {node} told nothing: {all:#?}"))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn nic<'a>(evidence: &'a Value, name: &str) -> &'a Value {
    let nics = evidence["nics"].as_array().expect("interfaces were read");
    nics.iter().find(|nic| nic["nic"] == name).unwrap_or_else(|| panic!("{name} did not move: {evidence:#}"))
}

#[test]
fn lost_segments_are_counted_where_they_were_sent_and_missed_where_they_were_due() {
    let Some((hosts, _server)) = hosts("evloss") else { return };
    let lossy = "add table ip f; add chain ip f i { type filter hook input priority 0; }; \
                 add rule ip f i ip length > 500 numgen random mod 100 < 2 drop";
    if !filter(&hosts, 1, lossy) {
        return;
    }
    let doc = stream(&hosts, "1s");
    let (sender, receiver) = (evidence(&doc, 0), evidence(&doc, 1));
    // One lane: the client's end of its connection is the first row.
    let connections = &step(&doc, "stream")["connections"];
    assert_eq!(connections["node"], serde_json::json!([0, 1]));
    assert!(count(&sender["tcp"]["retransmitted"]) > 0, "{sender:#}");
    assert!(count(&connections["retransmitted_segments"][0]) > 0, "{connections:#}");
    assert!(
        count(&connections["busy_ns"][0]) > 0 && connections["selective_acknowledgements"][0] == true,
        "{connections:#}"
    );
    assert!(count(&receiver["tcp"]["out_of_order"]) > 0, "{receiver:#}");
    // A busy machine's timers may run out for nothing.
    assert!(
        count(&receiver["tcp"]["retransmitted"]) < count(&sender["tcp"]["retransmitted"]),
        "{receiver:#}"
    );
    // The link itself lost nothing, and nothing came with a wrong checksum.
    for node in [sender, receiver] {
        assert_eq!(count(&nic(node, "eth0")["receive_errors"]), 0, "{node:#}");
        assert_eq!(count(&node["tcp"]["checksum_errors"]), 0, "{node:#}");
    }
}

#[test]
fn a_link_that_came_and_went_is_seen_by_both_ends() {
    let Some((hosts, _server)) = hosts("evflap") else { return };
    let doc = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(2500));
            assert!(ip(&["-n", hosts.name(1), "link", "set", "eth0", "down"]));
            std::thread::sleep(Duration::from_millis(200));
            assert!(ip(&["-n", hosts.name(1), "link", "set", "eth0", "up"]));
        });
        stream(&hosts, "5s")
    });
    for node in [0, 1] {
        let told = evidence(&doc, node);
        assert!(count(&nic(told, "eth0")["carrier_changes"]) >= 2, "{told:#}");
    }
}

#[test]
fn a_rate_limit_of_the_sender_shows_in_its_queue_and_nowhere_else() {
    let Some((hosts, _server)) = hosts("evtbf") else { return };
    let shape = "tc qdisc add dev eth0 root tbf rate 20mbit burst 16k limit 30k";
    let args: Vec<&str> = shape.split(' ').collect();
    if !hosts.at(0, &args).output().is_ok_and(|output| output.status.success()) {
        return skip("shaping needs tc and the tbf module");
    }
    let doc = stream(&hosts, "2s");
    let queues = evidence(&doc, 0)["queues"].as_array().expect("queues were read");
    let bucket = queues.iter().find(|queue| queue["kind"] == "tbf").unwrap_or_else(|| panic!("{queues:#?}"));
    assert_eq!((&bucket["nic"], &bucket["parent"]), (&"eth0".into(), &"root".into()), "{bucket:#}");
    assert!(count(&bucket["held_back"]) > 0, "{bucket:#}");
    assert_eq!(evidence(&doc, 1)["queues"], serde_json::json!([]), "the receiver holds nothing back");
}

#[test]
fn each_end_says_how_it_reaches_the_other_and_who_answers_there() {
    let Some((hosts, _server)) = hosts("evroute") else { return };
    let route = ["-n", hosts.name(0), "route", "add", "10.61.0.2/32", "dev", "eth0", "mtu", "lock", "1400"];
    assert!(ip(&route), "a route can have an MTU of its own");
    let doc = stream(&hosts, "300ms");
    let ends = [0, 1].map(|node| &doc["nodes"][node]["environment"]);
    let nic_of =
        |end: usize| ends[end]["nics"].as_array().unwrap().iter().find(|n| n["name"] == "eth0").unwrap();
    let way = |end: usize, to: &str| {
        let peers = ends[end]["peers"].as_array().unwrap_or_else(|| panic!("{:#}", ends[end]["unreadable"]));
        peers.iter().find(|peer| peer["address"] == to).unwrap_or_else(|| panic!("{peers:#?}"))
    };
    let (out, back) = (way(0, "10.61.0.2"), way(1, "10.61.0.1"));
    assert_eq!((&out["nic"], &out["source"]), (&"eth0".into(), &"10.61.0.1".into()), "{out:#}");
    assert_eq!(
        (&out["route_ip_mtu_bytes"], &out["route_ip_mtu_locked"]),
        (&1400.into(), &true.into()),
        "{out:#}"
    );
    assert_eq!((&out["mac"], &back["mac"]), (&nic_of(1)["mac"], &nic_of(0)["mac"]));
    assert!(back["route_ip_mtu_bytes"].is_null(), "{back:#}");
    // Two hosts of one machine are told apart.
    assert!(ends[0]["boot_id"].is_string() && ends[0]["boot_id"] == ends[1]["boot_id"]);
    assert_ne!(ends[0]["network_namespace"], ends[1]["network_namespace"]);
    assert!(nic_of(0)["reverse_path_filter"].is_u64(), "{:#}", nic_of(0));
}
