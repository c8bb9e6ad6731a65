//! Several flows of different patterns in one traffic step, over loopback.

use serde_json::Value;

use crate::support::*;

const PLAN: &str = r#"
[[steps]]
kind = "stream"
lanes = 2
time_ns = 1_000_000_000
[[steps.beside]]
name = "question"
kind = "request"
load = "open"
requests_per_s = 100
[[steps.beside]]
name = "backup"
class = "migration"
kind = "stream"
direction = "in"
size_bytes = 65536
rate_bits_per_s = 80_000_000
start_ns = 300_000_000
time_ns = 500_000_000
[[steps.beside]]
kind = "pingpong"
direction = "both"
"#;

fn made(plan: &str) -> Value {
    let scratch = Scratch::new("flows");
    let file = scratch.path("plan.toml");
    std::fs::write(&file, plan).unwrap();
    let server = Server::start(&["--listen", "127.0.0.1:0"]);
    let output = run(&["check", &server.address, "--plan", &file, "--format", "json"]);
    document(&output)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn flows_of_different_patterns_run_at_once_and_are_measured_each_for_itself() {
    let doc = made(PLAN);
    let step = step(&doc, "stream");
    assert!(step["error"].is_null(), "{:#}", step["error"]);
    let flows = step["flows"].as_array().unwrap();
    let names: Vec<&str> = flows.iter().map(|flow| flow["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["out", "question", "backup", "pingpong 3 out", "pingpong 3 in"]);
    // The step's own figures are those of its first flow, as programs know them.
    assert_eq!(step["summary"], flows[0]["summary"]);
    let beside: Vec<bool> = flows.iter().map(|flow| flow["beside"] == true).collect();
    assert_eq!(beside, [false, true, true, true, true]);
    assert!(number(&flows[0]["summary"]["goodput_bits_per_s"]) > 10_000_000);
    assert!(flows[0]["summary"]["rtt_ns"].is_null(), "a stream has no round trips of its own");

    // A hundred a second, whatever the stream does; on a loaded host the last ones may come late.
    let question = &flows[1]["summary"];
    let asked = number(&question["response_ns"]["count"]);
    assert!((80..=101).contains(&asked), "{asked} questions: {question:#}");
    assert!(number(&question["rtt_ns"]["p50"]) > 0);

    let backup = &flows[2];
    assert_eq!(
        (&backup["class"], &backup["from"], &backup["to"]),
        (&"migration".into(), &1.into(), &0.into())
    );
    assert_eq!(number(&backup["active"]["start_ns"]), 300_000_000);
    assert_eq!(number(&backup["summary"]["window_ns"]), 500_000_000);
    let (rate, paced) = (number(&backup["summary"]["goodput_bits_per_s"]), 80_000_000);
    assert!((paced / 2..=paced * 11 / 10).contains(&rate), "{rate} of {paced}");
    for flow in &flows[3..] {
        assert!(number(&flow["summary"]["rtt_ns"]["count"]) > 50, "{flow:#}");
    }

    let of = |lane: &Value| number(&lane["flow"]);
    let lanes: Vec<u64> = step["lanes"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(lanes, [0, 0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4], "both ends know whose each lane is");
    let verdicts = doc["verdicts"].to_string();
    assert!(verdicts.contains("backup: goodput"), "a pace is a yardstick: {verdicts}");
}

#[test]
fn a_plan_with_flows_that_cannot_run_at_once_is_refused_before_anybody_is_dialled() {
    let scratch = Scratch::new("flows-refused");
    let refused = |beside: &str| {
        let file = scratch.path("plan.toml");
        std::fs::write(&file, format!("[[steps]]\nkind = \"stream\"\n{beside}")).unwrap();
        let output = run(&["check", "127.0.0.1:1", "--plan", &file]);
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    assert!(refused("[[steps.beside]]\nkind = \"migrate\"\n").contains("migrate"));
    assert!(
        refused("[[steps.beside]]\nclass = \"prbe\"\n").contains("a class that this build does not know")
    );
    assert!(refused("[[steps.beside]]\nrate_bits_per_s = 5\n").contains("a payload rate is for stream"));
    assert!(refused(&"[[steps.beside]]\n".repeat(16)).contains("15 is the limit"));
    assert!(refused("[[steps.beside]]\nstart_ns = 9_000_000_000\n").contains("begin earlier"));
    assert!(refused("[steps.expect]\np99_max_ns = 5\n").contains("a stream has no round trips"));
    assert!(refused("[steps.expect]\np99 = 5\n").contains("p99_max_ns"), "an unknown key is an error");
}

#[test]
fn a_flow_is_held_against_what_its_plan_expects_of_it() {
    let doc = made(
        "[[steps]]\nkind = \"stream\"\ntime_ns = 500_000_000\n\
         [steps.expect]\ngoodput_min_bits_per_s = 900_000_000_000_000\n\
         [[steps.beside]]\nname = \"question\"\nclass = \"probe\"\nload = \"open\"\nrequests_per_s = 200\n\
         [steps.beside.expect]\np99_max_ns = 60_000_000_000\n",
    );
    let step = step(&doc, "stream");
    assert_eq!(
        step["flows"][0]["expect"],
        serde_json::json!({ "goodput_min_bits_per_s": 900_000_000_000_000u64 })
    );
    assert_eq!(step["flows"][1]["expect"], serde_json::json!({ "p99_max_ns": 60_000_000_000u64 }));
    let verdicts = doc["verdicts"].as_array().unwrap();
    let verdict =
        verdicts.iter().find(|v| v["subject"] == "throughput/tcp/out").expect("the stream is judged");
    let checks = verdict["checks"].as_array().unwrap();
    let check =
        |name: &str| checks.iter().find(|c| c["criterion"] == name).unwrap_or_else(|| panic!("{checks:#?}"));
    let goodput = check("expected-goodput");
    assert_eq!((&goodput["limit"], &goodput["unit"]), (&900e12.into(), &"bits_per_s".into()));
    assert!(number(&goodput["measured"].as_f64().map(|rate| rate as u64).into()) > 1_000_000, "{goodput}");
    // A host without time for its lanes leaves it open; no host makes it a pass.
    assert!(["fail", "inconclusive"].contains(&goodput["outcome"].as_str().unwrap()), "{goodput}");
    assert!(verdict["reason"].as_str().unwrap().contains("is expected"), "{verdict}");
    // 100 questions are too few for a p99; a higher percentile of them is judged, or the check says so.
    let p99 = checks.iter().find(|c| c["criterion"].as_str().unwrap().starts_with("expected-p"));
    assert_eq!(p99.expect("the probe is judged")["limit"], 60e9);
}
