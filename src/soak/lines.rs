//! A soak where there is no screen: a line for each event, and one a minute that says how things are.

use pathproof_model::soak::{Soak, SoakFigures};
use pathproof_model::units::Nanoseconds;

use crate::terminal;

/// How often things are said where nothing happens, in ns.
const SAID_NS: u64 = 60_000_000_000;

/// The lines.
pub struct Lines {
    events: u64,
    due_ns: u64,
}

impl Lines {
    pub fn new() -> Lines {
        Lines { events: 0, due_ns: SAID_NS }
    }

    /// Says what is new.
    pub fn show(&mut self, soak: &Soak) {
        let all: u64 = soak.counts.values().sum();
        let new = (all - self.events) as usize;
        self.events = all;
        for event in &soak.events[soak.events.len().saturating_sub(new)..] {
            terminal::say(format_args!("{} {}: {}", event.at, event.kind.word(), event.text));
        }
        if soak.elapsed_ns >= self.due_ns {
            self.due_ns = soak.elapsed_ns.saturating_add(SAID_NS);
            terminal::say(summary(soak));
        }
    }
}

/// How things are, on a line.
pub fn summary(soak: &Soak) -> String {
    let watched = format!("watched for {}", Nanoseconds(soak.elapsed_ns));
    [vec![watched], answers(&soak.total), away(&soak.total)].concat().join(", ")
}

/// What was lost, and how long answers took.
pub fn answers(total: &SoakFigures) -> Vec<String> {
    let lost = (total.sent > 0).then(|| format!("{} of {} datagrams lost", total.lost, total.sent));
    let response = total.response_ns.map(|times| {
        let (median, most) = (Nanoseconds(times.p50_max), Nanoseconds(times.p99_max));
        format!("response {median} (99 of 100 within {most})")
    });
    [lost, response].into_iter().flatten().collect()
}

/// How long the peer was away, where it was.
pub fn away(total: &SoakFigures) -> Vec<String> {
    (total.away_ns > 0).then(|| format!("away for {}", Nanoseconds(total.away_ns))).into_iter().collect()
}
