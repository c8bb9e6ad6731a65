//! What the classes that share a path carried over time, phase by phase. Between the phases nothing was measured, and nothing is said.

use pathproof_model::series::Slice;
use pathproof_model::{Class, ContendPhase, Direction, Flow, NodeId, Step};

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
        let is_part = |flow: &Flow| detail.phase_of(flow).is_some_and(|own| own.name == phase.name);
        let flow = step.flows.iter().position(|flow| flow.class == class && is_part(flow));
        let figures = phase.classes.iter().find(|figures| figures.name == class);
        let begins_ns = figures.and_then(|figures| figures.start_ns).unwrap_or(phase.start_ns);
        let late_ns = begins_ns.saturating_sub(phase.start_ns);
        let within = |slice: Slice| Slice { start_ns: slice.start_ns.saturating_add(late_ns), ..slice };
        let own =
            step.series.iter().find(|series| flow == Some(series.flow.into()) && series.node == receiver);
        own.map(|series| series.carried().filter(|slice| slice.length_ns > 0).map(within).collect())
            .unwrap_or_default()
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
    use pathproof_model::contend::ClassSpans;
    use pathproof_model::{
        ClassFigures, ContendDetail, ContendSpec, LaneRole, PhaseName, Series, StepKind, StepSpec,
    };

    use super::*;

    /// A step in which every flow carries as many bytes a slice as its number says, and its sender counts something else.
    pub(crate) fn step(direction: Direction) -> Step {
        timed(ContendSpec { direction, ..ContendSpec::default() })
    }

    fn timed(spec: ContendSpec) -> Step {
        let direction = spec.direction;
        let mut step = Step::new(StepKind::Contend, "contention");
        step.flows = Flow::of(&StepSpec::Contend(spec.clone()));
        let phases = PhaseName::ALL.into_iter().map(|name| {
            let (start_ns, end_ns) = spec.measured(name);
            let figures = |class| {
                let (start_ns, end_ns) = spec.measured_of(name, class);
                let length_ns = Some(end_ns - start_ns);
                ClassFigures { name: class, start_ns: Some(start_ns), length_ns, ..ClassFigures::default() }
            };
            let classes = CLASSES.into_iter().map(figures).collect();
            ContendPhase { name, start_ns, length_ns: end_ns - start_ns, classes }
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

    #[test]
    fn a_class_that_begins_in_the_middle_of_a_phase_stands_there() {
        let spans = ClassSpans::default().and("backup=1s..3s").unwrap();
        let step = timed(ContendSpec { spans, backups: 1, ..ContendSpec::default() });
        let begins = |class: Class| {
            let all = courses(&step);
            let course = all.iter().find(|course| course.class == class).unwrap();
            let first = course.phases.iter().map(|(_, slices)| Some(slices.first()?.start_ns));
            first.collect::<Vec<_>>()
        };
        let late = Some(1_400_000_000);
        assert_eq!(begins(Class::Backup), [None, None, late, late]);
        assert_eq!(begins(Class::Migration), [None, None, Some(0), Some(0)]);
    }
}
