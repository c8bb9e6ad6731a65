//! The result document: everything that one run measured, unrounded, with units in the names.
//!
//! `None` is unknown and is written as `null`; a field is never zero because nobody looked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AloneSum, Channels, Criteria, Direction, End, Environment, Evidence, Failover, Finding, Flow, HalfDetail,
    HistogramRecord, Interval, LaneRole, Limits, MigrateDetail, MtuPath, NicShare, Node, NodeId, NodeSpec,
    Plan, RunOutcome, Series, Silence, SmbServer, StepKind, StepSpec, Verdict, Waited,
};

pub use crate::step_error::{ErrorCause, ErrorKind, StepError};

/// Name of the schema that documents of this version carry.
pub const SCHEMA: &str = "pathproof-result/2";

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultDoc {
    /// `pathproof-result/2`.
    pub schema: String,
    /// What wrote the document.
    pub tool: Tool,
    /// Wall-clock label of the start (RFC 3339, UTC). A label only: every duration comes from a monotonic clock.
    pub started_at: String,
    /// Wall-clock label of the end; `null` in a document that is not finished: the run goes on, or was cut short.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// What the run comes to. The last line of the report and the exit code say the same.
    #[serde(default)]
    pub outcome: RunOutcome,
    /// The exit code that goes with it: 0 fit, 1 not fit, 2 could not run, 3 cannot tell, 130 or 143 interrupted; `null` before the end.
    #[serde(default)]
    pub exit_code: Option<u8>,
    /// The machines that took part; the first is where the command ran.
    pub nodes: Vec<Node>,
    /// The plan as asked.
    pub requested: Option<Plan>,
    /// The plan as granted, where that is not what was asked; `null` where it is the same, or nothing was granted.
    pub granted: Option<Plan>,
    /// The peer's limits.
    pub limits: Option<Limits>,
    /// The time that the whole run was to keep, from the start of the program to its end, in ns; `null` where there
    /// was no such promise.
    #[serde(default)]
    pub budget_ns: Option<u64>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What was noticed.
    pub findings: Vec<Finding>,
    /// What was judged.
    pub verdicts: Vec<Verdict>,
    /// The limits that the verdicts are judged by, from the beginning of a run on; `null` where nothing was to be judged.
    #[serde(default)]
    pub criteria: Option<Criteria>,
    /// Why the run ended early, if it did.
    pub error: Option<StepError>,
    /// What an SMB server says about itself (`pathproof smb`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smb: Option<SmbServer>,
    /// The NIC pairs that SMB Multichannel would use (`pathproof channels`, `check`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// The networks that both hosts share, as a cluster would use them (`pathproof networks`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<crate::Network>>,
    /// The packet rates at which loss begins, way by way (`pathproof bench packets`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packet_rates: Vec<crate::PacketRate>,
    /// The receive buffers with which a packet rate holds, way by way (`pathproof bench packets --buffer-for`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packet_buffers: Vec<crate::PacketBuffer>,
    /// Offloads that were turned off one at a time, and what arrived meanwhile (`pathproof offloads`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offloads: Vec<crate::OffloadTried>,
    /// What both hosts are set to differently, what matters most first; absent where the facts of one are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<crate::HostDifference>>,
    /// What each layer between the wire and a file on a share carries (`pathproof check //SERVER/SHARE`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<crate::Rung>,
    /// What a soak saw (`pathproof watch`), whose steps do not stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<crate::soak::Soak>,
    /// What the hosts were to look like (`--expect-state`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_state: Option<crate::ExpectedState>,
}

impl ResultDoc {
    /// A document of a run that has measured nothing yet.
    pub fn new(tool: Tool, started_at: impl Into<String>) -> ResultDoc {
        ResultDoc {
            schema: SCHEMA.into(),
            tool,
            started_at: started_at.into(),
            ended_at: None,
            outcome: RunOutcome::None,
            exit_code: None,
            nodes: vec![Node::here(None)],
            requested: None,
            granted: None,
            limits: None,
            budget_ns: None,
            steps: Vec::new(),
            findings: Vec::new(),
            verdicts: Vec::new(),
            criteria: None,
            error: None,
            smb: None,
            channels: None,
            networks: None,
            packet_rates: Vec::new(),
            packet_buffers: Vec::new(),
            offloads: Vec::new(),
            differences: None,
            ladder: Vec::new(),
            soak: None,
            expected_state: None,
        }
    }

    /// A node of the run.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// What ran: the plan as granted, or as asked where nobody granted less.
    pub fn plan(&self) -> Option<&Plan> {
        self.granted.as_ref().or(self.requested.as_ref())
    }

    /// The facts of a node's host, where they are known.
    pub fn environment(&self, id: NodeId) -> Option<&Environment> {
        let node = self.node(id)?;
        let host = if node.spec == NodeSpec::Own { self.node(NodeId::CLIENT)? } else { node };
        // Documents of version 1 have the facts of this machine at both of its ends.
        node.environment.as_ref().or(host.environment.as_ref())
    }

    /// Keeps the facts of a node's host. Those of this machine stand where the command ran, once.
    pub fn learn(&mut self, id: NodeId, environment: Environment) {
        let node = self.nodes.iter_mut().find(|node| node.id == id && node.spec != NodeSpec::Own);
        if let Some(node) = node {
            node.environment = Some(environment);
        }
    }

    /// Whether both ends ran on this machine, in one process.
    pub fn is_against_itself(&self) -> bool {
        self.nodes.iter().any(|node| node.spec == NodeSpec::Own)
    }

    /// Puts in what the document comes to. Nothing else in it may change afterwards.
    pub fn conclude(&mut self) {
        let conclusion = crate::judge::conclusion(self);
        (self.outcome, self.exit_code) = (conclusion.outcome, Some(conclusion.exit_code));
    }

    /// Finishes the document of a run that is over.
    pub fn finish(&mut self, ended_at: impl Into<String>) {
        self.ended_at = Some(ended_at.into());
        self.conclude();
    }
}

impl Step {
    /// A step that has measured nothing yet.
    pub fn new(kind: StepKind, name: impl Into<String>) -> Step {
        Step {
            kind,
            name: name.into(),
            over: None,
            direction: None,
            spec: None,
            started_ns: 0,
            elapsed_ns: 0,
            summary: Summary::default(),
            lanes: Vec::new(),
            histograms: Vec::new(),
            flows: Vec::new(),
            series: Vec::new(),
            counters: BTreeMap::new(),
            chosen: BTreeMap::new(),
            error: None,
            follows_up: None,
            evidence: Vec::new(),
            detail: Detail::default(),
        }
    }

    /// What a node counted meanwhile, where it said.
    pub fn evidence(&self, node: NodeId) -> Option<&Evidence> {
        let of = |node: NodeId| self.evidence.iter().find(|evidence| evidence.node == node);
        let own = of(node)?;
        own.same_as.map_or(Some(own), of)
    }
}

impl Step {
    /// The figures of each flow that the step is named after, with its name where there are two; of a step without flows its own.
    pub fn parts(&self) -> Vec<(Option<&str>, &Summary)> {
        let own: Vec<&Flow> = self.flows.iter().filter(|flow| !flow.beside).collect();
        match &own[..] {
            [] | [_] => vec![(None, &self.summary)],
            flows => flows.iter().map(|flow| (Some(flow.name.as_str()), &flow.summary)).collect(),
        }
    }

    /// Whether a flow is one of those that the step is named after; so are all of a step that does not tell flows.
    fn is_own(&self, flow: u16) -> bool {
        self.flows.get(usize::from(flow)).is_none_or(|flow| !flow.beside)
    }

    /// The lanes of those flows.
    pub fn own_lanes(&self) -> impl Iterator<Item = &LaneResult> {
        self.lanes.iter().filter(|lane| self.is_own(lane.flow))
    }

    /// The series of those flows.
    pub fn own_series(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| self.is_own(series.flow))
    }

    /// The flows that ran beside those.
    pub fn beside(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(|flow| flow.beside)
    }

    /// A figure summed over the flows that know it.
    pub fn total(&self, figure: fn(&Summary) -> Option<u64>) -> Option<u64> {
        let known: Vec<u64> = self.parts().into_iter().filter_map(|(_, part)| figure(part)).collect();
        (!known.is_empty()).then(|| known.into_iter().fold(0, u64::saturating_add))
    }

    /// Whether received bytes were compared with what was sent, and agreed in every flow.
    pub fn verified(&self) -> Option<bool> {
        let known: Vec<bool> = self.parts().into_iter().filter_map(|(_, part)| part.verified).collect();
        (!known.is_empty()).then(|| known.into_iter().all(|agreed| agreed))
    }

    /// Puts in its flows; the figures of the first are those of the step.
    pub fn with_flows(&mut self, flows: Vec<Flow>) {
        self.summary = flows.first().map_or_else(Summary::default, |first| first.summary.clone());
        self.flows = flows;
    }
}

/// What wrote a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `pathproof`.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Commit it was built from, where known.
    pub commit: Option<String>,
    /// Transports and options built in.
    pub features: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Kind.
    pub kind: StepKind,
    /// Short name for people: `tcp stream out, 1 lane`.
    pub name: String,
    /// Transport, where one was used.
    pub over: Option<String>,
    /// Direction, where one applies.
    pub direction: Option<Direction>,
    /// The step as granted.
    pub spec: Option<StepSpec>,
    /// Start, in ns since the start of the run.
    pub started_ns: u64,
    /// Whole length of the step including preparation, in ns.
    pub elapsed_ns: u64,
    /// The figures that people ask for first: those of the first flow, where it has flows.
    #[serde(default)]
    pub summary: Summary,
    /// What went from which node to which, at the same time; empty for steps whose traffic is the control channel's or probes.
    #[serde(default)]
    pub flows: Vec<Flow>,
    /// One entry for each lane and end. What a document says of their connections stands beside them, in columns.
    #[serde(flatten, with = "crate::connections")]
    #[schemars(with = "crate::connections::Lanes")]
    pub lanes: Vec<LaneResult>,
    /// Distributions: of each flow, over its lanes.
    #[serde(default)]
    pub histograms: Vec<HistogramRecord>,
    /// The measured window in slices, for each flow and end.
    #[serde(default)]
    pub series: Vec<Series>,
    /// Counters by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Choices made and modes in force, by name, each with its reason.
    #[serde(default)]
    pub chosen: BTreeMap<String, String>,
    /// What stopped the step, if something did. What was measured before stays in place.
    pub error: Option<StepError>,
    /// What the step was made for, where no plan asked for it. Its figures explain another step and are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows_up: Option<FollowUp>,
    /// What each host counted meanwhile, and how busy it was; no entry for one that did not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Fields of particular kinds of step (`paths` of `mtu`, `rounds` of `migrate`, `proof` of RDMA …), beside
    /// the others in JSON.
    #[serde(flatten)]
    pub detail: Detail,
}

/// What a step that no plan asked for was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FollowUp {
    /// To see what one NIC of a striped step carries alone.
    Alone,
    /// To see why a step before it failed, or what two of them mean that disagree.
    Cause,
    /// To know what the path carries, for a step after it.
    Yardstick,
    /// To see what the loss of a network costs.
    Loss,
    /// To see how a migration goes on over the next network while the one that it uses is lost.
    Migration,
    /// To find a rate, or an offload.
    Search,
    /// To see what a port that a role needs carries.
    Port,
}

/// Fields that only some kinds of step have; absent from the document where they do not apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// Migration rehearsals.
    #[serde(flatten)]
    pub migrate: Option<MigrateDetail>,
    /// Classes that shared the path, phase by phase (`contend`).
    #[serde(flatten)]
    pub contend: Option<crate::ContendDetail>,
    /// What an end did to an offload of its own (`offloads`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<crate::OffloadEnd>,
    /// Path MTU of every NIC pair, family and direction (`mtu`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<MtuPath>>,
    /// Who answered on each of the client's wires (`facts`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wires: Option<crate::Wires>,
    /// What became of paced datagrams on every NIC pair and direction (`loss`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Vec<crate::LossPath>>,
    /// What the kernel gave the receiving socket that asked for a buffer (`loss`), by its own count: twice what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_buffer_bytes: Option<u64>,
    /// The ports of the real job, port by port and way by way (`ports`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<crate::PortRecord>>,
    /// The ports on every network that was asked (`ports`), until a step `networks` puts them beside the networks of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_ports: Option<Vec<crate::NetworkPorts>>,
    /// Connections that were opened at once, way by way (`ports`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at_once: Option<Vec<crate::OpenedRecord>>,
    /// Connections that were left silent and then used, way by way (`ports`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_silent: Option<Vec<crate::SilentRecord>>,
    /// Datagrams at a pace to ports of UDP, port by port and way by way, where a role needs one of them (`ports`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_datagrams: Option<Vec<crate::DatagramsRecord>>,
    /// Proof that the payload went over RDMA (traffic over `rdma`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<crate::RdmaProof>,
    /// What each NIC carried, in steps over several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<NicShare>>,
    /// What its NICs carry one by one, against what they carried together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<AloneSum>,
    /// What happened when a path died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// What moved to and from a share (`file`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<crate::FileDetail>,
}

/// The figures that people ask for first; `None` where the step does not have them. Most are left out then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Summary {
    /// The receiver's payload rate over the measured window, in bit/s.
    pub goodput_bits_per_s: Option<u64>,
    /// Lowest goodput of any second within the window, beginning at any tenth of a second, in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput_worst_second_bits_per_s: Option<u64>,
    /// Payload bytes that the receivers counted in the window.
    pub bytes: Option<u64>,
    /// Length of the measured window, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ns: Option<u64>,
    /// Messages (or round trips) completed in the window.
    pub messages: Option<u64>,
    /// Requests a second, reads and writes together (`file`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops: Option<u64>,
    /// Round trip distribution: ping-pong, requests (service time), reachability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<LatencySummary>,
    /// Service time: from the actual send to the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_ns: Option<LatencySummary>,
    /// Response time: from the *intended* send to the reply (open loop only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_ns: Option<LatencySummary>,
    /// `open` or `closed`, for requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// TCP segments sent again in the window, both ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    /// CPU time of the client's lane threads in the window, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_client_ns: Option<u64>,
    /// CPU time of the server's lane threads in the window, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_server_ns: Option<u64>,
    /// Whether received bytes were compared with what was sent, and agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// A distribution in a few numbers. The whole one is in `histograms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySummary {
    /// Samples.
    pub count: u64,
    /// Smallest, in ns.
    pub min: u64,
    /// Median, in ns.
    pub p50: u64,
    /// 90th percentile, in ns.
    pub p90: u64,
    /// 95th percentile, in ns; `null` in documents older than the field.
    #[serde(default)]
    pub p95: Option<u64>,
    /// 99th percentile, in ns.
    pub p99: u64,
    /// 99.9th percentile, in ns.
    pub p999: u64,
    /// Largest, in ns.
    pub max: u64,
    /// Samples beyond the histogram's range, counted at its end.
    pub saturated: u64,
}

/// One lane as one end saw it. What is unknown, or empty, is left out: a run has dozens of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LaneResult {
    /// Index of the lane in its step.
    pub lane: u32,
    /// Which end.
    pub end: End,
    /// Number of its flow in the step.
    pub flow: u16,
    /// What this end of it did.
    pub role: LaneRole,
    /// What a channel of a session with an SMB server goes over: `tcp` or `smbd`; `null` for other lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<crate::FileOver>,
    /// Local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Remote address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// NICs of this end that the lane was to use, where it was bound to them; several for a stripe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<String>,
    /// CPU the thread was pinned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Payload bytes in the window.
    pub bytes: u64,
    /// Messages in the window.
    pub messages: u64,
    /// Length of this lane's window, in ns.
    pub window_ns: u64,
    /// CPU time of the thread in the window, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// What the thread waited for a processor; `null` where the kernel does not count it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Waited>,
    /// Send mode in force: `copy`, `zero-copy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_mode: Option<String>,
    /// Receive mode in force: `copy`, `discard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_mode: Option<String>,
    /// How the thread waited: `block`, `spin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_mode: Option<String>,
    /// Segments sent again in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    /// Segment size used for sending at the end, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_segment_bytes: Option<u64>,
    /// Path MTU that the kernel assumed at the end, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_ip_mtu_bytes: Option<u64>,
    /// The kernel's smoothed round trip at the end, in ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// What the kernel knew of its connection in the end, where it is one of TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<crate::Connection>,
    /// Choices the lane made, with reasons; absent where they are those of the first lane of its end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<String, String>,
    /// Which adapter it went by, where it went by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<crate::AdapterRecord>,
    /// What became of its paths, where it had several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe: Option<crate::StripeRecord>,
    /// Further counters, for people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// The longest time within the window in which nothing came in, in ns to a tenth of a second; `None` for a lane that
    /// does not receive a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_silence_ns: Option<u64>,
    /// When that began, in ns since the start of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_silence_from_ns: Option<u64>,
    /// The times of a second or more in which nothing came in, those that other lanes do not explain first, then the longest;
    /// `null` where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silences: Option<Vec<Silence>>,
    /// Its service times, where this end took them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_ns: Option<LatencySummary>,
    /// Its response times, where this end took them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_ns: Option<LatencySummary>,
    /// Whether received bytes were verified, and agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// What stopped the lane, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

impl LaneResult {
    /// What the kernel knew of its connections: one, or one for each path of a stripe.
    pub fn connections(&self) -> impl Iterator<Item = &crate::Connection> {
        let paths = self.stripe.iter().flat_map(|stripe| &stripe.paths);
        self.connection.iter().chain(paths.filter_map(|path| path.connection.as_ref()))
    }
}

/// What each end reports of a step: its own lanes, distributions and intervals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Half {
    /// This end's lanes.
    pub lanes: Vec<LaneResult>,
    /// This end's distributions (per lane).
    pub histograms: Vec<HistogramRecord>,
    /// This end's intervals.
    pub intervals: Vec<Interval>,
    /// Fewest bytes that came in at this end in any second of the window, over all its lanes that count; `None` where none
    /// do, or for less than a second.
    pub worst_second_bytes: Option<u64>,
    /// This end's counters.
    pub counters: BTreeMap<String, u64>,
    /// Choices with reasons.
    pub chosen: BTreeMap<String, String>,
    /// Findings made at this end.
    pub findings: Vec<Finding>,
    /// What stopped this end.
    pub error: Option<StepError>,
    /// What this host counted meanwhile, and how busy it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the kind of step and its transport have beyond that.
    pub detail: HalfDetail,
}
