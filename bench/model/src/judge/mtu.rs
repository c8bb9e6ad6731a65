//! Whether paths carry the packets that their interfaces send, or what was expected of them.

use super::Check;
use crate::{Criteria, Direction, MtuLimit, MtuPath, Step, StepSpec};

/// One check for each path. Without an expectation a path fails when it silently loses or cuts what the
/// interfaces send; an honest router or an interface's own setting is a finding, not a failure.
pub fn paths(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    steps.iter().flat_map(|step| of_step(step, criteria)).collect()
}

fn of_step(step: &Step, criteria: &Criteria) -> Vec<Check> {
    let expected = match &step.spec {
        Some(StepSpec::Mtu(spec)) => spec.expect_ip_mtu_bytes,
        _ => None,
    };
    // What was asked for on the command line counts before a standing criterion.
    let expected = expected.or(criteria.mtu.ip_mtu_min_bytes);
    let paths = step.detail.paths.as_deref().unwrap_or_default();
    if paths.is_empty() {
        return vec![Check::unknown("no pair of NICs reaches each other, so no path MTU is known")];
    }
    paths.iter().map(|path| of_path(path, expected)).collect()
}

fn of_path(path: &MtuPath, expected: Option<u32>) -> Check {
    let way = match path.direction {
        Direction::Out => "out",
        Direction::In => "in",
        Direction::Both => "both ways",
    };
    let remote = path.remote_nic.as_deref().unwrap_or("peer");
    let name = format!("{} to {remote} IPv{} {way}", path.local_nic, path.family);
    match (path.ip_mtu_bytes, expected) {
        (Some(edge), Some(expected)) if edge < expected => {
            Check::fail(format!("{name}: {edge} bytes pass, {expected} expected"))
        }
        (Some(edge), None) if matches!(path.limit, MtuLimit::Blackhole | MtuLimit::Fragmented) => {
            Check::fail(format!("{name}: {edge} bytes pass, larger packets do not ({})", path.limit.word()))
        }
        (Some(edge), _) => Check::pass(format!("{name}: {edge} bytes pass")),
        (None, Some(expected)) if path.proven_ip_bytes.is_some_and(|proven| proven >= expected) => {
            Check::pass(format!("{name}: at least {expected} bytes pass"))
        }
        (None, _) => {
            Check::unknown(format!("{name}: cannot tell ({})", path.reason.as_deref().unwrap_or("unknown")))
        }
    }
}
