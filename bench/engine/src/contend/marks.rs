//! The marks of the classes: how they are counted where they arrive, and what became of them.

use std::collections::BTreeMap;

use pathproof_model::contend::MarkKind;
use pathproof_model::{
    ArrivedMark, ArrivedPriority, BeatsEnd, Class, ClassMark, ContendDetail, ContendSpec, Direction, Finding,
    RdmaMarks,
};

use crate::loss::Mark;

/// Fewer datagrams of which none arrives say nothing.
const SENT_MIN: u64 = 20;
/// Fewer RDMA packets, of which none has the mark of a class, say nothing: they may all be of others.
const SEEN_MIN: u64 = 100;

/// What datagrams arrived with, by the class of traffic that they were marked as.
#[derive(Clone, Debug)]
pub struct MarksHeard<M>(Vec<BTreeMap<M, u64>>);

impl<M: Ord> MarksHeard<M> {
    /// For so many classes.
    pub fn of(classes: usize) -> MarksHeard<M> {
        MarksHeard((0..classes).map(|_| BTreeMap::new()).collect())
    }

    /// Counts one. A class that the step does not have is ignored.
    pub fn count(&mut self, class: usize, arrived: M) {
        if let Some(counts) = self.0.get_mut(class) {
            *counts.entry(arrived).or_default() += 1;
        }
    }

    /// As it crosses.
    pub fn into_counts(self) -> Vec<Vec<(M, u64)>> {
        self.0.into_iter().map(|counts| counts.into_iter().collect()).collect()
    }
}

/// What became of every mark, each way.
pub fn marks(spec: &ContendSpec, client: &BeatsEnd, server: &BeatsEnd) -> Vec<ClassMark> {
    let ways = [(Direction::Out, client, server), (Direction::In, server, client)];
    let all = spec.marked().into_iter().enumerate();
    all.flat_map(|(at, marked)| {
        ways.map(|(direction, from, to)| {
            let (name, dscp, priority) = (marked.class, marked.dscp, marked.priority);
            let mark = ClassMark { name, direction, dscp, priority, ..ClassMark::default() };
            let mark = prioritised(mark, to, at);
            match (from.marked_sent.get(at), to.marked_received.get(at)) {
                (Some(sent), Some(received)) if *sent > 0 => arrived(mark, *sent, received),
                _ => {
                    let unknown = "an end does not tell what it sent or what arrived".to_owned();
                    let reason = from.reason.clone().or_else(|| to.reason.clone()).unwrap_or(unknown);
                    ClassMark { reason: Some(reason), ..mark }
                }
            }
        })
    })
    .collect()
}

/// How RDMA packets of these classes, which go by RDMA, arrived, each way.
pub fn rdma_marks(classes: &[Class], client: &BeatsEnd, server: &BeatsEnd) -> Vec<RdmaMarks> {
    let ways = [(Direction::Out, server), (Direction::In, client)].into_iter();
    ways.filter(|_| !classes.is_empty())
        .map(|(direction, to)| {
            let way = RdmaMarks { direction, classes: classes.to_vec(), ..RdmaMarks::default() };
            if !to.rdma_received.is_empty() {
                return RdmaMarks { arrived: Some(by_frequency(&to.rdma_received)), ..way };
            }
            let unknown = || "the end that they arrive at does not tell".to_owned();
            RdmaMarks { reason: Some(to.rdma_reason.clone().unwrap_or_else(unknown)), ..way }
        })
        .collect()
}

fn by_frequency(received: &[(u8, u64)]) -> Vec<ArrivedMark> {
    let as_mark = |(class, count): &(u8, u64)| {
        let Mark { dscp, ecn } = Mark::of(*class);
        ArrivedMark { dscp, ecn, count: *count }
    };
    let mut arrived: Vec<ArrivedMark> = received.iter().map(as_mark).collect();
    arrived.sort_by_key(|came| std::cmp::Reverse(came.count));
    arrived
}

fn arrived(mark: ClassMark, sent: u64, received: &[(u8, u64)]) -> ClassMark {
    let arrived = by_frequency(received);
    let received = received.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
    ClassMark { sent: Some(sent), received: Some(received), arrived, ..mark }
}

/// The mark with what `to` saw of the priorities of the class at this place.
fn prioritised(mark: ClassMark, to: &BeatsEnd, at: usize) -> ClassMark {
    let Some(seen) = to.priorities_received.get(at) else {
        let unknown =
            || "the end that they arrive at does not tell, as builds before protocol 2.4 do not".to_owned();
        return ClassMark {
            priorities_reason: Some(to.priorities_reason.clone().unwrap_or_else(unknown)),
            ..mark
        };
    };
    let possible =
        |priority: &Option<u8>| priority.is_none_or(|priority| priority <= MarkKind::Priority.most());
    let seen = seen.iter().filter(|(priority, _)| possible(priority));
    let mut arrived: Vec<ArrivedPriority> =
        seen.map(|(priority, count)| ArrivedPriority { priority: *priority, count: *count }).collect();
    arrived.sort_by_key(|came| std::cmp::Reverse(came.count));
    ClassMark { arrived_priorities: Some(arrived), ..mark }
}

/// A mark of a class in the words of reports.
fn words(mark: &ClassMark) -> String {
    format!("{} (DSCP {})", mark.name.word(), mark.dscp)
}

fn way(direction: Direction) -> &'static str {
    if direction == Direction::In { "from the peer" } else { "to the peer" }
}

/// Marks that arrive as something else, and those with which nothing arrives, each way.
pub(super) fn findings(detail: &ContendDetail) -> Vec<Finding> {
    [Direction::Out, Direction::In].into_iter().flat_map(|direction| one_way(detail, direction)).collect()
}

/// Classes that go by RDMA and whose datagrams keep their mark, but of which no RDMA packet was seen to arrive with it.
fn without_their_mark(detail: &ContendDetail, direction: Direction) -> Vec<String> {
    let mut told = vec![];
    for way in detail.rdma_marks.iter().filter(|way| way.direction == direction) {
        let arrived = way.arrived.as_deref().unwrap_or_default();
        let seen = arrived.iter().map(|came| came.count).fold(0, u64::saturating_add);
        let is_of_it = |mark: &&ClassMark| {
            // A class without a code point goes with that of everybody.
            mark.direction == direction
                && mark.dscp > 0
                && way.classes.contains(&mark.name)
                && mark.changed_to().is_none()
        };
        for mark in detail.marks.iter().filter(is_of_it) {
            if seen >= SEEN_MIN && arrived.iter().all(|came| came.dscp != mark.dscp) {
                told.push(format!("{} with none of {seen} RDMA packets", words(mark)));
            }
        }
    }
    told
}

fn one_way(detail: &ContendDetail, direction: Direction) -> Vec<Finding> {
    let own: Vec<&ClassMark> = detail.marks.iter().filter(|mark| mark.direction == direction).collect();
    let changed =
        own.iter().filter_map(|mark| Some(format!("{} as DSCP {}", words(mark), mark.changed_to()?)));
    let changed: Vec<String> = changed.chain(without_their_mark(detail, direction)).collect();
    let some_arrive = own.iter().any(|mark| mark.received.is_some_and(|received| received > 0));
    let none = |mark: &&ClassMark| mark.received == Some(0) && mark.sent.is_some_and(|sent| sent >= SENT_MIN);
    let silent = own.iter().copied().filter(none).filter(|_| some_arrive);
    let silent: Vec<String> = silent.map(words).collect();
    let tell = |code: &'static str, evidence: String| {
        Finding::new(code, evidence).with("direction", direction.name())
    };
    let prioritised = own.iter().filter_map(|mark| {
        let became = match mark.priority_changed_to()?.priority {
            Some(priority) => format!("as {priority}"),
            None => "without a tag".into(),
        };
        Some(format!("{} (priority {}) {became}", mark.name.word(), mark.priority?))
    });
    let prioritised: Vec<String> = prioritised.collect();
    let mut found = vec![];
    if !prioritised.is_empty() {
        let evidence =
            format!("{}: 802.1p priorities arrive changed: {}", way(direction), prioritised.join(", "));
        found.push(tell("PRIORITY-CHANGED", evidence));
    }
    if !changed.is_empty() {
        let evidence = format!("{}: marks arrive changed: {}", way(direction), changed.join(", "));
        found.push(tell("DSCP-CHANGED", evidence));
    }
    if !silent.is_empty() {
        let evidence =
            format!("{}: no datagram arrives that is marked as {}", way(direction), silent.join(" or "));
        found.push(tell("DSCP-DROPPED", evidence));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::contend::Marks;

    /// What each strand arrives as: heartbeats, then storage.
    fn told(out: [&[(u8, u64)]; 2]) -> (Vec<ClassMark>, Vec<String>) {
        let dscp = Marks { storage: Some(26), ..Marks::default() };
        let spec = ContendSpec { dscp, ..ContendSpec::default() };
        let marked: Vec<(Class, u8)> = spec.marked().iter().map(|one| (one.class, one.dscp)).collect();
        assert_eq!(marked, [(Class::Heartbeat, 48), (Class::Storage, 26)]);
        let end = |received: Vec<Vec<(u8, u64)>>| BeatsEnd {
            marked_sent: vec![1000, 200],
            marked_received: received,
            ..BeatsEnd::default()
        };
        let well = end(vec![vec![(48 << 2, 1000)], vec![(26 << 2, 200)]]);
        let marks = marks(&spec, &well, &end(out.map(<[_]>::to_vec).to_vec()));
        let detail = ContendDetail { marks: marks.clone(), ..ContendDetail::default() };
        (marks, findings(&detail).into_iter().map(|finding| finding.code).collect())
    }

    #[test]
    fn a_mark_that_arrives_as_another_is_named_with_what_it_became() {
        assert_eq!(told([&[(48 << 2, 1000)], &[(26 << 2, 200)]]).1, [""; 0]);
        let (marks, codes) = told([&[(48 << 2, 1000)], &[(0, 150), (26 << 2, 40), (10 << 2, 5)]]);
        assert_eq!(codes, ["DSCP-CHANGED"]);
        let storage =
            marks.iter().find(|m| m.name == Class::Storage && m.direction == Direction::Out).unwrap();
        assert_eq!((storage.sent, storage.received, storage.changed_to()), (Some(200), Some(195), Some(0)));
        assert_eq!(storage.arrived[0], ArrivedMark { dscp: 0, ecn: 0, count: 150 });
        // A mark of congestion is none of priority, and a few that another device sent are none of the path.
        assert_eq!(told([&[(48 << 2, 1000)], &[(26 << 2 | 3, 200)]]).1, [""; 0]);
        assert_eq!(told([&[(48 << 2, 1000)], &[(26 << 2, 150), (0, 50)]]).1, [""; 0]);
    }

    #[test]
    fn a_class_of_which_nothing_arrives_is_told_apart_from_a_path_that_carries_nothing() {
        assert_eq!(told([&[(48 << 2, 1000)], &[]]).1, ["DSCP-DROPPED"]);
        assert_eq!(told([&[], &[]]).1, [""; 0]);
        let one = told([&[(48 << 2, 1000)], &[(26 << 2, 1)]]);
        assert_eq!(one.1, [""; 0], "what is lost under load is the heartbeats' affair");
    }

    /// What became of the priorities of storage (3) and migrations (1), whose frames arrive at the server with these.
    fn prioritised(arrive: impl FnOnce(&mut BeatsEnd)) -> (Vec<ClassMark>, Vec<Finding>) {
        let priority = Marks { storage: Some(3), migration: Some(1), ..Marks::default() };
        let spec = ContendSpec { priority, ..ContendSpec::default() };
        let as_sent = vec![vec![(Some(6), 1000)], vec![(Some(3), 200)], vec![(Some(1), 200)]];
        let well = BeatsEnd {
            marked_sent: vec![1000, 200, 200],
            marked_received: vec![vec![(48 << 2, 1000)], vec![(0, 200)], vec![(0, 200)]],
            priorities_received: as_sent,
            ..BeatsEnd::default()
        };
        let mut server = well.clone();
        arrive(&mut server);
        let marks = marks(&spec, &well, &server);
        let detail = ContendDetail { marks: marks.clone(), ..ContendDetail::default() };
        (marks, findings(&detail))
    }

    #[test]
    fn a_priority_that_arrives_as_another_or_without_its_tag_is_named_each_way() {
        let (marks, found) = prioritised(|_| {});
        assert!(found.is_empty(), "{found:?}");
        let of = |name, direction| marks.iter().find(|m| (m.name, m.direction) == (name, direction)).unwrap();
        let storage = of(Class::Storage, Direction::Out);
        assert_eq!((storage.dscp, storage.priority), (0, Some(3)), "a priority needs no code point");
        assert_eq!(of(Class::Heartbeat, Direction::In).priority, None, "the host's own rules gave it");

        let (_, found) = prioritised(|server| {
            server.priorities_received[1] = vec![(None, 150), (Some(3), 50)];
            server.priorities_received[2] = vec![(Some(4), 200)];
        });
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, "PRIORITY-CHANGED");
        assert_eq!(
            found[0].evidence,
            "to the peer: 802.1p priorities arrive changed: storage (priority 3) without a tag, migration (priority 1) as 4"
        );
    }

    #[test]
    fn priorities_that_an_end_cannot_see_are_unknown_with_its_reason_and_accuse_nobody() {
        let why = "eth0 is a bridge";
        for told in [Some(why.to_owned()), None] {
            let (marks, found) = prioritised(|server| {
                server.priorities_received.clear();
                server.priorities_reason = told.clone();
            });
            assert!(found.is_empty(), "{found:?}");
            let out = marks.iter().find(|mark| mark.direction == Direction::Out).unwrap();
            assert_eq!((&out.arrived_priorities, out.received), (&None, Some(1000)));
            let reason = out.priorities_reason.as_deref().unwrap();
            assert!(reason == told.as_deref().unwrap_or(reason) && !reason.is_empty(), "{reason}");
        }
        let (marks, _) =
            prioritised(|server| server.priorities_received[0] = vec![(Some(200), 7), (None, 3)]);
        assert_eq!(marks[0].arrived_priorities, Some(vec![ArrivedPriority { priority: None, count: 3 }]));
    }

    /// What is found where storage goes by RDMA and its datagrams arrive as they are sent, if its RDMA packets arrive at the server with these.
    fn by_rdma(received: &[(u8, u64)]) -> (Vec<RdmaMarks>, Vec<Finding>) {
        let (marks, _) = told([&[(48 << 2, 1000)], &[(26 << 2, 200)]]);
        let server = BeatsEnd { rdma_received: received.to_vec(), ..BeatsEnd::default() };
        let why = Some("no packet was seen at eth0".to_owned());
        let client = BeatsEnd { rdma_reason: why, ..BeatsEnd::default() };
        let rdma_marks = rdma_marks(&[Class::Storage], &client, &server);
        let detail = ContendDetail { marks, rdma_marks: rdma_marks.clone(), ..ContendDetail::default() };
        (rdma_marks, findings(&detail))
    }

    #[test]
    fn rdma_packets_that_lose_a_mark_which_datagrams_keep_are_named() {
        let (_, found) = by_rdma(&[(0, 500), (48 << 2, 20)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, "DSCP-CHANGED");
        assert_eq!(
            found[0].evidence,
            "to the peer: marks arrive changed: storage (DSCP 26) with none of 520 RDMA packets"
        );
        // Others go by RDMA as well, a mark of congestion is none of priority, and a few packets may all be of others.
        for received in [&[(0, 500), (26 << 2 | 3, 1)][..], &[(0, 99)], &[]] {
            assert!(by_rdma(received).1.is_empty(), "{received:?}");
        }
    }

    #[test]
    fn rdma_packets_that_no_kernel_sees_are_unknown_with_the_reason() {
        let (ways, found) = by_rdma(&[(0, 7), (26 << 2, 9)]);
        assert!(found.is_empty(), "{found:?}");
        let [out, back] = &ways[..] else { panic!("{ways:?}") };
        let most = ArrivedMark { dscp: 26, ecn: 0, count: 9 };
        assert_eq!((out.direction, out.arrived.as_ref().map(|all| all[0])), (Direction::Out, Some(most)));
        assert_eq!((back.direction, &back.arrived, out.reason.as_ref()), (Direction::In, &None, None));
        assert_eq!(back.reason.as_deref(), Some("no packet was seen at eth0"));
        let nobody = BeatsEnd::default();
        assert!(rdma_marks(&[], &nobody, &nobody).is_empty(), "no class goes by RDMA");
        assert!(rdma_marks(&[Class::Backup], &nobody, &nobody).iter().all(|way| way.reason.is_some()));
    }

    #[test]
    fn what_nobody_told_is_unknown_with_its_reason() {
        let spec = ContendSpec::default();
        let why = BeatsEnd { reason: Some("no datagram was answered".into()), ..BeatsEnd::default() };
        let all = marks(&spec, &why, &BeatsEnd::default());
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|mark| mark.sent.is_none() && mark.received.is_none()));
        assert_eq!(all[0].reason.as_deref(), Some("no datagram was answered"));
        assert!(all[1].reason.is_some());
    }
}
