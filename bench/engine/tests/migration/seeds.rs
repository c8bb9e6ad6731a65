//! Many migrations of all kinds over bad paths, each from a seed: whatever happens, what is called verified is the same at
//! both ends, and every sum adds up.

use pathproof_engine::migrate::{Phase, Random};
use pathproof_model::MigrateSpec;
use pathproof_model::migrate::{DiskSpec, PolicyName};
use pathproof_sim::SimPath;

use crate::exact::adds_up;
use crate::world::{World, spec};

const MS: u64 = 1_000_000;

/// A migration that may come out in any way the step allows.
fn any(seed: u64) -> (MigrateSpec, SimPath) {
    let mut random = Random::new(seed ^ 0xC0FFEE);
    let mut pick = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
    let policy = PolicyName::ALL[pick(&[0, 1, 2, 3, 4]) as usize];
    let pattern = ["uniform", "sequential", "zipf=1.1", "hot=256KiB"][pick(&[0, 1, 2, 3]) as usize];
    let disk = (pick(&[0, 0, 0, 1]) == 1).then_some(DiskSpec {
        bytes: 300_000,
        file: None,
        writes_bytes_per_s: 200_000,
    });
    let spec = MigrateSpec {
        policy,
        pattern: pattern.into(),
        post_copy: matches!(policy, PolicyName::Qemu | PolicyName::QemuLoop) && pick(&[0, 0, 1]) == 1,
        memory_bytes: pick(&[1, 8, 40, 100]) << 12,
        dirty_bytes_per_s: pick(&[0, 50_000, 500_000, 2_500_000, 8_000_000]),
        zero_percent: pick(&[0, 10, 90, 100]) as u8,
        compress: pick(&[0, 0, 1]) == 1,
        compressible_percent: pick(&[0, 50, 100]) as u8,
        lanes: pick(&[1, 2, 3]) as u32,
        guests: pick(&[1, 1, 2, 3]) as u32,
        parallel: pick(&[1, 2]) as u32,
        chunk_bytes: pick(&[4, 12, 64, 1024]) as u32 * 1024,
        bandwidth_bytes_per_s: (pick(&[0, 0, 1]) == 1).then_some(1_500_000),
        time_limit_ns: Some(400 * MS),
        downtime_limit_ns: matches!(policy, PolicyName::Qemu | PolicyName::QemuLoop)
            .then(|| pick(&[1, 20, 300]) * MS),
        disk,
        seed,
        ..spec()
    };
    let path = SimPath {
        delay_ns: pick(&[1, 100, 2000]) * 1000,
        jitter_ns: pick(&[0, 50_000, 3 * MS]),
        loss_ppm: pick(&[0, 1000, 100_000]) as u32,
        retransmit_ns: pick(&[1, 30]) * MS,
        rate_bits_per_s: Some(10_000_000),
        ..SimPath::default()
    };
    (spec, path)
}

#[test]
fn whatever_the_path_loses_every_guest_arrives_and_every_sum_adds_up() {
    for seed in 0..200 {
        let (spec, path) = any(seed);
        let outcome = World::new(spec.clone(), path, seed).run(|_| {});
        adds_up(&outcome, &spec);
        let disk = outcome.disk.as_ref().map(|disk| (disk.disk.verified, disk.disk.bytes));
        assert_eq!(disk, spec.disk.as_ref().map(|disk| (true, disk.bytes)), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_migration() {
    let once = |seed| {
        let (spec, path) = any(seed);
        let outcome = World::new(spec, path, seed).run(|_| {});
        format!("{:?} {:?}", outcome.stories, outcome.ended)
    };
    for seed in [3, 7, 11] {
        assert_eq!(once(seed), once(seed));
    }
    assert_ne!(once(3), once(7));
}

/// A path that changes bits changes pages, hashes and messages alike. What is verified all the same is the same.
#[test]
fn over_a_path_that_changes_bits_nothing_is_called_verified_that_differs() {
    let (mut broken, mut mismatched, mut verified) = (0, 0, 0);
    for seed in 0..120 {
        let (spec, path) = any(seed);
        // Small writes, so that more bits change in pages than in messages.
        let spec = MigrateSpec { chunk_bytes: 4096, compress: seed % 8 == 0, ..spec };
        let path = SimPath { corruption_ppm: 200 + seed as u32 * 60, ..path };
        let outcome = World::new(spec, path, seed).run(|_| {});
        let differing: u64 = outcome.differing_pages.iter().sum();
        for story in &outcome.stories {
            match (&story.error, story.mismatch) {
                (Some(_), _) => broken += 1,
                (None, Some(_)) => mismatched += 1,
                (None, None) => verified += u32::from(story.guest.verified),
            }
            assert!(story.error.is_none() || story.stopped_in.is_some_and(|phase| phase != Phase::Done));
        }
        if outcome.stories.iter().all(|story| story.guest.verified) {
            assert_eq!(differing, 0, "seed {seed}");
        }
    }
    // All three happen, or this proves nothing.
    assert!(broken > 5 && mismatched > 5 && verified > 5, "{broken} {mismatched} {verified}");
}

#[test]
fn a_peer_that_dies_at_any_moment_hangs_nobody_and_is_never_called_verified() {
    let mut hit = 0;
    for seed in 0..120 {
        let (spec, path) = any(seed);
        let guests = spec.guests;
        let mut random = Random::new(seed);
        let (mut turns, silent) = (random.below(500), random.below(3) == 0);
        let mut dead = false;
        let outcome = World::new(spec, path, seed).run(|world| {
            turns = turns.saturating_sub(1);
            if turns == 0 && !dead && world.served.iter().all(Option::is_some) {
                dead = true;
                match silent {
                    true => world.network.cut(std::time::Duration::from_secs(2)),
                    false => world.kill_destination(),
                }
            }
        });
        if !dead {
            continue;
        }
        hit += 1;
        let moved = outcome.stories.iter().filter(|story| story.guest.verified).count() as u32;
        // Every guest may have been compared when the peer died: then only the lanes' ends are missing.
        let all_told = moved == guests || outcome.stories.iter().any(|story| story.error.is_some());
        let before_any =
            outcome.stories.is_empty() && outcome.disk.as_ref().is_some_and(|d| d.error.is_some());
        assert!(all_told || before_any, "seed {seed}: {:?}", outcome.stories);
        for story in &outcome.stories {
            assert_eq!(story.error.is_some(), story.stopped_in.is_some(), "seed {seed}: {story:?}");
            assert!(!(story.error.is_some() && story.guest.verified), "seed {seed}: {story:?}");
        }
    }
    assert!(hit > 60, "{hit} of 120 peers died in time");
}
