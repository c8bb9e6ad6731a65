//! Traffic steps over several NICs, each from a seed: one NIC dies or falls silent, or all do, an end dies in each phase, stalls, or its
//! clock jumps. Whatever happens, no message is lost or handed on twice, and nobody is at fault who is not.

use std::time::{Duration, Instant};

use pathproof_api::{StripeStats, Tick};
use pathproof_engine::traffic::Ended;
use pathproof_model::{Direction, ErrorKind, TrafficKind, TrafficSpec};
use pathproof_sim::SimPath;

use crate::seeds::{CLOSING_NS, Draw, LIMIT, any};
use crate::world::{LaneLeft, MS, SILENCE_NS, Stripe, World, nic};

/// Runs in which one NIC dies, an end dies, an end stalls, a clock jumps, and all NICs fall silent.
const RUNS: [u64; 5] = [110, 40, 20, 25, 20];

const STALL_MS: u16 = 100;
/// A stripe looks for silence every 50 ms: once to see the last progress, and once too late.
const NOTICED_NS: u64 = (STALL_MS as u64 + 2 * 50 + 10) * MS;

#[test]
fn failover_is_tried_often_enough_to_mean_something() {
    assert!(RUNS.iter().sum::<u64>() >= 200);
}

/// A step of any kind over two or three NICs that are alike.
fn any_stripe(draw: &mut Draw) -> (TrafficKind, TrafficSpec, SimPath, [u64; 2], Stripe) {
    let (kind, spec, path, connect) = any(draw);
    let stripe = Stripe { nics: draw.of(&[2, 3]), stall_ms: STALL_MS };
    (kind, TrafficSpec { lanes: 1, ..spec }, path, connect, stripe)
}

fn lanes(world: &World) -> impl Iterator<Item = &LaneLeft> {
    world.ends.iter().flat_map(|end| &end.left)
}

fn stripe(lane: &LaneLeft) -> &StripeStats {
    lane.stats.stripe.as_ref().expect("every lane is a stripe")
}

/// A figure of all stripes of an end.
fn sum(world: &World, end: usize, figure: fn(&StripeStats) -> u64) -> u64 {
    world.ends[end].left.iter().map(|lane| figure(stripe(lane))).sum()
}

/// What holds whatever happened: nothing is handed on under a number that was, and nothing that nobody sent.
fn nothing_is_made(world: &World, seed: u64) {
    for end in [0, 1] {
        assert_eq!(sum(world, end, |stripe| stripe.doubled_bytes), 0, "seed {seed}");
        // An end that was killed leaves no figures.
        if world.ends[1 - end].alive {
            let (arrived, sent) = (
                sum(world, end, |stripe| stripe.arrived_bytes),
                sum(world, 1 - end, |stripe| stripe.accepted_bytes),
            );
            assert!(arrived <= sent, "seed {seed}: {arrived} of {sent} bytes arrived");
        }
    }
}

/// What a stream carried when it ended in order: all that was taken was confirmed, and all that was confirmed was handed on.
fn nothing_is_lost(world: &World, seed: u64) {
    for end in [0, 1] {
        let accepted = sum(world, end, |stripe| stripe.accepted_bytes);
        assert_eq!(sum(world, end, |stripe| stripe.confirmed_bytes), accepted, "seed {seed}");
        assert_eq!(sum(world, 1 - end, |stripe| stripe.arrived_bytes), accepted, "seed {seed}");
    }
}

/// The first moment at which an end may leave.
fn finish(world: &World, spec: &TrafficSpec) -> Tick {
    let began = world.ends.iter().filter_map(|end| end.began).min().expect("it began");
    began.plus_ns(spec.warmup_ns + spec.time_ns)
}

#[test]
fn a_nic_that_dies_costs_time_and_no_message() {
    let (start, mut noticed, mut replayed, mut stuck) = (Instant::now(), 0, 0, 0);
    for seed in 0..RUNS[0] {
        let mut draw = Draw::new(seed + 6000);
        let (kind, spec, path, connect, nics) = any_stripe(&mut draw);
        let path = SimPath { loss_ppm: draw.of(&[0, 0, 20_000]), retransmit_ns: 3 * MS, ..path };
        // Either both hosts see that it is down, or nothing comes any more.
        let (dies, silence_ns) = (draw.below(nics.nics.into()) as u8, draw.of(&[0, SILENCE_NS]));
        let after = draw.below(250 * MS);
        let mut world = World::over(kind, spec.clone(), path, seed, connect, Some(nics));
        let mut cut = None;
        world.run(LIMIT, |world| {
            let began = world.ends.iter().filter_map(|end| end.began).max();
            let both = world.ends.iter().all(|end| end.began.is_some());
            if cut.is_none() && both && began.is_some_and(|began| world.now() >= began.plus_ns(after)) {
                cut = Some(world.now());
                world.network.cut_nic(nic(dies), Duration::from_nanos(silence_ns));
            }
        });
        let (cut, finish) = (cut.expect("a step is longer"), finish(&world, &spec));
        for lane in lanes(&world) {
            // A NIC that falls silent with nothing on the way is noticed when its connections give up: a lane that says goodbye over it waits
            // until its step is over.
            if silence_ns > 0 && matches!(lane.ended, Ended::Stuck) {
                stuck += 1;
                continue;
            }
            assert!(matches!(lane.ended, Ended::Done | Ended::Stopped), "seed {seed}: {:?}", lane.ended);
            assert!(!lane.sends || matches!(lane.ended, Ended::Done), "seed {seed}: {:?}", lane.ended);
            for (index, path) in stripe(lane).paths.iter().enumerate() {
                let lost = path.lost_at_tick_ns.map(Tick);
                if index != usize::from(dies) {
                    // A peer that has left takes all its paths along.
                    assert!(lost.is_none_or(|at| at >= finish), "seed {seed}: path {index} died, not {dies}");
                    continue;
                }
                assert!(path.deaths <= 1 && lost.is_none_or(|at| at >= cut), "seed {seed}: {path:?}");
                if silence_ns == 0 && cut.plus_ns(20 * MS) < finish {
                    assert_eq!(path.deaths, 1, "seed {seed}: everybody sees that it is down");
                }
                if silence_ns > 0 && lost.is_some_and(|at| at < finish) {
                    let after_ns = path.noticed_after_ns.expect("a path that died was silent for so long");
                    assert!(after_ns <= NOTICED_NS, "seed {seed}: noticed after {after_ns} ns");
                    noticed += 1;
                }
            }
            replayed += stripe(lane).replayed_messages;
        }
        if kind == TrafficKind::Stream && lanes(&world).all(|lane| !matches!(lane.ended, Ended::Stuck)) {
            nothing_is_lost(&world, seed);
            assert!(sum(&world, 0, |s| s.accepted_bytes) + sum(&world, 1, |s| s.accepted_bytes) > 0);
        }
        nothing_is_made(&world, seed);
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
    assert!(stuck <= 6, "{stuck} lanes were stuck at their end");
    assert!(noticed >= 6, "silence was noticed {noticed} times only: this proves nothing");
    assert!(replayed >= 20, "only {replayed} messages went again: this proves nothing");
    eprintln!("{} runs in which a NIC dies took {:?}", RUNS[0], start.elapsed());
}

#[test]
fn an_end_that_dies_in_any_phase_takes_all_paths_along() {
    let (start, mut before, mut during) = (Instant::now(), 0, 0);
    for seed in 0..RUNS[1] {
        let mut draw = Draw::new(seed + 7000);
        let (kind, spec, path, connect, nics) = any_stripe(&mut draw);
        let (dies, at) = (draw.below(2) as usize, Tick(draw.below(450 * MS)));
        let (delay_ns, lives) = (path.delay_ns, 1 - dies);
        let mut world = World::over(kind, spec.clone(), path, seed, connect, Some(nics));
        let mut killed = None;
        world.run(LIMIT, |world| {
            if killed.is_none() && world.now() >= at {
                killed = Some(world.now());
                world.kill(dies);
            }
        });
        let over = world.ends[lives].over.unwrap();
        let killed = killed.unwrap_or(Tick(u64::MAX));
        if over >= killed {
            let latest = killed.plus_ns(delay_ns + CLOSING_NS);
            assert!(over <= latest, "seed {seed}: over at {over}, killed at {killed}");
            match world.ends[lives].began {
                None => before += 1,
                Some(_) => {
                    during += 1;
                    let left = world.ends[lives].left.len() as u32;
                    let planned = if spec.direction == Direction::Both { 2 } else { 1 };
                    assert_eq!(left, planned, "seed {seed}: every lane leaves its figures");
                }
            }
        }
        nothing_is_made(&world, seed);
        let error = world.errors()[lives];
        let gone = matches!(error, None | Some(ErrorKind::PeerLost | ErrorKind::Timeout));
        assert!(gone, "seed {seed}: {error:?}");
    }
    assert!(before > 3 && during > 10, "{before} {during}");
    eprintln!("{} runs in which an end dies took {:?}", RUNS[1], start.elapsed());
}

#[test]
fn a_stall_that_is_tolerated_kills_no_path() {
    let start = Instant::now();
    for seed in 0..RUNS[2] {
        let mut draw = Draw::new(seed + 8000);
        let (_, spec, path, connect, nics) = any_stripe(&mut draw);
        let one = TrafficSpec { direction: Direction::Out, size_bytes: 1000, depth: 2, ..spec };
        let spec = TrafficSpec { time_ns: 1_000 * MS, ..one };
        let (stall, sleeps) = (draw.of(&[330, 400]) * MS, draw.below(2) as usize);
        let nics = Stripe { stall_ms: 500, ..nics };
        let mut world = World::over(TrafficKind::Stream, spec.clone(), path, seed, connect, Some(nics));
        let mut stalled = false;
        world.run(LIMIT, |world| {
            let began = world.ends.iter().filter_map(|end| end.began).max();
            if !stalled && began.is_some_and(|began| world.now() >= began.plus_ns(100 * MS)) {
                stalled = true;
                let until = world.now().plus_ns(stall);
                world.ends[sleeps].asleep_until = until;
            }
        });
        let finish = finish(&world, &spec);
        for lane in lanes(&world) {
            for path in &stripe(lane).paths {
                let lost = path.lost_at_tick_ns.map(Tick);
                assert!(lost.is_none_or(|at| at >= finish), "seed {seed}: {path:?}");
            }
        }
        // Two messages are under way when the sender stalls.
        let gap = stripe(&world.ends[1].left[0]).gap_longest_ns;
        assert!((stall - 100 * MS..=stall + 100 * MS).contains(&gap), "seed {seed}: {gap} of {stall} ns");
        nothing_is_lost(&world, seed);
        nothing_is_made(&world, seed);
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
    eprintln!("{} runs in which an end stalls took {:?}", RUNS[2], start.elapsed());
}

#[test]
fn a_clock_that_jumps_accuses_nobody_and_doubles_nothing() {
    let start = Instant::now();
    for seed in 0..RUNS[3] {
        let mut draw = Draw::new(seed + 9000);
        let (kind, spec, path, connect, nics) = any_stripe(&mut draw);
        let (after, jump) = (draw.below(250 * MS), draw.of(&[1_000, 60_000, 3_600_000]) * MS);
        let mut world = World::over(kind, spec.clone(), path, seed, connect, Some(nics));
        let mut jumped = false;
        world.run(Tick(LIMIT.0 + jump), |world| {
            let began = world.ends[1].began;
            if !jumped && began.is_some_and(|began| world.now() >= began.plus_ns(after)) {
                jumped = true;
                world.network.advance(Duration::from_nanos(jump));
            }
        });
        assert!(jumped, "seed {seed}");
        for lane in lanes(&world) {
            assert!(!matches!(lane.ended, Ended::Failed(_)), "seed {seed}: {:?}", lane.ended);
        }
        nothing_is_made(&world, seed);
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
    eprintln!("{} runs in which a clock jumps took {:?}", RUNS[3], start.elapsed());
}

#[test]
fn nics_that_all_fall_silent_are_no_fault_of_a_lane() {
    let start = Instant::now();
    for seed in 0..RUNS[4] {
        let mut draw = Draw::new(seed + 10_000);
        let (kind, spec, path, connect, nics) = any_stripe(&mut draw);
        let at = Tick(draw.below(450 * MS));
        let mut world = World::over(kind, spec.clone(), path, seed, connect, Some(nics));
        let mut cut = false;
        world.run(LIMIT, |world| {
            if !cut && world.now() >= at {
                cut = true;
                world.cut();
            }
        });
        for lane in lanes(&world) {
            assert!(!matches!(lane.ended, Ended::Failed(_)), "seed {seed}: {:?}", lane.ended);
        }
        nothing_is_made(&world, seed);
        for error in world.errors() {
            assert!(error.is_none() || error == Some(ErrorKind::PeerLost), "seed {seed}: {error:?}");
        }
    }
    eprintln!("{} runs in which all NICs fall silent took {:?}", RUNS[4], start.elapsed());
}

#[test]
fn the_same_seed_gives_the_same_failover() {
    let once = |seed: u64| {
        let mut draw = Draw::new(seed);
        let (kind, spec, path, connect, nics) = any_stripe(&mut draw);
        let mut world = World::over(kind, spec, path, seed, connect, Some(nics));
        let mut cut = false;
        world.run(LIMIT, |world| {
            let began = world.ends[1].began;
            if !cut && began.is_some_and(|began| world.now() >= began.plus_ns(100 * MS)) {
                cut = true;
                world.network.cut_nic(nic(0), Duration::from_nanos(SILENCE_NS));
            }
        });
        let lanes: Vec<_> =
            lanes(&world).map(|lane| (lane.closed, lane.messages, stripe(lane).clone())).collect();
        (world.turns, lanes)
    };
    for seed in [3, 7, 11] {
        assert_eq!(once(seed), once(seed));
    }
    assert_ne!(once(3), once(7));
}
