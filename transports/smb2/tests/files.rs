//! Files on a real smbd: at every dialect, in the open, signed and encrypted; over two channels, of which one dies.

mod support;

use std::time::Duration;

use pathproof_api::Wait;
use pathproof_smb2::connection::{Connection, Protection, Request, Sizes, Went};
use pathproof_smb2::file::{self, FileId};
use pathproof_smb2::share::{DIALECTS, Goal, Session};
use pathproof_smb2::wire::{Command, FLAG_REPLAY};
use pathproof_smb2::{Cipher, Credentials, Dialect, Identity, NtStatus, SigningAlgorithm};
use pathproof_sys::clock::RealClock;
use support::smbd::Samba;

const USER: [&str; 2] = ["--user", "daemon:Correct-horse-1"];
const SIZE: usize = 256 << 10;

fn who(password: &str) -> Identity {
    Credentials { user: "daemon".into(), domain: String::new(), password: password.into() }.into()
}

fn goal(depth: usize) -> Goal {
    Goal {
        server: "127.0.0.1".into(),
        share: "share".into(),
        identity: who("Correct-horse-1"),
        timeout: Duration::from_secs(10),
        sizes: Sizes { data_bytes: SIZE, depth },
        dialects: DIALECTS.to_vec(),
        clock: RealClock::new(),
    }
}

fn connect(samba: &Samba, goal: &Goal) -> (Connection, Session) {
    goal.connect(samba.address, 0).unwrap_or_else(|error| panic!("{error}"))
}

fn piece(number: u8) -> Vec<u8> {
    (0..SIZE).map(|at| (at as u8).wrapping_mul(31).wrapping_add(number)).collect()
}

fn read(connection: &mut Connection, file: FileId, offset: u64) -> Vec<u8> {
    let body = file::encode_read(file, offset, SIZE as u32);
    let request = Request { moves_bytes: SIZE as u64, ..Request::small(Command::Read, &body) };
    let answer = connection.exchange_one(&request).unwrap();
    connection.expect_success(&answer).unwrap();
    file::decode_read(connection.message(), SIZE as u32).unwrap().to_vec()
}

/// Makes a file, writes two pieces, reads them back, leaves; and the file is gone.
fn walk(samba: &Samba, goal: &Goal) -> Session {
    let (mut connection, session) = connect(samba, goal);
    let (file, room) = connection.create_with_room("pathproof-test.tmp", false).unwrap();
    let on_disk = samba.dir.join("share/pathproof-test.tmp");
    assert!(on_disk.exists());
    assert_eq!(room > SIZE as u64, connection.room(file).unwrap() > SIZE as u64);
    assert!(room > SIZE as u64, "{room}");
    for number in 0..2 {
        connection.write(file, u64::from(number) * SIZE as u64, &piece(number)).unwrap();
    }
    connection.flush(file).unwrap();
    assert_eq!(connection.length(file).unwrap(), 2 * SIZE as u64);
    for number in 0..2 {
        assert!(read(&mut connection, file, u64::from(number) * SIZE as u64) == piece(number));
    }
    assert_eq!(std::fs::read(&on_disk).unwrap(), [piece(0), piece(1)].concat());
    assert!(!connection.close_and_remove(file, "pathproof-test.tmp").unwrap().unwrap());
    assert!(!on_disk.exists(), "the server deletes it with its last handle");
    assert!(!connection.remove("pathproof-test.tmp").unwrap());
    connection.leave().unwrap();
    session
}

#[test]
fn files_move_at_every_dialect_in_the_open_and_signed() {
    for signing in ["auto", "mandatory"] {
        let arguments = [&["--signing", signing][..], &USER].concat();
        let Some(samba) = Samba::start(&arguments) else { return };
        for dialect in DIALECTS {
            let session = walk(&samba, &Goal { dialects: vec![dialect], ..goal(4) });
            let protection = if signing == "mandatory" { Protection::Signed } else { Protection::Open };
            assert_eq!((session.agreed.dialect, session.protection), (dialect, protection));
            let gmac = dialect == Dialect::V3_1_1;
            assert_eq!(session.agreed.signing, gmac.then_some(SigningAlgorithm::AES_GMAC), "{dialect}");
        }
    }
}

#[test]
fn files_move_encrypted_by_every_cipher() {
    for (dialect, ciphers, cipher) in [
        (Dialect::V3_0, "AES-128-CCM", None),
        (Dialect::V3_1_1, "AES-128-GCM", Some(Cipher::AES_128_GCM)),
        (Dialect::V3_1_1, "AES-128-CCM", Some(Cipher::AES_128_CCM)),
        (Dialect::V3_1_1, "AES-256-GCM", Some(Cipher::AES_256_GCM)),
        (Dialect::V3_1_1, "AES-256-CCM", Some(Cipher::AES_256_CCM)),
    ] {
        let only = format!("server smb3 encryption algorithms = {ciphers}");
        let arguments = [&["--encrypt", "required", "--set", &only][..], &USER].concat();
        let Some(samba) = Samba::start(&arguments) else { return };
        let session = walk(&samba, &Goal { dialects: vec![dialect], ..goal(4) });
        assert_eq!(session.protection, Protection::Sealed);
        assert_eq!(session.agreed.cipher, cipher);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let Some(samba) = Samba::start(&USER) else { return };
    let refused = |goal: Goal| goal.connect(samba.address, 0).err().unwrap().to_string();
    let mut wrong = goal(1);
    wrong.identity = who("wrong");
    assert!(refused(wrong).contains("user name or password is wrong"));
    assert!(refused(Goal { share: "nothing".into(), ..goal(1) }).contains("no such share"));
    let (mut connection, _) = connect(&samba, &goal(1));
    let error = connection.create("nowhere\\file", false).unwrap_err().to_string();
    assert!(error.contains("no such directory"), "{error}");
    std::fs::write(samba.dir.join("share/mine"), "precious").unwrap();
    let error = connection.create("mine", false).unwrap_err();
    assert_eq!(error.status(), Some(NtStatus::OBJECT_NAME_COLLISION), "a file that is there is never opened");
    drop(connection);
    assert_eq!(std::fs::read(samba.dir.join("share/mine")).unwrap(), b"precious");
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let Some(samba) = Samba::start(&USER) else { return };
    let (mut connection, session) = connect(&samba, &goal(1));
    let file = connection.create("pathproof-test.tmp", false).unwrap();
    connection.write(file, 0, &piece(1)).unwrap();
    // Nobody reads any more, and nobody closes: the next session says that this one is over.
    let (mut next, _) = goal(1).connect(samba.address, session.id).unwrap();
    assert!(!next.remove("pathproof-test.tmp").unwrap(), "it went with the session that held it");
    assert!(!samba.dir.join("share/pathproof-test.tmp").exists());
    drop(connection);
}

#[test]
fn a_session_lives_on_by_its_second_channel() {
    let Some(samba) = Samba::start(&USER) else { return };
    let goal = goal(4);
    let (mut first, session) = connect(&samba, &goal);
    assert!(session.takes_channels());
    let file = first.create("pathproof-test.tmp", false).unwrap();
    first.write(file, 0, &piece(0)).unwrap();
    let mut second = goal.bind(&session, samba.address, 1).unwrap();
    assert!(read(&mut second, file, 0) == piece(0), "a file of the session, whatever the channel");
    drop(first);
    second.channel_sequence = 1;
    let body = file::encode_write(file, SIZE as u64, SIZE as u32, false);
    let data = piece(1);
    let replay = Request {
        data: &data,
        moves_bytes: SIZE as u64,
        flags: FLAG_REPLAY,
        ..Request::small(Command::Write, &body)
    };
    let answer = second.exchange_one(&replay).unwrap();
    second.expect_success(&answer).unwrap();
    assert!(read(&mut second, file, SIZE as u64) == piece(1));
    second.close_file(file).unwrap();
    second.leave().unwrap();
    assert!(!samba.dir.join("share/pathproof-test.tmp").exists());
}

#[test]
fn several_requests_are_under_way_and_nothing_is_allocated_for_one() {
    let Some(samba) = Samba::start(&[&["--signing", "mandatory"][..], &USER].concat()) else { return };
    let (mut connection, _) = connect(&samba, &goal(8));
    let file = connection.create("pathproof-test.tmp", false).unwrap();
    let data = piece(3);
    let mut deepest = 0;
    let mut turn = |connection: &mut Connection, total: u64| {
        let (mut sent, mut done) = (0, 0);
        while done < total {
            let offset = sent % 16 * SIZE as u64;
            let body = file::encode_write(file, offset, SIZE as u32, false);
            let request = Request {
                data: &data,
                moves_bytes: SIZE as u64,
                tag: sent,
                ..Request::small(Command::Write, &body)
            };
            if sent < total && connection.submit(&request).unwrap() == Went::Out {
                sent += 1;
                deepest = deepest.max(connection.under_way());
                continue;
            }
            let answer = connection.answer(Wait::AtMost(Duration::from_secs(10))).unwrap().unwrap();
            connection.expect_success(&answer).unwrap();
            assert_eq!(file::decode_write(connection.message()).unwrap(), SIZE as u32);
            done += 1;
        }
    };
    turn(&mut connection, 32);
    let allocated = allocation_counter::measure(|| turn(&mut connection, 32));
    assert_eq!(allocated.count_total, 0, "{allocated:?}");
    assert_eq!(deepest, 8);
    connection.close_file(file).unwrap();
}
