//! The whole page for a terminal. The last line is the answer; [`crate::Screen`] is what people see first.

use std::io;

use pathproof_model::{Outcome, ResultDoc, Severity};

use crate::layout::{Line, Mark, hanging, heading, padded, sparkline, table, wrapped};
use crate::page::{self, Answer, Block, Cell, ColumnKind, Fact, Judged, Noticed, Row, Strip, Table, Word};
use crate::{Look, Render, Shown};

/// Widest row of bars.
const BARS_COLUMNS: usize = 16;
/// Widest bar of a share.
const SHARE_COLUMNS: u64 = 24;
/// Beyond it the subjects of verdicts are not aligned.
const SUBJECT_COLUMNS_MAX: usize = 32;

/// Text for a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    /// What the terminal shows.
    pub look: Look,
}

impl Render for Text {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        for (i, blocks) in page::sections(doc).iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            for block in blocks {
                let answers = matches!(block, Block::Answer(_));
                for line in block_lines(&self.look, block) {
                    // A NIC may be called "FIT: all is well"; the answer stands in its own lines and nowhere else.
                    let forged =
                        !answers && Word::ALL.iter().any(|word| line.text().starts_with(word.name()));
                    writeln!(out, "{}{}", if forged { "  " } else { "" }, line.paint(&self.look))?;
                }
            }
        }
        Ok(())
    }
}

/// Blocks as lines, for what is printed beside result documents.
pub fn lines(look: &Look, blocks: &[Block]) -> Vec<Line> {
    blocks.iter().flat_map(|block| block_lines(look, block)).collect()
}

fn block_lines(look: &Look, block: &Block) -> Vec<Line> {
    match block {
        Block::Title { title, note } => {
            vec![Line::from(format!("{title}  {note}")).mark(Mark::Heading, title.as_str())]
        }
        Block::Heading(text) => vec![heading(text.as_str())],
        Block::Break => vec![Line::default()],
        Block::Paragraph(text) => hanging(look.columns, "", text.as_str()),
        Block::Facts(facts) => aligned(look, "", facts),
        Block::Note(fact) => sentence(look, "", fact),
        Block::List(facts) => facts.iter().flat_map(|fact| sentence(look, "  ", fact)).collect(),
        Block::Table(table) => table_lines(look, table),
        Block::Strips { legend, strips } => strip_lines(legend, strips),
        Block::Question { question, answer } => {
            [hanging(look.columns, "", question.as_str()), hanging(look.columns, "  ", answer.as_str())]
                .concat()
        }
        Block::Finding(finding) => finding_lines(look, finding),
        Block::Verdicts(verdicts) => verdict_lines(look, verdicts),
        Block::Answer(answer) => answer_lines(look, answer),
    }
}

/// Names in a column of their own, texts in another.
fn aligned(look: &Look, margin: &str, facts: &[Fact]) -> Vec<Line> {
    let columns = facts.iter().map(|fact| fact.name.columns()).max().unwrap_or(0);
    let line = |fact: &Fact| {
        let margin = format!("{margin}{}  ", padded(fact.name.as_str(), columns));
        hanging(look.columns, &margin, fact.text.as_str())
    };
    facts.iter().flat_map(line).collect()
}

fn sentence(look: &Look, margin: &str, fact: &Fact) -> Vec<Line> {
    match fact.name.as_str() {
        "" => hanging(look.columns, margin, fact.text.as_str()),
        // Below a long name there is no column for words.
        name if name.len() > look.columns / 2 => {
            let text = format!("{name}: {}", fact.text);
            let indent = format!("{margin}    ");
            let lines = wrapped(look.columns.saturating_sub(indent.len()), &text);
            let margins = std::iter::once(margin).chain(std::iter::repeat(indent.as_str()));
            margins.zip(&lines).map(|(margin, line)| Line::from(format!("{margin}{line}"))).collect()
        }
        name => hanging(look.columns, &format!("{margin}{name}: "), fact.text.as_str()),
    }
}

fn table_lines(look: &Look, content: &Table) -> Vec<Line> {
    let heads: Vec<&str> = content.heads.iter().map(|(head, _)| head.as_str()).collect();
    let words = content.heads.iter().enumerate().filter(|(_, (_, kind))| *kind == ColumnKind::Words);
    let words: Vec<usize> = words.map(|(column, _)| column).collect();
    let rows = content.rows.iter().map(|row| match row {
        Row::One(cells) => cells.iter().map(|content| cell(look, content)).collect(),
        Row::Part(cells) => cells
            .iter()
            .enumerate()
            .map(|(column, content)| {
                format!("{}{}", if column == 0 { "  " } else { "" }, cell(look, content))
            })
            .collect(),
        Row::Group(name) => vec![name.to_string()],
        Row::Omitted(count) => vec![format!("… {count} more")],
    });
    table(&heads, rows.collect(), &words)
}

fn cell(look: &Look, cell: &Cell) -> String {
    // Before columns are aligned, not after.
    look.letters(&letters(cell))
}

pub(crate) fn letters(cell: &Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Unknown => "-".into(),
        Cell::Value(value) => value.to_string(),
        Cell::Bars { values, stopped: false } => sparkline(values, BARS_COLUMNS),
        Cell::Bars { values, stopped: true } => format!("{} stopped", sparkline(values, BARS_COLUMNS / 2)),
        Cell::Share { length, longest, part, whole, note } => {
            let columns =
                (u128::from(*length) * u128::from(SHARE_COLUMNS)).div_ceil(u128::from(*longest).max(1));
            let columns = columns.clamp(1, SHARE_COLUMNS.into());
            let hollow =
                (columns * u128::from(*part)).checked_div(u128::from(*whole)).unwrap_or(0).min(columns);
            let bar = "█".repeat((columns - hollow) as usize) + &"░".repeat(hollow as usize);
            format!("{bar} {note}").trim_end().to_owned()
        }
    }
}

fn strip_lines(legend: &Shown, strips: &[Strip]) -> Vec<Line> {
    let columns = strips.iter().map(|strip| strip.name.columns()).max().unwrap_or(0);
    let rows = strips.iter().map(|s| format!("  {} {}", padded(s.name.as_str(), columns), s.symbols));
    std::iter::once(legend.to_string()).chain(rows).map(Line::from).collect()
}

fn finding_lines(look: &Look, finding: &Noticed) -> Vec<Line> {
    let (severity, mark) = match finding.severity {
        Severity::Error => ("error", Mark::Bad),
        Severity::Warning => ("warning", Mark::Doubtful),
        Severity::Info => ("info", Mark::None),
    };
    let place = finding.step.as_ref().map(|step| format!("  in {step}")).unwrap_or_default();
    let mut lines = vec![Line::from(format!("{severity} {}{place}", finding.code)).mark(mark, severity)];
    // Every finding alike, whether it is explained or only seen once more.
    let columns = "means".len();
    for fact in &finding.facts {
        let margin = format!("  {}  ", padded(fact.name.as_str(), columns));
        lines.extend(hanging(look.columns, &margin, fact.text.as_str()));
    }
    lines
}

fn verdict_lines(look: &Look, verdicts: &[Judged]) -> Vec<Line> {
    let columns = verdicts.iter().map(|v| v.subject.columns()).max().unwrap_or(0).min(SUBJECT_COLUMNS_MAX);
    let mut lines = Vec::new();
    for verdict in verdicts {
        let plain = verdict.outcome.word();
        let mark = match verdict.outcome {
            Outcome::Pass => Mark::Good,
            Outcome::Fail => Mark::Bad,
            Outcome::Inconclusive | Outcome::NotJudged => Mark::Doubtful,
        };
        let margin = format!("{plain:<11}  {}  ", padded(verdict.subject.as_str(), columns));
        let pad = " ".repeat(Shown::new(&margin).columns());
        let margins = std::iter::once(margin.as_str()).chain(std::iter::repeat(pad.as_str()));
        let mut reasons: Vec<Line> = verdict
            .reasons
            .iter()
            .zip(margins)
            .flat_map(|(reason, margin)| hanging(look.columns, margin, reason.as_str()))
            .collect();
        if let Some(first) = reasons.first_mut() {
            *first = std::mem::take(first).mark(mark, plain);
        }
        lines.extend(reasons);
    }
    lines
}

fn answer_lines(look: &Look, answer: &Answer) -> Vec<Line> {
    let mark = match answer.word {
        Word::Fit => Mark::Good,
        Word::NotFit => Mark::Bad,
        _ => Mark::Doubtful,
    };
    let name = answer.word.name();
    let mut lines = hanging(look.columns, &format!("{name}: "), answer.text.as_str());
    if let Some(first) = lines.first_mut() {
        *first = std::mem::take(first).mark(mark, name);
    }
    lines
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
