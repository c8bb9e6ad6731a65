//! What `-o` writes to, and what is read: regular files whole, everything else with care, and nothing is waited for.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

/// A short run that writes its document to `to`. What it comes to on a busy machine is no matter here.
fn write_to(to: &str) -> std::process::Output {
    run(&["bench", "pingpong", "--self", "--time", "100ms", "--warmup", "0s", "-o", to])
}

fn read(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap_or_else(|e| panic!("{file}: {e}"))).unwrap()
}

fn names(scratch: &Scratch) -> Vec<String> {
    let list =
        std::fs::read_dir(&scratch.0).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = list.collect();
    names.sort();
    names
}

fn make(command: &str, args: &[&str]) -> bool {
    Command::new(command).args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_link_stays_and_its_target_is_written_with_its_mode() {
    let scratch = Scratch::new("links");
    let [target, link, dangling, later] =
        ["target", "link", "dangling", "later"].map(|name| scratch.path(name));
    std::fs::write(&target, "old").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("target", &link).unwrap();
    std::os::unix::fs::symlink("later", &dangling).unwrap();
    for (to, file) in [(&link, &target), (&dangling, &later), (&target, &target)] {
        let output = write_to(to);
        assert_eq!(read(file)["exit_code"].as_i64(), output.status.code().map(i64::from), "{to}");
    }
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::symlink_metadata(&dangling).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(&scratch), ["dangling", "later", "link", "target"]);
}

#[test]
fn what_is_no_file_is_never_renamed_over() {
    let scratch = Scratch::new("nodes");
    for (device, written) in [("/dev/null", true), ("/dev/full", false)] {
        let output = write_to(device);
        assert_eq!(output.status.code() != Some(2), written, "{device}: {}", stderr(&output));
        assert!(std::fs::metadata(device).unwrap().file_type().is_char_device(), "{device}");
    }
    let pipe = scratch.path("pipe");
    assert!(make("mkfifo", &[&pipe]));
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let mut refused = vec![(pipe.clone(), "nobody reads"), (folder, "is a directory")];
    // Made here, of numbers that no driver has; nobody opens them.
    let (block, character) = (scratch.path("block"), scratch.path("character"));
    if make("mknod", &[&block, "b", "240", "99"]) && make("mknod", &[&character, "c", "240", "99"]) {
        refused.extend([(block, "is a device"), (character, "is a device")]);
    } else {
        skip("device nodes need root");
    }
    let before = names(&scratch);
    for (to, why) in &refused {
        let kind = std::fs::metadata(to).unwrap().file_type();
        let output = write_to(to);
        assert_eq!(output.status.code(), Some(2), "{to}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{to}: {}", stderr(&output));
        assert_eq!(std::fs::metadata(to).unwrap().file_type(), kind, "{to}");
    }
    assert_eq!(names(&scratch), before);
    // A pipe with a reader gets the document, once.
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    std::thread::sleep(Duration::from_millis(200));
    let output = write_to(&pipe);
    let document: Value = serde_json::from_slice(&reader.join().unwrap()).unwrap();
    assert_eq!(document["exit_code"].as_i64(), output.status.code().map(i64::from));
}

#[test]
fn a_file_in_a_folder_that_takes_no_new_one_is_written_in_place() {
    let scratch = Scratch::new("readonly");
    let file = scratch.path("result.json");
    std::fs::write(&file, " ".repeat(1 << 20)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::set_permissions(&scratch.0, std::fs::Permissions::from_mode(0o555)).unwrap();
    let binary = std::env::temp_dir().join(format!("pathproof-plain-{}", std::process::id()));
    std::fs::copy(BINARY, &binary).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
    command.args(["bench", "pingpong", "--self", "--time", "100ms", "-o", &file]);
    if !make("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups", "true"]) {
        skip("acting as another user needs root and setpriv");
        return;
    }
    let inode = std::fs::metadata(&file).unwrap().ino();
    let output = run_within(command, Duration::from_secs(30));
    std::fs::remove_file(binary).unwrap();
    std::fs::set_permissions(&scratch.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let code = output.status.code().map(i64::from);
    assert_ne!(code, Some(2), "{}", stderr(&output));
    assert_eq!((read(&file)["exit_code"].as_i64(), std::fs::metadata(&file).unwrap().ino()), (code, inode));
}

#[test]
fn no_signal_leaves_a_temporary_file_and_the_file_says_how_it_ended() {
    for (signal, code, kind) in [
        ("TERM", Some(143), "terminated"),
        ("INT", Some(130), "interrupted"),
        ("HUP", Some(143), "terminated"),
        ("KILL", None, ""),
    ] {
        let scratch = Scratch::new(&format!("signal-{signal}"));
        let file = scratch.path("result.json");
        // The tests themselves may run under nohup.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", BINARY, "check", "--self", "--quick", "-o", &file])
            .env_remove("PATHPROOF_KEY");
        let mut child =
            command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while !std::path::Path::new(&file).exists() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        assert!(make("kill", &[&format!("-{signal}"), &child.id().to_string()]));
        // As GNU timeout does: the child, and its group at once after it.
        make("kill", &[&format!("-{signal}"), &child.id().to_string()]);
        let status = wait_within(&mut child, Duration::from_secs(15));
        assert_eq!(status.code(), code, "{signal}");
        assert_eq!(names(&scratch), ["result.json"], "{signal}");
        let document = read(&file);
        if let Some(code) = code {
            assert_eq!(document["error"]["kind"], kind, "{signal}");
            assert!(
                document["error"]["message"].as_str().unwrap().contains(&format!("SIG{signal}")),
                "{document}"
            );
            assert_eq!(
                (&document["outcome"], &document["exit_code"]),
                (&"none".into(), &code.into()),
                "{signal}"
            );
        } else {
            assert_eq!(document["outcome"], "none");
        }
    }
}

#[test]
fn a_run_that_is_ended_before_its_first_step_writes_its_document_at_once() {
    // It takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new("before");
    let file = scratch.path("result.json");
    let peer = silent.local_addr().unwrap().to_string();
    let mut child =
        pathproof(&["check", &peer, "-o", &file]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let _taken = silent.accept().unwrap();
    let start = Instant::now();
    assert!(make("kill", &["-TERM", &child.id().to_string()]));
    assert_eq!(wait_within(&mut child, Duration::from_secs(10)).code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let document = read(&file);
    assert_eq!((&document["error"]["kind"], &document["exit_code"]), (&"terminated".into(), &143.into()));
}

#[test]
fn reading_is_bounded_and_waits_for_nobody() {
    let scratch = Scratch::new("reading");
    let (pipe, large) = (scratch.path("pipe"), scratch.path("large.json"));
    assert!(make("mkfifo", &[&pipe]));
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let start = Instant::now();
    for args in [
        ["report", &pipe, "", "", "nobody writes"],
        ["report", &large, "", "", "256 MiB"],
        ["report", "/dev/zero", "", "", "a device"],
        ["check", "--self", "--plan", &pipe, "nobody writes"],
        ["check", "--self", "--criteria", "/dev/zero", "a device"],
        ["check", "--self", "--key-file", &pipe, "nobody writes"],
        ["check", "--self", "--key-file", &large, "1 MiB"],
        ["migrate", "--self", "--disk-file", &pipe, "a pipe"],
        ["migrate", "--plan", &pipe, "", "nobody writes"],
    ] {
        let (why, args) = args.split_last().unwrap();
        let args: Vec<&str> = args.iter().copied().filter(|arg| !arg.is_empty()).collect();
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{args:?}: {}", stderr(&output));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn too_few_descriptors_are_said_as_such_at_both_ends() {
    let few = |args: &[&str]| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 64; exec \"$@\"", "sh", BINARY])
            .args(args)
            .env_remove("PATHPROOF_KEY");
        command
    };
    let lanes = ["--lanes", "60", "--time", "200ms"];
    let server = Server::start(&[]);
    let here = run_within(
        few(&[&["bench", "stream", &server.address], &lanes[..]].concat()),
        Duration::from_secs(60),
    );
    let weak = Server::spawn(few(&["serve", "--listen", "127.0.0.1:0"]));
    let there = run(&[&["bench", "stream", &weak.address], &lanes[..]].concat());
    let both =
        run_within(few(&[&["bench", "stream", "--self"], &lanes[..]].concat()), Duration::from_secs(60));
    let guest = ["--memory", "1MiB", "--lanes", "60"];
    let source =
        run_within(few(&[&["migrate", &server.address], &guest[..]].concat()), Duration::from_secs(60));
    let destination = run(&[&["migrate", &weak.address], &guest[..]].concat());
    for (output, end) in [
        (&here, "here"),
        (&there, "at the peer"),
        (&both, "in one process"),
        (&source, "at the source"),
        (&destination, "at the destination"),
    ] {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(output));
        assert_eq!(output.status.code(), Some(2), "{end}: {text}");
        assert!(text.contains("ulimit -n"), "{end}: {text}");
    }
    // Wherever the search for the MTU meets the limit, the fix is named.
    let mut met = 0;
    for limit in (10..40).step_by(2) {
        let mut command = Command::new("sh");
        let limited = format!("ulimit -n {limit}; exec \"$@\"");
        command.args(["-c", &limited, "sh", BINARY, "mtu", &server.address]).env_remove("PATHPROOF_KEY");
        let output = run_within(command, Duration::from_secs(60));
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(text.contains("ulimit -n") || !text.contains("oo many open files"), "{limit}: {text}");
        met += u32::from(text.contains("ulimit -n"));
    }
    assert!(met > 0, "no limit was met");
}
