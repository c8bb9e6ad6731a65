//! Processor, memory, kernel, clock, settings and policy routing.

use pathproof_model::Environment;
use pathproof_model::environment::PolicyRouting;
use pathproof_sys::clock::RealClock;
use pathproof_sys::{host, limits, routes};

/// Most tables, and most rules, that are told: a part of them would make the rest look free.
const TAKEN_MAX: usize = 256;

/// Everything but the interfaces.
pub(super) fn facts() -> Environment {
    let mut facts = host::facts();
    let policy_routing = match policy_routing() {
        Ok(taken) => Some(taken),
        Err(why) => {
            facts.unreadable.insert("policy_routing".into(), why);
            None
        }
    };
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
        policy_routing,
        unreadable: facts.unreadable,
        ..Environment::default()
    }
}

fn policy_routing() -> Result<PolicyRouting, String> {
    let routes::Taken { tables, priorities } =
        routes::taken().map_err(|error| format!("netlink: {error}"))?;
    if tables.len().max(priorities.len()) > TAKEN_MAX {
        return Err(format!("more than {TAKEN_MAX} routing tables or rules"));
    }
    Ok(PolicyRouting { tables, priorities })
}
