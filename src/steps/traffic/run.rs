//! A prepared half of a traffic step runs: a thread for each lane, one more that plays failures where that was asked for, and
//! what is looked after beside them.

use std::collections::VecDeque;

use crossbeam_channel::Select;
use pathproof_api::{Offer, PreparedLane, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_engine::record::{LiveLane, LivePlace, Pace, WorstSecond};
use pathproof_model::{End, ErrorKind, Half, LaneResult, NicFailure, StepError, TrafficKind, TrafficSpec};

use super::job::LaneJob;
use super::lane::{self, Around, LaneOutcome};
use super::{CONNECT, Companion, Lanes, invalid, links, multi, verbs};
use crate::glance::Glance;
use crate::steps::stage::{Aside, Hand, SHOWN_NS, Stage, StageLimits};
use crate::steps::{Context, Prepared, failed, not_connected};
use pathproof_sys::clock::RealClock;

/// How long both ends may take to have their lanes connected beyond what a lane may take.
const READY_NS: u64 = 2_000_000_000;
/// How long what was sent before the peer's last lane was closed may need to come in on ours.
const LAST_BYTES_NS: u64 = 200_000_000;
/// How often the worst second is looked for where nobody is shown anything: its ring holds seven minutes.
const WORST_NS: u64 = 60_000_000_000;

impl Prepared for Lanes {
    fn offers(&self) -> Vec<Offer> {
        self.lanes.iter().map(|(_, lane)| lane.offer()).collect()
    }

    fn paths(&self) -> Vec<u32> {
        self.stripes.leads_to()
    }

    fn run(self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let Lanes { end, spec, seed, lanes, stripes, saboteur, companions } = *self;
        if peer.len() != lanes.len() {
            let message = format!("the peer offered {} lanes and {} were planned", peer.len(), lanes.len());
            let error = StepError::new(ErrorKind::Protocol, message);
            context.channel.fail(&error);
            return failed(error);
        }
        let verb = verbs::verb(&spec);
        // The worst second is that of the first flow, each direction at the end that measures it.
        let counts = |job: &LaneJob| !job.of.beside && verbs::counts(job.part, verb);
        let counted = lanes.iter().filter(|(job, _)| counts(job)).count();
        let (worst, mut places) = WorstSecond::new(spec.time_ns, counted);
        // Where nobody looks, no lane says how far it is.
        let (pace, shown) = context.progress.as_ref().map(|_| pace(&lanes)).unzip();
        let mut shown: VecDeque<LivePlace> = shown.unwrap_or_default();
        let (patience, clock) = (context.within(CONNECT), context.clock);
        let around = Around { end, lanes: lanes.len(), seed, clock, until: context.until };
        let nics = stripes.common().filter(|_| spec.watch_links).map(multi::StripePlan::nics);
        let mut beside = Beside {
            end,
            spec: &spec,
            clock,
            nics,
            links: None,
            worst,
            pace,
            begin: Tick(0),
            shown: Tick(0),
        };
        let (outcomes, error, mut failures) = std::thread::scope(|scope| {
            let mut stage = Stage::new(scope);
            let threads: Vec<Hand<'_, LaneOutcome>> = lanes
                .into_iter()
                .zip(peer)
                .map(|((job, prepared), offer)| {
                    let place = if counts(&job) { places.pop() } else { None };
                    let live = shown.pop_front();
                    let (name, sends) = (format!("lane {}", job.index), job.part.is_active());
                    stage.spawn(name, sends, move |mut cue| {
                        let lane = match prepared.connect(&offer, patience) {
                            Ok(lane) => lane,
                            Err(error) => {
                                let error = not_connected(&error, patience < CONNECT);
                                cue.fail(error.clone());
                                return LaneOutcome::failed(&job, end, error);
                            }
                        };
                        cue.ready();
                        match cue.begin().and_then(|begin| job.begin(begin, &cue, clock)) {
                            Some(begin) => lane::run(&job, &around, lane, begin, &cue, (place, live)),
                            None => LaneOutcome::unused(&job, end),
                        }
                    })
                })
                .collect();
            let spec = &spec;
            let sabotage = saboteur.map(|saboteur| {
                stage.spawn_beside("failures".into(), move |cue| saboteur.work(&cue, spec, clock))
            });
            for Companion { name, work, ender } in companions {
                stage.spawn_beside(name.into(), work);
                ender.into_iter().for_each(|ender| stage.let_go(ender));
            }
            let limits = StageLimits {
                length_ns: spec.length_ns(),
                ready_ns: CONNECT.as_nanos() as u64 + READY_NS,
                last_bytes_ns: LAST_BYTES_NS,
            };
            let error = stage.run(end, &limits, context, &mut beside);
            let outcomes: Vec<LaneOutcome> = threads.into_iter().filter_map(Hand::join).collect();
            let ended_early = || (vec![], Some(invalid("the thread that plays failures ended early".into())));
            let (failures, unplayed) =
                sabotage.map_or((vec![], None), |thread| thread.join().unwrap_or_else(ended_early));
            (outcomes, error.or(unplayed), failures)
        });
        let (worst, seen) = beside.end();
        failures.extend(seen);
        let mut half = assemble(outcomes, error);
        half.worst_second_bytes = worst.finish();
        stripes.tell(end, failures, &mut half);
        half
    }
}

/// What shows how the lanes go, flow by flow: those of one name are one.
fn pace(lanes: &[(LaneJob, Box<dyn PreparedLane>)]) -> (Pace, VecDeque<LivePlace>) {
    let mut names: Vec<&str> = vec![];
    let mut live = vec![];
    for (job, _) in lanes {
        let name = job.of.name.as_str();
        let flow = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        live.push(LiveLane { flow, exchanges: job.of.kind == TrafficKind::Pingpong });
    }
    let named = names.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect();
    let (pace, places) = Pace::new(live, named);
    (pace, places.into())
}

/// What is looked after beside the lanes while they run.
struct Beside<'a> {
    end: End,
    spec: &'a TrafficSpec,
    clock: &'a RealClock,
    /// Those whose links are watched, where they are.
    nics: Option<Vec<String>>,
    links: Option<links::Links>,
    /// Where the lanes leave what each tenth of a second brought.
    worst: WorstSecond,
    /// Where they say how far they are, where somebody looks.
    pace: Option<Pace>,
    begin: Tick,
    /// When the worst second is looked for again, and the user is shown how far the step is.
    shown: Tick,
}

impl Beside<'_> {
    /// What the links of this end did, and the worst second.
    fn end(self) -> (WorstSecond, Vec<NicFailure>) {
        (self.worst, self.links.map(links::Links::into_failures).unwrap_or_default())
    }
}

impl Aside for Beside<'_> {
    fn begun(&mut self, begin: Tick) {
        (self.begin, self.shown) = (begin, begin);
        let window = begin.plus_ns(self.spec.warmup_ns);
        let clock = self.clock.clone();
        self.links = self
            .nics
            .take()
            .map(|nics| links::Links::watch(self.end, nics, clock, window, self.spec.time_ns));
    }

    fn hear(&mut self, said: &StepMessage, now: Tick) -> bool {
        let StepMessage::Link { nic, up } = said else { return false };
        if let Some(links) = &mut self.links {
            links.hear(nic.clone(), *up, now);
        }
        true
    }

    fn turn(&mut self, now: Tick, context: &mut Context<'_>) -> Tick {
        if now >= self.shown {
            self.worst.look();
            let every = match &mut context.progress {
                Some(progress) => {
                    let share = now.ns_since(self.begin) as f64 / self.spec.length_ns().max(1) as f64;
                    let second = self.pace.as_mut().and_then(|pace| pace.look(now));
                    progress(Glance { second, ..share.into() });
                    SHOWN_NS
                }
                None => WORST_NS,
            };
            self.shown = now.plus_ns(every);
        }
        let Some(links) = &mut self.links else { return self.shown };
        links.look(context.channel);
        links.speak(now);
        if links.is_over(now) {
            context.channel.send(StepMessage::Ending);
        }
        self.shown.min(links.due())
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        if let Some(links) = &self.links {
            links.wake(select);
        }
    }
}

fn assemble(outcomes: Vec<LaneOutcome>, error: Option<StepError>) -> Half {
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
