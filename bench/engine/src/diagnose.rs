//! From the facts, the evidence and the measurements of both ends to causes: pure, and run once over a whole document.
//!
//! One file a family. A rule names a cause only where what both hosts counted excludes the others it could be; what only might be so
//! is said as that.

mod direction;
mod identity;
mod links;
mod neighbours;
mod nics;
mod segments;
mod subnets;
mod wires;

use pathproof_model::{Finding, ResultDoc};

/// Every family.
const FAMILIES: &[fn(&ResultDoc) -> Vec<Finding>] = &[
    identity::findings,
    neighbours::findings,
    wires::findings,
    subnets::findings,
    links::findings,
    nics::findings,
    direction::findings,
    segments::findings,
];

/// What the document as a whole shows beyond its steps.
pub fn diagnose(doc: &ResultDoc) -> Vec<Finding> {
    FAMILIES.iter().flat_map(|family| family(doc)).collect()
}

/// The steps that a plan asked for.
fn planned(doc: &ResultDoc) -> impl Iterator<Item = &pathproof_model::Step> {
    doc.steps.iter().filter(|step| step.follows_up.is_none())
}

/// Where an address and port lead to, without the port.
fn ip_of(address: &Option<String>) -> Option<std::net::IpAddr> {
    let address: std::net::SocketAddr = address.as_deref()?.parse().ok()?;
    Some(address.ip().to_canonical())
}
