//! Whole sessions in virtual time: two machines and a wire that carries, delays or loses messages.

use super::*;
use pathproof_api::Tick;
use pathproof_model::{ErrorKind, Half, Limits, PlanRequest, StepError, StepRequest};

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
    }
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
    wire.client.turn(wire.now, Some(go(0)), 0);
    wire.settle();
    wire.server.turned(wire.now, None, Some(ready(0)));
    wire.settle();
    wire.client.step_message(serde_json::json!("ping"));
    wire.settle();
    wire.client.turn(wire.now, Some(go(1)), 0);
    wire.settle();
    wire.server.turned(wire.now, Some(Half::default()), Some(ready(1)));
    wire.settle();
    wire.client.turn(wire.now, None, 0);
    wire.settle();
    wire.server.turned(wire.now, Some(Half::default()), None);
    wire.settle();
    wire.client.bye("");
    wire.settle();
    assert_eq!(
        wire.log,
        [">HELLO", "<ACCEPT", ">TURN", "<TURNED", ">STEP", ">TURN", "<TURNED", ">TURN", "<TURNED", ">BYE"]
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
    wire.client.turn(wire.now, Some(go(0)), 2_000_000_000);
    wire.settle();
    wire.next_timer();
    assert_eq!(wire.over().kind, ErrorKind::Timeout);
    assert_eq!(wire.now, Tick(17_000_000_000));

    // A client that says nothing costs the server a minute, not for ever; one that never greets, ten seconds.
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
    wire.client.turn(wire.now, Some(go(0)), 0);
    wire.settle();
    let error = StepError { kind: ErrorKind::Unsupported, message: "no device".into() };
    wire.server.turned(wire.now, None, Some(Ready { error: Some(error), ..ready(0) }));
    wire.settle();
    wire.client.turn(wire.now, Some(go(1)), 0);
    wire.settle();
    wire.server.turned(wire.now, None, Some(ready(1)));
    wire.settle();
    assert!(matches!(wire.client_events.last(), Some(ClientEvent::Ready(r)) if r.step == 1));
}

#[test]
fn what_comes_late_for_a_step_is_ignored_and_a_lost_peer_is_named() {
    let mut wire = Wire::new();
    wire.greet();
    let late = Message::Step { step: 7, body: serde_json::json!(1) };
    wire.client.handle(wire.now, Input::Message(Box::new(late)));
    wire.client.handle(wire.now, Input::Closed("reset by peer".into()));
    wire.settle();
    assert_eq!(wire.over().kind, ErrorKind::PeerLost);
    assert!(wire.over().message.contains("reset by peer"));
    let count = wire.client_events.len();
    wire.client.handle(wire.now, Input::Timer);
    wire.settle();
    assert_eq!(wire.client_events.len(), count, "nothing follows the end");
}
