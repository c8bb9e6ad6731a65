//! What a rehearsal's specification must say to make sense, and the policy that it means.

use pathproof_model::migrate::InjectedFault;
use pathproof_model::{ErrorKind, MigrateSpec, StepError};

use crate::migrate::{AutoConverge, PAGE_BYTES, Policy};

/// Numbers and names that fit together.
pub fn check(spec: &MigrateSpec) -> Result<(), StepError> {
    if spec.memory_bytes < PAGE_BYTES || !spec.memory_bytes.is_multiple_of(PAGE_BYTES) {
        return Err(invalid(format!(
            "guest memory of {} bytes; it must be a multiple of {PAGE_BYTES} and more than 0",
            spec.memory_bytes
        )));
    }
    if spec.memory_bytes / PAGE_BYTES > u64::from(u32::MAX) {
        return Err(invalid("guest memory beyond 16 TiB is not supported"));
    }
    if spec.lanes == 0 || spec.guests == 0 || spec.parallel == 0 {
        return Err(invalid("lanes, guests and parallel must all be at least 1"));
    }
    if spec.compressible_percent > 100 {
        return Err(invalid(format!(
            "{} % of compressible pages; at most 100 make sense",
            spec.compressible_percent
        )));
    }
    match &spec.disk {
        Some(disk) if disk.bytes == 0 || disk.bytes > 64 << 40 => {
            return Err(invalid(format!("a disk of {} bytes; between 1 B and 64 TiB can move", disk.bytes)));
        }
        None if spec.fault == Some(InjectedFault::DiskBitFlip) => {
            return Err(invalid("fault disk-bit-flip needs a disk to flip a bit of; add --disk"));
        }
        _ => {}
    }
    if spec.zero_percent > 100 {
        return Err(invalid(format!("{} % of zero pages; at most 100 make sense", spec.zero_percent)));
    }
    if !(PAGE_BYTES..=64 << 20).contains(&u64::from(spec.chunk_bytes)) {
        return Err(invalid("a chunk is between 4 KiB and 64 MiB"));
    }
    if spec.bandwidth_bytes_per_s == Some(0) {
        return Err(invalid("a bandwidth of 0 moves nothing; leave the cap out for none"));
    }
    Ok(())
}

/// The policy that a specification names, with its options.
pub fn policy_of(spec: &MigrateSpec) -> Result<Policy, StepError> {
    let mut policy = Policy::named(spec.policy);
    if let Some(limit) = spec.downtime_limit_ns {
        policy = policy.with_downtime_limit_ns(limit);
    }
    match &mut policy {
        Policy::Qemu { auto_converge, post_copy, .. } => {
            *auto_converge = spec.auto_converge.then(AutoConverge::default);
            *post_copy = spec.post_copy;
        }
        _ if spec.auto_converge || spec.post_copy => {
            return Err(invalid(format!(
                "auto-converge and post-copy are QEMU's; policy {} has neither",
                spec.policy
            )));
        }
        _ => {}
    }
    Ok(policy)
}

fn invalid(message: impl Into<String>) -> StepError {
    StepError::new(ErrorKind::Invalid, message.into())
}

#[cfg(test)]
mod tests {
    use pathproof_model::migrate::{DiskSpec, PolicyName};

    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let plain = MigrateSpec::default;
        check(&plain()).unwrap();
        let disk = |bytes| Some(DiskSpec { bytes, ..DiskSpec::default() });
        for (spec, says) in [
            (MigrateSpec { memory_bytes: 4097, ..plain() }, "a multiple of 4096"),
            (MigrateSpec { memory_bytes: 0, ..plain() }, "more than 0"),
            (MigrateSpec { memory_bytes: 1 << 50, ..plain() }, "16 TiB"),
            (MigrateSpec { guests: 0, ..plain() }, "at least 1"),
            (MigrateSpec { compressible_percent: 101, ..plain() }, "101 % of compressible"),
            (MigrateSpec { zero_percent: 101, ..plain() }, "101 % of zero"),
            (MigrateSpec { disk: disk(0), ..plain() }, "a disk of 0 bytes"),
            (MigrateSpec { fault: Some(InjectedFault::DiskBitFlip), ..plain() }, "add --disk"),
            (MigrateSpec { chunk_bytes: 4095, ..plain() }, "between 4 KiB"),
            (MigrateSpec { bandwidth_bytes_per_s: Some(0), ..plain() }, "moves nothing"),
        ] {
            let error = check(&spec).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(says), "{}", error.message);
        }
        check(&MigrateSpec { disk: disk(1), fault: Some(InjectedFault::DiskBitFlip), ..plain() }).unwrap();
    }

    #[test]
    fn what_only_one_policy_has_is_refused_of_others() {
        let spec = MigrateSpec { policy: PolicyName::Qemu, post_copy: true, ..MigrateSpec::default() };
        let spec = MigrateSpec { downtime_limit_ns: Some(7), ..spec };
        let policy = policy_of(&spec).unwrap();
        assert_eq!(policy.downtime_limit_ns(), Some(7));
        assert!(matches!(policy, Policy::Qemu { post_copy: true, auto_converge: None, .. }));
        let error = policy_of(&MigrateSpec { policy: PolicyName::Xen, ..spec }).unwrap_err();
        assert!(error.message.contains("policy xen has neither"), "{}", error.message);
    }
}
