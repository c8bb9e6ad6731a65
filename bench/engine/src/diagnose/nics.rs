//! What NICs and their drivers counted: damaged frames, missing buffers, pauses, a platform's allowance.
//!
//! These counters are the hosts' own word of where packets went, so each finding names a place and excludes the path beyond it.

use std::collections::{BTreeMap, BTreeSet};

use pathproof_model::code;
use pathproof_model::evidence::DriverMeaning;
use pathproof_model::told;
use pathproof_model::{Finding, NodeId, ResultDoc};

use super::Rule;

/// A code, and what is said of a number of packets.
struct Complaint {
    code: &'static str,
    said: &'static str,
    meaning: DriverMeaning,
    /// Fewer are not told.
    least: u64,
}

/// Drivers count here what nobody asked for as well: a few say nothing.
const UNSORTED: u64 = 10;

const COMPLAINTS: &[Complaint] = &[
    Complaint {
        code: "NIC-LINK-ERRORS",
        said: "received damaged frames and threw them away",
        meaning: DriverMeaning::LinkError,
        least: 1,
    },
    Complaint {
        code: "NIC-OVERRUN",
        said: "had no buffer for packets that it had received",
        meaning: DriverMeaning::NoReceiveBuffer,
        least: 1,
    },
    Complaint {
        code: "NIC-PAUSED",
        said: "was asked to stop sending by the other end of its cable",
        meaning: DriverMeaning::PauseReceived,
        least: 1,
    },
    Complaint {
        code: "NIC-PAUSES",
        said: "asked the other end of its cable to stop sending",
        meaning: DriverMeaning::PauseSent,
        least: 1,
    },
    Complaint {
        code: "NIC-POLICED",
        said: "was held to an allowance by the platform under it",
        meaning: DriverMeaning::Policed,
        least: 1,
    },
    Complaint {
        code: "NIC-DISCARDS",
        said: "threw packets away and does not say why",
        meaning: DriverMeaning::Discard,
        least: UNSORTED,
    },
];

pub(super) const RULES: &[Rule] = &[Rule {
    codes: &[
        code!("NIC-LINK-ERRORS"),
        code!("NIC-OVERRUN"),
        code!("NIC-PAUSED"),
        code!("NIC-PAUSES"),
        code!("NIC-POLICED"),
        code!("NIC-DISCARDS"),
    ],
    find: findings,
}];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let used = used(doc);
    let mut found = Vec::new();
    for complaint in COMPLAINTS {
        let all = counted(doc, complaint.meaning);
        // Drivers count for the whole host: what an interface without part in the run counted is no finding of this run.
        for ((node, nic), counters) in all.into_iter().filter(|(place, _)| used.contains(place)) {
            let whose = if node == NodeId::CLIENT { "this host's" } else { "the peer's" };
            let most = counters.values().copied().max().unwrap_or(0);
            if most < complaint.least {
                continue;
            }
            let names: Vec<String> = counters.iter().map(|(name, by)| format!("{name} +{by}")).collect();
            let said = format!("{whose} {nic} {} during the run ({})", complaint.said, names.join(", "));
            found.push(Finding::new(complaint.code, said).tell(told::NIC, nic).with("moved_by", most));
        }
    }
    found
}

/// Interfaces that own an address which a lane, a pair or a path of the run used.
pub(super) fn used(doc: &ResultDoc) -> BTreeSet<(NodeId, String)> {
    let mut addresses = BTreeSet::new();
    for step in &doc.steps {
        let lanes = step.lanes.iter().flat_map(|lane| [&lane.local, &lane.remote]);
        addresses.extend(lanes.filter_map(super::ip_of));
        let paths = step.detail.paths.iter().flatten();
        addresses.extend(paths.flat_map(|path| [path.local_address, path.remote_address]));
    }
    let mut used = BTreeSet::new();
    for node in [NodeId::CLIENT, NodeId::SERVER] {
        for nic in doc.environment(node).iter().flat_map(|host| &host.nics) {
            if nic.addresses.iter().any(|one| addresses.contains(&one.address.to_canonical())) {
                used.insert((node, nic.name.clone()));
                // What a bundle or a bridge lost, its members counted.
                let members = doc.environment(node).into_iter().flat_map(|host| &host.nics);
                let members = members.filter(|one| one.master.as_deref() == Some(&nic.name));
                used.extend(members.map(|one| (node, one.name.clone())));
            }
        }
    }
    used
}

/// By node and interface: each counter of one meaning and by how much it moved over all steps.
pub(super) fn counted(
    doc: &ResultDoc,
    meaning: DriverMeaning,
) -> BTreeMap<(NodeId, String), BTreeMap<String, u64>> {
    let mut all: BTreeMap<(NodeId, String), BTreeMap<String, u64>> = BTreeMap::new();
    for evidence in doc.steps.iter().flat_map(|step| &step.evidence) {
        let mut moved: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for nic in evidence.nics.iter().flatten() {
            let counts = &nic.counts;
            let named: &[(&str, Option<u64>)] = match meaning {
                DriverMeaning::LinkError => &[("rx_crc_errors", counts.receive_crc_errors)],
                DriverMeaning::NoReceiveBuffer => &[
                    ("rx_missed_errors", counts.receive_missed),
                    ("rx_over_errors", counts.receive_overruns),
                ],
                DriverMeaning::PauseReceived
                | DriverMeaning::PauseSent
                | DriverMeaning::Policed
                | DriverMeaning::CongestionMark
                | DriverMeaning::Discard
                | DriverMeaning::Other => &[],
            };
            moved.extend(named.iter().filter_map(|(name, by)| Some(((nic.nic.as_str(), *name), (*by)?))));
        }
        for driver in evidence.drivers.iter().flatten() {
            for counter in driver.counters.iter().filter(|counter| counter.meaning == meaning) {
                // Drivers tell the kernel's own counters once more, by the same names.
                let by = moved.entry((&driver.nic, &counter.name)).or_default();
                *by = (*by).max(counter.moved_by);
            }
        }
        for ((nic, name), by) in moved.into_iter().filter(|(_, by)| *by > 0) {
            let counters = all.entry((evidence.node, nic.to_owned())).or_default();
            let sum = counters.entry(name.to_owned()).or_default();
            *sum = sum.saturating_add(by);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::{DriverActivity, DriverCounter};
    use pathproof_model::{
        Environment, Evidence, LaneResult, Nic, NicActivity, NicAddress, NicCounts, Step, StepKind, Tool,
    };

    fn document(counters: &[(&str, u64)], crc: u64) -> ResultDoc {
        let mut doc = ResultDoc::new(Tool::default(), "");
        let address = NicAddress { address: "192.0.2.1".parse().unwrap(), prefix_len: 24 };
        let nic = Nic { name: "e0".into(), addresses: vec![address], ..Nic::default() };
        doc.nodes[0].environment = Some(Environment { nics: vec![nic], ..Environment::default() });
        let mut step = Step::new(StepKind::Stream, "s");
        step.lanes = vec![LaneResult { local: Some("192.0.2.1:5".into()), ..LaneResult::default() }];
        let counters = counters.iter().map(|(name, by)| DriverCounter {
            name: (*name).into(),
            meaning: DriverMeaning::of(name).unwrap(),
            moved_by: *by,
        });
        let counters: Vec<_> = counters.collect();
        let driver = |nic: &str| DriverActivity { nic: nic.into(), counters: counters.clone() };
        let counts = NicCounts { receive_crc_errors: Some(crc), ..NicCounts::still() };
        step.evidence = vec![Evidence {
            nics: Some(vec![NicActivity { nic: "e0".into(), counts }]),
            drivers: Some(vec![driver("e0"), driver("beside")]),
            ..Evidence::default()
        }];
        doc.steps = vec![step.clone(), step];
        doc
    }

    #[test]
    fn each_meaning_is_named_once_with_its_counters_summed_over_the_steps() {
        let found = findings(&document(&[("rx_out_of_buffer", 7), ("rx_prio3_pause", 2)], 1));
        let told: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.evidence.as_str())).collect();
        assert_eq!(told[0].0, "NIC-LINK-ERRORS");
        assert!(told[0].1.contains("rx_crc_errors +2"), "{}", told[0].1);
        assert_eq!(told[1].0, "NIC-OVERRUN");
        assert!(
            told[1].1.contains("this host's e0") && told[1].1.contains("rx_out_of_buffer +14"),
            "{}",
            told[1].1
        );
        assert_eq!(told[2].0, "NIC-PAUSED");
        assert_eq!(told.len(), 3, "an interface without part in the run is not accused: {told:?}");
    }

    #[test]
    fn what_kernel_and_driver_both_tell_counts_once() {
        let found = findings(&document(&[("rx_crc_errors", 3)], 3));
        assert!(found[0].evidence.contains("(rx_crc_errors +6)"), "two steps of 3: {}", found[0].evidence);
    }

    #[test]
    fn nothing_moved_and_harmless_counters_are_no_finding() {
        assert_eq!(findings(&document(&[], 0)), vec![]);
        // Marks are the path's (another family), and a few unsorted drops name no place.
        assert_eq!(findings(&document(&[("rx_ecn_mark", 9), ("rx_drops", 3)], 0)), vec![]);
    }

    #[test]
    fn what_a_nic_asked_of_others_and_unsorted_drops_are_notes() {
        use pathproof_model::Severity;
        let found = findings(&document(&[("tx_prio3_pause", 2), ("tx_discards_phy", 40)], 0));
        let told: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.severity)).collect();
        assert_eq!(told, [("NIC-PAUSES", Severity::Info), ("NIC-DISCARDS", Severity::Info)]);
        assert!(found[0].evidence.contains("asked the other end of its cable to stop sending"), "{found:?}");
    }
}
