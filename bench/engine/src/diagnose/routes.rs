//! Routes that send what belongs to one NIC over another.

use pathproof_model::{Environment, Finding, Nic, NodeId, ResultDoc};

use super::networks::{network, of_a_network};
use super::whose;

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    [NodeId::CLIENT, NodeId::SERVER]
        .into_iter()
        .filter_map(|node| Some((node, doc.environment(node)?)))
        .flat_map(|(node, host)| leaks(node, host))
        .collect()
}

fn holds(nic: &Nic, address: std::net::IpAddr) -> bool {
    of_a_network(nic)
        .any(|(own, len)| own.is_ipv4() == address.is_ipv4() && network(own, len) == network(address, len))
}

/// Addresses of the peer that lie in the network of one NIC, and whose route leads out of another that does not.
fn leaks(node: NodeId, host: &Environment) -> Vec<Finding> {
    let leak = |peer: &pathproof_model::environment::PeerRoute| {
        let by = peer.nic.as_deref()?;
        let taken = host.nics.iter().find(|nic| nic.name == by)?;
        let meant = host.nics.iter().find(|nic| nic.carrier != Some(false) && holds(nic, peer.address))?;
        if meant.name == taken.name || holds(taken, peer.address) || taken.kind.as_deref() == Some("loopback")
        {
            return None;
        }
        let via = peer.router.map_or_else(String::new, |router| format!(" through {router}"));
        let said = format!(
            "at {} {} lies in the network of {}, and its route leads out of {by}{via}",
            whose(node),
            peer.address,
            meant.name
        );
        Some(Finding::new("ROUTE-LEAK", said).with("address", peer.address.to_string()).with("nic", by))
    };
    host.peers.iter().filter_map(leak).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::PeerRoute;
    use pathproof_model::{NicAddress, Node, Tool};

    fn codes(second: &str, route: &str) -> Vec<String> {
        let nic = |name: &str, address: &str| Nic {
            name: name.into(),
            addresses: vec![NicAddress { address: address.parse().unwrap(), prefix_len: 24 }],
            ..Nic::default()
        };
        let peer = PeerRoute { nic: Some(route.into()), ..PeerRoute::to("10.9.1.2".parse().unwrap()) };
        let host = Environment {
            nics: vec![nic("e0", "10.9.0.1"), nic("e1", second)],
            peers: vec![peer],
            ..Environment::default()
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(Some(host))];
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_route_that_leaves_by_a_nic_of_another_network_is_a_leak() {
        assert_eq!(codes("10.9.1.1", "e0"), ["ROUTE-LEAK"]);
        assert_eq!(codes("10.9.1.1", "e1"), [""; 0]);
        // No NIC is nearer: the route through e0 is the way.
        assert_eq!(codes("10.9.2.1", "e0"), [""; 0]);
    }
}
