//! Peers that close, reset, fall silent, lie or never come: each ends in a typed error, in time.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pathproof_api::contract::{Connect, Pair};
use pathproof_api::{
    Access, Completion, Framing, Lane, LaneOption, LaneSpec, Offer, Op, OptionValues, Pages, Region,
    RegionId, Role, SendMode, SendReports, Transport, TransportError, Wait,
};
use pathproof_sys::clock::RealClock;
use pathproof_tcp::{LaneDoor, LanePreamble, TcpTransport};
use support::{Loopback, PATIENCE};

fn pair(spec: &LaneSpec) -> Pair {
    Loopback::on("127.0.0.1").connect(spec, 1 << 20).unwrap()
}

/// Polls until an error comes.
fn error_of(lane: &mut dyn Lane) -> TransportError {
    let mut out: Vec<Completion> = Vec::with_capacity(16);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        out.clear();
        if let Err(e) = lane.poll(&mut out, Wait::AtMost(Duration::from_millis(100))) {
            return e;
        }
    }
    panic!("no error within {PATIENCE:?}");
}

/// A framed accepting lane whose peer is a bare socket that may say anything.
fn framed_with_bare_peer(spec: LaneSpec, access: Access) -> (Box<dyn Lane>, TcpStream) {
    let spec = LaneSpec { framing: Framing::Framed, token: [5; 32], ..spec };
    let door = LaneDoor::new(&RealClock::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut prepared = TcpTransport::new(door.clone()).prepare(Role::Accept, &spec).unwrap();
    prepared.attach(&Arc::new(Region::new(8192, Pages::Default).unwrap()), access).unwrap();
    let mut bare = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let preamble = LanePreamble::of(&spec.token, 0);
    door.deliver(&preamble, listener.accept().unwrap().0).unwrap();
    let lane = prepared.connect(&Offer::default(), PATIENCE).unwrap();
    let mut proof = [0; 32];
    bare.read_exact(&mut proof).unwrap();
    (lane, bare)
}

#[test]
fn t18_who_is_not_the_sessions_peer_gets_64_bytes_and_no_secret() {
    for answer in [&b"LANEOPEN"[..], &[0; 32], &[]] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let spec = LaneSpec { token: [9; 32], remote: listener.local_addr().ok(), ..LaneSpec::default() };
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = vec![0; 64];
            stream.read_exact(&mut seen).unwrap();
            stream.write_all(answer).unwrap();
            // Whatever is answered, nothing more comes.
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let _ = stream.read_to_end(&mut seen);
            seen
        });
        let prepared =
            TcpTransport::new(LaneDoor::new(&RealClock::new())).prepare(Role::Dial, &spec).unwrap();
        let error = prepared.connect(&Offer::default(), Duration::from_millis(500)).err().unwrap();
        assert!(
            matches!(error, TransportError::Protocol { .. } | TransportError::Timeout { .. }),
            "{answer:?}: {error}"
        );
        let seen = stranger.join().unwrap();
        assert_eq!(seen.len(), 64);
        assert!(seen.windows(32).all(|part| part != spec.token), "the secret itself crossed");
    }
}

fn header(verb: u8, len: u32, remote_offset: u64) -> Vec<u8> {
    let mut bytes = vec![b'P', verb, 0, 0];
    bytes.extend(len.to_le_bytes());
    bytes.extend(remote_offset.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes
}

#[test]
fn a_closed_peer_is_told_to_a_sender_and_to_a_receiver() {
    for framing in [Framing::Raw, Framing::Framed] {
        let spec = LaneSpec { framing, ..LaneSpec::default() };
        let mut receiving = pair(&spec);
        receiving.b.submit(&[Op::recv(1, receiving.id_b, 0, 64)]).unwrap();
        drop(receiving.a);
        let error = error_of(&mut *receiving.b);
        assert!(matches!(error, TransportError::PeerGone { .. }), "{framing:?}: {error}");

        let mut sending = pair(&spec);
        drop(sending.b);
        let big = Op::send(1, sending.id_a, 0, 1 << 20);
        let error = (0..1000).find_map(|_| {
            sending.a.submit(&[big]).err().or_else(|| {
                let mut out = Vec::with_capacity(16);
                sending.a.poll(&mut out, Wait::AtMost(Duration::from_millis(50))).err()
            })
        });
        assert!(matches!(error, Some(TransportError::PeerGone { .. })), "{framing:?}: {error:?}");
    }
}

#[test]
fn a_lane_that_waits_without_a_limit_sleeps_until_it_is_stopped() {
    for framing in [Framing::Raw, Framing::Framed] {
        let mut pair = pair(&LaneSpec { framing, ..LaneSpec::default() });
        let stopper = pair.b.stopper().expect("a lane that does not spin has one");
        pair.b.submit(&[Op::recv(1, pair.id_b, 0, 64)]).unwrap();
        let mut lane = pair.b;
        let wait = move || {
            let error = lane.poll(&mut Vec::with_capacity(4), Wait::AtMost(Duration::MAX)).unwrap_err();
            drop(lane);
            error
        };
        let waiting = std::thread::Builder::new().name("waits".into()).spawn(wait).unwrap();
        let sleeps = pathproof_sys::thread::sleeps_within("waits", Duration::from_millis(300));
        assert!(sleeps <= 2, "{framing:?}: {sleeps} times");
        stopper.stop();
        let error = waiting.join().unwrap();
        assert!(matches!(error, TransportError::PeerGone { .. }), "{framing:?}: {error}");
        // Whoever can stop it keeps neither the lane nor its connection.
        stopper.stop();
    }
}

#[test]
fn who_could_stop_a_lane_that_is_gone_does_not_keep_its_connection() {
    let mut pair = pair(&LaneSpec::default());
    let stopper = pair.a.stopper().unwrap();
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, 64)]).unwrap();
    drop(pair.a);
    assert!(matches!(error_of(&mut *pair.b), TransportError::PeerGone { .. }));
    stopper.stop();
}

#[test]
fn a_failed_lane_stays_failed_and_keeps_the_reason() {
    let mut pair = pair(&LaneSpec::default());
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, 64)]).unwrap();
    drop(pair.a);
    let (first, again) = (error_of(&mut *pair.b), error_of(&mut *pair.b));
    assert!(again.to_string().contains(&first.to_string()), "{again:?} does not say {first:?}");
    assert!(first.how().is_some() && again.how() == first.how(), "{first:?}, then {again:?}");
}

#[test]
fn a_message_cut_off_half_way_is_the_peers_end_and_not_a_message() {
    let mut pair = pair(&LaneSpec::default());
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, 100)]).unwrap();
    pair.a.submit(&[Op::send(1, pair.id_a, 0, 60)]).unwrap();
    pair.a.close().unwrap();
    assert!(matches!(error_of(&mut *pair.b), TransportError::PeerGone { .. }));
}

#[test]
fn waits_are_kept_short_and_long() {
    let mut pair = pair(&LaneSpec::default());
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, 64)]).unwrap();
    let mut out = Vec::with_capacity(4);
    for ms in [1, 5, 20, 60] {
        let wait = Duration::from_millis(ms);
        let start = Instant::now();
        assert_eq!(pair.b.poll(&mut out, Wait::AtMost(wait)).unwrap(), 0);
        // The upper bound is for the scheduler of a busy machine, not for us.
        assert!(start.elapsed() < wait + Duration::from_millis(200), "{ms} ms took {:?}", start.elapsed());
    }
}

#[test]
fn rubbish_where_a_header_belongs_is_a_protocol_error() {
    let (mut lane, mut bare) = framed_with_bare_peer(LaneSpec::default(), Access::RemoteWrite);
    bare.write_all(&[0xAB; 64]).unwrap();
    assert!(matches!(error_of(&mut *lane), TransportError::Protocol { .. }));
}

#[test]
fn a_four_gigabyte_length_is_refused_before_anything_is_placed() {
    let (mut lane, mut bare) = framed_with_bare_peer(LaneSpec::default(), Access::RemoteWrite);
    bare.write_all(&header(2, u32::MAX, 0)).unwrap();
    assert!(matches!(error_of(&mut *lane), TransportError::Protocol { .. }));
}

#[test]
fn writes_stay_inside_the_region_that_was_opened() {
    for (len, offset) in [(1, 8192), (8, 8190), (1, u64::MAX)] {
        let (mut lane, mut bare) = framed_with_bare_peer(LaneSpec::default(), Access::RemoteWrite);
        bare.write_all(&header(2, len, offset)).unwrap();
        bare.write_all(&[1; 8]).unwrap();
        let error = error_of(&mut *lane);
        assert!(matches!(error, TransportError::Protocol { .. }), "{len} bytes at {offset}: {error}");
    }
}

#[test]
fn a_region_not_opened_is_not_written() {
    let (mut lane, mut bare) = framed_with_bare_peer(LaneSpec::default(), Access::Local);
    bare.write_all(&header(2, 8, 0)).unwrap();
    assert!(matches!(error_of(&mut *lane), TransportError::Protocol { .. }));
}

#[test]
fn a_message_longer_than_its_receive_is_a_protocol_error() {
    let (mut lane, mut bare) = framed_with_bare_peer(LaneSpec::default(), Access::Local);
    lane.submit(&[Op::recv(1, RegionId(0), 0, 16)]).unwrap();
    bare.write_all(&header(1, 17, 0)).unwrap();
    assert!(matches!(error_of(&mut *lane), TransportError::Protocol { .. }));
}

#[test]
fn what_cannot_work_is_refused_before_a_packet_leaves() {
    let transport = TcpTransport::new(LaneDoor::new(&RealClock::new()));
    let remote = Some("127.0.0.1:9".parse().unwrap());
    let base = LaneSpec { remote, ..LaneSpec::default() };
    let colour = LaneOption { name: "colour", ..pathproof_tcp::CONGESTION };
    let mut options = OptionValues::default();
    options.set(&colour, "red".into());
    for (why, spec) in [
        ("no address", LaneSpec { remote: None, ..base.clone() }),
        ("no depth", LaneSpec { depth: 0, ..base.clone() }),
        ("too deep", LaneSpec { depth: 1_000_000, ..base.clone() }),
        ("no size", LaneSpec { message_bytes_max: 0, ..base.clone() }),
        ("too large", LaneSpec { message_bytes_max: u32::MAX, ..base.clone() }),
        ("unknown option", LaneSpec { options, ..base.clone() }),
    ] {
        let refused = transport.prepare(Role::Dial, &spec);
        assert!(matches!(refused, Err(TransportError::Invalid { .. })), "{why}");
    }
}

#[test]
fn operations_that_cannot_work_are_refused_by_submit() {
    let mut pair = pair(&LaneSpec { message_bytes_max: 4096, ..LaneSpec::default() });
    for op in [
        Op::send(1, RegionId(9), 0, 1),
        Op::send(1, pair.id_a, 0, 4097),
        Op::send(1, pair.id_a, (1 << 20) - 1, 2),
        Op::send(1, pair.id_a, 0, 0),
        Op::write(1, pair.id_a, 0, 1, 0),
        Op::read(1, pair.id_a, 0, 1, 0),
    ] {
        assert!(matches!(pair.a.submit(&[op]), Err(TransportError::Invalid { .. })), "{op:?}");
        // Behind a good one it is the prefix that is taken.
        assert_eq!(pair.a.submit(&[Op::recv(1, pair.id_a, 0, 1), op]).unwrap(), 1, "{op:?}");
    }
}

#[test]
fn a_refused_port_and_a_server_that_does_not_know_the_lane_are_told_apart() {
    let transport = TcpTransport::new(LaneDoor::new(&RealClock::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = LaneSpec { remote: listener.local_addr().ok(), ..LaneSpec::default() };
    let turned_away = std::thread::scope(|scope| {
        scope.spawn(|| drop(listener.accept()));
        transport.prepare(Role::Dial, &spec).unwrap().connect(&Offer::default(), PATIENCE).err()
    });
    assert!(matches!(turned_away, Some(TransportError::PeerGone { .. })), "{turned_away:?}");
    drop(listener);
    let refused = transport.prepare(Role::Dial, &spec).unwrap().connect(&Offer::default(), PATIENCE).err();
    let text = refused.map(|e| e.to_string()).unwrap_or_default();
    assert!(text.contains("connecting a data lane to 127.0.0.1") && text.contains("refused"), "{text}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_ends_at_the_deadline() {
    let transport = TcpTransport::new(LaneDoor::new(&RealClock::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = LaneSpec { remote: listener.local_addr().ok(), ..LaneSpec::default() };
    let start = Instant::now();
    let prepared = transport.prepare(Role::Dial, &spec).unwrap();
    let silent = prepared.connect(&Offer::default(), Duration::from_millis(100)).err();
    assert!(matches!(silent, Some(TransportError::Timeout { .. })), "{silent:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_modes_in_force_are_named() {
    let spec = LaneSpec { send_mode: SendMode::ZeroCopy, ..LaneSpec::default() };
    let mut pair = pair(&spec);
    pair.a.submit(&[Op::send(1, pair.id_a, 0, 65_536)]).unwrap();
    pair.b.submit(&[Op::recv(1, pair.id_b, 0, 65_536)]).unwrap();
    let mut out = Vec::with_capacity(4);
    let start = Instant::now();
    while out.len() < 2 && start.elapsed() < PATIENCE {
        pair.a.poll(&mut out, Wait::No).unwrap();
        pair.b.poll(&mut out, Wait::AtMost(Duration::from_millis(1))).unwrap();
    }
    let stats = pair.a.close().unwrap();
    assert_eq!(stats.send_mode.as_deref(), Some("zero-copy"));
    assert_eq!(stats.receive_mode.as_deref(), Some("copy"));
    // Loopback cannot send from place, and the lane says so.
    assert_eq!(stats.counters.get("zero_copy_notifications_copied"), Some(&1));
    assert!(stats.chosen["congestion_control"].ends_with("(system default)"), "{:?}", stats.chosen);
    assert_eq!(stats.last.bytes_sent, 65_536);
    assert!(stats.last.rtt_ns.is_some() && stats.last.rtt_min_ns.is_some(), "{:?}", stats.last);
}

#[test]
fn lazy_send_reports_come_with_the_answer_or_when_the_wait_is_over() {
    let mut pair = pair(&LaneSpec { send_reports: SendReports::Lazy, ..LaneSpec::default() });
    let question = [Op::recv(1, pair.id_a, 0, 8), Op::send(2, pair.id_a, 0, 8)];
    let mut out: Vec<Completion> = Vec::with_capacity(8);
    // Nobody answers: the wait is kept, and then the send is told.
    pair.a.submit(&question).unwrap();
    let start = Instant::now();
    assert_eq!(pair.a.poll(&mut out, Wait::AtMost(Duration::from_millis(30))).unwrap(), 1);
    assert!(
        out[0].tag == 2 && start.elapsed() >= Duration::from_millis(5),
        "{out:?} after {:?}",
        start.elapsed()
    );
    // The answer to the first question lies there already: both are told at once.
    out.clear();
    pair.b.submit(&[Op::send(3, pair.id_b, 0, 8)]).unwrap();
    while pair.b.poll(&mut out, Wait::AtMost(Duration::from_millis(1))).unwrap() == 0 {}
    out.clear();
    pair.a.submit(&question[1..]).unwrap();
    pair.a.poll(&mut out, Wait::AtMost(PATIENCE)).unwrap();
    assert_eq!(out.iter().map(|c| c.tag).collect::<Vec<_>>(), [2, 1]);
}
