//! What a run is to do: a list of step specifications with every default made explicit.
//!
//! A plan crosses the control channel as JSON and can be read from a TOML file; unknown keys are errors in
//! both, because a mistyped key that is ignored is a measurement of something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::flow_spec::FlowSpec;
use crate::loss::LossSpec;
use crate::migrate::MigrateSpec;
use crate::node::{NodeId, NodeSpec};
pub use crate::over::DEFAULT_OVER;
use crate::ports::{Port, PortsSpec, Role};
use crate::{
    ChannelsSpec, CommandName, ContendSpec, Expect, FileSpec, NetworksSpec, OffloadTrial, SmbSpec, StepKind,
    TrafficKind, Verb,
};

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the user asked for, as a word: `check`, `bench`, `mtu`, `migrate`.
    #[serde(default)]
    pub command: CommandName,
    /// Seed of everything random in the run.
    #[serde(default)]
    pub seed: u64,
    /// The machines that take part; the first is where the command runs.
    #[serde(default)]
    pub nodes: Vec<NodeSpec>,
    /// The steps in order.
    pub steps: Vec<StepSpec>,
}

impl Plan {
    /// Whether something in a plan has this name.
    pub fn has_key(name: &str) -> bool {
        // Made from the types by a test: what makes a schema is not part of the program.
        static NAMES: LazyLock<BTreeSet<&str>> =
            LazyLock::new(|| include_str!("plan/keys.txt").lines().collect());
        NAMES.contains(name)
    }

    /// A node of the plan.
    pub fn node(&self, id: NodeId) -> Option<&NodeSpec> {
        self.nodes.get(usize::from(id.0))
    }

    /// Whether an agent has a part in a step; all others are made from here alone.
    pub fn is_shared(&self, step: &StepSpec) -> bool {
        !step.kind().traits().alone && self.node(step.node()).is_none_or(NodeSpec::is_agent)
    }

    /// The steps in which an agent has a part.
    pub fn shared(&self) -> impl Iterator<Item = &StepSpec> {
        self.steps.iter().filter(|step| self.is_shared(step))
    }
}

/// One step. The tag `kind` is what `.steps[].kind` in the result shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "a plan has a few dozen steps, and each is read all the time")]
pub enum StepSpec {
    /// Collect the facts of both hosts.
    Facts,
    /// Reachability and round trip over the control channel's path.
    Reach(ReachSpec),
    /// The exact path MTU of every NIC pair.
    Mtu(MtuSpec),
    /// What becomes of paced datagrams on every NIC pair.
    Loss(LossSpec),
    /// The ports of the real job, both ways.
    Ports(PortsSpec),
    /// Bulk throughput.
    Stream(TrafficSpec),
    /// One message at a time, back and forth.
    Pingpong(TrafficSpec),
    /// Requests and replies at a rate (open loop) or as fast as replies come (closed loop).
    Request(TrafficSpec),
    /// A live migration rehearsed.
    Migrate(MigrateSpec),
    /// An SMB server asked about itself.
    Smb(SmbSpec),
    /// The NIC pairs that SMB Multichannel would use.
    Channels(ChannelsSpec),
    /// File data moved to and from a share of an SMB server.
    File(FileSpec),
    /// The networks that the hosts share, as a cluster would use them.
    Networks(NetworksSpec),
    /// Classes of traffic that share a path.
    Contend(ContendSpec),
}

impl TrafficKind {
    /// A step of this kind.
    pub fn step(self, spec: TrafficSpec) -> StepSpec {
        match self {
            TrafficKind::Stream => StepSpec::Stream(spec),
            TrafficKind::Pingpong => StepSpec::Pingpong(spec),
            TrafficKind::Request => StepSpec::Request(spec),
        }
    }
}

impl Plan {
    /// Whether somebody said that the path is for this.
    pub fn is_for(&self, role: Role) -> bool {
        self.steps.iter().filter_map(StepSpec::ports).any(|ports| ports.roles.contains(&role))
    }
}

impl StepSpec {
    /// The kind of this step.
    pub fn kind(&self) -> StepKind {
        match self {
            StepSpec::Facts => StepKind::Facts,
            StepSpec::Reach(_) => StepKind::Reach,
            StepSpec::Mtu(_) => StepKind::Mtu,
            StepSpec::Loss(_) => StepKind::Loss,
            StepSpec::Ports(_) => StepKind::Ports,
            StepSpec::Stream(_) => StepKind::Stream,
            StepSpec::Pingpong(_) => StepKind::Pingpong,
            StepSpec::Request(_) => StepKind::Request,
            StepSpec::Migrate(_) => StepKind::Migrate,
            StepSpec::Smb(_) => StepKind::Smb,
            StepSpec::Channels(_) => StepKind::Channels,
            StepSpec::File(_) => StepKind::File,
            StepSpec::Networks(_) => StepKind::Networks,
            StepSpec::Contend(_) => StepKind::Contend,
        }
    }

    /// The node that the step is made with.
    pub fn node(&self) -> NodeId {
        match self {
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Migrate(_) => NodeId::SERVER,
            StepSpec::Loss(_) | StepSpec::Ports(_) | StepSpec::Contend(_) => NodeId::SERVER,
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => NodeId::SERVER,
            StepSpec::Mtu(mtu) => mtu.node,
            StepSpec::Smb(smb) => smb.node,
            StepSpec::Channels(channels) => channels.node,
            StepSpec::File(file) => file.node,
            StepSpec::Networks(networks) => networks.node,
        }
    }

    /// What travels in this step, and how, where it is a traffic step.
    pub fn travels(&self) -> Option<(TrafficKind, &TrafficSpec)> {
        match self {
            StepSpec::Stream(t) => Some((TrafficKind::Stream, t)),
            StepSpec::Pingpong(t) => Some((TrafficKind::Pingpong, t)),
            StepSpec::Request(t) => Some((TrafficKind::Request, t)),
            StepSpec::Facts
            | StepSpec::Reach(_)
            | StepSpec::Mtu(_)
            | StepSpec::Loss(_)
            | StepSpec::Migrate(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The traffic of this step, where it is a traffic step.
    pub fn traffic(&self) -> Option<&TrafficSpec> {
        self.travels().map(|(_, traffic)| traffic)
    }

    /// The same, to be changed.
    pub fn traffic_mut(&mut self) -> Option<&mut TrafficSpec> {
        match self {
            StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => Some(t),
            StepSpec::Facts
            | StepSpec::Reach(_)
            | StepSpec::Mtu(_)
            | StepSpec::Loss(_)
            | StepSpec::Migrate(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The traffic of this step, where it is bulk and nothing else.
    pub fn bulk(&self) -> Option<&TrafficSpec> {
        self.traffic().filter(|_| self.kind().traits().bulk)
    }

    /// The migration of this step, where it is one.
    pub fn migrate(&self) -> Option<&MigrateSpec> {
        match self {
            StepSpec::Migrate(migrate) => Some(migrate),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn migrate_mut(&mut self) -> Option<&mut MigrateSpec> {
        match self {
            StepSpec::Migrate(migrate) => Some(migrate),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The round trips of this step, where it is about those alone.
    pub fn reach(&self) -> Option<&ReachSpec> {
        match self {
            StepSpec::Reach(reach) => Some(reach),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Migrate(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The search of this step, where it is one for path MTUs.
    pub fn mtu(&self) -> Option<&MtuSpec> {
        match self {
            StepSpec::Mtu(mtu) => Some(mtu),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Migrate(_) | StepSpec::Reach(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The datagrams of this step, where it is about their loss.
    pub fn loss(&self) -> Option<&LossSpec> {
        match self {
            StepSpec::Loss(loss) => Some(loss),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Migrate(_) | StepSpec::Reach(_) | StepSpec::Mtu(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The ports of this step, where it asks for those.
    pub fn ports(&self) -> Option<&PortsSpec> {
        match self {
            StepSpec::Ports(ports) => Some(ports),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Migrate(_) | StepSpec::Reach(_) | StepSpec::Mtu(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Loss(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn ports_mut(&mut self) -> Option<&mut PortsSpec> {
        match self {
            StepSpec::Ports(ports) => Some(ports),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Migrate(_) | StepSpec::Reach(_) | StepSpec::Mtu(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Loss(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The questions of this step, where it asks an SMB server.
    pub fn smb(&self) -> Option<&SmbSpec> {
        match self {
            StepSpec::Smb(smb) => Some(smb),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Migrate(_) => None,
            StepSpec::Channels(_) | StepSpec::Loss(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The prediction of this step, where it is one.
    pub fn channels(&self) -> Option<&ChannelsSpec> {
        match self {
            StepSpec::Channels(channels) => Some(channels),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Migrate(_) => None,
            StepSpec::Smb(_) | StepSpec::Loss(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The file of this step, where it moves one.
    pub fn file(&self) -> Option<&FileSpec> {
        match self {
            StepSpec::File(file) => Some(file),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Migrate(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Loss(_) | StepSpec::Ports(_) => None,
            StepSpec::Networks(_) | StepSpec::Contend(_) => None,
        }
    }

    /// The contention of this step, where it is about that.
    pub fn contend(&self) -> Option<&ContendSpec> {
        match self {
            StepSpec::Contend(contend) => Some(contend),
            StepSpec::Stream(_) | StepSpec::Pingpong(_) | StepSpec::Request(_) => None,
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Migrate(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Loss(_) | StepSpec::Ports(_) => None,
            StepSpec::File(_) | StepSpec::Networks(_) => None,
        }
    }

    /// The options of its lanes, where it has lanes.
    pub fn options_mut(&mut self) -> Option<&mut BTreeMap<String, String>> {
        match self {
            StepSpec::Migrate(migrate) => Some(&mut migrate.options),
            StepSpec::Contend(contend) => Some(&mut contend.options),
            StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => Some(&mut t.options),
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) => None,
        }
    }

    /// Every transport of its lanes, each once, [`over`](StepSpec::over) first.
    pub fn overs(&self) -> Vec<&str> {
        self.contend().map_or_else(|| self.over().into_iter().collect(), ContendSpec::overs)
    }

    /// The options of its lanes, where it has lanes.
    pub fn options(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            StepSpec::Migrate(migrate) => Some(&migrate.options),
            StepSpec::Contend(contend) => Some(&contend.options),
            StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => Some(&t.options),
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) => None,
        }
    }

    /// The transport of its lanes, where it has lanes.
    pub fn over(&self) -> Option<&str> {
        match self {
            StepSpec::Migrate(migrate) => Some(&migrate.over),
            StepSpec::Contend(contend) => Some(&contend.over),
            StepSpec::Stream(t) | StepSpec::Pingpong(t) | StepSpec::Request(t) => Some(&t.over),
            StepSpec::Facts | StepSpec::Reach(_) | StepSpec::Mtu(_) | StepSpec::Loss(_) => None,
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::Ports(_) | StepSpec::File(_) => None,
            StepSpec::Networks(_) => None,
        }
    }
}

/// Which way payload flows, as the client sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the client to the server.
    #[default]
    Out,
    /// From the server to the client.
    In,
    /// Both at once, on lanes of their own.
    Both,
}

impl Direction {
    /// As it stands in results and subjects.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
            Direction::Both => "both",
        }
    }
}

/// How requests are paced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestLoad {
    /// The next request waits for a reply: latency under this load omits what a stall would have delayed.
    #[default]
    Closed,
    /// Requests have intended start times and response time counts from those (corrected for coordinated
    /// omission).
    Open,
}

/// Stream, ping-pong and request steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficSpec {
    /// Transport: `tcp`, `multi`, `rdma`, `sim`.
    pub over: String,
    /// Which way.
    pub direction: Direction,
    /// Lanes (per direction).
    pub lanes: u32,
    /// Message size in bytes.
    pub size_bytes: u64,
    /// Reply size in bytes for requests; `None` means as large as the request.
    pub reply_bytes: Option<u64>,
    /// Operations outstanding per lane.
    pub depth: u32,
    /// Measured window in ns.
    pub time_ns: u64,
    /// Before the window, in ns.
    pub warmup_ns: u64,
    /// After the window, in ns: both ends keep the load up while the other still measures.
    pub cooldown_ns: u64,
    /// Paced bytes as a payload rate over all lanes in bit/s, or `None` for as fast as it goes.
    pub rate_bits_per_s: Option<u64>,
    /// Requests per second over all lanes (open loop).
    pub requests_per_s: Option<u64>,
    /// Open or closed loop (requests).
    pub load: RequestLoad,
    /// Spin instead of sleeping while waiting.
    pub busy_poll: bool,
    /// Send without copying into the kernel.
    pub zero_copy: bool,
    /// Throw received bytes away instead of placing them in memory.
    pub discard: bool,
    /// Verify the received bytes.
    pub verify: bool,
    /// Upper limit of the TCP segment size in bytes (a control run).
    pub max_segment_bytes: Option<u32>,
    /// Pin lane threads to CPUs, lane i to CPU `i mod cpus`.
    pub pin: bool,
    /// Put the lanes' memory on huge pages where the system has some.
    pub huge_pages: bool,
    /// Verb for lanes that have a choice.
    pub verb: Option<Verb>,
    /// Over several NICs: those of this host that are taken down during the window, as `IF@T[:RECOVER]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail: Vec<String>,
    /// Over several NICs: each is measured alone as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub singles: bool,
    /// Over several NICs: somebody takes a link away and gives it back, and the step ends some time after that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub watch_links: bool,
    /// The RDMA path MTU in bytes with which the step failed that this one follows up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows_path_mtu: Option<u64>,
    /// An offload that is off meanwhile, or several; in a plan the step stands for a trial of each, one after the other, and for those of
    /// several where no single one fixes the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offload: Option<OffloadTrial>,
    /// A port of the real job that its lanes go to at the other end, in the place of the session's own; over TCP alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Further flows at the same time, over the same transport.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<FlowSpec>,
    /// What its flow is to reach, each way; those beside it have their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Options of the transport by name.
    #[serde(deserialize_with = "crate::typed_options::deserialize")]
    pub options: BTreeMap<String, String>,
}

impl TrafficSpec {
    /// Warm-up, window and cool-down, in ns.
    pub fn length_ns(&self) -> u64 {
        self.warmup_ns.saturating_add(self.time_ns).saturating_add(self.cooldown_ns)
    }
}

impl Default for TrafficSpec {
    fn default() -> Self {
        TrafficSpec {
            over: DEFAULT_OVER.into(),
            direction: Direction::Out,
            lanes: 1,
            size_bytes: 128 << 10,
            reply_bytes: None,
            depth: 8,
            time_ns: 2_000_000_000,
            warmup_ns: 200_000_000,
            cooldown_ns: 100_000_000,
            rate_bits_per_s: None,
            requests_per_s: None,
            load: RequestLoad::Closed,
            busy_poll: false,
            zero_copy: false,
            discard: false,
            verify: false,
            max_segment_bytes: None,
            pin: false,
            huge_pages: false,
            verb: None,
            fail: vec![],
            singles: false,
            watch_links: false,
            follows_path_mtu: None,
            offload: None,
            port: None,
            beside: vec![],
            expect: None,
            options: BTreeMap::new(),
        }
    }
}

/// Reachability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReachSpec {
    /// Round trips to make over the control channel.
    pub count: u32,
}

impl Default for ReachSpec {
    fn default() -> Self {
        ReachSpec { count: 10 }
    }
}

/// Path MTU of NIC pairs; towards a foreign node from here alone, by echo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MtuSpec {
    /// The other end.
    pub node: NodeId,
    /// Only these local NICs; empty means all.
    pub nics: Vec<String>,
    /// At least so many bytes must pass, as an IP MTU.
    pub expect_ip_mtu_bytes: Option<u32>,
    /// Address families, 4 and 6; empty means both.
    pub families: Vec<u8>,
}

impl Default for MtuSpec {
    fn default() -> Self {
        MtuSpec { node: NodeId::SERVER, nics: vec![], expect_ip_mtu_bytes: None, families: vec![] }
    }
}

/// What a server grants at most, announced in its ACCEPT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Clients served at once.
    pub clients: u32,
    /// Lanes per step.
    pub lanes: u32,
    /// Longest step, in ns.
    pub step_ns: u64,
    /// Largest message, in bytes.
    pub message_bytes: u64,
    /// Most memory a step may take, in bytes.
    pub memory_bytes: u64,
    /// Most memory that the steps of all clients together may take, in bytes; `None` stands for half of what is
    /// available when the server starts.
    #[serde(default)]
    pub total_memory_bytes: Option<u64>,
    /// Whether a client may have an offload of this host turned off for a trial; absent means no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offloads: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            clients: 8,
            lanes: 256,
            step_ns: 3_600_000_000_000,
            message_bytes: 64 << 20,
            memory_bytes: 64 << 30,
            total_memory_bytes: None,
            offloads: false,
        }
    }
}
