//! Who answers for the peer's addresses.

use pathproof_model::{Finding, NodeId, ResultDoc};

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (node, other) in [(NodeId::CLIENT, NodeId::SERVER), (NodeId::SERVER, NodeId::CLIENT)] {
        let (Some(here), Some(there)) = (doc.environment(node), doc.environment(other)) else { continue };
        let owners: Vec<String> = there
            .nics
            .iter()
            .filter_map(|nic| nic.mac.as_ref())
            .map(|mac| mac.to_ascii_lowercase())
            .collect();
        let evidence = doc.steps.iter().filter_map(|step| step.evidence(node));
        let neighbours = evidence.filter_map(|one| one.neighbours.as_ref()).flatten();
        for neighbour in neighbours {
            // Behind a router it is the router that answers.
            let direct =
                here.peers.iter().any(|peer| peer.address == neighbour.address && peer.router.is_none());
            let strangers: Vec<&String> =
                neighbour.macs.iter().filter(|mac| !owners.contains(&mac.to_ascii_lowercase())).collect();
            let known = neighbour.macs.len() > strangers.len();
            let told = found
                .iter()
                .any(|one| one.values.get("address") == Some(&neighbour.address.to_string().into()));
            if !direct || owners.is_empty() || strangers.is_empty() || told {
                continue;
            }
            let list: Vec<&str> = strangers.iter().map(|mac| mac.as_str()).collect();
            let said = if known {
                format!(
                    "on {} both the peer's NIC and {} answered for {}",
                    neighbour.nic,
                    list.join(", "),
                    neighbour.address
                )
            } else {
                format!(
                    "on {} {} answered for {}, and no NIC of the peer's has that hardware address",
                    neighbour.nic,
                    list.join(", "),
                    neighbour.address
                )
            };
            let severity =
                if known { pathproof_model::Severity::Error } else { pathproof_model::Severity::Warning };
            let finding = Finding::new("ADDRESS-DUPLICATE", said).with_severity(severity);
            found.push(finding.with("address", neighbour.address.to_string()));
        }
    }
    found
}
