//! File data that moved to and from a share.

use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{FileDetail, FileOver, FileRate, LaneResult, ResultDoc, Step};

use super::{Block, Cell, Column, Row, Table, facts};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    // What could not be measured is a rung of the ladder, which says why.
    let made = |step: &&Step| step.detail.file.as_ref().is_some_and(|file| file.not_possible.is_none());
    let steps = doc.steps.iter().filter(made);
    steps.filter_map(|step| Some(blocks(step, step.detail.file.as_ref()?))).flatten().collect()
}

fn blocks(step: &Step, file: &FileDetail) -> Vec<Block> {
    let mut out = vec![Block::heading(format!("FILE ON {}", file.address))];
    let contents = match step.summary.verified {
        Some(true) => format!("as written, {} compared", Bytes(file.compared_bytes)),
        Some(false) => match file.stale_blocks {
            0 => format!("DIFFERENT in {} places", file.wrong_blocks),
            stale => format!("DIFFERENT in {} places, {stale} of them as before", file.wrong_blocks),
        },
        None => "not compared".into(),
    };
    out.push(Block::Facts(facts([
        ("dialect", file.dialect.clone()),
        ("protection", file.protection.clone()),
        ("contents", contents),
        (
            "file",
            match file.removed {
                Some(true) => "removed".into(),
                Some(false) => format!("{} is still there", file.name),
                None => format!("{}: not known whether it was removed", file.name),
            },
        ),
    ])));
    out.push(Block::Break);
    let rates: [(&str, Option<FileRate>); 2] = [("read", file.read), ("write", file.write)];
    let rows = rates.into_iter().filter_map(|(name, rate)| Some(Row::One((name, rate?))));
    let columns: [Column<(&str, FileRate)>; 6] = [
        Column::words(step.name.to_uppercase(), |row: &(&str, FileRate)| Cell::of(row.0)),
        Column::figures("GOODPUT", |row| Cell::known(row.1.goodput_bits_per_s.map(BitsPerSecond))),
        Column::figures("REQUESTS/S", |row| Cell::known(row.1.iops)),
        Column::figures("P50", |row| Cell::known(row.1.service_ns.map(|times| Nanoseconds(times.p50)))),
        Column::figures("P99", |row| Cell::known(row.1.service_ns.map(|times| Nanoseconds(times.p99)))),
        Column::figures("MAX", |row| Cell::known(row.1.service_ns.map(|times| Nanoseconds(times.max)))),
    ];
    out.extend(Table::new(&columns, rows).map(Block::Table));
    if step.lanes.len() > 1 {
        let columns: [Column<&LaneResult>; 5] = [
            Column::words("CHANNEL", |lane| Cell::known(lane.local.as_ref())),
            Column::words("OVER", |lane| Cell::known(lane.over.map(FileOver::name))),
            Column::words("TO", |lane| Cell::known(lane.remote.as_ref())),
            Column::figures("DATA", |lane| Cell::of(Bytes(lane.bytes))),
            Column::words("END", |lane| match &lane.error {
                Some(error) => Cell::of(&error.message),
                None => Cell::of("in order"),
            }),
        ];
        out.extend(Table::new(&columns, step.lanes.iter().map(Row::One)).map(Block::Table));
    }
    out
}
