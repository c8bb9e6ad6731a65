//! `pathproof bench file --over multi` on two wires to a real smbd, of which one fails: comes back, or stays away.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::file::{Smbd, USER};
use crate::netns::{TwoHosts, ip};
use crate::support::*;

/// Two hosts with two wires between them, 10.61.0.0/24 and 10.62.0.0/24, and a share at the second.
struct Wires {
    smbd: Smbd,
    hosts: TwoHosts,
}

impl Wires {
    fn new(tag: &str) -> Option<Wires> {
        let hosts = TwoHosts::new(tag)?;
        let (a, b) = (hosts.name(0), hosts.name(1));
        assert!(ip(&["-n", a, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", b]));
        for (host, address) in [(a, "10.62.0.1/24"), (b, "10.62.0.2/24")] {
            assert!(ip(&["-n", host, "addr", "add", address, "dev", "eth1"]));
            assert!(ip(&["-n", host, "link", "set", "eth1", "up"]));
        }
        let nic = |net: u8| format!("10.{net}.0.2/24;speed=10000000000,capability=RSS,if_index={net}");
        let (first, second) = (nic(61), nic(62));
        let options = ["--netns", b, "--interface", &first, "--interface", &second];
        let smbd = Smbd::start(&format!("wires-{tag}"), &options)?;
        Some(Wires { smbd, hosts })
    }

    fn start(&self, time: &str) -> Child {
        let share = format!("//10.61.0.2:{}/share", self.smbd.port);
        let mut command =
            self.hosts.at(0, &[BINARY, "bench", "file", &share, "--over", "multi", "--channels", "2"]);
        command.args(["--user", USER, "--password-file", &self.smbd.password, "--format", "json"]);
        command.args(["--size", "64KiB", "--file-size", "8MiB", "--write", "--verify"]);
        command.args(["--time", time, "--warmup", "50ms", "--wait", "2s"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while self.smbd.files().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no file was made");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(800));
        child
    }

    /// The second wire goes down or up, at the server.
    fn wire(&self, way: &str) {
        assert!(ip(&["-n", self.hosts.name(1), "link", "set", "eth1", way]));
    }
}

#[test]
fn a_channel_whose_wire_comes_back_is_made_again_and_no_byte_is_lost() {
    let Some(wires) = Wires::new("back") else { return };
    let child = wires.start("7s");
    wires.wire("down");
    // Silence is noticed after --wait, and the first attempts meet a dead wire.
    std::thread::sleep(Duration::from_millis(3000));
    wires.wire("up");
    let output = child.wait_with_output().unwrap();
    let document = document(&output);
    let step = &document["steps"][0];
    assert_eq!(output.status.code(), Some(0), "{}\n{:#}\n{step:#}", stderr(&output), document["verdicts"]);
    let file = &step["file"];
    assert_eq!((&file["channels_lost"], &file["channels_returned"]), (&1.into(), &1.into()), "{step:#}");
    assert_eq!(step["summary"]["verified"], true, "{step:#}");
    assert!(file["replayed_requests"].as_u64().unwrap() > 0, "{step:#}");
    let told = step["chosen"]["channel 1"].as_str().unwrap();
    assert!(told.contains("lost once, made again once"), "{told}");
    let reason = document["verdicts"].as_array().unwrap().iter().map(Value::to_string).collect::<String>();
    assert!(reason.contains("made again 1 times"), "{reason}");
    assert!(step["lanes"].as_array().unwrap().iter().all(|lane| lane["error"].is_null()), "{step:#}");
    assert!(wires.smbd.files().is_empty());
}

#[test]
fn a_channel_that_stays_away_is_a_finding_and_no_byte_is_lost() {
    let Some(wires) = Wires::new("away") else { return };
    let child = wires.start("4s");
    wires.wire("down");
    let output = child.wait_with_output().unwrap();
    let document = document(&output);
    let step = &document["steps"][0];
    assert_eq!(output.status.code(), Some(1), "{}\n{:#}\n{step:#}", stderr(&output), document["verdicts"]);
    let file = &step["file"];
    assert_eq!((&file["channels_lost"], &file["channels_returned"]), (&1.into(), &0.into()), "{step:#}");
    assert_eq!(step["summary"]["verified"], true, "{step:#}");
    let findings = document["findings"].as_array().unwrap();
    let lost = findings.iter().find(|finding| finding["code"] == "SMB-CHANNEL-LOST");
    let evidence = lost.unwrap_or_else(|| panic!("{findings:#?}"))["evidence"].as_str().unwrap();
    assert!(evidence.contains("10.62.0.2") && evidence.contains("not made again"), "{evidence}");
    assert!(step["lanes"][1]["error"]["message"].is_string(), "{step:#}");
    assert_eq!(file["removed"], true, "{step:#}");
    assert!(wires.smbd.files().is_empty());
}
