//! What opens a data lane and what travels before its messages: whatever a peer sends is a header or it is refused, and a
//! header is read as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_tcp::{LANE_PREAMBLE_BYTES, LanePreamble};

// By path, so that nothing is made public for the sake of this target.
#[allow(dead_code)]
#[path = "../../../transports/multi/src/frame.rs"]
mod multi_frame;
#[allow(dead_code)]
#[path = "../../../transports/tcp/src/frame.rs"]
mod tcp_frame;

fuzz_target!(|bytes: &[u8]| {
    if let Some((head, _)) = bytes.split_first_chunk::<LANE_PREAMBLE_BYTES>()
        && let Some(preamble) = LanePreamble::decode(head)
    {
        assert_eq!(preamble.encode(), *head);
    }
    if let Some((head, _)) = bytes.split_first_chunk::<{ tcp_frame::HEADER_BYTES }>()
        && let Some(frame) = tcp_frame::Frame::decode(head)
    {
        assert_eq!(frame.encode(), *head);
    }
    if let Some((head, _)) = bytes.split_first_chunk::<{ multi_frame::HEAD_BYTES as usize }>()
        && let Some(frame) = multi_frame::Head::decode(head)
    {
        assert_eq!(frame.encode(), *head);
    }
});
