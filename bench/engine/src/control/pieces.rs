//! A half of a step crosses in pieces: parts of known type, small enough for any path, few enough on the way at once
//! that the journal stays small, and counted against what this end's own plan can need before they are kept.
//!
//! It refuses what a half of this step cannot have: another order, more lanes, slices or bytes. Nothing that a peer says
//! decides how much memory this end takes.

use std::collections::VecDeque;

use pathproof_model::{
    Direction, End, ErrorKind, Half, HistogramRecord, Interval, LaneResult, StepError, StepSpec,
};
use serde::{Deserialize, Serialize};

use super::FRAME_BYTES_MAX;
use crate::record::slices_per_lane;

/// What a piece is filled up to, in bytes: a slow path carries it well within the patience of a turn.
const PIECE_BYTES: usize = 60 << 10;
/// Pieces on the way that the other end has not confirmed.
const ON_THE_WAY_MAX: u32 = 4;
/// Slices of one lane in one piece.
const SLICES_PER_PIECE: usize = 300;

/// One piece of a half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfPiece {
    /// The step that ended.
    pub step: u32,
    /// Its number, from 0 in every half.
    pub number: u32,
    /// What it holds.
    pub part: PieceContent,
}

/// What a piece can hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PieceContent {
    /// Lanes.
    Lanes(Vec<LaneResult>),
    /// Distributions.
    Histograms(Vec<HistogramRecord>),
    /// Slices of one lane, in columns.
    Slices(Box<Columns>),
    /// All the rest, last: a half whose lanes, distributions and slices have gone before.
    Rest(Box<Half>),
}

/// Slices of one lane at one end, in the order of time: the fields of [`Interval`], a column each, all of one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of Interval")]
pub struct Columns {
    pub end: End,
    pub lane: Option<u32>,
    pub start_ns: Vec<u64>,
    pub length_ns: Vec<u64>,
    pub sent_bytes: Vec<u64>,
    pub received_bytes: Vec<u64>,
    pub messages: Vec<u64>,
    pub retransmits: Vec<Option<u64>>,
    pub rtt_ns: Vec<Option<u64>>,
    pub send_segment_bytes: Vec<Option<u64>>,
    pub path_ip_mtu_bytes: Vec<Option<u64>>,
    pub cpu_ns: Vec<Option<u64>>,
}

impl Columns {
    fn push(&mut self, interval: Interval) {
        let Interval { end, lane, start_ns, length_ns, sent_bytes, received_bytes, messages, .. } = interval;
        let Interval { retransmits, rtt_ns, send_segment_bytes, path_ip_mtu_bytes, cpu_ns, .. } = interval;
        (self.end, self.lane) = (end, lane);
        self.start_ns.push(start_ns);
        self.length_ns.push(length_ns);
        self.sent_bytes.push(sent_bytes);
        self.received_bytes.push(received_bytes);
        self.messages.push(messages);
        self.retransmits.push(retransmits);
        self.rtt_ns.push(rtt_ns);
        self.send_segment_bytes.push(send_segment_bytes);
        self.path_ip_mtu_bytes.push(path_ip_mtu_bytes);
        self.cpu_ns.push(cpu_ns);
    }

    fn len(&self) -> usize {
        self.start_ns.len()
    }

    /// The slices, or `None` when a column is longer or shorter than the others.
    fn into_intervals(self) -> Option<Vec<Interval>> {
        let len = self.len();
        let numbers = [&self.length_ns, &self.sent_bytes, &self.received_bytes, &self.messages];
        let options = [
            &self.retransmits,
            &self.rtt_ns,
            &self.send_segment_bytes,
            &self.path_ip_mtu_bytes,
            &self.cpu_ns,
        ];
        if numbers.iter().any(|c| c.len() != len) || options.iter().any(|c| c.len() != len) {
            return None;
        }
        let slice = |i: usize| Interval {
            end: self.end,
            lane: self.lane,
            start_ns: self.start_ns[i],
            length_ns: self.length_ns[i],
            sent_bytes: self.sent_bytes[i],
            received_bytes: self.received_bytes[i],
            messages: self.messages[i],
            retransmits: self.retransmits[i],
            rtt_ns: self.rtt_ns[i],
            send_segment_bytes: self.send_segment_bytes[i],
            path_ip_mtu_bytes: self.path_ip_mtu_bytes[i],
            cpu_ns: self.cpu_ns[i],
        };
        Some((0..len).map(slice).collect())
    }
}

/// Most of a peer's half that this end keeps, as its own plan of the step can need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HalfRoom {
    /// Entries of lanes.
    pub lanes: usize,
    /// Distributions.
    pub histograms: usize,
    /// Slices of all lanes.
    pub slices: usize,
    /// All pieces as they cross.
    pub bytes: usize,
}

impl HalfRoom {
    /// What a half of this step can need.
    pub fn of(spec: &StepSpec) -> HalfRoom {
        const BESIDE_LANES: usize = 8;
        let (lanes, slices) = match spec {
            StepSpec::Migrate(migrate) => {
                let places = migrate.parallel.min(migrate.guests).max(1) as usize;
                ((migrate.lanes as usize).saturating_mul(places), 0)
            }
            StepSpec::Stream(traffic) | StepSpec::Pingpong(traffic) | StepSpec::Request(traffic) => {
                let ways = if traffic.direction == Direction::Both { 2 } else { 1 };
                let lanes = (traffic.lanes as usize).saturating_mul(ways);
                (lanes, lanes.saturating_mul(slices_per_lane(lanes)))
            }
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => (0, 0),
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => (0, 0),
            StepSpec::Networks(_) => (0, 0),
            StepSpec::Contend(contend) => {
                let lanes: usize = contend.flows().iter().map(|flow| flow.traffic.lanes as usize).sum();
                (lanes, lanes.saturating_mul(slices_per_lane(lanes)))
            }
        };
        HalfRoom::for_counts(lanes.saturating_add(BESIDE_LANES), slices)
    }

    fn for_counts(lanes: usize, slices: usize) -> HalfRoom {
        // What a lane says about itself (a stripe counts each of its paths), a histogram with every count used, a slice
        // with every column at its longest; and the rest.
        const LANE_BYTES: usize = 64 << 10;
        const HISTOGRAM_BYTES: usize = 384 << 10;
        const SLICE_BYTES: usize = 224;
        const REST_BYTES: usize = FRAME_BYTES_MAX as usize;
        let histograms = lanes.saturating_mul(2);
        let bytes = lanes
            .saturating_mul(LANE_BYTES)
            .saturating_add(histograms.saturating_mul(HISTOGRAM_BYTES))
            .saturating_add(slices.saturating_mul(SLICE_BYTES))
            .saturating_add(REST_BYTES);
        HalfRoom { lanes, histograms, slices, bytes }
    }
}

/// A half on its way out.
#[derive(Debug, PartialEq)]
pub(super) struct Outgoing {
    step: u32,
    parts: VecDeque<PieceContent>,
    count: u32,
    sent: u32,
    confirmed: u32,
}

impl Outgoing {
    pub fn new(step: u32, half: Half) -> Outgoing {
        let parts = split(half);
        Outgoing { step, count: parts.len() as u32, parts, sent: 0, confirmed: 0 }
    }

    /// The next piece, unless enough are on the way.
    pub fn next(&mut self) -> Option<HalfPiece> {
        if self.sent - self.confirmed >= ON_THE_WAY_MAX {
            return None;
        }
        let part = self.parts.pop_front()?;
        let number = self.sent;
        self.sent += 1;
        Some(HalfPiece { step: self.step, number, part })
    }

    /// The other end has so many. False when it cannot have.
    pub fn confirm(&mut self, taken: u32) -> bool {
        let possible = taken <= self.sent;
        if possible {
            self.confirmed = self.confirmed.max(taken);
        }
        possible
    }

    /// The step whose half this is.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// How many pieces there are, once all have been sent.
    pub fn all_sent(&self) -> Option<u32> {
        self.parts.is_empty().then_some(self.count)
    }
}

/// The parts of a half, in the order in which they cross.
fn split(mut half: Half) -> VecDeque<PieceContent> {
    let mut parts = VecDeque::new();
    let mut lost = 0;
    lost += fill(std::mem::take(&mut half.lanes), &mut parts, PieceContent::Lanes);
    lost += fill(std::mem::take(&mut half.histograms), &mut parts, PieceContent::Histograms);
    let mut columns = Columns::default();
    for interval in std::mem::take(&mut half.intervals) {
        let other = columns.len() > 0 && (columns.end != interval.end || columns.lane != interval.lane);
        if other || columns.len() >= SLICES_PER_PIECE {
            parts.push_back(PieceContent::Slices(Box::new(std::mem::take(&mut columns))));
        }
        columns.push(interval);
    }
    if columns.len() > 0 {
        parts.push_back(PieceContent::Slices(Box::new(columns)));
    }
    if length(&half) > FRAME_BYTES_MAX as usize / 2 {
        // What remains says at least why it is so little.
        half = Half { error: half.error, worst_second_bytes: half.worst_second_bytes, ..Half::default() };
        lost += 1;
    }
    if lost > 0 {
        half.error.get_or_insert_with(|| StepError::new(
            ErrorKind::Resource,
            format!(
                "{lost} part(s) of the result were too large to cross and are missing; that is a limit of pathproof and \
                 says nothing about the path: run a shorter step, or one with fewer lanes"
            ),
        ));
    }
    parts.push_back(PieceContent::Rest(Box::new(half)));
    parts
}

/// Puts items into parts of about [`PIECE_BYTES`]. Returns how many are too large for any.
fn fill<T: Serialize>(
    items: Vec<T>,
    parts: &mut VecDeque<PieceContent>,
    part: fn(Vec<T>) -> PieceContent,
) -> usize {
    let (mut batch, mut bytes, mut lost) = (Vec::new(), 0, 0);
    for item in items {
        let own = length(&item);
        if own > FRAME_BYTES_MAX as usize / 2 {
            lost += 1;
            continue;
        }
        if bytes + own > PIECE_BYTES && !batch.is_empty() {
            parts.push_back(part(std::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += own;
        batch.push(item);
    }
    if !batch.is_empty() {
        parts.push_back(part(batch));
    }
    lost
}

/// Bytes of a value as it crosses.
fn length<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// A half on its way in.
#[derive(Debug, PartialEq)]
pub(super) struct Incoming {
    step: u32,
    room: HalfRoom,
    taken: u32,
    half: Half,
    complete: bool,
}

impl Incoming {
    pub fn new(step: u32, room: HalfRoom) -> Incoming {
        Incoming { step, room, taken: 0, half: Half::default(), complete: false }
    }

    /// Takes the next piece. Returns how many have come.
    pub fn take(&mut self, piece: HalfPiece) -> Result<u32, StepError> {
        /// What a piece counts for beyond what it holds, so that empty ones come to an end too.
        const HEAD_BYTES: usize = 64;
        let HalfPiece { step, number, part } = piece;
        if step != self.step || number != self.taken || self.complete {
            return Err(disorder(format!("piece {number} of step {step} came out of turn")));
        }
        let bytes = length(&part).saturating_add(HEAD_BYTES);
        self.room.bytes = self.room.bytes.checked_sub(bytes).ok_or_else(too_much)?;
        match part {
            PieceContent::Lanes(lanes) => {
                self.room.lanes = self.room.lanes.checked_sub(lanes.len()).ok_or_else(too_much)?;
                self.half.lanes.extend(lanes);
            }
            PieceContent::Histograms(histograms) => {
                let left = self.room.histograms.checked_sub(histograms.len());
                self.room.histograms = left.ok_or_else(too_much)?;
                self.half.histograms.extend(histograms);
            }
            PieceContent::Slices(columns) => {
                self.room.slices = self.room.slices.checked_sub(columns.len()).ok_or_else(too_much)?;
                let intervals = columns.into_intervals();
                let uneven = || disorder("a piece of slices has columns of different lengths".into());
                self.half.intervals.extend(intervals.ok_or_else(uneven)?);
            }
            PieceContent::Rest(rest) => {
                if !(rest.lanes.is_empty() && rest.histograms.is_empty() && rest.intervals.is_empty()) {
                    return Err(disorder("the last piece holds what belongs into others".into()));
                }
                let gathered = std::mem::replace(&mut self.half, *rest);
                self.half.lanes = gathered.lanes;
                self.half.histograms = gathered.histograms;
                self.half.intervals = gathered.intervals;
                self.complete = true;
            }
        }
        self.taken += 1;
        Ok(self.taken)
    }

    /// The step whose half this is.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// The whole half, if the other end says that it was so many pieces.
    pub fn finish(self, count: u32) -> Result<Half, StepError> {
        if !self.complete || self.taken != count {
            let came = self.taken;
            return Err(disorder(format!("{count} pieces were announced and {came} came, or not the last")));
        }
        Ok(self.half)
    }
}

fn disorder(what: String) -> StepError {
    let message = format!("the peer's half of the result cannot be put together: {what}");
    StepError::new(ErrorKind::Protocol, message)
}

fn too_much() -> StepError {
    StepError::new(
        ErrorKind::Resource,
        "the peer's half of the result is larger than a step of this plan can make it, and was not kept; this \
                  says nothing about the path: use the same build at both ends"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{HalfDetail, NicEvidence};
    use proptest::prelude::*;

    fn lane(lane: u32) -> LaneResult {
        LaneResult { lane, end: End::Server, ..LaneResult::default() }
    }

    fn histogram(lane: u32, bytes: usize) -> HistogramRecord {
        HistogramRecord {
            name: pathproof_model::HistogramName::Service,
            flow: None,
            node: None,
            lane: Some(lane),
            unit: "ns".into(),
            count: 1,
            saturated: 0,
            hdr_v2_base64: "A".repeat(bytes),
        }
    }

    fn slice(lane: u32, n: u64) -> Interval {
        Interval {
            end: End::Server,
            lane: Some(lane),
            start_ns: n * 100_000_000,
            length_ns: 100_000_000,
            received_bytes: 117_000_000 + n,
            messages: 1785,
            retransmits: n.is_multiple_of(3).then_some(n),
            ..Interval::default()
        }
    }

    fn told(alone: &str) -> HalfDetail {
        let nics = NicEvidence { alone: Some(alone.into()), ..NicEvidence::default() };
        HalfDetail { nics: Some(nics), ..HalfDetail::default() }
    }

    fn half(lanes: u32, slices: u64, histogram_bytes: usize) -> Half {
        Half {
            lanes: (0..lanes).map(lane).collect(),
            histograms: (0..lanes).map(|l| histogram(l, histogram_bytes)).collect(),
            intervals: (0..lanes).flat_map(|l| (0..slices).map(move |n| slice(l, n))).collect(),
            worst_second_bytes: Some(7),
            detail: told("one way only"),
            ..Half::default()
        }
    }

    fn pieces(half: Half) -> Vec<HalfPiece> {
        let mut outgoing = Outgoing::new(3, half);
        let mut all = vec![];
        while outgoing.all_sent().is_none() {
            all.push(outgoing.next().expect("confirmed at once, so there is always room"));
            assert!(outgoing.confirm(all.len() as u32));
        }
        all
    }

    fn gather(pieces: Vec<HalfPiece>, room: HalfRoom) -> Result<Half, StepError> {
        let mut incoming = Incoming::new(3, room);
        let count = pieces.len() as u32;
        for piece in pieces {
            incoming.take(piece)?;
        }
        incoming.finish(count)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_half_survives_its_pieces(lanes in 0..8u32, slices in 0..700u64, bytes in 0..70_000usize) {
            let half = half(lanes, slices, bytes);
            let room = HalfRoom::for_counts(lanes as usize, lanes as usize * slices as usize);
            let pieces = pieces(half.clone());
            prop_assert!(pieces.iter().all(|p| length(p) <= PIECE_BYTES + bytes + 400), "pieces are small");
            prop_assert_eq!(gather(pieces, room), Ok(half));
        }

        /// Pieces in another order, twice or missing make an error in words and never another half.
        #[test]
        fn another_order_is_no_half(swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3u8), 0..4)) {
            let whole = half(5, 310, 30_000);
            let right = pieces(whole.clone());
            let mut wrong = right.clone();
            for (a, b, how) in swaps {
                if wrong.is_empty() {
                    break;
                }
                let (a, b) = (a.index(wrong.len()), b.index(wrong.len()));
                match how {
                    0 => wrong.swap(a, b),
                    1 => wrong.insert(a, wrong[b].clone()),
                    _ => drop(wrong.remove(a)),
                }
            }
            match gather(wrong.clone(), HalfRoom::for_counts(5, 1550)) {
                Ok(half) => prop_assert!(half == whole && wrong == right),
                Err(error) => prop_assert_eq!(error.kind, ErrorKind::Protocol),
            }
        }
    }

    #[test]
    fn more_than_the_plan_can_need_is_not_kept_and_is_nobodys_path() {
        let room = HalfRoom::for_counts(4, 400);
        for (lanes, slices, histogram_bytes) in [(5, 0, 0), (4, 101, 0), (4, 0, 2_000_000)] {
            let error = gather(pieces(half(lanes, slices, histogram_bytes)), room).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Resource, "{lanes} {slices} {histogram_bytes}: {error:?}");
        }
        assert!(gather(pieces(half(4, 100, 300_000)), room).is_ok());
        // Empty pieces without end come to one as well.
        let mut incoming = Incoming::new(3, room);
        let endless = (0..).map(|number| HalfPiece { step: 3, number, part: PieceContent::Lanes(vec![]) });
        let refused = endless.take(10_000_000).find_map(|piece| incoming.take(piece).err());
        assert_eq!(refused.unwrap().kind, ErrorKind::Resource);
    }

    #[test]
    fn columns_of_different_lengths_are_refused() {
        let mut columns = Columns::default();
        (0..3).for_each(|n| columns.push(slice(0, n)));
        columns.cpu_ns.pop();
        let piece = HalfPiece { step: 3, number: 0, part: PieceContent::Slices(Box::new(columns)) };
        assert_eq!(gather(vec![piece], HalfRoom::for_counts(1, 10)).unwrap_err().kind, ErrorKind::Protocol);
    }

    #[test]
    fn what_is_too_large_to_cross_is_an_error_of_ours_and_the_rest_crosses() {
        let mut half = half(2, 2, 10);
        half.histograms[0].hdr_v2_base64 = "A".repeat(3 << 20);
        let got = gather(pieces(half), HalfRoom::for_counts(2, 4)).unwrap();
        assert_eq!((got.lanes.len(), got.histograms.len(), got.intervals.len()), (2, 1, 4));
        assert_eq!(got.error.unwrap().kind, ErrorKind::Resource);
        let half = Half { detail: told(&"A".repeat(3 << 20)), ..Half::default() };
        let got = gather(pieces(half), HalfRoom::for_counts(0, 0)).unwrap();
        assert_eq!(got.error.unwrap().kind, ErrorKind::Resource);
    }

    #[test]
    fn room_follows_the_plan_of_this_end() {
        let mut spec =
            pathproof_model::TrafficSpec { lanes: 64, direction: Direction::Both, ..Default::default() };
        let room = HalfRoom::of(&StepSpec::Stream(spec.clone()));
        assert_eq!((room.lanes, room.slices), (136, 128 * slices_per_lane(128)));
        spec.lanes = u32::MAX;
        let _ = HalfRoom::of(&StepSpec::Stream(spec));
        assert_eq!(HalfRoom::of(&StepSpec::Facts).slices, 0);
    }
}
