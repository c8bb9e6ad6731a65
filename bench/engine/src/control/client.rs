//! The client's side of a session: greet, take turns, leave.

use std::collections::VecDeque;

use pathproof_api::Tick;
use pathproof_model::{ErrorKind, Half, StepError};

use super::pieces::Incoming;
use super::{
    Accept, Go, HalfRoom, Hello, Input, Message, Output, Patience, Ready, Reject, StepMessage, Turn, Turned,
};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server accepted.
    Accepted(Box<Accept>),
    /// The server refused.
    Rejected(Reject),
    /// The server is ready for (or cannot do) the step.
    Ready(Box<Ready>),
    /// A piece of the server's half has come: whoever waits for the whole may wait on.
    Piece,
    /// The server's half of a step.
    Half {
        /// Which step.
        step: u32,
        /// The half.
        half: Box<Half>,
    },
    /// A message of the running step.
    Step(StepMessage),
    /// The server's part of the running step failed.
    PeerFailed(StepError),
    /// The session is over, for this reason. Nothing follows.
    Over(StepError),
}

#[derive(Debug, PartialEq)]
enum State {
    New,
    Greeting { until: Tick },
    Idle,
    Turning { ended: Option<Box<Incoming>>, go: Option<u32>, until: Tick },
    Running { step: u32 },
    Over,
}

/// The client's state machine.
#[derive(Debug)]
pub struct Client {
    state: State,
    patience: Patience,
    out: VecDeque<Output<ClientEvent>>,
}

impl Client {
    /// A machine that has said nothing yet.
    pub fn new(patience: Patience) -> Client {
        Client { state: State::New, patience, out: VecDeque::new() }
    }

    /// What to do next, until `None`.
    pub fn poll(&mut self) -> Option<Output<ClientEvent>> {
        self.out.pop_front()
    }

    /// Sends the greeting.
    pub fn hello(&mut self, now: Tick, hello: Hello) {
        debug_assert_eq!(self.state, State::New, "one greeting for each session");
        let until = now.plus_ns(self.patience.hello_ns);
        self.send(Message::Hello(hello));
        self.arm(until);
        self.state = State::Greeting { until };
    }

    /// Ends the running step (if one runs) and goes on with the next (if there is one): one round trip.
    /// `room` is how much of the server's half of the step that ends is kept; `extra_ns` is how long the server may need
    /// beyond the usual patience to finish it.
    pub fn turn(&mut self, now: Tick, go: Option<Go>, room: HalfRoom, extra_ns: u64) {
        let ended = match self.state {
            State::Running { step } => Some(step),
            State::Idle => None,
            _ => return self.over(ErrorKind::Protocol, "a turn was asked for out of turn".into()),
        };
        let until = now.plus_ns(self.patience.turn_ns.saturating_add(extra_ns));
        let next = go.as_ref().map(|g| g.step);
        self.send(Message::Turn(Turn { ended, go }));
        self.arm(until);
        let ended = ended.map(|step| Box::new(Incoming::new(step, room)));
        self.state = State::Turning { ended, go: next, until };
    }

    /// Sends a message to the other half of the running step.
    pub fn step_message(&mut self, body: StepMessage) {
        if let State::Running { step } = self.state {
            self.send(Message::Step { step, body });
        }
    }

    /// Tells the server that this end of the running step failed.
    pub fn fail(&mut self, error: StepError) {
        if let State::Running { step } = self.state {
            self.send(Message::Fail { step, error });
        }
    }

    /// Leaves.
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
                let message = format!("the control connection to the peer ended: {how}");
                self.end(StepError::new(ErrorKind::PeerLost, message).caused_by(cause));
            }
            Input::Broken(error) => self.end(error),
            Input::Timer => self.timer(now),
            Input::Message(message) => self.message(now, *message),
        }
    }

    fn timer(&mut self, now: Tick) {
        match self.state {
            State::Greeting { until } | State::Turning { until, .. } if now < until => self.arm(until),
            State::Greeting { .. } => self.over(
                ErrorKind::Timeout,
                format!(
                    "the peer did not answer the greeting within {} s; it may be overloaded or stopped",
                    self.patience.hello_ns / 1_000_000_000
                ),
            ),
            State::Turning { .. } => self.over(
                ErrorKind::Timeout,
                "the peer stopped answering between steps; look at its log and run again".into(),
            ),
            _ => {}
        }
    }

    fn message(&mut self, now: Tick, message: Message) {
        let name = message.name();
        match (&mut self.state, message) {
            (State::Greeting { .. }, Message::Accept(accept)) => {
                self.state = State::Idle;
                self.event(ClientEvent::Accepted(Box::new(accept)));
            }
            (State::Greeting { .. }, Message::Reject(reject)) => {
                self.state = State::Over;
                self.event(ClientEvent::Rejected(reject));
            }
            (State::Turning { ended: Some(incoming), until, .. }, Message::HalfPiece(piece)) => {
                let step = piece.step;
                match incoming.take(piece) {
                    Ok(taken) => {
                        // A large half over a slow path takes as long as it takes, while pieces keep coming.
                        *until = now.plus_ns(self.patience.turn_ns).max(*until);
                        let until = *until;
                        self.arm(until);
                        self.send(Message::HalfTaken { step, taken });
                        self.event(ClientEvent::Piece);
                    }
                    Err(error) => self.end(error),
                }
            }
            (State::Turning { ended, go, .. }, Message::Turned(Turned { half, ready })) => {
                let (ended, go) = (ended.take(), *go);
                if ended.is_some() != half.is_some() || go != ready.as_ref().map(|r| r.step) {
                    return self.over(ErrorKind::Protocol, "the peer answered another turn than ours".into());
                }
                if let (Some(incoming), Some(count)) = (ended, half) {
                    let step = incoming.step();
                    match incoming.finish(count) {
                        Ok(half) => self.event(ClientEvent::Half { step, half: Box::new(half) }),
                        Err(error) => return self.end(error),
                    }
                }
                self.state = State::Idle;
                if let Some(ready) = ready {
                    if ready.error.is_none() {
                        self.state = State::Running { step: ready.step };
                    }
                    self.event(ClientEvent::Ready(Box::new(ready)));
                }
            }
            (State::Running { step: ours }, Message::Step { step, body }) if *ours == step => {
                self.event(ClientEvent::Step(body));
            }
            (State::Running { step: ours }, Message::Fail { step, error }) if *ours == step => {
                self.event(ClientEvent::PeerFailed(error));
            }
            // The server may say something about a step that we have just ended: late, not wrong.
            (_, Message::Step { .. } | Message::Fail { .. }) => {}
            (_, Message::Bye { reason, kind, cause }) => {
                let why = if reason.is_empty() { "it gave no reason".into() } else { reason };
                // A peer that says why it cannot go on is not lost, and its reason is not the path's; how the connection ended for it
                // may be.
                let kind = kind.unwrap_or(ErrorKind::PeerLost);
                let message = format!("the peer ended the session: {why}");
                self.end(StepError::new(kind, message).caused_by(cause));
            }
            _ => self.over(ErrorKind::Protocol, format!("the peer sent {name} out of turn")),
        }
    }

    fn send(&mut self, message: Message) {
        self.out.push_back(Output::Send(Box::new(message)));
    }
    fn arm(&mut self, at: Tick) {
        self.out.push_back(Output::Arm(at));
    }
    fn event(&mut self, event: ClientEvent) {
        self.out.push_back(Output::Event(event));
    }
    fn over(&mut self, kind: ErrorKind, message: String) {
        self.end(StepError::new(kind, message));
    }
    fn end(&mut self, error: StepError) {
        self.state = State::Over;
        self.event(ClientEvent::Over(error));
    }
}
