//! What the ETS table of the NIC that sends reserves for each class, by the priorities that the classes are sent with (IEEE 802.1Qaz).
//!
//! It says nothing where it would have to guess: of classes of one traffic class, of one that is served before all others, of a mark that the
//! table does not know or that arrives as another one.

use std::collections::BTreeMap;

use crate::environment::{Dcb, DcbAlgorithm, DcbApplication, DcbEts, DcbSelector};
use crate::judge::lossless::used;
use crate::{Class, ContendDetail, ContendSpec, Direction, End, ResultDoc, Step, StepSpec};

/// The classes that have a part of what is carried.
pub(super) const CARRYING: [Class; 3] = [Class::Storage, Class::Migration, Class::Backup];

/// What a table reserves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shares {
    /// For each class that is alone in its traffic class, as a share of what all that carry something carry together.
    pub(super) shares: Vec<(Class, f64)>,
    /// Whose table it is, and what it says, in words.
    pub(super) source: String,
}

/// By the NIC of the end that sends the bulk: the adapters of one end agree, or nothing is said.
pub(super) fn of_sender(doc: &ResultDoc, step: &Step, detail: &ContendDetail) -> Option<Shares> {
    let spec = step.spec.as_ref().and_then(StepSpec::contend)?;
    // Nothing is shared by a table where a class goes over other NICs or by another adapter.
    if spec.ways.any() {
        return None;
    }
    let end = if spec.direction == Direction::In { End::Server } else { End::Client };
    let nics = used(doc.environment(end.node())?, step, end);
    let mut adapters = nics.into_iter().filter_map(|nic| Some((nic, nic.dcb.as_ref()?)));
    let (nic, dcb) = adapters.next()?;
    if adapters.any(|(_, other)| other.ets != dcb.ets || other.applications != dcb.applications) {
        return None;
    }
    let priorities = CARRYING.into_iter().filter(|class| *class != Class::Backup || spec.backups > 0);
    let priorities = priorities.map(|class| Some((class, priority(spec, detail, dcb, class)?)));
    let priorities: Vec<(Class, u8)> = priorities.collect::<Option<_>>()?;
    let (shares, classes) = shares(dcb.ets.as_ref()?, &priorities)?;
    let source = format!("the ETS table of {} of the {end} ({classes})", nic.name);
    (!shares.is_empty()).then_some(Shares { shares, source })
}

/// The priority that a class is sent with, as far as that is certain.
fn priority(spec: &ContendSpec, detail: &ContendDetail, dcb: &Dcb, class: Class) -> Option<u8> {
    let mut own = detail.marks.iter().filter(|mark| mark.name == class && mark.direction == spec.direction);
    if own.any(|mark| mark.changed_to().is_some() || mark.priority_changed_to().is_some()) {
        return None;
    }
    let dscp = spec.dscp.of(class);
    let mut table = dcb.applications.iter().flatten();
    let is_own = |one: &&DcbApplication| {
        one.selector == DcbSelector::Dscp && Some(one.protocol) == dscp.map(u16::from)
    };
    let entry = table.find(is_own);
    match (spec.priority.of(class), dscp, entry.map(|entry| entry.priority)) {
        // Which of the two the adapter goes by is nobody's to say.
        (Some(priority), _, Some(other)) if other != priority => None,
        (Some(priority), _, _) => Some(priority),
        (None, Some(_), by_mark) => by_mark,
        // What has no mark at all has the least.
        (None, None, _) => Some(0),
    }
}

/// What a table reserves for classes of these priorities, and in its own words.
fn shares(ets: &DcbEts, priorities: &[(Class, u8)]) -> Option<(Vec<(Class, f64)>, String)> {
    let mut percents: BTreeMap<u8, u8> = BTreeMap::new();
    let mut places: Vec<(Class, u8, u8)> = vec![];
    for (class, priority) in priorities {
        let place = *ets.class_of_priority.get(usize::from(*priority))?;
        let is_shared = ets.algorithms.get(usize::from(place)) == Some(&DcbAlgorithm::Ets);
        let percent = *ets.bandwidth_percent.get(usize::from(place))?;
        if !is_shared || percent == 0 {
            return None;
        }
        percents.insert(place, percent);
        places.push((*class, *priority, place));
    }
    let sum: f64 = percents.values().map(|percent| f64::from(*percent)).sum();
    // In one class all of them nothing is reserved for any.
    if percents.len() < 2 {
        return None;
    }
    let is_alone = |place: u8| places.iter().filter(|(_, _, other)| *other == place).count() == 1;
    let percent = |place: u8| percents.get(&place).copied().unwrap_or_default();
    let alone = places.iter().filter(|(_, _, place)| is_alone(*place));
    let shares = alone.map(|(class, _, place)| (*class, f64::from(percent(*place)) / sum)).collect();
    let words = places.iter().map(|(class, priority, place)| {
        format!("{}, priority {priority}: {} %", class.word(), percent(*place))
    });
    Some((shares, words.collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contend::Marks;
    use crate::{ArrivedMark, ClassMark, Environment, LaneResult, Nic, Node, StepKind, Tool};

    /// Classes 0, 1 and 2 of 50, 30 and 20 %, for the priorities 0, 1 and 3; 7 is served before all others.
    fn table() -> Dcb {
        let algorithms = [2, 2, 2, 2, 2, 2, 2, 0];
        let ets = DcbEts {
            bandwidth_percent: vec![50, 30, 20, 0, 0, 0, 0, 0],
            algorithms: algorithms.map(DcbAlgorithm::of).to_vec(),
            class_of_priority: vec![0, 1, 0, 2, 0, 0, 0, 7],
        };
        let dscp = |protocol, priority| DcbApplication { selector: DcbSelector::Dscp, protocol, priority };
        Dcb { ets: Some(ets), applications: Some(vec![dscp(26, 3), dscp(10, 1)]), pfc: None }
    }

    fn marks(storage: Option<u8>, migration: Option<u8>) -> Marks {
        Marks { storage, migration, ..Marks::default() }
    }

    fn told(spec: ContendSpec, detail: &ContendDetail, nics: Vec<Nic>) -> Option<Shares> {
        let names: Vec<String> = nics.iter().map(|nic| nic.name.clone()).collect();
        let host = Environment { nics, ..Environment::default() };
        let doc = ResultDoc {
            nodes: vec![Node::here(Some(host.clone())), Node::agent("peer", Some(host))],
            ..ResultDoc::new(Tool::default(), "")
        };
        let mut step = Step::new(StepKind::Contend, "contention");
        step.lanes =
            End::BOTH.map(|end| LaneResult { end, nics: names.clone(), ..LaneResult::default() }).to_vec();
        step.spec = Some(StepSpec::Contend(spec));
        of_sender(&doc, &step, detail)
    }

    fn nic(name: &str, dcb: Dcb) -> Nic {
        Nic { name: name.into(), dcb: Some(dcb), ..Nic::default() }
    }

    /// Shares in thousandths.
    fn of(priority: Marks, dscp: Marks, backups: u32) -> Vec<(Class, u32)> {
        let spec = ContendSpec { priority, dscp, backups, ..ContendSpec::default() };
        let told = told(spec, &ContendDetail::default(), vec![nic("e0", table())]);
        let shares = told.map(|told| told.shares).unwrap_or_default();
        shares.into_iter().map(|(class, share)| (class, (share * 1000.0).round() as u32)).collect()
    }

    #[test]
    fn classes_have_the_percent_of_their_priorities_among_those_that_carry_something() {
        let none = Marks::default();
        let (storage, migration, backup) = (Class::Storage, Class::Migration, Class::Backup);
        assert_eq!(of(marks(Some(3), Some(1)), none, 0), [(storage, 400), (migration, 600)]);
        // By its mark, and without any by the least priority.
        assert_eq!(of(none, marks(Some(26), None), 0), [(storage, 286), (migration, 714)]);
        let both = of(marks(Some(3), None), marks(Some(26), Some(10)), 0);
        assert_eq!(both, [(storage, 400), (migration, 600)]);
        let all = of(marks(Some(3), Some(1)), none, 1);
        assert_eq!(all, [(storage, 200), (migration, 300), (backup, 500)]);
        // Two in one class share it as they like.
        assert_eq!(of(marks(Some(3), None), none, 1), [(storage, 286)]);
    }

    #[test]
    fn what_would_be_a_guess_is_not_said() {
        let (none, nothing): (Marks, [(Class, u32); 0]) = (Marks::default(), []);
        assert_eq!(of(none, none, 1), nothing, "all in one class");
        assert_eq!(of(marks(Some(7), Some(1)), none, 0), nothing, "served before all others");
        assert_eq!(of(none, marks(Some(40), None), 0), nothing, "a mark that the table does not have");
        assert_eq!(of(marks(Some(3), None), marks(Some(10), None), 0), nothing, "two priorities");
        let spec = || ContendSpec { priority: marks(Some(3), Some(1)), ..ContendSpec::default() };
        let mark = ClassMark {
            name: Class::Storage,
            direction: Direction::Out,
            dscp: 26,
            arrived: vec![ArrivedMark { dscp: 0, ecn: 0, count: 9 }],
            ..ClassMark::default()
        };
        let changed = ContendDetail { marks: vec![mark], ..ContendDetail::default() };
        let told_of = |detail: &ContendDetail, nics| told(spec(), detail, nics);
        assert_eq!(told_of(&changed, vec![nic("e0", table())]), None);
        let well = ContendDetail::default();
        assert_eq!(told_of(&well, vec![nic("e0", Dcb::default())]), None);
        assert_eq!(told_of(&well, vec![Nic { name: "e0".into(), ..Nic::default() }]), None);
        let other = Dcb { applications: None, ..table() };
        assert_eq!(told_of(&well, vec![nic("e0", table()), nic("e1", other)]), None, "which of them?");
        let same = told_of(&well, vec![nic("e0", table()), nic("e1", table())]).unwrap();
        assert_eq!(
            same.source,
            "the ETS table of e0 of the client (storage, priority 3: 20 %; migration, priority 1: 30 %)"
        );
        let back = ContendSpec { direction: Direction::In, ..spec() };
        let back = told(back, &well, vec![nic("e0", table())]).unwrap();
        assert!(back.source.starts_with("the ETS table of e0 of the server"), "{}", back.source);
        // A table that is cut short tells nothing of what it has no place for.
        let mut short = table();
        short.ets = Some(DcbEts { bandwidth_percent: vec![50], ..short.ets.clone().unwrap() });
        assert_eq!(told_of(&well, vec![nic("e0", short)]), None);
    }
}
