//! What each NIC carried, by its lanes' count and by its own, and what the loss of one did.

use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{AloneSum, End, Failover, NicShare, ResultDoc, Step};

use super::{Block, Cell, Column, Row, Table};

/// A row: what one NIC of an end carried, and all of that end together.
struct Carried<'a> {
    nic: &'a NicShare,
    of_bytes: u64,
}

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    fn both(sent: u64, received: u64) -> String {
        format!("{}/{}", Bytes(sent), Bytes(received))
    }
    let columns: [Column<Carried>; 6] = [
        Column::words("NICS", |row| Cell::of(&row.nic.nic)),
        Column::words("END", |row| Cell::of(row.nic.end.name())),
        Column::figures("CONNECTIONS", |row| Cell::of(row.nic.connections)),
        Column::figures("LANES SENT/RECEIVED", |row| {
            Cell::of(both(row.nic.lane_sent_bytes, row.nic.lane_received_bytes))
        }),
        Column::figures("NIC COUNTED", |row| match (row.nic.nic_sent_bytes, row.nic.nic_received_bytes) {
            (Some(sent), Some(received)) => Cell::of(both(sent, received)),
            _ => Cell::of("unknown"),
        }),
        Column::figures("SHARE", |row| match row.of_bytes {
            0 => Cell::Unknown,
            total => Cell::of(format!("{:.1} %", carried(row.nic) as f64 * 100.0 / total as f64)),
        }),
    ];
    let table = Table::new(&columns, doc.steps.iter().flat_map(step_rows));
    let mut blocks: Vec<Block> = table.map(Block::Table).into_iter().collect();
    for step in &doc.steps {
        blocks.extend(step.detail.alone.as_ref().map(|alone| one_by_one(step, alone)));
        blocks.extend(step.detail.failover.iter().flat_map(|failover| failed(step, failover)));
    }
    blocks
}

fn step_rows(step: &Step) -> Vec<Row<Carried<'_>>> {
    let Some(nics) = &step.detail.nics else { return Vec::new() };
    let total = |end: End| -> u64 { nics.iter().filter(|n| n.end == end).map(carried).sum() };
    let rows = nics.iter().map(|nic| Row::One(Carried { nic, of_bytes: total(nic.end) }));
    std::iter::once(Row::Group(step.name.as_str().into())).chain(rows).collect()
}

fn one_by_one(step: &Step, alone: &AloneSum) -> Block {
    let rate = |bits: Option<u64>| bits.map_or("unknown".into(), |bits| BitsPerSecond(bits).to_string());
    let each: Vec<String> =
        alone.each.iter().map(|one| format!("{} {}", one.nic, rate(one.goodput_bits_per_s))).collect();
    let share = alone.share_of_sum.map_or(String::new(), |share| format!(", {:.1} % of it", share * 100.0));
    let off = alone.imbalance.map_or(String::new(), |off| {
        format!("; no NIC's part was more than {:.1} % of the whole away from its own", off * 100.0)
    });
    let together = rate(step.total(|flow| flow.goodput_bits_per_s));
    let sum = rate(alone.sum_bits_per_s);
    let each = each.join(", ");
    Block::paragraph(format!("{}: alone {each}, in sum {sum}; together {together}{share}{off}.", step.name))
}

fn carried(nic: &NicShare) -> u64 {
    nic.lane_sent_bytes + nic.lane_received_bytes
}

fn failed(step: &Step, failover: &Failover) -> Vec<Block> {
    let time =
        |ns: Option<u64>| ns.map_or_else(|| "an unknown time".into(), |ns| Nanoseconds(ns).to_string());
    let mut blocks = vec![Block::Break, Block::heading(format!("FAILOVER in {}", step.name))];
    let nic = failover.nic.as_deref().unwrap_or("a path");
    let at =
        failover.failed_at_ns.map(|ns| format!(" {} into the window", Nanoseconds(ns))).unwrap_or_default();
    blocks.push(Block::paragraph(format!(
        "{nic} was lost{at}; noticed after {}, longest time without progress {}.",
        time(failover.noticed_after_ns),
        time(failover.gap_ns)
    )));
    let checked = match failover.verified {
        Some(true) => "every byte was checked, and right",
        Some(false) => "BYTES DIFFER",
        None => "bytes were not checked (--verify)",
    };
    blocks.push(Block::paragraph(
        format!(
            "{} messages ({}) went again over other paths, {} of them needlessly; {} bytes lost, {} doubled; {checked}.",
            failover.replayed_messages,
            Bytes(failover.replayed_bytes),
            failover.duplicates_discarded,
            failover.lost_bytes.map_or_else(|| "an unknown number of".into(), |bytes| bytes.to_string()),
            failover.duplicated_bytes
        ),
    ));
    if let (Some(before), Some(after)) = (failover.before_bits_per_s, failover.after_bits_per_s) {
        let rates = format!("{} before, {} after it.", BitsPerSecond(before), BitsPerSecond(after));
        blocks.push(Block::paragraph(rates));
    }
    match (failover.recovered_at_ns, failover.carried_again_after_ns) {
        (Some(_), Some(after)) => {
            let text = format!("Brought back, it carried again after {}.", Nanoseconds(after));
            blocks.push(Block::paragraph(text));
        }
        (Some(_), None) => blocks.push(Block::paragraph("Brought back, it did not carry again.")),
        _ => {}
    }
    blocks
}
