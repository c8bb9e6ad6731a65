//! Whole messages of other clients, of ksmbd (Linux 6.12) and of Samba 4.17, byte by byte (`fixtures/README.md`): what they sent is what comes
//! out here for the same wishes, and their answers are read as their prototype read them.

mod captured;

use captured::{Block, blocks};
use pathproof_smb2::crypto::{PreauthHash, Signer};
use pathproof_smb2::direct::{Channel, Descriptor, Placement};
use pathproof_smb2::file::{self, Create, Created, Disposition, FileId};
use pathproof_smb2::negotiate::{NegotiateRequest, NegotiateResponse};
use pathproof_smb2::session::{self, Purpose, SetupAnswer, encode_setup, encode_tree_connect};
use pathproof_smb2::wire::{Command, HEADER_BYTES, Header};
use pathproof_smb2::{Capabilities, Cipher, Credentials, Dialect, NtStatus, SigningAlgorithm, ntlm};

const WALKS: [&str; 2] = [include_str!("fixtures/walk-rxe.txt"), include_str!("fixtures/walk-siw.txt")];
const BINDINGS: [&str; 2] = [
    include_str!("fixtures/smb2-binding-ksmbd-rxe.txt"),
    include_str!("fixtures/smb2-binding-ksmbd-siw.txt"),
];
const FOREIGN: [&str; 2] = [
    include_str!("fixtures/cifs-foreign-initiator-rxe.txt"),
    include_str!("fixtures/cifs-foreign-initiator-siw.txt"),
];
const MIB: u32 = 1 << 20;
/// Where the token stands in a SESSION_SETUP.
const TOKEN_AT: usize = HEADER_BYTES + 24;

/// Messages of SMB2 in a capture.
fn messages(text: &str) -> Vec<Block> {
    blocks(text).into_iter().filter(|block| block.bytes.starts_with(b"\xFESMB")).collect()
}

/// The message of that name which comes after `from` others.
fn named<'a>(messages: &'a [Block], name: &str, from: usize) -> &'a [u8] {
    &messages.iter().filter(|block| block.name == name).nth(from).unwrap().bytes
}

/// A file as ksmbd and the prototype number it: for good, and for as long as it is open.
fn numbered((persistent, volatile): (u8, u8)) -> FileId {
    let mut id = [0; 16];
    (id[0], id[8]) = (persistent, volatile);
    FileId(id)
}

#[test]
fn every_header_comes_out_as_it_went_in() {
    let mut seen = 0;
    let all = WALKS.iter().chain(&BINDINGS).chain(&FOREIGN).chain(&[include_str!("fixtures/binding.txt")]);
    for message in all.flat_map(|text| messages(text)) {
        let bytes = &message.bytes;
        let (header, next) = Header::decode_chained(bytes).unwrap();
        let mut head = header.encode_head();
        head[20..24].copy_from_slice(&(next as u32).to_le_bytes());
        // A process of a kernel client, which nobody reads; and the signature.
        head[32..36].copy_from_slice(&bytes[32..36]);
        head[48..].copy_from_slice(&bytes[48..HEADER_BYTES]);
        assert_eq!(head, bytes[..HEADER_BYTES], "{}", message.name);
        seen += 1;
    }
    assert!(seen > 150, "only {seen} messages were looked at");
}

#[test]
fn a_negotiation_is_asked_as_another_client_asked_it_as_far_as_both_ask_the_same() {
    for text in WALKS.iter().chain(&FOREIGN) {
        let asked: Vec<Block> = messages(text)
            .into_iter()
            .filter(|block| block.bytes.len() == 204 && block.name.contains("NEGOTIATE"))
            .collect();
        assert!(!asked.is_empty());
        for message in asked {
            let bytes = &message.bytes[HEADER_BYTES..];
            let ours = NegotiateRequest {
                dialects: &[Dialect::V3_1_1],
                client_guid: bytes[12..28].try_into().unwrap(),
                salt: bytes[54..86].try_into().unwrap(),
                server_name: "",
                for_session: false,
            }
            .encode();
            // Up to the end of the first context; then it offers one cipher where this client offers four.
            assert_eq!(ours[..88], bytes[..88]);
            // Then the RDMA transforms, each where what stands before lets it begin.
            assert_eq!(bytes[104..124], ours[112..132]);
        }
    }
}

#[test]
fn ksmbd_s_negotiation_and_logon_are_those_that_come_out_here() {
    for text in WALKS {
        let messages = messages(text);
        let hello = named(&messages, "SMB2 NEGOTIATE request", 0);
        let agreed_bytes = named(&messages, "SMB2 NEGOTIATE response", 0);
        let agreed = NegotiateResponse::decode(agreed_bytes).unwrap();
        assert_eq!((agreed.dialect, agreed.signing_required), (Dialect::V3_1_1, false));
        assert_eq!(agreed.capabilities, Capabilities(0x0C));
        assert_eq!(
            (agreed.max_transact_bytes, agreed.max_read_bytes, agreed.max_write_bytes),
            (MIB, 4 * MIB, 4 * MIB)
        );
        assert_eq!((agreed.cipher, agreed.signing), (Some(Cipher(2)), Some(SigningAlgorithm::AES_CMAC)));
        assert!(agreed.rdma_transforms.is_empty(), "ksmbd has none");

        let ask = named(&messages, "SESSION_SETUP 1 request", 0);
        let first = encode_setup(&ntlm::negotiate(), Purpose::New { previous_session_id: 0 });
        assert_eq!(ask[HEADER_BYTES..], first);
        let challenge = named(&messages, "SESSION_SETUP 1 response", 0);
        let token = SetupAnswer::decode(challenge).unwrap().token;
        let read = ntlm::decode_challenge(&token).unwrap();
        assert_eq!(read.timestamp, None, "ksmbd tells no time, so none is to be proved");
        let proof = named(&messages, "SESSION_SETUP 2 request", 0);
        let answer = answered(proof, ask, &token, &read);
        let second = encode_setup(&answer.message, Purpose::New { previous_session_id: 0 });
        assert_eq!(proof[HEADER_BYTES..], second);

        let mut hash = PreauthHash::default();
        for message in [hello, agreed_bytes, ask, challenge, proof] {
            hash.update(message);
        }
        let signer = Signer::new(agreed.dialect, agreed.signing, answer.session_key.unwrap(), &hash);
        let mut last = named(&messages, "SESSION_SETUP 2 response", 0).to_vec();
        assert!(signer.verify(&mut last), "the server has the same key");
        last[71] ^= 1;
        assert!(!signer.verify(&mut last));
    }
}

/// The answer to a challenge with the nonce and the time that another client took.
fn answered(proof: &[u8], ask: &[u8], token: &[u8], challenge: &ntlm::Challenge) -> ntlm::Authenticate {
    let who = Credentials { user: "tester".into(), domain: String::new(), password: "secret".into() };
    // Behind the fixed part, the LM answer, the proof and eight bytes stand time and nonce.
    let time_at = TOKEN_AT + 88 + 24 + 16 + 8;
    let time = u64::from_le_bytes(proof[time_at..time_at + 8].try_into().unwrap());
    let nonce = proof[time_at + 8..time_at + 16].try_into().unwrap();
    ntlm::ntlm_v2(&who, challenge, &ask[TOKEN_AT..], token, nonce, time)
}

/// Over SMB Direct, to a session that began over TCP.
#[test]
fn a_binding_to_ksmbd_is_the_one_that_comes_out_here() {
    for text in BINDINGS {
        let messages = messages(text);
        let ask = named(&messages, "SESSION_SETUP 1 request", 0);
        assert_eq!(ask[HEADER_BYTES..], encode_setup(&ntlm::negotiate(), Purpose::Binding));
        let challenge = named(&messages, "SESSION_SETUP 1 response", 0);
        assert_eq!(Header::decode(challenge).unwrap().status, NtStatus::MORE_PROCESSING_REQUIRED);
        assert_eq!(challenge[48..64], ask[48..64], "it gives the signature back and signs nothing");
        let token = SetupAnswer::decode(challenge).unwrap().token;
        let read = ntlm::decode_challenge(&token).unwrap();
        let proof = named(&messages, "SESSION_SETUP 2 request", 0);
        let answer = answered(proof, ask, &token, &read);
        assert_eq!(proof[HEADER_BYTES..], encode_setup(&answer.message, Purpose::Binding));
    }
}

/// The memory that a request names behind its body: one piece.
fn placed(message: &[u8], channel: Channel) -> Placement {
    let piece = &message[HEADER_BYTES + 48..];
    assert_eq!(piece.len(), 16);
    let descriptor = Descriptor {
        address: u64::from_le_bytes(piece[..8].try_into().unwrap()),
        token: u32::from_le_bytes(piece[8..12].try_into().unwrap()),
        length: u32::from_le_bytes(piece[12..].try_into().unwrap()),
    };
    Placement::new(&[descriptor], channel).unwrap()
}

/// A life with 1 MiB each way by RDMA: made, written, read, opened once more to be deleted, gone.
#[test]
fn a_life_against_ksmbd_is_read_as_it_was() {
    for (text, made, opened) in [(WALKS[0], (3, 1), (4, 2)), (WALKS[1], (1, 1), (2, 2))] {
        let messages = messages(text);
        let created = |from| Created::decode(named(&messages, "CREATE response", from)).unwrap();
        assert_eq!(created(0), Created { file: numbered(made), is_new: true, end_of_file: 0 });
        let again = Created { file: numbered(opened), is_new: false, end_of_file: u64::from(MIB) };
        assert_eq!(created(1), again);
        let gone = named(&messages, "CREATE response", 2);
        assert_eq!(Header::decode(gone).unwrap().status, NtStatus::OBJECT_NAME_NOT_FOUND);
        assert!(Created::decode(gone).is_err(), "a refusal is no file");

        let write = named(&messages, "WRITE request", 0);
        let place = placed(write, Channel::Kept);
        let body = file::encode_write_from(numbered(made), 0, &place, false);
        assert_eq!(write[HEADER_BYTES..], [&body[..], place.encoded()].concat());
        assert_eq!(Header::decode(write).unwrap().charge, 16);
        assert_eq!(file::decode_write(named(&messages, "WRITE response", 0)), Ok(MIB));

        let read = named(&messages, "READ request", 0);
        let place = placed(read, Channel::Kept);
        let body = file::encode_read_into(numbered(made), 0, &place);
        assert_eq!(read[HEADER_BYTES..], [&body[..], place.encoded()].concat());
        let answer = named(&messages, "READ response", 0);
        assert_eq!(file::decode_read_into(answer, MIB), Ok(MIB));
        assert!(file::decode_read_into(answer, MIB - 1).is_err(), "more than there would be room for");
        assert!(file::decode_read(answer, MIB).unwrap().is_empty(), "nothing of it in the message");
    }
}

/// UTF-16LE, which it is.
fn text_of(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16(&units).unwrap()
}

/// What the prototype and cifs.ko sent to a passive end.
#[test]
fn what_others_ask_a_passive_end_is_what_comes_out_here() {
    let mut seen = [0; 6];
    for text in FOREIGN {
        for message in messages(text).into_iter().filter(Block::is_whole) {
            let (bytes, name) = (&message.bytes, &message.name);
            let header = Header::decode_chained(bytes).unwrap().0;
            let body = &bytes[HEADER_BYTES..];
            match header.command {
                Command::SessionSetup if bytes.len() == 120 => {
                    let first = encode_setup(&ntlm::negotiate(), Purpose::New { previous_session_id: 0 });
                    assert_eq!(body, first);
                    seen[0] += 1;
                }
                Command::TreeConnect => {
                    let path = text_of(&body[8..]);
                    assert_eq!(body, encode_tree_connect(&path), "{name}");
                    seen[1] += 1;
                }
                // cifs.ko opens with a context; the prototype lets others in and does not say that the file goes.
                Command::Create if bytes.len() < 152 => {
                    let path = text_of(&body[56..]);
                    let (disposition, data) = (Disposition::Open, true);
                    let create = Create { path: &path, disposition, data, write_through: false };
                    let mut ours = create.encode();
                    ours[24..28].copy_from_slice(&body[24..28]);
                    ours[32..44].copy_from_slice(&body[32..44]);
                    assert_eq!(body, ours, "{path}");
                    seen[2] += 1;
                }
                Command::Read if bytes.len() == 113 => {
                    let offset = u64::from_le_bytes(body[8..16].try_into().unwrap());
                    assert_eq!(body, file::encode_read(numbered((2, 2)), offset, 1 << 16));
                    seen[3] += 1;
                }
                Command::Close | Command::Flush => {
                    assert_eq!(body, file::encode_handle(FileId(body[8..24].try_into().unwrap())));
                    seen[4] += 1;
                }
                Command::TreeDisconnect | Command::Logoff => {
                    assert_eq!(body, session::LEAVE);
                    seen[5] += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(seen, [8, 12, 13, 2, 16, 14]);
}
