//! What a rehearsal's specification says: checked, its recorded log read, and its parts that other steps share.

use pathproof_engine::migrate::copy::{check, policy_of};
use pathproof_engine::migrate::{Pattern, PatternError};
use pathproof_model::{ErrorKind, MigrateSpec, StepError, StepSpec, TrafficSpec};

/// Largest log that is replayed: ten million pages.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Everything that can be refused without looking at either host.
pub fn check_all(spec: &MigrateSpec) -> Result<(), StepError> {
    check(spec)?;
    policy_of(spec)?;
    pattern_of(spec)?;
    Ok(())
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
    spec.pattern.parse().map_err(|e: PatternError| invalid(e.to_string()))
}

/// The migration in a step's specification.
pub fn spec_of(spec: &StepSpec) -> Result<&MigrateSpec, StepError> {
    spec.migrate().ok_or_else(|| invalid("this is not a migrate step"))
}

/// The part of a specification that traffic steps share.
pub fn as_traffic(spec: &MigrateSpec) -> TrafficSpec {
    TrafficSpec { over: spec.over.clone(), options: spec.options.clone(), ..TrafficSpec::default() }
}

/// What makes no sense, in words.
pub fn invalid(message: impl Into<String>) -> StepError {
    StepError::new(ErrorKind::Invalid, message.into())
}
