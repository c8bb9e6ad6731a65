//! One path of a stripe: an inner lane, the headers on their way over it, and what it has to show for itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Completion, Gone, Lane, LaneSample, LaneStats, Op, Region, RegionId, Tick, TransportError, Wait,
};

use crate::frame::{HEAD_BYTES, Head};

/// Tags of inner operations; a path needs to know no more of them.
pub(crate) const TAG_READ: u64 = 0;
pub(crate) const TAG_HEAD: u64 = 1;
pub(crate) const TAG_MESSAGE: u64 = 2;

/// What the posted read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The next header.
    Head,
    /// The message behind a header.
    Message {
        /// Its number; `None` for one that is thrown away.
        sequence: Option<u64>,
        /// Where to.
        region: RegionId,
        offset: u64,
        len: u32,
    },
}

/// The inner lane's names of the regions.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub(crate) control: RegionId,
    pub(crate) staging: RegionId,
    pub(crate) user: Vec<RegionId>,
}

/// Headers that may be on their way over one path.
pub(crate) fn heads(window: u32) -> u32 {
    2 * window + 16
}

/// Bytes of a path's control region: one header to read into, then those to send.
pub(crate) fn control_bytes(window: u32) -> u64 {
    u64::from(HEAD_BYTES) * u64::from(heads(window) + 1)
}

pub(crate) struct Path {
    pub(crate) lane: Option<Box<dyn Lane>>,
    pub(crate) name: String,
    ids: Ids,
    control: Arc<Region>,
    heads: u32,
    head_next: u32,
    heads_busy: u32,
    backlog: VecDeque<Op>,
    pub(crate) reading: Reading,
    read_posted: bool,
    /// How often it was connected before.
    pub(crate) generation: u32,
    /// Messages sent that the peer has not confirmed.
    pub(crate) outstanding: u32,
    pub(crate) outstanding_bytes: u64,
    confirmed_bytes: u64,
    progress: u64,
    progress_at: Tick,
    rate: Rate,
    pub(crate) tally: Tally,
}

/// What is told of a path in the end, over all its generations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) deaths: u64,
    pub(crate) reason: Option<String>,
    /// How the peer was gone there the last time, where that is known.
    pub(crate) how: Option<Gone>,
    /// From the last sign of life to the decision that it is dead, longest.
    pub(crate) noticed_after_ns: u64,
    pub(crate) lost_at: Option<Tick>,
    pub(crate) carried_again_at: Option<Tick>,
    retransmits: u64,
    pub(crate) last: LaneStats,
}

/// The rate a path has shown while it had something to do, in bytes per second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    bytes_per_s: f64,
    confirmed_bytes: u64,
    since: Tick,
    was_idle: bool,
}

impl Path {
    pub(crate) fn new(name: String, control: Arc<Region>, window: u32, now: Tick) -> Path {
        Path {
            lane: None,
            name,
            ids: Ids { control: RegionId(0), staging: RegionId(0), user: vec![] },
            control,
            heads: heads(window),
            head_next: 0,
            heads_busy: 0,
            backlog: VecDeque::with_capacity(4),
            reading: Reading::Head,
            read_posted: false,
            generation: 0,
            outstanding: 0,
            outstanding_bytes: 0,
            confirmed_bytes: 0,
            progress: 0,
            progress_at: now,
            rate: Rate { bytes_per_s: 1e9, confirmed_bytes: 0, since: now, was_idle: true },
            tally: Tally::default(),
        }
    }

    /// Gives the path a connected lane, the first one or one that replaces a dead one.
    pub(crate) fn revive(&mut self, lane: Box<dyn Lane>, ids: Ids, now: Tick) {
        self.lane = Some(lane);
        self.ids = ids;
        (self.head_next, self.heads_busy) = (0, 0);
        self.backlog.clear();
        (self.reading, self.read_posted) = (Reading::Head, false);
        (self.outstanding, self.outstanding_bytes) = (0, 0);
        self.progress_at = now;
        self.rate.was_idle = true;
    }

    /// Takes the lane away. Nothing of it touches memory afterwards.
    pub(crate) fn bury(&mut self, reason: String, how: Option<Gone>, now: Tick) {
        if let Some(mut lane) = self.lane.take() {
            let mut last = LaneSample::default();
            lane.sample(&mut last);
            self.tally.retransmits += last.retransmits.unwrap_or(0);
        }
        let silent = if self.outstanding > 0 { now.ns_since(self.progress_at) } else { 0 };
        self.tally.noticed_after_ns = self.tally.noticed_after_ns.max(silent);
        self.tally.deaths += 1;
        self.tally.reason = Some(reason);
        self.tally.how = how;
        self.tally.lost_at = Some(now);
        self.tally.carried_again_at = None;
        (self.outstanding, self.outstanding_bytes) = (0, 0);
    }

    pub(crate) fn is_live(&self) -> bool {
        self.lane.is_some()
    }

    /// Whether one more message may be given to it.
    pub(crate) fn has_room(&self) -> bool {
        self.is_live() && self.backlog.is_empty() && self.heads_busy < self.heads
    }

    /// Sends a header, and the bytes of a message behind it.
    pub(crate) fn send(&mut self, head: &Head, message: Option<Op>) -> Result<(), TransportError> {
        let Some(lane) = &mut self.lane else { return Ok(()) };
        let offset = u64::from(HEAD_BYTES) * u64::from(1 + self.head_next);
        let broken = |e: pathproof_api::RegionError| TransportError::invalid(e.to_string());
        self.control.copy_in(offset, &head.encode()).map_err(broken)?;
        self.head_next = (self.head_next + 1) % self.heads;
        self.heads_busy += 1;
        let first = Op::send(TAG_HEAD, self.ids.control, offset, HEAD_BYTES);
        let second = match message {
            Some(op) => {
                let region = self.ids.user.get(usize::from(op.region.0)).copied();
                let region = region.ok_or_else(|| {
                    TransportError::invalid("an operation names a region that is not attached")
                })?;
                Some(Op::send(TAG_MESSAGE, region, op.offset, op.len))
            }
            None => None,
        };
        let both = [first, second.unwrap_or(first)];
        let ops = &both[..if second.is_some() { 2 } else { 1 }];
        let accepted = if self.backlog.is_empty() { lane.submit(ops)? } else { 0 };
        self.backlog.extend(&ops[accepted..]);
        if let Some(op) = second {
            self.tally.sent_bytes += u64::from(op.len);
        }
        Ok(())
    }

    /// A message of `len` bytes is on its way.
    pub(crate) fn charge(&mut self, len: u32, now: Tick) {
        if self.outstanding == 0 {
            self.progress_at = now;
        }
        self.outstanding += 1;
        self.outstanding_bytes += u64::from(len);
    }

    /// The peer has confirmed a message of `len` bytes.
    pub(crate) fn confirmed(&mut self, len: u32, now: Tick) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.outstanding_bytes = self.outstanding_bytes.saturating_sub(u64::from(len));
        self.confirmed_bytes += u64::from(len);
        self.progress_at = now;
        if self.outstanding == 0 {
            self.rate.was_idle = true;
        }
        if self.tally.lost_at.is_some() && self.tally.carried_again_at.is_none() && self.is_live() {
            self.tally.carried_again_at = Some(now);
        }
    }

    /// Submits what the lane pushed back, and keeps one read posted.
    pub(crate) fn keep_going(&mut self) -> Result<(), TransportError> {
        let Some(lane) = &mut self.lane else { return Ok(()) };
        while let Some(op) = self.backlog.front() {
            if lane.submit(std::slice::from_ref(op))? == 0 {
                break;
            }
            self.backlog.pop_front();
        }
        if !self.read_posted {
            let op = match self.reading {
                Reading::Head => Op::recv(TAG_READ, self.ids.control, 0, HEAD_BYTES),
                Reading::Message { region, offset, len, .. } => Op::recv(TAG_READ, region, offset, len),
            };
            self.read_posted = lane.submit(&[op])? == 1;
        }
        Ok(())
    }

    /// Polls the inner lane.
    pub(crate) fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        match &mut self.lane {
            Some(lane) => lane.poll(out, wait),
            None => Ok(0),
        }
    }

    /// A header has left.
    pub(crate) fn head_sent(&mut self) {
        self.heads_busy = self.heads_busy.saturating_sub(1);
    }

    /// The posted read has ended; returns the header where it was one.
    pub(crate) fn read_done(&mut self, len: u32) -> Result<Option<Head>, TransportError> {
        self.read_posted = false;
        if self.reading != Reading::Head {
            self.tally.received_bytes += u64::from(len);
            return Ok(None);
        }
        let mut bytes = [0; HEAD_BYTES as usize];
        let read = self.control.copy_out(0, &mut bytes).is_ok();
        let head = if read && len == HEAD_BYTES { Head::decode(&bytes) } else { None };
        head.map(Some).ok_or_else(|| TransportError::Protocol {
            operation: format!("reading from path {}", self.name),
            detail: "what came is no header of a stripe".into(),
        })
    }

    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Looks for progress below the level of messages. Returns how long there was none, while something is
    /// outstanding.
    pub(crate) fn silence(&mut self, now: Tick) -> Duration {
        let Some(lane) = &mut self.lane else { return Duration::ZERO };
        if self.outstanding == 0 {
            self.progress_at = now;
            return Duration::ZERO;
        }
        let mut sample = LaneSample::default();
        lane.sample(&mut sample);
        // Where the kernel tells what the peer's kernel has, a message that takes seconds still shows progress.
        let progress = match sample.unacknowledged_bytes {
            Some(bytes) => sample.bytes_sent.saturating_sub(bytes),
            None => self.confirmed_bytes,
        };
        if progress != self.progress {
            self.progress = progress;
            self.progress_at = now;
        }
        now.since(self.progress_at)
    }

    /// Learns the rate from a span in which there was always something to do.
    pub(crate) fn learn(&mut self, now: Tick) {
        let elapsed_ns = now.ns_since(self.rate.since);
        let bytes = self.confirmed_bytes - self.rate.confirmed_bytes;
        let was_idle = std::mem::replace(&mut self.rate.was_idle, self.outstanding == 0);
        (self.rate.since, self.rate.confirmed_bytes) = (now, self.confirmed_bytes);
        if was_idle || bytes == 0 || elapsed_ns == 0 {
            return;
        }
        let shown = bytes as f64 * 1e9 / elapsed_ns as f64;
        self.rate.bytes_per_s = 0.5 * self.rate.bytes_per_s + 0.5 * shown;
    }

    /// When it would be done with one more message of `len` bytes, in seconds from now.
    pub(crate) fn done_in(&self, len: u32) -> f64 {
        (self.outstanding_bytes + u64::from(len)) as f64 / self.rate.bytes_per_s.max(1.0)
    }

    /// Adds this path to a sample of the whole stripe.
    pub(crate) fn add_to(&mut self, total: &mut LaneSample) {
        let mut own = LaneSample::default();
        if let Some(lane) = &mut self.lane {
            lane.sample(&mut own);
        }
        total.bytes_sent += self.tally.sent_bytes;
        total.bytes_received += self.tally.received_bytes;
        if own.retransmits.is_some() || self.tally.retransmits > 0 {
            let own = own.retransmits.unwrap_or(0) + self.tally.retransmits;
            total.retransmits = Some(total.retransmits.unwrap_or(0) + own);
        }
        // Of figures that do not add up the worst path's is told.
        total.rtt_ns = total.rtt_ns.max(own.rtt_ns);
        total.rtt_variation_ns = total.rtt_variation_ns.max(own.rtt_variation_ns);
        let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        total.send_segment_bytes = least(total.send_segment_bytes, own.send_segment_bytes);
        total.path_ip_mtu_bytes = least(total.path_ip_mtu_bytes, own.path_ip_mtu_bytes);
    }

    /// Closes the inner lane: in order, or at once where it is `stuck`.
    pub(crate) fn close(&mut self, stuck: bool) {
        if let Some(lane) = self.lane.take()
            && let Ok(stats) = if stuck { lane.abandon() } else { lane.close() }
        {
            self.tally.last = stats;
        }
    }
}
