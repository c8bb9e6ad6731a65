//! What to set: a cap that leaves storage its part of the path, and a tenth of it to nobody, so that no queue stands.

use super::{at_once, carrying};
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Class, ClassFigures, ContendAdvice, ContendDetail, ContendSpec, PhaseName};

/// Of what the path carries that is given to anybody.
const GIVEN: f64 = 0.9;
/// Least that Windows takes as a cap, and what a figure is rounded to.
const MIB: u64 = 1 << 20;
/// A reservation is rounded up to this many percent.
const PERCENT_STEP: f64 = 5.0;

/// The advice for what was measured.
pub fn advice(spec: &ContendSpec, detail: &ContendDetail) -> ContendAdvice {
    let sum = |phase: &pathproof_model::ContendPhase| -> Option<u64> {
        // What goes over other NICs is no part of the path that storage has.
        let meets = |class: &&ClassFigures| class.name != Class::Backup || is_beside_backups(spec);
        let rates = phase.classes.iter().filter(|class| carrying(class)).filter(meets);
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
    let left = ((path as f64 * GIVEN) as u64).saturating_sub(need);
    let (cap, backup_cap) = shared_out(spec, left);
    if cap.min(backup_cap.unwrap_or(MIB)) < MIB {
        let reason =
            format!("of {words} storage alone needs {need_words}, which leaves no room for migrations");
        return ContendAdvice { reason, ..known };
    }
    let beside = match (backup_cap, spec.caps.backup.filter(|_| is_beside_backups(spec))) {
        (Some(_), _) => ", shared out among the connections of migrations and backups".to_owned(),
        (None, Some(held)) => {
            format!(" and the {} that backups may take", BitsPerSecond(held.saturating_mul(8)))
        }
        (None, None) => String::new(),
    };
    let reason =
        format!("nine tenths of the {words} that the path carries, less the {need_words} of storage{beside}");
    ContendAdvice { cap_bytes_per_s: Some(cap), backup_cap_bytes_per_s: backup_cap, reason, ..known }
}

/// Whether backups run, on the NICs that storage goes over.
pub(super) fn is_beside_backups(spec: &ContendSpec) -> bool {
    let (own, storage) = (spec.nics_of(Class::Backup), spec.nics_of(Class::Storage));
    // Without NICs that are named a class may go over any.
    let meets = own.is_empty() || storage.is_empty() || own.iter().any(|nic| storage.contains(nic));
    spec.backups > 0 && meets
}

/// What migrations may take of what storage leaves, and what backups beside them have to be held to, both in whole MiB of bytes per second.
/// Backups that are held already keep their cap as long as it leaves migrations something; else both get as much as their connections have.
fn shared_out(spec: &ContendSpec, left_bits_per_s: u64) -> (u64, Option<u64>) {
    let whole = |bits_per_s: u64| bits_per_s / 8 / MIB * MIB;
    if !is_beside_backups(spec) {
        return (whole(left_bits_per_s), None);
    }
    let rest = |held: u64| whole(left_bits_per_s.saturating_sub(held.saturating_mul(8)));
    if let Some(rest) = spec.caps.backup.map(rest).filter(|rest| *rest >= MIB) {
        return (rest, None);
    }
    let all = f64::from(spec.migrations.saturating_add(spec.backups).max(1));
    let part = |lanes: u32| whole((left_bits_per_s as f64 * f64::from(lanes) / all) as u64);
    (part(spec.migrations), Some(part(spec.backups)))
}
