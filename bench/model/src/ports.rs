//! What a `ports` step measures: whether the ports that the real job needs pass between two hosts, each way, and whether several
//! connections open at once. The list of ports is closed: nothing that a peer says can add one.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Direction, Share};

/// What the path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An SMB client and its server.
    Smb,
    /// Hyper-V hosts that move guests to each other.
    Hyperv,
    /// Nodes of a Windows failover cluster.
    Cluster,
    /// Hosts that speak RoCE v2 to each other.
    Roce,
}

impl Role {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Role::Smb => "smb",
            Role::Hyperv => "hyperv",
            Role::Cluster => "cluster",
            Role::Roce => "roce",
        }
    }

    /// Whether it is lost without this port in this direction.
    pub fn needs(self, port: Port, direction: Direction) -> bool {
        match self {
            Role::Smb => port == Port::Smb && direction == Direction::Out,
            Role::Hyperv => port == Port::LiveMigration,
            // What Microsoft's list of service ports and its notes on failover clusters name: SMB (CSV), joining and heartbeats, the RPC
            // endpoint mapper (the cluster's own calls begin there), and remote management, which validation and updates use.
            Role::Cluster => {
                [Port::Smb, Port::Cluster, Port::Heartbeat, Port::Rpc, Port::Management].contains(&port)
            }
            Role::Roce => port == Port::Roce,
        }
    }
}

/// The ports that are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// 445/tcp: SMB, and SMB Direct over RoCE and InfiniBand.
    Smb,
    /// 5445/tcp: SMB Direct over iWARP.
    SmbDirect,
    /// 6600/tcp: Hyper-V live migration.
    LiveMigration,
    /// 3343/tcp: cluster joining.
    Cluster,
    /// 3343/udp: cluster heartbeats.
    Heartbeat,
    /// 135/tcp: the endpoint mapper of RPC.
    Rpc,
    /// 5985/tcp: Windows Remote Management.
    Management,
    /// 4791/udp: RoCE v2.
    Roce,
}

impl Port {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Port; 8] = [
        Port::Smb,
        Port::SmbDirect,
        Port::LiveMigration,
        Port::Cluster,
        Port::Heartbeat,
        Port::Rpc,
        Port::Management,
        Port::Roce,
    ];

    /// Those that builds before protocol 2.5 know; a list with another one they cannot read.
    pub const FIRST: [Port; 6] =
        [Port::Smb, Port::SmbDirect, Port::LiveMigration, Port::Cluster, Port::Heartbeat, Port::Roce];

    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Port::Smb => 445,
            Port::SmbDirect => 5445,
            Port::LiveMigration => 6600,
            Port::Cluster | Port::Heartbeat => 3343,
            Port::Rpc => 135,
            Port::Management => 5985,
            Port::Roce => 4791,
        }
    }

    /// Whether it is one of UDP's; the others are TCP's.
    pub fn is_udp(self) -> bool {
        matches!(self, Port::Heartbeat | Port::Roce)
    }

    /// `445/tcp`.
    pub fn name(self) -> String {
        if self.is_udp() { format!("{}/udp", self.number()) } else { format!("{}/tcp", self.number()) }
    }

    /// What speaks there.
    pub fn service(self) -> &'static str {
        match self {
            Port::Smb => "SMB",
            Port::SmbDirect => "SMB Direct over iWARP",
            Port::LiveMigration => "Hyper-V live migration",
            Port::Cluster => "cluster",
            Port::Heartbeat => "cluster heartbeat",
            Port::Rpc => "RPC endpoint mapper",
            Port::Management => "Windows remote management",
            Port::Roce => "RoCE v2",
        }
    }
}

/// Which ports a step asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortsList {
    /// Those that every build knows: all but 135 and 5985.
    First,
    /// All of them.
    #[default]
    All,
}

impl PortsList {
    /// What a request means that does not say: it comes from a build that knows no other.
    pub fn first() -> PortsList {
        PortsList::First
    }

    /// Whether it is that.
    pub fn is_first(&self) -> bool {
        *self == PortsList::First
    }

    /// The ports, in the order in which they are shown.
    pub fn ports(self) -> &'static [Port] {
        match self {
            PortsList::First => &Port::FIRST,
            PortsList::All => &Port::ALL,
        }
    }
}

/// Where ports are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortsWhere {
    /// At the addresses of the session, both ways.
    #[default]
    Session,
    /// On every network that both hosts share, those that the roles need, each way.
    Networks,
    /// The same on those that SMB would use beside the one of the session: there the ports have to pass as well.
    Beside,
}

impl PortsWhere {
    /// Whether it is at the addresses of the session.
    pub fn is_session(&self) -> bool {
        *self == PortsWhere::Session
    }
}

/// The ports of the real job, both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PortsSpec {
    /// What the path is for; where nothing is said every port is reported and none is judged.
    pub roles: Vec<Role>,
    /// Connections that are opened at once, each way; on networks beside the session's from the client alone.
    pub connections: u32,
    /// Longest time for which connections are left silent, in ns; others are for half of it, a quarter and an eighth.
    pub idle_ns: u64,
    /// Which ports are asked.
    pub list: PortsList,
    /// Where they are.
    pub at: PortsWhere,
}

impl Default for PortsSpec {
    fn default() -> Self {
        // As many as SMB Multichannel opens to one server.
        PortsSpec {
            roles: vec![],
            connections: 32,
            idle_ns: 0,
            list: PortsList::All,
            at: PortsWhere::Session,
        }
    }
}

impl PortsSpec {
    /// The ports of the list that its roles need in a direction.
    pub fn needed(&self, direction: Direction) -> Vec<Port> {
        let needs = |port: &Port| self.roles.iter().any(|role| role.needs(*port, direction));
        self.list.ports().iter().copied().filter(needs).collect()
    }
}

/// What became of a port that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortAnswer {
    /// Somebody answered there.
    Answered,
    /// Something refused, although somebody listened.
    Refused,
    /// A router, or the host itself, said that it cannot be reached or is prohibited.
    Unreachable,
    /// Nothing came back.
    Filtered,
    /// It cannot be determined; the reason says why.
    Unknown,
}

impl PortAnswer {
    /// As it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            PortAnswer::Answered => "answered",
            PortAnswer::Refused => "refused",
            PortAnswer::Unreachable => "unreachable",
            PortAnswer::Filtered => "filtered",
            PortAnswer::Unknown => "unknown",
        }
    }
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnsweredBy {
    /// The other end, which listened there for the length of the step.
    Agent,
    /// Something that listens there anyway.
    Service,
}

/// What an end found at one port of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedPort {
    /// Which.
    pub port: Port,
    /// What became of it.
    pub answer: PortAnswer,
    /// Who answered, where somebody did.
    #[serde(default)]
    pub by: Option<AnsweredBy>,
    /// Why it cannot be determined, where that is so.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Connections that an end opened at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OpenedAtOnce {
    /// TCP port that they went to.
    pub port: u16,
    /// How many were asked for.
    pub asked: u32,
    /// Opened.
    pub opened: u32,
    /// Refused.
    pub refused: u32,
    /// Silent after at least two attempts of the kernel's.
    pub silent: u32,
    /// Of the silent ones, how many were tried again from the same source ports when all others were closed.
    pub again: u32,
    /// Of those, how many opened then.
    pub again_opened: u32,
    /// Half of those that opened took no longer than this, in ns; absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_ns: Option<u64>,
}

/// A connection that was left silent and then used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LeftSilent {
    /// For so long, in ns.
    pub silent_ns: u64,
    /// It carried a question and its answer afterwards.
    pub alive: bool,
    /// How long that answer took, in ns; absent where none came, and in documents older than the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_after_ns: Option<u64>,
}

/// Datagrams that an end sent at a pace to a port that had answered, small ones and as large as the path takes whole, as the other end counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortDatagrams {
    /// Port that they went to.
    pub port: Port,
    /// Small ones that were sent.
    pub small_sent: u64,
    /// Of those, how many arrived.
    pub small_arrived: u64,
    /// Full-size ones that were sent, none of which may be cut up on the way.
    pub full_sent: u64,
    /// Of those, how many arrived.
    pub full_arrived: u64,
    /// Length of the full-size IP packets.
    pub full_ip_bytes: u32,
    /// Source ports over which the other end said what had arrived; the counts are of those. 0: it said nothing over any, while it did at another port,
    /// and all that was sent counts as lost.
    pub flows: u32,
    /// Of those, over how many something was lost.
    pub flows_lossy: u32,
}

impl PortDatagrams {
    /// Lost of the small ones.
    pub fn lost_small(&self) -> Share {
        Share { part: self.small_sent.saturating_sub(self.small_arrived), of: self.small_sent }
    }

    /// Lost of the full-size ones.
    pub fn lost_full(&self) -> Share {
        Share { part: self.full_sent.saturating_sub(self.full_arrived), of: self.full_sent }
    }
}

/// What an end tells of a `ports` step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PortsEnd {
    /// The other end's ports.
    pub ports: Vec<AskedPort>,
    /// The burst of connections, where there was a port for it.
    pub connections: Option<OpenedAtOnce>,
    /// Connections that were left silent, the shortest time first.
    pub silent: Vec<LeftSilent>,
    /// What this end found on each network, where it was asked there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkPorts>,
    /// Connections that the client left silent on each of those networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_beside: Vec<SilentRecord>,
    /// Datagrams at a pace to ports that had answered, where a role needs one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datagrams: Vec<PortDatagrams>,
    /// Connections that the client opened at once on each of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opened_beside: Vec<OpenedRecord>,
}

/// Ports on one network that both hosts share, each end's at its address in it, asked from the other's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetworkPorts {
    /// Its subnet, as `ADDRESS/PREFIX`.
    pub subnet: String,
    /// Each of the ports.
    pub ports: Vec<PortRecord>,
}

/// One port in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortRecord {
    /// Which.
    pub port: Port,
    /// `445/tcp` and its like.
    pub name: String,
    /// `out` where the client asked the server, `in` where the server asked the client.
    pub direction: Direction,
    /// What became of it.
    pub answer: PortAnswer,
    /// Who answered, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<AnsweredBy>,
    /// Why it cannot be determined, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Roles of the plan that are lost without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<Role>,
}

impl PortRecord {
    /// In the words of reports: `445/tcp (SMB) out`.
    pub fn words(&self) -> String {
        format!("{} ({}) {}", self.port.name(), self.port.service(), self.direction.name())
    }
}

/// Connections that were left silent in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilentRecord {
    /// `out` where the client opened and used them, `in` where the server did.
    pub direction: Direction,
    /// The network that they went over; absent where that is the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// What became of them, the shortest time first.
    pub tried: Vec<LeftSilent>,
    /// On a network beside the session's another connection is used meanwhile, some half a second after its last answer each time: how long
    /// each answer over it took, in ns. Where none came in the end, nothing is told of those that were left silent. Absent on the session's own, and in
    /// documents older than the field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_answered_ns: Vec<u64>,
}

impl SilentRecord {
    /// The network, as the end of "from this host to the server"; nothing for the session's own.
    pub fn over(&self) -> String {
        self.subnet.as_ref().map_or_else(String::new, |subnet| format!(" over {subnet}"))
    }

    /// The longest time that was survived, and the shortest that was not, where all longer ones were not either.
    pub fn forgotten(&self) -> Option<(u64, u64)> {
        let first = self.tried.iter().position(|tried| !tried.alive)?;
        let (before, after) = self.tried.split_at(first);
        let survived = before.last().map_or(0, |tried| tried.silent_ns);
        after.iter().all(|tried| !tried.alive).then(|| (survived, after[0].silent_ns))
    }
}

/// Connections that were opened at once in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedRecord {
    /// `out` from client to server, `in` from server to client.
    pub direction: Direction,
    /// The network that they went over; absent where that is the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The client's address in that network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// The server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<IpAddr>,
    /// What became of them.
    #[serde(flatten)]
    pub opened: OpenedAtOnce,
}

/// Datagrams at a pace to one port in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatagramsRecord {
    /// `out` from client to server, `in` from server to client.
    pub direction: Direction,
    /// What became of them.
    #[serde(flatten)]
    pub datagrams: PortDatagrams,
}

impl OpenedRecord {
    /// Those between the addresses of the session.
    pub fn of_session(direction: Direction, opened: OpenedAtOnce) -> OpenedRecord {
        OpenedRecord { direction, subnet: None, local_address: None, remote_address: None, opened }
    }

    /// The network, as the end of "from this host to the server"; nothing for the session's own.
    pub fn over(&self) -> String {
        self.subnet.as_ref().map_or_else(String::new, |subnet| format!(" over {subnet}"))
    }

    /// Between which addresses they went, the client's first, on a network beside the session's.
    pub fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        self.local_address.zip(self.remote_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_needs_its_own_ports_and_those_of_its_administration_both_ways() {
        let needed = |role: Role, direction| {
            let ports = Port::ALL.into_iter().filter(|port| role.needs(*port, direction));
            ports.map(Port::name).collect::<Vec<_>>()
        };
        let cluster = ["445/tcp", "3343/tcp", "3343/udp", "135/tcp", "5985/tcp"];
        assert_eq!(needed(Role::Cluster, Direction::Out), cluster);
        assert_eq!(needed(Role::Cluster, Direction::In), cluster);
        assert_eq!(needed(Role::Hyperv, Direction::In), ["6600/tcp"]);
        assert_eq!(needed(Role::Smb, Direction::In), Vec::<String>::new());
    }

    #[test]
    fn connections_of_an_older_document_are_the_sessions_own() {
        let older = r#"{ "direction": "in", "port": 445, "asked": 32, "opened": 31, "silent": 1 }"#;
        let read: OpenedRecord = serde_json::from_str(older).unwrap();
        let opened = OpenedAtOnce { port: 445, asked: 32, opened: 31, silent: 1, ..OpenedAtOnce::default() };
        assert_eq!(read, OpenedRecord::of_session(Direction::In, opened));
        assert_eq!((read.over(), read.ends()), (String::new(), None));
        let (here, there) = (IpAddr::from([10, 9, 1, 1]), IpAddr::from([10, 9, 1, 2]));
        let beside = OpenedRecord {
            subnet: Some("10.9.1.0/24".into()),
            local_address: Some(here),
            remote_address: Some(there),
            ..read
        };
        let again: OpenedRecord = serde_json::from_value(serde_json::to_value(&beside).unwrap()).unwrap();
        assert_eq!((again.over().as_str(), again.ends()), (" over 10.9.1.0/24", Some((here, there))));
        assert_eq!(again, beside);
    }

    #[test]
    fn the_list_of_earlier_builds_is_a_part_of_the_whole_one() {
        assert!(Port::FIRST.iter().all(|port| Port::ALL.contains(port)));
        assert!(!Port::FIRST.contains(&Port::Rpc) && !Port::FIRST.contains(&Port::Management));
        assert_eq!(PortsSpec::default().list.ports().len(), 8);
    }
}
