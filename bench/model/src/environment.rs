//! What is known of a machine: the facts that both ends put into the result. `None` means unknown.

mod dcb;
mod unknown;

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use dcb::{Dcb, DcbAlgorithm, DcbApplication, DcbEts, DcbPfc, DcbSelector};
pub use unknown::UnknownFacts;

use crate::Finding;

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Host name.
    pub hostname: Option<String>,
    /// Distribution name and version.
    pub operating_system: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Which boot of which machine this is: the same at both ends of a machine that talks to itself.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The network namespace of the process, by which two hosts in one machine differ.
    #[serde(default)]
    pub network_namespace: Option<String>,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Processors usable by this process.
    pub cpus: Option<u32>,
    /// NUMA nodes.
    pub numa_nodes: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory available without swapping, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Locked-memory limit of this process in bytes; `None` when unlimited or unknown.
    pub locked_memory_limit_bytes: Option<u64>,
    /// Hypervisor or container, where the system tells.
    pub virtualization: Option<String>,
    /// Whether it is a virtual machine, as its processor says; absent where that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_guest: Option<bool>,
    /// The kernel's clock source.
    pub clock_source: Option<String>,
    /// Measured cost of one time stamp of the clock in use, in ns.
    pub clock_stamp_ns: Option<u64>,
    /// Kernel settings that bear on a path (`net.ipv4.tcp_mtu_probing` …).
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Network interfaces.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// RDMA devices.
    #[serde(default)]
    pub rdma: Vec<RdmaDevice>,
    /// How this host reaches the addresses of the other one, as things were when the session began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerRoute>,
    /// What is taken of its policy routing (IPv4), beside which advice adds tables and rules. `null` or absent where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_routing: Option<PolicyRouting>,
    /// Where iSCSI goes over this host's network, by its TCP port (3260): open connections, and targets that listen at an address of their own.
    /// What RDMA carries (iSER) is not seen so. `null` or absent where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iscsi: Option<Vec<IscsiEnd>>,
    /// Why a part of the above could not be read.
    #[serde(default)]
    pub unreadable: BTreeMap<String, String>,
}

/// Routing tables and rules of IPv4 that a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PolicyRouting {
    /// Numbers of the tables in which routes lie or that rules name.
    pub tables: Vec<u32>,
    /// Priorities of the rules; the least is asked first.
    pub priorities: Vec<u32>,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nic {
    /// Interface name.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// Kind: `loopback`, `ethernet`, `veth`, `bridge`, `bond`, `vlan`, `infiniband` …
    pub kind: Option<String>,
    /// Hardware address.
    pub mac: Option<String>,
    /// Administratively up.
    pub up: Option<bool>,
    /// Carrier present.
    pub carrier: Option<bool>,
    /// Interface MTU: the largest IP packet, in bytes.
    pub ip_mtu_bytes: Option<u32>,
    /// Largest `ip_mtu_bytes` that the driver allows.
    pub ip_mtu_max_bytes: Option<u32>,
    /// Link speed in bit/s.
    pub speed_bits_per_s: Option<u64>,
    /// Full duplex.
    pub full_duplex: Option<bool>,
    /// Driver name.
    pub driver: Option<String>,
    /// Driver version.
    pub driver_version: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Bus address.
    pub bus: Option<String>,
    /// NUMA node.
    pub numa_node: Option<u32>,
    /// Virtual functions of the adapter; absent for one that has none, and what sits on no bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sr_iov: Option<SrIov>,
    /// Receive queues.
    pub receive_queues: Option<u32>,
    /// Transmit queues.
    pub transmit_queues: Option<u32>,
    /// How many packets its rings hold; absent where the driver does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rings: Option<RingSizes>,
    /// Pause frames for all of its traffic (IEEE 802.3 annex 31B); absent where the driver does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseSettings>,
    /// Offloads by ethtool name (`tcp-segmentation-offload` …).
    #[serde(default)]
    pub offloads: BTreeMap<String, bool>,
    /// Addresses.
    #[serde(default)]
    pub addresses: Vec<NicAddress>,
    /// Addresses that it was given and that its kernel does not use, because another device had them: duplicate address detection failed
    /// (RFC 4862 §5.4.5; `dadfailed` in `ip address`). They are not among `addresses`; absent where there are none, and in documents of builds that did not look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_addresses: Vec<NicAddress>,
    /// RDMA device on this interface.
    pub rdma_device: Option<String>,
    /// Master interface (bridge, bond), by name.
    pub master: Option<String>,
    /// The interface that it is a part of, by name, where it is a VLAN or another sub-interface (`macvlan`, `ipvlan` …) of one in the same
    /// network namespace; absent for what is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Source addresses whose way back leads elsewhere are refused: 0 no, 1 strictly, 2 loosely (`rp_filter`). As it holds: the larger of
    /// the NIC's own and that of `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse_path_filter: Option<u32>,
    /// For which of its addresses the host answers over this NIC (`arp_ignore`, as it holds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arp_ignore: Option<u32>,
    /// Which of its addresses the host asks from (`arp_announce`, as it holds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arp_announce: Option<u32>,
    /// IPv6's own MTU on this interface, which router advertisements or somebody may have set below that of the interface
    /// (`net.ipv6.conf.NIC.mtu`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_mtu_bytes: Option<u32>,
    /// A default route leaves by it, through a router: the rest of the world is behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// Data center bridging; asked for where the interface carries an RDMA device or sits on a bus.
    #[serde(default)]
    pub dcb: Option<Dcb>,
    /// Why `dcb` is unknown.
    #[serde(default)]
    pub dcb_absent: Option<String>,
    /// Why others of these facts are `null` or absent, a reason once for all that share it. Told of 64 interfaces, those on a bus and those with
    /// addresses first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnknownFacts>,
}

/// How many packets the rings of an adapter hold (`ethtool -g`), each as the driver counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RingSizes {
    /// Received packets that wait for the host.
    pub receive: Option<u32>,
    /// How many that could be.
    pub receive_max: Option<u32>,
    /// Packets that wait to be sent.
    pub transmit: Option<u32>,
    /// How many that could be.
    pub transmit_max: Option<u32>,
}

/// Whether an adapter and its link partner may ask each other to stop for a moment (`ethtool -a`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PauseSettings {
    /// It stops where it is asked to.
    pub receive: bool,
    /// It asks where it is behind.
    pub transmit: bool,
    /// What both do in fact is negotiated with the link partner.
    pub negotiated: bool,
}

impl PauseSettings {
    /// As people read it.
    pub fn words(&self) -> &'static str {
        match (self.receive, self.transmit) {
            (true, true) => "obeyed and sent",
            (true, false) => "obeyed",
            (false, true) => "sent",
            (false, false) => "off",
        }
    }
}

/// What an adapter shares of itself with virtual machines (SR-IOV).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SrIov {
    /// It is a virtual function of another adapter: its packets pass no virtual switch of a host.
    pub is_virtual: bool,
    /// Virtual functions that it has lent out.
    pub functions: Option<u32>,
    /// How many it could.
    pub functions_max: Option<u32>,
}

impl SrIov {
    /// As people read it.
    pub fn words(&self) -> String {
        match (self.is_virtual, self.functions) {
            (true, _) => "a virtual function itself".into(),
            (false, Some(0)) => "off".into(),
            (false, Some(count)) => format!("{count} virtual functions"),
            (false, None) => "unknown".into(),
        }
    }
}

impl Environment {
    /// Where reasons stand for what could not be read of RDMA devices.
    pub const RDMA: &str = "rdma";

    /// Whether all of its RDMA devices could be read.
    pub fn knows_its_rdma(&self) -> bool {
        let of_rdma = |key: &String| key.split('.').next() == Some(Environment::RDMA);
        !self.unreadable.keys().any(of_rdma)
    }

    /// Whether one of its NICs is a bridge to which nothing but virtual NICs belongs, as those of containers and guests: its network ends in the host.
    pub fn leads_inside(&self, nic: &Nic) -> bool {
        const KINDS: [&str; 4] = ["veth", "tun", "macvtap", "netkit"];
        let mut ports = self.nics.iter().filter(|port| port.master.as_ref() == Some(&nic.name));
        nic.is_of_kind("bridge") && ports.all(|port| KINDS.iter().any(|kind| port.is_of_kind(kind)))
    }
}

impl Nic {
    /// Whether it leads to this host alone.
    pub fn is_loopback(&self) -> bool {
        self.is_of_kind("loopback")
    }

    /// Whether no packet leaves the host by it, whatever addresses it has: those are the host's own, and reached by way of its other NICs, as where
    /// a host takes part in routing.
    pub fn leads_nowhere(&self) -> bool {
        self.is_loopback() || self.is_of_kind("dummy")
    }

    /// Why one of its facts is not known, by the name of the field; `None` where nobody said.
    pub fn why_unknown(&self, fact: &str) -> Option<&str> {
        let names = |one: &&UnknownFacts| one.facts.iter().any(|name| name == fact);
        self.unreadable.iter().find(names).map(|one| one.why.as_str())
    }

    /// Whether it is of a kind, by the kernel's name.
    pub fn is_of_kind(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// An address of a host over which iSCSI goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IscsiEnd {
    /// The host's own address.
    pub address: IpAddr,
    /// The other end of a connection; `null` or absent for a target that listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<IpAddr>,
}

/// How a host reaches one address of the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerRoute {
    /// The address.
    pub address: IpAddr,
    /// The interface that packets leave by; `None` without a route.
    pub nic: Option<String>,
    /// The source address that they are given.
    pub source: Option<IpAddr>,
    /// The router that they go through, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<IpAddr>,
    /// The hardware address that answers for it, or for the router, as far as it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Hardware addresses that claimed the address while the session was opened, each once: who answered the kernel's own question. Absent where
    /// the kernel did not ask (it knew one already), or the program may not listen; the server does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<String>,
    /// MTU that the route is configured with, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_ip_mtu_bytes: Option<u32>,
    /// Whether that is final: the kernel learns no smaller one and sends without "don't fragment".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_ip_mtu_locked: Option<bool>,
    /// MTU that the kernel uses for this address now, where routers have told it one or the route sets it, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt_ip_mtu_bytes: Option<u32>,
    /// Addresses of this host in the peer's network from which its own rules and routes let nothing go there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedSource>,
    /// Where several NICs of this host lie in the peer's network: by which of them its rules and routes send what comes from each of their
    /// addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRoute>,
}

/// The NIC by which a host sends to a peer from one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceRoute {
    /// The host's own address.
    pub source: IpAddr,
    /// The interface that packets leave by.
    pub nic: String,
}

/// An address from which a host sends nothing to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedSource {
    /// The host's own address.
    pub source: IpAddr,
    /// What its rules and routes say: `prohibit`, `unreachable`, `blackhole`, or `no route` where there is one without that source.
    pub verdict: String,
}

impl PeerRoute {
    /// To `address`, of which nothing is known yet.
    pub fn to(address: IpAddr) -> PeerRoute {
        PeerRoute {
            address,
            nic: None,
            source: None,
            router: None,
            mac: None,
            answered: vec![],
            route_ip_mtu_bytes: None,
            route_ip_mtu_locked: None,
            learnt_ip_mtu_bytes: None,
            refused: vec![],
            sources: vec![],
        }
    }
}

/// One address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix_len: u8,
}

impl NicAddress {
    /// Whether `address` lies in the same network.
    pub fn shares_network(&self, address: IpAddr) -> bool {
        // A shift by the whole length is none at all: with a prefix of 0 everything is one network.
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.prefix_len.min(32));
                u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.prefix_len.min(128));
                u128::from(a).checked_shr(shift) == u128::from(b).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// One RDMA device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RdmaDevice {
    /// Device name.
    pub name: String,
    /// `RoCE v1`, `RoCE v2`, `iWARP`, `InfiniBand`.
    pub transport: Option<String>,
    /// Network interface.
    pub netdev: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Port state in words.
    pub port_state: Option<String>,
    /// Active MTU of the port, in bytes of RDMA payload.
    pub rdma_path_mtu_bytes: Option<u32>,
    /// Limits by name.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// GIDs: index, type and value, as text.
    #[serde(default)]
    pub gids: Vec<String>,
    /// Settings (roce_tos, traffic class, PFC …) as text.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Whether the needs of SMB Direct are met, and if not, which is not.
    pub smb_direct: Option<String>,
}

impl RdmaDevice {
    /// [`RdmaDevice::transport`] of a device whose packets no router takes.
    pub const ROCE_V1: &str = "RoCE v1";
    /// [`RdmaDevice::transport`] of a device whose packets are UDP.
    pub const ROCE_V2: &str = "RoCE v2";

    /// Whether its packets are Ethernet's, which may drop them.
    pub fn is_roce(&self) -> bool {
        self.transport.as_deref().is_some_and(|said| [Self::ROCE_V1, Self::ROCE_V2].contains(&said))
    }
}

/// An environment with the findings made while observing it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// The host.
    pub environment: Environment,
    /// What is wrong with it at first sight.
    pub findings: Vec<Finding>,
}
