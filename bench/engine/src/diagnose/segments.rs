//! What became of the options and the segment size that both ends of a connection ask for.

mod cookies;

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{
    Connection, Direction, End, Environment, Finding, FollowUp, LaneResult, LaneRole, NodeId, ResultDoc,
    Severity, Step,
};

use super::{Rule, whose};

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("TCP-OPTIONS")], find: options },
    Rule { codes: &[code!("TCP-MSS-CLAMPED")], find: |doc| clamped(doc).into_iter().collect() },
];

fn options(doc: &ResultDoc) -> Vec<Finding> {
    let ways = [Direction::Out, Direction::In];
    stripped(doc).into_iter().chain(ways.into_iter().filter_map(|way| unusable(doc, way))).collect()
}

fn on(host: Option<&Environment>, name: &str) -> bool {
    // Time stamps have two ways of being on.
    host.and_then(|host| host.settings.get(name)).is_some_and(|value| value != "0")
}

const STAMPS: &str = "net.ipv4.tcp_timestamps";

/// Options that both hosts are set to use, and that their connections did not have.
fn stripped(doc: &ResultDoc) -> Option<Finding> {
    let (client, server) = (doc.environment(NodeId::CLIENT), doc.environment(NodeId::SERVER));
    let both = |name: &str| on(client, name) && on(server, name);
    // Each NIC of the client has a way of its own.
    let mut ways: BTreeMap<Option<IpAddr>, Vec<&Connection>> = BTreeMap::new();
    for lane in measured(doc).flat_map(|step| &step.lanes) {
        let ours = if lane.end == End::Client { &lane.local } else { &lane.remote };
        ways.entry(super::ip_of(ours)).or_default().extend(lane.connection.as_ref());
    }
    let (way, missing, connections) = ways.iter().find_map(|(way, connections)| {
        let missing = lacking(&both, connections);
        (!missing.is_empty()).then_some((way, missing, connections))
    })?;
    let of = way.filter(|_| ways.len() > 1).map_or_else(String::new, |ip| format!(" of {ip}"));
    let said = format!(
        "both hosts are set to use {}, and none of {} connections{of} had them",
        missing.join(" and "),
        connections.len()
    );
    // Where both want time stamps and have none, something on the way took those.
    let without_stamps = !both(STAMPS) && connections.iter().all(|one| one.timestamps == Some(false));
    if let Some(cookies) = cookies::of_all(doc).filter(|_| without_stamps) {
        let off = [(NodeId::CLIENT, client), (NodeId::SERVER, server)];
        let off: Vec<NodeId> =
            off.into_iter().filter(|(_, host)| !on(*host, STAMPS)).map(|(node, _)| node).collect();
        return Some(cookies.without_options(&said, &off));
    }
    Some(Finding::new("TCP-OPTIONS", said))
}

/// Selective acknowledgements that come, and of which the sending kernel can make nothing.
fn unusable(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    /// Where they are what they should be, losses by the hundred make none.
    const MANY: u64 = 10;
    /// So many times fewer may be those of others.
    const OTHERS: u64 = 4;
    let end = if way == Direction::Out { End::Client } else { End::Server };
    let (node, sent) = (end.node(), discarded(doc, end)?);
    // What other connections of a busy host throw away they throw away beside steps that lose nothing as well.
    let of_others = sent.of_others.saturating_mul(OTHERS) >= sent.acknowledgements;
    if sent.acknowledgements < MANY || sent.timeouts == 0 || sent.again == 0 || of_others {
        return None;
    }
    let other = discarded(doc, end.other());
    let other = other.is_some_and(|other| other.acknowledgements == 0 && other.of_others == 0);
    let said = format!(
        "{}: {} threw away {} selective acknowledgements, which name nothing that it has sent (TCPSACKDiscard), sent {} segments again and waited \
         for a timer {} times{}",
        way.name(),
        whose(node),
        sent.acknowledgements,
        sent.again,
        sent.timeouts,
        if other { "; the other way none was thrown away" } else { "" }
    );
    let mut finding = Finding::new("TCP-OPTIONS", said).with_severity(Severity::Error);
    finding.meaning =
        "Something between the hosts gives segments other sequence numbers, and leaves those in selective acknowledgements (SACK) as they were: the \
         sender learns of no loss before a timer runs out, and each costs 200 ms and more."
            .into();
    let finding = finding
        .with_next(
            "Look for a firewall or load balancer on the way that makes sequence numbers random, and turn that off for these hosts (pathproof explain \
             TCP-OPTIONS says where), or let it change the numbers in SACK as well.",
        )
        .tell(told::DIRECTION, way);
    Some(finding.with("sack_discarded", sent.acknowledgements).with("timeouts", sent.timeouts))
}

/// What a sending end threw away, and what that cost.
#[derive(Default)]
struct Discarded {
    acknowledgements: u64,
    /// Those of steps in which no lane sent anything again: nothing was missing of what it sent, so that they were meant for others of that host.
    of_others: u64,
    again: u64,
    timeouts: u64,
}

/// Over the steps in which lanes of `end` sent with selective acknowledgements; `None` where none did, or nobody counted. The kernel counts them
/// for the whole host.
fn discarded(doc: &ResultDoc, end: End) -> Option<Discarded> {
    let mut sum: Option<Discarded> = None;
    for step in measured(doc) {
        let senders = step.lanes.iter().filter(|lane| lane.end == end && lane.role.sends());
        let connections = senders.filter_map(|lane| lane.connection.as_ref());
        let mut with_sack = connections.filter(|one| one.selective_acknowledgements == Some(true)).peekable();
        let counted = step.evidence(end.node()).and_then(|evidence| {
            Some((evidence.tcp_options.as_ref()?.sack_discarded?, evidence.tcp.as_ref()?))
        });
        let (Some(_), Some((acknowledgements, tcp))) = (with_sack.peek(), counted) else { continue };
        let sum = sum.get_or_insert_default();
        let again = with_sack.filter_map(|one| one.counts.retransmitted_segments);
        let again = again.fold(0, u64::saturating_add);
        if acknowledgements > 0 && again == 0 {
            sum.of_others = sum.of_others.saturating_add(acknowledgements);
        } else if acknowledgements > 0 {
            sum.acknowledgements = sum.acknowledgements.saturating_add(acknowledgements);
            sum.again = sum.again.saturating_add(again);
            sum.timeouts = sum.timeouts.saturating_add(tcp.timeouts.unwrap_or(0));
        }
    }
    sum
}

/// Steps whose connections say what the path lets through: those of the plan, and those of a NIC by itself.
fn measured(doc: &ResultDoc) -> impl Iterator<Item = &Step> {
    doc.steps.iter().filter(|step| matches!(step.follows_up, None | Some(FollowUp::Alone)))
}

/// What none of these connections had.
fn lacking(both: &impl Fn(&str) -> bool, connections: &[&Connection]) -> Vec<&'static str> {
    let lacked = |has: fn(&pathproof_model::Connection) -> Option<bool>| {
        !connections.is_empty() && connections.iter().all(|connection| has(connection) == Some(false))
    };
    let mut missing = Vec::new();
    if both(STAMPS) && lacked(|c| c.timestamps) {
        missing.push("time stamps (tcp_timestamps)");
    }
    if both("net.ipv4.tcp_sack") && lacked(|c| c.selective_acknowledgements) {
        missing.push("selective acknowledgements (SACK)");
    }
    if both("net.ipv4.tcp_window_scaling") && lacked(|c| c.window_scaling) {
        missing.push("window scaling (tcp_window_scaling)");
    }
    missing
}

/// Segments that are much smaller than the packets which the same two addresses were seen to carry.
fn clamped(doc: &ResultDoc) -> Option<Finding> {
    /// IP and TCP headers with time stamps, IPv6, and room for one tunnel header more.
    const HEADERS_BYTES: u64 = 40 + 20 + 12 + 28;
    /// What options take of a segment that was announced (RFC 6691).
    const OPTIONS_BYTES: u64 = 40;
    let paths: Vec<_> = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten().collect();
    let steps = measured(doc).filter(|step| !limited(step));
    let lanes = steps.flat_map(|step| step.lanes.iter().map(move |lane| (step, lane)));
    for (step, lane) in lanes.filter(|(_, lane)| lane.error.is_none()) {
        let (Some(local), Some(remote)) = (super::ip_of(&lane.local), super::ip_of(&lane.remote)) else {
            continue;
        };
        let (out, ends) = match lane.end == End::Client {
            true => (Direction::Out, (local, remote)),
            false => (Direction::In, (remote, local)),
        };
        let path = paths.iter().find(|path| {
            // What an echo got through went both ways.
            let same_way = path.direction == out || path.direction == Direction::Both;
            same_way && (path.local_address, path.remote_address) == ends && path.route.is_none()
        });
        let Some(carried) = path.and_then(|path| path.ip_mtu_bytes).filter(|bytes| *bytes <= 16_000) else {
            continue;
        };
        let Some(segment) = sends(lane) else { continue };
        // A path MTU that either end remembers is told as that (MTU-STALE-CACHE): the sender keeps to it, and the receiver announces no more.
        let small = |bytes: u32| u64::from(bytes) <= segment + HEADERS_BYTES;
        let remembered = paths.iter().any(|path| {
            (path.local_address, path.remote_address) == ends && path.cached_ip_mtu_bytes.is_some_and(small)
        });
        if remembered {
            continue;
        }
        if segment > 0 && segment + HEADERS_BYTES < u64::from(carried) {
            let said = format!(
                "segments from {local} to {remote} hold {segment} bytes, and packets of {carried} bytes pass between these \
                 addresses"
            );
            // Half of what the path carries, and less: jumbo frames are paid for and not used.
            let wasted = segment * 2 < u64::from(carried);
            let severity = if wasted { Severity::Error } else { Severity::Warning };
            let announced = announced(step, lane);
            let held = announced.filter(|announced| cookies::hold(lane, local, segment, *announced));
            let finding = match (announced, held.and_then(|_| cookies::of_all(doc))) {
                (Some(announced), _) if announced <= segment + OPTIONS_BYTES => {
                    announced_small(said, whose(lane.end.other().node()), announced)
                }
                (_, Some(cookies)) => cookies.small(&said),
                (_, None) => Finding::new("TCP-MSS-CLAMPED", said),
            };
            return Some(
                finding.with_severity(severity).with("segment_bytes", segment).with("ip_mtu_bytes", carried),
            );
        }
    }
    None
}

/// The largest segment that the other end of a lane announced when the connection opened, by its own kernel's word: what changes it on the
/// way does not change that.
fn announced(step: &Step, lane: &LaneResult) -> Option<u64> {
    let theirs = step.lanes.iter().find(|one| one.lane == lane.lane && one.end == lane.end.other())?;
    theirs.connection.as_ref()?.counts.announced_segment_bytes.filter(|bytes| *bytes > 0)
}

/// Nobody on the way has lowered what the receiving host itself asks for.
fn announced_small(said: String, who: &str, announced: u64) -> Finding {
    let said =
        format!("{said}; {who} itself announces no more than {announced}, so nothing on the way lowers it");
    let mut finding = Finding::new("TCP-MSS-CLAMPED", said);
    finding.meaning = "TCP sends smaller segments than the path carries, because the host that receives them asks for no larger ones: jumbo frames are of no use \
                       to TCP towards it."
        .into();
    finding.with_next(format!(
        "Look at the routes of {who} for advmss (ip route get ADDRESS, ip route show table all), and take it out there; a program that sets TCP_MAXSEG does the same."
    ))
}

/// The segment size of a lane that sent enough for it to mean something.
fn sends(lane: &LaneResult) -> Option<u64> {
    const ENOUGH_BYTES: u64 = 1 << 20;
    lane.send_segment_bytes.filter(|_| lane.role != LaneRole::Receive && lane.bytes >= ENOUGH_BYTES)
}

fn limited(step: &Step) -> bool {
    step.spec
        .as_ref()
        .and_then(|spec| spec.traffic())
        .is_none_or(|traffic| traffic.max_segment_bytes.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::evidence::{ConnectionCounts, TcpCounts, TcpOptionCounts};
    use pathproof_model::{
        Evidence, MtuLimit, MtuPath, MtuRoute, Node, StepKind, StepSpec, Tool, TrafficSpec,
    };

    const SETTINGS: [&str; 3] =
        ["net.ipv4.tcp_timestamps", "net.ipv4.tcp_sack", "net.ipv4.tcp_window_scaling"];

    fn document(settings: [&str; 2], lanes: Vec<LaneResult>) -> ResultDoc {
        let host = |value: &str| {
            let mut host = Environment::default();
            host.settings.extend(SETTINGS.map(|name| (name.into(), value.into())));
            Some(host)
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.nodes = vec![Node::here(host(settings[0])), Node::agent("b", host(settings[1]))];
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
        step.lanes = lanes;
        doc.steps = vec![step];
        doc
    }

    /// A lane with what its connection has of the three options.
    fn with_options(has: [Option<bool>; 3]) -> LaneResult {
        let [timestamps, selective_acknowledgements, window_scaling] = has;
        let connection =
            Connection { timestamps, selective_acknowledgements, window_scaling, ..Connection::default() };
        LaneResult { connection: Some(connection), ..LaneResult::default() }
    }

    #[test]
    fn options_that_both_want_and_no_connection_has_were_taken_away() {
        let told = |settings, lanes| stripped(&document(settings, lanes)).map(|one| one.evidence);
        let on = Some(true);
        let without = || with_options([Some(false), on, on]);
        assert!(told(["1", "2"], vec![without()]).unwrap().contains("time stamps"));
        assert!(told(["1", "1"], vec![with_options([on, Some(false), on])]).unwrap().contains("SACK"));
        assert!(told(["1", "1"], vec![with_options([on, on, Some(false)])]).unwrap().contains("scaling"));
        // One end does not want them, one connection has them, nobody knows, and there is no connection.
        assert_eq!(told(["1", "0"], vec![without()]), None);
        assert_eq!(told(["1", "1"], vec![without(), with_options([on; 3])]), None);
        assert_eq!(told(["1", "1"], vec![with_options([None; 3])]), None);
        assert_eq!(told(["1", "1"], vec![]), None);
        // The way of one of two NICs, and one connection of a way on which others have them.
        let of = |nic: u8, lane: LaneResult| LaneResult {
            end: End::Client,
            local: Some(format!("10.0.{nic}.1:40000")),
            ..lane
        };
        let second = told(["1", "1"], vec![of(0, with_options([on; 3])), of(1, without())]).unwrap();
        assert!(second.ends_with("none of 1 connections of 10.0.1.1 had them"), "{second}");
        let some = vec![of(0, with_options([on; 3])), of(1, without()), of(1, with_options([on; 3]))];
        assert_eq!(told(["1", "1"], some), None);
    }

    /// Segments of so many bytes out, where packets of `carried` bytes pass; what is told of them.
    fn clamp(segment: u64, carried: u32, change: impl FnOnce(&mut Step, &mut MtuPath)) -> Option<Severity> {
        clamp_told(segment, carried, change).map(|finding| finding.severity)
    }

    fn clamp_told(
        segment: u64,
        carried: u32,
        change: impl FnOnce(&mut Step, &mut MtuPath),
    ) -> Option<Finding> {
        clamp_doc(segment, carried, |doc, path| change(&mut doc.steps[0], path))
    }

    fn clamp_doc(
        segment: u64,
        carried: u32,
        change: impl FnOnce(&mut ResultDoc, &mut MtuPath),
    ) -> Option<Finding> {
        let lane = LaneResult {
            end: End::Client,
            role: LaneRole::Send,
            bytes: 8 << 20,
            local: Some("10.0.0.1:40000".into()),
            remote: Some("10.0.0.2:7797".into()),
            send_segment_bytes: Some(segment),
            ..LaneResult::default()
        };
        let mut doc = document(["1", "1"], vec![lane]);
        let mut path = MtuPath {
            local_nic: "e0".into(),
            remote_nic: Some("e0".into()),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            family: 4,
            direction: Direction::Out,
            method: pathproof_model::MtuMethod::Agent,
            ip_mtu_bytes: Some(carried),
            limit: MtuLimit::None,
            numbers: None,
            proven_ip_bytes: Some(carried),
            reason: None,
            local_ip_mtu_bytes: Some(carried),
            remote_ip_mtu_bytes: Some(carried),
            cached_ip_mtu_bytes: None,
            route: None,
            routers: vec![],
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 2,
            fitting_lost: 0,
            probes: 2,
            loss_rounds: 0,
            fragments: None,
            elapsed_ns: 0,
            tried: vec![],
        };
        change(&mut doc, &mut path);
        let mut probed = Step::new(StepKind::Mtu, "path MTU");
        probed.detail.paths = Some(vec![path]);
        doc.steps.push(probed);
        clamped(&doc)
    }

    #[test]
    fn segments_far_below_what_passes_are_clamped_and_those_with_room_for_headers_are_not() {
        assert_eq!(clamp(536, 1500, |_, _| {}), Some(Severity::Error));
        assert_eq!(clamp(1300, 1500, |_, _| {}), Some(Severity::Warning));
        // Time stamps, IPv6 and a tunnel's header fit between the two.
        assert_eq!(clamp(1448, 1500, |_, _| {}), None);
        assert_eq!(clamp(1400, 1500, |_, _| {}), None);
        assert_eq!(clamp(8948, 9000, |_, _| {}), None);
        // The route says so, the lane asked for it, it sent too little, and the path was not the lane's.
        let route = MtuRoute { destination: "10.0.0.0/24".into(), ip_mtu_bytes: 576, locked: true };
        assert_eq!(clamp(536, 1500, |_, path| path.route = Some(route)), None);
        let small = TrafficSpec { max_segment_bytes: Some(536), ..TrafficSpec::default() };
        assert_eq!(clamp(536, 1500, |step, _| step.spec = Some(StepSpec::Stream(small))), None);
        assert_eq!(clamp(536, 1500, |step, _| step.lanes[0].bytes = 4000), None);
        assert_eq!(clamp(536, 1500, |_, path| path.remote_address = [10, 0, 0, 3].into()), None);
        // What the sender remembers of the path is not clamped on the way, where it is as small as that.
        assert_eq!(clamp(536, 1500, |_, path| path.cached_ip_mtu_bytes = Some(576)), None);
        assert_eq!(clamp(536, 1500, |_, path| path.cached_ip_mtu_bytes = Some(1400)), Some(Severity::Error));
        // What the receiver remembers of the way back it announces.
        let back = |step: &mut Step, path: &mut MtuPath| {
            let back = MtuPath { direction: Direction::In, cached_ip_mtu_bytes: Some(576), ..path.clone() };
            step.detail.paths = Some(vec![back]);
        };
        assert_eq!(clamp(536, 1500, back), None);
    }

    fn evidence(end: End, tcp_options: TcpOptionCounts, timeouts: u64) -> Evidence {
        let tcp = TcpCounts { timeouts: Some(timeouts), ..TcpCounts::still() };
        Evidence { node: end.node(), tcp: Some(tcp), tcp_options: Some(tcp_options), ..Evidence::default() }
    }

    /// The server set to answer by cookies so, and what it counted.
    fn with_cookies(doc: &mut ResultDoc, setting: &str, accepted: u64) {
        let server = doc.nodes[1].environment.as_mut().unwrap();
        server.settings.insert("net.ipv4.tcp_syncookies".into(), setting.into());
        let counts = TcpOptionCounts { cookies_accepted: Some(accepted), ..TcpOptionCounts::still() };
        doc.steps[0].evidence = vec![evidence(End::Server, counts, 0)];
    }

    #[test]
    fn options_that_a_cookie_does_not_keep_were_not_taken_away_on_the_way() {
        let told = |stamps: &str, setting: &str, accepted: u64| {
            let lanes =
                [End::Client, End::Server].map(|end| LaneResult { end, ..with_options([Some(false); 3]) });
            let mut doc = document(["1", "1"], lanes.to_vec());
            let client = doc.nodes[0].environment.as_mut().unwrap();
            client.settings.insert(STAMPS.into(), stamps.into());
            with_cookies(&mut doc, setting, accepted);
            stripped(&doc).unwrap()
        };
        let always = told("0", "2", 1);
        assert!(always.evidence.contains("selective") && always.evidence.contains("scaling"), "{always:?}");
        assert!(always.evidence.contains("the peer accepted 1 connections by a SYN cookie"), "{always:?}");
        assert!(always.evidence.ends_with("turned off at this host"), "{always:?}");
        assert!(
            always.next.contains("On the peer: `sysctl -w net.ipv4.tcp_syncookies=1`."),
            "{}",
            always.next
        );
        // A queue that was full.
        let full = told("0", "1", 1);
        assert!(full.evidence.contains("by a SYN cookie, and"), "{full:?}");
        assert!(full.next.contains("tcp_max_syn_backlog"), "{}", full.next);
        // None was answered so; and time stamps, which a cookie does not take away, are gone, too.
        for other in [told("0", "2", 0), told("0", "1", 0), told("1", "2", 1)] {
            assert!(!other.evidence.contains("cookie") && other.next.contains("firewall"), "{other:?}");
        }
    }

    #[test]
    fn segments_that_a_cookie_holds_no_more_of_are_not_clamped_on_the_way() {
        let told = |segment: u64, announced: u64, end: End, accepted: u64| {
            let counts =
                ConnectionCounts { announced_segment_bytes: Some(announced), ..ConnectionCounts::still() };
            let other = LaneResult {
                end: end.other(),
                role: LaneRole::Receive,
                connection: Some(Connection { counts, ..Connection::default() }),
                ..LaneResult::default()
            };
            let mut cookies = document(["1", "1"], vec![]);
            with_cookies(&mut cookies, "2", accepted);
            // The path of `clamp_told` goes out from 10.0.0.1; back, the addresses change their places.
            let finding = clamp_doc(segment, 9000, |doc, path| {
                let lane = &mut doc.steps[0].lanes[0];
                lane.end = end;
                if end == End::Server {
                    std::mem::swap(&mut lane.local, &mut lane.remote);
                    path.direction = Direction::In;
                }
                doc.steps[0].lanes.push(other);
                doc.steps[0].evidence = std::mem::take(&mut cookies.steps[0].evidence);
                doc.nodes = std::mem::take(&mut cookies.nodes);
            });
            finding.unwrap()
        };
        let small = told(1448, 8948, End::Server, 1);
        assert!(small.evidence.contains("holds no segment size above 1460 bytes"), "{small:?}");
        assert!(small.next.contains("tcp_syncookies=1") && !small.next.contains("maxseg"), "{}", small.next);
        assert_eq!(small.severity, Severity::Error);
        // None was accepted so, the end that dials sends, and a size that another one lowered before the cookie.
        for other in [
            told(1448, 8948, End::Server, 0),
            told(1448, 8948, End::Client, 1),
            told(524, 8948, End::Server, 1),
        ] {
            assert!(!other.evidence.contains("cookie") && other.next.contains("clamps"), "{other:?}");
        }
        // What the receiver itself asks for comes first.
        assert!(told(1448, 1460, End::Server, 1).evidence.contains("itself announces"));
    }

    #[test]
    fn acknowledgements_that_name_other_numbers_are_told_of_the_way_that_is_sent() {
        let told = |sack: Option<bool>, discarded: Option<u64>, timeouts: u64, back: u64| {
            let counts = ConnectionCounts { retransmitted_segments: Some(40), ..ConnectionCounts::still() };
            let step = |end: End, discarded: Option<u64>| {
                let connection = Connection {
                    selective_acknowledgements: sack,
                    counts: counts.clone(),
                    ..Connection::default()
                };
                let mut step = Step::new(StepKind::Stream, "tcp stream");
                step.lanes = vec![LaneResult {
                    end,
                    role: LaneRole::Send,
                    connection: Some(connection),
                    ..LaneResult::default()
                }];
                let counted = TcpOptionCounts { sack_discarded: discarded, ..TcpOptionCounts::still() };
                step.evidence = vec![evidence(end, counted, timeouts)];
                step
            };
            let steps = vec![step(End::Client, discarded), step(End::Server, Some(back))];
            options(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
        };
        let found = told(Some(true), Some(60), 4, 0);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Error), "{found:?}");
        assert_eq!(found[0].told(told::DIRECTION), Some(Direction::Out));
        assert!(found[0].evidence.contains("out: this host threw away 60 selective"), "{found:?}");
        assert!(found[0].evidence.ends_with("the other way none was thrown away"), "{found:?}");
        let both = told(Some(true), Some(60), 4, 50);
        assert_eq!(both.len(), 2);
        assert!(both.iter().all(|one| one.evidence.ends_with("times")), "{both:?}");
        // A few, no timer, a kernel that does not count, and connections without.
        assert_eq!(told(Some(true), Some(9), 4, 0), []);
        assert_eq!(told(Some(true), Some(60), 0, 0), []);
        assert_eq!(told(Some(true), None, 4, 0), []);
        assert_eq!(told(Some(false), Some(60), 4, 0), []);
    }

    #[test]
    fn what_other_connections_of_a_host_throw_away_tells_nothing_of_the_path() {
        let step = |again: u64, discarded: u64| {
            let counts =
                ConnectionCounts { retransmitted_segments: Some(again), ..ConnectionCounts::still() };
            let connection =
                Connection { selective_acknowledgements: Some(true), counts, ..Connection::default() };
            let mut step = Step::new(StepKind::Stream, "tcp stream");
            step.lanes = vec![LaneResult {
                end: End::Client,
                role: LaneRole::Send,
                connection: Some(connection),
                ..LaneResult::default()
            }];
            let counted = TcpOptionCounts { sack_discarded: Some(discarded), ..TcpOptionCounts::still() };
            step.evidence = vec![evidence(End::Client, counted, 4)];
            step
        };
        // Beside a step in which nothing had to be sent again.
        let told = |quiet: u64| {
            let steps = vec![step(40, 60), step(0, quiet)];
            options(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }).len()
        };
        assert_eq!([told(0), told(3), told(15), told(60)], [1, 1, 0, 0]);
    }

    #[test]
    fn what_the_receiving_host_asks_for_itself_is_not_clamped_on_the_way() {
        let told = |announced: u64| {
            let counts = pathproof_model::evidence::ConnectionCounts {
                announced_segment_bytes: Some(announced),
                ..pathproof_model::evidence::ConnectionCounts::still()
            };
            let connection = Some(Connection { counts, ..Connection::default() });
            let receiver =
                LaneResult { end: End::Server, role: LaneRole::Receive, connection, ..LaneResult::default() };
            clamp_told(1448, 9000, |step, _| step.lanes.push(receiver)).unwrap()
        };
        let own = told(1460);
        assert!(own.evidence.contains("the peer itself announces no more than 1460"), "{}", own.evidence);
        assert!(own.next.contains("advmss"), "{}", own.next);
        // It asked for more than it gets.
        assert!(!told(8960).evidence.contains("announces"));
        assert!(!told(0).evidence.contains("announces"), "not known");
    }
}
