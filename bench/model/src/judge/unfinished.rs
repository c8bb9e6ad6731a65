//! Judging short steps that no plan asked for, and that came to nothing because time was over.
//!
//! Refuses to pass over one: that such a step is not in the plan is no reason to call a path fit of which nobody knows what it carries. A run
//! whose time was up is no fault of the path either, so the answer stays open.

use std::collections::BTreeMap;

use crate::finding::told;
use crate::units::Nanoseconds;
use crate::{Check, End, ErrorKind, FollowUp, ResultDoc, Severity, Step, StepSpec};

/// Beyond its own time so much is more than two hosts need to open its connections: a SYN that was lost is sent again after a second.
const BEYOND_NS: u64 = 1_000_000_000;

/// What NICs carry alone or together, where a step that was to tell was cut, or given up, before its lanes carried a byte, and no other such step
/// over the same ones tells it; with what is known of hosts that were `busy`.
pub(super) fn check(doc: &ResultDoc, step: &Step, busy: Option<&str>) -> Option<Check> {
    let error = step.error.as_ref().filter(|_| step.follows_up == Some(FollowUp::Alone))?;
    let waited = matches!(error.kind, ErrorKind::OutOfTime | ErrorKind::Timeout);
    let traffic = step.spec.as_ref().and_then(StepSpec::traffic)?;
    if !waited || carried(step) || is_known(doc, &traffic.options) || is_explained(doc, step) {
        return None;
    }
    let own_ns = traffic.warmup_ns.saturating_add(traffic.time_ns).saturating_add(traffic.cooldown_ns);
    let had_its_time = step.elapsed_ns >= own_ns.saturating_add(BEYOND_NS);
    let who = busy
        .filter(|_| error.kind == ErrorKind::OutOfTime)
        .map_or_else(String::new, |who| format!("{who}: "));
    let text = if had_its_time {
        format!(
            "cannot tell: {who}{}: not a byte was carried in {}, where {} are enough: {}",
            step.name,
            Nanoseconds(step.elapsed_ns),
            Nanoseconds(own_ns),
            error.message
        )
    } else {
        format!("cannot tell: {who}{}: nothing is known of what it carries: {}", step.name, error.message)
    };
    Some(Check::inconclusive("completed", text))
}

/// Whether a byte was carried by either end of a step.
fn carried(step: &Step) -> bool {
    step.lanes.iter().any(|lane| lane.bytes > 0)
}

/// Whether another short step with the same options, over the same NICs that is, carried something.
fn is_known(doc: &ResultDoc, options: &BTreeMap<String, String>) -> bool {
    doc.steps.iter().filter(|step| step.follows_up == Some(FollowUp::Alone) && carried(step)).any(|step| {
        let traffic = step.spec.as_ref().and_then(StepSpec::traffic);
        traffic.is_some_and(|traffic| traffic.options == *options)
    })
}

/// Whether an error is told of one of its NICs: then what they carry is no question.
fn is_explained(doc: &ResultDoc, step: &Step) -> bool {
    let ours = || step.lanes.iter().filter(|lane| lane.end == End::Client).flat_map(|lane| &lane.nics);
    let errors = doc.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let mut named = errors.filter_map(|finding| finding.told(told::LOCAL_NIC));
    named.any(|nic| ours().any(|own| *own == nic))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{doc, step};
    use super::super::{conclusion, judge_into};
    use super::*;
    use crate::{Criteria, Finding, LaneResult, Outcome, RunOutcome, StepError, StepKind, TrafficSpec};

    /// A short step over two NICs that ended like this after so many milliseconds.
    fn together(kind: ErrorKind, elapsed_ms: u64, bytes: Option<u64>) -> Step {
        let lane = |bytes| LaneResult {
            end: End::Client,
            nics: vec!["e0".into(), "e1".into()],
            bytes,
            ..LaneResult::default()
        };
        Step {
            follows_up: Some(FollowUp::Alone),
            over: Some("multi".into()),
            error: Some(StepError::new(kind, "it was cut short".into())),
            spec: Some(StepSpec::Stream(TrafficSpec {
                warmup_ns: 100_000_000,
                time_ns: 400_000_000,
                cooldown_ns: 50_000_000,
                ..TrafficSpec::default()
            })),
            elapsed_ns: elapsed_ms * 1_000_000,
            lanes: bytes.map(lane).into_iter().collect(),
            ..step(StepKind::Stream, "multi stream both ways, e0 and e1 together")
        }
    }

    fn open(step: &Step, findings: Vec<Finding>) -> bool {
        let doc = ResultDoc { findings, ..doc(vec![]) };
        check(&doc, step, None).is_some_and(|check| check.outcome == Outcome::Inconclusive)
    }

    #[test]
    fn a_short_step_that_carried_nothing_in_its_time_leaves_the_answer_open() {
        use ErrorKind::{Interrupted, OutOfTime, Timeout, Unsupported};
        // As over a path that loses what comes first after a silence.
        let cut = together(OutOfTime, 3890, Some(0));
        assert!(open(&cut, vec![]));
        assert!(open(&together(Timeout, 8000, Some(0)), vec![]));
        // The run was over before it had its time, or before it began: a second NIC of 20 Mbit/s was called fit like that.
        assert!(open(&together(OutOfTime, 1100, Some(0)), vec![]));
        assert!(open(&together(OutOfTime, 0, None), vec![]));
        // It carried, and the other end's half did not come.
        assert!(!open(&together(OutOfTime, 3890, Some(9_000_000)), vec![]));
        // Somebody stopped it, or a host cannot.
        assert!(!open(&together(Interrupted, 3890, Some(0)), vec![]));
        assert!(!open(&together(Unsupported, 3890, Some(0)), vec![]));
        // It is known of one of its NICs why, and of another that says nothing.
        let dead = |nic: &str| Finding::new("CONNECT-PARTIAL", "seen").tell(told::LOCAL_NIC, nic);
        assert!(!open(&cut, vec![dead("e1")]));
        assert!(open(&cut, vec![dead("e2")]));
    }

    #[test]
    fn what_another_step_over_the_same_nics_carried_is_known_and_a_busy_host_is_named() {
        let cut = together(ErrorKind::OutOfTime, 0, None);
        let carried = together(ErrorKind::OutOfTime, 700, Some(9_000_000));
        assert_eq!(check(&doc(vec![carried.clone()]), &cut, None), None);
        let mut elsewhere = carried;
        let traffic = elsewhere.spec.as_mut().and_then(StepSpec::traffic_mut).unwrap();
        traffic.options.insert("nics".into(), "e1".into());
        let open = check(&doc(vec![elsewhere]), &cut, Some("this host was busy")).unwrap();
        let says =
            "cannot tell: this host was busy: multi stream both ways, e0 and e1 together: nothing is known";
        assert!(open.text.starts_with(says), "{}", open.text);
    }

    #[test]
    fn a_run_is_not_fit_beside_it() {
        let concluded = |more: Step| {
            let mut doc = doc(vec![super::super::tests::stream(9.4, 9.0, 0), more]);
            judge_into(&mut doc, &Criteria::default());
            conclusion(&doc).outcome
        };
        assert_eq!(concluded(together(ErrorKind::OutOfTime, 700, Some(9_000_000))), RunOutcome::Fit);
        assert_eq!(concluded(together(ErrorKind::OutOfTime, 3890, Some(0))), RunOutcome::CannotTell);
    }
}
