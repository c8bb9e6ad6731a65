//! What a check leaves out by plan, because it is to be short: said in the document, so that nobody takes what was not looked at for
//! what was found in order. What the time of a run cut is told by `record.rs`, what a long path left no time for by the conductor.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{CommandName, Direction, Finding, Plan, Port, StepSpec};

/// What a check that is not quick does on this path beside its plan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BesidePlan {
    /// Several NICs together, where each was measured alone.
    pub nics_together: bool,
    /// The port of a role held against the session's own.
    pub port_of_role: bool,
}

/// The finding that names the kinds of check that a plan leaves out; none where it has all of them. `quick`: what it leaves out beside
/// the plan, where it is a quick one.
pub(super) fn by_plan(plan: &Plan, budget_ns: Option<u64>, quick: Option<BesidePlan>) -> Option<Finding> {
    // A plan of the user's own takes its time, and one about a share asks no ports: those have what was asked for.
    let budget_ns = budget_ns.filter(|_| plan.command == CommandName::Check)?;
    let ports = plan.steps.iter().find_map(StepSpec::ports)?;
    let streams: Vec<_> = plan.steps.iter().filter_map(StepSpec::bulk).collect();
    let alone =
        |inward: bool| streams.iter().any(|one| one.singles && (!inward || one.direction != Direction::Out));
    let beside = quick.unwrap_or_default();
    let contends = plan.steps.iter().any(|spec| spec.contend().is_some());
    let kinds = [
        (ports.idle_ns == 0, "whether connections survive silence"),
        (!streams.iter().any(|one| one.direction == Direction::Both), "a stream both ways at once"),
        (!streams.iter().any(|one| one.lanes > 1), "streams of several lanes"),
        (alone(false) && !alone(true), "what each NIC takes in alone"),
        (beside.nics_together, "what all NICs carry together"),
        (beside.port_of_role, "what the port of the role carries"),
        (quick.is_some() && !contends, "classes of traffic that share the path (--thorough rehearses them)"),
    ];
    let left_out: Vec<&str> = kinds.iter().filter(|(out, _)| *out).map(|(_, kind)| *kind).collect();
    if left_out.is_empty() {
        return None;
    }
    let evidence = format!(
        "a check that takes {} at most has no time for these and does not try them: {}",
        Nanoseconds(budget_ns),
        left_out.join("; ")
    );
    let finding = Finding::new("RUN-LEFT-OUT", evidence);
    Some(finding.with("budget_ns", budget_ns).with("left_out", left_out))
}

/// The finding that names further ports of roles of which it was not measured what they carry; none where there are none.
pub(super) fn ports(ports: impl Iterator<Item = Port>, budget_ns: Option<u64>) -> Option<Finding> {
    let left_out: Vec<String> = ports.map(|port| format!("what {} carries", port.name())).collect();
    let budget_ns = budget_ns.filter(|_| !left_out.is_empty())?;
    let evidence = format!(
        "the roles need several ports, and in {} there was no time to measure of each what it carries: {}",
        Nanoseconds(budget_ns),
        left_out.join("; ")
    );
    let finding = Finding::new("RUN-LEFT-OUT", evidence)
        .with_next("Check once with each of the roles alone (--role), or with --thorough.");
    Some(finding.with("budget_ns", budget_ns).with("left_out", left_out))
}

#[cfg(test)]
mod tests {
    use pathproof_model::{PortsSpec, TrafficSpec};

    use super::*;

    const QUICK_NS: Option<u64> = Some(15_000_000_000);

    fn stream(direction: Direction, lanes: u32, singles: bool) -> StepSpec {
        StepSpec::Stream(TrafficSpec { direction, lanes, singles, ..TrafficSpec::default() })
    }

    fn check(idle_ns: u64, streams: &[StepSpec]) -> Plan {
        let mut steps = vec![StepSpec::Ports(PortsSpec { idle_ns, ..PortsSpec::default() })];
        steps.extend_from_slice(streams);
        Plan { command: CommandName::Check, steps, ..Plan::default() }
    }

    fn told(plan: &Plan, budget_ns: Option<u64>, quick: Option<BesidePlan>) -> Vec<String> {
        let found = by_plan(plan, budget_ns, quick);
        let kinds = found.and_then(|found| found.values.get("left_out").cloned());
        kinds.map_or_else(Vec::new, |kinds| serde_json::from_value(kinds).unwrap())
    }

    #[test]
    fn a_quick_check_tells_each_kind_that_it_leaves_out_and_one_that_has_all_of_them_tells_nothing() {
        let ways = [stream(Direction::Out, 4, false), stream(Direction::In, 4, false)];
        let whole = [ways.as_slice(), &[stream(Direction::Both, 1, false)]].concat();
        let none = Some(BesidePlan::default());
        let all = Some(BesidePlan { nics_together: true, port_of_role: true });
        assert_eq!(told(&check(8, &whole), Some(60_000_000_000), None), [""; 0]);
        assert_eq!(told(&check(0, &whole), Some(52_000_000_000), None).len(), 1);
        assert_eq!(told(&check(0, &ways), QUICK_NS, none).len(), 3);
        assert_eq!(told(&check(0, &ways), QUICK_NS, all).len(), 5);
        let evidence = by_plan(&check(0, &ways), QUICK_NS, all).unwrap().evidence;
        for kind in ["15.00 s", "silence", "both ways at once", "all NICs", "port of the role", "classes"] {
            assert!(evidence.contains(kind), "{kind}: {evidence}");
        }
    }

    #[test]
    fn a_quick_check_over_stripes_tells_what_it_does_not_measure_of_each_nic() {
        let quick = [stream(Direction::Out, 1, true), stream(Direction::In, 1, false)];
        let kinds = told(&check(0, &quick), QUICK_NS, Some(BesidePlan::default()));
        assert!(kinds.iter().any(|kind| kind.contains("takes in alone")), "{kinds:?}");
        assert!(kinds.iter().any(|kind| kind.contains("several lanes")), "{kinds:?}");
        let both = [stream(Direction::Out, 1, true), stream(Direction::In, 1, true)];
        let kinds = told(&check(0, &both), QUICK_NS, Some(BesidePlan::default()));
        assert!(!kinds.iter().any(|kind| kind.contains("takes in alone")), "{kinds:?}");
    }

    #[test]
    fn ports_of_further_roles_are_named_where_there_was_no_time_for_them() {
        let found = ports([Port::LiveMigration, Port::Cluster].into_iter(), Some(60_000_000_000)).unwrap();
        assert_eq!(found.code, "RUN-LEFT-OUT");
        let said = "what 6600/tcp carries; what 3343/tcp carries";
        assert!(found.evidence.ends_with(said), "{}", found.evidence);
        assert_eq!(ports([].into_iter(), Some(60_000_000_000)), None);
        assert_eq!(ports([Port::Smb].into_iter(), None), None, "a run without an end leaves nothing out");
    }

    #[test]
    fn what_is_no_check_of_ours_leaves_nothing_out() {
        let quick = Some(BesidePlan::default());
        assert_eq!(told(&check(0, &[]), None, quick), [""; 0], "a plan of the user's own");
        let share = Plan { command: CommandName::Check, ..Plan::default() };
        assert_eq!(told(&share, QUICK_NS, quick), [""; 0]);
        let bench = Plan { command: CommandName::Bench, ..check(0, &[]) };
        assert_eq!(told(&bench, QUICK_NS, quick), [""; 0]);
    }
}
