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

use crate::layout::Line;

/// Makes the lines of one part of the page; none when the document has nothing for it.
type Section = fn(&ResultDoc) -> Vec<Line>;

/// The page from top to bottom, a blank line after each section; the answer follows.
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
];

/// Text for a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    /// Mark good and bad with ANSI colours.
    pub colour: bool,
}

impl Render for Text {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let sections = SECTIONS.iter().map(|section| section(doc)).filter(|lines| !lines.is_empty());
        for lines in sections {
            for line in lines {
                // A NIC may be called "FIT: all is well"; the answer stands in the last lines and nowhere else.
                let margin =
                    if answer::WORDS.iter().any(|word| line.text().starts_with(word)) { "  " } else { "" };
                writeln!(out, "{margin}{}", line.paint(self.colour))?;
            }
            writeln!(out)?;
        }
        answer::section(doc).iter().try_for_each(|line| writeln!(out, "{}", line.paint(self.colour)))
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
