//! Migrations whose link goes down in the middle of a round: over TCP the run ends and says where, over several NICs
//! it goes on over what is left.

use std::time::{Duration, Instant};

use crate::multi::TwoNics;
use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "k-e-y-4-tests";

/// A guest that never comes to rest: ten passes, and every page dirtied in each.
const RESTLESS: [&str; 10] = [
    "--policy",
    "hyperv-2008r2",
    "--downtime-limit",
    "1us",
    "--memory",
    "16MiB",
    "--dirty",
    "100MB/s",
    "--format",
    "json",
];

/// Runs `command` and calls `cut` after `delay`.
fn run_and_cut(command: std::process::Command, delay: Duration, cut: impl FnOnce()) -> std::process::Output {
    let begun = Instant::now();
    let waiting = std::thread::spawn(move || run_within(command, Duration::from_secs(60)));
    // Not a wait for something to have happened: the moment is the test's parameter.
    std::thread::sleep(delay.saturating_sub(begun.elapsed()));
    cut();
    waiting.join().unwrap()
}

#[test]
fn a_link_down_in_a_round_ends_a_migration_over_tcp_with_the_round() {
    let Some(hosts) = TwoHosts::new("migdown") else { return };
    let _server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    // 8 MB/s: the path is known after about a second and the first pass takes two, as does each of nine rounds.
    let args = [&[BINARY, "migrate", "10.61.0.2", "--key", KEY, "--bandwidth", "8MB/s"], &RESTLESS[..]];
    let output = run_and_cut(hosts.at(0, &args.concat()), Duration::from_secs(7), || {
        assert!(hosts.at(1, &["ip", "link", "set", "eth0", "down"]).status().unwrap().success());
    });
    assert!(!matches!(output.status.code(), Some(0)));
    let document = document(&output);
    let step = step(&document, "migrate");
    let stopped_in = step["stopped_in"].as_str().unwrap_or_default();
    let error = step["error"]["message"].as_str().unwrap_or_default();
    let round: usize = stopped_in.strip_prefix("round ").and_then(|n| n.parse().ok()).unwrap_or_else(|| {
        panic!("stopped in {stopped_in:?}: {error}");
    });
    assert!(error.contains(stopped_in), "{error}");
    assert_eq!(step["rounds"].as_array().unwrap().len(), round, "the rounds before round {round} are kept");
    assert_eq!((&step["verified"], &step["converged"]), (&false.into(), &false.into()));
}

#[test]
fn a_link_down_in_a_round_leaves_a_migration_over_several_nics_verified() {
    let Some(hosts) = TwoNics::new("migdown", &[100, 100]) else { return };
    let _server = hosts.serve();
    let args = [
        &[BINARY, "migrate", "10.63.1.2:7797", "--key", KEY, "--over", "multi", "--bandwidth", "16MB/s"],
        &RESTLESS[..],
        &["--time-limit", "7s"],
    ];
    let output = run_and_cut(hosts.at(0, &args.concat()), Duration::from_secs(5), || hosts.silence(2, true));
    let document = document(&output);
    let step = step(&document, "migrate");
    assert!(step["error"].is_null(), "{}", step["error"]);
    assert_eq!(step["verified"], true, "{}", step["mismatch"]);
    let rounds = step["rounds"].as_array().unwrap();
    assert!(rounds.len() > 2, "{rounds:?}");
    let deaths = |lane: &serde_json::Value| {
        ["path0_deaths", "path1_deaths"]
            .iter()
            .filter_map(|path| lane["counters"][*path].as_u64())
            .sum::<u64>()
    };
    let lanes = step["lanes"].as_array().unwrap();
    assert!(lanes.iter().map(deaths).sum::<u64>() > 0, "the link went down beside the migration: {lanes:?}");
}

#[test]
fn a_migration_over_several_nics_proves_what_each_carried() {
    const MEMORY: u64 = 64 << 20;
    let Some(hosts) = TwoNics::new("migshare", &[200, 200]) else { return };
    let _server = hosts.serve();
    let args = [BINARY, "migrate", "10.63.1.2:7797", "--key", KEY, "--over", "multi", "--memory", "64MiB"];
    let output =
        run_within(hosts.at(0, &[&args[..], &["--format", "json"]].concat()), Duration::from_secs(60));
    let document = document(&output);
    let step = step(&document, "migrate");
    assert!(step["error"].is_null() && step["verified"] == true, "{}", step["error"]);
    let nics =
        step["nics"].as_array().unwrap_or_else(|| panic!("no proof for each NIC: {:#}", step["findings"]));
    let number = |nic: &serde_json::Value, name: &str| nic[name].as_u64().unwrap_or(0);
    for (end, lanes, own) in [
        ("client", "lane_sent_bytes", "nic_sent_bytes"),
        ("server", "lane_received_bytes", "nic_received_bytes"),
    ] {
        let of_end: Vec<_> =
            nics.iter().filter(|nic| nic["end"] == end && number(nic, "connections") > 0).collect();
        assert_eq!(of_end.len(), 2, "{nics:#?}");
        for nic in &of_end {
            // What the interface counts is what the lanes say and the headers around it.
            let (said, counted) = (number(nic, lanes), number(nic, own));
            assert!(said > MEMORY / 10, "an idle NIC: {nic}");
            assert!(counted >= said && counted < said + said / 5 + (1 << 20), "{nic}");
        }
        let all: u64 = of_end.iter().map(|nic| number(nic, lanes)).sum();
        assert!(all >= MEMORY, "{all} bytes of {MEMORY}");
    }
}

/// What only one end's kernel knows to be over: the source would repeat itself for as long as its kernel likes.
#[test]
fn a_destination_that_loses_its_connection_tells_the_source_which_heard_nothing() {
    let Some(hosts) = TwoHosts::new("miglost") else { return };
    let rules =
        "table ip q { chain o { type filter hook output priority 0; tcp flags & rst == rst drop; }; }";
    assert!(hosts.at(1, &["nft", rules]).status().unwrap().success());
    let _server = Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]));
    let args = [&[BINARY, "migrate", "10.61.0.2", "--key", KEY, "--bandwidth", "8MB/s"], &RESTLESS[..]];
    let mut lost = None;
    let output = run_and_cut(hosts.at(0, &args.concat()), Duration::from_secs(4), || {
        // Of the two connections the lane is that over which memory came.
        let output =
            hosts.at(1, &["ss", "-Htni", "state", "established", "( sport = :7797 )"]).output().unwrap();
        let listed = String::from_utf8_lossy(&output.stdout).replace("\n\t", " ");
        let received = |line: &str| {
            let (_, after) = line.split_once("bytes_received:")?;
            after.split_whitespace().next()?.parse::<u64>().ok()
        };
        let lane = listed.lines().max_by_key(|line| received(line)).expect("connections are open");
        let peer = lane.split_whitespace().nth(3).expect("the peer's address").to_owned();
        let port = peer.rsplit_once(':').expect("a port").1;
        let killed = hosts.at(1, &["ss", "-K", "-tn", &format!("( dport = :{port} )")]).output().unwrap();
        lost = String::from_utf8_lossy(&killed.stdout).contains(port).then(Instant::now);
    });
    let Some(lost) = lost else {
        skip("this kernel does not end connections for ss -K");
        return;
    };
    assert!(lost.elapsed() < Duration::from_secs(4), "it ended {:?} after its connection", lost.elapsed());
    let document = document(&output);
    let step = step(&document, "migrate");
    assert_eq!(step["error"]["kind"], "peer-lost", "{}", step["error"]);
    let bytes = |end: &str| {
        let lanes = step["lanes"].as_array().unwrap();
        lanes.iter().filter(|lane| lane["end"] == end).filter_map(|lane| lane["bytes"].as_u64()).sum::<u64>()
    };
    assert!(
        bytes("client") > 4 << 20 && bytes("server") > 4 << 20,
        "{} and {}",
        bytes("client"),
        bytes("server")
    );
}

#[test]
fn the_drain_of_a_host_is_rehearsed_small_and_held_against_its_plan() {
    let Some(hosts) = TwoNics::new("drain", &[200]) else { return };
    let _server = hosts.serve();
    let file = std::env::temp_dir().join(format!("pathproof-drain-{}.toml", std::process::id()));
    let plan = "[path]\ngoodput = \"190Mbit/s\"\nparallel = 2\n[[host]]\nname = \"hv1\"\n\
                [[host.guest]]\nname = \"web\"\nmemory = \"8GB\"\ncount = 15\n";
    std::fs::write(&file, plan).unwrap();
    let name = file.to_string_lossy().into_owned();
    let args = [BINARY, "migrate", "10.63.1.2:7797", "--key", KEY, "--plan", &name, "--drain-time", "4s"];
    let ask = |more: &[&str]| run_within(hosts.at(0, &[&args[..], more].concat()), Duration::from_secs(90));
    let document = document(&ask(&["--format", "json"]));
    crate::documents::assert_valid(&document, "a rehearsed drain");
    let step = step(&document, "migrate");
    assert!(step["error"].is_null() && step["verified"] == true, "{}", step["error"]);
    // Three for each of the two that move at once.
    assert_eq!(step["guests"].as_array().unwrap().len(), 6);
    let drain = &step["drain"];
    assert_eq!((&drain["host"], &drain["guests"]), (&"hv1".into(), &15.into()));
    let number = |name: &str| drain[name].as_f64().unwrap_or_else(|| panic!("{name}: {drain:#}"));
    // 15 x 8 GB at 190 Mbit/s, and the six small ones in the time that was asked for.
    assert!((number("planned_ns") / 1e9 - 5052.6).abs() < 1.0, "{drain:#}");
    assert!((number("predicted_ns") / 1e9 - 4.0).abs() < 0.1, "{drain:#}");
    // The link is shaped to what the plan says of it; a busy machine is slower, and nothing makes it faster.
    let ratio = number("of_predicted");
    assert!((0.8..2.0).contains(&ratio), "{drain:#}");
    assert!((number("measured_ns") / number("predicted_ns") - ratio).abs() < 0.001);
    assert!((number("expected_ns") / number("planned_ns") - ratio).abs() < 0.001);
    let checks = document["verdicts"].as_array().unwrap().iter().flat_map(|verdict| {
        verdict["checks"].as_array().unwrap().iter().filter(|check| check["criterion"] == "drain-time")
    });
    let outcomes: Vec<&serde_json::Value> = checks.map(|check| &check["outcome"]).collect();
    assert_eq!(outcomes, ["not-judged"]);
    let page = String::from_utf8(ask(&["--full"]).stdout).unwrap();
    assert!(page.contains("Drain of hv1"), "{page}");
    std::fs::remove_file(&file).unwrap();
}
