//! The server's side of a session: be greeted, follow turns, be left.

use std::collections::VecDeque;

use pathproof_api::Tick;
use pathproof_model::{ErrorKind, Half, StepError};

use super::pieces::Outgoing;
use super::{
    Accept, Go, Hello, Input, Message, Output, Patience, Ready, Reject, Resume, StepMessage, Turned,
};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// A client greeted; answer with [`Server::accept`] or [`Server::reject`].
    Hello(Box<Hello>),
    /// A client whose connection was lost comes back on this one. Nothing follows: the session that it names
    /// takes the connection over.
    Resume(Resume),
    /// The client ended the running step and wants the server's half and then, if there is one, the next
    /// step; answer with [`Server::turned`].
    Turn {
        /// Which step ended.
        ended: Option<u32>,
        /// The next one.
        go: Option<Box<Go>>,
    },
    /// What was told with [`Server::turned`] has been sent as a whole: the next step may begin.
    Delivered,
    /// A message of the running step.
    Step(StepMessage),
    /// The client's part of the running step failed.
    PeerFailed(StepError),
    /// The client left, or was lost. Nothing follows. `None` when all is well.
    Over(Option<StepError>),
}

#[derive(Debug, PartialEq)]
enum State {
    Waiting {
        until: Tick,
    },
    Greeted,
    Idle {
        until: Tick,
    },
    Turning {
        ended: Option<u32>,
        go: Option<u32>,
    },
    /// The half goes out, piece by piece; the answer to the turn follows it.
    Handing {
        half: Box<Outgoing>,
        ready: Option<Box<Ready>>,
        until: Tick,
    },
    Running {
        step: u32,
    },
    Over,
}

/// The server's state machine.
#[derive(Debug)]
pub struct Server {
    state: State,
    patience: Patience,
    out: VecDeque<Output<ServerEvent>>,
}

impl Server {
    /// A machine for a connection that was just made.
    pub fn new(now: Tick, patience: Patience) -> Server {
        let until = now.plus_ns(patience.hello_ns);
        let mut server = Server { state: State::Waiting { until }, patience, out: VecDeque::new() };
        server.out.push_back(Output::Arm(until));
        server
    }

    /// What to do next, until `None`.
    pub fn poll(&mut self) -> Option<Output<ServerEvent>> {
        self.out.pop_front()
    }

    /// Consents to the greeting.
    pub fn accept(&mut self, now: Tick, accept: Accept) {
        debug_assert_eq!(self.state, State::Greeted);
        self.send(Message::Accept(accept));
        self.idle(now);
    }

    /// Refuses the greeting.
    pub fn reject(&mut self, reasons: Vec<String>) {
        self.send(Message::Reject(Reject { reasons }));
        self.state = State::Over;
        self.out.push_back(Output::Event(ServerEvent::Over(None)));
    }

    /// Answers a turn. [`ServerEvent::Delivered`] follows when the client has, or is about to have, all of it.
    pub fn turned(&mut self, now: Tick, half: Option<Half>, ready: Option<Ready>) {
        let State::Turning { ended, go } = self.state else { return };
        debug_assert_eq!(ended.is_some(), half.is_some());
        debug_assert_eq!(go, ready.as_ref().map(|r| r.step));
        match ended.zip(half) {
            Some((step, half)) => {
                let until = now.plus_ns(self.patience.turn_ns);
                let half = Box::new(Outgoing::new(step, half));
                self.state = State::Handing { half, ready: ready.map(Box::new), until };
                self.hand_over(now);
            }
            None => self.answer(now, None, ready),
        }
    }

    /// Sends as many pieces as may be on the way, and the answer after the last.
    fn hand_over(&mut self, now: Tick) {
        let State::Handing { half, ready, until } = &mut self.state else { return };
        while let Some(piece) = half.next() {
            self.out.push_back(Output::Send(Box::new(Message::HalfPiece(piece))));
        }
        match half.all_sent() {
            Some(count) => {
                let ready = ready.take().map(|ready| *ready);
                self.answer(now, Some(count), ready);
            }
            None => self.out.push_back(Output::Arm(*until)),
        }
    }

    fn answer(&mut self, now: Tick, half: Option<u32>, ready: Option<Ready>) {
        match ready.as_ref().filter(|r| r.error.is_none()).map(|r| r.step) {
            Some(step) => self.state = State::Running { step },
            None => self.idle(now),
        }
        self.send(Message::Turned(Turned { half, ready }));
        self.event(ServerEvent::Delivered);
    }

    /// Sends a message to the other half of the running step.
    pub fn step_message(&mut self, body: StepMessage) {
        if let State::Running { step } = self.state {
            self.send(Message::Step { step, body });
        }
    }

    /// Tells the client that this end of the running step failed.
    pub fn fail(&mut self, error: StepError) {
        if let State::Running { step } = self.state {
            self.send(Message::Fail { step, error });
        }
    }

    /// Ends the session from this side.
    pub fn bye(&mut self, reason: &str) {
        if self.state != State::Over {
            self.send(Message::Bye { reason: reason.into(), kind: None, cause: None });
            self.state = State::Over;
        }
    }

    /// Tells the machine what happened.
    pub fn handle(&mut self, now: Tick, input: Input) {
        if self.state == State::Over {
            return;
        }
        match input {
            Input::Closed { how, cause } => {
                let message = format!("the connection of the client ended: {how}");
                let error = StepError::new(ErrorKind::PeerLost, message).caused_by(cause);
                // It carries to the client still, which has no other way to hear of what became of its messages.
                if error.tells_of_changed_bytes() {
                    self.send(Message::Bye { reason: how, kind: Some(error.kind), cause });
                }
                self.end(error);
            }
            // What this end gives up for is no way in which the client went.
            Input::Broken(StepError { kind, message, cause: _ }) => {
                self.leave(kind, message);
            }
            Input::Timer => match self.state {
                State::Waiting { until } | State::Idle { until } | State::Handing { until, .. }
                    if now < until =>
                {
                    self.out.push_back(Output::Arm(until));
                }
                State::Waiting { .. } => self.over(ErrorKind::Timeout, "no greeting came in time".into()),
                State::Idle { .. } => {
                    self.leave(ErrorKind::Timeout, "the client was silent for too long".into());
                }
                State::Handing { .. } => {
                    let reason = "the client stopped taking the result of the step";
                    self.leave(ErrorKind::Timeout, reason.into());
                }
                _ => {}
            },
            Input::Message(message) => self.message(now, *message),
        }
    }

    fn message(&mut self, now: Tick, message: Message) {
        let name = message.name();
        match (&mut self.state, message) {
            (State::Waiting { .. }, Message::Hello(hello)) => {
                self.state = State::Greeted;
                self.event(ServerEvent::Hello(Box::new(hello)));
            }
            (State::Waiting { .. }, Message::Resume(resume)) => {
                self.state = State::Over;
                self.event(ServerEvent::Resume(resume));
            }
            (State::Idle { .. }, Message::Turn(turn)) if turn.ended.is_none() => {
                self.state = State::Turning { ended: None, go: turn.go.as_ref().map(|g| g.step) };
                self.event(ServerEvent::Turn { ended: None, go: turn.go.map(Box::new) });
            }
            (State::Running { step }, Message::Turn(turn)) if turn.ended == Some(*step) => {
                self.state = State::Turning { ended: turn.ended, go: turn.go.as_ref().map(|g| g.step) };
                self.event(ServerEvent::Turn { ended: turn.ended, go: turn.go.map(Box::new) });
            }
            (State::Running { step: ours }, Message::Step { step, body }) if *ours == step => {
                self.event(ServerEvent::Step(body));
            }
            (State::Running { step: ours }, Message::Fail { step, error }) if *ours == step => {
                self.event(ServerEvent::PeerFailed(error));
            }
            (State::Handing { half, until, .. }, Message::HalfTaken { step, taken })
                if half.step() == step =>
            {
                if !half.confirm(taken) {
                    let reason = "the client confirmed more of the result than it was sent";
                    return self.leave(ErrorKind::Protocol, reason.into());
                }
                *until = now.plus_ns(self.patience.turn_ns);
                self.hand_over(now);
            }
            // Confirmations of the last pieces come when the answer to the turn has gone out.
            (_, Message::Step { .. } | Message::Fail { .. } | Message::HalfTaken { .. }) => {}
            (_, Message::Bye { reason, kind, cause }) => {
                self.state = State::Over;
                let error = (!reason.is_empty()).then(|| {
                    StepError::new(
                        kind.unwrap_or(ErrorKind::PeerLost),
                        format!("the client ended the session: {reason}"),
                    )
                    .caused_by(cause)
                });
                self.event(ServerEvent::Over(error));
            }
            _ => {
                self.leave(ErrorKind::Protocol, format!("the client sent {name} out of turn"));
            }
        }
    }

    fn idle(&mut self, now: Tick) {
        let until = now.plus_ns(self.patience.idle_ns);
        self.state = State::Idle { until };
        self.out.push_back(Output::Arm(until));
    }
    fn send(&mut self, message: Message) {
        self.out.push_back(Output::Send(Box::new(message)));
    }
    fn event(&mut self, event: ServerEvent) {
        self.out.push_back(Output::Event(event));
    }
    /// Ends the session for a reason that the client is told.
    fn leave(&mut self, kind: ErrorKind, message: String) {
        self.send(Message::Bye { reason: message.clone(), kind: Some(kind), cause: None });
        self.over(kind, message);
    }
    fn over(&mut self, kind: ErrorKind, message: String) {
        self.end(StepError::new(kind, message));
    }
    fn end(&mut self, error: StepError) {
        self.state = State::Over;
        self.event(ServerEvent::Over(Some(error)));
    }
}
