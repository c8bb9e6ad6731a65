//! Network interfaces: what the system knows of each, what each has counted, how one is taken down and up, and an offload of it off and on.

use std::net::IpAddr;

pub use crate::system::interfaces::{ipv6_mtu_bytes, list, name_of, numa_node, setting, virtual_functions};
pub use crate::system::link_events::LinkEvents;
pub use crate::system::set_link::SettableLink;
pub use crate::system::set_offload::{self, SettableOffload};

/// An interface. What the system does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Kind: `loopback`, `ethernet`, `veth`, `bridge`, `bond`, `vlan`, `infiniband` …
    pub kind: Option<String>,
    /// Hardware address.
    pub mac: Option<String>,
    /// Administratively up.
    pub is_up: bool,
    /// Carrier present.
    pub carrier: Option<bool>,
    /// Interface MTU: the largest IP packet, in bytes.
    pub ip_mtu_bytes: Option<u32>,
    /// Largest `ip_mtu_bytes` that the driver allows.
    pub ip_mtu_max_bytes: Option<u32>,
    /// Receive queues.
    pub receive_queues: Option<u32>,
    /// Transmit queues.
    pub transmit_queues: Option<u32>,
    /// Number of the interface that it is a member of (bridge, bond).
    pub master: Option<u32>,
    /// Number of the interface that it lies upon (VLAN), where that is in the same network namespace.
    pub lower: Option<u32>,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Those that it was given and that its kernel does not use, because another device had them (RFC 4862 §5.4.5).
    pub taken_addresses: Vec<(IpAddr, u8)>,
    /// What it has counted.
    pub counters: Counters,
}

impl Interface {
    /// Whether it leads to this host alone.
    pub fn is_loopback(&self) -> bool {
        self.kind.as_deref() == Some("loopback")
    }

    /// Whether it stands for routes of its own (a VRF), which sockets that are not tied to it do not see.
    pub fn is_vrf(&self) -> bool {
        self.kind.as_deref() == Some("vrf")
    }
}

/// What an interface has counted since it came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent, headers included.
    pub sent_bytes: Option<u64>,
    /// Bytes received, headers included.
    pub received_bytes: Option<u64>,
    /// Packets sent.
    pub sent_packets: Option<u64>,
    /// Packets received.
    pub received_packets: Option<u64>,
    /// Packets that could not be sent.
    pub send_errors: Option<u64>,
    /// Packets received damaged.
    pub receive_errors: Option<u64>,
    /// Of those: with a wrong checksum of the frame.
    pub receive_crc_errors: Option<u64>,
    /// Packets dropped before they were sent.
    pub send_drops: Option<u64>,
    /// Packets dropped after they were received.
    pub receive_drops: Option<u64>,
    /// Packets that the adapter had no room for.
    pub receive_missed: Option<u64>,
    /// Packets that overran the adapter's buffers.
    pub receive_overruns: Option<u64>,
    /// Collisions, early and late.
    pub collisions: Option<u64>,
    /// Packets not sent for want of a carrier.
    pub send_carrier_errors: Option<u64>,
    /// How often the carrier came or went.
    pub carrier_changes: Option<u64>,
}

/// An interface that has lost or gained its carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Which.
    pub nic: String,
    /// Whether it can carry now.
    pub up: bool,
}
