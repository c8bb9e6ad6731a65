//! Whether a class gets what is reserved for it beside the others: by the word of the user, or where nobody says anything, by the table of the
//! NIC that sends.

use super::ets::{self, CARRYING, Shares};
use super::flow;
use crate::judge::busy::unless_flow_busy;
use crate::{Check, Class, ClassFigures, ContendDetail, Criteria, PhaseName, ResultDoc, Step, Unit};

const NAME: &str = "reserved-share";

/// What is reserved for the classes of a step.
pub(super) struct Reserved {
    /// As a share of what they carry together.
    shares: Vec<(Class, f64)>,
    /// Whose table says so; `None` where the user expects it.
    source: Option<String>,
}

impl Reserved {
    /// By the criteria; where they say nothing of any class, by the table of the NIC.
    pub(super) fn of(doc: &ResultDoc, step: &Step, detail: &ContendDetail, criteria: &Criteria) -> Reserved {
        let said = |class: Class| Some((class, criteria.contend.reserved_share(class)?));
        let shares: Vec<(Class, f64)> = CARRYING.into_iter().filter_map(said).collect();
        if !shares.is_empty() {
            return Reserved { shares, source: None };
        }
        match ets::of_sender(doc, step, detail) {
            Some(Shares { shares, source }) => Reserved { shares, source: Some(source) },
            None => Reserved { shares, source: None },
        }
    }

    /// Whether the user expects something.
    pub(super) fn is_expected(&self) -> bool {
        self.source.is_none() && !self.shares.is_empty()
    }

    /// Whether storage was to show what is reserved: it asks for more than the path has, with or without migrations, so what those take from
    /// it says nothing.
    pub(super) fn is_overload(&self, detail: &ContendDetail) -> bool {
        let alone = detail.figures(PhaseName::Storage, Class::Storage);
        !self.shares.is_empty() && alone.and_then(is_short) == Some(true)
    }

    /// A check for each class that something is reserved for.
    pub(super) fn checks(&self, step: &Step, detail: &ContendDetail, criteria: &Criteria) -> Vec<Check> {
        let off_max = criteria.contend.reserved_share_off_max;
        self.shares.iter().map(|(class, share)| self.check(step, detail, (*class, *share), off_max)).collect()
    }

    fn check(
        &self,
        step: &Step,
        detail: &ContendDetail,
        (class, reserved): (Class, f64),
        off_max: f64,
    ) -> Check {
        let word = class.word();
        let figures = |class| detail.figures(PhaseName::Both, class);
        let Some(share) = figures(class).and_then(|own| own.share) else {
            let text = format!("what {word} has of all that is carried was not measured");
            return self.open(text).numbers(None, reserved, Unit::Share);
        };
        let by = self.source.as_ref().map(|source| format!(" by {source}")).unwrap_or_default();
        let text = format!(
            "{word} has {:.1} % of all that is carried, and {:.1} % are reserved for it{by} (at most {:.0} % off)",
            share * 100.0,
            reserved * 100.0,
            off_max * 100.0
        );
        let numbers = |check: Check| check.numbers(share, reserved, Unit::Share);
        // What one class leaves, the others take: that is no fault of the reservation.
        let content = CARRYING.into_iter().find(|class| figures(*class).and_then(is_short) == Some(false));
        if let Some(content) = content {
            let text = format!(
                "{text}: {} got all that it asked for, and a reservation shows only where each class asks for more; give --storage a higher rate, \
                 and take caps away",
                content.word()
            );
            return numbers(self.open(text));
        }
        let check = numbers(Check::of(NAME, (share / reserved - 1.0).abs() <= off_max, text));
        // Whoever has less than is its own may have had no processor; and where it has more, the others.
        let less = |other: &Class| (*other == class) == (share < reserved);
        let (has, due) = if share < reserved { (share, reserved) } else { (1.0 - share, 1.0 - reserved) };
        let flows = CARRYING.into_iter().filter(less).map(|class| flow(step, detail, PhaseName::Both, class));
        flows.fold(check, |check, flow| {
            unless_flow_busy(check, step, flow, |hosts| hosts.explain_rate(has, due))
        })
    }

    /// What was to be shown and was not is left open; what nobody asked for is not judged then.
    fn open(&self, text: String) -> Check {
        match &self.source {
            None => Check::inconclusive(NAME, text),
            Some(_) => Check::not_judged(NAME, text),
        }
    }
}

/// Whether a class was short of what it wanted; `None` where nobody knows.
fn is_short(class: &ClassFigures) -> Option<bool> {
    /// Of what it wanted: who got so much was not held back by anybody.
    const CONTENT: f64 = 0.95;
    let carried = class.goodput_bits_per_s? as f64;
    let cap = class.cap_bytes_per_s.map(|bytes| bytes.saturating_mul(8));
    let wanted = class.asked_bits_per_s.into_iter().chain(cap).min();
    Some(wanted.is_none_or(|wanted| carried < wanted as f64 * CONTENT))
}
