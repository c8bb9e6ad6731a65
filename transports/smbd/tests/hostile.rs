//! A peer that lies: whatever it sends, an end returns an error or goes on, gathers no more than was agreed, and never panics.

mod support;

use std::time::Duration;

use pathproof_api::{Clock, MessagePipe, Queued, Role, TransportError, Wait};
use pathproof_sim::SimWires;
use pathproof_smbd::{Settings, SmbdPipe};
use proptest::prelude::*;

use support::{DELAY_NS, Raw, connection, hex, message};

const RESPONSE: &str = "00010001 00010000 ff00fe00 00000000 00008000 54050000 54050000 56a70200";

fn against(messages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, TransportError> {
    against_with(Settings::default(), messages)
}

fn against_with(settings: Settings, messages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, TransportError> {
    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Accept);
    let mut a = connection(&wires, Role::Dial, Settings { receive_credits: 8, ..settings });
    raw.send(&hex(RESPONSE));
    a.negotiated()?;
    let mut pipe = SmbdPipe::new(a)?;
    let _ = pipe.send(&[b"hello"], None)?;
    let (mut came, mut whole) = (Vec::new(), Vec::new());
    for message in messages {
        raw.send(message);
        if pipe.poll(&mut came, Wait::AtMost(Duration::from_micros(100)))?.is_some() {
            whole.push(came.clone());
        }
        let _ = raw.received();
    }
    Ok(whole)
}

fn data(header: &str, payload: usize) -> Vec<u8> {
    [hex(header), vec![9; payload]].concat()
}

#[test]
fn each_lie_ends_the_connection_and_is_named() {
    let refused = |messages: &[Vec<u8>], words: &str| {
        let error = against(messages).unwrap_err();
        let named = matches!(&error, TransportError::Protocol { detail, .. } if detail.contains(words));
        assert!(named, "{words}: {error}");
    };
    assert_eq!(
        against(&[data("ff00 0000 0000 0000 00000000 18000000 05000000 00000000", 5)]).unwrap(),
        [vec![9; 5]]
    );
    refused(&[data("0000 0000 0000 0000 00000000 18000000 05000000 00000000", 5)], "CreditsRequested");
    refused(&[data("ff00 0000 0000 0000 00000000 18000000 06000000 00000000", 5)], "DataOffset");
    refused(&[data("ff00 0000 0000 0000 00000000 1c000000 01000000 00000000", 5)], "DataOffset");
    refused(&[data("ff00 0000 0000 0000 ffffffff 18000000 05000000 00000000", 5)], "MaxFragmentedSize");
    refused(&[hex("ff00 0000")], "shorter");
    let begins = data("ff00 0000 0000 0000 0a000000 18000000 05000000 00000000", 5);
    refused(&[begins.clone(), begins.clone()], "RemainingDataLength");
    refused(
        &[begins, data("ff00 0000 0000 0000 00000000 18000000 05000000 00000000", 5)],
        "RemainingDataLength",
    );
}

/// A receive has room for whole cache lines, and so for more than the peer may send.
#[test]
fn a_message_that_is_longer_than_was_agreed_ends_the_connection_although_it_would_fit() {
    let settings = Settings { receive_bytes: 1364, ..Settings::default() };
    let message = |payload: usize| {
        let length = (payload as u32).to_le_bytes().map(|byte| format!("{byte:02x}")).concat();
        data(&format!("ff00 0000 0000 0000 00000000 18000000 {length} 00000000"), payload)
    };
    assert_eq!(against_with(settings, &[message(1340)]).unwrap(), [vec![9; 1340]]);
    let error = against_with(settings, &[message(1360)]).unwrap_err().to_string();
    assert!(error.contains("MaxReceiveSize"), "{error}");
}

/// More credits than there can be are no fault, and a message that grants none is none: the next may.
#[test]
fn grants_of_65535_and_of_nothing_are_taken_as_they_are() {
    let most = data("ff00 ffff 0000 0000 00000000 18000000 05000000 00000000", 5);
    let none = data("ff00 0000 0000 0000 00000000 18000000 05000000 00000000", 5);
    let came = against(&[most.clone(), most.clone(), none, most]).unwrap();
    assert_eq!(came, vec![vec![9; 5]; 4]);
}

/// CreditsGranted of the negotiation.
#[test]
fn an_acceptor_that_grants_nothing_is_named() {
    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Accept);
    let mut a = connection(&wires, Role::Dial, Settings::default());
    raw.send(&hex("00010001 00010000 ff000000 00000000 00008000 54050000 54050000 56a70200"));
    let error = a.negotiated().unwrap_err().to_string();
    assert!(error.contains("CreditsGranted 0"), "{error}");
}

/// The rest of a message waits for a credit that never comes: whoever waits for it is told, in time.
#[test]
fn a_peer_that_grants_nothing_more_is_given_up() {
    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Accept);
    let mut a = connection(&wires, Role::Dial, Settings::default());
    // Two credits, for a message that takes fifteen.
    raw.send(&hex("00010001 00010000 ff000200 00000000 00008000 54050000 54050000 56a70200"));
    a.negotiated().unwrap();
    let mut pipe = SmbdPipe::new(a).unwrap();
    assert_eq!(pipe.send(&[&message(20_000, 1)], None).unwrap(), Queued::Yes);
    let begun = wires.now();
    let error = pipe.drain().unwrap_err();
    let is_it = matches!(&error, TransportError::Timeout { operation, .. } if operation.contains("to grant"));
    assert!(is_it, "{error}");
    assert!(wires.now().since(begun) <= Duration::from_secs(16));
    // It takes no second one meanwhile.
    assert_eq!(pipe.send(&[b"more"], None).unwrap(), Queued::Full);
}

/// It was granted eight, and a ninth receive is not there: the wire ends, as a reliable queue pair does.
#[test]
fn a_peer_that_ignores_credits_ends_the_connection() {
    let wires = SimWires::new(DELAY_NS);
    let mut raw = Raw::new(&wires, Role::Accept);
    let mut a = connection(&wires, Role::Dial, Settings { receive_credits: 8, ..Settings::default() });
    raw.send(&hex(RESPONSE));
    a.negotiated().unwrap();
    let mut pipe = SmbdPipe::new(a).unwrap();
    assert_eq!(pipe.send(&[b"hello"], None).unwrap(), Queued::Yes);
    for _ in 0..9 {
        raw.send(&hex("ff00 0000 0000 0000 00000000 00000000 00000000"));
    }
    let mut came = Vec::new();
    let error = (0..10).find_map(|_| pipe.poll(&mut came, Wait::AtMost(Duration::from_millis(1))).err());
    assert!(error.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_it_sends_panics_or_gathers_too_much(
        messages in proptest::collection::vec(
            (0u16..3, 0u16..4, 0u16..2, 0u32..3000, 0u32..5, 0u32..1400, 0usize..1400),
            1..40,
        )
    ) {
        let messages: Vec<Vec<u8>> = messages
            .into_iter()
            .map(|(requested, granted, flags, remaining, offset, length, have)| {
                let mut bytes = vec![7; 24 + have];
                bytes[0..2].copy_from_slice(&requested.to_le_bytes());
                bytes[2..4].copy_from_slice(&granted.to_le_bytes());
                bytes[4..6].copy_from_slice(&flags.to_le_bytes());
                bytes[8..12].copy_from_slice(&remaining.to_le_bytes());
                bytes[12..16].copy_from_slice(&(offset * 12).to_le_bytes());
                bytes[16..20].copy_from_slice(&length.to_le_bytes());
                bytes
            })
            .collect();
        if let Ok(whole) = against(&messages) {
            prop_assert!(whole.iter().all(|message| message.len() <= 1 << 20));
        }
    }

    #[test]
    fn no_answer_to_the_negotiation_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), dials in any::<bool>()) {
        let wires = SimWires::new(DELAY_NS);
        let (role, other) = if dials { (Role::Dial, Role::Accept) } else { (Role::Accept, Role::Dial) };
        let mut raw = Raw::new(&wires, other);
        let mut end = connection(&wires, role, Settings::default());
        raw.send(&bytes);
        let _ = end.negotiated();
    }
}
