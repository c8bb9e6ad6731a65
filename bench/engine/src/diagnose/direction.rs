//! One direction against the other.

use std::collections::BTreeMap;

use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, Finding, ResultDoc};

use super::planned;

/// From this factor on the two directions are not the same path; hosts that are busy with other things stay below it.
const FACTOR: f64 = 4.0;

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    // The best of each direction, transport by transport: a stream alone, unpaced, with no NIC taken down.
    let mut best: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for step in planned(doc).filter(|step| step.error.is_none() && step.detail.failover.is_none()) {
        let paced =
            step.spec.as_ref().and_then(|spec| spec.traffic()).is_none_or(|t| t.rate_bits_per_s.is_some());
        let (Some(over), Some(rate)) = (step.over.as_deref(), step.summary.goodput_bits_per_s) else {
            continue;
        };
        let way = match step.direction {
            Some(Direction::Out) => 0,
            Some(Direction::In) => 1,
            _ => continue,
        };
        if !paced {
            let rates = best.entry(over).or_default();
            rates[way] = rates[way].max(rate);
        }
    }
    let differ = best.into_iter().filter(|(_, [out, inward])| *out > 0 && *inward > 0);
    differ
        .filter_map(|(over, [out, inward])| {
            let factor = out.max(inward) as f64 / out.min(inward) as f64;
            let slow = if out < inward { "out" } else { "in" };
            let said = format!(
                "{over}: {slow} is {factor:.1} times slower than the other way ({} out, {} in)",
                BitsPerSecond(out),
                BitsPerSecond(inward)
            );
            let finding = Finding::new("PATH-ASYMMETRIC", said).with("factor", factor).with("slower", slow);
            (factor >= FACTOR).then_some(finding)
        })
        .collect()
}
