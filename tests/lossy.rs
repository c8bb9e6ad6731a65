//! Paths that lose the packets which open a connection: what may pass is tried again until the deadline, which is kept.

use std::time::{Duration, Instant};

use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "k-e-y-4-tests";

/// Loads packet filter rules in a host, or says why not.
pub fn filter(hosts: &TwoHosts, host: usize, rules: &str) -> bool {
    let loaded = hosts.at(host, &["nft", rules]).output();
    if loaded.is_ok_and(|output| output.status.success()) {
        return true;
    }
    skip("packet filters need nft and its kernel modules");
    false
}

fn serve(hosts: &TwoHosts) -> Server {
    Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]))
}

const SILENT_ARP: &str =
    "add table arp f; add chain arp f i { type filter hook input priority 0; policy drop; }";
const PINGPONG: [&str; 9] =
    [BINARY, "bench", "pingpong", "10.61.0.2", "--key", KEY, "--time", "300ms", "--format"];

fn pingpong() -> Vec<&'static str> {
    PINGPONG.iter().copied().chain(["json"]).collect()
}

#[test]
fn a_peer_whose_arp_replies_are_lost_for_a_while_is_reached_all_the_same() {
    let Some(hosts) = TwoHosts::new("arp") else { return };
    let _server = serve(&hosts);
    if !filter(&hosts, 1, SILENT_ARP) {
        return;
    }
    let output = std::thread::scope(|scope| {
        // The kernel gives up an address after three requests, a second apart: one attempt is over by then.
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(3600));
            assert!(filter(&hosts, 1, "delete table arp f"));
        });
        run_within(hosts.at(0, &pingpong()), Duration::from_secs(40))
    });
    let doc = document(&output);
    assert!(doc["error"].is_null(), "{:#}", doc["error"]);
    assert!(step(&doc, "pingpong")["error"].is_null(), "{}", stderr(&output));
}

#[test]
fn a_peer_that_never_answers_arp_is_given_up_at_the_deadline_with_words() {
    let Some(hosts) = TwoHosts::new("noarp") else { return };
    if !filter(&hosts, 1, SILENT_ARP) {
        return;
    }
    let started = Instant::now();
    let output = run_within(hosts.at(0, &pingpong()), Duration::from_secs(40));
    // The deadline is 5 s; the rest is for observing this host, on a machine that has other work.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_millis(4900), "given up after {:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("10.61.0.2:7797") && text.contains("for 5 s"), "{text}");
}

#[test]
fn a_refused_port_is_an_answer_and_final() {
    let Some(hosts) = TwoHosts::new("refused") else { return };
    let started = Instant::now();
    let output = run_within(hosts.at(0, &pingpong()), Duration::from_secs(40));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("refused the connection"), "{}", stderr(&output));
}

#[test]
fn a_lane_whose_first_attempt_finds_no_host_is_connected_by_the_second() {
    let Some(hosts) = TwoHosts::new("lanes") else { return };
    let _server = serve(&hosts);
    // Every other connection attempt is answered "host unreachable": the control connection gets through, the lane
    // does not at first.
    let rules = "add table ip f; add chain ip f i { type filter hook input priority 0; }; \
                 add rule ip f i tcp dport 7797 tcp flags syn numgen inc mod 2 == 1 \
                 reject with icmp type host-unreachable";
    if !filter(&hosts, 1, rules) {
        return;
    }
    let output = run_within(hosts.at(0, &pingpong()), Duration::from_secs(40));
    let doc = document(&output);
    assert!(doc["error"].is_null(), "{:#}", doc["error"]);
    let error = &step(&doc, "pingpong")["error"];
    assert!(error.is_null(), "{error:#}");
}
