//! Heartbeats: which were sent, which came, and how long the longest time was in which none did.

use pathproof_model::contend::BEAT_NS;
use pathproof_model::{BeatsEnd, ContendSpec, PhaseName};

/// A bit for each heartbeat of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beats(Vec<u32>);

impl Beats {
    /// Room for so many.
    pub fn of(count: u64) -> Beats {
        Beats(vec![0; count.div_ceil(32) as usize])
    }

    /// Marks one. A number that the step does not have is ignored.
    pub fn mark(&mut self, number: u64) {
        if let Some(word) = self.0.get_mut((number / 32) as usize) {
            *word |= 1 << (number % 32);
        }
    }

    /// As it crosses.
    pub fn into_words(self) -> Vec<u32> {
        self.0
    }
}

fn has(words: &[u32], number: u64) -> bool {
    words.get((number / 32) as usize).is_some_and(|word| word & (1 << (number % 32)) != 0)
}

/// What became of one direction's heartbeats in one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Sent.
    pub sent: u64,
    /// Of those, not arrived.
    pub lost: u64,
    /// The longest run of lost ones, as the time between those that arrived before and after it, in ns.
    pub longest_gap_ns: u64,
}

/// Counts what `from` sent and `to` received in a phase.
pub fn count(spec: &ContendSpec, phase: PhaseName, from: &BeatsEnd, to: &BeatsEnd) -> Option<Counted> {
    count_within(spec.measured(phase), from, to)
}

/// The same over a stretch of the step. `None` where nothing was sent in it, so nothing is known. What was not sent neither ends a run
/// nor makes it longer: it says nothing about the path.
pub fn count_within((start_ns, end_ns): (u64, u64), from: &BeatsEnd, to: &BeatsEnd) -> Option<Counted> {
    let (mut counted, mut run) = (Counted::default(), 0u64);
    // Before the first and after the last one that a step has there is nothing.
    let most = (from.sent.len() as u64).saturating_mul(32);
    for number in start_ns.div_ceil(BEAT_NS)..end_ns.div_ceil(BEAT_NS).min(most) {
        if !has(&from.sent, number) {
            continue;
        }
        counted.sent += 1;
        run = if has(&to.received, number) { 0 } else { run + 1 };
        counted.lost += u64::from(run > 0);
        counted.longest_gap_ns = counted.longest_gap_ns.max(run.saturating_mul(BEAT_NS));
    }
    (counted.sent > 0).then_some(counted)
}
