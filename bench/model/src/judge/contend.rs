//! Judging classes that share a path: what migrations took from storage, and whether the hosts of a cluster still heard each other.

mod ets;
mod priorities;
mod reserved;

use reserved::Reserved;

use super::busy::unless_flow_busy;
use super::names;
use crate::units::{BitsPerSecond, Nanoseconds};
use crate::{
    Check, Class, ClassFigures, CommandName, ContendDetail, Criteria, Flow, LatencySummary, Outcome,
    PhaseName, ResultDoc, Role, Share, Step, StepSpec, Unit,
};

/// The checks of all steps over one transport.
pub(super) fn classes(doc: &ResultDoc, steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
    let is_shared = is_meant_to_be_shared(doc);
    let of = |step: &Step| {
        let own = one(doc, step, criteria).into_iter();
        let own = own.map(|check| if is_shared { check } else { told_alone(check) });
        // What is to lose nothing is to lose nothing whoever the path is for.
        let mut checks: Vec<Check> = own.chain(priorities::checks(doc, step)).collect();
        // Of a run that has both, each says which it is.
        if let Some(nic) = step.spec.as_ref().and_then(|spec| spec.contend()?.lost_nic.as_ref()) {
            checks.iter_mut().for_each(|check| check.text = format!("without {nic} {}", check.text));
        }
        checks
    };
    steps.iter().filter(|step| speaks(step, steps)).flat_map(|step| of(step)).collect()
}

/// Whether storage and migrations are to share the path: who asks for contention says so, and so does the role of a check. A path that is for
/// one of them alone is none the worse for what they would take from each other.
pub fn is_meant_to_be_shared(doc: &ResultDoc) -> bool {
    let Some(plan) = &doc.requested else { return true };
    plan.command != CommandName::Check || plan.is_for(Role::Cluster) || plan.is_for(Role::Hyperv)
}

/// What is missed is told, and held against nothing.
fn told_alone(check: Check) -> Check {
    if check.outcome == Outcome::Pass {
        return check;
    }
    let text = format!("{}; not judged: --role cluster or hyperv says that both share this path", check.text);
    Check { outcome: Outcome::NotJudged, text, ..check }
}

/// Of a sweep one number of migrations at once is judged: the one that is advised, and where none is, the fewest.
fn speaks(step: &Step, steps: &[&Step]) -> bool {
    let spec = |step: &Step| step.spec.as_ref().and_then(StepSpec::contend).cloned();
    let Some(own) = spec(step).filter(|own| !own.sweep.is_empty()) else { return true };
    let of_it = || steps.iter().filter(|one| spec(one).is_some_and(|one| one.sweep == own.sweep));
    let last = of_it().next_back().and_then(|one| one.detail.contend.as_ref());
    let fewest = || of_it().filter_map(|one| Some(spec(one)?.migrations)).min();
    last.and_then(|detail| detail.advice.migrations).or_else(fewest) == Some(own.migrations)
}

fn one(doc: &ResultDoc, step: &Step, criteria: &Criteria) -> Vec<Check> {
    let Some(detail) = &step.detail.contend else {
        return vec![Check::inconclusive(
            names::STORAGE_SHARE,
            format!("{}: there is no account of it", step.name),
        )];
    };
    let reserved = Reserved::of(doc, step, detail, criteria);
    let is_overload = reserved.is_overload(detail);
    let mut checks =
        vec![share(step, detail, criteria, is_overload), added(step, detail, criteria, is_overload)];
    checks.extend(heartbeats(detail, criteria));
    checks.push(migration(detail, criteria));
    let held = reserved.checks(step, detail, criteria);
    // What somebody says should be, or asks enough for, is what the run was made for.
    let (first, last) = if reserved.is_expected() || is_overload { (held, checks) } else { (checks, held) };
    first.into_iter().chain(last).collect()
}

impl ContendDetail {
    /// A class in a phase.
    pub fn figures(&self, phase: PhaseName, class: Class) -> Option<&ClassFigures> {
        let phase = self.phases.iter().find(|one| one.name == phase)?;
        phase.classes.iter().find(|one| one.name == class)
    }
}

const OVERLOAD: &str =
    "not judged where storage by itself asks for more than the path has and its share is judged";

fn share(step: &Step, detail: &ContendDetail, criteria: &Criteria, is_overload: bool) -> Check {
    const NAME: &str = names::STORAGE_SHARE;
    let limit = criteria.contend.storage_share_min;
    let Some(share) = detail.cost.storage_share else {
        let text = "what storage carries alone and beside migrations was not both measured";
        return Check::inconclusive(NAME, text).numbers(None, limit, Unit::Share);
    };
    let rate = |phase| {
        let carried = detail.figures(phase, Class::Storage).and_then(|storage| storage.goodput_bits_per_s);
        carried.map_or_else(|| "unknown".into(), |rate| BitsPerSecond(rate).to_string())
    };
    let text = format!(
        "storage carries {} beside migrations and {} alone, {:.0} % (limit {:.0} %)",
        rate(PhaseName::Both),
        rate(PhaseName::Storage),
        share * 100.0,
        limit * 100.0
    );
    if is_overload {
        return Check::not_judged(NAME, format!("{text}; {OVERLOAD}")).numbers(share, limit, Unit::Share);
    }
    let check = Check::of(NAME, share >= limit, text).numbers(share, limit, Unit::Share);
    unless_flow_busy(check, step, flow(step, detail, PhaseName::Both, Class::Storage), |hosts| {
        hosts.explain_rate(share, limit)
    })
}

fn added(step: &Step, detail: &ContendDetail, criteria: &Criteria, is_overload: bool) -> Check {
    const NAME: &str = names::STORAGE_P99_ADDED;
    let limit_ns = criteria.contend.storage_p99_added_max_ns;
    if is_overload {
        let added_ns = detail.cost.storage_p99_added_ns.map(|ns| ns as f64);
        let check = Check::not_judged(NAME, format!("what migrations add to storage's p99 is {OVERLOAD}"));
        return check.numbers(added_ns, limit_ns as f64, Unit::Ns);
    }
    let times = |phase| -> Option<LatencySummary> { detail.figures(phase, Class::Storage)?.response_ns };
    let (Some(added_ns), Some(alone), Some(both)) =
        (detail.cost.storage_p99_added_ns, times(PhaseName::Storage), times(PhaseName::Both))
    else {
        let text = "storage answered too seldom in a phase for a p99; give it a higher rate (--storage) or more --time";
        return Check::inconclusive(NAME, text).numbers(None, limit_ns as f64, Unit::Ns);
    };
    let text = format!(
        "storage p99 {} beside migrations and {} alone, {} more (limit {})",
        Nanoseconds(both.p99),
        Nanoseconds(alone.p99),
        Nanoseconds(added_ns),
        Nanoseconds(limit_ns)
    );
    let numbers = |check: Check| check.numbers(added_ns as f64, limit_ns as f64, Unit::Ns);
    let flow = |phase| flow(step, detail, phase, Class::Storage);
    if added_ns > limit_ns {
        let check = numbers(Check::fail(NAME, text));
        let limit_ns = alone.p99.saturating_add(limit_ns);
        return unless_flow_busy(check, step, flow(PhaseName::Both), |hosts| {
            hosts.explain_times(&both, limit_ns)
        });
    }
    // What a busy host did to the yardstick must not hide what migrations did.
    let hidden = Check::fail(NAME, format!("{text}: too slow alone for what is added to show"));
    let hidden = unless_flow_busy(hidden, step, flow(PhaseName::Storage), |hosts| {
        hosts.explain_times(&alone, limit_ns)
    });
    let hides = both.p99 > limit_ns && hidden.outcome == Outcome::Inconclusive;
    numbers(if hides { hidden } else { Check::pass(NAME, text) })
}

/// Number of a class's flow in a phase.
fn flow(step: &Step, detail: &ContendDetail, phase: PhaseName, class: Class) -> u16 {
    let is_part = |flow: &Flow| detail.phase_of(flow).is_some_and(|own| own.name == phase);
    let number = step.flows.iter().position(|flow| flow.class == class && is_part(flow));
    number.and_then(|number| u16::try_from(number).ok()).unwrap_or(u16::MAX)
}

/// The phase that lost most, and the longest gap of any.
fn heartbeats(detail: &ContendDetail, criteria: &Criteria) -> [Check; 2] {
    const NAMES: [&str; 2] = ["heartbeat-lost", "heartbeat-gap"];
    /// A few beats at either edge of a phase.
    const EDGES_NS: u64 = 100_000_000;
    let (share_max, gap_max_ns) =
        (criteria.contend.heartbeat_lost_share_max, criteria.contend.heartbeat_gap_max_ns);
    let beats =
        |class: &ClassFigures| Some(Share { part: class.lost?, of: class.sent.filter(|sent| *sent > 0)? });
    let all = detail.phases.iter().filter_map(|phase| {
        let class = phase.classes.iter().find(|class| class.name == Class::Heartbeat)?;
        let gap_ns = class.longest_gap_ns?;
        // As long as it was looked at: nobody knows how long it would have been.
        let whole = phase.length_ns > 0 && gap_ns.saturating_add(EDGES_NS) >= phase.length_ns;
        Some((phase.name, beats(class)?, (gap_ns, whole)))
    });
    let all: Vec<(PhaseName, Share, (u64, bool))> = all.collect();
    let worst = all.iter().max_by(|one, other| {
        one.1.point().partial_cmp(&other.1.point()).unwrap_or(std::cmp::Ordering::Equal)
    });
    let longest = all.iter().max_by_key(|(_, _, (gap_ns, _))| *gap_ns);
    let (Some((phase, lost, _)), Some((gap_phase, _, (gap_ns, whole)))) = (worst, longest) else {
        return NAMES.map(|name| {
            Check::inconclusive(name, "no heartbeat was answered as a datagram, so none could be counted")
        });
    };
    let (low, high) = lost.bounds();
    let share = lost.point().unwrap_or(0.0);
    let text = format!(
        "{} of {} heartbeats lost in the phase {:?} (limit {:.0} %)",
        lost.part,
        lost.of,
        phase.words(),
        share_max * 100.0
    );
    let lost = if low > share_max {
        Check::fail(NAMES[0], text)
    } else if share > share_max {
        let text = format!(
            "{text}; so few show a share between {:.1} and {:.1} %, run longer",
            low * 100.0,
            high * 100.0
        );
        Check::inconclusive(NAMES[0], text)
    } else {
        Check::pass(NAMES[0], text)
    };
    let limit = Nanoseconds(gap_max_ns);
    let text = match gap_ns {
        0 => format!("none was missed (limit {limit} in a row)"),
        _ => format!(
            "all were lost for up to {} in the phase {:?} (limit {limit})",
            Nanoseconds(*gap_ns),
            gap_phase.words()
        ),
    };
    let gap = match *gap_ns < gap_max_ns {
        true if *whole => Check::inconclusive(
            NAMES[1],
            format!("{text}, which is all of it: a longer phase tells (--time)"),
        ),
        kept => Check::of(NAMES[1], kept, text),
    };
    [lost.numbers(share, share_max, Unit::Share), gap.numbers(*gap_ns as f64, gap_max_ns as f64, Unit::Ns)]
}

fn migration(detail: &ContendDetail, criteria: &Criteria) -> Check {
    const NAME: &str = "migration-time";
    let limit_ns = criteria.contend.migration_max_ns;
    let Some(beside_ns) = detail.cost.migration_beside_ns else {
        let check = Check::not_judged(NAME, "migrations carried nothing beside storage");
        return check.numbers(None, limit_ns.map(|ns| ns as f64), Unit::Ns);
    };
    let text = format!("one pass over a guest takes {} beside storage", Nanoseconds(beside_ns));
    let check = match limit_ns {
        None => Check::not_judged(NAME, format!("{text} (no limit given)")),
        Some(limit_ns) => {
            Check::of(NAME, beside_ns <= limit_ns, format!("{text} (limit {})", Nanoseconds(limit_ns)))
        }
    };
    check.numbers(beside_ns as f64, limit_ns.map(|ns| ns as f64), Unit::Ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contend::SETTLE_NS;
    use crate::{ContendCost, ContendPhase, StepKind};

    fn step(share: f64, added_ms: u64, lost: u64, gap_ms: u64) -> Step {
        let times =
            |p99_ms: u64| Some(LatencySummary { count: 1000, p99: p99_ms * 1_000_000, ..Default::default() });
        let storage = |carried, p99_ms| ClassFigures {
            name: Class::Storage,
            goodput_bits_per_s: Some(carried),
            response_ns: times(p99_ms),
            ..ClassFigures::default()
        };
        let beats = |lost, gap_ms| ClassFigures {
            name: Class::Heartbeat,
            sent: Some(400),
            lost: Some(lost),
            longest_gap_ns: Some(gap_ms * 1_000_000),
            ..ClassFigures::default()
        };
        let phase = |name, classes| ContendPhase { name, classes, ..ContendPhase::default() };
        let mut step = Step::new(StepKind::Contend, "contention");
        step.detail.contend = Some(ContendDetail {
            phases: vec![
                phase(PhaseName::Idle, vec![beats(0, 0)]),
                phase(PhaseName::Storage, vec![beats(0, 0), storage(1_000_000, 1)]),
                phase(
                    PhaseName::Both,
                    vec![beats(lost, gap_ms), storage((1_000_000.0 * share) as u64, 1 + added_ms)],
                ),
            ],
            cost: ContendCost {
                storage_share: Some(share),
                storage_p99_added_ns: Some(added_ms * 1_000_000),
                ..ContendCost::default()
            },
            ..ContendDetail::default()
        });
        step
    }

    /// As `pathproof contend` has them judged.
    fn judged(steps: &[&Step], criteria: &Criteria) -> Vec<Check> {
        classes(&ResultDoc::new(crate::Tool::default(), ""), steps, criteria)
    }

    fn outcomes(step: &Step) -> Vec<Outcome> {
        judged(&[step], &Criteria::default()).iter().map(|check| check.outcome).collect()
    }

    #[test]
    fn every_limit_is_missed_by_itself_and_kept_at_its_edge() {
        use Outcome::{Fail, Inconclusive, NotJudged, Pass};
        assert_eq!(outcomes(&step(0.90, 10, 12, 4999)), [Pass, Pass, Pass, Pass, NotJudged]);
        assert_eq!(outcomes(&step(0.89, 10, 0, 0)), [Fail, Pass, Pass, Pass, NotJudged]);
        assert_eq!(outcomes(&step(0.95, 11, 0, 0)), [Pass, Fail, Pass, Pass, NotJudged]);
        assert_eq!(outcomes(&step(0.95, 0, 60, 0)), [Pass, Pass, Fail, Pass, NotJudged]);
        assert_eq!(outcomes(&step(0.95, 0, 14, 0)), [Pass, Pass, Inconclusive, Pass, NotJudged]);
        assert_eq!(outcomes(&step(0.95, 0, 0, 5000)), [Pass, Pass, Pass, Fail, NotJudged]);
    }

    #[test]
    fn heartbeats_that_are_lost_for_a_whole_phase_are_lost_for_nobody_knows_how_long() {
        let outcome = |gap_ms: u64, length_ms: u64| {
            let mut step = step(0.95, 0, 0, gap_ms);
            let detail = step.detail.contend.as_mut().unwrap();
            for phase in &mut detail.phases {
                phase.length_ns = length_ms * 1_000_000;
            }
            outcomes(&step)[3]
        };
        assert_eq!(outcome(3980, 4000), Outcome::Inconclusive);
        assert_eq!(outcome(3800, 4000), Outcome::Pass);
        assert_eq!(outcome(5980, 6000), Outcome::Fail);
    }

    #[test]
    fn a_check_whose_path_nobody_said_to_be_shared_is_told_and_not_failed() {
        let outcomes = |roles: Vec<Role>| {
            let mut doc = ResultDoc::new(crate::Tool::default(), "");
            let ports = StepSpec::Ports(crate::PortsSpec { roles, ..crate::PortsSpec::default() });
            doc.requested = Some(crate::Plan {
                command: CommandName::Check,
                steps: vec![ports],
                ..crate::Plan::default()
            });
            let step = step(0.5, 50, 0, 0);
            let checks = classes(&doc, &[&step], &Criteria::default());
            checks.iter().map(|check| check.outcome).collect::<Vec<_>>()
        };
        use Outcome::{Fail, NotJudged, Pass};
        assert_eq!(outcomes(vec![]), [NotJudged, NotJudged, Pass, Pass, NotJudged]);
        assert_eq!(outcomes(vec![Role::Smb])[0], NotJudged);
        for role in [Role::Cluster, Role::Hyperv] {
            assert_eq!(outcomes(vec![role]), [Fail, Fail, Pass, Pass, NotJudged]);
        }
    }

    /// Storage that asks for so much (Mbit/s) has this share of 100 beside migrations with this cap (bytes/s).
    fn offered(asked: u64, share: f64, cap: Option<u64>) -> Step {
        const MBIT: f64 = 1e6;
        let mut step = step(share, 500, 0, 0);
        let detail = step.detail.contend.as_mut().unwrap();
        let class = |name, part: f64| ClassFigures {
            name,
            share: Some(part),
            goodput_bits_per_s: Some((part * 100.0 * MBIT) as u64),
            ..ClassFigures::default()
        };
        for phase in &mut detail.phases {
            let part = if phase.name == PhaseName::Both { share } else { 1.0 };
            for own in phase.classes.iter_mut().filter(|class| class.name == Class::Storage) {
                let asked_bits_per_s = Some((asked as f64 * MBIT) as u64);
                let rest = class(Class::Storage, part);
                *own = ClassFigures { asked_bits_per_s, response_ns: own.response_ns, ..rest };
            }
        }
        let migration = class(Class::Migration, 1.0 - share);
        detail.phases[2].classes.push(ClassFigures { cap_bytes_per_s: cap, ..migration });
        step
    }

    #[test]
    fn a_share_is_held_against_what_is_reserved_where_every_class_asks_for_more() {
        use Outcome::{Fail, Inconclusive, NotJudged, Pass};
        let mut criteria = Criteria::default();
        criteria.contend.reserve("storage=60").unwrap();
        let first = |step: &Step, criteria: &Criteria| judged(&[step], criteria).remove(0);
        let outcome = |step: &Step| first(step, &criteria).outcome;
        let check = first(&offered(150, 0.62, None), &criteria);
        assert_eq!((check.criterion.as_str(), check.outcome), ("reserved-share", Pass));
        assert_eq!((check.measured, check.limit, check.unit), (Some(0.62), Some(0.6), Some(Unit::Share)));
        // Five percent of it, either way, and no more.
        assert_eq!(
            [0.575, 0.565, 0.625, 0.635].map(|share| outcome(&offered(150, share, None))),
            [Pass, Fail, Pass, Fail]
        );
        // What storage leaves, migrations take, and the other way round.
        let little = first(&offered(45, 0.45, None), &criteria);
        assert!(little.outcome == Inconclusive && little.text.contains("storage got all"), "{little:?}");
        let capped = first(&offered(150, 0.8, Some(2_500_000)), &criteria);
        assert!(capped.outcome == Inconclusive && capped.text.contains("migration got all"), "{capped:?}");
        assert_eq!(outcome(&offered(150, 0.8, Some(25_000_000))), Fail, "a cap that nothing meets");
        let mut unknown = offered(150, 0.6, None);
        unknown.detail.contend.as_mut().unwrap().phases[2].classes[1].share = None;
        assert_eq!(outcome(&unknown), Inconclusive);

        // Storage that fills the path alone loses to migrations what was taken for it; its share is the answer.
        let outcomes = |step: &Step, criteria: &Criteria| {
            judged(&[step], criteria).iter().map(|check| check.outcome).collect::<Vec<_>>()
        };
        let (step, nobody) = (offered(150, 0.6, None), Criteria::default());
        assert_eq!(outcomes(&step, &criteria), [Pass, NotJudged, NotJudged, Pass, Pass, NotJudged]);
        assert_eq!(
            outcomes(&step, &nobody),
            [Fail, Fail, Pass, Pass, NotJudged],
            "nobody said what is reserved"
        );
        assert_eq!(outcomes(&offered(45, 0.45, None), &criteria)[1], Fail, "what was asked for fits alone");
        criteria.contend.reserve("migration=30").unwrap();
        assert_eq!(outcomes(&step, &criteria)[..2], [Pass, Fail]);
    }

    /// What the table of the NIC that sends reserves: 60 % for storage, which has priority 3, and 40 % for the rest.
    fn judged_by_the_nic(mut step: Step, criteria: &Criteria) -> Vec<Check> {
        use crate::environment::{Dcb, DcbAlgorithm, DcbEts};
        use crate::{ContendSpec, Environment, LaneResult, Nic, Node};
        let ets = DcbEts {
            bandwidth_percent: vec![40, 60],
            algorithms: vec![DcbAlgorithm::Ets; 2],
            class_of_priority: vec![0, 0, 0, 1, 0, 0, 0, 0],
        };
        let dcb = Some(Dcb { ets: Some(ets), ..Dcb::default() });
        let nic = Nic { name: "e0".into(), dcb, ..Nic::default() };
        let mut spec = ContendSpec::default();
        spec.priority.storage = Some(3);
        step.spec = Some(StepSpec::Contend(spec));
        step.lanes = vec![LaneResult { nics: vec!["e0".into()], flow: 9, ..LaneResult::default() }];
        let mut doc = ResultDoc::new(crate::Tool::default(), "");
        doc.nodes = vec![Node::here(Some(Environment { nics: vec![nic], ..Environment::default() }))];
        classes(&doc, &[&step], criteria)
    }

    #[test]
    fn where_nobody_names_a_share_that_of_the_nic_that_sends_is_expected_with_its_source() {
        use Outcome::{Fail, NotJudged, Pass};
        let shares = |step: Step, criteria: &Criteria| {
            let all = judged_by_the_nic(step, criteria);
            let own = all.into_iter().enumerate().filter(|(_, check)| check.criterion == "reserved-share");
            own.collect::<Vec<_>>()
        };
        let nobody = Criteria::default();
        // Storage asks for more than there is: its share is what the run is about.
        let kept = shares(offered(150, 0.61, None), &nobody);
        let [(0, storage), (1, migration)] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!((storage.outcome, storage.measured, storage.limit), (Pass, Some(0.61), Some(0.6)));
        assert!(storage.text.contains("by the ETS table of e0 of the client (storage, priority 3: 60 %"));
        assert_eq!((migration.outcome, migration.limit), (Pass, Some(0.4)));
        let off = shares(offered(150, 0.5, None), &nobody);
        assert!(off.iter().all(|(_, check)| check.outcome == Fail), "{off:?}");
        // What fits alone says nothing of the rest, and nobody asked.
        let little = shares(offered(45, 0.45, None), &nobody);
        assert!(little.iter().all(|(_, check)| check.outcome == NotJudged), "{little:?}");
        assert!(little.iter().all(|(at, _)| *at >= 5), "behind what was asked: {little:?}");
        // The word of the user counts.
        let mut criteria = Criteria::default();
        criteria.contend.reserve("storage=50").unwrap();
        let own = shares(offered(150, 0.5, None), &criteria);
        assert_eq!(own.len(), 1);
        assert!(own[0].1.outcome == Pass && !own[0].1.text.contains("ETS table"), "{own:?}");
    }

    #[test]
    fn a_share_that_a_host_without_a_processor_may_have_shifted_is_open() {
        use crate::{LaneResult, Span, Waited};
        use Outcome::{Fail, Inconclusive};
        let mut criteria = Criteria::default();
        criteria.contend.reserve("storage=60").unwrap();
        let waits = |lane_of: u16, share: f64| {
            let mut step = offered(150, share, None);
            step.detail.contend.as_mut().unwrap().phases[2].start_ns = SETTLE_NS;
            let flow =
                |class| Flow { class, active: Span { start_ns: 0, length_ns: None }, ..Flow::default() };
            step.flows = vec![flow(Class::Storage), flow(Class::Migration)];
            let scheduled = Some(Waited { waited_ns: 2_000_000_000, of_ns: 4_000_000_000 });
            step.lanes = vec![LaneResult { flow: lane_of, scheduled, ..LaneResult::default() }];
            judged(&[&step], &criteria).remove(0).outcome
        };
        // Whoever has too little may have waited; that the other did explains nothing.
        assert_eq!([waits(0, 0.5), waits(1, 0.5)], [Inconclusive, Fail]);
        assert_eq!([waits(0, 0.7), waits(1, 0.7)], [Fail, Inconclusive]);
    }

    #[test]
    fn of_a_sweep_the_number_that_is_advised_is_judged_and_of_one_that_advises_none_the_fewest() {
        use Outcome::{Fail, Pass};
        let sweep = |advised: Option<u32>| {
            let one = |migrations, share| {
                let mut step = step(share, 0, 0, 0);
                let spec = crate::ContendSpec { migrations, sweep: vec![1, 2, 4], ..Default::default() };
                step.spec = Some(StepSpec::Contend(spec));
                step
            };
            let mut steps = [one(1, 0.97), one(2, 0.95), one(4, 0.5)];
            steps[2].detail.contend.as_mut().unwrap().advice.migrations = advised;
            let steps: Vec<&Step> = steps.iter().collect();
            let checks = judged(&steps, &Criteria::default());
            checks
                .iter()
                .filter(|check| check.criterion == "storage-share")
                .map(|check| (check.outcome, check.text.clone()))
                .collect::<Vec<_>>()
        };
        let two = sweep(Some(2));
        assert!(two.len() == 1 && two[0].0 == Pass && two[0].1.contains("95 %"), "{two:?}");
        let none = sweep(None);
        assert!(none.len() == 1 && none[0].1.contains("97 %"), "{none:?}");
        assert_eq!(sweep(Some(4))[0].0, Fail);
    }

    #[test]
    fn what_is_not_known_does_not_pass() {
        let mut unknown = step(0.95, 0, 0, 0);
        let detail = unknown.detail.contend.as_mut().unwrap();
        (detail.cost.storage_share, detail.cost.storage_p99_added_ns) = (None, None);
        for class in detail.phases.iter_mut().flat_map(|phase| &mut phase.classes) {
            class.lost = None;
        }
        assert_eq!(outcomes(&unknown)[..4], [Outcome::Inconclusive; 4]);
        let mut late = step(0.95, 0, 0, 0);
        late.detail.contend.as_mut().unwrap().cost.migration_beside_ns = Some(61_000_000_000);
        let mut criteria = Criteria::default();
        let migration = |criteria: &Criteria| judged(&[&late], criteria).pop().unwrap().outcome;
        assert_eq!(migration(&criteria), Outcome::NotJudged);
        criteria.contend.migration_max_ns = Some(60_000_000_000);
        assert_eq!(migration(&criteria), Outcome::Fail);
    }

    #[test]
    fn a_host_that_made_storage_wait_excuses_and_hides_nothing() {
        use crate::{LaneResult, Span, Waited};
        let busy = |phase: usize, share: f64, added_ms: u64, alone_ms: u64| {
            let mut step = step(share, added_ms, 0, 0);
            let detail = step.detail.contend.as_mut().unwrap();
            for (nth, phase) in detail.phases.iter_mut().enumerate() {
                phase.start_ns = SETTLE_NS * (1 + nth as u64);
                for class in phase.classes.iter_mut().filter(|class| class.name == Class::Storage) {
                    let times = class.response_ns.as_mut().unwrap();
                    times.p99 += (alone_ms - 1) * 1_000_000;
                }
            }
            let flow = |nth: u64| Flow {
                class: Class::Storage,
                active: Span { start_ns: SETTLE_NS * nth, length_ns: None },
                ..Flow::default()
            };
            step.flows = vec![flow(1), flow(2)];
            let scheduled = Some(Waited { waited_ns: 3_000_000_000, of_ns: 4_000_000_000 });
            step.lanes = vec![LaneResult { flow: phase as u16, scheduled, ..LaneResult::default() }];
            outcomes(&step)[..2].to_vec()
        };
        use Outcome::{Fail, Inconclusive, Pass};
        assert_eq!(busy(1, 0.6, 40, 1), [Inconclusive, Inconclusive]);
        // It waited in another phase than the one that is slow.
        assert_eq!(busy(0, 0.6, 40, 1), [Fail, Fail]);
        assert_eq!(busy(0, 0.95, 5, 200), [Pass, Inconclusive], "alone it was as slow");
        assert_eq!(busy(1, 0.95, 5, 200), [Pass, Pass], "a path that is slow alone is not what is asked");
        assert_eq!(busy(0, 0.95, 5, 4), [Pass, Pass]);
    }
}
