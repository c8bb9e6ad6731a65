//! What a report says, in blocks: headings, sentences, tables, findings, verdicts, the answer.
//!
//! A section makes [`Block`]s from the document and knows neither widths nor colours; how a block looks is the renderer's
//! (`text.rs`). Each subject has a module of its own here; `SECTIONS` is the order of the page. To add a section: a
//! function and its line there. To add a column: a [`Column`] with its head, its kind and its cell.
//!
//! A page computes no figure: it shows those that the document holds.

use pathproof_model::{CommandName, ResultDoc};

mod answer;
mod block;
mod channels;
mod contend;
mod differences;
mod file;
mod findings;
mod header;
mod ladder;
mod loss;
mod migrate;
mod mtu;
mod networks;
mod nics;
mod offloads;
mod ports;
mod rates;
mod rdma;
mod smb;
mod soak;
mod switches;
mod table;
mod traffic;
mod verdicts;

pub(crate) use answer::advice;
pub use block::{Answer, Block, Fact, Judged, Noticed, Strip, Word, facts};
pub use table::{Cell, Column, ColumnKind, Row, Table};

/// Makes the blocks of one part of the page; none when the document has nothing for it.
type Section = fn(&ResultDoc) -> Vec<Block>;

/// The page from top to bottom; the answer comes last, because it is what remains on a terminal.
const SECTIONS: &[Section] = &[
    header::section,
    smb::section,
    channels::section,
    networks::section,
    differences::section,
    switches::section,
    mtu::section,
    loss::section,
    rates::section,
    offloads::section,
    ports::section,
    ladder::section,
    file::section,
    traffic::rates,
    nics::section,
    traffic::latencies,
    rdma::section,
    migrate::section,
    contend::section,
    contend::over_time,
    soak::section,
    findings::section,
    verdicts::section,
    answer::section,
];

/// The answer of `doc`.
pub(crate) fn answer(doc: &ResultDoc) -> Answer {
    answer::of(doc)
}

/// What a command is about where that is no figure of a path.
pub(crate) fn of_its_own(doc: &ResultDoc) -> Vec<Vec<Block>> {
    // Of a share it is the ladder that was asked for.
    let mut sections = vec![
        ladder::section(doc),
        smb::section(doc),
        file::section(doc),
        networks::section(doc),
        contend::section(doc),
        rates::section(doc),
        offloads::section(doc),
        soak::section(doc),
    ];
    if doc.plan().is_some_and(|plan| plan.command == CommandName::Channels) {
        sections.push(channels::section(doc));
    }
    sections
}

/// The sections of `doc` that have something to say.
pub fn sections(doc: &ResultDoc) -> Vec<Vec<Block>> {
    SECTIONS.iter().map(|section| section(doc)).filter(|blocks| !blocks.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use pathproof_model::StepKind;

    use super::*;

    /// Where it is told what a step of a kind came to. The compiler asks this of a kind that comes later.
    fn told_in(kind: StepKind) -> Section {
        match kind {
            StepKind::Facts => header::section,
            StepKind::Reach | StepKind::Pingpong | StepKind::Request => traffic::latencies,
            StepKind::Mtu => mtu::section,
            StepKind::Loss => loss::section,
            StepKind::Ports => ports::section,
            StepKind::Stream => traffic::rates,
            StepKind::Migrate => migrate::section,
            StepKind::Smb => smb::section,
            StepKind::Channels => channels::section,
            StepKind::File => file::section,
            StepKind::Networks => networks::section,
            StepKind::Contend => contend::section,
        }
    }

    #[test]
    fn every_kind_of_step_is_told_on_the_page() {
        for kind in [
            StepKind::Facts,
            StepKind::Reach,
            StepKind::Mtu,
            StepKind::Loss,
            StepKind::Ports,
            StepKind::Stream,
            StepKind::Pingpong,
            StepKind::Request,
            StepKind::Migrate,
            StepKind::Smb,
            StepKind::Channels,
            StepKind::File,
            StepKind::Networks,
            StepKind::Contend,
        ] {
            let own = told_in(kind);
            let on_the_page = SECTIONS.iter().any(|section| std::ptr::fn_addr_eq(*section, own));
            assert!(on_the_page, "the section of {kind:?} is not on the page");
        }
    }
}
