//! The machine: processor, memory, system and settings.

use std::collections::BTreeMap;

pub use crate::system::host::{facts, memory_available_bytes};

/// What the system tells of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name of the host.
    pub hostname: Option<String>,
    /// Operating system, as it calls itself.
    pub operating_system: Option<String>,
    /// Version of the kernel.
    pub kernel: Option<String>,
    /// Which boot of which machine this is.
    pub boot_id: Option<String>,
    /// The network stack of this process, by which hosts in one machine differ.
    pub network_namespace: Option<String>,
    /// Processor, as it calls itself.
    pub cpu_model: Option<String>,
    /// NUMA nodes.
    pub numa_nodes: Option<u32>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory available without swapping, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// The virtual machine or container that this is.
    pub virtualization: Option<String>,
    /// Whether this is a virtual machine, where the processor tells.
    pub is_guest: Option<bool>,
    /// What the system's own clock reads.
    pub clock_source: Option<String>,
    /// Settings that bear on a path, by name.
    pub settings: BTreeMap<String, String>,
    /// What could not be read, and why.
    pub unreadable: BTreeMap<String, String>,
}
