//! The last line, the document and the exit code say the same, for every command.

use std::process::Output;

use serde_json::Value;

use crate::support::*;

/// What the last line begins with, by exit code.
const WORDS: [(i32, &[&str]); 4] =
    [(0, &["FIT: "]), (1, &["NOT FIT: "]), (2, &["COULD NOT RUN: ", "CUT SHORT: "]), (3, &["CANNOT TELL: "])];

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", stderr(output)))
}

/// Holds the document at `file` and what `report` makes of it against `expected`; returns the document.
///
/// Where the run judged a time, a host that was busy meanwhile leaves it open: then 3 is right as well, if that is why.
fn agrees(what: &[&str], file: &str, expected: i32, text: &Output) -> Value {
    let doc: Value = serde_json::from_slice(&std::fs::read(file).expect("a document")).expect("JSON");
    let open = doc["exit_code"] == 3 && was_busy(&doc) && doc["steps"][0]["kind"] == "pingpong";
    let expected = if open { 3 } else { expected };
    assert_eq!(doc["exit_code"], expected, "{what:?}: {:#}", doc["verdicts"]);
    let outcome = ["fit", "not-fit", "none", "cannot-tell"][expected as usize];
    assert_eq!(doc["outcome"], outcome, "{what:?}");
    assert!(
        doc["ended_at"].as_str().is_some_and(|end| end >= doc["started_at"].as_str().unwrap()),
        "{what:?}"
    );
    assert_eq!(code(text), expected, "{what:?}: {}", stderr(text));
    let again = run(&["report", file]);
    assert_eq!(code(&again), expected, "{what:?}");
    let (_, words) = WORDS.iter().find(|(code, _)| *code == expected).unwrap();
    for output in [text, &again] {
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        // Where nothing was measured one sentence on standard error is all.
        if shown.is_empty() {
            assert!(
                expected == 2 && stderr(output).starts_with("pathproof: "),
                "{what:?}: {}",
                stderr(output)
            );
            continue;
        }
        let answers =
            |line: &str| WORDS.iter().flat_map(|(_, words)| *words).any(|word| line.starts_with(word));
        let answer = shown.lines().rfind(|line| answers(line)).unwrap_or_else(|| panic!("{what:?}: {shown}"));
        assert!(words.iter().any(|word| answer.starts_with(word)), "{what:?}: {answer}");
    }
    doc
}

/// Whether everything that is open in a document is open because a host was busy.
fn was_busy(doc: &Value) -> bool {
    let checks =
        doc["verdicts"].as_array().into_iter().flatten().flat_map(|v| v["checks"].as_array().unwrap());
    let mut open = checks.filter(|check| check["outcome"] == "inconclusive").peekable();
    open.peek().is_some()
        && open.all(|check| {
            check["text"].as_str().unwrap().starts_with("cannot tell: ")
                && check["text"].as_str().unwrap().contains("was busy: lane threads waited")
        })
}

#[test]
fn the_last_line_the_document_and_the_exit_code_agree_for_every_command() {
    let scratch = Scratch::new("answers");
    let server = Server::start(&[]);
    let strict = scratch.path("strict.toml");
    std::fs::write(&strict, "[latency]\np99_max_ns = 1\njitter_max_ns = 1\n").unwrap();
    let peer = server.address.as_str();
    for (number, (args, expected)) in [
        (&["bench", "pingpong", peer, "--time", "300ms"][..], 0),
        (&["bench", "pingpong", peer, "--time", "300ms", "--criteria", &strict], 1),
        (&["bench", "stream", peer, "--time", "300ms"], 3),
        (&["bench", "stream", peer, "--time", "300ms", "--expect-rate", "1Mbit/s"], 0),
        (&["bench", "stream", peer, "--time", "300ms", "--expect-rate", "900000Gbit/s"], 1),
        (&["bench", "pingpong", "127.0.0.1:1"], 2),
        (&["mtu", "127.0.0.1:1"], 2),
        (&["channels", "127.0.0.1:1"], 2),
        (&["smb", "127.0.0.1", "--port", "1"], 2),
        (&["migrate", peer, "--memory", "4MiB"], 0),
        (&["migrate", peer, "--memory", "4MiB", "--inject-fault", "bit-flip"], 1),
        (&["migrate", peer, "--memory", "8TiB"], 2),
    ]
    .into_iter()
    .enumerate()
    {
        let file = scratch.path(&format!("{number}.json"));
        let text = run(&[args, &["-o", &file]].concat());
        agrees(args, &file, expected, &text);
    }
}

#[test]
fn a_yardstick_is_kept_and_given_afterwards() {
    let scratch = Scratch::new("yardstick");
    let file = scratch.path("stream.json");
    let args = ["bench", "stream", "--self", "--time", "300ms", "-o", &file];
    assert_eq!(code(&run(&args)), 3);
    let shown = run(&["report", &file]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("--expect-rate"), "the yardstick is named");
    // Given to `report`, it decides there.
    assert_eq!(code(&run(&["report", &file, "--expect-rate", "1Mbit/s"])), 0);
    assert_eq!(code(&run(&["report", &file, "--expect-rate", "900000Gbit/s"])), 1);
    // Given to the run, it stands in the document, and `report` judges by it without being asked.
    let output = run(&[&args[..], &["--expect-rate", "1Mbit/s"]].concat());
    assert_eq!(code(&output), 0);
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(doc["criteria"]["throughput"]["goodput_min_bits_per_s"], 1_000_000);
    let check = &doc["verdicts"][0]["checks"][0];
    assert_eq!((&check["criterion"], &check["limit"]), (&"goodput".into(), &1_000_000.0.into()));
    assert_eq!(code(&run(&["report", &file])), 0);
}

#[test]
fn rdma_that_this_host_lacks_could_not_run_and_is_no_verdict_about_the_path() {
    if std::fs::read_dir("/sys/class/infiniband").is_ok_and(|mut devices| devices.next().is_some()) {
        return skip("this host has an RDMA device");
    }
    let scratch = Scratch::new("no-rdma");
    for command in
        [&["check", "--self", "--quick"][..], &["bench", "stream", "--self"], &["migrate", "--self"]]
    {
        let file = scratch.path("result.json");
        let args = [command, &["--over", "rdma"]].concat();
        let text = run(&[&args[..], &["-o", &file]].concat());
        let doc = agrees(&args, &file, 2, &text);
        assert_eq!(doc["error"]["kind"], "unsupported", "{args:?}");
        let all = stderr(&text) + &String::from_utf8_lossy(&text.stdout);
        assert!(!all.contains("FIT"), "{args:?}: {all}");
        assert_eq!(all.lines().count(), 1, "said once: {all}");
    }
}

#[test]
fn a_document_cut_short_without_a_word_is_judged_by_what_it_holds() {
    let scratch = Scratch::new("cut");
    let file = scratch.path("cut.json");
    let output = run(&["bench", "pingpong", "--self", "--time", "300ms", "--format", "json"]);
    let mut doc = document(&output);
    doc["requested"]["steps"] = Value::Array(vec![doc["requested"]["steps"][0].clone(); 2]);
    doc["granted"] = doc["requested"].clone();
    for name in ["ended_at", "exit_code"] {
        doc[name] = Value::Null;
    }
    (doc["outcome"], doc["verdicts"]) = ("none".into(), Value::Array(vec![]));
    std::fs::write(&file, doc.to_string()).unwrap();
    let shown = run(&["report", &file]);
    assert_eq!(code(&shown), 3, "one of two steps is missing");
    // On a busy machine the reason comes first, and the line breaks elsewhere.
    let shown = String::from_utf8_lossy(&shown.stdout);
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(words.join(" ").contains("1 of 2 planned steps were not made"), "{shown}");
}
