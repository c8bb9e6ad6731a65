//! What is said of a bulk transfer that stalls: segment size is blamed where the path has an edge, and nowhere else.
//!
//! Every condition is made of packet filters between two namespaces; offloads are off, so that a filter sees the packets
//! that a wire would.

use std::time::Duration;

use serde_json::Value;

use crate::lossy::filter;
use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "k-e-y-4-tests";

/// Two hosts whose packets are what a wire would carry, with a server on the second.
fn hosts(tag: &str) -> Option<(TwoHosts, Server)> {
    let hosts = TwoHosts::new(tag)?;
    for host in [0, 1] {
        let off =
            ["ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off", "tx", "off", "rx", "off"];
        if !hosts.at(host, &off).output().is_ok_and(|output| output.status.success()) {
            skip("the size of packets needs ethtool, to turn offloads off");
            return None;
        }
    }
    let server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    Some((hosts, server))
}

fn stream(hosts: &TwoHosts, more: &[&str]) -> Value {
    let mut args = vec![BINARY, "bench", "stream", "10.61.0.2", "--key", KEY, "--format", "json"];
    args.extend(more);
    document(&run_within(hosts.at(0, &args), Duration::from_secs(60)))
}

fn finding<'a>(doc: &'a Value, code: &str) -> Option<&'a Value> {
    doc["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code)
}

fn codes(doc: &Value) -> Vec<&str> {
    doc["findings"].as_array().unwrap().iter().filter_map(|finding| finding["code"].as_str()).collect()
}

#[test]
fn a_path_that_swallows_full_segments_is_named_with_its_edge_and_the_runs_that_show_it_are_not_judged() {
    let Some((hosts, _server)) = hosts("hole") else { return };
    let hole = "add table ip f; add chain ip f i { type filter hook input priority 0; }; \
                add rule ip f i ip length > 1400 drop";
    if !filter(&hosts, 0, hole) || !filter(&hosts, 1, hole) {
        return;
    }
    let doc = stream(&hosts, &["--time", "2s"]);
    let cause = finding(&doc, "MTU-BULK-CAUSE").unwrap_or_else(|| panic!("{:?}", codes(&doc)));
    assert_eq!(cause["values"]["path_ip_mtu_bytes"], 1400, "{cause:#}");
    assert_eq!((&cause["values"]["full_bytes"], &cause["step"]), (&0.into(), &0.into()), "{cause:#}");
    assert!(cause["values"]["small_bytes"].as_u64().unwrap() > 0, "{cause:#}");
    // Once each of probes, full, small, full, small; none of them stands for what was asked.
    let steps = doc["steps"].as_array().unwrap();
    let made_for: Vec<&Value> = steps[1..].iter().map(|step| &step["follows_up"]).collect();
    assert_eq!(made_for, vec!["cause"; 5]);
    let verdicts = doc["verdicts"].as_array().unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict["subject"] == "throughput/tcp/out").unwrap();
    let reason = verdict["reason"].as_str().unwrap();
    assert!(!reason.contains("Mbit/s") && !reason.contains("Gbit/s"), "a control run was judged: {reason}");
    assert!(finding(&doc, "MTU-BLACKHOLE").is_some(), "{:?}", codes(&doc));
}

#[test]
fn segments_with_a_bad_checksum_are_an_offload_fault_and_no_mtu() {
    let Some((hosts, _server)) = hosts("csum") else { return };
    let spoil = "add table netdev f; add chain netdev f i { type filter hook ingress device eth0 priority 0; }; \
                 add rule netdev f i ip length > 1000 meta l4proto tcp @th,128,16 set 0x1234";
    if !filter(&hosts, 1, spoil) {
        return;
    }
    let doc = stream(&hosts, &["--time", "2s"]);
    let found = finding(&doc, "TCP-CHECKSUM").unwrap_or_else(|| panic!("{:?}", codes(&doc)));
    assert_eq!(found["severity"], "error");
    assert!(found["evidence"].as_str().unwrap().contains("InCsumErrors at the peer grew by"), "{found:#}");
    assert!(found["next"].as_str().unwrap().contains("ethtool -K eth0 tx off here"), "{found:#}");
    assert!(finding(&doc, "MTU-BULK-CAUSE").is_none(), "{:?}", codes(&doc));
}

#[test]
fn an_outage_of_a_second_and_a_half_says_nothing_about_size() {
    let Some((hosts, _server)) = hosts("outage") else { return };
    let silence = "add table ip f; add chain ip f i { type filter hook input priority 0; policy drop; }";
    if !filter(&hosts, 1, silence) || !filter(&hosts, 1, "delete table ip f") {
        return;
    }
    let doc = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(2000));
            assert!(filter(&hosts, 1, silence));
            std::thread::sleep(Duration::from_millis(1500));
            assert!(filter(&hosts, 1, "delete table ip f"));
        });
        stream(&hosts, &["--time", "5s"])
    });
    assert!(finding(&doc, "MTU-BULK-CAUSE").is_none(), "{:?}", codes(&doc));
    // Something was seen at all, or this test proves nothing.
    let series = doc["steps"][0]["series"].as_array().unwrap();
    let there = series.iter().find(|series| series["node"] == 1).unwrap();
    let received = there["received_bytes"].as_array().unwrap().iter().map(|bytes| bytes.as_u64());
    assert!(received.filter(|bytes| *bytes == Some(0)).count() >= 10, "the outage was not seen");
}

/// Holds what leaves the server to a rate.
fn shaped(hosts: &TwoHosts, shape: &str) -> bool {
    let mut command = vec!["tc", "qdisc", "add", "dev", "eth0", "root", "tbf"];
    command.extend(shape.split(' '));
    let done = hosts.at(1, &command).output().is_ok_and(|output| output.status.success());
    if !done {
        skip("shaping needs tc and the tbf module");
    }
    done
}

#[test]
fn a_direction_shaped_to_a_twentieth_is_slow_and_no_hole() {
    let Some((hosts, _server)) = hosts("tbf") else { return };
    if !shaped(&hosts, "rate 50mbit burst 32k limit 64k") {
        return;
    }
    let doc = stream(&hosts, &["--time", "2s", "--lanes", "4", "--direction", "in"]);
    let found = codes(&doc);
    assert!(!found.iter().any(|code| code.starts_with("MTU-BULK")), "{found:?}");
}

#[test]
fn a_path_too_slow_for_one_message_in_the_window_is_no_hole() {
    let Some((hosts, _server)) = hosts("slow") else { return };
    if !shaped(&hosts, "rate 300kbit burst 4k limit 16k") {
        return;
    }
    let doc = stream(&hosts, &["--time", "2s", "--direction", "in"]);
    assert!(finding(&doc, "MTU-BULK-CAUSE").is_none(), "{:?}", codes(&doc));
}
