//! What the classes that share a path carried over time, phase by phase. Between the phases nothing was measured, and nothing is said.

use pathproof_model::contend::SETTLE_NS;
use pathproof_model::series::Slice;
use pathproof_model::{Class, ContendPhase, Direction, NodeId, Step};

/// The classes that carry something, in the order in which they are told.
const CLASSES: [Class; 3] = [Class::Storage, Class::Migration, Class::Backup];

/// One class: for each phase what it carried, slice by slice since the start of the phase; empty where it did not run.
pub(crate) struct Course<'a> {
    /// Which.
    pub class: Class,
    /// Phase by phase.
    pub phases: Vec<(&'a ContendPhase, Vec<Slice>)>,
}

/// The classes of a step that ran in any of its phases.
pub(crate) fn courses(step: &Step) -> Vec<Course<'_>> {
    let Some(detail) = &step.detail.contend else { return vec![] };
    // Of requests the data lies in the questions: what counts is what comes in where they are answered.
    let receiver = match step.direction {
        Some(Direction::In) => NodeId::CLIENT,
        _ => NodeId::SERVER,
    };
    let carried = |phase: &ContendPhase, class: Class| -> Vec<Slice> {
        let flow = step.flows.iter().position(|flow| {
            flow.class == class && flow.active.start_ns.saturating_add(SETTLE_NS) == phase.start_ns
        });
        let own =
            step.series.iter().find(|series| flow == Some(series.flow.into()) && series.node == receiver);
        own.map(|series| series.carried().filter(|slice| slice.length_ns > 0).collect()).unwrap_or_default()
    };
    let all = CLASSES.into_iter().map(|class| Course {
        class,
        phases: detail.phases.iter().map(|phase| (phase, carried(phase, class))).collect(),
    });
    all.filter(|course| course.phases.iter().any(|(_, slices)| !slices.is_empty())).collect()
}

/// The rate of a slice, in bit/s.
pub(crate) fn bits_per_s(slice: &Slice) -> f64 {
    slice.bytes as f64 * 8e9 / slice.length_ns.max(1) as f64
}

#[cfg(test)]
mod tests {
    use pathproof_model::{
        ContendDetail, ContendSpec, Flow, LaneRole, PhaseName, Series, StepKind, StepSpec,
    };

    use super::*;

    /// A step in which every flow carries as many bytes a slice as its number says, and its sender counts something else.
    pub(crate) fn step(direction: Direction) -> Step {
        let spec = ContendSpec { direction, ..ContendSpec::default() };
        let mut step = Step::new(StepKind::Contend, "contention");
        step.flows = Flow::of(&StepSpec::Contend(spec.clone()));
        let phases = PhaseName::ALL.into_iter().map(|name| {
            let (start_ns, end_ns) = spec.measured(name);
            ContendPhase { name, start_ns, length_ns: end_ns - start_ns, classes: vec![] }
        });
        step.detail.contend = Some(ContendDetail { phases: phases.collect(), ..ContendDetail::default() });
        let series = |flow: usize, node, bytes| Series {
            flow: flow as u16,
            node,
            role: LaneRole::Both,
            width_ns: 1_000_000_000,
            end_ns: 4_000_000_000,
            received_bytes: vec![Some(bytes); 4],
            ..Series::default()
        };
        let (receiver, sender) = match direction {
            Direction::In => (NodeId::CLIENT, NodeId::SERVER),
            _ => (NodeId::SERVER, NodeId::CLIENT),
        };
        step.series = (0..step.flows.len())
            .flat_map(|flow| [series(flow, sender, 9999), series(flow, receiver, flow as u64 * 1000)])
            .collect();
        step.direction = Some(direction);
        step
    }

    #[test]
    fn each_class_has_its_own_phases_as_the_receiver_counted_them() {
        for direction in [Direction::Out, Direction::In] {
            let step = step(direction);
            let told: Vec<(Class, Vec<Option<u64>>)> = courses(&step)
                .into_iter()
                .map(|course| {
                    let first = course.phases.iter().map(|(_, slices)| Some(slices.first()?.bytes));
                    (course.class, first.collect())
                })
                .collect();
            let flow =
                |name: &str| step.flows.iter().position(|flow| flow.name == name).unwrap() as u64 * 1000;
            let want = [
                (
                    Class::Storage,
                    vec![None, Some(flow("storage, storage alone")), Some(flow("storage, both")), None],
                ),
                (
                    Class::Migration,
                    vec![None, None, Some(flow("migration, both")), Some(flow("migration, migration alone"))],
                ),
            ];
            assert_eq!(told, want);
        }
        assert!(courses(&Step::new(StepKind::Stream, "stream")).is_empty());
    }
}
