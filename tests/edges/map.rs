//! The map is of this house: what docs/ARCHITECTURE.md names as a file or a folder is there, and what is there it names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn what_the_map_names_is_there() {
    const TOP: [&str; 10] =
        ["src", "sys", "bench", "benches", "transports", "tests", "scripts", "docs", "packaging", "results"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = TOP.map(|folder| root.join(folder)).into();
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

/// What is named between back quotes, piece by piece of its path.
fn named(page: &str) -> BTreeSet<&str> {
    let codes = page.split('`').skip(1).step_by(2);
    codes
        .flat_map(|code| code.split(['/', ' ', ',', '{', '}']))
        .map(|part| part.trim_end_matches(".rs"))
        .collect()
}

#[test]
fn what_is_there_is_on_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = |place: &str| {
        let listed = std::fs::read_dir(root.join(place)).unwrap().map(|entry| entry.unwrap());
        let folders = listed.filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let page = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let (mut seen, mut missing) = (0, vec![]);
    let named = named(&page);
    // The crates, and the parts that are large enough for a folder.
    for place in ["bench", "transports", "bench/engine/src", "src"] {
        for name in folders(place) {
            seen += 1;
            if !named.contains(name.as_str()) {
                missing.push(format!("{place}/{name}"));
            }
        }
    }
    assert!(seen > 35, "only {seen} folders were looked at");
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md says nothing of {missing:?}");
}
