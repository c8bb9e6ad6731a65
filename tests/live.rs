//! What is seen of a run while it goes on: the stream for programs, and the line on a terminal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

/// A paced stream of three seconds: its rate is known.
const STREAM: [&str; 7] = ["bench", "stream", "--self", "--rate", "200Mbit/s", "--time", "3s"];

/// Lines of a stream, each held against the schema.
fn lines(text: &str) -> Vec<Value> {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/results/schema/stream-v1.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let mut at_ns = 0;
    let mut parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let wrong: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{line}\n{}", wrong.join("\n"));
        let now = value["at_ns"].as_u64().unwrap();
        assert!(now >= at_ns, "time goes forward: {line}");
        at_ns = now;
        value
    };
    text.lines().map(&mut parse).collect()
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn a_stream_tells_the_run_from_its_beginning_to_its_end_and_each_second_between() {
    let output = run(&[&STREAM[..], &["--json-stream"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = lines(&String::from_utf8(output.stdout.clone()).unwrap());
    let (first, last) = (&lines[0], lines.last().unwrap());
    assert_eq!((first["event"].as_str(), last["event"].as_str()), (Some("run-begins"), Some("run-ends")));
    assert_eq!(
        (first["schema"].as_str(), first["command"].as_str()),
        (Some("pathproof-stream/1"), Some("bench"))
    );
    assert_eq!((last["outcome"].as_str(), last["exit_code"].as_u64()), (Some("fit"), Some(0)));
    assert_eq!(of(&lines, "peer-accepts").len(), 1);
    let (begins, ends) = (of(&lines, "step-begins"), of(&lines, "step-ends"));
    assert_eq!((begins.len(), ends.len()), (first["steps"].as_u64().unwrap() as usize, begins.len()));
    let stream = ends.iter().find(|end| end["kind"] == "stream").unwrap();
    let goodput = stream["summary"]["goodput_bits_per_s"].as_f64().unwrap();
    let samples: Vec<&Value> = of(&lines, "sample")
        .into_iter()
        .filter(|s| s["step"] == stream["step"] && s["flows"][0].is_object())
        .collect();
    assert!((2..=5).contains(&samples.len()), "{samples:?}");
    for sample in &samples {
        let flow = &sample["flows"][0];
        let sent = flow["sent_bits_per_s"].as_f64().unwrap();
        assert!((0.7..1.4).contains(&(sent / goodput)), "{sent} of {goodput}");
        assert_eq!(flow["received_bits_per_s"], 0, "out is out");
        assert_eq!(flow["round_trip_by"], "kernel");
        assert!(flow["round_trip_ns"].as_u64().unwrap() > 0);
    }
    assert!(!of(&lines, "verdict").is_empty());
    // Nothing else stands there, and nothing of it elsewhere.
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_exchange_is_told_by_its_time_and_the_other_direction_by_what_comes() {
    let output = run(&["bench", "pingpong", "--self", "--time", "3s", "--json-stream"]);
    let lines_of = |output: &std::process::Output| lines(&String::from_utf8(output.stdout.clone()).unwrap());
    let exchange = lines_of(&output);
    let end = *of(&exchange, "step-ends").iter().find(|end| end["kind"] == "pingpong").unwrap();
    let of_summary = |name: &str| end["summary"][name].as_f64().unwrap();
    let mean = of_summary("window_ns") / of_summary("messages");
    let told: Vec<f64> = of(&exchange, "sample")
        .iter()
        .filter(|sample| sample["flows"][0]["round_trip_by"] == "exchanges")
        .map(|sample| sample["flows"][0]["round_trip_ns"].as_f64().unwrap())
        .collect();
    assert!(!told.is_empty());
    let between = told.iter().sum::<f64>() / told.len() as f64 / mean;
    assert!((0.5..2.0).contains(&between), "{told:?} of {mean}");
    let inward = run(&[&STREAM[..], &["--direction", "in", "--json-stream"]].concat());
    let inward = lines_of(&inward);
    let flows: Vec<&Value> =
        of(&inward, "sample").into_iter().map(|s| &s["flows"][0]).filter(|flow| flow.is_object()).collect();
    assert!(!flows.is_empty());
    assert!(
        flows
            .iter()
            .all(|flow| flow["sent_bits_per_s"] == 0 && flow["received_bits_per_s"].as_u64() > Some(0))
    );
}

#[test]
fn a_stream_in_a_file_leaves_standard_output_to_the_report() {
    let scratch = Scratch::new("stream");
    let (stream, result) = (scratch.path("run.jsonl"), scratch.path("result.json"));
    std::fs::write(&stream, "what was here before, and is longer than a line of it\n".repeat(1000)).unwrap();
    let to = format!("--json-stream={stream}");
    let output =
        run(&["bench", "pingpong", "--self", "--time", "300ms", &to, "--format", "json", "-o", &result]);
    let printed = document(&output);
    let told = lines(&std::fs::read_to_string(&stream).unwrap());
    assert_eq!(told.last().unwrap()["exit_code"], printed["exit_code"]);
    assert_eq!(of(&told, "finding").len(), printed["findings"].as_array().unwrap().len());
    assert_eq!(of(&told, "verdict").len(), printed["verdicts"].as_array().unwrap().len());
    let kept: Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
    assert_eq!(kept["outcome"], printed["outcome"]);
}

#[test]
fn two_things_are_never_mixed_on_standard_output() {
    let scratch = Scratch::new("mixed");
    let file = scratch.path("both");
    let same = format!("--json-stream={file}");
    for args in [
        vec!["--json-stream", "--format", "json"],
        vec!["--json-stream", "--full"],
        vec!["--json-stream", "-o", "-"],
        vec!["--json-stream=-", "--format", "csv"],
        vec!["--json-stream=/nonexistent/stream"],
        vec![&same, "-o", &file],
    ] {
        let output = run(&[&["bench", "pingpong", "--self", "--time", "100ms"][..], &args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(
            output.stdout.is_empty() && stderr(&output).contains("json-stream"),
            "{args:?}: {}",
            stderr(&output)
        );
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_run_that_reaches_nobody_has_a_first_and_a_last_line() {
    let output = run(&["bench", "pingpong", "127.0.0.1:1", "--json-stream"]);
    assert_eq!(output.status.code(), Some(2));
    let lines = lines(&String::from_utf8(output.stdout.clone()).unwrap());
    let (first, last) = (&lines[0], lines.last().unwrap());
    assert_eq!((first["event"].as_str(), last["event"].as_str()), (Some("run-begins"), Some("run-ends")));
    assert!(of(&lines, "step-begins").is_empty() && of(&lines, "peer-accepts").is_empty());
    assert_eq!(last["outcome"], "none");
    assert!(last["error"]["message"].as_str().unwrap().contains("pathproof serve"));
}

#[test]
fn a_program_that_does_not_read_holds_up_nothing() {
    let mut child = pathproof(&[&STREAM[..], &["--json-stream"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.contains("run-begins"));
    // Who went away is no reason to stop either.
    drop(out);
    assert_eq!(wait_within(&mut child, Duration::from_secs(20)).code(), Some(0));
}

/// What a command shows on a terminal of so many columns.
pub fn on_terminal(args: &[&str], term: &str, columns: u32) -> String {
    let program = env!("CARGO_BIN_EXE_pathproof");
    let line = format!("stty cols {columns} rows 24; exec {program} {} >/dev/null", args.join(" "));
    let mut command = Command::new("script");
    command
        .args(["-qefc", &line, "/dev/null"])
        .env("TERM", term)
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("script is in util-linux");
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    child.wait().unwrap();
    shown
}

#[test]
fn a_terminal_shows_what_runs_and_a_pipe_nothing() {
    let wide = on_terminal(&STREAM, "xterm", 120);
    let drawn: Vec<&str> = wide.split('\r').filter(|line| line.contains("tcp stream")).collect();
    assert!(
        drawn
            .iter()
            .any(|line| line.contains("  out ") && line.contains("Mbit/s") && line.contains("round trip")),
        "{wide}"
    );
    assert!(!wide.contains("\x1b[3") && !wide.contains("\x1b[1;"), "it has no colour: {wide:?}");
    assert!(wide.trim_end().ends_with("\x1b[K"), "nothing of it stays: {wide:?}");
    let narrow = on_terminal(&STREAM, "xterm", 40);
    for line in narrow.split('\r') {
        let text = line.trim_end_matches("\x1b[K").trim_end_matches('\n');
        assert!(text.chars().count() < 40, "{text:?}");
    }
    let dumb = on_terminal(&STREAM, "dumb", 80);
    assert!(!dumb.contains('\x1b'), "{dumb:?}");
    assert!(dumb.lines().any(|line| line.contains("tcp stream")), "{dumb:?}");
    assert_eq!(stderr(&run(&STREAM)), "");
}

#[test]
fn a_server_says_who_runs_what_and_how_it_ended() {
    // Without -v: it is no log.
    let server = Server::spawn(pathproof(&["serve", "--listen", "127.0.0.1:0"]));
    let output = run(&["bench", "pingpong", &server.address, "--time", "300ms"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(server.logged(" complete: "), "{}", server.log());
    let log = server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("127.0.0.1 (")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains(" begins: facts, pingpong") || told[0].contains(" begins: pingpong"), "{log}");
    assert!(told[1].contains("pingpong)") && told[1].contains(" in "), "{log}");
    // One that is killed in the middle of its step.
    let mut child = pathproof(&["bench", "stream", &server.address, "--time", "20s"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(server.logged("begins: stream") || server.logged("begins: facts, stream"), "{}", server.log());
    std::thread::sleep(Duration::from_millis(500));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(server.logged("ended early, after "), "{}", server.log());
}

#[test]
fn what_has_no_rate_is_told_by_what_it_counts() {
    let scratch = Scratch::new("counts");
    let (plan, stream) = (scratch.path("plan.toml"), scratch.path("stream"));
    std::fs::write(&plan, "[[steps]]\nkind = \"loss\"\ntime_ns = 3500000000\n").unwrap();
    let output = run(&["check", "--self", "--plan", &plan, &format!("--json-stream={stream}")]);
    let lines =
        lines(&std::fs::read_to_string(&stream).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output))));
    let told: Vec<&Value> =
        of(&lines, "sample").into_iter().map(|s| &s["counts"][0]).filter(|count| count.is_object()).collect();
    assert!(!told.is_empty(), "{lines:#?}");
    let mut before = 0;
    for count in told {
        let done = count["done"].as_u64().unwrap();
        assert_eq!(count["what"], "datagrams");
        assert!(before <= done && Some(done) <= count["of"].as_u64(), "{before}, {count}");
        before = done;
    }
    assert!(before > 0, "it was shown in the middle of it");
}
