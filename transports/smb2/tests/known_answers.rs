//! A logon and the binding of a second channel, captured byte by byte between another client and Samba 4.17: the same keys come
//! out here.

mod captured;

use captured::blocks;
use pathproof_smb2::crypto::{PreauthHash, Signer};
use pathproof_smb2::session::SetupAnswer;
use pathproof_smb2::{Credentials, Dialect, ntlm};

#[test]
fn the_keys_of_a_captured_session_and_of_its_second_channel_come_out() {
    let blocks = blocks(include_str!("fixtures/binding.txt"));
    let mut from = 0;
    let mut session_signer = None;
    for (connection, signing) in ["KEY signing key", "KEY channel signing key"].into_iter().enumerate() {
        let mut next = |name: &str| {
            let at = from + blocks[from..].iter().position(|found| found.name.starts_with(name)).unwrap();
            from = at + 1;
            blocks[at].bytes.clone()
        };
        let hello = next("SMB2 NEGOTIATE request");
        let agreed = next("SMB2 NEGOTIATE response");
        let [mut ask, mut challenge, mut proof, mut last] = [
            "SESSION_SETUP 1 request",
            "SESSION_SETUP 1 response",
            "SESSION_SETUP 2 request",
            "SESSION_SETUP 2 response",
        ]
        .map(&mut next);
        let session_key = next("KEY session key");
        let _ = next("KEY preauth");
        let signing_key = next(signing);

        let mut hash = PreauthHash::default();
        for message in [&hello, &agreed, &ask, &challenge, &proof] {
            hash.update(message);
        }
        let token = SetupAnswer::decode(&challenge).unwrap().token;
        let read = ntlm::decode_challenge(&token).unwrap();
        let client_nonce = *proof[64 + 24 + 88 + 24 + 32..].first_chunk().unwrap();
        let who = Credentials { user: "root".into(), domain: String::new(), password: "secret".into() };
        let answer = ntlm::ntlm_v2(&who, &read, &ask[64 + 24..], &token, client_nonce, 0);
        assert_eq!(answer.session_key.unwrap().to_vec(), session_key, "connection {connection}");
        assert_eq!(answer.message, proof[64 + 24..], "byte for byte, the integrity code too");

        let signer = Signer::new(Dialect::V3_1_1, None, answer.session_key.unwrap(), &hash);
        let Signer::AesCmac(key) = &signer else { panic!("3.1.1 without a word about it signs by CMAC") };
        assert_eq!(key.to_vec(), signing_key, "connection {connection}");
        assert!(signer.verify(&mut last), "the last answer, by this authentication's key");
        if let Some(session) = &session_signer {
            let session: &Signer = session;
            for (what, message) in [("ask", &mut ask), ("challenge", &mut challenge), ("proof", &mut proof)] {
                assert!(session.verify(message), "{what} of the binding, by the session's key");
            }
        }
        session_signer.get_or_insert(signer);
    }
}
