//! The drain of a host on a small scale: fewer guests, all alike, with less memory each, in the same queue over the same path. What it
//! should take comes from the arithmetic of the whole plan, so what it really takes tells how far that can be believed.
//!
//! A guest with a part of the memory that is written to as fast has the same part of its pages dirtied in each pass, so it lives through
//! passes like those of the large one, until the rest fits the downtime limit, which is no smaller. The fixed time of each guest (`setup`)
//! is left out: nothing here takes it.

use pathproof_model::MigrateSpec;
use pathproof_model::migrate::{DrainSpec, FleetPlan, MigrateDetail, MigrateDrain, bytes_per_s, nanoseconds};

use super::{
    FleetError, PAGE_BYTES, PathFacts, Pattern, Waiting, drain_guests, drain_host, read_guests, read_path,
};

/// Guests for each that moves at once: so many have to wait for their turn.
const TURNS: usize = 3;
/// Memory of all guests that move at once, which lies at both ends.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// The smallest guest.
const GUEST_BYTES_MIN: u64 = 1 << 20;

/// The rehearsal of the drain of the plan's first host, made so small that it takes about `time_ns`.
pub fn rehearsal(plan: &FleetPlan, time_ns: u64) -> Result<MigrateSpec, FleetError> {
    let host = plan.hosts.first().ok_or_else(|| FleetError {
        place: "[[host]]".into(),
        why: "there is no host whose drain could be rehearsed".into(),
    })?;
    let whole = drain_host(host, &read_path(plan)?)?;
    let path = PathFacts { setup_ns: 0.0, ..read_path(plan)? };
    let all: Vec<Waiting> = read_guests(host)?.into();
    if all.is_empty() {
        let place = format!("host {:?}", host.name);
        return Err(FleetError { place, why: "it has no guests whose drain could be rehearsed".into() });
    }
    let parallel = path.parallel.min(all.len());
    let guests = all.len().min(parallel.saturating_mul(TURNS));
    // One guest of the host's mean.
    let own_bytes = |guest: &Waiting| guest.pages as f64 * PAGE_BYTES as f64;
    let working_set = |guest: &Waiting| match &guest.pattern {
        Pattern::WorkingSet { bytes } => (*bytes as f64).min(own_bytes(guest)),
        _ => own_bytes(guest),
    };
    let mean = |sum: f64| sum / all.len() as f64;
    let memory = mean(all.iter().map(own_bytes).sum());
    let dirty = mean(all.iter().map(|guest| guest.writes_per_s * PAGE_BYTES as f64).sum());
    let worked_on = mean(all.iter().map(working_set).sum());
    let rate = path.shared.min(path.guest_limit * parallel as f64);
    let fits = (rate * time_ns as f64 / 1e9 / guests as f64) as u64;
    let fits = fits.min(MEMORY_BYTES_MAX / parallel as u64).min(memory as u64).max(GUEST_BYTES_MIN);
    let memory_bytes = fits / PAGE_BYTES * PAGE_BYTES;
    let hot = (worked_on * memory_bytes as f64 / memory) as u64 / PAGE_BYTES * PAGE_BYTES;
    let hot = (worked_on < memory).then(|| hot.clamp(PAGE_BYTES, memory_bytes));
    let alike = |_| Waiting {
        name: host.name.clone(),
        pages: memory_bytes / PAGE_BYTES,
        writes_per_s: dirty / PAGE_BYTES as f64,
        pattern: hot.map_or(Pattern::Uniform, |bytes| Pattern::WorkingSet { bytes }),
    };
    let small = drain_guests(&host.name, (0..guests).map(alike).collect(), &path);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let of_path = |key: &str| {
        let place = format!("[path] {key}");
        move |why: String| FleetError { place, why }
    };
    let cap = plan.path.cap.as_deref().map(bytes_per_s).transpose().map_err(of_path("cap"))?;
    let limit = plan.path.downtime_limit.as_deref().map(nanoseconds).transpose();
    Ok(MigrateSpec {
        memory_bytes,
        dirty_bytes_per_s: dirty.round() as u64,
        pattern: hot.map_or("uniform".into(), |bytes| format!("hot={bytes}B")),
        policy: plan.path.policy,
        downtime_limit_ns: limit.map_err(of_path("downtime_limit"))?,
        guests: count(guests),
        parallel: count(parallel),
        bandwidth_bytes_per_s: cap,
        drain: Some(DrainSpec {
            host: host.name.clone(),
            guests: count(all.len()),
            planned_ns: whole.drain_ns,
            predicted_ns: small.drain_ns,
        }),
        ..MigrateSpec::default()
    })
}

/// What a rehearsed drain took, held against what was predicted; `None` where none was asked for, or not every guest moved.
pub fn held(spec: &MigrateSpec, detail: &MigrateDetail) -> Option<MigrateDrain> {
    let asked = spec.drain.as_ref()?;
    let all_moved = detail.guests.len() == spec.guests as usize && detail.stopped_in.is_none();
    if !all_moved || detail.total_ns == 0 || asked.predicted_ns == 0 {
        return None;
    }
    let of_predicted = detail.total_ns as f64 / asked.predicted_ns as f64;
    Some(MigrateDrain {
        host: asked.host.clone(),
        guests: asked.guests,
        planned_ns: asked.planned_ns,
        predicted_ns: asked.predicted_ns,
        measured_ns: detail.total_ns,
        of_predicted,
        expected_ns: (asked.planned_ns as f64 * of_predicted) as u64,
    })
}

#[cfg(test)]
mod tests {
    use pathproof_model::migrate::MigrateGuest;

    use super::*;

    fn plan(path: &str, guests: &str) -> FleetPlan {
        toml::from_str(&format!("[path]\n{path}\n[[host]]\nname = \"hv1\"\n{guests}")).unwrap()
    }

    const GUESTS: &str = "[[host.guest]]\nname = \"web\"\nmemory = \"8GB\"\ncount = 15";
    const TEN_S: u64 = 10_000_000_000;

    #[test]
    fn a_drain_is_made_small_enough_for_its_time_and_keeps_its_queue() {
        let plan = plan("goodput = \"1Gbit/s\"\nparallel = 2\nsetup = \"2s\"", GUESTS);
        let spec = rehearsal(&plan, TEN_S).unwrap();
        assert_eq!((spec.guests, spec.parallel), (6, 2));
        let asked = spec.drain.clone().unwrap();
        assert_eq!((asked.host.as_str(), asked.guests), ("hv1", 15));
        // 125 MB/s for ten seconds; the fixed two seconds of each guest are the plan's alone.
        assert!(asked.predicted_ns.abs_diff(TEN_S) < 10_000_000, "{}", asked.predicted_ns);
        assert!(asked.planned_ns > 960_000_000_000, "{}", asked.planned_ns);
        assert!(spec.memory_bytes.is_multiple_of(PAGE_BYTES) && spec.memory_bytes < 210_000_000);
        crate::migrate::copy::check(&spec).unwrap();
    }

    #[test]
    fn guests_that_are_written_to_live_through_passes_like_those_of_the_large_ones() {
        let busy = "[[host.guest]]\nname = \"sql\"\nmemory = \"64GiB\"\ndirty = \"60MB/s\"\n\
                    working_set = \"8GiB\"\ncount = 4";
        let plan = plan("goodput = \"1Gbit/s\"\ncap = \"50MB/s\"", busy);
        let spec = rehearsal(&plan, 8_000_000_000).unwrap();
        assert_eq!((spec.guests, spec.parallel), (3, 1));
        assert_eq!((spec.dirty_bytes_per_s, spec.bandwidth_bytes_per_s), (60_000_000, Some(50_000_000)));
        // An eighth of the memory is worked on, as of the large ones.
        let hot: u64 = spec.pattern.strip_prefix("hot=").unwrap().strip_suffix('B').unwrap().parse().unwrap();
        assert!(hot.abs_diff(spec.memory_bytes / 8) <= PAGE_BYTES, "{hot} {}", spec.memory_bytes);
        assert!(spec.pattern.parse::<Pattern>().is_ok());
        let predicted_ns = spec.drain.unwrap().predicted_ns;
        assert!(predicted_ns > 8_000_000_000, "the passes after the first take their time: {predicted_ns}");
    }

    #[test]
    fn on_a_path_that_is_fast_memory_bounds_it_and_small_guests_stay_as_they_are() {
        let fast = plan("goodput = \"400Gbit/s\"\nparallel = 4", GUESTS);
        assert_eq!(rehearsal(&fast, TEN_S).unwrap().memory_bytes, 256 << 20);
        let small = "[[host.guest]]\nname = \"tiny\"\nmemory = \"64MiB\"\ncount = 2";
        let spec = rehearsal(&plan("goodput = \"10Gbit/s\"\nparallel = 8", small), TEN_S).unwrap();
        assert_eq!((spec.memory_bytes, spec.guests, spec.parallel), (64 << 20, 2, 2));
        let asked = spec.drain.unwrap();
        assert_eq!(asked.planned_ns, asked.predicted_ns, "it is the whole drain");
        let none: FleetPlan = toml::from_str("host = []\n[path]\ngoodput = \"1Gbit/s\"").unwrap();
        assert!(rehearsal(&none, 1).unwrap_err().to_string().contains("no host"));
    }

    #[test]
    fn what_was_measured_is_a_part_of_what_was_predicted_or_nothing() {
        let drain = Some(DrainSpec { planned_ns: 100, predicted_ns: 10, guests: 9, ..DrainSpec::default() });
        let spec = MigrateSpec { guests: 2, drain, ..MigrateSpec::default() };
        let guests = vec![MigrateGuest::default(); 2];
        let detail = MigrateDetail { guests, total_ns: 12, ..MigrateDetail::default() };
        let told = held(&spec, &detail).unwrap();
        assert_eq!((told.measured_ns, told.expected_ns, told.guests), (12, 120, 9));
        assert!((told.of_predicted - 1.2).abs() < 1e-9);
        let fewer = MigrateDetail { guests: vec![MigrateGuest::default()], ..detail.clone() };
        assert_eq!(held(&spec, &fewer), None);
        let stopped = MigrateDetail { stopped_in: Some("round 2".into()), ..detail.clone() };
        assert_eq!(held(&spec, &stopped), None);
        assert_eq!(held(&MigrateSpec { drain: None, ..spec }, &detail), None);
    }
}
