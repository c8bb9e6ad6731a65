//! The lane contract over a simulated wire in virtual time, with many credits and with few; and what a lane does by which
//! means.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pathproof_api::contract::{self, Connect, Pair};
use pathproof_api::{
    CompletionStatus, LaneSpec, Op, PreparedWire, RegionId, Role, SendReports, Transport as _,
    TransportError, Verb, Wait, WireSpec, Wires,
};
use pathproof_sim::SimWires;
use pathproof_smbd::lane::transport::caps;
use pathproof_smbd::{LANE_SETTINGS, Settings, SmbdTransport};

use support::DELAY_NS;
use support::lanes::Simulated;

fn with_credits(receive_credits: u16) -> Settings {
    Settings { receive_credits, ..Settings::default() }
}

#[test]
fn the_lane_contract_holds_with_many_credits_and_with_few() {
    for credits in [255, 10, 4, 3, 2, 1] {
        contract::check(&mut Simulated::with(with_credits(credits)), &LaneSpec::default())
            .unwrap_or_else(|broken| panic!("{credits} credits: {broken}"));
    }
}

#[test]
fn the_lane_contract_holds_in_fragments_of_every_size() {
    for send_bytes in [128, 512, 8136] {
        let settings = Settings { send_bytes, receive_bytes: 8192, ..Settings::default() };
        contract::check(&mut Simulated::with(settings), &LaneSpec::default())
            .unwrap_or_else(|broken| panic!("fragments of {send_bytes}: {broken}"));
    }
}

/// Drives both ends until each has as many completions as were asked for.
fn run(pair: &mut Pair, ops_a: &[Op], ops_b: &[Op]) -> [Vec<pathproof_api::Completion>; 2] {
    let mut done = [Vec::with_capacity(64), Vec::with_capacity(64)];
    assert_eq!(pair.b.submit(ops_b).unwrap(), ops_b.len());
    assert_eq!(pair.a.submit(ops_a).unwrap(), ops_a.len());
    for _ in 0..10_000 {
        pair.a.poll(&mut done[0], Wait::AtMost(Duration::from_micros(10))).unwrap();
        pair.b.poll(&mut done[1], Wait::AtMost(Duration::from_micros(10))).unwrap();
        if done[0].len() >= ops_a.len() && done[1].len() >= ops_b.len() {
            return done;
        }
    }
    panic!("stuck: {done:?}");
}

/// Wires that note which marks they are asked for.
struct Noted {
    wires: SimWires,
    asked: Mutex<Vec<Option<u8>>>,
}

impl Wires for Noted {
    fn prepare_wire(&self, spec: &WireSpec) -> Result<Box<dyn PreparedWire>, TransportError> {
        self.asked.lock().unwrap().push(spec.dscp);
        self.wires.prepare_wire(spec)
    }
}

#[test]
fn the_mark_of_a_lane_is_that_of_its_wire_at_both_ends() {
    let wires = SimWires::new(DELAY_NS);
    let noted = Arc::new(Noted { wires: wires.clone(), asked: Mutex::default() });
    let transport = SmbdTransport::new(noted.clone(), Arc::new(wires), || Ok(caps(16)));
    for (role, dscp) in [(Role::Dial, None), (Role::Dial, Some(26)), (Role::Accept, Some(10))] {
        let marked = LaneSpec { dscp, ..LaneSpec::default() };
        assert!(transport.prepare(role, &marked).is_ok(), "{role:?}, {dscp:?}");
    }
    assert_eq!(*noted.asked.lock().unwrap(), [None, Some(26), Some(10)]);
}

#[test]
fn small_messages_are_sent_and_large_ones_fetched() {
    let mut pair = Simulated::with(Settings::default()).connect(&LaneSpec::default(), 1 << 20).unwrap();
    let sizes = [0, 1, 4096, 4097, 65_536];
    let id = RegionId(0);
    let sends: Vec<Op> =
        sizes.iter().enumerate().map(|(at, len)| Op::send(at as u64, id, 70_000 * at as u64, *len)).collect();
    let recvs: Vec<Op> = (0..5).map(|at| Op::recv(at, id, 70_000 * at, 65_536)).collect();
    let [_, came] = run(&mut pair, &sends, &recvs);
    assert_eq!(came.iter().map(|done| done.len).collect::<Vec<_>>(), sizes);
    let stats = pair.a.close().unwrap();
    assert_eq!((stats.counters["smbd_messages_sent"], stats.counters["smbd_messages_offered"]), (3, 2));
    assert_eq!(stats.last.bytes_sent, 4097 + 4097 + 65_536);
    // What was fetched did not go by the lane's messages.
    assert!(stats.counters["smbd_payload_sent_bytes"] < 6000, "{stats:?}");
}

#[test]
fn by_a_lanes_own_settings_the_largest_message_that_is_sent_is_one_fragment() {
    let fragments = |settings| {
        let mut pair = Simulated::with(settings).connect(&LaneSpec::default(), 65_536).unwrap();
        let sends: Vec<Op> = (0..8).map(|at| Op::send(at, RegionId(0), 0, 4096)).collect();
        let recvs: Vec<Op> = (0..8).map(|at| Op::recv(at, RegionId(0), 4096 * at, 4096)).collect();
        run(&mut pair, &sends, &recvs);
        pair.a.close().unwrap().counters["smbd_fragments_sent"]
    };
    assert_eq!((fragments(LANE_SETTINGS), fragments(Settings::WINDOWS)), (8, 32));
}

#[test]
fn reads_fetch_and_what_is_not_open_is_refused_before_it_leaves() {
    let mut pair = Simulated::with(Settings::default()).connect(&LaneSpec::default(), 8192).unwrap();
    pair.region_b.fill(1000, 500, 0x77).unwrap();
    let [read, _] = run(&mut pair, &[Op::read(1, RegionId(0), 0, 500, 1000)], &[]);
    assert_eq!((read[0].status, read[0].len), (CompletionStatus::Ok, 500));
    let mut bytes = [0; 500];
    pair.region_a.copy_out(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0x77));
    for wrong in [
        Op::write(1, RegionId(0), 0, 4096, 8000),
        Op::write(1, RegionId(0), 8000, 4096, 0),
        Op::send(1, RegionId(9), 0, 1),
        Op { verb: Verb::WriteImmediate, ..Op::write(1, RegionId(0), 0, 1, 0) },
    ] {
        assert!(pair.a.submit(&[wrong]).is_err(), "{wrong:?}");
    }
}

/// A stream of messages for which receives come late costs the sender a wait and nobody a byte.
#[test]
fn a_message_waits_for_its_receive() {
    let mut pair = Simulated::with(with_credits(4)).connect(&LaneSpec::default(), 65_536).unwrap();
    let sends: Vec<Op> = (0..8).map(|at| Op::send(at, RegionId(0), 0, 4000)).collect();
    assert_eq!(pair.a.submit(&sends).unwrap(), 8);
    let mut done = Vec::with_capacity(64);
    for _ in 0..1000 {
        for lane in [&mut pair.a, &mut pair.b] {
            lane.poll(&mut done, Wait::AtMost(Duration::from_micros(10))).unwrap();
        }
    }
    assert!(done.is_empty(), "nothing is sent where no receive is: {done:?}");
    let recvs: Vec<Op> = (0..8).map(|at| Op::recv(100 + at, RegionId(0), 4096 * at, 4096)).collect();
    let [_, came] = run(&mut pair, &[], &recvs);
    assert_eq!(came.len(), 8);
}

/// A pair of which `a` knows of receives that `b` has posted.
fn pair_with_receives(made: &mut Simulated, send_reports: SendReports) -> Pair {
    let spec = LaneSpec { depth: 64, send_reports, ..LaneSpec::default() };
    let mut pair = made.connect(&spec, 1 << 20).unwrap();
    let receives: Vec<Op> = (0..4).map(|at| Op::recv(at, RegionId(0), 4096, 64)).collect();
    assert_eq!(pair.b.submit(&receives).unwrap(), 4);
    let mut none = Vec::with_capacity(8);
    for _ in 0..2000 {
        pair.a.poll(&mut none, Wait::AtMost(Duration::from_micros(10))).unwrap();
        pair.b.poll(&mut none, Wait::AtMost(Duration::from_micros(10))).unwrap();
    }
    assert!(none.is_empty(), "{none:?}");
    pair
}

#[test]
fn who_waits_for_an_answer_is_not_woken_by_the_end_of_a_send() {
    const LONG: Duration = Duration::from_millis(5);
    let waited = |send_reports| {
        let mut made = Simulated::with(LANE_SETTINGS);
        let mut pair = pair_with_receives(&mut made, send_reports);
        assert_eq!(pair.a.submit(&[Op::send(7, RegionId(0), 0, 64)]).unwrap(), 1);
        let (begin, mut done) = (made.now(), Vec::with_capacity(8));
        let count = pair.a.poll(&mut done, Wait::AtMost(LONG)).unwrap();
        (made.now().since(begin), count)
    };
    let (prompt, told) = waited(SendReports::Prompt);
    assert!(prompt < LONG && told == 1, "{told} after {prompt:?}");
    let (lazy, told) = waited(SendReports::Lazy);
    assert!(lazy >= LONG && told == 1, "{lazy:?}");
    let (late, told) = waited(SendReports::Late);
    assert!(late >= LONG && told == 0, "a quarter of 64 is told together: {late:?}");
}

#[test]
fn questions_and_answers_go_on_though_sends_are_told_late_and_the_end_tells_of_all() {
    // A quarter of the second is more than there are places for messages.
    for depth in [64, 1024] {
        ask_and_answer(depth);
    }
}

fn ask_and_answer(depth: u32) {
    const COUNT: u64 = 300;
    let id = RegionId(0);
    let mut made = Simulated::with(LANE_SETTINGS);
    let spec = LaneSpec { depth, send_reports: SendReports::Late, ..LaneSpec::default() };
    let mut pair = made.connect(&spec, 1 << 20).unwrap();
    let (mut from_a, mut from_b) = (Vec::with_capacity(400), Vec::with_capacity(400));
    let received = |done: &[pathproof_api::Completion]| {
        done.iter().filter(|done| done.verb == Verb::Recv).count() as u64
    };
    let step = Wait::AtMost(Duration::from_micros(10));
    for at in 0..COUNT {
        from_a.clear();
        from_b.clear();
        assert_eq!(pair.b.submit(&[Op::recv(at, id, 4096, 64)]).unwrap(), 1);
        assert_eq!(pair.a.submit(&[Op::recv(at, id, 4096, 64), Op::send(at, id, 0, 64)]).unwrap(), 2);
        let mut turns = 0;
        while received(&from_b) == 0 {
            pair.a.poll(&mut from_a, step).unwrap();
            pair.b.poll(&mut from_b, step).unwrap();
            turns += 1;
            assert!(turns < 1000, "question {at} does not come at depth {depth}");
        }
        assert_eq!(pair.b.submit(&[Op::send(at, id, 0, 64)]).unwrap(), 1);
        while received(&from_a) == 0 {
            pair.b.poll(&mut from_b, step).unwrap();
            pair.a.poll(&mut from_a, step).unwrap();
            turns += 1;
            assert!(turns < 1000, "answer {at} does not come at depth {depth}");
        }
    }
    let begin = made.now();
    let stats = pair.a.close().unwrap();
    assert_eq!(stats.counters["lane_sent_bytes"], COUNT * 64, "those that were not told as well");
    assert!(made.now().since(begin) < Duration::from_secs(1), "nothing is waited for in vain");
}
