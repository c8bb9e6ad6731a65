//! The threads of a migration: they are spawned and connected, both ends agree that all is ready, and they are joined
//! when the copy is over or given up. What is copied when, the engine decides.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pathproof_api::{Clock, Offer, Tick};
use pathproof_engine::control::StepMessage;
use pathproof_engine::migrate::PAGE_BYTES;
use pathproof_engine::migrate::copy::pacer::Pacer;
use pathproof_engine::migrate::copy::{Place, Served, Shared, Story, Subject, blocks, ready_ns};
use pathproof_model::units::Bytes;
use pathproof_model::{ErrorKind, Half, StepError};

use super::lanes::{self, Around, CONNECT, LaneEnd, News, SourceSide};
use super::machine::Host;
use super::places::{self, Worker};
use super::prepare::Ready;
use super::spec::as_traffic;
use super::{memory, merge};
use crate::budget::out_of_time;
use crate::session::Received;
use crate::steps::traffic::{multi, proof};
use crate::steps::{Context, End, Prepared, failed};

/// How often the coordinator looks around.
const LOOK_NS: u64 = 10_000_000;

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
        before.attach(&mut half, end.name());
        if let Some(watch) = watch {
            watch.end(end, &mut half);
        }
        half
    }
}

/// The source's half.
fn run_source(ready: Ready, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
    let began = context.clock.now();
    let Ready {
        spec,
        policy,
        pattern,
        tracker,
        fault,
        slots,
        disk_lane,
        disk,
        overhead_bytes,
        prepared_ns,
        ..
    } = ready;
    let memory = spec.memory_bytes.saturating_mul(slots.len() as u64);
    let around = Arc::new(Around {
        clock: context.clock.clone(),
        patience: context.within(CONNECT),
        stop: AtomicBool::new(false),
    });
    let pacer = Arc::new(Pacer::new(spec.bandwidth_bytes_per_s));
    let clock = Arc::new(context.clock.clone());
    let shared = Arc::new(Shared::new(spec, policy, pattern, fault, clock));
    let side = SourceSide { around: around.clone(), shared: shared.clone(), pacer };
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
                let (news, region, side) = (news_in.clone(), slot.region.clone(), &side);
                awaited += 1;
                threads.push(scope.spawn(move || {
                    lanes::guest_lane(unconnected, &offer, &news, region, side, &jobs, &reports_in)
                }));
            }
            let (start_in, start) = mpsc::channel();
            starts.push(start_in);
            let place = Place::new(shared.clone(), slot.region.clone());
            let host = Host::new(slot.region, context.clock.clone(), tracker, shared.spec.seed);
            let (news, around) = (news_in.clone(), &around);
            awaited += 1;
            conductors.push(scope.spawn(move || places::guests(place, host, workers, around, &news, &start)));
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
            let (news, side) = (news_in.clone(), &side);
            let start_guests = start_guests.clone();
            awaited += 1;
            scope.spawn(move || lanes::disk_lane(unconnected, &offer, &news, disk, side, &go, start_guests))
        });
        drop(news_in);
        let opened = await_ready(context, &news, awaited, End::Client, memory);
        setup_ns = context.clock.now().ns_since(began) + prepared_ns;
        let mut error = opened.err();
        match &error {
            Some(error) => {
                around.give_up();
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
                shared.all_stand();
                if storage.as_ref().is_none_or(|s| s.is_finished()) {
                    break;
                }
            }
            if let Some(share) = shared.share_copied() {
                (context.progress)(share);
            }
            let wake = context.clock.now().plus_ns(LOOK_NS);
            match context.channel.receive(wake) {
                Received::Message(_) | Received::Nothing => {}
                other => {
                    around.give_up();
                    if error.is_none() {
                        error = Some(refusal(other, "during the migration"));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        let stories: Vec<Vec<Story>> = conductors.into_iter().filter_map(|c| c.join().ok()).collect();
        let mut lanes: Vec<LaneEnd> = threads.into_iter().filter_map(|t| t.join().ok()).collect();
        let disk = storage.and_then(|s| s.join().ok()).map(|(end, story)| {
            lanes.push(end);
            story
        });
        (stories, lanes, disk, error)
    });
    merge::source_half(&shared.spec, stories, lanes, disk, error, setup_ns, overhead_bytes)
}

/// The destination's half.
fn run_destination(ready: Ready, context: &mut Context<'_>, peer: Vec<Offer>) -> Half {
    let Ready { spec, slots, disk_lane, overhead_bytes, .. } = ready;
    let memory = spec.memory_bytes.saturating_mul(slots.len() as u64);
    let pages = spec.memory_bytes / PAGE_BYTES;
    let around = Around { clock: context.clock.clone(), patience: CONNECT, stop: AtomicBool::new(false) };
    let (news_in, news) = mpsc::channel();
    let mut offers = peer.into_iter();
    let (ends, error) = std::thread::scope(|scope| {
        let mut threads = vec![];
        let mut subjects = vec![];
        let mut awaited = 0;
        for slot in slots {
            let (news, region, stop) = (news_in.clone(), slot.region.clone(), &around.stop);
            awaited += 1;
            // Memory comes before the first byte, as on a real destination, which sets it up for the guest.
            scope.spawn(move || {
                let populated = memory::populate(&region, region.len() / PAGE_BYTES, stop);
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
            let blocks = blocks(spec.disk.as_ref().map_or(0, |d| d.bytes));
            (lane, Subject::Disk(vec![None; blocks as usize]))
        }));
        for (unconnected, subject) in subjects {
            let offer = offers.next().unwrap_or_default();
            let (news, around) = (news_in.clone(), &around);
            awaited += 1;
            threads
                .push(scope.spawn(move || lanes::served_lane(unconnected, &offer, &news, subject, around)));
        }
        drop(news_in);
        let mut error = await_ready(context, &news, awaited, End::Server, memory).err();
        if let Some(error) = &error {
            around.give_up();
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
                        around.give_up();
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => {
                    around.give_up();
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
            context.channel.send(if end == End::Server { StepMessage::Up } else { StepMessage::Start });
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
