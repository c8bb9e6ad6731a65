//! `pathproof mtu` from outside: what cannot be meant is refused with help, loopback is exact, and the machine
//! contract holds. The topologies are in tests/scenarios/mtu.

use serde_json::Value;

use crate::support::*;

fn refused(args: &[&str], says: &[&str]) {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    let text = stderr(&output);
    for word in says {
        assert!(text.contains(word), "{args:?} does not say {word:?}: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_help() {
    refused(&["mtu", "127.0.0.1", "--expect", "67"], &["67", "68 to 65535"]);
    refused(&["mtu", "127.0.0.1", "--expect", "65536"], &["65536", "68 to 65535"]);
    refused(&["mtu", "127.0.0.1", "--expect", "-1"], &["expect"]);
    refused(&["mtu", "127.0.0.1", "--family", "5"], &["4, 6, both"]);
    refused(&["mtu"], &["PEER"]);
    refused(&["mtu", "no-such-host.invalid", "--agentless"], &["no-such-host.invalid", "IP address"]);
    refused(&["mtu", "127.0.0.1", "--agentless", "--family", "6"], &["IPv4", "--family"]);
    refused(&["mtu", "127.0.0.1", "--agentless", "--nic", "nosuch0"], &["nosuch0", "there are"]);
}

#[test]
fn a_peer_without_an_agent_is_told_how_to_get_one() {
    // Port 1 of this host: nothing listens there.
    refused(&["mtu", "127.0.0.1:1"], &["pathproof serve"]);
}

#[test]
fn loopback_carries_the_longest_ip_packet_and_the_contract_holds() {
    let output = run(&["mtu", "--self", "--family", "4", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let doc: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let step =
        doc["steps"].as_array().unwrap().iter().find(|step| step["kind"] == "mtu").expect("an mtu step");
    let paths = step["paths"].as_array().expect("paths");
    assert_eq!(paths.len(), 2, "{paths:#?}");
    for (path, direction) in paths.iter().zip(["out", "in"]) {
        assert_eq!(path["direction"], direction);
        assert_eq!((&path["local_nic"], &path["remote_nic"]), (&"lo".into(), &"lo".into()));
        assert_eq!((&path["family"], &path["ip_mtu_bytes"]), (&4.into(), &65_535.into()));
        assert_eq!(path["limit"], "none");
        assert!(path["probes"].as_u64().unwrap() <= 200 && path["elapsed_ns"].as_u64().unwrap() > 0);
        assert_eq!(path["numbers"]["windows_jumbo_packet_bytes"], 65_549);
    }
}

#[test]
fn a_nic_that_is_not_there_is_named_with_those_that_are() {
    let output = run(&["mtu", "--self", "--nic", "nosuch0", "--format", "json"]);
    assert_ne!(output.status.code(), Some(0));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(text.contains("nosuch0") && text.contains("there are: "), "{text}");
}
