//! The first screen: the answer, what is wrong and what to do about it, and the figures with their yardsticks, on as many
//! lines as a terminal has.
//!
//! It leaves out what has no room, never that something is wrong: what is not shown is counted, with the way to see it.

use std::io;

use pathproof_model::code;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{NodeSpec, Outcome, ResultDoc, RunOutcome, Severity, Subject};

use crate::layout::{Line, Mark, clipped, padded, wrapped};
use crate::page::{self, Answer, Block, Word};
use crate::{Look, Render, Shown};

mod causes;
mod figures;
mod pairs;
mod proof;

use causes::Cause;
use figures::{Cell, Content, Row};
use pairs::Pair;

/// Causes that are shown with what to do about them.
const CAUSES_MAX: usize = 3;
/// Rows of figures that are shown beside causes, however many words those take.
const ROWS_LEAST: usize = 3;
/// The column of labels.
const LABEL: usize = 14;
/// Narrowest column of a pair.
const CELL_MIN: usize = 20;
/// Narrowest column of all pairs together: what they carry is judged, so its yardstick has its place before room between columns.
const TOGETHER_MIN: usize = 28;
/// Lines of what was seen that stand with each cause, where it has as many: one is full of who and where.
const SEEN_LEAST: usize = 2;
/// Longest name of a host.
const HOST_MAX: usize = 24;

/// What people see first.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// What the terminal shows.
    pub look: Look,
    /// What to type for everything else.
    pub more: String,
}

impl Render for Screen {
    fn render(&self, doc: &ResultDoc, out: &mut dyn io::Write) -> io::Result<()> {
        let laid_out = Screen { look: self.look.with_room_for_letters(), ..self.clone() };
        for line in laid_out.lines(doc) {
            writeln!(out, "{}", line.paint(&self.look))?;
        }
        Ok(())
    }
}

impl Screen {
    fn lines(&self, doc: &ResultDoc) -> Vec<Line> {
        let answer = page::answer(doc);
        let causes = causes::all(doc);
        let head = self.head(doc, &answer, &causes);
        let proof: Option<Line> = (!causes.is_empty()).then(|| self.proof(doc, &causes));
        let pairs = pairs::all(doc);
        let mut rows = figures::rows(doc, &pairs);
        // What the command is about has its place before what goes on about causes: all of it where it is short, and else its beginning.
        let own = self.of_its_own(doc);
        let kept = match own.len() {
            0 => 0,
            lines if lines <= self.look.rows / 2 => lines + 1,
            _ => self.look.rows / 3,
        };
        // An empty line before each part.
        let parts = 2 + usize::from(!causes.is_empty());
        let around = head.len() + usize::from(proof.is_some()) + parts;
        let least_of = |told: usize| causes[..told].iter().map(|cause| self.least(cause)).sum::<usize>();
        let figures = if rows.is_empty() { 0 } else { 1 + rows.len().min(ROWS_LEAST) };
        // What to do is said whole: a cause for which there is no room is counted, and not cut off.
        let mut told = causes.len().min(CAUSES_MAX);
        let (tail, room) = loop {
            let tail = self.tail(doc, &answer, &causes, told);
            let room = self.look.rows.saturating_sub(around + tail.len());
            let room = room.saturating_sub(kept).max(room.min(least_of(told)));
            if told <= 1 || least_of(told) + figures <= room {
                break (tail, room);
            }
            told -= 1;
        };
        let (least, told) = (least_of(told), &causes[..told]);
        // What is wrong comes before figures that are in order, and a few of them have their place beside it.
        let wanted: usize = told.iter().map(|cause| self.needed(cause)).sum();
        while rows.len() > ROWS_LEAST && self.table(&pairs, &rows).len() + wanted > room {
            drop_lightest(&mut rows);
        }
        while !rows.is_empty() && self.table(&pairs, &rows).len() + least > room {
            drop_lightest(&mut rows);
        }
        let table = self.table(&pairs, &rows);
        let left = room.saturating_sub(table.len());
        let mut lines = head;
        let answered = lines.len();
        if !told.is_empty() {
            lines.push(Line::default());
        }
        lines.extend(self.told(told, left));
        lines.extend(proof);
        for part in [table, own] {
            if part.is_empty() {
                continue;
            }
            let room = self.look.rows.saturating_sub(lines.len() + tail.len() + 2);
            lines.push(Line::default());
            let shown = if part.len() > room { room.saturating_sub(1) } else { part.len() };
            let more = part.len() - shown;
            lines.extend(part.into_iter().take(shown));
            if more > 0 {
                lines.push(Line::from(format!("  … {more} lines more")));
            }
        }
        for line in &mut lines[answered..] {
            // A NIC may be called "FIT: all is well"; the answer stands in its own lines and nowhere else.
            if Word::ALL.iter().any(|word| line.text().starts_with(word.name())) {
                *line = Line::from(clipped(self.look.columns, &format!("  {}", line.text())));
            }
        }
        lines.push(Line::default());
        lines.extend(tail);
        lines
    }

    /// What was seen of each cause and what to do about it, in the lines that are left and no fewer than each needs.
    fn told(&self, causes: &[Cause], mut left: usize) -> Vec<Line> {
        let mut said = vec![];
        for (at, cause) in causes.iter().enumerate() {
            let others: usize = causes[at + 1..].iter().map(|other| self.least(other)).sum();
            let of_cause = self.cause(cause, left.saturating_sub(others).max(2));
            left = left.saturating_sub(of_cause.iter().map(Vec::len).sum());
            said.push(of_cause);
        }
        let mut lines = vec![];
        // What makes a cause doubtful has what nothing else needs.
        for (cause, [seen, what_to_do]) in causes.iter().zip(said) {
            lines.extend(seen);
            let doubt = self.doubt(cause).filter(|_| left > 0);
            left = left.saturating_sub(usize::from(doubt.is_some()));
            lines.extend(doubt);
            lines.extend(what_to_do);
        }
        lines
    }

    /// The answer, who with whom, and the first cause by name.
    fn head(&self, doc: &ResultDoc, answer: &Answer, causes: &[Cause]) -> Vec<Line> {
        let word = answer.word.name();
        let news = match (answer.word, causes) {
            (Word::Fit, []) => match pairs::all(doc).len() {
                0 => String::new(),
                pairs => counted(pairs, "pair") + " of NICs",
            },
            (Word::Fit, all) => counted(all.len(), "warning"),
            (Word::CouldNotRun | Word::Interrupted | Word::CutShort, _) => String::new(),
            (_, []) => String::new(),
            (_, [one]) => one.title.clone(),
            (_, [first, rest @ ..]) => format!("{} and {} more", first.title, rest.len()),
        };
        let news = if news.is_empty() { news } else { format!(", {news}") };
        let left = Shown::new(format!("{word}: {}{news}", hosts(doc)));
        let right = Shown::new(format!("{}{}", day(&doc.started_at), took(doc)));
        let free = self.look.columns.saturating_sub(left.columns() + right.columns());
        let mark = mark(answer.word);
        if free >= 2 {
            vec![Line::from(format!("{left}{}{right}", " ".repeat(free))).mark(mark, word)]
        } else {
            let mut lines = folded(self.look.columns, "", "    ", left.as_str(), 2);
            lines[0] = std::mem::take(&mut lines[0]).mark(mark, word);
            lines.push(Line::from(format!("    {right}")));
            lines
        }
    }

    /// Lines that a cause takes where there is room.
    fn needed(&self, cause: &Cause) -> usize {
        let [seen, what_to_do] = self.cause(cause, usize::MAX);
        seen.len() + what_to_do.len() + usize::from(!cause.doubt.is_empty())
    }

    /// Lines that it has at least: something of what was seen, and the first thing to do.
    fn least(&self, cause: &Cause) -> usize {
        let [seen, what_to_do] = self.cause(cause, 0);
        seen.len() + what_to_do.len()
    }

    /// What speaks against a cause, and what it could be as well, in a line.
    fn doubt(&self, cause: &Cause) -> Option<Line> {
        let line = || Line::from(clipped(self.look.columns, &format!("    But: {}", cause.doubt)));
        (!cause.doubt.is_empty()).then(line)
    }

    /// What was seen. What cannot be cut off stands before what can.
    fn seen(&self, cause: &Cause, most: usize) -> Vec<Line> {
        let more = match cause.more {
            0 => String::new(),
            more => format!(" (and {more} more of this kind)"),
        };
        let seen = format!("{} ({}){more}: {}", cause.title, cause.word, cause.evidence);
        folded(self.look.columns, "", "    ", &seen, most)
    }

    /// What was seen of a cause, and what to do about it.
    fn cause(&self, cause: &Cause, most: usize) -> [Vec<Line>; 2] {
        let columns = self.look.columns;
        // Both what was seen and what to do about it are said, however little room there is; the latter in whole sentences.
        let fixes: Vec<Vec<&str>> =
            cause.fixes.iter().filter(|fix| !fix.is_empty()).map(|fix| sentences(fix)).collect();
        let seen_needs = self.seen(cause, usize::MAX).len();
        let for_fixes = most.saturating_sub(seen_needs).max(most / 2);
        let said = |at: usize, most: usize| {
            let label = if at == 0 { "    Fix: " } else { "     or: " };
            let text = fixes[at][..most.min(fixes[at].len())].join(" ");
            folded(columns, label, "         ", &text, usize::MAX)
        };
        let longest = fixes.iter().map(Vec::len).max().unwrap_or(0);
        // All ways, with as many sentences as there is room for; else the first, and where the others stand.
        let all_ways =
            (1..=longest).rev().map(|most| (0..fixes.len()).flat_map(|at| said(at, most)).collect());
        let place = match is_code(&cause.title) {
            true => format!("pathproof explain {}", cause.title),
            false => "--full".into(),
        };
        let first_way = || if fixes.is_empty() { vec![] } else { said(0, 1) };
        let mut first_and_others = first_way();
        if fixes.len() > 1 {
            let others = format!("{} more: {place}", fixes.len() - 1);
            first_and_others.extend(folded(columns, "     or: ", "         ", &others, usize::MAX));
        }
        let shorter = [first_and_others].into_iter();
        let what_to_do: Vec<Line> = all_ways
            .chain(shorter)
            .find(|lines: &Vec<Line>| lines.len() <= for_fixes)
            .unwrap_or_else(first_way);
        let mut lines = self.seen(cause, most.saturating_sub(what_to_do.len()).max(SEEN_LEAST));
        lines[0] = std::mem::take(&mut lines[0]).mark(cause.mark, &cause.title);
        [lines, what_to_do]
    }

    /// The command that proves the first fix; the same run again proves that nothing else is left.
    fn proof(&self, doc: &ResultDoc, causes: &[Cause]) -> Line {
        let first = proof::command(doc, causes.first().and_then(|cause| cause.about.as_ref()));
        let whole = proof::command(doc, None);
        let both = format!("Prove it: {first}, then {whole}");
        match first == whole || Shown::new(&both).columns() > self.look.columns {
            true => Line::from(format!("Prove it: {first}")),
            false => Line::from(both),
        }
    }

    /// The figures: the pairs side by side.
    fn table(&self, pairs: &[Pair], rows: &[Row]) -> Vec<Line> {
        if rows.is_empty() {
            return Vec::new();
        }
        let together = rows.iter().any(|row| matches!(&row.content, Content::Pairs(_, Some(_))));
        let room = self.look.columns.saturating_sub(LABEL);
        let fits = (room / CELL_MIN).max(1).saturating_sub(usize::from(together && pairs.len() > 1)).max(1);
        let shown = pairs.len().min(fits);
        let several = shown + usize::from(together);
        let even = room.checked_div(several).unwrap_or(room);
        let cell = match together {
            true => even.min((room.saturating_sub(TOGETHER_MIN) / shown.max(1)).max(CELL_MIN)),
            false => even,
        };
        let mut head = " ".repeat(LABEL);
        for pair in &pairs[..shown] {
            head += &padded(&clipped(cell.saturating_sub(2), &pair.name()), cell);
        }
        if together {
            head += "all together";
        }
        let mut lines = vec![Line::from(&head).mark(Mark::Heading, &head)];
        if pairs.len() > shown {
            lines.push(Line::from(format!("{}and {} pairs more", " ".repeat(LABEL), pairs.len() - shown)));
        }
        for row in rows {
            lines.extend(self.row(row, shown, cell));
        }
        lines
    }

    fn row(&self, row: &Row, shown: usize, cell: usize) -> Vec<Line> {
        let mark = match row.outcome {
            Some(Outcome::Fail) => Mark::Bad,
            Some(Outcome::Inconclusive) => Mark::Doubtful,
            _ => Mark::None,
        };
        let label = padded(row.label, LABEL);
        let mut lines = match &row.content {
            Content::Whole(text) => {
                let text = [text.as_str(), judged(row.outcome)].join(" ");
                folded(self.look.columns, &label, &" ".repeat(LABEL), text.trim_end(), 2)
            }
            Content::Pairs(cells, together) => {
                let last = self.look.columns.saturating_sub(LABEL + shown * cell);
                let mut text: String = cells[..shown.min(cells.len())]
                    .iter()
                    .map(|content| padded(&self.cell(content.as_ref(), cell.saturating_sub(2)), cell))
                    .collect();
                if let Some(together) = together {
                    text += &self.cell(Some(together), last);
                }
                vec![Line::from(format!("{label}{text}"))]
            }
        };
        lines[0] = std::mem::take(&mut lines[0]).mark(mark, row.label);
        lines
    }

    /// As much of a cell as there is room for, how it was judged last of all.
    fn cell(&self, cell: Option<&Cell>, columns: usize) -> String {
        let Some(cell) = cell else { return "not measured".into() };
        let judged = judged(cell.outcome);
        let fits = |parts: &[&str]| {
            let text = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
            let text = self.look.letters(&text);
            (Shown::new(&text).columns() <= columns).then_some(text)
        };
        let noted = cell.notes.iter().find_map(|note| fits(&[&cell.text, note, judged]));
        noted.or_else(|| fits(&[&cell.text, judged])).unwrap_or_else(|| {
            let room = columns.saturating_sub(judged.len() + 1);
            format!("{} {judged}", clipped(room, &cell.text)).trim_end().to_owned()
        })
    }

    /// Of commands that are about something else than figures: the pairs that SMB would choose, a server's account, a ladder.
    fn of_its_own(&self, doc: &ResultDoc) -> Vec<Line> {
        let sections = page::of_its_own(doc).into_iter().filter(|section| !section.is_empty());
        let blocks: Vec<Block> = sections.collect::<Vec<_>>().join(&Block::Break);
        let lines = crate::text::lines(&self.look, &blocks);
        // A table is as wide as it is; its first columns say the most.
        let fits = |line: Line| match Shown::new(line.text()).columns() > self.look.columns {
            true => Line::from(clipped(self.look.columns, line.text())),
            false => line,
        };
        lines.into_iter().map(fits).collect()
    }

    /// Verdicts counted, those that did not pass by name, and where everything else stands. It begins with the word once more:
    /// it is what stands above the prompt.
    fn tail(&self, doc: &ResultDoc, answer: &Answer, causes: &[Cause], told: usize) -> Vec<Line> {
        let word = answer.word.name();
        let mut said = vec![];
        if doc.outcome == RunOutcome::None || doc.verdicts.is_empty() {
            said.push(answer.text.to_string());
        } else {
            let of = |outcome| doc.verdicts.iter().filter(move |verdict| verdict.outcome == outcome);
            said.push(format!("{} of {} verdicts pass", of(Outcome::Pass).count(), doc.verdicts.len()));
            for outcome in [Outcome::Fail, Outcome::Inconclusive, Outcome::NotJudged] {
                let many = of(outcome).count();
                // Those about a finding are named after it, and stand above.
                let named = of(outcome).filter(|verdict| !matches!(verdict.subject, Subject::Finding(_)));
                let mut names: Vec<String> = named.map(|verdict| verdict.subject.to_string()).collect();
                let findings = many - names.len();
                if findings > 0 {
                    names.push(counted(findings, "finding"));
                }
                if many > 0 {
                    said.push(format!("{many} {} ({})", outcome.word(), names.join(", ")));
                }
            }
        }
        if causes.len() > told {
            let names: Vec<&str> = causes[told..].iter().map(|cause| cause.title.as_str()).collect();
            said.push(format!("not shown above: {}", names.join(", ")));
        }
        let notes = doc.findings.iter().filter(|finding| finding.severity == Severity::Info).count();
        if notes > 0 {
            said.push(counted(notes, "note"));
        }
        if doc.findings.iter().any(|finding| finding.is(code!("RUN-LEFT-OUT"))) {
            said.push("a short check, which does not try everything".to_owned());
        }
        let said = said.iter().map(|part| part.trim_end_matches('.')).collect::<Vec<_>>().join("; ");
        let mut hints = vec![];
        if !self.more.is_empty() {
            hints.push(self.more.clone());
        }
        let code = causes.iter().map(|cause| cause.title.as_str()).find(|title| is_code(title));
        hints.extend(code.map(|code| format!("pathproof explain {code}")));
        if code.is_none() && doc.verdicts.iter().any(|verdict| verdict.outcome == Outcome::NotJudged) {
            hints.push("--expect-rate RATE judges rates".to_owned());
        }
        let mut lines = vec![];
        if !hints.is_empty() {
            lines.extend(folded(self.look.columns, "More: ", "      ", &hints.join("; "), 2));
        }
        let mut last = folded(self.look.columns, "", "    ", &format!("{word}: {said}."), 3);
        last[0] = std::mem::take(&mut last[0]).mark(mark(answer.word), word);
        lines.extend(last);
        lines
    }
}

/// Whether `pathproof explain` knows it.
fn is_code(title: &str) -> bool {
    pathproof_model::finding::CATALOGUE.iter().any(|entry| entry.code == title)
}

/// The sentences of a text, in which a name or a number may have its own points.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = vec![];
    let mut from = 0;
    for (at, _) in text.match_indices(". ") {
        if text[at + 2..].starts_with(|next: char| next.is_uppercase()) {
            sentences.push(text[from..=at].trim());
            from = at + 2;
        }
    }
    sentences.push(text[from..].trim());
    sentences
}

fn judged(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(outcome @ (Outcome::Fail | Outcome::Inconclusive)) => outcome.word(),
        _ => "",
    }
}

fn drop_lightest(rows: &mut Vec<Row>) {
    if let Some((at, _)) = rows.iter().enumerate().min_by_key(|(_, row)| row.rank()) {
        rows.remove(at);
    }
}

impl Row {
    /// What failed stays longest.
    fn rank(&self) -> (bool, u8) {
        (matches!(self.outcome, Some(Outcome::Fail | Outcome::Inconclusive)), self.weight)
    }
}

fn mark(word: Word) -> Mark {
    match word {
        Word::Fit => Mark::Good,
        Word::NotFit => Mark::Bad,
        _ => Mark::Doubtful,
    }
}

/// `text` after `first`, continued after `next`, in at most `most` lines; what is left out is told by its last sign.
fn folded(columns: usize, first: &str, next: &str, text: &str, most: usize) -> Vec<Line> {
    let margin = Shown::new(next).columns().max(Shown::new(first).columns());
    let lines = wrapped(columns.saturating_sub(margin).max(20), text);
    let cut = lines.len() > most.max(1);
    let margins = std::iter::once(first).chain(std::iter::repeat(next));
    let mut folded: Vec<Line> = margins
        .zip(lines.iter().take(most.max(1)))
        .map(|(margin, line)| Line::from(format!("{margin}{line}")))
        .collect();
    if let Some(last) = folded.last_mut().filter(|_| cut) {
        let text = last.text().to_owned();
        let room = columns.saturating_sub(2);
        *last =
            Line::from(if Shown::new(&text).columns() > room { clipped(room, &text) } else { text + " …" });
    }
    folded
}

fn hosts(doc: &ResultDoc) -> String {
    let hostname = |at: usize| doc.nodes.get(at)?.environment.as_ref()?.hostname.clone();
    let here = clipped(HOST_MAX, &hostname(0).unwrap_or_else(|| "this host".into()));
    let peers: Vec<String> = doc
        .nodes
        .iter()
        .enumerate()
        .skip(1)
        .map(|(at, node)| match (&node.spec, hostname(at)) {
            (NodeSpec::Own, _) => "itself".to_owned(),
            (_, Some(name)) if !node.name.starts_with(&name) => {
                format!("{} ({})", clipped(HOST_MAX, &node.name), clipped(HOST_MAX, &name))
            }
            _ => clipped(HOST_MAX, &node.name),
        })
        .collect();
    match peers.is_empty() {
        true => here,
        false => format!("{here} ↔ {}", peers.join(", ")),
    }
}

fn took(doc: &ResultDoc) -> String {
    let took = doc.steps.iter().map(|step| step.started_ns.saturating_add(step.elapsed_ns)).max();
    took.map(|ns| format!(", {}", Nanoseconds(ns))).unwrap_or_default()
}

/// `2026-11-28T20:34:04Z` as `28 Nov 20:34 UTC`; what is no such time as it is.
fn day(at: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts = || -> Option<String> {
        let month = MONTHS.get(at.get(5..7)?.parse::<usize>().ok()?.checked_sub(1)?)?;
        let (day, time) = (at.get(8..10)?.parse::<u8>().ok()?, at.get(11..16)?);
        at.ends_with('Z').then(|| format!("{day} {month} {time} UTC"))
    };
    parts().unwrap_or_else(|| clipped(24, at))
}

fn counted(many: usize, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}
