//! Several NICs of one host in one network, healed where they must stay there: a routing table and a rule for each address first, and only
//! then each NIC answering for its own address alone. Without the routes the second half would silence the second NIC.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::finding::{Code, Commands};
use pathproof_model::{Environment, Finding, NodeId, ResultDoc};

use super::networks::{network, of_a_network};

/// What is healed by it.
const HEALED: [Code; 4] =
    [code!("RP-FILTER"), code!("CHANNEL-LEAK"), code!("CHANNEL-ONE-ROUTE"), code!("ARP-FLUX")];
/// The first of the tables; what hosts use themselves lies below.
const FIRST_TABLE: u32 = 7701;
const LEAD: &str = "Best, give each NIC a network (VLAN and subnet) of its own. Where they must share one, a routing table and a rule for each \
                    address, and each NIC answers for its own address alone:";

/// Gives those findings the commands of both hosts.
pub(super) fn advise(doc: &mut ResultDoc) {
    if !doc.findings.iter().any(is_healed) {
        return;
    }
    let ends = [NodeId::CLIENT, NodeId::SERVER];
    let hosts = ends.into_iter().filter_map(|node| Some((node, doc.environment(node)?)));
    let commands = hosts.fold(Commands::new(), |commands, (node, host)| own_tables(commands, node, host));
    for finding in doc.findings.iter_mut().filter(|finding| is_healed(finding)) {
        *finding = finding.clone().with_commands(LEAD, &commands);
    }
}

fn is_healed(finding: &Finding) -> bool {
    HEALED.iter().any(|code| finding.is(*code))
}

fn own_tables(mut commands: Commands, node: NodeId, host: &Environment) -> Commands {
    let all: Vec<(&str, IpAddr, u8)> = host
        .nics
        .iter()
        .filter(|nic| nic.carrier != Some(false) && nic.master.is_none())
        .flat_map(|nic| of_a_network(nic).map(|(ip, len)| (nic.name.as_str(), ip, len)))
        .filter(|(_, ip, _)| ip.is_ipv4())
        .collect();
    let shared: Vec<_> = all
        .iter()
        .filter(|(nic, ip, len)| {
            all.iter().any(|(other, there, _)| other != nic && network(*there, *len) == network(*ip, *len))
        })
        .collect();
    for ((nic, ip, len), table) in shared.iter().zip(FIRST_TABLE..) {
        let (ip, table) = (ip.to_string(), table.to_string());
        let subnet = subnet(&ip, *len);
        commands = commands
            .at(node, "ip route replace {} dev {} src {} table {}", &[&subnet, nic, &ip, &table])
            .at(node, "ip rule add from {} table {}", &[&ip, &table]);
    }
    for (nic, ip, len) in &shared {
        // With slashes, a dot in the name of a VLAN's device stays one.
        let form = "sysctl -w net/ipv4/conf/{}/arp_announce=2 net/ipv4/conf/{}/rp_filter=2 net/ipv4/conf/{}/arp_ignore=1";
        commands = commands.at(node, form, &[nic, nic, nic]);
        commands = commands.at(node, "ip neigh flush to {}", &[&subnet(&ip.to_string(), *len)]);
    }
    commands
}

/// The network of an IPv4 address as it stands in a route.
fn subnet(ip: &str, prefix_len: u8) -> String {
    let Ok(ip) = ip.parse::<std::net::Ipv4Addr>() else { return String::new() };
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
    format!("{}/{prefix_len}", std::net::Ipv4Addr::from(u32::from(ip) & mask))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Nic, NicAddress, Node, Tool};

    fn nic(name: &str, address: &str) -> Nic {
        let address = NicAddress { address: address.parse().unwrap(), prefix_len: 24 };
        Nic { name: name.into(), carrier: Some(true), addresses: vec![address], ..Nic::default() }
    }

    fn advice(server: Vec<Nic>) -> String {
        let host = |nics| Some(Environment { nics, ..Environment::default() });
        let mut doc = ResultDoc::new(Tool::default(), "");
        let client = vec![nic("e0", "10.9.0.1"), nic("e1.7", "10.9.0.2"), nic("mgmt", "192.168.9.1")];
        doc.nodes = vec![Node::here(host(client)), Node::agent("b", host(server))];
        doc.findings = vec![Finding::new("RP-FILTER", "seen"), Finding::new("PATH-FAR", "seen")];
        advise(&mut doc);
        assert!(!doc.findings[1].next.contains("ip rule"), "only what is healed by it");
        doc.findings[0].next.clone()
    }

    #[test]
    fn each_nic_of_a_shared_network_gets_its_table_before_it_stops_answering_for_others() {
        let said = advice(vec![nic("x0", "10.9.0.3")]);
        let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words} in {said}"));
        let second_rule = at("`ip rule add from 10.9.0.2 table 7702`");
        assert!(at("`ip route replace 10.9.0.0/24 dev e1.7 src 10.9.0.2 table 7702`") < second_rule);
        assert!(second_rule < at("net/ipv4/conf/e0/arp_ignore=1"), "routes first");
        // One NIC in a network needs nothing, here as at the peer.
        assert!(!said.contains("mgmt") && !said.contains("On the peer"), "{said}");
        assert!(
            advice(vec![nic("x0", "10.9.0.3"), nic("x1", "10.9.0.4")])
                .contains("On the peer: `ip route replace")
        );
    }
}
