use pathproof_model::contend::{BEAT_NS, ClassSpans};
use pathproof_model::{LaneRole, LatencySummary, Severity, StepKind, StepSpec, Summary};

use super::*;

const MBIT: u64 = 1_000_000;
const MS: u64 = 1_000_000;

/// A step as it would be merged: `carried` says what each class carries in each phase, in Mbit/s, and the p99 of storage in ms.
fn step(spec: &ContendSpec, carried: impl Fn(PhaseName, Class) -> (u64, u64)) -> Step {
    let mut step = Step::new(StepKind::Contend, "contention");
    step.flows = Flow::of(&StepSpec::Contend(spec.clone()));
    for flow in &mut step.flows {
        let phase = spec.phase_of(flow.active.start_ns).expect("a phase");
        let (rate, p99_ms) = carried(phase, flow.class);
        let times = LatencySummary { count: 1000, p99: p99_ms * MS, ..LatencySummary::default() };
        let (start_ns, end_ns) = spec.measured_of(phase, flow.class);
        let bits = rate * MBIT * (end_ns - start_ns) / 1_000_000_000;
        flow.summary = Summary { window_ns: Some(end_ns - start_ns), ..Summary::default() };
        match flow.class {
            Class::Storage => {
                flow.summary.messages = Some(bits / 8 / spec.storage_bytes);
                flow.summary.response_ns = Some(times);
            }
            Class::Heartbeat => flow.summary.response_ns = Some(times),
            _ => flow.summary.goodput_bits_per_s = Some(rate * MBIT),
        }
    }
    step
}

/// A path of 1000 Mbit/s on which storage asks for 400.
fn spec() -> ContendSpec {
    ContendSpec {
        storage_bytes: 12_500,
        storage_requests_per_s: Some(4000),
        path_bits_per_s: Some(1000 * MBIT),
        memory_bytes: 10_000 * MBIT / 8,
        ..ContendSpec::default()
    }
}

/// What storage carries beside migrations, what those do, and the p99 that storage has then.
fn beside(spec: &ContendSpec, storage: u64, migration: u64, p99_ms: u64) -> ContendDetail {
    let step = step(spec, |phase, class| match (phase, class) {
        (PhaseName::Both, Class::Storage) => (storage, p99_ms),
        (PhaseName::Both, Class::Migration) => (migration, 0),
        (_, Class::Storage) => (400, 2),
        (_, Class::Migration) => (spec.caps.migration.map_or(1000, |cap| cap * 8 / MBIT), 0),
        _ => (0, 1),
    });
    let all = all_beats(spec, |_| true);
    reduce(spec, &step, &all, &all)
}

fn all_beats(spec: &ContendSpec, arrives: impl Fn(u64) -> bool) -> BeatsEnd {
    let (mut sent, mut received) = (Beats::of(spec.beats()), Beats::of(spec.beats()));
    for number in 0..spec.beats() {
        sent.mark(number);
        if arrives(number) {
            received.mark(number);
        }
    }
    BeatsEnd { sent: sent.into_words(), received: received.into_words(), ..BeatsEnd::default() }
}

fn codes(spec: &ContendSpec, detail: &ContendDetail) -> Vec<String> {
    findings(spec, detail, None).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn every_figure_of_a_phase_is_that_phases_own() {
    let detail = beside(&spec(), 100, 900, 52);
    let rate = |phase, class| detail.figures(phase, class).map(|figures| figures.goodput_bits_per_s);
    assert_eq!(rate(PhaseName::Idle, Class::Storage), None);
    assert_eq!(rate(PhaseName::Storage, Class::Storage), Some(Some(400 * MBIT)));
    assert_eq!(rate(PhaseName::Storage, Class::Migration), None);
    assert_eq!(rate(PhaseName::Both, Class::Storage), Some(Some(100 * MBIT)));
    assert_eq!(rate(PhaseName::Both, Class::Migration), Some(Some(900 * MBIT)));
    assert_eq!(rate(PhaseName::Migration, Class::Migration), Some(Some(1000 * MBIT)));
    let both = detail.figures(PhaseName::Both, Class::Storage).unwrap();
    assert_eq!((both.share, both.asked_bits_per_s, both.lost), (Some(0.1), Some(400 * MBIT), None));
    let migration = detail.figures(PhaseName::Both, Class::Migration).unwrap();
    assert_eq!((migration.share, migration.response_ns), (Some(0.9), None));
    let beat = detail.figures(PhaseName::Both, Class::Heartbeat).unwrap();
    assert_eq!((beat.sent, beat.lost, beat.longest_gap_ns), (Some(400), Some(0), Some(0)));
    assert_eq!(beat.share, None, "what only looks on has no part of the path");

    let cost = &detail.cost;
    assert_eq!((cost.storage_share, cost.storage_p99_added_ns), (Some(0.25), Some(50 * MS)));
    assert_eq!(
        (cost.migration_alone_ns, cost.migration_beside_ns),
        (Some(10_000 * MS), Some(11_111_111_111))
    );
    // 900 - 400 Mbit/s in whole MiB.
    assert_eq!(detail.advice.cap_bytes_per_s, Some(59 << 20));
    assert_eq!((detail.advice.path_bits_per_s, detail.advice.storage_percent), (Some(1000 * MBIT), Some(40)));
}

#[test]
fn what_was_measured_at_different_times_has_its_own_time_and_is_no_share_of_the_path() {
    let spans = ClassSpans::default().and("backup=1s..3s").unwrap();
    let spec = ContendSpec { spans, backups: 1, path_bits_per_s: None, ..spec() };
    assert_eq!(spec.check(), Ok(()));
    let step = step(&spec, |_, class| match class {
        Class::Storage => (400, 2),
        Class::Migration => (600, 0),
        Class::Backup => (300, 0),
        _ => (0, 1),
    });
    let all = all_beats(&spec, |_| true);
    let detail = reduce(&spec, &step, &all, &all);
    let of = |phase, class| detail.figures(phase, class).unwrap();
    let (begin_ns, backup) = (spec.measured(PhaseName::Both).0, of(PhaseName::Both, Class::Backup));
    assert_eq!((backup.start_ns, backup.length_ns), (Some(begin_ns + 1400 * MS), Some(1500 * MS)));
    assert_eq!(backup.goodput_bits_per_s, Some(300 * MBIT), "over its own time");
    let migration = of(PhaseName::Both, Class::Migration);
    assert_eq!((migration.start_ns, migration.length_ns), (Some(begin_ns), Some(spec.phase_ns)));
    for class in [Class::Storage, Class::Migration, Class::Backup] {
        assert_eq!(of(PhaseName::Both, class).share, None, "{class:?}");
    }
    assert_eq!(of(PhaseName::Storage, Class::Storage).share, Some(1.0));
    assert_eq!(detail.advice.path_bits_per_s, Some(600 * MBIT), "not 1300, which nobody saw at once");
    // Storage and migrations that run side by side for a part of the phase share that part.
    let spans = ClassSpans::default().and("migration=1s..3s").unwrap();
    let detail = beside(&ContendSpec { spans, ..self::spec() }, 100, 900, 52);
    let both = detail.figures(PhaseName::Both, Class::Storage).unwrap();
    assert_eq!((both.share, both.length_ns), (Some(0.1), Some(1500 * MS)));
    assert_eq!(detail.cost.storage_share, Some(0.25));
}

#[test]
fn several_migrations_share_their_rate_and_their_fairness_is_told() {
    let spec = ContendSpec { migrations: 2, ..spec() };
    let mut step = step(&spec, |_, class| if class == Class::Migration { (500, 0) } else { (400, 1) });
    let number = step.flows.iter().position(|flow| flow.name == "migration, both").unwrap() as u16;
    let lane = |bytes| LaneResult { flow: number, role: LaneRole::Receive, bytes, ..LaneResult::default() };
    step.lanes = vec![lane(300), lane(100)];
    let none = BeatsEnd::default();
    let cost = reduce(&spec, &step, &none, &none).cost;
    assert_eq!(cost.migration_fairness, Some(0.8));
    assert_eq!(cost.migration_beside_ns, Some(40_000 * MS), "250 Mbit/s each");
}

#[test]
fn starvation_is_named_with_the_figure_that_cures_it_and_not_below_the_limits() {
    let free = spec();
    for (storage, p99_ms) in [(359, 2), (400, 13), (100, 900)] {
        let detail = beside(&free, storage, 600, p99_ms);
        assert_eq!(codes(&free, &detail), ["CONTEND-STORAGE-STARVED"], "{storage} {p99_ms}");
        let finding = &findings(&free, &detail, None)[0];
        assert!(
            finding.next.contains("Set-SmbBandwidthLimit -Category LiveMigration -BytesPerSecond 59MB"),
            "{finding:?}"
        );
        assert!(
            finding.next.contains("--cap migration=59MB")
                && finding.next.contains("40 % of the link reserved"),
            "{finding:?}"
        );
        // 59 MiB/s in bits, for migrations that the cap of SMB does not hold.
        assert!(
            finding.next.contains("-LiveMigration -ThrottleRateActionBitsPerSecond 494927872"),
            "{finding:?}"
        );
        assert_eq!(finding.values["cap_bytes_per_s"], 59 << 20);
    }
    // Ninety percent and ten milliseconds are kept.
    assert_eq!(codes(&free, &beside(&free, 360, 640, 12)), Vec::<String>::new());
}

#[test]
fn where_each_has_nics_of_its_own_no_cap_is_advised_and_what_they_share_is_sought_elsewhere() {
    let mut spec = spec();
    spec.ways.storage.nics = vec!["e0".into()];
    spec.ways.migration.nics = vec!["e1".into()];
    let kept = beside(&spec, 400, 1000, 2);
    assert_eq!((kept.advice.cap_bytes_per_s, codes(&spec, &kept)), (None, vec![]));
    assert!(kept.advice.reason.contains("NICs of their own"), "{}", kept.advice.reason);
    let starved = findings(&spec, &beside(&spec, 100, 1000, 80), None);
    assert_eq!(starved[0].code, "CONTEND-STORAGE-STARVED");
    assert!(
        starved[0].next.contains("behind both") && !starved[0].next.contains("-BytesPerSecond"),
        "{starved:?}"
    );
}

#[test]
fn a_cap_is_too_high_where_storage_still_starves_and_too_low_where_the_path_idles() {
    let capped = |mib: u64| {
        let mut spec = spec();
        spec.caps.migration = Some(mib << 20);
        spec
    };
    let high = capped(100);
    assert_eq!(codes(&high, &beside(&high, 200, 800, 40)), ["CONTEND-CAP-HIGH"]);
    let right = capped(59);
    assert_eq!(codes(&right, &beside(&right, 400, 494, 3)), Vec::<String>::new());
    assert_eq!(
        beside(&right, 400, 494, 3).advice.cap_bytes_per_s,
        Some(59 << 20),
        "the advice does not chase itself"
    );
    let low = capped(29);
    let found = findings(&low, &beside(&low, 400, 243, 3), None);
    assert_eq!((found[0].code.as_str(), found[0].severity), ("CONTEND-CAP-LOW", Severity::Info));
    let near = capped(30);
    // Not too low beside storage; without it three quarters of the path are nobody's.
    assert_eq!(codes(&near, &beside(&near, 400, 251, 3)), ["CONTEND-CAP-IDLE"]);
    let more = capped(48);
    assert_eq!(codes(&more, &beside(&more, 400, 402, 3)), Vec::<String>::new(), "40 % are used");
    // What a capped run carried says nothing about the path.
    let unknown = ContendSpec { path_bits_per_s: None, ..low };
    let detail = beside(&unknown, 400, 243, 3);
    assert_eq!((detail.advice.cap_bytes_per_s, codes(&unknown, &detail).len()), (None, 0));
}

#[test]
fn where_storage_needs_all_of_the_path_no_cap_is_advised() {
    let spec = ContendSpec { storage_requests_per_s: Some(9500), ..spec() };
    let of = |alone: u64| {
        let step = step(&spec, |phase, class| match (phase, class) {
            (PhaseName::Both, _) => (500, 80),
            (_, Class::Storage) => (alone, 3),
            _ => (1000, 0),
        });
        reduce(&spec, &step, &BeatsEnd::default(), &BeatsEnd::default())
    };
    let full = of(895);
    assert_eq!((full.advice.cap_bytes_per_s, codes(&spec, &full)), (None, vec!["CONTEND-NO-ROOM".into()]));
    // Room for one MiB/s is room.
    assert_eq!(
        (of(890).advice.cap_bytes_per_s, codes(&spec, &of(890))),
        (Some(1 << 20), vec!["CONTEND-STORAGE-STARVED".into()])
    );
}

#[test]
fn heartbeats_are_counted_to_the_last_one_in_their_phase() {
    let spec = spec();
    let (start_ns, end_ns) = spec.measured(PhaseName::Both);
    let (first, after) = (start_ns / BEAT_NS, end_ns / BEAT_NS);
    // Seven in a row in the middle, the first and the last of the phase, and those just outside of it.
    let lost = |number| {
        [first - 1, first, after - 1, after].contains(&number) || (first + 50..first + 57).contains(&number)
    };
    let (client, server) = (all_beats(&spec, |_| true), all_beats(&spec, |number| !lost(number)));
    let out = count(&spec, PhaseName::Both, &client, &server).unwrap();
    assert_eq!(out, Counted { sent: 200, lost: 9, longest_gap_ns: 7 * BEAT_NS });
    assert_eq!(count(&spec, PhaseName::Both, &server, &client).unwrap().lost, 0);
    // What was never sent is neither lost nor heard, and what arrives that was not sent is nothing.
    let mut half = client.clone();
    half.sent.iter_mut().for_each(|word| *word &= 0x5555_5555);
    let fewer = count(&spec, PhaseName::Idle, &half, &server).unwrap();
    assert_eq!((fewer.sent, fewer.lost), (100, 0));
    assert_eq!(count(&spec, PhaseName::Both, &BeatsEnd::default(), &server), None, "unknown is not none");
    // A peer's lists may have any length.
    let short = BeatsEnd { received: vec![], ..server };
    assert_eq!(count(&spec, PhaseName::Idle, &client, &short).unwrap().lost, 200);
}

#[test]
fn heartbeats_that_the_load_takes_are_told_and_those_that_the_path_takes_are_not() {
    let spec = spec();
    let (start_ns, end_ns) = spec.measured(PhaseName::Both);
    let told = |lost: &dyn Fn(u64) -> bool| {
        let step = step(&spec, |_, class| if class == Class::Storage { (400, 2) } else { (500, 1) });
        let (client, server) = (all_beats(&spec, |_| true), all_beats(&spec, |number| !lost(number)));
        codes(&spec, &reduce(&spec, &step, &client, &server))
    };
    let within = |number: u64| (start_ns..end_ns).contains(&(number * BEAT_NS));
    assert_eq!(told(&|number| within(number) && number.is_multiple_of(5)), ["CONTEND-HEARTBEAT-LOST"]);
    assert!(told(&|number| within(number) && number.is_multiple_of(50)).is_empty(), "4 of 400 are too few");
    assert!(told(&|number| number.is_multiple_of(5)).is_empty(), "the path loses without load as well");
}

#[test]
fn no_number_of_a_peer_is_too_large() {
    let spec = ContendSpec { memory_bytes: u64::MAX, phase_ns: u64::MAX, migrations: 64, ..spec() };
    let mut step = Step::new(StepKind::Contend, "contention");
    step.flows = Flow::of(&StepSpec::Contend(spec.clone()));
    for flow in &mut step.flows {
        flow.summary.goodput_bits_per_s = Some(u64::MAX);
        flow.summary.messages = Some(u64::MAX);
        flow.summary.window_ns = Some(1);
    }
    let full = BeatsEnd { sent: vec![u32::MAX; 600], received: vec![u32::MAX; 600], ..BeatsEnd::default() };
    let detail = reduce(&spec, &step, &full, &full);
    assert_eq!(detail.phases.len(), 4);
    findings(&spec, &detail, None);
}

#[test]
fn a_cap_that_was_right_with_every_nic_is_told_apart_from_one_that_never_was() {
    let mut whole = spec();
    whole.caps.migration = Some(59 << 20);
    let (kept, starved) = (beside(&whole, 400, 494, 3), beside(&whole, 200, 494, 40));
    let lost =
        ContendSpec { lost_nic: Some("eth1".into()), path_bits_per_s: Some(500 * MBIT), ..whole.clone() };
    let detail = beside(&lost, 200, 300, 80);
    let found = findings(&lost, &detail, Some(&kept));
    assert_eq!(found[0].code, "CONTEND-CAP-NIC-LOST");
    assert!(found[0].evidence.starts_with("without eth1 storage fell"), "{}", found[0].evidence);
    let told = |before| findings(&lost, &detail, before)[0].code.clone();
    assert_eq!(told(Some(&starved)), "CONTEND-CAP-HIGH");
    assert_eq!(told(None), "CONTEND-CAP-HIGH");
    // What storage still has without that NIC is no reason to lower anything.
    assert!(findings(&lost, &beside(&lost, 400, 494, 3), Some(&kept)).is_empty());
    let free = ContendSpec { caps: Default::default(), ..lost };
    assert_eq!(findings(&free, &detail, Some(&kept))[0].code, "CONTEND-STORAGE-STARVED");
}

/// What storage, migrations and backups carry side by side.
fn beside_backups(spec: &ContendSpec, storage: u64, p99_ms: u64) -> ContendDetail {
    let step = step(spec, |phase, class| match (phase, class) {
        (PhaseName::Both, Class::Storage) => (storage, p99_ms),
        (_, Class::Storage) => (400, 2),
        (_, Class::Migration | Class::Backup) => (300, 0),
        _ => (0, 1),
    });
    reduce(spec, &step, &BeatsEnd::default(), &BeatsEnd::default())
}

#[test]
fn backups_have_their_part_of_what_storage_leaves_and_a_cap_that_goes_with_the_other_one() {
    // Of 900 Mbit/s storage takes 400: 59.6 MiB/s are left.
    let free = ContendSpec { backups: 1, ..spec() };
    let detail = beside_backups(&free, 200, 80);
    let caps = |detail: &ContendDetail| (detail.advice.cap_bytes_per_s, detail.advice.backup_cap_bytes_per_s);
    assert_eq!(caps(&detail), (Some(29 << 20), Some(29 << 20)), "{}", detail.advice.reason);
    let found = findings(&free, &detail, None);
    assert_eq!(found[0].code, "CONTEND-STORAGE-STARVED");
    assert!(
        found[0].evidence.ends_with("migrations took 300.0 Mbit/s and backups 300.0 Mbit/s"),
        "{found:?}"
    );
    for typed in ["-Category LiveMigration -BytesPerSecond 29MB", "-Category Default -BytesPerSecond 29MB"] {
        assert!(found[0].next.contains(typed), "{found:?}");
    }
    assert_eq!(found[0].values["backup_cap_bytes_per_s"], 29 << 20);
    let more = ContendSpec { migrations: 3, ..free.clone() };
    assert_eq!(caps(&beside_backups(&more, 200, 80)), (Some(44 << 20), Some(14 << 20)), "by connections");

    // The cap of migrations is what was advised, and backups are held by nothing.
    let mut half = free.clone();
    half.caps.migration = Some(29 << 20);
    assert_eq!(codes(&half, &beside_backups(&half, 200, 80)), ["CONTEND-STORAGE-STARVED"]);
    let mut held = half.clone();
    held.caps.backup = Some(9 << 20);
    let detail = beside_backups(&held, 200, 80);
    assert_eq!(caps(&detail), (Some(50 << 20), None), "{}", detail.advice.reason);
    assert!(detail.advice.reason.ends_with("that backups may take"), "{}", detail.advice.reason);
    assert_eq!(codes(&held, &detail), ["CONTEND-CAP-HIGH"]);
    // A cap that leaves migrations nothing is lowered.
    held.caps.backup = Some(59 << 20);
    assert_eq!(caps(&beside_backups(&held, 200, 80)), (Some(29 << 20), Some(29 << 20)));
    // Over a NIC where storage is not they take nothing from it.
    let mut apart = free;
    apart.ways.storage.nics = vec!["e0".into()];
    apart.ways.backup.nics = vec!["e1".into()];
    assert_eq!(caps(&beside_backups(&apart, 200, 80)), (Some(59 << 20), None));
    // Nine tenths of the 500 Mbit/s that storage and migrations carried together, less 400.
    apart.path_bits_per_s = None;
    assert_eq!(caps(&beside_backups(&apart, 200, 80)), (Some(5 << 20), None), "not of 800");
}

#[test]
fn what_backups_carry_while_storage_is_silent_does_not_lie_idle() {
    let idle = |backups: u32| {
        let mut spec = ContendSpec { backups, ..spec() };
        spec.caps.migration = Some(36 << 20);
        let detail = beside_backups(&spec, 400, 2);
        codes(&spec, &detail)
    };
    // 302 Mbit/s are the cap and three tenths of the path; twice as much are not too little.
    assert_eq!(idle(0), ["CONTEND-CAP-IDLE"]);
    assert_eq!(idle(1), Vec::<String>::new());
}
