//! A stripe over two NICs in virtual time: one fails, is noticed, comes back and carries again, all at moments that are known.

use pathproof_model::{End, LaneResult, NicEvidence, NicShare, StepKind};

use super::*;

const SLICE_NS: u64 = 100_000_000;
const SLICES: u64 = 80;
/// What one NIC carries in a slice.
const BYTES: u64 = 1_000_000;
/// When the window begins, on the clock of the end that saw the failure.
const WINDOW_TICK_NS: u64 = 7_000_000_123;

/// What happens, in slices of the window.
#[derive(Clone, Copy, Debug)]
struct Story {
    down: u64,
    noticed_after_ns: u64,
    up: Option<u64>,
    carried_again_after_ns: u64,
}

/// A small generator, so that a seed tells the whole story.
fn next(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

impl Story {
    fn of(seed: u64) -> Story {
        let mut state = seed;
        let down = 1 + next(&mut state, SLICES - 30);
        let up = (next(&mut state, 2) == 0).then(|| down + 12 + next(&mut state, SLICES - 12 - down));
        let noticed_after_ns = next(&mut state, 9 * SLICE_NS);
        let carried_again_after_ns = next(&mut state, 5 * SLICE_NS);
        Story { down, noticed_after_ns, up, carried_again_after_ns }
    }

    fn up_tick_ns(&self) -> Option<u64> {
        Some(WINDOW_TICK_NS + self.up? * SLICE_NS)
    }

    /// How many NICs carried all through a slice: none from the failure to the notice, when all waits for what must be sent again.
    fn carrying(&self, slice: u64) -> u64 {
        let noticed = self.down + self.noticed_after_ns.div_ceil(SLICE_NS);
        match slice {
            slice if slice < self.down => 2,
            slice if slice < noticed => 0,
            slice if self.up.is_some_and(|up| slice >= up) => 2,
            _ => 1,
        }
    }

    /// The step and both halves, as the ends tell them.
    fn told(&self) -> (Step, Half, Half) {
        let series = Series {
            role: LaneRole::Receive,
            width_ns: SLICE_NS,
            end_ns: SLICES * SLICE_NS,
            received_bytes: (0..SLICES).map(|slice| Some(self.carrying(slice) * BYTES)).collect(),
            ..Series::default()
        };
        let mut step = Step::new(StepKind::Stream, "stripe");
        step.series = vec![series];
        step.detail.nics = Some(vec![NicShare { deaths: 1, ..NicShare::of(End::Client, "eth2") }]);
        let dead = PathRecord {
            deaths: 1,
            lost_at_tick_ns: Some(WINDOW_TICK_NS + self.down * SLICE_NS + self.noticed_after_ns),
            carried_again_at_tick_ns: self.up_tick_ns().map(|up| up + self.carried_again_after_ns),
            ..PathRecord::default()
        };
        let stripe = StripeRecord {
            paths: vec![PathRecord::default(), dead],
            replayed_messages: 3,
            replayed_bytes: 3000,
            rejoined: u64::from(self.up.is_some()),
            accepted_bytes: 9000,
            confirmed_bytes: Some(9000),
            ..StripeRecord::default()
        };
        let sender = LaneResult { role: LaneRole::Send, stripe: Some(stripe), ..LaneResult::default() };
        let stripe = StripeRecord {
            gap_longest_ns: Some(self.noticed_after_ns),
            arrived_bytes: 9000,
            duplicates_discarded: 1,
            discarded_bytes: 1000,
            ..StripeRecord::default()
        };
        let receiver = LaneResult { role: LaneRole::Receive, stripe: Some(stripe), ..LaneResult::default() };
        let failure = NicFailure {
            nic: "eth2".into(),
            down_ns: self.down * SLICE_NS,
            up_ns: self.up.map(|up| up * SLICE_NS),
            window_tick_ns: WINDOW_TICK_NS,
        };
        let mut client = Half { lanes: vec![sender], ..Half::default() };
        client.detail.nics = Some(NicEvidence { failures: vec![failure], ..NicEvidence::default() });
        (step, client, Half { lanes: vec![receiver], ..Half::default() })
    }
}

fn merged((mut step, client, server): (Step, Half, Half)) -> Step {
    merge(&mut step, &client, &server);
    step
}

#[test]
fn a_failure_is_accounted_for_to_the_nanosecond_whenever_it_comes() {
    let bits_per_s = |nics: u64| nics * BYTES * 8 * (1_000_000_000 / SLICE_NS);
    for seed in 0..300 {
        let story = Story::of(seed);
        let step = merged(story.told());
        // Ten slices after it fell the rest carries alone; a NIC that comes back sooner leaves fewer to count.
        let after = bits_per_s(1);
        let expected = Failover {
            nic: Some("eth2".into()),
            end: Some(End::Client),
            failed_at_ns: Some(story.down * SLICE_NS),
            recovered_at_ns: story.up.map(|up| up * SLICE_NS),
            noticed_after_ns: Some(story.noticed_after_ns),
            gap_ns: Some(story.noticed_after_ns),
            lost_bytes: Some(0),
            replayed_messages: 3,
            replayed_bytes: 3000,
            duplicates_discarded: 1,
            discarded_bytes: 1000,
            rejoined: u64::from(story.up.is_some()),
            carried_again_after_ns: story.up.map(|_| story.carried_again_after_ns),
            before_bits_per_s: Some(bits_per_s(2)),
            after_bits_per_s: Some(after),
            ..Failover::default()
        };
        assert_eq!(step.detail.failover, Some(expected), "seed {seed}: {story:?}");
        assert_eq!(findings(&step), None);
    }
}

const STORY: Story =
    Story { down: 20, noticed_after_ns: 250_000_000, up: Some(50), carried_again_after_ns: 5 };

#[test]
fn bytes_that_are_lost_or_doubled_are_a_fault() {
    let fault = |change: fn(&mut StripeRecord)| {
        let (step, client, mut server) = STORY.told();
        change(server.lanes[0].stripe.as_mut().unwrap());
        let step = merged((step, client, server));
        let failover = step.detail.failover.clone().unwrap();
        (failover.lost_bytes.unwrap(), failover.duplicated_bytes, findings(&step).map(|finding| finding.code))
    };
    let code = || Some("CHANNEL-DATA-FAULT".to_owned());
    assert_eq!(fault(|_| ()), (0, 0, None));
    assert_eq!(fault(|own| own.arrived_bytes = 8999), (1, 0, code()));
    assert_eq!(fault(|own| own.arrived_bytes = 9001), (0, 1, code()), "more than was ever sent");
    assert_eq!(fault(|own| own.doubled_bytes = 7), (0, 7, code()));
}

#[test]
fn what_nobody_counted_is_neither_lost_nor_zero() {
    let (step, mut client, mut server) = STORY.told();
    let stripe = |half: &mut Half| half.lanes[0].stripe.take().unwrap();
    let own = StripeRecord { confirmed_bytes: None, ..stripe(&mut client) };
    client.lanes[0].stripe = Some(own);
    // More is missing than in the test before, and who sent does not know what was confirmed.
    let own = StripeRecord { gap_longest_ns: None, arrived_bytes: 1, ..stripe(&mut server) };
    server.lanes[0].stripe = Some(own);
    let step = merged((step, client, server));
    let failover = step.detail.failover.as_ref().unwrap();
    assert_eq!((failover.lost_bytes, failover.gap_ns), (None, None));
    assert_eq!(findings(&step), None);
    let json = serde_json::to_value(failover).unwrap();
    assert!(json["lost_bytes"].is_null() && json["gap_ns"].is_null(), "{json}");
}

#[test]
fn without_a_known_moment_silence_tells_when_it_was_noticed_and_nothing_is_guessed() {
    let (step, mut client, server) = STORY.told();
    client.detail.nics = None;
    client.lanes[0].stripe.as_mut().unwrap().paths[1].noticed_after_ns = Some(77);
    let failover = merged((step, client, server)).detail.failover.unwrap();
    assert_eq!((failover.noticed_after_ns, failover.nic, failover.end), (Some(77), None, None));
    assert_eq!((failover.failed_at_ns, failover.carried_again_after_ns), (None, None));
    assert_eq!((failover.before_bits_per_s, failover.after_bits_per_s), (None, None));
}

#[test]
fn a_step_in_which_nothing_failed_has_no_failover() {
    let (mut step, mut client, server) = STORY.told();
    client.detail.nics = None;
    step.detail.nics = Some(vec![NicShare::of(End::Client, "eth2")]);
    assert_eq!(merged((step, client, server)).detail.failover, None);
}

#[test]
fn the_end_that_saw_the_failure_is_the_one_that_times_it() {
    let (step, mut client, mut server) = STORY.told();
    server.detail.nics = client.detail.nics.take();
    let failover = merged((step, client, server)).detail.failover.unwrap();
    assert_eq!(failover.end, Some(End::Server));
    // The client's ticks are of another clock: nothing of the server's tells when it was noticed or carried again.
    assert_eq!((failover.noticed_after_ns, failover.carried_again_after_ns), (None, None));
}

#[test]
fn numbers_of_a_peer_that_mean_nothing_overflow_nothing() {
    let (mut step, mut client, mut server) = STORY.told();
    for half in [&mut client, &mut server] {
        let stripe = half.lanes[0].stripe.as_mut().unwrap();
        (stripe.replayed_bytes, stripe.confirmed_bytes) = (u64::MAX, Some(u64::MAX));
        (stripe.accepted_bytes, stripe.arrived_bytes) = (u64::MAX, u64::MAX);
        stripe.paths = vec![PathRecord { lost_at_tick_ns: Some(0), ..PathRecord::default() }];
    }
    client.detail.nics.as_mut().unwrap().failures[0].window_tick_ns = u64::MAX;
    step.series[0].received_bytes.fill(Some(u64::MAX));
    step.series[0].width_ns = u64::MAX / 2;
    step.series[0].end_ns = u64::MAX;
    let failover = merged((step, client, server)).detail.failover.unwrap();
    assert_eq!((failover.replayed_bytes, failover.noticed_after_ns), (u64::MAX, None));
    assert_eq!((failover.lost_bytes, failover.before_bits_per_s), (Some(0), None));
}
