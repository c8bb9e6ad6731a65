//! The simulated lane keeps the contract, and does what its path says to the nanosecond.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::contract::{self, Connect, Pair};
use pathproof_api::{
    Access, Completion, CompletionStatus, LaneSpec, Offer, Op, Pages, Region, Role, Tick, Transport,
    TransportError, Wait,
};
use pathproof_sim::{SimNetwork, SimPath, SimTransport};

struct Net {
    network: Arc<SimNetwork>,
    pairs: u8,
}

impl Net {
    fn new(path: SimPath, seed: u64) -> Net {
        Net { network: SimNetwork::new(path, seed), pairs: 0 }
    }
}

impl Connect for Net {
    fn connect(&mut self, spec: &LaneSpec, region_bytes: u64) -> Result<Pair, TransportError> {
        self.pairs += 1;
        let spec = LaneSpec { token: [self.pairs; 32], ..spec.clone() };
        let transport = SimTransport::new(self.network.clone());
        let region = || Arc::new(Region::new(region_bytes, Pages::Default).unwrap());
        let (region_a, region_b) = (region(), region());
        let mut b = transport.prepare(Role::Accept, &spec)?;
        let mut a = transport.prepare(Role::Dial, &spec)?;
        let id_a = a.attach(&region_a, Access::RemoteReadWrite)?;
        let id_b = b.attach(&region_b, Access::RemoteReadWrite)?;
        let wait = Duration::from_secs(1);
        let (b, a) = (b.connect(&a.offer(), wait)?, a.connect(&Offer::default(), wait)?);
        Ok(Pair { a, b, region_a, region_b, id_a, id_b })
    }
}

const LOSSY: SimPath = SimPath {
    delay_ns: 50_000,
    jitter_ns: 20_000,
    rate_bits_per_s: Some(1_000_000_000),
    loss_ppm: 50_000,
    retransmit_ns: 300_000,
    corruption_ppm: 0,
};

#[test]
fn a_clean_path_keeps_the_contract() {
    contract::check(&mut Net::new(SimPath::default(), 1), &LaneSpec::default()).unwrap();
}

#[test]
fn a_lossy_jittery_path_keeps_the_contract() {
    contract::check(&mut Net::new(LOSSY, 2), &LaneSpec::default()).unwrap();
}

#[test]
fn the_contract_notices_corruption() {
    let path = SimPath { corruption_ppm: 1_000_000, ..SimPath::default() };
    let broken = contract::messages_arrive_whole_and_in_order(&mut Net::new(path, 3), &LaneSpec::default());
    assert!(broken.is_err_and(|why| why.contains("arrived changed")));
}

/// One ping and its answer; the round trip in ns of virtual time.
fn round_trip(net: &Net, pair: &mut Pair, bytes: u32) -> u64 {
    let start = net.network.now();
    let mut out = Vec::with_capacity(8);
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, bytes)]).unwrap();
    pair.a.submit(&[Op::recv(2, pair.id_a, 0, bytes), Op::send(3, pair.id_a, 0, bytes)]).unwrap();
    let mut answered = false;
    for _ in 0..100 {
        out.clear();
        pair.b.poll(&mut out, Wait::AtMost(Duration::from_millis(10))).unwrap();
        if !answered && out.iter().any(|c| c.tag == 1) {
            pair.b.submit(&[Op::send(4, pair.id_b, 0, bytes)]).unwrap();
            answered = true;
        }
        out.clear();
        pair.a.poll(&mut out, Wait::No).unwrap();
        if out.iter().any(|c| c.tag == 2) {
            return net.network.now().ns_since(start);
        }
    }
    panic!("no answer in 100 polls");
}

#[test]
fn a_round_trip_takes_two_delays_and_two_serialisations() {
    let path = SimPath { delay_ns: 7_000, rate_bits_per_s: Some(8_000_000_000), ..SimPath::default() };
    let mut net = Net::new(path, 4);
    let mut pair = net.connect(&LaneSpec::default(), 4096).unwrap();
    // 1000 bytes at 8 Gbit/s are 1000 ns.
    assert_eq!(round_trip(&net, &mut pair, 1000), 2 * (7_000 + 1_000));
}

#[test]
fn a_loss_costs_its_retransmission_and_is_counted() {
    let path =
        SimPath { loss_ppm: 1_000_000, retransmit_ns: 500_000, rate_bits_per_s: None, ..SimPath::default() };
    let mut net = Net::new(path, 5);
    let mut pair = net.connect(&LaneSpec::default(), 4096).unwrap();
    assert_eq!(round_trip(&net, &mut pair, 64), 2 * (10_000 + 500_000));
    let mut sample = pathproof_api::LaneSample::default();
    pair.a.sample(&mut sample);
    assert_eq!((sample.retransmits, sample.bytes_sent, sample.bytes_received), (Some(1), 64, 64));
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_does_not() {
    let history = |seed: u64| -> Vec<u64> {
        let mut net = Net::new(LOSSY, seed);
        let mut pair = net.connect(&LaneSpec::default(), 4096).unwrap();
        (0..200).map(|_| round_trip(&net, &mut pair, 64)).collect()
    };
    assert_eq!(history(6), history(6));
    assert_ne!(history(6), history(7));
}

#[test]
fn a_cut_path_is_noticed_after_the_silence_and_not_before() {
    let mut net = Net::new(SimPath::default(), 8);
    let mut pair = net.connect(&LaneSpec::default(), 4096).unwrap();
    pair.a.submit(&[Op::recv(1, pair.id_a, 0, 8)]).unwrap();
    let cut = net.network.now();
    net.network.cut(Duration::from_secs(3));
    let mut out = Vec::with_capacity(4);
    let error = loop {
        match pair.a.poll(&mut out, Wait::AtMost(Duration::from_millis(500))) {
            Ok(0) => assert!(net.network.now() <= cut + Duration::from_secs(3)),
            Ok(_) => panic!("nothing can arrive: {out:?}"),
            Err(e) => break e,
        }
    };
    assert!(matches!(error, TransportError::PeerGone { .. }), "{error}");
    assert_eq!(net.network.now(), cut + Duration::from_secs(3));
}

#[test]
fn a_nic_that_is_cut_leaves_the_lanes_of_others_and_hides_that_its_own_are_closed() {
    let nics: [IpAddr; 2] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
    let mut net = Net::new(SimPath::default(), 11);
    let mut from = |nic| net.connect(&LaneSpec { local: Some(nic), ..LaneSpec::default() }, 4096).unwrap();
    let (mut cut, mut whole) = (from(nics[0]), from(nics[1]));
    net.network.cut_nic(nics[0], Duration::from_secs(3));
    let at = net.network.now();
    // 64 bytes at 10 Gbit/s are 51 ns.
    assert_eq!(round_trip(&net, &mut whole, 64), 2 * (10_000 + 51));
    drop(cut.b);
    let mut out = Vec::with_capacity(4);
    assert_eq!(cut.a.poll(&mut out, Wait::No).unwrap(), 0, "nobody told it");
    net.network.advance(Duration::from_secs(3));
    assert!(net.network.now() > at + Duration::from_secs(3));
    let error = cut.a.poll(&mut out, Wait::No).unwrap_err();
    assert!(matches!(error, TransportError::PeerGone { .. }), "{error}");
}

#[test]
fn a_write_outside_the_peers_region_fails_with_a_code_and_changes_nothing() {
    let mut net = Net::new(SimPath::default(), 9);
    let mut pair = net.connect(&LaneSpec::default(), 4096).unwrap();
    pair.a.submit(&[Op::write(1, pair.id_a, 0, 64, 4090)]).unwrap();
    let mut out: Vec<Completion> = Vec::with_capacity(4);
    while out.is_empty() {
        pair.a.poll(&mut out, Wait::AtMost(Duration::from_millis(1))).unwrap();
    }
    assert!(matches!(out[0].status, CompletionStatus::Failed(_)), "{out:?}");
    let mut tail = [1u8; 6];
    pair.region_b.copy_out(4090, &mut tail).unwrap();
    assert_eq!(tail, [0; 6]);
}

#[test]
fn time_stands_still_while_nobody_waits() {
    let mut net = Net::new(SimPath::default(), 10);
    let mut pair = net.connect(&LaneSpec::default(), 4096).unwrap();
    let mut out = Vec::with_capacity(4);
    pair.a.submit(&[Op::send(1, pair.id_a, 0, 64)]).unwrap();
    for _ in 0..10 {
        assert_eq!(pair.a.poll(&mut out, Wait::No).unwrap(), 0);
    }
    assert_eq!(net.network.now(), Tick(0));
}
