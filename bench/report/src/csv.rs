//! A tidy table: one row a figure (of a soak, of each part of its time line) or a check and one for the run, one column for each thing that tells rows apart (RFC 4180).

use std::io;

use pathproof_model::ResultDoc;
use pathproof_model::figures::{self, FigureUnit, SoakFigure};

use crate::{Render, Shown, page, plain};

/// A document as a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Csv;

const HEADS: [&str; 15] = [
    "started_at",
    "client",
    "server",
    "step",
    "kind",
    "name",
    "over",
    "direction",
    "flow",
    "local_nic",
    "remote_nic",
    "family",
    "figure",
    "value",
    "unit",
];
/// What a check has besides.
const JUDGED: [&str; 3] = ["limit", "outcome", "text"];

impl Render for Csv {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        row(out, HEADS.iter().chain(&JUDGED).map(|head| (*head).to_owned()))?;
        let [client, server] = [plain::host(doc, 0), plain::host(doc, 1)];
        let run = || [doc.started_at.clone(), client.clone(), server.clone()].map(text);
        for figure in figures::all(doc) {
            let step = figure.step;
            let own = [
                figure.index.to_string(),
                plain::word(step.kind),
                text(step.name.clone()),
                text(step.over.clone().unwrap_or_default()),
                figure.direction.map(|way| way.name().to_owned()).unwrap_or_default(),
                text(figure.flow.unwrap_or_default()),
                text(figure.local_nic.unwrap_or_default()),
                text(figure.remote_nic.unwrap_or_default()),
                figure.family.map(|family| family.to_string()).unwrap_or_default(),
                figure.name.to_owned(),
                figure.value.to_string(),
                figure.unit.to_string(),
            ];
            row(out, run().into_iter().chain(own).chain(JUDGED.map(|_| String::new())))?;
        }
        for (number, slot) in doc.soak.iter().flat_map(|soak| &soak.slots).enumerate() {
            let start = SoakFigure {
                name: "slot_start",
                direction: None,
                value: slot.start_ns as f64 / 1e9,
                unit: FigureUnit::Seconds,
            };
            for figure in std::iter::once(start).chain(figures::of_soak(&slot.figures)) {
                let mut cells: Vec<String> = run().into();
                cells.extend([number.to_string(), "soak".into(), String::new(), String::new()]);
                cells.push(figure.direction.map(|way| way.name().to_owned()).unwrap_or_default());
                cells.extend((0..4).map(|_| String::new()));
                cells.extend([figure.name.to_owned(), figure.value.to_string(), figure.unit.to_string()]);
                row(out, cells.into_iter().chain(JUDGED.map(|_| String::new())))?;
            }
        }
        for verdict in &doc.verdicts {
            for check in &verdict.checks {
                let number =
                    |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
                let mut cells: Vec<String> = run().into();
                cells.extend([String::new(), "check".into(), text(verdict.subject.to_string())]);
                cells.extend((0..6).map(|_| String::new()));
                cells.extend([
                    text(&check.criterion),
                    number(check.measured),
                    check.unit.map(plain::word).unwrap_or_default(),
                    number(check.limit),
                    plain::word(check.outcome),
                    text(&check.text),
                ]);
                row(out, cells)?;
            }
        }
        // The run itself: what ended early has no figure, and must not look like a table of nothing.
        let mut cells: Vec<String> = run().into();
        cells.extend(["", "run", ""].map(str::to_owned));
        cells.extend((0..6).map(|_| String::new()));
        cells.extend(["outcome", "", "", ""].map(str::to_owned));
        cells.extend([plain::word(doc.outcome), text(page::answer(doc).text.as_str())]);
        row(out, cells)
    }
}

/// Text from outside: no control character, and nothing that a spreadsheet would take for a formula.
fn text(text: impl AsRef<str>) -> String {
    let shown = Shown::new(text).into_string();
    if shown.starts_with(['=', '+', '-', '@']) { format!("'{shown}") } else { shown }
}

fn row(out: &mut dyn io::Write, cells: impl IntoIterator<Item = String>) -> io::Result<()> {
    let quoted = |cell: String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    };
    let cells: Vec<String> = cells.into_iter().map(quoted).collect();
    write!(out, "{}\r\n", cells.join(","))
}

#[cfg(test)]
mod tests {
    use pathproof_model::soak::{Soak, SoakSlot};

    use super::*;

    #[test]
    fn every_row_has_a_cell_for_each_head_a_soak_of_two_slots_included() {
        let mut doc = ResultDoc::new(Default::default(), "2026-11-30T08:00:00Z");
        let slot = |start_ns| SoakSlot { start_ns, ..SoakSlot::default() };
        doc.soak = Some(Soak { slots: vec![slot(0), slot(10_000_000_000)], ..Soak::default() });
        let mut out = Vec::new();
        Csv.render(&doc, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let cells = HEADS.len() + JUDGED.len();
        assert!(rows[..7].iter().all(|row| row.len() == cells), "{text}");
        let of = |row: usize| (rows[row][3], rows[row][4], rows[row][12], rows[row][13], rows[row][14]);
        assert_eq!(of(4), ("1", "soak", "slot_start", "10", "seconds"));
        assert_eq!(of(5), ("1", "soak", "away", "0", "seconds"));
        assert_eq!((rows[7][4], rows[7][12], rows.len()), ("run", "outcome", 8));
    }

    #[test]
    fn what_comes_from_outside_stays_one_cell_and_no_formula() {
        let mut out = Vec::new();
        row(&mut out, [text("=cmd|' /C calc'!A0"), text("a,\"b\"\n"), text("eth0")]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "'=cmd|' /C calc'!A0,\"a,\"\"b\"\"\\n\",eth0\r\n");
    }
}
