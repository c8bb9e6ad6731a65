//! Two hosts on one machine: network namespaces with a veth pair between them.

use std::process::Command;
use std::time::Duration;

use crate::support::*;

/// Two namespaces `…-a` (10.61.0.1) and `…-b` (10.61.0.2), removed with the test.
pub struct TwoHosts {
    names: [String; 2],
}

/// Runs iproute2.
pub fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|o| o.status.success())
}

impl TwoHosts {
    /// Makes them, or says why not.
    pub fn new(tag: &str) -> Option<TwoHosts> {
        let name = |end: &str| format!("pp{}-{tag}-{end}", std::process::id());
        TwoHosts::called([name("a"), name("b")])
    }

    /// The same with names of their own.
    pub fn called(names: [String; 2]) -> Option<TwoHosts> {
        let hosts = TwoHosts { names };
        let [a, b] = &hosts.names;
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&["-n", a, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b])
            && [(a, "10.61.0.1/24"), (b, "10.61.0.2/24")].iter().all(|(ns, address)| {
                ip(&["-n", ns, "addr", "add", address, "dev", "eth0"])
                    && ip(&["-n", ns, "link", "set", "lo", "up"])
                    && ip(&["-n", ns, "link", "set", "eth0", "up"])
            });
        if !made {
            skip("network namespaces need root and iproute2");
            return None;
        }
        Some(hosts)
    }

    /// The namespace of a host.
    pub fn name(&self, host: usize) -> &str {
        &self.names[host]
    }

    /// A command inside host 0 (`a`) or 1 (`b`).
    pub fn at(&self, host: usize, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[host]]).args(args).env_remove("PATHPROOF_KEY");
        command
    }
}

impl Drop for TwoHosts {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

#[test]
fn a_check_across_a_real_link_has_the_facts_of_both_ends() {
    let Some(hosts) = TwoHosts::new("check") else { return };
    let server = Server::spawn(
        hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", "k-e-y-4-tests"]),
    );
    // A machine whose cores are wanted elsewhere may stop for half a second: that is not what is tested here.
    let scratch = Scratch::new("check");
    let criteria = scratch.path("criteria.toml");
    std::fs::write(
        &criteria,
        "[throughput]\nworst_second_share_min = 0.0\nretransmits_per_gb_no_speed_max = 100000\n[latency]\np99_max_ns = 1000000000\njitter_max_ns = 1000000000\n",
    )
    .unwrap();
    let args = [
        BINARY,
        "check",
        "10.61.0.2",
        "--key",
        "k-e-y-4-tests",
        "--quick",
        "--format",
        "json",
        "--criteria",
        &criteria,
    ];
    let output = run_within(hosts.at(0, &args), Duration::from_secs(40));
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}\n{:#}\n{}", stderr(&output), doc["verdicts"], server.log());
    for end in doc["nodes"].as_array().unwrap() {
        let nics = end["environment"]["nics"].as_array().unwrap();
        let veth =
            nics.iter().find(|n| n["name"] == "eth0").unwrap_or_else(|| panic!("{end} lists {nics:?}"));
        assert_eq!(veth["ip_mtu_bytes"], 1500, "{end}");
        assert!(!veth["addresses"].as_array().unwrap().is_empty(), "{end}");
    }
    let stream = step(&doc, "stream");
    assert!(stream["summary"]["goodput_bits_per_s"].as_u64().unwrap() > 1_000_000);
    assert_eq!(stream["lanes"][0]["path_ip_mtu_bytes"], 1500);
}

#[test]
fn a_server_without_a_key_makes_one_and_prints_the_command_to_paste() {
    let Some(hosts) = TwoHosts::new("key") else { return };
    let server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797"]));
    assert!(server.logged("pathproof check 10.61.0.2"), "{}", server.log());
    let log = server.log();
    let line = log.lines().find(|l| l.contains("pathproof check ")).unwrap().trim();
    // The key is not an argument, which others could see.
    let (variable, command) = line.split_once(' ').unwrap();
    let (name, code) = variable.split_once('=').unwrap();
    assert_eq!((name, command), ("PATHPROOF_KEY", "pathproof check 10.61.0.2"));
    assert!(code.len() >= 8 && log.contains("--key-file"), "{log}");
    let refused =
        run_within(hosts.at(0, &[BINARY, "check", "10.61.0.2", "--quick"]), Duration::from_secs(20));
    assert_eq!(refused.status.code(), Some(2));
    let args = [BINARY, "bench", "pingpong", "10.61.0.2", "--time", "200ms"];
    let mut pasted = hosts.at(0, &args);
    pasted.env(name, code);
    let output = run_within(pasted, Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
}

#[test]
fn a_link_that_falls_silent_fails_the_step_and_keeps_the_rest() {
    let Some(hosts) = TwoHosts::new("silent") else { return };
    let scratch = Scratch::new("silent");
    let (plan, file) = (scratch.path("plan.toml"), scratch.path("result.json"));
    let text = "[[steps]]\nkind = \"stream\"\ntime_ns = 300000000\n[[steps]]\nkind = \"stream\"\ntime_ns = 4000000000\n";
    std::fs::write(&plan, text).unwrap();
    let _server = Server::spawn(
        hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", "k-e-y-4-tests"]),
    );
    let args = [BINARY, "check", "10.61.0.2", "--key", "k-e-y-4-tests", "--plan", &plan, "-o", &file];
    let mut child = hosts.at(0, &args).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(hosts.at(1, &["ip", "link", "set", "eth0", "down"]).status().unwrap().success());
    let status = wait_within(&mut child, Duration::from_secs(40));
    assert_ne!(status.code(), Some(0));
    let doc: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let steps = doc["steps"].as_array().unwrap();
    assert!(steps[0]["error"].is_null());
    assert!(!steps[1]["error"].is_null(), "{:#}", steps[1]["summary"]);
}
