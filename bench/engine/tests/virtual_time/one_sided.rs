//! One end writes into the memory of the other, or reads it: what each counts, and what verification finds.

use pathproof_api::{Completion, CompletionStatus, Op};
use pathproof_engine::workload::{
    CONTROL_BYTES, Next, OneSided, OneSidedMemory, Target, WritePing, WritePong, WritePongMemory,
    fill_for_reads,
};

use super::*;

const SEED: u64 = 11;
/// What memory holds that nobody may write to.
const FILL: u8 = 0x5A;
/// The last words of the region, behind all messages.
const CONTROL: u64 = 128 * SLOT - 128;

/// Where things lie at an end: as the steps of the program lay them out.
fn memory(ends: &Ends, region: usize) -> OneSidedMemory {
    OneSidedMemory {
        region: ends.regions[region].clone(),
        slots: slots(ends, 0),
        control_out: CONTROL,
        control_in: CONTROL + 128 - u64::from(CONTROL_BYTES),
        untouched: (64 * SLOT, CONTROL - 64 * SLOT, FILL),
    }
}

/// The drivers of a stream by `verb` until `stop`: the one that moves the bytes first. `regions` stand in the order accept, dial.
fn stream(ends: &Ends, verb: Verb, stop: Tick, seed: Option<u64>, window: Window) -> [SimDriver; 2] {
    for region in &ends.regions {
        region.fill(0, 128 * SLOT, FILL).unwrap();
    }
    fill_for_reads(&ends.regions[0], &slots(ends, 0), SLOT as u32, SEED);
    let (near, far) = (memory(ends, 1), memory(ends, 0));
    [
        driver(ends, OneSided::new(verb, near, SLOT as u32, stop, seed), window, 32),
        driver(ends, Target::new(verb, far, SLOT as u32, Tick(u64::MAX), seed), window, 32),
    ]
}

/// The target hears the last word and answers it after the other end has what it wants.
fn run_out(ends: &mut Ends, drivers: &mut [SimDriver; 2]) -> Result<(), RunError> {
    run(ends, drivers)?;
    for _ in 0..10_000 {
        if drivers[1].turn(&mut *ends.lanes[1], Duration::ZERO)? == Turn::Done {
            return Ok(());
        }
        ends.network.advance(Duration::from_micros(20));
    }
    panic!("the target does not hear that it is over");
}

#[test]
fn writes_go_as_fast_as_the_path_and_the_target_takes_no_part() {
    let rate = 100_000_000;
    let mut ends = ends(SimPath { rate_bits_per_s: Some(rate), ..path(MS / 2) }, 34);
    let window = Window::after(Tick(0), 200 * MS, S);
    let mut drivers = stream(&ends, Verb::Write, Tick(1300 * MS), None, window);
    run_out(&mut ends, &mut drivers).unwrap();
    let [writer, target] = drivers.map(Driver::into_recorder);
    let bits = writer.sent_bytes() as f64 * 8.0;
    assert!((bits / rate as f64 - 1.0).abs() < 0.02, "{bits} bits in a second");
    assert_eq!(writer.received_bytes(), 0);
    assert_eq!((target.messages(), target.received_bytes()), (0, 0), "nobody told it of a message");
}

#[test]
fn verified_writes_are_counted_alike_at_both_ends() {
    let mut ends = ends(path(MS / 10), 34);
    let window = Window::after(Tick(0), 0, S);
    let mut drivers = stream(&ends, Verb::Write, Tick(100 * MS), Some(SEED), window);
    run_out(&mut ends, &mut drivers).unwrap();
    let [writer, target] = drivers.map(Driver::into_recorder);
    // A round is the slots of the target, which are written again only after it has looked.
    assert!(writer.messages() > 3 * 64, "{} messages", writer.messages());
    assert_eq!(writer.messages(), target.messages());
    assert_eq!(writer.sent_bytes(), target.received_bytes());
    assert_eq!(target.received_bytes(), target.messages() * SLOT);
}

#[test]
fn reads_go_as_fast_as_the_path_and_every_byte_is_verified() {
    let rate = 100_000_000;
    let mut ends = ends(SimPath { rate_bits_per_s: Some(rate), ..path(MS / 2) }, 34);
    let window = Window::after(Tick(0), 200 * MS, S);
    let mut drivers = stream(&ends, Verb::Read, Tick(1300 * MS), Some(SEED), window);
    run_out(&mut ends, &mut drivers).unwrap();
    let bits = drivers[0].recorder().received_bytes() as f64 * 8.0;
    assert!((bits / rate as f64 - 1.0).abs() < 0.02, "{bits} bits in a second");
    assert_eq!((drivers[0].recorder().sent_bytes(), drivers[1].recorder().received_bytes()), (0, 0));
}

#[test]
fn a_byte_that_flips_on_the_way_is_found_by_either_verb() {
    for verb in [Verb::Write, Verb::Read] {
        let mut ends = ends(SimPath { corruption_ppm: 20_000, ..path(10_000) }, 34);
        let mut drivers = stream(&ends, verb, Tick(S), Some(SEED), Window::after(Tick(0), 0, S));
        let found = run_out(&mut ends, &mut drivers);
        assert!(matches!(found, Err(RunError::Corrupt { .. })), "{verb:?}: {found:?}");
    }
}

#[test]
fn a_byte_outside_the_messages_is_found_at_the_end() {
    for (offset, harmless) in [(64 * SLOT, false), (CONTROL - 1, false), (CONTROL + 64, true)] {
        let mut ends = ends(path(10_000), 34);
        let window = Window::after(Tick(0), 0, S);
        let mut drivers = stream(&ends, Verb::Write, Tick(20 * MS), Some(SEED), window);
        ends.regions[0].copy_in(offset, &[FILL ^ 1]).unwrap();
        let found = run_out(&mut ends, &mut drivers);
        assert_eq!(found.is_ok(), harmless, "at {offset}: {found:?}");
    }
}

#[test]
fn an_end_that_lies_about_its_count_is_refused_at_once() {
    let ends = ends(path(10_000), 34);
    let mut recorder = LaneRecorder::new(Window::after(Tick(0), 0, S));
    let told = |target: &mut Target, count: u64, recorder: &mut LaneRecorder| {
        ends.regions[0].store_word(memory(&ends, 0).control_in, count).unwrap();
        let (verb, status) = (Verb::Recv, CompletionStatus::Ok);
        let heard = Completion { tag: u64::MAX, verb, len: CONTROL_BYTES, immediate: None, status };
        target.complete(Tick(1), &heard, recorder)
    };
    // More than the slots can hold would be a long loop over bytes that were never sent.
    for count in [65, u64::MAX >> 1] {
        let mut target = Target::new(Verb::Write, memory(&ends, 0), SLOT as u32, Tick(u64::MAX), Some(SEED));
        assert!(matches!(told(&mut target, count, &mut recorder), Err(RunError::Corrupt { .. })));
    }
    // What was said once is not taken back.
    let mut target = Target::new(Verb::Write, memory(&ends, 0), SLOT as u32, Tick(u64::MAX), Some(SEED));
    fill_for_reads(&ends.regions[0], &slots(&ends, 0), SLOT as u32, SEED);
    told(&mut target, 2, &mut recorder).unwrap();
    assert_eq!(recorder.messages(), 2);
    assert!(told(&mut target, 1, &mut recorder).is_err());
}

#[test]
fn a_target_whose_other_end_says_nothing_leaves_when_its_time_is_up() {
    let ends = ends(path(10_000), 34);
    let mut target = Target::new(Verb::Write, memory(&ends, 0), SLOT as u32, Tick(MS), None);
    let mut out: Vec<Op> = vec![];
    assert_eq!(target.next(Tick(0), 4, &mut out), Next::Await);
    assert_eq!(out.len(), 1, "one receive for the word at the end");
    assert_eq!(target.next(Tick(MS - 1), 4, &mut out), Next::Await);
    assert_eq!(target.next(Tick(MS), 4, &mut out), Next::Leave);
    assert_eq!(out.len(), 1);
}

#[test]
fn a_round_trip_by_writes_is_twice_the_delay() {
    for size in [1u32, 64, SLOT as u32] {
        let mut ends = ends(path(MS), 8);
        let window = Window::after(Tick(0), 100 * MS, S);
        let stop = Tick(1200 * MS);
        let memory = |region: usize| WritePongMemory {
            region: ends.regions[region].clone(),
            send: slots(&ends, 0),
            receive: slots(&ends, 1),
            size,
        };
        let mut drivers = [
            driver(&ends, WritePing::new(memory(1), stop), window, 4),
            driver(&ends, WritePong::new(memory(0), Tick(1300 * MS)), window, 4),
        ];
        run(&mut ends, &mut drivers).unwrap();
        let rtt = drivers[0].recorder().service().summary().unwrap();
        // Whoever looks at memory sees a message at the next look: `run` moves the time on by 20 us, at three looks a round trip.
        assert!((2 * MS..=2 * MS + 4 * 20_000).contains(&rtt.p50), "{size}: {rtt:?}");
        assert!((480..=501).contains(&rtt.count), "{size}: {rtt:?}");
        let [ping, pong] = [drivers[0].recorder(), drivers[1].recorder()];
        assert_eq!(ping.received_bytes(), ping.messages() * u64::from(size));
        assert!(pong.messages().abs_diff(ping.messages()) <= 1, "{size}: one may be at the window's edge");
        ends.network.advance(Duration::from_millis(200));
        // Its last write is confirmed first.
        let mut turned = (0..3).map(|_| drivers[1].turn(&mut *ends.lanes[1], Duration::ZERO).unwrap());
        assert!(turned.any(|turn| turn == Turn::Done), "it leaves when its own time is up");
    }
}
