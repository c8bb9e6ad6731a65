//! What is known of a machine: the facts that both ends put into the result. `None` means unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Why a part of the above could not be read.
    #[serde(default)]
    pub unreadable: BTreeMap<String, String>,
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
    /// Offloads by ethtool name (`tcp-segmentation-offload` …).
    #[serde(default)]
    pub offloads: BTreeMap<String, bool>,
    /// Addresses.
    #[serde(default)]
    pub addresses: Vec<NicAddress>,
    /// RDMA device on this interface.
    pub rdma_device: Option<String>,
    /// Master interface (bridge, bond), by name.
    pub master: Option<String>,
    /// The interface that a VLAN device lies upon, by name, where that is in the same network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// Source addresses whose way back leads elsewhere are refused: 0 no, 1 strictly, 2 loosely (`rp_filter`); the larger of
    /// this and `net.ipv4.conf.all.rp_filter` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse_path_filter: Option<u32>,
    /// For which of its addresses the host answers over this NIC (`arp_ignore`; the larger of this and that of `all` holds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arp_ignore: Option<u32>,
    /// Which of its addresses the host asks from (`arp_announce`, likewise).
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
}

impl Nic {
    /// Whether it leads to this host alone.
    pub fn is_loopback(&self) -> bool {
        self.is_of_kind("loopback")
    }

    /// Whether it is of a kind, by the kernel's name.
    pub fn is_of_kind(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
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
            route_ip_mtu_bytes: None,
            route_ip_mtu_locked: None,
            learnt_ip_mtu_bytes: None,
            refused: vec![],
        }
    }
}

/// Data center bridging of an interface (IEEE 802.1Qaz). `None` is what the driver does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dcb {
    /// Priority flow control.
    pub pfc: Option<DcbPfc>,
    /// Enhanced transmission selection.
    pub ets: Option<DcbEts>,
    /// Which traffic gets which priority.
    pub applications: Option<Vec<DcbApplication>>,
}

/// Priority flow control (IEEE 802.1Qbb).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DcbPfc {
    /// Priorities that are paused instead of dropped.
    pub enabled_priorities: Vec<u8>,
    /// How many the adapter can protect at once.
    pub classes_max: Option<u8>,
}

/// Enhanced transmission selection (IEEE 802.1Qaz): how traffic classes share the link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DcbEts {
    /// Share of each traffic class in percent, for classes whose algorithm is `ets`.
    pub bandwidth_percent: Vec<u8>,
    /// Algorithm of each traffic class.
    pub algorithms: Vec<DcbAlgorithm>,
    /// Traffic class of each priority.
    pub class_of_priority: Vec<u8>,
}

/// How a traffic class is served (IEEE 802.1Q, transmission selection algorithms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DcbAlgorithm {
    /// Before all others, by priority.
    Strict,
    /// At a rate of its own.
    #[serde(rename = "credit-based shaper")]
    CreditBasedShaper,
    /// By its percent of the link.
    Ets,
    /// As the vendor has it.
    Vendor,
    /// Something else, or nobody knows how.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DcbAlgorithm {
    /// By its number in 802.1Q.
    pub fn of(number: u8) -> DcbAlgorithm {
        match number {
            0 => DcbAlgorithm::Strict,
            1 => DcbAlgorithm::CreditBasedShaper,
            2 => DcbAlgorithm::Ets,
            255 => DcbAlgorithm::Vendor,
            _ => DcbAlgorithm::Unknown,
        }
    }
}

impl fmt::Display for DcbAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DcbAlgorithm::Strict => "strict",
            DcbAlgorithm::CreditBasedShaper => "credit-based shaper",
            DcbAlgorithm::Ets => "ets",
            DcbAlgorithm::Vendor => "vendor",
            DcbAlgorithm::Unknown => "unknown",
        })
    }
}

/// What the application priority table knows traffic by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DcbSelector {
    /// The type in an Ethernet header.
    Ethertype,
    /// A port of TCP.
    StreamPort,
    /// A port of UDP.
    DgramPort,
    /// A port of TCP or UDP.
    Port,
    /// The mark in an IP header.
    Dscp,
    /// Something else, or nobody knows what.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DcbSelector {
    /// The word that stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            DcbSelector::Ethertype => "ethertype",
            DcbSelector::StreamPort => "stream-port",
            DcbSelector::DgramPort => "dgram-port",
            DcbSelector::Port => "port",
            DcbSelector::Dscp => "dscp",
            DcbSelector::Unknown => "unknown",
        }
    }
}

/// One entry of the application priority table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DcbApplication {
    /// What `protocol` is.
    pub selector: DcbSelector,
    /// The number that traffic is known by.
    pub protocol: u16,
    /// Its priority.
    pub priority: u8,
}

/// UDP port of RoCE v2.
const ROCE_PORT: u16 = 4791;
/// Port of SMB, by which SMB Direct is told apart over iWARP, and by convention over RoCE too.
const SMB_PORT: u16 = 445;

impl Dcb {
    /// The priority of RoCE packets, as far as the table decides it, and by which entry: that of the DSCP in use before
    /// that of the UDP port.
    pub fn roce_priority(&self, dscp: Option<u8>) -> Option<(u8, String)> {
        let table = self.applications.as_deref()?;
        let by_dscp =
            |a: &&DcbApplication| a.selector == DcbSelector::Dscp && Some(a.protocol) == dscp.map(u16::from);
        let by_port = |a: &&DcbApplication| {
            a.protocol == ROCE_PORT && matches!(a.selector, DcbSelector::DgramPort | DcbSelector::Port)
        };
        if let Some(entry) = table.iter().find(by_dscp) {
            return Some((entry.priority, format!("DSCP {}", entry.protocol)));
        }
        table.iter().find(by_port).map(|entry| (entry.priority, format!("UDP port {ROCE_PORT}")))
    }

    /// The priorities that the table gives SMB Direct, by the port of SMB or by that of RoCE below it; none where it says nothing of either.
    pub fn smb_direct_priorities(&self) -> BTreeSet<u8> {
        let by_port = |a: &&DcbApplication| {
            matches!(a.selector, DcbSelector::StreamPort | DcbSelector::DgramPort | DcbSelector::Port)
                && matches!(a.protocol, SMB_PORT | ROCE_PORT)
        };
        self.applications.iter().flatten().filter(by_port).map(|a| a.priority).collect()
    }

    /// Why RoCE packets may be dropped under load here, if they may; `None` when protected or unknown.
    pub fn roce_unprotected(&self, dscp: Option<u8>) -> Option<String> {
        let enabled = &self.pfc.as_ref()?.enabled_priorities;
        if enabled.is_empty() {
            return Some("PFC is enabled on no priority".into());
        }
        let on = enabled.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        match self.roce_priority(dscp) {
            Some((priority, _)) if enabled.contains(&priority) => None,
            Some((priority, by)) => {
                Some(format!("{by} has priority {priority}, and PFC is enabled on priority {on} only"))
            }
            // Without an entry packets have the priority of their VLAN tag, which is not known here.
            None if self.applications.is_some() => Some(format!(
                "PFC is enabled on priority {on}, and no application entry gives RoCE (UDP port {ROCE_PORT}{}) a priority",
                dscp.map_or_else(String::new, |d| format!(" or DSCP {d}"))
            )),
            None => None,
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

/// An environment with the findings made while observing it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// The host.
    pub environment: Environment,
    /// What is wrong with it at first sight.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dcb(enabled: &[u8], entries: &[(DcbSelector, u16, u8)]) -> Dcb {
        let applications = entries
            .iter()
            .map(|(selector, protocol, priority)| DcbApplication {
                selector: *selector,
                protocol: *protocol,
                priority: *priority,
            })
            .collect();
        let pfc = DcbPfc { enabled_priorities: enabled.to_vec(), classes_max: Some(8) };
        Dcb { pfc: Some(pfc), ets: None, applications: Some(applications) }
    }

    #[test]
    fn an_algorithm_is_written_as_it_is_shown_and_one_that_is_not_known_is_read() {
        for number in [0, 1, 2, 255, 9] {
            let algorithm = DcbAlgorithm::of(number);
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.to_string());
        }
        // Builds before wrote the number of what they did not know.
        let read: Vec<DcbAlgorithm> = serde_json::from_str(r#"["ets", "9", "credit-based shaper"]"#).unwrap();
        let known = [DcbAlgorithm::Ets, DcbAlgorithm::Unknown, DcbAlgorithm::CreditBasedShaper];
        assert_eq!(read, known);
    }

    #[test]
    fn smb_direct_has_the_priorities_of_its_ports_and_of_no_other_table() {
        let of = |entries: &[(DcbSelector, u16, u8)]| {
            dcb(&[3], entries).smb_direct_priorities().into_iter().collect::<Vec<u8>>()
        };
        let (stream, datagram) = (DcbSelector::StreamPort, DcbSelector::DgramPort);
        assert_eq!(of(&[(stream, 445, 3), (datagram, 4791, 3), (stream, 3343, 7)]), [3]);
        assert_eq!(of(&[(DcbSelector::Port, 4791, 4), (stream, 445, 3)]), [3, 4]);
        assert_eq!(of(&[(DcbSelector::Ethertype, 445, 3), (DcbSelector::Dscp, 4791, 3)]), [0u8; 0]);
        assert!(Dcb::default().smb_direct_priorities().is_empty());
    }

    #[test]
    fn the_dscp_in_use_decides_before_the_port() {
        let both = dcb(&[3], &[(DcbSelector::Port, 4791, 3), (DcbSelector::Dscp, 26, 4)]);
        assert_eq!(both.roce_priority(Some(26)).unwrap().0, 4);
        assert_eq!(both.roce_priority(Some(10)).unwrap().0, 3);
        assert_eq!(both.roce_unprotected(None), None);
        assert!(both.roce_unprotected(Some(26)).unwrap().contains("DSCP 26 has priority 4"));
    }

    #[test]
    fn a_priority_without_pfc_is_unprotected_and_unknown_is_no_verdict() {
        assert!(dcb(&[], &[]).roce_unprotected(None).unwrap().contains("no priority"));
        assert!(dcb(&[3], &[]).roce_unprotected(None).unwrap().contains("no application entry"));
        assert!(dcb(&[3], &[(DcbSelector::StreamPort, 4791, 3)]).roce_unprotected(None).is_some());
        assert_eq!(Dcb::default().roce_unprotected(None), None);
        let silent = Dcb { applications: None, ..dcb(&[3], &[]) };
        assert_eq!(silent.roce_unprotected(None), None);
    }
}
