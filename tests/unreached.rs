//! Peers that are not reached: where the cause lies at this end, or somebody rejects, what is said names it and what to type.

use std::time::Duration;

use crate::lossy::filter;
use crate::netns::{TwoHosts, ip};
use crate::support::*;

const KEY: &str = "k-e-y-4-tests";

fn serve(hosts: &TwoHosts, at: &str) -> Server {
    Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", at, "--key", KEY]))
}

/// What is said of a peer that host 0 does not reach.
fn said_of(hosts: &TwoHosts, peer: &str) -> String {
    let args = [BINARY, "bench", "pingpong", peer, "--key", KEY, "--time", "300ms", "--format", "json"];
    let output = run_within(hosts.at(0, &args), Duration::from_secs(40));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_source_that_the_peer_cannot_answer_is_named_with_the_one_that_it_answers() {
    let Some(hosts) = TwoHosts::new("source") else { return };
    let _server = serve(&hosts, "10.61.0.2:7797");
    let a = hosts.name(0);
    assert!(ip(&["-n", a, "addr", "add", "10.77.0.1/32", "dev", "lo"]));
    assert!(ip(&["-n", a, "route", "replace", "10.61.0.0/24", "dev", "eth0", "src", "10.77.0.1"]));
    let text = said_of(&hosts, "10.61.0.2");
    assert!(text.contains("it answers 10.61.0.1, an address of eth0, and not 10.77.0.1"), "{text}");
    assert!(text.contains("src 10.61.0.1"), "{text}");
}

#[test]
fn an_address_of_a_link_is_found_on_the_other_link() {
    let Some(hosts) = TwoHosts::new("link") else { return };
    let (a, b) = (hosts.name(0), hosts.name(1));
    assert!(ip(&["-n", a, "link", "add", "v0", "type", "veth", "peer", "name", "v1"]));
    assert!(ip(&["-n", a, "link", "set", "v0", "up"]) && ip(&["-n", a, "link", "set", "v1", "up"]));
    // Addresses that can be used at once, rather than when nobody has objected for a while.
    let given = [(a, "eth0", "fe80::a/64"), (a, "v0", "fe80::1a/64"), (b, "eth0", "fe80::b/64")];
    if !given.iter().all(|(host, nic, own)| ip(&["-n", host, "addr", "add", own, "dev", nic, "nodad"])) {
        return skip("this kernel has no IPv6");
    }
    let _server = serve(&hosts, "[::]:7797");
    let text = said_of(&hosts, "fe80::b%v0");
    assert!(text.contains("[fe80::b%v0]:7797"), "{text}");
    assert!(text.contains("on eth0 it takes connections: name the peer as [fe80::b%eth0]:7797"), "{text}");
}

#[test]
fn who_rejects_as_firewalld_does_is_no_host_that_is_away() {
    let Some(hosts) = TwoHosts::new("rejects") else { return };
    let rules = "add table ip f; add chain ip f i { type filter hook input priority 0; }; \
                 add rule ip f i tcp dport 7797 reject with icmp type host-prohibited";
    if !filter(&hosts, 1, rules) {
        return;
    }
    let text = said_of(&hosts, "10.61.0.2");
    assert!(
        text.contains("no way to 10.61.0.2:7797") && text.contains("open 7797/tcp at the peer"),
        "{text}"
    );
    assert!(text.contains("asked over eth0 from 10.61.0.1"), "{text}");
}
