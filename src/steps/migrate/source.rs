//! One guest's move at the source: the policy decides, the lanes copy, and what happened is written down even
//! when it ends early.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use pathproof_api::{Clock, DirtyLog, DirtyTracker, PagemapScan, Region, Tick, os};
use pathproof_engine::migrate::copy::contents::Contents;
use pathproof_engine::migrate::{
    Decision, Guest, PAGE_BYTES, PageBitmap, Path, Pattern, Phase, Phases, Policy, Random, RoundFacts, Scale,
    predict_phases,
};
use pathproof_model::migrate::{MigrateGuest, MigratePrediction, MigrateRound};
use pathproof_model::{ErrorKind, MigrateSpec, StepError};

use super::dirtier::Dirtier;
use super::lane::{Compared, Copied, Round, SEGMENT_PAGES, Verify, given_up};
use super::{Fault, memory};
use crate::clock::RealClock;

/// How long the path is measured before the first guest, in ns: first to warm it up, then for the figure.
const WARM_NS: u64 = 100_000_000;
const MEASURE_NS: u64 = 250_000_000;
/// The first bytes that a budget sends to learn what the path is like: a fifth of a second at 2.5 Mbit/s.
const FEELER_BYTES: u64 = 64 << 10;
/// Both together.
pub const MEASURED_NS: u64 = WARM_NS + MEASURE_NS;

/// Work for a lane.
pub enum Job {
    /// Copy a share of a round.
    Copy(Arc<Round>),
    /// Compare a share of the pages.
    Verify(Arc<Verify>),
    /// Write this page as it lies in the staging page to its place at the peer, then wait for a barrier.
    Spoil {
        /// The page.
        page: u64,
        /// Number of the barrier.
        number: u64,
    },
}

/// What came of it.
pub enum Report {
    /// A share of a round.
    Copied(Copied),
    /// A share of the pages.
    Compared(Compared),
}

/// One lane's thread, as its guest's conductor sees it.
pub struct Worker {
    /// Where jobs go.
    pub jobs: mpsc::Sender<Job>,
    /// Where reports come from.
    pub reports: mpsc::Receiver<Result<Report, StepError>>,
}

/// What all guests of a step share.
pub struct Common {
    /// The step.
    pub spec: MigrateSpec,
    /// Decides for each guest.
    pub policy: Policy,
    /// Which pages are written.
    pub pattern: Pattern,
    /// Fault to inject into the first guest.
    pub fault: Option<Fault>,
    /// The clock.
    pub clock: RealClock,
    /// How long a lane may take to connect.
    pub patience: Duration,
    /// Set when the step is given up.
    pub stop: Arc<AtomicBool>,
    /// Bytes copied by all lanes.
    pub progress: Arc<AtomicU64>,
    /// Bytes expected, once predicted.
    pub expected: AtomicU64,
    /// The next guest that nobody has taken.
    pub next_guest: AtomicU32,
    /// Rate of the path for one guest, once measured.
    pub path_bytes_per_s: AtomicU64,
    /// Set once the path has been measured.
    pub predicted: AtomicBool,
    /// What a budget made of each guest, once the path was measured.
    pub scaled: OnceLock<Scale>,
    /// Guests that were stopped, or will never be.
    pub standing: AtomicU32,
}

impl Common {
    /// Whether no guest runs at the source any more, so that none writes to its disk.
    pub fn guests_stand(&self) -> bool {
        self.standing.load(Ordering::Relaxed) >= self.spec.guests || self.stop.load(Ordering::Relaxed)
    }

    /// What the pages of a guest hold.
    fn contents(&self, guest: u32) -> Contents {
        Contents {
            seed: guest_seed(self.spec.seed, guest),
            zero_percent: self.spec.zero_percent,
            compressible_percent: self.spec.compressible_percent,
        }
    }

    /// What each guest is like: as asked, or as a budget has scaled it.
    fn scale(&self) -> Scale {
        self.scaled.get().copied().unwrap_or(Scale {
            memory_bytes: self.spec.memory_bytes,
            dirty_bytes_per_s: self.spec.dirty_bytes_per_s,
            rounds_min: 0,
        })
    }
}

/// A place in which one guest after the other moves.
pub struct Slot {
    /// Guest memory, with one staging page behind it.
    pub region: Arc<Region>,
    /// The lanes.
    pub workers: Vec<Worker>,
    /// Number of the next round or barrier on these lanes.
    pub next_number: u64,
}

/// A guest's story.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// In numbers.
    pub guest: MigrateGuest,
    /// Round by round.
    pub rounds: Vec<MigrateRound>,
    /// Why its live rounds ended.
    pub reason: Option<&'static str>,
    /// Computed before.
    pub predicted: Option<MigratePrediction>,
    /// Phase in which it ended early.
    pub stopped_in: Option<Phase>,
    /// Why.
    pub error: Option<StepError>,
    /// First differing page and how many differ.
    pub mismatch: Option<(u64, u64)>,
    /// Length of the verification, in ns.
    pub verify_ns: u64,
    /// CPU time of this process during the move, in ns.
    pub cpu_ns: Option<u64>,
    /// Memory of the guest.
    pub memory_bytes: u64,
    /// Its time was up before the policy had its way.
    pub out_of_time: bool,
    /// Longest downtime that the policy allows.
    pub downtime_limit_ns: Option<u64>,
    /// Dirty rate aimed at.
    pub dirty_bytes_per_s: u64,
    /// Bytes dirtied per second while the guest ran at full speed.
    pub dirtied_bytes_per_s: Option<u64>,
    /// Where dirty pages were learned from.
    pub tracker: &'static str,
    /// Start and end of the move.
    pub span: Option<(Tick, Tick)>,
}

/// Moves guests through `slot` until there are none left; one story each. `ready` is told once, before the
/// first; `start` says when both ends are.
pub fn conduct(common: &Common, mut slot: Slot, ready: &dyn Fn(), start: &mpsc::Receiver<()>) -> Vec<Story> {
    let spec = &common.spec;
    let pages = spec.memory_bytes / PAGE_BYTES;
    let mut stories = vec![];
    let mut filled_for = common.next_guest.fetch_add(1, Ordering::Relaxed);
    memory::fill(&slot.region, pages, common.contents(filled_for), &common.stop);
    ready();
    // The coordinator drops the sender when the step is given up before its start.
    if start.recv().is_err() {
        return stories;
    }
    while filled_for < spec.guests {
        let mut story = Story::default();
        story.guest.guest = filled_for;
        let mut moving = Move::new(common, &mut slot, filled_for);
        if let Err(error) = moving.run(&mut story) {
            story.stopped_in = Some(moving.phases.phase());
            story.error = Some(error);
        }
        moving.finish(&mut story);
        let failed = story.error.is_some();
        stories.push(story);
        if failed {
            break;
        }
        filled_for = common.next_guest.fetch_add(1, Ordering::Relaxed);
        if filled_for < spec.guests {
            common.contents(filled_for).stamp(&slot.region, 0..pages);
        }
    }
    stories
}

fn guest_seed(seed: u64, guest: u32) -> u64 {
    Random::new(seed.wrapping_add(u64::from(guest).wrapping_mul(0x9E37_79B9_7F4A_7C15))).bits()
}

struct Move<'a> {
    common: &'a Common,
    slot: &'a mut Slot,
    number: u32,
    phases: Phases,
    dirtier: Option<Dirtier>,
    began: Tick,
    cpu_began: Option<u64>,
}

impl<'a> Move<'a> {
    fn new(common: &'a Common, slot: &'a mut Slot, number: u32) -> Move<'a> {
        let phases = Phases::new(common.policy.clone());
        Move { common, slot, number, phases, dirtier: None, began: common.clock.now(), cpu_began: None }
    }

    fn pages(&self) -> u64 {
        self.common.scale().memory_bytes / PAGE_BYTES
    }

    fn run(&mut self, story: &mut Story) -> Result<(), StepError> {
        let spec = &self.common.spec;
        if self.number == 0 {
            let predicted = self.predict(story);
            self.common.predicted.store(true, Ordering::Release);
            predicted?;
        }
        // The path is measured with nobody else on it, and a budget decides for all.
        while !self.common.predicted.load(Ordering::Acquire) {
            if self.common.stop.load(Ordering::Relaxed) {
                return Err(given_up());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let Scale { memory_bytes, dirty_bytes_per_s, rounds_min } = self.common.scale();
        story.downtime_limit_ns = self.common.policy.downtime_limit_ns();
        self.phases = Phases::new(self.common.policy.clone()).with_rounds_min(rounds_min);
        (story.memory_bytes, story.dirty_bytes_per_s) = (memory_bytes, dirty_bytes_per_s);
        let pages = memory_bytes / PAGE_BYTES;
        let log = Arc::new(DirtyLog::new(pages));
        let mut tracker = self.tracker(&log)?;
        story.tracker = tracker.name();
        let mut words = vec![0u64; pages.div_ceil(64) as usize];
        if dirty_bytes_per_s > 0 {
            let seed = guest_seed(spec.seed ^ 0xD1, self.number);
            let guest = Guest::new(pages, dirty_bytes_per_s, self.common.pattern.clone(), seed)
                .map_err(|e| StepError { kind: ErrorKind::Invalid, message: e.to_string() })?;
            let region = self.slot.region.clone();
            let dirtier =
                Dirtier::start(guest, region, log.clone(), self.common.clock.clone(), seed).map_err(|e| {
                    StepError { kind: ErrorKind::Resource, message: format!("no thread for a guest: {e}") }
                })?;
            self.dirtier = Some(dirtier);
        }
        let time_limit_ns = spec.time_limit_ns.or(spec.budget_ns.map(|ns| ns.saturating_mul(2)));
        self.phases.start().map_err(broken)?;
        self.cpu_began = os::process_cpu_ns();
        self.began = self.common.clock.now();
        let first_page_lost = self.common.fault == Some(Fault::LostPage) && self.number == 0;
        if first_page_lost {
            // The peer may have it since the path was measured.
            let _ = self.slot.region.store_word((pages - 1) * PAGE_BYTES, spec.seed | 1);
        }
        let mut map = PageBitmap::all(pages);
        let (mut throttle, mut from_page) = (0, 0);
        let mut full_speed = (0u64, 0u64);
        // Live rounds, until the policy says otherwise.
        let stop_in = loop {
            if first_page_lost {
                map.remove(pages - 1);
            }
            let phase = if matches!(self.phases.phase(), Phase::FullCopy) { "full-copy" } else { "round" };
            let writes_before = self.writes();
            let (copied, elapsed_ns, round_copied) = self.live_round(map, from_page)?;
            from_page = round_copied.reached();
            let writes = self.writes() - writes_before;
            if throttle == 0 {
                full_speed = (full_speed.0 + writes, full_speed.1 + elapsed_ns);
            }
            map = harvest(tracker.as_mut(), &mut words, pages)?;
            round_copied.add_left(&mut map);
            let facts = RoundFacts {
                pages: copied.pages,
                bytes: copied.bytes,
                elapsed_ns,
                dirtied_pages: map.count(),
            };
            story.rounds.push(round(phase, copied, elapsed_ns, map.count(), writes, throttle));
            let out_of_time =
                time_limit_ns.is_some_and(|limit| self.common.clock.now().ns_since(self.began) > limit);
            match self.phases.round_ended(facts).map_err(broken)? {
                Decision::Stop(reason) => {
                    story.reason = Some(reason.words());
                    story.guest.converged = reason.converged();
                    break "stop-and-copy";
                }
                Decision::PostCopy => {
                    story.reason = Some("the guest was switched to post-copy");
                    story.guest.converged = true;
                    break "post-copy";
                }
                Decision::Round { .. } if out_of_time => {
                    self.phases.stop_now().map_err(broken)?;
                    story.reason = Some("the time limit of the rehearsal passed");
                    story.out_of_time = true;
                    break "stop-and-copy";
                }
                Decision::Round { throttle_percent, .. } => {
                    throttle = throttle_percent;
                    if let Some(dirtier) = &self.dirtier {
                        dirtier.throttle(throttle);
                    }
                }
            }
        };
        if full_speed.1 > 0 {
            let bytes = u128::from(full_speed.0 * PAGE_BYTES) * 1_000_000_000 / u128::from(full_speed.1);
            story.dirtied_bytes_per_s = u64::try_from(bytes).ok();
        }
        // The guest stands still from here.
        let stopped = self.common.clock.now();
        if let Some(dirtier) = &mut self.dirtier {
            dirtier.stop();
        }
        self.common.standing.fetch_add(1, Ordering::Relaxed);
        words.fill(0);
        map.merge_words({
            tracker.harvest(&mut words).map_err(unreadable)?;
            words.iter().copied()
        });
        if first_page_lost {
            map.remove(pages - 1);
        }
        if stop_in == "post-copy" {
            // The destination is told which pages are stale and runs; what remains is a barrier's round trip.
            self.copy(PageBitmap::none(pages))?;
            story.guest.downtime_ns = self.common.clock.now().ns_since(stopped);
        }
        let (copied, elapsed_ns) = self.copy(map)?;
        let ended = self.common.clock.now();
        if stop_in != "post-copy" {
            story.guest.downtime_ns = ended.ns_since(stopped);
        }
        story.rounds.push(round(stop_in, copied, elapsed_ns, 0, 0, 0));
        story.span = Some((self.began, ended));
        story.guest.total_ns = ended.ns_since(self.began);
        story.cpu_ns = os::process_cpu_ns().zip(self.cpu_began).map(|(now, then)| now.saturating_sub(then));
        if self.common.fault == Some(Fault::BitFlip) && self.number == 0 {
            self.spoil()?;
        }
        self.phases.rest_moved().map_err(broken)?;
        self.verify(story)
    }

    /// Sums that hold for finished and broken moves alike.
    fn finish(&mut self, story: &mut Story) {
        self.dirtier = None;
        story.guest.rounds =
            story.rounds.iter().filter(|r| r.phase == "full-copy" || r.phase == "round").count() as u32;
        story.guest.bytes = story.rounds.iter().map(|r| r.bytes).sum();
        if story.span.is_none() {
            let now = self.common.clock.now();
            story.span = Some((self.began, now));
            story.guest.total_ns = now.ns_since(self.began);
        }
        let verified =
            self.phases.phase() == Phase::Done && story.mismatch.is_none() && story.error.is_none();
        story.guest.verified = verified;
    }

    fn writes(&self) -> u64 {
        self.dirtier.as_ref().map_or(0, Dirtier::writes)
    }

    fn tracker(&self, log: &Arc<DirtyLog>) -> Result<Box<dyn DirtyTracker>, StepError> {
        match self.common.spec.tracker.as_str() {
            "pagemap-scan" => match PagemapScan::new(&self.slot.region) {
                Ok(scan) => Ok(Box::new(scan)),
                Err(message) => Err(StepError { kind: ErrorKind::Unsupported, message }),
            },
            _ => Ok(Box::new(log.clone())),
        }
    }

    /// Copies the pages of `map` over all lanes and returns when the peer has them, with the time it took.
    fn copy(&mut self, map: PageBitmap) -> Result<(Copied, u64), StepError> {
        let round = Arc::new(Round::new(self.take_number(), map));
        let start = self.common.clock.now();
        let sum = self.copy_round(&round)?;
        Ok((sum, self.common.clock.now().ns_since(start)))
    }

    /// One round with the guest running: it may end early, where the policy looks while it runs.
    fn live_round(
        &mut self,
        map: PageBitmap,
        first_page: u64,
    ) -> Result<(Copied, u64, Arc<Round>), StepError> {
        let path = self.common.path_bytes_per_s.load(Ordering::Relaxed) as f64;
        let ends_below = self.phases.ends_round_below(path).unwrap_or(0);
        let round = Round { first_page, ends_below, ..Round::new(self.take_number(), map) };
        let round = Arc::new(round);
        let start = self.common.clock.now();
        let sum = self.copy_round(&round)?;
        Ok((sum, self.common.clock.now().ns_since(start), round))
    }

    fn copy_round(&mut self, round: &Arc<Round>) -> Result<Copied, StepError> {
        let mut sum = Copied::default();
        for report in self.all(|| Job::Copy(round.clone()))? {
            if let Report::Copied(share) = report {
                sum.pages += share.pages;
                sum.zero_pages += share.zero_pages;
                sum.bytes += share.bytes;
            }
        }
        Ok(sum)
    }

    fn take_number(&mut self) -> u64 {
        self.slot.next_number += 1;
        self.slot.next_number
    }

    /// Gives every lane a job and waits for all. The first error is the one that tells; the others follow
    /// from it.
    fn all(&mut self, job: impl Fn() -> Job) -> Result<Vec<Report>, StepError> {
        let gone = || StepError { kind: ErrorKind::System, message: "a lane thread ended early".into() };
        for worker in &self.slot.workers {
            worker.jobs.send(job()).map_err(|_| gone())?;
        }
        let mut reports = vec![];
        let mut first: Option<StepError> = None;
        for worker in &self.slot.workers {
            match worker.reports.recv().unwrap_or_else(|_| Err(gone())) {
                Ok(report) => reports.push(report),
                Err(error) => {
                    // The other lanes of the guest may wait for a peer that will never answer.
                    self.common.stop.store(true, Ordering::Relaxed);
                    let follows = error.message == given_up().message;
                    if first.as_ref().is_none_or(|f| f.message == given_up().message && !follows) {
                        first = Some(error);
                    }
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => Ok(reports),
        }
    }

    /// Measures the path with the guest's own pages, and lets the policy decide over a modelled guest.
    fn predict(&mut self, story: &mut Story) -> Result<(), StepError> {
        let spec = &self.common.spec;
        let pages = self.pages();
        // A path of which nothing is known may be slow: a budget feels its way.
        let least = if spec.budget_ns.is_some() { FEELER_BYTES } else { 1 << 20 };
        let mut bytes = if spec.budget_ns.is_some() { FEELER_BYTES } else { 4 << 20 };
        let mut first_page = 0;
        // In pages that are not zero: compressed ones cost the path less, and will do so again.
        let (mut moved, mut sent, mut took_ns) = (0u64, 0u64, 0u64);
        let began = self.common.clock.now();
        let mut warmed = false;
        while moved == 0 || self.common.clock.now().ns_since(began) < WARM_NS + MEASURE_NS {
            // The first measurement is never taken, however long it took; the second always is.
            let warm = !warmed || self.common.clock.now().ns_since(began) < WARM_NS;
            warmed = true;
            // A lost page must not arrive by way of the measurement.
            let mut map = PageBitmap::all(pages);
            map.remove(pages - 1);
            let number = self.take_number();
            // Go on where the last one ended: a block copied before lies in a cache and would flatter the path.
            let segment_pages = (bytes / PAGE_BYTES / 4).clamp(FEELER_BYTES / PAGE_BYTES / 4, SEGMENT_PAGES);
            let limited = Round { bytes_max: bytes, first_page, segment_pages, ..Round::new(number, map) };
            let start = self.common.clock.now();
            let limited = Arc::new(limited);
            let copied = self.copy_round(&limited)?;
            let elapsed_ns = self.common.clock.now().ns_since(start).max(1);
            first_page = limited.reached();
            if copied.bytes == 0 {
                break;
            }
            if warm {
                // As much as takes about the whole measuring time at the rate just seen.
                let rate = copied.bytes as f64 / elapsed_ns as f64;
                bytes = ((rate * MEASURE_NS as f64) as u64).max(least);
            } else {
                moved += (copied.pages - copied.zero_pages) * PAGE_BYTES;
                (sent, took_ns) = (sent + copied.bytes, took_ns + elapsed_ns);
            }
        }
        // An empty round shows what a round costs beside its bytes, and ends the measurement.
        let forget = Round { forget: true, ..Round::new(self.take_number(), PageBitmap::none(pages)) };
        let start = self.common.clock.now();
        self.copy_round(&Arc::new(forget))?;
        let round_cost_ns = self.common.clock.now().ns_since(start);
        self.common.progress.store(0, Ordering::Relaxed);
        if moved == 0 {
            return Ok(());
        }
        let shared = f64::from(spec.parallel.min(spec.guests).max(1));
        let path_bytes_per_s = moved as f64 / took_ns as f64 * 1e9;
        let path = Path {
            bytes_per_s: path_bytes_per_s / shared,
            round_cost_ns,
            zero_share: f64::from(spec.zero_percent) / 100.0,
        };
        if let Some(budget_ns) = spec.budget_ns {
            let scale = Scale::new(spec.memory_bytes, budget_ns, path);
            // Set once: one guest measures for all.
            let _ = self.common.scaled.set(scale);
        }
        let Scale { memory_bytes, dirty_bytes_per_s, rounds_min } = self.common.scale();
        let phases = Phases::new(self.common.policy.clone()).with_rounds_min(rounds_min);
        let pages = memory_bytes / PAGE_BYTES;
        let p = predict_phases(phases, pages, dirty_bytes_per_s as f64, &self.common.pattern, path);
        let bytes = (u128::from(p.bytes) * u128::from(sent) / u128::from(moved)) as u64;
        let waves = u64::from(spec.guests.div_ceil(spec.parallel.max(1)));
        self.common.expected.store(bytes * u64::from(spec.guests), Ordering::Relaxed);
        story.predicted = Some(MigratePrediction {
            total_ns: p.total_ns * waves,
            downtime_ns: p.downtime_ns,
            bytes: bytes * u64::from(spec.guests),
            rounds: p.rounds.len() as u32,
            converges: p.converges(),
            path_bytes_per_s: path_bytes_per_s as u64,
        });
        Ok(())
    }

    /// Changes one bit of one page on the way.
    fn spoil(&mut self) -> Result<(), StepError> {
        let wrong =
            |e: pathproof_api::RegionError| StepError { kind: ErrorKind::System, message: e.to_string() };
        let pages = self.pages();
        let page = Random::new(self.common.spec.seed ^ 0xBADB17).below(pages);
        let staging = self.common.spec.memory_bytes;
        let mut bytes = vec![0u8; PAGE_BYTES as usize];
        self.slot.region.copy_out(page * PAGE_BYTES, &mut bytes).map_err(wrong)?;
        bytes[(page % PAGE_BYTES) as usize] ^= 1 << (page % 8);
        self.slot.region.copy_in(staging, &bytes).map_err(wrong)?;
        let number = self.take_number();
        let worker = &self.slot.workers[0];
        let gone = || StepError { kind: ErrorKind::System, message: "a lane thread ended early".into() };
        worker.jobs.send(Job::Spoil { page, number }).map_err(|_| gone())?;
        worker.reports.recv().map_err(|_| gone())??;
        Ok(())
    }

    fn verify(&mut self, story: &mut Story) -> Result<(), StepError> {
        let pages = self.pages();
        let start = self.common.clock.now();
        let verify = Arc::new(Verify { pages, next: AtomicU64::new(0) });
        let mut sum = Compared::default();
        for report in self.all(|| Job::Verify(verify.clone()))? {
            if let Report::Compared(share) = report {
                sum.pages += share.pages;
                sum.differing += share.differing;
                sum.first = [sum.first, share.first].into_iter().flatten().min();
            }
        }
        story.verify_ns = self.common.clock.now().ns_since(start);
        if sum.pages != pages {
            return Err(StepError {
                kind: ErrorKind::System,
                message: format!(
                    "{} of {pages} pages were compared; this is a fault of this program",
                    sum.pages
                ),
            });
        }
        if let Some(first) = sum.first {
            story.mismatch = Some((first, sum.differing));
        }
        self.phases.verified().map_err(broken)
    }
}

fn harvest(tracker: &mut dyn DirtyTracker, words: &mut [u64], pages: u64) -> Result<PageBitmap, StepError> {
    words.fill(0);
    tracker.harvest(words).map_err(unreadable)?;
    let mut map = PageBitmap::none(pages);
    map.merge_words(words.iter().copied());
    Ok(map)
}

fn round(
    phase: &str,
    copied: Copied,
    elapsed_ns: u64,
    dirtied: u64,
    writes: u64,
    throttle: u8,
) -> MigrateRound {
    MigrateRound {
        phase: phase.into(),
        pages: copied.pages,
        zero_pages: copied.zero_pages,
        bytes: copied.bytes,
        elapsed_ns,
        dirtied_pages: dirtied,
        writes,
        throttle_percent: throttle,
    }
}

fn broken(error: pathproof_engine::migrate::PhaseError) -> StepError {
    StepError { kind: ErrorKind::System, message: format!("{error}; this is a fault of this program") }
}

fn unreadable(error: std::io::Error) -> StepError {
    StepError { kind: ErrorKind::System, message: format!("dirty pages cannot be read: {error}") }
}
