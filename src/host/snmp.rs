//! What the kernel counts of TCP for the whole host (in the network namespace of this process).

/// TCP segments dropped because their checksum was wrong (`InCsumErrors`); `None` where the kernel does not tell.
pub fn tcp_checksum_errors() -> Option<u64> {
    counter(&std::fs::read_to_string("/proc/net/snmp").ok()?, "Tcp:", "InCsumErrors")
}

/// A number out of pairs of lines, the first of which has the names.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name_and_unknown_is_not_zero() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: InErrs OutRsts InCsumErrors\nTcp: 3 4 5\nUdp: InCsumErrors\nUdp: 9\n";
        assert_eq!(counter(text, "Tcp:", "InCsumErrors"), Some(5));
        assert_eq!(counter(text, "Tcp:", "Nothing"), None);
        assert_eq!(counter("Tcp: InCsumErrors\n", "Tcp:", "InCsumErrors"), None);
        assert!(tcp_checksum_errors().is_some());
    }
}
