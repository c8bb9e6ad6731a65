//! One lane of a traffic step: its memory, its workload, and the loop of its thread.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};
use pathproof_api::{Clock, Lane, Stopper, Tick, TransportError, Verb};
use pathproof_engine::drive::{Driver, RunError};
use pathproof_engine::record::{Contribution, LaneRecorder, LivePlace, Window, slices_per_lane};
use pathproof_engine::traffic::{self, Ended, LaneEnds, LaneTimes};
use pathproof_engine::workload::{
    Bucket, Echo, PingPong, Reply, Request, RequestPlan, StreamReceive, StreamSend, Workload,
};
use pathproof_model::{
    End, ErrorKind, HistogramName, HistogramRecord, Interval, LaneResult, RequestLoad, StepError,
    TrafficKind, TrafficSpec, Waited,
};
use pathproof_sys::thread;

use crate::registry::manners;
use crate::steps::meter::{ThreadMeter, Waiting};
use crate::steps::stage::Cue;
use crate::steps::step_error;
use pathproof_sys::clock::RealClock;

use super::job::{LaneJob, Part, operations};
use super::verbs;

/// Longest single wait in the kernel, so that a stop is seen in time.
const WAIT: Duration = Duration::from_millis(20);
/// How long the word of a peer whose lane has ended may need on the control connection, on a host that has no processor for it. A peer that
/// has died is known at once: that connection ends as well.
const LAST_WORD: Duration = Duration::from_secs(3);
/// By so much at most the window of a peer ends before this one's, because this host was late to begin.
const LATE: Duration = Duration::from_millis(500);
/// Receives that a ping-pong keeps posted on fabrics that account for each: one account for half of them.
const RECEIVES_AHEAD: u32 = 32;
/// Fewest receives that a stream over RDMA keeps posted: a receiver that is late by a time slice must not stop the
/// sender.
const STREAM_RECEIVES_MIN: u32 = 128;

/// Receives that this part keeps posted where a message must find one; `None` where it posts them as its messages come and go. Verified
/// bytes must lie apart, so there are no more receives than slots.
fn receives(part: Part, spec: &TrafficSpec) -> Option<u32> {
    let plain = manners(&spec.over).receives_ahead && verbs::verb(spec) == Verb::Send;
    match part {
        Part::PingPong | Part::Echo if plain => Some(RECEIVES_AHEAD),
        Part::StreamReceive if plain && !spec.verify => {
            Some(spec.depth.saturating_mul(2).max(STREAM_RECEIVES_MIN))
        }
        _ => None,
    }
}

/// What a lane leaves behind.
#[derive(Debug, Default)]
pub struct LaneOutcome {
    /// Its figures.
    pub result: LaneResult,
    /// Its distributions.
    pub histograms: Vec<HistogramRecord>,
    /// Its slices.
    pub intervals: Vec<Interval>,
}

impl LaneOutcome {
    /// A lane that was connected and never started.
    pub fn unused(job: &LaneJob, end: End) -> LaneOutcome {
        let result = LaneResult {
            lane: job.index,
            end,
            flow: job.flow,
            role: job.part.role(),
            ..LaneResult::default()
        };
        LaneOutcome { result, ..LaneOutcome::default() }
    }

    /// A lane that did not come about.
    pub fn failed(job: &LaneJob, end: End, error: StepError) -> LaneOutcome {
        let mut outcome = LaneOutcome::unused(job, end);
        outcome.result.error = Some(error);
        outcome
    }
}

/// What a lane may send at most, where its class is capped: an equal part of it for each of its lanes.
fn bucket(job: &LaneJob, begin: Tick) -> Option<Bucket> {
    let (cap, traffic) = (job.of.cap?, &job.of.traffic);
    let own = cap.bytes_per_s / u64::from(traffic.lanes.max(1));
    Some(Bucket::new(begin, own, traffic.size_bytes, cap.burst_ns))
}

fn workload(job: &LaneJob, spec: &TrafficSpec, seed: u64, begin: Tick, stop: Tick) -> Box<dyn Workload> {
    let (send, receive) = (job.layout.send(job.region_id), job.layout.receive(job.region_id));
    let size = spec.size_bytes as u32;
    let lane_seed = verbs::lane_seed(seed, job.index);
    if let Some(work) = verbs::workload(job, spec, lane_seed, stop) {
        return work;
    }
    match job.part {
        Part::StreamSend => {
            let mut stream = StreamSend::new(Verb::Send, send, size, stop);
            if let Some(rate) = spec.rate_bits_per_s {
                stream = stream.paced(begin, rate / u64::from(spec.lanes.max(1)));
            }
            if let Some(bucket) = bucket(job, begin) {
                stream = stream.capped(bucket);
            }
            if spec.verify {
                stream = stream.verified(job.region.clone(), lane_seed);
            }
            Box::new(stream)
        }
        Part::StreamReceive => {
            let stream = StreamReceive::new(receive, size, stop);
            Box::new(if spec.verify { stream.verified(job.region.clone(), lane_seed) } else { stream })
        }
        Part::PingPong => {
            let ahead = receives(job.part, spec).unwrap_or(1);
            Box::new(PingPong::new(send, receive, size, stop).with_receives(ahead))
        }
        Part::Echo => {
            let ahead = receives(job.part, spec).unwrap_or(1);
            Box::new(Echo::new(send, receive, size, stop).with_receives(ahead))
        }
        part @ (Part::Request | Part::Reply) => {
            let spacing_ns = (spec.load == RequestLoad::Open).then(|| {
                let rate = spec.requests_per_s.unwrap_or(1000).max(1);
                (1_000_000_000 * u64::from(spec.lanes.max(1)) / rate).max(1)
            });
            let plan = RequestPlan {
                request_bytes: size,
                reply_bytes: spec.reply_bytes.unwrap_or(spec.size_bytes) as u32,
                depth: spec.depth,
                spacing_ns,
                start: begin,
                stop,
            };
            if part == Part::Request {
                Box::new(Request::new(plan, send, receive).capped(bucket(job, begin)))
            } else {
                Box::new(Reply::new(plan, send, receive))
            }
        }
    }
}

type LaneDriver = Driver<Box<dyn Workload>, RealClock, ThreadMeter>;

/// Drives the lane to its end with waits of at most `wait`, and counts what its thread waited for a CPU meanwhile.
fn drive(
    driver: &mut LaneDriver,
    lane: &mut dyn Lane,
    ends: &LaneEnds<'_>,
    clock: &RealClock,
    wait: Duration,
) -> (Ended, Option<Waited>) {
    let before = Waiting::begin(clock);
    let ended = traffic::drive(driver, lane, ends, wait);
    (ended, before.map(Waiting::end))
}

/// [`drive`] on a thread that has no descriptor but the lane's where that has one, which makes its system calls cheaper; where the
/// kernel does not give it that, it drives all the same. This thread watches over it meanwhile, so that the lane needs no
/// timer for every wait.
fn drive_apart(
    driver: &mut LaneDriver,
    lane: &mut dyn Lane,
    ends: &LaneEnds<'_>,
    clock: &RealClock,
    cue: &Cue,
) -> (Ended, Option<Waited>) {
    let stopper = lane.stopper();
    let wait = if stopper.is_some() { Duration::MAX } else { WAIT };
    let (running, ended) = bounded(0);
    std::thread::scope(|scope| {
        let apart = scope.spawn(move || {
            // Dropped when this thread ends, however it does.
            let _running = running;
            if let Some(ready) = lane.readiness() {
                let _ = thread::private_descriptors(ready.fd);
            }
            drive(driver, lane, ends, clock, wait)
        });
        if let Some(stopper) = stopper {
            watch(&stopper, ends, clock, cue, &ended);
        }
        apart.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns when the lane has ended, and ends it when it is over. Nothing is ever sent on `ended`.
fn watch(stopper: &Stopper, ends: &LaneEnds<'_>, clock: &RealClock, cue: &Cue, ended: &Receiver<Infallible>) {
    loop {
        let left = ends.times.over.since(clock.now());
        let turn = if stopper.looks() { left.min(WAIT) } else { left };
        select! {
            recv(ended) -> _ => return,
            recv(cue.ended()) -> _ => break,
            default(turn) => {}
        }
        if turn == left {
            break;
        }
        stopper.look();
    }
    ends.cut.store(true, Ordering::Release);
    stopper.stop();
}

/// What all lanes of a step have around them.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Which end this is.
    pub end: End,
    /// Lanes of the step at this end.
    pub lanes: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// The clock.
    pub clock: &'a RealClock,
    /// When the step must be over.
    pub until: Tick,
}

/// Runs a connected lane from `begin` to its end and gathers what it measured.
pub fn run(
    job: &LaneJob,
    around: &Around<'_>,
    mut lane: Box<dyn Lane>,
    begin: Tick,
    cue: &Cue,
    (contribution, live): (Option<Contribution>, Option<LivePlace>),
) -> LaneOutcome {
    let Around { end, lanes, seed, clock, until } = *around;
    let (kind, spec) = (job.of.kind, &job.of.traffic);
    let mut outcome = LaneOutcome::unused(job, end);
    let verb = verbs::verb(spec);
    outcome.result.role = verbs::role(job.part, verb);
    let cpu = spec.pin.then(|| {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        job.index as usize % cpus
    });
    if let Some(cpu) = cpu {
        outcome.result.cpu = thread::pin_thread(cpu).is_ok().then_some(cpu as u32);
    }
    let outlived = manners(&spec.over).passive_outlives;
    let times = LaneTimes::of(begin, spec, job.part.is_active(), outlived, until);
    let window = times.window;
    let depth = match receives(job.part, spec) {
        Some(receives) if job.part == Part::StreamReceive => receives,
        ahead => operations(kind, spec).saturating_add(ahead.unwrap_or(0)),
    } as usize;
    let work = workload(job, spec, seed, begin, times.stop);
    let most = slices_per_lane(lanes);
    let recorder = LaneRecorder::with_slices(window, most).contributing(contribution).shown(live);
    let mut driver = Driver::new(work, clock.clone(), ThreadMeter, recorder, depth);
    let (stop, may_be_left) = (cue.stop(), cue.may_be_left());
    let ends = LaneEnds { times, stop, may_be_left, cut: AtomicBool::new(false) };
    // The shortest exchanges are worth a thread of their own, and one that watches over it where the lane then needs no timer.
    let is_worth_it = kind == TrafficKind::Pingpong && !verbs::always_spins(kind, spec);
    let gains = manners(&spec.over).descriptor_of_its_own || lane.stopper().is_some();
    let (ended_by, waited) = if is_worth_it && gains {
        drive_apart(&mut driver, &mut *lane, &ends, clock, cue)
    } else {
        drive(&mut driver, &mut *lane, &ends, clock, WAIT)
    };
    // Who sends and is not done has a backlog that the path does not take.
    let stuck = job.part.is_active() && !matches!(ended_by, Ended::Done);
    let error = match ended_by {
        Ended::Done | Ended::Stopped => None,
        // Gone before this end's window was over: on a busy host the two windows begin at different times, and the end of a lane
        // overtakes the word that it was left in order. Long before that nobody leaves: something cut the connection, and the word comes from
        // a peer that went on until the end of its window, stuck.
        Ended::Failed(RunError::Lane(TransportError::PeerGone { .. }))
            if is_nearly_over(window, driver.now()) && cue.may_be_left_within(LAST_WORD) =>
        {
            None
        }
        Ended::Failed(failure) => Some(failure),
        Ended::Stuck => {
            // What could not be sent by now is stuck behind the path; the figures show it.
            outcome.result.counters.insert("stuck_at_end".into(), 1);
            None
        }
    };
    driver.finish(&mut *lane);
    let ended = driver.now();
    let recorder = driver.into_recorder();
    let result = &mut outcome.result;
    result.bytes = match job.part {
        Part::StreamSend if verb != Verb::Read => recorder.sent_bytes(),
        _ => recorder.received_bytes(),
    };
    result.messages = recorder.messages();
    result.window_ns = ended.min(window.end).ns_since(window.start);
    result.cpu_ns = recorder.cpu_ns();
    result.scheduled = waited;
    result.retransmits = recorder.retransmits();
    if verbs::receives(job.part, verb) {
        let silence = recorder.longest_silence();
        result.longest_silence_ns = Some(silence.length_ns);
        result.longest_silence_from_ns = Some(silence.from_ns);
    }
    if let Some(last) = recorder.last_sample() {
        result.send_segment_bytes = last.send_segment_bytes;
        result.path_ip_mtu_bytes = last.path_ip_mtu_bytes;
        result.rtt_ns = last.rtt_ns;
    }
    let passive = verbs::is_passive(job.part, spec);
    let spins = (spec.busy_poll && !passive) || verbs::always_spins(kind, spec);
    result.wait_mode = Some(if spins { "spin" } else { "block" }.into());
    let verifies = if verb == Verb::Read { Part::StreamSend } else { Part::StreamReceive };
    if spec.verify && job.part == verifies {
        result.verified = match &error {
            Some(RunError::Corrupt { .. }) => Some(false),
            _ => (recorder.messages() > 0).then_some(true),
        };
    }
    result.error = error.map(|e| match &e {
        RunError::Lane(lane_error) => step_error(lane_error),
        _ => StepError::new(ErrorKind::System, e.to_string()),
    });
    result.service_ns = recorder.service().summary().filter(|times| times.count > 0);
    result.response_ns = recorder.response().summary().filter(|times| times.count > 0);
    let taken =
        [(HistogramName::Service, recorder.service()), (HistogramName::Response, recorder.response())];
    for (name, histogram) in taken {
        if histogram.count() > 0 {
            outcome.histograms.push(histogram.to_record(name, Some(job.index)));
        }
    }
    outcome.intervals = recorder.intervals(end, job.index, ended);
    match if stuck { lane.abandon() } else { lane.close() } {
        Ok(stats) => {
            let result = &mut outcome.result;
            result.local = stats.local;
            result.connection = stats.connection.map(crate::steps::lane_record::connection);
            result.adapter = stats.adapter.map(crate::steps::lane_record::adapter);
            result.remote = stats.remote;
            result.send_mode = stats.send_mode;
            result.receive_mode = stats.receive_mode;
            result.chosen = stats.chosen;
            result.chosen.extend(job.memory.clone().map(|words| ("memory".into(), words)));
            result.counters.extend(stats.counters.into_iter().filter(|(_, counted)| *counted > 0));
            if manners(&spec.over).several_nics {
                result.stripe = Some(crate::steps::lane_record::stripe(stats.stripe, &stats.last));
            }
        }
        // A lane stopped before its time has a reason, which it may know. Later there may be nothing left to say in order.
        Err(why) if ended < window.end => {
            outcome.result.error.get_or_insert_with(|| step_error(&why));
        }
        Err(_) => {}
    }
    outcome
}

/// Whether the other end's window may be over although this one's is not.
fn is_nearly_over(window: Window, now: Tick) -> bool {
    let length = Duration::from_nanos(window.end.ns_since(window.start));
    window.end.since(now) <= LATE.max(length / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_ends_in_the_first_part_of_its_window_was_not_left_in_order() {
        let nearly = |ms: u64, at_ms: u64| {
            let window = Window { start: Tick(200_000_000), end: Tick(200_000_000 + ms * 1_000_000) };
            is_nearly_over(window, Tick(200_000_000 + at_ms * 1_000_000))
        };
        // As it was cut after 15 MB, which took 0.43 s of 1.1.
        assert!(!nearly(1100, 430) && nearly(1100, 650) && nearly(1100, 1200));
        // A window that is short says nothing about when the other one ended.
        assert!(nearly(400, 0) && !nearly(4000, 1900) && nearly(4000, 2100));
    }
}
