//! Why a bulk transfer over TCP moved nothing although its connection was made: path MTU, or something else.
//!
//! The handshake and small segments fit every path, full segments may not. So the stalled transfer is repeated for a
//! moment with segments that fit anything: if that flows, size is the cause and proved; if it does not, size is
//! excluded. Refuses to conclude from the stall alone.

use pathproof_model::{Finding, ResultDoc, Step, StepKind, StepSpec, TrafficSpec};

use super::notice;

/// Segment size of the control run: what every IPv4 path must take (RFC 9293 §3.7.1).
const CONTROL_SEGMENT_BYTES: u32 = 536;
/// Length of the control run.
const CONTROL_NS: u64 = 1_000_000_000;

fn over_tcp(step: &Step) -> Option<&TrafficSpec> {
    let spec = step.spec.as_ref()?.traffic()?;
    (step.kind == StepKind::Stream && matches!(spec.over.as_str(), "tcp" | "multi")).then_some(spec)
}

/// Whether the connection stood and carried nothing for long.
fn stalled(step: &Step) -> bool {
    let ordinary = |spec: &TrafficSpec| spec.max_segment_bytes.is_none();
    over_tcp(step).is_some_and(ordinary) && notice::stall(step).is_some()
}

/// The control run for a stalled transfer.
pub fn follow_up(step: &Step) -> Option<StepSpec> {
    if !stalled(step) {
        return None;
    }
    let mut spec = over_tcp(step)?.clone();
    spec.lanes = 1;
    spec.max_segment_bytes = Some(CONTROL_SEGMENT_BYTES);
    (spec.warmup_ns, spec.time_ns, spec.cooldown_ns) = (0, CONTROL_NS, 0);
    Some(StepSpec::Stream(spec))
}

/// What the control run `step` shows about the transfer before it.
pub fn findings(step: &Step, doc: &ResultDoc) -> Option<Finding> {
    let spec = over_tcp(step).filter(|spec| spec.max_segment_bytes == Some(CONTROL_SEGMENT_BYTES))?;
    let before = doc.steps.iter().find(|s| stalled(s) && s.direction == Some(spec.direction))?;
    let segment = before.lanes.iter().filter_map(|lane| lane.send_segment_bytes).max()?;
    let again = before.summary.retransmits.unwrap_or(0);
    let moved = step.summary.bytes?;
    // IP and TCP headers with time stamps, over IPv4; what a full segment needs of the path.
    let needed = segment + 52;
    let paths = doc.steps.iter().filter_map(|s| s.detail.paths.as_ref()).flatten();
    let proven = paths.filter_map(|path| path.ip_mtu_bytes).map(u64::from).min();
    let known = match proven {
        Some(mtu) if mtu < needed => format!(". The path carries {mtu}"),
        Some(mtu) => format!(". The path was measured to carry {mtu}"),
        None => String::new(),
    };
    let story = format!(
        "{}: the connection stood, but stalled with segments of {segment} bytes ({again} sent again), which need IP \
         packets of about {needed}; with segments of {CONTROL_SEGMENT_BYTES} bytes the same brought {moved} bytes in \
         a second{known}",
        before.name
    );
    let code = if moved > 0 { "MTU-BULK-CAUSE" } else { "MTU-BULK-EXCLUDED" };
    Some(
        Finding::new(code, story)
            .with("send_segment_bytes", segment)
            .with("retransmits", again)
            .with("control_segment_bytes", CONTROL_SEGMENT_BYTES)
            .with("control_bytes", moved)
            .with("path_ip_mtu_bytes", proven),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Direction, Interval, LaneResult, Tool};

    fn stream(received: u64, max_segment_bytes: Option<u32>) -> Step {
        let mut step = Step::new(StepKind::Stream, "stream");
        let spec = TrafficSpec { over: "tcp".into(), max_segment_bytes, ..TrafficSpec::default() };
        step.direction = Some(spec.direction);
        step.spec = Some(StepSpec::Stream(spec));
        step.summary.bytes = Some(received * 30);
        step.summary.retransmits = Some(4);
        let lane = LaneResult { end: "server".into(), role: "receive".into(), ..LaneResult::default() };
        step.lanes.push(LaneResult { send_segment_bytes: Some(9562), ..lane });
        for i in 0..30 {
            step.intervals.push(Interval {
                end: "server".into(),
                lane: Some(0),
                start_ns: i * 100_000_000,
                length_ns: 100_000_000,
                received_bytes: received,
                ..Interval::default()
            });
        }
        step
    }

    fn after(step: Step) -> ResultDoc {
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.steps.push(step);
        doc
    }

    #[test]
    fn a_stalled_transfer_is_followed_by_one_with_small_segments() {
        let Some(StepSpec::Stream(spec)) = follow_up(&stream(0, None)) else { panic!("no control run") };
        assert_eq!((spec.max_segment_bytes, spec.lanes), (Some(536), 1));
        assert!(follow_up(&stream(5, None)).is_none(), "it flowed");
        assert!(follow_up(&stream(0, Some(536))).is_none(), "no control run of a control run");
    }

    #[test]
    fn size_is_the_cause_only_if_small_segments_flow() {
        let doc = after(stream(0, None));
        let cause = findings(&stream(100, Some(536)), &doc).unwrap();
        assert_eq!(
            (cause.code.as_str(), &cause.values["send_segment_bytes"]),
            ("MTU-BULK-CAUSE", &9562.into())
        );
        let excluded = findings(&stream(0, Some(536)), &doc).unwrap();
        assert_eq!(excluded.code, "MTU-BULK-EXCLUDED");
        assert!(
            findings(&stream(100, Some(536)), &after(stream(5, None))).is_none(),
            "nothing stalled before"
        );
        assert_eq!(Direction::Out, TrafficSpec::default().direction);
    }
}
