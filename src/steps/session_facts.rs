//! What an end knows of its session while it lasts: who talks to whom, the secrets of its lanes and ports, and the ways between the two hosts.

use std::net::SocketAddr;

use pathproof_engine::channels::hosts::Way;
use pathproof_engine::networks::{self, NetworkWay};
use pathproof_model::{End, Environment, Limits, StepSpec};

use crate::registry::manners;

/// What is known of the session while it lasts.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Which end this is.
    pub end: End,
    /// Secret of the session; data lanes derive their tokens from it.
    pub secret: [u8; 32],
    /// Address of this end of the control connection.
    pub local: SocketAddr,
    /// Address of the other end: for the client where lanes dial to.
    pub peer: SocketAddr,
    /// The server's limits.
    pub limits: Limits,
    /// Seed of everything random.
    pub seed: u64,
    /// This host.
    pub environment: Environment,
    /// The other host.
    pub peer_environment: Environment,
}

impl SessionFacts {
    /// The one-time token of a lane: secret to the session, different for every step and lane.
    pub fn token(&self, step: u32, lane: u32) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(b"pathproof lane");
        hasher.update(&step.to_le_bytes());
        hasher.update(&lane.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The key of the path-MTU probes that `from` sends in a step, and of the answers to them.
    pub fn probe_key(&self, step: u32, from: End) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(b"pathproof mtu probe");
        hasher.update(&step.to_le_bytes());
        hasher.update(from.name().as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// What `from` says at its ports in a step, to show that it is the one that answers, or `asks` there.
    pub fn port_word(&self, step: u32, from: End, asks: bool) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(if asks { b"pathproof port asks" } else { b"pathproof port told" });
        hasher.update(&step.to_le_bytes());
        hasher.update(from.name().as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// What lets a client whose connection was lost come back to this session, hexadecimal.
    pub fn resume_token(&self) -> String {
        let hash = blake3::keyed_hash(&self.secret, b"pathproof resume");
        hash.to_hex().to_string()
    }

    /// Whether the session outlives the path of its connection: it is about several NICs, and there is another
    /// way between the hosts. Both ends come to the same answer.
    pub fn outlives_its_path(&self, steps: &[StepSpec]) -> bool {
        steps.iter().flat_map(StepSpec::overs).any(|over| manners(over).several_nics)
            && !self.other_ways().is_empty()
    }

    /// This host's NICs that SMB would use beside the one that the session began on; at the client.
    pub fn other_nics(&self) -> Vec<String> {
        let own = self.local.ip().to_canonical();
        let mut nics: Vec<String> = vec![];
        for (nic, local) in
            pathproof_engine::channels::hosts::chosen(&self.environment, &self.peer_environment)
        {
            let is_own = self
                .environment
                .nics
                .iter()
                .any(|n| n.name == nic && n.addresses.iter().any(|a| a.address == own));
            if local != own && !is_own && !nics.contains(&nic) {
                nics.push(nic);
            }
        }
        nics
    }

    /// This host's NIC that has the address which the session began on. Where that NIC leads nowhere, the routes choose one for each packet.
    pub fn own_nic(&self) -> Option<String> {
        let own = self.local.ip().to_canonical();
        let has = |nic: &&pathproof_model::Nic| nic.addresses.iter().any(|one| one.address == own);
        self.environment.nics.iter().find(has).filter(|nic| !nic.leads_nowhere()).map(|nic| nic.name.clone())
    }

    /// The ways between the hosts other than the one that the session began on.
    pub fn other_ways(&self) -> Vec<Way> {
        let (client, server, own) = match self.end {
            End::Client => (&self.environment, &self.peer_environment, (self.local, self.peer)),
            End::Server => (&self.peer_environment, &self.environment, (self.peer, self.local)),
        };
        let own = (own.0.ip().to_canonical(), own.1.ip().to_canonical());
        let mut ways = pathproof_engine::channels::hosts::ways(client, server);
        ways.retain(|way| (way.local, way.remote) != own);
        ways
    }

    /// The networks that SMB would use beside the one of the session, with an address of each host; at the client.
    pub fn networks_beside(&self) -> Vec<NetworkWay> {
        let own = (self.local.ip().to_canonical(), self.peer.ip().to_canonical());
        networks::beside(&self.environment, &self.peer_environment, own)
    }
}
