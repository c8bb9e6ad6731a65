//! The life of a lane's thread at either end: connect, turn the lane until its work is done or the step is given up, and
//! leave behind what it counted.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use pathproof_api::{Lane, LaneStats, Offer, PreparedLane, Region, RegionId};
use pathproof_engine::migrate::copy::pacer::Pacer;
use pathproof_engine::migrate::copy::pack::{Packed, Packer};
use pathproof_engine::migrate::copy::{
    CopyError, DestinationLane, DestinationParts, DiskLane, DiskNews, DiskStory, Job, LinkParts, Report,
    Served, Shared, SourceLane, SourceParts, Subject, Turn, blocks,
};
use pathproof_engine::record::LatencyHistogram;
use pathproof_model::{End, ErrorKind, LaneResult, LaneRole, StepError};
use pathproof_sys::thread;

use super::disk::Disk;
use crate::steps::meter::{ThreadMeter, Waiting};
use crate::steps::stage::Cue;
use crate::steps::{not_connected, step_error};
use pathproof_sys::clock::RealClock;

/// How long a lane may take to connect.
pub const CONNECT: Duration = Duration::from_secs(8);
/// Longest wait in a lane, so that a stop is seen in time.
const WAIT: Duration = Duration::from_millis(20);

/// A lane whose peer is not known yet, and its memory.
pub struct LaneUnconnected {
    /// Its index within the step.
    pub index: u32,
    /// The local half.
    pub prepared: Box<dyn PreparedLane>,
    /// The guest's memory on the lane.
    pub guest_id: RegionId,
    /// Message slots.
    pub messages: Arc<Region>,
    /// Their name on the lane.
    pub messages_id: RegionId,
}

/// What all lanes of one end share.
#[derive(Clone)]
pub struct Around {
    /// The clock.
    pub clock: RealClock,
    /// How long a lane may take to connect.
    pub patience: Duration,
}

/// Turns something until it is done, or the step is over.
fn until_done<T>(
    cue: &Cue,
    mut turn: impl FnMut(Duration) -> Result<Turn<T>, CopyError>,
) -> Result<T, CopyError> {
    loop {
        if cue.is_stopped() {
            return Err(CopyError::GivenUp);
        }
        if let Turn::Done(what) = turn(WAIT)? {
            return Ok(what);
        }
    }
}

/// What a lane leaves behind.
pub struct LaneEnd {
    /// Its figures.
    pub result: LaneResult,
    /// How long its chunks took.
    pub chunks: Option<LatencyHistogram>,
    /// What compressing came to, where it did.
    pub packed: Option<Packed>,
    /// Why it ended early.
    pub error: Option<CopyError>,
}

impl LaneEnd {
    fn of(index: u32, end: End, stats: LaneStats) -> LaneEnd {
        LaneEnd { result: lane_result(index, end, Some(stats)), chunks: None, packed: None, error: None }
    }

    /// Of a lane that never was.
    fn failed(index: u32, end: End, error: CopyError) -> LaneEnd {
        LaneEnd::broken(index, end, None, error)
    }

    /// Of a lane that could not go on, with what it had counted until then.
    fn broken(index: u32, end: End, stats: Option<LaneStats>, error: CopyError) -> LaneEnd {
        LaneEnd { result: lane_result(index, end, stats), chunks: None, packed: None, error: Some(error) }
    }
}

/// The error that stands in the document.
pub fn in_words(error: &CopyError) -> StepError {
    match error {
        CopyError::Lane(error) => step_error(error),
        CopyError::GivenUp => StepError::new(ErrorKind::Interrupted, error.to_string()),
        CopyError::Step(error) => error.clone(),
    }
}

/// What the lanes of the source are given beside their memory.
#[derive(Clone)]
pub struct SourceSide {
    /// The step's own.
    pub around: Around,
    /// What the guests share.
    pub shared: Arc<Shared>,
    /// The cap.
    pub pacer: Arc<Pacer>,
}

impl SourceSide {
    fn link(&self, lane: Box<dyn Lane>, messages: (Arc<Region>, RegionId), count: u64) -> LinkParts {
        let clock = Arc::new(self.around.clock.clone());
        LinkParts { lane, messages, count, clock, pacer: self.pacer.clone() }
    }
}

/// A lane of guest memory at the source: it connects, then does jobs until nobody gives any more.
pub fn guest_lane(
    unconnected: LaneUnconnected,
    offer: &Offer,
    mut cue: Cue,
    guest: Arc<Region>,
    side: &SourceSide,
    jobs: &mpsc::Receiver<Job>,
    reports: &mpsc::Sender<Result<Report, CopyError>>,
) -> LaneEnd {
    let LaneUnconnected { index, prepared, guest_id, messages, messages_id } = unconnected;
    let lane = match connect(prepared, offer, side.around.patience, &mut cue) {
        Ok(lane) => lane,
        Err(error) => return LaneEnd::failed(index, End::Client, error),
    };
    let spec = &side.shared.spec;
    let pages = spec.memory_bytes / pathproof_engine::migrate::PAGE_BYTES;
    let mut lane = SourceLane::new(SourceParts {
        link: side.link(lane, (messages, messages_id), pages),
        guest: (guest, guest_id),
        chunk_bytes: u64::from(spec.chunk_bytes),
        progress: side.shared.progress.clone(),
        packer: spec.compress.then(Packer::new),
        meter: Box::new(ThreadMeter),
    });
    let waiting = Waiting::begin(&side.around.clock);
    while let Ok(job) = jobs.recv() {
        lane.begin(job);
        match until_done(&cue, |wait| lane.turn(wait)) {
            Ok(report) if reports.send(Ok(report)).is_ok() => {}
            Ok(_) => break,
            Err(error) => {
                let why = copy_of(&error);
                let _ = reports.send(Err(error));
                return LaneEnd::broken(index, End::Client, lane.abandon(), why);
            }
        }
    }
    let waited = waiting.map(Waiting::end);
    let packed = lane.packed();
    lane.begin(Job::End);
    let ended = until_done(&cue, |wait| lane.turn(wait)).and_then(|_| lane.close());
    match ended {
        Ok((stats, chunks)) => {
            let mut end = LaneEnd::of(index, End::Client, stats);
            (end.chunks, end.packed, end.result.scheduled) = (Some(chunks), packed, waited);
            end
        }
        Err(error) => {
            let mut end = LaneEnd::failed(index, End::Client, error);
            end.result.scheduled = waited;
            end
        }
    }
}

/// The lane of the storage: it connects, waits until all begin, and calls `copied` once all blocks are there.
pub fn disk_lane(
    unconnected: LaneUnconnected,
    offer: &Offer,
    mut cue: Cue,
    disk: Disk,
    side: &SourceSide,
    copied: impl FnOnce(),
) -> (LaneEnd, DiskStory) {
    let LaneUnconnected { index, prepared, messages, messages_id, .. } = unconnected;
    let lane = match connect(prepared, offer, side.around.patience, &mut cue) {
        Ok(lane) => lane,
        Err(error) => return (LaneEnd::failed(index, End::Client, error), DiskStory::default()),
    };
    if cue.begin().is_none() {
        return (LaneEnd::failed(index, End::Client, CopyError::GivenUp), DiskStory::default());
    }
    let count = blocks(side.shared.spec.disk.as_ref().map_or(0, |d| d.bytes));
    let link = side.link(lane, (messages, messages_id), count);
    let mut lane = DiskLane::new(link, side.shared.clone(), Box::new(disk));
    let mut copied = Some(copied);
    let ended = loop {
        match until_done(&cue, |wait| lane.turn(wait)) {
            Ok(DiskNews::Copied) => copied.take().into_iter().for_each(|copied| copied()),
            Ok(DiskNews::Ended) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match ended {
        Ok(()) => {
            let story = lane.story(None);
            let end = match lane.close() {
                Ok((stats, chunks)) => {
                    LaneEnd { chunks: Some(chunks), ..LaneEnd::of(index, End::Client, stats) }
                }
                Err(error) => LaneEnd::failed(index, End::Client, error),
            };
            (end, story)
        }
        Err(error) => {
            cue.give_up();
            let end = LaneEnd::failed(index, End::Client, copy_of(&error));
            (end, lane.story(Some(error)))
        }
    }
}

/// A lane of the destination: it connects and serves until the source says that it is done.
pub fn served_lane(
    unconnected: LaneUnconnected,
    offer: &Offer,
    mut cue: Cue,
    subject: Subject,
    around: &Around,
) -> (LaneEnd, Served) {
    let LaneUnconnected { index, prepared, messages, messages_id, .. } = unconnected;
    let lane = match connect(prepared, offer, around.patience, &mut cue) {
        Ok(lane) => lane,
        Err(error) => return (LaneEnd::failed(index, End::Server, error), Served::default()),
    };
    let mut lane = DestinationLane::new(DestinationParts {
        lane,
        subject,
        messages: (messages, messages_id),
        clock: Arc::new(around.clock.clone()),
        meter: Box::new(ThreadMeter),
    });
    let waiting = Waiting::begin(&around.clock);
    let ended = until_done(&cue, |wait| lane.turn(wait));
    let (waited, served) = (waiting.map(Waiting::end), lane.served());
    let mut end = match ended {
        Ok(()) => LaneEnd::of(index, End::Server, lane.close()),
        Err(error) => {
            // The source writes on until its own end of the lane fails, and that may take as long as its kernel repeats.
            if !matches!(error, CopyError::GivenUp) {
                cue.lose(in_words(&error));
            }
            LaneEnd::broken(index, End::Server, lane.abandon(), error)
        }
    };
    end.result.scheduled = waited;
    (end, served)
}

fn connect(
    prepared: Box<dyn PreparedLane>,
    offer: &Offer,
    patience: Duration,
    cue: &mut Cue,
) -> Result<Box<dyn Lane>, CopyError> {
    match prepared.connect(offer, patience) {
        Ok(lane) => {
            cue.ready();
            Ok(lane)
        }
        Err(error) => {
            let error = not_connected(&error, patience < CONNECT);
            cue.fail(error.clone());
            Err(CopyError::Step(error))
        }
    }
}

/// The same error for a second reader.
fn copy_of(error: &CopyError) -> CopyError {
    match error {
        CopyError::GivenUp => CopyError::GivenUp,
        other => CopyError::Step(in_words(other)),
    }
}

fn lane_result(index: u32, end: End, stats: Option<LaneStats>) -> LaneResult {
    let mut stats = stats.unwrap_or_default();
    let stripe =
        stats.stripe.take().map(|stripe| crate::steps::lane_record::stripe(Some(stripe), &stats.last));
    stats.counters.insert("lane_sent_bytes".into(), stats.last.bytes_sent);
    stats.counters.insert("lane_received_bytes".into(), stats.last.bytes_received);
    LaneResult {
        lane: index,
        end,
        role: if end == End::Client { LaneRole::Send } else { LaneRole::Receive },
        local: stats.local,
        remote: stats.remote,
        bytes: if end == End::Client { stats.last.bytes_sent } else { stats.last.bytes_received },
        cpu_ns: thread::thread_cpu_ns(),
        send_mode: stats.send_mode,
        receive_mode: stats.receive_mode,
        retransmits: stats.last.retransmits,
        send_segment_bytes: stats.last.send_segment_bytes,
        path_ip_mtu_bytes: stats.last.path_ip_mtu_bytes,
        rtt_ns: stats.last.rtt_ns,
        connection: stats.connection.map(crate::steps::lane_record::connection),
        adapter: stats.adapter.map(crate::steps::lane_record::adapter),
        chosen: stats.chosen,
        stripe,
        counters: stats.counters,
        ..LaneResult::default()
    }
}
