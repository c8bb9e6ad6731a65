//! The lane contract and the cases that need real RDMA devices. Runs where there are some: in the lab's guest
//! (`scripts/lab/vm --rdma both -- TESTBINARY`), or on a machine that has them. Elsewhere it says SKIPPED, and
//! fails if PATHPROOF_REQUIRE_LAB=1 demanded it.

#![expect(clippy::print_stderr, reason = "a skipped test must say so, and lab runs show their figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pathproof_api::contract::{self, Connect, Pair};
use pathproof_api::{
    Access, Completion, CompletionStatus, LaneSpec, Op, Pages, Region, RegionId, Role, Transport,
    TransportError, Verb, Wait, WaitMode,
};
use pathproof_rdma::offer::Rendezvous;
use pathproof_rdma::transport::options::{CONNECT, DEVICE, REGISTRATION, Registration};
use pathproof_rdma::{Fabric, RdmaTransport, Sysfs};
use pathproof_sys::clock::RealClock;

/// Two devices of one kind, the second possibly the first again.
#[derive(Clone, Debug)]
struct Ends {
    a: String,
    b: String,
    fabric: Fabric,
}

fn ends() -> Vec<Ends> {
    let devices = Sysfs::default().devices();
    let mut found = Vec::new();
    for fabric in [Fabric::Roce, Fabric::Iwarp, Fabric::InfiniBand] {
        let names: Vec<String> = devices
            .iter()
            .filter(|d| d.ports.iter().any(|p| p.fabric == fabric && p.active == Some(true)))
            .map(|d| d.name.clone())
            .collect();
        if let Some(a) = names.first() {
            found.push(Ends { a: a.clone(), b: names.get(1).unwrap_or(a).clone(), fabric });
        }
    }
    if found.is_empty() {
        assert!(
            std::env::var_os("PATHPROOF_REQUIRE_LAB").is_none_or(|v| v != "1"),
            "PATHPROOF_REQUIRE_LAB=1, but this machine has no active RDMA device"
        );
        eprintln!("SKIPPED: no active RDMA device here; run this in scripts/lab/vm --rdma both");
    }
    found
}

struct Devices {
    transport: RdmaTransport,
    ends: Ends,
}

impl Devices {
    fn new(ends: &Ends) -> Devices {
        Devices { transport: RdmaTransport::new(&RealClock::new()), ends: ends.clone() }
    }
}

impl Connect for Devices {
    fn connect(&mut self, spec: &LaneSpec, region_bytes: u64) -> Result<Pair, TransportError> {
        let mut spec_a = spec.clone();
        spec_a.options.set(&DEVICE, self.ends.a.clone());
        let mut spec_b = spec.clone();
        spec_b.options.set(&DEVICE, self.ends.b.clone());
        let region = || Region::new(region_bytes, Pages::Default).map(Arc::new).expect("a small region");
        let (region_a, region_b) = (region(), region());
        let mut a = self.transport.prepare(Role::Dial, &spec_a)?;
        let mut b = self.transport.prepare(Role::Accept, &spec_b)?;
        let id_a = a.attach(&region_a, Access::RemoteReadWrite)?;
        let id_b = b.attach(&region_b, Access::RemoteReadWrite)?;
        let (offer_a, offer_b) = (a.offer(), b.offer());
        let patience = Duration::from_secs(10);
        let (a, b) = std::thread::scope(|scope| {
            let b = scope.spawn(|| b.connect(&offer_a, patience));
            (a.connect(&offer_b, patience), b.join().expect("connecting does not panic"))
        });
        Ok(Pair { a: a?, b: b?, region_a, region_b, id_a, id_b })
    }
}

fn variants() -> Vec<(&'static str, LaneSpec)> {
    let block = LaneSpec::default();
    let spin = LaneSpec { wait_mode: WaitMode::Spin, ..LaneSpec::default() };
    let mut cm = LaneSpec::default();
    cm.options.set(&CONNECT, Rendezvous::ConnectionManager);
    vec![("block", block), ("spin", spin), ("block, connection manager", cm)]
}

#[test]
fn the_lane_contract_holds() {
    for ends in ends() {
        for (name, spec) in variants() {
            let start = Instant::now();
            contract::check(&mut Devices::new(&ends), &spec)
                .unwrap_or_else(|broken| panic!("{ends:?}, {name}: {broken}"));
            eprintln!("contract {ends:?} {name}: {} ms", start.elapsed().as_millis());
        }
    }
}

#[test]
fn a_mark_is_taken_by_roce_and_refused_by_soft_iwarp_with_what_to_do() {
    for ends in ends() {
        let mut marked = LaneSpec { dscp: Some(26), ..LaneSpec::default() };
        marked.options.set(&CONNECT, Rendezvous::ConnectionManager);
        match Devices::new(&ends).connect(&marked, 1 << 16) {
            Ok(_) => assert!(!ends.a.starts_with("siw"), "{ends:?} takes a mark that it does not carry"),
            Err(error) => {
                let why = error.to_string();
                assert!(ends.fabric != Fabric::Roce && why.contains("leave the mark"), "{ends:?}: {why}");
            }
        }
    }
}

/// Submits and collects on both ends until the counts are reached.
fn run(
    pair: &mut Pair,
    a: &[Op],
    b: &[Op],
    expect_a: usize,
    expect_b: usize,
) -> (Vec<Completion>, Vec<Completion>) {
    let (mut from_a, mut from_b) = (Vec::with_capacity(expect_a + 8), Vec::with_capacity(expect_b + 8));
    let (mut next_a, mut next_b) = (0, 0);
    let start = Instant::now();
    while from_a.len() < expect_a || from_b.len() < expect_b {
        assert!(start.elapsed() < Duration::from_secs(20), "{} {} {from_a:?} {from_b:?}", next_a, next_b);
        next_b += pair.b.submit(&b[next_b..]).expect("submit at b");
        next_a += pair.a.submit(&a[next_a..]).expect("submit at a");
        pair.a.poll(&mut from_a, Wait::No).expect("poll at a");
        pair.b.poll(&mut from_b, Wait::AtMost(Duration::from_micros(200))).expect("poll at b");
    }
    (from_a, from_b)
}

#[test]
fn reads_fetch_and_immediates_arrive_and_nothing_else_is_touched() {
    for ends in ends() {
        let mut devices = Devices::new(&ends);
        let mut pair = devices.connect(&LaneSpec::default(), 1 << 20).unwrap();
        let pattern: Vec<u8> = (0..300_000u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
        pair.region_b.copy_in(1000, &pattern).unwrap();
        pair.region_a.fill(0, 1 << 20, 0x55).unwrap();
        let (id_a, id_b) = (pair.id_a, pair.id_b);
        let (got, _) = run(&mut pair, &[Op::read(1, id_a, 4096, 300_000, 1000)], &[], 1, 0);
        assert_eq!(got[0].status, CompletionStatus::Ok, "{ends:?}");
        let mut back = vec![0; 1 << 20];
        pair.region_a.copy_out(0, &mut back).unwrap();
        assert!(back[4096..304_096] == pattern[..], "{ends:?}: the bytes read are those at the peer");
        assert!(back[..4096].iter().chain(&back[304_096..]).all(|b| *b == 0x55), "{ends:?}: memory outside");

        if ends.fabric == Fabric::Iwarp {
            continue; // RFC 5040 has no immediate data.
        }
        let mut write = Op::write(2, id_a, 4096, 5000, 500_000);
        write.verb = Verb::WriteImmediate;
        write.immediate = 0xCAFE_F00D;
        let (sent, received) = run(&mut pair, &[write], &[Op::recv(9, id_b, 0, 0)], 1, 1);
        assert_eq!(sent[0].status, CompletionStatus::Ok);
        assert_eq!((received[0].immediate, received[0].len), (Some(0xCAFE_F00D), 5000), "{ends:?}");
        let mut there = vec![0; 5000];
        pair.region_b.copy_out(500_000, &mut there).unwrap();
        assert!(there == pattern[..5000], "{ends:?}");
    }
}

#[test]
fn access_outside_the_window_is_refused_before_it_leaves() {
    for ends in ends() {
        let mut pair = Devices::new(&ends).connect(&LaneSpec::default(), 8192).unwrap();
        let error = pair.a.submit(&[Op::write(1, pair.id_a, 0, 4096, 8000)]).unwrap_err();
        assert!(error.to_string().contains("8192"), "{error}");
        let error = pair.a.submit(&[Op::write(1, pair.id_a, 8000, 4096, 0)]).unwrap_err();
        assert!(error.to_string().contains("8192"), "{error}");
    }
}

#[test]
fn a_vanished_peer_is_reported_within_two_seconds_and_the_reason_is_said() {
    for ends in ends() {
        let Pair { mut a, b, region_a, id_a, .. } =
            Devices::new(&ends).connect(&LaneSpec::default(), 1 << 20).unwrap();
        drop(b); // as when its process is killed: no goodbye
        let _keep = region_a;
        let start = Instant::now();
        let mut out = Vec::with_capacity(16);
        let error = loop {
            assert!(start.elapsed() < Duration::from_secs(8), "{ends:?}: nothing reported");
            if let Err(error) = a.submit(&[Op::write(1, id_a, 0, 65_536, 0)]) {
                break error;
            }
            out.clear();
            if let Err(error) = a.poll(&mut out, Wait::AtMost(Duration::from_millis(20))) {
                break error;
            }
        };
        eprintln!("{ends:?}: after {} ms: {error}", start.elapsed().as_millis());
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{ends:?}: took {} ms",
            start.elapsed().as_millis()
        );
        assert!(matches!(error, TransportError::PeerGone { .. } | TransportError::Io { .. }), "{error:?}");
    }
}

#[test]
fn many_queue_pairs_share_one_registration() {
    for ends in ends() {
        let mut devices = Devices::new(&ends);
        let mut pairs: Vec<Pair> = (0..16)
            .map(|lane| devices.connect(&LaneSpec { lane, ..LaneSpec::default() }, 65_536).unwrap())
            .collect();
        for (i, pair) in pairs.iter_mut().enumerate() {
            pair.region_a.fill(0, 65_536, i as u8).unwrap();
            let id_a = pair.id_a;
            let (from_a, _) = run(pair, &[Op::write(1, id_a, 0, 65_536, 0)], &[], 1, 0);
            assert_eq!(from_a[0].status, CompletionStatus::Ok);
        }
        for (i, pair) in pairs.iter().enumerate() {
            let mut byte = [0];
            pair.region_b.copy_out(65_535, &mut byte).unwrap();
            assert_eq!(usize::from(byte[0]), i);
        }
    }
}

#[test]
fn a_memory_window_lets_the_peer_in_until_its_last_message_ends_it() {
    for ends in ends() {
        let mut invalidate = Op::send(3, RegionId(0), 0, 64);
        invalidate.verb = Verb::SendInvalidate;
        let mut plain = Devices::new(&ends).connect(&LaneSpec::default(), 65_536).unwrap();
        plain.b.submit(&[Op::recv(1, plain.id_b, 0, 64)]).unwrap();
        let (start, mut out) = (Instant::now(), Vec::with_capacity(16));
        // Refused as soon as the peer's receive is known and the message could leave.
        let refused = loop {
            assert!(start.elapsed() < Duration::from_secs(8), "{ends:?}: never refused");
            match plain.a.submit(&[invalidate]) {
                Ok(taken) => assert_eq!(taken, 0, "{ends:?}: it left"),
                Err(error) => break error.to_string(),
            }
            plain.a.poll(&mut out, Wait::AtMost(Duration::from_millis(1))).unwrap();
            plain.b.poll(&mut out, Wait::No).unwrap();
        };
        assert!(
            refused.contains("--registration window") || ends.fabric == Fabric::Iwarp,
            "{ends:?}: {refused}"
        );

        let mut spec = LaneSpec::default();
        spec.options.set(&REGISTRATION, Registration::Window);
        let mut pair = match Devices::new(&ends).connect(&spec, 65_536) {
            Ok(pair) => pair,
            // soft-iWARP has no windows, and says what does instead.
            Err(error) if ends.fabric == Fabric::Iwarp => {
                assert!(error.to_string().contains("--registration up-front"), "{error}");
                continue;
            }
            Err(error) => panic!("{ends:?}: {error}"),
        };
        pair.region_a.fill(0, 65_536, 0x5a).unwrap();
        let (id_a, id_b) = (pair.id_a, pair.id_b);
        let (written, _) = run(&mut pair, &[Op::write(1, id_a, 0, 4096, 8192)], &[], 1, 0);
        assert_eq!(written[0].status, CompletionStatus::Ok, "{ends:?}");
        let (read, _) = run(&mut pair, &[Op::read(2, id_a, 0, 4096, 8192)], &[], 1, 0);
        assert_eq!(read[0].status, CompletionStatus::Ok, "{ends:?}");

        invalidate.region = id_a;
        let (sent, received) = run(&mut pair, &[invalidate], &[Op::recv(4, id_b, 0, 64)], 1, 1);
        assert_eq!(sent[0].status, CompletionStatus::Ok, "{ends:?}");
        assert_eq!((received[0].status, received[0].len), (CompletionStatus::Ok, 64), "{ends:?}");

        // The key has ended: what it opened is closed, and the memory is as it was.
        let there = |pair: &Pair| {
            let mut bytes = [0; 4096];
            pair.region_b.copy_out(20_000, &mut bytes).unwrap();
            bytes
        };
        let before = there(&pair);
        assert!(pair.a.submit(&[Op::write(5, id_a, 0, 4096, 20_000)]).is_ok());
        let (start, mut out) = (Instant::now(), Vec::with_capacity(16));
        let error = loop {
            assert!(
                start.elapsed() < Duration::from_secs(8),
                "{ends:?}: a write by an ended key went through: {out:?}"
            );
            assert!(
                out.iter().all(|done: &Completion| done.status != CompletionStatus::Ok),
                "{ends:?}: {out:?}"
            );
            if let Err(error) = pair.a.poll(&mut out, Wait::AtMost(Duration::from_millis(20))) {
                break error.to_string();
            }
        };
        assert!(error.contains("access"), "{ends:?}: {error}");
        assert!(there(&pair) == before, "{ends:?}: memory changed by an ended key");
    }
}
