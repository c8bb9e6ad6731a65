//! A path that changes bytes and makes every checksum fit, as devices do that rewrite packets: here a proxy that turns one bit of the control
//! connection. Nothing is concluded from that message, what was measured stays, and the path is not fit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Server, document, pathproof, run_within};

/// The key handshake is shorter, and what greets is longer.
const HANDSHAKE_BYTES: usize = 400;
/// Behind the length of a piece, and before its end.
const INSIDE: usize = 10;

/// Carries connections to `server`. Of the first one it turns a bit, once, on the way to the server or back: in what comes when `after` has passed.
fn proxy(server: String, outward: bool, after: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (nth, near) in listener.incoming().flatten().enumerate() {
            let Ok(far) = TcpStream::connect(&server) else { continue };
            let turns = |way: bool| (nth == 0 && way == outward).then(|| Instant::now() + after);
            for (from, to, way) in [(&near, &far, true), (&far, &near, false)] {
                let (from, to, turn) = (from.try_clone().unwrap(), to.try_clone().unwrap(), turns(way));
                std::thread::spawn(move || carry(from, to, turn));
            }
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut turn: Option<Instant>) {
    let (mut buffer, mut carried) = (vec![0; 65_536], 0);
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        let due = |at: &mut Instant| *at <= Instant::now();
        if carried >= HANDSHAKE_BYTES && bytes > 2 * INSIDE && turn.take_if(due).is_some() {
            buffer[INSIDE] ^= 1;
        }
        carried += bytes;
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn codes(doc: &Value) -> Vec<&str> {
    doc["findings"].as_array().unwrap().iter().filter_map(|finding| finding["code"].as_str()).collect()
}

#[test]
fn a_control_message_that_was_changed_ends_the_run_as_not_fit_and_keeps_what_was_measured() {
    for outward in [true, false] {
        let server = Server::start(&[]);
        let address = proxy(server.address.clone(), outward, Duration::from_millis(1500));
        let args = ["bench", "pingpong", &address, "--time", "3s", "--format", "json"];
        let output = run_within(pathproof(&args), Duration::from_secs(60));
        let doc = document(&output);
        let told = format!("to the server: {outward}; {:#} {:?}", doc["error"], codes(&doc));
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(
            (doc["outcome"].as_str(), doc["error"]["cause"].as_str()),
            (Some("not-fit"), Some("changed")),
            "{told}"
        );
        assert!(codes(&doc).contains(&"PAYLOAD-CORRUPT") && !codes(&doc).contains(&"PEER-LOST"), "{told}");
        assert!(!doc["steps"].as_array().unwrap().is_empty(), "what was measured stays: {told}");
    }
}

#[test]
fn a_proxy_that_changes_nothing_is_no_reason_for_anything() {
    let server = Server::start(&[]);
    let address = proxy(server.address.clone(), true, Duration::from_secs(600));
    let args = ["bench", "pingpong", &address, "--time", "300ms", "--format", "json"];
    let doc = document(&run_within(pathproof(&args), Duration::from_secs(60)));
    assert!(
        doc["error"].is_null() && !codes(&doc).contains(&"PAYLOAD-CORRUPT"),
        "{:#} {:?}",
        doc["error"],
        codes(&doc)
    );
}
