//! Streams, ping-pongs, requests and reachability: rates in one table, times in another.

use std::collections::BTreeMap;

use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{Direction, FollowUp, Interval, LaneResult, LatencySummary, ResultDoc, Step, StepKind};

use crate::layout::{Line, sparkline, table};

const SPARK_COLUMNS: usize = 16;

pub(super) fn rates(doc: &ResultDoc) -> Vec<Line> {
    // A run that was made to explain another one has no figure of its own.
    let streams =
        doc.steps.iter().filter(|s| s.kind == StepKind::Stream && s.follows_up != Some(FollowUp::Cause));
    let rows: Vec<_> = streams.flat_map(rate_rows).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let header = ["THROUGHPUT", "GOODPUT", "WORST SECOND", "RESENT", "CPU C/S", "OVER TIME"];
    let mut lines = table(&header, rows, &[5]);
    lines.push(
        "Out is from client to server. Resent: TCP segments. CPU C/S: cores busy at client and server."
            .into(),
    );
    lines
}

fn rate_rows(step: &Step) -> Vec<Vec<String>> {
    let summary = &step.summary;
    let cpu = |ns: Option<u64>| match (ns, summary.window_ns) {
        (Some(ns), Some(window)) if window > 0 => format!("{:.2}", ns as f64 / window as f64),
        _ => "-".into(),
    };
    let mut rows = vec![vec![
        step.name.clone(),
        rate(summary.goodput_bits_per_s),
        rate(summary.goodput_worst_second_bits_per_s),
        summary.retransmits.map_or("-".into(), |n| n.to_string()),
        format!("{}/{}", cpu(summary.cpu_client_ns), cpu(summary.cpu_server_ns)),
        match step.error {
            None => sparkline(&over_time(step), SPARK_COLUMNS),
            Some(_) => format!("{} stopped", sparkline(&over_time(step), SPARK_COLUMNS / 2)),
        },
    ]];
    if step.direction == Some(Direction::Both) {
        for (name, goodput, worst) in [
            ("  of that out", summary.goodput_out_bits_per_s, summary.goodput_worst_second_out_bits_per_s),
            ("  of that in", summary.goodput_in_bits_per_s, summary.goodput_worst_second_in_bits_per_s),
        ] {
            rows.push(vec![name.into(), rate(goodput), rate(worst)]);
        }
    }
    rows
}

fn rate(bits_per_s: Option<u64>) -> String {
    bits_per_s.map_or("-".into(), |bits| BitsPerSecond(bits).to_string())
}

/// What arrived in each slice of the window, per second, over all lanes and both ends.
fn over_time(step: &Step) -> Vec<u64> {
    let mut slices: BTreeMap<u64, u64> = BTreeMap::new();
    for interval in &step.intervals {
        // The last slice of a window may be cut short; one that is hardly there would be a bar by chance.
        if interval.length_ns < 50_000_000 {
            continue;
        }
        let per_s = u128::from(carried(step, interval)) * 1_000_000_000 / u128::from(interval.length_ns);
        let slice = slices.entry(interval.start_ns).or_default();
        *slice = slice.saturating_add(u64::try_from(per_s).unwrap_or(u64::MAX));
    }
    slices.into_values().collect()
}

/// What the end of a lane that counts its payload counted in a slice: the receiver, and by one-sided verbs the end that
/// wrote or read, because the other takes no part and would look like a stall.
fn carried(step: &Step, interval: &Interval) -> u64 {
    let own = |lane: &&LaneResult| lane.end == interval.end && Some(lane.lane) == interval.lane;
    match step.lanes.iter().find(own).map(|lane| lane.role.as_str()) {
        Some("write") => interval.sent_bytes,
        Some("send" | "target") => 0,
        _ => interval.received_bytes,
    }
}

pub(super) fn latencies(doc: &ResultDoc) -> Vec<Line> {
    let rows: Vec<_> = doc.steps.iter().flat_map(latency_rows).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    table(&["ROUND TRIP", "P50", "P99", "P99.9", "MAX", "SAMPLES"], rows, &[])
}

fn latency_rows(step: &Step) -> Vec<Vec<String>> {
    let summary = &step.summary;
    match step.kind {
        StepKind::Reach | StepKind::Pingpong => vec![latency_row(named(step), summary.rtt_ns)],
        StepKind::Request => {
            let load = summary.load.as_deref().unwrap_or("closed");
            let service = summary.service_ns.or(summary.rtt_ns);
            let mut rows = vec![latency_row(format!("{} ({load} loop), service", named(step)), service)];
            if summary.response_ns.is_some() {
                rows.push(latency_row("  response, from the intended start".into(), summary.response_ns));
            }
            rows
        }
        _ => Vec::new(),
    }
}

fn latency_row(name: String, times: Option<LatencySummary>) -> Vec<String> {
    let Some(times) = times.filter(|t| t.count > 0) else {
        return vec![name, "-".into(), "-".into(), "-".into(), "-".into(), "0".into()];
    };
    // A percentile that no sample lies beyond is the maximum under another name.
    let at = |ns: u64, needed: u64| {
        if times.count >= needed { Nanoseconds(ns).to_string() } else { "-".into() }
    };
    let beyond = if times.saturated > 0 { "≥ " } else { "" };
    vec![
        name,
        Nanoseconds(times.p50).to_string(),
        at(times.p99, 100),
        at(times.p999, 1000),
        format!("{beyond}{}", Nanoseconds(times.max)),
        times.count.to_string(),
    ]
}

fn named(step: &Step) -> String {
    match step.error {
        Some(_) => format!("{} (stopped)", step.name),
        None => step.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sided_verbs_are_drawn_by_the_end_that_counts() {
        for (role, other, sent, received) in
            [("write", "target", 7, 0), ("read", "target", 0, 7), ("send", "receive", 7, 0)]
        {
            let mut step = Step::new(StepKind::Stream, role);
            let lane = |end: &str, role: &str| LaneResult {
                end: end.into(),
                role: role.into(),
                ..LaneResult::default()
            };
            step.lanes = vec![lane("client", role), lane("server", other)];
            let slice = |end: &str, start: u64, sent_bytes, received_bytes| Interval {
                end: end.into(),
                lane: Some(0),
                start_ns: start,
                length_ns: 100_000_000,
                sent_bytes,
                received_bytes,
                ..Interval::default()
            };
            let arrives = if other == "receive" { 7 } else { 0 };
            step.intervals = vec![
                slice("client", 0, sent, received),
                slice("client", 100_000_000, sent, received),
                slice("server", 0, 0, arrives),
                slice("server", 100_000_000, 0, arrives),
            ];
            assert_eq!(over_time(&step), [70, 70], "{role}");
        }
    }
}
