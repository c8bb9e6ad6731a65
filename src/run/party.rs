//! The nodes other than this one, as the command line gave them.

use pathproof_model::NodeSpec;

use crate::far::{FarEnd, Start};
use crate::peer::Peer;
use crate::secure::Access;

/// Where an agent is dialled, and how.
#[derive(Clone)]
pub struct Target {
    /// Host name or address as typed.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What this end proves itself with.
    pub access: Access,
}

/// Whom to measure against.
#[derive(Clone)]
pub enum Party {
    /// A host that runs `pathproof serve`.
    Agent {
        /// As typed.
        name: String,
        /// Where.
        target: Target,
        /// How it is started, where it does not run yet.
        start: Option<Start>,
    },
    /// An agent in this process (`--self`).
    Own {
        /// Where.
        target: Target,
    },
    /// A host that runs nothing of ours.
    Foreign {
        /// As typed.
        name: String,
        /// Name or address.
        host: String,
    },
}

impl Party {
    /// An agent as it was typed.
    pub fn agent(peer: &Peer, access: Access) -> Party {
        let target = Target { host: peer.host.clone(), port: peer.port, access };
        Party::Agent { name: peer.text.clone(), target, start: None }
    }

    /// An agent that is to be started first; nobody can be reached there before.
    pub fn to_start(peer: &Peer, start: Start) -> Party {
        let target = Target { host: peer.host.clone(), port: peer.port, access: Access::Loopback };
        Party::Agent { name: peer.text.clone(), target, start: Some(start) }
    }

    /// How it is to be started, where it does not run yet.
    pub fn start(&self) -> Option<&Start> {
        match self {
            Party::Agent { start, .. } => start.as_ref(),
            Party::Own { .. } | Party::Foreign { .. } => None,
        }
    }

    /// It runs now.
    pub fn started(&mut self, end: &FarEnd) {
        if let Party::Agent { target, start, .. } = self {
            *start = None;
            target.port = end.port;
            target.access = Access::Key(end.key.clone());
        }
    }

    /// What stands in the document as its name.
    pub fn name(&self) -> &str {
        match self {
            Party::Agent { name, .. } | Party::Foreign { name, .. } => name,
            Party::Own { .. } => "self",
        }
    }

    /// What it is in a plan.
    pub fn spec(&self) -> NodeSpec {
        match self {
            Party::Agent { target, .. } => NodeSpec::Agent { host: target.host.clone(), port: target.port },
            Party::Own { .. } => NodeSpec::Own,
            Party::Foreign { host, .. } => NodeSpec::Foreign { host: host.clone() },
        }
    }

    /// Where it is dialled, if it is an agent.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Party::Agent { target, .. } | Party::Own { target } => Some(target),
            Party::Foreign { .. } => None,
        }
    }
}
