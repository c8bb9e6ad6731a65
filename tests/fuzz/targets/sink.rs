//! Everything that a client says to the passive SMB server: no byte of it panics, before the logon or after it.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pathproof_smb2::negotiate::{Dialect, NegotiateRequest};
use pathproof_smb2::server::{Conversation, Descriptor, Reach, Server, Settings, Turn, Unreached};
use pathproof_smb2::session::{Purpose, encode_setup, encode_tree_connect};
use pathproof_smb2::wire::{Command, Header};
use pathproof_smb2::{Credentials, ntlm};

static SERVER: LazyLock<Arc<Server>> = LazyLock::new(|| {
    let account = Credentials { user: "u".into(), domain: String::new(), password: "p".into() };
    let settings = Settings { account, name: "S".into(), share: "s".into(), bytes: 1 << 22 };
    Server::new(settings).expect("there are random numbers")
});

/// Memory of the client that is always there.
struct Memory;

impl Reach for Memory {
    fn fetch(&mut self, _: &[Descriptor], into: &mut [u8]) -> Result<(), Unreached> {
        into.fill(7);
        Ok(())
    }

    fn place(&mut self, _: &[u8], _: &[Descriptor]) -> Result<(), Unreached> {
        Ok(())
    }
}

/// A conversation that is logged on without signatures (3.0.2) and attached, so that what follows is looked at; the numbers up to 3 are used.
fn inside() -> (Conversation, u64, u32) {
    let mut conversation = Conversation::new(&SERVER);
    let mut say = |header: Header, body: &[u8]| {
        let (mut message, mut out) = (header.encode(body), vec![]);
        assert!(matches!(conversation.answer(&mut message, None, &mut out), Turn::Answer(_)));
        out
    };
    let asked = NegotiateRequest {
        dialects: &[Dialect::V3_0_2],
        client_guid: [1; 16],
        salt: [0; 32],
        server_name: "",
        for_session: true,
    };
    say(Header::request(Command::Negotiate, 0), &asked.encode());
    let hello = ntlm::negotiate();
    let answer = say(Header::request(Command::SessionSetup, 1), &encode_setup(&hello, Purpose::New { previous_session_id: 0 }));
    let session_id = Header::decode(&answer).expect("an answer").session_id;
    let token = pathproof_smb2::session::SetupAnswer::decode(&answer).expect("a challenge").token;
    let challenge = ntlm::decode_challenge(&token).expect("a challenge");
    let who = Credentials { user: "u".into(), domain: String::new(), password: "p".into() };
    let right = ntlm::ntlm_v2(&who, &challenge, &hello, &token, [2; 8], 3);
    let with = |command, id| Header { session_id, ..Header::request(command, id) };
    say(with(Command::SessionSetup, 2), &encode_setup(&right.message, Purpose::New { previous_session_id: 0 }));
    let answer = say(with(Command::TreeConnect, 3), &encode_tree_connect("\\\\s\\s"));
    let tree_id = Header::decode(&answer).expect("an answer").tree_id;
    (conversation, session_id, tree_id)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, rest)) = bytes.split_first() else { return };
    let mut out = vec![];
    if how & 1 == 0 {
        let mut conversation = Conversation::new(&SERVER);
        let _ = conversation.answer(&mut rest.to_vec(), None, &mut out);
        assert!(!conversation.is_proven(), "nobody guesses a password");
        return;
    }
    let (mut conversation, session_id, tree_id) = inside();
    // Requests of up to 255 bytes, one after the other, with names that are right; where the input says so, three in a message.
    let mut rest = rest;
    let mut number = 4u64;
    let together = if how & 2 == 0 { 1 } else { 3 };
    let (mut whole, mut gathered) = (vec![], 0);
    while let Some((length, after)) = rest.split_first() {
        let (one, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let mut message = Header::request(Command::Echo, number).encode(&[]);
        message[36..40].copy_from_slice(&tree_id.to_le_bytes());
        message[40..48].copy_from_slice(&session_id.to_le_bytes());
        // Command, flags and charge are the input's.
        let (head, body) = one.split_at(one.len().min(3));
        for (at, value) in [12, 16, 6].into_iter().zip(head) {
            message[at] = *value;
        }
        message.extend_from_slice(body);
        number += u64::from(message[6].max(1));
        gathered += 1;
        if gathered < together && !rest.is_empty() {
            message.resize(message.len().next_multiple_of(8), 0);
            let next = message.len() as u32;
            message[20..24].copy_from_slice(&next.to_le_bytes());
            whole.extend(message);
            continue;
        }
        whole.extend(message);
        if let Turn::HangUp(_) = conversation.answer(&mut whole, Some(&mut Memory), &mut out) {
            return;
        }
        (whole, gathered) = (vec![], 0);
    }
    drop(conversation);
    assert!(SERVER.taken_bytes() <= 1 << 22, "no more memory than there is");
});
