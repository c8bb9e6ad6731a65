//! What the program writes as a word and reads back is a type: nobody compares it as text.

use super::code_below;

/// Files in which a text is compared with a word, and what wrote the text: never this program, unless it says why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("bench/engine/src/compare/settings.rs", "fields of two documents, which are compared as they stand"),
    ("bench/engine/src/diagnose/identity.rs", "the name that a user typed for the peer"),
    ("bench/engine/src/diagnose/segments.rs", "the value of a setting, as the kernel shows it"),
    ("bench/engine/src/diagnose/windows.rs", "the value of a setting, as the kernel shows it"),
    ("bench/engine/src/migrate/guest.rs", "a pattern, as a user typed it"),
    ("bench/model/src/contend/caps.rs", "a class and a unit, as a user typed them"),
    ("bench/model/src/contend/marks.rs", "a class, as a user typed it"),
    ("bench/model/src/contend/spans.rs", "a class, as a user typed it"),
    ("bench/model/src/contend/ways.rs", "a class, as a user typed it"),
    ("bench/model/src/criteria/reserved.rs", "a class, as a user typed it"),
    ("bench/model/src/finding.rs", "a severity of a document, which a later build may have written"),
    ("bench/model/src/lift.rs", "a document of version 1, which is read before it has types"),
    ("bench/model/src/request/lane.rs", "options, by the names that users type"),
    ("bench/report/src/html/charts.rs", "the unit of a distribution: there is one"),
    ("bench/report/src/text/hostile.rs", "the ending of a file's name, in a test"),
    ("src/cli/habits.rs", "flags of other programs, as users type them"),
    ("src/cli/run.rs", "endings of files' names, as users type them"),
    ("src/cli/serve.rs", "limits, by the names that users type"),
    ("src/cli/mesh.rs", "a number of rounds, or that it is all of them, as a user typed it"),
    ("src/far/shell.rs", "what the shell and the kernel of another machine say"),
    ("src/host/nics.rs", "kinds of links, as the kernel names them"),
    ("src/steps/contend/tags.rs", "kinds of links, as the kernel names them"),
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
    let compared = ["== ", "!= "].iter().any(|sign| line.split(sign).skip(1).any(literal));
    let arm = line.split_once(" =>").map_or("", |(arm, _)| arm.trim_start().trim_start_matches("| "));
    compared || literal(arm)
}

#[test]
fn a_comparison_is_known_when_it_is_seen() {
    for line in [
        "if path.method == \"echo\" {",
        "x != \"down\"",
        "nic.kind.as_deref() == Some(\"bridge\")",
        "a == b && c == \"0\"",
        "            \"bridge\" => 1,",
        "            Some(\"a\") | None => {",
        "            | \"b\" if c => {}",
    ] {
        assert!(compares_text(line), "{line}");
    }
    for line in [
        "let x = \"echo\";",
        "word == \"\"",
        "a == Method::Echo",
        "part == \"..\"",
        "f(\"a\") == b",
        "\"\" => 1,",
        "Kind::A => \"a\",",
    ] {
        assert!(!compares_text(line), "{line}");
    }
}

/// What findings say of themselves is read by names that exist once, with the type of the value (`finding/told.rs`).
#[test]
fn values_of_findings_are_read_by_names_with_a_type() {
    for (name, code) in code_below(&["src", "bench"]) {
        let by_hand = code.lines().find(|line| line.contains("values.get(\"") || line.contains("values[\""));
        assert_eq!(by_hand, None, "{name} reads a value of a finding by its text");
    }
}

/// Where the program still looks into a sentence that was written for people, once each, and for what; and what is called like one and is
/// none. It may only become less: what is to be read back is a value of its own, as how a peer went is (`StepError::cause`).
const PROSE: &[(&str, &str)] = &[
    ("bench/report/src/screen/causes.rs", "a beginning that the screen says by its mark; it decides nothing"),
    ("transports/smb2/src/server/conversation.rs", "a message is bytes of SMB there"),
    ("transports/smb2/src/server/ntlm.rs", "a message is bytes of NTLM there"),
];

#[test]
fn nobody_decides_by_a_sentence() {
    let mut found: Vec<String> = vec![];
    for (name, code) in code_below(&["src", "bench", "transports", "sys"]) {
        // What codes begin with is known in one place.
        if name == "bench/model/src/finding/topic.rs" {
            continue;
        }
        let lines = statements(&code);
        found.extend(lines.iter().filter(|line| reads_prose(line)).map(|_| name.clone()));
    }
    found.sort();
    let known: Vec<&str> = PROSE.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known, "what is to be read back is a field, and no sentence");
}

/// The lines of `code` without their comments; a chain of calls that was broken is one again.
fn statements(code: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for line in code.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        match lines.last_mut() {
            Some(last) if line.trim_start().starts_with('.') => last.push_str(line.trim()),
            _ => lines.push(line.trim_end().to_owned()),
        }
    }
    lines
}

/// Whether a line looks for something in what is written for people, or for a part of a code.
fn reads_prose(line: &str) -> bool {
    const TEXTS: [&str; 11] = [
        "message",
        "evidence",
        "meaning",
        "reason",
        ".code",
        "detail",
        "error",
        "why",
        "how",
        "sentence",
        ".to_string()",
    ];
    const LOOKS: [&str; 7] = [
        ".contains(",
        ".starts_with(",
        ".ends_with(",
        ".strip_prefix(",
        ".strip_suffix(",
        ".split_once(",
        ".find(",
    ];
    let line = line.replace(".as_str()", "").replace(".as_deref()", "");
    TEXTS.iter().any(|text| LOOKS.iter().any(|looks| line.contains(&format!("{text}{looks}"))))
}

#[test]
fn a_look_into_a_sentence_is_known_when_it_is_seen() {
    for line in [
        "why.message.contains(\"reset\")",
        "finding.code.as_str().starts_with(\"MTU-\")",
        "let evidence = evidence.strip_prefix(\"cannot tell: \");",
        "if error.to_string().contains(\"reset by peer\") {",
        "detail.ends_with(\"exceeded\")",
    ] {
        assert!(reads_prose(line), "{line}");
    }
    for line in ["codes.contains(&finding.code)", "messages.contains(&message)", "finding.is(code!(\"A\"))"] {
        assert!(!reads_prose(line), "{line}");
    }
    let broken = "    why\n        .message // of the lane\n        .contains(\"reset\");\nnext();\n";
    assert_eq!(statements(broken), ["    why.message.contains(\"reset\");", "next();"]);
}

/// Words that the whole project goes by: whoever reads one need not ask which is meant. The list may grow.
const ONE_MEANING: [&str; 12] = [
    "Direction",
    "End",
    "Flow",
    "Kind",
    "Limits",
    "Peer",
    "Plan",
    "Prepared",
    "Ready",
    "Step",
    "Tick",
    "Way",
];

#[test]
fn a_word_of_the_project_names_one_type() {
    let mut declared: Vec<(String, String)> = vec![];
    for (file, code) in code_below(&["src", "sys", "bench", "transports"]) {
        for line in code.lines() {
            let line = line.split("//").next().unwrap_or_default();
            let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            if words.any(|word| ["struct", "enum", "trait", "type"].contains(&word)) {
                let name = words.next().unwrap_or_default();
                declared.push((name.to_owned(), file.clone()));
            }
        }
    }
    for word in ONE_MEANING {
        let files: Vec<&str> =
            declared.iter().filter(|(name, _)| name == word).map(|(_, file)| file.as_str()).collect();
        assert_eq!(files.len(), 1, "{word} is declared in {files:?}");
    }
}
