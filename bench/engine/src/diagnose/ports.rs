//! Ports that a role needs and that do not pass on a network which SMB would use beside the one of the session; and a family of addresses over which
//! no connection opens at all, while the other one between the same NICs lets the same ports through.
//!
//! Refuses to blame a port where nothing at all passes between the two addresses.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{
    AnsweredBy, Direction, Environment, Finding, NetworkPorts, Nic, PortAnswer, PortRecord, PortsWhere,
    ResultDoc, Severity, Step, StepSpec,
};

use super::pairs::silent;
use super::{Rule, both_hosts, planned};
use crate::networks::{NetworkWay, ways_of_both_families};
use crate::ports::findings::about;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("PORT-FILTERED"), code!("PORT-REFUSED")], find: findings },
    Rule { codes: &[code!("PATH-TCP-FILTERED")], find: families },
];

/// What was asked on the networks beside the session's.
fn beside(doc: &ResultDoc) -> impl Iterator<Item = (&Step, &NetworkPorts)> {
    let is_beside = |step: &&Step| {
        let ports = step.spec.as_ref().and_then(StepSpec::ports);
        ports.is_some_and(|ports| ports.at == PortsWhere::Beside)
    };
    let steps = planned(doc).filter(is_beside);
    steps.flat_map(|step| step.detail.network_ports.iter().flatten().map(move |network| (step, network)))
}

/// The NIC of a host that has an address.
fn owner(host: &Environment, address: IpAddr) -> Option<&Nic> {
    host.nics.iter().find(|nic| nic.addresses.iter().any(|one| one.address == address))
}

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let Some((client, server)) = both_hosts(doc) else { return vec![] };
    let asked: Vec<&NetworkPorts> = beside(doc).map(|(_, network)| network).collect();
    if asked.is_empty() {
        return vec![];
    }
    let dead = silent(doc);
    let ways = ways_of_both_families(client, server);
    // Where connections open by chance, a silent port may be one of those.
    let chance = doc.findings.iter().any(|finding| finding.is(code!("CONNECT-PARTIAL")));
    let mut found = vec![];
    for network in asked {
        let Some(way) = ways.iter().find(|way| way.subnet == network.subnet) else { continue };
        let ends = (way.client, way.server);
        if dead.iter().any(|(path, _)| (path.local_address, path.remote_address) == ends) {
            continue;
        }
        let nic = owner(client, way.client).map(|nic| nic.name.as_str()).unwrap_or_default();
        found.extend(closed(network, way, nic, chance));
        found.extend(unserved(doc, network, way, nic));
    }
    found
}

/// A port at which a service answers where the session goes, and on this network nobody but the other end itself, for the length of its step. A service
/// may be meant to keep to some addresses, so that is only told.
fn unserved(doc: &ResultDoc, network: &NetworkPorts, way: &NetworkWay, nic: &str) -> Option<Finding> {
    let answers = |one: &PortRecord, by: AnsweredBy| {
        one.direction == Direction::Out && one.answer == PortAnswer::Answered && one.by == Some(by)
    };
    let at_session = |one: &PortRecord| {
        let mut records = planned(doc).filter_map(|step| step.detail.ports.as_ref()).flatten();
        records.any(|other| other.port == one.port && answers(other, AnsweredBy::Service))
    };
    let needed = network.ports.iter().filter(|one| !one.needed_by.is_empty());
    let those = needed.filter(|one| answers(one, AnsweredBy::Agent) && at_session(one));
    let names: Vec<&str> = those.map(|one| one.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let said = format!(
        "over {} ({nic}, from {} to {}) nothing listened at {} but pathproof itself, while a service does at the address of the session",
        way.subnet,
        way.client,
        way.server,
        names.join(", ")
    );
    let finding = Finding::new("PORT-REFUSED", said).with_severity(Severity::Info).with_next(
        "Let the service listen at this address, too, where this network is meant for it (Samba: 'interfaces' and 'bind interfaces only').",
    );
    Some(finding.tell(told::LOCAL_NIC, nic).with("subnet", network.subnet.as_str()))
}

/// A family of addresses over which not one of several ports answers at which the other end listens, and the other one between the same NICs over which
/// one does.
fn families(doc: &ResultDoc) -> Vec<Finding> {
    /// One port alone may be closed by itself.
    const SEVERAL: usize = 2;
    let Some((client, server)) = both_hosts(doc) else { return vec![] };
    let ways = ways_of_both_families(client, server);
    let dead = silent(doc);
    let told = beside(doc).filter_map(|(step, network)| {
        let way = ways.iter().find(|way| way.subnet == network.subnet)?;
        // What is silent altogether is told as that.
        let is_dead = dead.iter().any(|(path, _)| (path.local_address, path.remote_address) == (way.client, way.server));
        let out = || network.ports.iter().filter(|one| one.direction == Direction::Out && !one.port.is_udp());
        let is_silent = |one: &PortRecord| matches!(one.answer, PortAnswer::Filtered | PortAnswer::Unreachable);
        let silent: Vec<&PortRecord> = out().filter(|one| is_silent(one)).collect();
        if is_dead || silent.len() < SEVERAL || silent.len() < out().count() {
            return None;
        }
        let nic = owner(client, way.client)?;
        let by = answered_by_the_other_family(doc, step, (nic, way), &ways, &silent)?;
        let names: Vec<&str> = silent.iter().map(|one| one.name.as_str()).collect();
        let said = format!(
            "over {} ({}, from {} to {}) no connection opens: not one of {} answers, at which the other end listens, while {by}",
            way.subnet,
            nic.name,
            way.client,
            way.server,
            names.join(", ")
        );
        let finding = Finding::new("PATH-TCP-FILTERED", said).tell(told::LOCAL_NIC, nic.name.clone());
        Some(finding.with("subnet", way.subnet.as_str()))
    });
    told.collect()
}

/// How it is known that the other family between the same NICs lets connections to one of these ports through.
fn answered_by_the_other_family(
    doc: &ResultDoc,
    step: &Step,
    (nic, way): (&Nic, &NetworkWay),
    ways: &[NetworkWay],
    silent: &[&PortRecord],
) -> Option<String> {
    let is_answered = |one: &PortRecord| {
        let same = silent.iter().any(|other| other.port == one.port) && one.direction == Direction::Out;
        same && one.answer == PortAnswer::Answered && one.by == Some(AnsweredBy::Agent)
    };
    let has = |address: IpAddr| nic.addresses.iter().any(|one| one.address == address);
    let other = ways.iter().find(|one| one.client.is_ipv4() != way.client.is_ipv4() && has(one.client))?;
    let asked: Vec<&NetworkPorts> =
        beside(doc).map(|(_, one)| one).filter(|one| one.subnet == other.subnet).collect();
    // What is not asked beside the session is the session's own.
    if asked.is_empty() {
        let mut records = planned(doc).filter_map(|step| step.detail.ports.as_ref()).flatten();
        let one = records.find(|one| is_answered(one))?;
        return Some(format!("over {} between the same NICs {} answers", other.subnet, one.name));
    }
    let left = step.detail.left_silent.iter().flatten();
    let mut opened = left.filter(|one| one.subnet.as_ref() == Some(&other.subnet) && !one.tried.is_empty());
    let mut records = asked.into_iter().flat_map(|one| &one.ports);
    (records.any(is_answered) || opened.next().is_some())
        .then(|| format!("over {} between the same NICs connections to such a port open", other.subnet))
}

/// What is closed on one network, each way; ports that nothing needs are not asked there.
fn closed(network: &NetworkPorts, way: &NetworkWay, nic: &str, chance: bool) -> Vec<Finding> {
    let toward = |(direction, from, to): (Direction, IpAddr, IpAddr)| {
        let over = format!("over {} ({nic}, from {from} to {to})", way.subnet);
        let of = |answer: PortAnswer| {
            let needed = network.ports.iter().filter(|one| !one.needed_by.is_empty());
            let those = needed.filter(|one| one.direction == direction && one.answer == answer);
            those.collect::<Vec<&PortRecord>>()
        };
        let silent = if chance { vec![] } else { of(PortAnswer::Filtered) };
        let told = [
            ("PORT-FILTERED", silent, "nothing came back from"),
            (
                "PORT-FILTERED",
                of(PortAnswer::Unreachable),
                "a router or a firewall answers that it is unreachable or prohibited:",
            ),
            ("PORT-REFUSED", of(PortAnswer::Refused), "somebody listens and connections are refused at"),
        ];
        let found = told.into_iter().flat_map(|(code, records, said)| {
            about(code, direction, records.into_iter(), &format!("{over} {said}"))
        });
        found.collect::<Vec<Finding>>()
    };
    let (client, server) = (way.client, way.server);
    let ways = [(Direction::Out, client, server), (Direction::In, server, client)];
    let found = ways.into_iter().flat_map(toward);
    found.map(|finding| finding.tell(told::LOCAL_NIC, nic).with("subnet", network.subnet.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::mtu_path;
    use super::*;
    use pathproof_model::{NicAddress, Node, NodeId, NodeSpec, Port, PortsSpec, Role, StepKind, Tool};

    fn host(last: u8) -> Environment {
        let nic = |(index, name): (u32, &str)| Nic {
            index,
            name: name.into(),
            addresses: vec![NicAddress { address: [10, 0, index as u8, last].into(), prefix_len: 24 }],
            up: Some(true),
            carrier: Some(true),
            ..Nic::default()
        };
        Environment { nics: [(1, "e0"), (2, "e1")].map(nic).into(), ..Environment::default() }
    }

    /// The port of SMB on the second network, beside a path that is dead or not.
    fn told(answer: PortAnswer, dead: bool) -> Vec<Finding> {
        toward(Direction::Out, answer, dead)
    }

    fn toward(direction: Direction, answer: PortAnswer, dead: bool) -> Vec<Finding> {
        let spec = PortsSpec { roles: vec![Role::Smb], at: PortsWhere::Beside, ..PortsSpec::default() };
        let record = PortRecord {
            port: Port::Smb,
            name: Port::Smb.name(),
            direction,
            answer,
            by: None,
            reason: None,
            needed_by: vec![Role::Smb],
        };
        let mut ports = Step::new(StepKind::Ports, "ports of the other networks");
        ports.spec = Some(StepSpec::Ports(spec));
        ports.detail.network_ports =
            Some(vec![NetworkPorts { subnet: "10.0.2.0/24".into(), ports: vec![record] }]);
        let path = |third: u8, carried: bool| pathproof_model::MtuPath {
            local_address: [10, 0, third, 1].into(),
            remote_address: [10, 0, third, 2].into(),
            proven_ip_bytes: carried.then_some(1500),
            ..mtu_path()
        };
        let mut mtu = Step::new(StepKind::Mtu, "path MTU");
        mtu.detail.paths = Some(vec![path(1, true), path(2, !dead)]);
        let server = Node {
            id: NodeId::SERVER,
            name: "b".into(),
            spec: NodeSpec::Agent { host: "b".into(), port: 1 },
            environment: Some(host(2)),
            clock: None,
        };
        let doc = ResultDoc {
            nodes: vec![Node::here(Some(host(1))), server],
            steps: vec![ports, mtu],
            ..ResultDoc::new(Tool::default(), "")
        };
        findings(&doc)
    }

    #[test]
    fn a_port_that_one_network_drops_is_told_with_its_nic_and_subnet() {
        let found = told(PortAnswer::Filtered, false);
        assert_eq!((found.len(), found[0].code.as_str()), (1, "PORT-FILTERED"));
        let evidence = "from this host to the server (out): over 10.0.2.0/24 (e1, from 10.0.2.1 to 10.0.2.2) nothing came back from \
                        445/tcp (SMB)";
        assert_eq!(found[0].evidence, evidence);
        assert_eq!(found[0].told(told::LOCAL_NIC).as_deref(), Some("e1"));
        assert_eq!(told(PortAnswer::Refused, false)[0].code, "PORT-REFUSED");
        assert_eq!(told(PortAnswer::Answered, false), []);
        assert_eq!(told(PortAnswer::Unknown, false), []);
    }

    #[test]
    fn a_port_that_one_network_drops_on_the_way_back_is_told_as_that() {
        let found = toward(Direction::In, PortAnswer::Filtered, false);
        assert_eq!((found.len(), found[0].code.as_str()), (1, "PORT-FILTERED"));
        let evidence = "back from the server to this host (in): over 10.0.2.0/24 (e1, from 10.0.2.2 to 10.0.2.1) nothing came back from \
                        445/tcp (SMB)";
        assert_eq!(found[0].evidence, evidence);
        assert_eq!(toward(Direction::In, PortAnswer::Unknown, false), []);
    }

    #[test]
    fn a_service_that_keeps_to_the_address_of_the_session_is_told_and_accuses_nobody() {
        let told = |here: AnsweredBy, there: AnsweredBy| {
            let record = |by: AnsweredBy| PortRecord {
                port: Port::Smb,
                name: Port::Smb.name(),
                direction: Direction::Out,
                answer: PortAnswer::Answered,
                by: Some(by),
                reason: None,
                needed_by: vec![Role::Smb],
            };
            let mut own = Step::new(StepKind::Ports, "ports and connections");
            own.detail.ports = Some(vec![record(here)]);
            let doc = ResultDoc { steps: vec![own], ..ResultDoc::new(Tool::default(), "") };
            let subnet = "10.0.2.0/24".to_owned();
            let (client, server) = ([10, 0, 2, 1].into(), [10, 0, 2, 2].into());
            let way = NetworkWay { subnet: subnet.clone(), client, server, second_family: false };
            unserved(&doc, &NetworkPorts { subnet, ports: vec![record(there)] }, &way, "e1")
        };
        let found = told(AnsweredBy::Service, AnsweredBy::Agent).unwrap();
        assert_eq!((found.code.as_str(), found.severity), ("PORT-REFUSED", Severity::Info));
        assert!(
            found.evidence.contains("nothing listened at 445/tcp but pathproof itself"),
            "{}",
            found.evidence
        );
        assert_eq!(told(AnsweredBy::Service, AnsweredBy::Service), None);
        assert_eq!(told(AnsweredBy::Agent, AnsweredBy::Agent), None, "nobody serves anywhere");
    }

    #[test]
    fn a_network_over_which_nothing_passes_has_no_closed_port() {
        assert_eq!(told(PortAnswer::Filtered, true), []);
    }

    /// One NIC each with both families: what three ports answer over IPv6, beside what one of them does over IPv4, which is the session's.
    fn over_ipv6(answers: [PortAnswer; 3], over_ipv4: PortAnswer, dead: bool) -> Vec<Finding> {
        beside_session("fd01::/64", answers, over_ipv4, dead)
    }

    /// The same of the family of this subnet, where the other one is the session's.
    fn beside_session(
        subnet: &str,
        answers: [PortAnswer; 3],
        session: PortAnswer,
        dead: bool,
    ) -> Vec<Finding> {
        let record = |(port, answer): (Port, PortAnswer)| PortRecord {
            port,
            name: port.name(),
            direction: Direction::Out,
            answer,
            by: (answer == PortAnswer::Answered).then_some(AnsweredBy::Agent),
            reason: None,
            needed_by: vec![],
        };
        let dual = |last: u8| {
            let mut host = host(last);
            host.nics.truncate(1);
            let address = format!("fd01::{last}").parse().unwrap();
            host.nics[0].addresses.push(NicAddress { address, prefix_len: 64 });
            host
        };
        let mut own = Step::new(StepKind::Ports, "ports and connections");
        own.detail.ports = Some(vec![record((Port::SmbDirect, session))]);
        let mut beside = Step::new(StepKind::Ports, "ports of the other networks");
        beside.spec = Some(StepSpec::Ports(PortsSpec { at: PortsWhere::Beside, ..PortsSpec::default() }));
        let asked = [Port::SmbDirect, Port::LiveMigration, Port::Cluster].into_iter().zip(answers);
        let network = NetworkPorts { subnet: subnet.into(), ports: asked.map(record).collect() };
        beside.detail.network_ports = Some(vec![network]);
        let path = |local: &str, remote: &str, carried: bool| pathproof_model::MtuPath {
            local_address: local.parse().unwrap(),
            remote_address: remote.parse().unwrap(),
            proven_ip_bytes: carried.then_some(1500),
            ..mtu_path()
        };
        let mut mtu = Step::new(StepKind::Mtu, "path MTU");
        mtu.detail.paths = Some(vec![path("10.0.1.1", "10.0.1.2", true), path("fd01::1", "fd01::2", !dead)]);
        let spec = NodeSpec::Agent { host: "b".into(), port: 1 };
        let server =
            Node { id: NodeId::SERVER, name: "b".into(), spec, environment: Some(dual(2)), clock: None };
        families(&ResultDoc {
            nodes: vec![Node::here(Some(dual(1))), server],
            steps: vec![own, beside, mtu],
            ..ResultDoc::new(Tool::default(), "")
        })
    }

    #[test]
    fn a_family_over_which_no_connection_opens_is_told_where_the_other_one_carries_them() {
        use PortAnswer::{Answered, Filtered, Refused, Unknown};
        let found = over_ipv6([Filtered; 3], Answered, false);
        assert_eq!((found.len(), found[0].code.as_str()), (1, "PATH-TCP-FILTERED"));
        let evidence = "over fd01::/64 (e0, from fd01::1 to fd01::2) no connection opens: not one of 5445/tcp, 6600/tcp, 3343/tcp answers, at which the \
                        other end listens, while over 10.0.1.0/24 between the same NICs 5445/tcp answers";
        assert_eq!(found[0].evidence, evidence);
        assert_eq!(found[0].told(told::LOCAL_NIC).as_deref(), Some("e0"));
        // Under a session over IPv6 it is the other way round.
        let found = beside_session("10.0.1.0/24", [Filtered; 3], Answered, false);
        assert!(found.len() == 1 && found[0].evidence.contains("while over fd01::/64"), "{found:?}");
        // One of them passes; a host that closes these ports to both families; nothing at all passes; an older build was not asked.
        for (over_ipv6_, over_ipv4, dead) in [
            ([Filtered, Answered, Filtered], Answered, false),
            ([Filtered, Refused, Filtered], Answered, false),
            ([Filtered; 3], Filtered, false),
            ([Filtered; 3], Answered, true),
            ([Unknown; 3], Answered, false),
        ] {
            assert_eq!(over_ipv6(over_ipv6_, over_ipv4, dead), [], "{over_ipv6_:?}");
        }
    }
}
