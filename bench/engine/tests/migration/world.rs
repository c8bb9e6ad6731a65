//! Both ends of a migration over the simulated network, driven by one thread in virtual time: nothing here sleeps, and
//! time passes only when nobody can do anything.

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Clock, DirtyLog, Lane, LaneSpec, Offer, Pages, PreparedLane, Region, RegionId, Role, Tick,
    Transport,
};
use pathproof_engine::drive::NoMeter;
use pathproof_engine::migrate::copy::pacer::Pacer;
use pathproof_engine::migrate::copy::pack::Packer;
use pathproof_engine::migrate::copy::{
    self, CopyError, DEPTH, DestinationLane, DestinationParts, DiskLane, DiskNews, DiskStory, Job, LinkParts,
    MESSAGE_BYTES, Machine, MadeUp, Order, Place, Report, Shared, SourceLane, SourceParts, Stories, Story,
    Subject, Turn, blocks, wire,
};
use pathproof_engine::migrate::{AutoConverge, Guest, PAGE_BYTES, Phase, Policy, Random};
use pathproof_model::MigrateSpec;
use pathproof_sim::{SimClock, SimNetwork, SimPath, SimTransport};

/// Longest leap of time while a guest runs, in ns: it writes that often.
const GUEST_STEP_NS: u64 = 1_000_000;
/// Longest leap of time at all.
const LEAP_NS: u64 = 20_000_000;
/// Virtual time after which a run counts as hanging.
const HANGS_AFTER_NS: u64 = 3 * 3_600_000_000_000;

/// A host whose guest writes when virtual time passes.
pub struct SimHost {
    clock: SimClock,
    region: Arc<Region>,
    log: DirtyLog,
    /// Pages of the guest that runs here, or ran last.
    pages: u64,
    guest: Option<Guest>,
    random: Random,
    ran_ns: f64,
    last: Tick,
    throttle_percent: u8,
    /// When each guest that ran here was stopped first.
    pub stops: Vec<Tick>,
    running: bool,
}

impl SimHost {
    /// Makes the writes that are due by now.
    fn run(&mut self) {
        let now = self.clock.now();
        let speed = 1.0 - f64::from(self.throttle_percent) / 100.0;
        self.ran_ns += now.ns_since(self.last) as f64 * speed;
        self.last = now;
        let due = self.guest.as_ref().map_or(0, |guest| guest.due(self.ran_ns as u64));
        self.write(if self.running { due } else { 0 });
    }

    fn write(&mut self, writes: u64) {
        let Some(guest) = &mut self.guest else { return };
        for _ in 0..writes {
            let page = guest.next_page();
            let bits = self.random.bits();
            self.region.store_word(page * PAGE_BYTES + (bits & 511) * 8, bits | 1).unwrap();
            self.log.mark(page);
        }
    }
}

impl Machine for SimHost {
    fn start(&mut self, pages: u64, guest: Option<Guest>) -> Result<(), CopyError> {
        (self.log, self.pages) = (DirtyLog::new(pages), pages);
        (self.guest, self.ran_ns, self.throttle_percent, self.running) = (guest, 0.0, 0, true);
        self.last = self.clock.now();
        Ok(())
    }
    fn throttle(&mut self, percent: u8) {
        self.run();
        self.throttle_percent = percent;
    }
    fn writes(&self) -> u64 {
        self.guest.as_ref().map_or(0, Guest::written)
    }
    fn stop(&mut self) {
        if self.running {
            self.run();
            // A real guest writes between the last look at its pages and its stop.
            self.write(3);
            self.stops.push(self.clock.now());
        }
        self.running = false;
    }
    fn harvest(&mut self, words: &mut [u64]) -> Result<(), CopyError> {
        self.log.take(words);
        Ok(())
    }
    fn cpu_ns(&mut self) -> Option<u64> {
        None
    }
}

/// A place with everything that belongs to it at both ends.
pub struct Slot {
    pub place: Place,
    pub host: SimHost,
    pub source: Arc<Region>,
    pub target: Arc<Region>,
    lanes: Vec<Option<SourceLane>>,
    reports: Vec<Option<Result<Report, CopyError>>>,
    ordered: usize,
    over: bool,
    /// When each report was complete.
    pub reported: Vec<(Phase, Tick)>,
}

/// How the lane of a disk is doing.
enum DiskEnd {
    Waiting(DiskLane),
    Moving(DiskLane),
    Over(DiskStory),
}

/// A migration under way.
pub struct World {
    pub network: Arc<SimNetwork>,
    pub shared: Arc<Shared>,
    pub slots: Vec<Slot>,
    pub served: Vec<Option<DestinationLane>>,
    /// Why lanes of the destination ended early.
    pub server_errors: Vec<CopyError>,
    disk: Option<DiskEnd>,
    guests_may_start: bool,
    given_up: bool,
    /// The destination does nothing before this moment.
    pub stalled_until: Tick,
    /// Pages of each guest that were not the same at both ends when it had moved.
    pub differing_pages: Vec<u64>,
}

/// When the guests of a place were stopped, and in which phase and when reports were complete.
pub type Moments = (Vec<Tick>, Vec<(Phase, Tick)>);

/// What came out.
pub struct Outcome {
    pub stories: Vec<Story>,
    pub disk: Option<DiskStory>,
    pub server_errors: Vec<CopyError>,
    pub differing_pages: Vec<u64>,
    /// Of each place: when its guests were stopped, and when reports were complete.
    pub slots: Vec<Moments>,
    pub ended: Tick,
}

/// A guest of a mebibyte that moves over one lane, and dirties nothing.
pub fn spec() -> MigrateSpec {
    MigrateSpec { over: "sim".into(), memory_bytes: 1 << 20, chunk_bytes: 64 << 10, ..MigrateSpec::default() }
}

/// 80 Mbit/s (ten bytes a microsecond), a millisecond there and back.
pub fn path() -> SimPath {
    SimPath { delay_ns: 500_000, rate_bits_per_s: Some(80_000_000), ..SimPath::default() }
}

fn policy(spec: &MigrateSpec) -> Policy {
    let mut policy = Policy::named(spec.policy);
    if let Some(limit) = spec.downtime_limit_ns {
        policy = policy.with_downtime_limit_ns(limit);
    }
    if let Policy::Qemu { auto_converge, post_copy, .. } = &mut policy {
        *auto_converge = spec.auto_converge.then(AutoConverge::default);
        *post_copy = spec.post_copy;
    }
    policy
}

/// One lane's two ends before they are connected.
struct Pair {
    ends: [Box<dyn PreparedLane>; 2],
    messages: [(Arc<Region>, RegionId); 2],
    guest_id: RegionId,
}

fn pair(
    transport: &SimTransport,
    index: u32,
    regions: Option<[&Arc<Region>; 2]>,
    spec: &MigrateSpec,
) -> Pair {
    let mut token = [0; 32];
    token[..4].copy_from_slice(&index.to_le_bytes());
    let message_bytes_max = spec.chunk_bytes.max(wire::SLOT_BYTES);
    let lane = LaneSpec { lane: index, token, depth: DEPTH, message_bytes_max, ..LaneSpec::default() };
    let mut ends = [Role::Dial, Role::Accept].map(|role| transport.prepare(role, &lane).unwrap());
    let mut guest_id = RegionId(0);
    for ((end, access), region) in
        ends.iter_mut().zip([Access::Local, Access::RemoteWrite]).zip(regions.into_iter().flatten())
    {
        guest_id = end.attach(region, access).unwrap();
    }
    let messages = ends.each_mut().map(|end| {
        let region = Arc::new(Region::new(MESSAGE_BYTES, Pages::Small).unwrap());
        let id = end.attach(&region, Access::Local).unwrap();
        (region, id)
    });
    Pair { ends, messages, guest_id }
}

fn connect(ends: [Box<dyn PreparedLane>; 2]) -> [Box<dyn Lane>; 2] {
    ends.map(|end| end.connect(&Offer::default(), Duration::from_secs(1)).unwrap())
}

impl World {
    pub fn new(spec: MigrateSpec, path: SimPath, seed: u64) -> World {
        World::until(spec, path, seed, Tick(u64::MAX))
    }

    /// With a moment when the step must be over.
    pub fn until(spec: MigrateSpec, path: SimPath, seed: u64, until: Tick) -> World {
        let network = SimNetwork::new(path, seed);
        let transport = SimTransport::new(network.clone());
        let clock = || Arc::new(network.clock());
        let pattern = spec.pattern.parse().unwrap();
        let shared = Arc::new(Shared::new(spec.clone(), policy(&spec), pattern, clock(), until));
        let pacer = Arc::new(Pacer::new(spec.bandwidth_bytes_per_s));
        let link =
            |lane, messages, count| LinkParts { lane, messages, count, clock: clock(), pacer: pacer.clone() };
        let serve = |lane, subject, messages| {
            let parts =
                DestinationParts { lane, subject, messages, clock: clock(), meter: Box::new(NoMeter) };
            Some(DestinationLane::new(parts))
        };
        let pages = spec.memory_bytes / PAGE_BYTES;
        let (mut slots, mut served, mut index) = (vec![], vec![], 0);
        for number in 0..spec.parallel.min(spec.guests) {
            let region = || Arc::new(Region::new(spec.memory_bytes + PAGE_BYTES, Pages::Small).unwrap());
            let (source, target) = (region(), region());
            let mut lanes = vec![];
            for _ in 0..spec.lanes {
                let pair = pair(&transport, index, Some([&source, &target]), &spec);
                index += 1;
                let ([dial, accept], [ours, theirs]) = (connect(pair.ends), pair.messages);
                lanes.push(Some(SourceLane::new(SourceParts {
                    link: link(dial, ours, pages),
                    guest: (source.clone(), pair.guest_id),
                    chunk_bytes: spec.chunk_bytes.into(),
                    progress: shared.progress.clone(),
                    packer: spec.compress.then(Packer::new),
                    meter: Box::new(NoMeter),
                })));
                served.push(serve(accept, Subject::Guest(target.clone(), pages), theirs));
            }
            let place = Place::new(shared.clone(), source.clone());
            place.contents().unwrap().fill(&source, 0..pages);
            let host = SimHost {
                clock: network.clock(),
                region: source.clone(),
                log: DirtyLog::new(pages),
                pages,
                guest: None,
                random: Random::new(seed ^ u64::from(number)),
                ran_ns: 0.0,
                last: Tick(0),
                throttle_percent: 0,
                stops: vec![],
                running: false,
            };
            let reports = lanes.iter().map(|_| None).collect();
            slots.push(Slot {
                place,
                host,
                source,
                target,
                lanes,
                reports,
                ordered: 0,
                over: false,
                reported: vec![],
            });
        }
        let disk = spec.disk.as_ref().map(|disk| {
            let pair = pair(&transport, index, None, &spec);
            let ([dial, accept], [ours, theirs]) = (connect(pair.ends), pair.messages);
            let count = blocks(disk.bytes);
            served.push(serve(accept, Subject::Disk(vec![None; count as usize]), theirs));
            let source = Box::new(MadeUp::new(spec.seed));
            DiskEnd::Moving(DiskLane::new(link(dial, ours, count), shared.clone(), source))
        });
        World {
            network,
            slots,
            served,
            server_errors: vec![],
            guests_may_start: disk.is_none(),
            disk,
            given_up: false,
            stalled_until: Tick(0),
            differing_pages: vec![],
            shared,
        }
    }

    pub fn now(&self) -> Tick {
        self.network.now()
    }

    /// The phase of the first place's guest.
    pub fn phase(&self) -> Option<Phase> {
        self.slots[0].place.phase()
    }

    /// The destination's process ends: its lanes are closed.
    pub fn kill_destination(&mut self) {
        self.served.iter_mut().for_each(|lane| *lane = None);
    }

    /// Time passes in which no process runs, and no guest.
    pub fn suspend(&mut self, time: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.host.run());
        self.network.advance(time);
        let now = self.now();
        self.slots.iter_mut().for_each(|slot| slot.host.last = now);
    }

    /// The source's process ends.
    pub fn kill_source(&mut self) {
        self.slots.iter_mut().flat_map(|slot| &mut slot.lanes).for_each(|lane| *lane = None);
        self.disk = None;
    }

    /// Runs to the end, calling `meddle` before each turn of everything.
    pub fn run(mut self, meddle: impl FnMut(&mut World)) -> Outcome {
        self.drive(meddle);
        let disk = self.disk_story();
        let (mut stories, mut slots) = (vec![], vec![]);
        for slot in self.slots {
            stories.extend(slot.place.into_stories());
            slots.push((slot.host.stops, slot.reported));
        }
        stories.sort_by_key(|story| story.guest.guest);
        let (server_errors, differing_pages) = (self.server_errors, self.differing_pages);
        Outcome { stories, disk, server_errors, differing_pages, slots, ended: self.network.now() }
    }

    /// Runs to the end, and sums up what all guests and the disk have to tell.
    pub fn sum_up(mut self, meddle: impl FnMut(&mut World)) -> copy::CopyOutcome {
        self.drive(meddle);
        let (spec, disk) = (self.shared.spec.clone(), self.disk_story());
        let places = self.slots.into_iter().map(|slot| slot.place.into_stories()).collect();
        copy::sum_up(&spec, Stories { places, disk, ..Stories::default() })
    }

    fn disk_story(&mut self) -> Option<DiskStory> {
        self.disk.take().map(|disk| match disk {
            DiskEnd::Over(story) => story,
            _ => DiskStory::default(),
        })
    }

    fn drive(&mut self, mut meddle: impl FnMut(&mut World)) {
        while !self.is_over() {
            assert!(self.now() < Tick(HANGS_AFTER_NS), "it hangs in {:?}", self.phase());
            meddle(self);
            self.turn();
        }
    }

    fn is_over(&self) -> bool {
        let source = self.slots.iter().all(|slot| slot.over && slot.lanes.iter().all(Option::is_none));
        let disk = matches!(self.disk, None | Some(DiskEnd::Over(_)));
        source && disk && self.served.iter().all(Option::is_none)
    }

    /// Turns everything once, and lets time pass where nothing could be done.
    pub fn turn(&mut self) {
        let now = self.now();
        let (mut worked, mut until) = (false, now.plus_ns(LEAP_NS));
        for slot in &mut self.slots {
            slot.host.run();
            if slot.host.running {
                until = until.min(now.plus_ns(GUEST_STEP_NS));
            }
            if self.guests_may_start || self.given_up {
                worked |= slot.order(self.given_up, self.guests_may_start);
            }
            worked |= slot.turn_lanes(&mut self.given_up, &mut until);
            worked |= slot.report(&mut self.differing_pages);
        }
        worked |= self.turn_disk(&mut until);
        if self.slots.iter().all(|slot| slot.over) {
            self.shared.all_stand();
        }
        if now < self.stalled_until {
            until = until.min(self.stalled_until);
        } else {
            worked |= self.turn_served(&mut until);
        }
        if !worked {
            self.network.advance_to_event(until.max(now.plus_ns(1)));
        }
    }

    fn turn_served(&mut self, until: &mut Tick) -> bool {
        let mut worked = false;
        for place in &mut self.served {
            let Some(lane) = place else { continue };
            match lane.turn(Duration::ZERO) {
                Ok(Turn::Worked) => worked = true,
                Ok(Turn::Waits(tick)) => *until = tick.map_or(*until, |tick| tick.min(*until)),
                Ok(Turn::Done(())) => {
                    place.take().map(DestinationLane::close);
                    worked = true;
                }
                Err(error) => {
                    self.server_errors.push(error);
                    *place = None;
                    worked = true;
                }
            }
        }
        worked
    }

    fn turn_disk(&mut self, until: &mut Tick) -> bool {
        let Some(DiskEnd::Waiting(mut lane) | DiskEnd::Moving(mut lane)) =
            self.disk.take_if(|disk| !matches!(disk, DiskEnd::Over(_)))
        else {
            return false;
        };
        let turned = if self.given_up { Err(CopyError::GivenUp) } else { lane.turn(Duration::ZERO) };
        let (next, worked) = match turned {
            Ok(Turn::Worked) => (DiskEnd::Moving(lane), true),
            Ok(Turn::Waits(tick)) => {
                *until = tick.map_or(*until, |tick| tick.min(*until));
                (DiskEnd::Waiting(lane), false)
            }
            Ok(Turn::Done(DiskNews::Copied)) => {
                self.guests_may_start = true;
                (DiskEnd::Moving(lane), true)
            }
            Ok(Turn::Done(DiskNews::Ended)) => {
                let story = lane.story(None);
                lane.close().unwrap();
                (DiskEnd::Over(story), true)
            }
            Err(error) => {
                self.given_up = true;
                (DiskEnd::Over(lane.story(Some(error))), true)
            }
        };
        self.disk = Some(next);
        worked
    }
}

impl Slot {
    /// Takes the next order, where none is under way.
    fn order(&mut self, given_up: bool, may_start: bool) -> bool {
        if self.ordered > 0 || self.over {
            return false;
        }
        if given_up && !may_start {
            self.over = true;
        }
        let (job, count) = match if self.over { Order::Over } else { self.place.next(&mut self.host) } {
            Order::All(job) => (job, self.lanes.len()),
            Order::One(job) => (job, 1),
            Order::Wait if given_up => {
                self.place.give_up(&mut self.host);
                return true;
            }
            Order::Wait => return false,
            Order::Over => {
                self.over = true;
                (Job::End, self.lanes.len())
            }
        };
        self.ordered = count;
        self.lanes[..count].iter_mut().flatten().for_each(|lane| lane.begin(job.clone()));
        true
    }

    fn turn_lanes(&mut self, given_up: &mut bool, until: &mut Tick) -> bool {
        let mut worked = false;
        for (place, report) in self.lanes.iter_mut().zip(&mut self.reports).take(self.ordered) {
            if report.is_some() {
                continue;
            }
            let turned = match place {
                Some(lane) if !*given_up => lane.turn(Duration::ZERO),
                _ => Err(CopyError::GivenUp),
            };
            match turned {
                Ok(Turn::Worked) => worked = true,
                Ok(Turn::Waits(tick)) => *until = tick.map_or(*until, |tick| tick.min(*until)),
                Ok(Turn::Done(Report::Ended)) => {
                    place.take().map(|lane| lane.close().unwrap());
                    (*report, worked) = (Some(Ok(Report::Ended)), true);
                }
                Ok(Turn::Done(done)) => (*report, worked) = (Some(Ok(done)), true),
                Err(error) => {
                    *given_up = true;
                    *place = None;
                    (*report, worked) = (Some(Err(error)), true);
                }
            }
        }
        worked
    }

    /// Hands the reports over once all are there, and compares the memories when a guest has moved.
    fn report(&mut self, differing_pages: &mut Vec<u64>) -> bool {
        if self.ordered == 0 || self.reports[..self.ordered].iter().any(Option::is_none) {
            return false;
        }
        let reports: Vec<_> = self.reports[..self.ordered].iter_mut().filter_map(Option::take).collect();
        self.ordered = 0;
        if self.over {
            // Lanes that failed before have nothing to end.
            self.lanes.iter_mut().for_each(|lane| *lane = None);
            return true;
        }
        let phase = self.place.phase().unwrap();
        let verifying =
            phase == Phase::Verify && reports.iter().flatten().any(|r| matches!(r, Report::Compared(_)));
        self.reported.push((phase, self.host.clock.now()));
        self.place.reported(reports, &mut self.host);
        if verifying {
            differing_pages.push(self.differing_pages());
        }
        true
    }

    /// Pages whose bytes are not the same at both ends.
    pub fn differing_pages(&self) -> u64 {
        let (mut ours, mut theirs) = ([0u8; PAGE_BYTES as usize], [0u8; PAGE_BYTES as usize]);
        let pages = self.host.pages;
        let differs = |page: &u64| {
            self.source.copy_out(page * PAGE_BYTES, &mut ours).unwrap();
            self.target.copy_out(page * PAGE_BYTES, &mut theirs).unwrap();
            ours != theirs
        };
        (0..pages).filter(differs).count() as u64
    }
}
