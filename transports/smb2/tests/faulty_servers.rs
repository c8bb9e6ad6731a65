//! Servers that have a file and one fault: each ends in one clear sentence, in time.

mod support;

use std::time::{Duration, Instant};

use pathproof_smb2::connection::{Connection, Request, Sizes};
use pathproof_smb2::file;
use pathproof_smb2::share::{DIALECTS, Goal};
use pathproof_smb2::wire::Command;
use pathproof_smb2::{Credentials, Identity, SmbError};
use pathproof_sys::clock::RealClock;
use support::server::{ACCOUNT, Fault, serve};

const SIZE: usize = 64 << 10;

fn who(password: &str) -> Identity {
    Credentials { user: ACCOUNT.0.into(), domain: String::new(), password: password.into() }.into()
}

fn goal() -> Goal {
    Goal {
        server: "server".into(),
        share: "share".into(),
        identity: who(ACCOUNT.1),
        timeout: Duration::from_millis(400),
        sizes: Sizes { data_bytes: SIZE, depth: 4 },
        dialects: DIALECTS.to_vec(),
        clock: RealClock::new(),
    }
}

/// A whole life of a file; what stopped it, if something did.
fn life(fault: Fault) -> Result<(), SmbError> {
    let (address, file) = serve(fault);
    let (mut connection, _) = goal().connect(address, 0)?;
    let handle = connection.create("file", false)?;
    assert!(connection.room(handle)? > 0);
    connection.write(handle, 0, &[7; SIZE])?;
    let body = file::encode_read(handle, 0, SIZE as u32);
    let request = Request { moves_bytes: SIZE as u64, ..Request::small(Command::Read, &body) };
    let answer = connection.exchange_one(&request)?;
    connection.expect_success(&answer)?;
    let wire = |source| SmbError::Wire { address, stage: "READ", source };
    let read = file::decode_read(connection.message(), SIZE as u32).map_err(wire)?.to_vec();
    if fault == Fault::None {
        assert!(read == [7; SIZE]);
    }
    connection.flush(handle)?;
    connection.close_file(handle)?;
    assert!(file.lock().unwrap().is_none());
    Connection::leave(&mut connection)
}

#[test]
fn one_without_a_fault_is_no_trouble() {
    life(Fault::None).unwrap();
    // A server that knows no validation may say so, signed.
    life(Fault::NoValidation).unwrap();
    // All the credits of the world are as good as enough.
    life(Fault::Credits(u16::MAX)).unwrap();
}

#[test]
fn each_fault_has_its_sentence_and_none_takes_long() {
    use Command::{Create, Flush, Ioctl, Negotiate, Read, SessionSetup, TreeConnect, Write};
    let cases = [
        (Fault::Close(Negotiate), "closed the connection during NEGOTIATE"),
        (Fault::Close(Write), "closed the connection during WRITE; the server ended"),
        (Fault::Stall(SessionSetup), "no answer to SESSION_SETUP within 400ms"),
        (Fault::Stall(Write), "no answer to WRITE within 400ms; its disk may be stuck"),
        (Fault::Pending(Flush), "no answer to FLUSH within 400ms"),
        (Fault::Drip(Read), "no answer to READ within 400ms"),
        (Fault::Oversize(Read), "a message of 16777215 bytes is announced"),
        (Fault::FourGib(Negotiate), "begins with [ff, ff, ff, ff], which is not SMB"),
        (Fault::FourGib(Read), "answered READ with bytes that are not valid SMB2"),
        (Fault::Status(TreeConnect, 0xC000_00CC), "there is no such share"),
        (Fault::Status(Create, 0xC000_0022), "the account may not do that"),
        (Fault::Status(Write, 0xC000_007F), "the disk under the share is full"),
        (Fault::Status(Write, 0xC000_0054), "somebody else has locked the file"),
        (Fault::Status(Read, 0xC123_4567), "refused READ: status 0xC1234567"),
        (Fault::BadSignature(SessionSetup), "answered SESSION_SETUP with a wrong or missing signature"),
        (Fault::BadSignature(Write), "answered WRITE with a wrong or missing signature"),
        (Fault::SignsALength(Read), "signed its answer to READ over four bytes too many"),
        (Fault::Downgraded, "did not agree on what its answer to NEGOTIATE said: capabilities"),
        (Fault::Close(Ioctl), "it hung up when it was asked"),
        (Fault::Status(Ioctl, 0xC000_0022), "it refused to say"),
        (Fault::Unsigned(Ioctl), "answered IOCTL with a wrong or missing signature"),
        (Fault::Unsigned(Read), "answered READ with a wrong or missing signature"),
        (Fault::Unsigned(TreeConnect), "answered TREE_CONNECT with a wrong or missing signature"),
        (Fault::Sealed(Write), "answered WRITE with a wrong or missing signature"),
        (Fault::Credits(0), "grants too few credits: SESSION_SETUP needs 1 and 0 are there"),
        (Fault::ShortWrite, "it wrote 32768 of 65536 bytes"),
        (Fault::LongRead, "it holds more than was asked for"),
        (Fault::OpenedExisting, "opened a file that was there"),
    ];
    for (fault, sentence) in cases {
        let start = Instant::now();
        let error = life(fault).expect_err(&format!("{fault:?}")).to_string();
        assert!(error.contains(sentence), "{fault:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{fault:?}: {error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{fault:?} took {:?}", start.elapsed());
    }
}

/// What is left of the answered request fills the socket, and nothing is under way that a deadline would belong to.
#[test]
fn one_that_answers_what_it_has_not_read_and_reads_no_more_is_given_up() {
    const LARGE: usize = 8 << 20;
    let (address, _) = serve(Fault::Deaf);
    let goal = Goal { sizes: Sizes { data_bytes: LARGE, depth: 1 }, ..goal() };
    let (mut connection, _) = goal.connect(address, 0).unwrap();
    let handle = connection.create("file", false).unwrap();
    connection.write(handle, 0, &vec![7; LARGE]).unwrap();
    let start = Instant::now();
    let error = connection.flush(handle).unwrap_err().to_string();
    assert!(error.contains("no answer to FLUSH within 400ms"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_wrong_password_is_named_and_tried_once() {
    let (address, _) = serve(Fault::None);
    let mut wrong = goal();
    wrong.identity = who("wrong");
    let error = wrong.connect(address, 0).err().unwrap().to_string();
    assert!(error.contains("user name or password is wrong"), "{error}");
}
