//! Many traffic steps of all kinds, each from a seed: over paths that lose, stall and break, with peers that die in each phase
//! and clocks that jump. Whatever happens, both ends end in time, what arrived is what was sent, and each end knows why.

use pathproof_api::Tick;
use pathproof_engine::migrate::Random;
use pathproof_engine::traffic::Ended;
use pathproof_model::{Direction, ErrorKind, TrafficKind, TrafficSpec};
use pathproof_sim::SimPath;

use crate::world::{LaneLeft, MS, SILENCE_NS, World, ending, interrupt};

const KINDS: [TrafficKind; 3] = [TrafficKind::Stream, TrafficKind::Pingpong, TrafficKind::Request];
const WAYS: [Direction; 3] = [Direction::Out, Direction::In, Direction::Both];
/// What was handed to a lane before its end is placed as it is closed: eight messages of a slow path each.
pub const CLOSING_NS: u64 = 150 * MS;
/// Nothing takes longer than to be ready, to run, to drain and to be silent.
pub const LIMIT: Tick = Tick(30_000 * MS);

pub struct Draw(Random);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(Random::new(seed ^ 0x57A6E))
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.below(choices.len() as u64) as usize]
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }
}

/// A step that may be of any kind, and a clean path for it.
pub fn any(draw: &mut Draw) -> (TrafficKind, TrafficSpec, SimPath, [u64; 2]) {
    let spec = TrafficSpec {
        direction: draw.of(&WAYS),
        lanes: draw.of(&[1, 2, 3]),
        size_bytes: draw.of(&[500, 1000, 2048]),
        depth: draw.of(&[1, 2, 8]),
        time_ns: 200 * MS,
        warmup_ns: 50 * MS,
        cooldown_ns: 20 * MS,
        ..TrafficSpec::default()
    };
    let path = SimPath {
        delay_ns: draw.of(&[500_000, MS, 4 * MS]),
        rate_bits_per_s: Some(draw.of(&[2_000_000, 5_000_000])),
        ..SimPath::default()
    };
    let connect = [draw.below(200 * MS), draw.below(200 * MS)];
    (draw.of(&KINDS), spec, path, connect)
}

/// What all lanes of an end that send handed over, and what those that receive got.
fn carried(left: &[LaneLeft]) -> (u64, u64) {
    let sum = |figure: fn(&LaneLeft) -> u64| left.iter().map(figure).sum();
    (sum(|lane| lane.stats.last.bytes_sent), sum(|lane| lane.stats.last.bytes_received))
}

#[test]
fn whatever_the_path_loses_what_arrives_is_what_was_sent_and_nobody_is_at_fault() {
    let mut lost = 0;
    for seed in 0..70 {
        let mut draw = Draw::new(seed);
        let (kind, spec, path, connect) = any(&mut draw);
        let path = SimPath {
            jitter_ns: draw.of(&[0, 0, 500_000]),
            loss_ppm: draw.of(&[0, 5000, 100_000]),
            retransmit_ns: draw.of(&[3, 30]) * MS,
            ..path
        };
        let delay_ns = path.delay_ns;
        let mut world = World::new(kind, spec.clone(), path.clone(), seed, connect);
        world.run(LIMIT, |_| {});
        let [client, server] = [0, 1].map(|end| world.ends[end].began.unwrap());
        // The client begins when both are there, and the server one way later.
        let last = spec.lanes as u64 * if spec.direction == Direction::Both { 2 } else { 1 } - 1;
        assert_eq!(client, Tick((connect[0] + last).max(connect[1] + last + delay_ns)), "seed {seed}");
        assert_eq!(server, client.plus_ns(delay_ns), "seed {seed}");
        let [ours, theirs] = [0, 1].map(|end| &world.ends[end].left);
        for lane in ours.iter().chain(theirs) {
            assert!(matches!(lane.ended, Ended::Done | Ended::Stopped), "seed {seed}: {:?}", lane.ended);
            assert!(
                !lane.sends || matches!(lane.ended, Ended::Done),
                "seed {seed}: a sender is never cut off"
            );
            lost += lane.stats.last.retransmits.unwrap_or(0);
            // A round trip is never shorter than both ways.
            if lane.asks && lane.service.count() > 0 {
                assert!(lane.service.quantile(0.0).unwrap() >= 2 * delay_ns * 99 / 100, "seed {seed}");
                assert_eq!(lane.service.count(), lane.messages, "seed {seed}");
            }
        }
        let ((sent, received), (sent_back, received_there)) = (carried(ours), carried(theirs));
        if kind == TrafficKind::Stream {
            assert_eq!((sent, sent_back), (received_there, received), "seed {seed}: bytes are lost or made");
            assert!(sent + sent_back > 0);
        } else {
            assert!(received_there <= sent && received <= sent_back, "seed {seed}: bytes are made");
        }
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
    assert!(lost > 200, "only {lost} messages were lost: this proves nothing");
}

#[test]
fn an_end_that_dies_in_any_phase_leaves_the_other_with_what_it_measured() {
    let (mut before, mut during, mut after) = (0, 0, 0);
    for seed in 0..100 {
        let mut draw = Draw::new(seed + 1000);
        let (kind, spec, path, connect) = any(&mut draw);
        let (dies, at) = (draw.below(2) as usize, Tick(draw.below(500 * MS)));
        let (delay_ns, lives) = (path.delay_ns, 1 - dies);
        let mut world = World::new(kind, spec.clone(), path, seed, connect);
        let mut killed = None;
        world.run(LIMIT, |world| {
            if killed.is_none() && world.now() >= at {
                killed = Some(world.now());
                world.kill(dies);
            }
        });
        let over = world.ends[lives].over.unwrap();
        let began = world.ends[lives].began;
        let killed = killed.unwrap_or(Tick(u64::MAX));
        if over < killed {
            assert_eq!(world.errors()[lives], None, "seed {seed}: it was over");
            after += 1;
            continue;
        }
        // The news takes one way, and lanes end at their next turn and are closed.
        assert!(
            over <= killed.plus_ns(delay_ns + CLOSING_NS),
            "seed {seed}: over at {over}, killed at {killed}"
        );
        let lanes = if spec.direction == Direction::Both { 2 * spec.lanes } else { spec.lanes };
        match began {
            None => {
                before += 1;
                assert!(world.ends[lives].left.is_empty(), "seed {seed}");
                // A lane that cannot connect to one that is gone may know first.
                let error = world.errors()[lives].unwrap();
                assert!(matches!(error, ErrorKind::PeerLost | ErrorKind::Timeout), "seed {seed}: {error:?}");
            }
            Some(began) => {
                during += 1;
                let end = began.plus_ns(spec.warmup_ns + spec.time_ns);
                let left = &world.ends[lives].left;
                assert_eq!(left.len() as u32, lanes, "seed {seed}: every lane leaves its figures");
                for lane in left {
                    let gone = matches!(&lane.ended, Ended::Failed(_));
                    let in_order = matches!(lane.ended, Ended::Done | Ended::Stopped);
                    assert!(
                        if killed < end { gone || in_order } else { in_order },
                        "seed {seed}: {:?}",
                        lane.ended
                    );
                }
                let measured: u64 = left.iter().map(|lane| lane.sent_bytes + lane.received_bytes).sum();
                let into_window = killed.0 > began.0 + spec.warmup_ns + 50 * MS;
                assert!(!into_window || measured > 0, "seed {seed}: what was measured is kept");
                let error = world.errors()[lives];
                assert!(error.is_none() || error == Some(ErrorKind::PeerLost), "seed {seed}: {error:?}");
            }
        }
    }
    assert!(before > 10 && during > 30 && after > 5, "{before} {during} {after}");
}

#[test]
fn a_path_that_falls_silent_is_noticed_by_both_ends_and_what_is_stuck_is_no_fault_of_a_lane() {
    let mut stuck = 0;
    for seed in 0..40 {
        let mut draw = Draw::new(seed + 2000);
        let (kind, spec, path, connect) = any(&mut draw);
        let at = Tick(draw.below(500 * MS));
        let mut world = World::new(kind, spec.clone(), path, seed, connect);
        let mut cut = None;
        world.run(LIMIT, |world| {
            if cut.is_none() && world.now() >= at {
                cut = Some(world.now());
                world.cut();
            }
        });
        let Some(cut) = cut else { continue };
        for end in &world.ends {
            let over = end.over.unwrap();
            assert!(over <= cut.plus_ns(SILENCE_NS + 10 * MS), "seed {seed}: over at {over}, cut at {cut}");
            stuck += end.left.iter().filter(|lane| matches!(lane.ended, Ended::Stuck)).count();
            for lane in &end.left {
                assert!(
                    !matches!(lane.ended, Ended::Failed(_)),
                    "seed {seed}: {:?} at {}",
                    lane.ended,
                    lane.closed
                );
            }
        }
        for error in world.errors() {
            assert!(error.is_none() || error == Some(ErrorKind::PeerLost), "seed {seed}: {error:?}");
        }
    }
    assert!(stuck > 20, "only {stuck} lanes were stuck");
}

#[test]
fn a_stall_is_as_long_as_it_was_and_ends_nothing() {
    for seed in 0..40 {
        let mut draw = Draw::new(seed + 3000);
        let (_, spec, path, connect) = any(&mut draw);
        let one = TrafficSpec { direction: Direction::Out, lanes: 1, size_bytes: 1000, depth: 2, ..spec };
        let spec = TrafficSpec { time_ns: 1_000 * MS, ..one };
        let (stall, sleeps) = (draw.of(&[330, 400, 570]) * MS, draw.below(2) as usize);
        let mut world = World::new(TrafficKind::Stream, spec.clone(), path, seed, connect);
        let mut stalled = false;
        world.run(LIMIT, |world| {
            let began = world.ends.iter().filter_map(|end| end.began).max();
            if !stalled && began.is_some_and(|began| world.now() >= began.plus_ns(100 * MS)) {
                stalled = true;
                let until = world.now().plus_ns(stall);
                world.ends[sleeps].asleep_until = until;
            }
        });
        let [sender, receiver] = [0, 1].map(|end| &world.ends[end].left[0]);
        assert!(matches!(sender.ended, Ended::Done), "seed {seed}: {:?}", sender.ended);
        assert_eq!(sender.stats.last.bytes_sent, receiver.stats.last.bytes_received, "seed {seed}");
        // A silence is counted in whole tenths of a second: at most one more at either edge than a stall fills.
        let silence = receiver.silence.length_ns;
        assert!(
            (stall - 200 * MS..=stall + 20 * MS).contains(&silence),
            "seed {seed}: {silence} of {stall} ns"
        );
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
}

#[test]
fn a_clock_that_jumps_ends_the_step_and_accuses_nobody() {
    for seed in 0..40 {
        let mut draw = Draw::new(seed + 4000);
        let (kind, spec, path, connect) = any(&mut draw);
        let (after, jump) = (draw.below(250 * MS), draw.of(&[1_000, 60_000, 3_600_000]) * MS);
        let mut world = World::new(kind, spec.clone(), path, seed, connect);
        let mut jumped = false;
        world.run(Tick(LIMIT.0 + jump), |world| {
            let both = world.ends.iter().all(|end| end.began.is_some());
            let began = world.ends[1].began;
            if !jumped && both && began.is_some_and(|began| world.now() >= began.plus_ns(after)) {
                jumped = true;
                // Both hosts are virtual machines that were stopped, and see the time when they go on.
                world.network.advance(std::time::Duration::from_nanos(jump));
            }
        });
        assert!(jumped, "seed {seed}");
        for end in &world.ends {
            for lane in &end.left {
                assert!(!matches!(lane.ended, Ended::Failed(_)), "seed {seed}: {:?}", lane.ended);
            }
        }
        assert_eq!(world.errors(), [None, None], "seed {seed}");
    }
}

#[test]
fn an_interruption_and_an_early_end_let_all_lanes_go_in_order() {
    for seed in 0..50 {
        let mut draw = Draw::new(seed + 5000);
        let (kind, spec, path, connect) = any(&mut draw);
        let (early, after) = (draw.below(2) == 0, draw.below(200 * MS));
        let delay_ns = path.delay_ns;
        let mut world = World::new(kind, spec.clone(), path, seed, connect);
        let mut at = None;
        world.run(LIMIT, |world| {
            let began = world.ends[1].began;
            if at.is_none() && began.is_some_and(|began| world.now() >= began.plus_ns(after)) {
                at = Some(world.now());
                if early { ending(world) } else { interrupt(world, 0) }
            }
        });
        let at = at.unwrap();
        let client = world.ends[0].over.unwrap();
        // An early end goes by the server, which lets its lanes be left first.
        let ways = if early { 2 } else { 0 };
        assert!(
            client <= at.plus_ns(ways * delay_ns + CLOSING_NS),
            "seed {seed}: over at {client}, asked at {at}"
        );
        assert!(
            world.ends[1].over.unwrap() <= client.plus_ns(delay_ns + 200 * MS + CLOSING_NS),
            "seed {seed}"
        );
        if early {
            for lane in world.ends.iter().flat_map(|end| &end.left) {
                let in_order = matches!(lane.ended, Ended::Done | Ended::Stopped);
                assert!(in_order, "seed {seed}: {:?}", lane.ended);
            }
        }
        let expected = if early { None } else { Some(ErrorKind::Interrupted) };
        let errors = world.errors();
        assert_eq!(errors[0], expected, "seed {seed}");
        assert_eq!(errors[1], None, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_step() {
    let once = |seed: u64| {
        let mut draw = Draw::new(seed);
        let (kind, spec, path, connect) = any(&mut draw);
        let path = SimPath { jitter_ns: MS, loss_ppm: 20_000, retransmit_ns: 5 * MS, ..path };
        let mut world = World::new(kind, spec, path, seed, connect);
        world.run(LIMIT, |_| {});
        let lanes = world.ends.iter().flat_map(|end| &end.left);
        let lanes: Vec<_> = lanes.map(|l| (l.closed, l.messages, l.sent_bytes, l.received_bytes)).collect();
        (world.turns, lanes)
    };
    for seed in [3, 7, 11] {
        assert_eq!(once(seed), once(seed));
    }
    assert_ne!(once(3), once(7));
}
