//! Whether what held a stream lies between the hosts, by what the kernel knows of its connections.

use crate::{LaneResult, LaneRole, Step};

/// Whether every sender had data under way for nearly all of the window, and hardly waited for the receiver's window or for its own
/// buffer: what held it lies between the hosts. A sender that is kept from a processor lets the connection run dry, and a receiver
/// that is lets its window close.
pub fn held_by_network(step: &Step) -> bool {
    /// Of the window, in which something was under way.
    const BUSY_SHARE: f64 = 0.95;
    /// Of that, in which an end held it back.
    const HELD_SHARE: f64 = 0.05;
    let held = |lane: &LaneResult| {
        let mut connections = lane.connections().peekable();
        connections.peek()?;
        let each = connections.map(|connection| {
            let counts = &connection.counts;
            let busy = counts.busy_ns? as f64;
            let ends =
                (counts.receive_window_limited_ns?).saturating_add(counts.send_buffer_limited_ns?) as f64;
            let held = busy >= lane.window_ns as f64 * BUSY_SHARE && ends <= busy * HELD_SHARE;
            (lane.window_ns > 0 && held).then_some(())
        });
        each.collect::<Option<Vec<()>>>()
    };
    let mut senders = step.lanes.iter().filter(|lane| lane.role == LaneRole::Send).peekable();
    senders.peek().is_some() && senders.all(|lane| held(lane).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::nics_together;
    use crate::evidence::{ConnectionCounts, QueueActivity, QueueCounts};
    use crate::{
        AloneNic, AloneSum, Connection, Direction, End, Evidence, LaneResult, LaneRole, Outcome, Step,
        StepKind, Summary, Waited,
    };

    /// Two NICs that carry 94 Mbit/s each by themselves, on hosts that stood in line for a quarter of the time.
    fn judged(together_mbit: u64, again: u64, busy_ms: u64, dropped_at_home: u64) -> Outcome {
        let counts = ConnectionCounts { busy_ns: Some(busy_ms * 1_000_000), ..ConnectionCounts::still() };
        let lane = LaneResult {
            end: End::Client,
            role: LaneRole::Send,
            window_ns: 4_000_000_000,
            scheduled: Some(Waited { waited_ns: 1_150_000_000, of_ns: 4_590_000_000 }),
            connection: Some(Connection { counts, ..Connection::default() }),
            send_segment_bytes: Some(1448),
            ..LaneResult::default()
        };
        let alone = |nic: &str| AloneNic { nic: nic.into(), goodput_bits_per_s: Some(94_000_000) };
        let mut step = Step::new(StepKind::Stream, "multi stream out");
        step.direction = Some(Direction::Out);
        step.lanes = vec![lane];
        step.summary = Summary {
            goodput_bits_per_s: Some(together_mbit * 1_000_000),
            bytes: Some(together_mbit * 500_000),
            retransmits: Some(again),
            ..Summary::default()
        };
        step.detail.alone = Some(AloneSum {
            each: vec![alone("n0"), alone("n1")],
            sum_bits_per_s: Some(188_000_000),
            share_of_sum: Some(together_mbit as f64 / 188.0),
            ..AloneSum::default()
        });
        let counts = QueueCounts { drops: Some(dropped_at_home), ..QueueCounts::still() };
        let queue =
            QueueActivity { nic: "n0".into(), kind: "tbf".into(), counts, ..QueueActivity::default() };
        step.evidence = vec![Evidence { queues: Some(vec![queue]), ..Evidence::default() }];
        nics_together(&step, 0.85).unwrap().outcome
    }

    #[test]
    fn nics_that_meet_one_link_are_told_from_hosts_that_are_busy() {
        // As counted behind two switches with one uplink, on a busy machine.
        assert_eq!(judged(95, 205, 4550, 0), Outcome::Fail);
        // More than one of them carries; nothing overflowed; the sender ran dry; its own queue overflowed.
        assert_eq!(judged(137, 205, 4550, 0), Outcome::Inconclusive);
        assert_eq!(judged(95, 2, 4550, 0), Outcome::Inconclusive);
        assert_eq!(judged(95, 205, 3000, 0), Outcome::Inconclusive);
        assert_eq!(judged(95, 205, 4550, 180), Outcome::Inconclusive);
    }
}
