//! From measured paths to findings: what is wrong, with evidence, meaning and the numbers to type.
//!
//! A pure function of the document's own fields, so an old result can be judged again. Refuses to blame the
//! path for what an interface's own setting explains, and to call "cannot tell" a size.

use std::collections::BTreeMap;

use pathproof_model::finding::Commands;
use pathproof_model::{
    Direction, Environment, Finding, MtuLimit, MtuMethod, MtuPath, NodeId, Numbers, Severity,
};

use super::advice::{advise, migration_error};
use super::context::Context;
use super::known::suspected_overhead;
use super::nics;

mod draft;
mod fragments;

use draft::{Draft, merge};

/// All findings about `paths`, most severe first.
pub fn findings(paths: &[MtuPath], context: Context<'_>) -> Vec<Finding> {
    let mut drafts = Vec::new();
    let mut groups: BTreeMap<_, Vec<&MtuPath>> = BTreeMap::new();
    for path in paths {
        let key = (&path.local_nic, &path.remote_nic, path.local_address, path.remote_address, path.family);
        groups.entry(key).or_default().push(path);
    }
    for group in groups.values() {
        about_pair(group, context, &mut drafts);
    }
    families_differ(paths, &mut drafts);
    let mut findings: Vec<Finding> = merge(drafts).into_iter().map(Draft::finish).collect();
    findings.extend(nics::differ(paths, context));
    // Beside an agent that datagrams do not reach, PATH-UDP-FILTERED says what echoes stand for.
    if paths.iter().any(|path| path.method == MtuMethod::Echo && path.remote_nic.is_none()) {
        findings.push(Finding::new("MTU-ECHO-ONLY", "ICMP echo with DF set, from this host only"));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Says `code` once for both directions where they agree, else once for each.
fn each_way(
    group: &[&MtuPath],
    matches: impl Fn(&MtuPath) -> bool,
    mut say: impl FnMut(&MtuPath, Direction),
) {
    let hits: Vec<&MtuPath> = group.iter().copied().filter(|path| matches(path)).collect();
    match hits[..] {
        [a, b] if a.ip_mtu_bytes == b.ip_mtu_bytes => say(a, Direction::Both),
        _ => hits.into_iter().for_each(|path| say(path, path.direction)),
    }
}

fn about_pair(group: &[&MtuPath], context: Context<'_>, drafts: &mut Vec<Draft>) {
    let edges: Vec<Option<u32>> = group.iter().map(|path| path.ip_mtu_bytes).collect();
    let one_way = matches!(edges[..], [Some(a), Some(b)] if a != b);
    each_way(
        group,
        |p| p.limit == MtuLimit::Blackhole,
        |path, direction| {
            let Some(edge) = path.ip_mtu_bytes else { return };
            let sent = path.sender_ip_mtu_bytes().unwrap_or(edge).max(edge);
            let advice = advise(edge, sent);
            let error = migration_error(one_way);
            let lost: u32 = path.tried.iter().filter(|t| t.ip_bytes > edge).map(|t| t.lost).sum();
            let body = format!(
                "a black hole: IP packets of {edge} bytes arrive, {} and more are dropped silently ({lost} probes \
             lost, while {} of {} that fit arrived). The interface sends up to {sent}. A live migration over \
             this path dies with {error}",
                edge + 1,
                path.fitting_sent - path.fitting_lost.min(path.fitting_sent),
                path.fitting_sent,
            );
            drafts.push(
                Draft::new("MTU-BLACKHOLE", path, direction, body)
                    .next(either_way_out("MTU-BLACKHOLE", path, advice.text, advice.host_ip_mtu_bytes))
                    .with("ip_mtu_bytes", edge)
                    .with("interface_ip_mtu_bytes", sent)
                    .with("advised_ip_mtu_bytes", advice.host_ip_mtu_bytes)
                    .with("advised_windows_jumbo_packet_bytes", advice.host_jumbo_packet_bytes)
                    .with("switch_ip_bytes", advice.switch_ip_bytes)
                    .with("rdma_path_mtu_bytes", Numbers::from_ip_mtu(edge).rdma_path_mtu_bytes)
                    .with("migration_error", format!("0x{:08X}", error.code)),
            );
        },
    );
    if let (true, Some(worse)) = (one_way, group.iter().min_by_key(|path| path.ip_mtu_bytes))
        && matches!(worse.limit, MtuLimit::Blackhole | MtuLimit::Router | MtuLimit::Fragmented)
    {
        let better = group.iter().filter_map(|path| path.ip_mtu_bytes).max();
        let error = migration_error(true);
        let body = format!(
            "{} bytes pass this way, {} the other way: the switches or routers of the two directions \
                 disagree. A live migration over this path dies with {error}",
            worse.ip_mtu_bytes.unwrap_or(0),
            better.unwrap_or(0)
        );
        drafts.push(
            Draft::new("MTU-ONE-WAY", worse, worse.direction, body)
                .with("ip_mtu_bytes", worse.ip_mtu_bytes)
                .with("other_way_ip_mtu_bytes", better)
                .with("migration_error", format!("0x{:08X}", error.code)),
        );
    }
    fragments::of_pair(group, context, drafts);
    ends(group, drafts);
    routers(group, drafts);
    overhead(group, drafts);
    for path in group {
        single(path, context, drafts);
    }
}

/// Sets the interfaces of a path that send more than `ip_mtu_bytes` to that.
fn lower_ends(path: &MtuPath, ip_mtu_bytes: u32) -> Commands {
    let ends = [
        (NodeId::CLIENT, Some(path.local_nic.as_str()), path.local_ip_mtu_bytes),
        (NodeId::SERVER, path.remote_nic.as_deref(), path.remote_ip_mtu_bytes),
    ];
    let mut commands = Commands::new();
    for (node, nic, mtu) in ends {
        if let (Some(nic), Some(mtu)) = (nic, mtu)
            && mtu > ip_mtu_bytes
        {
            let lower = ip_mtu_bytes.to_string();
            commands = commands.at(node, "ip link set dev {} mtu {}", &[nic, &lower]);
        }
    }
    commands
}

/// Both ways out in words, and the one that is the hosts' as commands.
fn either_way_out(code: &str, path: &MtuPath, text: String, host_ip_mtu_bytes: Option<u32>) -> String {
    let hosts = host_ip_mtu_bytes.map(|mtu| lower_ends(path, mtu)).unwrap_or_default();
    hosts.advice(code, &format!("{text} The latter, now:")).unwrap_or(text)
}

/// The host that sends in a direction.
fn sender(path: &MtuPath) -> (NodeId, Option<&str>) {
    match path.direction {
        Direction::In => (NodeId::SERVER, path.remote_nic.as_deref()),
        _ => (NodeId::CLIENT, Some(path.local_nic.as_str())),
    }
}

fn ends(group: &[&MtuPath], drafts: &mut Vec<Draft>) {
    let Some(path) = group.first() else { return };
    let swallowed = group.iter().find(|path| path.is_swallowed_by_receiver());
    let (local, remote) = (path.local_ip_mtu_bytes, path.remote_ip_mtu_bytes);
    if swallowed.is_some() || matches!((local, remote), (Some(local), Some(remote)) if local != remote) {
        drafts.push(ends_differ(path, swallowed.copied(), local, remote));
        return;
    }
    each_way(
        group,
        |p| p.limit == MtuLimit::Local,
        |path, direction| {
            let edge = path.ip_mtu_bytes.unwrap_or(0);
            let body = format!("the interface refuses IP packets above {edge} bytes");
            drafts.push(Draft::new("MTU-LOCAL-LIMIT", path, direction, body).with("ip_mtu_bytes", edge));
        },
    );
}

/// The two interfaces of a path are set to different MTUs. `swallowed` is the direction in which the smaller one was seen
/// to drop what the larger one sends.
fn ends_differ(
    path: &MtuPath,
    swallowed: Option<&MtuPath>,
    local: Option<u32>,
    remote: Option<u32>,
) -> Draft {
    let show = |mtu: Option<u32>| mtu.map_or("an MTU that is not known".to_owned(), |mtu| mtu.to_string());
    let mut body = format!("this end is set to {}, the other to {}", show(local), show(remote));
    if let Some(lost) = swallowed {
        let from = if lost.direction == Direction::In { "from the peer" } else { "from here" };
        body += &format!(
            ". Packets {from} of more than {} bytes are dropped silently: the receiving NIC drops them",
            lost.ip_mtu_bytes.unwrap_or(0)
        );
    }
    let here = (path.local_nic.as_str(), "here", local);
    let there = (path.remote_nic.as_deref().unwrap_or("NIC"), "at the peer", remote);
    let (low, high) = if local < remote { (here, there) } else { (there, here) };
    let command = |(nic, at, _): (&str, &str, Option<u32>), mtu: u32| {
        let windows = Numbers::from_ip_mtu(mtu).windows_jumbo_packet_bytes;
        format!("ip link set dev {nic} mtu {mtu} {at} (Windows: Jumbo Packet {windows})")
    };
    let mut draft = Draft::new("MTU-ENDS-DIFFER", path, Direction::Both, body)
        .with("local_ip_mtu_bytes", local)
        .with("remote_ip_mtu_bytes", remote)
        .with("swallowed_above_ip_bytes", swallowed.and_then(|path| path.ip_mtu_bytes));
    if let (Some(smaller), Some(larger)) = (low.2, high.2) {
        let text = format!(
            "Set both ends to the same value: {}, if jumbo frames are meant and every switch port between carries them; \
             otherwise {}.",
            command(low, larger),
            command(high, smaller)
        );
        let lower = lower_ends(path, smaller)
            .advice("MTU-ENDS-DIFFER", &format!("{text} The latter, which is safe:"));
        draft = draft.next(lower.unwrap_or(text));
    }
    if swallowed.is_some() {
        draft.severity = Some(Severity::Error);
    }
    draft
}

fn routers(group: &[&MtuPath], drafts: &mut Vec<Draft>) {
    each_way(
        group,
        |p| p.limit == MtuLimit::Router,
        |path, direction| {
            let edge = path.ip_mtu_bytes.unwrap_or(0);
            let says: Vec<String> = path
                .routers
                .iter()
                .map(|router| match (router.claimed_ip_mtu_bytes, router.claim_holds) {
                    (None, _) => format!("{} refuses larger packets without naming a limit", router.address),
                    (Some(claim), Some(true)) => format!("{} names {claim}, which is true", router.address),
                    (Some(claim), Some(false)) => {
                        format!("{} names {claim}, which is not true", router.address)
                    }
                    (Some(claim), None) => format!("{} names {claim}", router.address),
                })
                .collect();
            // Each direction meets another address of the same router, which would keep the two apart.
            let router = path.routers.last().map(|router| router.address.to_string());
            let sent = path.sender_ip_mtu_bytes().unwrap_or(edge);
            let body = format!("{edge} bytes pass, {}", says.join(", "));
            let advice = advise(edge, sent);
            let text = format!(
                "Raise the MTU of the link behind that router to {sent}, or {}",
                lower_first(&advice.text)
            );
            let hosts = advice.host_ip_mtu_bytes.map(|mtu| lower_ends(path, mtu)).unwrap_or_default();
            let next = hosts.advice("MTU-ROUTER", &format!("{text} At the hosts:")).unwrap_or(text);
            drafts.push(
                Draft::new("MTU-ROUTER", path, direction, body)
                    .next(next)
                    .with("ip_mtu_bytes", edge)
                    .with("router", router),
            );
        },
    );
    for path in group {
        for router in path.routers.iter().filter(|router| router.claim_holds == Some(false)) {
            let claim = router.claimed_ip_mtu_bytes.unwrap_or(0);
            let truth = path.ip_mtu_bytes.or(path.proven_ip_bytes).unwrap_or(0);
            let body =
                format!("{} claims {claim}, but the largest packet that passes is {truth}", router.address);
            drafts.push(
                Draft::new("MTU-ROUTER-LIES", path, path.direction, body)
                    .with("router", router.address.to_string())
                    .with("claimed_ip_mtu_bytes", claim)
                    .with("ip_mtu_bytes", truth),
            );
        }
    }
}

fn overhead(group: &[&MtuPath], drafts: &mut Vec<Draft>) {
    each_way(
        group,
        |p| matches!(p.limit, MtuLimit::Blackhole | MtuLimit::Router),
        |path, direction| {
            let Some(edge) = path.ip_mtu_bytes else { return };
            let configured: Vec<u32> =
                [path.sender_ip_mtu_bytes(), path.receiver_ip_mtu_bytes()].into_iter().flatten().collect();
            if let Some((base, overhead)) = suspected_overhead(edge, &configured) {
                let body = format!("{edge} is {base} less {} bytes: {}", overhead.bytes, overhead.name);
                let text = format!(
                    "Give the tagged or tunnelled links {} bytes more than {base}, or set the hosts to {edge}.",
                    overhead.bytes
                );
                let hosts = lower_ends(path, edge);
                let next =
                    hosts.advice("MTU-TAG-OVERHEAD", &format!("{text} The latter, now:")).unwrap_or(text);
                drafts.push(
                    Draft::new("MTU-TAG-OVERHEAD", path, direction, body)
                        .next(next)
                        .with("ip_mtu_bytes", edge)
                        .with("configured_ip_mtu_bytes", base)
                        .with("overhead_bytes", overhead.bytes),
                );
            }
        },
    );
}

/// What can be said of one direction alone.
fn single(path: &MtuPath, context: Context<'_>, drafts: &mut Vec<Draft>) {
    let way = path.direction;
    if path.limit == MtuLimit::Fragmented {
        let edge = path.ip_mtu_bytes.unwrap_or(0);
        let fragment = path.largest_fragment_bytes.unwrap_or(0);
        let body = format!(
            "up to {edge} bytes arrive whole, larger packets in fragments of up to {fragment} although DF was set"
        );
        drafts.push(
            Draft::new("MTU-FRAGMENTED", path, way, body)
                .with("ip_mtu_bytes", edge)
                .with("largest_fragment_bytes", fragment),
        );
    }
    if let (Some(route), Some(proven)) = (&path.route, path.proven_ip_bytes)
        && route.ip_mtu_bytes < proven
    {
        let (sends, at) = match path.direction {
            Direction::In => ("the peer's", "at the peer"),
            _ => ("this host's", "here"),
        };
        let lock = if route.locked { "lock " } else { "" };
        let limit = route.ip_mtu_bytes;
        let body = format!(
            "{proven} bytes pass, but {sends} route {} says \"mtu {lock}{limit}\", so TCP sends at most {limit}",
            route.destination
        );
        // Below half of what passes, jumbo frames are paid for and not used.
        let missed = context.expect_ip_mtu_bytes.is_some_and(|expected| expected > limit)
            || limit.saturating_mul(2) < proven;
        let text = format!(
            "Look at it with ip route show {} {at}, and set it again without mtu, where it is configured too.",
            route.destination
        );
        let (node, nic) = sender(path);
        let again = match path.family {
            6 => {
                "ip -6 route show exact {} | grep -w 'dev {}' | sed -E 's/ mtu (lock )?[0-9]+//' | xargs -L1 ip -6 route replace"
            }
            _ => {
                "ip route show exact {} | grep -w 'dev {}' | sed -E 's/ mtu (lock )?[0-9]+//' | xargs -L1 ip route replace"
            }
        };
        let commands = Commands::new().at(node, again, &[&route.destination, nic.unwrap_or_default()]);
        let mut draft = Draft::new("MTU-ROUTE-LIMIT", path, way, body)
            .next(commands.advice("MTU-ROUTE-LIMIT", &text).unwrap_or(text))
            .with("route", route.destination.as_str())
            .with("route_ip_mtu_bytes", limit)
            .with("locked", route.locked);
        draft.severity = missed.then_some(Severity::Error);
        drafts.push(draft);
    }
    if let (Some(cached), Some(proven)) = (path.cached_ip_mtu_bytes, path.proven_ip_bytes)
        && cached < proven
        // What the route is set to is not remembered, and does not go away.
        && path.route.as_ref().is_none_or(|route| route.ip_mtu_bytes > cached)
    {
        let body = format!("the sending host remembers a path MTU of {cached}, but {proven} bytes pass now");
        let (node, _) = sender(path);
        let commands = Commands::new().at(node, "ip route flush cache", &[]);
        let commands = commands.at(node, "ip -6 route flush cache", &[]);
        let next = format!("{commands} It comes back where a router causes it: look for that (MTU-ROUTER).");
        drafts.push(
            Draft::new("MTU-STALE-CACHE", path, way, body)
                .next(next)
                .with("cached_ip_mtu_bytes", cached)
                .with("proven_ip_bytes", proven),
        );
    }
    if path.limit == MtuLimit::Blackhole {
        let on = offloads_on(path, context);
        if !on.is_empty() {
            drafts.push(Draft::new("MTU-OFFLOADS-HIDE", path, Direction::Both, on.join(", ")));
        }
    }
    if path.limit == MtuLimit::Unknown {
        let reason = path.reason.as_deref().unwrap_or("unknown");
        let proven = match path.proven_ip_bytes {
            Some(proven) => format!(", but packets of {proven} bytes do pass"),
            None => String::new(),
        };
        drafts.push(
            Draft::new("MTU-UNKNOWN", path, way, format!("{reason}{proven}"))
                .with("proven_ip_bytes", path.proven_ip_bytes),
        );
    }
    if let (Some(expected), Some(edge)) = (context.expect_ip_mtu_bytes, path.ip_mtu_bytes)
        && edge < expected
    {
        let body = format!("{edge} bytes pass, {expected} were expected");
        drafts.push(
            Draft::new("MTU-BELOW-EXPECTED", path, way, body)
                .with("ip_mtu_bytes", edge)
                .with("expected_ip_mtu_bytes", expected),
        );
    }
    if path.family == 6 && path.ip_mtu_bytes.is_some_and(|edge| edge < 1280) {
        let edge = path.ip_mtu_bytes.unwrap_or(0);
        let body = format!("only {edge} bytes pass");
        drafts.push(Draft::new("MTU-BELOW-FLOOR", path, way, body).with("ip_mtu_bytes", edge));
    }
}

/// IPv4 and IPv6 of one NIC pair and direction that do not carry the same.
fn families_differ(paths: &[MtuPath], drafts: &mut Vec<Draft>) {
    for four in paths.iter().filter(|path| path.family == 4) {
        let twin = |six: &&MtuPath| {
            six.family == 6
                && six.direction == four.direction
                && six.local_nic == four.local_nic
                && six.remote_nic == four.remote_nic
        };
        let Some(six) = paths.iter().find(twin) else { continue };
        if four.ip_mtu_bytes == six.ip_mtu_bytes {
            continue;
        }
        let show = |mtu: Option<u32>| mtu.map_or("unknown".to_string(), |mtu| format!("{mtu} bytes"));
        let body = format!("IPv4 carries {}, IPv6 {}", show(four.ip_mtu_bytes), show(six.ip_mtu_bytes));
        let mut draft = Draft::new("MTU-FAMILIES-DIFFER", four, four.direction, body)
            .with("ipv4_ip_mtu_bytes", four.ip_mtu_bytes)
            .with("ipv6_ip_mtu_bytes", six.ip_mtu_bytes);
        draft.families.push(6);
        drafts.push(draft);
    }
}

/// Segmentation offloads that are on at either end of `path`, in words.
fn offloads_on(path: &MtuPath, context: Context<'_>) -> Vec<String> {
    let on = |environment: Option<&Environment>, name: Option<&str>| -> Option<String> {
        let nic = environment?.nics.iter().find(|nic| Some(nic.name.as_str()) == name)?;
        let names: Vec<&str> = nic
            .offloads
            .iter()
            .filter(|(offload, on)| **on && offload.contains("segmentation"))
            .map(|(offload, _)| offload.as_str())
            .collect();
        (!names.is_empty()).then(|| format!("{} has {} on", nic.name, names.join(", ")))
    };
    let client = on(context.client, Some(&path.local_nic)).map(|text| format!("here {text}"));
    let server = on(context.server, path.remote_nic.as_deref()).map(|text| format!("at the peer {text}"));
    client.into_iter().chain(server).collect()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
