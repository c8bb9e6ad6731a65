//! The threads of a migration: each place and each lane has one, and the destination one more for the memory of each
//! guest. What is copied when, the engine decides; how the threads come and go, the stage.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use crossbeam_channel::{Select, bounded};
use pathproof_api::{Clock, Offer, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_engine::migrate::copy::pacer::Pacer;
use pathproof_engine::migrate::copy::{Place, Served, Shared, Story, Subject, blocks, ready_ns};
use pathproof_model::stream::FlowSample;
use pathproof_model::units::Bytes;
use pathproof_model::{End, ErrorKind, Half, StepError};

use super::lanes::{self, Around, CONNECT, LaneEnd, SourceSide};
use super::machine::Host;
use super::places::{self, Gates, Standing, Worker};
use super::prepare::ReadyMigrate;
use super::{memory, merge};
use crate::glance::Glance;
use crate::steps::stage::{Aside, Hand, SHOWN_NS, Stage, StageLimits};
use crate::steps::traffic::multi;
use crate::steps::{Context, Prepared, failed};

/// How often the rate of a copy is told, in ns.
const SECOND_NS: u64 = 1_000_000_000;
/// How long the destination's lanes may need to end once the client has ended the step, in ns.
const LAST_BYTES_NS: u64 = 2_000_000_000;

impl Prepared for ReadyMigrate {
    fn offers(&self) -> Vec<Offer> {
        self.slots.iter().flat_map(|s| &s.lanes).chain(&self.disk_lane).map(|l| l.prepared.offer()).collect()
    }

    fn paths(&self) -> Vec<u32> {
        self.stripe.as_ref().map(multi::StripePlan::leads_to).unwrap_or_default()
    }

    fn run(mut self: Box<Self>, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
        let count = self.slots.iter().flat_map(|s| &s.lanes).chain(&self.disk_lane).count();
        if peer.len() != count {
            let message = format!("the peer offered {} lanes and {count} were planned", peer.len());
            let error = StepError::new(ErrorKind::Protocol, message);
            context.channel.fail(&error);
            return failed(error);
        }
        let (end, stripe) = (self.end, self.stripe.take());
        let mut half = match end {
            End::Client => run_source(*self, context, peer),
            End::Server => run_destination(*self, context, peer),
        };
        if let Some(stripe) = stripe {
            stripe.tell(end, vec![], &mut half);
        }
        half
    }
}

/// The source's half.
fn run_source(ready: ReadyMigrate, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
    let began = context.clock.now();
    let ReadyMigrate { spec, policy, pattern, slots, disk_lane, disk, overhead_bytes, prepared_ns, .. } =
        ready;
    let limits = limits(spec.memory_bytes, slots.len());
    let around = Around { clock: context.clock.clone(), patience: context.within(CONNECT) };
    let pacer = Arc::new(Pacer::new(spec.bandwidth_bytes_per_s));
    let clock = Arc::new(context.clock.clone());
    let shared = Arc::new(Shared::new(spec, policy, pattern, clock, context.until));
    let side = SourceSide { around, shared: shared.clone(), pacer };
    let mut beside = Progress { shared: Some(&shared), begin: None, before: None };
    let mut offers = peer.into_iter();
    let (stories, lanes, disk, error) = std::thread::scope(|scope| {
        let mut stage = Stage::new(scope);
        let (mut conductors, mut threads) = (vec![], vec![]);
        let standing = Arc::new(Standing(shared.clone()));
        let (measures, measured) = bounded(0);
        let (copied, storage) = bounded(slots.len());
        let waits_for_storage = disk_lane.is_some().then_some(storage);
        let places = slots.len();
        for (number, slot) in slots.into_iter().enumerate() {
            let mut workers = vec![];
            for unconnected in slot.lanes {
                let (jobs_in, jobs) = mpsc::channel();
                let (reports_in, reports) = mpsc::channel();
                workers.push(Worker { jobs: jobs_in, reports });
                let offer = offers.next().unwrap_or_default();
                let (region, side) = (slot.region.clone(), &side);
                threads.push(stage.spawn(format!("lane {}", unconnected.index), false, move |cue| {
                    lanes::guest_lane(unconnected, &offer, cue, region, side, &jobs, &reports_in)
                }));
            }
            let place = Place::new(shared.clone(), slot.region.clone());
            let host = Host::new(slot.region, context.clock.clone(), shared.spec.tracker, shared.spec.seed);
            let gates = Gates {
                storage: waits_for_storage.clone(),
                measures: measures.clone(),
                measured: measured.clone(),
            };
            let standing = standing.clone();
            conductors.push(stage.spawn(format!("place {number}"), false, move |cue| {
                places::guests(place, host, workers, cue, gates, &standing.0)
            }));
        }
        drop((standing, measures));
        // The storage moves first; the guests start when it is there.
        let storage = disk_lane.zip(disk).map(|(unconnected, disk)| {
            let offer = offers.next().unwrap_or_default();
            let side = &side;
            let start_guests = move || (0..places).for_each(|_| _ = copied.send(()));
            stage.spawn("storage".into(), false, move |cue| {
                lanes::disk_lane(unconnected, &offer, cue, disk, side, start_guests)
            })
        });
        let error = stage.run(End::Client, &limits, context, &mut beside);
        let stories: Vec<Vec<Story>> = conductors.into_iter().filter_map(Hand::join).collect();
        let mut lanes: Vec<LaneEnd> = threads.into_iter().filter_map(Hand::join).collect();
        let disk = storage.and_then(Hand::join).map(|(end, story)| {
            lanes.push(end);
            story
        });
        (stories, lanes, disk, error)
    });
    let ready = beside.begin.unwrap_or_else(|| context.clock.now());
    let setup_ns = ready.ns_since(began).saturating_add(prepared_ns);
    merge::source_half(&shared.spec, stories, lanes, disk, error, setup_ns, overhead_bytes)
}

/// The destination's half.
fn run_destination(ready: ReadyMigrate, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
    let ReadyMigrate { spec, slots, disk_lane, overhead_bytes, .. } = ready;
    let limits = limits(spec.memory_bytes, slots.len());
    let pages = spec.memory_bytes / PAGE_BYTES;
    let around = Around { clock: context.clock.clone(), patience: CONNECT };
    let mut offers = peer.into_iter();
    let (ends, error) = std::thread::scope(|scope| {
        let mut stage = Stage::new(scope);
        let (mut threads, mut memories, mut subjects) = (vec![], vec![], vec![]);
        for (number, slot) in slots.into_iter().enumerate() {
            let region = slot.region.clone();
            // Memory comes before the first byte, as on a real destination, which sets it up for the guest.
            memories.push(stage.spawn(format!("memory {number}"), false, move |mut cue| {
                match memory::populate(&region, region.len() / PAGE_BYTES, cue.stop()) {
                    Ok(()) => cue.ready(),
                    Err(error) => cue.fail(StepError::new(
                        ErrorKind::Resource,
                        format!(
                            "the destination has no room for {} of guest memory: {error}; ask for less --memory",
                            Bytes(region.len())
                        ),
                    )),
                }
            }));
            subjects.extend(
                slot.lanes.into_iter().map(|lane| (lane, Subject::Guest(slot.region.clone(), pages))),
            );
        }
        subjects.extend(disk_lane.map(|lane| {
            let blocks = blocks(spec.disk.as_ref().map_or(0, |d| d.bytes));
            (lane, Subject::Disk(vec![None; blocks as usize]))
        }));
        for (unconnected, subject) in subjects {
            let offer = offers.next().unwrap_or_default();
            let around = &around;
            threads.push(stage.spawn(format!("lane {}", unconnected.index), false, move |cue| {
                lanes::served_lane(unconnected, &offer, cue, subject, around)
            }));
        }
        let error = stage.run(
            End::Server,
            &limits,
            context,
            &mut Progress { shared: None, begin: None, before: None },
        );
        memories.into_iter().for_each(|memory| _ = memory.join());
        let ends: Vec<(LaneEnd, Served)> = threads.into_iter().filter_map(Hand::join).collect();
        (ends, error)
    });
    merge::destination_half(ends, error, overhead_bytes)
}

/// A copy takes what it takes; until it begins, memory of so many guests is made ready.
fn limits(memory_bytes: u64, places: usize) -> StageLimits {
    let memory_bytes = memory_bytes.saturating_mul(places as u64);
    StageLimits { length_ns: u64::MAX, ready_ns: ready_ns(memory_bytes), last_bytes_ns: LAST_BYTES_NS }
}

/// Shows how far the copy is.
struct Progress<'a> {
    shared: Option<&'a Shared>,
    begin: Option<Tick>,
    /// Bytes that had been copied when the last second ended.
    before: Option<(Tick, u64)>,
}

impl Progress<'_> {
    /// What was copied in the second that has just ended, if one has.
    fn second(&mut self, now: Tick, copied: u64) -> Option<Vec<FlowSample>> {
        let (then, before) = *self.before.get_or_insert((now, copied));
        let took_ns = now.ns_since(then);
        if took_ns < SECOND_NS {
            return None;
        }
        self.before = Some((now, copied));
        // The count begins anew once the path has been measured.
        let bytes = copied.checked_sub(before)?;
        let sent_bits_per_s = Some((8.0 * bytes as f64 / took_ns as f64 * SECOND_NS as f64) as u64);
        Some(vec![FlowSample { name: Some("pages".into()), sent_bits_per_s, ..FlowSample::default() }])
    }
}

impl Aside for Progress<'_> {
    fn begun(&mut self, begin: Tick) {
        self.begin = Some(begin);
    }

    fn hear(&mut self, _: &StepMessage, _: Tick) -> bool {
        false
    }

    fn turn(&mut self, now: Tick, context: &mut Context<'_>) -> Tick {
        let (Some(shared), Some(progress)) = (self.shared, &mut context.progress) else {
            return Tick(u64::MAX);
        };
        let second = self.second(now, shared.progress.load(Ordering::Relaxed));
        progress(Glance { share: shared.share_copied(), second, ..Glance::default() });
        now.plus_ns(SHOWN_NS)
    }

    fn watch<'a>(&'a self, _: &mut Select<'a>) {}
}
