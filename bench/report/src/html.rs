//! One self-contained page for a browser, a mail and a printer: the answer first, then what is wrong, the figures as charts, and
//! everything else.
//!
//! **Invariant**: it refers to nothing outside itself: no script, no picture, no font, no address is fetched. Whatever stands in a document
//! is text in it and nothing else: [`Markup`] is made of our own words and of escaped ones.

use std::fmt::Display;
use std::io;

use pathproof_model::ResultDoc;

use crate::page::{self, Word};
use crate::plain::escaped;
use crate::{Look, Render, Screen};

mod blocks;
mod charts;
mod plot;

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
const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--paper:#fff;--box:#f6f8fa;--line:#d1d9e0;--good:#1a7f37;--bad:#cf222e;--open:#9a6700;
--s0:#0969da;--s1:#bc4c00;--s2:#1a7f37;--s3:#8250df;--s4:#bf3989;--s5:#57606a}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--box:#151b23;--line:#3d444d;--good:#3fb950;--bad:#f85149;--open:#d29922;
--s0:#4493f8;--s1:#f0883e;--s2:#3fb950;--s3:#ab7df8;--s4:#db61a2;--s5:#9198a1}}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.6rem 0 .4rem}h3{font-size:1rem;margin:1rem 0 .3rem}
.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}.soft{color:var(--soft)}
pre{background:var(--box);border:1px solid var(--line);padding:.7rem;overflow-x:auto;font:13px/1.35 ui-monospace,monospace}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{border-bottom:1px solid var(--line);padding:.15rem .6rem;text-align:left;white-space:nowrap}td.n,th.n{text-align:right}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
section.f{border-left:3px solid var(--line);padding-left:.8rem;margin:.8rem 0}figure{margin:1rem 0;break-inside:avoid}
figcaption{font-weight:600}svg{max-width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.axis{stroke:var(--line);fill:none}.line{fill:none;stroke-width:1.6}.bar{fill:var(--s0)}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}
.legend li{list-style:none;display:inline-block;margin-right:1rem}.legend{padding:0;margin:.2rem 0}.legend svg{vertical-align:middle}
.sign{display:none}@media print{body{max-width:none;font-size:11px}.sign{display:block;margin-top:3rem}h2{break-after:avoid}}
";

impl Render for Html {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let answer = page::answer(doc);
        let title = format!("pathproof: {}", answer.word.name());
        let class = match answer.word {
            Word::Fit => "class=\"good\"",
            Word::NotFit => "class=\"bad\"",
            _ => "class=\"open\"",
        };
        let mut body = Markup::said("h1", class, answer.word.name());
        body.push(Markup::said("p", "", &answer.text));
        // As tall as it takes: a browser scrolls.
        let screen = Screen { look: Look { columns: 100, rows: 80, ..Look::SCREEN }, more: String::new() };
        let mut first = Vec::new();
        screen.render(doc, &mut first)?;
        let first = String::from_utf8_lossy(&first).lines().map(escaped).collect::<Vec<_>>().join("\n");
        body.push(Markup::element("pre", "", Markup(first)));
        body.push(charts::all(doc));
        body.push(Markup::said("h2", "", "Everything else"));
        body.push(page::sections(doc).iter().map(|section| blocks::all(section)).collect());
        let version = format!("{} {}, started {}", doc.tool.name, doc.tool.version, doc.started_at);
        body.push(Markup::said("p", "class=\"soft\"", version));
        body.push(Markup::said(
            "p",
            "class=\"sign\"",
            "Signed off by: ______________________   Date: ______________",
        ));
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            escaped(title),
            body.0
        )
    }
}
