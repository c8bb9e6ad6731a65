//! Datagrams that are not let through between addresses which otherwise reach each other.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::judge::{segments, tcp_passed};
use pathproof_model::told;
use pathproof_model::{Direction, Finding, LossPath, MtuMethod, MtuPath, NodeId, ResultDoc, Step};

use super::{Rule, planned};

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PATH-UDP-FILTERED")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut pairs: Vec<Pair> = Vec::new();
    for step in planned(doc).filter(|step| step.error.is_none()) {
        for (ends, nics, way, heard) in seen(step) {
            let known = pairs.iter().position(|pair| pair.ends == ends);
            let at = known.unwrap_or_else(|| {
                pairs.push(Pair { ends, nics, ..Pair::default() });
                pairs.len() - 1
            });
            // Datagrams that came and met no socket were not filtered: ARP-FLUX says so.
            if heard == Heard::Datagrams || astray(step, ends.1.is_ipv6()).is_none() {
                pairs[at].take(way, heard, super::pressed(step));
            }
        }
    }
    pairs.iter().filter_map(|pair| pair.finding(doc)).collect()
}

/// What was heard of an asked direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Datagrams,
    Echoes,
    Nothing,
}

/// What was heard between each pair of NICs in a step.
fn seen(step: &Step) -> impl Iterator<Item = Seen> + '_ {
    let paths = step.detail.paths.iter().flatten().filter(|path| path.remote_nic.is_some());
    paths.map(by_size).chain(step.detail.loss.iter().flatten().map(by_pace))
}

/// Datagrams of a step that came to an end and met no socket there.
pub(super) struct Astray {
    pub end: NodeId,
    pub came: u64,
    /// What the other end sent in all.
    pub of: u64,
}

/// What came to one end of a step and met no socket there, where nearly all did that the other end sent: each socket of a probe is tied to the
/// NIC that has its address, so it came in over another one. Probes from each NIC to each, and late answers, are a part of all.
fn astray(step: &Step, over_ipv6: bool) -> Option<Astray> {
    const FEW: u64 = 8;
    let udp = |node| {
        step.evidence(node).and_then(|one| if over_ipv6 { one.udp6.as_ref() } else { one.udp.as_ref() })
    };
    [(NodeId::CLIENT, NodeId::SERVER), (NodeId::SERVER, NodeId::CLIENT)].into_iter().find_map(
        |(end, other)| {
            let (came, of) = (udp(end)?.no_port?, udp(other)?.sent?);
            // Where far more came than the other end sent, it is others who ask at ports that are closed.
            let most = came.saturating_mul(4) >= of.saturating_mul(3);
            let own = came.saturating_mul(3) <= of.saturating_mul(4);
            (came >= FEW && most && own).then_some(Astray { end, came: came.min(of), of })
        },
    )
}

/// The first of a run's pairs between which no datagram was answered for that reason: their addresses, and what went astray.
pub(super) fn first_astray(doc: &ResultDoc) -> Option<((IpAddr, IpAddr), Astray)> {
    planned(doc).filter(|step| step.error.is_none()).find_map(|step| {
        seen(step)
            .filter(|(.., heard)| *heard != Heard::Datagrams)
            .find_map(|(ends, ..)| Some((ends, astray(step, ends.1.is_ipv6())?)))
    })
}

/// The NICs, ours and theirs, between which paced datagrams were answered over no pair of addresses while TCP passed over each that was silent: they are
/// no dead pair.
pub(super) fn carried_by_tcp(doc: &ResultDoc) -> Vec<(String, String)> {
    let paced = doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
    let silent: Vec<&LossPath> = paced.filter(|path| path.is_silent()).collect();
    let passed = |path: &LossPath| {
        let ours = (path.local_nic.as_str(), path.local_address);
        tcp_passed(doc, ours, (path.remote_nic.as_str(), path.remote_address))
    };
    let nics = |path: &LossPath| (path.local_nic.clone(), path.remote_nic.clone());
    let all_of = |own: &(String, String)| {
        let mut of_them = silent.iter().filter(|path| nics(path) == *own);
        of_them.all(|path| passed(path))
    };
    silent.iter().map(|path| nics(path)).filter(all_of).collect()
}

type Seen = ((IpAddr, IpAddr), (String, String), Direction, Heard);

fn by_size(path: &MtuPath) -> Seen {
    let heard = match (path.method, path.proven_ip_bytes) {
        (MtuMethod::Echo, Some(_)) => Heard::Echoes,
        (MtuMethod::Agent | MtuMethod::Other, Some(_)) => Heard::Datagrams,
        (_, None) => Heard::Nothing,
    };
    let nics = (path.local_nic.clone(), path.remote_nic.clone().unwrap_or_default());
    ((path.local_address, path.remote_address), nics, path.direction, heard)
}

fn by_pace(path: &LossPath) -> Seen {
    let heard = match path.flows.iter().any(|flow| flow.answered) {
        true if path.by_echo => Heard::Echoes,
        true => Heard::Datagrams,
        false => Heard::Nothing,
    };
    let nics = (path.local_nic.clone(), path.remote_nic.clone());
    ((path.local_address, path.remote_address), nics, path.direction, heard)
}

/// What a silence is worth that is believed.
const SURE: u32 = 2;

/// Two addresses, and what was heard between them in all steps.
struct Pair {
    ends: (IpAddr, IpAddr),
    nics: (String, String),
    /// Whether datagrams were answered that began here, and there.
    answered: [bool; 2],
    /// How much the silence of each is worth: a host that is busy may be late with one answer, and not twice.
    silences: [u32; 2],
    echoes: bool,
}

impl Default for Pair {
    fn default() -> Pair {
        let nowhere = IpAddr::from([0, 0, 0, 0]);
        Pair {
            ends: (nowhere, nowhere),
            nics: Default::default(),
            answered: [false; 2],
            silences: [0; 2],
            echoes: false,
        }
    }
}

impl Pair {
    fn take(&mut self, way: Direction, heard: Heard, pressed: bool) {
        if heard != Heard::Datagrams {
            let worth = if pressed { SURE / 2 } else { SURE };
            self.silences[0] += if way != Direction::In { worth } else { 0 };
            self.silences[1] += if way != Direction::Out { worth } else { 0 };
        }
        self.echoes |= heard == Heard::Echoes;
        if heard == Heard::Datagrams {
            self.answered[0] |= way != Direction::In;
            self.answered[1] |= way != Direction::Out;
        }
    }

    fn finding(&self, doc: &ResultDoc) -> Option<Finding> {
        let (local, remote) = self.ends;
        let (ours, theirs) = (self.nics.0.as_str(), self.nics.1.as_str());
        if (0..2).any(|way| !self.answered[way] && self.silences[way] < SURE) {
            return None;
        }
        let (way, said) = match self.answered {
            [true, true] => return None,
            [false, false] => (Direction::Both, "no UDP datagram was answered, whichever end began"),
            [false, true] => (
                Direction::Out,
                "no UDP datagram that this host sent first was answered; those of the peer were",
            ),
            [true, false] => (
                Direction::In,
                "no UDP datagram that the peer sent first was answered; those of this host were",
            ),
        };
        let ways = [Direction::Out, Direction::In].map(|way| segments(&doc.steps, local, remote, way));
        let carried = ways.into_iter().flatten().map(|one| one.ip_bytes).max();
        // No stream of the plan went there, and connections opened all the same.
        let opened = carried.is_none() && tcp_passed(doc, (ours, local), (theirs, remote));
        // What reaches nobody by any means is another matter.
        if !self.echoes && carried.is_none() && !opened {
            return None;
        }
        let mut pass: Vec<String> =
            carried.map(|bytes| format!("TCP in packets of {bytes} bytes")).into_iter().collect();
        pass.extend(opened.then(|| "connections of TCP".to_owned()));
        pass.extend(self.echoes.then(|| "ICMP echoes".to_owned()));
        let (spoke, instead) = match (self.echoes, opened) {
            (true, _) => {
                ("echo", "path MTU and loss rest on ICMP echoes, which tell no direction and no flow")
            }
            (false, true) => ("connections", "path MTU and loss are not known of this pair"),
            (false, false) => ("segments", "path MTU and loss rest on TCP's own segments alone"),
        };
        let evidence = format!(
            "{ours} ({local}) and {theirs} ({remote}): {said}, while {} pass: a firewall between the ends, or at one of them, filters UDP. {}",
            pass.join(" and "),
            capital(instead)
        );
        let finding = Finding::new("PATH-UDP-FILTERED", evidence).tell(told::LOCAL_NIC, ours);
        Some(finding.tell(told::REMOTE_NIC, theirs).tell(told::DIRECTION, way).with("spoke", spoke))
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loss_path, sender};
    use super::*;
    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::evidence::UdpCounts;
    use pathproof_model::{LossFlow, StepKind, Tool};

    fn path(direction: Direction, answered: bool, by_echo: bool) -> LossPath {
        LossPath {
            direction,
            by_echo,
            flows: vec![LossFlow { answered, ..LossFlow::default() }; 8],
            ..loss_path()
        }
    }

    fn document(paths: Vec<LossPath>, tcp_bytes: u64) -> ResultDoc {
        let mut loss = Step::new(StepKind::Loss, "datagram loss");
        loss.detail.loss = Some(paths);
        let mut stream = Step::new(StepKind::Stream, "stream out");
        let mut lane = sender(ConnectionCounts::still());
        (lane.local, lane.remote) = (Some("10.0.0.1:4000".into()), Some("10.0.0.2:7797".into()));
        (lane.bytes, lane.send_segment_bytes) = (tcp_bytes, Some(1460));
        stream.lanes = vec![lane];
        ResultDoc { steps: vec![loss, stream], ..ResultDoc::new(Tool::default(), "") }
    }

    #[test]
    fn what_spoke_instead_is_said() {
        let found = findings(&document(vec![path(Direction::Both, true, true)], 100 << 20));
        assert_eq!((found.len(), found[0].code.as_str()), (1, "PATH-UDP-FILTERED"));
        assert!(
            found[0].evidence.contains("TCP in packets of 1500 bytes and ICMP echoes pass"),
            "{}",
            found[0].evidence
        );
        let silent = vec![path(Direction::Out, false, false), path(Direction::In, false, false)];
        let found = findings(&document(silent.clone(), 100 << 20));
        assert!(found[0].evidence.contains("TCP's own segments alone"), "{}", found[0].evidence);
        // Over a pair that carries nothing at all nobody knows what is filtered.
        assert_eq!(findings(&document(silent, 0)), vec![]);
    }

    /// The same with a burst between the two, and the way that both hosts have to each other.
    fn with_a_burst(paths: Vec<LossPath>, opened: u32) -> ResultDoc {
        use pathproof_model::environment::PeerRoute;
        use pathproof_model::{Environment, Node, OpenedAtOnce, OpenedRecord};
        let host = |to: IpAddr| {
            let way = PeerRoute { nic: Some("e0".into()), ..PeerRoute::to(to) };
            Some(Environment { peers: vec![way], ..Environment::default() })
        };
        let (here, there) = (paths[0].local_address, paths[0].remote_address);
        let mut doc = document(paths, 0);
        doc.nodes = vec![Node::here(host(there)), Node::agent("b", host(here))];
        let opened = OpenedAtOnce { asked: 8, opened, ..OpenedAtOnce::default() };
        doc.steps[1].detail.opened_at_once = Some(vec![OpenedRecord {
            local_address: Some(here),
            remote_address: Some(there),
            ..OpenedRecord::of_session(Direction::Out, opened)
        }]);
        doc
    }

    #[test]
    fn a_pair_over_which_connections_open_is_filtered_and_one_over_which_none_do_is_not_known_to_be() {
        let silent = vec![path(Direction::Out, false, false), path(Direction::In, false, false)];
        let doc = with_a_burst(silent.clone(), 8);
        let found = findings(&doc);
        assert_eq!((found.len(), found[0].code.as_str()), (1, "PATH-UDP-FILTERED"));
        let said = "while connections of TCP pass: a firewall between the ends";
        assert!(found[0].evidence.contains(said), "{}", found[0].evidence);
        assert_eq!(found[0].values["spoke"], "connections");
        assert_eq!(carried_by_tcp(&doc), vec![("e0".to_owned(), "e0".to_owned()); 2]);
        let dead = with_a_burst(silent.clone(), 0);
        assert_eq!((findings(&dead), carried_by_tcp(&dead)), (vec![], vec![]));
        // The other family of the same NICs carries nothing: of that the connections tell nothing.
        let six = LossPath {
            local_address: "fd09::1".parse().unwrap(),
            remote_address: "fd09::2".parse().unwrap(),
            ..path(Direction::Out, false, false)
        };
        let both = with_a_burst([silent, vec![six]].concat(), 8);
        assert_eq!((findings(&both).len(), carried_by_tcp(&both)), (1, vec![]));
    }

    #[test]
    fn one_end_that_may_not_begin_is_told_with_its_way_and_an_open_path_not_at_all() {
        let one_way = vec![path(Direction::In, true, false), path(Direction::Both, true, true)];
        let found = findings(&document(one_way, 100 << 20));
        assert_eq!(found[0].values["direction"], "out");
        let open = vec![path(Direction::In, true, false), path(Direction::Out, true, false)];
        assert_eq!(findings(&document(open, 100 << 20)), vec![]);
    }

    #[test]
    fn what_came_and_met_no_socket_was_not_filtered() {
        // As run between hosts of which one answered for its address over another NIC: 16 of 16 came, and none was heard.
        let counts = |node, sent, no_port| pathproof_model::Evidence {
            node,
            udp: Some(UdpCounts { sent: Some(sent), no_port: Some(no_port), ..UdpCounts::still() }),
            ..Default::default()
        };
        let mut doc = document(vec![path(Direction::Both, true, true)], 100 << 20);
        doc.steps[0].evidence = vec![counts(NodeId::CLIENT, 16, 0), counts(NodeId::SERVER, 8, 16)];
        assert_eq!(findings(&doc), vec![]);
        let found = astray(&doc.steps[0], false).unwrap();
        assert_eq!((found.end, found.came, found.of), (NodeId::SERVER, 16, 16));
        // What third hosts send to ports that are closed was not sent by the other end, which sent nothing or little; one of them is.
        for sent in [0, 10] {
            doc.steps[0].evidence = vec![counts(NodeId::CLIENT, sent, 0), counts(NodeId::SERVER, 8, 30)];
            assert!(astray(&doc.steps[0], false).is_none(), "{sent}");
            assert_eq!(findings(&doc).len(), 1, "{sent}");
        }
        doc.steps[0].evidence = vec![counts(NodeId::CLIENT, 16, 0), counts(NodeId::SERVER, 8, 17)];
        assert_eq!(astray(&doc.steps[0], false).map(|found| found.came), Some(16));
        // A few late ones are no explanation of a silence.
        doc.steps[0].evidence = vec![counts(NodeId::CLIENT, 160, 0), counts(NodeId::SERVER, 8, 3)];
        assert_eq!(findings(&doc).len(), 1);
    }

    #[test]
    fn one_silence_of_a_busy_host_is_not_believed_and_two_are() {
        // As run on a machine where all processors were wanted: the search one way was late, and there was no time for a loss step.
        let load =
            pathproof_model::HostLoad { elapsed_ns: 1000, pressure_some_ns: Some(990), ..Default::default() };
        let evidence = pathproof_model::Evidence { host: Some(load), ..Default::default() };
        let mut busy = document(vec![path(Direction::Both, true, true)], 100 << 20);
        busy.steps[0].evidence = vec![evidence];
        assert_eq!(findings(&busy), vec![]);
        busy.steps.push(busy.steps[0].clone());
        assert_eq!(findings(&busy).len(), 1);
    }
}
