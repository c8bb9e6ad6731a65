//! What a newcomer and a public forge are given: pinned workflows that call our own scripts, stages and filters of tests that are there, and a line
//! on every crate.

use std::path::Path;

use crate::support::*;

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn entries(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let listed = std::fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    listed.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The values of a key of YAML on lines of their own. What has a block below it has none: the block's keys count.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let named = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    named.filter_map(move |line| line.strip_prefix(key)).map(str::trim).filter(|value| !value.is_empty())
}

/// What a pipeline takes from others by a name that can come to mean something else: an action without its commit, an image without its digest, or
/// either without the tag that it had. Ours is the one of this very checkout or, where users are shown it, of a commit that they know.
fn loose(text: &str) -> Vec<&str> {
    let ours = |used: &str| used == "./" || used.starts_with("OWNER/pathproof@COMMIT # v");
    let actions = values(text, "uses:").filter(|used| {
        let (commit, version) =
            used.split_once('@').and_then(|(_, named)| named.split_once(" # v")).unwrap_or_default();
        !ours(used) && (!is_hex(commit, 40) || version.is_empty())
    });
    let images = values(text, "image:").chain(values(text, "container:")).filter(|image| {
        let (name, digest) = image.split_once("@sha256:").unwrap_or_default();
        !is_hex(digest, 64) || name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
    });
    actions.chain(images).collect()
}

#[test]
fn what_is_not_pinned_is_known_when_it_is_seen() {
    let (commit, digest) = ("1".repeat(40), "2".repeat(64));
    let pinned = format!(
        "container:\n  image: a/b:1@sha256:{digest}\nsteps:\n  - uses: ./\n  - uses: a/b@{commit} # v4.2\n\
         \x20 - uses: OWNER/pathproof@COMMIT # v0.1.0\ncontainer: c:2@sha256:{digest}\n"
    );
    assert_eq!(loose(&pinned), [""; 0]);
    for line in [
        "- uses: a/b@v4",
        &format!("- uses: a/b@{commit}"),
        "uses: OWNER/pathproof@v0.1.0",
        "container: debian:bookworm",
        "  image: rust:1.95-bookworm",
        &format!("image: rust@sha256:{digest}"),
        &format!("image: rust:latest@sha256:{digest}"),
        "image: rust:1@sha256:abc",
    ] {
        assert_eq!(loose(line).len(), 1, "{line}");
    }
}

#[test]
fn workflows_are_pinned_and_have_no_rights() {
    // What others run with their rights, and what they are shown.
    for name in ["action.yml", "packaging/ci/pathproof.gitlab-ci.yml", "docs/CI.md"] {
        assert_eq!(loose(&read(name)), [""; 0], "{name}: by commit and digest, please (scripts/pins)");
    }
    for name in entries(".github/workflows") {
        let text = read(format!(".github/workflows/{name}"));
        let rights =
            text.split("\npermissions:\n").nth(1).unwrap_or_else(|| panic!("{name}: no permissions"));
        assert_eq!(rights.lines().next(), Some("  contents: read"), "{name}");
        assert_eq!(text.matches("permissions:").count(), 1, "{name}: one set of rights for all jobs");
        assert!(!text.contains("pull_request_target") && !text.contains("secrets."), "{name}");
        assert_eq!(loose(&text), [""; 0], "{name}: by commit and digest, please (scripts/pins)");
        assert!(text.matches("timeout-minutes:").count() == text.matches("runs-on:").count(), "{name}");
    }
}

#[test]
fn workflows_call_scripts_that_exist() {
    let mut called = 0;
    for name in entries(".github/workflows") {
        for line in read(format!(".github/workflows/{name}")).lines() {
            let Some(command) = line.trim().trim_start_matches("- ").strip_prefix("run: ") else { continue };
            let program = command.split_whitespace().next().unwrap_or_default();
            if program.contains('/') {
                called += 1;
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(program).is_file(), "{name}: {program}");
            }
        }
    }
    assert!(called >= 2, "the workflows call {called} of our scripts");
    // The whole of it is the command that README gives everybody.
    assert!(
        read(".github/workflows/test.yml").contains("run: .ci/run")
            && read(".ci/run").contains("scripts/test")
    );
}

/// `scripts/pins`, with a registry and a forge that say what they are told.
#[test]
fn pins_that_are_behind_are_told_and_made_new() {
    let folder = Scratch::new("pins");
    std::fs::create_dir_all(folder.path("bin")).unwrap();
    let (old, new) = ("1".repeat(40), "2".repeat(40));
    let (image, digest) = ("a".repeat(64), "b".repeat(64));
    let releases = |commit: &str| {
        // An annotated tag is an object of its own, and its commit is told behind it.
        let object = "3".repeat(40);
        format!("{commit}\trefs/tags/v4.2.2\n{object}\trefs/tags/v4.10.0\n{new}\trefs/tags/v4.10.0^{{}}\n")
    };
    let stub = |name: &str, says: &str| {
        let path = folder.path(&format!("bin/{name}"));
        std::fs::write(folder.path(&format!("{name}.says")), says).unwrap();
        let script = format!("#!/bin/sh\ncat '{}'\n", folder.path(&format!("{name}.says")));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let action = folder.path("action.yml");
    let pipeline = |image: &str, commit: &str, version: &str| {
        format!("container: a/b:1.2@sha256:{image}\nsteps:\n  - uses: c/d@{commit} # v{version}\n")
    };
    std::fs::write(&action, pipeline(&image, &old, "4.2.2")).unwrap();
    let pins = |more: &[&str]| {
        let path = format!("{}:{}", folder.path("bin"), std::env::var("PATH").unwrap_or_default());
        let mut command =
            std::process::Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pins"));
        command.args(more).arg(folder.path("")).env("PATH", path);
        let output = run_within(command, std::time::Duration::from_secs(20));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };

    stub("skopeo", &format!("sha256:{digest}\n"));
    stub("git", &releases(&old));
    let (code, said) = pins(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("now  a/b:1.2@sha256:{digest}\n")), "{said}");
    assert!(said.contains(&format!("now  c/d@{new} # v4.10.0\n")), "{said}");
    assert_eq!(read(&action), pipeline(&image, &old, "4.2.2"), "nothing is written unasked");

    assert_eq!(pins(&["--write"]).0, Some(1));
    assert_eq!(read(&action), pipeline(&digest, &new, "4.10.0"));
    assert_eq!(pins(&[]).0, Some(0), "all are as new as can be");

    // A tag that somebody moved is no news, and nothing is written of it.
    std::fs::write(&action, pipeline(&digest, &old, "4.2.2")).unwrap();
    stub("git", &releases(&"4".repeat(40)));
    let (code, said) = pins(&["--write"]);
    assert!(code == Some(2) && said.contains("WRONG"), "{code:?}: {said}");
    assert_eq!(read(&action), pipeline(&digest, &old, "4.2.2"));

    // A registry that does not answer is no pin that holds.
    stub("git", &releases(&old));
    stub("skopeo", "");
    let (code, said) = pins(&[]);
    assert!(code == Some(2) && said.contains("unknown a/b:1.2"), "{code:?}: {said}");
}

#[test]
fn every_stage_of_the_tests_is_one_that_is_run() {
    use std::os::unix::fs::PermissionsExt;
    for name in entries("scripts/test.d") {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        assert!(["beside", "guest", "lab"].contains(&ending), "scripts/test runs no {name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test.d").join(&name);
        let mode = path.metadata().unwrap().permissions().mode();
        assert!(mode & 0o111 == 0o111, "{name} cannot be executed: {mode:o}");
    }
}

/// The alternatives of a part of a filter: `(one|two)`, or a single one.
fn alternatives(part: &str) -> impl Iterator<Item = &str> {
    part.trim_matches(['(', ')']).split('|').filter(|word| !word.is_empty())
}

/// A test that has another name now would no longer have the machine to itself, and nobody would see it.
#[test]
fn tests_that_run_alone_or_beside_the_guests_are_there() {
    let (main, mut modules, mut functions) = (read("tests/main.rs"), 0, 0);
    for file in [".config/nextest.toml", "scripts/test"] {
        // `/^(one|two)::/` is all of some modules, `/^one::(this|that)/` what begins so in one.
        for filter in read(file).split("test(/^").skip(1) {
            let filter = filter.split("/)").next().unwrap_or_default();
            let (inside, begins) = filter.split_once("::").unwrap_or_else(|| panic!("{file}: {filter}"));
            for module in alternatives(inside) {
                assert!(main.contains(&format!("\nmod {module};")), "{file}: there is no module {module}");
                let source = read(format!("tests/{module}.rs"));
                modules += 1;
                for name in alternatives(begins) {
                    assert!(source.contains(&format!("\nfn {name}")), "{file}: {module} has no {name}");
                    functions += 1;
                }
            }
        }
    }
    assert!(modules > 15 && functions > 15, "{modules} modules and {functions} tests are named");
}

#[test]
fn every_crate_says_what_it_is() {
    let mut crates = 0;
    let inside =
        |parent: &'static str| entries(parent).into_iter().map(move |name| format!("{parent}/{name}"));
    for folder in inside("bench").chain(inside("transports")).chain(["sys".to_owned()]) {
        let manifest = read(format!("{folder}/Cargo.toml"));
        let package = manifest.split("name = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let text = read(format!("{folder}/README.md"));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(format!("# {package}").as_str()));
        assert!(lines.nth(1).is_some_and(|line| line.len() > 30), "{folder}: no line on what it is");
        crates += 1;
    }
    assert!(crates >= 11, "{crates} crates");
}

#[test]
fn contributing_names_what_exists() {
    let text = read("CONTRIBUTING.md");
    for topic in ["kind of step", "transport", "finding", "criterion", "column", "Commits", "scripts/test"] {
        assert!(text.contains(topic), "CONTRIBUTING.md says nothing of {topic}");
    }
    let output = run(&["--help"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("check"), "the program that it builds");
}
