//! Stream, ping-pong and request steps: lanes over a transport, one thread each.

mod bulk;
mod job;
mod lane;
mod links;
#[cfg(test)]
mod long;
mod merge;
pub(super) mod multi;
mod notice;
mod offload;
mod port;
pub(super) mod proof;
#[cfg(test)]
mod received;
mod run;
mod singles;
mod stretch;
pub(super) mod stripes;
pub(super) mod verbs;

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Framing, LaneSpec, PreparedLane, ReceiveMode, Region, Role, SendMode, SendReports, WaitMode,
};
use pathproof_engine::traffic::{GRACE_NS, failover, nics};
use pathproof_model::{
    Class, Direction, End, ErrorKind, Finding, FollowUp, Half, NodeId, OneFlow, PlannedLane, ResultDoc, Step,
    StepError, StepRequest, StepSpec, TrafficKind, TrafficSpec,
};

use super::cost::{HUGE_PAGE_BYTES, LANE_BYTES, OPERATION_BYTES, rounded_up};
use super::stage::Cue;
use super::{Cost, Kind, Prepared, Runner, Setup, step_error};
use crate::registry::manners;
use job::{LaneJob, Part};
use pathproof_sys::ending::Ender;
pub use stretch::stretch;
use stripes::{Lists, Means, Stripes};

/// How long a lane may take to connect.
const CONNECT: Duration = Duration::from_secs(8);
/// What connecting, closing and telling take on a path where all is well.
const AROUND_NS: u64 = 250_000_000;

/// An offload that is off for a stream comes back so long after the stream must be over, where nothing of this process brings it back.
const OFF_SLACK: Duration = Duration::from_secs(20);

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

/// Whether a step is the first of those that try offloads: what the path is like with all as it is.
pub fn is_first_trial(step: &Step, doc: &ResultDoc) -> bool {
    let tries = |step: &Step| {
        let traffic = step.spec.as_ref().and_then(StepSpec::traffic);
        step.follows_up == Some(FollowUp::Search) && traffic.is_some_and(|traffic| traffic.offload.is_some())
    };
    tries(step) && !doc.steps.iter().any(tries)
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

/// The short steps over NICs that no stream of a check went over, and what they take.
pub fn beside(doc: &ResultDoc, nics: &[String]) -> Vec<StepSpec> {
    singles::beside(doc, nics)
}

/// The next short step over one of those NICs one way alone, where both ways at once, or one of them, carried little.
pub fn each_way(doc: &ResultDoc) -> Option<StepSpec> {
    let slow = || pathproof_engine::diagnose::slow_once(doc).map(StepSpec::Stream);
    singles::each_way(doc).or_else(slow).or_else(|| singles::alike(doc))
}

/// The next stream over one of them that tells whether it loses segments whatever the load, or fills a long queue.
pub fn of_one_nic(doc: &ResultDoc) -> Option<StepSpec> {
    let lossy = pathproof_engine::diagnose::slower_once(doc);
    lossy.or_else(|| pathproof_engine::diagnose::queue_once(doc)).map(StepSpec::Stream)
}

/// The next short step that tells what all those NICs carry together, with the one called `own`.
pub fn together(doc: &ResultDoc, own: &str, nics: &[String]) -> Option<StepSpec> {
    singles::together(doc, own, nics)
}

/// The same once more, where that came to little.
pub fn together_again(doc: &ResultDoc, own: &str, nics: &[String]) -> Option<StepSpec> {
    singles::together_again(doc, own, nics)
}

/// The next two of them together, where all of them came to little.
pub fn pair_of(doc: &ResultDoc, own: &str, nics: &[String]) -> Option<StepSpec> {
    singles::pair_of(doc, own, nics)
}

/// Holds what they carried together against what each carried by itself.
pub fn sum_up_together(doc: &mut ResultDoc) {
    let found = singles::sum_up_together(doc);
    doc.findings.extend(found);
}

/// What so many of those steps take.
pub fn beside_ns(nics: u64) -> u64 {
    singles::beside_ns(nics)
}

/// Puts what those steps came to, from `first` on, into the step at `at`.
pub fn sum_up(doc: &mut ResultDoc, at: usize, first: usize) {
    let alone: Vec<Step> = doc.steps.drain(first..).collect();
    singles::sum_up(&mut doc.steps[at], &alone);
    doc.steps.extend(alone);
    let found = singles::findings(doc, at);
    doc.findings.extend(found);
}

/// The runner.
pub struct Traffic;

/// A prepared half: lanes that wait for the peer's offers.
pub(super) struct Lanes {
    end: End,
    spec: TrafficSpec,
    seed: u64,
    lanes: Vec<(LaneJob, Box<dyn PreparedLane>)>,
    stripes: Stripes,
    saboteur: Option<multi::Saboteur>,
    /// What other kinds of step have beside their lanes.
    companions: Vec<Companion>,
}

/// A thread beside the lanes: begun and let go with them, and watched by nobody.
pub(super) struct Companion {
    /// Name of the thread.
    pub name: &'static str,
    /// What it does.
    pub work: Box<dyn FnOnce(Cue) + Send>,
    /// What tells it the end of the step where it waits in the kernel.
    pub ender: Option<Ender>,
}

/// What a lane is for, as this end sees it. `direction` says where payload (or the question) goes.
fn part(kind: TrafficKind, end: End, outward: bool) -> Part {
    let asks = (end == End::Client) == outward;
    match (kind, asks) {
        (TrafficKind::Stream, true) => Part::StreamSend,
        (TrafficKind::Stream, false) => Part::StreamReceive,
        (TrafficKind::Pingpong, true) => Part::PingPong,
        (TrafficKind::Pingpong, false) => Part::Echo,
        (TrafficKind::Request, true) => Part::Request,
        (TrafficKind::Request, false) => Part::Reply,
    }
}

fn invalid(message: String) -> StepError {
    StepError::new(ErrorKind::Invalid, message)
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

impl Kind for Traffic {
    fn name(&self, spec: &StepSpec) -> String {
        let Some((kind, traffic)) = spec.travels() else { return "traffic".into() };
        let asking = if traffic.direction == Direction::In { " from the peer" } else { "" };
        let (kind, way) = match kind {
            TrafficKind::Stream => match traffic.direction {
                Direction::Out => ("stream", " out"),
                Direction::In => ("stream", " in"),
                Direction::Both => ("stream", " both ways"),
            },
            TrafficKind::Pingpong => ("ping-pong", asking),
            TrafficKind::Request => ("request", asking),
        };
        let lanes = if traffic.lanes == 1 { "1 lane".into() } else { format!("{} lanes", traffic.lanes) };
        let size = pathproof_model::units::Bytes(traffic.size_bytes);
        let nics = match &singles::held_to(traffic)[..] {
            [] => String::new(),
            [nic] => format!(", {nic} alone"),
            nics => format!(", {} together", nics.join(" and ")),
        };
        // What only looks is no part of what the step is about.
        let beside = match traffic.beside.iter().filter(|flow| flow.class != Class::Probe).count() {
            0 => String::new(),
            1 => ", another flow beside it".into(),
            more => format!(", {more} flows beside it"),
        };
        let to = traffic.port.map_or_else(String::new, |port| format!(", over {}", port.name()));
        let trial = traffic.offload.map_or_else(String::new, |trial| format!(", {}", trial.words()));
        format!("{} {kind}{way}, {lanes}, {size}{to}{nics}{beside}{trial}", traffic.over)
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
        if let Some(t) = spec.traffic_mut() {
            let window_ns = left_ns.saturating_sub(around_ns(t)).min(t.time_ns);
            if window_ns < t.time_ns / 2 {
                return None;
            }
            t.shorten(window_ns);
        }
        Some(spec)
    }
}

impl Runner for Traffic {
    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        super::as_specified(setup)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let (kind, spec) =
            setup.spec.travels().ok_or_else(|| invalid("this is not a traffic step".into()))?;
        check(spec)?;
        spec.check_beside().map_err(invalid)?;
        let transport = setup.registry.get(&spec.over).map_err(|e| step_error(&e))?;
        let caps = transport.probe().map_err(|e| step_error(&e))?;
        verbs::check(kind, spec, &caps)?;
        port::check(kind, spec)?;
        let at_most = Duration::from_nanos(self.duration_ns(setup.spec)).saturating_add(OFF_SLACK);
        // Before there is a connection: it keeps to what its NIC could when it was made.
        let off = offload::Off::turn(spec.offload, setup.session, at_most, setup.registry.clock())?;
        let lanes: Box<dyn Prepared> = Box::new(prepare(setup, spec, spec.flows(kind), Lists::OfStep)?);
        let lanes: Box<dyn Prepared> = match port::Listener::open(spec, setup)? {
            Some(listener) => Box::new(port::OverPort { listener, lanes }),
            None => lanes,
        };
        Ok(match off {
            Some(off) => Box::new(offload::Tried { off, lanes }),
            None => lanes,
        })
    }

    fn cost(&self, spec: &StepSpec, paths: usize) -> Cost {
        let Some((kind, traffic)) = spec.travels() else { return Cost::default() };
        cost(&traffic.flows(kind), paths)
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        merge::merge(spec, step, client, server);
        if let Some(traffic) = spec.traffic() {
            proof::merge(traffic, step, client, server);
        }
        nics::merge(step, client, server);
        failover::merge(step, client, server);
        step.detail.offload = client.detail.offload.clone().or_else(|| server.detail.offload.clone());
    }

    fn relate(&self, _step: &mut Step, _doc: &ResultDoc) {
        // It stands by itself.
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        // A step that explains another one says what it shows about that one, and nothing of itself.
        if step.follows_up == Some(FollowUp::Yardstick) {
            return vec![];
        }
        // What one offload, or one port, came to is held against the others.
        if matches!(step.follows_up, Some(FollowUp::Search | FollowUp::Port)) {
            return vec![];
        }
        // What goes wrong while a network is down is what was asked for, but for bytes that are gone.
        if matches!(step.follows_up, Some(FollowUp::Loss | FollowUp::Migration)) {
            return failover::findings(step).into_iter().collect();
        }
        if step.follows_up == Some(FollowUp::Cause) {
            return proof::smaller_passes(step).into_iter().collect();
        }
        let mut found = notice::findings(step, doc.environment(NodeId::CLIENT));
        found.extend(crate::local_ports::finding(step.error.as_ref()));
        found.extend(proof::findings(step, doc));
        found.extend(nics::findings(step));
        found.extend(failover::findings(step));
        found
    }
}

/// Lanes for all of `flows`, which have the transport and the options of `spec`, the step as a whole; or by their `lists` each its own.
pub(super) fn prepare(
    setup: &Setup<'_>,
    spec: &TrafficSpec,
    flows: Vec<OneFlow>,
    lists: Lists,
) -> Result<Lanes, StepError> {
    flows.iter().try_for_each(|flow| check(&flow.traffic))?;
    let session = setup.session;
    let means = match lists {
        Lists::OfStep => {
            let options = crate::lane_options::read(&spec.over, &spec.options)?;
            vec![Means::of_step(setup, &spec.over, options)?]
        }
        Lists::OfFlows => Means::of_flows(setup, &flows)?,
    };
    // Where all have the same there is one.
    let of_flow = |flow: u16| means.get(usize::from(flow)).or(means.first());
    let planned = PlannedLane::all(flows);
    let paths = |lane: &PlannedLane| {
        of_flow(lane.flow).and_then(|own| own.stripe.as_ref()).map_or(1, multi::StripePlan::paths)
    };
    crate::descriptors::check(planned.iter().map(paths).sum::<usize>() as u64)?;
    let mut lanes = Vec::with_capacity(planned.len());
    for (index, lane) in planned.into_iter().enumerate() {
        let index = index as u32;
        let (kind, spec) = (lane.of.kind, &lane.of.traffic);
        let transport = setup.registry.get(&spec.over).map_err(|e| step_error(&e))?;
        let own = of_flow(lane.flow).ok_or_else(|| invalid("a step without flows has no lanes".into()))?;
        let part = part(kind, session.end, lane.outward);
        let mut lane_spec = lane_spec(kind, spec, session, setup.step, index);
        (lane_spec.dscp, lane_spec.priority) = (lane.of.dscp, lane.of.priority);
        if verbs::is_passive(part, spec) {
            lane_spec.wait_mode = WaitMode::Block;
        }
        match &own.stripe {
            Some(stripe) => stripe.shape(&mut lane_spec),
            None => lane_spec.options = own.options.clone(),
        }
        let role = if session.end == End::Client { Role::Dial } else { Role::Accept };
        let mut prepared = transport.prepare(role, &lane_spec).map_err(|e| step_error(&e))?;
        let layout = job::Layout::of(kind, spec);
        let (region, memory) = memory(layout.region_bytes, spec.huge_pages)
            .map_err(|e| StepError::new(ErrorKind::Resource, e.to_string()))?;
        let region = Arc::new(region);
        // Pages are touched before the run, or the first pass would measure page faults.
        region.fill(0, layout.region_bytes, verbs::FILL).map_err(|e| invalid(e.to_string()))?;
        let id = prepared.attach(&region, Access::RemoteReadWrite).map_err(|e| step_error(&e))?;
        let (flow, of) = (lane.flow, lane.of.clone());
        let job = LaneJob { index, flow, of, part, layout, region, region_id: id, memory };
        verbs::fill(&job, spec, session.seed);
        lanes.push((job, prepared));
    }
    let mut stripes = means.into_iter().map(|own| own.stripe);
    let stripes = match lists {
        Lists::OfStep => Stripes::OfStep(stripes.next().flatten()),
        Lists::OfFlows => Stripes::OfFlows(stripes.collect()),
    };
    let saboteur = match stripes.common() {
        Some(over) if !spec.fail.is_empty() && session.end == End::Client => {
            Some(multi::Saboteur::station(spec, over, setup.registry.clock())?)
        }
        _ => None,
    };
    let (end, seed) = (session.end, session.seed);
    let companions = vec![];
    Ok(Lanes { end, spec: spec.clone(), seed, lanes, stripes, saboteur, companions })
}

/// Fills the flows of a step from both halves.
pub(super) fn merge_flows(spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
    merge::merge(spec, step, client, server);
}

impl Lanes {
    /// The same with threads beside its lanes.
    pub(super) fn beside(&mut self, companions: impl IntoIterator<Item = Companion>) {
        self.companions.extend(companions);
    }
}

/// What flows cost an end that run in one step.
pub(super) fn cost(all: &[OneFlow], paths: usize) -> Cost {
    let each = all.iter().map(|flow| cost_of(flow.kind, &flow.traffic, paths));
    let sum = each.reduce(|sum, flow| Cost {
        memory_bytes: sum.memory_bytes.saturating_add(flow.memory_bytes),
        lanes: sum.lanes.saturating_add(flow.lanes),
        time_ns: sum.time_ns,
        message_bytes: sum.message_bytes.max(flow.message_bytes),
    });
    sum.unwrap_or_default()
}

/// What the lanes of one flow cost an end.
fn cost_of(kind: TrafficKind, traffic: &TrafficSpec, paths: usize) -> Cost {
    let ways = if traffic.direction == Direction::Both { 2 } else { 1 };
    let lanes = u64::from(traffic.lanes) * ways;
    let message_bytes = traffic.size_bytes.max(traffic.reply_bytes.unwrap_or(0));
    let region = job::Layout::of(kind, traffic).region_bytes;
    let region = if traffic.huge_pages { rounded_up(region, HUGE_PAGE_BYTES) } else { region };
    // The bytes that should have come, and room to make them.
    let verified = if traffic.verify { message_bytes.saturating_mul(2) } else { 0 };
    let operations = job::operations(kind, traffic);
    let kept = (manners(&traffic.over).memory_bytes)(operations, message_bytes, paths);
    let queues = u64::from(operations) * OPERATION_BYTES;
    let each = [region, verified, kept, queues].into_iter().fold(LANE_BYTES, u64::saturating_add);
    Cost { memory_bytes: each.saturating_mul(lanes), lanes, time_ns: traffic.length_ns(), message_bytes }
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
    kind: TrafficKind,
    spec: &TrafficSpec,
    session: &super::SessionFacts,
    step: u32,
    index: u32,
) -> LaneSpec {
    LaneSpec {
        lane: index,
        token: session.token(step, index),
        remote: (session.end == End::Client).then(|| port::at(session.peer, spec.port)),
        // The address that the client reached is the one whose RDMA device it means.
        local: (session.end == End::Server && manners(&spec.over).adapter).then(|| session.local.ip()),
        framing: Framing::Raw,
        // A lane has sends and receives outstanding; each direction has its own depth.
        depth: job::operations(kind, spec),
        message_bytes_max: spec.size_bytes.max(spec.reply_bytes.unwrap_or(0)) as u32,
        wait_mode: if spec.busy_poll { WaitMode::Spin } else { WaitMode::Block },
        send_mode: if spec.zero_copy { SendMode::ZeroCopy } else { SendMode::Copy },
        receive_mode: if spec.discard { ReceiveMode::Discard } else { ReceiveMode::Copy },
        // A stream's sender lives by its sends; elsewhere only the answer is news, and one question at a time is answered in full.
        send_reports: match kind {
            TrafficKind::Stream => SendReports::Prompt,
            TrafficKind::Request => SendReports::Lazy,
            TrafficKind::Pingpong => SendReports::Late,
        },
        sent_memory: verbs::sent_memory(kind, spec),
        max_segment_bytes: spec.max_segment_bytes,
        ..LaneSpec::default()
    }
}
