//! Migration rehearsals: round by round, what was expected and what came.

use pathproof_model::migrate::{MigrateCompression, MigrateDisk, MigrateRound};
use pathproof_model::units::{BitsPerSecond, Bytes, Nanoseconds};
use pathproof_model::{MigrateDetail, ResultDoc, Step};

use crate::layout::{Line, hanging, heading, table};

/// Widest bar of the picture.
const BAR_COLUMNS: u64 = 24;
/// Rounds shown from the front and from the end; those between are counted.
const ROUNDS_SHOWN: usize = 8;

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    let mut lines = vec![];
    for step in &doc.steps {
        if let Some(detail) = &step.detail.migrate {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.extend(one(step, detail));
        }
    }
    lines
}

fn one(step: &Step, detail: &MigrateDetail) -> Vec<Line> {
    let longest = detail.rounds.iter().map(|r| r.elapsed_ns).max().unwrap_or(0);
    let mut rows = vec![];
    let count = detail.rounds.len();
    for (i, round) in detail.rounds.iter().enumerate() {
        if count > 2 * ROUNDS_SHOWN && i == ROUNDS_SHOWN {
            rows.push(vec![format!("… {} more", count - 2 * ROUNDS_SHOWN)]);
        }
        if count <= 2 * ROUNDS_SHOWN || i < ROUNDS_SHOWN || i >= count - ROUNDS_SHOWN {
            rows.push(row(i, round, longest));
        }
    }
    let header = ["MIGRATION", "PAGES", "TIME", "RATE", "DIRTIED", "TIME, AND THE SHARE DIRTIED AGAIN"];
    let mut lines = if rows.is_empty() { vec![heading("MIGRATION")] } else { table(&header, rows, &[5]) };
    let predicted = detail.predicted.as_ref();
    let beside = |measured: String, expected: Option<String>| match expected {
        Some(expected) => format!("{measured} (predicted {expected})"),
        None => measured,
    };
    let story = format!(
        "{}: {} in {}, black-out {}.",
        step.name,
        beside(Bytes(detail.bytes).to_string(), predicted.map(|p| Bytes(p.bytes).to_string())),
        beside(
            Nanoseconds(detail.total_ns).to_string(),
            predicted.map(|p| Nanoseconds(p.total_ns).to_string())
        ),
        beside(
            Nanoseconds(detail.downtime_ns).to_string(),
            predicted.map(|p| Nanoseconds(p.downtime_ns).to_string())
        ),
    );
    lines.extend(hanging("", &story));
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
    lines.extend(hanging("", format!("{ending} {verified}").trim()));
    if let Some(disk) = &detail.disk {
        lines.extend(hanging("", &storage(disk)));
    }
    if let Some(compression) = &detail.compression {
        lines.extend(hanging("", &compressed(compression, detail.total_ns)));
    }
    if detail.guests.len() > 1 {
        let worst = detail.guests.iter().max_by_key(|g| g.downtime_ns);
        let text = format!(
            "{} guests moved; the rounds are those of the first. Longest black-out: guest {} with {}.",
            detail.guests.len(),
            worst.map_or(0, |g| g.guest),
            Nanoseconds(worst.map_or(0, |g| g.downtime_ns))
        );
        lines.extend(hanging("", &text));
    }
    lines
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

fn row(index: usize, round: &MigrateRound, longest_ns: u64) -> Vec<String> {
    let name = match round.phase.as_str() {
        "full-copy" => "full copy".to_owned(),
        "round" => format!("round {index}"),
        "stop-and-copy" => "guest stopped".to_owned(),
        "post-copy" => "guest moved on".to_owned(),
        other => other.to_owned(),
    };
    let throttled = match round.throttle_percent {
        0 => String::new(),
        percent => format!(" throttled {percent} %"),
    };
    let rate = match round.bytes {
        0 => "-".to_owned(),
        bytes => {
            let rate = u128::from(bytes) * 8_000_000_000 / u128::from(round.elapsed_ns.max(1));
            BitsPerSecond(u64::try_from(rate).unwrap_or(u64::MAX)).to_string()
        }
    };
    vec![
        name,
        round.pages.to_string(),
        Nanoseconds(round.elapsed_ns).to_string(),
        rate,
        round.dirtied_pages.to_string(),
        format!("{}{throttled}", bar(round, longest_ns)),
    ]
}

/// As long as the round took; the part that was dirtied again meanwhile is hollow.
fn bar(round: &MigrateRound, longest_ns: u64) -> String {
    let columns =
        (u128::from(round.elapsed_ns) * u128::from(BAR_COLUMNS)).div_ceil(u128::from(longest_ns.max(1)));
    let columns = columns.max(1) as u64;
    let dirtied = (columns * round.dirtied_pages).checked_div(round.pages).unwrap_or(0).min(columns);
    "█".repeat((columns - dirtied) as usize) + &"░".repeat(dirtied as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::StepKind;

    fn round(phase: &str, pages: u64, ms: u64, dirtied_pages: u64) -> MigrateRound {
        MigrateRound {
            phase: phase.into(),
            pages,
            bytes: pages * 4096,
            elapsed_ns: ms * 1_000_000,
            dirtied_pages,
            ..MigrateRound::default()
        }
    }

    fn plain(lines: &[Line]) -> String {
        lines.iter().map(Line::text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn rounds_are_drawn_and_the_ending_is_said() {
        let mut detail = MigrateDetail {
            verified: true,
            converged: true,
            reason: Some("the rest fits the downtime limit".into()),
            rounds: vec![
                round("full-copy", 1000, 400, 500),
                round("round", 500, 200, 100),
                round("stop-and-copy", 100, 40, 0),
            ],
            ..MigrateDetail::default()
        };
        let step = Step::new(StepKind::Migrate, "tcp migration");
        let text = plain(&one(&step, &detail));
        assert!(text.contains(&("█".repeat(12) + &"░".repeat(12))), "{text}");
        assert!(text.contains("Converged: the rest fits") && text.contains("Every page of every"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
        detail.mismatch = Some("guest 0: page 7 differs, and 1 pages in all".into());
        detail.verified = false;
        detail.rounds = (0..40).map(|_| round("round", 10, 1, 10)).collect();
        let text = plain(&one(&step, &detail));
        assert!(text.contains("… 24 more") && text.contains("page 7"), "{text}");
        assert!(text.lines().count() < 24, "{text}");
    }
}
