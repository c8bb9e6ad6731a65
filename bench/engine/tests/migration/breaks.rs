//! Peers that die, paths that fall silent, hosts that stall and clocks that jump, in every phase: the error names the
//! phase, what was moved stays told, and nothing hangs.

use std::time::Duration;

use pathproof_api::{LaneSpec, Offer, Role, Tick, Transport, TransportError};
use pathproof_engine::migrate::Phase;
use pathproof_engine::migrate::copy::{CopyError, Turn};
use pathproof_model::MigrateSpec;
use pathproof_model::migrate::{DiskSpec, PolicyName, RoundPhase};
use pathproof_sim::{SimNetwork, SimTransport};

use crate::exact::adds_up;
use crate::world::{Outcome, World, path, spec};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// A guest that lives through every phase that its kind of switch-over has.
fn busy(post_copy: bool) -> MigrateSpec {
    MigrateSpec {
        policy: if post_copy { PolicyName::Qemu } else { PolicyName::Xen },
        post_copy,
        dirty_bytes_per_s: 9_000_000,
        downtime_limit_ns: post_copy.then_some(MS),
        lanes: 2,
        ..spec()
    }
}

/// Every phase of a move, with the kind of guest that has it.
const PHASES: [(Phase, bool); 7] = [
    (Phase::Setup, false),
    (Phase::FullCopy, false),
    (Phase::Round(1), false),
    (Phase::Round(2), false),
    (Phase::StopAndCopy, false),
    (Phase::PostCopy, true),
    (Phase::Verify, false),
];

/// Runs until the first guest is in `phase`, and then meddles once, after so many more turns of everything.
fn break_in(phase: Phase, spec: MigrateSpec, turns: u32, mut harm: impl FnMut(&mut World)) -> Outcome {
    let (mut left, mut done) = (turns, false);
    let outcome = World::new(spec, path(), 5).run(|world| {
        if done || world.phase() != Some(phase) {
            return;
        }
        if left > 0 {
            left -= 1;
        } else {
            done = true;
            harm(world);
        }
    });
    assert!(done, "there was no {phase}");
    outcome
}

/// What is told of a move that ended in `phase`.
fn ended_in(outcome: &Outcome, phase: Phase) {
    let story = &outcome.stories[0];
    assert_eq!(story.stopped_in, Some(phase), "{story:?}");
    assert!(!story.guest.verified, "{story:?}");
    let error = story.error.as_ref().unwrap();
    assert!(matches!(error, CopyError::Lane(TransportError::PeerGone { .. })), "{phase}: {error:?}");
    assert_eq!(story.guest.bytes, story.rounds.iter().map(|r| r.bytes).sum::<u64>(), "{story:?}");
    let rounds = match phase {
        Phase::Setup | Phase::FullCopy => 0,
        Phase::Round(number) => number,
        _ => story.guest.rounds,
    };
    assert_eq!(story.guest.rounds, rounds, "{phase}: {story:?}");
    assert_eq!(
        story.rounds.last().is_some_and(|r| r.phase == RoundPhase::StopAndCopy),
        phase == Phase::Verify
    );
    let (start, end) = story.span.unwrap();
    assert_eq!(story.guest.total_ns, end.ns_since(start), "{story:?}");
}

#[test]
fn a_destination_that_dies_ends_the_move_in_the_phase_it_was_in() {
    for (phase, post_copy) in PHASES {
        for turns in [0, 1, 2] {
            let mut died = Tick(0);
            let outcome = break_in(phase, busy(post_copy), turns, |world| {
                died = world.now();
                world.kill_destination();
            });
            ended_in(&outcome, phase);
            assert!(outcome.ended.ns_since(died) < 50 * MS, "{phase}: known at once");
        }
    }
}

#[test]
fn what_is_told_of_a_broken_step_names_its_phase() {
    for (phase, post_copy) in PHASES {
        let mut dead = false;
        let outcome = World::new(busy(post_copy), path(), 5).sum_up(|world| {
            if !dead && world.phase() == Some(phase) {
                dead = true;
                world.kill_destination();
            }
        });
        let name = phase.to_string();
        assert_eq!(outcome.detail.stopped_in.as_deref(), Some(name.as_str()));
        assert!(!outcome.detail.verified && outcome.detail.mismatch.is_none(), "{:?}", outcome.detail);
        let error = outcome.error.as_ref().unwrap().to_string();
        let told = outcome.in_phase(error);
        assert!(told.starts_with(&format!("the migration ended in phase {name}: ")), "{told}");
        assert!(outcome.findings().is_empty(), "a broken step is judged by its error");
    }
    let disk = DiskSpec { bytes: 4 << 20, file: None, writes_bytes_per_s: 1_000_000 };
    for (phase, dies_at) in [("storage copy", 100 * MS), ("storage mirroring", 440 * MS)] {
        let spec = MigrateSpec { disk: Some(disk.clone()), ..busy(false) };
        let mut dead = false;
        let outcome = World::new(spec, path(), 5).sum_up(|world| {
            // Of the storage's lane alone.
            if !dead && world.now() >= Tick(dies_at) {
                dead = true;
                *world.served.last_mut().unwrap() = None;
            }
        });
        assert_eq!(outcome.detail.stopped_in.as_deref(), Some(phase), "{:?}", outcome.detail);
        assert!(outcome.error.is_some_and(|error| !error.follows()), "{phase}");
    }
}

#[test]
fn a_path_that_falls_silent_ends_the_move_after_the_silence_at_both_ends() {
    for (phase, post_copy) in PHASES {
        let mut cut = Tick(0);
        let outcome = break_in(phase, busy(post_copy), 2, |world| {
            cut = world.now();
            world.network.cut(Duration::from_secs(3));
        });
        ended_in(&outcome, phase);
        let waited_ns = outcome.ended.ns_since(cut);
        assert!((3 * S..3 * S + 50 * MS).contains(&waited_ns), "{phase}: {waited_ns}");
        assert_eq!(
            outcome.server_errors.len(),
            2,
            "{phase}: both lanes of the destination: {:?}",
            outcome.server_errors
        );
    }
}

#[test]
fn a_source_that_dies_leaves_no_destination_waiting() {
    for (phase, post_copy) in PHASES {
        let outcome = break_in(phase, busy(post_copy), 1, World::kill_source);
        assert_eq!(outcome.server_errors.len(), 2, "{phase}");
        for error in &outcome.server_errors {
            assert!(matches!(error, CopyError::Lane(TransportError::PeerGone { .. })), "{phase}: {error:?}");
        }
    }
}

#[test]
fn nobody_to_connect_to_is_said_when_the_deadline_is_over() {
    let network = SimNetwork::new(path(), 1);
    let transport = SimTransport::new(network.clone());
    let lane = transport.prepare(Role::Dial, &LaneSpec::default()).unwrap();
    let error = lane.connect(&Offer::default(), Duration::from_secs(8)).err().map(CopyError::from).unwrap();
    assert_eq!(network.now(), Tick(8 * S));
    assert!(error.to_string().contains("no answer within 8000 ms"), "{error}");
    assert!(!error.follows());
}

#[test]
fn a_destination_that_stalls_costs_its_stall_and_nothing_else() {
    for (phase, post_copy) in PHASES {
        let spec = busy(post_copy);
        let outcome = break_in(phase, spec.clone(), 1, |world| {
            world.stalled_until = world.now().plus_ns(700 * MS);
        });
        adds_up(&outcome, &spec);
        let story = &outcome.stories[0];
        let stalled_ns = match phase {
            Phase::Setup => continue,
            Phase::FullCopy => story.rounds[0].elapsed_ns,
            Phase::Round(number) => story.rounds[number as usize].elapsed_ns,
            Phase::StopAndCopy | Phase::PostCopy => story.guest.downtime_ns,
            _ => story.verify_ns,
        };
        assert!((700 * MS..850 * MS).contains(&stalled_ns), "{phase}: {stalled_ns}: {story:?}");
    }
}

#[test]
fn a_clock_that_jumps_is_time_that_passed_and_no_fault() {
    for (phase, post_copy) in PHASES {
        let spec = busy(post_copy);
        let outcome = break_in(phase, spec.clone(), 1, |world| {
            // Host and guest slept for an hour: the guest does not make up for it.
            world.suspend(Duration::from_secs(3600));
        });
        adds_up(&outcome, &spec);
        let story = &outcome.stories[0];
        let slept = |ns: u64| (3600 * S..3601 * S).contains(&ns);
        let live_ns: u64 = story.rounds.iter().map(|r| r.elapsed_ns).sum();
        match phase {
            Phase::Setup => assert!(!slept(live_ns) && !slept(story.verify_ns), "{story:?}"),
            Phase::Verify => assert!(slept(story.verify_ns) && !slept(live_ns), "{story:?}"),
            Phase::StopAndCopy | Phase::PostCopy => assert!(slept(story.guest.downtime_ns), "{story:?}"),
            _ => assert!(slept(live_ns) && !slept(story.guest.downtime_ns), "{phase}: {story:?}"),
        }
    }
}

#[test]
fn a_peer_that_dies_while_the_storage_moves_keeps_the_guests_at_home() {
    let disk = DiskSpec { bytes: 4 << 20, file: None, writes_bytes_per_s: 1_000_000 };
    let spec = MigrateSpec { disk: Some(disk), ..busy(false) };
    let mut died = false;
    let outcome = World::new(spec.clone(), path(), 5).run(|world| {
        if !died && world.now() > Tick(150 * MS) {
            died = true;
            world.kill_destination();
        }
    });
    let story = outcome.disk.unwrap();
    assert!(matches!(story.error, Some(CopyError::Lane(_))), "{story:?}");
    assert!(story.disk.bytes > 0 && story.disk.bytes < 4 << 20 && story.disk.elapsed_ns == 0, "{story:?}");
    assert!(outcome.stories.is_empty(), "no guest has moved: {:?}", outcome.stories);
    // Dead while the guests move: both tell, and the one that only follows says so.
    let outcome = break_in(Phase::Round(1), spec, 0, World::kill_destination);
    let (guest, disk) = (&outcome.stories[0], outcome.disk.as_ref().unwrap());
    assert_eq!(guest.stopped_in, Some(Phase::Round(1)));
    assert!(disk.disk.elapsed_ns > 0 && !disk.disk.verified, "{disk:?}");
    let errors = [guest.error.as_ref().unwrap(), disk.error.as_ref().unwrap()];
    assert!(errors.iter().any(|e| !e.follows()), "{errors:?}");
}

#[test]
fn of_several_guests_those_that_had_moved_stay_moved() {
    let spec = MigrateSpec { guests: 4, parallel: 2, ..busy(false) };
    let mut done = false;
    let outcome = World::new(spec, path(), 5).run(|world| {
        if !done && world.slots.iter().all(|slot| slot.place.stories().len() == 1) {
            done = true;
            world.kill_destination();
        }
    });
    let verified: Vec<bool> = outcome.stories.iter().map(|story| story.guest.verified).collect();
    assert_eq!(verified, [true, true, false, false], "{:?}", outcome.stories);
    let told = outcome.stories[2..].iter().filter_map(|story| story.error.as_ref());
    assert!(told.filter(|error| !error.follows()).count() >= 1, "somebody says what it was");
}

#[test]
fn a_lane_without_work_waits_and_says_so() {
    let mut world = World::new(spec(), path(), 1);
    let lane = world.served[0].as_mut().unwrap();
    assert!(matches!(lane.turn(Duration::ZERO), Ok(Turn::Worked)), "it posts its receives");
    assert!(matches!(lane.turn(Duration::ZERO), Ok(Turn::Waits(None))));
}
