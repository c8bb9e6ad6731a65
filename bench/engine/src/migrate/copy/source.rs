//! One lane of guest memory at the source: it copies its share of a round, asks whether everything has arrived, and
//! compares hashes. Turned by whoever drives it; knows nothing of policies.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pathproof_api::{LaneStats, Region, RegionId};

use super::contents;
use super::error::CopyError;
use super::link::{Barrier, Ending, Link, LinkParts, Need, Turn};
use super::pack::{Packed, Packer};
use super::round::{Compared, Copied, Job, Report, Round, Verify};
use super::wire::{self, Told, ZERO_RANGES_MAX};
use crate::drive::Meter;
use crate::migrate::PAGE_BYTES;
use crate::record::LatencyHistogram;

/// Hash questions under way at once.
const QUESTIONS: usize = 2;

/// What a lane of guest memory is made of.
pub struct SourceParts {
    /// The lane and its messages.
    pub link: LinkParts,
    /// Guest memory with a staging page behind it, and its name on the lane.
    pub guest: (Arc<Region>, RegionId),
    /// Largest write.
    pub chunk_bytes: u64,
    /// Bytes copied by all lanes, for whoever watches.
    pub progress: Arc<AtomicU64>,
    /// Compresses pages before they are sent.
    pub packer: Option<Packer>,
    /// What compressing costs.
    pub meter: Box<dyn Meter>,
}

/// A connected lane at work.
pub struct SourceLane {
    link: Link,
    guest: Arc<Region>,
    guest_id: RegionId,
    chunk_bytes: u64,
    progress: Arc<AtomicU64>,
    packer: Option<Packer>,
    meter: Box<dyn Meter>,
    zeros: Vec<Range<u64>>,
    work: Work,
}

enum Work {
    Idle,
    Copy(Box<Copying>),
    Verify(Verifying),
    Spoil { page: u64, written: bool, barrier: Barrier },
    End(Ending),
}

/// A share of a round under way.
struct Copying {
    round: Arc<Round>,
    copied: Copied,
    /// What was copied when the segment was claimed.
    before: Copied,
    /// What is left of the segment behind `run`.
    segment: Option<Range<u64>>,
    /// What is left of a run of pages to copy.
    run: Range<u64>,
    /// Pages at the front of `run` that were found not to be zero and are to be compressed.
    to_pack: Range<u64>,
    packing: Packing,
    stage: Stage,
}

enum Stage {
    Forget,
    Pages,
    Gathered,
    Barrier(Barrier),
}

/// What becomes of the pages gathered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gathering,
    /// They go compressed.
    Compressed,
    /// They go as they are, from this run on.
    Raw(usize),
}

struct Verifying {
    verify: Arc<Verify>,
    /// Questions asked, with the hashes of our own pages once they are known.
    asked: VecDeque<(Range<u64>, Option<Vec<u128>>)>,
    all_asked: bool,
    compared: Compared,
    spare: Vec<Vec<u128>>,
    buffer: Vec<u8>,
}

/// What the work of a lane needs next, or what came of it.
enum Progress {
    Needs(Need),
    Done(Report),
}

impl Progress {
    /// `report` once `done`; until then the lane waits for the peer.
    fn once(done: bool, report: Report) -> Progress {
        if done { Progress::Done(report) } else { Progress::Needs(Need::Completion) }
    }
}

const GO_ON: Result<Progress, CopyError> = Ok(Progress::Needs(Need::Nothing));
const WAIT: Result<Progress, CopyError> = Ok(Progress::Needs(Need::Completion));

impl SourceLane {
    /// Around a connected lane. All memory is taken here, but what comparing needs.
    pub fn new(parts: SourceParts) -> SourceLane {
        SourceLane {
            link: Link::new(parts.link),
            guest: parts.guest.0,
            guest_id: parts.guest.1,
            chunk_bytes: parts.chunk_bytes.max(PAGE_BYTES),
            progress: parts.progress,
            packer: parts.packer,
            meter: parts.meter,
            zeros: Vec::with_capacity(ZERO_RANGES_MAX),
            work: Work::Idle,
        }
    }

    /// Takes up `job`; whatever it did before is dropped.
    pub fn begin(&mut self, job: Job) {
        self.work = match job {
            Job::Copy(round) => Work::Copy(Box::new(Copying::new(round))),
            Job::Verify(verify) => Work::Verify(Verifying::new(verify)),
            Job::Spoil { page, number } => {
                Work::Spoil { page, written: false, barrier: Barrier::new(number) }
            }
            Job::End => Work::End(Ending::default()),
        };
    }

    /// Does what can be done now, and waits at most `wait` for the lane where nothing can.
    pub fn turn(&mut self, wait: Duration) -> Result<Turn<Report>, CopyError> {
        // Moved out so that it and the lane can both be changed.
        let mut work = std::mem::replace(&mut self.work, Work::Idle);
        let mut need = Need::Completion;
        while self.link.has_room() {
            match self.advance(&mut work)? {
                Progress::Done(report) => return Ok(Turn::Done(report)),
                Progress::Needs(Need::Nothing) => need = Need::Nothing,
                Progress::Needs(other) => {
                    need = other;
                    break;
                }
            }
        }
        self.work = work;
        self.link.exchange(need, wait)
    }

    /// What compressing came to.
    pub fn packed(&self) -> Option<Packed> {
        self.packer.as_ref().map(Packer::sums)
    }

    /// Ends the lane in order; to be asked when [`Job::End`] is done.
    pub fn close(self) -> Result<(LaneStats, LatencyHistogram), CopyError> {
        self.link.close()
    }

    /// Lets the lane go where it cannot go on; what it had counted, where that can still be read.
    pub fn abandon(self) -> Option<LaneStats> {
        self.link.abandon()
    }

    fn advance(&mut self, work: &mut Work) -> Result<Progress, CopyError> {
        match work {
            Work::Idle => WAIT,
            Work::Copy(copying) => self.copy(copying),
            Work::Verify(verifying) => self.verify(verifying),
            Work::Spoil { page, written: written @ false, .. } => match self.link.claim(PAGE_BYTES) {
                Need::Nothing => {
                    let staging = self.guest.len() - PAGE_BYTES;
                    self.link.write(self.guest_id, staging, PAGE_BYTES, *page * PAGE_BYTES);
                    *written = true;
                    GO_ON
                }
                need => Ok(Progress::Needs(need)),
            },
            Work::Spoil { barrier, .. } => {
                Ok(Progress::once(barrier.advance(&mut self.link)?, Report::Spoiled))
            }
            Work::End(ending) => Ok(Progress::once(ending.advance(&mut self.link)?, Report::Ended)),
        }
    }

    fn copy(&mut self, copying: &mut Copying) -> Result<Progress, CopyError> {
        match &mut copying.stage {
            Stage::Forget if !self.link.can_send() => return WAIT,
            Stage::Forget => {
                self.link.forget();
                self.packer.iter_mut().for_each(Packer::forget);
                self.link.send(&Told::Forget)?;
                copying.stage = Stage::Pages;
            }
            Stage::Pages if self.zeros.len() == ZERO_RANGES_MAX => return self.send_zeros(),
            Stage::Pages if self.packer.as_ref().is_some_and(Packer::is_full) => {
                return self.send_packed(copying);
            }
            Stage::Pages if !copying.to_pack.is_empty() => self.gather(copying),
            Stage::Pages if copying.run.is_empty() => {
                if !copying.next_run(&self.progress) {
                    copying.stage = Stage::Gathered;
                }
            }
            Stage::Pages => return self.copy_pages(copying),
            Stage::Gathered if self.packer.as_ref().is_some_and(|p| !p.is_empty()) => {
                return self.send_packed(copying);
            }
            Stage::Gathered if !self.zeros.is_empty() => return self.send_zeros(),
            Stage::Gathered => copying.stage = Stage::Barrier(Barrier::new(copying.round.number)),
            Stage::Barrier(barrier) => {
                let report = Report::Copied(copying.copied);
                return Ok(Progress::once(barrier.advance(&mut self.link)?, report));
            }
        }
        GO_ON
    }

    /// Takes pages from the front of the run, as many as are alike: each is looked at just before it is sent.
    fn copy_pages(&mut self, copying: &mut Copying) -> Result<Progress, CopyError> {
        let (page, end) = (copying.run.start, copying.run.end);
        let most = (end - page).min(self.chunk_bytes / PAGE_BYTES);
        // Pages come from a bitmap of the guest, all of which lies in the region.
        let (zero, alike) = self.guest.zero_run(page, most).unwrap_or((false, 1));
        let alike = page..page + alike;
        if zero {
            copying.take(&alike);
            copying.copied.zero_pages += alike.end - alike.start;
            match self.zeros.last_mut() {
                Some(last) if last.end == alike.start => last.end = alike.end,
                _ => self.zeros.push(alike),
            }
            return GO_ON;
        }
        if self.packer.is_some() {
            copying.to_pack = alike;
            return GO_ON;
        }
        let bytes = (alike.end - alike.start) * PAGE_BYTES;
        match self.link.claim(bytes) {
            Need::Nothing => {
                self.link.write(self.guest_id, page * PAGE_BYTES, bytes, page * PAGE_BYTES);
                copying.take(&alike);
                copying.copied.bytes += bytes;
                GO_ON
            }
            need => Ok(Progress::Needs(need)),
        }
    }

    /// Gathers pages to be compressed together, as many as there is room for.
    fn gather(&mut self, copying: &mut Copying) {
        let Some(packer) = &mut self.packer else { return };
        let first = copying.to_pack.start;
        packer.take(&mut copying.to_pack);
        copying.take(&(first..copying.to_pack.start));
    }

    /// Sends the pages gathered, compressed where that pays; a piece at a time where it does not.
    fn send_packed(&mut self, copying: &mut Copying) -> Result<Progress, CopyError> {
        let Some(packer) = &mut self.packer else { return GO_ON };
        if copying.packing == Packing::Gathering {
            let pays = packer.compress(&self.guest, &mut *self.meter);
            copying.packing = if pays { Packing::Compressed } else { Packing::Raw(0) };
        }
        let sent_all = match copying.packing {
            Packing::Raw(next) => match packer.runs().get(next) {
                Some(run) => {
                    let (at, bytes) = (run.start * PAGE_BYTES, (run.end - run.start) * PAGE_BYTES);
                    match self.link.claim(bytes) {
                        Need::Nothing => {}
                        need => return Ok(Progress::Needs(need)),
                    }
                    self.link.write(self.guest_id, at, bytes, at);
                    copying.copied.bytes += bytes;
                    copying.packing = Packing::Raw(next + 1);
                    next + 1 == packer.runs().len()
                }
                None => true,
            },
            _ if !self.link.can_send() => return WAIT,
            _ => {
                let head = wire::HEAD_BYTES + 8 * packer.runs().len();
                match self.link.claim((head + packer.packed().len()) as u64) {
                    Need::Nothing => {}
                    need => return Ok(Progress::Needs(need)),
                }
                self.link.send_bytes(|out| {
                    wire::begin_packed(out, packer.runs());
                    out.extend_from_slice(packer.packed());
                })?;
                copying.copied.bytes += packer.packed().len() as u64;
                true
            }
        };
        if sent_all {
            packer.clear();
            copying.packing = Packing::Gathering;
        }
        GO_ON
    }

    fn send_zeros(&mut self) -> Result<Progress, CopyError> {
        if !self.link.can_send() {
            return WAIT;
        }
        let told = Told::Zero(std::mem::take(&mut self.zeros));
        self.link.send(&told)?;
        if let Told::Zero(mut ranges) = told {
            ranges.clear();
            self.zeros = ranges;
        }
        GO_ON
    }

    fn verify(&mut self, verifying: &mut Verifying) -> Result<Progress, CopyError> {
        // While the peer hashes its copy, hash ours.
        if let Some((range, own @ None)) = verifying.asked.back_mut() {
            let mut hashes = verifying.spare.pop().unwrap_or_default();
            contents::hash_pages(&self.guest, range.clone(), &mut verifying.buffer, &mut hashes);
            *own = Some(hashes);
            return GO_ON;
        }
        if !verifying.all_asked && verifying.asked.len() < QUESTIONS && self.link.can_send() {
            match verifying.verify.claim() {
                Some(range) => {
                    self.link.ask(&Told::Hash(range.clone()))?;
                    verifying.asked.push_back((range, None));
                }
                None => verifying.all_asked = true,
            }
            return GO_ON;
        }
        let Some((range, own)) = verifying.asked.front() else {
            return match verifying.all_asked {
                true => Ok(Progress::Done(Report::Compared(verifying.compared))),
                false => WAIT,
            };
        };
        let own = own.as_deref().unwrap_or_default();
        let Some(theirs) = self.link.take_hashes(range.start, own.len())? else { return WAIT };
        verifying.compared.add(range.start, own, &theirs);
        verifying.spare.extend(verifying.asked.pop_front().and_then(|(_, own)| own));
        GO_ON
    }
}

impl Copying {
    fn new(round: Arc<Round>) -> Copying {
        Copying {
            stage: if round.forget { Stage::Forget } else { Stage::Pages },
            round,
            copied: Copied::default(),
            before: Copied::default(),
            segment: None,
            run: 0..0,
            to_pack: 0..0,
            packing: Packing::Gathering,
        }
    }

    /// Takes `pages` from the front of the run.
    fn take(&mut self, pages: &Range<u64>) {
        self.copied.pages += pages.end - pages.start;
        self.run.start = pages.end;
    }

    /// Finds the next run of pages, claiming segments as long as there are any.
    fn next_run(&mut self, progress: &AtomicU64) -> bool {
        loop {
            if let Some(segment) = &mut self.segment {
                if let Some(run) = self.round.map.runs(segment.clone()).next() {
                    segment.start = run.end;
                    self.run = run;
                    return true;
                }
                let bytes = self.copied.bytes - self.before.bytes;
                self.round.copied(self.copied.pages - self.before.pages, bytes);
                progress.fetch_add(bytes, Ordering::Relaxed);
                self.segment = None;
            }
            let Some(segment) = self.round.claim() else { return false };
            self.segment = Some(segment);
            self.before = self.copied;
        }
    }
}

impl Verifying {
    fn new(verify: Arc<Verify>) -> Verifying {
        Verifying {
            verify,
            asked: VecDeque::with_capacity(QUESTIONS),
            all_asked: false,
            compared: Compared::default(),
            spare: vec![],
            buffer: vec![],
        }
    }
}
