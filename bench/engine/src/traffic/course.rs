//! The course of a step at one end: its threads make themselves ready, both ends agree to begin, the threads run, and they
//! are let go in order or because something ended the step. It decides; whoever drives it has the threads and the
//! connection. Most threads are lanes; some fill memory or play failures.

use std::collections::VecDeque;

use pathproof_api::Tick;
use pathproof_model::{ErrorKind, StepError};

use crate::control::StepMessage;

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A thread is ready: its lane is connected, or its memory is there.
    Ready,
    /// A thread cannot be.
    Failed(StepError),
    /// A thread is through, its lane closed. `sent`: it was one of those that send.
    Done {
        /// Whether it was.
        sent: bool,
    },
    /// A thread ended without a message, or its work cannot be done any more: what it measured is lost, and with it the step.
    Lost(StepError),
    /// A thread is done for, so that the others wait for nothing; it knows why.
    Abandoned,
    /// The other end said this.
    Said(StepMessage),
    /// The client has ended its half, in time or not. The error is what that means before all have begun.
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
    /// All threads begin, at this tick.
    Begin(Tick),
    /// Lanes whose peer leaves from here on were left in order.
    MayBeLeft,
    /// All threads end.
    Stop,
}

/// What a course is of.
#[derive(Clone, Debug)]
pub struct Outline {
    /// This is the client, which says when to begin.
    pub leads: bool,
    /// Threads at this end.
    pub threads: usize,
    /// Those of them that send.
    pub sending: usize,
    /// How long the threads run, in ns; the largest number where that follows from what they do.
    pub length_ns: u64,
    /// By when both ends must have begun.
    pub deadline: Tick,
    /// How long what was sent before the peer's last lane was closed may need to come in on ours, in ns.
    pub last_bytes_ns: u64,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Connecting { ready: usize, peer_ready: bool },
    Waiting,
    Running { finish: Tick, peer_done: Option<Tick> },
    Over,
}

/// One end's course.
#[derive(Debug)]
pub struct Course {
    outline: Outline,
    /// Threads that are not through, and those of them that send.
    left: (usize, usize),
    phase: Phase,
    stopped: bool,
    /// A thread of this end gave the step up, and knows why: what the other end says of it is the consequence.
    abandoned: bool,
    /// Nothing that comes over the control connection matters any more.
    deaf: bool,
    error: Option<StepError>,
    actions: VecDeque<Action>,
}

impl Course {
    /// A step that has not begun.
    pub fn new(outline: Outline) -> Course {
        Course {
            left: (outline.threads, outline.sending),
            outline,
            phase: Phase::Connecting { ready: 0, peer_ready: false },
            stopped: false,
            abandoned: false,
            deaf: false,
            error: None,
            actions: VecDeque::new(),
        }
    }

    /// What is to be done next, until `None`.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether this end is through: all threads are, or the step was given up before they began.
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
            Phase::Connecting { .. } | Phase::Waiting => self.outline.deadline,
            Phase::Running { peer_done: Some(at), .. } if !self.stopped && self.only_hears() => {
                at.plus_ns(self.outline.last_bytes_ns)
            }
            _ => Tick(u64::MAX),
        }
    }

    /// Whether nothing is sent from here any more, or nobody is there to take it: what the peer sends may end before what this
    /// end does.
    fn only_hears(&self) -> bool {
        self.left.1 == 0 || self.deaf
    }

    /// The moment in the step, for an error's words.
    pub fn when(&self) -> &'static str {
        match self.phase {
            Phase::Connecting { .. } => "while lanes were made ready",
            Phase::Waiting => "while the peer's lanes were awaited",
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
            (Event::Ready, Phase::Connecting { ready, .. }) => *ready += 1,
            (Event::Said(_), Phase::Connecting { peer_ready, .. }) => *peer_ready = true,
            (Event::Said(_), _) => return self.begin(now),
            // What only had to be made ready is through before the start.
            (Event::Done { .. }, _) => self.left.0 = self.left.0.saturating_sub(1),
            (
                Event::Failed(error)
                | Event::Lost(error)
                | Event::PeerDone(error)
                | Event::OutOfTime(error)
                | Event::GivenUp(error),
                _,
            ) => return self.give_up(error),
            (Event::Time, _) if now >= self.outline.deadline => {
                let message = format!("the peer was silent {}; run again, and look at its log", self.when());
                return self.give_up(StepError::new(ErrorKind::Timeout, message));
            }
            _ => return,
        }
        let Phase::Connecting { ready, peer_ready } = self.phase else { return };
        if ready < self.outline.threads {
            return;
        }
        // Everything at this end is ready: the server says so, the client answers once it is there too.
        if !self.outline.leads {
            self.actions.push_back(Action::Say(StepMessage::Up));
        }
        self.phase = Phase::Waiting;
        if peer_ready {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Tick) {
        if self.outline.leads {
            self.actions.push_back(Action::Say(StepMessage::Start));
        }
        self.actions.push_back(Action::Begin(now));
        self.phase = Phase::Running { finish: now.plus_ns(self.outline.length_ns), peer_done: None };
    }

    fn running(&mut self, now: Tick, event: Event) {
        let only_hears = self.only_hears();
        let Phase::Running { finish, peer_done } = &mut self.phase else { return };
        match event {
            Event::Done { sent } => {
                self.left.0 = self.left.0.saturating_sub(1);
                if sent {
                    self.left.1 = self.left.1.saturating_sub(1);
                    // Everything this end had to send has left it in order; who only listens may go.
                    if self.left.1 == 0 {
                        self.actions.push_back(Action::Say(StepMessage::Done));
                    }
                }
            }
            Event::Failed(_) => self.left.0 = self.left.0.saturating_sub(1),
            Event::Lost(error) => {
                self.left.0 = self.left.0.saturating_sub(1);
                self.actions.push_back(Action::Fail(error.clone()));
                self.end_for(error);
            }
            Event::Abandoned => {
                self.abandoned = true;
                self.stop();
            }
            // The client ends before the time: the server lets its lanes go, and says so first.
            Event::Said(StepMessage::Ending) => {
                self.actions.push_back(Action::MayBeLeft);
                if self.outline.leads {
                    self.stop();
                } else {
                    self.actions.push_back(Action::Say(StepMessage::Ending));
                }
            }
            // It has left in order what it sent on, however early that is by this end's clock: the two may have begun far apart.
            Event::Said(StepMessage::Done) => {
                peer_done.get_or_insert(now);
                if only_hears {
                    self.actions.push_back(Action::MayBeLeft);
                }
            }
            // Nothing more will come.
            Event::PeerDone(_) => {
                peer_done.get_or_insert(now);
                self.deaf = true;
                self.actions.push_back(Action::MayBeLeft);
            }
            // What was to be measured is; only what is still under way is left to the path.
            Event::OutOfTime(_) if now >= *finish => {
                self.deaf = true;
                self.stop();
            }
            Event::GivenUp(_) if self.abandoned => self.deaf = true,
            Event::OutOfTime(error) | Event::GivenUp(error) => self.end_for(error),
            Event::Time
                if only_hears
                    && peer_done.is_some_and(|at| now.ns_since(at) >= self.outline.last_bytes_ns) =>
            {
                self.actions.push_back(Action::MayBeLeft);
                self.stop();
            }
            Event::Said(_) | Event::Ready | Event::Time => {}
        }
        if self.left.0 == 0 {
            self.phase = Phase::Over;
        }
    }

    /// The threads end as soon as they can, and this is why.
    fn end_for(&mut self, error: StepError) {
        self.error.get_or_insert(error);
        self.deaf = true;
        self.stop();
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
