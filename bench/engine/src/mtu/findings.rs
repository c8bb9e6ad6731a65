//! From measured paths to findings: what is wrong, with evidence, meaning and the numbers to type.
//!
//! A pure function of the document's own fields, so an old result can be judged again. Refuses to blame the
//! path for what an interface's own setting explains, and to call "cannot tell" a size.

use std::collections::BTreeMap;

use pathproof_model::{Direction, Environment, Finding, MtuLimit, MtuPath, Numbers, Severity};
use serde_json::{Value, json};

use super::advice::{advise, migration_error};
use super::known::suspected_overhead;
use super::nics;

/// What is known beside the paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The operator's gate: every path must carry at least this much.
    pub expect_ip_mtu_bytes: Option<u32>,
    /// The client's host, for its offloads.
    pub client: Option<&'a Environment>,
    /// The server's host.
    pub server: Option<&'a Environment>,
}

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
    if paths.iter().any(|path| path.method == "echo") {
        findings.push(Finding::new("MTU-ECHO-ONLY", "ICMP echo with DF set, from this host only"));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// A finding before equal ones of the two families are merged.
struct Draft {
    code: &'static str,
    nics: (String, Option<String>),
    families: Vec<u8>,
    direction: Direction,
    body: String,
    next: Option<String>,
    severity: Option<Severity>,
    values: Vec<(&'static str, Value)>,
}

impl Draft {
    fn new(code: &'static str, path: &MtuPath, direction: Direction, body: String) -> Draft {
        Draft {
            code,
            nics: (path.local_nic.clone(), path.remote_nic.clone()),
            families: vec![path.family],
            direction,
            body,
            next: None,
            severity: None,
            values: Vec::new(),
        }
    }

    fn next(mut self, next: String) -> Draft {
        self.next = Some(next);
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Draft {
        self.values.push((name, value.into()));
        self
    }

    /// Equal but for the families.
    fn says_the_same_as(&self, other: &Draft) -> bool {
        (self.code, &self.nics, self.direction, &self.next)
            == (other.code, &other.nics, other.direction, &other.next)
            && self.values == other.values
    }

    fn finish(self) -> Finding {
        let families: Vec<String> = self.families.iter().map(|family| format!("IPv{family}")).collect();
        let way = match self.direction {
            Direction::Out => "out (from here to the peer)",
            Direction::In => "in (from the peer to here)",
            Direction::Both => "both directions",
        };
        let remote = self.nics.1.as_deref().unwrap_or("peer");
        let evidence =
            format!("{} to {remote}, {}, {way}: {}", self.nics.0, families.join(" and "), self.body);
        let mut finding = Finding::new(self.code, evidence)
            .with("local_nic", self.nics.0)
            .with("remote_nic", self.nics.1)
            .with("families", self.families)
            .with("direction", json!(self.direction));
        if let Some(next) = self.next {
            finding = finding.with_next(next);
        }
        if let Some(severity) = self.severity {
            finding = finding.with_severity(severity);
        }
        for (name, value) in self.values {
            finding = finding.with(name, value);
        }
        finding
    }
}

/// The same thing said of IPv4 and of IPv6 is one finding.
fn merge(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::new();
    for draft in drafts {
        match merged.iter_mut().find(|other| other.says_the_same_as(&draft)) {
            Some(twin) => {
                twin.families.extend(draft.families);
                twin.families.sort_unstable();
                twin.families.dedup();
            }
            None => merged.push(draft),
        }
    }
    merged
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
                    .next(advice.text)
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
    ends(group, drafts);
    routers(group, drafts);
    overhead(group, drafts);
    for path in group {
        single(path, context, drafts);
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
        draft = draft.next(format!(
            "Set both ends to the same value: {}, if jumbo frames are meant and every switch port between carries them; \
             otherwise {}.",
            command(low, larger),
            command(high, smaller)
        ));
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
            drafts.push(
                Draft::new("MTU-ROUTER", path, direction, body)
                    .next(format!(
                        "Raise the MTU of the link behind that router to {sent}, or {}",
                        lower_first(&advise(edge, sent).text)
                    ))
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
                drafts.push(
                Draft::new("MTU-TAG-OVERHEAD", path, direction, body)
                    .next(format!(
                        "Give the tagged or tunnelled links {} bytes more than {base}, or set the hosts to {edge}.",
                        overhead.bytes
                    ))
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
        let missed = context.expect_ip_mtu_bytes.is_some_and(|expected| expected > limit);
        let mut draft = Draft::new("MTU-ROUTE-LIMIT", path, way, body)
            .next(format!(
                "Look at it with ip route show {} {at}, and set it again without mtu, where it is configured too.",
                route.destination
            ))
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
        drafts.push(
            Draft::new("MTU-STALE-CACHE", path, way, body)
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
mod tests {
    use super::*;
    use pathproof_model::MtuRoute;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn path(family: u8, direction: Direction, edge: u32, limit: MtuLimit) -> MtuPath {
        let address =
            if family == 4 { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
        MtuPath {
            local_nic: "n1".into(),
            remote_nic: Some("n2".into()),
            local_address: address,
            remote_address: address,
            family,
            direction,
            method: "agent".into(),
            ip_mtu_bytes: Some(edge),
            limit,
            numbers: None,
            proven_ip_bytes: Some(edge),
            reason: None,
            local_ip_mtu_bytes: Some(9614),
            remote_ip_mtu_bytes: Some(9614),
            cached_ip_mtu_bytes: None,
            route: None,
            routers: Vec::new(),
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 40,
            fitting_lost: 0,
            probes: 100,
            loss_rounds: 2,
            elapsed_ns: 1,
            tried: Vec::new(),
        }
    }

    fn codes(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn the_story_is_one_finding_for_both_directions_and_families() {
        let mut paths = Vec::new();
        for family in [4, 6] {
            for direction in [Direction::Out, Direction::In] {
                paths.push(path(family, direction, 9216, MtuLimit::Blackhole));
            }
        }
        let found = findings(&paths, Context::default());
        assert_eq!(codes(&found), ["MTU-BLACKHOLE"]);
        assert!(found[0].evidence.contains("IPv4 and IPv6, both directions"), "{}", found[0].evidence);
        assert!(found[0].evidence.contains("9216") && found[0].evidence.contains("0x80072746"));
        assert!(found[0].next.contains("Jumbo Packet 9014"));
        assert_eq!(found[0].values["direction"], "both");
        assert_eq!(found[0].values["ip_mtu_bytes"], 9216);
    }

    #[test]
    fn one_way_names_the_direction_and_the_timeout() {
        let paths = [
            path(4, Direction::Out, 9614, MtuLimit::None),
            path(4, Direction::In, 9216, MtuLimit::Blackhole),
        ];
        let found = findings(&paths, Context::default());
        assert_eq!(codes(&found), ["MTU-BLACKHOLE", "MTU-ONE-WAY"]);
        assert!(found.iter().all(|finding| finding.values["direction"] == "in"));
        assert!(found[1].evidence.contains("0x8007274C"));
    }

    #[test]
    fn different_ends_are_not_a_one_way_hole() {
        let mut paths =
            [path(4, Direction::Out, 1504, MtuLimit::Remote), path(4, Direction::In, 1500, MtuLimit::Local)];
        for path in &mut paths {
            path.local_ip_mtu_bytes = Some(9000);
            path.remote_ip_mtu_bytes = Some(1500);
        }
        let found = findings(&paths, Context::default());
        assert_eq!(codes(&found), ["MTU-ENDS-DIFFER"]);
        assert_eq!(
            found[0].severity,
            Severity::Error,
            "what the receiver drops in silence is no mere difference"
        );
        assert!(
            found[0].evidence.contains("from here of more than 1504 bytes are dropped"),
            "{}",
            found[0].evidence
        );
        assert!(found[0].next.contains("ip link set dev n2 mtu 9000 at the peer"), "{}", found[0].next);
        assert!(found[0].next.contains("ip link set dev n1 mtu 1500 here"), "{}", found[0].next);
    }

    #[test]
    fn different_ends_that_a_router_keeps_apart_are_worth_a_warning() {
        let mut paths =
            [path(4, Direction::Out, 1500, MtuLimit::Router), path(4, Direction::In, 1500, MtuLimit::Local)];
        for path in &mut paths {
            (path.local_ip_mtu_bytes, path.remote_ip_mtu_bytes) = (Some(9000), Some(1500));
        }
        let found = findings(&paths, Context::default());
        let differ = found.iter().find(|finding| finding.code == "MTU-ENDS-DIFFER").unwrap();
        assert_eq!(differ.severity, Severity::Warning);
        assert!(!differ.evidence.contains("are dropped silently"), "{}", differ.evidence);
    }

    #[test]
    fn a_route_with_an_mtu_of_its_own_is_named_and_is_no_cache() {
        let route = |ip_mtu_bytes| MtuRoute { destination: "10.9.0.0/24".into(), ip_mtu_bytes, locked: true };
        let mut path = path(4, Direction::Out, 9000, MtuLimit::None);
        (path.cached_ip_mtu_bytes, path.route) = (Some(1500), Some(route(1500)));
        let found = findings(std::slice::from_ref(&path), Context::default());
        assert_eq!((codes(&found), found[0].severity), (vec!["MTU-ROUTE-LIMIT"], Severity::Warning));
        assert!(
            found[0].evidence.contains("route 10.9.0.0/24 says \"mtu lock 1500\""),
            "{}",
            found[0].evidence
        );
        let context = Context { expect_ip_mtu_bytes: Some(9000), ..Context::default() };
        assert_eq!(findings(std::slice::from_ref(&path), context)[0].severity, Severity::Error);
        // A route that asks for what passes limits nothing; a cache below the route's own value is a cache.
        path.route = Some(route(9000));
        assert_eq!(codes(&findings(&[path], Context::default())), ["MTU-STALE-CACHE"]);
    }

    #[test]
    fn an_echo_whose_reply_came_in_pieces_was_not_swallowed() {
        let mut echo = path(4, Direction::Both, 1500, MtuLimit::Remote);
        (echo.method, echo.remote_ip_mtu_bytes) = ("echo".into(), None);
        assert_eq!(codes(&findings(&[echo], Context::default())), ["MTU-ECHO-ONLY"]);
    }

    #[test]
    fn the_gate_compares_what_passes() {
        let paths = [path(4, Direction::Out, 8999, MtuLimit::Blackhole)];
        let context = Context { expect_ip_mtu_bytes: Some(9000), ..Context::default() };
        assert!(codes(&findings(&paths, context)).contains(&"MTU-BELOW-EXPECTED"));
        let context = Context { expect_ip_mtu_bytes: Some(8999), ..Context::default() };
        assert!(!codes(&findings(&paths, context)).contains(&"MTU-BELOW-EXPECTED"));
    }

    #[test]
    fn cannot_tell_is_no_size() {
        let mut unknown = path(4, Direction::Out, 68, MtuLimit::Unknown);
        (unknown.ip_mtu_bytes, unknown.proven_ip_bytes) = (None, None);
        let context = Context { expect_ip_mtu_bytes: Some(9000), ..Context::default() };
        assert_eq!(codes(&findings(&[unknown], context)), ["MTU-UNKNOWN"]);
    }

    #[test]
    fn a_healthy_path_has_no_findings() {
        let paths =
            [path(4, Direction::Out, 9614, MtuLimit::None), path(4, Direction::In, 9614, MtuLimit::None)];
        assert!(findings(&paths, Context::default()).is_empty());
    }
}
