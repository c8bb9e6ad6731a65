//! Where the program stops it says what to do next: no message of an error that the root makes is left without. Errors of the command
//! line that clap finds end with its own "try '--help'", and those of a run with the command that proves a fix (`page` and `screen`).

use super::code_below;

/// Messages whose next step somebody else's words hold, and whose words those are.
const ELSEWHERE: [(&str, &str); 7] = [
    ("line {line}: {}", "the reader of the file, with what it expected there"),
    ("{why}", "rank 0, which refuses"),
    ("{host}:{port}: {why}", "the attempt that failed"),
    ("{part:?}: {help}", "the limits that there are"),
    ("--pid {pid}: {why}", "what reads the memory of processes"),
    ("{} came in answer to RESUME", "an attempt to come back; what is said is that the peer was lost"),
    ("no answer to RESUME", "an attempt to come back; what is said is that the peer was lost"),
];

#[test]
fn every_error_of_the_root_says_what_to_do_next() {
    let (mut seen, mut bare) = (0, vec![]);
    let mut known: Vec<&str> = ELSEWHERE.iter().map(|(text, _)| *text).collect();
    for (name, code) in code_below(&["src"]) {
        for text in messages(&code).into_iter().filter(|text| text != "{}") {
            seen += 1;
            if says_what_to_do(&text) {
                continue;
            }
            match known.iter().position(|known| *known == text) {
                Some(at) => drop(known.remove(at)),
                None => bare.push(format!("{name}: {text}")),
            }
        }
    }
    assert!(seen > 140, "only {seen} messages were looked at");
    assert!(bare.is_empty(), "write after a semicolon what to do or to type: {bare:#?}");
    assert!(known.is_empty(), "these are not made any more: {known:?}");
}

/// The texts of the errors that are made in `code`.
fn messages(code: &str) -> Vec<String> {
    let begins = ["bail!(", "anyhow!(", "ensure!("];
    let starts = begins.iter().flat_map(|begin| code.match_indices(begin).map(|(at, _)| at + begin.len()));
    starts.map(|from| literals(&code[from..])).filter(|text| !text.is_empty()).collect()
}

/// The literals up to the parenthesis that closes the one before `code`.
fn literals(code: &str) -> String {
    let (mut depth, mut within, mut escaped) = (1, false, false);
    let mut text = String::new();
    for letter in code.chars() {
        match (within, letter) {
            // A line that is continued, a quote, a backslash.
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (true, '"') => {
                within = false;
                text.push(' ');
            }
            (true, letter) => text.push(letter),
            (false, '"') => within = true,
            (false, '(') => depth += 1,
            (false, ')') => depth -= 1,
            (false, _) => {}
        }
        if depth == 0 {
            break;
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows a semicolon is advice here; else there is a command, or what is taken instead. A flag alone says where it is wrong, and not what
/// would be right.
fn says_what_to_do(text: &str) -> bool {
    ["; ", "pathproof", ", or ", "use "].iter().any(|sign| text.contains(sign))
}

#[test]
fn a_message_is_known_when_it_is_seen() {
    let code = "bail!(\n    \"a (b) {}; \\\n     leave it out\", f(\"x\")\n);\nErr(anyhow!(\"bare\"))";
    assert_eq!(messages(code), ["a (b) {}; leave it out x", "bare"]);
    assert!(says_what_to_do("a; leave it out") && says_what_to_do("use --size") && !says_what_to_do("bare"));
    assert!(!says_what_to_do("--size 0 is too small"));
}
