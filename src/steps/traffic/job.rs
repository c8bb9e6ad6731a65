//! What is known of a lane of a traffic step before it connects: what it does at this end, and where its messages lie.

use std::sync::Arc;

use pathproof_api::{Region, RegionId, Tick};
use pathproof_engine::workload::Slots;
use pathproof_model::{LaneRole, OneFlow, TrafficKind, TrafficSpec};
use pathproof_sys::clock::RealClock;

use crate::registry::manners;
use crate::steps::cost::rounded_up;
use crate::steps::stage::Cue;

/// Room behind the messages for the control words of one-sided streams.
pub const CONTROL_ROOM: u64 = 128;

/// What a lane does at this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sends a stream.
    StreamSend,
    /// Receives a stream.
    StreamReceive,
    /// Asks in a ping-pong.
    PingPong,
    /// Answers in a ping-pong.
    Echo,
    /// Sends requests.
    Request,
    /// Replies.
    Reply,
}

impl Part {
    /// As it stands in results.
    pub fn role(self) -> LaneRole {
        match self {
            Part::StreamSend => LaneRole::Send,
            Part::StreamReceive => LaneRole::Receive,
            Part::PingPong | Part::Echo | Part::Request | Part::Reply => LaneRole::Both,
        }
    }

    /// Whether this end decides when the step ends.
    pub fn is_active(self) -> bool {
        matches!(self, Part::StreamSend | Part::PingPong | Part::Request)
    }
}

/// Where messages lie in the lane's region.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Size of the region in bytes.
    pub region_bytes: u64,
    stride: u64,
    slots: u64,
}

impl Layout {
    /// The layout of a step. Messages are laid out in turn only where the bytes of several must survive at
    /// once; otherwise one slot for each direction keeps the working set as small as the peers' tools do.
    pub fn of(kind: TrafficKind, spec: &TrafficSpec) -> Layout {
        let size = spec.size_bytes.max(spec.reply_bytes.unwrap_or(0));
        let stride = rounded_up(size, 64);
        let apart = spec.verify || spec.zero_copy || manners(&spec.over).places_of_their_own;
        let slots = match kind {
            TrafficKind::Stream | TrafficKind::Request if apart => u64::from(spec.depth),
            TrafficKind::Stream | TrafficKind::Request | TrafficKind::Pingpong => 1,
        };
        let region_bytes = stride.saturating_mul(slots).saturating_mul(2).saturating_add(CONTROL_ROOM);
        Layout { region_bytes, stride, slots }
    }

    /// Where outgoing messages lie.
    pub fn send(&self, region: RegionId) -> Slots {
        Slots { region, base: 0, stride: self.stride, slots: self.slots }
    }

    /// Where incoming messages lie.
    pub fn receive(&self, region: RegionId) -> Slots {
        Slots { region, base: self.stride * self.slots, stride: self.stride, slots: self.slots }
    }
}

/// Messages of a ping-pong that may be outstanding where their completions are told late: one for every quarter of them.
const LATE: u32 = 64;

/// Messages that a lane may have outstanding in each direction.
pub fn operations(kind: TrafficKind, spec: &TrafficSpec) -> u32 {
    match kind {
        TrafficKind::Stream => spec.depth,
        TrafficKind::Pingpong if manners(&spec.over).receives_ahead => LATE,
        TrafficKind::Pingpong => 4,
        TrafficKind::Request => spec.depth.saturating_mul(2).saturating_add(2),
    }
}

/// Everything about a lane that is known before it connects.
pub struct LaneJob {
    /// Index in the step.
    pub index: u32,
    /// Number of its flow in the step.
    pub flow: u16,
    /// That flow, as if it were the only one.
    pub of: Arc<OneFlow>,
    /// What it does at this end.
    pub part: Part,
    /// Its memory's layout.
    pub layout: Layout,
    /// Its memory.
    pub region: Arc<Region>,
    /// That memory's name on the lane.
    pub region_id: RegionId,
    /// What pages it has, where huge ones were asked for.
    pub memory: Option<String>,
}

impl LaneJob {
    /// When its lane begins in a step that began at `begin`, once that moment has come; `None` where the step ends before.
    pub fn begin(&self, begin: Tick, cue: &Cue, clock: &RealClock) -> Option<Tick> {
        let begin = begin.plus_ns(self.of.start_ns);
        (self.of.start_ns == 0 || cue.wait_until(begin, clock)).then_some(begin)
    }
}
