//! Words and numbers that every form for programs has in common.

use pathproof_model::{NodeSpec, ResultDoc};

/// The name of a node: of its host where that is known, else as it was typed.
pub(crate) fn host(doc: &ResultDoc, at: usize) -> String {
    let Some(node) = doc.nodes.get(at) else { return String::new() };
    let own = if node.spec == NodeSpec::Own { doc.nodes.first() } else { Some(node) };
    let hostname = own.and_then(|node| node.environment.as_ref()?.hostname.clone());
    hostname.unwrap_or_else(|| node.name.clone())
}

/// One of a list of words, as it stands in documents.
pub(crate) fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Text within XML or HTML, in elements and between quotes.
pub(crate) fn escaped(text: impl AsRef<str>) -> String {
    let shown = crate::Shown::new(text);
    let mut escaped = String::with_capacity(shown.as_str().len());
    for letter in shown.as_str().chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
