//! What to set: a cap that leaves storage its part of the path, and a tenth of it to nobody, so that no queue stands.

use super::{at_once, carrying};
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Class, ContendAdvice, ContendDetail, ContendSpec, PhaseName};

/// Of what the path carries that is given to anybody.
const GIVEN: f64 = 0.9;
/// Least that Windows takes as a cap, and what a figure is rounded to.
const MIB: u64 = 1 << 20;
/// A reservation is rounded up to this many percent.
const PERCENT_STEP: f64 = 5.0;

/// The advice for what was measured.
pub fn advice(spec: &ContendSpec, detail: &ContendDetail) -> ContendAdvice {
    let sum = |phase: &pathproof_model::ContendPhase| -> Option<u64> {
        let rates = phase.classes.iter().filter(|class| carrying(class));
        let rates = rates.filter_map(|class| class.goodput_bits_per_s);
        // What was carried at different times does not add up, and any of it alone was carried.
        if at_once(&phase.classes) { rates.reduce(u64::saturating_add) } else { rates.max() }
    };
    let measured = detail.phases.iter().filter_map(sum).max().filter(|rate| *rate > 0);
    // A migration that is held back does not show what the path carries; what went over it before does.
    let free = measured.filter(|_| spec.caps.migration.is_none() || spec.path_bits_per_s.is_some());
    let path = free.max(spec.path_bits_per_s);
    let alone = detail.figures(PhaseName::Storage, Class::Storage);
    let need = alone.and_then(|storage| storage.goodput_bits_per_s).filter(|rate| *rate > 0);
    let unknown = |reason: &str| ContendAdvice { reason: reason.into(), ..ContendAdvice::default() };
    if spec.is_apart() {
        return unknown(
            "storage and migrations have NICs of their own, so there is no path that a cap would divide",
        );
    }
    let (Some(path), Some(need)) = (path, need) else {
        return unknown("what the path or storage carries alone was not measured");
    };
    let percent = (need as f64 / path as f64 * 100.0 / PERCENT_STEP).ceil() * PERCENT_STEP;
    let known = ContendAdvice {
        path_bits_per_s: Some(path),
        storage_percent: Some(percent.min(100.0) as u32),
        ..ContendAdvice::default()
    };
    let (words, need_words) = (BitsPerSecond(path), BitsPerSecond(need));
    let left = (path as f64 * GIVEN) as u64;
    let cap = left.saturating_sub(need) / 8 / MIB * MIB;
    if cap < MIB {
        let reason =
            format!("of {words} storage alone needs {need_words}, which leaves no room for migrations");
        return ContendAdvice { reason, ..known };
    }
    let reason =
        format!("nine tenths of the {words} that the path carries, less the {need_words} of storage");
    ContendAdvice { cap_bytes_per_s: Some(cap), reason, ..known }
}
