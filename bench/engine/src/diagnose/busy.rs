//! What a busy host leaves open: what a rule would call a fault, had the threads that it was measured with not waited for a processor.
//!
//! Such a rule accuses nobody, and it does not stay silent either: of silence the judge would make a pass. What is said here it makes
//! "cannot tell" of, whichever rule it was.

use pathproof_model::judge::busy_words;
use pathproof_model::{Finding, Step, finding::Code};

/// That `said` was seen in `step`, whose hosts were busy, so that it is not known `what`: one of `faults`, or they.
pub(super) fn left_open(step: &Step, said: &str, what: &str, faults: &[Code]) -> Finding {
    let said = format!("{}: {said}, so it is open {what}", busy_words(step));
    Finding::new("HOST-BUSY", said).open(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{End, LaneResult, Severity, StepKind, Waited, code};

    #[test]
    fn it_says_who_was_busy_what_was_seen_and_what_it_could_be_and_accuses_nobody() {
        let mut step = Step::new(StepKind::Stream, "e1 alone");
        let scheduled = Some(Waited { waited_ns: 600_000_000, of_ns: 1_000_000_000 });
        step.lanes = vec![LaneResult { end: End::Server, scheduled, ..LaneResult::default() }];
        let open = left_open(&step, "e1 carries little", "whether it is slow", &[code!("NIC-SLOW")]);
        let said = "the peer was busy: lane threads waited 600.00 ms of 1.00 s for a CPU: e1 carries little, so it is open whether it is slow";
        assert_eq!(open.evidence, said);
        assert_eq!((open.severity, open.open), (Severity::Info, vec!["NIC-SLOW".to_owned()]));
        assert!(open.next.contains("again"), "{}", open.next);
    }
}
