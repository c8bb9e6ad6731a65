//! Whether paths carry the packets that their interfaces send, or what was expected of them.

use super::{names, segments};
use crate::units::Bytes;
use crate::{Check, Criteria, Direction, MtuLimit, MtuPath, ResultDoc, Step, Unit};

const NAME: &str = names::IP_MTU;

/// One check for each path. A path fails when it silently loses or cuts what the interfaces send, on the way or at the
/// receiving interface, and when it carries less than was expected; an honest router or the sending interface's own
/// setting is a finding, not a failure.
pub fn paths(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    steps.iter().flat_map(|step| of_step(doc, step, criteria)).collect()
}

fn of_step(doc: &ResultDoc, step: &Step, criteria: &Criteria) -> Vec<Check> {
    let expected = step.spec.as_ref().and_then(|spec| spec.mtu()?.expect_ip_mtu_bytes);
    // What was asked for on the command line counts before a standing criterion.
    let expected = expected.or(criteria.mtu.ip_mtu_min_bytes);
    let paths = step.detail.paths.as_deref().unwrap_or_default();
    if paths.is_empty() {
        let text = "no pair of NICs reaches each other, so no path MTU is known";
        return vec![Check::inconclusive(NAME, text)];
    }
    paths
        .iter()
        .map(|path| by_segments(doc, path, expected).unwrap_or_else(|| of_path(path, expected)))
        .collect()
}

/// A path on which no probe of any sort was answered, and TCP sent packets as large as were expected, or as the interfaces
/// send. Smaller ones say nothing about the path: they may be what a host was set to.
fn by_segments(doc: &ResultDoc, path: &MtuPath, expected: Option<u32>) -> Option<Check> {
    if path.proven_ip_bytes.is_some() {
        return None;
    }
    let ends = [path.sender_ip_mtu_bytes(), path.receiver_ip_mtu_bytes()];
    let least = ends.into_iter().flatten().min().filter(|_| ends.iter().all(Option::is_some));
    let wanted = expected.or(least)?;
    let carried = segments(&doc.steps, path.local_address, path.remote_address, path.direction)?;
    (carried.ip_bytes >= wanted).then(|| {
        let text = format!(
            "{}: no probe was answered, and TCP carried {} in packets of {} bytes",
            name_of(path),
            Bytes(carried.payload_bytes),
            carried.ip_bytes
        );
        Check::pass(NAME, text).numbers(f64::from(carried.ip_bytes), expected.map(f64::from), Unit::Bytes)
    })
}

fn name_of(path: &MtuPath) -> String {
    let way = match path.direction {
        Direction::Out => "out",
        Direction::In => "in",
        Direction::Both => "both ways",
    };
    let remote = path.remote_nic.as_deref().unwrap_or("peer");
    format!("{} to {remote} IPv{} {way}", path.local_nic, path.family)
}

fn of_path(path: &MtuPath, expected: Option<u32>) -> Check {
    let name = name_of(path);
    let limit = expected.map(f64::from);
    let check = match (path.ip_mtu_bytes, expected) {
        (Some(edge), Some(expected)) if edge < expected => {
            Check::fail(NAME, format!("{name}: {edge} bytes pass, {expected} expected"))
        }
        (Some(edge), Some(expected)) if path.route.as_ref().is_some_and(|r| r.ip_mtu_bytes < expected) => {
            let route = path.route.as_ref().map_or(0, |route| route.ip_mtu_bytes);
            let why = format!("TCP sends at most {route} because its route says so");
            Check::fail(NAME, format!("{name}: {edge} bytes pass and {expected} are expected, but {why}"))
        }
        (Some(edge), _) if path.is_swallowed_by_receiver() => {
            let why =
                "larger packets are dropped at the receiving NIC, whose MTU is smaller than the sender's";
            Check::fail(NAME, format!("{name}: {edge} bytes pass, {why}"))
        }
        // Whatever was expected: the interfaces send what the path loses.
        (Some(edge), _) if matches!(path.limit, MtuLimit::Blackhole | MtuLimit::Fragmented) => Check::fail(
            NAME,
            format!("{name}: {edge} bytes pass, larger packets do not ({})", path.limit.word()),
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepSpec;
    use crate::{MtuRoute, Outcome, ResultDoc, StepKind, Tool};

    /// How a path from 9000 to `receiver` comes out that carries `edge`, where so much is expected.
    fn judged(change: impl FnOnce(&mut MtuPath), expected: Option<u32>) -> (Outcome, String) {
        let mut path = MtuPath {
            local_nic: "n1".into(),
            remote_nic: Some("n2".into()),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            family: 4,
            direction: Direction::Out,
            method: crate::MtuMethod::Agent,
            ip_mtu_bytes: Some(1504),
            limit: MtuLimit::Remote,
            numbers: None,
            proven_ip_bytes: Some(1504),
            reason: None,
            local_ip_mtu_bytes: Some(9000),
            remote_ip_mtu_bytes: Some(1500),
            cached_ip_mtu_bytes: None,
            route: None,
            routers: vec![],
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 40,
            fitting_lost: 0,
            probes: 60,
            loss_rounds: 2,
            fragments: None,
            elapsed_ns: 1,
            tried: vec![],
        };
        change(&mut path);
        let mut step = Step::new(StepKind::Mtu, "path MTU");
        let spec = crate::MtuSpec { expect_ip_mtu_bytes: expected, ..crate::MtuSpec::default() };
        (step.spec, step.detail.paths) = (Some(StepSpec::Mtu(spec)), Some(vec![path]));
        let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
        let verdict = crate::judge(&doc, &Criteria::default()).remove(0);
        (verdict.outcome, verdict.reason)
    }

    #[test]
    fn what_the_receiving_nic_swallows_fails_whatever_is_expected() {
        for expected in [None, Some(1500)] {
            let (outcome, reason) = judged(|_| {}, expected);
            assert_eq!(outcome, Outcome::Fail, "{reason}");
            assert!(reason.contains("are dropped at the receiving NIC"), "{reason}");
            let blackhole = |path: &mut MtuPath| path.limit = MtuLimit::Blackhole;
            assert_eq!(judged(blackhole, expected).0, Outcome::Fail);
        }
    }

    #[test]
    fn who_says_no_out_loud_is_honest_and_who_says_nothing_at_all_is_not_known() {
        for limit in [MtuLimit::None, MtuLimit::Local, MtuLimit::Router] {
            let honest = |path: &mut MtuPath| path.limit = limit;
            assert_eq!(judged(honest, None).0, Outcome::Pass, "{limit:?}");
            assert_eq!(judged(|path| path.limit = limit, Some(9000)).0, Outcome::Fail, "{limit:?}");
        }
        let unknown = |path: &mut MtuPath| {
            (path.limit, path.ip_mtu_bytes, path.proven_ip_bytes) = (MtuLimit::Unknown, None, None);
        };
        assert_eq!(judged(unknown, None).0, Outcome::Inconclusive);
        // The reply to an echo may come in pieces; that is no loss.
        let in_pieces = |path: &mut MtuPath| {
            (path.method, path.largest_fragment_bytes) = (crate::MtuMethod::Echo, Some(1500));
        };
        assert_eq!(judged(in_pieces, None).0, Outcome::Pass);
        // What is swallowed is swallowed, whatever found it.
        assert_eq!(judged(|path| path.method = crate::MtuMethod::Echo, None).0, Outcome::Fail);
    }

    #[test]
    fn a_route_that_keeps_tcp_below_what_was_expected_fails() {
        let jumbo = |path: &mut MtuPath| {
            (path.ip_mtu_bytes, path.limit) = (Some(9000), MtuLimit::None);
            let destination = "10.0.0.0/24".into();
            path.route = Some(MtuRoute { destination, ip_mtu_bytes: 1500, locked: true });
        };
        assert_eq!(judged(jumbo, None).0, Outcome::Pass);
        assert_eq!(judged(jumbo, Some(1500)).0, Outcome::Pass);
        let (outcome, reason) = judged(jumbo, Some(9000));
        assert_eq!(outcome, Outcome::Fail);
        assert!(reason.contains("TCP sends at most 1500"), "{reason}");
    }
}
