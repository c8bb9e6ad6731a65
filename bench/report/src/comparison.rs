//! Two runs side by side for people: what it comes to, the figures that matter, the settings that differ.

use pathproof_model::compare::{
    Basis, CompareOutcome, ComparedFigure, Comparison, FigureVerdict, Runs, SettingChange,
};

use crate::layout::{Line, Mark, hanging, heading, padded};
use crate::{Look, Shown};

/// Figures that are shown where not all of them are asked for.
const FIGURES_MAX: usize = 9;
/// Settings, likewise.
const SETTINGS_MAX: usize = 5;

/// The lines of a comparison; `full` for all of it.
pub fn comparison(comparison: &Comparison, look: &Look, full: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let (word, mark) = match comparison.outcome {
        CompareOutcome::NoRegression => ("NO REGRESSION", Mark::Good),
        CompareOutcome::Regression => ("REGRESSION", Mark::Bad),
        CompareOutcome::CannotTell => ("CANNOT TELL", Mark::Doubtful),
    };
    let mut answer = folded(look.columns, &format!("{word}: {}.", comparison.reason));
    answer[0] = std::mem::take(&mut answer[0]).mark(mark, word);
    lines.extend(answer);
    lines.push(Line::default());
    for (name, runs) in [("A  ", &comparison.a), ("B  ", &comparison.b)] {
        lines.extend(hanging(look.columns, name, &told(runs)));
    }
    lines.push(Line::default());
    lines.extend(figures(comparison, look, full));
    if !comparison.settings.is_empty() {
        lines.push(Line::default());
        lines.push(heading("Settings that differ"));
        let shown = if full { usize::MAX } else { SETTINGS_MAX };
        for change in comparison.settings.iter().take(shown) {
            lines.extend(hanging(look.columns, "  ", &setting(change)));
        }
        lines.extend(more(comparison.settings.len().saturating_sub(shown), "settings"));
    }
    lines.iter().map(|line| line.paint(look)).collect()
}

/// Text whose continuation stands below its first word.
fn folded(columns: usize, text: &str) -> Vec<Line> {
    let margins = std::iter::once("").chain(std::iter::repeat("    "));
    let lines = crate::layout::wrapped(columns.saturating_sub(4).max(20), text);
    margins.zip(lines).map(|(margin, line)| Line::from(format!("{margin}{line}"))).collect()
}

fn told(runs: &Runs) -> String {
    let first = runs.files.first().map_or("", String::as_str);
    let files = match runs.files.len() {
        0 | 1 => first.to_owned(),
        many => format!("{first} and {} more", many - 1),
    };
    let host = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".into());
    let began = runs.started_at.first().map_or("", String::as_str);
    format!("{files}: {} ↔ {}, {began}", host(&runs.client), host(&runs.server))
}

fn figures(comparison: &Comparison, look: &Look, full: bool) -> Vec<Line> {
    let wanted = |pair: &&ComparedFigure| full || pair.verdict != FigureVerdict::NotJudged;
    let chosen: Vec<&ComparedFigure> = comparison.pairs.iter().filter(wanted).collect();
    let shown = if full { chosen.len() } else { FIGURES_MAX };
    let mut lines = Vec::new();
    let mut place = None;
    for pair in chosen.iter().take(shown) {
        let own = pair.place();
        if place.as_ref() != Some(&own) {
            let own = heading(&own);
            lines.push(own);
        }
        place = Some(own);
        let word = match pair.verdict {
            FigureVerdict::Regressed => "WORSE",
            FigureVerdict::CannotTell => "?",
            FigureVerdict::Improved => "better",
            FigureVerdict::Same => "same",
            FigureVerdict::NotJudged => "-",
        };
        let numbers = format!("{} → {}", pair.shown(pair.a), pair.shown(pair.b));
        let noise = match (pair.change, pair.significant) {
            (None, _) => "",
            (Some(_), Some(_)) if pair.basis == Basis::Exact => "",
            (Some(_), Some(true)) => ", beyond noise",
            (Some(_), Some(false)) => ", within noise",
            (Some(_), None) => ", noise unknown",
        };
        let p = pair.p_value.map_or_else(String::new, |p| format!(" (p {p:.3})"));
        let said = format!(
            "{} {}  {}{noise}{p}",
            padded(&pair.figure, 19),
            padded(&numbers, 22),
            pair.change_in_words()
        );
        // A wider number moves the rest to the next line, under the numbers.
        let said = Shown::new(said);
        let fits = 2 + 7 + said.columns() <= look.columns;
        let mark = match pair.verdict {
            FigureVerdict::Regressed => Mark::Bad,
            FigureVerdict::CannotTell => Mark::Doubtful,
            FigureVerdict::Improved => Mark::Good,
            _ => Mark::None,
        };
        let label = format!("  {}", padded(word, 7));
        if fits {
            lines.push(Line::from(format!("{label}{said}")).mark(mark, &label));
        } else {
            lines.push(
                Line::from(format!("{label}{} {numbers}", padded(&pair.figure, 19))).mark(mark, &label),
            );
            lines.push(Line::from(format!("{}{}{noise}{p}", " ".repeat(29), pair.change_in_words())));
        }
    }
    let judged = chosen.len().saturating_sub(shown);
    lines.extend(more(judged, "judged figures"));
    let untold = comparison.pairs.len() - chosen.len();
    lines.extend(more(untold, "figures that are reported and not held against the gate"));
    lines
}

fn more(many: usize, what: &str) -> Option<Line> {
    (many > 0).then(|| Line::from(format!("  … {many} {what} more (--full)")))
}

fn setting(change: &SettingChange) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".into());
    format!("{} {}: {} → {}", change.place, change.setting, value(&change.a), value(&change.b))
}
