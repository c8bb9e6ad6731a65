//! What became of the options and the segment size that both ends of a connection ask for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_model::code;
use pathproof_model::{
    Connection, Direction, End, Environment, Finding, FollowUp, LaneResult, LaneRole, NodeId, ResultDoc,
    Severity, Step,
};

use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("TCP-OPTIONS")], find: |doc| stripped(doc).into_iter().collect() },
    Rule { codes: &[code!("TCP-MSS-CLAMPED")], find: |doc| clamped(doc).into_iter().collect() },
];

fn on(host: Option<&Environment>, name: &str) -> bool {
    // Time stamps have two ways of being on.
    host.and_then(|host| host.settings.get(name)).is_some_and(|value| value != "0")
}

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
    let (way, missing, count) = ways.iter().find_map(|(way, connections)| {
        let missing = lacking(&both, connections);
        (!missing.is_empty()).then_some((way, missing, connections.len()))
    })?;
    let whose = way.filter(|_| ways.len() > 1).map_or_else(String::new, |ip| format!(" of {ip}"));
    let said = format!(
        "both hosts are set to use {}, and none of {count} connections{whose} had them",
        missing.join(" and ")
    );
    Some(Finding::new("TCP-OPTIONS", said))
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
    if both("net.ipv4.tcp_timestamps") && lacked(|c| c.timestamps) {
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
            let own = announced(step, lane).filter(|announced| *announced <= segment + OPTIONS_BYTES);
            let finding = match own {
                Some(announced) => announced_small(said, super::whose(lane.end.other().node()), announced),
                None => Finding::new("TCP-MSS-CLAMPED", said),
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
    use pathproof_model::{MtuLimit, MtuPath, MtuRoute, Node, StepKind, StepSpec, Tool, TrafficSpec};

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
        change(&mut doc.steps[0], &mut path);
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
