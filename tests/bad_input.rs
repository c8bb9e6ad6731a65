//! Bad input and bad peers: one clear sentence that says what to do, the right exit code, nothing lost.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

/// Exit code 2 and one sentence with `says` in it.
fn refused(args: &[&str], says: &str) {
    let output = run(args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(text.contains(says), "{args:?} should say {says:?} and says:\n{text}");
    assert!(text.trim().lines().count() <= 8, "{args:?} says too much:\n{text}");
}

#[test]
fn unknown_hosts_and_refused_ports_say_what_to_do() {
    refused(&["check", "no-such-host.invalid"], "cannot resolve");
    refused(&["check", "127.0.0.1:1"], "pathproof serve");
    refused(&["check"], "PEER");
}

#[test]
fn a_firewall_that_drops_is_a_timeout() {
    // A listener whose backlog is full answers no further connection, as a dropping firewall does not.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let fill: Vec<_> = (0..400)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(150)).ok())
        .collect();
    if fill.len() == 400 {
        return skip("this kernel accepts 400 connections beyond the backlog");
    }
    let start = Instant::now();
    refused(&["check", &address.to_string()], "firewall");
    assert!(start.elapsed() < Duration::from_secs(12));
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_sent() {
    refused(&["bench", "stream", "127.0.0.1:1", "--time", "0"], "--time 0");
    refused(&["bench", "stream", "127.0.0.1:1", "--lanes", "100000"], "--lanes 100000");
    refused(&["bench", "stream", "127.0.0.1:1", "--lanes", "0"], "--lanes 0");
    refused(&["bench", "stream", "127.0.0.1:1", "--size", "0"], "--size 0");
    refused(&["bench", "stream", "127.0.0.1:1", "--size", "1TiB"], "--size");
    refused(&["bench", "stream", "127.0.0.1:1", "--depth", "0"], "--depth 0");
    refused(&["bench", "request", "127.0.0.1:1", "--rate", "fast"], "requests per second");
    refused(&["bench", "stream", "--self", "--over", "pigeons", "--time", "100ms"], "pigeons");
}

#[test]
fn typing_errors_are_no_verdict_and_are_refused_before_anybody_is_called() {
    // Nobody listens there: whatever is said about that came too late.
    const NOBODY: &str = "127.0.0.1:1";
    let start = Instant::now();
    for (args, says) in [
        (&["bench", "stream", NOBODY, "--option", "foo=1"][..], "tcp has no option \"foo\""),
        (&["bench", "stream", NOBODY, "--option", "foo"], "NAME=VALUE"),
        (&["bench", "stream", NOBODY, "--expect-rate", "0"], "every path"),
        (&["bench", "stream", NOBODY, "--option", "congestion=nosuchthing"], "congestion control"),
        (&["bench", "stream", NOBODY, "--option", "congestion=a", "--option", "congestion=b"], "given twice"),
        (&["bench", "stream", NOBODY, "--device", "mlx5_0"], "--over rdma"),
        (&["bench", "stream", NOBODY, "--verb", "write"], "--over rdma"),
        (&["bench", "stream", NOBODY, "--verb", "wirte"], "write"),
        (&["bench", "stream", NOBODY, "--registration", "window"], "--over rdma"),
        (&["bench", "stream", NOBODY, "--over", "mutli"], "multi"),
        (&["bench", "stream", NOBODY, "--over", "multi", "--option", "share=half"], "fewest"),
        (&["bench", "stream", NOBODY, "--over", "multi", "--fail", "no-such-nic@1s"], "no NIC no-such-nic"),
        (&["bench", "stream", NOBODY, "--singles"], "--over multi"),
        (&["bench", "stream", NOBODY, "--fail", "lo@1s"], "--over multi"),
        (&["bench", "stream", NOBODY, "--reply", "1KiB"], "--reply"),
        (&["bench", "stream", NOBODY, "--verify", "--discard"], "--discard"),
        (&["bench", "stream", NOBODY, "--max-segment", "7"], "segment size of 7"),
        (&["bench", "pingpong", NOBODY, "--reply", "1KiB"], "--reply"),
        (&["bench", "pingpong", NOBODY, "--depth", "4"], "--depth"),
        (&["bench", "pingpong", NOBODY, "--verify"], "--verify"),
        (&["bench", "pingpong", NOBODY, "--rate", "1Gbit/s"], "--rate"),
        (&["bench", "request", NOBODY, "--expect-rate", "1Gbit/s"], "--expect-rate"),
        (&["mtu", NOBODY, "--nic", "no-such-nic"], "no NIC no-such-nic"),
        (&["mtu", NOBODY, "--expect", "9K"], "is no IP MTU"),
        (&["check", NOBODY, "--expect-mtu", "7"], "is no IP MTU"),
        (&["check", NOBODY, "--idle-time", "6m"], "at most 5m"),
        (&["check", NOBODY, "--idle-time", "5s", "--quick"], "--quick"),
        (&["check", NOBODY, "--over", "pigeon"], "tcp, multi, rdma, smbd"),
        (&["migrate", NOBODY, "--option", "foo=1"], "tcp has no option \"foo\""),
        (&["migrate", NOBODY, "--over", "pigeon"], "tcp, multi, rdma, smbd"),
    ] {
        refused(args, says);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "nothing was measured first");
}

#[test]
fn the_steps_of_a_plan_go_through_the_same_checks() {
    let scratch = Scratch::new("plans");
    let file = scratch.path("plan.toml");
    for (step, says) in [
        ("kind = \"stream\"\noptions = { foo = \"1\" }", "tcp has no option \"foo\""),
        ("kind = \"stream\"\nover = \"pigeon\"", "no transport \"pigeon\""),
        ("kind = \"stream\"\nverb = \"write\"", "--over rdma"),
        ("kind = \"stream\"\nverb = \"shout\"", "shout"),
        ("kind = \"pingpong\"\nreply_bytes = 7", "--reply"),
        ("kind = \"request\"\nload = \"open\"", "open loop"),
        ("kind = \"mtu\"\nnics = [\"no-such-nic\"]", "no NIC no-such-nic"),
        ("kind = \"migrate\"\npolicy = \"vmware\"", "vmware"),
    ] {
        std::fs::write(&file, format!("[[steps]]\nkind = \"facts\"\n[[steps]]\n{step}\n")).unwrap();
        refused(&["check", "127.0.0.1:1", "--plan", &file], says);
    }
    std::fs::write(&file, "steps = []\n").unwrap();
    refused(&["check", "127.0.0.1:1", "--plan", &file], "no steps");
}

#[test]
fn files_that_cannot_be_written_or_read_are_named_before_the_run() {
    let start = Instant::now();
    refused(&["check", "--self", "-o", "/nonexistent/dir/result.json"], "/nonexistent/dir/result.json");
    refused(&["check", "--self", "-o", "/tmp"], "is a directory");
    refused(&["check", "--self", "--criteria", "/nonexistent.toml"], "/nonexistent.toml");
    refused(&["check", "--self", "--plan", "/nonexistent.toml"], "/nonexistent.toml");
    refused(&["report", "/nonexistent.json"], "/nonexistent.json");
    refused(&["check", "--self", "--key-file", "/nonexistent.key"], "/nonexistent.key");
    assert!(start.elapsed() < Duration::from_secs(10), "nothing was measured first");
}

#[test]
fn a_plan_with_an_unknown_key_names_it() {
    let scratch = Scratch::new("plan");
    let file = scratch.path("plan.toml");
    std::fs::write(&file, "[[steps]]\nkind = \"stream\"\nlaens = 2\n").unwrap();
    refused(&["check", "--self", "--plan", &file], "laens");
    std::fs::write(&file, "[[steps]]\nkind = \"stream\"\ntime_ns = 100000000\n").unwrap();
    let output = run(&["check", "--self", "--plan", &file, "--format", "json"]);
    assert_eq!(document(&output)["steps"].as_array().unwrap().len(), 1);
}

#[test]
fn a_full_disk_keeps_the_report() {
    // /dev/full accepts opening and refuses writing, as a full disk does; but it cannot be renamed over.
    let scratch = Scratch::new("full");
    let small = scratch.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k", "tmpfs", &small])
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        return skip("mounting a small tmpfs needs root");
    }
    let file = format!("{small}/result.json");
    let output = run(&[
        "bench", "stream", "--self", "--time", "200ms", "--lanes", "4", "-o", &file, "--format", "json",
    ]);
    let _ = std::process::Command::new("umount").arg(&small).status();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot write the result"), "{}", stderr(&output));
    step(&document(&output), "stream");
}

/// A fake peer: does `answer` with the first connection.
fn fake_peer(answer: impl FnOnce(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            answer(stream);
        }
    });
    address
}

#[test]
fn peers_that_are_strangers_stall_or_babble() {
    let http = fake_peer(|mut s| {
        let _ = s.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        std::thread::sleep(Duration::from_secs(1));
    });
    refused(&["check", &http], "does not speak the pathproof protocol");
    let tls = fake_peer(|mut s| {
        let mut asked = [0; 16];
        let _ = s.read_exact(&mut asked);
        let _ = s.write_all(&[0x15, 3, 3, 0, 2, 2, 70]);
    });
    refused(&["check", &tls], "TLS server");
    let newer = fake_peer(|mut s| {
        let _ = s.write_all(b"PATHPRUF\x63\x00\x64\x00\x00\x00\x00\x00");
        std::thread::sleep(Duration::from_secs(1));
    });
    refused(&["check", &newer], "99 to 100");
    let silent = fake_peer(|mut s| {
        let mut all = vec![];
        let _ = s.read_to_end(&mut all);
    });
    refused(&["check", &silent], "did not come within");
    // Closed or reset, as what was not read yet decides.
    let closing = fake_peer(drop);
    refused(&["check", &closing], "the connection opened and was");
}

#[test]
fn the_server_survives_garbage_and_names_it() {
    let server = Server::start(&[]);
    let babble = |bytes: &[u8]| {
        let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut back = vec![];
        let _ = stream.read_to_end(&mut back);
        back
    };
    assert!(babble(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_empty(), "a stranger gets nothing");
    assert!(server.logged("stray connection"), "{}", server.log());
    // A data connection with a token that nobody expects gets nothing either.
    let mut lane = b"PATHLANE".to_vec();
    lane.extend([7; 32]);
    lane.extend([0; 24]);
    assert!(babble(&lane).is_empty());
    assert!(server.logged("data connection refused"), "{}", server.log());
    // The preamble of another version gets the server's, so that it can say why.
    let mut other = b"PATHPRUF\x01\x00\x01\x00\x00\x00\x00\x00".to_vec();
    other.extend([0xff; 4096]);
    assert_eq!(babble(&other).len(), 16, "only the preamble comes back");
    assert!(server.logged("another protocol version"), "{}", server.log());
    // A right preamble and then noise that is no handshake: preamble, key exchange, refusal.
    let mut noise = b"PATHPRUF\x02\x00\x02\x00\x00\x00\x00\x00".to_vec();
    noise.extend([0xff; 4096]);
    let back = babble(&noise);
    assert_eq!((back.len(), &back[50..]), (54, &[2, 2, 0, 0][..]), "{back:?}");
    assert!(server.logged("handshake"), "{}", server.log());
    let output = run(&["bench", "pingpong", &server.address, "--time", "100ms"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Starts a bench of some seconds and returns it once its first step runs.
fn running(server: &Server, file: &str, args: &[&str]) -> std::process::Child {
    let mut command = pathproof(&["check", &server.address, "-o", file, "--json-stream"]);
    command.args(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let started = |line: &str, n: u32| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["event"] == "step-begins" && event["step"] == n
    };
    for line in lines.by_ref().map_while(Result::ok) {
        if started(&line, 1) {
            break;
        }
    }
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    std::thread::sleep(Duration::from_millis(300));
    child
}

/// A plan of a short stream and a long one.
fn two_streams(scratch: &Scratch) -> String {
    let file = scratch.path("plan.toml");
    let text = "[[steps]]\nkind = \"stream\"\ntime_ns = 200000000\n[[steps]]\nkind = \"stream\"\ntime_ns = 8000000000\n";
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_peer_killed_half_way_loses_nothing_that_was_measured() {
    let scratch = Scratch::new("killed");
    let (plan, file) = (two_streams(&scratch), scratch.path("result.json"));
    let mut server = Server::start(&[]);
    let mut child = running(&server, &file, &["--plan", &plan]);
    server.kill();
    let killed = Instant::now();
    let status = wait_within(&mut child, Duration::from_secs(20));
    assert!(killed.elapsed() < Duration::from_secs(2), "noticed after {} ms", killed.elapsed().as_millis());
    assert_eq!(status.code(), Some(2));
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let steps = doc["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert!(steps[0]["error"].is_null() && steps[0]["summary"]["goodput_bits_per_s"].as_u64().unwrap() > 0);
    assert_eq!(steps[1]["error"]["kind"], "peer-lost", "{:#}", steps[1]["error"]);
    // What a dead process had open is closed by its kernel, with a reset where something had not been read.
    assert!(
        ["closed", "reset"].map(Value::from).contains(&steps[1]["error"]["cause"]),
        "{:#}",
        steps[1]["error"]
    );
    assert!(steps[1]["lanes"][0]["bytes"].as_u64().unwrap() > 0, "this end's half is kept");
    assert!(doc["findings"].as_array().unwrap().iter().any(|f| f["code"] == "PEER-LOST"));
}

#[test]
fn a_peer_that_stalls_is_not_waited_for_for_ever() {
    let scratch = Scratch::new("stalled");
    let file = scratch.path("result.json");
    let server = Server::start(&[]);
    let plan = scratch.path("plan.toml");
    let text = "[[steps]]\nkind = \"stream\"\ntime_ns = 200000000\n[[steps]]\nkind = \"stream\"\ntime_ns = 1000000000\n";
    std::fs::write(&plan, text).unwrap();
    let mut child = running(&server, &file, &["--plan", &plan]);
    server.signal("STOP");
    let status = wait_within(&mut child, Duration::from_secs(40));
    server.signal("CONT");
    assert_eq!(status.code(), Some(2));
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(doc["steps"].as_array().unwrap().len(), 2);
    assert!(!doc["steps"][1]["error"].is_null());
}

#[test]
fn ctrl_c_finishes_the_document_and_exits_130() {
    let scratch = Scratch::new("interrupted");
    let (plan, file) = (two_streams(&scratch), scratch.path("result.json"));
    let server = Server::start(&[]);
    let mut child = running(&server, &file, &["--plan", &plan]);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = wait_within(&mut child, Duration::from_secs(10));
    assert_eq!(status.code(), Some(130));
    let doc: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let steps = doc["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1]["error"]["kind"], "interrupted");
    assert!(steps[1]["summary"]["goodput_bits_per_s"].as_u64().unwrap() > 0, "both halves were collected");
}

#[test]
fn a_client_that_vanishes_frees_its_place() {
    let scratch = Scratch::new("vanished");
    let (plan, file) = (two_streams(&scratch), scratch.path("result.json"));
    let server = Server::start(&["--limits", "clients=1"]);
    let mut child = running(&server, &file, &["--plan", &plan]);
    let busy = run(&["bench", "pingpong", &server.address, "--time", "100ms"]);
    assert_eq!(busy.status.code(), Some(2));
    assert!(stderr(&busy).contains("all places are taken"), "{}", stderr(&busy));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(server.logged("ended early"), "{}", server.log());
    let start = Instant::now();
    loop {
        let next = run(&["bench", "pingpong", &server.address, "--time", "100ms"]);
        if next.status.code() == Some(0) {
            return;
        }
        let told = stderr(&next);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the place is not free again: {told}\n{}",
            server.log()
        );
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = pathproof(&["check", "--self", "--quick"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = wait_within(&mut child, Duration::from_secs(40));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_the_server_does_not_grant_is_refused_or_reduced_and_said() {
    let server = Server::start(&["--limits", "lanes=2,size=64KiB"]);
    let args = ["bench", "stream", &server.address, "--time", "200ms", "--size", "1MiB"];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("limit is 65536"), "{}", stderr(&output));
    let output = run(&[
        "bench",
        "stream",
        &server.address,
        "--time",
        "200ms",
        "--size",
        "4KiB",
        "--lanes",
        "5",
        "--format",
        "json",
    ]);
    let doc = document(&output);
    assert_eq!(doc["granted"]["steps"][0]["lanes"], 2);
    assert_eq!(doc["requested"]["steps"][0]["lanes"], 5);
    assert!(doc["findings"].as_array().unwrap().iter().any(|f| f["code"] == "PLAN-REDUCED"));
}
