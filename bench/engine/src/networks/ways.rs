//! The ways over the networks that two hosts share, and which ports pass on each.
//!
//! It refuses to take what one network lets through for what another one does.

use std::net::IpAddr;

use pathproof_model::{
    Direction, Environment, Finding, Network, NetworkPorts, NicAddress, NodeId, PortAnswer, PortRecord,
};

use crate::channels::hosts::chosen;

/// Most networks whose ports are asked.
pub const WAYS_MAX: usize = 8;

/// A network, with an address of each host in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkWay {
    /// Its subnet, as `ADDRESS/PREFIX`.
    pub subnet: String,
    /// The client's address.
    pub client: IpAddr,
    /// The server's address.
    pub server: IpAddr,
    /// It is IPv6 between NICs that another way joins by IPv4: the same network to a cluster, and another one to a firewall.
    pub second_family: bool,
}

/// The ways over the networks that both hosts have up, those that a cluster prefers first. Both ends come to the same answer, because each
/// knows what both hosts say of themselves.
pub fn ways(client: &Environment, server: &Environment) -> Vec<NetworkWay> {
    let all = super::networks(client, server);
    all.iter().filter(|network| network.up != Some(false)).filter_map(way).take(WAYS_MAX).collect()
}

fn way(network: &Network) -> Option<NetworkWay> {
    let of = |node: NodeId| network.nics.iter().find(|nic| nic.node == node).map(|nic| nic.address);
    let (client, server) = (of(NodeId::CLIENT)?, of(NodeId::SERVER)?);
    // With one address at both ends nothing leaves the host.
    let subnet = network.subnet.clone();
    (client != server).then_some(NetworkWay { subnet, client, server, second_family: false })
}

/// The ways of both families: behind those above the IPv6 between the same NICs.
pub fn ways_of_both_families(client: &Environment, server: &Environment) -> Vec<NetworkWay> {
    let mut found = ways(client, server);
    let all = super::networks(client, server);
    for network in all.iter().filter(|network| network.up != Some(false)) {
        for subnet in &network.also {
            // The first address that a NIC of the network has in it.
            let of = |node: NodeId, host: &Environment| -> Option<IpAddr> {
                let is_member =
                    |name: &str| network.nics.iter().any(|nic| nic.node == node && nic.nic == name);
                let mut addresses =
                    host.nics.iter().filter(|nic| is_member(&nic.name)).flat_map(|nic| &nic.addresses);
                let is_in = |one: &&NicAddress| {
                    super::subnet(one).is_some_and(|(ip, len)| format!("{ip}/{len}") == *subnet)
                };
                addresses.find(is_in).map(|one| one.address)
            };
            if let (Some(client), Some(server)) = (of(NodeId::CLIENT, client), of(NodeId::SERVER, server))
                && client != server
            {
                found.push(NetworkWay { subnet: subnet.clone(), client, server, second_family: true });
            }
        }
    }
    found.truncate(WAYS_MAX);
    found
}

/// The ways that SMB would use beside that between the `session`'s addresses, the client's and the server's: those from NICs of the client that it
/// would choose. A network that nobody means to use may be closed.
pub fn beside(client: &Environment, server: &Environment, session: (IpAddr, IpAddr)) -> Vec<NetworkWay> {
    let chosen = chosen(client, server);
    let is_chosen = |address: IpAddr| {
        let owns = |nic: &&pathproof_model::Nic| nic.addresses.iter().any(|one| one.address == address);
        client.nics.iter().filter(owns).any(|nic| chosen.iter().any(|(name, _)| *name == nic.name))
    };
    let mut found = ways_of_both_families(client, server);
    found.retain(|way| (way.client, way.server) != session && is_chosen(way.client));
    found
}

/// Puts what was found at the ports of each network beside it.
pub fn with_ports(networks: &mut [Network], asked: &[NetworkPorts]) {
    for network in networks {
        let own = asked.iter().find(|one| one.subnet == network.subnet);
        network.ports = own.map(|one| one.ports.clone());
    }
}

/// Networks on which a port does not pass that a cluster or a live migration needs, one finding for all of them and both ways.
pub fn closed(networks: &[Network]) -> Option<Finding> {
    let toward = |direction: Direction, said: &str| {
        let told: Vec<String> = networks.iter().filter_map(|network| closed_on(network, direction)).collect();
        (!told.is_empty()).then(|| format!("{said}, {}", told.join("; ")))
    };
    let ways = [
        toward(Direction::Out, "from this host to the other one"),
        toward(Direction::In, "from the other one to this host"),
    ];
    let told: Vec<String> = ways.into_iter().flatten().collect();
    let is_closed = |network: &&Network| {
        [Direction::Out, Direction::In].iter().any(|way| closed_on(network, *way).is_some())
    };
    let subnets: Vec<String> =
        networks.iter().filter(is_closed).map(|network| network.subnet.clone()).collect();
    (!told.is_empty())
        .then(|| Finding::new("NETWORK-PORT-CLOSED", told.join("; and ")).with("subnets", subnets))
}

fn closed_on(network: &Network, direction: Direction) -> Option<String> {
    let records = network.ports.as_deref().unwrap_or_default();
    let of = |answer: PortAnswer, said: &str| {
        let needed = records.iter().filter(|one| one.direction == direction && !one.needed_by.is_empty());
        let names: Vec<String> = needed.filter(|one| one.answer == answer).map(named).collect();
        (!names.is_empty()).then(|| format!("{said} {}", names.join(", ")))
    };
    let told = [
        of(PortAnswer::Filtered, "nothing came back from"),
        of(PortAnswer::Unreachable, "a router or a firewall says that it is unreachable or prohibited:"),
        of(PortAnswer::Refused, "somebody listens and it is refused at"),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| format!("over {}: {}", network.subnet, told.join(", ")))
}

fn named(record: &PortRecord) -> String {
    format!("{} ({})", record.name, record.port.service())
}

#[cfg(test)]
mod tests {
    use pathproof_model::{NetworkNic, Port, Role};

    use super::*;

    fn network(subnet: &str, up: Option<bool>, client: &str, server: &str) -> Network {
        let nic = |node, address: &str| NetworkNic {
            node,
            nic: "eth0".into(),
            address: address.parse().unwrap(),
            parent: None,
        };
        let nics = vec![nic(NodeId::CLIENT, client), nic(NodeId::SERVER, server)];
        Network { subnet: subnet.into(), up, nics, ..Network::default() }
    }

    fn record(port: Port, answer: PortAnswer, needed: bool) -> PortRecord {
        PortRecord {
            port,
            name: port.name(),
            direction: Direction::Out,
            answer,
            by: None,
            reason: None,
            needed_by: if needed { vec![Role::Cluster] } else { vec![] },
        }
    }

    #[test]
    fn a_way_has_an_address_of_each_host_and_none_leads_to_oneself() {
        let found = way(&network("10.0.1.0/24", Some(true), "10.0.1.1", "10.0.1.2")).unwrap();
        assert_eq!(found.client, IpAddr::from([10, 0, 1, 1]));
        assert_eq!(found.server, IpAddr::from([10, 0, 1, 2]));
        assert_eq!(way(&network("10.0.1.0/24", Some(true), "10.0.1.1", "10.0.1.1")), None);
    }

    #[test]
    fn what_was_found_stands_beside_its_own_network_and_what_was_not_asked_is_unknown() {
        let mut both = [
            network("10.0.1.0/24", Some(true), "10.0.1.1", "10.0.1.2"),
            network("10.0.2.0/24", Some(true), "10.0.2.1", "10.0.2.2"),
        ];
        let asked = |subnet: &str| NetworkPorts {
            subnet: subnet.into(),
            ports: vec![record(Port::Smb, PortAnswer::Answered, true)],
        };
        with_ports(&mut both, &[asked("10.0.2.0/24"), asked("10.0.9.0/24")]);
        assert_eq!(both[0].ports, None);
        assert_eq!(both[1].ports.as_ref().map(Vec::len), Some(1));
        assert_eq!(closed(&both), None);
    }

    #[test]
    fn a_needed_port_that_does_not_pass_is_told_of_its_network() {
        let mut both = [
            network("10.0.1.0/24", Some(true), "10.0.1.1", "10.0.1.2"),
            network("10.0.2.0/24", Some(true), "10.0.2.1", "10.0.2.2"),
        ];
        both[0].ports = Some(vec![record(Port::Heartbeat, PortAnswer::Answered, true)]);
        both[1].ports = Some(vec![
            record(Port::Heartbeat, PortAnswer::Filtered, true),
            record(Port::Smb, PortAnswer::Refused, true),
            record(Port::Rpc, PortAnswer::Unknown, true),
            record(Port::Roce, PortAnswer::Filtered, false),
        ]);
        let told = closed(&both).unwrap();
        assert_eq!(told.code, "NETWORK-PORT-CLOSED");
        let evidence = "from this host to the other one, over 10.0.2.0/24: nothing came back from 3343/udp (cluster heartbeat), \
                        somebody listens and it is refused at 445/tcp (SMB)";
        assert_eq!(told.evidence, evidence);
        // The way back has its own firewall.
        let back = |port, answer| PortRecord { direction: Direction::In, ..record(port, answer, true) };
        both[0].ports = Some(vec![back(Port::LiveMigration, PortAnswer::Filtered)]);
        let told = closed(&both).unwrap();
        let more = "; and from the other one to this host, over 10.0.1.0/24: nothing came back from 6600/tcp (Hyper-V live migration)";
        assert_eq!(told.evidence, format!("{evidence}{more}"));
        assert_eq!(told.values["subnets"], serde_json::json!(["10.0.1.0/24", "10.0.2.0/24"]));
    }
}
