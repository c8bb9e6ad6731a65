//! Migration rehearsals over loopback: verified in every form, and honest when they fail.

use std::time::{Duration, Instant};

use crate::support::*;

fn migrate(address: &str, more: &[&str]) -> std::process::Output {
    let mut args = vec!["migrate", address, "--memory", "48MiB", "--format", "json"];
    args.extend(more);
    run(&args)
}

const PAGES: u64 = 48 << 8;

#[test]
fn every_policy_and_form_is_verified() {
    let server = Server::start(&[]);
    let forms: [&[&str]; 10] = [
        &["--policy", "qemu", "--dirty", "40MB/s"],
        &["--policy", "qemu-loop", "--dirty", "80MB/s", "--bandwidth", "200MB/s", "--downtime-limit", "60ms"],
        &["--policy", "hyperv", "--dirty", "40MB/s:hot=4MiB", "--lanes", "3"],
        &["--policy", "hyperv-2008r2", "--dirty", "200MB/s:sequential", "--downtime-limit", "1us"],
        &["--policy", "xen", "--dirty", "20MB/s:zipf=1.1"],
        &["--dirty", "10MB/s", "--zero", "50"],
        &["--dirty", "40MB/s", "--guests", "3", "--parallel", "2"],
        &["--dirty", "200MB/s", "--post-copy", "--downtime-limit", "1us"],
        &["--dirty", "40MB/s", "--bandwidth", "200MB/s", "--chunk", "64KiB"],
        &["--dirty", "400MB/s", "--bandwidth", "100MB/s", "--auto-converge", "--time-limit", "4s"],
    ];
    for form in forms {
        let output = migrate(&server.address, form);
        let document = document(&output);
        let step = step(&document, "migrate");
        assert_eq!(step["verified"], true, "{form:?}: {}", step["error"]);
        assert!(step["error"].is_null(), "{form:?}: {}", step["error"]);
        let rounds = step["rounds"].as_array().unwrap();
        assert_eq!(rounds[0]["pages"], PAGES, "{form:?}: the first pass is everything");
        let last = rounds.last().unwrap();
        assert!(last["phase"] == "stop-and-copy" || last["phase"] == "post-copy", "{form:?}");
        let copied: u64 = rounds.iter().map(|r| r["bytes"].as_u64().unwrap()).sum();
        let guests = step["guests"].as_array().unwrap();
        assert_eq!(guests[0]["bytes"], copied, "{form:?}");
        assert_eq!(step["bytes"], guests.iter().map(|g| g["bytes"].as_u64().unwrap()).sum::<u64>());
        assert!(step["predicted"]["bytes"].as_u64().unwrap() > 0, "{form:?}");
        // One hundredth of the memory that lies at one end at a time (two guests at most), and fixed buffers.
        let overhead = step["overhead_bytes"].as_u64().unwrap();
        let lanes = step["lanes"].as_array().unwrap().len() as u64 / 2;
        assert!(overhead <= 2 * PAGES * 4096 / 100 + lanes * (1 << 20), "{form:?}: {overhead}");
        assert!(step["total_ns"].as_u64() >= step["downtime_ns"].as_u64());
        // A guest with half its pages zero sends about half of the first pass.
        if form.contains(&"--zero") {
            let zero = rounds[0]["zero_pages"].as_u64().unwrap();
            assert!((PAGES * 40 / 100..PAGES * 55 / 100).contains(&zero), "{zero} zero pages");
            assert_eq!(rounds[0]["bytes"], (PAGES - zero) * 4096);
        }
    }
}

#[test]
fn storage_moves_first_and_its_writes_are_mirrored() {
    let server = Server::start(&[]);
    let image = std::env::temp_dir().join(format!("pathproof-image-{}", std::process::id()));
    // Not a whole number of blocks.
    let contents: Vec<u8> = (0..9_000_000u32).flat_map(|i| (i ^ i << 7).to_le_bytes()).collect();
    std::fs::write(&image, &contents).unwrap();
    let name = image.to_string_lossy().into_owned();
    let forms: [&[&str]; 3] = [
        &["--disk", "24MiB", "--disk-writes", "20MB/s", "--bandwidth", "100MB/s", "--lanes", "2"],
        &["--disk-file", &name, "--disk-writes", "40MB/s", "--bandwidth", "100MB/s", "--guests", "2"],
        &["--disk-file", &name],
    ];
    for form in forms {
        let output = migrate(&server.address, form);
        let document = document(&output);
        let step = step(&document, "migrate");
        let disk = &step["disk"];
        assert_eq!(step["verified"], true, "{form:?}: {} {}", step["error"], disk);
        assert_eq!(disk["verified"], true, "{form:?}");
        let size = if form[0] == "--disk" { 24 << 20 } else { contents.len() as u64 };
        assert_eq!((&disk["disk_bytes"], &disk["bytes"]), (&size.into(), &size.into()), "{form:?}");
        let number = |name: &str| disk[name].as_u64().unwrap();
        if form.contains(&"--disk-writes") {
            let (mirrored, written) = (number("mirrored_bytes"), number("written_bytes"));
            assert!(mirrored > 0 && mirrored <= written, "{form:?}: {mirrored} of {written}");
            // A quarter of a second or more at 100 MB/s, and then half a second for the memory.
            assert!(number("elapsed_ns") > 200_000_000, "{form:?}: {disk}");
        } else {
            assert_eq!((number("mirrored_bytes"), number("written_bytes")), (0, 0));
        }
    }
    assert_eq!(std::fs::read(&image).unwrap(), contents, "the file is only read");
    std::fs::remove_file(&image).unwrap();

    let output = migrate(&server.address, &["--disk", "4MiB", "--inject-fault", "disk-bit-flip"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let document = document(&output);
    let step = step(&document, "migrate");
    assert_eq!((&step["verified"], &step["disk"]["verified"]), (&false.into(), &false.into()));
    let mismatch = step["mismatch"].as_str().unwrap();
    assert!(mismatch.starts_with("disk: block") && mismatch.contains("1 blocks in all"), "{mismatch}");
}

#[test]
fn a_peer_killed_while_the_storage_moves_is_said_so() {
    let mut server = Server::start(&[]);
    // Eight seconds of storage, and the peer dies in the third.
    let args = ["--memory", "16MiB", "--disk", "64MiB", "--bandwidth", "8MB/s", "--format", "json"];
    let child = pathproof(&[&["migrate", &server.address], &args[..]].concat());
    let waiting = std::thread::spawn(move || run_within(child, Duration::from_secs(60)));
    std::thread::sleep(Duration::from_secs(3));
    server.kill();
    let output = waiting.join().unwrap();
    assert_ne!(output.status.code(), Some(0));
    let document = document(&output);
    let step = step(&document, "migrate");
    assert_eq!(step["stopped_in"], "storage copy", "{}", step["error"]);
    assert!(step["error"]["message"].as_str().unwrap().contains("storage copy"), "{}", step["error"]);
    assert_eq!((&step["verified"], &step["disk"]["verified"]), (&false.into(), &false.into()));
    let copied = step["disk"]["bytes"].as_u64().unwrap();
    assert!(copied > 0 && copied < 64 << 20, "{copied} bytes of the storage were copied");
}

#[test]
fn compressed_pages_are_fewer_bytes_and_the_same_memory() {
    let server = Server::start(&[]);
    for (compressible, most_percent) in [("100", 40), ("50", 90), ("0", 100)] {
        let form = ["--policy", "hyperv", "--performance", "compression", "--compressible", compressible];
        let more = ["--dirty", "20MB/s", "--zero", "10", "--lanes", "2"];
        let output = migrate(&server.address, &[&form[..], &more].concat());
        let document = document(&output);
        let step = step(&document, "migrate");
        assert_eq!(step["verified"], true, "{compressible} %: {}", step["error"]);
        let compression = &step["compression"];
        let number = |name: &str| compression[name].as_u64().unwrap();
        assert!(number("sent_bytes") <= number("plain_bytes") * most_percent / 100, "{compression}");
        assert!(number("plain_bytes") >= PAGES * 4096 * 80 / 100, "{compression}");
        // What crossed the path is exactly what the codec counted: the measurement of the path is in neither.
        assert_eq!(step["bytes"], compression["sent_bytes"]);
        assert!(number("compress_cpu_ns") > 0, "{compression}");
        match compressible {
            // Noise is sent as it is; a zero page that the guest has written to meanwhile compresses well.
            "0" => assert!(number("raw_bytes") >= number("sent_bytes") * 9 / 10, "{compression}"),
            _ => assert!(number("decompress_cpu_ns") > 0, "{compression}"),
        }
    }
}

#[test]
fn the_kernels_own_tracker_copies_the_same_memory() {
    let server = Server::start(&[]);
    let output = migrate(&server.address, &["--dirty", "40MB/s", "--tracker", "pagemap-scan"]);
    let document = document(&output);
    let step = step(&document, "migrate");
    if step["error"]["kind"] == "unsupported"
        || step["error"]["message"].as_str().unwrap_or("").contains("userfaultfd")
    {
        return skip(step["error"]["message"].as_str().unwrap());
    }
    assert_eq!(step["verified"], true, "{}", step["error"]);
    assert_eq!(step["tracker"], "pagemap-scan");
}

#[test]
fn an_injected_fault_fails_the_run_and_names_the_page() {
    let server = Server::start(&[]);
    for fault in ["bit-flip", "lost-page"] {
        let output = migrate(&server.address, &["--dirty", "20MB/s", "--inject-fault", fault]);
        assert_eq!(output.status.code(), Some(1), "{fault}: {}", stderr(&output));
        let document = document(&output);
        let step = step(&document, "migrate");
        assert_eq!(step["verified"], false, "{fault}");
        let mismatch = step["mismatch"].as_str().unwrap();
        assert!(mismatch.contains("differs, and 1 pages in all"), "{fault}: {mismatch}");
        let codes: Vec<_> = document["findings"].as_array().unwrap().iter().map(|f| &f["code"]).collect();
        assert!(codes.iter().any(|c| *c == "MIGRATE-CORRUPT"), "{fault}: {codes:?}");
    }
}

#[test]
fn a_peer_killed_in_a_phase_leaves_the_rounds_so_far() {
    // At 16 MB/s the path is measured for about 1.3 s and the first pass takes 4.2 s; a guest this busy never
    // converges, so that rounds of the same length follow until the third.
    for (after_ms, phases, rounds_min) in
        [(3_500, ["setup", "full copy"], 0), (10_000, ["round", "round"], 1)]
    {
        let mut server = Server::start(&[]);
        let args = [
            "migrate",
            &server.address,
            "--memory",
            "64MiB",
            "--format",
            "json",
            "--bandwidth",
            "16MB/s",
            "--dirty",
            "200MB/s",
            "--downtime-limit",
            "1ms",
        ];
        let child = pathproof(&args);
        let begun = Instant::now();
        let waiting = std::thread::spawn(move || run_within(child, Duration::from_secs(60)));
        // Not a wait for something to have happened: the moment of the kill is the test's parameter.
        while begun.elapsed() < Duration::from_millis(after_ms) {
            std::thread::sleep(Duration::from_millis(20));
        }
        server.kill();
        let output = waiting.join().unwrap();
        let document = document(&output);
        let step = step(&document, "migrate");
        let error = step["error"]["message"].as_str().unwrap_or_default();
        let stopped_in = step["stopped_in"].as_str().unwrap_or_default();
        assert!(
            phases.iter().any(|phase| stopped_in.starts_with(phase)),
            "killed after {after_ms} ms: {stopped_in:?}, {error}"
        );
        assert!(error.contains(stopped_in), "{error}");
        assert_eq!(step["verified"], false);
        assert!(step["rounds"].as_array().unwrap().len() >= rounds_min, "{}", step["rounds"]);
        assert_ne!(output.status.code(), Some(0));
    }
}

#[test]
fn memory_beyond_either_end_is_refused_with_both_numbers() {
    // A server whose limits hold refuses in its greeting; one that was given more than there is, at the turn.
    for (limits, says) in [
        (&[][..], &["8 TiB", "the peer, which grants"][..]),
        (&["--limits", "memory=16TiB,total=16TiB"], &["8 TiB", "this host has", "the peer"]),
    ] {
        let server = Server::start(limits);
        let begun = Instant::now();
        let output = run(&["migrate", &server.address, "--memory", "8TiB", "--format", "json"]);
        assert_ne!(output.status.code(), Some(0));
        let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(says.iter().all(|part| text.contains(part)), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(10), "refused before anything is allocated");
    }
}

#[test]
fn mistyped_migrations_are_refused_before_the_peer_is_called() {
    for (args, says) in [
        (["--policy", "vmware"], "qemu-loop, hyperv"),
        (["--dirty", "20MB/s:circular"], "uniform"),
        (["--dirty", "20 parsecs"], "--dirty"),
        (["--inject-fault", "gremlin"], "bit-flip"),
        (["--tracker", "psychic"], "pagemap-scan"),
        (["--parallel", "0"], "at least 1"),
        (["--dirty", "1MB/s:replay=/no/such/log"], "cannot be read"),
        (["--plan", "/no/such/fleet.toml"], "cannot read"),
        (["--pid", "4294967295"], "no such process"),
        (["--disk-file", "/no/such/disk"], "cannot be read"),
        (["--disk-file", "/"], "cannot be read"),
        (["--disk-writes", "1MB/s"], "--disk"),
        (["--inject-fault", "disk-bit-flip"], "needs a disk"),
        (["--performance", "compression"], "--policy hyperv"),
        (["--compressible", "101"], "at most 100"),
    ] {
        let mut all = vec!["migrate", "127.0.0.1:1"];
        all.extend(args);
        let output = run(&all);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?} should say {says:?}: {}", stderr(&output));
    }
}

#[test]
fn the_report_shows_the_rounds() {
    let server = Server::start(&[]);
    let output = run(&["migrate", &server.address, "--memory", "16MiB", "--dirty", "20MB/s", "--full"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for part in ["full copy", "guest stopped", "predicted", "Every page of every guest agrees", "█"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}
