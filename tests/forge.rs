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

/// Actions of others are named by their commit; ours is the one of this very checkout.
fn pinned(name: &str, text: &str) {
    for used in text.lines().filter_map(|line| line.split("uses: ").nth(1)).filter(|used| *used != "./") {
        let (commit, version) = used.split_once('@').unwrap().1.split_once(" # v").unwrap_or_default();
        let pinned = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
        assert!(pinned && !version.is_empty(), "{name}: {used} is not pinned by its commit");
    }
}

#[test]
fn workflows_are_pinned_and_have_no_rights() {
    // What others run with their rights.
    pinned("action.yml", &read("action.yml"));
    for name in entries(".github/workflows") {
        let text = read(format!(".github/workflows/{name}"));
        let rights =
            text.split("\npermissions:\n").nth(1).unwrap_or_else(|| panic!("{name}: no permissions"));
        assert_eq!(rights.lines().next(), Some("  contents: read"), "{name}");
        assert_eq!(text.matches("permissions:").count(), 1, "{name}: one set of rights for all jobs");
        assert!(!text.contains("pull_request_target") && !text.contains("secrets."), "{name}");
        pinned(&name, &text);
        for image in text.lines().filter_map(|line| line.split("image: ").nth(1)) {
            assert!(image.split_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}: {image}");
        }
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
