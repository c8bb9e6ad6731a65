//! Servers that are none, that break off, that stall, and that lie: each ends in one clear sentence,
//! in time, and never in a second logon.

mod support;

use std::time::{Duration, Instant};

use pathproof_smb2::status::NtStatus;
use pathproof_smb2::wire::{Command, Header};
use pathproof_smb2::{
    AskedBy, AttemptOutcome, Credentials, Question, ServerReport, SmbError, WireError, ask,
};
use pathproof_sys::clock::RealClock;
use support::{Step, answer, context, ioctl_body, negotiate_body, preauth, record, serve, v4};

fn question(address: std::net::SocketAddr, ways: &[AskedBy]) -> Question {
    let mut question = Question::new(address, "server", &RealClock::new());
    question.timeout = Duration::from_millis(400);
    question.ways = ways.to_vec();
    question
}

fn hello(dialect: u16) -> Step {
    let contexts = if dialect == 0x0311 { vec![preauth(), context(2, &[1, 0, 2, 0])] } else { vec![] };
    Step::Message(answer(Command::Negotiate, 0, NtStatus::SUCCESS, &negotiate_body(dialect, 0x0C, &contexts)))
}

fn ask_once(script: Vec<Step>) -> Result<ServerReport, SmbError> {
    let (address, server) = serve(vec![script]);
    let result = ask(&question(address, &[AskedBy::Sessionless]));
    server.join().unwrap();
    result
}

#[test]
fn something_else_on_the_port_is_named() {
    let result = ask_once(vec![Step::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())]);
    let message = result.unwrap_err().to_string();
    assert!(message.contains("not SMB"), "{message}");

    let mut old = vec![0, 0, 0, 40, 0xFF, b'S', b'M', b'B'];
    old.resize(44, 0);
    let result = ask_once(vec![Step::Raw(old)]);
    assert!(matches!(result, Err(SmbError::Wire { source: WireError::Smb1, .. })), "{result:?}");
}

#[test]
fn nobody_listening_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = ask(&question(address, &AskedBy::ALL)).unwrap_err();
    assert!(matches!(error, SmbError::Connect { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("no program listens there") && said.contains("firewall"), "{said}");
}

#[test]
fn silence_ends_at_the_deadline() {
    let start = Instant::now();
    let result = ask_once(vec![Step::Silence]);
    assert!(matches!(result, Err(SmbError::Deadline { .. })), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn half_a_frame_ends_at_the_deadline_or_the_close() {
    let result = ask_once(vec![Step::Raw(vec![0, 0, 1, 0, 0xFE, b'S']), Step::Silence]);
    assert!(matches!(result, Err(SmbError::Deadline { .. } | SmbError::Closed { .. })), "{result:?}");
}

#[test]
fn an_oversize_frame_is_refused_unread() {
    let result = ask_once(vec![Step::Raw(vec![0, 0xFF, 0xFF, 0xFF])]);
    assert!(matches!(result, Err(SmbError::Wire { source: WireError::Oversize { .. }, .. })), "{result:?}");
}

#[test]
fn closing_at_once_and_closing_after_negotiate_are_told_apart() {
    let result = ask_once(vec![Step::Close]);
    assert!(matches!(result, Err(SmbError::Closed { .. })), "{result:?}");

    // After NEGOTIATE the report stands; only the list is missing.
    let report = ask_once(vec![hello(0x0302), Step::Close]).unwrap();
    assert_eq!(report.obtained_by, None);
    assert!(matches!(report.attempts[0].outcome, AttemptOutcome::Failed(SmbError::Closed { .. })));
}

#[test]
fn a_refused_negotiate_is_named() {
    let body = [9u8, 0, 0, 0, 0, 0, 0, 0, 0];
    let result = ask_once(vec![Step::Message(answer(Command::Negotiate, 0, NtStatus::NOT_SUPPORTED, &body))]);
    let message = result.unwrap_err().to_string();
    assert!(message.contains("STATUS_NOT_SUPPORTED"), "{message}");
}

#[test]
fn a_dialect_that_was_not_offered_is_refused() {
    let result = ask_once(vec![hello(0x0222)]);
    assert!(matches!(result, Err(SmbError::Wire { source: WireError::Malformed { .. }, .. })), "{result:?}");
}

#[test]
fn interim_and_foreign_messages_are_read_past_but_not_for_ever() {
    let list = record(0, 3, 1, 1_000_000_000, &v4([192, 0, 2, 1]));
    let pending = answer(Command::Ioctl, 1, NtStatus::PENDING, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
    let notice = answer(Command::Other(18), u64::MAX, NtStatus::SUCCESS, &[]);
    let real = answer(Command::Ioctl, 1, NtStatus::SUCCESS, &ioctl_body(&list));
    let mut burst = Vec::new();
    for message in [&pending, &notice, &real] {
        burst.extend(pathproof_smb2::wire::frame(message));
    }
    let report = ask_once(vec![hello(0x0302), Step::Raw(burst)]).unwrap();
    assert_eq!(report.obtained_by, Some(AskedBy::Sessionless));
    assert_eq!(report.interfaces[0].index, 3);

    let endless: Vec<u8> = (0..20).flat_map(|_| pathproof_smb2::wire::frame(&pending)).collect();
    let report = ask_once(vec![hello(0x0302), Step::Raw(endless)]).unwrap();
    assert!(matches!(report.attempts[0].outcome, AttemptOutcome::Failed(SmbError::Wire { .. })));
}

#[test]
fn damaged_records_keep_the_rest_of_the_report() {
    let looping = record(8, 3, 1, 1, &v4([192, 0, 2, 1]));
    let message = answer(Command::Ioctl, 1, NtStatus::SUCCESS, &ioctl_body(&looping));
    let report = ask_once(vec![hello(0x0302), Step::Message(message)]).unwrap();
    assert!(report.multichannel());
    assert_eq!(report.max_read_bytes, 4 << 20);
    assert!(matches!(report.attempts[0].outcome, AttemptOutcome::Failed(SmbError::Wire { .. })));
}

/// The whole life of a wrong password: exactly one logon goes out, and the status comes back.
#[test]
fn a_wrong_password_is_tried_once() {
    let mut token = b"NTLMSSP\0".to_vec();
    token.extend_from_slice(&2u32.to_le_bytes());
    token.extend_from_slice(&[0; 8]);
    token.extend_from_slice(&1u32.to_le_bytes());
    token.extend_from_slice(&[9; 24]);
    let mut body = 9u16.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 72, 0]);
    body.extend_from_slice(&(token.len() as u16).to_le_bytes());
    body.extend_from_slice(&token);
    let error = [9u8, 0, 0, 0, 0, 0, 0, 0, 0];
    let script = vec![
        hello(0x0302),
        Step::Message(answer(Command::SessionSetup, 1, NtStatus::MORE_PROCESSING_REQUIRED, &body)),
        Step::Message(answer(Command::SessionSetup, 2, NtStatus::LOGON_FAILURE, &error)),
        Step::Silence,
    ];
    let (address, server) = serve(vec![vec![hello(0x0302)], script]);
    let mut question = question(address, &[AskedBy::Credentials]);
    question.identity =
        Some(Credentials { user: "u".into(), domain: String::new(), password: "wrong".into() }.into());
    let report = ask(&question).unwrap();
    let AttemptOutcome::LogonRefused(status) = report.attempts[0].outcome else { panic!("{report:?}") };
    assert_eq!(status.logon_sentence(), Some("user name or password is wrong"));
    let received = server.join().unwrap();
    let logons = received
        .iter()
        .filter(|message| Header::decode(message).is_ok_and(|header| header.command == Command::SessionSetup))
        .count();
    assert_eq!(logons, 2, "one challenge and one answer to it, nothing after the refusal");
}

#[test]
fn an_unsigned_last_answer_at_3_1_1_is_not_believed() {
    let mut token = b"NTLMSSP\0".to_vec();
    token.extend_from_slice(&2u32.to_le_bytes());
    token.extend_from_slice(&[0; 8]);
    token.extend_from_slice(&1u32.to_le_bytes());
    token.extend_from_slice(&[9; 24]);
    let mut body = 9u16.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 72, 0]);
    body.extend_from_slice(&(token.len() as u16).to_le_bytes());
    body.extend_from_slice(&token);
    let script = vec![
        hello(0x0311),
        Step::Message(answer(Command::SessionSetup, 1, NtStatus::MORE_PROCESSING_REQUIRED, &body)),
        Step::Message(answer(Command::SessionSetup, 2, NtStatus::SUCCESS, &[9, 0, 0, 0, 72, 0, 0, 0])),
    ];
    let (address, server) = serve(vec![vec![hello(0x0311)], script, vec![hello(0x0302)]]);
    let mut question = question(address, &[AskedBy::Credentials]);
    question.identity =
        Some(Credentials { user: "u".into(), domain: String::new(), password: "p".into() }.into());
    let report = ask(&question).unwrap();
    assert!(matches!(report.attempts[0].outcome, AttemptOutcome::Failed(SmbError::BadSignature { .. })));
    server.join().unwrap();
}
