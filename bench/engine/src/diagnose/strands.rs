//! Silent pairs of NICs of which one strand is dead: what one end sends arrives, and nothing comes back.
//!
//! Refuses to say so by what NICs count alone: out of the ports of a dead pair come a third host's broadcasts.

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{Direction, Evidence, Finding, MtuPath, NodeId, Probes, ResultDoc};

use super::pairs::{is_silent, silent};
use super::{Rule, planned};

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PATH-ONE-WAY")], find: one_way }];

/// Whether a pair that carries has a NIC of this one. Then their counters are not this pair's alone: what left the NIC was meant for another,
/// as a rule, and that it did not come in here says nothing.
fn is_shared(doc: &ResultDoc, pair: &MtuPath) -> bool {
    let has_its_nic = |path: &MtuPath| {
        path.local_nic == pair.local_nic || path.remote_nic.is_some() && path.remote_nic == pair.remote_nic
    };
    let mut paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_deref()).flatten();
    paths.any(|path| !is_silent(path) && has_its_nic(path))
}

/// Whether something came one way over a silent pair that the other end alone can have sent, and nothing of it the other way: a question of the probes,
/// or the hardware address of its NIC, which a host hears when the other one asks who has its own. What a NIC counts may be anybody's: broadcasts of
/// a third host come out of the ports of a dead pair as well.
fn heard_one_way(doc: &ResultDoc, path: &MtuPath, way: Direction) -> bool {
    let back = if way == Direction::Out { Direction::In } else { Direction::Out };
    let asked = |way| questions(doc, path, way) > Some(0);
    let (there, known) = (knows(doc, path, way), knows(doc, path, back));
    !asked(back) && (asked(way) || (there == Some(true) && known == Some(false)))
}

/// How many questions of the probes one end heard of the other, where it says.
fn questions(doc: &ResultDoc, path: &MtuPath, way: Direction) -> Option<u64> {
    let paced = doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    let ends = (path.local_address, path.remote_address);
    let own = paced.filter(|one| (one.local_address, one.remote_address) == ends && one.direction == way);
    own.filter_map(|one| one.questions_heard).max()
}

/// Whether the end at which one way ends had the hardware address of the other's NIC in its table during a step; `false` where it asked for
/// it in vain and never had one.
fn knows(doc: &ResultDoc, path: &MtuPath, way: Direction) -> Option<bool> {
    let client = (NodeId::CLIENT, path.local_nic.as_str(), path.local_address);
    let server = (NodeId::SERVER, path.remote_nic.as_deref()?, path.remote_address);
    let (from, to) = if way == Direction::In { (server, client) } else { (client, server) };
    let host = doc.environment(from.0)?;
    let mac = host.nics.iter().find(|nic| nic.name == from.1)?.mac.as_deref()?;
    let tables =
        doc.steps.iter().filter_map(|step| step.evidence(to.0)).filter_map(|one| one.neighbours.as_ref());
    let entries = || tables.clone().flatten().filter(|one| one.address == from.2 && one.nic == to.1);
    if entries().any(|one| one.macs.iter().any(|own| own.eq_ignore_ascii_case(mac))) {
        return Some(true);
    }
    (entries().any(|one| one.failed) && entries().all(|one| one.macs.is_empty())).then_some(false)
}

/// Of a pair that is silent both ways, what left one end and what reached the other, by the counters of both NICs, where it is known besides that
/// what the other end itself sent came one way only.
fn one_way(doc: &ResultDoc) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for step in planned(doc).filter(|step| step.kind.traits().probes != Probes::None) {
        let (Some(here), Some(there)) = (step.evidence(NodeId::CLIENT), step.evidence(NodeId::SERVER)) else {
            continue;
        };
        for (path, _) in silent(doc).into_iter().filter(|(path, _)| !is_shared(doc, path)) {
            let (ours, theirs) = (path.local_nic.as_str(), path.remote_nic.as_deref().unwrap_or_default());
            let remote = path.remote_address;
            let told = found.iter().any(|one| one.told(told::REMOTE_ADDRESS) == Some(remote));
            let Some((direction, left, came)) = strand(here, ours, there, theirs).filter(|_| !told) else {
                continue;
            };
            let (dead, fine, passes) = if direction == Direction::Out {
                ("out", "in", Direction::In)
            } else {
                ("in", "out", Direction::Out)
            };
            if !heard_one_way(doc, path, passes) {
                continue;
            }
            // What a device between them says by itself comes in as well: a switch's own frames, a router's announcements.
            let came = match came {
                0 => "not one reached the other".into(),
                some => format!("{some} came in at the other, from whomever"),
            };
            let said = format!(
                "{ours} ({}) and {theirs} ({}): {fine} passes and {dead} does not: {left} packets left one NIC and {came} \
                 ({dead}), while what the other end sent arrived the other way",
                path.local_address, path.remote_address
            );
            let finding = Finding::new("PATH-ONE-WAY", said).tell(told::DIRECTION, direction);
            let finding = finding.tell(told::LOCAL_NIC, ours).tell(told::REMOTE_NIC, theirs);
            found.push(finding.tell(told::REMOTE_ADDRESS, remote));
        }
    }
    found
}

/// The direction in which nothing arrives, where something does in the other; how many packets were sent that way, and how many came in that may
/// be anybody's.
fn strand(here: &Evidence, ours: &str, there: &Evidence, theirs: &str) -> Option<(Direction, u64, u64)> {
    let (here, there) = (here.nic(ours)?, there.nic(theirs)?);
    let (our_sent, our_heard) = (here.sent_packets?, here.received_packets?);
    let (their_sent, their_heard) = (there.sent_packets?, there.received_packets?);
    /// Fewer than these may all have been ours to drop.
    const SOME: u64 = 3;
    // One way next to nothing comes of what was sent, the other way at least half.
    let dead = |sent: u64, heard: u64| sent >= SOME && heard.saturating_mul(4) <= sent;
    let fine = |sent: u64, heard: u64| sent > 0 && heard.saturating_mul(2) >= sent;
    if dead(their_sent, our_heard) && fine(our_sent, their_heard) {
        return Some((Direction::In, their_sent, our_heard));
    }
    (dead(our_sent, their_heard) && fine(their_sent, our_heard)).then_some((
        Direction::Out,
        our_sent,
        their_heard,
    ))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use pathproof_model::evidence::{NeighbourActivity, NicActivity, NicCounts};
    use pathproof_model::{Environment, LossPath, Nic, Node, Step, StepKind, Tool};

    /// What an end's kernel knows of the other's address: the hardware addresses, and whether nobody answered in the end.
    type Table<'a> = Option<(&'a [&'a str], bool)>;

    fn table<'a>(macs: &'a [&'a str], failed: bool) -> Table<'a> {
        Some((macs, failed))
    }

    fn codes(doc: &ResultDoc) -> Vec<String> {
        one_way(doc).into_iter().map(|finding| finding.code).collect()
    }

    fn strand_of(ours: (u64, u64), theirs: (u64, u64)) -> Option<Direction> {
        let end = |nic: &str, (sent, received): (u64, u64)| {
            let counts = NicCounts {
                sent_packets: Some(sent),
                received_packets: Some(received),
                ..NicCounts::still()
            };
            Evidence { nics: Some(vec![NicActivity { nic: nic.into(), counts }]), ..Evidence::default() }
        };
        strand(&end("a", ours), "a", &end("b", theirs), "b").map(|(direction, ..)| direction)
    }

    #[test]
    fn a_strand_is_dead_where_one_end_hears_and_the_other_does_not() {
        // As counted over a wire that lost everything one way.
        assert_eq!(strand_of((3, 0), (7, 3)), Some(Direction::In));
        assert_eq!(strand_of((7, 3), (3, 0)), Some(Direction::Out));
        // One frame came in there that is a third device's.
        assert_eq!(strand_of((3, 1), (6, 4)), Some(Direction::In));
        assert_eq!(strand_of((3, 1), (3, 3)), None, "too few to tell");
        // Nothing passes, or both hear and do not understand one another.
        assert_eq!(strand_of((3, 0), (3, 0)), None);
        assert_eq!(strand_of((2, 2), (2, 4)), None);
        let mut lone = ResultDoc::new(Tool::default(), "");
        lone.steps.push(Step::new(StepKind::Loss, "loss"));
        assert_eq!(codes(&lone), [""; 0]);
    }

    /// Paced datagrams between the second NICs, with the questions that were heard out and in.
    fn paced(out: Option<u64>, inward: Option<u64>) -> Step {
        let path = |direction, questions_heard| LossPath {
            local_nic: "e1".into(),
            remote_nic: "e1".into(),
            local_address: [10, 0, 0, 11].into(),
            remote_address: [10, 0, 0, 12].into(),
            direction,
            questions_heard,
            ..super::super::tests::loss_path()
        };
        let mut step = Step::new(StepKind::Loss, "datagram loss");
        step.detail.loss = Some(vec![path(Direction::Out, out), path(Direction::In, inward)]);
        step
    }

    #[test]
    fn a_strand_is_dead_where_what_the_other_end_sent_came_one_way_and_not_where_anybodys_packets_did() {
        const OURS: &str = "02:00:00:00:00:0a";
        const THEIRS: &str = "02:00:00:00:00:0b";
        let told = |questions: [Option<u64>; 2], tables: [Table<'_>; 2]| {
            let path = super::super::tests::mtu_path;
            let carries = MtuPath { ip_mtu_bytes: Some(1500), proven_ip_bytes: Some(1500), ..path() };
            let addresses = [[10, 0, 0, 11], [10, 0, 0, 12]].map(IpAddr::from);
            let silent = MtuPath {
                local_nic: "e1".into(),
                remote_nic: Some("e1".into()),
                local_address: addresses[0],
                remote_address: addresses[1],
                ..path()
            };
            let end = |(node, other, table): (NodeId, IpAddr, Table<'_>), (sent, received)| {
                let counts = NicCounts {
                    sent_packets: Some(sent),
                    received_packets: Some(received),
                    ..NicCounts::still()
                };
                let entry = |(macs, failed): (&[&str], bool)| NeighbourActivity {
                    address: other,
                    nic: "e1".into(),
                    macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
                    failed,
                };
                Evidence {
                    node,
                    nics: Some(vec![NicActivity { nic: "e1".into(), counts }]),
                    neighbours: Some(table.map(entry).into_iter().collect()),
                    ..Evidence::default()
                }
            };
            let mut step = Step::new(StepKind::Mtu, "path MTU");
            // As counted between two isolated ports of one switch, at which a third host's broadcasts come out.
            step.evidence = vec![
                end((NodeId::CLIENT, addresses[1], tables[0]), (2, 0)),
                end((NodeId::SERVER, addresses[0], tables[1]), (3, 1)),
            ];
            step.detail.paths = Some(vec![carries, silent]);
            let host = |mac: &str| {
                let nic = Nic { name: "e1".into(), mac: Some(mac.into()), ..Nic::default() };
                Some(Environment { nics: vec![nic], ..Environment::default() })
            };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.nodes = vec![Node::here(host(OURS)), Node::agent("b", host(THEIRS))];
            doc.steps = vec![step, paced(questions[0], questions[1])];
            codes(&doc)
        };
        let in_vain = table(&[], true);
        // The probes' own questions came out alone, or those who has an address: the server's port lets nothing in.
        assert_eq!(told([Some(3), Some(0)], [None, None]), ["PATH-ONE-WAY"]);
        assert_eq!(told([Some(0), Some(0)], [in_vain, table(&[OURS], true)]), ["PATH-ONE-WAY"]);
        // Neither end heard the other, or nobody says; both heard; what came in came the other way.
        assert_eq!(told([Some(0), Some(0)], [in_vain, in_vain]), [""; 0]);
        assert_eq!(told([None, None], [None, None]), [""; 0]);
        assert_eq!(told([Some(3), Some(3)], [None, None]), [""; 0]);
        assert_eq!(told([Some(0), Some(3)], [None, None]), [""; 0]);
        // Another's hardware address, and one that both ends know, as after a cable was pulled.
        assert_eq!(told([Some(0), Some(0)], [in_vain, table(&["02:00:00:00:00:77"], false)]), [""; 0]);
        assert_eq!(told([Some(0), Some(0)], [table(&[THEIRS], true), table(&[OURS], true)]), [""; 0]);
    }

    #[test]
    fn what_left_a_nic_that_carries_for_another_pair_was_not_meant_for_this_one() {
        let told = |theirs: &str| {
            let path = super::super::tests::mtu_path;
            let carries = MtuPath { ip_mtu_bytes: Some(1500), proven_ip_bytes: Some(1500), ..path() };
            let silent = MtuPath {
                local_nic: "e1".into(),
                remote_nic: Some(theirs.into()),
                local_address: [10, 0, 0, 11].into(),
                remote_address: [10, 0, 0, 12].into(),
                ..path()
            };
            let end = |node, nic: &str, (sent, received): (u64, u64)| {
                let counts = NicCounts {
                    sent_packets: Some(sent),
                    received_packets: Some(received),
                    ..NicCounts::still()
                };
                let nics = Some(vec![NicActivity { nic: nic.into(), counts }]);
                Evidence { node, nics, ..Evidence::default() }
            };
            let mut step = Step::new(StepKind::Mtu, "path MTU");
            // As counted in a network that both NICs of both hosts lie in, where a filter refuses what comes to the second.
            step.evidence = vec![end(NodeId::CLIENT, "e1", (40, 9)), end(NodeId::SERVER, theirs, (36, 40))];
            step.detail.paths = Some(vec![carries, silent]);
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.steps = vec![step, paced(Some(3), None)];
            codes(&doc)
        };
        assert_eq!(told("e1"), ["PATH-ONE-WAY"]);
        assert_eq!(told("e0"), [""; 0], "most of it went to the NIC that it does reach");
    }
}
