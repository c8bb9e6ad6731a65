//! Several NICs: two veth pairs between two namespaces, shaped, cut and watched.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

pub const KEY: &str = "k-e-y-4-tests";

/// The goal is a second, and scripts/bench/multi-scaling measures it; this machine may be busy with anything.
const GAP_NS_MAX: u64 = 3_000_000_000;

/// Two namespaces joined by several veth pairs through a bridge each, so that a link can fall silent while both
/// ends still have carrier. NIC i is `v{i}` with 10.63.i.1 and 10.63.i.2.
pub struct TwoNics {
    names: [String; 3],
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|o| o.status.success())
}

impl TwoNics {
    pub fn new(tag: &str, rates_mbit: &[u32]) -> Option<TwoNics> {
        let name = |end: &str| format!("ppm{}-{tag}-{end}", std::process::id());
        let hosts = TwoNics { names: [name("a"), name("b"), name("s")] };
        let made = hosts
            .names
            .iter()
            .all(|ns| ip(&["netns", "add", ns]) && ip(&["-n", ns, "link", "set", "lo", "up"]))
            && rates_mbit.iter().enumerate().all(|(at, rate)| hosts.add(at + 1, *rate));
        if !made {
            skip("several NICs need root, network namespaces, bridges and tbf");
            return None;
        }
        Some(hosts)
    }

    fn add(&self, at: usize, rate_mbit: u32) -> bool {
        let [a, b, switch] = &self.names;
        let nic = format!("v{at}");
        let bridge = format!("br{at}");
        let mut ok = ip(&["-n", switch, "link", "add", "name", &bridge, "type", "bridge"])
            && ip(&["-n", switch, "link", "set", &bridge, "up"]);
        for (host, (ns, port)) in [(a, format!("a{at}")), (b, format!("b{at}"))].into_iter().enumerate() {
            let address = format!("10.63.{at}.{}/24", host + 1);
            ok =
                ok && ip(&[
                    "-n", ns, "link", "add", &nic, "type", "veth", "peer", "name", &port, "netns", switch,
                ]) && ip(&["-n", ns, "addr", "add", &address, "dev", &nic])
                    && ip(&["-n", ns, "link", "set", &nic, "up"])
                    && ip(&["-n", switch, "link", "set", &port, "master", &bridge])
                    && ip(&["-n", switch, "link", "set", &port, "up"]);
            let rate = format!("{rate_mbit}mbit");
            let shape = [
                "-n", ns, "qdisc", "add", "dev", &nic, "root", "tbf", "rate", &rate, "burst", "256kb",
                "latency", "20ms",
            ];
            ok = ok && Command::new("tc").args(shape).output().is_ok_and(|o| o.status.success());
        }
        ok
    }

    pub fn at(&self, host: usize, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        // The tests themselves may run under nohup.
        command
            .args(["netns", "exec", &self.names[host], "env", "--default-signal"])
            .args(args)
            .env_remove("PATHPROOF_KEY");
        command
    }

    /// Takes the switch's end of a cable down or up; the host at its other end loses carrier.
    fn switch_port(&self, port: &str, state: &str) {
        assert!(ip(&["-n", &self.names[2], "link", "set", port, state]), "{port} {state}");
    }

    /// Waits until something bulky flows from the first host over these NICs, however slow this machine is.
    fn await_traffic(&self, nics: &[&str]) {
        let sent = |nic: &str| {
            let output =
                Command::new("ip").args(["-n", &self.names[0], "-s", "-j", "link", "show", nic]).output();
            let links: Value = serde_json::from_slice(&output.expect("ip runs").stdout).unwrap_or_default();
            links[0]["stats64"]["tx"]["bytes"].as_u64().unwrap_or(0)
        };
        let start = std::time::Instant::now();
        while nics.iter().any(|nic| sent(nic) < 4 << 20) {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing flows");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs `ip` in a host.
    pub fn ip(&self, host: usize, args: &[&str]) {
        let all = [&["-n", &self.names[host]], args].concat();
        assert!(ip(&all), "ip {args:?}");
    }

    /// The switch forwards nothing on this link any more, and nobody's carrier tells.
    pub fn silence(&self, at: usize, silent: bool) {
        let (bridge, state) = (format!("br{at}"), if silent { "down" } else { "up" });
        assert!(ip(&["-n", &self.names[2], "link", "set", &bridge, state]), "{bridge} {state}");
    }

    pub fn serve(&self) -> Server {
        Server::spawn(self.at(1, &[BINARY, "serve", "--listen", "0.0.0.0:7797", "--key", KEY]))
    }

    pub fn stream(&self, args: &[&str]) -> Command {
        let mut all = vec![BINARY, "bench", "stream", "10.63.1.2:7797", "--key", KEY, "--format", "json"];
        // A virtual link has no speed to be held against.
        all.extend(["--over", "multi", "--expect-rate", "1Mbit/s"]);
        all.extend(args);
        self.at(0, &all)
    }
}

impl Drop for TwoNics {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

fn only_step(doc: &Value) -> &Value {
    // Where a pair fell silent, who is on the wires is asked at the end.
    let steps = doc["steps"].as_array().expect("steps");
    steps.iter().rev().find(|step| step["kind"] != "facts").expect("one step")
}

fn codes(doc: &Value) -> Vec<&str> {
    doc["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect()
}

#[test]
fn both_nics_carry_and_their_own_counters_prove_it() {
    let Some(hosts) = TwoNics::new("both", &[200, 200]) else { return };
    let _server = hosts.serve();
    let output = run_within(hosts.stream(&["--time", "3s", "--warmup", "1s"]), Duration::from_secs(40));
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    crate::documents::assert_valid(&doc, "a multi stream");
    let step = only_step(&doc);
    let goodput = step["summary"]["goodput_bits_per_s"].as_u64().unwrap();
    // 1448 of 1514 bytes of a frame are payload; tbf counts the frame without its checksum.
    let most = 400_000_000 * 1448 / 1514;
    // That is what scripts/bench/multi-scaling measures; here it is enough that one NIC alone could not.
    assert!(goodput * 100 >= most * 70, "{goodput} of {most}");
    for end in ["client", "server"] {
        for nic in ["v1", "v2"] {
            let share = step["nics"].as_array().unwrap().iter().find(|n| n["end"] == end && n["nic"] == nic);
            let share = share.unwrap_or_else(|| panic!("{nic} of the {end} is missing in {}", step["nics"]));
            let way = if end == "client" { "sent" } else { "received" };
            let lanes = share[format!("lane_{way}_bytes")].as_u64().unwrap();
            let counted = share[format!("nic_{way}_bytes")].as_u64().unwrap();
            assert!(lanes > 20_000_000, "{share}");
            assert!(counted >= lanes && counted < lanes * 110 / 100, "{share}");
        }
    }
    for lane in step["lanes"].as_array().unwrap() {
        assert_eq!(lane["nics"], serde_json::json!(["v1", "v2"]), "{lane}");
    }
    assert!(!codes(&doc).contains(&"CHANNEL-LEAK") && !codes(&doc).contains(&"CHANNEL-LOST"));
}

#[test]
fn one_nic_alone_is_counted_as_two_are() {
    let Some(hosts) = TwoNics::new("one", &[200, 200]) else { return };
    let _server = hosts.serve();
    let args = ["--time", "1s", "--option", "constrain=v2"];
    let doc = document(&run_within(hosts.stream(&args), Duration::from_secs(40)));
    let nics = only_step(&doc)["nics"].as_array().unwrap();
    let share = nics.iter().find(|n| n["end"] == "client" && n["nic"] == "v2").expect("the NIC that carried");
    assert!(share["lane_sent_bytes"].as_u64().unwrap() > 5_000_000, "{share}");
    assert!(share["nic_sent_bytes"].as_u64() >= share["lane_sent_bytes"].as_u64(), "{share}");
    assert_eq!(only_step(&doc)["lanes"][0]["nics"], serde_json::json!(["v2"]));
}

#[test]
fn a_check_compares_the_nics_together_with_each_alone() {
    let Some(hosts) = TwoNics::new("sum", &[200, 200]) else { return };
    let _server = hosts.serve();
    let scratch = Scratch::new("sum");
    let file = scratch.path("result.json");
    let args =
        [BINARY, "check", "10.63.1.2", "--key", KEY, "--quick", "--over", "multi", "--full", "-o", &file];
    let output = run_within(hosts.at(0, &args), Duration::from_secs(90));
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    crate::documents::assert_valid(&doc, "a check over two NICs");
    let steps: Vec<String> = doc["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| format!("{} {} {} {}", s["name"], s["started_ns"], s["elapsed_ns"], s["error"]))
        .collect();
    assert!(
        doc["findings"].as_array().unwrap().iter().all(|f| f["code"] != "RUN-CUT"),
        "{steps:#?} {:#}",
        step(&doc, "migrate")
    );
    let alone = &step(&doc, "stream")["alone"];
    let each = alone["each"].as_array().unwrap();
    assert_eq!(each.iter().map(|one| one["nic"].as_str().unwrap()).collect::<Vec<_>>(), ["v1", "v2"]);
    let sum: u64 = each.iter().map(|one| one["goodput_bits_per_s"].as_u64().unwrap()).sum();
    assert_eq!(alone["sum_bits_per_s"], sum);
    assert!(alone["share_of_sum"].as_f64().unwrap() > 0.5, "{alone}");
    assert!(alone["imbalance"].as_f64().unwrap() < 0.5, "{alone}");
    let verdicts = doc["verdicts"].as_array().unwrap();
    let told = verdicts.iter().find(|v| v["subject"] == "throughput/multi/out").unwrap();
    assert!(told["reason"].as_str().unwrap().contains("2 NICs carry"), "{told}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("v2 alone") && text.contains("in sum"), "{text}");
}

#[test]
fn unequal_links_are_both_filled_under_the_linux_rules() {
    let Some(hosts) = TwoNics::new("uneq", &[200, 100]) else { return };
    let _server = hosts.serve();
    let args = ["--time", "3s", "--warmup", "1s", "--option", "policy=linux"];
    let output = run_within(hosts.stream(&args), Duration::from_secs(40));
    let doc = document(&output);
    let goodput = only_step(&doc)["summary"]["goodput_bits_per_s"].as_u64().unwrap();
    let most = 300_000_000u64 * 1448 / 1514;
    // More than the faster link alone, on a machine that is busy with other tests.
    assert!(goodput * 100 >= most * 72, "{goodput} of {most}");
}

#[test]
fn a_nic_taken_down_costs_no_byte_and_comes_back() {
    let Some(hosts) = TwoNics::new("fail", &[200, 200]) else { return };
    let _server = hosts.serve();
    let output = run_within(hosts.stream(&["--time", "6s", "--fail", "v2@1s:3s"]), Duration::from_secs(60));
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    crate::documents::assert_valid(&doc, "a failover");
    let failover = &only_step(&doc)["failover"];
    assert_eq!(failover["nic"], "v2");
    assert_eq!(
        (&failover["lost_bytes"], &failover["duplicated_bytes"]),
        (&0.into(), &0.into()),
        "{failover}"
    );
    assert_eq!(failover["verified"], true);
    assert!(failover["gap_ns"].as_u64().unwrap() <= GAP_NS_MAX, "{failover}");
    assert!(failover["noticed_after_ns"].as_u64().unwrap() <= GAP_NS_MAX, "{failover}");
    assert!(failover["replayed_messages"].as_u64().unwrap() > 0, "{failover}");
    assert!(failover["rejoined"].as_u64().unwrap() >= 1, "{failover}");
    assert!(failover["carried_again_after_ns"].as_u64().is_some(), "{failover}");
    assert!(codes(&doc).contains(&"CHANNEL-LOST") && !codes(&doc).contains(&"CHANNEL-DATA-FAULT"));
}

/// A verified stream over two NICs with the server beside it, disturbed when it flows.
fn disturbed(tag: &str, args: &[&str], disturb: impl FnOnce(&TwoNics)) -> Option<Value> {
    let hosts = TwoNics::new(tag, &[200, 200])?;
    let _server = hosts.serve();
    let command = hosts.stream(&[&["--verify"], args].concat());
    let running = std::thread::spawn(move || run_within(command, Duration::from_secs(50)));
    hosts.await_traffic(&["v1", "v2"]);
    disturb(&hosts);
    let output = running.join().unwrap();
    let doc = document(&output);
    // A path that falls silent costs the worst second what it costs; here it is about the session going on.
    // On a busy machine nobody can tell whose second that was.
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{} {}", doc["error"], only_step(&doc)["error"]);
    assert!(doc["error"].is_null() && only_step(&doc)["error"].is_null(), "{doc:#}");
    Some(doc)
}

/// A NIC was lost, and the bytes do not tell.
fn assert_whole(doc: &Value) {
    let failover = &only_step(doc)["failover"];
    for bytes in ["lost_bytes", "duplicated_bytes"] {
        assert_eq!(failover[bytes], 0, "{failover}");
    }
    assert_eq!(failover["verified"], true, "{failover}");
    assert!(codes(doc).contains(&"CHANNEL-LOST") && !codes(doc).contains(&"CHANNEL-DATA-FAULT"));
}

#[test]
fn a_watched_link_is_seen_at_either_end_and_ends_the_step_when_it_is_back() {
    let watched = |tag: &str, port: &str, end: &str| {
        let began = std::time::Instant::now();
        let pull = |hosts: &TwoNics| {
            hosts.switch_port(port, "down");
            std::thread::sleep(DURING);
            hosts.switch_port(port, "up");
        };
        let Some(doc) = disturbed(tag, &["--time", "45s", "--watch-links"], pull) else { return };
        assert!(began.elapsed() < Duration::from_secs(40), "it ends by itself");
        assert_whole(&doc);
        let failover = &only_step(&doc)["failover"];
        assert_eq!((&failover["nic"], &failover["end"]), (&"v2".into(), &end.into()), "{failover}");
        let [down, up] = ["failed_at_ns", "recovered_at_ns"].map(|name| failover[name].as_u64().unwrap());
        assert!(up - down >= DURING.as_nanos() as u64 / 2, "{failover}");
        assert!(failover["rejoined"].as_u64().unwrap() >= 1, "{failover}");
    };
    std::thread::scope(|scope| {
        for (tag, port, end) in [("wata", "a2", "client"), ("watb", "b2", "server")] {
            scope.spawn(move || watched(tag, port, end));
        }
    });
}

const DURING: Duration = Duration::from_millis(1200);

/// Both NICs of both hosts in one subnet and on one switch, and a server as Linux comes: it answers for either
/// address on either NIC, and sends everything through the one that the route names.
fn in_one_subnet(hosts: &TwoNics) {
    for (host, port, address) in [(0, "a2", "10.63.1.11/24"), (1, "b2", "10.63.1.12/24")] {
        assert!(ip(&["-n", &hosts.names[2], "link", "set", port, "master", "br1"]));
        hosts.ip(host, &["addr", "flush", "dev", "v2"]);
        hosts.ip(host, &["addr", "add", address, "dev", "v2"]);
    }
    // The client tells its NICs apart, so that what goes wrong is the server's doing.
    for (host, settings) in
        [(0, "arp_ignore=1 arp_announce=2 rp_filter=0"), (1, "arp_ignore=0 arp_announce=0 rp_filter=0")]
    {
        for (name, value) in settings.split(' ').filter_map(|setting| setting.split_once('=')) {
            let script = format!("for f in /proc/sys/net/ipv4/conf/*/{name}; do echo {value} >$f; done");
            assert!(hosts.at(host, &["sh", "-c", &script]).status().is_ok_and(|s| s.success()), "{name}");
        }
    }
}

#[test]
fn bytes_that_leave_by_another_nic_than_meant_are_a_leak() {
    let Some(hosts) = TwoNics::new("leak", &[200, 200]) else { return };
    in_one_subnet(&hosts);
    let _server = hosts.serve();
    let args = ["--time", "1s", "--direction", "in"];
    let doc = document(&run_within(hosts.stream(&args), Duration::from_secs(40)));
    let leak = doc["findings"].as_array().unwrap().iter().find(|f| f["code"] == "CHANNEL-LEAK");
    let leak = leak.unwrap_or_else(|| panic!("{:?} {}", codes(&doc), only_step(&doc)["nics"]));
    assert!(leak["evidence"].as_str().unwrap().contains("of the server"), "{leak}");
    let (lanes, nic) = (leak["values"]["lane_bytes"].as_u64(), leak["values"]["nic_bytes"].as_u64());
    assert!(nic.unwrap() < lanes.unwrap() / 2, "{leak}");
}

#[test]
fn a_silent_drop_costs_no_byte() {
    let Some(doc) = disturbed("hush", &["--time", "4s"], |hosts| hosts.silence(2, true)) else { return };
    assert_whole(&doc);
    let failover = &only_step(&doc)["failover"];
    assert!(failover["gap_ns"].as_u64().unwrap() <= GAP_NS_MAX, "{failover}");
    assert!(!codes(&doc).contains(&"CONTROL-MOVED"));
}

#[test]
fn a_cable_pulled_at_this_end_costs_no_byte() {
    let pull = |hosts: &TwoNics| hosts.switch_port("a2", "down");
    let Some(doc) = disturbed("cable", &["--time", "3s"], pull) else { return };
    assert_whole(&doc);
}

#[test]
fn an_address_that_is_removed_costs_no_byte() {
    let remove = |hosts: &TwoNics| hosts.ip(0, &["addr", "del", "10.63.2.1/24", "dev", "v2"]);
    let Some(doc) = disturbed("addr", &["--time", "3s"], remove) else { return };
    assert_whole(&doc);
}

#[test]
fn a_nic_of_the_peer_taken_down_costs_no_byte() {
    let down = |hosts: &TwoNics| hosts.ip(1, &["link", "set", "v2", "down"]);
    let Some(doc) = disturbed("peer", &["--time", "3s"], down) else { return };
    assert_whole(&doc);
}

#[test]
fn a_nic_that_flaps_costs_no_byte() {
    let flaps = ["--time", "7s", "--fail", "v2@1s:2s", "--fail", "v2@4s:5s"];
    let Some(doc) = disturbed("flap", &flaps, |_| {}) else { return };
    assert_whole(&doc);
    let nics = only_step(&doc)["nics"].as_array().unwrap();
    let v2 = nics.iter().find(|n| n["nic"] == "v2" && n["end"] == "client").unwrap();
    assert!(v2["deaths"].as_u64().unwrap() >= 2, "{v2}");
}

#[test]
fn a_nic_that_vanishes_between_plan_and_run_is_named_and_done_without() {
    let Some(hosts) = TwoNics::new("gone", &[200, 200]) else { return };
    let _server = hosts.serve();
    let scratch = Scratch::new("gone");
    let (plan, file) = (scratch.path("plan.toml"), scratch.path("result.json"));
    let text = "[[steps]]\nkind = \"stream\"\ntime_ns = 1500000000\n\
        [[steps]]\nkind = \"stream\"\nover = \"multi\"\ntime_ns = 1000000000\nverify = true\n";
    std::fs::write(&plan, text).unwrap();
    let args = [BINARY, "check", "10.63.1.2", "--key", KEY, "--plan", &plan, "-o", &file];
    let mut child = hosts.at(0, &args).stdout(std::process::Stdio::null()).spawn().unwrap();
    hosts.await_traffic(&["v1"]);
    hosts.ip(0, &["link", "del", "v2"]);
    wait_within(&mut child, Duration::from_secs(50));
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(only_step(&doc)["error"].is_null(), "{}", only_step(&doc)["error"]);
    assert!(only_step(&doc)["summary"]["bytes"].as_u64().unwrap() > 1_000_000);
    assert_whole(&doc);
}

#[test]
fn the_session_goes_on_when_the_nic_of_its_control_connection_is_taken_down_and_comes_back() {
    let fail = ["--time", "5s", "--fail", "v1@1s:3s"];
    let Some(doc) = disturbed("ctldn", &fail, |_| {}) else { return };
    assert_whole(&doc);
    assert!(only_step(&doc)["failover"]["rejoined"].as_u64().unwrap() >= 1);
}

#[test]
fn the_session_goes_on_when_its_control_connection_falls_silent_and_speaks_again() {
    let blink = |hosts: &TwoNics| {
        hosts.silence(1, true);
        std::thread::sleep(DURING);
        hosts.silence(1, false);
    };
    let Some(doc) = disturbed("ctlbl", &["--time", "5s"], blink) else { return };
    assert_whole(&doc);
}

#[test]
fn the_session_moves_to_another_nic_when_its_own_is_silent_for_good() {
    let Some(doc) = disturbed("ctlhu", &["--time", "3s"], |hosts| hosts.silence(1, true)) else { return };
    assert_whole(&doc);
    let moved = doc["findings"].as_array().unwrap().iter().find(|f| f["code"] == "CONTROL-MOVED");
    let evidence = moved.expect("the move is told")["evidence"].as_str().unwrap().to_owned();
    assert!(evidence.contains("to 10.63.2.1 - 10.63.2.2"), "{evidence}");
}

#[test]
fn the_last_nic_down_ends_the_step_in_words() {
    let Some(hosts) = TwoNics::new("last", &[200, 200]) else { return };
    let _server = hosts.serve();
    let command = hosts.stream(&["--time", "20s"]);
    let running = std::thread::spawn(move || run_within(command, Duration::from_secs(60)));
    hosts.await_traffic(&["v1", "v2"]);
    hosts.switch_port("a1", "down");
    hosts.switch_port("a2", "down");
    let output = running.join().unwrap();
    assert_eq!(output.status.code(), Some(2), "nothing was left to run over");
    assert!(stderr(&output).contains("pathproof: "), "{}", stderr(&output));
}

#[test]
fn a_migration_survives_the_nic_that_it_began_on() {
    let Some(hosts) = TwoNics::new("mloss", &[200, 200]) else { return };
    let _server = hosts.serve();
    let args = [BINARY, "migrate", "10.63.1.2:7797", "--key", KEY, "--format", "json", "--over", "multi"];
    let command = hosts.at(0, &[&args[..], &["--memory", "96MiB", "--dirty", "1MB/s"]].concat());
    let running = std::thread::spawn(move || run_within(command, Duration::from_secs(60)));
    hosts.await_traffic(&["v1", "v2"]);
    hosts.silence(1, true);
    let doc = document(&running.join().unwrap());
    let step = only_step(&doc);
    assert!(step["error"].is_null() && doc["error"].is_null(), "{} {}", step["error"], doc["error"]);
    assert_eq!(step["verified"], true, "{step}");
}

#[test]
fn a_migration_goes_over_both_nics_and_is_verified() {
    let Some(hosts) = TwoNics::new("move", &[1000, 1000]) else { return };
    let _server = hosts.serve();
    let args = [BINARY, "migrate", "10.63.1.2:7797", "--key", KEY, "--format", "json", "--over", "multi"];
    let mut all = args.to_vec();
    all.extend(["--memory", "32MiB", "--dirty", "1MB/s"]);
    let doc = document(&run_within(hosts.at(0, &all), Duration::from_secs(60)));
    let step = only_step(&doc);
    assert_eq!(step["verified"], true, "{}", step["error"]);
    let client = step["lanes"].as_array().unwrap().iter().find(|lane| lane["end"] == "client").unwrap();
    for path in ["path0_sent_bytes", "path1_sent_bytes"] {
        assert!(client["counters"][path].as_u64().unwrap() > 1 << 20, "{}", client["counters"]);
    }
}
