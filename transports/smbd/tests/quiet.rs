//! After the connection nothing is allocated for a message, by lanes nor by pipes. The wire below is a simulation, whose own allocations are left out.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::contract::{Connect, Pair};
use pathproof_api::{
    Access, Completion, Established, Exposed, LaneSpec, LaneStats, Loan, LoanId, MessagePipe, Op,
    PreparedWire, Queued, Region, RegionId, Role, TransportError, Verb, Wait, Wire, WireDone, WireOp, Wires,
};
use pathproof_sim::SimWires;
use pathproof_smbd::{Connection, Settings, SmbdPipe};

use support::lanes::Simulated;
use support::{DELAY_NS, MOMENT, message, spec};

/// What is run is not counted.
fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let mut out = None;
    allocation_counter::opt_out(|| out = Some(run()));
    out.expect("it has run")
}

/// A wire that is not counted.
struct Quiet<T: ?Sized>(Box<T>);

fn quiet(wire: Box<dyn PreparedWire>) -> Box<dyn PreparedWire> {
    Box::new(Quiet(wire))
}

impl PreparedWire for Quiet<dyn PreparedWire> {
    fn listens_at(&self) -> Option<SocketAddr> {
        self.0.listens_at()
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.0.expose(region, access)
    }

    fn connect(
        self: Box<Self>,
        peer: Option<SocketAddr>,
        receives: &[WireOp],
        deadline: Duration,
    ) -> Result<Box<dyn Wire>, TransportError> {
        let Quiet(inner) = *self;
        let wire = inner.connect(peer, receives, deadline)?;
        Ok(Box::new(Quiet(wire)))
    }
}

impl Wire for Quiet<dyn Wire> {
    fn established(&self) -> &Established {
        self.0.established()
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        uncounted(|| self.0.expose(region, access))
    }

    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        uncounted(|| self.0.withdraw(id))
    }

    fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError> {
        uncounted(|| self.0.lend(region, access))
    }

    fn take_back(&mut self, id: LoanId, by_peer: bool) -> Result<(), TransportError> {
        uncounted(|| self.0.take_back(id, by_peer))
    }

    fn submit(&mut self, ops: &[WireOp]) -> Result<usize, TransportError> {
        uncounted(|| self.0.submit(ops))
    }

    fn poll(&mut self, out: &mut Vec<WireDone>, wait: Wait) -> Result<usize, TransportError> {
        let room = out.capacity();
        let polled = uncounted(|| self.0.poll(out, wait));
        assert_eq!(out.capacity(), room, "what is grown here would be counted by nobody");
        polled
    }

    fn close(self: Box<Self>) -> LaneStats {
        let Quiet(inner) = *self;
        inner.close()
    }
}

#[test]
fn the_counter_counts_and_what_is_left_out_is_not_counted() {
    let make = || drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(allocation_counter::measure(make).count_total, 1, "without this the rest would prove nothing");
    assert_eq!(allocation_counter::measure(|| uncounted(make)).count_total, 0);
}

const ID: RegionId = RegionId(0);
/// Where answers lie, beside what is streamed.
const ANSWER_AT: u64 = 200_000;

/// Two lanes, and what came of them.
struct Ends {
    pair: Pair,
    out: [Vec<Completion>; 2],
    /// Receives of each end that are done, and operations of its sending side.
    received: [u64; 2],
    sent: [u64; 2],
}

impl Ends {
    fn new(settings: Settings) -> Ends {
        let pair = Simulated::with(settings).over(quiet).connect(&LaneSpec::default(), 1 << 20).unwrap();
        Ends { pair, out: [Vec::with_capacity(16), Vec::with_capacity(16)], received: [0; 2], sent: [0; 2] }
    }

    fn turn(&mut self) {
        let [out_a, out_b] = &mut self.out;
        let lanes = [(&mut self.pair.a, out_a), (&mut self.pair.b, out_b)];
        for (at, (lane, out)) in lanes.into_iter().enumerate() {
            out.clear();
            lane.poll(out, Wait::AtMost(Duration::from_micros(10))).unwrap();
            let received = out.iter().filter(|done| done.verb == Verb::Recv).count() as u64;
            self.received[at] += received;
            self.sent[at] += out.len() as u64 - received;
        }
    }

    fn post(&mut self, end: usize, op: Op) {
        for _ in 0..10_000 {
            let lane = if end == 0 { &mut self.pair.a } else { &mut self.pair.b };
            if lane.submit(&[op]).unwrap() == 1 {
                return;
            }
            self.turn();
        }
        panic!("there is never room for another operation");
    }

    /// Turns until so many receives of an end, and operations of its sending side, are done.
    fn until(&mut self, end: usize, received: u64, sent: u64) {
        for _ in 0..10_000 {
            if self.received[end] >= received && self.sent[end] >= sent {
                return;
            }
            self.turn();
        }
        panic!("stuck at {} of {received} receives", self.received[end]);
    }
}

/// Allocations of `count` messages from one end to the other, each with an answer of eight bytes.
fn allocations(settings: Settings, bytes: u32, count: u64) -> u64 {
    let mut ends = Ends::new(settings);
    let counted = allocation_counter::measure(|| {
        for at in 0..count {
            ends.post(1, Op::recv(at, ID, 0, bytes));
            ends.post(0, Op::recv(at, ID, ANSWER_AT, 8));
            ends.post(0, Op::send(at, ID, 0, bytes));
            ends.until(1, at + 1, 0);
            ends.post(1, Op::send(at, ID, ANSWER_AT, 8));
            ends.until(0, at + 1, 0);
        }
    });
    counted.count_total
}

#[test]
fn lanes_allocate_nothing_for_messages_that_are_sent() {
    for bytes in [1, 100, 4096] {
        assert_eq!(allocations(Settings::default(), bytes, 300), 0, "{bytes} bytes");
    }
}

#[test]
fn lanes_allocate_nothing_for_messages_that_are_fetched() {
    assert_eq!(allocations(Settings::default(), 65_536, 300), 0);
}

#[test]
fn lanes_allocate_nothing_where_credits_are_few() {
    let few = Settings { receive_credits: 3, ..Settings::default() };
    assert_eq!(allocations(few, 4096, 100), 0);
}

#[test]
fn lanes_allocate_nothing_for_one_sided_verbs() {
    let mut ends = Ends::new(Settings::default());
    let counted = allocation_counter::measure(|| {
        for at in 0..300 {
            ends.post(0, Op::write(at, ID, 0, 65_536, 65_536));
            ends.post(0, Op::read(at, ID, 0, 4096, 65_536));
            ends.until(0, 0, 2 * (at + 1));
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// Both ends of a pipe, negotiated.
fn pipes() -> (SmbdPipe, SmbdPipe) {
    let (wires, settings) = (SimWires::new(DELAY_NS), Settings::default());
    let start = |role: Role| {
        let prepared = quiet(wires.prepare_wire(&spec(role, &settings)).unwrap());
        Connection::start(prepared, role, None, settings, Arc::new(wires.clone()), MOMENT, 0).unwrap()
    };
    let (mut a, mut b) = (start(Role::Dial), start(Role::Accept));
    while a.agreed().is_none() || b.agreed().is_none() {
        for end in [&mut a, &mut b] {
            end.turn(Wait::AtMost(Duration::from_micros(10))).unwrap();
        }
    }
    (SmbdPipe::new(a).unwrap(), SmbdPipe::new(b).unwrap())
}

/// A dialogue: each message is answered before the next leaves.
#[test]
fn pipes_allocate_nothing_for_a_message() {
    let (mut a, mut b) = pipes();
    let (asks, answers) = (message(100_000, 1), message(200, 2));
    // As long as the longest message: the pipe gives its own memory for it.
    let mut came = Vec::with_capacity(1 << 20);
    let mut pass = |from: &mut SmbdPipe, to: &mut SmbdPipe, bytes: &[u8]| {
        while from.send(&[bytes], None).unwrap() == Queued::Full {
            from.poll(&mut came, Wait::AtMost(Duration::from_micros(10))).unwrap();
        }
        for _ in 0..10_000 {
            if to.poll(&mut came, Wait::AtMost(Duration::from_micros(10))).unwrap().is_some() {
                assert!(came == bytes);
                return;
            }
            let none = from.poll(&mut came, Wait::AtMost(Duration::from_micros(10))).unwrap();
            assert!(none.is_none(), "nobody has sent that");
        }
        panic!("stuck");
    };
    let counted = allocation_counter::measure(|| {
        for _ in 0..50 {
            pass(&mut a, &mut b, &asks);
            pass(&mut b, &mut a, &answers);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
