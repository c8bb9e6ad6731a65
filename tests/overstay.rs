//! Clients that are let in and then do not go: a step that is never ended, and one that is talked to without end. The numbers
//! in the names are those of the trust model in docs/PROTOCOL.md.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pathproof::secure::Access;
use pathproof::serve::{Grace, Listening, Settings};
use pathproof_model::{Limits, StepRequest, StepSpec};
use pathproof_sys::clock::RealClock;
use serde_json::{Value, json};

use crate::hostile::*;

const STEP: u8 = 6;
/// What the server of these tests allows beyond a step's own length, and then for its end.
const GRACE: Duration = Duration::from_millis(300);

/// A server that is as impatient as a test, with room for one client and for one of its steps.
fn impatient() -> String {
    let settings = Settings {
        access: Access::Loopback,
        limits: Limits { clients: 1, total_memory_bytes: Some(64 << 20), ..Limits::default() },
        device: None,
        observe: Arc::new(Default::default),
        clock: RealClock::new(),
        tells: false,
        grace: Grace { step: GRACE, last_word: GRACE },
    };
    let server = Listening::bind(&["127.0.0.1:0".parse().unwrap()], settings).unwrap();
    let address = server.addresses()[0].to_string();
    server.run_in_background();
    address
}

/// Why the server hangs up, and when.
fn dismissed(channel: &mut Channel) -> (String, Duration) {
    let begun = Instant::now();
    let mut reason = String::from("without a word");
    while let Some((tag, body)) = channel.hear() {
        if tag == BYE {
            reason = body["reason"].as_str().unwrap_or_default().to_owned();
        }
    }
    (reason, begun.elapsed())
}

/// Whether the one place of the server, and its memory, are free again.
fn has_room(address: &str) -> bool {
    (0..40).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        let (mut next, tag, _) = client(address, json!([]));
        let step = traffic(|s| (s.size_bytes, s.depth, s.verify) = (1 << 20, 24, true));
        tag == ACCEPT && turn(&mut next, 0, &step, 0, 1).is_some_and(|ready| ready["error"].is_null())
    })
}

fn begun(address: &str, request: &Value, offers: usize) -> Channel {
    let (mut channel, tag, answer) = client(address, json!([]));
    assert_eq!(tag, ACCEPT, "{answer}");
    let ready = turn(&mut channel, 0, request, 0, offers).unwrap();
    assert!(ready["error"].is_null(), "{ready}");
    channel
}

#[test]
fn t21_a_client_that_never_ends_a_step_that_is_over_is_let_go() {
    let address = impatient();
    let mut channel = begun(&address, &json!({ "kind": "facts" }), 0);
    let (reason, after) = dismissed(&mut channel);
    assert!(reason.contains("did not end its step in time"), "{reason}");
    assert!(after >= GRACE && after < PATIENCE, "{after:?}");
    assert!(has_room(&address));
}

#[test]
fn t21_a_client_that_never_lets_a_step_end_is_let_go() {
    let address = impatient();
    // One round trip has 3 s; this client asks for another as long as it is answered.
    let one = serde_json::to_value(
        StepRequest::of(&StepSpec::Reach(pathproof_model::ReachSpec { count: 1 })).unwrap(),
    )
    .unwrap();
    let mut channel = begun(&address, &one, 0);
    let begun = Instant::now();
    let mut answers = 0u64;
    let reason = loop {
        channel.say(STEP, &json!({ "step": 0, "body": { "ping": answers } }));
        match channel.hear() {
            Some((BYE, body)) => break body["reason"].as_str().unwrap_or_default().to_owned(),
            Some(_) => answers += 1,
            None => break String::from("without a word"),
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "it is answered without end");
    };
    assert!(
        answers > 10 && begun.elapsed() >= Duration::from_secs(3),
        "{answers}, {:?}: {reason}",
        begun.elapsed()
    );
    assert!(has_room(&address));
}

#[test]
fn t21_a_client_that_talks_without_end_is_let_go() {
    let address = impatient();
    let mut channel = begun(&address, &json!({ "kind": "facts" }), 0);
    let begun = Instant::now();
    // Nothing is listened to, and every message is one of a step that is over.
    while channel
        .try_say(STEP, &json!({ "step": 0, "body": { "link": { "nic": "x".repeat(1000), "up": true } } }))
    {
        assert!(begun.elapsed() < PATIENCE, "it is listened to without end");
    }
    assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
    assert!(has_room(&address));
}
