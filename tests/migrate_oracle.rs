//! The oracle of migration rehearsals: over a path shaped to 1 Gbit/s, what happens must be what the closed forms
//! say, with the guest dirtying below, near and above the rate of the path.
//!
//! The closed forms are written out here once more, on purpose: the test must not take the program's word.

use std::time::Duration;

use serde_json::Value;

use crate::netns::TwoHosts;
use crate::support::*;

const MEMORY: f64 = (128u64 << 20) as f64;

/// A rehearsal across the shaped path: its step.
fn rehearse(hosts: &TwoHosts, dirty: &str, limit: &str) -> Value {
    let _server = Server::spawn(
        hosts.at(1, &[BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", "k-e-y-4-tests"]),
    );
    let args = [
        BINARY,
        "migrate",
        "10.61.0.2",
        "--key",
        "k-e-y-4-tests",
        "--memory",
        "128MiB",
        "--dirty",
        dirty,
        "--downtime-limit",
        limit,
        "--format",
        "json",
    ];
    let output = run_within(hosts.at(0, &args), Duration::from_secs(60));
    let document = document(&output);
    let step = step(&document, "migrate").clone();
    assert_eq!(step["verified"], true, "{dirty}: {} {}", step["error"], stderr(&output));
    step
}

fn shaped(tag: &str) -> Option<TwoHosts> {
    let hosts = TwoHosts::new(tag)?;
    let shape = "tc qdisc add dev eth0 root tbf rate 1gbit burst 256k latency 50ms";
    let words: Vec<&str> = shape.split(' ').collect();
    if !hosts.at(0, &words).output().is_ok_and(|o| o.status.success()) {
        skip("shaping needs tc and the tbf queue");
        return None;
    }
    Some(hosts)
}

fn number(step: &Value, name: &str) -> f64 {
    step[name].as_f64().unwrap_or_else(|| panic!("no {name} in {step:#}"))
}

fn within(what: &str, measured: f64, expected: f64, share: f64) {
    assert!((measured / expected - 1.0).abs() <= share, "{what}: {measured} against {expected}");
}

/// The mean rate of the whole copy; it must be that of the shaped path, unless the machine is overloaded. Near
/// r = 1 a few percent of rate are a quarter of the bytes, so the forms are held against the rate that was.
fn path_rate(step: &Value) -> f64 {
    let rounds = step["rounds"].as_array().unwrap();
    let sum = |name: &str| rounds.iter().map(|r| r[name].as_f64().unwrap()).sum::<f64>();
    let rate = sum("bytes") / (sum("elapsed_ns") / 1e9);
    within("rate of the shaped path", rate, 1e9 / 8.0 * 1448.0 / 1514.0, 0.08);
    rate
}

/// D < B, every write to a fresh page: round n moves M·rⁿ until the rest fits B·T.
fn below(step: &Value, dirty: f64, limit_s: f64, share: f64) {
    let rate = path_rate(step);
    let dirtied = number(step, "dirtied_bytes_per_s");
    within("dirty rate", dirtied, dirty, 0.05);
    let r = dirtied / rate;
    let live = ((rate * limit_s / MEMORY).ln() / r.ln()).ceil().max(1.0);
    let bytes = MEMORY * (1.0 - r.powf(live + 1.0)) / (1.0 - r);
    assert_eq!(step["converged"], true);
    within("bytes", number(step, "bytes"), bytes, share);
    within("total", number(step, "total_ns") / 1e9, bytes / rate, share);
    if r < 0.5 {
        // A prediction rests on a quarter of a second of measuring; near r = 1 that is not worth much.
        let predicted = step["predicted"]["total_ns"].as_f64().unwrap() / 1e9;
        within("predicted total", predicted, bytes / rate, 0.15);
    }
    let rounds = step["rounds"].as_array().unwrap().len() as f64 - 1.0;
    assert!(
        (rounds - live).abs() <= if share > 0.05 { 1.0 } else { 0.0 },
        "{rounds} live rounds, not {live}"
    );
    if rounds == live {
        // Stopping and answering cost a few milliseconds beside the bytes.
        let downtime_s = number(step, "downtime_ns") / 1e9;
        let expected_s = MEMORY * r.powf(live) / rate;
        assert!(
            (downtime_s - expected_s).abs() <= share * expected_s + 0.010,
            "{downtime_s} s against {expected_s} s"
        );
    }
}

#[test]
fn shaped_migrations_keep_to_the_closed_forms() {
    let Some(hosts) = shaped("oracle") else { return };
    // Well below the path's rate, then near it.
    below(&rehearse(&hosts, "36MB/s:sequential", "200ms"), 36e6, 0.2, 0.05);
    below(&rehearse(&hosts, "100MB/s:sequential", "300ms"), 100e6, 0.3, 0.10);

    // Above it, in a working set of W pages: no end, and v = W(1 − e^(−λv/(bW))) pages stay dirty.
    let step = rehearse(&hosts, "180MB/s:hot=32MiB", "20ms");
    assert_eq!(step["converged"], false);
    assert!(step["reason"].as_str().unwrap().contains("shrinks no more"), "{}", step["reason"]);
    let set = f64::from(32u32 << 8);
    let overload = number(&step, "dirtied_bytes_per_s") / path_rate(&step);
    let mut stable = set;
    for _ in 0..1000 {
        stable = set * (1.0 - (-overload * stable / set).exp());
    }
    let rounds = step["rounds"].as_array().unwrap();
    // The mean of the last live rounds: one round alone also shows the scheduler's mood.
    let live: Vec<f64> =
        rounds[..rounds.len() - 1].iter().filter_map(|r| r["dirtied_pages"].as_f64()).collect();
    let settled = &live[live.len().saturating_sub(3)..];
    within("pages that stay dirty", settled.iter().sum::<f64>() / settled.len() as f64, stable, 0.07);
    assert_eq!(step["predicted"]["converges"], false);
}
