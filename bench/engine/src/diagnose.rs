//! From the facts, the evidence and the measurements of both ends to causes: pure, and run once over a whole document.
//!
//! One file a family. A rule names a cause only where what both hosts counted excludes the others it could be; what only might be so
//! is said as that.

mod connections;
mod delays;
mod direction;
mod filtered;
mod hosts;
mod identity;
mod links;
mod neighbours;
mod networks;
mod nics;
mod pairs;
mod queue;
mod rates;
mod repeats;
mod routes;
mod segments;
mod settled;
mod slow;
mod subnets;
mod together;
mod windows;
mod wires;

use pathproof_model::{Finding, NodeId, ResultDoc, Step};

use rates::lost;
pub use settled::settle;

/// Every family.
const FAMILIES: &[fn(&ResultDoc) -> Vec<Finding>] = &[
    identity::findings,
    hosts::findings,
    neighbours::findings,
    wires::findings,
    subnets::findings,
    routes::findings,
    links::findings,
    nics::findings,
    pairs::findings,
    filtered::findings,
    slow::findings,
    direction::findings,
    segments::findings,
    connections::findings,
    delays::findings,
    repeats::findings,
    windows::findings,
    rates::findings,
    queue::findings,
    together::findings,
];

/// What the document as a whole shows beyond its steps.
pub fn diagnose(doc: &ResultDoc) -> Vec<Finding> {
    FAMILIES.iter().flat_map(|family| family(doc)).collect()
}

/// The steps that a plan asked for.
fn planned(doc: &ResultDoc) -> impl Iterator<Item = &Step> {
    doc.steps.iter().filter(|step| step.follows_up.is_none())
}

/// An end in the words of a report.
fn whose(node: NodeId) -> &'static str {
    if node == NodeId::CLIENT { "this host" } else { "the peer" }
}

/// The largest part of its time for which a lane's thread of a step stood in line for a processor.
fn waited_share(step: &Step) -> f64 {
    let waited = step.lanes.iter().filter_map(|lane| lane.scheduled).filter(|scheduled| scheduled.of_ns > 0);
    waited.map(|scheduled| scheduled.waited_ns as f64 / scheduled.of_ns as f64).fold(0.0, f64::max)
}

/// Where an address and port lead to, without the port.
fn ip_of(address: &Option<String>) -> Option<std::net::IpAddr> {
    let address: std::net::SocketAddr = address.as_deref()?.parse().ok()?;
    Some(address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use pathproof_model::evidence::ConnectionCounts;
    use pathproof_model::{Connection, Direction, End, LaneResult, LaneRole, LossPath};

    /// A lane that sent, with what the kernel counted of its connection.
    pub(super) fn sender(counts: ConnectionCounts) -> LaneResult {
        let connection = Some(Connection { counts, ..Connection::default() });
        LaneResult { end: End::Client, role: LaneRole::Send, connection, ..LaneResult::default() }
    }

    /// A path of paced datagrams over which nothing was sent yet.
    pub(super) fn loss_path() -> LossPath {
        LossPath {
            local_nic: "e0".into(),
            remote_nic: "e0".into(),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            direction: Direction::Out,
            by_echo: false,
            small_ip_bytes: 88,
            full_ip_bytes: 1500,
            reason: None,
            flows: vec![],
            marks: vec![],
            overflowed: 0,
            delay_variation_ns: None,
        }
    }
}
