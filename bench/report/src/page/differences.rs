//! What both hosts are set to differently: what matters as a table, the rest in one line.

use pathproof_model::{HostDifference, ResultDoc, Weight};

use super::{Block, Cell, Column, Fact, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let all = doc.differences.as_deref().unwrap_or_default();
    let columns: [Column<&HostDifference>; 5] = [
        Column::words("HOSTS DIFFER IN", |one| {
            let nics = one.nics.iter().map(|[own, other]| format!(" of {own} - {other}"));
            Cell::of(format!("{}{}", one.fact, nics.collect::<String>()))
        }),
        Column::words("HERE", |one| Cell::of(&one.here)),
        Column::words("THERE", |one| Cell::of(&one.there)),
        Column::words("WEIGHT", |one| Cell::of(one.weight.word())),
        Column::words("WHICH MEANS", |one| Cell::of(&one.why)),
    ];
    let matters = |one: &&HostDifference| one.weight != Weight::Harmless;
    let table = Table::new(&columns, all.iter().filter(matters).map(Row::One));
    let mut blocks: Vec<Block> = table.map(Block::Table).into_iter().collect();
    let harmless: Vec<String> = all
        .iter()
        .filter(|one| one.weight == Weight::Harmless)
        .map(|one| format!("{} {} / {}", one.fact, one.here, one.there))
        .collect();
    if !harmless.is_empty() {
        blocks.push(Block::List(vec![Fact::new("hosts differ harmlessly", harmless.join(", "))]));
    }
    blocks
}
