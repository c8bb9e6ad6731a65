//! Hosts that were held back themselves: what is measured then says little of a path.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, HostLoad, NodeId, ResultDoc};

use super::whose;

/// From such a part of a step's time on a host is not one that anything else should run on.
const HELD_SHARE: f64 = 0.2;
/// Shorter steps say little.
const STEP_NS: u64 = 500_000_000;

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    [NodeId::CLIENT, NodeId::SERVER].iter().flat_map(|node| held(doc, *node)).collect()
}

/// Part of a step's time for which the control group of the program stood still.
pub(super) fn throttled(load: &HostLoad) -> Option<f64> {
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
