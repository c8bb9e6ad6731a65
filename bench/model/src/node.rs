//! The machines of a run: how each is reached, and what it said of itself.
//!
//! Node 0 is where the command runs. An agent plays its part in steps; a foreign server runs nothing of ours and is asked and probed from here alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Environment;

/// Port of an agent (`pathproof serve`) where nobody names another.
pub const DEFAULT_PORT: u16 = 7797;

/// A node of a run: 0 is where the command runs, 1 the first peer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Where the command runs.
    pub const CLIENT: NodeId = NodeId(0);
    /// The first peer.
    pub const SERVER: NodeId = NodeId(1);
}

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NodeSpec {
    /// The command runs there.
    Here,
    /// An agent that the command runs itself, on the same machine (`--self`).
    #[serde(rename = "self")]
    Own,
    /// An agent: a host that runs `pathproof serve`.
    Agent {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A host that runs nothing of ours.
    Foreign {
        /// Name or address.
        host: String,
    },
}

impl NodeSpec {
    /// Whether it plays a part of its own in steps.
    pub fn is_agent(&self) -> bool {
        match self {
            NodeSpec::Own | NodeSpec::Agent { .. } => true,
            NodeSpec::Here | NodeSpec::Foreign { .. } => false,
        }
    }
}

/// One node of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// As the user named it; `here` for where the command ran, `self` for an agent that the command ran itself.
    pub name: String,
    /// How it was reached.
    #[serde(flatten)]
    pub spec: NodeSpec,
    /// The facts of the host; `null` where it was never reached, or says nothing of itself.
    #[serde(default)]
    pub environment: Option<Environment>,
}

impl Node {
    /// The node where the command runs.
    pub fn here(environment: Option<Environment>) -> Node {
        Node { id: NodeId::CLIENT, name: "here".into(), spec: NodeSpec::Here, environment }
    }

    /// The first peer, an agent, as the user named it.
    pub fn agent(name: &str, environment: Option<Environment>) -> Node {
        let (host, port) = host_and_port(name).unwrap_or((name, None));
        let spec = NodeSpec::Agent { host: host.into(), port: port.unwrap_or(DEFAULT_PORT) };
        Node { id: NodeId::SERVER, name: name.into(), spec, environment }
    }
}

/// The parts of `HOST[:PORT]`: a name, an IPv4 address, or an IPv6 address in brackets where a port follows.
pub fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return None,
        }
    } else if text.matches(':').count() > 1 {
        // A bare IPv6 address: its colons cannot be a port's.
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map(str::parse).transpose().ok()?;
    let nonsense = host.is_empty() || port == Some(0) || host.contains(char::is_whitespace);
    (!nonsense).then_some((host, port))
}
