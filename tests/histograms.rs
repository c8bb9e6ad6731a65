//! Our histograms in the hands of an independent implementation: PyPI's `hdrhistogram`, a port of the Java one.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

/// Pinned, so that a new release cannot turn the test red by itself.
const PACKAGE: &str = "hdrhistogram==0.10.3";

/// The package rounds a rank to the nearest sample and ours rounds up, which may be one bucket apart; so ranks are
/// counted here, over the buckets that the package decoded.
const DECODE: &str = r#"
import json, math, sys
from hdrh.histogram import HdrHistogram
for record in json.load(sys.stdin):
    h = HdrHistogram.decode(record["hdr_v2_base64"].encode())
    total = h.get_total_count()
    def at(quantile):
        seen, rank = 0, max(1, math.ceil(quantile * total))
        for item in h.get_recorded_iterator():
            seen += item.count_added_in_this_iter_step
            if seen >= rank:
                return h.get_highest_equivalent_value(item.value_iterated_to)
    print(json.dumps({"count": total, "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
                      "max": h.get_max_value()}))
"#;

#[test]
fn an_independent_reader_finds_the_same_percentiles() {
    let python = match python_with(PACKAGE, "hdrh.histogram") {
        Ok(python) => python,
        Err(reason) => return skip(&reason),
    };
    let output = run(&["bench", "pingpong", "--self", "--time", "500ms", "--format", "json"]);
    let doc = document(&output);
    let step = step(&doc, "pingpong");
    let scratch = Scratch::new("histograms");
    let input = scratch.path("records.json");
    std::fs::write(&input, step["histograms"].to_string()).unwrap();
    let mut decode = Command::new(python);
    decode.args(["-c", DECODE]).stdin(std::fs::File::open(&input).unwrap());
    let decoded = run_within(decode, Duration::from_secs(60));
    assert!(decoded.status.success(), "{}", stderr(&decoded));
    let theirs: Vec<Value> = String::from_utf8_lossy(&decoded.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object on each line"))
        .collect();

    let records = step["histograms"].as_array().unwrap();
    assert_eq!(theirs.len(), records.len());
    let mut compared = 0;
    for (record, theirs) in records.iter().zip(&theirs) {
        assert_eq!(theirs["count"], record["count"], "{record:#}");
        // The merged one is what the summary was taken from.
        if record["name"] == "service" && record["lane"].is_null() {
            for name in ["count", "p50", "p90", "p99", "p999", "max"] {
                assert_eq!(theirs[name], step["summary"]["service_ns"][name], "{name}");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 1, "the merged histogram is missing");
}
