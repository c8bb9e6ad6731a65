//! Byte-exact against the specification's example and captured exchanges; every rule at both its edges.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// MS-SMBD 4.1; Windows' defaults; a real ksmbd of Linux 6.12 on Soft-RoCE and soft-iWARP alike; a real cifs.ko.
#[test]
fn negotiations_are_byte_exact() {
    let spec = NegotiateRequest {
        credits_requested: 10,
        preferred_send_bytes: 1024,
        max_receive_bytes: 1024,
        max_fragmented_bytes: 131_072,
    };
    let windows = NegotiateRequest {
        credits_requested: 255,
        preferred_send_bytes: 1364,
        max_receive_bytes: 8192,
        max_fragmented_bytes: 1_048_576,
    };
    let cifs = NegotiateRequest { max_receive_bytes: 1364, max_fragmented_bytes: 173_910, ..windows };
    for (request, bytes) in [
        (spec, "00010001 00000a00 00040000 00040000 00000200"),
        (windows, "00010001 0000ff00 54050000 00200000 00001000"),
        (cifs, "00010001 0000ff00 54050000 54050000 56a70200"),
    ] {
        assert_eq!(request.encode().to_vec(), hex(bytes));
        assert_eq!(NegotiateRequest::decode(&hex(bytes)), Ok(request));
    }
    let spec = NegotiateResponse {
        credits_requested: 10,
        credits_granted: 10,
        max_read_write_bytes: 1_048_576,
        preferred_send_bytes: 1024,
        max_receive_bytes: 1024,
        max_fragmented_bytes: 131_072,
    };
    let ksmbd = NegotiateResponse {
        credits_requested: 255,
        credits_granted: 254,
        max_read_write_bytes: 8_388_608,
        preferred_send_bytes: 1364,
        max_receive_bytes: 1364,
        max_fragmented_bytes: 173_910,
    };
    for (response, bytes) in [
        (spec, "00010001 00010000 0a000a00 00000000 00001000 00040000 00040000 00000200"),
        (ksmbd, "00010001 00010000 ff00fe00 00000000 00008000 54050000 54050000 56a70200"),
    ] {
        assert_eq!(response.encode().to_vec(), hex(bytes));
        assert_eq!(NegotiateResponse::decode(&hex(bytes), 8192), Ok(response));
    }
    assert_eq!(
        NegotiateResponse::decode(&NegotiateResponse::refusal(), 8192),
        Err(Fault::Refused(STATUS_NOT_SUPPORTED))
    );
}

#[test]
fn data_headers_are_byte_exact() {
    let alive = DataHeader { credits_requested: 255, flags: RESPONSE_REQUESTED, ..DataHeader::default() };
    let (bytes, length) = alive.encode();
    assert_eq!(bytes[..length].to_vec(), hex("ff00 0000 0100 0000 00000000 00000000 00000000"));
    assert_eq!(DataHeader::decode(&bytes, length, 1 << 20), Ok(alive));
    // The first fragment of 1 MiB in messages of 1364.
    let first = DataHeader {
        credits_requested: 255,
        credits_granted: 7,
        ..DataHeader::fragment(1340, 1_048_576 - 1340)
    };
    let (bytes, length) = first.encode();
    assert_eq!(length, 24);
    assert_eq!(bytes.to_vec(), hex("ff00 0700 0000 0000 c4fa0f00 18000000 3c050000 00000000"));
    assert_eq!(DataHeader::decode(&bytes, 1364, 1 << 20), Ok(first));
}

/// The descriptors of a captured SMB2 WRITE and READ of 1 MiB to ksmbd.
#[test]
fn descriptors_are_byte_exact() {
    for (bytes, address, token) in [
        ("00400c3b e97f0000 70080000 00001000", 0x7fe9_3b0c_4000, 0x870),
        ("0040fc3a e97f0000 48090000 00001000", 0x7fe9_3afc_4000, 0x948),
    ] {
        let descriptor = BufferDescriptor { address, token, bytes: 1 << 20 };
        assert_eq!(BufferDescriptor::decode(&hex(bytes)), Ok(descriptor));
        assert_eq!(descriptor.encode().to_vec(), hex(bytes));
    }
    let last = BufferDescriptor { address: u64::MAX - 9, token: 1, bytes: 9 };
    assert_eq!(BufferDescriptor::decode(&last.encode()), Ok(last));
    assert!(BufferDescriptor::decode(&BufferDescriptor { bytes: 10, ..last }.encode()).is_err());
    assert!(BufferDescriptor::decode(&last.encode()[..15]).is_err());
}

/// Changes bytes of a message that is right and says whether it still is.
fn request_with(at: usize, value: &[u8]) -> bool {
    let mut bytes = hex("00010001 0000ff00 54050000 00200000 00001000");
    bytes[at..at + value.len()].copy_from_slice(value);
    NegotiateRequest::decode(&bytes).is_ok()
}

#[test]
fn a_request_is_held_to_every_rule_at_both_edges() {
    assert!(!request_with(6, &0u16.to_le_bytes()) && request_with(6, &1u16.to_le_bytes()));
    assert!(!request_with(12, &127u32.to_le_bytes()) && request_with(12, &128u32.to_le_bytes()));
    assert!(!request_with(16, &131_071u32.to_le_bytes()) && request_with(16, &131_072u32.to_le_bytes()));
    // Version 1.0 must lie inside the range.
    for (min, max, fits) in
        [(0x0100u16, 0x0100u16, true), (0, 0xffff, true), (0x0101, 0x0200, false), (0, 0x00ff, false)]
    {
        assert_eq!(request_with(0, &[min.to_le_bytes(), max.to_le_bytes()].concat()), fits);
    }
    let whole = hex("00010001 0000ff00 54050000 00200000 00001000");
    assert!(NegotiateRequest::decode(&whole[..19]).is_err());
    assert!(NegotiateRequest::decode(&[whole, vec![7]].concat()).is_ok(), "more than is known is no fault");
}

fn response_with(at: usize, value: &[u8]) -> Result<NegotiateResponse, Fault> {
    let mut bytes = hex("00010001 00010000 ff00fe00 00000000 00008000 54050000 54050000 56a70200");
    bytes[at..at + value.len()].copy_from_slice(value);
    NegotiateResponse::decode(&bytes, 1364)
}

#[test]
fn a_response_is_held_to_every_rule_at_both_edges() {
    for at in [8, 10] {
        assert!(response_with(at, &0u16.to_le_bytes()).is_err() && response_with(at, &[1, 0]).is_ok());
    }
    assert!(response_with(4, &0x0101u16.to_le_bytes()).is_err());
    assert_eq!(response_with(12, &0xC000_009Au32.to_le_bytes()), Err(Fault::Refused(0xC000_009A)));
    assert!(
        response_with(20, &1365u32.to_le_bytes()).is_err()
            && response_with(20, &1364u32.to_le_bytes()).is_ok()
    );
    assert!(
        response_with(24, &127u32.to_le_bytes()).is_err() && response_with(24, &128u32.to_le_bytes()).is_ok()
    );
    assert!(response_with(28, &131_071u32.to_le_bytes()).is_err());
    assert!(response_with(28, &131_072u32.to_le_bytes()).is_ok());
    assert!(NegotiateResponse::decode(&[0; 31], 1364).is_err());
}

#[test]
fn a_data_message_is_held_to_every_rule_at_both_edges() {
    const MOST: u32 = 200_000;
    let good = DataHeader { credits_requested: 1, ..DataHeader::fragment(100, MOST - 100) };
    let check = |header: DataHeader, message_bytes: usize| {
        let (bytes, _) = header.encode();
        DataHeader::decode(&bytes, message_bytes, MOST).is_ok()
    };
    assert!(check(good, 124) && !check(good, 123), "the payload ends with the message");
    assert!(!check(DataHeader { credits_requested: 0, ..good }, 124));
    assert!(!check(DataHeader { remaining_bytes: MOST - 99, ..good }, 124), "more than is taken in all");
    assert!(!check(DataHeader { payload_offset: 28, ..good }, 200), "not a multiple of 8");
    assert!(check(DataHeader { payload_offset: 32, ..good }, 132));
    assert!(!check(DataHeader { payload_offset: 16, ..good }, 200), "inside the header");
    assert!(!check(DataHeader { payload_offset: u32::MAX - 7, payload_bytes: 100, ..good }, 200));
    let huge = DataHeader { remaining_bytes: u32::MAX, payload_bytes: u32::MAX, ..good };
    assert!(!check(huge, usize::MAX), "sums do not wrap");
    let empty = DataHeader { credits_requested: 1, ..DataHeader::default() };
    assert!(check(empty, 20) && !check(empty, 19));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_lies_inside(bytes in proptest::collection::vec(any::<u8>(), 0..64), most in any::<u32>()) {
        let _ = NegotiateRequest::decode(&bytes);
        let _ = NegotiateResponse::decode(&bytes, most);
        let _ = BufferDescriptor::decode(&bytes);
        if let Ok(header) = DataHeader::decode(&bytes, bytes.len(), most) {
            let end = header.payload_offset as usize + header.payload_bytes as usize;
            prop_assert!(end <= bytes.len());
            prop_assert!(header.payload_bytes as u64 + header.remaining_bytes as u64 <= u64::from(most));
        }
    }
}
