//! Whole connections over a simulated wire, in virtual time: few credits, many sizes, silence, loss, and a real server's
//! own bytes.

mod support;

use std::time::Duration;

use pathproof_api::{
    Access, Clock, Gone, MessagePipe, Pages, Piece, Queued, Region, Role, TransportError, Wait, WireOp,
    WireVerb,
};
use pathproof_sim::SimWires;
use pathproof_smbd::codec::{NegotiateResponse, STATUS_NOT_SUPPORTED};
use pathproof_smbd::connection::{NEGOTIATION, NUDGE_AFTER};
use pathproof_smbd::progress::STALLED_AFTER;
use pathproof_smbd::{Settings, SmbdPipe};
use std::sync::Arc;

use support::{DELAY_NS, Raw, connection, exchange, hex, message, pipes};

fn with_credits(credits: u16) -> Settings {
    Settings { receive_credits: credits, ..Settings::default() }
}

/// The prototype stalled for ever with one and two receives: which end broke the rule was not found out then.
#[test]
fn messages_of_every_size_come_whole_with_one_to_four_credits_at_either_end() {
    let sizes = [1, 20, 1339, 1340, 1341, 2680, 2681, 65_536, 131_072];
    let to_b: Vec<_> = sizes.iter().map(|bytes| message(*bytes, 1)).collect();
    let to_a: Vec<_> = sizes.iter().rev().map(|bytes| message(*bytes, 2)).collect();
    for dial in [1, 2, 3, 4, 10, 255] {
        for accept in [1, 2, 3, 4, 10, 255] {
            let wires = SimWires::new(DELAY_NS);
            let (mut a, mut b) = pipes(&wires, with_credits(dial), with_credits(accept));
            let (at_a, at_b) = exchange(&mut a, &mut b, &to_b, &to_a)
                .unwrap_or_else(|error| panic!("{dial} and {accept} credits: {error}"));
            assert!(at_a == to_a && at_b == to_b, "{dial} and {accept} credits: changed on the way");
            // One way and then the other, as a dialogue goes.
            for (from, to) in [(true, false), (false, true)] {
                let nothing = Vec::new();
                let (one, other) = (if from { &to_b } else { &nothing }, if to { &to_a } else { &nothing });
                let (at_a, at_b) = exchange(&mut a, &mut b, one, other).unwrap();
                assert!(at_a == *other && at_b == *one, "{dial} and {accept} credits: one way");
            }
        }
    }
}

/// Turns both ends until they have negotiated. How long it took, or why it failed.
fn negotiation(wires: &SimWires) -> Result<Duration, TransportError> {
    let mut a = connection(wires, Role::Dial, Settings::default());
    let mut b = connection(wires, Role::Accept, Settings::default());
    let begin = wires.now();
    while a.agreed().is_none() || b.agreed().is_none() {
        a.turn(Wait::AtMost(Duration::from_millis(10)))?;
        b.turn(Wait::AtMost(Duration::from_millis(10)))?;
    }
    Ok(wires.now().since(begin))
}

/// What soft-iWARP does to a request that comes while it is still preparing its socket.
#[test]
fn a_request_that_lies_unread_at_an_iwarp_peer_is_brought_to_its_notice() {
    let wires = SimWires::new(DELAY_NS);
    wires.iwarp(true);
    let took = negotiation(&wires).unwrap();
    assert!((NUDGE_AFTER..NUDGE_AFTER * 2).contains(&took), "{took:?}");

    let wires = SimWires::new(DELAY_NS);
    wires.iwarp(false);
    assert!(negotiation(&wires).unwrap() < NUDGE_AFTER, "a peer that answers needs none");
}

#[test]
fn a_peer_that_never_answers_is_told_after_five_seconds_nudged_or_not() {
    for iwarp in [false, true] {
        let wires = SimWires::new(DELAY_NS);
        if iwarp {
            wires.iwarp(false);
        }
        wires.fall_silent();
        let mut a = connection(&wires, Role::Dial, Settings::default());
        let (begin, error) = (wires.now(), a.negotiated().unwrap_err());
        assert!(matches!(error, TransportError::Timeout { after: NEGOTIATION, .. }), "{error}");
        assert!(wires.now().since(begin) >= NEGOTIATION);
        assert!(error.to_string().contains("negotiating"), "{error}");
    }
}

/// Some device might refuse the nudge: the silence before it is then what is told, not a peer that hung up.
#[test]
fn a_nudge_that_is_refused_does_not_hide_the_silence() {
    let wires = SimWires::new(DELAY_NS);
    wires.iwarp(false);
    wires.fall_silent();
    let mut a = connection(&wires, Role::Dial, Settings::default());
    while wires.now().since(pathproof_api::Tick(0)) <= NUDGE_AFTER {
        a.turn(Wait::AtMost(Duration::from_millis(100))).unwrap();
    }
    wires.cut();
    let error = a.negotiated().unwrap_err();
    assert!(matches!(error, TransportError::Timeout { after: NUDGE_AFTER, .. }), "{error}");
}

#[test]
fn ends_with_nothing_to_say_are_quiet() {
    for (credits, most) in [(255, 2), (10, 2), (4, 2), (3, 4), (2, 2500), (1, 2500)] {
        let wires = SimWires::new(DELAY_NS);
        let (mut a, mut b) = pipes(&wires, with_credits(credits), with_credits(credits));
        let (big, mut came) = (vec![message(100_000, 3)], Vec::new());
        exchange(&mut a, &mut b, &big, &[]).unwrap();
        let before = a.connection().counts().empty_sent + b.connection().counts().empty_sent;
        let begin = wires.now();
        while wires.now().since(begin) < Duration::from_secs(1) {
            for pipe in [&mut a, &mut b] {
                assert_eq!(pipe.poll(&mut came, Wait::AtMost(Duration::from_micros(200))).unwrap(), None);
            }
        }
        let idle = a.connection().counts().empty_sent + b.connection().counts().empty_sent - before;
        assert!(idle <= most, "{credits} credits: {idle} messages in a second of silence");
    }
}

#[test]
fn a_peer_that_lives_is_asked_after_two_minutes_and_answers() {
    let wires = SimWires::new(DELAY_NS);
    let (mut a, mut b) = pipes(&wires, Settings::default(), Settings::default());
    let mut came = Vec::new();
    while wires.now().since(pathproof_api::Tick(0)) < Duration::from_secs(600) {
        for pipe in [&mut a, &mut b] {
            assert_eq!(pipe.poll(&mut came, Wait::AtMost(Duration::from_secs(1))).unwrap(), None);
        }
    }
    let counts = a.connection().counts();
    assert!((4..12).contains(&counts.empty_received), "{counts:?}");
}

/// Polls until the pipe ends: how it says that it did, and after how long.
fn end_of(wires: &SimWires, pipe: &mut SmbdPipe) -> (Option<Gone>, String, Duration) {
    let (begin, mut came) = (wires.now(), Vec::new());
    loop {
        if let Err(error) = pipe.poll(&mut came, Wait::AtMost(Duration::from_secs(1))) {
            return (error.how(), error.to_string(), wires.now().since(begin));
        }
        assert!(wires.now().since(begin) < Duration::from_secs(600), "it never ends");
    }
}

/// Where TCP is below, it takes what is sent: nothing is under way, and a question shows that nobody is there.
#[test]
fn a_peer_that_has_died_is_told_after_two_minutes_and_five_seconds() {
    let wires = SimWires::new(DELAY_NS);
    let (mut a, _b) = pipes(&wires, Settings::default(), Settings::default());
    wires.fall_silent_behind_tcp();
    let (how, said, after) = end_of(&wires, &mut a);
    assert!(how == Some(Gone::Silent) && said.contains("keep-alive"), "{said}");
    assert!((Duration::from_secs(125)..Duration::from_secs(126)).contains(&after), "{after:?}");
}

/// An adapter that counts no retries, as one that stands on TCP: a message, or what this end fetches, never completes.
#[test]
fn a_wire_that_takes_nothing_is_told_after_fifteen_seconds() {
    for fetches in [false, true] {
        let wires = SimWires::new(DELAY_NS);
        let (mut a, mut b) = pipes(&wires, Settings::default(), Settings::default());
        let memory = || Arc::new(Region::new(4096, Pages::Default).unwrap());
        let there = b.expose(&memory(), Access::RemoteRead).unwrap();
        let here = a.expose(&memory(), Access::Local).unwrap();
        // What the negotiation left to be said is said.
        let mut came = Vec::new();
        for _ in 0..2 {
            for pipe in [&mut a, &mut b] {
                assert_eq!(pipe.poll(&mut came, Wait::AtMost(Duration::from_millis(5))).unwrap(), None);
            }
        }
        if fetches {
            wires.fall_silent_behind_tcp();
            let verb = WireVerb::Read { address: there.address, key: there.key };
            let head = Piece { region: here.id, offset: 0, len: 4096 };
            a.begin([WireOp { tag: 1, verb, head, body: Piece::default() }], 1).unwrap();
        } else {
            wires.fall_silent();
            assert_eq!(a.send(&[&message(100, 1)], None).unwrap(), Queued::Yes);
        }
        let (how, said, after) = end_of(&wires, &mut a);
        assert!(how == Some(Gone::Silent) && said.contains("has moved for 15 s"), "{said}");
        assert!((STALLED_AFTER..STALLED_AFTER + Duration::from_secs(1)).contains(&after), "{after:?}");
    }
}

#[test]
fn a_connection_that_is_lost_in_the_middle_of_a_message_ends_both_ends() {
    let wires = SimWires::new(DELAY_NS);
    let (mut a, mut b) = pipes(&wires, with_credits(4), with_credits(4));
    assert_eq!(a.send(&[&message(100_000, 1)], None).unwrap(), Queued::Yes);
    let mut came = Vec::new();
    b.poll(&mut came, Wait::AtMost(Duration::from_micros(30))).unwrap();
    wires.cut();
    for pipe in [&mut a, &mut b] {
        let error = (0..10).find_map(|_| pipe.poll(&mut came, Wait::AtMost(Duration::from_millis(1))).err());
        assert!(matches!(error, Some(TransportError::PeerGone { .. })), "{error:?}");
    }
}

#[test]
fn what_is_longer_than_the_peer_takes_is_refused_before_it_leaves() {
    let wires = SimWires::new(DELAY_NS);
    let small = Settings { fragmented_bytes: 173_910, ..Settings::default() };
    let (mut a, mut b) = pipes(&wires, Settings::default(), small);
    let error = a.send(&[&message(173_911, 0)], None).unwrap_err();
    assert!(error.to_string().contains("173910"), "{error}");
    assert!(a.send(&[], None).is_err(), "a message without bytes is none");
    // The largest that is taken comes whole.
    let most = vec![message(173_910, 0)];
    let (_, at_b) = exchange(&mut a, &mut b, &most, &[]).unwrap();
    assert!(at_b == most);
}

#[test]
fn a_message_that_never_becomes_whole_is_told_with_what_is_missing() {
    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Accept);
    let a = connection(&wires, Role::Dial, Settings::default());
    raw.received().unwrap();
    raw.send(&hex("00010001 00010000 ff00fe00 00000000 00008000 54050000 54050000 56a70200"));
    let (mut pipe, mut came) = (SmbdPipe::new(a).unwrap(), Vec::new());
    // Its first message is what grants.
    pipe.poll(&mut came, Wait::AtMost(Duration::from_millis(2))).unwrap();
    // A sealed answer of ksmbd: 80 bytes come, and the 52 of its transform header stay announced.
    let header = hex("ff00 0000 0000 0000 34000000 18000000 50000000 00000000");
    raw.send(&[header, vec![0; 80]].concat());
    let begin = wires.now();
    let error = loop {
        if let Err(error) = pipe.poll(&mut came, Wait::AtMost(Duration::from_secs(1))) {
            break error;
        }
    };
    assert!(
        matches!(&error, TransportError::Timeout { operation, .. } if operation.contains("52 bytes")),
        "{error}"
    );
    assert!(wires.now().since(begin) <= Duration::from_secs(16));
}

#[test]
fn a_peer_that_does_not_negotiate_costs_five_seconds() {
    for role in [Role::Dial, Role::Accept] {
        let wires = SimWires::new(DELAY_NS);
        let _raw = Raw::new(&wires, if role == Role::Dial { Role::Accept } else { Role::Dial });
        let mut end = connection(&wires, role, Settings::default());
        let error = end.negotiated().unwrap_err();
        assert!(matches!(&error, TransportError::Timeout { .. }), "{error}");
        let after = wires.now().since(pathproof_api::Tick(0));
        assert!((Duration::from_secs(5)..Duration::from_millis(5100)).contains(&after), "{after:?}");
    }
}

#[test]
fn another_version_is_answered_by_its_status_and_said_in_words() {
    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Dial);
    let mut b = connection(&wires, Role::Accept, Settings::default());
    raw.send(&hex("00020003 0000ff00 54050000 00200000 00001000"));
    let error = b.negotiated().unwrap_err();
    assert!(error.to_string().contains("0x0200 to 0x0300"), "{error}");
    assert_eq!(raw.received().unwrap(), [NegotiateResponse::refusal()]);

    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Accept);
    let mut a = connection(&wires, Role::Dial, Settings::default());
    raw.send(&NegotiateResponse::refusal());
    let error = a.negotiated().unwrap_err();
    assert!(error.to_string().contains(&format!("{STATUS_NOT_SUPPORTED:#010x}")), "{error}");
}

/// Plays ksmbd's half of a captured life; what this end sends must be what a client sent then, credits and all.
#[test]
fn a_captured_dialogue_with_ksmbd_is_byte_exact() {
    let captured: Vec<(char, Vec<u8>)> = include_str!("ksmbd-rxe.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| (line.chars().next().unwrap(), hex(&line[2..])))
        .collect();
    assert!(captured.len() > 25);
    let wires = SimWires::new(DELAY_NS);
    let mut server = Raw::new(&wires, Role::Accept);
    let mut client = Some(connection(&wires, Role::Dial, Settings::default()));
    let mut pipe: Option<SmbdPipe> = None;
    let mut came = Vec::new();
    for (number, (who, bytes)) in captured.iter().enumerate() {
        match (who, &mut pipe) {
            ('C', None) => {
                assert_eq!(server.received().unwrap(), std::slice::from_ref(bytes), "the negotiation")
            }
            ('S', None) => {
                server.send(bytes);
                pipe = Some(SmbdPipe::new(client.take().unwrap()).unwrap());
            }
            ('C', Some(pipe)) => {
                assert_eq!(pipe.send(&[&bytes[24..]], None).unwrap(), Queued::Yes);
                assert_eq!(server.received().unwrap(), std::slice::from_ref(bytes), "message {number}");
            }
            (_, Some(pipe)) => {
                server.send(bytes);
                let whole = pipe.poll(&mut came, Wait::AtMost(Duration::from_millis(1))).unwrap();
                assert!(
                    whole.is_some_and(|arrival| arrival.fragments == 1) && came == bytes[24..],
                    "{number}"
                );
            }
            (who, None) => panic!("{who} is no end"),
        }
    }
}

#[test]
fn a_key_that_the_peer_ends_is_reported_where_the_device_tells() {
    for told in [true, false] {
        let wires = SimWires::new(DELAY_NS);
        if !told {
            wires.report_no_invalidation();
        }
        let (mut a, mut b) = pipes(&wires, Settings::default(), Settings::default());
        let region = Arc::new(Region::new(4096, Pages::Default).unwrap());
        let exposed = a.expose(&region, Access::RemoteRead).unwrap();
        // Several fragments: the key rides on one of them. The initiator's first message is what grants.
        assert_eq!(b.send(&[&message(5000, 1)], Some(exposed.key)).unwrap(), Queued::Yes);
        let mut came = Vec::new();
        let arrival = loop {
            b.poll(&mut came, Wait::AtMost(Duration::from_micros(100))).unwrap();
            if let Some(arrival) = a.poll(&mut came, Wait::AtMost(Duration::from_micros(100))).unwrap() {
                break arrival;
            }
        };
        assert_eq!((arrival.fragments, arrival.invalidated.names(exposed.key)), (4, told));
        a.withdraw(exposed.id).unwrap();
    }
}
