//! Hosts that were held back themselves: what is measured then says little of a path.

use pathproof_model::code;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, HostLoad, LaneResult, NodeId, ResultDoc, Step, Waited};

use super::{Rule, planned, stops, whose};

/// From such a part of a step's time on a host is not one that anything else should run on.
const HELD_SHARE: f64 = 0.2;
/// Shorter steps say little.
const STEP_NS: u64 = 500_000_000;

pub(super) const RULES: &[Rule] =
    &[Rule { codes: &[code!("HOST-THROTTLED"), code!("HOST-STARVED")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    [NodeId::CLIENT, NodeId::SERVER]
        .iter()
        .flat_map(|node| held(doc, *node).into_iter().chain(unfair(doc, *node)))
        .collect()
}

/// Whether threads of either end were stopped by a quota, as far as that can be known, or a program stood still: what they measure is late by itself.
pub(super) fn stands_still(doc: &ResultDoc) -> bool {
    /// Part of a step.
    const SHARE: f64 = 0.05;
    let counted =
        doc.steps.iter().flat_map(|step| &step.evidence).filter_map(|one| throttled(one.host.as_ref()?));
    counted.into_iter().any(|share| share >= SHARE)
        || [NodeId::CLIENT, NodeId::SERVER].iter().any(|node| unfair(doc, *node).is_some())
        || stops::stops(doc).is_some()
}

/// Threads that stood in line for nearly all of their time and got a small part of what the others in line leave them: a scheduler that is
/// fair does not do that. For where the quota itself cannot be read.
fn unfair(doc: &ResultDoc, node: NodeId) -> Option<Finding> {
    /// The threads of an end, for so much of their time together.
    const WAITED: f64 = 0.9;
    /// The same where half of the processors' time was nobody's: who is let on one does not stand in line then.
    const WAITED_BESIDE_IDLE: f64 = 0.75;
    const IDLE: f64 = 0.5;
    /// Of a fair part.
    const PART: f64 = 0.1;
    /// One step may be a moment.
    const STEPS: usize = 2;
    let of = |step: &Step| -> Option<(f64, f64)> {
        let load = step.evidence(node)?.host.as_ref().filter(|load| load.throttled_ns.is_none())?;
        let own: Vec<&LaneResult> = step.lanes.iter().filter(|lane| lane.end.node() == node).collect();
        let lines = own.iter().map(|lane| lane.scheduled).collect::<Option<Vec<_>>>()?;
        let sum = |of: fn(&Waited) -> u64| lines.iter().map(of).fold(0, u64::saturating_add) as f64;
        let idle = load.busy_share.is_some_and(|busy| busy <= IDLE);
        let least = if idle { WAITED_BESIDE_IDLE } else { WAITED };
        let in_line =
            sum(|line| line.of_ns) > 0.0 && sum(|line| line.waited_ns) >= sum(|line| line.of_ns) * least;
        let got: f64 = own
            .iter()
            .map(|lane| Some(lane.cpu_ns? as f64 / lane.window_ns.max(1) as f64))
            .sum::<Option<f64>>()?;
        let in_all = load.load_average?.max(load.cpus? as f64);
        let fair = (own.len() as f64 * load.cpus? as f64 / in_all).min(load.cpus? as f64);
        (in_line && got < fair * PART).then_some((got, fair))
    };
    let held: Vec<(f64, f64)> = planned(doc).filter_map(of).collect();
    let (got, fair) =
        held.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).filter(|_| held.len() >= STEPS)?;
    let said = format!(
        "in {} steps the lane threads of {} stood in line for a processor for most of their time, and got at most {:.1} % of one, \
         where {:.0} % would be their part beside the others: either a processor quota of its control group stopped them (cpu.stat cannot be read \
         there), or they have a low priority",
        held.len(),
        whose(node),
        got * 100.0,
        fair * 100.0
    );
    Some(Finding::new("HOST-THROTTLED", said).with("processor_share", got))
}

/// Part of a step's time for which the control group of the program stood still.
fn throttled(load: &HostLoad) -> Option<f64> {
    share(load, load.throttled_ns?)
}

fn share(load: &HostLoad, ns: u64) -> Option<f64> {
    (load.elapsed_ns >= STEP_NS).then(|| ns as f64 / load.elapsed_ns as f64)
}

fn held(doc: &ResultDoc, node: NodeId) -> Vec<Finding> {
    let loads = || doc.steps.iter().filter_map(|step| Some((step, step.evidence(node)?.host.as_ref()?)));
    let stolen = |load: &HostLoad| Some(load.steal_ns? / load.cpus?.max(1));
    let worst = |taken: &dyn Fn(&HostLoad) -> Option<u64>| {
        let all = loads().filter_map(|(step, load)| {
            let ns = taken(load)?;
            Some((share(load, ns)?, ns, load.elapsed_ns, step.name.as_str()))
        });
        all.filter(|one| one.0 >= HELD_SHARE).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let mut found = Vec::new();
    if let Some((share, ns, of, step)) = worst(&|load| load.throttled_ns) {
        let said = format!(
            "{} was stopped by the processor quota of its control group for {} of {} ({:.0} %) during {step}",
            whose(node),
            Nanoseconds(ns),
            Nanoseconds(of),
            share * 100.0
        );
        found.push(Finding::new("HOST-THROTTLED", said).with("throttled_share", share));
    }
    if let Some((share, ns, of, step)) = worst(&stolen) {
        let said = format!(
            "the hypervisor gave {} of {} of {}'s processors to others ({:.0} %) during {step}",
            Nanoseconds(ns),
            Nanoseconds(of),
            whose(node),
            share * 100.0
        );
        found.push(Finding::new("HOST-STARVED", said).with("stolen_share", share));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Evidence, Step, StepKind, Tool};

    fn codes(load: HostLoad) -> Vec<String> {
        let mut doc = ResultDoc::new(Tool::default(), "");
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.evidence = vec![Evidence { node: NodeId::SERVER, host: Some(load), ..Evidence::default() }];
        doc.steps.push(step);
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn threads_that_get_next_to_nothing_are_held_where_the_quota_cannot_be_read() {
        let step = |waited_ms: u64, cpu_ns: u64| {
            let load = HostLoad {
                elapsed_ns: 1_740_000_000,
                cpus: Some(2),
                load_average: Some(19.7),
                pressure_some_ns: Some(1_740_000_000),
                ..HostLoad::default()
            };
            let lane = LaneResult {
                end: pathproof_model::End::Client,
                window_ns: 1_100_000_000,
                cpu_ns: Some(cpu_ns),
                scheduled: Some(Waited { waited_ns: waited_ms * 1_000_000, of_ns: 1_640_000_000 }),
                ..LaneResult::default()
            };
            let mut step = Step::new(StepKind::Stream, "tcp stream out");
            step.lanes = vec![lane; 5];
            step.evidence = vec![Evidence { node: NodeId::CLIENT, host: Some(load), ..Evidence::default() }];
            step
        };
        let told = |steps: Vec<Step>| {
            let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            findings(&doc).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        // As run under a quota of a twentieth of a processor on a machine with a load of 20.
        let held = || step(1578, 3_283_000);
        assert_eq!(told(vec![held(), held()]), ["HOST-THROTTLED"]);
        assert_eq!(told(vec![held()]), [""; 0]);
        // Four fifths of their time, where nobody wanted four fifths of the processors: as run on a quiet machine.
        let beside = |busy: f64| {
            let mut step = step(1328, 3_283_000);
            step.evidence[0].host.as_mut().unwrap().busy_share = Some(busy);
            told(vec![step.clone(), step])
        };
        assert_eq!((beside(0.2), beside(0.9)), (vec!["HOST-THROTTLED".to_owned()], vec![]));
        // The worst of the healthy pairs on that machine, and a quota that is known not to have been used up.
        assert_eq!(told(vec![step(1328, 100_000_000), step(1328, 100_000_000)]), [""; 0]);
        let mut known = held();
        known.evidence[0].host.as_mut().unwrap().throttled_ns = Some(0);
        assert_eq!(told(vec![known.clone(), known]), [""; 0]);
    }

    #[test]
    fn a_quota_and_a_hypervisor_are_told_apart_and_a_busy_host_is_neither() {
        let load = HostLoad { elapsed_ns: 1_000_000_000, cpus: Some(2), ..HostLoad::default() };
        let throttled = HostLoad { throttled_ns: Some(600_000_000), ..load.clone() };
        assert_eq!(codes(throttled), ["HOST-THROTTLED"]);
        let stolen = HostLoad { steal_ns: Some(900_000_000), ..load.clone() };
        assert_eq!(codes(stolen.clone()), ["HOST-STARVED"]);
        // All processors together lost that: of how many is not known.
        assert_eq!(codes(HostLoad { cpus: None, ..stolen }), [""; 0]);
        let busy = HostLoad {
            pressure_some_ns: Some(990_000_000),
            throttled_ns: Some(50_000_000),
            steal_ns: Some(60_000_000),
            ..load.clone()
        };
        assert_eq!(codes(busy), [""; 0]);
        // A tenth of a second of a short step says nothing.
        assert_eq!(
            codes(HostLoad { elapsed_ns: 200_000_000, throttled_ns: Some(150_000_000), ..load }),
            [""; 0]
        );
    }
}
