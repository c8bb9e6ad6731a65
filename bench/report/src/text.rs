//! The report for people: what was measured, what was noticed, what it comes to, and what to do next.
//!
//! It fits a terminal page, and the last line is the answer. It computes no figure: it shows those that the
//! document holds.
//!
//! Each kind of step has a module of its own that makes its section; [`SECTIONS`] is the order of the page.

use std::io;

use pathproof_model::ResultDoc;

use crate::Render;

mod answer;
mod channels;
mod findings;
mod header;
mod migrate;
mod mtu;
mod nics;
mod rdma;
mod smb;

mod traffic;
mod verdicts;

use crate::layout::Style;

/// Makes the lines of one part of the page; none when the document has nothing for it.
type Section = fn(&ResultDoc, &Style) -> Vec<String>;

/// The page from top to bottom, a blank line between the sections.
const SECTIONS: &[Section] = &[
    header::section,
    smb::section,
    channels::section,
    mtu::section,
    traffic::rates,
    nics::section,
    traffic::latencies,
    rdma::section,
    migrate::section,
    findings::section,
    verdicts::section,
    answer::section,
];

/// Text for a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    /// Mark good and bad with ANSI colours.
    pub colour: bool,
}

impl Render for Text {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let style = Style { colour: self.colour };
        let sections = SECTIONS.iter().map(|section| section(doc, &style)).filter(|lines| !lines.is_empty());
        for (i, lines) in sections.enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            for line in lines {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
