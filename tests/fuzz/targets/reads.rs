//! What a server says of the data of a READ, in its answer or put into this end's memory by RDMA: whatever it claims, no more is believed than
//! there was room for, and nothing outside its message is taken for data. The first four bytes of an input are how much was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_smb2::file;
use pathproof_smb2::wire::HEADER_BYTES;

fuzz_target!(|bytes: &[u8]| {
    let Some((asked, message)) = bytes.split_first_chunk::<4>() else { return };
    let asked = u32::from_le_bytes(*asked);
    let inline = file::decode_read(message, asked);
    if let Ok(data) = &inline {
        assert!(data.len() as u64 <= u64::from(asked), "more than was asked for");
        let at = data.as_ptr() as usize - message.as_ptr() as usize;
        assert!(data.is_empty() || at >= HEADER_BYTES + 16, "its own head is no data");
        assert!(at + data.len() <= message.len(), "data behind the end of the message");
    }
    let Ok(put) = file::decode_read_into(message, asked) else { return };
    assert!(put <= asked, "more than there was room for");
    assert!(inline.is_ok_and(|data| data.is_empty()), "in the message and in memory at once");
    assert_eq!(message[HEADER_BYTES + 8..HEADER_BYTES + 12], put.to_le_bytes(), "a count that nobody gave");
    if let Some(less) = put.checked_sub(1) {
        assert!(file::decode_read_into(message, less).is_err(), "one byte more than there was room for");
    }
});
