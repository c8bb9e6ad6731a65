//! What a failure did to a step over several NICs: how soon it was noticed, what stood still, what was sent again, and whether a
//! byte was lost or doubled. Arithmetic over what both ends told; what a peer tells may be any number.

use pathproof_model::{
    End, Failover, Finding, Half, LaneRole, NicFailure, PathRecord, Series, Step, StripeRecord, series::Slice,
};

/// Fills the step's failover from both halves, where a path died or a NIC was seen to fail. The step's NICs and series are in their
/// place.
pub fn merge(step: &mut Step, client: &Half, server: &Half) {
    let died = step.detail.nics.iter().flatten().any(|nic| nic.deaths > 0);
    // What is known of the moment of a failure is known at one end, on its clock.
    let seen = match failures(client) {
        [] => Seen { end: End::Server, half: server, failures: failures(server) },
        failures => Seen { end: End::Client, half: client, failures },
    };
    if died || !seen.failures.is_empty() {
        step.detail.failover = Some(failover(step, client, server, &seen));
    }
}

fn failures(half: &Half) -> &[NicFailure] {
    half.detail.nics.as_ref().map_or(&[], |told| &told.failures)
}

/// Failures as one end saw them.
struct Seen<'a> {
    end: End,
    half: &'a Half,
    failures: &'a [NicFailure],
}

fn failover(step: &Step, client: &Half, server: &Half, seen: &Seen<'_>) -> Failover {
    let lanes = || client.lanes.iter().chain(&server.lanes);
    let stripes = || lanes().filter_map(|lane| lane.stripe.as_ref());
    let sum = |figure: fn(&StripeRecord) -> u64| stripes().map(figure).fold(0, u64::saturating_add);
    let by_path = |half: &Half, figure: fn(&PathRecord) -> Option<u64>| -> Vec<u64> {
        let own = half.lanes.iter().filter_map(|lane| lane.stripe.as_ref());
        own.flat_map(|stripe| &stripe.paths).filter_map(figure).collect()
    };
    let first = seen.failures.first();
    // With a known moment of failure the time until it was noticed counts from there.
    let since_down = first.and_then(|failure| {
        let lost = by_path(seen.half, |path| path.lost_at_tick_ns);
        let down_tick_ns = failure.window_tick_ns.saturating_add(failure.down_ns);
        lost.into_iter().filter_map(|at| at.checked_sub(down_tick_ns)).max()
    });
    let silent = [client, server].map(|half| by_path(half, |path| path.noticed_after_ns));
    let silent = silent.into_iter().flatten();
    let back = first.and_then(|failure| {
        let up_tick_ns = failure.window_tick_ns.saturating_add(failure.up_ns?);
        // Only an end that sends sees what it sent confirmed.
        let again = by_path(seen.half, |path| path.carried_again_at_tick_ns);
        again.into_iter().filter_map(|at| at.checked_sub(up_tick_ns)).min()
    });
    let of_receivers = lanes().filter(|lane| lane.role == LaneRole::Receive);
    let gap = of_receivers.filter_map(|lane| lane.stripe.as_ref()?.gap_longest_ns).max();
    let (before, after) = rates(step, first);
    // Who sends knows what was confirmed to it, or the sum is not known.
    let senders = || lanes().filter(|lane| lane.role.sends()).filter_map(|lane| lane.stripe.as_ref());
    let confirmed: Option<u64> = senders()
        .map(|stripe| stripe.confirmed_bytes)
        .try_fold(0, |sum: u64, own| Some(sum.saturating_add(own?)));
    let arrived = sum(|stripe| stripe.arrived_bytes);
    Failover {
        nic: first.map(|failure| failure.nic.clone()),
        end: first.map(|_| seen.end),
        failed_at_ns: first.map(|failure| failure.down_ns),
        recovered_at_ns: first.and_then(|failure| failure.up_ns),
        noticed_after_ns: since_down.or_else(|| silent.max()),
        gap_ns: gap.or_else(|| stripes().filter_map(|stripe| stripe.gap_longest_ns).max()),
        replayed_messages: sum(|stripe| stripe.replayed_messages),
        replayed_bytes: sum(|stripe| stripe.replayed_bytes),
        duplicates_discarded: sum(|stripe| stripe.duplicates_discarded),
        lost_bytes: confirmed.map(|confirmed| confirmed.saturating_sub(arrived)),
        discarded_bytes: sum(|stripe| stripe.discarded_bytes),
        // Handed on under a number that had been handed on, or more in all than was ever sent.
        duplicated_bytes: sum(|stripe| stripe.doubled_bytes)
            .max(arrived.saturating_sub(sum(|stripe| stripe.accepted_bytes))),
        verified: step.verified(),
        rejoined: sum(|stripe| stripe.rejoined),
        carried_again_after_ns: back,
        before_bits_per_s: before,
        after_bits_per_s: after,
    }
}

/// Goodput before a failure, and from a second after it until the NIC came back or the window ended.
fn rates(step: &Step, failure: Option<&NicFailure>) -> (Option<u64>, Option<u64>) {
    const SETTLE_NS: u64 = 1_000_000_000;
    let Some(failure) = failure else { return (None, None) };
    let until = failure.up_ns.unwrap_or(u64::MAX);
    let end_of = |slice: &Slice| slice.start_ns.saturating_add(slice.length_ns);
    let rate = |from: u64, to: u64| {
        let inside = |slice: &Slice| slice.start_ns >= from && end_of(slice) <= to;
        let own: Vec<Slice> = step.own_series().flat_map(Series::carried).filter(inside).collect();
        let start = own.iter().map(|slice| slice.start_ns).min()?;
        let end = own.iter().map(end_of).max()?;
        let bytes: u128 = own.iter().map(|slice| u128::from(slice.bytes)).sum();
        let length_ns = u128::from(end.checked_sub(start).filter(|length| *length > 0)?);
        u64::try_from(bytes * 8_000_000_000 / length_ns).ok()
    };
    (rate(0, failure.down_ns), rate(failure.down_ns.saturating_add(SETTLE_NS), until))
}

/// Bytes that a failure cost or doubled, which it must not.
pub fn findings(step: &Step) -> Option<Finding> {
    let failover = step.detail.failover.as_ref()?;
    let lost = failover.lost_bytes;
    let fault = lost.is_some_and(|bytes| bytes > 0)
        || failover.duplicated_bytes > 0
        || failover.verified == Some(false);
    let evidence = format!(
        "{}: {} bytes lost, {} doubled, verified {:?}",
        step.name,
        lost.map_or_else(|| "an unknown number of".into(), |bytes| bytes.to_string()),
        failover.duplicated_bytes,
        failover.verified
    );
    fault.then(|| Finding::new("CHANNEL-DATA-FAULT", evidence))
}

#[cfg(test)]
mod tests;
