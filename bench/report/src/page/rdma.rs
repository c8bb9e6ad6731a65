//! Whether the bytes of a step really went over RDMA: what the devices counted against what was sent.

use pathproof_model::units::Bytes;
use pathproof_model::{Carrier, RdmaEnd, RdmaProof, ResultDoc};

use super::{Block, Cell, Column, Row, Table};

/// A row: one end of a step, whose name and proof stand in the first of its rows.
struct Evidence<'a> {
    step: Option<(&'a str, &'a RdmaProof)>,
    end: Option<&'a RdmaEnd>,
}

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let proofs: Vec<_> =
        doc.steps.iter().filter_map(|s| Some((s.name.as_str(), s.detail.proof.as_ref()?))).collect();
    let columns: [Column<Evidence>; 6] = [
        Column::words("CARRIED BY RDMA", |row| row.step.map_or(Cell::Empty, |(name, _)| Cell::of(name))),
        Column::words("PROVEN", |row| row.step.map_or(Cell::Empty, |(_, proof)| Cell::of(proven(proof)))),
        Column::words("DEVICE", |row| row.of_end(|end| Cell::of(format!("{} {}", end.end, end.device)))),
        Column::figures("PATH MTU", |row| row.of_end(|end| Cell::known(end.path_mtu_bytes))),
        Column::figures("DEVICE COUNTED", |row| row.of_end(counted)),
        Column::figures("PAYLOAD", |row| row.of_end(|end| Cell::known(end.application_bytes.map(Bytes)))),
    ];
    let rows = proofs.iter().flat_map(|(name, proof)| rows(name, proof));
    let Some(table) = Table::new(&columns, rows) else { return Vec::new() };
    let mut blocks = vec![Block::Table(table)];
    let doubtful = proofs.iter().filter(|(_, proof)| proof.transport != Carrier::Rdma);
    blocks.extend(doubtful.map(|(name, proof)| Block::note(name, &proof.reason)));
    blocks
}

impl Evidence<'_> {
    fn of_end(&self, cell: fn(&RdmaEnd) -> Cell) -> Cell {
        self.end.map_or(Cell::Empty, cell)
    }
}

fn proven(proof: &RdmaProof) -> &'static str {
    match proof.transport {
        Carrier::Rdma => "yes",
        Carrier::Tcp => "NO, TCP",
        Carrier::Unknown => "NO",
    }
}

fn counted(end: &RdmaEnd) -> Cell {
    match (end.device_bytes, end.device_packets) {
        (Some(bytes), _) => Cell::of(Bytes(bytes)),
        (None, Some(packets)) => Cell::of(format!("{packets} packets")),
        (None, None) => Cell::Unknown,
    }
}

fn rows<'a>(name: &'a str, proof: &'a RdmaProof) -> Vec<Row<Evidence<'a>>> {
    let step = Some((name, proof));
    match proof.ends.as_slice() {
        [] => vec![Row::One(Evidence { step, end: None })],
        ends => ends
            .iter()
            .enumerate()
            .map(|(i, end)| Row::One(Evidence { step: step.filter(|_| i == 0), end: Some(end) }))
            .collect(),
    }
}
