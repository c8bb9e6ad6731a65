//! What hosts are to look like: written down by `devices --write-state`, held against them by `devices --expect` and `check --expect-state`.

use std::time::Duration;

use serde_json::Value;

use crate::multi::{KEY, TwoNics};
use crate::support::*;

/// The reason of the verdict, and its outcome.
fn state(doc: &Value) -> (String, String) {
    let verdicts = doc["verdicts"].as_array().expect("verdicts");
    let verdict = verdicts.iter().find(|one| one["subject"] == "state").expect("a verdict of the state");
    let text = |key: &str| verdict[key].as_str().unwrap().to_owned();
    (text("outcome"), text("reason"))
}

#[test]
fn what_two_hosts_were_is_held_against_both_when_one_of_them_changes() {
    let Some(hosts) = TwoNics::new("state", &[200, 200]) else { return };
    let scratch = Scratch::new("state");
    let (own, fabric) = (scratch.path("a.toml"), scratch.path("fabric.toml"));
    let devices = |host: usize, args: &[&str]| {
        run_within(hosts.at(host, &[&[BINARY, "devices"], args].concat()), Duration::from_secs(30))
    };
    for host in [0, 1] {
        let written = devices(host, &["--write-state", &own]);
        assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
        // Two namespaces of one machine have one name: a file for each, put one behind the other.
        let text = std::fs::read_to_string(&own).unwrap();
        assert!(text.contains("ip_mtu_bytes = 1500") && text.contains("10.63.2."), "{text}");
        let so_far = std::fs::read_to_string(&fabric).unwrap_or_default();
        std::fs::write(&fabric, so_far + &text).unwrap();
        std::fs::remove_file(&own).unwrap();
    }
    for host in [0, 1] {
        let held = devices(host, &["--expect", &fabric]);
        let said = String::from_utf8_lossy(&held.stdout).into_owned() + &stderr(&held);
        assert_eq!(held.status.code(), Some(0), "{said}");
        assert!(said.contains("are as expected"), "{said}");
    }
    let _server = hosts.serve();
    let check = || {
        let args = [
            BINARY,
            "check",
            "10.63.1.2",
            "--key",
            KEY,
            "--quick",
            "--expect-state",
            &fabric,
            "--format",
            "json",
        ];
        run_within(hosts.at(0, &args), Duration::from_secs(60))
    };
    let (outcome, reason) = state(&document(&check()));
    assert_eq!((outcome.as_str(), reason.matches("are as expected").count()), ("pass", 2), "{reason}");

    // At the far end one NIC is set back, and one address is another.
    hosts.ip(1, &["link", "set", "v2", "mtu", "1400"]);
    hosts.ip(1, &["addr", "del", "10.63.2.2/24", "dev", "v2"]);
    hosts.ip(1, &["addr", "add", "10.63.2.9/24", "dev", "v2"]);
    let output = check();
    let (outcome, reason) = state(&document(&output));
    assert_eq!((outcome.as_str(), output.status.code()), ("fail", Some(1)), "{reason}");
    assert!(reason.contains("v2: IP MTU 1400, expected 1500") && reason.contains("10.63.2.2/24"), "{reason}");
    assert_eq!(devices(0, &["--expect", &fabric]).status.code(), Some(0), "this end is as it was");
    let held = devices(1, &["--expect", &fabric, "--format", "json"]);
    assert_eq!(held.status.code(), Some(1), "{}", stderr(&held));
    let told: Value = serde_json::from_slice(&held.stdout).unwrap();
    assert_eq!((&told["verdict"]["outcome"], told["environment"].is_object()), (&"fail".into(), true));
}

#[test]
fn a_state_that_cannot_be_used_is_refused_before_anything_is_dialled_and_nothing_is_written_over() {
    let scratch = Scratch::new("state-bad");
    let file = scratch.path("state.toml");
    for (text, why) in [
        ("host = []", "names no host"),
        ("[[host]]\nname = \"a\"\ncolour = 3", "colour"),
        ("[[host]]\nname = \"a\"\n[[host.nic]]\nname = \"e\"\nspeed = \"fast\"", "line 5"),
        ("{\"schema\": \"pathproof-result/2\"}", "no expected state"),
    ] {
        std::fs::write(&file, text).unwrap();
        for args in [
            &["devices", "--expect", &file] as &[&str],
            &["devices", "--write-state", &file],
            // Nobody answers there; the file comes first.
            &["check", "192.0.2.1", "--key", KEY, "--expect-state", &file],
        ] {
            let output = run(args);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains(why) && said.contains("--write-state"), "{args:?}: {said}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "it was written over");
    }
    std::fs::write(&file, "[[host]]\nname = \"another\"").unwrap();
    let output = run(&["devices", "--expect", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nothing is expected of this host"), "{}", stderr(&output));
}
