//! What each layer between the wire and a file on a share carries.

use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Branch, Carrier, Direction, ResultDoc, Rung, RungName};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let columns: [Column<&Rung>; 5] = [
        Column::words("LADDER", |rung| Cell::of(name(rung))),
        Column::words("WAY", |rung| Cell::of(way(rung))),
        Column::figures("GOODPUT", |rung| Cell::known(rung.goodput_bits_per_s.map(BitsPerSecond))),
        Column::figures("OF THE RUNG BELOW", |rung| {
            Cell::known(rung.share_of_below.map(|share| format!("{:.0} %", share * 100.0)))
        }),
        Column::words("CARRIED BY", |rung| {
            Cell::known(rung.proof.as_ref().map(|proof| carried(proof.carried_by)))
        }),
    ];
    let Some(table) = Table::new(&columns, doc.ladder.iter().map(Row::One)) else { return Vec::new() };
    let mut blocks = vec![Block::Table(table)];
    // What holds both ways is said once.
    let mut told: Vec<(String, &str)> = Vec::new();
    for rung in &doc.ladder {
        let Some(reason) = rung.reason.as_deref() else { continue };
        let line = (name(rung), reason);
        if !told.contains(&line) {
            blocks.push(Block::note(&line.0, reason));
            told.push(line);
        }
    }
    blocks
}

fn name(rung: &Rung) -> String {
    match (rung.rung, rung.branch) {
        (RungName::Wire, Branch::Tcp) => "wire, less headers of TCP",
        (RungName::Wire, Branch::Rdma) => "wire, less headers of RDMA",
        (RungName::Tcp, _) => "TCP",
        (RungName::SmbTcp, _) => "files over one TCP connection",
        (RungName::SmbMultichannel, _) => "files over Multichannel",
        (RungName::Verbs, _) if rung.direction == Direction::Out => "RDMA READ by the server",
        (RungName::Verbs, _) => "RDMA WRITE by the server",
        (RungName::SmbDirectFrames, _) => "SMB Direct messages",
        (RungName::SmbDirect, _) => "files over SMB Direct",
    }
    .into()
}

fn way(rung: &Rung) -> &'static str {
    match rung.direction {
        Direction::Out => "written",
        Direction::In => "read",
        Direction::Both => "both ways",
    }
}

fn carried(by: Carrier) -> &'static str {
    match by {
        Carrier::Rdma => "RDMA",
        Carrier::Tcp => "TCP",
        Carrier::Unknown => "not proven",
    }
}
