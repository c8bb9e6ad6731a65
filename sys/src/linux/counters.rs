//! Counters of the network namespace of this process, from `/proc/net`.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;

use crate::counters::{Backlog, ConnectionTracking, Counters};

const CONNECTION_TRACKING: &str = "/proc/net/stat/nf_conntrack";

/// TCP, UDP, IPv4 and ICMP (`snmp` and `netstat`, which are written alike), or why they cannot be read.
pub fn protocols() -> Result<Counters, String> {
    let mut counters = pairs(&read("/proc/net/snmp")?);
    counters.extend(pairs(&read("/proc/net/netstat")?));
    Ok(Counters(counters))
}

/// What files that the kernel wrote like that, kept as text, say.
pub fn protocols_as_written(text: &str) -> Counters {
    Counters(pairs(text))
}

/// UDP, IP and ICMP of version 6 (`snmp6`), in a group without a name; a kernel without IPv6 does not have them.
pub fn protocols_v6() -> Result<Counters, String> {
    Ok(Counters(lines(&read("/proc/net/snmp6")?)))
}

/// What was dropped before any protocol saw it, by all processors.
pub fn backlog() -> Result<Backlog, String> {
    read("/proc/net/softnet_stat").map(|text| backlog_of(&text))
}

/// What connection tracking threw away, on all processors; `None` where nothing is tracked.
pub fn connection_tracking() -> Result<Option<ConnectionTracking>, String> {
    match fs::read_to_string(CONNECTION_TRACKING) {
        Ok(text) => Ok(Some(connection_tracking_of(&text))),
        // The module is not loaded: nothing to know.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{CONNECTION_TRACKING}: {error}")),
    }
}

/// How many connections are followed now, and how many can be; `None` where none are.
pub fn connection_table() -> Result<Option<(u64, u64)>, String> {
    connection_table_in("/proc/sys/net/netfilter")
}

fn connection_table_in(folder: &str) -> Result<Option<(u64, u64)>, String> {
    let number = |name: &str| {
        let path = format!("{folder}/{name}");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u64>().map(Some).map_err(|_| format!("{path}: no number")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{path}: {error}")),
        }
    };
    Ok(number("nf_conntrack_count")?.zip(number("nf_conntrack_max")?))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

type Named = HashMap<(String, String), u64>;

/// Pairs of lines that begin with the name of their group: names, then values.
fn pairs(text: &str) -> Named {
    let mut counters = HashMap::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((same, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if group != same {
            continue;
        }
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            // RtoMax and the like may be negative; nothing that is asked for is.
            counters.extend(value.parse().ok().map(|value| ((group.to_owned(), name.to_owned()), value)));
        }
    }
    counters
}

/// A name and a value in each line.
fn lines(text: &str) -> Named {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(char::is_whitespace)?;
            Some(((String::new(), name.to_owned()), value.trim().parse().ok()?))
        })
        .collect()
}

/// A line for each processor, in hexadecimal: processed, dropped, squeezed, and others that differ between kernels.
fn backlog_of(text: &str) -> Backlog {
    Backlog { dropped: hexadecimal_sum(text.lines(), 1), squeezed: hexadecimal_sum(text.lines(), 2) }
}

/// Names in the first line; then a line for each processor, in hexadecimal.
fn connection_tracking_of(text: &str) -> ConnectionTracking {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let column = |name: &str| {
        let at = names.iter().position(|one| *one == name)?;
        hexadecimal_sum(lines.clone(), at)
    };
    ConnectionTracking {
        dropped: column("drop"),
        dropped_early: column("early_drop"),
        insert_failed: column("insert_failed"),
        invalid: column("invalid"),
    }
}

/// The sum of a column; unknown where a line is cut short.
fn hexadecimal_sum<'a>(mut lines: impl Iterator<Item = &'a str>, column: usize) -> Option<u64> {
    lines.try_fold(0u64, |sum, line| {
        let field = line.split_ascii_whitespace().nth(column)?;
        sum.checked_add(u64::from_str_radix(field, 16).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
                    00000005  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000002 0000000a 00000000 00000000  00000000 00000000 00000000 00000000\n\
                    00000005  00000000 00000000 00000000 00000010 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000  00000000 00000000 00000000 00000000\n";
        let expected = ConnectionTracking {
            dropped: Some(11),
            dropped_early: Some(0),
            insert_failed: Some(2),
            invalid: Some(17),
        };
        assert_eq!(connection_tracking_of(text), expected);
        assert_eq!(connection_tracking_of(""), ConnectionTracking::default());
    }

    #[test]
    fn the_table_of_connections_is_absent_where_none_are_followed() {
        let folder = std::env::temp_dir().join(format!("pathproof-connections-{}", std::process::id()));
        let of = folder.to_str().unwrap();
        assert_eq!(connection_table_in(of), Ok(None));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("nf_conntrack_count"), "17\n").unwrap();
        assert_eq!(connection_table_in(of), Ok(None), "half of it says nothing");
        fs::write(folder.join("nf_conntrack_max"), "262144\n").unwrap();
        assert_eq!(connection_table_in(of), Ok(Some((17, 262_144))));
        fs::write(folder.join("nf_conntrack_max"), "many\n").unwrap();
        assert!(connection_table_in(of).unwrap_err().contains("no number"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn processors_are_added_up_and_a_line_cut_short_is_unknown() {
        let text = "065bff91 00000000 00000082 00000000\n068d5f75 0000000a 0000009f 00000000\n";
        assert_eq!(backlog_of(text), Backlog { dropped: Some(10), squeezed: Some(0x82 + 0x9f) });
        assert_eq!(backlog_of("065bff91 00000001\n").squeezed, None);
    }

    #[test]
    fn a_counter_that_a_kernel_lacks_is_unknown() {
        let text = "Tcp: OutSegs RtoMax\nTcp: 7 -1\nTcpExt: TCPDSACKOldSent\nTcpExt: 3\nIp: InReceives\n";
        let four = Counters(pairs(text));
        assert_eq!((four.get("Tcp", "OutSegs"), four.get("Tcp", "InSegs")), (Some(7), None));
        assert_eq!(four.get("Tcp", "RtoMax"), None, "nothing negative is a count");
        assert_eq!(four.get("Ip", "InReceives"), None, "names without values");
        let six = Counters(lines("Ip6InReceives                   \t12264\nUdp6NoPorts\t0\n"));
        assert_eq!((six.get("", "Ip6InReceives"), six.get("", "Udp6NoPorts")), (Some(12264), Some(0)));
    }

    #[test]
    fn this_machine_counts() {
        let four = protocols().unwrap();
        assert!(four.get("Tcp", "OutSegs").is_some() && four.get("TcpExt", "TCPTimeouts").is_some());
        assert!(backlog().unwrap().dropped.is_some());
    }
}
