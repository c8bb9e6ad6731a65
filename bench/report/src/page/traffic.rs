//! Streams, ping-pongs, requests and reachability: rates in one table, times in another.

use std::collections::BTreeMap;

use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{Direction, FollowUp, Interval, LaneResult, LatencySummary, ResultDoc, Step, StepKind};

use super::{Block, Cell, Column, Row, Table};

/// A row of the table of rates: a step, or one direction of it.
struct Rate<'a> {
    step: &'a Step,
    /// `None`: the step as a whole.
    part: Option<Part>,
}

struct Part {
    name: &'static str,
    goodput: Option<u64>,
    worst_second: Option<u64>,
}

pub(super) fn rates(doc: &ResultDoc) -> Vec<Block> {
    // A run that was made to explain another one has no figure of its own.
    let streams =
        doc.steps.iter().filter(|s| s.kind == StepKind::Stream && s.follows_up != Some(FollowUp::Cause));
    let columns: [Column<Rate>; 6] = [
        Column::words("THROUGHPUT", |row| match &row.part {
            None => Cell::of(&row.step.name),
            Some(part) => Cell::of(part.name),
        }),
        Column::figures("GOODPUT", |row| {
            let whole = row.step.summary.goodput_bits_per_s;
            Cell::known(row.part.as_ref().map_or(whole, |part| part.goodput).map(BitsPerSecond))
        }),
        Column::figures("WORST SECOND", |row| {
            let whole = row.step.summary.goodput_worst_second_bits_per_s;
            Cell::known(row.part.as_ref().map_or(whole, |part| part.worst_second).map(BitsPerSecond))
        }),
        Column::figures("RETRANS", |row| row.whole(|step| Cell::known(step.summary.retransmits))),
        Column::figures("CPU C/S", |row| row.whole(|step| Cell::of(cores(step)))),
        Column::words("OVER TIME", |row| {
            row.whole(|step| Cell::Bars { values: over_time(step), stopped: step.error.is_some() })
        }),
    ];
    let Some(table) = Table::new(&columns, streams.flat_map(rate_rows)) else { return Vec::new() };
    let legend =
        "Out: client to server. Retrans: TCP segments sent again. CPU C/S: cores busy at client and server.";
    vec![Block::Table(table), Block::paragraph(legend)]
}

impl Rate<'_> {
    /// What only the step as a whole has.
    fn whole(&self, cell: impl Fn(&Step) -> Cell) -> Cell {
        if self.part.is_none() { cell(self.step) } else { Cell::Empty }
    }
}

fn rate_rows(step: &Step) -> Vec<Row<Rate<'_>>> {
    let summary = &step.summary;
    let mut rows = vec![Row::One(Rate { step, part: None })];
    if step.direction == Some(Direction::Both) {
        for (name, goodput, worst_second) in [
            ("of that out", summary.goodput_out_bits_per_s, summary.goodput_worst_second_out_bits_per_s),
            ("of that in", summary.goodput_in_bits_per_s, summary.goodput_worst_second_in_bits_per_s),
        ] {
            rows.push(Row::Part(Rate { step, part: Some(Part { name, goodput, worst_second }) }));
        }
    }
    rows
}

fn cores(step: &Step) -> String {
    let summary = &step.summary;
    let cores = |ns: Option<u64>| match (ns, summary.window_ns) {
        (Some(ns), Some(window)) if window > 0 => format!("{:.2}", ns as f64 / window as f64),
        _ => "-".into(),
    };
    format!("{}/{}", cores(summary.cpu_client_ns), cores(summary.cpu_server_ns))
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

/// A row of the table of times.
struct Times {
    name: String,
    /// `None`: no sample.
    times: Option<LatencySummary>,
}

pub(super) fn latencies(doc: &ResultDoc) -> Vec<Block> {
    let columns: [Column<Times>; 6] = [
        Column::words("ROUND TRIP", |row| Cell::of(&row.name)),
        Column::figures("P50", |row| row.at(1, |times| times.p50)),
        // A percentile that no sample lies beyond is the maximum under another name.
        Column::figures("P99", |row| row.at(100, |times| times.p99)),
        Column::figures("P99.9", |row| row.at(1000, |times| times.p999)),
        Column::figures("MAX", |row| {
            Cell::known(row.times.map(|times| {
                let beyond = if times.saturated > 0 { "≥ " } else { "" };
                format!("{beyond}{}", Nanoseconds(times.max))
            }))
        }),
        Column::figures("SAMPLES", |row| Cell::of(row.times.map_or(0, |times| times.count))),
    ];
    let table = Table::new(&columns, doc.steps.iter().flat_map(latency_rows));
    table.map(Block::Table).into_iter().collect()
}

impl Times {
    fn new(name: String, times: Option<LatencySummary>) -> Times {
        Times { name, times: times.filter(|times| times.count > 0) }
    }

    /// A figure that needs so many samples.
    fn at(&self, needed: u64, figure: fn(&LatencySummary) -> u64) -> Cell {
        let times = self.times.as_ref().filter(|times| times.count >= needed);
        Cell::known(times.map(figure).map(Nanoseconds))
    }
}

fn latency_rows(step: &Step) -> Vec<Row<Times>> {
    let summary = &step.summary;
    match step.kind {
        StepKind::Reach | StepKind::Pingpong => vec![Row::One(Times::new(named(step), summary.rtt_ns))],
        StepKind::Request => {
            let load = summary.load.as_deref().unwrap_or("closed");
            let service = summary.service_ns.or(summary.rtt_ns);
            let name = format!("{} ({load} loop), service", named(step));
            let mut rows = vec![Row::One(Times::new(name, service))];
            if summary.response_ns.is_some() {
                let name = "response, from the intended start".into();
                rows.push(Row::Part(Times::new(name, summary.response_ns)));
            }
            rows
        }
        StepKind::Facts | StepKind::Mtu | StepKind::Loss | StepKind::Stream | StepKind::Migrate => Vec::new(),
    }
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
