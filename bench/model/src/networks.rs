//! The networks that hosts share, as a failover cluster would see them: what each is for, and in which order it is used.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeId;

/// A question to be answered from the facts of both hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworksSpec {
    /// The other end.
    pub node: NodeId,
}

impl Default for NetworksSpec {
    fn default() -> Self {
        NetworksSpec { node: NodeId::SERVER }
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
    /// No default route, and NICs of both hosts do RDMA.
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
