//! Says which commit the binary is built from, for `tool.commit` in results, and with what, for `pathproof --version --verbose`.
//!
//! `PATHPROOF_COMMIT` counts before what git says, so that packages built from an archive can say it too; then comes what cargo
//! wrote into a published package. Without any it stays unknown; that never fails a build.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=PATHPROOF_COMMIT");
    // Without a repository there is nothing to watch; the build script itself is watched by naming anything.
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("PATHPROOF_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    if let Some(commit) = given.or_else(from_git).or_else(from_package) {
        println!("cargo::rustc-env=PATHPROOF_COMMIT={}", commit.trim());
    }
    // What a build is made with and for. Nothing here changes from one build of the same sources to the next.
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let rustc = Command::new(variable("RUSTC"))
        .arg("--version")
        .output()
        .ok()
        .filter(|output| output.status.success());
    let rustc = rustc.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    for (name, value) in [
        ("TARGET", variable("TARGET")),
        ("PROFILE", format!("{} (opt-level {})", variable("PROFILE"), variable("OPT_LEVEL"))),
        ("PROCESSOR", variable("CARGO_CFG_TARGET_FEATURE")),
        ("RUSTC", rustc.trim().to_owned()),
    ] {
        println!("cargo::rustc-env=PATHPROOF_{name}={value}");
    }
}

/// The commit of this checkout, with `-dirty` when a file that git knows differs from it.
fn from_git() -> Option<String> {
    // A repository around an unpacked archive knows nothing of the files in it.
    if !Path::new(&std::env::var("CARGO_MANIFEST_DIR").ok()?).join(".git").exists() {
        return None;
    }
    let commit = git(&["rev-parse", "--verify", "HEAD"])?;
    // An edit makes the tree differ from its commit, and is compiled anyway.
    for sources in ["src", "bench", "transports", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={sources}");
    }
    // What changes when another commit is checked out, wherever the work tree keeps it.
    for name in ["HEAD", "logs/HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let dirty = if changed.is_none_or(|files| files.is_empty()) { "" } else { "-dirty" };
    Some(format!("{commit}{dirty}"))
}

/// The commit that cargo wrote into a package of its own, from which `cargo install` builds.
fn from_package() -> Option<String> {
    let place = Path::new(&std::env::var("CARGO_MANIFEST_DIR").ok()?).join(".cargo_vcs_info.json");
    let facts = std::fs::read_to_string(place).ok()?;
    let commit = facts.split("\"sha1\": \"").nth(1)?.split('"').next()?;
    let dirty = if facts.contains("\"dirty\": true") { "-dirty" } else { "" };
    Some(format!("{commit}{dirty}"))
}

/// The output of a git command that succeeded. Nothing is locked or written.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
