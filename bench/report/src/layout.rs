//! Columns, wrapping, colour and sparklines: how text is laid out, with no idea of what it says.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::{Look, Shown};

/// How a part of a line stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// It does not.
    #[default]
    None,
    /// Heads of sections and tables.
    Heading,
    /// What is as it should be.
    Good,
    /// What is wrong.
    Bad,
    /// What is open or deserves a look.
    Doubtful,
}

impl Mark {
    /// The parameters of the ANSI sequence that turns it on.
    fn code(self) -> &'static str {
        match self {
            Mark::None => "0",
            Mark::Heading => "1",
            Mark::Good => "1;32",
            Mark::Bad => "1;31",
            Mark::Doubtful => "1;33",
        }
    }
}

/// One line of a report. Nothing else reaches a page, and what it is made of passes through [`Shown`]: text from
/// outside can neither steer the terminal nor forge a line of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    text: Shown,
    mark: Mark,
    /// So many bytes at the beginning are marked.
    marked: usize,
}

impl<T: AsRef<str>> From<T> for Line {
    fn from(text: T) -> Line {
        Line { text: Shown::new(text.as_ref().trim_end()), mark: Mark::None, marked: 0 }
    }
}

impl Line {
    /// Marks `beginning`, with which this line begins.
    pub fn mark(mut self, mark: Mark, beginning: impl AsRef<str>) -> Line {
        let beginning = Shown::new(beginning);
        let beginning = beginning.as_str().trim_end();
        if self.text.as_str().starts_with(beginning) {
            (self.mark, self.marked) = (mark, beginning.len());
        }
        self
    }

    /// The line without colours.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// The line as a terminal gets it.
    pub fn paint(&self, look: &Look) -> String {
        let (marked, rest) = self.text.as_str().split_at(self.marked);
        let (marked, rest) = (look.letters(marked), look.letters(rest));
        match marked.as_str() {
            "" => rest,
            _ if !look.colour => format!("{marked}{rest}"),
            _ => format!("\u{1b}[{}m{marked}\u{1b}[0m{rest}", self.mark.code()),
        }
    }
}

/// The head of a section.
pub fn heading(text: impl AsRef<str>) -> Line {
    Line::from(&text).mark(Mark::Heading, text)
}

/// `text` with spaces after it up to `columns`.
pub fn padded(text: &str, columns: usize) -> String {
    let text = Shown::new(text);
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.columns())))
}

/// A table without lines: the first column to the left, numbers to the right, `left` columns to the left too.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, left: &[usize]) -> Vec<Line> {
    // Before the widths are taken, not after.
    let cells =
        |row: Vec<String>| row.into_iter().map(|cell| Shown::new(cell).into_string()).collect::<Vec<_>>();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(cells(header.iter().map(|h| (*h).to_owned()).collect()));
    table.add_rows(rows.into_iter().map(cells));
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i > 0 && !left.contains(&i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut lines: Vec<Line> = table.lines().map(Line::from).collect();
    if let Some(first) = lines.first_mut() {
        *first = heading(first.text());
    }
    lines
}

/// `text` in lines of at most `columns`, the first after `first`, the others indented as far.
pub fn hanging(columns: usize, first: &str, text: &str) -> Vec<Line> {
    let (first, text) = (Shown::new(first), Shown::new(text));
    let indent = first.columns();
    let pad = " ".repeat(indent);
    let margins = std::iter::once(first.as_str()).chain(std::iter::repeat(pad.as_str()));
    let lines = wrapped(columns.saturating_sub(indent).max(20), text.as_str());
    margins.zip(&lines).map(|(margin, line)| Line::from(format!("{margin}{line}"))).collect()
}

/// `text` in lines of at most `width` where its words allow it; one empty line where there is none.
pub fn wrapped(width: usize, text: &str) -> Vec<String> {
    let text = Shown::new(text);
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in words(text.as_str()) {
        let word_length = Shown::new(&word).columns();
        if length > 0 && length + 1 + word_length > width {
            lines.push(String::new());
            length = 0;
        }
        if let Some(line) = lines.last_mut() {
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(&word);
            length += word_length;
        }
    }
    lines
}

/// `text` in at most `columns`; what was cut off is told by its last sign.
pub fn clipped(columns: usize, text: &str) -> String {
    let text = Shown::new(text);
    if text.columns() <= columns {
        return text.into_string();
    }
    let mut cut = String::new();
    for letter in text.as_str().chars() {
        let mut longer = cut.clone();
        longer.push(letter);
        if Shown::new(&longer).columns() >= columns {
            break;
        }
        cut = longer;
    }
    cut.truncate(cut.trim_end().len());
    cut + "…"
}

/// The words of `text`, a number and its unit being one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(number) if number.parse::<f64>().is_ok() => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// A row of at most `columns` bars from zero to the largest value. A value of zero is a gap in the row, so that
/// a stall cannot be taken for a low rate.
pub fn sparkline(values: &[u64], columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = columns.min(values.len());
    let slices = (0..columns).map(|i| &values[i * values.len() / columns..(i + 1) * values.len() / columns]);
    // The lowest value of each bar: a mean would hide a short stall in a long run.
    let lowest: Vec<u64> = slices.map(|s| s.iter().copied().min().unwrap_or(0)).collect();
    let largest = lowest.iter().copied().max().unwrap_or(0);
    lowest
        .iter()
        .map(|&value| match (u128::from(value) * 8).checked_div(u128::from(largest)) {
            None => '_',
            Some(_) if value == 0 => '_',
            Some(eighths) => BARS[(eighths as usize).clamp(1, 8) - 1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_hangs_under_its_first_word() {
        let lines = hanging(100, "    next  ", &"word ".repeat(40));
        assert!(lines.len() > 1 && lines.iter().all(|l| l.text().chars().count() <= 100), "{lines:?}");
        assert!(lines[1].text().starts_with("          word"));
        assert_eq!(hanging(100, "x ", ""), [Line::from("x")]);
        let lines = hanging(100, "", &"limit 5.00 ms ".repeat(20));
        assert!(
            lines.iter().all(|l| !l.text().ends_with("5.00") && !l.text().starts_with("ms")),
            "{lines:?}"
        );
    }

    #[test]
    fn columns_stay_right_around_hostile_and_wide_text() {
        let rows = ["plain", "esc\u{1b}[31m\nape", "サーバー"].map(|name| vec![name.to_owned(), "7".into()]);
        let lines = table(&["NAME", "NUMBER"], rows.to_vec(), &[]);
        let ends: Vec<usize> = lines[1..].iter().map(|l| Shown::new(l.text()).columns()).collect();
        assert!(lines.len() == 4 && ends.iter().all(|end| *end == ends[0]), "{lines:?}");
        assert_eq!(Shown::new(padded("サ\n", 6)).columns(), 6);
    }

    const COLOURED: Look = Look { colour: true, ..Look::PAGE };

    #[test]
    fn only_the_mark_brings_escape_sequences() {
        let line = Line::from("bad\u{1b}[0m: x").mark(Mark::Bad, "bad\u{1b}[0m");
        assert_eq!(line.paint(&COLOURED), "\u{1b}[1;31mbad\\u{1b}[0m\u{1b}[0m: x");
        assert_eq!(line.paint(&Look::PAGE), "bad\\u{1b}[0m: x");
        assert_eq!(Line::from("x").mark(Mark::Bad, "no").paint(&COLOURED), "x");
    }

    #[test]
    fn a_stall_is_a_gap_however_long_the_run() {
        assert_eq!(sparkline(&[0, 1, 4, 8], 10), "_▁▄█");
        assert_eq!(sparkline(&[0, 0], 10), "__");
        assert_eq!(sparkline(&[], 10), "");
        let mut long = vec![100; 600];
        long[299] = 0;
        let line = sparkline(&long, 20);
        assert_eq!((line.chars().count(), line.matches('_').count()), (20, 1));
    }
}
