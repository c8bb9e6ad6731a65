//! The passive server, asked by clients that have the password and mean it no good.

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod passive;

use pathproof_smb2::file::{self, Created};
use pathproof_smb2::ntlm;
use pathproof_smb2::server::{MESSAGE_BYTES_MAX, Turn};
use pathproof_smb2::session::{LEAVE, Purpose, encode_setup};
use pathproof_smb2::wire::{Command, FLAG_SIGNED, HEADER_BYTES, Header};
use pathproof_smb2::{Dialect, NtStatus};

use passive::*;

/// A session by hand with as many credits as there are, and the next number.
fn rich() -> (Client, Loop, u64) {
    let (names, mut pipe, next) = by_hand(Dialect::V3_1_1);
    let mut echo = raw(&names, Command::Echo, next, 1, &LEAVE, None);
    echo[14..16].copy_from_slice(&8000u16.to_le_bytes());
    names.signer.as_ref().unwrap().sign(&mut echo);
    assert_eq!(pipe.say(&echo), Turn::Answer(None));
    pipe.heard();
    (names, pipe, next + 1)
}

/// Opens `path`, or the directory where it is empty: the handle.
fn open(names: &Client, pipe: &mut Loop, number: u64, path: &str) -> file::FileId {
    let disposition = if path.is_empty() { file::Disposition::Open } else { file::Disposition::Create };
    let mut body = file::Create { path, disposition, data: true, write_through: false }.encode();
    if path.is_empty() {
        // Neither "no directory" nor "delete with me".
        body[40..44].fill(0);
    }
    assert_eq!(
        pipe.say(&raw(names, Command::Create, number, 1, &body, names.signer.as_ref())),
        Turn::Answer(None)
    );
    Created::decode(&pipe.heard()).unwrap().file
}

fn query(directory: file::FileId, flags: u8, pattern: &str, room: u32) -> Vec<u8> {
    let pattern: Vec<u8> = pattern.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut body = vec![33, 0, 12, flags, 0, 0, 0, 0];
    body.extend_from_slice(&directory.0);
    body.extend_from_slice(&96u16.to_le_bytes());
    body.extend_from_slice(&(pattern.len() as u16).to_le_bytes());
    body.extend_from_slice(&room.to_le_bytes());
    body.extend(pattern);
    body
}

/// The names in an answer to [`query`].
fn names_of(answer: &[u8]) -> Vec<String> {
    let bytes = u32::from_le_bytes(answer[HEADER_BYTES + 4..HEADER_BYTES + 8].try_into().unwrap()) as usize;
    let mut rest = &answer[HEADER_BYTES + 8..HEADER_BYTES + 8 + bytes];
    let mut found = vec![];
    loop {
        let next = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let units: Vec<u16> =
            rest[12..12 + length].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        found.push(String::from_utf16(&units).unwrap());
        if next == 0 {
            return found;
        }
        rest = &rest[next..];
    }
}

#[test]
fn t25_no_compound_has_a_longer_answer_than_the_pipe_carries() {
    let (names, mut pipe, mut next) = rich();
    for file in 0..150 {
        open(&names, &mut pipe, next, &format!("{file:-<240}"));
        next += 1;
    }
    let directory = open(&names, &mut pipe, next, "");
    next += 1;
    // Each of them is paid for, and begins again.
    let listings: Vec<Vec<u8>> = (0..24)
        .map(|at| {
            let body = query(directory, 1, "*", MIB as u32);
            raw(&names, Command::QueryDirectory, next + at * 16, 16, &body, None)
        })
        .collect();
    let signer = names.signer.clone().unwrap();
    assert_eq!(pipe.say(&compound(&listings, &signer)), Turn::Answer(None));
    let answer = pipe.heard();
    assert!(answer.len() <= MESSAGE_BYTES_MAX + 24 * 80, "{} bytes", answer.len());
    let statuses = statuses(&answer, &signer);
    assert_eq!(statuses[0], NtStatus::SUCCESS);
    assert_eq!(statuses[23], NtStatus::INSUFFICIENT_RESOURCES);
}

#[test]
fn a_listing_goes_on_where_it_was_whatever_became_of_the_files() {
    let (names, mut pipe, mut next) = rich();
    let signer = names.signer.clone();
    let files: Vec<_> = ["a", "B", "c", "d"]
        .iter()
        .map(|name| {
            next += 1;
            open(&names, &mut pipe, next - 1, name)
        })
        .collect();
    let directory = open(&names, &mut pipe, next, "");
    next += 1;
    let mut ask = |flags, pattern: &str, pipe: &mut Loop| {
        let body = query(directory, flags, pattern, 4096);
        assert_eq!(
            pipe.say(&raw(&names, Command::QueryDirectory, next, 1, &body, signer.as_ref())),
            Turn::Answer(None)
        );
        next += 1;
        let answer = pipe.heard();
        match Header::decode(&answer).unwrap().status {
            NtStatus::SUCCESS => Ok(names_of(&answer)),
            status => Err(status),
        }
    };
    assert_eq!(ask(0, "*", &mut pipe), Ok([".", "..", "a", "B", "c", "d"].map(str::to_owned).to_vec()));
    assert_eq!(ask(0, "*", &mut pipe), Err(NtStatus::NO_MORE_FILES));
    assert_eq!(ask(3, "?", &mut pipe), Ok(vec![".".to_owned()]), "from the beginning, one alone");
    assert_eq!(ask(2, "", &mut pipe), Ok(vec!["a".to_owned()]), "the first pattern stays");
    let close = file::encode_handle(files[1]);
    assert_eq!(pipe.say(&raw(&names, Command::Close, 4000, 1, &close, signer.as_ref())), Turn::Answer(None));
    pipe.heard();
    assert_eq!(ask(0, "", &mut pipe), Ok(["c", "d"].map(str::to_owned).to_vec()), "what is gone is not told");
    assert_eq!(ask(1, "nothing", &mut pipe), Err(NtStatus::NO_SUCH_FILE));
    assert_eq!(ask(1, &"?".repeat(256), &mut pipe), Err(NtStatus::OBJECT_NAME_INVALID), "longer than a name");
}

#[test]
fn a_logon_stands_alone_in_its_message() {
    let (names, mut pipe, next) = rich();
    let setup = encode_setup(&ntlm::negotiate(), Purpose::New { previous_session_id: 0 });
    let echo = raw(&names, Command::Echo, next, 1, &LEAVE, None);
    let logon = raw(&names, Command::SessionSetup, next + 1, 1, &setup, None);
    let both = compound(&[echo, logon], names.signer.as_ref().unwrap());
    assert!(matches!(pipe.say(&both), Turn::HangUp(_)));
}

#[test]
fn t26_a_binding_that_was_begun_becomes_no_session_of_that_number() {
    let server = server(1 << 20);
    let first = attached(&server, Dialect::V3_1_1);
    let mut second = over(Loop::to(&server));
    negotiate(&mut second, &[Dialect::V3_1_1], GUID);
    let (mut names, mut pipe) = take_apart(second);
    names.session_id = first.session_id;
    let setup = |purpose| encode_setup(&ntlm::negotiate(), purpose);
    let begun = setup(Purpose::Binding);
    let begun = raw(&names, Command::SessionSetup, 1, 1, &begun, first.signer.as_ref());
    assert_eq!(pipe.say(&begun), Turn::Answer(None));
    assert_eq!(heard_status(&mut pipe), NtStatus::MORE_PROCESSING_REQUIRED);
    let new = setup(Purpose::New { previous_session_id: 0 });
    assert_eq!(pipe.say(&raw(&names, Command::SessionSetup, 2, 1, &new, None)), Turn::Answer(None));
    assert_eq!(heard_status(&mut pipe), NtStatus::USER_SESSION_DELETED);
}

/// What smbtorture's bind2 asks: who has the session elsewhere hears by its key that it has none here; nobody else does.
#[test]
fn a_session_of_another_connection_is_refused_under_its_own_key() {
    let server = server(1 << 20);
    let first = attached(&server, Dialect::V3_1_1);
    let ask = |guid, signer: Option<&pathproof_smb2::crypto::Signer>| {
        let mut other = over(Loop::to(&server));
        negotiate(&mut other, &[Dialect::V3_1_1], guid);
        let (mut names, mut pipe) = take_apart(other);
        (names.session_id, names.tree_id) = (first.session_id, first.tree_id);
        assert_eq!(pipe.say(&raw(&names, Command::Echo, 1, 1, &LEAVE, signer)), Turn::Answer(None));
        let mut answer = pipe.heard();
        let header = Header::decode(&answer).unwrap();
        assert_eq!(header.status, NtStatus::USER_SESSION_DELETED);
        let signed = header.flags & FLAG_SIGNED != 0;
        assert!(!signed || first.signer.as_ref().unwrap().verify(&mut answer));
        signed
    };
    assert!(ask(GUID, first.signer.as_ref()));
    assert!(!ask([8; 16], first.signer.as_ref()), "another client");
    assert!(!ask(GUID, Some(&pathproof_smb2::crypto::Signer::AesGmac([1; 16]))), "another key");
    assert!(!ask(GUID, None));
}

#[test]
fn a_write_of_before_a_channel_was_lost_undoes_nothing() {
    let server = server(1 << 20);
    let mut client = attached(&server, Dialect::V3_1_1);
    let file = client.create("sequence", false).unwrap();
    client.channel_sequence = 3;
    client.write(file, 0, b"new").unwrap();
    client.channel_sequence = 2;
    let late = client.write(file, 0, b"old").unwrap_err();
    assert_eq!(late.status(), Some(NtStatus::FILE_NOT_AVAILABLE));
    client.channel_sequence = 0x8002;
    client.write(file, 3, b"er").unwrap();
    assert_eq!(read(&mut client, file, 0, 5), b"newer", "the number goes round");
}
