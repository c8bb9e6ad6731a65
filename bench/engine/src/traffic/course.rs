//! The course of a traffic step at one end: its lanes connect, both ends agree to begin, the lanes run, and they are let
//! go in order or because something ended the step. It decides; whoever drives it has the threads and the connection.

use std::collections::VecDeque;

use pathproof_api::Tick;
use pathproof_model::{ErrorKind, StepError};

use crate::control::StepMessage;

/// How long what was sent before the peer's last lane was closed may need to come in on ours, in ns.
const LAST_BYTES_NS: u64 = 200_000_000;

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A lane is connected.
    LaneUp,
    /// A lane could not be had.
    LaneFailed(StepError),
    /// A lane is closed. `sent`: it was one of those that send.
    LaneDone {
        /// Whether it was.
        sent: bool,
    },
    /// The other end said this.
    Said(StepMessage),
    /// The client has ended its half, in time or not. The error is what that means before all lanes have begun.
    PeerDone(StepError),
    /// The time of the run is up. The error is what that means before all is measured.
    OutOfTime(StepError),
    /// The step has no future: the peer failed or is lost, or the user wants to stop.
    GivenUp(StepError),
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Say this to the other end.
    Say(StepMessage),
    /// Tell the other end that this one failed.
    Fail(StepError),
    /// All lanes begin, at this tick.
    Begin(Tick),
    /// Lanes whose peer leaves from here on were left in order.
    MayBeLeft,
    /// All lanes end.
    Stop,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Connecting { up: usize, peer_up: bool },
    Waiting,
    Running { lanes: usize, sending: usize, finish: Tick, peer_done: Option<Tick> },
    Over,
}

/// One end's course.
#[derive(Debug)]
pub struct Course {
    leads: bool,
    lanes: usize,
    sending: usize,
    length_ns: u64,
    /// By when both ends must have begun.
    deadline: Tick,
    phase: Phase,
    stopped: bool,
    /// Nothing that comes over the control connection matters any more.
    deaf: bool,
    error: Option<StepError>,
    actions: VecDeque<Action>,
}

impl Course {
    /// A step with so many lanes at this end, of which `sending` send. `leads`: this is the client, which says when to
    /// begin.
    pub fn new(leads: bool, lanes: usize, sending: usize, length_ns: u64, deadline: Tick) -> Course {
        Course {
            leads,
            lanes,
            sending,
            length_ns,
            deadline,
            phase: Phase::Connecting { up: 0, peer_up: false },
            stopped: false,
            deaf: false,
            error: None,
            actions: VecDeque::new(),
        }
    }

    /// What is to be done next, until `None`.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether this end is through: all lanes are closed, or the step was given up before they began.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the control connection may still say something that matters.
    pub fn listens(&self) -> bool {
        !self.deaf
    }

    /// When [`Event::Time`] is due though nothing happens.
    pub fn due(&self) -> Tick {
        match &self.phase {
            Phase::Connecting { .. } | Phase::Waiting => self.deadline,
            Phase::Running { peer_done: Some(at), .. } if !self.stopped => at.plus_ns(LAST_BYTES_NS),
            _ => Tick(u64::MAX),
        }
    }

    /// The moment in the step, for an error's words.
    pub fn when(&self) -> &'static str {
        match self.phase {
            Phase::Connecting { .. } => "while lanes were being connected",
            Phase::Waiting => "while waiting for the peer's lanes",
            _ => "during the step",
        }
    }

    /// What went wrong at the level of the step, once it is over.
    pub fn into_error(self) -> Option<StepError> {
        self.error
    }

    /// Tells what happened at `now`.
    pub fn handle(&mut self, now: Tick, event: Event) {
        match &mut self.phase {
            Phase::Connecting { .. } | Phase::Waiting => self.before(now, event),
            Phase::Running { .. } => self.running(now, event),
            Phase::Over => {}
        }
    }

    fn before(&mut self, now: Tick, event: Event) {
        match (event, &mut self.phase) {
            (Event::LaneUp, Phase::Connecting { up, .. }) => *up += 1,
            (Event::Said(_), Phase::Connecting { peer_up, .. }) => *peer_up = true,
            (Event::Said(_), _) => return self.begin(now),
            (
                Event::LaneFailed(error)
                | Event::PeerDone(error)
                | Event::OutOfTime(error)
                | Event::GivenUp(error),
                _,
            ) => return self.give_up(error),
            (Event::Time, _) if now >= self.deadline => {
                let message = format!("the peer was silent {}; run again, and look at its log", self.when());
                return self.give_up(StepError { kind: ErrorKind::Timeout, message });
            }
            _ => return,
        }
        let Phase::Connecting { up, peer_up } = self.phase else { return };
        if up < self.lanes {
            return;
        }
        // All lanes of this end are connected: the server says so, the client answers once it is there too.
        if !self.leads {
            self.actions.push_back(Action::Say(StepMessage::Up));
        }
        self.phase = Phase::Waiting;
        if peer_up {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Tick) {
        if self.leads {
            self.actions.push_back(Action::Say(StepMessage::Start));
        }
        self.actions.push_back(Action::Begin(now));
        let finish = now.plus_ns(self.length_ns);
        let (lanes, sending) = (self.lanes, self.sending);
        self.phase = Phase::Running { lanes, sending, finish, peer_done: None };
    }

    fn running(&mut self, now: Tick, event: Event) {
        let Phase::Running { lanes, sending, finish, peer_done } = &mut self.phase else { return };
        match event {
            Event::LaneDone { sent } => {
                *lanes = lanes.saturating_sub(1);
                if sent {
                    *sending = sending.saturating_sub(1);
                    // Everything this end had to send has left it in order; who only listens may go.
                    if *sending == 0 {
                        self.actions.push_back(Action::Say(StepMessage::Done));
                    }
                }
            }
            Event::LaneFailed(_) => *lanes = lanes.saturating_sub(1),
            // The client ends before the time: the server lets its lanes go, and says so first.
            Event::Said(StepMessage::Ending) => {
                self.actions.push_back(Action::MayBeLeft);
                if self.leads {
                    self.stop();
                } else {
                    self.actions.push_back(Action::Say(StepMessage::Ending));
                }
            }
            Event::Said(StepMessage::Done) => _ = peer_done.get_or_insert(now),
            // Nothing more will come.
            Event::PeerDone(_) => {
                peer_done.get_or_insert(now);
                self.deaf = true;
            }
            // What was to be measured is; only what is still under way is left to the path.
            Event::OutOfTime(_) if now >= *finish => {
                self.deaf = true;
                self.stop();
            }
            Event::OutOfTime(error) | Event::GivenUp(error) => {
                self.error.get_or_insert(error);
                self.deaf = true;
                self.stop();
            }
            Event::Time if peer_done.is_some_and(|at| now.ns_since(at) >= LAST_BYTES_NS) => self.stop(),
            Event::Said(_) | Event::LaneUp | Event::Time => {}
        }
        if matches!(self.phase, Phase::Running { lanes: 0, .. }) {
            self.phase = Phase::Over;
        }
    }

    /// Before anything has begun, the other end has to hear of it.
    fn give_up(&mut self, error: StepError) {
        self.stop();
        self.actions.push_back(Action::Fail(error.clone()));
        self.error = Some(error);
        self.deaf = true;
        self.phase = Phase::Over;
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.actions.push_back(Action::Stop);
        }
    }
}
