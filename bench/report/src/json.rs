//! The document as it is: for programs, and for `pathproof report` later.

use std::io;

use pathproof_model::ResultDoc;

use crate::Render;

/// Indented JSON with a line feed at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Render for Json {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, doc)?;
        out.write_all(b"\n")
    }
}
