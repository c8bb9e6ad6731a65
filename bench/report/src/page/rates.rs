//! The packet rates at which loss begins, way by way.

use pathproof_model::{LossPlace, PacketRate, ResultDoc};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let columns: [Column<&PacketRate>; 6] = [
        Column::words("PACKETS A SECOND", |rate| Cell::of(rate.direction.name())),
        Column::figures("HELD", |rate| Cell::known(rate.lossless_packets_per_s)),
        Column::figures("LOST FROM", |rate| {
            match (rate.lossy_packets_per_s, rate.sender_limit_packets_per_s) {
                (Some(lossy), _) => Cell::of(lossy),
                (None, Some(limit)) => Cell::of(format!("the sender sends {limit}")),
                (None, None) => Cell::of("none tried"),
            }
        }),
        Column::figures("ARRIVE AT MOST", |rate| Cell::known(rate.ceiling_packets_per_s)),
        Column::words("LOST WHERE", |rate| match (rate.lost, rate.place) {
            (0, _) => Cell::Empty,
            (_, place) => Cell::known(place.map(LossPlace::words)),
        }),
        Column::figures("TRIALS", |rate| Cell::of(rate.trials.len())),
    ];
    Table::new(&columns, doc.packet_rates.iter().map(Row::One)).map(Block::Table).into_iter().collect()
}
