//! The NIC pairs that SMB Multichannel would use, those it would not and why, and the usual questions.

use pathproof_model::units::BitsPerSecond;
use pathproof_model::{ChannelPair, Channels, ResultDoc};

use crate::layout::{Line, hanging, heading, table};

/// Pairs that are not used and listed one by one; beyond it they are counted.
const EXCLUDED_MAX: usize = 12;

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    let Some(channels) = &doc.channels else { return Vec::new() };
    let mut lines = pairs(channels, &channels.pairs, "THIS HOST AS CLIENT");
    if !channels.reverse_pairs.is_empty() && !mirrored(channels) {
        lines.push(Line::default());
        lines.extend(pairs(channels, &channels.reverse_pairs, "THE PEER AS CLIENT"));
    } else if !channels.reverse_pairs.is_empty() {
        lines.push("With the peer as client the same pairs are used the other way round.".into());
    }
    for answer in &channels.answers {
        lines.push(Line::default());
        lines.extend(hanging("", &answer.question));
        lines.extend(hanging("  ", &answer.answer));
    }
    lines
}

fn chosen(pairs: &[ChannelPair]) -> impl Iterator<Item = &ChannelPair> {
    pairs.iter().filter(|pair| pair.chosen)
}

/// Whether the other direction chooses the same pairs.
fn mirrored(channels: &Channels) -> bool {
    let mut out: Vec<_> = chosen(&channels.pairs).map(|p| (p.local, p.remote, p.connections)).collect();
    let mut back: Vec<_> =
        chosen(&channels.reverse_pairs).map(|p| (p.remote, p.local, p.connections)).collect();
    out.sort();
    back.sort();
    out == back
}

fn pairs(channels: &Channels, pairs: &[ChannelPair], title: &str) -> Vec<Line> {
    let title = format!("MULTICHANNEL, {title} ({} rules)", channels.policy);
    let rows: Vec<_> = chosen(pairs)
        .map(|pair| {
            let class = match (pair.rdma, pair.rss) {
                (true, _) => "rdma",
                (false, true) => "rss",
                _ => "plain",
            };
            vec![
                ends(pair),
                pair.speed_bits_per_s.map_or("unknown".into(), |speed| BitsPerSecond(speed).to_string()),
                class.into(),
                pair.connections.to_string(),
            ]
        })
        .collect();
    let mut lines = if rows.is_empty() {
        vec![heading(&title), "No pair can be used.".into()]
    } else {
        table(&[&title, "SPEED", "CLASS", "CONNECTIONS"], rows, &[2])
    };
    let excluded: Vec<&ChannelPair> = pairs.iter().filter(|pair| !pair.chosen).collect();
    if !excluded.is_empty() {
        lines.push("Not used:".into());
    }
    for pair in excluded.iter().take(EXCLUDED_MAX) {
        lines.extend(hanging(&format!("  {}: ", ends(pair)), &pair.reason));
    }
    if excluded.len() > EXCLUDED_MAX {
        let more = excluded.len() - EXCLUDED_MAX;
        lines.push(format!("  and {more} more; --format json lists every pair with its reason.").into());
    }
    lines
}

fn ends(pair: &ChannelPair) -> String {
    let end = |nic: &str, address: std::net::IpAddr| {
        let address = address.to_string();
        if nic == address { address } else { format!("{nic} {address}") }
    };
    format!("{} to {}", end(&pair.local_nic, pair.local), end(&pair.remote_nic, pair.remote))
}
