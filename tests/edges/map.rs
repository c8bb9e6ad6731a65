//! The map is of this house: what docs/ARCHITECTURE.md names as a file or a folder is there.

use std::path::{Path, PathBuf};

#[test]
fn what_the_map_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = ["src", "sys", "bench", "transports", "tests", "scripts", "docs", "results"]
        .map(|f| root.join(f))
        .into();
    let mut there = vec![];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        there.push(path.strip_prefix(root).unwrap().to_owned());
    }
    let page = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    // Every other piece between back quotes is code.
    let named = page.split('`').skip(1).step_by(2).filter(|code| {
        let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        plain && (code.contains('/') || code.ends_with(".rs"))
    });
    let (mut seen, mut missing) = (0, vec![]);
    for name in named {
        seen += 1;
        // A path from the top, or the end of one: `mtu/pairs.rs` of `src/steps/mtu/pairs.rs`.
        if !there.iter().any(|path| path.ends_with(name.trim_start_matches('/'))) {
            missing.push(name);
        }
    }
    assert!(seen > 60, "only {seen} paths are named");
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names what is not there: {missing:?}");
}
