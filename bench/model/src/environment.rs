//! What is known of a machine: the facts that both ends put into the result. `None` means unknown.

use std::collections::BTreeMap;
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
}

/// One address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix_len: u8,
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
