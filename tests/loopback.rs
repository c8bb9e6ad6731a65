//! The real binary against itself over loopback: documents, formats, and figures that can be wrong.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

#[test]
fn a_quick_self_check_is_fit_and_complete() {
    let scratch = Scratch::new("self-check");
    let file = scratch.path("result.json");
    let start = Instant::now();
    let output = run(&["check", "--self", "--quick", "--format", "json", "-o", &file]);
    assert!(start.elapsed() < Duration::from_secs(30), "took {} s", start.elapsed().as_secs());
    let doc = document(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}\n{:#}", doc["verdicts"], doc["findings"]);
    let kinds: Vec<&str> =
        doc["steps"].as_array().unwrap().iter().filter_map(|s| s["kind"].as_str()).collect();
    for kind in ["facts", "reach", "pingpong", "stream"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    for verdict in doc["verdicts"].as_array().unwrap() {
        assert!(!verdict["reason"].as_str().unwrap().is_empty());
        let outcomes = ["pass", "fail", "inconclusive", "not-judged"];
        assert!(outcomes.contains(&verdict["outcome"].as_str().unwrap()));
    }
    let stored: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored, doc, "the file and standard output hold the same document");
    // The stored result renders again, in every form.
    for (format, sign) in
        [("text", "verdicts pass"), ("json", "pathproof-result/2"), ("hlog", "Histogram log format")]
    {
        let again = run(&["report", &file, "--format", format]);
        assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
        assert!(String::from_utf8_lossy(&again.stdout).contains(sign), "{format}");
    }
    let whole = run(&["report", &file, "--full"]);
    let whole = String::from_utf8_lossy(&whole.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(whole.contains(" VERDICTS "), "everything else is behind --full");
    // What a quick check does not try is said in the document and on the page.
    let findings = doc["findings"].as_array().unwrap();
    let left_out = findings.iter().find(|finding| finding["code"] == "RUN-LEFT-OUT").unwrap();
    let kinds: Vec<&str> =
        left_out["values"]["left_out"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for kind in ["silence", "both ways", "classes of traffic"] {
        assert!(kinds.iter().any(|told| told.contains(kind)), "{kind}: {kinds:?}");
    }
    for kind in kinds {
        assert!(whole.contains(kind), "{kind} is not on the page");
    }
    let planned = &doc["requested"]["steps"];
    let steps = planned.as_array().unwrap();
    assert!(steps.iter().all(|step| step["kind"] != "contend" && step["direction"] != "both"), "{planned:#}");
    assert!(steps.iter().any(|step| step["kind"] == "ports" && step["idle_ns"] == 0), "{planned:#}");
}

#[test]
fn every_way_of_streaming_moves_and_verifies_bytes() {
    let server = Server::start(&[]);
    for extra in [
        &["--direction", "out"][..],
        &["--direction", "in"],
        &["--direction", "both", "--lanes", "2"],
        &["--zero-copy"],
        &["--busy-poll", "--pin"],
    ] {
        let mut args =
            vec!["bench", "stream", &server.address, "--time", "300ms", "--verify", "--format", "json"];
        // A loopback has no link speed to be held against.
        args.extend(["--expect-rate", "1Mbit/s"]);
        args.extend(extra);
        let output = run(&args);
        let doc = document(&output);
        let step = step(&doc, "stream");
        assert_eq!(output.status.code(), Some(0), "{extra:?}: {}\n{:#}", stderr(&output), step["error"]);
        assert_eq!(step["summary"]["verified"], true, "{extra:?}");
        assert!(step["summary"]["goodput_bits_per_s"].as_u64().unwrap() > 0, "{extra:?}");
        let lanes = if extra.contains(&"both") { 4 } else { 1 };
        assert_eq!(step["lanes"].as_array().unwrap().len(), 2 * lanes, "{extra:?}");
    }
}

#[test]
fn a_paced_stream_keeps_its_rate() {
    let server = Server::start(&[]);
    let args = [
        "bench",
        "stream",
        &server.address,
        "--time",
        "1s",
        "--rate",
        "80Mbit/s",
        "--size",
        "16KiB",
        "--format",
        "json",
    ];
    let doc = document(&run(&args));
    let goodput = step(&doc, "stream")["summary"]["goodput_bits_per_s"].as_f64().unwrap();
    assert!((goodput / 80e6 - 1.0).abs() < 0.03, "{goodput} instead of 80 Mbit/s");
}

#[test]
fn latency_has_its_distribution_and_its_label() {
    let server = Server::start(&[]);
    let doc = document(&run(&["bench", "pingpong", &server.address, "--time", "300ms", "--format", "json"]));
    let step_ = step(&doc, "pingpong");
    let rtt = &step_["summary"]["rtt_ns"];
    let at = |name: &str| rtt[name].as_u64().unwrap_or_else(|| panic!("{name} in {rtt}"));
    assert!(at("count") > 10 && at("p50") > 0);
    assert!(
        at("p50") <= at("p90")
            && at("p90") <= at("p99")
            && at("p99") <= at("p999")
            && at("p999") <= at("max")
    );
    assert!(
        step_["histograms"].as_array().unwrap().iter().any(|h| h["lane"].is_null()),
        "a merged histogram"
    );

    let args =
        ["bench", "request", &server.address, "--time", "500ms", "--rate", "2000/s", "--format", "json"];
    let doc = document(&run(&args));
    let summary = &step(&doc, "request")["summary"];
    assert_eq!(summary["load"], "open");
    let messages = summary["messages"].as_f64().unwrap();
    assert!((messages - 1000.0).abs() < 60.0, "{messages} requests instead of 1000");
    assert!(
        summary["response_ns"]["p50"].as_u64().unwrap() >= summary["service_ns"]["p50"].as_u64().unwrap() / 2
    );

    let doc = document(&run(&["bench", "request", &server.address, "--time", "200ms", "--format", "json"]));
    let summary = &step(&doc, "request")["summary"];
    assert_eq!(summary["load"], "closed");
    assert!(summary["response_ns"].is_null(), "a closed loop has no response time: {summary}");
}

#[test]
fn one_server_serves_many_clients_one_after_the_other_and_at_once() {
    let server = Server::start(&["--limits", "clients=3"]);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let address = server.address.clone();
            std::thread::spawn(move || {
                let args = ["bench", "stream", &address, "--time", "700ms", "--expect-rate", "1Mbit/s"];
                run(&args).status.code()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Some(0));
    }
    assert_eq!(run(&["bench", "pingpong", &server.address, "--time", "100ms"]).status.code(), Some(0));
}

#[test]
fn a_key_opens_and_keeps_out() {
    let server = Server::start(&["--key", "correct horse battery"]);
    let run = |key: &[&str]| {
        let mut args = vec!["bench", "pingpong", &server.address, "--time", "500ms"];
        args.extend(key);
        run(&args)
    };
    assert_eq!(run(&["--key", "correct horse battery"]).status.code(), Some(0));
    let none = run(&[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("--key"), "{}", stderr(&none));
    let wrong = run(&["--key", "wrong"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("key is wrong"), "{}", stderr(&wrong));
    assert!(server.logged("handshake failed (wrong key)"), "the log names the attempt:\n{}", server.log());
}
