//! Where the system would send packets.

use std::net::IpAddr;

pub use crate::system::routes::{configured_mtu, from, taken, to, via_routers, with_default};

/// How packets reach a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the interface.
    pub interface: String,
    /// Source address.
    pub source: IpAddr,
    /// The router that they go through, if they do.
    pub router: Option<IpAddr>,
    /// The MTU that holds now, where routers have told one or the route sets one, in bytes.
    pub ip_mtu_bytes: Option<u32>,
}

/// What rules and routes answer that let nothing go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `prohibit`.
    Prohibit,
    /// `unreachable`, as a route.
    Unreachable,
    /// `blackhole`.
    Blackhole,
    /// There is none, or a rule says `unreachable`.
    NoRoute,
}

impl Refusal {
    /// In the words of `ip rule` and `ip route`.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Prohibit => "prohibit",
            Refusal::Unreachable => "unreachable",
            Refusal::Blackhole => "blackhole",
            Refusal::NoRoute => "no route",
        }
    }
}

/// What policy routing of IPv4 has taken, each number once and the least first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Numbers of routing tables.
    pub tables: Vec<u32>,
    /// Priorities of rules.
    pub priorities: Vec<u32>,
}

/// A subnet that is reached through a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedSubnet {
    /// Number of the interface.
    pub interface: u32,
    /// Address of the subnet.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix_len: u8,
}

/// The MTU that a route is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredMtu {
    /// Where the route leads: `ADDRESS/PREFIX`, or `default`.
    pub destination: String,
    /// Largest IP packet, in bytes.
    pub ip_mtu_bytes: u32,
    /// What is learnt of the path does not change it.
    pub locked: bool,
}
