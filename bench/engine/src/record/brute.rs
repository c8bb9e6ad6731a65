//! What the recorder keeps in constant memory, held against the same computed from everything that happened.

use std::collections::BTreeMap;

use pathproof_api::{LaneSample, Tick};
use pathproof_model::{End, Interval, LaneResult, Series, series};
use proptest::prelude::*;

use super::*;

const START: u64 = 1_000_000_007;

/// What one lane does: bytes at moments (ns into the window), and when it leaves.
#[derive(Clone, Debug)]
struct Life {
    events: BTreeMap<u64, u64>,
    leaves_ns: u64,
}

fn life(window_ns: u64) -> impl Strategy<Value = Life> {
    let event = (0..window_ns + SLICE_NS, 1..1000u64);
    // A lane usually stays beyond the window; some leave early.
    let leaves = prop_oneof![3 => Just(window_ns + 2 * SLICE_NS), 1 => 0..window_ns];
    (prop::collection::vec(event, 0..200), leaves).prop_map(|(events, leaves_ns)| Life {
        events: events.into_iter().filter(|(at, _)| *at < leaves_ns).collect(),
        leaves_ns,
    })
}

fn lives() -> impl Strategy<Value = (u64, Vec<Life>, usize, u64)> {
    (1..400u64, 0..3u64).prop_flat_map(|(tenths, odd)| {
        let window_ns = tenths * SLICE_NS + odd * 33_000_000;
        (Just(window_ns), prop::collection::vec(life(window_ns), 1..4), 2..40usize, 1..50u64)
    })
}

/// Lets all lanes live at once, in steps of `stride` ms, the coordinator looking after each.
fn record(window_ns: u64, lives: &[Life], most: usize, stride: u64) -> (Vec<LaneRecorder>, Option<u64>) {
    let window = Window { start: Tick(START), end: Tick(START + window_ns) };
    let (mut worst, places) = WorstSecond::new(window_ns, lives.len());
    let mut recorders: Vec<LaneRecorder> = places
        .into_iter()
        .map(|place| LaneRecorder::with_slices(window, most).contributing(Some(place)))
        .collect();
    let mut now = 0;
    while now < window_ns + 3 * SLICE_NS {
        let until = now + stride * 7_000_000;
        for (recorder, life) in recorders.iter_mut().zip(lives) {
            for (at, bytes) in life.events.range(now..until) {
                let tick = Tick(START + at);
                if recorder.sample_due(tick) {
                    let total = life.events.range(..at).count() as u64;
                    recorder.sample(
                        tick,
                        LaneSample { retransmits: Some(total), ..LaneSample::default() },
                        None,
                    );
                }
                recorder.received(tick, *bytes);
                recorder.message(tick);
            }
            if (now..until).contains(&life.leaves_ns) {
                recorder.leave(Tick(START + life.leaves_ns));
            }
        }
        worst.look();
        now = until;
    }
    (recorders, worst.finish())
}

/// The fewest bytes of any ten tenths in a row while some lane was there.
fn worst_of_all(window_ns: u64, lives: &[Life]) -> Option<u64> {
    let there_ns = lives.iter().map(|life| life.leaves_ns).max()?.min(window_ns);
    let mut tenths = vec![0; (there_ns / SLICE_NS) as usize];
    for (at, bytes) in lives.iter().flat_map(|life| &life.events) {
        if let Some(tenth) = tenths.get_mut((at / SLICE_NS) as usize) {
            *tenth += bytes;
        }
    }
    tenths.windows(10).map(|second| second.iter().sum()).min()
}

/// The longest run of tenths in which nothing came while the lane was there.
fn silence_of(window_ns: u64, life: &Life) -> u64 {
    let whole = match life.leaves_ns {
        early if early < window_ns => early / SLICE_NS,
        _ => window_ns.div_ceil(SLICE_NS),
    };
    let heard =
        |tenth: u64| life.events.range(tenth * SLICE_NS..((tenth + 1) * SLICE_NS).min(window_ns)).count() > 0;
    let mut longest = 0;
    let mut run = 0;
    for tenth in 0..whole {
        run = if heard(tenth) { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_by_growing_coarser((window_ns, lives, most, stride) in lives()) {
        let (recorders, worst) = record(window_ns, &lives, most, stride);
        prop_assert_eq!(worst, worst_of_all(window_ns, &lives));
        for (recorder, life) in recorders.iter().zip(&lives) {
            let slices = recorder.intervals(End::Server, 0, Tick(START + life.leaves_ns));
            prop_assert!(slices.len() <= most);
            let within = |i: &Interval| i.start_ns..i.start_ns + i.length_ns;
            for slice in &slices {
                let events = || life.events.range(within(slice));
                prop_assert_eq!(slice.received_bytes, events().map(|(_, bytes)| bytes).sum::<u64>());
                prop_assert_eq!(slice.messages, events().count() as u64);
            }
            let sum: u64 = slices.iter().map(|i| i.received_bytes).sum();
            prop_assert_eq!(sum, recorder.received_bytes());
            // Counters that the kernel adds up lose nothing; the last slices may not have been looked at.
            let again: u64 = slices.iter().filter_map(|i| i.retransmits).sum();
            let looked = slices.iter().any(|i| i.retransmits.is_some());
            prop_assert!(recorder.retransmits().is_none_or(|whole| !looked || again == whole));
            prop_assert!(slices.iter().all(|i| i.rtt_ns.is_none() && i.cpu_ns.is_none()), "unknown stays unknown");
            prop_assert_eq!(recorder.longest_silence().length_ns.div_ceil(SLICE_NS), silence_of(window_ns, life));
        }
    }

    /// Recorders of different sizes see the same run in slices of different lengths, and those come to the same.
    #[test]
    fn fine_and_coarse_slices_fit_into_each_other((window_ns, lives, most, stride) in lives()) {
        let all = |most: usize| -> Vec<Interval> {
            let (recorders, _) = record(window_ns, &lives, most, stride);
            let slices = recorders.iter().zip(&lives).enumerate().map(|(lane, (r, life))| {
                r.intervals(End::Server, lane as u32, Tick(START + life.leaves_ns))
            });
            slices.flatten().collect()
        };
        let (fine, coarse) = (all(2 * most), all(most));
        let lanes: Vec<LaneResult> = (0..lives.len() as u32)
            .flat_map(|lane| End::BOTH.map(|end| LaneResult { lane, end, ..LaneResult::default() }))
            .collect();
        let there = coarse.into_iter().map(|i| Interval { end: End::Client, ..i });
        let together: Vec<Interval> = fine.iter().cloned().chain(there).collect();
        let [coarse, fine_too] = &series::sum(&lanes, &together)[..] else { panic!("two ends") };
        // A lane that left early ends with its last slice, and that may be shorter here than there.
        let figures = |s: &Series| (s.received_bytes.clone(), s.retransmits.clone());
        prop_assert_eq!(figures(coarse), figures(fine_too));
        let sum: u64 = fine_too.carried().map(|slice| slice.bytes).sum();
        prop_assert_eq!(sum, fine.iter().map(|i| i.received_bytes).sum::<u64>());
        prop_assert!(fine_too.received_bytes.len() <= SLICES_PER_LANE_MAX);
        // Slices are those of the longest, and end where the last lane left.
        prop_assert_eq!(Some(fine_too.end_ns), fine.iter().map(Interval::end_ns).max());
    }
}

#[test]
fn a_lane_far_behind_the_others_makes_the_worst_second_unknown_and_never_wrong() {
    let window = Window { start: Tick(0), end: Tick(1000 * 1_000_000_000) };
    let (mut worst, places) = WorstSecond::new(window.length_ns(), 2);
    let mut lanes: Vec<LaneRecorder> =
        places.into_iter().map(|place| LaneRecorder::new(window).contributing(Some(place))).collect();
    for tenth in 0..9_000 {
        lanes[0].received(Tick(tenth * SLICE_NS), 1);
        worst.look();
    }
    lanes.iter_mut().for_each(|lane| lane.leave(window.end));
    assert_eq!(worst.finish(), None);
}

#[test]
fn numbers_from_a_peer_cannot_overflow() {
    let huge = Interval {
        start_ns: u64::MAX,
        length_ns: u64::MAX,
        received_bytes: u64::MAX,
        retransmits: Some(u64::MAX),
        ..Interval::default()
    };
    for slices in [vec![huge.clone(), Interval::default(), huge.clone()], vec![huge; 2]] {
        let found = series::sum(&[], &slices);
        assert!(found.iter().all(|series| series.received_bytes.len() <= SLICES_PER_LANE_MAX + 1));
    }
    let late = Interval { received_bytes: u64::MAX, start_ns: 1 << 53, length_ns: 1, ..Interval::default() };
    let found = series::sum(&[], &[late.clone(), late]);
    assert!(found[0].received_bytes.len() <= SLICES_PER_LANE_MAX + 1, "a late slice takes no more memory");
    assert_eq!(found[0].received_bytes.last(), Some(&Some(u64::MAX)));
}
