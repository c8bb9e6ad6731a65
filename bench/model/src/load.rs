//! How busy the hosts were while a step ran: what tells a slow path from a host that could not keep up.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::{is_still, still};

/// One host during a step. Every figure is `null` where the host does not tell it; a time that is absent is 0, where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostLoad {
    /// Length of the observation, in ns.
    pub elapsed_ns: u64,
    /// Processors.
    pub cpus: Option<u64>,
    /// Load average over a minute, at the end of the step.
    pub load_average: Option<f64>,
    /// Part of the time of all processors that was not idle, 0 to 1.
    pub busy_share: Option<f64>,
    /// The same of the processor that was busiest.
    pub busiest_cpu_share: Option<f64>,
    /// Part of its time that one processor spent on packets (soft interrupts), where that was most.
    pub busiest_cpu_softirq_share: Option<f64>,
    /// Time of all processors that a hypervisor gave to others (`/proc/stat`), in ns.
    #[serde(default = "still", skip_serializing_if = "is_still")]
    pub steal_ns: Option<u64>,
    /// Time in which at least one task waited for a processor (`/proc/pressure/cpu`, some), in ns.
    #[serde(default = "still", skip_serializing_if = "is_still")]
    pub pressure_some_ns: Option<u64>,
    /// Time in which all tasks did (full), in ns.
    #[serde(default = "still", skip_serializing_if = "is_still")]
    pub pressure_full_ns: Option<u64>,
    /// Time in which at least one task waited for memory (`/proc/pressure/memory`, some), in ns. Absent where the host does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure_memory_some_ns: Option<u64>,
    /// Time in which at least one task waited for a disk (`/proc/pressure/io`, some), in ns. Absent where the host does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure_io_some_ns: Option<u64>,
    /// Time for which the control group of this process was held back by its quota, in ns.
    #[serde(default = "still", skip_serializing_if = "is_still")]
    pub throttled_ns: Option<u64>,
    /// How often processors were slowed down for their heat (`thermal_throttle`), as all of them count it together: those that share a core or a package
    /// count the same. Absent where the host does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowed_by_heat: Option<u64>,
    /// How many processors each governor has the speed of, at the end of the step (`scaling_governor`). Absent where the host does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governors: Option<BTreeMap<String, u64>>,
}

/// What a lane's thread waited for a processor although it could have run (`/proc/thread-self/schedstat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Waited {
    /// Time on a run queue, in ns.
    pub waited_ns: u64,
    /// Of so much time, from the lane's first operation to its last, in ns.
    pub of_ns: u64,
}
