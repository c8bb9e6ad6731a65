//! The document as it is: for programs, and for `pathproof report` later.

use std::io;

use pathproof_model::ResultDoc;
use serde::Serialize as _;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::{Render, harmless_json};

/// Containers within so many others are indented; those further in stand on one line: a lane, a series, a distribution.
/// More than half of a document would be indentation otherwise.
const INDENTED: usize = 4;

/// Indented JSON with a line feed at the end. Strings are those of the document, escaped so that a terminal shows them
/// as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Render for Json {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let mut json = Vec::new();
        doc.serialize(&mut Serializer::with_formatter(&mut json, Outline::default()))?;
        let json = String::from_utf8(json).map_err(io::Error::other)?;
        out.write_all(harmless_json(&json).as_bytes())?;
        out.write_all(b"\n")
    }
}

/// Indents outer containers only.
#[derive(Default)]
struct Outline {
    depth: usize,
    outer: PrettyFormatter<'static>,
    inner: CompactFormatter,
}

/// Forwards a call to the formatter of the container that it is about.
macro_rules! by_depth {
    ($self:ident.$call:ident($($argument:ident),*)) => {
        match $self.depth {
            0..=INDENTED => $self.outer.$call($($argument),*),
            _ => $self.inner.$call($($argument),*),
        }
    };
}

impl Formatter for Outline {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        by_depth!(self.begin_array(out))
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let ended = by_depth!(self.end_array(out));
        self.depth -= 1;
        ended
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        by_depth!(self.begin_array_value(out, first))
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        by_depth!(self.end_array_value(out))
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        by_depth!(self.begin_object(out))
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let ended = by_depth!(self.end_object(out));
        self.depth -= 1;
        ended
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        by_depth!(self.begin_object_key(out, first))
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        by_depth!(self.begin_object_value(out))
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        by_depth!(self.end_object_value(out))
    }
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
        let slice = json.lines().find(|line| line.contains("\"received_bytes\"")).unwrap().trim();
        assert!(slice.starts_with("{\"flow\":") && slice.contains("\"cpu_ns\":"), "{slice}");
        let pretty = serde_json::to_string_pretty(&doc).unwrap();
        assert!(json.len() * 10 < pretty.len() * 7, "{} of {} bytes", json.len(), pretty.len());
    }
}
