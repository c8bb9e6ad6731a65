//! What a rehearsal's specification must say to make sense, and what its names mean.

use pathproof_model::{ErrorKind, MigrateSpec, StepError};

use super::fault::Fault;
use crate::migrate::{AutoConverge, PAGE_BYTES, Policy};

/// Where dirty pages are learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// The guest says so.
    Log,
    /// The kernel does (`PAGEMAP_SCAN`).
    PagemapScan,
}

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
        None if spec.fault.as_deref() == Some("disk-bit-flip") => {
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
    tracker_of(spec)?;
    Ok(())
}

/// The policy that a specification names, with its options.
pub fn policy_of(spec: &MigrateSpec) -> Result<Policy, StepError> {
    let mut policy = Policy::named(&spec.policy).map_err(|e| invalid(e.to_string()))?;
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

/// The tracker that a specification names.
pub fn tracker_of(spec: &MigrateSpec) -> Result<Tracker, StepError> {
    match spec.tracker.as_str() {
        "log" => Ok(Tracker::Log),
        "pagemap-scan" => Ok(Tracker::PagemapScan),
        other => Err(invalid(format!("unknown tracker {other:?}; use log or pagemap-scan"))),
    }
}

/// The fault that a specification wants injected.
pub fn fault_of(spec: &MigrateSpec) -> Result<Option<Fault>, StepError> {
    spec.fault.as_deref().map(str::parse).transpose().map_err(invalid)
}

fn invalid(message: impl Into<String>) -> StepError {
    StepError { kind: ErrorKind::Invalid, message: message.into() }
}

#[cfg(test)]
mod tests {
    use pathproof_model::migrate::DiskSpec;

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
            (MigrateSpec { fault: Some("disk-bit-flip".into()), ..plain() }, "add --disk"),
            (MigrateSpec { chunk_bytes: 4095, ..plain() }, "between 4 KiB"),
            (MigrateSpec { bandwidth_bytes_per_s: Some(0), ..plain() }, "moves nothing"),
            (MigrateSpec { tracker: "soft-dirty".into(), ..plain() }, "use log or pagemap-scan"),
        ] {
            let error = check(&spec).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(says), "{}", error.message);
        }
        check(&MigrateSpec { disk: disk(1), fault: Some("disk-bit-flip".into()), ..plain() }).unwrap();
    }

    #[test]
    fn names_mean_what_they_say_or_are_refused() {
        let spec = MigrateSpec { policy: "qemu".into(), post_copy: true, ..MigrateSpec::default() };
        let spec = MigrateSpec { downtime_limit_ns: Some(7), ..spec };
        let policy = policy_of(&spec).unwrap();
        assert_eq!(policy.downtime_limit_ns(), Some(7));
        assert!(matches!(policy, Policy::Qemu { post_copy: true, auto_converge: None, .. }));
        let error = policy_of(&MigrateSpec { policy: "xen".into(), ..spec.clone() }).unwrap_err();
        assert!(error.message.contains("policy xen has neither"), "{}", error.message);
        assert!(policy_of(&MigrateSpec { policy: "vmware".into(), ..spec.clone() }).is_err());
        for (name, fault) in [
            ("bit-flip", Fault::BitFlip),
            ("lost-page", Fault::LostPage),
            ("disk-bit-flip", Fault::DiskBitFlip),
        ] {
            let spec = MigrateSpec { fault: Some(name.into()), ..spec.clone() };
            assert_eq!(fault_of(&spec).unwrap(), Some(fault));
        }
        let error = fault_of(&MigrateSpec { fault: Some("smoke".into()), ..spec }).unwrap_err();
        assert!(error.message.contains("use bit-flip, lost-page or disk-bit-flip"), "{}", error.message);
    }
}
