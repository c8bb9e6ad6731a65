//! `pathproof smb` and `pathproof channels --smb` against a real smbd, and against what is none.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

/// Runs pathproof beside a real smbd; `None` when smbd cannot run here.
fn beside_smbd(options: &[&str], arguments: &[&str]) -> Option<Output> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lab/samba");
    let output = Command::new(script)
        .args(["--port", &port])
        .args(options)
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_pathproof"))
        .args(arguments)
        .args(["--port", &port])
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_ne!(std::env::var("PATHPROOF_REQUIRE_LAB").as_deref(), Ok("1"), "the lab is required: {said}");
        #[expect(clippy::disallowed_methods, reason = "a test says why it could not run")]
        let _ = writeln!(std::io::stderr(), "SKIPPED: {said}");
        return None;
    }
    Some(output)
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn codes(doc: &serde_json::Value) -> Vec<&str> {
    doc["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
}

#[test]
fn the_faked_nics_of_a_real_server_are_told() {
    let arguments = ["smb", "127.0.0.1", "--format", "json"];
    let Some(output) = beside_smbd(&[], &arguments) else { return };
    let doc = json(&output);
    let smb = &doc["smb"];
    // Nobody has logged on, so whether it demands encryption, which would stop direct placement, is not known.
    assert_eq!(output.status.code(), Some(3), "{:#}", doc["verdicts"]);
    assert_eq!(doc["outcome"], "cannot-tell");
    assert_eq!(smb["dialect"], "3.1.1");
    assert_eq!(smb["interfaces_obtained_by"], "sessionless");
    let nic = |index: u64| {
        smb["interfaces"].as_array().unwrap().iter().find(|nic| nic["index"] == index).unwrap().clone()
    };
    assert_eq!(
        (nic(7)["rss"].as_bool(), nic(7)["speed_bits_per_s"].as_u64()),
        (Some(true), Some(25_000_000_000))
    );
    assert_eq!(
        (nic(9)["rdma"].as_bool(), nic(9)["speed_bits_per_s"].as_u64()),
        (Some(true), Some(100_000_000_000))
    );
    assert!(codes(&doc).contains(&"SMB-SPEEDS-UNEQUAL"));
}

#[test]
fn multichannel_off_is_not_fit() {
    let arguments = ["smb", "127.0.0.1", "--format", "json"];
    let Some(output) = beside_smbd(&["--multichannel", "no"], &arguments) else { return };
    let doc = json(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(doc["smb"]["interfaces_obtained_by"], "none");
    assert!(codes(&doc).contains(&"SMB-MULTICHANNEL-OFF"), "{:?}", codes(&doc));
    assert!(codes(&doc).contains(&"SMB-LIST-REFUSED"), "{:?}", codes(&doc));
}

#[test]
fn required_signing_without_transforms_bypasses_rdma() {
    let arguments = ["smb", "127.0.0.1", "--format", "json"];
    let Some(output) = beside_smbd(&["--signing", "mandatory"], &arguments) else { return };
    let doc = json(&output);
    assert!(codes(&doc).contains(&"SMB-RDMA-BYPASSED"), "{:?}", codes(&doc));
    assert_eq!(output.status.code(), Some(1), "an RDMA NIC whose direct placement would stop");
}

#[test]
fn the_pairs_that_follow_from_the_list_are_printed() {
    let options = [
        "--interface",
        "127.0.0.1;speed=1000000000,capability=RSS,if_index=7",
        "--interface",
        "127.0.0.2/8;speed=10000000000,if_index=9",
    ];
    let arguments = ["channels", "--smb", "127.0.0.1", "--policy", "linux", "--format", "json"];
    let Some(output) = beside_smbd(&options, &arguments) else { return };
    let doc = json(&output);
    let pairs = doc["channels"]["pairs"].as_array().unwrap();
    let chosen: Vec<_> = pairs.iter().filter(|pair| pair["chosen"] == true).collect();
    assert!(!chosen.is_empty(), "{pairs:?}");
    for pair in pairs {
        assert!(pair["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{pair}");
        for field in ["local", "remote", "speed_bits_per_s", "rss", "rdma", "chosen", "connections"] {
            assert!(pair.get(field).is_some(), "{field} is missing in {pair}");
        }
    }
}

#[test]
fn another_service_on_the_port_is_one_clear_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = std::io::Read::read(&mut stream, &mut [0; 512]);
    });
    let output = Command::new(env!("CARGO_BIN_EXE_pathproof"))
        .args(["smb", "127.0.0.1", "--port", &port])
        .output()
        .unwrap();
    server.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("not SMB") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_nic_that_does_not_exist_is_named_before_anybody_is_asked() {
    let output = Command::new(env!("CARGO_BIN_EXE_pathproof"))
        .args(["channels", "127.0.0.1:1", "--constrain", "no-such-nic"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("no-such-nic"), "{said}");
}

#[test]
fn an_account_is_answered_by_a_server_that_demands_encryption() {
    let scratch = crate::support::Scratch::new("smb-password");
    let password = scratch.path("password");
    std::fs::write(&password, "Lab-Pass-1\n").unwrap();
    let arguments =
        ["smb", "127.0.0.1", "--format", "json", "--user", "nobody", "--password-file", &password];
    let options = ["--encrypt", "required", "--user", "nobody:Lab-Pass-1"];
    let Some(output) = beside_smbd(&options, &arguments) else { return };
    let doc = json(&output);
    let smb = &doc["smb"];
    let logon = smb["attempts"].as_array().unwrap().iter().find(|attempt| attempt["way"] == "credentials");
    assert_eq!(logon.expect("it logs on")["outcome"], "answered", "{smb:#}");
    assert_eq!(smb["encryption_required"], true, "{smb:#}");
    // It has NICs with RDMA, and what it demands goes past them.
    assert!(codes(&doc).contains(&"SMB-RDMA-BYPASSED"), "{:?}", codes(&doc));
    assert_eq!(output.status.code(), Some(1), "{:#}", doc["verdicts"]);
}
