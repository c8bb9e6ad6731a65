//! Every decoder against good answers, each kind of damage by hand, and any bytes at all.

mod support;

use std::net::IpAddr;

use pathproof_smb2::error::WireError;
use pathproof_smb2::interfaces::{self, RECORD_BYTES};
use pathproof_smb2::negotiate::{Dialect, NegotiateRequest, NegotiateResponse};
use pathproof_smb2::session::SetupAnswer;
use pathproof_smb2::status::NtStatus;
use pathproof_smb2::wire::{Command, HEADER_BYTES, Header, frame_length};
use pathproof_smb2::{Capabilities, Interface, ntlm};
use proptest::prelude::*;
use support::{answer, context, ioctl_body, negotiate_body, preauth, record, v4, v6};

fn negotiate(dialect: u16, contexts: &[Vec<u8>]) -> Vec<u8> {
    answer(Command::Negotiate, 0, NtStatus::SUCCESS, &negotiate_body(dialect, 0x4F, contexts))
}

fn ioctl(list: &[u8]) -> Vec<u8> {
    answer(Command::Ioctl, 1, NtStatus::SUCCESS, &ioctl_body(list))
}

fn full_negotiate() -> Vec<u8> {
    let transforms = [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0];
    negotiate(
        0x0311,
        &[preauth(), context(2, &[1, 0, 2, 0]), context(7, &transforms), context(8, &[1, 0, 2, 0])],
    )
}

fn two_records() -> Vec<u8> {
    let mut list = record(152, 7, 1, 25_000_000_000, &v4([10, 0, 0, 1]));
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    list.extend(record(0, 9, 2, 0, &v6(link_local, 4)));
    list
}

#[test]
fn a_full_negotiate_answer_is_read() {
    let read = NegotiateResponse::decode(&full_negotiate()).unwrap();
    assert_eq!(read.dialect, Dialect::V3_1_1);
    assert!(read.signing_required);
    assert_eq!(read.capabilities.names(), ["DFS", "LEASING", "LARGE_MTU", "MULTI_CHANNEL", "ENCRYPTION"]);
    assert_eq!(
        (read.max_transact_bytes, read.max_read_bytes, read.max_write_bytes),
        (8 << 20, 4 << 20, 2 << 20)
    );
    assert_eq!(read.cipher.unwrap().to_string(), "AES-128-GCM");
    assert_eq!(read.signing.unwrap().to_string(), "AES-GMAC");
    let transforms: Vec<_> = read.rdma_transforms.iter().map(ToString::to_string).collect();
    assert_eq!(transforms, ["encryption", "signing"]);
}

#[test]
fn contexts_are_only_read_where_they_exist() {
    // Before 3.1.1 the two fields are reserved and may hold anything.
    let read = NegotiateResponse::decode(&negotiate(0x0302, &[context(2, &[0xFF; 3])])).unwrap();
    assert_eq!((read.dialect, read.cipher), (Dialect::V3_0_2, None));
}

#[test]
fn damaged_negotiate_answers_are_refused() {
    let cases: [(&str, Vec<u8>); 7] = [
        ("no preauth", negotiate(0x0311, &[context(2, &[1, 0, 2, 0])])),
        ("two preauth", negotiate(0x0311, &[preauth(), preauth()])),
        ("two ciphers", negotiate(0x0311, &[preauth(), context(2, &[2, 0, 2, 0, 1, 0])])),
        ("transforms beyond", negotiate(0x0311, &[preauth(), context(7, &[9, 0, 0, 0, 0, 0, 0, 0, 1, 0])])),
        ("33 contexts", negotiate(0x0311, &vec![preauth(); 33])),
        ("contexts beyond the end", {
            let mut message = full_negotiate();
            message[HEADER_BYTES + 60..HEADER_BYTES + 64].copy_from_slice(&0xFFFF_FFFCu32.to_le_bytes());
            message
        }),
        ("blob beyond the end", {
            let mut message = full_negotiate();
            message[HEADER_BYTES + 58..HEADER_BYTES + 60].copy_from_slice(&0xFFFFu16.to_le_bytes());
            message
        }),
    ];
    for (name, message) in cases {
        assert!(NegotiateResponse::decode(&message).is_err(), "{name}");
    }
    let whole = full_negotiate();
    for cut in HEADER_BYTES..whole.len() {
        assert!(NegotiateResponse::decode(&whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn interface_records_are_read() {
    let list = interfaces::decode_answer(&ioctl(&two_records())).unwrap();
    assert_eq!(
        list.interfaces,
        [
            Interface {
                index: 7,
                rss: true,
                rdma: false,
                speed_bits_per_s: Some(25_000_000_000),
                address: "10.0.0.1".parse().unwrap(),
                scope: None,
            },
            Interface {
                index: 9,
                rss: false,
                rdma: true,
                speed_bits_per_s: None,
                address: "fe80::9".parse::<IpAddr>().unwrap(),
                scope: Some(4),
            },
        ]
    );
}

#[test]
fn an_empty_list_and_padding_and_other_families_are_fine() {
    assert!(interfaces::decode_answer(&ioctl(&[])).unwrap().interfaces.is_empty());
    let mut padded = two_records();
    padded.extend_from_slice(&[0; 8]);
    assert_eq!(interfaces::decode_answer(&ioctl(&padded)).unwrap().interfaces.len(), 2);
    let list = interfaces::decode_list(&record(0, 1, 0, 1, &[10, 0])).unwrap();
    assert_eq!((list.interfaces.len(), list.unknown_families), (0, 1), "Linux's AF_INET6 is not the wire's");
}

#[test]
fn damaged_interface_lists_are_refused() {
    let with_next = |next: u32| {
        let mut list = two_records();
        list[..4].copy_from_slice(&next.to_le_bytes());
        list
    };
    for (name, next) in [
        ("points at itself", 8),
        ("overlaps", 144),
        ("misaligned", 153),
        ("beyond the end", 304),
        ("far beyond the end", 0xFFFF_FFF8),
    ] {
        assert!(interfaces::decode_list(&with_next(next)).is_err(), "{name}");
    }
    for cut in 0..2 * RECORD_BYTES {
        assert!(interfaces::decode_list(&two_records()[..cut]).is_err(), "cut at {cut}");
    }
    let patched = |at: usize, value: u32| {
        let mut message = ioctl(&two_records());
        message[at..at + 4].copy_from_slice(&value.to_le_bytes());
        interfaces::decode_answer(&message)
    };
    assert!(matches!(patched(100, 65_537), Err(WireError::Oversize { .. })));
    assert!(matches!(patched(96, 0xFFFF_FFFF), Err(WireError::Truncated { .. })));
    assert!(matches!(patched(96, 64), Err(WireError::Malformed { .. })), "list over the header");
    assert!(matches!(patched(68, 0x0014_0204), Err(WireError::Malformed { .. })), "another control code");
}

#[test]
fn the_question_is_laid_out_as_measured_against_real_servers() {
    let request = |dialects: &[Dialect], name: &str| {
        NegotiateRequest {
            dialects,
            client_guid: [1; 16],
            salt: [2; 32],
            server_name: name,
            for_session: false,
        }
        .encode()
        .len()
            + HEADER_BYTES
    };
    assert_eq!(request(&[Dialect::V3_0_2], "server"), 102, "one dialect, no contexts");
    let with_contexts = request(&Dialect::ALL, "");
    assert_eq!(with_contexts % 2, 0);
    assert!(with_contexts > request(&[Dialect::V3_0_2], "") + 40);
    assert_eq!(HEADER_BYTES + interfaces::encode_query().len(), 120);
}

#[test]
fn unknown_bits_keep_their_value() {
    assert_eq!(Capabilities(0x4000_0008).names(), ["MULTI_CHANNEL", "0x40000000"]);
    assert_eq!(Dialect(0x0400).to_string(), "0x0400");
}

/// Give the same bytes to everything that reads bytes from a network.
fn decode_everything(bytes: &[u8]) {
    let _ = Header::decode(bytes);
    let _ = NegotiateResponse::decode(bytes);
    let _ = interfaces::decode_answer(bytes);
    if let Ok(list) = interfaces::decode_list(bytes) {
        let records = list.interfaces.len() + list.unknown_families as usize;
        assert!(records * RECORD_BYTES <= bytes.len(), "no more records than bytes for them");
    }
    let _ = SetupAnswer::decode(bytes);
    if let Ok(challenge) = ntlm::decode_challenge(bytes) {
        let who =
            pathproof_smb2::Credentials { user: "u".into(), domain: String::new(), password: "p".into() };
        let _ = ntlm::anonymous(&challenge);
        let _ = ntlm::ntlm_v2(&who, &challenge, bytes, bytes, [0; 8], 0);
    }
    if let Some(prefix) = bytes.first_chunk::<4>() {
        let _ = frame_length(*prefix, 128 * 1024);
    }
}

fn cases() -> u32 {
    // A longer run on demand: PATHPROOF_FUZZ_CASES=1000000 cargo test -p pathproof-smb2 --release
    std::env::var("PATHPROOF_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

fn challenge() -> Vec<u8> {
    let mut token = b"NTLMSSP\0".to_vec();
    token.extend_from_slice(&2u32.to_le_bytes());
    token.extend_from_slice(&[0; 8]);
    token.extend_from_slice(&0x0080_0001u32.to_le_bytes());
    token.extend_from_slice(&[9; 16]);
    token.extend_from_slice(&[16, 0, 16, 0, 48, 0, 0, 0]);
    token.extend_from_slice(&[7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
    token
}

fn setup() -> Vec<u8> {
    let token = challenge();
    let mut body = 9u16.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 72, 0]);
    body.extend_from_slice(&(token.len() as u16).to_le_bytes());
    body.extend_from_slice(&token);
    answer(Command::SessionSetup, 1, NtStatus::MORE_PROCESSING_REQUIRED, &body)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        decode_everything(&bytes);
    }

    #[test]
    fn damaged_good_answers_are_survived(
        which in 0usize..5,
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        cut_it in any::<bool>(),
    ) {
        let mut bytes = match which {
            0 => full_negotiate(),
            1 => ioctl(&two_records()),
            2 => two_records(),
            3 => setup(),
            _ => challenge(),
        };
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut_it {
            bytes.truncate(cut.index(bytes.len()));
        }
        decode_everything(&bytes);
    }

    #[test]
    fn any_list_survives_the_round_trip(
        records in proptest::collection::vec(
            (any::<u32>(), 0u32..4, any::<u64>(), any::<[u8; 16]>(), any::<bool>(), 0u32..3), 1..40),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (at, (index, capability, speed, address, four, gap)) in records.iter().enumerate() {
            let last = at + 1 == records.len();
            let next = if last { 0 } else { 152 + 8 * gap };
            let (sockaddr, address) = if *four {
                let address = [address[0], address[1], address[2], address[3]];
                (v4(address), IpAddr::from(address))
            } else {
                (v6(*address, 1), IpAddr::from(*address))
            };
            bytes.extend(record(next, *index, *capability, *speed, &sockaddr));
            bytes.resize(bytes.len() + if last { 0 } else { 8 * *gap as usize }, 0xEE);
            expected.push((*index, *capability, *speed, address));
        }
        let list = interfaces::decode_list(&bytes).unwrap();
        let seen: Vec<_> = list.interfaces.iter().map(|one| {
            (one.index, u32::from(one.rss) | u32::from(one.rdma) << 1, one.speed_bits_per_s.unwrap_or(0), one.address)
        }).collect();
        prop_assert_eq!(seen, expected);
    }
}
