//! Both directions at once, against each of them alone.

use pathproof_model::{Finding, ResultDoc, both_ways};

/// Below this share of the sum it is a finding; the built-in limit of the verdict is the same.
const SHARE_MIN: f64 = 0.65;

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let short = both_ways(doc).into_iter().filter(|both| both.falls_short(SHARE_MIN));
    let finding = |both: pathproof_model::BothWays<'_>| {
        let ([out, inward], [out_alone, in_alone]) = (both.together, both.alone);
        Finding::new("PATH-SHARED", format!("{}: {}", both.step.name, both.words()))
            .with("share", both.share())
            .with("out_bits_per_s", out)
            .with("in_bits_per_s", inward)
            .with("out_alone_bits_per_s", out_alone)
            .with("in_alone_bits_per_s", in_alone)
    };
    short.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Direction, Flow, Step, StepKind, StepSpec, Summary, Tool, TrafficSpec};

    fn stream(direction: Direction, rates: &[u64]) -> Step {
        let flow = |rate: &u64| Flow {
            summary: Summary { goodput_bits_per_s: Some(*rate), ..Summary::default() },
            ..Flow::default()
        };
        let spec = TrafficSpec { direction, ..TrafficSpec::default() };
        let mut step = Step {
            over: Some("tcp".into()),
            direction: Some(direction),
            spec: Some(StepSpec::Stream(spec)),
            ..Step::new(StepKind::Stream, direction.name())
        };
        step.with_flows(rates.iter().map(flow).collect());
        step
    }

    #[test]
    fn a_medium_that_both_directions_share_is_named_with_its_figures() {
        let found = |together: [u64; 2]| {
            let alone = [stream(Direction::Out, &[100_000_000]), stream(Direction::In, &[90_000_000])];
            let steps = alone.into_iter().chain([stream(Direction::Both, &together)]).collect();
            findings(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
        };
        let shared = found([50_000_000, 45_000_000]);
        assert_eq!(shared[0].code, "PATH-SHARED");
        assert!(shared[0].evidence.contains("50 % of 100.0 Mbit/s and 90.0 Mbit/s alone"), "{shared:?}");
        assert_eq!(found([90_000_000, 60_000_000]), []);
    }
}
