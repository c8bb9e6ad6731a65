//! `pathproof offloads`: the offload at fault is named, a healthy path accuses none, and every NIC is what it was, however a run ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pathproof_model::{End, Offload, OffloadTrial};
use serde_json::{Value, json};

use crate::hostile;
use crate::netns::{TwoHosts, ip};
use crate::support::*;

const KEY: &str = "o-f-f-l-o-a-d-s";
const LIMIT: Duration = Duration::from_secs(120);

fn serve(hosts: &TwoHosts, more: &[&str]) -> Server {
    let args = [BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY];
    Server::spawn(hosts.at(1, &[&args[..], more].concat()))
}

fn offloads(hosts: &TwoHosts, more: &[&str]) -> Command {
    let args = [BINARY, "offloads", "10.61.0.2", "--key", KEY, "--format", "json"];
    hosts.at(0, &[&args[..], more].concat())
}

/// What `ethtool -k` says of a NIC.
fn settings(hosts: &TwoHosts, host: usize, nic: &str) -> String {
    let output = hosts.at(host, &["ethtool", "-k", nic]).output().expect("ethtool runs");
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Hosts, where their offloads can be changed and looked at; otherwise says why not.
fn hosts(tag: &str) -> Option<TwoHosts> {
    let hosts = TwoHosts::new(tag)?;
    let switch = |to| hosts.at(0, &["ethtool", "-K", "eth0", "tso", to]).output();
    let can = ["off", "on"].into_iter().all(|to| switch(to).is_ok_and(|output| output.status.success()));
    if !can {
        skip("no ethtool, or a veth whose offloads cannot be changed");
    }
    can.then_some(hosts)
}

fn await_settings(hosts: &TwoHosts, host: usize, before: &str, same: bool, why: &str) {
    let start = Instant::now();
    while (settings(hosts, host, "eth0") == before) != same {
        assert!(start.elapsed() < Duration::from_secs(40), "{why}: {}", settings(hosts, host, "eth0"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn codes(doc: &Value) -> Vec<&str> {
    doc["findings"].as_array().unwrap().iter().filter_map(|one| one["code"].as_str()).collect()
}

/// The trial of an offload at an end.
fn tried<'a>(doc: &'a Value, end: &str, off: &str) -> &'a Value {
    let rows = doc["offloads"].as_array().unwrap();
    rows.iter()
        .find(|row| row["end"] == end && row["off"] == off)
        .unwrap_or_else(|| panic!("{off} at the {end} was not tried: {rows:#?}"))
}

/// A pair of TAPs in the place of the veth, the first of which leaves checksums out of long packets, or does what else it is told to.
struct LazyNic(Child);

impl LazyNic {
    fn between(hosts: &TwoHosts, fault: &[&str]) -> Option<LazyNic> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lab/lazy-nic");
        let ends = [0, 1].map(|host| format!("{}:tap0", hosts.name(host)));
        assert!(ip(&["-n", hosts.name(0), "link", "del", "eth0"]));
        let mut nic = Command::new(script);
        let mut child = nic.args(&ends).args(fault).stdout(Stdio::piped()).spawn().expect("python3 runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let nic = LazyNic(child);
        let made = line.contains("up")
            && [0, 1].into_iter().all(|host| {
                let address = format!("10.61.0.{}/24", host + 1);
                ip(&["-n", hosts.name(host), "addr", "add", &address, "dev", "tap0"])
                    && ip(&["-n", hosts.name(host), "link", "set", "tap0", "up"])
            });
        if !made {
            skip("no TAP interfaces");
        }
        made.then_some(nic)
    }
}

impl Drop for LazyNic {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_offload_that_breaks_the_path_is_named_and_the_path_is_healed_by_what_is_advised() {
    let Some(hosts) = hosts("lazy") else { return };
    let Some(_nic) = LazyNic::between(&hosts, &[]) else { return };
    let before = [0, 1].map(|host| settings(&hosts, host, "tap0"));
    assert!(before[0].contains("tx-checksumming: on"), "{}", before[0]);
    let _server = serve(&hosts, &["--allow-offloads"]);
    let output = run_within(offloads(&hosts, &["--time", "500ms"]), LIMIT);
    let doc = document(&output);
    let (rows, said) = (&doc["offloads"], stderr(&output));
    assert_eq!(output.status.code(), Some(1), "{said}{rows:#}");
    for as_is in [&rows[0], rows.as_array().unwrap().last().unwrap()] {
        assert!(as_is["off"].is_null() && as_is["out"]["checksum_errors"].as_u64() > Some(2), "{as_is:#}");
    }
    let healed = tried(&doc, "client", "tx-checksumming");
    assert!(healed["out"]["goodput_bits_per_s"].as_u64() > Some(0), "{healed:#}");
    assert_eq!(
        (&healed["out"]["checksum_errors"], &healed["restored"]),
        (&0.into(), &true.into()),
        "{healed:#}"
    );
    // Neither another offload of this host nor the same of the peer's.
    for (end, off) in [("client", "generic-segmentation-offload"), ("server", "tx-checksumming")] {
        assert!(tried(&doc, end, off)["out"]["checksum_errors"].as_u64() > Some(2), "{rows:#}");
    }
    assert!(
        codes(&doc).contains(&"OFFLOAD-FAULT") && !codes(&doc).contains(&"TCP-CHECKSUM"),
        "{:?}",
        codes(&doc)
    );
    let faults = faults(&doc);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    let values = &faults[0]["values"];
    assert_eq!(
        (&values["offload"], &values["nic"], &values["node"], &values["direction"]),
        (&"tx-checksumming".into(), &"tap0".into(), &0.into(), &"out".into())
    );
    assert!(
        faults[0]["next"].as_str().unwrap().contains("`ethtool -K tap0 tx off`"),
        "{}",
        faults[0]["next"]
    );
    assert!(said.contains("ethtool -K tap0 tx-checksumming on"), "{said}");
    assert_eq!([0, 1].map(|host| settings(&hosts, host, "tap0")), before);

    // A check finds the same fault, and says where to go on.
    let checked = run_within(
        hosts.at(
            0,
            &[BINARY, "bench", "stream", "10.61.0.2", "--key", KEY, "--time", "1s", "--format", "json"],
        ),
        LIMIT,
    );
    let doc = document(&checked);
    let found = doc["findings"].as_array().unwrap().iter().find(|one| one["code"] == "TCP-CHECKSUM");
    let found = found.unwrap_or_else(|| panic!("{:?}", codes(&doc)));
    assert!(found["next"].as_str().unwrap().contains("pathproof offloads"), "{found:#}");

    assert!(hosts.at(0, &["ethtool", "-K", "tap0", "tx", "off"]).output().unwrap().status.success());
    let output = run_within(offloads(&hosts, &["--time", "500ms"]), LIMIT);
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", doc["offloads"]);
    assert!(!codes(&doc).iter().any(|code| code.starts_with("OFFLOAD-")), "{:?}", codes(&doc));
}

/// A NIC two of whose offloads are at fault: as long as one of them is on, it spoils long packets.
const TWO_AT_FAULT: [&str; 2] = ["--spoils-unless-off", "tx+gso"];

fn faults(doc: &Value) -> Vec<&Value> {
    doc["findings"].as_array().unwrap().iter().filter(|one| one["code"] == "OFFLOAD-FAULT").collect()
}

#[test]
fn two_offloads_that_are_at_fault_together_are_named_together_and_the_path_is_healed_by_what_is_advised() {
    let Some(hosts) = hosts("two") else { return };
    let Some(_nic) = LazyNic::between(&hosts, &TWO_AT_FAULT) else { return };
    let before = [0, 1].map(|host| settings(&hosts, host, "tap0"));
    let _server = serve(&hosts, &[]);
    let output = run_within(offloads(&hosts, &["--time", "500ms"]), LIMIT);
    let doc = document(&output);
    let rows = doc["offloads"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}{rows:#?}", stderr(&output));
    let is_sick = |row: &Value| row["out"]["checksum_errors"].as_u64() > Some(2);
    // With all as it is, and with each of them off alone.
    let as_is: Vec<&Value> = rows.iter().filter(|row| row["off"].is_null()).collect();
    assert!(as_is.len() == 2 && as_is.into_iter().all(is_sick), "{rows:#?}");
    for off in ["tx-checksumming", "generic-segmentation-offload"] {
        let alone =
            rows.iter().find(|row| row["end"] == "client" && row["off"] == off && row["with"].is_null());
        assert!(alone.is_some_and(is_sick), "{off}: {rows:#?}");
    }
    let together: Vec<&Value> = rows.iter().filter(|row| row["with"].is_array()).collect();
    assert_eq!(together.len(), 1, "nothing larger is tried once a pair heals: {together:#?}");
    let pair = together[0];
    assert_eq!((&pair["end"], &pair["off"]), (&"client".into(), &"tx-checksumming".into()), "{pair:#}");
    assert_eq!(pair["with"], json!(["generic-segmentation-offload"]), "{pair:#}");
    assert!(pair["restored"] == true && pair["out"]["goodput_bits_per_s"].as_u64() > Some(0), "{pair:#}");
    assert_eq!(pair["out"]["checksum_errors"], 0, "{pair:#}");
    let told = faults(&doc);
    assert_eq!(told.len(), 1, "{told:#?}");
    let values = &told[0]["values"];
    assert_eq!(
        (&values["offload"], &values["with"], &values["nic"], &values["node"], &values["direction"]),
        (&pair["off"], &pair["with"], &"tap0".into(), &0.into(), &"out".into())
    );
    assert_eq!([0, 1].map(|host| settings(&hosts, host, "tap0")), before);

    // What is advised is typed as it stands there.
    let next = told[0]["next"].as_str().unwrap();
    let commands: Vec<&str> = next.split('`').filter(|part| part.starts_with("ethtool ")).collect();
    assert_eq!(commands, ["ethtool -K tap0 tx off", "ethtool -K tap0 gso off"], "{next}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        assert!(hosts.at(0, &words).output().unwrap().status.success(), "{command}");
    }
    let output = run_within(offloads(&hosts, &["--time", "500ms"]), LIMIT);
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", doc["offloads"]);
    assert!(!codes(&doc).iter().any(|code| code.starts_with("OFFLOAD-")), "{:?}", codes(&doc));
}

#[test]
fn offloads_that_are_off_together_come_back_together_when_the_run_is_ended_meanwhile() {
    let Some(hosts) = hosts("broken") else { return };
    let Some(_nic) = LazyNic::between(&hosts, &TWO_AT_FAULT) else { return };
    let before = [0, 1].map(|host| settings(&hosts, host, "tap0"));
    let _server = serve(&hosts, &[]);
    for (signal, code) in [("TERM", Some(143)), ("KILL", None)] {
        let mut client =
            offloads(&hosts, &["--time", "2s"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let await_nic = |what: &str, holds: &dyn Fn(&str) -> bool| {
            let start = Instant::now();
            while !holds(&settings(&hosts, 0, "tap0")) {
                assert!(start.elapsed() < LIMIT, "{signal}, {what}: {}", settings(&hosts, 0, "tap0"));
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let is_off = |now: &str, offload: &str| now.lines().any(|line| line == format!("{offload}: off"));
        await_nic("both are off", &|now| {
            is_off(now, "tx-checksumming") && is_off(now, "generic-segmentation-offload")
        });
        let sent = Command::new("kill").args([&format!("-{signal}"), &client.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal}");
        await_nic("both are on again", &|now| now == before[0]);
        assert_eq!(wait_within(&mut client, LIMIT).code(), code, "{signal}");
        assert_eq!([0, 1].map(|host| settings(&hosts, host, "tap0")), before, "{signal}");
    }
}

#[test]
fn a_healthy_path_accuses_no_offload_and_what_hangs_on_another_comes_back_with_it() {
    let Some(hosts) = hosts("sound") else { return };
    let before = [0, 1].map(|host| settings(&hosts, host, "eth0"));
    {
        // Nobody permits it at the peer.
        let _server = serve(&hosts, &[]);
        let output = run_within(offloads(&hosts, &["--time", "500ms"]), LIMIT);
        let doc = document(&output);
        assert_eq!(output.status.code(), Some(0), "{}{:#}", stderr(&output), doc["offloads"]);
        assert!(!codes(&doc).iter().any(|code| code.starts_with("OFFLOAD-")), "{:?}", codes(&doc));
        let checksums = tried(&doc, "client", "tx-checksumming");
        let also: Vec<&str> =
            checksums["also_off"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(also.contains(&"tcp-segmentation-offload"), "{checksums:#}");
        for off in ["rx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload"] {
            let row = tried(&doc, "client", off);
            assert!(row["restored"] == true && row["out"]["checksum_errors"] == 0, "{row:#}");
        }
        let theirs = tried(&doc, "server", "tx-checksumming");
        assert!(theirs["restored"].is_null() && theirs["out"]["goodput_bits_per_s"].is_null(), "{theirs:#}");
        assert!(theirs["reason"].as_str().unwrap().contains("--allow-offloads"), "{theirs:#}");
    }
    assert_eq!([0, 1].map(|host| settings(&hosts, host, "eth0")), before);
}

#[test]
fn where_nothing_heals_several_are_tried_at_once_and_every_one_comes_back() {
    let Some(hosts) = hosts("pairs") else { return };
    // Whatever the NICs do: the server's firewall throws away a fifth of what is as large as a segment.
    let rules = "add table inet lossy; add chain inet lossy input { type filter hook input priority 0; }; \
                 add rule inet lossy input meta length > 1000 numgen random mod 100 < 20 drop";
    let taken = hosts.at(1, &["nft", rules]).output().unwrap();
    assert!(taken.status.success(), "{}", stderr(&taken));
    let before = [0, 1].map(|host| settings(&hosts, host, "eth0"));
    let _server = serve(&hosts, &["--allow-offloads"]);
    let output = run_within(offloads(&hosts, &["--time", "500ms"]), LIMIT);
    let doc = document(&output);
    let rows = doc["offloads"].as_array().unwrap();
    let several: Vec<&Value> = rows.iter().filter(|row| row["with"].is_array()).collect();
    assert!((1..=14).contains(&several.len()), "{rows:#?}");
    assert!(several.iter().all(|row| row["restored"] == true), "{several:#?}");
    assert!(rows.last().unwrap()["off"].is_null(), "{rows:#?}");
    assert!(!codes(&doc).iter().any(|code| code.starts_with("OFFLOAD-")), "{:?}", codes(&doc));
    assert_eq!([0, 1].map(|host| settings(&hosts, host, "eth0")), before);
}

#[test]
fn however_a_run_ends_every_offload_is_as_it_was() {
    let Some(hosts) = hosts("ends") else { return };
    let before = [0, 1].map(|host| settings(&hosts, host, "eth0"));
    // Of the client: by a signal, by a kill, and by a peer that is gone.
    for (what, signal) in [("SIGINT", Some("INT")), ("kill -9", Some("KILL")), ("a peer that dies", None)] {
        let mut server = serve(&hosts, &[]);
        let mut client =
            offloads(&hosts, &["--time", "5s"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        await_settings(&hosts, 0, &before[0], false, what);
        match signal {
            Some(signal) => {
                let sent =
                    Command::new("kill").args([&format!("-{signal}"), &client.id().to_string()]).status();
                assert!(sent.is_ok_and(|status| status.success()), "{what}");
            }
            None => server.kill(),
        }
        await_settings(&hosts, 0, &before[0], true, what);
        let code = wait_within(&mut client, LIMIT).code();
        assert_eq!(settings(&hosts, 0, "eth0"), before[0], "{what}");
        let expected = match signal {
            Some("INT") => Some(130),
            Some(_) => None,
            None => Some(2),
        };
        assert_eq!(code, expected, "{what}");
    }
    // Of the server: by a client that is gone, and by a kill.
    for killed in [0, 1] {
        let mut server = serve(&hosts, &["--allow-offloads"]);
        let mut client =
            offloads(&hosts, &["--time", "1s"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        await_settings(&hosts, 1, &before[1], false, "the peer's turn");
        if killed == 0 {
            client.kill().unwrap();
        } else {
            server.kill();
        }
        await_settings(&hosts, 1, &before[1], true, "after the peer's turn");
        wait_within(&mut client, LIMIT);
        assert_eq!([0, 1].map(|host| settings(&hosts, host, "eth0")), before, "{killed}");
    }
}

#[test]
fn t32_who_asks_for_an_offload_that_nobody_permitted_is_refused_in_the_greeting_and_in_a_turn() {
    let trial = OffloadTrial::of(End::Server, Offload::TcpSegmentation);
    let asked = hostile::traffic(|stream| stream.offload = Some(trial));
    let server = Server::start(&[]);
    let (_channel, tag, answer) = hostile::client(&server.address, json!([asked]));
    assert!(tag == hostile::REJECT && answer.to_string().contains("--allow-offloads"), "{answer}");
    let (mut channel, tag, answer) = hostile::client(&server.address, json!([{ "kind": "facts" }]));
    assert!(tag == hostile::ACCEPT && answer["limits"]["offloads"].is_null(), "{answer}");
    let ready = hostile::turn(&mut channel, 0, &asked, 0, 1).expect("an answer");
    assert!(ready["error"]["message"].as_str().unwrap().contains("--allow-offloads"), "{ready}");
}

#[test]
fn who_may_not_change_offloads_is_told_so_before_anybody_is_dialled() {
    let Some(hosts) = TwoHosts::new("may") else { return };
    let scratch = Scratch::new("may");
    let binary = scratch.path("pathproof");
    std::fs::copy(BINARY, &binary).unwrap();
    for command in
        [&["offloads", "10.61.0.2"][..], &["serve", "--listen", "10.61.0.1:7797", "--allow-offloads"]]
    {
        let args = [&[binary.as_str()], command, &["--key", KEY]].concat();
        let output = run_within(hosts.at(0, &crate::mtu::as_nobody(&args)), Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let said = stderr(&output);
        // A key that is typed is warned of in any case.
        let said: Vec<&str> = said.lines().filter(|line| !line.contains("--key")).collect();
        assert!(said.len() == 1 && said[0].contains("CAP_NET_ADMIN"), "{said:?}");
    }
    let output = run(&["offloads", "127.0.0.1:1", "--time", "10s"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("5.00 s"), "{}", stderr(&output));
}
