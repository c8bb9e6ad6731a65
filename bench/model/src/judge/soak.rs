//! What a soak saw, held against the limits: one check for each kind of event that a sound path does not have.

use crate::soak::{Soak, SoakEventKind};
use crate::units::Nanoseconds;
use crate::{Check, Criteria, ResultDoc, Subject, Unit, Verdict};

/// The verdict of a soak, where the document has one.
pub(super) fn verdict(doc: &ResultDoc, criteria: &Criteria) -> Option<Verdict> {
    let soak = doc.soak.as_ref()?;
    let mut checks = vec![loss(soak, criteria)];
    checks.extend(SoakEventKind::BAD.into_iter().filter_map(|kind| events(soak, kind)));
    Verdict::of(Subject::Soak, checks)
}

/// Over the whole time: stretches that are too short to show anything add up.
fn loss(soak: &Soak, criteria: &Criteria) -> Check {
    let (loss, limit) = (soak.total.loss(), criteria.loss.share_max);
    let length = Nanoseconds(soak.elapsed_ns);
    let Some(share) = loss.point() else {
        let text = format!("no datagram could be counted in {length}");
        return match soak.total.is_measured() {
            // They may be filtered; everything else was seen.
            true => Check::not_judged("loss-share", text),
            false => Check::inconclusive("loss-share", text),
        };
    };
    let text = format!("{} of {} datagrams lost in {length}", loss.part, loss.of);
    Check::of("loss-share", loss.bounds().0 <= limit, text).numbers(share, limit, Unit::Share)
}

fn events(soak: &Soak, kind: SoakEventKind) -> Option<Check> {
    let count = soak.counts.get(&kind).copied().unwrap_or(0);
    let what = match kind {
        SoakEventKind::PeerLost => "the peer was lost",
        SoakEventKind::Loss => "too many datagrams were lost at once",
        SoakEventKind::PathDead => "a pair of NICs fell silent",
        SoakEventKind::Slow => "small requests took too long",
        SoakEventKind::CarrierChanged => "a carrier came or went",
        SoakEventKind::MtuChanged => "the path MTU changed",
        SoakEventKind::RateFell => "the rate fell",
        SoakEventKind::PeerBack | SoakEventKind::LossOver | SoakEventKind::PathBack => return None,
        SoakEventKind::SlowOver | SoakEventKind::RateBack | SoakEventKind::Noticed => return None,
    };
    let figures = &soak.total;
    let seen = match kind {
        SoakEventKind::Slow => figures.response_ns.is_some(),
        SoakEventKind::MtuChanged => figures.ip_mtu_bytes.is_some(),
        SoakEventKind::RateFell => figures.out_bits_per_s.or(figures.in_bits_per_s).is_some(),
        SoakEventKind::Loss | SoakEventKind::PathDead => figures.sent > 0,
        _ => figures.is_measured(),
    };
    if !seen && count == 0 {
        return Some(Check::not_judged(kind.word(), format!("whether {what} was not measured")));
    }
    let first = soak.events.iter().find(|event| event.kind == kind);
    let text = match (count, first) {
        (0, _) | (_, None) => format!("{what}: {count} times"),
        (count, Some(first)) => format!("{what}: {count} times, first at {} ({})", first.at, first.text),
    };
    let check = Check::of(kind.word(), count == 0, text);
    Some(check.numbers(count as f64, 0.0, Unit::Count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::{SoakEvent, SoakFigures, SoakTimes};
    use crate::{Outcome, RunOutcome};

    fn judged(soak: Soak) -> (Verdict, RunOutcome) {
        let mut doc = ResultDoc::new(Default::default(), "");
        doc.soak = Some(soak);
        crate::judge_into(&mut doc, &Criteria::default());
        doc.conclude();
        let verdict = doc.verdicts.iter().find(|verdict| verdict.subject == Subject::Soak);
        (verdict.unwrap().clone(), doc.outcome)
    }

    fn quiet() -> Soak {
        let response_ns = Some(SoakTimes { count: 9, ..SoakTimes::default() });
        let total = SoakFigures { sent: 10_000, lost: 1, response_ns, ..SoakFigures::default() };
        Soak { elapsed_ns: 8 * 3_600_000_000_000, total, ..Soak::default() }
    }

    #[test]
    fn a_quiet_soak_is_fit_and_one_that_saw_something_is_not() {
        let (verdict, outcome) = judged(quiet());
        assert_eq!((verdict.outcome, outcome), (Outcome::Pass, RunOutcome::Fit), "{verdict:?}");
        let mut lost = quiet();
        lost.counts.insert(SoakEventKind::PeerLost, 2);
        let at = "2026-11-29T03:10:00Z".to_owned();
        lost.events = vec![SoakEvent { at_ns: 1, at, kind: SoakEventKind::PeerLost, text: "reset".into() }];
        let (verdict, outcome) = judged(lost);
        assert_eq!((verdict.outcome, outcome), (Outcome::Fail, RunOutcome::NotFit));
        assert!(
            verdict.reason.starts_with("the peer was lost: 2 times, first at 2026-11-29T03:10:00Z (reset)")
        );
        // What came back, or was only noticed, is no failure by itself.
        let mut noticed = quiet();
        noticed.counts.insert(SoakEventKind::Noticed, 1);
        noticed.counts.insert(SoakEventKind::RateBack, 1);
        assert_eq!(judged(noticed).1, RunOutcome::Fit);
    }

    #[test]
    fn loss_counts_over_the_whole_time_and_nothing_measured_is_no_pass() {
        let mut lossy = quiet();
        lossy.total.lost = 40;
        assert_eq!(judged(lossy).0.outcome, Outcome::Fail);
        let (verdict, outcome) = judged(Soak::default());
        assert_eq!((verdict.outcome, outcome), (Outcome::Inconclusive, RunOutcome::CannotTell));
    }
}
