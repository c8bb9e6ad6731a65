//! The measured window in slices whose number is bounded: when there is no room for one more, neighbours become one
//! and every slice is twice as long.
//!
//! A slice is a tenth of a second times a power of two and begins at a multiple of its length, so the slices of lanes
//! and ends that differ in length still fit into each other, and sums stay exact.

use pathproof_api::LaneSample;
use pathproof_model::Interval;

/// Shortest slice, in ns. Every longer one is this times a power of two.
pub const SLICE_NS: u64 = 100_000_000;
/// Most slices of one lane: a minute of tenths of a second.
pub const SLICES_PER_LANE_MAX: usize = 600;
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

/// Brings the slices of several lanes, or of both ends, to the length of the longest, so that those of one moment begin
/// together. Slices of one lane must stand together and in order, as they do in a half.
pub fn align(intervals: &mut Vec<Interval>) {
    let Some(longest) = intervals.iter().map(|i| i.length_ns).max() else { return };
    // The last slice of a window may be cut short, and belongs to the grid all the same.
    let length_ns =
        longest.max(1).div_ceil(SLICE_NS).checked_next_power_of_two().map(|n| n.saturating_mul(SLICE_NS));
    let Some(length_ns) = length_ns else { return };
    let same = |a: &Interval, b: &Interval| {
        a.end == b.end && a.lane == b.lane && a.start_ns / length_ns == b.start_ns / length_ns
    };
    // `dedup_by` hands over the later one first, and drops it when told that both are the same.
    intervals.dedup_by(|later, earlier| {
        let one = same(later, earlier);
        if one {
            absorb(earlier, later);
        }
        one
    });
}

/// What comes from a peer may hold any number, so nothing here can overflow.
fn absorb(earlier: &mut Interval, later: &Interval) {
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    let end_ns = later.start_ns.saturating_add(later.length_ns);
    earlier.length_ns = end_ns.saturating_sub(earlier.start_ns);
    earlier.sent_bytes = earlier.sent_bytes.saturating_add(later.sent_bytes);
    earlier.received_bytes = earlier.received_bytes.saturating_add(later.received_bytes);
    earlier.messages = earlier.messages.saturating_add(later.messages);
    earlier.retransmits = sum(earlier.retransmits, later.retransmits);
    earlier.cpu_ns = sum(earlier.cpu_ns, later.cpu_ns);
    earlier.rtt_ns = later.rtt_ns.or(earlier.rtt_ns);
    earlier.send_segment_bytes = later.send_segment_bytes.or(earlier.send_segment_bytes);
    earlier.path_ip_mtu_bytes = later.path_ip_mtu_bytes.or(earlier.path_ip_mtu_bytes);
}
