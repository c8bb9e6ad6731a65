//! When a class begins and ends within the phases that it runs in, and what of that is measured.
//!
//! A class that begins with its phase has found its pace when the phase is measured, and one that ends with it keeps its load up for a
//! moment longer. One that begins or ends in the middle loads the path from its start to its end and no longer, so what it needs to find its
//! pace, and what the other end's clock is behind, is taken off its figures instead.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ContendDetail, ContendPhase, ContendSpec, PhaseName, SETTLE_NS, TAIL_NS};
use crate::units::Nanoseconds;
use crate::{Class, Flow};

/// Shortest time from the start of a class to its end, in ns.
const SPAN_NS_MIN: u64 = 1_000_000_000;
/// Shortest time for which storage and migrations are measured beside each other, in ns.
const BESIDE_NS_MIN: u64 = 500_000_000;

/// When one class begins and ends, since the start of each phase that it runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassSpan {
    /// Start, in ns since the start of the phase.
    pub start_ns: u64,
    /// End, in ns since the start of the phase; absent for the end of the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_ns: Option<u64>,
}

impl ClassSpan {
    /// Whether the class runs for the whole of its phases.
    pub fn is_whole(&self) -> bool {
        *self == ClassSpan::default()
    }

    /// In the words of reports: `from 1.00 s to 3.00 s`.
    pub fn words(&self) -> String {
        let start = Nanoseconds(self.start_ns);
        match self.end_ns.map(Nanoseconds) {
            Some(end) => format!("from {start} to {end}"),
            None => format!("from {start} on"),
        }
    }

    fn end_ns(&self, phase_ns: u64) -> u64 {
        self.end_ns.unwrap_or(phase_ns).min(phase_ns)
    }

    /// What of a phase its figures are about, by itself.
    fn measured(&self, phase_ns: u64) -> (u64, u64) {
        let start_ns = if self.start_ns == 0 { 0 } else { self.start_ns.saturating_add(SETTLE_NS) };
        let end_ns = self.end_ns(phase_ns);
        let end_ns = if end_ns == phase_ns { end_ns } else { end_ns.saturating_sub(TAIL_NS) };
        (start_ns, end_ns.max(start_ns))
    }

    fn check(&self, word: &str, phase_ns: u64) -> Result<(), String> {
        let (phase, start) = (Nanoseconds(phase_ns), Nanoseconds(self.start_ns));
        let end_ns = self.end_ns.unwrap_or(phase_ns);
        if end_ns > phase_ns {
            let end = Nanoseconds(end_ns);
            return Err(format!(
                "{word} would end at {end} of a phase of {phase}; let it end earlier (--span), or give --time more"
            ));
        }
        if self.start_ns >= phase_ns {
            return Err(format!(
                "{word} would begin at {start} of a phase of {phase}; let it begin earlier (--span), or give --time more"
            ));
        }
        if end_ns <= self.start_ns {
            let end = Nanoseconds(end_ns);
            return Err(format!(
                "{word} would end at {end} and begin at {start}; write the start first: --span {word}=START..END"
            ));
        }
        if end_ns - self.start_ns < SPAN_NS_MIN {
            return Err(format!(
                "{word} would run for {}; give it at least 1 s (--span), because its connections find their pace first",
                Nanoseconds(end_ns - self.start_ns)
            ));
        }
        Ok(())
    }
}

/// When the classes begin and end, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassSpans {
    /// Storage.
    #[serde(skip_serializing_if = "ClassSpan::is_whole")]
    pub storage: ClassSpan,
    /// All migrations.
    #[serde(skip_serializing_if = "ClassSpan::is_whole")]
    pub migration: ClassSpan,
    /// All backups.
    #[serde(skip_serializing_if = "ClassSpan::is_whole")]
    pub backup: ClassSpan,
}

impl ClassSpans {
    /// That of a class: of what always runs, the whole phase.
    pub fn of(&self, class: Class) -> ClassSpan {
        match class {
            Class::Storage => self.storage,
            Class::Migration => self.migration,
            Class::Backup => self.backup,
            Class::Heartbeat | Class::Default | Class::Probe | Class::Other => ClassSpan::default(),
        }
    }

    /// Whether a class has one of its own.
    pub fn any(&self) -> bool {
        *self != ClassSpans::default()
    }

    /// Whether all run for the whole of their phases.
    pub fn none(&self) -> bool {
        !self.any()
    }

    /// These, and what `text` says of a class: `backup=1s..3s`, with either end left out for that of the phase. The last word on a class counts.
    pub fn and(mut self, text: &str) -> Result<ClassSpans, String> {
        let wrong = || {
            format!(
                "cannot read {text:?}; write CLASS=START..END, for example backup=1s..3s, backup=1s.. or backup=..3s"
            )
        };
        let time = |typed: &str| -> Result<Option<u64>, String> {
            if typed.trim().is_empty() {
                return Ok(None);
            }
            let time = typed.parse::<Nanoseconds>().map_err(|why| format!("in {text:?}: {why}"))?;
            Ok(Some(time.0))
        };
        let (class, said) = text.split_once('=').ok_or_else(wrong)?;
        let (start, end) = said.split_once("..").ok_or_else(wrong)?;
        let (start_ns, end_ns) = (time(start)?, time(end)?);
        if start_ns.is_none() && end_ns.is_none() {
            return Err(wrong());
        }
        let span = ClassSpan { start_ns: start_ns.unwrap_or(0), end_ns };
        let place = match class {
            "storage" => &mut self.storage,
            "migration" => &mut self.migration,
            "backup" => &mut self.backup,
            _ => {
                return Err(format!(
                    "{class:?} is no class that begins and ends by itself; those are storage, migration and backup"
                ));
            }
        };
        *place = span;
        Ok(self)
    }
}

/// When the lanes of a class in a phase begin, in ns since the start of the step, and what they then do.
pub(super) struct Times {
    pub start_ns: u64,
    pub warmup_ns: u64,
    pub time_ns: u64,
    pub cooldown_ns: u64,
}

impl ContendSpec {
    /// What of a phase a class's figures are about, in ns since the start of the phase.
    fn measured_within(&self, phase: PhaseName, class: Class) -> (u64, u64) {
        let own = |class| self.spans.of(class).measured(self.phase_ns);
        let is_compared = matches!(class, Class::Storage | Class::Migration);
        if phase != PhaseName::Both || !is_compared {
            return own(class);
        }
        // What each takes from the other shows only while both run: time without the other would make that look harmless.
        let ((start, end), (other_start, other_end)) = (own(Class::Storage), own(Class::Migration));
        let start = start.max(other_start);
        (start, end.min(other_end).max(start))
    }

    /// When a class is measured in a phase: its start and its end, in ns since the start of the step.
    pub fn measured_of(&self, phase: PhaseName, class: Class) -> (u64, u64) {
        let (begin_ns, (start_ns, end_ns)) = (self.measured(phase).0, self.measured_within(phase, class));
        (begin_ns.saturating_add(start_ns), begin_ns.saturating_add(end_ns))
    }

    /// When the lanes of a class run in a phase.
    pub(super) fn times(&self, phase: PhaseName, class: Class) -> Times {
        let (span, begins_ns) = (self.spans.of(class), self.begins_ns(phase));
        let (from_ns, to_ns) = self.measured_within(phase, class);
        let end_ns = span.end_ns(self.phase_ns);
        // Since the lanes of the phase begin.
        let start_ns = if span.start_ns == 0 { 0 } else { span.start_ns.saturating_add(SETTLE_NS) };
        let over_ns = if end_ns == self.phase_ns { end_ns.saturating_add(TAIL_NS) } else { end_ns };
        Times {
            start_ns: begins_ns.saturating_add(start_ns),
            warmup_ns: from_ns.saturating_add(SETTLE_NS).saturating_sub(start_ns),
            time_ns: to_ns - from_ns,
            cooldown_ns: over_ns.saturating_sub(to_ns),
        }
    }

    /// Which phase a flow that begins so late is part of.
    pub fn phase_of(&self, start_ns: u64) -> Option<PhaseName> {
        let has = |phase: &PhaseName| (self.begins_ns(*phase)..self.measured(*phase).1).contains(&start_ns);
        PhaseName::ALL.into_iter().find(has)
    }

    /// Shortens the phases; a class begins and ends at the same share of them.
    pub fn shorten(&mut self, phase_ns: u64) {
        if phase_ns >= self.phase_ns {
            return;
        }
        let (whole, part) = (u128::from(self.phase_ns), u128::from(phase_ns));
        let scaled = |ns: u64| u64::try_from(u128::from(ns) * part / whole).unwrap_or(ns);
        for span in [&mut self.spans.storage, &mut self.spans.migration, &mut self.spans.backup] {
            span.start_ns = scaled(span.start_ns);
            span.end_ns = span.end_ns.map(scaled);
        }
        self.phase_ns = phase_ns;
    }

    /// Refuses what cannot be meant.
    pub(super) fn check_spans(&self) -> Result<(), String> {
        if self.spans.none() {
            return Ok(());
        }
        for class in [Class::Storage, Class::Migration, Class::Backup] {
            self.spans.of(class).check(class.word(), self.phase_ns)?;
        }
        let (from_ns, to_ns) = self.measured_within(PhaseName::Both, Class::Storage);
        if to_ns - from_ns < BESIDE_NS_MIN {
            return Err(format!(
                "storage and migrations would be measured beside each other for {}, and what sharing costs takes at least 500 ms; let them \
                 overlap for longer (--span)",
                Nanoseconds(to_ns - from_ns)
            ));
        }
        Ok(())
    }
}

impl ContendDetail {
    /// The phase that a flow is part of.
    pub fn phase_of(&self, flow: &Flow) -> Option<&ContendPhase> {
        let settled_ns = flow.active.start_ns.saturating_add(SETTLE_NS);
        self.phases.iter().rfind(|phase| phase.start_ns <= settled_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OneFlow;

    const SECOND_NS: u64 = 1_000_000_000;

    fn spec(spans: &[&str]) -> ContendSpec {
        let spans = spans.iter().try_fold(ClassSpans::default(), |spans, text| spans.and(text)).unwrap();
        ContendSpec { spans, backups: 1, ..ContendSpec::default() }
    }

    #[test]
    fn a_span_is_read_in_the_units_of_all_times_and_another_word_is_refused() {
        let spans = ClassSpans::default().and("backup=1s..1m30s").and_then(|spans| spans.and("storage=..3"));
        let spans = spans.and_then(|spans| spans.and("migration=500ms..")).unwrap();
        assert_eq!(spans.of(Class::Backup), ClassSpan { start_ns: SECOND_NS, end_ns: Some(90 * SECOND_NS) });
        assert_eq!(spans.of(Class::Storage), ClassSpan { start_ns: 0, end_ns: Some(3 * SECOND_NS) });
        assert_eq!(spans.of(Class::Migration), ClassSpan { start_ns: SECOND_NS / 2, end_ns: None });
        assert!(spans.of(Class::Heartbeat).is_whole() && spans.any() && ClassSpans::default().none());
        assert_eq!(spans.backup.words(), "from 1.00 s to 90.00 s");
        assert_eq!(spans.migration.words(), "from 500.00 ms on");
        for (text, says) in [
            ("backup", "CLASS=START..END"),
            ("backup=2s", "CLASS=START..END"),
            ("backup=..", "CLASS=START..END"),
            ("backup=1x..2s", "\"backup=1x..2s\""),
            ("backup=-1s..2s", "\"backup=-1s..2s\""),
            ("heartbeat=1s..2s", "storage, migration and backup"),
            ("csv=1s..2s", "storage, migration and backup"),
        ] {
            let why = ClassSpans::default().and(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_one_sentence() {
        let why = |spans: &[&str]| spec(spans).check().err().unwrap_or_default();
        for kept in [&["backup=1s..3s"][..], &["backup=..4s"], &["migration=1s..", "storage=..3s"]] {
            assert_eq!(why(kept), "", "{kept:?}");
        }
        for (spans, says) in [
            (&["backup=1s..5s"][..], "backup would end at 5.00 s of a phase of 4.00 s"),
            (&["backup=4s.."], "backup would begin at 4.00 s"),
            (&["backup=3s..1s"], "write the start first"),
            (&["backup=2s..2s"], "write the start first"),
            (&["backup=2s..2.5s"], "at least 1 s"),
            (&["storage=..2s", "migration=2s.."], "overlap for longer"),
            (&["storage=..2.5s", "migration=1.6s.."], "overlap for longer"),
        ] {
            assert!(why(spans).contains(says), "{spans:?}: {}", why(spans));
        }
        // What a peer could ask for, whatever it comes to: nothing overflows.
        let far = ClassSpan { start_ns: u64::MAX, end_ns: Some(u64::MAX) };
        let absurd = ContendSpec {
            spans: ClassSpans { storage: far, migration: far, backup: far },
            phase_ns: u64::MAX,
            ..ContendSpec::default()
        };
        assert!(absurd.check().is_err());
        assert!(!absurd.flows().is_empty());
    }

    #[test]
    fn a_class_loads_the_path_from_its_start_to_its_end_and_its_figures_are_about_no_silence() {
        let spec = spec(&["backup=1s..3s"]);
        assert_eq!(spec.check(), Ok(()));
        let flows = spec.flows();
        let named = |name: &str| flows.iter().find(|flow| flow.name == name).unwrap();
        for (phase, name) in
            [(PhaseName::Both, "backup, both"), (PhaseName::Migration, "backup, migration alone")]
        {
            let (begin_ns, backup) = (spec.measured(phase).0, named(name));
            assert_eq!(backup.start_ns, begin_ns + SECOND_NS);
            assert_eq!(backup.start_ns + backup.traffic.length_ns(), begin_ns + 3 * SECOND_NS);
            let from_ns = backup.start_ns + backup.traffic.warmup_ns;
            let to_ns = from_ns + backup.traffic.time_ns;
            assert_eq!((from_ns, to_ns), spec.measured_of(phase, Class::Backup));
            assert_eq!((from_ns, to_ns), (begin_ns + 1_400_000_000, begin_ns + 2_900_000_000));
            assert_eq!(spec.phase_of(backup.start_ns), Some(phase));
        }
        // The others do as they would without it.
        let (own, plain) = (named("migration, both"), ContendSpec { backups: 1, ..ContendSpec::default() });
        assert!(plain.flows().contains(own));
        assert_eq!(plain.length_ns(), spec.length_ns(), "no phase is longer for it");
    }

    #[test]
    fn what_sharing_costs_is_measured_while_both_run() {
        let spec = spec(&["migration=1s..3s"]);
        let of = |phase, class| {
            let (begin_ns, (from_ns, to_ns)) = (spec.measured(phase).0, spec.measured_of(phase, class));
            ((from_ns - begin_ns) / 1_000_000, (to_ns - begin_ns) / 1_000_000)
        };
        assert_eq!(of(PhaseName::Storage, Class::Storage), (0, 4000));
        assert_eq!(of(PhaseName::Both, Class::Storage), (1400, 2900));
        assert_eq!(of(PhaseName::Both, Class::Migration), (1400, 2900));
        assert_eq!(of(PhaseName::Both, Class::Backup), (0, 4000));
        assert_eq!(of(PhaseName::Migration, Class::Migration), (1400, 2900));
        // Storage itself runs all along.
        let is_storage = |flow: &&OneFlow| flow.class == Class::Storage && flow.name == "storage, both";
        let flows = spec.flows();
        let storage = flows.iter().find(is_storage).unwrap();
        let begin_ns = spec.measured(PhaseName::Both).0;
        assert_eq!(storage.start_ns, begin_ns - SETTLE_NS);
        assert_eq!(storage.traffic.length_ns(), SETTLE_NS + spec.phase_ns + TAIL_NS);
        assert_eq!(storage.start_ns + storage.traffic.warmup_ns, begin_ns + 1_400_000_000);
    }

    #[test]
    fn shorter_phases_have_their_classes_at_the_same_share() {
        let mut spec = spec(&["backup=1s..3s"]);
        spec.shorten(5 * SECOND_NS);
        assert_eq!(spec.phase_ns, 4 * SECOND_NS);
        spec.shorten(2 * SECOND_NS);
        let half = ClassSpan { start_ns: SECOND_NS / 2, end_ns: Some(3 * SECOND_NS / 2) };
        assert_eq!((spec.phase_ns, spec.spans.backup), (2 * SECOND_NS, half));
        assert_eq!(spec.check(), Ok(()));
    }
}
