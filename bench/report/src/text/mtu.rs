//! The path MTU of every NIC pair, family and direction, and what limits it.

use pathproof_model::mtu::{MtuLimit, MtuPath, MtuTried};
use pathproof_model::units::Nanoseconds;
use pathproof_model::{Direction, Numbers, ResultDoc};

use crate::layout::{Line, hanging, table};

pub(super) fn section(doc: &ResultDoc) -> Vec<Line> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    let rows: Vec<_> = paths.map(row).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let header = ["PATH MTU", "NICS SET TO", "ARRIVES WHOLE", "LOST", "TIME", "LIMITED BY"];
    let mut lines = table(&header, rows, &[5]);
    lines.push("Sizes of IP packets with DF set, in bytes. Lost: of probes that fit.".into());
    lines.extend(pictures(doc).into_iter().map(Line::from));
    lines.extend(numbers(doc));
    lines
}

/// Most symbols on each side of the edge.
const SYMBOLS_MAX: usize = 30;

/// One line for each search that had to look for the edge: every size tried, what became of it, and the edge.
fn pictures(doc: &ResultDoc) -> Vec<String> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    // Where the first large packet arrived there was nothing to search.
    let mut lines: Vec<String> = paths
        .filter(|path| path.tried.len() > 2)
        .map(|path| {
            format!("  {} IPv{} {:<4} {}", path.local_nic, path.family, path.direction.name(), picture(path))
        })
        .collect();
    if !lines.is_empty() {
        lines.insert(0, "Sizes tried (+ arrived, . lost, x refused, / in fragments, ~ some arrived):".into());
    }
    lines
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
fn numbers(doc: &ResultDoc) -> Vec<Line> {
    let paths = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten();
    let mut found: Vec<&Numbers> = paths.filter_map(|path| path.numbers.as_ref()).collect();
    found.sort_by_key(|numbers| numbers.ip_mtu_bytes);
    found.dedup();
    let text = |bytes: Option<u32>| bytes.map_or("-".into(), |b| b.to_string());
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
            "  A switch port needs {} counted as IP bytes, {} with the Ethernet header, {} with FCS, {} with a VLAN \
             tag{}{}.",
            n.switch_l3_bytes,
            n.switch_l2_bytes,
            n.switch_l2_fcs_bytes,
            n.switch_l2_fcs_tag_bytes,
            if carries.is_empty() { "" } else { ": " },
            carries.join(", "),
        ));
    }
    lines.into_iter().flat_map(|line| hanging("", &line)).collect()
}

fn row(path: &MtuPath) -> Vec<String> {
    let bytes = |bytes: Option<u32>| bytes.map_or("-".into(), |b| b.to_string());
    let remote = path.remote_nic.clone().unwrap_or_else(|| path.remote_address.to_string());
    let (from, to) = match path.direction {
        Direction::In => (remote, path.local_nic.clone()),
        _ => (path.local_nic.clone(), remote),
    };
    let arrow = if path.direction == Direction::Both { "↔" } else { "→" };
    let whole = match (path.ip_mtu_bytes, path.proven_ip_bytes) {
        (Some(exact), _) => exact.to_string(),
        (None, Some(proven)) => format!("≥ {proven}"),
        (None, None) => "-".into(),
    };
    vec![
        format!("{} IPv{} {from} {arrow} {to}", path.direction.name(), path.family),
        format!("{}/{}", bytes(path.sender_ip_mtu_bytes()), bytes(path.receiver_ip_mtu_bytes())),
        whole,
        format!("{}/{}", path.fitting_lost, path.fitting_sent),
        Nanoseconds(path.elapsed_ns).to_string(),
        limit(path),
    ]
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
