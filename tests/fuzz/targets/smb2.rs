//! Everything that an SMB server says: no byte of it panics a decoder or makes it read past its message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pathproof_smb2::interfaces::{self, RECORD_BYTES};
use pathproof_smb2::negotiate::NegotiateResponse;
use pathproof_smb2::crypto::{PreauthHash, Signer};
use pathproof_smb2::file::{self, Created};
use pathproof_smb2::seal::Sealer;
use pathproof_smb2::session::{SetupAnswer, TreeAnswer};
use pathproof_smb2::wire::Header;
use pathproof_smb2::{Cipher, Credentials, Dialect, SigningAlgorithm, ntlm, validate};

fuzz_target!(|bytes: &[u8]| {
    let _ = Header::decode(bytes);
    // Whatever a server had agreed on before: what it says of it later is read against that.
    if let (Ok(agreed), Some((_, later))) = (NegotiateResponse::decode(bytes), bytes.split_at_checked(64)) {
        let _ = validate::difference(bytes, &agreed);
        let _ = validate::difference(later, &agreed);
    }
    let _ = interfaces::decode_answer(bytes);
    if let Ok(list) = interfaces::decode_list(bytes) {
        let records = list.interfaces.len() + list.unknown_families as usize;
        assert!(records * RECORD_BYTES <= bytes.len(), "no more records than bytes for them");
    }
    let _ = SetupAnswer::decode(bytes);
    let _ = TreeAnswer::decode(bytes);
    let _ = Created::decode(bytes);
    let _ = file::decode_write(bytes);
    let _ = file::decode_room(bytes);
    let _ = file::decode_length(bytes);
    if let Ok(data) = file::decode_read(bytes, 4096) {
        assert!(data.len() <= 4096, "no more than was asked for");
    }
    let (hash, mut message) = (PreauthHash::default(), bytes.to_vec());
    for cipher in 1..=4 {
        let sealer = Sealer::new(Dialect::V3_1_1, Cipher(cipher), &[1; 16], &hash, 1).expect("it is known");
        assert!(!sealer.open(&mut message), "nobody guesses a key");
    }
    for algorithm in 0..=2 {
        let agreed = Some(SigningAlgorithm(algorithm));
        assert!(!Signer::new(Dialect::V3_1_1, agreed, [1; 16], &hash).verify(&mut message));
    }
    if let Ok(challenge) = ntlm::decode_challenge(bytes) {
        let who = Credentials { user: "u".into(), domain: String::new(), password: "p".into() };
        let _ = ntlm::anonymous(&challenge);
        let _ = ntlm::ntlm_v2(&who, &challenge, bytes, bytes, [0; 8], 0);
    }
});
