//! A day with 64 lanes, in virtual time: what it leaves behind is bounded, and no second of it is lost.

use pathproof_api::{LaneSample, Tick};
use pathproof_engine::control::{
    Accept, Client, ClientEvent, Go, HalfRoom, Hello, Input, Output, Patience, Ready, Server, ServerEvent,
};
use pathproof_engine::record::{LaneRecorder, SLICE_NS, Window, WorstSecond, slices_per_lane};
use pathproof_model::{
    End, Half, LaneResult, LaneRole, NodeId, ResultDoc, Step, StepKind, StepRequest, StepSpec, Tool,
    TrafficSpec,
};
use pathproof_report::{Json, Render};

const LANES: u32 = 64;
const DAY_NS: u64 = 86_400_000_000_000;
/// What a document of one step takes at most, however long it ran: stated in docs/RESULT-FORMAT.md.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// What a lane brings in the tenth of a second numbered `tenth`: something in every second, so that a debug build gets
/// through the day, and something in every tenth around a weak stretch of twelve, thirteen hours in and across the edges
/// of slices of every length.
fn bytes(tenth: u64, lane: u64) -> u64 {
    match tenth {
        468_003..468_015 => 3 + lane,
        467_900..468_100 => 100_000,
        _ if tenth.is_multiple_of(10) => 1_000_000 + tenth % 7,
        _ => 0,
    }
}

/// One end after the day, and the worst second as it counted it.
fn half(end: End) -> Half {
    let window = Window { start: Tick(5_000_000_000), end: Tick(5_000_000_000 + DAY_NS) };
    let most = slices_per_lane(LANES as usize);
    let (mut worst, places) = WorstSecond::new(DAY_NS, LANES as usize);
    let mut recorders: Vec<LaneRecorder> = places
        .into_iter()
        .map(|place| LaneRecorder::with_slices(window, most).contributing(Some(place)))
        .collect();
    for tenth in 0..DAY_NS / SLICE_NS {
        if bytes(tenth, 0) == 0 {
            continue;
        }
        let now = window.start.plus_ns(tenth * SLICE_NS);
        for (lane, recorder) in recorders.iter_mut().enumerate() {
            // The kernel is asked less often than it is in a real run, for the sake of a debug build.
            if tenth.is_multiple_of(600) && recorder.sample_due(now) {
                let sample =
                    LaneSample { retransmits: Some(tenth), rtt_ns: Some(7), ..LaneSample::default() };
                recorder.sample(now, sample, Some(tenth));
            }
            recorder.received(now, bytes(tenth, lane as u64));
        }
        worst.look();
    }
    let mut half = Half::default();
    for (lane, mut recorder) in recorders.into_iter().enumerate() {
        let (lane, sample) =
            (lane as u32, LaneSample { retransmits: Some(900_000), ..LaneSample::default() });
        recorder.sample(window.end, sample, Some(900_000));
        recorder.leave(window.end);
        let role = if end == End::Server { LaneRole::Receive } else { LaneRole::Send };
        half.lanes.push(LaneResult {
            lane,
            end,
            role,
            bytes: recorder.received_bytes(),
            window_ns: DAY_NS,
            retransmits: recorder.retransmits(),
            ..LaneResult::default()
        });
        half.intervals.extend(recorder.intervals(end, lane, window.end));
    }
    half.worst_second_bytes = worst.finish();
    half
}

/// Takes the server's half across in pieces, both machines having done the step before.
fn cross(spec: &StepSpec, half: Half) -> Half {
    let (mut client, mut server) =
        (Client::new(Patience::default()), Server::new(Tick(0), Patience::default()));
    let hello = Hello { tool: Tool::default(), plan: Default::default(), environment: Default::default() };
    client.hello(Tick(0), hello);
    let mut half = Some(half);
    let mut turned = false;
    loop {
        let mut quiet = true;
        while let Some(output) = client.poll() {
            quiet = false;
            match output {
                Output::Send(message) => server.handle(Tick(0), Input::Message(message)),
                Output::Event(ClientEvent::Accepted(_)) => {
                    let go = Go { step: 0, request: StepRequest::Facts, paths: vec![], offers: vec![] };
                    client.turn(Tick(0), Some(go), HalfRoom::default(), 0);
                }
                Output::Event(ClientEvent::Ready(_)) => client.turn(Tick(0), None, HalfRoom::of(spec), 0),
                Output::Event(ClientEvent::Half { half, .. }) => return *half,
                Output::Event(ClientEvent::Over(error)) => panic!("{error:?}"),
                _ => {}
            }
        }
        while let Some(output) = server.poll() {
            quiet = false;
            match output {
                Output::Send(message) => client.handle(Tick(0), Input::Message(message)),
                Output::Event(ServerEvent::Hello(_)) => server.accept(Tick(0), accept()),
                Output::Event(ServerEvent::Turn { .. }) if !turned => {
                    turned = true;
                    server.turned(Tick(0), None, Some(ready()));
                }
                Output::Event(ServerEvent::Turn { .. }) => server.turned(Tick(0), half.take(), None),
                _ => {}
            }
        }
        assert!(!quiet, "the half does not arrive");
    }
}

fn accept() -> Accept {
    Accept {
        tool: Tool::default(),
        granted: Default::default(),
        limits: Default::default(),
        environment: Default::default(),
        findings: vec![],
        session: String::new(),
        clock: None,
    }
}

fn ready() -> Ready {
    Ready { step: 0, offers: vec![], error: None, findings: vec![] }
}

#[test]
fn a_day_with_64_lanes_ends_with_a_document_of_bounded_size_and_its_worst_second() {
    let spec = StepSpec::Stream(TrafficSpec { lanes: LANES, time_ns: DAY_NS, ..TrafficSpec::default() });
    let (client, server) = (half(End::Client), cross(&spec, half(End::Server)));
    let mut step = Step::new(StepKind::Stream, "tcp stream out, 64 lanes");
    for half in [&client, &server] {
        step.lanes.extend(half.lanes.iter().cloned());
    }
    super::merge::merge(&spec, &mut step, &client, &server);

    let each = server.intervals.iter().filter(|i| i.lane == Some(63)).count();
    assert!((slices_per_lane(64) / 2 - 1..=slices_per_lane(64)).contains(&each), "{each} slices of a lane");
    let received = step.series.iter().find(|series| series.node == NodeId::SERVER).unwrap();
    assert_eq!(received.received_bytes.len(), each);
    let of_slices: u64 = received.carried().map(|slice| slice.bytes).sum();
    let tenths = DAY_NS / SLICE_NS;
    let of_all: u64 = (0..tenths).map(|tenth| (0..64).map(|lane| bytes(tenth, lane)).sum::<u64>()).sum();
    assert_eq!((Some(of_slices), of_slices), (step.summary.bytes, of_all));
    assert_eq!(received.retransmits.iter().flatten().sum::<u64>(), 64 * 900_000);
    // Ten of the twelve weak tenths.
    let weak = (0..64).map(|lane| 10 * (3 + lane)).sum::<u64>();
    assert_eq!(step.summary.goodput_worst_second_bits_per_s, Some(8 * weak));

    let mut doc = ResultDoc::new(Tool::default(), "2026-01-01T00:00:00Z");
    doc.steps.push(step);
    let mut bytes = Vec::new();
    Json.render(&doc, &mut bytes).unwrap();
    assert!(bytes.len() < DOCUMENT_BYTES_MAX, "{} bytes", bytes.len());
}
