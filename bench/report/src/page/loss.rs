//! What became of paced datagrams, pair by pair and direction by direction.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{BoundedShare, FollowUp, LossCounts, LossPath, LossShares, ResultDoc};

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
    let shares = shares(doc);
    let legend = "UDP at a low pace, in both directions at once. Flows differ in their source port; those shown carried something. \
                  Delay: how much longer than the fastest 99 % took at most. By echo: ICMP, there and back, where UDP is filtered.";
    [Block::Table(table), Block::paragraph(legend)].into_iter().chain(shares).collect()
}

/// The shares with the most that they can be by their sample; nothing in documents of builds that did not say.
fn shares(doc: &ResultDoc) -> Vec<Block> {
    let steps = doc.steps.iter().filter(|step| step.follows_up != Some(FollowUp::Search));
    let paths = steps.filter_map(|step| step.detail.loss.as_ref()).flatten();
    let told = paths.filter_map(|path| Some((path.name(), path.shares.as_ref()?)));
    let told: Vec<(String, &LossShares)> = told.collect();
    let columns: [Column<&(String, &LossShares)>; 6] = [
        Column::words("OF DATAGRAMS", |(name, _)| Cell::of(name)),
        Column::figures("LOST", |(_, shares)| bounded(shares.lost)),
        Column::figures("REORDERED", |(_, shares)| bounded(shares.reordered)),
        Column::figures("COPIES", |(_, shares)| bounded(shares.duplicated)),
        Column::figures("LATE", |(_, shares)| bounded(shares.late)),
        Column::figures("CORRUPTED", |(_, shares)| shares.corrupted.map_or(Cell::Unknown, bounded)),
    ];
    let Some(table) = Table::new(&columns, told.iter().map(Row::One)) else { return Vec::new() };
    let legend = "How many, and the most that the share can be by this sample (upper end of the 95 % interval). Corrupted: thrown away by the receiving \
                  host for a wrong checksum, and among the lost.";
    vec![Block::Table(table), Block::paragraph(legend)]
}

fn bounded(share: BoundedShare) -> Cell {
    Cell::of(format!("{} (<{:.3} %)", share.part, share.high * 100.0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Direction, Share, Step, StepKind, Tool};

    #[test]
    fn every_share_stands_with_its_bound_where_the_document_has_them() {
        let section = |shares: Option<LossShares>| {
            let path = LossPath {
                local_nic: "e0".into(),
                remote_nic: "e0".into(),
                local_address: [10, 0, 0, 1].into(),
                remote_address: [10, 0, 0, 2].into(),
                direction: Direction::Out,
                by_echo: false,
                small_ip_bytes: 88,
                full_ip_bytes: 1500,
                reason: None,
                flows: vec![],
                marks: vec![],
                overflowed: 0,
                delay_variation_ns: None,
                first_router: None,
                last_router: None,
                questions_heard: None,
                changed: None,
                shares,
            };
            let mut step = Step::new(StepKind::Loss, "datagram loss");
            step.detail.loss = Some(vec![path]);
            section(&ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") })
        };
        assert_eq!(section(None).len(), 2);
        let late = Share { part: 3, of: 5000 }.into();
        let blocks = section(Some(LossShares { late, ..LossShares::default() }));
        let Some(Block::Table(table)) = blocks.get(2) else { panic!("no table of shares") };
        let Some(Row::One(cells)) = table.rows.first() else { panic!("no row") };
        assert_eq!((&cells[4], &cells[5]), (&Cell::of("3 (<0.176 %)"), &Cell::Unknown));
    }
}
