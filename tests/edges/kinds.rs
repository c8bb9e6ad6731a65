//! Kinds of step and transports are asked what they are like: nobody compares them, but the registry and a kind's own file.
//!
//! A comparison gives a kind that is added later the answer of all others silently. A `match` that names every kind does not:
//! the compiler asks for the next one. So `match` is allowed, as long as it has no arm for the rest.

use super::code_below;

/// The types whose variants are kinds.
const KINDS: [&str; 4] = ["StepKind::", "StepSpec::", "StepRequest::", "TrafficKind::"];

/// Where kinds are declared, and told apart to be made.
const REGISTRY: [&str; 3] = ["bench/model/src/kind.rs", "bench/model/src/plan.rs", "src/steps.rs"];

/// The variants of an enumeration of `bench/model/src/kind.rs`.
fn variants(of: &str) -> Vec<String> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(REGISTRY[0]);
    let text = std::fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once(&format!("pub enum {of} {{")).expect("the enumeration stands there");
    let (body, _) = rest.split_once("\n}").expect("it has an end");
    let names = body.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.trim_end_matches(',').to_owned()).collect()
}

/// The transports, each by the folder of its crate and by its name.
fn transports() -> Vec<(String, String)> {
    let mut found = vec![];
    for (file, code) in code_below(&["transports"]) {
        let Some((_, rest)) = code.split_once("pub const NAME: &str = \"") else { continue };
        let (name, _) = rest.split_once('"').expect("a text has an end");
        let folder = file.split('/').nth(1).expect("a crate has a folder");
        found.push((folder.to_owned(), name.to_owned()));
    }
    assert!(found.len() >= 5, "only {found:?} say their names");
    found
}

/// A code without its comments.
fn uncommented(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether what stands between these two is held against something.
fn is_equated(before: &str, after: &str) -> bool {
    // The rest of its path, and what may stand around it.
    let mut before = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    loop {
        let less = before.trim_end().trim_end_matches(['&', '*']).trim_end_matches("Some(");
        if less.len() == before.len() {
            break;
        }
        before = less;
    }
    let after = after.trim_start_matches(|c: char| c == ')' || c.is_whitespace());
    ["==", "!="].iter().any(|sign| before.ends_with(sign) || after.starts_with(sign))
}

/// What `matches!` asks, what a `let` takes apart, and lists in which something is looked for.
fn patterns(code: &str) -> Vec<&str> {
    let mut found = vec![];
    for (at, word) in code.match_indices("matches!(") {
        let rest = &code[at + word.len()..];
        let mut depth = 1;
        let end = rest.find(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let asked = &rest[..end.unwrap_or(rest.len())];
        found.extend(asked.split_once(',').map(|(_, pattern)| pattern));
    }
    for (at, word) in code.match_indices("let ") {
        let rest = &code[at + word.len()..];
        let pattern = &rest[..rest.find(['=', ';']).unwrap_or(0)];
        // A sentence, and no code.
        if !pattern.contains('"') {
            found.push(pattern);
        }
    }
    found.extend(code.match_indices("].contains(&").filter_map(|(at, _)| code[..at].rsplit('[').next()));
    found
}

/// The variants of kinds that a code compares something with.
fn compared(code: &str) -> Vec<&str> {
    let variant = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let mut found = vec![];
    for kind in KINDS {
        for (at, _) in code.match_indices(kind) {
            let rest = &code[at + kind.len()..];
            let end = variant(rest);
            if is_equated(&code[..at], &rest[end..]) {
                found.push(&rest[..end]);
            }
        }
        for pattern in patterns(code) {
            for (at, _) in pattern.match_indices(kind) {
                let rest = &pattern[at + kind.len()..];
                found.push(&rest[..variant(rest)]);
            }
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
    found
}

/// Whether a file is the own one of a kind.
fn is_own(file: &str, variant: &str) -> bool {
    let Some(rest) = file.strip_prefix("src/steps/") else { return false };
    let folder = rest.split(['/', '.']).next().unwrap_or_default();
    // The three kinds of traffic have one folder.
    let traffic = folder == "traffic" && variants("TrafficKind").iter().any(|kind| kind == variant);
    traffic || variant.to_ascii_lowercase() == folder
}

/// What a kind is like says its entry in `bench/model/src/kind.rs`.
#[test]
fn nobody_compares_kinds() {
    let known = variants("StepKind");
    assert!(known.len() >= 14, "only {known:?} are known");
    let mut own = 0;
    for (name, code) in code_below(&["src", "bench"]) {
        if REGISTRY.contains(&name.as_str()) {
            continue;
        }
        let code = uncommented(&code);
        for variant in compared(&code) {
            assert!(known.iter().any(|kind| kind == variant), "{name} has {variant}, which is no kind");
            assert!(is_own(&name, variant), "{name} compares with {variant}; ask for a trait of the kind");
            own += 1;
        }
    }
    assert!(own > 8, "only {own} comparisons were seen in files of kinds: are they still found?");
}

#[test]
fn a_comparison_of_kinds_is_known_when_it_is_seen() {
    for code in [
        "if step.kind == StepKind::Stream {",
        "x != pathproof_model::StepKind::Stream)",
        "step.map(|step| step.kind) == Some(StepKind::Stream)",
        "StepKind::Stream == kind",
        "*step == &StepSpec::Stream",
        "matches!(\n    step.kind,\n    StepKind::Stream | StepKind::Stream\n)",
        "matches!(f(a), Some(StepSpec::Stream(one)) if one.lanes > 1)",
        "if let StepSpec::Stream(one) = spec {",
        "&& let Some(spec @ StepSpec::Stream(_)) = &spec",
        "let (StepSpec::Stream(a), b) = (c, d) else {",
        "[StepKind::Stream, StepKind::Stream].contains(&kind)",
    ] {
        let found = compared(code);
        assert!(!found.is_empty() && found.iter().all(|kind| *kind == "Stream"), "{code}: {found:?}");
    }
    for code in [
        "let step = Step::new(StepKind::Stream, \"x\") == y;",
        "StepKind::Stream | StepKind::Mtu => 1,",
        "let spec = StepSpec::Stream(spec);",
        "steps.iter().filter_map(StepSpec::traffic) == x",
        "matches!(spec, Some(_)); StepKind::Stream",
        "say(\"let it be\", StepKind::Stream); a = b;",
        "kind.traits().bulk == (a == b)",
    ] {
        assert_eq!(compared(code), [""; 0], "{code}");
    }
}

/// What a transport's name would decide, its manners do (`transports/api/src/manners.rs`): a new transport answers each
/// question, and none is answered for it by a comparison that does not know it.
#[test]
fn no_code_but_a_transports_own_knows_its_name() {
    /// Where such a word stands for something else, or is the one list that there has to be.
    const ELSEWHERE: [(&str, &str); 10] = [
        ("bench/model/src/over.rs", "the default of --over"),
        ("src/cli/habits.rs", "flags of other programs"),
        ("src/bundle/pseudonyms.rs", "words of documents that are no names"),
        ("bench/model/src/environment.rs", "where a host says what of its devices cannot be read"),
        ("bench/model/src/file.rs", "what carries the data of a file, which no lane does"),
        ("bench/model/src/request", "the closed list of what may cross"),
        ("bench/engine/src/channels/candidates.rs", "a class of NICs"),
        ("bench/engine/src/networks.rs", "what one network lacks of another's metric"),
        ("bench/report/src/page/channels.rs", "a class of NICs"),
        ("src/steps/migrate", "a part of a half, by name"),
    ];
    let transports = transports();
    for (name, code) in code_below(&["src", "bench"]) {
        if ELSEWHERE.iter().any(|(known, _)| name.starts_with(known)) {
            continue;
        }
        for (_, transport) in &transports {
            let literal = format!("\"{transport}\"");
            assert!(!code.contains(&literal), "{name} has {literal}; ask for manners instead");
        }
    }
}

/// The constant of a name is no better than the name: a transport is taken by it, and not told from others.
#[test]
fn only_the_registry_compares_transports() {
    let transports = transports();
    let mut seen = 0;
    for (name, code) in code_below(&["src", "bench"]) {
        let code = uncommented(&code);
        for (folder, _) in &transports {
            let constant = format!("pathproof_{folder}::NAME");
            let asked = patterns(&code).iter().any(|pattern| pattern.contains(&constant));
            let equated = code.match_indices(&constant).any(|(at, _)| {
                let after = &code[at + constant.len()..];
                is_equated(&code[..at], after) || after.trim_start().starts_with("=>")
            });
            seen += usize::from(code.contains(&constant));
            let registry = name == "src/registry.rs";
            assert!(
                registry || !asked && !equated,
                "{name} compares with {constant}; ask for manners instead"
            );
        }
    }
    assert!(seen > 3, "names of transports were seen {seen} times: do they still stand there?");
}

/// A kind that nobody thought of must not get another one's answer: whoever asks by kind names each, and the compiler asks
/// for the next one.
#[test]
fn no_question_about_a_kind_has_an_answer_for_all_others() {
    let mut arms = 0;
    for (name, code) in code_below(&["src", "bench"]) {
        // Indentation of the arms that name a kind, while we are among them.
        let mut among = None;
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (indent, said) = (line.len() - line.trim_start().len(), line.trim());
            if among.is_some_and(|arm| indent < arm) {
                among = None;
            }
            let Some((pattern, _)) = said.split_once("=>") else { continue };
            if KINDS.iter().any(|kind| pattern.contains(kind)) {
                among = Some(indent);
                arms += 1;
            } else if among == Some(indent) {
                let pattern = pattern.split(" if ").next().unwrap().trim();
                let all =
                    pattern.starts_with("(_") || pattern.chars().all(|c| c == '_' || c.is_ascii_lowercase());
                assert!(!all, "{name}:{}: {said} stands for kinds that are not named", number + 1);
            }
        }
    }
    assert!(arms > 60, "only {arms} arms were looked at");
}

/// Kinds are values, and never compared by the words that they have in documents.
#[test]
fn no_kind_is_known_by_its_word() {
    /// Where such a word is another one.
    const ELSEWHERE: [(&str, &str); 1] =
        [("bench/model/src/lift.rs", "the command of a document of version 1, read before it has types")];
    let mut words: Vec<String> = variants("StepKind").iter().map(|kind| kind.to_ascii_lowercase()).collect();
    words.extend(["latency", "throughput"].map(str::to_owned));
    for (name, code) in code_below(&["src", "bench"]) {
        if ELSEWHERE.iter().any(|(known, _)| *known == name) {
            continue;
        }
        for word in &words {
            let literal = format!("\"{word}\"");
            for (at, _) in code.match_indices(&literal) {
                let (before, after) = (code[..at].trim_end(), code[at + literal.len()..].trim_start());
                let asked = ["==", "!=", "starts_with(", "contains(", "strip_prefix("];
                let compared = asked.iter().any(|asked| before.ends_with(asked))
                    || ["==", "!=", "=>", "| \""].iter().any(|asks| after.starts_with(asks));
                assert!(!compared, "{name} compares a kind with {literal}; ask for the kind itself");
            }
        }
    }
}

/// What is asked of a kind it answers itself: a default would answer silently for one that comes later.
#[test]
fn a_kind_has_no_answer_that_it_did_not_give() {
    const TRAITS: [(&str, &str); 6] = [
        ("src/steps.rs", "Prepared"),
        ("src/steps.rs", "Kind"),
        ("src/steps.rs", "Runner"),
        ("src/steps.rs", "Alone"),
        ("src/steps/stage.rs", "Aside"),
        ("src/evidence.rs", "Evidence"),
    ];
    let sources = code_below(&["src"]);
    for (file, name) in TRAITS {
        let (_, code) = sources.iter().find(|(other, _)| other == file).expect("the file stands there");
        let code = uncommented(code);
        let (_, rest) = code.split_once(&format!("trait {name}")).expect("the trait stands there");
        let (_, body) = rest.split_once('{').expect("a trait has a body");
        let (body, _) = body.split_once("\n}").expect("it has an end");
        assert!(body.contains("fn "), "{file}: {name} asks nothing");
        assert!(!body.contains('{'), "{file}: {name} answers a question for those who do not");
    }
}
