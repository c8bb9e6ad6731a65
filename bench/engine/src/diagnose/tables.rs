//! Several NICs of one host in one network, healed where they must stay there: a routing table and a rule for each address first, and only
//! then each NIC answering for its own address alone. Without the routes the second half would silence the second NIC.

use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::environment::PolicyRouting;
use pathproof_model::finding::{Code, Commands};
use pathproof_model::{Environment, Finding, NodeId, ResultDoc};

use super::networks::{network, of_a_network};

/// What is healed by it.
const HEALED: [Code; 4] =
    [code!("RP-FILTER"), code!("CHANNEL-LEAK"), code!("CHANNEL-ONE-ROUTE"), code!("ARP-FLUX")];
/// The first of the tables, where nobody has it; what hosts use themselves lies below, as a rule.
const FIRST_TABLE: u32 = 7701;
const LEAD: &str = "Best, give each NIC a network (VLAN and subnet) of its own. Where they must share one, a routing table and a rule for each \
                    address, and each NIC answers for its own address alone";

/// A NIC, and its address in a network that another NIC of the host lies in, too.
type Shared<'a> = (&'a str, IpAddr, u8);

/// Gives those findings the commands of both hosts.
pub(super) fn advise(doc: &mut ResultDoc) {
    if !doc.findings.iter().any(is_healed) {
        return;
    }
    let (mut commands, mut unknown) = (Commands::new(), vec![]);
    for node in [NodeId::CLIENT, NodeId::SERVER] {
        let Some(host) = doc.environment(node) else { continue };
        let shared = shared(host);
        if !shared.is_empty() && host.policy_routing.is_none() {
            unknown.push(super::whose(node));
        }
        commands = own_tables(commands, node, &shared, host.policy_routing.as_ref());
    }
    // A rule that leads to a table of others leads into whatever that table has: its default route, say.
    let lead = match unknown.is_empty() {
        true => format!("{LEAD}:"),
        false => format!(
            "{LEAD} (which tables are in use at {} is not known: where ip route show table N has a route for one of these, take another number):",
            unknown.join(" and ")
        ),
    };
    for finding in doc.findings.iter_mut().filter(|finding| is_healed(finding)) {
        *finding = finding.clone().with_commands(&lead, &commands);
    }
}

fn is_healed(finding: &Finding) -> bool {
    HEALED.iter().any(|code| finding.is(*code))
}

fn shared(host: &Environment) -> Vec<Shared<'_>> {
    let all: Vec<Shared<'_>> = host
        .nics
        .iter()
        .filter(|nic| nic.carrier != Some(false) && nic.master.is_none())
        .flat_map(|nic| of_a_network(nic).map(|(ip, len)| (nic.name.as_str(), ip, len)))
        .filter(|(_, ip, _)| ip.is_ipv4())
        .collect();
    let is_shared = |(nic, ip, len): &&Shared<'_>| {
        all.iter().any(|(other, there, _)| other != nic && network(*there, *len) == network(*ip, *len))
    };
    all.iter().filter(is_shared).copied().collect()
}

/// The first of `count` priorities in front of every rule of a host but the kernel's own first one (0), where that is known and there is room.
fn in_front(taken: Option<&PolicyRouting>, count: usize) -> Option<u32> {
    let first = taken?.priorities.iter().copied().filter(|one| *one > 0).min()?;
    first.checked_sub(u32::try_from(count).ok()?).filter(|priority| *priority > 0)
}

fn own_tables(
    mut commands: Commands,
    node: NodeId,
    shared: &[Shared<'_>],
    taken: Option<&PolicyRouting>,
) -> Commands {
    let is_free = |table: &u32| taken.is_none_or(|taken| !taken.tables.contains(table));
    let first = in_front(taken, shared.len());
    for (((nic, ip, len), table), nth) in shared.iter().zip((FIRST_TABLE..).filter(is_free)).zip(0u32..) {
        let (ip, table) = (ip.to_string(), table.to_string());
        let subnet = subnet(&ip, *len);
        let form = "ip route replace {} dev {} src {} table {}";
        commands = commands.at(node, form, &[&subnet, nic, &ip, &table]);
        // One without a priority is put in front of all others as well, by the kernel.
        commands = match first.map(|first| (first + nth).to_string()) {
            Some(priority) => {
                commands.at(node, "ip rule add from {} table {} priority {}", &[&ip, &table, &priority])
            }
            None => commands.at(node, "ip rule add from {} table {}", &[&ip, &table]),
        };
    }
    for (nic, ip, len) in shared {
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

    fn taken(tables: &[u32], priorities: &[u32]) -> Option<PolicyRouting> {
        Some(PolicyRouting { tables: tables.into(), priorities: priorities.into() })
    }

    /// What every host has.
    fn plain() -> Option<PolicyRouting> {
        taken(&[253, 254, 255], &[0, 32766, 32767])
    }

    fn advice(server: Vec<Nic>) -> String {
        beside(plain(), server)
    }

    /// What is advised where that is taken at the client.
    fn beside(policy_routing: Option<PolicyRouting>, server: Vec<Nic>) -> String {
        let host =
            |nics, policy_routing| Some(Environment { nics, policy_routing, ..Environment::default() });
        let mut doc = ResultDoc::new(Tool::default(), "");
        let client = vec![nic("e0", "10.9.0.1"), nic("e1.7", "10.9.0.2"), nic("mgmt", "192.168.9.1")];
        doc.nodes = vec![Node::here(host(client, policy_routing)), Node::agent("b", host(server, plain()))];
        doc.findings = vec![Finding::new("RP-FILTER", "seen"), Finding::new("PATH-FAR", "seen")];
        advise(&mut doc);
        assert!(!doc.findings[1].next.contains("ip rule"), "only what is healed by it");
        doc.findings[0].next.clone()
    }

    #[test]
    fn each_nic_of_a_shared_network_gets_its_table_before_it_stops_answering_for_others() {
        let said = advice(vec![nic("x0", "10.9.0.3")]);
        let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words} in {said}"));
        let second_rule = at("`ip rule add from 10.9.0.2 table 7702 priority 32765`");
        assert!(at("`ip route replace 10.9.0.0/24 dev e1.7 src 10.9.0.2 table 7702`") < second_rule);
        assert!(second_rule < at("net/ipv4/conf/e0/arp_ignore=1"), "routes first");
        // One NIC in a network needs nothing, here as at the peer.
        assert!(!said.contains("mgmt") && !said.contains("On the peer"), "{said}");
        assert!(
            advice(vec![nic("x0", "10.9.0.3"), nic("x1", "10.9.0.4")])
                .contains("On the peer: `ip route replace")
        );
    }

    #[test]
    fn tables_of_others_are_left_alone_and_rules_come_in_front_of_theirs() {
        let two = || vec![nic("x0", "10.9.0.3"), nic("x1", "10.9.0.4")];
        let said = beside(taken(&[254, 255, 7701, 7703], &[0, 50, 32766, 32767]), two());
        let wanted = [
            "`ip route replace 10.9.0.0/24 dev e0 src 10.9.0.1 table 7702`",
            "`ip rule add from 10.9.0.1 table 7702 priority 48`",
            "`ip route replace 10.9.0.0/24 dev e1.7 src 10.9.0.2 table 7704`",
            "`ip rule add from 10.9.0.2 table 7704 priority 49`",
            // What is taken here is free there.
            "`ip rule add from 10.9.0.3 table 7701 priority 32764`",
        ];
        for command in wanted {
            assert!(said.contains(command), "{command} in {said}");
        }
        assert!(!said.contains("not known"), "{said}");
        // There is no room in front of the first rule: the kernel finds the place.
        let said = beside(taken(&[254, 255], &[0, 2, 32766]), two());
        assert!(said.contains("`ip rule add from 10.9.0.1 table 7701`"), "{said}");
    }

    #[test]
    fn where_nobody_knows_which_tables_are_taken_that_is_to_be_looked_up_first() {
        let said = beside(None, vec![nic("x0", "10.9.0.3")]);
        for words in [
            "alone (which tables are in use at this host is not known:",
            "ip route show table N",
            "`ip rule add from 10.9.0.1 table 7701`",
        ] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
}
