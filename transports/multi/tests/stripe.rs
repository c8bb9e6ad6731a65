//! A stripe keeps the lane contract, and keeps its word when paths die.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pathproof_api::contract::{self, Connect, Pair};
use pathproof_api::{CompletionStatus, LaneSpec, LaneStats, Op, PathSpec, Verb, Wait, WaitMode};
use pathproof_multi::{SHARE, Share};
use support::{CUT, FREEZE, Loopback, PASS, PATIENCE, Relay};

#[test]
fn two_paths_keep_the_contract() {
    let mut two = Loopback::new(&["127.0.0.1,,127.0.0.1", "127.0.0.2,,127.0.0.2"]);
    contract::check(&mut two, &LaneSpec::default()).unwrap();
}

#[test]
fn five_paths_keep_the_contract_with_smbs_rule_and_spinning() {
    let mut five = Loopback::new(&["127.0.0.1,,127.0.0.1"; 5]);
    let mut spec = LaneSpec { wait_mode: WaitMode::Spin, ..LaneSpec::default() };
    spec.options.set(&SHARE, Share::Fewest);
    contract::check(&mut five, &spec).unwrap();
}

#[test]
fn one_path_is_the_inner_lane_itself() {
    let mut one = Loopback::new(&["127.0.0.1,,127.0.0.1"]);
    let pair = one.connect(&LaneSpec::default(), 4096).unwrap();
    assert_eq!(pair.a.caps().transport, "tcp");
}

#[test]
fn a_path_that_does_not_come_up_leaves_the_others() {
    // Binding to an address that this host does not have fails at once.
    let mut some = Loopback::new(&["127.0.0.1,,127.0.0.1", "192.0.2.77,,127.0.0.1"]);
    let started = Instant::now();
    let mut pair = some.connect(&LaneSpec::default(), 4096).unwrap();
    assert!(started.elapsed() < PATIENCE);
    let mut out = Vec::with_capacity(8);
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, 8)]).unwrap();
    pair.a.submit(&[Op::send(2, pair.id_a, 0, 8)]).unwrap();
    let begin = Instant::now();
    while out.len() < 2 && begin.elapsed() < PATIENCE {
        pair.a.poll(&mut out, Wait::No).unwrap();
        pair.b.poll(&mut out, Wait::AtMost(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(out.len(), 2);
    let stats = pair.a.close().unwrap();
    assert_eq!(stats.counters["path1_deaths"], 1);
}

#[test]
fn no_path_at_all_is_an_error_in_words() {
    let mut none = Loopback::new(&["192.0.2.77,,127.0.0.1", "192.0.2.78,,127.0.0.1"]);
    let error = none.connect(&LaneSpec::default(), 4096).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("192.0.2.7"), "{error}");
}

const SIZE: u32 = 20_000;
const SLOTS: u64 = 16;

/// What message `n` consists of.
fn payload(n: u64) -> Vec<u8> {
    (0..SIZE).map(|i| (n.wrapping_mul(31).wrapping_add(u64::from(i) * 7) >> 3) as u8).collect()
}

/// A pair over two relays.
fn relayed(spec: &LaneSpec, region_bytes: u64) -> (Pair, [Relay; 2]) {
    let mut base = Loopback::new(&["127.0.0.1,,127.0.0.1"]);
    let relays = [Relay::to(base.address), Relay::to(base.address)];
    let through = |relay: &Relay| PathSpec { remote: Some(relay.address), ..PathSpec::default() };
    base.paths = relays.iter().map(through).collect();
    let pair = base.connect(spec, region_bytes).unwrap();
    // The port is needed for as long as paths may come back.
    std::mem::forget(base);
    (pair, relays)
}

/// Sends numbered messages over two paths for `ms` milliseconds while `fault`, told the time, plays with them;
/// every one must arrive once, whole and in order.
fn transfer(ms: u64, fault: impl Fn(u64, &[Relay; 2])) -> (LaneStats, LaneStats) {
    transfer_by(Share::Weighted, ms, fault)
}

/// The same, with the work shared out like this.
fn transfer_by(share: Share, ms: u64, fault: impl Fn(u64, &[Relay; 2])) -> (LaneStats, LaneStats) {
    let mut spec = LaneSpec { depth: SLOTS as u32, message_bytes_max: SIZE, ..LaneSpec::default() };
    spec.options.set(&SHARE, share);
    let (pair, relays) = relayed(&spec, u64::from(SIZE) * SLOTS);
    let Pair { mut a, mut b, region_a, region_b, id_a, id_b } = pair;
    let offset = |n: u64| n % SLOTS * u64::from(SIZE);
    let total = Arc::new(AtomicU64::new(u64::MAX));
    let until = total.clone();
    let receiving = std::thread::spawn(move || {
        let (mut posted, mut arrived) = (0, 0);
        let mut done = Vec::with_capacity(64);
        let start = Instant::now();
        // The end shows as the other end's leave, after everything it sent has been confirmed.
        loop {
            assert!(start.elapsed() < Duration::from_secs(60), "posted {posted} arrived {arrived}");
            while posted - arrived < SLOTS {
                assert_eq!(b.submit(&[Op::recv(posted, id_b, offset(posted), SIZE)]).unwrap(), 1);
                posted += 1;
            }
            done.clear();
            if let Err(error) = b.poll(&mut done, Wait::AtMost(Duration::from_millis(50))) {
                assert_eq!(arrived, until.load(Ordering::Relaxed), "{error}");
                break;
            }
            for one in &done {
                assert_eq!((one.tag, one.len), (arrived, SIZE));
                let mut bytes = vec![0; SIZE as usize];
                region_b.copy_out(offset(arrived), &mut bytes).unwrap();
                assert!(bytes == payload(arrived), "message {arrived} was changed");
                arrived += 1;
            }
        }
        b.close().unwrap()
    });
    let (mut sent, mut confirmed) = (0, 0);
    let mut done = Vec::with_capacity(64);
    let start = Instant::now();
    let over = || start.elapsed() > Duration::from_millis(ms);
    while !over() || confirmed < sent {
        assert!(start.elapsed() < Duration::from_secs(60), "sent {sent} confirmed {confirmed}");
        while !over() && sent - confirmed < SLOTS {
            region_a.copy_in(offset(sent), &payload(sent)).unwrap();
            assert_eq!(a.submit(&[Op::send(sent, id_a, offset(sent), SIZE)]).unwrap(), 1);
            sent += 1;
        }
        fault(start.elapsed().as_millis() as u64, &relays);
        done.clear();
        a.poll(&mut done, Wait::AtMost(Duration::from_millis(20))).unwrap();
        for one in &done {
            assert_eq!((one.tag, one.verb), (confirmed, Verb::Send));
            assert_eq!(one.status, CompletionStatus::Ok);
            confirmed += 1;
        }
    }
    total.store(sent, Ordering::Relaxed);
    let stats = a.close().unwrap();
    let other = receiving.join().unwrap();
    // What the halves count is what was seen from outside.
    let bytes = sent * u64::from(SIZE);
    assert_eq!((stats.counters["accepted_bytes"], stats.counters["confirmed_bytes"]), (bytes, bytes));
    assert_eq!((other.counters["arrived_bytes"], other.counters["doubled_bytes"]), (bytes, 0));
    assert_eq!(other.counters["discarded_bytes"], other.counters["duplicates_discarded"] * u64::from(SIZE));
    (stats, other)
}

#[test]
fn both_paths_carry() {
    let (a, b) = transfer(500, |_, _| {});
    let all = a.counters["path0_sent_bytes"] + a.counters["path1_sent_bytes"];
    for counter in ["path0_sent_bytes", "path1_sent_bytes"] {
        assert!(a.counters[counter] > all / 10, "{counter} {:?}", a.counters);
    }
    assert_eq!(a.counters["replayed_messages"], 0);
    assert_eq!(b.counters["duplicates_discarded"], 0);
}

#[test]
fn a_cut_path_loses_and_doubles_nothing() {
    let (a, b) = transfer(600, |ms, relays| {
        if ms > 200 {
            relays[1].set(CUT);
        }
    });
    assert!(a.counters["path1_deaths"] + b.counters["path1_deaths"] >= 1, "{:?}", a.counters);
    assert_eq!(a.counters["path0_deaths"], 0);
}

#[test]
fn a_silent_path_is_noticed_within_a_second() {
    let (a, _) = transfer(3_000, |ms, relays| {
        if ms > 200 {
            relays[0].set(FREEZE);
        }
    });
    assert_eq!(a.counters["path1_deaths"], 0, "{:?}", a.counters);
    assert!(a.counters["path0_deaths"] >= 1, "{:?}", a.counters);
    assert!(a.counters["replayed_messages"] >= 1, "{:?}", a.counters);
    assert!(a.counters["gap_longest_ns"] < 1_000_000_000, "{:?}", a.counters);
}

#[test]
fn a_path_comes_back_and_carries_again() {
    let (a, _) =
        transfer(2_500, |ms, relays| relays[1].set(if (200..700).contains(&ms) { CUT } else { PASS }));
    assert!(a.counters["rejoined"] >= 1, "{:?}", a.counters);
    assert!(a.counters.contains_key("path1_carried_again_at_tick_ns"), "{:?}", a.counters);
}

#[test]
fn in_order_one_path_carries_alone_the_next_one_while_it_is_dead_and_the_first_again() {
    let (a, _) = transfer_by(Share::Ordered, 400, |_, _| {});
    assert!(a.counters["path0_sent_bytes"] > 0 && a.counters["path1_sent_bytes"] == 0, "{:?}", a.counters);
    let (a, _) = transfer_by(Share::Ordered, 3_000, |ms, relays| {
        relays[0].set(if (200..900).contains(&ms) { CUT } else { PASS });
    });
    assert!(a.counters["path0_deaths"] >= 1 && a.counters["path1_deaths"] == 0, "{:?}", a.counters);
    assert!(a.counters["path1_sent_bytes"] > 0, "{:?}", a.counters);
    assert!(a.counters.contains_key("path0_carried_again_at_tick_ns"), "{:?}", a.counters);
    assert!(a.chosen["share"].contains("in their order"), "{:?}", a.chosen);
}

#[test]
fn paths_that_flap_by_turns_lose_and_double_nothing() {
    let (a, b) = transfer(6_000, |ms, relays| {
        let relay = &relays[(ms / 1_500 % 2) as usize];
        relay.set(if (100..300).contains(&(ms % 1_500)) { CUT } else { PASS });
    });
    let deaths = |stats: &LaneStats| stats.counters["path0_deaths"] + stats.counters["path1_deaths"];
    assert!(deaths(&a) >= 2, "{:?} {:?}", a.counters, b.counters);
}

#[test]
fn the_last_path_down_ends_the_lane_in_words() {
    let (mut pair, relays) = relayed(&LaneSpec::default(), 4096);
    pair.a.submit(&[Op::recv(1, pair.id_a, 0, 8)]).unwrap();
    relays.iter().for_each(|relay| relay.set(CUT));
    let start = Instant::now();
    let mut out = Vec::with_capacity(4);
    let error = loop {
        assert!(start.elapsed() < Duration::from_secs(2), "it must be noticed");
        if let Err(error) = pair.a.poll(&mut out, Wait::AtMost(Duration::from_millis(50))) {
            break error.to_string();
        }
    };
    assert!(error.contains("all are lost"), "{error}");
}
