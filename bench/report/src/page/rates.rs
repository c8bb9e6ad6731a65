//! The packet rates at which loss begins, and the receive buffers with which one holds, way by way.

use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{LossPlace, PacketBuffer, PacketPath, PacketRate, ResultDoc};

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
    let rates = Table::new(&columns, doc.packet_rates.iter().map(Row::One)).map(Block::Table);
    rates.into_iter().chain(paths(&doc.packet_rates)).chain(buffers(doc)).collect()
}

/// By which paths the packets left one host and came into the other.
fn paths(rates: &[PacketRate]) -> Option<Block> {
    let words = |path: &PacketPath| format!("{} ({})", path.through.join(" over "), path.kind.words());
    let told = rates.iter().filter_map(|rate| {
        let (from, to) = rate.sender_path.as_ref().zip(rate.receiver_path.as_ref())?;
        Some(format!(
            "Packets {} leave by {} and arrive by {}.",
            rate.direction.name(),
            words(from),
            words(to)
        ))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| Block::paragraph(told.join(" ")))
}

/// The buffers with which a rate holds, and what has to allow them.
fn buffers(doc: &ResultDoc) -> Vec<Block> {
    let columns: [Column<&PacketBuffer>; 6] = [
        Column::words("BUFFER FOR", |buffer| {
            Cell::of(format!("{} packets/s {}", buffer.packets_per_s, buffer.direction.name()))
        }),
        Column::figures("RECEIVER SLEEPS", |buffer| {
            buffer.receiver_sleeps_ns.map_or(Cell::of("never"), |ns| Cell::of(Nanoseconds(ns)))
        }),
        Column::figures("HOLDS WITH", |buffer| match (buffer.holds_bytes, buffer.sender_fell_short) {
            (_, true) => Cell::of("the sender sends less"),
            (Some(holds), _) => Cell::of(size(holds)),
            (None, _) => Cell::of("none there is"),
        }),
        Column::figures("LOSES WITH", |buffer| {
            buffer.loses_bytes.map_or(Cell::of("none tried"), |loses| Cell::of(size(loses)))
        }),
        Column::words("LOST WHERE", |buffer| match (buffer.lost, buffer.place) {
            (0, _) => Cell::Empty,
            (_, place) => Cell::known(place.map(LossPlace::words)),
        }),
        Column::figures("TRIALS", |buffer| Cell::of(buffer.trials.len())),
    ];
    let Some(table) = Table::new(&columns, doc.packet_buffers.iter().map(Row::One)) else { return vec![] };
    let mut blocks = vec![Block::Table(table)];
    if let Some(most) = doc.packet_buffers.iter().filter_map(|buffer| buffer.holds_bytes).max() {
        blocks.push(Block::paragraph(format!(
            "The receiving application asks for that buffer (SO_RCVBUF), and sysctl net.core.rmem_max has to allow {most} bytes. What is lost elsewhere, no buffer of \
             a socket holds: ethtool -G NIC rx N (in a virtual machine of Hyper-V the VMBus receive buffer), net.core.netdev_max_backlog."
        )));
    }
    blocks
}

fn size(bytes: u32) -> Bytes {
    Bytes(bytes.into())
}
