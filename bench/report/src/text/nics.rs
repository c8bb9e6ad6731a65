//! What each NIC carried, by its lanes' count and by its own, and what the loss of one did.

use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{AloneSum, Failover, NicShare, ResultDoc, Step};

use crate::layout::{Line, hanging, heading, table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    let rows: Vec<_> = doc.steps.iter().flat_map(step_rows).collect();
    let mut lines = if rows.is_empty() {
        Vec::new()
    } else {
        let header = ["NICS", "END", "CONNECTIONS", "LANES SENT/RECEIVED", "NIC COUNTED", "SHARE"];
        table(&header, rows, &[1])
    };
    for step in &doc.steps {
        if let Some(alone) = &step.detail.alone {
            lines.extend(hanging("", &one_by_one(step, alone)));
        }
        if let Some(failover) = &step.detail.failover {
            lines.extend(failed(step, failover));
        }
    }
    lines
}

fn step_rows(step: &Step) -> Vec<Vec<String>> {
    let Some(nics) = &step.detail.nics else { return Vec::new() };
    let total = |end: &str| -> u64 { nics.iter().filter(|n| n.end == end).map(carried).sum() };
    let row = |nic: &NicShare| {
        let both = |sent: u64, received: u64| format!("{}/{}", Bytes(sent), Bytes(received));
        let counted = match (nic.nic_sent_bytes, nic.nic_received_bytes) {
            (Some(sent), Some(received)) => both(sent, received),
            _ => "unknown".into(),
        };
        let share = match total(&nic.end) {
            0 => "-".into(),
            total => format!("{:.1} %", carried(nic) as f64 * 100.0 / total as f64),
        };
        vec![
            nic.nic.clone(),
            nic.end.clone(),
            nic.connections.to_string(),
            both(nic.lane_sent_bytes, nic.lane_received_bytes),
            counted,
            share,
        ]
    };
    let mut rows = vec![vec![step.name.clone()]];
    rows.extend(nics.iter().map(row));
    rows
}

fn one_by_one(step: &Step, alone: &AloneSum) -> String {
    let rate = |bits: Option<u64>| bits.map_or("unknown".into(), |bits| BitsPerSecond(bits).to_string());
    let each: Vec<String> =
        alone.each.iter().map(|one| format!("{} {}", one.nic, rate(one.goodput_bits_per_s))).collect();
    let share = alone.share_of_sum.map_or(String::new(), |share| format!(", {:.1} % of it", share * 100.0));
    let off = alone.imbalance.map_or(String::new(), |off| {
        format!("; no NIC's part was more than {:.1} % of the whole away from its own", off * 100.0)
    });
    let together = rate(step.summary.goodput_bits_per_s);
    let sum = rate(alone.sum_bits_per_s);
    format!("{}: alone {}, in sum {sum}; together {together}{share}{off}.", step.name, each.join(", "))
}

fn carried(nic: &NicShare) -> u64 {
    nic.lane_sent_bytes + nic.lane_received_bytes
}

fn failed(step: &Step, failover: &Failover) -> Vec<Line> {
    let mut lines = vec![Line::default(), heading(format!("FAILOVER in {}", step.name))];
    let nic = failover.nic.as_deref().unwrap_or("a path");
    let at =
        failover.failed_at_ns.map(|ns| format!(" {} into the window", Nanoseconds(ns))).unwrap_or_default();
    lines.extend(hanging(
        "",
        &format!(
            "{nic} was lost{at}; noticed after {}, longest time without progress {}.",
            Nanoseconds(failover.noticed_after_ns),
            Nanoseconds(failover.gap_ns)
        ),
    ));
    let checked = match failover.verified {
        Some(true) => "every byte was checked, and right",
        Some(false) => "BYTES DIFFER",
        None => "bytes were not checked (--verify)",
    };
    lines.extend(hanging(
        "",
        &format!(
            "{} messages ({}) went again over other paths, {} of them needlessly; {} bytes lost, {} doubled; {checked}.",
            failover.replayed_messages,
            Bytes(failover.replayed_bytes),
            failover.duplicates_discarded,
            failover.lost_bytes,
            failover.duplicated_bytes
        ),
    ));
    if let (Some(before), Some(after)) = (failover.before_bits_per_s, failover.after_bits_per_s) {
        let rates = format!("{} before, {} after it.", BitsPerSecond(before), BitsPerSecond(after));
        lines.extend(hanging("", &rates));
    }
    match (failover.recovered_at_ns, failover.carried_again_after_ns) {
        (Some(_), Some(after)) => {
            lines.extend(hanging(
                "",
                &format!("Brought back, it carried again after {}.", Nanoseconds(after)),
            ));
        }
        (Some(_), None) => lines.push("Brought back, it did not carry again.".into()),
        _ => {}
    }
    lines
}
