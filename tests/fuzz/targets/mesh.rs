//! What ranks of a mesh say to each other, what they keep, and the document: refused, or bounded, judged and shown without a panic. The
//! decoder is bench/engine/src/mesh/message.rs; a report that it lets through goes into a ledger of four ranks, as a lie of one of them.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use pathproof_engine::mesh::kept::{Part, put_together};
use pathproof_engine::mesh::message::{FROM_RANK_BYTES_MAX, Frames, FromRank, Paced, Report, TO_RANK_BYTES_MAX, Task, ToRank};
use pathproof_engine::mesh::{Again, Errand, Ledger, Made, Repeated, analyse};
use pathproof_model::mesh::{MeshDoc, MeshSettings, RoundKind};
use pathproof_report::{mesh, mesh_html, mesh_junit};

/// Answers every question with what the fuzzer wants to hear.
struct Same(Repeated, Option<Paced>);

impl Again for Same {
    fn measure(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        vec![self.0; pairs.len()]
    }

    fn together(&mut self, pairs: &[(usize, usize)]) -> Vec<Repeated> {
        self.measure(pairs)
    }

    fn drip(&mut self, pairs: &[(usize, usize)]) -> Vec<Option<Paced>> {
        vec![self.1; pairs.len()]
    }
}

fn ledger() -> Ledger {
    Ledger::new(MeshDoc::new(4, MeshSettings::default(), &[]))
}

fn show(doc: &mut MeshDoc) {
    doc.conclude();
    let _ = (mesh(doc), mesh_html(doc), mesh_junit(doc));
}

fn lie(report: &Report) {
    let mut ledger = ledger();
    let (honest, again) = (Report::default(), report.told.first());
    let kinds = [
        (RoundKind::Knock, Task::Knock),
        (RoundKind::Reach, Task::Survey),
        (RoundKind::Up, Task::Send),
        (RoundKind::Down, Task::Fetch),
        (RoundKind::Bisect, Task::Exchange),
        (RoundKind::Incast, Task::Gather),
        (RoundKind::Outcast, Task::Spread),
    ];
    for (kind, task) in kinds {
        let errand = |rank: u32| Errand { rank, task, peers: vec![(rank + 1) % 4] };
        let reports = BTreeMap::from([(0, report.clone()), (1, honest.clone())]);
        let errands = (0..4).map(errand).collect();
        ledger.take_in(&Made { kind, plane: 0, errands, reports, started_ns: 0, elapsed_ns: 1 });
    }
    ledger.lose(3, Some(4), "gone".into());
    ledger.name_the_unmeasured(0);
    let figures = ledger.figures(0);
    let found = analyse(&figures.measured(), &mut Same(Repeated::of(again), again.and_then(|told| told.paced)));
    ledger.accuse(0, &figures, found);
    show(&mut ledger.doc);
}

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::new(FROM_RANK_BYTES_MAX);
    for piece in bytes.chunks(7) {
        frames.buffer().extend_from_slice(piece);
        match frames.decode_next::<FromRank>() {
            Ok(Some(FromRank::Report(report))) => lie(&report),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let mut frames = Frames::new(TO_RANK_BYTES_MAX);
    frames.buffer().extend_from_slice(bytes);
    while let Ok(Some(_)) = frames.decode_next::<ToRank>() {}
    // Without the length before it a mutation finds its way inside more easily.
    if let Ok(report) = serde_json::from_slice::<Report>(bytes) {
        lie(&report);
    }
    if let Some(part) = std::str::from_utf8(bytes).ok().and_then(|text| Part::read(text).ok()) {
        let mut ledger = ledger();
        put_together(&mut ledger, &[part]);
        show(&mut ledger.doc);
    }
    if let Ok(Some(mut doc)) = pathproof_model::mesh::read(bytes) {
        show(&mut doc);
    }
});
