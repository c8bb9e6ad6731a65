//! Result documents: the schema, the stored golden ones, and the names that programs rely on.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pathproof_model::{Criteria, Outcome, lift};
use pathproof_report::{Hlog, Json, Render, Text};
use serde::Deserialize;
use serde_json::Value;

use crate::support::*;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Fails with every way in which `document` departs from the schema of its version.
pub fn assert_valid(document: &Value, what: &str) {
    static VALIDATORS: LazyLock<[(String, jsonschema::Validator); 2]> = LazyLock::new(|| {
        [1, 2].map(|version| {
            let schema = std::fs::read(project(&format!("results/schema/v{version}.json")));
            let schema: Value = serde_json::from_slice(&schema.expect("the schema is in the repository"))
                .expect("the schema is JSON");
            let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
            (format!("pathproof-result/{version}"), validator)
        })
    });
    let own = VALIDATORS.iter().find(|(name, _)| document["schema"] == **name);
    let (_, validator) = own.unwrap_or_else(|| panic!("{what} has the schema {}", document["schema"]));
    let wrong: Vec<String> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{what} departs from the schema:\n{}", wrong.join("\n"));
}

/// The golden results of every version, by name.
fn golden() -> Vec<(String, Value)> {
    let folder =
        |path: &Path| std::fs::read_dir(path).expect("golden results are in the repository").flatten();
    let mut golden = vec![];
    for version in folder(&project("results/golden")).map(|entry| entry.path()) {
        let files: Vec<_> = folder(&version).map(|entry| entry.path()).collect();
        assert!(files.len() >= 3, "golden results of {} are missing", version.display());
        golden.extend(files.into_iter().map(|file| {
            let part = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read(&file).expect("a golden result can be read");
            let value = serde_json::from_slice(&text).expect("a golden result is JSON");
            (format!("{}/{}", part(&version), part(&file)), value)
        }));
    }
    golden.sort_by(|a, b| a.0.cmp(&b.0));
    golden
}

#[test]
fn golden_results_load_render_and_are_judged_as_they_were() {
    for (name, value) in golden() {
        assert_valid(&value, &name);
        let doc = lift::document(value).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_valid(&serde_json::to_value(&doc).unwrap(), &format!("{name}, written again"));
        for renderer in [&Text::default() as &dyn Render, &Json, &Hlog] {
            let mut out = Vec::new();
            renderer.render(&doc, &mut out).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!out.is_empty());
        }
        let again = pathproof_model::judge(&doc, &Criteria::default());
        assert_eq!(again.len(), doc.verdicts.len(), "{name}");
        for (now, then) in again.iter().zip(&doc.verdicts) {
            assert_eq!(now.subject, then.subject, "{name}");
            // Builds that knew no `not-judged` passed a rate that they could hold against nothing.
            let passed_unknown = then.checks.is_empty() && then.reason.contains("link speed unknown");
            let expected = match then.outcome {
                Outcome::Pass if passed_unknown => Outcome::NotJudged,
                outcome => outcome,
            };
            assert_eq!(
                now.outcome, expected,
                "{name}: {} is judged otherwise than when it was made",
                now.subject
            );
        }
    }
}

/// What a default check of a machine against itself comes to, however many lanes and slices it has.
#[test]
fn a_check_with_its_defaults_is_a_document_of_bounded_size() {
    let output = run(&["check", "--self", "--format", "json"]);
    let bytes = output.stdout.len();
    let doc = document(&output);
    assert_valid(&doc, "a default check");
    let kinds: Vec<&str> =
        doc["steps"].as_array().unwrap().iter().filter_map(|s| s["kind"].as_str()).collect();
    assert!(kinds.len() >= 8 && kinds.contains(&"stream"), "too little was measured to tell: {kinds:?}");
    assert!(bytes <= 100_000, "{bytes} bytes");
}

/// Silence is the part of a check that takes longest: who asks for less has a shorter check, and who asks for none is told what is not known.
#[test]
fn a_check_without_silent_connections_is_shorter_and_says_so() {
    let doc = document(&run(&["check", "--self", "--idle-time", "0s", "--format", "json"]));
    assert_valid(&doc, "a check without silence");
    assert_eq!(doc["budget_ns"], 52_000_000_000_u64);
    let steps = doc["requested"]["steps"].as_array().unwrap();
    let silences: Vec<u64> = steps.iter().filter_map(|step| step["idle_ns"].as_u64()).collect();
    assert_eq!(silences, [0]);
    let findings = doc["findings"].as_array().unwrap();
    let told = findings.iter().find(|finding| finding["code"] == "RUN-LEFT-OUT").unwrap();
    assert_eq!(told["values"]["left_out"], serde_json::json!(["whether connections survive silence"]));
}

#[test]
fn both_directions_are_two_flows_and_the_summary_is_of_the_first() {
    let output =
        run(&["bench", "stream", "--self", "--direction", "both", "--time", "1s", "--format", "json"]);
    let doc = document(&output);
    assert_valid(&doc, "both directions");
    let step = &doc["steps"][0];
    let flows = step["flows"].as_array().unwrap();
    let ways: Vec<_> = flows.iter().map(|flow| (&flow["name"], &flow["from"], &flow["to"])).collect();
    assert_eq!(ways, [(&"out".into(), &0.into(), &1.into()), (&"in".into(), &1.into(), &0.into())]);
    assert_eq!(step["summary"], flows[0]["summary"]);
    for (number, flow) in flows.iter().enumerate() {
        assert!(flow["summary"]["goodput_bits_per_s"].as_u64().unwrap() > 0, "{flow}");
        let own = |list: &str| -> Vec<&Value> {
            let list = step[list].as_array().unwrap();
            list.iter().filter(|one| one["flow"] == number).collect()
        };
        assert_eq!((own("lanes").len(), own("series").len()), (2, 2), "two ends of one lane");
        let there = own("series").into_iter().find(|series| series["node"] == flow["to"]).unwrap();
        let received = there["received_bytes"].as_array().unwrap();
        let sum: u64 = received.iter().filter_map(Value::as_u64).sum();
        assert_eq!(sum, flow["summary"]["bytes"].as_u64().unwrap());
    }
}

#[test]
fn a_broken_document_departs_from_the_schema() {
    let (_, mut value) = golden().remove(0);
    value["steps"][0]["kind"] = "guess".into();
    value["verdicts"][0]["outcome"] = 1.into();
    let caught = std::panic::catch_unwind(|| assert_valid(&value, "broken"));
    assert!(caught.is_err(), "the schema accepts anything");
}

/// What programs were promised, read by a strict reader of their own.
mod contract {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Times {
        pub count: u64,
        #[serde(rename = "min")]
        pub _min: u64,
        pub p50: u64,
        pub p90: u64,
        /// Unknown in documents older than the field.
        #[serde(default)]
        pub p95: Option<u64>,
        pub p99: u64,
        pub p999: u64,
        pub max: u64,
        #[serde(rename = "saturated")]
        pub _saturated: u64,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Verdict {
        pub subject: String,
        pub outcome: String,
        pub reason: String,
        #[serde(default)]
        pub checks: Vec<Check>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Check {
        pub criterion: String,
        pub measured: Option<f64>,
        pub limit: Option<f64>,
        pub unit: Option<String>,
        pub outcome: String,
        pub text: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Finding {
        pub code: String,
        pub severity: String,
        pub evidence: String,
        pub meaning: String,
        pub next: String,
        #[serde(rename = "step")]
        pub _step: Option<usize>,
        #[serde(rename = "values")]
        pub _values: serde_json::Map<String, Value>,
        #[serde(rename = "against", default)]
        pub _against: String,
        #[serde(rename = "open", default)]
        pub _open: Vec<String>,
    }
}

#[test]
fn a_fresh_result_keeps_the_promised_names() {
    let output = run(&["bench", "pingpong", "--self", "--time", "200ms", "--format", "json"]);
    let mut documents = golden();
    documents.push(("a fresh result".into(), document(&output)));
    for (name, doc) in documents {
        assert_valid(&doc, &name);
        let version = if name.starts_with("v1/") { 1 } else { 2 };
        assert_eq!(doc["schema"], format!("pathproof-result/{version}"), "{name}");
        for verdict in doc["verdicts"].as_array().unwrap() {
            let verdict: contract::Verdict = serde_json::from_value(verdict.clone()).unwrap();
            let outcomes = ["pass", "fail", "inconclusive", "not-judged"];
            assert!(outcomes.contains(&verdict.outcome.as_str()), "{verdict:?}");
            assert!(!verdict.subject.is_empty() && !verdict.reason.is_empty(), "{name}: {verdict:?}");
            for check in verdict.checks {
                assert!(outcomes.contains(&check.outcome.as_str()), "{check:?}");
                assert!(!check.criterion.is_empty() && verdict.reason.contains(&check.text), "{check:?}");
                let numbers = check.measured.is_some() || check.limit.is_some();
                assert!(!numbers || check.unit.is_some(), "a number without a unit: {check:?}");
            }
        }
        for finding in doc["findings"].as_array().unwrap() {
            let finding: contract::Finding = serde_json::from_value(finding.clone()).unwrap();
            assert!(["info", "warning", "error"].contains(&finding.severity.as_str()), "{finding:?}");
            for text in [finding.code, finding.evidence, finding.meaning, finding.next] {
                assert!(!text.is_empty(), "{name}");
            }
        }
        for step in doc["steps"].as_array().unwrap() {
            let summary = &step["summary"];
            assert!(step["error"].is_null() || step["error"]["message"].is_string(), "{name}");
            match step["kind"].as_str().unwrap() {
                "pingpong" | "reach" if step["error"].is_null() => {
                    let times: contract::Times = serde_json::from_value(summary["rtt_ns"].clone()).unwrap();
                    assert!(times.count > 0 && times.p50 > 0, "{name}");
                    let p95 = times.p95.unwrap_or(times.p90);
                    let rising = [times.p50, times.p90, p95, times.p99, times.p999, times.max];
                    assert!(rising.is_sorted(), "{name}: {rising:?}");
                }
                "stream" if step["error"].is_null() => {
                    assert!(summary["goodput_bits_per_s"].as_u64().unwrap() > 0, "{name}");
                }
                _ => {}
            }
        }
    }
}

/// What programs were written for when version 1 was all there was, by the names of it: the schema is made of the types, so what it has, documents
/// have. What was given up stands at the end of docs/RESULT-FORMAT.md.
#[test]
fn names_that_programs_rely_on_did_not_change_with_the_version() {
    let schema = std::fs::read(project("results/schema/v2.json")).expect("the schema can be read");
    let schema: Value = serde_json::from_slice(&schema).expect("the schema is JSON");
    let named = |list: &str, name: &str| schema["$defs"][list]["properties"].get(name).is_some();
    // Where in a step of version 1 things are, and the list of fields that they have now.
    let places = [
        ("/paths", "MtuPath"),
        ("/rounds", "MigrateRound"),
        ("/summary/rtt_ns", "LatencySummary"),
        ("/error", "StepError"),
    ];
    let mut seen = vec![];
    for (file, doc) in golden().into_iter().filter(|(name, _)| name.starts_with("v1/")) {
        let steps = doc["steps"].as_array().unwrap();
        let in_steps = places.into_iter().flat_map(move |(place, list)| {
            let found = steps.iter().filter_map(move |step| step.pointer(place));
            found.map(move |found| (place, list, found))
        });
        let beside = [("/verdicts", "Verdict"), ("/findings", "Finding")];
        let beside = beside.into_iter().map(|(place, list)| (place, list, doc.pointer(place).unwrap()));
        for (place, list, found) in in_steps.chain(beside) {
            for one in found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice) {
                for name in one.as_object().into_iter().flat_map(|fields| fields.keys()) {
                    assert!(named(list, name), "{file}: {place} has {name}, and version 2 does not");
                    seen.push(place);
                }
            }
        }
    }
    let unseen = places.map(|(place, _)| place).into_iter().filter(|place| !seen.contains(place));
    assert_eq!(unseen.collect::<Vec<_>>(), [""; 0], "no document of version 1 has these");
    for name in [
        "kind",
        "name",
        "over",
        "direction",
        "summary",
        "flows",
        "error",
        "paths",
        "rounds",
        "total_ns",
        "downtime_ns",
        "verified",
    ] {
        assert!(named("Step", name), "a step has no {name}");
    }
    for name in ["dialect", "multichannel", "interfaces", "signing_required", "encryption_required"] {
        assert!(named("SmbServer", name), ".smb has no {name}");
    }
    for name in ["address", "index", "rdma", "rss", "speed_bits_per_s"] {
        assert!(named("SmbInterface", name), ".smb.interfaces[] has no {name}");
    }
}
