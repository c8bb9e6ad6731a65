//! TCP segments that a host threw away because their checksum was wrong, and what that means.
//!
//! Neither the sender nor the receiver's program hears of it: a transfer stalls as if the path had a size limit, when a
//! NIC or virtual switch that should have filled in the checksum did not. The kernel counts it (`InCsumErrors`, part of RFC
//! 4022's `tcpInErrs`), and both ends have it in their evidence of each step.

use pathproof_model::finding::Commands;
use pathproof_model::offloads::ERRORS_MIN;
use pathproof_model::told;
use pathproof_model::{Direction, End, Environment, Finding, Nic, ResultDoc, Severity, Share, Step};

/// How many segments `end` dropped for their checksum during a step, where that is worth a word.
pub fn errors_at(step: &Step, end: End) -> Option<u64> {
    let errors = step.evidence(end.node())?.tcp.as_ref()?.checksum_errors?;
    Some(errors).filter(|errors| *errors >= ERRORS_MIN)
}

/// How many datagrams `end` dropped for their checksum during a step.
pub fn damaged_datagrams(step: &Step, end: End) -> Option<u64> {
    let evidence = step.evidence(end.node())?;
    let families = [&evidence.udp, &evidence.udp6].map(|counts| counts.as_ref()?.checksum_errors);
    families.into_iter().flatten().reduce(u64::saturating_add)
}

/// The same of one family.
pub fn damaged_of_family(step: &Step, end: End, ipv4: bool) -> Option<u64> {
    let evidence = step.evidence(end.node())?;
    let counts = if ipv4 { &evidence.udp } else { &evidence.udp6 };
    counts.as_ref()?.checksum_errors
}

/// Paced datagrams that arrived with other bits than they were sent with. They are whole when they leave, whatever segments an adapter
/// fills in, so it happened on the way.
pub fn datagrams(step: &Step) -> Vec<Finding> {
    let ends = [(End::Server, "the peer", Direction::Out), (End::Client, "this host", Direction::In)];
    let paths = step.detail.loss.as_deref().unwrap_or_default();
    let told = ends.into_iter().filter_map(|(end, receiver, direction)| {
        let errors = damaged_datagrams(step, end).filter(|errors| *errors >= ERRORS_MIN)?;
        let way = || paths.iter().filter(|path| path.direction == direction && !path.is_silent());
        let received: u64 = way().flat_map(|path| &path.flows).map(|flow| flow.small.received + flow.full.received).sum();
        let (low, high) = Share { part: errors, of: received.saturating_add(errors) }.bounds();
        // Which pair it is can be told where only one lost anything.
        let mut lossy = way().filter(|path| path.flows.iter().any(|flow| (flow.small.lost() + flow.full.lost()).part > 0));
        let pair = lossy.next().filter(|_| lossy.next().is_none());
        let over = pair.map_or_else(|| format!("{} {direction}", step.name, direction = direction.name()), |path| path.name());
        let said = format!(
            "{over}: {errors} datagrams were dropped by {receiver} for a wrong checksum (Udp InCsumErrors), {received} arrived whole (95 % interval {:.3} % to {:.3} %)",
            low * 100.0,
            high * 100.0
        );
        let finding = Finding::new("PATH-CORRUPTS", said).with("errors", errors).tell(told::DIRECTION, direction);
        Some(match pair {
            Some(path) => finding.tell(told::LOCAL_NIC, path.local_nic.clone()).tell(told::REMOTE_NIC, path.remote_nic.clone()),
            None => finding,
        })
    });
    told.collect()
}

/// What the counters of a step show. `stalled`: it did not move what it should have.
pub fn findings(step: &Step, stalled: bool, doc: &ResultDoc) -> Vec<Finding> {
    let hosts = [(End::Server, "the peer", "here"), (End::Client, "this host", "at the peer")];
    let mut found = vec![];
    for (end, receiver, at_sender) in hosts {
        let Some(errors) = errors_at(step, end) else { continue };
        let sender = end.other();
        let host = doc.environment(sender.node());
        let known = host.and_then(|host| nic_of(step, sender, host));
        let nic = known.unwrap_or("IF");
        let evidence = format!(
            "{}: segments are dropped for their checksum: Tcp InCsumErrors at {receiver} grew by {errors}",
            step.name
        );
        let text = format!(
            "Turn the checksum offload of the sending NIC off: ethtool -K {nic} tx off {at_sender}, and run again. If that \
             fixes it, the fault is the offload (driver, virtual switch or tunnel below it); if not, something on the path \
             changes packets. pathproof offloads PEER tries this and every other offload for you, and turns each on again."
        );
        let commands =
            Commands::new().at(sender.node(), "ethtool -K {} tx off", &[known.unwrap_or_default()]);
        let finding = Finding::new("TCP-CHECKSUM", evidence)
            .with_next(text.clone())
            .with_commands(&text, &commands)
            .with("errors", errors)
            .tell(told::RECEIVER, end)
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
    fn damaged_datagrams_name_the_pair_that_lost_them() {
        use pathproof_model::evidence::UdpCounts;
        use pathproof_model::{LossCounts, LossFlow, LossPath};
        let path = |nic: &str, lost: u64| LossPath {
            local_nic: nic.into(),
            remote_nic: nic.into(),
            local_address: [10, 9, 1, 1].into(),
            remote_address: [10, 9, 1, 2].into(),
            direction: Direction::Out,
            by_echo: false,
            small_ip_bytes: 88,
            full_ip_bytes: 1500,
            reason: None,
            flows: vec![LossFlow {
                port: 1,
                answered: true,
                small: LossCounts { sent: 1775, received: 1775 - lost, ..LossCounts::default() },
                ..LossFlow::default()
            }],
            marks: vec![],
            overflowed: 0,
            delay_variation_ns: None,
            first_router: None,
            last_router: None,
            questions_heard: None,
            changed: None,
            shares: None,
        };
        let mut step = Step::new(StepKind::Loss, "datagram loss");
        step.detail.loss = Some(vec![path("e0", 0), path("e1", 14)]);
        let told = |step: &Step, errors| {
            let udp = UdpCounts { checksum_errors: Some(errors), ..UdpCounts::still() };
            let evidence = vec![Evidence { node: NodeId::SERVER, udp: Some(udp), ..Evidence::default() }];
            datagrams(&Step { evidence, ..step.clone() })
        };
        // As run over two wires, of which the second turned a bit in one packet of a hundred.
        let found = told(&step, 14);
        assert_eq!((found[0].code.as_str(), &found[0].values["local_nic"]), ("PATH-CORRUPTS", &"e1".into()));
        assert!(found[0].evidence.contains("e1 to e1 IPv4 out: 14 datagrams"), "{}", found[0].evidence);
        assert!(found[0].evidence.ends_with("(95 % interval 0.235 % to 0.661 %)"), "{}", found[0].evidence);
        assert!(told(&step, 2).is_empty(), "two may be anybody's");
        step.detail.loss = Some(vec![path("e0", 3), path("e1", 14)]);
        assert!(!told(&step, 17)[0].values.contains_key("local_nic"));
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
