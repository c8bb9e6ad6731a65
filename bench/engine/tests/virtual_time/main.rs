//! Whole workloads over the simulated transport: exact answers for known paths, in virtual time.

mod one_sided;

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{Access, Lane, LaneSpec, Offer, Pages, Region, RegionId, Role, Tick, Transport, Verb};
use pathproof_engine::drive::{Driver, NoMeter, RunError, Turn};
use pathproof_engine::record::{LaneRecorder, Window};
use pathproof_engine::workload::{
    Bucket, Echo, PingPong, Reply, Request, RequestPlan, Slots, StreamReceive, StreamSend, Workload,
};
use pathproof_sim::{SimClock, SimNetwork, SimPath, SimTransport};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const SLOT: u64 = 4096;

struct Ends {
    network: Arc<SimNetwork>,
    lanes: [Box<dyn Lane>; 2],
    regions: [Arc<Region>; 2],
    id: RegionId,
}

/// Two connected ends over `path`, `depth` operations each, two halves of 64 slots of memory each.
fn ends(path: SimPath, depth: u32) -> Ends {
    let network = SimNetwork::new(path, 7);
    let transport = SimTransport::new(network.clone());
    let spec = LaneSpec { depth, message_bytes_max: SLOT as u32, ..LaneSpec::default() };
    let region = || Arc::new(Region::new(128 * SLOT, Pages::Default).unwrap());
    let regions = [region(), region()];
    let mut prepared: Vec<_> =
        [Role::Accept, Role::Dial].iter().map(|role| transport.prepare(*role, &spec).unwrap()).collect();
    let mut id = RegionId(0);
    for (lane, region) in prepared.iter_mut().zip(&regions) {
        id = lane.attach(region, Access::RemoteReadWrite).unwrap();
    }
    let mut lanes =
        prepared.into_iter().map(|p| p.connect(&Offer::default(), Duration::from_secs(1)).unwrap());
    let (accept, dial) = (lanes.next().unwrap(), lanes.next().unwrap());
    drop(lanes);
    Ends { network, lanes: [dial, accept], regions, id }
}

fn slots(ends: &Ends, half: u64) -> Slots {
    Slots { region: ends.id, base: half * 64 * SLOT, stride: SLOT, slots: 64 }
}

type SimDriver = Driver<Box<dyn Workload>, SimClock, NoMeter>;

fn driver(ends: &Ends, workload: impl Workload + 'static, window: Window, depth: usize) -> SimDriver {
    Driver::new(Box::new(workload), ends.network.clock(), NoMeter, LaneRecorder::new(window), depth)
}

/// Turns both ends alternately until the active one (the first) is done.
fn run(ends: &mut Ends, drivers: &mut [SimDriver; 2]) -> Result<(), RunError> {
    for _ in 0..2_000_000u32 {
        let [a, b] = &mut ends.lanes;
        let first = drivers[0].turn(&mut **a, Duration::ZERO)?;
        let second = drivers[1].turn(&mut **b, Duration::ZERO)?;
        if first == Turn::Done {
            return Ok(());
        }
        if first != Turn::Worked && second != Turn::Worked {
            // Nobody can do anything now: let the network go on to its next event, or a paced sender wake.
            let wait = match first {
                Turn::Idle(Some(at)) => at.since(ends.network.now()),
                _ => Duration::from_micros(20),
            };
            ends.network.advance(wait.max(Duration::from_nanos(1)).min(Duration::from_micros(20)));
        }
    }
    panic!("the run does not end");
}

fn path(delay_ns: u64) -> SimPath {
    SimPath { delay_ns, ..SimPath::default() }
}

#[test]
fn a_round_trip_is_twice_the_delay() {
    let mut ends = ends(path(MS), 8);
    let window = Window::after(Tick(0), 100 * MS, S);
    let stop = Tick(1200 * MS);
    let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
    let mut drivers = [
        driver(&ends, PingPong::new(send, receive, 64, stop), window, 4),
        driver(&ends, Echo::new(send, receive, 64, Tick(u64::MAX)), window, 4),
    ];
    run(&mut ends, &mut drivers).unwrap();
    let rtt = drivers[0].recorder().service().summary().unwrap();
    assert!((rtt.p50 as f64 / (2.0 * MS as f64) - 1.0).abs() < 0.03, "{rtt:?}");
    assert!((480..=501).contains(&rtt.count), "{rtt:?}");
}

#[test]
fn goodput_is_the_rate_of_the_path_and_every_byte_is_verified() {
    let rate = 100_000_000;
    let mut ends = ends(SimPath { rate_bits_per_s: Some(rate), ..path(MS / 2) }, 32);
    let window = Window::after(Tick(0), 200 * MS, S);
    let stop = Tick(1300 * MS);
    let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
    let sender = StreamSend::new(Verb::Send, send, SLOT as u32, stop).verified(ends.regions[1].clone(), 9);
    let receiver =
        StreamReceive::new(receive, SLOT as u32, Tick(u64::MAX)).verified(ends.regions[0].clone(), 9);
    // `regions` stand in the order accept, dial: the dialling end sends.
    let mut drivers = [driver(&ends, sender, window, 32), driver(&ends, receiver, window, 32)];
    run(&mut ends, &mut drivers).unwrap();
    let bits = drivers[1].recorder().received_bytes() as f64 * 8.0;
    assert!((bits / rate as f64 - 1.0).abs() < 0.02, "{bits} bits in a second");
}

#[test]
fn a_flipped_byte_is_found() {
    let mut ends = ends(SimPath { corruption_ppm: 20_000, ..path(10_000) }, 8);
    let window = Window::after(Tick(0), 0, S);
    let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
    let sender = StreamSend::new(Verb::Send, send, SLOT as u32, Tick(S)).verified(ends.regions[1].clone(), 9);
    let receiver =
        StreamReceive::new(receive, SLOT as u32, Tick(u64::MAX)).verified(ends.regions[0].clone(), 9);
    let mut drivers = [driver(&ends, sender, window, 8), driver(&ends, receiver, window, 8)];
    assert!(matches!(run(&mut ends, &mut drivers), Err(RunError::Corrupt { .. })));
}

#[test]
fn a_paced_stream_sends_what_it_should_and_no_more() {
    let mut ends = ends(path(MS / 10), 8);
    let window = Window::after(Tick(0), 0, S);
    let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
    let sender = StreamSend::new(Verb::Send, send, SLOT as u32, Tick(S)).paced(Tick(0), 8_000_000);
    let receiver = StreamReceive::new(receive, SLOT as u32, Tick(u64::MAX));
    let mut drivers = [driver(&ends, sender, window, 8), driver(&ends, receiver, window, 8)];
    run(&mut ends, &mut drivers).unwrap();
    let sent = drivers[0].recorder().sent_bytes();
    assert!((995_000..=1_004_096).contains(&sent), "{sent} bytes at 8 Mbit/s in a second");
}

#[test]
fn a_capped_stream_keeps_its_rate_within_a_hundredth_and_forgets_what_a_stall_missed() {
    let rate = 4_000_000;
    let sent = |stalls: bool| {
        let mut ends = ends(path(MS / 10), 8);
        let window = Window::after(Tick(0), 0, S);
        let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
        let bucket = Bucket::new(Tick(0), rate, SLOT, 10 * MS);
        let sender = StreamSend::new(Verb::Send, send, SLOT as u32, Tick(S)).capped(bucket);
        let receiver = StreamReceive::new(receive, SLOT as u32, Tick(u64::MAX));
        let mut drivers = [driver(&ends, sender, window, 8), driver(&ends, receiver, window, 8)];
        if stalls {
            // Half a second in which the sending host does nothing.
            ends.network.advance(Duration::from_millis(500));
        }
        run(&mut ends, &mut drivers).unwrap();
        drivers[0].recorder().sent_bytes()
    };
    assert!(sent(false).abs_diff(rate) <= rate / 100, "{} of {rate}", sent(false));
    let (late, expected) = (sent(true), rate / 2 + rate / 100);
    assert!(late.abs_diff(expected) <= rate / 100, "half the time and one burst: {late} of {expected}");
}

/// Coordinated omission: the asking host stalls for 200 ms, in which 20 requests were due. The open loop charges the
/// stall to all of them, in the response time and not in the service time; the closed loop notices next to nothing,
/// which is why the step labels it.
#[test]
fn an_open_loop_charges_a_stall_to_every_request_it_delayed() {
    let slow_after_a_stall = |spacing_ns: Option<u64>| {
        let mut ends = ends(path(MS / 10), 66);
        let window = Window::after(Tick(0), 0, S);
        let plan = RequestPlan {
            request_bytes: 100,
            reply_bytes: 200,
            depth: if spacing_ns.is_some() { 32 } else { 1 },
            spacing_ns,
            start: Tick(0),
            stop: Tick(S),
        };
        let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
        let reply_plan = RequestPlan { stop: Tick(u64::MAX), ..plan };
        let mut drivers = [
            driver(&ends, Request::new(plan, send, receive), window, 66),
            driver(&ends, Reply::new(reply_plan, send, receive), window, 66),
        ];
        // Half the run, 200 ms in which the asking host does nothing at all, the rest.
        while ends.network.now() < Tick(S / 2) {
            let [a, b] = &mut ends.lanes;
            drivers[0].turn(&mut **a, Duration::ZERO).unwrap();
            drivers[1].turn(&mut **b, Duration::ZERO).unwrap();
            ends.network.advance(Duration::from_micros(20));
        }
        ends.network.advance(Duration::from_millis(200));
        run(&mut ends, &mut drivers).unwrap();
        let recorder = drivers[0].recorder();
        let slow = |h: &pathproof_engine::record::LatencyHistogram| {
            let share = 1.0
                - (1..1000).rev().find(|q| h.quantile(f64::from(*q) / 1000.0) < Some(10 * MS)).unwrap_or(0)
                    as f64
                    / 1000.0;
            (share * h.count() as f64).round() as u64
        };
        (slow(recorder.service()), slow(recorder.response()), recorder.service().count())
    };
    let (open_service, open_response, count) = slow_after_a_stall(Some(10 * MS));
    assert!((98..=100).contains(&count), "{count} requests at 100/s");
    assert!((18..=21).contains(&open_response), "{open_response} requests were late");
    assert!(open_service <= 1, "{open_service} requests were slow once sent");
    let (closed, ..) = slow_after_a_stall(None);
    assert!(closed <= 5, "the closed loop hides all but one: {closed}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let once = || {
        let mut ends = ends(SimPath { loss_ppm: 10_000, jitter_ns: 50_000, ..path(MS) }, 8);
        let window = Window::after(Tick(0), 0, S);
        let (send, receive) = (slots(&ends, 0), slots(&ends, 1));
        let mut drivers = [
            driver(&ends, PingPong::new(send, receive, 64, Tick(S)), window, 4),
            driver(&ends, Echo::new(send, receive, 64, Tick(u64::MAX)), window, 4),
        ];
        run(&mut ends, &mut drivers).unwrap();
        drivers[0].recorder().service().summary()
    };
    assert_eq!(once(), once());
}
