//! Processor, memory, kernel, clock source and settings, from `/proc` and `/sys`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::host::Facts;

/// All of them.
pub fn facts() -> Facts {
    let mut unreadable = BTreeMap::new();
    let mut read = |what: &str, path: &str| match fs::read_to_string(path) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) => {
            unreadable.insert(what.into(), format!("{path}: {error}"));
            None
        }
    };
    let memory = read("memory", "/proc/meminfo").unwrap_or_default();
    let cpu = read("cpu_model", "/proc/cpuinfo").unwrap_or_default();
    let mut facts = Facts {
        hostname: read("hostname", "/proc/sys/kernel/hostname"),
        operating_system: read("operating_system", "/etc/os-release").and_then(|t| os_name(&t)),
        kernel: read("kernel", "/proc/sys/kernel/osrelease"),
        boot_id: read("boot_id", "/proc/sys/kernel/random/boot_id"),
        network_namespace: fs::read_link("/proc/self/ns/net")
            .ok()
            .map(|to| to.to_string_lossy().into_owned()),
        cpu_model: after_colon(&cpu, "model name"),
        numa_nodes: numa_nodes(),
        memory_bytes: kib(&memory, "MemTotal"),
        memory_available_bytes: kib(&memory, "MemAvailable"),
        virtualization: virtualization(&cpu),
        is_guest: is_guest(&cpu),
        clock_source: read(
            "clock_source",
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        ..Facts::default()
    };
    facts.settings = settings(&mut unreadable);
    silent(&facts, &mut unreadable);
    facts.unreadable = unreadable;
    facts
}

/// Reasons for what is not known although no file refused to be read: processors of some makes have no name, and no flags.
fn silent(facts: &Facts, unreadable: &mut BTreeMap<String, String>) {
    let reasons = [
        ("network_namespace", facts.network_namespace.is_none(), "/proc/self/ns/net: cannot be read"),
        ("cpu_model", facts.cpu_model.is_none(), "/proc/cpuinfo: no model name"),
        ("is_guest", facts.is_guest.is_none(), "/proc/cpuinfo: no flags"),
        ("numa_nodes", facts.numa_nodes.is_none(), "/sys/devices/system/node: no node"),
        ("memory_bytes", facts.memory_bytes.is_none(), "/proc/meminfo: no MemTotal"),
        ("memory_available_bytes", facts.memory_available_bytes.is_none(), "/proc/meminfo: no MemAvailable"),
    ];
    for (what, _, why) in reasons.into_iter().filter(|(_, is_unknown, _)| *is_unknown) {
        unreadable.entry(what.into()).or_insert_with(|| why.into());
    }
}

/// Memory available without swapping at this moment, in bytes.
pub fn memory_available_bytes() -> Option<u64> {
    kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// Settings that bear on a path, by the names that `sysctl` uses.
const SYSCTLS: [&str; 23] = [
    "net.core.busy_poll",
    "net.core.default_qdisc",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv4.ipfrag_high_thresh",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_ecn",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_base_mss",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.tcp_wmem",
    "net.ipv4.route.mtu_expires",
    "net.ipv6.ip6frag_high_thresh",
    "vm.nr_hugepages",
];

fn settings(unreadable: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let sysctls =
        SYSCTLS.iter().map(|name| ((*name).to_owned(), format!("/proc/sys/{}", name.replace('.', "/"))));
    let others = [
        ("transparent_hugepage", "/sys/kernel/mm/transparent_hugepage/enabled"),
        ("cpu0.scaling_governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ];
    for (name, path) in sysctls.chain(others.map(|(name, path)| (name.to_owned(), path.to_owned()))) {
        match fs::read_to_string(&path) {
            Ok(text) => {
                settings.insert(name, text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            // A setting that this kernel does not have is no setting that could not be read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                unreadable.insert(format!("settings.{name}"), format!("{path}: {error}"));
            }
        }
    }
    settings
}

fn os_name(text: &str) -> Option<String> {
    let value =
        |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).map(|v| v.trim_matches('"').to_owned());
    value("PRETTY_NAME=").or_else(|| value("NAME="))
}

fn after_colon(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(k, _)| k.trim() == key)
        .map(|(_, v)| v.trim().to_owned())
}

/// A line of `/proc/meminfo` in bytes.
fn kib(text: &str, key: &str) -> Option<u64> {
    after_colon(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn numa_nodes() -> Option<u32> {
    let entries = fs::read_dir("/sys/devices/system/node").ok()?;
    let nodes = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix("node"));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    u32::try_from(nodes.count()).ok().filter(|count| *count > 0)
}

/// Whether the processor is one of a virtual machine; processors that have no such flag at all tell nothing.
fn is_guest(cpu: &str) -> Option<bool> {
    after_colon(cpu, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
}

fn virtualization(cpu: &str) -> Option<String> {
    let container = fs::read_to_string("/run/systemd/container").ok().map(|name| name.trim().to_owned());
    let container = container.filter(|name| !name.is_empty()).or_else(|| {
        let known = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
        known.iter().find(|(path, _)| Path::new(path).exists()).map(|(_, name)| (*name).to_owned())
    });
    let machine = is_guest(cpu).unwrap_or(false).then(|| {
        let product = fs::read_to_string("/sys/class/dmi/id/product_name").ok();
        match product.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
            Some(product) => format!("virtual machine ({product})"),
            None => "virtual machine".to_owned(),
        }
    });
    match (container.map(|name| format!("container ({name})")), machine) {
        (Some(container), Some(machine)) => Some(format!("{container} in {machine}")),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_file_tells_has_its_reason_and_a_refusal_keeps_its_own() {
        let refused = ("cpu_model".to_owned(), "/proc/cpuinfo: Permission denied".to_owned());
        let mut unreadable = BTreeMap::from([refused.clone()]);
        silent(&Facts { numa_nodes: Some(2), ..Facts::default() }, &mut unreadable);
        assert_eq!(unreadable["cpu_model"], refused.1);
        assert_eq!(unreadable["is_guest"], "/proc/cpuinfo: no flags");
        assert!(unreadable.contains_key("memory_bytes") && !unreadable.contains_key("numa_nodes"));
        let here = facts();
        assert_eq!(here.is_guest.is_none(), here.unreadable.contains_key("is_guest"), "{here:?}");
    }

    #[test]
    fn proc_files_are_read_with_their_units() {
        let text = "MemTotal:       24576000 kB\nMemFree: 1 kB\nHugePages_Total:       7\n";
        assert_eq!(kib(text, "MemTotal"), Some(24_576_000 * 1024));
        assert_eq!(kib(text, "HugePages_Total"), None);
        assert_eq!(kib(text, "SwapTotal"), None);
        assert_eq!(os_name("ID=x\nPRETTY_NAME=\"Debian 13\"\n").as_deref(), Some("Debian 13"));
        assert_eq!(os_name("ID=x\n"), None);
        assert_eq!(is_guest("flags\t\t: fpu vme hypervisor lahf_lm\n"), Some(true));
        assert_eq!(is_guest("flags\t\t: fpu vme lahf_lm\n"), Some(false));
        assert_eq!(is_guest("Features\t: fp asimd\n"), None, "ARM has no such flag");
    }
}
