//! Offloads that were turned off one at a time or together, and what arrived meanwhile.

use pathproof_model::units::BitsPerSecond;
use pathproof_model::{End, Offload, OffloadTried, OffloadWay, ResultDoc};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    // What nobody permitted is said below the table, once.
    let (tried, left): (Vec<&OffloadTried>, Vec<&OffloadTried>) =
        doc.offloads.iter().partition(|row| row.off.is_none() || row.restored.is_some());
    let columns: [Column<&OffloadTried>; 7] = [
        Column::words("OFFLOAD OFF", |row| Cell::of(name(row))),
        Column::figures("ARRIVES OUT", |row| rate(&row.outward)),
        Column::figures("BAD SUMS", |row| Cell::known(row.outward.checksum_errors)),
        Column::figures("AGAIN", |row| again(&row.outward)),
        Column::figures("ARRIVES IN", |row| rate(&row.inward)),
        Column::figures("BAD SUMS", |row| Cell::known(row.inward.checksum_errors)),
        Column::figures("AGAIN", |row| again(&row.inward)),
    ];
    let table = Table::new(&columns, tried.into_iter().map(Row::One)).map(Block::Table);
    let mut reasons: Vec<(String, Vec<String>)> = vec![];
    for row in left {
        let (reason, name) = (row.reason.clone().unwrap_or_else(|| "no reason is known".into()), name(row));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    let lines = reasons
        .into_iter()
        .map(|(why, names)| Block::paragraph(format!("Not tried: {}: {why}.", names.join(", "))));
    table.into_iter().chain(lines).collect()
}

/// What was off, where, and what went with it.
fn name(row: &OffloadTried) -> String {
    let (Some(_), Some(end)) = (row.off, row.end) else { return "nothing".into() };
    let off: Vec<&str> = row.all().into_iter().map(Offload::word).collect();
    let at = if end == End::Client { "here" } else { "at the peer" };
    let also: String = row.also_off.iter().map(|also| format!("+{}", also.word())).collect();
    let stopped = if row.reason.is_some() && row.restored.is_some() { " (stopped)" } else { "" };
    format!("{}{also} {at}{stopped}", off.join(" and "))
}

fn rate(way: &OffloadWay) -> Cell {
    Cell::known(way.goodput_bits_per_s.map(BitsPerSecond))
}

fn again(way: &OffloadWay) -> Cell {
    Cell::known(way.sent_again_share.map(|share| format!("{:.1} %", share * 100.0)))
}
