//! The slots and events of a soak, bounded: slots grow longer rather than more, and of events the first and the latest stay.

use pathproof_model::soak::{
    EVENTS_FIRST, EVENTS_LAST, SLOTS_MAX, Soak, SoakEvent, SoakEventKind, SoakFigures, SoakSlot,
};

use super::Moment;

/// How long a slot is at first, in ns.
const SLOT_NS: u64 = 10_000_000_000;
/// What comes from elsewhere and stands in an event has at most so many characters.
const TEXT_MAX: usize = 400;

pub(super) struct Line(Soak);

impl Line {
    pub fn new(time_ns: Option<u64>) -> Line {
        Line(Soak { time_ns, slot_ns: SLOT_NS, ..Soak::default() })
    }

    pub fn soak(&self) -> &Soak {
        &self.0
    }

    /// The time line goes on to `at_ns`.
    pub fn reach(&mut self, at_ns: u64) {
        let soak = &mut self.0;
        soak.elapsed_ns = soak.elapsed_ns.max(at_ns);
        while at_ns / soak.slot_ns >= SLOTS_MAX as u64 {
            soak.slot_ns = soak.slot_ns.saturating_mul(2);
            let halves = std::mem::take(&mut soak.slots);
            soak.slots = halves
                .chunks(2)
                .map(|pair| {
                    let mut slot = pair[0].clone();
                    pair[1..].iter().for_each(|other| slot.figures += other.figures);
                    slot
                })
                .collect();
        }
        while (soak.slots.len() as u64) <= at_ns / soak.slot_ns {
            let start_ns = soak.slots.len() as u64 * soak.slot_ns;
            soak.slots.push(SoakSlot { start_ns, ..SoakSlot::default() });
        }
    }

    /// What was seen up to `at_ns`.
    pub fn add(&mut self, at_ns: u64, figures: SoakFigures) {
        self.reach(at_ns);
        let soak = &mut self.0;
        soak.total += figures;
        let own = (at_ns / soak.slot_ns) as usize;
        // Time away is shared out to the slots that it lay in.
        let (mut at, mut away_ns) = (own, figures.away_ns);
        let mut end_ns = at_ns;
        while away_ns > 0 {
            let slot = &mut soak.slots[at];
            let part = away_ns.min(end_ns - slot.start_ns);
            slot.figures.away_ns += part;
            away_ns -= part;
            end_ns = slot.start_ns;
            match at.checked_sub(1) {
                Some(before) => at = before,
                None => break,
            }
        }
        soak.slots[own].figures += SoakFigures { away_ns: 0, ..figures };
    }

    pub fn event(&mut self, now: &Moment, kind: SoakEventKind, text: String) {
        let soak = &mut self.0;
        *soak.counts.entry(kind).or_default() += 1;
        let text = text.chars().take(TEXT_MAX).collect();
        soak.events.push(SoakEvent { at_ns: now.at_ns, at: now.label.clone(), kind, text });
        if soak.events.len() > EVENTS_FIRST + EVENTS_LAST {
            soak.events.remove(EVENTS_FIRST);
            soak.events_left_out += 1;
        }
    }
}
