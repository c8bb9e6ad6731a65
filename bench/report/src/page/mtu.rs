//! The path MTU of every NIC pair, family and direction, and what limits it.

use pathproof_model::mtu::{MtuLimit, MtuPath, MtuTried};
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Direction, Numbers, ResultDoc};

use super::{Block, Cell, Column, Row, Strip, Table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Block> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    let columns: [Column<&MtuPath>; 6] = [
        Column::words("PATH MTU", |path| Cell::of(name(path))),
        Column::figures("NICS SET TO", |path| {
            let (sender, receiver) = (path.sender_ip_mtu_bytes(), path.receiver_ip_mtu_bytes());
            Cell::of(format!("{}/{}", text(sender), text(receiver)))
        }),
        Column::figures("ARRIVES WHOLE", |path| match (path.ip_mtu_bytes, path.proven_ip_bytes) {
            (Some(exact), _) => Cell::of(exact),
            (None, Some(proven)) => Cell::of(format!("≥ {proven}")),
            (None, None) => Cell::Unknown,
        }),
        Column::figures("LOST", |path| Cell::of(format!("{}/{}", path.fitting_lost, path.fitting_sent))),
        Column::figures("TIME", |path| Cell::of(Nanoseconds(path.elapsed_ns))),
        Column::words("LIMITED BY", |path| Cell::of(limit(path))),
    ];
    let Some(table) = Table::new(&columns, paths.map(Row::One)) else { return Vec::new() };
    let mut blocks = vec![
        Block::Table(table),
        Block::paragraph("Sizes of IP packets with DF set, in bytes. Lost: of probes that fit."),
    ];
    blocks.extend(searches(doc));
    blocks.extend(numbers(doc));
    blocks
}

/// Most symbols on each side of the edge.
const SYMBOLS_MAX: usize = 30;

/// One strip for each search that had to look for the edge: every size tried, what became of it, and the edge.
fn searches(doc: &ResultDoc) -> Option<Block> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    // Where the first large packet arrived there was nothing to search.
    let strips: Vec<Strip> = paths
        .filter(|path| path.tried.len() > 2)
        .map(|path| Strip {
            name: format!("{} IPv{} {}", path.local_nic, path.family, path.direction.name()).into(),
            symbols: picture(path).into(),
        })
        .collect();
    let legend = "Sizes tried (+ arrived, . lost, x refused, / in fragments, ~ some arrived):".into();
    (!strips.is_empty()).then_some(Block::Strips { legend, strips })
}

fn picture(path: &MtuPath) -> String {
    let edge = path.proven_ip_bytes.unwrap_or(0);
    let (below, above): (Vec<&MtuTried>, Vec<&MtuTried>) =
        path.tried.iter().partition(|t| t.ip_bytes <= edge);
    let side = |tried: &[&MtuTried]| match (tried.first(), tried.last()) {
        (Some(first), Some(last)) => format!("{} {} {}", first.ip_bytes, symbols(tried), last.ip_bytes),
        _ => String::new(),
    };
    format!("{} | {}", side(&below), side(&above)).trim().to_string()
}

/// One symbol for each size; where there are too many, evenly chosen ones with the first and the last.
fn symbols(tried: &[&MtuTried]) -> String {
    let shown = tried.len().min(SYMBOLS_MAX);
    let chosen = (0..shown).map(|i| if shown < 2 { 0 } else { i * (tried.len() - 1) / (shown - 1) });
    chosen.map(|index| symbol(tried[index])).collect()
}

fn symbol(tried: &MtuTried) -> char {
    match tried {
        t if t.whole == t.sent && t.whole > 0 => '+',
        t if t.whole > 0 => '~',
        t if t.fragmented > 0 => '/',
        t if t.refused_locally + t.refused_by_router > 0 => 'x',
        _ => '.',
    }
}

/// The numbers that people type, once for each size found.
fn numbers(doc: &ResultDoc) -> Vec<Block> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    let mut found: Vec<&Numbers> = paths.filter_map(|path| path.numbers.as_ref()).collect();
    found.sort_by_key(|numbers| numbers.ip_mtu_bytes);
    found.dedup();
    let mut lines = Vec::new();
    for n in found {
        lines.push(format!(
            "{} bytes are: Windows Jumbo Packet {}; ping -f -l or -M do -s {} (IPv6 {}); TCP MSS {} (IPv6 {}); RoCE path \
             MTU {}.",
            n.ip_mtu_bytes,
            n.windows_jumbo_packet_bytes,
            text(n.ping_payload_v4_bytes),
            text(n.ping_payload_v6_bytes),
            text(n.tcp_mss_v4_bytes),
            text(n.tcp_mss_v6_bytes),
            text(n.rdma_path_mtu_bytes),
        ));
        let carries: Vec<String> = [1500, 9000, 9216, 12_000]
            .into_iter()
            .filter(|setting| *setting >= n.ip_mtu_bytes && setting - n.ip_mtu_bytes < 3500)
            .map(|setting| {
                let fits: Vec<&str> = n
                    .carried_by_switch(setting)
                    .into_iter()
                    .filter(|(_, fits)| *fits)
                    .map(|(name, _)| name)
                    .collect();
                match fits.len() {
                    4 => format!("a port at {setting} carries them however it counts"),
                    _ => format!("a port at {setting} only if it counts {}", fits.join(" or ")),
                }
            })
            .collect();
        lines.push(format!(
            "A switch port needs {} counted as IP bytes, {} with the Ethernet header, {} with FCS, {} with a VLAN \
             tag{}{}.",
            n.switch_l3_bytes,
            n.switch_l2_bytes,
            n.switch_l2_fcs_bytes,
            n.switch_l2_fcs_tag_bytes,
            if carries.is_empty() { "" } else { ": " },
            carries.join(", "),
        ));
    }
    lines.into_iter().map(Block::paragraph).collect()
}

fn text(bytes: Option<u32>) -> String {
    bytes.map_or("-".into(), |bytes| bytes.to_string())
}

fn name(path: &MtuPath) -> String {
    let remote = path.remote_nic.clone().unwrap_or_else(|| path.remote_address.to_string());
    let (from, to) = match path.direction {
        Direction::In => (remote, path.local_nic.clone()),
        _ => (path.local_nic.clone(), remote),
    };
    let arrow = if path.direction == Direction::Both { "↔" } else { "→" };
    format!("{} IPv{} {from} {arrow} {to}", path.direction.name(), path.family)
}

fn limit(path: &MtuPath) -> String {
    match path.limit {
        MtuLimit::None => "nothing".into(),
        MtuLimit::Local => "the sender's NIC".into(),
        MtuLimit::Remote => "the receiver's NIC".into(),
        MtuLimit::Router => match path.routers.first() {
            Some(router) => match router.claimed_ip_mtu_bytes {
                Some(claim) => format!("router {} ({claim})", router.address),
                None => format!("router {}", router.address),
            },
            None => "a router".into(),
        },
        MtuLimit::Blackhole => "BLACK HOLE, silent".into(),
        MtuLimit::Fragmented => match path.largest_fragment_bytes {
            Some(bytes) => format!("cut into {bytes} bytes"),
            None => "cut up in spite of DF".into(),
        },
        MtuLimit::Unknown => "unknown".into(),
    }
}
