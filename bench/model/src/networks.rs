//! The networks that hosts share, as a failover cluster would see them: what each is for, and in which order it is used.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeId;
use crate::ports::PortRecord;

/// A question to be answered from the facts of both hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworksSpec {
    /// The other end.
    pub node: NodeId,
    /// Networks that are lost one after another: by subnet or by a NIC of this host, or `all`. The stream after this step in the plan is made
    /// once for each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail: Vec<String>,
}

impl Default for NetworksSpec {
    fn default() -> Self {
        NetworksSpec { node: NodeId::SERVER, fail: vec![] }
    }
}

/// One network in which both hosts have an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Network {
    /// Its subnet, as `ADDRESS/PREFIX`.
    pub subnet: String,
    /// Further subnets between the same NICs: of the other address family.
    pub also: Vec<String>,
    /// What it is for, as far as its NICs show.
    pub role: NetworkRole,
    /// Why that role.
    pub role_reason: String,
    /// The NICs that lie in it, those of this host first.
    pub nics: Vec<NetworkNic>,
    /// iSCSI that was seen in it; `null` where none was and a host does not tell.
    pub iscsi: Option<Vec<NetworkIscsi>>,
    /// Whether a NIC of each host is up in it; `null` where a host does not tell.
    pub up: Option<bool>,
    /// The metric that the automatic rule of Windows Server 2012 and later comes to. Lower is preferred.
    pub metric: Option<u32>,
    /// What that rule would also ask and these hosts do not tell: `speed`, `rss`, `rdma`. The metric is that of a NIC without it.
    pub metric_lacks: Vec<String>,
    /// The metric of Windows Server 2008 R2.
    pub metric_2008r2: Option<u32>,
    /// Its place for the heartbeat's preferred route and for redirected storage traffic (CSV), 1 first; `null` for one that is down.
    pub order_csv: Option<u32>,
    /// Its place for live migrations by the default order, 1 first; `null` for one that is down.
    pub order_migration: Option<u32>,
    /// Who takes over when it is lost.
    pub if_lost: IfLost,
    /// The ports of a cluster and of live migrations at the other host's address in it, asked from this host's (`out`); `null` where they were not.
    pub ports: Option<Vec<PortRecord>>,
    /// What its loss came to when it was rehearsed (`networks --fail`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<NetworkLoss>,
    /// What its loss came to for a migration over the networks in their order, which uses this one first (`networks --fail`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsed_migration: Option<MigrationLoss>,
}

/// What it came to that a network was lost while a stream went over all of them; `null` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetworkLoss {
    /// The NIC of this host that was taken down.
    pub nic: String,
    /// The other networks that the stream had.
    pub left: Vec<String>,
    /// From the loss until the connections over it were given up, in ns.
    pub noticed_after_ns: Option<u64>,
    /// The longest time in which nothing arrived, over whatever network, in ns.
    pub gap_ns: Option<u64>,
    /// From the NIC's return until the network carried again, in ns.
    pub returned_after_ns: Option<u64>,
    /// Bytes that were lost for good.
    pub lost_bytes: Option<u64>,
    /// Why there is nothing of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What it came to that the network was lost over which a migration went: one connection, over one network at a time, in the order of
/// migrations; `null` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MigrationLoss {
    /// The NIC of this host that was taken down.
    pub nic: String,
    /// The networks that it had, by subnet, in the order of migrations: the lost one first.
    pub order: Vec<String>,
    /// The network that it went on over; `null` where it went on over none.
    pub went_on_over: Option<String>,
    /// From the loss until its connection was given up, in ns.
    pub noticed_after_ns: Option<u64>,
    /// The longest time in which nothing of it arrived, until it went on over the next network, in ns.
    pub redirect_ns: Option<u64>,
    /// From the NIC's return until the lost network carried it again, in ns: from then on the next migration would use it.
    pub returned_after_ns: Option<u64>,
    /// Bytes that were lost for good.
    pub lost_bytes: Option<u64>,
    /// Why there is nothing of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the network is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NetworkRole {
    /// A default route leads through it at one host at least: clients and management.
    Public,
    /// No default route: between the hosts alone.
    Private,
    /// No default route, and NICs of both hosts do RDMA or iSCSI goes over it.
    Storage,
    /// The hosts do not tell where their default routes lead.
    #[default]
    #[serde(other)]
    Unknown,
}

impl NetworkRole {
    /// As it stands in results.
    pub fn word(self) -> &'static str {
        match self {
            NetworkRole::Public => "public",
            NetworkRole::Private => "private",
            NetworkRole::Storage => "storage",
            NetworkRole::Unknown => "unknown",
        }
    }
}

/// A NIC in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkNic {
    /// Whose it is.
    pub node: NodeId,
    /// Its name.
    pub nic: String,
    /// Its address in the network.
    pub address: IpAddr,
    /// The NIC that carries it, where it is a VLAN or another part of one, or a bridge that leads out by one; absent for what stands by
    /// itself, as far as its host tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// iSCSI at an address of a host in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkIscsi {
    /// Whose the address is.
    pub node: NodeId,
    /// The address.
    pub address: IpAddr,
    /// The other end of a connection; absent for a target that listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<IpAddr>,
}

/// What the loss of a network leads to, by the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IfLost {
    /// The subnet over which heartbeat and CSV go then; `null` for none.
    pub csv: Option<String>,
    /// The subnet over which migrations go then; `null` for none.
    pub migration: Option<String>,
}
