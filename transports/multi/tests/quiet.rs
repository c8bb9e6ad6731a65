//! Between connect and close a stripe whose paths live allocates nothing.

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod support;

use std::time::{Duration, Instant};

use pathproof_api::contract::Connect;
use pathproof_api::{Completion, LaneSample, LaneSpec, Op, Verb, Wait, WaitMode};
use pathproof_multi::{SHARE, Share};
use support::{Loopback, PATIENCE};

/// Streams `count` messages from a to b over two paths and sends one back after each, and returns the allocations made.
fn allocations(spec: &LaneSpec, bytes: u32, count: u64) -> u64 {
    let mut two = Loopback::new(&["127.0.0.1,,127.0.0.1", "127.0.0.2,,127.0.0.2"]);
    let mut pair = two.connect(spec, 1 << 20).unwrap();
    let (id_a, id_b) = (pair.id_a, pair.id_b);
    let (mut out_a, mut out_b): (Vec<Completion>, Vec<Completion>) =
        (Vec::with_capacity(16), Vec::with_capacity(16));
    // What was sent is complete when the other end has it, whenever that shows.
    let received = |out: &[Completion]| out.iter().filter(|one| one.verb == Verb::Recv).count() as u64;
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
                arrived += received(&out_b);
            }
            pair.b.submit(&[Op::send(i, id_b, 65_536, 8)]).unwrap();
            while answered <= i && start.elapsed() < PATIENCE {
                out_a.clear();
                out_b.clear();
                pair.b.poll(&mut out_b, Wait::No).unwrap();
                pair.a.poll(&mut out_a, Wait::AtMost(Duration::from_millis(1))).unwrap();
                answered += received(&out_a);
            }
            pair.a.sample(&mut sample);
        }
    });
    assert_eq!((arrived, answered), (count, count), "every message must have made it");
    counted.count_total
}

#[test]
fn stripes_allocate_nothing() {
    for share in [Share::Fewest, Share::Weighted, Share::Ordered] {
        let mut spec = LaneSpec::default();
        spec.options.set(&SHARE, share);
        assert_eq!(allocations(&spec, 65_536, 200), 0, "{share:?}");
    }
}

#[test]
fn spinning_stripes_allocate_nothing() {
    assert_eq!(allocations(&LaneSpec { wait_mode: WaitMode::Spin, ..LaneSpec::default() }, 64, 200), 0);
}
