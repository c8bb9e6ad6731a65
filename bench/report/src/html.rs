//! One self-contained page for a browser, a mail and a printer: the answer first, then what is wrong, the figures as charts, and
//! everything else.
//!
//! **Invariant**: it refers to nothing outside itself: no script, no picture, no font, no address is fetched. Whatever stands in a document
//! is text in it and nothing else: [`Markup`] is made of our own words and of escaped ones.

use std::fmt::Display;
use std::io;

use pathproof_model::{ResultDoc, Tool};

use crate::page::{self, Answer, Word};
use crate::plain::{self, escaped};
use crate::{Look, Render, Screen};

mod blocks;
mod charts;
mod mesh;
mod plot;

pub use mesh::mesh_html;

/// A document as a page of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Html;

/// Finished HTML. What comes from outside enters by [`Markup::text`] only.
#[derive(Clone, Debug, Default)]
struct Markup(String);

impl Markup {
    /// Text, whatever stands in it.
    fn text(text: impl AsRef<str>) -> Markup {
        Markup(escaped(text))
    }

    /// An element of ours around something. The name and its attributes are words of this program.
    fn element(tag: &'static str, attributes: &'static str, inner: Markup) -> Markup {
        let space = if attributes.is_empty() { "" } else { " " };
        Markup(format!("<{tag}{space}{attributes}>{}</{tag}>\n", inner.0))
    }

    /// The same around text.
    fn said(tag: &'static str, attributes: &'static str, text: impl Display) -> Markup {
        Markup::element(tag, attributes, Markup::text(text.to_string()))
    }

    fn push(&mut self, other: Markup) {
        self.0.push_str(&other.0);
    }
}

impl FromIterator<Markup> for Markup {
    fn from_iter<I: IntoIterator<Item = Markup>>(parts: I) -> Markup {
        Markup(parts.into_iter().map(|part| part.0).collect())
    }
}

/// Rules only: colours for light and dark, and for paper.
const STYLE: &str = include_str!("html.css");

impl Render for Html {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = Markup::default();
        // As tall as it takes: a browser scrolls.
        let screen = Screen { look: Look { columns: 100, rows: 80, ..Look::SCREEN }, more: String::new() };
        let mut first = Vec::new();
        screen.render(doc, &mut first)?;
        let first = String::from_utf8_lossy(&first).lines().map(escaped).collect::<Vec<_>>().join("\n");
        body.push(Markup::element("pre", "", Markup(first)));
        body.push(charts::all(doc));
        body.push(Markup::said("h2", "", "Everything else"));
        body.push(page::sections(doc).iter().map(|section| blocks::all(section)).collect());
        let hosts = [plain::host(doc, 0), plain::host(doc, 1)].into_iter().filter(|name| !name.is_empty());
        let hosts = hosts.collect::<Vec<_>>().join(" to ");
        out.write_all(whole(&page::answer(doc), &body, &hosts, (&doc.tool, &doc.started_at)).as_bytes())
    }
}

/// A page of its own: the answer, and what there is below it. `about` tells it from others among the tabs of a browser.
fn whole(answer: &Answer, below: &Markup, about: &str, (tool, started_at): (&Tool, &str)) -> String {
    let class = match answer.word {
        Word::Fit => "class=\"good\"",
        Word::NotFit => "class=\"bad\"",
        _ => "class=\"open\"",
    };
    let mut body = Markup::said("h1", class, answer.word.name());
    body.push(Markup::said("p", "", &answer.text));
    body.0.push_str(&below.0);
    body.push(Markup::said(
        "p",
        "class=\"soft\"",
        format!("{} {}, started {started_at}", tool.name, tool.version),
    ));
    body.push(Markup::said(
        "p",
        "class=\"sign\"",
        "Signed off by: ______________________   Date: ______________",
    ));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
        escaped(format!("pathproof: {}, {about}", answer.word.name())),
        body.0
    )
}
