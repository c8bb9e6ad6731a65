//! Plain English wherever a person reads: words that the field does not use, or used once and gave up, are not written.

use std::path::Path;

use super::code_below;

/// What is not written, and what is said instead.
const GIVEN_UP: [(&str, &str); 6] = [
    ("without a word", "silently, without a message"),
    ("black-out", "downtime"),
    ("blackout", "downtime"),
    ("be the peer", "run the server side"),
    ("could not be told", "could not be determined"),
    (" mend", "fix"),
];

/// Texts that people read: what the program prints, its resources, and the pages.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = code_below(&["src", "bench", "transports"]).into_iter().map(|(name, code)| {
        // Help is made of doc comments in src/cli, and the schema of those of the model; other comments are for who reads the code.
        let read = name.starts_with("src/cli") || name.starts_with("bench/model");
        let said = |line: &str| {
            let comment = line.trim_start().starts_with("//");
            !comment || read && line.trim_start().starts_with("///")
        };
        (name, code.lines().filter(|line| said(line)).collect::<Vec<_>>().join("\n"))
    });
    let mut all: Vec<(String, String)> = printed.collect();
    let mut open = vec![
        root.join("bench/model/src"),
        root.join("docs"),
        root.join("README.md"),
        root.join("CONTRIBUTING.md"),
    ];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "md" || e == "txt" || e == "toml") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            all.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

/// Documents have more words for an outcome than one. Where people read they stand between back quotes, as what they are; in code
/// nobody writes them into a text.
#[test]
fn an_outcome_has_one_word_where_people_read() {
    const FOR_PROGRAMS: [&str; 3] = ["inconclusive", "unclear", "undetermined"];
    let mut found = vec![];
    for (name, text) in &texts() {
        let code = name.ends_with(".rs");
        for (number, line) in text.lines().enumerate() {
            let small = line.to_lowercase();
            // The headings of the glossary are what can be asked for. Help is made of comments, which have no quotes.
            if small.starts_with("## ") || code && !small.contains("///") && !small.contains('"') {
                continue;
            }
            let parts: Vec<&str> = match code && !small.contains("///") {
                true => small.split('"').skip(1).step_by(2).collect(),
                false => small.split('`').step_by(2).collect(),
            };
            if FOR_PROGRAMS.iter().any(|word| parts.iter().any(|part| part.contains(word))) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "write cannot tell, or the word between back quotes: {found:#?}");
}

#[test]
fn words_that_were_given_up_are_not_written() {
    let texts = texts();
    assert!(texts.len() > 300, "only {} texts were looked at", texts.len());
    let mut found = vec![];
    for (name, text) in &texts {
        for (number, line) in text.lines().enumerate() {
            let small = line.to_lowercase();
            for (word, instead) in GIVEN_UP.iter().filter(|(word, _)| small.contains(word)) {
                found.push(format!("{name}:{}: {word:?}; write {instead}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
