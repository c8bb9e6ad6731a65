//! A real smbd with NICs that do not exist, asked at every dialect it speaks, with Multichannel on and
//! off, without and with a logon.

mod support;

use std::time::Duration;

use pathproof_smb2::{AskedBy, AttemptOutcome, Credentials, Dialect, NtStatus, Question, ServerReport, ask};
use pathproof_sys::clock::RealClock;
use support::smbd::Samba;

impl Samba {
    fn ask(&self, ways: &[AskedBy], credentials: Option<(&str, &str)>) -> ServerReport {
        let mut question = Question::new(self.address, "127.0.0.1", &RealClock::new());
        question.timeout = Duration::from_secs(10);
        question.ways = ways.to_vec();
        question.identity = credentials.map(|(user, password)| {
            Credentials { user: user.into(), domain: String::new(), password: password.into() }.into()
        });
        ask(&question).unwrap()
    }
}

/// (index, speed, rss, rdma, address) of the script's default NICs.
fn assert_faked_nics(report: &ServerReport) {
    let mut seen: Vec<_> = report
        .interfaces
        .iter()
        .map(|nic| (nic.index, nic.speed_bits_per_s, nic.rss, nic.rdma, nic.address.to_string()))
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            (7, Some(25_000_000_000), true, false, "127.0.0.1".to_owned()),
            (9, Some(100_000_000_000), false, true, "10.88.0.1".to_owned()),
        ]
    );
}

#[test]
fn at_3_1_1_everything_is_told() {
    let Some(samba) = Samba::start(&[]) else { return };
    let report = samba.ask(&AskedBy::ALL, None);
    assert_eq!(report.dialect, Dialect::V3_1_1);
    assert!(report.multichannel(), "{:?}", report.capabilities.names());
    assert!(!report.signing_required);
    assert!(report.cipher.is_some());
    assert_eq!(report.rdma_transforms.as_deref(), Some(&[][..]), "this Samba has no RDMA");
    assert!(report.max_read_bytes >= 1 << 20 && report.max_write_bytes >= 1 << 20);
    assert_ne!(report.server_guid, [0; 16]);
    assert!(report.clock_skew_ns.unwrap().abs() < 1_000_000_000, "one machine, one clock");
    assert!(report.round_trip > Duration::ZERO && report.round_trip < Duration::from_secs(5));
    let older = report.at_3_0_2.unwrap().unwrap();
    assert!(older.has(pathproof_smb2::Capabilities::ENCRYPTION));
    assert_eq!(report.obtained_by, Some(AskedBy::Sessionless));
    assert_faked_nics(&report);
}

#[test]
fn at_3_0_2_and_2_1_the_list_is_the_same() {
    for (name, dialect) in [("SMB3_02", Dialect::V3_0_2), ("SMB2_10", Dialect::V2_1)] {
        let Some(samba) = Samba::start(&["--max-protocol", name]) else { return };
        let report = samba.ask(&AskedBy::ALL, None);
        assert_eq!(report.dialect, dialect);
        assert_eq!(report.multichannel(), dialect.is_3(), "{name}");
        assert_eq!(report.rdma_transforms, None, "{name} cannot say");
        assert!(report.at_3_0_2.is_none());
        assert_eq!(report.obtained_by, Some(AskedBy::Sessionless));
        assert_faked_nics(&report);
    }
}

#[test]
fn multichannel_off_is_seen_in_the_bit_and_in_the_query() {
    for name in ["SMB3_11", "SMB3_02", "SMB2_10"] {
        let Some(samba) = Samba::start(&["--multichannel", "no", "--max-protocol", name]) else { return };
        let report = samba.ask(&AskedBy::ALL, None);
        assert!(!report.multichannel(), "{name}");
        assert_eq!(report.obtained_by, None, "{name}");
        assert!(report.interfaces.is_empty());
        let refused =
            matches!(report.attempts[0].outcome, AttemptOutcome::Refused(NtStatus::INVALID_DEVICE_REQUEST));
        assert!(refused, "{:?}", report.attempts);
    }
}

#[test]
fn required_signing_is_told() {
    let Some(samba) = Samba::start(&["--signing", "mandatory"]) else { return };
    assert!(samba.ask(&[AskedBy::Sessionless], None).signing_required);
}

#[test]
fn an_anonymous_session_gets_the_list_at_every_dialect() {
    for name in ["SMB3_11", "SMB3_02", "SMB2_10"] {
        let Some(samba) = Samba::start(&["--max-protocol", name]) else { return };
        let report = samba.ask(&[AskedBy::Anonymous], None);
        assert_eq!(report.obtained_by, Some(AskedBy::Anonymous), "{name}: {:?}", report.attempts);
        assert_faked_nics(&report);
    }
}

#[test]
fn credentials_get_the_list_signed_at_every_dialect() {
    for name in ["SMB3_11", "SMB3_02", "SMB2_10"] {
        let arguments =
            ["--max-protocol", name, "--user", "daemon:Correct-horse-1", "--signing", "mandatory"];
        let Some(samba) = Samba::start(&arguments) else { return };
        let report = samba.ask(&[AskedBy::Credentials], Some(("daemon", "Correct-horse-1")));
        assert_eq!(report.obtained_by, Some(AskedBy::Credentials), "{name}: {:?}", report.attempts);
        assert_eq!(report.encryption_required, Some(false), "{name}");
        assert_faked_nics(&report);
    }
}

#[test]
fn a_wrong_password_is_one_clear_refusal() {
    let Some(samba) = Samba::start(&["--user", "daemon:Correct-horse-1"]) else { return };
    let report = samba.ask(&[AskedBy::Credentials], Some(("daemon", "wrong")));
    let AttemptOutcome::LogonRefused(status) = report.attempts[0].outcome else {
        panic!("{:?}", report.attempts)
    };
    assert_eq!(status.logon_sentence(), Some("user name or password is wrong"));
    assert_eq!(report.attempts.len(), 1, "one attempt, no retry");
}

#[test]
fn required_encryption_is_told_and_done() {
    for name in ["SMB3_11", "SMB3_02"] {
        let arguments = ["--max-protocol", name, "--user", "daemon:Correct-horse-1", "--encrypt", "required"];
        let Some(samba) = Samba::start(&arguments) else { return };
        let report = samba.ask(&[AskedBy::Credentials], Some(("daemon", "Correct-horse-1")));
        assert_eq!(report.encryption_required, Some(true), "{name}: {:?}", report.attempts);
        assert_eq!(report.obtained_by, Some(AskedBy::Credentials), "{name}: {:?}", report.attempts);
        assert_faked_nics(&report);
    }
}
