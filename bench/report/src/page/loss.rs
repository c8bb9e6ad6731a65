//! What became of paced datagrams, pair by pair and direction by direction.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{FollowUp, LossCounts, LossPath, ResultDoc};

use super::{Block, Cell, Column, Row, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    // What a search lost at the rates that it tried is no word about the path.
    let steps = doc.steps.iter().filter(|step| step.follows_up != Some(FollowUp::Search));
    let paths = steps.filter_map(|step| step.detail.loss.as_ref()).flatten();
    let columns: [Column<&LossPath>; 7] = [
        Column::words("DATAGRAMS", |path| Cell::of(path.name())),
        Column::figures("FLOWS", |path| {
            let alive = path.flows.iter().filter(|flow| !flow.is_dead()).count();
            Cell::of(format!("{alive}/{}", path.flows.len()))
        }),
        Column::figures("SMALL LOST", |path| lost(&sum(path, |flow| flow.small))),
        Column::figures("FULL LOST", |path| lost(&sum(path, |flow| flow.full))),
        Column::figures("REORDERED", |path| Cell::of(both(path).reordered)),
        Column::figures("COPIES", |path| Cell::of(both(path).duplicated)),
        Column::figures("DELAY +p99", |path| match path.delay_variation_ns {
            Some(variation) => Cell::of(Nanoseconds(variation.p99)),
            None => Cell::Unknown,
        }),
    ];
    let Some(table) = Table::new(&columns, paths.map(Row::One)) else { return Vec::new() };
    let legend = "UDP at a low pace, in both directions at once. Flows differ in their source port; those shown carried something. \
                  Delay: how much longer than the fastest 99 % took at most. By echo: ICMP, there and back, where UDP is filtered.";
    vec![Block::Table(table), Block::paragraph(legend)]
}

fn sum(path: &LossPath, of: fn(&pathproof_model::LossFlow) -> LossCounts) -> LossCounts {
    let mut all = LossCounts::default();
    path.flows.iter().for_each(|flow| all += of(flow));
    all
}

fn both(path: &LossPath) -> LossCounts {
    let mut all = sum(path, |flow| flow.small);
    all += sum(path, |flow| flow.full);
    all
}

fn lost(counts: &LossCounts) -> Cell {
    let share = counts.lost();
    if share.of == 0 { Cell::Unknown } else { Cell::of(format!("{}/{}", share.part, share.of)) }
}
