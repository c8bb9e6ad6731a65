//! Columns, wrapping, colour and sparklines: how text is laid out, with no idea of what it says.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Widest line of a report.
pub const WIDTH: usize = 100;

/// Whether and how to mark text.
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What is as it should be.
    pub fn good(&self, text: &str) -> String {
        self.paint("1;32", text)
    }

    /// What is wrong.
    pub fn bad(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// What is open or deserves a look.
    pub fn doubtful(&self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// Heads of sections and tables.
    pub fn heading(&self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// A table without lines: the first column to the left, numbers to the right, `left` columns to the left too.
pub fn table(style: &Style, header: &[&str], rows: Vec<Vec<String>>, left: &[usize]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()).add_rows(rows);
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i > 0 && !left.contains(&i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut lines: Vec<String> = table.lines().collect();
    if let Some(first) = lines.first_mut() {
        *first = style.heading(first.trim_end());
    }
    lines
}

/// `text` in lines of at most [`WIDTH`], the first after `first`, the others indented as far.
pub fn hanging(first: &str, text: &str) -> Vec<String> {
    let indent = first.chars().count();
    let width = WIDTH.saturating_sub(indent).max(20);
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in words(text) {
        let word_length = word.chars().count();
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
    let pad = " ".repeat(indent);
    let margins = std::iter::once(first).chain(std::iter::repeat(pad.as_str()));
    margins.zip(&lines).map(|(margin, line)| format!("{margin}{line}")).collect()
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
        let lines = hanging("    next  ", &"word ".repeat(40));
        assert!(lines.len() > 1 && lines.iter().all(|l| l.chars().count() <= WIDTH), "{lines:?}");
        assert!(lines[1].starts_with("          word"));
        assert_eq!(hanging("x ", ""), ["x "]);
        let lines = hanging("", &"limit 5.00 ms ".repeat(20));
        assert!(lines.iter().all(|l| !l.ends_with("5.00") && !l.starts_with("ms")), "{lines:?}");
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
