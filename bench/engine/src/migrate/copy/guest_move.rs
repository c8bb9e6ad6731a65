//! One guest's move at the source: the policy decides, the lanes copy, and what happened is written down even when it
//! ends early. It orders work and is handed reports; it never waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pathproof_api::{Region, Tick};
use pathproof_model::ErrorKind;
use pathproof_model::migrate::{InjectedFault, MigratePrediction, MigrateRound, RoundPhase};

use super::error::CopyError;
use super::machine::Machine;
use super::measure::Measurement;
use super::round::{Compared, Copied, Job, Report, Round, Verify};
use super::shared::{Shared, guest_seed};
use super::story::Story;
use super::time::within_ns;
use crate::migrate::{
    Decision, Guest, PAGE_BYTES, PageBitmap, Path, Phase, PhaseError, Phases, Random, RoundFacts, Scale,
    predict_phases,
};

/// What a move wants next.
#[derive(Clone)]
pub enum Order {
    /// Every lane of the place does this job.
    All(Job),
    /// One lane does it.
    One(Job),
    /// Another guest is measuring the path: ask again in a moment.
    Wait,
    /// The move is over.
    Over,
}

pub(super) struct GuestMove {
    shared: Arc<Shared>,
    region: Arc<Region>,
    number: u32,
    /// Number of the last round or barrier on these lanes.
    last_number: u64,
    phases: Phases,
    story: Story,
    stage: Stage,
    /// When the order under way was given.
    ordered: Tick,
    began: Tick,
    cpu_began: Option<u64>,
    words: Vec<u64>,
    throttle_percent: u8,
    from_page: u64,
    /// Writes and time while the guest ran at full speed.
    full_speed: (u64, u64),
}

enum Stage {
    Measure(Measurement),
    /// An empty round shows what a round costs beside its bytes, and ends the measurement.
    MeasureRound(Measurement),
    AwaitMeasured,
    Live {
        map: PageBitmap,
    },
    /// A live round is under way.
    Round {
        round: Arc<Round>,
        writes_before: u64,
    },
    /// The destination learns which pages are stale and runs the guest; what remains is a barrier's round trip.
    Switch {
        map: PageBitmap,
        stopped: Tick,
    },
    /// What the guest left moves.
    Rest {
        map: PageBitmap,
        phase: RoundPhase,
        stopped: Option<Tick>,
    },
    Moving {
        phase: RoundPhase,
        stopped: Option<Tick>,
    },
    Spoil,
    Verify,
    Over,
}

impl GuestMove {
    pub fn new(shared: Arc<Shared>, region: Arc<Region>, number: u32, last_number: u64) -> GuestMove {
        let now = shared.clock.now();
        let pages = shared.scale().memory_bytes / PAGE_BYTES;
        let stage = match number {
            0 => Stage::Measure(Measurement::new(now, pages, shared.spec.budget_ns.is_some())),
            _ => Stage::AwaitMeasured,
        };
        let mut story = Story::default();
        story.guest.guest = number;
        GuestMove {
            phases: Phases::new(shared.policy.clone()),
            shared,
            region,
            number,
            last_number,
            story,
            stage,
            ordered: now,
            began: now,
            cpu_began: None,
            words: vec![],
            throttle_percent: 0,
            from_page: 0,
            full_speed: (0, 0),
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phases.phase()
    }

    fn pages(&self) -> u64 {
        self.shared.scale().memory_bytes / PAGE_BYTES
    }

    fn now(&self) -> Tick {
        self.shared.clock.now()
    }

    fn take_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn injects(&self, fault: InjectedFault) -> bool {
        self.number == 0 && self.shared.spec.fault == Some(fault)
    }

    fn copy(&mut self, round: Arc<Round>) -> Order {
        self.ordered = self.now();
        Order::All(Job::Copy(round))
    }

    /// What is to be done now. To be asked again once it has been reported.
    pub fn next(&mut self, machine: &mut dyn Machine) -> Result<Order, CopyError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Measure(mut measurement) => {
                let (now, mut number) = (self.now(), self.last_number);
                let round = measurement.next(now, || {
                    number += 1;
                    number
                });
                self.last_number = number;
                if let Some(round) = round {
                    self.stage = Stage::Measure(measurement);
                    return Ok(self.copy(round));
                }
                let pages = self.pages();
                let empty = Round { forget: true, ..Round::new(self.take_number(), PageBitmap::none(pages)) };
                self.stage = Stage::MeasureRound(measurement);
                Ok(self.copy(Arc::new(empty)))
            }
            // The path is measured with nobody else on it, and a budget decides for all.
            Stage::AwaitMeasured if !self.shared.measured.load(Ordering::Acquire) => {
                self.stage = Stage::AwaitMeasured;
                Ok(Order::Wait)
            }
            Stage::AwaitMeasured => {
                let map = self.begin(machine)?;
                Ok(self.live_round(map, machine))
            }
            Stage::Live { map } => Ok(self.live_round(map, machine)),
            Stage::Switch { map, stopped } => {
                let round = Round::new(self.take_number(), PageBitmap::none(self.pages()));
                self.stage = Stage::Switch { map, stopped };
                Ok(self.copy(Arc::new(round)))
            }
            Stage::Rest { map, phase, stopped } => {
                let round = Round::new(self.take_number(), map);
                self.stage = Stage::Moving { phase, stopped };
                Ok(self.copy(Arc::new(round)))
            }
            Stage::Spoil => {
                let page = self.spoiled_page()?;
                let number = self.take_number();
                self.stage = Stage::Spoil;
                Ok(Order::One(Job::Spoil { page, number }))
            }
            Stage::Verify => {
                self.stage = Stage::Verify;
                self.ordered = self.now();
                Ok(Order::All(Job::Verify(Arc::new(Verify::new(self.pages())))))
            }
            // Nothing is ordered twice.
            stage @ (Stage::MeasureRound(_) | Stage::Round { .. } | Stage::Moving { .. } | Stage::Over) => {
                self.stage = stage;
                Ok(Order::Over)
            }
        }
    }

    /// What was ordered is done by all who were to do it.
    pub fn reported(&mut self, reports: &[Report], machine: &mut dyn Machine) -> Result<(), CopyError> {
        let (copied, now) = (Copied::sum(reports), self.now());
        let elapsed_ns = now.ns_since(self.ordered);
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Measure(mut measurement) => {
                measurement.copied(now, copied);
                Stage::Measure(measurement)
            }
            Stage::MeasureRound(measurement) => {
                self.predict(&measurement, elapsed_ns);
                self.shared.measured.store(true, Ordering::Release);
                Stage::AwaitMeasured
            }
            Stage::Round { round, writes_before } => {
                self.live_round_ended(&round, copied, elapsed_ns, writes_before, machine)?
            }
            Stage::Switch { map, stopped } => {
                self.story.guest.downtime_ns = now.ns_since(stopped);
                Stage::Rest { map, phase: RoundPhase::PostCopy, stopped: None }
            }
            Stage::Moving { phase, stopped } => {
                if let Some(stopped) = stopped {
                    self.story.guest.downtime_ns = now.ns_since(stopped);
                }
                self.story.rounds.push(round_of(phase, copied, elapsed_ns));
                self.story.span = Some((self.began, now));
                self.story.guest.total_ns = now.ns_since(self.began);
                let cpu = machine.cpu_ns().zip(self.cpu_began);
                self.story.cpu_ns = cpu.map(|(now, then)| now.saturating_sub(then));
                if self.injects(InjectedFault::BitFlip) { Stage::Spoil } else { self.rest_moved()? }
            }
            Stage::Spoil => self.rest_moved()?,
            Stage::Verify => {
                self.compared(Compared::sum(reports), elapsed_ns)?;
                Stage::Over
            }
            other => other,
        };
        Ok(())
    }

    /// Ends the move, whole or broken: its story, and the number of its last round.
    pub fn end(mut self, error: Option<CopyError>, machine: &mut dyn Machine) -> (Story, u64) {
        machine.stop();
        // Nobody waits for a measurement that will never be.
        if self.number == 0 {
            self.shared.measured.store(true, Ordering::Release);
        }
        let mut story = std::mem::take(&mut self.story);
        if error.is_some() {
            story.stopped_in = Some(self.phases.phase());
        }
        story.error = error;
        let live = story.rounds.iter().filter(|r| r.phase.is_live());
        story.guest.rounds = live.count() as u32;
        story.guest.bytes = story.rounds.iter().map(|r| r.bytes).sum();
        if story.span.is_none() {
            let now = self.now();
            story.span = Some((self.began, now));
            story.guest.total_ns = now.ns_since(self.began);
        }
        let done = self.phases.phase() == Phase::Done;
        story.guest.verified = done && story.mismatch.is_none() && story.error.is_none();
        (story, self.last_number)
    }

    /// Starts the guest; all its pages are to be copied.
    fn begin(&mut self, machine: &mut dyn Machine) -> Result<PageBitmap, CopyError> {
        let Scale { memory_bytes, dirty_bytes_per_s, rounds_min } = self.shared.scale();
        let (pages, spec) = (memory_bytes / PAGE_BYTES, &self.shared.spec);
        self.story.downtime_limit_ns = self.shared.policy.downtime_limit_ns();
        (self.story.memory_bytes, self.story.dirty_bytes_per_s) = (memory_bytes, dirty_bytes_per_s);
        self.phases = Phases::new(self.shared.policy.clone()).with_rounds_min(rounds_min);
        self.words = vec![0u64; pages.div_ceil(64) as usize];
        let guest = (dirty_bytes_per_s > 0)
            .then(|| {
                let seed = guest_seed(spec.seed ^ 0xD1, self.number);
                Guest::new(pages, dirty_bytes_per_s, self.shared.pattern.clone(), seed)
            })
            .transpose()
            .map_err(|e| CopyError::new(ErrorKind::Invalid, e.to_string()))?;
        machine.start(pages, guest)?;
        self.phases.start().map_err(broken)?;
        self.cpu_began = machine.cpu_ns();
        self.began = self.now();
        if self.injects(InjectedFault::LostPage) {
            // The peer may have it since the path was measured.
            let _ = self.region.store_word((pages - 1) * PAGE_BYTES, self.shared.spec.seed | 1);
        }
        Ok(PageBitmap::all(pages))
    }

    /// A round with the guest running: it may end early, where the policy looks while it runs.
    fn live_round(&mut self, map: PageBitmap, machine: &mut dyn Machine) -> Order {
        let map = self.without_lost_page(map);
        // The first round is a full copy: it goes by no rate that was measured before, and so ends nowhere early.
        let ends_below = self.phases.ends_round_below(0.0).unwrap_or(0);
        let number = self.take_number();
        let round = Arc::new(Round { first_page: self.from_page, ends_below, ..Round::new(number, map) });
        self.stage = Stage::Round { round: round.clone(), writes_before: machine.writes() };
        self.copy(round)
    }

    fn live_round_ended(
        &mut self,
        round: &Round,
        copied: Copied,
        elapsed_ns: u64,
        writes_before: u64,
        machine: &mut dyn Machine,
    ) -> Result<Stage, CopyError> {
        self.from_page = round.reached();
        let writes = machine.writes() - writes_before;
        if self.throttle_percent == 0 {
            self.full_speed = (self.full_speed.0 + writes, self.full_speed.1 + elapsed_ns);
        }
        let mut map = self.harvest(PageBitmap::none(self.pages()), machine)?;
        round.add_left(&mut map);
        let dirtied_pages = map.count();
        let phase = match self.phases.phase() {
            Phase::FullCopy => RoundPhase::FullCopy,
            _ => RoundPhase::Round,
        };
        self.story.rounds.push(MigrateRound {
            dirtied_pages,
            writes,
            throttle_percent: self.throttle_percent,
            ..round_of(phase, copied, elapsed_ns)
        });
        let spec = &self.shared.spec;
        let limit_ns = spec.time_limit_ns.or(spec.budget_ns.map(|ns| ns.saturating_mul(2)));
        let out_of_time = limit_ns.is_some_and(|limit| self.now().ns_since(self.began) > limit);
        let facts = RoundFacts { pages: copied.pages, bytes: copied.bytes, elapsed_ns, dirtied_pages };
        match self.phases.round_ended(facts).map_err(broken)? {
            Decision::Stop(reason) => {
                self.story.reason = Some(reason.words());
                self.story.guest.converged = reason.converged();
            }
            Decision::PostCopy => {
                self.story.reason = Some("the guest was switched to post-copy");
                self.story.guest.converged = true;
            }
            Decision::Round { .. } if out_of_time => {
                self.phases.stop_now().map_err(broken)?;
                self.story.reason = Some("the time limit of the rehearsal passed");
                self.story.out_of_time = true;
            }
            Decision::Round { throttle_percent, .. } => {
                self.throttle_percent = throttle_percent;
                machine.throttle(throttle_percent);
                return Ok(Stage::Live { map });
            }
        }
        self.stop_guest(map, machine)
    }

    /// The guest stands still from here.
    fn stop_guest(&mut self, map: PageBitmap, machine: &mut dyn Machine) -> Result<Stage, CopyError> {
        let (writes, at_full_speed_ns) = self.full_speed;
        if at_full_speed_ns > 0 {
            let bytes = u128::from(writes * PAGE_BYTES) * 1_000_000_000 / u128::from(at_full_speed_ns);
            self.story.dirtied_bytes_per_s = u64::try_from(bytes).ok();
        }
        let stopped = self.now();
        machine.stop();
        self.shared.one_stands();
        let map = self.harvest(map, machine)?;
        let map = self.without_lost_page(map);
        Ok(match self.phases.phase() {
            Phase::PostCopy => Stage::Switch { map, stopped },
            _ => Stage::Rest { map, phase: RoundPhase::StopAndCopy, stopped: Some(stopped) },
        })
    }

    /// Adds to `map` what was written since the last harvest.
    fn harvest(&mut self, mut map: PageBitmap, machine: &mut dyn Machine) -> Result<PageBitmap, CopyError> {
        self.words.fill(0);
        machine.harvest(&mut self.words)?;
        map.merge_words(self.words.iter().copied());
        Ok(map)
    }

    fn without_lost_page(&self, mut map: PageBitmap) -> PageBitmap {
        if self.injects(InjectedFault::LostPage) {
            map.remove(map.pages() - 1);
        }
        map
    }

    /// Lets the policy decide over a modelled guest on the path as it was measured.
    fn predict(&mut self, measured: &Measurement, round_cost_ns: u64) {
        self.shared.progress.store(0, Ordering::Relaxed);
        if measured.moved == 0 {
            return;
        }
        let spec = &self.shared.spec;
        let shared = f64::from(spec.parallel.min(spec.guests).max(1));
        let path_bytes_per_s = measured.moved as f64 / measured.took_ns as f64 * 1e9;
        let path = Path {
            bytes_per_s: path_bytes_per_s / shared,
            round_cost_ns,
            zero_share: f64::from(spec.zero_percent) / 100.0,
        };
        if let Some(copy_ns) = spec.budget_ns {
            let budget_ns = within_ns(copy_ns, self.shared.until.ns_since(self.now()));
            // Set once: one guest measures for all.
            let _ = self.shared.scaled.set(Scale::new(spec.memory_bytes, budget_ns, path));
        }
        let Scale { memory_bytes, dirty_bytes_per_s, rounds_min } = self.shared.scale();
        let phases = Phases::new(self.shared.policy.clone()).with_rounds_min(rounds_min);
        let pages = memory_bytes / PAGE_BYTES;
        let p = predict_phases(phases, pages, dirty_bytes_per_s as f64, &self.shared.pattern, path);
        let bytes = (u128::from(p.bytes) * u128::from(measured.sent) / u128::from(measured.moved)) as u64;
        let waves = u64::from(spec.guests.div_ceil(spec.parallel.max(1)));
        self.shared.expected.store(bytes * u64::from(spec.guests), Ordering::Relaxed);
        self.story.predicted = Some(MigratePrediction {
            total_ns: p.total_ns * waves,
            downtime_ns: p.downtime_ns,
            bytes: bytes * u64::from(spec.guests),
            rounds: p.rounds.len() as u32,
            converges: p.converges(),
            path_bytes_per_s: path_bytes_per_s as u64,
        });
    }

    /// Puts a page with one bit changed into the staging page; returns its number.
    fn spoiled_page(&mut self) -> Result<u64, CopyError> {
        let wrong = |e: pathproof_api::RegionError| CopyError::new(ErrorKind::System, e.to_string());
        let page = Random::new(self.shared.spec.seed ^ 0xBADB17).below(self.pages());
        let staging = self.region.len() - PAGE_BYTES;
        let mut bytes = vec![0u8; PAGE_BYTES as usize];
        self.region.copy_out(page * PAGE_BYTES, &mut bytes).map_err(wrong)?;
        bytes[(page % PAGE_BYTES) as usize] ^= 1 << (page % 8);
        self.region.copy_in(staging, &bytes).map_err(wrong)?;
        Ok(page)
    }

    fn rest_moved(&mut self) -> Result<Stage, CopyError> {
        self.phases.rest_moved().map_err(broken)?;
        Ok(Stage::Verify)
    }

    fn compared(&mut self, sum: Compared, elapsed_ns: u64) -> Result<(), CopyError> {
        self.story.verify_ns = elapsed_ns;
        let pages = self.pages();
        if sum.pages != pages {
            return Err(CopyError::new(
                ErrorKind::System,
                format!("{} of {pages} pages were compared; this is a fault of this program", sum.pages),
            ));
        }
        self.story.mismatch = sum.first.map(|first| (first, sum.differing));
        self.phases.verified().map_err(broken)
    }
}

fn round_of(phase: RoundPhase, copied: Copied, elapsed_ns: u64) -> MigrateRound {
    MigrateRound {
        phase,
        pages: copied.pages,
        zero_pages: copied.zero_pages,
        bytes: copied.bytes,
        elapsed_ns,
        ..MigrateRound::default()
    }
}

fn broken(error: PhaseError) -> CopyError {
    CopyError::new(ErrorKind::System, format!("{error}; this is a fault of this program"))
}
