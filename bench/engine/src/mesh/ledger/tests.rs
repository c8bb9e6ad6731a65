//! Rounds of a made-up mesh, from reports as ranks write them.

use super::*;
use crate::mesh::kept::{Head, Line, Part, put_together};
use crate::mesh::message::{Order, Paced};
use crate::mesh::{Again, Repeated, SuspectKind, analyse};
use pathproof_model::RunOutcome;
use pathproof_model::mesh::{MESH_SCHEMA, MeshSettings};

fn ledger(size: u32) -> Ledger {
    let settings = MeshSettings { patterns: vec![Pattern::Pairs], ..MeshSettings::default() };
    Ledger::new(MeshDoc::new(size, settings, &[]))
}

struct Never;

impl Again for Never {
    fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        vec![Repeated::default(); pairs.len()]
    }

    fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.measure(pairs)
    }

    fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>> {
        vec![None; pairs.len()]
    }
}

fn judged(mut ledger: Ledger) -> MeshDoc {
    ledger.name_the_unmeasured(0);
    let figures = ledger.figures(0);
    let found = analyse(&figures.measured(), &mut Never);
    ledger.accuse(0, &figures, found);
    ledger.doc.conclude();
    ledger.doc
}

/// What a pair that is well tells when it is asked for this.
fn well(task: Task, peer: u32) -> Told {
    let mut told = Told { peer, ..Told::default() };
    for cell in [&mut told.out, &mut told.back] {
        if task == Task::Survey {
            (cell.rtt_p50_ns, cell.rtt_p99_ns, cell.ip_mtu_bytes) = (Some(9), Some(99), Some(9000));
        } else {
            (cell.goodput_bits_per_s, cell.retransmits) = (Some(1_000_000_000 + u64::from(peer)), Some(0));
        }
    }
    told
}

/// One round, in which the ranks of `silent` say nothing.
fn round(kind: RoundKind, task: Task, pairs: &[Pair], silent: &[u32]) -> Made {
    let errands: Vec<Errand> =
        pairs.iter().map(|(a, b)| Errand { rank: *a as u32, task, peers: vec![*b as u32] }).collect();
    let told = errands.iter().filter(|errand| !silent.contains(&errand.rank));
    let report = |errand: &Errand| Report {
        told: errand.peers.iter().map(|peer| well(task, *peer)).collect(),
        ..Report::default()
    };
    let reports = told.map(|errand| (errand.rank, report(errand))).collect();
    Made { kind, plane: 0, errands, reports, started_ns: 0, elapsed_ns: 1 }
}

const PHASES: [(RoundKind, Task); 3] =
    [(RoundKind::Reach, Task::Survey), (RoundKind::Up, Task::Send), (RoundKind::Down, Task::Fetch)];

fn knock(ranks: u32, deaf: &[u32]) -> Made {
    let errands = (0..ranks).map(|rank| Errand { rank, task: Task::Knock, peers: vec![] }).collect();
    let heard = |rank: u32| if deaf.contains(&rank) { vec![] } else { (0..ranks).collect() };
    let reports = (0..ranks).map(|rank| (rank, Report { heard: heard(rank), ..Report::default() })).collect();
    Made { kind: RoundKind::Knock, plane: 0, errands, reports, started_ns: 0, elapsed_ns: 1 }
}

#[test]
fn a_rank_that_is_lost_costs_its_own_cells_with_the_reason_and_nobody_else_is_named() {
    let mut ledger = ledger(4);
    ledger.take_in(&knock(4, &[]));
    for (number, pairs) in ledger.rounds().iter().enumerate() {
        for (kind, task) in PHASES {
            if number == 1 && kind == RoundKind::Up {
                ledger.lose(2, Some(6), "it ended".into());
            }
            let there: Vec<Pair> = pairs
                .iter()
                .copied()
                .filter(|(a, b)| ledger.doc.dead.is_empty() || (*a != 2 && *b != 2))
                .collect();
            ledger.take_in(&round(kind, task, &there, &[]));
        }
    }
    let doc = judged(ledger);
    assert!(doc.suspects.is_empty() && doc.unclear.is_empty(), "{:?} {:?}", doc.suspects, doc.unclear);
    assert_eq!((doc.outcome, doc.dead.len()), (RunOutcome::NotFit, 1));
    let matrices = &doc.planes[0].matrices;
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            let known = matrices.goodput_bits_per_s[from][to].is_some();
            let reason = matrices.reason(from, to);
            assert!(known || reason == Some("rank 2 was lost in round 6"), "{from} {to}: {reason:?}");
            assert!(known || from == 2 || to == 2, "{from} {to}");
        }
    }
}

#[test]
fn a_silent_rank_leaves_no_zero_and_what_it_says_of_others_is_not_taken() {
    let mut ledger = ledger(4);
    ledger.take_in(&round(RoundKind::Up, Task::Send, &[(0, 1), (2, 3)], &[2]));
    // Rank 0 was asked about rank 1, and tells of 2 and 3.
    let mut lie = round(RoundKind::Down, Task::Fetch, &[(0, 1)], &[]);
    lie.reports
        .insert(0, Report { told: vec![well(Task::Fetch, 2), well(Task::Fetch, 3)], ..Report::default() });
    ledger.take_in(&lie);
    let matrices = &ledger.doc.planes[0].matrices;
    assert_eq!(matrices.goodput_bits_per_s[2][3], None);
    assert_eq!(matrices.reason(2, 3), Some("rank 2 did not report in time"));
    assert_eq!(matrices.goodput_bits_per_s[2][0], None);
    assert_eq!(ledger.doc.rounds.iter().map(|round| round.failed).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_deaf_host_is_named_and_datagrams_that_are_swallowed_are_not_its_fault() {
    // Rank 1 hears nobody, and no connection opens to it.
    let mut deaf = ledger(4);
    deaf.take_in(&knock(4, &[1]));
    let named = judged(deaf).suspects;
    assert_eq!(
        named.iter().map(|s| (s.kind, s.who.clone())).collect::<Vec<_>>(),
        [(SuspectKind::Reach, Who::Receiver { rank: 1 })]
    );
    // The same words are not heard, and connections open all the same.
    let mut filtered = ledger(4);
    filtered.take_in(&knock(4, &[1]));
    filtered.take_in(&round(RoundKind::Reach, Task::Survey, &[(0, 1), (2, 3)], &[]));
    let doc = judged(filtered);
    assert!(doc.suspects.is_empty(), "{:?}", doc.suspects);
    assert!(doc.notes[0].contains("swallowed"), "{:?}", doc.notes);
}

#[test]
fn an_incast_without_a_common_window_has_a_reason_and_no_sum() {
    let mut ledger = ledger(4);
    let errands = vec![Errand { rank: 0, task: Task::Gather, peers: vec![1, 2, 3] }];
    let told = (1..4).map(|peer| well(Task::Gather, peer)).collect();
    let mut made = Made {
        kind: RoundKind::Incast,
        plane: 0,
        errands,
        reports: BTreeMap::from([(0, Report { told, ..Report::default() })]),
        started_ns: 0,
        elapsed_ns: 1,
    };
    ledger.take_in(&made);
    made.reports.get_mut(&0).unwrap().common = Some((125_000_000, 1_000_000_000));
    ledger.take_in(&made);
    made.reports.clear();
    ledger.take_in(&made);
    let sums: Vec<_> =
        ledger.doc.incast.iter().map(|rung| (rung.sum_bits_per_s, rung.reason.is_some())).collect();
    assert_eq!(sums, [(None, true), (Some(1_000_000_000), false), (None, true)]);
    assert_eq!(ledger.doc.incast[0].least_bits_per_s, Some(1_000_000_001));
    assert_eq!(ledger.doc.incast[2].least_bits_per_s, None);
}

/// What the ranks kept, line by line, comes to the document that rank 0 had.
#[test]
fn what_ranks_kept_is_what_rank_0_took_in() {
    let mut whole = ledger(4);
    let mut parts: Vec<String> = (0..4)
        .map(|rank| {
            let head = Head {
                schema: MESH_SCHEMA.into(),
                tool: Default::default(),
                started_at: "2026-01-01T00:00:00Z".into(),
                rank,
                size: 4,
                settings: whole.doc.settings.clone(),
                nets: vec![],
                group: None,
                host: format!("node{rank}"),
                addresses: vec![Some(IpAddr::from([10, 0, 0, rank as u8]))],
                environment: Environment::default(),
            };
            whole.enter((rank, head.host.clone()), None, &head.environment, &head.addresses);
            serde_json::to_string(&head).unwrap() + "\n"
        })
        .collect();
    whole.compare();
    let mut made = vec![knock(4, &[3])];
    for pairs in whole.rounds() {
        made.extend(PHASES.map(|(kind, task)| round(kind, task, &pairs, &[])));
    }
    for made in &made {
        let number = whole.next_round();
        for Errand { rank, task, peers } in made.errands.clone() {
            let order = Order { number, plane: 0, kind: made.kind, task, peers };
            let line = Line { order, report: made.reports[&rank].clone() };
            parts[rank as usize] += &(serde_json::to_string(&line).unwrap() + "\n");
        }
        whole.take_in(made);
    }
    let parts: Vec<Part> = parts.iter().map(|text| Part::read(text).unwrap()).collect();
    let mut merged = ledger(4);
    assert_eq!(put_together(&mut merged, &parts), 0);
    let (merged, whole) = (merged.doc, judged(whole));
    assert_eq!(merged.planes, whole.planes);
    assert_eq!((&merged.suspects, &merged.ranks), (&whole.suspects, &whole.ranks));
    assert_eq!(merged.rounds.len(), 10);
    // And a part of which no mesh can be.
    for odd in ["", "{}", "7"] {
        assert!(Part::read(odd).is_err(), "{odd}");
    }
}
