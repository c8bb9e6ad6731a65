//! The document as it is: for programs, and for `pathproof report` later.

use std::io;

use pathproof_model::ResultDoc;

use crate::{Render, harmless_json};

/// Indented JSON with a line feed at the end. Strings are those of the document, escaped so that a terminal shows them
/// as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Render for Json {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(harmless_json(&serde_json::to_string_pretty(doc)?).as_bytes())?;
        out.write_all(b"\n")
    }
}
