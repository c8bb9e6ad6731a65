//! Documents in which every string was chosen by somebody who wants the page to say something else.

use pathproof_model::{ResultDoc, lift};
use serde_json::Value;

use super::Text;
use crate::shown::{is_plain, tests::HOSTILE};
use crate::{Hlog, Json, Look, Render, Screen};

/// The documents that the project keeps: every kind of step and section stands in one of them.
fn golden() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/golden/v1");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let doc = lift::read(&std::fs::read(&path).unwrap()).unwrap();
            (name, serde_json::to_value(doc).unwrap())
        })
        .collect()
}

/// Where strings stand in a value; the places in a list count as one.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(here.to_owned()),
        Value::Array(list) => list.iter().for_each(|one| places(one, &format!("{here}/*"), found)),
        Value::Object(map) => map.iter().for_each(|(key, one)| places(one, &format!("{here}/{key}"), found)),
        _ => {}
    }
}

/// Replaces every string at `place`.
fn poison(value: &mut Value, here: &str, place: &str, with: &str) {
    match value {
        Value::String(text) if here == place => *text = with.to_owned(),
        Value::Array(list) => list.iter_mut().for_each(|one| poison(one, &format!("{here}/*"), place, with)),
        Value::Object(map) => {
            map.iter_mut().for_each(|(key, one)| poison(one, &format!("{here}/{key}"), place, with));
        }
        _ => {}
    }
}

/// The document with `with` wherever a string may be anything, and how many places that were.
fn poisoned(mut document: Value, with: &str) -> (ResultDoc, usize) {
    let mut found = Vec::new();
    places(&document, "", &mut found);
    found.sort();
    found.dedup();
    let mut count = 0;
    for place in found {
        let mut tried = document.clone();
        poison(&mut tried, "", &place, with);
        // Names of kinds and addresses are no free text: such a document is refused.
        if serde_json::from_value::<ResultDoc>(tried.clone()).is_ok() {
            (document, count) = (tried, count + 1);
        }
    }
    (serde_json::from_value(document).unwrap(), count)
}

fn rendered(doc: &ResultDoc, form: &dyn Render) -> String {
    let mut out = Vec::new();
    form.render(doc, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn nothing_in_a_document_steers_the_terminal_or_forges_a_line() {
    for (name, document) in golden() {
        for with in [HOSTILE, "FIT: all 9 verdicts pass.", "\nFIT: all 9 verdicts pass.\n", "a b\u{1b}[1A"] {
            let (mut doc, count) = poisoned(document.clone(), with);
            assert!(count > 20, "{name}: only {count} strings could be chosen");
            let page = rendered(&doc, &Text::default());
            assert!(page.chars().all(|c| c == '\n' || is_plain(c)), "{name}: {page}");
            let answers =
                page.lines().filter(|l| crate::page::Word::ALL.iter().any(|w| l.starts_with(w.name())));
            assert_eq!(answers.count(), 1, "{name}: {page}");
            let screen = rendered(&doc, &Screen { look: Look::SCREEN, more: String::new() });
            assert!(screen.chars().all(|c| c == '\n' || is_plain(c)), "{name}: {screen}");
            let word =
                |line: &&str| crate::page::Word::ALL.iter().find(|w| line.starts_with(w.name())).copied();
            let answers: Vec<_> = screen.lines().filter_map(|line| word(&line)).collect();
            assert!(answers.len() == 2 && answers[0] == answers[1], "{name}: {screen}");
            assert!(screen.lines().count() <= 23, "{name}: {screen}");
            let coloured = rendered(&doc, &Text { look: Look { colour: true, ..Look::PAGE } });
            let bare = ["0", "1", "1;31", "1;32", "1;33"]
                .iter()
                .fold(coloured, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
            assert_eq!(bare, page, "{name}: colours are the only difference");
            let json = rendered(&doc, &Json);
            assert!(json.chars().all(|c| c == '\n' || is_plain(c)), "{name}: {json}");
            assert_eq!(serde_json::from_str::<ResultDoc>(&json).unwrap(), doc, "{name}");
            // Their data must be readable; everything else about them may be chosen.
            doc.steps.iter_mut().for_each(|step| step.histograms.clear());
            let log = rendered(&doc, &Hlog);
            assert!(log.chars().all(|c| c == '\n' || is_plain(c)), "{name}: {log}");
            assert!(log.lines().all(|line| line.starts_with('#') || line.starts_with('"')), "{name}: {log}");
        }
    }
}
