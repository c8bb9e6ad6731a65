//! What others send to the port of a host while the run measures: broadcasts, what a switch floods, other work of that host. A stream gets what that
//! leaves, and no limit has to be looked for.
//!
//! Refuses to say so of what came once: it must come while the run does no more than ask, and go on while the stream flows.

use pathproof_model::judge::repeats::is_thrown_away;
use pathproof_model::judge::{LinkSpeed, link_speed};
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, Finding, LaneResult, NodeId, ResultDoc, Severity, Step, Trips};

use super::super::{ip_of, planned, whose};
use super::{Carried, LINK_SHARE, core, held_by_window, is_looped};

/// Such a part of what arrives and more is worth a word.
const SHARE: f64 = 0.25;
/// What arrives at two hosts may be sent to both where the smaller is such a part of the larger: two servers with as much work each look like that, too.
const ALIKE: f64 = 0.7;
/// Headers of a segment and what comes with it, so that none of the run's own is taken for another's.
const HEADERS_BYTES: u64 = 100;

/// That others take a part of the port that the best stream of a direction arrives at, where they do.
pub(super) fn finding(doc: &ResultDoc, best: Carried<'_>, way: Direction) -> Option<Finding> {
    let (step, rate) = best;
    let (receiver, sender) = match way {
        Direction::Out => (NodeId::SERVER, NodeId::CLIENT),
        Direction::In => (NodeId::CLIENT, NodeId::SERVER),
        Direction::Both => return None,
    };
    if is_looped(step) || held_by_window(step) || core(step) || is_thrown_away(doc, step) {
        return None;
    }
    let nic = nic_of(doc, step, receiver)?;
    let others = while_idle(doc, receiver)?;
    // They went on while the stream flowed.
    if not_of_the_run(step, receiver, &nic)? < others / 2 {
        return None;
    }
    let sum = rate.saturating_add(others);
    let speed = match link_speed(doc, step) {
        LinkSpeed::Known(speed) => Some(speed as f64),
        LinkSpeed::Unknown(_) => None,
    };
    let room =
        speed.is_some_and(|speed| (sum as f64) < speed * LINK_SHARE || rate as f64 >= speed * LINK_SHARE);
    if (others as f64) < sum as f64 * SHARE || room {
        return None;
    }
    let to_all = while_idle(doc, sender)
        .is_some_and(|there| there.min(others) as f64 >= there.max(others) as f64 * ALIKE);
    let beside = if to_all {
        format!(
            "and the port of {} as much: traffic that is sent to everybody (broadcast, multicast, or flooded by a switch), or other work of both hosts, \
             takes that part of each port",
            whose(sender)
        )
    } else {
        "other traffic to that host, or what a switch floods to its port, takes that part of it".into()
    };
    let said = format!(
        "{}: {} carried {}, while {nic} of {} received {} of others, as it did while the run only asked single questions; {beside}",
        way.name(),
        step.name,
        BitsPerSecond(rate),
        whose(receiver),
        BitsPerSecond(others)
    );
    let severity = if speed.is_some() { Severity::Warning } else { Severity::Info };
    let finding = Finding::new("PATH-RATE-LIMIT", said).with_severity(severity).with_next(NEXT);
    let finding = finding.with("bits_per_s", rate).with("others_bits_per_s", others);
    Some(finding.tell(told::DIRECTION, way).tell(told::NODE, receiver))
}

const NEXT: &str = "See what it is on that host (tcpdump -nni NIC -c 200 not host PEER), and who sends it: a loop, imaging or video by multicast without IGMP \
                    snooping, a backup to that host. Stop it or keep it away from these ports (storm control, a VLAN of its own), and run again.";

/// What arrived at a host of others in a second while the run only asked single questions, in bit/s: the least of all such steps.
fn while_idle(doc: &ResultDoc, node: NodeId) -> Option<u64> {
    let asked = planned(doc).filter(|step| step.kind.traits().trips == Trips::Idle && step.error.is_none());
    asked.filter_map(|step| not_of_the_run(step, node, &nic_of(doc, step, node)?)).min()
}

/// The NIC that the lanes of a step have at an end.
fn nic_of(doc: &ResultDoc, step: &Step, node: NodeId) -> Option<String> {
    let own = step.lanes.iter().find(|lane| lane.end.node() == node)?;
    let address = ip_of(&own.local)?;
    let nics = &doc.environment(node)?.nics;
    let has =
        |nic: &&pathproof_model::Nic| nic.addresses.iter().any(|one| one.address.to_canonical() == address);
    nics.iter().find(has).map(|nic| nic.name.clone())
}

/// What a NIC received that no connection of the run brought, in bit/s; `None` where one of its figures is not known, or both ends are one host.
fn not_of_the_run(step: &Step, node: NodeId, nic: &str) -> Option<u64> {
    if step.evidence.iter().any(|one| one.same_as.is_some()) {
        return None;
    }
    let evidence = step.evidence(node)?;
    let elapsed_ns = evidence.host.as_ref().map(|load| load.elapsed_ns).filter(|ns| *ns > 0)?;
    let received = evidence.nic(nic)?.received_bytes?;
    let segments = evidence.tcp.as_ref()?.received?;
    let payload = |lane: &LaneResult| lane.connection.as_ref()?.counts.received_bytes;
    let own: Option<Vec<u64>> =
        step.lanes.iter().filter(|lane| lane.end.node() == node).map(payload).collect();
    let payload = own?.into_iter().fold(0, u64::saturating_add);
    // Segments that the kernel put together count once, and have a header each on the wire.
    let own = payload.saturating_add(payload / 10).saturating_add(segments.saturating_mul(HEADERS_BYTES));
    let others = u128::from(received.saturating_sub(own)) * 8_000_000_000 / u128::from(elapsed_ns);
    u64::try_from(others).ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::sender;
    use super::*;
    use pathproof_model::evidence::{ConnectionCounts, NicActivity, NicCounts, TcpCounts};
    use pathproof_model::{
        Connection, End, Environment, Evidence, HostLoad, LaneRole, Nic, NicAddress, Node, StepKind,
        StepSpec, Tool, TrafficSpec,
    };

    const SECOND_NS: u64 = 1_000_000_000;

    fn host(last: u8) -> Environment {
        let address = NicAddress { address: [10, 9, 0, last].into(), prefix_len: 24 };
        let nic = Nic { name: "e0".into(), addresses: vec![address], ..Nic::default() };
        Environment { nics: vec![nic], ..Environment::default() }
    }

    /// A second of a step out, in which the two NICs received so many Mbit/s, and the server's connection so many of them.
    fn step(kind: StepKind, received: [u64; 2], payload: u64) -> Step {
        let busy = ConnectionCounts { busy_ns: Some(SECOND_NS), ..ConnectionCounts::still() };
        let here = LaneResult {
            local: Some("10.9.0.1:40000".into()),
            window_ns: SECOND_NS,
            cpu_ns: Some(1_000_000),
            ..sender(busy)
        };
        let counts =
            ConnectionCounts { received_bytes: Some(payload * 125_000), ..ConnectionCounts::still() };
        let there = LaneResult {
            end: End::Server,
            role: LaneRole::Receive,
            local: Some("10.9.0.2:7797".into()),
            window_ns: SECOND_NS,
            cpu_ns: Some(1_000_000),
            connection: Some(Connection { counts, ..Connection::default() }),
            ..LaneResult::default()
        };
        let counted = |(node, mbit): (NodeId, u64)| {
            let counts = NicCounts { received_bytes: Some(mbit * 125_000), ..NicCounts::still() };
            let tcp = TcpCounts { received: Some(payload * 80), ..TcpCounts::still() };
            let host = HostLoad {
                elapsed_ns: SECOND_NS,
                busiest_cpu_softirq_share: Some(0.1),
                ..HostLoad::default()
            };
            Evidence {
                node,
                host: Some(host),
                tcp: Some(tcp),
                nics: Some(vec![NicActivity { nic: "e0".into(), counts }]),
                ..Evidence::default()
            }
        };
        let mut step = Step::new(kind, "tcp stream out");
        step.direction = Some(Direction::Out);
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        step.lanes = vec![here, there];
        step.evidence = [NodeId::CLIENT, NodeId::SERVER].into_iter().zip(received).map(counted).collect();
        step
    }

    fn told(idle: [u64; 2], stream: [u64; 2], rate: u64) -> Option<Finding> {
        let steps = vec![step(StepKind::Pingpong, idle, 1), step(StepKind::Stream, stream, rate)];
        let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        doc.nodes = vec![Node::here(Some(host(1))), Node { id: NodeId::SERVER, ..Node::here(Some(host(2))) }];
        finding(&doc, (&doc.steps[1], rate * 1_000_000), Direction::Out)
    }

    #[test]
    fn what_is_sent_to_everybody_leaves_a_stream_the_rest_of_the_port() {
        // As a third host makes it that fills a switch with 70 Mbit/s of broadcasts, of the 100 of each port.
        let found = told([70, 71], [70, 97], 27).unwrap();
        assert_eq!((&*found.code, found.severity), ("PATH-RATE-LIMIT", Severity::Info));
        for part in [
            "carried 27.0 Mbit/s",
            "e0 of the peer received 69.8 Mbit/s of others",
            "port of this host as much",
            "broadcast",
            "or other work of both hosts",
        ] {
            assert!(found.evidence.contains(part), "{part} is missing in {}", found.evidence);
        }
        // To one of the two it may be that host's own work.
        let one = told([0, 71], [0, 97], 27).unwrap();
        assert!(one.evidence.contains("other traffic to that host"), "{}", one.evidence);
        assert!(!one.evidence.contains("everybody"), "{}", one.evidence);
    }

    #[test]
    fn what_is_the_runs_own_or_little_or_came_once_is_not_told() {
        assert!(told([1, 1], [2, 100], 94).is_none(), "headers of the run's own segments");
        assert!(told([1, 12], [2, 100], 86).is_none(), "an eighth");
        assert!(told([70, 71], [2, 30], 27).is_none(), "gone when the stream flowed");
        assert!(told([1, 1], [70, 97], 27).is_none(), "nobody asked whether it was there before");
    }

    #[test]
    fn where_nobody_counts_nothing_is_told() {
        let of = |change: &dyn Fn(&mut Step)| {
            let steps = vec![step(StepKind::Pingpong, [70, 71], 1), step(StepKind::Stream, [70, 97], 27)];
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            doc.nodes =
                vec![Node::here(Some(host(1))), Node { id: NodeId::SERVER, ..Node::here(Some(host(2))) }];
            change(&mut doc.steps[1]);
            finding(&doc, (&doc.steps[1], 27_000_000), Direction::Out).is_some()
        };
        assert!(of(&|_| ()));
        assert!(!of(&|step| step.evidence[1].nics = None));
        assert!(!of(&|step| step.evidence[1].tcp = None));
        assert!(!of(&|step| step.lanes[1].connection = None));
        assert!(!of(&|step| step.lanes[1].local = None));
        assert!(!of(&|step| step.evidence[1].same_as = Some(NodeId::CLIENT)));
    }
}
