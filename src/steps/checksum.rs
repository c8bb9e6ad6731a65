//! TCP segments that a host threw away because their checksum was wrong, and what that means.
//!
//! Neither the sender nor the receiver's program hears of it: a transfer stalls as if the path had a size limit, when a
//! NIC or virtual switch that should have filled in the checksum did not. The kernel counts it (`InCsumErrors`, part of RFC
//! 4022's `tcpInErrs`), and both ends have it in their evidence of each step.

use pathproof_model::{End, Environment, Finding, Nic, ResultDoc, Severity, Step};

/// Fewer may be noise: the count is the host's, not the run's.
const ERRORS_MIN: u64 = 3;

/// How many segments `end` dropped for their checksum during a step, where that is worth a word.
pub fn errors_at(step: &Step, end: End) -> Option<u64> {
    let errors = step.evidence(end.node())?.tcp.as_ref()?.checksum_errors?;
    Some(errors).filter(|errors| *errors >= ERRORS_MIN)
}

/// What the counters of a step show. `stalled`: it did not move what it should have.
pub fn findings(step: &Step, stalled: bool, doc: &ResultDoc) -> Vec<Finding> {
    let hosts = [(End::Server, "the peer", "here"), (End::Client, "this host", "at the peer")];
    let mut found = vec![];
    for (end, receiver, at_sender) in hosts {
        let Some(errors) = errors_at(step, end) else { continue };
        let sender = end.other();
        let host = doc.environment(sender.node());
        let nic = host.and_then(|host| nic_of(step, sender, host)).unwrap_or("IF");
        let evidence = format!(
            "{}: segments are dropped for their checksum: Tcp InCsumErrors at {receiver} grew by {errors}",
            step.name
        );
        let finding = Finding::new("TCP-CHECKSUM", evidence)
            .with_next(format!(
                "Turn the checksum offload of the sending NIC off: ethtool -K {nic} tx off {at_sender}, and run again. If that \
                 heals it, the fault is the offload (driver, virtual switch or tunnel below it); if not, something on the path \
                 changes packets."
            ))
            .with("errors", errors)
            .with("end", end.name())
            .with("sending_nic", nic);
        found.push(if stalled { finding } else { finding.with_severity(Severity::Warning) });
    }
    found
}

/// The NIC that the lanes of a step used at `end`, or the only one that they can have used.
fn nic_of<'a>(step: &Step, end: End, host: &'a Environment) -> Option<&'a str> {
    let local = step.lanes.iter().filter(|lane| lane.end == end).find_map(|lane| lane.local.as_ref());
    if let Some(local) = local {
        let address = local.parse::<std::net::SocketAddr>().ok()?.ip().to_canonical();
        let nic = host.nics.iter().find(|nic| nic.addresses.iter().any(|a| a.address == address))?;
        return Some(&nic.name);
    }
    let carries =
        |nic: &&Nic| nic.carrier == Some(true) && nic.addresses.iter().any(|a| !a.address.is_loopback());
    let mut usable = host.nics.iter().filter(carries);
    usable.next().filter(|_| usable.next().is_none()).map(|nic| nic.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Evidence, LaneResult, NicAddress, NodeId, StepKind, TcpCounts, Tool};

    fn dropped(end: End, errors: u64) -> Evidence {
        let tcp = TcpCounts { checksum_errors: Some(errors), ..TcpCounts::still() };
        Evidence { node: end.node(), tcp: Some(tcp), ..Evidence::default() }
    }

    #[test]
    fn segments_that_a_host_dropped_are_blamed_on_the_sender_s_offload() {
        let mut doc = ResultDoc::new(Tool::default(), "");
        let addresses = vec![NicAddress { address: [10, 0, 0, 1].into(), prefix_len: 24 }];
        let nic = Nic { name: "ens192".into(), carrier: Some(true), addresses, ..Nic::default() };
        doc.learn(NodeId::CLIENT, Environment { nics: vec![nic], ..Environment::default() });
        let mut step = Step::new(StepKind::Migrate, "migration");
        step.lanes.push(LaneResult {
            end: End::Client,
            local: Some("10.0.0.1:4711".into()),
            ..LaneResult::default()
        });
        step.evidence = vec![dropped(End::Client, 0), dropped(End::Server, 2)];
        assert!(findings(&step, true, &doc).is_empty(), "two may be anybody's");
        step.evidence[1] = dropped(End::Server, 40);
        let found = findings(&step, true, &doc);
        assert_eq!(
            (found.len(), found[0].code.as_str(), found[0].severity),
            (1, "TCP-CHECKSUM", Severity::Error)
        );
        assert!(found[0].evidence.contains("InCsumErrors at the peer grew by 40"), "{}", found[0].evidence);
        assert!(found[0].next.contains("ethtool -K ens192 tx off here"), "{}", found[0].next);
        assert_eq!(
            findings(&step, false, &doc)[0].severity,
            Severity::Warning,
            "it got through all the same"
        );
    }
}
