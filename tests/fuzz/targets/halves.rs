//! The pieces of the server's half of a step: whatever they hold and in whatever order they come, the client takes no more than its
//! own plan has room for, and ends in an error or with a half.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_api::Tick;
use pathproof_engine::control::{
    Accept, Client, ClientEvent, Go, HalfPiece, HalfRoom, Hello, Input, Message, Output, Patience, Ready,
};
use pathproof_model::{Grant, PlanRequest, StepRequest, StepSpec, TrafficSpec};

/// A client that waits for the half of a step of one lane.
fn waiting(room: HalfRoom) -> Client {
    let now = Tick(0);
    let mut client = Client::new(Patience::default());
    let plan = PlanRequest { seed: 0, steps: vec![StepRequest::Facts] };
    client.hello(now, Hello { tool: Default::default(), plan, environment: Default::default() });
    let accept = Accept {
        clock: None,
        tool: Default::default(),
        granted: vec![Grant::default()],
        limits: Default::default(),
        environment: Default::default(),
        findings: vec![],
        session: "07".repeat(32),
    };
    client.handle(now, Input::Message(Box::new(Message::Accept(accept))));
    let go = Go { step: 0, request: StepRequest::Facts, paths: vec![], offers: vec![] };
    client.turn(now, Some(go), room, 0);
    let ready = Ready { step: 0, offers: vec![], error: None, findings: vec![] };
    let turned = pathproof_engine::control::Turned { half: None, ready: Some(ready) };
    client.handle(now, Input::Message(Box::new(Message::Turned(turned))));
    client.turn(now, None, room, 0);
    while client.poll().is_some() {}
    client
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(pieces) = serde_json::from_slice::<Vec<HalfPiece>>(bytes) else { return };
    let spec = StepSpec::Stream(TrafficSpec { lanes: 1, ..TrafficSpec::default() });
    let mut client = waiting(HalfRoom::of(&spec));
    let count = pieces.len() as u32;
    let end = pathproof_engine::control::Turned { half: Some(count), ready: None };
    let all = pieces.into_iter().map(Message::HalfPiece).chain([Message::Turned(end)]);
    for (number, message) in all.enumerate() {
        client.handle(Tick(number as u64), Input::Message(Box::new(message)));
        while let Some(output) = client.poll() {
            if let Output::Event(ClientEvent::Half { half, .. }) = output {
                assert!(half.lanes.len() <= 9 && half.intervals.len() <= 16_384, "more than there is room for");
            }
        }
    }
});
