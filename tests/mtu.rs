//! `pathproof mtu` from outside: what cannot be meant is refused with help, loopback is exact, and the machine
//! contract holds. The topologies are in tests/scenarios/mtu.

use std::time::Duration;

use serde_json::Value;

use crate::netns::{TwoHosts, ip};
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
    refused(&["mtu", "127.0.0.1", "--agentless", "--nic", "nosuch0"], &["nosuch0", "this host has"]);
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
    assert!(text.contains("nosuch0") && text.contains("this host has "), "{text}");
}

/// This host as an ordinary user: no capability, and no way to get one.
pub fn as_nobody<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let nobody = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    nobody.iter().chain(command).copied().collect()
}

#[test]
fn without_permission_an_agentless_search_names_the_setting_that_gives_it() {
    let Some(hosts) = TwoHosts::new("echo") else { return };
    let pings = |range: &str| {
        let setting = format!("net.ipv4.ping_group_range={range}");
        assert!(hosts.at(0, &["sysctl", "-qw", &setting]).status().unwrap().success());
    };
    // The test binary may lie where only its owner reads.
    let scratch = Scratch::new("echo");
    let binary = scratch.path("pathproof");
    std::fs::copy(BINARY, &binary).unwrap();
    let agentless = [binary.as_str(), "mtu", "10.61.0.2", "--agentless", "--format", "json"];

    pings("1 0");
    let refused = run_within(hosts.at(0, &as_nobody(&agentless)), Duration::from_secs(20));
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    for way in ["net.ipv4.ping_group_range", "cap_net_raw", "as root"] {
        assert!(stderr(&refused).contains(way), "{way} is not named: {}", stderr(&refused));
    }
    // Root needs no setting, and an ordinary user none but this one.
    let raw = run_within(hosts.at(0, &agentless), Duration::from_secs(20));
    pings("0 2147483647");
    let allowed = run_within(hosts.at(0, &as_nobody(&agentless)), Duration::from_secs(20));
    for output in [raw, allowed] {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(step(&document(&output), "mtu")["paths"][0]["ip_mtu_bytes"], 1500);
    }
}

#[test]
fn a_host_without_ipv6_says_so_and_measures_the_rest() {
    let Some(hosts) = TwoHosts::new("no6") else { return };
    assert!(hosts.at(0, &["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]).status().unwrap().success());
    let _server = Server::spawn(
        hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", "k-e-y-4-tests"]),
    );
    let mtu = |family: &str| {
        let args =
            [BINARY, "mtu", "10.61.0.2", "--key", "k-e-y-4-tests", "--family", family, "--format", "json"];
        run_within(hosts.at(0, &args), Duration::from_secs(20))
    };
    let only6 = mtu("6");
    assert_eq!(only6.status.code(), Some(2), "what this host cannot do says nothing about the path");
    let message = document(&only6)["steps"][0]["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("no NIC of this host has a usable IPv6 address"), "{message}");
    let both = mtu("both");
    assert_eq!(both.status.code(), Some(0), "{}", stderr(&both));
    let paths = step(&document(&both), "mtu")["paths"].as_array().unwrap().clone();
    assert!(!paths.is_empty() && paths.iter().all(|p| p["family"] == 4), "{paths:#?}");

    let unreachable = run_within(
        hosts.at(0, &[BINARY, "mtu", "[fd00:9::2]", "--key", "k-e-y-4-tests"]),
        Duration::from_secs(20),
    );
    assert_eq!(unreachable.status.code(), Some(2));
    assert!(stderr(&unreachable).contains("no IPv6 address"), "{}", stderr(&unreachable));
}

#[test]
fn a_host_name_with_only_an_ipv6_address_is_reached() {
    let Some(hosts) = TwoHosts::new("only6") else { return };
    for (host, address) in [(0, "fd00:61::1/64"), (1, "fd00:61::2/64")] {
        assert!(
            hosts
                .at(host, &["ip", "addr", "add", address, "dev", "eth0", "nodad"])
                .status()
                .unwrap()
                .success()
        );
    }
    let _server = Server::spawn(
        hosts.at(1, &[BINARY, "serve", "--listen", "[fd00:61::2]:7797", "--key", "k-e-y-4-tests"]),
    );
    // A name of its own for this namespace alone, by a hosts file that only it sees.
    let scratch = Scratch::new("only6");
    let names = scratch.path("hosts");
    std::fs::write(&names, "fd00:61::2 stor6.test\n").unwrap();
    let command = format!(
        "mount --bind {names} /etc/hosts && exec {BINARY} mtu stor6.test --key k-e-y-4-tests --family 6 --format json"
    );
    let output = run_within(hosts.at(0, &["sh", "-c", &command]), Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let doc = document(&output);
    let paths = step(&doc, "mtu")["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 2, "{paths:#?}");
    assert!(paths.iter().all(|p| p["family"] == 6 && p["ip_mtu_bytes"] == 1500), "{paths:#?}");
}

fn mtu(hosts: &TwoHosts, more: &[&str]) -> std::process::Output {
    let mut args = vec![BINARY, "mtu", "10.61.0.2", "--key", "k-e-y-4-tests", "--format", "json"];
    args.extend(more);
    run_within(hosts.at(0, &args), Duration::from_secs(20))
}

fn serve(hosts: &TwoHosts) -> Server {
    Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", "k-e-y-4-tests"]))
}

#[test]
fn a_receiver_that_drops_what_the_sender_may_send_is_not_fit_and_the_advice_names_host_and_value() {
    let Some(hosts) = TwoHosts::new("ends") else { return };
    assert!(ip(&["-n", hosts.name(0), "link", "set", "eth0", "mtu", "9000"]));
    let _server = serve(&hosts);
    for more in [&[][..], &["--expect", "1500"]] {
        let output = mtu(&hosts, more);
        let doc = document(&output);
        assert_eq!(output.status.code(), Some(1), "{:#}", doc["verdicts"]);
        let verdicts = doc["verdicts"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["subject"] == "mtu").unwrap();
        assert_eq!(verdict["outcome"], "fail", "{verdict:#}");
        let findings = doc["findings"].as_array().unwrap();
        let differ = findings.iter().find(|finding| finding["code"] == "MTU-ENDS-DIFFER").unwrap();
        assert_eq!(differ["severity"], "error", "{differ:#}");
        let next = differ["next"].as_str().unwrap();
        for advice in ["ip link set dev eth0 mtu 9000 at the peer", "ip link set dev eth0 mtu 1500 here"] {
            assert!(next.contains(advice), "{next}");
        }
    }
    // Followed to the letter, it heals the path.
    assert!(ip(&["-n", hosts.name(1), "link", "set", "eth0", "mtu", "9000"]));
    let output = mtu(&hosts, &[]);
    assert_eq!(output.status.code(), Some(0), "{:#}", document(&output)["findings"]);
}

/// A namespace that is deleted with the test.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

#[test]
fn an_address_that_the_peer_names_and_a_third_host_has_sees_three_small_challenges_and_nothing_else() {
    let Some(hosts) = TwoHosts::new("third") else { return };
    let third = Namespace(format!("pp{}-third-c", std::process::id()));
    let (a, b, c) = (hosts.name(0), hosts.name(1), third.0.as_str());
    // The third host is the client's neighbour on another segment. The peer claims its address on a NIC of its own.
    let made = ip(&["netns", "add", c])
        && ip(&[
            "-n", a, "link", "add", "eth1", "mtu", "9000", "type", "veth", "peer", "name", "eth0", "netns", c,
        ])
        && ip(&["-n", b, "link", "add", "liar", "mtu", "9000", "type", "veth", "peer", "name", "liar2"])
        && ip(&["-n", a, "addr", "add", "10.62.0.1/24", "dev", "eth1"])
        && ip(&["-n", b, "addr", "add", "10.62.0.3/24", "dev", "liar"])
        && ip(&["-n", c, "addr", "add", "10.62.0.3/24", "dev", "eth0"])
        && [(a, "eth1"), (b, "liar"), (b, "liar2"), (c, "eth0")]
            .iter()
            .all(|(host, nic)| ip(&["-n", host, "link", "set", nic, "up"]));
    assert!(made);
    let count = "add table ip f; add chain ip f i { type filter hook prerouting priority 0; }; \
                 add rule ip f i meta l4proto udp counter";
    let inside = |args: &[&str]| {
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", c]).args(args).output().unwrap()
    };
    if !inside(&["nft", count]).status.success() {
        return skip("counting packets needs nft and its kernel modules");
    }
    let _server = serve(&hosts);
    let doc = document(&mtu(&hosts, &["--family", "4"]));
    let rules = inside(&["nft", "-j", "list", "table", "ip", "f"]);
    let rules: Value = serde_json::from_slice(&rules.stdout).unwrap();
    let counter = rules["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|item| item["rule"]["expr"].as_array()?.iter().find_map(|expr| expr["counter"].as_object()))
        .unwrap();
    let (packets, bytes) = (counter["packets"].as_u64().unwrap(), counter["bytes"].as_u64().unwrap());
    assert!((1..=3).contains(&packets), "the third host saw {packets} packets");
    assert!(bytes <= 3 * 68, "the third host saw {bytes} bytes");
    // It is not passed over in silence, and the peer's own path is measured all the same.
    let paths = step(&doc, "mtu")["paths"].as_array().unwrap();
    let of = |address: &str| paths.iter().find(|path| path["remote_address"] == address).unwrap();
    assert_eq!(of("10.62.0.3")["limit"], "unknown");
    assert_eq!(of("10.61.0.2")["ip_mtu_bytes"], 1500);
}
