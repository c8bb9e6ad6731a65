//! Servers over SMB Direct that stop in the middle: each ends in one clear sentence, in time, and what is known by name is told apart from what may be
//! the path's.

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod passive;

use std::time::{Duration, Instant};

use pathproof_smb2::connection::Protection;
use pathproof_smb2::wire::Command;
use pathproof_smb2::{Dialect, SmbError};

use passive::*;

const PATIENCE: Duration = Duration::from_millis(150);

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tcp,
    SmbDirect,
}

/// What a request comes to whose server stops, and what is said of it.
fn met(over: Over, protection: Protection, stop: Stop, command: Command) -> (SmbError, String) {
    let mut client = attached(&server(8 << 20), Dialect::V3_1_1);
    let file = client.create("a file", false).unwrap();
    client.protection = protection;
    client.wait_for(PATIENCE);
    let pipe = client.pipe_mut();
    pipe.limits.one_sided_bytes_max = (over == Over::SmbDirect).then_some(1 << 20);
    pipe.stops = Some(stop);
    let begun = Instant::now();
    let error = match command {
        Command::Write => client.write(file, 0, &pattern(100)),
        _ => client.flush(file),
    };
    let error = error.unwrap_err();
    let said = error.to_string();
    assert!(begun.elapsed() < Duration::from_secs(3), "{said}: {:?}", begun.elapsed());
    assert!(said.lines().count() == 1 && said.contains("192.0.2.1:445"), "{said}");
    (error, said)
}

/// ksmbd of Linux 6.12 leaves the header of an encrypted answer out over SMB Direct: exactly so many bytes stay announced, or nothing comes.
#[test]
fn an_encrypted_request_without_an_answer_is_named() {
    use Over::{SmbDirect, Tcp};
    use Protection::{Open, Sealed, Signed};
    for stop in [Stop::Missing(52), Stop::GivenUp(52)] {
        let (error, said) = met(SmbDirect, Sealed, stop, Command::Flush);
        let is_it =
            matches!(error, SmbError::Unfinished { missing: 52, header_only: true, stage: "FLUSH", .. });
        assert!(
            is_it && said.contains("as many as the header of an encrypted message has"),
            "{stop:?}: {said}"
        );
    }
    let (error, said) = met(SmbDirect, Sealed, Stop::Missing(53), Command::Flush);
    assert!(matches!(error, SmbError::Unfinished { header_only: false, .. }), "{said}");
    let (error, said) = met(SmbDirect, Sealed, Stop::Silence, Command::Write);
    assert!(matches!(error, SmbError::SilentSealed { stage: "WRITE", .. }), "{said}");
    assert!(said.contains("which was encrypted") && said.contains("within 150ms"), "{said}");
    assert!(error.is_of_the_connection(), "another channel may do better");
    for (over, protection) in [(Tcp, Sealed), (SmbDirect, Signed), (SmbDirect, Open)] {
        let (error, said) = met(over, protection, Stop::Silence, Command::Write);
        assert!(matches!(error, SmbError::Deadline { .. }), "{over:?} {protection:?}: {said}");
    }
}

/// A server that reaches for more than it was given ends the connection, and this end is not told who it was.
#[test]
fn a_connection_that_ends_while_the_server_may_reach_memory_says_so() {
    use Over::{SmbDirect, Tcp};
    const WORD: &str = "the work request was refused by the peer's key";
    let (error, said) = met(SmbDirect, Protection::Open, Stop::Ends(Some(WORD)), Command::Write);
    assert!(matches!(&error, SmbError::ClosedMoving { stage: "WRITE", said: Some(_), .. }), "{said}");
    assert!(said.contains("reached for more than it was given") && said.contains(WORD), "{said}");
    let (error, said) = met(SmbDirect, Protection::Open, Stop::Ends(None), Command::Write);
    assert!(matches!(error, SmbError::ClosedMoving { said: None, .. }), "{said}");
    assert!(error.is_of_the_connection());
    // Where nothing of this end's memory was lent, nobody reached for it.
    for (over, command) in [(SmbDirect, Command::Flush), (Tcp, Command::Write)] {
        let (error, said) = met(over, Protection::Open, Stop::Ends(None), command);
        assert!(matches!(error, SmbError::Closed { .. }), "{over:?}: {said}");
    }
}
