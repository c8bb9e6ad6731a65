//! What was counted by priority while classes shared the path: losses where nothing may be lost, pauses, marks of congestion.
//!
//! Adapters and kernels count for the whole host, so none of it need be of the classes themselves; what shares the path with them bears it.

use crate::evidence::PriorityCounts;
use crate::judge::lossless::{Lossless, LosslessPriority, lossless};
use crate::{Check, End, ResultDoc, Step, Unit};

/// None may be lost.
const DISCARDS_MAX: f64 = 0.0;

/// The checks of a step whose hosts say what they counted; none of one whose hosts do not.
pub(super) fn checks(doc: &ResultDoc, step: &Step) -> Vec<Check> {
    if step.evidence.is_empty() {
        return vec![];
    }
    let found = lossless(doc, step);
    let is_by_rdma = step.lanes.iter().any(|lane| lane.adapter.is_some());
    [Some(discards(&found, is_by_rdma)), pauses(&found), Some(marks(step, &found))]
        .into_iter()
        .flatten()
        .collect()
}

fn place(one: &LosslessPriority) -> String {
    format!("priority {} at {} of the {}", one.priority, one.nic, one.end)
}

fn places<'a>(all: impl Iterator<Item = &'a LosslessPriority>) -> String {
    all.map(place).collect::<Vec<_>>().join(", ")
}

/// Whether a priority that is to lose nothing lost something. That nobody counts it is no loss and no pass either.
fn discards(found: &Lossless, is_by_rdma: bool) -> Check {
    const NAME: &str = "lossless-discards";
    let lost =
        found.priorities.iter().filter_map(|one| Some((one, one.discards().filter(|lost| *lost > 0)?)));
    let lost: Vec<(&LosslessPriority, u64)> = lost.collect();
    if !lost.is_empty() {
        let sum = lost.iter().map(|(_, lost)| *lost).fold(0, u64::saturating_add);
        let each: Vec<String> = lost.iter().map(|(one, lost)| format!("{lost} of {}", place(one))).collect();
        let text =
            format!("{sum} packets were thrown away that are to be paused instead: {}", each.join(", "));
        return Check::fail(NAME, text).numbers(sum as f64, DISCARDS_MAX, Unit::Count);
    }
    let unknown = |text: String| {
        // RDMA sends everything again from the gap on: whoever measures by it must know.
        let check = match is_by_rdma && !found.priorities.is_empty() {
            true => Check::inconclusive(NAME, text),
            false => Check::not_judged(NAME, text),
        };
        check.numbers(None, DISCARDS_MAX, Unit::Count)
    };
    let mut uncounted = found.priorities.iter().filter(|one| one.discards().is_none()).peekable();
    if uncounted.peek().is_some() {
        return unknown(format!(
            "whether anything was thrown away that is to be paused instead is not known: no driver counts it of {}",
            places(uncounted)
        ));
    }
    if !found.unknown.is_empty() {
        let why = found.unknown.join("; ");
        return unknown(format!("which priority is to lose nothing is not known at every NIC: {why}"));
    }
    // Both ends may have no lane at all.
    if found.priorities.is_empty() {
        return unknown("no NIC says that a priority is to lose nothing".into());
    }
    let text = format!("nothing was thrown away of {}", places(found.priorities.iter()));
    Check::pass(NAME, text).numbers(0.0, DISCARDS_MAX, Unit::Count)
}

/// Pauses of those priorities: that is how they lose nothing, and what holds everybody up behind a slow receiver.
fn pauses(found: &Lossless) -> Option<Check> {
    const NAME: &str = "lossless-pauses";
    let counted = |counts: &PriorityCounts| counts.pauses_received.is_some() || counts.pauses_sent.is_some();
    let known: Vec<&LosslessPriority> = found.priorities.iter().filter(|one| counted(&one.counts)).collect();
    if found.priorities.is_empty() {
        return None;
    }
    if known.is_empty() {
        let text = format!("no driver counts the pauses of {}", places(found.priorities.iter()));
        return Some(Check::not_judged(NAME, text).numbers(None, None, Unit::Count));
    }
    let word = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let each = known.iter().map(|one| {
        let (received, sent) = (word(one.counts.pauses_received), word(one.counts.pauses_sent));
        format!("{received} received and {sent} sent of {}", place(one))
    });
    let text = format!("pause frames: {} (no limit)", each.collect::<Vec<_>>().join(", "));
    let all = known.iter().flat_map(|one| [one.counts.pauses_received, one.counts.pauses_sent]);
    let sum = all.flatten().fold(0, u64::saturating_add);
    Some(Check::not_judged(NAME, text).numbers(sum as f64, None, Unit::Count))
}

/// Marks of congestion (ECN, RFC 3168) of whatever arrived by IP, and those that adapters made of the priorities that are to lose nothing.
fn marks(step: &Step, found: &Lossless) -> Check {
    const NAME: &str = "congestion-marks";
    let arrived = |end: End| {
        // Of two ends on one host the other one says it.
        if step.evidence.iter().any(|one| one.node == end.node() && one.same_as.is_some()) {
            return None;
        }
        let evidence = step.evidence(end.node())?;
        let all = [evidence.ip.as_ref(), evidence.ip6.as_ref()].into_iter().flatten();
        all.filter_map(|ip| ip.congestion_marks).reduce(u64::saturating_add)
    };
    let known = End::BOTH.into_iter().filter_map(|end| Some((end, arrived(end)?)));
    let known: Vec<(End, u64)> = known.collect();
    if known.is_empty() {
        let text = "no host counts the marks of congestion that arrive";
        return Check::not_judged(NAME, text).numbers(None, None, Unit::Count);
    }
    let each = known.iter().map(|(end, marks)| format!("{marks} at the {end}"));
    let of_priorities = found.priorities.iter().filter_map(|one| {
        let marks = one.counts.congestion_marks.filter(|marks| *marks > 0)?;
        Some(format!("{marks} made of {}", place(one)))
    });
    let each: Vec<String> = each.chain(of_priorities).collect();
    let text = format!("packets with a mark of congestion arrived: {} (no limit)", each.join(", "));
    let sum = known.iter().map(|(_, marks)| *marks).fold(0, u64::saturating_add);
    Check::not_judged(NAME, text).numbers(sum as f64, None, Unit::Count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Dcb, DcbPfc};
    use crate::evidence::{IpCounts, PriorityActivity};
    use crate::{Environment, Evidence, LaneResult, Nic, Node, Outcome, StepKind, Tool};

    /// Two hosts whose e0 pauses priority 3, and what their drivers counted of it.
    fn hosts(counted: [Option<PriorityCounts>; 2]) -> (ResultDoc, Step) {
        let pfc = Some(DcbPfc { enabled_priorities: vec![3], classes_max: None });
        let dcb = Some(Dcb { pfc, ..Dcb::default() });
        let nic = Nic { name: "e0".into(), dcb, ..Nic::default() };
        let host = || Some(Environment { nics: vec![nic.clone()], ..Environment::default() });
        let doc = ResultDoc {
            nodes: vec![Node::here(host()), Node::agent("peer", host())],
            ..ResultDoc::new(Tool::default(), "")
        };
        let mut step = Step::new(StepKind::Contend, "contention");
        for (end, counts) in End::BOTH.into_iter().zip(counted) {
            step.lanes.push(LaneResult { end, nics: vec!["e0".into()], ..LaneResult::default() });
            let activity = |counts| PriorityActivity {
                nic: "e0".into(),
                priority: 3,
                counts,
                ..PriorityActivity::default()
            };
            let priorities = counts.map(|counts| vec![activity(counts)]);
            step.evidence.push(Evidence { node: end.node(), priorities, ..Evidence::default() });
        }
        (doc, step)
    }

    fn counts(discards: u64, pauses: u64) -> Option<PriorityCounts> {
        Some(PriorityCounts {
            receive_discards: Some(discards),
            pauses_received: Some(pauses),
            ..PriorityCounts::default()
        })
    }

    fn told((doc, step): &(ResultDoc, Step), name: &str) -> Check {
        checks(doc, step).into_iter().find(|check| check.criterion == name).expect("it is made")
    }

    #[test]
    fn what_is_thrown_away_of_a_priority_that_is_to_lose_nothing_is_a_failure_with_its_number() {
        let check = told(&hosts([counts(0, 0), counts(7, 0)]), "lossless-discards");
        assert_eq!((check.outcome, check.measured, check.limit), (Outcome::Fail, Some(7.0), Some(0.0)));
        assert!(check.text.ends_with("7 of priority 3 at e0 of the server"), "{}", check.text);
        let well = told(&hosts([counts(0, 0), counts(0, 9)]), "lossless-discards");
        assert_eq!((well.outcome, well.measured), (Outcome::Pass, Some(0.0)), "{}", well.text);
        // What one end lost is lost, whatever the other does not count.
        let half = told(&hosts([counts(2, 0), None]), "lossless-discards");
        assert_eq!((half.outcome, half.measured), (Outcome::Fail, Some(2.0)));
    }

    #[test]
    fn what_no_driver_counts_is_null_with_its_reason_and_no_pass() {
        let pauses_alone = Some(PriorityCounts { pauses_received: Some(0), ..PriorityCounts::default() });
        for unknown in [[None, None], [counts(0, 0), None], [counts(0, 0), pauses_alone]] {
            let both = hosts(unknown);
            let check = told(&both, "lossless-discards");
            assert_eq!((check.outcome, check.measured), (Outcome::NotJudged, None), "{}", check.text);
            assert!(check.text.contains("no driver counts it of") && check.text.contains("server"));
            // RDMA itself went over it.
            let (doc, mut step) = both;
            step.lanes[0].adapter = Some(crate::AdapterRecord::default());
            assert_eq!(told(&(doc, step), "lossless-discards").outcome, Outcome::Inconclusive);
        }
        let (mut doc, step) = hosts([counts(0, 0), counts(0, 0)]);
        let server = doc.nodes[1].environment.as_mut().unwrap();
        (server.nics[0].dcb, server.nics[0].dcb_absent) = (None, Some("only root may ask".into()));
        let check = told(&(doc, step), "lossless-discards");
        assert_eq!((check.outcome, check.measured), (Outcome::NotJudged, None));
        assert!(check.text.ends_with("of e0 of the server: only root may ask"), "{}", check.text);
    }

    #[test]
    fn pauses_and_marks_are_told_and_held_against_nothing() {
        let (doc, mut step) = hosts([counts(0, 12), counts(0, 3)]);
        let ip = |marks| Some(IpCounts { congestion_marks: Some(marks), ..IpCounts::still() });
        (step.evidence[0].ip, step.evidence[0].ip6) = (ip(5), ip(1));
        step.evidence[1].ip = Some(IpCounts { congestion_marks: None, ..IpCounts::still() });
        let both = (doc, step);
        let pauses = told(&both, "lossless-pauses");
        assert_eq!((pauses.outcome, pauses.measured, pauses.limit), (Outcome::NotJudged, Some(15.0), None));
        assert!(
            pauses.text.contains("12 received and unknown sent of priority 3 at e0 of the client"),
            "{pauses:?}"
        );
        let marks = told(&both, "congestion-marks");
        assert_eq!((marks.outcome, marks.measured), (Outcome::NotJudged, Some(6.0)));
        assert!(marks.text.contains("arrived: 6 at the client (no limit)"), "{marks:?}");
        let unknown = hosts([None, None]);
        assert_eq!(told(&unknown, "congestion-marks").measured, None);
        assert_eq!(told(&unknown, "lossless-pauses").measured, None);
    }

    #[test]
    fn hosts_that_say_nothing_of_what_they_counted_are_not_asked() {
        let (doc, mut step) = hosts([counts(7, 0), counts(7, 0)]);
        step.evidence.clear();
        assert_eq!(checks(&doc, &step), []);
    }
}
