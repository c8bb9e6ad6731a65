//! What a mesh reads from words and refuses; and rank 0 with the lines of 255 others.

mod hostile;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pathproof_engine::mesh::message::{
    FromRank, Hello, Order, Report, TO_RANK_BYTES_MAX, Task, ToRank, Told, VERSION,
};
use pathproof_model::Environment;
use pathproof_model::mesh::{Cell, Pattern, RoundKind, SuspectKind, Who};

use super::line::{self, Speaker};
use super::place::Engine;
use super::rendezvous::meet;
use super::*;
use crate::secure::Key;

#[test]
fn lists_of_hosts_are_read_as_slurm_writes_them() {
    let hosts = |text: &str| host_list(text).unwrap();
    assert_eq!(hosts("a"), ["a"]);
    assert_eq!(hosts("node[01-03,7],gpu"), ["node01", "node02", "node03", "node7", "gpu"]);
    assert_eq!(hosts("rack[1-2]-ib,b"), ["rack1-ib", "rack2-ib", "b"]);
    assert!(hosts("").is_empty());
    for bad in ["a[1-", "a[x]", "a[3-1]", "a[1-99999]", "a,,b", "a[1][2]"] {
        assert!(host_list(bad).is_err(), "{bad}");
    }
}

#[test]
fn networks_are_read_or_refused_in_a_sentence() {
    assert!(net("10.1.0.0/16").unwrap().contains("10.1.2.3".parse().unwrap()));
    assert!(net("fd00:1::/64").unwrap().contains("fd00:1::9".parse().unwrap()));
    for bad in ["10.1.0.0", "10.1.0.0/33", "x/8", "fd00::/129"] {
        assert!(net(bad).unwrap_err().contains("ADDRESS/BITS"), "{bad}");
    }
}

#[test]
fn rank_0_cannot_send_a_rank_to_loopback_groups_or_beyond_the_networks_that_its_user_named() {
    let [near, far] = ["10.1.0.1", "10.2.0.1"].map(|text| text.parse::<IpAddr>().unwrap());
    let nets = [net("10.1.0.0/16").unwrap()];
    let may = |address: &str, nets: &[Prefix]| may_be_dialled(address.parse().unwrap(), near, nets);
    assert!(may("10.1.0.7", &nets) && may("10.2.0.7", &[]));
    for address in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
        assert!(!may(address, &[]), "{address}");
    }
    assert!(!may_be_dialled(far, near, &nets));
    let here = "127.0.0.1".parse().unwrap();
    assert!(may_be_dialled(here, here, &[]), "a mesh on one host");
}

const RANKS: u32 = 256;

/// The clock of a mesh that is a test's own.
fn clock() -> RealClock {
    RealClock::new()
}

fn many(rank: u32, port: u16, clock: &RealClock, file: Option<DocumentFile>) -> Mesh {
    Mesh { file, ..of_size((rank, RANKS), port, clock) }
}

/// A rank of so many, which are all on this host.
fn of_size((rank, size): (u32, u32), port: u16, clock: &RealClock) -> Mesh {
    Mesh {
        place: Place { rank, size, first_host: None, engine: Engine::Hands },
        meeting: Meeting::Host { host: "127.0.0.1".into(), port },
        access: Access::Key(Key::new("of all ranks")),
        settings: MeshSettings {
            over: "tcp".into(),
            lanes: 4,
            time_ns: 1_000_000_000,
            patterns: vec![Pattern::Pairs],
            sampled_rounds: Some(24),
            round_limit_ns: 30_000_000_000,
            seed: 1,
            ..MeshSettings::default()
        },
        nets: vec![],
        net_names: vec![],
        groups: vec![],
        wait: Duration::from_secs(120),
        details: None,
        file: None,
        clock: clock.clone(),
    }
}

/// A rank that measures nothing, and tells at once what a healthy fabric shows.
fn stub(mesh: &Mesh, environment: &Environment, interrupt: &Interrupt) {
    play(mesh, environment, interrupt, 1, |speaker, message| match message {
        ToRank::Order(order) => {
            let report = healthy((mesh.place.rank, mesh.place.size), &order);
            speaker.say(&FromRank::Report(report)).is_ok()
        }
        ToRank::Still => speaker.say(&FromRank::Still).is_ok(),
        ToRank::Table(_) => true,
        ToRank::Bye | ToRank::Refused(_) => false,
    });
}

/// A rank that says who it is, with an agent at `port` as it says, and then does what somebody thought of.
fn play(
    mesh: &Mesh,
    environment: &Environment,
    interrupt: &Interrupt,
    port: u16,
    mut hears: impl FnMut(&mut Speaker, ToRank) -> bool,
) {
    let met = meet(&mesh.meeting, &mesh.access, mesh.wait, &mesh.clock, interrupt).unwrap();
    let mut speaker = Speaker::new(met.writer);
    let hello = Hello {
        version: VERSION,
        rank: mesh.place.rank,
        size: mesh.place.size,
        settings: mesh.settings.clone(),
        port,
        token: "nobody listens there".into(),
        environment: environment.clone(),
    };
    speaker.say(&FromRank::Hello(Box::new(hello))).unwrap();
    line::read::<ToRank>(met.reader, TO_RANK_BYTES_MAX, None, |message| hears(&mut speaker, message));
}

fn healthy((rank, size): (u32, u32), order: &Order) -> Report {
    if order.task == Task::Knock {
        return Report { number: order.number, heard: (0..size).collect(), ..Report::default() };
    }
    let told = order.peers.iter().map(|peer| {
        // A percent of noise.
        let noise = u64::from((rank * 31 + peer * 17 + order.number * 7) % 100) * 10_000_000;
        let cell = Cell {
            goodput_bits_per_s: (order.task != Task::Survey).then_some(97_000_000_000 + noise),
            retransmits: (order.task != Task::Survey).then_some(0),
            ip_mtu_bytes: (order.task == Task::Survey).then_some(9000),
            rtt_p50_ns: (order.task == Task::Survey).then_some(20_000),
            rtt_p99_ns: (order.task == Task::Survey).then_some(90_000),
            ..Cell::default()
        };
        Told { peer: *peer, out: cell.clone(), back: cell, ..Told::default() }
    });
    Report { number: order.number, told: told.collect(), ..Report::default() }
}

/// Rank 0 is real, its lines are, and it measures with nobody, for no other agent is there: that is what it is named for.
#[test]
fn rank_0_of_256_answers_each_round_within_a_second_and_stays_small() {
    let clock = RealClock::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = std::env::temp_dir().join(format!("pathproof-mesh-many-{}.json", std::process::id()));
    let file = DocumentFile::prepare(&path).unwrap();
    let environment = Arc::new(crate::host::observe().environment);
    let (_raise, interrupt) = Interrupt::pair();
    let ended = Arc::new(AtomicU32::new(0));
    for rank in 1..RANKS {
        let (mesh, environment) = (many(rank, port, &clock, None), environment.clone());
        let (interrupt, ended) = (interrupt.clone(), ended.clone());
        std::thread::spawn(move || {
            stub(&mesh, &environment, &interrupt);
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    let doc = conductor::conduct(&many(0, port, &clock, file), &interrupt).unwrap();
    assert_eq!((doc.ranks.len(), doc.dead.len()), (RANKS as usize, 0), "{:?}", doc.dead);
    let named: Vec<_> = doc.suspects.iter().map(|suspect| (suspect.kind, suspect.who.clone())).collect();
    assert_eq!(named, [(SuspectKind::Reach, Who::Receiver { rank: 0 })]);
    let of_pairs = || doc.rounds.iter().filter(|round| round.kind != RoundKind::Knock);
    assert!(of_pairs().count() >= 72);
    let slowest = of_pairs().map(|round| round.elapsed_ns).max().unwrap();
    assert!(slowest < 1_000_000_000, "a round took {slowest} ns");
    let bytes = std::fs::metadata(&path).unwrap().len();
    std::fs::remove_file(&path).unwrap();
    assert!(bytes < 4 << 20, "{bytes} bytes");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let most_kib: u64 = most.trim_end_matches(" kB").parse().unwrap();
    // With all the stubs in it.
    assert!(most_kib < 200 << 10, "{most}");
}
