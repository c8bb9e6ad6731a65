//! Builds of different ages meet: one sentence where they cannot work together, and no harm where they can.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use pathproof::secure::handshake::{Answering, PROOF_BYTES};
use pathproof::secure::{self, Access, SecureReader, SecureWriter};
use pathproof_engine::control::{HIGHEST_VERSION, LANE_MAGIC, PREAMBLE_BYTES};
use pathproof_sys::clock::RealClock;
use serde_json::{Map, Value, json};

use crate::support::*;

/// What the first release's ends say first, recorded from commit f2ca108 without a key.
const FIRST_VERSION: &[u8; PREAMBLE_BYTES] = b"PATHPRUF\x01\0\x01\0\0\0\0\0";

#[test]
fn a_server_of_version_1_is_named_as_the_one_to_update() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut preamble = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut preamble).unwrap();
        stream.write_all(FIRST_VERSION).unwrap();
        preamble
    });
    let output = run(&["bench", "pingpong", &address, "--time", "100ms"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("speaks version 2, the peer version 1; update pathproof on the peer"), "{said}");
    // What that server reads of us is the range that it has no part in.
    let ours = server.join().unwrap();
    assert_eq!(u16::from_le_bytes([ours[8], ours[9]]), HIGHEST_VERSION);
}

#[test]
fn a_client_of_version_1_is_told_what_is_spoken_here() {
    let server = Server::start(&["--listen", "127.0.0.1:0"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(FIRST_VERSION).unwrap();
    let mut heard = vec![];
    stream.read_to_end(&mut heard).unwrap();
    // From this it made: "no common protocol version: this build speaks 1 to 1, the peer 2 to 2; update the older one".
    assert_eq!(heard[..12], *b"PATHPRUF\x02\0\x02\0");
    assert_eq!(heard.len(), PREAMBLE_BYTES, "and nothing that it could not read");
    assert!(server.logged("another protocol version"), "{}", server.log());
}

/// A relay between a client and a server of this build that makes each look like a later revision to the other.
struct Later {
    address: String,
}

impl Later {
    fn before(server: &str) -> Later {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok).take(64) {
                let server = server.clone();
                std::thread::spawn(move || relay(stream, &server));
            }
        });
        Later { address }
    }
}

fn relay(mut client: TcpStream, server: &str) {
    let mut preamble = [0; PREAMBLE_BYTES];
    client.read_exact(&mut preamble).unwrap();
    let far = TcpStream::connect(server).unwrap();
    if preamble[..8] == LANE_MAGIC {
        return lane(client, far, &preamble);
    }
    let (answer, answering) = Answering::begin(&Access::Loopback, &preamble);
    client.write_all(&answer).unwrap();
    let mut proof = [0; PROOF_BYTES];
    client.read_exact(&mut proof).unwrap();
    let (answer, cipher) = answering.unwrap().finish(&proof).unwrap();
    client.write_all(&answer).unwrap();
    let near = secure::channel(client, cipher).unwrap();
    let far =
        secure::connect(far, &Access::Loopback, RealClock::new().deadline(Duration::from_secs(5))).unwrap();
    let up = std::thread::spawn(move || frames(near.1, far.0));
    frames(far.1, near.0);
    let _ = up.join();
}

/// A data lane crosses as it is.
fn lane(client: TcpStream, mut far: TcpStream, preamble: &[u8]) {
    far.write_all(preamble).unwrap();
    client.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (mut a, mut b) = (client.try_clone().unwrap(), far.try_clone().unwrap());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut a, &mut b);
        let _ = b.shutdown(Shutdown::Write);
    });
    let (mut far, mut client) = (far, client);
    let _ = std::io::copy(&mut far, &mut client);
    let _ = client.shutdown(Shutdown::Write);
    let _ = up.join();
}

/// Frames from one end to the other, with what a later revision would add.
fn frames(mut from: SecureReader, mut to: SecureWriter) {
    let mut heard = vec![];
    while from.receive(&mut heard).is_ok() {
        while let Some(head) = heard.first_chunk::<9>().copied() {
            let end = 9 + u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            if heard.len() < end {
                break;
            }
            let mut body: Value = serde_json::from_slice(&heard[9..end]).unwrap();
            heard.drain(..end);
            add(&mut body);
            let body = serde_json::to_vec(&body).unwrap();
            let mut frame = (body.len() as u32).to_le_bytes().to_vec();
            frame.extend(&head[4..]);
            frame.extend(body);
            if to.send(&frame).is_err() {
                return;
            }
        }
    }
    to.shutdown();
}

/// Puts a field that nobody knows into every object, but for requests (what is asked is strict), what only the running step
/// understands, and maps, whose entries are data.
fn add(value: &mut Value) {
    const NOT: [&str; 13] = [
        "plan",
        "request",
        "granted",
        "body",
        "counters",
        "chosen",
        "values",
        "offloads",
        "settings",
        "unreadable",
        "options",
        "carrier_changes_in_all",
        "governors",
    ];
    match value {
        Value::Array(items) => items.iter_mut().for_each(add),
        Value::Object(fields) => {
            // The limits of an adapter are a map; those of a server are not.
            let map = |name: &str, value: &Value| {
                NOT.contains(&name) || name == "limits" && value.get("clients").is_none()
            };
            fields.iter_mut().filter(|(name, value)| !map(name, value)).for_each(|(_, value)| add(value));
            // A part of a half is a choice, whose name is its only field.
            if !is_choice(fields) {
                fields.insert("of_a_later_revision".into(), json!([1, { "x": null }]));
            }
        }
        _ => {}
    }
}

fn is_choice(fields: &Map<String, Value>) -> bool {
    fields.len() == 1
        && ["lanes", "histograms", "slices", "rest"].iter().any(|part| fields.contains_key(*part))
}

#[test]
fn revisions_of_a_version_work_together_both_ways() {
    let server = Server::start(&["--listen", "127.0.0.1:0"]);
    let later = Later::before(&server.address);
    for command in [
        &["bench", "pingpong", "--time", "200ms"][..],
        &["bench", "stream", "--time", "200ms", "--expect-rate", "1Mbit/s"],
        &["migrate", "--memory", "16MiB"],
    ] {
        let mut args = command.to_vec();
        args.extend([later.address.as_str(), "--format", "json"]);
        let output = run(&args);
        let doc = document(&output);
        assert_eq!(doc["steps"][0]["error"], Value::Null, "{command:?}: {}", stderr(&output));
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{command:?}: {:?} {}",
            output.status,
            stderr(&output)
        );
        assert!(!doc.to_string().contains("of_a_later_revision"), "it is ignored, not kept as ours");
    }
}

#[test]
fn a_request_with_what_this_build_does_not_know_is_refused_in_words() {
    let server = Server::start(&["--listen", "127.0.0.1:0"]);
    let stream = TcpStream::connect(&server.address).unwrap();
    let (mut writer, mut reader) =
        secure::connect(stream, &Access::Loopback, RealClock::new().deadline(Duration::from_secs(5)))
            .unwrap();
    let environment = serde_json::to_value(pathproof_model::Environment::default()).unwrap();
    let hello = json!({
        "tool": { "name": "later", "version": "9", "commit": null, "features": [] },
        "plan": { "seed": 1, "steps": [{ "kind": "teleport" }] },
        "environment": environment,
    });
    let body = serde_json::to_vec(&hello).unwrap();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend([0, 0, 0, 0, 1]);
    frame.extend(body);
    writer.send(&frame).unwrap();
    let mut heard = vec![];
    while reader.receive(&mut heard).is_ok() {}
    let said = String::from_utf8_lossy(&heard).into_owned();
    assert!(said.contains("unknown variant `teleport`"), "{said}");
}
