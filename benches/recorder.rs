//! What it costs to measure: one operation's two clock reads and everything recorded of it.
//!
//! `cargo bench --bench recorder`. Fails when the cost exceeds [`BOUND_NS`], the bound that the documentation
//! promises; a machine without an invariant time stamp counter cannot keep it.

use std::hint::black_box;

use pathproof_api::{Clock, Tick};
use pathproof_engine::record::{LaneRecorder, Window};
use pathproof_sys::clock::RealClock;

/// Most that recording one operation may cost, in ns.
const BOUND_NS: f64 = 60.0;

fn main() {
    divan::main();
    check();
}

fn recorder() -> (RealClock, LaneRecorder) {
    let clock = RealClock::new();
    let window = Window { start: clock.now(), end: Tick(u64::MAX / 2) };
    (clock, LaneRecorder::new(window))
}

/// What a closed-loop round trip costs: start, end, latency, count, bytes.
fn operation(clock: &RealClock, recorder: &mut LaneRecorder) {
    let started = clock.now();
    let ended = clock.now();
    recorder.service_latency(started, ended);
    recorder.message(ended);
    recorder.received(ended, 64);
}

#[divan::bench]
fn clock_read(bencher: divan::Bencher<'_, '_>) {
    let clock = RealClock::new();
    bencher.bench_local(|| clock.now());
}

#[divan::bench]
fn closed_loop_operation(bencher: divan::Bencher<'_, '_>) {
    let (clock, mut recorder) = recorder();
    bencher.bench_local(move || operation(&clock, &mut recorder));
}

#[divan::bench]
fn open_loop_operation(bencher: divan::Bencher<'_, '_>) {
    let (clock, mut recorder) = recorder();
    bencher.bench_local(move || {
        let started = clock.now();
        let ended = clock.now();
        recorder.latency(started, started, ended);
        recorder.message(ended);
        recorder.received(ended, 64);
    });
}

/// The median over batches that are short against a scheduler's time slice, so that a busy machine's pauses do not
/// count.
#[expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
fn check() {
    const OPERATIONS: u32 = 1_000;
    let (clock, mut recorder) = recorder();
    let mut batches: Vec<f64> = (0..2001)
        .map(|_| {
            let start = std::time::Instant::now();
            (0..OPERATIONS).for_each(|_| operation(black_box(&clock), black_box(&mut recorder)));
            start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    let median = batches[batches.len() / 2];
    println!("recorder: {median:.1} ns for one operation with both clock reads (bound {BOUND_NS} ns)");
    assert!(median <= BOUND_NS, "recording costs {median:.1} ns for one operation, more than {BOUND_NS} ns");
}
