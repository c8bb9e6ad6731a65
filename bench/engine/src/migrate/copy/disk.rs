//! The storage move at the source, in Hyper-V's order: first every block of the disk, then the memory, while writes to
//! blocks already copied are mirrored all the time until no guest runs at the source. It reads blocks from whoever has
//! them; what the rehearsed guest writes exists nowhere but on the path.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{LaneStats, Tick};
use pathproof_model::migrate::{InjectedFault, MigrateDisk};

use super::contents::hash;
use super::error::CopyError;
use super::link::{Barrier, Ending, Link, LinkParts, Need, Turn};
use super::round::Compared;
use super::shared::Shared;
use super::wire::{self, HASH_PAGES_MAX, Told};
use crate::migrate::{BLOCK_BYTES, DiskMove, Random, disk_copy_s};
use crate::record::LatencyHistogram;

/// Blocks copied between two looks at the guest's writes, and the most that are mirrored in between.
const TURN_BLOCKS: u64 = 8;
/// How long the copy runs before its rate is taken for the prediction, and how much of that is warming up, in ns.
const MEASURE_NS: u64 = 250_000_000;
const WARM_NS: u64 = 50_000_000;
/// How long nothing is done while the guests move and no write is due, in ns.
const REST_NS: u64 = 1_000_000;

/// Blocks of a disk of `bytes`.
pub fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}

/// Where the blocks of a disk come from.
pub trait Blocks: Send {
    /// Reads `block` as it is after `version` writes into `out`, which has its length.
    fn read(&mut self, block: u64, version: u32, out: &mut [u8]) -> Result<(), CopyError>;
}

/// Blocks that are made up: each write leaves other contents.
pub struct MadeUp {
    seed: u64,
    noise: Vec<u8>,
}

impl MadeUp {
    /// Everything follows from `seed`.
    pub fn new(seed: u64) -> MadeUp {
        let mut random = Random::new(seed);
        MadeUp { seed, noise: (0..BLOCK_BYTES / 8).flat_map(|_| random.bits().to_le_bytes()).collect() }
    }
}

impl Blocks for MadeUp {
    fn read(&mut self, block: u64, version: u32, out: &mut [u8]) -> Result<(), CopyError> {
        out.copy_from_slice(&self.noise[..out.len()]);
        let stamp = Random::new(self.seed ^ block << 20 ^ u64::from(version)).bits().to_le_bytes();
        for sector in out.chunks_mut(512) {
            let bytes = sector.len().min(8);
            sector[..bytes].copy_from_slice(&stamp[..bytes]);
        }
        Ok(())
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct DiskStory {
    /// In numbers.
    pub disk: MigrateDisk,
    /// First differing block and how many differ.
    pub mismatch: Option<(u64, u64)>,
    /// Why it ended early.
    pub error: Option<CopyError>,
}

/// What a turn of the storage's lane came to.
#[derive(Clone, Copy, Debug)]
pub enum DiskNews {
    /// All blocks are there: the guests may start.
    Copied,
    /// All is compared, and the peer has read that nothing more comes.
    Ended,
}

/// A connected lane that moves a disk.
pub struct DiskLane {
    link: Link,
    shared: Arc<Shared>,
    source: Box<dyn Blocks>,
    mover: DiskMove,
    bytes: u64,
    writes_bytes_per_s: u64,
    /// Of each block as it was last sent.
    hashes: Vec<u128>,
    buffer: Vec<u8>,
    /// Blocks to send now, and whether the guest's writes want it.
    to_send: VecDeque<(u64, bool)>,
    began: Option<Tick>,
    warm: Option<(u64, u64)>,
    compared: Compared,
    story: DiskStory,
    stage: Stage,
}

enum Stage {
    Copy,
    Copied(Barrier),
    Mirror,
    Spoil,
    Settled(Barrier),
    /// The next hashes to compare, and whether the peer was asked for its own.
    Compare {
        first: u64,
        asked: bool,
    },
    End(Ending),
}

enum Progress {
    Needs(Need),
    Done(DiskNews),
}

const GO_ON: Result<Progress, CopyError> = Ok(Progress::Needs(Need::Nothing));
const WAIT: Result<Progress, CopyError> = Ok(Progress::Needs(Need::Completion));

impl DiskLane {
    /// Moves the disk of the step's specification over `link`.
    pub fn new(link: LinkParts, shared: Arc<Shared>, source: Box<dyn Blocks>) -> DiskLane {
        let disk = shared.spec.disk.clone().unwrap_or_default();
        let mover = DiskMove::new(blocks(disk.bytes), disk.writes_bytes_per_s, shared.spec.seed ^ 0xD15C);
        let mut story = DiskStory::default();
        story.disk.disk_bytes = disk.bytes;
        DiskLane {
            link: Link::new(link),
            source,
            hashes: vec![0; mover.blocks() as usize],
            mover,
            bytes: disk.bytes,
            writes_bytes_per_s: disk.writes_bytes_per_s,
            buffer: vec![],
            to_send: VecDeque::with_capacity(2 * TURN_BLOCKS as usize),
            began: None,
            warm: None,
            compared: Compared::default(),
            story,
            stage: Stage::Copy,
            shared,
        }
    }

    /// Does what can be done now, and waits at most `wait` for the lane where nothing can.
    pub fn turn(&mut self, wait: Duration) -> Result<Turn<DiskNews>, CopyError> {
        let mut need = Need::Completion;
        while self.link.has_room() {
            match self.advance()? {
                Progress::Done(news) => return Ok(Turn::Done(news)),
                Progress::Needs(Need::Nothing) => need = Need::Nothing,
                Progress::Needs(other) => {
                    need = other;
                    break;
                }
            }
        }
        self.link.exchange(need, wait)
    }

    /// What happened so far; it ended early where there is an `error`.
    pub fn story(&mut self, error: Option<CopyError>) -> DiskStory {
        let mut story = std::mem::take(&mut self.story);
        story.disk.written_bytes = self.mover.written() * BLOCK_BYTES;
        story.disk.verified &= error.is_none();
        story.error = error;
        story
    }

    /// Ends the lane in order; to be asked when it has ended.
    pub fn close(self) -> Result<(LaneStats, LatencyHistogram), CopyError> {
        self.link.close()
    }

    fn advance(&mut self) -> Result<Progress, CopyError> {
        if let Some((block, mirrored)) = self.to_send.front().copied() {
            return self.send(block, mirrored);
        }
        match &mut self.stage {
            Stage::Copy if self.mover.is_copied() => self.stage = Stage::Copied(Barrier::new(1)),
            Stage::Copy => {
                self.predict();
                self.mirror();
                let range = self.mover.next_copy(TURN_BLOCKS);
                self.to_send.extend(range.map(|block| (block, false)));
            }
            Stage::Copied(barrier) => {
                if !barrier.advance(&mut self.link)? {
                    return WAIT;
                }
                let elapsed_ns = self.ran_ns().max(1);
                let disk = &mut self.story.disk;
                let moved = u128::from(disk.bytes + disk.mirrored_bytes);
                disk.elapsed_ns = elapsed_ns;
                disk.bytes_per_s = u64::try_from(moved * 1_000_000_000 / u128::from(elapsed_ns)).ok();
                self.stage = Stage::Mirror;
                return Ok(Progress::Done(DiskNews::Copied));
            }
            Stage::Mirror if self.shared.guests_stand() => self.stage = Stage::Spoil,
            Stage::Mirror => {
                self.mirror();
                if self.to_send.is_empty() {
                    return Ok(Progress::Needs(Need::Until(self.link.now().plus_ns(REST_NS))));
                }
            }
            Stage::Spoil => return self.spoil(),
            Stage::Settled(barrier) => {
                if !barrier.advance(&mut self.link)? {
                    return WAIT;
                }
                self.stage = Stage::Compare { first: 0, asked: false };
            }
            Stage::Compare { .. } => return self.compare(),
            Stage::End(ending) => {
                return match ending.advance(&mut self.link)? {
                    true => Ok(Progress::Done(DiskNews::Ended)),
                    false => WAIT,
                };
            }
        }
        GO_ON
    }

    /// Time since the first block.
    fn ran_ns(&mut self) -> u64 {
        let now = self.link.now();
        now.ns_since(*self.began.get_or_insert(now))
    }

    /// Makes the writes that are due, as far as one turn allows: writes that must be mirrored wait for the path, as the
    /// guest's would.
    fn mirror(&mut self) {
        let ran_ns = self.ran_ns();
        let mut mirrored = 0;
        for _ in 0..self.mover.due(ran_ns) {
            if mirrored == TURN_BLOCKS {
                break;
            }
            if let Some(block) = self.mover.write() {
                mirrored += 1;
                self.to_send.push_back((block, true));
            }
        }
    }

    /// Expects the time of the whole copy once its beginning has shown the rate of the path.
    fn predict(&mut self) {
        let ran_ns = self.ran_ns();
        let moved = self.story.disk.bytes + self.story.disk.mirrored_bytes;
        match self.warm {
            None if ran_ns >= WARM_NS => self.warm = Some((ran_ns, moved)),
            Some((warm_ns, before)) if ran_ns >= MEASURE_NS && self.story.disk.predicted_ns.is_none() => {
                let path = (moved - before) as f64 / (ran_ns - warm_ns).max(1) as f64 * 1e9;
                let seconds = disk_copy_s(self.bytes as f64, path, self.writes_bytes_per_s as f64);
                self.story.disk.predicted_ns = Some((seconds * 1e9) as u64);
            }
            _ => {}
        }
    }

    /// Reads `block` as it is now into the buffer, where it may be sent.
    fn read(&mut self, block: u64) -> Result<Need, CopyError> {
        if !self.link.can_send() {
            return Ok(Need::Completion);
        }
        let bytes = self.bytes.saturating_sub(block * BLOCK_BYTES).min(BLOCK_BYTES);
        match self.link.claim(bytes) {
            Need::Nothing => {}
            need => return Ok(need),
        }
        self.buffer.resize(bytes as usize, 0);
        self.source.read(block, self.mover.version(block), &mut self.buffer)?;
        Ok(Need::Nothing)
    }

    fn send_read(&mut self, block: u64) -> Result<(), CopyError> {
        self.link.send_bytes(|out| {
            wire::begin_block(out, block, self.buffer.len());
            out.extend_from_slice(&self.buffer);
        })?;
        Ok(())
    }

    fn send(&mut self, block: u64, mirrored: bool) -> Result<Progress, CopyError> {
        match self.read(block)? {
            Need::Nothing => {}
            need => return Ok(Progress::Needs(need)),
        }
        self.hashes[block as usize] = hash(&self.buffer);
        self.send_read(block)?;
        let disk = &mut self.story.disk;
        let sum = if mirrored { &mut disk.mirrored_bytes } else { &mut disk.bytes };
        *sum += self.buffer.len() as u64;
        self.to_send.pop_front();
        GO_ON
    }

    /// Changes one bit of one block on the way, where that fault is to be injected.
    fn spoil(&mut self) -> Result<Progress, CopyError> {
        if self.shared.spec.fault == Some(InjectedFault::DiskBitFlip) {
            let block = Random::new(self.shared.spec.seed ^ 0xBADB17).below(self.mover.blocks());
            match self.read(block)? {
                Need::Nothing => {}
                need => return Ok(Progress::Needs(need)),
            }
            let at = block as usize % self.buffer.len();
            self.buffer[at] ^= 1 << (block % 8);
            self.send_read(block)?;
        }
        self.stage = Stage::Settled(Barrier::new(2));
        GO_ON
    }

    fn compare(&mut self) -> Result<Progress, CopyError> {
        let Stage::Compare { first, asked } = &mut self.stage else { return GO_ON };
        let own = &self.hashes[*first as usize..];
        let own = &own[..own.len().min(HASH_PAGES_MAX as usize)];
        if own.is_empty() {
            let compared = self.compared;
            self.story.mismatch = compared.first.map(|first| (first, compared.differing));
            self.story.disk.verified = compared.first.is_none() && compared.pages == self.mover.blocks();
            self.stage = Stage::End(Ending::default());
            return GO_ON;
        }
        if !*asked {
            if self.link.can_send() {
                self.link.ask(&Told::Hash(*first..*first + own.len() as u64))?;
                *asked = true;
            }
            return WAIT;
        }
        let Some(theirs) = self.link.take_hashes(*first, own.len())? else { return WAIT };
        self.compared.add(*first, own, &theirs);
        (*first, *asked) = (*first + own.len() as u64, false);
        GO_ON
    }
}
