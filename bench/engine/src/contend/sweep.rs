//! How many migrations at once: what each number cost storage, how long it would take to empty a host, and which of them is best.

use pathproof_model::units::{Bytes, Nanoseconds};
use pathproof_model::{
    ContendDetail, ContendSpec, ContendTried, Criteria, Finding, ResultDoc, Step, StepSpec,
};

/// More at once that saves less than this part of the time are not worth their queues.
const WORTH: f64 = 0.05;

/// What a step tried of a sweep.
pub fn tried(spec: &ContendSpec, detail: &ContendDetail) -> ContendTried {
    let (limits, cost) = (Criteria::default().contend, &detail.cost);
    let kept = |share: f64, added_ns: u64| {
        share >= limits.storage_share_min && added_ns <= limits.storage_p99_added_max_ns
    };
    ContendTried {
        migrations: spec.migrations,
        storage_share: cost.storage_share,
        storage_p99_added_ns: cost.storage_p99_added_ns,
        drain_ns: cost.drain_ns,
        storage_kept: cost
            .storage_share
            .zip(cost.storage_p99_added_ns)
            .map(|(share, added)| kept(share, added)),
    }
}

/// The number of migrations at once that empties a host soonest without taking more from storage than it may; where more hardly are
/// any quicker, the fewest. Of what was not measured as a whole nothing is said.
pub fn best(tried: &[ContendTried]) -> Option<u32> {
    let kept = || {
        let kept = tried.iter().filter(|one| one.storage_kept == Some(true));
        kept.filter_map(|one| Some((one.migrations, one.drain_ns?)))
    };
    let soonest = kept().map(|(_, drain_ns)| drain_ns).min()?;
    let enough = kept().filter(|(_, drain_ns)| *drain_ns as f64 <= soonest as f64 * (1.0 + WORTH));
    enough.map(|(migrations, _)| migrations).min()
}

/// Puts into a step of a sweep what those before it tried, and which number is best as far as is known.
pub fn relate(spec: &ContendSpec, detail: &mut ContendDetail, doc: &ResultDoc) {
    if spec.sweep.is_empty() {
        return;
    }
    let earlier = doc.steps.iter().filter(|step| is_of(step, &spec.sweep));
    detail.tried = earlier.filter_map(own).chain([tried(spec, detail)]).collect();
    detail.advice.migrations = best(&detail.tried);
}

fn is_of(step: &Step, sweep: &[u32]) -> bool {
    let spec = step.spec.as_ref().and_then(StepSpec::contend);
    step.error.is_none() && spec.is_some_and(|spec| spec.sweep == sweep)
}

fn own(step: &Step) -> Option<ContendTried> {
    Some(tried(step.spec.as_ref()?.contend()?, step.detail.contend.as_ref()?))
}

/// What the last step of a sweep has to say about all of it.
pub(super) fn finding(spec: &ContendSpec, detail: &ContendDetail) -> Option<Finding> {
    let is_last = spec.sweep.last() == Some(&spec.migrations);
    let best = detail.advice.migrations.filter(|_| is_last)?;
    let told: Vec<String> = detail.tried.iter().map(words).collect();
    let evidence = format!(
        "{} guests of {} are moved {} at a time: {}",
        spec.guests,
        Bytes(spec.memory_bytes),
        counts(&detail.tried),
        told.join("; ")
    );
    let next = format!(
        "Set-VMHost -MaximumVirtualMachineMigrations {best} on every host, and in a cluster with the updates of September 2022 and later \
         (Get-Cluster).MaximumParallelMigrations = {best}."
    );
    let finding = Finding::new("CONTEND-CONCURRENCY", evidence).with_next(next);
    Some(finding.with("migrations", best).with("guests", spec.guests))
}

fn counts(tried: &[ContendTried]) -> String {
    tried.iter().map(|one| one.migrations.to_string()).collect::<Vec<_>>().join(", ")
}

fn words(one: &ContendTried) -> String {
    let time = one.drain_ns.map_or("an unknown time".into(), |ns| Nanoseconds(ns).to_string());
    let storage = match one.storage_kept {
        Some(true) => "storage keeps its limits",
        Some(false) => "storage starves",
        None => "what storage loses is not known",
    };
    format!("with {} in {time}, and {storage}", one.migrations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(migrations: u32, drain_s: u64, storage_kept: Option<bool>) -> ContendTried {
        let drain_ns = Some(drain_s * 1_000_000_000);
        ContendTried { migrations, drain_ns, storage_kept, ..ContendTried::default() }
    }

    #[test]
    fn the_soonest_that_leaves_storage_alone_is_best_and_of_equals_the_fewest() {
        assert_eq!(
            best(&[one(1, 400, Some(true)), one(2, 200, Some(true)), one(4, 100, Some(false))]),
            Some(2)
        );
        assert_eq!(best(&[one(1, 400, Some(true)), one(2, 390, Some(true))]), Some(1), "hardly any quicker");
        assert_eq!(best(&[one(1, 400, Some(true)), one(2, 370, Some(true))]), Some(2));
        assert_eq!(best(&[one(1, 400, Some(false)), one(2, 100, None)]), None, "unknown is not kept");
        let unknown = ContendTried { drain_ns: None, ..one(1, 0, Some(true)) };
        assert_eq!(best(&[unknown]), None);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn only_the_end_of_a_sweep_speaks_for_it() {
        let told = |migrations, sweep: &[u32]| {
            let spec = ContendSpec { migrations, sweep: sweep.to_vec(), ..ContendSpec::default() };
            let mut detail = ContendDetail { tried: vec![one(1, 9, Some(true))], ..ContendDetail::default() };
            detail.advice.migrations = Some(1);
            finding(&spec, &detail).is_some()
        };
        assert!(told(4, &[1, 2, 4]) && !told(2, &[1, 2, 4]) && !told(1, &[]));
    }
}
