//! Times in which a path carries nothing and then all of it, too short for any timer: single round trips of one great length, alone or beside streams
//! that stood still. What hosts and lost packets do to round trips is told from it here; tests are those of `delays.rs`, which asks.

use pathproof_model::evidence::TcpCounts;
use pathproof_model::judge::repeats::paced_loss;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Finding, LaneRole, NodeId, ResultDoc, Step};

use super::{FAR_NS, LOST_SHARE, planned, round_trips, stolen_ns, stops};

/// No host that is only busy lets a thread wait so long ...
const PAUSE_NS: u64 = 50_000_000;
/// ... unless threads stand in line for such a part of the time: then turns are that long. Seen where compilers had precedence: half of it, and
/// pauses of 90 ms.
const IN_LINE: f64 = 0.2;

/// A few round trips of a short path that take very long, all about as long: something holds everything back for that time.
pub(super) fn pauses(doc: &ResultDoc) -> Option<Finding> {
    let (step, rtt) = round_trips(doc)?;
    // One in a thousand are two at least of more than so many, by the definition of a percentile: the second longest.
    let few = rtt.count > 1000 && rtt.p50 < FAR_NS && rtt.p999 >= rtt.p50.saturating_add(PAUSE_NS);
    let alike = rtt.max <= rtt.p999.saturating_add(rtt.p999 / 4);
    // Threads that stood in line for as long as two such round trips may have made them; and a question that was lost waits for its timer.
    let waited =
        step.lanes.iter().filter_map(|lane| Some(lane.scheduled?.waited_ns)).fold(0, u64::saturating_add);
    let lossy =
        paced_loss(doc, None).is_some_and(|lost| lost.bounds().0 > LOST_SHARE) || lost_a_question(step);
    let own = waited / 2 >= rtt.p999.saturating_sub(rtt.p50) || in_line(step);
    // A hypervisor that took a processor for so long would have to take it for most of the time.
    if !few || !alike || lossy || own || stolen_ns(step) >= step.elapsed_ns.max(1) / 2 {
        return None;
    }
    let said = format!(
        "{}: of {} idle round trips half took less than {}, and at least one in a thousand {} to {}: everything stood still for about so long",
        step.name,
        rtt.count,
        Nanoseconds(rtt.p50),
        Nanoseconds(rtt.p999),
        Nanoseconds(rtt.max)
    );
    Some(Finding::new("PATH-STALLS", said).with("silence_ns", rtt.max))
}

/// Whether one end sent something again that the other had not received before.
pub(super) fn lost_a_question(step: &Step) -> bool {
    let count = |node, of: fn(&TcpCounts) -> Option<u64>| {
        step.evidence(node).and_then(|one| of(one.tcp.as_ref()?)).unwrap_or(0)
    };
    let lost =
        |node, other| count(node, |tcp| tcp.retransmitted) > count(other, |tcp| tcp.duplicates_received);
    lost(NodeId::CLIENT, NodeId::SERVER) || lost(NodeId::SERVER, NodeId::CLIENT)
}

fn in_line(step: &Step) -> bool {
    super::waited_share(step).is_some_and(|share| share >= IN_LINE)
}

/// A round trip that took very long, and streams in which nothing came for as long although no timer of TCP ran out: each alone may be a
/// moment of a host, and not all of them.
pub(super) fn stands(doc: &ResultDoc) -> Option<Finding> {
    /// Streams beside the round trip.
    const STREAMS: usize = 2;
    /// In a tenth of a second so many messages come in, so that none is no chance.
    const MESSAGES: u64 = 4;
    const SLICE_NS: u64 = 100_000_000;
    let (trips, rtt) = round_trips(doc).filter(|(_, rtt)| rtt.p50 < FAR_NS)?;
    let long = rtt.max >= rtt.p50.saturating_add(PAUSE_NS);
    // A question that outlasted its timer was answered by the other kernel at once.
    if !long || in_line(trips) || stolen_ns(trips) >= PAUSE_NS || stops::outlasts_timers(trips, rtt.max) {
        return None;
    }
    let stood = |step: &Step| -> Option<u64> {
        let spec = step.spec.as_ref()?.traffic()?;
        let receivers = || step.lanes.iter().filter(|lane| lane.role == LaneRole::Receive);
        let shortest = receivers().map(|lane| lane.longest_silence_ns).min()??;
        let each = step.summary.goodput_bits_per_s? / 8 / 10 / receivers().count().max(1) as u64;
        let waited = receivers().filter_map(|lane| Some(lane.scheduled?.waited_ns)).max()?;
        let timers = |node| step.evidence(node)?.tcp.as_ref()?.timeouts;
        let none = timers(NodeId::CLIENT)? == 0 && timers(NodeId::SERVER)? == 0;
        let own = step.total(|flow| flow.retransmits)? == 0 && waited < shortest / 2;
        let steady = each >= spec.size_bytes.saturating_mul(MESSAGES);
        (shortest >= SLICE_NS && steady && none && own && stolen_ns(step) < SLICE_NS).then_some(shortest)
    };
    let streams = planned(doc).filter(|step| step.kind.traits().bulk && step.detail.failover.is_none());
    let lengths: Vec<u64> = streams.filter_map(stood).collect();
    let lost = paced_loss(doc, None)?;
    if lengths.len() < STREAMS || lost.bounds().0 > LOST_SHARE {
        return None;
    }
    let silence_ns = lengths.iter().copied().max().unwrap_or_default().max(rtt.max);
    let said = format!(
        "of {} idle round trips the longest took {}, where half take less than {}; and in {} streams nothing came in for a tenth of a second and \
         more, although no segment was lost and no timer ran out: everything stood still for about so long",
        rtt.count,
        Nanoseconds(rtt.max),
        Nanoseconds(rtt.p50),
        lengths.len()
    );
    Some(Finding::new("PATH-STALLS", said).with("silence_ns", silence_ns))
}
