//! A soak: what it saw in all, the time line, and what happened when.

use pathproof_model::ResultDoc;
use pathproof_model::soak::{Soak, SoakFigures, SoakRange};
use pathproof_model::units::{BitsPerSecond, Nanoseconds};

use super::{Block, Fact, Strip};

/// Signs of a row of the time line.
const COLUMNS: usize = 60;
/// Events on a page: the first and the latest.
const EVENTS: usize = 40;

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let Some(soak) = &doc.soak else { return Vec::new() };
    let mut blocks = vec![Block::heading("SOAK"), Block::Facts(facts(soak))];
    if soak.slots.iter().any(|slot| slot.figures.is_measured() || slot.figures.away_ns > 0) {
        blocks.push(strips(soak));
    }
    if !soak.events.is_empty() {
        blocks.push(Block::List(events(soak)));
    }
    blocks
}

fn facts(soak: &Soak) -> Vec<Fact> {
    let total = &soak.total;
    let mut facts = vec![Fact::new("watched", watched(soak))];
    let lost = match total.loss().point() {
        Some(share) => format!("{} of {} ({:.3} %)", total.lost, total.sent, share * 100.0),
        None => "not measured".into(),
    };
    facts.push(Fact::new("lost", lost));
    if let Some(times) = total.response_ns {
        let text = format!(
            "median {} to {}, 99 of 100 within {} at worst, slowest {}",
            Nanoseconds(times.p50_min),
            Nanoseconds(times.p50_max),
            Nanoseconds(times.p99_max),
            Nanoseconds(times.max)
        );
        facts.push(Fact::new("response", text));
    }
    let rate = |range: Option<SoakRange>| {
        range.map(|r| format!("{} to {}", BitsPerSecond(r.min), BitsPerSecond(r.max)))
    };
    let rates = [("out", rate(total.out_bits_per_s)), ("in", rate(total.in_bits_per_s))];
    let rates: Vec<String> =
        rates.into_iter().filter_map(|(way, text)| Some(format!("{way} {}", text?))).collect();
    if !rates.is_empty() {
        facts.push(Fact::new("rate probes", rates.join(", ")));
    }
    if let Some(mtu) = total.ip_mtu_bytes {
        let text =
            if mtu.min == mtu.max { mtu.min.to_string() } else { format!("{} to {}", mtu.min, mtu.max) };
        facts.push(Fact::new("path IP MTU", text));
    }
    facts
}

fn watched(soak: &Soak) -> String {
    let away = match soak.total.away_ns {
        0 => "the peer was there all the time".to_owned(),
        away => format!("the peer was away for {} of it", Nanoseconds(away)),
    };
    format!("{}, {away}", Nanoseconds(soak.elapsed_ns))
}

/// Rows of at most so many signs, each the worst of its part of the time.
fn strips(soak: &Soak) -> Block {
    let per_sign = soak.slots.len().div_ceil(COLUMNS).max(1);
    let parts: Vec<SoakFigures> = soak
        .slots
        .chunks(per_sign)
        .map(|slots| {
            let mut sum = SoakFigures::default();
            slots.iter().for_each(|slot| sum += slot.figures);
            sum
        })
        .collect();
    let slowest = parts.iter().filter_map(|part| part.response_ns).map(|times| times.p99_max).max();
    let row = |name: &str, sign: &dyn Fn(&SoakFigures) -> char| Strip {
        name: name.into(),
        symbols: parts.iter().map(sign).collect::<String>().into(),
    };
    let strips = vec![
        row("peer", &|part| match (part.away_ns, part.is_measured()) {
            (0, true) => '█',
            (0, false) => ' ',
            _ => '_',
        }),
        row("loss", &|part| match part.loss().point() {
            None => ' ',
            Some(share) if share > 0.0 => bar(share, 0.01),
            Some(_) => '.',
        }),
        row("p99", &|part| match (part.response_ns, slowest) {
            (Some(times), Some(slowest)) => bar(times.p99_max as f64, slowest as f64),
            _ => ' ',
        }),
    ];
    let each = Nanoseconds(soak.slot_ns.saturating_mul(per_sign as u64));
    let scale = slowest.map(|ns| format!(", p99 up to {}", Nanoseconds(ns))).unwrap_or_default();
    let legend = format!("a sign is {each}: _ away, . no loss, loss up to 1 %{scale}");
    Block::Strips { legend: legend.into(), strips }
}

/// A bar of a height, of so much at most.
pub(super) fn bar(value: f64, most: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let eighths = (value / most.max(f64::MIN_POSITIVE) * 8.0).ceil().clamp(1.0, 8.0);
    BARS[eighths as usize - 1]
}

fn events(soak: &Soak) -> Vec<Fact> {
    let fact = |event: &pathproof_model::soak::SoakEvent| {
        Fact::new(format!("{} {}", event.at, event.kind.word()), &event.text)
    };
    let all = soak.events.len();
    let (first, last) = if all <= EVENTS { (all, 0) } else { (EVENTS / 2, EVENTS / 2) };
    let mut facts: Vec<Fact> = soak.events[..first].iter().map(fact).collect();
    if last > 0 {
        let hidden = (all - first - last) as u64 + soak.events_left_out;
        facts.push(Fact::more(format!("… {hidden} more; those that are kept stand in the document")));
        facts.extend(soak.events[all - last..].iter().map(fact));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Render, Text};
    use pathproof_model::soak::{SoakEvent, SoakEventKind, SoakSlot, SoakTimes};

    #[test]
    fn a_soak_is_shown_by_its_sum_its_time_line_and_its_events() {
        let figures = |away_ns, lost, p99_max| SoakFigures {
            away_ns,
            sent: 300,
            lost,
            response_ns: Some(SoakTimes {
                count: 9,
                p50_min: 40_000,
                p50_max: 90_000,
                p99_max,
                max: p99_max,
            }),
            ..SoakFigures::default()
        };
        let parts = [figures(0, 0, 100_000), figures(4_000_000_000, 0, 800_000), figures(0, 3, 100_000)];
        let mut soak = Soak { elapsed_ns: 30_000_000_000, slot_ns: 10_000_000_000, ..Soak::default() };
        for (n, part) in parts.into_iter().enumerate() {
            soak.slots.push(SoakSlot { start_ns: n as u64 * soak.slot_ns, figures: part });
            soak.total += part;
        }
        let at = "2026-11-29T03:10:00Z".to_owned();
        soak.events =
            vec![SoakEvent { at_ns: 1, at, kind: SoakEventKind::PeerLost, text: "reset\x1b[2J".into() }];
        let mut doc = ResultDoc::new(Default::default(), "");
        doc.soak = Some(soak);
        let mut out = vec![];
        Text::default().render(&doc, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in [
            "watched   30.00 s, the peer was away for 4.00 s of it",
            "lost      3 of 900 (0.333 %)",
            "█_█",
            "..█",
            "▁█▁",
            "2026-11-29T03:10:00Z peer-lost: reset",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }
}
