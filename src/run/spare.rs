//! What a run does without that has too little time for a long path: better fewer answers than none.

use pathproof_model::{Direction, StepSpec};

/// Makes one stream both ways of two that go one way each, and says so: over a path so long that it takes longer to begin and end
/// them than to measure.
pub(super) fn at_once(specs: &mut Vec<StepSpec>) -> Option<String> {
    let several = |spec: &StepSpec, way: Direction| {
        spec.bulk().is_some_and(|one| one.lanes > 1 && one.direction == way && !one.singles)
    };
    let out = specs.iter().position(|spec| several(spec, Direction::Out))?;
    let inward = specs.iter().position(|spec| several(spec, Direction::In))?;
    if specs[out].over() != specs[inward].over() {
        return None;
    }
    if let Some(traffic) = specs[out].traffic_mut() {
        traffic.direction = Direction::Both;
    }
    specs.remove(inward);
    Some("streams one way after the other (both ways at once instead)".into())
}

/// Whether a run that has too little time for a long path can do without a step.
pub(super) fn is_spare(spec: &StepSpec, plan: &[StepSpec]) -> bool {
    if let Some(one) = spec.bulk() {
        // Several connections fill a long path sooner than one.
        let alone = one.lanes == 1 && !one.singles;
        return alone
            && plan
                .iter()
                .filter_map(StepSpec::bulk)
                .any(|many| many.lanes > 1 && (many.direction, &many.over) == (one.direction, &one.over));
    }
    spec.kind().traits().spare
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::TrafficSpec;

    #[test]
    fn two_streams_of_several_lanes_become_one_and_those_of_one_lane_stay() {
        let stream =
            |direction, lanes| StepSpec::Stream(TrafficSpec { direction, lanes, ..TrafficSpec::default() });
        let mut specs = vec![stream(Direction::Out, 4), stream(Direction::In, 4), StepSpec::Facts];
        assert!(at_once(&mut specs).is_some());
        assert_eq!(specs, [stream(Direction::Both, 4), StepSpec::Facts]);
        assert!(at_once(&mut specs).is_none());
        let mut single = vec![stream(Direction::Out, 1), stream(Direction::In, 1)];
        assert!(at_once(&mut single).is_none() && single.len() == 2);
    }
}
