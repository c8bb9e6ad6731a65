//! Two requests in one message: what they spare, and what becomes of them with servers that take compounds in their own way.

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod passive;
mod support;

use std::time::{Duration, Instant};

use pathproof_api::Wait;
use pathproof_smb2::connection::{Kin, Protection, Request, Sizes, Went};
use pathproof_smb2::file::{FileId, encode_handle, encode_room_query};
use pathproof_smb2::share::{DIALECTS, Goal};
use pathproof_smb2::wire::Command;
use pathproof_smb2::{Credentials, NtStatus, SmbError};
use pathproof_sys::clock::RealClock;
use support::server::{ACCOUNT, Fault, serve};

use passive::{attached, pattern, server};

#[test]
fn a_file_is_made_with_its_room_and_closed_with_a_look_in_one_message_each() {
    for dialect in DIALECTS {
        for protection in [Protection::Open, Protection::Signed, Protection::Sealed] {
            let server = server(8 << 20);
            let mut client = attached(&server, dialect);
            client.protection = protection;
            let before = client.pipe().sent;
            let (file, room) = client.create_with_room("a file", false).unwrap();
            assert_eq!((room, client.pipe().sent - before), (8 << 20, 1), "{dialect} {protection:?}");
            client.write(file, 0, &pattern(100_000)).unwrap();
            assert!(client.room(file).unwrap() < room);
            let before = client.pipe().sent;
            assert!(!client.close_and_remove(file, "a file").unwrap().unwrap(), "it went with its handle");
            assert_eq!(client.pipe().sent - before, 1, "{dialect} {protection:?}");
            assert_eq!(server.taken_bytes(), 0);
            // The dialogue goes on as ever.
            let again = client.create("a file", false).unwrap();
            let error = client.create_with_room("a file", false).unwrap_err();
            assert_eq!(error.status(), Some(NtStatus::OBJECT_NAME_COLLISION), "{error}");
            client.close_file(again).unwrap();
            assert!(client.close_and_remove(again, "a file").is_err(), "it is closed");
            client.leave().unwrap();
        }
    }
}

#[test]
fn with_something_under_way_or_without_credits_requests_go_one_by_one() {
    let mut client = attached(&server(8 << 20), DIALECTS[2]);
    let file = client.create("first", false).unwrap();
    let body = encode_handle(file);
    assert_eq!(client.submit(&Request::small(Command::Flush, &body)).unwrap(), Went::Out);
    let asked = [(Command::Flush, &body[..]), (Command::Flush, &body[..])];
    let told = client.exchange_two(asked, Kin::Unrelated).unwrap();
    assert!(told.iter().all(Option::is_none) && client.under_way() == 1);
    assert!(client.answer(Wait::No).unwrap().is_some());
    let told = client.exchange_two(asked, Kin::Unrelated).unwrap();
    assert!(told.iter().flatten().count() == 2);
    client.ask_apart();
    let before = client.pipe().sent;
    client.create_with_room("second", false).unwrap();
    assert_eq!(client.pipe().sent - before, 2);
}

/// The failure of the first is that of the second, and neither is asked twice.
#[test]
fn what_a_server_refuses_it_is_asked_once() {
    let mut client = attached(&server(8 << 20), DIALECTS[2]);
    let query = encode_room_query(FileId::BEFORE);
    let close = encode_handle(FileId([9; 16]));
    let asked = [(Command::Close, &close[..]), (Command::QueryInfo, &query[..])];
    let [first, second] = client.exchange_two(asked, Kin::Related).unwrap();
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.status(), second.status()), (NtStatus::FILE_CLOSED, NtStatus::FILE_CLOSED));
    assert_ne!(first.answer.asked.message_id, second.answer.asked.message_id);
    let before = client.pipe().sent;
    let error = client.create_with_room("no\\where", false).unwrap_err();
    assert!(error.status().is_some(), "{error}");
    assert_eq!(client.pipe().sent - before, 1);
}

fn goal() -> Goal {
    let (user, password) = (ACCOUNT.0.into(), ACCOUNT.1.into());
    Goal {
        server: "server".into(),
        share: "share".into(),
        identity: Credentials { user, domain: String::new(), password }.into(),
        timeout: Duration::from_millis(400),
        // One at once, and yet a compound is two.
        sizes: Sizes { data_bytes: 4096, depth: 1 },
        dialects: DIALECTS.to_vec(),
        clock: RealClock::new(),
    }
}

fn met<T>(fault: Fault, error: SmbError) -> T {
    panic!("{fault:?}: {error}")
}

#[test]
fn servers_that_take_no_compounds_or_answer_them_apart_are_no_trouble() {
    for fault in [
        Fault::None,
        Fault::Apart,
        Fault::ApartBackwards,
        Fault::FirstOnly,
        Fault::NoRelated,
        Fault::NoCompounds,
    ] {
        let begun = Instant::now();
        let (address, there) = serve(fault);
        let (mut connection, _) = goal().connect(address, 0).unwrap();
        let made = connection.create_with_room("file", false);
        let (file, room) = made.unwrap_or_else(|error| met(fault, error));
        assert!(room > 0 && there.lock().unwrap().is_some(), "{fault:?}");
        connection.write(file, 0, &[7; 4096]).unwrap_or_else(|error| met(fault, error));
        let closed = connection.close_and_remove(file, "file").unwrap_or_else(|error| met(fault, error));
        let was_there = closed.unwrap_or_else(|error| met(fault, error));
        assert!(!was_there && there.lock().unwrap().is_none(), "{fault:?}");
        connection.leave().unwrap_or_else(|error| met(fault, error));
        // One that looks at the first alone costs the deadline, once.
        assert!(fault != Fault::FirstOnly || begun.elapsed() >= Duration::from_millis(400));
        assert!(begun.elapsed() < Duration::from_secs(5), "{fault:?}: {:?}", begun.elapsed());
    }
}

/// The same where the server reaches memory and all is encrypted: its silence has words of its own there. (Without keys nothing is, here.)
#[test]
fn one_that_looks_at_the_first_alone_is_asked_one_by_one_over_rdma_too() {
    let mut client = attached(&server(8 << 20), DIALECTS[2]);
    client.wait_for(Duration::from_millis(50));
    (client.protection, client.signer, client.sealer) = (Protection::Sealed, None, None);
    client.pipe_mut().limits.one_sided_bytes_max = Some(1 << 20);
    client.pipe_mut().first_only = true;
    let close = encode_handle(FileId([9; 16]));
    let asked = [(Command::Close, &close[..]), (Command::Close, &close[..])];
    let [first, second] = client.exchange_two(asked, Kin::Unrelated).unwrap();
    assert_eq!(first.map(|told| told.status()), Some(NtStatus::FILE_CLOSED));
    assert!(second.is_none() && client.under_way() == 0);
    let before = client.pipe().sent;
    assert!(client.exchange_two(asked, Kin::Unrelated).unwrap().iter().all(Option::is_none));
    assert_eq!(client.pipe().sent, before, "it is asked one by one from now on");
}

/// A file that stays where it was is not told as gone, however the server is asked.
#[test]
fn a_file_that_is_kept_is_found_by_the_look_behind_its_closing() {
    let (address, _) = serve(Fault::Keeps(0xC000_0056));
    let (mut connection, _) = goal().connect(address, 0).unwrap();
    let (file, _) = connection.create_with_room("file", false).unwrap();
    let looked = connection.close_and_remove(file, "file").unwrap();
    assert_eq!(looked.unwrap_err().status(), Some(NtStatus::DELETE_PENDING));
}

#[test]
fn a_compound_that_nobody_asked_for_ends_the_dialogue() {
    let (address, _) = serve(Fault::AnswersTwice(Command::Flush));
    let (mut connection, _) = goal().connect(address, 0).unwrap();
    let file = connection.create("file", false).unwrap();
    let error = connection.flush(file).unwrap_err().to_string();
    assert!(error.contains("compounded although the question was not"), "{error}");
}

/// Cut, and with a next answer that lies nowhere: each ends in one sentence, and none is read past its end.
#[test]
fn a_damaged_compound_is_refused_wherever_it_is_damaged() {
    let asked = encode_handle(FileId([9; 16]));
    let asked = [(Command::Close, &asked[..]), (Command::Close, &asked[..])];
    let whole = {
        let mut client = attached(&server(8 << 20), DIALECTS[2]);
        client.protection = Protection::Open;
        client.exchange_two(asked, Kin::Unrelated).unwrap().map(|told| told.unwrap().message.len())
    };
    for next in [8u32, 64, whole[0] as u32 + 4, 1 << 20, u32::MAX] {
        let mut client = attached(&server(8 << 20), DIALECTS[2]);
        client.protection = Protection::Open;
        client.pipe_mut().damages = Some(next);
        let error = client.exchange_two(asked, Kin::Unrelated).unwrap_err();
        assert!(matches!(error, SmbError::Wire { .. }), "{next}: {error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}
