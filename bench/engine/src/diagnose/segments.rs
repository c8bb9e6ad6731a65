//! What became of the options and the segment size that both ends of a connection ask for.

use pathproof_model::{
    Direction, Environment, Finding, LaneResult, LaneRole, NodeId, ResultDoc, Severity, Step,
};

use super::planned;

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut found: Vec<Finding> = stripped(doc).into_iter().collect();
    found.extend(clamped(doc));
    found
}

fn on(host: Option<&Environment>, name: &str) -> bool {
    host.and_then(|host| host.settings.get(name)).is_some_and(|value| value == "1")
}

/// Options that both hosts are set to use, and that their connections did not have.
fn stripped(doc: &ResultDoc) -> Option<Finding> {
    let (client, server) = (doc.environment(NodeId::CLIENT), doc.environment(NodeId::SERVER));
    let both = |name| on(client, name) && on(server, name);
    let connections: Vec<_> =
        planned(doc).flat_map(|step| &step.lanes).filter_map(|lane| lane.connection.as_ref()).collect();
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
    (!missing.is_empty()).then(|| {
        let said = format!(
            "both hosts are set to use {}, and none of {} connections had them",
            missing.join(" and "),
            connections.len()
        );
        Finding::new("TCP-OPTIONS", said)
    })
}

/// Segments that are much smaller than the packets which the same two addresses were seen to carry.
fn clamped(doc: &ResultDoc) -> Option<Finding> {
    /// IP and TCP headers with time stamps, IPv6, and room for one tunnel header more.
    const HEADERS_BYTES: u64 = 40 + 20 + 12 + 28;
    let paths: Vec<_> = doc.steps.iter().filter_map(|step| step.detail.paths.as_ref()).flatten().collect();
    let lanes = planned(doc).filter(|step| !limited(step)).flat_map(|step| &step.lanes);
    for lane in lanes.filter(|lane| lane.error.is_none()) {
        let (Some(local), Some(remote)) = (super::ip_of(&lane.local), super::ip_of(&lane.remote)) else {
            continue;
        };
        let (out, ends) = match lane.end == "client" {
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
        if segment > 0 && segment + HEADERS_BYTES < u64::from(carried) {
            let said = format!(
                "segments from {local} to {remote} hold {segment} bytes, and packets of {carried} bytes pass between these \
                 addresses"
            );
            // Half of what the path carries, and less: jumbo frames are paid for and not used.
            let wasted = segment * 2 < u64::from(carried);
            let severity = if wasted { Severity::Error } else { Severity::Warning };
            return Some(
                Finding::new("TCP-MSS-CLAMPED", said)
                    .with_severity(severity)
                    .with("segment_bytes", segment)
                    .with("ip_mtu_bytes", carried),
            );
        }
    }
    None
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
