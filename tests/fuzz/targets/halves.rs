//! The server's half of a step as its pieces come in: a client that waits for one takes anything, and keeps no more than
//! its own plan of the step can need.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_api::Tick;
use pathproof_engine::control::{
    Accept, Client, ClientEvent, Go, HalfRoom, Hello, Input, Message, Output, Patience, Ready, Turned,
};
use pathproof_model::{Environment, Limits, PlanRequest, StepRequest, StepSpec, Tool, TrafficSpec};

/// Tags of the messages that end a step (docs/PROTOCOL.md).
const TURNED: u8 = 5;
const HALF_PIECE: u8 = 11;

/// A client in the turn after a step, and what it allows of the half that it waits for.
fn waiting() -> (Client, HalfRoom) {
    let spec = StepSpec::Stream(TrafficSpec { lanes: 2, ..TrafficSpec::default() });
    let Ok(request) = StepRequest::of(&spec) else { unreachable!("a plain stream can be asked for") };
    let room = HalfRoom::of(&spec);
    let mut client = Client::new(Patience::default());
    let tell = |client: &mut Client, message| {
        client.handle(Tick(1), Input::Message(Box::new(message)));
        while client.poll().is_some() {}
    };
    client.hello(
        Tick(0),
        Hello { tool: Tool::default(), plan: PlanRequest::default(), environment: Environment::default() },
    );
    let accept = Accept {
        tool: Tool::default(),
        granted: vec![],
        limits: Limits::default(),
        environment: Environment::default(),
        findings: vec![],
        session: "00".repeat(32),
    };
    tell(&mut client, Message::Accept(accept));
    client.turn(Tick(1), Some(Go { step: 0, request, paths: vec![], offers: vec![] }), room, 0);
    let ready = Ready { step: 0, offers: vec![], error: None, findings: vec![] };
    tell(&mut client, Message::Turned(Turned { half: None, ready: Some(ready) }));
    client.turn(Tick(2), None, room, 0);
    while client.poll().is_some() {}
    (client, room)
}

fuzz_target!(|bytes: &[u8]| {
    let (mut client, room) = waiting();
    let mut halves = 0;
    // Frames are another target's affair: here a line is the body of a piece, or, behind a mark, of what ends them.
    for line in bytes.split(|byte| *byte == b'\n') {
        let (tag, body) = line.strip_prefix(b"!").map_or((HALF_PIECE, line), |body| (TURNED, body));
        let Ok(message) = Message::decode(tag, body) else { continue };
        client.handle(Tick(3), Input::Message(Box::new(message)));
        while let Some(output) = client.poll() {
            if let Output::Event(ClientEvent::Half { half, .. }) = output {
                halves += 1;
                assert!(half.lanes.len() <= room.lanes && half.histograms.len() <= room.histograms);
                assert!(half.intervals.len() <= room.slices);
            }
        }
    }
    assert!(halves <= 1, "one step has one half of its server's");
});
