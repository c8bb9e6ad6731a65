//! Flows: what went from which node to which within a step, at the same time, and what became of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Direction, Expect, LaneResult, LaneRole, NodeId, OneFlow, RequestLoad, StepSpec, Summary, TrafficKind,
    TrafficSpec,
};

const SECOND_NS: u64 = 1_000_000_000;

/// One flow of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Flow {
    /// Its name in the step: `out`, `in`; of a flow beside those its own.
    pub name: String,
    /// Whether it ran beside those that the step is named after.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// Where payload, or the asking, comes from.
    pub from: NodeId,
    /// Where it goes.
    pub to: NodeId,
    /// Its transport.
    pub over: String,
    /// What it stands for on the network.
    pub class: Class,
    /// What its lanes do.
    pub pattern: Pattern,
    /// How many lanes it has.
    pub lanes: u32,
    /// The payload rate that it was to keep, in bit/s; absent for as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bits_per_s: Option<u64>,
    /// When it was to run.
    pub active: Span,
    /// What it was to reach, where the plan says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Its figures.
    pub summary: Summary,
}

/// What a flow stands for on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// Nothing in particular.
    #[default]
    Default,
    /// Pages and disks of a machine that moves.
    Migration,
    /// Asks at a low rate what the others do to the path.
    Probe,
    /// Small requests of volumes and storage pools, whose delay matters.
    Storage,
    /// What tells the hosts of a cluster that the others are there.
    Heartbeat,
    /// Bulk that can wait.
    Backup,
    /// A class that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

impl Class {
    /// As it stands in results.
    pub fn word(self) -> &'static str {
        match self {
            Class::Default => "default",
            Class::Migration => "migration",
            Class::Probe => "probe",
            Class::Storage => "storage",
            Class::Heartbeat => "heartbeat",
            Class::Backup => "backup",
            Class::Other => "other",
        }
    }
}

/// What the lanes of a flow do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pattern {
    /// Payload one way, as much as it takes or as its rate says.
    Stream {
        /// Size of a message, in bytes.
        message_bytes: u64,
    },
    /// One message at a time, back and forth.
    Pingpong {
        /// Size of a message, in bytes.
        message_bytes: u64,
    },
    /// Requests and replies.
    Request {
        /// Size of a request, in bytes.
        message_bytes: u64,
        /// Size of a reply, in bytes.
        reply_bytes: u64,
        /// Whether a request waits for a reply.
        load: RequestLoad,
        /// Requests per second over all lanes (open loop).
        requests_per_s: Option<u64>,
    },
    /// The memory and disks of guests.
    Guests,
    /// A pattern that a later build names and this one does not know.
    #[default]
    #[serde(other)]
    Other,
}

/// A stretch of the measured window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Span {
    /// Start, in ns since the start of the window.
    pub start_ns: u64,
    /// Length, in ns; `null` for as long as it takes.
    pub length_ns: Option<u64>,
}

impl Pattern {
    fn of(kind: TrafficKind, traffic: &TrafficSpec) -> Pattern {
        let message_bytes = traffic.size_bytes;
        match kind {
            TrafficKind::Stream => Pattern::Stream { message_bytes },
            TrafficKind::Pingpong => Pattern::Pingpong { message_bytes },
            TrafficKind::Request => Pattern::Request {
                message_bytes,
                reply_bytes: traffic.reply_bytes.unwrap_or(message_bytes),
                load: traffic.load,
                requests_per_s: traffic.requests_per_s,
            },
        }
    }
}

impl Flow {
    /// The flows of a step as planned, in the order of their numbers. What a step does with its control channel alone is no
    /// flow.
    pub fn of(spec: &StepSpec) -> Vec<Flow> {
        match spec {
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => vec![],
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => vec![],
            StepSpec::Networks(_) => vec![],
            StepSpec::Contend(contend) => contend.flows().iter().flat_map(Flow::of_one).collect(),
            StepSpec::Stream(traffic) => Flow::of_traffic(TrafficKind::Stream, traffic),
            StepSpec::Pingpong(traffic) => Flow::of_traffic(TrafficKind::Pingpong, traffic),
            StepSpec::Request(traffic) => Flow::of_traffic(TrafficKind::Request, traffic),
            StepSpec::Migrate(migrate) => vec![Flow {
                class: Class::Migration,
                pattern: Pattern::Guests,
                over: migrate.over.clone(),
                lanes: migrate.lanes,
                ..Flow::between(NodeId::CLIENT, NodeId::SERVER)
            }],
        }
    }

    fn of_traffic(kind: TrafficKind, traffic: &TrafficSpec) -> Vec<Flow> {
        traffic.flows(kind).iter().flat_map(Flow::of_one).collect()
    }

    /// The ways of a flow as specified: one, or both.
    fn of_one(one: &OneFlow) -> Vec<Flow> {
        let several = one.ways().len() > 1;
        let flow = |outward: &bool| {
            let flow = match outward {
                true => Flow::between(NodeId::CLIENT, NodeId::SERVER),
                false => Flow::between(NodeId::SERVER, NodeId::CLIENT),
            };
            let name = match (one.beside, several) {
                (false, _) => flow.name.clone(),
                (true, false) => one.name.clone(),
                (true, true) => format!("{} {}", one.name, flow.name),
            };
            Flow {
                name,
                beside: one.beside,
                class: one.class,
                over: one.traffic.over.clone(),
                pattern: Pattern::of(one.kind, &one.traffic),
                lanes: one.traffic.lanes,
                rate_bits_per_s: one.traffic.rate_bits_per_s,
                active: Span { start_ns: one.start_ns, length_ns: Some(one.traffic.time_ns) },
                expect: one.traffic.expect,
                ..flow
            }
        };
        one.ways().iter().map(flow).collect()
    }

    fn between(from: NodeId, to: NodeId) -> Flow {
        let direction = if from == NodeId::CLIENT { Direction::Out } else { Direction::In };
        Flow { name: direction.name().into(), from, to, ..Flow::default() }
    }

    /// Fills the summary from what the lanes of this flow counted at both ends; distributions are not theirs.
    pub fn count(&mut self, lanes: &[&LaneResult]) {
        let counting: Vec<&LaneResult> = lanes.iter().copied().filter(|lane| self.counts(lane)).collect();
        let known = |sum: u64| (!counting.is_empty()).then_some(sum);
        let summary = &mut self.summary;
        summary.bytes = known(counting.iter().map(|lane| lane.bytes).sum());
        summary.messages = known(counting.iter().map(|lane| lane.messages).sum());
        summary.window_ns = counting.iter().map(|lane| lane.window_ns).max();
        match self.pattern {
            Pattern::Stream { .. } => {
                summary.goodput_bits_per_s = goodput(&counting);
                let verified: Vec<bool> = lanes.iter().filter_map(|lane| lane.verified).collect();
                summary.verified = (!verified.is_empty()).then(|| verified.iter().all(|agreed| *agreed));
            }
            Pattern::Request { load, .. } => {
                summary.load = Some(if load == RequestLoad::Open { "open" } else { "closed" }.into());
            }
            Pattern::Pingpong { .. } | Pattern::Guests | Pattern::Other => {}
        }
        let cpu = |end: NodeId| -> Option<u64> {
            let own = || lanes.iter().filter(|lane| lane.end.node() == end);
            own().next()?;
            own().map(|lane| lane.cpu_ns).sum()
        };
        (summary.cpu_client_ns, summary.cpu_server_ns) = (cpu(NodeId::CLIENT), cpu(NodeId::SERVER));
        let again: Vec<u64> = lanes.iter().filter_map(|lane| lane.retransmits).collect();
        summary.retransmits = (!again.is_empty()).then(|| again.iter().sum());
    }

    /// Whether a lane's figures at this end are the flow's. Both ends have a lane of each index; of round trips, those who ask
    /// have the clock. Of a stream, it is those who received; by one-sided verbs those who wrote or read, because the other
    /// end takes no part.
    pub fn counts(&self, lane: &LaneResult) -> bool {
        match self.pattern {
            Pattern::Stream { .. } => {
                matches!(lane.role, LaneRole::Receive | LaneRole::Write | LaneRole::Read)
            }
            _ => lane.end.node() == self.from,
        }
    }
}

/// Sum of the lanes' own rates; `None` when no lane received over a window.
fn goodput(lanes: &[&LaneResult]) -> Option<u64> {
    let rates: Vec<u64> = lanes
        .iter()
        .filter(|lane| lane.window_ns > 0)
        .map(|lane| (u128::from(lane.bytes) * 8 * u128::from(SECOND_NS) / u128::from(lane.window_ns)) as u64)
        .collect();
    (!rates.is_empty()).then(|| rates.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    #[test]
    fn goodput_is_the_receivers_and_unknown_is_not_zero() {
        let lane = LaneResult { bytes: 1_250_000, window_ns: 10_000_000, ..LaneResult::default() };
        assert_eq!(goodput(&[&lane, &lane]), Some(2_000_000_000));
        assert_eq!(goodput(&[]), None);
    }

    #[test]
    fn a_round_trip_is_counted_by_who_asks_whichever_way_it_goes() {
        for direction in [Direction::Out, Direction::In, Direction::Both] {
            let lane = |end: End| LaneResult {
                end,
                role: LaneRole::Both,
                messages: 1000,
                bytes: 64_000,
                window_ns: SECOND_NS,
                ..LaneResult::default()
            };
            let spec = StepSpec::Pingpong(TrafficSpec { direction, ..TrafficSpec::default() });
            let mut flows = Flow::of(&spec);
            assert_eq!(flows.len(), if direction == Direction::Both { 2 } else { 1 });
            for flow in &mut flows {
                flow.count(&[&lane(End::Client), &lane(End::Server)]);
                let figures = (flow.summary.messages, flow.summary.bytes, flow.summary.goodput_bits_per_s);
                assert_eq!(figures, (Some(1000), Some(64_000), None), "{direction:?}");
            }
        }
    }
}
