//! Which NIC of the other end lies behind which of this end's: cables that were swapped, and two NICs on one wire that answer
//! for each other.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{Environment, Finding, NodeId, ResultDoc, Severity, WireAnswer, Wires};

use super::Rule;
use super::filtered::{self, Astray as Found};

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("FABRIC-CROSSED")], find: crossed_wires },
    Rule { codes: &[code!("ARP-FLUX")], find: one_for_another },
];

fn crossed_wires(doc: &ResultDoc) -> Vec<Finding> {
    heard(doc).map_or_else(Vec::new, |(wires, there)| crossed(wires, there))
}

fn one_for_another(doc: &ResultDoc) -> Vec<Finding> {
    let heard = heard(doc).and_then(|(wires, there)| flux(wires, there));
    // Where it has harmed this very run it is no remark.
    match (heard, astray(doc)) {
        (Some(mut finding), Some(astray)) => {
            finding.evidence.push_str("; ");
            finding.evidence.push_str(&astray.said);
            vec![finding.with_severity(Severity::Warning)]
        }
        (None, Some(astray)) => {
            let said = format!(
                "{}. Several NICs of that host on one wire that answer for each other do that; a rule there that changes ports does, too",
                astray.said
            );
            let finding = Finding::new("ARP-FLUX", said).with_severity(Severity::Warning);
            vec![finding.tell(told::ADDRESS, astray.address)]
        }
        (heard, None) => heard.into_iter().collect(),
    }
}

struct Astray {
    address: IpAddr,
    said: String,
}

/// Datagrams that came to a host over another NIC than the one that has the address they were for, so that none was answered.
fn astray(doc: &ResultDoc) -> Option<Astray> {
    let ((local, remote), Found { end, came, of }) = filtered::first_astray(doc)?;
    let (address, host) = if end == NodeId::SERVER { (remote, "the peer") } else { (local, "this host") };
    let said = format!(
        "{came} of the {of} datagrams that {host} was sent came and met no socket of the NIC that has their address: they came in over another NIC"
    );
    Some(Astray { address, said })
}

/// What was heard on the wires, with the host that answered.
fn heard(doc: &ResultDoc) -> Option<(&Wires, &Environment)> {
    told(doc).zip(doc.environment(NodeId::SERVER))
}

/// What the run was told on its wires.
pub(super) fn told(doc: &ResultDoc) -> Option<&Wires> {
    doc.steps.iter().find_map(|step| step.detail.wires.as_ref())
}

/// The NIC of the other end that owns a hardware address.
fn owner<'a>(there: &'a Environment, mac: &str) -> Option<&'a str> {
    let mut owners = there.nics.iter().filter(|nic| {
        !nic.addresses.is_empty() && nic.mac.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(mac))
    });
    let first = owners.next()?;
    // VLANs have the hardware address of the NIC below them: which of them answered is not told by it.
    owners.next().is_none().then_some(&first.name)
}

/// The NIC of the other end that has the address.
fn holder<'a>(there: &'a Environment, answer: &WireAnswer) -> Option<&'a str> {
    let holds = |nic: &&pathproof_model::Nic| nic.addresses.iter().any(|one| one.address == answer.address);
    there.nics.iter().find(holds).map(|nic| nic.name.as_str())
}

/// A wire on which the NIC that belongs there does not answer, while it does on another one.
fn crossed(wires: &Wires, there: &Environment) -> Vec<Finding> {
    let heard = |answer: &WireAnswer| -> Vec<String> {
        answer.macs.iter().filter_map(|mac| owner(there, mac)).map(str::to_owned).collect()
    };
    // Which of the other end's NICs were heard on each wire, whatever they were asked for.
    let mut on: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for answer in &wires.answers {
        on.entry(&answer.nic).or_default().extend(heard(answer));
    }
    let mut found = Vec::new();
    for answer in wires.answers.iter().filter(|answer| answer.shares_network) {
        let Some(wanted) = holder(there, answer) else { continue };
        if on[answer.nic.as_str()].iter().any(|nic| nic == wanted) {
            continue;
        }
        let Some((other, _)) =
            on.iter().find(|(nic, heard)| **nic != answer.nic && heard.iter().any(|nic| nic == wanted))
        else {
            continue;
        };
        // Where the NIC of that wire is of the same network, the address belongs there as well.
        let belongs =
            |one: &WireAnswer| one.nic == **other && one.address == answer.address && one.shares_network;
        if wires.answers.iter().any(belongs) {
            continue;
        }
        let instead =
            on[answer.nic.as_str()].first().map_or_else(String::new, |nic| format!(", where {nic} answers"));
        let said = format!(
            "the peer's {wanted} ({}) belongs on the network of {} here{instead}, and answers on the wire of {other}",
            answer.address, answer.nic
        );
        let finding = Finding::new("FABRIC-CROSSED", said);
        found.push(
            finding
                .tell(told::NIC, answer.nic.clone())
                .tell(told::REMOTE_NIC, wanted)
                .tell(told::ANSWERS_ON, *other),
        );
    }
    found
}

/// Two NICs of the other end on one wire that both answer for an address of one of them.
fn flux(wires: &Wires, there: &Environment) -> Option<Finding> {
    wires.answers.iter().filter(|answer| answer.shares_network).find_map(|answer| {
        let mut nics: Vec<&str> = answer.macs.iter().filter_map(|mac| owner(there, mac)).collect();
        nics.sort_unstable();
        nics.dedup();
        (nics.len() > 1).then(|| {
            let said = format!(
                "on the wire of {} the peer's {} all answer for {}: which of them gets a connection is chance",
                answer.nic,
                nics.join(" and "),
                answer.address
            );
            Finding::new("ARP-FLUX", said).tell(told::ADDRESS, answer.address)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::evidence::UdpCounts;
    use pathproof_model::{Nic, NicAddress, Node, Step, StepKind, Tool};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    /// The peer's `sto1` (…:01, 10.9.1.2) and `sto2` (…:02, 10.9.2.2); `heard`: NIC here, address, last octets that answered.
    fn codes(heard: &[(&str, &str, bool, &[&str])]) -> Vec<String> {
        let nic = |n: u8| Nic {
            name: format!("sto{n}"),
            mac: Some(format!("02:00:00:00:00:0{n}")),
            addresses: vec![NicAddress { address: format!("10.9.{n}.2").parse().unwrap(), prefix_len: 24 }],
            ..Nic::default()
        };
        let there = Environment { nics: vec![nic(1), nic(2)], ..Environment::default() };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(None), Node::agent("peer", Some(there))];
        let answers = heard.iter().map(|(nic, address, shares_network, macs)| WireAnswer {
            nic: (*nic).into(),
            address: address.parse().unwrap(),
            shares_network: *shares_network,
            macs: macs.iter().map(|last| format!("02:00:00:00:00:{last}")).collect(),
        });
        let mut step = Step::new(StepKind::Facts, "f");
        step.detail.wires = Some(Wires { answers: answers.collect(), unasked: vec![] });
        doc.steps.push(step);
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn swapped_cables_are_told_from_healthy_ones_and_from_dead_ones() {
        let healthy: &[(&str, &str, bool, &[&str])] =
            &[("sto1", "10.9.1.2", true, &["01"]), ("sto2", "10.9.2.2", true, &["02"])];
        assert_eq!(codes(healthy), [""; 0]);
        let swapped: &[(&str, &str, bool, &[&str])] =
            &[("sto1", "10.9.1.2", true, &["02"]), ("sto2", "10.9.2.2", true, &["01"])];
        assert_eq!(codes(swapped), ["FABRIC-CROSSED", "FABRIC-CROSSED"]);
        // Hosts that answer only for what the asked NIC itself has (arp_ignore).
        let strict: &[(&str, &str, bool, &[&str])] = &[
            ("sto1", "10.9.1.2", true, &[]),
            ("sto1", "10.9.2.2", false, &["02"]),
            ("sto2", "10.9.2.2", true, &[]),
            ("sto2", "10.9.1.2", false, &["01"]),
        ];
        assert_eq!(codes(strict), ["FABRIC-CROSSED", "FABRIC-CROSSED"]);
        assert_eq!(codes(&[("sto1", "10.9.1.2", true, &["01"]), ("sto2", "10.9.2.2", true, &[])]), [""; 0]);
        // Both NICs of each host in one subnet, on two wires: each is where it belongs.
        let one_subnet: &[(&str, &str, bool, &[&str])] = &[
            ("sto1", "10.9.1.2", true, &["01"]),
            ("sto1", "10.9.2.2", true, &[]),
            ("sto2", "10.9.1.2", true, &[]),
            ("sto2", "10.9.2.2", true, &["02"]),
        ];
        assert_eq!(codes(one_subnet), [""; 0]);
        // A stranger in its place is another fault.
        assert_eq!(
            codes(&[("sto1", "10.9.1.2", true, &["99"]), ("sto2", "10.9.2.2", true, &["02"])]),
            [""; 0]
        );
    }

    #[test]
    fn what_it_did_to_this_run_makes_it_a_warning() {
        let mut doc = ResultDoc::new(Tool::default(), "");
        let counts = |node, sent, no_port| pathproof_model::Evidence {
            node,
            udp: Some(UdpCounts { sent: Some(sent), no_port: Some(no_port), ..UdpCounts::still() }),
            ..Default::default()
        };
        let mut loss = Step::new(StepKind::Loss, "datagram loss");
        loss.detail.loss = Some(vec![super::super::tests::loss_path()]);
        loss.evidence = vec![counts(NodeId::CLIENT, 16, 0), counts(NodeId::SERVER, 8, 16)];
        doc.steps.push(loss);
        let found = findings(&doc);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
        assert!(found[0].evidence.starts_with("16 of the 16 datagrams"), "{}", found[0].evidence);
        doc.steps[0].evidence.truncate(1);
        assert_eq!(findings(&doc), vec![]);
    }

    #[test]
    fn two_nics_of_one_host_on_one_wire_are_flux_and_not_swapped() {
        let both: &[&str] = &["01", "02"];
        assert_eq!(
            codes(&[("sto1", "10.9.1.2", true, both), ("sto2", "10.9.2.2", true, both)]),
            ["ARP-FLUX"]
        );
    }
}
