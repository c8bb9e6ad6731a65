//! Connections that open late: those opened at once, on the session's network and on others, beside the answers of open ones; and those over NICs tried by
//! themselves, while what flows over them loses nothing and another NIC had none of it.
//!
//! Refuses to say what holds them up: something that looks at each new connection, and something that loses what comes first after a silence, look alike
//! from the two ends.

use std::net::IpAddr;

use pathproof_model::evidence::TcpCounts;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{End, Finding, FollowUp, Nic, NodeId, OpenedRecord, ResultDoc, Step, code, told};

use super::{Rule, hosts, lost, planned, pressed, round_trips};

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("CONNECT-SLOW")], find: slow_to_open },
    Rule { codes: &[code!("CONNECT-SLOW")], find: late },
];

/// Connections of which half took far longer to open than what is open takes to answer: somebody looks at each new one.
fn slow_to_open(doc: &ResultDoc) -> Vec<Finding> {
    /// Beyond two round trips, so much is nothing that two kernels need.
    const BEYOND_NS: u64 = 100_000_000;
    /// The kernel sends a SYN again after a second: who is that late may have lost one.
    const AGAIN_NS: u64 = 950_000_000;
    /// Of fewer, half is no number.
    const OPENED: u32 = 8;
    // A host that stands still for a tenth of a second at a time is late by itself.
    let known =
        doc.findings.iter().any(|finding| finding.is(code!("CONNECT-PARTIAL"))) || hosts::stands_still(doc);
    let Some((_, trips)) = round_trips(doc).filter(|_| !known && !lost(doc, None)) else { return vec![] };
    let steps = planned(doc).filter(|step| !pressed(step));
    let records =
        steps.flat_map(|step| step.detail.opened_at_once.iter().flatten().map(move |record| (step, record)));
    let slow = records.filter_map(|(step, record)| {
        let median_ns = record.opened.median_ns.filter(|_| record.opened.opened >= OPENED)?;
        // Another network may be longer: what is open there says how long an answer takes.
        let answer_ns = match record.subnet {
            None => trips.p90,
            Some(_) => slowest_answer(step, record)?,
        };
        // What stands still or varies holds open connections up as well.
        let usual_ns = answer_ns.saturating_mul(2);
        let beyond_ns = median_ns.saturating_sub(usual_ns);
        (beyond_ns > BEYOND_NS && median_ns < AGAIN_NS.saturating_add(usual_ns)).then(|| {
            let nic = record.local_address.and_then(|address| nic_of(doc, address));
            let said = format!(
                "{}{}{}: half of {} connections took {} and more to open, where an open connection answers in {}",
                crate::ports::findings::way(record.direction),
                record.over(),
                nic.map_or_else(String::new, |nic| format!(" ({nic})")),
                record.opened.opened,
                Nanoseconds(median_ns),
                Nanoseconds(answer_ns)
            );
            let finding = Finding::new("CONNECT-SLOW", said);
            let finding = match nic {
                Some(nic) => finding.tell(told::LOCAL_NIC, nic),
                None => finding,
            };
            finding.with("opening_ns", median_ns).with("round_trip_ns", answer_ns)
        })
    });
    slow.collect()
}

/// How long the slowest answer took over the connection that was in use on the network of a record, where there were enough of them.
fn slowest_answer(step: &Step, record: &OpenedRecord) -> Option<u64> {
    /// The slowest of fewer says little of a path that varies.
    const ANSWERS: usize = 4;
    let own = step.detail.left_silent.iter().flatten().filter(|one| one.subnet == record.subnet);
    let answers: Vec<u64> = own.flat_map(|one| &one.used_answered_ns).copied().collect();
    answers.iter().copied().max().filter(|_| answers.len() >= ANSWERS)
}

/// The NIC of this host that has an address.
fn nic_of(doc: &ResultDoc, address: IpAddr) -> Option<&str> {
    let host = doc.environment(NodeId::CLIENT)?;
    let has = |nic: &&Nic| nic.addresses.iter().any(|one| one.address == address);
    host.nics.iter().find(has).map(|nic| nic.name.as_str())
}

/// So many SYNs, or answers to them, were sent again: of two lanes each more than once.
const AGAIN: u64 = 4;
/// A kernel sends the first SYN again after a second.
const LATER_NS: u64 = 1_000_000_000;

fn late(doc: &ResultDoc) -> Vec<Finding> {
    // What opens in part only is told as that, and a host that stands still is late by itself.
    let known = doc.findings.iter().any(|finding| finding.is(code!("CONNECT-PARTIAL")));
    if known || lost(doc, None) || hosts::stands_still(doc) {
        return vec![];
    }
    let alone: Vec<(&str, &Step, u64)> = doc
        .steps
        .iter()
        .filter(|step| step.follows_up == Some(FollowUp::Alone) && step.error.is_none())
        .filter_map(|step| Some((only_nic(step)?, step, sum(step, |tcp| tcp.syn_retransmits)?)))
        .collect();
    let mut found: Vec<Finding> = vec![];
    for (nic, step, again) in alone.iter().copied() {
        let quick = alone.iter().find(|(other, like, syns)| {
            *other != nic && *syns == 0 && step.elapsed_ns >= like.elapsed_ns.saturating_add(LATER_NS)
        });
        let told_of_it = found.iter().any(|one| one.told(told::LOCAL_NIC).as_deref() == Some(nic));
        let Some((other, like, _)) = quick.filter(|_| !told_of_it && again >= AGAIN && !pressed(step)) else {
            continue;
        };
        let Some(others) = sum(step, |tcp| tcp.retransmitted).map(|all| all.saturating_sub(again)) else {
            continue;
        };
        let sent = sum(step, |tcp| tcp.sent).unwrap_or(0);
        // A listener that is out of room does the same, and says so; one in two hundred lost meets what flows as well.
        let full = sum(step, |tcp| tcp.listen_drops).unwrap_or(0) > 0
            || sum(step, |tcp| tcp.listen_overflows).unwrap_or(0) > 0;
        if full || others.saturating_mul(200) > sent {
            continue;
        }
        let said = format!(
            "{nic}: {again} SYNs and answers to SYNs had to be sent again before its connections were open, and {} took {}, where the same over {other} \
             took {} and none was; of {sent} other segments {others} were sent again: what flows is not lost, and what comes first is",
            step.name,
            Nanoseconds(step.elapsed_ns),
            Nanoseconds(like.elapsed_ns)
        );
        let finding =
            Finding::new("CONNECT-SLOW", said).tell(told::LOCAL_NIC, nic).with("syn_retransmits", again);
        found.push(finding.with_next(
            "Look for what loses the first packet after a pause between these two NICs (power saving of NICs and links, flows that a controller has to install), or \
             looks at each new connection (firewall, SYN protection): ping -i 1 and ping -i 0.02 over them tell which; then run again.",
        ));
    }
    found
}

/// What both kernels counted during a step, where both say.
fn sum(step: &Step, of: fn(&TcpCounts) -> Option<u64>) -> Option<u64> {
    let counted = |node| step.evidence(node).and_then(|one| of(one.tcp.as_ref()?));
    Some(counted(NodeId::CLIENT)?.saturating_add(counted(NodeId::SERVER)?))
}

/// The NIC that all lanes of the client were held to.
fn only_nic(step: &Step) -> Option<&str> {
    let mut ours = step.lanes.iter().filter(|lane| lane.end == End::Client);
    let [nic] = &ours.next()?.nics[..] else { return None };
    ours.all(|lane| lane.nics.len() == 1 && lane.nics[0] == *nic).then_some(nic.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{
        Direction, Environment, Evidence, HostLoad, LaneResult, LatencySummary, NicAddress, Node,
        OpenedAtOnce, SilentRecord, StepKind, Tool,
    };

    const MS: u64 = 1_000_000;

    /// Idle round trips of so many milliseconds.
    fn trips(p90_ms: u64) -> Step {
        let mut trips = Step::new(StepKind::Pingpong, "tcp ping-pong");
        trips.summary.rtt_ns =
            Some(LatencySummary { count: 900, p90: p90_ms * MS, ..LatencySummary::default() });
        trips
    }

    /// Connections opened at once of which half took so long, in ms.
    fn burst(asked: u32, opened: u32, median_ms: u64) -> OpenedRecord {
        let median_ns = Some(median_ms * MS);
        let opened = OpenedAtOnce { asked, opened, median_ns, ..OpenedAtOnce::default() };
        OpenedRecord::of_session(Direction::Out, opened)
    }

    fn slow(steps: Vec<Step>) -> Vec<String> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        slow_to_open(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn connections_that_open_late_beside_quick_answers_are_told() {
        let told = |median_ms: u64, trip_ms: u64, opened: u32| {
            let mut ports = Step::new(StepKind::Ports, "ports");
            ports.detail.opened_at_once = Some(vec![burst(32, opened, median_ms)]);
            slow(vec![trips(trip_ms), ports])
        };
        assert_eq!(told(600, 1, 32), ["CONNECT-SLOW"]);
        // A long path is long for both.
        assert_eq!(told(300, 300, 32), [""; 0]);
        assert_eq!(told(90, 1, 32), [""; 0]);
        // Half of them sent a second SYN: they were lost.
        assert_eq!(told(1040, 1, 32), [""; 0]);
        assert_eq!(told(600, 1, 3), [""; 0]);
    }

    #[test]
    fn who_opens_late_because_its_host_is_busy_or_stands_still_accuses_nobody() {
        let told = |load: HostLoad| {
            let mut ports = Step::new(StepKind::Ports, "ports");
            ports.detail.opened_at_once = Some(vec![burst(32, 32, 600)]);
            ports.evidence = vec![Evidence { host: Some(load), ..Evidence::default() }];
            slow(vec![trips(1), ports])
        };
        let idle = HostLoad { elapsed_ns: 1000 * MS, ..HostLoad::default() };
        assert_eq!(told(idle.clone()), ["CONNECT-SLOW"]);
        assert_eq!(told(HostLoad { pressure_some_ns: Some(500 * MS), ..idle.clone() }), [""; 0]);
        assert_eq!(told(HostLoad { throttled_ns: Some(100 * MS), ..idle }), [""; 0]);
    }

    #[test]
    fn connections_of_another_network_are_held_against_what_answers_there() {
        let subnet = || Some("10.9.1.0/24".to_owned());
        let found = |median_ms: u64, used_ms: &[u64], of: Option<String>| {
            let here = IpAddr::from([10, 9, 1, 1]);
            let mut ports = Step::new(StepKind::Ports, "ports of the other networks");
            ports.detail.opened_at_once = Some(vec![OpenedRecord {
                subnet: subnet(),
                local_address: Some(here),
                remote_address: Some([10, 9, 1, 2].into()),
                ..burst(8, 8, median_ms)
            }]);
            ports.detail.left_silent = Some(vec![SilentRecord {
                direction: Direction::Out,
                subnet: of,
                tried: vec![],
                used_answered_ns: used_ms.iter().map(|ms| ms * MS).collect(),
            }]);
            let nic = Nic {
                name: "e1".into(),
                addresses: vec![NicAddress { address: here, prefix_len: 24 }],
                ..Nic::default()
            };
            let host = Environment { nics: vec![nic], ..Environment::default() };
            let mut doc = ResultDoc { steps: vec![trips(1), ports], ..ResultDoc::new(Tool::default(), "") };
            doc.nodes = vec![Node::here(Some(host))];
            slow_to_open(&doc)
        };
        // Answers as over a healthy second NIC of a busy host.
        let quick = [1, 1, 0, 3, 2, 1, 26];
        let told = found(600, &quick, subnet());
        assert_eq!((told.len(), &*told[0].code), (1, "CONNECT-SLOW"));
        assert_eq!(told[0].told(told::LOCAL_NIC).as_deref(), Some("e1"));
        assert!(told[0].evidence.contains("over 10.9.1.0/24 (e1): half of 8"), "{}", told[0].evidence);
        assert_eq!(told[0].values["opening_ns"], 600 * MS);
        let none = |found: Vec<Finding>| assert_eq!(found, []);
        // It is a longer path than the session's; it varies; it loses what comes first after a pause.
        none(found(300, &[300; 6], subnet()));
        none(found(240, &[1, 1, 180, 2, 1, 1], subnet()));
        none(found(600, &[1020, 1050, 1010, 1030], subnet()));
        // Nobody used a connection there, for too short a time, or it was over yet another network.
        none(found(600, &[], subnet()));
        none(found(600, &[1, 1, 1], subnet()));
        none(found(600, &quick, Some("10.9.2.0/24".into())));
        none(found(90, &quick, subnet()));
    }

    /// A NIC tried by itself: how long it took, SYNs and other segments that each end sent again, and how long somebody waited for a processor.
    fn alone(nic: &str, elapsed_ms: u64, syns: [u64; 2], others: u64, waited: u64) -> Step {
        let lane = LaneResult { end: End::Client, nics: vec![nic.into()], ..LaneResult::default() };
        let end = |(node, syns): (NodeId, u64)| {
            let tcp = TcpCounts {
                sent: Some(15_000),
                retransmitted: Some(syns + others),
                syn_retransmits: Some(syns),
                ..TcpCounts::still()
            };
            let host = HostLoad { elapsed_ns: 1000, pressure_some_ns: Some(waited), ..HostLoad::default() };
            Evidence { node, tcp: Some(tcp), host: Some(host), ..Evidence::default() }
        };
        let mut step = Step::new(StepKind::Stream, format!("multi stream both ways, {nic} alone"));
        step.follows_up = Some(FollowUp::Alone);
        step.elapsed_ns = elapsed_ms * 1_000_000;
        step.lanes = vec![lane.clone(), lane];
        step.evidence = [NodeId::CLIENT, NodeId::SERVER].into_iter().zip(syns).map(end).collect();
        step
    }

    fn told(steps: Vec<Step>) -> Vec<Finding> {
        late(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
    }

    #[test]
    fn a_nic_over_which_connections_open_late_is_told_beside_one_over_which_they_do_not() {
        // As counted over a second network that loses what comes first after 300 ms.
        let quick = || alone("e0", 990, [0, 0], 0, 10);
        let found = told(vec![alone("e1", 5800, [6, 2], 0, 10), quick()]);
        assert_eq!((found.len(), &*found[0].code), (1, "CONNECT-SLOW"));
        assert_eq!(found[0].told(told::LOCAL_NIC).as_deref(), Some("e1"));
        for part in ["e1: 8 SYNs", "took 5.80 s", "over e0 took 990.00 ms", "of 30000 other segments 0 were"]
        {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        let none = |steps: Vec<Step>| assert_eq!(told(steps), []);
        // One or two may be chance; it took no longer; what flows is lost as well; a host was busy.
        none(vec![alone("e1", 2800, [2, 1], 0, 10), quick()]);
        none(vec![alone("e1", 1500, [6, 2], 0, 10), quick()]);
        none(vec![alone("e1", 5800, [6, 2], 100, 10), quick()]);
        none(vec![alone("e1", 5800, [6, 2], 0, 900), quick()]);
        // Nothing to hold it against: both are like that, or there is no other.
        none(vec![alone("e1", 5800, [6, 2], 0, 10), alone("e0", 5800, [6, 2], 0, 10)]);
        none(vec![alone("e1", 5800, [6, 2], 0, 10)]);
        // Nobody counted at the other end.
        let mut half = alone("e1", 5800, [6, 2], 0, 10);
        half.evidence.truncate(1);
        none(vec![half, quick()]);
    }
}
