//! The storage of a guest on the move: every block once in order, while the guest writes. A block that has been
//! copied is mirrored whenever it is written; one that has not is copied later anyway. So does Hyper-V's storage
//! migration, and QEMU's `blockdev-mirror` with write-blocking. It reads no disk and knows no clock.

use std::ops::Range;

use super::Random;

/// Bytes of a block, which is copied and mirrored as a whole: QEMU's default granularity for mirroring.
pub const BLOCK_BYTES: u64 = 64 << 10;

/// Which blocks are copied, which are written, and how often.
#[derive(Clone, Debug)]
pub struct DiskMove {
    copied: u64,
    /// How often each block was written; its contents follow from it.
    versions: Vec<u32>,
    writes_per_s: f64,
    written: u64,
    random: Random,
}

impl DiskMove {
    /// A disk of `blocks` whose guest writes `bytes_per_s`, each time a whole block anywhere.
    pub fn new(blocks: u64, bytes_per_s: u64, seed: u64) -> DiskMove {
        DiskMove {
            copied: 0,
            versions: vec![0; usize::try_from(blocks).unwrap_or(usize::MAX)],
            writes_per_s: bytes_per_s as f64 / BLOCK_BYTES as f64,
            written: 0,
            random: Random::new(seed),
        }
    }

    /// Blocks of the disk.
    pub fn blocks(&self) -> u64 {
        self.versions.len() as u64
    }

    /// Whether every block has been copied once.
    pub fn is_copied(&self) -> bool {
        self.copied == self.blocks()
    }

    /// The next blocks to copy, at most `most`.
    pub fn next_copy(&mut self, most: u64) -> Range<u64> {
        let start = self.copied;
        self.copied = (start + most).min(self.blocks());
        start..self.copied
    }

    /// Writes that are due once the guest has run for `ran_ns`, less those made.
    pub fn due(&self, ran_ns: u64) -> u64 {
        ((self.writes_per_s * (ran_ns as f64 / 1e9)) as u64).saturating_sub(self.written)
    }

    /// The guest writes one block; the answer is the block where it must be mirrored.
    pub fn write(&mut self) -> Option<u64> {
        self.written += 1;
        let block = self.random.below(self.blocks());
        let version = self.versions.get_mut(block as usize)?;
        *version = version.wrapping_add(1).max(1);
        (block < self.copied).then_some(block)
    }

    /// Writes made so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How often `block` was written.
    pub fn version(&self, block: u64) -> u32 {
        self.versions.get(block as usize).copied().unwrap_or(0)
    }
}

/// Seconds to copy a disk of `bytes` over a path of `path` bytes per second while its guest writes `writes` bytes per
/// second anywhere: the copied share x grows by path − writes·x/bytes, and mirrored writes take at most half the
/// path, so that the copy always advances.
pub fn disk_copy_s(bytes: f64, path: f64, writes: f64) -> f64 {
    let path = path.max(1e-9);
    if writes <= 0.0 {
        return bytes / path;
    }
    // Until mirrored writes take half of the path: x(t) = path·bytes/writes·(1 − e^(−writes·t/bytes)).
    let full = (path * bytes / (2.0 * writes)).min(bytes);
    let rising = -(1.0 - full * writes / (path * bytes)).ln() * bytes / writes;
    rising + (bytes - full) / (path / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_blocks_are_mirrored_and_others_are_not() {
        let mut disk = DiskMove::new(100, 10 * BLOCK_BYTES, 7);
        assert_eq!(disk.next_copy(40), 0..40);
        assert_eq!(disk.due(1_000_000_000), 10);
        let mut mirrored = 0;
        for _ in 0..1000 {
            match disk.write() {
                Some(block) => {
                    mirrored += 1;
                    assert!(block < 40 && disk.version(block) > 0, "{block}");
                }
                None => assert!(!disk.is_copied()),
            }
        }
        assert!((330..470).contains(&mirrored), "{mirrored} of 1000 writes hit 40 % of the disk");
        assert_eq!((disk.written(), disk.due(1_000_000_000)), (1000, 0));
        assert_eq!(disk.next_copy(100), 40..100);
        assert!(disk.is_copied() && disk.write().is_some(), "from now on every write is mirrored");
        assert_eq!(disk.next_copy(1), 100..100);
    }

    /// The closed form against the move itself in virtual time.
    #[test]
    fn the_time_of_a_copy_is_as_predicted() {
        for writes in [0.0, 20e6, 60e6, 90e6, 400e6] {
            let (blocks, path) = (8192u64, 100e6);
            let mut disk = DiskMove::new(blocks, writes as u64, 3);
            let (mut now_s, block_s) = (0.0, BLOCK_BYTES as f64 / path);
            while !disk.is_copied() {
                let (mut due, mut mirrored) = (disk.due((now_s * 1e9) as u64), 0);
                while due > 0 && mirrored < 4 {
                    due -= 1;
                    mirrored += u64::from(disk.write().is_some());
                }
                let copied = disk.next_copy(4);
                now_s += (mirrored + copied.end - copied.start) as f64 * block_s;
            }
            let expected = disk_copy_s((blocks * BLOCK_BYTES) as f64, path, writes);
            assert!((now_s / expected - 1.0).abs() < 0.03, "{writes}: {now_s} s, predicted {expected} s");
        }
    }
}
