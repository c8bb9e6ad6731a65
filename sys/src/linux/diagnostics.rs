//! Tables of the kernel for somebody who helps remotely.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::files::open_at_once;
use crate::diagnostics::Table;

/// Longest table; what is longer ends with a line that says so.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Of the kernel's log, the last so many messages.
const MESSAGES_MAX: usize = 400;

/// Tables that are one file.
const FILES: [(&str, &str); 12] = [
    ("protocols.txt", "/proc/net/snmp"),
    ("protocols-more.txt", "/proc/net/netstat"),
    ("protocols-ipv6.txt", "/proc/net/snmp6"),
    ("sockets.txt", "/proc/net/sockstat"),
    ("backlog.txt", "/proc/net/softnet_stat"),
    ("nics.txt", "/proc/net/dev"),
    ("interrupts.txt", "/proc/interrupts"),
    ("memory.txt", "/proc/meminfo"),
    ("load.txt", "/proc/loadavg"),
    ("modules.txt", "/proc/modules"),
    ("os.txt", "/etc/os-release"),
    ("kernel.txt", "/proc/version"),
];

/// Settings that decide how fast a path can be, below `/proc/sys/net`.
const SETTINGS: [&str; 24] = [
    "core/rmem_max",
    "core/wmem_max",
    "core/rmem_default",
    "core/wmem_default",
    "core/netdev_max_backlog",
    "core/netdev_budget",
    "core/somaxconn",
    "core/default_qdisc",
    "core/busy_poll",
    "ipv4/tcp_rmem",
    "ipv4/tcp_wmem",
    "ipv4/tcp_mem",
    "ipv4/tcp_congestion_control",
    "ipv4/tcp_available_congestion_control",
    "ipv4/tcp_mtu_probing",
    "ipv4/tcp_window_scaling",
    "ipv4/tcp_sack",
    "ipv4/tcp_timestamps",
    "ipv4/tcp_ecn",
    "ipv4/ip_no_pmtu_disc",
    "ipv4/ip_forward",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/all/arp_ignore",
    "ipv6/conf/all/disable_ipv6",
];

/// All of them.
pub fn all() -> Vec<Table> {
    let mut tables: Vec<Table> = FILES
        .into_iter()
        .map(|(name, path)| Table {
            name,
            text: bounded(Path::new(path)).map_err(|e| format!("{path}: {e}")),
        })
        .collect();
    tables.push(Table { name: "settings.txt", text: Ok(settings()) });
    tables.push(Table { name: "bonds.txt", text: folder("/proc/net/bonding") });
    tables.push(Table { name: "rdma-counters.txt", text: adapters() });
    tables.push(Table { name: "log.txt", text: log().map_err(|error| refused("/dev/kmsg", &error)) });
    tables
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut bytes = vec![];
    File::open(path)?.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let longer = bytes.len() as u64 > TEXT_BYTES_MAX;
    bytes.truncate(TEXT_BYTES_MAX as usize);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if longer {
        text += "\n(the rest is left out)\n";
    }
    Ok(text)
}

fn settings() -> String {
    let mut text = String::new();
    for name in SETTINGS {
        let value = bounded(&Path::new("/proc/sys/net").join(name));
        let value = value.map_or_else(|error| format!("({error})"), |value| value.trim().replace('\t', " "));
        let _ = writeln!(text, "net.{} = {value}", name.replace('/', "."));
    }
    text
}

/// The files of a folder, one after the other; an empty text where there is none.
fn folder(path: &str) -> Result<String, String> {
    let fail = |error: io::Error| format!("{path}: {error}");
    let mut text = String::new();
    for file in sorted(Path::new(path)).map_err(fail)? {
        let _ = writeln!(text, "== {}", file.display());
        text += &bounded(&file).unwrap_or_else(|error| format!("({error})\n"));
    }
    Ok(text)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // The module is not loaded: nothing to list.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

/// What RDMA adapters count, port by port.
fn adapters() -> Result<String, String> {
    const HOME: &str = "/sys/class/infiniband";
    let mut text = String::new();
    for device in sorted(Path::new(HOME)).map_err(|error| format!("{HOME}: {error}"))? {
        for port in sorted(&device.join("ports")).unwrap_or_default() {
            let _ = writeln!(text, "== {}", port.display());
            for kind in ["counters", "hw_counters"] {
                for counter in sorted(&port.join(kind)).unwrap_or_default() {
                    let name = counter.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let value = bounded(&counter);
                    let value =
                        value.map_or_else(|error| format!("({error})"), |value| value.trim().to_owned());
                    let _ = writeln!(text, "{kind}/{name} {value}");
                }
            }
        }
    }
    Ok(text)
}

/// The end of the kernel's log. Every read gives one message; where the next one would be waited for, that was all.
fn log() -> io::Result<String> {
    let mut log = open_at_once(OpenOptions::new().read(true), Path::new("/dev/kmsg"))?;
    let mut last = std::collections::VecDeque::new();
    // The kernel writes none that is longer.
    let mut message = [0; 8192];
    loop {
        match log.read(&mut message) {
            Ok(0) => break,
            Ok(bytes) => {
                last.push_back(readable(&String::from_utf8_lossy(&message[..bytes])));
                if last.len() > MESSAGES_MAX {
                    last.pop_front();
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // Messages went away while they were read: the next read goes on behind the gap.
            Err(error)
                if error.raw_os_error() == Some(libc::EPIPE) || error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(last.into_iter().collect())
}

/// `PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT` as `dmesg` shows it.
fn readable(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let parts = line.split_once(';').and_then(|(head, text)| {
        let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
        Some((microseconds, text))
    });
    match parts {
        Some((us, text)) => format!("[{:5}.{:06}] {text}\n", us / 1_000_000, us % 1_000_000),
        None => format!("{line}\n"),
    }
}

fn refused(path: &str, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{path}: {error}; root may read it, or everybody with sysctl kernel.dmesg_restrict=0")
        }
        _ => format!("{path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_text_or_a_reason() {
        let all = all();
        for table in &all {
            match &table.text {
                Ok(text) => assert!(text.len() as u64 <= TEXT_BYTES_MAX * 2, "{}", table.name),
                Err(why) => assert!(why.starts_with('/') && why.contains(": "), "{}: {why}", table.name),
            }
        }
        let text = |name: &str| all.iter().find(|table| table.name == name).unwrap().text.clone();
        assert!(text("protocols.txt").unwrap().contains("Tcp: "));
        assert!(text("settings.txt").unwrap().contains("net.ipv4.tcp_rmem = "));
        let mut names: Vec<_> = all.iter().map(|table| table.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_message_of_the_kernel_is_shown_as_usual() {
        assert_eq!(
            readable("6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n"),
            "[    5.140900] NET: Registered\n"
        );
        assert_eq!(readable("odd"), "odd\n");
        assert!(refused("/dev/kmsg", &ErrorKind::PermissionDenied.into()).contains("dmesg_restrict"));
    }
}
