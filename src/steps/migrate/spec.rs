//! What a rehearsal's specification must say to make sense, and what it names.

use pathproof_engine::migrate::copy::Fault;
use pathproof_engine::migrate::{AutoConverge, PAGE_BYTES, Pattern, Policy};
use pathproof_model::{ErrorKind, MigrateSpec, StepError, StepSpec, TrafficSpec};

/// Largest log that is replayed: ten million pages.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Everything that can be refused without looking at either host.
pub fn check_all(spec: &MigrateSpec) -> Result<(), StepError> {
    check(spec)?;
    policy_of(spec)?;
    pattern_of(spec)?;
    fault_of(spec)?;
    Ok(())
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
    if !["log", "pagemap-scan"].contains(&spec.tracker.as_str()) {
        return Err(invalid(format!("unknown tracker {:?}; use log or pagemap-scan", spec.tracker)));
    }
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

/// The pattern that a specification names.
pub fn pattern_of(spec: &MigrateSpec) -> Result<Pattern, StepError> {
    if let Some(file) = spec.pattern.strip_prefix("replay=") {
        let text = crate::input::read(file.as_ref(), LOG_BYTES_MAX)
            .and_then(|bytes| Ok(String::from_utf8(bytes)?))
            .map_err(|e| invalid(format!("the recorded dirty log {file} cannot be read: {e:#}")))?;
        let log: Result<Vec<u64>, _> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::parse).collect();
        let log =
            log.map_err(|e| invalid(format!("{file}: one page number on each line is expected ({e})")))?;
        return Ok(Pattern::Replay(log.into()));
    }
    spec.pattern.parse().map_err(|e: pathproof_engine::migrate::PatternError| invalid(e.to_string()))
}

/// The fault that a specification wants injected.
pub fn fault_of(spec: &MigrateSpec) -> Result<Option<Fault>, StepError> {
    spec.fault.as_deref().map(str::parse).transpose().map_err(invalid)
}

/// The migration in a step's specification.
pub fn spec_of(spec: &StepSpec) -> Result<&MigrateSpec, StepError> {
    match spec {
        StepSpec::Migrate(migrate) => Ok(migrate),
        _ => Err(invalid("this is not a migrate step")),
    }
}

/// The part of a specification that traffic steps share.
pub fn as_traffic(spec: &MigrateSpec) -> TrafficSpec {
    TrafficSpec { over: spec.over.clone(), options: spec.options.clone(), ..TrafficSpec::default() }
}

/// What makes no sense, in words.
pub fn invalid(message: impl Into<String>) -> StepError {
    StepError { kind: ErrorKind::Invalid, message: message.into() }
}
