//! The NIC pairs that SMB Multichannel would use, those it would not and why, and the usual questions.

use pathproof_model::units::BitsPerSecond;
use pathproof_model::{ChannelPair, Channels, PacketPath, PairPath, ResultDoc};

use super::{Block, Cell, Column, Fact, Row, Table};

/// Pairs that are not used and listed one by one; beyond it they are counted.
const EXCLUDED_MAX: usize = 12;

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let Some(channels) = &doc.channels else { return Vec::new() };
    let mut blocks = pairs(channels, &channels.pairs, "THIS HOST AS CLIENT");
    if !channels.reverse_pairs.is_empty() && !mirrored(channels) {
        blocks.push(Block::Break);
        blocks.extend(pairs(channels, &channels.reverse_pairs, "THE PEER AS CLIENT"));
    } else if !channels.reverse_pairs.is_empty() {
        blocks.push(Block::paragraph("With the peer as client the same pairs are used the other way round."));
    }
    blocks.extend(packet_paths(channels));
    for answer in &channels.answers {
        blocks.push(Block::Break);
        let (question, answer) = (answer.question.as_str().into(), answer.answer.as_str().into());
        blocks.push(Block::Question { question, answer });
    }
    blocks
}

/// By which path the packets of the chosen pairs go at both ends, and what shows it.
fn packet_paths(channels: &Channels) -> Vec<Block> {
    let is_chosen = |path: &&PairPath| {
        chosen(&channels.pairs)
            .any(|pair| pair.local_nic == path.local_nic && pair.remote_nic == path.remote_nic)
    };
    let paths: Vec<&PairPath> = channels.packet_paths.iter().filter(is_chosen).collect();
    let columns: [Column<&PairPath>; 3] = [
        Column::words("PATH OF PACKETS", |path| {
            Cell::of(format!("{} - {}", path.local_nic, path.remote_nic))
        }),
        Column::words("HERE BY", |path| Cell::of(by(&path.local))),
        Column::words("THERE BY", |path| Cell::known(path.remote.as_ref().map(by))),
    ];
    let Some(table) = Table::new(&columns, paths.iter().copied().map(Row::One)) else { return vec![] };
    let mut why: Vec<Fact> = vec![];
    let mut told: Vec<(&str, &PacketPath)> = vec![];
    let ends =
        paths.iter().flat_map(|path| [("here", Some(&path.local)), ("at the peer", path.remote.as_ref())]);
    for (place, path) in ends.filter_map(|(place, path)| Some((place, path?))) {
        if !told.contains(&(place, path)) {
            told.push((place, path));
            let nic = path.through.first().map_or("", String::as_str);
            why.push(Fact::new(format!("{nic} {place}"), &path.why));
        }
    }
    vec![Block::Break, Block::Table(table), Block::List(why)]
}

fn by(path: &PacketPath) -> String {
    match &path.through[..] {
        [] | [_] => path.kind.words().to_owned(),
        through => format!("{} ({})", path.kind.words(), through.join(" over ")),
    }
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

fn pairs(channels: &Channels, pairs: &[ChannelPair], title: &str) -> Vec<Block> {
    let title = format!("MULTICHANNEL, {title} ({} rules)", channels.policy);
    let columns: [Column<&ChannelPair>; 4] = [
        Column::words(&title, |pair| Cell::of(ends(pair))),
        Column::figures("SPEED", |pair| {
            pair.speed_bits_per_s.map_or(Cell::of("unknown"), |speed| Cell::of(BitsPerSecond(speed)))
        }),
        Column::words("CLASS", |pair| {
            Cell::of(match (pair.rdma, pair.rss) {
                (true, _) => "rdma",
                (false, true) => "rss",
                _ => "plain",
            })
        }),
        Column::figures("CONNECTIONS", |pair| Cell::of(pair.connections)),
    ];
    let mut blocks = match Table::new(&columns, chosen(pairs).map(Row::One)) {
        Some(table) => vec![Block::Table(table)],
        None => vec![Block::heading(&title), Block::paragraph("No pair can be used.")],
    };
    let excluded: Vec<&ChannelPair> = pairs.iter().filter(|pair| !pair.chosen).collect();
    if !excluded.is_empty() {
        blocks.push(Block::paragraph("Not used:"));
    }
    let mut list: Vec<Fact> =
        excluded.iter().take(EXCLUDED_MAX).map(|pair| Fact::new(ends(pair), &pair.reason)).collect();
    if excluded.len() > EXCLUDED_MAX {
        let more = excluded.len() - EXCLUDED_MAX;
        list.push(Fact::more(format!("and {more} more; --format json lists every pair with its reason.")));
    }
    blocks.push(Block::List(list));
    blocks
}

fn ends(pair: &ChannelPair) -> String {
    let end = |nic: &str, address: std::net::IpAddr| {
        let address = address.to_string();
        if nic == address { address } else { format!("{nic} {address}") }
    };
    format!("{} to {}", end(&pair.local_nic, pair.local), end(&pair.remote_nic, pair.remote))
}
