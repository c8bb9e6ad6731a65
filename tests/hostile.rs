//! Ends that hold the key and keep to nothing else: a server that wants the client's files and memory, a client that
//! wants the server's. The numbers in the names are those of the trust model in docs/PROTOCOL.md.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use pathproof::secure::handshake::{Answering, PROOF_BYTES};
use pathproof::secure::{self, Access, SecureReader, SecureWriter};
use pathproof_engine::control::PREAMBLE_BYTES;
use pathproof_model::{Direction, FlowSpec, MigrateSpec, StepRequest, StepSpec, TrafficSpec};
use pathproof_sys::clock::RealClock;
use serde_json::{Value, json};

use crate::support::{Scratch, Server, pathproof, run, run_within, stderr};

pub const PATIENCE: Duration = Duration::from_secs(10);
const HELLO: u8 = 1;
pub const ACCEPT: u8 = 2;
pub const REJECT: u8 = 3;
pub const TURN: u8 = 4;
pub const TURNED: u8 = 5;
pub const BYE: u8 = 8;

/// The secure channel of a session at which anything can be said.
pub struct Channel {
    writer: SecureWriter,
    reader: SecureReader,
    heard: Vec<u8>,
}

impl Channel {
    fn new((writer, reader): (SecureWriter, SecureReader)) -> Channel {
        Channel { writer, reader, heard: vec![] }
    }

    pub fn say(&mut self, tag: u8, body: &Value) {
        // An end that has hung up hears no more, which is for the test to notice.
        let _ = self.try_say(tag, body);
    }

    /// Whether it was sent.
    pub fn try_say(&mut self, tag: u8, body: &Value) -> bool {
        let body = serde_json::to_vec(body).unwrap();
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend([0, 0, 0, 0, tag]);
        frame.extend(body);
        self.writer.send(&frame).is_ok()
    }

    /// The next message; `None` when the other end has hung up.
    pub fn hear(&mut self) -> Option<(u8, Value)> {
        loop {
            if let Some(head) = self.heard.first_chunk::<9>().copied() {
                let end = 9 + u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
                if self.heard.len() >= end {
                    let body = serde_json::from_slice(&self.heard[9..end]).expect("a body is JSON");
                    self.heard.drain(..end);
                    return Some((head[8], body));
                }
            }
            self.reader.receive(&mut self.heard).ok()?;
        }
    }
}

/// A client that is let in to `address`, and asks for `steps`.
pub fn client(address: &str, steps: Value) -> (Channel, u8, Value) {
    let stream = TcpStream::connect(address).unwrap();
    let mut channel = Channel::new(
        secure::connect(stream, &Access::Loopback, RealClock::new().deadline(PATIENCE)).unwrap(),
    );
    let tool = json!({ "name": "hostile", "version": "0", "commit": null, "features": [] });
    let environment = serde_json::to_value(pathproof_model::Environment::default()).unwrap();
    channel.say(
        HELLO,
        &json!({ "tool": tool, "plan": { "seed": 1, "steps": steps }, "environment": environment }),
    );
    let (tag, answer) = channel.hear().unwrap_or((BYE, Value::Null));
    (channel, tag, answer)
}

/// The server's readiness for a step that its greeting did not name.
pub fn turn(channel: &mut Channel, step: u32, request: &Value, paths: usize, offers: usize) -> Option<Value> {
    turn_offering(channel, step, request, paths, &vec![""; offers])
}

/// The same with offers, in base64.
fn turn_offering(
    channel: &mut Channel,
    step: u32,
    request: &Value,
    paths: usize,
    offers: &[&str],
) -> Option<Value> {
    let go = json!({ "step": step, "request": request, "paths": vec![0; paths], "offers": offers });
    channel.say(TURN, &json!({ "ended": null, "go": go }));
    loop {
        match channel.hear()? {
            (TURNED, turned) => return Some(turned["ready"].clone()),
            (BYE, _) => return None,
            _ => {}
        }
    }
}

pub fn traffic(change: impl FnOnce(&mut TrafficSpec)) -> Value {
    let mut spec = TrafficSpec { time_ns: 1_000_000_000, ..TrafficSpec::default() };
    change(&mut spec);
    serde_json::to_value(StepRequest::of(&StepSpec::Stream(spec)).unwrap()).unwrap()
}

pub fn migrate(change: impl FnOnce(&mut MigrateSpec)) -> Value {
    let mut spec = MigrateSpec { memory_bytes: 1 << 20, time_limit_ns: Some(1), ..MigrateSpec::default() };
    change(&mut spec);
    serde_json::to_value(StepRequest::of(&StepSpec::Migrate(spec)).unwrap()).unwrap()
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

/// Most memory that a process ever had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn t13_a_turn_takes_no_more_than_the_limits_whatever_it_says() {
    let server = Server::start(&["--limits", "memory=64MiB,size=1MiB,lanes=4,time=2s"]);
    let before = peak_mib(server.pid());
    let most = u64::from(u32::MAX);
    let hostile = [
        ("size", traffic(|s| s.size_bytes = 1 << 30)),
        ("verified", traffic(|s| (s.size_bytes, s.verify, s.depth) = (1 << 20, true, 64))),
        ("overflow", traffic(|s| (s.size_bytes, s.verify, s.depth) = (most, true, 1 << 31))),
        ("depth", traffic(|s| (s.size_bytes, s.depth) = (1, u32::MAX))),
        ("reply", traffic(|s| (s.size_bytes, s.reply_bytes) = (64, Some(3 << 30)))),
        ("both ways", traffic(|s| (s.lanes, s.direction) = (4, Direction::Both))),
        ("no lanes", traffic(|s| s.lanes = 0)),
        ("lanes", traffic(|s| (s.lanes, s.size_bytes) = (4_000_000_000, 1))),
        ("warm-up", traffic(|s| (s.warmup_ns, s.cooldown_ns) = (u64::MAX, u64::MAX))),
        ("flows over the lanes", traffic(|s| (s.lanes, s.beside) = (1, vec![FlowSpec::default(); 4]))),
        (
            "lanes of a flow",
            traffic(|s| s.beside = vec![FlowSpec { lanes: u32::MAX, ..FlowSpec::default() }]),
        ),
        (
            "memory of a flow",
            traffic(|s| {
                s.beside = vec![FlowSpec { size_bytes: 1 << 20, depth: 4096, ..FlowSpec::default() }]
            }),
        ),
        (
            "a flow after the end",
            traffic(|s| s.beside = vec![FlowSpec { start_ns: u64::MAX, ..FlowSpec::default() }]),
        ),
        ("huge pages", traffic(|s| (s.size_bytes, s.lanes, s.huge_pages) = (32 << 20, 4, true))),
        ("stripe", traffic(|s| (s.over, s.size_bytes, s.depth) = ("multi".into(), 1 << 20, 192))),
        ("module", with(traffic(|_| {}), "lane", json!({ "congestion": "nosuchthing" }))),
        ("guest", migrate(|m| m.memory_bytes = 1 << 30)),
        ("lanes of a guest", migrate(|m| m.lanes = 4_000_000_000)),
        ("guests", migrate(|m| (m.memory_bytes, m.guests, m.parallel) = (4096, u32::MAX, u32::MAX))),
        (
            "guests overflow",
            migrate(|m| (m.memory_bytes, m.guests, m.parallel) = (1 << 43, 1 << 21, 1 << 21)),
        ),
        ("disk", with(migrate(|_| {}), "disk_bytes", json!(64u64 << 40))),
        ("hashes of a disk", with(migrate(|_| {}), "disk_bytes", json!(170u64 << 30))),
        ("chunk", migrate(|m| (m.over, m.chunk_bytes) = ("multi".into(), 64 << 20))),
        ("for ever", with(migrate(|_| {}), "time_limit_ns", Value::Null)),
    ];
    for (what, request) in &hostile {
        let (mut channel, tag, answer) = client(&server.address, json!([{ "kind": "facts" }]));
        assert_eq!(tag, ACCEPT, "{what}: {answer}");
        let begun = Instant::now();
        let ready =
            turn(&mut channel, 0, request, 2, 4).unwrap_or_else(|| panic!("{what}: the server hung up"));
        assert!(!ready["error"].is_null(), "{what} was granted: {ready}");
        assert!(begun.elapsed() < PATIENCE, "{what} kept the server busy");
    }
    // What cannot be read at all ends the session and nothing else.
    let flow = traffic(|s| s.beside = vec![FlowSpec::default()])["beside"][0].clone();
    for request in [
        json!({ "kind": "stream" }),
        with(traffic(|_| {}), "file", json!("/etc/shadow")),
        json!(7),
        with(traffic(|_| {}), "beside", json!(vec![flow.clone(); 1000])),
        with(traffic(|_| {}), "beside", json!([with(flow, "file", json!("/etc/shadow"))])),
    ] {
        let (mut channel, _, _) = client(&server.address, json!([{ "kind": "facts" }]));
        assert_eq!(turn(&mut channel, 0, &request, 0, 1), None, "{request}");
    }
    let after = peak_mib(server.pid());
    assert!(after < before + 64, "the server grew from {before} to {after} MiB");
    // Lanes over more paths than there can be.
    let stripe = traffic(|s| s.over = "multi".into());
    let (mut channel, _, _) = client(&server.address, json!([]));
    assert!(!turn(&mut channel, 0, &stripe, 5000, 1).unwrap()["error"].is_null());
    // After all that an honest client is served, with as much as there is.
    let output = run(&[
        "bench",
        "stream",
        &server.address,
        "--time",
        "100ms",
        "--lanes",
        "9",
        "--size",
        "64KiB",
        "--format",
        "json",
    ]);
    let doc = crate::support::document(&output);
    assert_eq!(doc["granted"]["steps"][0]["lanes"], 4, "{}", stderr(&output));
}

#[test]
fn t13_a_greeting_is_held_against_the_limits_too() {
    let server = Server::start(&["--limits", "memory=64MiB,size=1MiB,lanes=4,time=2s"]);
    let large = traffic(|s| (s.size_bytes, s.reply_bytes) = (64, Some(3 << 30)));
    let many: Vec<Value> = vec![json!({ "kind": "facts" }); 20_000];
    let disk = with(migrate(|_| {}), "disk_bytes", json!(64u64 << 40));
    let hostile = [
        (json!([large]), "limit is 1048576"),
        (json!(many), "1000 is the limit"),
        (json!([disk]), "of memory"),
        (json!([migrate(|m| (m.memory_bytes, m.guests, m.parallel) = (1 << 43, 1 << 21, 1 << 21))]), "lanes"),
        (
            json!([traffic(
                // One direction of it would fit.
                |s| {
                    (s.lanes, s.direction) = (2, Direction::Both);
                    (s.depth, s.size_bytes, s.verify) = (12, 1 << 20, true);
                }
            )]),
            "of memory",
        ),
    ];
    for (steps, says) in hostile {
        let (_, tag, answer) = client(&server.address, steps);
        assert!(tag == REJECT && answer["reasons"][0].as_str().unwrap().contains(says), "{answer}");
    }
}

#[test]
fn t13_a_guest_that_is_too_large_is_granted_less_memory_and_its_honest_client_says_so() {
    let server = Server::start(&["--limits", "memory=64MiB"]);
    let (_, tag, answer) = client(&server.address, json!([migrate(|m| m.memory_bytes = 1 << 30)]));
    assert_eq!(tag, ACCEPT, "{answer}");
    let granted = answer["granted"][0]["memory_bytes"].as_u64().unwrap();
    assert!((32 << 20..64 << 20).contains(&granted), "{answer}");
    let output = run(&["migrate", &server.address, "--memory", "1GiB", "--format", "json"]);
    let doc = crate::support::document(&output);
    assert_eq!((output.status.code(), doc["error"]["kind"].as_str()), (Some(2), Some("refused")), "{doc:#}");
    let said = doc["error"]["message"].as_str().unwrap();
    assert!(said.contains("1 GiB") && said.contains("--memory"), "{said}");
    assert_eq!(doc["steps"], json!([]), "it was refused before anything ran");
}

#[test]
fn t14_what_one_client_has_no_other_gets() {
    let server = Server::start(&["--limits", "total=64MiB"]);
    // Verified messages are kept apart: 2 x 24 MiB for those under way, and 2 MiB for what they should be.
    let step = traffic(|s| (s.size_bytes, s.depth, s.verify) = (1 << 20, 24, true));
    let (mut first, _, _) = client(&server.address, json!([]));
    let ready = turn(&mut first, 0, &step, 0, 1).unwrap();
    assert!(ready["error"].is_null(), "{ready}");
    let (mut second, _, _) = client(&server.address, json!([]));
    let error = turn(&mut second, 0, &step, 0, 1).unwrap()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("all its clients together"), "{error}");
    let again = turn(&mut second, 0, &traffic(|_| {}), 0, 1).unwrap()["error"].clone();
    assert!(again["message"].as_str().unwrap().contains("a number of its own"), "{again}");
    drop(first);
    let begun = Instant::now();
    let granted = (1..100).any(|number| {
        std::thread::sleep(Duration::from_millis(100));
        turn(&mut second, number, &step, 0, 1).is_some_and(|ready| ready["error"].is_null())
    });
    assert!(granted && begun.elapsed() < PATIENCE, "the memory of a client that is gone is free again");
}

/// A server that completes the key handshake and then says what `script` says. Tells what it heard.
pub fn server(script: impl Fn(&mut Channel, &Value) + Send + 'static) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut preamble = [0; PREAMBLE_BYTES];
            if stream.read_exact(&mut preamble).is_err() || preamble.starts_with(b"PATHLANE") {
                let _ = told.send(json!({ "lane": true }));
                continue;
            }
            let (answer, answering) = Answering::begin(&Access::Loopback, &preamble);
            stream.write_all(&answer).unwrap();
            let mut proof = [0; PROOF_BYTES];
            stream.read_exact(&mut proof).unwrap();
            let Ok((answer, cipher)) = answering.and_then(|answering| answering.finish(&proof)) else {
                continue;
            };
            stream.write_all(&answer).unwrap();
            let mut channel = Channel::new(secure::channel(stream, cipher).unwrap());
            let Some((HELLO, hello)) = channel.hear() else { continue };
            let _ = told.send(hello.clone());
            script(&mut channel, &hello);
            while let Some((_, heard)) = channel.hear() {
                let _ = told.send(heard);
            }
        }
    });
    (address, heard)
}

pub fn accept(granted: Value) -> Value {
    json!({
        "tool": { "name": "hostile", "version": "0", "commit": null, "features": [] },
        "granted": granted,
        "limits": pathproof_model::Limits::default(),
        "environment": pathproof_model::Environment::default(),
        "findings": [],
        "session": "07".repeat(32),
    })
}

#[test]
fn t11_a_hostile_grant_is_refused_in_a_sentence_and_moves_nothing() {
    let scratch = Scratch::new("hostile-grant");
    let secret = scratch.path("id_secret.txt");
    std::fs::write(&secret, "the secret of the client").unwrap();
    let steps: Vec<Value> = (1..100)
        .map(|bytes| {
            json!({ "kind": "migrate", "over": "tcp", "memory_bytes": 1 << 20, "disk": { "bytes": bytes, "file": secret } })
        })
        .collect();
    let hostile = [
        (json!({ "command": "mtu", "seed": 1, "steps": steps }), "cannot be read"),
        (json!([{ "spec": steps[0] }]), "cannot be read"),
        (json!(steps), "cannot be read"),
        (json!([]), "granted 0 steps where 1"),
        (json!(vec![json!({}); 20_000]), "granted 20000 steps where 1"),
        (json!([{ "lanes": 0 }]), "grants no lanes"),
        (json!([{ "time_ns": 0 }]), "grants no time"),
    ];
    for (granted, says) in hostile {
        let answer = accept(granted);
        let (address, heard) = server(move |channel, _| channel.say(ACCEPT, &answer));
        let output =
            run_within(pathproof(&["bench", "stream", &address, "--time", "1s"]), Duration::from_secs(20));
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{says}: {error}");
        assert!(error.contains(says), "{says}: {error}");
        let after: Vec<Value> = heard.try_iter().skip(1).collect();
        assert!(
            after.iter().all(|message| message.get("go").is_none() && message.get("lane").is_none()),
            "{after:?}"
        );
    }
}

#[test]
fn t11_more_than_was_asked_for_is_as_good_as_nothing_said() {
    let granted = json!([{ "lanes": u32::MAX, "time_ns": u64::MAX }]);
    let (address, heard) = server(move |channel, _| channel.say(ACCEPT, &accept(granted.clone())));
    let mut command = pathproof(&["bench", "stream", &address, "--time", "700ms", "--lanes", "2"]);
    let mut child =
        command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let turn = heard
        .iter()
        .find(|message| message.get("go").is_some())
        .expect("the client goes on with its own step");
    let _ = child.kill();
    let _ = child.wait();
    let request = &turn["go"]["request"];
    assert_eq!((&request["lanes"], &request["time_ns"]), (&json!(2), &json!(700_000_000)), "{turn}");
    assert_eq!(turn["go"]["offers"].as_array().unwrap().len(), 2);
}

#[test]
fn t10_what_a_client_says_names_none_of_its_affairs() {
    let scratch = Scratch::new("hostile-words");
    let (disk, log) = (scratch.path("disk-of-a-guest.img"), scratch.path("recorded-writes.log"));
    std::fs::write(&disk, vec![1; 70_000]).unwrap();
    std::fs::write(&log, "1\n2\n").unwrap();
    let (address, heard) = server(|channel, _| channel.say(ACCEPT, &accept(json!([{}]))));
    let dirty = format!("1MB/s:replay={log}");
    let args = [
        "migrate",
        &address,
        "--memory",
        "1MiB",
        "--disk-file",
        &disk,
        "--dirty",
        &dirty,
        "--inject-fault",
        "lost-page",
    ];
    let mut child = pathproof(&args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said: Vec<String> = vec![];
    for message in heard.iter() {
        said.push(message.to_string());
        if message.get("go").is_some() {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(said.len() >= 2, "{said:?}");
    for word in ["disk-of-a-guest", "recorded-writes", "replay", "lost-page"] {
        assert!(said.iter().all(|message| !message.contains(word)), "{word} crossed");
    }
}

#[test]
fn t12_offers_that_were_not_planned_end_the_step() {
    for offers in [json!([]), json!(["", "", ""]), json!(["A".repeat(200_000)]), json!(["%"])] {
        let (address, _) = server(move |channel, _| {
            channel.say(ACCEPT, &accept(json!([{}])));
            let ready = json!({ "step": 0, "offers": offers, "error": null, "findings": [] });
            if channel.hear().is_some_and(|(tag, _)| tag == TURN) {
                channel.say(TURNED, &json!({ "half": null, "ready": ready }));
            }
        });
        let output =
            run_within(pathproof(&["bench", "stream", &address, "--time", "1s"]), Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("offer"), "{}", stderr(&output));
    }
}

/// What the other end says of its ports is who listens where; it cannot lead this one to another host or to a port off the list.
#[test]
fn t22_no_offer_leads_to_another_host_or_port() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let scratch = Scratch::new("ports");
    let plan = scratch.path("plan.toml");
    std::fs::write(&plan, "steps = [{ kind = \"ports\" }]").unwrap();
    let port = other.local_addr().unwrap().port();
    for offered in [
        json!([{ "port": "smb", "listens": "agent", "address": "127.0.0.1" }]),
        json!([{ "port": "smb", "listens": "agent", "number": port }]),
        json!([{ "port": port, "listens": "agent" }]),
        json!([{ "port": "ssh", "listens": "agent" }]),
        json!({ "port": "smb", "listens": "agent" }),
        json!("smb"),
    ] {
        let offer = base64::engine::general_purpose::STANDARD.encode(offered.to_string());
        let (address, _) = server(move |channel, _| {
            channel.say(ACCEPT, &accept(json!([{}])));
            let ready = json!({ "step": 0, "offers": [offer], "error": null, "findings": [] });
            if channel.hear().is_some_and(|(tag, _)| tag == TURN) {
                channel.say(TURNED, &json!({ "half": null, "ready": ready }));
                channel.say(BYE, &json!({ "reason": "", "kind": null }));
            }
        });
        let output = run_within(pathproof(&["check", &address, "--plan", &plan]), Duration::from_secs(30));
        let said = String::from_utf8_lossy(&output.stdout).replace("\n", " ");
        assert!(said.contains("list of ports"), "{offered}: {said}");
        assert!(other.accept().is_err(), "{offered}: it was dialled");
    }
}

/// The ports are open to the session's peer, and until the end of the step.
#[test]
fn t22_ports_are_open_for_the_step_and_not_beyond() {
    // An address of its own: other tests measure over 127.0.0.1 meanwhile.
    const PORT: &str = "127.9.0.77:6600";
    let serving = Server::spawn(pathproof(&["serve", "--listen", "127.9.0.77:0", "-v"]));
    let request = json!({ "kind": "ports", "roles": [], "connections": 4, "idle_ns": 0 });
    let (mut channel, tag, answer) = client(&serving.address, json!([request]));
    assert_eq!(tag, ACCEPT, "{answer}");
    assert!(TcpStream::connect(PORT).is_err(), "something listens on 6600 here");
    // A list of ports, with nothing in it: without one the step would be over at once.
    let ready = turn_offering(&mut channel, 0, &request, 0, &["W10="]).expect("ready");
    assert_eq!(ready["error"], json!(null));
    assert!(TcpStream::connect(PORT).is_ok(), "it is open for the step");
    drop(channel);
    // The client is gone: the step ends, and the port with it.
    let begun = Instant::now();
    while TcpStream::connect(PORT).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the port stays open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn t8_names_of_a_hostile_client_forge_no_line_of_the_servers_log() {
    const NAME: &str = "srv\u{1b}[2J\u{9b}31m\r\n2026-01-01T00:00:00Z  INFO forged\u{202e}\u{2028}";
    let server = Server::start(&[]);
    let stream = TcpStream::connect(&server.address).unwrap();
    let mut channel = Channel::new(
        secure::connect(stream, &Access::Loopback, RealClock::new().deadline(PATIENCE)).unwrap(),
    );
    let tool = json!({ "name": NAME, "version": NAME, "commit": NAME, "features": [NAME] });
    let mut environment = serde_json::to_value(pathproof_model::Environment::default()).unwrap();
    (environment["hostname"], environment["kernel"]) = (json!(NAME), json!(NAME));
    channel
        .say(HELLO, &json!({ "tool": tool, "plan": { "seed": 1, "steps": [] }, "environment": environment }));
    assert_eq!(channel.hear().unwrap().0, ACCEPT);
    channel.say(BYE, &json!({ "reason": NAME, "kind": "peer-lost" }));
    assert!(server.logged("ended early") || server.logged("complete"), "{}", server.log());
    let log = server.log();
    assert!(log.chars().all(|c| c == '\n' || !(c.is_control() || "\u{202e}\u{2028}".contains(c))), "{log:?}");
    assert!(log.lines().all(|line| !line.starts_with("2026-01-01")), "{log}");
}

#[test]
fn t8_names_of_a_hostile_server_steer_no_terminal_of_the_client() {
    const NAME: &str = "srv\u{1b}[2J\u{9b}31m\r\nverdict: FIT\u{202e}\u{2028}";
    for format in ["text", "json"] {
        let (address, _) = server(|channel, _| {
            let mut answer = accept(json!([{}]));
            answer["tool"]["name"] = json!(NAME);
            for field in ["hostname", "kernel", "cpu_model", "operating_system"] {
                answer["environment"][field] = json!(NAME);
            }
            let finding = json!({ "code": NAME, "severity": "warning", "meaning": NAME, "evidence": NAME, "next": NAME });
            answer["findings"] = json!([finding]);
            channel.say(ACCEPT, &answer);
            if channel.hear().is_some_and(|(tag, _)| tag == TURN) {
                let ready = json!({ "step": 0, "offers": [], "error": { "kind": "system", "message": NAME }, "findings": [] });
                channel.say(TURNED, &json!({ "half": null, "ready": ready }));
            }
        });
        let args = ["bench", "stream", &address, "--time", "1s", "--format", format];
        let output = run_within(pathproof(&args), Duration::from_secs(30));
        let said = [output.stdout.clone(), output.stderr.clone()].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("srv"), "it is shown, made harmless: {said}");
        assert!(
            said.chars().all(|c| c == '\n' || !(c.is_control() || "\u{202e}\u{2028}".contains(c))),
            "{said:?}"
        );
        assert!(said.lines().all(|line| !line.starts_with("verdict: FIT")), "{said}");
        assert_ne!(output.status.code(), Some(0));
    }
}
