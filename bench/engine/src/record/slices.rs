//! The measured window in slices whose number is bounded: when there is no room for one more, neighbours become one
//! and every slice is twice as long.
//!
//! A slice is a tenth of a second times a power of two and begins at a multiple of its length, so the slices of lanes
//! and ends that differ in length still fit into each other, and sums stay exact.

use pathproof_api::LaneSample;
pub use pathproof_model::series::{SLICE_NS, SLICES_MAX as SLICES_PER_LANE_MAX};

/// Most slices of all lanes of one end of a step, so that a document stays readable however many lanes ran.
const SLICES_PER_END_MAX: usize = 16_384;
/// Fewest slices of a lane, however many lanes there are.
const SLICES_PER_LANE_MIN: usize = 16;

/// Most slices that each lane of a step with so many lanes at each end keeps.
pub fn slices_per_lane(lanes: usize) -> usize {
    // Even, so that neighbours pair up.
    (SLICES_PER_END_MAX / lanes.max(1)).clamp(SLICES_PER_LANE_MIN, SLICES_PER_LANE_MAX) & !1
}

/// What happened within one slice. `sample` and `cpu_ns` are the last of the slice and count from the lane's beginning,
/// so of two neighbours the later ones hold for both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub messages: u64,
    pub sample: Option<LaneSample>,
    pub cpu_ns: Option<u64>,
}

impl Slice {
    fn then(self, later: Slice) -> Slice {
        Slice {
            sent_bytes: self.sent_bytes + later.sent_bytes,
            received_bytes: self.received_bytes + later.received_bytes,
            messages: self.messages + later.messages,
            sample: later.sample.or(self.sample),
            cpu_ns: later.cpu_ns.or(self.cpu_ns),
        }
    }
}

/// The slices of one lane. Tenths of a second are counted from the start of the window.
#[derive(Debug)]
pub(super) struct Slices {
    /// All the memory there will ever be.
    kept: Box<[Slice]>,
    /// A slice is this power of two of tenths.
    doublings: u32,
}

impl Slices {
    /// For a window of so many tenths of a second, at most `most` slices.
    pub fn new(tenths: u64, most: usize) -> Slices {
        let most = most.max(2) & !1;
        let count = usize::try_from(tenths).unwrap_or(usize::MAX).clamp(1, most);
        Slices { kept: vec![Slice::default(); count].into_boxed_slice(), doublings: 0 }
    }

    /// Where the slice with this tenth of a second is kept. Makes room for it.
    pub fn place(&mut self, tenth: u64) -> usize {
        while tenth >> self.doublings >= self.kept.len() as u64 && self.doublings < u64::BITS - 1 {
            self.double();
        }
        (tenth >> self.doublings) as usize
    }

    fn double(&mut self) {
        let pairs = self.kept.len().div_ceil(2);
        for pair in 0..pairs {
            let later = self.kept.get(2 * pair + 1).copied().unwrap_or_default();
            self.kept[pair] = self.kept[2 * pair].then(later);
        }
        self.kept[pairs..].fill(Slice::default());
        self.doublings += 1;
    }

    #[inline]
    pub fn at(&mut self, place: usize) -> Option<&mut Slice> {
        self.kept.get_mut(place)
    }

    /// Length of each slice, in ns.
    pub fn length_ns(&self) -> u64 {
        SLICE_NS << self.doublings
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.kept.iter()
    }
}
