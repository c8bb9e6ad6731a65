//! `pathproof bench packets`: the packet rate at which loss begins, against policers whose rates are known.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::contend::filtered;
use crate::netns::TwoHosts;
use crate::support::*;

const KEY: &str = "p-a-c-k-e-t-s";

fn serve(hosts: &TwoHosts) -> Server {
    Server::spawn(hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", KEY]))
}

fn search(hosts: &TwoHosts, more: &[&str]) -> Command {
    let args = [BINARY, "bench", "packets", "10.61.0.2", "--key", KEY, "--format", "json"];
    hosts.at(0, &[&args[..], more].concat())
}

/// Has a host drop what comes in above so many datagrams a second of those that a search sends; whether it does.
fn policed(hosts: &TwoHosts, host: usize, rate: u32) -> bool {
    // The bucket is 25 ms: what a busy machine is late with fits into it, and over a second and a half it is less than 2 % more.
    let rules = format!(
        "table ip p {{ chain i {{ type filter hook prerouting priority 0; udp length 68 limit rate over {rate}/second burst {} packets drop; }}; }}",
        rate / 40
    );
    filtered(hosts, host, "policed", &rules)
}

#[test]
fn the_rate_of_a_policer_is_found_within_a_twentieth_each_way_and_nobody_else_is_accused() {
    let Some(hosts) = TwoHosts::new("rates") else { return };
    // The peer's for what goes out, this host's for what comes in.
    if !(policed(&hosts, 1, 2000) && policed(&hosts, 0, 800)) {
        return;
    }
    let _server = serve(&hosts);
    let output =
        run_within(search(&hosts, &["--direction", "both", "--time", "1500ms"]), Duration::from_secs(240));
    let doc = document(&output);
    crate::documents::assert_valid(&doc, "packet rates");
    let rates = doc["packet_rates"].as_array().unwrap();
    assert_eq!(rates.len(), 2, "{}", stderr(&output));
    let mut busy = vec![];
    for (rate, (direction, limit)) in rates.iter().zip([("out", 2000.0), ("in", 800.0)]) {
        assert_eq!(rate["direction"], direction);
        if !rate["sender_limit_packets_per_s"].is_null() {
            // A machine that is too busy to send so many says that, and nothing of the path.
            assert!(rate["lossy_packets_per_s"].is_null() && rate["place"].is_null(), "{rate:#}");
            busy.push(direction);
            continue;
        }
        let near = |what: &str| {
            let ratio = rate[what].as_f64().unwrap_or_else(|| panic!("{what}: {rate:#}")) / limit;
            assert!((ratio - 1.0).abs() < 0.05, "{what}: {ratio} {rate:#}");
        };
        ["lossless_packets_per_s", "lossy_packets_per_s", "ceiling_packets_per_s"].into_iter().for_each(near);
        assert_eq!(rate["place"], "between", "{rate:#}");
        // Which path they took the facts of both hosts tell.
        for end in ["sender_path", "receiver_path"] {
            assert_eq!(rate[end]["kind"], "veth", "{rate:#}");
        }
    }
    let found: Vec<&Value> =
        doc["findings"].as_array().unwrap().iter().filter(|one| one["step"].is_null()).collect();
    let limits = found.iter().filter(|one| one["code"] == "PACKET-RATE-LIMIT").count();
    let told = rates.iter().filter(|rate| !rate["lossy_packets_per_s"].is_null()).count();
    assert_eq!(limits, told, "{found:#?}");
    let others = ["PATH-LOSS", "HOST-OVERFLOW", "FLOWS-DIFFER", "CHANNEL-DEAD"];
    assert!(
        !doc["findings"].as_array().unwrap().iter().any(|one| others.iter().any(|code| one["code"] == *code))
    );
    if !busy.is_empty() {
        skip(&format!(
            "this machine was too busy to send as many packets as the policer lets through: {busy:?}"
        ));
    }
}

#[test]
fn a_path_without_a_limit_has_none_below_the_most_that_is_tried() {
    let Some(hosts) = TwoHosts::new("free") else { return };
    let _server = serve(&hosts);
    let doc = document(&run_within(search(&hosts, &["--most", "2000"]), Duration::from_secs(60)));
    let rates = doc["packet_rates"].as_array().unwrap();
    assert_eq!(rates.len(), 1);
    assert!(rates[0]["lossy_packets_per_s"].is_null() && rates[0]["place"].is_null(), "{:#}", rates[0]);
    assert!(!doc["findings"].as_array().unwrap().iter().any(|one| one["code"] == "PACKET-RATE-LIMIT"));
    // A busy machine may not send so many; that is its own limit and nobody else's.
    if !rates[0]["sender_limit_packets_per_s"].is_null() {
        return skip("this machine was too busy to send 2000 packets a second");
    }
    assert_eq!(rates[0]["lossless_packets_per_s"], 2000, "{:#}", rates[0]);
}

#[test]
fn a_receiver_that_sleeps_longer_needs_a_larger_buffer_and_loses_in_its_socket() {
    let Some(hosts) = TwoHosts::new("sleeps") else { return };
    let _server = serve(&hosts);
    let search = |sleeps: &str| {
        let more = ["--receiver-sleeps", sleeps, "--buffer-for", "3000", "--time", "500ms"];
        let output = run_within(search(&hosts, &more), Duration::from_secs(120));
        let doc = document(&output);
        crate::documents::assert_valid(&doc, "packet buffers");
        let buffers = doc["packet_buffers"].as_array().unwrap_or_else(|| panic!("{}", stderr(&output)));
        assert_eq!((buffers.len(), &buffers[0]["direction"]), (1, &"out".into()));
        buffers[0].clone()
    };
    let (short, long) = (search("20ms"), search("80ms"));
    assert_eq!(short["receiver_sleeps_ns"], 20_000_000, "{short:#}");
    if [&short, &long].iter().any(|one| one["sender_fell_short"] == true) {
        // A machine that is too busy to send so many says that.
        return;
    }
    let holds = |one: &Value| one["holds_bytes"].as_f64().unwrap_or_else(|| panic!("{one:#}"));
    // Four times as many packets come in one sleep.
    let ratio = holds(&long) / holds(&short);
    assert!((2.0..7.0).contains(&ratio), "{ratio}: {short:#} {long:#}");
    for one in [&short, &long] {
        assert!(one["loses_bytes"].as_f64().is_some_and(|loses| loses < holds(one)), "{one:#}");
        assert_eq!(one["place"], "receiver-socket", "{one:#}");
    }
}

#[test]
fn a_sleeping_receiver_with_a_small_buffer_has_its_own_limit_and_is_named_with_its_knob() {
    let Some(hosts) = TwoHosts::new("dozes") else { return };
    let _server = serve(&hosts);
    let more = ["--receiver-sleeps", "50ms", "--buffer", "16KiB", "--most", "20000", "--time", "500ms"];
    let doc = document(&run_within(search(&hosts, &more), Duration::from_secs(180)));
    let rate = &doc["packet_rates"][0];
    if !rate["sender_limit_packets_per_s"].is_null() {
        return;
    }
    // Some forty small packets fit, twenty times a second; how many bytes the kernel counts for each is its own affair.
    let lossy = rate["lossy_packets_per_s"].as_u64().unwrap_or_else(|| panic!("{rate:#}"));
    assert!((200..5000).contains(&lossy), "{rate:#}");
    assert_eq!(rate["place"], "receiver-socket", "{rate:#}");
    let limit = doc["findings"].as_array().unwrap().iter().find(|one| one["code"] == "PACKET-RATE-LIMIT");
    assert!(limit.unwrap()["next"].as_str().unwrap().contains("net.core.rmem_max"), "{limit:?}");
}

#[test]
fn what_cannot_be_searched_for_is_refused_before_anybody_is_dialled() {
    for (more, says) in [
        (["--time", "10s"], "2.50 s"),
        (["--most", "7"], "100..=100000"),
        (["--direction", "up"], "both"),
        (["--receiver-sleeps", "1s"], "100.00 ms"),
        (["--buffer", "1KiB"], "4 KiB to 8 MiB"),
        (["--buffer", "1TiB"], "8 MiB"),
        (["--buffer-for", "7"], "100..=100000"),
    ] {
        let output = run(&[&["bench", "packets", "127.0.0.1:1"], &more[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}
