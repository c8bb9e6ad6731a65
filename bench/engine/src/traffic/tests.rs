//! Whole courses at both ends in virtual time: what ends a step, in which phase, and what each end makes of it.

use std::collections::BTreeMap;

use pathproof_api::Tick;
use pathproof_model::{ErrorKind, StepError};

use super::{Action, Course, Event, Outline};
use crate::control::StepMessage;

const MS: u64 = 1_000_000;
const LENGTH_NS: u64 = 1_000 * MS;
const DEADLINE: Tick = Tick(10_000 * MS);
const LANES: usize = 2;

fn outline(leads: bool, threads: usize, sending: usize) -> Outline {
    Outline { leads, threads, sending, length_ns: LENGTH_NS, deadline: DEADLINE, last_bytes_ns: 200 * MS }
}

fn error(kind: ErrorKind) -> StepError {
    StepError::new(kind, "in the test".into())
}

/// One end with what happened to its lanes.
struct End {
    course: Course,
    alive: bool,
    began: Option<Tick>,
    stopped: Option<Tick>,
    ended: Option<Tick>,
    lanes_closed: usize,
}

/// Two ends and everything that is going to happen, in order.
struct World {
    now: Tick,
    ends: [End; 2],
    plan: BTreeMap<(u64, u64), (usize, Event)>,
    number: u64,
    delay_ns: u64,
    /// A lane that would never end by itself.
    stuck: bool,
}

impl World {
    /// The client (the first end) sends; each end's lanes connect at the times given.
    fn new(delay_ns: u64, up_ns: [u64; 2]) -> World {
        let end = |leads, sending| End {
            course: Course::new(outline(leads, LANES, sending)),
            alive: true,
            began: None,
            stopped: None,
            ended: None,
            lanes_closed: 0,
        };
        let ends = [end(true, LANES), end(false, 0)];
        let mut world =
            World { now: Tick(0), ends, plan: BTreeMap::new(), number: 0, delay_ns, stuck: false };
        for (end, up_ns) in up_ns.into_iter().enumerate() {
            (0..LANES as u64).for_each(|lane| world.at(Tick(up_ns + lane), end, Event::Ready));
        }
        world
    }

    fn at(&mut self, at: Tick, end: usize, event: Event) {
        self.number += 1;
        self.plan.insert((at.0, self.number), (end, event));
    }

    /// The lanes of an end that would be closed later, or never, are closed at `at`.
    fn close_lanes(&mut self, end: usize, at: Tick) {
        let left = LANES - self.ends[end].lanes_closed;
        self.ends[end].lanes_closed = LANES;
        let is_later = |when: u64, whose: usize, event: &Event| {
            whose == end && when > at.0 && matches!(event, Event::Done { .. })
        };
        let before = self.plan.len();
        self.plan.retain(|(when, _), (whose, event)| !is_later(*when, *whose, event));
        let later = before - self.plan.len();
        (0..left + later).for_each(|_| self.at(at, end, Event::Done { sent: end == 0 }));
    }

    fn carry_out(&mut self, end: usize) {
        while let Some(action) = self.ends[end].course.action() {
            let (now, other) = (self.now, 1 - end);
            match action {
                Action::Say(said) => self.at(now.plus_ns(self.delay_ns), other, Event::Said(said)),
                Action::Fail(why) => self.at(now.plus_ns(self.delay_ns), other, Event::GivenUp(why)),
                Action::Begin(at) => {
                    self.ends[end].began = Some(at);
                    // A sender ends by itself, a receiver when it is let go.
                    if end == 0 && !self.stuck {
                        self.close_lanes(end, at.plus_ns(LENGTH_NS));
                    }
                }
                Action::MayBeLeft => {}
                Action::Stop => {
                    self.ends[end].stopped = Some(now);
                    if self.ends[end].began.is_some() {
                        self.close_lanes(end, now.plus_ns(MS));
                    }
                }
            }
        }
        if self.ends[end].course.is_over() {
            self.ends[end].ended.get_or_insert(self.now);
        }
    }

    /// Runs until nothing happens any more; the last end to be over must be so by `limit`.
    fn run(&mut self, limit: Tick) {
        loop {
            let due = self.ends.iter().filter(|end| end.alive).map(|end| end.course.due()).min();
            let due = due.unwrap_or(Tick(u64::MAX));
            match self.plan.first_key_value().map(|(at, _)| Tick(at.0)) {
                Some(at) if at <= due => {
                    let Some((_, (end, event))) = self.plan.pop_first() else { return };
                    self.now = self.now.max(at);
                    let hears = self.ends[end].course.listens()
                        || !matches!(event, Event::Said(_) | Event::PeerDone(_) | Event::GivenUp(_));
                    if self.ends[end].alive && hears {
                        self.ends[end].course.handle(self.now, event);
                        self.carry_out(end);
                    }
                }
                _ if due < Tick(u64::MAX) => {
                    self.now = self.now.max(due);
                    for end in 0..2 {
                        if self.ends[end].alive {
                            self.ends[end].course.handle(self.now, Event::Time);
                            self.carry_out(end);
                        }
                    }
                }
                _ => break,
            }
            assert!(self.now <= limit, "the step does not end");
        }
        assert!(self.ends.iter().all(|end| !end.alive || end.course.is_over()), "an end waits for nothing");
    }

    /// From `at` on an end is gone, which the other one learns a little later.
    fn dies(&mut self, end: usize, at: Tick) {
        let mut kept = BTreeMap::new();
        std::mem::swap(&mut kept, &mut self.plan);
        self.plan =
            kept.into_iter().filter(|((when, _), (whose, _))| *whose != end || *when < at.0).collect();
        self.ends[end].alive = false;
        self.at(at.plus_ns(5 * MS), 1 - end, Event::GivenUp(error(ErrorKind::PeerLost)));
    }

    fn errors(self) -> [Option<ErrorKind>; 2] {
        self.ends.map(|end| end.course.into_error().map(|error| error.kind))
    }
}

/// Small numbers from a seed.
fn drawn(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

#[test]
fn all_is_well_whatever_the_delays() {
    for run in 0..200u64 {
        let mut seed = run;
        let (delay, up) =
            (drawn(&mut seed, 50 * MS), [drawn(&mut seed, 3000 * MS), drawn(&mut seed, 3000 * MS)]);
        let mut world = World::new(delay, up);
        world.run(Tick(20_000 * MS));
        let [client, server] = [0, 1].map(|end| world.ends[end].began.unwrap());
        // The server begins one delay after the client, and the client when both are there.
        assert_eq!(server, client.plus_ns(delay), "run {run}");
        assert_eq!(client, Tick((up[0] + 1).max(up[1] + 1 + delay)), "run {run}");
        assert_eq!(world.ends[0].ended, Some(client.plus_ns(LENGTH_NS)), "run {run}");
        assert_eq!(world.ends[0].stopped, None, "run {run}");
        // The receiver waits for the last bytes, and no longer.
        assert_eq!(world.ends[1].stopped, Some(client.plus_ns(LENGTH_NS + delay + 200 * MS)), "run {run}");
        assert_eq!(world.errors(), [None, None], "run {run}");
    }
}

#[test]
fn an_end_that_dies_in_any_phase_is_survived_by_the_other() {
    for run in 0..300u64 {
        let mut seed = run;
        let (dead, at) = ((run % 2) as usize, Tick(drawn(&mut seed, 1_100 * MS)));
        let mut world = World::new(10 * MS, [drawn(&mut seed, 100 * MS), drawn(&mut seed, 100 * MS)]);
        // What was going to happen before its death happens.
        while world.plan.first_key_value().is_some_and(|((when, _), _)| *when < at.0) {
            let Some(((when, _), (end, event))) = world.plan.pop_first() else { break };
            world.now = Tick(when);
            world.ends[end].course.handle(world.now, event);
            world.carry_out(end);
        }
        world.now = world.now.max(at);
        world.dies(dead, at);
        let survivor = 1 - dead;
        world.run(Tick(20_000 * MS));
        let ended = world.ends[survivor].ended.unwrap();
        assert!(ended <= at.plus_ns(6 * MS), "run {run}: over at {ended}, the peer died at {at}");
        let was_over = ended < at.plus_ns(5 * MS);
        let expected = (!was_over).then_some(ErrorKind::PeerLost);
        assert_eq!(world.errors()[survivor], expected, "run {run}");
    }
}

#[test]
fn a_peer_that_never_comes_up_is_a_timeout_at_the_deadline() {
    let mut world = World::new(MS, [0, 0]);
    world.plan.retain(|_, (end, _)| *end == 0);
    world.ends[1].alive = false;
    world.run(Tick(20_000 * MS));
    assert_eq!(world.ends[0].ended, Some(DEADLINE));
    assert_eq!(world.ends[0].began, None);
    assert_eq!(world.errors()[0], Some(ErrorKind::Timeout));
}

#[test]
fn a_lane_that_fails_ends_the_step_at_both_ends_before_anything_begins() {
    let mut world = World::new(MS, [50 * MS, 50 * MS]);
    world.at(Tick(10 * MS), 1, Event::Failed(error(ErrorKind::Refused)));
    world.run(Tick(20_000 * MS));
    assert!(world.ends.iter().all(|end| end.began.is_none() && end.stopped.is_some()));
    assert_eq!(world.errors(), [Some(ErrorKind::Refused), Some(ErrorKind::Refused)]);
}

#[test]
fn a_clock_that_jumps_over_the_end_of_the_step_is_no_error() {
    let mut course = Course::new(outline(true, 1, 1));
    course.handle(Tick(0), Event::Said(StepMessage::Up));
    course.handle(Tick(1), Event::Ready);
    course.handle(Tick(3600 * 1000 * MS), Event::Time);
    assert!(!course.is_over() && course.listens(), "the lanes decide when they are done");
    course.handle(Tick(3600 * 1000 * MS), Event::OutOfTime(error(ErrorKind::OutOfTime)));
    course.handle(Tick(3600 * 1000 * MS), Event::Done { sent: true });
    assert!(course.is_over());
    let actions: Vec<_> = std::iter::from_fn(|| course.action()).collect();
    let said = |said| Action::Say(said);
    assert_eq!(
        actions,
        [said(StepMessage::Start), Action::Begin(Tick(1)), Action::Stop, said(StepMessage::Done)]
    );
    assert_eq!(course.into_error(), None);
}

#[test]
fn an_interruption_is_the_error_of_the_step_and_lanes_are_stopped_once() {
    let mut world = World::new(MS, [0, 0]);
    world.stuck = true;
    world.at(Tick(300 * MS), 0, Event::GivenUp(error(ErrorKind::Interrupted)));
    world.at(Tick(301 * MS), 0, Event::OutOfTime(error(ErrorKind::OutOfTime)));
    world.run(Tick(20_000 * MS));
    assert_eq!(world.ends[0].stopped, Some(Tick(300 * MS)));
    assert_eq!(world.errors(), [Some(ErrorKind::Interrupted), None]);
}

#[test]
fn a_step_that_ends_early_is_ended_by_the_server_first() {
    let mut world = World::new(MS, [0, 0]);
    world.stuck = true;
    world.at(Tick(500 * MS), 1, Event::Said(StepMessage::Ending));
    world.run(Tick(20_000 * MS));
    assert_eq!(world.ends[0].stopped, Some(Tick(501 * MS)), "as soon as the server has answered");
    assert_eq!(world.errors(), [None, None]);
}

#[test]
fn a_thread_that_is_lost_ends_the_step_at_both_ends_with_the_reason() {
    for at_ms in [10, 500] {
        let mut world = World::new(MS, [50 * MS, 50 * MS]);
        world.stuck = true;
        world.at(Tick(at_ms * MS), 1, Event::Lost(error(ErrorKind::System)));
        // One of its two lanes is gone, the other one still has to be stopped.
        world.ends[1].lanes_closed = 1;
        world.run(Tick(20_000 * MS));
        assert_eq!(world.ends[1].stopped, Some(Tick(at_ms * MS)));
        assert_eq!(world.ends[0].stopped, Some(Tick((at_ms + 1) * MS)), "the other end hears of it");
        assert_eq!(world.errors(), [Some(ErrorKind::System), Some(ErrorKind::System)]);
    }
}

#[test]
fn what_the_other_end_says_of_a_step_that_was_given_up_here_is_not_why() {
    let given_up = |first: Event| {
        let mut course = Course::new(outline(true, 1, 1));
        course.handle(Tick(0), Event::Ready);
        course.handle(Tick(1), Event::Said(StepMessage::Up));
        for event in [first, Event::GivenUp(error(ErrorKind::PeerLost)), Event::Done { sent: true }] {
            course.handle(Tick(2), event);
        }
        assert!(course.is_over());
        course.into_error().map(|error| error.kind)
    };
    assert_eq!(given_up(Event::Abandoned), None, "the thread has left its reason");
    assert_eq!(given_up(Event::Time), Some(ErrorKind::PeerLost));
}

#[test]
fn what_only_has_to_be_made_ready_may_be_through_before_the_start() {
    let mut course = Course::new(outline(false, 2, 0));
    course.handle(Tick(0), Event::Ready);
    course.handle(Tick(1), Event::Done { sent: false });
    course.handle(Tick(2), Event::Said(StepMessage::Start));
    course.handle(Tick(3), Event::Ready);
    assert!(!course.is_over());
    course.handle(Tick(4), Event::Done { sent: false });
    assert!(course.is_over(), "the other one was through already");
    let actions: Vec<_> = std::iter::from_fn(|| course.action()).collect();
    assert_eq!(actions, [Action::Say(StepMessage::Up), Action::Begin(Tick(3))]);
}

#[test]
fn a_peer_that_has_said_all_may_be_left_by_who_only_listens_and_by_nobody_else() {
    let course = |sending| {
        let mut course = Course::new(outline(false, 1, sending));
        course.handle(Tick(0), Event::Ready);
        course.handle(Tick(1), Event::Said(StepMessage::Start));
        // Long before the end by this end's clock: it began late.
        course.handle(Tick(2), Event::Said(StepMessage::Done));
        let actions: Vec<_> = std::iter::from_fn(|| course.action()).collect();
        actions.contains(&Action::MayBeLeft)
    };
    assert!(course(0));
    assert!(!course(1), "what it still sends must find somebody");
}
