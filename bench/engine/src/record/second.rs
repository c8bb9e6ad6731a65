//! The worst second of a step, exact however long the step runs and however coarse its slices become.
//!
//! Each lane that counts adds the bytes of a tenth of a second to a ring when that tenth is over: one relaxed addition at
//! the edge and nothing for an operation. The coordinator of the step takes finished tenths out of the ring and keeps
//! the lowest sum of ten in a row. It refuses to guess: when a lane runs further ahead of the slowest than the ring is
//! long, the worst second is unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// Tenths of a second that the ring holds: how far a lane may be ahead of the slowest (nearly seven minutes).
const RING: usize = 4096;
/// Tenths of a second in a second.
const TENTHS: usize = 10;
/// What a lane that has left says it has finished.
const LEFT: u64 = u64::MAX;

/// What the lanes of one end and their coordinator share.
#[derive(Debug)]
struct Ring {
    /// Bytes of tenth `n` at `n` modulo the length.
    tenths: Box<[AtomicU64]>,
    /// For each lane, how many tenths it has finished, or [`LEFT`]: each alone in its cache lines, so that lanes do not slow
    /// each other down.
    finished: Box<[CachePadded<AtomicU64>]>,
    /// How many tenths the coordinator has taken.
    taken: AtomicU64,
    /// The latest tenth up to which some lane was there.
    reached: AtomicU64,
    overrun: AtomicBool,
}

/// A lane's place at the ring.
#[derive(Debug)]
pub struct Contribution {
    ring: Arc<Ring>,
    lane: usize,
}

impl Contribution {
    /// `bytes` were carried in `tenth`, and everything before the tenth `finished` is over.
    pub(super) fn add(&self, tenth: u64, bytes: u64, finished: u64) {
        let ring = &*self.ring;
        if bytes > 0 {
            // A place is free for its next tenth once the coordinator has emptied it and said so.
            if tenth >= ring.taken.load(Ordering::Acquire).saturating_add(RING as u64) {
                ring.overrun.store(true, Ordering::Relaxed);
            } else {
                ring.tenths[(tenth % RING as u64) as usize].fetch_add(bytes, Ordering::Relaxed);
            }
        }
        ring.reached.fetch_max(finished, Ordering::Relaxed);
        // What was added before is seen by who sees this.
        ring.finished[self.lane].store(finished.min(LEFT - 1), Ordering::Release);
    }
}

impl Drop for Contribution {
    /// A lane that is gone, in order or not, is waited for no more.
    fn drop(&mut self) {
        self.ring.finished[self.lane].store(LEFT, Ordering::Release);
    }
}

/// The coordinator's side.
#[derive(Debug)]
pub struct WorstSecond {
    ring: Arc<Ring>,
    /// Whole tenths in the window.
    tenths: u64,
    last: [u64; TENTHS],
    sum: u64,
    lowest: Option<u64>,
}

impl WorstSecond {
    /// For a window of `window_ns` and `lanes` lanes that count, with the place of each.
    pub fn new(window_ns: u64, lanes: usize) -> (WorstSecond, Vec<Contribution>) {
        let ring = Arc::new(Ring {
            tenths: std::iter::repeat_with(AtomicU64::default).take(RING).collect(),
            finished: std::iter::repeat_with(CachePadded::default).take(lanes).collect(),
            taken: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            overrun: AtomicBool::new(false),
        });
        let places = (0..lanes).map(|lane| Contribution { ring: ring.clone(), lane }).collect();
        let tenths = window_ns / super::SLICE_NS;
        (WorstSecond { ring, tenths, last: [0; TENTHS], sum: 0, lowest: None }, places)
    }

    /// Takes what all lanes have finished. To be called now and then: the ring is `RING` tenths long.
    pub fn look(&mut self) {
        let slowest = self.ring.finished.iter().map(|lane| lane.load(Ordering::Acquire)).min();
        let until = match slowest {
            None => return,
            Some(LEFT) => self.ring.reached.load(Ordering::Relaxed),
            Some(finished) => finished,
        };
        let mut taken = self.ring.taken.load(Ordering::Relaxed);
        while taken < until.min(self.tenths) {
            let bytes = self.ring.tenths[(taken % RING as u64) as usize].swap(0, Ordering::Relaxed);
            self.push(taken, bytes);
            taken += 1;
        }
        self.ring.taken.store(taken, Ordering::Release);
    }

    fn push(&mut self, tenth: u64, bytes: u64) {
        let place = (tenth % TENTHS as u64) as usize;
        self.sum = self.sum - self.last[place] + bytes;
        self.last[place] = bytes;
        if tenth + 1 >= TENTHS as u64 {
            self.lowest = Some(self.lowest.map_or(self.sum, |lowest| lowest.min(self.sum)));
        }
    }

    /// The fewest bytes of any second once all lanes have left; `None` for less than a second, or when a lane was so far
    /// behind the others that it cannot be known.
    pub fn finish(mut self) -> Option<u64> {
        self.look();
        self.lowest.filter(|_| !self.ring.overrun.load(Ordering::Relaxed))
    }
}
