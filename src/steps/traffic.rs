//! Stream, ping-pong and request steps: lanes over a transport, one thread each.

mod bulk;
mod lane;
mod links;
#[cfg(test)]
mod long;
mod merge;
pub(super) mod multi;
mod notice;
pub(super) mod proof;
mod singles;
pub(super) mod verbs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use pathproof_api::{
    Access, Clock, Framing, LaneSpec, Offer, PreparedLane, ReceiveMode, Region, Role, SendMode, SendReports,
    Tick, Verb, WaitMode,
};
use pathproof_engine::control::StepMessage;
use pathproof_engine::record::WorstSecond;
use pathproof_engine::traffic::{Action, Course, Event};
use pathproof_model::{
    Direction, ErrorKind, Finding, FollowUp, Half, LaneResult, ResultDoc, Step, StepError, StepKind,
    StepRequest, StepSpec, TrafficSpec,
};

use super::cost::{HUGE_PAGE_BYTES, LANE_BYTES, OPERATION_BYTES, rounded_up};
use super::{Context, Cost, End, Prepared, Runner, Setup, not_connected, step_error};
use crate::budget::out_of_time;
use crate::clock::RealClock;
use crate::registry::manners;
use crate::session::Received;
use lane::{LaneJob, LaneOutcome, Part};

/// How long a lane may take to connect.
const CONNECT: Duration = Duration::from_secs(8);
/// How often lanes are looked after while they come and go, in ns.
const LOOK_NS: u64 = 1_000_000;
/// How often while all of them run, or nothing else matters.
const QUIET_LOOK_NS: u64 = 50_000_000;
/// How long after its end a lane is waited for: what is in flight may still drain.
const GRACE_NS: u64 = 2_000_000_000;
/// Samples that the built-in limits want for a p99.
const P99_SAMPLES: u64 = 1000;
/// What connecting, closing and telling take on a path where all is well.
const AROUND_NS: u64 = 250_000_000;

/// The next short step that would tell why one before `first` failed, given the answers from there on.
pub fn follow_up(doc: &ResultDoc, first: usize) -> Option<StepSpec> {
    let (planned, answers) = doc.steps.split_at_checked(first)?;
    let rdma = answers.is_empty().then(|| planned.iter().find_map(proof::follow_up)).flatten();
    rdma.or_else(|| bulk::follow_up(doc, first))
}

/// What the answers to those come to.
pub fn conclude(doc: &ResultDoc, first: usize) -> Vec<Finding> {
    bulk::findings(doc, first).into_iter().collect()
}

/// Whether a step stood and moved nothing for long.
pub fn stalled(step: &Step) -> bool {
    notice::stall(step).is_some()
}

/// The short steps that tell what the NICs of a striped step carry one by one, where it asked for them.
pub fn one_by_one(striped: &Step) -> Vec<StepSpec> {
    singles::steps(striped)
}

/// What those steps take, over so many NICs.
pub fn one_by_one_ns(spec: &StepSpec, nics: u64) -> u64 {
    let asked = spec.traffic().filter(|traffic| traffic.singles);
    asked.map_or(0, |t| around_ns(t).saturating_add(singles::time_ns(t)).saturating_mul(nics))
}

/// Puts what those steps came to, from `first` on, into the step at `at`.
pub fn sum_up(doc: &mut ResultDoc, at: usize, first: usize) {
    let alone: Vec<Step> = doc.steps.drain(first..).collect();
    singles::sum_up(&mut doc.steps[at], &alone);
    doc.steps.extend(alone);
    let found = singles::findings(doc, at);
    doc.findings.extend(found);
}

/// A ping-pong that has few samples for its percentiles in the time it asks for, where it may take `spare_ns` more.
pub fn stretch(spec: &StepSpec, spare_ns: u64, rtt_ns: u64) -> StepSpec {
    let mut spec = spec.clone();
    if let StepSpec::Pingpong(t) = &mut spec {
        // A tenth more than the verdict wants for a p99: not every round trip is the median.
        let wanted_ns = rtt_ns.saturating_mul(P99_SAMPLES).saturating_mul(11) / 10;
        t.time_ns = wanted_ns.clamp(t.time_ns, t.time_ns.saturating_add(spare_ns));
    }
    spec
}

/// The runner.
pub struct Traffic;

/// A prepared half: lanes that wait for the peer's offers.
struct Lanes {
    end: End,
    kind: StepKind,
    spec: TrafficSpec,
    seed: u64,
    lanes: Vec<(LaneJob, Box<dyn PreparedLane>)>,
    multi: Option<multi::Plan>,
    saboteur: Option<multi::Saboteur>,
    lanes_clock: RealClock,
}

/// What a lane is for, as this end sees it. `direction` says where payload (or the question) goes.
fn part(kind: StepKind, end: End, outward: bool) -> Part {
    let asks = (end == End::Client) == outward;
    match (kind, asks) {
        (StepKind::Stream, true) => Part::StreamSend,
        (StepKind::Stream, false) => Part::StreamReceive,
        (StepKind::Pingpong, true) => Part::PingPong,
        (StepKind::Pingpong, false) => Part::Echo,
        (_, true) => Part::Request,
        (_, false) => Part::Reply,
    }
}

/// One flag per lane: does its payload go outward?
fn lanes_outward(spec: &TrafficSpec) -> Vec<bool> {
    let n = spec.lanes as usize;
    match spec.direction {
        Direction::Out => vec![true; n],
        Direction::In => vec![false; n],
        Direction::Both => [vec![true; n], vec![false; n]].concat(),
    }
}

fn invalid(message: String) -> StepError {
    StepError { kind: ErrorKind::Invalid, message }
}

fn check(spec: &TrafficSpec) -> Result<(), StepError> {
    if spec.lanes == 0 || spec.time_ns == 0 || spec.size_bytes == 0 || spec.depth == 0 {
        return Err(invalid("lanes, size, depth and time must all be more than zero".into()));
    }
    if spec.size_bytes > u64::from(u32::MAX) || spec.reply_bytes.unwrap_or(1) > u64::from(u32::MAX) {
        return Err(invalid(format!(
            "a message of {} bytes is too large; 4 GiB is the limit",
            spec.size_bytes
        )));
    }
    Ok(())
}

impl Runner for Traffic {
    fn name(&self, spec: &StepSpec) -> String {
        let Some(traffic) = spec.traffic() else { return "traffic".into() };
        let kind = match spec.kind() {
            StepKind::Stream => "stream",
            StepKind::Pingpong => "ping-pong",
            _ => "request",
        };
        let way = match (spec.kind(), traffic.direction) {
            (StepKind::Stream, Direction::Out) => " out",
            (StepKind::Stream, Direction::In) => " in",
            (StepKind::Stream, Direction::Both) => " both ways",
            (_, Direction::In) => " from the peer",
            _ => "",
        };
        let lanes = if traffic.lanes == 1 { "1 lane".into() } else { format!("{} lanes", traffic.lanes) };
        let size = pathproof_model::units::Bytes(traffic.size_bytes);
        let nics = traffic.options.get("constrain").map_or(String::new(), |nics| format!(", {nics} alone"));
        format!("{} {kind}{way}, {lanes}, {size}{nics}", traffic.over)
    }

    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        super::as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let spec = setup.spec.traffic().ok_or_else(|| invalid("this is not a traffic step".into()))?;
        check(spec)?;
        let kind = setup.spec.kind();
        let session = setup.session;
        let transport = setup.registry.get(&spec.over).map_err(|e| step_error(&e))?;
        let caps = transport.probe().map_err(|e| step_error(&e))?;
        verbs::check(kind, spec, &caps)?;
        verbs::check_congestion(session.end, &spec.options)?;
        let multi = multi::plan(&spec.over, &spec.options, session, setup.paths)?;
        let saboteur = match &multi {
            Some(over) if !spec.fail.is_empty() && session.end == End::Client => {
                Some(multi::Saboteur::station(spec, over)?)
            }
            _ => None,
        };
        let outward = lanes_outward(spec);
        let sockets = outward.len() * multi.as_ref().map_or(1, multi::Plan::paths);
        crate::descriptors::check(sockets as u64)?;
        let mut lanes = Vec::with_capacity(outward.len());
        for (index, outward) in outward.into_iter().enumerate() {
            let index = index as u32;
            let part = part(kind, session.end, outward);
            let mut lane_spec = lane_spec(kind, spec, session, setup.step, index);
            if verbs::is_passive(part, spec) {
                lane_spec.wait_mode = WaitMode::Block;
            }
            if let Some(multi) = &multi {
                lane_spec.options = multi.options.clone();
            }
            let role = if session.end == End::Client { Role::Dial } else { Role::Accept };
            let mut prepared = transport.prepare(role, &lane_spec).map_err(|e| step_error(&e))?;
            let layout = lane::Layout::of(kind, spec);
            let (region, memory) = memory(layout.region_bytes, spec.huge_pages)
                .map_err(|e| StepError { kind: ErrorKind::Resource, message: e.to_string() })?;
            let region = Arc::new(region);
            // Pages are touched before the run, or the first pass would measure page faults.
            region.fill(0, layout.region_bytes, verbs::FILL).map_err(|e| invalid(e.to_string()))?;
            let id = prepared.attach(&region, Access::RemoteReadWrite).map_err(|e| step_error(&e))?;
            let job = LaneJob { index, part, layout, region, region_id: id, memory };
            verbs::fill(&job, spec, session.seed);
            lanes.push((job, prepared));
        }
        let (end, seed, lanes_clock) = (session.end, session.seed, setup.registry.clock().clone());
        Ok(Box::new(Lanes { end, kind, spec: spec.clone(), seed, lanes, multi, saboteur, lanes_clock }))
    }

    fn cost(&self, spec: &StepSpec, paths: usize) -> Cost {
        let Some(traffic) = spec.traffic() else { return Cost::default() };
        let ways = if traffic.direction == Direction::Both { 2 } else { 1 };
        let lanes = u64::from(traffic.lanes) * ways;
        let message_bytes = traffic.size_bytes.max(traffic.reply_bytes.unwrap_or(0));
        let region = lane::Layout::of(spec.kind(), traffic).region_bytes;
        let region = if traffic.huge_pages { rounded_up(region, HUGE_PAGE_BYTES) } else { region };
        // The bytes that should have come, and room to make them.
        let verified = if traffic.verify { message_bytes.saturating_mul(2) } else { 0 };
        let operations = lane::operations(spec.kind(), traffic);
        let kept = (manners(&traffic.over).memory_bytes)(operations, message_bytes, paths);
        let queues = u64::from(operations) * OPERATION_BYTES;
        let each = [region, verified, kept, queues].into_iter().fold(LANE_BYTES, u64::saturating_add);
        Cost { memory_bytes: each.saturating_mul(lanes), lanes, time_ns: traffic.length_ns(), message_bytes }
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        spec.traffic().map_or(0, |t| {
            t.warmup_ns
                .saturating_add(t.time_ns)
                .saturating_add(t.cooldown_ns)
                .saturating_add(GRACE_NS + CONNECT.as_nanos() as u64)
        })
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        spec.traffic().map_or(0, |t| around_ns(t).saturating_add(t.time_ns))
    }

    /// Down to half of its window.
    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        let mut spec = spec.clone();
        if let StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) = &mut spec {
            let window_ns = left_ns.saturating_sub(around_ns(t)).min(t.time_ns);
            if window_ns < t.time_ns / 2 {
                return None;
            }
            t.time_ns = window_ns;
        }
        Some(spec)
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        merge::merge(spec, step, client, server);
        if let Some(traffic) = spec.traffic() {
            proof::merge(traffic, step, client, server);
        }
        multi::merge(step, client, server);
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        // A step that explains another one says what it shows about that one, and nothing of itself.
        if step.follows_up == Some(FollowUp::Cause) {
            return proof::smaller_passes(step).into_iter().collect();
        }
        let mut found = notice::findings(step, &doc.environment);
        found.extend(proof::findings(step, doc));
        found.extend(multi::findings(step));
        found
    }
}

/// What a step takes beside its window: to connect, to warm up and cool down, to close, and to tell.
fn around_ns(spec: &TrafficSpec) -> u64 {
    spec.warmup_ns.saturating_add(spec.cooldown_ns).saturating_add(AROUND_NS)
}

/// A lane's memory, and in words what pages it has where huge ones were asked for.
fn memory(bytes: u64, huge: bool) -> Result<(Region, Option<String>), pathproof_api::RegionError> {
    if huge {
        return Region::prefer_huge(bytes).map(|(region, words)| (region, Some(words)));
    }
    Region::new(bytes, pathproof_api::Pages::Default).map(|region| (region, None))
}

fn lane_spec(
    kind: StepKind,
    spec: &TrafficSpec,
    session: &super::SessionFacts,
    step: u32,
    index: u32,
) -> LaneSpec {
    LaneSpec {
        lane: index,
        token: session.token(step, index),
        remote: (session.end == End::Client).then_some(session.peer),
        // The address that the client reached is the one whose RDMA device it means.
        local: (session.end == End::Server && manners(&spec.over).adapter).then(|| session.local.ip()),
        framing: Framing::Raw,
        // A lane has sends and receives outstanding; each direction has its own depth.
        depth: lane::operations(kind, spec),
        message_bytes_max: spec.size_bytes.max(spec.reply_bytes.unwrap_or(0)) as u32,
        wait_mode: if spec.busy_poll { WaitMode::Spin } else { WaitMode::Block },
        send_mode: if spec.zero_copy { SendMode::ZeroCopy } else { SendMode::Copy },
        receive_mode: if spec.discard { ReceiveMode::Discard } else { ReceiveMode::Copy },
        // A stream's sender lives by its sends; elsewhere only the answer is news.
        send_reports: if kind == StepKind::Stream { SendReports::Prompt } else { SendReports::Lazy },
        max_segment_bytes: spec.max_segment_bytes,
        options: spec.options.clone(),
        ..LaneSpec::default()
    }
}

impl Prepared for Lanes {
    fn offers(&self) -> Vec<Offer> {
        self.lanes.iter().map(|(_, lane)| lane.offer()).collect()
    }

    fn paths(&self) -> Vec<u32> {
        self.multi.as_ref().map(multi::Plan::leads_to).unwrap_or_default()
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let Lanes { end, kind, spec, seed, lanes, multi, saboteur, lanes_clock } = *self;
        let count = lanes.len();
        if peer.len() != count {
            let message = format!("the peer offered {} lanes and {count} were planned", peer.len());
            let error = StepError { kind: ErrorKind::Protocol, message };
            context.channel.fail(&error);
            return super::failed(error);
        }
        let before = proof::Before::take(&spec);
        let watch = multi.map(multi::Watch::begin);
        let watches = spec.watch_links;
        let nics = watch.as_ref().filter(|_| watches).map(multi::Watch::nics);
        let stop = Arc::new(AtomicBool::new(false));
        let ending = AtomicBool::new(false);
        let (news_in, news) = mpsc::channel();
        let verb = verbs::verb(&spec).unwrap_or(Verb::Send);
        let counted = lanes.iter().filter(|(job, _)| verbs::counts(job.part, verb)).count();
        let (mut worst, mut places) = WorstSecond::new(spec.time_ns, counted);
        let mut active = 0;
        let (patience, until) = (context.within(CONNECT), context.until);
        let (outcomes, failures) = std::thread::scope(|scope| {
            let mut threads = Vec::with_capacity(count);
            let mut starts = Vec::with_capacity(count);
            for ((job, prepared), offer) in lanes.into_iter().zip(peer) {
                let (start_in, start) = mpsc::channel::<Tick>();
                starts.push(start_in);
                let (news, stop, spec, clock) = (news_in.clone(), stop.clone(), &spec, context.clock.clone());
                let ending = &ending;
                active += usize::from(job.part.is_active());
                let index = job.index;
                let place = if verbs::counts(job.part, verb) { places.pop() } else { None };
                let spawned = std::thread::Builder::new().name(format!("lane {index}")).spawn_scoped(
                    scope,
                    move || {
                        let lane = match prepared.connect(&offer, patience) {
                            Ok(lane) => lane,
                            Err(error) => {
                                let error = not_connected(&error, patience < CONNECT);
                                let _ = news.send(Event::LaneFailed(error.clone()));
                                return LaneOutcome::failed(&job, end, error);
                            }
                        };
                        let _ = news.send(Event::LaneUp);
                        // The coordinator drops the sender when the step is given up before its start.
                        let Ok(begin) = start.recv() else { return LaneOutcome::unused(&job, end) };
                        let outcome = lane::run(
                            &job, end, kind, spec, seed, lane, clock, begin, until, &stop, ending, place,
                        );
                        let _ = news.send(Event::LaneDone { sent: job.part.is_active() });
                        outcome
                    },
                );
                match spawned {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        let message =
                            format!("cannot start lane thread {index}: {error}; ask for fewer --lanes");
                        let _ =
                            news_in.send(Event::LaneFailed(StepError { kind: ErrorKind::Resource, message }));
                    }
                }
            }
            let sabotage = saboteur.map(|saboteur| {
                let (start_in, start) = mpsc::channel::<Tick>();
                starts.push(start_in);
                let (stop, spec, clock, lanes_clock) =
                    (stop.clone(), &spec, context.clock.clone(), &lanes_clock);
                scope.spawn(move || saboteur.work(&start, spec, &clock, lanes_clock, &stop))
            });
            let (count, worst) = (threads.len(), &mut worst);
            let crew = Crew { news: &news, starts, stop: &stop, ending: &ending, count, active, worst };
            let clock = context.clock.clone();
            let links = |begin: Tick| {
                let (clock, window) = (clock, begin.plus_ns(spec.warmup_ns));
                nics.map(|nics| {
                    links::Links::watch(end, nics, clock, lanes_clock.clone(), window, spec.time_ns)
                })
            };
            let (error, seen) = conduct(context, end, &spec, crew, links);
            let outcomes: Vec<LaneOutcome> = threads.into_iter().filter_map(|t| t.join().ok()).collect();
            let (mut failures, unplayed) = match sabotage.map(|thread| thread.join()) {
                None => (vec![], None),
                Some(Ok(played)) => played,
                Some(Err(_)) => (vec![], Some(invalid("the thread that plays failures ended early".into()))),
            };
            let error = error.or(unplayed);
            failures.extend(seen);
            ((outcomes, error), failures)
        });
        let mut half = assemble(outcomes);
        half.worst_second_bytes = worst.finish();
        before.attach(&mut half, end.name());
        if let Some(watch) = watch {
            watch.finish(end, failures, &mut half);
        }
        half
    }
}

/// The lane threads as their coordinator knows them.
struct Crew<'a> {
    news: &'a mpsc::Receiver<Event>,
    starts: Vec<mpsc::Sender<Tick>>,
    stop: &'a AtomicBool,
    ending: &'a AtomicBool,
    /// Lanes, and those of them that send.
    count: usize,
    active: usize,
    /// Where the lanes leave what each tenth of a second brought.
    worst: &'a mut WorstSecond,
}

/// Waits for all lanes at both ends, starts them together, and watches the control channel until they end.
/// Returns what went wrong at the level of the step.
fn conduct(
    context: &mut Context<'_>,
    end: End,
    spec: &TrafficSpec,
    crew: Crew<'_>,
    links: impl FnOnce(Tick) -> Option<links::Links>,
) -> (Option<StepError>, Vec<pathproof_model::NicFailure>) {
    let Crew { news, starts, stop, ending, count, active, worst } = crew;
    let length_ns = spec.length_ns();
    let deadline = context.clock.now() + CONNECT + Duration::from_secs(2);
    let mut course = Course::new(end == End::Client, count, active, length_ns, deadline);
    let mut links = Some(links);
    let mut watched: Option<links::Links> = None;
    let mut begun: Option<Tick> = None;
    loop {
        let now = context.clock.now();
        course.handle(now, Event::Time);
        while let Ok(heard) = news.try_recv() {
            course.handle(now, heard);
        }
        while let Some(action) = course.action() {
            match action {
                Action::Say(said) => context.channel.send(said),
                Action::Fail(error) => context.channel.fail(&error),
                Action::Begin(begin) => {
                    for start in &starts {
                        let _ = start.send(begin);
                    }
                    watched = links.take().and_then(|links| links(begin));
                    begun = Some(begin);
                }
                Action::MayBeLeft => ending.store(true, Ordering::Relaxed),
                Action::Stop => stop.store(true, Ordering::Relaxed),
            }
        }
        if course.is_over() {
            break;
        }
        // Until the end is near there is nothing to look at but the control channel; then lanes end at any moment.
        let mut wake = now.plus_ns(LOOK_NS);
        if let Some(begin) = begun {
            worst.look();
            (context.progress)((now.ns_since(begin) as f64 / length_ns.max(1) as f64).min(1.0));
            let finish = begin.plus_ns(length_ns);
            if now < finish {
                wake = finish.min(now.plus_ns(QUIET_LOOK_NS));
            }
            if let Some(links) = &mut watched {
                links.look(context.channel);
                links.speak(now);
                if links.is_over(now) {
                    context.channel.send(StepMessage::Ending);
                }
            }
        }
        if !course.listens() {
            // Only the lanes are awaited.
            if let Ok(heard) = news.recv_timeout(course.due().min(now.plus_ns(QUIET_LOOK_NS)).since(now)) {
                course.handle(context.clock.now(), heard);
            }
            continue;
        }
        let received = context.channel.receive(wake.min(course.due()));
        let now = context.clock.now();
        let event = match received {
            Received::Nothing => continue,
            Received::Message(StepMessage::Link { nic, up }) if begun.is_some() => {
                if let Some(links) = &mut watched {
                    links.hear(nic, up, now);
                }
                continue;
            }
            Received::Message(said) => Event::Said(said),
            Received::PeerDone => Event::PeerDone(refusal(Received::PeerDone, course.when())),
            Received::OutOfTime => Event::OutOfTime(refusal(Received::OutOfTime, course.when())),
            other => Event::GivenUp(refusal(other, course.when())),
        };
        course.handle(now, event);
    }
    (course.into_error(), watched.map(links::Links::into_failures).unwrap_or_default())
}

/// What a piece of news other than the expected means for the step.
fn refusal(received: Received, when: &str) -> StepError {
    match received {
        Received::Lost(error) | Received::PeerFailed(error) => error,
        Received::Interrupted => crate::interrupt::error(),
        Received::PeerDone => {
            StepError { kind: ErrorKind::PeerLost, message: format!("the client gave the step up {when}") }
        }
        Received::OutOfTime => out_of_time(&format!("it was cut short {when}")),
        _ => StepError {
            kind: ErrorKind::Timeout,
            message: format!("the peer was silent {when}; run again, and look at its log"),
        },
    }
}

fn assemble((outcomes, error): (Vec<LaneOutcome>, Option<StepError>)) -> Half {
    let mut half = Half::default();
    for outcome in outcomes {
        half.lanes.push(outcome.result);
        half.histograms.extend(outcome.histograms);
        half.intervals.extend(outcome.intervals);
    }
    let of_a_lane = |lane: &LaneResult| lane.error.clone();
    half.error = error.or_else(|| half.lanes.iter().find_map(of_a_lane));
    half
}
