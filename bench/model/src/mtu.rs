//! What an `mtu` step measured: one entry for each NIC pair, address family and direction.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Direction, Numbers};

/// What limits the size of packets on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MtuLimit {
    /// Nothing: everything that the interfaces are set to arrives.
    None,
    /// The sending interface's own setting.
    Local,
    /// The receiving interface's own setting.
    Remote,
    /// A router that says so.
    Router,
    /// Something that silently drops larger packets.
    Blackhole,
    /// Something that cuts packets up although they must not be.
    Fragmented,
    /// Cannot tell.
    Unknown,
}

impl MtuLimit {
    /// The word that stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            MtuLimit::None => "none",
            MtuLimit::Local => "local",
            MtuLimit::Remote => "remote",
            MtuLimit::Router => "router",
            MtuLimit::Blackhole => "blackhole",
            MtuLimit::Fragmented => "fragmented",
            MtuLimit::Unknown => "unknown",
        }
    }
}

/// How the size of packets on a path was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MtuMethod {
    /// The peer reports what arrived of datagrams.
    Agent,
    /// ICMP echo: no agent there, or datagrams are filtered.
    Echo,
    /// A way that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

/// The path MTU from one NIC to another, in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MtuPath {
    /// NIC of the client.
    pub local_nic: String,
    /// NIC of the server; `null` without an agent there.
    pub remote_nic: Option<String>,
    /// Address of the client.
    pub local_address: IpAddr,
    /// Address of the server.
    pub remote_address: IpAddr,
    /// 4 or 6.
    pub family: u8,
    /// `out` from client to server, `in` from server to client, `both` where echo cannot tell them apart.
    pub direction: Direction,
    /// `agent` (the peer reports what arrived) or `echo` (ICMP: no agent there, or datagrams are filtered).
    pub method: MtuMethod,
    /// Largest IP packet that arrives whole with DF set, exact to the byte; `null` when that is not known.
    pub ip_mtu_bytes: Option<u32>,
    /// What limits it.
    pub limit: MtuLimit,
    /// The same size in the units of every tool that asks for it; `null` when the size is not known.
    #[serde(default)]
    pub numbers: Option<Numbers>,
    /// Largest IP packet that was seen to arrive, whether or not it is the limit.
    pub proven_ip_bytes: Option<u32>,
    /// Why the limit is unknown, where it is.
    pub reason: Option<String>,
    /// MTU of the client's interface.
    pub local_ip_mtu_bytes: Option<u32>,
    /// MTU of the server's interface.
    pub remote_ip_mtu_bytes: Option<u32>,
    /// Path MTU that the sending host had in its cache before the search, where it is below the interface's.
    pub cached_ip_mtu_bytes: Option<u32>,
    /// The sending host's route to there, where it is configured with an MTU below the interface's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<MtuRoute>,
    /// Routers that answered "too big".
    pub routers: Vec<MtuRouter>,
    /// Largest fragment seen of a packet that must not be fragmented.
    pub largest_fragment_bytes: Option<u32>,
    /// The path drops bursts of packets and was probed slowly.
    pub throttled: bool,
    /// Probes that fit: how many were sent ...
    pub fitting_sent: u32,
    /// ... and how many of them got lost all the same.
    pub fitting_lost: u32,
    /// Probes sent.
    pub probes: u32,
    /// Waits for the loss timer.
    pub loss_rounds: u32,
    /// Length of the search, in ns.
    pub elapsed_ns: u64,
    /// Datagrams that are longer than the MTU; absent where none were tried: the path carries less than the sending interface takes, nobody
    /// answered, no datagram can be that long, or a build that knew none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragments: Option<FragmentsTried>,
    /// Every size tried, ascending.
    pub tried: Vec<MtuTried>,
}

impl MtuPath {
    /// MTU of the interface that sends in this direction.
    pub fn sender_ip_mtu_bytes(&self) -> Option<u32> {
        if self.direction == Direction::In { self.remote_ip_mtu_bytes } else { self.local_ip_mtu_bytes }
    }

    /// The receiving interface was seen to drop silently what the sending one may send. By echo `remote` may mean
    /// something else: the reply came in pieces, and replies may.
    pub fn is_swallowed_by_receiver(&self) -> bool {
        let in_pieces = self.method == MtuMethod::Echo && self.largest_fragment_bytes.is_some();
        self.limit == MtuLimit::Remote && !in_pieces
    }

    /// MTU of the interface that receives in this direction.
    pub fn receiver_ip_mtu_bytes(&self) -> Option<u32> {
        if self.direction == Direction::In { self.local_ip_mtu_bytes } else { self.remote_ip_mtu_bytes }
    }
}

/// Datagrams that are longer than the MTU of the path, sent without DF and cut into fragments by the sending host, beside packets that fit. They
/// end with the first that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FragmentsTried {
    /// Size of such a datagram as one IP packet, before it is cut.
    pub ip_bytes: u32,
    /// Sent.
    pub sent: u32,
    /// Arrived.
    pub arrived: u32,
    /// Packets of the largest size that fits, each sent just before one of them: how many were sent ...
    pub fitting_sent: u32,
    /// ... and how many of them arrived.
    pub fitting_arrived: u32,
}

impl FragmentsTried {
    /// Several were sent and none arrived, while what fits did: it is fragments that are dropped, and not packets.
    pub fn are_dropped(&self) -> bool {
        self.sent >= 5 && self.arrived == 0 && self.fitting_arrived >= 5
    }
}

/// A route that somebody gave an MTU of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MtuRoute {
    /// The subnet that it leads to, or `default`.
    pub destination: String,
    /// Its MTU: TCP sends no larger packets over it.
    pub ip_mtu_bytes: u32,
    /// Whether the kernel may not lower it either (`mtu lock`).
    pub locked: bool,
}

/// A router that answered "packet too big".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MtuRouter {
    /// Source of the ICMP message.
    pub address: IpAddr,
    /// The MTU it named, if it named one.
    pub claimed_ip_mtu_bytes: Option<u32>,
    /// Smallest packet it refused.
    pub smallest_refused_bytes: u32,
    /// Whether the claim is true; `null` when a later hop hides it.
    pub claim_holds: Option<bool>,
    /// Messages received from it.
    pub answers: u32,
}

/// What became of the probes of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MtuTried {
    /// Size of the IP packet.
    pub ip_bytes: u32,
    /// Probes sent.
    pub sent: u32,
    /// Arrived whole.
    pub whole: u32,
    /// Arrived in fragments.
    pub fragmented: u32,
    /// Refused by the sending interface.
    pub refused_locally: u32,
    /// Refused by a router.
    pub refused_by_router: u32,
    /// Neither arrived nor refused.
    pub lost: u32,
}
