//! What an SMB Direct peer sends: no byte of it panics a decoder, and whatever it sends, the account of credits and of
//! fragments stays within what was agreed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_api::Tick;
use pathproof_smbd::codec::{BufferDescriptor, DataHeader, NegotiateRequest, NegotiateResponse};
use pathproof_smbd::credits::Credits;
use pathproof_smbd::lane::frame::Head;
use pathproof_smbd::lane::offer::OfferedEnd;
use pathproof_smbd::reassembly::Reassembly;

const FRAGMENTED_BYTES: u32 = 131_072;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = NegotiateRequest::decode(bytes) {
        assert_eq!(NegotiateRequest::decode(&request.encode()), Ok(request));
    }
    if let Ok(response) = NegotiateResponse::decode(bytes, 8192) {
        assert_eq!(NegotiateResponse::decode(&response.encode(), 8192), Ok(response));
    }
    if let Ok(descriptor) = BufferDescriptor::decode(bytes) {
        assert_eq!(BufferDescriptor::decode(&descriptor.encode()), Ok(descriptor));
    }
    if let Some(end) = OfferedEnd::decode(bytes) {
        assert_eq!(OfferedEnd::decode(&end.encode().0), Some(end));
    }
    if let Some(head) = Head::decode(bytes, bytes.len() as u64) {
        let (again, length) = head.encode();
        assert_eq!(Head::decode(&again[..length], bytes.len() as u64), Some(head));
    }
    // A whole connection: each 24 bytes are the head of a message that is as long as a receive.
    let mut credits = Credits::new(4, 4, 4, 4, 0, Tick(0));
    let (mut reassembly, mut gathered) = (Reassembly::default(), 0);
    for (number, head) in bytes.chunks(24).enumerate() {
        let now = Tick(number as u64);
        let Ok(header) = DataHeader::decode(head, 1364, FRAGMENTED_BYTES) else { return };
        if !credits.received(header.credits_requested, header.credits_granted) {
            return;
        }
        if header.payload_bytes > 0 {
            let Some(part) = reassembly.take(&header, now) else { return };
            gathered += header.payload_bytes;
            assert!(gathered <= FRAGMENTED_BYTES, "more than was agreed is gathered");
            if part.last {
                gathered = 0;
            }
        }
        credits.reposted(header.payload_bytes > 0, now);
        while credits.may_send() {
            let had = credits.send_credits();
            let (_, granted) = credits.spend();
            assert!(had > 1 || granted > 0, "the last credit is spent on a grant only");
            assert!(granted <= 4, "no more is granted than there is");
        }
    }
});
