//! Two ends of a traffic step, their lanes and the control connection between them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pathproof_api::{
    Access, Lane, LaneSpec, LaneStats, Offer, Pages, PathSpec, PreparedLane, Region, RegionId, Role, Tick,
    Transport, Verb,
};
use pathproof_engine::control::StepMessage;
use pathproof_engine::drive::{Driver, NoMeter, Turn};
use pathproof_engine::record::{LaneRecorder, LatencyHistogram, Silence};
use pathproof_engine::traffic::{Action, Course, Ended, Event, LaneEnds, LaneTimes, Outline, turn};
use pathproof_engine::workload::{
    Echo, PingPong, Reply, Request, RequestPlan, Slots, StreamReceive, StreamSend, Workload,
};
use pathproof_model::{ErrorKind, OneFlow, PlannedLane, RequestLoad, StepError, TrafficKind, TrafficSpec};
use pathproof_multi::{REJOIN, STALL, Striped};
use pathproof_sim::{SimClock, SimNetwork, SimPath, SimTransport};

pub const MS: u64 = 1_000_000;
/// As the program has them.
const READY_NS: u64 = 10_000 * MS;
const LAST_BYTES_NS: u64 = 200 * MS;
/// How long a connection that is cut stays silent before that is noticed.
pub const SILENCE_NS: u64 = 5_000 * MS;
/// How often a lane over several NICs looks though nothing happens: it confirms, and judges silence, when it is asked.
const LOOK_NS: u64 = 2 * MS;

/// Lanes over several NICs, the way `multi` makes them. A NIC that is dead stays so: what brings one back has threads and sleeps of its own.
#[derive(Clone, Copy, Debug)]
pub struct Stripe {
    pub nics: u8,
    /// How long silence is tolerated.
    pub stall_ms: u16,
}

/// The address of a client's NIC.
pub fn nic(index: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, 1 + index])
}

pub fn error(kind: ErrorKind) -> StepError {
    StepError::new(kind, "in the test".into())
}

/// What a lane left behind.
pub struct LaneLeft {
    /// The number of its flow in the step.
    pub flow: u16,
    pub ended: Ended,
    pub sends: bool,
    pub asks: bool,
    pub stats: LaneStats,
    pub messages: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub silence: Silence,
    pub service: LatencyHistogram,
    pub closed: Tick,
}

enum LaneState {
    Connecting {
        at: Tick,
        prepared: Box<dyn PreparedLane>,
    },
    Ready(Box<dyn Lane>),
    Running {
        lane: Box<dyn Lane>,
        driver: Box<Driver<Box<dyn Workload>, SimClock, NoMeter>>,
        ends: LaneEnds<'static>,
    },
    /// Connected, and its flow begins later than the step.
    Waiting {
        lane: Box<dyn Lane>,
        begin: Tick,
    },
    Closed,
}

struct SimLane {
    planned: PlannedLane,
    /// Whether this end decides when its flow ends.
    active: bool,
    region: (Arc<Region>, RegionId),
    state: LaneState,
}

/// One end.
pub struct EndOf {
    pub course: Course,
    pub alive: bool,
    /// It does nothing before this: its processor is busy elsewhere.
    pub asleep_until: Tick,
    pub began: Option<Tick>,
    pub over: Option<Tick>,
    pub left: Vec<LaneLeft>,
    lanes: Vec<SimLane>,
    /// What comes over the control connection, in order.
    inbox: VecDeque<(Tick, Event)>,
    // Both live as long as the test: a lane of the program borrows them from its step.
    stop: &'static AtomicBool,
    may_be_left: &'static AtomicBool,
}

/// Both ends: the client first.
pub struct World {
    pub network: Arc<SimNetwork>,
    pub ends: [EndOf; 2],
    pub control_ns: u64,
    pub turns: u64,
    /// How often lanes are asked though nothing happens, in ns.
    look_ns: u64,
}

/// Room of one message.
const SLOT: u64 = 4096;
const SLOTS: u64 = 16;

impl World {
    /// A step over `path` whose lanes take up to `connect_ns` each to connect.
    pub fn new(
        kind: TrafficKind,
        spec: TrafficSpec,
        path: SimPath,
        seed: u64,
        connect_ns: [u64; 2],
    ) -> World {
        World::over(kind, spec, path, seed, connect_ns, None)
    }

    /// The same, where lanes may be made of several paths that are each like `path`.
    pub fn over(
        kind: TrafficKind,
        spec: TrafficSpec,
        path: SimPath,
        seed: u64,
        connect_ns: [u64; 2],
        stripe: Option<Stripe>,
    ) -> World {
        let control_ns = path.delay_ns;
        let network = SimNetwork::new(path, seed);
        let mut transport: Arc<dyn Transport> = Arc::new(SimTransport::new(network.clone()));
        let mut like = LaneSpec { depth: 32, message_bytes_max: SLOT as u32, ..LaneSpec::default() };
        if let Some(stripe) = stripe {
            let from = |index| PathSpec { local: Some(nic(index)), ..PathSpec::default() };
            like.paths = (0..stripe.nics).map(from).collect();
            like.options.set(&STALL, stripe.stall_ms);
            like.options.set(&REJOIN, false);
            transport = Arc::new(Striped::new(transport, Arc::new(network.clock())));
        }
        let look_ns = if stripe.is_some() { LOOK_NS } else { u64::MAX };
        let planned = spec.planned_lanes(kind);
        let ends = [true, false].map(|client| {
            let role = if client { Role::Dial } else { Role::Accept };
            let lanes: Vec<SimLane> = planned
                .iter()
                .enumerate()
                .map(|(index, lane)| {
                    let mut token = [0; 32];
                    token[0] = index as u8;
                    let lane_spec = LaneSpec { token, ..like.clone() };
                    let mut prepared = transport.prepare(role, &lane_spec).unwrap();
                    let region = Arc::new(Region::new(2 * SLOTS * SLOT, Pages::Default).unwrap());
                    let id = prepared.attach(&region, Access::RemoteReadWrite).unwrap();
                    let at = Tick(connect_ns[usize::from(!client)] + index as u64);
                    let state = LaneState::Connecting { at, prepared };
                    let planned = lane.clone();
                    SimLane { planned, active: client == lane.outward, region: (region, id), state }
                })
                .collect();
            EndOf {
                course: Course::new(Outline {
                    leads: client,
                    threads: lanes.len(),
                    sending: lanes.iter().filter(|lane| lane.active).count(),
                    length_ns: spec.length_ns(),
                    deadline: Tick(READY_NS),
                    last_bytes_ns: LAST_BYTES_NS,
                }),
                alive: true,
                asleep_until: Tick(0),
                began: None,
                over: None,
                left: vec![],
                lanes,
                inbox: VecDeque::new(),
                stop: Box::leak(Box::default()),
                may_be_left: Box::leak(Box::default()),
            }
        });
        World { network, ends, control_ns, turns: 0, look_ns }
    }

    pub fn now(&self) -> Tick {
        self.network.now()
    }

    /// Something that comes to an end over the control connection, in its order.
    pub fn tell(&mut self, end: usize, event: Event) {
        let last = self.ends[end].inbox.back().map_or(Tick(0), |(at, _)| *at);
        let at = self.now().plus_ns(self.control_ns).max(last);
        self.ends[end].inbox.push_back((at, event));
    }

    /// An end is gone at once: its process was killed, and the other one's connections are closed.
    pub fn kill(&mut self, end: usize) {
        self.ends[end].alive = false;
        self.ends[end].lanes.clear();
        self.tell(1 - end, Event::GivenUp(error(ErrorKind::PeerLost)));
    }

    /// Nothing crosses any more, which both ends learn after a silence.
    pub fn cut(&mut self) {
        self.network.cut(Duration::from_nanos(SILENCE_NS));
        let at = self.now().plus_ns(SILENCE_NS);
        for end in &mut self.ends {
            let now = self.network.now();
            // What had not arrived never will.
            end.inbox.retain(|(arrives, _)| *arrives <= now);
            end.inbox.push_back((at, Event::GivenUp(error(ErrorKind::PeerLost))));
        }
        self.control_ns = u64::MAX / 2;
    }

    /// Runs to the end of both ends, or of those that live; `disturb` is called before every round.
    pub fn run(&mut self, limit: Tick, mut disturb: impl FnMut(&mut World)) {
        loop {
            disturb(self);
            let now = self.now();
            assert!(now <= limit, "the step does not end: {now}");
            self.turns += 1;
            let (mut worked, mut next) = (false, Tick(u64::MAX));
            for end in 0..2 {
                if self.ends[end].alive && self.ends[end].over.is_none() {
                    let (did, due) = self.turn(end);
                    worked |= did;
                    next = next.min(due);
                }
            }
            if self.ends.iter().all(|end| !end.alive || end.over.is_some()) {
                return;
            }
            if !worked {
                assert!(next < Tick(u64::MAX), "an end waits for nothing at {now}");
                let next = next.min(now.plus_ns(self.look_ns));
                self.network.advance_to_event(next.max(now.plus_ns(1)));
            }
        }
    }

    /// What one end does now: whether it did anything, and when it is to be asked again though nothing happens.
    fn turn(&mut self, end: usize) -> (bool, Tick) {
        let now = self.now();
        if now < self.ends[end].asleep_until {
            return (false, self.ends[end].asleep_until);
        }
        let (mut worked, mut next) = (false, Tick(u64::MAX));
        let mut happened = vec![Event::Time];
        for lane in 0..self.ends[end].lanes.len() {
            let (did, due, event) = self.turn_lane(end, lane);
            worked |= did || event.is_some();
            next = next.min(due);
            happened.extend(event);
        }
        while self.ends[end].inbox.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, event)) = self.ends[end].inbox.pop_front() else { break };
            worked = true;
            happened.push(event);
        }
        for event in happened {
            let course = &mut self.ends[end].course;
            let said = matches!(
                event,
                Event::Said(_) | Event::PeerDone(_) | Event::GivenUp(_) | Event::OutOfTime(_)
            );
            if !said || course.listens() {
                course.handle(now, event);
            }
            while let Some(action) = self.ends[end].course.action() {
                worked = true;
                self.carry_out(end, action);
            }
        }
        if self.ends[end].course.is_over() {
            self.ends[end].over = Some(now);
            // Lanes that never began are dropped by their threads.
            self.ends[end].lanes.clear();
            if end == 0 {
                // The client takes its next turn, which ends the step for the server.
                self.tell(1, Event::PeerDone(error(ErrorKind::PeerLost)));
            }
            return (true, now);
        }
        let inbox = self.ends[end].inbox.front().map_or(Tick(u64::MAX), |(at, _)| *at);
        (worked, next.min(inbox).min(self.ends[end].course.due()))
    }

    fn carry_out(&mut self, end: usize, action: Action) {
        match action {
            Action::Say(said) => self.tell(1 - end, Event::Said(said)),
            Action::Fail(error) => self.tell(1 - end, Event::GivenUp(error)),
            Action::MayBeLeft => self.ends[end].may_be_left.store(true, Ordering::Relaxed),
            Action::Stop => self.ends[end].stop.store(true, Ordering::Relaxed),
            Action::Begin(begin) => {
                self.ends[end].began = Some(begin);
                for lane in 0..self.ends[end].lanes.len() {
                    self.begin(end, lane, begin);
                }
            }
        }
    }

    /// The step has begun: a lane waits for the moment of its flow.
    fn begin(&mut self, end: usize, lane: usize, begin: Tick) {
        let lane = &mut self.ends[end].lanes[lane];
        let LaneState::Ready(ready) = std::mem::replace(&mut lane.state, LaneState::Closed) else {
            panic!("a lane begins that is not connected")
        };
        let begin = begin.plus_ns(lane.planned.of.start_ns);
        lane.state = LaneState::Waiting { lane: ready, begin };
    }

    fn start(&mut self, end: usize, lane: usize, ready: Box<dyn Lane>, begin: Tick) {
        let clock = self.network.clock();
        let (stop, may_be_left) = (self.ends[end].stop, self.ends[end].may_be_left);
        let lane = &mut self.ends[end].lanes[lane];
        let OneFlow { kind, traffic, .. } = &*lane.planned.of;
        let times = LaneTimes::of(begin, traffic, lane.active, false, Tick(u64::MAX));
        let work = workload(*kind, traffic, lane.active, lane.region.1, begin, times.stop);
        // As the program does: a stream's depth, a question with its answer, requests with their replies.
        let depth = match kind {
            TrafficKind::Stream => traffic.depth,
            TrafficKind::Pingpong => 4,
            TrafficKind::Request => 2 * traffic.depth + 2,
        } as usize;
        let driver = Box::new(Driver::new(work, clock, NoMeter, LaneRecorder::new(times.window), depth));
        let ends = LaneEnds { times, stop, may_be_left, cut: AtomicBool::new(false) };
        lane.state = LaneState::Running { lane: ready, driver, ends };
    }

    fn turn_lane(&mut self, end: usize, at: usize) -> (bool, Tick, Option<Event>) {
        let now = self.now();
        let lane = &mut self.ends[end].lanes[at];
        match std::mem::replace(&mut lane.state, LaneState::Closed) {
            LaneState::Connecting { at, prepared } if at <= now => {
                match prepared.connect(&Offer::default(), Duration::from_secs(8)) {
                    Ok(connected) => {
                        lane.state = LaneState::Ready(connected);
                        (true, now, Some(Event::Ready))
                    }
                    Err(_) => (true, now, Some(Event::Failed(error(ErrorKind::Timeout)))),
                }
            }
            LaneState::Connecting { at, prepared } => {
                lane.state = LaneState::Connecting { at, prepared };
                (false, at, None)
            }
            LaneState::Waiting { begin, .. } if self.ends[end].stop.load(Ordering::Relaxed) => {
                let _ = begin;
                (true, now, Some(Event::Done { sent: self.ends[end].lanes[at].active }))
            }
            LaneState::Waiting { lane: ready, begin } if begin <= now => {
                self.start(end, at, ready, begin);
                (true, now, None)
            }
            LaneState::Waiting { lane: ready, begin } => {
                lane.state = LaneState::Waiting { lane: ready, begin };
                (false, begin, None)
            }
            LaneState::Running { lane: mut open, mut driver, ends } => {
                match turn(&mut *driver, &mut *open, &ends, Duration::ZERO) {
                    Ok(turned) => {
                        let due = match turned {
                            Turn::Idle(Some(at)) => at.min(ends.times.over),
                            _ => ends.times.over,
                        };
                        lane.state = LaneState::Running { lane: open, driver, ends };
                        (turned == Turn::Worked, due, None)
                    }
                    Err(ended) => {
                        driver.finish(&mut *open);
                        let active = lane.active;
                        let recorder = driver.into_recorder();
                        let stats = if matches!(ended, Ended::Done) || !active {
                            open.close()
                        } else {
                            open.abandon()
                        };
                        let (flow, streams) =
                            (lane.planned.flow, lane.planned.of.kind == TrafficKind::Stream);
                        self.ends[end].left.push(LaneLeft {
                            flow,
                            ended,
                            sends: active && streams,
                            asks: active && !streams,
                            stats: stats.unwrap_or_default(),
                            messages: recorder.messages(),
                            sent_bytes: recorder.sent_bytes(),
                            received_bytes: recorder.received_bytes(),
                            silence: recorder.longest_silence(),
                            service: recorder.service().clone(),
                            closed: self.network.now(),
                        });
                        (true, now, Some(Event::Done { sent: active }))
                    }
                }
            }
            other => {
                lane.state = other;
                (false, Tick(u64::MAX), None)
            }
        }
    }

    /// What went wrong at the level of the step, at each end.
    pub fn errors(self) -> [Option<ErrorKind>; 2] {
        self.ends.map(|end| end.course.into_error().map(|error| error.kind))
    }
}

fn workload(
    kind: TrafficKind,
    spec: &TrafficSpec,
    active: bool,
    region: RegionId,
    begin: Tick,
    stop: Tick,
) -> Box<dyn Workload> {
    let half = |n: u64| Slots { region, base: n * SLOTS * SLOT, stride: SLOT, slots: SLOTS };
    let (send, receive, size) = (half(0), half(1), spec.size_bytes as u32);
    let plan = RequestPlan {
        request_bytes: size,
        reply_bytes: size * 2,
        depth: spec.depth,
        spacing_ns: (spec.load == RequestLoad::Open)
            .then(|| 1000 * MS * u64::from(spec.lanes) / spec.requests_per_s.unwrap_or(1000)),
        start: begin,
        stop,
    };
    match (kind, active) {
        (TrafficKind::Stream, true) => Box::new(StreamSend::new(Verb::Send, send, size, stop)),
        (TrafficKind::Stream, false) => Box::new(StreamReceive::new(receive, size, stop)),
        (TrafficKind::Pingpong, true) => Box::new(PingPong::new(send, receive, size, stop)),
        (TrafficKind::Pingpong, false) => Box::new(Echo::new(send, receive, size, stop)),
        (TrafficKind::Request, true) => Box::new(Request::new(plan, send, receive)),
        (TrafficKind::Request, false) => Box::new(Reply::new(plan, send, receive)),
    }
}

/// What an interrupted end is told by its own user, at once.
pub fn interrupt(world: &mut World, end: usize) {
    let now = world.now();
    world.ends[end].inbox.push_front((now, Event::GivenUp(error(ErrorKind::Interrupted))));
}

/// The client wants to end before the time.
pub fn ending(world: &mut World) {
    world.tell(1, Event::Said(StepMessage::Ending));
}
