//! `pathproof networks`: the networks of two hosts, as their NICs and routes make them.

use std::time::Duration;

use serde_json::json;

use crate::multi::{KEY, TwoNics};
use crate::netns::TwoHosts;
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
    assert!(networks.iter().all(|network| network["rehearsed"].is_null()), "nobody asked for it");
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

/// The evidence of a finding, where the document has it.
fn evidence(doc: &serde_json::Value, code: &str) -> Option<String> {
    let finding = doc["findings"].as_array()?.iter().find(|one| one["code"] == code)?;
    finding["evidence"].as_str().map(str::to_owned)
}

#[test]
fn nics_that_reach_one_another_over_gateways_are_told_from_those_that_share_a_subnet() {
    let Some(hosts) = TwoNics::new("routed", &[200, 200]) else { return };
    for (host, own, other) in [(0, 1, 2), (1, 2, 1)] {
        hosts.ip(host, &["addr", "flush", "dev", "v2"]);
        hosts.ip(host, &["addr", "add", &format!("10.71.{own}.1/24"), "dev", "v2"]);
        let (to, gateway) = (format!("10.71.{other}.0/24"), format!("10.71.{own}.254"));
        hosts.ip(host, &["route", "add", &to, "via", &gateway]);
    }
    let _server = hosts.serve();
    let args = [BINARY, "networks", "10.63.1.2", "--key", KEY, "--format", "json"];
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(30)));
    crate::documents::assert_valid(&doc, "routed networks");
    let told = evidence(&doc, "NETWORK-ROUTED").unwrap_or_else(|| panic!("{:#}", doc["findings"]));
    for part in
        ["10.71.1.0/24 (v2 of this host)", "10.71.2.0/24 (v2 of the other host)", "10.71.2.254 from there"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("v1"), "those share a subnet: {told}");
}

#[test]
fn a_network_at_whose_address_an_iscsi_target_listens_is_no_place_for_migrations() {
    const TARGET: &str =
        "import socket, time\ntarget = socket.create_server(('10.63.2.1', 3260))\ntime.sleep(60)";
    let Some(hosts) = TwoNics::new("iscsi", &[200, 200]) else { return };
    let _server = hosts.serve();
    let ask = || {
        let args = [BINARY, "networks", "10.63.1.2", "--key", KEY, "--format", "json"];
        document(&run_within(hosts.at(0, &args), Duration::from_secs(30)))
    };
    let doc = ask();
    assert_eq!(evidence(&doc, "NETWORK-MIGRATION-ISCSI"), None);
    assert!(
        doc["networks"].as_array().unwrap().iter().all(|one| one["iscsi"] == json!([])),
        "both hosts tell"
    );
    let _target = Speaker::of(hosts.at(0, &["python3", "-c", TARGET]));
    let start = std::time::Instant::now();
    let (doc, told) = loop {
        let doc = ask();
        if let Some(told) = evidence(&doc, "NETWORK-MIGRATION-ISCSI") {
            break (doc, told);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:#}", doc["networks"]);
    };
    crate::documents::assert_valid(&doc, "a network of iSCSI");
    assert!(told.contains("10.63.2.0/24: a target listens at 10.63.2.1 of this host"), "{told}");
    let network =
        doc["networks"].as_array().unwrap().iter().find(|one| one["subnet"] == "10.63.2.0/24").unwrap();
    assert_eq!(network["role"], "storage");
    assert_eq!(network["iscsi"], json!([{"node": 0, "address": "10.63.2.1"}]));
}

#[test]
fn the_ports_of_a_cluster_are_asked_on_every_network_and_a_closed_one_is_told_of_its_own() {
    let Some(hosts) = TwoNics::new("doors", &[200, 200]) else { return };
    let rules = "table inet f { chain i { type filter hook input priority 0; iifname \"v2\" udp dport 3343 drop; }; }";
    let filters = hosts.at(1, &["nft", rules]).output().is_ok_and(|output| output.status.success());
    if !filters {
        return skip("no nftables");
    }
    let _server = hosts.serve();
    let ask = |more: &[&str]| {
        let args = [&[BINARY, "networks", "10.63.1.2", "--key", KEY], more].concat();
        run_within(hosts.at(0, &args), Duration::from_secs(60))
    };
    let output = ask(&["--format", "json"]);
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{:#} {}", doc["verdicts"], stderr(&output));
    crate::documents::assert_valid(&doc, "ports of networks");
    let toward = |subnet: &str, direction: &str| {
        let network = doc["networks"].as_array().unwrap().iter().find(|one| one["subnet"] == subnet).unwrap();
        let ports = network["ports"].as_array().expect("the ports were asked");
        let own = ports.iter().filter(|one| one["direction"] == direction);
        own.map(|one| json!([one["name"], one["answer"]])).collect::<Vec<_>>()
    };
    let of = |subnet: &str| toward(subnet, "out");
    let all = |heartbeat: &str| {
        [
            json!(["445/tcp", "answered"]),
            json!(["6600/tcp", "answered"]),
            json!(["3343/tcp", "answered"]),
            json!(["3343/udp", heartbeat]),
            json!(["135/tcp", "answered"]),
            json!(["5985/tcp", "answered"]),
        ]
    };
    assert_eq!(of("10.63.1.0/24"), all("answered"));
    assert_eq!(of("10.63.2.0/24"), all("filtered"));
    // The way back has no firewall on it.
    assert_eq!(toward("10.63.1.0/24", "in"), all("answered"));
    assert_eq!(toward("10.63.2.0/24", "in"), all("answered"));
    let told = evidence(&doc, "NETWORK-PORT-CLOSED").unwrap_or_else(|| panic!("{:#}", doc["findings"]));
    assert!(told.contains("over 10.63.2.0/24: nothing came back from 3343/udp"), "{told}");
    assert!(!told.contains("10.63.1.0/24"), "{told}");
    let page = String::from_utf8(ask(&["--full"]).stdout).unwrap();
    assert!(page.contains("PORTS OF EACH NETWORK") && page.contains("3343/udp filtered"), "{page}");
}

#[test]
fn a_port_that_this_host_drops_on_one_network_is_closed_on_the_way_back_alone() {
    let Some(hosts) = TwoNics::new("doors-in", &[200, 200]) else { return };
    let rules = "table inet f { chain i { type filter hook input priority 0; iifname \"v2\" tcp dport 6600 drop; }; }";
    let filters = hosts.at(0, &["nft", rules]).output().is_ok_and(|output| output.status.success());
    if !filters {
        return skip("no nftables");
    }
    let _server = hosts.serve();
    let args = [BINARY, "networks", "10.63.1.2", "--key", KEY, "--format", "json"];
    let output = run_within(hosts.at(0, &args), Duration::from_secs(60));
    let doc = document(&output);
    let told = evidence(&doc, "NETWORK-PORT-CLOSED").unwrap_or_else(|| panic!("{:#}", doc["networks"]));
    assert!(
        told.starts_with(
            "from the other one to this host, over 10.63.2.0/24: nothing came back from 6600/tcp"
        ),
        "{told}"
    );
    assert!(!told.contains("10.63.1.0/24"), "{told}");
}

#[test]
fn networks_that_share_a_nic_and_nics_that_share_a_network_are_told() {
    let Some(hosts) = TwoNics::new("shares", &[200, 200]) else { return };
    for (host, address) in [(0, "10.63.9.1/24"), (1, "10.63.9.2/24")] {
        hosts.ip(host, &["addr", "add", address, "dev", "v1"]);
    }
    hosts.ip(1, &["addr", "add", "10.63.1.12/24", "dev", "v2"]);
    let _server = hosts.serve();
    let args = [BINARY, "networks", "10.63.1.2", "--key", KEY, "--format", "json"];
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(60)));
    let told = |code| evidence(&doc, code).unwrap_or_else(|| panic!("{code}: {:#}", doc["findings"]));
    let shares = told("NETWORK-SHARES-NIC");
    assert!(shares.contains("v1 of this host carries 10.63.1.0/24 and 10.63.9.0/24"), "{shares}");
    assert_eq!(told("NETWORK-TWO-NICS"), "v1 and v2 of the other host lie in 10.63.1.0/24");
    assert_eq!(evidence(&doc, "NETWORK-SUBNETS-OVERLAP"), None, "the same subnet is not one within another");
}

#[test]
fn a_subnet_within_that_of_another_nic_is_no_network_apart() {
    let Some(hosts) = TwoNics::new("within", &[200, 200]) else { return };
    for (host, address) in [(0, "10.63.2.1/16"), (1, "10.63.2.2/16")] {
        hosts.ip(host, &["addr", "flush", "dev", "v2"]);
        hosts.ip(host, &["addr", "add", address, "dev", "v2"]);
    }
    let _server = hosts.serve();
    let args = [BINARY, "networks", "10.63.1.2", "--key", KEY, "--format", "json"];
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(60)));
    let told = evidence(&doc, "NETWORK-SUBNETS-OVERLAP").unwrap_or_else(|| panic!("{:#}", doc["findings"]));
    for whose in ["this host", "the other host"] {
        let said = format!("10.63.1.0/24 (v1 of {whose}) lies within 10.63.0.0/16 (v2 of {whose})");
        assert!(told.contains(&said), "{told}");
    }
}

/// Whether a NIC of the first host is up.
fn is_up(hosts: &TwoNics, nic: &str) -> bool {
    let output = hosts.at(0, &["ip", "-o", "link", "show", nic]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(['<', '>']).nth(1).is_some_and(|flags| flags.split(',').any(|flag| flag == "UP"))
}

fn losing(hosts: &TwoNics, network: &str) -> std::process::Command {
    hosts.at(
        0,
        &[BINARY, "networks", "10.63.1.2", "--key", KEY, "--fail", network, "--full", "--format", "json"],
    )
}

#[test]
fn each_network_that_is_taken_down_is_stood_in_for_by_the_others_and_carries_again() {
    let Some(hosts) = TwoNics::new("lose", &[100, 100]) else { return };
    let _server = hosts.serve();
    let output = run_within(losing(&hosts, "all"), Duration::from_secs(120));
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{:#} {}", doc["verdicts"], stderr(&output));
    crate::documents::assert_valid(&doc, "networks that are lost");
    for network in doc["networks"].as_array().unwrap() {
        let loss = &network["rehearsed"];
        assert_eq!(loss["reason"], json!(null), "{network:#}");
        let other = if network["subnet"] == "10.63.1.0/24" { "10.63.2.0/24" } else { "10.63.1.0/24" };
        assert_eq!((&loss["left"], &loss["lost_bytes"]), (&json!([other]), &json!(0)), "{network:#}");
        // The order predicts the same.
        assert_eq!(network["if_lost"]["csv"], other);
        for figure in ["gap_ns", "noticed_after_ns", "returned_after_ns"] {
            assert!(loss[figure].as_u64().is_some_and(|ns| ns < 5_000_000_000), "{figure}: {network:#}");
        }
    }
    // By default migrations take the second first and the first last: the loss of the second alone is one to them.
    let of = |subnet: &str| {
        doc["networks"].as_array().unwrap().iter().find(|one| one["subnet"] == subnet).unwrap().clone()
    };
    assert!(of("10.63.1.0/24")["rehearsed_migration"].is_null());
    let migration = &of("10.63.2.0/24")["rehearsed_migration"];
    assert_eq!(migration["order"], json!(["10.63.2.0/24", "10.63.1.0/24"]), "{migration:#}");
    assert_eq!((&migration["nic"], &migration["went_on_over"]), (&json!("v2"), &json!("10.63.1.0/24")));
    assert_eq!((&migration["reason"], &migration["lost_bytes"]), (&json!(null), &json!(0)), "{migration:#}");
    for figure in ["redirect_ns", "noticed_after_ns", "returned_after_ns"] {
        assert!(migration[figure].as_u64().is_some_and(|ns| ns < 5_000_000_000), "{figure}: {migration:#}");
    }
    let went: Vec<&serde_json::Value> =
        doc["steps"].as_array().unwrap().iter().filter(|step| step["follows_up"] == "migration").collect();
    assert_eq!(went.len(), 1);
    let sent = |nic: &str| {
        let own = went[0]["nics"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["end"] == "client" && one["nic"] == nic);
        own.and_then(|one| one["lane_sent_bytes"].as_u64()).unwrap()
    };
    // One at a time carry what one link of 100 Mbit/s does in nine seconds, and not twice that.
    let (first, second) = (sent("v2"), sent("v1"));
    assert!(first > 0 && second > 0 && first + second < 130_000_000, "{first} {second}");
    let taken: Vec<&str> = doc["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["code"] == "NETWORK-TAKEN-DOWN")
        .map(|one| one["evidence"].as_str().unwrap())
        .collect();
    assert_eq!(taken.len(), 3, "{taken:?}");
    assert!(taken[2].starts_with("v2 (10.63.2.0/24)") && taken[2].contains("while a migration"), "{taken:?}");
    assert!(taken.iter().all(|told| stderr(&output).contains(told)), "said before it is done");
    let own = taken.iter().filter(|told| told.contains("this run's own connection")).collect::<Vec<_>>();
    assert!(own.len() == 1 && own[0].starts_with("v1 (10.63.1.0/24)"), "{taken:?}");
    assert!(is_up(&hosts, "v1") && is_up(&hosts, "v2"));
}

#[test]
fn a_network_is_lost_only_where_it_is_meant_and_another_one_is_there() {
    let Some(hosts) = TwoNics::new("keep", &[100, 100]) else { return };
    let _server = hosts.serve();
    let refused = |network: &str| {
        let output = run_within(losing(&hosts, network), Duration::from_secs(30));
        let doc = document(&output);
        assert_eq!(output.status.code(), Some(2), "{:#}", doc["verdicts"]);
        assert!(doc["networks"].as_array().unwrap().iter().all(|one| one["rehearsed"].is_null()));
        doc["error"]["message"].as_str().unwrap().to_owned()
    };
    let why = refused("10.63.9.0/24");
    assert!(why.contains("10.63.1.0/24 (v1)") && why.contains("10.63.2.0/24 (v2)"), "{why}");
    hosts.ip(1, &["link", "set", "v2", "down"]);
    let why = refused("v1");
    assert!(why.contains("nothing would take over"), "{why}");
    assert!(is_up(&hosts, "v1"));
}

#[test]
fn a_network_comes_back_although_the_run_was_killed() {
    let Some(hosts) = TwoNics::new("killed", &[100, 100]) else { return };
    let _server = hosts.serve();
    let mut command = losing(&hosts, "v2");
    let null = || std::process::Stdio::null();
    let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
    let wait = |up: bool| {
        let start = std::time::Instant::now();
        while is_up(&hosts, "v2") != up {
            assert!(start.elapsed() < Duration::from_secs(30), "v2 does not go {up}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(false);
    child.kill().unwrap();
    child.wait().unwrap();
    wait(true);
}

#[test]
fn what_two_hosts_are_set_to_differently_is_ranked_and_hosts_that_are_alike_differ_in_nothing() {
    let Some(hosts) = TwoNics::new("differ", &[200]) else { return };
    let _server = hosts.serve();
    let ask = || {
        let args = [BINARY, "networks", "10.63.1.2", "--key", KEY, "--format", "json"];
        document(&run_within(hosts.at(0, &args), Duration::from_secs(30)))
    };
    let has = |doc: &serde_json::Value| {
        doc["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "HOSTS-DIFFER")
    };
    let alike = ask();
    assert_eq!(alike["differences"], json!([]), "one kernel, one machine");
    assert!(!has(&alike));
    // Both look at one clock: what the greeting makes of it is off by no more than it says.
    let clock = &alike["nodes"][1]["clock"];
    let (offset, uncertainty) = (clock["offset_ns"].as_i64(), clock["uncertainty_ns"].as_u64());
    assert!(offset.zip(uncertainty).is_some_and(|(off, sure)| off.unsigned_abs() <= sure), "{clock}");
    drop(_server);
    hosts.ip(1, &["link", "set", "v1", "mtu", "1400"]);
    assert!(
        hosts.at(1, &["sysctl", "-qw", "net.ipv4.tcp_sack=0"]).status().is_ok_and(|status| status.success())
    );
    let _server = hosts.serve();
    let doc = ask();
    crate::documents::assert_valid(&doc, "differences");
    let told: Vec<_> = doc["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["weight"], one["nics"], one["fact"], one["here"], one["there"]]))
        .collect();
    let want = [
        json!(["grave", ["v1", "v1"], "IP MTU", "1500", "1400"]),
        json!(["costly", null, "net.ipv4.tcp_sack", "1", "0"]),
    ];
    assert_eq!(told, want);
    let finding =
        doc["findings"].as_array().unwrap().iter().find(|one| one["code"] == "HOSTS-DIFFER").unwrap();
    assert_eq!(finding["evidence"], "IP MTU of v1 and v1: 1500 here and 1400 there");
}

/// A neighbour that speaks LLDP five times a second: a switch port with PFC on 3 and 4, shares of 50, 40 and 5 %, frames of 1400 bytes.
const SPEAKER: &str = r"
import socket, struct, time
def tlv(kind, value): return struct.pack('!H', kind << 9 | len(value)) + value
def of(org, sub, value): return tlv(127, bytes.fromhex(org) + bytes([sub]) + value)
said = (tlv(1, b'\x04\x02\0\0\0\0\xab') + tlv(2, b'\x05Ethernet1/7') + tlv(3, b'\0\x78') + tlv(5, b'tor-a')
    + of('0080c2', 1, b'\x02\xc7')
    + b''.join(of('0080c2', 3, struct.pack('!HB', vlan, 2) + b'lm') for vlan in (711, 712))
    + of('0080c2', 9, b'\0' + b'\0\x03\0\x07' + bytes([50, 0, 0, 40, 0, 0, 0, 5]) + b'\x02' * 8)
    + of('0080c2', 11, b'\x08\x18') + of('0080c2', 12, b'\0' + bytes([3 << 5 | 2, 1, 0xbd]))
    + of('00120f', 4, struct.pack('!H', 1400)) + tlv(0, b''))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(('eth0', 0))
while True:
    wire.send(bytes.fromhex('0180c200000e' + '0200000000ab' + '88cc') + said)
    time.sleep(0.2)
";

/// Something that speaks until it is let go, in order.
struct Speaker(std::process::Child);

impl Speaker {
    fn of(mut command: std::process::Command) -> Speaker {
        use std::process::Stdio;
        Speaker(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the speaker starts"))
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Ports of switches that the client of a short run heard, and the codes of its findings.
fn heard(hosts: &TwoHosts) -> (Vec<serde_json::Value>, Vec<String>) {
    let _server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    let args = [BINARY, "bench", "pingpong", "10.61.0.2", "--key", KEY, "--time", "3s", "--format", "json"];
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(60)));
    crate::documents::assert_valid(&doc, "switch ports");
    let evidence = doc["steps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|step| step["evidence"].as_array().cloned().unwrap_or_default());
    let own = evidence
        .filter(|one| one["node"] == 0)
        .flat_map(|one| one["switch_ports"].as_array().cloned().unwrap_or_default());
    let codes = doc["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap().to_owned())
        .collect();
    (own.collect(), codes)
}

#[test]
fn what_the_switch_says_of_its_port_is_heard_and_judged() {
    let Some(hosts) = TwoHosts::new("lldp") else { return };
    let (silent, codes) = heard(&hosts);
    assert!(
        silent.is_empty() && !codes.iter().any(|code| code.starts_with("SWITCH-")),
        "{silent:?} {codes:?}"
    );
    let _speaker = Speaker::of(hosts.at(1, &["python3", "-c", SPEAKER]));
    let (ports, codes) = heard(&hosts);
    let port = ports.first().expect("a port was heard");
    assert_eq!(
        json!([port["nic"], port["system_name"], port["port"], port["vlan"], port["frame_bytes_max"]]),
        json!(["eth0", "tor-a", "Ethernet1/7", 711, 1400])
    );
    assert_eq!(port["vlans"], json!([711, 712]));
    assert_eq!(port["dcb"]["pfc"]["enabled_priorities"], json!([3, 4]));
    assert_eq!(port["dcb"]["ets"]["bandwidth_percent"], json!([50, 0, 0, 40, 0, 0, 0, 5]));
    assert_eq!(
        port["dcb"]["applications"],
        json!([{"selector": "stream-port", "protocol": 445, "priority": 3}])
    );
    assert!(
        codes.contains(&"SWITCH-FRAME-SHORT".into()) && codes.contains(&"SWITCH-DCB-DIFFERS".into()),
        "{codes:?}"
    );
}

#[test]
fn what_the_ports_of_both_ends_say_differently_is_told_of_the_pair_of_nics() {
    let Some(hosts) = TwoHosts::new("lldptwo") else { return };
    // Each host hears the one that speaks at the other end: VLAN 711 here and 712 there, and nothing else that differs.
    let other = SPEAKER.replace(r"\x02\xc7", r"\x02\xc8");
    assert_ne!(other, SPEAKER);
    let _near = Speaker::of(hosts.at(1, &["python3", "-c", SPEAKER]));
    let _far = Speaker::of(hosts.at(0, &["python3", "-c", &other]));
    let _server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    let args = [BINARY, "bench", "pingpong", "10.61.0.2", "--key", KEY, "--time", "3s", "--format", "json"];
    let doc = document(&run_within(hosts.at(0, &args), Duration::from_secs(60)));
    crate::documents::assert_valid(&doc, "switch ports of both ends");
    let differences = doc["differences"].as_array().unwrap().iter();
    let told: Vec<_> = differences
        .filter(|one| one["fact"].as_str().unwrap().ends_with("of the switch port"))
        .map(|one| json!([one["weight"], one["nics"], one["fact"], one["here"], one["there"]]))
        .collect();
    assert_eq!(told, [json!(["costly", ["eth0", "eth0"], "VLAN of the switch port", "711", "712"])]);
}

#[test]
fn a_real_speaker_of_lldp_is_understood() {
    let Some(hosts) = TwoHosts::new("lldpd") else { return };
    let scratch = Scratch::new("lldpd");
    let socket = scratch.path("socket");
    if !hosts.at(1, &["lldpd", "-v"]).output().is_ok_and(|output| output.status.success()) {
        return skip("no lldpd");
    }
    let _speaker = Speaker::of(
        hosts.at(1, &["lldpd", "-d", "-I", "eth0", "-u", &socket, "-S", "a switch", "-L", "/bin/true"]),
    );
    let told = |words: &str| {
        let args = [&["lldpcli", "-u", &socket][..], &words.split(' ').collect::<Vec<_>>()].concat();
        hosts.at(1, &args).output().is_ok_and(|output| output.status.success())
    };
    let start = std::time::Instant::now();
    while !told("configure lldp tx-interval 1") {
        assert!(start.elapsed() < Duration::from_secs(10), "lldpd answers");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(told("configure system hostname tor-b") && told("resume"));
    let (ports, codes) = heard(&hosts);
    let port = ports.last().expect("a port was heard");
    assert_eq!(
        json!([port["nic"], port["system_name"], port["system_description"]]),
        json!(["eth0", "tor-b", "a switch"])
    );
    assert!(port["dcb"].is_null(), "what it does not say is unknown: {port:#}");
    assert!(!codes.iter().any(|code| code.starts_with("SWITCH-")), "{codes:?}");
}

#[test]
fn each_pair_of_nics_tells_by_which_path_its_packets_go() {
    let Some(hosts) = TwoNics::new("paths", &[200]) else { return };
    // The first host's address lies on a bridge over its NIC, as on a hypervisor.
    hosts.ip(0, &["link", "add", "name", "vbr0", "type", "bridge"]);
    hosts.ip(0, &["addr", "flush", "dev", "v1"]);
    hosts.ip(0, &["link", "set", "v1", "master", "vbr0"]);
    hosts.ip(0, &["addr", "add", "10.63.1.1/24", "dev", "vbr0"]);
    hosts.ip(0, &["link", "set", "vbr0", "up"]);
    let _server = hosts.serve();
    let ask = |more: &[&str]| {
        let args = [&[BINARY, "channels", "10.63.1.2", "--key", KEY], more].concat();
        run_within(hosts.at(0, &args), Duration::from_secs(30))
    };
    let doc = document(&ask(&["--format", "json"]));
    crate::documents::assert_valid(&doc, "paths of packets");
    let paths = doc["channels"]["packet_paths"].as_array().unwrap();
    let path = paths.iter().find(|path| path["local_nic"] == "vbr0" && path["remote_nic"] == "v1");
    let path = path.unwrap_or_else(|| panic!("{:#}", doc["channels"]));
    assert_eq!(path["local"]["kind"], "bridge", "{path:#}");
    assert_eq!((&path["remote"]["kind"], &path["remote"]["through"]), (&json!("veth"), &json!(["v1"])));
    let page = String::from_utf8(ask(&[]).stdout).unwrap();
    assert!(page.contains("PATH OF PACKETS") && page.contains("bridge of the host"), "{page}");
}
