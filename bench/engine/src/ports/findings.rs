//! What ports and bursts of connections show that somebody should be told.
//!
//! A port that no declared role needs is a fact, never an accusation. Where connections open by chance, a silent port may be one of
//! those, and is not said to be filtered.

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    AnsweredBy, DatagramsRecord, Direction, ErrorKind, Evidence, Finding, NodeId, OpenedAtOnce, OpenedRecord,
    PortAnswer, PortRecord, Severity, SilentRecord, StepError,
};

/// The findings of one step, with what the two hosts counted meanwhile.
pub fn findings(records: &[PortRecord], bursts: &[OpenedRecord], counted: &[Evidence]) -> Vec<Finding> {
    let mut found: Vec<Finding> = bursts.iter().filter_map(|burst| partial(burst, counted)).collect();
    for direction in [Direction::Out, Direction::In] {
        let chance = bursts.iter().any(|burst| burst.direction == direction && burst.opened.silent > 0);
        let here: Vec<&PortRecord> = records.iter().filter(|record| record.direction == direction).collect();
        let silent = |record: &&&PortRecord| record.answer == PortAnswer::Filtered;
        if !chance {
            let closed = closed_way(direction, &here);
            let told = closed.is_some();
            found.extend(closed);
            // What a closed way explains needs no finding of its own.
            let others = here.iter().filter(silent).filter(|record| !told || record.port.is_udp());
            found.extend(about("PORT-FILTERED", direction, others.copied(), "nothing came back from"));
        }
        // An answer of a router may be that of one flow's way as well.
        let told = here.iter().filter(|record| !chance && record.answer == PortAnswer::Unreachable);
        let said = "a router or a firewall answers that it is unreachable or prohibited:";
        found.extend(about("PORT-FILTERED", direction, told.copied(), said));
        let refused = here.iter().filter(|record| record.answer == PortAnswer::Refused);
        found.extend(about(
            "PORT-REFUSED",
            direction,
            refused.copied(),
            "somebody listens and connections are refused at",
        ));
    }
    found
}

/// Connections that were forgotten while they were silent, in a step that ended with `error`. Where the session's own connection was lost as well,
/// which is never silent, it was not their silence; and who loses the session, or is stopped by somebody, closes what the other end left open.
pub fn forgotten(records: &[SilentRecord], error: Option<&StepError>) -> Vec<Finding> {
    if error.is_some_and(|why| why.kind == ErrorKind::PeerLost || why.kind.is_interruption()) {
        return vec![];
    }
    let dead = records.iter().filter_map(|record| Some((record, record.forgotten()?)));
    dead.map(|(record, (survived_ns, dead_ns))| {
        let alive = match survived_ns {
            0 => String::new(),
            survived => format!("after {} of silence a connection was alive, ", Nanoseconds(survived)),
        };
        // On a network beside the session's another connection is kept in use meanwhile, and nothing is known where that died.
        let witness = match record.subnet {
            None => "the session's own connection, which is never silent,",
            Some(_) => "another connection there, which was used all the time,",
        };
        let evidence = format!(
            "{}{}: {alive}after {} nothing of it came through any more, while {witness} went on",
            way(record.direction),
            record.over(),
            Nanoseconds(dead_ns)
        );
        let finding = Finding::new("TCP-IDLE-DROPPED", evidence);
        let finding = match record.subnet.as_deref() {
            Some(subnet) => finding.with("subnet", subnet),
            None => finding,
        };
        finding.with("survived_ns", survived_ns).with("dead_after_ns", dead_ns)
    })
    .collect()
}

/// Ports of UDP that a role needs, at which the other end itself answered, and of which nobody counted what they carry. An answer is not that.
pub fn not_counted(records: &[PortRecord], counted: &[DatagramsRecord]) -> Option<Finding> {
    /// Fewer were sent by a host that had no time for more, and say next to nothing.
    const LEAST: u64 = 100;
    let is_counted = |record: &PortRecord| {
        let mut of_port = counted.iter().filter(|one| one.datagrams.port == record.port);
        of_port.any(|one| one.direction == record.direction && one.datagrams.small_sent >= LEAST)
    };
    let asked = records.iter().filter(|record| record.port.is_udp() && record.by == Some(AnsweredBy::Agent));
    let left: Vec<String> = asked
        .filter(|record| !record.needed_by.is_empty() && !is_counted(record))
        .map(|record| format!("what {} carries", record.words()))
        .collect();
    let evidence = format!(
        "there was no time to send more than a question there, or the other end counts nothing: {}",
        left.join("; ")
    );
    let finding = Finding::new("RUN-LEFT-OUT", evidence).with_next(
        "Check again with builds of the same version at both ends, and without --quick; where that is so already, with nothing else to do for both hosts.",
    );
    (!left.is_empty()).then(|| finding.with("left_out", left))
}

/// From whom to whom, for people.
pub(crate) fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "back from the server to this host (in)",
        Direction::Out | Direction::Both => "from this host to the server (out)",
    }
}

/// No TCP port at all answers in one direction.
fn closed_way(direction: Direction, records: &[&PortRecord]) -> Option<Finding> {
    let tcp: Vec<&&PortRecord> = records.iter().filter(|record| !record.port.is_udp()).collect();
    let silent = tcp.iter().filter(|record| record.answer == PortAnswer::Filtered).count();
    // The session itself proves the way out.
    if direction != Direction::In || silent < 2 || silent < tcp.len() {
        return None;
    }
    let needed = tcp.iter().any(|record| !record.needed_by.is_empty());
    let evidence = format!(
        "{}: not one of {silent} TCP ports let a connection through, while connections the other way open",
        way(direction)
    );
    let finding = Finding::new("PORT-WAY-BACK", evidence).with("ports", silent as u64);
    Some(if needed { finding } else { finding.with_severity(Severity::Info) })
}

/// One finding for the needed ports of a kind, and one for those that nothing needs.
pub(crate) fn about<'a>(
    code: &'static str,
    direction: Direction,
    records: impl Iterator<Item = &'a PortRecord>,
    what: &str,
) -> Vec<Finding> {
    let (needed, others): (Vec<&PortRecord>, Vec<&PortRecord>) =
        records.partition(|record| !record.needed_by.is_empty());
    let finding = |records: Vec<&PortRecord>| {
        let names: Vec<String> =
            records.iter().map(|record| format!("{} ({})", record.name, record.port.service())).collect();
        let evidence = format!("{}: {what} {}", way(direction), names.join(", "));
        let ports: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
        (!records.is_empty()).then(|| Finding::new(code, evidence).with("ports", ports))
    };
    let mut found: Vec<Finding> = finding(needed).into_iter().collect();
    found.extend(finding(others).map(|finding| finding.with_severity(Severity::Info)));
    found
}

/// What to do about a table of connections that has no room.
pub(crate) const FULL_TABLE: &str = "Enlarge the table of connection tracking at that host (net.netfilter.nf_conntrack_max; nf_conntrack_count says how full it is), or let these \
                                     addresses pass untracked (nft: notrack in a raw chain).";

/// The host whose connection tracking could not take in packets of new connections, and how many; the one with more of them.
pub(crate) fn tracked<'a>(
    counted: impl Iterator<Item = &'a Evidence> + Clone,
) -> Option<(&'static str, u64)> {
    let refused = |node: NodeId| {
        let own = counted.clone().filter(|one| one.node == node).filter_map(|one| one.conntrack.as_ref());
        own.map(|counts| counts.dropped.unwrap_or(0).saturating_add(counts.insert_failed.unwrap_or(0)))
            .fold(0, u64::saturating_add)
    };
    let all = [("this host", refused(NodeId::CLIENT)), ("the peer", refused(NodeId::SERVER))];
    all.into_iter().max_by_key(|(_, refused)| *refused).filter(|(_, refused)| *refused > 0)
}

/// Packets that went round until their time to live was over, as routers told the two hosts.
fn gone_round(counted: &[Evidence]) -> u64 {
    let both = counted.iter().flat_map(|one| [one.icmp.as_ref(), one.icmp6.as_ref()]).flatten();
    both.filter_map(|counts| counts.time_exceeded_received).fold(0, u64::saturating_add)
}

/// Some connections of a burst opened, and others did not.
fn partial(record: &OpenedRecord, counted: &[Evidence]) -> Option<Finding> {
    /// So few may be chance.
    const FEW: u32 = 2;
    let OpenedAtOnce { port, asked, opened, refused, silent, again, again_opened, .. } = record.opened;
    if opened >= asked {
        return None;
    }
    // It counts for the whole host: fewer than were silent do not explain those.
    let table = tracked(counted.iter()).filter(|(_, refused)| silent > 0 && *refused >= u64::from(silent));
    let by_flow = again > 0 && again_opened == 0 && opened > 0 && table.is_none();
    let by_chance = again > 0 && !by_flow && silent <= FEW && table.is_none();
    let rounds = gone_round(counted);
    let loops = if by_flow && rounds > 0 {
        format!(
            " (routers said {rounds} times meanwhile that the time to live of a packet was over: one of the routes is a loop)"
        )
    } else {
        String::new()
    };
    let why = match (again, by_flow) {
        _ if table.is_some() => table.map_or_else(String::new, |(who, refused)| {
            format!(
                ". Connection tracking of {who} could not take in {refused} packets of new connections meanwhile: its table had no room for them"
            )
        }),
        (0, _) => String::new(),
        (_, true) => format!(
            ". Tried again alone from the same source ports {again} of {again} stayed silent, so it depends on the flow: one member of a \
             bundle or one of several routes is dead"
        ),
        // Two SYNs of one connection are lost by chance where a few packets in a hundred are.
        (_, false) if silent <= FEW => format!(
            ". Tried again alone from the same source ports {again_opened} of {again} opened: either something limits how many connections there \
             are at once, or how fast they open, or packets are lost by chance (what the other steps lose tells which)"
        ),
        (_, false) => format!(
            ". Tried again alone from the same source ports {again_opened} of {again} opened, so something limits how many connections \
             there are at once, or how fast they open"
        ),
    };
    let evidence = format!(
        "{}{}, {port}/tcp: {opened} of {asked} connections at once opened, {silent} stayed silent, {refused} were refused{why}{loops}",
        way(record.direction),
        record.over()
    );
    let finding = Finding::new("CONNECT-PARTIAL", evidence);
    let finding = match record.subnet.as_deref() {
        Some(subnet) => finding.with("subnet", subnet),
        None => finding,
    };
    let finding = finding
        .with("asked", asked)
        .with("opened", opened)
        .with("silent", silent)
        .tell(told::REFUSED, refused);
    Some(if !loops.is_empty() {
        finding.with_next(
            "Find the router that sends these packets back: traceroute by TCP to this port, several times, shows the two that \
             hand them to each other; then correct the route of the one that is farther away.",
        )
    } else if by_flow {
        finding.with_next(
            "Find the dead member: look at the state and counters of every member link of the bundles (LACP) and equal-cost routes between \
             these hosts, and take it out until it is repaired.",
        )
    } else if table.is_some() {
        finding.with_next(FULL_TABLE)
    } else if by_chance {
        finding.open(&[code!("PATH-LOSS")])
    } else {
        finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Port, Role};

    fn record(port: Port, direction: Direction, answer: PortAnswer, needed: bool) -> PortRecord {
        PortRecord {
            port,
            name: port.name(),
            direction,
            answer,
            by: None,
            reason: None,
            needed_by: if needed { vec![Role::Cluster] } else { vec![] },
        }
    }

    fn burst(opened: u32, again: u32, again_opened: u32) -> OpenedRecord {
        let silent = 32 - opened;
        let opened = OpenedAtOnce {
            port: 5445,
            asked: 32,
            opened,
            silent,
            again,
            again_opened,
            ..OpenedAtOnce::default()
        };
        OpenedRecord::of_session(Direction::Out, opened)
    }

    fn told(records: &[PortRecord], bursts: &[OpenedRecord]) -> Vec<(String, Severity)> {
        findings(records, bursts, &[]).into_iter().map(|finding| (finding.code, finding.severity)).collect()
    }

    #[test]
    fn flows_of_which_routers_say_that_their_time_to_live_is_over_go_in_a_circle() {
        use pathproof_model::evidence::IcmpCounts;
        let told = |rounds: u64, again_opened: u32| {
            let icmp = IcmpCounts { time_exceeded_received: Some(rounds), ..IcmpCounts::still() };
            let counted = [Evidence { icmp: Some(icmp), ..Evidence::default() }];
            let way = record(Port::Smb, Direction::Out, PortAnswer::Unreachable, false);
            findings(&[way], &[burst(22, 4, again_opened)], &counted)
        };
        let found = told(8, 0);
        // The router's answer to one question may be of such a flow.
        assert_eq!((found.len(), found[0].code.as_str()), (1, "CONNECT-PARTIAL"));
        assert!(found[0].evidence.contains("said 8 times"), "{}", found[0].evidence);
        assert!(found[0].next.contains("traceroute"), "{}", found[0].next);
        for other in [told(0, 0), told(8, 4)] {
            assert!(!other[0].evidence.contains("time to live"), "{}", other[0].evidence);
        }
    }

    #[test]
    fn what_no_role_needs_is_a_fact_and_what_one_needs_an_error() {
        use PortAnswer::{Answered, Filtered, Refused};
        let out = Direction::Out;
        let of = |answer, needed| told(&[record(Port::Smb, out, answer, needed)], &[]);
        assert_eq!(of(Answered, true), []);
        assert_eq!(of(Filtered, true), [("PORT-FILTERED".into(), Severity::Error)]);
        assert_eq!(of(Filtered, false), [("PORT-FILTERED".into(), Severity::Info)]);
        assert_eq!(of(Refused, true), [("PORT-REFUSED".into(), Severity::Error)]);
    }

    #[test]
    fn a_port_of_datagrams_that_answered_and_was_not_counted_is_told_as_left_out() {
        use pathproof_model::PortDatagrams;
        let answered = |port, by, needed| PortRecord {
            by: Some(by),
            ..record(port, Direction::In, PortAnswer::Answered, needed)
        };
        let roce = answered(Port::Roce, AnsweredBy::Agent, true);
        let found = not_counted(std::slice::from_ref(&roce), &[]).unwrap();
        assert_eq!((found.code.as_str(), found.severity), ("RUN-LEFT-OUT", Severity::Info));
        assert!(found.evidence.contains("4791/udp (RoCE v2) in"), "{}", found.evidence);
        let datagrams = PortDatagrams {
            port: Port::Roce,
            small_sent: 250,
            small_arrived: 250,
            full_sent: 250,
            full_arrived: 250,
            full_ip_bytes: 1500,
            flows: 16,
            flows_lossy: 0,
        };
        let counted = |direction| DatagramsRecord { direction, datagrams };
        assert_eq!(not_counted(std::slice::from_ref(&roce), &[counted(Direction::In)]), None);
        let few = PortDatagrams { small_sent: 60, small_arrived: 60, ..datagrams };
        let few = DatagramsRecord { direction: Direction::In, datagrams: few };
        assert!(not_counted(std::slice::from_ref(&roce), &[few]).is_some());
        assert!(
            not_counted(&[roce], &[counted(Direction::Out)]).is_some(),
            "the other way is not known by that"
        );
        // What a service holds is not ours to load, and what no role needs nobody asked about.
        let others = [
            answered(Port::Roce, AnsweredBy::Service, true),
            answered(Port::Roce, AnsweredBy::Agent, false),
            answered(Port::Smb, AnsweredBy::Agent, true),
        ];
        assert_eq!(not_counted(&others, &[]), None);
    }

    #[test]
    fn a_way_back_that_is_closed_altogether_is_one_finding() {
        let all = |answer, needed| {
            Port::ALL.map(|port| {
                record(port, Direction::In, if port.is_udp() { PortAnswer::Answered } else { answer }, needed)
            })
        };
        assert_eq!(told(&all(PortAnswer::Filtered, true), &[]), [("PORT-WAY-BACK".into(), Severity::Error)]);
        assert_eq!(told(&all(PortAnswer::Filtered, false), &[]), [("PORT-WAY-BACK".into(), Severity::Info)]);
        let mut some = all(PortAnswer::Filtered, true);
        some[0].answer = PortAnswer::Answered;
        assert_eq!(told(&some, &[]), [("PORT-FILTERED".into(), Severity::Error)]);
    }

    #[test]
    fn what_forgets_silent_connections_is_told_with_the_times_between_which_it_does() {
        use pathproof_model::LeftSilent;
        let tried = [(1, true), (2, true), (4, false), (8, false)].map(|(s, alive)| LeftSilent {
            silent_ns: s * 1_000_000_000,
            alive,
            ..LeftSilent::default()
        });
        let record = SilentRecord {
            direction: Direction::Out,
            subnet: None,
            tried: tried.to_vec(),
            used_answered_ns: vec![],
        };
        let found = forgotten(std::slice::from_ref(&record), None);
        assert_eq!(found[0].code, "TCP-IDLE-DROPPED");
        assert_eq!(found[0].values["survived_ns"], 2_000_000_000u64);
        assert_eq!(found[0].values["dead_after_ns"], 4_000_000_000u64);
        let beside = SilentRecord { subnet: Some("10.9.1.0/24".into()), ..record.clone() };
        let said = forgotten(&[beside], None).remove(0).evidence;
        assert!(said.contains("over 10.9.1.0/24") && said.contains("another connection there"), "{said}");
        let alive = record.tried.iter().map(|t| LeftSilent { alive: true, ..*t }).collect();
        assert!(forgotten(&[SilentRecord { tried: alive, ..record.clone() }], None).is_empty());
        // As run where every connection was reset that was 8 s old: the session's own as well.
        let error = |kind| StepError::new(kind, "the control connection to the peer ended".into());
        let told = |kind| forgotten(std::slice::from_ref(&record), Some(&error(kind))).len();
        assert_eq!((told(ErrorKind::PeerLost), told(ErrorKind::OutOfTime)), (0, 1));
        // As run where somebody stopped the check while connections were silent: the end that was stopped closed them.
        assert_eq!((told(ErrorKind::Interrupted), told(ErrorKind::Terminated)), (0, 0));
    }

    #[test]
    fn some_connections_of_many_are_told_with_what_it_depends_on() {
        assert_eq!(findings(&[], &[burst(32, 0, 0)], &[]), []);
        for (record, says) in [
            (burst(27, 4, 0), "depends on the flow"),
            (burst(4, 4, 3), "limits how many"),
            // As run over a path that loses a tenth of small packets.
            (burst(31, 1, 1), "either something limits how many"),
            (burst(0, 4, 0), "limits how"),
        ] {
            let found = findings(&[], &[record], &[]);
            assert_eq!((found[0].code.as_str(), found[0].severity), ("CONNECT-PARTIAL", Severity::Error));
            assert!(found[0].evidence.contains(says), "{}", found[0].evidence);
        }
        let beside = OpenedRecord { subnet: Some("10.9.1.0/24".into()), ..burst(27, 4, 0) };
        let found = findings(&[], &[beside], &[]);
        assert!(found[0].evidence.contains("(out) over 10.9.1.0/24, 5445/tcp: 27"), "{}", found[0].evidence);
        assert_eq!(found[0].values["subnet"], "10.9.1.0/24");
        let silent = record(Port::Smb, Direction::Out, PortAnswer::Filtered, true);
        let codes = told(&[silent], &[burst(27, 4, 0)]);
        assert!(
            codes.iter().all(|(code, _)| code != "PORT-FILTERED"),
            "a silent port may be one of those: {codes:?}"
        );
    }

    #[test]
    fn a_full_table_of_connections_is_named_where_it_refused_as_many_as_were_silent() {
        use pathproof_model::evidence::ConntrackCounts;
        let told = |node, dropped, insert_failed, burst: OpenedRecord| {
            let counts = ConntrackCounts {
                dropped: Some(dropped),
                insert_failed: Some(insert_failed),
                ..ConntrackCounts::still()
            };
            let counted = Evidence { node, conntrack: Some(counts), ..Evidence::default() };
            findings(&[], &[burst], &[counted]).remove(0)
        };
        let named = told(NodeId::SERVER, 20, 8, burst(4, 4, 3));
        assert!(named.evidence.contains("tracking of the peer could not take in 28"), "{}", named.evidence);
        assert!(named.next.contains("nf_conntrack_max") && named.open.is_empty());
        // Fewer than were silent.
        let others = told(NodeId::SERVER, 20, 7, burst(4, 4, 3));
        assert!(others.evidence.contains("limits how many") && others.open.is_empty(), "{}", others.evidence);
        let chance = told(NodeId::CLIENT, 0, 0, burst(31, 1, 1));
        assert_eq!(chance.open, ["PATH-LOSS"]);
    }
}
