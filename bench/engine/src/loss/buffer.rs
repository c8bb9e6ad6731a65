//! The search for the smallest receive buffer with which a packet rate holds: which one is tried next, what the trials come to, and what
//! holds more where none suffices.
//!
//! A buffer is what an application asks for (`SO_RCVBUF`). The kernel gives no more than `net.core.rmem_max`, counts its own share of each
//! packet, and tells twice the number; so what was asked for beyond its limit counts as the limit.

use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{
    BufferTrial, Direction, Finding, LossPlace, LossProbe, LossSpec, PacketBuffer, RateTrial, ResultDoc,
    Step, StepSpec,
};

use super::rate::{Came, came_of, place, steps, trial, ways};

/// The search ends where both sides of the edge are so near.
const NEAR: f64 = 1.1;
/// However it goes.
const TRIALS_MAX: usize = 40;

/// The next step of the search that `search` stands for: one way after the other. `None` at its end.
pub fn next(search: &LossSpec, doc: &ResultDoc) -> Option<LossSpec> {
    ways(search).find_map(|direction| {
        let steps: Vec<&Step> = steps(doc, LossProbe::Buffer, direction).collect();
        let trials: Vec<BufferTrial> = steps.iter().filter_map(|step| tried(step)).collect();
        // What could not be made once will not be the next time.
        if trials.len() < steps.len() || steps.iter().any(|step| step.error.is_some()) {
            return None;
        }
        let receive_buffer_bytes = Some(size(&trials)?);
        Some(LossSpec { receive_buffer_bytes, direction, ..search.clone() })
    })
}

fn tried(step: &Step) -> Option<BufferTrial> {
    let asked_bytes = step.spec.as_ref().and_then(StepSpec::loss)?.receive_buffer_bytes?;
    let RateTrial { asked, sent, received, .. } = trial(step)?;
    // Of an end that does not tell what it was given, what was asked for is all that is known.
    let given = step.detail.receive_buffer_bytes.map(|bytes| u32::try_from(bytes / 2).unwrap_or(u32::MAX));
    let buffer_bytes = given.unwrap_or(asked_bytes).min(asked_bytes);
    Some(BufferTrial { asked_bytes, buffer_bytes, asked, sent, received })
}

fn came(trials: &[BufferTrial], asked_bytes: u32) -> Came {
    let own = trials.iter().filter(|trial| trial.asked_bytes == asked_bytes);
    let own: Vec<RateTrial> = own
        .map(|trial| RateTrial {
            packets_per_s: 0,
            asked: trial.asked,
            sent: trial.sent,
            received: trial.received,
        })
        .collect();
    came_of(&own)
}

/// The smallest buffer that held, and the largest below it that did not.
fn sides(trials: &[BufferTrial]) -> (Option<u32>, Option<u32>) {
    let of = |wanted: Came| trials.iter().filter(move |trial| came(trials, trial.asked_bytes) == wanted);
    let holds = of(Came::Held).map(|trial| trial.buffer_bytes).min();
    let below = |bytes: &u32| holds.is_none_or(|holds| *bytes < holds);
    (holds, of(Came::Lost).map(|trial| trial.buffer_bytes).filter(below).max())
}

/// The sender could not send so many.
fn falls_short(trials: &[BufferTrial]) -> bool {
    trials.iter().any(|trial| came(trials, trial.asked_bytes) == Came::Unsent)
}

/// The buffer that tells most after `trials`.
fn size(trials: &[BufferTrial]) -> Option<u32> {
    if trials.len() >= TRIALS_MAX || falls_short(trials) {
        return None;
    }
    let open = |trial: &&BufferTrial| came(trials, trial.asked_bytes) == Came::Open;
    if let Some(again) = trials.iter().find(open) {
        return Some(again.asked_bytes);
    }
    match sides(trials) {
        // The largest first: where that loses, none holds.
        (None, None) => Some(LossSpec::BUFFER_BYTES_MAX),
        (None, Some(_)) => None,
        (Some(holds), None) => {
            let least = LossSpec::BUFFER_BYTES_MIN;
            (holds > least).then(|| (holds / 2).max(least))
        }
        (Some(holds), Some(loses)) => {
            let between = (f64::from(holds) * f64::from(loses)).sqrt() as u32;
            let is_near = f64::from(holds) <= f64::from(loses) * NEAR;
            (!is_near && between > loses && between < holds).then_some(between)
        }
    }
}

/// What the searches of a document found, way by way.
pub fn found_buffers(doc: &ResultDoc) -> Vec<PacketBuffer> {
    [Direction::Out, Direction::In]
        .into_iter()
        .filter_map(|direction| {
            let steps: Vec<(&Step, BufferTrial)> = steps(doc, LossProbe::Buffer, direction)
                .filter_map(|step| Some((step, tried(step)?)))
                .collect();
            let first = steps.first()?.0.spec.as_ref()?.loss()?;
            let trials: Vec<BufferTrial> = steps.iter().map(|(_, trial)| *trial).collect();
            let lossy: Vec<&(&Step, BufferTrial)> =
                steps.iter().filter(|(_, trial)| came(&trials, trial.asked_bytes) == Came::Lost).collect();
            let lost = lossy
                .iter()
                .map(|(_, trial)| trial.sent.saturating_sub(trial.received))
                .fold(0, u64::saturating_add);
            let (place, counted) = place(lossy.iter().map(|(step, _)| *step), direction, lost).unzip();
            let (holds_bytes, loses_bytes) = sides(&trials);
            Some(PacketBuffer {
                direction,
                packets_per_s: first.packets_per_s,
                receiver_sleeps_ns: first.receiver_sleeps_ns,
                holds_bytes,
                loses_bytes,
                most_bytes: trials.iter().map(|trial| trial.buffer_bytes).max(),
                sender_fell_short: falls_short(&trials),
                place,
                counted,
                lost,
                trials,
            })
        })
        .collect()
}

/// A rate for which no buffer suffices, with what holds more where its packets are lost.
pub fn buffer_findings(buffers: &[PacketBuffer]) -> Vec<Finding> {
    buffers.iter().filter_map(finding).collect()
}

fn finding(buffer: &PacketBuffer) -> Option<Finding> {
    let most = buffer.loses_bytes.filter(|_| buffer.holds_bytes.is_none() && !buffer.sender_fell_short)?;
    let sleeps =
        buffer.receiver_sleeps_ns.map_or_else(String::new, |ns| format!(", read every {}", Nanoseconds(ns)));
    let place = buffer.place.map_or("at a place that no counter tells", LossPlace::words);
    let evidence = format!(
        "{}: at {} packets a second{sleeps}, packets are lost with a receive buffer of {}, which is the largest that the kernel gives, {place}",
        buffer.direction.name(),
        buffer.packets_per_s,
        Bytes(most.into())
    );
    let finding = Finding::new("PACKET-BUFFER-SHORT", evidence)
        .with("direction", buffer.direction.name())
        .with("packets_per_s", buffer.packets_per_s)
        .with("buffer_bytes", most);
    Some(match buffer.place {
        Some(place) => finding.with_next(format!("What holds more there: {}.", place.knob())),
        None => finding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver whose kernel gives at most `most`, and which needs `needs` for what comes while it sleeps.
    fn receiver(needs: u32, most: u32) -> impl Fn(u32) -> BufferTrial {
        move |asked_bytes| {
            let buffer_bytes = asked_bytes.min(most);
            let received = if buffer_bytes >= needs { 1000 } else { 900 };
            BufferTrial { asked_bytes, buffer_bytes, asked: 1000, sent: 1000, received }
        }
    }

    fn searched(receiver: impl Fn(u32) -> BufferTrial) -> Vec<BufferTrial> {
        let mut trials = vec![];
        while let Some(next) = size(&trials) {
            assert!(trials.len() < TRIALS_MAX, "{trials:?}");
            trials.push(receiver(next));
        }
        trials
    }

    #[test]
    fn the_smallest_buffer_that_holds_is_found_within_a_tenth_and_by_few_trials() {
        for (needs, most) in [(5_000, 212_992), (80_000, 212_992), (200_000, 212_992), (3_000_000, 8 << 20)] {
            let trials = searched(receiver(needs, most));
            let (holds, loses) = sides(&trials);
            let (holds, loses) = (holds.unwrap(), loses.unwrap());
            assert!(holds >= needs && loses < needs, "{holds} {needs} {loses}");
            assert!(f64::from(holds) <= f64::from(loses) * NEAR * 1.01, "{holds} {loses}");
            assert!(trials.len() <= 24, "{needs}: {}", trials.len());
        }
    }

    #[test]
    fn a_receiver_that_needs_no_buffer_and_one_that_gets_too_little_end_the_search() {
        let (holds, loses) = sides(&searched(receiver(0, 212_992)));
        assert_eq!((holds, loses), (Some(LossSpec::BUFFER_BYTES_MIN), None));
        let trials = searched(receiver(300_000, 212_992));
        assert_eq!((sides(&trials), trials.len()), ((None, Some(212_992)), 2), "twice, and nothing smaller");
        let slow = |asked_bytes| BufferTrial {
            asked_bytes,
            buffer_bytes: asked_bytes,
            asked: 1000,
            sent: 500,
            received: 500,
        };
        let trials = searched(slow);
        assert!(falls_short(&trials) && trials.len() == 3, "{trials:?}");
    }

    #[test]
    fn only_where_no_buffer_holds_it_is_said_what_would() {
        let found = PacketBuffer {
            packets_per_s: 20_000,
            receiver_sleeps_ns: Some(10_000_000),
            loses_bytes: Some(212_992),
            place: Some(LossPlace::ReceiverSocket),
            ..PacketBuffer::default()
        };
        let told = buffer_findings(std::slice::from_ref(&found));
        assert_eq!(told.len(), 1);
        let words = format!("{} {}", told[0].evidence, told[0].next);
        for part in ["20000 packets a second, read every 10.00 ms", "208 KiB", "rmem_max"] {
            assert!(words.contains(part), "{words}");
        }
        let held = PacketBuffer { holds_bytes: Some(250_000), ..found.clone() };
        let short = PacketBuffer { sender_fell_short: true, ..found };
        assert_eq!(buffer_findings(&[held, short]), vec![]);
    }
}
