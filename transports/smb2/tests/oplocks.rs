//! Oplocks and leases that clients ask the passive server for: none is granted, no file is refused for it, and nobody can give one back.

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod passive;

use pathproof_smb2::file::{self, Created, FileId};
use pathproof_smb2::wire::{Command, HEADER_BYTES};
use pathproof_smb2::{Dialect, NtStatus};

use passive::*;

/// A CREATE of a new file that asks for this oplock, with these contexts.
fn create(path: &str, oplock: u8, contexts: &[u8]) -> Vec<u8> {
    let disposition = file::Disposition::Create;
    let mut body = file::Create { path, disposition, data: true, write_through: false }.encode();
    body[3] = oplock;
    if !contexts.is_empty() {
        body.resize(body.len().next_multiple_of(8), 0);
        let at = (HEADER_BYTES + body.len()) as u32;
        body[48..52].copy_from_slice(&at.to_le_bytes());
        body[52..56].copy_from_slice(&(contexts.len() as u32).to_le_bytes());
        body.extend_from_slice(contexts);
    }
    body
}

/// A create context (2.2.13.2), the last of its chain or not.
fn context(name: &[u8; 4], data: &[u8], last: bool) -> Vec<u8> {
    let mut one = vec![0; 16];
    one[4] = 16; // where the name is
    one[6] = 4;
    one[10] = 24; // where the data is
    one[12..16].copy_from_slice(&(data.len() as u32).to_le_bytes());
    one.extend_from_slice(name);
    one.extend_from_slice(&[0; 4]);
    one.extend_from_slice(data);
    if !last {
        one.resize(one.len().next_multiple_of(8), 0);
        let next = one.len() as u32;
        one[..4].copy_from_slice(&next.to_le_bytes());
    }
    one
}

/// What asks for a lease of reading, writing and keeping the handle: of 32 bytes, or of 52 (2.2.13.2.8, 2.2.13.2.10).
fn lease(bytes: usize) -> Vec<u8> {
    let mut data = vec![0xAB; 16];
    data.push(7);
    data.resize(bytes, 0);
    data
}

#[test]
fn no_oplock_and_no_lease_is_granted_and_the_file_is_there_all_the_same() {
    let contexts = [
        vec![],
        context(b"RqLs", &lease(32), true),
        context(b"RqLs", &lease(52), true),
        [context(b"DHnQ", &[0; 16], false), context(b"RqLs", &lease(52), true)].concat(),
    ];
    for dialect in [Dialect::V3_0, Dialect::V3_1_1] {
        let server = server(8 << 20);
        let mut client = attached(&server, dialect);
        // None, level II, exclusive, batch, lease.
        for oplock in [0, 1, 8, 9, 0xFF] {
            for (which, contexts) in contexts.iter().enumerate() {
                let body = create(&format!("f{which}"), oplock, contexts);
                assert_eq!(
                    status(&mut client, Command::Create, &body),
                    NtStatus::SUCCESS,
                    "{oplock} {which}"
                );
                let message = client.message();
                assert_eq!(message.len(), HEADER_BYTES + 88, "nothing behind the fixed part");
                assert_eq!(message[HEADER_BYTES + 2], 0, "no oplock");
                assert_eq!(message[HEADER_BYTES + 80..], [0; 8], "no contexts");
                let created = Created::decode(message).unwrap();
                client.write(created.file, 0, b"there").unwrap();
                client.close_file(created.file).unwrap();
            }
        }
    }
}

/// Who does not say that it has leases may pass over the contexts that ask for one.
#[test]
fn leases_are_not_among_what_the_server_says_that_it_has() {
    const LEASING: u32 = 0x02;
    const DIRECTORY_LEASING: u32 = 0x20;
    for dialect in [Dialect::V3_0, Dialect::V3_0_2, Dialect::V3_1_1] {
        let mut client = over(Loop::to(&server(1 << 20)));
        let agreed = negotiate(&mut client, &[dialect], GUID);
        assert!(!agreed.capabilities.has(LEASING | DIRECTORY_LEASING), "{dialect}");
    }
}

/// A chain of contexts that is none is refused, whatever it would ask for.
#[test]
fn a_lease_that_is_asked_for_wrongly_is_refused() {
    let mut client = attached(&server(1 << 20), Dialect::V3_1_1);
    let whole = context(b"RqLs", &lease(32), true);
    let with = |at: usize, value: u8| {
        let mut one = whole.clone();
        one[at] = value;
        one
    };
    for (what, contexts) in [
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("name over the head", with(4, 8)),
        ("more data than there is", with(12, 33)),
        ("next inside itself", with(0, 8)),
        ("next out of step", with(0, 20)),
    ] {
        let body = create("f", 0xFF, &contexts);
        assert_eq!(status(&mut client, Command::Create, &body), NtStatus::INVALID_PARAMETER, "{what}");
    }
}

#[test]
fn nobody_gives_back_what_nobody_has() {
    let mut client = attached(&server(1 << 20), Dialect::V3_1_1);
    let file = client.create("f", false).unwrap();
    let oplock = |file: FileId, level: u8| {
        let mut body = vec![24, 0, level, 0, 0, 0, 0, 0];
        body.extend_from_slice(&file.0);
        body
    };
    for level in [0, 1, 8, 9, 0xFF] {
        let told = status(&mut client, Command::OplockBreak, &oplock(file, level));
        assert_eq!(told, NtStatus::INVALID_DEVICE_STATE, "{level}");
    }
    let lease = [vec![36], vec![0; 35]].concat();
    let whole = oplock(file, 0);
    for (what, body, wanted) in [
        ("no such handle", oplock(FileId([9; 16]), 0), NtStatus::FILE_CLOSED),
        ("a lease", lease.clone(), NtStatus::OBJECT_NAME_NOT_FOUND),
        ("a lease cut short", lease[..35].to_vec(), NtStatus::INVALID_PARAMETER),
        ("cut short", whole[..23].to_vec(), NtStatus::INVALID_PARAMETER),
        ("of another size", [&[25][..], &whole[1..]].concat(), NtStatus::INVALID_PARAMETER),
        ("empty", vec![], NtStatus::INVALID_PARAMETER),
    ] {
        assert_eq!(status(&mut client, Command::OplockBreak, &body), wanted, "{what}");
    }
    client.write(file, 0, b"unhurt").unwrap();
    client.close_file(file).unwrap();
}
