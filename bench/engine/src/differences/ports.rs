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
    OfPort {
        fact: "traffic classes of the priorities of the switch port",
        why: "a priority has a share of its own in one direction and shares it in the other",
        value: |port| {
            let ets = port.dcb.as_ref()?.ets.as_ref()?;
            Some(list(ets.class_of_priority.iter().map(u8::to_string)))
        },
    },
    OfPort {
        fact: "priority of SMB Direct of the switch port",
        why: "what one switch protects the other treats as something else",
        value: |port| Some(port.dcb.as_ref()?.smb_priority()?.to_string()),
    },
    OfPort {
        fact: "priority of RoCE of the switch port",
        why: "what one switch protects the other treats as something else",
        value: |port| Some(port.dcb.as_ref()?.roce_priority(None)?.0.to_string()),
    },
];

/// VLANs that one of the ports names and the other does not.
fn vlans(near: &SwitchPort, far: &SwitchPort) -> Option<HostDifference> {
    let (near, far) = (near.vlans.as_ref()?, far.vlans.as_ref()?);
    let only = |own: &[u16], other: &[u16]| {
        list(own.iter().filter(|vlan| !other.contains(vlan)).map(u16::to_string))
    };
    let why = "what has that tag passes at one end alone, unless the other port carries VLANs that it does not name";
    differs("VLANs of one switch port alone", Weight::Costly, why, (only(near, far), only(far, near)))
}

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
        let facts = facts.chain(vlans(near, far));
        let nics = Some([own.name.clone(), peer.name.clone()]);
        found.extend(facts.map(|one| HostDifference { nics: nics.clone(), ..one }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::{Dcb, DcbApplication, DcbEts, DcbPfc, DcbSelector};
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
    fn what_the_ports_do_with_smb_direct_and_which_vlans_they_name_is_compared() {
        let with = |node, smb, roce, class: u8, vlans: &[u16]| {
            let (node, mut said) = port(node, "1", Some(711), &[3]);
            let entry = |selector, protocol, priority| DcbApplication { selector, protocol, priority };
            said.vlans = Some(vlans.to_vec());
            let dcb = said.dcb.get_or_insert_default();
            dcb.ets = Some(DcbEts { class_of_priority: vec![0, class], ..DcbEts::default() });
            dcb.applications = Some(vec![
                entry(DcbSelector::StreamPort, 445, smb),
                entry(DcbSelector::DgramPort, 4791, roce),
            ]);
            (node, said)
        };
        let near = || with(NodeId::CLIENT, 3, 3, 1, &[711, 712]);
        assert_eq!(told(&[near(), with(NodeId::SERVER, 3, 3, 1, &[711, 712])]), Vec::<String>::new());
        assert_eq!(
            told(&[near(), with(NodeId::SERVER, 4, 0, 0, &[711, 713, 714])]),
            [
                "traffic classes of the priorities of the switch port: 0 1 and 0 0",
                "priority of SMB Direct of the switch port: 3 and 4",
                "priority of RoCE of the switch port: 3 and 0",
                "VLANs of one switch port alone: 712 and 713 714",
            ]
        );
        let mut silent = with(NodeId::SERVER, 3, 3, 1, &[]);
        silent.1.vlans = None;
        assert_eq!(told(&[near(), silent]), Vec::<String>::new(), "it names none");
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
