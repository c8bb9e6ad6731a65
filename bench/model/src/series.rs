//! What the slices of a window held: a column for each figure, all on one time axis, summed over the lanes of a flow at
//! one end.
//!
//! What crosses between the ends of a run are [`Interval`]s, lane by lane; what a document keeps is their sums. A slice in
//! which nobody looked is `null`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::shortest;
use crate::{End, LaneResult, LaneRole, NodeId};

/// Shortest slice, in ns. Every longer one is this times a power of two and begins at a multiple of its length, so slices
/// of different lanes fit into each other.
pub const SLICE_NS: u64 = 100_000_000;
/// Most slices of a series: a minute of tenths of a second.
pub const SLICES_MAX: usize = 600;
/// The same of a step of round trips alone: they are told by their distribution, and the step goes on until it is one.
const ROUND_TRIP_SLICES_MAX: usize = 60;

/// A figure of each slice; empty where this end does not count it, a single one where it holds for all slices.
pub type Column = Vec<Option<u64>>;

/// What the lanes of one flow did at one end, slice by slice. Slice `i` begins `i` times `width_ns` after the start of the
/// window and ends where the next one begins, the last one at `end_ns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Series {
    /// Number of the flow in `flows`.
    pub flow: u16,
    /// The node that counted.
    pub node: NodeId,
    /// What its lanes did there.
    pub role: LaneRole,
    /// Length of a slice, in ns.
    pub width_ns: u64,
    /// End of the last slice, in ns since the start of the window.
    pub end_ns: u64,
    /// Payload bytes sent; of round trips only what came back is counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent_bytes: Column,
    /// Payload bytes received.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub received_bytes: Column,
    /// Segments sent again; a single number where all slices have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retransmits: Column,
    /// The kernel's smoothed round trip, in ns; the longest of the lanes, a single number where all slices have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rtt_ns: Column,
    /// Segment size, in bytes; the smallest of the lanes, a single number where all slices have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub send_segment_bytes: Column,
    /// Path MTU assumed by the kernel, in bytes; the smallest of the lanes, a single number where all slices have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_ip_mtu_bytes: Column,
}

/// One slice of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Start, in ns since the start of the window.
    pub start_ns: u64,
    /// Length, in ns.
    pub length_ns: u64,
    /// Payload bytes of the flow, as this end counted them.
    pub bytes: u64,
}

/// One slice of the window of one lane at one end, as it crosses between the ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Interval {
    /// Which end.
    pub end: End,
    /// The lane.
    pub lane: Option<u32>,
    /// Start in ns since the start of the window.
    pub start_ns: u64,
    /// Length in ns.
    pub length_ns: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Messages completed.
    pub messages: u64,
    /// Segments sent again.
    pub retransmits: Option<u64>,
    /// The kernel's smoothed round trip, in ns.
    pub rtt_ns: Option<u64>,
    /// Segment size, in bytes.
    pub send_segment_bytes: Option<u64>,
    /// Path MTU assumed by the kernel, in bytes.
    pub path_ip_mtu_bytes: Option<u64>,
    /// CPU time of the thread, in ns. It crosses for peers of protocol 2.0; documents keep the sum of each lane.
    pub cpu_ns: Option<u64>,
}

impl Interval {
    /// End in ns since the start of the window. What comes from a peer may hold any number, so nothing here can overflow.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.length_ns)
    }
}

impl Series {
    /// The slices in which the payload of the flow is counted at this end: where it comes in, and by one-sided verbs where
    /// it is moved from, because the other end takes no part and would look like a stall.
    pub fn carried(&self) -> impl Iterator<Item = Slice> {
        let column: &[Option<u64>] = match self.role {
            LaneRole::Write => &self.sent_bytes,
            LaneRole::Send | LaneRole::Target => &[],
            LaneRole::Receive | LaneRole::Both | LaneRole::Read | LaneRole::Other => &self.received_bytes,
        };
        column.iter().enumerate().filter_map(|(number, bytes)| {
            let start_ns = self.width_ns.saturating_mul(number as u64);
            let end_ns = start_ns.saturating_add(self.width_ns).min(self.end_ns);
            Some(Slice { start_ns, length_ns: end_ns.saturating_sub(start_ns), bytes: (*bytes)? })
        })
    }
}

/// The sums of `intervals` for each flow and end of `lanes`, all on the same axis: that of the longest slice.
pub fn sum(lanes: &[LaneResult], intervals: &[Interval]) -> Vec<Series> {
    let round_trips = !lanes.is_empty() && lanes.iter().all(|lane| lane.role == LaneRole::Both);
    let most = if round_trips { ROUND_TRIP_SLICES_MAX } else { SLICES_MAX };
    let Some(width_ns) = width_ns(intervals, most) else { return vec![] };
    let lane_of: BTreeMap<(End, u32), &LaneResult> =
        lanes.iter().map(|lane| ((lane.end, lane.lane), lane)).collect();
    let mut flows: BTreeMap<(u16, NodeId), (LaneRole, Sums)> = BTreeMap::new();
    for interval in intervals {
        let lane = interval.lane.and_then(|lane| lane_of.get(&(interval.end, lane)));
        let (flow, role) = lane.map_or_else(Default::default, |lane| (lane.flow, lane.role));
        let key = (flow, interval.end.node());
        let (_, sums) = flows.entry(key).or_insert_with(|| (role, Sums::default()));
        sums.add(interval, width_ns);
    }
    let series =
        |((flow, node), (role, sums)): (_, (LaneRole, Sums))| sums.series(flow, node, role, width_ns);
    flows.into_iter().map(series).collect()
}

/// The common length of the slices: the longest there is, and long enough that there are not too many of them.
fn width_ns(intervals: &[Interval], most: usize) -> Option<u64> {
    let longest = intervals.iter().map(|i| i.length_ns).max()?;
    let end = intervals.iter().map(Interval::end_ns).max()?;
    // The last slice of a window may be cut short, and belongs to the grid all the same.
    let wanted = longest.max(end.div_ceil(most as u64)).max(1);
    wanted.div_ceil(SLICE_NS).checked_next_power_of_two()?.checked_mul(SLICE_NS)
}

/// One slice on its way to becoming a row of columns.
#[derive(Clone, Default)]
struct Row {
    covered: bool,
    sent_bytes: u64,
    received_bytes: u64,
    retransmits: Option<u64>,
    rtt_ns: Option<u64>,
    send_segment_bytes: Option<u64>,
    path_ip_mtu_bytes: Option<u64>,
}

#[derive(Default)]
struct Sums {
    rows: Vec<Row>,
    end_ns: u64,
}

impl Sums {
    fn add(&mut self, interval: &Interval, width_ns: u64) {
        let either = |how: fn(u64, u64) -> u64, a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(how(a, b)),
            (a, b) => a.or(b),
        };
        let number = (interval.start_ns / width_ns) as usize;
        if self.rows.len() <= number {
            self.rows.resize(number + 1, Row::default());
        }
        self.end_ns = self.end_ns.max(interval.end_ns());
        let row = &mut self.rows[number];
        row.covered = true;
        row.sent_bytes = row.sent_bytes.saturating_add(interval.sent_bytes);
        row.received_bytes = row.received_bytes.saturating_add(interval.received_bytes);
        row.retransmits = either(u64::saturating_add, row.retransmits, interval.retransmits);
        row.rtt_ns = either(u64::max, row.rtt_ns, interval.rtt_ns);
        row.send_segment_bytes = either(u64::min, row.send_segment_bytes, interval.send_segment_bytes);
        row.path_ip_mtu_bytes = either(u64::min, row.path_ip_mtu_bytes, interval.path_ip_mtu_bytes);
    }

    fn series(self, flow: u16, node: NodeId, role: LaneRole, width_ns: u64) -> Series {
        let column = |figure: fn(&Row) -> Option<u64>| -> Column {
            let column: Column = self.rows.iter().map(figure).collect();
            if column.iter().all(Option::is_none) { vec![] } else { column }
        };
        let counted =
            |counts: bool, figure: fn(&Row) -> Option<u64>| if counts { column(figure) } else { vec![] };
        // What hardly ever moves need not be said for each slice. What was carried is: a reader counts those columns.
        let steady = |figure: fn(&Row) -> Option<u64>| -> Column { shortest(column(figure)) };
        Series {
            flow,
            node,
            role,
            width_ns,
            end_ns: self.end_ns,
            // Of round trips as many bytes go as come.
            sent_bytes: counted(role.sends() && !role.receives(), |row| {
                row.covered.then_some(row.sent_bytes)
            }),
            received_bytes: counted(role.receives(), |row| row.covered.then_some(row.received_bytes)),
            retransmits: steady(|row| row.retransmits),
            rtt_ns: steady(|row| row.rtt_ns),
            send_segment_bytes: steady(|row| row.send_segment_bytes),
            path_ip_mtu_bytes: steady(|row| row.path_ip_mtu_bytes),
        }
    }
}
