//! Whether paths carry the packets that their interfaces send, or what was expected of them.

use crate::{Check, Criteria, Direction, MtuLimit, MtuPath, Step, StepSpec, Unit};

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
        let text = "no pair of NICs reaches each other, so no path MTU is known";
        return vec![Check::inconclusive("ip-mtu", text)];
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
    const NAME: &str = "ip-mtu";
    let limit = expected.map(f64::from);
    let check = match (path.ip_mtu_bytes, expected) {
        (Some(edge), Some(expected)) if edge < expected => {
            Check::fail(NAME, format!("{name}: {edge} bytes pass, {expected} expected"))
        }
        (Some(edge), None) if matches!(path.limit, MtuLimit::Blackhole | MtuLimit::Fragmented) => {
            Check::fail(
                NAME,
                format!("{name}: {edge} bytes pass, larger packets do not ({})", path.limit.word()),
            )
        }
        (Some(edge), _) => Check::pass(NAME, format!("{name}: {edge} bytes pass")),
        (None, Some(expected)) if path.proven_ip_bytes.is_some_and(|proven| proven >= expected) => {
            Check::pass(NAME, format!("{name}: at least {expected} bytes pass"))
        }
        (None, _) => {
            let reason = path.reason.as_deref().unwrap_or("unknown");
            Check::inconclusive(NAME, format!("{name}: cannot tell ({reason})"))
        }
    };
    check.numbers(path.ip_mtu_bytes.or(path.proven_ip_bytes).map(f64::from), limit, Unit::Bytes)
}
