//! Whether the ports pass that the declared role needs, and whether as many connections open as are asked for.

use crate::units::Nanoseconds;
use crate::{
    Check, ErrorKind, OpenedRecord, Outcome, PortAnswer, PortRecord, PortsWhere, SilentRecord, Step,
    StepSpec, Unit,
};

/// What no role needs is told and not judged.
pub(super) fn ports(steps: &[&Step]) -> Vec<Check> {
    let asked = |step: &Step, at: PortsWhere| {
        step.spec.as_ref().and_then(StepSpec::ports).is_some_and(|ports| ports.at == at)
    };
    // What each network lets through is told beside it: another one may carry what one does not.
    if steps.iter().all(|step| asked(step, PortsWhere::Networks)) {
        return vec![];
    }
    let records = steps.iter().filter_map(|step| step.detail.ports.as_ref()).flatten();
    let bursts = steps.iter().filter_map(|step| step.detail.opened_at_once.as_ref()).flatten();
    let needed = |record: &&PortRecord| !record.needed_by.is_empty();
    let mut checks: Vec<Check> = records.filter(needed).map(|record| port(record, None)).collect();
    // Those that SMB would use are each to carry it; what is not known of one stands beside it.
    let beside = steps.iter().filter(|step| asked(step, PortsWhere::Beside));
    for network in beside.filter_map(|step| step.detail.network_ports.as_ref()).flatten() {
        let known = network.ports.iter().filter(|record| record.answer != PortAnswer::Unknown);
        checks.extend(known.filter(needed).map(|record| port(record, Some(&network.subnet))));
    }
    checks.extend(bursts.map(opened));
    checks.extend(steps.iter().flat_map(|step| silences(step)));
    if checks.is_empty() {
        let text = "no --role says which ports matter, and there was none for a burst of connections";
        checks.push(Check::not_judged("port-open", text));
    }
    checks
}

fn port(record: &PortRecord, subnet: Option<&str>) -> Check {
    let roles: Vec<&str> = record.needed_by.iter().map(|role| role.name()).collect();
    let over = subnet.map_or_else(String::new, |subnet| format!(" over {subnet}"));
    let answer = record.answer.name();
    let text = format!("{}{over}, needed by {}: {answer}", record.words(), roles.join(" and "));
    match (record.answer, &record.reason) {
        (PortAnswer::Answered, _) => Check::pass("port-open", text),
        (PortAnswer::Refused | PortAnswer::Unreachable | PortAnswer::Filtered, _) => {
            Check::fail("port-open", text)
        }
        (PortAnswer::Unknown, Some(why)) => Check::inconclusive("port-open", format!("{text}: {why}")),
        (PortAnswer::Unknown, None) => Check::inconclusive("port-open", text),
    }
}

fn opened(record: &OpenedRecord) -> Check {
    let (way, burst) = (record.direction.name(), record.opened);
    let (opened, asked, over) = (burst.opened, burst.asked, record.over());
    let text = format!("{opened} of {asked} connections at once opened {way}{over}");
    // None that could be tried says nothing.
    if burst.asked == 0 {
        return Check::inconclusive("connections-opened", text);
    }
    let check = Check::of("connections-opened", burst.opened >= burst.asked, text);
    check.numbers(f64::from(burst.opened), f64::from(burst.asked), Unit::Count)
}

/// What silence did to connections. In a step that lost the session's own, which is never silent, dead ones say nothing of it.
fn silences(step: &Step) -> Vec<Check> {
    let records = step.detail.left_silent.as_deref().unwrap_or_default();
    let lost = step.error.as_ref().is_some_and(|why| why.kind == ErrorKind::PeerLost);
    let mut checks: Vec<Check> = records.iter().filter_map(survives).collect();
    for check in checks.iter_mut().filter(|check| lost && check.outcome == Outcome::Fail) {
        check.outcome = Outcome::Inconclusive;
        check.text.push_str(", and so is the session's own, which was never silent: it may be their age");
    }
    checks
}

fn survives(record: &SilentRecord) -> Option<Check> {
    let (way, longest) = (format!("{}{}", record.direction.name(), record.over()), record.tried.last()?);
    Some(match record.forgotten() {
        Some((_, dead_ns)) => {
            let text = format!("a connection that was silent for {} is dead {way}", Nanoseconds(dead_ns));
            Check::fail("silence-survived", text)
        }
        None if longest.alive => {
            let text = format!("a connection survives {} of silence {way}", Nanoseconds(longest.silent_ns));
            Check::pass("silence-survived", text)
        }
        None => Check::inconclusive("silence-survived", format!("silent connections died by chance {way}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, LeftSilent, OpenedAtOnce, Port, Role, StepError, StepKind, Verdict};

    fn judged(answer: PortAnswer, needed: bool, opened: Option<u32>) -> Outcome {
        let mut step = Step::new(StepKind::Ports, "ports");
        step.detail.ports = Some(vec![PortRecord {
            port: Port::Smb,
            name: Port::Smb.name(),
            direction: Direction::Out,
            answer,
            by: None,
            reason: None,
            needed_by: if needed { vec![Role::Smb] } else { vec![] },
        }]);
        step.detail.opened_at_once = opened.map(|opened| {
            let opened = OpenedAtOnce { port: 5445, asked: 32, opened, ..OpenedAtOnce::default() };
            vec![OpenedRecord::of_session(Direction::Out, opened)]
        });
        Verdict::of("ports", ports(&[&step])).unwrap().outcome
    }

    #[test]
    fn only_what_a_role_needs_is_judged_and_only_an_answer_passes() {
        use PortAnswer::{Answered, Filtered, Refused, Unknown, Unreachable};
        for (answer, needed, outcome) in [
            (Answered, true, Outcome::Pass),
            (Refused, true, Outcome::Fail),
            (Unreachable, true, Outcome::Fail),
            (Unreachable, false, Outcome::NotJudged),
            (Filtered, true, Outcome::Fail),
            (Unknown, true, Outcome::Inconclusive),
            (Filtered, false, Outcome::NotJudged),
            (Answered, false, Outcome::NotJudged),
        ] {
            assert_eq!(judged(answer, needed, None), outcome, "{answer:?}, needed: {needed}");
        }
    }

    #[test]
    fn ports_of_networks_are_told_beside_those_and_not_judged() {
        let mut step = Step::new(StepKind::Ports, "ports");
        assert_eq!(ports(&[&step]).len(), 1, "nothing was asked for, and that is said");
        let spec = crate::PortsSpec { at: PortsWhere::Networks, ..crate::PortsSpec::default() };
        step.spec = Some(StepSpec::Ports(spec));
        assert!(ports(&[&step]).is_empty());
    }

    #[test]
    fn a_network_that_smb_would_use_is_judged_by_what_the_role_needs_there() {
        let on = |answer: PortAnswer, needed: bool| {
            let record = PortRecord {
                port: Port::Smb,
                name: Port::Smb.name(),
                direction: Direction::Out,
                answer,
                by: None,
                reason: None,
                needed_by: if needed { vec![Role::Smb] } else { vec![] },
            };
            let mut first = Step::new(StepKind::Ports, "ports");
            first.detail.ports = Some(vec![PortRecord { answer: PortAnswer::Answered, ..record.clone() }]);
            let mut beside = Step::new(StepKind::Ports, "ports of the other networks");
            let spec = crate::PortsSpec { at: PortsWhere::Beside, ..crate::PortsSpec::default() };
            beside.spec = Some(StepSpec::Ports(spec));
            let network = crate::NetworkPorts { subnet: "10.0.2.0/24".into(), ports: vec![record] };
            beside.detail.network_ports = Some(vec![network]);
            Verdict::of("ports", ports(&[&first, &beside])).unwrap()
        };
        let closed = on(PortAnswer::Filtered, true);
        assert_eq!(closed.outcome, Outcome::Fail);
        assert!(closed.reason.contains("445/tcp (SMB) out over 10.0.2.0/24"), "{}", closed.reason);
        assert_eq!(on(PortAnswer::Answered, true).outcome, Outcome::Pass);
        let unknown = on(PortAnswer::Unknown, true);
        assert_eq!((unknown.outcome, unknown.checks.len()), (Outcome::Pass, 1), "it is told, and not judged");
        assert_eq!(on(PortAnswer::Filtered, false).outcome, Outcome::NotJudged);
    }

    #[test]
    fn a_silence_that_kills_must_kill_every_longer_one_too() {
        let record = |alive: &[bool]| {
            let tried = alive.iter().enumerate().map(|(at, alive)| LeftSilent {
                silent_ns: 1_000_000_000 << at,
                alive: *alive,
                ..LeftSilent::default()
            });
            SilentRecord {
                direction: Direction::Out,
                subnet: None,
                tried: tried.collect(),
                used_answered_ns: vec![],
            }
        };
        for (alive, outcome) in [
            (&[true, true, true][..], Outcome::Pass),
            (&[true, false, false], Outcome::Fail),
            (&[false, false, false], Outcome::Fail),
            (&[true, true, false], Outcome::Fail),
            (&[false, true, true], Outcome::Pass),
            (&[false, true, false], Outcome::Inconclusive),
        ] {
            assert_eq!(survives(&record(alive)).unwrap().outcome, outcome, "{alive:?}");
        }
        assert_eq!(record(&[true, false, false]).forgotten(), Some((1_000_000_000, 2_000_000_000)));
        assert!(survives(&record(&[])).is_none());
    }

    #[test]
    fn connections_that_died_with_the_session_do_not_tell_of_silence() {
        // As run where every connection was reset that was 8 s old.
        let judged = |kind: Option<ErrorKind>| {
            let tried = [(1005, true), (2006, true), (4006, true), (8006, false)]
                .map(|(ms, alive)| LeftSilent { silent_ns: ms * 1_000_000, alive, ..LeftSilent::default() });
            let mut step = Step::new(StepKind::Ports, "ports");
            step.detail.left_silent = Some(vec![SilentRecord {
                direction: Direction::Out,
                subnet: None,
                tried: tried.to_vec(),
                used_answered_ns: vec![],
            }]);
            let message = "Connection reset by peer (os error 104)".to_owned();
            step.error = kind.map(|kind| StepError::new(kind, message));
            let check = silences(&step).remove(0);
            (check.outcome, check.text.contains("may be their age"))
        };
        assert_eq!(judged(Some(ErrorKind::PeerLost)), (Outcome::Inconclusive, true));
        assert_eq!(judged(Some(ErrorKind::OutOfTime)), (Outcome::Fail, false));
        assert_eq!(judged(None), (Outcome::Fail, false));
    }

    #[test]
    fn a_burst_must_open_whole() {
        assert_eq!(judged(PortAnswer::Filtered, false, Some(32)), Outcome::Pass);
        assert_eq!(judged(PortAnswer::Answered, true, Some(31)), Outcome::Fail);
        assert_eq!(judged(PortAnswer::Answered, true, Some(0)), Outcome::Fail);
        let none = OpenedRecord::of_session(Direction::In, OpenedAtOnce::default());
        assert_eq!(super::opened(&none).outcome, Outcome::Inconclusive, "none was tried");
        let opened = OpenedAtOnce { asked: 8, opened: 6, ..OpenedAtOnce::default() };
        let over = OpenedRecord {
            subnet: Some("10.9.1.0/24".into()),
            ..OpenedRecord::of_session(Direction::Out, opened)
        };
        let check = super::opened(&over);
        assert_eq!(check.outcome, Outcome::Fail);
        assert!(check.text.ends_with("6 of 8 connections at once opened out over 10.9.1.0/24"), "{check:?}");
    }
}
