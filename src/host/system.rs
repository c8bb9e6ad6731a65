//! Processor, memory, kernel, clock and settings.

use pathproof_model::Environment;
use pathproof_sys::clock::RealClock;
use pathproof_sys::{host, limits};

/// Everything but the interfaces.
pub(super) fn facts() -> Environment {
    let facts = host::facts();
    Environment {
        hostname: facts.hostname,
        operating_system: facts.operating_system,
        kernel: facts.kernel,
        boot_id: facts.boot_id,
        network_namespace: facts.network_namespace,
        cpu_model: facts.cpu_model,
        cpus: std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()),
        numa_nodes: facts.numa_nodes,
        memory_bytes: facts.memory_bytes,
        memory_available_bytes: facts.memory_available_bytes,
        locked_memory_limit_bytes: limits::locked_memory_max_bytes(),
        virtualization: facts.virtualization,
        is_guest: facts.is_guest,
        clock_source: facts.clock_source,
        // A clock of its own: what a reading costs is the same for each, and no tick of it leaves this line.
        clock_stamp_ns: Some(RealClock::new().stamp_cost_ns()),
        settings: facts.settings,
        unreadable: facts.unreadable,
        ..Environment::default()
    }
}
