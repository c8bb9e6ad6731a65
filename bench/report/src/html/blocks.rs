//! The blocks of the whole page as HTML.

use pathproof_model::{Outcome, Severity};

use super::Markup;
use crate::page::{Block, Cell, ColumnKind, Fact, Row, Table};

pub(super) fn all(blocks: &[Block]) -> Markup {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Title { title, note } => {
            let mut both = Markup::said("h2", "", title);
            both.push(Markup::said("p", "class=\"soft\"", note));
            both
        }
        Block::Heading(text) => Markup::said("h2", "", text),
        Block::Break => Markup::default(),
        Block::Paragraph(text) => Markup::said("p", "", text),
        Block::Facts(facts) | Block::List(facts) => list(facts),
        Block::Note(fact) => list(std::slice::from_ref(fact)),
        Block::Table(content) => table(content),
        Block::Strips { legend, strips } => {
            let mut all = Markup::said("p", "class=\"soft\"", legend);
            let rows: Vec<String> =
                strips.iter().map(|strip| format!("{}  {}", strip.name, strip.symbols)).collect();
            let rows = rows.iter().map(|row| Markup::text(row).0).collect::<Vec<_>>().join("\n");
            all.push(Markup::element("pre", "", Markup(rows)));
            all
        }
        Block::Question { question, answer } => {
            let mut both = Markup::said("h3", "", question);
            both.push(Markup::said("p", "", answer));
            both
        }
        Block::Finding(finding) => {
            let (word, class) = match finding.severity {
                Severity::Error => ("error", "class=\"bad\""),
                Severity::Warning => ("warning", "class=\"open\""),
                Severity::Info => ("info", ""),
            };
            let place = finding.step.as_ref().map(|step| format!(" in {step}")).unwrap_or_default();
            let mut inner = Markup::said("h3", class, format!("{word} {}{place}", finding.code));
            inner.push(list(&finding.facts));
            Markup::element("section", "class=\"f\"", inner)
        }
        Block::Verdicts(verdicts) => {
            let rows = verdicts.iter().map(|verdict| {
                let word = verdict.outcome.word();
                let class = match verdict.outcome {
                    Outcome::Pass => "class=\"good\"",
                    Outcome::Fail => "class=\"bad\"",
                    Outcome::Inconclusive => "class=\"open\"",
                    Outcome::NotJudged => "class=\"soft\"",
                };
                let mut inner = Markup::said("dt", class, format!("{word} {}", verdict.subject));
                inner.push(verdict.reasons.iter().map(|reason| Markup::said("dd", "", reason)).collect());
                Markup::element("dl", "", inner)
            });
            rows.collect()
        }
        // It stands at the top.
        Block::Answer(_) => Markup::default(),
    }
}

fn list(facts: &[Fact]) -> Markup {
    let rows = facts.iter().map(|fact| {
        let mut row = Markup::said("dt", "", &fact.name);
        row.push(Markup::said("dd", "", &fact.text));
        row
    });
    Markup::element("dl", "", rows.collect())
}

fn table(table: &Table) -> Markup {
    let class = |kind: ColumnKind| if kind == ColumnKind::Figures { "class=\"n\"" } else { "" };
    let heads = table.heads.iter().map(|(head, kind)| Markup::said("th", class(*kind), head)).collect();
    let cells = |cells: &[Cell]| {
        let kinds = table.heads.iter().map(|(_, kind)| *kind);
        let cells = cells
            .iter()
            .zip(kinds)
            .map(|(cell, kind)| Markup::said("td", class(kind), crate::text::letters(cell)));
        Markup::element("tr", "", cells.collect())
    };
    let rows = table.rows.iter().map(|row| match row {
        Row::One(own) | Row::Part(own) => cells(own),
        Row::Group(name) => Markup::element("tr", "", Markup::said("th", "colspan=\"99\"", name)),
        Row::Omitted(count) => {
            Markup::element("tr", "", Markup::said("td", "colspan=\"99\"", format!("… {count} more")))
        }
    });
    let mut all = Markup::element("tr", "", heads);
    all.push(rows.collect());
    Markup::element("div", "class=\"wide\"", Markup::element("table", "", all))
}
