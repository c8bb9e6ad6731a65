//! The storage move of a shared-nothing migration, in Hyper-V's order: first every block of the disk, then the memory,
//! while writes to blocks already copied are mirrored all the time. A disk is made up, or a file that is only ever
//! read: what the rehearsed guest writes to it exists nowhere but on the path.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use pathproof_api::Clock;
use pathproof_engine::migrate::copy::contents::hash;
use pathproof_engine::migrate::copy::wire::HASH_PAGES_MAX;
use pathproof_engine::migrate::{BLOCK_BYTES, DiskMove, Random, disk_copy_s};
use pathproof_model::migrate::{DiskSpec, MigrateDisk};
use pathproof_model::{ErrorKind, StepError};

use super::Fault;
use super::lane::{Compared, SourceLane};
use super::source::Common;

/// Blocks copied between two looks at the guest's writes, and the most that are mirrored in between.
const TURN_BLOCKS: u64 = 8;
/// How long the copy runs before its rate is taken for the prediction, and how much of that is warming up, in ns.
const MEASURE_NS: u64 = 250_000_000;
const WARM_NS: u64 = 50_000_000;

/// Blocks of a disk of `bytes`.
pub fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}

/// Opens `file` for reading and says how large it is.
pub fn open(file: &str) -> Result<(File, u64), StepError> {
    let fail = |e: io::Error| StepError {
        kind: ErrorKind::Invalid,
        message: format!(
            "the disk file {file} cannot be read: {e}; name a disk image or a block device that you may read"
        ),
    };
    let mut opened = crate::input::open(file.as_ref(), crate::input::Source::Disk)
        .map_err(|why| fail(io::Error::other(format!("{why:#}"))))?;
    // Not its metadata: a block device has no length there.
    let bytes = opened.seek(SeekFrom::End(0)).map_err(fail)?;
    if bytes == 0 {
        return Err(fail(io::Error::other("it is empty")));
    }
    opened.read_exact_at(&mut [0], 0).map_err(fail)?;
    Ok((opened, bytes))
}

/// The disk at the source.
pub struct Disk {
    spec: DiskSpec,
    file: Option<File>,
    seed: u64,
    noise: Vec<u8>,
}

impl Disk {
    /// Ready to be read.
    pub fn new(spec: &DiskSpec, seed: u64) -> Result<Disk, StepError> {
        let file = match &spec.file {
            None => None,
            Some(name) => {
                let (file, bytes) = open(name)?;
                if bytes != spec.bytes {
                    return Err(StepError {
                        kind: ErrorKind::Invalid,
                        message: format!(
                            "the disk file {name} had {} bytes and has {bytes} now; it must not change while it moves",
                            spec.bytes
                        ),
                    });
                }
                Some(file)
            }
        };
        let mut random = Random::new(seed);
        let noise = (0..BLOCK_BYTES / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
        Ok(Disk { spec: spec.clone(), file, seed, noise })
    }

    /// `block` as it is after `version` writes.
    fn read(&self, block: u64, version: u32, out: &mut Vec<u8>) -> Result<(), StepError> {
        let start = block * BLOCK_BYTES;
        out.resize(self.spec.bytes.saturating_sub(start).min(BLOCK_BYTES) as usize, 0);
        match &self.file {
            Some(file) if version == 0 => file.read_exact_at(out, start).map_err(|e| StepError {
                kind: ErrorKind::System,
                message: format!(
                    "the disk file {} cannot be read at byte {start}: {e}",
                    self.spec.file.as_deref().unwrap_or_default()
                ),
            }),
            _ => {
                let bytes = out.len();
                out.copy_from_slice(&self.noise[..bytes]);
                let stamp = Random::new(self.seed ^ block << 20 ^ u64::from(version)).bits().to_le_bytes();
                for sector in out.chunks_mut(512) {
                    let bytes = sector.len().min(8);
                    sector[..bytes].copy_from_slice(&stamp[..bytes]);
                }
                Ok(())
            }
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct DiskStory {
    /// In numbers.
    pub disk: MigrateDisk,
    /// First differing block and how many differ.
    pub mismatch: Option<(u64, u64)>,
    /// Why it ended early.
    pub error: Option<StepError>,
}

/// Moves the disk over `lane`. `copied` is told once all blocks are there; from then on the guest's writes are mirrored
/// until the guests have moved.
pub fn conduct(common: &Common, disk: &Disk, lane: &mut SourceLane, copied: impl FnOnce()) -> DiskStory {
    let mut story = DiskStory::default();
    let spec = &disk.spec;
    let mover = DiskMove::new(blocks(spec.bytes), spec.writes_bytes_per_s, common.spec.seed ^ 0xD15C);
    let hashes = vec![0; mover.blocks() as usize];
    story.disk.disk_bytes = spec.bytes;
    let mut moving = Moving { common, disk, lane, mover, hashes, buffer: vec![] };
    if let Err(error) = moving.run(&mut story, copied) {
        story.error = Some(error);
    }
    story.disk.written_bytes = moving.mover.written() * BLOCK_BYTES;
    story.disk.verified = story.disk.verified && story.error.is_none();
    story
}

struct Moving<'a> {
    common: &'a Common,
    disk: &'a Disk,
    lane: &'a mut SourceLane,
    mover: DiskMove,
    /// Of each block as it was last sent.
    hashes: Vec<u128>,
    buffer: Vec<u8>,
}

impl Moving<'_> {
    fn run(&mut self, story: &mut DiskStory, copied: impl FnOnce()) -> Result<(), StepError> {
        let clock = &self.common.clock;
        let began = clock.now();
        let mut warm = None;
        while !self.mover.is_copied() {
            let ran_ns = clock.now().ns_since(began);
            self.mirror(ran_ns, &mut story.disk)?;
            for block in self.mover.next_copy(TURN_BLOCKS) {
                story.disk.bytes += self.send(block)?;
            }
            let moved = story.disk.bytes + story.disk.mirrored_bytes;
            match warm {
                None if ran_ns >= WARM_NS => warm = Some((ran_ns, moved)),
                Some((warm_ns, before)) if ran_ns >= MEASURE_NS && story.disk.predicted_ns.is_none() => {
                    let path = (moved - before) as f64 / (ran_ns - warm_ns).max(1) as f64 * 1e9;
                    let writes = self.disk.spec.writes_bytes_per_s as f64;
                    let seconds = disk_copy_s(self.disk.spec.bytes as f64, path, writes);
                    story.disk.predicted_ns = Some((seconds * 1e9) as u64);
                }
                _ => {}
            }
        }
        self.lane.barrier(1)?;
        story.disk.elapsed_ns = clock.now().ns_since(began).max(1);
        let moved = u128::from(story.disk.bytes + story.disk.mirrored_bytes);
        story.disk.bytes_per_s =
            u64::try_from(moved * 1_000_000_000 / u128::from(story.disk.elapsed_ns)).ok();
        copied();
        while !self.common.guests_stand() {
            self.mirror(clock.now().ns_since(began), &mut story.disk)?;
            self.lane.rest()?;
        }
        if self.common.fault == Some(Fault::DiskBitFlip) {
            self.spoil()?;
        }
        self.lane.barrier(2)?;
        self.compare(story)
    }

    /// Makes the writes that are due, as far as one turn allows: writes that must be mirrored wait for the path, as the
    /// guest's would.
    fn mirror(&mut self, ran_ns: u64, story: &mut MigrateDisk) -> Result<(), StepError> {
        let mut mirrored = 0;
        for _ in 0..self.mover.due(ran_ns) {
            if mirrored == TURN_BLOCKS {
                break;
            }
            if let Some(block) = self.mover.write() {
                mirrored += 1;
                story.mirrored_bytes += self.send(block)?;
            }
        }
        Ok(())
    }

    /// Sends `block` as it is now; returns its bytes.
    fn send(&mut self, block: u64) -> Result<u64, StepError> {
        self.disk.read(block, self.mover.version(block), &mut self.buffer)?;
        self.hashes[block as usize] = hash(&self.buffer);
        self.lane.send_block(block, &self.buffer)?;
        Ok(self.buffer.len() as u64)
    }

    /// Changes one bit of one block on the way.
    fn spoil(&mut self) -> Result<(), StepError> {
        let block = Random::new(self.common.spec.seed ^ 0xBADB17).below(self.mover.blocks());
        self.disk.read(block, self.mover.version(block), &mut self.buffer)?;
        let at = block as usize % self.buffer.len();
        self.buffer[at] ^= 1 << (block % 8);
        self.lane.send_block(block, &self.buffer)
    }

    fn compare(&mut self, story: &mut DiskStory) -> Result<(), StepError> {
        let mut compared = Compared::default();
        for (i, own) in self.hashes.chunks(HASH_PAGES_MAX as usize).enumerate() {
            self.lane.verify_hashes(i as u64 * HASH_PAGES_MAX, own, &mut compared)?;
        }
        story.mismatch = compared.first.map(|first| (first, compared.differing));
        story.disk.verified = compared.first.is_none() && compared.pages == self.mover.blocks();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_read_as_it_is_and_writes_stay_out_of_the_file() {
        let path = std::env::temp_dir().join(format!("pathproof-disk-{}", std::process::id()));
        let contents: Vec<u8> = (0..BLOCK_BYTES + 1000).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &contents).unwrap();
        let name = path.to_string_lossy().into_owned();
        let spec = DiskSpec { bytes: contents.len() as u64, file: Some(name), writes_bytes_per_s: 0 };
        let disk = Disk::new(&spec, 1).unwrap();
        let (mut out, mut written) = (vec![], vec![]);
        disk.read(1, 0, &mut out).unwrap();
        assert_eq!(out, contents[BLOCK_BYTES as usize..], "the last block is as short as it is");
        disk.read(1, 3, &mut written).unwrap();
        assert!(written != out && written.len() == 1000);
        disk.read(1, 4, &mut out).unwrap();
        assert_ne!(written, out, "every write leaves other contents");
        assert_eq!(std::fs::read(&path).unwrap(), contents);
        std::fs::write(&path, b"shorter").unwrap();
        assert!(Disk::new(&spec, 1).err().unwrap().message.contains("must not change"));
        assert!(disk.read(1, 0, &mut out).unwrap_err().message.contains("at byte 65536"));
        std::fs::remove_file(&path).unwrap();
        for (name, says) in [("/no/such/disk", "No such file"), ("/", "directory"), ("/dev/null", "")] {
            let error = open(name).unwrap_err().message;
            assert!(error.contains(says) && error.contains(name), "{error}");
        }
    }
}
