//! What an SMB server says about itself.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeId;

/// Questions to an SMB server about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SmbSpec {
    /// The server.
    pub node: NodeId,
    /// Its port.
    pub port: u16,
    /// Account for what the server does not tell to anybody; tried once.
    pub user: Option<String>,
    /// Domain of the account; empty for a local one.
    pub domain: String,
    /// File with the account's password in its first line. The password itself stands nowhere.
    pub password_file: Option<PathBuf>,
    /// Instead of an account: the Kerberos ticket of whoever runs the client.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kerberos: bool,
    /// Longest wait for a connection and for each answer, in ns.
    pub wait_ns: u64,
}

impl Default for SmbSpec {
    fn default() -> Self {
        SmbSpec {
            node: NodeId::SERVER,
            port: 445,
            user: None,
            domain: String::new(),
            password_file: None,
            kerberos: false,
            wait_ns: 5_000_000_000,
        }
    }
}

/// A server's own account, from one or two NEGOTIATE exchanges and the interface query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SmbServer {
    /// Address and port asked.
    pub address: String,
    /// Dialect chosen when all are offered: `3.1.1` …
    pub dialect: String,
    /// Capability names.
    pub capabilities: Vec<String>,
    /// Several connections may share a session.
    pub multichannel: bool,
    /// The server demands signatures.
    pub signing_required: bool,
    /// Signing algorithm chosen, where the server says.
    pub signing: Option<String>,
    /// Cipher chosen (3.1.1), or `available` for 3.0 servers; `None` without encryption.
    pub encryption: Option<String>,
    /// The server demands encryption; `None` where no logon told.
    pub encryption_required: Option<bool>,
    /// What may be done to data placed by RDMA: `encryption`, `signing`. Empty when nothing may.
    pub rdma_transforms: Vec<String>,
    /// Largest READ, in bytes.
    pub max_read_bytes: u64,
    /// Largest WRITE, in bytes.
    pub max_write_bytes: u64,
    /// Largest transaction, in bytes.
    pub max_transact_bytes: u64,
    /// The server's identity; equal on two addresses means one host.
    pub server_guid: String,
    /// The server's clock less this host's, in ns.
    pub clock_skew_ns: Option<i64>,
    /// TCP handshake, in ns.
    pub connect_ns: u64,
    /// NEGOTIATE exchange, in ns.
    pub round_trip_ns: u64,
    /// The server's NICs, one entry for each address.
    pub interfaces: Vec<SmbInterface>,
    /// What the list was obtained by.
    pub interfaces_obtained_by: ObtainedBy,
    /// Every way of asking for the list that was tried, and what came of it.
    pub attempts: Vec<SmbAttempt>,
}

/// One address of one NIC of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SmbInterface {
    /// The server's number of the NIC.
    pub index: u32,
    /// Link speed in bit/s.
    pub speed_bits_per_s: Option<u64>,
    /// Several receive queues.
    pub rss: bool,
    /// SMB Direct.
    pub rdma: bool,
    /// The address.
    pub address: IpAddr,
}

/// How an interface list was obtained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObtainedBy {
    /// Not at all.
    #[default]
    None,
    /// Without any session.
    Sessionless,
    /// With an anonymous session.
    Anonymous,
    /// Logged on.
    Credentials,
}

impl ObtainedBy {
    /// The word that stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            ObtainedBy::None => "none",
            ObtainedBy::Sessionless => "sessionless",
            ObtainedBy::Anonymous => "anonymous",
            ObtainedBy::Credentials => "credentials",
        }
    }
}

/// One way of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmbAttempt {
    /// `sessionless`, `anonymous` or `credentials`.
    pub way: ObtainedBy,
    /// What came of it, in one sentence.
    pub outcome: String,
}
