//! Bytes that arrive as others than were sent, although every checksum on the way fits: nobody counts them but who compares.
//!
//! Refuses to take for that what a host threw away for a wrong checksum: that is told as such.

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{ErrorKind, Finding, LossPath, ResultDoc, Share, Step, StepSpec};

use super::Rule;

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PAYLOAD-CORRUPT")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let seen: Vec<Finding> = session(doc).into_iter().chain(datagrams(doc)).chain(streams(doc)).collect();
    // Less certain: told where nothing else shows it.
    if seen.is_empty() { confused(doc).into_iter().collect() } else { seen }
}

/// The control connection, which seals each of its messages: it ends at the first whose seal does not fit, and so does the run.
fn session(doc: &ResultDoc) -> Option<Finding> {
    let error = doc.error.as_ref().filter(|error| error.tells_of_changed_bytes())?;
    let steps = if doc.steps.len() == 1 { "step" } else { "steps" };
    let said = format!(
        "{}. Nothing of that message was used; the run ended there, after {} {steps}, and what was measured before stands",
        error.message,
        doc.steps.len()
    );
    Some(Finding::new("PAYLOAD-CORRUPT", said))
}

/// Paced datagrams whose padding came as another than it was sent. Those of which the beginning was changed count as lost.
fn datagrams(doc: &ResultDoc) -> Vec<Finding> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.loss.as_ref()).flatten();
    paths.filter_map(of_path).collect()
}

fn of_path(path: &LossPath) -> Option<Finding> {
    let changed = path.changed.filter(|changed| *changed > 0)?;
    let received = path.flows.iter().map(|flow| flow.small.received.saturating_add(flow.full.received));
    let received = received.fold(0, u64::saturating_add).max(changed);
    let (low, high) = Share { part: changed, of: received }.bounds();
    let said = format!(
        "{}: {changed} of {received} datagrams arrived with other bytes than were sent, and with a checksum that fits (95 % interval {:.3} % to {:.3} %)",
        path.name(),
        low * 100.0,
        high * 100.0
    );
    let finding = Finding::new("PAYLOAD-CORRUPT", said).tell(told::DIRECTION, path.direction);
    let finding = finding.tell(told::PART, changed).tell(told::OF, received);
    Some(
        finding.tell(told::LOCAL_NIC, path.local_nic.clone()).tell(told::REMOTE_NIC, path.remote_nic.clone()),
    )
}

/// Streams whose bytes were looked at and differ. What a stripe lost with a NIC is told of the stripe.
fn streams(doc: &ResultDoc) -> Vec<Finding> {
    let of_stripe = |at: usize| {
        doc.findings.iter().any(|one| one.is(code!("CHANNEL-DATA-FAULT")) && one.step == Some(at))
    };
    let differs = |step: &Step| {
        let lanes = step.lanes.iter().any(|lane| lane.verified == Some(false));
        step.spec.as_ref().and_then(StepSpec::traffic).is_some() && (step.verified() == Some(false) || lanes)
    };
    let steps = doc.steps.iter().enumerate().filter(|(at, step)| differs(step) && !of_stripe(*at));
    let told = steps.map(|(_, step)| {
        let said = format!(
            "{}: the bytes received differ from those sent, and neither a host nor anything on the way threw them away",
            step.name
        );
        let finding = Finding::new("PAYLOAD-CORRUPT", said);
        match step.direction {
            Some(direction) => finding.tell(told::DIRECTION, direction),
            None => finding,
        }
    });
    told.collect()
}

/// A lane that carried, and whose receiver could not make sense of what came then. What goes over lanes has no seal.
fn confused(doc: &ResultDoc) -> Option<Finding> {
    let mut steps = doc.steps.iter().filter(|step| step.kind.traits().dials_lanes);
    let (step, error) = steps.find_map(|step| {
        // One that never carried may have met somebody who answers in the other end's place.
        let carried = |number: u32| step.lanes.iter().any(|lane| lane.lane == number && lane.bytes > 0);
        let errors = step.lanes.iter().filter_map(|lane| Some((lane.lane, lane.error.as_ref()?)));
        let mut confused = errors.filter(|(_, error)| error.kind == ErrorKind::Protocol);
        let (_, error) = confused.find(|(number, _)| carried(*number))?;
        Some((step, error))
    })?;
    let said = format!(
        "{}: a lane had carried, and then what came over it made no sense to the end that received it ({}): bytes were changed on the way with \
         checksums that fit",
        step.name, error.message
    );
    let against = "two ends whose builds do not fit together look like this, too: pathproof --version";
    Some(Finding::new("PAYLOAD-CORRUPT", said).against(against))
}

#[cfg(test)]
mod tests {
    use super::super::tests::loss_path;
    use super::*;
    use pathproof_model::{
        ErrorCause, LaneResult, LossCounts, LossFlow, StepError, StepKind, Tool, TrafficSpec,
    };

    fn document(steps: Vec<Step>) -> ResultDoc {
        ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }
    }

    #[test]
    fn a_session_whose_seal_did_not_fit_is_told_and_one_that_was_lost_is_not() {
        let told = |cause: ErrorCause| {
            let message =
                "the control connection to the peer ended: a message came with other bytes".to_owned();
            let error = StepError::new(ErrorKind::PeerLost, message).caused_by(cause);
            findings(&ResultDoc { error: Some(error), ..document(vec![Step::new(StepKind::Facts, "facts")]) })
        };
        let found = told(ErrorCause::Changed);
        assert_eq!((found.len(), found[0].code.as_str()), (1, "PAYLOAD-CORRUPT"));
        assert!(found[0].evidence.contains("after 1 step, and what was"), "{}", found[0].evidence);
        for cause in [ErrorCause::Reset, ErrorCause::Closed, ErrorCause::Silent] {
            assert_eq!(told(cause), []);
        }
    }

    #[test]
    fn changed_datagrams_are_told_with_their_pair_and_lost_ones_are_another_matter() {
        let told = |changed| {
            let counts = LossCounts { sent: 5000, received: 4990, ..LossCounts::default() };
            let flows = vec![LossFlow { port: 1, answered: true, small: counts, ..LossFlow::default() }];
            let mut step = Step::new(StepKind::Loss, "datagram loss");
            step.detail.loss = Some(vec![LossPath { flows, changed, ..loss_path() }]);
            findings(&document(vec![step]))
        };
        let found = told(Some(24));
        assert_eq!(
            found[0].evidence,
            "e0 to e0 IPv4 out: 24 of 4990 datagrams arrived with other bytes than were sent, and with a checksum that fits (95 % interval 0.323 % to 0.715 %)"
        );
        assert_eq!((found[0].told(told::PART), found[0].told(told::OF)), (Some(24), Some(4990)));
        assert_eq!((told(Some(0)), told(None)), (vec![], vec![]));
    }

    #[test]
    fn a_stream_that_was_looked_at_and_differs_is_told_unless_its_stripe_is_at_fault() {
        let told = |verified, code: Option<&'static str>| {
            let lane = LaneResult { verified, ..LaneResult::default() };
            let spec = Some(StepSpec::Stream(TrafficSpec { verify: true, ..TrafficSpec::default() }));
            let mut doc =
                document(vec![Step { spec, lanes: vec![lane], ..Step::new(StepKind::Stream, "tcp stream") }]);
            doc.findings = code
                .into_iter()
                .map(|code| Finding { step: Some(0), ..Finding::new(code, "seen") })
                .collect();
            findings(&doc).len()
        };
        assert_eq!((told(Some(false), None), told(Some(true), None), told(None, None)), (1, 0, 0));
        assert_eq!(
            (told(Some(false), Some("CHANNEL-DATA-FAULT")), told(Some(false), Some("TCP-STALL"))),
            (0, 1)
        );
    }

    #[test]
    fn lanes_that_stop_making_sense_are_told_where_they_had_carried_and_nothing_else_shows_it() {
        let told = |bytes, kind: ErrorKind, also: Option<bool>| {
            let error = Some(StepError::new(kind, "a message of the source cannot be read".into()));
            let lane = LaneResult { bytes, error, verified: also, ..LaneResult::default() };
            let spec = Some(StepSpec::Stream(TrafficSpec::default()));
            let step = Step { spec, lanes: vec![lane], ..Step::new(StepKind::Stream, "tcp stream") };
            findings(&document(vec![step]))
        };
        let found = told(9, ErrorKind::Protocol, None);
        assert_eq!((found.len(), found[0].against.is_empty()), (1, false));
        assert!(found[0].evidence.contains("cannot be read"), "{}", found[0].evidence);
        assert_eq!(
            (told(0, ErrorKind::Protocol, None), told(9, ErrorKind::PeerLost, None)),
            (vec![], vec![])
        );
        let seen = told(9, ErrorKind::Protocol, Some(false));
        assert!(seen.len() == 1 && seen[0].against.is_empty(), "what was seen is told alone: {seen:?}");
    }
}
