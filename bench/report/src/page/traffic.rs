//! Streams, ping-pongs, requests and reachability: rates in one table, times in another.

use std::collections::BTreeMap;

use pathproof_model::units::{BitsPerSecond, Nanoseconds};
use pathproof_model::{FollowUp, LatencySummary, Pattern, ResultDoc, Series, Step, StepKind, Summary};

use super::{Block, Cell, Column, Row, Table};

/// A row of the table of rates: a step, or one of several flows of it.
struct Rate<'a> {
    step: &'a Step,
    /// `None`: the step as a whole.
    part: Option<Part>,
}

struct Part {
    name: String,
    goodput: Option<u64>,
    worst_second: Option<u64>,
}

pub(super) fn rates(doc: &ResultDoc) -> Vec<Block> {
    // A run that was made to explain another one has no figure of its own.
    let streams = doc.steps.iter().filter(|s| {
        s.kind.traits().bulk
            && s.follows_up != Some(FollowUp::Cause)
            && s.follows_up != Some(FollowUp::Yardstick)
            && s.follows_up != Some(FollowUp::Search)
    });
    let columns: [Column<Rate>; 6] = [
        Column::words("THROUGHPUT", |row| match &row.part {
            None => Cell::of(&row.step.name),
            Some(part) => Cell::of(&part.name),
        }),
        Column::figures("GOODPUT", |row| {
            let whole = row.step.total(|flow| flow.goodput_bits_per_s);
            Cell::known(row.part.as_ref().map_or(whole, |part| part.goodput).map(BitsPerSecond))
        }),
        Column::figures("WORST SECOND", |row| {
            // Seconds of several flows are counted on several clocks, and have no common worst one.
            let whole = if row.step.parts().len() > 1 {
                None
            } else {
                row.step.summary.goodput_worst_second_bits_per_s
            };
            Cell::known(row.part.as_ref().map_or(whole, |part| part.worst_second).map(BitsPerSecond))
        }),
        Column::figures("RETRANS", |row| row.whole(|step| Cell::known(step.total(|flow| flow.retransmits)))),
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
    let mut rows = vec![Row::One(Rate { step, part: None })];
    for (name, summary) in step.parts() {
        let Some(name) = name else { continue };
        let part = Part {
            name: format!("of that {name}"),
            goodput: summary.goodput_bits_per_s,
            worst_second: summary.goodput_worst_second_bits_per_s,
        };
        rows.push(Row::Part(Rate { step, part: Some(part) }));
    }
    let streams = step.beside().filter(|flow| matches!(flow.pattern, Pattern::Stream { .. }));
    rows.extend(streams.map(|flow| {
        let part = Part {
            name: format!("beside it {}", flow.name),
            goodput: flow.summary.goodput_bits_per_s,
            worst_second: None,
        };
        Row::Part(Rate { step, part: Some(part) })
    }));
    rows
}

fn cores(step: &Step) -> String {
    let window = step.parts().iter().filter_map(|(_, part)| part.window_ns).max();
    let cores = |ns: Option<u64>| match (ns, window) {
        (Some(ns), Some(window)) if window > 0 => format!("{:.2}", ns as f64 / window as f64),
        _ => "-".into(),
    };
    format!(
        "{}/{}",
        cores(step.total(|flow| flow.cpu_client_ns)),
        cores(step.total(|flow| flow.cpu_server_ns))
    )
}

/// What arrived in each slice of the window, per second, over all flows.
fn over_time(step: &Step) -> Vec<u64> {
    let mut slices: BTreeMap<u64, u64> = BTreeMap::new();
    for slice in step.own_series().flat_map(Series::carried) {
        // The last slice of a window may be cut short; one that is hardly there would be a bar by chance.
        if slice.length_ns < 50_000_000 {
            continue;
        }
        let per_s = u128::from(slice.bytes) * 1_000_000_000 / u128::from(slice.length_ns);
        let sum = slices.entry(slice.start_ns).or_default();
        *sum = sum.saturating_add(u64::try_from(per_s).unwrap_or(u64::MAX));
    }
    slices.into_values().collect()
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
    let own = step.parts().into_iter().flat_map(|(flow, summary)| flow_rows(step, flow, summary));
    // Of classes that share a path the table of their phases tells all.
    if step.kind.traits().classes {
        return Vec::new();
    }
    // Round trips beside others: of those who ask, the service time.
    let beside = step.beside().filter(|flow| !matches!(flow.pattern, Pattern::Stream { .. })).map(|flow| {
        let name = format!("{} beside {}", flow.name, named(step));
        Row::One(Times::new(name, flow.summary.rtt_ns))
    });
    own.chain(beside).collect()
}

fn flow_rows(step: &Step, flow: Option<&str>, summary: &Summary) -> Vec<Row<Times>> {
    let name = flow.map_or_else(|| named(step), |flow| format!("{}, {flow}", named(step)));
    match step.kind {
        StepKind::Reach | StepKind::Pingpong => vec![Row::One(Times::new(name, summary.rtt_ns))],
        StepKind::Request => {
            let load = summary.load.as_deref().unwrap_or("closed");
            let service = summary.service_ns.or(summary.rtt_ns);
            let mut rows = vec![Row::One(Times::new(format!("{name} ({load} loop), service"), service))];
            if summary.response_ns.is_some() {
                let name = "response, from the intended start".into();
                rows.push(Row::Part(Times::new(name, summary.response_ns)));
            }
            rows
        }
        StepKind::Facts
        | StepKind::Mtu
        | StepKind::Loss
        | StepKind::Ports
        | StepKind::Stream
        | StepKind::Migrate => Vec::new(),
        StepKind::Smb | StepKind::Channels | StepKind::File => Vec::new(),
        StepKind::Networks | StepKind::Contend => Vec::new(),
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
    use pathproof_model::{End, Interval, LaneResult, LaneRole, series};

    #[test]
    fn one_sided_verbs_are_drawn_by_the_end_that_counts() {
        for (role, other, sent, received) in [
            (LaneRole::Write, LaneRole::Target, 7, 0),
            (LaneRole::Read, LaneRole::Target, 0, 7),
            (LaneRole::Send, LaneRole::Receive, 7, 0),
        ] {
            let mut step = Step::new(StepKind::Stream, "stream");
            let lane = |end: End, role| LaneResult { end, role, ..LaneResult::default() };
            step.lanes = vec![lane(End::Client, role), lane(End::Server, other)];
            let slice = |end: End, start: u64, sent_bytes, received_bytes| Interval {
                end,
                lane: Some(0),
                start_ns: start,
                length_ns: 100_000_000,
                sent_bytes,
                received_bytes,
                ..Interval::default()
            };
            let arrives = if other == LaneRole::Receive { 7 } else { 0 };
            let intervals = [
                slice(End::Client, 0, sent, received),
                slice(End::Client, 100_000_000, sent, received),
                slice(End::Server, 0, 0, arrives),
                slice(End::Server, 100_000_000, 0, arrives),
            ];
            step.series = series::sum(&step.lanes, &intervals);
            assert_eq!(over_time(&step), [70, 70], "{role:?}");
        }
    }
}
