//! `pathproof watch`: a soak whose peer stays, goes away, comes back, or was never there.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

/// The document as it stands in the file now.
fn stands(file: &str) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Waits until the soak's document says so.
fn until(file: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        if let Some(doc) = stands(file).filter(|doc| holds(&doc["soak"])) {
            return doc;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what}: {:#?}",
            stands(file).map(|doc| doc["soak"].clone())
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn kinds(soak: &Value) -> Vec<&str> {
    soak["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

fn watch(server: &str, args: &[&str], file: &str) -> Child {
    let mut command = pathproof(&["watch", server, "--probe-every", "10s", "-o", file]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_soak_measures_everything_and_its_document_is_a_result_like_others() {
    let scratch = Scratch::new("soak");
    let file = scratch.path("soak.json");
    let output = run(&["watch", "--self", "--for", "8s", "--probe-every", "10s", "-o", &file]);
    let doc = stands(&file).unwrap_or_else(|| panic!("{}", stderr(&output)));
    crate::documents::assert_valid(&doc, "a soak");
    // A busy host may be slow, and that is an event; the code says what the document says.
    assert_eq!(output.status.code().map(i64::from), doc["exit_code"].as_i64());
    assert!(matches!(doc["exit_code"].as_u64(), Some(0 | 1)), "{:#}", doc["verdicts"]);
    assert_eq!(
        (doc["requested"]["command"].as_str(), doc["steps"].as_array().map(Vec::len)),
        (Some("watch"), Some(0))
    );
    let soak = &doc["soak"];
    assert_eq!(soak["time_ns"], 8_000_000_000u64);
    assert!((7.9e9..20e9).contains(&soak["elapsed_ns"].as_f64().unwrap()), "{}", soak["elapsed_ns"]);
    let total = &soak["total"];
    assert!(
        total["sent"].as_u64() > Some(20) && total["response_ns"]["count"].as_u64() > Some(20),
        "{total:#}"
    );
    assert!(
        total["out_bits_per_s"]["min"].as_u64() > Some(0)
            && total["ip_mtu_bytes"]["min"].as_u64() > Some(1000)
    );
    assert_eq!(total["away_ns"], 0);
    let of = |format: &str| {
        let report = run(&["report", &file, "--format", format]);
        String::from_utf8(report.stdout.clone()).unwrap_or_else(|_| panic!("{format}: {}", stderr(&report)))
    };
    let slots = soak["slots"].as_array().unwrap().len();
    let begins =
        of("csv").lines().filter(|line| line.contains(",soak,") && line.contains(",slot_start,")).count();
    assert_eq!(begins, slots, "a row for each part of the time line");
    let sent = format!("}} {}", total["sent"]);
    let metrics = of("openmetrics");
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("pathproof_soak_datagrams_sent{") && line.ends_with(&sent)),
        "{metrics}"
    );
    for format in [&["--full"][..], &[]] {
        let report = run(&[&["report", &file][..], format].concat());
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        assert_eq!(report.status.code(), output.status.code());
        assert!(text.contains("SOAK") && text.contains("the peer was there all the time"), "{text}");
    }
}

#[test]
fn a_peer_that_goes_away_and_comes_back_is_told_with_its_times() {
    let scratch = Scratch::new("away");
    let file = scratch.path("soak.json");
    let mut server = Server::start(&[]);
    let mut child = watch(&server.address, &["--for", "5m"], &file);
    until(&file, "it measures", |soak| soak["total"]["out_bits_per_s"].is_object());
    server.kill();
    until(&file, "the peer is away", |soak| kinds(soak).contains(&"peer-lost"));
    let again = Server::spawn(pathproof(&["serve", "--listen", &server.address]));
    let doc = until(&file, "it is back", |soak| kinds(soak).contains(&"peer-back"));
    assert!(doc["soak"]["total"]["away_ns"].as_u64() > Some(0));
    assert_eq!(doc["soak"]["counts"]["peer-lost"], 1);
    assert_eq!(doc["ended_at"], Value::Null, "it goes on");
    // Ctrl-C is how a soak ends: with what it saw.
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|sent| sent.success()));
    assert_eq!(wait_within(&mut child, Duration::from_secs(20)).code(), Some(1));
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert!(told.contains(" peer-lost: ") && told.contains(" peer-back: reached again after "), "{told}");
    let doc = stands(&file).unwrap();
    assert_eq!((doc["outcome"].as_str(), doc["exit_code"].as_u64()), (Some("not-fit"), Some(1)));
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT FIT"));
    drop(again);
}

#[test]
fn until_fail_ends_with_the_first_event() {
    let scratch = Scratch::new("until-fail");
    let file = scratch.path("soak.json");
    let mut server = Server::start(&[]);
    let mut child = watch(&server.address, &["--for", "5m", "--until-fail"], &file);
    until(&file, "it measures", |soak| soak["elapsed_ns"].as_u64() > Some(0));
    server.kill();
    assert_eq!(wait_within(&mut child, Duration::from_secs(30)).code(), Some(1));
    let doc = stands(&file).unwrap();
    let bad = ["peer-lost", "slow", "loss"];
    assert!(kinds(&doc["soak"]).iter().any(|kind| bad.contains(kind)), "{:#}", doc["soak"]["events"]);
}

#[test]
fn a_peer_that_was_never_there_is_no_soak() {
    let output = run(&["watch", "127.0.0.1:1", "--for", "1h"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("pathproof serve"), "{}", stderr(&output));
    for bad in [["--for", "0"], ["--probe-every", "1s"], ["--probe-every", "2h"]] {
        let output = run(&[&["watch", "--self"][..], &bad].concat());
        assert_eq!(output.status.code(), Some(2), "{bad:?}: {}", stderr(&output));
    }
}
