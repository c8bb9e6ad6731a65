//! Findings that another one explains. A reader who is told both looks for two faults.

use pathproof_model::code;
use pathproof_model::finding::CATALOGUE;
use pathproof_model::told;
use pathproof_model::{Direction, Finding, NodeId, ResultDoc, Severity};

/// Where the first was found, the others are what it looks like.
const EXPLAINS: &[(&str, &[&str])] = &[
    // Probes of one flow meet one member of a bundle in each direction.
    ("MTU-FLOWS-DIFFER", &["MTU-ONE-WAY", "MTU-BLACKHOLE"]),
    // A link that is gone for a moment swallows packets of every size.
    (
        "LINK-FLAPS",
        &["MTU-ONE-WAY", "MTU-UNKNOWN", "MTU-BULK-UNKNOWN", "MTU-BULK-EXCLUDED", "TCP-STALL", "PATH-STALLS"],
    ),
    // Another size was asked for than what a thrown away segment has.
    ("TCP-CHECKSUM", &["MTU-BULK-UNKNOWN"]),
    // A pair over which nothing passes has no size.
    ("CHANNEL-DEAD", &["MTU-UNKNOWN"]),
    ("FABRIC-CROSSED", &["CHANNEL-DEAD", "CHANNEL-LOST", "MTU-UNKNOWN"]),
    ("PATH-ONE-WAY", &["MTU-UNKNOWN"]),
    ("ROUTE-PROHIBITED", &["CHANNEL-DEAD", "MTU-UNKNOWN"]),
    // Of two NICs that switches take for one, one end may have heard the other.
    ("MAC-DUPLICATE", &["CHANNEL-DEAD", "MTU-UNKNOWN", "PATH-ONE-WAY"]),
    // Behind a translation the two NICs are not the two ends of one path.
    (
        "PEER-NAT",
        &[
            "MTU-ENDS-DIFFER",
            "MTU-UNKNOWN",
            "CHANNEL-NONE",
            "PORT-REFUSED",
            "PATH-UDP-FILTERED",
            "ROUTE-ASYMMETRIC",
        ],
    ),
    // One end's route keeps the other's segments small as well: it announces no more.
    ("MTU-ROUTE-LIMIT", &["TCP-MSS-CLAMPED", "MTU-STALE-CACHE"]),
    // Who does not read or send for a while leaves intervals without a byte.
    ("HOST-STOPS", &["TCP-STALL"]),
    // A connection of a stripe that somebody reset says nothing of a link.
    ("TCP-RESET", &["TCP-STALL", "CHANNEL-LOST"]),
    // What is thrown away above a rate leaves both ways at once less than each alone, without anything that they share.
    ("PATH-POLICED", &["PATH-SHARED"]),
    // Of the family that is filtered nothing is known that the other one could differ from.
    ("PATH-UDP-FILTERED", &["MTU-UNKNOWN", "MTU-FAMILIES-DIFFER"]),
    // The first packet of a connection is what comes first after a silence.
    ("PATH-SLEEPS", &["CONNECT-SLOW"]),
];

/// Whether it was seen that a host refused packets, rather than that it would.
fn is_refusal(finding: &Finding) -> bool {
    let counted = finding.told(told::REFUSED);
    finding.is(code!("RP-FILTER")) && finding.severity == Severity::Error && counted.is_some_and(|n| n > 0)
}

/// Whether a sender throws away what it is told of losses one way: the options that it has are of no use then.
fn is_deaf(finding: &Finding) -> bool {
    finding.is(code!("TCP-OPTIONS")) && finding.told(told::DIRECTION).is_some()
}

/// Takes out what others explain, and gives what is left the commands that need the document as a whole.
pub fn settle(doc: &mut ResultDoc) {
    super::sizes::complete(doc);
    explain(doc);
    super::tables::advise(doc);
}

fn explain(doc: &mut ResultDoc) {
    // One that is told as less than its kind, because it lies beside the run, explains nothing of it.
    let whole = |finding: &&Finding| {
        CATALOGUE.iter().any(|entry| entry.code == finding.code && finding.severity >= entry.severity)
    };
    let known: Vec<Finding> = doc.findings.iter().filter(whole).cloned().collect();
    let explained = |finding: &Finding| {
        let explains = |one: &&Finding| {
            EXPLAINS.iter().any(|(code, others)| *code == one.code && others.contains(&finding.code.as_str()))
        };
        // Whatever happens above a rate: NICs that get no more of it together than each alone do share it.
        let nics_meet = finding.is(code!("PATH-SHARED")) && finding.told(told::NICS).is_some();
        !nics_meet && known.iter().filter(explains).any(|one| is_about_the_same(one, finding))
    };
    // What holds one way back says why that is the slower one, and takes that over: the way that a policer holds back, or a sender that hears of
    // no loss, and the way of connections that an end lets too little be on the way of.
    let slower: Vec<(Direction, bool)> = doc
        .findings
        .iter()
        .filter(|finding| finding.is(code!("PATH-ASYMMETRIC")))
        .filter_map(|one| Some((one.told(told::SLOWER)?, one.told(told::HELD_BY_END) == Some(true))))
        .collect();
    let mut known_ways = vec![];
    for finding in &mut doc.findings {
        let policed = finding.is(code!("PATH-POLICED")) || is_deaf(finding);
        let window = finding.is(code!("TCP-WINDOW")) || finding.is(code!("TCP-SEND-BUFFER"));
        let way = finding.told(told::DIRECTION);
        let explains =
            |(slow, by_end): &&(Direction, bool)| way == Some(*slow) && (policed || (window && *by_end));
        if let Some((slow, _)) = slower.iter().find(explains) {
            *finding = finding.clone().tell(told::SLOWER, *slow);
            known_ways.push(*slow);
        }
    }
    let slower_way = |finding: &Finding| {
        let slower = finding.told(told::SLOWER);
        finding.is(code!("PATH-ASYMMETRIC")) && slower.is_some_and(|slower| known_ways.contains(&slower))
    };
    // Connections under a policer stand until their timers run out, and so do those whose sender hears of no loss: it sends again as much and
    // as late as if packets were thrown away without a queue.
    let ways_of = |is: &dyn Fn(&Finding) -> bool| -> Vec<Direction> {
        let found = doc.findings.iter().filter(|finding| is(finding));
        found.filter_map(|finding| finding.told(told::DIRECTION)).collect()
    };
    let deaf = ways_of(&is_deaf);
    let policed = ways_of(&|finding: &Finding| finding.is(code!("PATH-POLICED")) || is_deaf(finding));
    let seems_policed = |finding: &Finding| {
        finding.is(code!("PATH-POLICED"))
            && finding.told(told::DIRECTION).is_some_and(|way| deaf.contains(&way))
    };
    let ways: Vec<Option<Direction>> = doc.steps.iter().map(|step| step.direction).collect();
    let policed_stall = |finding: &Finding| {
        let way = finding.step.and_then(|at| ways.get(at).copied()).flatten();
        finding.is(code!("TCP-STALL"))
            && way
                .is_some_and(|way| policed.contains(&way) || (way == Direction::Both && !policed.is_empty()))
    };
    // A connection whose segments are thrown away for their checksum stands still.
    let falsified = |finding: &Finding| {
        let checksum = |one: &Finding| one.is(code!("TCP-CHECKSUM")) && one.step == finding.step;
        finding.is(code!("TCP-STALL")) && finding.step.is_some() && known.iter().any(checksum)
    };
    // A host that refuses by its filter what arrives at a NIC is why that NIC's pairs are silent. It does not answer there either who has an
    // address (arp_process looks the way back up first), so next to nothing is sent to it: that looks like one dead strand, at the end that hears
    // nothing.
    let refusing: Vec<_> = doc.findings.iter().filter(|one| is_refusal(one)).cloned().collect();
    let refused = |finding: &Finding| {
        let silent = [code!("CHANNEL-DEAD"), code!("MTU-UNKNOWN")].iter().any(|code| finding.is(*code));
        let dead = finding.told(told::DIRECTION).filter(|_| finding.is(code!("PATH-ONE-WAY")));
        let hears_nothing = |client: bool| dead == Some(if client { Direction::In } else { Direction::Out });
        refusing.iter().any(|one| {
            let client = one.told(told::NODE) == Some(NodeId::CLIENT);
            let end = if client { told::LOCAL_NIC } else { told::REMOTE_NIC };
            let nics = one.told(told::NICS).unwrap_or_default();
            (silent || hears_nothing(client)) && finding.told(end).is_some_and(|nic| nics.contains(&nic))
        })
    };
    // A stream of which a link was gone for a part, or a program stood still, carried less than the one before it. A limit by which a rate is
    // flat stands by itself.
    let paused = known.iter().any(|one| one.is(code!("LINK-FLAPS")) || one.is(code!("HOST-STOPS")));
    let fell = |finding: &Finding| {
        paused && finding.is(code!("PATH-RATE-LIMIT")) && finding.severity == Severity::Error
    };
    // A connection of a NIC that begins anew again and again carries little over it.
    let reset: Vec<String> = known
        .iter()
        .filter(|one| one.is(code!("TCP-RESET")))
        .filter_map(|one| one.told(told::LOCAL_NIC))
        .collect();
    let reset_slow = |finding: &Finding| {
        finding.is(code!("NIC-SLOW")) && finding.told(told::NIC).is_some_and(|nic| reset.contains(&nic))
    };
    // Pairs over which TCP passes, as may be known only after the step that no datagram answered in.
    let carried = super::filtered::carried_by_tcp(doc);
    let only_filtered = |finding: &Finding| {
        let nics = finding.told(told::LOCAL_NIC).zip(finding.told(told::REMOTE_NIC));
        finding.is(code!("CHANNEL-DEAD")) && nics.is_some_and(|nics| carried.contains(&nics))
    };
    doc.findings.retain(|finding| {
        let held = fell(finding) || reset_slow(finding) || only_filtered(finding);
        let seems = seems_policed(finding) || policed_stall(finding) || falsified(finding);
        !held && !seems && !explained(finding) && !slower_way(finding) && !refused(finding)
    });
}

/// The NICs that a finding names, at either end, where it names any.
fn nics(finding: &Finding) -> Vec<String> {
    let names = [told::NIC, told::LOCAL_NIC, told::REMOTE_NIC, told::ANSWERS_ON];
    names.into_iter().filter_map(|name| finding.told(name)).collect()
}

/// Whether one finding can explain another: not where both say which NICs they are about, and those have none in common.
fn is_about_the_same(one: &Finding, other: &Finding) -> bool {
    let (one, other) = (nics(one), nics(other));
    one.is_empty() || other.is_empty() || one.iter().any(|nic| other.contains(nic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Step, StepKind, Tool};

    #[test]
    fn a_finding_about_one_pair_explains_nothing_about_another() {
        let left = |second: &str| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let differ = Finding::new("MTU-FLOWS-DIFFER", "seen")
                .tell(told::LOCAL_NIC, "e0")
                .tell(told::REMOTE_NIC, "e0");
            let hole = Finding::new("MTU-BLACKHOLE", "seen")
                .tell(told::LOCAL_NIC, second)
                .tell(told::REMOTE_NIC, second);
            doc.findings = vec![differ, hole];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left("e0"), left("e1")), (1, 2));
    }

    #[test]
    fn checksums_explain_a_stall_of_their_own_step_alone() {
        let left = |stalled: usize| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let of = |code, step| Finding { step: Some(step), ..Finding::new(code, "seen") };
            doc.findings = vec![of("TCP-CHECKSUM", 1), of("TCP-STALL", stalled)];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left(1), left(2)), (1, 2));
    }

    #[test]
    fn a_policed_way_is_the_slower_one_and_the_other_way_is_not_excused() {
        let left = |policed: Direction| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.findings = vec![
                Finding::new("PATH-POLICED", "seen").tell(told::DIRECTION, policed),
                Finding::new("PATH-ASYMMETRIC", "seen").tell(told::SLOWER, Direction::Out),
            ];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left(Direction::Out), left(Direction::In)), (1, 2));
    }

    #[test]
    fn a_policed_way_explains_both_ways_at_once_and_not_what_nics_get_together() {
        let left = |nics: &[&str]| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let shared = Finding::new("PATH-SHARED", "seen");
            let nics: Vec<String> = nics.iter().map(|nic| (*nic).to_owned()).collect();
            let shared = if nics.is_empty() { shared } else { shared.tell(told::NICS, nics) };
            let policed = Finding::new("PATH-POLICED", "seen").tell(told::DIRECTION, Direction::In);
            doc.findings = vec![policed, shared];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left(&[]), left(&["n0", "n1"])), (1, 2));
    }

    #[test]
    fn a_window_that_holds_the_slower_way_explains_it_and_says_so() {
        let left = |window: Direction, by_end: bool| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let slower = Finding::new("PATH-ASYMMETRIC", "seen").tell(told::SLOWER, Direction::Out);
            let slower = if by_end { slower.tell(told::HELD_BY_END, true) } else { slower };
            let window = Finding::new("TCP-WINDOW", "seen").tell(told::DIRECTION, window);
            doc.findings = vec![slower, window];
            settle(&mut doc);
            doc.findings
        };
        let explained = left(Direction::Out, true);
        assert_eq!((explained.len(), &*explained[0].code), (1, "TCP-WINDOW"));
        assert_eq!(explained[0].told(told::SLOWER), Some(Direction::Out));
        // The window of one connection that several together do not have, and one of the other way.
        let open = [left(Direction::Out, false), left(Direction::In, true)];
        assert!(open.iter().all(|left| left.len() == 2 && left[1].told(told::SLOWER).is_none()), "{open:?}");
    }

    #[test]
    fn a_sender_that_hears_of_no_loss_looks_policed_and_slow_that_way_alone() {
        let left = |deaf: Option<Direction>| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let options = Finding::new("TCP-OPTIONS", "seen");
            let options = match deaf {
                Some(way) => options.tell(told::DIRECTION, way),
                None => options,
            };
            let way = Direction::Out;
            doc.steps = vec![Step { direction: Some(way), ..Step::new(StepKind::Stream, "tcp stream") }];
            doc.findings = vec![
                options,
                Finding { step: Some(0), ..Finding::new("TCP-STALL", "seen") },
                Finding::new("PATH-POLICED", "seen").tell(told::DIRECTION, way),
                Finding::new("PATH-ASYMMETRIC", "seen").tell(told::SLOWER, way),
            ];
            settle(&mut doc);
            doc.findings.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(left(Some(Direction::Out)), ["TCP-OPTIONS"]);
        // The other way, and options that are missing both ways, leave the policer what it is: it explains the rest.
        assert_eq!(left(Some(Direction::In)), ["TCP-OPTIONS", "PATH-POLICED"]);
        assert_eq!(left(None), ["TCP-OPTIONS", "PATH-POLICED"]);
    }

    #[test]
    fn connections_that_stand_under_a_policer_are_told_as_that() {
        let left = |policed: Direction, stood: Direction| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.steps =
                vec![Step { direction: Some(stood), ..Step::new(StepKind::Stream, "tcp stream, 4 lanes") }];
            let stall = Finding { step: Some(0), ..Finding::new("TCP-STALL", "seen") };
            doc.findings = vec![stall, Finding::new("PATH-POLICED", "seen").tell(told::DIRECTION, policed)];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left(Direction::In, Direction::In), left(Direction::In, Direction::Both)), (1, 1));
        assert_eq!(left(Direction::In, Direction::Out), 2);
    }

    #[test]
    fn a_pair_whose_nic_refuses_packets_is_not_looked_for_in_the_cables() {
        let left = |severity, node: u16, nic: &str| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.findings = vec![
                Finding::new("CHANNEL-DEAD", "seen").tell(told::LOCAL_NIC, "e1").tell(told::REMOTE_NIC, "x1"),
                Finding::new("RP-FILTER", "seen")
                    .with_severity(severity)
                    .tell(told::REFUSED, 8u64)
                    .tell(told::NODE, NodeId(node))
                    .tell(told::NICS, [nic, "e9"].map(str::to_owned)),
            ];
            settle(&mut doc);
            doc.findings.iter().any(|finding| finding.code == "CHANNEL-DEAD")
        };
        assert!(!left(Severity::Error, 0, "e1") && !left(Severity::Error, 1, "x1"));
        // What only might refuse, another NIC, and a NIC of that name at the other end explain nothing.
        assert!(
            left(Severity::Warning, 0, "e1")
                && left(Severity::Error, 0, "e0")
                && left(Severity::Error, 1, "e1")
        );
    }

    #[test]
    fn two_nics_with_one_hardware_address_are_why_their_pair_is_silent_and_no_other() {
        let left = |nic: &str| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let of = |code: &'static str, nic: &str| {
                Finding::new(code, "seen").tell(told::LOCAL_NIC, nic).tell(told::REMOTE_NIC, nic)
            };
            doc.findings = vec![of("CHANNEL-DEAD", nic), of("PATH-ONE-WAY", nic), of("MAC-DUPLICATE", "e1")];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left("e1"), left("e2")), (1, 3));
    }

    #[test]
    fn a_way_that_ends_at_a_nic_which_refuses_packets_is_no_dead_strand() {
        let left = |node: u16, dead: Direction| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.findings = vec![
                Finding::new("PATH-ONE-WAY", "seen")
                    .tell(told::DIRECTION, dead)
                    .tell(told::LOCAL_NIC, "e1")
                    .tell(told::REMOTE_NIC, "x1"),
                Finding::new("RP-FILTER", "seen")
                    .with_severity(Severity::Error)
                    .tell(told::REFUSED, 8u64)
                    .tell(told::NODE, NodeId(node))
                    .tell(told::NICS, ["e1", "x1"].map(str::to_owned)),
            ];
            settle(&mut doc);
            doc.findings.iter().any(|finding| finding.code == "PATH-ONE-WAY")
        };
        assert!(!left(0, Direction::In) && !left(1, Direction::Out));
        // The end that hears everything refuses nothing that the other one sent.
        assert!(left(0, Direction::Out) && left(1, Direction::In));
    }

    #[test]
    fn a_link_that_flaps_or_a_program_that_stood_still_explains_a_rate_that_fell_and_no_flat_one() {
        let left = |why: &'static str, severity| {
            let mut doc = ResultDoc::new(Tool::default(), "");
            let limit = Finding::new("PATH-RATE-LIMIT", "seen").with_severity(severity);
            doc.findings = vec![Finding::new(why, "seen").tell(told::NIC, "e0"), limit];
            settle(&mut doc);
            doc.findings.len()
        };
        for why in ["LINK-FLAPS", "HOST-STOPS"] {
            assert_eq!((left(why, Severity::Error), left(why, Severity::Info)), (1, 2));
        }
    }

    #[test]
    fn connections_of_a_nic_that_are_reset_are_why_that_nic_carries_little() {
        let left = |nic: Option<&str>| {
            let reset = Finding::new("TCP-RESET", "seen");
            let reset = match nic {
                Some(nic) => reset.tell(told::LOCAL_NIC, nic),
                None => reset,
            };
            let mut doc = ResultDoc::new(Tool::default(), "");
            doc.findings = vec![Finding::new("NIC-SLOW", "seen").tell(told::NIC, "e1"), reset];
            settle(&mut doc);
            doc.findings.len()
        };
        assert_eq!((left(Some("e1")), left(Some("e0")), left(None)), (1, 2, 2));
    }

    #[test]
    fn what_is_explained_goes_and_the_rest_stays() {
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.findings =
            ["MTU-ONE-WAY", "TCP-STALL"].into_iter().map(|code| Finding::new(code, "seen")).collect();
        settle(&mut doc);
        assert_eq!(doc.findings.len(), 2);
        let aside = Finding::new("LINK-FLAPS", "seen").with_severity(Severity::Info);
        doc.findings.push(aside);
        settle(&mut doc);
        assert_eq!(doc.findings.len(), 3, "a link without part in the run explains nothing of it");
        doc.findings.pop();
        doc.findings.push(Finding::new("MTU-FLOWS-DIFFER", "seen"));
        settle(&mut doc);
        let left: Vec<&str> = doc.findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(left, ["TCP-STALL", "MTU-FLOWS-DIFFER"]);
    }
}
