//! `pathproof compare` and `check --baseline`, on documents of real runs.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/golden").join(name).display().to_string()
}

/// A document with every goodput, and the slices behind it, times `factor`, and packets of this MTU at the client.
fn changed(scratch: &Scratch, name: &str, factor: f64, ip_mtu_bytes: u64) -> String {
    let mut doc: Value =
        serde_json::from_slice(&std::fs::read(golden("v2/check-two-hosts.json")).unwrap()).unwrap();
    let times = |value: &mut Value| {
        if let Some(number) = value.as_f64() {
            *value = ((number * factor) as u64).into();
        }
    };
    for step in doc["steps"].as_array_mut().unwrap() {
        if step["kind"] != "stream" {
            continue;
        }
        times(&mut step["summary"]["goodput_bits_per_s"]);
        for flow in step["flows"].as_array_mut().into_iter().flatten() {
            times(&mut flow["summary"]["goodput_bits_per_s"]);
        }
        for series in step["series"].as_array_mut().into_iter().flatten() {
            // Long and steady enough to tell: the golden ones are of quick runs.
            let bytes = (1_000_000.0 * factor) as u64;
            let column: Vec<u64> = (0..40).map(|at| bytes + at * 37 % 11 * bytes / 500).collect();
            series["end_ns"] = 4_000_000_000u64.into();
            series["width_ns"] = 100_000_000u64.into();
            if series["received_bytes"].is_array() {
                series["received_bytes"] = column.into();
            }
        }
    }
    for nic in doc["nodes"][0]["environment"]["nics"].as_array_mut().unwrap() {
        if nic["name"] == "eth0" {
            nic["ip_mtu_bytes"] = ip_mtu_bytes.into();
        }
    }
    let path = scratch.path(name);
    std::fs::write(&path, doc.to_string()).unwrap();
    path
}

/// What it says to programs, which must keep to the schema.
fn compared(args: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[&["compare"], args, &["--format", "json"]].concat());
    let said: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)));
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/results/schema/compare-v1.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let wrong: Vec<String> =
        validator.iter_errors(&said).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{args:?} departs from the schema:\n{}", wrong.join("\n"));
    assert_eq!(said["schema"], "pathproof-compare/1");
    (output.status.code(), said)
}

#[test]
fn a_slower_run_is_a_regression_and_its_smaller_mtu_is_named() {
    let scratch = Scratch::new("compare");
    let (a, b) = (changed(&scratch, "a.json", 1.0, 9000), changed(&scratch, "b.json", 0.8, 1500));
    let (code, doc) = compared(&[&a, &b]);
    assert_eq!((code, &doc["outcome"]), (Some(1), &"regression".into()), "{doc:#}");
    let pairs = doc["pairs"].as_array().unwrap();
    let goodput = pairs.iter().find(|pair| pair["figure"] == "goodput" && pair["gated"] == true).unwrap();
    assert_eq!((&goodput["significant"], &goodput["verdict"]), (&true.into(), &"regressed".into()));
    assert!((goodput["change"].as_f64().unwrap() + 0.2).abs() < 0.01, "{goodput}");
    for pair in pairs {
        for name in ["figure", "a", "b", "change", "significant"] {
            assert!(pair.get(name).is_some(), "{name} is missing in {pair}");
        }
    }
    assert_eq!(doc["likely_cause"], "MTU 9000 -> 1500", "{:#}", doc["settings"]);
    let text = run(&["compare", &a, &b]);
    let text = String::from_utf8(text.stdout).unwrap();
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.starts_with("REGRESSION: "), "{text}");
    assert!(flat.contains("slower by 20 %") && flat.contains("likely because MTU 9000 -> 1500"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // A wider gate lets it pass; the other way round it is faster.
    assert_eq!(compared(&[&a, &b, "--gate", "30%"]).0, Some(0));
    assert_eq!(compared(&[&b, &a]).0, Some(0));
}

#[test]
fn what_b_lacks_is_null_and_never_a_pass() {
    let (code, doc) = compared(&[&golden("v2/check-two-hosts.json"), &golden("v2/migrate-self.json")]);
    assert_eq!((code, &doc["outcome"]), (Some(3), &"cannot-tell".into()));
    let missing = doc["pairs"].as_array().unwrap().iter().find(|pair| pair["figure"] == "goodput").unwrap();
    assert!(
        missing["b"].is_null() && missing["change"].is_null() && missing["significant"].is_null(),
        "{missing}"
    );
}

#[test]
fn documents_of_version_1_and_several_runs_are_read() {
    let old = golden("v1/check-two-hosts.json");
    let (code, doc) = compared(&[&old, &old]);
    assert_eq!(code, Some(0), "{}", doc["reason"]);
    let four = [old.as_str(); 4].join(",");
    let (code, doc) = compared(&[&four, &four]);
    assert_eq!((code, doc["a"]["files"].as_array().unwrap().len()), (Some(0), 4));
    assert!(doc["pairs"].as_array().unwrap().iter().any(|pair| pair["basis"] == "runs"));
    for bad in
        [&["compare", &old][..], &["compare", &old, "nosuch.json"], &["compare", &old, &old, "--gate", "ten"]]
    {
        let output = run(bad);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{bad:?}");
    }
}

#[test]
fn a_check_is_held_against_its_baseline() {
    let scratch = Scratch::new("baseline");
    let first = scratch.path("first.json");
    let made = run(&["check", "--self", "--quick", "-o", &first]);
    assert!(made.status.success() || made.status.code() == Some(3), "{}", stderr(&made));
    // A goodput that no machine has.
    let mut doc: Value = serde_json::from_slice(&std::fs::read(&first).unwrap()).unwrap();
    for step in doc["steps"].as_array_mut().unwrap() {
        if step["kind"] == "stream" {
            for flow in step["flows"].as_array_mut().unwrap() {
                flow["summary"]["goodput_bits_per_s"] = 90_000_000_000_000u64.into();
            }
            step["summary"]["goodput_bits_per_s"] = 90_000_000_000_000u64.into();
        }
    }
    let dreamt = scratch.path("dreamt.json");
    std::fs::write(&dreamt, doc.to_string()).unwrap();
    let held = run(&["check", "--self", "--quick", "--baseline", &dreamt, "--format", "json"]);
    let doc = document(&held);
    let verdict = doc["verdicts"].as_array().unwrap().iter().find(|v| v["subject"] == "baseline").unwrap();
    // Where a quick run is too short to tell noise, what cannot be determined is no pass.
    assert!(["fail", "inconclusive"].contains(&verdict["outcome"].as_str().unwrap()), "{verdict:#}");
    assert_ne!(held.status.code(), Some(0));
    let refused = run(&["check", "--self", "--baseline", "nosuch.json"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "before anything is measured");
}

#[test]
fn limits_of_a_profile_are_printed_with_units_and_read_back() {
    let scratch = Scratch::new("criteria");
    let printed = run(&["criteria", "--profile", "hyperv"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("p99_max = \"1500us\"") && text.contains("# Profile hyperv:"), "{text}");
    let file = scratch.path("hyperv.toml");
    std::fs::write(&file, &text).unwrap();
    let again = String::from_utf8(run(&["criteria", "--criteria", &file]).stdout).unwrap();
    let limits = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.contains(" = ") && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(limits(&again), limits(&text));
    let golden = golden("v2/check-two-hosts.json");
    let judged = |args: &[&str]| {
        let output = run(&[&["report", &golden, "--format", "json"], args].concat());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["criteria"]["latency"]["p99_max_ns"].clone()
    };
    assert_eq!(judged(&["--profile", "hyperv"]), 1_500_000);
    assert_eq!(judged(&["--criteria", &file]), 1_500_000);
    let wrong = run(&["check", "--self", "--profile", "hyperw"]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(stderr(&wrong).contains("hyperv"), "{}", stderr(&wrong));
}
