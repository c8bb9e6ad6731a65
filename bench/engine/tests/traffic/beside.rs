//! Steps of several flows, each from a seed: a stream with a question at a low rate beside it, over paths that lose and stall, with
//! a flow that begins later or ends earlier, and with one whose lane dies.

use pathproof_api::Tick;
use pathproof_engine::traffic::Ended;
use pathproof_model::{Direction, FlowSpec, TrafficKind, TrafficSpec};
use pathproof_sim::SimPath;

use crate::world::{LaneLeft, MS, World};

const LIMIT: Tick = Tick(30_000 * MS);
const WAYS: [Direction; 3] = [Direction::Out, Direction::In, Direction::Both];
const SECOND_NS: u64 = 1000 * MS;

/// A stream of a second, and a hundred questions in it.
fn stream_and_probe(seed: u64) -> TrafficSpec {
    let way = |number: u64| WAYS[(number % 3) as usize];
    TrafficSpec {
        direction: way(seed),
        size_bytes: 1000,
        depth: 4,
        time_ns: SECOND_NS,
        warmup_ns: 50 * MS,
        cooldown_ns: 20 * MS,
        beside: vec![FlowSpec::probe(way(seed / 3), 100)],
        ..TrafficSpec::default()
    }
}

fn path(seed: u64) -> SimPath {
    SimPath {
        delay_ns: [500_000, MS, 4 * MS][(seed % 3) as usize],
        rate_bits_per_s: Some([5_000_000, 20_000_000][(seed % 2) as usize]),
        ..SimPath::default()
    }
}

fn lanes(world: &World) -> impl Iterator<Item = &LaneLeft> {
    world.ends.iter().flat_map(|end| &end.left)
}

#[test]
fn a_stream_and_a_question_beside_it_are_measured_each_for_itself() {
    let mut lost = 0;
    for seed in 0..54 {
        let spec = stream_and_probe(seed);
        let path =
            SimPath { loss_ppm: [0, 0, 5000][(seed / 9 % 3) as usize], retransmit_ns: 30 * MS, ..path(seed) };
        let delay_ns = path.delay_ns;
        let lossy = path.loss_ppm > 0;
        let mut world = World::new(TrafficKind::Stream, spec.clone(), path, seed, [0, 0]);
        world.run(LIMIT, |_| {});
        assert_eq!(lanes(&world).count(), 2 * spec.planned_lanes(TrafficKind::Stream).len(), "seed {seed}");
        for lane in lanes(&world) {
            assert!(matches!(lane.ended, Ended::Done | Ended::Stopped), "seed {seed}: {:?}", lane.ended);
            lost += lane.stats.last.retransmits.unwrap_or(0);
            if lane.asks {
                // A hundred a second, each an answer of its own; the last may be answered when the window is over.
                let most = lane.service.count();
                assert!((95..=101).contains(&most) || lossy, "seed {seed}: {most} questions");
                assert!(lane.service.quantile(0.0).unwrap() >= 2 * delay_ns * 99 / 100, "seed {seed}");
            }
        }
        let of = |flow: fn(&LaneLeft) -> u64| lanes(&world).map(flow).sum::<u64>();
        let streams = of(|lane| if lane.sends { lane.stats.last.bytes_sent } else { 0 });
        assert!(streams > 100_000, "seed {seed}: the stream carried {streams}");
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
    assert!(lost > 50, "only {lost} messages were lost: this proves nothing");
}

#[test]
fn a_flow_begins_and_ends_where_it_was_planned_and_the_others_go_on() {
    for seed in 0..20 {
        let mut spec = stream_and_probe(seed);
        let (start_ns, time_ns) = ([0, 200, 450][(seed % 3) as usize] * MS, 300 * MS);
        (spec.beside[0].start_ns, spec.beside[0].time_ns) = (start_ns, Some(time_ns));
        let ways = spec.planned_lanes(TrafficKind::Stream).iter().map(|lane| lane.flow).max().unwrap();
        let first_beside = if spec.direction == Direction::Both { 2 } else { 1 };
        let mut world = World::new(TrafficKind::Stream, spec.clone(), path(seed), seed, [0, 0]);
        world.run(LIMIT, |_| {});
        let began = world.ends[0].began.unwrap();
        let finish = began.plus_ns(spec.length_ns());
        for lane in lanes(&world) {
            let beside = lane.flow >= first_beside;
            if lane.asks {
                assert!((28..=31).contains(&lane.service.count()), "seed {seed}: {}", lane.service.count());
                let over = began.plus_ns(start_ns + spec.warmup_ns + time_ns + spec.cooldown_ns);
                // The next question would come after it.
                let (soon, late) = (over.ns_since(lane.closed), lane.closed.ns_since(over));
                assert!(soon <= 10 * MS && late < 100 * MS, "seed {seed}: {soon} ns too soon, {late} late");
            }
            // Nobody who sends a stream is let go because somebody else is through.
            if lane.sends {
                assert!(
                    lane.closed >= finish,
                    "seed {seed}: closed at {}, {finish} was planned",
                    lane.closed
                );
                assert!(matches!(lane.ended, Ended::Done), "seed {seed}: {:?}", lane.ended);
            }
            assert!(beside == (lane.asks || !lane.sends && lane.flow >= first_beside), "seed {seed}");
        }
        assert!(lanes(&world).any(|lane| lane.flow == ways), "seed {seed}: the last flow ran");
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
}

#[test]
fn a_stall_is_charged_to_every_question_that_it_delayed() {
    for seed in 0..12 {
        let spec = TrafficSpec { direction: Direction::Out, ..stream_and_probe(3 * (seed / 3)) };
        let spec = TrafficSpec {
            beside: vec![FlowSpec { direction: Direction::Out, ..spec.beside[0].clone() }],
            ..spec
        };
        let stall = [330, 400][(seed % 2) as usize] * MS;
        let mut world = World::new(TrafficKind::Stream, spec, path(seed), seed, [0, 0]);
        let mut stalled = false;
        world.run(LIMIT, |world| {
            let began = world.ends.iter().filter_map(|end| end.began).max();
            if !stalled && began.is_some_and(|began| world.now() >= began.plus_ns(300 * MS)) {
                stalled = true;
                world.ends[1].asleep_until = world.now().plus_ns(stall);
            }
        });
        let probe = world.ends[0].left.iter().find(|lane| lane.asks).unwrap();
        let longest = probe.service.quantile(1.0).unwrap();
        assert!((stall - 20 * MS..=stall + 60 * MS).contains(&longest), "seed {seed}: {longest} of {stall}");
        assert!(probe.service.count() >= 95, "seed {seed}: those that were delayed are asked all the same");
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
}

#[test]
fn a_peer_that_dies_leaves_what_every_flow_measured() {
    for seed in 0..20 {
        let spec = stream_and_probe(seed);
        let (dies, at_ns) = ((seed % 2) as usize, 200 * MS + seed * 20 * MS);
        let mut world = World::new(TrafficKind::Stream, spec.clone(), path(seed), seed, [0, 0]);
        let mut killed = false;
        world.run(LIMIT, |world| {
            if !killed && world.ends[1].began.is_some_and(|began| world.now() >= began.plus_ns(at_ns)) {
                killed = true;
                world.kill(dies);
            }
        });
        let left = &world.ends[1 - dies].left;
        assert_eq!(left.len(), spec.planned_lanes(TrafficKind::Stream).len(), "seed {seed}");
        for lane in left.iter().filter(|lane| lane.asks) {
            let asked = lane.service.count();
            let due = (at_ns - spec.warmup_ns) / (10 * MS);
            assert!((due.saturating_sub(8)..=due + 2).contains(&asked), "seed {seed}: {asked} of {due}");
        }
    }
}
