//! The migration rehearsal: real memory, really dirtied, really copied, compared byte by byte.
//!
//! The client is the source and decides; the server is the destination and serves. Pages travel as one-sided
//! writes straight from guest memory to their place in the peer's; a few messages on the same lanes carry zero
//! ranges, barriers and hash questions ([`wire`](pathproof_engine::migrate::copy::wire)). The control channel is used at the start, and to notice that
//! the other end is gone.

mod destination;
mod dirtier;
pub(crate) mod disk;
mod lane;
mod memory;
mod merge;
mod source;

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use pathproof_api::{
    Access, Clock, Framing, LaneSpec, Offer, Pages, PreparedLane, Region, RegionId, Role, Tick,
};
use pathproof_engine::migrate::copy::pacer::Pacer;
use pathproof_engine::migrate::copy::pack::{Packed, Packer};
use pathproof_engine::migrate::copy::wire;
use pathproof_engine::migrate::{AutoConverge, PAGE_BYTES, Pattern, Policy};
use pathproof_model::units::Bytes;
use pathproof_model::{
    ErrorKind, Finding, Half, LaneResult, MigrateSpec, ResultDoc, Step, StepError, StepRequest, StepSpec,
    TrafficSpec,
};
use serde_json::json;

use super::cost::{LANE_BYTES, OPERATION_BYTES};
use super::traffic::{multi, proof, verbs};
use super::{Context, Cost, End, Prepared, Runner, Setup, failed, not_connected, step_error};
use crate::budget::out_of_time;
use crate::host::load::Waiting;
use crate::session::Received;
use destination::{DestinationLane, Served, Subject};
use disk::{Disk, DiskStory};
use lane::{LaneParts, SourceLane};
use source::{Common, Job, Report, Slot, Worker};

/// How long a lane may take to connect.
const CONNECT: Duration = Duration::from_secs(8);
/// How long memory may take to become ready: this, and a second for each GiB.
const READY_NS: u64 = 20_000_000_000;
/// What is kept of each block of a disk: its hash, whether it has come, its version.
const BLOCK_BYTES: u64 = 48;
/// How often the coordinator looks around.
const LOOK_NS: u64 = 10_000_000;

/// The runner.
pub struct Migrate;

/// A fault to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One bit of one page changes on the way.
    BitFlip,
    /// One page is never sent.
    LostPage,
    /// One bit of one block of the disk changes on the way.
    DiskBitFlip,
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(text: &str) -> Result<Fault, String> {
        match text {
            "bit-flip" => Ok(Fault::BitFlip),
            "lost-page" => Ok(Fault::LostPage),
            "disk-bit-flip" => Ok(Fault::DiskBitFlip),
            other => Err(format!("unknown fault {other:?}; use bit-flip, lost-page or disk-bit-flip")),
        }
    }
}

/// One guest's memory with its lanes, none of them connected yet.
struct SlotParts {
    region: Arc<Region>,
    lanes: Vec<LaneUnconnected>,
}

struct LaneUnconnected {
    index: u32,
    prepared: Box<dyn PreparedLane>,
    guest_id: RegionId,
    messages: Arc<Region>,
    messages_id: RegionId,
}

struct Ready {
    end: End,
    spec: MigrateSpec,
    policy: Policy,
    pattern: Pattern,
    fault: Option<Fault>,
    slots: Vec<SlotParts>,
    /// The lane of the disk, where one moves.
    disk_lane: Option<LaneUnconnected>,
    /// The disk itself, at the source.
    disk: Option<Disk>,
    /// The paths of each lane, over several NICs.
    stripe: Option<multi::Plan>,
    overhead_bytes: u64,
    prepared_ns: u64,
}

fn invalid(message: impl Into<String>) -> StepError {
    StepError { kind: ErrorKind::Invalid, message: message.into() }
}

fn spec_of(spec: &StepSpec) -> Result<&MigrateSpec, StepError> {
    match spec {
        StepSpec::Migrate(migrate) => Ok(migrate),
        _ => Err(invalid("this is not a migrate step")),
    }
}

/// The part of a specification that traffic steps share.
fn as_traffic(spec: &MigrateSpec) -> TrafficSpec {
    TrafficSpec { over: spec.over.clone(), options: spec.options.clone(), ..TrafficSpec::default() }
}

/// The policy that a specification names, with its options.
pub fn policy_of(spec: &MigrateSpec) -> Result<Policy, StepError> {
    let mut policy = Policy::named(&spec.policy).map_err(|e| invalid(e.to_string()))?;
    if let Some(limit) = spec.downtime_limit_ns {
        policy = policy.with_downtime_limit_ns(limit);
    }
    match &mut policy {
        Policy::Qemu { auto_converge, post_copy, .. } => {
            *auto_converge = spec.auto_converge.then(AutoConverge::default);
            *post_copy = spec.post_copy;
        }
        _ if spec.auto_converge || spec.post_copy => {
            return Err(invalid(format!(
                "auto-converge and post-copy are QEMU's; policy {} has neither",
                spec.policy
            )));
        }
        _ => {}
    }
    Ok(policy)
}

/// Largest log that is replayed: ten million pages.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The pattern that a specification names.
pub fn pattern_of(spec: &MigrateSpec) -> Result<Pattern, StepError> {
    if let Some(file) = spec.pattern.strip_prefix("replay=") {
        let text = crate::input::read(file.as_ref(), LOG_BYTES_MAX)
            .and_then(|bytes| Ok(String::from_utf8(bytes)?))
            .map_err(|e| invalid(format!("the recorded dirty log {file} cannot be read: {e:#}")))?;
        let log: Result<Vec<u64>, _> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::parse).collect();
        let log =
            log.map_err(|e| invalid(format!("{file}: one page number on each line is expected ({e})")))?;
        return Ok(Pattern::Replay(log.into()));
    }
    spec.pattern.parse().map_err(|e: pathproof_engine::migrate::PatternError| invalid(e.to_string()))
}

fn check(spec: &MigrateSpec) -> Result<(), StepError> {
    if spec.memory_bytes < PAGE_BYTES || !spec.memory_bytes.is_multiple_of(PAGE_BYTES) {
        return Err(invalid(format!(
            "guest memory of {} bytes; it must be a multiple of {PAGE_BYTES} and more than 0",
            spec.memory_bytes
        )));
    }
    if spec.memory_bytes / PAGE_BYTES > u64::from(u32::MAX) {
        return Err(invalid("guest memory beyond 16 TiB is not supported"));
    }
    if spec.lanes == 0 || spec.guests == 0 || spec.parallel == 0 {
        return Err(invalid("lanes, guests and parallel must all be at least 1"));
    }
    if spec.compressible_percent > 100 {
        return Err(invalid(format!(
            "{} % of compressible pages; at most 100 make sense",
            spec.compressible_percent
        )));
    }
    match &spec.disk {
        Some(disk) if disk.bytes == 0 || disk.bytes > 64 << 40 => {
            return Err(invalid(format!("a disk of {} bytes; between 1 B and 64 TiB can move", disk.bytes)));
        }
        None if spec.fault.as_deref() == Some("disk-bit-flip") => {
            return Err(invalid("fault disk-bit-flip needs a disk to flip a bit of; add --disk"));
        }
        _ => {}
    }
    if spec.zero_percent > 100 {
        return Err(invalid(format!("{} % of zero pages; at most 100 make sense", spec.zero_percent)));
    }
    if !(PAGE_BYTES..=64 << 20).contains(&u64::from(spec.chunk_bytes)) {
        return Err(invalid("a chunk is between 4 KiB and 64 MiB"));
    }
    if spec.bandwidth_bytes_per_s == Some(0) {
        return Err(invalid("a bandwidth of 0 moves nothing; leave the cap out for none"));
    }
    if !["log", "pagemap-scan"].contains(&spec.tracker.as_str()) {
        return Err(invalid(format!("unknown tracker {:?}; use log or pagemap-scan", spec.tracker)));
    }
    Ok(())
}

/// Largest message of a lane.
fn message_bytes(spec: &MigrateSpec) -> u32 {
    spec.chunk_bytes.max(wire::SLOT_BYTES)
}

/// Memory of one guest, given what both hosts have free.
fn memory_bytes(setup: &Setup<'_>) -> Result<u64, StepError> {
    let session = setup.session;
    let limit = session.limits.memory_bytes.min(session.limits.total_memory_bytes.unwrap_or(u64::MAX));
    let theirs = session.peer_environment.memory_available_bytes.unwrap_or(u64::MAX).min(limit);
    let available = [session.environment.memory_available_bytes, Some(theirs)];
    Ok(spec_of(setup.spec)?.memory_for(available, session.peer.ip() == session.local.ip()))
}

/// Everything that can be refused without looking at either host.
pub fn check_all(spec: &MigrateSpec) -> Result<(), StepError> {
    check(spec)?;
    policy_of(spec)?;
    pattern_of(spec)?;
    spec.fault.as_deref().map(Fault::from_str).transpose().map_err(invalid)?;
    Ok(())
}

impl Runner for Migrate {
    fn name(&self, spec: &StepSpec) -> String {
        let Ok(spec) = spec_of(spec) else { return "migrate".into() };
        let guests = if spec.guests == 1 { String::new() } else { format!("{} guests of ", spec.guests) };
        let memory = Bytes(spec.memory_bytes);
        match spec.budget_ns {
            None => {
                let dirty = Bytes(spec.dirty_bytes_per_s);
                format!("{} migration, {guests}{memory}, {dirty}/s dirtied, {}", spec.over, spec.policy)
            }
            // What it came to stands in the result.
            Some(_) => format!("{} migration, {guests}at most {memory}, {}", spec.over, spec.policy),
        }
    }

    fn request(&self, setup: &Setup<'_>) -> Result<StepRequest, StepError> {
        // Both hosts are known by now, so a budget's memory is settled before it is asked for.
        let spec = MigrateSpec { memory_bytes: memory_bytes(setup)?, ..spec_of(setup.spec)?.clone() };
        StepRequest::of(&StepSpec::Migrate(spec)).map_err(invalid)
    }

    fn prepare(&self, setup: &Setup<'_>) -> Result<Box<dyn Prepared>, StepError> {
        let began = crate::clock::RealClock::new();
        let mut spec = spec_of(setup.spec)?.clone();
        check(&spec)?;
        let here = &setup.session.environment;
        let there = &setup.session.peer_environment;
        let same_host = setup.session.peer.ip() == setup.session.local.ip();
        spec.memory_bytes = memory_bytes(setup)?;
        let spec = &spec;
        let policy = policy_of(spec)?;
        verbs::check_congestion(setup.session.end, &spec.options)?;
        let stripe = multi::plan(&spec.over, &spec.options, setup.session, setup.paths)?;
        // The log of a replay lies at the source; the destination needs no pattern.
        let pattern = match setup.session.end {
            End::Client => pattern_of(spec)?,
            End::Server => Pattern::Uniform,
        };
        let fault = spec.fault.as_deref().map(str::parse).transpose().map_err(invalid)?;
        let session = setup.session;
        let slots = spec.parallel.min(spec.guests);
        let memory = spec.memory_bytes.saturating_mul(u64::from(slots));
        // A hash and a version of each block of the disk.
        let disk_bytes = spec.disk.as_ref().map_or(0, |d| disk::blocks(d.bytes) * 24);
        let memory = memory.saturating_add(disk_bytes);
        memory::check_room(memory, here, there, same_host)?;
        if memory > session.limits.memory_bytes {
            return Err(StepError {
                kind: ErrorKind::Refused,
                message: format!(
                    "the rehearsal needs {} at the peer, whose limit is {}; start it with --limits memory=SIZE or ask for less",
                    Bytes(memory),
                    Bytes(session.limits.memory_bytes)
                ),
            });
        }
        if spec.tracker == "pagemap-scan" && session.end == End::Client {
            pathproof_api::PagemapScan::self_test()
                .map_err(|message| StepError { kind: ErrorKind::Unsupported, message })?;
        }
        let transport = setup.registry.get(&spec.over).map_err(|e| step_error(&e))?;
        let role = if session.end == End::Client { Role::Dial } else { Role::Accept };
        let resource =
            |e: pathproof_api::RegionError| StepError { kind: ErrorKind::Resource, message: e.to_string() };
        let make_lane = |index: u32, guest: Option<&Arc<Region>>| {
            let options = match &stripe {
                Some(stripe) => stripe.options.clone(),
                None => verbs::options(&as_traffic(spec)),
            };
            let lane_spec = LaneSpec {
                lane: index,
                token: session.token(setup.step, index),
                remote: (session.end == End::Client).then_some(session.peer),
                // The address that the client reached is the one whose RDMA device it means.
                local: (session.end == End::Server && spec.over == "rdma").then(|| session.local.ip()),
                options,
                framing: Framing::Framed,
                depth: lane::DEPTH,
                message_bytes_max: message_bytes(spec),
                ..LaneSpec::default()
            };
            let mut prepared = transport.prepare(role, &lane_spec).map_err(|e| step_error(&e))?;
            let messages = Arc::new(Region::new(lane::MESSAGE_BYTES, Pages::Default).map_err(resource)?);
            let access = if session.end == End::Client { Access::Local } else { Access::RemoteWrite };
            let guest_id = match guest {
                Some(region) => Some(prepared.attach(region, access).map_err(|e| step_error(&e))?),
                None => None,
            };
            let messages_id = prepared.attach(&messages, Access::Local).map_err(|e| step_error(&e))?;
            // A disk travels in messages alone.
            let guest_id = guest_id.unwrap_or(messages_id);
            Ok(LaneUnconnected { index, prepared, guest_id, messages, messages_id })
        };
        let mut parts = vec![];
        for slot in 0..slots {
            let kind = if spec.tracker == "pagemap-scan" { Pages::Small } else { Pages::Default };
            // One page behind the guest's is for staging.
            let region = Arc::new(Region::new(spec.memory_bytes + PAGE_BYTES, kind).map_err(resource)?);
            if kind == Pages::Default {
                region.prefer_huge_pages();
            }
            let lanes = (slot * spec.lanes..(slot + 1) * spec.lanes)
                .map(|index| make_lane(index, Some(&region)))
                .collect::<Result<_, _>>()?;
            parts.push(SlotParts { region, lanes });
        }
        let disk = match (&spec.disk, session.end) {
            (Some(disk), End::Client) => Some(Disk::new(disk, spec.seed)?),
            _ => None,
        };
        let disk_lane = spec.disk.as_ref().map(|_| make_lane(slots * spec.lanes, None)).transpose()?;
        // Bitmaps (the log, the harvest, the round), message slots, and hashes under way.
        let bitmap = spec.memory_bytes / PAGE_BYTES / 8;
        let per_lane = lane::MESSAGE_BYTES + 4 * u64::from(wire::SLOT_BYTES);
        let of_guests = u64::from(slots) * (4 * bitmap + u64::from(spec.lanes) * per_lane + PAGE_BYTES);
        let overhead_bytes = of_guests + spec.disk.as_ref().map_or(0, |_| disk_bytes + per_lane);
        Ok(Box::new(Ready {
            end: session.end,
            spec: spec.clone(),
            policy,
            pattern,
            fault,
            slots: parts,
            disk_lane,
            disk,
            stripe,
            overhead_bytes,
            prepared_ns: began.now().0,
        }))
    }

    fn cost(&self, spec: &StepSpec, paths: usize) -> Cost {
        let Ok(spec) = spec_of(spec) else { return Cost::default() };
        let places = u64::from(spec.parallel.min(spec.guests));
        let disk_lanes = u64::from(spec.disk.is_some());
        let lanes = places.saturating_mul(spec.lanes.into()).saturating_add(disk_lanes);
        // The guest, a page for staging, and bitmaps: the log, the harvest, the round and the next one.
        let bitmaps = spec.memory_bytes / PAGE_BYTES / 8 * 4;
        let guest = spec.memory_bytes.saturating_add(PAGE_BYTES).saturating_add(bitmaps);
        let striped = match spec.over.as_str() {
            "multi" => pathproof_multi::memory_bytes(lane::DEPTH, message_bytes(spec).into(), paths),
            _ => 0,
        };
        let queues = u64::from(lane::DEPTH) * OPERATION_BYTES;
        let each_lane = LANE_BYTES + lane::MESSAGE_BYTES + queues;
        let disk = spec.disk.as_ref().map_or(0, |disk| disk::blocks(disk.bytes).saturating_mul(BLOCK_BYTES));
        let memory_bytes = guest
            .saturating_mul(places)
            .saturating_add(each_lane.saturating_add(striped).saturating_mul(lanes))
            .saturating_add(disk);
        Cost {
            memory_bytes,
            lanes,
            time_ns: spec.time_limit_ns.unwrap_or(u64::MAX),
            message_bytes: spec.chunk_bytes.into(),
        }
    }

    fn duration_ns(&self, spec: &StepSpec) -> u64 {
        // A guest that does not converge may take any time that the server allows for a step.
        spec_of(spec).map_or(0, |s| {
            let memory = s.memory_bytes.saturating_mul(u64::from(s.parallel.min(s.guests)));
            s.time_limit_ns.unwrap_or(3_600_000_000_000).saturating_mul(2).saturating_add(ready_ns(memory))
        })
    }

    fn need_ns(&self, spec: &StepSpec) -> u64 {
        spec_of(spec).map_or(0, |s| s.budget_ns.map_or(u64::MAX, |copy_ns| need_ns(s, copy_ns)))
    }

    /// Down to a third of its copy.
    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        let mut spec = spec.clone();
        if let StepSpec::Migrate(migrate) = &mut spec {
            let Some(copy_ns) = migrate.budget_ns else { return Some(spec) };
            let rest_ns = need_ns(migrate, 0);
            let fits_ns = left_ns.saturating_sub(rest_ns).saturating_mul(2) / 3;
            if fits_ns < copy_ns / 3 {
                return None;
            }
            migrate.budget_ns = Some(copy_ns.min(fits_ns));
        }
        Some(spec)
    }

    fn merge(&self, spec: &StepSpec, step: &mut Step, client: &Half, server: &Half) {
        merge::merge(spec, step, client, server);
        if let StepSpec::Migrate(migrate) = spec {
            let evidence = |half: &Half| Half { detail: half.detail["rdma"].clone(), ..Half::default() };
            proof::merge(&as_traffic(migrate), step, &evidence(client), &evidence(server));
            multi::merge_nics(step, &client.detail["nics"], &server.detail["nics"]);
        }
    }

    fn findings(&self, step: &Step, doc: &ResultDoc) -> Vec<Finding> {
        let mut found = proof::findings(step, doc);
        found.extend(multi::findings(step));
        found
    }
}

/// What a scaled rehearsal takes whose copy takes `copy_ns`: memory made ready at a GiB a second, the path measured, a
/// copy that takes half as long again as expected, and the pages compared.
fn need_ns(spec: &MigrateSpec, copy_ns: u64) -> u64 {
    let memory_ns = spec.memory_bytes.saturating_mul(u64::from(spec.parallel.min(spec.guests)));
    const AROUND_NS: u64 = 300_000_000;
    source::MEASURED_NS
        .saturating_add(AROUND_NS)
        .saturating_add(memory_ns)
        .saturating_add(copy_ns.saturating_mul(3) / 2)
}

fn ready_ns(memory_bytes: u64) -> u64 {
    READY_NS.saturating_add(memory_bytes)
}

impl Prepared for Ready {
    fn offers(&self) -> Vec<Offer> {
        self.slots.iter().flat_map(|s| &s.lanes).chain(&self.disk_lane).map(|l| l.prepared.offer()).collect()
    }

    fn paths(&self) -> Vec<u32> {
        self.stripe.as_ref().map(multi::Plan::leads_to).unwrap_or_default()
    }

    fn run(mut self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let count = self.slots.iter().flat_map(|s| &s.lanes).chain(&self.disk_lane).count();
        if peer.len() != count {
            let message = format!("the peer offered {} lanes and {count} were planned", peer.len());
            let error = StepError { kind: ErrorKind::Protocol, message };
            context.channel.fail(&error);
            return failed(error);
        }
        let (end, traffic) = (self.end, as_traffic(&self.spec));
        let before = proof::Before::take(&traffic);
        let watch = self.stripe.take().map(multi::Watch::begin);
        let mut half = match end {
            End::Client => run_source(*self, context, peer),
            End::Server => run_destination(*self, context, peer),
        };
        let story = std::mem::take(&mut half.detail);
        before.attach(&mut half, end.name());
        let rdma = std::mem::take(&mut half.detail);
        if let Some(watch) = watch {
            watch.end(end, &mut half);
        }
        half.detail = json!({ "story": story, "rdma": rdma, "nics": half.detail });
        half
    }
}

/// What threads tell the coordinator before the start.
enum News {
    /// One more of the things waited for is ready.
    Ready,
    /// One of them cannot be.
    Failed(StepError),
}

fn run_source(ready: Ready, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
    let began = context.clock.now();
    let Ready { spec, policy, pattern, fault, slots, disk_lane, disk, overhead_bytes, prepared_ns, .. } =
        ready;
    let memory = spec.memory_bytes.saturating_mul(slots.len() as u64);
    let pages = spec.memory_bytes / PAGE_BYTES;
    let stop = Arc::new(AtomicBool::new(false));
    let common = Common {
        policy,
        pattern,
        fault,
        clock: context.clock.clone(),
        patience: context.within(CONNECT),
        stop: stop.clone(),
        progress: Arc::new(AtomicU64::new(0)),
        expected: AtomicU64::new(0),
        next_guest: AtomicU32::new(0),
        scaled: OnceLock::new(),
        path_bytes_per_s: AtomicU64::new(0),
        predicted: AtomicBool::new(false),
        standing: AtomicU32::new(0),
        spec,
    };
    let pacer = Arc::new(Pacer::new(common.spec.bandwidth_bytes_per_s));
    let (news_in, news) = mpsc::channel();
    let mut setup_ns = 0;
    let mut offers = peer.into_iter();
    let (stories, lanes, disk, error) = std::thread::scope(|scope| {
        let mut starts = vec![];
        let mut conductors = vec![];
        let mut threads = vec![];
        let mut awaited = 0;
        for slot in slots {
            let mut workers = vec![];
            for unconnected in slot.lanes {
                let (jobs_in, jobs) = mpsc::channel();
                let (reports_in, reports) = mpsc::channel();
                workers.push(Worker { jobs: jobs_in, reports });
                let offer = offers.next().unwrap_or_default();
                let (news, region, common) = (news_in.clone(), slot.region.clone(), &common);
                let pacer = pacer.clone();
                awaited += 1;
                threads.push(scope.spawn(move || {
                    let index = unconnected.index;
                    match source_lane(unconnected, &offer, &news, Some(region), pages, common, pacer) {
                        Ok(lane) => work(index, lane, &jobs, &reports_in),
                        Err(end) => *end,
                    }
                }));
            }
            let (start_in, start) = mpsc::channel();
            starts.push(start_in);
            let slot = Slot { region: slot.region, workers, next_number: 0 };
            let (news, common) = (news_in.clone(), &common);
            awaited += 1;
            conductors.push(scope.spawn(move || {
                let filled = || {
                    let _ = news.send(News::Ready);
                };
                source::conduct(common, slot, &filled, &start)
            }));
        }
        // The storage moves first; the guests start when it is there.
        let start_guests = move || {
            starts.iter().for_each(|start: &mpsc::Sender<()>| {
                let _ = start.send(());
            });
        };
        let (go_in, go) = mpsc::channel();
        let storage = disk_lane.zip(disk).map(|(unconnected, disk)| {
            let offer = offers.next().unwrap_or_default();
            let (news, common, pacer) = (news_in.clone(), &common, pacer.clone());
            let start_guests = start_guests.clone();
            awaited += 1;
            scope.spawn(move || {
                let index = unconnected.index;
                let blocks = disk::blocks(common.spec.disk.as_ref().map_or(0, |d| d.bytes));
                let mut lane = match source_lane(unconnected, &offer, &news, None, blocks, common, pacer) {
                    Ok(lane) => lane,
                    Err(end) => return (*end, DiskStory::default()),
                };
                // Dropped without a word when the step is given up before its start.
                if go.recv().is_err() {
                    return (lane_failed(index, End::Client, lane::given_up()), DiskStory::default());
                }
                let story = disk::conduct(common, &disk, &mut lane, start_guests);
                match &story.error {
                    Some(error) => {
                        common.stop.store(true, Ordering::Relaxed);
                        (lane_failed(index, End::Client, error.clone()), story)
                    }
                    None => (end_of(index, lane), story),
                }
            })
        });
        drop(news_in);
        let opened = await_ready(context, &news, awaited, End::Client, memory);
        setup_ns = context.clock.now().ns_since(began) + prepared_ns;
        let mut error = opened.err();
        match &error {
            Some(error) => {
                stop.store(true, Ordering::Relaxed);
                context.channel.fail(error);
            }
            None if storage.is_some() => {
                let _ = go_in.send(());
            }
            None => start_guests(),
        }
        drop((start_guests, go_in));
        loop {
            if conductors.iter().all(|c| c.is_finished()) {
                // Those that will never stop in due form, too.
                common.standing.store(u32::MAX, Ordering::Relaxed);
                if storage.as_ref().is_none_or(|s| s.is_finished()) {
                    break;
                }
            }
            let expected = common.expected.load(Ordering::Relaxed);
            if expected > 0 {
                let copied = common.progress.load(Ordering::Relaxed);
                (context.progress)((copied as f64 / expected as f64).min(1.0));
            }
            let wake = context.clock.now().plus_ns(LOOK_NS);
            match context.channel.receive(wake) {
                Received::Message(_) | Received::Nothing => {}
                other => {
                    stop.store(true, Ordering::Relaxed);
                    if error.is_none() {
                        error = Some(refusal(other, "during the migration"));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        let stories: Vec<Vec<source::Story>> = conductors.into_iter().filter_map(|c| c.join().ok()).collect();
        let mut lanes: Vec<LaneEnd> = threads.into_iter().filter_map(|t| t.join().ok()).collect();
        let disk = storage.and_then(|s| s.join().ok()).map(|(end, story)| {
            lanes.push(end);
            story
        });
        (stories, lanes, disk, error)
    });
    merge::source_half(&common.spec, stories, lanes, disk, error, setup_ns, overhead_bytes)
}

/// Connects a lane of the source and tells how that went.
fn source_lane(
    unconnected: LaneUnconnected,
    offer: &Offer,
    news: &mpsc::Sender<News>,
    guest: Option<Arc<Region>>,
    pages: u64,
    common: &Common,
    pacer: Arc<Pacer>,
) -> Result<SourceLane, Box<LaneEnd>> {
    let LaneUnconnected { index, prepared, guest_id, messages, messages_id } = unconnected;
    let lane = connect(index, End::Client, prepared, offer, common.patience, news)?;
    let packs = common.spec.compress && guest.is_some();
    Ok(SourceLane::new(LaneParts {
        lane,
        guest: (guest.unwrap_or_else(|| messages.clone()), guest_id),
        messages: (messages, messages_id),
        chunk_bytes: u64::from(common.spec.chunk_bytes),
        pages,
        clock: common.clock.clone(),
        stop: common.stop.clone(),
        pacer,
        progress: common.progress.clone(),
        packer: packs.then(Packer::new),
    }))
}

fn connect(
    index: u32,
    end: End,
    prepared: Box<dyn PreparedLane>,
    offer: &Offer,
    patience: Duration,
    news: &mpsc::Sender<News>,
) -> Result<Box<dyn pathproof_api::Lane>, Box<LaneEnd>> {
    match prepared.connect(offer, patience) {
        Ok(lane) => {
            let _ = news.send(News::Ready);
            Ok(lane)
        }
        Err(error) => {
            let error = not_connected(&error, patience < CONNECT);
            let _ = news.send(News::Failed(error.clone()));
            Err(Box::new(lane_failed(index, end, error)))
        }
    }
}

/// A lane thread's life after connecting: jobs until the conductor drops its end.
fn work(
    index: u32,
    mut lane: SourceLane,
    jobs: &mpsc::Receiver<Job>,
    reports: &mpsc::Sender<Result<Report, StepError>>,
) -> LaneEnd {
    let waiting = Waiting::begin();
    while let Ok(job) = jobs.recv() {
        let report = match job {
            Job::Copy(round) => lane.copy(&round).map(Report::Copied),
            Job::Verify(verify) => lane.verify(&verify).map(Report::Compared),
            Job::Spoil { page, number } => {
                lane.spoil(page, number).map(|()| Report::Copied(lane::Copied::default()))
            }
        };
        let failed = report.as_ref().err().cloned();
        let told = reports.send(report);
        if let Some(error) = failed {
            return lane_failed(index, End::Client, error);
        }
        if told.is_err() {
            break;
        }
    }
    let waited = waiting.map(Waiting::end);
    let mut end = end_of(index, lane);
    end.result.scheduled = waited;
    end
}

fn end_of(index: u32, lane: SourceLane) -> LaneEnd {
    let packed = lane.packed();
    match lane.end() {
        Ok((stats, chunks)) => LaneEnd {
            result: LaneResult { role: "send".into(), ..lane_result(index, End::Client, Some(stats)) },
            chunks: Some(chunks),
            packed,
        },
        Err(error) => lane_failed(index, End::Client, error),
    }
}

/// What a lane leaves behind.
pub struct LaneEnd {
    /// Its figures.
    pub result: LaneResult,
    /// How long its chunks took.
    pub chunks: Option<pathproof_engine::record::LatencyHistogram>,
    /// What compressing came to, where it did.
    pub packed: Option<Packed>,
}

fn lane_failed(index: u32, end: End, error: StepError) -> LaneEnd {
    let result = LaneResult { error: Some(error), ..lane_result(index, end, None) };
    LaneEnd { result, chunks: None, packed: None }
}

fn lane_result(index: u32, end: End, stats: Option<pathproof_api::LaneStats>) -> LaneResult {
    let mut stats = stats.unwrap_or_default();
    stats.counters.insert("lane_sent_bytes".into(), stats.last.bytes_sent);
    stats.counters.insert("lane_received_bytes".into(), stats.last.bytes_received);
    LaneResult {
        lane: index,
        end: end.name().into(),
        role: if end == End::Client { "send" } else { "receive" }.into(),
        local: stats.local,
        remote: stats.remote,
        bytes: if end == End::Client { stats.last.bytes_sent } else { stats.last.bytes_received },
        cpu_ns: pathproof_api::os::thread_cpu_ns(),
        send_mode: stats.send_mode,
        receive_mode: stats.receive_mode,
        retransmits: stats.last.retransmits,
        send_segment_bytes: stats.last.send_segment_bytes,
        path_ip_mtu_bytes: stats.last.path_ip_mtu_bytes,
        rtt_ns: stats.last.rtt_ns,
        chosen: stats.chosen,
        counters: stats.counters,
        ..LaneResult::default()
    }
}

fn run_destination(ready: Ready, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
    let Ready { spec, slots, disk_lane, overhead_bytes, .. } = ready;
    let memory = spec.memory_bytes.saturating_mul(slots.len() as u64);
    let pages = spec.memory_bytes / PAGE_BYTES;
    let stop = Arc::new(AtomicBool::new(false));
    let (news_in, news) = mpsc::channel();
    let mut offers = peer.into_iter();
    let (ends, error) = std::thread::scope(|scope| {
        let mut threads = vec![];
        let mut subjects = vec![];
        let mut awaited = 0;
        for slot in slots {
            let (news, region, stop) = (news_in.clone(), slot.region.clone(), stop.clone());
            awaited += 1;
            // Memory comes before the first byte, as on a real destination, which sets it up for the guest.
            scope.spawn(move || {
                let populated = memory::populate(&region, region.len() / PAGE_BYTES, &stop);
                let _ = news.send(match populated {
                    Ok(()) => News::Ready,
                    Err(error) => News::Failed(StepError {
                        kind: ErrorKind::Resource,
                        message: format!(
                            "the destination has no room for {} of guest memory: {error}; ask for less --memory",
                            Bytes(region.len())
                        ),
                    }),
                });
            });
            subjects.extend(
                slot.lanes.into_iter().map(|lane| (lane, Subject::Guest(slot.region.clone(), pages))),
            );
        }
        subjects.extend(disk_lane.map(|lane| {
            let blocks = disk::blocks(spec.disk.as_ref().map_or(0, |d| d.bytes));
            (lane, Subject::Disk(vec![None; blocks as usize]))
        }));
        for (unconnected, subject) in subjects {
            let offer = offers.next().unwrap_or_default();
            let (news, stop) = (news_in.clone(), stop.clone());
            awaited += 1;
            threads.push(scope.spawn(move || {
                let LaneUnconnected { index, prepared, messages, messages_id, .. } = unconnected;
                let lane = match connect(index, End::Server, prepared, &offer, CONNECT, &news) {
                    Ok(lane) => lane,
                    Err(end) => return (*end, Served::default()),
                };
                let destination = DestinationLane { lane, subject, messages: (messages, messages_id), stop };
                let waiting = Waiting::begin();
                let (served, stats) = destination.serve();
                let waited = waiting.map(Waiting::end);
                let end = match stats {
                    Ok(stats) => LaneEnd {
                        result: LaneResult {
                            scheduled: waited,
                            ..lane_result(index, End::Server, Some(stats))
                        },
                        chunks: None,
                        packed: None,
                    },
                    Err(error) => lane_failed(index, End::Server, error),
                };
                (end, served)
            }));
        }
        drop(news_in);
        let mut error = await_ready(context, &news, awaited, End::Server, memory).err();
        if let Some(error) = &error {
            stop.store(true, Ordering::Relaxed);
            context.channel.fail(error);
        }
        let mut done_at: Option<Tick> = None;
        while !threads.iter().all(|t| t.is_finished()) {
            let wake = context.clock.now().plus_ns(LOOK_NS);
            match context.channel.receive(wake) {
                Received::Message(_) | Received::Nothing => {}
                // The client has ended the step; its lanes end in a moment, or never will.
                Received::PeerDone => {
                    let now = context.clock.now();
                    if now.ns_since(*done_at.get_or_insert(now)) > 2_000_000_000 {
                        stop.store(true, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => {
                    stop.store(true, Ordering::Relaxed);
                    if error.is_none() {
                        error = Some(refusal(other, "during the migration"));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        let ends: Vec<(LaneEnd, Served)> = threads.into_iter().filter_map(|t| t.join().ok()).collect();
        (ends, error)
    });
    merge::destination_half(ends, error, overhead_bytes)
}

/// Waits until everything at this end is ready and the other end says the same.
fn await_ready(
    context: &mut Context<'_>,
    news: &mpsc::Receiver<News>,
    awaited: usize,
    end: End,
    memory_bytes: u64,
) -> Result<(), StepError> {
    let deadline = context.clock.now().plus_ns(ready_ns(memory_bytes));
    let (mut ready, mut told, mut peer_ready) = (0, false, false);
    while ready < awaited || !peer_ready {
        match news.recv_timeout(Duration::from_millis(1)) {
            Ok(News::Ready) => ready += 1,
            Ok(News::Failed(error)) => return Err(error),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Every thread has reported; only the peer is awaited.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
        }
        if ready == awaited && !told {
            context.channel.send(json!({ "ready": end.name() }));
            told = true;
        }
        let now = context.clock.now();
        match context.channel.receive(now) {
            Received::Message(_) => peer_ready = true,
            Received::Nothing if now < deadline => {}
            other => return Err(refusal(other, "while memory and lanes were made ready")),
        }
    }
    Ok(())
}

/// What a piece of news other than the expected means for the step.
fn refusal(received: Received, when: &str) -> StepError {
    match received {
        Received::Lost(error) | Received::PeerFailed(error) => error,
        Received::Interrupted => crate::interrupt::error(),
        Received::PeerDone => {
            StepError { kind: ErrorKind::PeerLost, message: format!("the source gave the step up {when}") }
        }
        Received::OutOfTime => out_of_time(&format!("the copy was cut short {when}")),
        _ => StepError {
            kind: ErrorKind::Timeout,
            message: format!("the peer was silent {when}; run again, and look at its log"),
        },
    }
}
