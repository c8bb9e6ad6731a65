//! Migration rehearsals: round by round, what was expected and what came.

use pathproof_model::migrate::{MigrateCompression, MigrateDisk, MigrateDrain, MigrateRound, RoundPhase};
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{MigrateDetail, ResultDoc, Step};

use super::{Block, Cell, Column, Row, Table};

/// Rounds shown from the front and from the end; those between are counted.
const ROUNDS_SHOWN: usize = 8;

/// A row: a round, its place, and the longest of its migration.
struct Round<'a> {
    index: usize,
    round: &'a MigrateRound,
    longest_ns: u64,
}

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let mut blocks = vec![];
    for step in &doc.steps {
        if let Some(detail) = &step.detail.migrate {
            if !blocks.is_empty() {
                blocks.push(Block::Break);
            }
            blocks.extend(one(step, detail));
        }
    }
    blocks
}

fn rounds(detail: &MigrateDetail) -> Option<Table> {
    let columns: [Column<Round>; 6] = [
        Column::words("MIGRATION", |row| Cell::of(name(row))),
        Column::figures("PAGES", |row| Cell::of(row.round.pages)),
        Column::figures("TIME", |row| Cell::of(Nanoseconds(row.round.elapsed_ns))),
        Column::figures("RATE", |row| Cell::known(rate(row.round).map(BitsPerSecond))),
        Column::figures("DIRTIED", |row| Cell::of(row.round.dirtied_pages)),
        Column::words("TIME, AND THE SHARE DIRTIED AGAIN", share),
    ];
    let longest_ns = detail.rounds.iter().map(|r| r.elapsed_ns).max().unwrap_or(0);
    let omitted = detail.rounds.len().saturating_sub(2 * ROUNDS_SHOWN);
    let mut rows: Vec<_> = detail
        .rounds
        .iter()
        .enumerate()
        .filter(|(index, _)| omitted == 0 || !(ROUNDS_SHOWN..ROUNDS_SHOWN + omitted).contains(index))
        .map(|(index, round)| Row::One(Round { index, round, longest_ns }))
        .collect();
    if omitted > 0 {
        rows.insert(ROUNDS_SHOWN, Row::Omitted(omitted));
    }
    Table::new(&columns, rows)
}

fn one(step: &Step, detail: &MigrateDetail) -> Vec<Block> {
    let mut blocks = vec![rounds(detail).map_or(Block::heading("MIGRATION"), Block::Table)];
    let predicted = detail.predicted.as_ref();
    let beside = |measured: String, expected: Option<String>| match expected {
        Some(expected) => format!("{measured} (predicted {expected})"),
        None => measured,
    };
    let bytes = beside(Bytes(detail.bytes).to_string(), predicted.map(|p| Bytes(p.bytes).to_string()));
    let time = |measured: u64, expected: Option<u64>| {
        beside(Nanoseconds(measured).to_string(), expected.map(|ns| Nanoseconds(ns).to_string()))
    };
    let total = time(detail.total_ns, predicted.map(|p| p.total_ns));
    let downtime = time(detail.downtime_ns, predicted.map(|p| p.downtime_ns));
    blocks.push(Block::paragraph(format!("{}: {bytes} in {total}, downtime {downtime}.", step.name)));
    let verified = match (detail.verified, &detail.mismatch) {
        (true, _) => "Every page of every guest agrees at both ends.".to_owned(),
        (false, Some(mismatch)) => format!("NOT THE SAME MEMORY: {mismatch}."),
        (false, None) => "The pages were not all compared.".to_owned(),
    };
    let ending = match (&detail.stopped_in, &detail.reason) {
        (Some(phase), _) => format!("It ended early, in phase {phase}."),
        (None, Some(reason)) if detail.converged => format!("Converged: {reason}."),
        (None, Some(reason)) => format!("Did not converge: {reason}."),
        (None, None) => String::new(),
    };
    blocks.push(Block::paragraph(format!("{ending} {verified}").trim()));
    blocks.extend(detail.disk.as_ref().map(storage).map(Block::paragraph));
    let compression = detail.compression.as_ref();
    blocks.extend(compression.map(|c| Block::paragraph(compressed(c, detail.total_ns))));
    let moved = detail.guests.len();
    blocks.extend(detail.drain.as_ref().map(|drain| Block::paragraph(drained(drain, moved))));
    if moved > 1 {
        let worst = detail.guests.iter().max_by_key(|g| g.downtime_ns);
        let text = format!(
            "{} guests moved; the rounds are those of the first. Longest downtime: guest {} with {}.",
            detail.guests.len(),
            worst.map_or(0, |g| g.guest),
            Nanoseconds(worst.map_or(0, |g| g.downtime_ns))
        );
        blocks.push(Block::paragraph(text));
    }
    blocks
}

/// A rehearsed drain beside its plan.
fn drained(drain: &MigrateDrain, moved: usize) -> String {
    format!(
        "Drain of {}, with {moved} small guests in the place of {}: {} (predicted {}, {:.0} % of it). The plan says {} for the whole, and at what was measured that would be {}.",
        drain.host,
        drain.guests,
        Nanoseconds(drain.measured_ns),
        Nanoseconds(drain.predicted_ns),
        drain.of_predicted * 100.0,
        Nanoseconds(drain.planned_ns),
        Nanoseconds(drain.expected_ns)
    )
}

fn storage(disk: &MigrateDisk) -> String {
    let predicted = disk.predicted_ns.map_or(String::new(), |ns| format!(" (predicted {})", Nanoseconds(ns)));
    let rate =
        disk.bytes_per_s.map_or(String::new(), |r| format!(" at {}", BitsPerSecond(r.saturating_mul(8))));
    format!(
        "Storage first: {} in {}{predicted}{rate}; {} of the {} that the guest wrote were mirrored. {}",
        Bytes(disk.bytes),
        Nanoseconds(disk.elapsed_ns),
        Bytes(disk.mirrored_bytes),
        Bytes(disk.written_bytes),
        if disk.verified { "Every block agrees at both ends." } else { "The blocks do not all agree." },
    )
}

fn compressed(c: &MigrateCompression, total_ns: u64) -> String {
    let percent = |part: u64, whole: u64| {
        (u128::from(part) * 100).checked_div(u128::from(whole)).map_or("-".to_owned(), |p| format!("{p} %"))
    };
    let cost = |ns: Option<u64>| {
        ns.map_or("unknown".to_owned(), |ns| {
            format!("{} ({} of one processor)", Nanoseconds(ns), percent(ns, total_ns))
        })
    };
    format!(
        "Compressed with {}: {} became {} ({}), of which {} were sent as they are. CPU time: {} at the source, {} at the destination.",
        c.codec,
        Bytes(c.plain_bytes),
        Bytes(c.sent_bytes),
        percent(c.sent_bytes, c.plain_bytes),
        Bytes(c.raw_bytes),
        cost(c.compress_cpu_ns),
        cost(c.decompress_cpu_ns),
    )
}

fn name(row: &Round) -> String {
    match row.round.phase {
        RoundPhase::FullCopy => "full copy".to_owned(),
        RoundPhase::Round | RoundPhase::Other => format!("round {}", row.index),
        RoundPhase::StopAndCopy => "guest stopped".to_owned(),
        RoundPhase::PostCopy => "guest moved on".to_owned(),
    }
}

fn rate(round: &MigrateRound) -> Option<u64> {
    let rate = u128::from(round.bytes) * 8_000_000_000 / u128::from(round.elapsed_ns.max(1));
    (round.bytes > 0).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
}

/// As long as the round took; the part that was dirtied again meanwhile is hollow.
fn share(row: &Round) -> Cell {
    let note = match row.round.throttle_percent {
        0 => String::new(),
        percent => format!("throttled {percent} %"),
    };
    Cell::Share {
        length: row.round.elapsed_ns,
        longest: row.longest_ns,
        part: row.round.dirtied_pages,
        whole: row.round.pages,
        note: note.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::StepKind;

    fn round(phase: RoundPhase, pages: u64, ms: u64, dirtied_pages: u64) -> MigrateRound {
        MigrateRound {
            phase,
            pages,
            bytes: pages * 4096,
            elapsed_ns: ms * 1_000_000,
            dirtied_pages,
            ..MigrateRound::default()
        }
    }

    fn plain(blocks: &[Block]) -> String {
        crate::text::lines(&crate::Look::PAGE, blocks)
            .iter()
            .map(|line| line.text().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn rounds_are_drawn_and_the_ending_is_said() {
        let mut detail = MigrateDetail {
            verified: true,
            converged: true,
            reason: Some("the rest fits the downtime limit".into()),
            rounds: vec![
                round(RoundPhase::FullCopy, 1000, 400, 500),
                round(RoundPhase::Round, 500, 200, 100),
                round(RoundPhase::StopAndCopy, 100, 40, 0),
            ],
            ..MigrateDetail::default()
        };
        let step = Step::new(StepKind::Migrate, "tcp migration");
        let text = plain(&one(&step, &detail));
        assert!(text.contains(&("█".repeat(12) + &"░".repeat(12))), "{text}");
        assert!(text.contains("Converged: the rest fits") && text.contains("Every page of every"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
        detail.drain = Some(MigrateDrain {
            host: "hv1".into(),
            guests: 15,
            measured_ns: 12_000_000_000,
            predicted_ns: 10_000_000_000,
            of_predicted: 1.2,
            ..MigrateDrain::default()
        });
        let text = plain(&one(&step, &detail)).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("in the place of 15: 12.00 s (predicted 10.00 s, 120 % of it)"), "{text}");
        detail.drain = None;
        detail.mismatch = Some("guest 0: page 7 differs, and 1 pages in all".into());
        detail.verified = false;
        detail.rounds = (0..40).map(|_| round(RoundPhase::Round, 10, 1, 10)).collect();
        let text = plain(&one(&step, &detail));
        assert!(text.contains("… 24 more") && text.contains("page 7"), "{text}");
        assert!(text.lines().count() < 24, "{text}");
    }
}
