//! A lane that waits without a limit is watched over: whatever becomes of its peer, its end comes in time.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::multi::TwoNics;
use crate::support::*;

/// A ping-pong of `time` that has been running for a while.
fn under_way(address: &str, time: &str) -> Child {
    let mut command = pathproof(&["bench", "pingpong", address, "--time", time, "--format", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    std::thread::sleep(Duration::from_millis(900));
    child
}

/// Its end, which must come within `limit`: exit code and document.
fn end(mut child: Child, limit: Duration) -> (Option<i32>, Value) {
    let start = Instant::now();
    wait_within(&mut child, limit);
    let output = child.wait_with_output().expect("it has ended");
    let took = start.elapsed();
    let doc = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e} after {took:?}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), doc)
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|s| s.success()), "kill -{name} works");
}

/// Exchanges that were measured.
fn count(doc: &Value) -> u64 {
    doc["steps"][0]["summary"]["rtt_ns"]["count"].as_u64().unwrap_or(0)
}

#[test]
fn a_peer_that_is_killed_ends_it_at_once() {
    let mut server = Server::start(&[]);
    let child = under_way(&server.address, "30s");
    server.kill();
    let (code, doc) = end(child, Duration::from_secs(5));
    assert_eq!(code, Some(2), "cut short, which is no verdict: {:#}", doc["error"]);
    assert!(count(&doc) > 100, "what was measured is kept");
}

#[test]
fn a_peer_that_stops_ends_it_with_the_step() {
    let server = Server::start(&[]);
    let child = under_way(&server.address, "2s");
    signal("STOP", server.pid());
    // The window, the grace, and the patience with a peer that does not give its half.
    let (code, doc) = end(child, Duration::from_secs(30));
    signal("CONT", server.pid());
    assert_ne!(code, Some(0), "{:#}", doc["verdicts"]);
    assert!(count(&doc) > 100, "what was measured is kept");
}

#[test]
fn an_interruption_is_seen_while_nothing_comes() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let server = Server::start(&[]);
        let child = under_way(&server.address, "30s");
        // Nothing comes any more, so nothing but the watcher can wake the lane.
        signal("STOP", server.pid());
        std::thread::sleep(Duration::from_millis(300));
        signal(name, child.id());
        std::thread::sleep(Duration::from_millis(500));
        signal("CONT", server.pid());
        let (ended, doc) = end(child, Duration::from_secs(8));
        assert_eq!(ended, Some(code), "{:#}", doc["error"]);
        assert!(count(&doc) > 100, "what was measured is kept");
    }
}

#[test]
fn a_path_that_goes_silent_ends_it() {
    let Some(hosts) = TwoNics::new("watched", &[200]) else { return };
    let _server = hosts.serve();
    let ask = [
        "bench",
        "pingpong",
        "10.63.1.2:7797",
        "--key",
        crate::multi::KEY,
        "--time",
        "4s",
        "--format",
        "json",
    ];
    let mut command = hosts.at(0, &[&[BINARY][..], &ask].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    std::thread::sleep(Duration::from_millis(1500));
    hosts.silence(1, true);
    let (code, doc) = end(child, Duration::from_secs(30));
    assert_ne!(code, Some(0), "{:#}", doc["verdicts"]);
    assert!(count(&doc) > 100, "what was measured is kept");
}
