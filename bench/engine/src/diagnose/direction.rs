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

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{ErrorKind, Step, StepError, StepKind, StepSpec, Tool, TrafficSpec};

    fn document(rates: &[(Direction, u64)]) -> ResultDoc {
        let mut doc = ResultDoc::new(Tool::default(), "");
        for (direction, rate) in rates {
            let mut step = Step::new(StepKind::Stream, "s");
            step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
            (step.over, step.direction) = (Some("tcp".into()), Some(*direction));
            step.summary.goodput_bits_per_s = Some(*rate);
            doc.steps.push(step);
        }
        doc
    }

    #[test]
    fn four_times_slower_is_named_with_its_way_and_less_is_not() {
        let found = findings(&document(&[(Direction::Out, 4_000_000), (Direction::In, 1_000_000)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].values["slower"], "in");
        assert!(found[0].evidence.contains("in is 4.0 times slower"), "{}", found[0].evidence);
        assert_eq!(findings(&document(&[(Direction::Out, 3_900_000), (Direction::In, 1_000_000)])), vec![]);
    }

    #[test]
    fn the_best_of_each_way_counts_and_what_was_paced_cut_or_silent_does_not() {
        let rates = [(Direction::Out, 8_000_000), (Direction::In, 1_000_000), (Direction::In, 7_000_000)];
        assert_eq!(findings(&document(&rates)), vec![]);
        assert_eq!(findings(&document(&[(Direction::Out, 8_000_000), (Direction::In, 0)])), vec![]);
        assert_eq!(findings(&document(&[(Direction::Out, 8_000_000)])), vec![]);
        let mut failed = document(&[(Direction::Out, 8_000_000), (Direction::In, 1_000_000)]);
        failed.steps[1].error = Some(StepError { kind: ErrorKind::Unsupported, message: "lost".into() });
        assert_eq!(findings(&failed), vec![]);
        let mut paced = document(&[(Direction::Out, 8_000_000), (Direction::In, 1_000_000)]);
        paced.steps[1].spec = Some(StepSpec::Stream(TrafficSpec {
            rate_bits_per_s: Some(1_000_000),
            ..TrafficSpec::default()
        }));
        assert_eq!(findings(&paced), vec![]);
    }
}
