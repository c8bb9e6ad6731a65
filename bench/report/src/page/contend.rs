//! Classes that shared the path: phases as columns, classes as rows, what sharing cost, and what to set.

use std::collections::BTreeSet;

use pathproof_model::contend::{BEAT_DSCP, typed};
use pathproof_model::judge::names;
use pathproof_model::series::Slice;
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{
    ArrivedPriority, Class, ClassFigures, ClassMark, ContendDetail, ContendPhase, ContendTried, Direction,
    PhaseName, RdmaMarks, ResultDoc, Step, Subject,
};

use super::{Block, Cell, Column, Fact, Row, Strip, Table};
use crate::courses::{Course, bits_per_s, courses};

/// A row: a figure of a class, phase by phase.
struct Line<'a> {
    label: String,
    detail: &'a ContendDetail,
    class: Class,
    cell: fn(&ClassFigures) -> Cell,
}

impl Line<'_> {
    fn at(&self, phase: PhaseName) -> Cell {
        self.detail.figures(phase, self.class).map_or(Cell::Empty, self.cell)
    }
}

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let all = || doc.steps.iter().filter_map(|step| Some((step, step.detail.contend.as_ref()?)));
    let mut parts: Vec<Vec<Block>> = all().map(|(step, detail)| one(doc, step, detail)).collect();
    // The last step of a sweep knows all of it.
    parts.extend(all().map(|(_, detail)| detail).max_by_key(|detail| detail.tried.len()).and_then(sweep));
    parts.join(&Block::Break)
}

/// What the classes carried over time: a row each, the phases beside each other.
pub(super) fn over_time(doc: &ResultDoc) -> Vec<Block> {
    doc.steps.iter().filter_map(strips).collect()
}

fn strips(step: &Step) -> Option<Block> {
    /// Signs of a phase.
    const SIGNS: u64 = 12;
    let courses = courses(step);
    let phases = &step.detail.contend.as_ref()?.phases;
    let length_ns = phases.iter().map(|phase| phase.length_ns).max()?;
    let slices = || courses.iter().flat_map(|course| &course.phases).flat_map(|(_, slices)| slices);
    let most = slices().map(bits_per_s).fold(0.0, f64::max);
    let sign = |slices: &[Slice], nth: u64| {
        let part = |number: u64| length_ns.saturating_mul(number) / SIGNS;
        let end_ns = |slice: &Slice| slice.start_ns.saturating_add(slice.length_ns);
        let own = slices.iter().filter(|slice| slice.start_ns < part(nth + 1) && end_ns(slice) > part(nth));
        let (bytes, ns) = own.fold((0u64, 0u64), |(bytes, ns), slice| {
            (bytes.saturating_add(slice.bytes), ns.saturating_add(slice.length_ns))
        });
        match (bytes, ns) {
            (_, 0) => ' ',
            (0, _) => '.',
            _ => super::soak::bar(bytes as f64 * 8e9 / ns as f64, most),
        }
    };
    let row = |course: &Course<'_>| {
        let phase = |(_, slices): &(&ContendPhase, Vec<Slice>)| {
            (0..SIGNS).map(|nth| sign(slices, nth)).collect::<String>()
        };
        let phases: Vec<String> = course.phases.iter().map(phase).collect();
        Strip { name: course.class.word().into(), symbols: format!("|{}|", phases.join("|")).into() }
    };
    let strips: Vec<Strip> = courses.iter().map(row).collect();
    let names: Vec<&str> = phases.iter().map(|phase| phase.name.words()).collect();
    let legend = format!(
        "{}, over time: {}; a sign is {}, the highest {}, '.' nothing",
        step.name,
        names.join(" | "),
        Nanoseconds(length_ns / SIGNS),
        BitsPerSecond(most as u64)
    );
    (!strips.is_empty()).then(|| Block::Strips { legend: legend.into(), strips })
}

/// What each number of migrations at once came to.
fn sweep(detail: &ContendDetail) -> Option<Vec<Block>> {
    let columns: [Column<&ContendTried>; 5] = [
        Column::figures("AT ONCE", |one| Cell::of(one.migrations)),
        Column::figures("STORAGE", |one| {
            Cell::known(one.storage_share.map(|share| format!("{:.0} %", share * 100.0)))
        }),
        Column::figures("ITS P99 ADDED", |one| Cell::known(one.storage_p99_added_ns.map(Nanoseconds))),
        Column::words("ITS LIMITS", |one| {
            Cell::known(one.storage_kept.map(|kept| if kept { "kept" } else { "missed" }))
        }),
        Column::figures("ALL GUESTS", |one| Cell::known(one.drain_ns.map(Nanoseconds))),
    ];
    let table = Table::new(&columns, detail.tried.iter().map(Row::One))?;
    let best = match detail.advice.migrations {
        Some(best) => best.to_string(),
        None => "none is known to leave storage what it needs".into(),
    };
    Some(vec![Block::Table(table), Block::List(vec![Fact::new("best number of migrations at once", best)])])
}

fn one(doc: &ResultDoc, step: &Step, detail: &ContendDetail) -> Vec<Block> {
    let columns: [Column<Line<'_>>; 5] = [
        Column::words("CONTENTION", |line| Cell::of(&line.label)),
        Column::figures("IDLE", |line| line.at(PhaseName::Idle)),
        Column::figures("STORAGE ALONE", |line| line.at(PhaseName::Storage)),
        Column::figures("BOTH", |line| line.at(PhaseName::Both)),
        Column::figures("MIGRATION ALONE", |line| line.at(PhaseName::Migration)),
    ];
    let table = Table::new(&columns, rows(detail)).map(Block::Table);
    let mut blocks: Vec<Block> = table.into_iter().collect();
    let told = facts(doc, detail);
    blocks.push(Block::List(spans_of(step).into_iter().chain(told).collect()));
    blocks
}

fn rows(detail: &ContendDetail) -> Vec<Row<Line<'_>>> {
    let mut rows = vec![];
    for class in [Class::Storage, Class::Migration, Class::Backup] {
        let own = || detail.phases.iter().flat_map(|phase| &phase.classes).filter(|one| one.name == class);
        let Some(first) = own().next() else { continue };
        let mut line = |label: &str, part: bool, cell| {
            let line = Line { label: label.into(), detail, class, cell };
            rows.push(if part { Row::Part(line) } else { Row::One(line) });
        };
        line(class.word(), false, |class| Cell::known(class.goodput_bits_per_s.map(BitsPerSecond)));
        if own().any(|class| class.response_ns.is_some()) {
            line("p99", true, |class| Cell::known(class.response_ns.map(|times| Nanoseconds(times.p99))));
        }
        if first.cap_bytes_per_s.is_some() {
            line("its cap", true, |class| {
                Cell::known(class.cap_bytes_per_s.map(|cap| BitsPerSecond(cap.saturating_mul(8))))
            });
        }
    }
    let beat = |label: &str, cell| Line { label: label.into(), detail, class: Class::Heartbeat, cell };
    rows.push(Row::One(beat("heartbeats lost", |class| {
        let lost = class.lost.zip(class.sent);
        Cell::known(lost.map(|(lost, sent)| format!("{lost} of {sent}")))
    })));
    let missed = |class: &ClassFigures| class.longest_gap_ns.is_some_and(|gap_ns| gap_ns > 0);
    if detail.phases.iter().flat_map(|phase| &phase.classes).any(missed) {
        rows.push(Row::Part(beat("longest gap", |class| Cell::known(class.longest_gap_ns.map(Nanoseconds)))));
    }
    rows.push(Row::Part(beat("answered p99", |class| {
        Cell::known(class.response_ns.map(|times| Nanoseconds(times.p99)))
    })));
    rows
}

/// Which classes begin or end in the middle of their phases.
fn spans_of(step: &Step) -> Option<Fact> {
    let spec = step.spec.as_ref()?.contend()?;
    let own = [Class::Storage, Class::Migration, Class::Backup].into_iter().filter_map(|class| {
        let span = spec.spans.of(class);
        (!span.is_whole()).then(|| format!("{} {}", class.word(), span.words()))
    });
    let own: Vec<String> = own.collect();
    (!own.is_empty()).then(|| Fact::new("within each phase", own.join(", ")))
}

/// How marks arrive, where somebody asked for some or one of them changes.
fn marks(detail: &ContendDetail) -> Option<Fact> {
    let asked = detail.marks.iter().any(|mark| mark.name != Class::Heartbeat || mark.dscp != BEAT_DSCP);
    let told = |mark: &ClassMark| {
        let became = match (mark.received, mark.changed_to()) {
            (None, _) => "unknown".to_owned(),
            (Some(0), _) => "nothing arrives".into(),
            (_, None) => "as sent".into(),
            (_, Some(dscp)) => format!("as {dscp}"),
        };
        format!("{} {} {} {became}", mark.name.word(), mark.dscp, way(mark))
    };
    let changed = detail.marks.iter().any(|mark| mark.changed_to().is_some());
    let all: Vec<String> =
        detail.marks.iter().map(told).chain(detail.rdma_marks.iter().map(rdma_packets)).collect();
    (asked || changed).then(|| Fact::new("marks (DSCP) arrive", all.join(", ")))
}

/// How RDMA packets arrive, one way.
fn rdma_packets(way: &RdmaMarks) -> String {
    let which = if way.direction == Direction::In { "in" } else { "out" };
    let Some(arrived) = &way.arrived else {
        return format!("RDMA packets {which} unknown: {}", way.reason.as_deref().unwrap_or("nobody tells"));
    };
    let code_points: BTreeSet<u8> = arrived.iter().map(|came| came.dscp).collect();
    let code_points: Vec<String> = code_points.iter().map(u8::to_string).collect();
    format!("RDMA packets {which} as {}", code_points.join(" and "))
}

/// With which 802.1p priorities frames arrive, where somebody asked for some or some have a tag.
fn priorities(detail: &ContendDetail) -> Option<Fact> {
    let asked = detail.marks.iter().any(|mark| mark.priority.is_some());
    let came = |mark: &ClassMark| mark.arrived_priorities.clone().unwrap_or_default();
    let tagged = detail.marks.iter().any(|mark| came(mark).iter().any(|came| came.priority.is_some()));
    let told = |mark: &ClassMark| {
        let sent = mark.priority.map_or_else(String::new, |sent| format!(" {sent}"));
        let became = match (mark.arrived_priorities.as_deref(), mark.priority_changed_to()) {
            (None, _) => "unknown".to_owned(),
            (Some([]), _) => "nothing arrives".into(),
            (Some(_), Some(most)) => arrived(most),
            // Nobody said with which it is sent.
            (Some([most, ..]), None) if mark.priority.is_none() => arrived(*most),
            (Some(_), None) => "as sent".into(),
        };
        format!("{}{sent} {} {became}", mark.name.word(), way(mark))
    };
    let reasons: BTreeSet<&str> =
        detail.marks.iter().filter_map(|mark| mark.priorities_reason.as_deref()).collect();
    let unknown = reasons.into_iter().map(|reason| format!("unknown: {reason}"));
    let all: Vec<String> = detail.marks.iter().map(told).chain(unknown).collect();
    (asked || tagged).then(|| Fact::new("priorities (802.1p) arrive", all.join(", ")))
}

fn arrived(most: ArrivedPriority) -> String {
    most.priority.map_or_else(|| "without a tag".into(), |priority| format!("as {priority}"))
}

fn way(mark: &ClassMark) -> &'static str {
    if mark.direction == Direction::In { "in" } else { "out" }
}

/// What a criterion of contention is held against in this run.
fn limit(doc: &ResultDoc, criterion: &str) -> Option<f64> {
    let own = doc.verdicts.iter().filter(|verdict| matches!(verdict.subject, Subject::Contend(_)));
    own.flat_map(|verdict| &verdict.checks).find(|check| check.criterion == criterion)?.limit
}

fn facts(doc: &ResultDoc, detail: &ContendDetail) -> Vec<Fact> {
    let cost = &detail.cost;
    let mut facts = vec![];
    let share_min = limit(doc, names::STORAGE_SHARE).map(|limit| format!(" (min {:.0} %)", limit * 100.0));
    let added_max =
        limit(doc, names::STORAGE_P99_ADDED).map(|limit| format!(" (max {})", Nanoseconds(limit as u64)));
    let (share_min, added_max) = (share_min.unwrap_or_default(), added_max.unwrap_or_default());
    let share =
        cost.storage_share.map(|share| format!("{:.0} % of its throughput alone{share_min}", share * 100.0));
    let added =
        cost.storage_p99_added_ns.map(|added| format!("{} more at p99{added_max}", Nanoseconds(added)));
    let lost: Vec<String> = share.into_iter().chain(added).collect();
    if !lost.is_empty() {
        facts.push(Fact::new("storage beside migrations", lost.join(", ")));
    }
    if let Some(beside) = cost.migration_beside_ns {
        let alone = cost.migration_alone_ns.map(|alone| format!(", {} alone", Nanoseconds(alone)));
        let pass = format!("{} beside storage{}", Nanoseconds(beside), alone.unwrap_or_default());
        facts.push(Fact::new(format!("one pass over {}", Bytes(cost.memory_bytes)), pass));
    }
    if let Some(fairness) = cost.migration_fairness {
        facts.push(Fact::new("fairness among migrations", format!("{fairness:.2} of 1 (Jain's index)")));
    }
    if let Some(drain_ns) = cost.drain_ns {
        facts.push(Fact::new(
            format!("all {} guests of that size", cost.guests),
            Nanoseconds(drain_ns).to_string(),
        ));
    }
    facts.extend(detail.lost_nic.as_ref().map(|lost| Fact::new("NIC that is lost", lost.words())));
    facts.extend(marks(detail));
    facts.extend(priorities(detail));
    let cap = detail.advice.cap_bytes_per_s;
    let told = match cap {
        Some(cap) => format!("-BytesPerSecond {}: {}", typed(cap), detail.advice.reason),
        None => format!("none: {}", detail.advice.reason),
    };
    facts.push(Fact::new("cap for migrations", told));
    let beside = detail.advice.backup_cap_bytes_per_s;
    facts.extend(beside.map(|cap| Fact::new("cap for backups", format!("-BytesPerSecond {}", typed(cap)))));
    facts
}

#[cfg(test)]
mod tests {
    use pathproof_model::contend::ClassSpans;
    use pathproof_model::{ArrivedMark, ContendSpec, StepKind, StepSpec};

    use super::*;

    #[test]
    fn a_class_that_begins_or_ends_within_its_phases_is_told_with_its_times() {
        let told = |all: &[&str]| {
            let spans = all.iter().try_fold(ClassSpans::default(), |spans, text| spans.and(text)).unwrap();
            let mut step = Step::new(StepKind::Contend, "contention");
            step.spec = Some(StepSpec::Contend(ContendSpec { spans, ..ContendSpec::default() }));
            spans_of(&step)
        };
        assert_eq!(told(&[]), None);
        let said = "migration from 500.00 ms on, backup from 1.00 s to 3.00 s";
        let asked = ["backup=1s..3s", "migration=500ms.."];
        assert_eq!(told(&asked), Some(Fact::new("within each phase", said)));
    }

    #[test]
    fn the_marks_of_rdma_packets_are_told_beside_those_of_datagrams_and_unknown_with_the_reason() {
        let mark = ClassMark {
            name: Class::Storage,
            dscp: 26,
            sent: Some(9),
            received: Some(9),
            ..ClassMark::default()
        };
        let came = |dscp, ecn| ArrivedMark { dscp, ecn, count: 9 };
        let out =
            RdmaMarks { arrived: Some(vec![came(26, 0), came(26, 3), came(0, 0)]), ..RdmaMarks::default() };
        let why = Some("no packet was seen at eth0".to_owned());
        let back = RdmaMarks { direction: Direction::In, reason: why, ..RdmaMarks::default() };
        let detail =
            ContendDetail { marks: vec![mark], rdma_marks: vec![out, back], ..ContendDetail::default() };
        let said = "storage 26 out as sent, RDMA packets out as 0 and 26, RDMA packets in unknown: no packet was seen at eth0";
        assert_eq!(marks(&detail), Some(Fact::new("marks (DSCP) arrive", said)));
    }

    #[test]
    fn priorities_are_told_as_they_arrive_and_what_is_not_seen_with_its_reason() {
        let mark = |name, priority, direction, arrived: Option<&[Option<u8>]>| {
            let came = |priority: &Option<u8>| ArrivedPriority { priority: *priority, count: 9 };
            let arrived_priorities = arrived.map(|all| all.iter().map(came).collect());
            let why = arrived.is_none().then(|| "br0 is of the kind bridge".to_owned());
            ClassMark {
                name,
                priority,
                direction,
                arrived_priorities,
                priorities_reason: why,
                ..ClassMark::default()
            }
        };
        let told = |marks: Vec<ClassMark>| priorities(&ContendDetail { marks, ..ContendDetail::default() });
        let (out, back) = (Direction::Out, Direction::In);
        let all = vec![
            mark(Class::Heartbeat, None, out, Some(&[Some(6)])),
            mark(Class::Heartbeat, None, back, None),
            mark(Class::Storage, Some(3), out, Some(&[Some(3)])),
            mark(Class::Storage, Some(3), back, None),
            mark(Class::Migration, Some(1), out, Some(&[Some(4)])),
            mark(Class::Backup, Some(1), out, Some(&[None])),
            mark(Class::Backup, Some(1), back, Some(&[])),
        ];
        let said = "heartbeat out as 6, heartbeat in unknown, storage 3 out as sent, storage 3 in unknown, migration 1 out as 4, \
                    backup 1 out without a tag, backup 1 in nothing arrives, unknown: br0 is of the kind bridge";
        assert_eq!(told(all), Some(Fact::new("priorities (802.1p) arrive", said)));
        // Nobody asked, and there is no tag anywhere.
        assert_eq!(told(vec![mark(Class::Heartbeat, None, out, Some(&[None]))]), None);
    }

    #[test]
    fn how_fairly_several_migrations_share_is_told_and_one_by_itself_shares_with_nobody() {
        let told = |migration_fairness| {
            let cost = pathproof_model::ContendCost { migration_fairness, ..Default::default() };
            let detail = ContendDetail { cost, ..ContendDetail::default() };
            let doc = ResultDoc::new(pathproof_model::Tool::default(), "");
            facts(&doc, &detail).contains(&Fact::new("fairness among migrations", "0.25 of 1 (Jain's index)"))
        };
        assert!(told(Some(0.25)) && !told(None));
    }
}
