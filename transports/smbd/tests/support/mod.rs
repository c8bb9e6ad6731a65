//! Connections over a simulated wire, and a peer that sends raw bytes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod lanes;

use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, MessagePipe, Pages, Piece, Queued, Region, RegionId, Role, TransportError, Wait, Wire, WireDone,
    WireOp, WireSpec, WireVerb, Wires,
};
use pathproof_sim::SimWires;
use pathproof_smbd::{Connection, Places, Settings, SmbdPipe};

pub const DELAY_NS: u64 = 10_000;
pub const MOMENT: Duration = Duration::from_secs(1);

pub fn spec(role: Role, settings: &Settings) -> WireSpec {
    WireSpec {
        role,
        sends: Places::SENDS as u32,
        receives: u32::from(settings.receive_credits),
        ..WireSpec::default()
    }
}

pub fn connection(wires: &SimWires, role: Role, settings: Settings) -> Connection {
    let prepared = wires.prepare_wire(&spec(role, &settings)).unwrap();
    Connection::start(prepared, role, None, settings, Arc::new(wires.clone()), MOMENT, 0).unwrap()
}

/// Both ends, negotiated.
pub fn pipes(wires: &SimWires, dial: Settings, accept: Settings) -> (SmbdPipe, SmbdPipe) {
    let mut a = connection(wires, Role::Dial, dial);
    let mut b = connection(wires, Role::Accept, accept);
    for _ in 0..100 {
        b.turn(Wait::AtMost(Duration::from_micros(10))).unwrap();
        a.turn(Wait::AtMost(Duration::from_micros(10))).unwrap();
        if a.agreed().is_some() && b.agreed().is_some() {
            return (SmbdPipe::new(a).unwrap(), SmbdPipe::new(b).unwrap());
        }
    }
    panic!("not negotiated");
}

/// Whole messages, in the order in which they came.
pub type Messages = Vec<Vec<u8>>;

pub fn message(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + (at >> 8) + seed * 31) as u8).collect()
}

/// Sends `messages` both ways at once; each end returns what it got.
pub fn exchange(
    a: &mut SmbdPipe,
    b: &mut SmbdPipe,
    to_b: &[Vec<u8>],
    to_a: &[Vec<u8>],
) -> Result<(Messages, Messages), TransportError> {
    let (mut at_a, mut at_b, mut sent) = (vec![], vec![], [0; 2]);
    let mut came = Vec::new();
    for _ in 0..200_000 {
        if sent[0] < to_b.len() && a.send(&[&to_b[sent[0]]], None)? == Queued::Yes {
            sent[0] += 1;
        }
        if sent[1] < to_a.len() && b.send(&[&to_a[sent[1]]], None)? == Queued::Yes {
            sent[1] += 1;
        }
        for (pipe, got) in [(&mut *a, &mut at_a), (&mut *b, &mut at_b)] {
            if pipe.poll(&mut came, Wait::AtMost(Duration::from_micros(5)))?.is_some() {
                got.push(came.clone());
            }
        }
        if at_a.len() == to_a.len() && at_b.len() == to_b.len() {
            return Ok((at_a, at_b));
        }
    }
    panic!("stuck: {} of {} came to a and {} of {} to b", at_a.len(), to_a.len(), at_b.len(), to_b.len());
}

/// A peer that obeys nothing: it sends what it is told to.
pub struct Raw {
    wire: Box<dyn Wire>,
    region: Arc<Region>,
    id: RegionId,
    next_send: u64,
}

const SLOT: u64 = 16_384;
const RECEIVES: u64 = 64;

impl Raw {
    pub fn new(wires: &SimWires, role: Role) -> Raw {
        let mut prepared =
            wires.prepare_wire(&WireSpec { role, sends: 1000, receives: 64, ..WireSpec::default() }).unwrap();
        let region = Arc::new(Region::new(SLOT * (RECEIVES + 64), Pages::Default).unwrap());
        let id = prepared.expose(&region, Access::Local).unwrap().id;
        let receives: Vec<WireOp> = (0..RECEIVES).map(|at| Raw::receive(id, at)).collect();
        Raw { wire: prepared.connect(None, &receives, MOMENT).unwrap(), region, id, next_send: 0 }
    }

    fn receive(id: RegionId, at: u64) -> WireOp {
        let head = Piece { region: id, offset: at * SLOT, len: SLOT as u32 };
        WireOp { tag: at, verb: WireVerb::Receive, head, body: Piece::default() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.post(bytes, WireVerb::Send);
    }

    /// The same, and a key of the other end ends with it.
    pub fn send_ending(&mut self, bytes: &[u8], key: u32) {
        self.post(bytes, WireVerb::SendInvalidate { key });
    }

    fn post(&mut self, bytes: &[u8], verb: WireVerb) {
        let offset = (RECEIVES + self.next_send % 64) * SLOT;
        self.next_send += 1;
        self.region.copy_in(offset, bytes).unwrap();
        let head = Piece { region: self.id, offset, len: bytes.len() as u32 };
        let op = WireOp { tag: 1000, verb, head, body: Piece::default() };
        assert_eq!(self.wire.submit(&[op]).unwrap(), 1);
    }

    /// What came, each message by itself.
    pub fn received(&mut self) -> Result<Vec<Vec<u8>>, TransportError> {
        let mut done: Vec<WireDone> = Vec::with_capacity(64);
        self.wire.poll(&mut done, Wait::AtMost(Duration::from_micros(100)))?;
        let came = done.iter().filter(|done| done.received);
        let mut messages = Vec::new();
        for done in came {
            let mut bytes = vec![0; done.len as usize];
            self.region.copy_out(done.tag * SLOT, &mut bytes).unwrap();
            messages.push(bytes);
            self.wire.submit(&[Raw::receive(self.id, done.tag)]).unwrap();
        }
        Ok(messages)
    }
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}
