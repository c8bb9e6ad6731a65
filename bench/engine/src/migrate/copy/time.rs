//! How long a rehearsal takes, and how it is made to fit what is left of a run.

use pathproof_model::MigrateSpec;

use super::measure::MEASURED_NS;

/// How long memory may take to become ready: this, and a second for each GiB.
const READY_NS: u64 = 20_000_000_000;

/// How long memory may take to become ready.
pub fn ready_ns(memory_bytes: u64) -> u64 {
    READY_NS.saturating_add(memory_bytes)
}

/// How long it may take at most: a guest that does not converge may take any time that the server allows for a step.
pub fn duration_ns(spec: &MigrateSpec) -> u64 {
    let memory = spec.memory_bytes.saturating_mul(u64::from(spec.parallel.min(spec.guests)));
    spec.time_limit_ns.unwrap_or(3_600_000_000_000).saturating_mul(2).saturating_add(ready_ns(memory))
}

/// What a scaled rehearsal takes whose copy takes `copy_ns`: memory made ready at a GiB a second, the path measured, a
/// copy that takes half as long again as expected, and the pages compared.
pub fn need_ns(spec: &MigrateSpec, copy_ns: u64) -> u64 {
    let memory_ns = spec.memory_bytes.saturating_mul(u64::from(spec.parallel.min(spec.guests)));
    const AROUND_NS: u64 = 300_000_000;
    MEASURED_NS
        .saturating_add(AROUND_NS)
        .saturating_add(memory_ns)
        .saturating_add(copy_ns.saturating_mul(3) / 2)
}

/// The copy's time that fits `left_ns`: down to a third of what was asked for, or none.
pub fn fit_ns(spec: &MigrateSpec, copy_ns: u64, left_ns: u64) -> Option<u64> {
    let rest_ns = need_ns(spec, 0);
    let fits_ns = left_ns.saturating_sub(rest_ns).saturating_mul(2) / 3;
    (fits_ns >= copy_ns / 3).then(|| copy_ns.min(fits_ns))
}

/// The copy's time where `left_ns` are left once memory is ready and the path measured: as asked for, or so much that a copy which takes
/// half as long again ends in time.
pub fn within_ns(copy_ns: u64, left_ns: u64) -> u64 {
    copy_ns.min(left_ns / 3 * 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is made to fit fits, and is no longer than was asked for; nothing is cut below a third.
        #[test]
        fn what_fits_fits(
            memory_bytes in 0u64..=u64::MAX,
            guests in 1u32..5,
            copy_ns in 1u64..100_000_000_000,
            left_ns in 0u64..200_000_000_000,
        ) {
            let spec = MigrateSpec { memory_bytes, guests, parallel: 2, ..MigrateSpec::default() };
            match fit_ns(&spec, copy_ns, left_ns) {
                Some(fits_ns) => {
                    prop_assert!(fits_ns <= copy_ns && fits_ns >= copy_ns / 3);
                    prop_assert!(fits_ns == 0 || need_ns(&spec, fits_ns) <= left_ns);
                }
                None => prop_assert!(need_ns(&spec, copy_ns / 3) >= left_ns),
            }
        }
    }

    #[test]
    fn a_step_without_a_limit_may_take_hours_and_one_with_a_limit_twice_that() {
        let limited = MigrateSpec { time_limit_ns: Some(5), memory_bytes: 1 << 30, ..MigrateSpec::default() };
        assert_eq!(duration_ns(&limited), 10 + 20_000_000_000 + (1 << 30));
        assert!(duration_ns(&MigrateSpec::default()) > 7_200_000_000_000);
        assert_eq!(duration_ns(&MigrateSpec { time_limit_ns: Some(u64::MAX), ..limited }), u64::MAX);
    }
}
