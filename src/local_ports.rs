//! Local ports of connections: a host that has none left refuses to connect before anything leaves it, and its error speaks of an address.

use std::io;

use pathproof_model::{ErrorKind, Finding, StepError};
use pathproof_sys::limits;

/// Fewer are used up by a handful of programs.
const FEW: u64 = 256;
/// Of the ports that a host gives to connections so many are in use where there are none left to speak of.
const USED: f64 = 0.9;

/// The local ports that this host gives to connections: the first, the last, and how many.
fn range() -> Option<(u16, u16, u64)> {
    let (first, last) = limits::local_ports()?;
    Some((first, last, u64::from(last.saturating_sub(first)) + 1))
}

/// Whether a connection may well find no local port.
pub fn are_few() -> bool {
    let used = limits::tcp_sockets().unwrap_or(0);
    range().is_some_and(|(.., all)| all < FEW || used as f64 >= all as f64 * USED)
}

fn told() -> String {
    range().map_or_else(
        || "how many it has is not known".into(),
        |(first, last, all)| format!("it gives connections {all}, from {first} to {last}"),
    )
}

/// What an error of connecting means, where it is about the near end of a connection.
pub fn advice(error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::AddrNotAvailable).then(|| {
        format!(
            "{error}: this host has no local port left for it ({}), or no address that leads there; see what uses the ports (ss -s), and allow \
             more (sysctl -w net.ipv4.ip_local_port_range='32768 60999')",
            told()
        )
    })
}

/// What is to be said of a step that lacked something at this host, where that may well be local ports.
pub fn finding(stopped: Option<&StepError>) -> Option<Finding> {
    let lacked = stopped.is_some_and(|error| error.kind == ErrorKind::Resource);
    let (first, last, all) = range().filter(|_| lacked && are_few())?;
    let used = limits::tcp_sockets();
    let use_of = used.map_or_else(String::new, |used| format!(", and TCP has {used} sockets at this moment"));
    let evidence = format!(
        "this host gives connections out {all} local ports (net.ipv4.ip_local_port_range: {first} to {last}){use_of}; a connection of the run got none"
    );
    Some(Finding::new("HOST-PORTS", evidence).with("ports", all).with("first", first).with("last", last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_local_port_hears_how_many_there_are_and_what_to_do() {
        let said = advice(&io::ErrorKind::AddrNotAvailable.into()).unwrap();
        assert!(said.contains("local port") && said.contains("ss -s"), "{said}");
        assert!(said.contains("sysctl -w net.ipv4.ip_local_port_range"), "{said}");
        assert_eq!(advice(&io::ErrorKind::ConnectionRefused.into()), None);
    }

    #[test]
    fn only_a_step_that_lacked_something_is_said_to_have_found_no_port() {
        let stopped = |kind| StepError::new(kind, "connecting".into());
        assert_eq!(finding(None), None);
        assert_eq!(finding(Some(&stopped(ErrorKind::PeerLost))), None);
        let found = finding(Some(&stopped(ErrorKind::Resource)));
        assert_eq!(found.is_some(), are_few());
    }
}
