//! `pathproof bench file` against a real smbd, and against servers with one fault each.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pathproof_smb2::wire::Command as Smb;
use serde_json::Value;

use crate::support::{Scratch, document, pathproof, run_within, stderr, wait_within};

/// Only what this file needs of the other test's support.
#[path = "../transports/smb2/tests/support/mod.rs"]
mod server_support;

use server_support::server::{ACCOUNT, Fault, serve};

pub const USER: &str = "daemon";
const PASSWORD: &str = "Lab-Pass-1";

/// A real smbd with a share of its own; stopped and its directory removed on drop.
pub struct Smbd {
    pub port: u16,
    dir: Scratch,
    pub password: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lab/samba")
}

impl Smbd {
    /// `None` when smbd cannot run here; that fails the test where the lab was asked for.
    pub fn start(name: &str, options: &[&str]) -> Option<Smbd> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = Scratch::new(name);
        let password = dir.path("password");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        let output = Command::new(script())
            .args(["--port", &port.to_string(), "--user", &format!("{USER}:{PASSWORD}")])
            .args(options)
            .args(["start", &dir.path("smbd")])
            .output()
            .unwrap();
        let said = stderr(&output);
        if output.status.code() == Some(77) {
            crate::support::skip(&said);
            return None;
        }
        assert!(output.status.success(), "{said}");
        Some(Smbd { port, dir, password })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let share = format!("//127.0.0.1:{}/share", self.port);
        let mut command = pathproof(&["bench", "file", &share]);
        command.args(["--user", USER, "--password-file", &self.password, "--format", "json"]);
        if !arguments.contains(&"--size") {
            command.args(["--size", "64KiB", "--file-size", "8MiB"]);
        }
        if !arguments.contains(&"--time") {
            command.args(["--time", "500ms", "--warmup", "50ms"]);
        }
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run_within(self.command(arguments), Duration::from_secs(60))
    }

    /// What stands on the share.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path("smbd/share")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Smbd {
    fn drop(&mut self) {
        let _ = Command::new(script()).args(["stop", &self.dir.path("smbd")]).output();
    }
}

/// The step of a document of a run that went well.
fn step(output: &Output) -> Value {
    let document = document(output);
    assert_eq!(output.status.code(), Some(0), "{}\n{:#}", stderr(output), document["verdicts"]);
    let step = document["steps"][0].clone();
    assert_eq!(step["kind"], "file");
    assert!(step["summary"]["goodput_bits_per_s"].as_u64().unwrap() > 0, "{step:#}");
    assert!(step["summary"]["iops"].as_u64().unwrap() > 0, "{step:#}");
    let service = &step["summary"]["service_ns"];
    assert!(0 < service["p50"].as_u64().unwrap() && service["p50"].as_u64() <= service["p99"].as_u64());
    assert_eq!(step["file"]["removed"], true, "{step:#}");
    step
}

#[test]
fn files_are_written_read_and_compared_and_nothing_is_left() {
    let Some(smbd) = Smbd::start("file-plain", &[]) else { return };
    std::fs::write(smbd.dir.path("smbd/share/mine"), "precious").unwrap();
    for (arguments, read, write) in [
        (&["--write", "--verify"][..], false, true),
        (&["--read", "--random", "--verify"], true, false),
        (
            &["--mix", "70:30", "--random", "--durable", "--verify", "--size", "4KiB", "--file-size", "1MiB"],
            true,
            true,
        ),
    ] {
        let step = step(&smbd.run(arguments));
        assert_eq!(step["summary"]["verified"], true, "{arguments:?}: {step:#}");
        assert_eq!(step["file"]["read"].is_object(), read, "{arguments:?}");
        assert_eq!(step["file"]["write"].is_object(), write, "{arguments:?}");
        assert!(step["file"]["compared_bytes"].as_u64().unwrap() >= 1 << 20, "{step:#}");
        assert_eq!(smbd.files(), ["mine"], "{arguments:?}");
    }
    assert_eq!(std::fs::read(smbd.dir.path("smbd/share/mine")).unwrap(), b"precious");
    let unlooked = step(&smbd.run(&["--write"]));
    assert_eq!(unlooked["summary"]["verified"], Value::Null, "nobody looked");
}

#[test]
fn a_server_that_demands_protection_gets_it() {
    for (options, protection) in [
        (["--signing", "mandatory"], "signed by AES-GMAC"),
        (["--encrypt", "required"], "encrypted by AES-128-GCM"),
        (["--share-set", "server smb encrypt = required"], "encrypted by AES-128-GCM"),
    ] {
        let Some(smbd) = Smbd::start("file-protected", &options) else { return };
        let output = smbd.run(&["--mix", "1:1", "--verify"]);
        let step = step(&output);
        assert!(!document(&output)["findings"].to_string().contains("SMB-UNSIGNED-TAKEN"), "{protection}");
        assert_eq!(step["file"]["protection"], protection);
        assert_eq!(step["summary"]["verified"], true);
        let all = serde_json::to_string(&step).unwrap();
        assert!(!all.contains(PASSWORD), "the password stands nowhere");
        let channels = ["--over", "multi", "--channels", "2", "--address", "127.0.0.1"];
        let several = smbd.run(&[&["--mix", "1:1", "--verify"], &channels[..]].concat());
        if options[0] == "--encrypt" {
            // Samba refuses the logon of a further channel then, in an encrypted answer.
            assert_eq!(several.status.code(), Some(2), "{}", stderr(&several));
            assert!(stderr(&several).contains("takes no further channel"), "{}", stderr(&several));
            continue;
        }
        let several = self::step(&several);
        assert_eq!(several["file"]["protection"], protection);
        assert_eq!(several["summary"]["verified"], true);
        assert!(several["lanes"].as_array().unwrap().iter().all(|lane| lane["bytes"].as_u64() > Some(0)));
    }
}

/// The kernel's own way to end connections: both ends see a reset.
fn kill_connection(port: u16, which: usize) -> bool {
    let peers =
        Command::new("ss").args(["-Htn", "state", "established", &format!("( dport = :{port} )")]).output();
    let text = String::from_utf8(peers.unwrap().stdout).unwrap();
    let locals: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    let Some(own) = locals.get(which).and_then(|local| local.rsplit_once(':')) else { return false };
    let killed = Command::new("ss")
        .args(["-K", "-tn", &format!("( sport = :{} and dport = :{port} )", own.1)])
        .output();
    killed.is_ok_and(|killed| String::from_utf8_lossy(&killed.stdout).contains(own.1))
}

#[test]
fn a_channel_that_is_lost_loses_no_byte() {
    let interfaces = [
        "--interface",
        "127.0.0.1;speed=10000000000,capability=RSS,if_index=1",
        "--interface",
        "127.0.0.2/8;speed=10000000000,capability=RSS,if_index=2",
    ];
    let Some(smbd) = Smbd::start("file-multi", &interfaces) else { return };
    let step_of = |arguments: &[&str]| step(&smbd.run(arguments));
    let whole = step_of(&["--over", "multi", "--write", "--verify"]);
    let lanes = whole["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 2, "{whole:#}");
    assert!(lanes.iter().all(|lane| lane["bytes"].as_u64().unwrap() > 0), "{lanes:#?}");
    assert_eq!(whole["nics"][0]["connections"], 2, "{whole:#}");

    let child = smbd
        .command(&["--over", "multi", "--channels", "3", "--mix", "1:2", "--verify", "--time", "2s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once for the connection that the session began with, once for another.
    let start = Instant::now();
    let mut lost = 0;
    while lost < 2 && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(700));
        lost += u64::from(kill_connection(smbd.port, 0));
    }
    let output = child.wait_with_output().unwrap();
    if lost == 0 {
        crate::support::skip("this kernel does not end connections for ss -K");
        return;
    }
    let step = step(&output);
    assert_eq!(step["file"]["channels_lost"], lost, "{step:#}");
    assert_eq!(step["file"]["channels_returned"], lost, "{step:#}");
    assert_eq!(step["summary"]["verified"], true, "{step:#}");
    assert!(step["file"]["replayed_requests"].as_u64().unwrap() > 0, "{step:#}");
    assert!(smbd.files().is_empty());
}

#[test]
fn a_signal_takes_the_file_along() {
    let Some(smbd) = Smbd::start("file-signal", &[]) else { return };
    for (signal, code) in [("-INT", Some(130)), ("-KILL", None)] {
        let mut child = smbd
            .command(&["--write", "--time", "30s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while smbd.files().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "no file was made");
            std::thread::sleep(Duration::from_millis(20));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let status = wait_within(&mut child, Duration::from_secs(20));
        assert_eq!(status.code(), code);
        let start = Instant::now();
        while !smbd.files().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "{signal}: {:?}", smbd.files());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What stands between a session over TCP and its channels of SMB Direct is said in one sentence, and nothing is left on the share.
#[test]
fn a_session_that_begins_over_tcp_and_finds_no_smb_direct_says_why() {
    let nic = |capability: &str| format!("127.0.0.1;speed=10000000000,capability={capability},if_index=1");
    for (name, nic, multichannel, sentence) in [
        ("file-no-rdma", nic("RSS"), "yes", "lists no NIC with RDMA"),
        ("file-no-channels", nic("RDMA"), "no", "Multichannel switched off"),
        // It says that it has RDMA, and this host has none.
        ("file-rdma-there", nic("RDMA"), "yes", "began over TCP, has no channel of SMB Direct"),
    ] {
        let options = ["--interface", &nic, "--multichannel", multichannel];
        let Some(smbd) = Smbd::start(name, &options) else { return };
        let output = smbd.run(&["--over", "smbd", "--tcp-first"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains(sentence), "{name}: {}", stderr(&output));
        assert_eq!(smbd.files(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_share_without_room_is_refused_before_anything_is_written() {
    let Some(smbd) = Smbd::start("file-room", &["--share-size", "4m"]) else { return };
    let output = smbd.run(&["--write"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("has room for") && said.contains("--file-size") && said.lines().count() == 1,
        "{said}"
    );
    assert!(smbd.files().is_empty());
}

/// Against a server with one fault: exit code, standard error, and what it still has of the file.
fn faulty(fault: Fault, arguments: &[&str]) -> (Output, String, bool) {
    let (address, file) = serve(fault);
    let scratch = Scratch::new("file-fault");
    let password = scratch.path("password");
    std::fs::write(&password, ACCOUNT.1).unwrap();
    let mut command = pathproof(&["bench", "file", &format!("//{address}/share")]);
    command.args([
        "--user",
        ACCOUNT.0,
        "--password-file",
        &password,
        "--size",
        "4KiB",
        "--file-size",
        "256KiB",
    ]);
    command.args(["--time", "300ms", "--wait", "700ms", "--format", "json"]).args(arguments);
    let output = run_within(command, Duration::from_secs(20));
    let said = stderr(&output);
    // What a server holds for a client that is gone it gives up when it notices.
    let start = Instant::now();
    let mut left = true;
    while left && start.elapsed() < Duration::from_secs(5) {
        left = file.lock().unwrap().is_some();
        std::thread::sleep(Duration::from_millis(5));
    }
    (output, said, left)
}

#[test]
fn what_a_server_does_wrong_is_one_sentence_and_no_verdict() {
    for (fault, sentence) in [
        (Fault::Close(Smb::Write), "closed the connection during WRITE"),
        (Fault::Close(Smb::Create), "closed the connection during CREATE"),
        (Fault::Stall(Smb::Create), "no answer to CREATE within 700ms"),
        (Fault::Stall(Smb::Write), "no answer to WRITE within 700ms"),
        (Fault::Pending(Smb::Write), "no answer to WRITE within 700ms"),
        (Fault::Drip(Smb::Write), "no answer to WRITE within 700ms"),
        (Fault::Oversize(Smb::Write), "16777215 bytes is announced"),
        (Fault::FourGib(Smb::Write), "begins with [ff, ff, ff, ff], which is not SMB"),
        (Fault::Status(Smb::Write, 0xC000_007F), "the disk under the share is full"),
        (Fault::Status(Smb::Write, 0xC000_0054), "somebody else has locked the file"),
        (Fault::Status(Smb::TreeConnect, 0xC000_00CC), "there is no such share"),
        (Fault::Status(Smb::Create, 0xC000_0022), "the account may not do that"),
        (Fault::BadSignature(Smb::Write), "wrong or missing signature"),
        (Fault::AnswersTwice(Smb::Write), "compounded although the question was not"),
        (Fault::Sealed(Smb::Write), "wrong or missing signature"),
        (Fault::Downgraded, "somebody between the two ends changed the negotiation"),
        (Fault::Credits(0), "grants too few credits"),
        (Fault::ShortWrite, "it moved 2048 of 4096 bytes"),
        (Fault::OpenedExisting, "opened a file that was there"),
        (Fault::NoRoom, "has room for 4 KiB"),
    ] {
        let (output, said, left) = faulty(fault, &["--write"]);
        assert_eq!(output.status.code(), Some(2), "{fault:?}: {said}");
        assert!(said.contains(sentence) && said.lines().count() == 1, "{fault:?}: {said}");
        assert!(!left, "{fault:?}: the file is gone");
    }
}

/// Read back, half of what was asked for, or twice as much as there is.
#[test]
fn an_answer_that_lies_about_its_length_is_a_fault() {
    for (fault, sentence) in [
        (Fault::ShortRead, "it moved 2048 of 4096 bytes"),
        (Fault::LongRead, "it holds more than was asked for"),
        (Fault::Drip(Smb::Read), "no answer to READ within 700ms"),
    ] {
        let (output, said, left) = faulty(fault, &["--read"]);
        assert_eq!((output.status.code(), left), (Some(2), false), "{fault:?}: {said}");
        assert!(said.contains(sentence) && said.lines().count() == 1, "{fault:?}: {said}");
    }
}

/// More credits than anybody needs, answers that come apart, and compounds that are refused or half done.
#[test]
fn what_a_server_may_do_and_what_can_be_lived_with_are_no_faults() {
    for fault in [
        Fault::Credits(65535),
        Fault::Apart,
        Fault::ApartBackwards,
        Fault::NoRelated,
        Fault::NoCompounds,
        Fault::FirstOnly,
    ] {
        let (output, said, left) = faulty(fault, &["--write"]);
        assert_eq!((output.status.code(), left), (Some(0), false), "{fault:?}: {said}");
        assert_eq!(document(&output)["steps"][0]["file"]["removed"], true, "{fault:?}");
    }
}

#[test]
fn a_wrong_password_is_one_sentence_and_no_verdict() {
    let Some(smbd) = Smbd::start("wrong-password", &[]) else { return };
    std::fs::write(&smbd.password, "Not-This-One-2\n").unwrap();
    let output = run_within(smbd.command(&["--write", "--time", "300ms"]), Duration::from_secs(30));
    let said = stderr(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("user name or password is wrong"), "{said}");
    let missing = format!("//127.0.0.1:{}/nothing", smbd.port);
    std::fs::write(&smbd.password, format!("{PASSWORD}\n")).unwrap();
    let mut command = pathproof(&["bench", "file", &missing, "--user", USER, "--password-file"]);
    command.args([&smbd.password, "--write", "--time", "300ms"]);
    let output = run_within(command, Duration::from_secs(30));
    let said = stderr(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("there is no such share"), "{said}");
}

#[test]
fn a_fault_of_a_server_that_is_known_has_its_finding() {
    let (output, _, left) = faulty(Fault::SignsALength(Smb::Write), &["--write"]);
    let document = document(&output);
    assert_eq!(output.status.code(), Some(1), "the server is at fault: {:#}", document["verdicts"]);
    let found =
        document["findings"].as_array().unwrap().iter().find(|f| f["code"] == "SMB-SERVER-FAULT").unwrap();
    assert!(found["evidence"].as_str().unwrap().contains("four bytes too many"), "{found:#}");
    assert!(!left, "the file is gone");
    for (fault, wanted) in [(Fault::TakesUnsigned, true), (Fault::None, false)] {
        let (output, said, left) = faulty(fault, &["--write"]);
        let document = self::document(&output);
        let codes = document["findings"].to_string();
        assert_eq!(codes.contains("SMB-UNSIGNED-TAKEN"), wanted, "{fault:?}: {codes}");
        assert_eq!((output.status.code(), left), (Some(0), false), "{fault:?}: {said}");
    }
    let (output, _, _) = faulty(Fault::Downgraded, &["--write"]);
    assert_eq!(output.status.code(), Some(2));
    let document = self::document(&output);
    assert!(
        document["findings"].as_array().unwrap().iter().any(|f| f["code"] == "SMB-DOWNGRADED"),
        "{document:#}"
    );
}

#[test]
fn a_server_that_says_it_wrote_and_did_not_is_found_out() {
    let (output, _, _) = faulty(Fault::LostWrite, &["--write", "--verify"]);
    let document = document(&output);
    assert_eq!(output.status.code(), Some(1), "{:#}", document["verdicts"]);
    assert_eq!(document["steps"][0]["summary"]["verified"], false);
    assert_eq!(document["steps"][0]["file"]["first_wrong_byte"], 0);
    let (output, _, _) = faulty(Fault::LostWrite, &["--write"]);
    assert_eq!(output.status.code(), Some(0), "its word is all there is");
}

/// What a channel that is lost still carries must not undo what was written since: a server tells it by its ChannelSequence, or is found out.
#[test]
fn a_late_write_of_a_channel_that_was_lost_is_named() {
    let several = ["--over", "multi", "--channels", "2", "--address", "127.0.0.1"];
    let (output, said, _) = faulty(Fault::LateWrite, &[&["--write", "--verify"], &several[..]].concat());
    let document = document(&output);
    let step = &document["steps"][0];
    assert_eq!(output.status.code(), Some(1), "{said}\n{:#}\n{step:#}", document["verdicts"]);
    assert_eq!(step["file"]["channels_lost"], 1, "{step:#}");
    assert_eq!((&step["file"]["wrong_blocks"], &step["file"]["stale_blocks"]), (&1.into(), &1.into()));
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["code"] == "SMB-LATE-WRITE");
    let evidence = found.unwrap_or_else(|| panic!("{findings:#?}"))["evidence"].as_str().unwrap();
    assert!(evidence.contains("1 of 1 pieces") && evidence.contains("lost once"), "{evidence}");
}

/// A scanner that has it open, and a server that does not say.
#[test]
fn a_file_that_is_kept_is_not_told_as_removed() {
    use serde_json::json;
    for (status, removed) in [(0xC000_0056, json!(false)), (0xC000_0022, Value::Null)] {
        let (output, _, _) = faulty(Fault::Keeps(status), &["--write"]);
        let step = document(&output)["steps"][0].clone();
        assert_eq!(step["file"]["removed"], removed, "{status:#x}: {step:#}");
    }
}

/// A server that is gone in the middle and does not come back: nobody can delete the file, so its name is told.
#[test]
fn a_file_that_cannot_be_removed_is_named() {
    let (output, said, _) = faulty(Fault::Vanishes(Smb::Write), &["--write"]);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("closed the connection during WRITE"), "{said}");
    assert!(said.contains("pathproof-") && said.contains(".tmp may still be on //127.0.0.1/share"), "{said}");
}

#[test]
fn what_cannot_be_is_refused_before_anybody_is_asked() {
    let scratch = Scratch::new("file-input");
    let password = scratch.path("password");
    std::fs::write(&password, "secret").unwrap();
    let empty = scratch.path("empty");
    std::fs::write(&empty, "").unwrap();
    let run = |share: &str, password: &str, more: &[&str]| {
        let mut command = pathproof(&["bench", "file", share, "--user", "lab", "--password-file", password]);
        command.args(["--wait", "1s"]).args(more);
        let output = run_within(command, Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(2), "{share} {more:?}: {}", stderr(&output));
        stderr(&output)
    };
    let share = "//127.0.0.1:1/share";
    for (said, sentence) in [
        (run("127.0.0.1", &password, &[]), "//SERVER/SHARE"),
        (run(share, &password, &["--over", "smbd"]), "no SMB Direct connection to 127.0.0.1:1"),
        (run(share, &password, &["--size", "12"]), "multiple of 8"),
        (run(share, &password, &["--size", "1GiB"]), "--size"),
        (run(share, &password, &["--depth", "0"]), "--depth"),
        (run(share, &password, &["--file-size", "4MiB"]), "--file-size"),
        (run(share, &password, &["--channels", "2"]), "--over tcp is one connection"),
        (run(share, &password, &["--invalidate"]), "memory for RDMA; add --over smbd"),
        (
            run(share, &password, &["--over", "multi", "--tcp-first"]),
            "channels of SMB Direct; add --over smbd",
        ),
        (run(share, &password, &["--over", "smbd", "--invalidate", "--register-each"]), "--register-each"),
        (run(share, &password, &["--mix", "0:0"]), "reads:writes"),
        (run(share, &scratch.path("nothing"), &[]), "--password-file"),
        (run(share, &empty, &[]), "empty first line"),
        (run(share, &password, &[]), "no TCP connection to 127.0.0.1:1"),
    ] {
        assert!(said.contains(sentence), "{said}");
    }
}

/// The rungs of a ladder by name and way.
fn rung<'a>(document: &'a Value, name: &str, direction: &str) -> &'a Value {
    let rungs = document["ladder"].as_array().unwrap_or_else(|| panic!("no ladder: {document:#}"));
    let found = rungs.iter().find(|rung| rung["rung"] == name && rung["direction"] == direction);
    found.unwrap_or_else(|| panic!("no rung {name} {direction}"))
}

fn check(smbd: &Smbd, arguments: &[&str]) -> Output {
    let share = format!("//127.0.0.1:{}/share", smbd.port);
    let mut command =
        pathproof(&["check", &share, "--quick", "--user", USER, "--password-file", &smbd.password]);
    command.args(["--format", "json"]).args(arguments);
    run_within(command, Duration::from_secs(60))
}

#[test]
fn a_check_of_a_share_is_a_ladder_whose_rungs_are_proved() {
    let interfaces = [
        "--interface",
        "127.0.0.1;speed=10000000000,capability=RSS,if_index=1",
        "--interface",
        "127.0.0.2/8;speed=10000000000,capability=RSS,if_index=2",
    ];
    let Some(smbd) = Smbd::start("ladder", &interfaces) else { return };
    let output = check(&smbd, &[]);
    let document = document(&output);
    assert_eq!(document["error"], Value::Null, "{document:#}");
    for rung in document["ladder"].as_array().unwrap() {
        // What is not known is there, and null.
        let missing = ["rung", "goodput_bits_per_s", "share_of_below", "proof", "reason"]
            .into_iter()
            .filter(|field| rung.get(field).is_none());
        assert_eq!(missing.count(), 0, "{rung:#}");
    }
    for direction in ["out", "in"] {
        for name in ["smb-tcp", "smb-multichannel"] {
            let rung = rung(&document, name, direction);
            assert!(rung["goodput_bits_per_s"].as_u64().unwrap() > 0, "{rung:#}");
            assert_eq!(rung["proof"]["carried_by"], "tcp", "{rung:#}");
        }
        assert!(rung(&document, "smb-multichannel", direction)["share_of_below"].as_f64().unwrap() > 0.0);
        let wire = rung(&document, "wire", direction);
        assert_eq!(wire["goodput_bits_per_s"], Value::Null, "the loopback has no speed: {wire:#}");
        assert!(wire["reason"].as_str().unwrap().contains("speed of lo"), "{wire:#}");
        assert!(rung(&document, "tcp", direction)["reason"].as_str().unwrap().contains("--agent"));
        let direct = rung(&document, "smb-direct", direction);
        let reason = direct["reason"].as_str().unwrap();
        assert_eq!((&direct["goodput_bits_per_s"], &direct["proof"]), (&Value::Null, &Value::Null));
        assert!(reason.contains("no RDMA device") || reason.contains("no NIC with RDMA"), "{reason}");
    }
    let codes: Vec<&str> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|finding| finding["code"].as_str())
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == "SMB-DIRECT-ABSENT").count(), 1, "{codes:?}");
    let moved = |v: &Value| v["subject"].as_str().is_some_and(|subject| subject.starts_with("file"));
    let verdicts = document["verdicts"].as_array().unwrap();
    assert!(verdicts.iter().filter(|v| moved(v)).all(|v| v["outcome"] == "pass"), "{verdicts:#?}");
    assert_eq!(output.status.code(), Some(0), "{verdicts:#?}");
    assert!(smbd.files().is_empty());
    let text = run_within(
        {
            let share = format!("//127.0.0.1:{}/share", smbd.port);
            let mut command = pathproof(&["check", &share, "--quick", "--user", USER]);
            command.args(["--password-file", &smbd.password]);
            command
        },
        Duration::from_secs(60),
    );
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("LADDER") && text.contains("files over Multichannel"), "{text}");
}

#[test]
fn a_share_is_checked_with_an_account_and_with_nothing_else() {
    let refused = |arguments: &[&str]| {
        let output = run_within(pathproof(arguments), Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        stderr(&output)
    };
    assert!(refused(&["check", "//127.0.0.1:1/share"]).contains("--user NAME --password-file FILE"));
    assert!(refused(&["check", "//127.0.0.1:1"]).contains("//SERVER/SHARE"));
    assert!(refused(&["mtu", "//127.0.0.1:1/share"]).contains("is a share"));
    let scratch = Scratch::new("ladder-input");
    let password = scratch.path("password");
    std::fs::write(&password, "secret").unwrap();
    let account = ["--user", "lab", "--password-file", &password];
    let with = |more: &[&str]| refused(&[&["check"], more, &account[..]].concat());
    assert!(with(&["127.0.0.1:1"]).contains("//SERVER/SHARE"));
    assert!(with(&["//127.0.0.1:1/share", "--role", "smb"]).contains("--role"));
    assert!(with(&["//127.0.0.1:1/share"]).contains("no TCP connection to 127.0.0.1:1"));
}
