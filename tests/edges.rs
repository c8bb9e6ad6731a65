//! Who may know whom: the crate boundaries of docs/ARCHITECTURE.md, read from the manifests.

mod circles;
mod errors;
mod kinds;
mod map;
mod plain;
mod waits;
mod words;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Our own crates that each of our crates may depend on (in normal dependencies).
const ALLOWED: &[(&str, &[&str])] = &[
    ("pathproof-model", &[]),
    ("pathproof-sys", &[]),
    ("pathproof-api", &["pathproof-sys"]),
    ("pathproof-engine", &["pathproof-model", "pathproof-api"]),
    ("pathproof-report", &["pathproof-model"]),
    ("pathproof-sim", &["pathproof-api"]),
    ("pathproof-tcp", &["pathproof-api", "pathproof-sys"]),
    ("pathproof-multi", &["pathproof-api", "pathproof-sys"]),
    ("pathproof-dgram", &["pathproof-api", "pathproof-sys"]),
    ("pathproof-rdma", &["pathproof-api", "pathproof-sys"]),
    ("pathproof-smbd", &["pathproof-api"]),
    ("pathproof-smb2", &["pathproof-api", "pathproof-sys"]),
];

/// Of our own crates, or of everything that is built for this system.
fn metadata(more: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn no_crate_knows_what_it_must_not() {
    let metadata = metadata(&["--no-deps"]);
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if name == "pathproof" {
            continue;
        }
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table of tests/edges.rs"));
        seen += 1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if dependency["kind"].is_null() && on.starts_with("pathproof") {
                assert!(may.contains(&on), "{name} must not depend on {on}");
            }
        }
    }
    assert!(seen >= 9, "only {seen} crates were checked");
}

/// The rest of what the declared Rust version promises stands in `scripts/dependencies`.
#[test]
fn no_dependency_needs_a_younger_compiler_than_is_declared() {
    let version = |text: &str| {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().expect("versions are numbers"));
        [(); 3].map(|()| parts.next().unwrap_or(0))
    };
    let declared = version(env!("CARGO_PKG_RUST_VERSION"));
    let system = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let metadata = metadata(&system);
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let younger: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let needs = package["rust_version"].as_str()?;
            (version(needs) > declared).then(|| format!("{} needs {needs}", package["name"]))
        })
        .collect();
    assert!(packages.len() > 100, "only {} packages were looked at", packages.len());
    assert_eq!(younger, [""; 0], "declared is {declared:?}");
}

#[test]
fn unsafe_code_stands_only_where_the_architecture_allows_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for member in [
        "",
        "bench/model",
        "bench/engine",
        "bench/report",
        "transports/api",
        "transports/sim",
        "transports/tcp",
        "transports/multi",
        "transports/dgram",
        "transports/smb2",
        "transports/smbd",
    ] {
        let lib = root.join(member).join("src/lib.rs");
        let text = std::fs::read_to_string(&lib).unwrap_or_else(|e| panic!("{}: {e}", lib.display()));
        assert!(text.contains("#![forbid(unsafe_code)]"), "{} does not forbid unsafe code", lib.display());
        checked += 1;
    }
    assert_eq!(checked, 11);
}

/// The rule that makes shared memory sound, see docs/ARCHITECTURE.md: no plain access, and no slice over it.
#[test]
fn shared_memory_is_accessed_by_atomics_only() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let memory = ["region.rs", "linux/mapping.rs", "linux/transfer.rs", "linux/written_pages.rs"];
    let mut files: Vec<_> = memory.map(|file| root.join("sys/src").join(file)).into();
    assert!(files.iter().all(|file| file.is_file()), "the memory of regions has moved: {memory:?}");
    for folder in ["sys/src/region", "transports/rdma/src", "transports/rdma/src/wire"] {
        files.extend(std::fs::read_dir(root.join(folder)).unwrap().map(|e| e.unwrap().path()));
    }
    let mut seen = 0;
    for path in files.iter().filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(path).unwrap();
        seen += 1;
        // What the adapter's side may do with an address is to hand it on; `cm.rs` makes a slice of an event's private data.
        for word in [
            "copy_nonoverlapping",
            "write_bytes",
            "read_unaligned",
            "read_volatile",
            "_loadu_si256",
            "from_raw_parts_mut",
        ] {
            let other = word == "read_unaligned" && path.ends_with("choose.rs");
            assert!(other || !text.contains(word), "{} uses {word}", path.display());
        }
        assert!(
            path.ends_with("cm.rs") || !text.contains("from_raw_parts("),
            "{} makes a slice",
            path.display()
        );
    }
    assert!(seen >= 14, "only {seen} files were looked at");
    let everywhere = std::fs::read_to_string(root.join("sys/src/region/shared.rs")).unwrap();
    assert!(everywhere.contains("AtomicU64::from_ptr"), "the accesses stand somewhere else now: look there");
}

/// Sources that turn bytes from outside into values, and the fuzz target that feeds each. `None`: what comes there was
/// written by this host, or has its own reason in words.
const DECODERS: &[(&str, Option<&str>)] = &[
    ("bench/engine/src/control/message.rs", Some("control")),
    ("bench/engine/src/control/preamble.rs", Some("control")),
    ("bench/engine/src/mesh/message.rs", Some("mesh")),
    ("bench/report/src/hlog.rs", Some("documents")),
    ("bench/engine/src/migrate/copy/pack.rs", Some("migrate")),
    ("bench/engine/src/migrate/copy/wire.rs", Some("migrate")),
    ("transports/dgram/src/wire.rs", Some("probes")),
    ("transports/multi/src/frame.rs", Some("lanes")),
    ("transports/rdma/src/offer.rs", Some("offers")),
    ("transports/smb2/src/file.rs", Some("smb2")),
    ("transports/smb2/src/interfaces.rs", Some("smb2")),
    ("transports/smb2/src/negotiate.rs", Some("smb2")),
    ("transports/smb2/src/ntlm.rs", Some("smb2")),
    ("transports/smb2/src/server/request.rs", Some("sink")),
    ("transports/smb2/src/session.rs", Some("smb2")),
    ("transports/smb2/src/wire.rs", Some("smb2")),
    ("transports/smbd/src/codec.rs", Some("smbd")),
    ("transports/smbd/src/lane/frame.rs", Some("smbd")),
    ("transports/smbd/src/lane/offer.rs", Some("smbd")),
    ("transports/tcp/src/door.rs", Some("lanes")),
    ("transports/tcp/src/frame.rs", Some("lanes")),
    // base64, by the crate of that name.
    ("src/encoding.rs", None),
    // Three bytes: its own test tries every code.
    ("src/secure/refusal.rs", None),
    // The kernel's netlink messages.
    ("sys/src/linux/bridging.rs", None),
    // The headers of a packet: its own property test tries any bytes.
    ("transports/dgram/src/tags.rs", None),
];

#[test]
fn every_decoder_of_bytes_from_outside_has_a_fuzz_target() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = ["src", "sys", "bench", "transports"].map(|folder| root.join(folder)).to_vec();
    let mut known: BTreeMap<&str, Option<&str>> = DECODERS.iter().copied().collect();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().expect("our names are text");
        if !name.ends_with(".rs") || name.contains("/tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = without_tests(&text);
        if !["fn decode", "fn unpack(", "fn payload(", "fn read_quoted("]
            .iter()
            .any(|word| code.contains(word))
        {
            continue;
        }
        let target = known
            .remove(name)
            .unwrap_or_else(|| panic!("{name} decodes, and is not in the table of tests/edges.rs"));
        let Some(target) = target else { continue };
        let fuzz = root.join("tests/fuzz");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target} is not built");
        let source = std::fs::read_to_string(fuzz.join(format!("targets/{target}.rs"))).unwrap();
        // The target names the file by path, or the crate it belongs to.
        let parts: Vec<&str> = name.split('/').collect();
        let names = if parts[0] == "src" { name.to_owned() } else { format!("pathproof_{}", parts[1]) };
        assert!(
            source.contains(&names) || source.contains(name),
            "targets/{target}.rs does not reach {name}"
        );
    }
    assert!(known.is_empty(), "these are gone, or decode no more: {known:?}");
}

#[test]
fn the_core_has_no_clock_socket_thread_or_print() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files =
        vec![root.join("bench/engine/src"), root.join("bench/model/src"), root.join("bench/report/src")];
    let mut sources = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|e| e != "rs") || path.to_string_lossy().contains("tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = without_tests(&text);
        sources += 1;
        for word in [
            "std::net::Tcp",
            "std::net::Udp",
            "std::thread",
            "Instant::now",
            "SystemTime",
            "println!",
            "std::env",
        ] {
            assert!(!code.contains(word), "{} uses {word}", path.display());
        }
    }
    assert!(sources > 20, "only {sources} files were looked at");
}

/// A file's code without what only its tests have: a module, a function or a `use` below `#[cfg(test)]`, wherever it stands.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept += line;
            kept.push('\n');
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        // Past further attributes, to the end of the item: a semicolon on its own line, or the brace below its beginning.
        let ends = |line: &str| line.trim_end().ends_with(';') || line.trim_end().ends_with("{}");
        let Some(item) = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")) else { break };
        if !ends(item) {
            let brace = format!("{indent}}}");
            lines.by_ref().find(|line| line.trim_end() == brace || line.trim_end() == format!("{brace};"));
        }
    }
    kept
}

#[test]
fn code_below_the_declaration_of_tests_is_code() {
    let text = "mod a;\n#[cfg(test)]\nmod tests;\nfn f() {}\nimpl A {\n    #[cfg(test)]\n    #[allow(x)]\n    fn t() {\n        1\n    }\n\
                    fn g() {}\n}\n#[cfg(test)]\nmod tests {\n    fn h() {}\n}\nfn i() {}\n";
    assert_eq!(without_tests(text), "mod a;\nfn f() {}\nimpl A {\nfn g() {}\n}\nfn i() {}\n");
}

/// Every Rust source below `folders`, its tests cut off, with its path from here.
fn code_below(folders: &[&str]) -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = vec![];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().expect("our names are text").to_owned();
        let of_tests = name.contains("/tests") || name.ends_with("/long.rs");
        if name.ends_with(".rs") && !of_tests {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((name, without_tests(&text)));
        }
    }
    assert!(found.len() > 60, "only {} files were looked at", found.len());
    found
}

/// Counters and choices by name are for people; what the program reads back has a field and a type of its own.
#[test]
fn the_program_reads_nothing_back_by_a_name() {
    for (name, code) in code_below(&["src", "bench", "transports"]) {
        let code: String = code.split_whitespace().collect();
        // The counters of an adapter and of the kernel have the names that those gave them.
        let adapter = name.starts_with("transports/rdma/src/sysfs.rs") || name == "src/evidence/protocols.rs";
        for map in ["counters", "chosen"] {
            for read in [".get(", ".contains_key(", "[\"", "[&"] {
                let reads = format!("{map}{read}");
                assert!(adapter || !code.contains(&reads), "{name} reads {reads}; make it a field");
            }
        }
    }
}

/// Every Rust file of the project below `folders`, by its path from the top.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// What belongs to one operating system stands in `sys`; these crates would build on any.
#[test]
fn the_contract_and_the_core_know_no_operating_system() {
    const NEUTRAL: &[&str] = &[
        "bench/model",
        "bench/engine",
        "bench/report",
        "transports/api",
        "transports/sim",
        "transports/smb2",
    ];
    const WORDS: &[&str] =
        &["libc::", "rustix::", "std::os::", "target_os", "cfg(unix)", "\"/proc/", "\"/sys/"];
    let mut seen = 0;
    for folder in NEUTRAL {
        for (name, text) in sources(&[&format!("{folder}/src")]) {
            seen += 1;
            for word in WORDS {
                assert!(!text.contains(word), "{name} uses {word}, which belongs in sys");
            }
        }
    }
    assert!(seen > 100, "only {seen} files were looked at");
    let metadata = metadata(&["--no-deps"]);
    for package in metadata["packages"].as_array().unwrap() {
        let manifest = package["manifest_path"].as_str().unwrap();
        if NEUTRAL.iter().any(|folder| manifest.ends_with(&format!("/{folder}/Cargo.toml"))) {
            for dependency in package["dependencies"].as_array().unwrap() {
                let on = dependency["name"].as_str().unwrap();
                let system = ["libc", "rustix", "socket2", "nix", "netlink-sys", "windows-sys"];
                assert!(!system.contains(&on), "{manifest} depends on {on}");
            }
        }
    }
}

/// What calls the system by the names and numbers of one of them is `sys`, and `transports/rdma`, whose verbs are made of such calls. All others
/// ask `sys`, or a crate that is the same everywhere.
#[test]
fn system_calls_stand_in_sys_and_verbs() {
    let mut seen = 0;
    for (name, text) in sources(&["src", "bench", "benches", "transports"]) {
        if name.starts_with("transports/rdma/") {
            continue;
        }
        seen += 1;
        for word in ["libc::", "rustix::", "nix::", "windows_sys::", "netlink_packet", "std::arch::asm"] {
            // `std::os::unix::` is no crate.
            let found = text.match_indices(word).any(|(at, _)| !text[..at].ends_with('u'));
            assert!(!found, "{name} has {word}, which belongs in sys");
        }
    }
    assert!(seen > 400, "only {seen} files were looked at");
    let metadata = metadata(&["--no-deps"]);
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if ["pathproof-sys", "pathproof-rdma"].contains(&name) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let calls = ["libc", "rustix", "nix", "netlink-sys", "windows-sys"];
            assert!(!calls.contains(&on), "{name} depends on {on}: ask sys");
        }
    }
}

/// The root wires things; what it asks of the system it asks `sys` for.
#[test]
fn the_root_makes_no_system_calls() {
    for (name, code) in code_below(&["src"]) {
        for word in ["libc::", "rustix::", "netlink_packet", "\"/proc", "\"/sys", "std::os"] {
            assert!(!code.contains(word), "{name} has {word}, which belongs in sys");
        }
    }
    let manifest =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let manifest = manifest.unwrap();
    let (_, own) = manifest.split_once("\n[package]").expect("the root is a package");
    for word in ["libc", "rustix", "netlink", "nix.", "windows"] {
        assert!(!own.lines().any(|line| line.starts_with(word)), "the root depends on {word}");
    }
}

/// A file of more than 600 lines says at its top why it is one.
#[test]
fn no_file_is_long_without_a_reason() {
    const LINES: usize = 600;
    let files = sources(&["src", "sys", "bench", "benches", "transports", "tests"]);
    assert!(files.len() > 300, "only {} files were looked at", files.len());
    for (name, text) in files {
        let lines = text.lines().count();
        let reason = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|line| line.contains("Longer than other files:"));
        assert!(lines <= LINES || reason, "{name} has {lines} lines and gives no reason at its top");
        assert!(lines > LINES || !reason, "{name} has {lines} lines: it needs no reason");
    }
}

/// Ticks of two clocks cannot be compared: the process has one, which is handed down.
#[test]
fn one_clock_is_made_in_a_process() {
    let makers: Vec<String> = sources(&["src"])
        .into_iter()
        .filter(|(name, text)| {
            let code = without_tests(text);
            !name.ends_with("tests.rs") && code.contains("RealClock::new()")
        })
        .map(|(name, _)| name)
        .collect();
    // A process of its own, and what measures the cost of a reading.
    assert_eq!(makers, ["src/cli.rs", "src/guardian.rs", "src/host/system.rs"]);
}

/// What is timed is timed with the clock that was handed in: one fetched on the spot cannot be a virtual one, and its ticks
/// can be compared with nobody's.
#[test]
fn nobody_fetches_a_clock() {
    const CLOCKS: [(&str, &str); 4] = [
        ("sys/src/linux/errqueue.rs", "when a datagram arrived the kernel tells by the wall clock"),
        ("src/wall.rs", "a label: no duration is computed from it"),
        ("transports/smb2/src/fresh.rs", "the wall clock is what a server's is compared with"),
        ("transports/api/src/contract.rs", "a test suite, which looks at lanes from outside"),
    ];
    for (name, code) in code_below(&["src", "sys/src", "bench", "transports"]) {
        let fetched = ["Instant::now", "SystemTime::now", "UNIX_EPOCH.elapsed", "std::time::Instant"];
        if let Some(word) = fetched.iter().find(|word| code.contains(**word)) {
            let known = CLOCKS.iter().any(|(known, _)| *known == name);
            assert!(known, "{name} has {word}: let it be handed the clock");
        }
    }
}

/// Whoever watches over something waits for its news (docs/ARCHITECTURE.md) and does not look again and again. What looks all the
/// same, or sleeps, does it for one of these reasons.
const SLEEPS: &[(&str, &str)] = &[
    ("src/cli/migrate/process.rs", "a foreign process is counted for as long as the user said"),
    ("src/document.rs", "a second signal waits for the document, and the process ends"),
    ("src/evidence/rdma.rs", "an adapter counts late, and tells nobody"),
    ("src/guardian.rs", "the end of a child process is no descriptor that can be waited for everywhere"),
    ("src/input.rs", "a file that is named may be a pipe which nobody writes to"),
    ("src/run/way_back.rs", "a pause between attempts to find another way, on a thread of its own"),
    ("src/serve/door.rs", "a kernel that refuses to wait is not asked again at once"),
    ("src/serve/sink/direct.rs", "an RDMA device that is not there yet is not asked again at once"),
    ("src/serve/sink/strangers.rs", "a kernel that refuses to wait is not asked again at once"),
    ("src/steps/loss.rs", "what was sent last is still on its way"),
    ("src/steps/loss/send.rs", "datagrams are sent at a pace"),
    ("src/steps/migrate/dirtier.rs", "pages are dirtied at a rate"),
];

#[test]
fn nobody_sleeps_without_a_reason() {
    let sleepers: Vec<String> = sources(&["src", "bench/model", "bench/engine", "bench/report"])
        .into_iter()
        .filter(|(name, text)| {
            let code = without_tests(text);
            !name.ends_with("tests.rs") && !name.contains("/tests/") && code.contains("thread::sleep(")
        })
        .map(|(name, _)| name)
        .collect();
    let reasons: Vec<&str> = SLEEPS.iter().map(|(name, _)| *name).collect();
    assert_eq!(sleepers, reasons, "a reason for each, and no reason without a sleep");
}
