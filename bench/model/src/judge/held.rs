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
