//! Whole sessions in virtual time: two machines and a wire that carries, delays or loses messages.

use super::preamble::REVISION;
use super::*;
use pathproof_api::Tick;
use pathproof_model::{
    End, ErrorCause, ErrorKind, Half, Interval, LaneResult, Limits, PlanRequest, StepError, StepRequest,
    StepSpec, TrafficSpec,
};

/// A client, a server and a clock that only the test moves.
struct Wire {
    client: Client,
    server: Server,
    now: Tick,
    client_timer: Option<Tick>,
    server_timer: Option<Tick>,
    client_events: Vec<ClientEvent>,
    server_events: Vec<ServerEvent>,
    /// Messages by name in the order sent, `>` from the client.
    log: Vec<String>,
    cut: bool,
}

impl Wire {
    fn new() -> Wire {
        Wire {
            client: Client::new(Patience::default()),
            server: Server::new(Tick(0), Patience::default()),
            now: Tick(0),
            client_timer: None,
            server_timer: None,
            client_events: vec![],
            server_events: vec![],
            log: vec![],
            cut: false,
        }
    }

    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.client.poll() {
                quiet = false;
                match output {
                    Output::Send(m) => {
                        self.log.push(format!(">{}", m.name()));
                        if !self.cut {
                            self.server.handle(self.now, Input::Message(m));
                        }
                    }
                    Output::Arm(at) => self.client_timer = Some(at),
                    Output::Event(e) => self.client_events.push(e),
                }
            }
            while let Some(output) = self.server.poll() {
                quiet = false;
                match output {
                    Output::Send(m) => {
                        self.log.push(format!("<{}", m.name()));
                        if !self.cut {
                            self.client.handle(self.now, Input::Message(m));
                        }
                    }
                    Output::Arm(at) => self.server_timer = Some(at),
                    Output::Event(e) => self.server_events.push(e),
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Moves time to the next armed timer and fires it.
    fn next_timer(&mut self) {
        let at =
            [self.client_timer, self.server_timer].into_iter().flatten().min().expect("a timer is armed");
        self.now = at;
        if self.client_timer == Some(at) {
            self.client_timer = None;
            self.client.handle(at, Input::Timer);
        }
        if self.server_timer == Some(at) {
            self.server_timer = None;
            self.server.handle(at, Input::Timer);
        }
        self.settle();
    }

    fn greet(&mut self) {
        self.client.hello(self.now, hello());
        self.settle();
        self.server.accept(self.now, accept());
        self.settle();
    }

    fn over(&self) -> &StepError {
        match self.client_events.last() {
            Some(ClientEvent::Over(error)) => error,
            other => panic!("the session is not over but at {other:?}"),
        }
    }
}

fn hello() -> Hello {
    Hello { tool: Default::default(), plan: PlanRequest::default(), environment: Default::default() }
}

fn accept() -> Accept {
    Accept {
        tool: Default::default(),
        granted: vec![],
        limits: Limits::default(),
        environment: Default::default(),
        findings: vec![],
        session: "00".into(),
        clock: None,
    }
}

fn room() -> HalfRoom {
    HalfRoom::of(&StepSpec::Facts)
}

fn go(step: u32) -> Go {
    Go { step, request: StepRequest::Facts, paths: vec![], offers: vec![] }
}

fn ready(step: u32) -> Ready {
    Ready { step, offers: vec![], error: None, findings: vec![] }
}

#[test]
fn a_session_takes_one_round_trip_for_each_step() {
    let mut wire = Wire::new();
    wire.greet();
    wire.client.turn(wire.now, Some(go(0)), room(), 0);
    wire.settle();
    wire.server.turned(wire.now, None, Some(ready(0)));
    wire.settle();
    wire.client.step_message(StepMessage::Ping(1));
    wire.settle();
    wire.client.turn(wire.now, Some(go(1)), room(), 0);
    wire.settle();
    wire.server.turned(wire.now, Some(Half::default()), Some(ready(1)));
    wire.settle();
    wire.client.turn(wire.now, None, room(), 0);
    wire.settle();
    wire.server.turned(wire.now, Some(Half::default()), None);
    wire.settle();
    wire.client.bye("");
    wire.settle();
    assert_eq!(
        wire.log,
        [
            ">HELLO",
            "<ACCEPT",
            ">TURN",
            "<TURNED",
            ">STEP",
            ">TURN",
            "<HALF-PIECE",
            "<TURNED",
            ">HALF-TAKEN",
            ">TURN",
            "<HALF-PIECE",
            "<TURNED",
            ">HALF-TAKEN",
            ">BYE"
        ]
    );
    assert_eq!(wire.server_events.last(), Some(&ServerEvent::Over(None)));
    let halves = wire.client_events.iter().filter(|e| matches!(e, ClientEvent::Half { .. })).count();
    assert_eq!(halves, 2);
}

#[test]
fn all_reasons_of_a_refusal_arrive() {
    let mut wire = Wire::new();
    wire.client.hello(wire.now, hello());
    wire.settle();
    wire.server.reject(vec!["too many clients".into(), "too many lanes".into()]);
    wire.settle();
    let expected = Reject { reasons: vec!["too many clients".into(), "too many lanes".into()] };
    assert_eq!(wire.client_events, [ClientEvent::Rejected(expected)]);
}

#[test]
fn every_wait_has_a_deadline() {
    // The server never answers the greeting.
    let mut wire = Wire::new();
    wire.cut = true;
    wire.client.hello(wire.now, hello());
    wire.settle();
    wire.next_timer();
    assert_eq!(wire.over().kind, ErrorKind::Timeout);
    assert_eq!(wire.now, Tick(10_000_000_000));

    // The server never answers a turn.
    let mut wire = Wire::new();
    wire.greet();
    wire.cut = true;
    wire.client.turn(wire.now, Some(go(0)), room(), 2_000_000_000);
    wire.settle();
    wire.next_timer();
    assert_eq!(wire.over().kind, ErrorKind::Timeout);
    assert_eq!(wire.now, Tick(17_000_000_000));

    // A client that says nothing costs the server a minute, not forever; one that never greets, ten seconds.
    let mut wire = Wire::new();
    wire.settle();
    wire.next_timer();
    assert!(
        matches!(wire.server_events.last(), Some(ServerEvent::Over(Some(e))) if e.kind == ErrorKind::Timeout)
    );
    let mut wire = Wire::new();
    wire.greet();
    while wire.server_timer.is_some() {
        wire.next_timer();
    }
    assert!(
        matches!(wire.server_events.last(), Some(ServerEvent::Over(Some(e))) if e.kind == ErrorKind::Timeout)
    );
}

#[test]
fn messages_out_of_turn_end_the_session_and_say_which() {
    let mut wire = Wire::new();
    wire.greet();
    wire.client.handle(wire.now, Input::Message(Box::new(Message::Hello(hello()))));
    wire.settle();
    assert_eq!(wire.over().kind, ErrorKind::Protocol);
    assert!(wire.over().message.contains("HELLO"));

    let mut wire = Wire::new();
    wire.server.handle(wire.now, Input::Message(Box::new(Message::Turn(Turn { ended: None, go: None }))));
    wire.settle();
    assert!(
        matches!(wire.server_events.last(), Some(ServerEvent::Over(Some(e))) if e.message.contains("TURN"))
    );
}

#[test]
fn a_client_that_comes_back_is_told_apart_and_only_at_the_beginning() {
    let resume = || Box::new(Message::Resume(Resume { token: "ab".into(), seen: 3 }));
    let mut wire = Wire::new();
    wire.server.handle(wire.now, Input::Message(resume()));
    wire.settle();
    let expected = ServerEvent::Resume(Resume { token: "ab".into(), seen: 3 });
    assert_eq!(wire.server_events, [expected]);
    wire.server.handle(wire.now, Input::Timer);
    wire.settle();
    assert_eq!(wire.server_events.len(), 1, "the connection belongs to another session now");

    let mut wire = Wire::new();
    wire.greet();
    wire.server.handle(wire.now, Input::Message(resume()));
    wire.settle();
    assert!(
        matches!(wire.server_events.last(), Some(ServerEvent::Over(Some(e))) if e.message.contains("RESUME"))
    );
}

#[test]
fn a_step_that_the_server_cannot_do_leaves_the_session_alive() {
    let mut wire = Wire::new();
    wire.greet();
    wire.client.turn(wire.now, Some(go(0)), room(), 0);
    wire.settle();
    let error = StepError::new(ErrorKind::Unsupported, "no device".into());
    wire.server.turned(wire.now, None, Some(Ready { error: Some(error), ..ready(0) }));
    wire.settle();
    wire.client.turn(wire.now, Some(go(1)), room(), 0);
    wire.settle();
    wire.server.turned(wire.now, None, Some(ready(1)));
    wire.settle();
    assert!(matches!(wire.client_events.last(), Some(ClientEvent::Ready(r)) if r.step == 1));
}

#[test]
fn what_comes_late_for_a_step_is_ignored_and_a_lost_peer_is_named() {
    let mut wire = Wire::new();
    wire.greet();
    let late = Message::Step { step: 7, body: StepMessage::Done };
    wire.client.handle(wire.now, Input::Message(Box::new(late)));
    let cause = Some(ErrorCause::Reset);
    wire.client.handle(wire.now, Input::Closed { how: "reset by peer".into(), cause });
    wire.settle();
    assert_eq!(wire.over().kind, ErrorKind::PeerLost);
    assert!(wire.over().message.contains("reset by peer"));
    assert_eq!(wire.over().cause, cause);
    let count = wire.client_events.len();
    wire.client.handle(wire.now, Input::Timer);
    wire.settle();
    assert_eq!(wire.client_events.len(), count, "nothing follows the end");
}

/// The server alone knows that what came to it was changed; whoever reads the answer is at the client.
#[test]
fn a_client_hears_that_its_messages_came_changed_and_a_server_that_was_lost_says_nothing() {
    let mut wire = Wire::new();
    wire.greet();
    let (how, cause) = ("other bytes than were sent".to_owned(), Some(ErrorCause::Changed));
    wire.server.handle(wire.now, Input::Closed { how, cause });
    wire.settle();
    assert_eq!((wire.over().kind, wire.over().cause), (ErrorKind::PeerLost, cause));
    assert!(wire.over().message.contains("other bytes than were sent"), "{}", wire.over().message);

    let mut wire = Wire::new();
    wire.greet();
    wire.server
        .handle(wire.now, Input::Closed { how: "it was closed".into(), cause: Some(ErrorCause::Closed) });
    wire.settle();
    assert_eq!(wire.log.last().map(String::as_str), Some("<ACCEPT"), "there is nobody to say it to");
}

/// A half that was 42 MB as one message, more than the 32 MiB that one could have.
fn large_half() -> (TrafficSpec, Half) {
    let spec = TrafficSpec { lanes: 256, ..TrafficSpec::default() };
    let lane = |lane| LaneResult {
        lane,
        end: End::Server,
        role: pathproof_model::LaneRole::Receive,
        ..LaneResult::default()
    };
    let slice = |lane: u32, n: u64| Interval {
        end: End::Server,
        lane: Some(lane),
        start_ns: n * 100_000_000,
        length_ns: 100_000_000,
        received_bytes: 117_964_800 + n,
        messages: 1800,
        rtt_ns: Some(1_234_567),
        ..Interval::default()
    };
    let half = Half {
        lanes: (0..256).map(lane).collect(),
        intervals: (0..256).flat_map(|l| (0..600).map(move |n| slice(l, n))).collect(),
        ..Half::default()
    };
    (spec, half)
}

/// Both machines at the ends of their journals, with a wire that can lose what is on the way.
struct Journals {
    client: (Client, Journal),
    server: (Server, Journal),
    /// Frames on the way to the client and to the server.
    inward: std::collections::VecDeque<Vec<u8>>,
    outward: std::collections::VecDeque<Vec<u8>>,
    half: Option<Half>,
    over: Option<StepError>,
    delivered: bool,
}

impl Journals {
    /// A session whose step 0 has ended, with room for so many slices of the half.
    fn ended(room: HalfRoom, half: Half) -> Journals {
        let mut wire = Wire::new();
        wire.greet();
        wire.client.turn(wire.now, Some(go(0)), room, 0);
        wire.settle();
        wire.server.turned(wire.now, None, Some(ready(0)));
        wire.settle();
        let mut ends = Journals {
            client: (wire.client, Journal::new()),
            server: (wire.server, Journal::new()),
            inward: Default::default(),
            outward: Default::default(),
            half: None,
            over: None,
            delivered: false,
        };
        ends.client.0.turn(Tick(0), None, room, 0);
        ends.speak();
        let turn = ends.outward.pop_front().unwrap();
        ends.server_hears(Tick(0), &turn);
        ends.server.0.turned(Tick(0), Some(half), None);
        ends.speak();
        ends
    }

    fn speak(&mut self) {
        while let Some(output) = self.client.0.poll() {
            match output {
                Output::Send(m) => self.outward.push_back(self.client.1.say(&m).unwrap().to_vec()),
                Output::Event(ClientEvent::Half { half, .. }) => self.half = Some(*half),
                Output::Event(ClientEvent::Over(error)) => self.over = Some(error),
                _ => {}
            }
        }
        while let Some(output) = self.server.0.poll() {
            match output {
                Output::Send(m) => self.inward.push_back(self.server.1.say(&m).unwrap().to_vec()),
                Output::Event(ServerEvent::Delivered) => self.delivered = true,
                _ => {}
            }
        }
    }

    fn client_hears(&mut self, now: Tick, frame: &[u8]) {
        let (seen, message) = read(frame);
        assert!(self.client.1.hear(seen));
        self.client.0.handle(now, Input::Message(Box::new(message)));
        self.speak();
    }

    fn server_hears(&mut self, now: Tick, frame: &[u8]) {
        let (seen, message) = read(frame);
        assert!(self.server.1.hear(seen));
        self.server.0.handle(now, Input::Message(Box::new(message)));
        self.speak();
    }

    /// The connection dies with all that is on it, and another takes over.
    fn resume(&mut self) {
        let again = self.server.1.resume(self.client.1.received()).unwrap().map(<[u8]>::to_vec).collect();
        self.inward = again;
        let again = self.client.1.resume(self.server.1.received()).unwrap().map(<[u8]>::to_vec).collect();
        self.outward = again;
    }
}

fn read(frame: &[u8]) -> (u32, Message) {
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
    decoder.push(frame);
    decoder.next_message().unwrap().unwrap()
}

#[test]
fn a_half_larger_than_any_message_crosses_a_slow_path_that_breaks_now_and_then() {
    let (spec, half) = large_half();
    assert!(serde_json::to_vec(&half).unwrap().len() > 32 << 20, "it would have crossed as one");
    let room = HalfRoom { slices: 256 * 600, bytes: 64 << 20, ..HalfRoom::of(&StepSpec::Stream(spec)) };
    let mut ends = Journals::ended(room, half.clone());
    let (mut now, mut frames) = (Tick(0), 0u32);
    while ends.half.is_none() {
        assert_eq!(ends.over, None);
        // Each piece takes ten seconds: the whole is far beyond the patience for one answer.
        now = now.plus_ns(10_000_000_000);
        ends.client.0.handle(now, Input::Timer);
        ends.server.0.handle(now, Input::Timer);
        ends.speak();
        frames += 1;
        if frames.is_multiple_of(50) {
            ends.resume();
        }
        let on_the_way: usize = ends.inward.iter().map(Vec::len).sum();
        assert!(on_the_way < 512 << 10, "{on_the_way} bytes are on the way at once");
        assert!(
            ends.server.1.resume(ends.client.1.received()).unwrap().map(<[u8]>::len).sum::<usize>()
                < 512 << 10
        );
        if let Some(frame) = ends.inward.pop_front() {
            ends.client_hears(now, &frame);
        }
        while let Some(frame) = ends.outward.pop_front() {
            ends.server_hears(now, &frame);
        }
    }
    assert!(ends.delivered && frames > 100, "{frames}");
    assert_eq!(ends.half, Some(half));
}

#[test]
fn a_half_that_stops_coming_or_being_taken_ends_in_time() {
    let (spec, half) = large_half();
    let room = HalfRoom { slices: 256 * 600, bytes: 64 << 20, ..HalfRoom::of(&StepSpec::Stream(spec)) };
    let mut ends = Journals::ended(room, half);
    let piece = ends.inward.pop_front().unwrap();
    ends.client_hears(Tick(14_000_000_000), &piece);
    ends.client.0.handle(Tick(28_000_000_000), Input::Timer);
    ends.speak();
    assert_eq!(ends.over, None, "the last piece came 14 s ago");
    ends.client.0.handle(Tick(30_000_000_000), Input::Timer);
    ends.speak();
    assert_eq!(ends.over.take().unwrap().kind, ErrorKind::Timeout);
    ends.inward.clear();
    ends.server.0.handle(Tick(16_000_000_000), Input::Timer);
    ends.speak();
    let (_, bye) = read(&ends.inward.pop_front().unwrap());
    assert!(matches!(bye, Message::Bye { kind: Some(ErrorKind::Timeout), .. }), "{bye:?}");
}

#[test]
fn a_half_beyond_the_plan_is_a_limit_of_ours_and_no_lost_peer() {
    let (_, half) = large_half();
    let spec = TrafficSpec { lanes: 4, ..TrafficSpec::default() };
    let mut ends = Journals::ended(HalfRoom::of(&StepSpec::Stream(spec)), half);
    while let (None, Some(frame)) = (&ends.over, ends.inward.pop_front()) {
        ends.client_hears(Tick(1), &frame);
        while let Some(frame) = ends.outward.pop_front() {
            ends.server_hears(Tick(1), &frame);
        }
    }
    assert_eq!(ends.over.unwrap().kind, ErrorKind::Resource);
}

#[test]
fn a_peer_that_says_why_it_leaves_is_not_lost() {
    let mut wire = Wire::new();
    wire.greet();
    let error = StepError::new(ErrorKind::Resource, "too large to cross".into());
    wire.server.handle(wire.now, Input::Broken(error));
    wire.settle();
    assert_eq!(wire.over().kind, ErrorKind::Resource);
    assert!(wire.over().message.contains("too large to cross"));
}

/// What another program would be written by.
const PAGE: &str = include_str!("../../../../docs/PROTOCOL.md");

#[test]
fn the_page_on_the_protocol_has_every_message_and_no_other() {
    for tag in 0..=u8::MAX {
        let why = Message::decode(tag, b"").unwrap_err();
        let name = why.strip_prefix("a ").and_then(|why| why.split_once(" message cannot be read"));
        // Other tables begin with a number as well.
        let from = |line: &&str| {
            ["client", "server", "either"].iter().any(|end| line.contains(&format!(" | {end} | ")))
        };
        let row = PAGE.lines().filter(from).find(|line| line.starts_with(&format!("| {tag} | ")));
        match name {
            Some((name, _)) => {
                let begin = format!("| {tag} | {name} | ");
                assert!(row.is_some_and(|row| row.starts_with(&begin)), "docs/PROTOCOL.md has no {begin}");
            }
            None => assert_eq!(row, None, "there is no message {tag}"),
        }
    }
}

#[test]
fn the_page_on_the_protocol_has_every_revision_and_the_highest() {
    assert!(PAGE.contains(&format!("this build: {REVISION} |")), "2.{REVISION} is spoken");
    for revision in 1..=u8::MAX {
        let told = PAGE.lines().any(|line| line.starts_with(&format!("| 2.{revision} | ")));
        assert_eq!(told, revision <= REVISION, "2.{revision}");
    }
}
