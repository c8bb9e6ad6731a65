//! Figures that follow from the path and the specification alone.

use pathproof_api::Tick;
use pathproof_engine::migrate::copy::Story;
use pathproof_engine::migrate::{PAGE_BYTES, Phase};
use pathproof_model::MigrateSpec;
use pathproof_model::migrate::{DiskSpec, InjectedFault, PolicyName, RoundPhase};
use pathproof_sim::SimPath;

use crate::world::{Outcome, World, path, spec};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// What holds for every guest that has moved.
pub fn adds_up(outcome: &Outcome, spec: &MigrateSpec) {
    assert_eq!(outcome.stories.len(), spec.guests as usize);
    for story in &outcome.stories {
        let told = format!("{story:?}");
        assert!(story.error.is_none() && story.guest.verified, "{told}");
        assert_eq!(story.stopped_in, None, "{told}");
        let (start, end) = story.span.unwrap();
        assert_eq!(story.guest.total_ns, end.ns_since(start), "{told}");
        assert_eq!(story.guest.bytes, story.rounds.iter().map(|r| r.bytes).sum::<u64>(), "{told}");
        let rounds_ns: u64 = story.rounds.iter().map(|r| r.elapsed_ns).sum();
        let last = story.rounds.last().unwrap();
        if last.phase == RoundPhase::PostCopy {
            // The switch lies between the last live round and the pages that follow it.
            assert_eq!(story.guest.total_ns, rounds_ns + story.guest.downtime_ns, "{told}");
        } else {
            assert_eq!(story.guest.total_ns, rounds_ns, "no time passes between rounds: {told}");
            assert_eq!(story.guest.downtime_ns, last.elapsed_ns, "{told}");
        }
        let live = story
            .rounds
            .iter()
            .filter(|r| matches!(r.phase, RoundPhase::FullCopy | RoundPhase::Round))
            .count();
        assert_eq!(story.guest.rounds as usize, live, "{told}");
        for round in &story.rounds {
            assert!(round.zero_pages <= round.pages, "{told}");
            if !spec.compress {
                assert_eq!(round.bytes, (round.pages - round.zero_pages) * PAGE_BYTES, "{told}");
            }
        }
    }
    assert_eq!(outcome.differing_pages, vec![0; spec.guests as usize], "every byte is the same");
    assert!(outcome.server_errors.is_empty(), "{:?}", outcome.server_errors);
}

fn moved(spec: MigrateSpec, path: SimPath) -> Outcome {
    let outcome = World::new(spec.clone(), path, 1).run(|_| {});
    adds_up(&outcome, &spec);
    outcome
}

#[test]
fn a_still_guest_takes_its_bytes_a_round_trip_and_two_messages() {
    let outcome = moved(spec(), path());
    let story = &outcome.stories[0];
    let [full, rest] = &story.rounds[..] else { panic!("{story:?}") };
    // A byte takes 100 ns; the barrier and its answer have 16 bytes each, and there is half a millisecond each way.
    let round_trip_ns = MS + 2 * 16 * 100;
    assert_eq!((full.phase, full.pages, full.bytes), (RoundPhase::FullCopy, 256, 1 << 20));
    assert_eq!(full.elapsed_ns, (1 << 20) * 100 + round_trip_ns);
    assert_eq!((rest.phase, rest.pages, rest.elapsed_ns), (RoundPhase::StopAndCopy, 0, round_trip_ns));
    assert_eq!(story.guest.downtime_ns, round_trip_ns);
    assert!(story.guest.converged && story.reason == Some("the rest fits the downtime limit"));
    let predicted = story.predicted.as_ref().unwrap();
    assert!((9_600_000..=10_000_000).contains(&predicted.path_bytes_per_s), "{predicted:?}");
    assert_eq!((predicted.bytes, predicted.rounds, predicted.converges), (1 << 20, 1, true));
}

#[test]
fn the_downtime_is_the_time_between_pause_and_resume() {
    for (policy, post_copy) in [
        (PolicyName::Qemu, false),
        (PolicyName::HyperV, false),
        (PolicyName::Xen, false),
        (PolicyName::Qemu, true),
    ] {
        let spec = MigrateSpec {
            policy,
            post_copy,
            dirty_bytes_per_s: 4_000_000,
            downtime_limit_ns: (policy != PolicyName::Xen).then_some(10 * MS),
            ..spec()
        };
        let outcome = moved(spec, path());
        let (stops, reported) = &outcome.slots[0];
        let phase = if post_copy { Phase::PostCopy } else { Phase::StopAndCopy };
        // The first report of the phase: all pages are there, or the destination knows which are stale.
        let resumed = reported.iter().find(|(in_phase, _)| *in_phase == phase).unwrap().1;
        let story = &outcome.stories[0];
        assert_eq!(story.guest.downtime_ns, resumed.ns_since(stops[0]), "{policy}: {story:?}");
        assert!(story.rounds.last().unwrap().pages > 0, "{policy}: it dirties until it is stopped");
        if post_copy {
            assert_eq!(story.guest.downtime_ns, MS + 2 * 16 * 100, "an empty round's round trip");
            assert_eq!(story.rounds.len(), 2, "one pass, then the rest behind the guest");
        }
    }
}

#[test]
fn zero_pages_cost_no_bytes_and_are_zero_at_the_destination() {
    let spec = MigrateSpec { zero_percent: 50, lanes: 2, ..spec() };
    let outcome = moved(spec, path());
    let full = &outcome.stories[0].rounds[0];
    assert!((90..170).contains(&full.zero_pages), "{full:?}");
    assert_eq!(full.bytes, (256 - full.zero_pages) * PAGE_BYTES);
}

#[test]
fn a_cap_is_kept_and_a_path_is_shared() {
    let capped = MigrateSpec { bandwidth_bytes_per_s: Some(1_000_000), lanes: 3, ..spec() };
    let elapsed_ns = |story: &Story| story.rounds[0].elapsed_ns;
    let outcome = moved(capped, path());
    // A mebibyte at a megabyte a second, less what may run ahead.
    let capped_ns = elapsed_ns(&outcome.stories[0]);
    assert!((900 * MS..1080 * MS).contains(&capped_ns), "{capped_ns}");
    let two = MigrateSpec { guests: 5, parallel: 2, lanes: 2, zero_percent: 10, ..spec() };
    let outcome = moved(two, path());
    let starts: Vec<Tick> = outcome.stories.iter().map(|s| s.span.unwrap().0).collect();
    assert_eq!(starts[0], starts[1], "two at once, and none before the path has been measured");
    assert!(starts[2] > starts[0] && starts[4] > starts[2], "{starts:?}");
}

#[test]
fn compressed_pages_are_fewer_bytes_and_the_same_memory() {
    for (percent, most_percent) in [(100, 40), (50, 90), (0, 100)] {
        let spec = MigrateSpec {
            compress: true,
            compressible_percent: percent,
            zero_percent: 10,
            dirty_bytes_per_s: 1_000_000,
            lanes: 2,
            bandwidth_bytes_per_s: Some(8_000_000),
            ..spec()
        };
        let outcome = moved(spec, path());
        let full = &outcome.stories[0].rounds[0];
        let plain = (full.pages - full.zero_pages) * PAGE_BYTES;
        assert!(full.bytes <= plain * most_percent / 100, "{percent} %: {full:?}");
        assert!(full.bytes > plain / 10, "{percent} %: {full:?}");
    }
}

#[test]
fn a_guest_that_dirties_faster_than_the_path_is_told_so_and_throttled_where_asked() {
    let hopeless = MigrateSpec { dirty_bytes_per_s: 40_000_000, downtime_limit_ns: Some(MS), ..spec() };
    let outcome = moved(hopeless.clone(), path());
    let story = &outcome.stories[0];
    assert!(!story.guest.converged, "{story:?}");
    assert_eq!(story.phase_words(), "the dirty set shrinks no more");
    // It was asked for 40 MB/s, and wrote so much while it ran.
    let reached = story.dirtied_bytes_per_s.unwrap();
    assert!((39_500_000..40_500_000).contains(&reached), "{reached}");
    let limited = MigrateSpec { time_limit_ns: Some(300 * MS), ..hopeless.clone() };
    let outcome = moved(limited, path());
    assert!(outcome.stories[0].out_of_time && !outcome.stories[0].guest.converged);
    let throttled = MigrateSpec {
        auto_converge: true,
        dirty_bytes_per_s: 12_000_000,
        downtime_limit_ns: Some(40 * MS),
        memory_bytes: 4 << 20,
        ..spec()
    };
    let outcome = moved(throttled, path());
    let story = &outcome.stories[0];
    assert!(story.guest.converged, "{story:?}");
    let throttles: Vec<u8> = story.rounds.iter().map(|r| r.throttle_percent).collect();
    assert!(throttles.iter().any(|percent| *percent >= 20), "{throttles:?}");
}

#[test]
fn qemus_own_loop_ends_rounds_where_the_rest_fits() {
    let spec = MigrateSpec {
        policy: PolicyName::QemuLoop,
        memory_bytes: 16 << 20,
        dirty_bytes_per_s: 6_000_000,
        ..spec()
    };
    let outcome = moved(spec, path());
    let story = &outcome.stories[0];
    let early = story
        .rounds
        .windows(2)
        .filter(|r| r[1].phase == RoundPhase::Round && r[1].pages < r[0].dirtied_pages);
    assert!(early.count() >= 2, "rounds end before all is copied: {story:?}");
    // QEMU's default limit, used up to a segment.
    assert!(story.guest.converged && (180 * MS..302 * MS).contains(&story.guest.downtime_ns), "{story:?}");
}

#[test]
fn a_budget_scales_the_guest_to_the_path() {
    let spec = MigrateSpec { budget_ns: Some(S), memory_bytes: 64 << 20, ..spec() };
    let outcome = moved(spec, path());
    let story = &outcome.stories[0];
    // A second at ten megabytes a second, and a fifth of that dirtied.
    assert!((6 << 20..9 << 20).contains(&story.memory_bytes), "{story:?}");
    assert!((1_900_000..2_000_000).contains(&story.dirty_bytes_per_s), "{story:?}");
    assert!(story.rounds.len() >= 3 && story.guest.total_ns < 3 * S / 2, "{story:?}");
}

/// Memory and the path's measurement took longer than expected, as on a busy host: the guest is as large as what is left carries.
#[test]
fn a_guest_fits_what_is_left_of_its_step() {
    let spec = MigrateSpec { budget_ns: Some(S), memory_bytes: 64 << 20, ..spec() };
    for left_ms in [700, 1000, 1500, 5000] {
        let until = Tick(left_ms * MS);
        let outcome = World::until(spec.clone(), path(), 1, until).run(|_| {});
        let story = &outcome.stories[0];
        assert!(story.guest.verified && story.guest.converged && story.rounds.len() >= 3, "{story:?}");
        assert!(story.span.unwrap().1 < until, "{left_ms} ms: {story:?}");
        let whole = story.memory_bytes >= 6 << 20;
        assert_eq!(whole, left_ms > 1500, "{left_ms} ms: {story:?}");
    }
}

#[test]
fn faults_are_found_and_named() {
    for fault in [InjectedFault::BitFlip, InjectedFault::LostPage] {
        let spec = MigrateSpec { fault: Some(fault), guests: 2, dirty_bytes_per_s: 500_000, ..spec() };
        let outcome = World::new(spec, path(), 1).run(|_| {});
        let [first, second] = &outcome.stories[..] else { panic!("{fault}") };
        assert!(!first.guest.verified && first.error.is_none(), "{fault}: {first:?}");
        let (page, count) = first.mismatch.unwrap();
        assert_eq!(count, 1, "{fault}");
        assert!(fault != InjectedFault::LostPage || page == 255, "{fault}: page {page}");
        assert!(second.guest.verified, "only the first guest is spoiled: {second:?}");
        assert_eq!(outcome.differing_pages, [1, 0], "{fault}: what is told is so");
    }
}

#[test]
fn storage_moves_first_and_its_writes_are_mirrored() {
    let disk = DiskSpec { bytes: (8 << 20) - 1000, file: None, writes_bytes_per_s: 3_000_000 };
    let spec = MigrateSpec { disk: Some(disk), dirty_bytes_per_s: 500_000, guests: 2, ..spec() };
    let outcome = moved(spec.clone(), path());
    let story = outcome.disk.as_ref().unwrap();
    let disk = &story.disk;
    assert!(story.error.is_none() && disk.verified && story.mismatch.is_none(), "{story:?}");
    assert_eq!((disk.disk_bytes, disk.bytes), ((8 << 20) - 1000, (8 << 20) - 1000));
    assert!(disk.mirrored_bytes > 0 && disk.mirrored_bytes <= disk.written_bytes, "{disk:?}");
    assert!(disk.elapsed_ns >= disk.bytes * 100, "the path carries no more: {disk:?}");
    let predicted = disk.predicted_ns.unwrap() as f64;
    assert!((disk.elapsed_ns as f64 / predicted - 1.0).abs() < 0.1, "{disk:?}");
    assert!(outcome.stories[0].span.unwrap().0 >= Tick(disk.elapsed_ns), "the guests start when it is there");
    let spoiled = MigrateSpec { fault: Some(InjectedFault::DiskBitFlip), ..spec };
    let outcome = World::new(spoiled, path(), 1).run(|_| {});
    let story = outcome.disk.unwrap();
    assert!(!story.disk.verified && story.mismatch.is_some_and(|(_, count)| count == 1), "{story:?}");
    assert!(outcome.stories.iter().all(|guest| guest.guest.verified), "the guests are whole");
}

#[test]
fn what_is_told_of_a_step_is_the_sum_of_its_stories() {
    let two = MigrateSpec {
        guests: 3,
        parallel: 2,
        dirty_bytes_per_s: 40_000_000,
        downtime_limit_ns: Some(MS),
        compress: true,
        compressible_percent: 100,
        fault: Some(InjectedFault::BitFlip),
        ..spec()
    };
    let outcome = World::new(two.clone(), path(), 1).sum_up(|_| {});
    let detail = &outcome.detail;
    assert!(outcome.error.is_none() && detail.stopped_in.is_none(), "{outcome:?}");
    assert_eq!(detail.guests.iter().map(|g| g.guest).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(detail.guests[0].started_ns, 0);
    assert!(detail.guests[2].started_ns > 0, "{detail:?}");
    assert_eq!(detail.bytes, detail.guests.iter().map(|g| g.bytes).sum::<u64>());
    assert_eq!(detail.downtime_ns, detail.guests.iter().map(|g| g.downtime_ns).max().unwrap());
    assert_eq!(detail.brownout_ns, detail.guests[0].total_ns - detail.guests[0].downtime_ns);
    // Two places: the one with two guests decides.
    let place_ns = |of: &[usize]| of.iter().map(|i| detail.guests[*i].total_ns).sum::<u64>();
    assert_eq!(
        detail.total_ns,
        place_ns(&[0, 2]).max(place_ns(&[1])).min(place_ns(&[1, 2]).max(place_ns(&[0])))
    );
    assert!(!detail.verified && !detail.converged);
    assert!(detail.mismatch.as_ref().unwrap().starts_with("guest 0: page "), "{:?}", detail.mismatch);
    let codes: Vec<String> = outcome.findings().into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["MIGRATE-CORRUPT", "MIGRATE-NOT-CONVERGING"]);
    let sound = MigrateSpec { fault: None, dirty_bytes_per_s: 0, downtime_limit_ns: None, ..two };
    let outcome = World::new(sound, path(), 1).sum_up(|_| {});
    assert!(outcome.detail.verified && outcome.detail.converged && outcome.findings().is_empty());
}

/// Why the live rounds ended.
trait Words {
    fn phase_words(&self) -> &'static str;
}

impl Words for Story {
    fn phase_words(&self) -> &'static str {
        self.reason.unwrap_or("nothing")
    }
}
