//! What the program writes as a word and reads back is a type: nobody compares it as text.

use super::code_below;

/// Files in which a text is compared with a word, and what wrote the text: never this program, unless it says why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("bench/engine/src/diagnose/identity.rs", "the name that a user typed for the peer"),
    ("bench/engine/src/diagnose/segments.rs", "the value of a setting, as the kernel shows it"),
    ("bench/engine/src/diagnose/windows.rs", "the value of a setting, as the kernel shows it"),
    ("bench/engine/src/migrate/guest.rs", "a pattern, as a user typed it"),
    ("bench/model/src/lift.rs", "a document of version 1, which is read before it has types"),
    ("bench/report/src/html/charts.rs", "the unit of a distribution: there is one"),
    ("bench/report/src/text/hostile.rs", "the ending of a file's name, in a test"),
    ("bench/report/src/screen/figures.rs", "criteria, by the names that programs know them by"),
    ("src/cli.rs", "the name of a subcommand, from the parser's own list"),
    ("src/far/shell.rs", "the name of a machine, as its kernel says it"),
    ("src/terminal.rs", "a variable of the environment"),
];

#[test]
fn no_word_that_the_program_wrote_is_compared_as_text() {
    let mut known: Vec<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
    let mut seen = 0;
    for (name, code) in code_below(&["src", "bench"]) {
        seen += 1;
        let found: Vec<String> = code
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .filter(|line| compares_text(line))
            .map(|line| line.trim().to_owned())
            .collect();
        match known.iter().position(|other| *other == name) {
            Some(at) if !found.is_empty() => drop(known.remove(at)),
            _ => assert!(found.is_empty(), "{name} compares texts; make the word a type: {found:#?}"),
        }
    }
    assert!(seen > 250, "only {seen} files were looked at");
    assert!(known.is_empty(), "these compare no text any more: {known:?}");
}

/// Whether a line holds a text against a literal. A literal that is no word, or empty, is none that anybody wrote to be read.
fn compares_text(line: &str) -> bool {
    let literal = |rest: &str| {
        let rest = rest.trim_start();
        let text = rest.strip_prefix("Some(").unwrap_or(rest).strip_prefix('"');
        let word = text.and_then(|text| text.split_once('"')).map(|(word, _)| word);
        word.is_some_and(|word| word.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    ["== ", "!= "].iter().any(|sign| line.split(sign).skip(1).any(literal))
}

#[test]
fn a_comparison_is_known_when_it_is_seen() {
    for line in [
        "if path.method == \"echo\" {",
        "x != \"down\"",
        "nic.kind.as_deref() == Some(\"bridge\")",
        "a == b && c == \"0\"",
    ] {
        assert!(compares_text(line), "{line}");
    }
    for line in ["let x = \"echo\";", "word == \"\"", "a == Method::Echo", "part == \"..\"", "f(\"a\") == b"]
    {
        assert!(!compares_text(line), "{line}");
    }
}
