//! What switches say of their ports and NICs of themselves about priorities, held against each other and against what holds for any.

use pathproof_model::code;
use pathproof_model::environment::{Dcb, DcbSelector};
use pathproof_model::{Finding, Nic, NodeId, ResultDoc, SwitchPort, told};

use super::{Rule, whose};

/// Ports of SMB and of RoCE v2.
const LOSSLESS: [(u16, &str); 2] = [(445, "SMB Direct (port 445)"), (4791, "RoCE (port 4791)")];

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("SWITCH-FRAME-SHORT"), code!("SWITCH-DCB-DIFFERS")], find: of_ports },
    Rule { codes: &[code!("NIC-DCB-ODD")], find: of_nics },
];

/// What each port says, held against the NIC that it is connected to.
fn of_ports(doc: &ResultDoc) -> Vec<Finding> {
    let ports = doc.switch_ports();
    let connected = ports.iter().filter_map(|(node, port)| {
        let nic = doc.environment(*node)?.nics.iter().find(|nic| nic.name == port.nic)?;
        Some((*node, nic, port))
    });
    connected
        .flat_map(|(node, nic, port)| short(node, nic, port).into_iter().chain(differs(node, nic, port)))
        .collect()
}

fn of_nics(doc: &ResultDoc) -> Vec<Finding> {
    let hosts = [NodeId::CLIENT, NodeId::SERVER]
        .into_iter()
        .filter_map(|node| Some(doc.environment(node)?.nics.iter().filter_map(move |nic| odd(node, nic))));
    hosts.flatten().collect()
}

/// What a NIC should not do with priorities, whatever the port does. A NIC that nobody configured protects nothing and says nothing odd.
fn odd(node: NodeId, nic: &Nic) -> Option<Finding> {
    let said = alone(nic.dcb.as_ref()?);
    let of = format!("{} of {}: ", nic.name, whose(node));
    (!said.is_empty()).then(|| {
        let finding = Finding::new("NIC-DCB-ODD", of + &said.join("; "));
        finding.with("node", node.0).tell(told::NIC, nic.name.as_str())
    })
}

fn about(finding: Finding, node: NodeId, port: &SwitchPort) -> Finding {
    finding.with("node", node.0).with("nic", port.nic.as_str()).with("switch_port", port.name())
}

/// Some say the size of a frame, others that of the packet in it: less than the packet is too little by both.
fn short(node: NodeId, nic: &Nic, port: &SwitchPort) -> Option<Finding> {
    let (frame, packet) = (u32::from(port.frame_bytes_max?), nic.ip_mtu_bytes?);
    let said = format!(
        "{} of {} sends packets of {packet} bytes, and {} says that it takes {frame}",
        nic.name,
        whose(node),
        port.name()
    );
    (frame < packet)
        .then(|| about(Finding::new("SWITCH-FRAME-SHORT", said), node, port).with("frame_bytes", frame))
}

/// What the NIC and the port do not agree on, and what no port should do.
fn differs(node: NodeId, nic: &Nic, port: &SwitchPort) -> Option<Finding> {
    let there = port.dcb.as_ref()?;
    let mut said = alone(there);
    if let Some(here) = &nic.dcb {
        said.extend(between(here, there));
    }
    let of = format!("{} of {} at {}: ", nic.name, whose(node), port.name());
    (!said.is_empty()).then(|| about(Finding::new("SWITCH-DCB-DIFFERS", of + &said.join("; ")), node, port))
}

fn priority(dcb: &Dcb, number: u16) -> Option<u8> {
    let by_port = [DcbSelector::StreamPort, DcbSelector::DgramPort, DcbSelector::Port];
    let mut table = dcb.applications.iter().flatten();
    table.find(|one| one.protocol == number && by_port.contains(&one.selector)).map(|one| one.priority)
}

/// What neither a port nor a NIC should do.
fn alone(port: &Dcb) -> Vec<String> {
    let mut said = vec![];
    if let Some(pfc) = port.pfc.as_ref().filter(|pfc| pfc.enabled_priorities.len() > 1) {
        said.push(format!(
            "PFC on {} priorities, where one class without loss is what switches have buffers for",
            pfc.enabled_priorities.len()
        ));
    }
    if let Some(ets) = &port.ets {
        // A port whose classes are all served by priority shares nothing out.
        let sum: u32 = ets.bandwidth_percent.iter().map(|share| u32::from(*share)).sum();
        if sum > 0 && sum != 100 {
            said.push(format!("its ETS shares sum to {sum} %"));
        }
    }
    said.extend(heartbeats(port));
    for (number, name) in LOSSLESS {
        let Some(own) = priority(port, number) else { continue };
        match &port.pfc {
            Some(pfc) if !pfc.enabled_priorities.contains(&own) => {
                said.push(format!("{name} has priority {own}, which it does not pause but drop"));
            }
            _ if !matches!(own, 3 | 4) => {
                said.push(format!("{name} has priority {own}; by convention it is 3 or 4"))
            }
            _ => {}
        }
    }
    said
}

/// A class that is for cluster heartbeats alone, and has more than they need: nobody else gets it when the link is full.
fn heartbeats(port: &Dcb) -> Option<String> {
    /// By convention those of a cluster.
    const PRIORITY: usize = 7;
    const PERCENT_MAX: u8 = 2;
    let ets = port.ets.as_ref()?;
    let class = *ets.class_of_priority.get(PRIORITY)?;
    let own = ets.class_of_priority.iter().filter(|other| **other == class).count() == 1;
    let share = *ets.bandwidth_percent.get(usize::from(class))?;
    (own && share > PERCENT_MAX).then(|| {
        format!("priority {PRIORITY}, cluster heartbeats, has {share} % for itself; {PERCENT_MAX} are enough")
    })
}

fn between(nic: &Dcb, port: &Dcb) -> Vec<String> {
    let mut said = vec![];
    if let (Some(own), Some(other)) = (&nic.pfc, &port.pfc)
        && own.enabled_priorities != other.enabled_priorities
    {
        let words = |all: &[u8]| if all.is_empty() { "none".into() } else { format!("{all:?}") };
        let (own, other) = (words(&own.enabled_priorities), words(&other.enabled_priorities));
        said.push(format!("PFC on {own} of the NIC and {other} of the port"));
    }
    if let (Some(own), Some(other)) = (&nic.ets, &port.ets)
        && own.bandwidth_percent != other.bandwidth_percent
    {
        let (own, other) = (&own.bandwidth_percent, &other.bandwidth_percent);
        said.push(format!("ETS shares {own:?} of the NIC and {other:?} of the port"));
    }
    for (number, name) in LOSSLESS {
        if let (Some(own), Some(other)) = (priority(nic, number), priority(port, number))
            && own != other
        {
            said.push(format!("{name} has priority {own} at the NIC and {other} at the port"));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::environment::{DcbAlgorithm, DcbApplication, DcbEts, DcbPfc};
    use pathproof_model::{Environment, Evidence, Node, Step, StepKind, Tool};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn dcb(pfc: &[u8], shares: &[u8], smb: u8) -> Dcb {
        Dcb {
            pfc: Some(DcbPfc { enabled_priorities: pfc.to_vec(), classes_max: None }),
            ets: Some(DcbEts {
                bandwidth_percent: shares.to_vec(),
                algorithms: vec![DcbAlgorithm::Ets; 8],
                class_of_priority: vec![],
            }),
            applications: Some(vec![DcbApplication {
                selector: DcbSelector::StreamPort,
                protocol: 445,
                priority: smb,
            }]),
        }
    }

    fn told(nic: Option<Dcb>, port: Option<Dcb>, frame: u16) -> Vec<Finding> {
        let nic = Nic { name: "e0".into(), ip_mtu_bytes: Some(9000), dcb: nic, ..Nic::default() };
        let host = Environment { nics: vec![nic], ..Environment::default() };
        let heard = SwitchPort {
            nic: "e0".into(),
            port: "7".into(),
            chassis: "tor".into(),
            dcb: port,
            frame_bytes_max: Some(frame),
            ..SwitchPort::default()
        };
        let mut step = Step::new(StepKind::Facts, "facts");
        step.evidence = vec![Evidence { switch_ports: Some(vec![heard]), ..Evidence::default() }];
        let doc = ResultDoc {
            nodes: vec![Node::here(Some(host))],
            steps: vec![step.clone(), step],
            ..ResultDoc::new(Tool::default(), "")
        };
        findings(&doc)
    }

    #[test]
    fn a_port_that_agrees_with_its_nic_is_not_accused() {
        let well = || Some(dcb(&[3], &[50, 50], 3));
        assert_eq!(told(well(), well(), 9216), []);
        assert_eq!(told(None, well(), 9000), [], "what a driver does not tell is no difference");
        assert_eq!(told(well(), None, 9216), []);
        assert_eq!(told(well(), Some(Dcb::default()), 9216), []);
    }

    #[test]
    fn a_nic_by_itself_is_held_against_what_holds_for_any() {
        let said = |nic: Dcb| -> Vec<(String, String)> {
            told(Some(nic), None, 9216).into_iter().map(|found| (found.code, found.evidence)).collect()
        };
        for (nic, says) in [
            (dcb(&[3, 4], &[50, 50], 3), "PFC on 2 priorities"),
            (dcb(&[3], &[60, 30], 3), "sum to 90 %"),
            (dcb(&[3], &[50, 50], 5), "has priority 5, which it does not pause but drop"),
            (dcb(&[5], &[50, 50], 5), "by convention it is 3 or 4"),
        ] {
            let found = said(nic);
            assert!(found.len() == 1 && found[0].0 == "NIC-DCB-ODD", "{found:?}");
            assert!(found[0].1.contains(says) && found[0].1.starts_with("e0 of this host"), "{found:?}");
        }
        assert_eq!(said(dcb(&[3], &[50, 50], 3)), []);
        assert_eq!(said(Dcb::default()), [], "what nobody configured");
    }

    #[test]
    fn every_disagreement_is_named_and_each_port_once() {
        let nic = || Some(dcb(&[3], &[50, 50], 3));
        let one = |port: Dcb, says: &str| {
            let found = told(nic(), Some(port), 9216);
            assert!(found.len() == 1 && found[0].code == "SWITCH-DCB-DIFFERS", "{found:?}");
            assert!(found[0].evidence.contains(says), "{says}: {}", found[0].evidence);
        };
        one(dcb(&[], &[50, 50], 3), "PFC on [3] of the NIC and none of the port");
        one(dcb(&[3, 4], &[50, 50], 3), "PFC on 2 priorities");
        one(dcb(&[3], &[60, 30], 3), "sum to 90 %");
        one(dcb(&[3], &[60, 40], 3), "ETS shares [50, 50] of the NIC and [60, 40] of the port");
        one(dcb(&[3], &[50, 50], 5), "priority 3 at the NIC and 5 at the port");
        one(dcb(&[3], &[50, 50], 5), "does not pause but drop");
        // Of the class that priority 7 has to itself.
        let beats = |share: u8, classes: [u8; 8]| {
            let mut port = dcb(&[3], &[98 - share, 0, 0, 2, 0, 0, 0, share], 3);
            port.ets.as_mut().unwrap().class_of_priority = classes.to_vec();
            let mut own = nic().unwrap();
            own.ets = port.ets.clone();
            told(Some(own), Some(port), 9216).into_iter().map(|found| found.evidence).collect::<String>()
        };
        assert_eq!(beats(2, [0, 0, 0, 3, 0, 0, 0, 7]), "");
        assert_eq!(beats(10, [7, 0, 0, 3, 0, 0, 0, 7]), "", "others have it too");
        assert!(beats(10, [0, 0, 0, 3, 0, 0, 0, 7]).contains("priority 7, cluster heartbeats, has 10 %"));
        let short = told(nic(), nic(), 8999);
        assert!(short.len() == 1 && short[0].code == "SWITCH-FRAME-SHORT", "{short:?}");
    }
}
