//! Faults that only datagrams show, made with packet filters between two namespaces: which share, which flow, which mark.

use std::time::Duration;

use serde_json::Value;

use crate::lossy::filter;
use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "k-e-y-4-tests";
const INPUT: &str =
    "add table ip f; add chain ip f i { type filter hook input priority 0; }; add rule ip f i ";

/// A `loss` step alone with `rule` in the way of what the server receives.
fn looked_at(tag: &str, rule: &str) -> Option<(i32, Value)> {
    let hosts = TwoHosts::new(tag)?;
    let server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    if !rule.is_empty() && !filter(&hosts, 1, &format!("{INPUT}{rule}")) {
        return None;
    }
    let scratch = Scratch::new(tag);
    let plan = scratch.path("plan.toml");
    std::fs::write(&plan, "[[steps]]\nkind = \"loss\"\ntime_ns = 3000000000\n").unwrap();
    let args = [BINARY, "check", "10.61.0.2", "--key", KEY, "--plan", &plan, "--format", "json"];
    let output = run_within(hosts.at(0, &args), Duration::from_secs(60));
    drop(server);
    Some((output.status.code().expect("an exit code"), document(&output)))
}

fn codes(doc: &Value) -> Vec<&str> {
    doc["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
}

/// Counts of one direction, both sizes together: what was sent and what arrived.
fn counted(doc: &Value, direction: &str) -> (u64, u64) {
    let paths = step(doc, "loss")["loss"].as_array().unwrap();
    let path = paths.iter().find(|path| path["direction"] == direction).unwrap();
    let sum = |what: &str| {
        let columns = ["small", "full"].map(|size| path["flows"][size][what].as_array().unwrap());
        columns.into_iter().flatten().map(|count| count.as_u64().unwrap()).sum()
    };
    (sum("sent"), sum("received"))
}

#[test]
fn a_clean_path_loses_nothing_and_shows_nothing() {
    let Some((code, doc)) = looked_at("lossnone", "") else { return };
    assert_eq!((code, codes(&doc)), (0, vec![]), "{:#}", doc["verdicts"]);
    for direction in ["out", "in"] {
        let (sent, received) = counted(&doc, direction);
        // A busy host sends less than the 7500 that are asked for, and loses none of them.
        assert!(received == sent && (500..=7500).contains(&sent), "{direction}: {received} of {sent}");
    }
}

#[test]
fn one_per_cent_in_one_direction_is_counted_named_and_not_fit() {
    let Some((code, doc)) = looked_at("lossone", "meta l4proto udp numgen inc mod 100 == 7 drop") else {
        return;
    };
    assert_eq!((code, codes(&doc)), (1, vec!["PATH-LOSS"]), "{:#}", doc["findings"]);
    // The filter counts: what it dropped is what is missing, but for the challenges before.
    let (sent, received) = counted(&doc, "out");
    assert!((sent - received).abs_diff(sent / 100) <= 1, "{received} of {sent}");
    let (sent, received) = counted(&doc, "in");
    assert_eq!(sent, received);
    let verdict = doc["verdicts"].as_array().unwrap().iter().find(|v| v["subject"] == "loss").unwrap();
    assert_eq!(verdict["outcome"], "fail");
}

/// The same until some of the flows received nothing of a size and some did: which member a source port is hashed to is chance, and
/// all eight meet one of two in one run of 128.
fn spread(tag: &str, rule: &str, size: &str) -> Option<(i32, Value)> {
    for _ in 0..5 {
        let (code, doc) = looked_at(tag, rule)?;
        let received = step(&doc, "loss")["loss"][0]["flows"][size]["received"].as_array().unwrap();
        if (1..received.len()).contains(&received.iter().filter(|count| **count == 0).count()) {
            return Some((code, doc));
        }
    }
    panic!("five times all source ports were hashed to one member");
}

#[test]
fn a_member_of_a_bundle_that_drops_or_is_too_small_is_told_by_its_flows() {
    // Challenges and consents are shorter; all consents come from one source port, so they would tell of one member only.
    let dead = "meta length > 70 meta l4proto udp jhash udp sport mod 2 == 1 drop";
    let Some((code, doc)) = spread("lossdead", dead, "small") else { return };
    assert_eq!((code, codes(&doc)), (1, vec!["FLOWS-DIFFER"]), "{:#}", doc["findings"]);
    let small = "meta length > 1000 jhash udp sport mod 2 == 1 drop";
    let Some((code, doc)) = spread("lossmtu", small, "full") else { return };
    assert_eq!((code, codes(&doc)), (1, vec!["MTU-FLOWS-DIFFER"]), "{:#}", doc["findings"]);
}

#[test]
fn marks_that_are_cleared_or_dropped_on_the_way_are_named() {
    let bleach = "meta l4proto udp ip dscp set cs0";
    // What is changed on input after the socket's own look would show nothing: it is changed before routing.
    let Some(hosts) = TwoHosts::new("lossbleach") else { return };
    let before = format!(
        "add table ip f; add chain ip f p {{ type filter hook prerouting priority -300; }}; add rule ip f p {bleach}"
    );
    if !filter(&hosts, 1, &before) {
        return;
    }
    let _server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    let scratch = Scratch::new("lossbleach");
    let plan = scratch.path("plan.toml");
    std::fs::write(&plan, "[[steps]]\nkind = \"loss\"\n").unwrap();
    let args = [BINARY, "check", "10.61.0.2", "--key", KEY, "--plan", &plan, "--format", "json"];
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(60)));
    assert_eq!(codes(&doc), ["DSCP-CHANGED"], "{:#}", doc["findings"]);
    let Some((_, doc)) = looked_at("lossclass", "meta l4proto udp ip dscp cs3 numgen inc mod 4 == 0 drop")
    else {
        return;
    };
    assert_eq!(codes(&doc), ["DSCP-DROPPED"], "{:#}", doc["findings"]);
}
