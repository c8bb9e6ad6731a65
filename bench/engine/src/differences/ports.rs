//! What the switches say of the two ports between which a pair of NICs lies: which VLAN, how long a frame, what is paused and shared out.
//!
//! It refuses to compare ports that were not heard at both ends, and NICs that heard several: it is not known then which one carries the path.

use pathproof_model::{Environment, HostDifference, NodeId, SwitchPort, Weight};

use super::{differs, list, pairs};

/// A fact of a port.
struct OfPort {
    fact: &'static str,
    why: &'static str,
    value: fn(&SwitchPort) -> Option<String>,
}

/// What both ends of a path should have in common. What a port does to its own NIC the rules of diagnosis tell, so none of it is grave here.
const OF_PORTS: &[OfPort] = &[
    OfPort {
        fact: "VLAN of the switch port",
        why: "what has no tag is in two networks, unless something between the ports joins them",
        value: |port| port.vlan.map(|vlan| vlan.to_string()),
    },
    OfPort {
        fact: "longest frame of the switch port",
        why: "what is longer than the shorter one does not pass that port",
        value: |port| port.frame_bytes_max.map(|bytes| bytes.to_string()),
    },
    OfPort {
        fact: "priorities with PFC of the switch port",
        why: "one switch pauses what the other drops",
        value: |port| {
            let pfc = port.dcb.as_ref()?.pfc.as_ref()?;
            Some(list(pfc.enabled_priorities.iter().map(u8::to_string)))
        },
    },
    OfPort {
        fact: "ETS shares of the switch port",
        why: "each direction shares the link in another way",
        value: |port| {
            let ets = port.dcb.as_ref()?.ets.as_ref()?;
            Some(list(ets.bandwidth_percent.iter().map(u8::to_string)))
        },
    },
];

/// How the ports differ at which this host and the node `other` are, pair of NICs by pair.
pub(super) fn of_ports(
    (here, there): (&Environment, &Environment),
    other: NodeId,
    heard: &[(NodeId, SwitchPort)],
) -> Vec<HostDifference> {
    let of = |node: NodeId, nic: &str| {
        let mut own = heard.iter().filter(|(heard_by, port)| *heard_by == node && port.nic == nic);
        own.next().filter(|_| own.next().is_none()).map(|(_, port)| port)
    };
    let mut found = vec![];
    for (own, peer) in pairs(here, there) {
        let (Some(near), Some(far)) = (of(NodeId::CLIENT, &own.name), of(other, &peer.name)) else {
            continue;
        };
        let facts = OF_PORTS.iter().filter_map(|rule| {
            let values = (rule.value)(near).zip((rule.value)(far))?;
            differs(rule.fact, Weight::Costly, rule.why, values)
        });
        let nics = Some([own.name.clone(), peer.name.clone()]);
        found.extend(facts.map(|one| HostDifference { nics: nics.clone(), ..one }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::{Dcb, DcbPfc};
    use pathproof_model::{Nic, NicAddress};

    fn host(last: u8) -> Environment {
        let nic = Nic {
            name: "e0".into(),
            addresses: vec![NicAddress { address: [10, 0, 0, last].into(), prefix_len: 24 }],
            ..Nic::default()
        };
        Environment { nics: vec![nic], ..Environment::default() }
    }

    fn port(node: NodeId, name: &str, vlan: Option<u16>, paused: &[u8]) -> (NodeId, SwitchPort) {
        let pfc = Some(DcbPfc { enabled_priorities: paused.to_vec(), classes_max: None });
        let said = SwitchPort {
            nic: "e0".into(),
            port: name.into(),
            vlan,
            dcb: Some(Dcb { pfc, ..Dcb::default() }),
            ..SwitchPort::default()
        };
        (node, said)
    }

    fn told(heard: &[(NodeId, SwitchPort)]) -> Vec<String> {
        let found = of_ports((&host(1), &host(2)), NodeId::SERVER, heard);
        assert!(found.iter().all(|one| one.weight == Weight::Costly && one.nics.is_some()), "{found:?}");
        found.into_iter().map(|one| format!("{}: {} and {}", one.fact, one.here, one.there)).collect()
    }

    #[test]
    fn ports_of_one_path_that_say_different_things_are_told_and_no_silence_is_a_difference() {
        let (client, server) = (NodeId::CLIENT, NodeId::SERVER);
        let near = || port(client, "1", Some(711), &[3]);
        assert_eq!(told(&[near(), port(server, "2", Some(711), &[3])]), Vec::<String>::new());
        assert_eq!(
            told(&[near(), port(server, "2", Some(712), &[])]),
            ["VLAN of the switch port: 711 and 712", "priorities with PFC of the switch port: 3 and none"]
        );
        assert_eq!(told(&[near(), port(server, "2", None, &[3])]), Vec::<String>::new(), "it does not say");
        assert_eq!(told(&[near()]), Vec::<String>::new(), "the other one was not heard");
        let two = [near(), port(server, "2", Some(712), &[3]), port(server, "3", Some(713), &[3])];
        assert_eq!(told(&two), Vec::<String>::new(), "which of the two carries the path is not known");
    }
}
