//! The document as it is: for programs, and for `pathproof report` later.

use std::io;

use pathproof_model::ResultDoc;

use crate::{Render, harmless_json};

/// A container that holds no other with something in it stands on one line, and so does one within so many others: a lane, a
/// column, a distribution. More than half of a document would be indentation otherwise.
const INDENTED: usize = 3;

/// Indented JSON with a line feed at the end. Strings are those of the document, escaped so that a terminal shows them
/// as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// Any value so.
pub fn json_text(value: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(harmless_json(&outline(&serde_json::to_string(value)?)))
}

impl Render for Json {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(json_text(doc)?.as_bytes())?;
        out.write_all(b"\n")
    }
}

/// The same JSON with its outer containers indented, by one blank a level.
fn outline(compact: &str) -> String {
    let mut outline = String::with_capacity(compact.len() + compact.len() / 8);
    let mut depth = 0;
    let mut rest = compact;
    let line_feed = |outline: &mut String, depth: usize| {
        outline.push('\n');
        outline.extend(std::iter::repeat_n(' ', depth));
    };
    while let Some(first) = rest.chars().next() {
        let token = match first {
            '{' | '[' => {
                let (length, holds_others) = container(rest);
                let stays = depth < INDENTED && holds_others;
                if stays { 1 } else { length }
            }
            '"' => string(rest),
            _ => first.len_utf8(),
        };
        let (now, later) = rest.split_at(token);
        if matches!(now, "}" | "]") {
            depth -= 1;
            line_feed(&mut outline, depth);
        }
        outline.push_str(now);
        match now {
            "{" | "[" => {
                depth += 1;
                line_feed(&mut outline, depth);
            }
            "," => line_feed(&mut outline, depth),
            ":" => outline.push(' '),
            _ => {}
        }
        rest = later;
    }
    outline
}

/// Length of the container that `json` begins with, and whether it holds others.
fn container(json: &str) -> (usize, bool) {
    let (mut at, mut depth, mut holds_others) = (0, 0usize, false);
    while let Some(byte) = json.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string(&json[at..]);
                continue;
            }
            b'{' | b'[' => {
                let empty = matches!(json.as_bytes().get(at + 1), Some(b'}' | b']'));
                holds_others |= depth > 0 && !empty;
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    (at, holds_others)
}

/// Length of the string that `json` begins with, quotes included.
fn string(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_deep_stands_on_one_line_and_reads_back() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/golden/v1/check-self.json");
        let doc = pathproof_model::lift::read(&std::fs::read(file).unwrap()).unwrap();
        let mut out = Vec::new();
        Json.render(&doc, &mut out).unwrap();
        let json = String::from_utf8(out).unwrap();
        assert_eq!(serde_json::from_str::<ResultDoc>(&json).unwrap(), doc);
        let series = json.lines().find(|line| line.contains("\"received_bytes\"")).unwrap().trim();
        assert!(series.starts_with("\"series\": [{\"flow\":") && series.contains("\"rtt_ns\":"), "{series}");
        let pretty = serde_json::to_string_pretty(&doc).unwrap();
        assert!(json.len() * 10 < pretty.len() * 7, "{} of {} bytes", json.len(), pretty.len());
    }

    #[test]
    fn only_what_holds_other_containers_is_indented_and_strings_are_left_alone() {
        let text = r#"{"a":{"b":[1,[2]],"c":"x, {\"y\": [1,2]}\\"},"d":[],"e":{"f":[]}}"#;
        let shown = "{\n \"a\": {\n  \"b\": [\n   1,\n   [2]\n  ],\n  \"c\": \"x, {\\\"y\\\": [1,2]}\\\\\"\n },\n \"d\": [],\n \
                     \"e\": {\"f\":[]}\n}";
        assert_eq!(outline(text), shown);
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(read(shown), read(text));
        assert_eq!(outline(&"[".repeat(9)), "[\n [\n  [\n   [[[[[[", "what is no JSON ends all the same");
    }
}
