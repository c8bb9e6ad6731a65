//! Everything that an SMB server says: no byte of it panics a decoder or makes it read past its message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_smb2::interfaces::{self, RECORD_BYTES};
use pathproof_smb2::negotiate::NegotiateResponse;
use pathproof_smb2::session::SetupAnswer;
use pathproof_smb2::wire::Header;
use pathproof_smb2::{Credentials, ntlm};

fuzz_target!(|bytes: &[u8]| {
    let _ = Header::decode(bytes);
    let _ = NegotiateResponse::decode(bytes);
    let _ = interfaces::decode_answer(bytes);
    if let Ok(list) = interfaces::decode_list(bytes) {
        let records = list.interfaces.len() + list.unknown_families as usize;
        assert!(records * RECORD_BYTES <= bytes.len(), "no more records than bytes for them");
    }
    let _ = SetupAnswer::decode(bytes);
    if let Ok(challenge) = ntlm::decode_challenge(bytes) {
        let who = Credentials { user: "u".into(), domain: String::new(), password: "p".into() };
        let _ = ntlm::anonymous(&challenge);
        let _ = ntlm::ntlm_v2(&who, &challenge, bytes, bytes, [0; 8], 0);
    }
});
