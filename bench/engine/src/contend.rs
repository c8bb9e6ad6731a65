//! Classes that share a path: from the flows and heartbeats of a step to phases, what sharing cost, and what to set. Pure.

mod advice;
mod beats;
mod discards;
mod findings;
mod marks;
mod sweep;
#[cfg(test)]
mod tests;

use pathproof_model::{
    BeatsEnd, Class, ClassFigures, ContendCost, ContendDetail, ContendPhase, ContendSpec, Flow, LaneResult,
    Pattern, PhaseName, Step,
};

pub use advice::advice;
pub use beats::{Beats, Counted, count, count_within};
pub use discards::discards;
pub use findings::findings;
pub use marks::{MarksHeard, marks, rdma_marks};
pub use sweep::{best, relate, tried};

/// Fewest answers that a p99 may rest on: the slowest of them is more than the one that nothing lies beyond.
const SAMPLES_MIN: u64 = 200;

/// What a step measured, from its flows as they were merged and the heartbeats of both ends.
pub fn reduce(spec: &ContendSpec, step: &Step, client: &BeatsEnd, server: &BeatsEnd) -> ContendDetail {
    let mut phases: Vec<ContendPhase> = PhaseName::ALL
        .iter()
        .map(|name| {
            let (start_ns, end_ns) = spec.measured(*name);
            let flows = step.flows.iter().filter(|flow| spec.phase_of(flow.active.start_ns) == Some(*name));
            let classes = flows.map(|flow| figures(spec, *name, flow)).collect();
            ContendPhase { name: *name, start_ns, length_ns: end_ns - start_ns, classes }
        })
        .collect();
    for phase in &mut phases {
        shares(&mut phase.classes);
        let (out, back) = (count(spec, phase.name, client, server), count(spec, phase.name, server, client));
        if let Some(beat) = phase.classes.iter_mut().find(|class| class.name == Class::Heartbeat) {
            beats(beat, out, back);
        }
    }
    let mut detail = ContendDetail { phases, ..ContendDetail::default() };
    detail.cost = cost(spec, step, &detail);
    detail.advice = advice(spec, &detail);
    detail.marks = marks(spec, client, server);
    detail
}

fn figures(spec: &ContendSpec, phase: PhaseName, flow: &Flow) -> ClassFigures {
    let (start_ns, end_ns) = spec.measured_of(phase, flow.class);
    let (figures, window_ns) = (&flow.summary, flow.summary.window_ns.filter(|ns| *ns > 0));
    // Storage is what was asked and answered for: its answers are short, and its data lies in the questions.
    let answered = || {
        let bits = u128::from(figures.messages?) * u128::from(spec.storage_bytes) * 8;
        u64::try_from(bits * 1_000_000_000 / u128::from(window_ns?)).ok()
    };
    let (goodput_bits_per_s, asked_bits_per_s) = match (&flow.pattern, flow.class) {
        (Pattern::Stream { .. }, _) => (figures.goodput_bits_per_s, None),
        (_, Class::Storage) => (answered(), asked(&flow.pattern, spec.storage_bytes)),
        _ => (None, None),
    };
    ClassFigures {
        name: flow.class,
        start_ns: Some(start_ns),
        length_ns: Some(end_ns - start_ns),
        goodput_bits_per_s,
        asked_bits_per_s,
        cap_bytes_per_s: spec.caps.of(flow.class).map(|cap| cap.bytes_per_s),
        response_ns: figures.response_ns,
        retransmits: figures.retransmits,
        ..ClassFigures::default()
    }
}

fn asked(pattern: &Pattern, bytes: u64) -> Option<u64> {
    let Pattern::Request { requests_per_s, .. } = pattern else { return None };
    Some(requests_per_s.as_ref()?.saturating_mul(bytes).saturating_mul(8))
}

/// Whether what a class carries is part of what the path carries.
fn carrying(class: &ClassFigures) -> bool {
    class.name != Class::Heartbeat
}

/// Whether all that carry something were measured at the same time: only then do their rates add up to one of the path.
fn at_once(classes: &[ClassFigures]) -> bool {
    let mut spans =
        classes.iter().filter(|class| carrying(class)).map(|class| (class.start_ns, class.length_ns));
    let first = spans.next();
    spans.all(|span| Some(span) == first)
}

/// Each class's part of what all of them carried, where that is known of all.
fn shares(classes: &mut [ClassFigures]) {
    if !at_once(classes) {
        return;
    }
    let rates: Option<Vec<u64>> =
        classes.iter().filter(|class| carrying(class)).map(|class| class.goodput_bits_per_s).collect();
    let sum = rates.unwrap_or_default().into_iter().fold(0, u64::saturating_add);
    for class in classes.iter_mut().filter(|class| carrying(class)) {
        class.share = class.goodput_bits_per_s.filter(|_| sum > 0).map(|rate| rate as f64 / sum as f64);
    }
}

/// Both directions of a phase's heartbeats; unknown where one is.
fn beats(class: &mut ClassFigures, out: Option<Counted>, back: Option<Counted>) {
    let (Some(out), Some(back)) = (out, back) else { return };
    class.sent = Some(out.sent + back.sent);
    class.lost = Some(out.lost + back.lost);
    class.lost_out = Some(out.lost);
    class.longest_gap_ns = Some(out.longest_gap_ns.max(back.longest_gap_ns));
}

fn cost(spec: &ContendSpec, step: &Step, detail: &ContendDetail) -> ContendCost {
    let rate = |phase, class| detail.figures(phase, class)?.goodput_bits_per_s;
    let (alone, both) = (rate(PhaseName::Storage, Class::Storage), rate(PhaseName::Both, Class::Storage));
    let p99 = |phase| {
        let times = detail.figures(phase, Class::Storage)?.response_ns?;
        (times.count >= SAMPLES_MIN).then_some(times.p99)
    };
    let (p99_alone, p99_both) = (p99(PhaseName::Storage), p99(PhaseName::Both));
    let pass_ns = |phase| {
        // Of several at once each gets its part.
        let rate = rate(phase, Class::Migration)? / u64::from(spec.migrations.max(1));
        let bits = u128::from(spec.memory_bytes) * 8 * 1_000_000_000;
        u64::try_from(bits.checked_div(u128::from(rate))?).ok()
    };
    ContendCost {
        storage_share: alone
            .zip(both)
            .filter(|(alone, _)| *alone > 0)
            .map(|(alone, both)| both as f64 / alone as f64),
        storage_p99_added_ns: p99_alone.zip(p99_both).map(|(alone, both)| both.saturating_sub(alone)),
        memory_bytes: spec.memory_bytes,
        migration_alone_ns: pass_ns(PhaseName::Migration),
        migration_beside_ns: pass_ns(PhaseName::Both),
        migration_fairness: fairness(spec, step),
        guests: spec.guests,
        // They wait in a queue: the last ones may have the path for fewer.
        drain_ns: pass_ns(PhaseName::Both)
            .map(|each| each.saturating_mul(spec.guests.div_ceil(spec.migrations.max(1)).into())),
    }
}

/// Jain's index over the lanes of the migrations beside storage.
fn fairness(spec: &ContendSpec, step: &Step) -> Option<f64> {
    let number = step.flows.iter().position(|flow| {
        flow.class == Class::Migration && spec.phase_of(flow.active.start_ns) == Some(PhaseName::Both)
    })?;
    let flow = &step.flows[number];
    let own = |lane: &&LaneResult| usize::from(lane.flow) == number && flow.counts(lane);
    let rates: Vec<f64> = step.lanes.iter().filter(own).map(|lane| lane.bytes as f64).collect();
    let (sum, squares) = (rates.iter().sum::<f64>(), rates.iter().map(|rate| rate * rate).sum::<f64>());
    (rates.len() > 1 && squares > 0.0).then(|| sum * sum / (rates.len() as f64 * squares))
}
