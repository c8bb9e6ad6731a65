//! Ports that a role needs and that do not pass on a network which SMB would use beside the one of the session.
//!
//! Refuses to blame a port where nothing at all passes between the two addresses.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{
    Direction, Finding, NetworkPorts, NodeId, PortAnswer, PortRecord, PortsWhere, ResultDoc, Step, StepSpec,
};

use super::pairs::silent;
use super::{Rule, planned};
use crate::networks::{NetworkWay, ways};
use crate::ports::findings::about;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("PORT-FILTERED"), code!("PORT-REFUSED")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let (Some(client), Some(server)) = (doc.environment(NodeId::CLIENT), doc.environment(NodeId::SERVER))
    else {
        return vec![];
    };
    let is_beside = |step: &&Step| {
        let ports = step.spec.as_ref().and_then(StepSpec::ports);
        ports.is_some_and(|ports| ports.at == PortsWhere::Beside)
    };
    let asked: Vec<&NetworkPorts> = planned(doc)
        .filter(is_beside)
        .filter_map(|step| step.detail.network_ports.as_ref())
        .flatten()
        .collect();
    if asked.is_empty() {
        return vec![];
    }
    let dead = silent(doc);
    let ways = ways(client, server);
    // Where connections open by chance, a silent port may be one of those.
    let chance = doc.findings.iter().any(|finding| finding.is(code!("CONNECT-PARTIAL")));
    let mut found = vec![];
    for network in asked {
        let Some(way) = ways.iter().find(|way| way.subnet == network.subnet) else { continue };
        let ends = (way.client, way.server);
        if dead.iter().any(|(path, _)| (path.local_address, path.remote_address) == ends) {
            continue;
        }
        let owns = |nic: &&pathproof_model::Nic| nic.addresses.iter().any(|one| one.address == way.client);
        let nic = client.nics.iter().find(owns).map(|nic| nic.name.as_str()).unwrap_or_default();
        found.extend(closed(network, way, nic, chance));
    }
    found
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
    use pathproof_model::{
        Environment, Nic, NicAddress, Node, NodeSpec, Port, PortsSpec, Role, StepKind, Tool,
    };

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
    fn a_network_over_which_nothing_passes_has_no_closed_port() {
        assert_eq!(told(PortAnswer::Filtered, true), []);
    }
}
