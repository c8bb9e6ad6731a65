//! The forms of a report for other programs, in the hands of readers that are not ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

/// Documents of real runs, one of each outcome.
pub fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["bench/report/tests/screens", "results/golden/v2"];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    files
}

/// The document once more with text in it that means something to the format.
fn hostile(file: &Path, scratch: &Scratch) -> String {
    let mut doc: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let nasty = "<a href='x'>&amp;\"]]>\\,;\u{1b}[2J\n=1+1";
    if let Some(host) = doc.pointer_mut("/nodes/0/environment/hostname") {
        *host = nasty.into();
    }
    for text in ["evidence", "next"] {
        for finding in doc["findings"].as_array_mut().unwrap() {
            finding[text] = nasty.into();
        }
    }
    for step in doc["steps"].as_array_mut().unwrap() {
        step["name"] = nasty.into();
    }
    for verdict in doc["verdicts"].as_array_mut().unwrap() {
        for check in verdict["checks"].as_array_mut().into_iter().flatten() {
            check["text"] = nasty.into();
        }
    }
    let path = scratch.path("hostile.json");
    std::fs::write(&path, doc.to_string()).unwrap();
    path
}

/// Every document, as it is and with hostile text: its name, its JSON, and what was made of it.
fn made(format: &str, scratch: &Scratch) -> Vec<(String, [String; 2])> {
    let mut made = Vec::new();
    for file in documents() {
        for file in [file.display().to_string(), hostile(&file, scratch)] {
            let output = run(&["report", &file, "--format", format]);
            let plain = run(&["report", &file]);
            assert_eq!(output.status.code(), plain.status.code(), "{file}: {}", stderr(&output));
            let paths = ["json", format].map(|name| scratch.path(&format!("{}.{name}", made.len())));
            std::fs::write(&paths[0], run(&["report", &file, "--format", "json"]).stdout).unwrap();
            std::fs::write(&paths[1], &output.stdout).unwrap();
            made.push((file, paths));
        }
    }
    made
}

/// Runs `script` on each document and on what it was made into; what it finds wrong it says by an assertion.
fn read_by(python: &Path, format: &str, script: &str) {
    let scratch = Scratch::new(&format!("formats-{format}"));
    for (file, paths) in made(format, &scratch) {
        let mut reader = Command::new(python);
        reader.args(["-c", script]).args(&paths);
        let read = run_within(reader, Duration::from_secs(60));
        assert!(read.status.success(), "{file} as {format}: {}", stderr(&read));
    }
}

/// Runs `script` once, on all of them in turn: for what takes long to start.
fn read_at_once_by(python: &Path, made: &[(String, [String; 2])], script: &str) {
    let mut reader = Command::new(python);
    reader.args(["-c", script]).args(made.iter().flat_map(|(_, paths)| paths));
    let read = run_within(reader, Duration::from_secs(120));
    let files: Vec<&String> = made.iter().map(|(file, _)| file).collect();
    assert!(read.status.success(), "{}\nin this order: {files:?}", stderr(&read));
}

#[test]
fn junit_is_what_ci_systems_expect() {
    const READER: &str = r#"
import json, sys, xml.etree.ElementTree as E
doc, root = json.load(open(sys.argv[1])), E.parse(sys.argv[2]).getroot()
assert root.tag == "testsuites"
ORDER = ["properties", "testcase", "system-out", "system-err"]
ENDS = {"skipped", "error", "failure"}
total = dict(tests=0, failures=0, errors=0, skipped=0)
for suite in root:
    assert suite.tag == "testsuite" and suite.get("name") and float(suite.get("time")) >= 0
    places = [ORDER.index(child.tag) for child in suite]
    assert places == sorted(places), "properties come first"
    names, own = set(), dict(tests=0, failures=0, errors=0, skipped=0)
    for case in suite.iter("testcase"):
        assert case.get("name") not in names, "a case is told from others by its name"
        names.add(case.get("name"))
        assert case.get("classname").startswith("pathproof.")
        ends = [child for child in case if child.tag in ENDS]
        assert len(ends) <= 1 and {child.tag for child in case} <= ENDS | {"properties"}
        own["tests"] += 1
        for end in ends:
            assert end.get("message"), "why"
            own[{"skipped": "skipped", "error": "errors", "failure": "failures"}[end.tag]] += 1
        for prop in case.iter("property"):
            assert prop.get("name") in ("measured", "limit", "unit") and prop.get("value")
    for name, count in own.items():
        assert int(suite.get(name)) == count, (name, suite.attrib)
        total[name] += count
for name, count in total.items():
    assert int(root.get(name)) == count, (name, root.attrib)
checks = [check["outcome"] for verdict in doc["verdicts"] for check in verdict["checks"]]
if all(verdict["checks"] for verdict in doc["verdicts"]):
    assert total["failures"] == checks.count("fail") and total["skipped"] == checks.count("not-judged")
    assert total["errors"] >= checks.count("inconclusive")
if doc["outcome"] == "fit":
    assert total["failures"] == total["errors"] == 0
else:
    assert total["failures"] + total["errors"] > 0, "a build is not green by what is not fit"
"#;
    read_by(Path::new("python3"), "junit", READER);
}

#[test]
fn junit_keeps_to_a_schema_of_what_ci_systems_have_in_common() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit.xsd");
    let held = |files: &[String]| {
        let mut xmllint = Command::new("xmllint");
        xmllint.args(["--nonet", "--noout", "--schema"]).arg(&schema).args(files);
        run_within(xmllint, Duration::from_secs(60))
    };
    if Command::new("xmllint").arg("--version").output().is_err() {
        skip("JUnit against its schema: there is no xmllint (Debian: apt-get install libxml2-utils)");
        return;
    }
    let scratch = Scratch::new("formats-junit-schema");
    let files: Vec<String> = made("junit", &scratch).into_iter().map(|(_, [_, output])| output).collect();
    let read = held(&files);
    assert!(read.status.success(), "{}", stderr(&read));
    // A yardstick that takes everything proves nothing.
    let failing = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .find(|text| text.contains("<failure type=") && text.contains("<properties>"))
        .expect("a run that is not fit is among them");
    for (from, to) in [
        (" classname=\"", " class=\""),
        (" time=\"0.000\">", " time=\"0e0\">"),
        (" failures=\"", " failed=\""),
        (" message=\"", " text=\""),
        ("\" timestamp=\"", "\" timestamp=\"on "),
        ("<properties>", "<properties/><properties>"),
    ] {
        let broken = scratch.path("broken.junit");
        let text = failing.replacen(from, to, 1);
        assert_ne!(text, failing, "{from} is in what we write");
        std::fs::write(&broken, text).unwrap();
        assert!(!held(&[broken]).status.success(), "{from} -> {to} is refused");
    }
}

#[test]
fn junit_is_read_by_junitparser() {
    const READER: &str = r#"
import json, sys
from junitparser import Error, Failure, JUnitXml, Properties, Skipped
WORDS = {"pass": None, "fail": Failure, "inconclusive": Error, "not-judged": Skipped}
for doc, made in zip(sys.argv[1::2], sys.argv[2::2]):
    doc, told = json.load(open(doc)), JUnitXml.fromfile(made)
    before = [told.tests, told.failures, told.errors, told.skipped]
    suites = list(told)
    for suite, verdict in zip(suites, doc["verdicts"]):
        assert suite.name == verdict["subject"], (made, suite.name)
        checks, cases = verdict["checks"], list(suite)
        assert not checks or len(cases) == len(checks), (made, suite.name)
        for case, check in zip(cases, checks):
            ends, wanted = case.result, WORDS[check["outcome"]]
            assert [type(end) for end in ends] == ([wanted] if wanted else []), (made, case.name)
            assert case.is_passed == (wanted is None) and case.is_skipped == (wanted is Skipped)
            figures = {one.name: one.value for one in case.child(Properties) or []}
            if check.get("measured") is not None:
                assert float(figures["measured"]) == check["measured"], (made, figures)
    assert {one.name: one.value for one in suites[0].properties()}["outcome"] == doc["outcome"] if doc["verdicts"] else True
    told.update_statistics()
    assert [told.tests, told.failures, told.errors, told.skipped] == before, (made, before)
"#;
    match python_with("junitparser==5.0.3", "junitparser") {
        Ok(python) => {
            let scratch = Scratch::new("formats-junitparser");
            read_at_once_by(&python, &made("junit", &scratch), READER);
        }
        Err(reason) => skip(&reason),
    }
}

#[test]
fn html_is_one_page_that_refers_to_nothing_and_holds_text_as_text() {
    const READER: &str = r#"
import json, sys
from html.parser import HTMLParser
text = open(sys.argv[2], encoding="utf-8").read()
doc = json.load(open(sys.argv[1]))
VOID = {"meta", "path", "rect", "polyline"}
OURS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "pre", "div", "table", "tr", "th", "td", "dl", "dt", "dd",
        "section", "figure", "figcaption", "svg", "path", "rect", "polyline", "text", "ul", "li"}
class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.said, self.seen = [], "", []
    def handle_starttag(self, tag, attributes):
        assert tag in OURS, tag
        for name, value in attributes:
            assert name not in ("href", "src", "srcset", "xlink:href", "data", "action", "style") and not name.startswith("on"), (tag, name)
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)
    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()
    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()
    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.said += data
page = Page()
page.feed(text)
page.close()
assert not page.open, page.open
WORDS = {"fit": "FIT", "not-fit": "NOT FIT", "cannot-tell": "CANNOT TELL"}
first = text[text.index("<h1"):]
first = first[first.index(">") + 1:first.index("</h1>")]
assert first == WORDS.get(doc["outcome"], first), first
title = text[text.index("<title>") + 7:text.index("</title>")]
assert title.startswith(f"pathproof: {first}, ") and len(title) > len(first) + 13, title
assert "@import" not in text and "url(" not in text and "<script" not in text and "http://" not in text
for finding in doc["findings"]:
    assert finding["code"] in page.said, finding["code"]
if any(len(series.get("received_bytes", [])) > 1 for step in doc["steps"] if step["kind"] == "stream" for series in step.get("series", [])):
    assert "polyline" in page.seen
for name in ("viewport", "prefers-color-scheme:dark", "@media print"):
    assert name in text, name
"#;
    read_by(Path::new("python3"), "html", READER);
}

#[test]
fn csv_is_one_row_a_figure() {
    const READER: &str = r#"
import csv, json, sys
doc = json.load(open(sys.argv[1]))
rows = list(csv.DictReader(open(sys.argv[2], newline="")))
assert all(None not in row and None not in row.values() for row in rows), "as many cells as heads"
assert all(not cell or cell[0] not in "=@" for row in rows for cell in row.values()), "no formula"
*rows, run = rows
assert (run["kind"], run["figure"], run["outcome"]) == ("run", "outcome", doc["outcome"]), "what it came to"
checks = [row for row in rows if row["kind"] == "check"]
assert len(checks) == sum(len(verdict["checks"]) for verdict in doc["verdicts"])
for row in rows:
    if row["kind"] != "check":
        float(row["value"])
        assert row["unit"] in ("bits_per_second", "seconds", "bytes", "ratio", "count"), row
for number, step in enumerate(doc["steps"]):
    of = [row for row in rows if row["step"] == str(number)]
    known = step["summary"].get("goodput_bits_per_s")
    if known is not None and not step["flows"]:
        assert [float(row["value"]) for row in of if row["figure"] == "goodput"] == [known], step["name"]
    rtt = step["summary"].get("rtt_ns")
    if rtt:
        assert any(row["figure"] == "round_trip_p50" and abs(float(row["value"]) - rtt["p50"] / 1e9) < 1e-12 for row in of)
"#;
    read_by(Path::new("python3"), "csv", READER);
}

#[test]
fn csv_is_a_table_to_pandas() {
    const READER: &str = r#"
import json, sys
import pandas
UNITS = {"bits_per_second", "seconds", "bytes", "ratio", "count"}
APART = ["step", "flow", "direction", "local_nic", "remote_nic", "family", "figure"]
for doc, made in zip(sys.argv[1::2], sys.argv[2::2]):
    doc, table = json.load(open(doc)), pandas.read_csv(made, dtype={"step": "Int64", "family": "Int64"})
    figures, checks, runs = (table[kinds] for kinds in (~table["kind"].isin(["check", "run"]), table["kind"] == "check", table["kind"] == "run"))
    assert list(runs["outcome"]) == [doc["outcome"]], made
    for column in ("value", "limit"):
        assert table[column].dtype.kind in "fi" or table[column].isna().all(), (made, column, table[column].dtype)
    assert figures["value"].notna().all() and set(figures["unit"]) <= UNITS, made
    assert figures["step"].notna().all() and checks["step"].isna().all(), made
    twice = figures[figures.duplicated(APART, keep=False)]
    assert twice.empty, (made, twice[APART + ["value"]].to_string())
    # Grouped by step and figure it says what the document says.
    of = figures[figures["flow"].isna()].groupby(["step", "figure"])["value"].max()
    for number, step in enumerate(doc["steps"]):
        if step["flows"]:
            continue
        said = step["summary"]
        wanted = {"messages": said.get("messages"), "payload": said.get("bytes"), "goodput": said.get("goodput_bits_per_s")}
        for name in ("p50", "p99", "max"):
            if said.get("rtt_ns"):
                wanted["round_trip_" + name] = said["rtt_ns"][name] / 1e9
        for figure, value in wanted.items():
            if value is not None:
                assert abs(of[number, figure] - value) <= 1e-9 * max(1, value), (made, number, figure, value)
    outcomes = [(verdict["subject"], check["criterion"], check["outcome"])
                for verdict in doc["verdicts"] for check in verdict["checks"]]
    told = list(checks[["name", "figure", "outcome"]].itertuples(index=False, name=None))
    assert told == outcomes, (made, told)
"#;
    // That of the system, which takes seconds to install; else PyPI's, whose wheels are fifty megabytes.
    let of_the_system = Command::new("python3").args(["-c", "import pandas"]).output();
    let python = match of_the_system {
        Ok(output) if output.status.success() => Ok(PathBuf::from("python3")),
        _ => python_with("pandas==3.1.1", "pandas"),
    };
    match python {
        Ok(python) => {
            let scratch = Scratch::new("formats-pandas");
            read_at_once_by(&python, &made("csv", &scratch), READER);
        }
        Err(reason) => skip(&format!("{reason} (Debian: apt-get install python3-pandas)")),
    }
}

#[test]
fn openmetrics_is_read_by_prometheus_own_parser() {
    const READER: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
doc = json.load(open(sys.argv[1]))
families = {family.name: family for family in text_string_to_metric_families(open(sys.argv[2], newline="").read())}
said = {sample.labels["outcome"]: sample.value for sample in families["pathproof_run_outcome"].samples}
assert said[doc["outcome"]] == 1 and sum(said.values()) == 1 and len(said) == 4, said
assert families["pathproof_run_timestamp_seconds"].samples[0].value > 1e9
known = [step["summary"]["goodput_bits_per_s"] for step in doc["steps"]
         if step["summary"].get("goodput_bits_per_s") is not None and not step["flows"]]
seen = [sample.value for sample in families["pathproof_goodput_bits_per_second"].samples] if known else []
assert all(value in seen for value in known), (known, seen)
for family in families.values():
    assert family.type == "gauge" and family.documentation, family.name
    told = [tuple(sorted(sample.labels.items())) for sample in family.samples]
    assert len(told) == len(set(told)), f"{family.name}: two samples with the same labels"
"#;
    match python_with("prometheus-client==0.26.0", "prometheus_client") {
        Ok(python) => read_by(&python, "openmetrics", READER),
        Err(reason) => skip(&reason),
    }
}
