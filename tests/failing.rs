//! `--fail`: a NIC that was taken down always comes back, and a failure that did not happen is never reported.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::multi::TwoNics;
use crate::support::*;

impl TwoNics {
    fn is_up(&self, nic: &str) -> bool {
        let output = self.at(0, &["ip", "-j", "link", "show", nic]).output().expect("ip runs");
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        links[0]["flags"].as_array().expect("flags").iter().any(|flag| flag == "UP")
    }

    fn await_state(&self, nic: &str, up: bool, within: Duration) {
        let start = Instant::now();
        while self.is_up(nic) != up {
            assert!(
                start.elapsed() < within,
                "{nic} is not {} within {within:?}",
                if up { "up" } else { "down" }
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn shown(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.at(0, &[&["ip"], args].concat()).output().expect("ip runs").stdout)
            .into_owned()
    }
}

#[test]
fn whatever_ends_the_run_the_nic_comes_back() {
    for signal in ["KILL", "ABRT", "HUP", "TERM", "INT"] {
        let Some(hosts) = TwoNics::new(&format!("end{signal}"), &[200, 200]) else { return };
        let _server = hosts.serve();
        let run = hosts
            .stream(&["--time", "30s", "--fail", "v2@200ms:25s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = run.unwrap();
        hosts.await_state("v2", false, Duration::from_secs(20));
        let killed = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        // An orderly end first asks the peer for what it measured.
        let within = if ["KILL", "ABRT"].contains(&signal) { 1 } else { 8 };
        hosts.await_state("v2", true, Duration::from_secs(within));
        wait_within(&mut child, Duration::from_secs(20));
        assert!(hosts.is_up("v2"), "{signal}");
    }
}

#[test]
fn addresses_and_routes_come_back_with_the_nic() {
    let Some(hosts) = TwoNics::new("routes", &[200, 200]) else { return };
    let _server = hosts.serve();
    for args in [
        vec!["addr", "add", "fd63::1/64", "dev", "v2", "nodad"],
        vec!["route", "add", "10.99.0.0/16", "via", "10.63.2.2", "dev", "v2"],
        vec!["route", "add", "fd99::/48", "via", "fd63::2", "dev", "v2"],
    ] {
        assert!(hosts.at(0, &[&["ip"], &args[..]].concat()).status().unwrap().success(), "{args:?}");
    }
    let output =
        run_within(hosts.stream(&["--time", "3s", "--fail", "v2@500ms:1500ms"]), Duration::from_secs(60));
    assert!(document(&output)["steps"][0]["failover"].is_object(), "{}", stderr(&output));
    assert!(hosts.shown(&["-6", "addr", "show", "dev", "v2"]).contains("fd63::1/64"));
    assert!(hosts.shown(&["route"]).contains("10.99.0.0/16 via 10.63.2.2"));
    assert!(hosts.shown(&["-6", "route"]).contains("fd99::/48 via fd63::2"));
}

#[test]
fn a_nic_that_cannot_fail_stops_the_run_before_it_starts() {
    let Some(hosts) = TwoNics::new("cannot", &[200, 200]) else { return };
    let server = hosts.serve();
    assert!(hosts.at(0, &["ip", "link", "add", "spare", "type", "bridge"]).status().unwrap().success());
    assert!(hosts.at(0, &["ip", "link", "add", "idle", "up", "type", "bridge"]).status().unwrap().success());
    for (fail, why) in [
        ("v9@200ms", "no NIC v9"),
        ("a-name-much-too-long@200ms", "no NIC"),
        ("spare@200ms", "down already"),
        ("v2@5s", "after the window"),
        ("idle@200ms", "carries nothing of this step"),
    ] {
        let output = run_within(hosts.stream(&["--time", "1s", "--fail", fail]), Duration::from_secs(30));
        let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{fail}: {text}");
        assert!(text.contains(why) && !text.contains("\"failover\""), "{fail}: {text}");
    }
    let binary = std::env::temp_dir().join(format!("pathproof-nobody-{}", std::process::id()));
    std::fs::copy(BINARY, &binary).unwrap();
    let mut plain = hosts.at(0, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    plain.arg(&binary).args([
        "bench",
        "stream",
        "10.63.1.2:7797",
        "--over",
        "multi",
        "--fail",
        "v2@200ms",
        "--time",
        "1s",
    ]);
    let output = run_within(plain, Duration::from_secs(30));
    std::fs::remove_file(binary).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("run as root"), "{}", stderr(&output));
    assert!(hosts.is_up("v2"));
    drop(server);
}
