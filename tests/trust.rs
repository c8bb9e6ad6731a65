//! The trust model of docs/PROTOCOL.md: each of its numbered sentences is held by a test that bears its number.

use std::path::Path;

fn texts(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the sources can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("a source can be read"));
        }
    }
}

#[test]
fn every_sentence_of_the_trust_model_has_a_test_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protocol = std::fs::read_to_string(root.join("docs/PROTOCOL.md")).unwrap();
    let numbers: Vec<u32> = protocol
        .lines()
        .filter_map(|line| line.strip_prefix("- **T")?.split_once("**")?.0.parse().ok())
        .collect();
    let expected: Vec<u32> = (1..=numbers.len() as u32).collect();
    assert_eq!(numbers, expected, "the sentences are numbered from 1 without a gap");
    assert!(numbers.len() >= 20, "{numbers:?}");
    let mut sources = String::new();
    for folder in ["src", "tests", "bench", "transports"] {
        texts(&root.join(folder), &mut sources);
    }
    let untested: Vec<u32> =
        numbers.into_iter().filter(|n| !sources.contains(&format!("fn t{n}_"))).collect();
    assert!(untested.is_empty(), "no test names T{untested:?} (a test function `t<number>_…`)");
}
