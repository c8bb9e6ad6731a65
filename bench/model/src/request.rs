//! What one end asks the other to do: the only words of a plan that cross the wire.
//!
//! **Invariant**: no value of these types names a file, a device, a process, an interface, an address, a pattern of
//! writes, a recorded log or a fault to inject. They carry numbers, switches and choices from closed lists, so neither
//! end can be made to touch anything by what the other one says. What is missing here is an affair of the end that
//! was given it on its own command line ([`StepSpec`]), and stays there.

mod contend;
mod flow;
mod lane;

pub use contend::{ContendRequest, WaysRequest};
pub use flow::FlowRequest;
pub use lane::{Congestion, Connect, LaneOptions, Registration, Share};

use serde::{Deserialize, Serialize};

use crate::{End, Offload, OffloadSet, OffloadTrial, Port, Verb};

use crate::migrate::DiskSpec;
use crate::{
    Direction, LossProbe, LossSpec, MigrateSpec, MtuSpec, Plan, PortsList, PortsSpec, PortsWhere, ReachSpec,
    RequestLoad, Role, StepKind, StepSpec, TrafficSpec,
};

/// A plan as the client announces it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// Seed of the bytes that both ends must generate alike.
    pub seed: u64,
    /// The steps in order.
    pub steps: Vec<StepRequest>,
}

/// One step as the client asks for the server's part in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum StepRequest {
    /// Facts.
    Facts,
    /// Round trips over the control channel.
    Reach(ReachRequest),
    /// Path MTU.
    Mtu(MtuRequest),
    /// Paced datagrams.
    Loss(LossRequest),
    /// Ports of the real job.
    Ports(PortsRequest),
    /// Bulk throughput.
    Stream(TrafficRequest),
    /// Ping-pong latency.
    Pingpong(TrafficRequest),
    /// Requests and replies.
    Request(TrafficRequest),
    /// A destination for a migration.
    Migrate(MigrateRequest),
    /// Classes of traffic that share a path.
    Contend(ContendRequest),
}

/// See [`ReachSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachRequest {
    /// Round trips.
    pub count: u32,
}

/// See [`MtuSpec`]. Which NICs to look at is each end's own affair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtuRequest {
    /// A size to try in any case, as an IP MTU.
    pub expect_ip_mtu_bytes: Option<u32>,
    /// Look at IPv4.
    pub ipv4: bool,
    /// Look at IPv6.
    pub ipv6: bool,
}

/// See [`LossSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossRequest {
    /// Flows for each NIC pair and direction.
    pub flows: u32,
    /// Datagrams per second for each.
    pub packets_per_s: u32,
    /// How long they are sent, in ns.
    pub time_ns: u64,
    /// What is sent.
    #[serde(default, skip_serializing_if = "crate::loss::is_default")]
    pub probe: LossProbe,
    /// Which way, as the client sees it.
    #[serde(default = "crate::loss::both", skip_serializing_if = "crate::loss::is_both")]
    pub direction: Direction,
    /// How long the receiving end sleeps between two looks, in ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_sleeps_ns: Option<u64>,
    /// The buffer that the receiving socket asks for, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_buffer_bytes: Option<u32>,
}

/// See [`PortsSpec`]. No port and no address is in it: the list is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortsRequest {
    /// What the path is for: the ports that it needs are asked with more patience.
    pub roles: Vec<Role>,
    /// Connections that are opened at once, each way.
    pub connections: u32,
    /// Longest time for which connections are left silent, in ns.
    pub idle_ns: u64,
    /// Which ports of the list are asked.
    #[serde(default = "PortsList::first", skip_serializing_if = "PortsList::is_first")]
    pub list: PortsList,
    /// Where they are asked.
    #[serde(default, skip_serializing_if = "PortsWhere::is_session")]
    pub at: PortsWhere,
}

/// See [`TrafficSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficRequest {
    /// Transport.
    pub over: Over,
    /// Which way, as the client sees it.
    pub direction: Direction,
    /// Lanes per direction.
    pub lanes: u32,
    /// Message size in bytes.
    pub size_bytes: u32,
    /// Reply size in bytes; `None` means as large as the request.
    pub reply_bytes: Option<u32>,
    /// Operations outstanding per lane.
    pub depth: u32,
    /// Measured window in ns.
    pub time_ns: u64,
    /// Before the window, in ns.
    pub warmup_ns: u64,
    /// After the window, in ns.
    pub cooldown_ns: u64,
    /// Payload rate over all lanes in bit/s.
    pub rate_bits_per_s: Option<u64>,
    /// Requests per second over all lanes.
    pub requests_per_s: Option<u64>,
    /// Open or closed loop.
    pub load: RequestLoad,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    /// Send without copying into the kernel.
    pub zero_copy: bool,
    /// Throw received bytes away.
    pub discard: bool,
    /// Verify received bytes.
    pub verify: bool,
    /// Upper limit of the TCP segment size in bytes.
    pub max_segment_bytes: Option<u32>,
    /// Pin lane threads to CPUs.
    pub pin: bool,
    /// Memory on huge pages.
    pub huge_pages: bool,
    /// Tell the client when a link of the server's goes down or comes back during the step.
    pub watch_links: bool,
    /// Verb, where the transport has a choice.
    pub verb: Option<Verb>,
    /// An offload of the NIC at which the session arrived that is off meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<Offload>,
    /// What is off beside it.
    #[serde(default, skip_serializing_if = "OffloadSet::is_empty")]
    pub off_with: OffloadSet,
    /// A port of the closed list that the lanes are dialled at, in the place of the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Further flows at the same time, few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "flow::few")]
    pub beside: Vec<FlowRequest>,
    /// What only the transport understands.
    pub lane: LaneOptions,
}

/// See [`MigrateSpec`]. The destination needs to know how much comes, and over how many lanes; what the guest is, what
/// it does and who decides is the source's affair alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    /// Transport.
    pub over: Over,
    /// Memory of one guest in bytes.
    pub memory_bytes: u64,
    /// Guests that move at once.
    pub parallel: u32,
    /// Lanes per guest.
    pub lanes: u32,
    /// Largest single write in bytes.
    pub chunk_bytes: u32,
    /// Size of the storage that moves too; only hashes of it are kept.
    pub disk_bytes: Option<u64>,
    /// The live rounds end after so long, in ns.
    pub time_limit_ns: Option<u64>,
    /// What only the transport understands.
    pub lane: LaneOptions,
}

/// The transports, by the names that `--over` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// One TCP connection for each lane.
    Tcp,
    /// Several for each lane, over several NICs.
    Multi,
    /// Queue pairs.
    Rdma,
    /// SMB Direct over queue pairs.
    Smbd,
}

impl Over {
    /// All of them. A test holds them to the registry of transports.
    pub const ALL: [Over; 4] = [Over::Tcp, Over::Multi, Over::Rdma, Over::Smbd];

    /// The transport that `--over` names.
    pub fn named(name: &str) -> Result<Over, String> {
        Over::ALL.into_iter().find(|over| over.name() == name).ok_or_else(|| {
            let names = Over::ALL.map(Over::name).join(", ");
            format!("there is no transport {name:?}; --over takes one of: {names}")
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Over::Tcp => "tcp",
            Over::Multi => "multi",
            Over::Rdma => "rdma",
            Over::Smbd => "smbd",
        }
    }
}

fn size(name: &str, bytes: u64) -> Result<u32, String> {
    u32::try_from(bytes).map_err(|_| format!("a {name} of {bytes} bytes is too large; 4 GiB is the limit"))
}

impl TrafficRequest {
    fn of(spec: &TrafficSpec) -> Result<TrafficRequest, String> {
        // What the client does to itself it does not even say.
        let theirs = spec.offload.filter(|trial| trial.end == End::Server).unwrap_or_default();
        Ok(TrafficRequest {
            over: Over::named(&spec.over)?,
            direction: spec.direction,
            lanes: spec.lanes,
            size_bytes: size("message", spec.size_bytes)?,
            reply_bytes: spec.reply_bytes.map(|bytes| size("reply", bytes)).transpose()?,
            depth: spec.depth,
            time_ns: spec.time_ns,
            warmup_ns: spec.warmup_ns,
            cooldown_ns: spec.cooldown_ns,
            rate_bits_per_s: spec.rate_bits_per_s,
            requests_per_s: spec.requests_per_s,
            load: spec.load,
            busy_poll: spec.busy_poll,
            zero_copy: spec.zero_copy,
            discard: spec.discard,
            verify: spec.verify,
            max_segment_bytes: spec.max_segment_bytes,
            pin: spec.pin,
            huge_pages: spec.huge_pages,
            watch_links: spec.watch_links,
            beside: spec.beside.iter().map(FlowRequest::of).collect::<Result<_, _>>()?,
            verb: spec.verb,
            off: theirs.off,
            off_with: theirs.with,
            port: spec.port,
            lane: LaneOptions::of(&spec.options)?,
        })
    }

    fn to_spec(&self) -> TrafficSpec {
        TrafficSpec {
            over: self.over.name().into(),
            direction: self.direction,
            lanes: self.lanes,
            size_bytes: self.size_bytes.into(),
            reply_bytes: self.reply_bytes.map(Into::into),
            depth: self.depth,
            time_ns: self.time_ns,
            warmup_ns: self.warmup_ns,
            cooldown_ns: self.cooldown_ns,
            rate_bits_per_s: self.rate_bits_per_s,
            requests_per_s: self.requests_per_s,
            load: self.load,
            busy_poll: self.busy_poll,
            zero_copy: self.zero_copy,
            discard: self.discard,
            verify: self.verify,
            max_segment_bytes: self.max_segment_bytes,
            pin: self.pin,
            huge_pages: self.huge_pages,
            verb: self.verb,
            // What the client's NICs do, what it expects, and what this step explains are its own affair.
            fail: vec![],
            expect: None,
            singles: false,
            watch_links: self.watch_links,
            beside: self.beside.iter().map(FlowRequest::to_spec).collect(),
            follows_path_mtu: None,
            offload: self
                .off
                .map(|off| OffloadTrial { with: self.off_with, ..OffloadTrial::of(End::Server, off) }),
            port: self.port,
            options: self.lane.to_options(),
        }
    }
}

impl MigrateRequest {
    fn of(spec: &MigrateSpec) -> Result<MigrateRequest, String> {
        Ok(MigrateRequest {
            over: Over::named(&spec.over)?,
            memory_bytes: spec.memory_bytes,
            parallel: spec.parallel.min(spec.guests),
            lanes: spec.lanes,
            chunk_bytes: spec.chunk_bytes,
            disk_bytes: spec.disk.as_ref().map(|disk| disk.bytes),
            time_limit_ns: spec.time_limit_ns,
            lane: LaneOptions::of(&spec.options)?,
        })
    }

    fn to_spec(&self) -> MigrateSpec {
        MigrateSpec {
            over: self.over.name().into(),
            memory_bytes: self.memory_bytes,
            guests: self.parallel,
            parallel: self.parallel,
            lanes: self.lanes,
            chunk_bytes: self.chunk_bytes,
            disk: self.disk_bytes.map(|bytes| DiskSpec { bytes, ..DiskSpec::default() }),
            time_limit_ns: self.time_limit_ns,
            options: self.lane.to_options(),
            ..MigrateSpec::default()
        }
    }
}

impl StepRequest {
    /// What `spec` needs of the other end; an error where it has something that cannot be asked for.
    pub fn of(spec: &StepSpec) -> Result<StepRequest, String> {
        Ok(match spec {
            StepSpec::Facts => StepRequest::Facts,
            StepSpec::Reach(reach) => StepRequest::Reach(ReachRequest { count: reach.count }),
            StepSpec::Mtu(mtu) => {
                let wanted = |family| mtu.families.is_empty() || mtu.families.contains(&family);
                let expect_ip_mtu_bytes = mtu.expect_ip_mtu_bytes;
                StepRequest::Mtu(MtuRequest { expect_ip_mtu_bytes, ipv4: wanted(4), ipv6: wanted(6) })
            }
            StepSpec::Loss(loss) => {
                let LossSpec { flows, packets_per_s, time_ns, probe, direction, .. } = *loss;
                let LossSpec { receiver_sleeps_ns, receive_buffer_bytes, .. } = *loss;
                StepRequest::Loss(LossRequest {
                    flows,
                    packets_per_s,
                    time_ns,
                    probe,
                    direction,
                    receiver_sleeps_ns,
                    receive_buffer_bytes,
                })
            }
            StepSpec::Ports(ports) => StepRequest::Ports(PortsRequest {
                roles: ports.roles.clone(),
                connections: ports.connections,
                idle_ns: ports.idle_ns,
                list: ports.list,
                at: ports.at,
            }),
            StepSpec::Stream(traffic) => StepRequest::Stream(TrafficRequest::of(traffic)?),
            StepSpec::Pingpong(traffic) => StepRequest::Pingpong(TrafficRequest::of(traffic)?),
            StepSpec::Request(traffic) => StepRequest::Request(TrafficRequest::of(traffic)?),
            StepSpec::Migrate(migrate) => StepRequest::Migrate(MigrateRequest::of(migrate)?),
            StepSpec::Contend(contend) => StepRequest::Contend(ContendRequest::of(contend)?),
            StepSpec::Smb(_) | StepSpec::Channels(_) | StepSpec::File(_) | StepSpec::Networks(_) => {
                return Err("it is made from here alone, and an agent has no part in it".into());
            }
        })
    }

    /// The server's part as a specification of its own: everything that the request cannot say has its default.
    pub fn to_spec(&self) -> StepSpec {
        match self {
            StepRequest::Facts => StepSpec::Facts,
            StepRequest::Reach(reach) => StepSpec::Reach(ReachSpec { count: reach.count }),
            StepRequest::Mtu(mtu) => StepSpec::Mtu(MtuSpec {
                expect_ip_mtu_bytes: mtu.expect_ip_mtu_bytes,
                families: match (mtu.ipv4, mtu.ipv6) {
                    (true, false) => vec![4],
                    (false, true) => vec![6],
                    _ => vec![],
                },
                ..MtuSpec::default()
            }),
            StepRequest::Loss(loss) => {
                let LossRequest { flows, packets_per_s, time_ns, probe, direction, .. } = *loss;
                let LossRequest { receiver_sleeps_ns, receive_buffer_bytes, .. } = *loss;
                StepSpec::Loss(LossSpec {
                    flows,
                    packets_per_s,
                    time_ns,
                    probe,
                    direction,
                    receiver_sleeps_ns,
                    receive_buffer_bytes,
                })
            }
            StepRequest::Ports(ports) => StepSpec::Ports(PortsSpec {
                roles: ports.roles.clone(),
                connections: ports.connections,
                idle_ns: ports.idle_ns,
                list: ports.list,
                at: ports.at,
            }),
            StepRequest::Stream(traffic) => StepSpec::Stream(traffic.to_spec()),
            StepRequest::Pingpong(traffic) => StepSpec::Pingpong(traffic.to_spec()),
            StepRequest::Request(traffic) => StepSpec::Request(traffic.to_spec()),
            StepRequest::Migrate(migrate) => StepSpec::Migrate(migrate.to_spec()),
            StepRequest::Contend(contend) => StepSpec::Contend(contend.to_spec()),
        }
    }

    /// The kind of step.
    pub fn kind(&self) -> StepKind {
        self.to_spec().kind()
    }
}

impl Plan {
    /// The plan as it is announced to the peer: the steps in which it has a part.
    pub fn request(&self) -> Result<PlanRequest, String> {
        let steps = self.shared().map(StepRequest::of).collect::<Result<_, _>>()?;
        Ok(PlanRequest { seed: self.seed, steps })
    }
}

#[cfg(test)]
mod tests;
