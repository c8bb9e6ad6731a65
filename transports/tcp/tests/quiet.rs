//! Between connect and close a lane allocates nothing.

mod support;

use std::time::{Duration, Instant};

use pathproof_api::contract::Connect;
use pathproof_api::{Completion, Framing, LaneSample, LaneSpec, Op, RegionId, SendMode, Wait, WaitMode};
use support::{Loopback, PATIENCE};

/// Streams `count` messages from a to b and pings one back after each, and returns the allocations made.
fn allocations(spec: &LaneSpec, bytes: u32, count: u64) -> u64 {
    let mut pair = Loopback::on("127.0.0.1").connect(spec, 1 << 20).unwrap();
    let (id_a, id_b): (RegionId, RegionId) = (pair.id_a, pair.id_b);
    let (mut out_a, mut out_b): (Vec<Completion>, Vec<Completion>) =
        (Vec::with_capacity(16), Vec::with_capacity(16));
    let mut sample = LaneSample::default();
    let start = Instant::now();
    let (mut arrived, mut answered) = (0, 0);
    let counted = allocation_counter::measure(|| {
        for i in 0..count {
            pair.b.submit(&[Op::recv(i, id_b, 0, bytes)]).unwrap();
            pair.a.submit(&[Op::recv(i, id_a, 65_536, 8), Op::send(i, id_a, 0, bytes)]).unwrap();
            while arrived <= i && start.elapsed() < PATIENCE {
                out_a.clear();
                out_b.clear();
                pair.a.poll(&mut out_a, Wait::No).unwrap();
                pair.b.poll(&mut out_b, Wait::AtMost(Duration::from_micros(100))).unwrap();
                arrived += out_b.len() as u64;
            }
            pair.b.submit(&[Op::send(i, id_b, 65_536, 8)]).unwrap();
            while answered <= i && start.elapsed() < PATIENCE {
                out_a.clear();
                out_b.clear();
                pair.b.poll(&mut out_b, Wait::No).unwrap();
                pair.a.poll(&mut out_a, Wait::AtMost(Duration::from_millis(20))).unwrap();
                answered += out_a.iter().filter(|c| c.verb == pathproof_api::Verb::Recv).count() as u64;
            }
            pair.a.sample(&mut sample);
        }
    });
    assert_eq!((arrived, answered), (count, count), "every message must have made it");
    counted.count_total
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 100])));
    assert_eq!(counted.count_total, 1, "without this the tests below would prove nothing");
}

#[test]
fn raw_lanes_allocate_nothing() {
    assert_eq!(allocations(&LaneSpec::default(), 65_536, 200), 0);
}

#[test]
fn spinning_lanes_allocate_nothing() {
    assert_eq!(allocations(&LaneSpec { wait_mode: WaitMode::Spin, ..LaneSpec::default() }, 64, 200), 0);
}

#[test]
fn framed_lanes_allocate_nothing() {
    assert_eq!(allocations(&LaneSpec { framing: Framing::Framed, ..LaneSpec::default() }, 65_536, 200), 0);
}

#[test]
fn zero_copy_lanes_allocate_nothing() {
    assert_eq!(
        allocations(&LaneSpec { send_mode: SendMode::ZeroCopy, ..LaneSpec::default() }, 65_536, 200),
        0
    );
}
