//! Plain English wherever a person reads: words that the field does not use, or used once and gave up, are not written.

use std::path::Path;

use super::code_below;

/// What is not written, and what is said instead.
const GIVEN_UP: [(&str, &str); 11] = [
    ("without a word", "silently, without a message"),
    ("black-out", "downtime"),
    ("blackout", "downtime"),
    ("be the peer", "run the server side"),
    ("could not be told", "could not be determined"),
    ("cannot be told", "cannot be determined, cannot be distinguished"),
    (" mend", "fix"),
    (" anew", "again"),
    ("foretell", "predict"),
    ("reckon", "compute, assume"),
    ("from afar", "remotely"),
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
    // Scripts have no ending, and print.
    let mut open: Vec<_> = ["docs", "README.md", "CONTRIBUTING.md", "action.yml", "packaging", "scripts"]
        .into_iter()
        .chain(["sys", "bench", "transports", "tests/truth/README.md", "tests/field/README.md"])
        .map(|place| root.join(place))
        .collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(root).unwrap().display().to_string();
        // What tests are given is as it was recorded.
        if name.contains("/tests/") && !name.starts_with("tests/") {
            continue;
        }
        let script = name.starts_with("scripts/") || name.starts_with("packaging/") || name == "action.yml";
        let page = path.extension().is_some_and(|e| e == "md" || e == "txt" || e == "toml");
        if (script || page)
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            all.push((name, text));
        }
    }
    all
}

/// A text as one line, in small letters, without what continues a line of code or a comment.
fn flowing(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !["///", "//!", "//", "#", "\\"].contains(word));
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The words around a place, to find it by.
fn around(text: &str, at: usize) -> String {
    let mut before: Vec<&str> = text[..at].rsplit(' ').take(6).collect();
    before.reverse();
    let after = text[at..].split(' ').take(8).collect::<Vec<_>>();
    format!("{}{}", before.join(" "), after.join(" "))
}

/// Documents have more words for an outcome than one. Where people read they stand between back quotes, as what they are; in code
/// nobody writes them into a text.
#[test]
fn an_outcome_has_one_word_where_people_read() {
    const FOR_PROGRAMS: [&str; 3] = ["inconclusive", "unclear", "undetermined"];
    let mut found = vec![];
    // A script reads documents, with their words.
    for (name, text) in texts().iter().filter(|(name, _)| !name.starts_with("scripts/")) {
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
        let text = flowing(text);
        for (word, instead) in GIVEN_UP {
            let places = text.match_indices(word).map(|(at, _)| around(&text, at));
            found.extend(places.map(|place| format!("{name}: {word:?}; write {instead}: {place}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_word_that_was_given_up_is_found_across_lines() {
    let text = flowing("drops it without a\n/// word, and \\\n   is mended\n// It cannot\n# be told");
    assert_eq!(text, "drops it without a word, and is mended it cannot be told");
    let found: Vec<&str> =
        GIVEN_UP.into_iter().map(|(word, _)| word).filter(|word| text.contains(word)).collect();
    assert_eq!(found, ["without a word", "cannot be told", " mend"]);
    assert_eq!(around(&text, 9), "drops it without a word, and is mended it cannot");
}
