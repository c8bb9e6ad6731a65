//! Many hosts: real ranks in namespaces (`scripts/lab/cluster`) on links of 200 Mbit/s, and over loopback where only words are at stake.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

/// What a TCP stream carries of a link of 200 Mbit/s with an IP MTU of 9000, as `shaped` computes it.
const FULL: f64 = 200e6 * (9000.0 - 52.0) / 9014.0;

/// Measures a cluster of so many hosts with these faults; `None` where there can be none.
fn cluster(
    name: &str,
    hosts: u32,
    faults: &[&str],
    more: &[&str],
) -> Option<(std::process::Output, Value, Scratch)> {
    let script = format!("{}/scripts/lab/cluster", env!("CARGO_MANIFEST_DIR"));
    let lacking = Command::new(&script).args(["--check", "plain"]).output();
    match lacking {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip(&format!("no cluster of namespaces: {}", String::from_utf8_lossy(&output.stdout).trim()));
            return None;
        }
        Err(why) => {
            skip(&format!("no cluster of namespaces: {why}"));
            return None;
        }
    }
    let scratch = Scratch::new(name);
    let file = scratch.path("mesh.json");
    let (count, list) = (hosts.to_string(), format!("node[1-{hosts}]"));
    let mut command = Command::new(&script);
    command.args(["plain", &count]).args(faults).args(["--", BINARY, "mesh", "--hosts", &list]);
    let time: &[&str] = if more.contains(&"--time") { &[] } else { &["--time", "500ms"] };
    command.args(["-o", &file]).args(time).args(more);
    let output = run_within(command, Duration::from_secs(240));
    let doc = std::fs::read(&file).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let doc = doc.unwrap_or_else(|| panic!("no document: {}", stderr(&output)));
    Some((output, doc, scratch))
}

fn told(doc: &Value) -> Vec<String> {
    let suspects = doc["suspects"].as_array().unwrap();
    suspects.iter().map(|suspect| format!("{}: {}", suspect["kind"], suspect["who"])).collect()
}

fn matrix(doc: &Value, name: &str) -> Vec<Vec<Option<f64>>> {
    serde_json::from_value(doc["planes"][0]["matrices"][name].clone()).unwrap()
}

#[test]
fn a_healthy_cluster_is_fit_and_every_direction_has_its_figures() {
    let more = ["--pattern", "pairs,bisect,incast", "--time", "1s"];
    let Some((output, doc, _scratch)) = cluster("mesh-healthy", 6, &[], &more) else { return };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", stderr(&output));
    assert_eq!((doc["schema"].as_str(), doc["outcome"].as_str()), (Some("pathproof-mesh/1"), Some("fit")));
    assert!(told(&doc).is_empty() && doc["dead"] == serde_json::json!([]), "{doc}");
    let (goodput, mtu) = (matrix(&doc, "goodput_bits_per_s"), matrix(&doc, "ip_mtu_bytes"));
    for from in 0..6 {
        for to in (0..6).filter(|to| *to != from) {
            let rate = goodput[from][to].unwrap_or(0.0);
            assert!((0.85 * FULL..1.1 * FULL).contains(&rate), "{from} to {to}: {rate}");
            assert_eq!(mtu[from][to], Some(9000.0), "{from} to {to}");
        }
    }
    let all = doc["incast"].as_array().unwrap().last().unwrap();
    assert_eq!(all["senders"].as_array().unwrap().len(), 5, "{all}");
    let sum = all["sum_bits_per_s"].as_f64().unwrap_or(0.0);
    assert!((0.93 * FULL..1.05 * FULL).contains(&sum), "five to one carry what one link does: {all}");
    assert!(doc["bisection"][0]["measured"] == 3, "{}", doc["bisection"]);
    assert!(said.contains("Nobody is named") && said.contains("Many to one"), "{said}");
}

#[test]
fn channels_over_several_nics_fill_the_same_matrices() {
    let Some((output, doc, _scratch)) = cluster("mesh-multi", 3, &[], &["--over", "multi"]) else { return };
    assert_eq!(output.status.code(), Some(0), "{}\n{}", doc["planes"], stderr(&output));
    assert_eq!(doc["settings"]["over"], "multi");
    let goodput = matrix(&doc, "goodput_bits_per_s");
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let rate = goodput[from][to].unwrap_or(0.0);
        assert!((0.85 * FULL..1.1 * FULL).contains(&rate), "{from} to {to}: {rate}");
    }
    assert!(told(&doc).is_empty(), "{}", doc["suspects"]);
}

#[test]
fn a_slow_nic_is_named_alone() {
    let Some((output, doc, _scratch)) = cluster("mesh-slow", 6, &["slow=3"], &[]) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(told(&doc), ["\"goodput\": {\"is\":\"host\",\"rank\":2}"], "{}", doc["suspects"]);
    let slow = &doc["suspects"][0];
    assert!((-0.25..-0.08).contains(&slow["effect"].as_f64().unwrap()), "{slow}");
    assert!(slow["repetitions"].as_u64().unwrap() >= 3, "{slow}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (suspect, map) = (said.find("node3 (2)").unwrap(), said.find("Goodput of every pair").unwrap());
    assert!(suspect < map, "the suspect comes first: {said}");
}

#[test]
fn a_small_mtu_and_a_path_that_carries_one_way_are_named_apart() {
    let faults = ["small=3", "oneway=5:2", "odd=4"];
    let Some((output, doc, _scratch)) = cluster("mesh-faults", 6, &faults, &[]) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let mut named = told(&doc);
    named.sort();
    assert_eq!(
        named,
        ["\"mtu\": {\"is\":\"host\",\"rank\":2}", "\"reach\": {\"from\":4,\"is\":\"pair\",\"to\":1}"],
        "{}",
        doc["suspects"]
    );
    let differs = |fact: &str, rank: u32| {
        let all = doc["differences"].as_array().unwrap().iter();
        let mut own = all.filter(|difference| difference["fact"].as_str().unwrap().contains(fact));
        own.any(|difference| {
            difference["others"].as_array().unwrap().iter().all(|other| other["rank"] == rank)
        })
    };
    assert!(differs("congestion", 3) && differs("ip mtu", 2), "{}", doc["differences"]);
}

#[test]
fn a_rank_that_dies_costs_its_own_cells_and_the_rest_is_measured() {
    let Some((output, doc, _scratch)) = cluster("mesh-dead", 5, &["dead=4@5"], &[]) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let dead = doc["dead"].as_array().unwrap();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0]["rank"] == 3 && dead[0]["round"].as_u64().unwrap() >= 5, "{dead:?}");
    assert!(told(&doc).is_empty(), "{}", doc["suspects"]);
    let (goodput, codes) = (matrix(&doc, "goodput_bits_per_s"), matrix(&doc, "code"));
    for from in 0..5 {
        for to in (0..5).filter(|to| *to != from) {
            let its_own = from == 3 || to == 3;
            assert!(its_own || goodput[from][to].is_some(), "{from} to {to} was not measured");
            let reason = codes[from][to].is_some_and(|code| code > 0.0);
            assert!(goodput[from][to].is_some() || reason, "{from} to {to} has no reason");
        }
    }
}

/// A rank of a mesh on loopback.
pub fn rank(rank: u32, size: u32, port: u16, more: &[&str]) -> Child {
    let (number, size, place) = (rank.to_string(), size.to_string(), format!("127.0.0.1:{port}"));
    let mut command = pathproof(&["mesh", "--rank", &number, "--size", &size, "--rendezvous", &place]);
    command.args(["--time", "200ms", "--wait", "6s"]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A port that nobody has now.
pub fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn ended(mut child: Child) -> (Option<i32>, String, String) {
    wait_within(&mut child, Duration::from_secs(60));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_rank_that_never_comes_and_one_that_comes_twice_are_named() {
    let port = port();
    let scratch = Scratch::new("mesh-never");
    let file = scratch.path("mesh.json");
    let first = rank(0, 4, port, &["-o", &file]);
    let (one, two) = (rank(1, 4, port, &[]), rank(2, 4, port, &[]));
    std::thread::sleep(Duration::from_millis(1500));
    let twice = ended(rank(2, 4, port, &[]));
    let other = ended(rank(3, 5, port, &[]));
    assert!(twice.0 == Some(2) && twice.2.contains("rank 2 came twice"), "{twice:?}");
    assert!(other.0 == Some(2) && other.2.contains("rank 0 was started as one of 4"), "{other:?}");
    let (code, out, err) = ended(first);
    assert!(
        err.contains("3 of 4 ranks came") && err.contains("missing: 3") && err.contains("fan-out"),
        "{err}"
    );
    assert_eq!(code, Some(1), "{out}\n{err}");
    // Only rank 0 has a verdict.
    for rank in [one, two] {
        let (code, out, err) = ended(rank);
        assert!(code == Some(0) && out.is_empty(), "{code:?} {out} {err}");
    }
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((doc["dead"][0]["rank"].as_u64(), doc["dead"][0]["round"].as_u64()), (Some(3), None));
    assert!(doc["notes"].to_string().contains("came twice"), "{}", doc["notes"]);
    let again = run(&["report", &file]);
    assert_eq!((again.status.code(), String::from_utf8_lossy(&again.stdout)), (Some(1), out.into()));
    for (format, holds) in
        [("html", "<svg"), ("junit", "<failure type=\"ranks\""), ("json", "pathproof-mesh/1")]
    {
        let shown = run(&["report", &file, "--format", format]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains(holds), "{format}: {}", stderr(&shown));
    }
    let refused = run(&["compare", &file, &file]);
    assert!(
        refused.status.code() == Some(2) && stderr(&refused).contains("of a mesh"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn what_the_ranks_kept_makes_the_document_that_rank_0_would_have_written() {
    let port = port();
    let scratch = Scratch::new("mesh-kept");
    let kept = scratch.path("kept");
    let ranks: Vec<Child> =
        (0..3).map(|number| rank(number, 3, port, &["--details", &kept, "--format", "json"])).collect();
    let mut ended: Vec<_> = ranks.into_iter().map(ended).collect();
    let (_, out, err) = ended.remove(0);
    let whole: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out} {err}"));
    let merged = run(&["merge", &kept, "--format", "json"]);
    let merged = serde_json::from_slice::<Value>(&merged.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", stderr(&merged)));
    for part in ["matrices", "addresses", "usual_goodput_bits_per_s", "noise"] {
        assert_eq!(merged["planes"][0][part], whole["planes"][0][part], "{part}");
    }
    for part in ["suspects", "differences", "ranks", "outcome", "dead"] {
        assert_eq!(merged[part], whole[part], "{part}");
    }
    // Rank 0's own part is lost as well, with its host.
    std::fs::remove_file(format!("{kept}/rank-0000.mesh-part")).unwrap();
    let without = run(&["merge", &kept, "--format", "json"]);
    let without: Value = serde_json::from_slice(&without.stdout).unwrap();
    assert_eq!(without["dead"][0]["rank"], 0, "{}", without["dead"]);
    assert!(matrix(&without, "goodput_bits_per_s")[1][2].is_some());
    let nothing = run(&["merge", &scratch.path("")]);
    assert!(
        nothing.status.code() == Some(2) && stderr(&nothing).contains("--details"),
        "{}",
        stderr(&nothing)
    );
}

#[test]
fn what_makes_no_mesh_is_refused_at_once_with_what_to_do() {
    for (args, says) in [
        (&["mesh"][..], "nobody says which rank"),
        (&["mesh", "--rank", "0", "--size", "4"], "--rendezvous"),
        (&["mesh", "--rank", "4", "--size", "4", "--rendezvous", "127.0.0.1"], "ranks count from 0 to 3"),
        (&["mesh", "--rank", "0", "--size", "4", "--rendezvous", "10.1.1.1"], "PATHPROOF_KEY"),
        (
            &["mesh", "--rank", "0", "--size", "4", "--rendezvous", "127.0.0.1", "--net", "10.0.0.0"],
            "ADDRESS/BITS",
        ),
        (
            &["mesh", "--rank", "0", "--size", "4", "--rendezvous", "127.0.0.1", "--round-limit", "1s"],
            "--round-limit",
        ),
        (
            &["mesh", "--rank", "0", "--size", "4", "--rendezvous", "127.0.0.1", "--groups", "/nowhere"],
            "--groups",
        ),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn templates_are_ready_files_for_so_many_hosts() {
    for (engine, holds) in [
        ("slurm", "#SBATCH --nodes=32"),
        ("mpirun", "-x PATHPROOF_KEY"),
        ("k8s", "completions: 32"),
        ("ansible", "-f 32"),
        ("clush", "node[1-32]"),
    ] {
        let output = run(&["mesh", "--template", engine, "--size", "32"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(holds) && !text.contains('@'), "{engine}: {text}");
        // A key on a command line could be read by everybody there.
        assert!(!text.contains("--key "), "{engine}: {text}");
        if text.starts_with("#!") {
            let mut shell = Command::new("bash");
            let mut child = shell.arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{engine} is no shell script");
        }
    }
}

/// Holds documents of YAML against the schemas of Kubernetes' own API, which PyPI's kubernetes-validate carries, and prints them as JSON.
const VALIDATE: &str = r#"
import json, sys, yaml, kubernetes_validate
documents = list(yaml.safe_load_all(sys.stdin))
for version in ("1.29", "1.37"):
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
print(json.dumps(documents))
"#;

#[test]
fn the_manifest_for_kubernetes_holds_against_the_schemas_of_its_api() {
    let python = match python_with("kubernetes-validate==1.37.0", "kubernetes_validate") {
        Ok(python) => python,
        Err(why) => return skip(&format!("no schemas of Kubernetes: {why}")),
    };
    let validate = |text: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let printed = run(&["mesh", "--template", "k8s", "--size", "32"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let held = validate(&text);
    assert!(held.status.success(), "{}", stderr(&held));
    let documents: Vec<Value> = serde_json::from_slice(&held.stdout).unwrap();
    let (service, job) = (&documents[0], &documents[1]["spec"]);
    // What the schemas cannot say, and what the API server or the mesh would fail by.
    assert!(
        job["completions"] == 32 && job["parallelism"] == 32,
        "a pod that waits for its turn never comes: {job}"
    );
    let pod = &job["template"]["spec"];
    assert_eq!((&job["completionMode"], &pod["restartPolicy"]), (&"Indexed".into(), &"Never".into()));
    let name = documents[1]["metadata"]["name"].as_str().unwrap();
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["spec"]["selector"]["job-name"]),
        (&"None".into(), &name.into())
    );
    assert_eq!(service["metadata"]["name"], pod["subdomain"]);
    let command: Vec<&str> =
        pod["containers"][0]["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let first = format!("{name}-0.{}", pod["subdomain"].as_str().unwrap());
    assert!(command.windows(2).any(|words| words == ["--rendezvous", first.as_str()]), "{command:?}");
    assert!(command.windows(2).any(|words| words == ["--size", "32"]), "{command:?}");
    // The near misses that it must not let pass.
    for (right, wrong) in [("completionMode:", "completionMod:"), ("completions: 32", "completions: many")] {
        assert!(text.contains(right) && !validate(&text.replace(right, wrong)).status.success(), "{wrong}");
    }
}
