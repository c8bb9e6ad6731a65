//! A server that nobody talks to costs next to nothing.

use std::time::Duration;

use crate::support::*;

fn status_field(pid: u32, task: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{task}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn threads(pid: u32) -> Vec<String> {
    let listing = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    listing.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// How often threads of the process have gone to sleep: a thread that wakes must do so again.
fn sleeps(pid: u32) -> u64 {
    threads(pid).iter().filter_map(|task| status_field(pid, task, "voluntary_ctxt_switches:")).sum()
}

#[test]
fn an_idle_server_sleeps_and_is_small() {
    let server = Server::start(&[]);
    let pid = server.pid();
    for after in ["its start", "serving a client"] {
        // Whatever is still settling down does so within bounds.
        let mut before = sleeps(pid);
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(100));
            let now = sleeps(pid);
            if now == before && threads(pid).len() <= 3 {
                break;
            }
            before = now;
        }
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(sleeps(pid), before, "it woke up within two idle seconds after {after}");
        let main = pid.to_string();
        let resident = status_field(pid, &main, "VmRSS:").expect("a resident size") * 1024;
        let own = status_field(pid, &main, "RssAnon:").expect("a resident size") * 1024;
        // The unoptimised binary fills the bound with pages of its own code once it has served, so for it
        // only what it allocates counts.
        if !cfg!(debug_assertions) {
            assert!(resident < 10_000_000, "{resident} bytes resident after {after}");
        }
        assert!(own < 4_000_000, "{own} bytes of its own after {after}");
        let args = [
            "bench",
            "stream",
            &server.address,
            "--time",
            "300ms",
            "--lanes",
            "2",
            "--expect-rate",
            "1Mbit/s",
        ];
        assert_eq!(run(&args).status.code(), Some(0));
    }
}
